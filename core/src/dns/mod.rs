//! The DNS service: a packet and a view in, at most one packet out.
//!
//! | module | what is in it |
//! |---|---|
//! | [`settings`] | [`DnsSettings`]: what an answer needs of the configuration, made once per reload |
//! | [`recursion`] | [`Recursion`]: asking upstream servers, as a state machine that does no IO |
//! | `respond` | from the packet to a handler, and what is wrong with packets |
//! | `query` | a checked question; the reply being built, with room kept for OPT |
//! | `grammar` | which name asks for what |
//! | `service`, `prepared`, `node`, `authority`, `reverse`, `literal` | the answers, one kind each |
//! | `pick` | which instances, in which order |
//! | `host` | addresses that are names: CNAME, and what stands behind it |
//! | `text` | node metadata as TXT |
//!
//! [`answer`] is a pure function of its arguments and does not allocate for services and nodes with IP addresses. It
//! gives, for any packet whatever, nothing, one well-formed message within the limit, or a [`Recursion`].

pub mod recursion;
pub mod settings;

mod authority;
mod grammar;
mod host;
mod literal;
mod node;
mod pick;
mod prepared;
mod query;
mod respond;
mod reverse;
mod service;
#[cfg(test)]
mod tests;
mod text;

use alloc::boxed::Box;

pub use recursion::{Ask, Recursion, Step, Verdict};
pub use respond::{answer, unavailable};
pub use settings::{DnsSettings, SettingsError};

/// How a packet came, and how its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram: 512 octets unless EDNS says more.
    Udp,
    /// A stream with length prefixes (not part of the packets here): up to 65535 octets.
    Tcp,
}

/// What becomes of a packet.
#[derive(Debug)]
pub enum Outcome {
    /// So many octets of the output buffer are the reply.
    Reply(usize),
    /// No reply: the packet is no request.
    Drop,
    /// The reply depends on upstream servers: drive this to its end.
    Recurse(Box<Recursion>),
    /// A client agent has no tables: ask a server.
    Elsewhere,
}
