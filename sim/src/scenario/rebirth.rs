//! Members that come back: with a lower number, another address, another clock.

use convoke_swim::{Command, Config, Flaw, State};

use super::{Scenario, Setup, ensure, name, secs, unplug};
use crate::invariant::{Events, FalseDeath, Ghosts, Incarnations, Queues, agree, failed_everywhere, true_views};
use crate::node::Spec;
use crate::note::Seen;
use crate::referee::{Referee, Verdict};
use crate::tape::Tape;
use crate::world::World;

/// G1.
pub const G01: Scenario = Scenario {
    name: "g01_mass_restart_with_low_incarnations",
    about: "a third crashes, is declared failed, and comes back with incarnation 1: alive everywhere within 30 s",
    flaws: &[Flaw::NotToldOfDeath],
    run: mass_restart,
};

fn mass_restart(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(16);
    let mut world = setup.cluster(n, &Config::lan());
    let mut referee =
        Referee::new().with(Incarnations).with(Events::new()).with(Queues::default()).with(Ghosts::default());
    let dead: Vec<u32> = (0..n as u32).filter(|i| i % 3 == 1).collect();
    referee.run(&mut world, secs(5))?;
    dead.iter().for_each(|i| world.crash(*i));
    referee.run_until(&mut world, secs(90), secs(1), |w| dead.iter().try_for_each(|i| failed_everywhere(w, *i)))?;
    // Until nobody says it any more: they must be told because they are back.
    referee.run(&mut world, secs(10))?;
    for i in &dead {
        world.spec_mut(*i).incarnation = Some(1);
        world.rejoin(*i);
    }
    referee.run_until(&mut world, secs(30), secs(1), true_views)?;
    Ok(world)
}

/// G2.
pub const G02: Scenario = Scenario {
    name: "g02_late_alive_does_not_resurrect",
    about: "a verdict about an incarnation reaches those that hold an earlier one for dead; then old news of one between come",
    flaws: &[Flaw::DeadKeepsIncarnation],
    run: late_alive,
};

fn late_alive(setup: &Setup) -> Verdict<World> {
    // The subject lives with the second half of the others.
    let (half, n) = (5_u32, 11_u32);
    let subject = n - 1;
    let mut world = setup.world(crate::Link::LAN);
    world.add_cluster(n as usize, |i| {
        let incarnation = (i as u32 == subject).then_some(1);
        Spec { incarnation, ..Spec::new(name(i), Config::lan()) }
    });
    let mut referee = Referee::new();
    world.crash(subject);
    referee.run_until(&mut world, secs(60), secs(1), |w| failed_everywhere(w, subject))?;
    for node in half..n {
        world.network.set_zone(node, 1);
    }
    world.network.cut_both(0, 1);
    world.record(Tape::new(1, 100_000));
    for incarnation in [2, 10] {
        world.spec_mut(subject).incarnation = Some(incarnation);
        world.start(subject);
        world.join(subject, &[half]);
        referee.run(&mut world, secs(2))?;
        world.crash(subject);
    }
    let old = world.stop_recording();
    referee.run(&mut world, secs(60))?;
    world.network.heal();
    referee.run_until(&mut world, secs(180), secs(1), |w| true_views(w).and_then(|()| agree(w)))?;
    referee.add(Ghosts::after(secs(1)));
    for (from, to, bytes) in old.packets() {
        let sender = world.address_of(*from);
        if *from >= half && world.named(&name(subject as usize)).is_some_and(|s| world.address_of(s) != *to) {
            for node in 0..half {
                world.inject(node, sender, bytes);
            }
        }
    }
    referee.run(&mut world, secs(20))?;
    Ok(world)
}

/// G3.
pub const G03: Scenario = Scenario {
    name: "g03_incarnations_pass_32_bits",
    about: "a member whose incarnation is near 2^32 refutes again and again",
    flaws: &[Flaw::WrappingIncarnation],
    run: large_incarnation,
};

