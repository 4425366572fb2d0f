//! Agents that find each other, lose each other, and what the catalog says of it.

use super::net::{Net, client, quick};
use super::*;
use convoke_api::agent_view::UserEvent;
use convoke_swim::{Key, KeyOp};

const KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
const OTHER: &str = "4jrA4VQeMnqmqQPZkqbJmdnVJ5CqWVqvqzDMfIXYb+s=";
const PASSING: &str = "passing Agent alive and reachable";
const CRITICAL: &str = "critical Agent not live or unreachable";

/// A server and two clients who joined it.
fn three() -> Net {
    three_with(|config| config)
}

fn three_with(change: fn(Config) -> Config) -> Net {
    let hosts = [("n1", quick(server())), ("c1", client()), ("c2", client())];
    let mut net = Net::new(hosts.map(|(name, config)| (name, change(config))).into());
    net.until("the pool", S(10), |net| (0..3).all(|host| net.members(host) == ["c1 1", "c2 1", "n1 1"]));
    net
}

fn sealed(mut config: Config) -> Config {
    config.encrypt = KEY.to_string();
    config
}

#[test]
fn a_member_is_registered_dies_returns_and_leaves() {
    let mut net = three();
    net.until("c1 in the catalog", S(2), |net| net.health("c1").as_deref() == Some(PASSING));
    let row = net.at(0).view().node("default", "c1").unwrap().clone();
    assert_eq!((&*row.address, row.id.as_deref()), ("10.0.0.2", Some("00000000-0000-0000-0000-000000000001")));
    assert_eq!(net.at(1).ready, 1, "a client is ready when it has joined");
    assert!(net.at(0).view().services_of(Scope::default(), "c1").is_empty(), "it is no server");
    net.pass(S(6));

    net.kill(1);
    net.until("the verdict", S(15), |net| net.health("c1").as_deref() == Some(CRITICAL));
    assert_eq!(net.members(2), ["c1 4", "c2 1", "n1 1"]);
    // It knows where the others were, though its configuration does not.
    net.config(1).retry_join.addresses.clear();
    net.start(1);
    net.until("its return", S(5), |net| net.health("c1").as_deref() == Some(PASSING));
    assert!(net.at(1).lines.iter().any(|(_, line)| line.contains("members of the last run")));

    let id = net.act(1, |world| world.send(Effect::Agent(AgentRequest::Leave)));
    assert!(net.at(1).published.agent.leaving && net.at(1).exit.is_none());
    assert_eq!(net.at(1).published.agent.lan.own().status as u8, 2);
    net.until("the end", S(10), |net| net.at(1).exit == Some(0));
    assert_eq!(net.at(1).replies[&id].status, 200);
    net.until("its row to go", S(5), |net| net.at(0).view().node("default", "c1").is_none());
    assert_eq!(net.members(2), ["c1 3", "c2 1", "n1 1"]);
    net.kill(1);
    net.start(1);
    net.pass(S(5));
    assert_eq!(net.members(1), ["c1 1"], "who left stays away");
    assert_eq!(net.health("n1").as_deref(), Some(PASSING));
}

#[test]
fn a_failed_member_is_removed_by_hand() {
    let mut net = three();
    net.kill(1);
    net.until("the verdict", S(15), |net| net.health("c1").as_deref() == Some(CRITICAL));
    let force = |node: &str, prune| AgentRequest::ForceLeave { node: node.to_string(), prune };
    assert_eq!(net.ask(2, force("c1", false)), ok());
    net.until("its row to go", S(5), |net| net.health("c1").is_none());
    assert_eq!(net.members(0), ["c1 3", "c2 1", "n1 1"]);
    assert_eq!(net.ask(0, force("c1", true)), ok());
    net.until("the others to forget", S(5), |net| net.members(2) == ["c2 1", "n1 1"]);
    let unknown = (500, "agent: No node found with name 'c1'".to_string());
    assert_eq!(net.ask(0, force("c1", false)), unknown);
    net.pass(S(130));
    assert_eq!(net.members(0), ["c2 1", "n1 1"]);
}

