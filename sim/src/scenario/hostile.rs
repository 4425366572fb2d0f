//! Packets of the past, of another key, and of strangers.

use std::time::Duration;

use convoke_swim::{Command, Config, Flaw, Key, KeyOp, Keyring, MemberEvent, Ticket, Versions};

use super::{Never, Scenario, Setup, ensure, name, secs, total};
use crate::invariant::{FalseDeath, Ghosts, Incarnations, Queues, true_views};
use crate::network::Link;
use crate::node::Spec;
use crate::note::Seen;
use crate::referee::{Referee, Verdict, Violation};
use crate::tape::Tape;
use crate::world::World;

/// G18.
pub const G18: Scenario = Scenario {
    name: "g18_packets_of_the_past_change_nothing",
    about: "after deaths, returns and leaves, old packets are delivered again for ten minutes, in any order",
    flaws: &[Flaw::EqualIncarnationWins],
    run: replay,
};

fn replay(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(10) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    let mut referee = Referee::new().with(Incarnations);
    world.record(Tape::new(1, 20_000));
    referee.run(&mut world, secs(10))?;
    // One returns, one leaves, one is dead for good.
    for node in [0, 1] {
        world.crash(node);
        referee.run(&mut world, secs(40))?;
        world.rejoin(node);
        referee.run_until(&mut world, secs(30), secs(1), true_views)?;
    }
    world.command(2, Command::Leave);
    referee.run(&mut world, secs(6))?;
    world.crash(2);
    world.crash(1);
    referee.run(&mut world, secs(60))?;
    let tape = world.stop_recording();
    true_views(&world)?;
    referee.add(Never::at_all("the past is past", &[MemberEvent::Joined, MemberEvent::Failed, MemberEvent::Left]));
    referee.add(Queues::default());
    for _ in 0..600 {
        for _ in 0..20 {
            let at = world.rng().index(tape.packets().len());
            let (from, to, bytes) = &tape.packets()[at];
            let (sender, receiver) = (world.address_of(*from), world.node_at(*to));
            if let Some(receiver) = receiver {
                world.inject(receiver, sender, bytes);
            }
        }
        referee.run(&mut world, secs(1))?;
    }
    true_views(&world)?;
    Ok(world)
}

/// G19.
pub const G19: Scenario = Scenario {
    name: "g19_keys_rotate_while_members_talk",
    about: "a key is installed, used member by member, and the old one removed, with loss, restarts and two versions",
    flaws: &[Flaw::OnlyPrimaryOpens],
    run: rotation,
};

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).unwrap_or_else(|_| unreachable!("16 bytes are a key"))
}

fn ring(keys: &[Key]) -> Keyring {
    Keyring::new(keys).unwrap_or_else(|_| unreachable!("few keys fit"))
}

fn rotation(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(10) as u32;
    let mut world = setup.world(Link::LAN.losing(10_000));
    world.add_cluster(n as usize, |i| {
        // Half of them were built later, and speak one version more.
        let versions = Versions { max: Versions::OURS.max + u8::from(i % 2 == 0), ..Versions::OURS };
        let config = Config { versions, ..Config::lan() };
        Spec { keyring: ring(&[key(1)]), ..Spec::new(name(i), config) }
    });
    let mut referee =
        Referee::new().with(Incarnations).with(FalseDeath::except([0])).with(Queues::with_extra(64)).logging();
    referee.run(&mut world, secs(5))?;
    everywhere(&mut world, &mut referee, &KeyOp::Install(key(2)), n)?;
    // Used one by one, so that for a while some seal with one and some with the other; one restarts meanwhile.
    for node in 0..n {
        world.command(node, Command::Keys { ticket: Ticket(0), op: KeyOp::Use(key(2)), local: true });
        referee.run(&mut world, secs(10))?;
        if node == n / 2 {
            world.crash(0);
            referee.run(&mut world, secs(2))?;
            world.rejoin(0);
        }
    }
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    everywhere(&mut world, &mut referee, &KeyOp::Remove(key(1)), n)?;
    for (number, node) in world.nodes() {
        let keys: Vec<Key> = node.swim().map(|swim| swim.keyring().keys().collect()).unwrap_or_default();
        ensure(&world, keys == [key(2)], "rotation", || format!("node {number} has {} keys", keys.len()))?;
    }
    referee.run(&mut world, secs(30))?;
    true_views(&world)?;
    Ok(world)
}

