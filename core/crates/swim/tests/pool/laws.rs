//! The laws of a machine, and what arbitrary bytes can do to it.

use crate::harness::{address, boot};
use convoke_kit::laws::{self, Effort};
use convoke_kit::{Machine as _, Out, Rng, Time};
use convoke_swim::{
    Action, Boot, Command, Event, ExchangeId, Key, KeyOp, Keyring, Members, Profile, StreamId, Swim, Tags, Ticket,
    Versions,
};

fn known(n: usize) -> Members {
    Members::of((0..n).map(|n| (Profile::new(&format!("n{n}"), address(n), &Tags::default(), Versions::OURS), 1)))
}

fn machine(seed: u64) -> Swim {
    let keyring =
        if seed.is_multiple_of(3) { Keyring::new(&[Key::new(&[1; 16]).unwrap()]).unwrap() } else { Keyring::default() };
    Swim::new(Boot { members: known(20), keyring, seed, ..boot(0) })
}

/// Events as they come, and as they should never come. `heard` is what a peer said lately: replayed, and changed.
fn drive(rng: &mut Rng, now: Time, swim: &mut Swim, peer: &mut Swim, out: &mut Out<Action>) {
    let mut heard = Out::new();
    peer.handle_timeout(now, &mut heard);
    let from = address(rng.index(24));
    let mut bytes: Vec<u8> = heard.datagrams().next().map_or_else(Vec::new, |d| d.bytes.to_vec());
    if bytes.is_empty() || rng.one_in(4) {
        bytes = (0..rng.index(60)).map(|_| rng.next_u64() as u8).collect();
        bytes.splice(0..0, [0xC7, 1, 0, rng.below(30) as u8, 0, rng.below(11) as u8]);
    }
    if rng.one_in(3) && !bytes.is_empty() {
        let at = rng.index(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
    let name = format!("n{}", rng.below(22));
    let event = match rng.below(12) {
        0..5 => Event::Datagram { from, bytes: &bytes },
        5 => Event::Request { stream: StreamId(rng.below(9)), from, frame: &bytes },
        6 => Event::Response { exchange: ExchangeId(rng.below(20)), frame: &bytes },
        7 => Event::DialFailed { exchange: ExchangeId(rng.below(20)), error: "refused" },
        8 => Event::Command(Command::Join { ticket: Ticket(rng.below(3)), addresses: vec![from; rng.index(3)] }),
        9 => Event::Command(Command::UserEvent { name, payload: bytes }),
        10 => Event::Command(Command::ForceLeave { name, prune: rng.one_in(2) }),
        _ if rng.one_in(60) => Event::Command(Command::Leave),
        _ => Event::Command(Command::Keys {
            ticket: Ticket(1),
            op: KeyOp::Use(Key::new(&[2; 16]).unwrap()),
            local: rng.one_in(2),
        }),
    };
    swim.handle(now, event, out);
}

#[test]
fn the_laws_hold() {
    for seed in 0..24 {
        let peer = std::cell::RefCell::new(None);
        let trace = laws::check(
            seed,
            Effort { steps: 300, ..Effort::default() },
            |seed| {
                *peer.borrow_mut() = Some(Swim::new(Boot { members: known(20), seed: seed ^ 1, ..boot(1) }));
                machine(seed)
            },
            |rng, now, swim, out| drive(rng, now, swim, peer.borrow_mut().as_mut().unwrap(), out),
        );
        assert!(trace.len() > 100, "seed {seed}: something happened: {}", trace.len());
    }
}
