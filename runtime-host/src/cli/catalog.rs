//! `catalog nodes|services|datacenters`.

use super::client::{Client, node_meta_flag, trying};
use super::command::{Action, Cx, DONE, Entry, Outcome, words};
use super::flags::{Parsed, switch, text};
use super::table::{render, row};
use clap::Arg;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "catalog",
        about: "Look at the nodes, services and datacenters of the catalog",
        usage: "<subcommand> [options]",
        detail: "",
        flags: Vec::new,
        action: Action::Group,
    },
    Entry {
        name: "catalog datacenters",
        about: "List all known datacenters, nearest first",
        usage: "[options]",
        detail: "",
        flags: Vec::new,
        action: Action::Remote(datacenters),
    },
    Entry {
        name: "catalog nodes",
        about: "List the nodes of a datacenter",
        usage: "[options]",
        detail: "",
        flags: nodes_flags,
        action: Action::Remote(nodes),
    },
    Entry {
        name: "catalog services",
        about: "List the services of a datacenter",
        usage: "[options]",
        detail: "",
        flags: services_flags,
        action: Action::Remote(services),
    },
];

fn datacenters(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let names: Option<Vec<String>> = trying("Error listing datacenters", client.get("/v1/catalog/datacenters", &[]))?;
    for name in names.unwrap_or_default() {
        cx.say(name);
    }
    DONE
}

/// A node, or an instance of a service, which names its node alike.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Node {
    #[serde(rename = "ID")]
    id: Option<String>,
    node: String,
    address: String,
    datacenter: Option<String>,
    tagged_addresses: Option<BTreeMap<String, String>>,
    #[serde(alias = "NodeMeta")]
    meta: Option<BTreeMap<String, String>>,
}

fn nodes_flags() -> Vec<Arg> {
    vec![
        switch("detailed", "Also show tagged addresses and metadata."),
        text("near", "node", "Sort by round trip time from this node; _agent is the agent that is asked."),
        text("service", "name", "Only nodes with an instance of this service; one line for each instance."),
        text("filter", "expression", "Only what this expression selects."),
        node_meta_flag(),
    ]
}

fn nodes(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let metas = node_metas(parsed)?;
    let mut query: Vec<(&str, &str)> = metas.iter().map(|meta| ("node-meta", meta.as_str())).collect();
    for name in ["near", "filter"] {
        query.extend(parsed.text(name).filter(|value| !value.is_empty()).map(|value| (name, value)));
    }
    let path = match parsed.text("service").filter(|name| !name.is_empty()) {
        Some(service) => format!("/v1/catalog/service/{service}"),
        None => "/v1/catalog/nodes".to_owned(),
    };
    let nodes: Option<Vec<Node>> = trying("Error listing nodes", client.get(&path, &query))?;
    let nodes = nodes.unwrap_or_default();
    if nodes.is_empty() {
        cx.remark("No nodes match; try a wider query.");
        return DONE;
    }
    let detailed = parsed.on("detailed");
    let mut rows = vec![if detailed {
        row(["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"])
    } else {
        row(["Node", "ID", "Address", "DC"])
    }];
    for node in &nodes {
        let id = node.id.as_deref().unwrap_or_default();
        // The first group tells nodes apart; the whole id is for the detailed table.
        let id = if detailed { id } else { id.split('-').next().unwrap_or_default() };
        let mut cells = row([&node.node, id, &node.address, node.datacenter.as_deref().unwrap_or_default()]);
        if detailed {
            cells.push(pairs(node.tagged_addresses.as_ref()));
            cells.push(pairs(node.meta.as_ref()));
        }
        rows.push(cells);
    }
    cx.put(render(&rows).as_bytes());
    DONE
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let each = map.into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
    each.collect::<Vec<_>>().join(", ")
}

fn services_flags() -> Vec<Arg> {
    vec![
        text("node", "id or name", "Only services of this node."),
        switch("tags", "Also show the tags of each service."),
        node_meta_flag(),
    ]
}

/// What `/v1/catalog/node/NODE` says, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NodeServices {
    services: Option<BTreeMap<String, Instance>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Instance {
    service: String,
    tags: Option<Vec<String>>,
}

fn services(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let metas = node_metas(parsed)?;
    let query: Vec<(&str, &str)> = metas.iter().map(|meta| ("node-meta", meta.as_str())).collect();
    let what = "Error listing services";
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    match parsed.text("node").filter(|node| !node.is_empty()) {
        Some(node) => {
            let path = format!("/v1/catalog/node/{node}");
            let node: Option<NodeServices> = trying(what, client.get(&path, &query))?;
            for instance in node.and_then(|node| node.services).unwrap_or_default().into_values() {
                found.entry(instance.service).or_default().extend(instance.tags.unwrap_or_default());
            }
        }
        None => {
            let all: Option<BTreeMap<String, Option<Vec<String>>>> =
                trying(what, client.get("/v1/catalog/services", &query))?;
            for (name, tags) in all.unwrap_or_default() {
                found.entry(name).or_default().extend(tags.unwrap_or_default());
            }
        }
    }
    if found.is_empty() {
        cx.remark("No services match; try a wider query.");
        return DONE;
    }
    let with_tags = parsed.on("tags");
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|(name, tags)| {
            let tags = tags.into_iter().collect::<Vec<_>>().join(",");
            if with_tags { vec![name, tags] } else { vec![name] }
        })
        .collect();
    cx.put(render(&rows).as_bytes());
    DONE
}

/// The values of `-node-meta`, as the agent wants them: `key:value`.
fn node_metas(parsed: &Parsed) -> Result<Vec<String>, String> {
    let each = parsed.list("node-meta").into_iter().map(|pair| match pair.split_once('=') {
        Some((key, value)) => Ok(format!("{key}:{value}")),
        None => Err(format!("invalid value {pair:?} for flag -node-meta: use key=value")),
    });
    each.collect()
}
