//! Clients: each has one operation under way, waits for a while, asks again elsewhere under the same number, and gives up in
//! the end. What it saw goes into the history.

use std::time::Duration;

use convoke_kit::Rng;
use convoke_raft::{NodeId, ReadMode, Refusal};

use super::checker::{Answer, Record, Seen, Wish};
use super::kv::{Cell, Op};
use super::server::{Ask, Reply};

/// What a client is like.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Mean time between two operations.
    pub pace: Duration,
    /// How long it waits for an answer.
    pub patience: Duration,
    /// How often it asks.
    pub attempts: u32,
    /// Keys it uses at a time.
    pub keys: u32,
    /// After so long it uses other keys. Short histories are judged quickly.
    pub epoch: Duration,
}

/// An operation under way.
#[derive(Clone, Debug)]
struct Pending {
    key: u32,
    op: Op,
    mode: ReadMode,
    call: u64,
    attempts: u32,
    /// It may have been done though nobody said so.
    maybe: bool,
}

/// What a client wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this server, now.
    Ask(usize),
    /// Ask again after a while.
    Later(Duration),
    /// The operation is over; another one after a while.
    Idle(Duration),
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// From 1.
    pub id: u32,
    habits: Habits,
    serial: u64,
    /// Of its operation; answers to others are late.
    pub(super) number: u64,
    pending: Option<Pending>,
    target: usize,
    /// It begins nothing new.
    pub(super) stopped: bool,
    /// What it knows of the locks it has: keys.
    locks: Vec<u32>,
    last_value: u64,
}

impl Client {
    /// That has done nothing yet.
    #[must_use]
    pub const fn new(id: u32, habits: Habits) -> Self {
        Self {
            id,
            habits,
            serial: 0,
            number: 0,
            pending: None,
            target: 0,
            stopped: false,
            locks: Vec::new(),
            last_value: 0,
        }
    }

