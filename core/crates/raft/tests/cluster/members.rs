//! Scenarios M: who counts changes safely.

use crate::bench::{Bench, append, at, grants, logged, members};
use crate::harness::{ELECTION, MS, SECOND, World, id, prove};
use convoke_raft::{Change, Config, Event, Flaw, Member, Membership, Message, Refusal, Role, Ticket};

#[test]
fn m1_no_change_before_an_entry_of_the_own_term_is_committed() {
    prove(Flaw::ChangeBeforeOwnCommit, |flaw| {
        let mut bench = Bench::new(4, &[1, 1], flaw);
        bench.lead();
        let change = |ticket| Event::Change { ticket: Ticket(ticket), change: Change::Remove(id(3)) };
        let actions = bench.event(change(1));
        let refused = convoke_raft::Action::Refused { ticket: Ticket(1), refusal: Refusal::TooEarly };
        assert!(actions.contains(&refused));
        assert_eq!(bench.raft.membership().1.voter_count(), 4);
        bench.accept(1, 3);
        bench.accept(2, 3);
        bench.event(change(2));
        assert_eq!(bench.raft.membership().1.voter_count(), 3);
    });
}

#[test]
fn m2_a_learner_that_does_not_know_of_its_promotion_votes() {
    prove(Flaw::LearnerGivesNoVote, |flaw| {
        let mut membership = Membership::of_voters([id(1)]);
        membership.0.insert(id(0), Member { voter: false, address: String::new() });
        let mut bench = Bench::from(logged(&membership, &[1, 1]), Config::default(), flaw);
        bench.patient();
        assert!(!bench.raft.membership().1.is_voter(id(0)));
        bench.hear(1, Message::Vote { term: 2, last: at(1, 3), transfer: false });
        assert_eq!(grants(&bench.persist_all()), [(id(1), 2)]);
    });
}

#[test]
fn m3_a_leader_that_dies_right_after_promoting_comes_back() {
    for landed in 0..2 {
        let mut world = World::cluster(1, 1, 1, None);
        let leader = world.elect();
        world.add_learner(leader, 1);
        world.change(leader, Change::Promote(id(1)));
        world.crash(0, landed);
        world.run(2 * SECOND);
        // The other cannot know whether anything was committed, and does not lead alone.
        assert_eq!(world.leader(), None);
        world.restart(0);
        world.settle();
        let leader = world.leader().unwrap();
        // What the power cut took from the leader, the other may have: both ends are right, if its own disk has nothing.
        let voters = world.raft(leader).membership().1.voter_count();
        assert!(voters == 2 || landed == 0, "{landed}");
        world.commit(leader);
    }
}

#[test]
fn m4_an_empty_disk_does_not_believe_a_commit_index() {
    prove(Flaw::CommitBeyondLog, |flaw| {
        let mut bench = Bench::new(3, &[], flaw);
        bench.hear(1, Message::Heartbeat { term: 5, round: 1, commit: 100 });
        assert_eq!((bench.raft.commit(), bench.raft.last().index), (0, 0));
        bench.hear(1, append(5, at(0, 0), &[1, 2], 100));
        bench.persist_all();
        assert_eq!((bench.raft.commit(), bench.raft.applied()), (2, 2));
    });
}

#[test]
fn m4_who_was_removed_and_lost_its_disk_is_added_anew() {
    let (mut world, leader) = World::led(3, 1, None);
    let lost = (leader + 1) % 3;
    let ticket = world.change(leader, Change::Remove(id(lost)));
    world.run(100 * MS);
    assert!(world.is_done(ticket));
    world.crash(lost, 0);
    world.nodes[lost].disk = crate::harness::Disk::default();
    world.restart(lost);
    world.add_learner(leader, lost);
    let ticket = world.change(leader, Change::Promote(id(lost)));
    world.run(100 * MS);
    assert!(world.is_done(ticket));
    world.settle();
}

#[test]
fn m5_only_a_voter_is_given_leadership() {
    prove(Flaw::TransferToLearner, |flaw| {
        let mut world = World::cluster(3, 1, 1, flaw);
        let leader = world.elect();
        world.add_learner(leader, 3);
        for to in [3, leader, 77] {
            let ticket = world.transfer(leader, Some(to));
            assert_eq!(world.refusal(ticket), Some(&Refusal::NotEligible { id: id(to) }));
        }
        world.commit(leader);
    });
}

