//! A server: a driver of the machine, and the state machine beside it. What the node shell does in the agent, and no decision of
//! the protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use convoke_kit::Time;
use convoke_raft::{
    Change, Command, Config, Entry, Event, Membership, Message, NodeId, Persist, Position, Proposal, Raft, ReadMode,
    RecoverError, Refusal, Role, Ticket,
};

use super::bug::{Bug, Planted};
use super::codec::{Damage, Step};
use super::disk::Disk;
use super::engine::{Did, Engine, Start};
use super::kv::{Cell, Kv, Op, Told};

/// What somebody asks of a server.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Apply this.
    Command {
        /// Which of the client's wants.
        serial: u64,
        /// Of what.
        key: u32,
        /// What.
        op: Op,
    },
    /// What does a key hold?
    Read {
        /// Which.
        key: u32,
        /// How sure.
        mode: ReadMode,
    },
    /// What does it hold, as far as this server knows?
    Stale {
        /// Which.
        key: u32,
    },
    /// What does it hold, once it was changed after this entry?
    Watch {
        /// Which.
        key: u32,
        /// Index of the change that is known.
        since: u64,
    },
    /// Change the members.
    Change(Change),
    /// Let another one lead.
    Transfer(Option<NodeId>),
    /// Begin.
    Bootstrap(Membership),
}

/// A question, and whose.
#[derive(Clone, Debug)]
pub struct Request {
    /// Unique in a world.
    pub ticket: u64,
    /// Who.
    pub client: u32,
    /// Which of the client's operations.
    pub number: u64,
    /// What.
    pub ask: Ask,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Applied, by this entry or an earlier one.
    Told(Told),
    /// Read, when so much was applied.
    Cell {
        /// What it holds.
        cell: Cell,
        /// The last entry applied.
        index: u64,
    },
    /// Done: a change, a transfer.
    Done,
    /// Not done, and never will be.
    Refused(Refusal),
    /// Maybe.
    Unknown,
}

/// What a server wants done, and what it did.
#[derive(Debug)]
pub enum Effect {
    /// To its disk.
    Write {
        /// In order.
        steps: Vec<Step>,
        /// What they stand for.
        persist: Persist,
        /// The codec's last record of it.
        number: u64,
    },
    /// To another server.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// To who asked.
    Answer {
        /// Whose question.
        request: Request,
        /// The answer.
        reply: Reply,
    },
    /// It applied an entry.
    Applied {
        /// Which.
        entry: Arc<Entry>,
        /// Of the state behind it.
        hash: u64,
    },
    /// It replaced its state.
    Installed {
        /// By that of this entry.
        position: Position,
        /// Of the state.
        hash: u64,
    },
    /// What it is, or whom it follows, changed.
    Role {
        /// What it is.
        role: Role,
        /// In which term.
        term: u64,
        /// Whom it follows.
        leader: Option<NodeId>,
    },
    /// It takes no part any more.
    Halted,
}

/// Why it does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The bytes are damaged.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// What they say is not whole.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The agent's recovery says so.
    #[error("{0}")]
    Agent(String),
    /// The snapshot is none of this state machine.
    #[error("the snapshot does not decode")]
    State,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    kv: Kv,
    waiting: BTreeMap<u64, Request>,
    watches: Vec<Request>,
    bug: Option<Bug>,
    did: Vec<Did>,
}

/// Who waits at most.
const WATCHES: usize = 64;

impl Server {
    /// From what the disk holds; with the driver of the agent, or a plain one.
    ///
    /// # Errors
    ///
    /// When something that had been durable is not there.
    pub fn start(
        id: NodeId,
        disk: &mut Disk,
        config: Config,
        seed: u64,
        planted: Option<Planted>,
        agent: bool,
    ) -> Result<Self, StartError> {
        let bug = match planted {
            Some(Planted::Bug(bug)) => Some(bug),
            _ => None,
        };
        let (engine, mut kv) = Engine::start(Start { id, config, seed, planted, bug }, disk, agent)?;
        kv.applied = disk.mirror.snapshot.index;
        Ok(Self { engine, kv, waiting: BTreeMap::new(), watches: Vec::new(), bug, did: Vec::new() })
    }

    /// The machine.
    #[must_use]
    pub const fn raft(&self) -> &Raft {
        self.engine.raft()
    }

    /// The state.
    #[must_use]
    pub const fn kv(&self) -> &Kv {
        &self.kv
    }

