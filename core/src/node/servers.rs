//! This agent and the servers: its part in consensus, if it is one; whom it asks, if it is not.
//!
//! Consensus decides, [`Forward`] brings requests to whoever can serve them, [`Bootstrap`] makes the first cluster and
//! [`Autopilot`] keeps it. Here their actions become the node's, and what agents ask each other is answered.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_api::response::Response;
use convoke_catalog::command::Register;
use convoke_catalog::{Catalog, Command, Reply, Scope};
use convoke_config::config::Config;
use convoke_kit::{Deadline, Machine as _, Out, Rng, Time};
use convoke_raft::{self as raft, Member, Membership, NodeId, ReadMode, Refusal, Role, Term};
use convoke_swim::State;

use crate::autopilot::{self, Autopilot, Progress, Seen};
use crate::bootstrap::{Bootstrap, Step};
use crate::consensus::{self, Consensus};
use crate::forward::{self, Failure, Forward, Key, Outcome, Route, Wish};
use crate::identity::{self, MemberState};
use crate::node::shell::{Denied, Origin, Work};
use crate::node::{Action, AskId, CallId, Level, Node, RequestId};
use crate::recovery::Recovered;
use crate::rpc::{Answer, Ask, Body, Rows};
use crate::store::{self, Change};

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
    consensus_out: Out<consensus::Action<Tag>>,
    forward: Forward<Origin>,
    forward_out: Out<forward::Action<Origin>>,
    role: Role,
    term: Term,
    leader: Option<NodeId>,
    pub(super) members: Arc<Membership>,
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
    let scaled = raft::Config::scaled(config.performance.raft_multiplier);
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
            id,
            consensus,
            consensus_out: Out::new(),
            forward: Forward::new(forward::Settings { hold: config.performance.rpc_hold_timeout }, rng.fork()),
            forward_out: Out::new(),
            role: Role::Follower,
            term: 0,
            leader: None,
            members: Arc::default(),
            known: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            bootstrap: expects.then(|| Bootstrap::new(id, expect, promised)),
            promises: Vec::new(),
            autopilot: Autopilot::default(),
            halted: None,
            changing: false,
            look_at: None,
            owes: false,
            reading: false,
            rows_at: None,
            rows_known: false,
            salt: rng.next_u64(),
        })
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
                let tables = self.tables.export();
                self.push(Work::Consensus(consensus::Event::Snapshot { index, tables }));
            }
            consensus::Action::Committed { index, client: (client, serial), command, origin } => {
                let applied = self.tables.apply(index, client, serial, *command);
                let reply = applied.map(|applied| {
                    self.note_sessions(&applied.changes);
                    self.mirrors.catalog_changed(&applied.changes);
                    self.changes.merge(applied.changes);
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
                self.replaced = true;
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

    // ---- what agents ask each other

    /// Another agent asks something.
    pub(super) fn asked(&mut self, now: Time, id: AskId, ask: Ask, out: &mut Out<Action>) {
        let answer = match ask {
            Ask::Propose { client, command, hops } => {
                let decoded = postcard::from_bytes::<Command>(command.as_slice()).map(Box::new);
                match decoded {
                    Ok(command) if self.impostor(&command).is_some() => {
                        Answer::Failed(self.impostor(&command).unwrap_or_default())
                    }
                    Ok(command) if self.servers.role == Role::Leader => {
                        let origin = Tag::Remote(id);
                        return self.push(Work::Consensus(consensus::Event::Propose { client, command, origin }));
                    }
                    Ok(command) if hops == 0 && self.servers.consensus.is_some() => {
                        return self.submit(Wish::Relayed { client, command }, Origin::Remote(id));
                    }
                    Ok(_) => refused(&Refusal::NotLeader { leader: self.servers.leader }),
                    Err(_) => {
                        Answer::Failed("this server does not know that change: it is of another version".to_owned())
                    }
                }
            }
            Ask::Rows { partition, node } => Answer::Rows(rows_of(&self.tables.catalog, &partition, &node)),
            Ask::Bootstrap { by, members } => return self.asked_to_promise(now, id, by, &members, out),
            Ask::Http(_) | Ask::Dns(_) => Answer::Failed("this is answered without the node".to_owned()),
        };
        out.push(Action::Answer { id, answer });
    }

    /// Why an agent may not register its node: its id is that of another member that is alive. To the catalog it would be that
    /// node under a new name.
    fn impostor(&self, command: &Command) -> Option<String> {
        let Command::Register(Register { node, skip_node_update: false, .. }) = command else { return None };
        let id = node.id.as_deref()?;
        let view = self.tables.catalog.view();
        let holder = view.nodes(&node.partition).find(|row| row.id.as_deref() == Some(id))?;
        let same = holder.name.eq_ignore_ascii_case(&node.name);
        let alive = self.gossip.members().any(|member| {
            member.profile.name().eq_ignore_ascii_case(&holder.name)
                && member.profile.tags().get("id") == Some(id)
                && member.state.is_up()
        });
        (!same && alive).then(|| {
            format!(
                "node {:?} has the node id {id} of {:?}, which is alive: give it another node_id",
                node.name, holder.name
            )
        })
    }

    /// A question of this agent is answered.
    pub(super) fn answered(&mut self, now: Time, call: CallId, result: Result<Answer, String>, out: &mut Out<Action>) {
        match self.servers.calls.remove(&call) {
            None => {}
            Some(Call::Propose { key, command }) => {
                let outcome = match result {
                    Ok(Answer::Applied(reply)) => {
                        if !matches!(reply, Reply::Refused(_)) {
                            self.note_own(Command::clone(&command));
                        }
                        Outcome::Reply(reply)
                    }
                    Ok(Answer::Refused { passes: true, .. }) => Outcome::Refused(Refusal::NoLeader),
                    Ok(Answer::Refused { busy: true, .. }) => Outcome::Refused(Refusal::Busy),
                    Ok(Answer::Refused { text, .. } | Answer::Failed(text)) => {
                        Outcome::Refused(Refusal::Halted { error: text })
                    }
                    Ok(_) => Outcome::Unknown,
                    Err(error) => Outcome::Unreachable(error),
                };
                self.with_forward(now, forward::Event::Over { key, command: Some(command), outcome }, out);
            }
            Some(Call::Rows) => match result {
                Ok(Answer::Rows(rows)) => self.rows_came(now, rows, out),
                _ => self.compare_later(now),
            },
            Some(Call::Bootstrap { from }) => {
                if let Ok(Answer::Bootstrap { granted, exists }) = result {
                    let step = self.servers.bootstrap.as_mut().and_then(|b| b.answered(from, granted, exists));
                    self.bootstrap_step(step, out);
                }
            }
        }
    }

    // ---- anti-entropy of who has no tables

    /// Whether there is somebody to compare the local tables with.
    pub(super) fn can_compare(&self) -> bool {
        match &self.servers.consensus {
            Some(_) if self.servers.role == Role::Leader => self.leads,
            Some(_) => self.servers.leader.is_some(),
            None => !self.servers.known.is_empty(),
        }
    }

    /// Notes that a comparison has to wait. A client agent asks for what it compares with. Whether it has to.
    pub(super) fn must_wait(&mut self, full: bool, out: &mut Out<Action>) -> bool {
        let client = self.servers.consensus.is_none();
        if !self.can_compare() {
            self.servers.owes = true;
            return true;
        }
        if self.leads || !full && (self.servers.rows_known || !client) {
            return false;
        }
        self.servers.owes = true;
        if client {
            self.ask_rows(out);
        } else if !core::mem::replace(&mut self.servers.reading, true) {
            // A follower may lag: what it compares with must have everything that it said itself.
            self.submit(Wish::Read(ReadMode::Lease), Origin::Compare);
        }
        true
    }

    /// It could not be found out what to compare with.
    pub(super) fn compare_later(&mut self, now: Time) {
        self.servers.reading = false;
        self.servers.rows_at = Some(now + ROWS_PAUSE);
    }

    /// What there is to compare with is known.
    pub(super) fn compare_owed(&mut self, now: Time, out: &mut Out<Action>) {
        self.servers.reading = false;
        if core::mem::take(&mut self.servers.owes) {
            self.compare_now(now, true, out);
        }
    }

    fn ask_rows(&mut self, out: &mut Out<Action>) {
        let asked = self.servers.calls.values().any(|call| matches!(call, Call::Rows));
        let Some(to) = self.servers.ask_order().first().copied().filter(|_| !asked) else { return };
        let partition = identity::partition(&self.config).to_owned();
        let ask = Ask::Rows { partition, node: self.identity.node_name.clone() };
        self.servers.rows_at = None;
        self.servers.call(to, ask, Call::Rows, LIMIT, out);
    }

    /// What the catalog has of the own node becomes the own view of it.
    fn rows_came(&mut self, now: Time, rows: Rows, out: &mut Out<Action>) {
        let mut catalog = Catalog::default();
        if let Some(node) = rows.node {
            let register = Register { node, skip_node_update: false, services: rows.services, checks: rows.checks };
            catalog.apply(1, Command::Register(register));
        }
        self.tables.catalog = catalog;
        self.servers.rows_known = true;
        self.compare_owed(now, out);
    }

    /// What a client agent had committed about its node is in its own view of it, too.
    fn note_own(&mut self, command: Command) {
        if self.servers.consensus.is_none() && self.servers.rows_known {
            let index = self.tables.catalog.view().index() + 1;
            self.tables.catalog.apply(index, command);
        }
    }

    // ---- servers of the pool

    /// The pool says something else of its servers.
    pub(super) fn servers_seen(&mut self, now: Time) {
        let mut known = BTreeMap::new();
        for member in self.gossip.members() {
            let tag = |key: &str| member.profile.tags().get(key);
            if tag("role") != Some("consul") || tag("dc") != Some(&*self.config.datacenter) {
                continue;
            }
            let Some(port) = tag("port").and_then(|port| port.parse().ok()) else { continue };
            let Some(id) = tag("id").map(identity::raft_id) else { continue };
            let address = SocketAddr::new(member.profile.address().ip(), port);
            let seen = match member.state {
                State::Alive | State::Suspect => Seen::Alive,
                State::Failed => Seen::Failed,
                State::Left => Seen::Left,
            };
            let expect = tag("expect").and_then(|expect| expect.parse().ok());
            let non_voter = tag("nonvoter").is_some();
            known.insert(id, Known { name: member.profile.name().to_owned(), seen, address, non_voter, expect });
        }
        if let Some(address) = identity::server_address(&self.config, &self.identity).filter(|_| self.config.server) {
            let name = self.identity.node_name.clone();
            let expect = (self.config.bootstrap_expect > 1).then_some(self.config.bootstrap_expect as usize);
            let seen = if self.member == MemberState::Alive { Seen::Alive } else { Seen::Left };
            let own = Known { name, seen, address, non_voter: self.config.read_replica, expect };
            known.insert(self.servers.id, own);
        }
        self.servers.known = known;
        self.servers.look_at = Some(now + SOON);
        self.route();
        self.refresh_members();
    }

    /// Timers of everything here.
    pub(super) fn servers_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        if let Some(consensus) = &mut self.servers.consensus {
            let mut actions = core::mem::take(&mut self.servers.consensus_out);
            consensus.handle_timeout(now, &mut actions);
            self.drain_consensus(now, actions, out);
        }
        let mut actions = core::mem::take(&mut self.servers.forward_out);
        self.servers.forward.handle_timeout(now, &mut actions);
        self.drain_forward(now, actions, out);
        if self.servers.rows_at.take_if(|at| *at <= now).is_some() && self.servers.owes {
            self.push(Work::Compare { full: true });
        }
        if self.servers.look_at.take_if(|at| *at <= now).is_some() {
            self.look_at_servers(now, out);
        }
    }

    fn look_at_servers(&mut self, now: Time, out: &mut Out<Action>) {
        if self.servers.consensus.is_none() {
            return;
        }
        let (role, term) = (self.servers.role, self.servers.term);
        if role == Role::Leader && !self.leads {
            let (mode, origin) = (ReadMode::Quorum, Tag::Establish(term));
            self.push(Work::Consensus(consensus::Event::Read { mode, origin }));
        } else if self.leads {
            self.steer(now, out);
        } else if !self.servers.has_log() {
            let own = usize::try_from(self.config.bootstrap_expect).unwrap_or(usize::MAX);
            let fits = |known: &Known| known.seen == Seen::Alive && !known.non_voter && known.expect == Some(own);
            let seen: BTreeSet<NodeId> =
                self.servers.known.iter().filter(|(_, known)| fits(known)).map(|(id, _)| *id).collect();
            let step = self.servers.bootstrap.as_mut().and_then(|bootstrap| bootstrap.look(now, &seen));
            self.bootstrap_step(step, out);
            let again = self.servers.bootstrap.as_ref().and_then(Bootstrap::deadline);
            self.servers.look_at = again.map(|at| at.max(now + SOON));
        }
    }

    /// The leader keeps the membership.
    fn steer(&mut self, now: Time, out: &mut Out<Action>) {
        let Some(consensus) = &self.servers.consensus else { return };
        if self.servers.known.len() < 2 && self.servers.is_alone() {
            return;
        }
        self.servers.look_at = Some(now + autopilot::INTERVAL);
        let raft = consensus.raft();
        let progress: BTreeMap<NodeId, Progress> =
            raft.peers().into_iter().map(|(id, matched, heard)| (id, Progress { matched, heard })).collect();
        let servers: BTreeMap<NodeId, autopilot::Server> = self
            .servers
            .known
            .iter()
            .map(|(id, known)| {
                let Known { seen, address, non_voter, .. } = known;
                (*id, autopilot::Server { seen: *seen, address: address.to_string(), non_voter: *non_voter })
            })
            .collect();
        let last = raft.last().index;
        let members = Arc::clone(&self.servers.members);
        let world =
            autopilot::World { own: self.servers.id, members: &members, servers: &servers, progress: &progress, last };
        let change = self.servers.autopilot.look(now, world, &self.autopilot_settings());
        let Some(change) = change.filter(|_| !self.servers.changing) else { return };
        Self::log(out, Level::Info, format!("autopilot: {}", self.described(&change)));
        self.change_members(change, None);
    }

    /// A change of membership, for the log.
    fn described(&self, change: &raft::Change) -> String {
        let name = |id: &NodeId| self.servers.known.get(id).map_or_else(|| format!("{id:?}"), |k| k.name.clone());
        match change {
            raft::Change::AddLearner { id, address } => format!("adding server {} at {address}", name(id)),
            raft::Change::Promote(id) => format!("server {} votes from now on", name(id)),
            raft::Change::Demote(id) => format!("server {} votes no more", name(id)),
            raft::Change::Remove(id) => format!("removing server {}", name(id)),
            raft::Change::Move { id, address } => format!("server {} is at {address} now", name(id)),
        }
    }

    /// Autopilot's settings.
    fn autopilot_settings(&self) -> autopilot::Settings {
        let of = &self.config.autopilot;
        autopilot::Settings {
            cleanup_dead_servers: of.cleanup_dead_servers,
            last_contact_threshold: of.last_contact_threshold,
            max_trailing_logs: of.max_trailing_logs,
            server_stabilization_time: of.server_stabilization_time,
        }
    }

    // ---- beginning

    fn bootstrap_step(&mut self, step: Option<Step>, out: &mut Out<Action>) {
        match step {
            None => {}
            Some(Step::Ask { members, of }) => {
                self.keep_promise(self.servers.id, out);
                for id in of {
                    let Some(to) = self.servers.address(id) else { continue };
                    let ask = Ask::Bootstrap { by: self.servers.id, members: members.clone() };
                    self.servers.call(to, ask, Call::Bootstrap { from: id }, LIMIT, out);
                }
            }
            Some(Step::Begin(ids)) => {
                let member = |id: NodeId| {
                    let address = self.servers.address(id).map_or_else(String::new, |address| address.to_string());
                    (id, Member { voter: true, address })
                };
                let members = Membership(ids.into_iter().map(member).collect());
                let names = members.ids().map(|id| self.described(&raft::Change::Promote(id))).collect::<Vec<_>>();
                Self::log(out, Level::Info, format!("the expected servers are there: {}", names.join(", ")));
                self.push(Work::Consensus(consensus::Event::Bootstrap { members, origin: Tag::Quiet }));
            }
        }
    }

    fn keep_promise(&mut self, to: NodeId, out: &mut Out<Action>) {
        let content = to.0.to_le_bytes().to_vec();
        self.writes.file(Change::Put { path: PROMISE.to_owned(), content }, out);
    }

    fn asked_to_promise(&mut self, _: Time, id: AskId, by: NodeId, members: &[NodeId], out: &mut Out<Action>) {
        let exists = self.servers.has_log();
        let bootstrap = self.servers.bootstrap.as_mut().filter(|_| !exists);
        let granted = bootstrap.is_some_and(|bootstrap| bootstrap.asked(by, members));
        if granted {
            let seq = self.writes.next();
            self.keep_promise(by, out);
            if self.writes.keeps() {
                return self.servers.promises.push((seq, id));
            }
        } else if let Some(to) = self.servers.bootstrap.as_ref().and_then(Bootstrap::promised).filter(|_| !exists) {
            let line = format!(
                "{by:?} wants to begin the cluster, but that was promised to {to:?}; if that server is gone for good, stop \
                 this one and remove its data_dir"
            );
            Self::log(out, Level::Warn, line);
        }
        out.push(Action::Answer { id, answer: Answer::Bootstrap { granted, exists } });
    }

    /// Writes up to this one are on disk: promises among them can be told.
    pub(super) fn tell_promises(&mut self, upto: u64, out: &mut Out<Action>) {
        self.servers.promises.retain(|(seq, id)| {
            let kept = *seq <= upto;
            if kept {
                out.push(Action::Answer { id: *id, answer: Answer::Bootstrap { granted: true, exists: false } });
            }
            !kept
        });
    }
}

/// How a refusal is told to another agent.
fn refused(refusal: &Refusal) -> Answer {
    let passes =
        matches!(refusal, Refusal::NotLeader { .. } | Refusal::NoLeader | Refusal::Transferring | Refusal::TooEarly);
    Answer::Refused { passes, busy: *refusal == Refusal::Busy, text: refusal.to_string() }
}

/// Everything the catalog has of a node.
fn rows_of(catalog: &Catalog, partition: &str, node: &str) -> Rows {
    let view = catalog.view();
    let mut rows = Rows { node: view.node(partition, node).map(|row| (**row).clone()), ..Rows::default() };
    for tenancy in view.tenancies(partition) {
        let scope = Scope::from(&tenancy);
        rows.services.extend(view.services_of(scope, node).iter().map(|row| (**row).clone()));
        rows.checks.extend(view.checks_of(scope, node).iter().map(|row| (**row).clone()));
    }
    rows
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
