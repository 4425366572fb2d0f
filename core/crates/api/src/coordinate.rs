//! `/v1/coordinate/...`: where nodes are in the network, and `near=`, which sorts by it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use convoke_catalog::Command;
use convoke_catalog::coordinate::{Coordinate, CoordinateUpdate, DIMENSIONS, NodeCoordinate};
use convoke_catalog::model::Str;
use convoke_catalog::topic::Topic;
use serde_json::Value;

use crate::call::{Answer, Call, Meta};
use crate::decode::{Decoded, failed, first, kind, members, text};
use crate::effect::{Effect, Render};
use crate::json::Json;
use crate::query::ReadOptions;
use crate::response::{Outcome, Response};

/// What gossip measured, as the tables hold it.
#[must_use]
pub fn measured(place: &convoke_swim::Coordinate) -> Coordinate {
    Coordinate { vec: place.vec, error: place.error, adjustment: place.adjustment, height: place.height }
}

/// `GET /v1/coordinate/datacenters`: servers by datacenter, by what the pool between datacenters measured. A server of
/// this datacenter that was not measured yet is where every node starts.
pub(crate) fn datacenters(call: &Call<'_>) -> Answer {
    let agent = call.ctx.agent;
    let own = &*call.config().datacenter;
    let mut all: BTreeMap<&str, BTreeMap<&str, Coordinate>> = BTreeMap::new();
    all.entry(own).or_default();
    for (name, datacenter, place) in agent.wan_coordinates.iter() {
        all.entry(datacenter).or_default().insert(name, measured(place));
    }
    for server in agent.lan.servers() {
        all.entry(own).or_default().entry(server.name()).or_default();
    }
    let mut json = call.json(512);
    json.open_array();
    for (datacenter, servers) in all {
        json.item().open_object();
        json.key("Datacenter").text(datacenter);
        json.key("AreaID").text("wan");
        json.key("Coordinates").open_array();
        for (name, place) in servers {
            json.item().placed(name, "", &place);
        }
        json.close_array();
        json.close_object();
    }
    json.close_array();
    call.document(200, json)
}

/// `GET /v1/coordinate/nodes`
pub(crate) fn nodes(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let topic = Topic::Coordinates { partition: (&*read.partition).into() };
    let index = call.row_index(call.ctx.view.index_of(&topic));
    if let Some(wait) = call.wait(&read, index, || vec![topic]) {
        return Ok(wait);
    }
    let rows = in_segment(call, call.ctx.view.coordinates(&read.partition));
    answer(call, &read, index, &rows)
}

/// `GET /v1/coordinate/node/:node`
pub(crate) fn node(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let topic = Topic::NodeCoordinates { partition: (&*read.partition).into(), node: call.rest.into() };
    let index = call.row_index(call.ctx.view.index_of(&topic));
    if let Some(wait) = call.wait(&read, index, || vec![topic]) {
        return Ok(wait);
    }
    let rows = in_segment(call, call.ctx.view.coordinates_of(&read.partition, call.rest).iter());
    // Without the usual headers, as recorded.
    if rows.is_empty() { Err(Response::empty(404)) } else { answer(call, &read, index, &rows) }
}

/// Those of the segment that was asked for, which may be the nameless one; all if none was.
fn in_segment<'v>(call: &Call<'_>, rows: impl Iterator<Item = &'v NodeCoordinate>) -> Vec<&'v NodeCoordinate> {
    let segment = call.params.get("segment");
    rows.filter(|row| segment.as_deref().is_none_or(|segment| *row.segment == *segment)).collect()
}

fn answer(call: &Call<'_>, read: &ReadOptions<'_>, index: u64, rows: &[&NodeCoordinate]) -> Answer {
    let mut json = call.json(256 * rows.len() + 4);
    json.open_array();
    for row in rows {
        json.item().placed(&row.node, &row.segment, &row.coordinate);
    }
    json.close_array();
    call.found(read, index, Meta::Plain, json)
}

/// `PUT /v1/coordinate/update`
pub(crate) fn update(call: &Call<'_>) -> Answer {
    let (mut update, place) = first(call.req.body).and_then(|body| decode(&body)).map_err(failed)?;
    let read = call.local_options()?;
    let Ok(vec) = <[f64; DIMENSIONS]>::try_from(place.vec) else {
        return Err(Response::text(500, "incompatible coordinate"));
    };
    update.coordinate = Coordinate { vec, ..place.rest };
    if update.partition.is_empty() {
        update.partition = (&*read.partition).into();
    }
    let command = Box::new(Command::Coordinates(vec![update]));
    Ok(Outcome::Effect(Effect::Propose { command, render: Render::Empty }))
}

