//! Address templates, as go-sockaddr has them: `{{ GetInterfaceIP "eth0" }}`,
//! `{{ GetPrivateInterfaces | include "network" "10.0.0.0/8" | attr "address" }}`.
//!
//! A template is text with parts in double braces. Each part is a pipeline: a source of addresses or a finished address first, then filters,
//! and `attr` or `join` at the end to make text of what is left.

mod select;

use crate::source::Environment;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use select::Addr;
use winnow::Parser;
use winnow::combinator::{alt, delimited, opt, preceded, repeat, separated};
use winnow::error::{ContextError, ErrMode};
use winnow::token::{take_till, take_while};

/// Text longer than this is no address.
const MAX_LENGTH: usize = 4096;

/// Replaces every part in braces. White space around the result is dropped; what is missing is empty text.
pub fn expand(text: &str, env: &Environment) -> Result<String, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("longer than {MAX_LENGTH} bytes"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, after) = after.split_once("}}").ok_or_else(|| format!("template {text:?}: \"}}}}\" is missing"))?;
        out.push_str(before);
        out.push_str(&pipeline(inner, env).map_err(|reason| format!("template {text:?}: {reason}"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out.trim().to_owned())
}

/// A function and its arguments.
struct Command {
    name: String,
    args: Vec<String>,
}

/// What flows through a pipeline.
enum Flow {
    Addresses(Vec<Addr>),
    Text(String),
}

fn pipeline(text: &str, env: &Environment) -> Result<String, String> {
    // A dash next to the braces trims white space, which happens anyway.
    let text = text.trim().trim_start_matches('-').trim_end_matches('-').trim();
    let commands = parse(text).ok_or_else(|| "not a pipeline of functions with quoted arguments".to_owned())?;
    let mut flow = None;
    for command in commands {
        flow = Some(match flow {
            None => source(&command, env)?,
            Some(Flow::Addresses(addresses)) => step(&command, addresses)?,
            Some(Flow::Text(_)) => return Err(format!("{} cannot follow text", command.name)),
        });
    }
    match flow {
        Some(Flow::Text(text)) => Ok(text),
        _ => Err("ends in a list of interfaces; add | attr \"address\" or | join \"address\" \" \"".to_owned()),
    }
}

fn parse(mut text: &str) -> Option<Vec<Command>> {
    type E = ErrMode<ContextError>;
    fn white<'i>(input: &mut &'i str) -> Result<&'i str, E> {
        take_while(0.., char::is_whitespace).parse_next(input)
    }
    fn quoted(input: &mut &str) -> Result<String, E> {
        let plain = take_till(1.., ['"', '\\']).map(ToString::to_string);
        let escaped = preceded('\\', winnow::token::any).map(|c: char| match c {
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            c => c.to_string(),
        });
        let body = repeat(0.., alt((plain, escaped))).fold(String::new, |mut all, part: String| {
            all.push_str(&part);
            all
        });
        delimited('"', body, '"').parse_next(input)
    }
    fn raw(input: &mut &str) -> Result<String, E> {
        delimited('`', take_till(0.., '`'), '`').map(|s: &str| s.to_owned()).parse_next(input)
    }
    fn number(input: &mut &str) -> Result<String, E> {
        (opt('-'), take_while(1.., |c: char| c.is_ascii_digit())).take().map(|s: &str| s.to_owned()).parse_next(input)
    }
    fn command(input: &mut &str) -> Result<Command, E> {
        let name = take_while(1.., |c: char| c.is_ascii_alphanumeric() || c == '_').map(|s: &str| s.to_owned());
        let args = repeat(0.., preceded(white, alt((quoted, raw, number))));
        delimited(white, (name, args), white).map(|(name, args)| Command { name, args }).parse_next(input)
    }
    let commands: Vec<Command> = separated(1.., command, '|').parse_next(&mut text).ok()?;
    text.is_empty().then_some(commands)
}

/// Checks the number of arguments.
fn args<const N: usize>(command: &Command) -> Result<[&str; N], String> {
    let all: Vec<&str> = command.args.iter().map(String::as_str).collect();
    all.try_into().map_err(|all: Vec<&str>| format!("{} takes {N} arguments, not {}", command.name, all.len()))
}

