//! Transactions: what each operation answers, and that a refused one leaves nothing behind.

use std::sync::Arc;

use convoke_catalog::model::{Check, Indexes, Node, Service, Status, Str, Tenancy};
use convoke_catalog::txn::{self, KvOp, KvVerb, RowVerb, TxnOp, TxnOutcome, TxnResult};
use convoke_catalog::{Catalog, Command, Reply, Scope, Topic};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn kv(verb: &str, key: &str, value: &str, index: u64) -> TxnOp {
    let verb = KvVerb::from_text(verb);
    TxnOp::Kv(KvOp { verb, key: key.into(), value: value.as_bytes().into(), index, ..KvOp::default() })
}

fn known(index: u64) -> Indexes {
    Indexes { create: 0, modify: index }
}

fn node(verb: &str, name: &str, address: &str, index: u64) -> TxnOp {
    let node = Node { name: name.into(), address: address.into(), indexes: known(index), ..Node::default() };
    TxnOp::Node { verb: RowVerb::from_text(verb), node }
}

fn service(verb: &str, node: &str, id: &str, port: u16, index: u64) -> TxnOp {
    let name = if id.is_empty() { "" } else { "web" };
    let service = Service { id: id.into(), name: name.into(), port, indexes: known(index), ..Service::default() };
    TxnOp::Service { verb: RowVerb::from_text(verb), node: node.into(), service }
}

fn check(verb: &str, node: &str, id: &str, service: &str, index: u64) -> TxnOp {
    let check = Check {
        node: node.into(),
        id: id.into(),
        status: Status::Passing,
        service_id: service.into(),
        indexes: known(index),
        ..Check::default()
    };
    TxnOp::Check { verb: RowVerb::from_text(verb), check }
}

fn shown(outcome: &TxnOutcome) -> String {
    let row = |row: &TxnResult| match row {
        TxnResult::Kv(entry) => {
            format!("{}={}@{}", entry.key, String::from_utf8_lossy(&entry.value), entry.indexes.modify)
        }
        TxnResult::Node(node) => format!("{} {}@{}", node.name, node.address, node.indexes.modify),
        TxnResult::Service(service) => format!("{}:{}@{}", service.id, service.port, service.indexes.modify),
        TxnResult::Check(check) => format!("{} of {}@{}", check.id, check.service_name, check.indexes.modify),
    };
    let lines: Vec<String> = match outcome {
        Ok(rows) => rows.iter().map(row).collect(),
        Err(errors) => errors.iter().map(|error| format!("{}! {}", error.op, error.what)).collect(),
    };
    lines.join("; ")
}

