//! A unit of systemd, asked through `systemctl is-active`.

use std::time::Duration;

use convoke_core::probe::Outcome;

use crate::probe::{failed, script};
use crate::rt::Runtime;

/// Bytes of `systemctl`'s output that may become part of the check's.
const OUTPUT: usize = 4096;

/// [`Outcome::Ok`] with `active`, [`Outcome::NotOk`] with the state (`inactive`, `failed`, `activating`, ...) otherwise.
/// `systemctl` is the program to ask, by name or path.
pub async fn run<R: Runtime>(rt: &R, systemctl: &str, unit: &str, timeout: Duration) -> Outcome {
    if unit.is_empty() {
        return failed("no unit is named: set os_service to the name of a systemd unit");
    }
    let args = [systemctl, "is-active", "--", unit].map(str::to_owned);
    match script::run(rt, &args, timeout, OUTPUT).await {
        Outcome::Exited { code, output, .. } => judge(code, String::from_utf8_lossy(&output).trim()),
        Outcome::Failed { error } => {
            failed(&format!("os_service checks need systemd, and its systemctl cannot be run: {error}"))
        }
        other => other,
    }
}

/// The state is one word on standard output; everything else is systemctl explaining why it has none.
fn judge(code: Option<i32>, said: &str) -> Outcome {
    match (code, said) {
        (Some(0), state) => Outcome::Ok { detail: state.to_owned() },
        (Some(_), state) if !state.is_empty() && state.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') => {
            Outcome::NotOk { detail: state.to_owned() }
        }
        (_, "") => failed("systemctl ended without saying the state of the unit"),
        (_, reason) => failed(&format!("systemctl cannot say the state of the unit: {reason}")),
    }
}
