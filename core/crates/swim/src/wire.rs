//! Messages as bytes.
//!
//! A packet is `0xC7 | version | pool, sealed bit | body`; sealed bodies are opened first (see [`crate::seal`]; the three
//! bytes before are authenticated with them). The body is a row of messages, each with its length before it, so that a
//! message of a kind this build does not know is skipped and not fatal: members of several versions share a pool. The
//! frame of a stream has the same three bytes and one [`Frame`]. Messages are postcard; kinds and fields are only ever
//! added at the end.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::config::Versions;
use crate::table::{Profile, State};
use crate::tags::{Tags, TagsError};
use crate::vivaldi::Coordinate;

/// Most bytes of a frame on a stream: a table of 100,000 members fits.
pub const MAX_FRAME: usize = 32 << 20;
/// Most bytes of a name.
pub const MAX_NAME: usize = 256;
/// First byte of everything.
pub const MAGIC: u8 = 0xC7;
/// Bytes before the body.
pub const HEADER: usize = 3;
/// In the third byte: the body is sealed.
pub(crate) const SEALED: u8 = 0x80;
/// Bytes of the length before a message.
const LENGTH: usize = 2;

/// The most an accusation may carry. A claim may carry more, so that no accusation is beyond refuting.
pub(crate) const MAX_ACCUSED: u64 = 1 << 61;
/// The most a claim may carry.
pub(crate) const MAX_CLAIMED: u64 = 1 << 62;

