//! `/v1/operator/raft/...`, `/v1/operator/autopilot/...`, `/v1/snapshot`

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::time::Duration;

use convoke_catalog::Command;
use convoke_catalog::restore::Autopilot;
use convoke_config::config::Config;
use convoke_config::duration;
use serde_json::Value;

use crate::agent_view::RaftView;
use crate::archive::{self, Meta};
use crate::call::{Answer, Call, Meta as Headers};
use crate::decode::{Decoded, first, flag, int, members, text, time};
use crate::effect::{AgentRequest, Effect, Render};
use crate::json::Json;
use crate::query::unsigned;
use crate::response::{Outcome, Response};

/// `GET /v1/operator/raft/configuration`
pub(crate) fn raft_configuration(call: &Call<'_>) -> Answer {
    let raft = raft(call)?;
    let mut json = call.json(512);
    json.open_object();
    json.key("Servers").open_array();
    for server in &raft.servers {
        json.item().open_object();
        json.key("ID").text(&server.id);
        json.key("Node").text(&server.node);
        json.key("Address").text(&server.address);
        json.key("Leader").bool(server.leader);
        json.key("ProtocolVersion").text("3");
        json.key("Voter").bool(server.voter);
        json.close_object();
    }
    json.close_array();
    json.key("Index").u64(raft.index);
    json.close_object();
    call.document(200, json)
}

/// `DELETE /v1/operator/raft/peer`
pub(crate) fn raft_peer(call: &Call<'_>) -> Answer {
    call.local_options()?;
    let (id, address) = (call.params.text("id"), call.params.text("address"));
    let bad = |text: &str| Err(Response::text(400, format!("Bad request: {text}")));
    let (what, asked) = match (&*id, &*address) {
        ("", "") => {
            return bad("Must specify either ?id with the server's ID or ?address with IP:port of peer to remove");
        }
        (id, "") => ("id", id),
        ("", address) => ("address", address),
        _ => return bad("Must specify only one of ?id or ?address"),
    };
    let raft = raft(call)?;
    let found = raft
        .servers
        .iter()
        .find(|server| if what == "id" { server.id.eq_ignore_ascii_case(asked) } else { server.address == asked });
    match found {
        Some(server) => Ok(Outcome::Effect(Effect::Agent(AgentRequest::RemovePeer { id: server.id.clone() }))),
        None => Err(Response::text(500, format!("{what} {asked:?} was not found in the Raft configuration"))),
    }
}

/// What is known of the servers; nothing on an agent that is none of them.
fn raft<'c>(call: &'c Call<'_>) -> Result<&'c Arc<RaftView>, Response> {
    call.ctx.agent.raft.as_ref().ok_or_else(|| Response::text(500, "No cluster leader"))
}

/// `/v1/operator/autopilot/configuration`
pub(crate) fn autopilot_configuration(call: &Call<'_>) -> Answer {
    call.local_options()?;
    if call.req.method == "GET" {
        let configured = || Arc::new(configured(call.config()));
        let settings = call.ctx.view.autopilot().cloned().unwrap_or_else(configured);
        let mut json = call.json(512);
        json.open_object();
        json.key("CleanupDeadServers").bool(settings.cleanup_dead_servers);
        json.key("LastContactThreshold").text(&duration::format(settings.last_contact_threshold));
        json.key("MaxTrailingLogs").u64(settings.max_trailing_logs);
        json.key("MinQuorum").u64(settings.min_quorum);
        json.key("ServerStabilizationTime").text(&duration::format(settings.server_stabilization_time));
        json.key("RedundancyZoneTag").text(&settings.redundancy_zone_tag);
        json.key("DisableUpgradeMigration").bool(settings.disable_upgrade_migration);
        json.key("UpgradeVersionTag").text(&settings.upgrade_version_tag);
        json.key("CreateIndex").u64(settings.indexes.create);
        json.key("ModifyIndex").u64(settings.indexes.modify);
        json.close_object();
        return call.document(200, json);
    }
    let bad = |text: String| Response::text(400, format!("Bad request: {text}"));
    let settings = first(call.req.body)
        .and_then(|body| decode(&body))
        .map_err(|why| bad(format!("Error parsing autopilot config: {why}")))?;
    let cas = match call.params.get("cas") {
        None => None,
        Some(text) => Some(unsigned(&text).ok_or_else(|| bad(format!("Error parsing cas value: {:?}", &*text)))?),
    };
    let command = Box::new(Command::AutopilotSet { settings, cas });
    Ok(Outcome::Effect(Effect::Propose { command, render: Render::Bool }))
}

/// The settings of the configuration, which count until others are made.
#[must_use]
pub fn configured(config: &Config) -> Autopilot {
    let of = &config.autopilot;
    Autopilot {
        cleanup_dead_servers: of.cleanup_dead_servers,
        last_contact_threshold: of.last_contact_threshold,
        max_trailing_logs: of.max_trailing_logs,
        min_quorum: of.min_quorum.into(),
        server_stabilization_time: of.server_stabilization_time,
        redundancy_zone_tag: of.redundancy_zone_tag.as_str().into(),
        disable_upgrade_migration: of.disable_upgrade_migration,
        upgrade_version_tag: of.upgrade_version_tag.as_str().into(),
        ..Autopilot::default()
    }
}

