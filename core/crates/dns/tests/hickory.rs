//! Messages compared with another implementation, in both directions: what we write hickory reads the same, and what
//! it writes we read the same.

use std::net::IpAddr;

use convoke_dns::{
    Builder, Class, ClientSubnet, Flags, Message, Name, OptHeader, RData, Record, RecordType, Section, Soa, Srv,
};
use hickory_proto::op::{self, Edns, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet as TheirSubnet, EdnsOption};
use hickory_proto::rr::{self, rdata};
use proptest::collection::vec;
use proptest::prelude::*;

/// Address, source prefix, scope prefix.
type Subnet = (IpAddr, u8, u8);

/// A record's data, in nobody's terms.
#[derive(Debug, Clone, PartialEq)]
enum Data {
    Address(IpAddr),
    Ns(String),
    Cname(String),
    Ptr(String),
    Mx(u16, String),
    Soa(String, String, [u32; 5]),
    Srv(u16, u16, u16, String),
    Txt(Vec<Vec<u8>>),
    Unknown(u16, Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
struct Rr {
    owner: String,
    ttl: u32,
    data: Data,
}

#[derive(Debug, Clone, PartialEq)]
struct Shape {
    id: u16,
    question: (String, u16),
    flags: u16,
    sections: [Vec<Rr>; 3],
    /// Payload size, DNSSEC wanted, client subnet.
    edns: Option<(u16, bool, Option<Subnet>)>,
}

/// Few labels from a small set, so that names share suffixes; always with the final dot.
fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof!["[a-z]{1,3}", "[A-Za-z0-9_-]{1,12}", Just("consul".to_owned()), Just("node".to_owned())];
    let label = label.prop_map(|l| if l.starts_with('-') { format!("x{l}") } else { l });
    vec(label, 0..5).prop_map(|labels| if labels.is_empty() { ".".into() } else { labels.join(".") + "." })
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<IpAddr>().prop_map(Data::Address),
        name().prop_map(Data::Ns),
        name().prop_map(Data::Cname),
        name().prop_map(Data::Ptr),
        (any::<u16>(), name()).prop_map(|(p, n)| Data::Mx(p, n)),
        (name(), name(), proptest::array::uniform5(0..1u32 << 31)).prop_map(|(m, r, t)| Data::Soa(m, r, t)),
        (any::<u16>(), any::<u16>(), any::<u16>(), name()).prop_map(|(p, w, o, n)| Data::Srv(p, w, o, n)),
        vec(vec(any::<u8>(), 0..256), 1..4).prop_map(Data::Txt),
        // Not empty: hickory takes that for a dynamic update.
        (65400..65534u16, vec(any::<u8>(), 1..40)).prop_map(|(t, d)| Data::Unknown(t, d)),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let rr = || (name(), 0..1u32 << 31, data()).prop_map(|(owner, ttl, data)| Rr { owner, ttl, data });
    let edns = (512..9000u16, any::<bool>(), proptest::option::of((any::<[u8; 4]>(), 0..33u8, 0..33u8)));
    let edns = edns.prop_map(|(payload, dnssec_ok, subnet)| {
        let subnet = subnet.map(|(address, source, scope)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
            (IpAddr::from((u32::from_be_bytes(address) & mask).to_be_bytes()), source, scope)
        });
        (payload, dnssec_ok, subnet)
    });
    let question = (name(), prop_oneof![Just(1u16), Just(33), Just(255), Just(65400)]);
    let flags = any::<u16>().prop_map(|f| f & (Flags::QR | Flags::AA | Flags::TC | Flags::RD | Flags::RA) | f & 0b101);
    let sections = [vec(rr(), 0..6), vec(rr(), 0..3), vec(rr(), 0..6)];
    (any::<u16>(), question, flags, sections, proptest::option::of(edns))
        .prop_map(|(id, question, flags, sections, edns)| Shape { id, question, flags, sections, edns })
}

const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];

