//! `members`, `join`, `leave`, `force-leave`, `reload`, `info`, `monitor`.

use super::{Agent, play, table};

#[test]
fn members() {
    let server = r#"{"Name":"s1","Addr":"127.0.0.11","Port":8301,"Status":1,
        "Tags":{"role":"consul","build":"1.8.7:abc","vsn":"2","dc":"dc1","segment":""}}"#;
    let client = r#"{"Name":"c1","Addr":"::1","Port":8301,"Status":4,
        "Tags":{"role":"node","build":"1.21.4:","vsn":"2","dc":"dc1","segment":""}}"#;
    let all = format!("[{client},{server}]");
    let head = "Node  Address          Status  Type    Build   Protocol  DC   Segment\n";
    let both = format!(
        "{head}s1    127.0.0.11:8301  alive   server  1.8.7   2         dc1  <all>\n\
         c1    [::1]:8301       failed  client  1.21.4  2         dc1  <default>\n"
    );
    let asked = "GET /v1/agent/members?segment=_all";
    table(
        &[(asked, &all), ("GET /v1/agent/members?segment=_all&wan=1", "[]"), ("GET /v1/agent/members?segment=a", &all)],
        &[
            (&["members"], 0, &both, &[asked]),
            (&["members", "-status", "alive|failed"], 0, &both, &[asked]),
            (&["members", "-segment=a"], 0, &both, &["GET /v1/agent/members?segment=a"]),
            (&["members", "-status=^left$"], 2, "", &[asked]),
            (&["members", "-wan"], 2, "", &["GET /v1/agent/members?segment=_all&wan=1"]),
            (&["members", "-status=("], 1, "", &[]),
            (&["members", "-bogus"], 1, "", &[]),
            (
                &["members", "-detailed", "-status=alive"],
                0,
                "Node  Address          Status  Tags\n\
                 s1    127.0.0.11:8301  alive   build=1.8.7:abc,dc=dc1,role=consul,segment=,vsn=2\n",
                &[asked],
            ),
        ],
    );
}

#[test]
fn the_agent_and_its_cluster() {
    table(
        &[
            ("PUT /v1/agent/reload", ""),
            ("PUT /v1/agent/leave", ""),
            ("PUT /v1/agent/join/127.0.0.11:8301", ""),
            ("PUT /v1/agent/join/10.0.0.1?wan=1", ""),
            ("PUT /v1/agent/force-leave/c1", ""),
            ("PUT /v1/agent/force-leave/c1?prune=1&wan=1", ""),
            ("GET /v1/agent/self", r#"{"Stats":{"b":{"y":"2","x":"1"},"a":{"z":"3"}},"Config":{}}"#),
            ("GET /v1/agent/monitor?loglevel=debug&logjson=true", "one\ntwo\n"),
        ],
        &[
            (&["reload"], 0, "Configuration reload triggered\n", &["PUT /v1/agent/reload"]),
            (&["leave"], 0, "Graceful leave complete\n", &["PUT /v1/agent/leave"]),
            (&["leave", "x"], 1, "", &[]),
            (
                &["join", "127.0.0.11:8301", "absent"],
                0,
                "Successfully joined cluster by contacting 1 nodes.\n",
                &["PUT /v1/agent/join/127.0.0.11:8301", "PUT /v1/agent/join/absent"],
            ),
            (
                &["join", "-wan", "10.0.0.1"],
                0,
                "Successfully joined cluster by contacting 1 nodes.\n",
                &["PUT /v1/agent/join/10.0.0.1?wan=1"],
            ),
            (&["join", "absent"], 1, "", &["PUT /v1/agent/join/absent"]),
            (&["join"], 1, "", &[]),
            (&["force-leave", "c1"], 0, "", &["PUT /v1/agent/force-leave/c1"]),
            (&["force-leave", "-prune", "-wan", "c1"], 0, "", &["PUT /v1/agent/force-leave/c1?prune=1&wan=1"]),
            (&["force-leave"], 1, "", &[]),
            (&["info"], 0, "a:\n\tz = 3\nb:\n\tx = 1\n\ty = 2\n", &["GET /v1/agent/self"]),
            (
                &["monitor", "-log-level=debug", "-log-json"],
                0,
                "one\ntwo\n",
                &["GET /v1/agent/monitor?loglevel=debug&logjson=true"],
            ),
        ],
    );
}

#[test]
fn refusals_are_shown_as_consul_words_them() {
    let agent = Agent::default().refuse("PUT /v1/agent/reload", 500, "web.json:1: broken\n");
    let ran = play(&agent, &[], "", &["reload"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""));
    assert_eq!(ran.err, "Error reloading: Unexpected response code: 500 (web.json:1: broken)\n");

    let agent = Agent::default().refuse("GET /v1/agent/monitor?loglevel=bogus", 400, "Unknown log level: bogus");
    let ran = play(&agent, &[], "", &["monitor", "-log-level=bogus"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""));
    assert_eq!(ran.err, "Error starting monitor: Unexpected response code: 400 (Unknown log level: bogus)\n");

    let ran = play(&Agent::default(), &[], "", &["members"]);
    assert_eq!(ran.code(), Some(1));
    assert_eq!(
        ran.err,
        "Error retrieving members: Get \"http://127.0.0.1:8500/v1/agent/members?segment=_all\": \
         dial tcp: connect: connection refused\n"
    );

    // What the agent says about a reload that went well is a remark.
    let ran = play(&Agent::new(&[("PUT /v1/agent/reload", "node_name needs a restart")]), &[], "", &["reload"]);
    assert_eq!((ran.code(), ran.err.as_str()), (Some(0), "node_name needs a restart\n"));
    // A body that is not what it should be.
    let ran = play(&Agent::new(&[("GET /v1/catalog/datacenters", "{")]), &[], "", &["catalog", "datacenters"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""));
}
