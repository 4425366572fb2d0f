//! Two drivers of the machine behind one face: that of the agent, [`convoke_core::consensus::Consensus`] with its log
//! ([`convoke_core::log`]) and recovery; and a plain one with a codec of its own, into which bugs can be put.
//!
//! The agent's driver carries catalog commands. What the simulator's state machine is given travels as the value of one:
//! of a KV command in the log, and of one key in the tables of a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use convoke_catalog::command::KvSet;
use convoke_catalog::{Command as Catalogued, Scope};
use convoke_core::consensus::{self, Consensus, Tables};
use convoke_core::log::{Record, read_log, read_snapshot};
use convoke_core::{recovery, store};
use convoke_kit::{Machine as _, Out, Time};
use convoke_raft::{
    self as raft, Action, Boot, Command, Config, Entry, Event, Index, Message, NodeId, Payload, Persist, Position,
    Raft, Refusal, Role, Snapshot, SnapshotWrite, Ticket,
};

use super::bug::{Bug, Planted};
use super::codec::{self, Step, Writer};
use super::disk::{Disk, Mirror};
use super::kv::Kv;
use super::server::StartError;

/// What a driver did, or wants done.
#[derive(Debug)]
pub(super) enum Did {
    Write { steps: Vec<Step>, persist: Persist, number: u64 },
    Send { to: NodeId, message: Message },
    Apply { entry: Arc<Entry>, command: Option<Command>, ticket: Option<Ticket> },
    Install { position: Position, state: Option<Kv> },
    Readable(Ticket),
    Refused(Ticket, Refusal),
    Unknown(Ticket),
    Done(Ticket),
    TakeSnapshot(Index),
    Role { role: Role, term: u64, leader: Option<NodeId> },
    Halted,
}

/// A driver.
#[derive(Debug)]
pub(super) enum Engine {
    Plain(Box<Plain>),
    Agent(Box<Agent>),
}

/// What a server is built from.
pub(super) struct Start {
    pub(super) id: NodeId,
    pub(super) config: Config,
    pub(super) seed: u64,
    pub(super) planted: Option<Planted>,
    pub(super) bug: Option<Bug>,
}

impl Engine {
    /// From what the disk holds, with the state of the snapshot.
    pub(super) fn start(start: Start, disk: &mut Disk, agent: bool) -> Result<(Self, Kv), StartError> {
        if agent {
            let (agent, kv) = Agent::start(start, disk)?;
            return Ok((Self::Agent(Box::new(agent)), kv));
        }
        let (plain, kv) = Plain::start(start, disk)?;
        Ok((Self::Plain(Box::new(plain)), kv))
    }

