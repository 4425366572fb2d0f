//! `/v1/session/...`

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::model::{Str, Tenancy};
use convoke_catalog::sessions::{Behavior, BoundCheck};
use convoke_catalog::topic::Topic;
use convoke_catalog::{Command, Session};
use convoke_config::duration;
use serde_json::Value;

use crate::call::{Answer, Call, Meta, refused};
use crate::decode::{Decoded, failed, first, int, members, text, texts};
use crate::effect::{Effect, Render};
use crate::json::Json;
use crate::json::rows::Show;
use crate::prepared::{new_id, shown_id};
use crate::query::ReadOptions;
use crate::register::uuid;
use crate::response::{Outcome, Response};

/// Longest TTL.
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Lock-delay of those who give none.
const LOCK_DELAY: Duration = Duration::from_secs(15);
/// A lock-delay that is a number is one of seconds below this, of nanoseconds from there on.
const NANOS_FROM: f64 = 1000.0;
/// What a session stands on if nothing else is said.
const SERF_HEALTH: &str = "serfHealth";

/// `PUT /v1/session/create`
pub(crate) fn create(call: &Call<'_>) -> Answer {
    let read = call.local_options()?;
    let mut asked = Asked::new(&call.config().node_name);
    if !call.req.body.is_empty() {
        first(call.req.body).and_then(|body| asked.decode(&body)).map_err(failed)?;
    }
    let no = |why: String| Err(Response::text(500, why));
    let mut session = asked.session();
    session.tenancy = read.tenancy();
    if session.node.is_empty() {
        return no("Must provide Node".to_string());
    }
    session.behavior = match &*asked.behavior {
        "" | "release" => Behavior::Release,
        "delete" => Behavior::Delete,
        other => return no(format!("Invalid Behavior setting '{other}'")),
    };
    if !session.ttl_text.is_empty() {
        let nanos = match duration::parse_nanos(&session.ttl_text) {
            Ok(nanos) => nanos,
            Err(why) => return no(format!("Session TTL '{}' invalid: {why}", session.ttl_text)),
        };
        session.ttl = duration::from_nanos(nanos);
        let least = call.config().session_ttl_min;
        if nanos != 0 && !(least..=TTL_MAX).contains(&session.ttl) {
            let (least, most) = (duration::format(least), duration::format(TTL_MAX));
            return no(format!("Invalid Session TTL '{nanos}', must be between [{least}={most}]"));
        }
    }
    let id = new_id(call.ctx.seed, call.ctx.view.index());
    session.id = shown_id(id).into();
    let command = Box::new(Command::SessionCreate(session));
    Ok(Outcome::Effect(Effect::Propose { command, render: Render::Id { id, pretty: call.pretty } }))
}

/// `PUT /v1/session/destroy/:id`
pub(crate) fn destroy(call: &Call<'_>) -> Answer {
    let read = call.local_options()?;
    let id = call.rest_or("Missing session")?;
    known(id).map_err(|why| Response::text(500, why))?;
    let command = Box::new(Command::SessionDestroy { tenancy: read.tenancy(), id: id.into() });
    Ok(Outcome::Effect(Effect::Propose { command, render: Render::True }))
}

/// `PUT /v1/session/renew/:id`
pub(crate) fn renew(call: &Call<'_>) -> Answer {
    let read = call.local_options()?;
    let id = call.rest_or("Missing session")?;
    known(id).map_err(|why| Response::text(500, why))?;
    Ok(Outcome::Effect(Effect::Renew { tenancy: read.tenancy(), id: id.into(), pretty: call.pretty }))
}

/// `GET /v1/session/info/:id`
pub(crate) fn info(call: &Call<'_>) -> Answer {
    let id = call.rest_or("Missing session")?;
    let read = call.read_options()?;
    known(id).map_err(refused)?;
    let topic = Topic::Session { tenancy: read.tenancy(), id: id.into() };
    list_of(call, &read, topic, |call, read| {
        call.ctx.view.session(read.scope(), id).into_iter().map(|row| &**row).collect()
    })
}

/// `GET /v1/session/node/:node`
pub(crate) fn node(call: &Call<'_>) -> Answer {
    let node = call.rest_or("Missing node name")?;
    let read = call.read_options()?;
    let topic = Topic::NodeSessions { tenancy: read.tenancy(), node: node.into() };
    list_of(call, &read, topic, |call, read| call.ctx.view.sessions_of(read.scope(), node).map(|row| &**row).collect())
}

/// `GET /v1/session/list`
pub(crate) fn list(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let topic = Topic::Sessions { tenancy: read.tenancy() };
    list_of(call, &read, topic, |call, read| call.ctx.view.sessions(read.scope()).map(|row| &**row).collect())
}

