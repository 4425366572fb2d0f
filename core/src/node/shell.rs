//! The node: its children, and the routes between them.
//!
//! An event is handled in one child; then the actions of children become events of others, round by round, until
//! nothing is left to do. What goes out is ordered: writes, probes and log lines as they come, then at most one
//! [`Action::Publish`], and only then replies, so that whoever gets one can read what it says.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_api::agent_view::{AgentView, Identity};
use convoke_api::effect::{Effect, Render};
use convoke_api::response::Response;
use convoke_catalog::model::{Node as NodeRow, Status, Str};
use convoke_catalog::topic::Changes;
use convoke_catalog::{Catalog, Reply};
use convoke_config::config::Config;
use convoke_kit::{Deadline, Machine, Out, Rng, Time};

use crate::checks::{self, Checks, alias};
use crate::consensus::{self, Refusal, Solo};
use crate::identity::{self, MemberState};
use crate::local::{self, Local, What, persist};
use crate::node::boot::{Loaded, check_settings, remove};
use crate::node::gossip::Gossip;
use crate::node::mirrors::Mirrors;
use crate::node::reload::Reload;
use crate::node::sessions::Sessions;
use crate::node::writes::Writes;
use crate::node::{Action, Event, Level, Pool, Published, RequestId};
use crate::reconcile;
use crate::recovery::Tables;
use crate::sessions;
use crate::store::Change;
use crate::sync::{self, Subject, Sync};
use convoke_swim as swim;

/// More rounds than any chain of events between children has; beyond it, they talk in circles.
const ROUNDS: usize = 200;
/// Who proposed a command.
#[derive(Debug)]
pub(super) enum Origin {
    /// A client.
    Client { id: RequestId, render: Render },
    /// Anti-entropy.
    Sync(Subject),
    /// The leader, of itself.
    Reconcile,
    /// The leader, of where members are. Refused or not, the next ones are not far.
    Coordinates,
    /// The leader, of another member.
    Member(Str),
    /// The leader, of the time of sessions.
    Sessions(sessions::Subject),
}

/// An event for a child.
#[derive(Debug)]
pub(super) enum Work {
    Consensus(consensus::Event<Origin>),
    Checks(checks::Event),
    Local(local::Change),
    Sync(sync::Event<'static>),
    Compare { full: bool },
    Session(sessions::Key),
    SessionsOver { subject: sessions::Subject, applied: bool },
    Gossip { pool: Pool, command: swim::Command },
}

/// One agent: everything of it that is not IO.
#[derive(Debug)]
pub struct Node {
    pub(super) config: Arc<Config>,
    pub(super) identity: Arc<Identity>,
    /// Unix time at `Time::ZERO`.
    wall: Duration,
    /// The row of the own node.
    row: NodeRow,
    /// This agent is the only voter. Else there is no leader, and nothing can be committed.
    pub(super) leads: bool,
    pub(super) started: bool,
    ready: bool,

    pub(super) catalog: Catalog,
    consensus: Solo<Origin>,
    pub(super) local: Local,
    pub(super) checks: Checks,
    sync: Sync,
    pub(super) sessions: Sessions,
    pub(super) writes: Writes,
    pub(super) reload: Reload,
    pub(super) member: MemberState,
    pub(super) gossip: Gossip,

    /// Events for children, in order.
    todo: Vec<Work>,
    /// Void files to be removed at the start, and whether the log must be replaced.
    void: Vec<String>,
    torn: bool,
    /// What is told to children was on disk already.
    restoring: bool,
    mirrors: Mirrors,
    peers: Arc<Vec<SocketAddr>>,
    consensus_out: Out<consensus::Action<Origin>>,
    checks_out: Out<checks::Action>,
    sync_out: Out<sync::Action>,

