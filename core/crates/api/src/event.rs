//! `/v1/event`: firing user events, and those that came.

use crate::agent_view::UserEvent;
use crate::response::Response;

/// The reply to who fired an event.
#[must_use]
pub fn fired(event: &UserEvent, _pretty: bool) -> Response {
    Response::text(200, event.id.as_str())
}
