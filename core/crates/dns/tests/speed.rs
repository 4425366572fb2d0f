//! What decoding and encoding cost. Not run by default, as figures depend on the machine:
//! `CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test -p convoke-dns --test speed -- --ignored --nocapture`

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a measurement needs a clock")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use convoke_dns::{Builder, Class, Flags, Message, Name, RecordType, Section, Srv};

const ROUNDS: u32 = 20_000;

/// 10 SRV records and the A records of their targets.
fn encode(question: &Name, targets: &[Name], buf: &mut [u8]) -> usize {
    let mut b = Builder::new(buf, 4096, 1, Flags(Flags::QR | Flags::AA)).expect("room");
    let at = b.question(question, RecordType::SRV, Class::IN).expect("room");
    let mut places = [at; 10];
    for (target, place) in targets.iter().zip(&mut places) {
        *place = b.srv(Section::Answer, at, 0, Srv { priority: 1, weight: 1, port: 80 }, target).expect("room");
    }
    for place in places {
        b.address(Section::Additional, place, 0, IpAddr::from([10, 0, 0, 1])).expect("room");
    }
    b.finish()
}

fn best_of(mut run: impl FnMut()) -> Duration {
    (0..10)
        .map(|_| {
            let start = Instant::now();
            (0..ROUNDS).for_each(|_| run());
            start.elapsed() / ROUNDS
        })
        .min()
        .expect("ten runs")
}

#[test]
#[ignore = "a measurement"]
fn ten_srv_records_and_ten_addresses() {
    let question: Name = "web.service.consul".parse().expect("a name");
    let targets: Vec<Name> = (0..10).map(|i| format!("node-{i}.node.dc1.consul").parse().expect("a name")).collect();
    let mut buf = vec![0; 4096];
    let len = encode(&question, &targets, &mut buf);
    let packet = buf[..len].to_vec();
    let mut query = vec![0; 512];
    let mut b = Builder::new(&mut query, 512, 1, Flags(Flags::RD)).expect("room");
    b.question(&question, RecordType::SRV, Class::IN).expect("room");
    let query_len = b.finish();

    let encoding = best_of(|| {
        black_box(encode(black_box(&question), black_box(&targets), &mut buf));
    });
    let decoding = best_of(|| {
        black_box(Message::parse(black_box(&packet)).expect("a message"));
    });
    let decoding_query = best_of(|| {
        let message = Message::parse(black_box(&query[..query_len])).expect("a message");
        black_box(message.questions().next().map(|q| q.name.to_name()));
    });
    println!(
        "encode 10 SRV + 10 A ({len} octets): {encoding:?}; decode it: {decoding:?}; decode a query: {decoding_query:?}"
    );
    assert!(encoding < Duration::from_micros(2), "{encoding:?}");
    assert!(decoding < Duration::from_micros(1), "{decoding:?}");
    assert!(decoding_query < Duration::from_micros(1), "{decoding_query:?}");
}
