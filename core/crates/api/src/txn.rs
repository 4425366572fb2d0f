//! `/v1/txn`

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine as _;
use convoke_catalog::Command;
use convoke_catalog::model::{Node, Str};
use convoke_catalog::txn::{self, KvOp, KvVerb, RowVerb, TxnError, TxnOp, TxnOutcome, TxnResult};
use serde_json::Value;

use crate::call::{Answer, Call};
use crate::decode::{Decoded, first, members, pairs, text};
use crate::effect::{Effect, Render};
use crate::json::Json;
use crate::json::rows::Show;
use crate::query::{Consistency, ReadOptions};
use crate::register::{complete, decode_check, decode_service, place, probe, uuid};
use crate::response::{Outcome, Response};

/// Operations in one transaction.
const MAX_OPS: usize = 64;

/// `PUT /v1/txn`: what only reads is answered from the view.
pub(crate) fn txn(call: &Call<'_>) -> Answer {
    let read = call.options()?;
    let limits = &call.config().limits;
    let (size, most) = (call.req.body.len(), limits.txn_max_req_len.max(limits.kv_max_value_size));
    if size as u64 > most {
        let see = "https://www.consul.io/docs/agent/options.html#txn_max_req_len";
        let text = format!("Request body({size} bytes) too large, max size: {most} bytes. See {see}.");
        return Err(Response::text(413, text));
    }
    let mut ops = first(call.req.body)
        .and_then(|body| decode(&body))
        .map_err(|why| Response::text(400, format!("Failed to parse body: {why}")))?;
    if ops.len() > MAX_OPS {
        let text = format!("Transaction contains too many operations ({} > {MAX_OPS})", ops.len());
        return Err(Response::text(413, text));
    }
    for op in &ops {
        let TxnOp::Kv(op) = op else { continue };
        let (size, most) = (op.value.len(), limits.kv_max_value_size);
        if size as u64 > most {
            return Err(Response::text(
                413,
                format!("Value for key {:?} is too large ({size} > {most} bytes)", op.key),
            ));
        }
    }
    if read.elsewhere {
        return Err(Response::text(500, "No path to datacenter"));
    }
    let mut wrong = Vec::new();
    for (at, op) in ops.iter_mut().enumerate() {
        settle(op, &read, &call.config().datacenter);
        if let Err(what) = check(op) {
            wrong.push(TxnError { op: at, what });
        }
    }
    if ops.iter().any(TxnOp::is_write) {
        if wrong.is_empty() {
            let render = Render::Txn { pretty: call.pretty };
            return Ok(Outcome::Effect(Effect::Propose { command: Box::new(Command::Txn(ops)), render }));
        }
        return Err(written(&Err(wrong), call.pretty));
    }
    if read.consistency != Consistency::Stale && !call.ctx.confirmed {
        return Err(Response::text(500, "No cluster leader"));
    }
    let outcome = if wrong.is_empty() { txn::read(call.ctx.view, ops) } else { Err(wrong) };
    Ok(Outcome::Done(only_read(call, &read, &outcome)))
}

/// The answer to a transaction that went through the log.
pub(crate) fn written(outcome: &TxnOutcome, pretty: bool) -> Response {
    let mut json = Json::new(pretty, 512);
    json.open_object();
    show(&mut json, outcome, Show { null_tags: true, ..Show::default() });
    json.close_object();
    Response::json(status(outcome), json.finish())
}

/// The answer to one that did not: it says how fresh it is, too.
fn only_read(call: &Call<'_>, read: &ReadOptions<'_>, outcome: &TxnOutcome) -> Response {
    let known = call.ctx.agent.leader.is_some();
    let mut json = call.json(512);
    json.open_object();
    show(&mut json, outcome, Show { null_tags: true, ..read.show() });
    json.key("Index").u64(0);
    json.key("LastContact").u64(0);
    json.key("KnownLeader").bool(known);
    json.key("ConsistencyLevel").text("");
    json.close_object();
    let mut response = Response::json(status(outcome), json.finish());
    response.header("X-Consul-Knownleader", if known { "true" } else { "false" }).header("X-Consul-Lastcontact", "0");
    response
}

fn status(outcome: &TxnOutcome) -> u16 {
    if outcome.is_ok() { 200 } else { 409 }
}

