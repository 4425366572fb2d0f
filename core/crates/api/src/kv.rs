//! `/v1/kv/...`

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use convoke_catalog::command::{Command, KvDelete, KvLock, KvSet};
use convoke_catalog::model::Str;
use convoke_catalog::topic::Topic;
use convoke_catalog::view::KeyOrFolder;

use crate::call::{Answer, Call, Meta};
use crate::effect::{Effect, Render};
use crate::query::{Consistency, ReadOptions, unsigned};
use crate::response::{Outcome, Response};
use crate::session::known;

/// Any method.
pub(crate) fn kv(call: &Call<'_>) -> Answer {
    let read = call.options()?;
    match call.req.method {
        "GET" if call.params.has("keys") => keys(call, &read),
        "GET" => get(call, &read),
        "PUT" => put(call, &read),
        _ => delete(call, &read),
    }
}

/// Keys are answered from this datacenter, by a server that knows a leader. Refusals carry no index here.
fn here(call: &Call<'_>, read: &ReadOptions<'_>) -> Result<(), Response> {
    if read.elsewhere {
        return Err(Response::text(500, "No path to datacenter"));
    }
    if read.consistency != Consistency::Stale && !call.ctx.confirmed {
        return Err(Response::text(500, "No cluster leader"));
    }
    Ok(())
}

fn keys(call: &Call<'_>, read: &ReadOptions<'_>) -> Answer {
    here(call, read)?;
    let prefix = call.rest;
    let topic = Topic::KvPrefix { tenancy: read.tenancy(), prefix: prefix.into() };
    let index = call.ctx.view.index_of(&topic);
    if let Some(wait) = call.wait(read, index, || vec![topic]) {
        return Ok(wait);
    }
    let separator = call.params.get("separator").filter(|s| !s.is_empty());
    let separator = separator.unwrap_or_else(|| call.params.text("seperator"));
    let keys = call.ctx.view.kv_keys(read.scope(), prefix, &separator);
    // The root is always there.
    if keys.is_empty() && !prefix.is_empty() {
        return call.absent(index);
    }
    let mut json = call.json(32 * keys.len() + 4);
    json.texts(keys.iter().map(KeyOrFolder::as_str));
    call.found(read, index, Meta::Plain, json)
}

fn get(call: &Call<'_>, read: &ReadOptions<'_>) -> Answer {
    let recurse = call.params.has("recurse");
    let key = if recurse { call.rest } else { call.rest_or("Missing key name")? };
    here(call, read)?;
    let tenancy = read.tenancy();
    let topic =
        if recurse { Topic::KvPrefix { tenancy, prefix: key.into() } } else { Topic::Kv { tenancy, key: key.into() } };
    let index = call.ctx.view.index_of(&topic);
    if let Some(wait) = call.wait(read, index, || vec![topic]) {
        return Ok(wait);
    }
    if recurse {
        let mut entries = call.ctx.view.kv_range(read.scope(), key).peekable();
        if entries.peek().is_none() {
            return call.absent(index);
        }
        let mut json = call.json(512);
        json.open_array();
        for entry in entries {
            json.item().kv(entry, read.show());
        }
        json.close_array();
        return call.found(read, index, Meta::Plain, json);
    }
    let Some(entry) = call.ctx.view.kv(read.scope(), key) else { return call.absent(index) };
    if call.params.has("raw") {
        let mut response = Response::empty(200);
        // Whatever somebody stored, a browser must not run it.
        response
            .header("Content-Type", "text/plain")
            .header("X-Content-Type-Options", "nosniff")
            .header("Content-Security-Policy", "sandbox");
        call.stamp(&mut response, index);
        response.body = entry.value.to_vec();
        return Ok(Outcome::Done(response));
    }
    let mut json = call.json(160 + key.len() + entry.value.len() * 4 / 3);
    json.open_array();
    json.item().kv(entry, read.show());
    json.close_array();
    call.found(read, index, Meta::Plain, json)
}

/// At most one of these may be given.
fn one_of(call: &Call<'_>, flags: &[&str]) -> Result<(), Response> {
    if flags.iter().filter(|flag| call.params.has(flag)).count() > 1 {
        return Err(Response::text(400, format!("Conflicting flags: {}", call.params.encoded())));
    }
    Ok(())
}

/// A parameter that is a number.
fn number(call: &Call<'_>, name: &str) -> Result<Option<u64>, Response> {
    let Some(text) = call.params.get(name) else { return Ok(None) };
    match unsigned(&text) {
        Some(number) => Ok(Some(number)),
        None => Err(Response::text(500, format!("strconv.ParseUint: parsing {}: {}", quoted(&text), trouble(&text)))),
    }
}

fn trouble(text: &str) -> &'static str {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { "value out of range" } else { "invalid syntax" }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// The session that is to lock the key (true) or to unlock it, if any.
fn locks(call: &Call<'_>) -> Result<Option<(Str, bool)>, Response> {
    let acquire = call.params.has("acquire");
    let Some(session) = call.params.get(if acquire { "acquire" } else { "release" }) else { return Ok(None) };
    if session.is_empty() {
        return Err(Response::text(500, "missing session"));
    }
    if acquire {
        known(&session).map_err(|why| Response::text(500, why))?;
    }
    Ok(Some((Str::from(&*session), acquire)))
}

fn put(call: &Call<'_>, read: &ReadOptions<'_>) -> Answer {
    let key = call.rest_or("Missing key name")?;
    one_of(call, &["cas", "acquire", "release"])?;
    let flags = number(call, "flags")?.unwrap_or(0);
    let cas = number(call, "cas")?;
    let lock = locks(call)?;
    let (size, most) = (call.req.body.len(), call.config().limits.kv_max_value_size);
    if size as u64 > most {
        let see = "https://www.consul.io/docs/agent/options.html#kv_max_value_size";
        let text = format!("Request body({size} bytes) too large, max size: {most} bytes. See {see}.");
        return Err(Response::text(413, text));
    }
    written(read)?;
    let value = call.req.body.into();
    let (tenancy, key) = (read.tenancy(), key.into());
    propose(match lock {
        Some((session, acquire)) => Command::KvLock(KvLock { tenancy, key, value, flags, session, acquire }),
        None => Command::KvSet(KvSet { tenancy, key, value, flags, cas }),
    })
}

fn delete(call: &Call<'_>, read: &ReadOptions<'_>) -> Answer {
    one_of(call, &["recurse", "cas"])?;
    let recurse = call.params.has("recurse");
    let key = if recurse { call.rest } else { call.rest_or("Missing key name")? };
    let cas = number(call, "cas")?;
    written(read)?;
    propose(Command::KvDelete(KvDelete { tenancy: read.tenancy(), key: key.into(), recurse, cas }))
}

fn written(read: &ReadOptions<'_>) -> Result<(), Response> {
    if read.elsewhere { Err(Response::text(500, "No path to datacenter")) } else { Ok(()) }
}

fn propose(command: Command) -> Answer {
    Ok(Outcome::Effect(Effect::Propose { command: Box::new(command), render: Render::Bool }))
}
