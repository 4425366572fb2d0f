//! A place where one member after another lives: its address, its clock, and how it is at the moment.

use std::collections::VecDeque;
use std::time::Duration;

use convoke_swim::{Config, Flaw, Keyring, Members, Swim, Tags};

use crate::clock::Clock;

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: Config,
    /// Its keys.
    pub keyring: Keyring,
    /// What it says of itself.
    pub tags: Tags,
    /// Whom it knows already.
    pub members: Members,
    /// Its first incarnation; `None`: Unix seconds by its wall clock.
    pub incarnation: Option<u64>,
    /// The bug put back into it; `None`: that of the world.
    pub flaw: Option<Flaw>,
    /// Its wall clock is ahead by this many seconds.
    pub wall_skew: i64,
    /// Its monotonic clock is too fast by this many parts per million.
    pub drift_ppm: i32,
    /// Its timers fire up to this much late (it must wait for a processor).
    pub late: Duration,
}

impl Spec {
    /// Of this name, with everything else as usual.
    #[must_use]
    pub fn new(name: impl Into<String>, config: Config) -> Self {
        Self {
            name: name.into(),
            config,
            keyring: Keyring::default(),
            tags: Tags::default(),
            members: Members::default(),
            incarnation: None,
            flaw: None,
            wall_skew: 0,
            drift_ppm: 0,
            late: Duration::ZERO,
        }
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody is there.
    Down,
    /// Well.
    Up,
    /// It stands still, its clock does not: a stopped process, a stolen virtual machine.
    Paused,
    /// What it sends or receives waits; what else stands still is said by [`Blocking`].
    Blocked,
}

/// What stands still in a member that cannot send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// The whole of it, from the first send on: what our drivers do, which send in the thread that runs the member.
    #[default]
    Process,
    /// Each loop (probes, gossip, comparisons, reconnects) from its first send on; suspicions run out in time. What the
    /// agents of the Lifeguard paper do (section 5), where a loop is a thread.
    Loops,
    /// Nothing: timers go on, and what they send comes out at once in the end. The worst it can do.
    Nothing,
}

/// What waits at the door of a node that does not take it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    Packet(u32),
    Request(u32),
    Response(u32),
}

/// Alternating starvation: so long blocked, so long running (nanoseconds).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starving {
    pub(crate) blocked: u64,
    pub(crate) running: u64,
}

/// A place.
#[derive(Debug)]
pub struct Node {
    pub(crate) spec: Spec,
    /// Number of its address.
    pub(crate) address: u32,
    pub(crate) swim: Option<Swim>,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    /// When the earliest timer entry of the agenda that counts is due; `u64::MAX`: there is none.
    pub(crate) scheduled: u64,
    /// It is blocked, and waits for something to be sent.
    pub(crate) stuck: bool,
    /// A timer came due while it stood still.
    pub(crate) overdue: bool,
    pub(crate) inbox: VecDeque<Waiting>,
    /// Bytes of packets in the inbox, as a kernel counts them.
    pub(crate) inbox_bytes: usize,
    /// Packets it wants to send while blocked.
    pub(crate) outbox: Vec<(u32, u32)>,
    /// Streams it wants to open, or to answer, while blocked.
    pub(crate) held: Vec<Waiting>,
    pub(crate) starving: Option<Starving>,
    /// Since when it is up or down.
    pub(crate) since: u64,
    /// Highest incarnation of its earlier lives.
    pub(crate) highest: u64,
    /// Probes begun when last looked at; only with probes watched.
    pub(crate) probes: u64,
    /// Counters when last written; only with the world traced.
    pub(crate) told: convoke_swim::Stats,
    /// It left for good in this life.
    pub(crate) left: bool,
    /// How often it was started.
    pub(crate) lives: u32,
    /// Crashed and started again by churn: mean time up, time down.
    pub(crate) churn: Option<(u64, u64)>,
}

impl Node {
    /// The member that lives there now.
    #[must_use]
    pub const fn swim(&self) -> Option<&Swim> {
        self.swim.as_ref()
    }

    /// How it is.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Nothing happens inside.
    pub(crate) const fn stands_still(&self) -> bool {
        matches!(self.health, Health::Paused) || self.stuck
    }

    /// A member lives there, however ill.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.swim.is_some()
    }

    /// A member lives there that has not left.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.swim.as_ref().is_some_and(|swim| !swim.leaving())
    }

    /// Its member has left, in this life or as the last thing in the one before.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// What it is started with.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The highest incarnation its members ever had.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.swim.as_ref().map_or(0, Swim::incarnation).max(self.highest)
    }

    /// Since when it is up or down.
    #[must_use]
    pub const fn since(&self) -> convoke_kit::Time {
        convoke_kit::Time::from_nanos(self.since)
    }

    /// How often it was started.
    #[must_use]
    pub const fn lives(&self) -> u32 {
        self.lives
    }
}
