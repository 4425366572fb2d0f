//! Several agents on addresses of loopback, who share their gossip port: one pool over real sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{folder, free_port};

/// Verdicts, lookups and key operations on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
const KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
const OTHER: &str = "4jrA4VQeMnqmqQPZkqbJmdnVJ5CqWVqvqzDMfIXYb+s=";
/// Quicker than `-dev` would be fair to a busy machine.
const GOSSIP: &str = "gossip_lan { gossip_interval = \"50ms\" probe_interval = \"200ms\" probe_timeout = \"150ms\" \
                      suspicion_mult = 2 }\ntelemetry { prometheus_retention_time = \"60s\" disable_hostname = true }";

/// One agent of a pool, killed when dropped.
pub(super) struct Member {
    binary: &'static str,
    name: String,
    args: Vec<String>,
    pub(super) child: Child,
    dir: PathBuf,
    pub(super) http: u16,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ip(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, n).into()
}

/// A port that nobody has on any of the first addresses, UDP or TCP.
pub(super) fn shared_port() -> u16 {
    loop {
        let port = free_port();
        let free = |n| TcpListener::bind((ip(n), port)).is_ok() && UdpSocket::bind((ip(n), port)).is_ok();
        if (1..10).all(free) {
            return port;
        }
    }
}

impl Member {
    /// Agent `n<n>` at 127.0.0.`n`; the first is the server.
    fn start(binary: &'static str, n: u8, port: u16, more: &[&str]) -> Self {
        let ports = ["-server-port", "-serf-wan-port"].map(|flag| format!("{flag}={}", free_port()));
        let server = ["-server", "-bootstrap-expect=1", &ports[0], &ports[1]];
        let more: Vec<&str> = server.into_iter().filter(|_| n == 1).chain(more.iter().copied()).collect();
        Self::launch(binary, n, port, &more)
    }

    /// Agent `n<n>` at 127.0.0.`n`.
    pub(super) fn launch(binary: &'static str, n: u8, port: u16, more: &[&str]) -> Self {
        let dir = folder();
        fs::write(dir.join("conf").join("gossip.hcl"), GOSSIP).unwrap();
        let (http, name) = (free_port(), format!("n{n}"));
        let mut args: Vec<String> = [
            "agent".to_owned(),
            format!("-bind=127.0.0.{n}"),
            format!("-node={name}"),
            format!("-data-dir={}", dir.join("data").display()),
            format!("-config-dir={}", dir.join("conf").display()),
            format!("-http-port={http}"),
            "-dns-port=-1".to_owned(),
            format!("-serf-lan-port={port}"),
            "-retry-interval=1s".to_owned(),
        ]
        .into();
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let child = Self::spawn(binary, &args, &dir);
        Self { binary, name, args, child, dir, http }
    }