#[test]
fn events_reach_whom_they_concern() {
    let mut net = three();
    net.act(1, |world| world.register(ServiceDefinition { tags: vec!["blue".to_string()], ..service("web") }));
    let fire = |node: &str, service: &str, tag: &str| AgentRequest::FireEvent {
        event: UserEvent {
            id: "0a1b2c3d-0000-1111-2222-333344445555".to_string(),
            name: "deploy".to_string(),
            payload: b"v2".to_vec(),
            node_filter: node.to_string(),
            service_filter: service.to_string(),
            tag_filter: tag.to_string(),
            time: 0,
        },
        pretty: false,
    };
    for (request, counts) in
        [(fire("", "", ""), [1, 1, 1]), (fire("^c", "", ""), [1, 2, 2]), (fire("", "web", "blue"), [1, 3, 2])]
    {
        assert_eq!(net.ask(0, request).0, 200);
        net.pass(S(2));
        let seen = [0, 1, 2].map(|host| net.at(host).published.agent.events.len());
        assert_eq!(seen, counts);
    }
    let event = net.at(1).published.agent.events[2].clone();
    assert_eq!((&*event.name, &*event.payload, event.time), ("deploy", &b"v2"[..], 3));
    assert_eq!(net.at(2).published.agent.lan.event_time, 4, "the next one");
    let AgentRequest::FireEvent { mut event, .. } = fire("", "", "") else { unreachable!() };
    event.payload = vec![0; 600];
    let (status, text) = net.ask(0, AgentRequest::FireEvent { event, pretty: false });
    assert!(status == 500 && text.contains("exceeds configured limit of 512 bytes"), "{text}");
}

#[test]
fn keys_are_changed_everywhere_and_kept() {
    let mut net = three_with(sealed);
    let keys = |op| AgentRequest::Keys { op, local: false, pretty: false };
    let other = Key::from_base64(OTHER).unwrap();
    for op in [KeyOp::Install(other), KeyOp::Use(other), KeyOp::Remove(Key::from_base64(KEY).unwrap())] {
        let (status, text) = net.ask(0, keys(op.clone()));
        assert_eq!(status, 200, "{op:?}: {text}");
        net.pass(S(1));
    }
    // All pools, the one between datacenters first; or only that of the datacenter.
    for (local, pools) in [(false, &[(true, 1), (false, 3)][..]), (true, &[(false, 3)])] {
        let (status, text) = net.ask(0, AgentRequest::Keys { op: KeyOp::List, local, pretty: false });
        let shown = |(wan, members): &(bool, usize)| {
            let keys = format!("{{\"{OTHER}\":{members}}}");
            format!(
                "{{\"WAN\":{wan},\"Datacenter\":\"dc1\",\"Segment\":\"\",\"Keys\":{keys},\"PrimaryKeys\":{keys},\"NumNodes\":{members}}}"
            )
        };
        let expected = format!("[{}]", pools.iter().map(shown).collect::<Vec<_>>().join(","));
        assert_eq!((status, text), (200, expected));
    }
    assert_eq!(net.at(0).published.agent.encrypted, [true, true]);
    for host in 0..3 {
        net.kill(host);
        net.start(host);
        let told = net.at(host).warnings.iter().filter(|line| line.contains("not in the LAN keyring")).count();
        assert_eq!(told, 1, "the kept key wins over the configured one, and that is said");
    }
    net.until("the pool again", S(10), |net| (0..3).all(|host| net.members(host) == ["c1 1", "c2 1", "n1 1"]));
}

