//! `event`, `keyring`, `rtt`.

use super::{Agent, play, table};

#[test]
fn event() {
    const FIRED: &str = r#"{"ID":"b54fe110-7af5-cafc-d1fb-afc8ba432b1c","Name":"deploy","LTime":0}"#;
    const SAID: &str = "Event ID: b54fe110-7af5-cafc-d1fb-afc8ba432b1c\n";
    table(
        &[
            ("PUT /v1/event/fire/deploy", FIRED),
            ("PUT /v1/event/fire/a%20b", FIRED),
            ("PUT /v1/event/fire/deploy?node=%5En1%24&service=web&tag=v1", FIRED),
            ("PUT /v1/event/fire/deploy?dc=dc2", FIRED),
        ],
        &[
            (&["event", "-name=deploy", "body"], 0, SAID, &["PUT /v1/event/fire/deploy body"]),
            (&["event", "-name", "deploy"], 0, SAID, &["PUT /v1/event/fire/deploy"]),
            (&["event", "-name=a b"], 0, SAID, &["PUT /v1/event/fire/a%20b"]),
            (&["event", "-name=deploy", "-datacenter=dc2"], 0, SAID, &["PUT /v1/event/fire/deploy?dc=dc2"]),
            (
                &["event", "-name=deploy", "-tag=v1", "-service=web", "-node=^n1$", "x"],
                0,
                SAID,
                &["PUT /v1/event/fire/deploy?node=%5En1%24&service=web&tag=v1 x"],
            ),
            (&["event"], 1, "", &[]),
            (&["event", "-name="], 1, "", &[]),
            (&["event", "body"], 1, "", &[]),
            (&["event", "-name=deploy", "a", "b"], 1, "", &[]),
            (&["event", "-name=deploy", "-tag=v1"], 1, "", &[]),
            (&["event", "-name=deploy", "-node=("], 1, "", &[]),
            (&["event", "-name=other"], 1, "", &["PUT /v1/event/fire/other"]),
        ],
    );
    let agent = Agent::default().refuse("PUT /v1/event/fire/x", 500, "too large");
    let ran = play(&agent, &[], "", &["event", "-name=x"]);
    assert_eq!(ran.err, "Error firing event: Unexpected response code: 500 (too large)\n");
}

#[test]
fn keyring() {
    let pools = r#"[{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"b+/=":1,"a":2},"PrimaryKeys":{"a":2},"NumNodes":2},
        {"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"a":3},"PrimaryKeys":{"a":1},"NumNodes":3},
        {"WAN":false,"Datacenter":"dc1","Segment":"alpha","Messages":{"c1":"odd"},"Keys":null,"NumNodes":1}]"#;
    let listed = "==> Gathering installed encryption keys...\n\nWAN:\n  a [2/2]\n  b+/= [1/2]\n\ndc1 (LAN):\n  a [3/3]\n\n\
                  dc1 (LAN) [alpha]:\n  ===> c1: odd\n";
    let primary = "==> Gathering installed primary encryption keys...\n\nWAN:\n  a [2/2]\n\ndc1 (LAN):\n  a [1/3]\n\n\
                   dc1 (LAN) [alpha]:\n  ===> c1: odd\n";
    let body = |method: &str| format!("{method} /v1/operator/keyring {{\"Key\":\"b+/=\"}}");
    table(
        &[
            ("GET /v1/operator/keyring", pools),
            ("GET /v1/operator/keyring?relay-factor=3&local-only=true", "[]"),
            ("POST /v1/operator/keyring", ""),
            ("PUT /v1/operator/keyring", ""),
            ("PUT /v1/operator/keyring?relay-factor=0", ""),
            ("DELETE /v1/operator/keyring", ""),
        ],
        &[
            (&["keyring", "-list"], 0, listed, &["GET /v1/operator/keyring"]),
            (&["keyring", "-list-primary"], 0, primary, &["GET /v1/operator/keyring"]),
            (
                &["keyring", "-list", "-relay-factor=3", "-local-only"],
                0,
                "==> Gathering installed encryption keys...\n",
                &["GET /v1/operator/keyring?relay-factor=3&local-only=true"],
            ),
            (&["keyring", "-install=b+/="], 0, "==> Installing new gossip encryption key...\n", &[&body("POST")]),
            (&["keyring", "-use", "b+/="], 0, "==> Changing primary gossip encryption key...\n", &[&body("PUT")]),
            (&["keyring", "-remove=b+/="], 0, "==> Removing gossip encryption key...\n", &[&body("DELETE")]),
            (
                &["keyring", "-relay-factor=0", "-use=b+/="],
                0,
                "==> Changing primary gossip encryption key...\n",
                &[&body("PUT").replace("keyring ", "keyring?relay-factor=0 ")],
            ),
            (&["keyring"], 1, "", &[]),
            (&["keyring", "-list", "-install=x"], 1, "", &[]),
            (&["keyring", "-use=x", "-remove=x"], 1, "", &[]),
            (&["keyring", "-list", "-list-primary"], 1, "", &[]),
            (&["keyring", "-list", "-relay-factor=6"], 1, "", &[]),
            (&["keyring", "-list", "-relay-factor=-1"], 1, "", &[]),
            (&["keyring", "-use=x", "-local-only"], 1, "", &[]),
            (&["keyring", "-list", "x"], 1, "", &[]),
        ],
    );
    // Who refused is named, and the exit code tells.
    let why = "2 errors occurred:\n\t* dc1 (LAN) error: 1/3 nodes reported failure\n\t* c1: no\n\n";
    let agent = Agent::default().refuse("PUT /v1/operator/keyring", 500, why);
    let ran = play(&agent, &[], "", &["keyring", "-use=x"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(1), "==> Changing primary gossip encryption key...\n"));
    assert_eq!(ran.err, format!("error: Unexpected response code: 500 ({})\n", why.trim()));
}

