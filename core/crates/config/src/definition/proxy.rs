//! The parts of a proxy that are kept as JSON text: read in any spelling, kept in one, and what is wrong with them.

use super::{DefinitionError, Origin, Proxy, decode};
use crate::json;
use crate::value::{Data, Member, Object, Position, Value};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What a member may be.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Number,
    Bool,
    /// Anything, kept as it is.
    Free,
    Object(Names),
    List(Names),
}

/// The one spelling of each member. Others differ in case and underscores.
type Names = &'static [(&'static str, Shape)];

const GATEWAY: Names = &[("Mode", Shape::Text)];

const UPSTREAM: Names = &[
    ("Config", Shape::Free),
    ("Datacenter", Shape::Text),
    ("DestinationName", Shape::Text),
    ("DestinationNamespace", Shape::Text),
    ("DestinationPartition", Shape::Text),
    ("DestinationPeer", Shape::Text),
    ("DestinationType", Shape::Text),
    ("LocalBindAddress", Shape::Text),
    ("LocalBindPort", Shape::Number),
    ("LocalBindSocketMode", Shape::Text),
    ("LocalBindSocketPath", Shape::Text),
    ("MeshGateway", Shape::Object(GATEWAY)),
];

const PATH: Names = &[
    ("ListenerPort", Shape::Number),
    ("LocalPathPort", Shape::Number),
    ("ParsedFromCheck", Shape::Bool),
    ("Path", Shape::Text),
    ("Protocol", Shape::Text),
];

const EXPOSE: Names = &[("Checks", Shape::Bool), ("Paths", Shape::List(PATH))];

/// A list of upstreams as JSON text; empty if there are none. What is empty in one is left out, but each says its type.
///
/// # Errors
/// If it is something else.
pub fn upstreams(value: &Value, origin: Origin) -> Result<String, DefinitionError> {
    let given = text(value, origin, Shape::List(UPSTREAM))?;
    let Ok(Value { data: Data::List(mut items), at }) = json::parse_first(&given) else { return Ok(given) };
    for item in &mut items {
        if let Data::Object(object) = &mut item.data {
            let service = Value { data: Data::String("service".to_string()), at: item.at };
            object.entry("DestinationType".to_string()).or_insert(Member { at: item.at, value: service });
        }
    }
    Ok(Value { data: Data::List(items), at }.to_json())
}

/// What the catalog is given for a proxy: each part as JSON text, in requests' spelling, without defaults.
///
/// # Errors
/// The first part that is something else.
pub fn as_given(upstreams: &str, expose: &str, mesh_gateway: &str) -> Result<[String; 3], DefinitionError> {
    let part = |given: &str, shape: Shape| match json::parse_first(given) {
        Ok(value) => text(&value, Origin::Http, shape),
        Err(_) => Ok(String::new()),
    };
    Ok([
        part(upstreams, Shape::List(UPSTREAM))?,
        part(expose, Shape::Object(EXPOSE))?,
        part(mesh_gateway, Shape::Object(GATEWAY))?,
    ])
}

/// What a proxy exposes, as JSON text; empty if nothing.
///
/// # Errors
/// If it is something else.
pub fn expose(value: &Value, origin: Origin) -> Result<String, DefinitionError> {
    text(value, origin, Shape::Object(EXPOSE))
}

/// A mode of mesh gateways, as JSON text; empty if none.
///
/// # Errors
/// If it is something else.
pub fn mesh_gateway(value: &Value, origin: Origin) -> Result<String, DefinitionError> {
    text(value, origin, Shape::Object(GATEWAY))
}

fn text(value: &Value, origin: Origin, shape: Shape) -> Result<String, DefinitionError> {
    let flat;
    let value = if origin == Origin::File {
        flat = decode::flatten(value, matches!(shape, Shape::List(_)));
        &flat
    } else {
        value
    };
    Ok(read(value, shape)?.map(|value| value.to_json()).unwrap_or_default())
}

