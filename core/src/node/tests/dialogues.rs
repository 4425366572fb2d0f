//! What clients ask and see.

use super::*;
use convoke_api::agent_view::Status as MemberStatus;

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_string())
}

#[test]
fn a_new_agent_is_in_its_own_catalog() {
    let world = World::new(dev());
    assert_eq!(world.ready, 1);
    assert_eq!(world.catalog_services(), ["consul"]);
    assert_eq!(world.catalog_checks(), ["serfHealth passing"]);
    let node = world.view().node("default", "n1").unwrap();
    assert_eq!((&*node.address, &*node.datacenter), ("127.0.0.1", "dc1"));
    assert_eq!(node.tagged_addresses.as_ref().unwrap().len(), 4);
    assert_eq!(&*node.meta.as_ref().unwrap()["consul-network-segment"], "");
    assert_eq!(world.published.agent.leader.unwrap().to_string(), "127.0.0.1:8300");
    assert!(node.indexes.modify > node.indexes.create, "the leader knows the member, the agent the rest");
    let consul = world.view().services_of(Scope::default(), "n1").iter().next().unwrap();
    assert_eq!((consul.port, &*consul.meta.as_ref().unwrap()["version"]), (8300, "1.21.4"));
}

#[test]
fn a_registration_is_in_the_catalog_when_it_is_answered_and_goes_again() {
    let mut world = World::new(dev());
    let mut web = service("web");
    web.address = "10.1.2.3".to_string();
    web.checks = vec![CheckDefinition { ttl: S(30), ..CheckDefinition::default() }];
    assert_eq!(world.register(web.clone()), ok());
    assert_eq!(world.services(), ["web"]);
    assert_eq!(world.catalog_services(), ["consul", "web"]);
    assert_eq!(world.catalog_checks(), ["serfHealth passing", "service:web critical"]);
    let row = world.view().services_of(Scope::default(), "n1").iter().nth(1).unwrap();
    let tagged: Vec<_> =
        row.tagged_addresses.iter().map(|(tag, at)| format!("{tag}={}:{}", at.address, at.port)).collect();
    assert_eq!(tagged, ["lan_ipv4=10.1.2.3:80", "wan_ipv4=10.1.2.3:80"]);

    let (index, publishes) = (world.view().index(), world.publishes);
    assert_eq!(world.register(web), ok(), "a repeat is welcome");
    assert_eq!((world.view().index(), world.publishes), (index, publishes), "and changes nothing");

    assert_eq!(world.answer(AgentRequest::DeregisterService { id: "web".to_string() }), ok());
    assert_eq!(world.catalog_services(), ["consul"]);
    assert_eq!(world.catalog_checks(), ["serfHealth passing"]);
    assert!(world.services().is_empty() && world.checks().is_empty());
    for id in ["web", "nosuch"] {
        assert_eq!(world.answer(AgentRequest::DeregisterService { id: id.to_string() }), ok());
    }
    let nameless = AgentRequest::DeregisterService { id: String::new() };
    assert_eq!(world.answer(nameless), refused(500, "ServiceID missing"));
}

#[test]
fn checks_of_a_service_are_named_and_replaced_as_asked() {
    let mut world = World::new(dev());
    let with = |checks: Vec<CheckDefinition>| ServiceDefinition { checks, ..service("api") };
    let plain = || CheckDefinition { ttl: S(600), ..CheckDefinition::default() };
    world.register(with(vec![plain(), CheckDefinition::default()]));
    assert_eq!(world.checks(), ["service:api critical \"\""]);
    let warning = CheckDefinition { status: "warning".to_string(), ..plain() };
    world.register(with(vec![plain(), warning, ttl("mine", 60)]));
    let ids = |world: &World| world.published.agent.checks.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&world), ["mine", "service:api", "service:api:1", "service:api:2"]);
    assert_eq!(world.checks()[3], "service:api:2 warning \"\"");
    let name = &world.published.agent.checks.get("service:api").unwrap().row.name;
    assert_eq!(&**name, "Service 'api' check");

    let request = |replace_existing_checks| AgentRequest::RegisterService {
        service: Box::new(with(vec![ttl("last", 600)])),
        replace_existing_checks,
    };
    world.answer(request(false));
    assert_eq!(ids(&world).len(), 5);
    world.answer(request(true));
    assert_eq!(ids(&world), ["last"]);
    assert_eq!(world.catalog_checks(), ["last critical", "serfHealth passing"]);
}

