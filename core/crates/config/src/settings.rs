//! The parts of [`crate::Config`], each with Consul's defaults.

mod security;

pub use security::{AclConfig, AclTokens, DownPolicy, TlsConfig, TlsListener, TlsVersion};

use crate::net::{Cidr, ListenAddr};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

/// Where a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Free text; empty: unknown.
    pub region: String,
    /// Free text; empty: unknown.
    pub zone: String,
}

/// Where each client protocol listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// IP addresses only.
    pub dns: Vec<ListenAddr>,
    /// Plain HTTP.
    pub http: Vec<ListenAddr>,
    /// HTTP over TLS.
    pub https: Vec<ListenAddr>,
    /// Plain gRPC.
    pub grpc: Vec<ListenAddr>,
    /// gRPC over TLS.
    pub grpc_tls: Vec<ListenAddr>,
}

impl Default for Addresses {
    fn default() -> Self {
        let local = vec![ListenAddr::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        Self { dns: local.clone(), http: local.clone(), https: local.clone(), grpc: local.clone(), grpc_tls: local }
    }
}

/// Ports; `None` is off, written `-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// UDP and TCP.
    pub dns: Option<u16>,
    /// Plain HTTP.
    pub http: Option<u16>,
    /// HTTP over TLS.
    pub https: Option<u16>,
    /// Plain gRPC.
    pub grpc: Option<u16>,
    /// gRPC over TLS.
    pub grpc_tls: Option<u16>,
    /// Gossip in the datacenter, UDP and TCP.
    pub serf_lan: Option<u16>,
    /// Gossip between datacenters, UDP and TCP.
    pub serf_wan: Option<u16>,
    /// Between servers, and from clients to servers.
    pub server: Option<u16>,
    /// First port given to sidecar proxies.
    pub sidecar_min_port: u16,
    /// Last one.
    pub sidecar_max_port: u16,
    /// First port given to exposed checks.
    pub expose_min_port: u16,
    /// Last one.
    pub expose_max_port: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            dns: Some(8600),
            http: Some(8500),
            https: None,
            grpc: None,
            grpc_tls: None,
            serf_lan: Some(8301),
            serf_wan: Some(8302),
            server: Some(8300),
            sidecar_min_port: 21_000,
            sidecar_max_port: 21_255,
            expose_min_port: 21_500,
            expose_max_port: 21_755,
        }
    }
}

/// Owner and mode of unix sockets; empty means as created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSockets {
    /// User id (a number) or name.
    pub user: String,
    /// Group id (a number) or name.
    pub group: String,
    /// Octal, e.g. `0770`.
    pub mode: String,
}

/// `dns_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Any server answers, not the leader alone.
    pub allow_stale: bool,
    /// Unless it is staler than this.
    pub max_stale: Duration,
    /// TTL of node answers.
    pub node_ttl: Duration,
    /// TTL by service: a name, a prefix ending in `*`, or `*`. The longest match wins.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Set TC on answers that were cut.
    pub enable_truncate: bool,
    /// Hide instances in warning, too.
    pub only_passing: bool,
    /// The order in which recursors are asked.
    pub recursor_strategy: RecursorStrategy,
    /// For one recursor.
    pub recursor_timeout: Duration,
    /// No name compression.
    pub disable_compression: bool,
    /// Answers over UDP to those without EDNS; at least 1.
    pub udp_answer_limit: u32,
    /// A and AAAA records in any answer; 0: no limit.
    pub a_record_limit: u32,
    /// TXT records of node metadata in the additional section of SRV and node answers.
    pub enable_additional_node_meta_txt: bool,
    /// The SOA record.
    pub soa: SoaConfig,
    /// Answer from the agent's cache.
    pub use_cache: bool,
    /// Unless it is older than this.
    pub cache_max_age: Duration,
    /// `name.namespace` rather than `name.datacenter` in short names.
    pub prefer_namespace: bool,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            allow_stale: true,
            max_stale: Duration::from_secs(87_600 * 3600),
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            enable_truncate: false,
            only_passing: false,
            recursor_strategy: RecursorStrategy::Sequential,
            recursor_timeout: Duration::from_secs(2),
            disable_compression: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_additional_node_meta_txt: true,
            soa: SoaConfig::default(),
            use_cache: false,
            cache_max_age: Duration::ZERO,
            prefer_namespace: false,
        }
    }
}

