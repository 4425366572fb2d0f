//! Scenarios L: what is committed stays, and what is acknowledged is on disk.

use std::sync::Arc;

use crate::bench::{Bench, acks, append, at, entry, grants, members};
use crate::harness::{ELECTION, FAIR, MS, SECOND, Weather, World, id, prove};
use convoke_raft::{
    Action, Appended, Change, Config, Event, Flaw, HardState, Message, Recovered, Refusal, Role, Snapshot,
};

#[test]
fn l1_entries_of_earlier_terms_are_not_committed_by_counting() {
    prove(Flaw::CommitEarlierTerm, |flaw| {
        // Figure 8 (c): the entry of term 2 is on a majority, and may still be overwritten by one of term 3.
        let mut bench = Bench::new(3, &[1, 2], flaw);
        bench.lead();
        assert_eq!((bench.raft.term(), bench.raft.last().index), (3, 3));
        bench.accept(1, 2);
        assert_eq!(bench.raft.commit(), 0);
        // Figure 8 (e): with an entry of the own term it is.
        bench.accept(1, 3);
        assert_eq!(bench.raft.commit(), 3);
    });
}

#[test]
fn l2_what_matches_is_not_overwritten() {
    prove(Flaw::TruncateMatching, |flaw| {
        let mut bench = Bench::new(3, &[1, 1, 1, 1, 1], flaw);
        // A repetition, late: what it brings is there, and what is behind it may be acknowledged.
        let mut actions = bench.hear(1, append(1, at(1, 1), &[1, 1], 0));
        actions.extend(bench.persist_all());
        assert_eq!((bench.raft.last(), bench.raft.durable()), (at(1, 5), 5));
        assert!(!actions.iter().any(|a| matches!(a, Action::Persist(write) if write.truncate_from.is_some())));
        assert_eq!(acks(&actions), [3]);
        // Power is cut at once: nothing is missing.
        bench.restart();
        assert_eq!(bench.raft.last(), at(1, 5));
    });
}

#[test]
fn l3_what_was_compacted_is_no_conflict() {
    prove(Flaw::CompactedIsConflict, |flaw| {
        let snapshot = Snapshot::new(at(1, 5), Arc::new(members(3)), 1, [1][..].into());
        let entries = vec![entry(1, 6), entry(1, 7), entry(1, 8)];
        let hard_state = HardState { term: 1, vote: None, commit: 7 };
        let recovered = Recovered { hard_state, snapshot: Some(Arc::new(snapshot)), entries };
        let mut bench = Bench::from(recovered, Config::default(), flaw);
        for (prev, count) in [(at(1, 3), 3), (at(1, 6), 0), (at(1, 2), 9)] {
            let mut actions = bench.hear(1, append(1, prev, &vec![1; count], 0));
            actions.extend(bench.persist_all());
            assert!(bench.raft.last().index >= 8, "{prev:?}");
            assert!(acks(&actions).iter().all(|matched| *matched >= 7) && !acks(&actions).is_empty(), "{actions:?}");
        }
        assert_eq!(bench.raft.last().index, 11);
    });
}

#[test]
fn l4_six_hundred_conflicting_entries_take_a_few_round_trips() {
    prove(Flaw::BackOffByOne, |flaw| {
        let (mut world, leader) = World::led(3, 4, flaw);
        world.isolate(leader);
        world.propose_many(leader, 600);
        world.run(SECOND);
        let next = world.leader().expect("the others elect");
        world.propose_many(next, 300);
        world.run(100 * MS);
        // Another leader, who expects everybody's log to be as long as its own.
        let other = (0..3).find(|n| ![leader, next].contains(n)).unwrap();
        world.transfer(next, Some(other));
        world.run(100 * MS);
        assert_eq!(world.leader(), Some(other));
        let next = other;
        world.heal();
        world.run(SECOND);
        assert!(world.raft(next).stats().rejections <= 8, "{}", world.raft(next).stats().rejections);
        assert_eq!(world.raft(leader).commit(), world.raft(next).commit());
        world.settle();
    });
}

#[test]
fn l4_a_network_that_reorders_is_not_flooded() {
    // Small messages, many of them under way, and each rejected that overtakes another: a rejection must not call for all of
    // them again, or the answers to these call for all of them again, and so on. (Seed 20 of the simulator's lives.)
    for seed in 0..10 {
        let config = Config { batch: 1, window: 64, ..Config::default() };
        let mut world = World::configured(3, 0, seed, None, &config);
        let leader = world.elect();
        let behind = (leader + 1) % 3;
        world.isolate(behind);
        for _ in 0..20 {
            world.propose_many(leader, 10);
            world.run(10 * MS);
        }
        world.heal();
        world.weather = Weather { jitter: 20 * MS, ..FAIR };
        let (before, entries) = (world.messages, world.raft(leader).last().index);
        world.run(10 * SECOND);
        let sent = world.messages - before;
        let leader = world.leader().expect("nothing is lost");
        assert!(world.raft(behind).commit() >= entries, "seed {seed}: it has caught up");
        assert!(sent < 4_000, "seed {seed}: {sent} messages for {entries} entries, with {leader} leading");
    }
}

