//! What holds for every packet.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use convoke_catalog::model::{Node, Service, Status};
use convoke_dns::{Flags, Header, Message, RecordType, Section};
use proptest::collection::vec as vec_of;
use proptest::prelude::*;

use super::world::{NOW, World, pairs, question, service, tags};
use crate::dns::{Outcome, Step, Transport, answer};

/// A catalog with something of everything, so that names made of its words lead everywhere.
fn world() -> World {
    let mut world = World::new();
    world.many("web", 60);
    world.many("db", 2);
    let long = "y".repeat(500);
    let meta = Some(pairs(&[("a", &long), ("b", "c"), ("rfc1035-x", "z")]));
    world.node(Node { name: "fat".into(), address: "10.0.0.1".into(), meta, ..Node::default() });
    world.service("fat", Service { tags: tags(&["v1"]), ..service("fat", 80) });
    world.plain_node("six", "2001:db8::1");
    world.plain_node("cname", "n1.node.consul");
    world.plain_node("out", "www.example.com");
    world.plain_node("bad", "not a name..");
    world.plain_node(&"n".repeat(70), "10.0.0.2");
    for node in ["six", "cname", "out", "bad"] {
        world.service(node, Service { id: node.into(), ..service("mixed", 1) });
    }
    world.service(&"n".repeat(70), service("unnamed", 2));
    world.check("six", "six", Status::Warning);
    world.config.alt_domain = "alt.".into();
    world.config.dns.enable_truncate = true;
    world
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "consul", "alt", "service", "node", "connect", "query", "addr", "dc1", "dc", "ns", "default", "web", "db",
        "fat", "six", "cname", "out", "bad", "mixed", "unnamed", "v1", "_web", "_tcp", "0a000001", "in-addr", "arpa",
        "ip6", "1", "10", "0", "n1", "WEB", "x",
    ];
    prop_oneof![9 => prop::sample::select(words.to_vec()).prop_map(Into::into), 1 => "[a-zA-Z0-9_-]{1,63}"]
}

/// Questions that lead somewhere.
fn plausible() -> impl Strategy<Value = (Vec<u8>, Transport)> {
    let types = ["A", "AAAA", "ANY", "AXFR", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "TYPE65280"];
    let ends = ["service.consul", "node.consul", "service.dc1.alt", "connect.consul", "in-addr.arpa", "consul", "com"];
    let options =
        ["", " tcp", " edns=512", " edns=700", " edns=1232 ecs", " edns=65535", " edns=0 version=1", " opcode=4"];
    (
        vec_of(word(), 0..4),
        prop::sample::select(ends.to_vec()),
        prop::sample::select(types.to_vec()),
        prop::sample::select(options.to_vec()),
    )
        .prop_map(|(words, end, rtype, options)| {
            let mut name = words.join(".");
            name.truncate(180);
            let name = name.trim_matches('.');
            let dot = if name.is_empty() { "" } else { "." };
            question(&alloc::format!("{name}{dot}{end} {rtype}{options}"))
        })
}

fn packet() -> impl Strategy<Value = (Vec<u8>, Transport)> {
    let noise = (vec_of(any::<u8>(), 0..100), any::<bool>())
        .prop_map(|(packet, tcp)| (packet, if tcp { Transport::Tcp } else { Transport::Udp }));
    let damaged = (plausible(), vec_of((any::<prop::sample::Index>(), any::<u8>()), 1..5)).prop_map(
        |((mut packet, transport), changes)| {
            for (index, byte) in changes {
                let at = index.index(packet.len());
                packet[at] = byte;
            }
            (packet, transport)
        },
    );
    prop_oneof![1 => noise, 6 => plausible(), 3 => damaged]
}

/// What the client of this packet takes.
fn limit(packet: &[u8], transport: Transport) -> usize {
    let payload = Message::parse(packet).ok().and_then(|m| m.opt()).map_or(0, |(opt, _)| usize::from(opt.payload));
    if transport == Transport::Tcp { 65_535 } else { payload.max(512) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any packet: nothing, or one well-formed reply to it within the limits, and the same one every time.
    #[test]
    fn at_most_one_well_formed_reply(
        (packet, transport) in packet(),
        seed in any::<u64>(),
        recursors in 0..2usize,
        compress in any::<bool>(),
        room in prop_oneof![Just(65_535usize), 0..1500usize],
    ) {
        let mut world = world();
        world.config.recursors = vec!["192.0.2.1:53".parse().expect("an address"); recursors];
        world.config.dns.disable_compression = !compress;
        let (view, settings) = (world.view(), world.settings());
        let run = |out: &mut [u8]| match answer(&view, &settings, &packet, transport, seed, NOW, out) {
            Outcome::Reply(len) => Some(len),
            Outcome::Drop => None,
            Outcome::Elsewhere => panic!("a server has tables"),
            Outcome::Recurse(mut recursion) => {
                assert!(recursors > 0, "nobody to ask");
                let mut steps = 0;
                while let Step::Ask(ask) = recursion.step() {
                    assert!(Message::parse(ask.packet).is_ok(), "a well-formed question");
                    steps += 1;
                    assert!(steps < 50, "it ends");
                    recursion.no_reply();
                }
                recursion.finish(&view, &settings, NOW, out)
            }
        };
        let (mut out, mut again) = (vec![0xaa; room], vec![0x55; room]);
        let len = run(&mut out);
        prop_assert_eq!(len, run(&mut again));
        let Some(len) = len else {
            // Silence is for what is no request, and where there is no room.
            let request = Header::read(&packet).is_some_and(|h| !h.flags.has(Flags::QR));
            prop_assert!(!request || room < 512, "a request without a reply");
            return Ok(());
        };
        prop_assert_eq!(&out[..len], &again[..len]);
        prop_assert!(len <= limit(&packet, transport) && len <= room);
        let reply = Message::parse(&out[..len]).expect("well-formed");
        prop_assert_eq!(reply.end(), len);
        prop_assert_eq!(&out[..2], &packet[..2], "the id comes back");
        prop_assert!(reply.header().flags.has(Flags::QR));
        prop_assert_eq!(reply.header().flags.opcode(), Header::read(&packet).expect("a header").flags.opcode());
        if let Ok(asked) = Message::parse(&packet) {
            let echoed = reply.header().counts[0] > 0;
            prop_assert!(!echoed || reply.questions().eq(asked.questions()));
            prop_assert!(!echoed || reply.opt().is_some() == asked.opt().is_some(), "EDNS is answered with EDNS");
        }
    }

    /// Where it is enabled, TC is set exactly when instances were left out.
    #[test]
    fn what_is_left_out_is_told(
        instances in 1..60u16,
        srv in any::<bool>(),
        size in 512..4096u16,
        edns in any::<bool>(),
        tcp in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut world = World::new();
        world.many("web", instances);
        world.config.dns.enable_truncate = true;
        let rtype = if srv { "SRV" } else { "A" };
        let mut text = alloc::format!("web.service.consul {rtype}");
        if edns {
            text += &alloc::format!(" edns={size}");
        }
        if tcp {
            text += " tcp";
        }
        let reply = world.reply(&text, seed).expect("a reply");
        let message = Message::parse(&reply).expect("well-formed");
        let answers = message.records(Section::Answer).count();
        prop_assert!(answers >= 1);
        prop_assert_eq!(message.header().flags.has(Flags::TC), answers < usize::from(instances));
        if srv {
            let additional = message.records(Section::Additional).filter(|r| r.rtype != RecordType::OPT).count();
            prop_assert_eq!(additional, answers, "every target with its address");
        }
    }
}
