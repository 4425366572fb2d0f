//! Service and check definitions as people write them, in files and over HTTP.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

mod decode;
pub mod proxy;
mod validate;

pub(crate) use decode::flatten;
pub use decode::{DefinitionError, Origin, decode_check, decode_service, decode_services_file};
pub use validate::validate_meta;

/// What a definition leaves open need not be written when it is kept: reading fills it in.
fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A service as registered with an agent. Field meanings are Consul's; absent is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceDefinition {
    /// Empty for a typical service; `connect-proxy`, `mesh-gateway`, `terminating-gateway`, `ingress-gateway`, ...
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// Unique on the agent; empty means `name`.
    #[serde(skip_serializing_if = "unset")]
    pub id: String,
    /// What it is found by.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// In the order given.
    #[serde(skip_serializing_if = "unset")]
    pub tags: Vec<String>,
    /// Empty means the node's address.
    #[serde(skip_serializing_if = "unset")]
    pub address: String,
    /// `lan`, `wan`, `lan_ipv4`, ... to address and port.
    #[serde(skip_serializing_if = "unset")]
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Free pairs. At most 64, keys at most 128 characters of `[A-Za-z0-9_-]`, values at most 512.
    #[serde(skip_serializing_if = "unset")]
    pub meta: BTreeMap<String, String>,
    /// 0 to 65,535; 0 means none.
    #[serde(skip_serializing_if = "unset")]
    pub port: u16,
    /// Several named ports instead of `port`.
    #[serde(skip_serializing_if = "unset")]
    pub ports: Vec<ServicePort>,
    /// A unix socket instead of address and port.
    #[serde(skip_serializing_if = "unset")]
    pub socket_path: String,
    /// The single `check` and the list `checks`, in that order.
    #[serde(skip_serializing_if = "unset")]
    pub checks: Vec<CheckDefinition>,
    /// SRV weights by health. `None`: 1 and 1.
    #[serde(skip_serializing_if = "unset")]
    pub weights: Option<Weights>,
    /// ACL token used for this registration.
    #[serde(skip_serializing_if = "unset")]
    pub token: String,
    /// Others may change the tags through the catalog.
    #[serde(skip_serializing_if = "unset")]
    pub enable_tag_override: bool,
    /// Proxy configuration of the proxy kinds.
    #[serde(skip_serializing_if = "unset")]
    pub proxy: Option<Proxy>,
    /// Mesh options.
    #[serde(skip_serializing_if = "unset")]
    pub connect: Option<Connect>,
    /// Empty means `default`.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Empty means `default`.
    #[serde(skip_serializing_if = "unset")]
    pub partition: String,
}

/// An address with a port of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// 0 to 65,535.
    pub port: u16,
}

/// One of several named ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Unique within the service.
    pub name: String,
    /// 1 to 65,535.
    pub port: u16,
    /// At most one.
    pub default: bool,
}

/// SRV weights by health. 0 to 65,535 each; passing at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// While passing.
    pub passing: u32,
    /// While warning.
    pub warning: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// Proxy configuration. Free-form parts are kept as JSON text, so that they come out as they went in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// The service it stands for.
    pub destination_service_name: String,
    /// The instance it stands for.
    pub destination_service_id: String,
    /// Where that instance listens.
    pub local_service_address: String,
    /// Where that instance listens.
    pub local_service_port: u16,
    /// JSON object, or empty.
    pub config: String,
    /// JSON array with members in Consul's spelling, empty ones left out; or empty.
    pub upstreams: String,
    /// The same, an object.
    pub mesh_gateway: String,
    /// The same.
    pub expose: String,
    /// `direct`, `transparent` or empty.
    pub mode: String,
}

/// Mesh options of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// The service speaks the mesh protocol itself.
    pub native: bool,
    /// JSON object of the `sidecar_service` to be registered along, or empty.
    pub sidecar_service: String,
}

