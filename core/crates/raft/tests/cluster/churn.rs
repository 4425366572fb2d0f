//! Everything at once, from a seed: loss, delay, repetition, partitions, crashes at any write, slow disks, pauses, drift,
//! transfers, membership changes, snapshots. First the faults, then peace; the invariants are checked all the time.

use std::time::Duration;

use crate::harness::{MS, Weather, World, id};
use convoke_kit::Rng;
use convoke_raft::{Change, Config, Flaw, ReadMode};

/// What a seed did, so that it can be seen that something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    crashes: u64,
    acked: u64,
    reads: u64,
    changes: u64,
    transfers: u64,
    installed: u64,
    overwritten: u64,
    elections: u64,
}

/// One life of a cluster.
pub(crate) fn live(seed: u64, flaw: Option<Flaw>, steps: u64) -> Tally {
    let mut rng = Rng::new(seed ^ 0x5EED);
    let voters = [1, 2, 3, 3, 3, 5][rng.index(6)];
    let others = rng.index(3);
    let n = voters + others;
    let config = Config {
        snapshot_threshold: [10, 40, 10_000][rng.index(3)],
        trailing: [0, 3, 50][rng.index(3)],
        chunk_bytes: [32, 4096][rng.index(2)],
        window: [1, 4, 64][rng.index(3)],
        batch: [1, 8, 512][rng.index(3)],
        ..Config::default()
    };
    let mut world = World::configured(voters, others, seed, flaw, &config);
    for node in &mut world.nodes {
        // Within what a lease allows for.
        node.rate = [1000, 1000, 900, 1100, 750][rng.index(5)];
    }
    let stormy = [0, 20, 5][rng.index(3)];
    world.weather = Weather {
        loss: stormy,
        repeat: [0, 10][rng.index(2)],
        delay: MS,
        jitter: [Duration::ZERO, 5 * MS, 40 * MS][rng.index(3)],
    };
    // A bootstrap that a power cut undoes has to be said again; here it lands.
    world.run(MS);
    let mut tally = Tally::default();
    let mut overwritten = vec![0; n];
    for _ in 0..steps {
        world.run(rng.duration(60 * MS));
        let at = rng.index(n);
        let up = world.nodes[at].raft.is_some();
        match rng.below(40) {
            0..12 => {
                if let Some(leader) = world.leader() {
                    let burst = 1 + rng.index(6);
                    world.propose_many(leader, burst);
                }
            }
            12..14 if up => {
                world.propose(at);
            }
            14..17 if up && !world.nodes[at].paused => {
                world.read(at, if rng.one_in(2) { ReadMode::Lease } else { ReadMode::Quorum });
            }
            17..20 => {
                if let Some(leader) = world.leader().filter(|leader| !world.nodes[*leader].paused) {
                    world.read(leader, if rng.one_in(2) { ReadMode::Lease } else { ReadMode::Quorum });
                }
            }
            20..22 if up => {
                // A power cut hurts most when nothing of what is under way has landed.
                let landed = if rng.one_in(2) { 0 } else { rng.index(world.writes_under_way(at) + 1) };
                tally.installed += world.raft(at).stats().installed;
                tally.elections += world.raft(at).stats().elections_won;
                overwritten[at] += world.raft(at).stats().overwritten;
                world.crash(at, landed);
                tally.crashes += 1;
            }
            22..26 if !up => world.restart(at),
            26 => world.isolate(rng.one_in(2).then(|| world.leader()).flatten().unwrap_or(at)),
            27 => {
                let other = rng.index(n);
                world.cut.insert((at, other));
            }
            28..31 => world.heal(),
            31 if up => world.nodes[at].paused = true,
            32..34 if up && world.nodes[at].paused => world.resume(at),
            34..36 => world.nodes[at].latency = [MS / 4, MS, 20 * MS, 100 * MS, 400 * MS][rng.index(5)],
            36 => {
                if let Some(leader) = world.leader() {
                    world.transfer(leader, rng.one_in(2).then_some(at));
                    tally.transfers += 1;
                }
            }
            37..40 => {
                if let Some(leader) = world.leader() {
                    let member = world.raft(leader).membership().1.0.get(&id(at)).map(|member| member.voter);
                    let change = match (member, rng.below(3)) {
                        (None, _) => Change::AddLearner { id: id(at), address: String::new() },
                        (Some(false), 0) => Change::Remove(id(at)),
                        (Some(false), _) => Change::Promote(id(at)),
                        (Some(true), 0) => Change::Remove(id(at)),
                        (Some(true), _) => Change::Demote(id(at)),
                    };
                    // Who was removed may keep its disk: it comes back with an old log, and must do no harm.
                    world.change(leader, change);
                    tally.changes += 1;
                }
            }
            _ => {}
        }
    }
    world.settle();
    for (at, before) in overwritten.iter().enumerate() {
        tally.overwritten += before + world.raft(at).stats().overwritten;
        tally.installed += world.raft(at).stats().installed;
        tally.elections += world.raft(at).stats().elections_won;
        assert_eq!(world.raft(at).stats().dropped_impossible, 0, "nobody contradicts what was promised");
        assert_eq!(world.raft(at).stats().dropped_absurd, 0, "honest messages are not absurd");
    }
    tally.acked = world.acked.len() as u64;
    tally.reads = world.answered_reads;
    tally
}

