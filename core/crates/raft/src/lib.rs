//! Consensus: a few servers keep one log, in which nothing acknowledged is lost and nothing is told that may be unsaid.
//!
//! Raft (Ongaro and Ousterhout, "In search of an understandable consensus algorithm", extended version, and Ongaro's
//! dissertation) as one pure machine: [`Raft`]. A driver hands in [`Event`]s and carries out [`Action`]s. It knows nothing
//! of what the commands mean.
//!
//! What there is to know:
//!
//! * [`types`]: nodes, terms, positions, entries, snapshots. [`members`]: who belongs to the cluster.
//! * [`config`]: every knob, with unit, default, and what a wrong value breaks.
//! * [`event`]: what can happen to the machine, and what it wants done. [`message`]: what servers say to each other.
//! * [`writes`]: what a driver writes; why the order is safe: [`ordering`].
//! * [`recover`]: starting from what the disk held. [`stats`]: counters.
//! * [`once`]: for state machines: applying a retried command once.
//!
//! How it works, one concern a file:
//!
//! * [`raft`]: the machine: its parts, which event goes where, and what every call ends with.
//! * `election`: pre-votes and votes. `following`: taking a leader's entries.
//! * `replication`: the reign of a leader: rounds, leases, sending, committing. `progress`: one follower, seen by it.
//! * `snapshot`: taking, sending, receiving, installing. `reads`: linearizable reads. `transfer`: giving leadership away.
//! * `membership`: changing who belongs. [`quorum`]: majorities. `log`: the log in memory. `timers`: deadlines.
//! * [`flaw`]: known bugs, to be put back by tests.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod config;
mod election;
pub mod event;
pub mod flaw;
mod following;
mod log;
pub mod members;
mod membership;
pub mod message;
pub mod once;
#[doc = include_str!("ordering.md")]
pub mod ordering {}
mod progress;
pub mod quorum;
pub mod raft;
mod reads;
pub mod recover;
mod replication;
mod snapshot;
pub mod stats;
mod timers;
mod transfer;
pub mod types;
pub mod writes;

pub use config::Config;
pub use event::{Action, Change, Committed, Event, Proposal, ReadMode, Refusal, Role, Ticket};
pub use flaw::Flaw;
pub use members::{Member, Membership};
pub use message::{Appended, Message, ReadId};
pub use once::{Once, Verdict};
pub use raft::Raft;
pub use recover::{Boot, RecoverError, Recovered};
pub use stats::Stats;
pub use types::{Blob, Command, Entry, HardState, Index, NodeId, Payload, Position, Snapshot, SnapshotMeta, Term};
pub use writes::{Persist, SnapshotWrite};
