//! `operator raft`, `operator autopilot`, `snapshot`: what operators do to a cluster as a whole.

use super::client::{Client, expect_ok, trying};
use super::command::{Action, Cx, DONE, Entry, Failure, Outcome, words};
use super::flags::{Parsed, switch, text, unsigned};
use super::table::{render, row};
use clap::Arg;
use convoke_api::archive::{self, Meta};
use convoke_catalog::Snapshot;
use convoke_config::duration;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::Path;

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    group("operator", "Tools for operators of a cluster"),
    group("operator autopilot", "How the servers keep their cluster"),
    entry("operator autopilot get-config", "Print the settings of autopilot", "[options]", Vec::new, get_config),
    entry("operator autopilot set-config", "Change settings of autopilot", "[options]", set_flags, set_config),
    group("operator raft", "The servers and their consensus"),
    entry("operator raft list-peers", "List the servers that keep the log", "[options]", Vec::new, list_peers),
    entry("operator raft remove-peer", "Remove a server that is gone for good", "[options]", remove_flags, remove_peer),
    group("snapshot", "Save, restore and inspect the state of the servers"),
    Entry {
        name: "snapshot inspect",
        about: "Say what is in a snapshot",
        usage: "FILE",
        detail: "",
        flags: Vec::new,
        action: Action::Local(inspect),
    },
    entry(
        "snapshot restore",
        "Put the state of a snapshot in the place of what is there",
        "[options] FILE",
        Vec::new,
        restore,
    ),
    entry("snapshot save", "Write the state of the servers to a file", "[options] FILE", Vec::new, save),
];

const fn group(name: &'static str, about: &'static str) -> Entry {
    Entry { name, about, usage: "<subcommand> [options] [args]", detail: "", flags: Vec::new, action: Action::Group }
}

const fn entry(
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    flags: fn() -> Vec<Arg>,
    run: fn(&mut Cx<'_>, &Parsed, &Client<'_>) -> Outcome,
) -> Entry {
    Entry { name, about, usage, detail: "", flags, action: Action::Remote(run) }
}

const AUTOPILOT: &str = "/v1/operator/autopilot/configuration";

/// Settings of autopilot as the agent shows them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    min_quorum: u64,
    server_stabilization_time: String,
    redundancy_zone_tag: String,
    disable_upgrade_migration: bool,
    upgrade_version_tag: String,
    #[serde(skip_serializing)]
    modify_index: u64,
}

fn get_config(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let of: Settings = trying("Error querying Autopilot configuration", client.get(AUTOPILOT, &[]))?;
    cx.say(format!("CleanupDeadServers = {}", of.cleanup_dead_servers));
    cx.say(format!("LastContactThreshold = {}", of.last_contact_threshold));
    cx.say(format!("MaxTrailingLogs = {}", of.max_trailing_logs));
    cx.say(format!("MinQuorum = {}", of.min_quorum));
    cx.say(format!("ServerStabilizationTime = {}", of.server_stabilization_time));
    cx.say(format!("RedundancyZoneTag = {:?}", of.redundancy_zone_tag));
    cx.say(format!("DisableUpgradeMigration = {}", of.disable_upgrade_migration));
    cx.say(format!("UpgradeVersionTag = {:?}", of.upgrade_version_tag));
    DONE
}

fn set_flags() -> Vec<Arg> {
    vec![
        switch("cleanup-dead-servers", "Remove servers that left or are dead."),
        switch("disable-upgrade-migration", "Kept, without effect."),
        text("last-contact-threshold", "duration", "A server that the leader did not hear for longer is not healthy."),
        unsigned("max-trailing-logs", "A server that lags more entries behind is not healthy."),
        unsigned("min-quorum", "Remove dead servers down to so many."),
        text("redundancy-zone-tag", "tag", "Kept, without effect."),
        text("server-stabilization-time", "duration", "A new server must be healthy for so long before it votes."),
        text("upgrade-version-tag", "tag", "Kept, without effect."),
    ]
}

fn set_config(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let mut of: Settings = trying("Error querying Autopilot configuration", client.get(AUTOPILOT, &[]))?;
    let put_text =
        |name: &str, into: &mut String| parsed.text(name).into_iter().for_each(|text| *into = text.to_owned());
    let put_number = |name: &str, into: &mut u64| parsed.unsigned(name).into_iter().for_each(|number| *into = number);
    let put_flag = |name: &str, into: &mut bool| parsed.switch(name).into_iter().for_each(|on| *into = on);
    for name in ["last-contact-threshold", "server-stabilization-time"] {
        if let Some(text) = parsed.text(name) {
            duration::parse(text).map_err(|why| format!("invalid value {text:?} for flag -{name}: {why}"))?;
        }
    }
    put_flag("cleanup-dead-servers", &mut of.cleanup_dead_servers);
    put_flag("disable-upgrade-migration", &mut of.disable_upgrade_migration);
    put_text("last-contact-threshold", &mut of.last_contact_threshold);
    put_number("max-trailing-logs", &mut of.max_trailing_logs);
    put_number("min-quorum", &mut of.min_quorum);
    put_text("redundancy-zone-tag", &mut of.redundancy_zone_tag);
    put_text("server-stabilization-time", &mut of.server_stabilization_time);
    put_text("upgrade-version-tag", &mut of.upgrade_version_tag);
    let body = serde_json::to_vec(&of).map_err(|why| why.to_string())?;
    let cas = of.modify_index.to_string();
    let done = trying("Error setting Autopilot configuration", client.put(AUTOPILOT, &[("cas", &cas)], body))?;
    if done.starts_with(b"true") {
        cx.say("Configuration updated!");
        return DONE;
    }
    Err("Configuration could not be atomically updated, please try again".into())
}

