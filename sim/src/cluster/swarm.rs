//! Lives drawn from seeds: agents and clients, faults of kinds and strengths that the seed decides, then healing, after
//! which everything must be as it should be within the times that `scenario::settle` has.

use std::time::Duration;

use convoke_core::flaw::Flaw;
use convoke_kit::Rng;

use super::Violation;
use super::host::{client, server};
use super::scenario::{anchor, deregister, register, settle};
use super::users::Habit;
use super::world::{MS, SECOND, World};

/// What befalls agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Power off, and on again after a while.
    Crash,
    /// The same, of who leads.
    CrashLeader,
    /// The same, of all at once.
    CrashAll,
    /// It stands still.
    Pause,
    /// Some and the others do not hear each other.
    Split,
    /// One does not hear another.
    Deafen,
    /// All is heard again.
    Heal,
    /// Packets are lost.
    Loss,
    /// Ways are long.
    Latency,
    /// A disk is slow.
    SlowDisk,
    /// An agent has a service, or another port for it.
    Register,
    /// It has it no more.
    Deregister,
    /// An agent leaves, and is started again after a while.
    Leave,
    /// One more agent.
    Arrive,
    /// A machine is replaced by one of the same name and address, with another id and an empty disk.
    Replace,
}

/// All of them.
pub const KINDS: [Kind; 15] = [
    Kind::Crash,
    Kind::CrashLeader,
    Kind::CrashAll,
    Kind::Pause,
    Kind::Split,
    Kind::Deafen,
    Kind::Heal,
    Kind::Loss,
    Kind::Latency,
    Kind::SlowDisk,
    Kind::Register,
    Kind::Deregister,
    Kind::Leave,
    Kind::Arrive,
    Kind::Replace,
];

/// How often each happened, as [`KINDS`] lists them.
pub type Tally = [u64; KINDS.len()];

/// What a life depends on, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of all randomness.
    pub seed: u64,
    /// How long faults happen.
    pub span: Duration,
    /// A bug to put back into every agent.
    pub flaw: Option<Flaw>,
    /// Write what happens to stderr.
    pub trace: bool,
}

/// A life in which all was well.
#[derive(Clone, Copy, Debug)]
pub struct Lived {
    /// Of all that happened.
    pub hash: u64,
    /// Calls of agents.
    pub events: u64,
    /// Answers that clients had.
    pub answered: u64,
    /// Requests without an answer.
    pub unknown: u64,
    /// Faults.
    pub tally: Tally,
}

/// Who did not find anybody tries again.
const AGAIN: Duration = Duration::from_secs(5);
/// Most agents in a life.
const MOST: usize = 9;
/// A machine is replaced when the others are well, and they are left alone until it has its place.
const SETTLED: Duration = Duration::from_secs(90);

struct Life {
    world: World,
    rng: Rng,
    servers: usize,
    /// Of the kinds.
    weights: [u64; KINDS.len()],
    tally: Tally,
    /// When who is off is switched on.
    back: Vec<(Duration, usize)>,
    /// Between two faults, at most.
    pace: Duration,
    /// Ports so far.
    port: u16,
}

/// Lives one.
///
/// # Errors
///
/// What was wrong first.
pub fn live(options: &Options) -> Result<Lived, Violation> {
    let mut rng = Rng::new(options.seed).fork();
    let mut world = World::new(options.seed, options.flaw, options.trace);
    let servers = if rng.one_in(3) { 5 } else { 3 };
    for number in 0..servers {
        let mut config = server(servers as u32);
        config.raft.snapshot_threshold = 15 + rng.below(400);
        config.raft.trailing_logs = 2 + rng.below(60);
        config.retry_join.interval = AGAIN;
        world.add(&format!("s{number}"), config);
    }
    let weights = core::array::from_fn(|_| if rng.one_in(3) { 0 } else { 1 + rng.below(8) });
    let pace = 500 * MS + rng.duration(12 * SECOND);
    let mut life = Life { world, rng, servers, weights, tally: [0; KINDS.len()], back: Vec::new(), pace, port: 0 };
    life.begin();
    let end = life.world.now + options.span;
    while life.world.now < end && life.world.violation().is_none() {
        life.step();
    }
    life.finish();
    match life.world.violation() {
        Some(violation) => Err(violation.clone()),
        None => {
            let (answered, unknown) = life.world.served();
            let (hash, events) = (life.world.hash(), life.world.events);
            Ok(Lived { hash, events, answered, unknown, tally: life.tally })
        }
    }
}

impl World {
    fn id(&self, host: usize) -> &str {
        &self.hosts[host].identity.node_id
    }

    /// Another machine in its place.
    fn replace(&mut self, host: usize) {
        self.wipe(host);
        let at = &mut self.hosts[host];
        at.identity.node_id = format!("00000000-0000-0000-{:04}-0000000000{host:02}", at.boots);
    }
}

impl Life {
    fn begin(&mut self) {
        self.world.until("a first leader", 60 * SECOND, |world| world.leader().is_some());
        if self.world.violation().is_none() {
            anchor(&mut self.world);
        }
        for _ in 0..self.rng.index(3) {
            self.arrive();
        }
        const HABITS: [Habit; 4] = [Habit::Renews, Habit::LetsGo, Habit::Locks, Habit::Writes];
        for habit in HABITS {
            (0..self.rng.index(3)).for_each(|_| self.world.user(habit));
        }
    }

