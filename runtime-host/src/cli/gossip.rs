//! `event`, `keyring`, `rtt`: what members tell each other, under which keys, and how long it takes.

use super::client::{Client, trying};
use super::command::{Action, Cx, DONE, Entry, Failure, Outcome, words};
use super::flags::{Parsed, number, switch, text};
use clap::Arg;
use convoke_catalog::Coordinate;
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "event",
        about: "Fire a user event",
        usage: "[options] -name=<name> [payload]",
        detail: "Every agent of the datacenter that the filters let through keeps the event for a while, and wakes who \
                 waits for it. Name, payload and filters together must be short, as all of it goes by gossip; what is \
                 long belongs into the key/value store.",
        flags: event_flags,
        action: Action::Remote(event),
    },
    Entry {
        name: "keyring",
        about: "Manage the keys of gossip encryption",
        usage: "[options]",
        detail: "Asks the members of all pools, and fails if one of them refuses or does not answer. To replace a key: \
                 -install the new one, -use it, then -remove the old one.",
        flags: keyring_flags,
        action: Action::Remote(keyring),
    },
    Entry {
        name: "rtt",
        about: "Estimate the round trip time between nodes",
        usage: "[options] node1 [node2]",
        detail: "Nothing is sent between them: it is the distance of their network coordinates. Without a second node it \
                 is that of the agent.\n\nWith -wan the nodes are servers, named as in \"myserver.dc1\".",
        flags: || vec![switch("wan", "Between servers of any datacenters, by what servers measured.")],
        action: Action::Remote(rtt),
    },
];

fn event_flags() -> Vec<Arg> {
    vec![
        text("name", "name", "Name of the event. Required."),
        text("node", "regexp", "Only for nodes whose name matches."),
        text("service", "regexp", "Only for nodes that have a service whose name matches."),
        text("tag", "regexp", "Only where that service has a tag that matches. Needs -service."),
    ]
}

/// What the agent says of an event that was fired.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Fired {
    #[serde(rename = "ID")]
    id: String,
}

fn event(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let given = |flag: &str| parsed.text(flag).filter(|text| !text.is_empty());
    let payload = words(parsed, 0, 1)?.concat();
    let Some(name) = given("name") else {
        return Err("Must specify the name of the event with -name.".into());
    };
    if given("tag").is_some() && given("service").is_none() {
        return Err("Cannot provide tag filter without service filter.".into());
    }
    let mut query = Vec::new();
    for flag in ["node", "service", "tag"] {
        let Some(filter) = given(flag) else { continue };
        Regex::new(filter).map_err(|why| format!("Failed to compile {flag} filter regexp: {why}"))?;
        query.push((flag, filter));
    }
    let answer = client.fine("PUT", &format!("/v1/event/fire/{name}"), &query, payload.into_bytes());
    let fired: Fired = trying("Error firing event", answer.and_then(|answer| super::client::json(&answer.body)))?;
    cx.say(format!("Event ID: {}", fired.id));
    DONE
}

fn keyring_flags() -> Vec<Arg> {
    vec![
        switch("list", "Show the keys in use, and how many members have each."),
        switch("list-primary", "Show the keys that seal, and at how many members."),
        text("install", "key", "Have all members open packets under this key, too."),
        text("use", "key", "Have all members seal with this key, which must be installed."),
        text("remove", "key", "Have all members forget this key, which must not be the one that seals."),
        number("relay-factor", "0 to 5. Taken for compatibility: replies need no help here."),
        switch("local-only", "Only ask the pool of the agent's own datacenter. For -list and -list-primary."),
    ]
}

/// What one pool has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Pool {
    #[serde(rename = "WAN")]
    wan: bool,
    datacenter: String,
    segment: String,
    messages: Option<BTreeMap<String, String>>,
    keys: Option<BTreeMap<String, u64>>,
    primary_keys: Option<BTreeMap<String, u64>>,
    num_nodes: u64,
}

fn keyring(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let (list, primary) = (parsed.on("list"), parsed.on("list-primary"));
    let changes = [
        ("install", "POST", "Installing new gossip encryption key..."),
        ("use", "PUT", "Changing primary gossip encryption key..."),
        ("remove", "DELETE", "Removing gossip encryption key..."),
    ];
    let given = |flag: &str| parsed.text(flag).filter(|key| !key.is_empty());
    let asked = changes.iter().filter(|(flag, ..)| given(flag).is_some()).count();
    match asked + usize::from(list) + usize::from(primary) {
        1 => {}
        0 => return Err("Say what to do: -list, -list-primary, -install, -use or -remove.".into()),
        _ => return Err("Only a single action is allowed.".into()),
    }
    let factor = parsed.number("relay-factor").unwrap_or(0);
    if !(0..=5).contains(&factor) {
        return Err("Error parsing relay factor: Relay factor must be in range: [0, 5]".into());
    }
    let mut query = Vec::new();
    let factor = factor.to_string();
    if parsed.number("relay-factor").is_some() {
        query.push(("relay-factor", factor.as_str()));
    }
    if parsed.on("local-only") {
        if asked > 0 {
            return Err("Error validating local-only: local-only can only be set for list requests".into());
        }
        query.push(("local-only", "true"));
    }
    if let Some(((_, method, said), key)) = changes.iter().find_map(|change| Some((change, given(change.0)?))) {
        cx.say(format!("==> {said}"));
        let body = json!({ "Key": key }).to_string().into_bytes();
        client.fine(method, "/v1/operator/keyring", &query, body).map_err(|why| format!("error: {why}"))?;
        return DONE;
    }
    cx.say(format!("==> Gathering installed {}encryption keys...", if primary { "primary " } else { "" }));
    let pools: Option<Vec<Pool>> = trying("error", client.get("/v1/operator/keyring", &query))?;
    for pool in pools.unwrap_or_default() {
        let name = match (pool.wan, pool.segment.as_str()) {
            (true, _) => "WAN".to_owned(),
            (false, "") => format!("{} (LAN)", pool.datacenter),
            (false, segment) => format!("{} (LAN) [{segment}]", pool.datacenter),
        };
        cx.say(format!("\n{name}:"));
        for (member, message) in pool.messages.unwrap_or_default() {
            cx.say(format!("  ===> {member}: {message}"));
        }
        let keys = if primary { pool.primary_keys } else { pool.keys };
        for (key, members) in keys.unwrap_or_default() {
            cx.say(format!("  {key} [{members}/{}]", pool.num_nodes));
        }
    }
    DONE
}