#[test]
fn a_status_survives_a_registration_anew() {
    let mut world = World::new(dev());
    let mut web = service("web");
    web.checks = vec![ttl("beat", 60)];
    world.register(web.clone());
    world.update("beat", Status::Passing, "ok");
    web.tags = vec!["primary".to_string()];
    world.register(web);
    assert_eq!(world.checks(), ["beat passing \"ok\""]);
    let row = world.view().checks_of(Scope::default(), "n1").iter().next().unwrap();
    assert_eq!((row.status.as_str(), row.service_tags.len()), ("passing", 1), "the check repeats the new tags");
}

#[test]
fn ttl_checks_are_reported_for() {
    let mut world = World::new(dev());
    let check = CheckDefinition { notes: "n".to_string(), ..ttl("mem", 3600) };
    assert_eq!(world.register_check(check), ok());
    assert_eq!(world.checks(), ["mem critical \"\""]);
    for (status, output) in [(Status::Passing, ""), (Status::Warning, "getting low"), (Status::Critical, "out")] {
        assert_eq!(world.update("mem", status.clone(), output), ok());
        assert_eq!(world.checks(), [format!("mem {} {output:?}", status.as_str())]);
        assert_eq!(world.catalog_checks()[0], format!("mem {}", status.as_str()));
    }
    let unknown = refused(500, "CheckID \"nosuch\" does not have associated TTL");
    assert_eq!(world.update("nosuch", Status::Passing, ""), unknown);
    let long = "y".repeat(5000);
    world.update("mem", Status::Passing, &long);
    let kept = &world.published.agent.checks.get("mem").unwrap().row.output;
    assert!(kept.ends_with("y ... (captured 4096 of 5000 bytes)") && kept.len() == 4096 + 34, "{}", kept.len());
    world.pass(S(3601));
    assert!(world.checks()[0].starts_with("mem critical \"TTL expired (last output before timeout follows): yyy"));
    assert_eq!(world.answer(AgentRequest::DeregisterCheck { id: "mem".to_string() }), ok());
    assert_eq!(world.answer(AgentRequest::DeregisterCheck { id: "mem".to_string() }), ok());
}

#[test]
fn what_cannot_be_is_refused_in_consuls_words() {
    let mut world = World::new(dev());
    let of_nobody = CheckDefinition { service_id: "nosuch".to_string(), ..ttl("x", 5) };
    assert_eq!(world.register_check(of_nobody), refused(500, "ServiceID \"nosuch\" does not exist"));
    let script = CheckDefinition { args: vec!["true".to_string()], interval: S(1), ttl: S(0), ..ttl("s", 0) };
    let scripts = refused(
        500,
        "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
    );
    assert_eq!(world.register_check(script.clone()), scripts);
    assert_eq!(world.register(ServiceDefinition { checks: vec![script], ..service("web") }), scripts);
    assert_eq!(world.register(service("")), refused(400, "Missing service name"));
    let empty = refused(400, "Invalid check: TTL must be > 0 for TTL checks");
    assert_eq!(world.register_check(ttl("x", 0)), empty);
    let sidecar_service = r#"{"ID":"x"}"#.to_string();
    let connect = convoke_config::definition::Connect { sidecar_service, native: false };
    let (status, text) = world.register(ServiceDefinition { connect: Some(connect), ..service("web") });
    assert!(status == 400 && text.contains("Cannot specify an ID"), "{text}");
    assert!(world.services().is_empty() && world.checks().is_empty());
    let absent = AgentRequest::ForceLeave { node: "absent".to_string(), prune: false };
    assert_eq!(world.answer(absent), refused(500, "agent: No node found with name 'absent'"));
}

