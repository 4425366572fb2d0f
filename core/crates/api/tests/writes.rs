//! Transactions and prepared queries, to the letter. Taken from Consul 1.8.7 unless a comment tells otherwise.

mod common;

use common::World;

const NONE: &str = r#","Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#;

#[test]
fn transactions() {
    // body, status, answer; applied one after the other at index 11, 12, ... where they write
    let read = |results: &str| format!("{results}{NONE}");
    let long = format!("[{}]", vec![r#"{"KV":{"Verb":"set","Key":"k","Value":""}}"#; 65].join(","));
    let table: Vec<(&str, u16, String)> = vec![
        (
            r#"[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}},{"kv":{"verb":"set","key":"b","flags":7}},{"KV":{"Verb":"get","Key":"a"}}]"#,
            200,
            concat!(
                r#"{"Results":[{"KV":{"LockIndex":0,"Key":"a","Flags":0,"Value":null,"CreateIndex":11,"ModifyIndex":11}},"#,
                r#"{"KV":{"LockIndex":0,"Key":"b","Flags":7,"Value":null,"CreateIndex":11,"ModifyIndex":11}},"#,
                r#"{"KV":{"LockIndex":0,"Key":"a","Flags":0,"Value":"MQ==","CreateIndex":11,"ModifyIndex":11}}],"Errors":null}"#
            )
            .into(),
        ),
        (
            r#"[{"KV":{"Verb":"get","Key":"a"}}]"#,
            200,
            read(
                r#"{"Results":[{"KV":{"LockIndex":0,"Key":"a","Flags":0,"Value":"MQ==","CreateIndex":11,"ModifyIndex":11}}],"Errors":null"#,
            ),
        ),
        (
            r#"[{"KV":{"Verb":"get","Key":"x"}},{"KV":{"Verb":"bogus","Key":"a"}}]"#,
            409,
            read(
                r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"x\" doesn't exist"},{"OpIndex":1,"What":"unknown KV verb \"bogus\""}]"#,
            ),
        ),
        (
            r#"[{"KV":{"Verb":"get-tree","Key":""}}]"#,
            409,
            read(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"}]"#),
        ),
        ("[]", 200, read(r#"{"Results":[],"Errors":null"#)),
        ("null", 200, read(r#"{"Results":[],"Errors":null"#)),
        (
            r#"[{"KV":{"Verb":"set","Key":""}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"}]}"#.into(),
        ),
        (
            r#"[{"KV":{"Verb":"check-not-exists","Key":"a"}},{"KV":{"Verb":"delete","Key":"a"}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"a\" exists"}]}"#.into(),
        ),
        (
            r#"[{"Node":{"Verb":"set","Node":{"Node":"n","ID":"zz","Address":"1.2.3.4"}}},{"Service":{"Verb":"set","Node":"n","Service":{"ID":"s"}}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Bad node ID: uuid string is wrong length"},{"OpIndex":1,"What":"Must provide service name with ID"}]}"#.into(),
        ),
        (
            concat!(
                r#"[{"Node":{"Verb":"set","Node":{"Node":"n","Address":"1.2.3.4"}}},"#,
                r#"{"Service":{"Verb":"set","Node":"n","Service":{"Service":"s","Port":5}}},"#,
                r#"{"Check":{"Verb":"set","Check":{"Node":"n","CheckID":"c","Name":"c","Status":"passing","ServiceID":"s"}}}]"#
            ),
            200,
            concat!(
                r#"{"Results":[{"Node":{"ID":"","Node":"n","Address":"1.2.3.4","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":13,"ModifyIndex":13}},"#,
                r#"{"Service":{"ID":"s","Service":"s","Tags":null,"Address":"","Meta":null,"Port":5,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"#,
                r#""Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":13,"ModifyIndex":13}},"#,
                r#"{"Check":{"Node":"n","CheckID":"c","Name":"c","Status":"passing","Notes":"","Output":"","ServiceID":"s","ServiceName":"s","ServiceTags":null,"Type":"","#,
                r#""Definition":{},"CreateIndex":13,"ModifyIndex":13}}],"Errors":null}"#
            )
            .into(),
        ),
        (
            r#"[{"Service":{"Verb":"cas","Node":"n","Service":{"Service":"s","Port":6,"ModifyIndex":12}}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set service \"s\" on node \"n\", index is stale"}]}"#.into(),
        ),
        (r#"[{"Check":{"Verb":"delete-cas","Check":{"Node":"n","CheckID":"c","ModifyIndex":13}}}]"#, 200, r#"{"Results":[],"Errors":null}"#.into()),
        (&long, 413, "Transaction contains too many operations (65 > 64)".into()),
    ];
    let mut world = World::default();
    for (body, status, answer) in &table {
        let got = world.put("/v1/txn", body);
        assert_eq!((got.status, &got.body), (*status, answer), "{body}");
    }
    for body in ["{}", "[", "", r#"[{"KV":{"Key":1}}]"#, r#"[{"KV":{"Value":"not base64!"}}]"#, r#"[{"Other":{}}]"#] {
        let got = world.put("/v1/txn", body);
        assert_eq!(got.status, 400, "{body}");
        assert!(got.body.starts_with("Failed to parse body: "), "{body}: {}", got.body);
    }
    world.configure(|config| {
        config.limits.kv_max_value_size = 4;
        config.limits.txn_max_req_len = 60;
    });
    let got = world.put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"a","Value":"MTIzNDU="}}]"#);
    assert_eq!((got.status, got.body.as_str()), (413, "Value for key \"a\" is too large (5 > 4 bytes)"));
    let body = r#"[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}},{"KV":{"Verb":"get"}}]"#;
    let got = world.put("/v1/txn", body);
    let start = format!("Request body({} bytes) too large, max size: 60 bytes. See ", body.len());
    assert!(got.status == 413 && got.body.starts_with(&start), "{}", got.body);
}

#[test]
fn without_a_leader_transactions_only_read_and_only_when_stale_will_do() {
    let mut world = World::default();
    world.agent.leader = None;
    let body = r#"[{"KV":{"Verb":"get-tree","Key":"a"}}]"#;
    let got = world.put("/v1/txn", body);
    assert_eq!((got.status, got.body.as_str()), (500, "No cluster leader"));
    let got = world.put("/v1/txn?stale", body);
    assert_eq!((got.status, got.header("X-Consul-Knownleader")), (200, "false"));
    assert_eq!(world.put("/v1/txn?dc=dc2", body).body, "No path to datacenter");
}

fn with_query() -> (World, String) {
    let mut world = World::default();
    for (node, tag, status) in [("q1", "v1", "passing"), ("q2", "v2", "passing"), ("q3", "v1", "warning")] {
        world.register(&format!(
            r#"{{"Node":"{node}","Address":"10.3.0.1","Service":{{"Service":"web","Tags":["{tag}"]}},
                "Check":{{"Node":"{node}","CheckID":"c","Status":"{status}","ServiceID":"web"}}}}"#
        ));
    }
    let body = r#"{"Name":"find-web","Service":{"Service":"web","OnlyPassing":true,"Tags":["v1"]},"DNS":{"TTL":"7s"}}"#;
    let made = world.ask("POST", "/v1/query", body);
    assert_eq!(made.status, 200, "{}", made.body);
    let id = made.json()["ID"].as_str().unwrap().to_string();
    (world, id)
}

#[test]
fn a_query_from_its_making_to_its_end() {
    let (mut world, id) = with_query();
    let shown = format!(
        r#"{{"ID":"{id}","Name":"find-web","Session":"","Token":"","Template":{{"Type":"","Regexp":"","RemoveEmptyTags":false}},"Service":{{"Service":"web","Failover":{{"NearestN":0,"Datacenters":null}},"OnlyPassing":true,"IgnoreCheckIDs":null,"Near":"","Tags":["v1"],"NodeMeta":null,"ServiceMeta":null,"Connect":false}},"DNS":{{"TTL":"7s"}},"CreateIndex":14,"ModifyIndex":14}}"#
    );
    let one = format!("/v1/query/{id}");
    for target in ["/v1/query", &one] {
        let got = world.get(target);
        assert_eq!((got.status, got.body, got.headers["X-Consul-Index"].as_str()), (200, format!("[{shown}]"), "14"));
    }
    let explained = world.get("/v1/query/find-web/explain").body;
    let meta = r#","Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader"}"#;
    assert_eq!(explained, format!("{{\"Query\":{shown}{meta}"));
    let nodes = |world: &mut World, target: &str| -> Vec<String> {
        let all = world.get(target).json();
        all["Nodes"].as_array().unwrap().iter().map(|n| n["Node"]["Node"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(nodes(&mut world, "/v1/query/Find-Web/execute"), ["q1"]);
    assert_eq!(nodes(&mut world, &format!("{one}/execute?connect=true")), [""; 0]);
    let done = world.put(&one, r#"{"Name":"find-web","Service":{"Service":"web","Tags":["!v2"]}}"#);
    assert_eq!((done.status, done.body.as_str(), done.headers.len()), (200, "", 0));
    let mut found = nodes(&mut world, "/v1/query/find-web/execute");
    found.sort();
    assert_eq!(found, ["q1", "q3"]);
    assert_eq!(nodes(&mut world, "/v1/query/find-web/execute?limit=1").len(), 1);
    for near in ["q1", "q3"] {
        assert_eq!(nodes(&mut world, &format!("/v1/query/find-web/execute?near={near}"))[0], near);
    }
    let gone = world.ask("DELETE", &one, "");
    assert_eq!((gone.status, gone.body.as_str()), (200, ""));
    assert_eq!((world.get(&one).status, world.get("/v1/query").body.as_str()), (404, "[]"));
}

#[test]
fn what_is_refused_of_queries() {
    const ABSENT: &str = "11111111-1111-1111-1111-111111111111";
    let (mut world, _) = with_query();
    let lookup = "failed prepared query lookup: index error: UUID must be 36 characters";
    let bound = "Invalid prepared query: Must be bound to a session";
    let table = [
        (
            "POST",
            "",
            r#"{"Name":"find-web","Service":{"Service":"web"}}"#,
            500,
            "name 'find-web' aliases an existing query name",
        ),
        ("POST", "", r#"{"Name":"x"}"#, 500, "Invalid prepared query: Must provide a Service name to query"),
        ("POST", "", "{}", 500, bound),
        ("POST", "", r#"{"Service":{"Service":"web"},"DNS":{"TTL":"bad"}}"#, 500, bound),
        ("POST", "", r#"{"Session":"s","Service":{"Service":"web"}}"#, 500, "invalid session"),
        (
            "POST",
            "",
            r#"{"ID":"x","Service":{"Service":"web"}}"#,
            500,
            "ID must be empty when creating a new prepared query",
        ),
        (
            "POST",
            "",
            r#"{"Name":"z","Template":{"Type":"bad"},"Service":{"Service":"x"}}"#,
            500,
            "failed compiling template: Bad Template.Type 'bad'",
        ),
        ("GET", "/11111111-1111-1111-1111-111111111111", "", 404, "Query not found"),
        ("GET", "/nosuch/execute", "", 404, "Query not found"),
        ("GET", "/nosuch/explain", "", 404, "Query not found"),
        ("GET", "/find-web", "", 500, lookup),
        ("GET", "/", "", 500, lookup),
        (
            "PUT",
            "/11111111-1111-1111-1111-111111111111",
            r#"{"Name":"a","Service":{"Service":"web"}}"#,
            500,
            "Cannot modify non-existent prepared query: '11111111-1111-1111-1111-111111111111'",
        ),
    ];
    for (method, rest, body, status, text) in table {
        let got = world.ask(method, &format!("/v1/query{rest}"), body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{method} {rest} {body}");
    }
    let got = world.ask("DELETE", "/v1/query/nope", "");
    assert_eq!((got.status, got.body), (500, format!("Prepared Query lookup failed: {lookup}")));
    assert_eq!(world.ask("DELETE", &format!("/v1/query/{ABSENT}"), "").status, 500);
    for (body, status, start) in [
        ("{", 400, "Request decode failed: "),
        (r#"{"Nonsense":1}"#, 400, "Request decode failed: "),
        (
            r#"{"Name":"t","Service":{"Service":"w","Failover":{"NearestN":-1}}}"#,
            500,
            "Invalid prepared query: Bad NearestN '-1', must be >= 0",
        ),
        (
            r#"{"Name":"t","Service":{"Service":"w"},"DNS":{"TTL":"bad"}}"#,
            500,
            "Invalid prepared query: Bad DNS TTL 'bad': ",
        ),
        (r#"{"Name":"t","Service":{"Service":"w"},"DNS":{"TTL":"-1s"}}"#, 500, "Invalid prepared query: DNS TTL '-1s'"),
    ] {
        let got = world.ask("POST", "/v1/query", body);
        assert!(got.status == status && got.body.starts_with(start), "{body}: {} {}", got.status, got.body);
    }
}
