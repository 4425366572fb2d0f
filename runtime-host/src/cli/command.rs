//! What a command is: a row of a table, and the context it runs in.

use super::client::Client;
use super::flags::Parsed;
use super::io::Io;
use super::transport::Transport;
use super::{Exit, help};
use clap::Arg;
use std::fmt::Display;

/// Reads one variable of the environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One command, or a group of commands.
pub(super) struct Entry {
    /// Its words, such as `kv get`.
    pub(super) name: &'static str,
    /// One line for lists of commands.
    pub(super) about: &'static str,
    /// What stands after the name in the usage line.
    pub(super) usage: &'static str,
    /// Paragraphs for its own help, besides `about`.
    pub(super) detail: &'static str,
    /// Its own flags.
    pub(super) flags: fn() -> Vec<Arg>,
    /// What it does.
    pub(super) action: Action,
}

/// What an [`Entry`] does.
pub(super) enum Action {
    /// Runs on this machine alone.
    Local(fn(&mut Cx<'_>, &Parsed) -> Outcome),
    /// Asks an agent, and so takes the HTTP options.
    Remote(fn(&mut Cx<'_>, &Parsed, &Client<'_>) -> Outcome),
    /// Has subcommands only.
    Group,
    /// Known to Consul's users, not part of this build.
    Later,
}

/// How a command ended.
pub(super) type Outcome = Result<Exit, Failure>;

/// The command did what it should.
pub(super) const DONE: Outcome = Ok(Exit::Code(0));

/// The command could not do what it should.
#[derive(Debug)]
pub(super) struct Failure {
    /// The process exits with it.
    pub(super) code: i32,
    /// For standard error; empty for none.
    pub(super) message: String,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { code: 1, message }
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self { code: 1, message: message.to_owned() }
    }
}

/// The world of a running command.
pub(super) struct Cx<'a> {
    pub(super) io: &'a mut dyn Io,
    pub(super) env: Env<'a>,
    pub(super) transport: &'a dyn Transport,
    /// The name the binary was called by, for usage lines.
    pub(super) program: String,
    /// A result could not be written: nobody reads it.
    pub(super) cut_off: bool,
}

impl Cx<'_> {
    /// Writes a line of results.
    pub(super) fn say(&mut self, line: impl Display) {
        self.put(format!("{line}\n").as_bytes());
    }

    /// Writes results as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let out = self.io.stdout();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            self.cut_off = true;
        }
    }

    /// Writes a remark or a complaint.
    pub(super) fn remark(&mut self, line: impl Display) {
        // Nothing can be done about a standard error that is gone.
        let _ = writeln!(self.io.stderr(), "{line}");
    }

    /// Runs `entry` with the words after its name.
    pub(super) fn run(&mut self, entry: &Entry, words: &[std::ffi::OsString]) -> Outcome {
        if super::flags::wants_help(words) {
            let text = help::of(entry, &self.program);
            self.put(text.as_bytes());
            return DONE;
        }
        let parse = |http: bool| {
            super::flags::parse(help::clap_command(entry, http), words)
                .map_err(|why| Failure::from(format!("{why}\nRun '{} {} -h' for help.", self.program, entry.name)))
        };
        match entry.action {
            Action::Local(run) => {
                let parsed = parse(false)?;
                run(self, &parsed)
            }
            Action::Remote(run) => {
                let parsed = parse(true)?;
                let transport = self.transport;
                let client = Client::new(&parsed, self.env, transport)
                    .map_err(|why| Failure::from(format!("Error connecting to Consul agent: {why}")))?;
                run(self, &parsed, &client)
            }
            Action::Group => Err(Failure { code: 1, message: help::of(entry, &self.program).trim_end().to_owned() }),
            Action::Later => Err(help::later(entry).into()),
        }
    }
}

/// The words after the flags as text, if there are as many as a command wants.
///
/// # Errors
/// Too few, too many, or not UTF-8.
pub(super) fn words(parsed: &Parsed, least: usize, most: usize) -> Result<Vec<&str>, Failure> {
    let count = parsed.args.len();
    if count > most {
        let expected = if least == most { most.to_string() } else { format!("{least} to {most}") };
        return Err(format!("Too many arguments (expected {expected}, got {count})").into());
    }
    if count < least {
        return Err(format!("Not enough arguments (expected {least}, got {count})").into());
    }
    texts(parsed)
}

/// All words after the flags as text.
///
/// # Errors
/// Not UTF-8.
pub(super) fn texts(parsed: &Parsed) -> Result<Vec<&str>, Failure> {
    let text = |word: &'_ std::ffi::OsString| format!("the argument {word:?} is not UTF-8");
    parsed.args.iter().map(|word| word.to_str().ok_or_else(|| text(word).into())).collect()
}
