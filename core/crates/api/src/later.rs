//! Paths whose subject is not in this build: they are there, with the right methods, and say so. Where the truth is
//! simple (nothing of the kind exists), they tell it.

use alloc::format;

use convoke_catalog::topic::Topic;
use serde_json::Value;

use crate::call::{Answer, Call, Meta};
use crate::decode::{failed, first};
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

/// `/v1/event`
pub(crate) fn events(_: &Call<'_>) -> Answer {
    missing("User events")
}

/// `/v1/internal/federation-state`
pub(crate) fn federation(_: &Call<'_>) -> Answer {
    missing("Federation states")
}

/// `/v1/operator`
pub(crate) fn operator(_: &Call<'_>) -> Answer {
    missing("Operator endpoints")
}

/// `/v1/session`
pub(crate) fn sessions(_: &Call<'_>) -> Answer {
    missing("Sessions")
}

/// `/v1/snapshot`
pub(crate) fn snapshots(_: &Call<'_>) -> Answer {
    missing("Snapshots")
}

/// `/v1/coordinate/update`: coordinates have eight dimensions; those that fit are not kept yet.
pub(crate) fn coordinate_update(call: &Call<'_>) -> Answer {
    let body = first(call.req.body).map_err(failed)?;
    let member = |value: &Value, wanted: &str| {
        let (_, member) = value.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(member.clone())
    };
    let vector = member(&body, "Coord").and_then(|coord| member(&coord, "Vec"));
    if vector.as_ref().and_then(Value::as_array).is_none_or(|vector| vector.len() != 8) {
        return Err(Response::text(500, "incompatible coordinate"));
    }
    missing("Network coordinates")
}

/// `/v1/coordinate/datacenters`: this one, with its servers where every node starts, at the origin.
pub(crate) fn coordinate_datacenters(call: &Call<'_>) -> Answer {
    let mut json = call.json(512);
    json.open_array();
    json.item().open_object();
    json.key("Datacenter").text(&call.config().datacenter);
    json.key("AreaID").text("wan");
    json.key("Coordinates").open_array();
    for server in call.ctx.agent.lan.servers() {
        json.item().open_object();
        json.key("Node").text(server.name());
        json.key("Segment").text("");
        json.key("Coord").coordinate();
        json.close_object();
    }
    json.close_array();
    json.close_object();
    json.close_array();
    call.document(200, json)
}

/// `/v1/coordinate/nodes`: no coordinate is known.
pub(crate) fn coordinate_nodes(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let topic = Topic::Nodes { partition: (&*read.partition).into() };
    let index = call.ctx.view.index_of(&topic);
    if let Some(wait) = call.wait(&read, index, || alloc::vec![topic]) {
        return Ok(wait);
    }
    let mut json = call.json(8);
    json.open_array();
    json.close_array();
    call.found(&read, index, Meta::Plain, json)
}

/// `/v1/coordinate/node/:node`: no coordinate is known.
pub(crate) fn coordinate_node(call: &Call<'_>) -> Answer {
    call.read_options()?;
    Err(Response::empty(404))
}
