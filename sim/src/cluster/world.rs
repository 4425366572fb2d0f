//! The world of agents: its time, its network, what befalls machines, and who looks on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use convoke_api::effect::{AgentRequest, Effect};
use convoke_api::response::Response;
use convoke_catalog::View;
use convoke_config::config::Config;
use convoke_core::consensus::Frozen;
use convoke_core::flaw::Flaw;
use convoke_core::node::{Action, AskId, Boot, CallId, Event, Level, Node, Pool, Published, RequestId};
use convoke_core::rpc::{Answer, Ask, Body};
use convoke_kit::{Machine as _, Out, Rng, Time};
use convoke_swim as swim;

use super::host::{Host, Life, server};
use super::invariant::{self, Invariant, Scene, Seen};
use super::watcher::Watchers;
use super::{Violation, users::Users};
use crate::digest::Digest;

/// A millisecond.
pub const MS: Duration = Duration::from_millis(1);
/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// Unix time at the beginning.
const WALL: Duration = Duration::from_secs(1_700_000_000);
/// Timers that fire in one moment; more, and one of them is never content.
const AGAIN: u32 = 10_000;
/// Users look around this often.
const GLANCE: Duration = Duration::from_millis(50);

/// The address of a machine.
#[must_use]
pub fn ip(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1).into()
}

fn host_of(at: SocketAddr) -> Option<usize> {
    match at.ip() {
        IpAddr::V4(ip) if ip.octets()[..3] == [10, 0, 0] => usize::from(ip.octets()[3]).checked_sub(1),
        _ => None,
    }
}

/// What is on its way.
#[derive(Debug)]
enum Travel {
    Packet { from: SocketAddr, pool: Pool, bytes: Vec<u8> },
    Request { from: usize, life: u64, pool: Pool, exchange: swim::ExchangeId, frame: Vec<u8> },
    Response { pool: Pool, exchange: swim::ExchangeId, frame: Vec<u8> },
    DialFailed { pool: Pool, exchange: swim::ExchangeId },
    Told(Box<Body>),
    Asked { from: usize, life: u64, call: CallId, ask: Ask },
    Answered { call: CallId, result: Result<Answer, String> },
    Unresolved { lookup: convoke_core::node::LookupId },
    Written { upto: u64 },
    Exported { index: u64, tables: Box<Frozen> },
}

/// What a client is told; an error if its server went away.
pub type Reply = Result<Response, ()>;

/// See the module.
#[derive(Debug)]
pub struct World {
    pub(super) hosts: Vec<Host>,
    /// Since the beginning.
    pub now: Duration,
    /// Of everything that happens.
    pub rng: Rng,
    /// By time and order; a receiver's life, if it is for that one only.
    queue: BTreeMap<(Duration, u64), (usize, Option<u64>, Travel)>,
    order: u64,
    /// Who hears nothing of whom.
    cut: BTreeSet<(usize, usize)>,
    /// Packets in a million that are lost.
    pub loss: u32,
    /// A way takes between one and two times as long.
    pub latency: Duration,
    /// What one says to another on a stream keeps its order.
    streams: BTreeMap<(usize, usize), Duration>,
    requests: u64,
    replies: BTreeMap<u64, Reply>,
    flaw: Option<Flaw>,
    trace: bool,
    digest: Digest,
    /// Calls of machines so far.
    pub events: u64,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    pub(super) users: Users,
    glance: Duration,
    /// When a timer last fired, and how often before in the same moment.
    called_at: Duration,
    again: u32,
}

impl World {
    /// Without machines.
    #[must_use]
    pub fn new(seed: u64, flaw: Option<Flaw>, trace: bool) -> Self {
        Self {
            hosts: Vec::new(),
            now: Duration::ZERO,
            rng: Rng::new(seed),
            queue: BTreeMap::new(),
            order: 0,
            cut: BTreeSet::new(),
            loss: 0,
            latency: MS,
            streams: BTreeMap::new(),
            requests: 0,
            replies: BTreeMap::new(),
            flaw,
            trace,
            digest: Digest::new(seed),
            events: 0,
            invariants: invariant::all(),
            violation: None,
            users: Users::default(),
            glance: Duration::ZERO,
            called_at: Duration::ZERO,
            again: 0,
        }
    }