fn list_of<'c>(
    call: &'c Call<'_>,
    read: &ReadOptions<'_>,
    topic: Topic,
    rows: impl FnOnce(&'c Call<'_>, &ReadOptions<'_>) -> Vec<&'c Session>,
) -> Answer {
    let index = call.ctx.view.index_of(&topic);
    if let Some(wait) = call.wait(read, index, || vec![topic]) {
        return Ok(wait);
    }
    let rows = rows(call, read);
    let mut json = call.json(256 * rows.len() + 4);
    json.open_array();
    for row in rows {
        json.item().session(row, read.show());
    }
    json.close_array();
    call.found(read, index, Meta::Plain, json)
}

/// The answer to [`Effect::Renew`] for a session that is there.
#[must_use]
pub fn renewed(session: &Session, pretty: bool) -> Response {
    let mut json = Json::new(pretty, 256);
    json.open_array();
    json.item().session(session, Show::default());
    json.close_array();
    Response::json(200, json.finish())
}

/// The answer to [`Effect::Renew`] for one that is not there, or whose time was up.
#[must_use]
pub fn not_found(id: &str) -> Response {
    Response::text(404, format!("Session id '{id}' not found"))
}

/// What is wrong with the id of a session, in Consul's words.
pub(crate) fn known(id: &str) -> Result<(), String> {
    if id.len() != 36 {
        return Err("failed session lookup: index error: UUID must be 36 characters".into());
    }
    uuid(id).map_err(|why| format!("failed session lookup: index error: Invalid UUID: {why}"))
}

/// A session as it is asked for.
struct Asked {
    session: Session,
    behavior: Str,
    node_checks: Option<Vec<Str>>,
    checks: Option<Vec<Str>>,
}

impl Asked {
    fn new(node: &str) -> Self {
        let session = Session { node: node.into(), lock_delay: LOCK_DELAY, ..Session::default() };
        Self { session, behavior: Str::default(), node_checks: None, checks: None }
    }

    fn decode(&mut self, body: &Value) -> Decoded<()> {
        let session = &mut self.session;
        let mut tenancy = Tenancy::default();
        members(body, "structs.Session")?.each(|name, value| match name {
            "id" => text(value, "Session.ID", &mut Str::default()),
            "name" => text(value, "Session.Name", &mut session.name),
            "node" => text(value, "Session.Node", &mut session.node),
            "checks" => list(value, "Session.Checks", &mut self.checks),
            "nodechecks" => list(value, "Session.NodeChecks", &mut self.node_checks),
            "servicechecks" => service_checks(value, &mut session.service_checks),
            "lockdelay" => lock_delay(value, &mut session.lock_delay),
            "behavior" => text(value, "Session.Behavior", &mut self.behavior),
            "ttl" => text(value, "Session.TTL", &mut session.ttl_text),
            "namespace" => text(value, "Session.Namespace", &mut tenancy.namespace),
            "partition" => text(value, "Session.Partition", &mut tenancy.partition),
            "createindex" | "modifyindex" => int(value, "Session.CreateIndex", &mut 0),
            _ => Ok(false),
        })?;
        return Ok(());

        fn list(value: &Value, field: &str, into: &mut Option<Vec<Str>>) -> Decoded<bool> {
            if value.is_null() { Ok(true) } else { texts(value, field, into.get_or_insert_default()) }
        }
    }

    /// The session with its checks. Nothing said: the check of the node's agent. An empty list of `Checks`: none at
    /// all. What older clients list there is stood on beside the check of the agent.
    fn session(&mut self) -> Session {
        let mut session = core::mem::take(&mut self.session);
        let none = self.checks.as_ref().is_some_and(Vec::is_empty);
        session.node_checks = match self.node_checks.take() {
            Some(checks) => checks,
            None if none => Vec::new(),
            None => vec![SERF_HEALTH.into()],
        };
        let listed = self.checks.take().unwrap_or_default();
        session.checks = listed.into_iter().filter(|id| !session.node_checks.contains(id)).collect();
        session
    }
}

fn service_checks(value: &Value, into: &mut Vec<BoundCheck>) -> Decoded<bool> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        _ => return Err("json: cannot unmarshal into Go struct field Session.ServiceChecks".to_string()),
    };
    for item in items {
        let mut check = BoundCheck::default();
        members(item, "structs.ServiceCheck")?.each(|name, value| match name {
            "id" => text(value, "ServiceCheck.ID", &mut check.id),
            "namespace" => text(value, "ServiceCheck.Namespace", &mut check.namespace),
            _ => Ok(false),
        })?;
        into.push(check);
    }
    Ok(true)
}

fn lock_delay(value: &Value, into: &mut Duration) -> Decoded<bool> {
    match value {
        Value::String(text) => *into = duration::parse(text).map_err(|why| why.to_string())?,
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(0.0).max(0.0);
            let seconds = if number < NANOS_FROM { number } else { number / 1e9 };
            *into = Duration::try_from_secs_f64(seconds).map_err(|why| why.to_string())?;
        }
        Value::Null => {}
        _ => return Err("json: cannot unmarshal into Go struct field Session.LockDelay of type time.Duration".into()),
    }
    Ok(true)
}
