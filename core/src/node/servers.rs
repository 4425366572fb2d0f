//! This agent and the servers: its part in consensus, if it is one; whom it asks, if it is not.
//!
//! Consensus decides, [`Forward`] brings requests to whoever can serve them, [`Bootstrap`] makes the first cluster and
//! [`Autopilot`] keeps it. Here their actions become the node's.
//!
//! * `questions`: what agents ask each other. * `members`: who the servers are, and who they should be.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_api::agent_view::{RaftServer, RaftView};
use convoke_api::response::Response;
use convoke_catalog::{Command, Reply};
use convoke_config::config::Config;
use convoke_kit::{Deadline, Machine as _, Out, Rng, Time};
use convoke_raft::{self as raft, Member, Membership, NodeId, ReadMode, Refusal, Role, Term};

use crate::autopilot::{self, Autopilot, Seen};
use crate::bootstrap::Bootstrap;
use crate::consensus::{self, Consensus};
use crate::flaw::Flaw;
#[cfg(feature = "flaws")]
use crate::flaw::Flaws;
use crate::forward::{self, Failure, Forward, Key, Outcome, Route, Wish};
use crate::identity::{self};
use crate::node::shell::{Denied, Origin, Work};
use crate::node::{Action, AskId, CallId, Level, Node, RequestId};
use crate::recovery::Recovered;
use crate::rpc::{Answer, Ask, Body};
use crate::store::{self, Change};
use crate::sync;

mod members;
mod presence;
mod questions;

pub(super) use presence::Presence;
use questions::refused;

/// Folder of what is kept of the cluster.
pub(super) const FOLDER: &str = "raft";
/// Whom the right to begin was promised to.
const PROMISE: &str = "raft/promise";
/// A question that is no change must be answered within this.
const LIMIT: Duration = Duration::from_secs(5);
/// Before something that changed is looked at, with what changes at the same moment.
const SOON: Duration = Duration::from_millis(1);
/// Questions that may be under way. At the bound no more are asked; they are asked again later.
const CALLS: usize = 8192;
/// Bytes of the log of a server alone: enough that snapshots are rare, and a start is quick.
const ALONE_BYTES: usize = 8 << 20;
/// Before a client agent asks again what the catalog has of its node.
const ROWS_PAUSE: Duration = Duration::from_secs(1);

/// Who waits for an outcome of consensus.
#[derive(Debug)]
pub(super) enum Tag {
    /// A request that is brought.
    Forward(Key),
    /// A duty of the leader: refused, it is done again by itself.
    Own(Origin),
    /// Another agent asks.
    Remote(AskId),
    /// Everything committed before this reign is applied.
    Establish(Term),
    /// A change of membership.
    Change(Option<RequestId>),
    /// Nobody.
    Quiet,
}

/// What a question was about.
#[derive(Debug)]
enum Call {
    Propose { key: Key, command: Box<Command> },
    Rows,
    Bootstrap { from: NodeId },
}

/// A server of the pool.
#[derive(Clone, Debug)]
pub(super) struct Known {
    name: String,
    seen: Seen,
    address: SocketAddr,
    non_voter: bool,
    expect: Option<usize>,
}

/// Everything between this agent and the servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) id: NodeId,
    pub(super) consensus: Option<Consensus<Tag>>,
    /// When it was last there.
    pub(super) presence: Presence,
    consensus_out: Out<consensus::Action<Tag>>,
    forward: Forward<Origin>,
    forward_out: Out<forward::Action<Origin>>,
    role: Role,
    term: Term,
    leader: Option<NodeId>,
    pub(super) members: Arc<Membership>,
    /// What readers see of all this.
    pub(super) view: Option<Arc<RaftView>>,
    known: BTreeMap<NodeId, Known>,
    calls: BTreeMap<CallId, Call>,
    next_call: u64,
    bootstrap: Option<Bootstrap>,
    /// Promises to be told when they are on disk, by their write.
    promises: Vec<(u64, AskId)>,
    pub(super) autopilot: Autopilot,
    /// A write failed.
    halted: Option<String>,
    /// A change of membership is under way.
    changing: bool,
    /// The tables are being encoded.
    exporting: bool,
    look_at: Option<Time>,
    /// A full comparison is due as soon as there is somebody to compare with.
    owes: bool,
    /// A follower finds out how far it must have applied for that.
    reading: bool,
    rows_at: Option<Time>,
    /// A client agent knows what the catalog has of its node.
    rows_known: bool,
    /// The order in which a client agent asks servers is its own.
    salt: u64,
}

