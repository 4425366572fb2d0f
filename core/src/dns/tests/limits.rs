//! How much of an answer a client gets.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use convoke_catalog::model::{Node, Service};
use convoke_dns::{Flags, Message, RData, Section};

use super::world::{World, pairs, service, tags};

/// Answers, additional records without OPT, whether TC is set, and the length.
fn counts(world: &World, question: &str) -> (usize, usize, bool, usize) {
    let reply = world.reply(question, 3).expect("a reply");
    let message = Message::parse(&reply).expect("well-formed");
    let [_, answers, _, additional] = message.header().counts.map(usize::from);
    let opt = usize::from(message.opt().is_some());
    (answers, additional - opt, message.header().flags.has(Flags::TC), reply.len())
}

fn expect(world: &World, table: &[(&str, usize, usize, bool)]) {
    for (question, answers, additional, truncated) in table {
        let (a, x, tc, len) = counts(world, question);
        assert_eq!((a, x, tc), (*answers, *additional, *truncated), "{question}: {len} octets");
        let limit = match question.split_once("edns=").map(|(_, size)| size.parse().expect("a size")) {
            _ if question.contains("tcp") => 65_535,
            Some(size) => 512.max(size),
            None => 512,
        };
        assert!(len <= limit, "{question}: {len} octets");
    }
}

#[test]
fn forty_instances() {
    let mut world = World::new();
    world.many("web", 40);
    expect(
        &world,
        &[
            ("web.service.consul A", 3, 0, false),
            ("web.service.consul SRV", 3, 3, false),
            ("web.service.consul ANY", 3, 0, false),
            // Less than 512 is 512.
            ("web.service.consul A edns=100", 3, 0, false),
            ("web.service.consul A edns=1232", 40, 0, false),
            ("web.service.consul SRV edns=1232", 19, 19, false),
            ("web.service.consul A edns=8192", 40, 0, false),
            ("web.service.consul SRV edns=8192", 40, 40, false),
            ("web.service.consul A tcp", 40, 0, false),
            ("web.service.consul SRV tcp", 40, 40, false),
        ],
    );
    world.config.dns.enable_truncate = true;
    world.config.dns.udp_answer_limit = 100;
    expect(
        &world,
        &[
            ("web.service.consul A", 8, 0, true),
            // Counted without compression, only 4 fit.
            ("web.service.consul SRV", 4, 4, true),
            ("web.service.consul SRV edns=512", 4, 4, true),
            ("web.service.consul A edns=1400", 40, 0, false),
            ("web.service.consul SRV edns=1400", 22, 22, true),
            ("web.service.consul SRV tcp", 40, 40, false),
        ],
    );
    world.config.dns.disable_compression = true;
    expect(
        &world,
        &[("web.service.consul A edns=1232", 34, 0, true), ("web.service.consul SRV edns=1232", 11, 11, true)],
    );
}

#[test]
fn limits_of_the_configuration() {
    let mut world = World::new();
    world.many("web", 20);
    world.many("few", 2);
    world.config.dns.enable_truncate = true;
    expect(&world, &[("few.service.consul A", 2, 0, false), ("few.service.consul SRV", 2, 2, false)]);
    world.config.dns.a_record_limit = 2;
    world.config.dns.udp_answer_limit = 7;
    expect(
        &world,
        &[
            ("web.service.consul A", 2, 0, false),
            ("web.service.consul A tcp", 2, 0, false),
            ("web.service.consul A edns=4096", 2, 0, false),
            ("web.service.consul ANY", 2, 0, false),
            ("web.service.consul SRV", 4, 4, true),
            ("web.service.consul SRV tcp", 20, 20, false),
        ],
    );
}

#[test]
fn thousands_of_instances() {
    let mut world = World::new();
    world.many("web", 5000);
    world.config.dns.enable_truncate = true;
    let (answers, additional, truncated, _) = counts(&world, "web.service.consul SRV tcp");
    assert!((800..=1024).contains(&answers), "{answers}");
    assert_eq!((additional, truncated), (answers, true));
    let (answers, _, truncated, len) = counts(&world, "web.service.consul A tcp");
    assert!(answers > 4000 && len <= 65_535, "{answers} answers, {len} octets");
    assert!(truncated || answers == 4096);
}

