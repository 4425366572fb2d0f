//! Lives of whole agents drawn from seeds: nothing is wrong in them, everything that may go wrong does, the same seed gives the
//! same life, and most of the bugs that the named scenarios are for are found without a script.
#![forbid(unsafe_code)]

use std::time::Duration;

use convoke_core::flaw::Flaw;
use convoke_sim::cluster::swarm::{KINDS, Lived, Options, Tally, live};

const MINUTES: Duration = Duration::from_secs(120);

fn options(seed: u64, flaw: Option<Flaw>) -> Options {
    Options { seed, span: MINUTES, flaw, trace: false }
}

fn lived(seed: u64) -> Lived {
    match live(&options(seed, None)) {
        Ok(lived) => lived,
        Err(violation) => {
            panic!("{violation}\nagain: convoke-sim swarm --world agents --seed {seed} --seeds 1 --minutes 2 --trace")
        }
    }
}

#[test]
fn lives_are_safe_end_in_peace_and_meet_every_kind_of_fault() {
    let mut tally = Tally::default();
    let (mut answered, mut unknown) = (0, 0);
    for seed in 1..=60 {
        let life = lived(seed);
        tally.iter_mut().zip(life.tally).for_each(|(sum, one)| *sum += one);
        answered += life.answered;
        unknown += life.unknown;
    }
    let missing: Vec<_> = KINDS.iter().zip(tally).filter(|(_, count)| *count == 0).map(|(kind, _)| kind).collect();
    assert!(missing.is_empty(), "{missing:?} never fired");
    assert!(answered > 5_000 && unknown > 100, "{answered} answered, {unknown} unknown");
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in [3, 4] {
        assert_eq!(lived(seed).hash, lived(seed).hash, "seed {seed}");
    }
}

/// The others of `flaw::FLAWS` need a moment that only a script hits.
#[test]
fn bugs_are_found_without_a_script() {
    for flaw in [
        Flaw::SessionsHaveNoTime,
        Flaw::SessionsNotMeasured,
        Flaw::LockDelayForgotten,
        Flaw::InstallWakesNobody,
        Flaw::DeletionWakesNobody,
        Flaw::DeadAlwaysRemoved,
    ] {
        assert!((1..=20).any(|seed| live(&options(seed, Some(flaw))).is_err()), "{flaw:?} is not found with 20 seeds");
    }
}
