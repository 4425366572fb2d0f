//! `watches` of a configuration: what is watched, and what is called when it changes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

use crate::definition::flatten;
use crate::value::{Data, Position, Value};
use crate::weak;

/// A watch and its handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchDefinition {
    /// What.
    pub watched: Watched,
    /// A filter expression; empty for all rows.
    pub filter: String,
    /// ACL token it asks with; empty for the agent's own.
    pub token: String,
    /// Whom to tell.
    pub handler: WatchHandler,
}

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// One key.
    Key(String),
    /// All keys that begin so.
    KeyPrefix(String),
    /// Names and tags of all services.
    Services,
    /// All nodes.
    Nodes,
    /// Instances of a service.
    Service {
        /// Its name.
        name: String,
        /// With all these tags.
        tags: Vec<String>,
        /// Only those whose checks pass.
        passing_only: bool,
    },
    /// Checks of a service.
    ChecksOf(String),
    /// Checks in a state; `any` for all.
    ChecksIn(String),
    /// User events of a name; empty for all.
    Event(String),
}

/// Whom a watch tells. Each is given the state as JSON, and its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchHandler {
    /// A program and its arguments; the state is on its standard input, the index in `CONSUL_INDEX`.
    Program(Vec<String>),
    /// An HTTP server; the state is the body, the index in `X-Consul-Index`.
    Http(WatchHook),
}

/// An HTTP request that tells a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchHook {
    /// URL.
    pub url: String,
    /// Method; `POST` unless given.
    pub method: String,
    /// Of the whole request; 10 s unless given.
    pub timeout: Duration,
    /// Fields to add.
    pub header: BTreeMap<String, Vec<String>>,
    /// No verification of the server's certificate.
    pub tls_skip_verify: bool,
}

/// The parameters of a watch as given, on the command line or in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as users name them")]
pub struct WatchParams {
    pub kind: String,
    pub key: String,
    pub prefix: String,
    pub service: String,
    pub tags: Vec<String>,
    pub passing_only: bool,
    pub state: String,
    pub name: String,
}

/// What is wrong with parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WatchError {
    /// No type.
    #[error("a watch needs a type: key, keyprefix, services, nodes, service, checks or event")]
    NoType,
    /// A type that there is not.
    #[error("there is no watch of type {0:?}; there are key, keyprefix, services, nodes, service, checks and event")]
    Unknown(String),
    /// A parameter that the type needs.
    #[error("a watch of this type needs {0:?}")]
    Missing(&'static str),
    /// Two that exclude each other.
    #[error("a watch of checks takes a service or a state, not both")]
    ServiceAndState,
}

impl WatchParams {
    /// What they mean.
    ///
    /// # Errors
    ///
    /// When the type is not known or its parameters are not complete.
    pub fn watched(self) -> Result<Watched, WatchError> {
        let must = |text: String, name| if text.is_empty() { Err(WatchError::Missing(name)) } else { Ok(text) };
        Ok(match self.kind.as_str() {
            "" => return Err(WatchError::NoType),
            "key" => Watched::Key(must(self.key, "key")?),
            "keyprefix" => Watched::KeyPrefix(must(self.prefix, "prefix")?),
            "services" => Watched::Services,
            "nodes" => Watched::Nodes,
            "service" => Watched::Service {
                name: must(self.service, "service")?,
                tags: self.tags,
                passing_only: self.passing_only,
            },
            "checks" => match (self.service, self.state) {
                (service, state) if !service.is_empty() && !state.is_empty() => {
                    return Err(WatchError::ServiceAndState);
                }
                (service, _) if !service.is_empty() => Watched::ChecksOf(service),
                (_, state) if state.is_empty() => Watched::ChecksIn("any".into()),
                (_, state) => Watched::ChecksIn(state),
            },
            "event" => Watched::Event(self.name),
            _ => return Err(WatchError::Unknown(self.kind)),
        })
    }
}

/// Where and why a definition was refused.
type Refused = (Position, String);

