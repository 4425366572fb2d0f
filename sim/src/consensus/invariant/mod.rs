//! What always holds, one a file, each with its source.

mod completeness;
mod contradictions;
mod durability;
mod elections;
mod leases;
mod matching;
mod quorums;
mod space;
mod states;
mod watchers;

use std::fmt;

use convoke_kit::Time;
use convoke_raft::{Entry, Index, Payload, Persist, Position};

use super::disk::Mirror;
use super::slot::Slot;
use crate::digest::{bytes, fold};

/// What an invariant may look at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Nanoseconds of the world.
    pub now: u64,
    /// All places.
    pub slots: &'a [Slot],
}

/// What happened.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A server began to lead, or to lead another term.
    Leads(usize),
    /// A server handled something.
    Handled(usize),
    /// A server hands a write to its disk.
    Wrote(usize, &'a Persist),
    /// A server applied an entry; the hash is that of its state.
    Applied(usize, &'a Entry, u64),
    /// A server put a snapshot in place of its state.
    Installed(usize, Position, u64),
    /// A client was told that what it wanted was applied.
    Acknowledged(usize),
    /// A client was told what a server knows: the last entry applied.
    Watched(usize, Index),
    /// A server starts: what its disk was known to hold before.
    Starts(usize, &'a Mirror),
    /// A server halted.
    Halted(usize),
    /// A server is about to be no more.
    Ends(usize),
    /// Everything has been healed for long enough.
    Healed,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant that is broken, or what else was expected.
    pub invariant: &'static str,
    /// When, in the time of the world.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {:.3} s: {}", self.invariant, self.at.since_start().as_secs_f64(), self.what)
    }
}

impl std::error::Error for Violation {}

/// Something that always holds.
pub trait Invariant: fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Where it comes from.
    fn source(&self) -> &'static str;

    /// Looks at what happened.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String>;
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<elections::ElectionSafety>::default(),
        Box::<matching::LogMatching>::default(),
        Box::<completeness::LeaderCompleteness>::default(),
        Box::<states::StateMachineSafety>::default(),
        Box::<durability::Durability>::default(),
        Box::<quorums::CommittedQuorums>::default(),
        Box::<leases::LeaseSafety>::default(),
        Box::<watchers::IndexMonotonic>::default(),
        Box::new(contradictions::NoContradiction),
        Box::new(space::SpaceIsKept),
    ]
}

/// Of what an entry holds.
fn hash(entry: &Entry) -> u64 {
    match &entry.payload {
        Payload::Noop => 1,
        Payload::Command(command) => fold(command.client ^ command.serial << 20, bytes(command.data.as_slice())),
        Payload::Membership(members) => {
            members.0.iter().fold(2, |hash, (id, member)| fold(hash ^ id.0 as u64, u64::from(member.voter) ^ 0x51))
        }
    }
}
