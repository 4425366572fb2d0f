//! Prepared queries by name and id.

use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::Command;
use convoke_catalog::coordinate::{Coordinate, CoordinateUpdate};
use convoke_catalog::model::{Service, Status};
use convoke_catalog::queries::{PreparedQuery, QueryService, QueryTemplate};
use convoke_dns::{Message, RData, Record, Section};

use super::world::{World, service, tags};

const NOTHING: &str = "NXDOMAIN AA RD | ns SOA";

fn query(id: &str, name: &str, service: QueryService, dns_ttl: &str) -> Command {
    let query =
        PreparedQuery { id: id.into(), name: name.into(), service, dns_ttl: dns_ttl.into(), ..Default::default() };
    Command::QuerySet { query, create: true }
}

fn of(service: &str) -> QueryService {
    QueryService { service: service.into(), ..QueryService::default() }
}

#[test]
fn queries() {
    let mut world = World::new();
    world.plain_node("d1", "10.1.0.1");
    world.plain_node("d2", "10.1.0.2");
    world.service("d1", Service { tags: tags(&["v1"]), ..service("web", 80) });
    world.service("d2", Service { tags: tags(&["v2"]), ..service("web", 81) });
    world.check("d2", "web", Status::Warning);
    world.service("d2", Service { connect_native: true, ..service("mesh", 3000) });
    world.config.dns.service_ttl = [("web".into(), Duration::from_secs(20))].into();
    let only = |tag: &str| QueryService { tags: Some([tag.into()].into()), ..of("web") };
    let template = PreparedQuery {
        id: "t".into(),
        name: "tpl-".into(),
        template: QueryTemplate { kind: "name_prefix_match".into(), ..QueryTemplate::default() },
        service: of("${name.suffix}"),
        ..PreparedQuery::default()
    };
    for command in [
        query("id-1", "Find.Web", only("v1"), ""),
        query("id-2", "short", only("V1"), "7s"),
        query("id-3", "not", only("!v1"), ""),
        query("id-4", "healthy", QueryService { only_passing: true, ..only("v2") }, ""),
        query("id-5", "conn", QueryService { connect: true, ..of("mesh") }, ""),
        query("id-6", "dangling", of("absent"), ""),
        Command::QuerySet { query: template, create: true },
    ] {
        world.apply(command);
    }
    world.expect(&[
        ("find.web.query.consul A", "NOERROR AA RD | an @ 20 A 10.1.0.1"),
        ("FIND.web.query.dc1.consul A", "NOERROR AA RD | an @ 20 A 10.1.0.1"),
        ("find.web.query.dc2.consul A", NOTHING),
        ("id-1.query.consul A", "NOERROR AA RD | an @ 20 A 10.1.0.1"),
        (
            "short.query.consul SRV",
            "NOERROR AA RD | an @ 7 SRV 1 1 80 d1.node.dc1.consul. | ar d1.node.dc1.consul. 7 A 10.1.0.1",
        ),
        ("short.query.consul AAAA", "NOERROR AA RD | ns SOA"),
        ("short.query.consul A edns=4096 ecs", "NOERROR AA RD | an @ 7 A 10.1.0.1 | edns 4096 ecs 198.51.100.0/24/24"),
        ("not.query.consul A", "NOERROR AA RD | an @ 20 A 10.1.0.2"),
        ("healthy.query.consul A", NOTHING),
        (
            "conn.query.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 3000 d2.node.dc1.consul. | ar d2.node.dc1.consul. 0 A 10.1.0.2",
        ),
        ("tpl-mesh.query.consul A", "NOERROR AA RD | an @ 0 A 10.1.0.2"),
        ("tpl-none.query.consul A", NOTHING),
        ("t.query.consul A", NOTHING),
        ("_short._tcp.query.consul SRV", NOTHING),
        ("dangling.query.consul A", NOTHING),
        ("absent.query.consul A", NOTHING),
    ]);
    // What the configuration says of services is not meant for queries, which say it themselves.
    world.config.dns.only_passing = true;
    world.expect(&[("not.query.consul A", "NOERROR AA RD | an @ 20 A 10.1.0.2")]);
}

/// Answers come in the order of distance: from a node, from this one, from that of the client.
#[test]
fn near() {
    let mut world = World::new();
    // d4 never told.
    let places = [("d1", 0.1), ("d2", 0.2), ("d3", 0.35), ("n1", 0.34), ("d5", 0.12)];
    for (node, address) in
        [("d1", "10.1.0.1"), ("d2", "10.1.0.2"), ("d3", "10.1.0.3"), ("d4", "10.1.0.4"), ("d5", "198.51.100.0")]
    {
        world.plain_node(node, address);
        if node != "d5" {
            world.service(node, service("web", 80));
        }
    }
    let place = |(node, east): (&str, f64)| {
        let mut coordinate = Coordinate::default();
        coordinate.vec[0] = east;
        CoordinateUpdate { node: node.into(), coordinate, ..CoordinateUpdate::default() }
    };
    world.apply(Command::Coordinates(places.map(place).into()));
    world.config.node_name = "N1".into();
    for (name, near) in [("from-d2", "d2"), ("from-d3", "D3"), ("own", "_agent"), ("asking", "_ip"), ("from-d4", "d4")]
    {
        world.apply(query(name, name, QueryService { near: near.into(), ..of("web") }, ""));
    }
    let order = |text: &str| -> Vec<u8> {
        let reply = world.reply(text, 1).expect("a reply");
        let message = Message::parse(&reply).expect("a well-formed reply");
        let last = |record: Record<'_>| match record.data {
            RData::A(ip) => ip.octets()[3],
            other => panic!("{text}: {other:?}"),
        };
        message.records(Section::Answer).map(last).collect()
    };
    for (text, expected) in [
        ("from-d2.query.consul A tcp", [2, 1, 3, 4]),
        ("from-d3.query.consul A tcp", [3, 2, 1, 4]),
        ("own.query.consul A tcp", [3, 2, 1, 4]),
        // Without a hint where the client is: from here.
        ("asking.query.consul A tcp", [3, 2, 1, 4]),
        ("asking.query.consul A tcp edns=4096 ecs", [1, 2, 3, 4]),
    ] {
        assert_eq!(order(text), expected, "{text}");
    }
    // Nobody knows where d4 is, but what runs there is near.
    assert_eq!(order("from-d4.query.consul A tcp")[0], 4);
}
