//! The laws of machines, for the whole node.

use super::*;
use crate::node::Signal;
use convoke_kit::Rng;
use convoke_kit::laws::{Effort, check};

fn random(rng: &mut Rng, request: &mut u64, seq: &mut u64) -> Event {
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

#[test]
fn the_laws_hold() {
    for seed in 0..12 {
        for config in [dev(), server(), Config::default()] {
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
                    let event = random(rng, &mut request, &mut seq);
                    counters.set((request, seq));
                    node.handle(now, event, out);
                },
            );
        }
    }
}
