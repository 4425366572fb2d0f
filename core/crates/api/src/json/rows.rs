//! The rows of the tables as Consul shows them. Every list has its own idea of order, names and absence; all of it is
//! as Consul 1.8 writes it. What newer versions added is shown only where it is used, and `Namespace` only to those
//! who asked by namespace.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use convoke_catalog::Session;
use convoke_catalog::group::Instance;
use convoke_catalog::model::{Check, CheckSpec, KvEntry, Node, Proxy, Service, Str, TaggedAddress};
use convoke_config::duration;
use serde_json::Value;

use super::Json;

/// How a row is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Show<'a> {
    /// Namespace to name in each row.
    pub namespace: Option<&'a str>,
    /// No tags are `null` instead of `[]`.
    pub null_tags: bool,
}

impl Json {
    fn optional(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() {
            self.key(name).text(text);
        }
    }

    fn namespace(&mut self, show: Show<'_>) {
        if let Some(namespace) = show.namespace {
            self.key("Namespace").text(namespace);
        }
    }

    fn tags(&mut self, tags: &[Str], show: Show<'_>) {
        if tags.is_empty() && show.null_tags { self.null() } else { self.texts(tags) }
    }

    /// An object of strings, or `null`.
    pub fn maybe_pairs(&mut self, pairs: Option<&BTreeMap<Str, Str>>) {
        match pairs {
            Some(pairs) => self.pairs(pairs),
            None => self.null(),
        }
    }

    /// `{"lan": {"Address": ..., "Port": ...}}`
    pub fn tagged_addresses(&mut self, addresses: &BTreeMap<Str, TaggedAddress>) {
        self.open_object();
        for (tag, address) in addresses {
            self.key_text(tag).open_object();
            self.key("Address").text(&address.address);
            self.key("Port").u64(address.port.into());
            self.close_object();
        }
        self.close_object();
    }

    /// `{"Passing": 1, "Warning": 1}`
    pub fn weights(&mut self, service: &Service) {
        self.open_object();
        self.key("Passing").u64(service.weight_passing.into());
        self.key("Warning").u64(service.weight_warning.into());
        self.close_object();
    }

    /// Proxy configuration; a service without one has an almost empty one. `brief`: what is empty is left out of
    /// upstreams, as the agent does.
    pub fn proxy(&mut self, proxy: Option<&Proxy>, brief: bool) {
        self.open_object();
        if let Some(proxy) = proxy {
            self.optional("DestinationServiceName", &proxy.destination_service_name);
            self.optional("DestinationServiceID", &proxy.destination_service_id);
            self.optional("LocalServiceAddress", &proxy.local_service_address);
            if proxy.local_service_port != 0 {
                self.key("LocalServicePort").u64(proxy.local_service_port.into());
            }
            self.optional("Mode", &proxy.mode);
            if !matches!(&*proxy.config, "" | "{}") {
                self.key("Config").raw(&proxy.config);
            }
            if !proxy.upstreams.is_empty() {
                self.key("Upstreams").upstreams(&proxy.upstreams, brief);
            }
        }
        let (gateway, expose) = proxy.map_or(("", ""), |proxy| (&*proxy.mesh_gateway, &*proxy.expose));
        self.key("MeshGateway").raw_object(gateway);
        self.key("Expose");
        match serde_json::from_str::<Value>(expose) {
            Ok(Value::Object(mut members)) => {
                let paths = members.get_mut("Paths").and_then(Value::as_array_mut);
                for path in paths.into_iter().flatten().filter_map(Value::as_object_mut) {
                    path.entry("ParsedFromCheck").or_insert(Value::Bool(false));
                }
                self.raw(&Value::Object(members).to_string());
            }
            _ => self.raw_object(expose),
        }
        self.close_object();
    }

