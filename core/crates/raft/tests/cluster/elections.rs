//! Scenarios E: who may lead, and who may not.

use std::sync::Arc;

use convoke_kit::Machine as _;

use crate::bench::{Bench, append, at, grants, members, pre_grants, said};
use crate::harness::{ELECTION, FAIR, MS, SECOND, Weather, World, id, prove};
use convoke_raft::{Config, Event, Flaw, HardState, Message, Position, Recovered, Role, Snapshot, Term};

fn vote(term: Term, last: Position) -> Message {
    Message::Vote { term, last, transfer: false }
}

#[test]
fn e1_a_vote_is_told_when_it_is_on_disk_and_not_before() {
    prove(Flaw::VoteBeforeDisk, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        let mut told = grants(&bench.hear(1, vote(5, at(1, 2))));
        // Power is cut before the write, and another candidate of the same term comes.
        bench.restart();
        told.extend(grants(&bench.hear(2, vote(5, at(1, 2)))));
        told.extend(grants(&bench.persist_all()));
        assert_eq!(told, [(id(2), 5)], "one vote a term");
        bench.restart();
        assert!(grants(&bench.hear(1, vote(5, at(1, 2)))).is_empty() && grants(&bench.persist_all()).is_empty());
    });
}

#[test]
fn e1_votes_are_asked_for_when_the_own_one_is_on_disk() {
    prove(Flaw::AskBeforeDisk, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        let actions = bench.campaign();
        assert!(said(&actions).iter().all(|(_, m)| !matches!(m, Message::Vote { .. })), "{actions:?}");
        let asked = said(&bench.persist_all());
        assert_eq!(asked, [(id(1), vote(2, at(1, 2))), (id(2), vote(2, at(1, 2)))]);
    });
}

#[test]
fn e1_a_promised_vote_dies_with_its_term() {
    let mut bench = Bench::new(3, &[1, 1], None);
    bench.hear(1, vote(5, at(1, 2)));
    // Before the write is done, a higher term is heard of.
    bench.hear(2, vote(7, at(1, 2)));
    assert_eq!(grants(&bench.persist_all()), [(id(2), 7)], "the vote of term 5 is not told any more");
}

#[test]
fn e2_who_asks_again_is_granted_again() {
    prove(Flaw::VoteOnlyOnce, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        bench.hear(1, vote(5, at(1, 2)));
        assert_eq!(grants(&bench.persist_all()), [(id(1), 5)]);
        assert_eq!(grants(&bench.hear(1, vote(5, at(1, 2)))), [(id(1), 5)], "the answer was lost");
        assert!(grants(&bench.hear(2, vote(5, at(1, 2)))).is_empty());
    });
}

#[test]
fn e3_the_last_term_of_an_empty_log_is_that_of_its_snapshot() {
    prove(Flaw::EmptyLogForgotten, |flaw| {
        let snapshot = Snapshot::new(at(2, 4), Arc::new(members(3)), 1, [1][..].into());
        let hard_state = HardState { term: 2, vote: None, commit: 4 };
        let recovered = Recovered { hard_state, snapshot: Some(Arc::new(snapshot)), entries: Vec::new() };
        let mut bench = Bench::from(recovered, Config::default(), flaw);
        bench.patient();
        // Longer, but of an older term: it lacks what is committed.
        bench.hear(1, vote(3, at(1, 9)));
        assert!(grants(&bench.persist_all()).is_empty());
        bench.campaign();
        assert!(said(&bench.persist_all()).contains(&(id(1), vote(4, at(2, 4)))));
    });
}

#[test]
fn e4_the_later_term_wins_however_short_the_log() {
    prove(Flaw::ComponentwiseLogs, |flaw| {
        let mut long = Bench::new(3, &[1, 1, 2, 2, 2, 2], flaw);
        long.hear(1, vote(4, at(3, 4)));
        assert_eq!(grants(&long.persist_all()), [(id(1), 4)]);
        let mut late = Bench::new(3, &[1, 1, 2, 3], flaw);
        late.hear(1, vote(4, at(2, 6)));
        assert!(grants(&late.persist_all()).is_empty());
    });
}

