//! The catalog against a naive model: same rows, same joins, and change indexes that move exactly when a read changes.

mod naive;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use convoke_catalog::command::{Deregister, KvDelete, KvLock, KvSet, Register};
use convoke_catalog::coordinate::{Coordinate, CoordinateUpdate};
use convoke_catalog::model::{Check, Node, Proxy, Service, Status, Str, Tenancy};
use convoke_catalog::queries::{PreparedQuery, QueryService};
use convoke_catalog::sessions::{Behavior, BoundCheck, Expire, Session};
use convoke_catalog::{Catalog, Command, Reply, Scope, Snapshot, Topic, View, WatchTable};
use naive::Naive;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NODES: &[&str] = &["a", "A", "b", "c"];
const IDS: &[&str] = &["", "", "1f1f", "2e2E"];
const SPACES: &[&str] = &["default", "", "team"];
const SERVICES: &[&str] = &["web", "Web", "db"];
const SERVICE_IDS: &[&str] = &["s1", "S1", "s2"];
const CHECKS: &[&str] = &["serfHealth", "c1", "C1", "c2"];
const TAGS: &[&[&str]] = &[&[], &["v1"], &["v1", "v2"], &["v2"]];
const SESSIONS: &[&str] = &["u1", "U1", "u2", "u3-t"];
const KEYS: &[&str] = &["a", "a/b", "a/b/c", "ab", "b"];

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Str> {
    select(words).prop_map(Str::from)
}

fn tenancy() -> impl Strategy<Value = Tenancy> {
    word(SPACES).prop_map(|namespace| Tenancy { namespace, ..Tenancy::default() })
}

