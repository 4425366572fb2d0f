//! What a leader writes of the members: their node, the health that membership sees, and the `consul` service of
//! servers.
//!
//! A member that changed is looked at once; everybody is every minute. Whoever is alive has a row and is healthy, who is
//! failed is critical, who left is taken out of the catalog. A node that membership has never heard of since this leader
//! started was kept from an earlier life: it is critical after a minute, and goes when a failed member would.
//!
//! Only nodes that membership itself put there (they have [`SERF_HEALTH`]) are ever taken out, and never the own one.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_catalog::command::{Deregister, Register};
use convoke_catalog::model::{Check, Node, Service, Status, Str, Tenancy};
use convoke_catalog::{Command, Scope, View};
use convoke_config::config::Config;
use convoke_kit::{Deadline, Time};
use convoke_swim::{Members, Profile, State};

use crate::flaw::{Flaw, Flaws};
use crate::identity;

/// Id of the check that membership keeps for every node.
pub const SERF_HEALTH: &str = "serfHealth";
/// Id and name of the service of servers.
pub const CONSUL_SERVICE: &str = "consul";
/// Between two looks at everybody.
const FULL: Duration = Duration::from_secs(60);
/// Members looked at in one go; the rest follows.
const BATCH: usize = 256;
/// Before the rest, and before what was refused for lack of room.
const PAUSE: Duration = Duration::from_millis(20);
const ALIVE: &str = "Agent alive and reachable";
const FAILED: &str = "Agent not live or unreachable";

/// What membership knows of a member that the catalog shows.
struct Facts<'a> {
    name: &'a str,
    id: &'a str,
    address: String,
    datacenter: &'a str,
    partition: &'a str,
    /// Port and metadata of the `consul` service; of servers only.
    server: Option<(u16, BTreeMap<Str, Str>)>,
}

impl<'a> Facts<'a> {
    fn of(profile: &'a Profile) -> Self {
        let tag = |key: &str| profile.tags().get(key).unwrap_or("");
        let server = (tag("role") == "consul").then(|| {
            let version = tag("build").split(':').next().unwrap_or("");
            (
                tag("port").parse().unwrap_or(0),
                server_meta(profile.tags().get("nonvoter").is_some(), tag("raft_vsn"), version),
            )
        });
        let partition = profile.tags().get("ap").unwrap_or("default");
        Self {
            name: profile.name(),
            id: tag("id"),
            address: profile.address().ip().to_string(),
            datacenter: tag("dc"),
            partition,
            server,
        }
    }

    fn node(&self) -> Node {
        Node {
            id: (!self.id.is_empty()).then(|| self.id.into()),
            name: self.name.into(),
            partition: self.partition.into(),
            address: self.address.as_str().into(),
            datacenter: self.datacenter.into(),
            ..Node::default()
        }
    }
}

fn server_meta(non_voter: bool, raft: &str, version: &str) -> BTreeMap<Str, Str> {
    let meta: [(&str, Str); 6] = [
        ("non_voter", if non_voter { "true" } else { "false" }.into()),
        ("raft_version", raft.into()),
        ("serf_protocol_current", "2".into()),
        ("serf_protocol_max", "5".into()),
        ("serf_protocol_min", "1".into()),
        ("version", version.into()),
    ];
    meta.into_iter().map(|(key, value)| (Str::from(key), value)).collect()
}

/// The `consul` service of a server.
fn consul_service(port: u16, meta: BTreeMap<Str, Str>, partition: &Str) -> Service {
    Service {
        id: CONSUL_SERVICE.into(),
        name: CONSUL_SERVICE.into(),
        tenancy: Tenancy { partition: Arc::clone(partition), ..Tenancy::default() },
        port,
        meta: Some(meta),
        weight_passing: 1,
        weight_warning: 1,
        ..Service::default()
    }
}

/// The check of a member.
fn serf_health(node: &Node, alive: bool) -> Check {
    Check {
        node: Arc::clone(&node.name),
        tenancy: Tenancy { partition: Arc::clone(&node.partition), ..Tenancy::default() },
        id: SERF_HEALTH.into(),
        name: "Serf Health Status".into(),
        status: if alive { Status::Passing } else { Status::Critical },
        output: if alive { ALIVE } else { FAILED }.into(),
        ..Check::default()
    }
}

fn has_check(view: &View, check: &Check) -> bool {
    view.checks_of(Scope::from(&check.tenancy), &check.node)
        .get(&check.id)
        .is_some_and(|row| row.status == check.status && row.output == check.output)
}

/// Membership put it there.
fn is_ours(view: &View, node: &Node) -> bool {
    let tenancy = Tenancy { partition: Arc::clone(&node.partition), ..Tenancy::default() };
    view.checks_of(Scope::from(&tenancy), &node.name).get(SERF_HEALTH).is_some()
}

