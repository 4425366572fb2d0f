//! One server and its disk. Clusters are played in the simulator.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use convoke_catalog::Command;
use convoke_catalog::command::KvSet;
use convoke_kit::laws::{self, Effort};
use convoke_kit::{Machine as _, Out, Time};
use convoke_raft::{self as raft, Membership, NodeId, ReadMode, Role};

use super::{Action, Boot, Consensus, Event, Refusal, Tables};
use crate::recovery::{self, Recovered};
use crate::store;

fn command(n: u64) -> Box<Command> {
    let (key, value) = (n.to_string().as_str().into(), b"v"[..].into());
    Box::new(Command::KvSet(KvSet { tenancy: Default::default(), key, value, flags: n, cas: None }))
}

/// A disk that holds what it was told, as far as it says so.
#[derive(Clone, Debug, Default)]
struct Disk(store::Recovered);

impl Disk {
    fn write<O>(&mut self, actions: &[Action<O>]) -> Option<u64> {
        let mut last = None;
        for action in actions {
            match action {
                Action::Append { number, bytes } => {
                    self.0.log.get_or_insert_default().extend_from_slice(bytes);
                    last = Some(*number);
                }
                Action::Compact { number, snapshot, log } => {
                    if let Some(snapshot) = snapshot {
                        self.0.snapshot = Some(snapshot.clone());
                    }
                    self.0.log = Some(log.clone());
                    last = Some(*number);
                }
                _ => {}
            }
        }
        last
    }
}

/// A server alone, its disk, and its tables.
struct Lone {
    consensus: Consensus<u64>,
    disk: Disk,
    tables: Tables,
    told: Vec<(u64, bool)>,
}

impl Lone {
    fn start(disk: Disk, config: raft::Config) -> Self {
        let mut recovered = recovery::recover(&disk.0).unwrap();
        let tables = core::mem::take(&mut recovered.tables);
        let boot = Boot { id: NodeId(1), durable: true, recovered, config, seed: 3, flaw: None };
        let mut lone = Self { consensus: Consensus::new(boot).unwrap(), disk, tables, told: Vec::new() };
        let mut out = Out::new();
        lone.consensus.handle_timeout(Time::ZERO, &mut out);
        lone.settle(Time::ZERO, &mut out);
        lone
    }

    fn begin(disk: Disk, config: raft::Config) -> Self {
        let mut lone = Self::start(disk, config);
        lone.step(Event::Bootstrap { members: Membership::of_voters([NodeId(1)]), origin: 0 });
        lone
    }

    fn step(&mut self, event: Event<u64>) {
        let mut out = Out::new();
        self.consensus.handle(Time::ZERO, event, &mut out);
        self.settle(Time::ZERO, &mut out);
    }

    /// Writes become durable at once, and everything is applied.
    fn settle(&mut self, now: Time, out: &mut Out<Action<u64>>) {
        loop {
            let actions: Vec<_> = out.drain_actions().collect();
            let written = self.disk.write(&actions);
            for action in actions {
                match action {
                    Action::Committed { index, client, command, origin } => {
                        self.tables.apply(index, client.0, client.1, *command);
                        self.told.extend(origin.map(|origin| (origin, true)));
                    }
                    Action::Refused { origin, .. } => self.told.push((origin, false)),
                    Action::TakeSnapshot { index } => {
                        let tables = self.tables.export();
                        self.consensus.handle(now, Event::Snapshot { index, tables }, out);
                    }
                    _ => {}
                }
            }
            match written {
                Some(number) => self.consensus.handle(now, Event::Durable { number }, out),
                None if out.is_empty() => return,
                None => {}
            }
        }
    }
}

fn drained(consensus: &mut Consensus<u64>, event: Event<u64>) -> Vec<Action<u64>> {
    let mut out = Out::new();
    consensus.handle(Time::ZERO, event, &mut out);
    out.drain_actions().collect()
}

fn propose(n: u64) -> Event<u64> {
    Event::Propose { client: (0, 0), command: command(n), origin: n }
}