/// The value with its members in their one spelling; `None` if it says nothing.
fn read(value: &Value, shape: Shape) -> Result<Option<Value>, DefinitionError> {
    let data = match (&value.data, shape) {
        (Data::Null, _) | (Data::Bool(false), Shape::Bool) | (Data::Int(0), Shape::Number) => return Ok(None),
        (Data::String(text), Shape::Text) if text.is_empty() => return Ok(None),
        (Data::Object(object), Shape::Free) if object.is_empty() => return Ok(None),
        (data @ Data::String(_), Shape::Text)
        | (data @ Data::Int(_), Shape::Number)
        | (data @ Data::Bool(_), Shape::Bool)
        | (data @ Data::Object(_), Shape::Free) => data.clone(),
        (Data::Object(object), Shape::Object(names)) => match members(object, names)? {
            object if object.is_empty() => return Ok(None),
            object => Data::Object(object),
        },
        (Data::List(items), Shape::List(names)) => {
            let mut all = Vec::with_capacity(items.len());
            for item in items {
                all.push(match &item.data {
                    Data::Object(object) => Value { data: Data::Object(members(object, names)?), at: item.at },
                    _ => return Err(wrong(item.at, format!("json: cannot unmarshal {} into Go value", item.kind()))),
                });
            }
            if all.is_empty() {
                return Ok(None);
            }
            Data::List(all)
        }
        _ => return Err(wrong(value.at, format!("json: cannot unmarshal {} into Go value", value.kind()))),
    };
    Ok(Some(Value { data, at: value.at }))
}

fn members(object: &Object, names: Names) -> Result<Object, DefinitionError> {
    let mut out = Object::new();
    for (given, member) in object {
        let bare = given.replace('_', "");
        let Some((name, shape)) = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&bare)) else {
            return Err(wrong(member.at, format!("json: unknown field {given:?}")));
        };
        if let Some(value) = read(&member.value, *shape)? {
            out.insert((*name).to_string(), Member { at: member.at, value });
        }
    }
    Ok(out)
}

fn wrong(at: Position, message: String) -> DefinitionError {
    DefinitionError { at, decode: true, message }
}

/// What is wrong with a service of a kind that stands for others, as a list for people; nothing for other kinds.
///
/// `reachable`: it has a port or a socket. `native`: it speaks the mesh protocol itself.
///
/// # Errors
/// The list.
pub fn validate_kind(kind: &str, reachable: bool, native: bool, proxy: Option<&Proxy>) -> Result<(), String> {
    let none = Proxy::default();
    let proxy = proxy.unwrap_or(&none);
    let mut found: Vec<String> = Vec::new();
    let mut say = |wrong: bool, text: &str| {
        if wrong {
            found.push(text.to_string());
        }
    };
    match kind {
        "connect-proxy" => {
            let nameless = proxy.destination_service_name.trim().is_empty();
            say(nameless, "Proxy.DestinationServiceName must be non-empty for Connect proxy services");
            say(!reachable, "Port must be set for a Connect proxy");
            say(native, "A Proxy cannot also be Connect Native, only typical services");
            upstream_faults(&proxy.upstreams, &mut found);
            expose_faults(&proxy.expose, &mut found);
        }
        "mesh-gateway" | "terminating-gateway" | "ingress-gateway" => {
            // The listeners of an ingress gateway are configured elsewhere.
            say(!reachable && kind != "ingress-gateway", &format!("Port must be non-zero for a {kind}"));
            let no = |field: &str| format!("The Proxy.{field} configuration is invalid for a {kind}");
            say(!proxy.destination_service_name.is_empty(), &no("DestinationServiceName"));
            say(!proxy.destination_service_id.is_empty(), &no("DestinationServiceID"));
            say(!proxy.local_service_address.is_empty(), &no("LocalServiceAddress"));
            say(proxy.local_service_port != 0, &no("LocalServicePort"));
            say(!proxy.upstreams.is_empty(), &no("Upstreams"));
        }
        _ => {}
    }
    if found.is_empty() { Ok(()) } else { Err(listed(&found)) }
}

/// Faults as a list.
#[must_use]
pub fn listed(faults: &[String]) -> String {
    let mut out = match faults.len() {
        1 => "1 error occurred:".to_string(),
        n => format!("{n} errors occurred:"),
    };
    for fault in faults {
        out.push_str("\n\t* ");
        out.push_str(fault);
    }
    out.push_str("\n\n");
    out
}

