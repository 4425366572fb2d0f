//! A small client over [`Runtime`](crate::rt::Runtime): what the checks and the command line need, and no more.
//!
//! * [`dial`]: names to addresses, addresses to a connected stream.
//! * [`tls`]: trust, and a TLS stream over any byte stream.
//! * [`url`]: `http`, `https` and `unix` URLs.
//! * [`fetch`]: one HTTP/1 request, redirects followed, body bounded.
//! * `drive`: a connection's own work done inside the future that uses it, so that nothing outlives it.
//!
//! Errors read like those of Go's standard library (`dial tcp 127.0.0.1:1: connect: connection refused`), because
//! they end in the output of checks and of the command line, where people and scripts look for those words.

pub mod dial;
pub(crate) mod drive;
pub mod fetch;
#[cfg(test)]
pub mod testing;
pub mod tls;
pub mod url;

pub use dial::DialError;
pub use fetch::{Error, Limits, Overflow, Request, Response, fetch, fetch_with};
