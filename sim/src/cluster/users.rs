//! Clients: each keeps a session alive, and takes locks and writes keys with it. They know what they were told, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_api::effect::{Effect, Render};
use convoke_catalog::command::{KvDelete, KvLock, KvSet};
use convoke_catalog::model::Tenancy;
use convoke_catalog::sessions::Behavior;
use convoke_catalog::{Command, Session};

use super::invariant::Seen;
use super::world::{SECOND, World};

/// After this a client gives an answer up.
const PATIENCE: Duration = Duration::from_secs(9);

/// What one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Renews its session.
    Renews,
    /// Makes one, and lets it run out.
    LetsGo,
    /// Takes a lock, keeps it for a while, and loses it with its session.
    Locks,
    /// Writes keys, each once, which must all be there in the end; and others, which it also deletes.
    Writes,
}

#[derive(Debug)]
enum Doing {
    Create,
    Renew,
    Lock,
    End,
    Put(Option<u64>),
}

/// One client.
#[derive(Debug)]
struct User {
    habit: Habit,
    number: usize,
    ttl: Duration,
    delay: Duration,
    /// Sessions so far; names them.
    sessions: u64,
    /// The one it has.
    session: Option<String>,
    holds: bool,
    asked: Option<(u64, Duration, Doing)>,
    next: Duration,
    puts: u64,
}

/// All of them, and what they were promised.
#[derive(Debug, Default)]
pub struct Users {
    all: Vec<User>,
    /// Keys that were acknowledged, with their values.
    acknowledged: BTreeMap<String, u64>,
    /// They do nothing new any more.
    stopped: bool,
    /// Answers.
    pub answered: u64,
    /// Requests without an answer.
    pub unknown: u64,
}

/// The time to live of a client's session.
pub const TTL: Duration = Duration::from_secs(10);

impl World {
    /// One more client.
    pub fn user(&mut self, habit: Habit) {
        let number = self.users.all.len();
        let delay = if habit == Habit::Locks { 12 * SECOND } else { Duration::ZERO };
        let (ttl, next) = (TTL, self.now);
        let user =
            User { habit, number, ttl, delay, sessions: 0, session: None, holds: false, asked: None, next, puts: 0 };
        self.users.all.push(user);
    }

    /// Clients begin nothing any more, and renew nothing.
    pub fn stop_users(&mut self) {
        self.users.stopped = true;
    }

    /// What was acknowledged and is not there, as a machine sees it.
    #[must_use]
    pub fn lost(&self, host: usize) -> Vec<String> {
        let Some(view) = self.view(host) else { return Vec::new() };
        let there = |key: &str, value: u64| {
            view.kv(convoke_catalog::Scope::default(), key).is_some_and(|row| *row.value == value.to_le_bytes())
        };
        self.users.acknowledged.iter().filter(|(key, value)| !there(key, **value)).map(|(key, _)| key.clone()).collect()
    }

    /// Answers and requests without one, of all clients so far.
    #[must_use]
    pub const fn served(&self) -> (u64, u64) {
        (self.users.answered, self.users.unknown)
    }

    /// Keys that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.users.acknowledged.len()
    }
}

impl Users {
    pub(super) fn glance(&mut self, world: &mut World) {
        for at in 0..self.all.len() {
            self.answers(at, world);
            let user = &self.all[at];
            if user.asked.is_none() && user.next <= world.now && !self.stopped {
                self.acts(at, world);
            }
        }
    }

    fn answers(&mut self, at: usize, world: &mut World) {
        let user = &mut self.all[at];
        let Some((id, since, _)) = &user.asked else { return };
        let (id, since) = (*id, *since);
        let reply = world.reply(id);
        if reply.is_none() && world.now < since + PATIENCE {
            return;
        }
        let Some((_, _, doing)) = user.asked.take() else { return };
        let Some(Ok(response)) = reply else {
            if reply.is_none() {
                world.forget(id);
            }
            self.unknown += 1;
            return self.unsure(at, &doing, world);
        };
        self.answered += 1;
        let user = &mut self.all[at];
        let fine = response.status == 200 && *response.body != *b"false";
        match doing {
            Doing::Create if fine => {
                let id = format!("{}-{}", user.number, user.sessions);
                world.see(&Seen::Alive { session: &id, ttl: user.ttl, since });
                user.session = Some(id);
                user.next = world.now + user.ttl / 2;
                if user.habit == Habit::LetsGo {
                    // It is not renewed: after a while it makes another one.
                    user.next = world.now + user.ttl * 3;
                    user.session = None;
                }
                if user.habit == Habit::Locks {
                    user.next = world.now;
                }
            }
            Doing::Renew if fine => {
                if let Some(id) = &user.session {
                    world.see(&Seen::Alive { session: id, ttl: user.ttl, since });
                }
                user.next = world.now + user.ttl / 2;
            }
            Doing::Renew if response.status == 404 => {
                user.session = None;
                user.next = world.now;
            }
            Doing::Lock if fine => {
                if let Some(id) = &user.session {
                    world.see(&Seen::Locked { key: "lock", session: id, delay: user.delay });
                }
                user.holds = true;
                user.next = world.now + 2 * SECOND + world.rng.duration(4 * SECOND);
            }
            Doing::Lock => {
                if response.status != 200 {
                    user.session = None;
                }
                user.next = world.now + SECOND / 2;
            }
            Doing::End if fine => {
                user.session = None;
                user.holds = false;
                user.next = world.now + SECOND;
            }
            Doing::Put(value) => {
                if let Some(value) = value.filter(|_| fine) {
                    self.acknowledged.insert(format!("kept/{}/{value}", user.number), value);
                }
                user.next = world.now + SECOND / 4;
            }
            Doing::Create | Doing::Renew | Doing::End => self.unsure(at, &doing, world),
        }
    }

