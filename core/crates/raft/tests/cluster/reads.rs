//! Scenarios R: a read sees everything that was acknowledged before it began. The world checks it at every answer.

use crate::bench::{Bench, append, at, said};
use crate::harness::{ELECTION, Fate, MS, Outcome, SECOND, World, id, prove};
use convoke_kit::Machine as _;
use convoke_raft::{Change, Event, Flaw, Message, ReadId, ReadMode, Refusal, Role, Ticket};

/// The leader is cut off; the others elect another, which commits. Meanwhile the old one is asked again and again.
fn ask_the_deposed(world: &mut World, leader: usize, mode: ReadMode) -> Vec<Ticket> {
    world.commit(leader);
    world.isolate(leader);
    let mut asked = Vec::new();
    for _ in 0..150 {
        world.run(10 * MS);
        asked.push(world.read(leader, mode));
        if let Some(next) = world.leader().filter(|n| *n != leader) {
            world.propose(next);
        }
    }
    asked
}

#[test]
fn r1_a_leader_cut_off_answers_by_lease_only_while_nobody_else_can_lead() {
    prove(Flaw::LeaseTooLong, |flaw| {
        for seed in 0..6 {
            // Without a drift its reign would end before another's begins, whatever it believes.
            let mut world = World::drifting([600, 1000, 1000], seed, flaw);
            let asked = ask_the_deposed(&mut world, 0, ReadMode::Lease);
            assert!(world.is_done(asked[0]), "at first the lease holds");
            let last = world.refusal(asked[100]);
            assert_eq!(last, Some(&Refusal::NoLeader));
            world.settle();
        }
    });
}

#[test]
fn r1_the_last_voter_waits_for_the_lease_of_the_leader_that_left() {
    prove(Flaw::LoneVoterHurries, |flaw| {
        let (mut world, leader) = World::led(2, 3, flaw);
        world.run(SECOND);
        let last = 1 - leader;
        // The entry arrives, and the leader does not hear so.
        world.cut.insert((last, leader));
        world.change(leader, Change::Remove(id(leader)));
        world.run(2 * MS);
        world.crash(last, 9);
        world.restart(last);
        for _ in 0..20 {
            world.run(10 * MS);
            world.read(leader, ReadMode::Lease);
        }
        world.run(SECOND);
        assert_eq!(world.leader(), Some(last), "in the end it leads alone");
    });
}

#[test]
fn r2_a_lease_is_over_after_a_pause() {
    prove(Flaw::LeaseFromAnswer, |flaw| {
        for offset in 0..70 {
            let (mut world, leader) = World::led(3, 1, flaw);
            world.run(offset * MS);
            // It stands still, with answers to its heartbeats waiting to be handled.
            world.nodes[leader].paused = true;
            world.run(3 * ELECTION);
            let next = world.leader().filter(|n| *n != leader).unwrap_or_else(|| world.elect());
            world.propose(next);
            world.run(50 * MS);
            // What waits is handled before its timers are looked at; the world checks the lease at each step.
            world.resume(leader);
            let ticket = world.read(leader, ReadMode::Lease);
            world.run(200 * MS);
            assert!(world.outcomes.contains_key(&ticket), "it is answered, truly or not at all");
        }
    });
}

#[test]
fn r3_a_new_leader_answers_after_an_entry_of_its_own_term() {
    prove(Flaw::ReadBeforeOwnCommit, |flaw| {
        let (mut world, leader) = World::led(3, 2, flaw);
        // The others have the entry, and do not hear that it is committed.
        let ticket = world.propose(leader);
        while !world.is_done(ticket) {
            world.run(MS / 4);
        }
        world.isolate(leader);
        let acked = world.highest_acked;
        let next = loop {
            world.run(MS);
            if let Some(next) = world.leader().filter(|n| *n != leader) {
                break next;
            }
        };
        for n in 0..3 {
            world.nodes[n].latency = 30 * MS;
        }
        assert!(world.raft(next).commit() < acked, "it does not know yet");
        for mode in [ReadMode::Quorum, ReadMode::Lease] {
            let ticket = world.read(next, mode);
            assert_eq!(world.outcomes.get(&ticket), None);
        }
        world.run(200 * MS);
        assert!(world.raft(next).commit() > acked && world.raft(next).stats().quorum_reads == 2);
    });
}

