//! What clients see when leaders come and go.

use convoke_raft::ReadMode;

use super::{MS, SECOND, Scenario, Setup, clients, cluster, end, ensure, leader, read, some_of, write};
use crate::consensus::bug::Bug;
use crate::consensus::disk::Tear;
use crate::consensus::invariant::Violation;

/// C1.
pub const C01: Scenario = Scenario {
    name: "c01_a_retried_compare_and_set_is_applied_once",
    about: "clients that wait too briefly and ask again elsewhere, while leaders change and snapshots are installed",
    bugs: &[Bug::AppliedAgain, Bug::OnceNotInSnapshot, Bug::AnsweredEarly, Bug::LockOfTwo, Bug::SnapshotOfLater],
    run: c01,
};

fn c01(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 15);
    clients(&mut world, 5, 20 * MS);
    for slot in &mut world.slots {
        slot.disk.latency = (10 * MS, 40 * MS);
    }
    world.network.set_link(crate::network::Link::LAN.losing(150_000));
    for _ in 0..25 {
        let pause = some_of(&mut world.rng, SECOND);
        world.run(pause);
        let at = leader(&mut world);
        world.crash(at, Tear::Nothing);
        let pause = some_of(&mut world.rng, SECOND);
        world.run(pause);
        world.restart(at);
    }
    end(world)
}

/// R1.
pub const R01: Scenario = Scenario {
    name: "r01_a_leader_cut_off_with_a_client_answers_nothing_stale",
    about: "a leader is cut off with a client while the others go on; what it answers by lease or by quorum is not stale",
    bugs: &[Bug::ReadsDoNotWait, Bug::WildClocks],
    run: r01,
};

fn r01(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    let wild = setup.planted.is_some_and(|planted| planted.is(Bug::WildClocks));
    for round in 1..=12_u64 {
        let old = leader(&mut world);
        if wild {
            // Its clock is four times slower from now on than when others wait for it.
            let now = world.now;
            let clock = &mut world.slots[old].clock;
            let shown = clock.at(now).as_nanos();
            clock.rate = 150;
            clock.skew = shown.saturating_sub((u128::from(now) * 150 / 1000) as u64);
        }
        let done = write(&mut world, old, 1, round * 10);
        ensure(&mut world, done || wild, "liveness", "it writes");
        for other in 0..3 {
            world.network.cut_pair(old as u32, other);
            world.network.cut_pair(other, old as u32);
        }
        let mut newest = round * 10;
        for step in 0..60 {
            world.run(20 * MS);
            if let Some(next) = (0..3).find(|at| *at != old && world.slots[*at].leads())
                && step % 8 == 0
                && write(&mut world, next, 1, newest + 1)
            {
                newest += 1;
            }
            let mode = if step % 2 == 0 { ReadMode::Lease } else { ReadMode::Quorum };
            let before = newest;
            let ticket_answer = read_now(&mut world, old, mode);
            ensure(
                &mut world,
                ticket_answer.is_none_or(|value| value >= before),
                "linearizability",
                "the leader that was cut off answers something stale",
            );
        }
        world.network.heal();
        world.run(SECOND);
    }
    end(world)
}

/// Reads, and takes only an answer that is given at once.
fn read_now(world: &mut crate::consensus::world::World, at: usize, mode: ReadMode) -> Option<u64> {
    let ticket = world.ask(at, crate::consensus::server::Ask::Read { key: 1, mode });
    match world.outcome(ticket) {
        Some(crate::consensus::server::Reply::Cell { cell, .. }) => Some(cell.value),
        _ => None,
    }
}

/// R9.
pub const R09: Scenario = Scenario {
    name: "r09_power_loss_takes_nothing_acknowledged",
    about: "all servers lose power at once, again and again, under load",
    bugs: &[Bug::DiskLies, Bug::ReportedEarly, Bug::ReportedTooFar],
    run: r09,
};

fn r09(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 50);
    clients(&mut world, 4, 10 * MS);
    for slot in &mut world.slots {
        slot.disk.latency = (5 * MS, 15 * MS);
    }
    for _ in 0..20 {
        let pause = SECOND + some_of(&mut world.rng, SECOND);
        world.run(pause);
        for at in 0..3 {
            world.crash(at, Tear::Nothing);
        }
        world.run(SECOND / 10);
        (0..3).for_each(|at| world.restart(at));
    }
    end(world)
}

/// E1.
pub const E01: Scenario = Scenario {
    name: "e01_a_vote_survives_a_crash",
    about: "servers crash and start while they vote: nobody votes twice in a term",
    bugs: &[Bug::VoteNotWritten],
    run: e01,
};

fn e01(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    clients(&mut world, 2, 50 * MS);
    for _ in 0..30 {
        let at = leader(&mut world);
        world.crash(at, Tear::All);
        let pause = some_of(&mut world.rng, SECOND);
        world.run(pause);
        let voter = (at + 1) % 3;
        world.crash(voter, Tear::All);
        world.restart(voter);
        world.restart(at);
    }
    world.run(SECOND);
    end(world)
}

/// M4.
pub const M04: Scenario = Scenario {
    name: "m04_who_lost_its_disk_is_another_server",
    about: "a disk is lost and replaced: its server comes back under another name, is added, and nothing acknowledged is lost",
    bugs: &[Bug::SameNameAfterLoss],
    run: m04,
};

fn m04(setup: &Setup) -> Result<u64, Violation> {
    let mut world = cluster(setup, 3, 1000);
    let old = leader(&mut world);
    let (lost, behind) = ((old + 1) % 3, (old + 2) % 3);
    // On two disks of three, one of which is lost.
    for other in 0..3 {
        world.network.cut_pair(behind as u32, other);
        world.network.cut_pair(other, behind as u32);
    }
    world.run(SECOND / 2);
    let at = (0..3).find(|at| *at != behind && world.slots[*at].leads()).unwrap_or(old);
    let done = write(&mut world, at, 1, 5);
    ensure(&mut world, done, "liveness", "two of three write");
    world.crash(lost, Tear::Nothing);
    world.replace_disk(lost);
    // The one that has it is away for a while.
    world.crash(if at == lost { old } else { at }, Tear::All);
    world.network.heal();
    world.run(3 * SECOND);
    (0..3).for_each(|at| world.restart(at));
    for _ in 0..10 {
        world.run(SECOND / 2);
        world.tend();
        world.welcome(lost);
    }
    let now = leader(&mut world);
    let found = read(&mut world, now, 1, ReadMode::Quorum);
    ensure(&mut world, found == Some(5), "durability", "what was acknowledged is lost");
    end(world)
}