fn show(json: &mut Json, outcome: &TxnOutcome, show: Show<'_>) {
    json.key("Results");
    match outcome {
        Ok(results) => {
            json.open_array();
            for result in results {
                json.item().open_object();
                match result {
                    TxnResult::Kv(entry) => json.key("KV").kv(entry, show),
                    TxnResult::Node(node) => json.key("Node").node(node),
                    TxnResult::Service(service) => json.key("Service").node_service(service, show),
                    TxnResult::Check(check) => json.key("Check").check(check, show),
                }
                json.close_object();
            }
            json.close_array();
        }
        Err(_) => json.null(),
    }
    json.key("Errors");
    match outcome {
        Ok(_) => json.null(),
        Err(errors) => {
            json.open_array();
            for error in errors {
                json.item().open_object();
                json.key("OpIndex").u64(error.op as u64);
                json.key("What").text(&error.what);
                json.close_object();
            }
            json.close_array();
        }
    }
}

/// Fills in where an operation happens, if it does not say so itself, and what a row has when nothing is said.
fn settle(op: &mut TxnOp, read: &ReadOptions<'_>, datacenter: &str) {
    match op {
        TxnOp::Kv(op) => place(read, &mut op.tenancy.partition, Some(&mut op.tenancy.namespace)),
        TxnOp::Node { node, .. } => {
            place(read, &mut node.partition, None);
            if node.datacenter.is_empty() {
                node.datacenter = datacenter.into();
            }
        }
        TxnOp::Service { service, .. } => {
            place(read, &mut service.tenancy.partition, Some(&mut service.tenancy.namespace));
        }
        TxnOp::Check { check, .. } => {
            place(read, &mut check.tenancy.partition, Some(&mut check.tenancy.namespace));
            if check.kind.is_empty() {
                check.kind = probe(check.definition.as_deref()).into();
            }
        }
    }
}

/// What is wrong with an operation by itself, in Consul's words.
fn check(op: &mut TxnOp) -> Result<(), String> {
    match op {
        TxnOp::Kv(op) if op.key.is_empty() && op.verb != KvVerb::DeleteTree => Err("Must provide key".to_string()),
        TxnOp::Node { verb, node } if *verb != RowVerb::Get => {
            if node.name.is_empty() {
                return Err("Must provide node".to_string());
            }
            match node.id.as_deref() {
                Some(id) => uuid(id).map_err(|why| format!("Bad node ID: {why}")),
                None => Ok(()),
            }
        }
        TxnOp::Service { verb, service, .. } if *verb != RowVerb::Get => complete(service),
        TxnOp::Kv(_) | TxnOp::Node { .. } | TxnOp::Service { .. } | TxnOp::Check { .. } => Ok(()),
    }
}

