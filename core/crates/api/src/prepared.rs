//! `/v1/query/...`: prepared queries.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use convoke_catalog::model::Str;
use convoke_catalog::queries::{PreparedQuery, QueryService, execute, validate};
use convoke_catalog::topic::Topic;
use convoke_catalog::{Command, Instance};
use convoke_config::duration;
use convoke_kit::Rng;
use serde_json::Value;

use crate::call::{Answer, Call, Meta, refused};
use crate::catalog::ROW;
use crate::decode::{Decoded, failed, first, flag, int, members, pairs, text, texts};
use crate::effect::{Effect, Render};
use crate::json::Json;
use crate::query::{ReadOptions, boolean};
use crate::register::uuid;
use crate::response::{Outcome, Response};

/// `/v1/query`: all of them, or a new one.
pub(crate) fn general(call: &Call<'_>) -> Answer {
    if call.req.method == "GET" { list(call) } else { create(call) }
}

/// `/v1/query/:id`, `/v1/query/:name/execute`, `/v1/query/:name/explain`
pub(crate) fn specific(call: &Call<'_>) -> Answer {
    if let Some(name) = call.rest.strip_suffix("/execute") {
        return run(call, name);
    }
    if let Some(name) = call.rest.strip_suffix("/explain") {
        return explain(call, name);
    }
    match call.req.method {
        "GET" => get(call),
        "PUT" => update(call),
        _ => delete(call),
    }
}

fn list(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let index = call.ctx.view.index_of(&Topic::Queries);
    if let Some(wait) = call.wait(&read, index, || vec![Topic::Queries]) {
        return Ok(wait);
    }
    let mut json = call.json(512);
    json.open_array();
    for query in call.ctx.view.queries() {
        json.item();
        show(&mut json, query);
    }
    json.close_array();
    call.found(&read, index, Meta::Consistency, json)
}

fn get(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let id = call.rest;
    well_formed(id).map_err(refused)?;
    let index = call.ctx.view.index_of(&Topic::Queries);
    let query = by_id(call, id).ok_or_else(absent)?;
    if let Some(wait) = call.wait(&read, index, || vec![Topic::Queries]) {
        return Ok(wait);
    }
    let mut json = call.json(512);
    json.open_array();
    json.item();
    show(&mut json, query);
    json.close_array();
    call.found(&read, index, Meta::Consistency, json)
}

fn create(call: &Call<'_>) -> Answer {
    call.local_options()?;
    let (mut query, nearest) = first(call.req.body).and_then(|body| decode(&body)).map_err(failed)?;
    if !query.id.is_empty() {
        return Err(Response::text(500, "ID must be empty when creating a new prepared query"));
    }
    check(&mut query, nearest)?;
    let id = new_id(call.ctx.seed, call.ctx.view.index());
    query.id = shown_id(id).into();
    propose(Command::QuerySet { query, create: true }, Render::Id { id, pretty: call.pretty })
}

fn update(call: &Call<'_>) -> Answer {
    call.local_options()?;
    let (mut query, nearest) = first(call.req.body).and_then(|body| decode(&body)).map_err(failed)?;
    query.id = call.rest.into();
    there(call)?;
    check(&mut query, nearest)?;
    propose(Command::QuerySet { query, create: false }, Render::Empty)
}

fn delete(call: &Call<'_>) -> Answer {
    call.local_options()?;
    there(call)?;
    propose(Command::QueryDelete { id: call.rest.into() }, Render::Empty)
}

fn propose(command: Command, render: Render) -> Answer {
    Ok(Outcome::Effect(Effect::Propose { command: Box::new(command), render }))
}

/// What is changed must be there.
fn there(call: &Call<'_>) -> Result<(), Response> {
    let id = call.rest;
    well_formed(id).map_err(|why| Response::text(500, format!("Prepared Query lookup failed: {why}")))?;
    match by_id(call, id) {
        Some(_) => Ok(()),
        None => Err(Response::text(500, format!("Cannot modify non-existent prepared query: '{id}'"))),
    }
}

fn by_id<'c>(call: &'c Call<'_>, id: &str) -> Option<&'c Arc<PreparedQuery>> {
    call.ctx.view.query(id).filter(|query| query.id.eq_ignore_ascii_case(id))
}

fn well_formed(id: &str) -> Result<(), String> {
    if id.len() != 36 {
        return Err("failed prepared query lookup: index error: UUID must be 36 characters".into());
    }
    uuid(id).map_err(|why| format!("failed prepared query lookup: index error: Invalid UUID: {why}"))
}

fn absent() -> Response {
    Response::text(404, "Query not found")
}

