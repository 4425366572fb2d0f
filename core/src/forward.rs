//! Bringing changes and reads to whoever can serve them, across elections.
//!
//! A server that leads proposes itself, one that follows asks its leader, a client agent asks any server it knows. While
//! nobody leads a request waits; one whose outcome was lost with a leader is tried again under the same client and serial,
//! so that it is applied once ([`crate::consensus::Tables`]). After [`Settings::hold`] it is given up, and whoever asked is
//! told so.
//!
//! Each request takes a *lane*: a client in the sense of the log, with one change under way at a time.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_catalog::{Command, Reply};
use convoke_kit::{Deadline, Machine, Out, Rng, Time};
use convoke_raft::{ReadMode, Refusal};

/// Requests that may be under way. At the bound new ones are refused: [`Refusal::Busy`].
pub const QUEUE: usize = 4096;
/// Before a request is tried again where it was refused, and up to as long again.
const PAUSE: Duration = Duration::from_millis(50);

/// Names a request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Nobody leads, as far as is known.
    #[default]
    Nobody,
    /// This server leads.
    Own,
    /// The server that leads.
    Leader(SocketAddr),
    /// Of a client agent: any of these.
    Any(Arc<Vec<SocketAddr>>),
    /// Nobody ever again: this server has stopped, and this is why.
    Broken(String),
}

/// What is brought.
#[derive(Debug)]
pub enum Wish {
    /// A change.
    Change(Box<Command>),
    /// A change of a client agent, under its client and serial.
    Relayed {
        /// As the agent said.
        client: (u64, u64),
        /// The change.
        command: Box<Command>,
    },
    /// To know when a read sees everything.
    Read(ReadMode),
}

/// What can happen.
#[derive(Debug)]
pub enum Event<O> {
    /// Bring this.
    Submit {
        /// What.
        wish: Wish,
        /// Comes back.
        origin: O,
    },
    /// Somebody else is to be asked from now on.
    Route {
        /// Whom.
        route: Route,
        /// There is one voter: what is lost with its leadership cannot be applied by another one, so nothing needs a lane.
        alone: bool,
    },
    /// What became of an attempt.
    Over {
        /// Which.
        key: Key,
        /// The change comes back if it was given away.
        command: Option<Box<Command>>,
        /// What.
        outcome: Outcome,
    },
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied; of reads: everything is there.
    Reply(Reply),
    /// Not done.
    Refused(Refusal),
    /// It may or may not be applied.
    Unknown,
    /// Who was asked did not answer.
    Unreachable(String),
}

/// Why it was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not done, and will not be.
    #[error(transparent)]
    Refused(Refusal),
    /// A client agent knows no server.
    #[error("No known Consul servers")]
    NoServers,
    /// It was sent, and nobody said what became of it.
    #[error("the change may or may not have been made: {0}")]
    Unknown(String),
}

/// What it wants done.
#[derive(Debug)]
pub enum Action<O> {
    /// Propose it to the own log, and report [`Event::Over`].
    Propose {
        /// Named in the report.
        key: Key,
        /// For the log.
        client: (u64, u64),
        /// The change.
        command: Box<Command>,
    },
    /// Have the own log say when a read sees everything, and report [`Event::Over`].
    Read {
        /// Named in the report.
        key: Key,
        /// How.
        mode: ReadMode,
    },
    /// Ask a server to propose it, and report [`Event::Over`] within `limit`.
    Ask {
        /// Named in the report.
        key: Key,
        /// The server.
        to: SocketAddr,
        /// For the log.
        client: (u64, u64),
        /// The change.
        command: Box<Command>,
        /// For everything together.
        limit: Duration,
    },
    /// It is over.
    Finished {
        /// Of the request.
        origin: O,
        /// What came of it.
        result: Result<Reply, Failure>,
    },
}

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a request waits for a leader, and for its answer. Consul's `rpc_hold_timeout`: 7 s.
    pub hold: Duration,
}

