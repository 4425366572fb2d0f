//! What can happen to the machine, and what it wants done.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::members::Membership;
use crate::message::Message;
use crate::types::{Blob, Command, Entry, Index, NodeId, Position, Snapshot, Term};
use crate::writes::Persist;

/// Names a request until its outcome is told; chosen by whoever asks, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// Another server says something.
    Message {
        /// Who; the transport has made sure.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// All [`Action::Persist`] up to and including this one are durable.
    Persisted {
        /// The highest such [`Persist::seq`].
        upto: u64,
    },
    /// A write failed. The machine halts: what is on disk is unknown from now on, and no later success changes that.
    PersistFailed {
        /// For people.
        error: String,
    },
    /// There is no space for entries any more, or there is again. Writes of hard state alone must go on to succeed: the
    /// driver reserves space for them.
    DiskFull(bool),
    /// Make these members the cluster. Only a node without any log takes it; the same must be said to every one of
    /// `members`, or to one of them only, and the others added by it.
    Bootstrap {
        /// Told by [`Action::Refused`], or by the [`Action::Apply`] of the entry.
        ticket: Ticket,
        /// At least one voter.
        members: Membership,
    },
    /// Put these into the log, in this order. All are accepted or all refused.
    Propose(Vec<Proposal>),
    /// Tell up to where the state machine must have applied, and that it has, for a read to see all that was committed
    /// before now.
    Read {
        /// Told by [`Action::Readable`] or [`Action::Refused`].
        ticket: Ticket,
        /// How to know.
        mode: ReadMode,
    },
    /// Change who belongs to the cluster.
    Change {
        /// Told as with [`Event::Bootstrap`].
        ticket: Ticket,
        /// How.
        change: Change,
    },
    /// Let another voter lead.
    Transfer {
        /// Told by [`Action::Transferred`] or [`Action::Refused`].
        ticket: Ticket,
        /// Who; `None`: whoever has most of the log.
        to: Option<NodeId>,
    },
    /// Answers [`Action::TakeSnapshot`], or comes unasked.
    SnapshotTaken {
        /// The last entry applied to what was exported.
        index: Index,
        /// What the state machine exported.
        data: Blob,
    },
}

/// One command to be put into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Comes back with [`Action::Apply`], [`Action::Refused`] or [`Action::Unknown`].
    pub ticket: Ticket,
    /// What.
    pub command: Command,
}

/// How to know that a read sees everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// The leader's lease, which trusts that no clock is twice as fast as another; without a valid one, as `Quorum`.
    Lease,
    /// A majority confirms, after the request, that it knows of no other leader.
    Quorum,
}

/// A change of membership: of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member; it only receives, until it is promoted.
    AddLearner {
        /// Who.
        id: NodeId,
        /// Where.
        address: String,
    },
    /// A learner that has caught up votes from now on.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// It no longer belongs.
    Remove(NodeId),
    /// It is reached elsewhere.
    Move {
        /// Who.
        id: NodeId,
        /// Where.
        address: String,
    },
}

/// What it wants done. Everything is to be done at once and without condition, in any order between the kinds, but
/// [`Action::Persist`] in order of `seq`, [`Action::Apply`] and [`Action::Install`] in order, and [`Action::Readable`]
/// behind the [`Action::Apply`] that stand before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this, and report [`Event::Persisted`]. Many may be made durable at once.
    Persist(Persist),
    /// Say this. May be lost, delayed, repeated, overtaken.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Apply these to the state machine: they are committed, and on the own disk.
    Apply(Vec<Committed>),
    /// Replace the state machine's state: this snapshot is committed, and on the own disk.
    Install(Arc<Snapshot>),
    /// Answer the read from the state as it is after all [`Action::Apply`] so far.
    Readable {
        /// Of the read.
        ticket: Ticket,
        /// Up to here is applied at least.
        index: Index,
    },
    /// Not done, and never will be.
    Refused {
        /// Of the request.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// It is in a log, but this server leads no more: it may or may not be applied. A retry with the same client and serial
    /// is safe.
    Unknown {
        /// Of the proposal.
        ticket: Ticket,
    },
    /// Leadership was given away.
    Transferred {
        /// Of the request.
        ticket: Ticket,
    },
    /// Who leads, or what this server is, changed.
    Role {
        /// This server.
        role: Role,
        /// The term.
        term: Term,
        /// Who leads it, if known.
        leader: Option<NodeId>,
    },
    /// Another membership is in force. It may be overwritten as long as `index` is not committed.
    Members {
        /// The entry that says so.
        index: Index,
        /// Who.
        members: Arc<Membership>,
    },
    /// Export the state machine as it is after the [`Action::Apply`] so far, and hand it in as
    /// [`Event::SnapshotTaken`].
    TakeSnapshot {
        /// The last entry applied.
        position: Position,
    },
    /// A write failed: this server takes no part any more.
    Halted {
        /// For people.
        error: String,
    },
}

/// A committed entry, and whose proposal it was, if it was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Of the proposal.
    pub ticket: Option<Ticket>,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows, or waits. Learners do nothing else.
    Follower,
    /// Asks whether an election could be won.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Does nothing: a write failed.
    Halted,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only a leader can.
    #[error("node is not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<NodeId>,
    },
    /// Nobody leads.
    #[error("No cluster leader")]
    NoLeader,
    /// A bound is reached.
    #[error("too many requests wait for the cluster; try again later")]
    Busy,
    /// Leadership is being handed over.
    #[error("leadership is being transferred; try again in a moment")]
    Transferring,
    /// The own disk has no space.
    #[error("the disk of the leader is full; free some space in data_dir")]
    DiskFull,
    /// Beyond a bound that does not move.
    #[error("the change has {bytes} bytes, and {limit} is the most")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// A write failed earlier.
    #[error("the server cannot write its log and has stopped: {error}")]
    Halted {
        /// For people.
        error: String,
    },
    /// The leader has not yet committed an entry of its own term.
    #[error("the leader was elected a moment ago and cannot change the membership yet; try again")]
    TooEarly,
    /// Another change is not yet committed.
    #[error("another change of membership is under way; try again when it is done")]
    ChangeInProgress,
    /// Nothing would change.
    #[error("the membership is like that already")]
    NothingToDo,
    /// There is no such member.
    #[error("no such server: {id:?}")]
    UnknownMember {
        /// Who.
        id: NodeId,
    },
    /// Nobody would be left to vote.
    #[error("{id:?} is the last voter; add another one first")]
    LastVoter {
        /// Who.
        id: NodeId,
    },
    /// It would be a voter that cannot acknowledge anything for a while.
    #[error("{id:?} lags {entries} entries behind; try again when it has caught up")]
    NotCaughtUp {
        /// Who.
        id: NodeId,
        /// How far.
        entries: u64,
    },
    /// It cannot lead.
    #[error("{id:?} is not a voter, or is this server itself")]
    NotEligible {
        /// Who.
        id: NodeId,
    },
    /// The bounds of [`Membership`].
    #[error("the membership is not possible: no voter, too many members, or an address that is too long")]
    BadMembership,
    /// There is a log already.
    #[error("the server belongs to a cluster already")]
    NotEmpty,
    /// The target of the transfer did not take over in time.
    #[error("leadership was not taken over in time; this server still leads")]
    TransferTimedOut,
}
