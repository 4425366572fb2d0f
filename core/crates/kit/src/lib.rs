//! The vocabulary every pure machine of Convoke shares, and nothing else.
//!
//! * [`time`]: [`Time`], [`Deadline`]: nanoseconds since the node's start; only drivers make one.
//! * [`rng`]: [`Rng`]: seeded, forkable randomness; there is no other source in the core.
//! * [`out`]: [`Out`]: the caller's reusable buffer for actions and datagrams.
//! * [`machine`]: [`Machine`]: the one shape of a protocol.
//! * [`laws`]: the laws of that shape as generic tests.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod laws;
pub mod machine;
pub mod out;
pub mod rng;
pub mod time;

pub use machine::Machine;
pub use out::{Datagram, DatagramGuard, Out};
pub use rng::Rng;
pub use time::{Deadline, Time};
