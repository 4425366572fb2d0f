//! Scenarios with a name: each holds, and finds the bugs that it is for.
#![forbid(unsafe_code)]

use convoke_sim::consensus::bug::{Bug, Planted};
use convoke_sim::consensus::scenario::{ALL, Scenario, Setup, find};

const SEEDS: u64 = 10;
/// Where chance has a part in it.
const SEEDS_WITH_A_BUG: u64 = 30;

/// It holds with each seed, and with each of its bugs it fails with one of some seeds at the latest.
fn prove(name: &str) {
    let scenario: &Scenario = find(name).expect("a scenario of this name");
    for seed in 1..=SEEDS {
        if let Err(violation) = (scenario.run)(&Setup { seed, ..Setup::default() }) {
            panic!("{violation}\nagain: convoke-sim run --scenario {} --seed {seed} --trace", scenario.name);
        }
    }
    for bug in scenario.bugs {
        assert!(finds(scenario, *bug), "{} does not find {bug:?} with any of {SEEDS_WITH_A_BUG} seeds", scenario.name);
    }
}

fn finds(scenario: &Scenario, bug: Bug) -> bool {
    (1..=SEEDS_WITH_A_BUG).any(|seed| {
        let setup = Setup { seed, planted: Some(Planted::Bug(bug)), trace: false };
        // A bug may also end in an assertion of the machine.
        let played = std::panic::catch_unwind(|| (scenario.run)(&setup));
        played.map_or(true, |result| result.is_err())
    })
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { prove(stringify!($name)); })*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    l06_replay_does_not_bring_back_what_was_overwritten
    l10_a_torn_end_is_dropped_and_nothing_else
    l10_rot_is_noticed_and_repaired_from_the_others
    l11_a_full_disk_refuses_and_votes_and_recovers
    l12_a_failed_write_is_not_vouched_for_by_a_later_one
    s10_a_crash_at_any_step_of_a_snapshot_loses_nothing
    s11_who_watches_is_woken_by_an_installed_snapshot
    c01_a_retried_compare_and_set_is_applied_once
    r01_a_leader_cut_off_with_a_client_answers_nothing_stale
    r09_power_loss_takes_nothing_acknowledged
    e01_a_vote_survives_a_crash
    m04_who_lost_its_disk_is_another_server
}

#[test]
fn all_are_played() {
    assert!(ALL.iter().all(|scenario| NAMES.contains(&scenario.name)));
}
