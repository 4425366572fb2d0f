//! Servers in virtual time: a network that loses, delays, repeats and reorders, disks that lose what was not written, clocks
//! that drift, processes that stand still.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use convoke_kit::{Machine as _, Out, Rng, Time};
use convoke_raft::{
    Action, Boot, Change, Command, Config, Entry, Event, Flaw, HardState, Index, Membership, Message, NodeId, Payload,
    Persist, Proposal, Raft, ReadMode, Recovered, Refusal, Role, Snapshot, Ticket,
};

use crate::invariants::Witness;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The election timeout of the tests.
pub(crate) const ELECTION: Duration = Duration::from_millis(300);

pub(crate) fn id(n: usize) -> NodeId {
    NodeId(n as u128 + 1)
}

fn number(id: NodeId) -> usize {
    id.0 as usize - 1
}

/// What a disk holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard: HardState,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) entries: BTreeMap<Index, Arc<Entry>>,
}

impl Disk {
    /// Exactly what [`Persist`] says.
    pub(crate) fn write(&mut self, write: &Persist) {
        if let Some(from) = write.truncate_from {
            self.entries.split_off(&from);
        }
        if let Some(snapshot) = &write.snapshot {
            self.entries = self.entries.split_off(&snapshot.log_from);
            self.snapshot = Some(Arc::clone(&snapshot.snapshot));
        }
        for entry in &write.entries {
            let expected = self.entries.last_key_value().map(|(index, _)| index + 1);
            assert!(expected.is_none_or(|at| at == entry.index), "a gap on disk: {expected:?} {}", entry.index);
            self.entries.insert(entry.index, Arc::clone(entry));
        }
        if let Some(hard) = write.hard_state {
            self.hard = hard;
        }
    }

    pub(crate) fn recovered(&self) -> Recovered {
        let entries = self.entries.values().cloned().collect();
        Recovered { hard_state: self.hard, snapshot: self.snapshot.clone(), entries }
    }
}

/// A state machine: which commands were applied, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) applied: Index,
    /// Serial of a command: its index.
    pub(crate) done: BTreeMap<u64, Index>,
}

impl State {
    fn export(&self) -> Vec<u8> {
        postcard::to_allocvec(&(self.applied, &self.done)).expect("it encodes")
    }

    fn import(snapshot: &Snapshot) -> Self {
        let (applied, done) = postcard::from_bytes(snapshot.data.as_slice()).expect("a snapshot is whole");
        assert_eq!(applied, snapshot.meta.position.index, "a snapshot is of its position");
        Self { applied, done }
    }
}

pub(crate) struct Node {
    pub(crate) raft: Option<Raft>,
    pub(crate) disk: Disk,
    pub(crate) state: State,
    /// Writes under way, and when each is done.
    pending: VecDeque<(Time, Persist)>,
    /// Of a write.
    pub(crate) latency: Duration,
    /// Its clock runs so many thousandths of the world's.
    pub(crate) rate: u64,
    pub(crate) paused: bool,
    held: Vec<Event>,
    starts: u64,
    pub(crate) config: Config,
    /// What it said of itself lately.
    pub(crate) halted: bool,
}

impl Node {
    fn clock(&self, now: Time) -> Time {
        Time::from_nanos((u128::from(now.as_nanos()) * u128::from(self.rate) / 1000) as u64)
    }

    fn real(&self, local: Time) -> Time {
        let nanos = (u128::from(local.as_nanos()) * 1000).div_ceil(u128::from(self.rate));
        Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(Index),
    Refused(Refusal),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Late(Duration),
}

type Judge = Box<dyn FnMut(usize, usize, &Message) -> Fate>;

/// How unkind the world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// One in so many is lost; 0: none.
    pub(crate) loss: u64,
    pub(crate) repeat: u64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

pub(crate) const FAIR: Weather = Weather { loss: 0, repeat: 0, delay: MS, jitter: Duration::ZERO };

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rng: Rng,
    parcels: BTreeMap<(Time, u64), (usize, usize, Message)>,
    sent: u64,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) weather: Weather,
    pub(crate) judge: Option<Judge>,
    pub(crate) witness: Witness,
    pub(crate) outcomes: BTreeMap<Ticket, Outcome>,
    /// Of each read: what had been acknowledged when it began.
    reads: BTreeMap<Ticket, Index>,
    /// Acknowledged to a client: serial and index.
    pub(crate) acked: BTreeMap<u64, Index>,
    pub(crate) highest_acked: Index,
    pub(crate) answered_reads: u64,
    tickets: u64,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) messages: u64,
    seed: u64,
    events: u64,
}

