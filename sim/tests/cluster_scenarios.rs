//! Whole agents: named scenarios, each of which holds and finds the bugs that it is for.
#![forbid(unsafe_code)]

use convoke_core::flaw::{FLAWS, Flaw};
use convoke_sim::cluster::scenario::{ALL, Scenario, Setup, find};

const SEEDS: u64 = 4;
/// Where chance has a part in it.
const SEEDS_WITH_A_BUG: u64 = 30;

fn prove(name: &str) {
    let scenario: &Scenario = find(name).expect("a scenario of this name");
    for seed in 1..=SEEDS {
        if let Err(violation) = (scenario.run)(&Setup { seed, ..Setup::default() }) {
            panic!("{violation}\nagain: convoke-sim run --scenario {} --seed {seed} --trace", scenario.name);
        }
    }
    for flaw in scenario.flaws {
        assert!(
            finds(scenario, *flaw),
            "{} does not find {flaw:?} with any of {SEEDS_WITH_A_BUG} seeds",
            scenario.name
        );
    }
}

fn finds(scenario: &Scenario, flaw: Flaw) -> bool {
    (1..=SEEDS_WITH_A_BUG).any(|seed| (scenario.run)(&Setup { seed, flaw: Some(flaw), trace: false }).is_err())
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { prove(stringify!($name)); })*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    c02_sessions_live_their_time_whoever_leads
    c03_the_end_that_a_deposed_leader_proposed_comes_too_late
    c04_a_lock_delay_is_kept_whoever_leads
    c05_who_watches_is_woken_and_never_goes_back
    c06_what_was_deleted_wakes_who_watches_the_prefix
    c07_the_catalog_becomes_what_agents_say
    c08_who_is_reaped_as_it_comes_back_stays
    m09_autopilot_prunes_the_dead_and_keeps_a_quorum
    m09_two_who_begin_make_one_cluster
}

#[test]
fn all_are_played_and_every_bug_has_one() {
    assert!(ALL.iter().all(|scenario| NAMES.contains(&scenario.name)));
    let found: Vec<Flaw> = ALL.iter().flat_map(|scenario| scenario.flaws).copied().collect();
    assert!(FLAWS.iter().all(|flaw| found.contains(flaw)), "of {FLAWS:?} only {found:?}");
}
