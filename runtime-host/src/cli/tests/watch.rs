//! `watch`: what is asked, what is printed, and when a program is called.

use super::lock::Cluster;
use super::{Agent, TestIo, play, run, scratch, table};
use std::ffi::OsString;
use std::time::{Duration, Instant};

const KEY: &str = r#"[{"LockIndex":0,"Key":"a","Flags":0,"Value":"eA==","CreateIndex":3,"ModifyIndex":3}]"#;
const SHOWN: &str = "{\n    \"CreateIndex\": 3,\n    \"Flags\": 0,\n    \"Key\": \"a\",\n    \"LockIndex\": 0,\n    \
                     \"ModifyIndex\": 3,\n    \"Session\": \"\",\n    \"Value\": \"eA==\"\n}\n";

#[test]
fn without_a_command_it_prints_once() {
    let own = "GET /v1/agent/self";
    table(
        &[
            (own, "{}"),
            ("GET /v1/kv/a", KEY),
            ("GET /v1/kv/dir/?recurse=", "[]"),
            ("GET /v1/catalog/services", r#"{"web":[]}"#),
            ("GET /v1/catalog/nodes", "[]"),
            ("GET /v1/health/service/web?tag=a&tag=b&passing=1", "[]"),
            ("GET /v1/health/checks/web", "[]"),
            ("GET /v1/health/state/any", "[]"),
            ("GET /v1/health/state/critical?filter=x", "[]"),
            ("GET /v1/event/list?name=deploy", r#"[{"ID":"1"}]"#),
        ],
        &[
            (&["watch", "-type=key", "-key=a"], 0, SHOWN, &[own, "GET /v1/kv/a"]),
            (&["watch", "-type=keyprefix", "-prefix=dir/"], 0, "[]\n", &[own, "GET /v1/kv/dir/?recurse="]),
            (&["watch", "-type=services"], 0, "{\n    \"web\": []\n}\n", &[own, "GET /v1/catalog/services"]),
            (&["watch", "-type=nodes"], 0, "[]\n", &[own, "GET /v1/catalog/nodes"]),
            (
                &["watch", "-type=service", "-service=web", "-tag=a", "-tag=b", "-passingonly"],
                0,
                "[]\n",
                &[own, "GET /v1/health/service/web?tag=a&tag=b&passing=1"],
            ),
            (&["watch", "-type=checks", "-service=web"], 0, "[]\n", &[own, "GET /v1/health/checks/web"]),
            (&["watch", "-type=checks"], 0, "[]\n", &[own, "GET /v1/health/state/any"]),
            (
                &["watch", "-type=checks", "-state=critical", "-filter=x"],
                0,
                "[]\n",
                &[own, "GET /v1/health/state/critical?filter=x"],
            ),
            (
                &["watch", "-type=event", "-name=deploy"],
                0,
                "[\n    {\n        \"ID\": \"1\"\n    }\n]\n",
                &[own, "GET /v1/event/list?name=deploy"],
            ),
            (&["watch"], 1, "", &[]),
            (&["watch", "-type=bogus"], 1, "", &[]),
            (&["watch", "-type=key"], 1, "", &[]),
            (&["watch", "-type=service"], 1, "", &[]),
            (&["watch", "-type=checks", "-service=a", "-state=b"], 1, "", &[]),
        ],
    );
    let ran = play(&Agent::default(), &[], "", &["watch", "-type=nodes"]);
    assert!(ran.err.starts_with("Error querying Consul agent: "), "{}", ran.err);
}

#[test]
fn a_command_is_called_for_every_state() {
    let cluster = Cluster::new();
    let folder = scratch("watch");
    let file = folder.join("seen");
    // Ends itself at the third state.
    let script = format!("cat >> {0}; echo $CONSUL_INDEX >> {0}; test $(wc -l < {0}) -lt 6", file.display());
    let argv: Vec<OsString> = ["consul", "watch", "-type=key", "-key=a", &script].iter().map(OsString::from).collect();
    let began = Instant::now();
    let (exit, err) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut io = TestIo::default();
            let exit = run(&argv, &mut io, &|_| None, &cluster);
            (exit, String::from_utf8_lossy(&io.err).into_owned())
        });
        let lines = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
        for (state, want) in [("1", 2), ("2", 4), ("3", 6)] {
            cluster.set("a", state);
            cluster.set("other", state);
            while lines() < want && began.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        watch.join().unwrap()
    });
    assert!(matches!(exit, super::Exit::Code(1)), "{exit:?}");
    assert_eq!(err, "Error executing handler: exit status 1\n");
    let seen = std::fs::read_to_string(&file).unwrap();
    let values: Vec<String> = seen
        .lines()
        .step_by(2)
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["Value"].to_string())
        .collect();
    assert_eq!(values, ["\"MQ==\"", "\"Mg==\"", "\"Mw==\""]);
    assert_eq!(seen.lines().skip(1).step_by(2).collect::<Vec<_>>(), ["2", "4", "6"]);
    std::fs::remove_dir_all(folder).unwrap();
}