/// Members of the objects in a list that was kept.
fn kept(text: &str) -> Vec<Object> {
    match json::parse_first(text).map(|value| value.data) {
        Ok(Data::List(items)) => items
            .into_iter()
            .filter_map(|item| match item.data {
                Data::Object(object) => Some(object),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn string<'o>(object: &'o Object, name: &str) -> &'o str {
    match object.get(name).map(|member| &member.value.data) {
        Some(Data::String(text)) => text,
        _ => "",
    }
}

fn number(object: &Object, name: &str) -> i64 {
    match object.get(name).map(|member| &member.value.data) {
        Some(Data::Int(number)) => *number,
        _ => 0,
    }
}

fn upstream_faults(text: &str, found: &mut Vec<String>) {
    let (mut targets, mut listeners) = (BTreeSet::new(), BTreeSet::new());
    for upstream in &kept(text) {
        let (kind, name) = (string(upstream, "DestinationType"), string(upstream, "DestinationName"));
        let (address, port) = (string(upstream, "LocalBindAddress"), number(upstream, "LocalBindPort"));
        let socket = string(upstream, "LocalBindSocketPath");
        if !matches!(kind, "" | "service" | "prepared_query") {
            found.push(format!("upstreams: unknown destination type {kind:?}"));
            continue;
        }
        if name.is_empty() {
            found.push("upstreams: the destination name cannot be empty".to_string());
            continue;
        }
        if port == 0 && socket.is_empty() {
            found.push(format!("upstreams: {name}: the local bind port cannot be 0"));
            continue;
        }
        let address = if address.is_empty() { "127.0.0.1" } else { address };
        if !listeners.insert((address.to_string(), port, socket.to_string())) {
            found.push(format!("upstreams: {name}: {address}:{port} is taken by another upstream"));
            continue;
        }
        let kind = if kind.is_empty() { "service" } else { kind };
        let place = ["DestinationNamespace", "DestinationPartition", "DestinationPeer", "Datacenter"]
            .map(|field| string(upstream, field).to_string());
        if !targets.insert((kind.to_string(), name.to_string(), place)) {
            found.push(format!("upstreams: {name}: the destination is given twice"));
        }
    }
}

fn expose_faults(text: &str, found: &mut Vec<String>) {
    let Ok(Value { data: Data::Object(expose), .. }) = json::parse_first(text) else { return };
    let Some(paths) = expose.get("Paths") else { return };
    let mut ports = BTreeSet::new();
    for path in &kept(&paths.value.to_json()) {
        let (text, protocol) = (string(path, "Path"), string(path, "Protocol"));
        let (listener, local) = (number(path, "ListenerPort"), number(path, "LocalPathPort"));
        if !text.starts_with('/') {
            found.push(format!("expose.paths: {text:?} does not begin with '/'"));
        } else if !(1..=65_535).contains(&local) || !(1..=65_535).contains(&listener) {
            found.push(format!("expose.paths: {text}: both ports must be between 1 and 65535"));
        } else if !matches!(protocol, "" | "http" | "http2") {
            found.push(format!("expose.paths: {text}: the protocol is http or http2, not {protocol:?}"));
        } else if !ports.insert(listener) {
            found.push(format!("expose.paths: {text}: the listener port {listener} is used twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(upstreams_json: &str, expose_json: &str) -> Proxy {
        let tree = |text: &str| Value::from_json(text).unwrap();
        Proxy {
            destination_service_name: "web".into(),
            upstreams: upstreams(&tree(upstreams_json), Origin::Http).unwrap(),
            expose: expose(&tree(expose_json), Origin::Http).unwrap(),
            ..Proxy::default()
        }
    }

    #[test]
    fn any_spelling_is_kept_as_one() {
        let both = proxy(
            r#"[{"destination_name": "db", "LOCALBINDPORT": 5, "config": {}, "Datacenter": null}]"#,
            r#"{"checks": false, "paths": [{"path": "/x", "local_path_port": 1, "listener_port": 2}]}"#,
        );
        assert_eq!(both.upstreams, r#"[{"DestinationName":"db","DestinationType":"service","LocalBindPort":5}]"#);
        assert_eq!(both.expose, r#"{"Paths":[{"ListenerPort":2,"LocalPathPort":1,"Path":"/x"}]}"#);
        assert_eq!(proxy("[]", "{}"), Proxy { destination_service_name: "web".into(), ..Proxy::default() });
        for bad in [r#"[{"Bogus": 1}]"#, r#"[5]"#, r#"{}"#, r#"[{"LocalBindPort": "5"}]"#] {
            let refused = upstreams(&Value::from_json(bad).unwrap(), Origin::Http);
            assert!(refused.is_err_and(|why| why.decode), "{bad}");
        }
        let block = Value::from_hcl("x { destination_name = \"db\" local_bind_port = 1 }").unwrap();
        let block = &block.as_object().unwrap()["x"].value;
        let text = r#"[{"DestinationName":"db","DestinationType":"service","LocalBindPort":1}]"#;
        assert_eq!(upstreams(block, Origin::File).unwrap(), text);
        let given = r#"[{"destination_name":"db"}]"#;
        assert_eq!(as_given(given, "", "{}").unwrap(), [r#"[{"DestinationName":"db"}]"#, "", ""]);
        assert!(as_given("5", "", "").is_err());
    }

    #[test]
    fn faults_are_counted_one_an_upstream() {
        for (upstreams, faults) in [
            (r#"[{"DestinationName": "*", "LocalBindPort": 1}]"#, 0),
            (r#"[{"LocalBindPort": 1}]"#, 1),
            (r#"[{"DestinationName": "x"}]"#, 1),
            (r#"[{"DestinationType": "bad"}]"#, 1),
            (r#"[{"DestinationName": "x", "LocalBindPort": 1}, {"DestinationName": "x", "LocalBindPort": 2}]"#, 1),
            (r#"[{"DestinationName": "x", "LocalBindPort": 1}, {"DestinationName": "y", "LocalBindPort": 1}]"#, 1),
            (r#"[{"DestinationName": "x", "LocalBindPort": 1}, {"DestinationName": "x", "LocalBindPort": 1}]"#, 1),
        ] {
            let text = validate_kind("connect-proxy", true, false, Some(&proxy(upstreams, "{}")));
            let count = text.err().map_or(0, |text| text.matches("\n\t* ").count());
            assert_eq!(count, faults, "{upstreams}");
        }
        for (expose, good) in [
            (r#"{"Paths": [{"Path": "x"}]}"#, false),
            (r#"{"Paths": [{"Path": "/x", "ListenerPort": 1, "LocalPathPort": 2, "Protocol": "bad"}]}"#, false),
            (r#"{"Paths": [{"Path": "/x", "ListenerPort": 1, "LocalPathPort": 70000}]}"#, false),
            (r#"{"Paths": [{"Path": "/x", "ListenerPort": 1, "LocalPathPort": 2, "Protocol": "http2"}]}"#, true),
        ] {
            assert_eq!(
                validate_kind("connect-proxy", true, false, Some(&proxy("[]", expose))).is_ok(),
                good,
                "{expose}"
            );
        }
    }

    #[test]
    fn kinds_have_rules_of_their_own() {
        assert_eq!(validate_kind("", false, true, None), Ok(()));
        assert!(validate_kind("connect-proxy", false, true, None).unwrap_err().starts_with("3 errors occurred:\n\t* "));
        assert_eq!(validate_kind("mesh-gateway", true, true, None), Ok(()));
        assert!(
            validate_kind("mesh-gateway", false, false, None).unwrap_err().starts_with("1 error occurred:\n\t* Port")
        );
        let named = proxy("[]", "{}");
        assert_eq!(validate_kind("ingress-gateway", false, false, None), Ok(()));
        assert!(validate_kind("ingress-gateway", true, false, Some(&named)).is_err());
        assert!(
            validate_kind(
                "terminating-gateway",
                true,
                false,
                Some(&Proxy { local_service_port: 1, ..Proxy::default() })
            )
            .is_err()
        );
    }
}
