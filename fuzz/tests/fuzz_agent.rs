//! A whole agent: any HTTP requests, any DNS packets, any log on disk.

use std::sync::Arc;
use std::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_api::request::{NoHeaders, Request};
use convoke_api::response::Outcome;
use convoke_api::{Context, handle};
use convoke_config::Config;
use convoke_core::dns::{self, DnsSettings, Transport, answer};
use convoke_core::node::{Action, AskId, Boot, CallId, Event, Node, Published, RequestId};
use convoke_core::rpc::{self, Body};
use convoke_core::store::Recovered;
use convoke_kit::{Machine, Out, Time};

fn boot(recovered: Recovered) -> Boot {
    let config = Config {
        node_name: "n1".into(),
        server: true,
        dev_mode: true,
        bootstrap: true,
        advertise_addr: [127, 0, 0, 1].into(),
        ..Config::default()
    };
    let identity = Identity {
        node_name: "n1".into(),
        node_id: "6c1cbd57-6a21-4b2f-8a5c-0e2b6d0f4a11".into(),
        advertise: "127.0.0.1".into(),
        version: "1.0.0".into(),
        revision: String::new(),
    };
    Boot { config: Arc::new(config), identity, recovered, seed: 7, wall: Duration::from_secs(1_700_000_000) }
}

/// A node driven by hand, with a disk that is always done.
struct World {
    node: Node,
    out: Out<Action>,
    now: Time,
    published: Arc<Published>,
    replies: usize,
}

impl World {
    fn new() -> Self {
        let (node, _) = Node::new(boot(Recovered::default())).expect("a fresh node starts");
        let published = node.published();
        let mut world = Self { node, out: Out::new(), now: Time::ZERO, published, replies: 0 };
        world.tick(0);
        world
    }

    fn tick(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.node.handle_timeout(self.now, &mut self.out);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..64 {
            let actions: Vec<Action> = self.out.drain_actions().collect();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Publish { published, .. } => self.published = published,
                    Action::Persist(write) => {
                        self.node.handle(self.now, Event::Persisted { upto: write.seq }, &mut self.out);
                    }
                    Action::Reply { .. } => self.replies += 1,
                    Action::Export { index, tables } => {
                        let event = Event::Exported { index, tables: tables.encode() };
                        self.node.handle(self.now, event, &mut self.out);
                    }
                    Action::LoadConfig => {
                        let result = Ok((Box::new((*self.published.agent.config).clone()), Vec::new()));
                        self.node.handle(self.now, Event::ConfigLoaded { result }, &mut self.out);
                    }
                    _ => {}
                }
            }
        }
        panic!("the node never comes to rest");
    }

    fn http(&mut self, request: &Request<'_>) {
        let published = Arc::clone(&self.published);
        let context = Context {
            view: &published.view,
            agent: &published.agent,
            now_unix: Duration::from_secs(1_700_000_000),
            node: None,
            confirmed: true,
            contact_millis: 0,
            seed: 1,
        };
        match handle(&context, request, true) {
            Outcome::Wait(wait) => panic!("{wait:?} at the last chance"),
            Outcome::Effect(effect) => {
                let before = self.replies;
                self.node.handle(self.now, Event::Request { id: RequestId(1), effect }, &mut self.out);
                self.settle();
                assert!(self.replies <= before + 1, "more than one reply");
            }
            Outcome::Done(response) => assert!((100..600).contains(&response.status)),
            Outcome::Metrics { .. } | Outcome::Monitor { .. } => {}
        }
    }
}

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
const PATHS: [&str; 24] = [
    "/v1/agent/service/register",
    "/v1/agent/service/deregister/",
    "/v1/agent/service/maintenance/",
    "/v1/agent/check/register",
    "/v1/agent/check/deregister/",
    "/v1/agent/check/pass/",
    "/v1/agent/check/update/",
    "/v1/agent/services",
    "/v1/agent/checks",
    "/v1/agent/self",
    "/v1/agent/",
    "/v1/catalog/register",
    "/v1/catalog/deregister",
    "/v1/catalog/service/",
    "/v1/catalog/node/",
    "/v1/catalog/nodes",
    "/v1/health/service/",
    "/v1/health/state/",
    "/v1/kv/",
    "/v1/txn",
    "/v1/query",
    "/v1/internal/ui/services",
    "/v1/",
    "/",
];

