//! Scenarios S: snapshots stand for the log, and for the membership in it.

use std::sync::Arc;

use crate::bench::{Bench, acks, append, at, entry, logged, members, said};
use crate::harness::{ELECTION, FAIR, Fate, MS, SECOND, Weather, World, id, prove};
use convoke_raft::{
    Action, Blob, Boot, Change, Config, Event, Flaw, HardState, Membership, Message, Raft, RecoverError, Recovered,
    Role, Snapshot, SnapshotMeta,
};

fn snapshot(term: u64, index: u64, of: Membership, data: &[u8]) -> Snapshot {
    Snapshot::new(at(term, index), Arc::new(of), 1, data.into())
}

fn chunk(term: u64, snapshot: &Snapshot, from: usize, to: usize) -> Message {
    let data = Blob::from(&snapshot.data.as_slice()[from..to]);
    Message::Chunk { term, meta: snapshot.meta.clone(), offset: from as u64, data }
}

fn installed(actions: &[Action]) -> Vec<&Snapshot> {
    let mut installed = Vec::new();
    for action in actions {
        if let Action::Install(snapshot) = action {
            installed.push(&**snapshot);
        }
    }
    installed
}

/// What was asked for next, of which snapshot.
fn wanted(actions: &[Action]) -> Vec<(u64, u64)> {
    let of = |(_, message)| match message {
        Message::ChunkReply { position, wanted, .. } => Some((position.index, wanted)),
        _ => None,
    };
    said(actions).into_iter().filter_map(of).collect()
}

/// Small logs: snapshots are taken often, little is kept behind them, and they travel in small pieces.
fn eager(trailing: u64) -> Config {
    Config { snapshot_threshold: 20, trailing, chunk_bytes: 64, ..Config::default() }
}

#[test]
fn s1_s3_a_snapshot_of_the_past_is_not_installed() {
    prove(Flaw::OldSnapshotInstalled, |flaw| {
        let mut bench = Bench::new(3, &[1; 8], flaw);
        bench.hear(1, append(1, at(1, 8), &[], 8));
        assert_eq!(bench.raft.applied(), 8);
        let old = snapshot(1, 4, members(3), b"old");
        let mut actions = bench.hear(1, chunk(1, &old, 0, 3));
        actions.extend(bench.persist_all());
        assert!(installed(&actions).is_empty());
        assert_eq!((bench.raft.last(), bench.raft.applied()), (at(1, 8), 8));
        assert_eq!(acks(&actions), [8], "the leader learns what is there");
    });
}

#[test]
fn s1_a_snapshot_that_the_log_contains_is_not_transferred() {
    let mut bench = Bench::new(3, &[1; 8], None);
    let known = snapshot(1, 6, members(3), b"known");
    let actions = bench.hear(1, chunk(1, &known, 0, 2));
    assert_eq!((acks(&actions), bench.raft.commit(), bench.raft.last()), (vec![6], 6, at(1, 8)));
}

#[test]
fn s2_a_log_that_contradicts_an_installed_snapshot_does_not_come_back() {
    prove(Flaw::ConflictKept, |flaw| {
        let mut bench = Bench::new(3, &[1, 2, 2, 2], flaw);
        let new = snapshot(3, 3, members(3), b"new");
        let mut actions = bench.hear(1, chunk(3, &new, 0, 3));
        assert!(installed(&actions).is_empty() && acks(&actions).is_empty(), "not before it is on disk");
        actions.extend(bench.persist_all());
        assert_eq!((installed(&actions).len(), acks(&actions), bench.raft.last()), (1, vec![3], at(3, 3)));
        bench.restart();
        assert_eq!((bench.raft.last(), bench.raft.commit(), bench.raft.applied()), (at(3, 3), 3, 3));
    });
}