    /// It waits for an answer.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) const fn patience(&self) -> Duration {
        self.habits.patience
    }

    fn pause(&self, rng: &mut Rng) -> Duration {
        rng.duration(self.habits.pace * 2)
    }

    /// Begins an operation.
    pub(super) fn begin(&mut self, now: u64, rng: &mut Rng, servers: usize) -> Next {
        let epoch = (now / self.habits.epoch.as_nanos().max(1) as u64) as u32;
        let epoch = if rng.one_in(20) { rng.below(u64::from(epoch) + 1) as u32 } else { epoch };
        let key = epoch * self.habits.keys + rng.index(self.habits.keys as usize) as u32;
        let owner = u64::from(self.id);
        let value = owner << 32 | (self.serial + 1);
        let op = match rng.below(20) {
            0..8 => Op::Read,
            8..12 => Op::Write(value),
            12..16 => Op::Cas(if rng.one_in(4) { 0 } else { self.last_value }, value),
            16..18 => Op::Acquire(owner, value),
            _ => Op::Release(owner),
        };
        let key = match op {
            Op::Release(_) => self.locks.pop().unwrap_or(key),
            _ => key,
        };
        let mode = if rng.one_in(3) { ReadMode::Quorum } else { ReadMode::Lease };
        self.start(now, key, op, mode);
        if rng.one_in(8) {
            self.target = rng.index(servers);
        }
        Next::Ask(self.target)
    }

    /// Begins this operation.
    pub(super) fn start(&mut self, now: u64, key: u32, op: Op, mode: ReadMode) {
        self.number += 1;
        if op != Op::Read {
            self.serial += 1;
        }
        self.pending = Some(Pending { key, op, mode, call: now, attempts: 0, maybe: false });
    }

    /// The question.
    pub(super) fn ask(&mut self) -> Option<Ask> {
        let pending = self.pending.as_mut()?;
        pending.attempts += 1;
        let Pending { key, op, mode, .. } = *pending;
        Some(if op == Op::Read { Ask::Read { key, mode } } else { Ask::Command { serial: self.serial, key, op } })
    }

    /// Where it asks.
    pub(super) const fn target(&self) -> usize {
        self.target
    }

    /// So often it has asked.
    pub(super) fn attempts(&self) -> u32 {
        self.pending.as_ref().map_or(0, |pending| pending.attempts)
    }

    /// An answer to its operation.
    pub(super) fn answered(
        &mut self,
        now: u64,
        rng: &mut Rng,
        reply: &Reply,
        place: impl Fn(NodeId) -> Option<usize>,
        servers: usize,
        history: &mut Vec<Record>,
    ) -> Next {
        let Some(pending) = &mut self.pending else { return Next::Idle(self.pause(rng)) };
        let answer = |ok, cell: Cell| Some(Answer { at: now, ok, seen: Some(seen(cell)) });
        match reply {
            Reply::Told(told) => {
                if let (Op::Acquire(..), true) = (pending.op, told.ok) {
                    self.locks.push(pending.key);
                }
                if told.ok {
                    match pending.op {
                        Op::Write(value) | Op::Cas(_, value) | Op::Acquire(_, value) => self.last_value = value,
                        Op::Read | Op::Release(_) => {}
                    }
                } else {
                    self.last_value = told.seen.value;
                }
                self.finish(answer(told.ok, told.seen), rng, history)
            }
            Reply::Cell { cell, .. } => {
                self.last_value = cell.value;
                self.finish(answer(true, *cell), rng, history)
            }
            Reply::Refused(Refusal::NotLeader { leader: Some(leader) }) => {
                self.target = place(*leader).unwrap_or_else(|| rng.index(servers));
                self.again(Duration::from_millis(2), rng, history)
            }
            Reply::Refused(Refusal::Transferring | Refusal::Busy) => {
                self.again(Duration::from_millis(50), rng, history)
            }
            Reply::Refused(_) => {
                self.target = rng.index(servers);
                self.again(Duration::from_millis(100), rng, history)
            }
            Reply::Unknown | Reply::Done => {
                pending.maybe = true;
                self.again(Duration::from_millis(10), rng, history)
            }
        }
    }

    /// No answer came in time.
    pub(super) fn timed_out(&mut self, rng: &mut Rng, servers: usize, history: &mut Vec<Record>) -> Next {
        if let Some(pending) = &mut self.pending {
            pending.maybe = true;
        }
        self.target = rng.index(servers);
        self.again(Duration::from_millis(5), rng, history)
    }

    fn again(&mut self, after: Duration, rng: &mut Rng, history: &mut Vec<Record>) -> Next {
        if self.attempts() >= self.habits.attempts {
            return self.finish(None, rng, history);
        }
        Next::Later(after / 2 + rng.duration(after))
    }

    /// The operation ends: it goes into the history, unless it is known not to have been done.
    fn finish(&mut self, answer: Option<Answer>, rng: &mut Rng, history: &mut Vec<Record>) -> Next {
        if let Some(pending) = self.pending.take()
            && (answer.is_some() || pending.maybe && pending.op != Op::Read)
        {
            history.push(Record {
                client: self.id.into(),
                key: format!("k{}", pending.key),
                call: pending.call,
                wish: wish(pending.op),
                answer,
            });
        }
        Next::Idle(self.pause(rng))
    }

    /// Nothing is waited for any more.
    pub(super) fn give_up(&mut self, rng: &mut Rng, history: &mut Vec<Record>) {
        if let Some(pending) = &mut self.pending {
            pending.maybe = true;
        }
        self.finish(None, rng, history);
    }
}

fn name(number: u64) -> Option<String> {
    (number != 0).then(|| format!("{}.{}", number >> 32, number & 0xffff_ffff))
}

fn seen(cell: Cell) -> Seen {
    Seen { value: name(cell.value), owner: (cell.owner != 0).then(|| cell.owner.to_string()) }
}

fn wish(op: Op) -> Wish {
    match op {
        Op::Read => Wish::Read,
        Op::Write(value) => Wish::Write { value: name(value) },
        Op::Cas(from, to) => Wish::Cas { from: name(from), to: name(to) },
        Op::Acquire(owner, value) => Wish::Acquire { owner: owner.to_string(), value: name(value) },
        Op::Release(owner) => Wish::Release { owner: owner.to_string(), value: None },
    }
}
