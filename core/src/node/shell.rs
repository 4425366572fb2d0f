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
use convoke_catalog::{Command, Reply};
use convoke_config::config::Config;
use convoke_kit::{Deadline, Machine, Out, Rng, Time};

use crate::checks::{self, Checks, alias};
use crate::consensus::{self, Tables};
use crate::flaw::Flaws;
use crate::forward::{self, Wish};
use crate::identity::{self, MemberState};
use crate::local::{self, Local, What, persist};
use crate::node::boot::{Loaded, check_settings, remove};
use crate::node::gossip::Gossip;
use crate::node::mirrors::Mirrors;
use crate::node::reload::Reload;
use crate::node::servers::{Servers, Tag};
use crate::node::sessions::Sessions;
use crate::node::writes::Writes;
use crate::node::{Action, AskId, Event, Level, Pool, Published, RequestId};
use crate::reconcile;
use crate::rpc::Answer;
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
    /// A reader, who wants to know that it reads everything.
    Read { id: RequestId },
    /// A client agent.
    Remote(AskId),
    /// The own comparison of local tables and catalog.
    Compare,
}

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) struct Denied {
    /// There is too much at once.
    pub(super) busy: bool,
    /// For people.
    pub(super) text: String,
}

/// An event for a child.
#[derive(Debug)]
pub(super) enum Work {
    Consensus(consensus::Event<Tag>),
    Forward(forward::Event<Origin>),
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
    pub(super) wall: Duration,
    /// The row of the own node.
    row: NodeRow,
    /// This server leads, and knows everything that was committed before.
    pub(super) leads: bool,
    pub(super) started: bool,
    ready: bool,

    /// The replicated tables; of a client agent: what it knows of its own node.
    pub(super) tables: Tables,
    pub(super) flaws: Flaws,
    pub(super) servers: Servers,
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
    /// Void files to be removed at the start.
    void: Vec<String>,
    /// What is told to children was on disk already.
    restoring: bool,
    pub(super) mirrors: Mirrors,
    leader: Option<SocketAddr>,
    peers: Arc<Vec<SocketAddr>>,
    ask_order: Arc<Vec<SocketAddr>>,
    checks_out: Out<checks::Action>,
    sync_out: Out<sync::Action>,

    /// What readers do not know yet.
    pub(super) changes: Changes,
    /// The tables were replaced as a whole.
    pub(super) replaced: bool,
    pub(super) agent_changed: bool,
    published_revision: u64,
    replies: Vec<(RequestId, Response)>,
    pub(super) exit: Option<i32>,
}

impl Node {
    #[expect(clippy::too_many_arguments, reason = "the parts of a node, made by who calls it")]
    pub(super) fn assemble(
        config: Arc<Config>,
        identity: Identity,
        tables: Tables,
        servers: Servers,
        loaded: Loaded,
        gossip: Gossip,
        mut rng: Rng,
        wall: Duration,
    ) -> Self {
        let kept = !config.data_dir.is_empty();
        let settings = check_settings(&config);
        let mut node = Self {
            row: identity::node_row(&config, &identity),
            leads: false,
            wall,
            started: false,
            ready: false,
            tables,
            flaws: Flaws::default(),
            servers,
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
            restoring: false,
            mirrors: Mirrors::default(),
            leader: None,
            peers: Arc::default(),
            ask_order: Arc::default(),
            checks_out: Out::new(),
            sync_out: Out::new(),
            changes: Changes::default(),
            replaced: false,
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
        let leader = self.servers.leader_address().filter(|_| self.member == MemberState::Alive);
        // Its own word counts when it knows everything that was committed before.
        let own = self.servers.leads();
        self.leader = leader.filter(|_| !own || self.leads);
        self.peers = Arc::new(self.servers.peers());
        self.ask_order = Arc::new(self.servers.ask_order());
        self.refresh_raft(None);
        self.agent_changed = true;
    }

    /// What readers see now; later states come with [`Action::Publish`].
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        let lan = self.gossip.shown_lan(self.member);
        Arc::new(Published {
            reign: self.reign(),
            view: self.tables.catalog.view(),
            agent: AgentView {
                config: Arc::clone(&self.config),
                identity: Arc::clone(&self.identity),
                services: self.local.services().clone(),
                checks: self.local.checks().clone(),
                lan,
                wan: self.gossip.shown_wan(self.member),
                leads: self.leads,
                leader: self.leader,
                peers: Arc::clone(&self.peers),
                servers: Arc::clone(&self.ask_order),
                revision: self.local.revision(),
                leaving: self.member != MemberState::Alive,
                encrypted: Pool::ALL.map(|pool| self.gossip.encrypted(pool)),
                events: Arc::clone(&self.gossip.events),
                raft: self.servers.view.clone(),
                wan_coordinates: Arc::clone(&self.gossip.wan_coordinates),
            },
        })
    }

    /// Puts a known bug back.
    #[cfg(feature = "flaws")]
    #[must_use]
    pub fn with_flaw(mut self, flaw: Option<crate::flaw::Flaw>) -> Self {
        let flaws = Flaws::of(flaw);
        self.flaws = flaws;
        self.sync.flaws = flaws;
        self.sessions.flaws = flaws;
        self.gossip.reconcile.flaws = flaws;
        self.servers.plant(flaws);
        self
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
        self.start_servers();
        if !identity::leads_alone(&self.config) && !self.gossip.joins_first() {
            self.joined_first(out);
        }
        self.join_places(Time::ZERO, out);
    }