#[test]
fn nothing_commits_before_it_is_durable() {
    let mut lone = Lone::begin(Disk::default(), raft::Config::default());
    assert_eq!(lone.consensus.raft().role(), Role::Leader);
    let mut numbers = Vec::new();
    for n in 1..4 {
        let actions = drained(&mut lone.consensus, propose(n));
        let [Action::Append { number, .. }] = &actions[..] else { panic!("{actions:?}") };
        numbers.push(*number);
    }
    let committed = |actions: &[Action<u64>]| {
        let of = |action: &Action<u64>| match action {
            Action::Committed { origin, .. } => *origin,
            _ => None,
        };
        actions.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(committed(&drained(&mut lone.consensus, Event::Durable { number: numbers[0] - 1 })), [0_u64; 0]);
    assert_eq!(committed(&drained(&mut lone.consensus, Event::Durable { number: numbers[1] })), [1, 2]);
    assert_eq!(
        committed(&drained(&mut lone.consensus, Event::Durable { number: 99 })),
        [3],
        "at most what was written"
    );
}

#[test]
fn without_a_disk_it_commits_at_once() {
    let recovered = Recovered::default();
    let boot = Boot { id: NodeId(1), durable: false, recovered, config: Default::default(), seed: 3, flaw: None };
    let mut consensus = Consensus::new(boot).unwrap();
    drained(&mut consensus, Event::Bootstrap { members: Membership::of_voters([NodeId(1)]), origin: 0 });
    let actions = drained(&mut consensus, propose(9));
    assert!(matches!(&actions[..], [Action::Committed { origin: Some(9), .. }]), "{actions:?}");
    let actions = drained(&mut consensus, Event::Read { mode: ReadMode::Quorum, origin: 7 });
    assert!(matches!(&actions[..], [Action::Readable { origin: 7 }]), "{actions:?}");
}

#[test]
fn a_failed_write_halts_it() {
    let mut lone = Lone::begin(Disk::default(), raft::Config::default());
    drained(&mut lone.consensus, propose(1));
    let actions = drained(&mut lone.consensus, Event::Failed { error: "no space".to_string() });
    assert!(actions.iter().any(|a| matches!(a, Action::Unknown { origin: 1, .. })), "{actions:?}");
    assert!(actions.iter().any(|a| matches!(a, Action::Halted { .. })));
    assert!(drained(&mut lone.consensus, Event::Durable { number: 99 }).is_empty());
    let actions = drained(&mut lone.consensus, propose(2));
    let [Action::Refused { origin: 2, command: Some(_), refusal }] = &actions[..] else { panic!("{actions:?}") };
    assert!(matches!(refusal, Refusal::Halted { .. }));
}

#[test]
fn everything_is_there_after_a_restart_also_behind_snapshots() {
    let config = raft::Config { snapshot_threshold: 7, trailing: 2, ..raft::Config::default() };
    let mut lone = Lone::begin(Disk::default(), config.clone());
    for n in 1..40 {
        lone.step(propose(n));
        let mut again = Lone::start(lone.disk.clone(), config.clone());
        again.step(propose(1000));
        assert_eq!(again.told, [(1000, true)], "after {n}");
        for key in 1..=n {
            let key = key.to_string();
            assert!(again.tables.catalog.view().kv(Default::default(), &key).is_some(), "key {key} after {n}");
        }
    }
    assert_eq!(lone.told.len(), 39);
    assert!(lone.disk.0.snapshot.is_some());
}

#[test]
fn a_crash_between_the_new_snapshot_and_the_new_log_loses_nothing() {
    let config = raft::Config { snapshot_threshold: 7, trailing: 2, ..raft::Config::default() };
    let mut lone = Lone::begin(Disk::default(), config.clone());
    for n in 1..20 {
        let before = lone.disk.0.log.clone();
        let snapshot = lone.disk.0.snapshot.clone();
        lone.step(propose(n));
        if lone.disk.0.snapshot == snapshot {
            continue;
        }
        let mut torn = lone.disk.clone();
        torn.0.log = before;
        // Twice: what follows the crash stands on what the first start made of it.
        for round in 0..2 {
            let mut again = Lone::start(torn.clone(), config.clone());
            again.step(propose(1000 + round));
            let there = again.tables.catalog.view();
            assert!((1..n).all(|key| there.kv(Default::default(), &key.to_string()).is_some()), "after {n}");
            torn = again.disk;
        }
    }
}

#[test]
fn a_torn_end_is_dropped_and_replaced_before_anything_follows() {
    let mut lone = Lone::begin(Disk::default(), raft::Config::default());
    for n in 1..5 {
        lone.step(propose(n));
    }
    let mut torn = lone.disk.clone();
    let actions = drained(&mut lone.consensus, propose(5));
    let [Action::Append { bytes, .. }] = &actions[..] else { panic!("{actions:?}") };
    torn.0.log.as_mut().unwrap().extend_from_slice(&bytes[..bytes.len() / 2]);
    assert!(recovery::recover(&torn.0).unwrap().torn > 0);
    let mut again = Lone::start(torn, raft::Config::default());
    again.step(propose(6));
    let there = Lone::start(again.disk, raft::Config::default());
    assert_eq!(there.consensus.raft().last().index, again.consensus.raft().last().index + 1, "and its own first entry");
}

#[test]
fn the_laws_hold() {
    for seed in 0..8 {
        laws::check(
            seed,
            Effort::default(),
            |seed| {
                let recovered = Recovered::default();
                let durable = seed % 2 == 0;
                let config = raft::Config { snapshot_threshold: 9, ..Default::default() };
                Consensus::new(Boot { id: NodeId(1), durable, recovered, config, seed, flaw: None }).unwrap()
            },
            |rng, now, consensus: &mut Consensus<u64>, out| {
                let event = match rng.below(12) {
                    0..6 => propose(rng.below(9)),
                    6..9 => Event::Durable { number: rng.below(400) },
                    9 => Event::Bootstrap { members: Membership::of_voters([NodeId(1)]), origin: 0 },
                    10 => Event::Read { mode: ReadMode::Lease, origin: 0 },
                    _ if rng.one_in(20) => Event::Failed { error: "disk".to_string() },
                    _ => Event::Snapshot { index: rng.below(20), tables: Vec::new() },
                };
                consensus.handle(now, event, out);
            },
        );
    }
}
