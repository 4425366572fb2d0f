//! The laws of machines, for the whole node.

use super::*;
use crate::node::{LookupId, Pool, Signal};
use convoke_api::agent_view::UserEvent;
use convoke_kit::Rng;
use convoke_kit::laws::{Effort, check};
use convoke_swim::{self as swim, KeyOp};

fn random(rng: &mut Rng, request: &mut u64, seq: &mut u64) -> Event<'static> {
    let id = ["a", "b", "c"][rng.index(3)].to_string();
    let agent = |request: AgentRequest| Effect::Agent(request);
    let effect = match rng.below(16) {
        0 | 1 => {
            let alias = CheckDefinition { alias_service: "a".to_string(), ..CheckDefinition::default() };
            let checks = [vec![], vec![ttl("t", 5)], vec![http("h")], vec![alias]][rng.index(4)].clone();
            agent(AgentRequest::RegisterService {
                service: Box::new(ServiceDefinition { checks, ..service(&id) }),
                replace_existing_checks: rng.one_in(2),
            })
        }
        2 => agent(AgentRequest::DeregisterService { id }),
        3 => agent(AgentRequest::ServiceMaintenance { id, enable: rng.one_in(2), reason: String::new() }),
        4 => agent(AgentRequest::UpdateCheck { id: "t".to_string(), status: Status::Passing, output: id }),
        5 => {
            *seq += rng.below(8);
            return Event::Persisted { upto: *seq };
        }
        6..8 => {
            let outcome = if rng.one_in(2) {
                Outcome::Ok { detail: String::new() }
            } else {
                Outcome::TimedOut { output: vec![1] }
            };
            return Event::CheckDone { run: RunId(rng.below(60)), outcome };
        }
        8 => Effect::Propose { command: Box::new(deregister("n1")), render: Render::True },
        9 => Effect::Propose { command: Box::new(foreign(vec![])), render: Render::True },
        10 => agent(AgentRequest::Reload),
        11 => {
            let mut config = if rng.one_in(2) { dev() } else { server() };
            config.services = vec![service(&id)];
            return Event::ConfigLoaded { result: Ok((Box::new(config), vec![])) };
        }
        12 if rng.one_in(40) => return Event::PersistFailed { seq: *seq + 1, error: "disk".to_string() },
        13 if rng.one_in(20) => return Event::Signal(Signal::Terminate),
        _ => Effect::Propose { command: Box::new(kv(&id)), render: Render::Bool },
    };
    *request += 1;
    Event::Request { id: RequestId(*request), effect }
}

/// Packets of another node with their pools, so that something of what comes makes sense.
fn packets() -> Vec<(Pool, Vec<u8>)> {
    let mut config = server();
    config.retry_join.addresses = vec!["127.0.0.1".to_string()];
    let mut other = boot(config, Recovered::default());
    other.identity.node_name = "n2".to_string();
    other.identity.advertise = "127.0.0.2".to_string();
    let mut world = World::boot(other, Disk::default(), Time::ZERO);
    world.pass(S(1));
    let frames = world.streams.iter().filter_map(|action| match action {
        Action::Dial { pool, frame, .. } => Some((*pool, frame.clone())),
        _ => None,
    });
    frames.collect()
}

/// What comes over the network, and what is asked of the pools.
fn gossip(
    rng: &mut Rng,
    request: &mut u64,
    known: &[(Pool, Vec<u8>)],
    node: &mut Node,
    now: Time,
    out: &mut Out<Action>,
) {
    let pool = Pool::ALL[rng.index(2)];
    let from = SocketAddr::from(([127, 0, 0, 1], 8301 + rng.below(2) as u16));
    let (pool, mut bytes) = match known.get(rng.index(known.len() + 2)) {
        Some(known) => known.clone(),
        None => (pool, (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect()),
    };
    if rng.one_in(3) && !bytes.is_empty() {
        let at = rng.index(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
    let exchange = swim::ExchangeId(rng.below(8));
    let effect = match rng.below(12) {
        0..3 => {
            let event = swim::Event::Datagram { from, bytes: &bytes };
            return node.handle(now, Event::Gossip { pool, event }, out);
        }
        3 | 4 => {
            let event = swim::Event::Request { stream: swim::StreamId(*request), from, frame: &bytes };
            return node.handle(now, Event::Gossip { pool, event }, out);
        }
        5 => {
            let event = swim::Event::Response { exchange, frame: &bytes };
            return node.handle(now, Event::Gossip { pool, event }, out);
        }
        6 => {
            let event = swim::Event::DialFailed { exchange, error: "no" };
            return node.handle(now, Event::Gossip { pool, event }, out);
        }
        7 => {
            let result = if rng.one_in(2) { Ok(vec![from]) } else { Err("no".to_string()) };
            return node.handle(now, Event::Resolved { lookup: LookupId(rng.below(20)), result }, out);
        }
        8 => AgentRequest::Join {
            address: ["127.0.0.1", "host", "10.0.0.1:1"][rng.index(3)].to_string(),
            wan: rng.one_in(2),
        },
        9 => {
            let id = "0a1b2c3d-0000-1111-2222-333344445555".to_string();
            let event = UserEvent { id, name: "e".to_string(), node_filter: "n".to_string(), ..UserEvent::default() };
            AgentRequest::FireEvent { event, pretty: false }
        }
        10 => AgentRequest::Keys { op: KeyOp::List, local: rng.one_in(2), pretty: false },
        _ => AgentRequest::ForceLeave { node: ["n2", "n2.dc1"][rng.index(2)].to_string(), prune: rng.one_in(2) },
    };
    *request += 1;
    node.handle(now, Event::Request { id: RequestId(*request), effect: Effect::Agent(effect) }, out);
}

#[test]
fn the_laws_hold() {
    let known = packets();
    assert!(!known.is_empty());
    for seed in 0..12 {
        let mut joiner = Config { data_dir: "/d".to_string(), ..Config::default() };
        joiner.retry_join.addresses = vec!["127.0.0.2".to_string(), "host".to_string()];
        for config in [dev(), server(), Config::default(), joiner] {
            let counters = core::cell::Cell::new((0, 0));
            check(
                seed,
                Effort { steps: 250, ..Effort::default() },
                |_| {
                    counters.set((0, 0));
                    Node::new(boot(config.clone(), Recovered::default())).unwrap().0
                },
                |rng, now, node: &mut Node, out| {
                    let (mut request, mut seq) = counters.get();
                    if rng.one_in(2) {
                        gossip(rng, &mut request, &known, node, now, out);
                    } else {
                        let event = random(rng, &mut request, &mut seq);
                        node.handle(now, event, out);
                    }
                    counters.set((request, seq));
                },
            );
        }
    }
}