#[test]
fn m10_any_life_is_safe_and_ends_in_peace() {
    let mut sum = Tally::default();
    for seed in 0..500 {
        let lived = std::panic::catch_unwind(|| live(seed, None, 150));
        let Ok(tally) = lived else { panic!("seed {seed}") };
        sum.crashes += tally.crashes;
        sum.acked += tally.acked;
        sum.reads += tally.reads;
        sum.changes += tally.changes;
        sum.transfers += tally.transfers;
        sum.installed += tally.installed;
        sum.overwritten += tally.overwritten;
        sum.elections += tally.elections;
    }
    // A test in which nothing happens proves nothing.
    let enough = sum.crashes > 1000
        && sum.acked > 10_000
        && sum.reads > 1000
        && sum.changes > 1000
        && sum.transfers > 300
        && sum.installed > 100
        && sum.overwritten > 100
        && sum.elections > 800;
    assert!(enough, "{sum:?}");
}

#[test]
fn m10_voters_and_learners_flip_while_servers_crash() {
    for seed in 0..20 {
        let mut world = World::cluster(3, 2, seed, None);
        let mut rng = Rng::new(seed);
        for step in 0..60 {
            world.run(30 * MS);
            let at = rng.index(5);
            if let Some(leader) = world.leader() {
                world.propose(leader);
                let member = world.raft(leader).membership().1.0.get(&id(at)).map(|member| member.voter);
                world.change(
                    leader,
                    match member {
                        None => Change::AddLearner { id: id(at), address: String::new() },
                        Some(false) => Change::Promote(id(at)),
                        Some(true) => Change::Demote(id(at)),
                    },
                );
            }
            if step % 7 == 3 && world.nodes[at].raft.is_some() {
                let landed = rng.index(world.writes_under_way(at) + 1);
                world.crash(at, landed);
                world.run(50 * MS);
                world.restart(at);
            }
        }
        world.settle();
    }
}

/// Bugs that random lives must find by themselves, without a script; the others need the scripts, or more seeds than a unit
/// test has.
#[cfg(feature = "flaws")]
#[test]
fn random_lives_find_the_bugs_that_lose_data() {
    let flaws = [
        Flaw::OwnMatchBeforeDisk,
        Flaw::AckBeforeDisk,
        Flaw::TruncateMatching,
        Flaw::CompactedIsConflict,
        Flaw::LearnersCount,
        Flaw::OldSnapshotInstalled,
        Flaw::CommitBeyondLog,
        Flaw::ReadWithoutLeader,
        Flaw::ReadBeforeOwnCommit,
        Flaw::ComponentwiseLogs,
        Flaw::OldRejectionBelieved,
        Flaw::ConflictKept,
        Flaw::ChangesOverlap,
        Flaw::ChangeBeforeOwnCommit,
        Flaw::RemovedGivesUp,
    ];
    for flaw in flaws {
        let found = (0..800).find(|seed| std::panic::catch_unwind(|| live(*seed, Some(flaw), 150)).is_err());
        println!("{flaw:?}: seed {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found in 800 seeds");
    }
}
