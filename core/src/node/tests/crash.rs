//! Restarts and crashes: what was acknowledged is there again.

use super::*;
use crate::log::read_snapshot;
use crate::node::StartError;
use proptest::prelude::*;

#[test]
fn nothing_is_answered_before_it_is_on_disk() {
    let mut world = World::new(server());
    world.fast_disk = false;
    let web = AgentRequest::RegisterService {
        service: Box::new(ServiceDefinition { checks: vec![ttl("c", 60)], ..service("web") }),
        replace_existing_checks: false,
    };
    let first = world.send(Effect::Agent(web.clone()));
    let repeat = world.send(Effect::Agent(web));
    let key = world.send(Effect::Propose { command: Box::new(kv("k")), render: Render::True });
    assert_eq!(world.services(), ["web"], "the agent knows it at once");
    assert!(world.replies.is_empty());
    world.persist(1);
    assert!(world.replies.is_empty(), "the service is safe, its check is not");
    world.persist(1);
    assert_eq!(world.replies.keys().copied().collect::<Vec<_>>(), [first, repeat]);
    world.persist(usize::MAX);
    assert_eq!(world.replies[&key].status, 200);
    assert_eq!(world.catalog_services(), ["consul", "web"]);
}

#[test]
fn the_way_into_the_catalog_costs_no_write_of_its_own() {
    let mut world = World::new(server());
    world.fast_disk = false;
    let web = ServiceDefinition { checks: vec![ttl("c", 60)], ..service("web") };
    let id = world
        .send(Effect::Agent(AgentRequest::RegisterService { service: Box::new(web), replace_existing_checks: false }));
    // All of one event: the disk takes them together.
    let changes: Vec<&Change> = world.writes.iter().map(|write| &write.change).collect();
    assert!(matches!(changes[..], [Change::Put { .. }, Change::Put { .. }, Change::Append { .. }]), "{changes:?}");
    world.persist(usize::MAX);
    assert_eq!(world.replies[&id].status, 200);
    assert_eq!(world.catalog_services(), ["consul", "web"], "visible to whoever has the answer");
    assert!(world.writes.is_empty());
}

#[test]
fn registrations_states_and_keys_survive_a_kill() {
    let mut world = World::new(server());
    world.register(ServiceDefinition { checks: vec![ttl("beat", 3600)], ..service("web") });
    world.register_check(ttl("standalone", 3600));
    world.register(service("gone"));
    world.answer(AgentRequest::DeregisterService { id: "gone".to_string() });
    world.update("standalone", Status::Passing, "fine");
    world.answer(AgentRequest::NodeMaintenance { enable: true, reason: "r".to_string() });
    world.propose(kv("keep"));
    let index = world.view().index();

    let world = World::recover(server(), world.disk.clone());
    assert_eq!(world.warnings, Vec::<String>::new());
    assert_eq!(world.services(), ["web"]);
    assert_eq!(
        world.checks(),
        ["_node_maintenance critical \"\"", "beat critical \"\"", "standalone passing \"fine\""]
    );
    assert_eq!(&*world.published.agent.checks.get("standalone").unwrap().row.kind, "ttl");
    assert!(world.view().kv(Scope::default(), "keep").is_some());
    assert_eq!(world.view().index(), index, "the catalog was right already: nothing is written anew");
    assert_eq!(world.catalog_services(), ["consul", "web"]);
    assert_eq!(world.ready, 1);
}

#[test]
fn a_ttl_that_expired_meanwhile_does_not_count() {
    let mut world = World::new(server());
    world.register_check(ttl("c", 5));
    world.update("c", Status::Passing, "fine");
    let mut late = boot(server(), world.disk.recovered());
    late.wall += S(6);
    let (node, _) = Node::new(late).unwrap();
    assert_eq!(node.published().agent.checks.get("c").unwrap().row.status, Status::Critical);
}

#[test]
fn files_win_over_what_was_kept() {
    let mut world = World::new(server());
    world.register(ServiceDefinition { port: 1, checks: vec![ttl("c", 60)], ..service("web") });
    world.register(service("api"));
    let mut config = server();
    config.services = vec![ServiceDefinition { port: 2, ..service("web") }];
    let world = World::recover(config, world.disk.clone());
    assert_eq!(world.published.agent.services.get("web").unwrap().row.port, 2);
    assert_eq!(world.services(), ["api", "web"]);
    let kept: Vec<&String> = world.disk.files.keys().filter(|path| path.starts_with("services/")).collect();
    assert_eq!(kept.len(), 1, "the void file is gone");
}