fn decode(body: &Value) -> Decoded<Vec<TxnOp>> {
    let items = match body {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        _ => return Err("json: cannot unmarshal into Go value of type api.TxnOps".to_string()),
    };
    let mut ops = Vec::with_capacity(items.len().min(MAX_OPS));
    for item in items {
        // What names nothing is passed over; of several the first of the order in the manual counts.
        let (mut kv, mut node, mut service, mut check) = (None, None, None, None);
        members(item, "api.TxnOp")?.each(|name, value| {
            match name {
                _ if value.is_null() => {}
                "kv" => kv = Some(decode_kv(value)?),
                "node" => node = Some(decode_node(value)?),
                "service" => service = Some(decode_on_service(value)?),
                "check" => check = Some(decode_on_check(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        ops.extend(kv.or(node).or(service).or(check));
    }
    Ok(ops)
}

fn decode_kv(value: &Value) -> Decoded<TxnOp> {
    let (mut op, mut verb) = (KvOp::default(), Str::default());
    op.tenancy.partition = Str::default();
    op.tenancy.namespace = Str::default();
    members(value, "api.KVTxnOp")?.each(|name, value| match name {
        "verb" => text(value, "KVTxnOp.KV.Verb", &mut verb),
        "key" => text(value, "KVTxnOp.KV.Key", &mut op.key),
        "value" => {
            let mut encoded = Str::default();
            text(value, "KVTxnOp.KV.Value", &mut encoded)?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.as_bytes());
            op.value = bytes.map_err(|why| format!("illegal base64 data: {why}"))?.into();
            Ok(true)
        }
        "flags" => number(value, "KVTxnOp.KV.Flags", &mut op.flags),
        "index" => number(value, "KVTxnOp.KV.Index", &mut op.index),
        "session" => text(value, "KVTxnOp.KV.Session", &mut op.session),
        "namespace" => text(value, "KVTxnOp.KV.Namespace", &mut op.tenancy.namespace),
        "partition" => text(value, "KVTxnOp.KV.Partition", &mut op.tenancy.partition),
        _ => Ok(false),
    })?;
    op.verb = KvVerb::from_text(&verb);
    Ok(TxnOp::Kv(op))
}

fn decode_node(value: &Value) -> Decoded<TxnOp> {
    let (mut node, mut verb, mut id) = (Node::default(), Str::default(), Str::default());
    members(value, "api.NodeTxnOp")?.each(|name, value| match name {
        "verb" => text(value, "NodeTxnOp.Node.Verb", &mut verb),
        "node" => members(value, "api.Node")?
            .each(|name, value| match name {
                "id" => text(value, "Node.Node.ID", &mut id),
                "node" => text(value, "Node.Node.Node", &mut node.name),
                "address" => text(value, "Node.Node.Address", &mut node.address),
                "datacenter" => text(value, "Node.Node.Datacenter", &mut node.datacenter),
                "taggedaddresses" => pairs(value, "Node.Node.TaggedAddresses", &mut node.tagged_addresses),
                "meta" => pairs(value, "Node.Node.Meta", &mut node.meta),
                "partition" => text(value, "Node.Node.Partition", &mut node.partition),
                "createindex" => number(value, "Node.Node.CreateIndex", &mut node.indexes.create),
                "modifyindex" => number(value, "Node.Node.ModifyIndex", &mut node.indexes.modify),
                "peername" | "locality" => Ok(true),
                _ => Ok(false),
            })
            .map(|()| true),
        _ => Ok(false),
    })?;
    node.id = Some(id).filter(|id| !id.is_empty());
    Ok(TxnOp::Node { verb: RowVerb::from_text(&verb), node })
}

fn decode_on_service(value: &Value) -> Decoded<TxnOp> {
    let (mut service, mut verb, mut node) = (None, Str::default(), Str::default());
    members(value, "api.ServiceTxnOp")?.each(|name, value| match name {
        "verb" => text(value, "ServiceTxnOp.Service.Verb", &mut verb),
        "node" => text(value, "ServiceTxnOp.Service.Node", &mut node),
        "service" => {
            let mut row = decode_service(value)?;
            modify_index(value, &mut row.indexes.modify)?;
            service = Some(row);
            Ok(true)
        }
        _ => Ok(false),
    })?;
    let service = match service {
        Some(service) => service,
        None => decode_service(&Value::Null)?,
    };
    Ok(TxnOp::Service { verb: RowVerb::from_text(&verb), node, service })
}

fn decode_on_check(value: &Value) -> Decoded<TxnOp> {
    let (mut check, mut verb) = (None, Str::default());
    members(value, "api.CheckTxnOp")?.each(|name, value| match name {
        "verb" => text(value, "CheckTxnOp.Check.Verb", &mut verb),
        "check" => {
            let mut row = decode_check(value)?;
            modify_index(value, &mut row.indexes.modify)?;
            check = Some(row);
            Ok(true)
        }
        _ => Ok(false),
    })?;
    let check = match check {
        Some(check) => check,
        None => decode_check(&Value::Null)?,
    };
    Ok(TxnOp::Check { verb: RowVerb::from_text(&verb), check })
}

/// The modify index of a row, which registrations ignore.
fn modify_index(row: &Value, into: &mut u64) -> Decoded<()> {
    let members = row.as_object().into_iter().flatten();
    for (_, value) in members.filter(|(name, _)| name.eq_ignore_ascii_case("ModifyIndex")) {
        number(value, "ModifyIndex", into)?;
    }
    Ok(())
}

/// A number of 64 bits.
fn number(value: &Value, field: &str, into: &mut u64) -> Decoded<bool> {
    match value.as_u64() {
        Some(number) => *into = number,
        None if value.is_null() => {}
        None => return Err(format!("json: cannot unmarshal {value} into Go struct field {field} of type uint64")),
    }
    Ok(true)
}