/// Reads one item of `watches`. The second value: what is taken and has no effect.
pub(crate) fn decode_watch(value: &Value) -> Result<(WatchDefinition, Vec<String>), Refused> {
    let value = flatten(value, false);
    let members = value.as_object().ok_or_else(|| (value.at, "a watch is a block".into()))?;
    let (mut params, mut filter, mut token) = (WatchParams::default(), String::new(), String::new());
    let (mut kind, mut line, mut args, mut hook) = (String::from("script"), None, None, None);
    let mut idle = Vec::new();
    for (name, member) in &members {
        let given = &member.value;
        let wrong = |message: String| (member.at, format!("{name}: {message}"));
        let text = || weak::text(given).map_err(wrong);
        match name.to_ascii_lowercase().as_str() {
            "type" => params.kind = text()?,
            "key" => params.key = text()?,
            "prefix" => params.prefix = text()?,
            "service" => params.service = text()?,
            // One or several.
            "tag" => params.tags = weak::texts(given).or_else(|_| Ok(vec![text()?]))?,
            "passingonly" => params.passing_only = weak::boolean(given).map_err(wrong)?,
            "state" => params.state = text()?,
            "name" => params.name = text()?,
            "filter" => filter = text()?,
            "token" => token = text()?,
            "datacenter" => {
                if !text()?.is_empty() {
                    idle.push("datacenter".into());
                }
            }
            "handler_type" => kind = text()?,
            "handler" => line = Some(text()?),
            "args" => args = Some(weak::texts(given).map_err(wrong)?),
            "http_handler_config" => hook = Some(decode_hook(given)?),
            _ => return Err(wrong("a watch has no such key".into())),
        }
    }
    let watched = params.watched().map_err(|why| (value.at, why.to_string()))?;
    let handler = match (kind.as_str(), line, args, hook) {
        ("script", None, Some(args), None) if !args.is_empty() => WatchHandler::Program(args),
        ("script", Some(line), None, None) if !line.is_empty() => {
            WatchHandler::Program(vec!["/bin/sh".into(), "-c".into(), line])
        }
        ("http", None, None, Some(hook)) => WatchHandler::Http(hook),
        ("script", ..) => {
            return Err((value.at, "a watch needs args (a program and its arguments), or one handler".into()));
        }
        ("http", ..) => {
            return Err((value.at, "a watch with handler_type \"http\" needs http_handler_config, alone".into()));
        }
        _ => return Err((value.at, format!("handler_type is script or http, not {kind:?}"))),
    };
    Ok((WatchDefinition { watched, filter, token, handler }, idle))
}

