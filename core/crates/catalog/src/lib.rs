//! The replicated tables: commands in, an immutable view out.
//!
//! * [`model`]: what the tables hold.
//! * [`command`]: every change there is, and its reply.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod model;
