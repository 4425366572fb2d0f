//! Dialogues with a whole node in virtual time, with a disk and probes of paper.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_api::effect::{AgentRequest, Effect, Render};
use convoke_api::response::Response;
use convoke_catalog::command::{Deregister, KvSet, Register};
use convoke_catalog::model::{Check, Node as NodeRow, Service, Status};
use convoke_catalog::{Command, Scope, View};
use convoke_config::config::Config;
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_kit::{Machine as _, Out, Time};

use crate::consensus::Frozen;
use crate::node::{Action, Boot, Event, Level, Node, Published, RequestId};
use crate::probe::{Outcome, Probe, RunId};
use crate::store::{Change, Recovered, Write};

mod crash;
mod dialogues;
mod laws;
mod net;
mod pool;
mod reload;
mod servers;
mod sessions;

pub(super) const S: fn(u64) -> Duration = Duration::from_secs;

/// `-dev`.
pub(super) fn dev() -> Config {
    Config { server: true, dev_mode: true, ..Config::default() }
}

/// A single server with a disk.
pub(super) fn server() -> Config {
    Config {
        server: true,
        bootstrap_expect: 1,
        data_dir: "/d".to_string(),
        leave_on_terminate: false,
        ..Config::default()
    }
}

pub(super) fn boot(config: Config, recovered: Recovered) -> Boot {
    let identity = Identity {
        node_name: "n1".to_string(),
        node_id: "11111111-2222-3333-4444-555555555555".to_string(),
        advertise: "127.0.0.1".to_string(),
        version: "1.21.4".to_string(),
        revision: String::new(),
    };
    Boot { config: Arc::new(config), identity, recovered, seed: 7, wall: S(1_700_000_000) }
}

/// What a disk holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    snapshot: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
    peers: Option<Vec<u8>>,
}

impl Disk {
    pub(super) fn write(&mut self, change: &Change) {
        match change {
            Change::Put { path, content } => {
                self.files.insert(path.clone(), content.clone());
            }
            Change::Remove { path } => {
                self.files.remove(path);
            }
            Change::Append { bytes } => self.log.get_or_insert_default().extend_from_slice(bytes),
            Change::Compact { snapshot, log } => {
                if let Some(snapshot) = snapshot {
                    self.snapshot = Some(snapshot.clone());
                    self.peers = None;
                }
                self.log = Some(log.clone());
            }
        }
    }

    pub(super) fn recovered(&self) -> Recovered {
        let files = self.files.iter().map(|(path, content)| (path.clone(), content.clone())).collect();
        let Self { snapshot, log, peers, .. } = self.clone();
        Recovered { files, snapshot, log, peers }
    }
}

