//! The server loops, written once over [`crate::rt::Runtime`].
//!
//! * [`http`]: HTTP framing by hyper around the pure handlers. * [`dns`]: DNS over UDP and TCP, and recursion.
//! * `batch`: many datagrams in one system call. * `recurse`: upstream servers. * `again`: fewer switches of threads.
//! * [`gossip`]: datagrams and streams of the pools. * [`rpc`]: streams between agents.
//! * [`watches`]: watches of the configuration and their handlers. * [`bind`]: sockets, with errors that say what to do.

mod again;
mod batch;
pub mod bind;
pub mod dns;
pub mod gossip;
pub mod http;
mod recurse;
pub mod rpc;
pub mod watches;