/// The command that makes the catalog show a member that is alive; `None` when it does already.
fn alive(node: Node, server: Option<(u16, BTreeMap<Str, Str>)>, view: &View) -> Option<Command> {
    let service = server.map(|(port, meta)| consul_service(port, meta, &node.partition));
    let check = serf_health(&node, true);
    let row = view.node(&node.partition, &node.name);
    let known = row.is_some_and(|row| row.id == node.id && row.address == node.address);
    let served = service.as_ref().is_none_or(|service| {
        view.services_of(Scope::from(&service.tenancy), &node.name)
            .get(&service.id)
            .is_some_and(|row| row.port == service.port && row.meta == service.meta)
    });
    let services: Vec<Service> = service.into_iter().collect();
    // What the agent says of its own node may have come meanwhile: membership knows less, and does not overwrite it.
    let skip_node_update = known || row.is_none();
    (!known || !served || !has_check(view, &check))
        .then(|| Command::Register(Register { node, skip_node_update, services, checks: vec![check] }))
}

/// As [`alive`], for the own member, whom membership never has to be asked about.
#[must_use]
pub fn own_member(config: &Config, identity: &Identity, node: &Node, view: &View) -> Option<Command> {
    // Membership knows a name, an id and an address. The rest of the row is what the agent itself says of it.
    let member = Node { tagged_addresses: None, meta: None, ..node.clone() };
    let meta = server_meta(config.read_replica, &config.raft.protocol.to_string(), &identity.version);
    alive(member, Some((config.ports.server.unwrap_or(0), meta)), view)
}

/// What a comparison looks at.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The agent's configuration.
    pub config: &'a Config,
    /// Its own name.
    pub own: &'a str,
    /// The pool.
    pub members: &'a Members,
    /// The newest view.
    pub view: &'a View,
}

/// Something to be committed.
#[derive(Debug)]
pub struct Proposal {
    /// Comes back with the outcome.
    pub member: Str,
    /// The change.
    pub command: Box<Command>,
}

/// Which members the catalog may show wrongly.
#[derive(Debug)]
pub struct Reconcile {
    /// To be looked at; with the last profile of those that are forgotten.
    dirty: BTreeMap<Str, Option<Arc<Profile>>>,
    /// Proposals under way, by member: until they are over the view does not tell.
    in_flight: BTreeMap<Str, usize>,
    /// Nodes from an earlier life that membership does not know, and since when.
    missing: BTreeMap<Str, Time>,
    /// Conflicts that people know of.
    told: BTreeSet<String>,
    full_at: Time,
    more_at: Option<Time>,
    pub(crate) flaws: Flaws,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self {
            dirty: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            missing: BTreeMap::new(),
            told: BTreeSet::new(),
            full_at: Time::ZERO + FULL,
            more_at: None,
            flaws: Flaws::none(),
        }
    }
}

impl Reconcile {
    /// Another leader looked at members until now: everybody is looked at anew.
    pub fn restart(&mut self, now: Time) {
        self.in_flight.clear();
        self.more_at = None;
        self.full_at = now;
    }

    /// Something happened to a member. `forgotten`: it is not in the pool any more.
    pub fn changed(&mut self, profile: &Arc<Profile>, forgotten: bool) {
        if self.flaws.has(Flaw::BackIsGone) && self.dirty.get(profile.name()).is_some_and(Option::is_some) {
            return;
        }
        self.dirty.insert(profile.name().into(), forgotten.then(|| Arc::clone(profile)));
    }

