//! Time passes: messages arrive, disks are done, timers fire, clients ask, and invariants look on.

use std::time::Duration;

use convoke_kit::{Rng, Time};
use convoke_raft::{Config, Membership, Message, NodeId};

use super::bug::{Bug, Planted};
use super::checker::Record;
use super::client::{Client, Habits, Next};
use super::disk::{Progress, Tear};
use super::faults::{Kind, Tally};
use super::invariant::{self, Invariant, Scene, Seen, Violation};
use super::kv::Op;
use super::queue::Queue;
use super::server::{Ask, Effect, Reply, Request, Server};
use super::slot::{Clock, Held, Life, Slot};
use crate::digest::{Digest, fold};
use crate::network::{Fate, Link, Network};

/// Nodes of the network from here on are clients.
const CLIENTS: u32 = 64;
/// What waits for a server that stands still; more is lost.
const HELD: usize = 4096;
/// Who asks but is no client: operators, and those who only look.
pub(super) const OPERATOR: u32 = u32::MAX;
const WATCHER: u32 = u32::MAX - 1;

#[derive(Debug)]
enum Happening {
    Timer(usize),
    Disk(usize),
    Message {
        from: NodeId,
        to: NodeId,
        number: u64,
        message: Message,
    },
    Request {
        to: usize,
        request: Request,
    },
    Reply {
        client: usize,
        number: u64,
        reply: Reply,
    },
    Patience {
        client: usize,
        number: u64,
        attempt: u32,
    },
    Ask {
        client: usize,
        number: u64,
    },
    Begin(usize),
    Look,
    Restart(usize),
    Resume(usize),
    /// The planted bugs that report a write before it is durable.
    Early {
        to: usize,
        start: u64,
        seq: u64,
        number: u64,
    },
}

/// Servers, clients, and what is between them.
#[derive(Debug)]
pub struct World {
    /// Nanoseconds since the beginning.
    pub now: u64,
    /// Of everything but the machines.
    pub rng: Rng,
    /// Between all.
    pub network: Network,
    /// Where servers live.
    pub slots: Vec<Slot>,
    /// Those who use them.
    pub clients: Vec<Client>,
    /// What went wrong, and how often.
    pub tally: Tally,
    /// What clients saw.
    pub history: Vec<Record>,
    /// The bug that is put back.
    pub planted: Option<Planted>,
    /// What a link takes at most when nothing is wrong, in nanoseconds; more is late.
    pub usual_delay: u64,
    queue: Queue<Happening>,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    effects: Vec<Effect>,
    digest: Digest,
    seed: u64,
    trace: bool,
    tickets: u64,
    sent: u64,
    /// Of each pair of servers: the number of the last message that arrived.
    arrived: Vec<u64>,
    next_id: u128,
    /// Events so far.
    pub events: u64,
    pub(super) looking: bool,
    /// Serials of the commands that scenarios give by themselves.
    pub(super) tickets_of_scenarios: u64,
    /// Answers to the operator: tickets done, in order.
    pub(super) done: Vec<(u64, Reply)>,
}

/// How a world begins.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Of all randomness.
    pub seed: u64,
    /// Servers that begin as voters.
    pub voters: usize,
    /// Servers that know nothing.
    pub spares: usize,
    /// Of the machines.
    pub config: Config,
    /// A bug to put back.
    pub planted: Option<Planted>,
    /// Servers are driven as in the agent, and not plainly; a bug of the plain driver is put back into that one in any case.
    pub agent: bool,
    /// Write what happens to stderr.
    pub trace: bool,
}

