//! A catalog in few words, and answers as text.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use convoke_catalog::command::Register;
use convoke_catalog::model::{Check, Node, Service, Status, Str};
use convoke_catalog::{Catalog, Command, Reply, View};
use convoke_config::Config;
use convoke_dns::{
    Builder, Class, ClientSubnet, Flags, Message, Opcode, OptHeader, RData, Record, RecordType, Section,
};

use crate::dns::{DnsSettings, Outcome, Recursion, Transport, answer};

/// The SOA serial of all answers here.
pub(super) const NOW: u64 = 1_700_000_000;
/// What stands for the usual SOA record in expectations.
const SOA: &str = "consul. 0 SOA ns.consul. hostmaster.consul. 1700000000 3600 600 86400 0";

pub(super) struct World {
    catalog: Catalog,
    index: u64,
    pub(super) config: Config,
}

/// A service as registrations have it that say nothing about the rest.
pub(super) fn service(name: &str, port: u16) -> Service {
    let name: Str = name.into();
    Service { id: name.clone(), name, port, weight_passing: 1, weight_warning: 1, ..Service::default() }
}

pub(super) fn tags(tags: &[&str]) -> Vec<Str> {
    tags.iter().map(|tag| (*tag).into()).collect()
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<Str, Str> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

impl World {
    /// One server, `n1` at 127.0.0.1.
    pub(super) fn new() -> Self {
        let mut world =
            Self { catalog: Catalog::default(), index: 0, config: Config { server: true, ..Config::default() } };
        let meta = Some(pairs(&[("consul-network-segment", "")]));
        world.node(Node { name: "n1".into(), address: "127.0.0.1".into(), meta, ..Node::default() });
        world.service("n1", service("consul", 8300));
        world
    }

    pub(super) fn node(&mut self, node: Node) {
        let node = Node { partition: "default".into(), datacenter: "dc1".into(), ..node };
        self.register(Register { node, ..Register::default() });
    }

    /// A node with nothing but an address.
    pub(super) fn plain_node(&mut self, name: &str, address: &str) {
        self.node(Node { name: name.into(), address: address.into(), ..Node::default() });
    }

    pub(super) fn service(&mut self, node: &str, service: Service) {
        self.register(Register { services: vec![service], ..Self::on(node) });
    }

    /// A check of a service, or of the node if there is none.
    pub(super) fn check(&mut self, node: &str, service_id: &str, status: Status) {
        let id = format!("check of {service_id}").into();
        let check = Check { node: node.into(), id, service_id: service_id.into(), status, ..Check::default() };
        self.register(Register { checks: vec![check], ..Self::on(node) });
    }

    /// `count` instances of `name` on one node, each with its own address from 10.20.0.1 and port from 1000.
    pub(super) fn many(&mut self, name: &str, count: u16) {
        self.plain_node("many", "10.20.255.255");
        for i in 0..count {
            let id = format!("{name}-{i}").into();
            let address = format!("10.20.{}.{}", (i + 1) >> 8, (i + 1) & 0xff).into();
            self.service("many", Service { id, address, ..service(name, 1000 + i) });
        }
    }

    fn on(node: &str) -> Register {
        let node = Node { name: node.into(), partition: "default".into(), ..Node::default() };
        Register { node, skip_node_update: true, ..Register::default() }
    }

    fn register(&mut self, register: Register) {
        self.apply(Command::Register(register));
    }

    pub(super) fn apply(&mut self, command: Command) {
        self.index += 1;
        let reply = self.catalog.apply(self.index, command).reply;
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    }

    pub(super) fn view(&self) -> View {
        self.catalog.view()
    }

    pub(super) fn settings(&self) -> DnsSettings {
        DnsSettings::new(&self.config).expect("valid domains")
    }

    /// The reply to a question as [`question`] reads it; `None` if there is none. Fails if upstream servers are needed.
    pub(super) fn reply(&self, text: &str, seed: u64) -> Option<Vec<u8>> {
        let (packet, transport) = question(text);
        let mut out = vec![0; 65_535];
        match answer(&self.view(), &self.settings(), &packet, transport, seed, NOW, &mut out) {
            Outcome::Reply(len) => out.truncate(len),
            Outcome::Drop => return None,
            Outcome::Elsewhere => panic!("a server has tables"),
            Outcome::Recurse(_) => panic!("{text} needs upstream servers"),
        }
        Some(out)
    }

    /// The reply as [`show`] writes it.
    pub(super) fn ask(&self, text: &str) -> String {
        show(&self.reply(text, 1).expect("a reply"))
    }

    /// The state machine that asks upstream servers.
    pub(super) fn recurse(&self, text: &str) -> Recursion {
        let (packet, transport) = question(text);
        match answer(&self.view(), &self.settings(), &packet, transport, 1, NOW, &mut [0; 4096]) {
            Outcome::Recurse(recursion) => *recursion,
            other => panic!("{text} is answered without upstream servers: {other:?}"),
        }
    }

    pub(super) fn expect(&self, table: &[(&str, &str)]) {
        for (text, expected) in table {
            assert_eq!(self.ask(text), *expected, "{text}");
        }
    }
}

/// `name TYPE`, and then any of `tcp`, `edns=SIZE`, `version=N`, `ecs`, `class=N`, `opcode=N`, `rd=0`.
pub(super) fn question(text: &str) -> (Vec<u8>, Transport) {
    let mut words = text.split(' ');
    let (name, rtype) = (words.next().expect("a name"), words.next().expect("a type"));
    let types = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::ANY,
        RecordType::AXFR,
        RecordType::CNAME,
        RecordType::MX,
        RecordType::NS,
        RecordType::PTR,
        RecordType::SOA,
        RecordType::SRV,
        RecordType::TXT,
        RecordType(65_280),
    ];
    let rtype = types.into_iter().find(|t| t.to_string() == rtype).expect("a known type");
    let (mut transport, mut class, mut flags, mut subnet) = (Transport::Udp, Class::IN, Flags(Flags::RD), None);
    let (mut payload, mut version) = (None, 0);
    for word in words {
        match word.split_once('=').map_or((word, 0), |(key, value)| (key, value.parse().expect("a number"))) {
            ("tcp", _) => transport = Transport::Tcp,
            ("edns", size) => payload = Some(size),
            ("version", v) => version = v as u8,
            ("ecs", _) => {
                let address = [198, 51, 100, 0].into();
                subnet = Some(ClientSubnet { address, source_prefix: 24, scope_prefix: 0 });
            }
            ("class", c) => class = Class(c),
            ("opcode", o) => flags = flags.with_opcode(Opcode(o as u8)),
            ("rd", _) => flags = flags.with(Flags::RD, false),
            other => panic!("{other:?}"),
        }
    }
    let mut packet = vec![0; 512];
    let mut b = Builder::new(&mut packet, 512, 77, flags).expect("room");
    b.question(&name.parse().expect("a name"), rtype, class).expect("room");
    if let Some(payload) = payload {
        b.opt(OptHeader { payload, rcode_high: 0, version, dnssec_ok: false }, subnet.as_ref()).expect("room");
    }
    let len = b.finish();
    packet.truncate(len);
    (packet, transport)
}

