//! What Consul answers to registrations, deregistrations and keys, case by case.

use std::sync::Arc;

use convoke_catalog::command::{Deregister, KvDelete, KvSet, Register};
use convoke_catalog::model::{Check, Indexes, Node, Service, Status, Tenancy};
use convoke_catalog::queries::{PreparedQuery, QueryService, execute};
use convoke_catalog::view::KeyOrFolder;
use convoke_catalog::{Applied, Catalog, Command, Reply, Scope, Topic};

/// Log index by log index.
#[derive(Default)]
struct Log {
    catalog: Catalog,
    index: u64,
}

impl Log {
    fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        self.catalog.apply(self.index, command)
    }

    fn register(&mut self, register: Register) -> Reply {
        self.apply(Command::Register(register)).reply
    }

    fn deregister(&mut self, node: &str, service: Option<&str>, check: Option<&str>) -> Reply {
        let [service_id, check_id] = [service, check].map(|id| id.map(Into::into));
        self.apply(Command::Deregister(Deregister { node: node.into(), service_id, check_id, ..Deregister::default() }))
            .reply
    }

    fn set(&mut self, key: &str, value: &str, cas: Option<u64>) -> Reply {
        let value = value.as_bytes().into();
        self.apply(Command::KvSet(KvSet { tenancy: Tenancy::default(), key: key.into(), value, flags: 0, cas })).reply
    }

    fn delete(&mut self, key: &str, recurse: bool, cas: Option<u64>) -> Reply {
        self.apply(Command::KvDelete(KvDelete { tenancy: Tenancy::default(), key: key.into(), recurse, cas })).reply
    }

    fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.catalog.view().node("default", name).cloned()
    }

    fn check(&self, node: &str, id: &str) -> Option<Arc<Check>> {
        self.catalog.view().checks_of(Scope::default(), node).iter().find(|check| &*check.id == id).cloned()
    }

    fn index_of(&self, topic: &Topic) -> u64 {
        self.catalog.view().index_of(topic)
    }
}

fn on(name: &str, id: &str, address: &str) -> Register {
    let id = (!id.is_empty()).then(|| id.into());
    let node = Node { name: name.into(), id, address: address.into(), ..Node::default() };
    Register { node, ..Register::default() }
}

fn with_service(mut register: Register, id: &str, name: &str) -> Register {
    register.services.push(Service { id: id.into(), name: name.into(), ..Service::default() });
    register
}

fn with_check(mut register: Register, id: &str, service: &str, status: Status) -> Register {
    register.checks.push(Check { id: id.into(), service_id: service.into(), status, ..Check::default() });
    register
}

fn refused(why: &str) -> Reply {
    Reply::Refused(why.into())
}

const A: &str = "11111111-2222-3333-4444-555555555555";
const B: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

fn kv(key: &str) -> Topic {
    Topic::Kv { tenancy: Tenancy::default(), key: key.into() }
}

fn prefix(prefix: &str) -> Topic {
    Topic::KvPrefix { tenancy: Tenancy::default(), prefix: prefix.into() }
}

#[test]
fn what_is_refused_and_in_which_words() {
    let x = || on("x", "", "1.2.3.4");
    let other = Check { node: "other".into(), id: "c".into(), ..Check::default() };
    let cases = [
        (Register::default(), "Must provide node"),
        (on("x", "", ""), "Must provide address if SkipNodeUpdate is not set"),
        (with_service(x(), "", ""), "failed inserting service: failed inserting service: object missing primary index"),
        (with_service(x(), "id", ""), "Must provide service name with ID"),
        (Register { checks: vec![other], ..x() }, "check node \"other\" does not match node \"x\""),
        (
            with_check(x(), "", "", Status::Passing),
            "failed inserting check: failed inserting check: object missing primary index on node \"x\"",
        ),
        (
            with_check(x(), "c", "missing", Status::Passing),
            "failed inserting check: Missing service registration on node \"x\"",
        ),
    ];
    for (register, why) in cases {
        let mut log = Log::default();
        assert_eq!(log.register(register), refused(why));
        assert_eq!(log.node("x"), None, "{why}: nothing may be left of it");
    }
    assert_eq!(Log::default().deregister("", None, None), refused("Must provide node"));
    assert_eq!(Log::default().deregister("absent", None, None), Reply::Done);
}

#[test]
fn the_same_again_moves_nothing() {
    let mut log = Log::default();
    let register = || with_check(with_service(on("n", A, "10.0.0.1"), "s", "web"), "c", "s", Status::Passing);
    log.register(register());
    let first = log.catalog.export();
    let again = log.apply(Command::Register(register()));
    assert!(again.changes.is_empty());
    let mut second = log.catalog.export();
    second.index = first.index;
    assert_eq!(first, second);
}

