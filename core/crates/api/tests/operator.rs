//! `/v1/operator/raft`, `/v1/operator/autopilot`, `/v1/snapshot`

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::World;
use convoke_api::agent_view::{RaftServer, RaftView};
use convoke_api::archive::{ArchiveError, read};
use convoke_api::effect::{AgentRequest, Effect};
use convoke_api::response::Outcome;
use serde_json::json;

fn world() -> World {
    let mut world = World::default();
    let server = |id: &str, node: &str, leader: bool, healthy: bool| RaftServer {
        id: id.into(),
        node: node.into(),
        address: format!("{node}:8300"),
        leader,
        voter: true,
        serf_status: "alive",
        version: "1.21.4".into(),
        last_contact: Duration::from_millis(7),
        last_term: 2,
        last_index: 5,
        healthy,
        stable_since: Duration::from_secs(1_700_000_000),
    };
    let servers =
        vec![server("u1", "n1", true, true), server("u2", "n2", false, true), server("u3", "n3", false, true)];
    world.agent.raft = Some(Arc::new(RaftView { servers, index: 4, term: 2 }));
    world
}

#[test]
fn the_servers() {
    let mut world = world();
    let got = world.get("/v1/operator/raft/configuration").json();
    assert_eq!(got["Index"], 4);
    assert_eq!(
        got["Servers"][0],
        json!({"ID": "u1", "Node": "n1", "Address": "n1:8300", "Leader": true, "ProtocolVersion": "3", "Voter": true})
    );
    for (target, status, text) in [
        (
            "/v1/operator/raft/peer",
            400,
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ),
        ("/v1/operator/raft/peer?id=x&address=y", 400, "Bad request: Must specify only one of ?id or ?address"),
        ("/v1/operator/raft/peer?id=x", 500, "id \"x\" was not found in the Raft configuration"),
        (
            "/v1/operator/raft/peer?address=1.2.3.4:5",
            500,
            "address \"1.2.3.4:5\" was not found in the Raft configuration",
        ),
    ] {
        let got = world.ask("DELETE", target, "");
        assert_eq!((got.status, got.body.as_str()), (status, text));
    }
    for target in ["/v1/operator/raft/peer?id=U2", "/v1/operator/raft/peer?address=n2:8300"] {
        let outcome = world.outcome("DELETE", target, &[], b"", false);
        let Outcome::Effect(Effect::Agent(AgentRequest::RemovePeer { id })) = outcome else { panic!("{outcome:?}") };
        assert_eq!(id, "u2");
    }
    world.agent.raft = None;
    assert_eq!(world.get("/v1/operator/raft/configuration").status, 500);
}

#[test]
fn how_the_servers_are() {
    let mut world = world();
    let got = world.get("/v1/operator/autopilot/health");
    assert_eq!(got.status, 200);
    let got = got.json();
    assert_eq!((&got["Healthy"], &got["FailureTolerance"]), (&json!(true), &json!(1)));
    assert_eq!(
        got["Servers"][1],
        json!({"ID": "u2", "Name": "n2", "Address": "n2:8300", "SerfStatus": "alive", "Version": "1.21.4", "Leader": false,
            "LastContact": "7ms", "LastTerm": 2, "LastIndex": 5, "Healthy": true, "Voter": true,
            "StableSince": "2023-11-14T22:13:20Z"})
    );
    let raft = Arc::make_mut(world.agent.raft.as_mut().unwrap());
    raft.servers[2].healthy = false;
    let got = world.get("/v1/operator/autopilot/health");
    assert_eq!((got.status, &got.json()["FailureTolerance"]), (429, &json!(0)));
}

#[test]
fn settings_of_autopilot() {
    let mut world = world();
    let path = "/v1/operator/autopilot/configuration";
    assert_eq!(
        world.get(path).json(),
        json!({"CleanupDeadServers": true, "LastContactThreshold": "200ms", "MaxTrailingLogs": 250, "MinQuorum": 0,
            "ServerStabilizationTime": "10s", "RedundancyZoneTag": "", "DisableUpgradeMigration": false,
            "UpgradeVersionTag": "", "CreateIndex": 0, "ModifyIndex": 0})
    );
    assert_eq!(world.put(path, r#"{"LastContactThreshold":"500ms","MaxTrailingLogs":100}"#).body, "true");
    let got = world.get(path).json();
    assert_eq!((&got["CleanupDeadServers"], &got["ServerStabilizationTime"]), (&json!(false), &json!("0s")));
    assert_eq!((&got["LastContactThreshold"], &got["ModifyIndex"]), (&json!("500ms"), &json!(11)));
    assert_eq!(world.put(&format!("{path}?cas=1"), "{}").body, "false");
    assert_eq!(world.put(&format!("{path}?cas=11"), "{}").body, "true");
    for (target, body) in [
        (path, r#"{"LastContactThreshold":"x"}"#),
        (path, r#"{"MaxTrailingLogs":-1}"#),
        (path, r#"{"Nonsense":1}"#),
        (path, "{"),
        ("/v1/operator/autopilot/configuration?cas=x", "{}"),
    ] {
        let got = world.put(target, body);
        assert_eq!(got.status, 400, "{body}");
        assert!(got.body.starts_with("Bad request: Error parsing "), "{}", got.body);
    }
}

#[test]
fn a_snapshot_goes_out_and_comes_back_and_who_waited_is_answered() {
    let mut world = world();
    world.put("/v1/kv/a", "before");
    let index = world.get("/v1/kv/a").header("X-Consul-Index").to_string();
    let Outcome::Done(saved) = world.outcome("GET", "/v1/snapshot", &[], b"", false) else { panic!() };
    assert_eq!(saved.status, 200);
    assert_eq!(read(&saved.body).unwrap().0.index, 11);
    world.put("/v1/kv/a", "after");
    world.put("/v1/kv/b", "new");
    let (a, b) = (world.get("/v1/kv/a").header("X-Consul-Index").to_string(), "/v1/kv/b?index=13");
    world.wait(&format!("/v1/kv/a?index={a}"));
    world.wait(b);
    let outcome = world.outcome("PUT", "/v1/snapshot", &[], &saved.body, false);
    let Outcome::Effect(Effect::Propose { command, .. }) = outcome else { panic!("{outcome:?}") };
    world.index += 1;
    world.catalog.apply(world.index, *command);
    // What they know is newer than what there is now: they are told at once, and wait from then on.
    let got = world.get(&format!("/v1/kv/a?index={a}"));
    assert_eq!((&got.json()[0]["Value"], got.header("X-Consul-Index")), (&json!("YmVmb3Jl"), &*index));
    assert_eq!(world.get(b).status, 404);
    world.wait(&format!("/v1/kv/a?index={index}"));

    let no = |bytes: &[u8]| read(bytes).unwrap_err();
    assert_eq!(no(b"junk"), ArchiveError::Foreign);
    assert_eq!(no(&saved.body[..saved.body.len() - 1]), ArchiveError::CutOff);
    assert_eq!(no(&[&saved.body[..], b"x"].concat()), ArchiveError::Damaged);
    let got = world.put("/v1/snapshot", "junk");
    assert_eq!((got.status, got.body.contains("no snapshot")), (500, true), "{}", got.body);
}
