//! Networks that let only some through.

use std::time::Duration;

use convoke_swim::{Config, Flaw, MemberEvent};

use super::{Never, Scenario, Setup, ensure, secs, total};
use crate::invariant::{Events, FalseDeath, Ghosts, Incarnations, Queues, true_views};
use crate::referee::{Referee, Verdict};
use crate::world::World;

/// G5.
pub const G05: Scenario = Scenario {
    name: "g05_who_lost_everybody_comes_back",
    about: "a member is cut off until it holds all others for failed, and they it; then the cable is put back",
    flaws: &[Flaw::NoReconnect],
    run: lost_everybody,
};

fn lost_everybody(setup: &Setup) -> Verdict<World> {
    let mut world = setup.cluster(setup.nodes_or(8), &Config::lan());
    let mut referee = Referee::new().with(Incarnations).with(Events::new()).with(FalseDeath::except([0]));
    referee.run(&mut world, secs(5))?;
    world.network.set_zone(0, 1);
    world.network.cut_both(0, 1);
    referee.run(&mut world, secs(180))?;
    let up = world.node(0).swim().map_or(0, |swim| swim.members().up());
    ensure(&world, up == 1, "detection", || format!("the lonely member still believes in {up}"))?;
    world.network.heal();
    referee.run_until(&mut world, secs(180), secs(1), true_views)?;
    Ok(world)
}

/// G11.
pub const G11: Scenario = Scenario {
    name: "g11_one_way_and_bridged_networks_kill_nobody",
    about: "one way between two members is cut; then only a bridge joins two halves; then a ring with short arms",
    flaws: &[Flaw::NoIndirectProbe, Flaw::StaleAccuserNotTold],
    run: odd_networks,
};

fn odd_networks(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(15) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    let mut referee = Referee::new().with(FalseDeath::new()).with(Queues::default());
    referee.run(&mut world, secs(5))?;
    world.network.cut_pair(1, 2);
    world.network.cut_pair(3, 4);
    world.network.cut_pair(4, 3);
    referee.run(&mut world, secs(180))?;
    let suspicions = total(&world, |stats| stats.suspicions);
    ensure(&world, suspicions == 0, "helpers help", || {
        format!("{suspicions} suspicions, though every helper reaches everybody")
    })?;
    world.network.heal();
    referee.run(&mut world, secs(30))?;
    // Two halves, and a third that both reach.
    for node in 0..n {
        world.network.set_zone(node, (node % 3) as u8);
    }
    world.network.cut_both(0, 1);
    referee.run(&mut world, secs(120))?;
    world.network.heal();
    referee.run(&mut world, secs(30))?;
    world.network.ring(n, n / 3);
    referee.run(&mut world, secs(120))?;
    world.network.heal();
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    Ok(world)
}

/// G12.
pub const G12: Scenario = Scenario {
    name: "g12_streams_keep_a_member_alive_without_packets",
    about: "no packet reaches or leaves a member for minutes, streams do",
    flaws: &[Flaw::NoStreamProbe],
    run: without_packets,
};

fn without_packets(setup: &Setup) -> Verdict<World> {
    let mut world = setup.cluster(setup.nodes_or(8), &Config::lan());
    let mut referee = Referee::new().with(FalseDeath::new()).with(Queues::default());
    referee.run(&mut world, secs(5))?;
    world.network.set_zone(0, 1);
    world.network.deafen(0, 1);
    world.network.deafen(1, 0);
    referee.run(&mut world, secs(300))?;
    let saved = total(&world, |stats| stats.stream_only);
    ensure(&world, saved > 0, "streams help", || "no probe was answered over a stream".into())?;
    world.network.heal();
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    Ok(world)
}

/// G16.
pub const G16: Scenario = Scenario {
    name: "g16_halves_find_each_other",
    about: "two halves apart for a minute, for as long as the failed are remembered, and longer; then healed",
    flaws: &[Flaw::NoReconnect],
    run: halves,
};

fn halves(setup: &Setup) -> Verdict<World> {
    // 72 hours would be the same with more zeros: what matters is before and after the time of forgetting.
    let forget = secs(1800);
    let config = Config { reconnect_timeout: forget, ..Config::lan() };
    let n = setup.nodes_or(10) as u32;
    let mut world = setup.cluster(n as usize, &config);
    let mut referee =
        Referee::new().with(Incarnations).with(Events::new()).with(Queues::default()).with(Ghosts::default());
    let split = |world: &mut World| {
        (n / 2..n).for_each(|node| world.network.set_zone(node, 1));
        world.network.cut_both(0, 1);
    };
    referee.run(&mut world, secs(5))?;
    for apart in [secs(60), secs(600), forget - secs(60)] {
        split(&mut world);
        referee.run(&mut world, apart)?;
        world.network.heal();
        let took = referee.run_until(&mut world, secs(120), secs(1), true_views)?;
        ensure(&world, took <= secs(120), "halves find each other", || format!("{took:?}"))?;
        referee.run(&mut world, secs(30))?;
    }
    // Forgotten: two pools, and no reason to meet until somebody says so.
    split(&mut world);
    referee.run(&mut world, forget + secs(120))?;
    for (number, node) in world.nodes() {
        let known = node.swim().map_or(0, |swim| swim.members().len());
        ensure(&world, known == n as usize / 2, "forgetting", || format!("node {number} still knows {known}"))?;
    }
    world.network.heal();
    referee.run(&mut world, secs(60))?;
    world.join(0, &[n - 1]);
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    Ok(world)
}

/// G23.
pub const G23: Scenario = Scenario {
    name: "g23_a_healed_minority_does_not_kill",
    about: "a minority that held the majority for failed meets it again: its table accuses, and kills nobody",
    flaws: &[Flaw::TableKills],
    run: healed_minority,
};

fn healed_minority(setup: &Setup) -> Verdict<World> {
    const MINORITY: u32 = 3;
    let mut world = setup.cluster(setup.nodes_or(16), &Config::lan());
    let mut referee = Referee::new().with(Incarnations).with(Events::new()).with(Queues::default());
    // What the minority says of itself and hears is its own affair.
    referee.add(Never {
        invariant: "a table kills nobody",
        what: &[MemberEvent::Failed],
        by: |node| node >= MINORITY,
        of: |node| node >= MINORITY,
    });
    referee.run(&mut world, secs(5))?;
    (0..MINORITY).for_each(|node| world.network.set_zone(node, 1));
    world.network.cut_both(0, 1);
    referee.run(&mut world, Duration::from_secs(120))?;
    world.network.heal();
    referee.run_until(&mut world, secs(180), secs(1), true_views)?;
    referee.run(&mut world, secs(60))?;
    true_views(&world)?;
    Ok(world)
}
