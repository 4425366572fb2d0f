//! What was seen in a world: the raw material of invariants and measurements.

use std::net::SocketAddr;

use convoke_kit::Time;
use convoke_swim::{KeyReport, MemberEvent, Ticket, UserEvent};

/// Something a node said, or did.
#[derive(Clone, Debug)]
pub struct Note {
    /// When, in the time of the world.
    pub at: Time,
    /// Who.
    pub node: u32,
    /// In which of its lives.
    pub life: u32,
    /// What.
    pub what: Seen,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The node says that something happened to a member.
    Member {
        /// The node that has the member's name; `None` if no node ever had it.
        subject: Option<u32>,
        /// What happened.
        what: MemberEvent,
    },
    /// The node delivered a user event.
    UserEvent(UserEvent),
    /// A join ended.
    Joined {
        /// Of the command.
        ticket: Ticket,
        /// Members reached.
        reached: usize,
        /// Members not reached.
        failed: usize,
    },
    /// The node has left.
    Left,
    /// A keyring operation ended.
    KeysDone {
        /// Of the command.
        ticket: Ticket,
        /// Result.
        report: Box<KeyReport>,
    },
    /// Two members have one name.
    Conflict {
        /// Where the known one is.
        known: SocketAddr,
        /// Where the other one is.
        other: SocketAddr,
        /// It is about the node's own name.
        own: bool,
    },
    /// The node warned.
    Warn(String),
    /// The node began a probe. Only with [`crate::World::watch_probes`].
    Probe {
        /// Of whom.
        to: u32,
        /// In which life of that one.
        life: u32,
        /// Probes it has begun in this life, this one included.
        count: u64,
    },
}

/// Totals over all nodes and all their lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Entries of the agenda that were carried out.
    pub events: u64,
    /// Datagrams sent.
    pub packets: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Datagrams lost under way, or to addresses where nobody is.
    pub lost: u64,
    /// Datagrams dropped because the receiver did not take them from its socket in time.
    pub overflowed: u64,
    /// Datagrams handed to a member.
    pub delivered: u64,
    /// Streams dialled.
    pub dials: u64,
    /// Of these, those that failed.
    pub dials_failed: u64,
    /// Bytes of frames.
    pub frame_bytes: u64,
    /// Calls of `handle_timeout` because a deadline had come.
    pub timeouts: u64,
    /// Members declared failed by a node.
    pub failed: u64,
}
