//! Keyring operations across the pool: asked by gossip, answered one by one; who stays silent is asked again over a stream.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_kit::{Deadline, Out, Time};

use crate::event::{Action, KeyOp, KeyReport, Ticket};
use crate::exchange::Purpose;
use crate::seal::{Key, KeyError};
use crate::swim::Swim;
use crate::wire::{Frame, KeysAnswer, KeysAsk, Message};

/// Operations remembered, so that each is carried out once.
const REMEMBERED: usize = 128;
/// Operations that this member may wait for at a time.
const MAX_ASKED: usize = 64;

/// Operations under way.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Asked by this member.
    pending: BTreeMap<u64, Pending>,
    /// Ids of those carried out, oldest first.
    done: VecDeque<u64>,
}

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    op: KeyOp,
    /// Who must still answer.
    silent: BTreeSet<String>,
    report: KeyReport,
    /// When the silent are asked again; `None`: they were.
    again: Option<Time>,
    deadline: Time,
}

impl Asked {
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let at = self.pending.values().map(|p| p.again.unwrap_or(p.deadline)).min()?;
        Some(Deadline { at, reason: "keys" })
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.done.len()
    }
}

impl Swim {
    pub(crate) fn ask_keys(&mut self, now: Time, ticket: Ticket, op: &KeyOp, local: bool, out: &mut Out<Action>) {
        let mut report = KeyReport { members: 1, ..KeyReport::default() };
        let name = Arc::clone(&self.profile);
        let error = self.change_keys(op, out).err();
        note(&mut report, name.name(), &self.keyring.keys().collect::<Vec<_>>(), error.map(|e| e.to_string()));
        let refused = !report.errors.is_empty() && self.keyring.is_empty();
        if local || refused || self.asked.pending.len() >= MAX_ASKED {
            return out.push(Action::KeysDone { ticket, report });
        }
        let others = self.members.iter().filter(|m| m.state.is_up() && m.profile.name() != name.name());
        let silent: BTreeSet<String> = others.map(|m| String::from(m.profile.name())).collect();
        report.members += silent.len();
        if silent.is_empty() {
            return out.push(Action::KeysDone { ticket, report });
        }
        let id = self.rng.next_u64();
        self.remember(id);
        let (code, key) = encode(op);
        let ask = KeysAsk { id, asker: name.name(), op: code, key };
        self.tell_as(now, id, &Message::KeysAsk(ask), (true, 0));
        let deadline = now + self.config.query_timeout;
        let again = Some(now + self.config.query_timeout / 4);
        self.asked.pending.insert(id, Pending { ticket, op: op.clone(), silent, report, again, deadline });
    }

