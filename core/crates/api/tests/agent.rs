//! `/v1/agent/...`: what the agent shows of itself, and what it asks the node to do. As recorded from Consul 1.8.7.

mod common;

use common::World;
use convoke_api::effect::AgentRequest;
use convoke_api::response::Outcome;
use convoke_catalog::model::Status;

fn world() -> World {
    let mut world = World::default();
    world.local_service("w1", "web");
    world.local_service("a/b", "web");
    world.local_check("c", "w1", Status::Passing);
    world
}

const SERVICE: &str = concat!(
    r#"{"ID":"w1","Service":"web","Tags":[],"Meta":{},"Port":0,"Address":"","#,
    r#""Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false}"#
);
const HEALTH_CHECK: &str = concat!(
    r#"{"Node":"n1","CheckID":"c","Name":"c","Status":"passing","Notes":"","Output":"","ServiceID":"w1","#,
    r#""ServiceName":"w1","ServiceTags":null,"Type":"","Definition":{"Interval":"0s","Timeout":"0s","#,
    r#""DeregisterCriticalServiceAfter":"0s","HTTP":"","Header":null,"Method":"","Body":"","TLSSkipVerify":false,"#,
    r#""TCP":""},"CreateIndex":0,"ModifyIndex":0}"#
);

#[test]
fn services_and_checks() {
    let mut world = world();
    let other = SERVICE.replace("w1", "a/b");
    assert_eq!(world.get("/v1/agent/services").body, format!("{{\"a/b\":{other},\"w1\":{SERVICE}}}"));
    assert_eq!(world.get("/v1/agent/services?filter=ID==w1").body, format!("{{\"w1\":{SERVICE}}}"));
    assert_eq!(
        world.get("/v1/agent/checks").body,
        concat!(
            r#"{"c":{"Node":"n1","CheckID":"c","Name":"c","Status":"passing","Notes":"","Output":"","ServiceID":"w1","#,
            r#""ServiceName":"w1","ServiceTags":[],"Type":"ttl","Definition":{},"CreateIndex":0,"ModifyIndex":0}}"#
        )
    );
    let got = world.get("/v1/agent/checks?filter=((");
    assert_eq!((got.status, got.headers.len()), (500, 1));
    let got = world.get("/v1/agent/service/absent");
    assert_eq!((got.status, got.body.as_str()), (404, "unknown service ID: absent"));
    assert_eq!(world.get("/v1/agent/service/a%2Fb").json()["ID"], "a/b");
    assert_eq!(world.get("/v1/agent/services?ns=other").body, "{}");
}

#[test]
fn waiting_by_hash() {
    let mut world = world();
    let got = world.get("/v1/agent/service/w1");
    let hash = got.header("X-Consul-Contenthash").to_string();
    assert_eq!(hash.len(), 16);
    assert_eq!(got.json()["ContentHash"], hash.as_str());
    let wait = world.wait(&format!("/v1/agent/service/w1?hash={hash}&wait=2s"));
    assert!(wait.agent && wait.topics.is_empty() && (2000..2126).contains(&wait.max_wait.as_millis()));
    assert_eq!(world.get("/v1/agent/service/w1?hash=other&wait=20s").status, 200);
    let last = world.outcome("GET", &format!("/v1/agent/service/w1?hash={hash}"), &[], b"", true);
    assert!(matches!(last, Outcome::Done(response) if response.status == 200));
    let got = world.get(&format!("/v1/agent/service/w1?hash={hash}&wait=zz"));
    assert_eq!((got.status, got.body.as_str()), (400, "Invalid wait time"));
    world.local_service("w1", "other");
    assert_ne!(world.get(&format!("/v1/agent/service/w1?hash={hash}")).header("X-Consul-Contenthash"), hash);
}

