//! `kv get|put|delete|export|import`: the key/value store.

use super::client::{Client, json, trying};
use super::command::{Action, Cx, DONE, Entry, Failure, Outcome, words};
use super::flags::{Parsed, switch, text, unsigned};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Arg;
use serde::Deserialize;

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "kv",
        about: "Read and write the key/value store",
        usage: "<subcommand> [options] [args]",
        detail: "",
        flags: Vec::new,
        action: Action::Group,
    },
    Entry {
        name: "kv delete",
        about: "Delete a key, or all keys with a prefix",
        usage: "[options] KEY_OR_PREFIX",
        detail: "",
        flags: delete_flags,
        action: Action::Remote(delete),
    },
    Entry {
        name: "kv export",
        about: "Print part of the store as JSON, for kv import",
        usage: "[options] [PREFIX]",
        detail: "",
        flags: Vec::new,
        action: Action::Remote(export),
    },
    Entry {
        name: "kv get",
        about: "Print the value of a key, or list keys",
        usage: "[options] [KEY_OR_PREFIX]",
        detail: "",
        flags: get_flags,
        action: Action::Remote(get),
    },
    Entry {
        name: "kv import",
        about: "Write what kv export has printed",
        usage: "[options] DATA",
        detail: DATA,
        flags: || vec![text("prefix", "prefix", "Put this before every key, with a slash between.")],
        action: Action::Remote(import),
    },
    Entry {
        name: "kv put",
        about: "Write the value of a key",
        usage: "[options] KEY [DATA]",
        detail: DATA,
        flags: put_flags,
        action: Action::Remote(put),
    },
];

const DATA: &str = "DATA is taken as it is; - reads it from standard input, and @FILE from a file.";

/// An entry as the API gives it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Pair {
    key: String,
    create_index: u64,
    modify_index: u64,
    lock_index: u64,
    flags: u64,
    value: Option<String>,
    session: Option<String>,
}

impl Pair {
    fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        STANDARD.decode(self.text()).map_err(|why| format!("the value of {} is not base64: {why}", self.key))
    }

    /// The value as it is to be shown.
    fn shown(&self, base64: bool) -> Result<Vec<u8>, String> {
        if base64 { Ok(self.text().as_bytes().to_vec()) } else { self.bytes() }
    }
}

/// Keys have no leading slash; people write one by habit.
fn clean<'a>(cx: &mut Cx<'_>, key: &'a str) -> &'a str {
    let Some(rest) = key.strip_prefix('/') else { return key };
    cx.remark(format!("Keys do not begin with a slash; using {rest:?}."));
    rest
}

fn path(key: &str) -> String {
    format!("/v1/kv/{key}")
}

fn get_flags() -> Vec<Arg> {
    vec![
        switch("base64", "Print values in base64."),
        switch("detailed", "Also print indexes, flags and the session that holds the key."),
        switch("keys", "Print the names of the keys that begin with the prefix."),
        switch("recurse", "Print all keys that begin with the prefix, with their values."),
        text("separator", "text", "With -keys: list up to the first such text after the prefix; / unless set."),
    ]
}

fn get(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let given = words(parsed, 0, 1)?.first().copied().unwrap_or_default();
    let key = clean(cx, given);
    let (keys, recurse) = (parsed.on("keys"), parsed.on("recurse"));
    if key.is_empty() && !keys && !recurse {
        return Err("Error! Missing KEY argument".into());
    }
    let what = "Error querying Consul agent";
    if keys {
        let query = [("keys", ""), ("separator", parsed.text("separator").unwrap_or("/"))];
        let names: Option<Vec<String>> = trying(what, find(client, key, &query))?;
        for name in names.unwrap_or_default() {
            cx.say(name);
        }
        return DONE;
    }
    let query: &[(&str, &str)] = if recurse { &[("recurse", "")] } else { &[] };
    let pairs: Vec<Pair> = trying(what, find(client, key, query))?.unwrap_or_default();
    if !recurse && pairs.is_empty() {
        return Err(format!("Error! No key exists at: {key}").into());
    }
    let (base64, detailed) = (parsed.on("base64"), parsed.on("detailed"));
    for (at, pair) in pairs.iter().enumerate() {
        let value = pair.shown(base64)?;
        if detailed {
            if at > 0 {
                cx.say("");
            }
            show(cx, pair, &value);
        } else {
            if recurse {
                cx.put(format!("{}:", pair.key).as_bytes());
            }
            cx.put(&value);
            cx.say("");
        }
    }
    DONE
}

