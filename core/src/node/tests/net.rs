//! Several whole nodes on a network of paper: packets and streams take a millisecond, machines die and come back.

use super::*;
use alloc::collections::BTreeSet;

use crate::node::{AskId, CallId, Pool};
use crate::rpc::{Answer, Ask, Body};
use convoke_swim as swim;

/// How long anything is on its way.
const LATENCY: Duration = Duration::from_millis(1);

/// A machine that may be off.
pub(super) struct Host {
    name: &'static str,
    config: Config,
    pub(super) disk: Disk,
    /// Its time begins here.
    epoch: Duration,
    world: Option<World>,
    seed: u64,
}

/// What is on its way.
enum Travel {
    Packet { from: SocketAddr, bytes: Vec<u8> },
    Request { from: usize, exchange: swim::ExchangeId, frame: Vec<u8> },
    Response { exchange: swim::ExchangeId, frame: Vec<u8> },
    Failed { exchange: swim::ExchangeId },
    Told(Box<Body>),
    Asked { from: usize, call: CallId, ask: Ask },
    Answered { call: CallId, result: Result<Answer, String> },
}

pub(super) struct Net {
    hosts: Vec<Host>,
    now: Duration,
    travels: BTreeMap<(Duration, u64), (usize, Pool, Travel)>,
    sent: u64,
    /// Questions under way: who asked, and under which name.
    asked: BTreeMap<AskId, (usize, CallId)>,
    /// Hosts that hear nothing of each other.
    cut: BTreeSet<(usize, usize)>,
    /// What names stand for; others do not resolve.
    pub(super) names: BTreeMap<String, Vec<SocketAddr>>,
}

/// Gossip quick enough for tests, as `-dev` has it.
pub(super) fn quick(mut config: Config) -> Config {
    for gossip in [&mut config.gossip_lan, &mut config.gossip_wan] {
        gossip.gossip_interval = Duration::from_millis(100);
        gossip.probe_interval = Duration::from_millis(100);
        gossip.probe_timeout = Duration::from_millis(50);
        gossip.suspicion_mult = 3;
    }
    config
}

/// A client with a disk that joins the first host.
pub(super) fn client() -> Config {
    let mut config = Config { data_dir: "/d".to_string(), ..Config::default() };
    config.retry_join.addresses = vec!["10.0.0.1".to_string()];
    quick(config)
}

fn ip(host: usize) -> [u8; 4] {
    [10, 0, 0, host as u8 + 1]
}