    fn step(&mut self) {
        let pause = self.rng.duration(self.pace);
        let until = self.world.now + pause;
        while let Some(at) = self.next_back().filter(|at| *at <= until) {
            self.world.run(at.saturating_sub(self.world.now));
            self.switch_on(at);
        }
        self.world.run(until.saturating_sub(self.world.now));
        let all: u64 = self.weights.iter().sum();
        let mut at = self.rng.below(all.max(1));
        for (number, kind) in KINDS.into_iter().enumerate() {
            let weight = self.weights[number];
            if at < weight {
                if self.befall(kind) {
                    self.tally[number] += 1;
                }
                return;
            }
            at -= weight;
        }
    }

    fn next_back(&self) -> Option<Duration> {
        self.back.iter().map(|(at, _)| *at).min()
    }

    fn switch_on(&mut self, now: Duration) {
        let (due, later) = self.back.iter().copied().partition::<Vec<_>, _>(|(at, _)| *at <= now);
        self.back = later;
        due.into_iter().for_each(|(_, host)| self.world.start(host));
    }

    fn off(&mut self, host: usize) {
        self.world.crash(host);
        let at = self.world.now + MS + self.rng.duration(20 * SECOND);
        self.back.push((at, host));
    }

    fn anybody(&mut self) -> usize {
        self.rng.index(self.world.len())
    }

    /// Whether that could be done.
    fn befall(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Crash => {
                let host = self.anybody();
                let runs = self.world.runs(host);
                if runs {
                    self.off(host);
                }
                return runs;
            }
            Kind::CrashLeader => {
                let Some(leader) = self.world.leader() else { return false };
                self.off(leader);
            }
            Kind::CrashAll => {
                (0..self.world.len())
                    .filter(|host| self.world.runs(*host))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|host| self.off(host));
            }
            Kind::Pause => {
                let (host, span) = (self.anybody(), self.rng.duration(20 * SECOND));
                self.world.pause(host, span);
            }
            Kind::Split => {
                let off: Vec<usize> = (0..self.world.len()).filter(|_| self.rng.one_in(3)).collect();
                if off.is_empty() || off.len() == self.world.len() {
                    return false;
                }
                self.world.split(&off);
            }
            Kind::Deafen => {
                let (from, to) = (self.anybody(), self.anybody());
                if from == to {
                    return false;
                }
                self.world.deafen(from, to);
            }
            Kind::Heal => self.world.heal(),
            Kind::Loss => self.world.loss = self.rng.below(300_000) as u32,
            Kind::Latency => self.world.latency = MS + self.rng.duration(150 * MS),
            Kind::SlowDisk => {
                let (host, most) = (self.anybody(), 4 * MS + self.rng.duration(SECOND));
                self.world.slow_disk(host, most);
            }
            Kind::Register => {
                let (host, id) = (self.anybody(), format!("web{}", self.rng.below(3)));
                self.port += 1;
                register(&mut self.world, host, &id, self.port);
            }
            Kind::Deregister => {
                let (host, id) = (self.anybody(), format!("web{}", self.rng.below(3)));
                deregister(&mut self.world, host, &id);
            }
            Kind::Leave => return self.leave(),
            Kind::Arrive => {
                if self.world.len() >= MOST {
                    return false;
                }
                self.arrive();
            }
            Kind::Replace => return self.replace(),
        }
        true
    }

    fn arrive(&mut self) {
        let name = format!("c{}", self.world.len() - self.servers);
        let mut config = client();
        config.retry_join.interval = AGAIN;
        self.world.add(&name, config);
    }

    /// Agents without tables leave, and of five servers one at a time.
    fn leave(&mut self) -> bool {
        let host = self.anybody();
        let voters = self.world.leader().map_or(0, |leader| self.world.voters(leader));
        let stays = host < self.servers && voters < 5;
        if stays || !self.world.runs(host) || self.world.leaves(host) {
            return false;
        }
        self.world.leave(host);
        let at = self.world.now + 10 * SECOND + self.rng.duration(30 * SECOND);
        self.back.push((at, host));
        true
    }

    /// All are well before, and after.
    fn replace(&mut self) -> bool {
        let host = self.rng.index(self.servers);
        self.recover();
        self.all_vote("all servers vote before one is replaced");
        self.world.crash(host);
        self.world.replace(host);
        let pause = self.rng.duration(10 * SECOND);
        self.world.run(pause);
        self.world.start(host);
        self.all_vote("who was replaced votes");
        true
    }

    /// Everything is on and in order, but for what follows of what was.
    fn recover(&mut self) {
        self.world.heal();
        let leaves = |world: &World| (0..world.len()).any(|host| world.leaves(host));
        self.world.until("the end of those who leave", 30 * SECOND, |world| !leaves(world));
        self.back.clear();
        for host in 0..self.world.len() {
            self.world.slow_disk(host, 4 * MS);
            self.world.pause(host, Duration::ZERO);
            self.world.start(host);
        }
    }

    fn all_vote(&mut self, what: &'static str) {
        let servers = self.servers;
        self.world.until(what, SETTLED, |world| {
            let raft = world.leader().and_then(|leader| world.published(leader)?.agent.raft.clone());
            let Some(raft) = raft else { return false };
            let voters = raft.servers.iter().filter(|server| server.voter);
            let votes = |host: usize| voters.clone().any(|server| server.id == world.id(host));
            voters.clone().count() == servers && (0..servers).all(|host| world.runs(host) && votes(host))
        });
    }

    fn finish(&mut self) {
        if self.world.violation().is_some() {
            return;
        }
        self.recover();
        // Two intervals of anti-entropy, and what a comparison takes.
        settle(&mut self.world, 150 * SECOND);
        if self.world.violation().is_none() {
            self.all_vote("all servers vote in the end");
        }
    }
}
