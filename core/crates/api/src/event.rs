//! `/v1/event`: firing user events, and those that came.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_catalog::regexp;

use crate::agent_view::UserEvent;
use crate::call::{Answer, Call};
use crate::effect::{AgentRequest, Effect};
use crate::json::Json;
use crate::prepared::{new_id, shown_id};
use crate::response::{Outcome, Response, Wait};

/// Bytes that the pool carries of one event, as Serf limits them: it goes from member to member in packets that have room
/// for little else.
pub const POOL_BYTES: usize = 512;

/// Of these, what an event's id and the lengths of its parts may take at most.
pub const ENVELOPE_BYTES: usize = 64;

/// `PUT /v1/event/fire/:name`
pub(crate) fn fire(call: &Call<'_>) -> Answer {
    let name = call.rest_or("Missing name")?;
    call.local_options()?;
    let filter = |name| call.params.text(name).into_owned();
    let event = UserEvent {
        id: shown_id(new_id(call.ctx.seed, call.ctx.view.index())),
        name: name.to_string(),
        payload: call.req.body.to_vec(),
        node_filter: filter("node"),
        service_filter: filter("service"),
        tag_filter: filter("tag"),
        time: 0,
    };
    for (text, what) in [(&event.node_filter, "node"), (&event.service_filter, "service"), (&event.tag_filter, "tag")] {
        regexp::compile(text).map_err(|why| Response::text(500, format!("Invalid {what} filter: {why}")))?;
    }
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(Response::text(500, "Cannot provide tag filter without service filter"));
    }
    let parts = [&event.name, &event.node_filter, &event.service_filter, &event.tag_filter];
    let size = parts.iter().map(|part| part.len()).sum::<usize>() + event.payload.len();
    if size > POOL_BYTES - ENVELOPE_BYTES {
        let most = POOL_BYTES - ENVELOPE_BYTES;
        return Err(Response::text(
            500,
            format!(
                "user event exceeds configured limit of {POOL_BYTES} bytes: name, payload and filters have {size} \
                 bytes, and {most} is the most"
            ),
        ));
    }
    Ok(Outcome::Effect(Effect::Agent(AgentRequest::FireEvent { event, pretty: call.pretty })))
}

/// The reply to who fired an event.
#[must_use]
pub fn fired(event: &UserEvent, pretty: bool) -> Response {
    let mut json = Json::new(pretty, 256);
    json.user_event(event);
    Response::json(200, json.finish())
}

/// `GET /v1/event/list`. Its index is made of the newest event's id, so it does not grow: a client waits while the index
/// is the one it knows.
pub(crate) fn list(call: &Call<'_>) -> Answer {
    let mut read = call.plain_options();
    read.blocking(call.params)?;
    let [name, node, service, tag] = ["name", "node", "service", "tag"].map(|name| call.params.text(name));
    let meant = |event: &UserEvent| {
        (name.is_empty() || *name == event.name)
            && concerns(&event.node_filter, &node)
            && concerns(&event.service_filter, &service)
            && concerns(&event.tag_filter, &tag)
    };
    let events: Vec<&Arc<UserEvent>> = call.ctx.agent.events.iter().filter(|event| meant(event)).collect();
    let index = events.last().map_or(1, |newest| index_of(&newest.id));
    if read.index != 0 && read.index == index && !call.last_chance {
        return Ok(Outcome::Wait(Wait { topics: Vec::new(), agent: true, max_wait: call.max_wait(read.wait) }));
    }
    let mut json = call.json(256 * events.len() + 4);
    json.open_array();
    for event in events {
        json.item().user_event(event);
    }
    json.close_array();
    let mut response = Response::json(200, json.finish());
    response.header("X-Consul-Index", index.to_string());
    Ok(Outcome::Done(response))
}

/// Whether an event with this filter is for what is asked about, by the rule of delivery: no filter is for all.
fn concerns(filter: &str, asked: &str) -> bool {
    filter.is_empty() || asked.is_empty() || regexp::compile(filter).is_ok_and(|filter| filter.is_match(asked))
}

/// The halves of a UUID, combined by exclusive or; at least 1, for 0 is an index that nobody can wait for.
fn index_of(id: &str) -> u64 {
    let digits = id.bytes().filter_map(|b| char::from(b).to_digit(16));
    let bits = digits.fold(0_u128, |bits, digit| bits << 4 | u128::from(digit));
    ((bits >> 64) as u64 ^ bits as u64).max(1)
}

impl Json {
    /// An event, its payload in base64.
    fn user_event(&mut self, event: &UserEvent) {
        self.open_object();
        self.key("ID").text(&event.id);
        self.key("Name").text(&event.name);
        self.key("Payload");
        if event.payload.is_empty() {
            self.null();
        } else {
            self.base64(&event.payload);
        }
        self.key("NodeFilter").text(&event.node_filter);
        self.key("ServiceFilter").text(&event.service_filter);
        self.key("TagFilter").text(&event.tag_filter);
        self.key("Version").u64(1);
        self.key("LTime").u64(event.time);
        self.close_object();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_made_of_the_halves() {
        assert_eq!(index_of("b54fe110-7af5-cafc-d1fb-afc8ba432b1c"), 0xb54f_e110_7af5_cafc ^ 0xd1fb_afc8_ba43_2b1c);
        assert_eq!(index_of("11111111-1111-1111-1111-111111111111"), 1);
        // Whatever a peer calls an id.
        for odd in ["", "zz", "ffffffffffffffffffffffffffffffffffffffffffffffff", "\u{e4}"] {
            assert!(index_of(odd) >= 1);
        }
    }
}
