//! `/v1/coordinate/...` and `near=`.

mod common;

use std::sync::Arc;

use common::World;
use convoke_catalog::topic::Topic;
use convoke_swim::Coordinate;

fn told(world: &mut World, node: &str, segment: &str, east: f64) {
    let body = format!(
        r#"{{"Node":"{node}","Segment":"{segment}","Coord":{{"Vec":[{east:?},0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":1e-05}}}}"#
    );
    let got = world.put("/v1/coordinate/update", &body);
    assert_eq!((got.status, got.body.as_str(), got.headers.len()), (200, "", 0), "{body}");
}

/// Nodes `a` to `e`, each with a `web` and a check; places of all but `e`.
fn world() -> World {
    let mut world = World::default();
    for node in ["a", "b", "c", "d", "e"] {
        world.register(&format!(
            r#"{{"Node":"{node}","Address":"10.0.0.{}","Service":{{"Service":"web"}},
                "Check":{{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"web"}}}}"#,
            node.as_bytes()[0]
        ));
    }
    for (node, east) in [("a", 0.0), ("b", 0.9), ("c", 0.1), ("d", -0.3)] {
        told(&mut world, node, "", east);
    }
    world
}

fn row(node: &str, segment: &str, east: &str) -> String {
    format!(
        r#"{{"Node":"{node}","Segment":"{segment}","Coord":{{"Vec":[{east},0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}}}"#
    )
}