    pub(super) const fn raft(&self) -> &Raft {
        match self {
            Self::Plain(plain) => &plain.raft,
            Self::Agent(agent) => agent.consensus.raft(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Plain(plain) => plain.raft.poll_timeout(),
            Self::Agent(agent) => agent.consensus.poll_timeout(),
        }
        .map(|deadline| deadline.at)
    }

    pub(super) fn timeout(&mut self, now: Time, did: &mut Vec<Did>) {
        match self {
            Self::Plain(plain) => {
                plain.raft.handle_timeout(now, &mut plain.out);
                plain.drain(did);
            }
            Self::Agent(agent) => {
                agent.consensus.handle_timeout(now, &mut agent.out);
                agent.drain(did);
            }
        }
    }

    pub(super) fn persisted(&mut self, now: Time, seq: u64, number: u64, did: &mut Vec<Did>) {
        match self {
            Self::Plain(plain) => plain.persisted(now, seq, number, did),
            Self::Agent(agent) => agent.run(now, consensus::Event::Durable { number }, did),
        }
    }

    /// Anything but a report of the disk.
    pub(super) fn handle(&mut self, now: Time, event: Event, did: &mut Vec<Did>) {
        match self {
            Self::Plain(plain) => {
                plain.raft.handle(now, event, &mut plain.out);
                plain.drain(did);
            }
            Self::Agent(agent) => agent.handle(now, event, did),
        }
    }
}

/// The machine, and a codec that can have bugs.
#[derive(Debug)]
pub(super) struct Plain {
    raft: Raft,
    writer: Writer,
    /// Writes under way: their number, and that of their last record.
    numbers: VecDeque<(u64, u64)>,
    bug: Option<Bug>,
    out: Out<Action>,
}

impl Plain {
    fn start(start: Start, disk: &mut Disk) -> Result<(Self, Kv), StartError> {
        let Start { id, config, seed, planted, bug } = start;
        let read = codec::read(&disk.log, disk.snapshot.as_deref(), bug)?;
        let kv = match &read.recovered.snapshot {
            None => Kv::default(),
            Some(snapshot) => Kv::import(snapshot.data.as_slice()).ok_or(StartError::State)?,
        };
        let mut mirror = Mirror::of(&read.recovered);
        let end = read.recovered.entries.last().map(|entry| entry.position());
        let hard = read.recovered.hard_state;
        let flaw = planted.and_then(Planted::flaw);
        let raft = Raft::new(Boot { id, recovered: read.recovered, config, seed, flaw })?;
        disk.log.truncate(read.valid);
        let mut writer = read.writer;
        // A crash between a new snapshot and its log leaves the old log, which the machine does not use. What is appended now
        // would not follow what stands there.
        if end.is_some_and(|end| end != raft.last()) {
            let kept =
                (raft.first_index()..=raft.last().index).filter_map(|index| raft.entry(index).cloned()).collect();
            disk.log = writer.anew(hard, kept);
            mirror.cut(raft.first_index(), raft.last().index);
        }
        disk.mirror = mirror;
        Ok((Self { raft, writer, numbers: VecDeque::new(), bug, out: Out::new() }, kv))
    }

    fn persisted(&mut self, now: Time, seq: u64, number: u64, did: &mut Vec<Did>) {
        self.writer.durable(number);
        let upto = match self.bug {
            Some(Bug::ReportedTooFar) => self.numbers.back().map_or(seq, |(last, _)| *last),
            _ => seq,
        };
        self.numbers.retain(|(of, _)| *of > seq);
        self.raft.handle(now, Event::Persisted { upto }, &mut self.out);
        self.drain(did);
    }