#[test]
fn r4_late_answers_are_not_taken_for_others() {
    prove(Flaw::ReadIdReused, |flaw| {
        let ask = |bench: &mut Bench, ticket| -> ReadId {
            bench.hear(1, append(1, at(1, 2), &[], 2));
            let event = Event::Read { ticket: Ticket(ticket), mode: ReadMode::Quorum };
            let sent = said(&bench.event(event)).into_iter().find_map(|(_, message)| match message {
                Message::Read { id, .. } => Some(id),
                _ => None,
            });
            sent.expect("the leader is asked")
        };
        let mut bench = Bench::new(3, &[1, 1], flaw);
        let first = ask(&mut bench, 1);
        bench.restart();
        let second = ask(&mut bench, 2);
        assert_ne!(first, second);
        // The answer to what was asked before the restart.
        let late = Message::ReadReply { term: 1, id: first, index: Some(1) };
        assert!(bench.hear(1, late).is_empty());
        // The leader changes: the read is not answered any more, by whomever.
        let actions = bench.hear(2, Message::Heartbeat { term: 2, round: 1, commit: 0 });
        let refused = convoke_raft::Action::Refused { ticket: Ticket(2), refusal: Refusal::NoLeader };
        assert!(actions.contains(&refused));
        assert!(bench.hear(1, Message::ReadReply { term: 1, id: second, index: Some(1) }).is_empty());
    });
}

#[test]
fn r4_a_round_of_an_earlier_reign_confirms_nothing_in_a_later_one() {
    prove(Flaw::OldRoundsCount, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        // It votes for the leader of term 4, who was deposed, in term 5.
        bench.hear(1, Message::Vote { term: 5, last: at(4, 9), transfer: false });
        bench.persist_all();
        // A heartbeat of term 4 comes late. Answered in term 5 it would confirm round 7 of term 5, which was sent later.
        let told = said(&bench.hear(1, Message::Heartbeat { term: 4, round: 7, commit: 0 }));
        assert_eq!(told, [(id(1), Message::Outdated { term: 5 })]);
    });
}

#[test]
fn r4_reads_at_followers_survive_a_storm() {
    let mut world = World::cluster(3, 0, 5, None);
    world.elect();
    world.weather = crate::harness::Weather { loss: 20, repeat: 5, delay: MS, jitter: 30 * MS };
    let mut answered = 0;
    for step in 0..300 {
        if let Some(leader) = world.leader() {
            world.propose(leader);
        }
        let ticket = world.read(step % 3, ReadMode::Quorum);
        world.run(10 * MS);
        if step % 60 == 30 {
            world.crash(step % 3, 0);
            world.restart(step % 3);
        }
        answered += usize::from(world.is_done(ticket));
    }
    world.settle();
    let done = world.outcomes.values().filter(|outcome| matches!(outcome, Outcome::Done(_))).count();
    assert!(done > 250, "{done} of 600, {answered} at once");
}

#[test]
fn r5_no_lease_once_another_was_told_to_campaign() {
    prove(Flaw::LeaseDuringTransfer, |flaw| {
        let (mut world, leader) = World::led(3, 4, flaw);
        world.run(SECOND);
        let target = (leader + 1) % 3;
        assert!(world.raft(leader).lease_until(world.now).is_some());
        world.transfer(leader, Some(target));
        // The message arrives, and the old leader hears nothing any more.
        world.run(MS + MS / 4);
        world.isolate(leader);
        world.run(20 * MS);
        assert_eq!(world.leader(), Some(target));
        world.propose(target);
        world.run(20 * MS);
        assert_eq!(world.raft(leader).role(), Role::Leader, "it does not know yet");
        let ticket = world.read(leader, ReadMode::Lease);
        assert_eq!(world.outcomes.get(&ticket), None, "by a majority, or not at all");
        world.settle();
    });
}