fn node() -> impl Strategy<Value = Node> {
    (word(IDS), word(NODES), word(&["10.0.0.1", "10.0.0.2", "db.example"]), any::<bool>()).prop_map(
        |(id, name, address, meta)| Node {
            id: Some(id),
            name,
            address,
            meta: meta.then(|| BTreeMap::from([("rack".into(), "1".into())])),
            ..Node::default()
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let kinds = select(&["", "native", "proxy"][..]);
    let tags = select(TAGS);
    (tenancy(), word(SERVICE_IDS), word(SERVICES), tags, word(&["", "10.0.0.9"]), kinds).prop_map(
        |(tenancy, id, name, tags, address, kind)| Service {
            tenancy,
            id,
            name,
            tags: tags.iter().map(|tag| Str::from(*tag)).collect(),
            address,
            connect_native: kind == "native",
            kind: if kind == "proxy" { "connect-proxy".into() } else { "".into() },
            proxy: (kind == "proxy")
                .then(|| Arc::new(Proxy { destination_service_name: "DB".into(), ..Proxy::default() })),
            ..Service::default()
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    let status = select(&["passing", "warning", "critical", "odd"][..]).prop_map(Status::from_text);
    let service = word(&["", "s1", "S2"]);
    (tenancy(), word(CHECKS), status, service, word(&["", "out"])).prop_map(
        |(tenancy, id, status, service_id, output)| Check {
            tenancy,
            id,
            status,
            service_id,
            output,
            ..Check::default()
        },
    )
}

/// No row twice in one command: what counts is one change per row and command.
fn registration() -> impl Strategy<Value = Register> {
    let services = vec(service(), 0..3);
    let checks = vec(check(), 0..3);
    (node(), any::<bool>(), services, checks).prop_map(|(node, skip_node_update, mut services, mut checks)| {
        let mut seen = Vec::new();
        services.retain(|service| once(&mut seen, &service.tenancy, &service.id));
        seen.clear();
        checks.retain(|check| once(&mut seen, &check.tenancy, &check.id));
        Register { node, skip_node_update, services, checks }
    })
}

fn once(seen: &mut Vec<(bool, String)>, tenancy: &Tenancy, id: &str) -> bool {
    let key = (&*tenancy.namespace == "team", id.to_lowercase());
    let new = !seen.contains(&key);
    seen.push(key);
    new
}

fn command() -> impl Strategy<Value = Command> {
    let absent = || prop_oneof![3 => Just(None), 1 => word(SERVICE_IDS).prop_map(Some)];
    let check = prop_oneof![2 => Just(None), 1 => word(CHECKS).prop_map(Some)];
    let cas = || prop_oneof![3 => Just(None), 1 => (0..40_u64).prop_map(Some)];
    let value = word(&["", "1", "2"]).prop_map(Arc::<[u8]>::from);
    prop_oneof![
        8 => registration().prop_map(Command::Register),
        3 => (word(NODES), tenancy(), absent(), check)
            .prop_map(|(node, tenancy, service_id, check_id)| Deregister { node, tenancy, service_id, check_id })
            .prop_map(Command::Deregister),
        4 => (tenancy(), word(KEYS), value, 0..2_u64, cas())
            .prop_map(|(tenancy, key, value, flags, cas)| KvSet { tenancy, key, value, flags, cas })
            .prop_map(Command::KvSet),
        2 => (tenancy(), word(&["a", "a/", "b", "ab", ""]), any::<bool>(), cas())
            .prop_map(|(tenancy, key, recurse, cas)| KvDelete { tenancy, key, recurse, cas })
            .prop_map(Command::KvDelete),
        1 => (word(&["id1", "id2"]), word(&["Find", "find", "seek"]), word(SERVICES), any::<bool>()).prop_map(
            |(id, name, service, create)| Command::QuerySet {
                query: PreparedQuery {
                    id,
                    name,
                    service: QueryService { service, ..QueryService::default() },
                    ..PreparedQuery::default()
                },
                create,
            }
        ),
        1 => word(&["id1", "id2"]).prop_map(|id| Command::QueryDelete { id }),
        3 => vec(place(), 0..4).prop_map(Command::Coordinates),
        4 => session().prop_map(Command::SessionCreate),
        1 => (tenancy(), word(SESSIONS)).prop_map(|(tenancy, id)| Command::SessionDestroy { tenancy, id }),
        1 => Just(Command::SessionEpoch),
        1 => (prop_oneof![Just(0), 1..10_u64], vec((tenancy(), word(SESSIONS)), 0..3))
            .prop_map(|(epoch, sessions)| Command::SessionExpire(Expire { epoch, sessions })),
        1 => vec((tenancy(), word(SESSIONS)), 0..3).prop_map(|sessions| Command::LockDelayOver { sessions }),
        6 => (tenancy(), word(KEYS), word(&["", "1"]), word(SESSIONS), prop_oneof![3 => Just(true), 1 => Just(false)])
            .prop_map(|(tenancy, key, value, session, acquire)| {
                let value = value.as_bytes().into();
                Command::KvLock(KvLock { tenancy, key, value, flags: 0, session, acquire })
            }),
    ]
}

/// As they are: a session belongs to one namespace, so its id says which.
fn session() -> impl Strategy<Value = Session> {
    let bound = || vec(word(CHECKS), 0..2);
    let (of_service, spaces) = (vec((word(CHECKS), word(&["", "default", "team"])), 0..2), select(&["", "2s"][..]));
    (word(SESSIONS), word(NODES), (bound(), bound(), of_service), any::<bool>(), spaces, any::<bool>()).prop_map(
        |(id, node, (node_checks, checks, of_service), delete, ttl, delay)| Session {
            tenancy: home(&id),
            id,
            node,
            node_checks,
            checks,
            service_checks: of_service.into_iter().map(|(id, namespace)| BoundCheck { id, namespace }).collect(),
            behavior: if delete { Behavior::Delete } else { Behavior::Release },
            ttl: Duration::from_secs(if ttl.is_empty() { 0 } else { 2 }),
            ttl_text: ttl.into(),
            lock_delay: Duration::from_secs(u64::from(delay)),
            ..Session::default()
        },
    )
}

fn home(id: &Str) -> Tenancy {
    Tenancy { namespace: if id.ends_with('t') { "team" } else { "default" }.into(), ..Tenancy::default() }
}

fn place() -> impl Strategy<Value = CoordinateUpdate> {
    let wrong = prop_oneof![Just(f64::NAN), Just(f64::INFINITY)];
    let east = prop_oneof![20 => select(&[0.0, -0.0, 0.1][..]), 1 => wrong];
    (word(NODES), word(&["", "alpha"]), east).prop_map(|(node, segment, east)| {
        let mut coordinate = Coordinate::default();
        coordinate.vec[0] = east;
        CoordinateUpdate { node, segment, coordinate, ..CoordinateUpdate::default() }
    })
}

/// Every topic the commands above can touch, and some they cannot.
fn topics() -> Vec<Topic> {
    let partition: Str = "default".into();
    let mut topics = vec![Topic::Queries, Topic::Nodes { partition: partition.clone() }];
    for name in ["a", "B", "c", "absent"] {
        topics.push(Topic::Node { partition: partition.clone(), name: name.into() });
        topics.push(Topic::NodeCoordinates { partition: partition.clone(), node: name.into() });
    }
    topics.push(Topic::Coordinates { partition });
    for namespace in ["default", "team", "nowhere"] {
        let tenancy = Tenancy { namespace: namespace.into(), ..Tenancy::default() };
        let tenancy = || tenancy.clone();
        topics.push(Topic::Services { tenancy: tenancy() });
        topics.push(Topic::ServiceRows { tenancy: tenancy() });
        topics.push(Topic::Checks { tenancy: tenancy() });
        topics.push(Topic::Sessions { tenancy: tenancy() });
        for id in SESSIONS {
            topics.push(Topic::Session { tenancy: tenancy(), id: Str::from(*id) });
        }
        for status in ["passing", "warning", "critical", "odd"] {
            topics.push(Topic::CheckState { tenancy: tenancy(), status: Status::from_text(status) });
        }
        for node in ["A", "b", "c", "absent"] {
            topics.push(Topic::NodeServices { tenancy: tenancy(), node: node.into() });
            topics.push(Topic::NodeChecks { tenancy: tenancy(), node: node.into() });
            topics.push(Topic::NodeSessions { tenancy: tenancy(), node: node.into() });
        }
        for name in ["web", "DB", "absent"] {
            let name = || Str::from(name);
            topics.push(Topic::Service { tenancy: tenancy(), name: name() });
            topics.push(Topic::ServiceInstances { tenancy: tenancy(), name: name() });
            topics.push(Topic::ServiceChecks { tenancy: tenancy(), name: name() });
            topics.push(Topic::Connect { tenancy: tenancy(), name: name() });
            topics.push(Topic::ConnectInstances { tenancy: tenancy(), name: name() });
        }
        for key in KEYS {
            topics.push(Topic::Kv { tenancy: tenancy(), key: Str::from(*key) });
        }
        for prefix in ["", "a", "a/", "a/b/", "b", "x"] {
            topics.push(Topic::KvPrefix { tenancy: tenancy(), prefix: prefix.into() });
        }
    }
    topics
}

/// What a reader of the topic sees; nothing if what it names is not there.
fn read(view: &View, topic: &Topic) -> Vec<String> {
    fn show<T: std::fmt::Debug>(rows: impl IntoIterator<Item = T>) -> Vec<String> {
        rows.into_iter().map(|row| format!("{row:?}")).collect()
    }
    match topic {
        Topic::Queries => show(view.queries()),
        Topic::Autopilot => show(view.autopilot()),
        Topic::Nodes { partition } => show(view.nodes(partition)),
        Topic::Node { partition, name } => show(view.node(partition, name)),
        Topic::Coordinates { partition } => show(view.coordinates(partition)),
        Topic::NodeCoordinates { partition, node } => show(view.coordinates_of(partition, node)),
        Topic::NodeServices { tenancy, node } => {
            let mut rows = show(view.node(&tenancy.partition, node));
            rows.extend(show(view.services_of(tenancy.into(), node).iter()));
            rows
        }
        Topic::NodeChecks { tenancy, node } => show(view.checks_of(tenancy.into(), node).iter()),
        Topic::Services { tenancy } => show(view.service_names(tenancy.into())),
        Topic::ServiceRows { tenancy } => {
            let scope = Scope::from(tenancy);
            show(view.nodes(scope.partition).flat_map(|node| view.services_of(scope, &node.name).iter()))
        }
        Topic::Service { tenancy, name } => show(view.group(tenancy.into(), name).map(|group| &group.instances)),
        Topic::ServiceInstances { tenancy, name } => show(
            view.group(tenancy.into(), name)
                .into_iter()
                .flat_map(|group| group.instances.iter().map(|instance| (&instance.node, &instance.service))),
        ),
        Topic::ServiceChecks { tenancy, name } => show(view.checks_of_service(tenancy.into(), name)),
        Topic::Connect { tenancy, name } => {
            show(view.connect_group(tenancy.into(), name).map(|group| &group.instances))
        }
        Topic::ConnectInstances { tenancy, name } => show(
            view.connect_group(tenancy.into(), name)
                .into_iter()
                .flat_map(|group| group.instances.iter().map(|instance| (&instance.node, &instance.service))),
        ),
        Topic::Checks { tenancy } => show(view.checks(tenancy.into())),
        Topic::CheckState { tenancy, status } => show(view.checks_in_state(tenancy.into(), status)),
        Topic::Sessions { tenancy } => show(view.sessions(tenancy.into())),
        Topic::NodeSessions { tenancy, node } => show(view.sessions_of(tenancy.into(), node)),
        Topic::Session { tenancy, id } => show(view.session(tenancy.into(), id)),
        Topic::Kv { tenancy, key } => show(view.kv(tenancy.into(), key)),
        Topic::KvPrefix { tenancy, prefix } => show(view.kv_range(tenancy.into(), prefix)),
    }
}

/// The index of such a topic is exact even where there is nothing to read.
fn is_table(topic: &Topic) -> bool {
    matches!(
        topic,
        Topic::Nodes { .. }
            | Topic::Coordinates { .. }
            | Topic::Queries
            | Topic::Services { .. }
            | Topic::ServiceRows { .. }
            | Topic::Checks { .. }
            | Topic::Sessions { .. }
            | Topic::CheckState { .. }
            | Topic::Kv { .. }
            | Topic::KvPrefix { .. }
    )
}

fn renames(before: &View, command: &Command) -> bool {
    let Command::Register(register) = command else { return false };
    let Some(id) = register.node.id.as_ref().filter(|id| !id.is_empty()) else { return false };
    before.node_by_id("default", id).is_some_and(|node| !node.name.eq_ignore_ascii_case(&register.node.name))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_joins_are_those_of_the_model(commands in vec(command(), 1..40)) {
        let mut catalog = Catalog::default();
        let mut naive = Naive::default();
        for (index, command) in (1..).zip(commands) {
            let reply = catalog.apply(index, command.clone()).reply;
            prop_assert_eq!(naive.apply(index, command), reply);
            naive.compare(&catalog.view());
        }
    }

    #[test]
    fn indexes_move_exactly_when_a_read_changes(commands in vec(command(), 1..30)) {
        let topics = topics();
        let mut catalog = Catalog::default();
        for (index, command) in (1..).zip(commands) {
            let before = catalog.view();
            let applied = catalog.apply(index, command.clone());
            let after = catalog.view();
            let mut watches = WatchTable::default();
            for (number, topic) in topics.iter().enumerate() {
                watches.register(std::slice::from_ref(topic), number).unwrap();
            }
            let woken = watches.wake(&applied.changes);
            if matches!(applied.reply, Reply::Refused(_) | Reply::Bool(false)) {
                prop_assert!(applied.changes.is_empty());
            }
            for (number, topic) in topics.iter().enumerate() {
                let (was, is) = (before.index_of(topic), after.index_of(topic));
                let (saw, sees) = (read(&before, topic), read(&after, topic));
                let woke = applied.changes.contains(topic);
                prop_assert_eq!(woken.contains(&number), woke, "{:?}", topic);
                prop_assert!(was >= 1 && was <= is && is <= index, "{:?} {} {}", topic, was, is);
                if saw != sees {
                    prop_assert_eq!(is, index, "not moved: {:?}", topic);
                    prop_assert!(woke, "not woken: {:?}", topic);
                } else if matches!(topic, Topic::Services { .. }) || !renames(&before, &command) {
                    prop_assert!(!woke, "woken for nothing: {:?}", topic);
                    if is_table(topic) || !sees.is_empty() {
                        prop_assert_eq!(was, is, "moved for nothing: {:?}", topic);
                    }
                }
            }
        }
    }

    #[test]
    fn a_snapshot_carries_everything(first in vec(command(), 1..25), second in vec(command(), 0..10)) {
        let topics = topics();
        let mut catalog = Catalog::default();
        let mut index = 0;
        for command in first {
            index += 1;
            catalog.apply(index, command);
        }
        let bytes = postcard::to_allocvec(&catalog.export()).unwrap();
        let mut copy = Catalog::import(postcard::from_bytes::<Snapshot>(&bytes).unwrap()).unwrap();
        for command in second.into_iter().map(Some).chain([None]) {
            prop_assert_eq!(catalog.export(), copy.export());
            for topic in &topics {
                prop_assert_eq!(read(&catalog.view(), topic), read(&copy.view(), topic));
                prop_assert_eq!(catalog.view().index_of(topic), copy.view().index_of(topic));
            }
            if let Some(command) = command {
                index += 1;
                prop_assert_eq!(catalog.apply(index, command.clone()), copy.apply(index, command));
            }
        }
    }

    #[test]
    fn no_command_can_make_it_panic(
        commands in vec(command(), 1..10),
        noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut catalog = Catalog::default();
        let mut bytes = postcard::to_allocvec(&commands).unwrap();
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let damaged: Vec<Command> = postcard::from_bytes(&bytes).unwrap_or_default();
        for (index, command) in (1..).zip(commands.into_iter().chain(damaged)) {
            let mut before = catalog.export();
            let applied = catalog.apply(index, command);
            if let Reply::Refused(why) = applied.reply {
                prop_assert!(!why.is_empty());
                before.index = index;
                prop_assert_eq!(before, catalog.export());
            }
        }
        let bytes = postcard::to_allocvec(&catalog.export()).unwrap();
        prop_assert!(Catalog::import(postcard::from_bytes(&bytes).unwrap()).is_ok());
    }

    #[test]
    fn no_bytes_can_make_it_panic(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(command) = postcard::from_bytes::<Command>(&bytes) {
            Catalog::default().apply(1, command);
        }
        if let Ok(snapshot) = postcard::from_bytes::<Snapshot>(&bytes) {
            let _ = Catalog::import(snapshot);
        }
    }
}