    /// When it wants to be woken, by its own clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.engine.deadline()
    }

    /// Who waits for a change that is there.
    #[must_use]
    pub fn overdue(&self) -> Option<&Request> {
        self.watches.iter().find(|request| self.is_due(request))
    }

    fn is_due(&self, request: &Request) -> bool {
        matches!(request.ask, Ask::Watch { key, since } if self.kv.get(key).index > since)
    }

    /// Its time has come.
    pub fn timeout(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.engine.timeout(now, &mut self.did);
        self.carry_out(now, effects);
    }

    /// Another server says something.
    pub fn message(&mut self, now: Time, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        self.handle(now, Event::Message { from, message }, effects);
    }

    /// The disk is done with all writes up to one.
    pub fn persisted(&mut self, now: Time, seq: u64, number: u64, effects: &mut Vec<Effect>) {
        self.engine.persisted(now, seq, number, &mut self.did);
        self.carry_out(now, effects);
    }

    /// A write failed.
    pub fn failed(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.handle(now, Event::PersistFailed { error: "input/output error".to_string() }, effects);
    }

    /// There is no space, or there is.
    pub fn disk_full(&mut self, now: Time, full: bool, effects: &mut Vec<Effect>) {
        self.handle(now, Event::DiskFull(full), effects);
    }

    /// Somebody asks.
    pub fn request(&mut self, now: Time, request: Request, effects: &mut Vec<Effect>) {
        let ticket = Ticket(request.ticket);
        let event = match &request.ask {
            Ask::Stale { key } => {
                let reply = Reply::Cell { cell: self.kv.get(*key), index: self.kv.applied };
                return effects.push(Effect::Answer { request, reply });
            }
            Ask::Read { key, .. } if self.bug == Some(Bug::ReadsDoNotWait) => {
                let reply = Reply::Cell { cell: self.kv.get(*key), index: self.kv.applied };
                return effects.push(Effect::Answer { request, reply });
            }
            Ask::Watch { key, .. } => {
                if self.is_due(&request) || self.watches.len() >= WATCHES {
                    let reply = Reply::Cell { cell: self.kv.get(*key), index: self.kv.applied };
                    return effects.push(Effect::Answer { request, reply });
                }
                return self.watches.push(request);
            }
            Ask::Command { serial, key, op } => {
                let data = Kv::encode(*key, *op).into();
                let command = Command { client: request.client.into(), serial: *serial, data };
                if self.bug == Some(Bug::AnsweredEarly)
                    && self.raft().role() == Role::Leader
                    && matches!(op, Op::Write(_))
                {
                    let reply = Reply::Told(Told { ok: true, seen: self.kv.get(*key) });
                    effects.push(Effect::Answer { request: request.clone(), reply });
                }
                Event::Propose(vec![Proposal { ticket, command }])
            }
            Ask::Read { mode, .. } => Event::Read { ticket, mode: *mode },
            Ask::Change(change) => Event::Change { ticket, change: change.clone() },
            Ask::Transfer(to) => Event::Transfer { ticket, to: *to },
            Ask::Bootstrap(members) => Event::Bootstrap { ticket, members: members.clone() },
        };
        self.waiting.insert(request.ticket, request);
        self.handle(now, event, effects);
    }

    fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        self.engine.handle(now, event, &mut self.did);
        self.carry_out(now, effects);
    }

    fn answer(&mut self, ticket: Ticket, reply: impl FnOnce(&Request, &Kv) -> Reply, effects: &mut Vec<Effect>) {
        if let Some(request) = self.waiting.remove(&ticket.0) {
            let reply = reply(&request, &self.kv);
            effects.push(Effect::Answer { request, reply });
        }
    }

    fn carry_out(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let mut all = std::mem::take(&mut self.did);
        let mut wanted = None;
        let mut changed = false;
        for did in all.drain(..) {
            match did {
                Did::Write { steps, persist, number } => effects.push(Effect::Write { steps, persist, number }),
                Did::Send { to, message } => effects.push(Effect::Send { to, message }),
                Did::Apply { entry, command, ticket } => {
                    changed = true;
                    let id = self.raft().id().0;
                    let told = command.and_then(|command| self.kv.apply(entry.index, &command, id, self.bug));
                    self.kv.pass(entry.index);
                    effects.push(Effect::Applied { entry, hash: self.kv.hash() });
                    let Some(ticket) = ticket else { continue };
                    let reply = |request: &Request, _: &Kv| match (told, &request.ask) {
                        (Some((_, told)), _) => Reply::Told(told),
                        (None, Ask::Command { .. }) => Reply::Unknown,
                        (None, _) => Reply::Done,
                    };
                    self.answer(ticket, reply, effects);
                }
                Did::Install { position, state } => {
                    changed = self.bug != Some(Bug::InstallWakesNobody);
                    // It is of this state machine: its digest was checked, and all servers are alike.
                    let Some(mut kv) = state else { continue };
                    kv.applied = position.index;
                    if self.bug == Some(Bug::InstallMerges) {
                        self.kv.merge(kv);
                    } else {
                        self.kv = kv;
                    }
                    effects.push(Effect::Installed { position, hash: self.kv.hash() });
                }
                Did::Readable(ticket) => {
                    let reply = |request: &Request, kv: &Kv| match request.ask {
                        Ask::Read { key, .. } => Reply::Cell { cell: kv.get(key), index: kv.applied },
                        _ => Reply::Unknown,
                    };
                    self.answer(ticket, reply, effects);
                }
                Did::Refused(ticket, refusal) => self.answer(ticket, |_, _| Reply::Refused(refusal), effects),
                Did::Unknown(ticket) => self.answer(ticket, |_, _| Reply::Unknown, effects),
                Did::Done(ticket) => self.answer(ticket, |_, _| Reply::Done, effects),
                Did::TakeSnapshot(index) => wanted = Some(index),
                Did::Halted => effects.push(Effect::Halted),
                Did::Role { role, term, leader } => effects.push(Effect::Role { role, term, leader }),
            }
        }
        self.did = all;
        if changed {
            self.wake(effects);
        }
        if let Some(index) = wanted {
            let data = self.kv.export(self.bug).into();
            let index = if self.bug == Some(Bug::SnapshotOfLater) { index - 1 } else { index };
            self.handle(now, Event::SnapshotTaken { index, data }, effects);
        }
    }

    fn wake(&mut self, effects: &mut Vec<Effect>) {
        let mut at = 0;
        while at < self.watches.len() {
            if self.is_due(&self.watches[at])
                && let Ask::Watch { key, .. } = self.watches[at].ask
            {
                let request = self.watches.swap_remove(at);
                let reply = Reply::Cell { cell: self.kv.get(key), index: self.kv.applied };
                effects.push(Effect::Answer { request, reply });
            } else {
                at += 1;
            }
        }
    }
}
