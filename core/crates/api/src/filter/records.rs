//! How the rows yield what selectors name.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use convoke_catalog::group::Instance;
use convoke_catalog::model::{Check, Node, Proxy, Service, Str, TaggedAddress};
use convoke_catalog::view::Rows;
use serde_json::Value as Json;

use crate::agent_view::Member;
use crate::json::agent::PROTOCOLS;

/// What a selector yields for one row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(i64),
    Bool(bool),
    Texts(&'a [Str]),
    Pairs(Option<&'a BTreeMap<Str, Str>>),
    Addresses(&'a BTreeMap<Str, TaggedAddress>),
    /// A list of so many rows.
    Count(usize),
    /// No such name in a map.
    Absent,
}

/// A row that filters look at.
pub(crate) trait Record {
    /// Whether `test` holds for what `path` names; for any of several. Paths are those of the row's schema; others
    /// yield nothing.
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool;
}

/// A service with its node, side by side.
pub(crate) struct ServiceNode<'a> {
    pub(crate) node: &'a Node,
    pub(crate) service: &'a Service,
}

/// A node as the UI lists it.
pub(crate) struct NodeInfo<'a> {
    pub(crate) node: &'a Node,
    pub(crate) services: Rows<'a, Service>,
    pub(crate) checks: Rows<'a, Check>,
}

fn pairs(map: Option<&BTreeMap<Str, Str>>, rest: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
    match rest.first() {
        None => test(Value::Pairs(map)),
        Some(name) => test(map.and_then(|map| map.get(name.as_str())).map_or(Value::Absent, |text| Value::Text(text))),
    }
}

fn addresses(map: &BTreeMap<Str, TaggedAddress>, rest: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
    let [name, member] = rest else { return test(Value::Addresses(map)) };
    test(match map.get(name.as_str()) {
        None => Value::Absent,
        Some(address) if member == "Port" => Value::Number(address.port.into()),
        Some(address) => Value::Text(&address.address),
    })
}

/// Free-form JSON text, for the rare filters that look into it.
fn json(text: &str, path: &[String], test: &dyn Fn(Value<'_>) -> bool, default: Value<'_>) -> bool {
    fn walk(value: &Json, path: &[String], test: &dyn Fn(Value<'_>) -> bool, default: Value<'_>) -> bool {
        match (value, path) {
            (Json::Array(items), []) => test(Value::Count(items.len())),
            (Json::Array(items), _) => items.iter().any(|item| walk(item, path, test, default)),
            (Json::Object(members), [name, rest @ ..]) => {
                members.get(name).map_or_else(|| test(default), |value| walk(value, rest, test, default))
            }
            (Json::String(text), []) => test(Value::Text(text)),
            (Json::Bool(value), []) => test(Value::Bool(*value)),
            (Json::Number(number), []) => test(Value::Number(number.as_i64().unwrap_or(0))),
            _ => test(default),
        }
    }
    match serde_json::from_str(text) {
        Ok(value) => walk(&value, path, test, default),
        Err(_) => test(default),
    }
}

fn proxy(proxy: Option<&Proxy>, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
    let none = Proxy::default();
    let proxy = proxy.unwrap_or(&none);
    let [name, rest @ ..] = path else { return false };
    match name.as_str() {
        "DestinationServiceID" => test(Value::Text(&proxy.destination_service_id)),
        "DestinationServiceName" => test(Value::Text(&proxy.destination_service_name)),
        "LocalServiceAddress" => test(Value::Text(&proxy.local_service_address)),
        "LocalServicePort" => test(Value::Number(proxy.local_service_port.into())),
        "Mode" => test(Value::Text(&proxy.mode)),
        "MeshGateway" => json(&proxy.mesh_gateway, rest, test, Value::Text("")),
        "Expose" if rest.first().is_some_and(|member| member == "Checks") => {
            json(&proxy.expose, rest, test, Value::Bool(false))
        }
        "Expose" => paths(&proxy.expose, rest, test),
        "Upstreams" => list(&proxy.upstreams, rest, test),
        _ => false,
    }
}

fn paths(expose: &str, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
    let all = serde_json::from_str::<Json>(expose).ok();
    match all.as_ref().and_then(|all| all.get("Paths")) {
        Some(paths) => list(&alloc::format!("{paths}"), path.get(1..).unwrap_or_default(), test),
        None => path.len() < 2 && test(Value::Count(0)),
    }
}

fn list(text: &str, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
    let default = match path.last().map(String::as_str) {
        None => Value::Count(0),
        Some("LocalBindPort" | "ListenerPort" | "LocalPathPort") => Value::Number(0),
        Some("ParsedFromCheck") => Value::Bool(false),
        Some(_) => Value::Text(""),
    };
    if text.is_empty() && !path.is_empty() { false } else { json(text, path, test, default) }
}

impl Record for Node {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, rest @ ..] = path else { return false };
        match name.as_str() {
            "Address" => test(Value::Text(&self.address)),
            "Datacenter" => test(Value::Text(&self.datacenter)),
            "ID" => test(Value::Text(self.id.as_deref().unwrap_or_default())),
            "Meta" => pairs(self.meta.as_ref(), rest, test),
            "Node" => test(Value::Text(&self.name)),
            "TaggedAddresses" => pairs(self.tagged_addresses.as_ref(), rest, test),
            _ => false,
        }
    }
}

