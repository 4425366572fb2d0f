//! The time of sessions, measured by the leader: time to live, and the lock-delay of those that were invalidated.
//!
//! [`Sessions`] is silent until [`Event::Lead`]. Then every session with a TTL has twice that time from now, as if it
//! had just been renewed, and every lock-delay starts anew: whoever led before may have measured longer, never shorter.
//! A renewal gives the full time again; when it is up, the machine proposes the end of the session.
//!
//! # Why no renewed session is ended
//!
//! A leader may be deposed with such a proposal under way, and the proposal may come through after a later leader has
//! renewed the session. So it carries the epoch that the tables had when the leader took over, and does nothing in
//! another one. A leader that finds sessions begins an epoch of its own, and answers no renewal before it is
//! committed. Within its own epoch it knows what it has proposed, and refuses to renew what is on its way out.
//!
//! A renewal must be asked of a leader whose lease holds; whoever answers one without knowing that it was deposed has
//! at least not shortened anything, for the next leader grants the full time from when it took over.
//!
//! # Pauses
//!
//! A process that was stopped for a while took no renewals meanwhile. If the machine is called much later than it asked
//! for, all sessions have their full time again, so that one stop does not end them all at once.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::model::{Str, Tenancy};
use convoke_catalog::name::fold_shared;
use convoke_catalog::sessions::Expire;
use convoke_catalog::{Command, View};
use convoke_kit::{Deadline, Machine, Out, Time};

use crate::flaw::{Flaw, Flaws};

/// A session lives this many times its TTL after a renewal, as in Consul: clients reckon with it.
const TIMES: u32 = 2;
/// While it measures, the machine wants to be called this often.
const TICK: Duration = Duration::from_secs(1);
/// Called later than this after it asked, the process was stopped.
const PAUSE: Duration = Duration::from_secs(2);
/// A proposal that was refused is made again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Sessions in one command; the rest follows at once.
const BATCH: usize = 256;
/// Renewals that may wait for the epoch to begin.
const WAITING: usize = 1024;
/// Between two batches.
const NEXT: Duration = Duration::from_micros(1);

/// A session: tenancy and folded id.
pub type Key = (Tenancy, Str);

/// What can happen. `O` travels with a renewal and says who wants to know.
#[derive(Debug)]
pub enum Event<'a, O> {
    /// This server leads from now on. Everything committed by leaders before it is in the view.
    Lead {
        /// The tables.
        view: &'a View,
    },
    /// It does not any more.
    Follow,
    /// A session came or went.
    Changed {
        /// Which.
        key: Key,
        /// The tables after it.
        view: &'a View,
    },
    /// A client renews a session.
    Renew {
        /// Which.
        key: Key,
        /// Comes back.
        origin: O,
    },
    /// A proposal of this machine is over: the command was applied.
    Applied {
        /// What it was about.
        subject: Subject,
        /// The tables after it.
        view: &'a View,
    },
    /// A proposal of this machine is over: it is not in the log, and will not be.
    Refused {
        /// What it was about.
        subject: Subject,
    },
}

/// What a proposal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The epoch.
    Epoch,
    /// These sessions end.
    Expire(Vec<Key>),
    /// The lock-delay of these is over.
    Delay(Vec<Key>),
}

/// What the machine wants done.
#[derive(Debug)]
pub enum Action<O> {
    /// Propose this; report [`Event::Applied`] or [`Event::Refused`].
    Propose {
        /// The change.
        command: Box<Command>,
        /// Comes back.
        subject: Subject,
    },
    /// Answer a renewal.
    Renewed {
        /// Of the renewal.
        origin: O,
        /// Which session.
        key: Key,
        /// How it went.
        outcome: Renewal,
    },
}

/// How a renewal went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It has its full time again. A session without TTL, or one that is not there, is not measured: the tables tell.
    Done,
    /// Its time was up.
    TooLate,
    /// This server does not lead.
    NoLeader,
    /// Too many renewals wait.
    Busy,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Until a session ends.
    Life,
    /// Until its keys can be locked.
    Delay,
}

#[derive(Debug)]
struct Timer {
    /// The full time.
    full: Duration,
    /// When it is up; `None` while a proposal says so.
    at: Option<Time>,
}

/// See the module.
#[derive(Debug)]
pub struct Sessions<O> {
    state: State,
    timers: BTreeMap<(Kind, Key), Timer>,
    /// The same by time.
    order: BTreeSet<(Time, Kind, Key)>,
    /// When to be called next, as long as anything is measured.
    tick: Time,
    /// Not before this, if more are due than one command holds.
    next: Time,
    /// Renewals that came before the epoch began.
    waiting: Vec<(Key, O)>,
    pub(crate) flaws: Flaws,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Follows,
    /// The epoch is proposed.
    Begins,
    /// The proposal was refused; again then.
    BeginsAgain(Time),
    Leads {
        epoch: u64,
    },
}

