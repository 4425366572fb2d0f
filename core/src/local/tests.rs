use super::*;
use alloc::string::ToString as _;
use alloc::vec;
use core::time::Duration;

fn ttl(id: &str) -> CheckDefinition {
    CheckDefinition { id: id.to_string(), name: id.to_string(), ttl: Duration::from_secs(9), ..Default::default() }
}

fn service(name: &str) -> ServiceDefinition {
    ServiceDefinition { name: name.to_string(), ..ServiceDefinition::default() }
}

/// What happened, as text.
fn shown(changes: &mut Vec<Change>) -> Vec<String> {
    changes.drain(..).map(|change| format!("{} {:?}", change.id, change.what)).collect()
}

#[test]
fn every_change_is_told_once_and_repeats_are_not() {
    let (mut local, mut changes) = (Local::new("n1", ""), Vec::new());
    let web = ServiceDefinition { checks: vec![ttl("c")], ..service("web") };
    local.register_service(web.clone(), false, Unnamed::Stay, &mut changes);
    assert_eq!(shown(&mut changes), ["web ServiceSet { now_from_file: false }", "c CheckSet { now_from_file: false }"]);
    let revision = local.revision();
    local.register_service(web.clone(), false, Unnamed::Stay, &mut changes);
    local.report("c", Status::Critical, "", &mut changes);
    assert_eq!((shown(&mut changes).len(), local.revision()), (0, revision));
    local.report("c", Status::Critical, "o", &mut changes);
    local.report("c", Status::Passing, "o", &mut changes);
    local.report("nosuch", Status::Passing, "o", &mut changes);
    assert_eq!(
        shown(&mut changes),
        ["c CheckReported { output_only: true }", "c CheckReported { output_only: false }"]
    );
    local.register_service(web, true, Unnamed::Stay, &mut changes);
    assert_eq!(shown(&mut changes), ["web ServiceSet { now_from_file: true }", "c CheckSet { now_from_file: true }"]);
    assert!(local.deregister_service("web", &mut changes) && !local.deregister_service("web", &mut changes));
    assert_eq!(
        shown(&mut changes),
        ["c CheckGone { from_file: true, ttl: true, service: \"web\" }", "web ServiceGone { from_file: true }"]
    );
    assert!(local.of_service.is_empty());
}

#[test]
fn a_check_can_move_to_another_service() {
    let (mut local, mut changes) = (Local::new("n1", ""), Vec::new());
    for name in ["a", "b"] {
        local.register_service(service(name), false, Unnamed::Stay, &mut changes);
        let check = CheckDefinition { service_id: name.to_string(), ..ttl("c") };
        local.register_check(check, false, &mut changes).unwrap();
    }
    assert_eq!((local.checks_of("a").count(), local.checks_of("b").count()), (0, 1));
    local.deregister_service("a", &mut changes);
    assert_eq!(local.checks().len(), 1);
}

#[test]
fn a_service_that_moves_to_another_namespace_leaves_the_old_one() {
    let (mut local, mut changes) = (Local::new("n1", "part"), Vec::new());
    local.register_service(service("web"), false, Unnamed::Stay, &mut changes);
    changes.clear();
    let moved = ServiceDefinition { namespace: "Team".to_string(), ..service("web") };
    local.register_service(moved, false, Unnamed::Stay, &mut changes);
    let spaces: Vec<String> =
        changes.iter().map(|change| format!("{}/{}", change.tenancy.partition, change.tenancy.namespace)).collect();
    assert_eq!(spaces, ["part/default", "part/team"]);
}

#[test]
fn checks_not_named_again_go_as_asked() {
    let registered = |unnamed| {
        let (mut local, mut changes) = (Local::new("n1", ""), Vec::new());
        let first = ServiceDefinition { checks: vec![ttl("old")], ..service("web") };
        local.register_service(first, true, Unnamed::Stay, &mut changes);
        let of_web = |id: &str| CheckDefinition { service_id: "web".to_string(), ..ttl(id) };
        local.register_check(of_web("file"), true, &mut changes).unwrap();
        local.register_check(of_web("api"), false, &mut changes).unwrap();
        local.service_maintenance("web", true, "", &mut changes).unwrap();
        let second = ServiceDefinition { checks: vec![ttl("new")], ..service("web") };
        local.register_service(second, true, unnamed, &mut changes);
        local.checks().iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(registered(Unnamed::Stay), ["_service_maintenance:web", "api", "file", "new", "old"]);
    assert_eq!(registered(Unnamed::Go), ["_service_maintenance:web", "new"]);
    assert_eq!(registered(Unnamed::GoIfFromFile), ["_service_maintenance:web", "api", "file", "new"]);
}

#[test]
fn rows_say_what_consul_says() {
    let (mut local, mut changes) = (Local::new("n1", ""), Vec::new());
    let definition = ServiceDefinition {
        address: "::1".to_string(),
        port: 9,
        meta: [("k".to_string(), "v".to_string())].into(),
        ..service("web")
    };
    local.register_service(definition, false, Unnamed::Stay, &mut changes);
    let row = &local.services().get("web").unwrap().row;
    assert_eq!(row.tagged_addresses.keys().map(|tag| &**tag).collect::<Vec<_>>(), ["lan_ipv6", "wan_ipv6"]);
    assert_eq!((row.weight_passing, row.weight_warning, row.meta.as_ref().map(BTreeMap::len)), (1, 1, Some(1)));
    local.register_check(CheckDefinition { status: "failing".to_string(), ..ttl("c") }, true, &mut changes).unwrap();
    let row = &local.checks().get("c").unwrap().row;
    assert_eq!((row.status.as_str(), &*row.kind, &*row.node), ("failing", "", "n1"));
}