/// What the store has at `key`, or nothing.
fn find<T: serde::de::DeserializeOwned>(
    client: &Client<'_>,
    key: &str,
    query: &[(&str, &str)],
) -> Result<Option<T>, String> {
    let answer = client.call("GET", &path(key), query, Vec::new())?;
    if answer.status == 404 {
        return Ok(None);
    }
    json(&super::client::expect_ok(answer)?.body)
}

fn show(cx: &mut Cx<'_>, pair: &Pair, value: &[u8]) {
    let session = pair.session.as_deref().filter(|session| !session.is_empty()).unwrap_or("-");
    for (name, text) in [
        ("CreateIndex", pair.create_index.to_string()),
        ("Flags", pair.flags.to_string()),
        ("Key", pair.key.clone()),
        ("LockIndex", pair.lock_index.to_string()),
        ("ModifyIndex", pair.modify_index.to_string()),
        ("Session", session.to_owned()),
    ] {
        cx.say(format!("{name:<17}{text}"));
    }
    cx.put(format!("{:<17}", "Value").as_bytes());
    cx.put(value);
    cx.say("");
}

fn put_flags() -> Vec<Arg> {
    vec![
        switch("acquire", "Take the lock on the key for -session."),
        switch("base64", "DATA is base64; write what it stands for."),
        switch("cas", "Write only if the key was last changed at -modify-index; 0: only if there is none."),
        unsigned("flags", "A number kept with the key, for clients to use as they like."),
        unsigned("modify-index", "See -cas."),
        switch("release", "Give up the lock on the key that -session holds."),
        text("session", "id", "The session of -acquire and -release."),
    ]
}

fn put(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    // The value may be any bytes, so only the key is read as text here.
    if parsed.args.is_empty() {
        return Err("Error! Missing KEY argument".into());
    }
    if parsed.args.len() > 2 {
        return Err(format!("Too many arguments (expected 1 or 2, got {})", parsed.args.len()).into());
    }
    let given = parsed.args.first().and_then(|key| key.to_str()).ok_or("Error! The key is not UTF-8")?;
    let key = given;
    if key.is_empty() {
        return Err("Error! Missing KEY argument".into());
    }
    // Reading forgives the slash; writing it would make a key that differs from what was typed.
    if key.starts_with('/') {
        return Err(format!("Error! Failed writing data: Invalid key. Key must not begin with a '/': {key}").into());
    }
    let (acquire, release) = (parsed.on("acquire"), parsed.on("release"));
    let session = parsed.text("session").unwrap_or_default();
    if acquire && release {
        return Err("Error! Cannot specify both -acquire and -release".into());
    }
    if (acquire || release) && session.is_empty() {
        return Err("Error! Missing -session (required with -acquire and -release)".into());
    }
    let mut data = match parsed.args.get(1) {
        Some(word) => data(cx, word.as_encoded_bytes())?,
        None => Vec::new(),
    };
    if parsed.on("base64") {
        let text: Vec<u8> = data.into_iter().filter(|byte| *byte != b'\n' && *byte != b'\r').collect();
        data = STANDARD.decode(text).map_err(|why| format!("Error! Cannot base 64 decode data: {why}"))?;
    }
    let index = parsed.unsigned("modify-index").unwrap_or(0).to_string();
    let flags = parsed.unsigned("flags").unwrap_or(0).to_string();
    let mut query = Vec::new();
    if flags != "0" {
        query.push(("flags", flags.as_str()));
    }
    // As in Consul, -cas goes before the lock.
    let (refused, done) = if parsed.on("cas") {
        query.push(("cas", index.as_str()));
        (format!("Error! Did not write to {key}: CAS failed"), format!("Success! Data written to: {key}"))
    } else if acquire {
        query.push(("acquire", session));
        ("Error! Did not acquire lock".to_owned(), format!("Success! Lock acquired on: {key}"))
    } else if release {
        query.push(("release", session));
        ("Error! Did not release lock".to_owned(), format!("Success! Lock released on: {key}"))
    } else {
        (format!("Error! Did not write to {key}"), format!("Success! Data written to: {key}"))
    };
    let body = trying("Error! Failed writing data", client.put(&path(key), &query, data))?;
    settled(cx, &body, refused, &done)
}

