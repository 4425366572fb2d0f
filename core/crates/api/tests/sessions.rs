//! `/v1/session` and locks over `/v1/kv`, as clients that stand on them ask and read.

mod common;

use common::{Got, World};
use convoke_api::effect::Effect;
use convoke_api::response::Outcome;
use convoke_api::session::{not_found, renewed};
use convoke_catalog::Scope;
use serde_json::json;

fn world() -> World {
    let mut world = World::default();
    world.register(
        r#"{"Node":"n1","Address":"127.0.0.1","Service":{"Service":"web"},"Checks":[
            {"CheckID":"serfHealth","Status":"passing"},{"CheckID":"web","ServiceID":"web","Status":"passing"}]}"#,
    );
    world
}

fn create(world: &mut World, body: &str) -> String {
    let got = world.put("/v1/session/create", body);
    assert_eq!(got.status, 200, "{}", got.body);
    got.json()["ID"].as_str().unwrap().to_string()
}

fn info(world: &mut World, id: &str) -> serde_json::Value {
    world.get(&format!("/v1/session/info/{id}")).json()[0].take()
}

#[test]
fn what_a_session_has_when_nothing_is_said() {
    let mut world = world();
    let id = create(&mut world, "");
    assert_eq!(
        info(&mut world, &id),
        json!({"ID": id, "Name": "", "Node": "n1", "LockDelay": 15_000_000_000_u64, "Behavior": "release", "TTL": "",
            "NodeChecks": ["serfHealth"], "ServiceChecks": null, "CreateIndex": 12, "ModifyIndex": 12})
    );
    assert_eq!(info(&mut world, &id.to_uppercase())["ID"], *id);
    for target in ["/v1/session/list", "/v1/session/node/N1"] {
        let got = world.get(target);
        assert_eq!((got.json().as_array().unwrap().len(), got.header("X-Consul-Index")), (1, "12"), "{target}");
    }
    assert_eq!(world.get("/v1/session/node/absent").body, "[]");
    let got = world.put(&format!("/v1/session/destroy/{id}"), "");
    assert_eq!((got.status, got.body.as_str()), (200, "true"));
    let got = world.get(&format!("/v1/session/info/{id}"));
    assert_eq!((got.status, got.body.as_str(), got.header("X-Consul-Index")), (200, "[]", "13"));
}

