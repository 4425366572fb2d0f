//! News that reach only some, or late, or in the wrong order.

use convoke_swim::{Command, Config, Flaw, MemberEvent, State};

use super::{Never, Scenario, Setup, ensure, name, secs};
use crate::invariant::rumours::told_everywhere;
use crate::invariant::{Events, FalseDeath, Incarnations, Queues, Rumours, agree, failed_everywhere, true_views};
use crate::node::Spec;
use crate::referee::{Referee, Verdict};
use crate::world::World;

/// G4.
pub const G04: Scenario = Scenario {
    name: "g04_a_verdict_is_told",
    about: "half the members wait ten times as long before they judge: the verdict of the others reaches them",
    flaws: &[Flaw::SilentVerdict],
    run: verdict_is_told,
};

fn verdict_is_told(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(12) as u32;
    let mut world = setup.world(crate::Link::LAN);
    world.add_cluster(n as usize, |i| {
        let suspicion_mult = if i % 2 == 0 { 4 } else { 40 };
        Spec::new(name(i), Config { suspicion_mult, ..Config::lan() })
    });
    let mut referee = Referee::new().with(FalseDeath::new()).with(Events::new());
    referee.run(&mut world, secs(5))?;
    world.crash(0);
    referee.run_until(&mut world, secs(35), secs(1), |w| failed_everywhere(w, 0))?;
    Ok(world)
}

/// G7.
pub const G07: Scenario = Scenario {
    name: "g07_leave_and_failure_race_ends_in_left",
    about: "a member leaves while half the others cannot hear it and declare it failed: all hold it for left in the end",
    flaws: &[Flaw::FailedBeatsLeft],
    run: leave_race,
};

fn leave_race(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(12) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    let mut referee = Referee::new().with(Incarnations).with(Queues::default());
    referee.run(&mut world, secs(5))?;
    for node in n / 2..n {
        world.network.set_zone(node, 1);
    }
    world.network.cut_both(0, 1);
    referee.run(&mut world, secs(60))?;
    world.command(0, Command::Leave);
    referee.run(&mut world, secs(10))?;
    ensure(&world, world.node(0).has_left(), "leaving", || "node 0 has not left after 10 s".into())?;
    world.crash(0);
    referee.run(&mut world, secs(20))?;
    world.network.heal();
    let everywhere = |w: &World| {
        true_views(w)?;
        agree(w)?;
        for (number, node) in w.nodes().skip(1) {
            let held = node.swim().and_then(|swim| swim.members().get(&name(0))).map(|member| member.state);
            ensure(w, held == Some(State::Left), "left is left", || {
                format!("node {number} holds {} for {held:?}, it left", name(0))
            })?;
        }
        Ok(())
    };
    referee.run_until(&mut world, secs(180), secs(1), everywhere)?;
    Ok(world)
}

/// G8.
pub const G08: Scenario = Scenario {
    name: "g08_mass_leave_and_return",
    about: "most members leave together and come back together seconds later",
    flaws: &[Flaw::LeftForEver],
    run: mass_leave,
};

fn mass_leave(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(80) as u32;
    let stay = n / 16;
    let mut world = setup.cluster(n as usize, &Config::lan());
    let mut referee = Referee::new().with(Queues::default());
    referee.run(&mut world, secs(2))?;
    (stay..n).for_each(|node| world.command(node, Command::Leave));
    referee.run(&mut world, secs(6))?;
    for node in stay..n {
        ensure(&world, world.node(node).has_left(), "leaving", || format!("node {node} has not left after 6 s"))?;
        world.crash(node);
    }
    referee.run(&mut world, secs(3))?;
    (stay..n).for_each(|node| world.rejoin(node));
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    Ok(world)
}

/// G9.
pub const G09: Scenario = Scenario {
    name: "g09_nobody_is_forgotten_after_an_outage",
    about: "all crash, half boot from what they knew: the missing are failed, not forgotten, and welcome later",
    flaws: &[Flaw::RestoredIsOld],
    run: full_outage,
};

fn full_outage(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(10) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    let mut referee = Referee::new().with(Never::at_all("nobody is forgotten early", &[MemberEvent::Reaped]));
    referee.run(&mut world, secs(5))?;
    world.crash(n - 1);
    referee.run_until(&mut world, secs(60), secs(1), |w| failed_everywhere(w, n - 1))?;
    let known = world.node(0).swim().map(|swim| swim.members().clone()).unwrap_or_default();
    (0..n - 1).for_each(|node| world.crash(node));
    referee.run(&mut world, secs(30))?;
    for node in 0..n {
        world.spec_mut(node).members = known.clone();
    }
    (0..n / 2).for_each(|node| world.start(node));
    referee.run(&mut world, secs(600))?;
    true_views(&world)?;
    for node in 0..n / 2 {
        let knows = world.node(node).swim().map_or(0, |swim| swim.members().len());
        ensure(&world, knows == n as usize, "nobody is forgotten early", || {
            format!("node {node} knows {knows} of {n}")
        })?;
    }
    (n / 2..n).for_each(|node| world.start(node));
    referee.run_until(&mut world, secs(120), secs(1), true_views)?;
    Ok(world)
}

/// Not of the list: user events.
pub const USER_EVENTS: Scenario = Scenario {
    name: "user_events_once_and_everywhere",
    about: "events fired by many through a bad network, with members paused meanwhile, come once at each",
    flaws: &[Flaw::EventGapsStay],
    run: user_events,
};

fn user_events(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(24) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    // Who has heard of no event yet does not ask for those before its first.
    world.command(0, Command::UserEvent { name: "hello".into(), payload: Vec::new() });
    world.run_for(secs(5));
    world.network.set_link(crate::Link { duplicate_ppm: 100_000, loss_ppm: 50_000, ..crate::Link::LAN });
    let mut referee = Referee::new().with(Rumours::new()).with(Queues::with_extra(256)).logging();
    let rounds = 20;
    for round in 0..rounds {
        let node = world.rng().below(n.into()) as u32;
        world.command(node, Command::UserEvent { name: "deploy".into(), payload: vec![round; 40] });
        let paused = world.rng().below(n.into()) as u32;
        world.pause(paused);
        referee.run(&mut world, secs(2))?;
        world.resume(paused);
        referee.run(&mut world, secs(1))?;
    }
    // Those that missed some get them with the next exchange of tables.
    referee.run(&mut world, secs(120))?;
    // A command to a member that stands still never was: every round paused its member after firing.
    told_everywhere(&world, referee.log(), "deploy", rounds.into())?;
    Ok(world)
}