impl DnsConfig {
    /// The TTL of `service`: an exact entry, else the longest prefix entry, else zero. Names compare without case.
    #[must_use]
    pub fn ttl_of(&self, service: &str) -> Duration {
        let service = service.to_ascii_lowercase();
        let mut best: Option<(usize, Duration)> = None;
        for (pattern, ttl) in &self.service_ttl {
            let pattern = pattern.to_ascii_lowercase();
            if pattern == service {
                return *ttl;
            }
            if let Some(prefix) = pattern.strip_suffix('*')
                && service.starts_with(prefix)
                && best.is_none_or(|(len, _)| len <= prefix.len())
            {
                best = Some((prefix.len(), *ttl));
            }
        }
        best.map_or(Duration::ZERO, |(_, ttl)| ttl)
    }
}

/// The order in which recursors are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecursorStrategy {
    /// As listed.
    #[default]
    Sequential,
    /// Any order, new for each question.
    Random,
}

/// The SOA record, RFC 1035 section 3.3.13. Seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoaConfig {
    /// REFRESH.
    pub refresh: u32,
    /// RETRY.
    pub retry: u32,
    /// EXPIRE.
    pub expire: u32,
    /// MINIMUM, which is the TTL of negative answers, RFC 2308 section 4.
    pub min_ttl: u32,
}

impl Default for SoaConfig {
    fn default() -> Self {
        Self { refresh: 3600, retry: 600, expire: 86_400, min_ttl: 0 }
    }
}

/// `http_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Path prefixes that answer 403.
    pub block_endpoints: Vec<String>,
    /// Added to every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Writes are taken from these networks only; empty: from everywhere.
    pub allow_write_http_from: Vec<Cidr>,
    /// `?cached` reads may use the agent's cache.
    pub use_cache: bool,
    /// Bytes of request headers; 0: the server's own bound.
    pub max_header_bytes: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            block_endpoints: Vec::new(),
            response_headers: BTreeMap::new(),
            allow_write_http_from: Vec::new(),
            use_cache: true,
            max_header_bytes: 0,
        }
    }
}

/// `ui_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UiConfig {
    /// Serve the UI.
    pub enabled: bool,
    /// From this folder instead of the built-in one; empty: built in.
    pub dir: String,
    /// Path prefix, with slashes at both ends.
    pub content_path: String,
    /// The rest of `ui_config` as a JSON object; empty: none.
    pub options: String,
}

impl Default for UiConfig {
    fn default() -> Self {
        Self { enabled: false, dir: String::new(), content_path: "/ui/".to_string(), options: String::new() }
    }
}

/// `limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open HTTP connections per client address; 0: no limit.
    pub http_max_conns_per_client: u32,
    /// TLS handshake on the HTTPS port.
    pub https_handshake_timeout: Duration,
    /// TLS handshake on the server port.
    pub rpc_handshake_timeout: Duration,
    /// A client's read from a server.
    pub rpc_client_timeout: Duration,
    /// Open connections per client address on the server port; 0: no limit.
    pub rpc_max_conns_per_client: u32,
    /// Requests a second that a client agent sends to servers; infinite: no limit.
    pub rpc_rate: f64,
    /// Burst of the above.
    pub rpc_max_burst: u32,
    /// Bytes of one KV value.
    pub kv_max_value_size: u64,
    /// Bytes of one transaction.
    pub txn_max_req_len: u64,
    /// Requests a second that a server takes.
    pub request_limits: RequestLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            http_max_conns_per_client: 200,
            https_handshake_timeout: Duration::from_secs(5),
            rpc_handshake_timeout: Duration::from_secs(5),
            rpc_client_timeout: Duration::from_secs(60),
            rpc_max_conns_per_client: 100,
            rpc_rate: f64::INFINITY,
            rpc_max_burst: 1000,
            kv_max_value_size: 512 * 1024,
            txn_max_req_len: 512 * 1024,
            request_limits: RequestLimits::default(),
        }
    }
}

