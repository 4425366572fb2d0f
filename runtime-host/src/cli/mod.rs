//! The command line of both binaries: Consul's commands, flags, texts and exit codes.
//!
//! * [`run`]: finds the command and runs it; the `agent` command comes back as [`AgentFlags`] for the caller to start.
//! * [`transport`]: the HTTP exchange each runtime offers.
//! * `flags`, `help`, `command`: Go-style flags, help texts, what a command is.
//! * `client`, `table`: asking an agent, laying out its answer.
//! * one module per family of commands: [`agent`], `catalog`, `cluster`, `gossip`, `kv`, `local`, `lock`, `maint`, `services`, `watch`, `later`;
//!   `child`: the programs some of them start.
//!
//! Exit codes: 0 done, 1 failed or misused, 2 `members` without a match, 127 no such command.

pub mod agent;
mod catalog;
mod child;
mod client;
mod cluster;
mod command;
mod flags;
mod gossip;
mod help;
mod io;
mod kv;
mod later;
mod local;
mod lock;
mod maint;
mod services;
mod services_json;
mod table;
#[cfg(test)]
mod tests;
pub mod transport;
mod watch;

pub use agent::AgentFlags;
use command::{Cx, Entry, Failure};
pub use io::{Io, StdIo};
use std::ffi::OsString;
use std::path::Path;
use transport::Transport;

/// What the process does after [`run`].
#[derive(Debug)]
pub enum Exit {
    /// Exit with this code.
    Code(i32),
    /// Run an agent.
    Agent(Box<AgentFlags>),
}

/// Every command there is.
fn commands() -> impl Iterator<Item = &'static Entry> {
    [
        agent::COMMANDS,
        catalog::COMMANDS,
        cluster::COMMANDS,
        gossip::COMMANDS,
        kv::COMMANDS,
        later::COMMANDS,
        local::COMMANDS,
        lock::COMMANDS,
        maint::COMMANDS,
        services::COMMANDS,
        watch::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// Runs the command line `argv`, whose first word is the program's name. `env` reads a variable of the environment.
///
/// Results go to `io`'s standard output, complaints to its standard error. Blocks until the command is done.
pub fn run(
    argv: &[OsString],
    io: &mut dyn Io,
    env: &dyn Fn(&str) -> Option<String>,
    transport: &dyn Transport,
) -> Exit {
    let (program, words) = match argv.split_first() {
        Some((program, words)) => (program.clone(), words),
        None => (OsString::from("consul"), argv),
    };
    let program = Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
    let mut cx = Cx { io, env, transport, program, cut_off: false };
    let exit = match dispatch(&mut cx, words) {
        Ok(exit) => exit,
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                cx.remark(message);
            }
            Exit::Code(code)
        }
    };
    match exit {
        // Who cannot be told has not been served.
        Exit::Code(0) if cx.cut_off => Exit::Code(1),
        exit => exit,
    }
}

fn dispatch(cx: &mut Cx<'_>, words: &[OsString]) -> command::Outcome {
    let overview = help::overview(&cx.program);
    let Some(first) = words.first() else {
        return Err(Failure { code: 127, message: overview.trim_end().to_owned() });
    };
    match first.to_str() {
        Some("-h" | "-help" | "--help") => {
            cx.put(overview.as_bytes());
            return command::DONE;
        }
        Some("-v" | "-version" | "--version") => {
            return cx.run(&local::VERSION, &[]);
        }
        Some("help") => {
            let Some((entry, _)) = find(&words[1..]) else {
                cx.put(overview.as_bytes());
                return if words.len() > 1 { Err(unknown(&words[1], "")) } else { command::DONE };
            };
            let text = help::of(entry, &cx.program);
            cx.put(text.as_bytes());
            return command::DONE;
        }
        Some(flag) if flag.starts_with('-') => {
            let message = format!("Flags stand after the command, not before it.\n\n{}", overview.trim_end());
            return Err(Failure { code: 127, message });
        }
        _ => {}
    }
    match find(words) {
        Some((entry, rest)) => cx.run(entry, rest),
        None => Err(unknown(first, &overview)),
    }
}

fn unknown(word: &OsString, overview: &str) -> Failure {
    Failure { code: 127, message: format!("There is no command {word:?}.\n\n{overview}").trim_end().to_owned() }
}

/// The command with the most words that `words` begins with, and the words after it.
fn find(words: &[OsString]) -> Option<(&'static Entry, &[OsString])> {
    commands()
        .filter_map(|entry| {
            let count = entry.name.split(' ').count();
            let same = words.len() >= count && entry.name.split(' ').zip(words).all(|(name, word)| word == name);
            same.then_some((count, entry))
        })
        .max_by_key(|(count, _)| *count)
        .map(|(count, entry)| (entry, &words[count..]))
}
