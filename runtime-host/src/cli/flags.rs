//! Go-style flags on top of clap.
//!
//! Go's flag package reads `-name value`, `-name=value` and the same with two dashes, takes a switch without a value
//! (`-dev`, `-dev=false`), lets a value start with a dash, and stops at the first word that is no flag or after `--`.
//! [`parse`] rewrites that into the one form clap cannot misread, `--name=value`, and keeps the other words apart. The
//! [`Command`] is the only table: it says which flags there are and which are switches.

use clap::builder::{TypedValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::any::TypeId;
use std::ffi::OsString;

/// A parsed command line of one command.
#[derive(Debug)]
pub(super) struct Parsed {
    matches: ArgMatches,
    /// What came after the flags.
    pub(super) args: Vec<OsString>,
}

impl Parsed {
    /// The last value given for `name`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get::<String>(name).map(String::as_str)
    }

    /// Whether the switch is on.
    pub(super) fn on(&self, name: &str) -> bool {
        self.get::<bool>(name).copied().unwrap_or(false)
    }

    /// The switch, if it was given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.get::<bool>(name).copied()
    }

    /// A whole number, if it was given.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.get::<i64>(name).copied()
    }

    /// A whole number that is not negative, if it was given.
    pub(super) fn unsigned(&self, name: &str) -> Option<u64> {
        self.get::<u64>(name).copied()
    }

    /// All values given for `name`, in order.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.matches.try_get_many::<String>(name) {
            Ok(Some(values)) => values.cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// All values of `names` in the order in which they stood on the command line.
    pub(super) fn in_order(&self, names: &[&str]) -> Vec<String> {
        let mut found: Vec<(usize, String)> = Vec::new();
        for name in names {
            if let Some(places) = self.matches.indices_of(name) {
                found.extend(places.zip(self.list(name)));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, value)| value).collect()
    }

    fn get<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<&T> {
        self.matches.try_get_one::<T>(name).ok().flatten()
    }
}

/// A flag with a text.
pub(super) fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Set)
}

/// A flag with a text that may be given several times.
pub(super) fn list(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    text(name, value, help).action(ArgAction::Append)
}

/// A flag that is on by its mere presence.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::Set).value_parser(ValueParser::new(go_bool))
}

/// A flag with a whole number, in decimal or with one of the prefixes `0x`, `0o`, `0b`.
pub(super) fn number(name: &'static str, help: &'static str) -> Arg {
    text(name, "int", help).value_parser(ValueParser::new(go_int))
}

/// As [`number`], not negative.
pub(super) fn unsigned(name: &'static str, help: &'static str) -> Arg {
    let parser =
        |text: &str| go_int(text).and_then(|n| u64::try_from(n).map_err(|_| "must not be negative".to_owned()));
    text(name, "uint", help).value_parser(ValueParser::new(go_uint_or(parser)))
}

/// Numbers beyond `i64` are legal for flags of key/value entries.
fn go_uint_or(
    parser: impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = u64> {
    move |text: &str| text.parse::<u64>().or_else(|_| parser(text))
}

/// Go's spellings of a truth value.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

fn go_int(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (digits, 10),
    };
    if digits.starts_with(['-', '+']) {
        return Err("use a whole number".to_owned());
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| "use a whole number".to_owned())
}

/// Whether `arg` needs no value.
pub(super) fn is_switch(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

/// Whether help is asked for, which may stand anywhere before `--`.
pub(super) fn wants_help(words: &[OsString]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "-h" || word == "-help" || word == "--help")
}

/// Reads `words` by the flags of `command`.
///
/// # Errors
/// One line that says what is wrong.
pub(super) fn parse(command: Command, words: &[OsString]) -> Result<Parsed, String> {
    let (flags, args) = rewrite(&command, words)?;
    let command =
        command.no_binary_name(true).disable_help_flag(true).disable_version_flag(true).args_override_self(true);
    let matches = command.try_get_matches_from(flags).map_err(|error| explain(&error))?;
    Ok(Parsed { matches, args })
}