#[test]
fn m5_who_is_told_to_lead_and_is_no_voter_does_not() {
    let mut bench = Bench::from(logged(&members(3), &[1, 1]), Config::default(), None);
    bench.hear(1, Message::Heartbeat { term: 1, round: 1, commit: 1 });
    let mut other = Bench::from(logged(&Membership::of_voters([id(1)]), &[1, 1]), Config::default(), None);
    other.hear(1, Message::Heartbeat { term: 1, round: 1, commit: 1 });
    other.hear(1, Message::TimeoutNow { term: 1 });
    assert_eq!((other.raft.role(), other.raft.term()), (Role::Follower, 1));
    // Nor for who does not lead, nor in another term.
    for (from, term) in [(2, 1), (1, 9)] {
        bench.hear(from, Message::TimeoutNow { term });
        assert_eq!((bench.raft.role(), bench.raft.term()), (Role::Follower, 1));
    }
    bench.hear(1, Message::TimeoutNow { term: 1 });
    assert_eq!((bench.raft.role(), bench.raft.term()), (Role::Candidate, 2));
}

#[test]
fn m7_a_server_removed_while_cut_off_disturbs_nobody_when_it_returns() {
    prove(Flaw::Disruptive, |flaw| {
        let (mut world, leader) = World::led(4, 1, flaw);
        let gone = (leader + 1) % 4;
        world.isolate(gone);
        let ticket = world.change(leader, Change::Remove(id(gone)));
        world.run(10 * SECOND);
        assert!(world.is_done(ticket));
        let term = world.raft(leader).term();
        world.heal();
        world.run(10 * SECOND);
        assert_eq!((world.leader(), world.raft(leader).term()), (Some(leader), term));
        world.commit(leader);
    });
}

#[test]
fn m8_a_leader_that_removes_itself_tells_what_it_committed() {
    prove(Flaw::LeavesSilently, |flaw| {
        let (mut world, leader) = World::led(3, 1, flaw);
        world.run(SECOND);
        let ticket = world.change(leader, Change::Remove(id(leader)));
        world.run(10 * MS);
        assert!(world.is_done(ticket));
        assert_eq!(world.raft(leader).role(), Role::Follower);
        let index = world.raft(leader).commit();
        for n in (0..3).filter(|n| *n != leader) {
            assert!(world.raft(n).commit() >= index, "n{n} knows");
        }
        world.run(50 * MS);
        assert!(world.leader().is_some_and(|n| n != leader), "and a successor leads at once");
        world.run(10 * SECOND);
        assert_eq!(world.raft(leader).role(), Role::Follower, "who was removed does not campaign");
    });
}

#[test]
fn m8_who_demoted_itself_and_crashed_still_campaigns() {
    prove(Flaw::RemovedGivesUp, |flaw| {
        let mut world = World::cluster(2, 0, 1, flaw);
        let leader = world.elect();
        // Only its own log has the entry; the other one, which is to go on alone, needs its vote and does not get it.
        world.isolate(leader);
        world.change(leader, Change::Demote(id(leader)));
        world.run(10 * MS);
        world.crash(leader, 9);
        world.restart(leader);
        world.settle();
        assert_ne!(world.leader(), Some(leader));
    });
}

#[test]
fn m9_changes_do_not_overlap_and_never_take_the_last_voter() {
    prove(Flaw::ChangesOverlap, |flaw| {
        let (mut world, leader) = World::led(3, 1, flaw);
        world.isolate((leader + 1) % 3);
        let first = world.change(leader, Change::Remove(id((leader + 1) % 3)));
        let second = world.change(leader, Change::Remove(id((leader + 2) % 3)));
        assert_eq!(world.refusal(second), Some(&Refusal::ChangeInProgress));
        world.run(100 * MS);
        assert!(world.is_done(first));
        let third = world.change(leader, Change::Demote(id((leader + 2) % 3)));
        world.run(100 * MS);
        assert!(world.is_done(third));
        for change in [Change::Remove(id(leader)), Change::Demote(id(leader))] {
            let ticket = world.change(leader, change);
            assert_eq!(world.refusal(ticket), Some(&Refusal::LastVoter { id: id(leader) }));
        }
        world.commit(leader);
    });
}

