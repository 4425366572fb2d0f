//! What is registered: `catalog`, `services`, `maint`.

use super::{Agent, play, scratch, table};

#[test]
fn catalog() {
    let nodes = r#"[{"ID":"","Node":"a1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":{"env":"prod","rack":"1"}},
        {"ID":"12345678-0000-0000-0000-000000000001","Node":"n1","Address":"127.0.0.1","Datacenter":"dc1",
         "TaggedAddresses":{"wan":"1.2.3.4","lan":"127.0.0.1"},"Meta":null,"ModifyIndex":7}]"#;
    let standard = "Node  ID        Address    DC\na1              10.0.0.1   dc1\nn1    12345678  127.0.0.1  dc1\n";
    let detailed = "\
Node  ID                                    Address    DC   TaggedAddresses             Meta
a1                                          10.0.0.1   dc1                              env=prod, rack=1
n1    12345678-0000-0000-0000-000000000001  127.0.0.1  dc1  lan=127.0.0.1, wan=1.2.3.4
";
    table(
        &[
            ("GET /v1/catalog/nodes", nodes),
            ("GET /v1/catalog/nodes?node-meta=rack%3A7&node-meta=a%3Ab", "[]"),
            ("GET /v1/catalog/nodes?dc=dc2&stale=&near=_agent&filter=Meta.env%20%3D%3D%20x", nodes),
            ("GET /v1/catalog/service/web", nodes),
            ("GET /v1/catalog/datacenters", r#"["dc1","dc2"]"#),
            ("GET /v1/catalog/services", r#"{"web":["v1","V2"],"consul":[],"api":null}"#),
            (
                "GET /v1/catalog/node/n1",
                r#"{"Node":{},"Services":{"w1":{"Service":"web","Tags":["b"]},"w2":{"Service":"web","Tags":["a","b"]}}}"#,
            ),
            ("GET /v1/catalog/node/absent", "null"),
        ],
        &[
            (&["catalog", "nodes"], 0, standard, &["GET /v1/catalog/nodes"]),
            (&["catalog", "nodes", "-detailed"], 0, detailed, &["GET /v1/catalog/nodes"]),
            (&["catalog", "nodes", "-service=web"], 0, standard, &["GET /v1/catalog/service/web"]),
            (
                &["catalog", "nodes", "-near=_agent", "-filter", "Meta.env == x", "-datacenter=dc2", "-stale"],
                0,
                standard,
                &["GET /v1/catalog/nodes?dc=dc2&stale=&near=_agent&filter=Meta.env%20%3D%3D%20x"],
            ),
            (
                &["catalog", "nodes", "-node-meta=rack=7", "-node-meta", "a=b"],
                0,
                "",
                &["GET /v1/catalog/nodes?node-meta=rack%3A7&node-meta=a%3Ab"],
            ),
            (&["catalog", "nodes", "-node-meta=rack"], 1, "", &[]),
            (&["catalog", "datacenters"], 0, "dc1\ndc2\n", &["GET /v1/catalog/datacenters"]),
            (&["catalog", "services"], 0, "api\nconsul\nweb\n", &["GET /v1/catalog/services"]),
            (&["catalog", "services", "-tags"], 0, "api\nconsul\nweb     V2,v1\n", &["GET /v1/catalog/services"]),
            (&["catalog", "services", "-node=n1", "-tags"], 0, "web  a,b\n", &["GET /v1/catalog/node/n1"]),
            (&["catalog", "services", "-node=absent"], 0, "", &["GET /v1/catalog/node/absent"]),
        ],
    );
}

#[test]
fn services_by_flags() {
    let body = r#"{"Address":"10.0.0.9","ID":"flag-1","Meta":{"k":"v=w"},"Name":"flag","Port":99,"Tags":["a","b"]}"#;
    table(
        &[
            ("PUT /v1/agent/service/register", ""),
            ("PUT /v1/agent/service/deregister/flag-1", ""),
            ("PUT /v1/agent/service/deregister/a%20b", ""),
        ],
        &[
            (
                &[
                    "services",
                    "register",
                    "-name=flag",
                    "-port=99",
                    "-tag=a",
                    "-tag=b",
                    "-address=10.0.0.9",
                    "-meta=k=v=w",
                    "-id=flag-1",
                ],
                0,
                "Registered service: flag\n",
                &[&format!("PUT /v1/agent/service/register {body}")],
            ),
            (
                &["services", "deregister", "-id=flag-1"],
                0,
                "Deregistered service: flag-1\n",
                &["PUT /v1/agent/service/deregister/flag-1"],
            ),
            (
                &["services", "deregister", "-id=a b"],
                0,
                "Deregistered service: a b\n",
                &["PUT /v1/agent/service/deregister/a%20b"],
            ),
            (&["services", "deregister"], 1, "", &[]),
            (&["services", "register"], 1, "", &[]),
            (&["services", "register", "-name=x", "-port=70000"], 1, "", &[]),
            (&["services", "register", "-name=x", "-meta=k"], 1, "", &[]),
            (&["services", "register", "-port=1"], 1, "", &[]),
            (&["services", "register", "-id=x"], 1, "", &[]),
            (&["services", "register", "-name=x", "file.json"], 1, "", &[]),
            (&["services", "register", "absent.json"], 1, "", &[]),
        ],
    );
}

#[test]
fn services_by_file() {
    let folder = scratch("services");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("writes");
        path.display().to_string()
    };
    let web =
        write("web.json", r#"{"service":{"name":"web","port":80,"tags":["x"],"check":{"ttl":"1h"},"meta":null}}"#);
    let two = write(
        "two.hcl",
        "services {\n name = \"h1\"\n id = \"h1-a\"\n port = 1001\n meta { a = \"b\" }\n}\nservices { name = \"h2\" }\n",
    );
    let bad = write("bad.hcl", "service {\n name = \n");
    let none = write("none.json", "{}");
    let bare = write("bare.json", r#"{"Name":"bare","Check":null,"EnableTagOverride":true}"#);
    let typo = write("typo.json", "{\"service\": {\n \"name\": \"x\",\n \"prot\": 1\n}}");
    table(
        &[
            ("PUT /v1/agent/service/register", ""),
            ("PUT /v1/agent/service/deregister/web", ""),
            ("PUT /v1/agent/service/deregister/h1-a", ""),
            ("PUT /v1/agent/service/deregister/h2", ""),
        ],
        &[
            (
                &["services", "register", &web],
                0,
                "Registered service: web\n",
                &[
                    r#"PUT /v1/agent/service/register {"Checks":[{"TTL":"1h0m0s"}],"Name":"web","Port":80,"Tags":["x"]}"#,
                ],
            ),
            (
                &["services", "register", &two, &web],
                0,
                "Registered service: h1\nRegistered service: h2\nRegistered service: web\n",
                &[
                    r#"PUT /v1/agent/service/register {"ID":"h1-a","Meta":{"a":"b"},"Name":"h1","Port":1001}"#,
                    r#"PUT /v1/agent/service/register {"Name":"h2"}"#,
                    r#"PUT /v1/agent/service/register {"Checks":[{"TTL":"1h0m0s"}],"Name":"web","Port":80,"Tags":["x"]}"#,
                ],
            ),
            (
                &["services", "deregister", &two, &web],
                0,
                "Deregistered service: h1-a\nDeregistered service: h2\nDeregistered service: web\n",
                &[
                    "PUT /v1/agent/service/deregister/h1-a",
                    "PUT /v1/agent/service/deregister/h2",
                    "PUT /v1/agent/service/deregister/web",
                ],
            ),
            // A body of the HTTP API is no file.
            (&["services", "register", &bare], 1, "", &[]),
            // Nothing is registered when one of the files is wrong.
            (&["services", "register", &web, &bad], 1, "", &[]),
            (&["services", "register", &none], 0, "", &[]),
            (&["services", "deregister", &bad], 1, "", &[]),
            (&["services", "register", &typo], 1, "", &[]),
        ],
    );
    let said = play(&Agent::default(), &[], "", &["services", "register", &typo]).err;
    assert!(said.contains("typo.json:3: ") && said.contains("prot"), "{said}");
}

#[test]
fn maintenance() {
    let own = r#"{"Config":{"NodeName":"n1"}}"#;
    let checks = r#"{"_node_maintenance":{"CheckID":"_node_maintenance","Notes":"whole node"},
        "_service_maintenance:web":{"CheckID":"_service_maintenance:web","Notes":"upgrade"},
        "mem":{"CheckID":"mem","Notes":""}}"#;
    table(
        &[
            ("GET /v1/agent/self", own),
            ("GET /v1/agent/checks", checks),
            ("PUT /v1/agent/maintenance?enable=true&reason=cli%20reason", ""),
            ("PUT /v1/agent/maintenance?enable=false", ""),
            ("PUT /v1/agent/service/maintenance/web?enable=true&reason=", ""),
        ],
        &[
            (
                &["maint"],
                0,
                "Node:\n  Name:   n1\n  Reason: whole node\n\nService:\n  ID:     web\n  Reason: upgrade\n\n",
                &["GET /v1/agent/self", "GET /v1/agent/checks"],
            ),
            (
                &["maint", "-enable", "-reason", "cli reason"],
                0,
                "Node maintenance is now enabled\n",
                &["PUT /v1/agent/maintenance?enable=true&reason=cli%20reason"],
            ),
            (
                &["maint", "-disable"],
                0,
                "Node maintenance is now disabled\n",
                &["PUT /v1/agent/maintenance?enable=false"],
            ),
            (
                &["maint", "-enable", "-service", "web"],
                0,
                "Service maintenance is now enabled for \"web\"\n",
                &["PUT /v1/agent/service/maintenance/web?enable=true&reason="],
            ),
            (&["maint", "-enable", "-disable"], 1, "", &[]),
            (&["maint", "-disable", "-reason=x"], 1, "", &[]),
            (&["maint", "-reason=x"], 1, "", &[]),
            (&["maint", "-service=web"], 1, "", &[]),
        ],
    );
}