/// The settings of consensus.
fn raft_config(config: &Config) -> raft::Config {
    let scaled = raft::Config {
        snapshot_threshold: config.raft.snapshot_threshold,
        trailing: config.raft.trailing_logs,
        ..raft::Config::scaled(config.performance.raft_multiplier)
    };
    // Nobody follows a server that is alone.
    if identity::leads_alone(config) {
        raft::Config { trailing: 256, snapshot_bytes: ALONE_BYTES, ..scaled }
    } else {
        scaled
    }
}

impl Servers {
    /// Everything that was recovered but the tables.
    pub(super) fn new(
        config: &Config,
        identity: &convoke_api::agent_view::Identity,
        recovered: Recovered,
        stored: &store::Recovered,
        durable: bool,
        rng: &mut Rng,
    ) -> Result<Self, raft::RecoverError> {
        let id = identity::raft_id(&identity.node_id);
        let boot =
            |recovered, seed| consensus::Boot { id, durable, recovered, config: raft_config(config), seed, flaw: None };
        let consensus = config.server.then(|| Consensus::new(boot(recovered, rng.next_u64()))).transpose()?;
        let promised = stored.files.iter().find(|(path, _)| path == PROMISE).and_then(|(_, content)| {
            let bytes: [u8; 16] = content.as_slice().try_into().ok()?;
            Some(NodeId(u128::from_le_bytes(bytes)))
        });
        let expects = config.server && config.bootstrap_expect > 1 && !identity::leads_alone(config);
        let expect = usize::try_from(config.bootstrap_expect).unwrap_or(usize::MAX);
        Ok(Self {
            presence: Presence::default(),
            id,
            consensus,
            consensus_out: Out::new(),
            forward: Forward::new(forward::Settings { hold: config.performance.rpc_hold_timeout }, rng.fork()),
            forward_out: Out::new(),
            role: Role::Follower,
            term: 0,
            leader: None,
            members: Arc::default(),
            view: None,
            known: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            bootstrap: expects.then(|| Bootstrap::new(id, expect, promised)),
            promises: Vec::new(),
            autopilot: Autopilot::default(),
            halted: None,
            changing: false,
            exporting: false,
            look_at: None,
            owes: false,
            reading: false,
            rows_at: None,
            rows_known: false,
            salt: rng.next_u64(),
        })
    }

    /// Puts a known bug back.
    #[cfg(feature = "flaws")]
    pub(super) fn plant(&mut self, flaws: Flaws) {
        self.autopilot.flaws = flaws;
        if let Some(bootstrap) = &mut self.bootstrap {
            bootstrap.flaws = flaws;
        }
    }

    /// It has a log, and so belongs to a cluster.
    pub(super) fn has_log(&self) -> bool {
        self.consensus.as_ref().is_some_and(|consensus| consensus.raft().last() != raft::Position::ZERO)
    }

    /// It is the only one that votes.
    pub(super) fn is_alone(&self) -> bool {
        self.members.is_lone_voter(self.id)
    }

    /// Where a server is reached: as the pool says, or as the membership remembers.
    fn address(&self, id: NodeId) -> Option<SocketAddr> {
        let known = self.known.get(&id).map(|known| known.address);
        known.or_else(|| self.members.0.get(&id)?.address.parse().ok())
    }

    /// It leads, though it may not yet know everything that was committed before.
    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// Where the leader is.
    pub(super) fn leader_address(&self) -> Option<SocketAddr> {
        self.address(self.leader?)
    }

    /// Where all members are.
    pub(super) fn peers(&self) -> Vec<SocketAddr> {
        self.members.ids().filter_map(|id| self.address(id)).collect()
    }