fn decode_hook(value: &Value) -> Result<WatchHook, Refused> {
    let mut hook = WatchHook {
        url: String::new(),
        method: "POST".into(),
        timeout: Duration::from_secs(10),
        header: BTreeMap::new(),
        tls_skip_verify: false,
    };
    let members = value.as_object().ok_or_else(|| (value.at, "http_handler_config is a block".into()))?;
    for (name, member) in &members {
        let given = &member.value;
        let wrong = |message: String| (member.at, format!("http_handler_config.{name}: {message}"));
        match name.to_ascii_lowercase().as_str() {
            "path" => hook.url = weak::text(given).map_err(wrong)?,
            "method" => hook.method = weak::text(given).map_err(wrong)?.to_ascii_uppercase(),
            "timeout" => {
                let nanos = weak::nanos(given).map_err(wrong)?;
                hook.timeout = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
            }
            "header" => {
                let fields = given.as_object().ok_or_else(|| wrong("expected a block".into()))?;
                for (field, values) in fields {
                    let values = match &values.value.data {
                        Data::List(_) => weak::texts(&values.value).map_err(wrong)?,
                        _ => vec![weak::text(&values.value).map_err(wrong)?],
                    };
                    hook.header.insert(field, values);
                }
            }
            "tls_skip_verify" => hook.tls_skip_verify = weak::boolean(given).map_err(wrong)?,
            _ => return Err(wrong("there is no such key".into())),
        }
    }
    if hook.url.is_empty() {
        return Err((value.at, "http_handler_config needs a path: the URL to be told".into()));
    }
    if hook.timeout.is_zero() {
        return Err((value.at, "http_handler_config.timeout must be positive".into()));
    }
    Ok(hook)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<WatchDefinition, String> {
        decode_watch(&Value::from_json(json).unwrap()).map(|(watch, _)| watch).map_err(|(_, why)| why)
    }

    #[test]
    fn what_gitlab_writes() {
        let watch = decode(r#"{"type": "service", "service": "postgresql", "args": ["/x/failover", "-v"]}"#).unwrap();
        let watched = Watched::Service { name: "postgresql".into(), tags: vec![], passing_only: false };
        assert_eq!(watch.watched, watched);
        assert_eq!(watch.handler, WatchHandler::Program(vec!["/x/failover".into(), "-v".into()]));
    }

    #[test]
    fn hcl_writes_blocks_as_lists() {
        let text = r#"watches = [{ type = "checks", state = "critical", handler_type = "http", http_handler_config {
            path = "https://localhost:8000/watch", method = "put", timeout = "3s", header { x-foo = ["bar", "baz"] }
            tls_skip_verify = true } }]"#;
        let root = Value::from_hcl(text).unwrap().as_object().unwrap();
        let Data::List(items) = &root["watches"].value.data else { panic!("{root:?}") };
        let (watch, idle) = decode_watch(&items[0]).unwrap();
        assert_eq!((watch.watched, idle.len()), (Watched::ChecksIn("critical".into()), 0));
        let WatchHandler::Http(hook) = watch.handler else { panic!() };
        assert_eq!((hook.method.as_str(), hook.timeout, hook.tls_skip_verify), ("PUT", Duration::from_secs(3), true));
        assert_eq!(hook.header["x-foo"], ["bar", "baz"]);
    }

    #[test]
    fn one_line_for_a_shell_and_one_tag_or_several() {
        let watch = decode(r#"{"type": "service", "service": "s", "tag": "a", "handler": "cat > /x"}"#).unwrap();
        assert_eq!(watch.handler, WatchHandler::Program(vec!["/bin/sh".into(), "-c".into(), "cat > /x".into()]));
        let tags = |watch: WatchDefinition| match watch.watched {
            Watched::Service { tags, .. } => tags,
            other => panic!("{other:?}"),
        };
        assert_eq!(tags(watch), ["a"]);
        let several = decode(r#"{"type": "service", "service": "s", "tag": ["a", "b"], "args": ["x"]}"#).unwrap();
        assert_eq!(tags(several), ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (json, why) in [
            (r#"{"args": ["x"]}"#, "a watch needs a type"),
            (r#"{"type": "kye", "args": ["x"]}"#, "no watch of type \"kye\""),
            (r#"{"type": "key", "args": ["x"]}"#, "needs \"key\""),
            (r#"{"type": "checks", "service": "a", "state": "any", "args": ["x"]}"#, "not both"),
            (r#"{"type": "nodes"}"#, "needs args"),
            (r#"{"type": "nodes", "args": []}"#, "needs args"),
            (r#"{"type": "nodes", "args": ["x"], "handler": "y"}"#, "needs args"),
            (r#"{"type": "nodes", "handler_type": "http", "args": ["x"]}"#, "http_handler_config, alone"),
            (r#"{"type": "nodes", "handler_type": "http", "http_handler_config": {}}"#, "needs a path"),
            (r#"{"type": "nodes", "handler_type": "mail", "args": ["x"]}"#, "not \"mail\""),
            (r#"{"type": "nodes", "arg": ["x"]}"#, "no such key"),
            (r#"{"type": "nodes", "args": "x"}"#, "expected a list"),
            ("7", "is a block"),
        ] {
            let said = decode(json).unwrap_err();
            assert!(said.contains(why), "{json}: {said}");
        }
    }
}