impl World {
    /// So many servers that know nothing.
    pub(crate) fn empty(n: usize, seed: u64, flaw: Option<Flaw>) -> Self {
        let node = |_| Node {
            raft: None,
            disk: Disk::default(),
            state: State::default(),
            pending: VecDeque::new(),
            latency: MS / 2,
            rate: 1000,
            paused: false,
            held: Vec::new(),
            starts: 0,
            config: Config::default(),
            halted: false,
        };
        let mut world = Self {
            now: Time::ZERO,
            nodes: (0..n).map(node).collect(),
            rng: Rng::new(seed),
            parcels: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            weather: FAIR,
            judge: None,
            witness: Witness::default(),
            outcomes: BTreeMap::new(),
            reads: BTreeMap::new(),
            acked: BTreeMap::new(),
            highest_acked: 0,
            answered_reads: 0,
            tickets: 0,
            flaw,
            messages: 0,
            seed,
            events: 0,
        };
        for at in 0..n {
            world.restart(at);
        }
        world
    }

    /// `voters` servers that are a cluster, and some that know nothing.
    pub(crate) fn cluster(voters: usize, others: usize, seed: u64, flaw: Option<Flaw>) -> Self {
        Self::configured(voters, others, seed, flaw, &Config::default())
    }

    pub(crate) fn configured(voters: usize, others: usize, seed: u64, flaw: Option<Flaw>, config: &Config) -> Self {
        let mut world = Self::empty(voters + others, seed, flaw);
        for n in 0..voters + others {
            world.nodes[n].config = config.clone();
            world.nodes[n].raft = None;
            world.restart(n);
        }
        let members = Membership::of_voters((0..voters).map(id));
        for n in 0..voters {
            let ticket = world.ticket();
            world.event(n, Event::Bootstrap { ticket, members: members.clone() });
        }
        world
    }

    /// A cluster that has a leader.
    pub(crate) fn led(voters: usize, seed: u64, flaw: Option<Flaw>) -> (Self, usize) {
        let mut world = Self::cluster(voters, 0, seed, flaw);
        let leader = world.elect();
        (world, leader)
    }

    /// Three servers, whose clocks run so many thousandths; server 0 leads.
    pub(crate) fn drifting(rates: [u64; 3], seed: u64, flaw: Option<Flaw>) -> Self {
        let mut world = Self::cluster(3, 0, seed, flaw);
        for (n, rate) in rates.into_iter().enumerate() {
            world.nodes[n].rate = rate;
        }
        while world.elect() != 0 {
            let leader = world.elect();
            world.transfer(leader, Some(0));
            world.run(200 * MS);
        }
        world
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn raft(&self, n: usize) -> &Raft {
        self.nodes[n].raft.as_ref().expect("it runs")
    }

    /// The leader of the highest term.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |n: &usize| self.nodes[*n].raft.as_ref().is_some_and(|raft| raft.role() == Role::Leader);
        (0..self.nodes.len()).filter(leads).max_by_key(|n| self.raft(*n).term())
    }

    /// Runs until somebody leads and has committed an entry of its term.
    pub(crate) fn elect(&mut self) -> usize {
        for _ in 0..2000 {
            self.run(5 * MS);
            if let Some(n) = self.leader()
                && self.raft(n).has_committed_in_term()
            {
                return n;
            }
        }
        let of = |node: &Node| {
            node.raft.as_ref().map(|r| (r.role(), r.term(), r.commit(), r.last(), r.membership().1.voter_count()))
        };
        panic!("nobody leads after 10 s: {:?}", self.nodes.iter().map(of).collect::<Vec<_>>());
    }

