//! Who belongs to the cluster, once there is one: the leader adds servers that join the pool, makes them voters when they
//! have been healthy for a while and have caught up, and removes those that left or are dead and not needed for a quorum.
//!
//! One change at a time, each a step towards a membership whose every voter is alive. A dead server is removed only if the
//! others would still be a quorum of what remains, and fewer than half are dead: of three servers none is ever
//! removed, since the other two need each other either way; of four, with a new one in its place, it is.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::time::Duration;

use convoke_kit::Time;
use convoke_raft::{Change, Index, Membership, NodeId};

use crate::flaw::{Flaw, Flaws};

/// Between two looks.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// Settings, replicated: `operator autopilot set-config`.
pub use convoke_catalog::restore::Autopilot as Settings;

/// What the pool says of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It answers.
    Alive,
    /// It does not.
    Failed,
    /// It is gone on purpose.
    Left,
}

/// A server of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What is believed of it.
    pub seen: Seen,
    /// Where it is reached.
    pub address: String,
    /// It never votes (`read_replica`).
    pub non_voter: bool,
}

/// What the log says of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// On its disk.
    pub matched: Index,
    /// When it was last heard.
    pub heard: Option<Time>,
}

/// What a look is at.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// This server, which leads.
    pub own: NodeId,
    /// In force, and committed.
    pub members: &'a Membership,
    /// The pool.
    pub servers: &'a BTreeMap<NodeId, Server>,
    /// All members but this server.
    pub progress: &'a BTreeMap<NodeId, Progress>,
    /// The last entry of the log.
    pub last: Index,
}

/// What the leader remembers between looks.
#[derive(Clone, Debug, Default)]
pub struct Autopilot {
    /// Since when each is healthy.
    healthy_since: BTreeMap<NodeId, Time>,
    pub(crate) flaws: Flaws,
}

impl Autopilot {
    /// Whether a member is healthy, and since when.
    #[must_use]
    pub fn healthy_since(&self, id: NodeId) -> Option<Time> {
        self.healthy_since.get(&id).copied()
    }

    /// Nothing is known any more: another server led.
    pub fn forget(&mut self) {
        self.healthy_since.clear();
    }

    /// Looks at everybody, and says what is to be changed next, if anything.
    pub fn look(&mut self, now: Time, world: World<'_>, settings: &Settings) -> Option<Change> {
        self.note_health(now, world, settings);
        self.add(world).or_else(|| Self::relocate(world)).or_else(|| self.promote(now, world, settings)).or_else(|| {
            let left = self.victim(world, |server| server.is_some_and(|server| server.seen == Seen::Left));
            let dead = || self.victim(world, |server| server.is_none_or(|server| server.seen == Seen::Failed));
            let enough = world.members.voter_count() as u64 > settings.min_quorum;
            left.or_else(|| if settings.cleanup_dead_servers && enough { dead() } else { None })
        })
    }

    fn note_health(&mut self, now: Time, world: World<'_>, settings: &Settings) {
        self.healthy_since.retain(|id, _| world.members.contains(*id));
        for id in world.members.ids() {
            let alive = id == world.own || world.servers.get(&id).is_some_and(|server| server.seen == Seen::Alive);
            let follows = id == world.own
                || world.progress.get(&id).is_some_and(|progress| {
                    progress.heard.is_some_and(|at| now.since(at) <= settings.last_contact_threshold)
                        && world.last.saturating_sub(progress.matched) <= settings.max_trailing_logs
                });
            if alive && follows {
                self.healthy_since.entry(id).or_insert(now);
            } else {
                self.healthy_since.remove(&id);
            }
        }
    }

    fn add(&self, world: World<'_>) -> Option<Change> {
        let new = |(id, server): &(&NodeId, &Server)| server.seen == Seen::Alive && !world.members.contains(**id);
        let (id, server) = world.servers.iter().find(new)?;
        Some(Change::AddLearner { id: *id, address: server.address.clone() })
    }

    fn relocate(world: World<'_>) -> Option<Change> {
        world.servers.iter().filter(|(_, server)| server.seen == Seen::Alive).find_map(|(id, server)| {
            let member = world.members.0.get(id)?;
            (member.address != server.address).then(|| Change::Move { id: *id, address: server.address.clone() })
        })
    }

    fn promote(&self, now: Time, world: World<'_>, settings: &Settings) -> Option<Change> {
        world.members.0.iter().find_map(|(id, member)| {
            let wanted = world.servers.get(id).is_some_and(|server| !server.non_voter);
            let stable = self.healthy_since.get(id)?;
            let ripe = now.since(*stable) >= settings.server_stabilization_time;
            (!member.voter && wanted && ripe).then_some(Change::Promote(*id))
        })
    }