/// `limits.request_limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestLimits {
    /// What happens at the limit.
    pub mode: LimitMode,
    /// Reads a second; infinite: no limit.
    pub read_rate: f64,
    /// Writes a second; infinite: no limit.
    pub write_rate: f64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { mode: LimitMode::Disabled, read_rate: f64::INFINITY, write_rate: f64::INFINITY }
    }
}

/// What happens at a rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    /// Nothing is counted.
    #[default]
    Disabled,
    /// Counted and logged.
    Permissive,
    /// Refused.
    Enforcing,
}

/// Whom to join, and how often to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryJoin {
    /// IP addresses, names (all their addresses) or `provider=...`, each with an optional port.
    pub addresses: Vec<String>,
    /// Between two rounds.
    pub interval: Duration,
    /// Rounds; 0: without end.
    pub max: u32,
}

impl Default for RetryJoin {
    fn default() -> Self {
        Self { addresses: Vec::new(), interval: Duration::from_secs(30), max: 0 }
    }
}

/// Gossip timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    /// Members told in one round.
    pub gossip_nodes: u32,
    /// Between two rounds.
    pub gossip_interval: Duration,
    /// Between two probes.
    pub probe_interval: Duration,
    /// For a direct answer.
    pub probe_timeout: Duration,
    /// Each broadcast is sent `retransmit_mult * log10(members + 1)` times.
    pub retransmit_mult: u32,
    /// A suspect has `suspicion_mult * log10(members + 1)` probe intervals to refute.
    pub suspicion_mult: u32,
}

impl Gossip {
    /// Defaults inside a datacenter.
    #[must_use]
    pub fn lan() -> Self {
        Self {
            gossip_nodes: 3,
            gossip_interval: Duration::from_millis(200),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            retransmit_mult: 4,
            suspicion_mult: 4,
        }
    }

    /// Defaults between datacenters.
    #[must_use]
    pub fn wan() -> Self {
        Self {
            gossip_nodes: 4,
            gossip_interval: Duration::from_millis(500),
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            retransmit_mult: 4,
            suspicion_mult: 6,
        }
    }
}

/// Consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// Only 3 is known.
    pub protocol: u32,
    /// Entries since the last snapshot that make a new one.
    pub snapshot_threshold: u64,
    /// Between two looks at that.
    pub snapshot_interval: Duration,
    /// Entries kept behind a snapshot for slow followers.
    pub trailing_logs: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            protocol: 3,
            snapshot_threshold: 16_384,
            snapshot_interval: Duration::from_secs(30),
            trailing_logs: 10_240,
        }
    }
}

/// Care for servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopilot {
    /// Dead servers leave when a new one joined.
    pub cleanup_dead_servers: bool,
    /// Silent for longer: unhealthy.
    pub last_contact_threshold: Duration,
    /// Entries behind by more: unhealthy.
    pub max_trailing_logs: u64,
    /// Never fewer voters than this through cleanup; 0: not set.
    pub min_quorum: u32,
    /// Healthy for so long before it votes.
    pub server_stabilization_time: Duration,
    /// Node metadata that names a server's zone; empty: none.
    pub redundancy_zone_tag: String,
    /// No migration to newer versions.
    pub disable_upgrade_migration: bool,
    /// Node metadata that names a server's version; empty: none.
    pub upgrade_version_tag: String,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
        }
    }
}

/// Timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performance {
    /// A leaving server keeps answering for so long.
    pub leave_drain_time: Duration,
    /// 1 to 10: stretches the times of consensus.
    pub raft_multiplier: u32,
    /// Requests wait so long for a leader.
    pub rpc_hold_timeout: Duration,
    /// Idle gRPC connections are probed after this.
    pub grpc_keepalive_interval: Duration,
    /// And closed after this.
    pub grpc_keepalive_timeout: Duration,
}

impl Default for Performance {
    fn default() -> Self {
        Self {
            leave_drain_time: Duration::from_secs(5),
            raft_multiplier: 5,
            rpc_hold_timeout: Duration::from_secs(7),
            grpc_keepalive_interval: Duration::from_secs(30),
            grpc_keepalive_timeout: Duration::from_secs(20),
        }
    }
}

/// The client agent's cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Fetches a second of one entry; infinite: no limit.
    pub entry_fetch_rate: f64,
    /// Burst of the above.
    pub entry_fetch_max_burst: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { entry_fetch_rate: f64::INFINITY, entry_fetch_max_burst: 2 }
    }
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least level.
    pub level: LogLevel,
    /// One JSON object a line.
    pub json: bool,
    /// Also to this file; empty: none. A trailing slash: a folder.
    pub file: String,
    /// A new file after this.
    pub rotate_duration: Duration,
    /// A new file after so many bytes; 0: not by size.
    pub rotate_bytes: u64,
    /// Old files kept: 0 all, -1 none.
    pub rotate_max_files: i64,
    /// Also to syslog.
    pub enable_syslog: bool,
    /// `LOCAL0`, `DAEMON`, ...
    pub syslog_facility: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            json: false,
            file: String::new(),
            rotate_duration: Duration::from_secs(24 * 3600),
            rotate_bytes: 0,
            rotate_max_files: 0,
            enable_syslog: false,
            syslog_facility: "LOCAL0".to_string(),
        }
    }
}

/// Log levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For finding faults.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
}

impl LogLevel {
    /// Reads a level without regard to case; `ERR` is `ERROR`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" => Self::Warn,
            "ERR" | "ERROR" => Self::Error,
            _ => return None,
        })
    }

    /// Upper case, as Consul shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// Metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// No host name in gauge names.
    pub disable_hostname: bool,
    /// First part of every name.
    pub metrics_prefix: String,
    /// Whether names that no prefix decides on are kept.
    pub filter_default: bool,
    /// Name prefixes kept.
    pub allowed_prefixes: Vec<String>,
    /// Name prefixes dropped.
    pub blocked_prefixes: Vec<String>,
    /// How long a value is shown in Prometheus form; zero: that form is off.
    pub prometheus_retention_time: Duration,
    /// `host:port`; empty: off.
    pub statsd_address: String,
    /// `host:port`; empty: off.
    pub statsite_address: String,
    /// `host:port`; empty: off.
    pub dogstatsd_addr: String,
    /// Added to each of those.
    pub dogstatsd_tags: Vec<String>,
    /// Metrics of the machine, too.
    pub enable_host_metrics: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            disable_hostname: false,
            metrics_prefix: "consul".to_string(),
            filter_default: true,
            allowed_prefixes: Vec::new(),
            blocked_prefixes: Vec::new(),
            prometheus_retention_time: Duration::ZERO,
            statsd_address: String::new(),
            statsite_address: String::new(),
            dogstatsd_addr: String::new(),
            dogstatsd_tags: Vec::new(),
            enable_host_metrics: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_ttl_takes_the_longest_match() {
        let mut dns = DnsConfig::default();
        assert_eq!(dns.ttl_of("web"), Duration::ZERO);
        for (pattern, secs) in [("*", 5), ("db", 20), ("web-*", 7), ("web-onet*", 8)] {
            dns.service_ttl.insert(pattern.to_string(), Duration::from_secs(secs));
        }
        for (name, secs) in [("x", 5), ("db", 20), ("DB", 20), ("dbx", 5), ("web-1", 7), ("web-onetwo", 8), ("web", 5)]
        {
            assert_eq!(dns.ttl_of(name), Duration::from_secs(secs), "{name}");
        }
    }
}
