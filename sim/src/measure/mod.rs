//! The figures that a pool is judged by, each a function of a seed.
//!
//! * [`detect`], [`quiet`], [`join`], [`split`]: at the usual settings. [`lifeguard`]: the grid of the paper.
//! * [`mod@memory`]: what members cost.

pub mod lifeguard;
pub mod memory;

use std::time::Duration;

use convoke_swim::{Config, MemberEvent};

use crate::invariant::{Detection, Ghosts, agree, true_views};
use crate::network::Link;
use crate::node::Spec;
use crate::note::{Note, Seen};
use crate::referee::{Referee, Verdict};
use crate::scenario::{Setup, name, secs};
use crate::world::World;

/// The value below which a part of the values lies; seconds. Not a number if there are none.
#[must_use]
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Seconds from crash to knowledge.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Of the first.
    pub first: Vec<f64>,
    /// Of all.
    pub all: Vec<f64>,
    /// Between these two.
    pub spread: Vec<f64>,
    /// Crashes that not all noticed within two minutes.
    pub missed: usize,
}

/// Crashes members one after the other, and looks who notices when.
pub fn detect(seed: u64, n: usize, crashes: usize, suspicion_mult: u32, mut step: impl FnMut()) -> Times {
    let config = Config { suspicion_mult, ..Config::lan() };
    let mut world = Setup::seed(seed).cluster(n, &config);
    let (mut times, mut notes) = (Times::default(), Vec::new());
    world.run_for(secs(5));
    // Victims that stand close together in the table: members share what did not change of it.
    for victim in 0..crashes.min(n / 2) as u32 {
        let witnesses = world.nodes().filter(|(_, node)| node.takes_part()).count() - 1;
        world.take_notes(&mut notes);
        // At any moment of a probe interval.
        let wait = world.rng().duration(secs(1));
        world.run_for(wait);
        world.crash(victim);
        let mut detection = Detection::of(&world, victim, witnesses);
        let limit = world.now() + secs(120);
        while detection.all.is_none() && world.now() < limit {
            world.run_for(secs(1));
            world.take_notes(&mut notes);
            notes.iter().for_each(|note| detection.see(note));
        }
        if let (Some(first), Some(all)) = (detection.first, detection.all) {
            times.first.push(first.as_secs_f64());
            times.all.push(all.as_secs_f64());
            times.spread.push((all - first).as_secs_f64());
        } else {
            times.missed += 1;
        }
        step();
    }
    times
}

/// What was seen of a pool with which nothing is wrong but its network.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// Members declared failed.
    pub deaths: u64,
    /// Suspicions begun.
    pub suspicions: u64,
    /// Suspicions refuted.
    pub refutations: u64,
    /// Packets a second and member.
    pub packets: f64,
    /// Bytes of these.
    pub bytes: f64,
    /// Of the run.
    pub hash: u64,
}

/// A pool that knows itself, in a good network.
#[must_use]
pub fn quiet_world(seed: u64, n: usize) -> World {
    let mut world = Setup::seed(seed).cluster(n, &Config::lan());
    world.watch_members(false);
    world
}

/// A pool in a lossy network.
pub fn quiet(seed: u64, n: usize, loss_ppm: u32, minutes: u64, mut step: impl FnMut()) -> Quiet {
    let mut world = quiet_world(seed, n);
    world.network.set_link(Link::LAN.losing(loss_ppm));
    for _ in 0..minutes {
        world.run_for(secs(60));
        step();
    }
    let total = |count: fn(&convoke_swim::Stats) -> u64| -> u64 {
        world.nodes().filter_map(|(_, node)| node.swim()).map(|swim| count(&swim.stats())).sum()
    };
    let counters = world.counters();
    let share = (minutes * 60) as f64 * n as f64;
    Quiet {
        deaths: counters.failed,
        suspicions: total(|s| s.suspicions),
        refutations: total(|s| s.refutations),
        packets: counters.packets as f64 / share,
        bytes: counters.bytes as f64 / share,
        hash: world.hash(),
    }
}

/// All but one start at once and join that one; the time until all know all, and the hash of the run.
#[must_use]
pub fn join(seed: u64, n: usize, limit: Duration) -> Option<(Duration, u64)> {
    let mut world = Setup::seed(seed).world(Link::LAN);
    world.watch_members(false);
    for i in 0..n {
        world.add(Spec::new(name(i), Config::lan()));
    }
    let start = world.now();
    for node in 1..n as u32 {
        world.join(node, &[0]);
    }
    while world.now().since(start) < limit {
        world.run_for(Duration::from_millis(100));
        if world.nodes().all(|(_, node)| node.swim().is_some_and(|swim| swim.members().up() == n)) {
            return Some((world.now().since(start), world.hash()));
        }
    }
    None
}

/// Two halves apart, then healed: the time until all views are equal and true, and the hash of the run.
///
/// # Errors
///
/// When they are not after ten minutes, or when somebody that is dead for long is said to have joined.
pub fn split(seed: u64, n: usize, minutes: u64) -> Verdict<(Duration, u64)> {
    let mut world = Setup::seed(seed).cluster(n, &Config::lan());
    let mut referee = Referee::new().with(Ghosts::default());
    // One dies while they are apart: it must not come back with the other half.
    let dead = n as u32 - 1;
    referee.run(&mut world, secs(5))?;
    (n as u32 / 2..n as u32).for_each(|node| world.network.set_zone(node, 1));
    world.network.cut_both(0, 1);
    referee.run(&mut world, secs(minutes * 30))?;
    world.crash(dead);
    referee.run(&mut world, secs(minutes * 30))?;
    world.network.heal();
    let equal = |w: &World| true_views(w).and_then(|()| agree(w));
    let took = referee.run_until(&mut world, secs(600), secs(1), equal)?;
    Ok((took, world.hash()))
}

/// Verdicts among some notes: of whom, by whom.
pub(crate) fn verdicts(notes: &[Note]) -> impl Iterator<Item = (u32, u32)> {
    notes.iter().filter_map(|note| match note.what {
        Seen::Member { subject: Some(subject), what: MemberEvent::Failed } => Some((subject, note.node)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few() {
        let values = [3.0, 1.0, 2.0];
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 0.01)), (2.0, 3.0, 1.0));
        assert!(quantile(&[], 0.5).is_nan());
    }
}
