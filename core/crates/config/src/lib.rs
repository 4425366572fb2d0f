//! HCL and JSON text to a validated configuration.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod config;
pub mod definition;
pub mod net;
mod settings;

pub use config::*;
pub use net::{Cidr, ListenAddr};