impl Record for Service {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, rest @ ..] = path else { return false };
        match name.as_str() {
            "Address" => test(Value::Text(&self.address)),
            "Connect" => test(Value::Bool(self.connect_native)),
            "EnableTagOverride" => test(Value::Bool(self.enable_tag_override)),
            "ID" => test(Value::Text(&self.id)),
            "Kind" => test(Value::Text(&self.kind)),
            "Meta" => pairs(self.meta.as_ref(), rest, test),
            "Port" => test(Value::Number(self.port.into())),
            "Proxy" => proxy(self.proxy.as_deref(), rest, test),
            "Service" => test(Value::Text(&self.name)),
            "SocketPath" => test(Value::Text(&self.socket_path)),
            "TaggedAddresses" => addresses(&self.tagged_addresses, rest, test),
            "Tags" => test(Value::Texts(&self.tags)),
            "Weights" if rest.first().is_some_and(|member| member == "Passing") => {
                test(Value::Number(self.weight_passing.into()))
            }
            "Weights" => test(Value::Number(self.weight_warning.into())),
            _ => false,
        }
    }
}

impl Record for ServiceNode<'_> {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, rest @ ..] = path else { return false };
        let (node, service) = (self.node, self.service);
        match name.as_str() {
            "NodeMeta" => pairs(node.meta.as_ref(), rest, test),
            "ServiceAddress" => test(Value::Text(&service.address)),
            "ServiceConnect" => test(Value::Bool(service.connect_native)),
            "ServiceEnableTagOverride" => test(Value::Bool(service.enable_tag_override)),
            "ServiceID" => test(Value::Text(&service.id)),
            "ServiceKind" => test(Value::Text(&service.kind)),
            "ServiceMeta" => pairs(service.meta.as_ref(), rest, test),
            "ServiceName" => test(Value::Text(&service.name)),
            "ServicePort" => test(Value::Number(service.port.into())),
            "ServiceProxy" => proxy(service.proxy.as_deref(), rest, test),
            "ServiceSocketPath" => test(Value::Text(&service.socket_path)),
            "ServiceTaggedAddresses" => addresses(&service.tagged_addresses, rest, test),
            "ServiceTags" => test(Value::Texts(&service.tags)),
            "ServiceWeights" if rest.first().is_some_and(|member| member == "Passing") => {
                test(Value::Number(service.weight_passing.into()))
            }
            "ServiceWeights" => test(Value::Number(service.weight_warning.into())),
            _ => node.any(path, test),
        }
    }
}

impl Record for Check {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, ..] = path else { return false };
        test(match name.as_str() {
            "CheckID" => Value::Text(&self.id),
            "Name" => Value::Text(&self.name),
            "Node" => Value::Text(&self.node),
            "Notes" => Value::Text(&self.notes),
            "Output" => Value::Text(&self.output),
            "ServiceID" => Value::Text(&self.service_id),
            "ServiceName" => Value::Text(&self.service_name),
            "ServiceTags" => Value::Texts(&self.service_tags),
            "Status" => Value::Text(self.status.as_str()),
            "Type" => Value::Text(&self.kind),
            _ => return false,
        })
    }
}

impl Record for Member<'_> {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, rest @ ..] = path else { return false };
        match (name.as_str(), rest.first()) {
            ("Addr", _) => test(Value::Text(&self.ip().to_string())),
            ("Name", _) => test(Value::Text(self.name())),
            ("Port", _) => test(Value::Number(self.port().into())),
            ("Status", _) => test(Value::Number(self.status as i64)),
            ("Tags", Some(tag)) => test(self.tags().get(tag).map_or(Value::Absent, Value::Text)),
            ("Tags", None) => {
                let all = self.tags().iter().map(|(name, value)| (name.into(), value.into())).collect();
                test(Value::Pairs(Some(&all)))
            }
            (number, _) => PROTOCOLS.iter().any(|(name, value)| *name == number && test(Value::Number(*value as i64))),
        }
    }
}

fn rows<'r, R: Record + 'r>(
    len: usize,
    mut rows: impl Iterator<Item = &'r Arc<R>>,
    rest: &[String],
    test: &dyn Fn(Value<'_>) -> bool,
) -> bool {
    if rest.is_empty() { test(Value::Count(len)) } else { rows.any(|row| row.any(rest, test)) }
}

impl Record for Instance {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, rest @ ..] = path else { return false };
        match name.as_str() {
            "Node" => self.node.any(rest, test),
            "Service" => self.service.any(rest, test),
            "Checks" => rows(self.checks.len(), self.checks.iter(), rest, test),
            _ => false,
        }
    }
}

impl Record for NodeInfo<'_> {
    fn any(&self, path: &[String], test: &dyn Fn(Value<'_>) -> bool) -> bool {
        let [name, rest @ ..] = path else { return false };
        match name.as_str() {
            "Services" => rows(self.services.len(), self.services.iter(), rest, test),
            "Checks" => rows(self.checks.len(), self.checks.iter(), rest, test),
            _ => self.node.any(path, test),
        }
    }
}