fn decode(body: &Value) -> Decoded<Autopilot> {
    let mut settings = Autopilot::default();
    members(body, "api.AutopilotConfiguration")?.each(|name, value| match name {
        "cleanupdeadservers" => flag(value, "CleanupDeadServers", &mut settings.cleanup_dead_servers),
        "lastcontactthreshold" => time(value, "LastContactThreshold", &mut settings.last_contact_threshold),
        "maxtrailinglogs" => count(value, "MaxTrailingLogs", &mut settings.max_trailing_logs),
        "minquorum" => count(value, "MinQuorum", &mut settings.min_quorum),
        "serverstabilizationtime" => time(value, "ServerStabilizationTime", &mut settings.server_stabilization_time),
        "redundancyzonetag" => text(value, "RedundancyZoneTag", &mut settings.redundancy_zone_tag),
        "disableupgrademigration" => flag(value, "DisableUpgradeMigration", &mut settings.disable_upgrade_migration),
        "upgradeversiontag" => text(value, "UpgradeVersionTag", &mut settings.upgrade_version_tag),
        "createindex" | "modifyindex" => int(value, "CreateIndex", &mut 0),
        _ => Ok(false),
    })?;
    Ok(settings)
}

fn count(value: &Value, field: &str, into: &mut u64) -> Decoded<bool> {
    let mut number = 0;
    int(value, field, &mut number)?;
    *into = u64::try_from(number).map_err(|_| format!("{field} must not be negative"))?;
    Ok(true)
}

/// `GET /v1/operator/autopilot/health`: 429 unless all servers are healthy.
pub(crate) fn autopilot_health(call: &Call<'_>) -> Answer {
    call.local_options()?;
    let raft = raft(call)?;
    let healthy = !raft.servers.is_empty() && raft.servers.iter().all(|server| server.healthy);
    let voters = raft.servers.iter().filter(|server| server.voter).count();
    let well = raft.servers.iter().filter(|server| server.voter && server.healthy).count();
    let mut json = call.json(1024);
    json.open_object();
    json.key("Healthy").bool(healthy);
    json.key("FailureTolerance").u64(well.saturating_sub(voters / 2 + 1) as u64);
    json.key("Servers").open_array();
    for server in &raft.servers {
        // Of itself a server knows how far the tables are at this moment.
        let own = server.id == call.ctx.agent.identity.node_id;
        let last = if own { server.last_index.max(call.ctx.view.index()) } else { server.last_index };
        json.item().open_object();
        json.key("ID").text(&server.id);
        json.key("Name").text(&server.node);
        json.key("Address").text(&server.address);
        json.key("SerfStatus").text(server.serf_status);
        json.key("Version").text(&server.version);
        json.key("Leader").bool(server.leader);
        json.key("LastContact").text(&duration::format(server.last_contact));
        json.key("LastTerm").u64(server.last_term);
        json.key("LastIndex").u64(last);
        json.key("Healthy").bool(server.healthy);
        json.key("Voter").bool(server.voter);
        json.key("StableSince").text(&utc(server.stable_since));
        json.close_object();
    }
    json.close_array();
    json.close_object();
    call.document(if healthy { 200 } else { 429 }, json)
}

/// A moment as RFC 3339 writes it, in seconds and UTC.
fn utc(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days from the first of March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, over) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + over;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `/v1/snapshot`
pub(crate) fn snapshot(call: &Call<'_>) -> Answer {
    if call.req.method == "GET" {
        call.read_options()?;
        let view = call.ctx.view;
        let meta = Meta {
            index: view.index(),
            term: call.ctx.agent.raft.as_ref().map_or(0, |raft| raft.term),
            taken: u64::try_from(call.ctx.now_unix.as_millis()).unwrap_or(u64::MAX),
            version: call.ctx.agent.identity.version.clone(),
            datacenter: call.config().datacenter.clone(),
        };
        let mut json = Json::new(false, 0);
        json.null();
        // The headers of any answer from the tables; the body is no JSON.
        let Outcome::Done(mut response) = call.found(&call.options()?, view.index(), Headers::Plain, json)? else {
            return Err(Response::empty(500));
        };
        response.headers.retain(|(name, _)| name != "Content-Type");
        response.header("Content-Type", "application/octet-stream");
        response.body = archive::write(&meta, &view.export());
        return Ok(Outcome::Done(response));
    }
    call.local_options()?;
    match archive::read(call.req.body) {
        Ok((_, rows)) => {
            let command = Box::new(Command::Restore(Box::new(rows)));
            Ok(Outcome::Effect(Effect::Propose { command, render: Render::Empty }))
        }
        Err(why) => Err(Response::text(500, why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(utc(Duration::from_secs(seconds)), text);
        }
    }
}