/// What is wrong with a query by itself; the tables look at its surroundings. Takes over the number of datacenters.
fn check(query: &mut PreparedQuery, nearest: i64) -> Result<(), Response> {
    validate(query).map_err(|why| Response::text(500, why))?;
    let wrong = |why: String| Err(Response::text(500, format!("Invalid prepared query: {why}")));
    match u32::try_from(nearest) {
        Ok(nearest) => query.service.failover_nearest = nearest,
        Err(_) if nearest > 0 => query.service.failover_nearest = u32::MAX,
        Err(_) => return wrong(format!("Bad NearestN '{nearest}', must be >= 0")),
    }
    if query.dns_ttl.is_empty() {
        return Ok(());
    }
    match duration::parse(&query.dns_ttl) {
        Err(why) => wrong(format!("Bad DNS TTL '{}': {why}", query.dns_ttl)),
        Ok(_) if query.dns_ttl.starts_with('-') => wrong(format!("DNS TTL '{}', must be >=0", query.dns_ttl)),
        Ok(_) => Ok(()),
    }
}

/// A random UUID (RFC 9562, 5.4) from the seed, which is another one for every request; the log index tells apart what
/// has the same seed all the same. The tables refuse an id that is taken.
pub(crate) fn new_id(seed: u64, index: u64) -> u128 {
    let mut rng = Rng::new(seed ^ index.rotate_left(32));
    let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    let version = bits & !(0xf << 76) | 0x4 << 76;
    version & !(0x3 << 62) | 0x2 << 62
}

/// A UUID's text.
pub(crate) fn shown_id(id: u128) -> String {
    let part = |shift: u32, bits: u32| (id >> shift) & ((1 << bits) - 1);
    let [a, b, c, d, e] = [part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48)];
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

fn explain(call: &Call<'_>, name: &str) -> Answer {
    let read = call.read_options()?;
    let query = resolve(call, name)?;
    let mut json = call.json(512);
    json.open_object();
    json.key("Query");
    show(&mut json, &query);
    meta(call, &read, &mut json);
    json.close_object();
    call.found(&read, call.ctx.view.index_of(&Topic::Queries), Meta::Consistency, json)
}

fn run(call: &Call<'_>, name: &str) -> Answer {
    let read = call.read_options()?;
    let limit = limit(call)?;
    let mut query = resolve(call, name)?;
    if call.params.get("connect").is_some_and(|value| boolean(&value) == Some(true)) {
        Arc::make_mut(&mut query).service.connect = true;
    }
    let mut nodes: Vec<&Instance> = execute(call.ctx.view, read.scope(), &query.service).collect();
    Rng::new(call.ctx.seed).shuffle(&mut nodes);
    let near = call.params.get("near").filter(|near| !near.is_empty());
    nearest_first(call, &read, near.as_deref().unwrap_or(&query.service.near), &mut nodes);
    if let Some(limit) = limit {
        nodes.truncate(limit);
    }
    let service = Arc::clone(&query.service.service);
    let topics = [Topic::Queries, Topic::Service { tenancy: read.tenancy(), name: service }];
    let mut json = call.json(2 * ROW * nodes.len() + 256);
    json.open_object();
    json.key("Service").text(&query.service.service);
    json.key("Nodes").open_array();
    for instance in nodes {
        json.item().instance(instance, read.show());
    }
    json.close_array();
    json.key("DNS").open_object();
    json.key("TTL").text(&query.dns_ttl);
    json.close_object();
    json.key("Datacenter").text(&call.config().datacenter);
    // No other datacenter is known, so none was asked.
    json.key("Failovers").u64(0);
    meta(call, &read, &mut json);
    json.close_object();
    call.found(&read, call.ctx.view.index_of_all(&topics), Meta::Consistency, json)
}

fn resolve(call: &Call<'_>, name: &str) -> Result<Arc<PreparedQuery>, Response> {
    call.ctx.view.resolve_query(name, "").map_err(refused)?.ok_or_else(absent)
}

/// Sorts by distance from a node, whose own instances come first even if nobody knows where it is. `_ip` is the node at
/// the address of who asks.
fn nearest_first(call: &Call<'_>, read: &ReadOptions<'_>, near: &str, nodes: &mut [&Instance]) {
    let near = if near == "_ip" { call.asking_node(read) } else { call.named(near) };
    if !near.is_empty() {
        call.ctx.view.sort_by_distance(&read.partition, near, nodes, |instance| &instance.node.name);
        nodes.sort_by_key(|instance| !instance.node.name.eq_ignore_ascii_case(near));
    }
}

fn limit(call: &Call<'_>) -> Result<Option<usize>, Response> {
    let Some(text) = call.params.get("limit").filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(limit) => Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0)),
        Err(_) => Err(Response::text(500, format!("Bad limit: strconv.Atoi: parsing {:?}: invalid syntax", &*text))),
    }
}

/// How fresh an answer is, as part of it.
fn meta(call: &Call<'_>, read: &ReadOptions<'_>, json: &mut Json) {
    json.key("Index").u64(0);
    json.key("LastContact").u64(0);
    json.key("KnownLeader").bool(call.ctx.agent.leader.is_some());
    json.key("ConsistencyLevel").text(read.consistency.as_str());
}

