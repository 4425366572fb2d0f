//! What a runtime hands in.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::IpAddr;

/// An HTTP request, framed and with its body read whole.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Upper case.
    pub method: &'a str,
    /// Path as sent: percent-encoded, without the query.
    pub path: &'a str,
    /// Query as sent, without the `?`; empty for none.
    pub query: &'a str,
    /// Header fields.
    pub headers: &'a dyn Headers,
    /// The whole body. A runtime refuses bodies above its limit before (413).
    pub body: &'a [u8],
    /// Who asked; `None` over a unix socket.
    pub remote: Option<IpAddr>,
}

/// Access to header fields by lower-case name.
pub trait Headers: core::fmt::Debug + Sync {
    /// The first value of this field, if it is text.
    fn get(&self, name: &str) -> Option<&str>;

    /// All fields that are text, to be passed on.
    fn all(&self) -> Vec<(String, String)>;
}

/// No header fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }

    fn all(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Pairs, for tests and tools.
impl Headers for &[(&str, &str)] {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| *v)
    }

    fn all(&self) -> Vec<(String, String)> {
        self.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }
}
