//! What the tables hold.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Shared text: a name is stored once and handed out by reference count.
pub type Str = Arc<str>;

/// Partition and namespace: part of every key from the first day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenancy {
    /// Admin partition.
    pub partition: Str,
    /// Namespace.
    pub namespace: Str,
}

impl Default for Tenancy {
    /// `default`, `default`.
    fn default() -> Self {
        Self { partition: "default".into(), namespace: "default".into() }
    }
}

/// The two indexes of a row: log index of its creation and of its last change. 0 in rows not yet applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexes {
    /// Log index of the creation.
    pub create: u64,
    /// Log index of the last change.
    pub modify: u64,
}

/// Health of a check, a service or a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// `passing`
    Passing,
    /// `warning`
    Warning,
    /// `critical`, and the default of a new check.
    #[default]
    Critical,
    /// Any other text: a definition file may hold one (GitLab writes `failing`); it counts as not critical
    /// in DNS, as in Consul, and is kept to the letter.
    Other(Str),
}

impl Status {
    /// As users see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Other(s) => s,
        }
    }

    /// Any text is a status; the three known ones get their own variant.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match text {
            "passing" => Self::Passing,
            "warning" => Self::Warning,
            "critical" => Self::Critical,
            other => Self::Other(other.into()),
        }
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// UUID text; may be empty for external nodes.
    pub id: Option<Str>,
    /// Unique in its partition, compared without case.
    pub name: Str,
    /// Admin partition.
    pub partition: Str,
    /// IP address, or a host name for external nodes.
    pub address: Str,
    /// Datacenter.
    pub datacenter: Str,
    /// `lan`, `wan`, `lan_ipv4`, ...; `None` where the registration gave none.
    pub tagged_addresses: Option<BTreeMap<Str, Str>>,
    /// Node meta; `None` where the registration gave none.
    pub meta: Option<BTreeMap<Str, Str>>,
    /// Log indexes.
    pub indexes: Indexes,
}

/// An instance of a service on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Empty for a typical service.
    pub kind: Str,
    /// Unique on its node and namespace.
    pub id: Str,
    /// What it is found by; compared without case in DNS.
    pub name: Str,
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// In the order given.
    pub tags: Vec<Str>,
    /// Empty: the node's.
    pub address: Str,
    /// By tag.
    pub tagged_addresses: BTreeMap<Str, TaggedAddress>,
    /// `None` where the registration gave none (shown as `null` in some answers).
    pub meta: Option<BTreeMap<Str, Str>>,
    /// 0: none.
    pub port: u16,
    /// Several named ports instead of one.
    pub ports: Vec<NamedPort>,
    /// Unix socket instead of address and port.
    pub socket_path: Str,
    /// SRV weight while passing.
    pub weight_passing: u32,
    /// SRV weight while warning.
    pub weight_warning: u32,
    /// Tags may be changed through the catalog.
    pub enable_tag_override: bool,
    /// Proxy configuration.
    pub proxy: Option<Arc<Proxy>>,
    /// Speaks the mesh protocol itself.
    pub connect_native: bool,
    /// Log indexes.
    pub indexes: Indexes,
}

/// An address with its own port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedAddress {
    /// IP or host name.
    pub address: Str,
    /// Port.
    pub port: u16,
}

/// One of several ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPort {
    /// Unique in the service.
    pub name: Str,
    /// Port.
    pub port: u16,
    /// The one used where a client knows only one.
    pub default: bool,
}

/// Proxy configuration; free-form parts are JSON text, empty for absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// The service it stands for.
    pub destination_service_name: Str,
    /// The instance it stands for.
    pub destination_service_id: Str,
    /// Where that instance listens.
    pub local_service_address: Str,
    /// Where that instance listens.
    pub local_service_port: u16,
    /// JSON object.
    pub config: Str,
    /// JSON array.
    pub upstreams: Str,
    /// JSON object.
    pub mesh_gateway: Str,
    /// JSON object.
    pub expose: Str,
    /// `direct`, `transparent` or empty.
    pub mode: Str,
}

/// A check of a node or of a service on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the node.
    pub node: Str,
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// Unique on its node and namespace.
    pub id: Str,
    /// For people.
    pub name: Str,
    /// Health.
    pub status: Status,
    /// For people.
    pub notes: Str,
    /// Of the last run.
    pub output: Str,
    /// Empty: a check of the node.
    pub service_id: Str,
    /// Filled from the service at apply.
    pub service_name: Str,
    /// Filled from the service at apply.
    pub service_tags: Vec<Str>,
    /// `ttl`, `http`, `script`, ... ; empty where unknown.
    pub kind: Str,
    /// What an external monitor should probe (catalog registrations only).
    pub definition: Option<Arc<CheckSpec>>,
    /// Log indexes.
    pub indexes: Indexes,
}

/// The `Definition` of a check that was registered straight with the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// URL.
    pub http: Str,
    /// Verification off.
    pub tls_skip_verify: bool,
    /// Request headers.
    pub header: BTreeMap<Str, Vec<Str>>,
    /// Request method.
    pub method: Str,
    /// Request body.
    pub body: Str,
    /// `host:port`.
    pub tcp: Str,
    /// Between runs.
    pub interval: Duration,
    /// Of one run.
    pub timeout: Duration,
    /// Then deregister.
    pub deregister_critical_service_after: Duration,
}

/// A key and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// At most 512 bytes by default configuration of clients; any UTF-8.
    pub key: Str,
    /// Any bytes.
    pub value: Arc<[u8]>,
    /// Opaque to the store.
    pub flags: u64,
    /// Times a lock was taken.
    pub lock_index: u64,
    /// Session that holds the lock, if any.
    pub session: Option<Str>,
    /// Log indexes.
    pub indexes: Indexes,
}