impl<O> Default for Sessions<O> {
    fn default() -> Self {
        Self {
            state: State::Follows,
            timers: BTreeMap::new(),
            order: BTreeSet::new(),
            tick: Time::ZERO,
            next: Time::ZERO,
            waiting: Vec::new(),
            flaws: Flaws::default(),
        }
    }
}

impl<O> Sessions<O> {
    /// Sessions with a TTL that are measured.
    #[must_use]
    pub fn measured(&self) -> usize {
        self.timers.keys().filter(|(kind, _)| *kind == Kind::Life).count()
    }

    fn lead(&mut self, now: Time, view: &View, out: &mut Out<Action<O>>) {
        if self.state != State::Follows {
            return;
        }
        for session in view.timed_sessions() {
            if self.flaws.has(Flaw::SessionsNotMeasured) {
                break;
            }
            let full = if self.flaws.has(Flaw::SessionsHaveNoTime) { Duration::ZERO } else { session.ttl * TIMES };
            self.start(now, Kind::Life, key_of(&session.tenancy, &session.id), full);
        }
        for (tenancy, id, delay) in view.lock_delays() {
            let delay = if self.flaws.has(Flaw::LockDelayForgotten) { Duration::ZERO } else { delay };
            self.start(now, Kind::Delay, key_of(&tenancy, id), delay);
        }
        if self.measured() == 0 {
            // Whatever another leader has under way is about sessions that are gone; their ids do not come back.
            self.state = State::Leads { epoch: view.session_epoch() };
        } else {
            self.begin(out);
        }
    }

    fn begin(&mut self, out: &mut Out<Action<O>>) {
        self.state = State::Begins;
        out.push(Action::Propose { command: Box::new(Command::SessionEpoch), subject: Subject::Epoch });
    }

    fn follow(&mut self, out: &mut Out<Action<O>>) {
        self.state = State::Follows;
        self.timers.clear();
        self.order.clear();
        for (key, origin) in self.waiting.drain(..) {
            out.push(Action::Renewed { origin, key, outcome: Renewal::NoLeader });
        }
    }

    fn changed(&mut self, now: Time, key: Key, view: &View) {
        if self.state == State::Follows {
            return;
        }
        let scope = (&key.0).into();
        match view.session(scope, &key.1) {
            Some(session) if session.ttl.is_zero() => {}
            Some(session) => {
                let full = session.ttl * TIMES;
                if !self.timers.contains_key(&(Kind::Life, key.clone())) {
                    self.start(now, Kind::Life, key, full);
                }
            }
            None => {
                self.stop(Kind::Life, &key);
                if let Some(delay) = view.lock_delay(scope, &key.1) {
                    self.start(now, Kind::Delay, key, delay);
                }
            }
        }
    }

    fn renew(&mut self, now: Time, key: Key, origin: O, out: &mut Out<Action<O>>) {
        let outcome = match self.state {
            State::Follows => Renewal::NoLeader,
            State::Begins | State::BeginsAgain(_) if self.waiting.len() < WAITING => {
                return self.waiting.push((key, origin));
            }
            State::Begins | State::BeginsAgain(_) => Renewal::Busy,
            State::Leads { .. } => match self.timers.get(&(Kind::Life, key.clone())) {
                Some(Timer { at: None, .. }) => Renewal::TooLate,
                Some(timer) => {
                    let full = timer.full;
                    self.start(now, Kind::Life, key.clone(), full);
                    Renewal::Done
                }
                None => Renewal::Done,
            },
        };
        out.push(Action::Renewed { origin, key, outcome });
    }

    fn applied(&mut self, now: Time, subject: Subject, view: &View, out: &mut Out<Action<O>>) {
        match subject {
            // A proposal of an earlier leadership of this server may come in late: the tables say which epoch it is.
            Subject::Epoch if self.state != State::Follows => {
                self.state = State::Leads { epoch: view.session_epoch() };
                for (key, origin) in core::mem::take(&mut self.waiting) {
                    self.renew(now, key, origin, out);
                }
            }
            Subject::Epoch => {}
            // What it ended was told by `Changed`. Anything still measured was not ended.
            Subject::Expire(keys) => self.again(now, Kind::Life, keys, None),
            Subject::Delay(keys) => keys.iter().for_each(|key| self.stop(Kind::Delay, key)),
        }
    }