    /// Servers that are up, in the order in which a client agent asks them.
    pub(super) fn ask_order(&self) -> Vec<SocketAddr> {
        let up = self.known.iter().filter(|(_, known)| known.seen == Seen::Alive);
        let mut all: Vec<(u64, SocketAddr)> =
            up.map(|(id, known)| (Rng::new(self.salt ^ id.0 as u64).next_u64(), known.address)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, address)| address).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let consensus = self.consensus.as_ref().and_then(Consensus::poll_timeout);
        let at = |at: Option<Time>, reason| at.map(|at| Deadline { at, reason });
        let own = Deadline::earliest(at(self.look_at, "look at servers"), at(self.rows_at, "rows of the own node"));
        let own = Deadline::earliest(own, self.presence.deadline());
        Deadline::earliest(Deadline::earliest(consensus, self.forward.poll_timeout()), own)
    }

    fn call(&mut self, to: SocketAddr, ask: Ask, call: Call, limit: Duration, out: &mut Out<Action>) -> bool {
        if self.calls.len() >= CALLS {
            return false;
        }
        self.next_call += 1;
        let id = CallId(self.next_call);
        self.calls.insert(id, call);
        out.push(Action::Ask { call: id, to, ask, limit });
        true
    }
}

impl Node {
    /// The term in which this server leads and knows everything that was committed before; 0: it does not.
    #[must_use]
    pub const fn reign(&self) -> u64 {
        if self.leads { self.servers.term } else { 0 }
    }

    /// Until when a leader's view is known to be current without asking anybody.
    #[must_use]
    pub fn lease_until(&self, now: Time) -> Option<Time> {
        let consensus = self.servers.consensus.as_ref()?;
        if !self.leads {
            return None;
        }
        // Nobody else can be elected, until a change of membership says so here first.
        if self.servers.is_alone() { Some(Time::from_nanos(u64::MAX)) } else { consensus.raft().lease_until(now) }
    }

    /// When the leader was last heard; `None` while nobody leads, or this server does.
    #[must_use]
    pub fn leader_heard(&self) -> Option<Time> {
        let consensus = self.servers.consensus.as_ref().filter(|_| !self.leads)?;
        self.servers.leader.and_then(|_| consensus.raft().heard())
    }

    /// A leader that leaves lets another one lead first, which then removes it: nobody has to notice that it is gone.
    pub(super) fn resign(&mut self) {
        if self.leads && !self.servers.is_alone() {
            self.push(Work::Consensus(consensus::Event::Transfer { to: None, origin: Tag::Quiet }));
        }
    }

    /// At the start: a server alone begins by itself.
    pub(super) fn start_servers(&mut self) {
        self.servers_seen(Time::ZERO);
        if identity::leads_alone(&self.config) && self.servers.consensus.is_some() && !self.servers.has_log() {
            let member = Member { voter: true, address: self.own_server_address() };
            let members = Membership([(self.servers.id, member)].into());
            self.push(Work::Consensus(consensus::Event::Bootstrap { members, origin: Tag::Quiet }));
        }
    }

    fn own_server_address(&self) -> String {
        identity::server_address(&self.config, &self.identity).map_or_else(String::new, |address| address.to_string())
    }

    // ---- consensus

    pub(super) fn with_consensus(&mut self, now: Time, event: consensus::Event<Tag>, out: &mut Out<Action>) {
        let Some(consensus) = &mut self.servers.consensus else { return };
        let mut actions = core::mem::take(&mut self.servers.consensus_out);
        consensus.handle(now, event, &mut actions);
        self.drain_consensus(now, actions, out);
    }

    pub(super) fn exported(&mut self, index: u64, tables: Vec<u8>) {
        self.servers.exporting = false;
        self.push(Work::Consensus(consensus::Event::Snapshot { index, tables }));
    }

    fn drain_consensus(&mut self, now: Time, mut actions: Out<consensus::Action<Tag>>, out: &mut Out<Action>) {
        for action in actions.drain_actions() {
            self.on_consensus(now, action, out);
        }
        self.servers.consensus_out = actions;
    }