#[test]
fn a_wrong_key_keeps_out_and_the_log_says_why() {
    let wrong = Config { encrypt: OTHER.to_string(), ..client() };
    let hosts = [("n1", sealed(quick(server()))), ("c1", sealed(client())), ("bad", wrong), ("plain", client())];
    let mut net = Net::new(hosts.into());
    net.pass(S(20));
    assert_eq!(net.members(0), ["c1 1", "n1 1"]);
    assert_eq!(net.members(2), ["bad 1"]);
    assert_eq!(net.members(3), ["plain 1"]);
    for host in [0, 2, 3] {
        let lines = &net.at(host).lines;
        let told = lines
            .iter()
            .any(|(level, line)| *level == Level::Warn && (line.contains("key") || line.contains("encrypt")));
        assert!(told, "{host}: {lines:#?}");
    }
    net.kill(2);
    assert!(!net.at(0).disk.files.contains_key("serf/remote.keyring"), "nobody confirmed that key");
    // A key that nobody shares is not kept: with the right one it joins.
    net.config(2).encrypt = KEY.to_string();
    net.start(2);
    net.until("it to join", S(10), |net| net.members(0) == ["bad 1", "c1 1", "n1 1"]);
}

#[test]
fn names_are_resolved_and_failures_are_told_in_consuls_words() {
    let mut alone = client();
    alone.retry_join.addresses.clear();
    let mut net = Net::new(vec![("n1", quick(server())), ("c1", alone)]);
    let join = |address: &str| AgentRequest::Join { address: address.to_string(), wan: false };
    let failed = |text: &str| (500, format!("1 error occurred:\n\t* {text}\n\n"));
    assert_eq!(net.ask(1, join("10.0.0.9")), failed("Failed to join 10.0.0.9: connection refused"));
    assert_eq!(net.ask(1, join("nowhere")), failed("Failed to resolve nowhere: no such host"));
    assert!(net.ask(1, join("host:x")).1.contains("not a port"));
    net.names.insert("server".to_string(), vec!["10.0.0.9:0".parse().unwrap(), "10.0.0.1:0".parse().unwrap()]);
    assert_eq!(net.ask(1, join("server")), ok(), "one of its addresses is enough");
    assert_eq!(net.ask(1, join("10.0.0.2")), ok(), "itself");
    net.until("the pool", S(5), |net| net.members(0) == ["c1 1", "n1 1"]);
    let wan = AgentRequest::Join { address: "10.0.0.1".to_string(), wan: true };
    assert_eq!(net.ask(1, wan), (500, "Must be a server to join WAN cluster".to_string()));
}

#[test]
fn who_never_gets_in_goes_on_or_ends_as_told() {
    let mut config = client();
    config.retry_join.addresses = vec!["10.0.0.9".to_string(), "provider=aws x=y".to_string()];
    config.retry_join.interval = S(10);
    let mut bounded = config.clone();
    bounded.retry_join.max = 2;
    let mut net = Net::new(vec![("c0", config), ("c1", bounded)]);
    net.pass(S(15));
    assert_eq!((net.at(1).exit, net.at(1).ready), (None, 0));
    net.pass(S(10));
    assert_eq!(net.at(1).exit, Some(1));
    let last = net.at(1).lines.last().unwrap();
    assert!(last.0 == Level::Error && last.1.contains("max join LAN retry exhausted, exiting"), "{last:?}");
    net.kill(1);
    net.pass(S(600));
    assert_eq!(net.at(0).exit, None);
    assert!(net.at(0).warnings.iter().any(|line| line.contains("cloud auto-join")));
}

#[test]
fn a_restarted_server_finds_everybody_again_and_forgets_nobody_at_once() {
    let mut net = three();
    net.until("both in the catalog", S(2), |net| net.health("c1").is_some() && net.health("c2").is_some());
    net.pass(S(6));
    net.kill(0);
    net.kill(1);
    net.pass(S(30));
    net.start(0);
    assert_eq!(net.health("c1").as_deref(), Some(PASSING), "nothing is known yet");
    net.until("c2", S(40), |net| net.members(0).contains(&"c2 1".to_string()));
    // c2 may have told that c1 failed; if not, a minute without it is enough.
    net.until("c1 to be critical", S(130), |net| net.health("c1").as_deref() == Some(CRITICAL));
    assert!(net.health("c2").as_deref() == Some(PASSING));
    assert!(net.at(0).view().node("default", "c1").is_some());
}

