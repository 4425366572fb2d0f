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

/// A service as registered with an agent. Field meanings are Consul's; absent is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceDefinition {
    /// Empty for a typical service; `connect-proxy`, `mesh-gateway`, `terminating-gateway`, `ingress-gateway`, ...
    pub kind: String,
    /// Unique on the agent; empty means `name`.
    pub id: String,
    /// What it is found by.
    pub name: String,
    /// In the order given.
    pub tags: Vec<String>,
    /// Empty means the node's address.
    pub address: String,
    /// `lan`, `wan`, `lan_ipv4`, ... to address and port.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Free pairs. At most 64, keys at most 128 characters of `[A-Za-z0-9_-]`, values at most 512.
    pub meta: BTreeMap<String, String>,
    /// 0 to 65,535; 0 means none.
    pub port: u16,
    /// Several named ports instead of `port`.
    pub ports: Vec<ServicePort>,
    /// A unix socket instead of address and port.
    pub socket_path: String,
    /// The single `check` and the list `checks`, in that order.
    pub checks: Vec<CheckDefinition>,
    /// SRV weights by health. `None`: 1 and 1.
    pub weights: Option<Weights>,
    /// ACL token used for this registration.
    pub token: String,
    /// Others may change the tags through the catalog.
    pub enable_tag_override: bool,
    /// Proxy configuration of the proxy kinds.
    pub proxy: Option<Proxy>,
    /// Mesh options.
    pub connect: Option<Connect>,
    /// Empty means `default`.
    pub namespace: String,
    /// Empty means `default`.
    pub partition: String,
}

/// An address with a port of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// 0 to 65,535.
    pub port: u16,
}

/// One of several named ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Connect {
    /// The service speaks the mesh protocol itself.
    pub native: bool,
    /// JSON object of the `sidecar_service` to be registered along, or empty.
    pub sidecar_service: String,
}

/// A check as registered with an agent. Exactly one kind of probe is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// Unique on the agent; empty means derived (`service:<id>[:n]` or the name).
    pub id: String,
    /// Empty means derived.
    pub name: String,
    /// Shown to people.
    pub notes: String,
    /// The service it belongs to; empty: the node.
    pub service_id: String,
    /// Initial status. Files may hold any text here; the HTTP API refuses what is not a status.
    pub status: String,
    /// ACL token used for this registration.
    pub token: String,
    /// Between two runs.
    pub interval: Duration,
    /// Of one run; zero: the kind's default.
    pub timeout: Duration,
    /// Program and arguments.
    pub args: Vec<String>,
    /// URL.
    pub http: String,
    /// Request method; empty means GET.
    pub method: String,
    /// Request headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// Request body.
    pub body: String,
    /// Answer of a redirect is taken as it is.
    pub disable_redirects: bool,
    /// Bytes of output kept; 0: the agent's default.
    pub output_max_size: u64,
    /// `host:port`.
    pub tcp: String,
    /// TLS handshake after connecting.
    pub tcp_use_tls: bool,
    /// `host:port`.
    pub udp: String,
    /// `host:port[/service]`.
    pub grpc: String,
    /// gRPC over TLS.
    pub grpc_use_tls: bool,
    /// `host:port`.
    pub h2ping: String,
    /// HTTP/2 over TLS; `None` means yes.
    pub h2ping_use_tls: Option<bool>,
    /// Container to run `args` in.
    pub docker_container_id: String,
    /// Shell in the container.
    pub shell: String,
    /// Node to mirror; empty with `alias_service` means the own node.
    pub alias_node: String,
    /// Service id to mirror.
    pub alias_service: String,
    /// Unit of the system's service manager.
    pub os_service: String,
    /// Time without an update until critical.
    pub ttl: Duration,
    /// Server name for TLS.
    pub tls_server_name: String,
    /// No verification of the certificate.
    pub tls_skip_verify: bool,
    /// Passing results in a row before it is passing.
    pub success_before_passing: u32,
    /// Failing results in a row before it is warning. `None`: as `failures_before_critical`.
    pub failures_before_warning: Option<u32>,
    /// Failing results in a row before it is critical.
    pub failures_before_critical: u32,
    /// Critical for so long: the service is deregistered. Zero: never. At least one minute otherwise.
    pub deregister_critical_service_after: Duration,
    /// Empty means the service's.
    pub namespace: String,
    /// Empty means the service's.
    pub partition: String,
}
