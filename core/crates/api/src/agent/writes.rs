//! Registrations with this agent, check results, maintenance.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use convoke_catalog::model::{Status, Str};
use convoke_config::definition::{DefinitionError, Origin, decode_check, decode_service};
use convoke_config::json::parse_first;
use convoke_config::value::{Data, Value};

use super::pool::change;
use crate::call::{Answer, Call};
use crate::decode::{failed, first, members, text};
use crate::effect::AgentRequest;
use crate::query::{ReadOptions, boolean};
use crate::response::Response;

/// The body as a tree. Bytes that are not UTF-8 are replaced, as Go does.
fn tree(body: &[u8]) -> Result<Value, Response> {
    parse_first(&String::from_utf8_lossy(body)).map_err(|why| failed(why.message))
}

fn refused(error: &DefinitionError) -> Response {
    Response::text(400, error.to_string())
}

/// Where the definition names no partition or namespace, the request does.
fn place(read: &ReadOptions<'_>, namespace: &mut String, partition: &mut String) {
    if namespace.is_empty() && read.named {
        *namespace = read.namespace.to_string();
    }
    if partition.is_empty() && read.partition != "default" {
        *partition = read.partition.to_string();
    }
}

/// `PUT /v1/agent/service/register`. A definition inside a lone `service`, as files have it, is taken, too.
pub(crate) fn register_service(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    let body = unwrapped(tree(call.req.body)?);
    let mut service = decode_service(&body, Origin::Http).map_err(|why| refused(&why))?;
    service.validate_registration().map_err(|why| Response::text(400, why))?;
    place(&read, &mut service.namespace, &mut service.partition);
    let replace = call.params.get("replace-existing-checks");
    // No other spelling of yes counts, as in Consul: a typo must not take checks away.
    let replace_existing_checks = replace.is_some_and(|value| matches!(&*value, "" | "true"));
    change(AgentRequest::RegisterService { service: Box::new(service), replace_existing_checks })
}

/// The value of `service` if that is all there is.
fn unwrapped(body: Value) -> Value {
    match body.data {
        Data::Object(mut members) if members.len() == 1 => match members.pop_first() {
            Some((name, member))
                if name.eq_ignore_ascii_case("service") && matches!(member.value.data, Data::Object(_)) =>
            {
                member.value
            }
            other => {
                members.extend(other);
                Value { data: Data::Object(members), at: body.at }
            }
        },
        data => Value { data, at: body.at },
    }
}

/// `PUT /v1/agent/service/deregister/:id`
pub(crate) fn deregister_service(call: &Call<'_>) -> Answer {
    if !call.rest.is_empty() {
        return change(AgentRequest::DeregisterService { id: call.rest.to_string() });
    }
    if call.req.body.is_empty() {
        return Err(Response::text(500, "ServiceID missing"));
    }
    deregister_by_body(call)
}

/// `PUT /v1/agent/service/deregister`: the id, or else the name, from the definition in the body.
pub(crate) fn deregister_by_body(call: &Call<'_>) -> Answer {
    const HELP: &str = "ServiceID missing: put it in the path, /v1/agent/service/deregister/<id>, or send a definition \
with an id or a name";
    let body = unwrapped(tree(call.req.body).map_err(|_| Response::text(400, HELP))?);
    let member = |wanted: &str| {
        let Data::Object(members) = &body.data else { return None };
        let (_, member) = members.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        match &member.value.data {
            Data::String(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    };
    match member("id").or_else(|| member("name")) {
        Some(id) => change(AgentRequest::DeregisterService { id }),
        None => Err(Response::text(400, HELP)),
    }
}

/// `enable` and `reason`.
fn maintenance(call: &Call<'_>) -> Result<(bool, String), Response> {
    let Some(enable) = call.params.get("enable") else {
        return Err(Response::text(400, "Missing value for enable"));
    };
    match boolean(&enable) {
        Some(on) => Ok((on, call.params.text("reason").into_owned())),
        None => Err(Response::text(400, format!("Invalid value for enable: \"{}\"", enable.escape_default()))),
    }
}

/// `PUT /v1/agent/service/maintenance/:id`
pub(crate) fn service_maintenance(call: &Call<'_>) -> Answer {
    let id = call.rest_or("Missing service ID")?.to_string();
    let (enable, reason) = maintenance(call)?;
    change(AgentRequest::ServiceMaintenance { id, enable, reason })
}

/// `PUT /v1/agent/maintenance`
pub(crate) fn node_maintenance(call: &Call<'_>) -> Answer {
    let (enable, reason) = maintenance(call)?;
    change(AgentRequest::NodeMaintenance { enable, reason })
}

/// `PUT /v1/agent/check/register`
pub(crate) fn register_check(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    let mut check = decode_check(&tree(call.req.body)?, Origin::Http).map_err(|why| refused(&why))?;
    check.validate_registration().map_err(|why| Response::text(400, why))?;
    place(&read, &mut check.namespace, &mut check.partition);
    change(AgentRequest::RegisterCheck(Box::new(check)))
}

/// `PUT /v1/agent/check/deregister/:id`
pub(crate) fn deregister_check(call: &Call<'_>) -> Answer {
    if call.rest.is_empty() {
        return Err(Response::text(500, "CheckID missing"));
    }
    change(AgentRequest::DeregisterCheck { id: call.rest.to_string() })
}

fn noted(call: &Call<'_>, status: Status) -> Answer {
    let output = call.params.text("note").into_owned();
    change(AgentRequest::UpdateCheck { id: call.rest.to_string(), status, output })
}

/// `PUT /v1/agent/check/pass/:id`
pub(crate) fn pass(call: &Call<'_>) -> Answer {
    noted(call, Status::Passing)
}

/// `PUT /v1/agent/check/warn/:id`
pub(crate) fn warn(call: &Call<'_>) -> Answer {
    noted(call, Status::Warning)
}

/// `PUT /v1/agent/check/fail/:id`
pub(crate) fn fail(call: &Call<'_>) -> Answer {
    noted(call, Status::Critical)
}

/// `PUT /v1/agent/check/update/:id`. The node cuts the output to what the check keeps.
pub(crate) fn update_check(call: &Call<'_>) -> Answer {
    let (mut status, mut output) = (Str::default(), Str::default());
    let decoded = first(call.req.body).and_then(|body| {
        members(&body, "agent.checkUpdate")?.each(|name, value| match name {
            "status" => text(value, "checkUpdate.Status", &mut status),
            "output" => text(value, "checkUpdate.Output", &mut output),
            "namespace" | "partition" => text(value, "checkUpdate.Namespace", &mut Str::default()),
            _ => Ok(false),
        })
    });
    decoded.map_err(failed)?;
    let status = match Status::from_text(&status) {
        Status::Other(other) => return Err(Response::text(400, format!("Invalid check status: '{other}'"))),
        known => known,
    };
    change(AgentRequest::UpdateCheck { id: call.rest.to_string(), status, output: output.to_string() })
}

/// `PUT /v1/agent/reload`
pub(crate) fn reload(_: &Call<'_>) -> Answer {
    change(AgentRequest::Reload)
}