    /// It may or may not be done.
    fn unsure(&mut self, at: usize, doing: &Doing, world: &World) {
        let user = &mut self.all[at];
        user.next = world.now + SECOND / 4;
        match doing {
            // Whatever was made runs out.
            Doing::Create | Doing::Lock => user.session = None,
            Doing::Renew | Doing::End | Doing::Put(_) => {}
        }
    }

    fn acts(&mut self, at: usize, world: &mut World) {
        let user = &mut self.all[at];
        let tenancy = Tenancy::default;
        let (effect, doing) = match (user.habit, user.session.clone()) {
            (Habit::Writes, _) => {
                user.puts += 1;
                let value = user.puts;
                let (key, doing): (String, _) = match value % 4 {
                    0 => (format!("w/{}", 1 + world.rng.below(3)), Doing::Put(None)),
                    1 => (format!("w/{}", 1 + world.rng.below(3)), Doing::Put(None)),
                    _ => (format!("kept/{}/{value}", user.number), Doing::Put(Some(value))),
                };
                let command = if value.is_multiple_of(4) {
                    let recurse = false;
                    Command::KvDelete(KvDelete { tenancy: tenancy(), key: key.as_str().into(), recurse, cas: None })
                } else {
                    let value = value.to_le_bytes()[..].into();
                    Command::KvSet(KvSet { tenancy: tenancy(), key: key.as_str().into(), value, flags: 0, cas: None })
                };
                (propose(command), doing)
            }
            (_, None) => {
                user.sessions += 1;
                user.holds = false;
                let session = Session {
                    id: format!("{}-{}", user.number, user.sessions).as_str().into(),
                    node: "anchor".into(),
                    ttl: user.ttl,
                    ttl_text: "10s".into(),
                    lock_delay: user.delay,
                    behavior: Behavior::Release,
                    ..Session::default()
                };
                (propose(Command::SessionCreate(session)), Doing::Create)
            }
            (Habit::Locks, Some(id)) if user.holds => {
                world.see(&Seen::Destroyed { session: &id });
                (propose(Command::SessionDestroy { tenancy: tenancy(), id: id.as_str().into() }), Doing::End)
            }
            (Habit::Locks, Some(id)) => {
                let (value, session) = (b"v"[..].into(), id.as_str().into());
                let lock = KvLock { tenancy: tenancy(), key: "lock".into(), value, flags: 0, session, acquire: true };
                (propose(Command::KvLock(lock)), Doing::Lock)
            }
            (Habit::Renews | Habit::LetsGo, Some(id)) => {
                (Effect::Renew { tenancy: tenancy(), id: id.as_str().into(), pretty: false }, Doing::Renew)
            }
        };
        // Renewals are passed on to the leader by the agent's host; here clients look for it themselves.
        let to = if effect.needs_leader() { somebody_who_leads(world) } else { somebody(world) };
        let user = &mut self.all[at];
        match to.and_then(|to| world.send(to, effect)) {
            Some(id) => user.asked = Some((id, world.now, doing)),
            None => user.next = world.now + SECOND / 4,
        }
    }
}

fn propose(command: Command) -> Effect {
    Effect::Propose { command: Box::new(command), render: Render::Bool }
}

fn somebody(world: &mut World) -> Option<usize> {
    let on: Vec<usize> = (0..world.len()).filter(|host| world.runs(*host)).collect();
    if on.is_empty() { None } else { Some(on[world.rng.index(on.len())]) }
}

/// Any that believes so.
fn somebody_who_leads(world: &mut World) -> Option<usize> {
    let leads = |host: &usize| world.published(*host).is_some_and(|published| published.agent.leads);
    let all: Vec<usize> = (0..world.len()).filter(leads).collect();
    if all.is_empty() { None } else { Some(all[world.rng.index(all.len())]) }
}
