//! `watch`: waits for changes and hands each state to a program; without one, prints the state and ends.

use super::child::{Program, ending};
use super::client::Client;
use super::command::{Action, Cx, DONE, Entry, Outcome, texts};
use super::flags::{Parsed, list, switch, text};
use super::lock::index_of;
use clap::Arg;
use convoke_api::plan::{Plan, Seen};
use convoke_config::watch::{WatchError, WatchParams};
use serde_json::Value;

/// The family.
pub(super) const COMMANDS: &[Entry] = &[Entry {
    name: "watch",
    about: "Wait for a change and run a command",
    usage: "[options] [COMMAND...]",
    detail: DETAIL,
    flags,
    action: Action::Remote(watch),
}];

const DETAIL: &str = "\
Runs COMMAND with what is watched as JSON on its standard input, first as it is now and then after every change, and with \
its index in CONSUL_INDEX. Ends with 1 when COMMAND fails. Without COMMAND the JSON is printed once.

Types: key (-key), keyprefix (-prefix), services, nodes, service (-service), checks (-service or -state), event (-name).";

fn flags() -> Vec<Arg> {
    vec![
        text("filter", "expression", "Only rows for which this holds."),
        text("key", "key", "The key to watch."),
        text("name", "name", "Only events of this name."),
        switch("passingonly", "Only instances of the service that pass their checks."),
        text("prefix", "prefix", "The keys to watch."),
        text("service", "name", "The service to watch."),
        switch("shell", "Have a shell run the command; on unless -shell=false."),
        text("state", "state", "Checks in this state only."),
        list("tag", "tag", "Only instances of the service with this tag. May be given several times."),
        text("type", "type", "What to watch."),
    ]
}

fn watch(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let watched = params(parsed).watched().map_err(|why| match why {
        WatchError::Missing(name) => format!("must specify -{name} for this type of watch"),
        WatchError::NoType => {
            "Watch -type must be specified: key, keyprefix, services, nodes, service, checks or event".to_owned()
        }
        WatchError::Unknown(kind) => format!("Unsupported watch type: {kind}"),
        WatchError::ServiceAndState => "Cannot specify service and state".to_owned(),
    })?;
    let plan = Plan::new(&watched, parsed.text("filter").unwrap_or_default());
    let words: Vec<String> = texts(parsed)?.into_iter().map(str::to_owned).collect();
    let shell = parsed.switch("shell").unwrap_or(true);
    let mut seen = Seen::default();
    // Who cannot be asked at all need not be waited for.
    client
        .fine("GET", "/v1/agent/self", &[], Vec::new())
        .map_err(|why| format!("Error querying Consul agent: {why}"))?;
    loop {
        let state = match ask(client, &plan, &mut seen) {
            Ok(state) => state,
            Err(why) => {
                let wait = seen.failed();
                cx.remark(format!("Watch errored: {why}; trying again in {} s", wait.as_secs()));
                std::thread::sleep(wait);
                continue;
            }
        };
        let Some(state) = state else { continue };
        if words.is_empty() {
            cx.say(pretty(&state));
            return DONE;
        }
        let env = [("CONSUL_INDEX", seen.index().to_string())];
        let program = Program { words: &words, shell, env: &env, pass_stdin: false };
        match program.feed(format!("{state}\n").as_bytes()) {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("Error executing handler: {}", ending(status)).into()),
            Err(why) => return Err(format!("Error executing handler: {why}").into()),
        }
    }
}

/// Asks once, waiting for a change; a state that was not seen yet, if there is one.
fn ask(client: &Client<'_>, plan: &Plan, seen: &mut Seen) -> Result<Option<Value>, String> {
    let query = seen.query(plan);
    let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let answer = client.call("GET", &plan.path, &query, Vec::new())?;
    seen.take(plan, answer.status, index_of(&answer), &answer.body)
}

/// Indented by four blanks, as Consul does. Line breaks within texts are escaped, so every line begins with indentation.
fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let inner = line.trim_start_matches(' ');
        format!("{}{inner}", " ".repeat(2 * (line.len() - inner.len())))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn params(parsed: &Parsed) -> WatchParams {
    let given = |name: &str| parsed.text(name).unwrap_or_default().to_owned();
    WatchParams {
        kind: given("type"),
        key: given("key"),
        prefix: given("prefix"),
        service: given("service"),
        tags: parsed.list("tag"),
        passing_only: parsed.on("passingonly"),
        state: given("state"),
        name: given("name"),
    }
}