impl World {
    /// Servers with equal clocks, a good network and good disks; the voters are a cluster.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let n = spec.voters + spec.spares;
        let mut world = Self {
            now: 0,
            rng: Rng::new(spec.seed),
            network: Network::new(Link::LAN),
            slots: Vec::new(),
            clients: Vec::new(),
            tally: Tally::default(),
            history: Vec::new(),
            planted: spec.planted,
            usual_delay: 1_000_000,
            queue: Queue::default(),
            invariants: invariant::all(),
            violation: None,
            effects: Vec::new(),
            digest: Digest::new(spec.seed),
            seed: spec.seed,
            trace: spec.trace,
            tickets: 0,
            sent: 0,
            arrived: vec![0; n * n],
            next_id: n as u128 + 1,
            events: 0,
            looking: false,
            tickets_of_scenarios: 0,
            done: Vec::new(),
        };
        for at in 0..n {
            let clock = Clock { skew: 0, rate: 1000 };
            let mut slot = Slot::new(NodeId(at as u128 + 1), spec.config.clone(), clock);
            slot.disk.latency = (Duration::from_micros(200), Duration::from_micros(600));
            slot.disk.bug = world.bug();
            slot.agent = spec.agent && !world.bug().is_some_and(Bug::is_of_plain_driver);
            world.slots.push(slot);
        }
        (0..n).for_each(|at| world.restart(at));
        let members = Membership::of_voters((0..spec.voters).map(|at| NodeId(at as u128 + 1)));
        for at in 0..spec.voters {
            world.ask(at, Ask::Bootstrap(members.clone()));
        }
        world
    }

    /// Gives all servers other clocks. Only at the beginning.
    pub fn set_clocks(&mut self, mut clock: impl FnMut(&mut Rng) -> Clock) {
        for at in 0..self.slots.len() {
            self.slots[at].clock = clock(&mut self.rng);
            self.wind(at);
        }
    }

    pub(super) fn bug(&self) -> Option<Bug> {
        match self.planted {
            Some(Planted::Bug(bug)) => Some(bug),
            _ => None,
        }
    }

    /// The hash of everything that happened.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.digest.value()
    }

    /// The first thing that was wrong.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The time of the world.
    #[must_use]
    pub const fn time(&self) -> Time {
        Time::from_nanos(self.now)
    }

    /// Something is wrong.
    pub fn violate(&mut self, invariant: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let violation = Violation { invariant, at: self.time(), what: what.into() };
            self.say(|| format!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    /// A line of the timeline.
    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>12.6} {}", self.now as f64 / 1e9, what());
        }
    }

    fn see(&mut self, seen: &Seen<'_>) {
        if self.violation.is_some() {
            return;
        }
        let scene = Scene { now: self.now, slots: &self.slots };
        for rule in &mut self.invariants {
            if let Err(what) = rule.see(&scene, seen) {
                let name = rule.name();
                return self.violate(name, what);
            }
        }
    }

    /// All was healed for long enough: what must hold in the end?
    pub fn judge_the_end(&mut self) {
        self.see(&Seen::Healed);
    }

    // ---- time

    /// Lets so much time pass, or less if something is wrong.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span.as_nanos() as u64;
        while self.violation.is_none()
            && let Some((at, happening)) = self.queue.pop(end)
        {
            self.now = at;
            self.events += 1;
            self.happen(happening);
        }
        if self.violation.is_none() {
            self.now = end;
        }
    }

    /// Lets time pass until something holds, looked at every `step`. Says whether it came to hold in time.
    pub fn run_until(&mut self, limit: Duration, step: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit.as_nanos() as u64;
        loop {
            if holds(self) {
                return true;
            }
            if self.now >= end || self.violation.is_some() {
                return false;
            }
            self.run(step);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Timer(at) => self.timer(at),
            Happening::Disk(at) => self.disk(at),
            Happening::Message { from, to, number, message } => self.arrive(from, to, number, message),
            Happening::Request { to, request } => self.deliver(to, Held::Request(request)),
            Happening::Reply { client, number, reply } => self.reply(client, number, &reply),
            Happening::Patience { client, number, attempt } => self.patience(client, number, attempt),
            Happening::Ask { client, number } => self.client_asks(client, number),
            Happening::Begin(client) => self.begin(client),
            Happening::Look => self.look(),
            Happening::Restart(at) => self.restart(at),
            Happening::Resume(at) => self.resume(at),
            Happening::Early { to, start, seq, number } => {
                if self.slots[to].starts == start {
                    self.deliver(to, Held::Durable(seq, number));
                }
            }
        }
    }

    fn timer(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.timer_at != self.now {
            return;
        }
        slot.timer_at = u64::MAX;
        if slot.paused {
            return;
        }
        let Some(deadline) = slot.server.as_ref().and_then(Server::deadline) else { return };
        if slot.clock.when(deadline) > self.now {
            return self.wind(at);
        }
        self.with(at, 1, Server::timeout);
    }

    /// Sets the timer of a server.
    fn wind(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(deadline) = slot.server.as_ref().and_then(Server::deadline) else { return };
        if slot.paused {
            return;
        }
        let when = slot.clock.when(deadline).max(self.now);
        if when < slot.timer_at {
            slot.timer_at = when;
            self.queue.push(when, Happening::Timer(at));
        }
    }

    /// Lets a server do something, and draws the consequences.
    fn with(&mut self, at: usize, kind: u64, act: impl FnOnce(&mut Server, Time, &mut Vec<Effect>)) {
        let slot = &mut self.slots[at];
        let local = slot.clock.at(self.now);
        let Some(server) = slot.server.as_mut() else { return };
        let mut effects = std::mem::take(&mut self.effects);
        act(server, local, &mut effects);
        let raft = server.raft();
        let what = fold(
            raft.term() ^ raft.commit() << 20,
            raft.last().index ^ raft.applied() << 20 ^ (effects.len() as u64) << 50,
        );
        self.digest.add(self.now, kind, at as u32, what);
        // Who leads is known before what it does.
        if slot.leads() {
            let term = slot.server.as_ref().map_or(0, |server| server.raft().term());
            if slot.led != term {
                slot.led = term;
                self.see(&Seen::Leads(at));
            }
        } else {
            slot.led = 0;
        }
        for effect in effects.drain(..) {
            self.carry_out(at, effect);
        }
        self.effects = effects;
        self.see(&Seen::Handled(at));
        self.wind(at);
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Write { steps, persist, number } => {
                self.see(&Seen::Wrote(at, &persist));
                let bug = self.bug();
                let slot = &mut self.slots[at];
                let limit = match bug {
                    Some(Bug::FullDiskFails) => slot.disk.quota,
                    _ => slot.disk.quota.map(|quota| quota + super::disk::RESERVE),
                };
                if limit.is_some_and(|limit| slot.disk.bytes() > limit) {
                    slot.disk.fails = true;
                }
                let seq = persist.seq;
                slot.disk.submit(self.now, &mut self.rng, steps, persist, number);
                if matches!(bug, Some(Bug::ReportedEarly | Bug::DiskLies)) {
                    let start = slot.starts;
                    self.queue.push(self.now, Happening::Early { to: at, start, seq, number });
                }
                self.wind_disk(at);
            }
            Effect::Send { to, message } => self.send(at, to, message),
            Effect::Answer { request, reply } => self.answer(at, &request, reply),
            Effect::Applied { entry, hash } => {
                self.digest.add(self.now, 2, at as u32, hash);
                self.see(&Seen::Applied(at, &entry, hash));
            }
            Effect::Installed { position, hash } => {
                self.say(|| format!("s{at} installs {position:?}"));
                self.tally.add(Kind::SnapshotInstalled);
                self.see(&Seen::Installed(at, position, hash));
            }
            Effect::Role { role, term, leader } => {
                self.say(|| format!("s{at} is {role:?} in term {term}, leader {leader:?}"));
            }
            Effect::Halted => {
                self.slots[at].halted = true;
                self.say(|| format!("s{at} halts"));
                self.see(&Seen::Halted(at));
            }
        }
    }

    // ---- the network

    fn place(&self, id: NodeId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.id == id)
    }

    fn send(&mut self, from: usize, to: NodeId, message: Message) {
        let Some(at) = self.place(to) else { return };
        let id = self.slots[from].id;
        self.sent += 1;
        let number = self.sent;
        let fate = self.network.packet(&mut self.rng, from as u32, at as u32, self.now);
        self.count(fate, self.network.reaches(from as u32, at as u32));
        match fate {
            Fate::Lost => {}
            Fate::Once(delay) => {
                self.queue.push(self.now + delay, Happening::Message { from: id, to, number, message });
            }
            Fate::Twice(delay, again) => {
                let copy = message.clone();
                self.queue.push(self.now + delay, Happening::Message { from: id, to, number, message });
                self.queue.push(self.now + again, Happening::Message { from: id, to, number, message: copy });
            }
        }
    }

    fn count(&mut self, fate: Fate, reaches: bool) {
        match fate {
            Fate::Lost => self.tally.add(if reaches { Kind::Lost } else { Kind::CutOff }),
            Fate::Once(delay) if delay > self.usual_delay => self.tally.add(Kind::Late),
            Fate::Once(_) => {}
            Fate::Twice(..) => self.tally.add(Kind::Doubled),
        }
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, number: u64, message: Message) {
        let (Some(at), Some(sender)) = (self.place(to), self.place(from)) else { return };
        let last = &mut self.arrived[sender * self.slots.len() + at];
        if number < *last {
            self.tally.add(Kind::Overtaken);
        }
        *last = number.max(*last);
        self.deliver(at, Held::Message(from, message));
    }

    fn deliver(&mut self, at: usize, what: Held) {
        let slot = &mut self.slots[at];
        if slot.server.is_none() {
            return;
        }
        if slot.paused {
            // The disk's word is not lost, whatever else is.
            if slot.held.len() < HELD || matches!(what, Held::Durable(..) | Held::Failed) {
                slot.held.push_back(what);
            }
            return;
        }
        match what {
            Held::Message(from, message) => {
                self.with(at, 3, |server, now, effects| server.message(now, from, message, effects));
            }
            Held::Request(request) => self.with(at, 4, |server, now, effects| server.request(now, request, effects)),
            Held::Durable(seq, number) => {
                self.with(at, 5, |server, now, effects| server.persisted(now, seq, number, effects));
            }
            Held::Failed => self.with(at, 6, Server::failed),
        }
    }

    fn answer(&mut self, at: usize, request: &Request, reply: Reply) {
        if let (Ask::Stale { .. } | Ask::Watch { .. }, Reply::Cell { index, .. }) = (&request.ask, &reply) {
            return self.see(&Seen::Watched(at, *index));
        }
        if matches!(reply, Reply::Told(_)) {
            self.see(&Seen::Acknowledged(at));
        }
        if request.client == OPERATOR {
            return self.done.push((request.ticket, reply));
        }
        let client = request.client as usize - 1;
        let node = CLIENTS + request.client;
        if let Fate::Once(delay) | Fate::Twice(delay, _) = self.network.packet(&mut self.rng, at as u32, node, self.now)
        {
            self.queue.push(self.now + delay, Happening::Reply { client, number: request.number, reply });
        }
    }

    // ---- disks

    fn wind_disk(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(when) = slot.disk.next().map(|when| when.max(self.now)) else { return };
        if slot.disk_at == u64::MAX {
            slot.disk_at = when;
            self.queue.push(when, Happening::Disk(at));
        }
    }

    /// The disk's next step is done when it would have been without a stall.
    pub(super) fn unstall(&mut self, at: usize) {
        self.slots[at].disk_at = u64::MAX;
        self.wind_disk(at);
    }

    fn disk(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.disk_at != self.now {
            return;
        }
        slot.disk_at = u64::MAX;
        let Some(when) = slot.disk.next() else { return };
        if when > self.now {
            return self.wind_disk(at);
        }
        if let Some(left) = slot.armed
            && (slot.disk.replaces() || !slot.armed_for_replace)
        {
            // Of replacements there are few.
            let left = if slot.armed_for_replace { left.min(1) } else { left };
            slot.armed = left.checked_sub(1);
            if left == 0 {
                return self.crash_at_step(at);
            }
        }
        let slot = &mut self.slots[at];
        let progress = slot.disk.advance(self.now, &mut self.rng);
        self.digest.add(self.now, 7, at as u32, slot.disk.bytes() as u64);
        match progress {
            Progress::Step => {}
            Progress::Durable { seq, number } => self.deliver(at, Held::Durable(seq, number)),
            Progress::Failed => {
                self.tally.add(Kind::WriteFailed);
                self.deliver(at, Held::Failed);
            }
        }
        self.tell_space(at);
        self.wind_disk(at);
    }

    /// The server crashes at a step of its disk: before it, in its middle, or behind it.
    fn crash_at_step(&mut self, at: usize) {
        let replaces = self.slots[at].disk.replaces();
        self.tally.add(if replaces { Kind::CrashAtReplace } else { Kind::CrashAtWrite });
        if self.rng.one_in(2) {
            // The step is done, and nobody was told.
            self.slots[at].disk.advance(self.now, &mut self.rng);
        }
        let tear = self.tear();
        self.crash(at, tear);
        let after = self.rng.duration(Duration::from_secs(3));
        self.restart_in(at, after);
    }

    /// Tells a server whether its disk has space, if that is news.
    pub(super) fn tell_space(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let full = slot.disk.is_full();
        if slot.told_full == full || !slot.is_awake() || self.planted == Some(Planted::Bug(Bug::FullDiskFails)) {
            return;
        }
        slot.told_full = full;
        if full {
            self.tally.add(Kind::DiskFull);
        }
        self.with(at, 8, |server, now, effects| server.disk_full(now, full, effects));
    }

    // ---- lives

    pub(super) fn tear(&mut self) -> Tear {
        [Tear::Nothing, Tear::Nothing, Tear::Front, Tear::Sectors, Tear::All][self.rng.index(5)]
    }

    /// The server is no more, and the power of its disk is cut.
    pub fn crash(&mut self, at: usize, tear: Tear) {
        if self.slots[at].server.is_none() {
            return;
        }
        self.see(&Seen::Ends(at));
        self.say(|| format!("s{at} crashes: {tear:?}"));
        self.tally.add(Kind::Crash);
        let slot = &mut self.slots[at];
        slot.server = None;
        slot.life = Life::Down;
        slot.paused = false;
        slot.halted = false;
        slot.told_full = false;
        slot.cursed = false;
        slot.armed = None;
        slot.led = 0;
        slot.held.clear();
        let (lost, torn) = slot.disk.crash(&mut self.rng, tear);
        if lost {
            self.tally.add(Kind::WritesLost);
        }
        if torn {
            self.tally.add(Kind::Torn);
        }
    }

    /// Starts the server after a while.
    pub fn restart_in(&mut self, at: usize, after: Duration) {
        self.queue.push(self.now + after.as_nanos() as u64, Happening::Restart(at));
    }

    /// Starts the server, if it is down.
    pub fn restart(&mut self, at: usize) {
        if self.slots[at].life != Life::Down {
            return;
        }
        if self.slots[at].unreadable_until > self.now {
            self.tally.add(Kind::ReadFailed);
            let after = self.rng.duration(Duration::from_secs(1));
            return self.restart_in(at, after);
        }
        let slot = &mut self.slots[at];
        slot.starts += 1;
        let seed = fold(self.seed ^ slot.starts << 32, at as u64 + 1);
        let before = slot.disk.mirror.clone();
        let started = Server::start(slot.id, &mut slot.disk, slot.config.clone(), seed, self.planted, slot.agent);
        let (first, rotten) = (slot.starts == 1, slot.rotten);
        match started {
            Ok(_) if rotten => self.violate("rot is noticed", format!("s{at} starts from a disk that has rotted")),
            Ok(server) => {
                slot.server = Some(server);
                slot.life = Life::Up;
                slot.timer_at = u64::MAX;
                if !first {
                    self.tally.add(Kind::Restart);
                    self.say(|| format!("s{at} starts"));
                }
                self.see(&Seen::Starts(at, &before));
                self.with(at, 9, Server::timeout);
                self.tell_space(at);
            }
            Err(error) if rotten => {
                self.say(|| format!("s{at} does not start: {error}"));
                self.tally.add(Kind::Rot);
                self.slots[at].life = Life::Broken;
            }
            Err(error) => self.violate("a crash leaves a disk that can be started from", format!("s{at}: {error}")),
        }
    }

    /// Puts an empty disk in, and another server with it.
    pub fn replace_disk(&mut self, at: usize) {
        let id = if self.bug() == Some(Bug::SameNameAfterLoss) { self.slots[at].id } else { NodeId(self.next_id) };
        self.next_id += 1;
        self.tally.add(Kind::DiskReplaced);
        self.say(|| format!("s{at} gets an empty disk, and is {id:?}"));
        let slot = &mut self.slots[at];
        slot.id = id;
        slot.disk.replace();
        slot.rotten = false;
        slot.life = Life::Down;
        self.restart(at);
    }

    /// The process stands still.
    pub fn pause(&mut self, at: usize) {
        if self.slots[at].is_awake() {
            self.slots[at].paused = true;
            self.slots[at].timer_at = u64::MAX;
            self.tally.add(Kind::Pause);
            self.say(|| format!("s{at} stands still"));
        }
    }

    /// It goes on after a while.
    pub fn resume_in(&mut self, at: usize, after: Duration) {
        self.queue.push(self.now + after.as_nanos() as u64, Happening::Resume(at));
    }

    /// It goes on: what waited is handled late, before or behind its timers.
    pub fn resume(&mut self, at: usize) {
        if !self.slots[at].paused {
            return;
        }
        self.say(|| format!("s{at} goes on"));
        self.slots[at].paused = false;
        if self.rng.one_in(2) {
            self.with(at, 10, Server::timeout);
        }
        while let Some(held) = self.slots[at].held.pop_front() {
            self.deliver(at, held);
        }
        self.wind(at);
        self.tell_space(at);
    }

    // ---- those who ask

    /// Asks a server something as its operator; the ticket.
    pub fn ask(&mut self, at: usize, ask: Ask) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.deliver(at, Held::Request(Request { ticket, client: OPERATOR, number: 0, ask }));
        ticket
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self, ticket: u64) -> Option<&Reply> {
        self.done.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply)
    }

    /// One more client, which begins soon.
    pub fn add_client(&mut self, habits: Habits) {
        let client = self.clients.len();
        self.clients.push(Client::new(client as u32 + 1, habits));
        let after = self.rng.duration(habits.pace).as_nanos() as u64;
        self.queue.push(self.now + after, Happening::Begin(client));
    }

    /// From now on somebody looks at servers, and waits for changes.
    pub fn look_on(&mut self) {
        if !self.looking {
            self.looking = true;
            self.queue.push(self.now, Happening::Look);
        }
    }

    fn look(&mut self) {
        if !self.looking {
            return;
        }
        let at = self.rng.index(self.slots.len());
        let known = self.slots[at].server.as_ref().and_then(|server| server.kv().keys().last()).unwrap_or(0);
        let key = known.saturating_sub(self.rng.below(3) as u32);
        let since = self.slots[at].server.as_ref().map_or(0, |server| server.kv().get(key).index);
        let ask = if self.rng.one_in(2) { Ask::Stale { key } } else { Ask::Watch { key, since } };
        self.tickets += 1;
        let request = Request { ticket: self.tickets, client: WATCHER, number: 0, ask };
        self.deliver(at, Held::Request(request));
        let after = self.rng.duration(Duration::from_millis(400)).as_nanos() as u64;
        self.queue.push(self.now + after, Happening::Look);
    }

    fn begin(&mut self, client: usize) {
        let servers = self.slots.len();
        let it = &mut self.clients[client];
        if it.stopped || it.is_busy() {
            return;
        }
        let next = it.begin(self.now, &mut self.rng, servers);
        self.go_on(client, next);
    }

    /// A client does this next.
    pub fn client_does(&mut self, client: usize, key: u32, op: Op, mode: convoke_raft::ReadMode) {
        self.clients[client].start(self.now, key, op, mode);
        let number = self.clients[client].number;
        self.client_asks(client, number);
    }

    fn go_on(&mut self, client: usize, next: Next) {
        let number = self.clients[client].number;
        match next {
            Next::Ask(_) => self.client_asks(client, number),
            Next::Later(after) => {
                self.queue.push(self.now + after.as_nanos() as u64, Happening::Ask { client, number });
            }
            Next::Idle(after) => self.queue.push(self.now + after.as_nanos() as u64, Happening::Begin(client)),
        }
    }

    fn client_asks(&mut self, client: usize, number: u64) {
        let it = &mut self.clients[client];
        if it.number != number {
            return;
        }
        let Some(ask) = it.ask() else { return };
        let (to, attempt, patience, id) = (it.target(), it.attempts(), it.patience(), it.id);
        if attempt > 1 {
            self.tally.add(Kind::ClientRetry);
        }
        self.tickets += 1;
        let request = Request { ticket: self.tickets, client: id, number, ask };
        self.queue.push(self.now + patience.as_nanos() as u64, Happening::Patience { client, number, attempt });
        if let Fate::Once(delay) | Fate::Twice(delay, _) =
            self.network.packet(&mut self.rng, CLIENTS + id, to as u32, self.now)
        {
            self.queue.push(self.now + delay, Happening::Request { to, request });
        }
    }

    fn reply(&mut self, client: usize, number: u64, reply: &Reply) {
        let (slots, servers) = (&self.slots, self.slots.len());
        let it = &mut self.clients[client];
        if it.number != number || !it.is_busy() {
            return;
        }
        let place = |id: NodeId| slots.iter().position(|slot| slot.id == id);
        let next = it.answered(self.now, &mut self.rng, reply, place, servers, &mut self.history);
        self.go_on(client, next);
    }

    fn patience(&mut self, client: usize, number: u64, attempt: u32) {
        let servers = self.slots.len();
        let it = &mut self.clients[client];
        if it.number != number || !it.is_busy() || it.attempts() != attempt {
            return;
        }
        self.tally.add(Kind::ClientTimeout);
        let next = it.timed_out(&mut self.rng, servers, &mut self.history);
        self.go_on(client, next);
    }

    /// Clients begin nothing new.
    pub fn stop_clients(&mut self) {
        self.clients.iter_mut().for_each(|client| client.stopped = true);
        self.looking = false;
    }

    /// Clients that still wait give up.
    pub fn close(&mut self) {
        for client in &mut self.clients {
            client.give_up(&mut self.rng, &mut self.history);
        }
    }

    // ---- looking

    /// Who leads the highest term.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let term = |at: &usize| self.slots[*at].server.as_ref().map_or(0, |server| server.raft().term());
        (0..self.slots.len()).filter(|at| self.slots[*at].leads()).max_by_key(term)
    }

    /// A client's node in the network.
    #[must_use]
    pub const fn node_of_client(client: u32) -> u32 {
        CLIENTS + client
    }
}