#[test]
fn s4_an_installed_snapshot_brings_its_membership() {
    prove(Flaw::MembershipKept, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        let new = snapshot(3, 30, members(5), b"new");
        bench.hear(1, chunk(3, &new, 0, 3));
        assert_eq!(bench.raft.membership().1.voter_count(), 5);
        bench.persist_all();
        bench.restart();
        assert_eq!(bench.raft.membership().1.voter_count(), 5);
    });
}

#[test]
fn s5_a_snapshot_has_the_membership_of_its_position() {
    prove(Flaw::LatestMembership, |flaw| {
        let mut world = World::cluster(1, 1, 1, flaw);
        world.elect();
        world.commit(0);
        let index = world.raft(0).applied();
        // The export takes a while, and meanwhile a member is added.
        world.add_learner(0, 1);
        world.event(0, Event::SnapshotTaken { index, data: [0][..].into() });
        let meta = &world.raft(0).snapshot().expect("it was taken").meta;
        assert_eq!((meta.position.index, meta.membership_index), (index, 1));
        assert!(!meta.membership.contains(id(1)) && world.raft(0).membership().1.contains(id(1)));
    });
}

#[test]
fn s6_pieces_of_two_snapshots_are_not_mixed() {
    prove(Flaw::ChunksMixed, |flaw| {
        let mut bench = Bench::new(3, &[1], flaw);
        let (old, new) = (snapshot(2, 5, members(3), b"oldoldold"), snapshot(2, 7, members(3), b"newnewnew"));
        assert_eq!(wanted(&bench.hear(1, chunk(3, &old, 0, 5))), [(5, 5)]);
        // The leader took another one meanwhile.
        let mut actions = bench.hear(1, chunk(3, &new, 5, 9));
        assert_eq!(wanted(&actions), [(7, 0)]);
        actions.extend(bench.hear(1, chunk(3, &new, 0, 9)));
        actions.extend(bench.hear(1, chunk(3, &old, 5, 9)));
        actions.extend(bench.persist_all());
        let installed = installed(&actions);
        assert_eq!(installed.iter().map(|s| s.data.as_slice()).collect::<Vec<_>>(), [b"newnewnew"]);
    });
}

#[test]
fn s6_two_snapshots_in_a_row_are_installed_in_order() {
    let mut bench = Bench::new(3, &[1], None);
    let (first, second) = (snapshot(2, 5, members(3), b"one"), snapshot(2, 9, members(4), b"two"));
    bench.hear(1, chunk(3, &first, 0, 3));
    let seq = bench.last_seq();
    bench.hear(1, chunk(3, &second, 0, 3));
    // The first is on disk, and outdated already: only the second is handed out.
    assert!(installed(&bench.persisted(seq)).is_empty());
    let actions = bench.persist_all();
    assert_eq!((installed(&actions).len(), acks(&actions), bench.raft.applied()), (1, vec![9], 9));
}

#[test]
fn s6_a_transfer_goes_on_under_another_leader_and_a_damaged_one_begins_anew() {
    let mut bench = Bench::new(3, &[1], None);
    let new = snapshot(2, 7, members(3), b"newnewnew");
    bench.hear(1, chunk(3, &new, 0, 5));
    assert_eq!(wanted(&bench.hear(2, chunk(4, &new, 0, 5))), [(7, 5)], "what is there is not sent again");
    let meta = SnapshotMeta { digest: new.meta.digest ^ 1, ..new.meta.clone() };
    let bad = Snapshot { meta, data: new.data.clone() };
    assert_eq!(wanted(&bench.hear(2, chunk(4, &bad, 0, 9))), [(7, 0)]);
    assert_eq!((bench.raft.stats().dropped_snapshots, bench.raft.stats().installed), (1, 0));
    bench.hear(2, chunk(4, &new, 0, 9));
    assert_eq!(installed(&bench.persist_all()).len(), 1);
}

