//! `watch`: waits for changes and hands each state to a program; without one, prints the state and ends.

use super::child::{Program, ending};
use super::client::{Client, expect_ok};
use super::command::{Action, Cx, DONE, Entry, Outcome, texts};
use super::flags::{Parsed, list, switch, text};
use super::lock::index_of;
use clap::Arg;
use serde_json::{Value, json};
use std::time::Duration;

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

/// How long the agent may wait for a change.
const WAIT: &str = "60s";
/// Before another try when the agent does not answer; more after each failure.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(180);

/// What is asked again and again.
#[derive(Debug)]
struct Question {
    path: String,
    query: Vec<(&'static str, String)>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// One row, which may not be there.
    Key,
    /// Rows of keys.
    Keys,
    /// Events, of which only the new ones count.
    Events,
    /// Whatever the agent answers.
    Other,
}

fn watch(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let question = question(parsed)?;
    let words: Vec<String> = texts(parsed)?.into_iter().map(str::to_owned).collect();
    let shell = parsed.switch("shell").unwrap_or(true);
    let mut seen = Seen::default();
    let mut failures = 0;
    // Who cannot be asked at all need not be waited for.
    client
        .fine("GET", "/v1/agent/self", &[], Vec::new())
        .map_err(|why| format!("Error querying Consul agent: {why}"))?;
    loop {
        let state = match ask(client, &question, &mut seen) {
            Ok(state) => state,
            Err(why) => {
                failures += 1;
                let wait = RETRY_MAX.min(RETRY * failures);
                cx.remark(format!("Watch errored: {why}; trying again in {} s", wait.as_secs()));
                std::thread::sleep(wait);
                seen.index = 0;
                continue;
            }
        };
        failures = 0;
        let Some(state) = state else { continue };
        if words.is_empty() {
            cx.say(pretty(&state));
            return DONE;
        }
        let env = [("CONSUL_INDEX", seen.index.to_string())];
        let program = Program { words: &words, shell, env: &env, pass_stdin: false };
        match program.feed(format!("{state}\n").as_bytes()) {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("Error executing handler: {}", ending(status)).into()),
            Err(why) => return Err(format!("Error executing handler: {why}").into()),
        }
    }
}

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    index: u64,
    state: Option<Value>,
    /// Id of the last event.
    event: Option<String>,
}

/// Asks once, waiting for a change; a state that was not seen yet, if there is one.
fn ask(client: &Client<'_>, question: &Question, seen: &mut Seen) -> Result<Option<Value>, String> {
    let index = seen.index.to_string();
    let mut query: Vec<(&str, &str)> = question.query.iter().map(|(key, value)| (*key, value.as_str())).collect();
    if seen.index > 0 {
        query.extend([("index", index.as_str()), ("wait", WAIT)]);
    }
    let answer = client.call("GET", &question.path, &query, Vec::new())?;
    let next = index_of(&answer);
    // An index that goes back comes from another life of the cluster; that of events says nothing but "others".
    seen.index = if next < seen.index && question.what != What::Events { 0 } else { next };
    let missing = answer.status == 404 && matches!(question.what, What::Key | What::Keys);
    let state: Value = if missing { Value::Null } else { super::client::json(&expect_ok(answer)?.body)? };
    let state = match question.what {
        What::Key => match state {
            Value::Array(rows) => rows.into_iter().next().map_or(Value::Null, row),
            other => other,
        },
        What::Keys => match state {
            Value::Array(rows) => rows.into_iter().map(row).collect(),
            other => other,
        },
        What::Events => new_events(state, &mut seen.event),
        What::Other => state,
    };
    let new = match question.what {
        // A key that is not there is told only to those who knew it.
        What::Key => seen.state.as_ref() != Some(&state) && !(state.is_null() && seen.state.is_none()),
        What::Events => state.as_array().is_some_and(|events| !events.is_empty()),
        What::Keys | What::Other => seen.state.as_ref() != Some(&state),
    };
    if !new {
        return Ok(None);
    }
    seen.state = Some(state.clone());
    Ok(Some(state))
}

/// The events behind the last one that was seen.
fn new_events(state: Value, last: &mut Option<String>) -> Value {
    let Value::Array(mut events) = state else { return Value::Array(Vec::new()) };
    let id = |event: &Value| event.get("ID").and_then(Value::as_str).map(str::to_owned);
    if let Some(known) = last.as_ref()
        && let Some(at) = events.iter().rposition(|event| id(event).as_ref() == Some(known))
    {
        events.drain(..=at);
    }
    if let Some(newest) = events.last().and_then(id) {
        *last = Some(newest);
    }
    Value::Array(events)
}

/// A key as Consul's watches show it: with a session, even if it is none.
fn row(mut row: Value) -> Value {
    if let Some(members) = row.as_object_mut() {
        members.entry("Session").or_insert_with(|| json!(""));
    }
    row
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

fn question(parsed: &Parsed) -> Result<Question, String> {
    let given = |name: &str| parsed.text(name).filter(|value| !value.is_empty());
    let must = |name: &str| given(name).ok_or_else(|| format!("must specify -{name} for this type of watch"));
    let mut query = Vec::new();
    let mut what = What::Other;
    let path = match given("type")
        .ok_or("Watch -type must be specified: key, keyprefix, services, nodes, service, checks or event")?
    {
        "key" => {
            what = What::Key;
            format!("/v1/kv/{}", must("key")?)
        }
        "keyprefix" => {
            what = What::Keys;
            query.push(("recurse", String::new()));
            format!("/v1/kv/{}", must("prefix")?)
        }
        "services" => "/v1/catalog/services".to_owned(),
        "nodes" => "/v1/catalog/nodes".to_owned(),
        "service" => {
            query.extend(parsed.list("tag").into_iter().map(|tag| ("tag", tag)));
            if parsed.on("passingonly") {
                query.push(("passing", "1".to_owned()));
            }
            format!("/v1/health/service/{}", must("service")?)
        }
        "checks" => match (given("service"), given("state")) {
            (Some(_), Some(_)) => return Err("Cannot specify service and state".to_owned()),
            (Some(service), None) => format!("/v1/health/checks/{service}"),
            (None, state) => format!("/v1/health/state/{}", state.unwrap_or("any")),
        },
        "event" => {
            what = What::Events;
            query.extend(given("name").map(|name| ("name", name.to_owned())));
            "/v1/event/list".to_owned()
        }
        other => return Err(format!("Unsupported watch type: {other}")),
    };
    query.extend(given("filter").map(|filter| ("filter", filter.to_owned())));
    Ok(Question { path, query, what })
}