fn write_ours(shape: &Shape, compress: bool) -> Vec<u8> {
    let n = |text: &str| text.parse::<Name>().expect("a name");
    let mut buf = vec![0; 65_535];
    let mut b = Builder::new(&mut buf, 65_535, shape.id, Flags(shape.flags)).expect("room");
    if !compress {
        b.disable_compression();
    }
    let opt = shape.edns.map(|(payload, dnssec_ok, subnet)| {
        let subnet =
            subnet.map(|(address, source_prefix, scope_prefix)| ClientSubnet { address, source_prefix, scope_prefix });
        (OptHeader { payload, rcode_high: 0, version: 0, dnssec_ok }, subnet)
    });
    let opt_len = opt.map_or(0, |(_, subnet)| Builder::opt_len(subnet.as_ref()));
    b.question(&n(&shape.question.0), RecordType(shape.question.1), Class::IN).expect("room");
    b.reserve(opt_len).expect("room");
    for (section, rrs) in SECTIONS.into_iter().zip(&shape.sections) {
        for rr in rrs {
            let (owner, ttl) = (&n(&rr.owner), rr.ttl);
            match &rr.data {
                Data::Address(ip) => b.address(section, owner, ttl, *ip),
                Data::Ns(t) => b.name_record(section, owner, RecordType::NS, ttl, &n(t)),
                Data::Cname(t) => b.name_record(section, owner, RecordType::CNAME, ttl, &n(t)),
                Data::Ptr(t) => b.name_record(section, owner, RecordType::PTR, ttl, &n(t)),
                Data::Mx(preference, t) => {
                    let mut r = b.record(section, owner, RecordType::MX, Class::IN, ttl).expect("room");
                    r.put_u16(*preference);
                    r.put_name(&n(t));
                    r.commit()
                }
                Data::Soa(m, r, [serial, refresh, retry, expire, minimum]) => {
                    let (serial, refresh, retry, expire, minimum) = (*serial, *refresh, *retry, *expire, *minimum);
                    let soa = Soa { mname: n(m), rname: n(r), serial, refresh, retry, expire, minimum };
                    b.soa(section, owner, ttl, &soa)
                }
                Data::Srv(priority, weight, port, t) => {
                    let srv = Srv { priority: *priority, weight: *weight, port: *port };
                    b.srv(section, owner, ttl, srv, &n(t)).map(|_| ())
                }
                Data::Txt(strings) => {
                    let raw: Vec<u8> = strings.iter().flat_map(|s| [&[s.len() as u8], s.as_slice()].concat()).collect();
                    b.raw(section, owner, RecordType::TXT, Class::IN, ttl, &raw)
                }
                Data::Unknown(t, bytes) => b.raw(section, owner, RecordType(*t), Class::IN, ttl, bytes),
            }
            .expect("room");
        }
    }
    if let Some((header, subnet)) = opt {
        b.release(opt_len);
        b.opt(header, subnet.as_ref()).expect("was reserved");
    }
    let len = b.finish();
    buf.truncate(len);
    buf
}

fn read_ours(packet: &[u8]) -> Shape {
    let message = Message::parse(packet).expect("a message");
    assert_eq!(message.end(), packet.len());
    let question = message.questions().next().expect("a question");
    let read = |r: Record<'_>| {
        let data = match r.data {
            RData::A(ip) => Data::Address(ip.into()),
            RData::Aaaa(ip) => Data::Address(ip.into()),
            RData::Ns(n) => Data::Ns(n.to_string()),
            RData::Cname(n) => Data::Cname(n.to_string()),
            RData::Ptr(n) => Data::Ptr(n.to_string()),
            RData::Mx { preference, exchange } => Data::Mx(preference, exchange.to_string()),
            RData::Soa { mname, rname, timers } => Data::Soa(mname.to_string(), rname.to_string(), timers),
            RData::Srv { priority, weight, port, target } => Data::Srv(priority, weight, port, target.to_string()),
            RData::Txt(txt) => Data::Txt(txt.strings().map(<[u8]>::to_vec).collect()),
            RData::Unknown(bytes) => Data::Unknown(r.rtype.0, bytes.to_vec()),
            RData::Opt(_) => return None,
        };
        Some(Rr { owner: r.name.to_string(), ttl: r.ttl, data })
    };
    let edns = message.opt().map(|(header, opt)| {
        (header.payload, header.dnssec_ok, opt.client_subnet().map(|s| (s.address, s.source_prefix, s.scope_prefix)))
    });
    Shape {
        id: message.header().id,
        question: (question.name.to_string(), question.rtype.0),
        flags: message.header().flags.0,
        sections: SECTIONS.map(|section| message.records(section).filter_map(read).collect()),
        edns,
    }
}

