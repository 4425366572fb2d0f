//! Any bytes in: no panic, no endless loop, nothing beyond a limit.

use convoke_dns::{Builder, Class, Flags, Message, Name, RecordType, Section, truncate};
use proptest::collection::vec;
use proptest::prelude::*;

const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];

/// A valid message with names that point at each other.
fn sample() -> Vec<u8> {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let mut buf = vec![0; 512];
    let mut b = Builder::new(&mut buf, 512, 1, Flags(Flags::QR)).expect("room");
    let at = b.question(&name("web.service.consul"), RecordType::SRV, Class::IN).expect("room");
    for (i, host) in ["a.node.dc1.consul", "b.node.dc1.consul", "c.node.dc1.consul"].iter().enumerate() {
        let srv = convoke_dns::Srv { priority: 1, weight: 1, port: 80 + i as u16 };
        b.srv(Section::Answer, at, 5, srv, &name(host)).expect("room");
    }
    b.name_record(Section::Authority, &name("consul"), RecordType::NS, 5, &name("a.node.dc1.consul")).expect("room");
    b.address(Section::Additional, &name("b.node.dc1.consul"), 5, [10, 0, 0, 1].into()).expect("room");
    b.opt(convoke_dns::OptHeader { payload: 1232, rcode_high: 0, version: 0, dnssec_ok: true }, None).expect("room");
    let len = b.finish();
    buf.truncate(len);
    buf
}

/// Bytes of all kinds: noise, noise behind a plausible header, and a valid message with some octets replaced.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let plausible = (vec(0u8..4, 4), vec(prop_oneof![any::<u8>(), Just(0xc0), Just(0), 1u8..16], 0..300)).prop_map(
        |(counts, body)| {
            let mut packet = vec![0, 1, 1, 0];
            packet.extend(counts.iter().flat_map(|c| [0, *c]));
            packet.extend(body);
            packet
        },
    );
    let damaged = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6).prop_map(|changes| {
        let mut packet = sample();
        for (index, byte) in changes {
            let at = index.index(packet.len());
            packet[at] = byte;
        }
        packet
    });
    prop_oneof![
        vec(any::<u8>(), 0..600),
        plausible,
        damaged.clone(),
        (damaged, 0..200usize).prop_map(|(mut p, n)| {
            p.truncate(n);
            p
        })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// What parses can be walked to the end, and copied record by record into a message that says the same.
    #[test]
    fn any_bytes_are_a_message_or_an_error(packet in packet()) {
        let Ok(message) = Message::parse(&packet) else { return Ok(()) };
        prop_assert!(message.end() <= packet.len());
        let counts = message.header().counts;
        prop_assert_eq!(message.questions().count(), usize::from(counts[0]));
        let mut buf = vec![0; 65_535];
        let mut b = Builder::new(&mut buf, 65_535, 1, message.header().flags).expect("room");
        for q in message.questions() {
            b.question(&q.name.to_name(), q.rtype, q.class).expect("room");
        }
        for section in SECTIONS {
            prop_assert_eq!(message.records(section).count(), usize::from(counts[section.index()]));
            for record in message.records(section) {
                prop_assert!(record.name.to_name().as_wire().len() == record.name.wire_len());
                let text = record.name.to_string();
                prop_assert_eq!(text.parse::<Name>().expect("prints what it reads"), record.name.to_name());
                b.copy(section, &record, record.ttl).expect("room");
            }
        }
        let len = b.finish();
        let again = Message::parse(&buf[..len]).expect("well-formed");
        for section in SECTIONS {
            prop_assert!(again.records(section).eq(message.records(section)), "{:?} became {:?}", message, again);
        }
    }

    /// A cut message is a message within the limit, its records a prefix of what was there.
    #[test]
    fn cutting_keeps_messages_whole(packet in packet(), limit in 0..600usize) {
        let whole = packet.clone();
        let mut packet = packet;
        let Some(len) = truncate(&mut packet, limit) else {
            prop_assert!(Message::parse(&whole).is_err() || limit < 12);
            return Ok(());
        };
        prop_assert!(len <= limit);
        let before = Message::parse(&whole).expect("it was cut");
        let after = Message::parse(&packet[..len]).expect("well-formed");
        let mut lost = 0;
        for section in SECTIONS {
            let plain = |m: &Message<'_>| m.records(section).filter(|r| r.rtype != RecordType::OPT).count();
            prop_assert!(plain(&after) <= plain(&before));
            lost += if section < Section::Additional { plain(&before) - plain(&after) } else { 0 };
        }
        prop_assert_eq!(after.header().flags.has(Flags::TC), before.header().flags.has(Flags::TC) || lost > 0);
    }

    /// Whatever is added, the builder stays within its limit and what it holds is a message.
    #[test]
    fn the_builder_never_exceeds_its_limit(
        limit in 12..400usize,
        reserved in 0..40usize,
        steps in vec((0..3usize, "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", 0..5u8), 0..40),
    ) {
        let mut buf = vec![0xaa; 500];
        let mut b = Builder::new(&mut buf, limit, 1, Flags::default()).expect("room for a header");
        let held = b.reserve(reserved).is_ok();
        let mut section = 0;
        let mut kept = [0u16; 3];
        for (step, text, kind) in steps {
            section = section.max(step);
            let name: Name = text.parse().expect("a name");
            let at = SECTIONS[section];
            let done = match kind {
                0 => b.address(at, &name, 0, [1, 2, 3, 4].into()),
                1 => b.name_record(at, &name, RecordType::CNAME, 0, &name),
                2 => b.srv(at, &name, 0, convoke_dns::Srv { priority: 0, weight: 0, port: 0 }, &name).map(|_| ()),
                3 => b.txt(at, &name, 0, [text.as_bytes(); 40].into_iter()),
                _ => {
                    let mark = b.mark();
                    let _ = b.name_record(at, &name, RecordType::NS, 0, &name);
                    b.rewind(mark);
                    continue;
                }
            };
            if done.is_ok() {
                kept[section] += 1;
            }
            let held_back = usize::from(held) * reserved;
            prop_assert!(b.len() + held_back <= limit);
        }
        let len = b.finish();
        prop_assert!(len <= limit);
        prop_assert!(buf[limit..].iter().all(|byte| *byte == 0xaa), "nothing beyond the limit was touched");
        let message = Message::parse(&buf[..len]).expect("well-formed");
        prop_assert_eq!(&message.header().counts[1..], &kept);
        prop_assert_eq!(message.end(), len);
    }
}