    /// What readers do not know yet.
    changes: Changes,
    pub(super) agent_changed: bool,
    published_revision: u64,
    replies: Vec<(RequestId, Response)>,
    pub(super) exit: Option<i32>,
}

impl Node {
    pub(super) fn assemble(
        config: Arc<Config>,
        identity: Identity,
        tables: Tables,
        loaded: Loaded,
        gossip: Gossip,
        mut rng: Rng,
        wall: Duration,
    ) -> Self {
        let leads = identity::leads_alone(&config);
        let kept = !config.data_dir.is_empty();
        let durable = kept && !config.dev_mode;
        let settings = check_settings(&config);
        let mut node = Self {
            row: identity::node_row(&config, &identity),
            leads,
            wall,
            started: false,
            ready: false,
            catalog: tables.catalog,
            consensus: Solo::new(durable, tables.last, tables.log_bytes),
            published_revision: loaded.local.revision(),
            local: loaded.local,
            checks: Checks::new(rng.fork(), settings),
            sync: Sync::new(rng.fork(), config.check_update_interval),
            sessions: Sessions::default(),
            writes: Writes::new(kept),
            reload: Reload::default(),
            member: MemberState::Alive,
            gossip,
            todo: loaded.changes.into_iter().map(Work::Local).collect(),
            void: loaded.void,
            torn: tables.torn > 0 && durable,
            restoring: false,
            mirrors: Mirrors::default(),
            peers: Arc::default(),
            consensus_out: Out::new(),
            checks_out: Out::new(),
            sync_out: Out::new(),
            changes: Changes::default(),
            agent_changed: false,
            replies: Vec::new(),
            exit: None,
            config,
            identity: Arc::new(identity),
        };
        node.refresh_members();
        node
    }

    /// Says anew who leads.
    pub(super) fn refresh_members(&mut self) {
        let address = identity::server_address(&self.config, &self.identity);
        let leader = address.filter(|_| self.leads && self.member == MemberState::Alive);
        self.peers = Arc::new(leader.into_iter().collect());
        self.agent_changed = true;
    }

    /// What readers see now; later states come with [`Action::Publish`].
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        let lan = self.gossip.shown_lan(self.member);
        Arc::new(Published {
            view: self.catalog.view(),
            agent: AgentView {
                config: Arc::clone(&self.config),
                identity: Arc::clone(&self.identity),
                services: self.local.services().clone(),
                checks: self.local.checks().clone(),
                lan,
                wan: self.gossip.shown_wan(self.member),
                leader: self.peers.first().copied(),
                peers: Arc::clone(&self.peers),
                revision: self.local.revision(),
                leaving: self.member != MemberState::Alive,
                encrypted: Pool::ALL.map(|pool| self.gossip.encrypted(pool)),
                events: Arc::clone(&self.gossip.events),
                wan_coordinates: Arc::clone(&self.gossip.wan_coordinates),
            },
        })
    }

