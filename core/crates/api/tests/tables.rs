//! Reads and writes of the tables, to the letter: order of members, null and empty, what is left out. Taken from Consul
//! 1.8.7.

mod common;

use common::World;

const NODE: &str = concat!(
    r#"{"ID":"","Node":"a","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"#,
    r#""CreateIndex":11,"ModifyIndex":11}"#
);
const SERVICE: &str = concat!(
    r#"{"ID":"w1","Service":"web","Tags":["v1","V2"],"Address":"","Meta":null,"Port":80,"#,
    r#""Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"#,
    r#""Connect":{},"CreateIndex":11,"ModifyIndex":11}"#
);
const CHECK: &str = concat!(
    r#"{"Node":"a","CheckID":"c","Name":"c","Status":"passing","Notes":"","Output":"","ServiceID":"w1","#,
    r#""ServiceName":"web","ServiceTags":["v1","V2"],"Type":"","Definition":{},"CreateIndex":11,"ModifyIndex":11}"#
);

fn world() -> World {
    let mut world = World::default();
    world.register(
        r#"{"Node":"a","Address":"1.1.1.1","Service":{"ID":"w1","Service":"web","Port":80,"Tags":["v1","V2"]},
            "Check":{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"w1"}}"#,
    );
    world
}

#[test]
fn rows() {
    let mut world = world();
    let service_node = concat!(
        r#"{"ID":"","Node":"a","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":null,"#,
        r#""ServiceKind":"","ServiceID":"w1","ServiceName":"web","ServiceTags":["v1","V2"],"ServiceAddress":"","#,
        r#""ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":80,"#,
        r#""ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},"#,
        r#""CreateIndex":11,"ModifyIndex":11}"#
    );
    for (target, body) in [
        ("/v1/catalog/nodes", format!("[{NODE}]")),
        ("/v1/catalog/services", r#"{"web":["V2","v1"]}"#.into()),
        ("/v1/catalog/service/WEB", format!("[{service_node}]")),
        ("/v1/catalog/node/a", format!("{{\"Node\":{NODE},\"Services\":{{\"w1\":{SERVICE}}}}}")),
        ("/v1/catalog/node-services/A", format!("{{\"Node\":{NODE},\"Services\":[{SERVICE}]}}")),
        ("/v1/catalog/node/zz", "null".into()),
        ("/v1/catalog/node-services/zz", r#"{"Node":null,"Services":null}"#.into()),
        ("/v1/catalog/service/zz", "[]".into()),
        ("/v1/catalog/connect/web", "[]".into()),
        ("/v1/catalog/gateway-services/x", "null".into()),
        ("/v1/health/service/web", format!("[{{\"Node\":{NODE},\"Service\":{SERVICE},\"Checks\":[{CHECK}]}}]")),
        ("/v1/health/checks/web", format!("[{CHECK}]")),
        ("/v1/health/node/a", format!("[{CHECK}]")),
        ("/v1/health/state/any", format!("[{CHECK}]")),
        ("/v1/health/state/passing", format!("[{CHECK}]")),
        ("/v1/health/state/nonsense", "[]".into()),
        ("/v1/health/ingress/web", "[]".into()),
    ] {
        let got = world.get(target);
        assert_eq!((got.status, got.body.as_str()), (200, body.as_str()), "{target}");
    }
    // Who asks by namespace sees it.
    assert!(world.get("/v1/health/checks/web?ns=default").body.contains(r#""Namespace":"default""#));
    assert_eq!(world.get("/v1/health/checks/web?ns=other").body, "[]");
    assert_eq!(world.get("/v1/health/node/a?ns=*").json().as_array().unwrap().len(), 1);
}

#[test]
fn everything_a_service_can_have() {
    let mut world = World::default();
    world.register(
        r#"{"Node":"x","Address":"1.1.1.1","TaggedAddresses":{},"NodeMeta":{"b":"<","a":"2"},
            "Service":{"service":"full","id":"f1","kind":"connect-proxy","Meta":{},"Port":7,"Address":"10.0.0.1",
              "TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":3}},"Weights":{"Passing":5,"Warning":2},
              "EnableTagOverride":true,
              "Proxy":{"DestinationServiceName":"web","LocalServicePort":9,"Config":{"a": 1},
                "Upstreams":[{"destination_name":"db","LocalBindPort":5}],"MeshGateway":{"Mode":"local"}},
              "Connect":{"Native":false}, "CreateIndex": 5},
            "Check":{"CheckID":"ck","Name":"ck","ServiceID":"f1","Definition":{"HTTP":"http://x","Header":{"A":["b"]},
              "Method":"PUT","Body":"bb","TLSSkipVerify":true,"TCP":"a:1","Interval":"10s","Timeout":"1m30s",
              "DeregisterCriticalServiceAfter":5400000000000,"Unknown":1}}} trailing"#,
    );
    let body = world.get("/v1/health/service/full").body;
    for part in [
        r#""TaggedAddresses":{},"Meta":{"a":"2","b":"\u003c"},"CreateIndex":11"#,
        concat!(
            r#""Service":{"Kind":"connect-proxy","ID":"f1","Service":"full","Tags":[],"Address":"10.0.0.1","#,
            r#""TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":3}},"Meta":{},"Port":7,"#,
            r#""Weights":{"Passing":5,"Warning":2},"EnableTagOverride":true,"#,
            r#""Proxy":{"DestinationServiceName":"web","LocalServicePort":9,"Config":{"a":1},"#,
            r#""Upstreams":[{"DestinationType":"","DestinationName":"db","Datacenter":"","LocalBindPort":5,"#,
            r#""Config":null,"MeshGateway":{}}],"MeshGateway":{"Mode":"local"},"Expose":{}},"Connect":{},"#
        ),
        concat!(
            r#""Status":"critical","Notes":"","Output":"","ServiceID":"f1","ServiceName":"full","ServiceTags":[],"#,
            r#""Type":"http","Definition":{"Interval":"10s","Timeout":"1m30s","#,
            r#""DeregisterCriticalServiceAfter":"1h30m0s","HTTP":"http://x","TLSSkipVerify":true,"#,
            r#""Header":{"A":["b"]},"Method":"PUT","Body":"bb","TCP":"a:1"}"#
        ),
    ] {
        assert!(body.contains(part), "{part}\n{body}");
    }
    assert_eq!(world.get("/v1/health/connect/web").json().as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v1/catalog/connect/web").json()[0]["ServiceID"], "f1");
}

#[test]
fn which_instances() {
    let mut world = World::default();
    for (node, id, tags, status) in [
        ("h1", "db1", r#"["m","v1"]"#, "passing"),
        ("h2", "db2", r#"["v1"]"#, "warning"),
        ("h3", "db3", "[]", "critical"),
    ] {
        world.register(&format!(
            r#"{{"Node":"{node}","Address":"10.2.0.1","NodeMeta":{{"rack":"{node}"}},
                "Service":{{"Service":"db","ID":"{id}","Tags":{tags}}},
                "Check":{{"CheckID":"c-{id}","Name":"c","Status":"{status}","ServiceID":"{id}"}}}}"#
        ));
    }
    for (query, nodes) in [
        ("", "h1 h2 h3"),
        ("passing", "h1"),
        ("passing=true", "h1"),
        ("passing=false", "h1 h2 h3"),
        ("tag=M", "h1"),
        ("tag=v1&tag=m", "h1"),
        ("tag=v1", "h1 h2"),
        ("tag=", ""),
        ("node-meta=rack:h2", "h2"),
        ("node-meta=rack", ""),
        ("node-meta=rack:h2&node-meta=zone:1", ""),
        ("filter=Checks.Status==warning", "h2"),
        ("filter=Node.Node==h3&near=_agent", "h3"),
    ] {
        let got = world.get(&format!("/v1/health/service/db?{query}")).json();
        let got: Vec<_> = got.as_array().unwrap().iter().map(|i| i["Node"]["Node"].as_str().unwrap()).collect();
        assert_eq!(got.join(" "), nodes, "{query}");
    }
    let got = world.get("/v1/health/service/db?passing=banana");
    assert_eq!((got.status, got.body.as_str()), (400, "Invalid value for ?passing"));
    let got = world.get("/v1/health/service/db?filter=Service.Port+%3C+2");
    assert_eq!((got.status, got.header("X-Consul-Knownleader")), (500, "false"));
    assert!(got.body.starts_with("Failed to create boolean expression evaluator: "));
    assert_eq!(world.get("/v1/catalog/services?node-meta=rack:h2").body, r#"{"db":["v1"]}"#);
    assert_eq!(world.get("/v1/catalog/services?filter=ServiceID==db1").body, r#"{"db":["m","v1"]}"#);
    assert_eq!(world.get("/v1/health/state/critical?node-meta=rack:h3").json().as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v1/health/state/critical?node-meta=rack:h1").body, "[]");
    assert_eq!(world.get("/v1/catalog/nodes?filter=Meta.rack==h1").json().as_array().unwrap().len(), 1);
}

#[test]
fn missing_names() {
    let mut world = World::default();
    for (path, text) in [
        ("/v1/catalog/service/", "Missing service name"),
        ("/v1/catalog/connect/", "Missing service name"),
        ("/v1/catalog/node/", "Missing node name"),
        ("/v1/catalog/node-services/", "Missing node name"),
        ("/v1/catalog/gateway-services/", "Missing gateway name"),
        ("/v1/health/service/", "Missing service name"),
        ("/v1/health/checks/", "Missing service name"),
        ("/v1/health/node/", "Missing node name"),
        ("/v1/health/state/", "Missing check state"),
        ("/v1/internal/ui/node/", "Missing node name"),
    ] {
        let got = world.get(path);
        assert_eq!((got.status, got.body.as_str()), (400, text), "{path}");
    }
}

#[test]
fn registrations_that_are_refused() {
    let mut world = World::default();
    for (body, status, text) in [
        ("{}", 500, "Must provide node"),
        ("null", 500, "Must provide node"),
        (r#"{"Node":"x"}"#, 500, "Must provide address if SkipNodeUpdate is not set"),
        (
            r#"{"Node":"x","Address":"1.2.3.4","Service":{"Port":1}}"#,
            500,
            "failed inserting service: failed inserting service: object missing primary index",
        ),
        (r#"{"Node":"x","Address":"1.2.3.4","Service":{"ID":"s"}}"#, 500, "Must provide service name with ID"),
        (r#"{"Node":"x","Address":"1.2.3.4","Datacenter":"nowhere"}"#, 500, "No path to datacenter"),
        (r#"{"Node":"x","Address":"1.2.3.4","ID":"no"}"#, 500, "Bad node ID: uuid string is wrong length"),
        (
            r#"{"Node":"x","Address":"1.2.3.4","Check":{"Node":"other","CheckID":"c","Name":"c"}}"#,
            500,
            "check node \"other\" does not match node \"x\"",
        ),
        (
            r#"{"Node":"x","Address":"1.2.3.4","Service":{"Service":"s","Address":"0.0.0.0"}}"#,
            500,
            "Invalid service address",
        ),
        (
            r#"{"Node":"x","Address":"1.2.3.4","Service":{"Service":"s","Kind":"connect-proxy"}}"#,
            500,
            "2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\t* Port must be set for a Connect proxy\n\n",
        ),
        (r#"{"Node":"x","Zzz":null}"#, 400, "Request decode failed: json: unknown field \"Zzz\""),
        (
            r#"{"Node":5}"#,
            400,
            "Request decode failed: json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string",
        ),
        (
            "[]",
            400,
            "Request decode failed: json: cannot unmarshal array into Go value of type structs.RegisterRequest",
        ),
        ("", 400, "Request decode failed: EOF"),
        (
            r#"{"Node":"x","Check":{"Definition":{"Interval":"zz"}}}"#,
            400,
            "Request decode failed: time: invalid duration \"zz\"",
        ),
    ] {
        let got = world.put("/v1/catalog/register", body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{body}");
    }
    assert_eq!(world.get("/v1/catalog/nodes").body, "[]");
    for (body, status, text) in [
        ("{}", 500, "Must provide node"),
        (r#"{"Node":"x","Zzz":1}"#, 400, "Request decode failed: json: unknown field \"Zzz\""),
        (r#"{"Node":"x","Datacenter":"none"}"#, 500, "No path to datacenter"),
        (r#"{"node":"absent","ServiceID":null}"#, 200, "true"),
    ] {
        let got = world.put("/v1/catalog/deregister", body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{body}");
    }
}

#[test]
fn deregistration() {
    let mut world = world();
    world.put("/v1/catalog/deregister", r#"{"Node":"a","CheckID":"c"}"#);
    assert_eq!(world.get("/v1/health/node/a").body, "[]");
    world.put("/v1/catalog/deregister", r#"{"Node":"a","ServiceID":"w1"}"#);
    assert!(world.get("/v1/catalog/node/a").body.ends_with(r#""Services":{}}"#));
    world.put("/v1/catalog/deregister", r#"{"Node":"a"}"#);
    assert_eq!(world.get("/v1/catalog/nodes").body, "[]");
}

#[test]
fn the_ui() {
    let mut world = world();
    world.register(
        r#"{"Node":"b","Address":"1.1.1.2","Service":{"Service":"px","Kind":"connect-proxy","Port":1,
            "Meta":{"external-source":"k8s"},"Proxy":{"DestinationServiceName":"web"}}}"#,
    );
    let head = |node: &str, address: &str| {
        format!(r#"{{"ID":"","Node":"{node}","Address":"{address}","TaggedAddresses":null,"Meta":null,"#)
    };
    let a = format!("{}\"Services\":[{SERVICE}],\"Checks\":[{CHECK}]}}", head("a", "1.1.1.1"));
    assert_eq!(world.get("/v1/internal/ui/node/a").body, a);
    let nodes = world.get("/v1/internal/ui/nodes").body;
    assert!(nodes.starts_with(&format!("[{a},{}", head("b", "1.1.1.2"))), "{nodes}");
    assert!(nodes.contains(r#""Tags":null"#), "{nodes}");
    assert_eq!(world.get("/v1/internal/ui/node/zz").status, 404);
    assert_eq!(
        world.get("/v1/internal/ui/services").body,
        concat!(
            r#"[{"Kind":"connect-proxy","Name":"px","Tags":null,"Nodes":["b"],"InstanceCount":1,"ProxyFor":["web"],"#,
            r#""ChecksPassing":0,"ChecksWarning":0,"ChecksCritical":0,"ExternalSources":["k8s"],"GatewayConfig":{}},"#,
            r#"{"Name":"web","Tags":["V2","v1"],"Nodes":["a"],"InstanceCount":1,"ChecksPassing":1,"ChecksWarning":0,"#,
            r#""ChecksCritical":0,"ExternalSources":null,"GatewayConfig":{}}]"#
        )
    );
    assert_eq!(world.get("/v1/internal/ui/nodes?filter=Services.Port==80").json().as_array().unwrap().len(), 1);
}

#[test]
fn keys() {
    let mut world = World::default();
    world.put("/v1/kv/foo?flags=42", "bar");
    world.put("/v1/kv/dir/a", "");
    world.put("/v1/kv/dir/b/c", "2");
    world.put("/v1/kv/%C3%BCn%20%2B", "u");
    let foo = r#"{"LockIndex":0,"Key":"foo","Flags":42,"Value":"YmFy","CreateIndex":11,"ModifyIndex":11}"#;
    let a = r#"{"LockIndex":0,"Key":"dir/a","Flags":0,"Value":null,"CreateIndex":12,"ModifyIndex":12}"#;
    for (target, body) in [
        ("/v1/kv/foo", format!("[{foo}]")),
        ("/v1/kv/foo?raw", "bar".into()),
        ("/v1/kv/dir%2Fa", format!("[{a}]")),
        ("/v1/kv/dir/a?recurse", format!("[{a}]")),
        ("/v1/kv/?keys", r#"["dir/a","dir/b/c","foo","ün +"]"#.into()),
        ("/v1/kv/?keys&recurse&raw", r#"["dir/a","dir/b/c","foo","ün +"]"#.into()),
        ("/v1/kv/dir/?keys&separator=/", r#"["dir/a","dir/b/"]"#.into()),
        ("/v1/kv/dir/?keys&separator=b", r#"["dir/a","dir/b"]"#.into()),
        ("/v1/kv/?keys&seperator=/", r#"["dir/","foo","ün +"]"#.into()),
    ] {
        let got = world.get(target);
        assert_eq!((got.status, got.body), (200, body), "{target}");
    }
    let raw = world.get("/v1/kv/foo?raw");
    assert_eq!((raw.header("Content-Type"), raw.header("X-Content-Type-Options")), ("text/plain", "nosniff"));
    for target in ["/v1/kv/none", "/v1/kv/none?recurse", "/v1/kv/none?keys", "/v1/kv/none?raw"] {
        let got = world.get(target);
        assert_eq!((got.status, got.body.as_str()), (404, ""), "{target}");
        assert!(!got.header("X-Consul-Index").is_empty() && got.header("Content-Type").is_empty());
    }
    let big = "a".repeat(524_289);
    for (method, target, body, status, text) in [
        ("GET", "/v1/kv/", "", 400, "Missing key name"),
        ("PUT", "/v1/kv/", "x", 400, "Missing key name"),
        ("DELETE", "/v1/kv/", "", 400, "Missing key name"),
        ("PUT", "/v1/kv/f?flags=-1", "x", 500, "strconv.ParseUint: parsing \"-1\": invalid syntax"),
        ("PUT", "/v1/kv/f?cas=abc", "x", 500, "strconv.ParseUint: parsing \"abc\": invalid syntax"),
        ("DELETE", "/v1/kv/f?cas=zz", "", 500, "strconv.ParseUint: parsing \"zz\": invalid syntax"),
        ("DELETE", "/v1/kv/f?cas=1&recurse", "", 400, "Conflicting flags: cas=1&recurse="),
        ("PUT", "/v1/kv/f?cas=0&acquire=x", "x", 400, "Conflicting flags: acquire=x&cas=0"),
        ("PUT", "/v1/kv/f?acquire=", "x", 500, "missing session"),
        ("PUT", "/v1/kv/f?dc=none", "x", 500, "No path to datacenter"),
        (
            "PUT",
            "/v1/kv/f",
            big.as_str(),
            413,
            "Request body(524289 bytes) too large, max size: 524288 bytes. See https://www.consul.io/docs/agent/options.html#kv_max_value_size.",
        ),
        ("PUT", "/v1/kv/foo?cas=0", "no", 200, "false"),
        ("PUT", "/v1/kv/foo?cas=11", "yes", 200, "true"),
        ("PUT", "/v1/kv/f?flags=18446744073709551615", "x", 200, "true"),
        ("DELETE", "/v1/kv/foo?cas=1", "", 200, "false"),
        ("DELETE", "/v1/kv/dir?recurse", "", 200, "true"),
        ("DELETE", "/v1/kv/?recurse", "", 200, "true"),
    ] {
        let got = world.ask(method, target, body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{method} {target}");
    }
    let got = world.get("/v1/kv/?keys");
    assert_eq!((got.status, got.body.as_str()), (200, "[]"));
    assert_eq!(world.get("/v1/kv/?recurse").status, 404);
}
