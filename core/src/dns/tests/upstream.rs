//! Names that others know.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::model::Service;
use convoke_config::RecursorStrategy;
use convoke_dns::{Builder, Flags, Message, Name, OptHeader, Rcode, RecordType, Section};

use super::world::{NOW, World, question, service, show};
use crate::dns::{Outcome, Recursion, Step, Transport, Verdict, answer};

fn world(recursors: usize) -> World {
    let mut world = World::new();
    world.config.recursors =
        (1..=recursors).map(|i| alloc::format!("192.0.2.{i}:53").parse().expect("an address")).collect();
    world
}

/// A zone: `www` has two addresses, `alias` is a CNAME of `target`, `big` only fits TCP, `drop` never answers.
fn zone(packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let message = Message::parse(packet).expect("a well-formed question");
    let asked = message.questions().next().expect("a question");
    let name = asked.name.to_name();
    let text = name.to_string().to_lowercase();
    let host = text.strip_suffix(".example.test.").unwrap_or(&text);
    let rcode = match host {
        "drop" => return None,
        "refused" => Rcode::REFUSED,
        "servfail" => Rcode::SERVFAIL,
        "www" | "alias" | "big" => Rcode::NOERROR,
        _ => Rcode::NXDOMAIN,
    };
    let mut reply = vec![0; 65_535];
    let flags = Flags(Flags::QR | Flags::RA | message.header().flags.0 & Flags::RD).with_rcode(rcode);
    let mut b = Builder::new(&mut reply, 65_535, message.header().id, flags).expect("room");
    let at = b.question(&name, asked.rtype, asked.class).expect("room");
    let mut add = |owner: convoke_dns::builder::Owner<'_>, ip: [u8; 4]| {
        b.address(Section::Answer, owner, 60, ip.into()).expect("room");
    };
    match host {
        "www" if asked.rtype == RecordType::A => {
            [10, 11].into_iter().for_each(|i| add(at.into(), [192, 0, 2, i]));
        }
        "big" if transport == Transport::Tcp => (1..=100).for_each(|i| add(at.into(), [192, 0, 2, i])),
        "big" => b.set_flags(flags.with(Flags::TC, true)),
        "alias" => {
            let target: Name = "target.example.test".parse().expect("a name");
            b.name_record(Section::Answer, at, RecordType::CNAME, 60, &target).expect("room");
            if asked.rtype == RecordType::A {
                b.address(Section::Answer, &target, 60, [192, 0, 2, 20].into()).expect("room");
            }
        }
        _ => {}
    }
    if message.opt().is_some() {
        let header = OptHeader { payload: 8192, rcode_high: 0, version: 0, dnssec_ok: false };
        b.opt(header, None).expect("room");
    }
    let len = b.finish();
    reply.truncate(len);
    Some(reply)
}

/// Drives a recursion against the zone; gives the reply and what was asked of whom.
fn drive(world: &World, mut recursion: Recursion) -> (String, Vec<String>) {
    let mut asked = Vec::new();
    let mut rounds = 0;
    while let Step::Ask(ask) = recursion.step() {
        rounds += 1;
        assert!(rounds < 100, "it ends");
        assert_eq!(ask.timeout, world.config.dns.recursor_timeout);
        let name =
            Message::parse(ask.packet).expect("a question").questions().next().expect("a question").name.to_string();
        asked.push(alloc::format!("{} {:?} {name}", ask.upstream.ip(), ask.transport));
        match zone(ask.packet, ask.transport) {
            Some(reply) => assert_eq!(recursion.reply(&reply), Verdict::Taken),
            None => recursion.no_reply(),
        }
    }
    let mut out = vec![0; 65_535];
    let len = recursion.finish(&world.view(), &world.settings(), NOW, &mut out).expect("a reply");
    (show(&out[..len]), asked)
}

fn expect(world: &World, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(drive(world, world.recurse(text)).0, *expected, "{text}");
    }
}

