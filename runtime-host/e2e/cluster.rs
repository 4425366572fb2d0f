//! Three servers and a client agent as processes: they begin together, lose a leader, stop and come back.

use std::time::{Duration, Instant};

use super::free_port;
use super::gossip::{Member, shared_port};

/// Three servers that expect each other, and a client.
fn start(binary: &'static str) -> Vec<Member> {
    let (lan, rpc) = (shared_port(), shared_port());
    let (rpc, join) = (format!("-server-port={rpc}"), ["-retry-join=127.0.0.1", "-retry-join=127.0.0.2"]);
    let server = |n| {
        let wan = format!("-serf-wan-port={}", free_port());
        let flags = ["-server", "-bootstrap-expect=3", &rpc, &wan, join[0], join[1]];
        Member::launch(binary, n, lan, &flags)
    };
    let mut all: Vec<Member> = (1..=3).map(server).collect();
    all.push(Member::launch(binary, 4, lan, &join));
    all
}

fn leader(of: &Member) -> String {
    of.call("GET", "/v1/status/leader", "").1
}

/// Waits until these know one leader; which of the first three it is.
fn one_leader(all: &[Member], of: &[usize]) -> usize {
    let mut found = None;
    all[of[0]].until("one leader", || {
        let told: Vec<String> = of.iter().map(|at| leader(&all[*at])).collect();
        let at = (0..3).find(|at| told[0].contains(&format!("127.0.0.{}:", at + 1)));
        found = at.filter(|at| of.contains(at) && told.iter().all(|other| *other == told[0]));
        found.is_some()
    });
    found.unwrap()
}

/// Puts a key, and tries again while nobody leads.
fn put(at: &Member, key: &str) {
    at.until("a put", || at.call("PUT", &format!("/v1/kv/{key}"), key).1 == "true");
}

fn has(at: &Member, key: &str) -> bool {
    at.call("GET", &format!("/v1/kv/{key}?raw"), "").1 == key
}

/// Every agent takes changes and answers what every other was told; the client's service is found at all servers.
pub(crate) fn cluster(binary: &'static str) {
    let mut all = start(binary);
    let first = one_leader(&all, &[0, 1, 2]);
    all[3].until("a server to ask", || leader(&all[3]) == leader(&all[first]));
    for (at, member) in all.iter().enumerate() {
        put(member, &format!("of-{at}"));
    }
    for member in &all {
        assert!((0..4).all(|at| has(member, &format!("of-{at}"))), "{}", member.log());
    }
    let body = r#"{"Name":"web","Port":80,"Check":{"TTL":"300s","Status":"passing"}}"#;
    assert_eq!(all[3].call("PUT", "/v1/agent/service/register", body).0, 200);
    for member in &all {
        let found = || member.call("GET", "/v1/health/service/web?passing", "").1.contains("\"Node\":\"n4\"");
        member.until("the client's service", found);
    }
    // A blocking query of the client sleeps at a server, and wakes with the change.
    let (_, body) = all[3].call("GET", "/v1/kv/of-0", "");
    let index: u64 = body.split("\"ModifyIndex\":").nth(1).and_then(|t| t.split('}').next()?.parse().ok()).unwrap();
    let started = Instant::now();
    let woken = std::thread::scope(|scope| {
        let waits = scope.spawn(|| all[3].call("GET", &format!("/v1/kv/of-0?raw&index={index}&wait=20s"), "").1);
        std::thread::sleep(Duration::from_millis(300));
        all[1].call("PUT", "/v1/kv/of-0", "changed");
        waits.join().unwrap()
    });
    assert!(woken == "changed" && started.elapsed() < Duration::from_secs(10), "{woken}");

    // The leader dies without a word: the others go on, and it finds everything when it returns.
    all[first].kill();
    put(&all[3], "without-it");
    let rest: Vec<usize> = (0..3).filter(|at| *at != first).collect();
    let second = one_leader(&all, &rest);
    assert_ne!(first, second);
    all[first].restart();
    all[first].until("its return", || has(&all[first], "without-it"));

    // All of them at once.
    for member in &mut all {
        member.kill();
    }
    for member in &mut all {
        member.restart();
    }
    one_leader(&all, &[0, 1, 2]);
    for key in ["of-1", "of-2", "of-3", "without-it"] {
        all[3].until("what was there", || has(&all[3], key));
    }
    all[3].until("the client's service again", || {
        all[3].call("GET", "/v1/health/service/web", "").1.contains("\"Node\":\"n4\"")
    });
}
