//! Named scenarios that need a disk or a whole server; those of the machine alone are played beside it
//! (`core/crates/raft/tests/cluster`). Each is a function that says what went wrong; with its bug put back it must say so.
//!
//! * [`disks`]: L6, L10, L11, L12: what a disk does. [`snapshots`]: S10, S11. [`clients`]: C1, R1, R9, E1: what clients see.

pub mod clients;
pub mod disks;
pub mod snapshots;

use std::time::Duration;

use convoke_kit::Rng;
use convoke_raft::{Config, ReadMode};

use super::bug::{Bug, Planted};
use super::checker;
use super::client::Habits;
use super::invariant::Violation;
use super::kv::Op;
use super::server::{Ask, Reply};
use super::world::{Spec, World};

/// A millisecond.
pub const MS: Duration = Duration::from_millis(1);
/// A second.
pub const SECOND: Duration = Duration::from_secs(1);

/// What a scenario depends on, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Of all randomness.
    pub seed: u64,
    /// A bug to put back.
    pub planted: Option<Planted>,
    /// Write what happens to stderr.
    pub trace: bool,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name; begins with that of the list.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// The bugs that it must find.
    pub bugs: &'static [Bug],
    /// Plays it; the hash of all that happened, if all was well.
    pub run: fn(&Setup) -> Result<u64, Violation>,
}

/// All of them.
pub const ALL: &[Scenario] = &[
    disks::L06,
    disks::L10_TORN,
    disks::L10_ROT,
    disks::L11,
    disks::L12,
    snapshots::S10,
    snapshots::S11,
    clients::C01,
    clients::R01,
    clients::R09,
    clients::E01,
    clients::M04,
];

/// The scenario of this name, or whose name begins so.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|s| s.name == name).or_else(|| ALL.iter().find(|s| s.name.starts_with(name)))
}

/// A cluster of so many, with a leader, that makes a snapshot every so many entries and keeps few behind it.
pub(super) fn cluster(setup: &Setup, voters: usize, snapshot_threshold: u64) -> World {
    let config = Config { snapshot_threshold, trailing: 2, ..Config::default() };
    let spec = Spec {
        seed: setup.seed,
        voters,
        spares: 0,
        config,
        planted: setup.planted,
        agent: setup.seed.is_multiple_of(2),
        trace: setup.trace,
    };
    let mut world = World::new(&spec);
    world.run_until(10 * SECOND, MS, |world| world.leader().is_some());
    world.run(SECOND / 2);
    world
}

/// So many clients that do not tire.
pub(super) fn clients(world: &mut World, count: usize, pace: Duration) {
    for _ in 0..count {
        world.add_client(Habits { pace, patience: 400 * MS, attempts: 8, keys: 3, epoch: 20 * SECOND });
    }
}

/// Who leads, or somebody.
pub(super) fn leader(world: &mut World) -> usize {
    world.run_until(10 * SECOND, MS, |world| world.leader().is_some());
    world.leader().unwrap_or_default()
}

/// Writes at a server and waits for the answer; says whether it was done.
pub(super) fn write(world: &mut World, at: usize, key: u32, value: u64) -> bool {
    world.tickets_of_scenarios += 1;
    let serial = world.tickets_of_scenarios;
    let ticket = world.ask(at, Ask::Command { serial, key, op: Op::Write(value) });
    world.run_until(SECOND, MS, |world| world.outcome(ticket).is_some());
    matches!(world.outcome(ticket), Some(Reply::Told(told)) if told.ok)
}

/// Reads at a server and waits for the answer: what the key holds.
pub(super) fn read(world: &mut World, at: usize, key: u32, mode: ReadMode) -> Option<u64> {
    let ticket = world.ask(at, Ask::Read { key, mode });
    world.run_until(SECOND, MS, |world| world.outcome(ticket).is_some());
    match world.outcome(ticket) {
        Some(Reply::Cell { cell, .. }) => Some(cell.value),
        _ => None,
    }
}

/// Something is wrong unless a condition holds.
pub(super) fn ensure(world: &mut World, holds: bool, invariant: &'static str, what: &str) {
    if !holds {
        world.violate(invariant, what);
    }
}

/// Ends all faults, lets the cluster recover, and judges what clients saw.
pub(super) fn end(mut world: World) -> Result<u64, Violation> {
    world.heal();
    world.stop_clients();
    for _ in 0..6 {
        world.run(SECOND);
        world.tend();
    }
    world.close();
    world.judge_the_end();
    if let Some(leader) = world.leader() {
        let state = |at: usize| world.slots[at].server.as_ref().map(|server| (server.kv().applied, server.kv().hash()));
        let want = state(leader);
        if (0..world.slots.len()).any(|at| state(at) != want) {
            world.violate("state machine safety", "states differ in the end");
        }
    } else {
        world.violate("liveness", "nobody leads in the end");
    }
    if let Err(refuted) = checker::check(&world.history, checker::PATIENCE) {
        world.violate("linearizability", refuted.to_string());
    }
    match world.violation() {
        Some(violation) => Err(violation.clone()),
        None => Ok(world.hash()),
    }
}

/// A time somewhere within a span.
pub(super) fn some_of(rng: &mut Rng, span: Duration) -> Duration {
    rng.duration(span)
}