/// A check as registered with an agent. Exactly one kind of probe is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckDefinition {
    /// Unique on the agent; empty means derived (`service:<id>[:n]` or the name).
    #[serde(skip_serializing_if = "unset")]
    pub id: String,
    /// Empty means derived.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// Shown to people.
    #[serde(skip_serializing_if = "unset")]
    pub notes: String,
    /// The service it belongs to; empty: the node.
    #[serde(skip_serializing_if = "unset")]
    pub service_id: String,
    /// Initial status. Files may hold any text here; the HTTP API refuses what is not a status.
    #[serde(skip_serializing_if = "unset")]
    pub status: String,
    /// ACL token used for this registration.
    #[serde(skip_serializing_if = "unset")]
    pub token: String,
    /// Between two runs.
    #[serde(skip_serializing_if = "unset")]
    pub interval: Duration,
    /// Of one run; zero: the kind's default.
    #[serde(skip_serializing_if = "unset")]
    pub timeout: Duration,
    /// Program and arguments.
    #[serde(skip_serializing_if = "unset")]
    pub args: Vec<String>,
    /// URL.
    #[serde(skip_serializing_if = "unset")]
    pub http: String,
    /// Request method; empty means GET.
    #[serde(skip_serializing_if = "unset")]
    pub method: String,
    /// Request headers.
    #[serde(skip_serializing_if = "unset")]
    pub header: BTreeMap<String, Vec<String>>,
    /// Request body.
    #[serde(skip_serializing_if = "unset")]
    pub body: String,
    /// Answer of a redirect is taken as it is.
    #[serde(skip_serializing_if = "unset")]
    pub disable_redirects: bool,
    /// Bytes of output kept; 0: the agent's default.
    #[serde(skip_serializing_if = "unset")]
    pub output_max_size: u64,
    /// `host:port`.
    #[serde(skip_serializing_if = "unset")]
    pub tcp: String,
    /// TLS handshake after connecting.
    #[serde(skip_serializing_if = "unset")]
    pub tcp_use_tls: bool,
    /// `host:port`.
    #[serde(skip_serializing_if = "unset")]
    pub udp: String,
    /// `host:port[/service]`.
    #[serde(skip_serializing_if = "unset")]
    pub grpc: String,
    /// gRPC over TLS.
    #[serde(skip_serializing_if = "unset")]
    pub grpc_use_tls: bool,
    /// `host:port`.
    #[serde(skip_serializing_if = "unset")]
    pub h2ping: String,
    /// HTTP/2 over TLS; `None` means yes.
    #[serde(skip_serializing_if = "unset")]
    pub h2ping_use_tls: Option<bool>,
    /// Container to run `args` in.
    #[serde(skip_serializing_if = "unset")]
    pub docker_container_id: String,
    /// Shell in the container.
    #[serde(skip_serializing_if = "unset")]
    pub shell: String,
    /// Node to mirror; empty with `alias_service` means the own node.
    #[serde(skip_serializing_if = "unset")]
    pub alias_node: String,
    /// Service id to mirror.
    #[serde(skip_serializing_if = "unset")]
    pub alias_service: String,
    /// Unit of the system's service manager.
    #[serde(skip_serializing_if = "unset")]
    pub os_service: String,
    /// Time without an update until critical.
    #[serde(skip_serializing_if = "unset")]
    pub ttl: Duration,
    /// Server name for TLS.
    #[serde(skip_serializing_if = "unset")]
    pub tls_server_name: String,
    /// No verification of the certificate.
    #[serde(skip_serializing_if = "unset")]
    pub tls_skip_verify: bool,
    /// Passing results in a row before it is passing.
    #[serde(skip_serializing_if = "unset")]
    pub success_before_passing: u32,
    /// Failing results in a row before it is warning. `None`: as `failures_before_critical`.
    #[serde(skip_serializing_if = "unset")]
    pub failures_before_warning: Option<u32>,
    /// Failing results in a row before it is critical.
    #[serde(skip_serializing_if = "unset")]
    pub failures_before_critical: u32,
    /// Critical for so long: the service is deregistered. Zero: never. At least one minute otherwise.
    #[serde(skip_serializing_if = "unset")]
    pub deregister_critical_service_after: Duration,
    /// Empty means the service's.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: String,
    /// Empty means the service's.
    #[serde(skip_serializing_if = "unset")]
    pub partition: String,
}
