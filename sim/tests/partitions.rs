//! Networks that let only some through: G5, G11, G12, G16, G23.
#![forbid(unsafe_code)]

mod prove;

use convoke_sim::scenario::partitions;
use convoke_swim::Flaw;
use prove::{finds, finds_at_last, holds, holds_with};

#[test]
fn g05_who_lost_everybody_comes_back() {
    holds(&partitions::G05);
    finds(&partitions::G05, Flaw::NoReconnect);
}

#[test]
fn g11_one_way_and_bridged_networks_kill_nobody() {
    holds_with(&partitions::G11, 1..=100);
    finds(&partitions::G11, Flaw::NoIndirectProbe);
    finds_at_last(&partitions::G11, Flaw::StaleAccuserNotTold);
}

#[test]
fn g12_streams_keep_a_member_alive_without_packets() {
    holds(&partitions::G12);
    finds(&partitions::G12, Flaw::NoStreamProbe);
}

#[test]
fn g16_halves_find_each_other() {
    holds(&partitions::G16);
    finds(&partitions::G16, Flaw::NoReconnect);
}

#[test]
fn g23_a_healed_minority_does_not_kill() {
    holds(&partitions::G23);
    finds(&partitions::G23, Flaw::TableKills);
}