/// A node and everything around it.
pub(super) struct World {
    pub(super) node: Node,
    pub(super) now: Time,
    pub(super) published: Arc<Published>,
    pub(super) replies: BTreeMap<u64, Response>,
    pub(super) runs: Vec<(RunId, Arc<Probe>)>,
    pub(super) cancelled: Vec<RunId>,
    /// Not yet durable.
    pub(super) writes: Vec<Write>,
    pub(super) disk: Disk,
    /// Whether writes become durable at once.
    pub(super) fast_disk: bool,
    /// Tables to be encoded.
    pub(super) exports: Vec<(u64, Box<Frozen>)>,
    /// Whether that is done at once.
    pub(super) fast_exports: bool,
    pub(super) loads: usize,
    pub(super) reconfigured: usize,
    pub(super) ready: usize,
    pub(super) exit: Option<i32>,
    pub(super) lines: Vec<(Level, String)>,
    pub(super) warnings: Vec<String>,
    /// Streams and lookups wanted.
    pub(super) streams: Vec<Action>,
    /// Datagrams wanted: lane, receiver, bytes.
    pub(super) packets: Vec<(u8, SocketAddr, Vec<u8>)>,
    publishes: usize,
    pub(super) requests: u64,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        Self::recover(config, Disk::default())
    }

    pub(super) fn recover(config: Config, disk: Disk) -> Self {
        Self::boot(boot(config, disk.recovered()), disk, Time::ZERO)
    }

    /// A node of this kind, which comes to life at this moment of the test.
    pub(super) fn boot(boot: Boot, disk: Disk, now: Time) -> Self {
        let (node, warnings) = Node::new(boot).unwrap();
        let published = node.published();
        let mut world = Self {
            node,
            now,
            published,
            replies: BTreeMap::new(),
            runs: Vec::new(),
            cancelled: Vec::new(),
            writes: Vec::new(),
            disk,
            fast_disk: true,
            exports: Vec::new(),
            fast_exports: true,
            loads: 0,
            reconfigured: 0,
            ready: 0,
            exit: None,
            lines: Vec::new(),
            warnings,
            streams: Vec::new(),
            packets: Vec::new(),
            publishes: 0,
            requests: 0,
        };
        world.timers();
        world
    }

    pub(super) fn timers(&mut self) {
        let mut out = Out::new();
        self.node.handle_timeout(self.now, &mut out);
        self.take(&mut out);
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        let mut out = Out::new();
        self.node.handle(self.now, event, &mut out);
        self.take(&mut out);
    }

    fn take(&mut self, out: &mut Out<Action>) {
        self.packets.extend(out.datagrams().map(|packet| (packet.lane, packet.to, packet.bytes.to_vec())));
        out.clear_datagrams();
        let (mut published, mut replied, mut exports) = (0, false, Vec::new());
        for action in out.drain_actions() {
            match action {
                Action::Reply { id, response } => {
                    replied = true;
                    assert!(self.replies.insert(id.0, response).is_none(), "one reply a request");
                }
                Action::Publish { published: new, .. } => {
                    assert!(!replied, "readers are told before clients");
                    published += 1;
                    self.published = new;
                }
                Action::RunCheck { run, probe } => self.runs.push((run, probe)),
                Action::CancelCheck { run } => self.cancelled.push(run),
                Action::Persist(write) => {
                    assert_eq!(write.seq, self.writes.last().map_or(write.seq, |last| last.seq + 1));
                    self.writes.push(write);
                }
                Action::Export { index, tables } => exports.push((index, tables)),
                Action::LoadConfig => self.loads += 1,
                Action::Log { level, message, .. } => self.lines.push((level, message)),
                Action::Reconfigure(_) => self.reconfigured += 1,
                Action::Ready => self.ready += 1,
                Action::Exit { code } => self.exit = Some(code),
                Action::Dial { .. }
                | Action::Respond { .. }
                | Action::Resolve { .. }
                | Action::Tell { .. }
                | Action::Ask { .. }
                | Action::Answer { .. } => self.streams.push(action),
            }
        }
        assert!(published <= 1, "at most one publication a call");
        self.publishes += published;
        if self.fast_disk && !self.writes.is_empty() {
            self.persist(usize::MAX);
        }
        self.exports.extend(exports);
        if self.fast_exports {
            self.export();
        }
    }

    /// Encodes what the node asked to be encoded.
    pub(super) fn export(&mut self) {
        for (index, tables) in core::mem::take(&mut self.exports) {
            self.event(Event::Exported { index, tables: tables.encode() });
        }
    }

    /// Makes the oldest writes durable and reports it.
    pub(super) fn persist(&mut self, count: usize) {
        let count = count.min(self.writes.len());
        let done: Vec<Write> = self.writes.drain(..count).collect();
        for write in &done {
            self.disk.write(&write.change);
        }
        if let Some(last) = done.last() {
            self.event(Event::Persisted { upto: last.seq });
        }
    }

    /// Lets time pass; timers fire at their moment.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.node.poll_timeout().filter(|deadline| deadline.at <= end) {
            self.now = self.now.max(deadline.at);
            self.timers();
        }
        self.now = end;
    }

    pub(super) fn send(&mut self, effect: Effect) -> u64 {
        self.requests += 1;
        let id = self.requests;
        self.event(Event::Request { id: RequestId(id), effect });
        id
    }

    pub(super) fn ask(&mut self, request: AgentRequest) -> Response {
        let id = self.send(Effect::Agent(request));
        self.replies.remove(&id).unwrap_or_else(|| panic!("no reply"))
    }

    /// Status and text of the answer.
    pub(super) fn answer(&mut self, request: AgentRequest) -> (u16, String) {
        let response = self.ask(request);
        (response.status, String::from_utf8(response.body).unwrap())
    }

    pub(super) fn register(&mut self, service: ServiceDefinition) -> (u16, String) {
        self.answer(AgentRequest::RegisterService { service: Box::new(service), replace_existing_checks: false })
    }

    pub(super) fn register_check(&mut self, check: CheckDefinition) -> (u16, String) {
        self.answer(AgentRequest::RegisterCheck(Box::new(check)))
    }

    pub(super) fn update(&mut self, id: &str, status: Status, output: &str) -> (u16, String) {
        self.answer(AgentRequest::UpdateCheck { id: id.to_string(), status, output: output.to_string() })
    }

    pub(super) fn propose(&mut self, command: Command) -> (u16, String) {
        let id = self.send(Effect::Propose { command: Box::new(command), render: Render::True });
        let response = self.replies.remove(&id).unwrap();
        (response.status, String::from_utf8(response.body).unwrap())
    }

    pub(super) fn view(&self) -> &View {
        &self.published.view
    }

    /// Ids of the services of the own node in the catalog.
    pub(super) fn catalog_services(&self) -> Vec<String> {
        self.view().services_of(Scope::default(), "n1").iter().map(|row| row.id.to_string()).collect()
    }

    /// Ids and states of the checks of the own node in the catalog.
    pub(super) fn catalog_checks(&self) -> Vec<String> {
        let show = |row: &Arc<Check>| format!("{} {}", row.id, row.status.as_str());
        self.view().checks_of(Scope::default(), "n1").iter().map(show).collect()
    }

    /// Ids, states and outputs of the agent's checks.
    pub(super) fn checks(&self) -> Vec<String> {
        let show = |row: &Check| format!("{} {} {:?}", row.id, row.status.as_str(), row.output);
        self.published.agent.checks.values().map(|check| show(&check.row)).collect()
    }

    /// Ids of the agent's services.
    pub(super) fn services(&self) -> Vec<String> {
        self.published.agent.services.iter().map(|(id, _)| id.to_string()).collect()
    }

    pub(super) fn done(&mut self, outcome: &Outcome) {
        for (run, _) in core::mem::take(&mut self.runs) {
            self.event(Event::CheckDone { run, outcome: outcome.clone() });
        }
    }
}