    fn drain(&mut self, did: &mut Vec<Did>) {
        let mut actions = std::mem::take(&mut self.out);
        for action in actions.drain_actions() {
            did.push(match action {
                Action::Persist(persist) => {
                    let raft = &self.raft;
                    let log = |from: u64| {
                        (from.max(raft.first_index())..=raft.last().index)
                            .filter_map(|i| raft.entry(i).cloned())
                            .collect()
                    };
                    let steps = self.writer.steps(&persist, log);
                    let number = self.writer.number();
                    self.numbers.push_back((persist.seq, number));
                    Did::Write { steps, persist, number }
                }
                Action::Send { to, message } => Did::Send { to, message },
                Action::Apply(batch) => {
                    did.extend(batch.into_iter().map(|committed| {
                        let command = match &committed.entry.payload {
                            Payload::Command(command) => Some(command.clone()),
                            Payload::Noop | Payload::Membership(_) => None,
                        };
                        Did::Apply { entry: committed.entry, command, ticket: committed.ticket }
                    }));
                    continue;
                }
                Action::Install(snapshot) => {
                    Did::Install { position: snapshot.meta.position, state: Kv::import(snapshot.data.as_slice()) }
                }
                Action::Readable { ticket, .. } => Did::Readable(ticket),
                Action::Refused { ticket, refusal } => Did::Refused(ticket, refusal),
                Action::Unknown { ticket } => Did::Unknown(ticket),
                Action::Transferred { ticket } => Did::Done(ticket),
                Action::TakeSnapshot { position } => Did::TakeSnapshot(position.index),
                Action::Role { role, term, leader } => Did::Role { role, term, leader },
                Action::Halted { .. } => Did::Halted,
                Action::Members { .. } => continue,
            });
        }
        self.out = actions;
    }
}

/// The agent's own driver.
#[derive(Debug)]
pub(super) struct Agent {
    consensus: Consensus<u64>,
    out: Out<consensus::Action<u64>>,
    /// The last entry handed out. Entries without a command are handed out by nobody else.
    told: Index,
}

/// The key that holds the state in the tables of a snapshot.
const STATE: &str = "state";

fn wrap(key: &str, value: &[u8]) -> Catalogued {
    Catalogued::KvSet(KvSet { tenancy: Default::default(), key: key.into(), value: value.into(), flags: 0, cas: None })
}

fn state_in(tables: &Tables) -> Option<Kv> {
    let view = tables.catalog.view();
    Kv::import(&view.kv(Scope::default(), STATE)?.value)
}

impl Agent {
    fn start(start: Start, disk: &mut Disk) -> Result<(Self, Kv), StartError> {
        let Start { id, config, seed, planted, .. } = start;
        let log = (!disk.log.is_empty()).then(|| disk.log.clone());
        let stored = store::Recovered { snapshot: disk.snapshot.clone(), log, ..store::Recovered::default() };
        let agent = |error: String| StartError::Agent(error);
        let recovered = recovery::recover(&stored).map_err(|error| agent(error.to_string()))?;
        disk.mirror = Mirror::of(&recovered.raft);
        let position = recovered.raft.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.position.index);
        let kv = if position == 0 { Kv::default() } else { state_in(&recovered.tables).ok_or(StartError::State)? };
        let flaw = planted.and_then(Planted::flaw);
        let boot = consensus::Boot { id, durable: true, recovered, config, seed, flaw };
        Ok((Self { consensus: Consensus::new(boot)?, out: Out::new(), told: position }, kv))
    }

    fn handle(&mut self, now: Time, event: Event, did: &mut Vec<Did>) {
        use consensus::Event as Agent;
        let event = match event {
            Event::Message { from, message } => Agent::Message { from, message },
            Event::Persisted { upto } => Agent::Durable { number: upto },
            Event::PersistFailed { error } => Agent::Failed { error },
            Event::DiskFull(full) => Agent::DiskFull(full),
            Event::Bootstrap { ticket, members } => Agent::Bootstrap { members, origin: ticket.0 },
            Event::Propose(proposals) => {
                for raft::Proposal { ticket, command } in proposals {
                    let client = (command.client, command.serial);
                    let command = Box::new(wrap("k", command.data.as_slice()));
                    self.run(now, Agent::Propose { client, command, origin: ticket.0 }, did);
                }
                return;
            }
            Event::Read { ticket, mode } => Agent::Read { mode, origin: ticket.0 },
            Event::Change { ticket, change } => Agent::Change { change, origin: ticket.0 },
            Event::Transfer { ticket, to } => Agent::Transfer { to, origin: ticket.0 },
            Event::SnapshotTaken { index, data } => {
                let mut tables = Tables::default();
                tables.apply(index, 0, 0, wrap(STATE, data.as_slice()));
                Agent::Snapshot { index, tables: tables.export() }
            }
        };
        self.run(now, event, did);
    }

    fn run(&mut self, now: Time, event: consensus::Event<u64>, did: &mut Vec<Did>) {
        self.consensus.handle(now, event, &mut self.out);
        self.drain(did);
    }

    /// Entries that are applied without a word, up to this one.
    fn pass(&mut self, upto: Index, did: &mut Vec<Did>) {
        while self.told < upto {
            self.told += 1;
            if let Some(entry) = self.consensus.raft().entry(self.told) {
                did.push(Did::Apply { entry: Arc::clone(entry), command: None, ticket: None });
            }
        }
    }