#[test]
fn a_node_id_belongs_to_one() {
    let mut twin = client();
    twin.node_id = "00000000-0000-0000-0000-000000000001".to_string();
    let mut net = Net::new(vec![("n1", quick(server())), ("c1", client())]);
    net.until("c1", S(5), |net| net.health("c1").is_some());
    net.add("twin", twin);
    net.pass(S(10));
    assert_eq!(net.health("twin"), None);
    assert_eq!(net.health("c1").as_deref(), Some(PASSING));
    let text = "has the node id 00000000-0000-0000-0000-000000000001 of \"c1\"";
    assert!(warned(&mut net, 0, &[text]), "{text}");
    // The machine was replaced: same name, other id.
    net.kill(1);
    net.config(1).node_id = "99999999-0000-0000-0000-000000000001".to_string();
    net.start(1);
    let id = |net: &mut Net| net.at(0).view().node("default", "c1").and_then(|row| row.id.clone());
    net.until("its new id", S(30), |net| id(net).is_some_and(|id| id.starts_with("9999")));
    assert_eq!(net.health("c1").as_deref(), Some(PASSING));
}

#[test]
fn gossip_from_elsewhere_is_dropped_and_counted() {
    let mut closed = quick(server());
    closed.serf_lan_allowed_cidrs = vec![convoke_config::Cidr::parse("10.0.0.2/32").unwrap()];
    let mut net = Net::new(vec![("n1", closed), ("c1", client()), ("c2", client())]);
    net.pass(S(10));
    assert_eq!(net.members(0), ["c1 1", "n1 1"]);
    assert_eq!(net.members(2), ["c2 1"]);
    assert!(net.at(0).node.gossip_stats(crate::node::Pool::Lan).unwrap().refused > 0);
}

#[test]
fn servers_meet_between_datacenters() {
    let mut far = quick(server());
    far.datacenter = "dc2".to_string();
    far.retry_join_wan.addresses = vec!["10.0.0.1".to_string()];
    let mut net = Net::new(vec![("n1", quick(server())), ("n2", far)]);
    let wan = |net: &mut Net, host: usize| -> Vec<String> {
        let wan = net.at(host).published.agent.wan.clone().unwrap();
        let mut names: Vec<String> = wan.iter().map(|member| member.name().to_string()).collect();
        names.sort();
        names
    };
    net.until("both", S(5), |net| (0..2).all(|host| wan(net, host) == ["n1.dc1", "n2.dc2"]));
    assert_eq!(net.members(0), ["n1 1"]);
    net.until("coordinates", S(30), |net| net.at(0).published.agent.wan_coordinates.len() == 2);
    let names: Vec<_> =
        net.at(0).published.agent.wan_coordinates.iter().map(|(n, dc, _)| format!("{n} {dc}")).collect();
    assert_eq!(names, ["n1 dc1", "n2 dc2"]);
    net.kill(1);
    net.until("the verdict", S(60), |net| {
        net.at(0).published.agent.wan.as_ref().unwrap().get("n2.dc2").unwrap().status as u8 == 4
    });
    assert_eq!(net.ask(0, AgentRequest::ForceLeave { node: "n2.dc2".to_string(), prune: false }), ok());
}

#[test]
fn a_second_signal_does_not_wait() {
    use crate::node::Signal::Interrupt;
    let mut net = three();
    net.act(1, |world| world.event(Event::Signal(Interrupt)));
    assert_eq!(net.at(1).exit, None, "the others are told first");
    net.act(1, |world| world.event(Event::Signal(Interrupt)));
    assert_eq!(net.at(1).exit, Some(1));
}