#[test]
fn e5_the_ex_leader_may_ask_at_once() {
    prove(Flaw::ExLeaderRefused, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        bench.hear(1, Message::Heartbeat { term: 1, round: 1, commit: 2 });
        bench.now = bench.now + MS;
        // It was started anew, and the third server is down: without this vote nobody ever leads.
        let asked = |last| Message::PreVote { term: 2, last };
        assert_eq!(pre_grants(&bench.hear(1, asked(at(1, 2)))), [id(1)]);
        assert!(pre_grants(&bench.hear(2, asked(at(1, 2)))).is_empty(), "another may not: the leader was heard");
    });
}

#[test]
fn e6_granting_a_pre_vote_is_not_hearing_a_leader() {
    prove(Flaw::PreVoteRefreshes, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        let asked = Message::PreVote { term: 2, last: at(1, 2) };
        assert_eq!(pre_grants(&bench.hear(1, asked.clone())), [id(1)]);
        bench.now = bench.now + MS;
        assert_eq!(pre_grants(&bench.hear(2, asked)), [id(2)]);
        assert_eq!((bench.raft.term(), bench.raft.vote()), (1, None), "and costs nothing");
    });
}

#[test]
fn e7_a_refused_pre_vote_teaches_the_term() {
    prove(Flaw::PreVoteTeachesNothing, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        while bench.raft.role() != Role::PreCandidate {
            bench.next_timer();
        }
        bench.hear(1, Message::PreVoteReply { term: 9, asked: 2, granted: false });
        assert_eq!((bench.raft.term(), bench.raft.role()), (9, Role::Follower));
    });
}

#[test]
fn e7_who_learns_a_term_from_a_refusal_asks_again_soon() {
    // It disturbed nobody; a whole timeout more would be one too many (seed 1124 of the simulator's lives).
    let mut bench = Bench::new(3, &[1, 1], None);
    while bench.raft.role() != Role::PreCandidate {
        bench.next_timer();
    }
    bench.hear(1, Message::PreVoteReply { term: 9, asked: 2, granted: false });
    bench.persist_all();
    let next = bench.raft.poll_timeout().expect("it waits for something");
    assert!(next.at.since(bench.now) <= ELECTION, "{next:?} at {:?}", bench.now);
}

#[test]
fn e7_a_stale_cohort_with_a_high_term_converges() {
    // Two servers lag behind in the log, but one of them is ahead in the term.
    let (mut world, leader) = World::led(3, 7, None);
    let stale = (leader + 1) % 3;
    world.isolate(stale);
    world.commit(leader);
    world.crash(stale, 0);
    world.nodes[stale].disk.hard.term += 5;
    world.nodes[stale].disk.hard.vote = None;
    world.restart(stale);
    world.crash((leader + 2) % 3, 0);
    world.heal();
    world.run(SECOND);
    let now_leads = world.elect();
    assert!(now_leads == leader && world.raft(leader).term() > 5);
}

#[test]
fn e8_heartbeats_do_not_stop_the_target_of_a_transfer() {
    prove(Flaw::TransferPreVotes, |flaw| {
        let (mut world, leader) = World::led(3, 3, flaw);
        let target = (leader + 1) % 3;
        let ticket = world.transfer(leader, Some(target));
        // The target is slow to write its vote, and hears the old leader meanwhile.
        world.nodes[target].latency = 100 * MS;
        world.run(250 * MS);
        assert_eq!(world.leader(), Some(target));
        assert!(world.is_done(ticket));
    });
}

#[test]
fn e9_pre_votes_are_counted_anew_in_each_attempt() {
    prove(Flaw::BallotsKept, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        while bench.raft.role() != Role::PreCandidate {
            bench.next_timer();
        }
        bench.hear(1, Message::PreVoteReply { term: 1, asked: 2, granted: false });
        let attempts = bench.raft.stats().pre_campaigns;
        let mut actions = Vec::new();
        while bench.raft.stats().pre_campaigns == attempts {
            actions = bench.next_timer();
        }
        let asked: Vec<_> = said(&actions).into_iter().map(|(to, _)| to).collect();
        assert_eq!(asked, [id(1), id(2)], "it may have changed its mind");
    });
}

