//! What is the same for every path: routing, methods, headers, options, blocking. As recorded from Consul 1.8.7.

mod common;

use common::World;
use convoke_api::response::Outcome;
use proptest::prelude::*;

#[test]
fn unknown_paths_and_redirects() {
    let mut world = World::default();
    world.configure(|c| c.ui.enabled = true);
    for path in ["/v1/nosuch", "/v2/kv", "/v1/", "/v1", "/nosuch", "/v1/agent/services/", "/v1/catalog/nosuch"] {
        let got = world.get(path);
        assert_eq!((got.status, got.body.as_str(), got.headers.len()), (404, "", 0), "{path}");
    }
    for (target, location) in [
        ("/", "/ui/"),
        ("/?x=1", "/ui/"),
        ("/ui", "/ui/"),
        ("/v1//agent/services", "/v1/agent/services"),
        ("/v1/agent//services?a=1&b", "/v1/agent/services?a=1&b"),
        ("/v1/kv", "/v1/kv/"),
        ("/v1/kv?recurse", "/v1/kv/?recurse"),
        ("/v1/kv/x//y", "/v1/kv/x/y"),
        ("/v1/kv/a%2F%2Fb", "/v1/kv/a/b"),
        ("/v1/kv/../x%C3%BC?z", "/v1/x%C3%BC?z"),
        ("/v1/kv//a%20b", "/v1/kv/a%20b"),
        ("/v1/catalog/service", "/v1/catalog/service/"),
        ("//v1/nosuch", "/v1/nosuch"),
    ] {
        let got = world.get(target);
        assert_eq!((got.status, got.header("Location")), (301, location), "{target}");
        assert_eq!(got.header("Content-Type"), "text/html; charset=utf-8");
        let got = world.ask("PUT", target, "");
        assert_eq!((got.status, got.header("Location"), got.header("Content-Type")), (301, location, ""));
    }
    assert_eq!(world.get("/v1/kv/a%zz").status, 400);
    assert_eq!(world.get("/v1/kv/a%00b").status, 400);
    assert_eq!(world.get("/ui/").status, 200);
    world.configure(|c| c.ui.enabled = false);
    assert_eq!((world.get("/").body.as_str(), world.get("/ui/").status), ("Consul Agent", 404));
}

#[test]
fn methods() {
    let mut world = World::default();
    for (method, path, allow) in [
        ("PATCH", "/v1/kv/a", "OPTIONS,GET,PUT,DELETE"),
        ("HEAD", "/v1/kv/a", "OPTIONS,GET,PUT,DELETE"),
        ("POST", "/v1/agent/services", "OPTIONS,GET"),
        ("DELETE", "/v1/catalog/nodes", "OPTIONS,GET"),
        ("GET", "/v1/session/create", "OPTIONS,PUT"),
        ("GET", "/v1/txn", "OPTIONS,PUT"),
        ("PUT", "/v1/status/leader", "OPTIONS,GET"),
        ("GET", "/v1/agent/check/pass/mem", "OPTIONS,PUT"),
        ("PUT", "/v1/operator/raft/peer", "OPTIONS,DELETE"),
        ("DELETE", "/v1/query", "OPTIONS,GET,POST"),
    ] {
        let got = world.ask(method, path, "");
        assert_eq!((got.status, got.body), (405, format!("method {method} not allowed")), "{path}");
        assert_eq!(got.headers["Allow"], allow, "{path}");
        assert_eq!(got.headers["Content-Type"], "text/plain; charset=utf-8");
        let got = world.ask("OPTIONS", path, "");
        assert_eq!((got.status, got.body.as_str(), got.header("Allow")), (200, "", allow), "{path}");
    }
    assert_eq!(world.ask("OPTIONS", "/v1/nosuch", "").status, 404);
}

#[test]
fn configuration_of_http() {
    let mut world = World::default();
    world.configure(|c| {
        c.http.block_endpoints = vec!["/v1/agent/services".into(), "/v1/catalog".into()];
        c.http.response_headers.insert("X-Test".into(), "yes".into());
        c.http.allow_write_http_from = vec![convoke_config::Cidr::parse("10.0.0.0/8").unwrap()];
        c.translate_wan_addrs = true;
    });
    for path in ["/v1/agent/services", "/v1/catalog/nodes"] {
        let got = world.get(path);
        assert_eq!((got.status, got.body.as_str()), (403, "Endpoint is blocked by agent configuration"));
        assert_eq!((got.header("X-Test"), got.header("X-Consul-Translate-Addresses")), ("yes", "true"));
    }
    assert_eq!(world.get("/v1/nosuch").header("X-Test"), "");
    let got = world.put("/v1/kv/a", "1");
    assert_eq!((got.status, got.body.as_str()), (403, "Access is restricted"));
    world.remote = Some("10.1.2.3".parse().unwrap());
    let got = world.put("/v1/kv/a", "1");
    assert_eq!((got.status, got.header("X-Test")), (200, "yes"));
    world.remote = None;
    assert_eq!(world.put("/v1/kv/a", "1").status, 403);
    assert_eq!(world.get("/v1/kv/a").status, 200);
}