#[test]
fn questions_are_passed_on() {
    let world = world(1);
    expect(
        &world,
        &[
            ("www.example.test A", "NOERROR RD RA | an @ 60 A 192.0.2.10 | an @ 60 A 192.0.2.11"),
            ("WWW.Example.Test A", "NOERROR RD RA | an @ 60 A 192.0.2.10 | an @ 60 A 192.0.2.11"),
            ("www.example.test A rd=0", "NOERROR RA | an @ 60 A 192.0.2.10 | an @ 60 A 192.0.2.11"),
            ("www.example.test A edns=4096", "NOERROR RD RA | an @ 60 A 192.0.2.10 | an @ 60 A 192.0.2.11 | edns 8192"),
            ("www.example.test NS", "NOERROR RD RA"),
            ("absent.example.test A", "NXDOMAIN RD RA"),
            ("servfail.example.test A", "SERVFAIL RD RA"),
            ("refused.example.test A", "SERVFAIL RD RA"),
            ("drop.example.test A", "SERVFAIL RD RA"),
            ("drop.example.test A edns=1232", "SERVFAIL RD RA | edns 1232"),
            // The client is told to come again by TCP, and then it goes on by TCP.
            ("big.example.test A", "NOERROR TC RD RA"),
            ("1.2.0.192.in-addr.arpa PTR", "NXDOMAIN RD RA"),
        ],
    );
    let (text, asked) = drive(&world, world.recurse("big.example.test A tcp"));
    assert_eq!(text.matches(" A ").count(), 100);
    assert_eq!(asked, ["192.0.2.1 Tcp big.example.test."]);
    // What we know ourselves we answer ourselves, and say that we recurse.
    world.expect(&[
        ("n1.node.consul A", "NOERROR AA RD RA | an @ 0 A 127.0.0.1 | ar @ 0 TXT consul-network-segment="),
        ("absent.node.consul A", "NXDOMAIN AA RD RA | ns SOA"),
        ("1.0.0.127.in-addr.arpa PTR", "NOERROR AA RD RA | an @ 0 PTR n1.node.dc1.consul."),
        ("www.example.test A opcode=4", "REFUSED RA"),
    ]);
}

#[test]
fn servers_are_asked_in_turn() {
    let mut world = world(3);
    let (text, asked) = drive(&world, world.recurse("refused.example.test A"));
    assert_eq!(text, "SERVFAIL RD RA");
    let names = |ips: &[u8]| -> Vec<String> {
        ips.iter().map(|i| alloc::format!("192.0.2.{i} Udp refused.example.test.")).collect()
    };
    assert_eq!(asked, names(&[1, 2, 3]));
    world.config.dns.recursor_timeout = Duration::from_millis(100);
    world.config.dns.recursor_strategy = RecursorStrategy::Random;
    let first: BTreeSet<_> = (0..40)
        .filter_map(|seed| {
            let (packet, transport) = question("www.example.test A");
            let outcome = answer(&world.view(), &world.settings(), &packet, transport, seed, NOW, &mut [0; 512]);
            let Outcome::Recurse(recursion) = outcome else { return None };
            match recursion.step() {
                Step::Ask(ask) => Some((ask.upstream, ask.timeout)),
                Step::Finish => None,
            }
        })
        .collect();
    assert_eq!(first.len(), 3, "each comes first sometimes");
}

#[test]
fn only_the_answer_to_what_was_asked_is_taken() {
    let world = world(2);
    let mut recursion = world.recurse("www.example.test A");
    let Step::Ask(ask) = recursion.step() else { panic!("somebody to ask") };
    let good = zone(ask.packet, ask.transport).expect("a reply");
    let own_id = ask.packet[..2].to_vec();
    assert_ne!(own_id, [0, 77], "the client's id is not shown upstream");
    let other = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        change(&mut packet);
        packet
    };
    let ignored = [
        other(&|p| p[0] ^= 1),
        other(&|p| p[2] &= 0x7f),
        other(&|p| p[13] = b'x'),
        other(&|p| p.truncate(11)),
        Vec::new(),
    ];
    for packet in &ignored {
        assert_eq!(recursion.reply(packet), Verdict::Ignored, "{packet:?}");
    }
    // Broken, but under the right id: this server is of no use.
    assert_eq!(recursion.reply(&other(&|p| p.truncate(40))), Verdict::Taken);
    let Step::Ask(ask) = recursion.step() else { panic!("the next server") };
    assert_eq!(ask.upstream.to_string(), "192.0.2.2:53");
    // What follows the message is not passed on.
    let mut reply = zone(ask.packet, ask.transport).expect("a reply");
    let len = reply.len();
    reply.extend_from_slice(b"junk");
    assert_eq!(recursion.reply(&reply), Verdict::Taken);
    assert!(matches!(recursion.step(), Step::Finish));
    let mut out = vec![0; 512];
    assert_eq!(recursion.finish(&world.view(), &world.settings(), NOW, &mut out), Some(len));
    assert_eq!(out[..2], [0, 77], "the client's id is back");
}

#[test]
fn large_replies_are_cut_for_the_client() {
    let world = world(1);
    let mut recursion = world.recurse("big.example.test A");
    let Step::Ask(ask) = recursion.step() else { panic!("somebody to ask") };
    // A server that does not mind the limit.
    let reply = zone(ask.packet, Transport::Tcp).expect("a reply");
    assert_eq!(recursion.reply(&reply), Verdict::Taken);
    let mut out = vec![0; 65_535];
    let len = recursion.finish(&world.view(), &world.settings(), NOW, &mut out).expect("a reply");
    assert!(len <= 512);
    assert!(show(&out[..len]).starts_with("NOERROR TC RD RA | an @"));
}

