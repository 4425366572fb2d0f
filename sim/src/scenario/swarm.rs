//! Everything at once, drawn from the seed: first faults (nothing that must always hold may break), then healing (what must
//! hold in the end does).

use std::time::Duration;

use convoke_swim::{Command, Config};

use super::{Scenario, Setup, name, secs};
use crate::invariant::{Events, Ghosts, Incarnations, Queues, agree, true_views};
use crate::network::Link;
use crate::node::Spec;
use crate::referee::{Referee, Verdict};
use crate::world::World;

/// Not of the list: any mixture.
pub const SWARM: Scenario = Scenario {
    name: "swarm",
    about: "a pool, a network and a sequence of faults drawn from the seed; healed, all views must be equal and true",
    flaws: &[],
    run: swarm,
};

fn swarm(setup: &Setup) -> Verdict<World> {
    let mut world = setup.world(Link::LAN);
    let n = setup.nodes.unwrap_or_else(|| 3 + world.rng().index(30)) as u32;
    let drifting = world.rng().one_in(2);
    let late = world.rng().one_in(3);
    let seed = world.rng().next_u64();
    world.add_cluster(n as usize, |i| {
        let mut rng = convoke_kit::Rng::new(seed ^ i as u64);
        Spec {
            drift_ppm: if drifting { rng.below(2_000) as i32 - 1_000 } else { 0 },
            late: if late { rng.duration(Duration::from_millis(100)) } else { Duration::ZERO },
            wall_skew: if rng.one_in(4) { rng.below(7_200) as i64 - 3_600 } else { 0 },
            ..Spec::new(name(i), Config::lan())
        }
    });
    let link = Link::drawn(world.rng());
    world.network.set_link(link);
    let mut referee = Referee::new()
        .with(Incarnations)
        .with(Queues::with_extra(64))
        .with(Events::new())
        .with(Ghosts::after(secs(90)));
    for _ in 0..6 * setup.minutes.unwrap_or(3) {
        fault(&mut world, n);
        let pause = secs(1) + world.rng().duration(secs(18));
        referee.run(&mut world, pause)?;
    }
    // Healing. Whoever is down for good stays so.
    world.network.heal();
    world.network.set_link(Link::LAN);
    for node in 0..n {
        world.stop_churn(node);
        world.feed(node);
        if !world.node(node).is_up() && world.rng().one_in(2) {
            world.rejoin(node);
        }
    }
    referee.run_until(&mut world, secs(300), secs(1), |w| true_views(w).and_then(|()| agree(w)))?;
    Ok(world)
}

/// Does something bad to somebody, or mends something.
fn fault(world: &mut World, n: u32) {
    let node = world.rng().below(n.into()) as u32;
    let other = world.rng().below(n.into()) as u32;
    let up = world.node(node).is_up();
    match world.rng().below(14) {
        // Never the last one: somebody must remain to be joined.
        0 | 1 if up && world.nodes().filter(|(_, at)| at.takes_part()).count() > 2 => world.crash(node),
        0..=3 if !up => world.rejoin(node),
        2 => world.pause(node),
        3 => world.block(node),
        4 | 5 => (0..n).for_each(|node| world.feed(node)),
        6 => {
            let blocked = world.rng().duration(secs(10));
            let running = world.rng().duration(secs(3));
            world.starve(node, blocked, running);
        }
        7 => {
            let mask = world.rng().next_u64();
            (0..n).for_each(|node| world.network.set_zone(node, (mask >> (node % 64) & 1) as u8));
            world.network.cut(0, 1);
            if world.rng().one_in(2) {
                world.network.cut(1, 0);
            }
        }
        8 => world.network.cut_pair(node, other),
        9 => {
            world.network.set_zone(node, 2);
            world.network.deafen(0, 2);
            world.network.deafen(2, 0);
        }
        10 | 11 => world.network.heal(),
        12 => {
            let span = world.rng().duration(secs(5));
            world.clog(node, span);
        }
        _ => {
            let payload = node.to_le_bytes().to_vec();
            world.command(node, Command::UserEvent { name: "swarm".into(), payload });
        }
    }
}
