//! What a disk does: overwritten entries, torn ends, rot, no space, failed writes.

use convoke_raft::{ReadMode, Refusal};

use super::{MS, SECOND, Scenario, Setup, clients, cluster, end, ensure, leader, read, write};
use crate::consensus::bug::Bug;
use crate::consensus::disk::Tear;
use crate::consensus::invariant::Violation;
use crate::consensus::kv::Op;
use crate::consensus::server::{Ask, Reply};
use crate::consensus::slot::Life;
use crate::consensus::world::World;

/// L6.
pub const L06: Scenario = Scenario {
    name: "l06_replay_does_not_bring_back_what_was_overwritten",
    about: "a leader cut off writes what nobody takes; that is overwritten, and must not come back at a restart",
    bugs: &[Bug::OverwrittenComesBack],
    run: l06,
};

fn l06(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    for round in 0..4_u32 {
        let old = leader(&mut world);
        cut_off(&mut world, old);
        for n in 0..3 {
            // Nobody hears of it.
            world.ask(old, Ask::Command { serial: 1_000 + u64::from(round * 10 + n), key: 9, op: Op::Write(666) });
        }
        world.run(SECOND);
        let next = leader(&mut world);
        let done = write(&mut world, next, round, 7);
        ensure(&mut world, done, "liveness", "the others elect and write");
        world.network.heal();
        world.run(SECOND);
        // All is on its disk; only what its bytes say counts.
        world.crash(old, Tear::All);
        world.restart(old);
        world.run(SECOND);
    }
    let at = leader(&mut world);
    let found = read(&mut world, at, 9, ReadMode::Quorum);
    ensure(&mut world, found == Some(0), "durability", "what was overwritten is back");
    end(world)
}

fn cut_off(world: &mut World, at: usize) {
    for other in 0..world.slots.len() as u32 {
        world.network.cut_pair(at as u32, other);
        world.network.cut_pair(other, at as u32);
    }
}

/// L10, the first half.
pub const L10_TORN: Scenario = Scenario {
    name: "l10_a_torn_end_is_dropped_and_nothing_else",
    about: "the power is cut in the middle of writes, everywhere and often; each server starts, with all it acknowledged",
    bugs: &[Bug::TornEndKept, Bug::LastRecordDropped, Bug::ChecksumIgnored],
    run: l10_torn,
};

fn l10_torn(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    for slot in &mut world.slots {
        slot.disk.latency = (5 * MS, 10 * MS);
    }
    clients(&mut world, 4, 20 * MS);
    for round in 0..60 {
        let pause = world.rng.duration(SECOND / 2);
        world.run(pause);
        let at = world.rng.index(3);
        // Where something is under way, so that it is torn.
        world.run_until(SECOND / 2, MS / 4, |world| world.slots[at].disk.under_way() > 0);
        world.crash(at, if round % 2 == 0 { Tear::Front } else { Tear::Sectors });
        world.run(SECOND / 4);
        world.restart(at);
    }
    end(world)
}

/// L10, the second half.
pub const L10_ROT: Scenario = Scenario {
    name: "l10_rot_is_noticed_and_repaired_from_the_others",
    about: "a bit turns in the middle of a log; the server refuses to start, is replaced, and gets everything from the others",
    bugs: &[Bug::RotIsTorn, Bug::ChecksumIgnored],
    run: l10_rot,
};

fn l10_rot(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    clients(&mut world, 3, 50 * MS);
    world.run(3 * SECOND);
    let at = world.rng.index(3);
    world.crash(at, Tear::Nothing);
    let upto = world.slots[at].provable();
    let mut rng = world.rng.fork();
    // In the log only: nothing was compacted yet.
    let turned = world.slots[at].disk.rot(&mut rng, upto);
    ensure(&mut world, turned, "the scenario", "there is something to rot");
    world.slots[at].rotten = true;
    world.restart(at);
    let refuses = world.slots[at].life == Life::Broken;
    ensure(&mut world, refuses, "rot is noticed", "it starts");
    world.run(SECOND);
    // Its disk is replaced, who had it is removed, and who has the new one is added and promoted.
    world.tend();
    for _ in 0..10 {
        world.run(SECOND / 2);
        world.tend();
        world.welcome(at);
    }
    let id = world.slots[at].id;
    let voter = world.leader().and_then(|leader| world.slots[leader].server.as_ref());
    let voter = voter.is_some_and(|server| server.raft().membership().1.is_voter(id));
    ensure(&mut world, voter, "liveness", "the new server is a voter in the end");
    end(world)
}

/// L11.
pub const L11: Scenario = Scenario {
    name: "l11_a_full_disk_refuses_and_votes_and_recovers",
    about: "a leader's disk fills up: it refuses clearly, still votes, and goes on when there is space",
    bugs: &[Bug::FullDiskFails],
    run: l11,
};

fn l11(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    let full = leader(&mut world);
    world.slots[full].disk.quota = Some(world.slots[full].disk.bytes());
    let done = write(&mut world, full, 1, 5);
    world.run(100 * MS);
    // The first one may still have got through; the next one does not.
    let ticket = world.ask(full, Ask::Command { serial: 5_000, key: 1, op: Op::Write(6) });
    world.run(SECOND);
    let refused = matches!(world.outcome(ticket), Some(Reply::Refused(Refusal::DiskFull | Refusal::NotLeader { .. })));
    ensure(&mut world, done && refused, "a full disk is told", "the second write is not refused clearly");
    // Another one leads with its vote, though the third is down.
    let third = (0..3).find(|at| *at != full && Some(*at) != world.leader()).unwrap_or_default();
    world.crash(third, Tear::Nothing);
    cut_off(&mut world, full);
    world.run(2 * SECOND);
    world.network.heal();
    let other = (0..3).find(|at| *at != full && *at != third).unwrap_or_default();
    let led = world.run_until(5 * SECOND, MS, |world| world.leader() == Some(other));
    ensure(&mut world, led, "a full disk votes", "nobody leads with the vote of the full one");
    world.slots[full].disk.quota = None;
    world.tell_space(full);
    let done = write(&mut world, other, 1, 7);
    ensure(&mut world, done, "a full disk recovers", "nothing is written though there is space");
    world.restart(third);
    end(world)
}

/// L12.
pub const L12: Scenario = Scenario {
    name: "l12_a_failed_write_is_not_vouched_for_by_a_later_one",
    about: "a write fails and later ones succeed: the server halts, and nothing acknowledged depends on it",
    bugs: &[Bug::FailureForgotten],
    run: l12,
};

fn l12(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    clients(&mut world, 3, 30 * MS);
    for _ in 0..6 {
        world.run(SECOND);
        let at = leader(&mut world);
        world.slots[at].cursed = true;
        world.slots[at].disk.fails = true;
        world.run(SECOND);
        world.crash(at, Tear::Nothing);
        world.restart(at);
    }
    end(world)
}