#[test]
fn each_row_has_its_own_indexes() {
    let mut log = Log::default();
    log.register(on("foo", "", "10.0.0.1"));
    log.register(with_service(on("foo", "", "10.0.0.1"), "redis", "redis"));
    log.register(with_check(on("foo", "", "10.0.0.1"), "c", "redis", Status::Passing));
    log.register(with_check(on("foo", "", "10.0.0.2"), "a", "", Status::Warning));
    assert_eq!(log.node("foo").unwrap().indexes, Indexes { create: 1, modify: 4 });
    let view = log.catalog.view();
    assert_eq!(
        view.services_of(Scope::default(), "foo").iter().next().unwrap().indexes,
        Indexes { create: 2, modify: 2 }
    );
    assert_eq!(log.check("foo", "c").unwrap().indexes, Indexes { create: 3, modify: 3 });
    assert_eq!(&*log.check("foo", "c").unwrap().service_name, "redis");
    let group = view.group(Scope::default(), "REDIS").unwrap();
    assert_eq!(group.instances[0].checks.iter().map(|check| &*check.id).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!((group.rows_index, group.checks_index, group.index), (4, 3, 4));
}

#[test]
fn an_existing_node_is_left_alone_if_asked_for() {
    let mut log = Log::default();
    log.register(on("n", A, "10.0.0.1"));
    let skip = Register { skip_node_update: true, ..with_service(on("N", "", ""), "s", "web") };
    assert_eq!(log.register(skip), Reply::Done);
    assert_eq!(log.node("n").unwrap().indexes.modify, 1);
    assert_eq!(log.catalog.view().group(Scope::default(), "web").unwrap().instances.len(), 1);
    let unknown = Register { skip_node_update: true, ..on("m", "", "") };
    assert_eq!(log.register(unknown), Reply::Done);
    assert_eq!(&*log.node("m").unwrap().address, "");
}

#[test]
fn deregistering_takes_what_belongs_to_it() {
    let mut log = Log::default();
    let all = with_service(with_service(on("n", "", "10.0.0.1"), "s", "web"), "t", "db");
    log.register(with_check(with_check(all, "c", "s", Status::Passing), "d", "", Status::Passing));
    log.deregister("n", Some("S"), Some("d"));
    assert_eq!((log.check("n", "c"), log.check("n", "d").is_some()), (None, true), "the service goes before the check");
    log.deregister("N", None, Some("d"));
    assert_eq!(log.check("n", "d"), None);
    log.deregister("n", None, None);
    let view = log.catalog.view();
    assert_eq!((view.nodes("default").count(), view.groups(Scope::default()).count()), (0, 0));
}

#[test]
fn an_id_under_another_name_is_the_node_renamed() {
    let mut log = Log::default();
    log.register(with_service(on("old", A, "10.0.0.1"), "s", "web"));
    log.register(on("new", A, "10.0.0.1"));
    assert_eq!(log.node("old"), None);
    assert_eq!(log.node("new").unwrap().indexes, Indexes { create: 1, modify: 2 });
    assert!(log.catalog.view().group(Scope::default(), "web").is_none());
    let by_id = log.catalog.view().node_by_id("default", &A.to_uppercase()).cloned();
    assert_eq!(&*by_id.unwrap().name, "new");
}

#[test]
fn a_name_in_another_case_is_the_same_node() {
    let mut log = Log::default();
    log.register(with_check(with_service(on("node", A, "10.0.0.1"), "s", "web"), "c", "s", Status::Passing));
    log.register(on("NODE", A, "10.0.0.1"));
    assert_eq!(&*log.node("node").unwrap().name, "NODE");
    assert_eq!(&*log.check("node", "c").unwrap().node, "NODE");
    assert_eq!(log.catalog.view().group(Scope::default(), "web").unwrap().instances.len(), 1);
}

#[test]
fn a_living_agent_keeps_its_name() {
    let mut log = Log::default();
    log.register(with_check(on("n", A, "10.0.0.1"), "serfHealth", "", Status::Passing));
    let taken = "failed inserting node: Error while renaming Node ID: \"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\": \
                 Node name N is reserved by node 11111111-2222-3333-4444-555555555555 with name n (10.0.0.1)";
    assert_eq!(log.register(on("N", B, "10.0.0.2")), refused(taken));
    log.register(with_check(on("n", A, "10.0.0.1"), "serfHealth", "", Status::Critical));
    assert_eq!(log.register(on("N", B, "10.0.0.2")), Reply::Done);
    let view = log.catalog.view();
    assert!(view.node_by_id("default", A).is_none());
    assert_eq!(&*view.node_by_id_prefix("default", "aaaa").unwrap().address, "10.0.0.2");
    assert!(view.node_by_id_prefix("default", "a").is_none());
}

#[test]
fn a_node_without_id_gets_one() {
    let mut log = Log::default();
    log.register(with_check(on("n", "", "10.0.0.1"), "serfHealth", "", Status::Passing));
    assert_eq!(log.register(on("n", A, "10.0.0.1")), Reply::Done);
    assert!(log.catalog.view().node_by_id("default", A).is_some());
}

#[test]
fn a_service_under_the_same_id_can_change_its_name() {
    let mut log = Log::default();
    log.register(with_check(with_service(on("n", "", "10.0.0.1"), "s", "web"), "c", "s", Status::Critical));
    log.register(with_service(on("n", "", "10.0.0.1"), "s", "shop"));
    let view = log.catalog.view();
    assert!(view.group(Scope::default(), "web").is_none());
    let group = view.group(Scope::default(), "shop").unwrap();
    assert_eq!(group.instances[0].status, Status::Critical);
    assert_eq!(&*log.check("n", "c").unwrap().service_name, "shop");
    assert_eq!(view.checks_of_service(Scope::default(), "shop").count(), 1);
}

#[test]
fn checks_of_a_node_count_in_every_namespace() {
    let mut log = Log::default();
    let team = Tenancy { namespace: "team".into(), ..Tenancy::default() };
    let mut register = with_check(on("n", "", "10.0.0.1"), "serfHealth", "", Status::Critical);
    register.services.push(Service { id: "s".into(), name: "web".into(), tenancy: team.clone(), ..Service::default() });
    log.register(register);
    let view = log.catalog.view();
    assert!(view.group(Scope::default(), "web").is_none());
    assert_eq!(view.group((&team).into(), "web").unwrap().instances[0].status, Status::Critical);
    assert_eq!(view.checks((&team).into()).count(), 0);
}

#[test]
fn what_is_not_there_keeps_the_index_of_the_last_departure() {
    let mut log = Log::default();
    let web = || Topic::Service { tenancy: Tenancy::default(), name: "web".into() };
    assert_eq!(log.index_of(&web()), 1);
    log.register(with_service(on("n", "", "10.0.0.1"), "s", "web"));
    log.register(with_service(on("n", "", "10.0.0.1"), "t", "web"));
    assert_eq!(log.index_of(&web()), 2);
    log.deregister("n", Some("s"), None);
    assert_eq!(log.index_of(&web()), 3);
    log.deregister("n", None, None);
    log.set("unrelated", "", None);
    assert_eq!(log.index_of(&web()), 4);
}

#[test]
fn conditions_on_keys() {
    let mut log = Log::default();
    assert_eq!(log.set("f", "x", None), Reply::Done);
    assert_eq!(log.set("f", "no", Some(0)), Reply::Bool(false));
    assert_eq!(log.set("f", "yes", Some(1)), Reply::Bool(true));
    assert_eq!(log.set("f", "stale", Some(1)), Reply::Bool(false));
    assert_eq!(log.set("g", "new", Some(0)), Reply::Bool(true));
    assert_eq!(log.set("h", "absent", Some(7)), Reply::Bool(false));
    assert_eq!(log.delete("f", false, Some(1)), Reply::Bool(false));
    assert_eq!(log.delete("f", false, Some(3)), Reply::Bool(true));
    assert_eq!(log.delete("f", false, Some(3)), Reply::Bool(true), "what is not there is deleted by any");
    assert_eq!(log.delete("g", false, Some(0)), Reply::Bool(false));
    assert_eq!(log.set("", "x", None), refused("Must provide key"));
    assert_eq!(log.delete("", false, None), refused("Must provide key"));
    let entry = log.catalog.view().kv(Scope::default(), "g").cloned().unwrap();
    assert_eq!((&*entry.value, entry.indexes), (&b"new"[..], Indexes { create: 5, modify: 5 }));
}

#[test]
fn queries_find_what_they_are_prepared_for() {
    let mut log = Log::default();
    for (node, tags, status) in [
        ("q1", &["v1"][..], Status::Passing),
        ("q2", &["V2"], Status::Passing),
        ("q3", &["v1"], Status::Warning),
        ("q4", &["v1"], Status::Critical),
    ] {
        let mut register = with_check(with_service(on(node, "", "10.3.0.1"), "w", "web"), "c", "w", status);
        register.services[0].tags = tags.iter().map(|tag| (*tag).into()).collect();
        log.register(register);
    }
    let view = log.catalog.view();
    let find = |query: QueryService| -> Vec<String> {
        let query = QueryService { service: "web".into(), ..query };
        execute(&view, Scope::default(), &query).map(|instance| instance.node.name.to_string()).collect()
    };
    let tags = |tag: &str| Some(vec![tag.into()]);
    assert_eq!(find(QueryService::default()), ["q1", "q2", "q3"]);
    assert_eq!(find(QueryService { only_passing: true, tags: tags("v1"), ..QueryService::default() }), ["q1"]);
    assert_eq!(find(QueryService { tags: tags("!v1"), ..QueryService::default() }), ["q2"]);
    assert_eq!(find(QueryService { ignore_check_ids: tags("c"), ..QueryService::default() }), ["q1", "q2", "q3", "q4"]);
    assert_eq!(find(QueryService { connect: true, ..QueryService::default() }), [""; 0]);

    let mut set = |id: &str, name: &str, service: &str, create| {
        let service = QueryService { service: service.into(), ..QueryService::default() };
        let query = PreparedQuery { id: id.into(), name: name.into(), service, ..PreparedQuery::default() };
        log.apply(Command::QuerySet { query, create }).reply
    };
    assert_eq!(set(A, "my.Query", "web", true), Reply::Done);
    assert_eq!(set(B, "my.query", "web", true), refused("name 'my.query' aliases an existing query name"));
    assert_eq!(set(B, "x", "", true), refused("Invalid prepared query: Must provide a Service name to query"));
    assert_eq!(set(B, "", "", true), refused("Invalid prepared query: Must be bound to a session"));
    let unknown = "Cannot modify non-existent prepared query: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'";
    assert_eq!(set(B, "x", "web", false), refused(unknown));
    assert_eq!(set(A, "other", "web", false), Reply::Done);
    assert!(log.catalog.view().query("my.query").is_none());
    assert!(log.catalog.view().query("OTHER").is_some() && log.catalog.view().query(A).is_some());
    assert_eq!(log.apply(Command::QueryDelete { id: B.into() }).reply, refused(unknown));
    assert_eq!(log.apply(Command::QueryDelete { id: A.into() }).reply, Reply::Done);
    assert!(log.catalog.view().query("other").is_none());
}

#[test]
fn keys_are_cut_at_the_separator() {
    let mut log = Log::default();
    for key in ["foo", "dir/a", "dir/b/c", "dir/b/d", "dirt", "ü/1"] {
        log.set(key, "", None);
    }
    let view = log.catalog.view();
    let keys = |prefix: &str, separator: &str| -> Vec<String> {
        let keys = view.kv_keys(Scope::default(), prefix, separator);
        keys.iter().map(|key| key.as_str().to_string()).collect()
    };
    assert_eq!(keys("dir/", "/"), ["dir/a", "dir/b/"]);
    assert_eq!(keys("", "/"), ["dir/", "dirt", "foo", "ü/"]);
    assert_eq!(keys("dir/", "b"), ["dir/a", "dir/b"]);
    assert_eq!(keys("dir", ""), ["dir/a", "dir/b/c", "dir/b/d", "dirt"]);
    assert_eq!(keys("x", "/"), [""; 0]);
    assert!(matches!(view.kv_keys(Scope::default(), "d", "/")[..], [KeyOrFolder::Folder("dir/"), KeyOrFolder::Key(_)]));
}

#[test]
fn deleting_moves_the_prefix_and_only_that() {
    let mut log = Log::default();
    log.set("a/1", "", None);
    log.set("a/2", "", None);
    log.set("b", "", None);
    log.delete("a/2", false, None);
    assert_eq!((log.index_of(&prefix("a/")), log.index_of(&kv("a/1")), log.index_of(&kv("b"))), (4, 1, 3));
    assert_eq!((log.index_of(&kv("a/2")), log.index_of(&kv("never"))), (4, 1));
    log.delete("a", true, None);
    assert_eq!((log.index_of(&prefix("a/")), log.index_of(&prefix("")), log.index_of(&prefix("b"))), (5, 5, 3));
}

#[test]
fn forgotten_deletions_never_take_an_index_back() {
    let mut log = Log::default();
    log.set("keep/x", "", None);
    log.set("gone/0", "", None);
    log.delete("gone/0", false, None);
    let mut highest = 0;
    for round in 0..5_000 {
        let key = format!("churn/{round}");
        log.set(&key, "", None);
        log.delete(&key, false, None);
        let now = log.index_of(&prefix("gone/"));
        assert!(now >= highest.max(3));
        highest = now;
    }
    assert_eq!(log.index_of(&kv("keep/x")), 1);
    assert_eq!(log.index_of(&prefix("churn/")), log.index);
    assert!(highest > 3 && highest < log.index, "it was forgotten, and the floor is far behind: {highest}");
}

#[test]
fn a_view_goes_to_any_thread() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<convoke_catalog::View>();
}