#[derive(Debug)]
struct Pending<O> {
    origin: O,
    /// `None` while it is given away.
    wish: Option<Wish>,
    client: (u64, u64),
    lane: Option<usize>,
    until: Time,
    /// An attempt is under way.
    tried: bool,
    /// An attempt may have got through.
    doubt: Option<String>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Forward<O> {
    settings: Settings,
    route: Route,
    alone: bool,
    /// Which of several servers is asked.
    turn: usize,
    pending: BTreeMap<Key, Pending<O>>,
    next: u64,
    deadlines: BTreeSet<(Time, Key)>,
    /// To be tried at this time, or when the route changes.
    again: BTreeMap<Key, Time>,
    again_order: BTreeSet<(Time, Key)>,
    /// First client of this agent; lane n is n more. And the serials of the lanes.
    first: u64,
    serials: Vec<u64>,
    free: Vec<usize>,
    rng: Rng,
}

impl<O> Forward<O> {
    /// Nothing under way. `rng` differs at each start: the clients of its lanes are drawn from it.
    #[must_use]
    pub fn new(settings: Settings, mut rng: Rng) -> Self {
        // Never 0, and with room for all lanes.
        let first = (rng.next_u64() | 1 << 63) & !(QUEUE as u64 * 2 - 1);
        Self {
            settings,
            route: Route::Nobody,
            alone: false,
            turn: 0,
            pending: BTreeMap::new(),
            next: 0,
            deadlines: BTreeSet::new(),
            again: BTreeMap::new(),
            again_order: BTreeSet::new(),
            first,
            serials: Vec::new(),
            free: Vec::new(),
            rng,
        }
    }

    /// Requests under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn submit(&mut self, now: Time, wish: Wish, origin: O, out: &mut Out<Action<O>>) {
        if self.pending.len() >= QUEUE {
            let result = Err(Failure::Refused(Refusal::Busy));
            return out.push(Action::Finished { origin, result });
        }
        self.next += 1;
        let key = Key(self.next);
        let mut lane = None;
        let client = match &wish {
            Wish::Relayed { client, .. } => *client,
            Wish::Read(_) => (0, 0),
            Wish::Change(_) if self.alone && self.route == Route::Own => (0, 0),
            Wish::Change(_) => {
                let n = self.free.pop().unwrap_or_else(|| {
                    self.serials.push(0);
                    self.serials.len() - 1
                });
                lane = Some(n);
                self.serials[n] += 1;
                (self.first + n as u64, self.serials[n])
            }
        };
        let until = now + self.settings.hold;
        self.deadlines.insert((until, key));
        let wish = Some(wish);
        self.pending.insert(key, Pending { origin, wish, client, lane, until, tried: false, doubt: None });
        self.attempt(now, key, out);
    }

    /// Tries it, if there is anybody to ask.
    fn attempt(&mut self, now: Time, key: Key, out: &mut Out<Action<O>>) {
        if let Some(at) = self.again.remove(&key) {
            self.again_order.remove(&(at, key));
        }
        let Some(pending) = self.pending.get_mut(&key) else { return };
        let to = match &self.route {
            Route::Nobody => return,
            Route::Broken(error) => {
                let refusal = Refusal::Halted { error: error.clone() };
                return self.finish(key, Err(Failure::Refused(refusal)), out);
            }
            Route::Own => None,
            Route::Leader(to) => Some(*to),
            Route::Any(servers) => match servers.get(self.turn % servers.len().max(1)) {
                Some(to) => Some(*to),
                None => return,
            },
        };
        let client = pending.client;
        match (pending.wish.take(), to) {
            // A follower's own log knows how to ask its leader.
            (Some(Wish::Read(mode)), _) => {
                pending.wish = Some(Wish::Read(mode));
                pending.tried = true;
                out.push(Action::Read { key, mode });
            }
            (Some(Wish::Change(command) | Wish::Relayed { command, .. }), None) => {
                pending.tried = true;
                out.push(Action::Propose { key, client, command });
            }
            (Some(Wish::Change(command) | Wish::Relayed { command, .. }), Some(to)) => {
                pending.tried = true;
                let limit = pending.until.since(now).max(Duration::from_millis(1));
                out.push(Action::Ask { key, to, client, command, limit });
            }
            (None, _) => {}
        }
    }

