//! What a pool must survive: each scenario is a function that says what went wrong, if anything. Run with a known bug
//! ([`Flaw`]) put back, the same function must say so: that is how it proves that it would notice.
//!
//! * [`rebirth`]: members that come back as somebody else. [`spread`]: news that reach only some.
//! * [`partitions`]: networks that let only some through. [`slow`]: members that are late. [`accusations`]: how they
//!   defend themselves. [`hostile`]: packets of the past, of strangers, and of another key. [`long`]: bounds over time.
//! * [`swarm`]: everything at once, drawn from the seed.

pub mod accusations;
pub mod hostile;
pub mod long;
pub mod partitions;
pub mod rebirth;
pub mod slow;
pub mod spread;
pub mod swarm;

use std::time::Duration;

use convoke_swim::{Config, Flaw, MemberEvent};

use crate::network::Link;
use crate::node::Spec;
use crate::note::{Note, Seen};
use crate::referee::{Invariant, Referee, Verdict, Violation};
use crate::world::World;

/// What a run of a scenario depends on, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Of all randomness.
    pub seed: u64,
    /// A bug put back into every member.
    pub flaw: Option<Flaw>,
    /// How many nodes, where the scenario leaves it open; `None`: as it likes.
    pub nodes: Option<usize>,
    /// For how many minutes, where it leaves that open.
    pub minutes: Option<u64>,
    /// Write a timeline to stderr.
    pub trace: bool,
}

impl Setup {
    /// Of this seed.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// With this bug.
    #[must_use]
    pub const fn with(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }

    /// An empty world.
    #[must_use]
    pub fn world(&self, link: Link) -> World {
        World::new(self.seed, link).with_flaw(self.flaw).tracing(self.trace)
    }

    /// A world of so many that know each other, in a good network.
    #[must_use]
    pub fn cluster(&self, n: usize, config: &Config) -> World {
        let mut world = self.world(Link::LAN);
        world.add_cluster(n, |i| Spec::new(name(i), config.clone()));
        world
    }

    /// So many nodes, unless something else is asked for.
    #[must_use]
    pub fn nodes_or(&self, n: usize) -> usize {
        self.nodes.unwrap_or(n)
    }
}

/// Names of members.
#[must_use]
pub fn name(number: usize) -> String {
    format!("n{number:05}")
}

/// So many seconds.
#[must_use]
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name; those of G1 to G24 begin with it.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// The bugs that it must find.
    pub flaws: &'static [Flaw],
    /// Plays it; the world as it was in the end, if all was well.
    pub run: fn(&Setup) -> Verdict<World>,
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    rebirth::G01,
    rebirth::G02,
    rebirth::G03,
    spread::G04,
    partitions::G05,
    rebirth::G06,
    spread::G07,
    spread::G08,
    spread::G09,
    accusations::G10,
    partitions::G11,
    partitions::G12,
    slow::G13,
    accusations::G14,
    slow::G15,
    partitions::G16,
    rebirth::G17,
    hostile::G18,
    hostile::G19,
    hostile::G20,
    long::G21,
    accusations::G22,
    partitions::G23,
    long::G24,
    spread::USER_EVENTS,
    accusations::SHORT_CUT,
    slow::DEAF,
    swarm::SWARM,
];

/// The scenario of this name, or whose name begins so (`g07`).
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|s| s.name == name).or_else(|| ALL.iter().find(|s| s.name.starts_with(name)))
}

/// Something that must not be said of some members, or by some; of oneself one may say anything.
pub(crate) struct Never {
    pub(crate) invariant: &'static str,
    pub(crate) what: &'static [MemberEvent],
    pub(crate) by: fn(u32) -> bool,
    pub(crate) of: fn(u32) -> bool,
}

impl Never {
    /// By anybody of anybody.
    pub(crate) fn at_all(invariant: &'static str, what: &'static [MemberEvent]) -> Self {
        Self { invariant, what, by: |_| true, of: |_| true }
    }
}

impl Invariant for Never {
    fn note(&mut self, _: &World, note: &Note) -> Verdict {
        let Seen::Member { subject, what } = note.what else { return Ok(()) };
        if !self.what.contains(&what)
            || !(self.by)(note.node)
            || !subject.is_none_or(self.of)
            || subject == Some(note.node)
        {
            return Ok(());
        }
        let what = format!("node {} says {subject:?} {what:?}", note.node);
        Err(Violation { invariant: self.invariant, at: note.at, what })
    }
}

/// Fails unless a condition holds.
pub(crate) fn ensure(world: &World, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::now(world, invariant, what())) }
}

/// A member stands still for a while, and what is sent to it meanwhile is lost.
pub(crate) fn unplug(world: &mut World, referee: &mut Referee, node: u32, span: Duration) -> Verdict {
    world.network.set_zone(node, 1);
    world.network.cut_both(0, 1);
    world.pause(node);
    referee.run(world, span)?;
    world.network.heal();
    world.resume(node);
    Ok(())
}

/// Sums a counter over all members that are up.
pub(crate) fn total(world: &World, count: impl Fn(&convoke_swim::Stats) -> u64) -> u64 {
    world.nodes().filter_map(|(_, node)| node.swim()).map(|swim| count(&swim.stats())).sum()
}
