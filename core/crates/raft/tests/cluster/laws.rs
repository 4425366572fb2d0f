//! The laws of a machine, and what anybody can say to it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::bench::{at, entry, logged, members};
use crate::harness::id;
use convoke_kit::laws::{self, Effort};
use convoke_kit::{Machine as _, Out, Rng, Time};
use convoke_raft::{
    Action, Appended, Boot, Change, Command, Config, Entry, Event, Member, Membership, Message, NodeId, Payload,
    Position, Proposal, Raft, ReadId, ReadMode, Role, Snapshot, SnapshotMeta, Ticket,
};

fn machine(seed: u64) -> Raft {
    let voters = [1, 3, 5][seed as usize % 3];
    let terms = [1, 1, 2, 2, 2, 3];
    let config =
        Config { snapshot_threshold: 5, trailing: 2, window: 3, reads: 20, uncommitted: 30, ..Config::default() };
    let recovered = logged(&members(voters), &terms[..seed as usize % 7]);
    Raft::new(Boot { id: id(0), recovered, config, seed, flaw: None }).expect("it is whole")
}

/// A number near the ones in use, or far from all.
fn some(rng: &mut Rng, near: u64) -> u64 {
    match rng.below(12) {
        0 => [0, 1, u64::MAX, 1 << 60, (1 << 60) + 1, u64::MAX - 1][rng.index(6)],
        1 => near.saturating_add(rng.below(1 << 33)),
        _ => near.saturating_add(rng.below(4)).saturating_sub(1),
    }
}

fn payload(rng: &mut Rng) -> Payload {
    match rng.below(8) {
        0 => Payload::Noop,
        1 => Payload::Membership(Arc::new(membership(rng))),
        _ => Payload::Command(Command { client: 1, serial: rng.below(9), data: vec![0; rng.index(9)].into() }),
    }
}

fn membership(rng: &mut Rng) -> Membership {
    let of = |rng: &mut Rng| (id(rng.index(6)), Member { voter: !rng.one_in(3), address: "x".repeat(rng.index(9)) });
    Membership((0..rng.index(6)).map(|_| of(rng)).collect())
}

/// What a peer may say, honest or not.
fn message(rng: &mut Rng, raft: &Raft) -> Message {
    let term = some(rng, raft.term());
    let index = some(rng, raft.last().index);
    let position = match rng.below(3) {
        0 => raft.last(),
        1 => raft.entry(index).map_or(at(1, 1), |entry| entry.position()),
        _ => Position { term: some(rng, raft.term()), index },
    };
    let read = ReadId { start: rng.below(3), count: rng.below(3) };
    match rng.below(15) {
        0 => Message::PreVote { term: term.saturating_add(1), last: position },
        1 => Message::PreVoteReply { term, asked: some(rng, raft.term() + 1), granted: rng.one_in(2) },
        2 => Message::Vote { term, last: position, transfer: rng.one_in(2) },
        3 => Message::VoteReply { term, asked: some(rng, raft.term()), granted: !rng.one_in(3) },
        4 | 5 => {
            let count = rng.below(4);
            let made = |at: u64, rng: &mut Rng| Entry { term: position.term.max(1), index: at, payload: payload(rng) };
            let entries = (1..=count).map(|n| Arc::new(made(position.index.saturating_add(n), rng))).collect();
            Message::Append { term, prev: position, entries, commit: some(rng, raft.commit()) }
        }
        6 => Message::AppendReply { term, outcome: Appended::Accepted { matched: index } },
        7 => Message::AppendReply { term, outcome: Appended::Rejected { prev: index, hint: position } },
        8 => Message::Heartbeat { term, round: rng.below(9), commit: index },
        9 => Message::HeartbeatReply { term, round: rng.below(9), matched: index, received: some(rng, index) },
        10 => {
            let whole = Snapshot::new(position, Arc::new(membership(rng)), 1, vec![1; rng.index(4)].into());
            let meta = SnapshotMeta { len: some(rng, whole.meta.len), ..whole.meta.clone() };
            let meta = if rng.one_in(2) { meta } else { whole.meta.clone() };
            Message::Chunk { term, meta, offset: rng.below(3), data: whole.data }
        }
        11 => Message::ChunkReply { term, position, wanted: some(rng, 2) },
        12 => Message::TimeoutNow { term },
        13 => Message::Outdated { term },
        _ if rng.one_in(2) => Message::Read { term, id: read },
        _ => Message::ReadReply { term, id: read, index: rng.one_in(2).then_some(index) },
    }
}