#[test]
fn bad_files_are_told_and_left_alone() {
    let mut disk = Disk::default();
    disk.files.insert("services/bad".to_string(), b"{".to_vec());
    disk.files.insert(
        "checks/orphan".to_string(),
        br#"{"id":"c","name":"c","service_id":"nosuch","ttl":{"secs":5,"nanos":0}}"#.to_vec(),
    );
    disk.files.insert(
        "checks/script".to_string(),
        br#"{"id":"s","name":"s","args":["x"],"interval":{"secs":5,"nanos":0}}"#.to_vec(),
    );
    let world = World::recover(server(), disk);
    assert_eq!(world.warnings.len(), 3, "{:?}", world.warnings);
    assert!(world.warnings.iter().any(|warning| warning.contains("services/bad")));
    assert_eq!(world.disk.files.len(), 3);
    assert!(world.checks().is_empty());
}

#[test]
fn a_torn_end_is_replaced_and_rot_refuses_the_start() {
    let mut world = World::new(server());
    for n in 0..5 {
        world.propose(kv(&format!("k{n}")));
    }
    let mut torn = world.disk.clone();
    torn.log.as_mut().unwrap().extend_from_slice(b"CVK1 half a record");
    let mut world = World::recover(server(), torn);
    assert!(world.warnings[0].contains("torn by a crash"), "{:?}", world.warnings);
    world.propose(kv("after"));
    let world = World::recover(server(), world.disk.clone());
    assert!(world.warnings.is_empty());
    for key in ["k0", "k4", "after"] {
        assert!(world.view().kv(Scope::default(), key).is_some(), "{key}");
    }
    let mut world = World::new(server());
    world.propose(kv("a"));
    world.propose(kv("b"));
    let mut rotten = world.disk.clone();
    rotten.log.as_mut().unwrap()[40] ^= 1;
    let Err(StartError::Recovery(error)) = Node::new(boot(server(), rotten.recovered())).map(|_| ()) else {
        panic!("it started")
    };
    assert!(error.to_string().contains("restore data_dir from a backup"), "{error}");
}

#[test]
fn a_long_log_is_compacted_and_recovers() {
    let mut world = World::new(server());
    let value: Arc<[u8]> = Arc::from(vec![7_u8; 256 << 10]);
    for n in 0..80 {
        let Command::KvSet(set) = kv(&format!("k{}", n % 4)) else { unreachable!() };
        world.propose(Command::KvSet(KvSet { value: Arc::clone(&value), flags: n, ..set }));
    }
    assert!(world.disk.snapshot.is_some());
    assert!(world.disk.log.as_ref().unwrap().len() < 12 << 20);
    let index = world.view().index();
    let world = World::recover(server(), world.disk.clone());
    assert_eq!((world.view().index(), world.view().kv_range(Scope::default(), "k").count()), (index, 4));
}

#[test]
fn changes_go_on_while_the_tables_are_encoded() {
    let mut world = World::new(server());
    world.fast_exports = false;
    let value: Arc<[u8]> = Arc::from(vec![7_u8; 256 << 10]);
    let put = |world: &mut World, n: u64| {
        let Command::KvSet(set) = kv(&format!("k{}", n % 4)) else { unreachable!() };
        assert_eq!(world.propose(Command::KvSet(KvSet { value: Arc::clone(&value), flags: n, ..set })).0, 200);
    };
    for n in 0..120 {
        put(&mut world, n);
    }
    // Asked for once, however long it takes.
    assert_eq!((world.exports.len(), world.disk.snapshot.is_some()), (1, false));
    let frozen_at = world.exports[0].0;
    world.export();
    let bytes = world.disk.snapshot.clone().expect("a snapshot");
    let snapshot = read_snapshot(&bytes).unwrap();
    assert_eq!(snapshot.meta.position.index, frozen_at, "what came later is not in it");
    // The next one is asked for in time, and nothing is lost in between.
    for n in 120..240 {
        put(&mut world, n);
    }
    assert_eq!(world.exports.len(), 1);
    let index = world.view().index();
    let world = World::recover(server(), world.disk.clone());
    assert_eq!(world.view().index(), index);
    assert_eq!(world.view().kv(Scope::default(), "k3").unwrap().flags, 239);
}

#[test]
fn a_failed_write_is_told_and_a_failed_log_stops_the_agent() {
    let mut world = World::new(server());
    world.fast_disk = false;
    let request = AgentRequest::RegisterCheck(Box::new(ttl("c", 60)));
    let id = world.send(Effect::Agent(request));
    let key = world.send(Effect::Propose { command: Box::new(kv("k")), render: Render::True });
    let failed =
        |world: &World, want: fn(&Change) -> bool| world.writes.iter().find(|write| want(&write.change)).unwrap().seq;
    let seq = failed(&world, |change| matches!(change, Change::Put { .. }));
    world.event(Event::PersistFailed { seq, error: "no space".to_string() });
    assert_eq!(world.replies[&id].status, 500);
    assert_eq!(world.exit, None);
    let seq = failed(&world, |change| matches!(change, Change::Append { .. }));
    world.event(Event::PersistFailed { seq, error: "no space".to_string() });
    assert_eq!((world.replies[&key].status, world.exit), (500, Some(1)));
    assert_eq!(world.propose(kv("later")).0, 500);
}

