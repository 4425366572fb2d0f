//! `/v1/status/...`: who leads.

use alloc::format;
use alloc::string::ToString;

use crate::call::{Answer, Call};

/// `GET /v1/status/leader`: address of the leader, or an empty text.
pub(crate) fn leader(call: &Call<'_>) -> Answer {
    call.local_options()?;
    let mut json = call.json(32);
    match call.ctx.agent.leader {
        Some(leader) => json.text(&format!("{leader}")),
        None => json.text(""),
    }
    call.document(200, json)
}

/// `GET /v1/status/peers`: addresses of the servers.
pub(crate) fn peers(call: &Call<'_>) -> Answer {
    call.local_options()?;
    let mut json = call.json(64);
    json.texts(call.ctx.agent.peers.iter().map(ToString::to_string));
    call.document(200, json)
}