/// Does something with all keyrings, again while some do not answer, as an operator would.
fn everywhere(world: &mut World, referee: &mut Referee, op: &KeyOp, n: u32) -> Verdict {
    let mut silent = Vec::new();
    for attempt in 1..=4 {
        let ticket = Ticket(1000 + world.now().as_nanos());
        world.command(n - 1, Command::Keys { ticket, op: op.clone(), local: false });
        referee.run(world, secs(8))?;
        let report = referee.log().iter().rev().find_map(|note| match &note.what {
            Seen::KeysDone { ticket: of, report } if *of == ticket => Some(report),
            _ => None,
        });
        let Some(report) = report else {
            return Err(Violation::now(
                world,
                "keyring operations end",
                format!("attempt {attempt}: no result after 8 s"),
            ));
        };
        if report.replies == n as usize && report.errors.is_empty() {
            return Ok(());
        }
        silent.clone_from(&report.silent);
    }
    Err(Violation::now(world, "keyring operations reach all", format!("after 4 attempts {silent:?} are silent")))
}

/// G20.
pub const G20: Scenario = Scenario {
    name: "g20_strangers_are_not_believed",
    about: "unsealed news of a made-up pool, broken packets, noise and absurd frames are thrown at a sealed pool",
    flaws: &[Flaw::UnsealedTaken],
    run: strangers,
};

fn strangers(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(8) as u32;
    let (lies, lying_frames) = lies(setup);
    let mut world = setup.world(Link::LAN);
    world.add_cluster(n as usize, |i| Spec { keyring: ring(&[key(1)]), ..Spec::new(name(i), Config::lan()) });
    let mut referee = Referee::new().with(FalseDeath::new()).with(Ghosts::default()).with(Queues::default());
    referee.add(Never::at_all(
        "strangers are not believed",
        &[MemberEvent::Joined, MemberEvent::Left, MemberEvent::Updated],
    ));
    world.record(Tape::new(3, 2_000));
    referee.run(&mut world, secs(20))?;
    let tape = world.stop_recording();
    for _ in 0..120 {
        for node in 0..n {
            let from = crate::world::address_of(200 + world.rng().below(50) as u32);
            let lie = world.rng().index(lies.len());
            world.inject(node, from, &lies[lie]);
            let frame = world.rng().index(lying_frames.len());
            world.inject_frame(node, from, &lying_frames[frame]);
            // A true packet with a bit turned, cut short, or made longer.
            let at = world.rng().index(tape.packets().len());
            let mut broken = tape.packets()[at].2.clone();
            let bit = world.rng().index(broken.len() * 8);
            match world.rng().below(3) {
                0 => broken[bit / 8] ^= 1 << (bit % 8),
                1 => broken.truncate(bit / 8),
                _ => broken.extend([0; 7]),
            }
            world.inject(node, from, &broken);
            world.inject_frame(node, from, &broken);
            let len = world.rng().index(1_500);
            let noise: Vec<u8> = (0..len).map(|_| world.rng().next_u64() as u8).collect();
            world.inject(node, from, &noise);
            world.inject_frame(node, from, &noise);
        }
        referee.run(&mut world, Duration::from_millis(500))?;
    }
    let dropped = total(&world, |s| s.dropped_plain + s.dropped_sealed + s.dropped_foreign + s.dropped_malformed);
    ensure(&world, dropped > 1_000, "strangers are counted", || format!("{dropped} drops counted"))?;
    let health = world.nodes().filter_map(|(_, node)| node.swim()).map(convoke_swim::Swim::health_score).max();
    ensure(&world, health == Some(0), "strangers do not make ill", || format!("health score {health:?}"))?;
    true_views(&world)?;
    Ok(world)
}

/// What a pool without keys says in which the same names live, others too, and some die: unsealed lies.
fn lies(setup: &Setup) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut world = World::new(setup.seed ^ 0x5eed, Link::LAN);
    world.record(Tape::new(1, 5_000));
    world.add_cluster(6, |i| {
        let name = if i < 3 { name(i) } else { format!("evil{i}") };
        Spec { incarnation: Some(2_000_000_000), ..Spec::new(name, Config::lan()) }
    });
    world.command(4, Command::UserEvent { name: "pwn".into(), payload: Vec::new() });
    world.command(2, Command::Leave);
    world.crash(1);
    world.run_for(secs(20));
    world.rejoin(1);
    world.run_for(secs(40));
    let tape = world.stop_recording();
    let only = |all: &[(u32, std::net::SocketAddr, Vec<u8>)]| all.iter().map(|(.., bytes)| bytes.clone()).collect();
    (only(tape.packets()), only(tape.frames()))
}