fn list_peers(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Peer {
        #[serde(rename = "ID")]
        id: String,
        node: String,
        address: String,
        leader: bool,
        voter: bool,
        protocol_version: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Peers {
        servers: Vec<Peer>,
    }
    words(parsed, 0, 0)?;
    let peers: Peers = trying("Error getting peers", client.get("/v1/operator/raft/configuration", &[]))?;
    let mut rows = vec![row(["Node", "ID", "Address", "State", "Voter", "RaftProtocol"])];
    rows.extend(peers.servers.iter().map(|peer| {
        let state = if peer.leader { "leader" } else { "follower" };
        let voter = if peer.voter { "true" } else { "false" };
        row([&peer.node, &peer.id, &peer.address, state, voter, &peer.protocol_version])
    }));
    cx.put(render(&rows).as_bytes());
    DONE
}

fn remove_flags() -> Vec<Arg> {
    vec![
        text("address", "address", "Remove the server at this address: host:port."),
        text("id", "id", "Remove the server with this id."),
    ]
}

fn remove_peer(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let given = |name: &str| parsed.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let (name, value) = match (given("address"), given("id")) {
        (Some(_), Some(_)) => return Err("Error removing peer: cannot remove by both address and id".into()),
        (Some(address), None) => ("address", address),
        (None, Some(id)) => ("id", id),
        (None, None) => return Err("Error removing peer: an address or id is required for the peer to remove".into()),
    };
    let answer = client.fine("DELETE", "/v1/operator/raft/peer", &[(name, &value)], Vec::new());
    trying("Error removing peer", answer)?;
    cx.say(format!("Removed peer with {name} {value:?}"));
    DONE
}

fn file(parsed: &Parsed) -> Result<&str, Failure> {
    match words(parsed, 0, usize::MAX)?[..] {
        [] => Err("Missing FILE argument".into()),
        [file] => Ok(file),
        ref more => Err(format!("Too many arguments (expected 1, got {})", more.len()).into()),
    }
}

fn save(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let to = file(parsed)?;
    let answer = client.call("GET", "/v1/snapshot", &[], Vec::new()).and_then(expect_ok);
    let bytes = trying("Error saving snapshot", answer)?.body;
    let (meta, _) = trying("Error verifying snapshot", archive::read(&bytes).map_err(|why| why.to_string()))?;
    trying("Error writing snapshot file", write(Path::new(to), &bytes).map_err(|why| format!("{to}: {why}")))?;
    cx.say(format!("Saved and verified snapshot to index {}", meta.index));
    DONE
}

/// Writes beside the file and moves it there: what is there is old or new, never half.
fn write(to: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(".unverified");
    let beside = Path::new(&name);
    let result = (|| {
        let mut out = std::fs::File::create(beside)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        std::fs::rename(beside, to)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(beside);
    }
    result
}

fn load(from: &str) -> Result<(Vec<u8>, Meta, Snapshot), Failure> {
    let bytes = trying("Error opening snapshot file", std::fs::read(from).map_err(|why| format!("{from}: {why}")))?;
    let (meta, rows) = trying("Error reading snapshot", archive::read(&bytes).map_err(|why| why.to_string()))?;
    Ok((bytes, meta, rows))
}

fn restore(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    // What is damaged is not even sent.
    let (bytes, ..) = load(file(parsed)?)?;
    trying("Error restoring snapshot", client.put("/v1/snapshot", &[], bytes))?;
    cx.say("Restored snapshot");
    DONE
}

fn inspect(cx: &mut Cx<'_>, parsed: &Parsed) -> Outcome {
    let (bytes, meta, rows) = load(file(parsed)?)?;
    let view = match convoke_catalog::Catalog::import(rows) {
        Ok(catalog) => catalog.view(),
        Err(why) => return Err(format!("Error reading snapshot: {why}").into()),
    };
    let scope = convoke_catalog::Scope::default();
    let count = |number: usize| number.to_string();
    let lines = [
        row(["Datacenter", &meta.datacenter]),
        row(["Version", &meta.version]),
        row(["Index", &meta.index.to_string()]),
        row(["Term", &meta.term.to_string()]),
        row(["Size", &count(bytes.len())]),
        row(["Nodes", &count(view.nodes("default").count())]),
        row(["Services", &count(view.groups(scope).map(|group| group.instances.len()).sum())]),
        row(["Keys", &count(view.kv_range(scope, "").count())]),
        row(["Sessions", &count(view.sessions(scope).count())]),
    ];
    cx.put(render(&lines).as_bytes());
    DONE
}