    /// Runs until one of these leads and has committed an entry of its term.
    pub(crate) fn elect_of(&mut self, candidates: &[usize]) -> usize {
        for _ in 0..1000 {
            let leader = self.elect();
            if candidates.contains(&leader) {
                return leader;
            }
            self.run(10 * MS);
        }
        panic!("none of {candidates:?} leads after 10 s");
    }

    // ---- faults

    /// The machine is lost, and with it all writes under way but the first `landed`.
    pub(crate) fn crash(&mut self, n: usize, landed: usize) {
        let node = &mut self.nodes[n];
        node.raft = None;
        node.held.clear();
        node.paused = false;
        let pending = std::mem::take(&mut node.pending);
        for (_, write) in pending.iter().take(landed) {
            node.disk.write(write);
        }
    }

    pub(crate) fn writes_under_way(&self, n: usize) -> usize {
        self.nodes[n].pending.len()
    }

    pub(crate) fn restart(&mut self, n: usize) {
        let (flaw, now) = (self.flaw, self.now);
        let node = &mut self.nodes[n];
        assert!(node.raft.is_none(), "n{n} runs");
        node.starts += 1;
        node.halted = false;
        node.state = node.disk.snapshot.as_ref().map_or_else(State::default, |snapshot| State::import(snapshot));
        let seed = self.seed.wrapping_mul(1_000_003) + n as u64 * 1000 + node.starts;
        let boot = Boot { id: id(n), recovered: node.disk.recovered(), config: node.config.clone(), seed, flaw };
        node.raft = Some(Raft::new(boot).expect("what the disk holds is whole"));
        let mut out = Out::new();
        let local = node.clock(now);
        node.raft.as_mut().expect("it was made").handle_timeout(local, &mut out);
        self.carry_out(n, &mut out);
    }