#[test]
fn l5_rejections_of_the_past_say_nothing() {
    prove(Flaw::OldRejectionBelieved, |flaw| {
        let mut bench = Bench::new(3, &[1, 1, 1, 1, 1], flaw);
        bench.lead();
        bench.accept(1, 6);
        assert_eq!(bench.raft.commit(), 6);
        let term = bench.raft.term();
        let old = Message::AppendReply { term, outcome: Appended::Rejected { prev: 5, hint: at(1, 2) } };
        bench.hear(1, old.clone());
        assert_eq!(bench.raft.peers()[0].1, 6, "what is acknowledged stays so");
        let older = Message::AppendReply { term: term - 1, outcome: Appended::Rejected { prev: 5, hint: at(1, 2) } };
        bench.hear(1, older);
        assert_eq!(bench.raft.peers()[0].1, 6);
    });
}

#[test]
fn l7_the_same_index_written_twice_is_acknowledged_for_what_it_holds_now() {
    prove(Flaw::TruncateForgetsFlights, |flaw| {
        let mut bench = Bench::new(3, &[1], flaw);
        bench.hear(1, append(2, at(1, 1), &[2], 0));
        let first = bench.last_seq();
        // A higher term, whose own write is done before the leader of that term overwrites the entry.
        bench.patient();
        bench.hear(2, Message::Vote { term: 3, last: at(2, 2), transfer: false });
        let vote = bench.last_seq();
        bench.hear(2, append(3, at(1, 1), &[3], 0));
        let second = bench.last_seq();
        assert!(first < vote && vote < second);
        let mut actions = bench.persisted(first);
        actions.extend(bench.persisted(vote));
        assert_eq!(grants(&actions), [(id(2), 3)]);
        assert!(acks(&actions).iter().all(|matched| *matched < 2), "entry 2 of term 3 is not on disk: {actions:?}");
        assert_eq!(bench.raft.durable(), 1);
        assert_eq!(acks(&bench.persisted(second)), [2]);
    });
}

#[test]
fn l8_a_leader_that_removed_itself_does_not_count() {
    prove(Flaw::RemovedLeaderCounts, |flaw| {
        let (mut world, leader) = World::led(3, 6, flaw);
        world.isolate((leader + 1) % 3);
        let ticket = world.change(leader, Change::Remove(id(leader)));
        world.run(200 * MS);
        assert!(!world.is_done(ticket), "of the two that are left one has it");
        world.heal();
        world.run(SECOND);
        let next = world.leader().expect("somebody leads");
        assert_ne!(next, leader);
        assert!(!world.raft(next).membership().1.contains(id(leader)));
    });
}

#[test]
fn l9_learners_do_not_count() {
    prove(Flaw::LearnersCount, |flaw| {
        let mut world = World::cluster(3, 2, 8, flaw);
        let leader = world.elect();
        for n in [3, 4] {
            world.add_learner(leader, n);
        }
        world.isolate((leader + 1) % 3);
        world.isolate((leader + 2) % 3);
        let commit = world.raft(leader).commit();
        let ticket = world.propose(leader);
        world.run(100 * MS);
        assert!(world.raft(3).last().index > commit, "the learners have it");
        assert!(!world.is_done(ticket) && world.raft(leader).commit() == commit);
    });
}

#[test]
fn l11_a_full_disk_refuses_entries_and_keeps_voting() {
    prove(Flaw::FullDiskIgnored, |flaw| {
        let (mut world, leader) = World::led(3, 2, flaw);
        let (full, other) = ((leader + 1) % 3, (leader + 2) % 3);
        world.event(leader, Event::DiskFull(true));
        let ticket = world.propose(leader);
        assert_eq!(world.refusal(ticket), Some(&Refusal::DiskFull));
        world.event(leader, Event::DiskFull(false));
        world.event(full, Event::DiskFull(true));
        let before = world.raft(full).last();
        let index = world.commit(leader);
        assert_eq!(world.raft(full).last(), before, "it takes no entries");
        world.crash(leader, 99);
        world.run(2 * SECOND);
        assert_eq!(world.leader(), Some(other), "with the vote of the one that is full");
        world.event(full, Event::DiskFull(false));
        world.run(SECOND);
        assert!(world.raft(full).durable() > index);
        world.settle();
    });
}

#[test]
fn l11_a_candidate_whose_disk_fills_up_does_not_lead() {
    // The first entry of a reign is an entry, too. (Seed 54 of the simulator's lives.)
    let mut world = World::cluster(1, 0, 1, None);
    assert_eq!(world.raft(0).role(), Role::Candidate, "its vote is under way");
    world.event(0, Event::DiskFull(true));
    let last = world.raft(0).last();
    world.run(2 * SECOND);
    assert_eq!((world.raft(0).role(), world.raft(0).last()), (Role::Follower, last));
    world.event(0, Event::DiskFull(false));
    world.run(2 * SECOND);
    assert_eq!(world.raft(0).role(), Role::Leader);
}

