//! Expressions and what Consul 1.8.7 made of them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_catalog::group::Instance;
use convoke_catalog::model::{Check, Node, Service, Status, Str, TaggedAddress};
use proptest::prelude::*;

use super::parse::MAX_DEPTH;
use super::schema::{INSTANCE, NODE};
use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Option<BTreeMap<Str, Str>> {
    Some(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
}

/// `a` runs `f1` with two checks; `b` runs `f2` with none.
fn instances() -> [Instance; 2] {
    let check = |id: &str, status| {
        let tags = Vec::from(["v1".into(), "blue".into()]);
        Arc::new(Check { id: id.into(), name: id.into(), status, service_tags: tags, ..Check::default() })
    };
    let lan = TaggedAddress { address: "1.1.1.1".into(), port: 5 };
    let f1 = Service {
        id: "f1".into(),
        name: "fs".into(),
        port: 80,
        tags: Vec::from(["v1".into(), "blue".into()]),
        meta: pairs(&[("k", "v")]),
        tagged_addresses: BTreeMap::from([("lan".into(), lan)]),
        weight_passing: 1,
        weight_warning: 1,
        ..Service::default()
    };
    let f2 = Service {
        id: "f2".into(),
        name: "fs".into(),
        port: 81,
        enable_tag_override: true,
        weight_passing: 1,
        weight_warning: 1,
        ..Service::default()
    };
    let a = Node { name: "a".into(), meta: pairs(&[("rack", "1"), ("e.x", "y")]), ..Node::default() };
    let b = Node { name: "b".into(), tagged_addresses: pairs(&[("wan", "9.9.9.9")]), ..Node::default() };
    let checks: Arc<[Arc<Check>]> = Arc::new([check("c1", Status::Passing), check("c2", Status::Warning)]);
    [Instance::new(Arc::new(a), Arc::new(f1), checks), Instance::new(Arc::new(b), Arc::new(f2), Arc::new([]))]
}

/// Names of the nodes a filter keeps, or `None` if it is refused.
fn kept(text: &str) -> Option<String> {
    let filter = Filter::compile(text, INSTANCE);
    if let Err(why) = &filter {
        let why = why.to_string();
        assert!(why.starts_with("Failed to create boolean expression evaluator: "), "{why}");
    }
    let filter = filter.ok()?;
    Some(instances().iter().filter(|i| filter.keeps(*i)).map(|i| &*i.node.name).collect())
}

#[test]
fn conditions_hold_as_in_consul() {
    for (text, nodes) in [
        ("", "ab"),
        ("Checks.Status == passing", "a"),
        ("Checks.Status != passing", "a"),
        ("passing in Checks.Status", "a"),
        ("pass in Checks.Status", "a"),
        ("pass not in Checks.Status", "a"),
        ("Checks.Status matches `^p`", "a"),
        ("Checks.Status not matches `^p`", "a"),
        ("Checks is empty", "b"),
        ("Checks is not empty", "a"),
        ("not Checks is empty", "a"),
        ("Service.Meta.k == v", "a"),
        ("Service.Meta.zz == v", ""),
        ("Service.Meta.zz != v", "ab"),
        ("v in Service.Meta.zz", ""),
        ("v not in Service.Meta.zz", "ab"),
        ("Service.Meta.zz matches v", "ab"),
        ("Service.Meta.zz not matches v", "ab"),
        ("Service.Meta is empty", "b"),
        ("k in Service.Meta", "a"),
        ("k not in Service.Meta", "b"),
        ("Service.Meta contains k", "a"),
        ("Service.Meta not contains k", "b"),
        ("Service.Tags contains blue", "a"),
        ("Service.Tags not contains blue", "b"),
        ("Service.Tags is empty", "b"),
        ("blu in Service.Tags", ""),
        ("Service.Port == 80", "a"),
        ("Service.Port == \"0x50\"", "a"),
        ("Service.Port == -1", ""),
        ("Service.EnableTagOverride == True", "b"),
        ("Service.EnableTagOverride == 1", "b"),
        ("Node.Meta[\"e.x\"] == y", "a"),
        ("Node.Meta[ `e.x` ]==y", "a"),
        ("Node[\"Meta\"].rack == 1", "a"),
        ("Node.TaggedAddresses.wan == \"9.9.9.9\"", "b"),
        ("wan in Node.TaggedAddresses", "b"),
        ("Node.Node contains a", "a"),
        ("\"\" in Node.Node", "ab"),
        ("Service.TaggedAddresses.lan.Port == 5", "a"),
        ("Service.TaggedAddresses.lan.Address == \"1.1.1.1\"", "a"),
        ("lan in Service.TaggedAddresses", "a"),
        ("Service.TaggedAddresses is empty", "b"),
        ("Service.Weights.Passing == 1", "ab"),
        ("Service.Connect.Native == false", "ab"),
        ("Service.Proxy.DestinationServiceName == \"\"", "ab"),
        ("Service.Proxy.Upstreams is empty", "ab"),
        ("Service.Proxy.Upstreams.DestinationName == x", ""),
        ("Service.Proxy.MeshGateway.Mode == \"\"", "ab"),
        ("Service.Proxy.Expose.Checks == true", ""),
        ("Checks.Type == \"\"", "a"),
        ("Checks.ServiceTags contains blue", "a"),
        ("Node.Node == a or Node.Node == b", "ab"),
        ("Node.Node == a or Node.Node == b and Node.Node == c", "a"),
        ("Node.Node == a and Service.Port == 80", "a"),
        ("not not Node.Node == a", "a"),
        ("not (Node.Node == a)", "b"),
        ("(Node.Node == a)", "a"),
        ("   Node.Node==a   ", "a"),
        ("Node.Node == \"\\x61\"", "a"),
        ("Node.Node matches `(?i)A`", "a"),
        ("Node.Node == not", ""),
        ("Node.Node == a.b", ""),
        ("Node.Node == -5", ""),
        ("\"a\" not in Node.Node", "b"),
    ] {
        assert_eq!(kept(text).as_deref(), Some(nodes), "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in [
        " ",
        "((",
        "Checks.Status in passing",
        "Service.Meta.zz is empty",
        "Service.Tags == blue",
        "Service.Tags matches b",
        "Service.Port == abc",
        "Service.Port == 80.5",
        "Service.Port matches 8",
        "Service.Port < 2",
        "Service.Port == 99999999999999999999",
        "Service.Port == 0x50",
        "Service.EnableTagOverride == yes",
        "Service.EnableTagOverride",
        "Node.Meta.rack.x == 1",
        "Node.Node is empty",
        "Service.TaggedAddresses.lan == x",
        "Service.Proxy.Config is empty",
        "Service.CreateIndex == 1",
        "Checks.Definition is empty",
        "Node == x",
        "Checks == x",
        "a in Checks",
        "Checks.0.Status == x",
        "!Node.Node == a",
        "( Node.Node == a ) or(Node.Node==b)",
        "(Node.Node == a",
        "Node.Node == a)",
        "Node.Node == a b",
        "Node.Node == a and",
        "Node.Node = a",
        "Node.Node == 'a'",
        "Node.Node == \"a\\\"b\"",
        "Node.Node == \"a",
        "Node.Node == \"\\q\"",
        "\"a\" == Node.Node",
        "Node.Node == a-b",
        "Node.Node == 05",
        "Node.Node == 5.",
        "Node.Node == 5.5x",
        "Node.Node == 10.0.0.1",
        "Node.Node matches \"(\"",
        "Node.Node not == a",
        "Node.Node == a OR Node.Node == b",
        "not(Node.Node == a)",
        "node.Node == a",
        "Node.node == a",
    ] {
        assert_eq!(kept(text), None, "{text}");
    }
    let why = Filter::compile("Bogus == 1", NODE).unwrap_err();
    assert_eq!(why, Unusable::Senseless("Selector \"Bogus\" is not valid".into()));
    assert_eq!(why.to_string(), "Failed to create boolean expression evaluator: Selector \"Bogus\" is not valid");
}

#[test]
fn upstreams_are_looked_into() {
    let proxy = convoke_catalog::model::Proxy {
        upstreams: r#"[{"DestinationName":"db","LocalBindPort":1234},{"DestinationName":"api"}]"#.into(),
        expose: r#"{"Checks":true,"Paths":[{"Path":"/x"}]}"#.into(),
        mesh_gateway: r#"{"Mode":"local"}"#.into(),
        ..Default::default()
    };
    let [mut a, _] = instances();
    a.service = Arc::new(Service { proxy: Some(Arc::new(proxy)), ..Service::default() });
    for (text, holds) in [
        ("Service.Proxy.Upstreams.DestinationName == db", true),
        ("Service.Proxy.Upstreams.DestinationName == zz", false),
        ("Service.Proxy.Upstreams.LocalBindPort == 1234", true),
        ("Service.Proxy.Upstreams is empty", false),
        ("Service.Proxy.Expose.Checks == true", true),
        ("Service.Proxy.Expose.Paths.Path == \"/x\"", true),
        ("Service.Proxy.MeshGateway.Mode == local", true),
    ] {
        assert_eq!(Filter::compile(text, INSTANCE).unwrap().keeps(&a), holds, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |n: usize| "(".repeat(n) + "Node.Node == a" + &")".repeat(n);
    assert_eq!(kept(&nested(MAX_DEPTH - 1)).as_deref(), Some("a"));
    assert_eq!(kept(&nested(MAX_DEPTH + 1)), None);
    assert_eq!(kept(&nested(100_000)), None);
    assert_eq!(kept(&("not ".repeat(50_000) + "Node.Node == a")), None);
    assert!(kept(&("Node.Node == a or ".repeat(5_000) + "Node.Node == b")).is_some());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = kept(&text);
    }

    #[test]
    fn any_tokens_are_read_or_refused(tokens in prop::collection::vec(prop::sample::select(&[
        "Node", ".Node", " Node.Node ", "==", "!=", " in ", " not ", "not", " contains ", " matches ", " is ", "empty",
        " and ", " or ", "(", ")", "\"a\"", "`b`", "[", "]", "1", "-", ".", "\"", " ", "Checks.Status", "\\x", "é",
    ][..]), 0..24)) {
        let _ = kept(&tokens.concat());
    }

    #[test]
    fn not_is_the_opposite(text in prop::sample::select(&["Checks is empty", "Service.Port == 80", "v in Service.Meta.zz"][..])) {
        let plain = kept(text).unwrap();
        let negated = kept(&format!("not {text}")).unwrap();
        for node in ["a", "b"] {
            prop_assert_ne!(plain.contains(node), negated.contains(node));
        }
    }
}
