//! Command lines from end to end: what is printed, the exit code, and what the agent is asked.

use super::transport::{Address, CallHead, CallRequest, Transport};
use super::{AgentFlags, Exit, Io, commands, run};
use convoke_config::flags::Flags;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

#[derive(Default)]
struct TestIo {
    out: Vec<u8>,
    err: Vec<u8>,
    stdin: io::Cursor<Vec<u8>>,
}

impl Io for TestIo {
    fn stdout(&mut self) -> &mut dyn Write {
        &mut self.out
    }
    fn stderr(&mut self) -> &mut dyn Write {
        &mut self.err
    }
    fn stdin(&mut self) -> &mut dyn Read {
        &mut self.stdin
    }
    fn entropy(&mut self, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(1);
        Ok(())
    }
}

/// An agent that gives the answers it was told to, in any order, and keeps what it was asked.
#[derive(Default)]
struct Agent {
    answers: BTreeMap<String, (u16, String)>,
    asked: RefCell<Vec<CallRequest>>,
}

impl Agent {
    /// `GET /v1/x?y` to its answer, status 200.
    fn new(answers: &[(&str, &str)]) -> Self {
        let answers = answers.iter().map(|(to, body)| ((*to).to_owned(), (200, (*body).to_owned()))).collect();
        Self { answers, asked: RefCell::default() }
    }

    fn refuse(mut self, to: &str, status: u16, body: &str) -> Self {
        self.answers.insert(to.to_owned(), (status, body.to_owned()));
        self
    }

    fn asked(&self) -> Vec<String> {
        let line = |request: &CallRequest| {
            let body = String::from_utf8_lossy(&request.body);
            format!("{} {} {body}", request.method, request.target()).trim_end().to_owned()
        };
        self.asked.borrow().iter().map(line).collect()
    }
}

impl Transport for Agent {
    fn stream(
        &self,
        request: &CallRequest,
        piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        self.asked.borrow_mut().push(request.clone());
        let to = format!("{} {}", request.method, request.target());
        let Some((status, body)) = self.answers.get(&to) else {
            return Err("dial tcp: connect: connection refused".to_owned());
        };
        let _ = piece(&CallHead { status: *status, headers: Vec::new() }, body.as_bytes());
        Ok(())
    }
}

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    fn code(&self) -> Option<i32> {
        match self.exit {
            Exit::Code(code) => Some(code),
            Exit::Agent(_) => None,
        }
    }
}

fn play(agent: &Agent, env: &[(&str, &str)], stdin: &str, words: &[&str]) -> Ran {
    let argv: Vec<OsString> = ["/usr/bin/consul"].iter().chain(words).map(OsString::from).collect();
    let mut io = TestIo { stdin: io::Cursor::new(stdin.into()), ..TestIo::default() };
    let read = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let exit = run(&argv, &mut io, &read, agent);
    Ran { exit, out: String::from_utf8_lossy(&io.out).into_owned(), err: String::from_utf8_lossy(&io.err).into_owned() }
}

/// A command line, and what is expected of it.
type Case<'a> = (&'a [&'a str], i32, &'a str, &'a [&'a str]);

/// Plays every case against the same answers. A failure must say something, but not on standard output.
fn table(answers: &[(&str, &str)], cases: &[Case<'_>]) {
    for (words, code, out, asked) in cases {
        let agent = Agent::new(answers);
        let ran = play(&agent, &[], "from stdin", words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(*code), *out), "{words:?}: {}", ran.err);
        assert_eq!(agent.asked(), *asked, "{words:?}");
        if *code == 1 || *code == 127 {
            assert!(!ran.err.trim().is_empty(), "{words:?} fails in silence");
        }
    }
}