#[test]
fn aliases_are_followed_upstream() {
    let mut world = world(1);
    world.plain_node("c1", "alias.example.test");
    world.plain_node("c2", "10.1.1.1");
    world.plain_node("c3", "absent.example.test");
    world.plain_node("c4", "drop.example.test");
    world.plain_node("c5", "big.example.test");
    world.service("c1", service("ext", 1));
    world.service("c2", Service { address: "www.example.test".into(), ..service("ext2", 2) });
    // A service's address that is the very name asked for stands for the node's.
    world.service("c2", Service { address: "self.service.consul".into(), ..service("self", 3) });
    let www = "www.example.test. 0 A 192.0.2.10 | an www.example.test. 0 A 192.0.2.11";
    let ext2 = alloc::format!("NOERROR AA RD RA | an @ 0 CNAME www.example.test. | an {www}");
    let ext2_srv =
        alloc::format!("NOERROR AA RD RA | an @ 0 SRV 1 1 2 www.example.test. | ar {}", www.replace("an", "ar"));
    let c1 = |flags: &str, ttl: u8| {
        alloc::format!(
            "NOERROR {flags} | an @ 0 CNAME alias.example.test. | an alias.example.test. {ttl} CNAME target.example.test. \
             | an target.example.test. {ttl} A 192.0.2.20"
        )
    };
    expect(
        &world,
        &[
            // A node's alias keeps the TTLs, a service's has the service's.
            ("c1.node.consul A", &c1("AA RD RA", 60)),
            ("c1.node.consul A rd=0", &c1("AA RA", 60)),
            ("ext.service.consul A", &c1("AA RD RA", 0)),
            ("ext2.service.consul A", &ext2),
            ("ext2.service.consul ANY", &ext2),
            ("ext2.service.consul SRV", &ext2_srv),
            ("c3.node.consul A", "NOERROR AA RD RA | an @ 0 CNAME absent.example.test."),
            ("c4.node.consul A", "NOERROR AA RD RA | an @ 0 CNAME drop.example.test."),
            // Asked for the family that the client asked for.
            ("ext2.service.consul AAAA", "NOERROR AA RD RA | an @ 0 CNAME www.example.test."),
        ],
    );
    world.expect(&[("self.service.consul A", "NOERROR AA RD RA | an @ 0 A 10.1.1.1")]);
    let (text, asked) = drive(&world, world.recurse("c5.node.consul A tcp"));
    assert_eq!(text.matches(" A ").count(), 100);
    assert_eq!(asked, ["192.0.2.1 Udp big.example.test.", "192.0.2.1 Tcp big.example.test."]);
}

#[test]
fn aliases_of_our_own_names_are_followed_here() {
    let mut world = World::new();
    world.plain_node("end", "10.0.0.9");
    for i in 1..=5 {
        let next = if i == 1 { "end.node.consul".to_string() } else { alloc::format!("a{}.node.consul", i - 1) };
        world.plain_node(&alloc::format!("a{i}"), &next);
    }
    world.plain_node("loop", "loop.node.consul");
    let chain = |text: &str| {
        let text = world.ask(text);
        (text.matches(" CNAME ").count(), text.contains("10.0.0.9"))
    };
    assert_eq!(chain("a1.node.consul A"), (1, true));
    assert_eq!(chain("a3.node.consul A"), (3, true));
    // Three are followed and no more.
    assert_eq!(chain("a4.node.consul A"), (4, false));
    assert_eq!(chain("a5.node.consul A"), (4, false));
    assert_eq!(chain("loop.node.consul A"), (4, false));
}

#[test]
fn a_name_that_nobody_answers_ends_the_asking() {
    let mut world = world(2);
    for i in 0..20 {
        let node = alloc::format!("x{i}");
        world.plain_node(&node, &alloc::format!("h{i}.drop.test"));
        world.service(&node, service("many", i));
    }
    let mut recursion = world.recurse("many.service.consul A tcp");
    let mut asked = 0;
    while let Step::Ask(_) = recursion.step() {
        asked += 1;
        recursion.no_reply();
    }
    assert_eq!(asked, 2, "each server once");
    let mut out = vec![0; 65_535];
    let len = recursion.finish(&world.view(), &world.settings(), NOW, &mut out).expect("a reply");
    assert_eq!(show(&out[..len]).matches(" CNAME ").count(), 20);
}