    /// A proposal is over. What was refused is tried again, `soon` or with the next look at everybody.
    pub fn over(&mut self, now: Time, member: &Str, retry_soon: bool) {
        if let Some(count) = self.in_flight.get_mut(member) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(member);
            }
        }
        if retry_soon {
            self.dirty.entry(Arc::clone(member)).or_insert(None);
            self.more_at = Some(now + PAUSE);
        }
    }

    /// When [`Reconcile::run`] has something to do without a change.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let at = self.more_at.map_or(self.full_at, |at| at.min(self.full_at));
        Deadline { at, reason: "reconcile members" }
    }

    /// Whether [`Reconcile::run`] has nothing to do now.
    #[must_use]
    pub fn rests(&self, now: Time) -> bool {
        self.dirty.is_empty() && now < self.deadline().at
    }

    /// Looks at what changed, or at everybody if that is due. Texts are for the log.
    pub fn run(&mut self, now: Time, world: World<'_>, proposals: &mut Vec<Proposal>, texts: &mut Vec<String>) {
        if now >= self.full_at {
            self.full_at = now + FULL;
            self.look_at_everybody(now, world);
        }
        if self.more_at.is_some_and(|at| at > now) {
            return;
        }
        self.more_at = None;
        let ready: Vec<Str> =
            self.dirty.keys().filter(|name| !self.in_flight.contains_key(*name)).take(BATCH).cloned().collect();
        if ready.len() == BATCH {
            self.more_at = Some(now + PAUSE);
        }
        for name in ready {
            let forgotten = self.dirty.remove(&name).flatten();
            let commands = self.decide(now, &name, forgotten.as_deref(), world, texts);
            if !commands.is_empty() {
                self.in_flight.insert(Arc::clone(&name), commands.len());
            }
            proposals.extend(
                commands.into_iter().map(|command| Proposal { member: Arc::clone(&name), command: Box::new(command) }),
            );
        }
    }

    fn look_at_everybody(&mut self, now: Time, world: World<'_>) {
        self.told.clear();
        for member in world.members.iter() {
            self.dirty.entry(member.profile.name().into()).or_insert(None);
        }
        let partition = identity::partition(world.config);
        let mut missing = BTreeMap::new();
        for node in world.view.nodes(partition) {
            let name = &node.name;
            if !name.eq_ignore_ascii_case(world.own) && world.members.get(name).is_none() && is_ours(world.view, node) {
                // Seen for the first time: it gets until the next look to join.
                match self.missing.get(name) {
                    Some(since) => {
                        missing.insert(Arc::clone(name), *since);
                        self.dirty.entry(Arc::clone(name)).or_insert(None);
                    }
                    None => {
                        missing.insert(Arc::clone(name), now);
                    }
                }
            }
        }
        self.missing = missing;
    }

    fn decide(
        &mut self,
        now: Time,
        name: &Str,
        forgotten: Option<&Profile>,
        world: World<'_>,
        texts: &mut Vec<String>,
    ) -> Vec<Command> {
        if name.eq_ignore_ascii_case(world.own) {
            return Vec::new();
        }
        let there = world.members.get(name).filter(|_| forgotten.is_none() || !self.flaws.has(Flaw::BackIsGone));
        let Some(member) = there else {
            if let Some(profile) = forgotten {
                return gone(&Facts::of(profile), world.view).into_iter().collect();
            }
            return self.decide_missing(now, name, world).into_iter().collect();
        };
        let facts = Facts::of(member.profile);
        match member.state {
            State::Alive | State::Suspect => self.decide_alive(facts, world, texts),
            State::Failed => failed(&facts, world.view).into_iter().collect(),
            State::Left => gone(&facts, world.view).into_iter().collect(),
        }
    }

    fn decide_alive(&mut self, facts: Facts<'_>, world: World<'_>, texts: &mut Vec<String>) -> Vec<Command> {
        if !facts.id.is_empty()
            && let Some(holder) = world.view.node_by_id(facts.partition, facts.id)
            && !holder.name.eq_ignore_ascii_case(facts.name)
        {
            let up = holder.name.eq_ignore_ascii_case(world.own)
                || world.members.get(&holder.name).is_some_and(|m| m.state.is_up());
            if up {
                self.tell(texts, || {
                    format!(
                        "member {:?} ({}) has the node id {} of {:?}, which is alive; it stays out of the catalog: stop it, \
                         remove node-id from its data_dir, and start it again",
                        facts.name, facts.address, facts.id, holder.name
                    )
                });
                return Vec::new();
            }
        }
        let mut commands = Vec::new();
        let row = world.view.node(facts.partition, facts.name);
        if let Some(id) = row.and_then(|row| row.id.as_deref())
            && id != facts.id
        {
            // The pool has one member of a name, and it says who that is: the row is of a machine that is gone.
            commands.push(deregister(facts.name, facts.partition));
        }
        commands.extend(alive(facts.node(), facts.server, world.view));
        commands
    }

    /// A node of an earlier life, or one whose member came and went between two looks.
    fn decide_missing(&self, now: Time, name: &Str, world: World<'_>) -> Option<Command> {
        let since = self.missing.get(name)?;
        let row = world.view.node(identity::partition(world.config), name)?;
        if now.since(*since) >= world.config.reconnect_timeout {
            return Some(deregister(name, &row.partition));
        }
        critical(row, world.view)
    }

    fn tell(&mut self, texts: &mut Vec<String>, text: impl FnOnce() -> String) {
        let text = text();
        if self.told.insert(text.clone()) {
            texts.push(text);
        }
    }
}

fn failed(facts: &Facts<'_>, view: &View) -> Option<Command> {
    let row = row_of(facts, view)?;
    critical(row, view)
}

fn critical(row: &Arc<Node>, view: &View) -> Option<Command> {
    let check = serf_health(row, false);
    if has_check(view, &check) {
        return None;
    }
    let node = Node::clone(row);
    Some(Command::Register(Register { node, skip_node_update: true, services: vec![], checks: vec![check] }))
}

fn gone(facts: &Facts<'_>, view: &View) -> Option<Command> {
    row_of(facts, view).filter(|row| is_ours(view, row)).map(|row| deregister(&row.name, &row.partition))
}

/// The row of a member; not that of another machine of its name.
fn row_of<'v>(facts: &Facts<'_>, view: &'v View) -> Option<&'v Arc<Node>> {
    view.node(facts.partition, facts.name).filter(|row| row.id.as_deref().is_none_or(|id| id == facts.id))
}

fn deregister(name: &str, partition: &str) -> Command {
    let tenancy = Tenancy { partition: partition.into(), ..Tenancy::default() };
    Command::Deregister(Deregister { node: name.into(), tenancy, ..Deregister::default() })
}
