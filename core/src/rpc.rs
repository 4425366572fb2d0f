//! What agents say to each other over streams: the messages of consensus between servers, and questions with answers.
//!
//! A stream begins with [`PREFACE`], then carries frames in both directions, each a length (u32, little-endian) and a
//! [`Body`] in postcard. Many questions may be under way on one stream; an answer names its question. Fields and variants
//! are only ever added at the end, and a stream of another version is refused by its preface, so that agents of different
//! versions find out at once.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use convoke_catalog::Reply;
use convoke_catalog::model::{Check, Node, Service};
use convoke_raft::{Blob, Message, NodeId};
use serde::{Deserialize, Serialize};

/// First bytes of a stream: a name and a version.
pub const PREFACE: [u8; 4] = *b"CVK\x01";
/// Bytes of a frame. A change is at most 64 MiB; a piece of a snapshot far less.
pub const MAX_FRAME: usize = 80 << 20;
/// Hops that a question may make: from a client agent to any server, from there to the leader.
pub const MAX_HOPS: u8 = 2;

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Between servers; lost as a network loses.
    Raft {
        /// Sender.
        from: NodeId,
        /// For whom it is: another server may have got the address.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// A question.
    Ask {
        /// Comes back; unique on the stream.
        id: u64,
        /// What.
        ask: Ask,
    },
    /// The answer.
    Answer {
        /// Of the question.
        id: u64,
        /// What.
        answer: Answer,
    },
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Put this into the log.
    Propose {
        /// Who wants it, and which of its wants it is.
        client: (u64, u64),
        /// The command, as it will be in the log.
        command: Blob,
        /// Zero of a client agent: who does not lead asks the leader.
        hops: u8,
    },
    /// Answer this as if it had come over HTTP.
    Http(Http),
    /// Answer this DNS message.
    Dns(Dns),
    /// The rows of a node, for anti-entropy.
    Rows {
        /// Partition.
        partition: String,
        /// Name.
        node: String,
    },
    /// May the asker make these servers a cluster? See [`crate::bootstrap`].
    Bootstrap {
        /// Who asks.
        by: NodeId,
        /// Who would belong to it.
        members: Vec<NodeId>,
        /// Who has promised to the asker: these will not begin themselves.
        given: Vec<NodeId>,
    },
}

/// An HTTP request on its way to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Upper case.
    pub method: String,
    /// As sent.
    pub path: String,
    /// Behind the `?`.
    pub query: String,
    /// Those the handlers look at.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Who asked the agent.
    pub remote: Option<IpAddr>,
    /// Node of that agent.
    pub node: String,
    /// Made so far.
    pub hops: u8,
}

/// A DNS message on its way to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The message.
    pub packet: Vec<u8>,
    /// Who asked the agent.
    pub peer: SocketAddr,
    /// Over TCP.
    pub tcp: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Ask::Propose`]: it is in the log.
    Applied(Reply),
    /// To [`Ask::Propose`]: it is not, and will not be because of this question.
    Refused {
        /// Asking again, here or elsewhere, may help.
        passes: bool,
        /// Too much at once.
        busy: bool,
        /// For people.
        text: String,
    },
    /// To [`Ask::Propose`]: it may or may not be.
    Unknown,
    /// To [`Ask::Http`].
    Http {
        /// Status code.
        status: u16,
        /// Fields.
        headers: Vec<(String, String)>,
        /// Body.
        body: Vec<u8>,
    },
    /// To [`Ask::Dns`]; empty: nothing is to be answered.
    Dns(Vec<u8>),
    /// To [`Ask::Rows`].
    Rows(Rows),
    /// To [`Ask::Bootstrap`].
    Bootstrap {
        /// Nobody else is allowed to.
        granted: bool,
        /// There is a cluster already.
        exists: bool,
    },
    /// To anything: it cannot be answered.
    Failed(String),
}

/// What the catalog has of a node, in all namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Its row, if there is one.
    pub node: Option<Node>,
    /// On it.
    pub services: Vec<Service>,
    /// On it.
    pub checks: Vec<Check>,
}

/// Why a frame cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame does not decode: the peer is of another version, or no agent")]
pub struct Undecodable;

/// The bytes of a frame, without the length.
#[must_use]
pub fn encode(body: &Body) -> Vec<u8> {
    // These types always encode.
    postcard::to_allocvec(body).unwrap_or_default()
}

/// Reads a frame, without the length.
///
/// # Errors
///
/// [`Undecodable`]; the stream cannot be trusted any more.
pub fn decode(bytes: &[u8]) -> Result<Body, Undecodable> {
    postcard::from_bytes(bytes).map_err(|_| Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_and_rubbish_does_not_panic() {
        let ask = Ask::Propose { client: (1, 2), command: b"x"[..].into(), hops: 0 };
        let http = Ask::Http(Http { method: "GET".into(), path: "/v1/kv/a".into(), ..Http::default() });
        let answer = Answer::Rows(Rows::default());
        let raft = Body::Raft { from: NodeId(1), to: NodeId(u128::MAX), message: Message::TimeoutNow { term: 3 } };
        let bodies = [raft, Body::Ask { id: 7, ask }, Body::Ask { id: 8, ask: http }, Body::Answer { id: 7, answer }];
        for body in bodies {
            let bytes = encode(&body);
            assert_eq!(decode(&bytes), Ok(body));
            for cut in 0..bytes.len() {
                let _ = decode(&bytes[..cut]);
                let mut bad = bytes.clone();
                bad[cut] ^= 0x5a;
                let _ = decode(&bad);
            }
        }
        assert_eq!(decode(&[]), Err(Undecodable));
    }
}