#[test]
fn coordinates_of_nodes() {
    let mut world = world();
    told(&mut world, "c", "alpha", 1e-7);
    told(&mut world, "ghost", "", 0.5);
    let index = (world.index - 1).to_string();
    let (a, b, c, alpha, d) =
        (row("a", "", "0"), row("b", "", "0.9"), row("c", "", "0.1"), row("c", "alpha", "1e-7"), row("d", "", "-0.3"));
    for (target, body) in [
        ("nodes", format!("[{a},{b},{c},{alpha},{d}]")),
        ("nodes?segment=alpha", format!("[{alpha}]")),
        ("nodes?segment=", format!("[{a},{b},{c},{d}]")),
        ("nodes?segment=none", "[]".to_string()),
        ("node/C", format!("[{c},{alpha}]")),
        ("node/c?segment=alpha", format!("[{alpha}]")),
    ] {
        let got = world.get(&format!("/v1/coordinate/{target}"));
        assert_eq!((got.status, got.body, got.headers["X-Consul-Index"].as_str()), (200, body, &*index), "{target}");
    }
    for absent in ["e", "ghost", "", "a?segment=alpha"] {
        let got = world.get(&format!("/v1/coordinate/node/{absent}"));
        assert_eq!((got.status, got.body.as_str(), got.headers.len()), (404, "", 0), "{absent}");
    }
    // Each waits for what it reads.
    let partition: Arc<str> = "default".into();
    let wait = world.wait(&format!("/v1/coordinate/nodes?index={index}"));
    assert_eq!(wait.topics, [Topic::Coordinates { partition: partition.clone() }]);
    let wait = world.wait(&format!("/v1/coordinate/node/c?index={index}"));
    assert_eq!(wait.topics, [Topic::NodeCoordinates { partition, node: "c".into() }]);
    world.put("/v1/catalog/deregister", r#"{"Node":"a"}"#);
    assert_eq!(world.get("/v1/coordinate/node/a").status, 404);
    assert_eq!(
        world.get(&format!("/v1/coordinate/nodes?index={index}")).header("X-Consul-Index"),
        world.index.to_string()
    );
}

#[test]
fn what_is_refused_of_coordinates() {
    let mut world = world();
    for (body, status, text) in [
        (r#"{"Node":"a","Coord":{"Vec":[1,2],"Error":1,"Height":0.1}}"#, 500, "incompatible coordinate"),
        (r#"{"Node":"a"}"#, 500, "incompatible coordinate"),
        (r#"{"Node":"a","Coord":null}"#, 500, "incompatible coordinate"),
        (r#"{"Node":"a","Bogus":1}"#, 400, "Request decode failed: json: unknown field \"Bogus\""),
        (
            r#"{"Node":"a","Coord":{"Vec":["x"]}}"#,
            400,
            "Request decode failed: json: cannot unmarshal string into Go struct field Coordinate.Coord.Vec of type float64",
        ),
        (
            r#"{"Node":"a","Coord":{"Height":[]}}"#,
            400,
            "Request decode failed: json: cannot unmarshal array into Go struct field Coordinate.Coord.Height of type float64",
        ),
        ("", 400, "Request decode failed: EOF"),
    ] {
        let got = world.put("/v1/coordinate/update", body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{body}");
    }
    // JSON has no infinity, and a number that would be one is none.
    let got = world.put("/v1/coordinate/update", r#"{"Node":"a","Coord":{"Vec":[1e999,0,0,0,0,0,0,0]}}"#);
    assert_eq!(got.status, 400, "{}", got.body);
    assert_eq!(world.put("/v1/coordinate/update?dc=elsewhere", r#"{"Node":"a"}"#).body, "No path to datacenter");
    assert_eq!(world.get("/v1/coordinate/node/a").body, format!("[{}]", row("a", "", "0")));
}

#[test]
fn datacenters() {
    let mut world = World::default();
    let origin = row("n1", "", "0");
    let dc = |name: &str, rows: &str| format!(r#"{{"Datacenter":"{name}","AreaID":"wan","Coordinates":[{rows}]}}"#);
    let got = world.get("/v1/coordinate/datacenters");
    assert_eq!((got.status, got.body, got.headers.len()), (200, format!("[{}]", dc("dc1", &origin)), 1));
    let place = |east| Coordinate { vec: [east, 0., 0., 0., 0., 0., 0., 0.], error: 1.5, adjustment: 0., height: 1e-5 };
    let wan = |name: &str, dc: &str, east| (name.to_string(), dc.to_string(), place(east));
    world.agent.wan_coordinates =
        Arc::new(vec![wan("s2", "dc2", 0.5), wan("n0", "dc1", 0.25), wan("n1", "dc1", 0.125), wan("x", "a", 2.)]);
    let all = format!(
        "[{},{},{}]",
        dc("a", &row("x", "", "2")),
        dc("dc1", &format!("{},{}", row("n0", "", "0.25"), row("n1", "", "0.125"))),
        dc("dc2", &row("s2", "", "0.5"))
    );
    assert_eq!(world.get("/v1/coordinate/datacenters").body, all);
}

fn nodes(world: &mut World, target: &str) -> String {
    let all = world.get(target).json();
    let all = all.get("Nodes").cloned().unwrap_or(all);
    let name = |row: &serde_json::Value| match &row["Node"] {
        serde_json::Value::String(name) => name.clone(),
        node => node["Node"].as_str().unwrap_or_default().to_string(),
    };
    all.as_array().unwrap_or_else(|| panic!("{target}: {all}")).iter().map(name).collect()
}

#[test]
fn near() {
    let mut world = world();
    let lists = [
        "/v1/catalog/nodes",
        "/v1/catalog/service/web",
        "/v1/health/service/web",
        "/v1/health/checks/web",
        "/v1/health/state/passing",
        "/v1/health/state/any",
    ];
    for list in lists {
        for (near, order) in
            [("a", "acdbe"), ("B", "bcade"), ("d", "dacbe"), ("e", "abcde"), ("absent", "abcde"), ("", "abcde")]
        {
            assert_eq!(nodes(&mut world, &format!("{list}?near={near}")), order, "{list} {near}");
        }
        assert_eq!(nodes(&mut world, &format!("{list}?near=_agent")), "abcde", "nobody knows where n1 is");
    }
    world.register(r#"{"Node":"n1","Address":"127.0.0.1"}"#);
    told(&mut world, "n1", "", 0.2);
    for list in lists {
        let all = nodes(&mut world, &format!("{list}?near=_agent"));
        assert_eq!(all.trim_start_matches("n1"), "cadbe", "{list}");
    }
    // The index is that of the rows: a place that changes is no news to who reads nodes.
    let before = world.get("/v1/catalog/nodes?near=a").header("X-Consul-Index").to_string();
    told(&mut world, "a", "", 0.8);
    let after = world.get("/v1/catalog/nodes?near=a");
    assert_eq!(after.header("X-Consul-Index"), before);
    assert_eq!(nodes(&mut world, "/v1/catalog/service/web?near=a"), "abcde");
}

#[test]
fn prepared_queries_go_by_distance() {
    let mut world = world();
    for (name, near) in [("plain", ""), ("from-c", "c"), ("asking", "_ip"), ("own", "_agent"), ("unknown", "e")] {
        let body = format!(r#"{{"Name":"{name}","Service":{{"Service":"web","Near":"{near}"}}}}"#);
        assert_eq!(world.ask("POST", "/v1/query", &body).status, 200);
    }
    world.remote = Some("10.0.0.98".parse().unwrap());
    for (query, order) in [
        ("from-c/execute", "cadbe"),
        ("from-c/execute?near=b", "bcade"),
        ("from-c/execute?limit=2", "ca"),
        ("asking/execute", "bcade"),
        ("plain/execute?near=_ip", "bcade"),
        ("plain/execute?near=d", "dacbe"),
    ] {
        assert_eq!(nodes(&mut world, &format!("/v1/query/{query}")), order, "{query}");
    }
    // Over an address that is mapped into IPv6, and from behind a proxy.
    world.remote = Some("::ffff:10.0.0.100".parse().unwrap());
    assert_eq!(nodes(&mut world, "/v1/query/asking/execute"), "dacbe");
    let headers = [("X-Forwarded-For", "10.0.0.97, 10.0.0.98")];
    match world.outcome("GET", "/v1/query/asking/execute", &headers, b"", false) {
        convoke_api::response::Outcome::Done(response) => {
            assert_eq!(common::Got::of(response).json()["Nodes"][0]["Node"]["Node"], "a");
        }
        other => panic!("{other:?}"),
    }
    // A node nobody knows the place of: its own instances are near, whatever is known of the others.
    assert!(nodes(&mut world, "/v1/query/unknown/execute").starts_with('e'));
    // From an address that no node has, and near the agent: this node.
    world.remote = Some("10.9.9.9".parse().unwrap());
    world.register(r#"{"Node":"n1","Address":"127.0.0.1"}"#);
    told(&mut world, "n1", "", -0.3);
    for query in ["asking", "own"] {
        assert_eq!(nodes(&mut world, &format!("/v1/query/{query}/execute")), "dacbe", "{query}");
    }
}