    fn over(&mut self, now: Time, key: Key, command: Option<Box<Command>>, outcome: Outcome, out: &mut Out<Action<O>>) {
        let Some(pending) = self.pending.get_mut(&key).filter(|pending| pending.tried) else { return };
        pending.tried = false;
        if let Some(command) = command {
            pending.wish = Some(Wish::Change(command));
        }
        let retried = pending.client.0 != 0 || matches!(pending.wish, Some(Wish::Read(_)));
        match outcome {
            Outcome::Reply(reply) => return self.finish(key, Ok(reply), out),
            Outcome::Refused(refusal) if !passes(&refusal) => {
                // A refusal speaks of this attempt; an earlier one may still have got through.
                let failure = match pending.doubt.take() {
                    Some(doubt) => Failure::Unknown(doubt),
                    None => Failure::Refused(refusal),
                };
                return self.finish(key, Err(failure), out);
            }
            Outcome::Refused(_) => {}
            Outcome::Unknown => {
                pending.doubt.get_or_insert_with(|| String::from("leadership was lost while it was under way"));
            }
            Outcome::Unreachable(why) => {
                pending.doubt.get_or_insert(why);
                self.turn = self.turn.wrapping_add(1);
            }
        }
        let pending = self.pending.get(&key);
        let lost = pending.is_some_and(|pending| pending.wish.is_none() || pending.doubt.is_some() && !retried);
        if lost {
            return self.give_up(key, out);
        }
        let at = now + PAUSE + self.rng.duration(PAUSE);
        self.again.insert(key, at);
        self.again_order.insert((at, key));
    }

    fn give_up(&mut self, key: Key, out: &mut Out<Action<O>>) {
        let Some(pending) = self.pending.get(&key) else { return };
        let none = matches!(&self.route, Route::Any(servers) if servers.is_empty());
        let failure = match (&pending.doubt, pending.tried) {
            (Some(doubt), _) => Failure::Unknown(doubt.clone()),
            (None, true) if !matches!(pending.wish, Some(Wish::Read(_))) => {
                Failure::Unknown(String::from("no answer came in time"))
            }
            _ if none => Failure::NoServers,
            _ => Failure::Refused(Refusal::NoLeader),
        };
        self.finish(key, Err(failure), out);
    }

    fn finish(&mut self, key: Key, result: Result<Reply, Failure>, out: &mut Out<Action<O>>) {
        let Some(pending) = self.pending.remove(&key) else { return };
        self.deadlines.remove(&(pending.until, key));
        if let Some(at) = self.again.remove(&key) {
            self.again_order.remove(&(at, key));
        }
        self.free.extend(pending.lane);
        out.push(Action::Finished { origin: pending.origin, result });
    }

    /// Tries everything that waits.
    fn retry_all(&mut self, now: Time, out: &mut Out<Action<O>>) {
        let idle: Vec<Key> = self.pending.iter().filter(|(_, pending)| !pending.tried).map(|(key, _)| *key).collect();
        for key in idle {
            self.attempt(now, key, out);
        }
    }
}

/// Whether waiting may help.
const fn passes(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotLeader { .. } | Refusal::NoLeader | Refusal::Transferring | Refusal::TooEarly)
}

impl<O> Machine for Forward<O> {
    type Event<'a> = Event<O>;
    type Action = Action<O>;

