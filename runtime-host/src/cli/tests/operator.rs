//! `operator`, `snapshot`.

use super::lock::Cluster;
use super::{Agent, play, scratch, table};

#[test]
fn raft() {
    let peers = r#"{"Servers":[{"ID":"u-1","Node":"n1","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true},
        {"ID":"u-2","Node":"long-name","Address":"127.0.0.2:8300","Leader":false,"ProtocolVersion":"3","Voter":false}],"Index":0}"#;
    let get = "GET /v1/operator/raft/configuration";
    let remove = "DELETE /v1/operator/raft/peer?address=1.2.3.4%3A5";
    table(
        &[(get, peers), (remove, ""), ("DELETE /v1/operator/raft/peer?id=x", "")],
        &[
            (
                &["operator", "raft", "list-peers"],
                0,
                "Node       ID   Address         State     Voter  RaftProtocol\n\
                 n1         u-1  127.0.0.1:8300  leader    true   3\n\
                 long-name  u-2  127.0.0.2:8300  follower  false  3\n",
                &[get],
            ),
            (
                &["operator", "raft", "remove-peer", "-address=1.2.3.4:5"],
                0,
                "Removed peer with address \"1.2.3.4:5\"\n",
                &[remove],
            ),
            (
                &["operator", "raft", "remove-peer", "-id=x"],
                0,
                "Removed peer with id \"x\"\n",
                &["DELETE /v1/operator/raft/peer?id=x"],
            ),
            (&["operator", "raft", "remove-peer"], 1, "", &[]),
            (&["operator", "raft", "remove-peer", "-id=x", "-address=y"], 1, "", &[]),
            (&["operator", "raft"], 1, "", &[]),
            (&["operator"], 1, "", &[]),
        ],
    );
}

#[test]
fn autopilot() {
    let settings = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,
        "ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"",
        "CreateIndex":3,"ModifyIndex":7}"#;
    let get = "GET /v1/operator/autopilot/configuration";
    let set = "PUT /v1/operator/autopilot/configuration?cas=7";
    let sent = format!(
        "{set} {}",
        r#"{"CleanupDeadServers":false,"LastContactThreshold":"1s","MaxTrailingLogs":99,"MinQuorum":3,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":""}"#
    );
    table(
        &[(get, settings), (set, "true")],
        &[
            (
                &["operator", "autopilot", "get-config"],
                0,
                "CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\nMinQuorum = 0\n\
                 ServerStabilizationTime = 10s\nRedundancyZoneTag = \"\"\nDisableUpgradeMigration = false\n\
                 UpgradeVersionTag = \"\"\n",
                &[get],
            ),
            (
                &[
                    "operator",
                    "autopilot",
                    "set-config",
                    "-cleanup-dead-servers=false",
                    "-max-trailing-logs=99",
                    "-min-quorum=3",
                    "-last-contact-threshold=1s",
                ],
                0,
                "Configuration updated!\n",
                &[get, &sent],
            ),
            (&["operator", "autopilot", "set-config", "-last-contact-threshold=x"], 1, "", &[get]),
        ],
    );
    let agent = Agent::new(&[(get, settings), (set, "false")]);
    let ran = play(&agent, &[], "", &["operator", "autopilot", "set-config"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""), "somebody else was quicker");
}

#[test]
fn a_snapshot_brings_back_what_was_saved_and_a_damaged_one_is_refused() {
    let cluster = Cluster::new();
    let folder = scratch("snapshot");
    let file = folder.join("s.snap");
    let file = file.to_str().unwrap();
    let run = |words: &[&str]| cluster.play(words);
    cluster.set("a", "before");
    let ran = run(&["snapshot", "save", file]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(0), "Saved and verified snapshot to index 2\n"), "{}", ran.err);
    let ran = run(&["snapshot", "inspect", file]);
    assert_eq!(ran.code(), Some(0), "{}", ran.err);
    assert!(ran.out.contains("Index       2\n") && ran.out.contains("Keys        1\n"), "{}", ran.out);
    cluster.set("a", "after");
    cluster.set("b", "new");
    let ran = run(&["snapshot", "restore", file]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(0), "Restored snapshot\n"), "{}", ran.err);
    assert_eq!((cluster.value("a"), cluster.value("b")), (Some("before".into()), None));

    let whole = std::fs::read(file).unwrap();
    for at in [0, 5, 13, 20, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(file, &damaged).unwrap();
        for command in ["restore", "inspect"] {
            let ran = run(&["snapshot", command, file]);
            assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""), "{command}, byte {at}");
        }
        std::fs::write(file, &whole[..at]).unwrap();
        assert_eq!(run(&["snapshot", "restore", file]).code(), Some(1), "cut at {at}");
    }
    assert_eq!(cluster.value("a"), Some("before".into()));
    for words in [&["snapshot", "save"][..], &["snapshot", "restore", "/no/such/file"], &["snapshot", "save", "a", "b"]]
    {
        let ran = run(words);
        assert_eq!(ran.code(), Some(1), "{words:?}");
        assert!(!ran.err.is_empty());
    }
    std::fs::remove_dir_all(folder).unwrap();
}
