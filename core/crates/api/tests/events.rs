//! `/v1/event/...` and `/v1/operator/keyring`: what is refused, what the node is asked, and what came of it. As recorded
//! from Consul 1.8.7.

mod common;

use std::sync::Arc;

use common::{Got, World};
use convoke_api::agent_view::UserEvent;
use convoke_api::effect::{AgentRequest, Effect};
use convoke_api::event::{ENVELOPE_BYTES, POOL_BYTES, fired};
use convoke_api::response::Outcome;
use convoke_swim::{Key, KeyOp};

const ONE: &str = "b54fe110-7af5-cafc-d1fb-afc8ba432b1c";
const TWO: &str = "11111111-2222-4333-8444-555555555555";

fn event(id: &str, name: &str, payload: &[u8]) -> UserEvent {
    UserEvent { id: id.into(), name: name.into(), payload: payload.into(), ..UserEvent::default() }
}

fn came(world: &mut World, events: &[UserEvent]) {
    world.agent.events = Arc::new(events.iter().cloned().map(Arc::new).collect());
}

#[test]
fn firing() {
    let mut world = World::default();
    let fire = |target: &str, body: &str| match world.agent_request(&format!("/v1/event/fire/{target}"), body) {
        AgentRequest::FireEvent { event, pretty } => (event, pretty),
        other => panic!("{other:?}"),
    };
    let (made, pretty) = fire("deploy", "payload");
    assert_eq!((made.name.as_str(), &made.payload[..], made.time, pretty), ("deploy", &b"payload"[..], 0, false));
    assert_eq!(made.id.len(), 36);
    let (filtered, pretty) = fire("deploy?node=n1&service=consul&tag=x&pretty", "");
    assert!(pretty && filtered.payload.is_empty());
    assert_eq!([&filtered.node_filter, &filtered.service_filter, &filtered.tag_filter], ["n1", "consul", "x"]);

    let got = Got::of(fired(&made, false));
    let shown = format!(
        r#"{{"ID":"{}","Name":"deploy","Payload":"cGF5bG9hZA==","NodeFilter":"","ServiceFilter":"","TagFilter":"","Version":1,"LTime":0}}"#,
        made.id
    );
    assert_eq!((got.status, got.body.as_str(), got.header("Content-Type")), (200, &*shown, "application/json"));
    assert!(Got::of(fired(&filtered, true)).body.contains("    \"Payload\": null,\n    \"NodeFilter\": \"n1\",\n"));

    // The next command in the log gives another id to the same seed.
    world.register(r#"{"Node":"x","Address":"1.1.1.1"}"#);
    match world.agent_request("/v1/event/fire/deploy", "payload") {
        AgentRequest::FireEvent { event, .. } => assert_ne!(event.id, made.id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_refused_of_events() {
    let mut world = World::default();
    for (target, status, text) in [
        ("/v1/event/fire/", 400, "Missing name"),
        ("/v1/event/fire/x?node=((", 500, "Invalid node filter: error parsing regexp: missing closing ): `((`"),
        ("/v1/event/fire/x?service=[", 500, "Invalid service filter: error parsing regexp: missing closing ]: `[`"),
        (
            "/v1/event/fire/x?service=a&tag=*",
            500,
            "Invalid tag filter: error parsing regexp: missing argument to repetition operator: `*`",
        ),
        ("/v1/event/fire/x?tag=a", 500, "Cannot provide tag filter without service filter"),
        ("/v1/event/fire/x?dc=elsewhere", 500, "No path to datacenter"),
    ] {
        let got = world.put(target, "");
        assert_eq!((got.status, got.body.as_str()), (status, text), "{target}");
    }
    let got = world.get("/v1/event/fire/x");
    assert_eq!((got.status, got.body.as_str()), (405, "method GET not allowed"));
    // Name, payload and filters share the room.
    let room = POOL_BYTES - ENVELOPE_BYTES;
    world.agent_request("/v1/event/fire/abcd", &"x".repeat(room - 4));
    for (target, body) in [("abcd", room - 3), ("abcd?node=n", room - 4), ("abcd", 100_000)] {
        let got = world.put(&format!("/v1/event/fire/{target}"), &"x".repeat(body));
        assert_eq!(got.status, 500);
        assert!(got.body.starts_with("user event exceeds configured limit of 512 bytes"), "{}", got.body);
    }
}

#[test]
fn listing() {
    let mut world = World::default();
    let empty = world.get("/v1/event/list");
    assert_eq!((empty.status, empty.body.as_str(), empty.headers.len()), (200, "[]", 2));
    assert_eq!(empty.header("X-Consul-Index"), "1");
    let narrow = UserEvent {
        node_filter: "^n[12]$".into(),
        service_filter: "web".into(),
        tag_filter: "v1".into(),
        time: 7,
        ..event(TWO, "restart", b"")
    };
    came(&mut world, &[event(ONE, "deploy", b"x"), narrow]);
    let ids = |world: &mut World, query: &str| -> Vec<String> {
        let all = world.get(&format!("/v1/event/list?{query}")).json();
        all.as_array().unwrap().iter().map(|event| event["ID"].as_str().unwrap().to_string()).collect()
    };
    for (query, found) in [
        ("", &[ONE, TWO][..]),
        ("name=deploy", &[ONE]),
        ("name=restart", &[TWO]),
        ("name=Deploy", &[]),
        ("node=n2", &[ONE, TWO]),
        ("node=n3", &[ONE]),
        ("service=web&tag=v1", &[ONE, TWO]),
        ("service=db", &[ONE]),
        ("service=web&tag=v2", &[ONE]),
    ] {
        assert_eq!(ids(&mut world, query), found, "{query}");
    }
    assert_eq!(world.get("/v1/event/list").json()[1]["LTime"], 7);
    // The newest of what was asked for makes the index.
    let index = |id: &str| {
        let bits = u128::from_str_radix(&id.replace('-', ""), 16).unwrap();
        ((bits >> 64) as u64 ^ bits as u64).to_string()
    };
    assert_eq!(world.get("/v1/event/list").header("X-Consul-Index"), index(TWO));
    assert_eq!(world.get("/v1/event/list?name=deploy").header("X-Consul-Index"), index(ONE));
    assert_eq!(world.get("/v1/event/list?name=none").header("X-Consul-Index"), "1");
}

#[test]
fn waiting_for_the_next() {
    let mut world = World::default();
    let wait = world.wait("/v1/event/list?index=1&wait=2s");
    assert!(wait.agent && wait.topics.is_empty() && (2000..2126).contains(&wait.max_wait.as_millis()));
    came(&mut world, &[event(ONE, "deploy", b"")]);
    let index = world.get("/v1/event/list").header("X-Consul-Index").to_string();
    assert!(world.wait(&format!("/v1/event/list?index={index}")).agent);
    assert!(world.wait("/v1/event/list?name=other&index=1").agent);
    // Any other index is news, greater or smaller: it is no count.
    for other in ["1", "0", "18446744073709551615"] {
        assert_eq!(world.get(&format!("/v1/event/list?index={other}")).status, 200);
    }
    let last = world.outcome("GET", &format!("/v1/event/list?index={index}"), &[], b"", true);
    assert!(matches!(last, Outcome::Done(response) if response.status == 200));
    came(&mut world, &[event(ONE, "deploy", b""), event(TWO, "deploy", b"")]);
    assert_ne!(world.get(&format!("/v1/event/list?index={index}")).header("X-Consul-Index"), index);
    for (query, text) in [("wait=5", "Invalid wait time"), ("index=a", "Invalid index")] {
        let got = world.get(&format!("/v1/event/list?{query}"));
        assert_eq!((got.status, got.body.as_str()), (400, text));
    }
}

const KEY: &str = "4jrA4VQeMnqmqQPZkqbJmdnVJ5CqWVqvqzDMfIXYb+s=";

#[test]
fn keyring_requests() {
    let world = World::default();
    let key = Key::from_base64(KEY).unwrap();
    let body = format!(r#"{{"Key":"{KEY}"}}"#);
    for (method, target, op, local, pretty) in [
        ("GET", "", KeyOp::List, false, false),
        ("GET", "?local-only=true&relay-factor=5&pretty", KeyOp::List, true, true),
        ("POST", "?relay-factor=0", KeyOp::Install(key), false, false),
        ("PUT", "?local-only=false", KeyOp::Use(key), false, false),
        ("DELETE", "", KeyOp::Remove(key), false, false),
    ] {
        let outcome = world.outcome(method, &format!("/v1/operator/keyring{target}"), &[], body.as_bytes(), false);
        let Outcome::Effect(Effect::Agent(asked)) = outcome else { panic!("{method} {target}: {outcome:?}") };
        assert_eq!(asked, AgentRequest::Keys { op, local, pretty });
    }
}

#[test]
fn what_is_refused_of_keys() {
    let mut world = World::default();
    let range = "Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]";
    let size = "key size must be 16, 24 or 32 bytes";
    let sizes = format!(
        "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* n1.dc1: {size}\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* n1: {size}\n\n"
    );
    let letters = |at: usize| {
        let why = format!("illegal base64 data at input byte {at}");
        format!("2 errors occurred:\n\t* WAN error: {why}\n\t* dc1 (LAN) error: {why}\n\n")
    };
    for (method, query, body, status, text) in [
        ("GET", "?relay-factor=9", "", 400, range),
        ("GET", "?relay-factor=-1", "", 400, range),
        (
            "GET",
            "?relay-factor=x",
            "",
            400,
            "Bad request: Error parsing relay factor: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "GET",
            "?local-only=x",
            "",
            400,
            "Bad request: Error parsing local-only: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "PUT",
            "?local-only=1",
            "{}",
            400,
            "Bad request: Invalid use of local-only: local-only can only be set for list requests",
        ),
        ("POST", "", r#"{"Key":"short"}"#, 500, &letters(4)),
        ("POST", "", r#"{"Key":"ab!d"}"#, 500, &letters(2)),
        ("POST", "", "{}", 500, &sizes),
        ("DELETE", "", r#"{"key":"c2hvcnQ="}"#, 500, &sizes),
        ("POST", "", "", 400, "Request decode failed: EOF"),
        ("POST", "", r#"{"Kex":""}"#, 400, "Request decode failed: json: unknown field \"Kex\""),
    ] {
        let got = world.ask(method, &format!("/v1/operator/keyring{query}"), body);
        assert_eq!((got.status, got.body.as_str()), (status, text), "{method} {query} {body}");
    }
    // Without a pool between datacenters there is only one to speak of.
    world.configure(|config| config.serf_wan = None);
    let got = world.ask("POST", "/v1/operator/keyring", "{}");
    assert!(got.body.starts_with("2 errors occurred:\n\t* dc1 (LAN) error: "), "{}", got.body);
    world.configure(|config| config.server = false);
    let got = world.get("/v1/operator/keyring");
    assert_eq!((got.status, got.body.as_str()), (500, "keyring operations must run against a server node"));
}