#[test]
fn what_operations_answer() {
    // Applied one after the other at index 1, 2, ...
    let table: Vec<(Vec<TxnOp>, &str)> = vec![
        (vec![kv("set", "a", "1", 0), kv("set", "b", "2", 0), kv("get", "a", "", 0)], "a=@1; b=@1; a=1@1"),
        (vec![kv("get-tree", "", "", 0), kv("get-tree", "zz", "", 0)], "a=1@1; b=2@1"),
        (vec![kv("get", "zz", "", 0)], "0! key \"zz\" doesn't exist"),
        (vec![kv("get-or-empty", "zz", "", 0)], "zz=@0"),
        (vec![kv("check-not-exists", "zz", "", 0), kv("set", "zz", "", 0)], "zz=@5"),
        (vec![kv("check-not-exists", "a", "", 0), kv("delete", "a", "", 0)], "0! key \"a\" exists"),
        (vec![kv("check-index", "a", "", 1), kv("check-session", "a", "", 0)], "a=@1; a=@1"),
        (
            vec![kv("check-index", "a", "", 9), kv("check-index", "x", "", 9), kv("check-session", "x", "", 0)],
            "0! failed index check for key \"a\", current modify index 1 != 9; \
             1! failed to check index, key \"x\" doesn't exist; 2! failed to check session, key \"x\" doesn't exist",
        ),
        (vec![kv("cas", "a", "3", 1)], "a=@9"),
        (vec![kv("cas", "a", "4", 1)], "0! failed to set key \"a\", index is stale"),
        (vec![kv("delete-cas", "a", "", 1)], "0! failed to delete key \"a\", index is stale"),
        (vec![kv("delete-cas", "a", "", 9), kv("delete-tree", "b", "", 0), kv("delete", "none", "", 0)], ""),
        (vec![kv("get-tree", "", "", 0)], "zz=@5"),
        (vec![kv("set", "", "x", 0), kv("delete", "", "", 0)], "0! Must provide key; 1! Must provide key"),
        (vec![kv("bogus", "a", "", 0), kv("lock", "a", "", 0)], "0! unknown KV verb \"bogus\"; 1! missing session"),
        (
            vec![node("set", "n", "1.2.3.4", 0), service("set", "n", "s", 5, 0), check("set", "n", "c", "s", 0)],
            "n 1.2.3.4@16; s:5@16; c of web@16",
        ),
        (vec![node("set", "bare", "", 0)], "bare @17"),
        (
            vec![node("get", "N", "", 0), service("get", "n", "S", 0, 0), check("get", "n", "C", "", 0)],
            "n 1.2.3.4@16; s:5@16; c of web@16",
        ),
        (
            vec![node("get", "x", "", 0), service("get", "n", "x", 0, 0), check("get", "x", "c", "", 0)],
            "0! node \"x\" doesn't exist; 1! service \"x\" on node \"n\" doesn't exist; \
             2! check \"c\" on node \"x\" doesn't exist",
        ),
        (
            vec![service("set", "x", "s", 0, 0), check("set", "x", "c", "", 0)],
            "0! Missing node registration; 1! Missing node registration",
        ),
        (vec![check("set", "n", "c", "x", 0)], "0! Missing service registration"),
        (
            vec![node("cas", "n", "9.9.9.9", 3), service("cas", "n", "s", 6, 3), check("cas", "n", "c", "", 3)],
            "0! failed to set node \"n\", index is stale; 1! failed to set service \"s\" on node \"n\", index is stale; \
             2! failed to set check \"c\" on node \"n\", index is stale",
        ),
        (vec![node("cas", "n", "9.9.9.9", 16), service("cas", "n", "s", 6, 16)], "n 9.9.9.9@23; s:6@23"),
        (vec![service("cas", "n", "new", 1, 0)], "new:1@24"),
        (
            vec![
                node("delete-cas", "n", "", 1),
                service("delete-cas", "n", "s", 0, 1),
                check("delete-cas", "n", "x", "", 0),
            ],
            "0! failed to delete node \"n\", index is stale; \
             1! failed to delete service \"s\" on node \"n\", index is stale; \
             2! failed to delete check \"x\" on node \"n\", index is stale",
        ),
        (
            vec![check("delete", "n", "c", "", 0), check("get", "n", "c", "", 0)],
            "1! check \"c\" on node \"n\" doesn't exist",
        ),
        (
            vec![service("delete", "n", "", 0, 0), check("delete", "n", "", "", 0), node("get", "n", "", 0)],
            "n 9.9.9.9@23",
        ),
        (vec![check("delete-cas", "n", "c", "", 16), service("delete-cas", "n", "s", 0, 23)], ""),
        (
            vec![node("x", "n", "", 0), service("y", "n", "s", 0, 0), check("z", "n", "c", "", 0)],
            "0! unknown Node verb \"x\"; 1! unknown Service verb \"y\"; 2! unknown Check verb \"z\"",
        ),
        (vec![node("delete", "n", "", 0), node("delete", "n", "", 0)], ""),
        (vec![node("get", "n", "", 0)], "0! node \"n\" doesn't exist"),
        (vec![], ""),
    ];
    let mut catalog = Catalog::default();
    for (at, (ops, expected)) in table.into_iter().enumerate() {
        let index = at as u64 + 1;
        let Reply::Txn(outcome) = catalog.apply(index, Command::Txn(ops)).reply else { panic!("not a transaction") };
        assert_eq!(shown(&outcome), expected, "at index {index}");
    }
}

#[test]
fn nodes_are_renamed_and_found_by_id() {
    let id: Option<Str> = Some("11111111-2222-3333-4444-555555555555".into());
    let with = |verb, name: &str| TxnOp::Node {
        verb,
        node: Node { id: id.clone(), name: name.into(), address: "10.0.0.1".into(), ..Node::default() },
    };
    let mut catalog = Catalog::default();
    catalog.apply(1, Command::Txn(vec![with(RowVerb::Set, "one")]));
    let applied = catalog.apply(2, Command::Txn(vec![with(RowVerb::Set, "two"), with(RowVerb::Get, "")]));
    let Reply::Txn(outcome) = applied.reply else { panic!("not a transaction") };
    assert_eq!(shown(&outcome), "two 10.0.0.1@2; two 10.0.0.1@2");
    assert!(catalog.view().node("default", "one").is_none());
}

#[test]
fn one_wake_up_for_everything_it_changed_and_none_if_refused() {
    let mut catalog = Catalog::default();
    let ops = || vec![kv("set", "a", "1", 0), node("set", "n", "10.0.0.1", 0), service("set", "n", "s", 1, 0)];
    let refused = catalog.apply(1, Command::Txn([ops(), vec![kv("get", "x", "", 0)]].concat()));
    assert!(refused.changes.is_empty() && matches!(refused.reply, Reply::Txn(Err(_))));
    let changes = catalog.apply(2, Command::Txn(ops())).changes;
    let tenancy = Tenancy::default;
    for topic in [
        Topic::Kv { tenancy: tenancy(), key: "a".into() },
        Topic::Nodes { partition: "default".into() },
        Topic::Service { tenancy: tenancy(), name: "web".into() },
        Topic::Services { tenancy: tenancy() },
    ] {
        assert!(changes.contains(&topic), "{topic:?}");
        assert_eq!(catalog.view().index_of(&topic), 2, "{topic:?}");
    }
    assert_eq!(catalog.view().group(Scope::default(), "web").map(|group| group.instances.len()), Some(1));
}