#[test]
fn layout() {
    let mut world = World::default();
    world.put("/v1/kv/a", "1");
    assert!(!world.get("/v1/kv/a").body.contains('\n'));
    for target in ["/v1/kv/a?pretty", "/v1/kv/a?pretty=false"] {
        assert!(world.get(target).body.starts_with("[\n    {\n        \"LockIndex\": 0,"), "{target}");
    }
    assert_eq!(world.get("/v1/agent/services?pretty=1").body, "{}\n");
    world.configure(|c| c.dev_mode = true);
    assert!(world.get("/v1/kv/a").body.ends_with("\n]\n"));
    assert_eq!(world.put("/v1/kv/a", "1").body, "true\n");
}

#[test]
fn headers_of_reads() {
    let mut world = World::default();
    world.register(r#"{"Node":"a","Address":"1.1.1.1","Service":{"Service":"web"}}"#);
    for (target, consistency, cache) in [
        ("/v1/catalog/nodes", "leader", ""),
        ("/v1/catalog/nodes?stale", "stale", ""),
        ("/v1/catalog/nodes?consistent", "consistent", ""),
        ("/v1/catalog/nodes?cached", "leader", ""),
        ("/v1/health/service/web?cached", "leader", "MISS"),
        ("/v1/catalog/services?cached&stale", "stale", "MISS"),
        ("/v1/internal/ui/services", "", ""),
        ("/v1/kv/?keys", "", ""),
    ] {
        let got = world.get(target);
        assert_eq!(got.status, 200, "{target}");
        assert_eq!(got.header("X-Consul-Effective-Consistency"), consistency, "{target}");
        assert_eq!(got.header("X-Cache"), cache, "{target}");
        assert_eq!((got.header("X-Consul-Knownleader"), got.header("X-Consul-Lastcontact")), ("true", "0"));
        assert!(got.header("X-Consul-Index").parse::<u64>().unwrap() >= 1);
    }
    let refusal = |got: &common::Got| (got.status, got.body.clone(), got.header("X-Consul-Knownleader").to_string());
    let far = "No path to datacenter".to_string();
    assert_eq!(refusal(&world.get("/v1/catalog/nodes?dc=x")), (500, far.clone(), "false".into()));
    assert_eq!(refusal(&world.get("/v1/kv/a?dc=x")), (500, far.clone(), String::new()));
    assert_eq!(refusal(&world.get("/v1/status/leader?dc=x")), (500, far, String::new()));
    assert_eq!(world.get("/v1/catalog/datacenters?dc=x").body, r#"["dc1"]"#);
    world.agent.leader = None;
    let nobody = "No cluster leader".to_string();
    assert_eq!(refusal(&world.get("/v1/catalog/nodes")), (500, nobody.clone(), "false".into()));
    assert_eq!(refusal(&world.get("/v1/kv/a")), (500, nobody, String::new()));
    let got = world.get("/v1/catalog/nodes?stale");
    assert_eq!((got.status, got.header("X-Consul-Knownleader")), (200, "false"));
    assert_eq!(world.get("/v1/status/leader").body, "\"\"");
}

#[test]
fn blocking_queries() {
    let mut world = World::default();
    world.put("/v1/kv/a", "1");
    let index = world.get("/v1/kv/a").header("X-Consul-Index").to_string();
    // Nothing newer: wait. Something newer, an index of another life, the last chance: answer.
    let wait = world.wait(&format!("/v1/kv/a?index={index}&wait=16s"));
    assert_eq!((wait.topics.len(), wait.agent), (1, false));
    assert!((16_000..=17_000).contains(&wait.max_wait.as_millis()), "{:?}", wait.max_wait);
    assert_eq!(world.get("/v1/kv/a?index=1&wait=10s").status, 200);
    assert_eq!(world.get("/v1/kv/a?index=0&wait=10s").status, 200);
    assert_eq!(world.get("/v1/kv/a?index=999999&wait=10s").status, 200);
    assert!(!world.wait("/v1/kv/a?index=999999&wait=10s&stale").max_wait.is_zero());
    let last = world.outcome("GET", &format!("/v1/kv/a?index={index}"), &[], b"", true);
    assert!(matches!(last, Outcome::Done(response) if response.status == 200));
    // Default and bound, each with up to a sixteenth more.
    let default = world.wait(&format!("/v1/kv/a?index={index}")).max_wait.as_secs_f64();
    assert!((300.0..=318.75).contains(&default), "{default}");
    let most = world.wait(&format!("/v1/kv/a?index={index}&wait=99h")).max_wait.as_secs_f64();
    assert!((600.0..=637.5).contains(&most), "{most}");
    // Unrelated changes move nothing.
    world.put("/v1/kv/b", "1");
    world.register(r#"{"Node":"a","Address":"1.1.1.1"}"#);
    world.wait(&format!("/v1/kv/a?index={index}"));
    world.put("/v1/kv/a", "2");
    assert_eq!(world.get(&format!("/v1/kv/a?index={index}")).status, 200);
    // What is not there waits to be there.
    let absent = world.get("/v1/kv/none");
    assert_eq!(absent.status, 404);
    world.wait(&format!("/v1/kv/none?index={}", absent.header("X-Consul-Index")));
    for target in ["/v1/health/service/none", "/v1/catalog/service/none", "/v1/catalog/nodes", "/v1/health/state/any"] {
        let index = world.get(target).header("X-Consul-Index").to_string();
        assert!(!world.wait(&format!("{target}?index={index}")).topics.is_empty(), "{target}");
    }
}

#[test]
fn what_is_not_in_this_build_says_so() {
    let mut world = World::default();
    for (method, path) in [("PUT", "/v1/config"), ("GET", "/v1/snapshot"), ("GET", "/v1/operator/raft/configuration")] {
        let got = world.ask(method, path, "");
        assert_eq!(got.status, 501, "{path}");
        assert!(got.body.ends_with("are not in this build of Convoke yet"), "{}", got.body);
    }
    for path in ["/v1/acl/tokens", "/v1/acl/token/self", "/v1/acl/rules/translate/x"] {
        let got = world.get(path);
        assert_eq!((got.status, got.body.as_str()), (401, "ACL support disabled"), "{path}");
    }
}

fn paths() -> impl Strategy<Value = String> {
    let known = prop::sample::select(
        &[
            "/v1/kv/",
            "/v1/health/service/",
            "/v1/health/state/",
            "/v1/health/node/",
            "/v1/health/checks/",
            "/v1/catalog/service/",
            "/v1/catalog/services",
            "/v1/catalog/nodes",
            "/v1/catalog/node/",
            "/v1/catalog/register",
            "/v1/catalog/deregister",
            "/v1/agent/service/register",
            "/v1/agent/service/",
            "/v1/agent/service/deregister/",
            "/v1/agent/check/register",
            "/v1/agent/check/update/",
            "/v1/agent/self",
            "/v1/agent/services",
            "/v1/agent/checks",
            "/v1/agent/health/service/name/",
            "/v1/agent/maintenance",
            "/v1/internal/ui/services",
            "/v1/internal/ui/nodes",
            "/v1/agent/members",
            "/v1/agent/monitor",
            "/v1/event/fire/",
            "/v1/event/list",
            "/v1/coordinate/node/",
            "/v1/coordinate/update",
            "/v1/operator/keyring",
            "/ui/",
            "",
        ][..],
    );
    (known, "([a-z%/.~0-9]{0,12}|.{0,8})").prop_map(|(known, rest)| format!("{known}{rest}"))
}

fn queries() -> impl Strategy<Value = String> {
    let known = prop::sample::select(
        &[
            "index=",
            "wait=",
            "filter=",
            "stale",
            "consistent",
            "cached",
            "dc=",
            "ns=",
            "passing=",
            "tag=",
            "keys",
            "recurse",
            "raw",
            "cas=",
            "flags=",
            "separator=",
            "node-meta=",
            "pretty",
            "hash=",
            "enable=",
            "format=",
            "acquire=",
            "near=",
            "near=_agent",
            "segment=",
            "service=",
            "relay-factor=",
            "local-only=",
            "&",
            "filter=Node==a",
            "filter=Checks.Status==passing",
            "index=1",
            "wait=1s",
        ][..],
    );
    prop::collection::vec((known, "([a-z0-9%+=&]{0,6}|.{0,4})"), 0..5)
        .prop_map(|parts| parts.into_iter().map(|(known, rest)| format!("{known}{rest}&")).collect())
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        r#"\{("(Node|Name|Service|Check|Checks|Meta|Tags|Port|id|TTL|Status|Key|Coord)":("x"|1|null|\{\}|\[\]|\{"ID":"x"\}|-1),?){0,4}\}"#
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn no_bytes_make_it_panic(
        method in prop::sample::select(&["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "x"][..]),
        path in paths(),
        query in queries(),
        body in bodies(),
        namespace in ".{0,4}",
        last in any::<bool>(),
    ) {
        let mut world = World::default();
        world.register(r#"{"Node":"a","Address":"1.1.1.1","Service":{"Service":"web","Tags":["x"]},"Check":{"Name":"c","ServiceID":"web"}}"#);
        world.local_service("web", "web");
        world.local_check("c", "web", convoke_catalog::model::Status::Passing);
        let headers = [("X-Consul-Namespace", namespace.as_str()), ("Cache-Control", namespace.as_str())];
        let outcome = world.outcome(method, &format!("{path}?{query}"), &headers, &body, last);
        if let Outcome::Done(response) = outcome {
            prop_assert!((200..600).contains(&response.status));
            let json = response.headers.iter().any(|(k, v)| k == "Content-Type" && v == "application/json");
            if json {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_ok());
            }
        } else if let Outcome::Wait(wait) = outcome {
            prop_assert!(!last && wait.max_wait.as_secs() <= 638);
        }
    }
}