    pub(crate) fn isolate(&mut self, n: usize) {
        for other in 0..self.nodes.len() {
            self.cut.insert((n, other));
            self.cut.insert((other, n));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn resume(&mut self, n: usize) {
        self.nodes[n].paused = false;
        for event in std::mem::take(&mut self.nodes[n].held) {
            self.event(n, event);
        }
    }

    // ---- clients

    pub(crate) fn propose(&mut self, n: usize) -> Ticket {
        let ticket = self.ticket();
        let command = Command { client: 1, serial: ticket.0, data: ticket.0.to_le_bytes()[..].into() };
        self.event(n, Event::Propose(vec![Proposal { ticket, command }]));
        ticket
    }

    pub(crate) fn propose_many(&mut self, n: usize, count: usize) {
        for _ in 0..count {
            self.propose(n);
        }
    }

    /// Proposes at `n` and expects it to be acknowledged.
    pub(crate) fn commit(&mut self, n: usize) -> Index {
        let ticket = self.propose(n);
        self.run(200 * MS);
        match self.outcomes.get(&ticket) {
            Some(Outcome::Done(index)) => *index,
            other => panic!("the proposal at n{n} ended with {other:?}"),
        }
    }

    pub(crate) fn read(&mut self, n: usize, mode: ReadMode) -> Ticket {
        let ticket = self.ticket();
        self.reads.insert(ticket, self.highest_acked);
        self.event(n, Event::Read { ticket, mode });
        ticket
    }

    pub(crate) fn change(&mut self, n: usize, change: Change) -> Ticket {
        let ticket = self.ticket();
        self.event(n, Event::Change { ticket, change });
        ticket
    }

    pub(crate) fn transfer(&mut self, n: usize, to: Option<usize>) -> Ticket {
        let ticket = self.ticket();
        self.event(n, Event::Transfer { ticket, to: to.map(id) });
        ticket
    }

    pub(crate) fn add_learner(&mut self, leader: usize, n: usize) {
        let ticket = self.change(leader, Change::AddLearner { id: id(n), address: format!("n{n}") });
        self.run(300 * MS);
        assert!(matches!(self.outcomes.get(&ticket), Some(Outcome::Done(_))), "{:?}", self.outcomes.get(&ticket));
    }

    pub(crate) fn refusal(&self, ticket: Ticket) -> Option<&Refusal> {
        match self.outcomes.get(&ticket) {
            Some(Outcome::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn is_done(&self, ticket: Ticket) -> bool {
        matches!(self.outcomes.get(&ticket), Some(Outcome::Done(_)))
    }

    // ---- the world's course

    pub(crate) fn event(&mut self, n: usize, event: Event) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if node.paused {
            return node.held.push(event);
        }
        let local = node.clock(now);
        let Some(raft) = &mut node.raft else { return };
        let mut out = Out::new();
        raft.handle(local, event, &mut out);
        self.carry_out(n, &mut out);
    }

    fn carry_out(&mut self, n: usize, out: &mut Out<Action>) {
        assert!(out.datagrams().len() == 0, "it sends messages, not datagrams");
        let mut exported = None;
        for action in out.drain_actions() {
            match action {
                Action::Persist(write) => {
                    let node = &mut self.nodes[n];
                    let earliest = node.pending.back().map_or(self.now, |(at, _)| *at);
                    node.pending.push_back((earliest.max(self.now + node.latency), write));
                }
                Action::Send { to, message } => self.post(n, number(to), &message),
                Action::Apply(batch) => {
                    let term = self.raft(n).term();
                    for committed in batch {
                        let entry = &committed.entry;
                        self.witness.applies(n, term, entry);
                        let state = &mut self.nodes[n].state;
                        assert_eq!(entry.index, state.applied + 1, "n{n} applies in order");
                        state.applied = entry.index;
                        if let Payload::Command(command) = &entry.payload {
                            state.done.insert(command.serial, entry.index);
                            if committed.ticket.is_some() {
                                self.acked.insert(command.serial, entry.index);
                            }
                        }
                        if let Some(ticket) = committed.ticket {
                            self.highest_acked = self.highest_acked.max(entry.index);
                            self.outcomes.insert(ticket, Outcome::Done(entry.index));
                        }
                    }
                }
                Action::Install(snapshot) => {
                    let state = State::import(&snapshot);
                    let before = self.nodes[n].state.applied;
                    assert!(state.applied > before, "n{n} goes back from {before} to {}", state.applied);
                    self.nodes[n].state = state;
                }
                Action::Readable { ticket, index } => {
                    let state = self.nodes[n].state.applied;
                    assert!(state >= index, "n{n} may read {index} and has {state}");
                    if let Some(due) = self.reads.remove(&ticket) {
                        self.answered_reads += 1;
                        assert!(state >= due, "linearizable reads: n{n} answers from {state}, {due} was acknowledged");
                    }
                    self.outcomes.insert(ticket, Outcome::Done(index));
                }
                Action::Refused { ticket, refusal } => {
                    self.reads.remove(&ticket);
                    let before = self.outcomes.insert(ticket, Outcome::Refused(refusal));
                    assert_eq!(before, None, "a request is answered once");
                }
                Action::Unknown { ticket } => {
                    self.outcomes.insert(ticket, Outcome::Unknown);
                }
                Action::Transferred { ticket } => {
                    self.outcomes.insert(ticket, Outcome::Done(0));
                }
                Action::TakeSnapshot { position } => {
                    assert_eq!(position.index, self.nodes[n].state.applied, "n{n} exports what it applied");
                    exported = Some((position.index, self.nodes[n].state.export()));
                }
                Action::Halted { .. } => self.nodes[n].halted = true,
                Action::Role { .. } | Action::Members { .. } => {}
            }
        }
        let local = self.nodes[n].clock(self.now);
        if let Some(raft) = &self.nodes[n].raft {
            if raft.role() == Role::Leader {
                self.witness.leads(n, raft);
            }
            self.witness.lease(n, raft, local);
        }
        self.events += 1;
        if self.events.is_multiple_of(512) {
            Witness::logs_match(&self.nodes);
        }
        if let Some((index, data)) = exported {
            self.event(n, Event::SnapshotTaken { index, data: data.into() });
        }
    }

    fn post(&mut self, from: usize, to: usize, message: &Message) {
        self.messages += 1;
        let fate = self.judge.as_mut().map_or(Fate::Arrives, |judge| judge(from, to, message));
        let late = match fate {
            Fate::Lost => return,
            Fate::Late(by) => by,
            Fate::Arrives => Duration::ZERO,
        };
        let Weather { loss, repeat, delay, jitter } = self.weather;
        if to >= self.nodes.len() || self.cut.contains(&(from, to)) || self.rng.one_in(loss) {
            return;
        }
        let copies = if self.rng.one_in(repeat) { 2 } else { 1 };
        for _ in 0..copies {
            self.sent += 1;
            let at = self.now + delay + late + self.rng.duration(jitter);
            self.parcels.insert((at, self.sent), (from, to, message.clone()));
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, what)) = self.next().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            match what {
                Next::Parcel => {
                    let Some((_, (from, to, message))) = self.parcels.pop_first() else { continue };
                    if !self.cut.contains(&(from, to)) {
                        self.event(to, Event::Message { from: id(from), message });
                    }
                }
                Next::Disk(n) => {
                    let node = &mut self.nodes[n];
                    let mut upto = 0;
                    while node.pending.front().is_some_and(|(at, _)| *at <= self.now)
                        && let Some((_, write)) = node.pending.pop_front()
                    {
                        node.disk.write(&write);
                        upto = write.seq;
                    }
                    self.event(n, Event::Persisted { upto });
                }
                Next::Timer(n) => {
                    let node = &mut self.nodes[n];
                    let local = node.clock(self.now);
                    let mut out = Out::new();
                    if let Some(raft) = &mut node.raft {
                        raft.handle_timeout(local, &mut out);
                        assert!(raft.poll_timeout().is_none_or(|d| d.at > local), "law 3: {:?}", raft.poll_timeout());
                    }
                    self.carry_out(n, &mut out);
                }
            }
        }
        self.now = end;
    }

    fn next(&self) -> Option<(Time, Next)> {
        let parcel = self.parcels.first_key_value().map(|((at, _), _)| (*at, Next::Parcel));
        let mut best = parcel;
        for (n, node) in self.nodes.iter().enumerate() {
            let disk = node.pending.front().filter(|_| node.raft.is_some()).map(|(at, _)| (*at, Next::Disk(n)));
            let timer = node.raft.as_ref().filter(|_| !node.paused).and_then(convoke_kit::Machine::poll_timeout);
            let timer = timer.map(|d| (node.real(d.at).max(self.now), Next::Timer(n)));
            for candidate in [disk, timer].into_iter().flatten() {
                if best.is_none_or(|(at, _)| candidate.0 < at) {
                    best = Some(candidate);
                }
            }
        }
        best
    }

    /// After faults end: somebody leads, all states become equal, and nothing acknowledged is missing.
    pub(crate) fn settle(&mut self) {
        self.heal();
        self.weather = FAIR;
        self.judge = None;
        for n in 0..self.nodes.len() {
            self.nodes[n].latency = MS / 2;
            if self.nodes[n].paused {
                self.resume(n);
            }
            if self.nodes[n].halted {
                self.crash(n, 0);
            }
            if self.nodes[n].raft.is_none() {
                self.restart(n);
            }
        }
        self.run(3 * ELECTION);
        let leader = self.elect();
        self.run(SECOND);
        let leader = self.leader().unwrap_or(leader);
        Witness::logs_match(&self.nodes);
        let state = self.nodes[leader].state.clone();
        for (serial, index) in &self.acked {
            assert_eq!(state.done.get(serial), Some(index), "durability: {serial} was acknowledged at {index}");
        }
        let members = self.raft(leader).membership().1;
        for n in members.ids().map(number) {
            let other = &self.nodes[n].state;
            assert_eq!(other.applied, state.applied, "n{n} has caught up with n{leader}");
            assert!(*other == state, "n{n} and n{leader} have equal states");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Parcel,
    Disk(usize),
    Timer(usize),
}

/// Plays a scenario; with the feature `flaws` also with its bug, which must make it fail.
pub(crate) fn prove(flaw: Flaw, scenario: impl Fn(Option<Flaw>)) {
    scenario(None);
    #[cfg(feature = "flaws")]
    {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(Some(flaw))));
        assert!(played.is_err(), "the scenario does not find {flaw:?}");
    }
    #[cfg(not(feature = "flaws"))]
    let _ = flaw;
}
