//! Bounds that only time shows.

use std::time::Duration;

use convoke_swim::{Config, Flaw};

use super::{Scenario, Setup, ensure, name, secs};
use crate::invariant::{ProbeGap, Queues, true_views};
use crate::node::Spec;
use crate::referee::{Referee, Verdict};
use crate::world::World;

/// G21.
pub const G21: Scenario = Scenario {
    name: "g21_nobody_waits_long_for_a_probe",
    about: "members come and go; between two probes of one by another there are at most 2n - 2 of others",
    flaws: &[Flaw::RandomProbes],
    run: probe_gap,
};

fn probe_gap(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(12) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    world.watch_probes();
    let mut referee = Referee::new().with(ProbeGap::new());
    referee.run(&mut world, secs(30))?;
    for node in 0..n / 3 {
        world.start_churn(node, secs(120), secs(30));
    }
    referee.run(&mut world, secs(60 * setup.minutes.unwrap_or(15)))?;
    Ok(world)
}

/// G24.
pub const G24: Scenario = Scenario {
    name: "g24_a_month_leaves_nothing_behind",
    about: "for days members are replaced by others with new names; what is kept stays within its bounds",
    flaws: &[Flaw::NothingForgotten],
    run: month,
};

fn month(setup: &Setup) -> Verdict<World> {
    // A slow pool: the same number of periods would be two days at the usual pace.
    let config = Config {
        probe_interval: secs(60),
        probe_timeout: secs(20),
        gossip_interval: secs(12),
        push_pull_interval: secs(1_800),
        reconnect_interval: secs(1_800),
        reconnect_timeout: Duration::from_secs(24 * 3600),
        ..Config::lan()
    };
    let n = setup.nodes_or(12) as u32;
    let days = setup.minutes.map_or(12, |minutes| minutes.div_ceil(24 * 60));
    let mut world = setup.cluster(n as usize, &config);
    let mut referee = Referee::new();
    // The first stays for all of it: whoever remembers too much, it does.
    let mut alive: Vec<u32> = (1..n).collect();
    // 1 % an hour of a hundred members is one; here every three hours one of a dozen, in turn by leaving and by crashing.
    for round in 0..days * 8 {
        let gone = world.rng().index(alive.len());
        let gone = alive.swap_remove(gone);
        if round % 2 == 0 {
            world.command(gone, convoke_swim::Command::Leave);
            referee.run(&mut world, secs(60))?;
        }
        world.crash(gone);
        referee.run(&mut world, secs(1_800))?;
        let next = world.place(Spec::new(name(world.len()), config.clone()));
        world.rejoin(next);
        alive.push(next);
        referee.run(&mut world, secs(3 * 3600 - 1_860))?;
        // Gone within a day, and one of grace: at most sixteen of them.
        let most = n as usize + 18;
        for (number, node) in world.nodes() {
            let Some(swim) = node.swim() else { continue };
            let known = swim.members().len();
            ensure(&world, known <= most, "nothing is left behind", || {
                format!("node {number} knows {known} after {} h, {n} are up", (round + 1) * 3)
            })?;
            ensure(&world, swim.memory() <= most + 10, "nothing is left behind", || {
                format!("node {number} remembers {} things after {} h", swim.memory(), (round + 1) * 3)
            })?;
            ensure(&world, swim.broadcasts() == 0, "nothing is left behind", || {
                format!("node {number} still has {} broadcasts", swim.broadcasts())
            })?;
        }
        let (packets, streams, entries) = world.pending();
        ensure(&world, packets + streams + entries <= 40 * n as usize, "nothing is left behind", || {
            format!("{packets} packets, {streams} streams, {entries} entries of the agenda")
        })?;
    }
    referee.add(Queues::default());
    referee.run_until(&mut world, secs(3_600), secs(60), true_views)?;
    Ok(world)
}