/// A place as somebody sent it: in any number of dimensions.
#[derive(Default)]
struct Place {
    vec: Vec<f64>,
    rest: Coordinate,
}

fn decode(body: &Value) -> Decoded<(CoordinateUpdate, Place)> {
    let (mut update, mut place) = (CoordinateUpdate::default(), Place::default());
    (place.rest.error, place.rest.height) = (0.0, 0.0);
    members(body, "structs.CoordinateUpdateRequest")?.each(|name, value| match name {
        "node" => text(value, "CoordinateUpdateRequest.Node", &mut update.node),
        "segment" => text(value, "CoordinateUpdateRequest.Segment", &mut update.segment),
        "partition" => text(value, "CoordinateUpdateRequest.Partition", &mut update.partition),
        "datacenter" | "token" | "namespace" => text(value, "CoordinateUpdateRequest.Datacenter", &mut Str::default()),
        "coord" => members(value, "coordinate.Coordinate")?
            .each(|name, value| match name {
                "vec" => numbers(value, "Coordinate.Coord.Vec", &mut place.vec),
                "error" => number(value, "Coordinate.Coord.Error", &mut place.rest.error),
                "adjustment" => number(value, "Coordinate.Coord.Adjustment", &mut place.rest.adjustment),
                "height" => number(value, "Coordinate.Coord.Height", &mut place.rest.height),
                _ => Ok(false),
            })
            .map(|()| true),
        _ => Ok(false),
    })?;
    Ok((update, place))
}

fn number(value: &Value, field: &str, into: &mut f64) -> Decoded<bool> {
    match value.as_f64() {
        Some(number) => *into = number,
        None if value.is_null() => {}
        None => {
            return Err(format!("json: cannot unmarshal {} into Go struct field {field} of type float64", kind(value)));
        }
    }
    Ok(true)
}

fn numbers(value: &Value, field: &str, into: &mut Vec<f64>) -> Decoded<bool> {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            into.clear();
            for item in items {
                let mut one = 0.0;
                number(item, field, &mut one)?;
                into.push(one);
            }
        }
        other => {
            let kind = kind(other);
            return Err(format!("json: cannot unmarshal {kind} into Go struct field {field} of type []float64"));
        }
    }
    Ok(true)
}

/// Sorting by distance.
impl<'a> Call<'a> {
    /// Sorts rows by the distance of their nodes from the one that `near` names, if it was given.
    pub(crate) fn sort_near<'n, T>(&self, read: &ReadOptions<'_>, rows: &mut [T], node: impl Fn(&T) -> &'n str) {
        if let Some(near) = self.params.get("near") {
            self.ctx.view.sort_by_distance(&read.partition, self.named(&near), rows, node);
        }
    }

    /// The node that a name in `near` means; `_agent` is this one.
    pub(crate) fn named<'n>(&'n self, near: &'n str) -> &'n str {
        if near == "_agent" { self.own_node() } else { near }
    }

    /// The node at the address of who asks; this one if there is none there.
    pub(crate) fn asking_node(&self, read: &ReadOptions<'_>) -> &'a str {
        let forwarded = self.req.headers.get("x-forwarded-for").and_then(|all| all.split(',').next());
        let address = forwarded.and_then(|first| first.trim().parse::<IpAddr>().ok()).or(self.req.remote);
        let at = address.and_then(|ip| self.ctx.view.nodes_by_address(&read.partition, ip.to_canonical()).next());
        at.map_or_else(|| self.own_node(), |node| &*node.name)
    }
}

impl Json {
    /// Where a node is.
    fn placed(&mut self, node: &str, segment: &str, place: &Coordinate) {
        self.open_object();
        self.key("Node").text(node);
        self.key("Segment").text(segment);
        self.key("Coord").place(place);
        self.close_object();
    }

    /// A network coordinate.
    pub fn place(&mut self, place: &Coordinate) {
        self.open_object();
        self.key("Vec").open_array();
        for number in place.vec {
            self.item().f64(number);
        }
        self.close_array();
        self.key("Error").f64(place.error);
        self.key("Adjustment").f64(place.adjustment);
        self.key("Height").f64(place.height);
        self.close_object();
    }
}
