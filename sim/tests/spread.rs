//! News that reach only some: G4, G7 to G9, user events.
#![forbid(unsafe_code)]

mod prove;

use convoke_sim::scenario::spread;
use convoke_swim::Flaw;
use prove::{finds, finds_at_last, holds};

#[test]
fn g04_a_verdict_is_told() {
    holds(&spread::G04);
    finds(&spread::G04, Flaw::SilentVerdict);
}

#[test]
fn g07_leave_and_failure_race_ends_in_left() {
    holds(&spread::G07);
    finds(&spread::G07, Flaw::FailedBeatsLeft);
}

#[test]
fn g08_mass_leave_and_return() {
    holds(&spread::G08);
    finds(&spread::G08, Flaw::LeftForEver);
}

#[test]
fn g09_nobody_is_forgotten_after_an_outage() {
    holds(&spread::G09);
    finds(&spread::G09, Flaw::RestoredIsOld);
}

#[test]
fn user_events_once_and_everywhere() {
    holds(&spread::USER_EVENTS);
    finds_at_last(&spread::USER_EVENTS, Flaw::EventGapsStay);
}