/// Response code and flags, then the records of each section, sorted: `an`, `ns`, `ar` and what `name TTL TYPE data`
/// they are. `@` is the question's name, `SOA` alone the usual SOA record.
pub(super) fn show(packet: &[u8]) -> String {
    let message = Message::parse(packet).expect("a well-formed reply");
    assert_eq!(message.end(), packet.len(), "nothing after the message");
    let header = message.header();
    assert!(header.id == 77 && header.flags.has(Flags::QR));
    let rcode = message.opt().map_or(0, |(opt, _)| u16::from(opt.rcode_high) << 4) | header.flags.rcode().0;
    let mut text = convoke_dns::Rcode(rcode).to_string();
    for (name, bit) in [("AA", Flags::AA), ("TC", Flags::TC), ("RD", Flags::RD), ("RA", Flags::RA)] {
        if header.flags.has(bit) {
            text = text + " " + name;
        }
    }
    let asked = message.questions().next().map(|q| q.name.to_string());
    for (title, section) in [("an", Section::Answer), ("ns", Section::Authority), ("ar", Section::Additional)] {
        let records = message.records(section).filter(|record| record.rtype != RecordType::OPT);
        let mut lines: Vec<_> = records.map(|record| show_record(&record, asked.as_deref())).collect();
        lines.sort();
        for line in lines {
            text = text + " | " + title + " " + &line;
        }
    }
    if let Some((header, options)) = message.opt() {
        text += &format!(" | edns {}", header.payload);
        if let Some(subnet) = options.client_subnet() {
            text += &format!(" ecs {}/{}/{}", subnet.address, subnet.source_prefix, subnet.scope_prefix);
        }
    }
    text
}

fn show_record(record: &Record<'_>, asked: Option<&str>) -> String {
    let data = match record.data {
        RData::A(ip) => ip.to_string(),
        RData::Aaaa(ip) => ip.to_string(),
        RData::Ns(name) | RData::Cname(name) | RData::Ptr(name) => name.to_string(),
        RData::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target}"),
        RData::Soa { mname, rname, timers } => {
            let timers: Vec<_> = timers.iter().map(ToString::to_string).collect();
            format!("{mname} {rname} {}", timers.join(" "))
        }
        RData::Txt(txt) => txt.strings().map(|s| String::from_utf8_lossy(s).into_owned()).collect::<Vec<_>>().join("+"),
        other => panic!("nobody answers with {other:?}"),
    };
    let owner = record.name.to_string();
    let owner = if asked == Some(owner.as_str()) { "@" } else { &owner };
    let text = format!("{owner} {} {} {data}", record.ttl, record.rtype);
    let full = format!("{} {} {} {data}", record.name, record.ttl, record.rtype);
    if full == SOA { "SOA".to_string() } else { text }
}
