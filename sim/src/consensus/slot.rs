//! A place where a server lives: its disk, its clock, and what waits for it while it stands still.

use std::collections::VecDeque;

use convoke_kit::Time;
use convoke_raft::{Config, Message, NodeId, Role};

use super::disk::Disk;
use super::server::{Request, Server};

/// A clock: where it stood when the world began, and how fast it runs.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds ahead of the world.
    pub skew: u64,
    /// Thousandths of the world's.
    pub rate: u64,
}

impl Clock {
    /// What it shows.
    #[must_use]
    pub fn at(self, world: u64) -> Time {
        Time::from_nanos(self.skew + (u128::from(world) * u128::from(self.rate) / 1000) as u64)
    }

    /// When it will show it, in nanoseconds of the world.
    #[must_use]
    pub fn when(self, local: Time) -> u64 {
        let ahead = u128::from(local.as_nanos().saturating_sub(self.skew)) * 1000;
        u64::try_from(ahead.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX)
    }
}

/// What waits for a server that stands still.
#[derive(Debug)]
pub(super) enum Held {
    Message(NodeId, Message),
    Request(Request),
    Durable(u64, u64),
    Failed,
}

/// Why nobody is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, or stands still.
    Up,
    /// It crashed.
    Down,
    /// What is on its disk cannot be started from.
    Broken,
}

/// A place.
#[derive(Debug)]
pub struct Slot {
    /// Who lives here.
    pub id: NodeId,
    /// The server, if it runs.
    pub server: Option<Server>,
    /// It is driven as in the agent, and not plainly.
    pub agent: bool,
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub clock: Clock,
    /// Its settings.
    pub config: Config,
    /// Whether it runs.
    pub life: Life,
    /// It stands still.
    pub paused: bool,
    /// Counts its starts.
    pub starts: u64,
    /// It has halted.
    pub halted: bool,
    /// It was told that its disk is full.
    pub told_full: bool,
    /// Reading its disk fails until then.
    pub unreadable_until: u64,
    /// A crash after so many steps of the disk from now.
    pub armed: Option<u32>,
    /// Only steps that replace a file count.
    pub armed_for_replace: bool,
    /// A bit of its disk has turned.
    pub rotten: bool,
    /// A write was made to fail.
    pub cursed: bool,
    pub(super) held: VecDeque<Held>,
    pub(super) timer_at: u64,
    pub(super) disk_at: u64,
    /// Of the leader it was when last looked at.
    pub(super) led: u64,
}

impl Slot {
    /// An empty one.
    #[must_use]
    pub fn new(id: NodeId, config: Config, clock: Clock) -> Self {
        Self {
            id,
            server: None,
            agent: false,
            disk: Disk::default(),
            clock,
            config,
            life: Life::Down,
            paused: false,
            starts: 0,
            halted: false,
            told_full: false,
            unreadable_until: 0,
            armed: None,
            armed_for_replace: false,
            rotten: false,
            cursed: false,
            held: VecDeque::new(),
            timer_at: u64::MAX,
            disk_at: u64::MAX,
            led: 0,
        }
    }

    /// Bytes of its log in which damage is noticed.
    #[must_use]
    pub fn provable(&self) -> usize {
        if self.agent { super::engine::provable(&self.disk.log) } else { super::codec::provable(&self.disk.log) }
    }

    /// It leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.raft().role() == Role::Leader)
    }

    /// It runs, and does not stand still.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.server.is_some() && !self.paused && !self.halted
    }
}
