//! TLS and access control.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Certificates and who must show one. Paths are not opened here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Between agents.
    pub internal_rpc: TlsListener,
    /// The HTTPS port.
    pub https: TlsListener,
    /// The gRPC ports.
    pub grpc: TlsListener,
    /// Certificate name of this node; empty: the node name.
    pub server_name: String,
    /// Servers give certificates to clients.
    pub auto_encrypt_allow_tls: bool,
    /// Clients ask servers for a certificate.
    pub auto_encrypt_tls: bool,
    /// Further names in it.
    pub auto_encrypt_dns_san: Vec<String>,
    /// Further addresses in it.
    pub auto_encrypt_ip_san: Vec<String>,
}

/// TLS of one listener, with the defaults already merged in. Empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsListener {
    /// PEM file of authorities.
    pub ca_file: String,
    /// Folder of those.
    pub ca_path: String,
    /// PEM file.
    pub cert_file: String,
    /// PEM file.
    pub key_file: String,
    /// Least version.
    pub min_version: TlsVersion,
    /// Go's names, in order of preference.
    pub cipher_suites: Vec<String>,
    /// Callers must show a certificate.
    pub verify_incoming: bool,
    /// Servers called must show a valid certificate.
    pub verify_outgoing: bool,
    /// And it must say `server.<datacenter>.<domain>`.
    pub verify_server_hostname: bool,
    /// The agent's own certificate from auto-encrypt serves here.
    pub use_auto_cert: bool,
}

/// Least TLS version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `tls10`, `TLSv1_0`: raised to 1.2, with a warning.
    V1_0,
    /// `tls11`, `TLSv1_1`: raised to 1.2, with a warning.
    V1_1,
    /// `tls12`, `TLSv1_2`.
    #[default]
    V1_2,
    /// `tls13`, `TLSv1_3`.
    V1_3,
}

/// Access control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclConfig {
    /// On.
    pub enabled: bool,
    /// Without a matching rule: `true` allows, `false` denies.
    pub default_allow: bool,
    /// When the primary datacenter is out of reach.
    pub down_policy: DownPolicy,
    /// A policy is kept so long.
    pub policy_ttl: Duration,
    /// A role is kept so long.
    pub role_ttl: Duration,
    /// A token is kept so long.
    pub token_ttl: Duration,
    /// The `list` rule on keys counts.
    pub enable_key_list_policy: bool,
    /// Tokens are replicated from the primary datacenter.
    pub enable_token_replication: bool,
    /// Tokens set over the API survive a restart.
    pub enable_token_persistence: bool,
    /// The agent's own tokens.
    pub tokens: AclTokens,
}

impl Default for AclConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            default_allow: true,
            down_policy: DownPolicy::ExtendCache,
            policy_ttl: Duration::from_secs(30),
            role_ttl: Duration::ZERO,
            token_ttl: Duration::from_secs(30),
            enable_key_list_policy: false,
            enable_token_replication: false,
            enable_token_persistence: false,
            tokens: AclTokens::default(),
        }
    }
}

/// What is done with a token whose source is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DownPolicy {
    /// Everything is allowed.
    Allow,
    /// Everything is denied.
    Deny,
    /// What is known stays valid beyond its time.
    #[default]
    ExtendCache,
    /// As above, and asked for in the background.
    AsyncCache,
}

/// The agent's own tokens; empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclTokens {
    /// Made by the first leader, with all rights (`master`).
    pub initial_management: String,
    /// Of requests without one.
    pub default: String,
    /// Of the agent's own work.
    pub agent: String,
    /// For its agent endpoints when the servers are out of reach (`agent_master`).
    pub agent_recovery: String,
    /// Of registrations from files.
    pub config_file_service_registration: String,
    /// Of DNS queries.
    pub dns: String,
    /// Of replication.
    pub replication: String,
}
