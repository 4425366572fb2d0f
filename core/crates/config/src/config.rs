//! The validated configuration: every value the agent uses, typed, in range, with addresses resolved.

use crate::definition::{CheckDefinition, ServiceDefinition};
use crate::net::{Cidr, ListenAddr};
pub use crate::settings::*;
use crate::watch::WatchDefinition;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

/// What an agent runs with.
///
/// [`Config::default`] is Consul's default for a client agent without any file or flag; it differs from a loaded one in
/// that `node_name`, `data_dir` and `advertise_addr` still have no sensible value. Use [`crate::load`] for a usable one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    // ---- identity -------------------------------------------------------------------------------------------------
    /// `[a-zA-Z0-9_-]+`, lower case.
    pub datacenter: String,
    /// Where ACLs, intentions and config entries are mastered; equals `datacenter` unless set.
    pub primary_datacenter: String,
    /// Free text without control characters; the host name unless set. Not every name is a DNS name.
    pub node_name: String,
    /// A UUID, lower case; empty: the agent makes one and keeps it in `data_dir/node-id`.
    pub node_id: String,
    /// Do not derive the node id from the machine.
    pub disable_host_node_id: bool,
    /// Free pairs. At most 64, keys at most 128 characters of `[A-Za-z0-9_-]` and not `consul-...`, values at most 512.
    pub node_meta: BTreeMap<String, String>,
    /// Admin partition of this agent; empty means `default`.
    pub partition: String,
    /// Where the node stands.
    pub locality: Locality,

    // ---- role -----------------------------------------------------------------------------------------------------
    /// Takes part in consensus.
    pub server: bool,
    /// A single server that elects itself.
    pub bootstrap: bool,
    /// Elect once so many servers are known; 0: not set.
    pub bootstrap_expect: u32,
    /// `-dev`: a server in memory, alone, on loopback.
    pub dev_mode: bool,
    /// Server without a vote.
    pub read_replica: bool,
    /// Network segment; empty is the default one.
    pub segment: String,

    // ---- addresses ------------------------------------------------------------------------------------------------
    /// Where cluster traffic listens. Unspecified means every interface.
    pub bind_addr: IpAddr,
    /// What the others in the datacenter are told. Never unspecified in a loaded configuration.
    pub advertise_addr: IpAddr,
    /// What other datacenters are told.
    pub advertise_addr_wan: IpAddr,
    /// The node's addresses by kind: `lan`, `wan`, `lan_ipv4`, `wan_ipv6`, ...
    pub tagged_addresses: BTreeMap<String, String>,
    /// Gossip inside the datacenter listens here.
    pub serf_lan: SocketAddr,
    /// Gossip between datacenters listens here; `None`: off.
    pub serf_wan: Option<SocketAddr>,
    /// Gossip is taken from these networks only; empty: from everywhere.
    pub serf_lan_allowed_cidrs: Vec<Cidr>,
    /// As above, between datacenters.
    pub serf_wan_allowed_cidrs: Vec<Cidr>,
    /// Where client listeners open unless `addresses` says otherwise.
    pub client_addrs: Vec<ListenAddr>,
    /// Per protocol; in a loaded configuration never empty (filled from `client_addrs`).
    pub addresses: Addresses,
    /// `None` is off (`-1`).
    pub ports: Ports,
    /// Owner and mode of unix sockets.
    pub unix_sockets: UnixSockets,
    /// Answer with the `wan` address to callers of another datacenter.
    pub translate_wan_addrs: bool,

    // ---- files ----------------------------------------------------------------------------------------------------
    /// Where state is kept; empty only in `dev_mode`.
    pub data_dir: String,
    /// File that receives the process id; empty: none.
    pub pid_file: String,
    /// Reload by itself when a file changes.
    pub auto_reload_config: bool,

    // ---- DNS ------------------------------------------------------------------------------------------------------
    /// Lower case, with a trailing dot.
    pub domain: String,
    /// A second domain answered alike, with a trailing dot; empty: none.
    pub alt_domain: String,
    /// Upstream servers for all other names, in order.
    pub recursors: Vec<SocketAddr>,
    /// `dns_config`.
    pub dns: DnsConfig,

    // ---- HTTP -----------------------------------------------------------------------------------------------------
    /// `http_config`.
    pub http: HttpConfig,
    /// `ui_config`, `ui`, `ui_dir`.
    pub ui: UiConfig,
    /// `/debug/pprof` answers.
    pub enable_debug: bool,
    /// Allow bytes below 0x20 in request paths.
    pub disable_http_unprintable_char_filter: bool,
    /// Blocking queries wait so long unless they say.
    pub default_query_time: Duration,
    /// Blocking queries wait at most so long.
    pub max_query_time: Duration,
    /// A client agent may answer from data so old when no server does.
    pub discovery_max_stale: Duration,
    /// Bounds.
    pub limits: Limits,

    // ---- services and checks --------------------------------------------------------------------------------------
    /// From all files, in order.
    pub services: Vec<ServiceDefinition>,
    /// From all files, in order; those of services stand there.
    pub checks: Vec<CheckDefinition>,
    /// Script checks may come from anywhere.
    pub enable_script_checks: bool,
    /// Script checks may come from files.
    pub enable_local_script_checks: bool,
    /// No remote execution.
    pub disable_remote_exec: bool,
    /// A change of output alone is synced this late.
    pub check_update_interval: Duration,
    /// Keep no output at all.
    pub discard_check_output: bool,
    /// Bytes of output kept; at least 1.
    pub check_output_max_size: u64,
    /// HTTP checks present the agent's certificate.
    pub enable_agent_tls_for_checks: bool,
    /// What the agent watches, and whom it tells.
    pub watches: Vec<WatchDefinition>,
    /// Config entries written by a new leader, each a JSON object as text.
    pub config_entries_bootstrap: Vec<String>,
    /// Merge central configuration into registrations.
    pub enable_central_service_config: bool,

    // ---- life cycle -----------------------------------------------------------------------------------------------
    /// Leave the cluster on SIGTERM. Default: clients do, servers do not.
    pub leave_on_terminate: bool,
    /// Do not leave on SIGINT. Default: servers skip, clients leave.
    pub skip_leave_on_interrupt: bool,
    /// Join again after having left.
    pub rejoin_after_leave: bool,
    /// A server away longer than this refuses to start; zero: no bound.
    pub server_rejoin_age_max: Duration,

    // ---- cluster --------------------------------------------------------------------------------------------------
    /// Members to join inside the datacenter.
    pub retry_join: RetryJoin,
    /// Servers of other datacenters to join.
    pub retry_join_wan: RetryJoin,
    /// Mesh gateways of the primary datacenter.
    pub primary_gateways: Vec<String>,
    /// Between two tries of those.
    pub primary_gateways_interval: Duration,
    /// Gossip inside the datacenter.
    pub gossip_lan: Gossip,
    /// Gossip between datacenters.
    pub gossip_wan: Gossip,
    /// A failed member is forgotten after this; at least 8 h.
    pub reconnect_timeout: Duration,
    /// As above, between datacenters.
    pub reconnect_timeout_wan: Duration,
    /// What the others should use for this member; `None`: theirs.
    pub advertise_reconnect_timeout: Option<Duration>,
    /// No network coordinates.
    pub disable_coordinates: bool,
    /// Consensus.
    pub raft: RaftConfig,
    /// Server care.
    pub autopilot: Autopilot,
    /// Timing.
    pub performance: Performance,
    /// Least session TTL.
    pub session_ttl_min: Duration,
    /// Cluster peering is on.
    pub peering_enabled: bool,
    /// Servers stream views to clients.
    pub rpc_enable_streaming: bool,
    /// Clients ask for streamed views.
    pub use_streaming_backend: bool,
    /// The client agent's cache.
    pub cache: CacheConfig,

    // ---- secrets --------------------------------------------------------------------------------------------------
    /// Gossip key, 16, 24 or 32 bytes in base64; empty: none.
    pub encrypt: String,
    /// Refuse unsealed gossip.
    pub encrypt_verify_incoming: bool,
    /// Seal own gossip.
    pub encrypt_verify_outgoing: bool,
    /// Keep the keyring in memory only.
    pub disable_keyring_file: bool,
    /// Certificates and who must show one.
    pub tls: TlsConfig,
    /// Access control.
    pub acl: AclConfig,

    // ---- logs and measures ----------------------------------------------------------------------------------------
    /// Logging.
    pub log: LogConfig,
    /// Metrics.
    pub telemetry: Telemetry,
    /// No check for newer versions.
    pub disable_update_check: bool,
    /// No signature in that check.
    pub disable_anonymous_signature: bool,
    /// Keys that are known and were given, but have no effect in this version: `name`, sorted, without duplicates.
    pub without_effect: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let ports = Ports::default();
        Self {
            datacenter: "dc1".to_string(),
            primary_datacenter: "dc1".to_string(),
            node_name: String::new(),
            node_id: String::new(),
            disable_host_node_id: true,
            node_meta: BTreeMap::new(),
            partition: String::new(),
            locality: Locality::default(),
            server: false,
            bootstrap: false,
            bootstrap_expect: 0,
            dev_mode: false,
            read_replica: false,
            segment: String::new(),
            bind_addr: any,
            advertise_addr: any,
            advertise_addr_wan: any,
            tagged_addresses: BTreeMap::new(),
            serf_lan: SocketAddr::new(any, ports.serf_lan.unwrap_or(0)),
            serf_wan: ports.serf_wan.map(|port| SocketAddr::new(any, port)),
            serf_lan_allowed_cidrs: Vec::new(),
            serf_wan_allowed_cidrs: Vec::new(),
            client_addrs: vec![ListenAddr::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))],
            addresses: Addresses::default(),
            ports,
            unix_sockets: UnixSockets::default(),
            translate_wan_addrs: false,
            data_dir: String::new(),
            pid_file: String::new(),
            auto_reload_config: false,
            domain: "consul.".to_string(),
            alt_domain: String::new(),
            recursors: Vec::new(),
            dns: DnsConfig::default(),
            http: HttpConfig::default(),
            ui: UiConfig::default(),
            enable_debug: false,
            disable_http_unprintable_char_filter: false,
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            discovery_max_stale: Duration::ZERO,
            limits: Limits::default(),
            services: Vec::new(),
            checks: Vec::new(),
            enable_script_checks: false,
            enable_local_script_checks: false,
            disable_remote_exec: true,
            check_update_interval: Duration::from_secs(300),
            discard_check_output: false,
            check_output_max_size: 4096,
            enable_agent_tls_for_checks: false,
            watches: Vec::new(),
            config_entries_bootstrap: Vec::new(),
            enable_central_service_config: true,
            leave_on_terminate: true,
            skip_leave_on_interrupt: false,
            rejoin_after_leave: false,
            server_rejoin_age_max: Duration::from_secs(168 * 3600),
            retry_join: RetryJoin::default(),
            retry_join_wan: RetryJoin::default(),
            primary_gateways: Vec::new(),
            primary_gateways_interval: Duration::from_secs(30),
            gossip_lan: Gossip::lan(),
            gossip_wan: Gossip::wan(),
            reconnect_timeout: Duration::from_secs(72 * 3600),
            reconnect_timeout_wan: Duration::from_secs(72 * 3600),
            advertise_reconnect_timeout: None,
            disable_coordinates: false,
            raft: RaftConfig::default(),
            autopilot: Autopilot::default(),
            performance: Performance::default(),
            session_ttl_min: Duration::from_secs(10),
            peering_enabled: true,
            rpc_enable_streaming: true,
            use_streaming_backend: true,
            cache: CacheConfig::default(),
            encrypt: String::new(),
            encrypt_verify_incoming: true,
            encrypt_verify_outgoing: true,
            disable_keyring_file: false,
            tls: TlsConfig::default(),
            acl: AclConfig::default(),
            log: LogConfig::default(),
            telemetry: Telemetry::default(),
            disable_update_check: false,
            disable_anonymous_signature: false,
            without_effect: Vec::new(),
        }
    }
}
