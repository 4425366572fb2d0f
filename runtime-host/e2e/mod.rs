//! The end-to-end tests of both runtimes: a real binary on loopback, spoken to with nothing but std.
//!
//! Included by `runtime-tokio/tests/e2e.rs` and `runtime-smol/tests/e2e.rs`, so that both play the same.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

mod cluster;
mod gossip;
mod watches;

pub(crate) use cluster::cluster;
pub(crate) use gossip::{hostile_gossip, pool};
pub(crate) use watches::watches;

/// Long enough for a busy machine; what it waits for usually takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent under test, killed when dropped.
pub(crate) struct Agent {
    binary: &'static str,
    child: Child,
    dir: PathBuf,
    http: u16,
    dns: u16,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("convoke-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    fs::create_dir_all(dir.join("conf")).unwrap();
    dir
}

impl Agent {
    /// A server with its data on disk and `files` in its configuration folder.
    fn start(binary: &'static str, files: &[(&str, &str)]) -> Self {
        let dir = folder();
        for (name, text) in files {
            fs::write(dir.join("conf").join(name), text).unwrap();
        }
        let (http, dns) = (free_port(), free_port());
        let child = Self::spawn(binary, &dir, http, dns);
        let agent = Self { binary, child, dir, http, dns };
        agent.until("a leader", || agent.get("/v1/status/leader").1.contains("127.0.0.1"));
        agent
    }

    fn spawn(binary: &str, dir: &std::path::Path, http: u16, dns: u16) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        Command::new(binary)
            .args(["agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1", "-node=n1"])
            .arg(format!("-data-dir={}", dir.join("data").display()))
            .arg(format!("-config-dir={}", dir.join("conf").display()))
            .args([format!("-http-port={http}"), format!("-dns-port={dns}")])
            .args(["-server-port", "-serf-lan-port", "-serf-wan-port"].map(|f| format!("{f}={}", free_port())))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(self.binary, &self.dir, self.http, self.dns);
        self.until("a leader again", || self.get("/v1/status/leader").1.contains("127.0.0.1"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what} did not come; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.call("GET", path, "");
        (status, body)
    }

    fn put(&self, path: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.call("PUT", path, body);
        (status, body)
    }

    /// Status, header block and body; status 0 when nobody answers.
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let attempt = || -> std::io::Result<Vec<u8>> {
            let mut s = TcpStream::connect(("127.0.0.1", self.http))?;
            s.set_read_timeout(Some(PATIENCE))?;
            write!(
                s,
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut all = Vec::new();
            s.read_to_end(&mut all)?;
            Ok(all)
        };
        let all = String::from_utf8_lossy(&attempt().unwrap_or_default()).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else { return (0, String::new(), String::new()) };
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, head.to_owned(), body.to_owned())
    }

    /// Answer code and the ports of the SRV answers, in order of port.
    fn srv(&self, name: &str) -> (u8, Vec<u16>) {
        let mut q = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            q.push(u8::try_from(label.len()).unwrap());
            q.extend(label.bytes());
        }
        q.extend([0, 0, 33, 0, 1]);
        let s = UdpSocket::bind("127.0.0.1:0").unwrap();
        s.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut buf = [0; 4096];
        for _ in 0..5 {
            s.send_to(&q, ("127.0.0.1", self.dns)).unwrap();
            if let Ok(n) = s.recv(&mut buf) {
                assert_eq!(&buf[..2], &q[..2], "the answer's id");
                let answers = u16::from_be_bytes([buf[6], buf[7]]);
                let mut at = q.len();
                let mut ports = Vec::new();
                for _ in 0..answers {
                    at = skip_name(&buf[..n], at);
                    let len = usize::from(u16::from_be_bytes([buf[at + 8], buf[at + 9]]));
                    ports.push(u16::from_be_bytes([buf[at + 14], buf[at + 15]]));
                    at += 10 + len;
                }
                ports.sort_unstable();
                return (buf[3] & 15, ports);
            }
        }
        panic!("no DNS answer; log:\n{}", self.log());
    }

    fn cli(&self, args: &[&str]) -> Output {
        Command::new(self.binary)
            .args(args)
            .env("CONSUL_HTTP_ADDR", format!("127.0.0.1:{}", self.http))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join("conf").join(name), text).unwrap();
    }
}

fn skip_name(buf: &[u8], mut at: usize) -> usize {
    loop {
        match buf[at] {
            0 => return at + 1,
            n if n >= 0xc0 => return at + 2,
            n => at += 1 + usize::from(n),
        }
    }
}

fn text(out: &[u8]) -> String {
    String::from_utf8_lossy(out).into_owned()
}