#[test]
fn the_catalog_learns_where_members_are() {
    let mut net = three();
    let known = |net: &mut Net| net.at(0).view().coordinates("default").count();
    net.until("coordinates of all", S(60), |net| known(net) == 3);
    let index = |net: &mut Net| net.at(0).view().index();
    // Everything is a millisecond away: after a while nobody moves any more, and nothing is written.
    net.pass(S(600));
    let before = index(&mut net);
    net.pass(S(120));
    assert!(index(&mut net) - before < 12, "{} changes in two quiet minutes", index(&mut net) - before);
}

/// A warning in the log of a host has all these texts.
fn warned(net: &mut Net, host: usize, texts: &[&str]) -> bool {
    let lines = &net.at(host).lines;
    lines.iter().any(|(level, line)| *level == Level::Warn && texts.iter().all(|text| line.contains(text)))
}

#[test]
fn another_datacenter_is_refused_at_the_join_and_both_sides_say_why() {
    let mut far = quick(server());
    far.datacenter = "dc2".to_string();
    far.retry_join.addresses = vec!["10.0.0.1".to_string()];
    let mut net = Net::new(vec![("n1", quick(server())), ("c1", client()), ("n2", far)]);
    net.pass(S(20));
    assert_eq!((net.members(0), net.members(1)), (net.members(1), vec!["c1 1".to_string(), "n1 1".to_string()]));
    assert_eq!((net.members(2), net.health("n2")), (vec!["n2 1".to_string()], None));
    let why =
        "member \"n2\" has dc \"dc2\", and the pool here is of dc \"dc1\": datacenters are joined over the WAN pool";
    assert!(warned(&mut net, 0, &["refused a connection from 10.0.0.3", why]), "{:#?}", net.at(0).lines);
    assert!(warned(&mut net, 2, &["joining the LAN pool failed", "the other side refused", why]));
    // By hand, from either side: the client is told.
    for (from, to) in [(2, "10.0.0.2"), (1, "10.0.0.3")] {
        let (status, text) = net.ask(from, AgentRequest::Join { address: to.to_string(), wan: false });
        assert!(
            status == 500 && text.contains("the other side refused") && text.contains("over the WAN pool"),
            "{text}"
        );
    }
    // The pool between datacenters takes it.
    assert_eq!(net.ask(2, AgentRequest::Join { address: "10.0.0.1".to_string(), wan: true }), ok());
    let up = |net: &mut Net, host: usize| net.at(host).published.agent.wan.as_ref().map_or(0, |wan| wan.members.up());
    net.until("both", S(5), |net| (up(net, 0), up(net, 2)) == (2, 2));
    assert_eq!(net.members(0), ["c1 1", "n1 1"]);
}

#[test]
fn a_client_is_forgotten_when_it_asked_for_it() {
    let brief = Config { advertise_reconnect_timeout: Some(S(90)), ..client() };
    let mut net = Net::new(vec![("n1", quick(server())), ("c1", client()), ("c2", brief)]);
    net.until("both in the catalog", S(10), |net| net.health("c1").is_some() && net.health("c2").is_some());
    assert_eq!(net.at(0).published.agent.lan.get("c2").unwrap().tags().get("rc_tm"), Some("1m30s"));
    net.pass(S(5));
    net.kill(1);
    net.kill(2);
    net.until("the verdicts", S(20), |net| net.members(0) == ["c1 4", "c2 4", "n1 1"]);
    net.pass(S(80));
    assert_eq!(net.members(0), ["c1 4", "c2 4", "n1 1"]);
    net.until("its end", S(15), |net| net.members(0) == ["c1 4", "n1 1"] && net.health("c2").is_none());
    assert_eq!(net.health("c1").as_deref(), Some(CRITICAL), "the other one is remembered for three days");
}