#[test]
fn maintenance_is_a_critical_check() {
    let mut world = World::new(dev());
    world.register(service("web"));
    let of_service = |id: &str, enable, reason: &str| AgentRequest::ServiceMaintenance {
        id: id.to_string(),
        enable,
        reason: reason.to_string(),
    };
    assert_eq!(world.answer(of_service("web", true, "upgrade")), ok());
    assert_eq!(world.answer(of_service("web", true, "again")), ok());
    let row = world.published.agent.checks.get("_service_maintenance:web").unwrap().row.clone();
    assert_eq!((&*row.name, &*row.notes, &*row.kind), ("Service Maintenance Mode", "upgrade", "maintenance"));
    assert_eq!(world.catalog_checks()[0], "_service_maintenance:web critical");
    assert_eq!(world.answer(of_service("web", false, "")), ok());
    assert_eq!(world.answer(of_service("web", false, "")), ok());
    assert_eq!(world.answer(of_service("x", true, "")), refused(404, "No service registered with ID \"x\""));
    let node = |enable| AgentRequest::NodeMaintenance { enable, reason: String::new() };
    world.answer(node(true));
    let row = world.published.agent.checks.get("_node_maintenance").unwrap().row.clone();
    assert_eq!(
        &*row.notes,
        "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
    );
    world.answer(node(false));
    assert_eq!(world.catalog_checks(), ["serfHealth passing"]);
}

#[test]
fn probes_run_and_their_results_reach_the_catalog() {
    let mut world = World::new(dev());
    world.register(ServiceDefinition { checks: vec![http("c")], ..service("web") });
    assert!(world.runs.is_empty());
    world.pass(S(1));
    assert_eq!(world.runs.len(), 1);
    world.done(&Outcome::Http { status: 200, reason: "200 OK".to_string(), body: b"fine".to_vec() });
    assert_eq!(world.checks(), ["c passing \"HTTP GET http://h/: 200 OK Output: fine\""]);
    assert_eq!(world.catalog_checks()[0], "c passing");
    world.pass(S(1));
    world.done(&Outcome::Failed { error: "connection refused".to_string() });
    assert_eq!(world.catalog_checks()[0], "c critical");
    world.pass(S(1));
    let run = world.runs[0].0;
    world.answer(AgentRequest::DeregisterService { id: "web".to_string() });
    assert_eq!(world.cancelled, [run]);
}

#[test]
fn a_change_of_output_alone_waits() {
    let mut world = World::new(dev());
    world.register_check(ttl("c", 100_000));
    world.update("c", Status::Passing, "one");
    let output =
        |world: &World| world.view().checks_of(Scope::default(), "n1").iter().next().unwrap().output.to_string();
    assert_eq!(output(&world), "one");
    world.update("c", Status::Passing, "two");
    assert_eq!((output(&world), world.checks()[0].as_str()), ("one".to_string(), "c passing \"two\""));
    world.pass(S(140));
    assert_eq!(output(&world), "one", "no full comparison brings it either");
    world.pass(S(320));
    assert_eq!(output(&world), "two");
}

#[test]
fn services_of_long_critical_checks_are_reaped() {
    let mut world = World::new(dev());
    let with = |name: &str, status: &str, after: u64| {
        let check = CheckDefinition {
            status: status.to_string(),
            ttl: S(3600),
            deregister_critical_service_after: S(after),
            ..CheckDefinition::default()
        };
        ServiceDefinition { checks: vec![check], ..service(name) }
    };
    world.register(with("gone", "critical", 1));
    world.register(with("stays", "critical", 3600));
    world.register(with("passing", "passing", 1));
    world.register(with("never-failed", "", 1));
    world.update("service:gone", Status::Critical, "");
    world.update("service:stays", Status::Critical, "");
    world.pass(S(59));
    assert_eq!(world.services().len(), 4);
    world.pass(S(60));
    assert_eq!(world.services(), ["never-failed", "passing", "stays"]);
    assert_eq!(world.catalog_services(), ["consul", "never-failed", "passing", "stays"]);
    assert!(world.lines.iter().any(|(_, line)| line.contains("critical for too long")));
}