    /// Upstreams as they are kept, with what Consul shows of those that say little.
    fn upstreams(&mut self, text: &str, brief: bool) {
        // Each member in its place, and what stands there if it says nothing.
        const MEMBERS: [(&str, Option<&str>); 12] = [
            ("DestinationType", Some("\"\"")),
            ("DestinationNamespace", None),
            ("DestinationPartition", None),
            ("DestinationPeer", None),
            ("DestinationName", Some("\"\"")),
            ("Datacenter", Some("\"\"")),
            ("LocalBindAddress", None),
            ("LocalBindPort", Some("0")),
            ("LocalBindSocketPath", None),
            ("LocalBindSocketMode", None),
            ("Config", Some("null")),
            ("MeshGateway", Some("{}")),
        ];
        let items = match serde_json::from_str(text) {
            Ok(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        self.open_array();
        for upstream in items.iter().filter_map(Value::as_object) {
            self.item().open_object();
            for (name, default) in MEMBERS {
                match (upstream.get(name), default) {
                    (Some(value), _) => self.key(name).raw(&value.to_string()),
                    (None, Some(default)) if !brief || name == "MeshGateway" => self.key(name).raw(default),
                    (None, _) => {}
                }
            }
            self.close_object();
        }
        self.close_array();
    }

    /// An object that was kept as text; empty for none.
    fn raw_object(&mut self, text: &str) {
        self.raw(if text.is_empty() { "{}" } else { text });
    }

    /// `{}` or `{"Native": true}`
    fn connect(&mut self, service: &Service) {
        self.open_object();
        if service.connect_native {
            self.key("Native").bool(true);
        }
        self.close_object();
    }

    /// What Consul did not have in 1.8: several ports, a socket.
    pub(super) fn endpoints(&mut self, service: &Service) {
        if !service.ports.is_empty() {
            self.key("Ports").open_array();
            for port in &service.ports {
                self.item().open_object();
                self.key("Name").text(&port.name);
                self.key("Port").u64(port.port.into());
                self.key("Default").bool(port.default);
                self.close_object();
            }
            self.close_array();
        }
        self.optional("SocketPath", &service.socket_path);
    }

    /// A node: `/v1/catalog/nodes` and everything that embeds one.
    pub fn node(&mut self, node: &Node) {
        self.open_object();
        self.key("ID").text(node.id.as_deref().unwrap_or_default());
        self.key("Node").text(&node.name);
        self.key("Address").text(&node.address);
        self.key("Datacenter").text(&node.datacenter);
        self.key("TaggedAddresses").maybe_pairs(node.tagged_addresses.as_ref());
        self.key("Meta").maybe_pairs(node.meta.as_ref());
        self.key("CreateIndex").u64(node.indexes.create);
        self.key("ModifyIndex").u64(node.indexes.modify);
        self.close_object();
    }

    /// The members of a node as the UI lists it, without the braces.
    pub fn node_head(&mut self, node: &Node) {
        self.key("ID").text(node.id.as_deref().unwrap_or_default());
        self.key("Node").text(&node.name);
        self.key("Address").text(&node.address);
        self.key("TaggedAddresses").maybe_pairs(node.tagged_addresses.as_ref());
        self.key("Meta").maybe_pairs(node.meta.as_ref());
    }

    /// A service of a node: `/v1/catalog/node`, `/v1/health/service`, the UI.
    pub fn node_service(&mut self, service: &Service, show: Show<'_>) {
        self.open_object();
        self.optional("Kind", &service.kind);
        self.key("ID").text(&service.id);
        self.key("Service").text(&service.name);
        self.key("Tags").tags(&service.tags, show);
        self.key("Address").text(&service.address);
        if !service.tagged_addresses.is_empty() {
            self.key("TaggedAddresses").tagged_addresses(&service.tagged_addresses);
        }
        self.key("Meta").maybe_pairs(service.meta.as_ref());
        self.key("Port").u64(service.port.into());
        self.endpoints(service);
        self.key("Weights").weights(service);
        self.key("EnableTagOverride").bool(service.enable_tag_override);
        self.key("Proxy").proxy(service.proxy.as_deref(), false);
        self.key("Connect").connect(service);
        self.namespace(show);
        self.key("CreateIndex").u64(service.indexes.create);
        self.key("ModifyIndex").u64(service.indexes.modify);
        self.close_object();
    }

    /// A service with its node, side by side: `/v1/catalog/service`.
    pub fn service_node(&mut self, node: &Node, service: &Service, show: Show<'_>) {
        self.open_object();
        self.key("ID").text(node.id.as_deref().unwrap_or_default());
        self.key("Node").text(&node.name);
        self.key("Address").text(&node.address);
        self.key("Datacenter").text(&node.datacenter);
        self.key("TaggedAddresses").maybe_pairs(node.tagged_addresses.as_ref());
        self.key("NodeMeta").maybe_pairs(node.meta.as_ref());
        self.key("ServiceKind").text(&service.kind);
        self.key("ServiceID").text(&service.id);
        self.key("ServiceName").text(&service.name);
        self.key("ServiceTags").texts(&service.tags);
        self.key("ServiceAddress").text(&service.address);
        if !service.tagged_addresses.is_empty() {
            self.key("ServiceTaggedAddresses").tagged_addresses(&service.tagged_addresses);
        }
        self.key("ServiceWeights").weights(service);
        self.key("ServiceMeta");
        match &service.meta {
            Some(meta) => self.pairs(meta),
            None => self.pairs::<&str, &str>([]),
        }
        self.key("ServicePort").u64(service.port.into());
        if !service.ports.is_empty() {
            self.key("ServicePorts").open_array();
            for port in &service.ports {
                self.item().open_object();
                self.key("Name").text(&port.name);
                self.key("Port").u64(port.port.into());
                self.key("Default").bool(port.default);
                self.close_object();
            }
            self.close_array();
        }
        self.optional("ServiceSocketPath", &service.socket_path);
        self.key("ServiceEnableTagOverride").bool(service.enable_tag_override);
        self.key("ServiceProxy").proxy(service.proxy.as_deref(), false);
        self.key("ServiceConnect").connect(service);
        self.namespace(show);
        self.key("CreateIndex").u64(service.indexes.create);
        self.key("ModifyIndex").u64(service.indexes.modify);
        self.close_object();
    }

    /// A check.
    pub fn check(&mut self, check: &Check, show: Show<'_>) {
        self.open_object();
        self.key("Node").text(&check.node);
        self.key("CheckID").text(&check.id);
        self.key("Name").text(&check.name);
        self.key("Status").text(check.status.as_str());
        self.key("Notes").text(&check.notes);
        self.key("Output").text(&check.output);
        self.key("ServiceID").text(&check.service_id);
        self.key("ServiceName").text(&check.service_name);
        self.key("ServiceTags").tags(&check.service_tags, show);
        self.key("Type").text(&check.kind);
        self.namespace(show);
        self.key("Definition").check_spec(check.definition.as_deref());
        self.key("CreateIndex").u64(check.indexes.create);
        self.key("ModifyIndex").u64(check.indexes.modify);
        self.close_object();
    }

    fn check_spec(&mut self, spec: Option<&CheckSpec>) {
        self.open_object();
        if let Some(spec) = spec {
            for (name, duration) in [
                ("Interval", spec.interval),
                ("Timeout", spec.timeout),
                ("DeregisterCriticalServiceAfter", spec.deregister_critical_service_after),
            ] {
                if !duration.is_zero() {
                    self.key(name).text(&duration::format(duration));
                }
            }
            self.optional("HTTP", &spec.http);
            if spec.tls_skip_verify {
                self.key("TLSSkipVerify").bool(true);
            }
            if !spec.header.is_empty() {
                self.key("Header").open_object();
                for (name, values) in &spec.header {
                    self.key_text(name).texts(values);
                }
                self.close_object();
            }
            self.optional("Method", &spec.method);
            self.optional("Body", &spec.body);
            self.optional("TCP", &spec.tcp);
        }
        self.close_object();
    }

    /// An instance with its node and checks: `/v1/health/service`.
    pub fn instance(&mut self, instance: &Instance, show: Show<'_>) {
        self.open_object();
        self.key("Node").node(&instance.node);
        self.key("Service").node_service(&instance.service, show);
        self.key("Checks").open_array();
        for check in instance.checks.iter() {
            self.item().check(check, show);
        }
        self.close_array();
        self.close_object();
    }

    /// A key with its value.
    pub fn kv(&mut self, entry: &KvEntry, show: Show<'_>) {
        self.open_object();
        self.key("LockIndex").u64(entry.lock_index);
        self.key("Key").text(&entry.key);
        self.key("Flags").u64(entry.flags);
        self.key("Value");
        if entry.value.is_empty() {
            self.null();
        } else {
            self.base64(&entry.value);
        }
        if let Some(session) = &entry.session {
            self.key("Session").text(session);
        }
        self.namespace(show);
        self.key("CreateIndex").u64(entry.indexes.create);
        self.key("ModifyIndex").u64(entry.indexes.modify);
        self.close_object();
    }

    /// A session.
    pub fn session(&mut self, session: &Session, show: Show<'_>) {
        self.open_object();
        self.key("ID").text(&session.id);
        self.key("Name").text(&session.name);
        self.key("Node").text(&session.node);
        self.key("LockDelay").u64(u64::try_from(session.lock_delay.as_nanos()).unwrap_or(u64::MAX));
        self.key("Behavior").text(session.behavior.as_str());
        self.key("TTL").text(&session.ttl_text);
        self.key("NodeChecks").texts(&session.node_checks);
        self.key("ServiceChecks");
        if session.service_checks.is_empty() {
            self.null();
        } else {
            self.open_array();
            for check in &session.service_checks {
                self.item().open_object();
                self.key("ID").text(&check.id);
                self.key("Namespace").text(&check.namespace);
                self.close_object();
            }
            self.close_array();
        }
        self.namespace(show);
        if !session.checks.is_empty() {
            self.key("Checks").texts(&session.checks);
        }
        self.key("CreateIndex").u64(session.indexes.create);
        self.key("ModifyIndex").u64(session.indexes.modify);
        self.close_object();
    }

    /// Bytes as a string in base64.
    pub(crate) fn base64(&mut self, bytes: &[u8]) {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        self.out.push(b'"');
        let at = self.out.len();
        // Four characters for every three bytes begun.
        self.out.resize(at + bytes.len().div_ceil(3) * 4, 0);
        let written = self.out.get_mut(at..).and_then(|room| engine.encode_slice(bytes, room).ok()).unwrap_or(0);
        self.out.truncate(at + written);
        self.out.push(b'"');
    }
}