    pub(crate) fn keys_timers(&mut self, now: Time, out: &mut Out<Action>) {
        if self.asked.pending.is_empty() {
            return;
        }
        let due: Vec<u64> = self.asked.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.finish_keys(id, out);
        }
        let again: Vec<u64> =
            self.asked.pending.iter().filter(|(_, p)| p.again.is_some_and(|at| at <= now)).map(|(id, _)| *id).collect();
        for id in again {
            self.ask_silent(id, now, out);
        }
    }

    fn ask_silent(&mut self, id: u64, now: Time, out: &mut Out<Action>) {
        let Some(pending) = self.asked.pending.get_mut(&id) else { return };
        pending.again = None;
        if pending.silent.is_empty() {
            return self.finish_keys(id, out);
        }
        let (op, limit) = (pending.op.clone(), pending.deadline.since(now));
        let silent = pending.silent.iter().filter_map(|name| Some(self.members.get(name)?.profile.address()));
        let addresses: Vec<_> = silent.collect();
        let own = Arc::clone(&self.profile);
        let (code, key) = encode(&op);
        for to in addresses {
            let ask = Frame::KeysAsk(KeysAsk { id, asker: own.name(), op: code, key });
            // Beyond the bound of streams the rest stays silent, and is named so in the report.
            if !self.dial(to, Purpose::Keys { id }, &ask, limit, out) {
                break;
            }
        }
    }

    fn finish_keys(&mut self, id: u64, out: &mut Out<Action>) {
        let Some(pending) = self.asked.pending.remove(&id) else { return };
        let mut report = pending.report;
        report.silent = pending.silent.into_iter().collect();
        out.push(Action::KeysDone { ticket: pending.ticket, report });
    }

    pub(crate) fn on_keys_ask(&mut self, now: Time, ask: &KeysAsk<'_>, out: &mut Out<Action>) {
        if self.asked.done.contains(&ask.id) {
            return;
        }
        let error = self.carry_out_keys(ask, out);
        self.tell_as(now, ask.id, &Message::KeysAsk(*ask), (true, 0));
        let Some(to) = self.members.get(ask.asker).map(|asker| asker.profile.address()) else { return };
        let own = Arc::clone(&self.profile);
        let keys: Vec<Key> = self.keyring.keys().collect();
        let keys = keys.iter().map(Key::as_bytes).collect();
        let answer = KeysAnswer { id: ask.id, from: own.name(), keys, error: &error };
        self.send_as(to, &[Message::KeysAnswer(answer)], true, out);
    }

    /// The same over a stream; what was carried out already is only answered.
    pub(crate) fn answer_keys(&mut self, ask: &KeysAsk<'_>, version: u8, out: &mut Out<Action>) -> Option<Vec<u8>> {
        let error = self.carry_out_keys(ask, out);
        let own = Arc::clone(&self.profile);
        let keys: Vec<Key> = self.keyring.keys().collect();
        let keys = keys.iter().map(Key::as_bytes).collect();
        let answer = KeysAnswer { id: ask.id, from: own.name(), keys, error: &error };
        Some(self.frame(&Frame::KeysAnswer(answer), version, true))
    }

    fn carry_out_keys(&mut self, ask: &KeysAsk<'_>, out: &mut Out<Action>) -> String {
        let Some(op) = decode(ask) else {
            return String::from("this member does not know the operation; is it of an older version?");
        };
        // Every operation may be done twice without harm, so a repeated one gives the truth about it.
        self.remember(ask.id);
        self.change_keys(&op, out).err().map(|e| e.to_string()).unwrap_or_default()
    }

    fn remember(&mut self, id: u64) {
        if !self.asked.done.contains(&id) {
            self.asked.done.push_back(id);
        }
        if self.asked.done.len() > REMEMBERED {
            self.asked.done.pop_front();
        }
    }

    fn change_keys(&mut self, op: &KeyOp, out: &mut Out<Action>) -> Result<(), KeyError> {
        if self.keyring.is_empty() {
            return Err(KeyError::None);
        }
        let changed = match op {
            KeyOp::List => false,
            KeyOp::Install(key) => self.keyring.install(*key)?,
            KeyOp::Use(key) => self.keyring.use_key(key)?,
            KeyOp::Remove(key) => self.keyring.remove(key)?,
        };
        if changed {
            out.push(Action::KeysChanged { keys: self.keyring.keys().collect() });
        }
        Ok(())
    }

    pub(crate) fn on_keys_answer(&mut self, answer: &KeysAnswer<'_>) {
        let Some(pending) = self.asked.pending.get_mut(&answer.id) else { return };
        if !pending.silent.remove(answer.from) {
            return;
        }
        let keys: Vec<Key> = answer.keys.iter().filter_map(|raw| Key::new(raw).ok()).collect();
        let error = (!answer.error.is_empty()).then(|| String::from(answer.error));
        note(&mut pending.report, answer.from, &keys, error);
        if pending.silent.is_empty() {
            // Told at the next timer, which is now.
            pending.again = Some(Time::ZERO);
        }
    }
}

fn note(report: &mut KeyReport, from: &str, keys: &[Key], error: Option<String>) {
    report.replies += 1;
    for key in keys {
        *report.keys.entry(*key).or_default() += 1;
    }
    if let Some(primary) = keys.first() {
        *report.primary.entry(*primary).or_default() += 1;
    }
    if let Some(error) = error {
        report.errors.insert(String::from(from), error);
    }
}

fn encode(op: &KeyOp) -> (u8, &[u8]) {
    match op {
        KeyOp::List => (0, &[]),
        KeyOp::Install(key) => (1, key.as_bytes()),
        KeyOp::Use(key) => (2, key.as_bytes()),
        KeyOp::Remove(key) => (3, key.as_bytes()),
    }
}

fn decode(ask: &KeysAsk<'_>) -> Option<KeyOp> {
    let key = || Key::new(ask.key).ok();
    match ask.op {
        0 => Some(KeyOp::List),
        1 => Some(KeyOp::Install(key()?)),
        2 => Some(KeyOp::Use(key()?)),
        3 => Some(KeyOp::Remove(key()?)),
        _ => None,
    }
}