#[test]
fn alias_checks_follow() {
    let mut world = World::new(dev());
    world.register(ServiceDefinition { id: "db1".to_string(), checks: vec![ttl("db-ttl", 3600)], ..service("db") });
    let alias = CheckDefinition { alias_service: "db1".to_string(), ..CheckDefinition::default() };
    world.register(ServiceDefinition { checks: vec![alias.clone()], ..service("web") });
    // And one that follows the follower.
    let chain = CheckDefinition { alias_service: "web".to_string(), ..CheckDefinition::default() };
    world.register(ServiceDefinition { checks: vec![chain], ..service("front") });
    world.update("db-ttl", Status::Passing, "");
    assert_eq!(world.checks()[1], "service:front passing \"All checks passing.\"");
    assert_eq!(world.checks()[2], "service:web passing \"All checks passing.\"");
    world.update("db-ttl", Status::Warning, "hm");
    assert_eq!(world.checks()[2], "service:web warning \"Aliased check \\\"db-ttl\\\" failing: hm\"");
    assert!(world.checks()[1].starts_with("service:front warning"));
    assert_eq!(world.catalog_checks()[3], "service:web warning");
    world.register_check(CheckDefinition { alias_node: "n1".to_string(), ..ttl("node", 0) });
    assert!(world.checks()[1].starts_with("node warning"), "{:?}", world.checks());
    // Another node, through the catalog.
    world.propose(foreign(vec![Service { id: "x".into(), name: "x".into(), ..Service::default() }]));
    let remote = CheckDefinition { alias_node: "other".to_string(), alias_service: "x".to_string(), ..ttl("far", 0) };
    world.register_check(remote);
    let far = |world: &World| world.published.agent.checks.get("far").unwrap().row.status.clone();
    assert_eq!(far(&world), Status::Passing);
    world.propose(deregister("other"));
    assert_eq!(far(&world), Status::Critical, "a service that is gone is not well");
}

#[test]
fn alias_checks_in_a_circle_come_to_rest() {
    let mut world = World::new(dev());
    for (name, other) in [("a", "b"), ("b", "a")] {
        let alias = CheckDefinition { alias_service: other.to_string(), ..CheckDefinition::default() };
        world.register(ServiceDefinition { checks: vec![alias], ..service(name) });
    }
    world.pass(S(3600));
    assert_eq!(world.checks().len(), 2);
}

#[test]
fn the_catalog_is_brought_back_to_what_the_agent_says() {
    let mut world = World::new(dev());
    world.register(ServiceDefinition { checks: vec![ttl("c", 3600)], ..service("web") });
    world.propose(foreign(vec![Service { id: "x".into(), name: "x".into(), ..Service::default() }]));
    let strange = Service { id: "strange".into(), name: "strange".into(), ..Service::default() };
    let own = NodeRow { name: "n1".into(), ..NodeRow::default() };
    let register =
        |services| Command::Register(Register { node: own.clone(), skip_node_update: true, services, checks: vec![] });
    assert_eq!(world.propose(register(vec![strange])), (200, "true".to_string()));
    let broken = Service { id: "web".into(), name: "web".into(), port: 1, ..Service::default() };
    world.propose(register(vec![broken]));
    assert_eq!(world.catalog_services(), ["consul", "strange", "web"], "nothing happens at once");
    world.pass(S(121));
    assert_eq!(world.catalog_services(), ["consul", "web"]);
    assert_eq!(world.view().services_of(Scope::default(), "n1").iter().nth(1).unwrap().port, 80);
    world.propose(deregister("n1"));
    assert!(world.view().node("default", "n1").is_none());
    world.pass(S(121));
    assert_eq!(world.catalog_services(), ["consul", "web"]);
    assert_eq!(world.catalog_checks(), ["c critical", "serfHealth passing"]);
    assert_eq!(world.view().services_of(Scope::default(), "other").len(), 1, "others are left alone");
}

