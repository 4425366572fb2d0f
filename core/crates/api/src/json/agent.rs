//! What the agent holds itself, as `/v1/agent/...` shows it.

use alloc::string::ToString as _;

use convoke_catalog::model::{Check, Service};

use super::Json;
use super::rows::Show;
use crate::agent_view::Member;

/// The numbers of Serf's protocol and of what Consul puts on it, as Consul shows them of any member.
pub(crate) const PROTOCOLS: [(&str, u64); 6] = [
    ("ProtocolMin", 1),
    ("ProtocolMax", 5),
    ("ProtocolCur", 2),
    ("DelegateMin", 2),
    ("DelegateMax", 5),
    ("DelegateCur", 4),
];

impl Json {
    /// A service of this agent. `hash` is its content hash, where that is shown.
    pub fn agent_service(&mut self, service: &Service, hash: Option<&str>, show: Show<'_>) {
        self.open_object();
        if !service.kind.is_empty() {
            self.key("Kind").text(&service.kind);
        }
        self.key("ID").text(&service.id);
        self.key("Service").text(&service.name);
        self.key("Tags").texts(&service.tags);
        self.key("Meta");
        match &service.meta {
            Some(meta) => self.pairs(meta),
            None => self.pairs::<&str, &str>([]),
        }
        self.key("Port").u64(service.port.into());
        self.endpoints(service);
        self.key("Address").text(&service.address);
        if !service.tagged_addresses.is_empty() {
            self.key("TaggedAddresses").tagged_addresses(&service.tagged_addresses);
        }
        self.key("Weights").weights(service);
        self.key("EnableTagOverride").bool(service.enable_tag_override);
        if let Some(hash) = hash {
            self.key("ContentHash").text(hash);
        }
        if service.kind.ends_with("-proxy") || service.kind.ends_with("-gateway") {
            self.key("Proxy").proxy(service.proxy.as_deref(), true);
        }
        if service.connect_native {
            self.key("Connect").open_object();
            self.key("Native").bool(true);
            self.close_object();
        }
        if let Some(namespace) = show.namespace {
            self.key("Namespace").text(namespace);
        }
        self.close_object();
    }

    /// A check as the health endpoints of the agent show it: without its type, with an empty definition written out.
    pub fn agent_health_check(&mut self, check: &Check) {
        self.open_object();
        self.key("Node").text(&check.node);
        self.key("CheckID").text(&check.id);
        self.key("Name").text(&check.name);
        self.key("Status").text(check.status.as_str());
        self.key("Notes").text(&check.notes);
        self.key("Output").text(&check.output);
        self.key("ServiceID").text(&check.service_id);
        self.key("ServiceName").text(&check.service_name);
        self.key("ServiceTags");
        if check.service_tags.is_empty() {
            self.null();
        } else {
            self.texts(&check.service_tags);
        }
        self.key("Type").text("");
        self.key("Definition").open_object();
        for name in ["Interval", "Timeout", "DeregisterCriticalServiceAfter"] {
            self.key(name).text("0s");
        }
        self.key("HTTP").text("");
        self.key("Header").null();
        self.key("Method").text("");
        self.key("Body").text("");
        self.key("TLSSkipVerify").bool(false);
        self.key("TCP").text("");
        self.close_object();
        self.key("CreateIndex").u64(check.indexes.create);
        self.key("ModifyIndex").u64(check.indexes.modify);
        self.close_object();
    }

    /// A member of the pool.
    pub fn member(&mut self, member: &Member<'_>) {
        self.open_object();
        self.key("Name").text(member.name());
        self.key("Addr").text(&member.ip().to_string());
        self.key("Port").u64(member.port().into());
        self.key("Tags").pairs(member.tags().iter());
        self.key("Status").u64(member.status as u64);
        for (name, value) in PROTOCOLS {
            self.key(name).u64(value);
        }
        self.close_object();
    }
}