/// A node's place, by segment.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Placed {
    node: String,
    segment: String,
    coord: Place,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Place {
    vec: Vec<f64>,
    error: f64,
    adjustment: f64,
    height: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Area {
    datacenter: String,
    #[serde(rename = "AreaID")]
    area: String,
    coordinates: Option<Vec<Placed>>,
}

/// What `/v1/agent/self` says, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Myself {
    config: Names,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Names {
    node_name: String,
    datacenter: String,
}

/// Where a node is, under the name of each space it is in: a segment, or an area between datacenters.
type Places = BTreeMap<String, Coordinate>;

fn rtt(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let wan = parsed.on("wan");
    let named = words(parsed, 1, 2).map_err(|_| Failure::from("One or two node names must be specified"))?;
    let mut nodes: Vec<String> = named.into_iter().map(str::to_owned).collect();
    if nodes.len() == 1 {
        let own: Myself = trying("Unable to look up agent info", client.get("/v1/agent/self", &[]))?;
        let Names { node_name, datacenter } = own.config;
        nodes.push(if wan { format!("{node_name}.{datacenter}") } else { node_name });
    }
    let places = if wan { between_datacenters(client, &nodes)? } else { inside(client)? };
    let place = |node: &String| {
        let found = places.get(node.as_str());
        found.ok_or_else(|| Failure::from(format!("Could not find a coordinate for node {node:?}")))
    };
    let [first, second] = &nodes[..] else { return Err("One or two node names must be specified".into()) };
    let (here, there) = (place(first)?, place(second)?);
    let shared = here.iter().find_map(|(space, here)| Some((here, there.get(space)?)));
    let Some((here, there)) = shared else {
        return Err(format!("{first} and {second} have no network segment in common to be measured in").into());
    };
    // Whole nanoseconds, as Consul counts time.
    let nanoseconds = (here.distance(there) * 1e9).trunc();
    let which = if wan { "WAN" } else { "LAN" };
    cx.say(format!("Estimated {first} <-> {second} rtt: {:.3} ms (using {which} coordinates)", nanoseconds / 1e6));
    DONE
}

/// Nodes of the agent's datacenter.
fn inside(client: &Client<'_>) -> Result<BTreeMap<String, Places>, Failure> {
    let all: Option<Vec<Placed>> = trying("Error getting coordinates", client.get("/v1/coordinate/nodes", &[]))?;
    let mut places: BTreeMap<String, Places> = BTreeMap::new();
    for placed in all.unwrap_or_default() {
        let Placed { node, segment, coord } = placed;
        let coordinate = coord.read(&node)?;
        places.entry(node).or_default().insert(segment, coordinate);
    }
    Ok(places)
}

/// Servers of all datacenters, by their full names.
fn between_datacenters(client: &Client<'_>, nodes: &[String]) -> Result<BTreeMap<String, Places>, Failure> {
    if nodes.iter().any(|node| node.rsplit_once('.').is_none_or(|(name, dc)| name.is_empty() || dc.is_empty())) {
        return Err("Node names must be specified as <node name>.<datacenter> with -wan".into());
    }
    let all: Option<Vec<Area>> = trying("Error getting coordinates", client.get("/v1/coordinate/datacenters", &[]))?;
    let mut places: BTreeMap<String, Places> = BTreeMap::new();
    for area in all.unwrap_or_default() {
        for Placed { node, coord, .. } in area.coordinates.unwrap_or_default() {
            let coordinate = coord.read(&node)?;
            let name = format!("{node}.{}", area.datacenter);
            places.entry(name).or_default().insert(area.area.clone(), coordinate);
        }
    }
    Ok(places)
}

impl Place {
    fn read(self, node: &str) -> Result<Coordinate, Failure> {
        let Self { vec, error, adjustment, height } = self;
        let count = vec.len();
        let vec = vec.try_into().map_err(|_| {
            format!("The coordinate of node {node:?} has {count} dimensions, which cannot be compared with ours")
        })?;
        Ok(Coordinate { vec, error, adjustment, height })
    }
}