    fn refused(&mut self, now: Time, subject: Subject) {
        match subject {
            Subject::Epoch if self.state == State::Begins => self.state = State::BeginsAgain(now + RETRY),
            Subject::Epoch => {}
            Subject::Expire(keys) => self.again(now, Kind::Life, keys, Some(RETRY)),
            Subject::Delay(keys) => self.again(now, Kind::Delay, keys, Some(RETRY)),
        }
    }

    /// Measures again what a proposal did not end.
    fn again(&mut self, now: Time, kind: Kind, keys: Vec<Key>, wait: Option<Duration>) {
        for key in keys {
            let timer = self.timers.get_mut(&(kind, key.clone())).filter(|timer| timer.at.is_none());
            let Some(timer) = timer else { continue };
            let at = now + wait.unwrap_or(timer.full);
            timer.at = Some(at);
            self.order.insert((at, kind, key));
        }
    }

    fn start(&mut self, now: Time, kind: Kind, key: Key, full: Duration) {
        self.stop(kind, &key);
        if self.timers.is_empty() {
            self.tick = now + TICK;
        }
        let at = now + full;
        self.order.insert((at, kind, key.clone()));
        self.timers.insert((kind, key), Timer { full, at: Some(at) });
    }

    fn stop(&mut self, kind: Kind, key: &Key) {
        if let Some(Timer { at: Some(at), .. }) = self.timers.remove(&(kind, key.clone())) {
            self.order.remove(&(at, kind, key.clone()));
        }
    }

    /// After a stop of the process: everybody has the full time again.
    fn notice_pause(&mut self, now: Time) {
        if self.timers.is_empty() || now <= self.tick + PAUSE {
            return;
        }
        self.order.clear();
        for ((kind, key), timer) in &mut self.timers {
            if timer.at.is_some() {
                let at = now + timer.full;
                timer.at = Some(at);
                self.order.insert((at, *kind, key.clone()));
            }
        }
        self.tick = now + TICK;
    }

    fn end_due(&mut self, now: Time, epoch: u64, out: &mut Out<Action<O>>) {
        let (mut lives, mut delays) = (Vec::new(), Vec::new());
        while lives.len() + delays.len() < BATCH && self.order.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, kind, key)) = self.order.pop_first() else { break };
            if let Some(timer) = self.timers.get_mut(&(kind, key.clone())) {
                timer.at = None;
            }
            if kind == Kind::Life { lives.push(key) } else { delays.push(key) }
        }
        if !lives.is_empty() {
            let command = Command::SessionExpire(Expire { epoch, sessions: lives.clone() });
            out.push(Action::Propose { command: Box::new(command), subject: Subject::Expire(lives) });
        }
        if !delays.is_empty() {
            let command = Command::LockDelayOver { sessions: delays.clone() };
            out.push(Action::Propose { command: Box::new(command), subject: Subject::Delay(delays) });
        }
        // The rest at the next call, which must be later than this one.
        self.next = now + NEXT;
    }
}

/// As sessions are named here.
fn key_of(tenancy: &Tenancy, id: &Str) -> Key {
    (tenancy.clone(), fold_shared(id))
}

impl<O> Machine for Sessions<O> {
    type Event<'a> = Event<'a, O>;
    type Action = Action<O>;

    fn handle(&mut self, now: Time, event: Event<'_, O>, out: &mut Out<Action<O>>) {
        self.notice_pause(now);
        match event {
            Event::Lead { view } => self.lead(now, view, out),
            Event::Follow => self.follow(out),
            Event::Changed { key, view } => self.changed(now, key, view),
            Event::Renew { key, origin } => self.renew(now, (key.0, fold_shared(&key.1)), origin, out),
            Event::Applied { subject, view } => self.applied(now, subject, view, out),
            Event::Refused { subject } => self.refused(now, subject),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action<O>>) {
        self.notice_pause(now);
        if !self.timers.is_empty() && self.tick <= now {
            self.tick = now + TICK;
        }
        match self.state {
            State::BeginsAgain(at) if at <= now => self.begin(out),
            State::Leads { epoch } if self.next <= now => self.end_due(now, epoch, out),
            State::Follows | State::Begins | State::BeginsAgain(_) | State::Leads { .. } => {}
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let due = self.order.first().filter(|_| matches!(self.state, State::Leads { .. }));
        let due = due.map(|(at, ..)| Deadline { at: (*at).max(self.next), reason: "session" });
        let tick = (!self.timers.is_empty()).then_some(Deadline { at: self.tick, reason: "session clock" });
        let again = match self.state {
            State::BeginsAgain(at) => Some(Deadline { at, reason: "session epoch" }),
            _ => None,
        };
        Deadline::earliest(due, Deadline::earliest(tick, again))
    }
}

#[cfg(test)]
mod tests;
