//! Paths whose subject is not in this build: they are there, with the right methods, and say so. Where the truth is
//! simple (nothing of the kind exists), they tell it.

use alloc::format;

use crate::call::{Answer, Call};
use crate::response::Response;

fn missing(what: &str) -> Answer {
    Err(Response::text(501, format!("{what} are not in this build of Convoke yet")))
}

/// Access control.
pub(crate) fn acl(call: &Call<'_>) -> Answer {
    if call.config().acl.enabled { missing("ACLs") } else { Err(Response::text(401, "ACL support disabled")) }
}

/// Certificates, intentions, discovery chains.
pub(crate) fn mesh(_: &Call<'_>) -> Answer {
    missing("Service mesh endpoints")
}

/// `/v1/config`
pub(crate) fn config_entries(_: &Call<'_>) -> Answer {
    missing("Config entries")
}

/// `/v1/internal/federation-state`
pub(crate) fn federation(_: &Call<'_>) -> Answer {
    missing("Federation states")
}

/// `/v1/operator`
pub(crate) fn operator(_: &Call<'_>) -> Answer {
    missing("Operator endpoints")
}

/// `/v1/snapshot`
pub(crate) fn snapshots(_: &Call<'_>) -> Answer {
    missing("Snapshots")
}