    /// A member of that kind that can go.
    fn victim(&self, world: World<'_>, kind: impl Fn(Option<&Server>) -> bool) -> Option<Change> {
        let is_dead =
            |id: NodeId| id != world.own && !world.servers.get(&id).is_some_and(|server| server.seen == Seen::Alive);
        let voters = world.members.voter_count();
        let dead = world.members.voters().filter(|id| is_dead(*id)).count();
        world.members.0.iter().find_map(|(id, member)| {
            if *id == world.own || !kind(world.servers.get(id)) {
                return None;
            }
            let left = world.servers.get(id).is_some_and(|server| server.seen == Seen::Left);
            // Who left asked for it: then it is enough that the rest is a quorum. See the module for the dead.
            let spared = if left { (voters - dead) * 2 > voters - 1 } else { dead * 2 < voters && dead < voters / 2 };
            let spared = spared || self.flaws.has(Flaw::DeadAlwaysRemoved);
            (!member.voter || spared).then_some(Change::Remove(*id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_raft::Member;

    fn members(of: &[(u128, bool)]) -> Membership {
        let member = |voter| Member { voter, address: String::from("a") };
        Membership(of.iter().map(|(id, voter)| (NodeId(*id), member(*voter))).collect())
    }

    fn servers(of: &[(u128, Seen)]) -> BTreeMap<NodeId, Server> {
        let server = |seen| Server { seen, address: String::from("a"), non_voter: false };
        of.iter().map(|(id, seen)| (NodeId(*id), server(*seen))).collect()
    }

    /// Looks twice, eleven seconds apart, with everybody alive heard and caught up.
    fn look(of: &[(u128, bool)], seen: &[(u128, Seen)]) -> Option<Change> {
        let (members, servers) = (members(of), servers(seen));
        let mut autopilot = Autopilot::default();
        let mut found = None;
        for second in [100, 111] {
            let now = Time::ZERO + Duration::from_secs(second);
            let progress = servers
                .iter()
                .filter(|(_, server)| server.seen == Seen::Alive)
                .map(|(id, _)| (*id, Progress { matched: 9, heard: Some(now) }))
                .collect();
            let world = World { own: NodeId(1), members: &members, servers: &servers, progress: &progress, last: 9 };
            found = autopilot.look(
                now,
                world,
                &convoke_api::operator::configured(&convoke_config::config::Config::default()),
            );
        }
        found
    }

    #[test]
    fn it_adds_promotes_and_removes() {
        use Seen::{Alive, Failed, Left};
        let one = (1, Alive);
        let add = Some(Change::AddLearner { id: NodeId(2), address: String::from("a") });
        type Case<'a> = (&'a [(u128, bool)], &'a [(u128, Seen)], Option<Change>);
        let table: &[Case<'_>] = &[
            (&[(1, true)], &[one], None),
            (&[(1, true)], &[one, (2, Alive)], add),
            (&[(1, true)], &[one, (2, Failed)], None),
            (&[(1, true), (2, false)], &[one, (2, Alive)], Some(Change::Promote(NodeId(2)))),
            (&[(1, true), (2, false)], &[one, (2, Failed)], Some(Change::Remove(NodeId(2)))),
            // Two need each other, dead or alive; who left can go.
            (&[(1, true), (2, true)], &[one, (2, Failed)], None),
            (&[(1, true), (2, true), (3, true)], &[one, (2, Alive), (3, Failed)], None),
            (&[(1, true), (2, true), (3, true)], &[one, (2, Alive), (3, Left)], Some(Change::Remove(NodeId(3)))),
            (&[(1, true), (2, true), (3, true)], &[one, (2, Failed), (3, Failed)], None),
            // Replaced: now it can.
            (
                &[(1, true), (2, true), (3, true), (4, true)],
                &[one, (2, Alive), (3, Failed), (4, Alive)],
                Some(Change::Remove(NodeId(3))),
            ),
            // Nobody knows it any more.
            (
                &[(1, true), (2, true), (3, true), (4, true)],
                &[one, (2, Alive), (4, Alive)],
                Some(Change::Remove(NodeId(3))),
            ),
            (&[(1, true), (2, true), (3, true), (4, true)], &[one, (2, Failed), (3, Failed), (4, Alive)], None),
        ];
        for (members, seen, expected) in table {
            assert_eq!(look(members, seen), *expected, "{members:?} {seen:?}");
        }
    }

    #[test]
    fn a_learner_that_stumbles_waits_anew() {
        let (members, servers) = (members(&[(1, true), (2, false)]), servers(&[(1, Seen::Alive), (2, Seen::Alive)]));
        let mut autopilot = Autopilot::default();
        let mut at = |second: u64, matched: Index| {
            let now = Time::ZERO + Duration::from_secs(second);
            let progress = [(NodeId(2), Progress { matched, heard: Some(now) })].into();
            let world = World { own: NodeId(1), members: &members, servers: &servers, progress: &progress, last: 1000 };
            autopilot.look(now, world, &convoke_api::operator::configured(&convoke_config::config::Config::default()))
        };
        assert_eq!(at(0, 1000), None);
        assert_eq!(at(9, 500), None, "far behind");
        assert_eq!(at(12, 1000), None);
        assert_eq!(at(22, 1000), Some(Change::Promote(NodeId(2))));
    }
}