#[test]
fn s7_a_gap_between_snapshot_and_log_is_not_started_from() {
    prove(Flaw::GapAccepted, |flaw| {
        let hard_state = HardState { term: 2, vote: None, commit: 9 };
        let snapshot = Some(Arc::new(snapshot(1, 4, members(3), b"x")));
        let recovered = Recovered { hard_state, snapshot, entries: vec![entry(2, 8), entry(2, 9)] };
        let boot = Boot { id: id(0), recovered, config: Config::default(), seed: 1, flaw };
        assert_eq!(Raft::new(boot).err(), Some(RecoverError::Gap { first: 8, snapshot: 4 }));
    });
}

#[test]
fn s7_restarts_at_any_trailing_leave_no_gap() {
    for trailing in [0, 1, 7, 1000] {
        let mut world = World::configured(3, 0, trailing, None, &eager(trailing));
        for round in 0..12 {
            let leader = world.elect();
            world.propose_many(leader, 15);
            world.run(100 * MS);
            world.crash(round % 3, round % 2);
            world.restart(round % 3);
        }
        world.settle();
        let leader = world.leader().unwrap();
        assert!(world.raft(leader).snapshot().is_some());
        assert!(world.raft(leader).first_index() > 1 || trailing == 1000);
    }
}

#[test]
fn s8_who_receives_a_snapshot_does_not_campaign() {
    prove(Flaw::ChunksAreSilence, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        let data = vec![7; 40];
        let new = snapshot(3, 30, members(3), &data);
        let mut actions = bench.hear(1, chunk(3, &new, 0, 1));
        for from in 1..40 {
            let due = convoke_kit::Machine::poll_timeout(&bench.raft).is_some_and(|d| d.at <= bench.now + 100 * MS);
            actions.extend(if due { bench.wait(100 * MS) } else { Vec::new() });
            if !due {
                bench.now = bench.now + 100 * MS;
            }
            actions.extend(bench.hear(1, chunk(3, &new, from, from + 1)));
        }
        actions.extend(bench.persist_all());
        assert!(said(&actions).iter().all(|(_, m)| !matches!(m, Message::PreVote { .. })), "it waits for its leader");
        assert_eq!((installed(&actions).len(), bench.raft.role()), (1, Role::Follower));
    });
}

#[test]
fn s8_a_follower_far_behind_catches_up_over_a_bad_network() {
    for seed in 0..6 {
        let mut world = World::configured(3, 0, seed, None, &eager(3));
        let leader = world.elect();
        let behind = (leader + 1) % 3;
        world.isolate(behind);
        for _ in 0..8 {
            world.propose_many(leader, 30);
            world.run(50 * MS);
        }
        world.heal();
        world.weather = Weather { loss: 8, repeat: 6, delay: MS, jitter: 20 * MS };
        world.run(20 * SECOND);
        assert!(world.raft(behind).stats().installed > 0, "seed {seed}");
        world.settle();
    }
}

#[test]
fn s9_the_log_is_compacted_while_a_snapshot_travels() {
    let mut world = World::configured(3, 0, 1, None, &Config { chunk_bytes: 16, ..eager(2) });
    let leader = world.elect();
    let behind = (leader + 1) % 3;
    world.isolate(behind);
    for _ in 0..8 {
        world.propose_many(leader, 30);
        world.run(50 * MS);
    }
    world.heal();
    // Slower than the log moves on.
    world.judge = Some(Box::new(|_, _, m| match m {
        Message::Chunk { .. } => Fate::Late(10 * MS),
        _ => Fate::Arrives,
    }));
    for _ in 0..40 {
        world.propose_many(leader, 5);
        world.run(50 * MS);
    }
    world.settle();
    assert!(world.raft(behind).stats().installed > 0);
}