    fn on_consensus(&mut self, now: Time, action: consensus::Action<Tag>, out: &mut Out<Action>) {
        match action {
            consensus::Action::Append { number, bytes } => self.writes.log(number, Change::Append { bytes }, out),
            consensus::Action::Compact { number, snapshot, log } => {
                self.writes.log(number, Change::Compact { snapshot, log }, out);
            }
            consensus::Action::TakeSnapshot { index } => {
                // One at a time: the next one is asked for again in time.
                if !core::mem::replace(&mut self.servers.exporting, true) {
                    out.push(Action::Export { index, tables: Box::new(self.tables.freeze()) });
                }
            }
            consensus::Action::Committed { index, client: (client, serial), mut command, origin } => {
                if let Command::SessionExpire(expire) = &mut *command
                    && self.flaws.has(Flaw::OldEndCounts)
                {
                    expire.epoch = self.tables.catalog.view().session_epoch();
                }
                let deletes = matches!(*command, Command::KvDelete(_)) && self.flaws.has(Flaw::DeletionWakesNobody);
                let applied = self.tables.apply(index, client, serial, *command);
                let reply = applied.map(|applied| {
                    self.note_sessions(now, &applied.changes);
                    if applied.changes.is_everything() {
                        self.restored(now);
                    }
                    self.mirrors.catalog_changed(&applied.changes);
                    if !deletes {
                        self.changes.merge(applied.changes);
                    }
                    applied.reply
                });
                match (origin, reply) {
                    (Some(tag), Some(reply)) => self.concluded(now, tag, None, Outcome::Reply(reply), out),
                    (Some(tag), None) => self.concluded(now, tag, None, Outcome::Unknown, out),
                    (None, _) => {}
                }
            }
            consensus::Action::Installed { tables, .. } => {
                self.tables = *tables;
                self.replaced = !self.flaws.has(Flaw::InstallWakesNobody);
                self.mirrors.everything_changed();
            }
            consensus::Action::Readable { origin: Tag::Establish(term) } => self.establish(now, term, out),
            consensus::Action::Readable { origin } | consensus::Action::Done { origin } => {
                self.concluded(now, origin, None, Outcome::Reply(Reply::Done), out);
            }
            consensus::Action::Refused { origin, command, refusal } => {
                self.concluded(now, origin, command, Outcome::Refused(refusal), out);
            }
            consensus::Action::Unknown { origin, command } => {
                self.concluded(now, origin, command, Outcome::Unknown, out);
            }
            consensus::Action::Send { to, message } => {
                if let Some(address) = self.servers.address(to) {
                    let body = Body::Raft { from: self.servers.id, to, message };
                    out.push(Action::Tell { to: address, body: Box::new(body) });
                }
            }
            consensus::Action::Role { role, term, leader } => self.role_changed(role, term, leader, out),
            consensus::Action::Members { members, .. } => {
                self.servers.members = members;
                self.servers.look_at = Some(now + SOON);
                self.route();
                self.refresh_members();
            }
            consensus::Action::Halted { error } => {
                self.servers.halted = Some(error.clone());
                self.route();
                Self::log(out, Level::Error, format!("this server stops: {error}"));
                self.exit = Some(1);
            }
        }
    }

    fn role_changed(&mut self, role: Role, term: Term, leader: Option<NodeId>, out: &mut Out<Action>) {
        let was = core::mem::replace(&mut self.servers.role, role);
        self.servers.term = term;
        let before = core::mem::replace(&mut self.servers.leader, leader);
        if role == Role::Leader && was != Role::Leader {
            Self::log(out, Level::Info, format!("election won: this server leads in term {term}"));
            let (mode, origin) = (ReadMode::Quorum, Tag::Establish(term));
            self.push(Work::Consensus(consensus::Event::Read { mode, origin }));
        } else if role != Role::Leader {
            if was == Role::Leader {
                Self::log(out, Level::Warn, format!("this server leads no more: term {term}"));
            }
            self.set_leads(false);
            if let Some(leader) = leader.filter(|_| before != leader) {
                let name = self.servers.known.get(&leader).map_or_else(|| format!("{leader:?}"), |k| k.name.clone());
                Self::log(out, Level::Info, format!("{name} leads in term {term}"));
            }
        }
        self.route();
        self.refresh_members();
    }

    /// A leader of this term has applied everything before it: its duties begin.
    fn establish(&mut self, now: Time, term: Term, out: &mut Out<Action>) {
        if self.servers.role != Role::Leader || self.servers.term != term {
            return;
        }
        self.set_leads(true);
        self.servers.autopilot.forget();
        self.servers.look_at = Some(now + SOON);
        self.sessions_lead(now);
        self.gossip.reconcile.restart(now);
        if self.tables.catalog.view().autopilot().is_none() {
            // Once in the life of a cluster: from here on the settings are changed by operators only.
            self.propose_own(self.first_autopilot(), Origin::Coordinates);
        }
        self.refresh_members();
        // With it comes the own node, as only a leader writes it.
        self.servers.owes = false;
        self.compare_now(now, true, out);
    }