#[test]
fn health_for_load_balancers() {
    let mut world = world();
    let shown = format!(r#"{{"AggregatedStatus":"passing","Service":{SERVICE},"Checks":[{HEALTH_CHECK}]}}"#);
    let got = world.get("/v1/agent/health/service/id/w1");
    assert_eq!((got.status, got.body), (200, shown));
    for (id, status, code, text) in [
        ("c", Status::Warning, 429, "warning"),
        ("c", Status::Critical, 503, "critical"),
        ("_service_maintenance:w1", Status::Critical, 503, "maintenance"),
    ] {
        world.local_check(id, "w1", status);
        for path in ["/v1/agent/health/service/id/w1", "/v1/agent/health/service/name/web"] {
            let got = world.get(&format!("{path}?format=text"));
            assert_eq!((got.status, got.body.as_str(), got.header("Content-Type")), (code, text, "text/plain"));
            let got = world.get(path);
            assert_eq!((got.status, got.header("X-Consul-Reason")), (code, text));
        }
    }
    assert_eq!(world.get("/v1/agent/health/service/id/a%2Fb").status, 200);
    world.local_check("_node_maintenance", "", Status::Critical);
    assert_eq!(world.get("/v1/agent/health/service/id/a%2Fb?format=text").body, "maintenance");
    for (target, status, body) in [
        ("name/absent", 404, "[]"),
        ("name/absent?format=text", 404, "ServiceName absent Not Found"),
        ("id/absent", 404, r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#),
        ("id/absent?format=text", 404, "\"ServiceId absent not found\""),
        ("id/", 500, "Bad request: Missing serviceID"),
        ("name/", 500, "Bad request: Missing service Name"),
    ] {
        let got = world.get(&format!("/v1/agent/health/service/{target}"));
        assert_eq!((got.status, got.body.as_str()), (status, body), "{target}");
    }
}

#[test]
fn about_itself() {
    let mut world = world();
    world.configure(|c| {
        c.dev_mode = true;
        c.node_meta.insert("rack".into(), "r7".into());
    });
    let own = world.get("/v1/agent/self").json();
    assert_eq!(
        own["Config"],
        serde_json::json!({"Datacenter": "dc1", "NodeName": "n1", "NodeID": "40e4a748-2192-161a-0510-9bf59fe950b5",
            "Revision": "", "Server": true, "SessionTTLMin": 10_000_000_000_u64, "Version": "1.21.4"})
    );
    assert_eq!(own["Meta"], serde_json::json!({"consul-network-segment": "", "rack": "r7"}));
    assert_eq!(own["DebugConfig"]["DNSDomain"], "consul.");
    assert_eq!(own["DebugConfig"]["NodeMeta"], serde_json::json!({"rack": "r7"}));
    assert_eq!(own["Stats"]["consul"]["leader"], "true");
    assert_eq!(own["Coord"]["Vec"].as_array().unwrap().len(), 8);
    assert_eq!(world.get("/v1/agent/members").json()[0], own["Member"]);
    let wan = world.get("/v1/agent/members?wan=1").json();
    assert_eq!((&wan[0]["Name"], &wan[0]["Port"]), (&"n1.dc1".into(), &8302.into()));
    assert_eq!(wan[0]["Tags"].get("wan_join_port"), None);
    assert_eq!(world.get("/v1/agent/members?segment=x").status, 500);
    assert_eq!(world.get("/v1/agent/host").json()["Errors"], serde_json::Value::Null);
    assert_eq!(world.get("/v1/agent/version").json()["HumanVersion"], "1.21.4");
    assert_eq!(world.get("/v1/status/leader").json(), "127.0.0.1:8300");
    assert_eq!(world.get("/v1/status/peers").json(), serde_json::json!(["127.0.0.1:8300"]));
    let got = world.get("/v1/agent/metrics?format=prometheus");
    assert_eq!(got.status, 415);
    world.configure(|c| c.telemetry.prometheus_retention_time = std::time::Duration::from_secs(1));
    let metrics = world.outcome("GET", "/v1/agent/metrics?format=prometheus", &[], b"", false);
    assert!(matches!(metrics, Outcome::Metrics { prometheus: true, pretty: true }));
    let monitor = world.outcome("GET", "/v1/agent/monitor?loglevel=warn&logjson", &[], b"", false);
    assert!(matches!(monitor, Outcome::Monitor { level: "WARN", json: true }));
    let got = world.get("/v1/agent/monitor?loglevel=bogus");
    assert_eq!((got.status, got.body.as_str()), (400, "Bad request: Unknown log level: bogus"));
}

#[test]
fn registrations() {
    let world = world();
    let names = |target: &str, body: &str| match world.agent_request(target, body) {
        AgentRequest::RegisterService { service, replace_existing_checks } => {
            (service.id, service.name, service.namespace, replace_existing_checks)
        }
        other => panic!("{other:?}"),
    };
    let expect = |id: &str, name: &str, ns: &str, replace| (id.to_string(), name.to_string(), ns.to_string(), replace);
    let path = "/v1/agent/service/register";
    assert_eq!(names(path, r#"{"NAME":"web","id":"1","Tags":null} x"#), expect("1", "web", "", false));
    // The lone wrapper of definition files.
    assert_eq!(names(path, r#"{"service":{"name":"web","port":80}}"#), expect("", "web", "", false));
    assert_eq!(
        names(&format!("{path}?replace-existing-checks&ns=Team"), r#"{"Name":"w"}"#),
        expect("", "w", "team", true)
    );
    assert_eq!(names(&format!("{path}?replace-existing-checks=false"), r#"{"Name":"w"}"#), expect("", "w", "", false));
    match world.agent_request("/v1/agent/check/register", r#"{"Name":"mem","TTL":"1h"}"#) {
        AgentRequest::RegisterCheck(check) => assert_eq!((check.name.as_str(), check.ttl.as_secs()), ("mem", 3600)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn registrations_that_are_refused() {
    let mut world = world();
    for (path, body, text) in [
        ("service", "{}", "Missing service name"),
        ("service", "null", "Missing service name"),
        ("service", "", "Request decode failed: "),
        ("service", "[]", "Request decode failed: "),
        ("service", r#"{"Name":5}"#, "Request decode failed: "),
        ("service", r#"{"Name":"web","Bogus":1}"#, "Request decode failed: "),
        ("service", r#"{"service":{"name":"web"},"x":1}"#, "Request decode failed: "),
        ("service", r#"{"Name":"web","Address":"0.0.0.0"}"#, "Invalid service address"),
        ("service", r#"{"Name":"web","Check":{"HTTP":"http://x/"}}"#, "Invalid check: Interval must be > 0"),
        ("check", "{}", "Missing check name"),
        ("check", r#"{"Name":"x"}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        ("check", r#"{"Name":"x","TTL":"5s","Status":"fine"}"#, "Bad check status"),
        ("check", r#"{"Name":"x","TTL":"5s","Unknown":true}"#, "Request decode failed: "),
    ] {
        let got = world.put(&format!("/v1/agent/{path}/register"), body);
        assert_eq!(got.status, 400, "{body}");
        assert!(got.body.starts_with(text), "{body}: {}", got.body);
    }
}

#[test]
fn other_changes() {
    let mut world = world();
    let id = |text: &str| text.to_string();
    for (target, body, request) in [
        ("service/deregister/web", "", AgentRequest::DeregisterService { id: id("web") }),
        ("service/deregister/a/b%2Fc", "", AgentRequest::DeregisterService { id: id("a/b/c") }),
        ("service/deregister", r#"{"ID":"w1","Name":"web"}"#, AgentRequest::DeregisterService { id: id("w1") }),
        ("service/deregister", r#"{"service":{"name":"web"}}"#, AgentRequest::DeregisterService { id: id("web") }),
        ("service/deregister/", r#"{"name":"web"}"#, AgentRequest::DeregisterService { id: id("web") }),
        ("check/deregister/c", "", AgentRequest::DeregisterCheck { id: id("c") }),
        (
            "check/pass/c?note=all+well",
            "",
            AgentRequest::UpdateCheck { id: id("c"), status: Status::Passing, output: id("all well") },
        ),
        ("check/warn/", "", AgentRequest::UpdateCheck { id: id(""), status: Status::Warning, output: id("") }),
        ("check/fail/c", "", AgentRequest::UpdateCheck { id: id("c"), status: Status::Critical, output: id("") }),
        (
            "check/update/c",
            r#"{"status":"warning","OUTPUT":"x"}"#,
            AgentRequest::UpdateCheck { id: id("c"), status: Status::Warning, output: id("x") },
        ),
        (
            "service/maintenance/w1?enable=true&reason=up",
            "",
            AgentRequest::ServiceMaintenance { id: id("w1"), enable: true, reason: id("up") },
        ),
        ("maintenance?enable=0", "", AgentRequest::NodeMaintenance { enable: false, reason: id("") }),
        ("join/10.0.0.1:8301?wan=1", "", AgentRequest::Join { address: id("10.0.0.1:8301"), wan: true }),
        ("force-leave/x?prune", "", AgentRequest::ForceLeave { node: id("x"), prune: true }),
        ("leave", "", AgentRequest::Leave),
        ("reload", "", AgentRequest::Reload),
    ] {
        assert_eq!(world.agent_request(&format!("/v1/agent/{target}"), body), request, "{target}");
    }
    for (target, body, status, text) in [
        ("service/deregister/", "", 500, "ServiceID missing"),
        ("check/deregister/", "", 500, "CheckID missing"),
        ("service/maintenance/w1", "", 400, "Missing value for enable"),
        ("service/maintenance/?enable=true", "", 400, "Missing service ID"),
        ("maintenance?enable=perhaps", "", 400, "Invalid value for enable: \"perhaps\""),
        ("check/update/c", r#"{"Status":"bogus"}"#, 400, "Invalid check status: 'bogus'"),
        ("check/update/c", "null", 400, "Invalid check status: ''"),
        ("check/update/c", r#"{"zz":1}"#, 400, "Request decode failed: json: unknown field \"zz\""),
    ] {
        let got = world.put(&format!("/v1/agent/{target}"), body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{target}");
    }
    let got = world.put("/v1/agent/service/deregister", "");
    assert!(got.status == 400 && got.body.contains("put it in the path"), "{}", got.body);
}

#[test]
fn long_outputs_are_left_to_the_node_to_cut() {
    let world = world();
    let body = format!("{{\"Status\":\"passing\",\"Output\":\"{}\"}}", "y".repeat(5000));
    match world.agent_request("/v1/agent/check/update/c", &body) {
        AgentRequest::UpdateCheck { output, .. } => {
            assert_eq!(output, "y".repeat(5000), "only the node knows what the check keeps");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_by_filter() {
    let mut world = World::default();
    for (filter, found) in [
        ("Name==n1", 1),
        ("Name==other", 0),
        ("Tags.role==consul%20and%20Status==1", 1),
        ("Tags.role==node", 0),
        ("Tags.absent==x", 0),
        ("role%20in%20Tags", 1),
        ("Addr%20matches%20%22%5E127%22", 1),
        ("Port!=8301", 0),
        ("ProtocolCur==2%20and%20DelegateMax==5", 1),
    ] {
        let got = world.get(&format!("/v1/agent/members?filter={filter}"));
        assert_eq!(got.json().as_array().map(Vec::len), Some(found), "{filter}: {}", got.body);
    }
    assert_eq!(world.get("/v1/agent/members?wan=1&filter=Name==n1.dc1").json()[0]["Port"], 8302);
    let got = world.get("/v1/agent/members?filter=Bogus==1");
    assert_eq!(got.status, 500);
    assert!(got.body.starts_with("Failed to create boolean expression evaluator: "), "{}", got.body);
}