fn large_incarnation(setup: &Setup) -> Verdict<World> {
    let mut world = setup.world(crate::Link::LAN);
    let start = u64::from(u32::MAX) - 1;
    world.add_cluster(setup.nodes_or(8), |i| {
        let incarnation = (i == 0).then_some(start);
        // Time enough that somebody pings it before the verdict, whatever the seed.
        let config = Config { suspicion_mult: 8, ..Config::lan() };
        Spec { incarnation, ..Spec::new(name(i), config) }
    });
    let mut referee = Referee::new().with(FalseDeath::new()).with(Incarnations).with(Events::new());
    for _ in 0..6 {
        unplug(&mut world, &mut referee, 0, secs(3))?;
        referee.run(&mut world, secs(30))?;
    }
    referee.run_until(&mut world, secs(120), secs(1), true_views)?;
    let reached = world.node(0).incarnation();
    ensure(&world, reached > u64::from(u32::MAX), "refutation", || format!("only reached incarnation {reached}"))?;
    Ok(world)
}

/// G6.
pub const G06: Scenario = Scenario {
    name: "g06_same_name_new_address",
    about: "a member comes back under its name at another address, after a crash and after leaving; then two are alive at once",
    flaws: &[Flaw::NameBoundToAddress],
    run: new_address,
};

fn new_address(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(10) as u32;
    let mut world = setup.cluster(n as usize, &Config::lan());
    let mut referee = Referee::new().with(Incarnations).with(Queues::default()).logging();
    referee.run(&mut world, secs(5))?;
    // Within seconds of a crash: it is believed where it was until that is found wrong.
    world.crash(0);
    referee.run(&mut world, secs(2))?;
    world.move_house(0);
    world.rejoin(0);
    referee.run_until(&mut world, secs(60), secs(1), true_views)?;
    // After leaving.
    world.command(0, Command::Leave);
    referee.run(&mut world, secs(5))?;
    ensure(&world, world.node(0).has_left(), "leaving", || "node 0 has not left after 5 s".into())?;
    world.crash(0);
    world.move_house(0);
    world.rejoin(0);
    // Who missed that it left misses it at the old address first.
    referee.run_until(&mut world, secs(120), secs(1), true_views)?;
    // A second one of the name while the first lives: told, and nothing changes for the others.
    let second = world.add(Spec::new(name(0), Config::lan()));
    world.join(second, &[1, 2]);
    referee.run(&mut world, secs(30))?;
    let told = referee.log().iter().any(|note| matches!(note.what, Seen::Conflict { own: true, .. }));
    ensure(&world, told, "name conflict", || "none of the two was told that its name is taken".into())?;
    for node in 1..n {
        let held = world.node(node).swim().and_then(|swim| swim.members().get(&name(0)));
        let held = held.map(|member| (member.profile.address(), member.state));
        ensure(&world, held == Some((world.address_of(0), State::Alive)), "name conflict", || {
            format!("node {node} holds {} for {held:?}, the first is at {}", name(0), world.address_of(0))
        })?;
    }
    Ok(world)
}

/// G17.
pub const G17: Scenario = Scenario {
    name: "g17_wall_clocks_do_not_matter",
    about: "a member restarts with its wall clock an hour behind, ahead, and right again",
    flaws: &[Flaw::ClockDecides],
    run: wall_clocks,
};

fn wall_clocks(setup: &Setup) -> Verdict<World> {
    let mut world = setup.cluster(setup.nodes_or(10), &Config::lan());
    let mut referee = Referee::new().with(Incarnations).with(Events::new()).with(FalseDeath::except([0]));
    referee.run(&mut world, secs(5))?;
    for skew in [-3600, 3600, 0] {
        for wait in [2, 60] {
            world.crash(0);
            referee.run(&mut world, secs(wait))?;
            world.spec_mut(0).wall_skew = skew;
            world.rejoin(0);
            referee.run_until(&mut world, secs(30), secs(1), true_views)?;
            // It stays so, and a short silence is refuted as ever.
            referee.run(&mut world, secs(30))?;
            true_views(&world)?;
        }
    }
    Ok(world)
}