    /// Unix time in milliseconds.
    pub(super) fn unix_millis(&self, now: Time) -> u64 {
        u64::try_from((self.wall + now.since_start()).as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes an event for a child.
    pub(super) fn push(&mut self, work: Work) {
        self.todo.push(work);
    }

    /// Notes what happened to the local tables.
    pub(super) fn note(&mut self, changes: Vec<local::Change>) {
        self.todo.extend(changes.into_iter().map(Work::Local));
    }

    /// Answers a request once the rest of this event is done.
    pub(super) fn reply(&mut self, id: RequestId, response: Response) {
        self.replies.push((id, response));
    }

    pub(super) fn log(out: &mut Out<Action>, level: Level, message: String) {
        out.push(Action::Log { level, target: "agent", message });
    }

    /// Takes over a configuration, except what needs a restart.
    pub(super) fn adopt(&mut self, config: Arc<Config>) {
        let row = identity::node_row(&config, &self.identity);
        if row != self.row {
            self.row = row;
            self.push(Work::Sync(sync::Event::Node));
        }
        self.push(Work::Checks(checks::Event::Settings(check_settings(&config))));
        self.push(Work::Sync(sync::Event::OutputInterval(config.check_update_interval)));
        self.config = config;
        self.retag();
        self.refresh_members();
    }

    fn start(&mut self, out: &mut Out<Action>) {
        self.started = true;
        self.restoring = true;
        for work in core::mem::take(&mut self.todo) {
            self.work(Time::ZERO, work, out);
        }
        self.restoring = false;
        for path in core::mem::take(&mut self.void) {
            self.writes.file(remove(&path), out);
        }
        if core::mem::take(&mut self.torn) {
            self.todo.push(Work::Consensus(consensus::Event::Snapshot { tables: self.tables() }));
        }
        if !self.leads && !self.gossip.joins_first() {
            self.joined_first(out);
        }
        if self.leads {
            self.sessions_lead(Time::ZERO);
        }
        self.join_places(Time::ZERO, out);
    }

    /// An agent that does not lead is ready when it is a member.
    pub(super) fn joined_first(&mut self, out: &mut Out<Action>) {
        if !self.leads && !core::mem::replace(&mut self.ready, true) {
            out.push(Action::Ready);
        }
    }

    /// The tables as a snapshot holds them.
    fn tables(&self) -> Vec<u8> {
        // Rows always encode; an empty snapshot would be refused at the next start rather than lose anything.
        postcard::to_allocvec(&self.catalog.export()).unwrap_or_default()
    }

    /// Does everything there is to do, and tells readers and clients.
    fn settle(&mut self, now: Time, out: &mut Out<Action>) {
        self.mirrors.begin(now);
        let mut rounds = 0;
        loop {
            if self.todo.is_empty() {
                self.mirror(now);
            }
            if self.todo.is_empty() {
                self.reconcile(now, out);
            }
            if self.todo.is_empty() {
                break;
            }
            rounds += 1;
            debug_assert!(rounds < ROUNDS, "children talk in circles: {:?}", self.todo);
            if rounds >= ROUNDS {
                self.todo.clear();
                Self::log(out, Level::Error, "internal error: events go round in circles; some were dropped".into());
                break;
            }
            for work in core::mem::take(&mut self.todo) {
                self.work(now, work, out);
            }
        }
        let agent_changed =
            core::mem::take(&mut self.agent_changed) | (self.published_revision != self.local.revision());
        if agent_changed || !self.changes.is_empty() {
            self.published_revision = self.local.revision();
            let changes = core::mem::take(&mut self.changes);
            out.push(Action::Publish { published: self.published(), changes, agent_changed });
        }
        for (id, response) in self.replies.drain(..) {
            out.push(Action::Reply { id, response });
        }
        if let Some(code) = self.exit.take() {
            out.push(Action::Exit { code });
        }
    }

    fn work(&mut self, now: Time, work: Work, out: &mut Out<Action>) {
        match work {
            Work::Consensus(event) => {
                let mut actions = core::mem::take(&mut self.consensus_out);
                self.consensus.handle(now, event, &mut actions);
                for action in actions.drain_actions() {
                    self.on_consensus(now, action, out);
                }
                self.consensus_out = actions;
            }
            Work::Checks(event) => {
                let mut actions = core::mem::take(&mut self.checks_out);
                self.checks.handle(now, event, &mut actions);
                self.on_checks(&mut actions, out);
                self.checks_out = actions;
            }
            Work::Sync(event) => self.with_sync(now, event),
            Work::Compare { full } => self.compare(now, full, out),
            Work::Session(key) => self.session_changed(now, key),
            Work::SessionsOver { subject, applied } => self.sessions_over(now, subject, applied),
            Work::Local(change) => self.on_local(change, out),
            Work::Gossip { pool, command } => self.gossip(now, pool, swim::Event::Command(command), out),
        }
    }

    fn on_consensus(&mut self, now: Time, action: consensus::Action<Origin>, out: &mut Out<Action>) {
        match action {
            consensus::Action::Append { index, bytes } => self.writes.log(index, Change::Append { bytes }, out),
            consensus::Action::Compact { snapshot, log } => {
                self.writes.log(0, Change::Compact { snapshot, log }, out);
            }
            consensus::Action::TakeSnapshot => {
                let tables = self.tables();
                self.push(Work::Consensus(consensus::Event::Snapshot { tables }));
            }
            consensus::Action::Committed { index, command, origin } => {
                let applied = self.catalog.apply(index, *command);
                self.note_sessions(&applied.changes);
                self.mirrors.catalog_changed(&applied.changes);
                self.changes.merge(applied.changes);
                self.committed(now, origin, &applied.reply, out);
            }
            consensus::Action::Refused { origin, refusal } => self.refused(now, origin, &refusal, out),
        }
    }

    fn committed(&mut self, now: Time, origin: Origin, reply: &Reply, out: &mut Out<Action>) {
        match origin {
            Origin::Client { id, render } => self.reply(id, render.response(reply)),
            Origin::Sync(subject) => {
                let refused = matches!(reply, Reply::Refused(_));
                if let Reply::Refused(why) = reply {
                    let line = format!("the catalog refused {}: {why}; it is tried again", subject.ids());
                    Self::log(out, Level::Error, line);
                }
                self.push(Work::Sync(sync::Event::Applied { subject, refused }));
            }
            Origin::Coordinates => {}
            Origin::Sessions(subject) => self.push(Work::SessionsOver { subject, applied: true }),
            Origin::Member(name) => {
                if let Reply::Refused(why) = reply {
                    Self::log(out, Level::Error, format!("the catalog refused member {name:?}: {why}"));
                }
                self.gossip.reconcile.over(now, &name, false);
            }
            Origin::Reconcile => {
                if let Reply::Refused(why) = reply {
                    Self::log(out, Level::Error, format!("the catalog refused the own node: {why}"));
                }
                if !core::mem::replace(&mut self.ready, true) {
                    out.push(Action::Ready);
                }
            }
        }
    }

    fn refused(&mut self, now: Time, origin: Origin, refusal: &Refusal, out: &mut Out<Action>) {
        match origin {
            Origin::Client { id, .. } => {
                let status = if *refusal == Refusal::Busy { 429 } else { 500 };
                self.reply(id, Response::text(status, format!("{refusal}")));
            }
            Origin::Sync(subject) => self.push(Work::Sync(sync::Event::Applied { subject, refused: true })),
            Origin::Coordinates => {}
            Origin::Sessions(subject) => self.push(Work::SessionsOver { subject, applied: false }),
            Origin::Member(name) => self.gossip.reconcile.over(now, &name, *refusal == Refusal::Busy),
            Origin::Reconcile => Self::log(out, Level::Error, format!("the own node is not registered: {refusal}")),
        }
    }

    fn on_checks(&mut self, actions: &mut Out<checks::Action>, out: &mut Out<Action>) {
        for action in actions.drain_actions() {
            match action {
                checks::Action::Run { run, probe } => out.push(Action::RunCheck { run, probe }),
                checks::Action::Cancel { run } => out.push(Action::CancelCheck { run }),
                checks::Action::Status { id, status, output } => self.says(&id, status, &output, out),
                checks::Action::Reap { id, service } => {
                    let line = format!(
                        "check {id:?} for service {service:?} has been critical for too long; deregistered the service"
                    );
                    Self::log(out, Level::Info, line);
                    let mut changes = Vec::new();
                    self.local.deregister_service(&service, &mut changes);
                    self.note(changes);
                }
            }
        }
    }

    fn says(&mut self, id: &str, status: Status, output: &str, out: &mut Out<Action>) {
        let before = self.local.checks().get(id).map(|check| check.row.status.clone());
        if before.as_ref().is_some_and(|before| *before != status) {
            let level = if status == Status::Passing { Level::Info } else { Level::Warn };
            Self::log(out, level, format!("check {id:?} is now {}", status.as_str()));
        }
        let mut changes = Vec::new();
        self.local.report(id, status, output, &mut changes);
        self.note(changes);
    }

    /// Tells persistence, schedule and anti-entropy what happened to the local tables.
    fn on_local(&mut self, local::Change { id, tenancy, what }: local::Change, out: &mut Out<Action>) {
        let key = (tenancy, Arc::clone(&id));
        match what {
            What::ServiceSet { now_from_file } => {
                let path = || persist::path(persist::SERVICES, &id);
                let set = self.local.services().get(&*id);
                if now_from_file {
                    self.writes.file(remove(&path()), out);
                } else if let Some(service) = set.filter(|service| !service.from_file && self.keeps())
                    && let Some((path, content)) = persist::service(&service.definition, &id)
                {
                    self.writes.file(Change::Put { path, content }, out);
                }
                self.mirrors.service_changed(&id);
                self.push(Work::Sync(sync::Event::Service(key)));
            }
            What::ServiceGone { from_file } => {
                if !from_file {
                    self.writes.file(remove(&persist::path(persist::SERVICES, &id)), out);
                }
                self.mirrors.service_changed(&id);
                self.push(Work::Sync(sync::Event::Service(key)));
            }
            What::CheckSet { now_from_file } => {
                let Some(check) = self.local.checks().get(&*id).cloned() else { return };
                if now_from_file {
                    self.writes.file(remove(&persist::path(persist::CHECKS, &id)), out);
                } else if !check.from_file
                    && self.keeps()
                    && let Some((path, content)) = persist::check(&check.definition)
                {
                    self.writes.file(Change::Put { path, content }, out);
                }
                self.mirrors.set(&id, &check.definition, &self.row.name, &self.row.partition);
                self.mirrors.service_changed(&check.row.service_id);
                self.push(Work::Checks(checks::Event::Set {
                    id,
                    definition: Arc::clone(&check.definition),
                    status: check.row.status.clone(),
                    output: Arc::clone(&check.row.output),
                }));
                self.push(Work::Sync(sync::Event::Check { key, output_only: false }));
            }
            What::CheckReported { output_only } => {
                if let Some(check) = self.local.checks().get(&*id) {
                    self.mirrors.service_changed(&check.row.service_id);
                }
                self.push(Work::Sync(sync::Event::Check { key, output_only }));
            }
            What::CheckGone { from_file, ttl, service } => {
                if !from_file {
                    self.writes.file(remove(&persist::path(persist::CHECKS, &id)), out);
                }
                if ttl {
                    self.writes.file(remove(&persist::path(persist::STATES, &id)), out);
                }
                self.mirrors.remove(&id);
                self.mirrors.service_changed(&service);
                self.push(Work::Checks(checks::Event::Remove { id }));
                self.push(Work::Sync(sync::Event::Check { key, output_only: false }));
            }
        }
    }

    /// What is registered over the API is to be written to disk.
    const fn keeps(&self) -> bool {
        self.writes.keeps() && !self.restoring
    }

    fn with_sync(&mut self, now: Time, event: sync::Event<'_>) {
        let mut actions = core::mem::take(&mut self.sync_out);
        self.sync.handle(now, event, &mut actions);
        self.on_sync(&mut actions);
        self.sync_out = actions;
    }

    fn on_sync(&mut self, actions: &mut Out<sync::Action>) {
        for action in actions.drain_actions() {
            match action {
                sync::Action::Compare { full } => self.todo.push(Work::Compare { full }),
                sync::Action::Propose { command, subject } => {
                    let origin = Origin::Sync(subject);
                    self.todo.push(Work::Consensus(consensus::Event::Propose { command, origin }));
                }
                sync::Action::AdoptTags { id, tags } => {
                    let mut changes = Vec::new();
                    self.local.adopt_tags(&id, &tags, &mut changes);
                    self.todo.extend(changes.into_iter().map(Work::Local));
                }
            }
        }
    }

    fn compare(&mut self, now: Time, full: bool, out: &mut Out<Action>) {
        if !self.leads {
            return;
        }
        let view = self.catalog.view();
        if full {
            if let Some(command) = reconcile::own_member(&self.config, &self.identity, &self.row, &view) {
                let (command, origin) = (Box::new(command), Origin::Reconcile);
                self.push(Work::Consensus(consensus::Event::Propose { command, origin }));
            } else if !core::mem::replace(&mut self.ready, true) {
                out.push(Action::Ready);
            }
        }
        let mut actions = core::mem::take(&mut self.sync_out);
        let event = sync::Event::Compare { local: &self.local, view: &view, own: &self.row };
        self.sync.handle(now, event, &mut actions);
        self.on_sync(&mut actions);
        self.sync_out = actions;
    }

    /// Looks at alias checks that may say something else now.
    fn mirror(&mut self, now: Time) {
        let view = self.catalog.view();
        for id in self.mirrors.take(now) {
            let Some(check) = self.local.checks().get(&*id) else { continue };
            let (status, output) = alias::mirror(&check.definition, &self.row.name, &self.local, &view);
            let kept = self.checks.kept_output(&id, &output);
            if check.row.status != status || *check.row.output != *kept {
                self.todo.push(Work::Checks(checks::Event::Mirror { id, status, output }));
            }
        }
    }
}

impl Machine for Node {
    type Event<'a> = Event<'a>;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event<'_>, out: &mut Out<Action>) {
        if !self.started {
            self.handle_timeout(now, out);
        }
        match event {
            Event::Request { id, effect: Effect::Propose { command, render } } => self.propose(id, command, render),
            Event::Request { id, effect: Effect::Agent(request) } => {
                let from = self.writes.next();
                if let Some(response) = self.request(now, id, request, out) {
                    // What the request changed goes to disk in `settle`; the reply waits for it.
                    self.settle(now, out);
                    if let Some(response) = self.writes.hold(from, id, response) {
                        self.reply(id, response);
                    }
                }
            }
            Event::Request { id, effect: Effect::Renew { tenancy, id: session, pretty } } => {
                self.renew(now, id, (tenancy, session), pretty);
            }
            Event::CheckDone { run, outcome } => self.push(Work::Checks(checks::Event::Done { run, outcome })),
            Event::ConfigLoaded { result } => self.config_loaded(result, out),
            Event::Persisted { upto } => {
                let done = self.writes.persisted(upto);
                self.replies.extend(done.replies);
                if let Some(index) = done.log {
                    self.push(Work::Consensus(consensus::Event::Durable { index }));
                }
            }
            Event::PersistFailed { seq, error } => self.persist_failed(seq, error, out),
            Event::Signal(signal) => self.signal(now, signal, out),
            Event::Gossip { pool, event } => self.gossip(now, pool, event, out),
            Event::Resolved { lookup, result } => self.resolved(now, lookup, result, out),
        }
        self.settle(now, out);
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        if !self.started {
            self.start(out);
        }
        let mut actions = core::mem::take(&mut self.checks_out);
        self.checks.handle_timeout(now, &mut actions);
        self.on_checks(&mut actions, out);
        self.checks_out = actions;
        let mut actions = core::mem::take(&mut self.sync_out);
        self.sync.handle_timeout(now, &mut actions);
        self.on_sync(&mut actions);
        self.sync_out = actions;
        self.sessions_timeout(now);
        self.gossip_timeout(now, out);
        self.settle(now, out);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        if !self.started {
            return Some(Deadline { at: Time::ZERO, reason: "start" });
        }
        let children = Deadline::earliest(self.checks.poll_timeout(), self.sync.poll_timeout());
        let children = Deadline::earliest(children, self.gossip.poll_timeout(self.leads));
        let children = Deadline::earliest(children, self.sessions.poll_timeout());
        Deadline::earliest(children, self.mirrors.deadline())
    }
}
