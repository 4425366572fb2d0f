//! Snapshots on a disk, and those who watch while one is installed.

use convoke_raft::ReadMode;

use super::{MS, SECOND, Scenario, Setup, clients, cluster, end, ensure, leader, read, write};
use crate::consensus::bug::Bug;
use crate::consensus::disk::Tear;
use crate::consensus::invariant::Violation;
use crate::consensus::server::Ask;

/// S10.
pub const S10: Scenario = Scenario {
    name: "s10_a_crash_at_any_step_of_a_snapshot_loses_nothing",
    about: "the power is cut before, in and behind each step of replacing snapshot and log; every server starts with all it had",
    bugs: &[Bug::LogBeforeSnapshot, Bug::SnapshotInPlace, Bug::VoteNotInNewLog],
    run: s10,
};

fn s10(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 5);
    clients(&mut world, 4, 20 * MS);
    for slot in &mut world.slots {
        slot.disk.latency = (2 * MS, 4 * MS);
    }
    for round in 0..60 {
        let at = round % 3;
        // The first or the second step of a replacement.
        world.slots[at].armed = Some(round as u32 / 3 % 2);
        world.slots[at].armed_for_replace = true;
        world.run(SECOND);
        world.slots[at].armed = None;
        world.run(SECOND / 2);
        world.restart(at);
    }
    let at = leader(&mut world);
    let found = read(&mut world, at, 0, ReadMode::Quorum);
    ensure(&mut world, found.is_some(), "liveness", "it reads in the end");
    end(world)
}

/// S11.
pub const S11: Scenario = Scenario {
    name: "s11_who_watches_is_woken_by_an_installed_snapshot",
    about: "watchers wait at a follower that is cut off and then gets a snapshot: all are woken, and no index goes back",
    bugs: &[Bug::InstallWakesNobody, Bug::InstallMerges],
    run: s11,
};

fn s11(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 10);
    let at = leader(&mut world);
    let behind = (at + 1) % 3;
    for key in 0..5 {
        let done = write(&mut world, at, key, 1);
        ensure(&mut world, done, "liveness", "it writes");
    }
    world.run(SECOND / 5);
    for key in 0..5 {
        let since = world.slots[behind].server.as_ref().map_or(0, |server| server.kv().get(key).index);
        world.ask(behind, Ask::Watch { key, since });
    }
    world.look_on();
    for other in 0..3 {
        world.network.cut_pair(behind as u32, other);
        world.network.cut_pair(other, behind as u32);
    }
    for round in 0..40 {
        let at = (0..3).find(|n| *n != behind && world.slots[*n].leads()).unwrap_or(at);
        write(&mut world, at, round % 5, 100 + u64::from(round));
    }
    world.network.heal();
    world.run(3 * SECOND);
    let installed = world.slots[behind].server.as_ref().map_or(0, |server| server.raft().stats().installed);
    ensure(&mut world, installed > 0, "the scenario", "a snapshot is installed");
    world.crash(behind, Tear::All);
    world.restart(behind);
    end(world)
}