#[test]
fn patroni_as_it_asks() {
    let mut world = world();
    // Names in lower case, a float with a unit, and no checks at all.
    let body = r#"{"name":"batman-pg1","checks":[],"lockdelay":"0.001s","behavior":"delete","ttl": "15.0s"}"#;
    let id = create(&mut world, body);
    let row = info(&mut world, &id);
    assert_eq!(row["NodeChecks"], json!([]), "not even that of the agent");
    assert_eq!((&row["LockDelay"], &row["TTL"]), (&json!(1_000_000), &json!("15.0s")));
    assert_eq!(world.put(&format!("/v1/kv/service/batman/leader?acquire={id}"), "pg1").body, "true");
    let got = world.get("/v1/kv/service/batman/?recurse=1");
    assert_eq!(got.json()[0]["Session"], *id);
    let other = create(&mut world, body);
    assert_eq!(world.put(&format!("/v1/kv/service/batman/leader?acquire={other}"), "pg2").body, "false");
    let index = world.get("/v1/kv/service/batman/leader").header("X-Consul-Index").to_string();
    world.wait(&format!("/v1/kv/service/batman/leader?index={index}&wait=9.998374s"));
    world.put(&format!("/v1/session/destroy/{id}"), "");
    let got = world.get(&format!("/v1/kv/service/batman/leader?index={index}"));
    assert_eq!(got.status, 404);
    assert!(got.header("X-Consul-Index").parse::<u64>().unwrap() > index.parse().unwrap());
    let got = world.put(&format!("/v1/kv/service/batman/leader?acquire={id}"), "pg1");
    assert_eq!((got.status, got.body), (500, format!("invalid session \"{id}\"")));
    let got = world.put("/v1/session/create", r#"{"ttl":"3s"}"#);
    assert_eq!(got.body, "Invalid Session TTL '3000000000', must be between [10s=24h0m0s]");
    assert_eq!(world.get("/v1/agent/self").json()["Config"]["SessionTTLMin"], 10_000_000_000_u64);
    world.configure(|config| config.session_ttl_min = std::time::Duration::from_secs(5));
    assert_eq!(world.put("/v1/session/create", r#"{"ttl":"5s"}"#).status, 200);
}

#[test]
fn what_it_stands_on() {
    let mut world = world();
    for (body, node_checks, checks, service_checks) in [
        (r#"{"Checks":["serfHealth"]}"#, json!(["serfHealth"]), json!(null), json!(null)),
        (r#"{"Checks":["serfHealth","web"]}"#, json!(["serfHealth"]), json!(["web"]), json!(null)),
        (r#"{"Checks":null}"#, json!(["serfHealth"]), json!(null), json!(null)),
        (r#"{"NodeChecks":[]}"#, json!([]), json!(null), json!(null)),
        (
            r#"{"NodeChecks":["serfHealth"],"ServiceChecks":[{"ID":"web"}]}"#,
            json!(["serfHealth"]),
            json!(null),
            json!([{"ID": "web", "Namespace": ""}]),
        ),
    ] {
        let id = create(&mut world, body);
        let row = info(&mut world, &id);
        let shown = (&row["NodeChecks"], &row["Checks"], &row["ServiceChecks"]);
        assert_eq!(shown, (&node_checks, &checks, &service_checks), "{body}");
    }
}

#[test]
fn what_is_refused() {
    let mut world = world();
    for (body, status, text) in [
        (r#"{"Node":"absent"}"#, 500, "Missing node registration"),
        (r#"{"Node":""}"#, 500, "Must provide Node"),
        (r#"{"Checks":["nosuch"]}"#, 500, "Missing check 'nosuch' registration"),
        (r#"{"ServiceChecks":[{"ID":"no"}]}"#, 500, "Missing check 'no' registration"),
        (r#"{"Behavior":"explode"}"#, 500, "Invalid Behavior setting 'explode'"),
        (r#"{"TTL":"48h"}"#, 500, "Invalid Session TTL '172800000000000', must be between [10s=24h0m0s]"),
        (r#"{"TTL":"-5s"}"#, 500, "Invalid Session TTL '-5000000000', must be between [10s=24h0m0s]"),
        (r#"{"Nonsense":1}"#, 400, "Request decode failed: json: unknown field \"Nonsense\""),
    ] {
        let got = world.put("/v1/session/create", body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{body}");
    }
    for body in [r#"{"TTL":"x"}"#, r#"{"LockDelay":"x"}"#, r#"{"LockDelay":[]}"#, r#"{"ServiceChecks":3}"#, "{", "3"] {
        assert!(world.put("/v1/session/create", body).status >= 400, "{body}");
    }
    let index_error = "failed session lookup: index error: UUID must be 36 characters";
    for (method, target, status, text) in [
        ("GET", "/v1/session/info/", 400, "Missing session"),
        ("GET", "/v1/session/node/", 400, "Missing node name"),
        ("PUT", "/v1/session/destroy/", 400, "Missing session"),
        ("PUT", "/v1/session/renew/", 400, "Missing session"),
        ("GET", "/v1/session/info/x", 500, index_error),
        ("PUT", "/v1/session/destroy/x", 500, index_error),
        ("PUT", "/v1/session/renew/x", 500, index_error),
        ("PUT", "/v1/kv/k?acquire=x", 500, index_error),
        ("PUT", "/v1/kv/k?acquire=", 500, "missing session"),
        ("PUT", "/v1/kv/k?release=", 500, "missing session"),
        ("GET", "/v1/session/list?dc=other", 500, "No path to datacenter"),
        ("PUT", "/v1/session/create?dc=other", 500, "No path to datacenter"),
    ] {
        let got = world.ask(method, target, "");
        assert_eq!((got.status, got.body.as_str()), (status, text), "{target}");
    }
}

#[test]
fn a_lock_delay_may_be_a_number() {
    let mut world = world();
    for (given, nanos) in [("15", 15_000_000_000_u64), ("0.5", 500_000_000), ("1500000", 1_500_000), ("\"0s\"", 0)] {
        let id = create(&mut world, &format!(r#"{{"LockDelay":{given}}}"#));
        assert_eq!(info(&mut world, &id)["LockDelay"], nanos, "{given}");
    }
    assert!(world.put("/v1/session/create", r#"{"LockDelay":1e300}"#).status >= 400);
}

#[test]
fn a_renewal_is_for_the_leader_to_answer() {
    let mut world = world();
    let id = create(&mut world, r#"{"TTL":"10s"}"#);
    let outcome = world.outcome("PUT", &format!("/v1/session/renew/{id}"), &[], b"", false);
    let Outcome::Effect(Effect::Renew { id: asked, pretty, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((&*asked, pretty), (&*id, false));
    let view = world.catalog.view();
    let got = Got::of(renewed(view.session(Scope::default(), &id).unwrap(), false));
    assert_eq!((got.status, &got.json()[0]["TTL"]), (200, &json!("10s")));
    assert_eq!(Got::of(not_found("x")).body, "Session id 'x' not found");
}

#[test]
fn a_namespace_has_sessions_of_its_own() {
    let mut world = world();
    let id = create(&mut world, "");
    assert_eq!(world.get("/v1/session/list?ns=team").body, "[]");
    let theirs = world.put("/v1/session/create?ns=team", "").json()["ID"].as_str().unwrap().to_string();
    let row = world.get("/v1/session/list?ns=team").json();
    assert_eq!((&row[0]["ID"], &row[0]["Namespace"]), (&json!(theirs), &json!("team")));
    let got = world.put(&format!("/v1/kv/k?ns=team&acquire={id}"), "x");
    assert_eq!((got.status, got.body), (500, format!("invalid session \"{id}\"")));
    assert_eq!(world.put(&format!("/v1/kv/k?ns=team&acquire={theirs}"), "x").body, "true");
}

#[test]
fn a_transaction_locks_and_checks_in_one_step() {
    let mut world = world();
    let id = create(&mut world, "");
    let op = |verb: &str, session: &str| json!({"KV": {"Verb": verb, "Key": "k", "Value": "MQ==", "Session": session}});
    let both = |ops: Vec<serde_json::Value>| serde_json::Value::from(ops).to_string();
    let got = world.put("/v1/txn", &both(vec![op("lock", &id), op("check-session", &id)]));
    assert_eq!(got.status, 200, "{}", got.body);
    let result = &got.json()["Results"][0]["KV"];
    assert_eq!((&result["LockIndex"], &result["Session"], &result["Value"]), (&json!(1), &json!(id), &json!(null)));
    let other = create(&mut world, "");
    for (ops, what) in [
        (vec![op("lock", &other)], "failed to lock key \"k\", lock is already held".to_string()),
        (
            vec![op("unlock", &other)],
            "failed to unlock key \"k\", lock isn't held, or is held by another session".into(),
        ),
        (
            vec![op("check-session", &other)],
            format!("failed session check for key \"k\", current session \"{id}\" != \"{other}\""),
        ),
    ] {
        let got = world.put("/v1/txn", &both(ops));
        assert_eq!((got.status, &got.json()["Errors"][0]["What"]), (409, &json!(what)));
    }
    let got = world.put("/v1/txn", &both(vec![op("unlock", &id), op("lock", &other)]));
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(world.get("/v1/kv/k").json()[0]["Session"], *other);
}