fn op() -> impl Strategy<Value = TxnOp> {
    let kv_verbs = &[
        "get",
        "get-tree",
        "check-index",
        "check-not-exists",
        "set",
        "set",
        "set",
        "cas",
        "delete",
        "delete-tree",
        "delete-cas",
        "unlock",
        "bogus",
    ];
    let verbs = &["get", "set", "set", "set", "set", "cas", "delete", "delete-cas"][..];
    let name = || select(&["n", "N", "m"][..]);
    let id = || select(&["a", "b", "A"][..]);
    let index = || prop_oneof![Just(0), 1..20_u64];
    prop_oneof![
        3 => (select(&kv_verbs[..]), select(&["k", "k/1", "l"][..]), select(&["", "1", "2"][..]), index())
            .prop_map(|(verb, key, value, index)| kv(verb, key, value, index)),
        2 => (select(verbs), name(), select(&["10.0.0.1", "10.0.0.2", ""][..]), index())
            .prop_map(|(verb, name, address, index)| node(verb, name, address, index)),
        2 => (select(verbs), name(), id(), 0..3_u16, index())
            .prop_map(|(verb, name, id, port, index)| service(verb, name, id, port, index)),
        2 => (select(verbs), name(), id(), select(&["", "a", "b"][..]), index())
            .prop_map(|(verb, name, id, service, index)| check(verb, name, id, service, index)),
    ]
}

proptest! {
    #[test]
    fn all_or_nothing(log in vec(vec(op(), 0..5), 1..30)) {
        let mut catalog = Catalog::default();
        for (at, ops) in log.into_iter().enumerate() {
            let (index, before, view) = (at as u64 + 1, catalog.export(), catalog.view());
            let foreseen = txn::read(&view, ops.clone());
            prop_assert_eq!(&catalog.export(), &before, "reading changes nothing");
            let applied = catalog.apply(index, Command::Txn(ops.clone()));
            let Reply::Txn(outcome) = applied.reply else { panic!("not a transaction") };
            if !ops.iter().any(TxnOp::is_write) {
                prop_assert_eq!(&outcome, &foreseen);
                prop_assert!(applied.changes.is_empty());
            }
            if outcome.is_err() {
                let mut after = catalog.export();
                after.index = before.index;
                prop_assert_eq!(after, before);
                prop_assert!(applied.changes.is_empty());
            } else {
                // Whatever it did, the rows and what is joined from them agree.
                let copy = Catalog::import(catalog.export());
                prop_assert_eq!(copy.map(|copy| copy.export()), Ok(catalog.export()));
            }
        }
    }

    #[test]
    fn one_after_the_other_gives_the_same_as_together(ops in vec(op(), 1..6)) {
        let rows = |catalog: &Catalog| {
            let view = catalog.view();
            let nodes: Vec<_> = view.nodes("default").map(|n| (n.name.clone(), n.address.clone())).collect();
            let keys: Vec<_> = view.kv_range(Scope::default(), "").map(|e| (e.key.clone(), Arc::clone(&e.value))).collect();
            let services: Vec<_> = ["n", "m"]
                .iter()
                .flat_map(|node| view.services_of(Scope::default(), node).iter())
                .map(|service| (service.id.clone(), service.port))
                .collect();
            let checks: Vec<_> = view.checks(Scope::default()).map(|c| (c.node.clone(), c.id.clone())).collect();
            (nodes, keys, services, checks)
        };
        // Conditions on indexes see other indexes one by one.
        let conditional = |op: &TxnOp| match op {
            TxnOp::Kv(op) => matches!(op.verb, KvVerb::Cas | KvVerb::DeleteCas | KvVerb::CheckIndex),
            TxnOp::Node { verb, .. } | TxnOp::Service { verb, .. } | TxnOp::Check { verb, .. } => {
                matches!(verb, RowVerb::Cas | RowVerb::DeleteCas)
            }
        };
        let ops: Vec<TxnOp> = ops.into_iter().filter(|op| !conditional(op)).collect();
        let (mut together, mut single) = (Catalog::default(), Catalog::default());
        let all = together.apply(1, Command::Txn(ops.clone())).reply;
        let mut good = true;
        for (at, op) in ops.into_iter().enumerate() {
            good &= matches!(single.apply(at as u64 + 1, Command::Txn(vec![op])).reply, Reply::Txn(Ok(_)));
        }
        prop_assert_eq!(matches!(all, Reply::Txn(Ok(_))), good);
        if good {
            prop_assert_eq!(rows(&together), rows(&single));
        }
    }
}