    fn set_leads(&mut self, leads: bool) {
        if self.leads != leads {
            self.leads = leads;
            if !leads {
                self.sessions_follow();
            }
            self.servers.changing = false;
            self.agent_changed = true;
        }
    }

    /// Tells whoever waited.
    fn concluded(
        &mut self,
        now: Time,
        tag: Tag,
        command: Option<Box<Command>>,
        outcome: Outcome,
        out: &mut Out<Action>,
    ) {
        match tag {
            Tag::Forward(key) => self.with_forward(now, forward::Event::Over { key, command, outcome }, out),
            Tag::Own(origin) => match outcome {
                Outcome::Reply(reply) => self.committed(now, origin, &reply, out),
                Outcome::Refused(refusal) => self.denied(now, origin, &Denied::from(&refusal), out),
                Outcome::Unknown | Outcome::Unreachable(_) => {
                    self.denied(now, origin, &Denied::from(&Refusal::NoLeader), out);
                }
            },
            Tag::Remote(id) => {
                let answer = match outcome {
                    Outcome::Reply(reply) => Answer::Applied(reply),
                    Outcome::Refused(refusal) => refused(&refusal),
                    Outcome::Unknown | Outcome::Unreachable(_) => Answer::Unknown,
                };
                out.push(Action::Answer { id, answer });
            }
            Tag::Establish(term) => {
                // It leads, but could not find out: it asks again until it does, or leads no more.
                if self.servers.role == Role::Leader && self.servers.term == term && !self.leads {
                    self.servers.look_at = Some(now + autopilot::INTERVAL);
                }
            }
            Tag::Change(asker) => {
                self.servers.changing = false;
                self.servers.look_at = Some(now + SOON);
                let text = match outcome {
                    Outcome::Reply(_) => None,
                    Outcome::Refused(refusal) => Some(refusal.to_string()),
                    Outcome::Unknown | Outcome::Unreachable(_) => Some(Refusal::NoLeader.to_string()),
                };
                match (asker, text) {
                    (Some(id), None) => self.reply(id, Response::empty(200)),
                    (Some(id), Some(text)) => self.reply(id, Response::text(500, text)),
                    (None, Some(text)) => {
                        Self::log(out, Level::Debug, format!("the membership stays as it is for now: {text}"));
                    }
                    (None, None) => {}
                }
            }
            Tag::Quiet => {}
        }
    }

    /// An operator removes a server.
    pub(super) fn remove_peer(&mut self, asker: RequestId, server: &str) {
        let id = identity::raft_id(server);
        let no = if !self.leads {
            "No cluster leader"
        } else if self.servers.is_alone() && id == self.servers.id {
            "this is the only server that votes: without it there is no cluster; add another one first"
        } else if self.servers.changing {
            "the membership is being changed already; try again in a moment"
        } else {
            return self.change_members(raft::Change::Remove(id), Some(asker));
        };
        self.reply(asker, Response::text(500, no));
    }

    /// Everything came from a snapshot: what this agent knows of itself and of others is put into it again.
    fn restored(&mut self, now: Time) {
        self.push(Work::Sync(sync::Event::Everything));
        if self.leads {
            self.gossip.reconcile.restart(now);
        }
    }

    /// Tells readers what is known of the servers. `now`: autopilot has looked.
    pub(super) fn refresh_raft(&mut self, now: Option<Time>) {
        let Some(consensus) = &self.servers.consensus else { return };
        let (raft, known) = (consensus.raft(), &self.servers.known);
        let peers: BTreeMap<NodeId, (u64, Option<Time>)> =
            raft.peers().into_iter().map(|(id, matched, heard)| (id, (matched, heard))).collect();
        let last = raft.last();
        let before = self.servers.view.take();
        let server = |(id, member): (&NodeId, &Member)| {
            let (uuid, own) = (identity::uuid(*id), *id == self.servers.id);
            let old = before.as_ref().and_then(|view| view.servers.iter().find(|server| server.id == uuid));
            let (matched, heard) = peers.get(id).copied().unwrap_or((0, None));
            let quiet = match (now, heard) {
                (Some(now), Some(heard)) => now.since(heard),
                _ => old.map_or(Duration::ZERO, |old| old.last_contact),
            };
            let since = self.servers.autopilot.healthy_since(*id);
            let alone = own && self.leads;
            let serf_status = match known.get(id).map(|known| known.seen) {
                Some(Seen::Alive) => "alive",
                Some(Seen::Failed) => "failed",
                Some(Seen::Left) => "left",
                None => "none",
            };
            RaftServer {
                node: known.get(id).map_or_else(|| uuid.clone(), |known| known.name.clone()),
                address: self.servers.address(*id).map_or_else(|| member.address.clone(), |at| at.to_string()),
                leader: self.servers.leader == Some(*id),
                voter: member.voter,
                serf_status,
                version: if own { self.identity.version.clone() } else { String::new() },
                last_contact: if own { Duration::ZERO } else { quiet },
                last_term: last.term,
                last_index: if own { last.index } else { matched },
                healthy: since.is_some() || alone,
                stable_since: self.wall + since.map_or(Duration::ZERO, Time::since_start),
                id: uuid,
            }
        };
        let servers = self.servers.members.0.iter().map(server).collect();
        let view = RaftView { servers, index: raft.membership().0, term: self.servers.term };
        self.servers.view = Some(Arc::new(view));
    }