#[test]
fn r5_a_transfer_that_failed_leaves_reads_to_the_majority() {
    let (mut world, leader) = World::led(3, 4, None);
    world.judge = Some(Box::new(|_, _, m| match m {
        Message::TimeoutNow { .. } => Fate::Lost,
        _ => Fate::Arrives,
    }));
    let ticket = world.transfer(leader, None);
    let refused = world.propose(leader);
    assert_eq!(world.refusal(refused), Some(&Refusal::Transferring));
    world.run(SECOND);
    assert_eq!(world.refusal(ticket), Some(&Refusal::TransferTimedOut));
    assert_eq!((world.leader(), world.raft(leader).lease_until(world.now)), (Some(leader), None));
    world.commit(leader);
    let read = world.read(leader, ReadMode::Lease);
    world.run(20 * MS);
    assert!(world.is_done(read) && world.raft(leader).stats().quorum_reads == 1);
}

#[test]
fn r6_a_read_is_confirmed_by_a_majority() {
    prove(Flaw::ReadQuorumShort, |flaw| {
        for seed in 0..6 {
            // Its clock is slow, so that it believes to lead while another does.
            let mut world = World::drifting([500, 1000, 1000], seed, flaw);
            let asked = ask_the_deposed(&mut world, 0, ReadMode::Quorum);
            assert!(asked.iter().all(|ticket| !world.is_done(*ticket)));
        }
    });
}

#[test]
fn r7_reads_end_with_the_reign() {
    prove(Flaw::ReadsOutliveReign, |flaw| {
        let (mut world, leader) = World::led(3, 3, flaw);
        world.isolate(leader);
        let tickets = [world.read(leader, ReadMode::Quorum), world.read(leader, ReadMode::Quorum)];
        world.run(2 * ELECTION);
        assert_ne!(world.raft(leader).role(), Role::Leader);
        for ticket in tickets {
            assert_eq!(world.refusal(ticket), Some(&Refusal::NoLeader));
        }
    });
}

#[test]
fn r8_a_server_that_knows_no_leader_answers_nothing() {
    prove(Flaw::ReadWithoutLeader, |flaw| {
        let (mut world, leader) = World::led(3, 3, flaw);
        world.commit(leader);
        for n in 0..3 {
            world.crash(n, 99);
        }
        world.restart(0);
        for mode in [ReadMode::Lease, ReadMode::Quorum] {
            let ticket = world.read(0, mode);
            assert_eq!(world.refusal(ticket), Some(&Refusal::NoLeader));
        }
    });
}

#[test]
fn r9_a_leader_counts_itself_when_its_disk_does() {
    prove(Flaw::OwnMatchBeforeDisk, |flaw| {
        let (mut world, leader) = World::led(3, 3, flaw);
        let (with, without) = ((leader + 1) % 3, (leader + 2) % 3);
        world.isolate(without);
        world.nodes[leader].latency = 10 * SECOND;
        world.propose(leader);
        // One follower has it; the leader only in memory.
        world.run(150 * MS);
        world.crash(leader, 0);
        world.isolate(with);
        world.cut.retain(|(a, b)| *a == with || *b == with);
        world.nodes[leader].latency = MS / 2;
        world.restart(leader);
        let next = world.elect();
        world.propose(next);
        world.run(100 * MS);
        world.settle();
    });
}

#[test]
fn r9_power_loss_takes_nothing_acknowledged() {
    prove(Flaw::AckBeforeDisk, |flaw| {
        let (mut world, leader) = World::led(3, 3, flaw);
        let (slow, other) = ((leader + 1) % 3, (leader + 2) % 3);
        world.isolate(other);
        world.nodes[slow].latency = 10 * SECOND;
        let ticket = world.propose(leader);
        world.run(50 * MS);
        world.crash(slow, 0);
        world.nodes[slow].latency = MS / 2;
        world.restart(slow);
        world.isolate(leader);
        world.cut.retain(|(a, b)| *a == leader || *b == leader);
        let next = world.elect_of(&[slow, other]);
        world.commit(next);
        assert!(!world.is_done(ticket));
        world.settle();
    });
}

