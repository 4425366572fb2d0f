//! Prepared queries by name and id.

use core::time::Duration;

use convoke_catalog::Command;
use convoke_catalog::model::{Service, Status};
use convoke_catalog::queries::{PreparedQuery, QueryService, QueryTemplate};

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
