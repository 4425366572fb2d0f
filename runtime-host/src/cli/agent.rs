//! `agent`: the flags of the command that runs an agent. The caller of [`super::run`] does the running.

use super::Exit;
use super::command::{Action, Cx, Entry, Failure, Outcome, texts};
use super::flags::{Parsed, list, number, switch, text};
use clap::Arg;
use convoke_config::flags::{AGENT_FLAGS, FlagKind, Flags};
use convoke_config::{Diagnostic, Format, Source};
use std::path::PathBuf;

/// The command.
pub(super) const COMMANDS: &[Entry] = &[Entry {
    name: "agent",
    about: "Run an agent",
    usage: "[options]",
    detail: "Reads the configuration, joins the cluster and serves until it is told to stop. Options win over files, \
             later files over earlier ones; lists are put together. SIGHUP or \"reload\" reads the files again.\n\n\
             One server in memory, for trying things out:\n\n  agent -dev",
    flags,
    action: Action::Local(agent),
}];

/// The command line of `agent`, kept so that a reload can read everything anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentFlags {
    /// `-config-file` and `-config-dir`, in the order given.
    pub paths: Vec<PathBuf>,
    /// `-config-format`: all files are of this format, whatever they are called.
    pub config_format: Option<Format>,
    /// `-hcl`, in the order given.
    pub hcl: Vec<String>,
    /// All other flags, `-dev` among them.
    pub flags: Flags,
}

impl AgentFlags {
    /// Reads the files and puts them into one list with the flags, ready for [`convoke_config::load`].
    ///
    /// # Errors
    /// A file or folder that cannot be read, or whose format is unknown.
    pub fn sources(&self) -> Result<Vec<Source>, Diagnostic> {
        let mut sources = Vec::new();
        for path in &self.paths {
            crate::files::path(path, self.config_format, &mut sources)?;
        }
        sources.push(Source::Flags(self.flags.clone()));
        sources.extend(self.hcl.iter().cloned().map(Source::Fragment));
        Ok(sources)
    }
}

fn flags() -> Vec<Arg> {
    let keys = AGENT_FLAGS.iter().map(|flag| match flag.kind {
        FlagKind::Switch => switch(flag.name, flag.help),
        FlagKind::Number => number(flag.name, flag.help),
        FlagKind::Text => text(flag.name, "value", flag.help),
        FlagKind::List => list(flag.name, "value", flag.help),
        FlagKind::Pairs => list(flag.name, "key:value", flag.help),
    });
    let own = [
        list("config-dir", "path", "Folder whose .hcl and .json files are read, in lexical order, not recursively."),
        list("config-file", "path", "File to read."),
        text("config-format", "hcl|json", "All files are of this format, whatever they are called."),
        list("hcl", "text", "A piece of configuration."),
    ];
    own.into_iter().chain(keys).collect()
}

fn agent(_: &mut Cx<'_>, parsed: &Parsed) -> Outcome {
    let extra = texts(parsed)?;
    if !extra.is_empty() {
        return Err(format!("Unexpected extra arguments: [{}]", extra.join(" ")).into());
    }
    let mut flags = Flags::default();
    for flag in AGENT_FLAGS {
        let values = match flag.kind {
            FlagKind::Switch => parsed.switch(flag.name).map(|on| on.to_string()).into_iter().collect(),
            FlagKind::Number => parsed.number(flag.name).map(|number| number.to_string()).into_iter().collect(),
            FlagKind::Text | FlagKind::List | FlagKind::Pairs => parsed.list(flag.name),
        };
        for value in values {
            flags.set(flag.name, &value).map_err(|why| why.to_string())?;
        }
    }
    Ok(Exit::Agent(Box::new(AgentFlags {
        paths: parsed.in_order(&["config-file", "config-dir"]).into_iter().map(PathBuf::from).collect(),
        config_format: config_format(parsed)?,
        hcl: parsed.list("hcl"),
        flags,
    })))
}

/// `-config-format`, here and of `validate`.
pub(super) fn config_format(parsed: &Parsed) -> Result<Option<Format>, Failure> {
    match parsed.text("config-format").filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => match Format::parse(name) {
            Some(format) => Ok(Some(format)),
            None => Err("-config-format must be either 'hcl' or 'json'".into()),
        },
    }
}