#[test]
fn r9_a_single_server_acknowledges_what_is_on_its_disk() {
    let mut world = World::cluster(1, 0, 3, None);
    world.elect();
    world.nodes[0].latency = 300 * MS;
    let ticket = world.propose(0);
    world.run(200 * MS);
    assert!(!world.is_done(ticket));
    world.crash(0, 0);
    world.restart(0);
    world.nodes[0].latency = MS;
    world.settle();
    assert!(!world.nodes[0].state.done.contains_key(&ticket.0));
}

#[test]
fn r10_a_lease_survives_clocks_that_differ_by_a_factor_of_two() {
    prove(Flaw::LeaseTooLong, |flaw| {
        for rates in [[500, 1000, 1000], [1000, 2000, 2000], [1000, 2000, 1000], [1000, 500, 500], [500, 500, 1000]] {
            for seed in 0..4 {
                let mut world = World::drifting(rates, seed, flaw);
                ask_the_deposed(&mut world, 0, ReadMode::Lease);
                world.settle();
            }
        }
    });
}

#[test]
fn reads_share_rounds_and_are_bounded() {
    let config = convoke_raft::Config { reads: 50, ..convoke_raft::Config::default() };
    let mut world = World::configured(3, 0, 3, None, &config);
    let leader = world.elect();
    world.run(30 * MS);
    let before = world.messages;
    let tickets: Vec<Ticket> = (0..50).map(|_| world.read(leader, ReadMode::Quorum)).collect();
    let refused = world.read(leader, ReadMode::Quorum);
    assert_eq!(world.refusal(refused), Some(&Refusal::Busy));
    world.run(10 * MS);
    assert!(tickets.iter().all(|ticket| world.is_done(*ticket)));
    assert!(world.messages - before <= 16, "{} messages", world.messages - before);
    let ticket = world.read(leader, ReadMode::Lease);
    assert!(world.is_done(ticket), "by lease at once");
}

#[test]
fn a_lone_leader_reads_without_asking_anybody() {
    let mut world = World::cluster(1, 0, 3, None);
    world.elect();
    for mode in [ReadMode::Quorum, ReadMode::Lease] {
        let ticket = world.read(0, mode);
        assert!(world.is_done(ticket));
    }
}

#[test]
fn a_lone_leader_does_not_wake_to_tell_nobody_that_it_leads() {
    let mut world = World::cluster(1, 1, 3, None);
    world.elect();
    world.commit(0);
    assert_eq!(world.raft(0).poll_timeout(), None, "nothing is due");
    // It has rested for longer than any lease; what it knows is as current as ever, whoever asks, and after each answer it
    // rests again.
    for mode in [ReadMode::Lease, ReadMode::Quorum] {
        world.run(30 * SECOND);
        assert!(world.raft(0).lease_until(world.now).is_some());
        let ticket = world.read(0, mode);
        assert!(world.is_done(ticket));
        world.run(SECOND);
        assert_eq!(world.raft(0).poll_timeout(), None, "after {mode:?}");
    }
    // From its first follower on it sends rounds: a voter that hears none would stand, one that answers none ends the reign.
    world.add_learner(0, 1);
    world.run(SECOND);
    world.change(0, Change::Promote(id(1)));
    world.run(10 * SECOND);
    assert_eq!((world.leader(), world.raft(0).stats().elections_won), (Some(0), 1), "it leads on");
    assert!(world.raft(0).membership().1.is_voter(id(1)) && world.raft(0).lease_until(world.now).is_some());
    world.isolate(0);
    world.run(SECOND);
    assert!(world.raft(0).role() != Role::Leader && world.raft(0).lease_until(world.now).is_none());
    world.heal();
    world.settle();
    // Alone again, at rest again.
    let leader = world.elect();
    world.change(leader, Change::Remove(id(1 - leader)));
    world.run(SECOND);
    assert_eq!(world.raft(leader).poll_timeout(), None);
    world.settle();
}
