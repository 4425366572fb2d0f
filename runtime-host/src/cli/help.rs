//! Help texts, made from the table of commands and the flags of each.

use super::command::{Action, Entry};
use super::{client, commands, flags};
use clap::{Arg, Command};

/// The heading of the options of [`client::flags`].
const HTTP_OPTIONS: &str = "HTTP API options";

/// The table that [`flags::parse`] reads by.
pub(super) fn clap_command(entry: &Entry, http: bool) -> Command {
    let mut command = Command::new(entry.name).args((entry.flags)());
    if http {
        // A command's own flag of the same name wins.
        for arg in client::flags() {
            if !command.get_arguments().any(|own| own.get_long() == arg.get_long()) {
                command = command.arg(arg.help_heading(HTTP_OPTIONS));
            }
        }
    }
    command
}

/// All top-level commands.
pub(super) fn overview(program: &str) -> String {
    let mut out = format!("Usage: {program} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n");
    let top: Vec<&Entry> = commands().filter(|entry| !entry.name.contains(' ')).collect();
    list_commands(&mut out, &top);
    out.push_str(&format!("\nMore about one of them: {program} help <command>\n"));
    out
}

/// The help of one command.
pub(super) fn of(entry: &Entry, program: &str) -> String {
    let mut out = format!("Usage: {program} {} {}\n\n", entry.name, entry.usage);
    out.push_str(&wrap(entry.about, 2));
    for paragraph in entry.detail.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        out.push('\n');
        // An indented paragraph is an example and stays as it is.
        if paragraph.starts_with(' ') {
            for line in paragraph.lines() {
                out.push_str(&format!("  {line}\n"));
            }
        } else {
            out.push_str(&wrap(paragraph, 2));
        }
    }
    if matches!(entry.action, Action::Later) {
        out.push('\n');
        out.push_str(&wrap(&later(entry), 2));
        return out;
    }
    let inside = format!("{} ", entry.name);
    let below: Vec<&Entry> = commands().filter(|other| other.name.starts_with(&inside)).collect();
    if !below.is_empty() {
        out.push_str("\nSubcommands:\n");
        list_commands(&mut out, &below);
    }
    let command = clap_command(entry, matches!(entry.action, Action::Remote(_)));
    let (http, own): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().partition(|arg| arg.get_help_heading() == Some(HTTP_OPTIONS));
    for (heading, mut args) in [("Command options", own), (HTTP_OPTIONS, http)] {
        if args.is_empty() {
            continue;
        }
        args.sort_by_key(|arg| arg.get_long());
        out.push_str(&format!("\n{heading}:\n"));
        for arg in args {
            out.push_str(&describe(arg));
        }
    }
    out
}

/// What a command that is not here says.
pub(super) fn later(entry: &Entry) -> String {
    format!("The command \"{}\" is not part of this build; it comes in a later one.", entry.name)
}

fn list_commands(out: &mut String, entries: &[&Entry]) {
    let mut sorted: Vec<&&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.name);
    let width = sorted.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in sorted {
        let mark = if matches!(entry.action, Action::Later) { " (later)" } else { "" };
        out.push_str(&format!("    {:width$}    {}{mark}\n", entry.name, entry.about));
    }
}

fn describe(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    let value = match arg.get_value_names().and_then(<[_]>::first) {
        Some(value) if !flags::is_switch(arg) => format!("=<{value}>"),
        _ => String::new(),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    format!("\n  -{name}{value}\n{}", wrap(&help, 6))
}

/// Fills lines of 79 columns, each `indent` blanks in.
fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut line = " ".repeat(indent);
    for word in text.split_whitespace() {
        if line.len() > indent && line.chars().count() + 1 + word.chars().count() > 79 {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent);
        }
        if line.len() > indent {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}
