//! DNS messages: decode, build, compress, truncate. Knows no catalog and no socket.
//!
//! | module | what is in it |
//! |---|---|
//! | [`types`] | record types, classes, opcodes, response codes, header flags |
//! | [`name`] | domain names: an owned one of at most 255 octets, a view into a message, their text form |
//! | [`message`] | the decoder: a checked, borrowed view of a whole message |
//! | [`rdata`] | what the record types carry |
//! | [`edns`] | OPT and the client subnet option |
//! | [`builder`] | the encoder: section by section into the caller's buffer, never over its limit |
//! | [`compress`] | the table of names already written |
//! | [`truncate`](mod@truncate) | cutting a finished message down to a size |
//! | [`reverse`] | `in-addr.arpa` and `ip6.arpa` |
//!
//! Standards: RFC 1035 (messages, names, compression), 2181 (truncation), 2308 (negative answers: a SOA in the
//! authority section), 2782 (SRV), 3597 (unknown types kept as they are), 6891 (EDNS), 7871 (client subnet).
//!
//! Decoding is total: any bytes give a [`Message`] or an [`Error`], never a panic, in time linear in
//! the packet's length times the longest name. Neither side allocates.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod builder;
pub mod compress;
pub mod edns;
pub mod message;
pub mod name;
pub mod rdata;
pub mod reverse;
pub mod truncate;
pub mod types;

mod error;
mod reader;

pub use builder::{Builder, Full, NameAt, RecordWriter};
pub use edns::{ClientSubnet, Opt, OptHeader};
pub use error::{Error, NameError};
pub use message::{Header, Message, Question, Record, Section};
pub use name::{Name, NameRef};
pub use rdata::{RData, Soa, Srv, Txt};
pub use truncate::truncate;
pub use types::{Class, Flags, Opcode, Rcode, RecordType};

/// Octets of a message header.
pub const HEADER_LEN: usize = 12;
/// The largest message that travels over UDP without EDNS (RFC 1035, 2.3.4).
pub const MIN_UDP_LIMIT: usize = 512;
/// The largest message there is: TCP's length prefix has 16 bits.
pub const MAX_MESSAGE: usize = 65_535;