fn started(words: &[&str]) -> AgentFlags {
    let ran = play(&Agent::default(), &[], "", words);
    match ran.exit {
        Exit::Agent(flags) => *flags,
        Exit::Code(code) => panic!("{words:?} exits with {code}: {}", ran.err),
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("convoke-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

#[test]
fn nothing_help_and_unknown() {
    for (words, code, on_out) in [
        (&[][..], 127, false),
        (&["-h"], 0, true),
        (&["help"], 0, true),
        (&["help", "kv", "get"], 0, true),
        (&["kv", "get", "x", "-help"], 0, true),
        (&["kv", "-h"], 0, true),
        (&["event", "-h"], 0, true),
        (&["agent", "--help"], 0, true),
        (&["kv"], 1, false),
        (&["kv", "bogus"], 1, false),
        (&["catalog", "bogus"], 1, false),
        (&["services"], 1, false),
        (&["nosuchcommand"], 127, false),
        (&["nosuchcommand", "-h"], 127, false),
        (&["-http-addr=x", "members"], 127, false),
        (&["--version"], 0, true),
        (&["-v"], 0, true),
    ] {
        let ran = play(&Agent::default(), &[], "", words);
        assert_eq!(ran.code(), Some(code), "{words:?}");
        assert_eq!((ran.out.is_empty(), ran.err.is_empty()), (!on_out, on_out), "{words:?}");
    }
}

#[test]
fn help_names_every_command_and_flag() {
    let overview = play(&Agent::default(), &[], "", &["-h"]).out;
    for entry in commands() {
        let words: Vec<&str> = entry.name.split(' ').chain(["-h"]).collect();
        let ran = play(&Agent::default(), &[], "", &words);
        assert_eq!(ran.code(), Some(0), "{words:?}");
        assert!(ran.out.starts_with(&format!("Usage: consul {}", entry.name)), "{}", ran.out);
        for arg in (entry.flags)() {
            let name = arg.get_long().unwrap_or_default();
            assert!(ran.out.contains(&format!("  -{name}")), "{words:?} does not mention -{name}");
        }
        let first = entry.name.split(' ').next().unwrap_or_default();
        assert!(overview.contains(&format!("    {first} ")), "{first} is missing in the overview");
    }
    assert!(play(&Agent::default(), &[], "", &["kv", "-h"]).out.contains("kv import"));
}

#[test]
fn version_and_keygen() {
    let ran = play(&Agent::default(), &[], "", &["version"]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(ran.out.lines().next(), Some(format!("Consul v{version}").as_str()));
    let ran = play(&Agent::default(), &[], "", &["version", "-format=json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["Version"], version);
    assert_eq!(play(&Agent::default(), &[], "", &["version", "-format=xml"]).code(), Some(1));
    let ran = play(&Agent::default(), &[], "", &["keygen"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(0), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"));
}

#[test]
fn commands_that_come_later_say_so() {
    for words in [&["event", "-name=x"][..], &["watch", "-type=key"], &["services", "export"], &["tls", "ca", "create"]]
    {
        let ran = play(&Agent::default(), &[], "", words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""), "{words:?}");
        assert!(ran.err.contains("later"), "{}", ran.err);
    }
}

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

#[test]
fn kv_get() {
    let one = r#"[{"LockIndex":0,"Key":"dir/e","Flags":9,"Value":"eA==","CreateIndex":20,"ModifyIndex":21}]"#;
    let two = r#"[{"Key":"dir/b","Flags":0,"Value":"dHdvIHdvcmRz","CreateIndex":1,"ModifyIndex":2,"LockIndex":0},
        {"Key":"dir/e","Flags":9,"Value":null,"CreateIndex":3,"ModifyIndex":4,"LockIndex":5,"Session":"s"}]"#;
    let shown = "CreateIndex      20\nFlags            9\nKey              dir/e\nLockIndex        0\n\
                 ModifyIndex      21\nSession          -\nValue            x\n";
    table(
        &[
            ("GET /v1/kv/dir/e", one),
            ("GET /v1/kv/dir/?recurse=", two),
            ("GET /v1/kv/?recurse=", two),
            ("GET /v1/kv/dir/?keys=&separator=%2F", r#"["dir/b","dir/e"]"#),
            ("GET /v1/kv/?keys=&separator=", r#"["a"]"#),
        ],
        &[
            (&["kv", "get", "dir/e"], 0, "x\n", &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "/dir/e"], 0, "x\n", &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "-base64", "dir/e"], 0, "eA==\n", &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "-detailed", "dir/e"], 0, shown, &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "-recurse", "dir/"], 0, "dir/b:two words\ndir/e:\n", &["GET /v1/kv/dir/?recurse="]),
            (&["kv", "get", "-recurse", ""], 0, "dir/b:two words\ndir/e:\n", &["GET /v1/kv/?recurse="]),
            (&["kv", "get", "-keys", "dir/"], 0, "dir/b\ndir/e\n", &["GET /v1/kv/dir/?keys=&separator=%2F"]),
            (&["kv", "get", "-keys", "-separator=", ""], 0, "a\n", &["GET /v1/kv/?keys=&separator="]),
            (&["kv", "get"], 1, "", &[]),
            (&["kv", "get", "/"], 1, "", &[]),
            (&["kv", "get", "a", "b"], 1, "", &[]),
        ],
    );
    let none =
        Agent::default().refuse("GET /v1/kv/absent", 404, "").refuse("GET /v1/kv/x?keys=&separator=%2F", 404, "");
    let ran = play(&none, &[], "", &["kv", "get", "absent"]);
    assert_eq!((ran.code(), ran.err.as_str()), (Some(1), "Error! No key exists at: absent\n"));
    assert_eq!(play(&none, &[], "", &["kv", "get", "-keys", "x"]).code(), Some(0));
}

#[test]
fn kv_put_and_delete() {
    let file = scratch("kv").join("val");
    std::fs::write(&file, "file value").expect("writes");
    let at_file = format!("@{}", file.display());
    let no_file = format!("@{}x", file.display());
    let put = |target: &str| format!("PUT /v1/kv/{target}");
    table(
        &[
            (&put("a"), "true"),
            (&put("f?flags=9"), "true"),
            (&put("l?acquire=s"), "true"),
            (&put("l?release=s"), "false"),
            (&put("c?cas=1"), "false\n"),
            (&put("c?cas=0"), "true"),
            ("DELETE /v1/kv/a", "true"),
            ("DELETE /v1/kv/dir/?recurse=", "true"),
            ("DELETE /v1/kv/a?cas=7", "false"),
        ],
        &[
            (&["kv", "put", "a", "1"], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a 1"]),
            (&["kv", "put", "/a"], 1, "", &[]),
            (&["kv", "put", "a", &at_file], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a file value"]),
            (&["kv", "put", "a", "-"], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a from stdin"]),
            (&["kv", "put", "a", "-cas"], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a -cas"]),
            (&["kv", "put", "-base64", "a", "aGVs\nbG8="], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a hello"]),
            (&["kv", "put", "-flags=9", "f", "x"], 0, "Success! Data written to: f\n", &["PUT /v1/kv/f?flags=9 x"]),
            (&["kv", "put", "-cas", "-modify-index=1", "c", "n"], 1, "", &["PUT /v1/kv/c?cas=1 n"]),
            (&["kv", "put", "-cas", "c", "y"], 0, "Success! Data written to: c\n", &["PUT /v1/kv/c?cas=0 y"]),
            (
                &["kv", "put", "-acquire", "-session=s", "l"],
                0,
                "Success! Lock acquired on: l\n",
                &["PUT /v1/kv/l?acquire=s"],
            ),
            (&["kv", "put", "-release", "-session=s", "l"], 1, "", &["PUT /v1/kv/l?release=s"]),
            (&["kv", "put", "-release", "l"], 1, "", &[]),
            (&["kv", "put", "-release", "-acquire", "-session=s", "l"], 1, "", &[]),
            (&["kv", "put", "-base64", "a", "!"], 1, "", &[]),
            (&["kv", "put", "a", &no_file], 1, "", &[]),
            (&["kv", "put"], 1, "", &[]),
            (&["kv", "put", "a", "b", "c"], 1, "", &[]),
            (&["kv", "delete", "a"], 0, "Success! Deleted key: a\n", &["DELETE /v1/kv/a"]),
            (
                &["kv", "delete", "-recurse", "dir/"],
                0,
                "Success! Deleted keys with prefix: dir/\n",
                &["DELETE /v1/kv/dir/?recurse="],
            ),
            (&["kv", "delete", "-cas", "-modify-index=7", "a"], 1, "", &["DELETE /v1/kv/a?cas=7"]),
            (&["kv", "delete", "-cas", "a"], 1, "", &[]),
            (&["kv", "delete", "-modify-index=7", "a"], 1, "", &[]),
            (&["kv", "delete", "-cas", "-recurse", "-modify-index=7", "a"], 1, "", &[]),
            (&["kv", "delete"], 1, "", &[]),
        ],
    );
}

#[test]
fn kv_export_and_import() {
    let stored = r#"[{"Key":"dir/b","Flags":3,"Value":"dHdv","CreateIndex":1,"ModifyIndex":2,"LockIndex":0},
        {"Key":"dir/\"c","Flags":0,"Value":null}]"#;
    let printed = "[\n\t{\n\t\t\"key\": \"dir/b\",\n\t\t\"flags\": 3,\n\t\t\"value\": \"dHdv\"\n\t},\n\
                   \t{\n\t\t\"key\": \"dir/\\\"c\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n";
    table(
        &[
            ("GET /v1/kv/dir/?recurse=", stored),
            ("PUT /v1/kv/dir/b?flags=3", "true"),
            ("PUT /v1/kv/dir/%22c", "true"),
            ("PUT /v1/kv/p/dir/b?flags=3", "true"),
            ("PUT /v1/kv/p/dir/%22c", "true"),
        ],
        &[
            (&["kv", "export", "dir/"], 0, printed, &["GET /v1/kv/dir/?recurse="]),
            (
                &["kv", "import", printed],
                0,
                "Imported: dir/b\nImported: dir/\"c\n",
                &["PUT /v1/kv/dir/b?flags=3 two", "PUT /v1/kv/dir/%22c"],
            ),
            (
                &["kv", "import", "-prefix=p/", printed],
                0,
                "Imported: p/dir/b\nImported: p/dir/\"c\n",
                &["PUT /v1/kv/p/dir/b?flags=3 two", "PUT /v1/kv/p/dir/%22c"],
            ),
            (&["kv", "import", "-"], 1, "", &[]),
            (&["kv", "import"], 1, "", &[]),
        ],
    );
    let empty = Agent::default().refuse("GET /v1/kv/?recurse=", 404, "");
    assert_eq!(play(&empty, &[], "", &["kv", "export"]).out, "[]\n");
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
fn validate() {
    let folder = scratch("validate");
    std::fs::create_dir_all(folder.join("good")).expect("a folder");
    std::fs::create_dir_all(folder.join("empty")).expect("a folder");
    for (name, text) in [
        ("good/a.hcl", "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\nserver = true\nbootstrap = true\n"),
        ("good/b.json", r#"{"service":{"name":"web","port":80}}"#),
        ("good/readme.txt", "no"),
        ("bad-syntax.hcl", "data_dir = \n"),
        ("bad-key.json", r#"{"data_dir":"/tmp/x","bind_addr":"127.0.0.1","bogus_key":1}"#),
        (
            "script.hcl",
            "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\nservice {\n name = \"web\"\n check {\n args = [\"true\"]\n interval = \"10s\"\n }\n}\n",
        ),
        ("noext", "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\n"),
    ] {
        std::fs::write(folder.join(name), text).expect("writes");
    }
    let play = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| word.replace("DIR", &folder.display().to_string())).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        play(&Agent::default(), &[], "", &words)
    };
    for (words, code, out) in [
        (&["validate", "DIR/good"][..], 0, "Configuration is valid!\n"),
        (&["validate", "DIR/good/a.hcl", "DIR/good/b.json"], 0, "Configuration is valid!\n"),
        (&["validate", "-quiet", "DIR/good"], 0, ""),
        (&["validate", "DIR/script.hcl"], 0, "Configuration is valid!\n"),
        (&["validate", "-config-format=hcl", "DIR/noext"], 0, "Configuration is valid!\n"),
        (&["validate", "-config-format=xml", "DIR/noext"], 1, ""),
        (&["validate", "DIR/noext"], 1, ""),
        (&["validate", "DIR/bad-syntax.hcl"], 1, ""),
        (&["validate", "DIR/bad-key.json"], 1, ""),
        (&["validate", "DIR/good/b.json"], 1, ""),
        (&["validate", "DIR/empty"], 1, ""),
        (&["validate", "DIR/absent"], 1, ""),
        (&["validate"], 1, ""),
    ] {
        let ran = play(words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(code), out), "{words:?}: {}", ran.err);
        assert!(code == 0 || !ran.err.trim().is_empty(), "{words:?} fails in silence");
    }
    let loud = play(&["validate", "DIR/script.hcl"]).err;
    assert!(loud.contains("Scripts are disabled") && loud.contains("enable_local_script_checks"), "{loud}");
    let named = play(&["validate", "DIR/bad-key.json"]).err;
    assert!(named.contains("bad-key.json") && named.contains("bogus_key"), "{named}");
}

#[test]
fn where_and_how_to_ask() {
    let folder = scratch("options");
    let token = folder.join("token");
    std::fs::write(&token, " from-file \n").expect("writes");
    let token = token.display().to_string();
    let ask = |env: &[(&str, &str)], words: &[&str]| {
        let agent = Agent::default();
        let words: Vec<&str> = ["info"].iter().chain(words).copied().collect();
        let ran = play(&agent, env, "", &words);
        let asked = agent.asked.borrow().first().cloned();
        asked.ok_or(ran.err)
    };
    let tcp =
        |tls, host: &str, port, prefix: &str| Address::Tcp { tls, host: host.into(), port, prefix: prefix.into() };

    let plain = ask(&[], &[]).expect("asks");
    assert_eq!(plain.base, tcp(false, "127.0.0.1", 8500, ""));
    assert!(plain.headers.is_empty() && plain.tls.verify && plain.query.is_empty());

    for (env, words, want) in [
        (&[("CONSUL_HTTP_ADDR", "h:1")][..], &[][..], tcp(false, "h", 1, "")),
        (&[("CONSUL_HTTP_ADDR", "h:1")], &["-http-addr=g:2"], tcp(false, "g", 2, "")),
        (&[("CONSUL_HTTP_ADDR", "h:1"), ("CONSUL_HTTP_SSL", "true")], &[], tcp(true, "h", 1, "")),
        (&[("CONSUL_HTTP_ADDR", "http://h:1"), ("CONSUL_HTTP_SSL", "1")], &[], tcp(false, "h", 1, "")),
        (&[("CONSUL_HTTP_ADDR", "https://h:1/p")], &[], tcp(true, "h", 1, "/p")),
        (&[("CONSUL_HTTP_ADDR", "")], &["-http-addr", "unix:///s"], Address::Unix("/s".into())),
    ] {
        assert_eq!(ask(env, words).map(|asked| asked.base), Ok(want), "{env:?} {words:?}");
    }

    let asked = ask(
        &[
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_AUTH", "user:pass"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
            ("CONSUL_CACERT", "/ca"),
            ("CONSUL_CAPATH", "/cas"),
            ("CONSUL_CLIENT_CERT", "/crt"),
            ("CONSUL_CLIENT_KEY", "/key"),
            ("CONSUL_TLS_SERVER_NAME", "name"),
            ("CONSUL_NAMESPACE", "team"),
        ],
        &["-ca-file=/ca2", "-partition=p", "-datacenter=dc2", "-stale"],
    )
    .expect("asks");
    assert_eq!(asked.headers, [("X-Consul-Token", "t".to_owned()), ("Authorization", "Basic dXNlcjpwYXNz".to_owned())]);
    assert!(!asked.tls.verify);
    assert_eq!(asked.tls.ca_file, Some("/ca2".into()));
    assert_eq!(asked.tls.ca_path, Some("/cas".into()));
    assert_eq!((asked.tls.client_cert, asked.tls.client_key), (Some("/crt".into()), Some("/key".into())));
    assert_eq!(asked.tls.server_name.as_deref(), Some("name"));
    let query: Vec<(&str, &str)> = asked.query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(query, [("dc", "dc2"), ("stale", ""), ("ns", "team"), ("partition", "p")]);

    // The file wins over the token, as in Consul.
    let asked = ask(&[("CONSUL_HTTP_TOKEN_FILE", &token)], &["-token=t"]).expect("asks");
    assert_eq!(asked.headers, [("X-Consul-Token", "from-file".to_owned())]);

    for (env, words) in [
        (&[][..], &["-token-file=/does/not/exist"][..]),
        (&[("CONSUL_HTTP_TOKEN", "a\nb")], &[]),
        (&[("CONSUL_HTTP_SSL", "maybe")], &[]),
        (&[], &["-http-addr=ftp://x"]),
        (&[], &["-http-addr=h:x"]),
    ] {
        let said = ask(env, words).expect_err("nothing is asked");
        assert!(said.starts_with("Error connecting to Consul agent: "), "{said}");
    }
}

#[test]
fn the_agent_command() {
    let set = |pairs: &[(&str, &str)]| {
        let mut flags = Flags::default();
        for (name, value) in pairs {
            flags.set(name, value).expect("a flag");
        }
        flags
    };
    assert_eq!(started(&["agent"]), AgentFlags::default());
    assert_eq!(started(&["agent", "-dev"]), AgentFlags { flags: set(&[("dev", "true")]), ..Default::default() });

    let flags = started(&[
        "agent",
        "-server",
        "-config-dir=/b",
        "-config-file",
        "/a.json",
        "-config-dir",
        "/c",
        "-bootstrap-expect=3",
        "-node=n1",
        "-http-port=-1",
        "-dns-port",
        "8600",
        "-retry-join=a",
        "-retry-join",
        "b",
        "-node-meta=rack:r:7",
        "-node-meta",
        "x:y",
        "-ui",
        "-hcl",
        "ports { grpc = 1 }",
        "-hcl=x = 1",
        "-log-json=false",
        "-dev=false",
        "-config-format=hcl",
        "-encrypt=pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=",
    ]);
    let want = set(&[
        ("server", "true"),
        ("bootstrap-expect", "3"),
        ("node", "n1"),
        ("http-port", "-1"),
        ("dns-port", "8600"),
        ("retry-join", "a"),
        ("retry-join", "b"),
        ("node-meta", "rack:r:7"),
        ("node-meta", "x:y"),
        ("ui", "true"),
        ("log-json", "false"),
        ("dev", "false"),
        ("encrypt", "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="),
    ]);
    assert_eq!(flags.flags, want);
    assert_eq!(flags.paths, [PathBuf::from("/b"), "/a.json".into(), "/c".into()]);
    assert_eq!(flags.hcl, ["ports { grpc = 1 }", "x = 1"]);
    assert_eq!(flags.config_format, Some(convoke_config::Format::Hcl));

    for words in [
        &["agent", "-dev", "-nosuchflag"][..],
        &["agent", "-dev", "extra"],
        &["agent", "-config-format=xml"],
        &["agent", "-http-port=x"],
        &["agent", "-node-meta=:x"],
        &["agent", "-config-dir"],
    ] {
        let ran = play(&Agent::default(), &[], "", words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""), "{words:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn a_reader_that_went_away_is_a_failure() {
    struct Closed(Vec<u8>, io::Empty);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Io for Closed {
        fn stdout(&mut self) -> &mut dyn Write {
            self
        }
        fn stderr(&mut self) -> &mut dyn Write {
            &mut self.0
        }
        fn stdin(&mut self) -> &mut dyn Read {
            &mut self.1
        }
        fn entropy(&mut self, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }
    }
    let argv = ["convoke".into(), "version".into()];
    let exit = run(&argv, &mut Closed(Vec::new(), io::empty()), &|_| None, &Agent::default());
    assert!(matches!(exit, Exit::Code(1)));
}

/// Any words whatever end with an exit code and never with a panic.
#[test]
fn odd_words_never_panic() {
    let mut words: Vec<OsString> = [
        "",
        "-",
        "--",
        "---",
        "-=",
        "--=",
        "-h",
        "-x",
        "-dev",
        "-dev=",
        "-port=",
        "-port=-",
        "-status=[",
        "@",
        "@/",
        "=",
        "\u{e4}",
        "-flags=0x",
        "-flags=+0x\u{e4}",
        "-modify-index=18446744073709551616",
        "-node-meta==",
        "-meta==",
        "-reason=\0",
        "-http-addr=://",
        "-http-addr=[",
        "-http-addr=[]:",
        "-http-addr=:::",
        "-http-addr=unix://",
        "-token=\u{1}",
        "-name=x",
        "-id=",
        "-port=1",
        "-cas",
        "-recurse",
        "-keys",
        "-enable",
        "-detailed",
        "-format=json",
        "a",
        "/",
    ]
    .iter()
    .map(OsString::from)
    .collect();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt as _;
        words
            .extend([vec![0xff], b"-\xff".to_vec(), b"-name=\xff".to_vec(), b"@\xff".to_vec()].map(OsString::from_vec));
    }
    let names: Vec<&str> = commands().map(|entry| entry.name).chain(["help", "", "bogus"]).collect();
    // A multiplicative generator: the same odd lines every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |below: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..4000 {
        let mut argv = vec![OsString::from("consul")];
        argv.extend(names[pick(names.len())].split(' ').map(OsString::from));
        for _ in 0..pick(5) {
            argv.push(words[pick(words.len())].clone());
        }
        let mut io = TestIo::default();
        let exit = run(&argv, &mut io, &|_| None, &Agent::default());
        if let Exit::Code(code) = exit {
            assert!(matches!(code, 0 | 1 | 2 | 127), "{argv:?}");
            assert!(code == 0 || code == 2 || !io.err.is_empty(), "{argv:?} fails in silence");
        }
    }
    let _ = run(&[], &mut TestIo::default(), &|_| None, &Agent::default());
}

/// What a reload does: the files are read when they are asked for, in the order given, and flags come along.
#[test]
fn sources_of_an_agent() {
    use convoke_config::Source;
    let folder = scratch("sources");
    std::fs::write(folder.join("b.json"), "{}").expect("writes");
    let dir = folder.display().to_string();
    let flags =
        started(&["agent", "-dev", "-hcl=x = 1", "-config-dir", &dir, "-config-file", &format!("{dir}/b.json")]);
    std::fs::write(folder.join("a.hcl"), "y = 2").expect("writes");
    let names: Vec<String> = flags
        .sources()
        .expect("reads")
        .into_iter()
        .map(|source| match source {
            Source::File { name, .. } => name.rsplit('/').next().unwrap_or_default().to_owned(),
            Source::Fragment(text) => text,
            Source::Flags(given) => (given == flags.flags).to_string(),
        })
        .collect();
    assert_eq!(names, ["a.hcl", "b.json", "b.json", "true", "x = 1"]);
    assert!(started(&["agent", "-config-file=/does/not/exist.json"]).sources().is_err());
}
