//! Bounds that only time shows: G21, G24; and everything at once.
#![forbid(unsafe_code)]

mod prove;

use convoke_sim::Setup;
use convoke_sim::scenario::{long, swarm};
use convoke_swim::Flaw;
use prove::{finds, holds};

#[test]
fn g21_nobody_waits_long_for_a_probe() {
    holds(&long::G21);
    finds(&long::G21, Flaw::RandomProbes);
}

#[test]
fn g24_a_month_leaves_nothing_behind() {
    holds(&long::G24);
    finds(&long::G24, Flaw::NothingForgotten);
}

#[test]
fn swarms_converge_whatever_was_done_to_them() {
    for seed in 1..=30 {
        if let Err(violation) = (swarm::SWARM.run)(&Setup::seed(seed)) {
            panic!("{violation}\nagain: convoke-sim run --scenario swarm --seed {seed} --trace");
        }
    }
}