#[test]
fn tags_that_others_may_change_are_adopted() {
    for allowed in [true, false] {
        let mut world = World::new(dev());
        let web = ServiceDefinition { tags: vec!["a".to_string()], enable_tag_override: allowed, ..service("web") };
        world.register(ServiceDefinition { checks: vec![ttl("c", 3600)], ..web.clone() });
        let row = world.published.agent.services.get("web").unwrap().row.clone();
        let changed = Service { tags: vec!["b".into()], ..Service::clone(&row) };
        let node = NodeRow { name: "n1".into(), ..NodeRow::default() };
        let command = Register { node, skip_node_update: true, services: vec![changed], checks: vec![] };
        world.propose(Command::Register(command));
        world.pass(S(121));
        let expected = if allowed { "b" } else { "a" };
        let tag =
            |world: &World| world.view().services_of(Scope::default(), "n1").iter().nth(1).unwrap().tags[0].to_string();
        assert_eq!(tag(&world), expected);
        assert_eq!(&*world.published.agent.services.get("web").unwrap().row.tags[0], expected);
        // An explicit registration with other tags counts, whoever may change them.
        world.register(ServiceDefinition { tags: vec!["c".to_string()], ..web });
        assert_eq!(tag(&world), "c");
    }
}

#[test]
fn signals_end_it_as_consul_ends() {
    use crate::node::Signal::{Interrupt, Terminate};
    for (signal, leave_on_terminate, skip_leave_on_interrupt, code) in [
        (Terminate, false, true, 1),
        (Terminate, true, true, 0),
        (Interrupt, false, true, 1),
        (Interrupt, false, false, 0),
    ] {
        let mut world = World::new(Config { leave_on_terminate, skip_leave_on_interrupt, ..dev() });
        world.event(Event::Signal(signal));
        assert_eq!(world.exit, Some(code));
        assert_eq!(world.published.agent.leaving, code == 0);
    }
    let mut world = World::new(dev());
    assert_eq!(world.answer(AgentRequest::Leave), ok());
    assert_eq!((world.exit, world.published.agent.lan.own().status), (Some(0), MemberStatus::Left));
    assert_eq!(world.register(service("late")).0, 500);
}

#[test]
fn without_a_leader_nothing_is_committed_but_the_agent_lives() {
    for (config, text) in [
        (Config::default(), "No known Consul servers"),
        (Config { server: true, bootstrap_expect: 3, ..Config::default() }, "No cluster leader"),
    ] {
        let mut world = World::new(config);
        assert_eq!((world.ready, world.warnings.len()), (1, 0));
        assert!(world.published.agent.leader.is_none());
        let id = world.send(Effect::Propose { command: Box::new(kv("k")), render: Render::True });
        world.pass(S(8));
        assert_eq!(world.replies.remove(&id).map(|r| (r.status, r.body)), Some((500, text.as_bytes().to_vec())));
        assert_eq!(world.register(service("web")), ok());
        assert_eq!(world.services(), ["web"]);
        world.pass(S(300));
        assert!(world.catalog_services().is_empty());
    }
}

#[test]
fn definitions_in_files_are_registered_and_bad_ones_refuse_the_start() {
    let mut config = dev();
    config.services = vec![ServiceDefinition { checks: vec![ttl("in", 60)], ..service("web") }];
    let of_web = CheckDefinition { service_id: "web".to_string(), ..ttl("alone", 60) };
    config.checks = vec![of_web, ttl("mem", 60)];
    let world = World::new(config.clone());
    assert_eq!(world.catalog_checks(), ["alone critical", "in critical", "mem critical", "serfHealth passing"]);
    let kind = |id| world.published.agent.checks.get(id).unwrap().row.kind.to_string();
    assert_eq!([kind("alone"), kind("in"), kind("mem")], ["", "ttl", ""]);
    config.checks.push(CheckDefinition { args: vec!["x".to_string()], interval: S(1), ..ttl("s", 0) });
    config.checks.push(CheckDefinition { service_id: "nosuch".to_string(), ..ttl("n", 1) });
    let Err(error) = Node::new(boot(config, Recovered::default())) else { panic!("it started") };
    let text = error.to_string();
    assert!(text.contains("Scripts are disabled on this agent; to enable") && text.contains("nosuch"), "{text}");
}