#[test]
fn rtt() {
    let place = |node: &str, segment: &str, east: f64, more: &str| {
        format!(
            r#"{{"Node":"{node}","Segment":"{segment}","Coord":{{"Vec":[{east:?},0,0,0,0,0,0,0],"Error":1.5{more}}}}}"#
        )
    };
    let height = r#","Height":0.00001,"Adjustment":0"#;
    let nodes = [
        place("a", "", 0.001, height),
        place("b", "", 0.00059, r#","Height":0.0002,"Adjustment":-0.00001"#),
        place("c", "alpha", 0.5, height),
        place("b", "alpha", 0.25, height),
    ];
    let nodes = format!("[{}]", nodes.join(","));
    let area = |dc: &str, rows: &str| format!(r#"{{"Datacenter":"{dc}","AreaID":"wan","Coordinates":[{rows}]}}"#);
    let wan =
        format!("[{},{}]", area("dc1", &place("s1", "", 0.0, height)), area("dc-2", &place("s.2", "", 0.0125, height)));
    let own = r#"{"Config":{"NodeName":"s1","Datacenter":"dc1"}}"#;
    let own_b = own.replace("s1", "b");
    let lan = "GET /v1/coordinate/nodes";
    let far = "GET /v1/coordinate/datacenters";
    table(
        &[(lan, &nodes), (far, &wan), ("GET /v1/agent/self", own)],
        &[
            (&["rtt", "a", "b"], 0, "Estimated a <-> b rtt: 0.610 ms (using LAN coordinates)\n", &[lan]),
            (&["rtt", "b", "c"], 0, "Estimated b <-> c rtt: 250.020 ms (using LAN coordinates)\n", &[lan]),
            (&["rtt", "a", "a"], 0, "Estimated a <-> a rtt: 0.020 ms (using LAN coordinates)\n", &[lan]),
            (
                &["rtt", "-wan", "s.2.dc-2", "s1.dc1"],
                0,
                "Estimated s.2.dc-2 <-> s1.dc1 rtt: 12.520 ms (using WAN coordinates)\n",
                &[far],
            ),
            (
                &["rtt", "-wan", "s.2.dc-2"],
                0,
                "Estimated s.2.dc-2 <-> s1.dc1 rtt: 12.520 ms (using WAN coordinates)\n",
                &["GET /v1/agent/self", far],
            ),
            (&["rtt", "a", "c"], 1, "", &[lan]),
            (&["rtt", "a", "absent"], 1, "", &[lan]),
            (&["rtt", "a"], 1, "", &["GET /v1/agent/self", lan]),
            (&["rtt", "-wan", "s1", "s.2.dc-2"], 1, "", &[]),
            (&["rtt", "-wan", "s1.dc1", "s1.dc3"], 1, "", &[far]),
            (&["rtt"], 1, "", &[]),
            (&["rtt", "a", "b", "c"], 1, "", &[]),
        ],
    );
    let agent = Agent::new(&[(lan, &nodes), ("GET /v1/agent/self", &own_b)]);
    let ran = play(&agent, &[], "", &["rtt", "a"]);
    assert_eq!(ran.out, "Estimated a <-> b rtt: 0.610 ms (using LAN coordinates)\n", "{}", ran.err);
    let ran = play(&agent, &[], "", &["rtt", "a", "zz"]);
    assert_eq!(ran.err, "Could not find a coordinate for node \"zz\"\n");
    let odd = Agent::new(&[(lan, r#"[{"Node":"a","Segment":"","Coord":{"Vec":[1,2]}}]"#)]);
    assert!(play(&odd, &[], "", &["rtt", "a", "a"]).err.contains("2 dimensions"));
}
