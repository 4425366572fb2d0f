//! Every kind against something real on the loopback.

mod network;
mod programs;

use std::time::Duration;

use convoke_core::probe::{Kind, Outcome, Probe};

use crate::client::testing::{Tokio, run};

/// Runs a probe of this kind, nobody cancelling it.
fn probe(kind: Kind, timeout_ms: u64, output_limit: usize) -> Outcome {
    let probe = Probe { kind, timeout: Duration::from_millis(timeout_ms), output_limit };
    run(super::run(&Tokio, &probe, std::future::pending()))
}

/// Enough for a machine that does something else as well.
const AMPLE: u64 = 30_000;

fn error(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { error } => error,
        other => panic!("{other:?}"),
    }
}