#[test]
fn e9_servers_with_and_without_pre_vote_live_together() {
    for seed in 0..8 {
        let mut world = World::cluster(3, 0, seed, None);
        for n in 0..3 {
            world.crash(n, 99);
            world.nodes[n].config.pre_vote = n == (seed as usize) % 3;
            world.restart(n);
        }
        for _ in 0..4 {
            let leader = world.elect();
            world.commit(leader);
            world.crash(leader, 0);
            world.elect();
            world.restart(leader);
        }
        world.settle();
    }
}

#[test]
fn e9_who_cannot_win_does_not_keep_others_from_standing() {
    // Without pre-vote it campaigns again and again, with a log that is too short and a clock that is quick. To be told of a later
    // term is not to hear a leader, nor to give a vote: the others' patience goes on (section 5.2; seed 44 of the simulator's
    // lives).
    let mut slow = 0;
    for seed in 0..20 {
        let mut world = World::cluster(3, 0, seed, None);
        let leader = world.elect();
        let (stale, other) = ((leader + 1) % 3, (leader + 2) % 3);
        world.isolate(stale);
        world.commit(leader);
        world.crash(stale, 0);
        world.nodes[stale].config.pre_vote = false;
        world.nodes[stale].rate = 1300;
        world.nodes[other].rate = 700;
        world.crash(leader, 99);
        world.heal();
        world.restart(stale);
        let start = world.now;
        world.elect_of(&[other]);
        slow += u32::from(world.now.since(start) > 6 * ELECTION);
    }
    assert!(slow <= 1, "{slow} of 20 elections took more than {:?}", 6 * ELECTION);
}

#[test]
fn e10_an_answer_of_an_earlier_candidacy_does_not_count() {
    prove(Flaw::LateVoteCounts, |flaw| {
        let mut bench = Bench::new(3, &[1, 1], flaw);
        bench.campaign();
        bench.persist_all();
        while bench.raft.role() == Role::Candidate {
            bench.next_timer();
        }
        bench.campaign();
        bench.persist_all();
        let late = Message::VoteReply { term: 2, asked: 2, granted: true };
        bench.hear(1, late);
        assert_eq!((bench.raft.term(), bench.raft.role()), (3, Role::Candidate));
        bench.hear(1, Message::VoteReply { term: 3, asked: 3, granted: true });
        assert_eq!(bench.raft.role(), Role::Leader);
    });
}

#[test]
fn e11_who_hears_nobody_deposes_nobody() {
    prove(Flaw::Disruptive, |flaw| {
        let (mut world, leader) = World::led(3, 5, flaw);
        let term = world.raft(leader).term();
        let deaf = (leader + 1) % 3;
        world.cut.extend([(leader, deaf), ((leader + 2) % 3, deaf)]);
        world.run(5 * SECOND);
        assert_eq!((world.leader(), world.raft(leader).term()), (Some(leader), term));
        world.commit(leader);
        world.heal();
        world.run(SECOND);
        assert_eq!((world.leader(), world.raft(leader).term()), (Some(leader), term), "nor when it hears again");
    });
}

#[test]
fn e11_a_leader_that_hears_nobody_steps_down() {
    let (mut world, leader) = World::led(3, 5, None);
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    // Its heartbeats arrive, but no answer does: nobody else would ever campaign.
    world.cut.extend(others.map(|other| (other, leader)));
    world.run(ELECTION + 100 * MS);
    assert_ne!(world.raft(leader).role(), Role::Leader);
    world.run(SECOND);
    assert!(world.leader().is_some_and(|now| now != leader));
}

#[test]
fn e12_a_leader_whose_disk_stalls_steps_down() {
    prove(Flaw::StallIgnored, |flaw| {
        let (mut world, leader) = World::led(3, 9, flaw);
        world.nodes[leader].latency = 180 * SECOND;
        let ticket = world.propose(leader);
        world.run(Config::default().disk_timeout + 3 * ELECTION);
        let next = world.leader().expect("somebody leads");
        assert_ne!(next, leader);
        assert!(!world.is_done(ticket) || world.raft(next).commit() >= 3);
        world.commit(next);
        world.run(2 * SECOND);
        assert_eq!(world.leader(), Some(next), "the stalled one does not come back before its disk does");
    });
}