/// Registers by file, CLI and HTTP; finds by HTTP and DNS; deregisters.
pub(crate) fn register_and_discover(binary: &'static str) {
    let a =
        Agent::start(binary, &[("web1.json", r#"{"service":{"id":"web1","name":"web","port":8080,"tags":["v1"]}}"#)]);
    a.until("the file's service in DNS", || a.srv("web.service.consul") == (0, vec![8080]));
    let file = a.dir.join("web2.hcl");
    fs::write(&file, r#"service { id = "web2" name = "web" port = 9080 tags = ["v2"] }"#).unwrap();
    let out = a.cli(&["services", "register", file.to_str().unwrap()]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "Registered service: web\n"));
    a.until("both in DNS", || a.srv("web.service.consul") == (0, vec![8080, 9080]));
    assert_eq!(a.srv("v2.web.service.consul"), (0, vec![9080]));
    assert_eq!(
        a.put("/v1/agent/service/register", r#"{"Name":"db","Port":5432,"Check":{"TTL":"1h"}}"#),
        (200, String::new())
    );
    a.until("the new service's check in the catalog", || a.get("/v1/health/checks/db").1.contains("critical"));
    assert_eq!(a.srv("db.service.consul").0, 3, "a critical instance is hidden");
    assert_eq!(a.put("/v1/agent/check/pass/service:db", "").0, 200);
    a.until("the passing instance in DNS", || a.srv("db.service.consul") == (0, vec![5432]));
    assert_eq!(a.put("/v1/agent/service/deregister/db", "").0, 200);
    a.until("the deregistered service to go", || a.srv("db.service.consul").0 == 3);
}

/// A blocking query wakes for its own service and not for another.
pub(crate) fn blocking_queries(binary: &'static str) {
    let a = Agent::start(binary, &[]);
    let register = |name: &str, port: u16| {
        let body = format!(r#"{{"Node":"x","Address":"10.0.0.1","Service":{{"Service":"{name}","Port":{port}}}}}"#);
        assert_eq!(a.put("/v1/catalog/register", &body), (200, "true".into()));
    };
    register("web", 1);
    let (_, head, _) = a.call("GET", "/v1/health/service/web", "");
    let head = head.to_ascii_lowercase();
    let index = head.split("x-consul-index: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let path = format!("/v1/health/service/web?index={index}&wait=2s");
    std::thread::scope(|s| {
        let started = Instant::now();
        let waiting = s.spawn(|| a.get(&path).1);
        std::thread::sleep(Duration::from_millis(300));
        register("other", 2);
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "woken by another service");
        register("web", 4711);
        assert!(waiting.join().unwrap().contains("4711"));
        assert!(started.elapsed() >= Duration::from_millis(600));
    });
}

/// What was acknowledged is there after `kill -9`.
pub(crate) fn survives_kill(binary: &'static str) {
    let mut a = Agent::start(binary, &[]);
    assert_eq!(a.put("/v1/agent/service/register", r#"{"Name":"kept","Port":7}"#).0, 200);
    assert_eq!(a.put("/v1/agent/check/register", r#"{"Name":"own","TTL":"1h"}"#).0, 200);
    // What was reported of a TTL check survives; its initial status would not.
    assert_eq!(a.put("/v1/agent/check/pass/own", "").0, 200);
    assert_eq!(a.put("/v1/kv/k", "value"), (200, "true".into()));
    a.kill_and_restart();
    assert!(a.get("/v1/agent/services").1.contains("\"kept\""));
    assert!(a.get("/v1/agent/checks").1.contains("\"own\""));
    assert_eq!(a.get("/v1/kv/k?raw"), (200, "value".into()));
    a.until("the service in DNS", || a.srv("kept.service.consul") == (0, vec![7]));
}

/// Reload applies the difference; bad files change nothing and whoever asked is told.
pub(crate) fn reload(binary: &'static str) {
    let a = Agent::start(binary, &[("web.json", r#"{"service":{"name":"web","port":1}}"#)]);
    a.until("the service", || a.srv("web.service.consul") == (0, vec![1]));
    a.write("web.json", r#"{"service":{"name":"web","port":2}}"#);
    let out = a.cli(&["reload"]);
    assert_eq!(text(&out.stdout), "Configuration reload triggered\n");
    a.until("the new port", || a.srv("web.service.consul") == (0, vec![2]));
    a.write("web.json", r#"{"service":{"name":"web","prot":3}}"#);
    let (status, body) = a.put("/v1/agent/reload", "");
    assert_eq!(status, 500);
    assert!(body.contains("prot") && body.contains("web.json"), "{body}");
    let out = a.cli(&["reload"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(a.srv("web.service.consul"), (0, vec![2]), "the old definition stays");
    // A script check that is not allowed is refused loudly, and the old definition stays.
    a.write("web.json", r#"{"service":{"name":"web","port":2,"check":{"args":["true"],"interval":"1s"}}}"#);
    let (status, body) = a.put("/v1/agent/reload", "");
    assert_eq!(status, 500);
    assert!(body.contains("enable_local_script_checks"), "{body}");
}

/// Checks are run by the runtime: a script and an HTTP one go critical and come back.
pub(crate) fn checks_run(binary: &'static str) {
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = web.local_addr().unwrap();
    std::thread::spawn(move || {
        for s in web.incoming() {
            let Ok(mut s) = s else { return };
            let _ = s.read(&mut [0; 2048]);
            let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let a = Agent::start(binary, &[("scripts.hcl", "enable_local_script_checks = true")]);
    let flag = a.dir.join("flag");
    a.write(
        "web.json",
        &format!(
            r#"{{"service":{{"name":"web","port":1,"checks":[
              {{"id":"s","args":["sh","-c","test ! -e {} || exit 2"],"interval":"1s"}},
              {{"id":"h","http":"http://{at}/","interval":"1s"}}]}}}}"#,
            flag.display()
        ),
    );
    assert_eq!(a.put("/v1/agent/reload", ""), (200, String::new()));
    a.until("both to pass", || a.get("/v1/health/checks/web").1.matches("\"passing\"").count() == 2);
    fs::write(&flag, "").unwrap();
    a.until("the script to fail", || a.srv("web.service.consul").0 == 3);
    fs::remove_file(&flag).unwrap();
    a.until("the script to pass again", || a.srv("web.service.consul") == (0, vec![1]));
}

/// Nothing a stranger sends ends the agent.
pub(crate) fn bad_input(binary: &'static str) {
    let a = Agent::start(binary, &[]);
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"GET",
        b"PUT /v1/kv/x HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ] {
        let mut s = TcpStream::connect(("127.0.0.1", a.http)).unwrap();
        s.write_all(bytes).unwrap();
    }
    let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..600 {
        s.send_to(&vec![(n % 251) as u8; n], ("127.0.0.1", a.dns)).unwrap();
    }
    let mut tcp = TcpStream::connect(("127.0.0.1", a.dns)).unwrap();
    tcp.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    for (path, body) in [
        ("/v1/agent/service/register", "{"),
        ("/v1/agent/service/register", "[]"),
        ("/v1/agent/service/register", r#"{"Name":7}"#),
        ("/v1/agent/check/register", r#"{"Name":"x","Interval":"nope"}"#),
        ("/v1/catalog/register", "null"),
    ] {
        let (status, said) = a.put(path, body);
        assert!((400..=500).contains(&status) && !said.is_empty(), "{path} {body}: {status} {said}");
    }
    assert_eq!(a.get("/v1/status/leader").0, 200);
    assert_eq!(a.srv("nosuch.service.consul").0, 3);
}

/// Starting twice on one port, or with a data folder that cannot be, says so and exits 1.
pub(crate) fn clear_start_errors(binary: &'static str) {
    let a = Agent::start(binary, &[]);
    let run = |args: &[String]| Command::new(binary).args(args).stdin(Stdio::null()).output().unwrap();
    let ports = |http: u16| {
        let mut v: Vec<String> =
            ["agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1"].map(String::from).into();
        v.push(format!("-http-port={http}"));
        for f in ["-dns-port", "-server-port", "-serf-lan-port", "-serf-wan-port"] {
            v.push(format!("{f}={}", free_port()));
        }
        v
    };
    let mut args = ports(a.http);
    args.push(format!("-data-dir={}", a.dir.join("other").display()));
    let out = run(&args);
    let said = text(&out.stdout) + &text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains(&a.http.to_string()) && said.contains("port"), "{said}");
    let mut args = ports(free_port());
    args.push("-data-dir=/proc/nowhere".into());
    let out = run(&args);
    let said = text(&out.stdout) + &text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("/proc/nowhere"), "{said}");
    let mut args = ports(free_port());
    args.push(format!("-data-dir={}", a.dir.join("data").display()));
    let said = run(&args);
    let said = text(&said.stdout) + &text(&said.stderr);
    assert!(said.contains("in use by another agent"), "{said}");
    let out = run(&["agent".into(), "-nosuchflag".into()]);
    assert_eq!(out.status.code(), Some(1));
}

/// `leave` answers, then the agent ends with 0.
pub(crate) fn leave(binary: &'static str) {
    let mut a = Agent::start(binary, &[]);
    let out = a.cli(&["leave"]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "Graceful leave complete\n"));
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = a.child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        assert!(Instant::now() < end, "still running after leave:\n{}", a.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}