    /// Changes the membership; told to `asker`.
    pub(super) fn change_members(&mut self, change: raft::Change, asker: Option<RequestId>) {
        self.servers.changing = true;
        self.push(Work::Consensus(consensus::Event::Change { change, origin: Tag::Change(asker) }));
    }

    // ---- forwarding

    /// Brings a request to whoever can serve it.
    pub(super) fn submit(&mut self, wish: Wish, origin: Origin) {
        self.push(Work::Forward(forward::Event::Submit { wish, origin }));
    }

    pub(super) fn with_forward(&mut self, now: Time, event: forward::Event<Origin>, out: &mut Out<Action>) {
        let mut actions = core::mem::take(&mut self.servers.forward_out);
        self.servers.forward.handle(now, event, &mut actions);
        self.drain_forward(now, actions, out);
    }

    fn drain_forward(&mut self, now: Time, mut actions: Out<forward::Action<Origin>>, out: &mut Out<Action>) {
        for action in actions.drain_actions() {
            match action {
                forward::Action::Propose { key, client, command } => {
                    let origin = Tag::Forward(key);
                    self.push(Work::Consensus(consensus::Event::Propose { client, command, origin }));
                }
                forward::Action::Read { key, mode } => {
                    self.push(Work::Consensus(consensus::Event::Read { mode, origin: Tag::Forward(key) }));
                }
                forward::Action::Ask { key, to, client, command, limit } => {
                    let hops = u8::from(self.config.server);
                    let asked = consensus::encode(&command).ok().is_some_and(|data| {
                        let ask = Ask::Propose { client, command: data, hops };
                        self.servers.call(to, ask, Call::Propose { key, command: command.clone() }, limit, out)
                    });
                    if !asked {
                        let outcome = Outcome::Refused(Refusal::Busy);
                        let over = forward::Event::Over { key, command: Some(command), outcome };
                        self.push(Work::Forward(over));
                    }
                }
                forward::Action::Finished { origin, result: Ok(reply) } => self.committed(now, origin, &reply, out),
                forward::Action::Finished { origin, result: Err(failure) } => {
                    self.denied(now, origin, &Denied::from(&failure), out);
                }
            }
        }
        self.servers.forward_out = actions;
    }

    /// Says anew whom to ask.
    fn route(&mut self) {
        let servers = &self.servers;
        let route = if let Some(error) = &servers.halted {
            Route::Broken(error.clone())
        } else if servers.consensus.is_none() {
            Route::Any(Arc::new(servers.ask_order()))
        } else if servers.role == Role::Leader {
            Route::Own
        } else {
            servers.leader_address().map_or(Route::Nobody, Route::Leader)
        };
        let alone = servers.is_alone();
        self.push(Work::Forward(forward::Event::Route { route, alone }));
        if self.servers.owes && self.can_compare() {
            self.push(Work::Compare { full: true });
        }
    }
}

impl From<&Refusal> for Denied {
    fn from(refusal: &Refusal) -> Self {
        Self { busy: *refusal == Refusal::Busy, text: refusal.to_string() }
    }
}

impl From<&Failure> for Denied {
    fn from(failure: &Failure) -> Self {
        Self { busy: *failure == Failure::Refused(Refusal::Busy), text: failure.to_string() }
    }
}
