//! The second runtime: smol's sockets, timers and tasks under the shared loops.

#![forbid(unsafe_code)]

mod io;
mod runtime;

pub use runtime::{Smol, run};