/// A piece of a packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message<'a> {
    /// Are you there? SWIM section 3.1.
    Ping { seq: u32, target: &'a str },
    /// I am, and here.
    Ack { seq: u32, coordinate: Option<Coordinate> },
    /// The one you asked me to ping does not answer me either. Lifeguard section 4.1.
    Nack { seq: u32 },
    /// Ping that one for me.
    PingFor { seq: u32, target: &'a str, address: SocketAddr },
    /// I am this, and alive.
    #[serde(borrow)]
    Alive(Claim<'a>),
    /// It does not answer the accuser, nor others: hashes of their names, eight bytes each. Without an accuser: do you know
    /// better?
    Suspect { name: &'a str, incarnation: u64, accuser: &'a str, others: &'a [u8] },
    /// It had its time.
    Failed { name: &'a str, incarnation: u64, accuser: &'a str },
    /// It left.
    Left { name: &'a str, incarnation: u64, prune: bool },
    /// A user event.
    Rumour(Rumour<'a>),
    /// Do this with your keys, and tell me.
    KeysAsk(KeysAsk<'a>),
    /// Done, or not.
    KeysAnswer(KeysAnswer<'a>),
}

/// What goes over a stream, one each way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Frame<'a> {
    /// As [`Message::Ping`], where packets do not get through. Answered by `Ack`.
    Ping { seq: u32, target: &'a str },
    /// Answers `Ping`.
    Ack { seq: u32 },
    /// This is me, and this the digest of what I know. Answered by `Table`.
    Compare {
        #[serde(borrow)]
        claim: Claim<'a>,
        digests: &'a [u8],
        clock: u64,
        /// Hashes of the newest user events heard, four bytes each.
        heard: &'a [u8],
    },
    /// What I know where our digests differ: rows of [`Row`], rows of [`Rumour`].
    Table { mask: u64, clock: u64, rows: &'a [u8], rumours: &'a [u8] },
    /// What you do not know. Answered by `Thanks`.
    Offer { from: &'a str, rows: &'a [u8] },
    /// Answers `Offer`.
    Thanks,
    /// Answered by `KeysAnswer`.
    KeysAsk(KeysAsk<'a>),
    /// Answers `KeysAsk`.
    KeysAnswer(KeysAnswer<'a>),
    /// Not with you, and why. Never sealed, never trusted: shown to people only.
    Refused { why: &'a str },
}

/// What a member says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim<'a> {
    pub(crate) name: &'a str,
    pub(crate) incarnation: u64,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) tags: &'a [u8],
    pub(crate) min: u8,
    pub(crate) max: u8,
}

/// What a member believes of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row<'a> {
    #[serde(borrow)]
    pub(crate) claim: Claim<'a>,
    pub(crate) state: u8,
    /// Seconds since it is failed or left, so that tombstones expire everywhere at about the same time.
    pub(crate) age: u32,
}

/// A user event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rumour<'a> {
    pub(crate) time: u64,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
}

/// A keyring operation on its way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeysAsk<'a> {
    pub(crate) id: u64,
    pub(crate) asker: &'a str,
    /// 0 list, 1 install, 2 use, 3 remove.
    pub(crate) op: u8,
    pub(crate) key: &'a [u8],
}

/// And what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeysAnswer<'a> {
    pub(crate) id: u64,
    pub(crate) from: &'a str,
    /// The sealing one first.
    #[serde(borrow)]
    pub(crate) keys: Vec<&'a [u8]>,
    /// Empty: it was done.
    pub(crate) error: &'a str,
}

impl<'a> Claim<'a> {
    pub(crate) fn of(profile: &'a Profile, incarnation: u64) -> Self {
        Self {
            name: profile.name(),
            incarnation,
            ip: profile.address().ip(),
            port: profile.address().port(),
            tags: profile.tags().as_wire(),
            min: profile.versions().min,
            max: profile.versions().max,
        }
    }

    /// It can be shown to people: in logs, in tables.
    pub(crate) fn is_named(&self) -> bool {
        (1..=MAX_NAME).contains(&self.name.len()) && !self.name.chars().any(char::is_control)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    pub(crate) const fn versions(&self) -> Versions {
        Versions { min: self.min, max: self.max }
    }

    pub(crate) fn profile(&self) -> Result<Profile, TagsError> {
        Ok(Profile::new(self.name, self.address(), &Tags::from_wire(self.tags)?, self.versions()))
    }

    /// It says the same as a profile.
    pub(crate) fn says(&self, profile: &Profile) -> bool {
        self.name == profile.name()
            && self.address() == profile.address()
            && self.tags == profile.tags().as_wire()
            && self.versions() == profile.versions()
    }
}

pub(crate) const fn state_to_wire(state: State) -> u8 {
    match state {
        State::Alive => 0,
        State::Suspect => 1,
        State::Failed => 2,
        State::Left => 3,
    }
}

/// `None`: of a version to come; such a row is skipped.
pub(crate) const fn state_from_wire(state: u8) -> Option<State> {
    match state {
        0 => Some(State::Alive),
        1 => Some(State::Suspect),
        2 => Some(State::Failed),
        3 => Some(State::Left),
        _ => None,
    }
}

/// Starts a packet or frame in an empty buffer.
pub(crate) fn begin(version: u8, pool: u8, buf: &mut Vec<u8>) {
    buf.clear();
    buf.extend_from_slice(&[MAGIC, version, pool]);
}

/// Appends something with its length before it. Nothing is appended, and it says so, if that is longer than a length can say.
pub(crate) fn push<T: Serialize>(value: &T, buf: &mut Vec<u8>) -> bool {
    let start = buf.len();
    buf.extend_from_slice(&[0; LENGTH]);
    let taken = core::mem::take(buf);
    // Encoding into memory fails for nothing that is encoded here.
    *buf = postcard::to_extend(value, taken).unwrap_or_default();
    let Ok(length) = u16::try_from(buf.len().saturating_sub(start + LENGTH)) else {
        buf.truncate(start);
        return false;
    };
    match buf.get_mut(start..start + LENGTH) {
        Some(at) => at.copy_from_slice(&length.to_le_bytes()),
        None => return false,
    }
    true
}

/// Bytes with a length before each.
#[derive(Clone, Debug)]
pub(crate) struct Pieces<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    /// `None` inside: the rest is cut off.
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let piece = self.0.split_first_chunk::<LENGTH>().and_then(|(length, rest)| {
            let length = usize::from(u16::from_le_bytes(*length));
            rest.split_at_checked(length)
        });
        let Some((piece, rest)) = piece else {
            self.0 = &[];
            return Some(None);
        };
        self.0 = rest;
        Some(Some(piece))
    }
}

/// Appends a frame's body.
pub(crate) fn push_frame(frame: &Frame<'_>, buf: &mut Vec<u8>) {
    let taken = core::mem::take(buf);
    *buf = postcard::to_extend(frame, taken).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn messages_come_back_and_unknown_ones_are_skipped() {
        let mut buf = Vec::new();
        let ping = Message::Ping { seq: 7, target: "n1" };
        let claim = Claim {
            name: "n1",
            incarnation: 9,
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 8301,
            tags: &[0],
            min: 1,
            max: 1,
        };
        assert!(push(&ping, &mut buf));
        buf.extend_from_slice(&[2, 0, 99, 1]);
        assert!(push(&Message::Alive(claim), &mut buf));
        let all: Vec<_> = Pieces(&buf).map(|piece| postcard::from_bytes::<Message<'_>>(piece.unwrap())).collect();
        assert_eq!(all[0], Ok(ping));
        assert!(all[1].is_err());
        assert_eq!(all[2], Ok(Message::Alive(claim)));
    }

    #[test]
    fn a_cut_row_ends_there() {
        let mut buf = Vec::new();
        push(&Message::Nack { seq: 1 }, &mut buf);
        let whole = buf.len();
        push(&Message::Nack { seq: 2 }, &mut buf);
        for cut in whole + 1..buf.len() {
            let pieces: Vec<_> = Pieces(&buf[..cut]).collect();
            assert_eq!((pieces.len(), pieces[0].is_some(), pieces[1]), (2, true, None));
        }
    }

    #[test]
    fn what_is_too_long_for_a_length_is_not_written() {
        let mut buf = alloc::vec![1];
        let payload = alloc::vec![0; 70_000];
        assert!(!push(&Message::Rumour(Rumour { time: 1, name: "x", payload: &payload }), &mut buf));
        assert_eq!(buf, [1]);
    }
}
