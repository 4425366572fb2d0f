//! The HTTP API as a pure function: a request and a view in, a response or something to wait for or to do out.
//!
//! * [`request`]: what a runtime hands in. * [`response`]: what it gets back.
//! * [`agent_view`]: what the agent publishes of itself for the handlers to read.
//! * [`effect`]: what a handler cannot do itself: changes, for the node to carry out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod agent_view;
pub mod effect;
pub mod request;
pub mod response;
