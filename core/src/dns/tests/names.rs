//! Every kind of name.

use alloc::string::ToString;
use alloc::sync::Arc;

use convoke_catalog::model::{NamedPort, Node, Proxy, Service, Status, TaggedAddress};

use super::world::{World, pairs, service, tags};
use crate::dns::{DnsSettings, SettingsError};
use core::time::Duration;

const NOTHING: &str = "NXDOMAIN AA RD | ns SOA";
const EMPTY: &str = "NOERROR AA RD | ns SOA";

fn services() -> World {
    let mut world = World::new();
    for (name, address) in [("d1", "10.1.0.1"), ("d2", "10.1.0.2"), ("d3", "10.1.0.3"), ("d4", "2001:db8::4")] {
        world.plain_node(name, address);
    }
    let db = |id: &str, port| Service { id: id.into(), ..service("db", port) };
    world.service("d1", Service { tags: tags(&["master", "v1"]), ..db("db1", 5432) });
    world.service("d2", Service { tags: tags(&["Slave"]), address: "10.9.0.2".into(), ..db("db2", 5433) });
    world.service("d3", Service { address: "db.example.com".into(), ..service("named", 5434) });
    world.service("d4", service("v6", 1));
    world.service("d1", Service { weight_passing: 9, ..service("only", 7) });
    world
}

#[test]
fn service_names() {
    let both = "NOERROR AA RD | an @ 0 A 10.1.0.1 | an @ 0 A 10.9.0.2";
    let both_srv = "NOERROR AA RD | an @ 0 SRV 1 1 5432 d1.node.dc1.consul. | an @ 0 SRV 1 1 5433 0a090002.addr.dc1.consul. \
                    | ar 0a090002.addr.dc1.consul. 0 A 10.9.0.2 | ar d1.node.dc1.consul. 0 A 10.1.0.1";
    let master = "NOERROR AA RD | an @ 0 SRV 1 1 5432 d1.node.dc1.consul. | ar d1.node.dc1.consul. 0 A 10.1.0.1";
    let named = "NOERROR AA RD | an @ 0 CNAME db.example.com.";
    services().expect(&[
        ("db.service.consul A", both),
        ("db.service.consul A tcp", both),
        ("DB.service.consul A", both),
        ("db.service.dc1.consul A", both),
        ("db.service.dc1.dc.consul A", both),
        ("db.service.default.ns.default.ap.dc1.dc.consul A", both),
        ("db.service.default.dc1.consul A", both),
        ("db.service.consul ANY", both),
        // Addresses, because Consul does.
        ("db.service.consul TXT", both),
        ("db.service.consul SRV", both_srv),
        ("db.SERVICE.consul SRV", both_srv),
        ("_db._tcp.service.consul SRV", both_srv),
        ("_db._tcp.service.dc1.consul SRV", both_srv),
        ("_db._tcp.consul SRV", both_srv),
        ("_db._master.service.consul SRV", master),
        ("master.db.service.consul SRV", master),
        ("_db._master.service.consul A", "NOERROR AA RD | an @ 0 A 10.1.0.1"),
        ("MASTER.db.service.consul A", "NOERROR AA RD | an @ 0 A 10.1.0.1"),
        ("slave.db.service.consul A", "NOERROR AA RD | an @ 0 A 10.9.0.2"),
        (
            "only.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 9 7 d1.node.dc1.consul. | ar d1.node.dc1.consul. 0 A 10.1.0.1",
        ),
        ("v6.service.consul AAAA", "NOERROR AA RD | an @ 0 AAAA 2001:db8::4"),
        (
            "v6.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 1 d4.node.dc1.consul. | ar d4.node.dc1.consul. 0 AAAA 2001:db8::4",
        ),
        ("named.service.consul A", named),
        ("named.service.consul AAAA", named),
        ("named.service.consul ANY", named),
        ("named.service.consul SRV", "NOERROR AA RD | an @ 0 SRV 1 1 5434 db.example.com."),
        (
            "consul.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 8300 n1.node.dc1.consul. | ar n1.node.dc1.consul. 0 A 127.0.0.1 \
             | ar n1.node.dc1.consul. 0 TXT consul-network-segment=",
        ),
        // The name is there, the type is not.
        ("db.service.consul AAAA", EMPTY),
        ("db.service.consul MX", EMPTY),
        ("db.service.consul CNAME", EMPTY),
        ("db.service.consul TYPE65280", EMPTY),
        ("v6.service.consul A", EMPTY),
        // The name is not there.
        ("none.db.service.consul A", NOTHING),
        ("_db._udp.service.consul SRV", NOTHING),
        ("_only._any.service.consul SRV", NOTHING),
        ("_db._tcp.consul A", NOTHING),
        ("a.b.db.service.consul A", NOTHING),
        ("absent.service.consul SRV", NOTHING),
        ("service.consul A", NOTHING),
        ("db.service.dc9.consul A", NOTHING),
        ("db.service.other.ns.consul A", NOTHING),
        ("db.service.other.ap.consul A", NOTHING),
        ("db.service.other.peer.consul A", NOTHING),
    ]);
}

