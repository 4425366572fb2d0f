//! HCL and JSON text to a validated configuration.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod definition;
