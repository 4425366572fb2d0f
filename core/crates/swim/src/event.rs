//! What can happen to the machine, and what it wants done.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::seal::Key;
use crate::table::Profile;
use crate::tags::Tags;

/// Names an accepted stream until it is responded to; chosen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Names an [`Action::Dial`] until its outcome is reported; chosen by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Names a command until its result is told; chosen by whoever commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What can happen.
///
/// A stream carries one frame each way and is then closed. A frame is a `u32` length, little-endian, and as many bytes;
/// [`crate::wire::MAX_FRAME`] bounds it. Drivers hand in and send bodies only, without the length.
#[derive(Debug)]
pub enum Event<'a> {
    /// A packet came.
    Datagram {
        /// Sender.
        from: SocketAddr,
        /// Payload.
        bytes: &'a [u8],
    },
    /// The frame of an accepted stream came. Answered by one [`Action::Respond`], now.
    Request {
        /// Named in the answer.
        stream: StreamId,
        /// Peer.
        from: SocketAddr,
        /// Body of the frame.
        frame: &'a [u8],
    },
    /// A dialled peer responded.
    Response {
        /// Of the [`Action::Dial`].
        exchange: ExchangeId,
        /// Body of the frame; empty if the peer closed without one.
        frame: &'a [u8],
    },
    /// A dialled peer could not be reached, or did not respond in time.
    DialFailed {
        /// Of the [`Action::Dial`].
        exchange: ExchangeId,
        /// For people.
        error: &'a str,
    },
    /// Somebody wants something.
    Command(Command),
}

/// What can be asked of the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Compare tables with these, and thereby become a member. Told by [`Action::Joined`].
    Join {
        /// Named in the result.
        ticket: Ticket,
        /// Where members may be.
        addresses: Vec<SocketAddr>,
    },
    /// Leave for good. [`Action::Left`] follows when the news had time to spread.
    Leave,
    /// Say of a failed member that it left. Without effect on one that is alive: it would refute it at once.
    ForceLeave {
        /// Its name.
        name: String,
        /// Forget it altogether, everywhere.
        prune: bool,
    },
    /// Tell every member something.
    UserEvent {
        /// Name.
        name: String,
        /// Anything; bounded by [`crate::Config::event_bytes`].
        payload: Vec<u8>,
    },
    /// Say something else of oneself.
    SetTags(Tags),
    /// Do something with the keyring of every member. Told by [`Action::KeysDone`].
    Keys {
        /// Named in the result.
        ticket: Ticket,
        /// What.
        op: KeyOp,
        /// Only here, without asking anybody.
        local: bool,
    },
}

/// What can be done with keyrings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOp {
    /// Say which keys there are.
    List,
    /// Open packets with this one, too.
    Install(Key),
    /// Seal with this one, which must be installed.
    Use(Key),
    /// Open no packets with this one any more; it must not be the one that seals.
    Remove(Key),
}

/// What came of a [`Command::Keys`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Members that were asked, the own one included.
    pub members: usize,
    /// Of these, those that answered in time.
    pub replies: usize,
    /// Keys, and how many members have each.
    pub keys: BTreeMap<Key, usize>,
    /// Keys that seal, and at how many members.
    pub primary: BTreeMap<Key, usize>,
    /// What went wrong, by member. Those that did not answer are not listed here.
    pub errors: BTreeMap<String, String>,
    /// Names of the members that did not answer.
    pub silent: Vec<String>,
}

/// What the machine wants done, besides sending datagrams.
#[derive(Debug)]
pub enum Action {
    /// Connect, send the frame, read one frame, close; report [`Event::Response`] or [`Event::DialFailed`] within the limit.
    Dial {
        /// Named in the report.
        exchange: ExchangeId,
        /// Peer.
        to: SocketAddr,
        /// Body of the frame.
        frame: Vec<u8>,
        /// For everything together.
        limit: Duration,
    },
    /// Send this frame over an accepted stream and close it. Empty: close without a word.
    Respond {
        /// Of the [`Event::Request`].
        stream: StreamId,
        /// Body of the frame.
        frame: Vec<u8>,
    },
    /// Something happened to a member, the own one included.
    Member {
        /// What.
        what: MemberEvent,
        /// What it says of itself.
        profile: Arc<Profile>,
    },
    /// A user event, once at every member, the one that fired it included.
    UserEvent(UserEvent),
    /// Result of [`Command::Join`].
    Joined {
        /// Of the command.
        ticket: Ticket,
        /// Members reached.
        reached: usize,
        /// The others, and why not.
        errors: Vec<(SocketAddr, String)>,
    },
    /// The news of leaving had time to spread.
    Left,
    /// Result of [`Command::Keys`].
    KeysDone {
        /// Of the command.
        ticket: Ticket,
        /// Result.
        report: KeyReport,
    },
    /// The own keyring is now this, the sealing key first: keep it.
    KeysChanged {
        /// All keys.
        keys: Vec<Key>,
    },
    /// Another member has the name of one that is alive.
    Conflict {
        /// The name.
        name: String,
        /// Where the known one is.
        known: SocketAddr,
        /// Where the other one is.
        other: SocketAddr,
        /// It is about the own name: one of the two must be renamed.
        own: bool,
    },
    /// Something people should know. Repeated causes are told at most once a minute.
    Warn(String),
}

/// What can happen to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// Not known before, or failed or left before.
    Joined,
    /// Its tags or its address changed.
    Updated,
    /// It does not answer, and nobody vouched for it.
    Failed,
    /// It left, or was made to.
    Left,
    /// It is forgotten.
    Reaped,
}

/// An event fired by somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// Lamport time.
    pub time: u64,
    /// Name.
    pub name: String,
    /// Anything.
    pub payload: Vec<u8>,
}