fn show(json: &mut Json, query: &PreparedQuery) {
    let service = &query.service;
    json.open_object();
    json.key("ID").text(&query.id);
    json.key("Name").text(&query.name);
    json.key("Session").text(&query.session);
    json.key("Token").text(&query.token);
    json.key("Template").open_object();
    json.key("Type").text(&query.template.kind);
    json.key("Regexp").text(&query.template.regexp);
    json.key("RemoveEmptyTags").bool(query.template.remove_empty_tags);
    json.close_object();
    json.key("Service").open_object();
    json.key("Service").text(&service.service);
    json.key("Failover").open_object();
    json.key("NearestN").u64(service.failover_nearest.into());
    json.key("Datacenters");
    maybe_texts(json, service.failover_datacenters.as_deref());
    json.close_object();
    json.key("OnlyPassing").bool(service.only_passing);
    json.key("IgnoreCheckIDs");
    maybe_texts(json, service.ignore_check_ids.as_deref());
    json.key("Near").text(&service.near);
    json.key("Tags");
    maybe_texts(json, service.tags.as_deref());
    json.key("NodeMeta").maybe_pairs(service.node_meta.as_ref());
    json.key("ServiceMeta").maybe_pairs(service.service_meta.as_ref());
    json.key("Connect").bool(service.connect);
    json.close_object();
    json.key("DNS").open_object();
    json.key("TTL").text(&query.dns_ttl);
    json.close_object();
    json.key("CreateIndex").u64(query.indexes.create);
    json.key("ModifyIndex").u64(query.indexes.modify);
    json.close_object();
}

fn maybe_texts(json: &mut Json, all: Option<&[Str]>) {
    match all {
        Some(all) => json.texts(all),
        None => json.null(),
    }
}

/// A query, and how many of the nearest datacenters it asks, which may be less than none.
fn decode(body: &Value) -> Decoded<(PreparedQuery, i64)> {
    let (mut query, mut nearest) = (PreparedQuery::default(), 0);
    members(body, "structs.PreparedQuery")?.each(|name, value| match name {
        "id" => text(value, "PreparedQuery.ID", &mut query.id),
        "name" => text(value, "PreparedQuery.Name", &mut query.name),
        "session" => text(value, "PreparedQuery.Session", &mut query.session),
        "token" => text(value, "PreparedQuery.Token", &mut query.token),
        "template" => members(value, "structs.QueryTemplateOptions")?
            .each(|name, value| match name {
                "type" => text(value, "QueryTemplateOptions.Template.Type", &mut query.template.kind),
                "regexp" => text(value, "QueryTemplateOptions.Template.Regexp", &mut query.template.regexp),
                "removeemptytags" => {
                    let into = &mut query.template.remove_empty_tags;
                    flag(value, "QueryTemplateOptions.Template.RemoveEmptyTags", into)
                }
                _ => Ok(false),
            })
            .map(|()| true),
        "service" => decode_service(value, &mut query.service, &mut nearest).map(|()| true),
        "dns" => members(value, "structs.QueryDNSOptions")?
            .each(|name, value| match name {
                "ttl" => text(value, "QueryDNSOptions.DNS.TTL", &mut query.dns_ttl),
                _ => Ok(false),
            })
            .map(|()| true),
        "createindex" | "modifyindex" => int(value, "PreparedQuery.CreateIndex", &mut 0),
        _ => Ok(false),
    })?;
    Ok((query, nearest))
}

fn decode_service(value: &Value, into: &mut QueryService, nearest: &mut i64) -> Decoded<()> {
    members(value, "structs.ServiceQuery")?.each(|name, value| match name {
        "service" => text(value, "ServiceQuery.Service.Service", &mut into.service),
        "failover" => members(value, "structs.QueryDatacenterOptions")?
            .each(|name, value| match name {
                "nearestn" => int(value, "QueryDatacenterOptions.Failover.NearestN", nearest),
                "datacenters" => {
                    list_of(value, "QueryDatacenterOptions.Failover.Datacenters", &mut into.failover_datacenters)
                }
                _ => Ok(false),
            })
            .map(|()| true),
        "onlypassing" => flag(value, "ServiceQuery.Service.OnlyPassing", &mut into.only_passing),
        "ignorecheckids" => list_of(value, "ServiceQuery.Service.IgnoreCheckIDs", &mut into.ignore_check_ids),
        "near" => text(value, "ServiceQuery.Service.Near", &mut into.near),
        "tags" => list_of(value, "ServiceQuery.Service.Tags", &mut into.tags),
        "nodemeta" => pairs(value, "ServiceQuery.Service.NodeMeta", &mut into.node_meta),
        "servicemeta" => pairs(value, "ServiceQuery.Service.ServiceMeta", &mut into.service_meta),
        "connect" => flag(value, "ServiceQuery.Service.Connect", &mut into.connect),
        "namespace" | "partition" => text(value, "ServiceQuery.Service.Namespace", &mut Str::default()),
        _ => Ok(false),
    })
}

fn list_of(value: &Value, field: &str, into: &mut Option<Vec<Str>>) -> Decoded<bool> {
    if value.is_null() { Ok(true) } else { texts(value, field, into.get_or_insert_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let ids: Vec<String> = (0..200).map(|seed| shown_id(new_id(seed / 2, seed % 2))).collect();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(uuid(id), Ok(()), "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "{id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
            assert!(!ids[..at].contains(id));
        }
    }
}