    /// One more machine, switched on.
    pub fn add(&mut self, name: &str, config: Config) -> usize {
        let number = self.hosts.len();
        self.hosts.push(Host::new(number, name.to_string(), config));
        self.start(number);
        number
    }

    /// So many servers that expect each other, `s0` and so on, and a leader.
    pub fn servers(&mut self, count: usize) {
        for number in 0..count {
            self.add(&format!("s{number}"), server(count as u32));
        }
        self.until("a leader", 30 * SECOND, |world| world.leader().is_some());
    }

    // ---- what is so

    /// Of all that happened so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.digest.value()
    }

    /// The first thing that was wrong.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Machines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Without machines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether a machine runs.
    #[must_use]
    pub fn runs(&self, host: usize) -> bool {
        self.hosts[host].life.is_some()
    }

    /// Whether it is a server.
    #[must_use]
    pub fn is_server(&self, host: usize) -> bool {
        self.hosts[host].config.server
    }

    /// What readers of a machine see.
    #[must_use]
    pub fn published(&self, host: usize) -> Option<&Arc<Published>> {
        self.hosts[host].life.as_ref().map(|life| &life.published)
    }

    /// The tables of a machine that runs.
    #[must_use]
    pub fn view(&self, host: usize) -> Option<&View> {
        self.published(host).map(|published| &published.view)
    }

    /// Who leads in the highest term, among those that run.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let reign = |host: &usize| self.published(*host).map_or(0, |published| published.reign);
        (0..self.hosts.len()).filter(|host| reign(host) > 0).max_by_key(reign)
    }

    /// Voters, as a server knows them.
    #[must_use]
    pub fn voters(&self, host: usize) -> usize {
        let raft = self.published(host).and_then(|published| published.agent.raft.clone());
        raft.map_or(0, |raft| raft.servers.iter().filter(|server| server.voter).count())
    }

    /// Something is wrong.
    pub fn fail(&mut self, invariant: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let at = Time::from_duration(self.now);
            self.violation = Some(Violation { invariant, at, what: what.into() });
        }
    }

    fn say(&self, host: usize, what: impl Display) {
        if self.trace {
            eprintln!("{:>12.6} {:<6} {what}", self.now.as_secs_f64(), self.hosts[host].identity.node_name);
        }
    }

    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        let scene = Scene { now: self.now, world: &self.hosts };
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(&scene, seen)
                && self.violation.is_none()
            {
                let at = Time::from_duration(self.now);
                self.violation = Some(Violation { invariant: invariant.name(), at, what });
            }
        }
    }

    // ---- what befalls machines

    /// Switches a machine on.
    pub fn start(&mut self, host: usize) {
        if self.runs(host) {
            return;
        }
        let at = &mut self.hosts[host];
        at.boots += 1;
        let boot = Boot {
            config: Arc::clone(&at.config),
            identity: at.identity.clone(),
            recovered: at.disk.recovered(),
            seed: self.rng.next_u64(),
            wall: WALL + self.now,
        };
        let node = match Node::new(boot) {
            Ok((node, _)) => node.with_flaw(self.flaw),
            Err(error) => {
                let what = format!("{} does not start: {error}", at.identity.node_name);
                return self.fail("a crash leaves a disk that can be started from", what);
            }
        };
        let published = node.published();
        let watchers = Watchers::begin(&published.view);
        let (epoch, asked, waiting) = (self.now, BTreeMap::new(), Vec::new());
        (at.paused, at.disk_free, at.disk_next) = (Duration::ZERO, self.now, None);
        at.life = Some(Life { epoch, node, published, watchers, asked, waiting });
        self.say(host, "starts");
        self.call(host, Node::handle_timeout);
    }

    /// Power off.
    pub fn crash(&mut self, host: usize) {
        if self.runs(host) {
            self.say(host, "loses its power");
            self.hosts[host].disk.crash(&mut self.rng);
            self.end(host);
        }
    }

    /// Off, with everything written.
    fn switch_off(&mut self, host: usize) {
        self.say(host, "is off");
        self.hosts[host].disk.land(u64::MAX);
        self.end(host);
    }

    fn end(&mut self, host: usize) {
        let Some(life) = self.hosts[host].life.take() else { return };
        self.hosts[host].leaves = false;
        for (from, boots, call) in life.asked.into_values() {
            let result = Err("connection reset".to_string());
            self.travel(host, from, Some(boots), Travel::Answered { call, result });
        }
        for id in life.waiting {
            self.replies.insert(id, Err(()));
        }
    }

    /// Leaves for good, and switches itself off.
    pub fn leave(&mut self, host: usize) {
        self.hosts[host].leaves = true;
        if let Some(id) = self.send(host, Effect::Agent(AgentRequest::Leave)) {
            self.forget(id);
        }
    }

    /// It was told to leave, and is still there.
    #[must_use]
    pub fn leaves(&self, host: usize) -> bool {
        self.hosts[host].leaves && self.runs(host)
    }

    /// A disk without anything.
    pub fn wipe(&mut self, host: usize) {
        self.hosts[host].disk = super::disk::Disk::default();
    }

    /// It stands still, and goes on as if nothing had been.
    pub fn pause(&mut self, host: usize, span: Duration) {
        self.say(host, format_args!("stands still for {span:?}"));
        self.hosts[host].paused = self.now + span;
    }

    /// From now on a write takes up to so long.
    pub fn slow_disk(&mut self, host: usize, most: Duration) {
        self.hosts[host].disk_latency = most;
    }

    /// One does not hear the other any more.
    pub fn deafen(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// These and all others hear nothing of each other.
    pub fn split(&mut self, off: &[usize]) {
        for a in 0..self.hosts.len() {
            for b in 0..self.hosts.len() {
                if off.contains(&a) != off.contains(&b) {
                    self.cut.insert((a, b));
                }
            }
        }
        if self.trace {
            eprintln!("{:>12.6} cut off: {off:?}", self.now.as_secs_f64());
        }
    }

    /// Everybody hears everybody.
    pub fn heal(&mut self) {
        self.cut.clear();
        (self.loss, self.latency) = (0, MS);
        if self.trace {
            eprintln!("{:>12.6} healed", self.now.as_secs_f64());
        }
    }

    // ---- what clients want

    /// A client asks something of an agent; `None` if that is off.
    pub fn send(&mut self, host: usize, effect: Effect) -> Option<u64> {
        self.requests += 1;
        let id = self.requests;
        self.hosts[host].life.as_mut()?.waiting.push(id);
        self.call(host, |node, now, out| node.handle(now, Event::Request { id: RequestId(id), effect }, out));
        Some(id)
    }

    /// What it was told, once.
    pub fn reply(&mut self, id: u64) -> Option<Reply> {
        self.replies.remove(&id)
    }

    /// Nobody waits for it any more.
    pub fn forget(&mut self, id: u64) {
        for life in self.hosts.iter_mut().filter_map(|host| host.life.as_mut()) {
            life.waiting.retain(|one| *one != id);
        }
        self.replies.remove(&id);
    }

    /// Asks, and waits up to fifteen seconds; status and text. `None`: no answer.
    pub fn ask(&mut self, host: usize, effect: Effect) -> Option<(u16, String)> {
        let id = self.send(host, effect)?;
        for _ in 0..1500 {
            if let Some(reply) = self.reply(id) {
                let response = reply.ok()?;
                return Some((response.status, String::from_utf8_lossy(&response.body).into_owned()));
            }
            self.run(10 * MS);
        }
        self.forget(id);
        None
    }

    // ---- time

    /// Lets time pass, until something is wrong.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.violation.is_none() && self.step(end) {}
        self.now = end;
    }

    /// Waits until something is so; that it does not come in time is wrong.
    pub fn until(&mut self, what: &'static str, limit: Duration, done: impl Fn(&Self) -> bool) {
        self.until_none(what, limit, |world| (!done(world)).then(String::new));
    }

    /// Waits until nothing is in the way any more; if something still is in the end, that is said.
    pub fn until_none(&mut self, what: &'static str, limit: Duration, missing: impl Fn(&Self) -> Option<String>) {
        let end = self.now + limit;
        while self.violation.is_none()
            && let Some(missing) = missing(self)
        {
            if self.now >= end {
                return self.fail("liveness", format!("{what} did not come within {limit:?} {missing}"));
            }
            self.run(50 * MS);
        }
    }

    fn step(&mut self, end: Duration) -> bool {
        let timer = (0..self.hosts.len())
            .filter_map(|host| {
                let at = &self.hosts[host];
                let life = at.life.as_ref()?;
                let due = life.epoch + life.node.poll_timeout()?.at.since_start();
                Some((due.max(at.paused).max(self.now), host))
            })
            .min();
        let travel = self.queue.first_key_value().map(|(key, _)| *key);
        let first = [timer.map(|(at, _)| at), travel.map(|(at, _)| at), Some(self.glance)].into_iter().flatten().min();
        let Some(first) = first.filter(|at| *at <= end) else { return false };
        self.now = self.now.max(first);
        if self.glance <= first {
            self.glance = self.now + GLANCE;
            let mut users = core::mem::take(&mut self.users);
            users.glance(self);
            self.users = users;
        } else if let Some(key) = travel.filter(|(at, _)| *at <= first) {
            if let Some((host, boots, what)) = self.queue.remove(&key) {
                self.arrive(host, boots, what);
            }
        } else if let Some((_, host)) = timer {
            self.again = if self.called_at == self.now { self.again + 1 } else { 0 };
            self.called_at = self.now;
            if self.again > AGAIN {
                let life = self.hosts[host].life.as_ref();
                let reason = life.and_then(|life| life.node.poll_timeout()).map_or("", |due| due.reason);
                let what = format!("{} wants to be called for ever: {reason}", self.hosts[host].identity.node_name);
                self.fail("time goes on", what);
            }
            self.call(host, Node::handle_timeout);
        }
        true
    }

    // ---- the network

    fn queue(&mut self, at: Duration, host: usize, boots: Option<u64>, what: Travel) {
        self.order += 1;
        self.queue.insert((at, self.order), (host, boots, what));
    }

    fn way(&mut self) -> Duration {
        self.latency + self.rng.duration(self.latency)
    }

    /// Over a stream: kept in order, lost only where the way is cut.
    fn travel(&mut self, from: usize, to: usize, boots: Option<u64>, what: Travel) {
        if self.cut.contains(&(from, to)) {
            return;
        }
        let mut at = self.now + self.way();
        // What is lost on a stream is sent again.
        if self.loses() {
            at += 200 * MS;
        }
        let last = self.streams.entry((from, to)).or_default();
        at = at.max(*last);
        *last = at;
        self.queue(at, to, boots, what);
    }

    fn loses(&mut self) -> bool {
        self.loss > 0 && self.rng.below(1_000_000) < u64::from(self.loss)
    }

    fn arrive(&mut self, to: usize, boots: Option<u64>, what: Travel) {
        let host = &self.hosts[to];
        if boots.is_some_and(|boots| boots != host.boots) {
            return;
        }
        if host.life.is_none() {
            return match what {
                Travel::Request { from, life, pool, exchange, .. } => {
                    self.travel(to, from, Some(life), Travel::DialFailed { pool, exchange });
                }
                Travel::Asked { from, life, call, .. } => {
                    let result = Err("connection refused".to_string());
                    self.travel(to, from, Some(life), Travel::Answered { call, result });
                }
                _ => {}
            };
        }
        // The disk goes on, and what comes waits in the socket.
        if host.paused > self.now {
            return self.queue(host.paused, to, boots, what);
        }
        match what {
            Travel::Packet { from, pool, bytes } => {
                self.digest.add(self.now.as_nanos() as u64, 1, to as u32, bytes.len() as u64);
                let event = swim::Event::Datagram { from, bytes: &bytes };
                self.call(to, |node, now, out| node.handle(now, Event::Gossip { pool, event }, out));
            }
            Travel::Request { from, life, pool, exchange, frame } => {
                let stream = swim::StreamId(exchange.0);
                let event = swim::Event::Request { stream, from: SocketAddr::new(ip(from), 40_000), frame: &frame };
                let answer = self.call(to, |node, now, out| node.handle(now, Event::Gossip { pool, event }, out));
                let what = match answer {
                    Some(frame) if !frame.is_empty() => Travel::Response { pool, exchange, frame },
                    _ => Travel::DialFailed { pool, exchange },
                };
                self.travel(to, from, Some(life), what);
            }
            Travel::Response { pool, exchange, frame } => {
                let event = swim::Event::Response { exchange, frame: &frame };
                self.call(to, |node, now, out| node.handle(now, Event::Gossip { pool, event }, out));
            }
            Travel::DialFailed { pool, exchange } => {
                let event = swim::Event::DialFailed { exchange, error: "no connection" };
                self.call(to, |node, now, out| node.handle(now, Event::Gossip { pool, event }, out));
            }
            Travel::Told(body) => {
                if let Body::Raft { from, to: id, message } = *body {
                    self.call(to, |node, now, out| node.handle(now, Event::Raft { from, to: id, message }, out));
                }
            }
            Travel::Asked { from, life, call, ask } => {
                self.order += 1;
                let id = AskId(self.order);
                if let Some(own) = &mut self.hosts[to].life {
                    own.asked.insert(id, (from, life, call));
                }
                self.call(to, |node, now, out| node.handle(now, Event::Asked { id, ask }, out));
            }
            Travel::Answered { call, result } => {
                self.call(to, |node, now, out| node.handle(now, Event::Answered { call, result }, out));
            }
            Travel::Unresolved { lookup } => {
                let result = Err("no such host".to_string());
                self.call(to, |node, now, out| node.handle(now, Event::Resolved { lookup, result }, out));
            }
            Travel::Written { upto } => {
                self.hosts[to].disk.land(upto);
                self.call(to, |node, now, out| node.handle(now, Event::Persisted { upto }, out));
            }
            Travel::Exported { index, tables } => {
                let tables = tables.encode();
                self.call(to, |node, now, out| node.handle(now, Event::Exported { index, tables }, out));
            }
        }
    }

    /// Calls a node and carries out what it wants; the frame it responds with, if it does.
    fn call(&mut self, host: usize, what: impl FnOnce(&mut Node, Time, &mut Out<Action>)) -> Option<Vec<u8>> {
        let at = &mut self.hosts[host];
        let life = at.life.as_mut()?;
        let mut out = Out::new();
        self.events += 1;
        let local = life.local(self.now);
        what(&mut life.node, local, &mut out);
        self.digest.add(self.now.as_nanos() as u64, 2, host as u32, life.published.view.index());
        let boots = at.boots;
        let packets: Vec<_> = out.datagrams().map(|packet| (packet.lane, packet.to, packet.bytes.to_vec())).collect();
        out.clear_datagrams();
        for (lane, to, bytes) in packets {
            let pool = if to.port() == 8302 { Pool::Wan } else { Pool::Lan };
            let from = SocketAddr::new(ip(host), 8301 + u16::from(lane));
            let Some(to) = host_of(to).filter(|to| *to < self.hosts.len() && !self.cut.contains(&(host, *to))) else {
                continue;
            };
            if !self.loses() {
                let at = self.now + self.way();
                self.queue(at, to, None, Travel::Packet { from, pool, bytes });
            }
        }
        let mut frame = None;
        let mut wrote = None;
        for action in out.drain_actions() {
            match action {
                Action::Respond { frame: answer, .. } => frame = Some(answer),
                Action::Persist(write) => {
                    wrote = Some(write.seq);
                    self.hosts[host].disk.take(write);
                }
                action => self.carry_out(host, boots, action),
            }
        }
        if let Some(upto) = wrote {
            let most = self.hosts[host].disk_latency;
            let took = most / 4 + self.rng.duration(most);
            let landed = self.hosts[host].lands(self.now, took);
            self.queue(landed, host, Some(boots), Travel::Written { upto });
        }
        frame
    }

    fn carry_out(&mut self, host: usize, boots: u64, action: Action) {
        match action {
            Action::Reply { id, response } => {
                let life = self.hosts[host].life.as_mut();
                if life.is_some_and(|life| {
                    let before = life.waiting.len();
                    life.waiting.retain(|one| *one != id.0);
                    life.waiting.len() < before
                }) {
                    self.replies.insert(id.0, Ok(response));
                }
            }
            Action::Publish { published, changes, replaced, .. } => {
                let server = self.hosts[host].config.server;
                let Some(life) = &mut self.hosts[host].life else { return };
                let seen = if server { life.watchers.published(&published.view, &changes, replaced) } else { Ok(()) };
                let before = core::mem::replace(&mut life.published, published);
                if before.reign != life.published.reign {
                    let reign = life.published.reign;
                    self.say(host, format_args!("reign {reign}"));
                }
                if let Err(what) = seen {
                    let name = self.hosts[host].identity.node_name.clone();
                    self.fail("watches", format!("{name}: {what}"));
                }
                self.see(&Seen::Published { host });
            }
            Action::Dial { pool, exchange, to, frame, limit } => {
                if let Some(to) = host_of(to).filter(|to| *to < self.hosts.len()) {
                    self.travel(host, to, None, Travel::Request { from: host, life: boots, pool, exchange, frame });
                }
                let late = self.now + limit;
                self.queue(late, host, Some(boots), Travel::DialFailed { pool, exchange });
            }
            Action::Resolve { lookup, .. } => {
                let at = self.now + MS;
                self.queue(at, host, Some(boots), Travel::Unresolved { lookup });
            }
            Action::Export { index, tables } => {
                // Much may happen meanwhile.
                let at = self.now + self.rng.duration(100 * MS);
                self.queue(at, host, Some(boots), Travel::Exported { index, tables });
            }
            Action::Tell { to, body } => {
                if let Some(to) = self.server_at(to) {
                    self.travel(host, to, None, Travel::Told(body));
                }
            }
            Action::Ask { call, to, ask, limit } => {
                if let Some(to) = self.server_at(to) {
                    self.travel(host, to, None, Travel::Asked { from: host, life: boots, call, ask });
                }
                let late = self.now + limit;
                let result = Err("no answer in time".to_string());
                self.queue(late, host, Some(boots), Travel::Answered { call, result });
            }
            Action::Answer { id, answer } => {
                let asked = self.hosts[host].life.as_mut().and_then(|life| life.asked.remove(&id));
                if let Some((to, life, call)) = asked {
                    self.travel(host, to, Some(life), Travel::Answered { call, result: Ok(answer) });
                }
            }
            Action::Exit { code: 0 } if self.hosts[host].leaves => self.switch_off(host),
            Action::Exit { code } => {
                self.fail(
                    "nobody exits by itself",
                    format!("{} exits with {code}", self.hosts[host].identity.node_name),
                );
            }
            Action::Log { level, message, .. } => {
                if self.trace && level >= Level::Debug {
                    self.say(host, message);
                }
            }
            Action::RunCheck { .. }
            | Action::CancelCheck { .. }
            | Action::LoadConfig
            | Action::Reconfigure(_)
            | Action::Ready
            | Action::Persist(_)
            | Action::Respond { .. } => {}
        }
    }

    fn server_at(&self, at: SocketAddr) -> Option<usize> {
        host_of(at).filter(|host| at.port() == 8300 && *host < self.hosts.len())
    }
}