    fn handle(&mut self, now: Time, event: Event<O>, out: &mut Out<Action<O>>) {
        match event {
            Event::Submit { wish, origin } => self.submit(now, wish, origin, out),
            Event::Route { route, alone } => {
                self.alone = alone;
                if self.route != route {
                    self.route = route;
                    self.retry_all(now, out);
                }
            }
            Event::Over { key, command, outcome } => self.over(now, key, command, outcome, out),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action<O>>) {
        while let Some((_, key)) = self.deadlines.pop_first_if_due(now) {
            self.give_up(key, out);
        }
        while let Some((_, key)) = self.again_order.pop_first_if_due(now) {
            self.again.remove(&key);
            self.attempt(now, key, out);
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let of = |set: &BTreeSet<(Time, Key)>, reason| set.first().map(|(at, _)| Deadline { at: *at, reason });
        Deadline::earliest(of(&self.deadlines, "forward hold"), of(&self.again_order, "forward again"))
    }
}

/// The first of a set by time, if its time has come.
trait Due {
    fn pop_first_if_due(&mut self, now: Time) -> Option<(Time, Key)>;
}

impl Due for BTreeSet<(Time, Key)> {
    fn pop_first_if_due(&mut self, now: Time) -> Option<(Time, Key)> {
        if self.first()?.0 <= now { self.pop_first() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use convoke_catalog::command::KvDelete;
    use convoke_kit::laws::{self, Effort};

    const A: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 1);
    const B: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 2);

    fn command() -> Box<Command> {
        Box::new(Command::KvDelete(KvDelete {
            tenancy: Default::default(),
            key: "k".into(),
            recurse: false,
            cas: None,
        }))
    }

    fn forward() -> Forward<u64> {
        Forward::new(Settings { hold: Duration::from_secs(7) }, Rng::new(1))
    }

    fn step(forward: &mut Forward<u64>, ms: u64, event: Event<u64>) -> Vec<Action<u64>> {
        let mut out = Out::new();
        forward.handle(Time::ZERO + Duration::from_millis(ms), event, &mut out);
        out.drain_actions().collect()
    }

    fn route(route: Route) -> Event<u64> {
        Event::Route { route, alone: false }
    }

    fn submit(origin: u64) -> Event<u64> {
        Event::Submit { wish: Wish::Change(command()), origin }
    }

    #[test]
    fn it_waits_for_a_leader_and_goes_to_the_next_one_as_the_same_change() {
        let mut forward = forward();
        assert!(step(&mut forward, 0, submit(9)).is_empty(), "nobody leads");
        let actions = step(&mut forward, 10, route(Route::Leader(A)));
        let [Action::Ask { key, to, client, .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(*to, A);
        let over = Event::Over { key: *key, command: Some(command()), outcome: Outcome::Unreachable("gone".into()) };
        assert!(step(&mut forward, 20, over).is_empty());
        let actions = step(&mut forward, 30, route(Route::Own));
        let [Action::Propose { client: again, .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(again, client);
        let over = Event::Over { key: *key, command: None, outcome: Outcome::Reply(Reply::Bool(true)) };
        let actions = step(&mut forward, 40, over);
        assert!(matches!(&actions[..], [Action::Finished { origin: 9, result: Ok(Reply::Bool(true)) }]));
        // The lane is used again, for another change.
        let actions = step(&mut forward, 50, submit(10));
        let [Action::Propose { client: next, .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(*next, (client.0, client.1 + 1));
    }

    #[test]
    fn it_gives_up_in_time_and_says_what_is_known() {
        let mut forward = forward();
        step(&mut forward, 0, submit(1));
        step(&mut forward, 5, Event::Submit { wish: Wish::Read(ReadMode::Lease), origin: 2 });
        let mut out = Out::new();
        assert_eq!(forward.poll_timeout().unwrap().at, Time::ZERO + Duration::from_secs(7));
        forward.handle_timeout(Time::ZERO + Duration::from_secs(8), &mut out);
        let over: Vec<_> = out.drain_actions().collect();
        assert_eq!(over.len(), 2);
        for action in over {
            let no_leader = Err(Failure::Refused(Refusal::NoLeader));
            assert!(matches!(action, Action::Finished { result, .. } if result == no_leader));
        }
        // What was sent and not answered is another thing.
        step(&mut forward, 9000, route(Route::Any(Arc::new(vec![A, B]))));
        let actions = step(&mut forward, 9001, submit(3));
        assert!(matches!(&actions[..], [Action::Ask { to, .. }] if *to == A));
        forward.handle_timeout(Time::ZERO + Duration::from_secs(17), &mut out);
        let over: Vec<_> = out.drain_actions().collect();
        assert!(matches!(&over[..], [Action::Finished { origin: 3, result: Err(Failure::Unknown(_)) }]));
        assert!(forward.is_empty());
    }

    #[test]
    fn a_client_agent_turns_to_another_server() {
        let mut forward = forward();
        step(&mut forward, 0, route(Route::Any(Arc::new(vec![A, B]))));
        let actions = step(&mut forward, 1, submit(1));
        let [Action::Ask { key, .. }] = &actions[..] else { panic!("{actions:?}") };
        let outcome = Outcome::Unreachable("connection refused".into());
        assert!(step(&mut forward, 2, Event::Over { key: *key, command: Some(command()), outcome }).is_empty());
        let mut out = Out::new();
        forward.handle_timeout(Time::ZERO + Duration::from_millis(200), &mut out);
        let actions: Vec<_> = out.drain_actions().collect();
        assert!(matches!(&actions[..], [Action::Ask { to, .. }] if *to == B));
    }

    #[test]
    fn a_refusal_is_final_unless_an_earlier_attempt_is_in_doubt() {
        let mut forward = forward();
        step(&mut forward, 0, route(Route::Own));
        let actions = step(&mut forward, 1, submit(1));
        let [Action::Propose { key, .. }] = &actions[..] else { panic!("{actions:?}") };
        let busy = |key| Event::Over { key, command: Some(command()), outcome: Outcome::Refused(Refusal::Busy) };
        let actions = step(&mut forward, 2, busy(*key));
        let refused = Err(Failure::Refused(Refusal::Busy));
        assert!(matches!(&actions[..], [Action::Finished { result, .. }] if *result == refused));
        let actions = step(&mut forward, 3, submit(2));
        let [Action::Propose { key, .. }] = &actions[..] else { panic!("{actions:?}") };
        step(&mut forward, 4, Event::Over { key: *key, command: Some(command()), outcome: Outcome::Unknown });
        forward.handle_timeout(Time::ZERO + Duration::from_millis(300), &mut Out::new());
        let actions = step(&mut forward, 301, busy(*key));
        assert!(matches!(&actions[..], [Action::Finished { result: Err(Failure::Unknown(_)), .. }]));
    }

    #[test]
    fn the_laws_hold() {
        for seed in 0..8 {
            laws::check(
                seed,
                Effort::default(),
                |seed| Forward::new(Settings { hold: Duration::from_millis(300) }, Rng::new(seed)),
                |rng, now, forward: &mut Forward<u64>, out| {
                    let event = match rng.below(8) {
                        0..3 => submit(rng.below(9)),
                        3 => Event::Submit { wish: Wish::Read(ReadMode::Quorum), origin: 0 },
                        4 => Event::Route {
                            route: [Route::Nobody, Route::Own, Route::Leader(A), Route::Any(Arc::new(vec![B]))]
                                [rng.below(4) as usize]
                                .clone(),
                            alone: rng.one_in(2),
                        },
                        _ => Event::Over {
                            key: Key(rng.below(forward.next + 1)),
                            command: rng.one_in(2).then(command),
                            outcome: [
                                Outcome::Reply(Reply::Done),
                                Outcome::Unknown,
                                Outcome::Refused(Refusal::NoLeader),
                                Outcome::Unreachable("x".into()),
                            ][rng.below(4) as usize]
                                .clone(),
                        },
                    };
                    forward.handle(now, event, out);
                },
            );
        }
    }
}
