//! `maint`: maintenance mode of the node or of one service.

use super::client::{Client, trying};
use super::command::{Action, Cx, DONE, Entry, Outcome};
use super::flags::{Parsed, switch, text};
use clap::Arg;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The id of the check that puts the node into maintenance.
const NODE_CHECK: &str = "_node_maintenance";

/// What stands before the service's id in the id of such a check of a service.
const SERVICE_CHECK: &str = "_service_maintenance:";

/// The family.
pub(super) const COMMANDS: &[Entry] = &[Entry {
    name: "maint",
    about: "Show or change maintenance mode of the node or of one service",
    usage: "[options]",
    detail: "What is in maintenance is critical: DNS and health queries leave it out. Without a flag, everything of \
             this agent that is in maintenance is listed.",
    flags,
    action: Action::Remote(maint),
}];

fn flags() -> Vec<Arg> {
    vec![
        switch("enable", "Begin maintenance."),
        switch("disable", "End maintenance."),
        text("reason", "text", "Why, for those who look. Only with -enable."),
        text("service", "id", "This service of the agent instead of the whole node."),
    ]
}

fn maint(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let (enable, disable) = (parsed.on("enable"), parsed.on("disable"));
    let reason = parsed.text("reason").unwrap_or_default();
    let service = parsed.text("service").unwrap_or_default();
    if enable && disable {
        return Err("Only one of -enable or -disable may be provided".into());
    }
    if !enable && !reason.is_empty() {
        return Err("-reason may only be specified with -enable".into());
    }
    if !enable && !disable {
        return if service.is_empty() { show(cx, client) } else { Err("-service needs -enable or -disable".into()) };
    }
    let mut query = vec![("enable", if enable { "true" } else { "false" })];
    if enable {
        query.push(("reason", reason));
    }
    let done = if enable { "enabled" } else { "disabled" };
    if service.is_empty() {
        trying(
            &format!("Error changing node maintenance (to be {done})"),
            client.put("/v1/agent/maintenance", &query, Vec::new()),
        )?;
        cx.say(format!("Node maintenance is now {done}"));
    } else {
        trying(
            &format!("Error changing maintenance of service {service:?} (to be {done})"),
            client.put(&format!("/v1/agent/service/maintenance/{service}"), &query, Vec::new()),
        )?;
        cx.say(format!("Service maintenance is now {done} for {service:?}"));
    }
    DONE
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Check {
    notes: String,
    #[serde(rename = "CheckID")]
    id: String,
}

/// What `/v1/agent/self` says, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Myself {
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    node_name: String,
}

fn show(cx: &mut Cx<'_>, client: &Client<'_>) -> Outcome {
    let myself: Myself = trying("Error retrieving node name", client.get("/v1/agent/self", &[]))?;
    let checks: Option<BTreeMap<String, Check>> = trying("Error getting checks", client.get("/v1/agent/checks", &[]))?;
    for check in checks.unwrap_or_default().values() {
        let (heading, label, name) = match check.id.strip_prefix(SERVICE_CHECK) {
            Some(service) => ("Service:", "ID:", service),
            None if check.id == NODE_CHECK => ("Node:", "Name:", myself.config.node_name.as_str()),
            None => continue,
        };
        cx.say(format!("{heading}\n  {label:<7} {name}\n  Reason: {}\n", check.notes));
    }
    DONE
}