    fn spawn(binary: &str, args: &[String], dir: &std::path::Path) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        let (out, err) = (log.try_clone().unwrap(), log);
        Command::new(binary).args(args).stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap()
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn restart(&mut self) {
        self.child = Self::spawn(self.binary, &self.args, &self.dir);
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub(super) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what} did not come at {}; log:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Status and body; status 0 when nobody answers.
    pub(super) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let attempt = || -> std::io::Result<Vec<u8>> {
            let mut s = TcpStream::connect(("127.0.0.1", self.http))?;
            s.set_read_timeout(Some(PATIENCE))?;
            let length = body.len();
            write!(
                s,
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
            let mut all = Vec::new();
            s.read_to_end(&mut all)?;
            Ok(all)
        };
        let all = String::from_utf8_lossy(&attempt().unwrap_or_default()).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else { return (0, String::new()) };
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, body.to_owned())
    }

    /// `n1 1 n2 4 ...` as this agent sees the pool, in order of names.
    fn members(&self) -> String {
        let (_, body) = self.call("GET", "/v1/agent/members", "");
        let mut all: Vec<String> = body
            .split("{\"Name\":\"")
            .skip(1)
            .filter_map(|member| {
                let name = member.split('"').next()?;
                let status = member.split("\"Status\":").nth(1)?.split(',').next()?;
                Some(format!("{name} {status}"))
            })
            .collect();
        all.sort();
        all.join(" ")
    }

    fn sees(&self, expected: &str) {
        self.until(expected, || self.members() == expected);
    }

    fn health(&self, node: &str) -> String {
        let (_, body) = self.call("GET", &format!("/v1/health/node/{node}"), "");
        body.split("\"Status\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("none").to_owned()
    }

    /// The sum of all counters whose line starts so.
    fn counter(&self, name: &str) -> f64 {
        let (_, body) = self.call("GET", "/v1/agent/metrics?format=prometheus", "");
        let lines = body.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn key(&self, method: &str, key: &str) -> (u16, String) {
        self.call(method, "/v1/operator/keyring", &format!("{{\"Key\":\"{key}\"}}"))
    }
}

/// Five sealed agents find each other, one of them by name; one dies and everybody notices; a stranger with another key
/// stays out, so does one of another datacenter; the key is changed while a member restarts.
pub(crate) fn pool(binary: &'static str) {
    let port = shared_port();
    let encrypt = format!("-encrypt={KEY}");
    let by_name = format!("-retry-join=localhost:{port}");
    let one = Member::start(binary, 1, port, &[&encrypt]);
    one.until("a leader", || one.call("GET", "/v1/status/leader", "").1.contains("127.0.0.1"));
    let mut others: Vec<Member> = (2..=5)
        .map(|n| Member::start(binary, n, port, &[&encrypt, if n == 2 { &by_name } else { "-retry-join=127.0.0.1" }]))
        .collect();
    let all = "n1 1 n2 1 n3 1 n4 1 n5 1";
    one.sees(all);
    others.iter().for_each(|member| member.sees(all));
    one.until("n5 in the catalog", || one.health("n5") == "passing");

    // A second agent on the same gossip port.
    let twin = Command::new(binary).args(&one.args).arg(format!("-http-port={}", free_port())).output().unwrap();
    let said = String::from_utf8_lossy(&twin.stderr).into_owned() + &String::from_utf8_lossy(&twin.stdout);
    assert!(twin.status.code() == Some(1) && said.contains("in use"), "{said}");

    others[3].kill();
    let failed = "n1 1 n2 1 n3 1 n4 1 n5 4";
    one.sees(failed);
    others[..3].iter().for_each(|member| member.sees(failed));
    one.until("n5 to be critical", || one.health("n5") == "critical");

    let stranger = Member::start(binary, 6, port, &[&format!("-encrypt={OTHER}"), "-retry-join=127.0.0.1"]);
    let why = "it is encrypted with a key that is not in the keyring here";
    stranger.until("a word about the key", || stranger.log().contains(&format!("the other side refused: {why}")));
    stranger.until("the second try", || stranger.log().matches("joining the LAN pool failed").count() > 1);
    assert_eq!(stranger.members(), "n6 1");
    assert_eq!(one.members(), failed);
    one.until("a word about the stranger", || one.log().contains("refused a connection") && one.log().contains(why));
    drop(stranger);

    // The right key, and the wrong datacenter.
    let more = [encrypt.as_str(), "-retry-join=127.0.0.1", "-datacenter=dc2"];
    let abroad = Member::start(binary, 7, port, &more);
    let why = "member \"n7\" has dc \"dc2\", and the pool here is of dc \"dc1\"";
    for member in [&abroad, &one] {
        member.until("a word about the datacenter", || member.log().replace("\\\"", "\"").contains(why));
    }
    assert_eq!((abroad.members(), one.members()), ("n7 1".to_owned(), failed.to_owned()));
    drop(abroad);

    // The key is changed while n4 is down and comes back with the old one.
    others[2].kill();
    let installed = one.key("POST", OTHER);
    assert!(matches!(installed.0, 200 | 500), "{installed:?}");
    others[2].restart();
    one.sees(failed);
    others[2].sees(failed);
    for (method, key) in [("POST", OTHER), ("PUT", OTHER), ("DELETE", KEY)] {
        one.until(method, || one.key(method, key) == (200, String::new()));
    }
    let (_, list) = one.call("GET", "/v1/operator/keyring", "");
    assert!(list.contains(&format!("\"{OTHER}\":4")) && !list.contains(KEY), "{list}");
    others[1].kill();
    others[1].restart();
    others[1].sees(failed);
    one.sees(failed);
    assert!(others[1].log().contains("is not in the LAN keyring"), "the kept key wins, and that is said");

    // And who leaves is known to have left.
    assert_eq!(others[0].call("PUT", "/v1/agent/leave", "").0, 200);
    let end = Instant::now() + PATIENCE;
    while others[0].child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "still running after leave:\n{}", others[0].log());
        std::thread::sleep(Duration::from_millis(20));
    }
    one.sees("n1 1 n2 3 n3 1 n4 1 n5 4");
    one.until("n2 to go from the catalog", || one.health("n2") == "none");
}