/// Requests in a row, each with any method, tail of the path, query and body: no panic, one reply at most each, and the
/// node comes to rest.
#[test]
fn requests() {
    bolero::check!().with_type::<Vec<(u8, u8, Vec<u8>, Vec<u8>, Vec<u8>)>>().for_each(|calls| {
        let mut world = World::new();
        for (method, path, tail, query, body) in calls.iter().take(12) {
            let path = format!("{}{}", PATHS[usize::from(*path) % PATHS.len()], String::from_utf8_lossy(tail));
            world.http(&Request {
                method: METHODS[usize::from(*method) % METHODS.len()],
                path: &path,
                query: &String::from_utf8_lossy(query),
                headers: &NoHeaders,
                body,
                remote: None,
            });
            world.tick(u64::from(*method) * 40);
        }
    });
}

/// Any packet gets at most one well-formed message within the limit.
#[test]
fn packets() {
    let mut world = World::new();
    for (path, body) in [
        ("/v1/agent/service/register", r#"{"Name":"web","Port":80,"Tags":["v1"],"Meta":{"k":"v"}}"#),
        ("/v1/catalog/register", r#"{"Node":"x","Address":"host.example.org","Service":{"Service":"web","Port":81}}"#),
    ] {
        world.http(&Request {
            method: "PUT",
            path,
            query: "",
            headers: &NoHeaders,
            body: body.as_bytes(),
            remote: None,
        });
    }
    world.tick(2000);
    let settings = DnsSettings::new(&world.published.agent.config).expect("the defaults are names");
    bolero::check!().with_type::<(bool, u64, Vec<u8>)>().for_each(|(udp, seed, packet)| {
        let transport = if *udp { Transport::Udp } else { Transport::Tcp };
        let mut out = [0; 65_535];
        match answer(&world.published.view, &settings, packet, transport, *seed, 1, &mut out) {
            dns::Outcome::Reply(len) => {
                assert_eq!(out[2] & 0x80, 0x80, "a reply says that it is one");
                assert!(len <= out.len());
                convoke_dns::Message::parse(&out[..len]).expect("a reply is well formed");
            }
            dns::Outcome::Drop | dns::Outcome::Elsewhere | dns::Outcome::Recurse(_) => {}
        }
    });
}

/// Any frames of other agents, whatever they claim to be: no panic, and the node goes on to answer.
#[test]
fn frames() {
    bolero::check!().with_type::<Vec<Vec<u8>>>().for_each(|frames| {
        let mut world = World::new();
        for (at, frame) in (0..).zip(frames.iter().take(16)) {
            let event = match rpc::decode(frame) {
                Ok(Body::Raft { from, message, .. }) => {
                    // Addressed rightly: else it is dropped at once.
                    let to = convoke_core::identity::raft_id("6c1cbd57-6a21-4b2f-8a5c-0e2b6d0f4a11");
                    Event::Raft { from, to, message }
                }
                Ok(Body::Ask { ask, .. }) => Event::Asked { id: AskId(at), ask },
                Ok(Body::Answer { id, answer }) => Event::Answered { call: CallId(id), result: Ok(answer) },
                Err(_) => continue,
            };
            world.node.handle(world.now, event, &mut world.out);
            world.settle();
            world.tick(50);
        }
    });
}

/// Any bytes as log, snapshot or registration file: the node starts or says why not.
#[test]
fn disks() {
    bolero::check!().with_type::<(Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>)>().for_each(|(log, snapshot, file)| {
        let recovered = Recovered {
            files: vec![("services/x".into(), file.clone()), ("checks/state/y".into(), file.clone())],
            snapshot: snapshot.clone(),
            log: log.clone(),
            peers: None,
        };
        if let Err(e) = Node::new(boot(recovered)) {
            assert!(!e.to_string().is_empty());
        }
    });
}
