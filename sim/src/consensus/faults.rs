//! What goes wrong: kinds, how often each fired, and how each is done.

use std::time::Duration;

use convoke_kit::Rng;
use convoke_raft::{Change, NodeId};

use super::server::Ask;
use super::slot::Life;
use super::world::World;
use crate::network::Link;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A message was lost.
    Lost,
    /// A message came twice.
    Doubled,
    /// A message took longer than usual.
    Late,
    /// A message came behind one that was sent later.
    Overtaken,
    /// A message met a cut.
    CutOff,
    /// The servers, and the clients with them, were parted in two.
    Partition,
    /// The same in one direction.
    OneWay,
    /// One server no longer reaches another one.
    PairCut,
    /// What goes to and comes from a server waits, and then comes at once.
    Clog,
    /// All links became good or bad.
    Weather,
    /// A server crashed and lost its memory.
    Crash,
    /// A crash lost writes under way.
    WritesLost,
    /// A crash tore a write.
    Torn,
    /// A crash at a step of an append.
    CrashAtWrite,
    /// A crash at a step of replacing snapshot and log.
    CrashAtReplace,
    /// All servers crashed at once.
    CrashOfAll,
    /// A server started anew.
    Restart,
    /// A process stood still.
    Pause,
    /// A disk did nothing for a while.
    Stall,
    /// A disk became slow or quick.
    SlowDisk,
    /// A write failed.
    WriteFailed,
    /// A read at the start failed.
    ReadFailed,
    /// A bit had turned, and the server refused to start.
    Rot,
    /// A lost disk was replaced by an empty one.
    DiskReplaced,
    /// A disk was full.
    DiskFull,
    /// A clock runs more than a tenth fast or slow; counted once a server and life.
    Drift,
    /// A member was added.
    Added,
    /// A learner was made a voter.
    Promoted,
    /// A voter was made a learner.
    Demoted,
    /// A member was removed.
    Removed,
    /// A leader was told to hand over.
    Transfer,
    /// A snapshot was installed.
    SnapshotInstalled,
    /// A client waited in vain.
    ClientTimeout,
    /// A client asked again.
    ClientRetry,
}

/// All of them.
pub const KINDS: &[Kind] = &[
    Kind::Lost,
    Kind::Doubled,
    Kind::Late,
    Kind::Overtaken,
    Kind::CutOff,
    Kind::Partition,
    Kind::OneWay,
    Kind::PairCut,
    Kind::Clog,
    Kind::Weather,
    Kind::Crash,
    Kind::WritesLost,
    Kind::Torn,
    Kind::CrashAtWrite,
    Kind::CrashAtReplace,
    Kind::CrashOfAll,
    Kind::Restart,
    Kind::Pause,
    Kind::Stall,
    Kind::SlowDisk,
    Kind::WriteFailed,
    Kind::ReadFailed,
    Kind::Rot,
    Kind::DiskReplaced,
    Kind::DiskFull,
    Kind::Drift,
    Kind::Added,
    Kind::Promoted,
    Kind::Demoted,
    Kind::Removed,
    Kind::Transfer,
    Kind::SnapshotInstalled,
    Kind::ClientTimeout,
    Kind::ClientRetry,
];

/// How often each fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally([u64; KINDS.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; KINDS.len()])
    }
}

impl Tally {
    /// One more.
    pub fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// How often.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Sums two.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

/// What may be done to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Good or bad links.
    Weather,
    /// Two sides.
    Partition,
    /// Two sides, in one direction.
    OneWay,
    /// One server cut off, the leader if there is one.
    Isolate,
    /// One way between two.
    PairCut,
    /// Holds back, and lets go.
    Clog,
    /// Everybody reaches everybody.
    HealNetwork,
    /// Crash and start of a server.
    Crash,
    /// At the next steps of a disk.
    CrashAtStep,
    /// Of all at once.
    CrashAll,
    /// For a while.
    Pause,
    /// For a while.
    Stall,
    /// Or quick.
    SlowDisk,
    /// Once.
    WriteError,
    /// At the next start.
    ReadError,
    /// In the middle.
    Rot,
    /// For a while.
    FullDisk,
    /// A change of a member.
    Churn,
    /// Of leadership.
    Transfer,
}

/// All of them.
pub const BLOWS: &[Blow] = &[
    Blow::Weather,
    Blow::Partition,
    Blow::OneWay,
    Blow::Isolate,
    Blow::PairCut,
    Blow::Clog,
    Blow::HealNetwork,
    Blow::Crash,
    Blow::CrashAtStep,
    Blow::CrashAll,
    Blow::Pause,
    Blow::Stall,
    Blow::SlowDisk,
    Blow::WriteError,
    Blow::ReadError,
    Blow::Rot,
    Blow::FullDisk,
    Blow::Churn,
    Blow::Transfer,
];