#[test]
fn l12_a_failed_write_is_for_ever() {
    prove(Flaw::FailureForgotten, |flaw| {
        let mut bench = Bench::new(3, &[1], flaw);
        bench.hear(1, append(1, at(1, 1), &[1], 0));
        let failed = bench.last_seq();
        let mut actions = bench.event(Event::PersistFailed { error: "EIO".into() });
        // The system forgets the error with the next write, and says that all is well (fsyncgate).
        actions.extend(bench.hear(1, append(1, at(1, 2), &[1], 0)));
        actions.extend(bench.event(Event::Persisted { upto: failed + 1 }));
        assert!(acks(&actions).is_empty(), "{actions:?}");
        assert_eq!((bench.raft.role(), convoke_kit::Machine::poll_timeout(&bench.raft)), (Role::Halted, None));
        assert!(actions.iter().any(|a| matches!(a, Action::Halted { error } if error == "EIO")));
    });
}

#[test]
fn l12_a_leader_whose_write_fails_is_replaced_and_acknowledges_nothing() {
    let (mut world, leader) = World::led(3, 2, None);
    world.nodes[leader].latency = 10 * SECOND;
    let ticket = world.propose(leader);
    world.event(leader, Event::PersistFailed { error: "EIO".into() });
    assert_eq!(world.outcomes.get(&ticket), Some(&crate::harness::Outcome::Unknown));
    let refused = world.propose(leader);
    assert_eq!(world.refusal(refused), Some(&Refusal::Halted { error: "EIO".into() }));
    world.run(3 * ELECTION);
    let next = world.elect();
    assert_ne!(next, leader);
    world.commit(next);
    world.settle();
}

#[test]
fn a_leader_sends_before_its_own_disk_is_done_and_commits_without_it() {
    let (mut world, leader) = World::led(3, 3, None);
    world.nodes[leader].latency = 400 * MS;
    let before = world.raft(leader).commit();
    let ticket = world.propose(leader);
    world.run(20 * MS);
    assert_eq!(world.raft(leader).commit(), before + 1, "two followers have it");
    assert!(!world.is_done(ticket) && world.raft(leader).applied() == before, "but it is not applied here");
    world.run(400 * MS);
    assert!(world.is_done(ticket));
}

#[test]
fn entries_are_sent_in_a_pipeline_within_the_window() {
    let config = Config { window: 4, batch: 8, ..Config::default() };
    let mut world = World::configured(3, 0, 3, None, &config);
    let leader = world.elect();
    let slow = (leader + 1) % 3;
    world.nodes[slow].latency = 500 * MS;
    let before = world.raft(leader).stats().entries_out;
    world.propose_many(leader, 100);
    world.run(50 * MS);
    let to_fast = world.raft(leader).commit() - 2;
    assert_eq!(to_fast, 100, "the quick one has them all");
    let sent = world.raft(leader).stats().entries_out - before - 100;
    assert!((4..=32).contains(&sent), "the slow one has four messages at most: {sent} entries");
    world.settle();
    assert_eq!(world.raft(slow).commit(), world.raft(leader).commit());
}

#[test]
fn proposals_are_refused_at_the_bound_and_by_who_cannot() {
    let config = Config { uncommitted: 10, command_bytes: 100, ..Config::default() };
    let mut world = World::configured(3, 0, 3, None, &config);
    let leader = world.elect();
    let follower = (leader + 1) % 3;
    let ticket = world.propose(follower);
    assert_eq!(world.refusal(ticket), Some(&Refusal::NotLeader { leader: Some(id(leader)) }));
    world.isolate(leader);
    world.propose_many(leader, 10);
    let ticket = world.propose(leader);
    assert_eq!(world.refusal(ticket), Some(&Refusal::Busy));
    let ticket = world.ticket();
    let command = convoke_raft::Command { client: 1, serial: 0, data: vec![0; 101].into() };
    world.event(leader, Event::Propose(vec![convoke_raft::Proposal { ticket, command }]));
    assert_eq!(world.refusal(ticket), Some(&Refusal::TooLarge { bytes: 101, limit: 100 }));
    world.run(SECOND);
    let ticket = world.propose(leader);
    assert_eq!(world.refusal(ticket), Some(&Refusal::NoLeader));
    world.settle();
}

#[test]
fn a_follower_that_starts_anew_learns_the_commit_index_without_a_new_entry() {
    let (mut world, leader) = World::led(3, 3, None);
    let follower = (leader + 1) % 3;
    world.propose_many(leader, 5);
    world.run(100 * MS);
    world.crash(follower, 99);
    world.nodes[follower].disk.hard.commit = 0;
    world.restart(follower);
    world.run(200 * MS);
    assert_eq!(world.raft(follower).applied(), world.raft(leader).applied());
}
