//! `/v1/health/...`

use alloc::vec;
use alloc::vec::Vec;

use convoke_catalog::group::{Instance, ServiceGroup};
use convoke_catalog::model::{Check, Status};
use convoke_catalog::topic::Topic;

use crate::call::{Answer, Call, Meta};
use crate::catalog::{NodeMeta, ROW, Tags};
use crate::filter::Filter;
use crate::filter::schema::{CHECK, INSTANCE};
use crate::query::{ReadOptions, boolean};
use crate::response::Response;

/// `GET /v1/health/service/:service`
pub(crate) fn service(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let name = call.rest_or("Missing service name")?;
    let group = call.ctx.view.group(read.scope(), name).map(|group| &**group);
    instances(call, &read, group, || Topic::Service { tenancy: read.tenancy(), name: name.into() })
}

/// `GET /v1/health/connect/:service`
pub(crate) fn connect(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let name = call.rest_or("Missing service name")?;
    let group = call.ctx.view.connect_group(read.scope(), name).map(|group| &**group);
    instances(call, &read, group, || Topic::Connect { tenancy: read.tenancy(), name: name.into() })
}

/// `GET /v1/health/ingress/:service`: no gateway has services without config entries.
pub(crate) fn ingress(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    call.rest_or("Missing service name")?;
    let mut json = call.json(8);
    json.open_array();
    json.close_array();
    call.found(&read, 1, Meta::Consistency, json)
}

/// `passing`, `passing=true`, `passing=false`.
fn only_passing(call: &Call<'_>) -> Result<bool, Response> {
    match call.params.get("passing") {
        None => Ok(false),
        Some(value) if value.is_empty() => Ok(true),
        Some(value) => boolean(&value).ok_or_else(|| Response::text(400, "Invalid value for ?passing")),
    }
}

fn instances(
    call: &Call<'_>,
    read: &ReadOptions<'_>,
    group: Option<&ServiceGroup>,
    topic: impl Fn() -> Topic,
) -> Answer {
    let passing = only_passing(call)?;
    let filter = Filter::of(read, INSTANCE)?;
    let index = call.row_index(group.map_or_else(|| call.ctx.view.index_of(&topic()), |group| group.index.max(1)));
    if let Some(wait) = call.wait(read, index, || vec![topic()]) {
        return Ok(wait);
    }
    let tags = Tags::of(call.params);
    let meta = NodeMeta::of(call.params);
    let all = group.map_or(&[][..], |group| &group.instances);
    let mut json = call.json(2 * ROW * all.len() + 4);
    json.open_array();
    let fits = |instance: &&Instance| {
        let healthy = !passing || instance.status == Status::Passing;
        healthy && tags.on(&instance.service) && meta.has(&instance.node) && filter.keeps(*instance)
    };
    let mut found: Vec<&Instance> = all.iter().filter(fits).collect();
    call.sort_near(read, &mut found, |instance| &instance.node.name);
    for instance in found {
        json.item().instance(instance, read.show());
    }
    json.close_array();
    call.found(read, index, Meta::Cacheable, json)
}

/// `GET /v1/health/node/:node`
pub(crate) fn node(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let name = call.rest_or("Missing node name")?;
    let topic = Topic::NodeChecks { tenancy: read.tenancy(), node: name.into() };
    let checks = call.ctx.view.checks_of(read.scope(), name).iter().map(|check| &**check);
    list(call, &read, topic, checks)
}

/// `GET /v1/health/checks/:service`
pub(crate) fn checks(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let name = call.rest_or("Missing service name")?;
    let topic = Topic::ServiceChecks { tenancy: read.tenancy(), name: name.into() };
    let checks = call.ctx.view.checks_of_service(read.scope(), name).map(|check| &**check);
    list(call, &read, topic, checks)
}

/// `GET /v1/health/state/:state`
pub(crate) fn state(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let state = call.rest_or("Missing check state")?;
    let tenancy = read.tenancy();
    if state == "any" {
        let checks = call.ctx.view.checks(read.scope()).map(|check| &**check);
        return list(call, &read, Topic::Checks { tenancy }, checks);
    }
    let status = Status::from_text(state);
    let checks = call.ctx.view.checks_in_state(read.scope(), &status).map(|check| &**check);
    list(call, &read, Topic::CheckState { tenancy, status: status.clone() }, checks)
}

fn list<'v>(call: &Call<'_>, read: &ReadOptions<'_>, topic: Topic, checks: impl Iterator<Item = &'v Check>) -> Answer {
    let filter = Filter::of(read, CHECK)?;
    let meta = NodeMeta::of(call.params);
    let mut topics = vec![topic];
    if !meta.is_empty() {
        topics.push(Topic::Nodes { partition: (&*read.partition).into() });
    }
    let index = call.row_index(call.ctx.view.index_of_all(&topics));
    if let Some(wait) = call.wait(read, index, || topics) {
        return Ok(wait);
    }
    let on_node = |check: &Check| {
        meta.is_empty() || call.ctx.view.node(&read.partition, &check.node).is_some_and(|node| meta.has(node))
    };
    let mut json = call.json(ROW);
    json.open_array();
    let mut found: Vec<&Check> = checks.filter(|check| on_node(check) && filter.keeps(*check)).collect();
    call.sort_near(read, &mut found, |check| &check.node);
    for check in found {
        json.item().check(check, read.show());
    }
    json.close_array();
    call.found(read, index, Meta::Consistency, json)
}