const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// Somebody: the leader half of the time.
    fn somebody(&mut self) -> usize {
        let any = self.rng.index(self.slots.len());
        if self.rng.one_in(2) { self.leader().unwrap_or(any) } else { any }
    }

    /// Mostly short, sometimes long: around an election timeout and far beyond.
    fn while_(&mut self) -> Duration {
        let most = [SECOND / 5, SECOND, 4 * SECOND, 15 * SECOND][self.rng.index(4)];
        self.rng.duration(most)
    }

    /// Does something bad, or mends something.
    pub fn strike(&mut self, blow: Blow) {
        let at = self.somebody();
        self.say(|| format!("{blow:?} (s{at})"));
        match blow {
            Blow::Weather => {
                let link = if self.rng.one_in(3) { Link::LAN } else { Link::drawn(&mut self.rng) };
                self.usual_delay = (link.base + link.jitter).as_nanos() as u64 + 1;
                self.network.set_link(link);
                self.tally.add(Kind::Weather);
            }
            Blow::Partition | Blow::OneWay => {
                let mask = self.rng.next_u64();
                for slot in 0..self.slots.len() {
                    self.network.set_zone(slot as u32, (mask >> slot & 1) as u8);
                }
                for client in 1..=self.clients.len() as u32 {
                    self.network.set_zone(Self::node_of_client(client), (mask >> (32 + client % 30) & 1) as u8);
                }
                self.network.cut(0, 1);
                if blow == Blow::Partition {
                    self.network.cut(1, 0);
                }
                self.tally.add(if blow == Blow::Partition { Kind::Partition } else { Kind::OneWay });
            }
            Blow::Isolate => {
                for other in 0..self.slots.len() as u32 {
                    self.network.cut_pair(at as u32, other);
                    self.network.cut_pair(other, at as u32);
                }
                self.tally.add(Kind::Partition);
            }
            Blow::PairCut => {
                let other = self.rng.index(self.slots.len());
                if other != at {
                    self.network.cut_pair(at as u32, other as u32);
                    self.tally.add(Kind::PairCut);
                }
            }
            Blow::Clog => {
                let span = self.while_().as_nanos() as u64;
                self.network.clog(at as u32, self.now + span);
                self.tally.add(Kind::Clog);
            }
            Blow::HealNetwork => self.network.heal(),
            Blow::Crash => {
                let tear = self.tear();
                self.crash(at, tear);
                let after = self.while_();
                self.restart_in(at, after);
            }
            Blow::CrashAtStep => {
                if self.slots[at].is_awake() {
                    let steps = if self.rng.one_in(2) { 0 } else { self.rng.below(20) as u32 };
                    self.slots[at].armed = Some(steps);
                    self.slots[at].armed_for_replace = self.rng.one_in(3);
                }
            }
            Blow::CrashAll => {
                self.tally.add(Kind::CrashOfAll);
                for at in 0..self.slots.len() {
                    let tear = self.tear();
                    self.crash(at, tear);
                    let after = self.rng.duration(SECOND);
                    self.restart_in(at, after);
                }
            }
            Blow::Pause => {
                self.pause(at);
                let after = self.while_();
                self.resume_in(at, after);
            }
            Blow::Stall => {
                self.slots[at].disk.stalled_until = self.now + self.while_().as_nanos() as u64;
                self.tally.add(Kind::Stall);
            }
            Blow::SlowDisk => {
                self.slots[at].disk.latency = disk_latency(&mut self.rng);
                self.tally.add(Kind::SlowDisk);
            }
            Blow::WriteError => {
                // At most one at a time: of a majority that has failed nothing can be expected, though nothing is lost.
                if self.slots[at].is_awake() && self.slots.iter().all(|slot| !slot.cursed) {
                    self.slots[at].disk.fails = true;
                    self.slots[at].cursed = true;
                }
            }
            Blow::ReadError => {
                let span = self.while_();
                self.slots[at].unreadable_until = self.now + span.as_nanos() as u64;
                let tear = self.tear();
                self.crash(at, tear);
                self.restart_in(at, span / 4);
            }
            Blow::Rot => self.strike_rot(at),
            Blow::FullDisk => {
                // Whoever was full has space again.
                for other in 0..self.slots.len() {
                    if self.slots[other].disk.quota.take().is_none() && other == at {
                        let bytes = self.slots[at].disk.bytes();
                        self.slots[at].disk.quota = Some(bytes + self.rng.index(2000));
                    }
                    self.tell_space(other);
                }
            }
            Blow::Churn => self.churn(),
            Blow::Transfer => {
                if let Some(leader) = self.leader().filter(|at| self.slots[*at].is_awake()) {
                    let to = self.rng.one_in(2).then(|| self.slots[at].id);
                    self.ask(leader, Ask::Transfer(to));
                    self.tally.add(Kind::Transfer);
                }
            }
        }
    }

    /// A disk rots while its server is down. Only where what is lost is on enough other disks: more than that no protocol
    /// survives.
    fn strike_rot(&mut self, at: usize) {
        let sound = self.slots.iter().all(|slot| slot.life == Life::Up && !slot.rotten && !slot.halted);
        let voters = |n: usize| {
            self.slots[n].server.as_ref().map(|server| server.raft().membership().1.voters().collect::<Vec<_>>())
        };
        let Some(wanted) = voters(at) else { return };
        let id = self.slots[at].id;
        let known = |voter: &NodeId| self.slots.iter().any(|slot| slot.id == *voter);
        if !sound || wanted.len() < 3 || !wanted.iter().all(known) || !wanted.contains(&id) {
            return;
        }
        // All members agree on who they are, so that no change is under way that would leave two.
        if (0..self.slots.len())
            .filter(|n| wanted.contains(&self.slots[*n].id))
            .any(|n| voters(n).as_ref() != Some(&wanted))
        {
            return;
        }
        let tear = self.tear();
        self.crash(at, tear);
        let slot = &mut self.slots[at];
        let upto = slot.provable();
        if slot.disk.rot(&mut self.rng, upto) {
            slot.rotten = true;
        }
        let after = self.while_();
        self.restart_in(at, after);
    }

    /// The operator changes a member; with a lost disk about, nothing but its removal and replacement.
    fn churn(&mut self) {
        let Some(leader) = self.leader().filter(|at| self.slots[*at].is_awake()) else { return };
        if let Some(change) = self.mend_members(leader) {
            return self.change(leader, change);
        }
        if self.slots.iter().any(|slot| slot.rotten) {
            return;
        }
        let id = self.slots[self.rng.index(self.slots.len())].id;
        let Some(server) = &self.slots[leader].server else { return };
        let member = server.raft().membership().1.0.get(&id).map(|member| member.voter);
        let change = match (member, self.rng.below(3)) {
            (None, _) => Change::AddLearner { id, address: String::new() },
            (Some(false), 0) => Change::Remove(id),
            (Some(false), _) => Change::Promote(id),
            (Some(true), 0) => Change::Remove(id),
            (Some(true), _) => Change::Demote(id),
        };
        self.change(leader, change);
    }

    fn change(&mut self, leader: usize, change: Change) {
        let kind = match change {
            Change::AddLearner { .. } => Some(Kind::Added),
            Change::Promote(_) => Some(Kind::Promoted),
            Change::Demote(_) => Some(Kind::Demoted),
            Change::Remove(_) => Some(Kind::Removed),
            Change::Move { .. } => None,
        };
        self.say(|| format!("s{leader}: {change:?}"));
        let before = self.slots[leader].server.as_ref().map(|server| server.raft().membership().0);
        self.ask(leader, Ask::Change(change));
        let after = self.slots[leader].server.as_ref().map(|server| server.raft().membership().0);
        if let Some(kind) = kind
            && before != after
        {
            self.tally.add(kind);
        }
    }

    /// The change that a lost disk calls for: remove who had it, then add who has another one.
    fn mend_members(&self, leader: usize) -> Option<Change> {
        let members = self.slots[leader].server.as_ref()?.raft().membership().1;
        let gone = members.ids().find(|id| self.slots.iter().all(|slot| slot.id != *id));
        gone.map(Change::Remove)
    }

    /// What an operator does about lost disks, at any time.
    pub fn tend(&mut self) {
        for at in 0..self.slots.len() {
            if self.slots[at].life == Life::Broken {
                self.replace_disk(at);
            }
            // Who halted is started anew.
            if self.slots[at].halted {
                let tear = self.tear();
                self.crash(at, tear);
                self.restart(at);
            }
        }
        if let Some(leader) = self.leader().filter(|at| self.slots[*at].is_awake())
            && let Some(change) = self.mend_members(leader)
        {
            self.change(leader, change);
        }
    }

    /// The operator makes the server of this place a voter, step by step.
    pub fn welcome(&mut self, at: usize) {
        let id = self.slots[at].id;
        let Some(leader) = self.leader().filter(|at| self.slots[*at].is_awake()) else { return };
        let Some(server) = &self.slots[leader].server else { return };
        match server.raft().membership().1.0.get(&id).map(|member| member.voter) {
            None => self.change(leader, Change::AddLearner { id, address: String::new() }),
            Some(false) => self.change(leader, Change::Promote(id)),
            Some(true) => {}
        }
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.say(|| "healing".to_string());
        self.network.heal();
        self.network.set_link(Link::LAN);
        self.usual_delay = 1_000_000;
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            slot.disk.latency = (Duration::from_micros(200), Duration::from_micros(600));
            slot.disk.stalled_until = 0;
            slot.disk.quota = None;
            slot.disk.fails = false;
            slot.unreadable_until = 0;
            slot.armed = None;
            self.resume(at);
            self.restart(at);
        }
        self.tend();
        for at in 0..self.slots.len() {
            self.tell_space(at);
            self.unstall(at);
        }
    }
}

/// A quick or a slow disk.
pub(super) fn disk_latency(rng: &mut Rng) -> (Duration, Duration) {
    let micros = [50, 200, 1_000, 5_000, 20_000, 80_000][rng.index(6)];
    (Duration::from_micros(micros), Duration::from_micros(micros * (1 + rng.below(4))))
}
