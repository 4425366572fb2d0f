//! Members that come back: G1 to G3, G6, G17.
#![forbid(unsafe_code)]

mod prove;

use convoke_sim::scenario::rebirth;
use convoke_swim::Flaw;
use prove::{finds, holds};

#[test]
fn g01_mass_restart_with_low_incarnations() {
    holds(&rebirth::G01);
    finds(&rebirth::G01, Flaw::NotToldOfDeath);
}

#[test]
fn g02_late_alive_does_not_resurrect() {
    holds(&rebirth::G02);
    finds(&rebirth::G02, Flaw::DeadKeepsIncarnation);
}

#[test]
fn g03_incarnations_pass_32_bits() {
    holds(&rebirth::G03);
    finds(&rebirth::G03, Flaw::WrappingIncarnation);
}

#[test]
fn g06_same_name_new_address() {
    holds(&rebirth::G06);
    finds(&rebirth::G06, Flaw::NameBoundToAddress);
}

#[test]
fn g17_wall_clocks_do_not_matter() {
    holds(&rebirth::G17);
    finds(&rebirth::G17, Flaw::ClockDecides);
}
