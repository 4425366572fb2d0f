//! `/v1/agent/health/service/...`: one status for load balancers, as a status code and as text or JSON.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use convoke_catalog::model::{Check, Status};

use super::reads::within;
use crate::agent_view::LocalService;
use crate::call::{Answer, Call};
use crate::json::Json;
use crate::query::ReadOptions;
use crate::response::{Outcome, Response};

/// Health of a service and its checks together; a later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Health {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }

    const fn code(self) -> u16 {
        match self {
            Self::Passing => 200,
            Self::Warning => 429,
            Self::Critical | Self::Maintenance => 503,
        }
    }

    fn of(check: &Check) -> Self {
        if &*check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") {
            return Self::Maintenance;
        }
        match check.status {
            Status::Passing => Self::Passing,
            Status::Warning => Self::Warning,
            Status::Critical | Status::Other(_) => Self::Critical,
        }
    }
}

/// A service's checks, those of the node included, and what they amount to.
fn health<'a>(call: &Call<'a>, read: &ReadOptions<'_>, id: &str) -> (Health, Vec<&'a Check>) {
    let mut worst = Health::Passing;
    let mut shown = Vec::new();
    for check in call.ctx.agent.checks.values() {
        let own = *check.row.service_id == *id && within(read, &check.row.tenancy);
        if own || check.row.service_id.is_empty() {
            worst = worst.max(Health::of(&check.row));
            shown.push(&*check.row);
        }
    }
    (worst, shown)
}

fn write(json: &mut Json, read: &ReadOptions<'_>, service: &LocalService, health: Health, checks: &[&Check]) {
    json.open_object();
    json.key("AggregatedStatus").text(health.as_str());
    json.key("Service").agent_service(&service.row, None, read.show());
    json.key("Checks").open_array();
    for check in checks {
        json.item().agent_health_check(check);
    }
    json.close_array();
    json.close_object();
}

fn plain(call: &Call<'_>) -> bool {
    call.params.text("format") == "text"
}

fn text(status: u16, text: String) -> Response {
    let mut response = Response::empty(status);
    response.header("Content-Type", "text/plain").header("X-Consul-Reason", text.clone());
    response.body = text.into_bytes();
    response
}

fn answer(status: u16, reason: impl Into<String>, json: Json) -> Answer {
    let mut response = Response::json(status, json.finish());
    let reason = reason.into();
    if status != 200 {
        response.header("X-Consul-Reason", reason);
    }
    Ok(Outcome::Done(response))
}

/// `GET /v1/agent/health/service/id/:id`
pub(crate) fn by_id(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    if call.rest.is_empty() {
        return Err(Response::text(500, "Bad request: Missing serviceID"));
    }
    let found = call.ctx.agent.services.get(call.rest).filter(|service| within(&read, &service.row.tenancy));
    let Some(service) = found else {
        let reason = format!("ServiceId {} not found", call.rest);
        let mut json = call.json(128);
        if plain(call) {
            json.text(&reason);
        } else {
            json.open_object();
            json.key("AggregatedStatus").text(Health::Critical.as_str());
            json.key("Service").null();
            json.key("Checks").null();
            json.close_object();
        }
        return answer(404, reason, json);
    };
    let (health, checks) = health(call, &read, &service.row.id);
    if plain(call) {
        return Err(text(health.code(), health.as_str().into()));
    }
    let mut json = call.json(1024);
    write(&mut json, &read, service, health, &checks);
    answer(health.code(), health.as_str(), json)
}

/// `GET /v1/agent/health/service/name/:name`
pub(crate) fn by_name(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    if call.rest.is_empty() {
        return Err(Response::text(500, "Bad request: Missing service Name"));
    }
    let services = call.ctx.agent.services.values();
    let mut found = services.filter(|s| *s.row.name == *call.rest && within(&read, &s.row.tenancy)).peekable();
    let absent = found.peek().is_none();
    let mut worst = Health::Passing;
    let mut json = call.json(1024);
    json.open_array();
    for service in found {
        let (health, checks) = health(call, &read, &service.row.id);
        worst = worst.max(health);
        write(json.item(), &read, service, health, &checks);
    }
    json.close_array();
    match (absent, plain(call)) {
        (true, true) => Err(text(404, format!("ServiceName {} Not Found", call.rest))),
        (true, false) => answer(404, format!("ServiceName {} Not Found", call.rest), json),
        (false, true) => Err(text(worst.code(), worst.as_str().into())),
        (false, false) => answer(worst.code(), worst.as_str(), json),
    }
}