fn source(command: &Command, env: &Environment) -> Result<Flow, String> {
    let interfaces = |list: Vec<Addr>| -> Result<Flow, String> {
        args::<0>(command)?;
        Ok(Flow::Addresses(list))
    };
    let first = |list: Vec<Addr>| Flow::Text(list.first().map(|addr| addr.ip.to_string()).unwrap_or_default());
    let joined = |list: Vec<Addr>| {
        let all: Vec<String> = list.iter().map(|addr| addr.ip.to_string()).collect();
        Flow::Text(all.join(" "))
    };
    match command.name.as_str() {
        "GetAllInterfaces" => interfaces(select::all(env)),
        "GetDefaultInterfaces" => interfaces(select::default(env)),
        "GetPrivateInterfaces" => interfaces(select::private(env)),
        "GetPublicInterfaces" => interfaces(select::public(env)),
        "GetPrivateIP" => args::<0>(command).map(|_| first(select::private(env))),
        "GetPrivateIPs" => args::<0>(command).map(|_| joined(select::private(env))),
        "GetPublicIP" => args::<0>(command).map(|_| first(select::public(env))),
        "GetPublicIPs" => args::<0>(command).map(|_| joined(select::public(env))),
        "GetInterfaceIP" => args::<1>(command).map(|[name]| first(select::of_interface(env, name))),
        "GetInterfaceIPs" => args::<1>(command).map(|[name]| joined(select::of_interface(env, name))),
        name => Err(format!("unknown function {name:?} at the beginning of a pipeline")),
    }
}

