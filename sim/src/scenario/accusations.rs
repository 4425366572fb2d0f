//! How members defend themselves: in time, once, and without flooding the others.

use std::time::Duration;

use convoke_swim::{Config, Flaw};

use super::{Scenario, Setup, ensure, secs, unplug};
use crate::invariant::{FalseDeath, Queues, true_views};
use crate::referee::{Referee, Verdict};
use crate::world::World;

/// G10.
pub const G10: Scenario = Scenario {
    name: "g10_flapping_members_do_not_fill_queues",
    about: "members come and go every few seconds over slow gossip: newer news replace older ones",
    flaws: &[Flaw::QueueKeepsAll],
    run: flapping,
};

fn flapping(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(12) as u32;
    let config = Config {
        gossip_interval: secs(10),
        gossip_nodes: 1,
        retransmit_mult: 16,
        packet_bytes: 120,
        suspicion_mult: 1,
        suspicion_max_mult: 1,
        ..Config::lan()
    };
    let mut world = setup.cluster(n as usize, &config);
    let mut referee = Referee::new().with(Queues::with_extra(4));
    referee.run(&mut world, secs(5))?;
    for node in 0..n / 2 {
        world.starve(node, secs(3), secs(1));
    }
    referee.run(&mut world, secs(180))?;
    (0..n / 2).for_each(|node| world.feed(node));
    referee.run_until(&mut world, secs(120), secs(1), true_views)?;
    Ok(world)
}

/// G14.
pub const G14: Scenario = Scenario {
    name: "g14_a_suspect_is_told_in_time",
    about: "a member is out of reach until the news that it is suspect have been told often enough, then back: it refutes in time",
    flaws: &[Flaw::NoBuddy],
    run: suspect_is_told,
};

fn suspect_is_told(setup: &Setup) -> Verdict<World> {
    let mut last = None;
    for n in [8_usize, 32, 128] {
        // Nobody shares a suspicion (that would be news again), and no tables are compared: what remains is the ping.
        // The refutation must reach all, so it is told more often than usual.
        let config = Config {
            retransmit_mult: 8,
            suspicion_mult: 8,
            suspicion_max_mult: 1,
            push_pull_interval: Duration::ZERO,
            ..Config::lan()
        };
        let mut world = setup.cluster(n, &config);
        let mut referee = Referee::new().with(FalseDeath::new());
        referee.run(&mut world, secs(5))?;
        for subject in [0, 1, 2, 3] {
            unplug(&mut world, &mut referee, subject, Duration::from_millis(3_500))?;
            referee.run(&mut world, secs(60))?;
        }
        referee.run_until(&mut world, secs(120), secs(1), true_views)?;
        last = Some(world);
    }
    Ok(last.unwrap_or_else(|| setup.world(crate::Link::LAN)))
}

/// G22.
pub const G22: Scenario = Scenario {
    name: "g22_one_refutation_answers_many_accusers",
    about: "all others accuse one member at once: it refutes a few times, not once for each",
    flaws: &[Flaw::RefuteEach],
    run: refute_storm,
};

fn refute_storm(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(48);
    // Time enough that somebody pings it before the verdict, whatever the seed.
    let config = Config { suspicion_mult: 10, ..Config::lan() };
    let mut world = setup.cluster(n, &config);
    let mut referee = Referee::new().with(FalseDeath::new()).with(Queues::default());
    referee.run(&mut world, secs(5))?;
    let mut accused = 0;
    for _ in 0..5 {
        let refuted = |world: &World| world.node(0).swim().map_or(0, |swim| swim.stats().refutations);
        let before = refuted(&world);
        unplug(&mut world, &mut referee, 0, Duration::from_millis(4_500))?;
        referee.run(&mut world, secs(90))?;
        let times = refuted(&world) - before;
        accused += u32::from(times > 0);
        ensure(&world, times <= 3, "one refutation for many", || format!("{times} refutations of one silence"))?;
    }
    ensure(&world, accused >= 2, "the silent are accused", || format!("only {accused} of 5 times"))?;
    referee.run_until(&mut world, secs(120), secs(1), true_views)?;
    Ok(world)
}

/// Not of the list, but found by it: who lost sight of the others for a moment must not kill one of them for it.
pub const SHORT_CUT: Scenario = Scenario {
    name: "short_cut",
    about: "a member is cut off for three seconds, again and again: nobody is declared failed, by nobody",
    flaws: &[Flaw::SuspectNotAskedAgain],
    run: short_cut,
};

fn short_cut(setup: &Setup) -> Verdict<World> {
    // Time enough that somebody pings it before the verdict, whatever the seed.
    let config = Config { suspicion_mult: 8, retransmit_mult: 8, ..Config::lan() };
    let mut world = setup.cluster(setup.nodes_or(8), &config);
    let mut referee = Referee::new().with(FalseDeath::new()).with(Queues::default());
    for _ in 0..10 {
        referee.run(&mut world, secs(40))?;
        world.network.set_zone(0, 1);
        world.network.cut_both(0, 1);
        referee.run(&mut world, secs(3))?;
        world.network.heal();
    }
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    Ok(world)
}
