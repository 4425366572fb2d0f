//! Gossip: any bytes and any order of them, at the machine and at the whole node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_config::Config as AgentConfig;
use convoke_core::node::{Action as NodeAction, Boot as NodeBoot, Event as NodeEvent, LookupId, Node, Pool};
use convoke_core::store::Recovered;
use convoke_kit::{Machine, Out, Time};
use convoke_swim::{
    Action, Boot, Command, Config, Event, ExchangeId, Key, KeyOp, Keyring, Members, StreamId, Swim, Tags, Ticket,
};

/// More than any single event makes a machine say.
const MOST: usize = 4096;

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 8301))
}

fn key(n: u8) -> Key {
    Key::new(&[n; 16]).expect("16 bytes are a key")
}

fn member(n: u8, sealed: bool) -> Swim {
    let keyring = if sealed { Keyring::new(&[key(1)]).expect("one key fits") } else { Keyring::default() };
    Swim::new(Boot {
        name: format!("n{n}"),
        address: address(n),
        tags: Tags::from([("role", "node")]),
        incarnation: 1_700_000_000,
        keyring,
        config: Config::lan(),
        seed: n.into(),
        members: Members::default(),
        flaw: None,
    })
}

/// The three bytes that everything of ours begins with, so that the rest is looked at.
fn ours(bytes: &[u8]) -> Vec<u8> {
    [&[0xC7, 1, 0], bytes].concat()
}

/// Any bytes as a packet, a request and a response, with and without our header: nothing panics, a request is answered
/// once, and what the machine says is bounded.
#[test]
fn gossip_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for sealed in [false, true] {
            let mut swim = member(1, sealed);
            let mut out = Out::new();
            swim.handle_timeout(Time::ZERO, &mut out);
            let join = Command::Join { ticket: Ticket(1), addresses: vec![address(2)] };
            swim.handle(Time::ZERO, Event::Command(join), &mut out);
            out.drain_actions();
            for bytes in [bytes.to_vec(), ours(bytes)] {
                let from = address(2);
                swim.handle(Time::ZERO, Event::Datagram { from, bytes: &bytes }, &mut out);
                swim.handle(Time::ZERO, Event::Request { stream: StreamId(7), from, frame: &bytes }, &mut out);
                let answers = out.actions().iter().filter(|action| matches!(action, Action::Respond { .. })).count();
                assert_eq!(answers, 1, "a request is answered once, and at once");
                swim.handle(Time::ZERO, Event::Response { exchange: ExchangeId(1), frame: &bytes }, &mut out);
                assert!(out.actions().len() + out.datagrams().len() <= MOST);
                out.drain_actions();
                out.clear_datagrams();
            }
            assert!(swim.members().get("n1").is_some_and(|own| own.state.is_up()), "nobody ends it with a packet");
        }
    });
}

/// What two members say to each other, delivered in any order, twice, never, late, mutated; with commands in between.
/// Each holds itself for alive throughout, and its memory stays bounded.
#[test]
fn gossip_dialogues() {
    bolero::check!().with_type::<(bool, Vec<(u8, u16, u8)>)>().for_each(|(sealed, steps)| {
        let mut pair = [member(1, *sealed), member(2, *sealed)];
        let mut out = Out::new();
        let mut now = Time::ZERO;
        // Packets, requests and responses that were ever said, by receiver.
        let mut said: Vec<(usize, u8, u64, Vec<u8>)> = Vec::new();
        let join = Command::Join { ticket: Ticket(1), addresses: vec![address(2)] };
        pair[0].handle(now, Event::Command(join), &mut out);
        take(&mut out, 0, None, &mut said);
        for (what, which, byte) in steps.iter().take(400) {
            let at = usize::from(what & 1);
            let swim = &mut pair[at];
            let mut exchange = None;
            match what >> 1 {
                0..16 => {
                    now = now + Duration::from_millis(u64::from(*which) / 8);
                    swim.handle_timeout(now, &mut out);
                }
                16..20 => swim.handle(now, Event::Command(command(*which, *byte)), &mut out),
                20..24 => {
                    let exchange = ExchangeId(u64::from(*which % 64));
                    swim.handle(now, Event::DialFailed { exchange, error: "no" }, &mut out);
                }
                kind => {
                    let Some((to, sort, id, bytes)) = said.get(usize::from(*which) % said.len().max(1)).cloned() else {
                        continue;
                    };
                    let mut bytes = bytes;
                    if kind >= 100 && !bytes.is_empty() {
                        let place = usize::from(*byte) % bytes.len();
                        bytes[place] ^= 1 << (which % 8);
                    }
                    let swim = &mut pair[to];
                    let from = address(2 - to as u8);
                    match sort {
                        0 => swim.handle(now, Event::Datagram { from, bytes: &bytes }, &mut out),
                        1 => {
                            exchange = Some(id);
                            swim.handle(now, Event::Request { stream: StreamId(id), from, frame: &bytes }, &mut out);
                        }
                        _ => swim.handle(now, Event::Response { exchange: ExchangeId(id), frame: &bytes }, &mut out),
                    }
                    take(&mut out, to, exchange, &mut said);
                    continue;
                }
            }
            take(&mut out, at, exchange, &mut said);
        }
        for (swim, name) in pair.iter().zip(["n1", "n2"]) {
            let own = swim.members().get(name).expect("it knows itself");
            assert!(own.state.is_up() || swim.leaving(), "{name} was talked into being {:?}", own.state);
            assert!(swim.memory() < 20_000, "{} things remembered", swim.memory());
        }
    });
}