#[test]
fn what_was_not_asked_for_goes_first() {
    let mut world = World::new();
    world.config.dns.enable_truncate = true;
    let long = "x".repeat(400);
    let meta = Some(pairs(&[("a", &long), ("b", &long)]));
    world.node(Node { name: "fat".into(), address: "10.0.0.1".into(), meta, ..Node::default() });
    world.service("fat", service("web", 80));
    let srv = "NOERROR AA RD | an @ 0 SRV 1 1 80 fat.node.dc1.consul. | ar fat.node.dc1.consul. 0 A 10.0.0.1";
    // The metadata does not fit; the address alone does.
    world.expect(&[("web.service.consul SRV", srv)]);
    let text = world.ask("fat.node.consul A");
    assert!(text.starts_with("NOERROR AA RD | an @ 0 A 10.0.0.1 | ar @ 0 TXT a=xxx"), "{text}");
    assert!(!text.contains("b=xxx"), "{text}");
    // Asked for and cut: that has to be said.
    assert!(world.ask("fat.node.consul TXT").starts_with("NOERROR AA TC RD | an @ 0 TXT a=xxx"));
    assert!(world.ask("fat.node.consul TXT tcp").starts_with("NOERROR AA RD | an @ 0 TXT a=xxx"));
    // Two instances on the node: once cut, its address comes once and without metadata.
    world.service("fat", Service { id: "web2".into(), ..service("web", 81) });
    let (answers, additional, truncated, _) = counts(&world, "web.service.consul SRV");
    assert_eq!((answers, additional, truncated), (2, 1, false));
}

#[test]
fn long_names_leave_room_for_one() {
    let mut world = World::new();
    world.plain_node("n", "10.0.0.1");
    let tag = [63, 63, 63, 40].map(|len| "x".repeat(len)).join(".");
    for i in 0..10 {
        let (id, address) = (format!("web-{i}").into(), format!("10.0.1.{i}").into());
        world.service("n", Service { id, address, tags: tags(&[&tag]), ..service("web", i) });
    }
    let (a, srv) = (format!("{tag}.web.service.consul A"), format!("{tag}.web.service.consul SRV"));
    expect(&world, &[(&a, 1, 0, false), (&srv, 1, 0, false)]);
    let (a, srv) = (format!("{a} edns=1232"), format!("{srv} edns=1232"));
    expect(&world, &[(&a, 10, 0, false), (&srv, 10, 10, false)]);
}

#[test]
fn names_are_compressed_unless_told_otherwise() {
    let mut world = World::new();
    world.many("web", 6);
    let plain_len = |reply: &[u8]| {
        let message = Message::parse(reply).expect("well-formed");
        let questions: usize = message.questions().map(|q| q.name.wire_len() + 4).sum();
        let records =
            [Section::Answer, Section::Authority, Section::Additional].into_iter().flat_map(|s| message.records(s));
        let records = records.map(|record| {
            let data = match record.data {
                RData::A(_) => 4,
                RData::Srv { target, .. } => 6 + target.wire_len(),
                RData::Txt(txt) => txt.strings().map(|s| 1 + s.len()).sum(),
                other => panic!("{other:?}"),
            };
            record.name.wire_len() + 10 + data
        });
        12 + questions + records.sum::<usize>()
    };
    for question in ["web.service.consul SRV tcp", "web.service.consul A", "n1.node.consul A"] {
        world.config.dns.disable_compression = false;
        let compressed = world.reply(question, 1).expect("a reply");
        assert!(compressed.len() < plain_len(&compressed), "{question}");
        world.config.dns.disable_compression = true;
        let whole = world.reply(question, 1).expect("a reply");
        assert_eq!(whole.len(), plain_len(&whole), "{question}");
    }
}

#[test]
fn the_seed_decides_who_is_named() {
    let mut world = World::new();
    world.many("web", 10);
    let first = |seed| -> String {
        let reply = world.reply("web.service.consul A", seed).expect("a reply");
        let message = Message::parse(&reply).expect("well-formed");
        message.records(Section::Answer).map(|r| format!("{:?} ", r.data)).collect()
    };
    assert_eq!(first(1), first(1));
    let different: BTreeSet<_> = (0..50).map(first).collect();
    assert!(different.len() > 20, "{} orders of 50", different.len());
    let all: Vec<String> = (0..50).map(first).collect();
    let named = (1..=10).filter(|i| all.iter().any(|text| text.contains(&format!("A(10.20.0.{i})")))).count();
    assert_eq!(named.to_string(), "10", "everybody's turn comes");
}
