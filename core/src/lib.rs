//! The composite agent: everything of a node that is not IO.
//!
//! * [`node`]: [`node::Event`] in, [`node::Action`] out: the seam the runtimes and the simulator drive.
//! * [`probe`]: what a runtime is asked to probe, and what it reports.
//! * [`store`]: what a runtime is asked to keep on disk, and how it is read back.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod node;
pub mod probe;
pub mod store;
