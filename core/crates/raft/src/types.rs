//! The words of the protocol: nodes, terms, positions, entries, snapshots.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::members::Membership;

/// Number of a reign. 0: none yet.
pub type Term = u64;
/// Place in the log. The first entry has 1; 0 is before it.
pub type Index = u64;

/// Terms and indices above this are refused: nobody reaches them in a lifetime, and below it no sum overflows.
pub const MAX_NUMBER: u64 = 1 << 60;
/// A term that is so far ahead of the own one is refused: honest nodes, voting ten times a second, are this far apart
/// after 13 years. Without it one bad message would use up all terms there are.
pub const MAX_LEAP: u64 = 1 << 32;

/// A server. 128 bits, so that a UUID is one. Given once and never to another disk: who lost its disk is another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct NodeId(pub u128);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}

/// An entry's identity: two logs that have it are equal up to it (Log Matching, section 5.3 of the paper).
///
/// Ordered as section 5.4.1 orders logs by their last entry: by term, then by index.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Of the leader that made it.
    pub term: Term,
    /// Its place.
    pub index: Index,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Self = Self { term: 0, index: 0 };
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// Shared bytes. On the wire they are a length and the bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(Arc<[u8]>);

impl Blob {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for Blob {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(&self.0) {
            Ok(text) if text.len() <= 32 => write!(f, "{text:?}"),
            _ => write!(f, "{} bytes", self.0.len()),
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// What a client wants applied. A retry has the same client and serial, so that it is applied once: [`crate::Once`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// Who wants it.
    pub client: u64,
    /// Which of its wants; rises.
    pub serial: u64,
    /// What; only the state machine can read it.
    pub data: Blob,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Payload {
    /// The first entry of a reign: with it, everything before it is committed (section 5.4.2, 8).
    Noop,
    /// For the state machine.
    Command(Command),
    /// Who belongs to the cluster, from this entry on.
    Membership(Arc<Membership>),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// Of the leader that made it.
    pub term: Term,
    /// Its place.
    pub index: Index,
    /// What it holds.
    pub payload: Payload,
}

impl Entry {
    /// Its identity.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { term: self.term, index: self.index }
    }

    /// About as many bytes as it takes on the wire.
    #[must_use]
    pub fn weight(&self) -> usize {
        32 + match &self.payload {
            Payload::Noop => 0,
            Payload::Command(command) => command.data.len(),
            Payload::Membership(members) => members.weight(),
        }
    }
}

/// What must survive a crash besides log and snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HardState {
    /// Highest term known.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// A commit index that was true when this was written. A hint: it may lag, and is cut to the log when it is read.
    pub commit: Index,
}

/// What a snapshot is, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SnapshotMeta {
    /// The last entry in it.
    pub position: Position,
    /// Who belonged to the cluster as of that entry, and which entry said so.
    pub membership: Arc<Membership>,
    /// Index of that entry.
    pub membership_index: Index,
    /// Bytes.
    pub len: u64,
    /// CRC-32 of them: two snapshots at one position may still differ in bytes, and their chunks must not be mixed.
    pub digest: u32,
}

/// The state machine's state as of a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is.
    pub meta: SnapshotMeta,
    /// What the state machine exported.
    pub data: Blob,
}

impl Snapshot {
    /// A snapshot of these bytes.
    #[must_use]
    pub fn new(position: Position, membership: Arc<Membership>, membership_index: Index, data: Blob) -> Self {
        let (len, digest) = (data.len() as u64, crc32fast::hash(data.as_slice()));
        Self { meta: SnapshotMeta { position, membership, membership_index, len, digest }, data }
    }
}
