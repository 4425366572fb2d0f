//! Several servers, and clients that know only themselves: elections, forwarding, beginning, growing.

use super::net::{Net, client, quick};
use super::*;
use convoke_raft::ReadMode;

/// One of three servers that expect each other.
fn of_three() -> Config {
    let mut config = Config { bootstrap_expect: 3, ..server() };
    config.retry_join.addresses = vec!["10.0.0.1".to_string(), "10.0.0.2".to_string()];
    quick(config)
}

fn three() -> Net {
    let mut net = Net::new(vec![("s1", of_three()), ("s2", of_three()), ("s3", of_three())]);
    net.until("a leader", S(20), |net| leader(net, &[0, 1, 2]).is_some());
    net
}

/// Who leads, if exactly one of these does and all of these know it.
fn leader(net: &mut Net, of: &[usize]) -> Option<usize> {
    let leads: Vec<usize> = of.iter().copied().filter(|host| net.at(*host).published.agent.leads).collect();
    let [leads] = leads[..] else { return None };
    let address = net.at(leads).published.agent.leader?;
    of.iter().all(|host| net.at(*host).published.agent.leader == Some(address)).then_some(leads)
}

/// Puts a key at a host; status and text, waiting up to ten seconds.
fn put(net: &mut Net, host: usize, key: &str) -> (u16, String) {
    let effect = Effect::Propose { command: Box::new(kv(key)), render: Render::True };
    let id = net.act(host, |world| world.send(effect));
    for _ in 0..1000 {
        if let Some(response) = net.at(host).replies.remove(&id) {
            return (response.status, String::from_utf8(response.body).unwrap());
        }
        net.pass(Duration::from_millis(10));
    }
    panic!("no reply");
}

fn has(net: &mut Net, host: usize, key: &str) -> bool {
    net.at(host).view().kv(Scope::default(), key).is_some()
}

/// Asks a host whether what it reads is current.
fn confirm(net: &mut Net, host: usize, mode: ReadMode) -> (u16, String) {
    let id = net.act(host, |world| {
        world.requests += 1;
        let id = RequestId(world.requests);
        world.event(Event::Confirm { id, mode });
        id.0
    });
    for _ in 0..1000 {
        if let Some(response) = net.at(host).replies.remove(&id) {
            return (response.status, String::from_utf8(response.body).unwrap());
        }
        net.pass(Duration::from_millis(10));
    }
    panic!("no reply");
}

const TRUE: (u16, &str) = (200, "true");

fn is_true((status, text): (u16, String)) {
    assert_eq!((status, text.as_str()), TRUE);
}

#[test]
fn three_servers_begin_together_and_every_one_takes_changes() {
    let mut net = three();
    for host in 0..3 {
        is_true(put(&mut net, host, &format!("from-{host}")));
        assert_eq!(net.at(host).published.agent.peers.len(), 3);
    }
    for host in 0..3 {
        assert_eq!(confirm(&mut net, host, ReadMode::Quorum), ok());
        assert!((0..3).all(|key| has(&mut net, host, &format!("from-{key}"))), "{host} reads what was acknowledged");
    }
    // All nodes get into the catalog, with the service of servers.
    net.until("all servers in the catalog", S(5), |net| {
        net.at(0).view().services_of(Scope::default(), "s3").iter().any(|row| &*row.id == "consul")
    });
}

#[test]
fn the_dead_leader_is_followed_by_another_and_nothing_acknowledged_is_lost() {
    let mut net = three();
    let first = leader(&mut net, &[0, 1, 2]).unwrap();
    is_true(put(&mut net, first, "before"));
    net.kill(first);
    let rest: Vec<usize> = (0..3).filter(|host| *host != first).collect();
    // A change given to a follower at this moment waits for the next leader.
    is_true(put(&mut net, rest[0], "meanwhile"));
    net.until("another leader", S(5), |net| leader(net, &rest).is_some());
    net.start(first);
    net.until("the return", S(10), |net| leader(net, &[0, 1, 2]).is_some());
    assert_eq!(confirm(&mut net, first, ReadMode::Lease), ok());
    assert!(has(&mut net, first, "before") && has(&mut net, first, "meanwhile"));
    net.pass(S(30));
    assert_eq!(net.at(first).published.agent.peers.len(), 3, "of three none is removed");
}

