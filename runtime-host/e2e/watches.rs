//! Watches of the configuration: programs and servers are told what changes, once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{fs, thread};

use super::{Agent, PATIENCE};

/// A server that is told: index and body of each request.
fn listener() -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, tell) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut index, mut line) = (0, String::new(), String::new());
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                let (name, value) = line.split_once(':').unwrap_or((line.trim(), ""));
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "x-consul-index" => value.trim().clone_into(&mut index),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            if told.send((index, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (port, tell)
}

/// A script is called with one line and its index, a server is posted to; a reload starts and ends watches and leaves
/// the others alone.
pub(crate) fn watches(binary: &'static str) {
    let (port, told) = listener();
    let agent = Agent::start(binary, &[]);
    let seen = agent.dir.join("seen");
    let script = |then: &str| {
        format!(
            r#"{{"watches": [{{"type": "service", "service": "postgresql",
                "args": ["/bin/sh", "-c", "echo \"$CONSUL_INDEX $(cat)\" >> {0}{then}"]}}]}}"#,
            seen.display()
        )
    };
    let hook = format!(
        r#"watches = [{{ type = "key", key = "a b", handler_type = "http",
            http_handler_config {{ path = "http://127.0.0.1:{port}/x", header {{ x-who = ["me"] }} }} }}]"#
    );
    agent.write("pg.json", &script(""));
    agent.write("key.hcl", &hook);
    assert!(agent.cli(&["reload"]).status.success());
    let lines = || fs::read_to_string(&seen).unwrap_or_default();
    // The first state, whatever it is; a key that is not there is told to nobody.
    agent.until("the first call", || lines().lines().count() == 1);
    assert!(lines().trim_end().ends_with(" []"), "{}", lines());

    agent.put("/v1/agent/service/register", r#"{"Name": "postgresql", "Port": 5432}"#);
    agent.until("the second call", || lines().lines().count() == 2);
    let line = lines().lines().last().unwrap().to_owned();
    let (index, body) = line.split_once(' ').unwrap();
    assert!(index.parse::<u64>().unwrap() > 0 && body.contains(r#""Port":5432"#), "{line}");

    agent.put("/v1/kv/a%20b", "one");
    let (index, body) = told.recv_timeout(PATIENCE).unwrap();
    assert!(index.parse::<u64>().unwrap() > 0 && body.contains(r#""Key":"a b""#), "{body}");

    // What did not change is not told anew by a reload.
    agent.write("other.json", r#"{"leave_on_terminate": true}"#);
    assert!(agent.cli(&["reload"]).status.success());
    agent.put("/v1/kv/a%20b", "two");
    assert!(told.recv_timeout(PATIENCE).unwrap().1.contains("dHdv"));
    assert_eq!(lines().lines().count(), 2, "{}", lines());

    // One that is gone is not told; one that is new is, and its failure is logged.
    fs::remove_file(agent.dir.join("conf/key.hcl")).unwrap();
    agent.write("pg.json", &script("; echo oh; exit 3"));
    assert!(agent.cli(&["reload"]).status.success());
    agent.until("the failure in the log", || agent.log().contains("exit status 3: oh"));
    agent.put("/v1/kv/a%20b", "three");
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err());

    // A watch that makes no sense is refused with its place, and the others go on.
    agent.write("bad.json", r#"{"watches": [{"type": "kye", "args": ["true"]}]}"#);
    let refused = agent.cli(&["reload"]);
    assert!(!refused.status.success());
    let why = super::text(&refused.stderr);
    assert!(why.contains("bad.json:1") && why.contains("kye"), "{why}");
    let before = lines().lines().count();
    agent.put("/v1/agent/service/register", r#"{"Name": "postgresql", "Port": 5433}"#);
    agent.until("the watch goes on", || lines().lines().count() == before + 1);
}
