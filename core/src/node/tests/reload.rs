//! New configuration.

use super::*;
use convoke_config::Diagnostic;

fn reload(world: &mut World, config: Config) -> (u16, String) {
    let id = world.send(Effect::Agent(AgentRequest::Reload));
    assert_eq!(world.loads, 1);
    world.loads = 0;
    world.event(Event::ConfigLoaded { result: Ok((Box::new(config), vec![])) });
    let response = world.replies.remove(&id).unwrap();
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
fn only_what_is_different_changes() {
    let mut config = dev();
    config.services = vec![service("web"), ServiceDefinition { checks: vec![http("probe")], ..service("kept") }];
    config.checks = vec![ttl("mem", 3600)];
    let mut world = World::new(config.clone());
    world.register(service("viaapi"));
    world.register_check(CheckDefinition { service_id: "web".to_string(), ..ttl("api-of-web", 3600) });
    world.update("mem", Status::Passing, "fine");
    world.pass(S(1));
    let running = world.runs.len();

    config.services[0] = ServiceDefinition { port: 81, tags: vec!["new".to_string()], ..service("web") };
    config.services.push(service("extra"));
    assert_eq!(reload(&mut world, config.clone()), ok());
    assert_eq!(world.services(), ["extra", "kept", "viaapi", "web"]);
    assert_eq!(world.catalog_services(), ["consul", "extra", "kept", "viaapi", "web"]);
    assert_eq!(world.published.agent.services.get("web").unwrap().row.port, 81);
    assert!(world.cancelled.is_empty() && running == 1, "the running check goes on");
    assert!(world.checks().contains(&"mem passing \"fine\"".to_string()), "{:?}", world.checks());
    assert!(world.published.agent.checks.get("api-of-web").is_some());
    assert_eq!(world.reconfigured, 1);

    config.services = vec![service("web2")];
    config.checks.clear();
    assert_eq!(reload(&mut world, config), ok());
    assert_eq!(world.services(), ["viaapi", "web2"]);
    assert!(world.checks().is_empty());
    assert_eq!(world.cancelled.len(), 1);
}

#[test]
fn bad_files_change_nothing_and_are_told() {
    let mut config = dev();
    config.services = vec![service("web")];
    let mut world = World::new(config);
    let id = world.send(Effect::Agent(AgentRequest::Reload));
    let problem = Diagnostic { file: "web.json".to_string(), line: 1, message: "expected a value".to_string() };
    world.event(Event::ConfigLoaded { result: Err(vec![problem]) });
    let response = world.replies.remove(&id).unwrap();
    let text = String::from_utf8(response.body).unwrap();
    assert!(response.status == 500 && text.contains("expected a value"), "{text}");
    assert_eq!(world.services(), ["web"]);
    world.event(Event::Signal(crate::node::Signal::Reload));
    assert_eq!(world.loads, 2);
}

#[test]
fn a_refused_check_is_told_and_the_old_definition_stays() {
    let mut config = dev();
    config.services = vec![ServiceDefinition { checks: vec![ttl("c", 60)], ..service("web") }];
    let mut world = World::new(config.clone());
    let script = CheckDefinition { args: vec!["curl".to_string()], interval: S(10), ..ttl("c", 0) };
    let mut wanted = config.clone();
    wanted.services = vec![ServiceDefinition { checks: vec![script], ..service("web") }, service("other")];
    wanted.checks = vec![CheckDefinition { service_id: "nosuch".to_string(), ..ttl("orphan", 60) }];
    let (status, text) = reload(&mut world, wanted.clone());
    assert!(status == 500 && text.contains("Scripts are disabled on this agent") && text.contains("nosuch"), "{text}");
    assert_eq!(world.services(), ["other", "web"], "the rest is applied");
    assert_eq!(&*world.published.agent.checks.get("c").unwrap().row.kind, "ttl");
    // Mended by a setting alone.
    wanted.checks.clear();
    wanted.enable_local_script_checks = true;
    assert_eq!(reload(&mut world, wanted), ok());
    assert_eq!(&*world.published.agent.checks.get("c").unwrap().row.kind, "script");
}

#[test]
fn reloads_that_come_together_are_one_more() {
    let mut world = World::new(dev());
    let first = world.send(Effect::Agent(AgentRequest::Reload));
    let second = world.send(Effect::Agent(AgentRequest::Reload));
    let third = world.send(Effect::Agent(AgentRequest::Reload));
    assert_eq!(world.loads, 1);
    let loaded = || Event::ConfigLoaded { result: Ok((Box::new(dev()), vec![])) };
    world.event(loaded());
    assert_eq!(world.replies.keys().copied().collect::<Vec<_>>(), [first]);
    assert_eq!(world.loads, 2);
    world.event(loaded());
    assert_eq!(world.replies.keys().copied().collect::<Vec<_>>(), [first, second, third]);
    assert_eq!(world.loads, 2);
}

#[test]
fn node_meta_reaches_the_catalog_and_other_settings_wait_for_a_restart() {
    let mut world = World::new(dev());
    let mut config = dev();
    config.node_meta.insert("rack".to_string(), "r1".to_string());
    config.datacenter = "elsewhere".to_string();
    assert_eq!(reload(&mut world, config), ok());
    let node = world.view().node("default", "n1").unwrap();
    assert_eq!((&*node.meta.as_ref().unwrap()["rack"], &*node.datacenter), ("r1", "dc1"));
    assert_eq!(world.published.agent.config.datacenter, "dc1");
    assert!(world.lines.iter().any(|(level, line)| *level == Level::Warn && line.contains("next restart")));
}