#[test]
fn a_leader_that_is_cut_off_confirms_nothing_and_changes_nothing() {
    let mut net = three();
    let old = leader(&mut net, &[0, 1, 2]).unwrap();
    net.cut(&[old]);
    let rest: Vec<usize> = (0..3).filter(|host| *host != old).collect();
    net.until("another leader", S(5), |net| leader(net, &rest).is_some());
    is_true(put(&mut net, rest[0], "new"));
    let (status, text) = confirm(&mut net, old, ReadMode::Lease);
    assert_eq!((status, text.as_str()), (500, "No cluster leader"));
    let (status, text) = put(&mut net, old, "lost");
    assert_eq!((status, text.as_str()), (500, "No cluster leader"));
    net.cut(&[]);
    net.until("one leader", S(30), |net| leader(net, &[0, 1, 2]).is_some());
    assert_eq!(confirm(&mut net, old, ReadMode::Quorum), ok());
    assert!(has(&mut net, old, "new") && !has(&mut net, old, "lost"));
}

#[test]
fn all_at_once_come_back_with_everything() {
    let mut net = three();
    for n in 0..30 {
        is_true(put(&mut net, n % 3, &format!("key-{n}")));
    }
    for host in 0..3 {
        net.kill(host);
    }
    for host in 0..3 {
        net.start(host);
    }
    net.until("a leader", S(10), |net| leader(net, &[0, 1, 2]).is_some());
    for host in 0..3 {
        assert_eq!(confirm(&mut net, host, ReadMode::Quorum), ok());
        assert!((0..30).all(|n| has(&mut net, host, &format!("key-{n}"))), "host {host}");
    }
}

#[test]
fn a_client_brings_its_services_and_changes_to_the_servers() {
    let mut net = three();
    net.add("c1", client());
    net.until("the client", S(10), |net| net.health("c1").is_some());
    assert_eq!(net.act(3, |world| world.register(service("web"))), ok());
    let leader = leader(&mut net, &[0, 1, 2]).unwrap();
    let there = |net: &mut Net, host: usize| net.at(host).view().services_of(Scope::default(), "c1").len();
    net.until("its service", S(5), |net| there(net, leader) == 1);
    // Node metadata that only the agent knows comes with it.
    assert!(net.at(leader).view().node("default", "c1").unwrap().meta.is_some());
    is_true(put(&mut net, 3, "of-a-client"));
    // The server it asks dies: another one does.
    net.kill(leader);
    is_true(put(&mut net, 3, "of-a-client-again"));
    net.act(3, |world| world.answer(AgentRequest::DeregisterService { id: "web".to_string() }));
    let rest: Vec<usize> = (0..3).filter(|host| *host != leader).collect();
    net.until("it to go", S(20), |net| rest.iter().all(|host| there(net, *host) == 0));
}

#[test]
fn what_the_servers_have_of_a_client_that_it_does_not_is_removed() {
    let mut net = three();
    net.add("c1", client());
    net.until("the client", S(10), |net| net.health("c1").is_some());
    assert_eq!(net.act(3, |world| world.register(service("web"))), ok());
    net.until("its service", S(5), |net| net.at(0).view().services_of(Scope::default(), "c1").len() == 1);
    net.kill(3);
    // Its disk is gone, too.
    *net.config(3) = client();
    net.wipe(3);
    net.start(3);
    net.until("the service to go", S(200), |net| net.at(0).view().services_of(Scope::default(), "c1").is_empty());
}

#[test]
fn a_server_that_joins_later_votes_after_a_while_and_leaves_cleanly() {
    let mut net = Net::new(vec![("s1", quick(server()))]);
    net.until("a leader", S(5), |net| leader(net, &[0]).is_some());
    is_true(put(&mut net, 0, "old"));
    let mut late = Config { bootstrap_expect: 0, ..of_three() };
    late.retry_join.addresses = vec!["10.0.0.1".to_string()];
    net.add("s2", late.clone());
    net.add("s3", late);
    net.until("the log", S(10), |net| has(net, 1, "old") && has(net, 2, "old"));
    net.pass(S(25));
    let voters = |net: &mut Net| net.at(0).node.servers.members.voter_count();
    assert_eq!(voters(&mut net), 3);
    is_true(put(&mut net, 2, "new"));
    let id = net.act(2, |world| world.send(Effect::Agent(AgentRequest::Leave)));
    net.until("the end", S(20), |net| net.at(2).exit == Some(0));
    assert_eq!(net.at(2).replies[&id].status, 200);
    net.kill(2);
    net.until("it to be removed", S(10), |net| voters(net) == 2);
    is_true(put(&mut net, 1, "newer"));
    // The leader leaves: the other one leads before it is gone, and removes it.
    net.act(0, |world| world.send(Effect::Agent(AgentRequest::Leave)));
    net.until("the other to lead", S(2), |net| net.at(1).published.agent.leads);
    net.until("the end", S(20), |net| net.at(0).exit == Some(0));
    net.kill(0);
    net.until("it to be removed", S(10), |net| net.at(1).node.servers.members.voter_count() == 1);
    is_true(put(&mut net, 1, "newest"));
}