impl Net {
    /// Hosts of these names, all switched on.
    pub(super) fn new(hosts: Vec<(&'static str, Config)>) -> Self {
        let mut net = Self {
            hosts: Vec::new(),
            now: Duration::ZERO,
            travels: BTreeMap::new(),
            sent: 0,
            asked: BTreeMap::new(),
            cut: BTreeSet::new(),
            names: BTreeMap::new(),
        };
        for (name, config) in hosts {
            net.add(name, config);
        }
        net
    }

    /// One more host, switched on.
    pub(super) fn add(&mut self, name: &'static str, config: Config) {
        self.hosts.push(Host { name, config, disk: Disk::default(), epoch: Duration::ZERO, world: None, seed: 0 });
        self.start(self.hosts.len() - 1);
    }

    pub(super) fn config(&mut self, host: usize) -> &mut Config {
        &mut self.hosts[host].config
    }

    pub(super) fn start(&mut self, host: usize) {
        let at = &mut self.hosts[host];
        at.epoch = self.now;
        at.seed += 1;
        let advertise = core::net::IpAddr::from(ip(host)).to_string();
        let identity = Identity {
            node_name: at.name.to_string(),
            node_id: if at.config.node_id.is_empty() {
                format!("00000000-0000-0000-0000-00000000000{host}")
            } else {
                at.config.node_id.clone()
            },
            advertise,
            version: "1.21.4".to_string(),
            revision: String::new(),
        };
        let boot = Boot {
            config: Arc::new(at.config.clone()),
            identity,
            recovered: at.disk.recovered(),
            seed: at.seed * 1000 + host as u64,
            wall: S(1_700_000_000) + self.now,
        };
        let disk = at.disk.clone();
        at.world = Some(World::boot(boot, disk, Time::ZERO));
        self.collect(host);
    }

    /// Power off; what was on disk stays.
    pub(super) fn kill(&mut self, host: usize) {
        let world = self.hosts[host].world.take().unwrap();
        self.hosts[host].disk = world.disk;
    }

    /// Puts `raft/peers.json` on the disk of a host that is off; it is gone when it was read.
    pub(super) fn force(&mut self, host: usize, peers: &str) {
        self.hosts[host].disk.peers = Some(peers.as_bytes().to_vec());
    }

    /// Loses the disk of a host that is off.
    pub(super) fn wipe(&mut self, host: usize) {
        self.hosts[host].disk = Disk::default();
    }

    pub(super) fn at(&mut self, host: usize) -> &mut World {
        self.hosts[host].world.as_mut().unwrap()
    }

    /// Does something at a host and lets what comes of it travel.
    pub(super) fn act<T>(&mut self, host: usize, what: impl FnOnce(&mut World) -> T) -> T {
        let now = self.now.checked_sub(self.hosts[host].epoch).unwrap();
        let world = self.at(host);
        world.now = Time::from_duration(now);
        let done = what(world);
        self.collect(host);
        done
    }

    /// Asks, waits up to ten seconds for the answer; status and text.
    pub(super) fn ask(&mut self, host: usize, request: AgentRequest) -> (u16, String) {
        let id = self.act(host, |world| world.send(Effect::Agent(request)));
        for _ in 0..1000 {
            if let Some(response) = self.at(host).replies.remove(&id) {
                return (response.status, String::from_utf8(response.body).unwrap());
            }
            self.pass(Duration::from_millis(10));
        }
        panic!("no reply");
    }

    fn find(&self, to: SocketAddr) -> Option<(usize, Pool)> {
        let host = (0..self.hosts.len()).find(|host| core::net::IpAddr::from(ip(*host)) == to.ip())?;
        let pool = match to.port() {
            8301 => Pool::Lan,
            8302 => Pool::Wan,
            _ => return None,
        };
        Some((host, pool))
    }

    /// The server that is reached there, unless it is cut off from `from`.
    fn server(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let host = (0..self.hosts.len()).find(|host| core::net::IpAddr::from(ip(*host)) == to.ip())?;
        (to.port() == 8300 && self.hosts[host].world.is_some() && !self.cut.contains(&(from, host))).then_some(host)
    }

    /// Cuts hosts off from all others, or lets everybody hear everybody again.
    pub(super) fn cut(&mut self, off: &[usize]) {
        self.cut.clear();
        for a in 0..self.hosts.len() {
            for b in 0..self.hosts.len() {
                if off.contains(&a) != off.contains(&b) {
                    self.cut.insert((a, b));
                }
            }
        }
    }

    fn travel(&mut self, to: usize, pool: Pool, what: Travel) {
        self.sent += 1;
        self.travels.insert((self.now + LATENCY, self.sent), (to, pool, what));
    }

    /// Takes what a host wants done over the network.
    fn collect(&mut self, host: usize) {
        let Some(world) = &mut self.hosts[host].world else { return };
        let (packets, streams) = (core::mem::take(&mut world.packets), core::mem::take(&mut world.streams));
        for (lane, to, bytes) in packets {
            let from = SocketAddr::new(ip(host).into(), 8301 + u16::from(lane));
            if let Some((to, pool)) = self.find(to).filter(|(to, _)| !self.cut.contains(&(host, *to))) {
                self.travel(to, pool, Travel::Packet { from, bytes });
            }
        }
        for action in streams {
            match action {
                Action::Dial { pool, exchange, to, frame, .. } => match self.find(to) {
                    Some((to, there)) if self.hosts[to].world.is_some() && !self.cut.contains(&(host, to)) => {
                        self.travel(to, there, Travel::Request { from: host, exchange, frame });
                    }
                    _ => self.travel(host, pool, Travel::Failed { exchange }),
                },
                Action::Resolve { lookup, host: name, port } => {
                    let found = self.names.get(&name).cloned().ok_or_else(|| "no such host".to_string());
                    let result = found.map(|all| all.into_iter().map(|at| SocketAddr::new(at.ip(), port)).collect());
                    self.act(host, |world| world.event(Event::Resolved { lookup, result }));
                }
                Action::Tell { to, body } => {
                    if let Some(to) = self.server(host, to) {
                        self.travel(to, Pool::Lan, Travel::Told(body));
                    }
                }
                Action::Ask { call, to, ask, .. } => match self.server(host, to) {
                    Some(to) => self.travel(to, Pool::Lan, Travel::Asked { from: host, call, ask }),
                    None => {
                        let result = Err("connection refused".to_string());
                        self.travel(host, Pool::Lan, Travel::Answered { call, result });
                    }
                },
                Action::Answer { id, answer } => {
                    let (to, call) = self.asked.remove(&id).unwrap();
                    if !self.cut.contains(&(host, to)) {
                        self.travel(to, Pool::Lan, Travel::Answered { call, result: Ok(answer) });
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn arrive(&mut self, to: usize, pool: Pool, what: Travel) {
        if self.hosts[to].world.is_none() {
            match what {
                Travel::Request { from, exchange, .. } => self.travel(from, pool, Travel::Failed { exchange }),
                Travel::Asked { from, call, .. } => {
                    self.travel(from, pool, Travel::Answered { call, result: Err("connection reset".to_string()) });
                }
                _ => {}
            }
            return;
        }
        match what {
            Travel::Packet { from, bytes } => {
                let event = swim::Event::Datagram { from, bytes: &bytes };
                self.act(to, |world| world.event(Event::Gossip { pool, event }));
            }
            Travel::Request { from, exchange, frame } => {
                let (peer, stream) = (SocketAddr::new(ip(from).into(), 40_000), swim::StreamId(exchange.0));
                let event = swim::Event::Request { stream, from: peer, frame: &frame };
                let answer = self.act(to, |world| {
                    world.event(Event::Gossip { pool, event });
                    let at = world.streams.iter().position(|action| matches!(action, Action::Respond { .. }));
                    let Action::Respond { stream: named, frame, .. } = world.streams.remove(at.unwrap()) else {
                        unreachable!()
                    };
                    assert_eq!(named, stream, "answered at once");
                    frame
                });
                self.travel(from, pool, Travel::Response { exchange, frame: answer });
            }
            Travel::Response { exchange, frame } => {
                let event = swim::Event::Response { exchange, frame: &frame };
                self.act(to, |world| world.event(Event::Gossip { pool, event }));
            }
            Travel::Told(body) => {
                let Body::Raft { from, to: id, message } = *body else { panic!("{body:?}") };
                self.act(to, |world| world.event(Event::Raft { from, to: id, message }));
            }
            Travel::Asked { from, call, ask } => {
                self.sent += 1;
                let id = AskId(self.sent);
                self.asked.insert(id, (from, call));
                self.act(to, |world| world.event(Event::Asked { id, ask }));
            }
            Travel::Answered { call, result } => {
                self.act(to, |world| world.event(Event::Answered { call, result }));
            }
            Travel::Failed { exchange } => {
                let event = swim::Event::DialFailed { exchange, error: "connection refused" };
                self.act(to, |world| world.event(Event::Gossip { pool, event }));
            }
        }
    }

    /// Lets time pass. Who exits is off.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timer = (0..self.hosts.len())
                .filter_map(|host| {
                    let at = &self.hosts[host];
                    let deadline = at.world.as_ref()?.node.poll_timeout()?;
                    Some((at.epoch + deadline.at.since_start(), host))
                })
                .min();
            let travel = self.travels.first_key_value().map(|(key, _)| *key);
            match (timer, travel) {
                (timer, Some(key)) if key.0 <= end && timer.is_none_or(|(at, _)| key.0 <= at) => {
                    self.now = self.now.max(key.0);
                    let (to, pool, what) = self.travels.remove(&key).unwrap();
                    self.arrive(to, pool, what);
                }
                (Some((at, host)), _) if at <= end => {
                    self.now = self.now.max(at);
                    self.act(host, World::timers);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Waits until something is so, up to a limit.
    pub(super) fn until(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "{what} did not come; log of the first: {:#?}", self.at(0).lines);
            self.pass(Duration::from_millis(100));
        }
    }

    /// Members of the LAN pool as a host sees them: `name status`, sorted.
    pub(super) fn members(&mut self, host: usize) -> Vec<String> {
        let lan = &self.at(host).published.agent.lan;
        let mut all: Vec<String> = lan.iter().map(|m| format!("{} {}", m.name(), m.status as u8)).collect();
        all.sort();
        all
    }

    /// State and output of a node's serfHealth in the catalog of the first host.
    pub(super) fn health(&mut self, node: &str) -> Option<String> {
        let checks = self.at(0).view().checks_of(Scope::default(), node);
        checks.iter().find(|row| &*row.id == "serfHealth").map(|row| format!("{} {}", row.status.as_str(), row.output))
    }
}