#[derive(Clone, Debug)]
enum Step {
    Register(u8, u8),
    Deregister(u8),
    Check(u8),
    Pass(u8),
    Key(u8),
    Persist(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..4, 0_u8..3).prop_map(|(id, port)| Step::Register(id, port)),
        (0_u8..4).prop_map(Step::Deregister),
        (0_u8..3).prop_map(Step::Check),
        (0_u8..3).prop_map(Step::Pass),
        any::<u8>().prop_map(Step::Key),
        (1_usize..6).prop_map(Step::Persist),
    ]
}

fn run(world: &mut World, step: &Step) -> Option<u64> {
    let effect = match step {
        Step::Register(id, port) => Effect::Agent(AgentRequest::RegisterService {
            service: Box::new(ServiceDefinition { port: u16::from(*port), ..service(&format!("s{id}")) }),
            replace_existing_checks: false,
        }),
        Step::Deregister(id) => Effect::Agent(AgentRequest::DeregisterService { id: format!("s{id}") }),
        Step::Check(id) => Effect::Agent(AgentRequest::RegisterCheck(Box::new(ttl(&format!("c{id}"), 3600)))),
        Step::Pass(id) => Effect::Agent(AgentRequest::UpdateCheck {
            id: format!("c{id}"),
            status: Status::Passing,
            output: String::new(),
        }),
        Step::Key(key) => Effect::Propose { command: Box::new(kv(&format!("k{key}"))), render: Render::True },
        Step::Persist(count) => {
            world.persist(*count);
            return None;
        }
    };
    Some(world.send(effect))
}

/// What a client may count on.
#[derive(Clone, Debug, Default, PartialEq)]
struct Truth {
    services: BTreeMap<String, u16>,
    checks: BTreeMap<String, Status>,
    keys: Vec<String>,
}

fn truth(published: &Published) -> Truth {
    let agent = &published.agent;
    Truth {
        services: agent.services.iter().map(|(id, service)| (id.to_string(), service.row.port)).collect(),
        checks: agent.checks.iter().map(|(id, check)| (id.to_string(), check.row.status.clone())).collect(),
        keys: published.view.kv_range(Scope::default(), "").map(|entry| entry.key.to_string()).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The disk holds any prefix of the writes, the log maybe with a torn end: the node starts, what was acknowledged
    /// is there, and what is there was once true.
    #[test]
    fn any_prefix_of_writes_recovers(steps in prop::collection::vec(step(), 1..40), cut in 0_usize..60, tear in 0_usize..40) {
        let mut world = World::new(server());
        world.fast_disk = false;
        let mut states = vec![truth(&world.published)];
        for step in &steps {
            run(&mut world, step);
            states.push(truth(&world.published));
        }
        let acknowledged_keys: Vec<String> = truth(&world.published).keys;
        // Some more writes made it to the disk, unreported, and the next one maybe in part.
        let cut = cut.min(world.writes.len());
        for write in &world.writes[..cut] {
            world.disk.write(&write.change);
        }
        if let Some(Write { change: Change::Append { bytes }, .. }) = world.writes.get(cut) {
            let part = &bytes[..tear.min(bytes.len())];
            world.disk.write(&Change::Append { bytes: part.to_vec() });
        }
        let back = World::recover(server(), world.disk.clone());
        let found = truth(&back.published);
        for key in &acknowledged_keys {
            prop_assert!(found.keys.contains(key), "lost key {}", key);
        }
        let was_once = |services: &BTreeMap<String, u16>| states.iter().any(|state| state.services == *services);
        prop_assert!(was_once(&found.services), "{:?} never was", found.services);
        prop_assert!(found.checks.keys().all(|id| states.iter().any(|state| state.checks.contains_key(id))));
        prop_assert_eq!(back.catalog_services().len(), found.services.len() + 1, "the catalog follows");
    }

    /// With every write durable, a restart finds exactly what the agent said.
    #[test]
    fn a_clean_restart_changes_nothing(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new(server());
        for step in &steps {
            run(&mut world, step);
        }
        let before = truth(&world.published);
        let back = World::recover(server(), world.disk.clone());
        prop_assert_eq!(truth(&back.published), before);
        prop_assert!(back.view().index() >= world.view().index(), "an index went back");
    }
}