#[test]
fn s10_a_crash_at_any_write_of_a_snapshot_loses_nothing() {
    let mut crashes = 0;
    for step in 0..60 {
        for landed in 0..4 {
            let mut world = World::configured(3, 0, 1, None, &eager(2));
            let leader = world.elect();
            let victim = (leader + 1) % 3;
            world.isolate(victim);
            for _ in 0..4 {
                world.propose_many(leader, 15);
                world.run(20 * MS);
            }
            world.heal();
            world.nodes[victim].latency = 3 * MS;
            world.run(step * MS);
            world.propose_many(leader, 2);
            world.run(3 * MS / 2);
            if world.writes_under_way(victim) < landed {
                break;
            }
            crashes += 1;
            world.crash(victim, landed);
            world.restart(victim);
            world.settle();
        }
    }
    assert!(crashes > 60, "{crashes} different moments");
}

#[test]
fn trailing_entries_spare_a_snapshot() {
    let mut world = World::configured(3, 0, 1, None, &eager(500));
    let leader = world.elect();
    let behind = (leader + 1) % 3;
    world.isolate(behind);
    world.propose_many(leader, 60);
    world.run(ELECTION);
    world.heal();
    world.weather = FAIR;
    world.run(SECOND);
    assert_eq!(world.raft(behind).stats().installed, 0);
    world.settle();
}

#[test]
fn a_snapshot_of_what_is_not_applied_is_not_taken() {
    let mut bench = Bench::from(logged(&members(3), &[1, 1, 1]), Config::default(), None);
    bench.hear(1, append(1, at(1, 3), &[], 2));
    for index in [0, 3, 9, u64::MAX] {
        bench.event(Event::SnapshotTaken { index, data: [1][..].into() });
        assert!(bench.raft.snapshot().is_none(), "at {index}");
    }
    bench.event(Event::SnapshotTaken { index: 2, data: [1][..].into() });
    assert_eq!(bench.raft.snapshot().map(|s| s.meta.position), Some(at(1, 2)));
    bench.persist_all();
    bench.restart();
    assert_eq!((bench.raft.last(), bench.raft.commit()), (at(1, 3), 2));
}

#[test]
fn a_new_learner_gets_the_snapshot_and_becomes_a_voter() {
    let mut world = World::configured(3, 1, 1, None, &eager(0));
    let leader = world.elect();
    world.propose_many(leader, 50);
    world.run(100 * MS);
    world.add_learner(leader, 3);
    world.run(SECOND);
    assert!(world.raft(3).stats().installed > 0);
    let ticket = world.change(leader, Change::Promote(id(3)));
    world.run(100 * MS);
    assert!(world.is_done(ticket) && world.raft(3).membership().1.is_voter(id(3)));
    world.settle();
}

#[test]
fn a_heavy_log_is_compacted_before_it_is_long() {
    let config = Config { snapshot_bytes: 4000, ..Config::default() };
    let mut world = World::configured(3, 0, 1, None, &config);
    let leader = world.elect();
    for _ in 0..20 {
        world.propose_many(leader, 20);
        world.run(20 * MS);
    }
    for n in 0..3 {
        assert!(world.raft(n).last().index - world.raft(n).first_index() < 120, "n{n}");
    }
    world.settle();
}

#[test]
fn repeated_answers_do_not_multiply_the_pieces() {
    let mut world = World::configured(3, 0, 1, None, &Config { chunk_bytes: 8, ..eager(0) });
    let leader = world.elect();
    let behind = (leader + 1) % 3;
    world.isolate(behind);
    for _ in 0..8 {
        world.propose_many(leader, 30);
        world.run(50 * MS);
    }
    world.heal();
    // Every second message comes twice.
    world.weather = Weather { repeat: 2, ..FAIR };
    world.run(SECOND);
    let pieces = world.raft(leader).snapshot().expect("it was taken").meta.len / 8;
    let stats = world.raft(behind).stats();
    assert!(stats.installed > 0);
    assert!(stats.chunks_in < (1 + stats.installed) * pieces * 2, "{} for {pieces}", stats.chunks_in);
    world.settle();
}