/// `DATA` of the command line: itself, standard input, or a file.
fn data(cx: &mut Cx<'_>, word: &[u8]) -> Result<Vec<u8>, Failure> {
    if word == b"-" {
        let mut bytes = Vec::new();
        cx.io.stdin().read_to_end(&mut bytes).map_err(|why| format!("Error! Failed to read stdin: {why}"))?;
        return Ok(bytes);
    }
    let Some(name) = word.strip_prefix(b"@") else { return Ok(word.to_vec()) };
    let name = std::str::from_utf8(name).map_err(|_| "Error! The file's name is not UTF-8")?;
    std::fs::read(name).map_err(|why| format!("Error! Failed to read file: open {name}: {why}").into())
}

/// The store answers a write with `true` or `false`.
fn settled(cx: &mut Cx<'_>, body: &[u8], refused: String, done: &str) -> Outcome {
    if body.trim_ascii() != b"true" {
        return Err(refused.into());
    }
    cx.say(done);
    DONE
}

fn delete_flags() -> Vec<Arg> {
    vec![
        switch("cas", "Delete only if the key was last changed at -modify-index."),
        unsigned("modify-index", "See -cas."),
        switch("recurse", "Delete all keys that begin with the prefix."),
    ]
}

fn delete(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let given = words(parsed, 0, 1)?.first().copied().unwrap_or_default();
    let key = clean(cx, given);
    let (cas, recurse) = (parsed.on("cas"), parsed.on("recurse"));
    let index = parsed.unsigned("modify-index").unwrap_or(0);
    if key.is_empty() && !recurse {
        return Err("Error! Missing KEY argument".into());
    }
    if cas && recurse {
        return Err("Cannot specify both -cas and -recurse!".into());
    }
    if cas && index == 0 {
        return Err("Must specify -modify-index with -cas!".into());
    }
    if !cas && index != 0 {
        return Err("Cannot specify -modify-index without -cas!".into());
    }
    let index = index.to_string();
    let query: &[(&str, &str)] = match (cas, recurse) {
        (true, _) => &[("cas", index.as_str())],
        (false, true) => &[("recurse", "")],
        (false, false) => &[],
    };
    let what = format!("Error! Did not delete {} {key}", if recurse { "prefix" } else { "key" });
    let answer = trying(&what, client.fine("DELETE", &path(key), query, Vec::new()))?;
    let done = if recurse {
        format!("Success! Deleted keys with prefix: {key}")
    } else {
        format!("Success! Deleted key: {key}")
    };
    settled(cx, &answer.body, format!("Error! Did not delete key {key}: CAS failed"), &done)
}

fn export(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let given = words(parsed, 0, 1)?.first().copied().unwrap_or_default();
    let key = clean(cx, given);
    let pairs: Option<Vec<Pair>> = trying("Error querying Consul agent", find(client, key, &[("recurse", "")]))?;
    let pairs = pairs.unwrap_or_default();
    if pairs.is_empty() {
        cx.say("[]");
        return DONE;
    }
    let each = pairs.iter().map(|pair| {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "\t{{\n\t\t\"key\": {},\n\t\t\"flags\": {},\n\t\t\"value\": {}\n\t}}",
            quote(&pair.key),
            pair.flags,
            quote(pair.text())
        )
    });
    let text = each.collect::<Vec<_>>().join(",\n");
    cx.say(format!("[\n{text}\n]"));
    DONE
}

/// An entry as `kv export` prints it.
#[derive(Debug, Deserialize)]
struct Exported {
    key: String,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    value: Option<String>,
}

fn import(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let word = match parsed.args.as_slice() {
        [] => return Err("Error! Missing DATA argument".into()),
        [word] => word.as_encoded_bytes().to_vec(),
        more => return Err(format!("Too many arguments (expected 1, got {})", more.len()).into()),
    };
    let text = data(cx, &word)?;
    let entries: Vec<Exported> =
        serde_json::from_slice(&text).map_err(|why| format!("Cannot unmarshal data: {why}"))?;
    let prefix = parsed.text("prefix").unwrap_or_default().trim_end_matches('/');
    for entry in entries {
        let key = if prefix.is_empty() { entry.key } else { format!("{prefix}/{}", entry.key.trim_start_matches('/')) };
        let value = STANDARD
            .decode(entry.value.unwrap_or_default())
            .map_err(|why| format!("Error base 64 decoding value for key {key}: {why}"))?;
        let flags = entry.flags.to_string();
        let query: &[(&str, &str)] = if entry.flags == 0 { &[] } else { &[("flags", &flags)] };
        let body = trying(&format!("Error! Failed writing data for key {key}"), client.put(&path(&key), query, value))?;
        settled(cx, &body, format!("Error! Did not write to {key}"), &format!("Imported: {key}"))?;
    }
    DONE
}
