//! `members`, `join`, `leave`, `force-leave`, `reload`, `info`, `monitor`: the agent and those it knows.

use super::Exit;
use super::client::{Client, trying};
use super::command::{Action, Cx, DONE, Entry, Outcome, words};
use super::flags::{Parsed, switch, text};
use super::table::{render, row};
use clap::Arg;
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "members",
        about: "List the members of the cluster",
        usage: "[options]",
        detail: "Exits with 2 when no member matches.",
        flags: members_flags,
        action: Action::Remote(members),
    },
    Entry {
        name: "join",
        about: "Tell the agent to join a cluster",
        usage: "[options] address ...",
        detail: "One address that answers is enough.",
        flags: || vec![switch("wan", "Join a server of another datacenter.")],
        action: Action::Remote(join),
    },
    Entry {
        name: "leave",
        about: "Have the agent leave the cluster gracefully and shut down",
        usage: "[options]",
        detail: "",
        flags: Vec::new,
        action: Action::Remote(leave),
    },
    Entry {
        name: "force-leave",
        about: "Force a failed member into the state \"left\"",
        usage: "[options] name",
        detail: "A member that is alive comes back by itself.",
        flags: || {
            vec![
                switch("prune", "Remove the member from the list altogether."),
                switch("wan", "The member is a server of another datacenter."),
            ]
        },
        action: Action::Remote(force_leave),
    },
    Entry {
        name: "reload",
        about: "Have the agent read its configuration files again",
        usage: "[options]",
        detail: "Files that are wrong change nothing: what is wrong with them is printed, and the exit code is 1.",
        flags: Vec::new,
        action: Action::Remote(reload),
    },
    Entry {
        name: "info",
        about: "Show figures about the agent, for operators",
        usage: "[options]",
        detail: "",
        flags: Vec::new,
        action: Action::Remote(info),
    },
    Entry {
        name: "monitor",
        about: "Follow the agent's log",
        usage: "[options]",
        detail: "Shows recent lines, then new ones as they come, until it is interrupted.",
        flags: || {
            vec![
                text("log-level", "level", "trace, debug, info, warn or error; info unless set."),
                switch("log-json", "One JSON object a line."),
            ]
        },
        action: Action::Remote(monitor),
    },
];

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: Option<BTreeMap<String, String>>,
    status: i64,
}

impl Member {
    fn tag(&self, name: &str) -> &str {
        self.tags.as_ref().and_then(|tags| tags.get(name)).map_or("", String::as_str)
    }

    fn status(&self) -> &'static str {
        match self.status {
            0 => "none",
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "unknown",
        }
    }

    /// Servers are in every segment; a client that names none is in the default one.
    fn segment(&self) -> &str {
        match (self.tag("role"), self.tag("segment")) {
            ("consul", _) => "<all>",
            (_, "") => "<default>",
            (_, name) => name,
        }
    }

    fn address(&self) -> String {
        if self.addr.contains(':') {
            format!("[{}]:{}", self.addr, self.port)
        } else {
            format!("{}:{}", self.addr, self.port)
        }
    }
}

fn members_flags() -> Vec<Arg> {
    vec![
        switch("detailed", "Show everything a member tells about itself."),
        switch("wan", "The servers of all datacenters, as servers see them."),
        text("status", "regexp", "Only members whose status matches: alive, leaving, left, failed."),
        text("segment", "name", "Only members of this network segment; all unless set."),
        text("filter", "expression", "Only what this expression selects."),
    ]
}

fn members(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let status = Regex::new(parsed.text("status").unwrap_or(".*"))
        .map_err(|why| format!("Failed to compile status regexp: {why}"))?;
    let mut query = vec![("segment", parsed.text("segment").unwrap_or("_all"))];
    if parsed.on("wan") {
        query.push(("wan", "1"));
    }
    query.extend(parsed.text("filter").filter(|text| !text.is_empty()).map(|text| ("filter", text)));
    let all: Option<Vec<Member>> = trying("Error retrieving members", client.get("/v1/agent/members", &query))?;
    let mut members: Vec<Member> =
        all.unwrap_or_default().into_iter().filter(|member| status.is_match(member.status())).collect();
    if members.is_empty() {
        return Ok(Exit::Code(2));
    }
    // "<all>" sorts before "<default>": servers first.
    members.sort_by(|a, b| (a.segment(), &a.name).cmp(&(b.segment(), &b.name)));
    let rows = if parsed.on("detailed") { detailed(&members) } else { standard(&members) };
    cx.put(render(&rows).as_bytes());
    DONE
}