#[test]
fn m9_only_an_empty_server_is_bootstrapped() {
    let (mut world, leader) = World::led(3, 1, None);
    let ticket = world.ticket();
    world.event(leader, Event::Bootstrap { ticket, members: members(5) });
    assert_eq!(world.refusal(ticket), Some(&Refusal::NotEmpty));
    let mut world = World::empty(1, 1, None);
    for members in [Membership::default(), Membership::of_voters([id(4)]), Membership::of_voters((0..65).map(id))] {
        let ticket = world.ticket();
        world.event(0, Event::Bootstrap { ticket, members });
        assert_eq!(world.refusal(ticket), Some(&Refusal::BadMembership));
    }
    world.run(5 * SECOND);
    assert_eq!((world.raft(0).term(), world.leader()), (0, None), "it waits");
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut world = World::cluster(3, 1, 1, None);
    let leader = world.elect();
    let follower = (leader + 1) % 3;
    let ticket = world.change(follower, Change::Remove(id(leader)));
    assert_eq!(world.refusal(ticket), Some(&Refusal::NotLeader { leader: Some(id(leader)) }));
    let table = [
        (Change::AddLearner { id: id(follower), address: String::new() }, Refusal::NothingToDo),
        (Change::Promote(id(follower)), Refusal::NothingToDo),
        (Change::Promote(id(9)), Refusal::UnknownMember { id: id(9) }),
        (Change::Demote(id(9)), Refusal::UnknownMember { id: id(9) }),
        (Change::Remove(id(9)), Refusal::UnknownMember { id: id(9) }),
        (Change::Move { id: id(9), address: String::new() }, Refusal::UnknownMember { id: id(9) }),
        (Change::Move { id: id(follower), address: "x".repeat(600) }, Refusal::BadMembership),
    ];
    for (change, refusal) in table {
        let ticket = world.change(leader, change.clone());
        assert_eq!(world.refusal(ticket), Some(&refusal), "{change:?}");
    }
    // Far behind, it would only be in the way.
    world.isolate(3);
    let ticket = world.change(leader, Change::AddLearner { id: id(3), address: "n3".into() });
    world.run(20 * MS);
    assert!(world.is_done(ticket));
    world.propose_many(leader, 300);
    world.run(100 * MS);
    let ticket = world.change(leader, Change::Promote(id(3)));
    assert!(matches!(world.refusal(ticket), Some(Refusal::NotCaughtUp { entries, .. }) if *entries > 250));
    assert_eq!(
        world.raft(leader).silent(world.now + ELECTION),
        [0, 1, 2, 3].map(id).into_iter().filter(|n| *n != id(leader)).collect::<Vec<_>>()
    );
    world.heal();
    world.run(SECOND);
    let ticket = world.change(leader, Change::Promote(id(3)));
    world.run(100 * MS);
    assert!(world.is_done(ticket));
    let ticket = world.change(leader, Change::Move { id: id(3), address: "elsewhere".into() });
    world.run(100 * MS);
    assert!(world.is_done(ticket) && world.raft(0).membership().1.0[&id(3)].address == "elsewhere");
    world.settle();
}

#[test]
fn a_transfer_under_load_loses_nothing() {
    for seed in 0..10 {
        let (mut world, leader) = World::led(3, seed, None);
        world.propose_many(leader, 50);
        let asked = |world: &World| (0..3).map(|n| world.raft(n).stats().pre_campaigns).sum::<u64>();
        let before = asked(&world);
        let ticket = world.transfer(leader, None);
        world.run(100 * MS);
        assert!(world.is_done(ticket));
        let next = world.elect();
        assert_ne!(next, leader);
        world.commit(next);
        assert_eq!(asked(&world), before, "nobody fell silent");
        world.settle();
    }
}

#[test]
fn a_membership_that_is_overwritten_was_never_in_force() {
    let (mut world, leader) = World::led(3, 5, None);
    world.isolate(leader);
    let ticket = world.change(leader, Change::AddLearner { id: id(7), address: String::new() });
    assert!(world.raft(leader).membership().1.contains(id(7)));
    world.run(2 * SECOND);
    let next = world.leader().unwrap();
    world.commit(next);
    world.heal();
    world.run(SECOND);
    assert!(!world.raft(leader).membership().1.contains(id(7)));
    assert_eq!(world.outcomes.get(&ticket), Some(&crate::harness::Outcome::Unknown));
    world.settle();
}