    /// An agent that does not lead is ready when it is a member.
    pub(super) fn joined_first(&mut self, out: &mut Out<Action>) {
        if !identity::leads_alone(&self.config) && !core::mem::replace(&mut self.ready, true) {
            out.push(Action::Ready);
        }
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
        let replaced = core::mem::take(&mut self.replaced);
        if agent_changed || replaced || !self.changes.is_empty() {
            self.published_revision = self.local.revision();
            let changes = core::mem::take(&mut self.changes);
            out.push(Action::Publish { published: self.published(), changes, agent_changed, replaced });
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
            Work::Consensus(event) => self.with_consensus(now, event, out),
            Work::Forward(event) => self.with_forward(now, event, out),
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

    /// A duty of the leader.
    pub(super) fn propose_own(&mut self, command: Command, origin: Origin) {
        let (command, origin) = (Box::new(command), Tag::Own(origin));
        self.push(Work::Consensus(consensus::Event::Propose { client: (0, 0), command, origin }));
    }

    pub(super) fn committed(&mut self, now: Time, origin: Origin, reply: &Reply, out: &mut Out<Action>) {
        match origin {
            Origin::Client { id, render } => self.reply(id, render.response(reply)),
            Origin::Read { id } => self.reply(id, Response::empty(200)),
            Origin::Compare => self.compare_owed(now, out),
            Origin::Remote(id) => out.push(Action::Answer { id, answer: Answer::Applied(reply.clone()) }),
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

    pub(super) fn denied(&mut self, now: Time, origin: Origin, denied: &Denied, out: &mut Out<Action>) {
        match origin {
            Origin::Client { id, .. } | Origin::Read { id } => {
                let status = if denied.busy { 429 } else { 500 };
                self.reply(id, Response::text(status, denied.text.as_str()));
            }
            Origin::Compare => self.compare_later(now),
            Origin::Remote(id) => {
                let answer = Answer::Refused { passes: false, busy: denied.busy, text: denied.text.clone() };
                out.push(Action::Answer { id, answer });
            }
            Origin::Sync(subject) => self.push(Work::Sync(sync::Event::Applied { subject, refused: true })),
            Origin::Coordinates => {}
            Origin::Sessions(subject) => self.push(Work::SessionsOver { subject, applied: false }),
            Origin::Member(name) => self.gossip.reconcile.over(now, &name, denied.busy),
            Origin::Reconcile => {
                Self::log(out, Level::Error, format!("the own node is not registered: {}", denied.text));
            }
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
                    let wish = Wish::Change(command);
                    let origin = Origin::Sync(subject);
                    self.todo.push(Work::Forward(forward::Event::Submit { wish, origin }));
                }
                sync::Action::AdoptTags { id, tags } => {
                    let mut changes = Vec::new();
                    self.local.adopt_tags(&id, &tags, &mut changes);
                    self.todo.extend(changes.into_iter().map(Work::Local));
                }
            }
        }
    }

    pub(super) fn compare(&mut self, now: Time, full: bool, out: &mut Out<Action>) {
        if !self.must_wait(full, out) {
            self.compare_now(now, full, out);
        }
    }

    pub(super) fn compare_now(&mut self, now: Time, full: bool, out: &mut Out<Action>) {
        let view = self.tables.catalog.view();
        if full && self.leads {
            if let Some(command) = reconcile::own_member(&self.config, &self.identity, &self.row, &view) {
                self.propose_own(command, Origin::Reconcile);
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
        let view = self.tables.catalog.view();
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
            Event::Confirm { id, mode } => self.submit(Wish::Read(mode), Origin::Read { id }),
            Event::Raft { from, to, message } => {
                if to == self.servers.id {
                    self.push(Work::Consensus(consensus::Event::Message { from, message }));
                }
            }
            Event::Asked { id, ask } => self.asked(now, id, ask, out),
            Event::Answered { call, result } => self.answered(now, call, result, out),
            Event::CheckDone { run, outcome } => self.push(Work::Checks(checks::Event::Done { run, outcome })),
            Event::Exported { index, tables } => self.exported(index, tables),
            Event::ConfigLoaded { result } => self.config_loaded(result, out),
            Event::Persisted { upto } => {
                let done = self.writes.persisted(upto);
                self.replies.extend(done.replies);
                if let Some(number) = done.log {
                    self.push(Work::Consensus(consensus::Event::Durable { number }));
                }
                self.tell_promises(upto, out);
            }
            Event::PersistFailed { seq, error } => self.persist_failed(seq, error, out),
            Event::DiskFull(full) => {
                let (level, text) = if full {
                    (
                        Level::Error,
                        "the disk of data_dir is full: this server takes no changes until there is space again",
                    )
                } else {
                    (Level::Info, "there is space on the disk of data_dir again")
                };
                Self::log(out, level, text.into());
                self.push(Work::Consensus(consensus::Event::DiskFull(full)));
            }
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
        self.servers_timeout(now, out);
        self.settle(now, out);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        if !self.started {
            return Some(Deadline { at: Time::ZERO, reason: "start" });
        }
        let children = Deadline::earliest(self.checks.poll_timeout(), self.sync.poll_timeout());
        let children = Deadline::earliest(children, self.gossip.poll_timeout(self.leads));
        let children = Deadline::earliest(children, self.sessions.poll_timeout());
        let children = Deadline::earliest(children, self.servers.poll_timeout());
        Deadline::earliest(children, self.mirrors.deadline())
    }
}
