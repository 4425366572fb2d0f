//! The durability bookkeeping against a naive model: every state the disk may be in after a power cut.

use std::collections::BTreeMap;

use crate::bench::{Bench, acks, append, at, grants};
use crate::harness::{Disk, id, prove};
use convoke_kit::Rng;
use convoke_raft::{Flaw, Index, Message, Persist, Position, Raft, Term};

/// What the disk holds after each write that may be the last one to have landed: those reported, and any of the others.
struct Model {
    /// After the last write reported, and after each one behind it.
    states: Vec<Disk>,
    written: u64,
    reported: u64,
}

impl Model {
    fn write(&mut self, write: &Persist) {
        assert_eq!(write.seq, self.written + 1, "in order, without a gap");
        self.written = write.seq;
        let mut next = self.states.last().expect("there is one").clone();
        next.write(write);
        self.states.push(next);
    }

    fn report(&mut self, upto: u64) {
        self.states.drain(..(upto - self.reported) as usize);
        self.reported = upto;
    }

    /// The log in memory is on disk up to here, whichever write is the last one that lands.
    fn durable(&self, raft: &Raft) -> Index {
        let of = |disk: &Disk| {
            let same = |index: &Index| match raft.entry(*index) {
                Some(entry) => disk.entries.get(index) == Some(entry),
                None => false,
            };
            let base = raft.first_index() - 1;
            // What the snapshot in memory has, the disk has by its own one, or by the entries it had committed.
            let have = disk.snapshot.as_ref().map_or(0, |s| s.meta.position.index);
            assert!(have >= base || disk.entries.contains_key(&base) || base == 0 || raft.durable() < base);
            (base + 1..).take_while(same).last().unwrap_or(base)
        };
        self.states.iter().map(of).min().expect("there is one")
    }
}

/// A follower that hears leaders of rising terms, each with another idea of what comes after some entry.
#[test]
fn l7_what_is_called_durable_is_on_disk_whenever_the_power_is_cut() {
    for flaw in [Flaw::TruncateForgetsFlights, Flaw::AckBeforeDisk, Flaw::VoteBeforeDisk] {
        prove(flaw, compare);
    }
}

fn compare(flaw: Option<Flaw>) {
    let (mut exact, mut overwritten, mut acked) = (0, 0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(3, &[1], flaw);
        let mut model = Model { states: vec![bench.disk.clone()], written: 0, reported: 0 };
        // Of each leader so far: the terms of its log.
        let mut logs: BTreeMap<Term, Vec<Term>> = BTreeMap::from([(1, vec![1])]);
        let mut term = 1;
        for _ in 0..60 {
            let mut actions = Vec::new();
            match rng.below(8) {
                0 => {
                    // A new leader: some prefix of the log, not less than what was ever acknowledged.
                    let log = &logs[&term];
                    let committed = usize::try_from(bench.raft.commit()).unwrap().max(1);
                    let keep = committed + rng.index(log.len() - committed + 1);
                    let next = log[..keep].to_vec();
                    term += 1 + rng.below(2);
                    logs.insert(term, next);
                }
                1..4 => {
                    let log = logs.get_mut(&term).unwrap();
                    if rng.one_in(2) {
                        log.extend(std::iter::repeat_n(term, rng.index(4)));
                    }
                    let log = log.clone();
                    // Any piece of it, in any order.
                    let from = rng.index(log.len());
                    let to = from + rng.index(log.len() - from + 1);
                    let prev = if from == 0 { Position::ZERO } else { at(log[from - 1], from as u64) };
                    let message = if from == 0 {
                        append(term, at(1, 1), &log[1.min(to)..to], 0)
                    } else {
                        append(term, prev, &log[from..to], 0)
                    };
                    actions = bench.hear(1 + (term % 2) as usize, message);
                }
                4 => {
                    bench.patient();
                    term += 1;
                    let next = logs.last_key_value().unwrap().1.clone();
                    logs.insert(term, next);
                    let last = at(term - 1, 1000);
                    actions = bench.hear(1 + (term % 2) as usize, Message::Vote { term, last, transfer: true });
                }
                _ => {}
            }
            for write in bench.pending.iter().filter(|write| write.seq > model.written).cloned().collect::<Vec<_>>() {
                model.write(&write);
            }
            if rng.one_in(2) && model.written > model.reported {
                let upto = model.reported + 1 + rng.below(model.written - model.reported);
                actions.extend(bench.persisted(upto));
                model.report(upto);
            }
            let naive = model.durable(&bench.raft);
            assert!(bench.raft.durable() <= naive, "seed {seed}: called durable too early");
            exact += u64::from(bench.raft.durable() == naive);
            for matched in acks(&actions) {
                acked += 1;
                assert!(matched <= naive, "seed {seed}: {matched} is acknowledged, and {naive} durable");
                assert!(model.states.iter().all(|disk| disk.hard.term == bench.raft.term()), "seed {seed}");
            }
            for (to, term) in grants(&actions) {
                let kept = |disk: &Disk| (disk.hard.term, disk.hard.vote) == (term, Some(to));
                assert!(model.states.iter().all(kept), "seed {seed}: a vote may be forgotten");
            }
        }
        // In the end all of it is.
        bench.persist_all();
        assert_eq!(bench.raft.durable(), bench.raft.last().index);
        overwritten += bench.raft.stats().overwritten;
    }
    assert!(exact > 400 * 60 * 9 / 10, "it is rarely less than it could be: {exact}");
    assert!(overwritten > 1000 && acked > 2000, "it was put to the test: {overwritten} {acked}");
}

#[test]
fn writes_are_numbered_and_what_was_never_written_is_not_believed() {
    let mut bench = Bench::new(3, &[1], None);
    bench.hear(1, append(1, at(1, 1), &[1], 0));
    bench.hear(1, append(1, at(1, 2), &[1], 0));
    assert_eq!(bench.pending.iter().map(|write| write.seq).collect::<Vec<_>>(), [1, 2]);
    bench.persisted(1);
    bench.persisted(1);
    assert_eq!((bench.raft.durable(), bench.raft.writes_in_flight()), (2, 1));
    bench.event(convoke_raft::Event::Persisted { upto: u64::MAX });
    assert_eq!((bench.raft.durable(), bench.raft.writes_in_flight()), (3, 0));
    bench.hear(1, append(1, at(1, 3), &[1], 0));
    assert_eq!(bench.raft.durable(), 3, "a report of the future covers no later write");
}

#[test]
fn a_full_queue_of_writes_drops_messages_and_not_promises() {
    let mut bench = Bench::new(3, &[1], None);
    let writes = convoke_raft::writes::MAX_WRITES as u64;
    for index in 1..=writes {
        bench.hear(1, append(1, at(1, index), &[1], 0));
    }
    assert_eq!(bench.raft.writes_in_flight() as u64, writes);
    bench.hear(1, append(1, at(1, writes + 1), &[1], 0));
    bench.hear(2, Message::Vote { term: 9, last: at(8, 9999), transfer: true });
    assert_eq!((bench.raft.last().index, bench.raft.term()), (writes + 1, 1));
    assert_eq!(bench.raft.stats().dropped_disk, 2);
    assert_eq!(acks(&bench.persist_all()).last(), Some(&(writes + 1)));
    bench.hear(2, Message::Vote { term: 9, last: at(8, 9999), transfer: true });
    assert_eq!(grants(&bench.persist_all()), [(id(2), 9)]);
}