#[test]
fn e13_votes_are_rarely_split_at_a_delay_of_a_tenth_of_the_timeout() {
    let mut campaigns = 0;
    for seed in 0..100 {
        let mut world = World::cluster(5, 0, seed, None);
        world.weather = Weather { delay: 10 * MS, jitter: 10 * MS, ..FAIR };
        let leader = world.elect();
        world.run(SECOND);
        let leader = world.leader().unwrap_or(leader);
        world.crash(leader, 0);
        let count =
            |world: &World| -> u64 { (0..5).filter(|n| *n != leader).map(|n| world.raft(n).stats().campaigns).sum() };
        let before = count(&world);
        world.elect();
        campaigns += count(&world) - before;
    }
    assert!((100..140).contains(&campaigns), "{campaigns} elections for 100 leaders");
}

#[test]
fn a_crashed_leader_is_replaced_well_within_a_second() {
    let (mut slowest, mut total) = (0, 0);
    for seed in 0..40 {
        let (mut world, leader) = World::led(3, seed, None);
        let begin = world.now;
        world.crash(leader, 0);
        world.elect();
        let took = world.now.since(begin).as_millis();
        (slowest, total) = (slowest.max(took), total + took);
    }
    assert!(slowest < 1000 && total / 40 < 500, "slowest {slowest} ms, mean {} ms", total / 40);
}

#[test]
fn a_lone_voter_leads_at_once() {
    let mut world = World::cluster(1, 0, 1, None);
    world.run(10 * MS);
    assert_eq!(world.leader(), Some(0));
    world.commit(0);
    world.crash(0, 0);
    world.restart(0);
    world.run(10 * MS);
    assert_eq!(world.leader(), Some(0));
    world.settle();
}

#[test]
fn a_server_that_starts_anew_honours_the_lease_it_forgot() {
    let mut bench = Bench::from(crate::bench::logged(&members(3), &[1, 1]), Config::default(), None);
    assert!(grants(&bench.hear(1, vote(5, at(1, 2)))).is_empty(), "it may have heard a leader a moment ago");
    assert_eq!(bench.raft.term(), 1);
    bench.patient();
    bench.hear(1, vote(5, at(1, 2)));
    assert_eq!(grants(&bench.persist_all()), [(id(1), 5)]);
}

#[test]
fn absurd_messages_are_refused() {
    let mut bench = Bench::new(3, &[1, 1], None);
    let absurd = [
        vote(u64::MAX, at(1, 2)),
        vote(1 << 40, at(1, 2)),
        append(5, at(1, u64::MAX), &[], 0),
        append(0, at(0, 0), &[], 0),
        Message::Heartbeat { term: 3, round: u64::MAX, commit: u64::MAX },
        Message::ReadReply { term: u64::MAX, id: convoke_raft::ReadId { start: 0, count: 0 }, index: Some(u64::MAX) },
    ];
    for message in absurd {
        bench.hear(1, message);
    }
    bench.hear(0, vote(2, at(1, 2)));
    assert_eq!((bench.raft.stats().dropped_absurd, bench.raft.term()), (7, 1));
    bench.lead();
    bench.accept(1, 99);
    bench.hear(2, Message::HeartbeatReply { term: 2, round: 1, matched: 99, received: 99 });
    assert_eq!((bench.raft.stats().dropped_absurd, bench.raft.commit()), (9, 0));
    let _ = bench.event(Event::Persisted { upto: u64::MAX });
}

#[test]
fn who_lost_a_vote_in_which_nobody_won_stands_again_soon() {
    // Two stand in the same moment, and each has voted for itself. To wait as long as for a leader that died would
    // leave the cluster without one for four election timeouts, and more.
    let mut bench = Bench::new(2, &[1, 1], None);
    bench.campaign();
    bench.persist_all();
    let term = bench.raft.term();
    bench.hear(1, Message::VoteReply { term, asked: term, granted: false });
    assert_eq!((bench.raft.role(), bench.raft.term()), (Role::Follower, term));
    let wait = bench.raft.poll_timeout().map(|deadline| deadline.at.since(bench.now));
    let timeout = Config::default().election_timeout;
    assert!(wait.is_some_and(|wait| wait >= timeout / 2 && wait <= timeout), "{wait:?}");
}