pub(super) fn ok() -> (u16, String) {
    (200, String::new())
}

pub(super) fn service(name: &str) -> ServiceDefinition {
    ServiceDefinition { name: name.to_string(), port: 80, ..ServiceDefinition::default() }
}

pub(super) fn ttl(id: &str, seconds: u64) -> CheckDefinition {
    CheckDefinition { id: id.to_string(), name: id.to_string(), ttl: S(seconds), ..CheckDefinition::default() }
}

pub(super) fn http(id: &str) -> CheckDefinition {
    CheckDefinition {
        id: id.to_string(),
        name: id.to_string(),
        http: "http://h/".to_string(),
        interval: S(1),
        ..CheckDefinition::default()
    }
}

pub(super) fn kv(key: &str) -> Command {
    Command::KvSet(KvSet {
        tenancy: Default::default(),
        key: key.into(),
        value: Arc::from(&b"v"[..]),
        flags: 0,
        cas: None,
    })
}

pub(super) fn foreign(services: Vec<Service>) -> Command {
    let node = NodeRow { name: "other".into(), address: "10.9.9.9".into(), ..NodeRow::default() };
    Command::Register(Register { node, skip_node_update: false, services, checks: vec![] })
}

pub(super) fn deregister(node: &str) -> Command {
    Command::Deregister(Deregister { node: node.into(), ..Deregister::default() })
}