#[test]
fn two_servers_of_three_do_not_begin() {
    let mut net = Net::new(vec![("s1", of_three()), ("s2", of_three())]);
    net.pass(S(20));
    assert!(leader(&mut net, &[0, 1]).is_none() && net.at(0).published.agent.leader.is_none());
    let (status, text) = put(&mut net, 0, "k");
    assert_eq!((status, text.as_str()), (500, "No cluster leader"));
    net.add("s3", of_three());
    net.until("a leader", S(20), |net| leader(net, &[0, 1, 2]).is_some());
    is_true(put(&mut net, 2, "k"));
}

#[test]
fn a_cluster_that_lost_its_majority_for_good_goes_on_by_hand() {
    let mut net = three();
    is_true(put(&mut net, 0, "kept"));
    for host in 0..3 {
        net.kill(host);
    }
    let id = "00000000-0000-0000-0000-000000000001";
    net.force(1, &format!(r#"[{{"id": "{id}", "address": "10.0.0.2:8300"}}]"#));
    net.start(1);
    net.until("it to lead alone", S(5), |net| leader(net, &[1]) == Some(1));
    assert!(has(&mut net, 1, "kept"));
    is_true(put(&mut net, 1, "new"));
    // What it said is on disk now, and the file is needed no more.
    net.kill(1);
    net.start(1);
    net.until("it to lead again", S(5), |net| leader(net, &[1]) == Some(1));
    assert!(has(&mut net, 1, "kept") && has(&mut net, 1, "new"));
    // Nonsense refuses the start, with what to do.
    let mut recovered = Recovered { peers: Some(b"[]".to_vec()), ..Recovered::default() };
    for text in ["[]", "{", r#"[{"id": "x", "address": "nowhere"}]"#] {
        recovered.peers = Some(text.as_bytes().to_vec());
        let Err(error) = Node::new(boot(server(), recovered.clone())) else { panic!("it started with {text}") };
        assert!(error.to_string().contains("peers.json"), "{error}");
    }
}

#[test]
fn a_full_disk_refuses_changes_and_says_so_until_there_is_space() {
    let mut world = World::new(server());
    world.event(Event::DiskFull(true));
    let (status, text) = world.propose(kv("k"));
    assert_eq!(status, 500);
    assert!(text.contains("full"), "{text}");
    world.event(Event::DiskFull(false));
    assert_eq!(world.propose(kv("k")).0, 200);
}

#[test]
fn a_server_that_leaves_stays_until_others_are_found() {
    let brief = |config: Config, seconds| {
        let mut config = config;
        config.performance.leave_drain_time = S(seconds);
        config
    };
    for (drain, from, to) in [(5, 7, 11), (0, 2, 6), (20, 22, 26)] {
        let of_three = || brief(of_three(), drain);
        let mut net = Net::new(vec![("s1", of_three()), ("s2", of_three()), ("s3", of_three())]);
        net.until("a leader", S(20), |net| leader(net, &[0, 1, 2]).is_some());
        is_true(put(&mut net, 2, "old"));
        let id = net.act(2, |world| world.send(Effect::Agent(AgentRequest::Leave)));
        let begun = net.at(2).now;
        net.pass(S(4));
        if drain > 0 {
            assert!(!net.at(2).replies.contains_key(&id), "it has not left yet");
            assert_eq!(net.members(0), ["s1 1", "s2 1", "s3 3"], "but the others know");
            assert!(has(&mut net, 2, "old"), "it still has what it can answer from");
        }
        while net.at(2).exit.is_none() {
            net.pass(Duration::from_millis(100));
        }
        let gone = net.at(2).now.since(begun).as_secs();
        assert!((from..=to).contains(&gone), "{gone} s with leave_drain_time {drain}");
        assert_eq!((net.at(2).exit, net.at(2).replies[&id].status), (Some(0), 200));
    }
}

#[test]
fn a_server_that_was_away_for_long_stays_away() {
    let start = |age: u64, max: u64| {
        let mut world = World::new(server());
        world.pass(S(120));
        let wall = S(1_700_000_000 + 120 + age);
        let config = Config { server_rejoin_age_max: S(max), ..server() };
        Node::new(Boot { wall, ..boot(config, world.disk.recovered()) }).map(|_| ()).map_err(|why| why.to_string())
    };
    let hour = 3600;
    assert_eq!(start(100 * hour, 168 * hour), Ok(()));
    let why = start(169 * hour, 168 * hour).unwrap_err();
    assert!(why.contains("server_rejoin_age_max (168h0m0s)") && why.contains("or to 0, for this start"), "{why}");
    assert_eq!(start(169 * hour, 0), Ok(()), "no limit");
    assert_eq!(start(169 * hour, 400 * hour), Ok(()));
}