fn write_theirs(shape: &Shape) -> Vec<u8> {
    let n = |text: &str| rr::Name::from_ascii(text).expect("a name");
    let kind = if shape.flags & Flags::QR != 0 { MessageType::Response } else { MessageType::Query };
    let mut m = op::Message::new(shape.id, kind, OpCode::Query);
    m.metadata.authoritative = shape.flags & Flags::AA != 0;
    m.metadata.truncation = shape.flags & Flags::TC != 0;
    m.metadata.recursion_desired = shape.flags & Flags::RD != 0;
    m.metadata.recursion_available = shape.flags & Flags::RA != 0;
    m.metadata.response_code = op::ResponseCode::from(0, shape.flags as u8 & 0x0f);
    m.add_query(Query::query(n(&shape.question.0), rr::RecordType::from(shape.question.1)));
    for (index, rrs) in shape.sections.iter().enumerate() {
        for rr in rrs {
            let data = match &rr.data {
                Data::Address(IpAddr::V4(ip)) => rr::RData::A((*ip).into()),
                Data::Address(IpAddr::V6(ip)) => rr::RData::AAAA((*ip).into()),
                Data::Ns(t) => rr::RData::NS(rdata::NS(n(t))),
                Data::Cname(t) => rr::RData::CNAME(rdata::CNAME(n(t))),
                Data::Ptr(t) => rr::RData::PTR(rdata::PTR(n(t))),
                Data::Mx(p, t) => rr::RData::MX(rdata::MX::new(*p, n(t))),
                Data::Soa(m, r, [serial, refresh, retry, expire, minimum]) => rr::RData::SOA(rdata::SOA::new(
                    n(m),
                    n(r),
                    *serial,
                    *refresh as i32,
                    *retry as i32,
                    *expire as i32,
                    *minimum,
                )),
                Data::Srv(p, w, o, t) => rr::RData::SRV(rdata::SRV::new(*p, *w, *o, n(t))),
                Data::Txt(strings) => {
                    rr::RData::TXT(rdata::TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
                }
                Data::Unknown(t, bytes) => {
                    rr::RData::Unknown { code: rr::RecordType::from(*t), rdata: rdata::NULL::with(bytes.clone()) }
                }
            };
            let record = rr::Record::from_rdata(n(&rr.owner), rr.ttl, data);
            match index {
                0 => m.add_answer(record),
                1 => m.add_authority(record),
                _ => m.add_additional(record),
            };
        }
    }
    if let Some((payload, dnssec_ok, subnet)) = shape.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
        if let Some((address, source, scope)) = subnet {
            edns.options_mut().insert(EdnsOption::Subnet(TheirSubnet::new(address, source, scope)));
        }
        m.set_edns(edns);
    }
    m.to_vec().expect("a message")
}

fn read_theirs(packet: &[u8]) -> Shape {
    let m = op::Message::from_vec(packet).expect("hickory reads what we write");
    let question = m.queries.first().expect("a question");
    let read = |r: &rr::Record| {
        let data = match &r.data {
            rr::RData::A(ip) => Data::Address(ip.0.into()),
            rr::RData::AAAA(ip) => Data::Address(ip.0.into()),
            rr::RData::NS(t) => Data::Ns(t.0.to_ascii()),
            rr::RData::CNAME(t) => Data::Cname(t.0.to_ascii()),
            rr::RData::PTR(t) => Data::Ptr(t.0.to_ascii()),
            rr::RData::MX(mx) => Data::Mx(mx.preference, mx.exchange.to_ascii()),
            rr::RData::SOA(s) => Data::Soa(
                s.mname.to_ascii(),
                s.rname.to_ascii(),
                [s.serial, s.refresh as u32, s.retry as u32, s.expire as u32, s.minimum],
            ),
            rr::RData::SRV(s) => Data::Srv(s.priority, s.weight, s.port, s.target.to_ascii()),
            rr::RData::TXT(t) => Data::Txt(t.txt_data.iter().map(|s| s.to_vec()).collect()),
            rr::RData::Unknown { code, rdata } => Data::Unknown((*code).into(), rdata.anything.clone()),
            other => panic!("nobody wrote {other:?}"),
        };
        Rr { owner: r.name.to_ascii(), ttl: r.ttl, data }
    };
    let md = &m.metadata;
    let bits = [
        (Flags::QR, md.message_type == MessageType::Response),
        (Flags::AA, md.authoritative),
        (Flags::TC, md.truncation),
        (Flags::RD, md.recursion_desired),
        (Flags::RA, md.recursion_available),
    ];
    let flags = bits.into_iter().filter(|(_, on)| *on).fold(u16::from(md.response_code.low()), |f, (bit, _)| f | bit);
    let edns = m.edns.as_ref().map(|e| {
        let subnet = e.option(rdata::opt::EdnsCode::Subnet).and_then(|o| match o {
            EdnsOption::Subnet(s) => Some((s.addr(), s.source_prefix(), s.scope_prefix())),
            _ => None,
        });
        (e.max_payload(), e.flags().dnssec_ok, subnet)
    });
    Shape {
        id: md.id,
        question: (question.name().to_ascii(), question.query_type().into()),
        flags,
        sections: [&m.answers, &m.authorities, &m.additionals].map(|rrs| rrs.iter().map(read).collect()),
        edns,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hickory_reads_what_we_write(shape in shape(), compress in any::<bool>()) {
        let packet = write_ours(&shape, compress);
        prop_assert_eq!(&read_theirs(&packet), &shape);
        prop_assert_eq!(&read_ours(&packet), &shape);
    }

    #[test]
    fn we_read_what_hickory_writes(shape in shape()) {
        prop_assert_eq!(&read_ours(&write_theirs(&shape)), &shape);
    }

    #[test]
    fn we_never_need_more_than_without_compression(shape in shape()) {
        prop_assert!(write_ours(&shape, true).len() <= write_ours(&shape, false).len());
    }
}