fn command(which: u16, byte: u8) -> Command {
    match which % 6 {
        0 => Command::UserEvent { name: "e".into(), payload: vec![byte; 4] },
        1 => Command::SetTags(Tags::from([("role", if byte > 99 { "consul" } else { "node" })])),
        2 => Command::ForceLeave { name: format!("n{}", byte % 3 + 1), prune: byte > 99 },
        3 => Command::Keys { ticket: Ticket(2), op: KeyOp::Install(key(byte % 3)), local: byte > 200 },
        4 => Command::Keys { ticket: Ticket(3), op: KeyOp::Use(key(byte % 3)), local: byte > 200 },
        _ => Command::Join { ticket: Ticket(4), addresses: vec![address(byte % 4)] },
    }
}

fn take(out: &mut Out<Action>, from: usize, exchange: Option<u64>, said: &mut Vec<(usize, u8, u64, Vec<u8>)>) {
    assert!(out.actions().len() + out.datagrams().len() <= MOST);
    let to = 1 - from;
    said.extend(out.datagrams().map(|packet| (to, 0, 0, packet.bytes.to_vec())));
    out.clear_datagrams();
    for action in out.drain_actions() {
        match action {
            Action::Dial { exchange, frame, .. } => said.push((to, 1, exchange.0, frame)),
            Action::Respond { frame, .. } => said.extend(exchange.map(|id| (to, 2, id, frame))),
            _ => {}
        }
    }
    let surplus = said.len().saturating_sub(256);
    said.drain(..surplus);
}

fn agent() -> Node {
    let config = AgentConfig {
        node_name: "n1".into(),
        server: true,
        dev_mode: true,
        bootstrap: true,
        advertise_addr: [10, 0, 0, 1].into(),
        ..AgentConfig::default()
    };
    let identity = Identity {
        node_name: "n1".into(),
        node_id: "6c1cbd57-6a21-4b2f-8a5c-0e2b6d0f4a11".into(),
        advertise: "10.0.0.1".into(),
        version: "1.0.0".into(),
        revision: String::new(),
    };
    let wall = Duration::from_secs(1_700_000_000);
    let boot = NodeBoot { config: Arc::new(config), identity, recovered: Recovered::default(), seed: 7, wall };
    Node::new(boot).expect("a fresh node starts").0
}

/// Any bytes at a whole agent, in both pools: no panic, its own node stays in the catalog and healthy, and whatever
/// members strangers make up, everything comes to rest.
#[test]
fn gossip_node() {
    bolero::check!().with_type::<Vec<(u8, u16, Vec<u8>)>>().for_each(|steps| {
        let (mut node, mut out, mut now) = (agent(), Out::new(), Time::ZERO);
        node.handle_timeout(now, &mut out);
        for (what, which, bytes) in steps.iter().take(60) {
            let pool = Pool::ALL[usize::from(what & 1)];
            let bytes = if what & 2 == 0 { ours(bytes) } else { bytes.clone() };
            let from = address(what >> 6);
            let exchange = ExchangeId(u64::from(*which));
            let event = match what >> 2 & 7 {
                0..3 => Event::Datagram { from, bytes: &bytes },
                3 | 4 => Event::Request { stream: StreamId(1), from, frame: &bytes },
                5 => Event::Response { exchange, frame: &bytes },
                _ => Event::DialFailed { exchange, error: "no" },
            };
            node.handle(now, NodeEvent::Gossip { pool, event }, &mut out);
            let result = Ok(vec![from]);
            node.handle(now, NodeEvent::Resolved { lookup: LookupId(u64::from(*which)), result }, &mut out);
            now = now + Duration::from_millis(u64::from(*which));
            node.handle_timeout(now, &mut out);
            assert!(out.actions().len() + out.datagrams().len() <= 3 * MOST);
            for action in out.drain_actions() {
                assert!(!matches!(action, NodeAction::Exit { .. }), "a packet ended the agent");
            }
            out.clear_datagrams();
        }
        let published = node.published();
        let own = published.view.node("default", "n1");
        assert!(own.is_some(), "the own node is gone from the catalog");
        assert_eq!(published.agent.lan.own().name(), "n1");
    });
}

/// Any bytes as kept keyring and kept members: the agent starts, or says why not; never without a key when it had one.
#[test]
fn gossip_disks() {
    bolero::check!().with_type::<(bool, Vec<u8>, Vec<u8>)>().for_each(|(encrypt, keyring, members)| {
        let mut config = AgentConfig { data_dir: "/d".into(), ..AgentConfig::default() };
        if *encrypt {
            config.encrypt = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=".into();
        }
        let identity = Identity { node_name: "n1".into(), advertise: "10.0.0.1".into(), ..Identity::default() };
        let files =
            vec![("serf/local.keyring".into(), keyring.clone()), ("serf/local.members".into(), members.clone())];
        let recovered = Recovered { files, ..Recovered::default() };
        let wall = Duration::from_secs(1);
        match Node::new(NodeBoot { config: Arc::new(config), identity, recovered, seed: 1, wall }) {
            Ok((node, _)) => assert!(node.published().agent.encrypted[0], "in plain text, though a keyring was kept"),
            Err(e) => assert!(!encrypt && !e.to_string().is_empty()),
        }
    });
}