/// Random, mutated and endless things thrown at the gossip ports are counted, and nothing else happens.
pub(crate) fn hostile_gossip(binary: &'static str) {
    let port = shared_port();
    let one = Member::start(binary, 1, port, &[]);
    // Whose packets come to the test: it says that it is at 127.0.0.9.
    let ear = UdpSocket::bind((ip(9), port)).unwrap();
    ear.set_read_timeout(Some(PATIENCE)).unwrap();
    let streams = TcpListener::bind((ip(9), port)).unwrap();
    let two = Member::start(binary, 2, port, &["-retry-join=127.0.0.1", "-advertise=127.0.0.9"]);
    one.until("n2", || one.members().contains("n2"));
    let mut known: Vec<Vec<u8>> = Vec::new();
    let mut buffer = [0; 2048];
    while known.len() < 8 {
        let (len, _) = ear.recv_from(&mut buffer).unwrap();
        known.push(buffer[..len].to_vec());
    }
    std::thread::spawn(move || {
        // Who dials gets nonsense: a length without end, then silence.
        for stream in streams.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(&[0xff, 0xff, 0xff, 0x7f, 1, 2, 3]);
        }
    });

    let before = one.counter("consul_memberlist_dropped");
    let to = SocketAddr::new(ip(1), port);
    let mouth = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..4000_u64 {
        let mut packet = known[next() as usize % known.len()].clone();
        match round % 4 {
            0 => packet = (0..next() % 1400).map(|_| next() as u8).collect(),
            1 => packet.truncate(next() as usize % packet.len()),
            _ => {
                for _ in 0..=next() % 3 {
                    let at = next() as usize % packet.len();
                    packet[at] ^= 1 << (next() % 8);
                }
            }
        }
        let _ = mouth.send_to(&packet, to);
        if round % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    for round in 0..200_u64 {
        let mut stream = TcpStream::connect(to).unwrap();
        let mut frame = known[next() as usize % known.len()].clone();
        let at = next() as usize % frame.len();
        frame[at] ^= 1 << (next() % 8);
        let claimed = match round % 4 {
            0 => u32::MAX,
            1 => 32 << 20,
            2 => 0,
            _ => frame.len() as u32,
        };
        // It may have hung up already.
        let _ = stream.write_all(&claimed.to_le_bytes()).and_then(|()| stream.write_all(&frame));
        if round % 8 == 7 {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(12)));
            let _ = stream.read(&mut buffer);
        }
    }
    one.until("the drops to be counted", || one.counter("consul_memberlist_dropped") > before + 500.0);
    one.until("the streams to be counted", || one.counter("consul_memberlist_tcp_dropped") > 20.0);
    // Without a key, strangers can make members up; they cannot end this one.
    assert!(one.members().split("n1 ").nth(1).is_some_and(|rest| rest.starts_with('1')), "{}", one.members());
    assert_eq!(one.call("PUT", "/v1/kv/still", "here"), (200, "true".to_owned()));
    let fresh = Member::start(binary, 3, port, &["-retry-join=127.0.0.1"]);
    fresh.until("to join all the same", || fresh.members().contains("n1 1"));
    for member in [&one, &two, &fresh] {
        assert!(!member.log().contains("panicked"), "{}", member.log());
    }
}
