//! The server loops, written once over [`crate::rt::Runtime`].
//!
//! * [`http`]: HTTP framing by hyper around the pure handlers. * [`dns`]: DNS over UDP and TCP, and recursion.
//! * `recurse`: upstream servers.
//! * [`bind`]: sockets, with errors that say what to do.

pub mod bind;
pub mod dns;
pub mod http;
mod recurse;
