//! Both directions of a scenario: it holds, and it finds the bug that is put back.

use convoke_sim::{Scenario, Setup};
use convoke_swim::Flaw;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
const SEEDS_WITH_A_BUG: std::ops::RangeInclusive<u64> = 1..=5;

/// Plays it with some seeds; it must hold with each.
pub(crate) fn holds(scenario: &Scenario) {
    holds_with(scenario, SEEDS);
}

/// Plays it with these seeds: more of them for what once went wrong with a few of a hundred.
pub(crate) fn holds_with(scenario: &Scenario, seeds: std::ops::RangeInclusive<u64>) {
    for seed in seeds {
        if let Err(violation) = (scenario.run)(&Setup::seed(seed)) {
            panic!("{violation}\nagain: convoke-sim run --scenario {} --seed {seed} --trace", scenario.name);
        }
    }
}

/// Plays it with a bug put back that only shows now and then: it must be found with one of the seeds.
#[allow(dead_code, reason = "each file of tests has a copy of this module")]
pub(crate) fn finds_at_last(scenario: &Scenario, flaw: Flaw) {
    assert!(scenario.flaws.contains(&flaw), "{} does not claim to find {flaw:?}", scenario.name);
    let found = (1..=100).any(|seed| (scenario.run)(&Setup::seed(seed).with(flaw)).is_err());
    assert!(found, "{} did not find {flaw:?} with any of 100 seeds", scenario.name);
}

/// Plays it with a bug put back; it must be found with each seed, or the scenario shows nothing.
pub(crate) fn finds(scenario: &Scenario, flaw: Flaw) {
    assert!(scenario.flaws.contains(&flaw), "{} does not claim to find {flaw:?}", scenario.name);
    for seed in SEEDS_WITH_A_BUG {
        if let Ok(world) = (scenario.run)(&Setup::seed(seed).with(flaw)) {
            panic!(
                "{} did not find {flaw:?} with seed {seed}, after {:?}\nagain: convoke-sim run --scenario {} --seed {seed} --flaw {flaw:?}",
                scenario.name,
                world.now(),
                scenario.name
            );
        }
    }
}