#[test]
fn what_a_srv_record_brings_along() {
    let mut world = World::new();
    let meta = Some(pairs(&[("rack", "r7")]));
    world.node(Node { name: "m".into(), address: "10.0.0.1".into(), meta, ..Node::default() });
    world.service("m", Service { address: "10.1.2.3".into(), ..service("own", 80) });
    world.service("m", Service { id: "a".into(), ..service("two", 1) });
    world.service("m", Service { id: "b".into(), ..service("two", 2) });
    world.service("m", Service { id: "a2".into(), ..service("same", 1) });
    world.service("m", Service { id: "b2".into(), ..service("same", 1) });
    let ports = [("x", false), ("y", true)].map(|(name, default)| NamedPort { name: name.into(), port: 90, default });
    world.service("m", Service { ports: ports.to_vec(), ..service("ports", 0) });
    let of_m = "ar m.node.dc1.consul. 0 A 10.0.0.1 | ar m.node.dc1.consul. 0 TXT rack=r7";
    world.expect(&[
        // Metadata goes under the node's name even where the target is an address.
        (
            "own.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 80 0a010203.addr.dc1.consul. | ar 0a010203.addr.dc1.consul. 0 A 10.1.2.3 \
             | ar m.node.dc1.consul. 0 TXT rack=r7",
        ),
        // Twice the same target, twice what belongs to it.
        (
            "two.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 1 m.node.dc1.consul. | an @ 0 SRV 1 1 2 m.node.dc1.consul. \
             | ar m.node.dc1.consul. 0 A 10.0.0.1 | ar m.node.dc1.consul. 0 A 10.0.0.1 \
             | ar m.node.dc1.consul. 0 TXT rack=r7 | ar m.node.dc1.consul. 0 TXT rack=r7",
        ),
        ("two.service.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
    ]);
    let same = alloc::format!("NOERROR AA RD | an @ 0 SRV 1 1 1 m.node.dc1.consul. | {of_m}");
    let ports = alloc::format!("NOERROR AA RD | an @ 0 SRV 1 1 90 m.node.dc1.consul. | {of_m}");
    world.expect(&[("same.service.consul SRV", &same), ("ports.service.consul SRV", &ports)]);
    world.config.dns.enable_additional_node_meta_txt = false;
    world.expect(&[
        (
            "own.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 80 0a010203.addr.dc1.consul. | ar 0a010203.addr.dc1.consul. 0 A 10.1.2.3",
        ),
        ("m.node.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
        ("m.node.consul TXT", "NOERROR AA RD | an @ 0 TXT rack=r7"),
    ]);
}

#[test]
fn node_names() {
    let mut world = World::new();
    let meta = Some(pairs(&[("key", "value"), ("rfc1035-00", "v=spf1"), ("empty", "")]));
    let tagged_addresses = Some(pairs(&[("wan", "198.18.0.1")]));
    world.node(Node { name: "foo".into(), address: "10.0.0.1".into(), meta, tagged_addresses, ..Node::default() });
    world.plain_node("six", "2001:db8::1");
    world.plain_node("cname", "host.example.com");
    world.plain_node("Upper", "10.0.0.4");
    world.plain_node("with.dot", "10.0.0.5");
    let both = Some(pairs(&[("lan_ipv4", "10.0.0.6"), ("lan_ipv6", "2001:db8::6")]));
    world.node(Node { name: "both".into(), address: "10.0.0.6".into(), tagged_addresses: both, ..Node::default() });
    let meta = "@ 0 TXT empty= | ar @ 0 TXT key=value | ar @ 0 TXT v=spf1";
    let a = alloc::format!("NOERROR AA RD | an @ 0 A 10.0.0.1 | ar {meta}");
    let edns = alloc::format!("{a} | edns 4096");
    let rd = alloc::format!("NOERROR AA | an @ 0 A 10.0.0.1 | ar {meta}");
    let aaaa = alloc::format!("NOERROR AA RD | ar {meta}");
    let txt = alloc::format!("NOERROR AA RD | an {}", meta.replace("ar", "an"));
    let any = alloc::format!("NOERROR AA RD | an @ 0 A 10.0.0.1 | an {}", meta.replace("ar", "an"));
    let servers = "n1.node.dc1.consul. | ar n1.node.dc1.consul. 0 A 127.0.0.1";
    let soa = alloc::format!("NOERROR AA RD | an SOA | ns consul. 0 NS {servers}");
    let ns = alloc::format!("NOERROR AA RD | an consul. 0 NS {servers}");
    world.expect(&[
        ("foo.node.consul A", &a),
        ("foo.node.consul A tcp", &a),
        ("FOO.Node.CONSUL A", &a),
        ("foo.node.dc1.consul A", &a),
        ("foo.node.default.ap.consul A", &a),
        ("foo.node.consul A edns=4096", &edns),
        ("foo.node.consul A rd=0", &rd),
        ("foo.node.consul A class=255", &a),
        ("foo.node.consul AAAA", &aaaa),
        ("foo.node.consul TXT", &txt),
        ("foo.node.consul ANY", &any),
        // No record and no SOA either.
        ("foo.node.consul SRV", "NOERROR AA RD"),
        ("foo.node.consul MX", "NOERROR AA RD"),
        ("foo.node.consul CNAME", "NOERROR AA RD"),
        ("foo.node.consul TYPE65280", "NOERROR AA RD"),
        ("six.node.consul A", "NOERROR AA RD"),
        ("six.node.consul AAAA", "NOERROR AA RD | an @ 0 AAAA 2001:db8::1"),
        ("six.node.consul ANY", "NOERROR AA RD | an @ 0 AAAA 2001:db8::1"),
        ("cname.node.consul A", "NOERROR AA RD | an @ 0 CNAME host.example.com."),
        ("cname.node.consul AAAA", "NOERROR AA RD | an @ 0 CNAME host.example.com."),
        ("cname.node.consul ANY", "NOERROR AA RD | an @ 0 CNAME host.example.com."),
        ("upper.node.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.4"),
        ("with.dot.node.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.5"),
        ("both.node.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.6"),
        ("both.node.consul AAAA", "NOERROR AA RD | an @ 0 AAAA 2001:db8::6"),
        ("foo.node.consul SOA", &soa),
        ("foo.node.consul NS", &ns),
        ("absent.node.consul A", NOTHING),
        ("foo.node.dc2.consul A", NOTHING),
        ("foo.nodes.consul A", NOTHING),
        ("node.consul A", NOTHING),
        ("a.b.foo.node.dc1.consul A", NOTHING),
    ]);
}

#[test]
fn addresses_spelled_as_names() {
    let six = "20010db8000000000000000000000001";
    let six_a = alloc::format!("{six}.addr.consul A");
    World::new().expect(&[
        ("0a000001.addr.dc1.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
        // The owner comes back in lower case.
        ("0A000001.addr.consul A", "NOERROR AA RD | an 0a000001.addr.consul. 0 A 10.0.0.1"),
        ("0a000001.addr.consul ANY", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
        ("0a000001.addr.consul AAAA", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
        ("0a000001.addr.consul SRV", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
        ("0a000001.addr.dc9.consul A", "NOERROR AA RD | an @ 0 A 10.0.0.1"),
        (&six_a, "NOERROR AA RD | an @ 0 AAAA 2001:db8::1"),
        ("zz.addr.consul A", "NOERROR AA RD"),
        ("0a0000.addr.consul A", "NOERROR AA RD"),
        ("0a00000z.addr.consul A", NOTHING),
        ("+a000001.addr.consul A", NOTHING),
        ("0a0000011.addr.consul A", NOTHING),
        ("addr.consul A", NOTHING),
        ("x.0a000001.addr.consul A", NOTHING),
    ]);
}

#[test]
fn from_addresses_to_names() {
    let mut world = World::new();
    world.plain_node("foo", "10.0.0.1");
    world.plain_node("six", "2001:db8::1");
    world.service("foo", Service { address: "10.7.7.7".into(), ..service("web", 80) });
    world.service("foo", Service { id: "api2".into(), address: "10.7.7.7".into(), ..service("api", 80) });
    let foo = "NOERROR AA RD | an @ 0 PTR foo.node.dc1.consul.";
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR";
    world.expect(&[
        ("1.0.0.10.in-addr.arpa PTR", foo),
        ("1.0.0.10.in-addr.arpa PTR tcp", foo),
        ("1.0.0.10.IN-ADDR.ARPA PTR", foo),
        ("1.0.0.10.in-addr.arpa ANY", foo),
        ("1.0.0.10.in-addr.arpa A", foo),
        ("1.0.0.10.in-addr.arpa PTR edns=1232", "NOERROR AA RD | an @ 0 PTR foo.node.dc1.consul. | edns 1232"),
        ("7.7.7.10.in-addr.arpa PTR", "NOERROR AA RD | an @ 0 PTR api.service.dc1.consul."),
        (six, "NOERROR AA RD | an @ 0 PTR six.node.dc1.consul."),
        ("9.9.9.9.in-addr.arpa PTR", "SERVFAIL RD RA"),
        ("0.0.10.in-addr.arpa PTR", "SERVFAIL RD RA"),
        ("x.0.0.10.in-addr.arpa PTR", "SERVFAIL RD RA"),
        ("in-addr.arpa PTR", "SERVFAIL RD RA"),
    ]);
}

#[test]
fn mesh_names() {
    let mut world = World::new();
    for (name, address) in [("d1", "10.1.0.1"), ("d2", "10.1.0.2"), ("d3", "10.1.0.3")] {
        world.plain_node(name, address);
    }
    world.service("d1", service("web", 80));
    let proxy = Some(Arc::new(Proxy { destination_service_name: "web".into(), ..Proxy::default() }));
    world.service("d2", Service { kind: "connect-proxy".into(), proxy, ..service("web-proxy", 2000) });
    world.service("d3", Service { connect_native: true, ..service("native", 3000) });
    world.expect(&[
        ("web.connect.consul A", "NOERROR AA RD | an @ 0 A 10.1.0.2"),
        ("web.connect.dc1.consul A", "NOERROR AA RD | an @ 0 A 10.1.0.2"),
        (
            "native.connect.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 3000 d3.node.dc1.consul. | ar d3.node.dc1.consul. 0 A 10.1.0.3",
        ),
        ("web-proxy.service.consul A", "NOERROR AA RD | an @ 0 A 10.1.0.2"),
        ("absent.connect.consul A", NOTHING),
        ("absent.query.consul A", NOTHING),
        ("_conn._tcp.query.consul SRV", NOTHING),
        ("query.consul A", NOTHING),
    ]);
}

#[test]
fn health_decides() {
    let mut world = World::new();
    for (i, status) in [(1, Status::Passing), (2, Status::Warning), (3, Status::Critical)] {
        let node = alloc::format!("h{i}");
        world.plain_node(&node, &alloc::format!("10.2.0.{i}"));
        world.service(&node, Service { weight_warning: 3, ..service("db", i) });
        world.check(&node, "db", status);
    }
    world.expect(&[
        ("db.service.consul A", "NOERROR AA RD | an @ 0 A 10.2.0.1 | an @ 0 A 10.2.0.2"),
        (
            "db.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 1 h1.node.dc1.consul. | an @ 0 SRV 1 3 2 h2.node.dc1.consul. \
             | ar h1.node.dc1.consul. 0 A 10.2.0.1 | ar h2.node.dc1.consul. 0 A 10.2.0.2",
        ),
    ]);
    world.config.dns.only_passing = true;
    world.expect(&[("db.service.consul A", "NOERROR AA RD | an @ 0 A 10.2.0.1")]);
    // A node's check counts for all its services, but the node is still there.
    world.check("h1", "", Status::Critical);
    world.expect(&[("db.service.consul A", NOTHING), ("h1.node.consul A", "NOERROR AA RD | an @ 0 A 10.2.0.1")]);
    world.config.dns.only_passing = false;
    world.expect(&[("db.service.consul A", "NOERROR AA RD | an @ 0 A 10.2.0.2")]);
}

#[test]
fn tagged_addresses_of_a_family() {
    let mut world = World::new();
    world.plain_node("t1", "10.1.0.1");
    let tagged = |pairs: &[(&str, &str)]| {
        let address = |a: &str| TaggedAddress { address: a.into(), port: 1 };
        pairs.iter().map(|(tag, a)| ((*tag).into(), address(a))).collect()
    };
    let tagged_addresses = tagged(&[("lan", "10.2.0.1"), ("wan", "198.18.0.2"), ("lan_ipv6", "2001:db8::9")]);
    world.service("t1", Service { address: "10.2.0.1".into(), tagged_addresses, ..service("web", 80) });
    world.config.translate_wan_addrs = true;
    world.expect(&[
        ("web.service.consul A", "NOERROR AA RD | an @ 0 A 10.2.0.1"),
        ("web.service.consul AAAA", "NOERROR AA RD | an @ 0 AAAA 2001:db8::9"),
        (
            "web.service.consul SRV",
            "NOERROR AA RD | an @ 0 SRV 1 1 80 0a020001.addr.dc1.consul. | ar 0a020001.addr.dc1.consul. 0 A 10.2.0.1",
        ),
    ]);
}

#[test]
fn domains() {
    let mut world = World::new();
    world.plain_node("d1", "10.1.0.1");
    world.service("d1", service("db", 5432));
    world.config.domain = "test.internal.".to_string();
    world.config.alt_domain = "other.".to_string();
    let srv =
        "NOERROR AA RD | an @ 0 SRV 1 1 5432 d1.node.dc1.test.internal. | ar d1.node.dc1.test.internal. 0 A 10.1.0.1";
    let soa = "test.internal. 0 SOA ns.test.internal. hostmaster.test.internal. 1700000000 3600 600 86400 0";
    let ns = "test.internal. 0 NS n1.node.dc1.test.internal. | ar n1.node.dc1.test.internal. 0 A 127.0.0.1";
    let (soa_other, absent) =
        (alloc::format!("NOERROR AA RD | an {soa} | ns {ns}"), alloc::format!("NXDOMAIN AA RD | ns {soa}"));
    let ns_other = alloc::format!("NOERROR AA RD | an {ns}");
    world.expect(&[
        ("db.service.test.internal A", "NOERROR AA RD | an @ 0 A 10.1.0.1"),
        ("db.service.test.internal SRV", srv),
        ("db.service.other SRV", srv),
        ("db.service.dc1.other SRV", srv),
        ("d1.node.Other A", "NOERROR AA RD | an @ 0 A 10.1.0.1"),
        ("other SOA", &soa_other),
        ("other NS", &ns_other),
        ("absent.node.other A", &absent),
        ("db.service.consul A", "REFUSED RD"),
        ("1.0.1.10.in-addr.arpa PTR", "NOERROR AA RD | an @ 0 PTR d1.node.dc1.test.internal."),
    ]);
    // One within the other: the longer one is meant.
    world.config.alt_domain = "alt.test.internal.".to_string();
    world.expect(&[("db.service.alt.test.internal A", "NOERROR AA RD | an @ 0 A 10.1.0.1")]);
    world.config.domain = "a..b.".to_string();
    assert!(matches!(DnsSettings::new(&world.config), Err(SettingsError::Domain { key: "domain", .. })));
}

#[test]
fn how_long_answers_may_be_kept() {
    let mut world = World::new();
    world.plain_node("d1", "10.1.0.1");
    for name in ["db", "web-one", "web-onetwo", "other"] {
        world.service("d1", service(name, 1));
    }
    let dns = &mut world.config.dns;
    dns.node_ttl = Duration::from_secs(13);
    for (pattern, seconds) in [("*", 5), ("DB", 20), ("web-*", 7), ("web-onet*", 8)] {
        dns.service_ttl.insert(pattern.to_string(), Duration::from_secs(seconds));
    }
    (dns.soa.refresh, dns.soa.retry, dns.soa.expire, dns.soa.min_ttl) = (11, 22, 33, 44);
    let soa = "consul. 44 SOA ns.consul. hostmaster.consul. 1700000000 11 22 33 44";
    let (absent, empty) = (alloc::format!("NXDOMAIN AA RD | ns {soa}"), alloc::format!("NOERROR AA RD | ns {soa}"));
    let servers = "consul. 13 NS n1.node.dc1.consul. | ar n1.node.dc1.consul. 13 A 127.0.0.1";
    let apex = alloc::format!("NOERROR AA RD | an @ {} | ns @ {}", &soa[8..], &servers[8..]);
    world.expect(&[
        ("d1.node.consul A", "NOERROR AA RD | an @ 13 A 10.1.0.1"),
        ("0a000001.addr.consul A", "NOERROR AA RD | an @ 13 A 10.0.0.1"),
        ("db.service.consul A", "NOERROR AA RD | an @ 20 A 10.1.0.1"),
        (
            "Db.service.consul SRV",
            "NOERROR AA RD | an @ 20 SRV 1 1 1 d1.node.dc1.consul. | ar d1.node.dc1.consul. 20 A 10.1.0.1",
        ),
        ("web-one.service.consul A", "NOERROR AA RD | an @ 7 A 10.1.0.1"),
        ("web-onetwo.service.consul A", "NOERROR AA RD | an @ 8 A 10.1.0.1"),
        ("other.service.consul A", "NOERROR AA RD | an @ 5 A 10.1.0.1"),
        ("1.0.1.10.in-addr.arpa PTR", "NOERROR AA RD | an @ 0 PTR d1.node.dc1.consul."),
        ("absent.node.consul A", &absent),
        ("db.service.consul AAAA", &empty),
        ("consul SOA", &apex),
    ]);
}

#[test]
fn the_zone_and_what_is_not_there() {
    let mut world = World::new();
    let ns = "NOERROR AA RD | an consul. 0 NS n1.node.dc1.consul. | ar n1.node.dc1.consul. 0 A 127.0.0.1";
    let meta = "an @ 0 A 127.0.0.1 | ar @ 0 TXT consul-network-segment=";
    let (notify, any_class) = (alloc::format!("NOERROR AA | {meta}"), alloc::format!("NOERROR AA RD | {meta}"));
    let apex = ns.replace("consul. 0 NS", "@ 0 NS");
    let negative =
        ["consul A", "consul ANY", "consul TXT", "foo.consul A", "x.bogus.consul A", "ns.consul A", "dc1.consul A"];
    world.expect(&negative.map(|question| (question, NOTHING)));
    world.expect(&[
        ("web.service.consul NS", ns),
        ("consul NS", &apex),
        ("consul A class=3", NOTHING),
        ("absent.service.consul A edns=1232", "NXDOMAIN AA RD | ns SOA | edns 1232"),
        ("absent.service.consul A edns=1232 ecs", "NXDOMAIN AA RD | ns SOA | edns 1232 ecs 198.51.100.0/24/0"),
        ("absent.query.consul A edns=1232 ecs", "NXDOMAIN AA RD | ns SOA | edns 1232 ecs 198.51.100.0/24/24"),
        ("consul AXFR tcp", "NOTIMP AA RD"),
        ("n1.node.consul A class=255", &any_class),
        ("n1.node.consul A opcode=4", &notify),
        ("n1.node.consul A opcode=2", "NOTIMP RD"),
        ("n1.node.consul A opcode=15", "NOTIMP RD"),
        ("example.com A", "REFUSED RD"),
        ("example.com A rd=0", "REFUSED"),
        ("myconsul A", "REFUSED RD"),
        (". NS", "REFUSED RD"),
        ("version.bind TXT class=3", "REFUSED RD"),
        // RFC 6891 asks for these two; Consul ignores the version, and was not recorded refusing with EDNS.
        ("n1.node.consul A edns=1232 version=1", "BADVERS RD | edns 1232"),
        ("example.com A edns=1232", "REFUSED RD | edns 1232"),
    ]);
    // Only host names are servers, three at most, in lower case.
    world.plain_node("not_a_host", "10.0.0.1");
    world.service("not_a_host", service("consul", 8300));
    world.expect(&[("web.service.consul NS", ns)]);
    for name in ["S2", "S3", "S4"] {
        world.plain_node(name, "10.0.0.2");
        world.service(name, service("consul", 8300));
    }
    let text = world.ask("web.service.consul NS");
    assert_eq!((text.matches(" NS ").count(), text.matches(" A ").count()), (3, 3), "{text}");
    assert!(!["S2", "S3", "S4"].iter().any(|name| text.contains(name)), "{text}");
}
