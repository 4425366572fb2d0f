//! Members that are late, and how they defend themselves: G10, G13 to G15, G22.
#![forbid(unsafe_code)]

mod prove;

use convoke_sim::scenario::{accusations, slow};
use convoke_swim::Flaw;
use prove::{finds, finds_at_last, holds, holds_with};

#[test]
fn g10_flapping_members_do_not_fill_queues() {
    holds(&accusations::G10);
    finds(&accusations::G10, Flaw::QueueKeepsAll);
}

#[test]
fn g13_the_starved_do_not_accuse_the_healthy() {
    holds_with(&slow::G13, 1..=20);
    finds(&slow::G13, Flaw::NoAwareness);
}

#[test]
fn g14_a_suspect_is_told_in_time() {
    holds(&accusations::G14);
    finds_at_last(&accusations::G14, Flaw::NoBuddy);
}

#[test]
fn g15_small_pools() {
    holds(&slow::G15);
    finds(&slow::G15, Flaw::HelpersMissed);
    finds(&slow::G15, Flaw::ConfirmationsInSmallPools);
}

#[test]
fn g22_one_refutation_answers_many_accusers() {
    holds(&accusations::G22);
    // Accusers travel together, so that accusations of the past have become rare.
    finds_at_last(&accusations::G22, Flaw::RefuteEach);
}

#[test]
fn short_cut() {
    holds(&accusations::SHORT_CUT);
    finds_at_last(&accusations::SHORT_CUT, Flaw::SuspectNotAskedAgain);
}

#[test]
fn deaf() {
    holds(&slow::DEAF);
    finds(&slow::DEAF, Flaw::DeafVerdict);
}