fn step(command: &Command, mut addresses: Vec<Addr>) -> Result<Flow, String> {
    match command.name.as_str() {
        "include" | "exclude" => {
            let [selector, parameter] = args(command)?;
            let test = select::Test::parse(selector, parameter)?;
            let keep = command.name == "include";
            addresses.retain(|addr| test.matches(addr) == keep);
        }
        "sort" => {
            let [keys] = args(command)?;
            select::sort(&mut addresses, keys)?;
        }
        "unique" => {
            let [selector] = args(command)?;
            let mut seen = alloc::collections::BTreeSet::new();
            let mut kept = Vec::new();
            for addr in addresses {
                if seen.insert(select::attribute(&addr, selector)?) {
                    kept.push(addr);
                }
            }
            addresses = kept;
        }
        "limit" => {
            let [count] = args(command)?;
            addresses.truncate(count.parse().map_err(|_| format!("limit {count:?} is no count"))?);
        }
        "offset" => {
            let [count] = args(command)?;
            let count: i64 = count.parse().map_err(|_| format!("offset {count:?} is no number"))?;
            let len = addresses.len();
            // Negative counts from the end.
            let skip = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(len);
            let at = if count < 0 { len - skip } else { skip };
            addresses.drain(..at);
        }
        "attr" => {
            let [name] = args(command)?;
            return match addresses.first() {
                Some(addr) => select::attribute(addr, name).map(Flow::Text),
                None => Ok(Flow::Text(String::new())),
            };
        }
        "join" => {
            let [name, separator] = args(command)?;
            let all: Result<Vec<String>, String> = addresses.iter().map(|addr| select::attribute(addr, name)).collect();
            return Ok(Flow::Text(all?.join(separator)));
        }
        name => return Err(format!("unknown function {name:?}")),
    }
    Ok(Flow::Addresses(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Interface;
    use alloc::vec;
    use proptest::prelude::*;

    pub(super) fn machine() -> Environment {
        let interface = |name: &str, addresses: &[&str], default_route| Interface {
            name: name.to_owned(),
            addresses: addresses
                .iter()
                .map(|a| crate::Cidr::parse(a).map(|c| (c.address, c.prefix)).unwrap())
                .collect(),
            up: true,
            loopback: name == "lo",
            broadcast: name != "lo",
            multicast: name != "lo",
            point_to_point: false,
            default_route,
        };
        Environment {
            hostname: "box".to_owned(),
            interfaces: vec![
                interface("lo", &["127.0.0.1/8", "::1/128"], false),
                interface("eth0", &["10.1.2.3/16", "fe80::1/64", "2600:1::5/64"], true),
                interface("eth1", &["192.168.7.9/24", "198.51.0.7/20"], false),
                Interface { up: false, ..interface("eth2", &["10.9.9.9/24"], false) },
            ],
        }
    }

    #[test]
    fn expands() {
        for (template, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            (" {{ GetInterfaceIP \"eth0\" }} ", "10.1.2.3"),
            ("{{GetInterfaceIP `eth1`}}", "198.51.0.7"),
            ("{{ GetInterfaceIP \"nosuch\" }}", ""),
            ("{{ GetInterfaceIPs \"lo\" }}", "127.0.0.1 ::1"),
            ("{{ GetPrivateIP }}", "10.1.2.3"),
            ("{{ GetPrivateIPs }}", "10.1.2.3 192.168.7.9"),
            ("{{ GetPublicIP }}", "198.51.0.7"),
            ("{{- GetPublicIPs -}}", "198.51.0.7 2600:1::5"),
            ("{{ GetPrivateInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}", "10.1.2.3"),
            ("{{ GetPrivateInterfaces | exclude \"network\" \"10.0.0.0/8\" | attr \"address\" }}", "192.168.7.9"),
            (
                "{{ GetAllInterfaces | include \"name\" \"^eth[01]$\" | exclude \"flags\" \"link-local unicast\" | include \"type\" \"ipv4\" | sort \"-address\" | join \"address\" \",\" }}",
                "198.51.0.7,192.168.7.9,10.1.2.3",
            ),
            ("{{ GetDefaultInterfaces | include \"type\" \"IPv4\" | attr \"name\" }}", "eth0"),
            (
                "{{ GetAllInterfaces | include \"flags\" \"loopback|up\" | include \"type\" \"ipv6\" | attr \"address\" }}",
                "::1",
            ),
            (
                "{{ GetAllInterfaces | include \"rfc\" \"1918\" | sort \"size,address\" | limit 2 | join \"address\" \" \" }}",
                "10.1.2.3 10.9.9.9",
            ),
            ("{{ GetAllInterfaces | include \"address\" \"^192[.]\" | attr \"network\" }}", "192.168.7.0/24"),
            ("{{ GetAllInterfaces | include \"size\" \"24\" | unique \"name\" | join \"name\" \" \" }}", "eth1 eth2"),
            (
                "{{ GetAllInterfaces | include \"type\" \"ipv4\" | sort \"address\" | offset -1 | attr \"address\" }}",
                "198.51.0.7",
            ),
            ("{{ GetAllInterfaces | exclude \"name\" \".*\" | attr \"address\" }}", ""),
            ("{{ GetPrivateIP }}:8600 {{ GetPublicIP }}", "10.1.2.3:8600 198.51.0.7"),
        ] {
            assert_eq!(expand(template, &machine()).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn refuses() {
        for (template, part) in [
            ("{{ GetPrivateIP", "is missing"),
            ("{{ }}", "not a pipeline"),
            ("{{ | }}", "not a pipeline"),
            ("{{ GetPrivateIP ) }}", "not a pipeline"),
            ("{{ GetNothing }}", "unknown function \"GetNothing\""),
            ("{{ GetPrivateIP | attr \"address\" }}", "cannot follow text"),
            ("{{ GetInterfaceIP }}", "takes 1 arguments, not 0"),
            ("{{ GetAllInterfaces }}", "ends in a list"),
            ("{{ GetAllInterfaces | upper }}", "unknown function \"upper\""),
            ("{{ GetAllInterfaces | include \"colour\" \"red\" | attr \"address\" }}", "colour"),
            ("{{ GetAllInterfaces | include \"name\" \"(\" | attr \"address\" }}", "regular expression"),
            ("{{ GetAllInterfaces | include \"network\" \"ten\" | attr \"address\" }}", "network"),
            ("{{ GetAllInterfaces | include \"rfc\" \"1\" | attr \"address\" }}", "rfc"),
            ("{{ GetAllInterfaces | include \"flags\" \"sideways\" | attr \"address\" }}", "sideways"),
            ("{{ GetAllInterfaces | sort \"colour\" | attr \"address\" }}", "colour"),
            ("{{ GetAllInterfaces | attr \"colour\" }}", "colour"),
            ("{{ GetAllInterfaces | limit \"x\" | attr \"address\" }}", "no count"),
        ] {
            let error = expand(template, &machine()).expect_err(template);
            assert!(error.contains(part), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\{\\{ ?(GetAllInterfaces|GetPrivateIP)?( ?\\| ?(sort|limit|include|attr|join|offset)( (\"[a-z0-9()|*,+-]{0,6}\"|-?[0-9]{1,3})){0,2}){0,3} ?\\}\\})|\\PC{0,40}") {
            let _ = expand(&text, &machine());
        }
    }
}