fn event(rng: &mut Rng, raft: &Raft, written: u64) -> Event {
    let ticket = Ticket(rng.next_u64());
    match rng.below(30) {
        0..18 => Event::Message { from: NodeId(rng.below(7).into()), message: message(rng, raft) },
        18..24 => Event::Persisted { upto: some(rng, written) },
        24 => {
            let command = Command { client: 1, serial: 1, data: vec![0; rng.index(40)].into() };
            Event::Propose((0..rng.index(4)).map(|_| Proposal { ticket, command: command.clone() }).collect())
        }
        25 => Event::Read { ticket, mode: if rng.one_in(2) { ReadMode::Lease } else { ReadMode::Quorum } },
        26 => {
            let id = id(rng.index(7));
            let change = match rng.below(5) {
                0 => Change::AddLearner { id, address: String::new() },
                1 => Change::Promote(id),
                2 => Change::Demote(id),
                3 => Change::Remove(id),
                _ => Change::Move { id, address: "y".into() },
            };
            Event::Change { ticket, change }
        }
        27 => Event::Transfer { ticket, to: rng.one_in(2).then(|| id(rng.index(6))) },
        28 => Event::SnapshotTaken { index: some(rng, raft.applied()), data: vec![2; 3].into() },
        _ if rng.one_in(40) => Event::PersistFailed { error: "disk".into() },
        _ if rng.one_in(2) => Event::Bootstrap { ticket, members: membership(rng) },
        _ => Event::DiskFull(rng.one_in(3)),
    }
}

#[test]
fn the_laws_hold_whatever_is_said() {
    let (mut led, mut said) = (0, 0);
    for seed in 0..150 {
        let written = RefCell::new(0);
        let trace = laws::check(
            seed,
            Effort { steps: 300, max_step: Duration::from_millis(400), ..Effort::default() },
            |seed| {
                *written.borrow_mut() = 0;
                machine(seed)
            },
            |rng, now, raft, out| {
                let event = event(rng, raft, *written.borrow());
                raft.handle(now, event, out);
                for action in out.actions() {
                    if let Action::Persist(write) = action {
                        *written.borrow_mut() = write.seq;
                    }
                }
            },
        );
        led += trace.iter().filter(|line| line.contains("role: Leader")).count();
        said += trace.len();
    }
    assert!(led > 20 && said > 10_000, "something happened: {led} reigns, {said} actions");
}

/// Nobody can say anything that takes back what was applied, or make two writes out of order.
#[test]
fn hostile_messages_never_undo_what_was_applied() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut raft = machine(seed);
        let (mut now, mut out, mut written) = (Time::ZERO, Out::new(), 0);
        let (mut applied, mut term) = (raft.applied(), raft.term());
        for _ in 0..400 {
            now = now + rng.duration(Duration::from_millis(100));
            if raft.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
                raft.handle_timeout(now, &mut out);
            }
            let event = event(&mut rng, &raft, written);
            raft.handle(now, event, &mut out);
            for action in out.drain_actions() {
                match action {
                    Action::Persist(write) => {
                        assert_eq!(write.seq, written + 1, "seed {seed}");
                        written = write.seq;
                        assert!(write.truncate_from.is_none_or(|from| from > applied), "seed {seed}: {write:?}");
                    }
                    Action::Apply(batch) => {
                        for committed in batch {
                            assert_eq!(committed.entry.index, applied + 1, "seed {seed}");
                            applied += 1;
                        }
                    }
                    Action::Install(snapshot) => {
                        assert!(snapshot.meta.position.index > applied, "seed {seed}");
                        applied = snapshot.meta.position.index;
                    }
                    _ => {}
                }
            }
            assert!(raft.term() >= term && raft.applied() == applied, "seed {seed}");
            assert!(raft.applied() <= raft.commit() && raft.commit() <= raft.last().index, "seed {seed}");
            assert!(raft.durable() <= raft.last().index, "seed {seed}");
            term = raft.term();
        }
        if raft.role() == Role::Halted {
            assert_eq!(raft.poll_timeout(), None);
        }
    }
}

#[test]
fn a_flood_of_one_kind_is_bounded() {
    let mut raft = machine(1);
    let mut out = Out::new();
    for n in 0..100_u64 {
        raft.handle(
            Time::from_millis(n),
            Event::Message { from: id(1), message: Message::Heartbeat { term: 9, round: n, commit: 0 } },
            &mut out,
        );
        raft.handle(Time::from_millis(n), Event::Read { ticket: Ticket(n), mode: ReadMode::Quorum }, &mut out);
    }
    let refused = out.actions().iter().filter(|action| matches!(action, Action::Refused { .. })).count();
    assert_eq!(refused, 80, "twenty wait");
    assert_eq!(entry(1, 1).weight(), 34);
}