    fn drain(&mut self, did: &mut Vec<Did>) {
        use consensus::Action as Agent;
        let mut actions = std::mem::take(&mut self.out);
        for action in actions.drain_actions() {
            let one = match action {
                Agent::Append { number, bytes } => {
                    let persist = decoded(&bytes, number).map_or_else(Persist::default, |record| Persist {
                        seq: number,
                        truncate_from: record.truncate_from,
                        hard_state: record.hard_state,
                        entries: record.entries,
                        snapshot: None,
                    });
                    Did::Write { steps: vec![Step::Append(bytes)], persist, number }
                }
                Agent::Compact { number, snapshot, log } => {
                    let persist = compaction(number, snapshot.as_deref(), &log);
                    let steps = snapshot.map(Step::Snapshot).into_iter().chain([Step::Log(log)]).collect();
                    Did::Write { steps, persist, number }
                }
                Agent::Send { to, message } => Did::Send { to, message },
                Agent::Committed { index, client: (client, serial), command, origin } => {
                    self.pass(index - 1, did);
                    self.told = index;
                    let Some(entry) = self.consensus.raft().entry(index).cloned() else { continue };
                    let data = match *command {
                        Catalogued::KvSet(set) => set.value.into(),
                        _ => convoke_raft::Blob::default(),
                    };
                    let command = Some(Command { client, serial, data });
                    Did::Apply { entry, command, ticket: origin.map(Ticket) }
                }
                Agent::Installed { index, tables } => {
                    self.told = index;
                    let position =
                        self.consensus.raft().snapshot().map_or(Position::ZERO, |snapshot| snapshot.meta.position);
                    Did::Install { position, state: state_in(&tables) }
                }
                Agent::Readable { origin } => Did::Readable(Ticket(origin)),
                Agent::Done { origin } => Did::Done(Ticket(origin)),
                Agent::Refused { origin, refusal, .. } => Did::Refused(Ticket(origin), refusal),
                Agent::Unknown { origin, .. } => Did::Unknown(Ticket(origin)),
                Agent::Role { role, term, leader } => Did::Role { role, term, leader },
                Agent::TakeSnapshot { index } => {
                    self.pass(index, did);
                    Did::TakeSnapshot(index)
                }
                Agent::Halted { .. } => Did::Halted,
                Agent::Members { .. } => continue,
            };
            did.push(one);
        }
        self.out = actions;
        self.pass(self.consensus.raft().applied(), did);
    }
}

/// The record that some bytes are.
fn decoded(bytes: &[u8], number: u64) -> Option<Record> {
    read_log(bytes, number).ok()?.records.into_iter().next()
}

/// A write that replaces the log, and the snapshot if there is one.
fn compaction(number: u64, snapshot: Option<&[u8]>, log: &[u8]) -> Persist {
    let Some(record) = decoded(log, number) else { return Persist::default() };
    let snapshot = snapshot.and_then(|bytes| read_snapshot(bytes).ok());
    let first = record.entries.first().map(|entry| entry.index);
    let snapshot = snapshot.map(|picture| {
        let log_from = first.unwrap_or(picture.meta.position.index + 1);
        SnapshotWrite { snapshot: Arc::new(Snapshot { meta: picture.meta, data: picture.data }), log_from }
    });
    Persist {
        seq: number,
        truncate_from: first.or(Some(0)),
        hard_state: record.hard_state,
        entries: record.entries,
        snapshot,
    }
}

/// As [`codec::provable`], of the agent's log.
pub(super) fn provable(log: &[u8]) -> usize {
    let (mut at, mut ends, mut first, mut upto) = (0, Vec::new(), None, 0);
    while let Some(length) = log.get(at + 4..at + 8).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) {
        let end = at + 12 + u32::from_le_bytes(length) as usize;
        let Some(record) = log.get(at..end).and_then(|bytes| decoded(bytes, u64::MAX - 1)) else { break };
        let first = *first.get_or_insert(record.number);
        at = end;
        ends.push(at);
        if let Some(end) = record.durable.checked_sub(first).and_then(|n| ends.get(n as usize))
            && *end < at
        {
            upto = *end;
        }
    }
    upto
}