/// Splits `words` into flags, each as `--name=value`, and the rest.
fn rewrite(command: &Command, words: &[OsString]) -> Result<(Vec<String>, Vec<OsString>), String> {
    let mut flags = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.clone().next() {
        let Some(text) = word.to_str() else {
            if word.as_encoded_bytes().starts_with(b"-") {
                return Err(format!("the argument {word:?} is not UTF-8"));
            }
            break;
        };
        if text == "--" {
            rest.next();
            break;
        }
        // A lone dash is a word: it stands for standard input.
        let Some(flag) = text.strip_prefix('-').filter(|flag| !flag.is_empty()) else { break };
        rest.next();
        let flag = flag.strip_prefix('-').unwrap_or(flag);
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: {text}"));
        }
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) else {
            return Err(format!("flag provided but not defined: -{name}"));
        };
        let value = match value {
            Some(value) => value,
            None if is_switch(arg) => "true",
            None => match rest.next().map(|word| word.to_str()) {
                Some(Some(value)) => value,
                Some(None) => return Err(format!("the value of -{name} is not UTF-8")),
                None => return Err(format!("flag needs an argument: -{name}")),
            },
        };
        flags.push(format!("--{name}={value}"));
    }
    Ok((flags, rest.cloned().collect()))
}

/// clap's complaint in the form in which Go's users know it.
fn explain(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let flag = context(ContextKind::InvalidArg).split([' ', '=']).next().unwrap_or_default().trim_start_matches('-');
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = context(ContextKind::InvalidValue);
            let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("invalid value {value:?} for flag -{flag}: {reason}")
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("x").args([
            switch("dev", ""),
            list("config-dir", "path", ""),
            list("config-file", "path", ""),
            text("node", "name", ""),
            number("port", ""),
            unsigned("flags", ""),
        ])
    }

    fn read(words: &[&str]) -> Result<Parsed, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        parse(command(), &words)
    }

    #[test]
    fn go_forms() {
        let p =
            read(&["-dev", "--config-dir=/a", "-config-file", "/f", "-config-dir", "-b", "-node=a=b", "rest", "-dev"]);
        let p = p.expect("parses");
        assert!(p.on("dev"));
        assert_eq!(p.list("config-dir"), ["/a", "-b"]);
        assert_eq!(p.in_order(&["config-dir", "config-file"]), ["/a", "/f", "-b"]);
        assert_eq!(p.text("node"), Some("a=b"));
        assert_eq!(p.args, ["rest", "-dev"]);
    }

    #[test]
    fn switches_and_repeats() {
        let p = read(&["-dev", "-dev=F", "-node", "a", "-node="]).expect("parses");
        assert_eq!(p.switch("dev"), Some(false));
        assert_eq!(p.text("node"), Some(""));
        assert_eq!(read(&[]).expect("parses").switch("dev"), None);
        // A switch never takes the next word.
        assert_eq!(read(&["-dev", "false"]).expect("parses").args, ["false"]);
    }

    #[test]
    fn where_flags_end() {
        assert_eq!(read(&["--", "-dev"]).expect("parses").args, ["-dev"]);
        assert_eq!(read(&["-", "-dev"]).expect("parses").args, ["-", "-dev"]);
        assert_eq!(read(&["-dev", "", "-dev"]).expect("parses").args, ["", "-dev"]);
    }

    #[test]
    fn numbers() {
        let p = read(&["-port=-1", "-flags", "18446744073709551615"]).expect("parses");
        assert_eq!((p.number("port"), p.unsigned("flags")), (Some(-1), Some(u64::MAX)));
        assert_eq!(read(&["-port=0x1f"]).expect("parses").number("port"), Some(31));
        for bad in ["", "x", "1.5", "0x", "--1", "-+1", "99999999999999999999"] {
            assert!(read(&[&format!("-port={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn complaints() {
        for (words, want) in [
            (&["-bogus"][..], "flag provided but not defined: -bogus"),
            (&["-node"], "flag needs an argument: -node"),
            (&["---dev"], "bad flag syntax: ---dev"),
            (&["-=x"], "bad flag syntax: -=x"),
            (&["-dev=maybe"], "invalid value \"maybe\" for flag -dev: use true or false"),
            (&["-port=x"], "invalid value \"x\" for flag -port: use a whole number"),
            (&["-flags=-1"], "invalid value \"-1\" for flag -flags: must not be negative"),
        ] {
            assert_eq!(read(words).err().as_deref(), Some(want), "{words:?}");
        }
    }

    #[test]
    fn help_may_stand_anywhere() {
        let words = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wants_help(&words(&["a", "--help"])) && wants_help(&words(&["-h"])));
        assert!(!wants_help(&words(&["--", "-h"])) && !wants_help(&words(&["help"])));
    }
}