fn standard(members: &[Member]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"])];
    for member in members {
        let kind = match member.tag("role") {
            "consul" => "server",
            "node" => "client",
            _ => "unknown",
        };
        let (build, protocol, dc, segment) = if kind == "unknown" {
            ("", "", "", "")
        } else {
            // "1.21.4:revision"; the oldest agents said nothing.
            let build = member.tag("build").split(':').next().unwrap_or_default();
            let build = if build.is_empty() { "< 0.3" } else { build };
            (build, member.tag("vsn"), member.tag("dc"), member.segment())
        };
        let address = member.address();
        rows.push(row([&member.name, &address, member.status(), kind, build, protocol, dc, segment]));
    }
    rows
}

fn detailed(members: &[Member]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Node", "Address", "Status", "Tags"])];
    for member in members {
        let tags: Vec<String> = member.tags.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        rows.push(row([&member.name, &member.address(), member.status(), &tags.join(",")]));
    }
    rows
}

fn join(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let addresses = words(parsed, 0, usize::MAX)?;
    if addresses.is_empty() {
        return Err("At least one address to join must be specified.".into());
    }
    let query: &[(&str, &str)] = if parsed.on("wan") { &[("wan", "1")] } else { &[] };
    let mut joined = 0;
    for address in addresses {
        match client.put(&format!("/v1/agent/join/{address}"), query, Vec::new()) {
            Ok(_) => joined += 1,
            Err(why) => cx.remark(format!("Error joining address '{address}': {why}")),
        }
    }
    if joined == 0 {
        return Err("Failed to join any nodes.".into());
    }
    cx.say(format!("Successfully joined cluster by contacting {joined} nodes."));
    DONE
}

fn leave(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    trying("Error leaving", client.put_patiently("/v1/agent/leave", &[]))?;
    cx.say("Graceful leave complete");
    DONE
}

fn force_leave(_: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let node = words(parsed, 1, 1)?.concat();
    let mut query = Vec::new();
    for name in ["prune", "wan"] {
        if parsed.on(name) {
            query.push((name, "1"));
        }
    }
    trying("Error force leaving", client.put(&format!("/v1/agent/force-leave/{node}"), &query, Vec::new()))?;
    DONE
}

fn reload(cx: &mut Cx<'_>, _: &Parsed, client: &Client<'_>) -> Outcome {
    let body = trying("Error reloading", client.put_patiently("/v1/agent/reload", &[]))?;
    cx.say("Configuration reload triggered");
    // What the agent took, but not in full: checks refused, keys that need a restart.
    let notes = String::from_utf8_lossy(&body);
    if !notes.trim().is_empty() {
        cx.remark(notes.trim());
    }
    DONE
}

/// What `/v1/agent/self` says, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Myself {
    stats: BTreeMap<String, BTreeMap<String, String>>,
}

fn info(cx: &mut Cx<'_>, _: &Parsed, client: &Client<'_>) -> Outcome {
    let myself: Myself = trying("Error querying agent", client.get("/v1/agent/self", &[]))?;
    for (group, figures) in &myself.stats {
        cx.say(format!("{group}:"));
        for (name, value) in figures {
            cx.say(format!("\t{name} = {value}"));
        }
    }
    DONE
}

fn monitor(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    words(parsed, 0, 0)?;
    let mut query = vec![("loglevel", parsed.text("log-level").unwrap_or("info"))];
    if parsed.on("log-json") {
        query.push(("logjson", "true"));
    }
    let followed = client.follow("/v1/agent/monitor", &query, &mut |piece| {
        cx.put(piece);
        if cx.cut_off { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    trying("Error starting monitor", followed)?;
    cx.remark("The agent has ended the log: it has shut down, or the connection is lost.");
    DONE
}
