//! The production runtime: tokio's sockets, timers and tasks under the shared loops.

#![forbid(unsafe_code)]

mod runtime;

pub use runtime::{Tokio, once, serve};
