//! Members that are late, and pools that are small.

use std::time::Duration;

use convoke_swim::{Config, Flaw, MemberEvent};

use super::{Never, Scenario, Setup, ensure, secs, total};
use crate::invariant::{Detection, FalseDeath, true_views};
use crate::node::Blocking;
use crate::note::Seen;
use crate::referee::{Referee, Verdict};
use crate::world::World;

/// G13.
pub const G13: Scenario = Scenario {
    name: "g13_the_starved_do_not_accuse_the_healthy",
    about: "8 of 128 members are starved for seconds at a time, for a minute (Lifeguard, section 5)",
    flaws: &[Flaw::NoAwareness],
    run: starved,
};

/// Most wrong verdicts about the healthy in the minute.
const MOST_FALSE: usize = 8;

fn starved(setup: &Setup) -> Verdict<World> {
    let n = setup.nodes_or(128) as u32;
    let config = Config { suspicion_mult: 5, ..Config::lan() };
    let mut world = setup.cluster(n as usize, &config);
    // What they said while blocked comes out all at once: the worst they can do.
    world.block_as(Blocking::Nothing);
    let mut referee = Referee::new().logging();
    referee.run(&mut world, secs(5))?;
    let starved = n / 16;
    for node in 0..starved {
        world.starve(node, secs(16), Duration::from_millis(64));
    }
    referee.run(&mut world, secs(60))?;
    (0..starved).for_each(|node| world.feed(node));
    let wrong = |note: &&crate::Note| matches!(note.what, Seen::Member { subject: Some(of), what: MemberEvent::Failed } if of >= starved);
    let count = referee.log().iter().filter(wrong).count();
    ensure(&world, count <= MOST_FALSE, "few false verdicts", || format!("{count} verdicts about healthy members"))?;
    referee.run_until(&mut world, secs(120), secs(1), true_views)?;
    Ok(world)
}

/// G15.
pub const G15: Scenario = Scenario {
    name: "g15_small_pools",
    about: "pools of 2 to 5: the only helper is asked, and a death is not waited for in vain",
    flaws: &[Flaw::HelpersMissed, Flaw::ConfirmationsInSmallPools],
    run: small_pools,
};

fn small_pools(setup: &Setup) -> Verdict<World> {
    let mut last = None;
    for n in 2..=5_u32 {
        let mut world = setup.cluster(n as usize, &Config::lan());
        let mut referee = Referee::new().with(FalseDeath::new());
        referee.run(&mut world, secs(5))?;
        if n >= 3 {
            // 0 and 1 do not reach each other; 2 reaches both. Others, if any, are dead: poor helpers.
            (3..n).for_each(|node| world.crash(node));
            referee.run(&mut world, secs(90))?;
            let before = total(&world, |stats| stats.suspicions);
            world.network.cut_pair(0, 1);
            world.network.cut_pair(1, 0);
            referee.run(&mut world, secs(120))?;
            let suspicions = total(&world, |stats| stats.suspicions) - before;
            ensure(&world, suspicions == 0, "the only helper is asked", || {
                format!("{suspicions} suspicions among {n}")
            })?;
            world.network.heal();
            (3..n).for_each(|node| world.rejoin(node));
            referee.run_until(&mut world, secs(60), secs(1), true_views)?;
        }
        // Nobody can confirm in a pool of 2 or 3: the wait is the shortest. In larger ones those who can do it soon do.
        world.crash(n - 1);
        let mut detection = Detection::of(&world, n - 1, n as usize - 1);
        let mut notes = Vec::new();
        let limit = world.now() + secs(12);
        while world.now() < limit && detection.all.is_none() {
            world.run_for(Duration::from_millis(100));
            world.take_notes(&mut notes);
            notes.iter().for_each(|note| detection.see(note));
        }
        ensure(&world, detection.all.is_some(), "small pools notice a death", || {
            format!("after 12 s not all of {n} had noticed; the first after {:?}", detection.first)
        })?;
        last = Some(world);
    }
    Ok(last.unwrap_or_else(|| setup.world(crate::Link::LAN)))
}

/// Not of the list: who was stopped for longer than its suspicions last has not heard who objected, and condemns nobody.
pub const DEAF: Scenario = Scenario {
    name: "deaf",
    about: "8 of 48 members stand still for 10 to 31 seconds, again and again, and suspicions are short: nobody else is declared failed, and who crashes is",
    flaws: &[Flaw::DeafVerdict],
    run: deaf,
};

/// So many stand still; the next one crashes.
const DEAF_MEMBERS: u32 = 8;

fn deaf(setup: &Setup) -> Verdict<World> {
    let mut last = None;
    // A process that is stopped; one whose loops are threads, and whose suspicions run out meanwhile.
    for blocking in [Blocking::Process, Blocking::Loops] {
        let n = setup.nodes_or(48);
        let config = Config { suspicion_mult: 2, ..Config::lan() };
        let mut world = setup.cluster(n, &config);
        world.block_as(blocking);
        let mut referee = Referee::new().logging().with(Never {
            of: |node| node > DEAF_MEMBERS,
            ..Never::at_all("who stands still condemns nobody", &[MemberEvent::Failed])
        });
        referee.run(&mut world, secs(5))?;
        for node in 0..DEAF_MEMBERS {
            world.starve(node, secs(10 + 3 * u64::from(node)), Duration::from_millis(250));
        }
        referee.run(&mut world, secs(120))?;
        world.crash(DEAF_MEMBERS);
        let from = referee.log().len();
        let mut detection = Detection::of(&world, DEAF_MEMBERS, n - 1 - DEAF_MEMBERS as usize);
        referee.run(&mut world, secs(60))?;
        referee.log()[from..].iter().filter(|note| note.node > DEAF_MEMBERS).for_each(|note| detection.see(note));
        ensure(&world, detection.all.is_some_and(|all| all < secs(12)), "a crash is noticed", || {
            format!("after {:?} by the first, {:?} by all who are well", detection.first, detection.all)
        })?;
        (0..DEAF_MEMBERS).for_each(|node| world.feed(node));
        referee.run_until(&mut world, secs(120), secs(1), true_views)?;
        last = Some(world);
    }
    Ok(last.unwrap_or_else(|| setup.world(crate::Link::LAN)))
}
