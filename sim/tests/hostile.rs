//! Packets of the past, of another key, and of strangers: G18 to G20.
#![forbid(unsafe_code)]

mod prove;

use convoke_sim::scenario::hostile;
use convoke_swim::Flaw;
use prove::{finds, holds};

#[test]
fn g18_packets_of_the_past_change_nothing() {
    holds(&hostile::G18);
    finds(&hostile::G18, Flaw::EqualIncarnationWins);
}

#[test]
fn g19_keys_rotate_while_members_talk() {
    holds(&hostile::G19);
    finds(&hostile::G19, Flaw::OnlyPrimaryOpens);
}

#[test]
fn g20_strangers_are_not_believed() {
    holds(&hostile::G20);
    finds(&hostile::G20, Flaw::UnsealedTaken);
}
