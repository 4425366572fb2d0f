//! Cluster, encryption and access control: kept typed, for the parts of the agent that use them.

use super::tree::Tree;
use crate::config::Config;
use crate::settings::{
    AclConfig, AclTokens, Autopilot, CacheConfig, DownPolicy, Gossip, Performance, RaftConfig, RetryJoin, TlsConfig,
    TlsListener, TlsVersion,
};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

const SHORTEST_GOSSIP: Duration = Duration::from_millis(10);
const HOURS_8: Duration = Duration::from_secs(8 * 3600);

pub(super) fn cluster(config: &mut Config, tree: &mut Tree<'_>) {
    config.retry_join = retry(tree, "");
    config.retry_join_wan = retry(tree, "_wan");
    config.primary_gateways = tree.list("primary_gateways");
    config.primary_gateways_interval = tree.duration("primary_gateways_interval", config.primary_gateways_interval);
    gossip(&mut config.gossip_lan, tree, "gossip_lan");
    gossip(&mut config.gossip_wan, tree, "gossip_wan");
    config.reconnect_timeout = reconnect(tree, "reconnect_timeout", config.reconnect_timeout);
    config.reconnect_timeout_wan = reconnect(tree, "reconnect_timeout_wan", config.reconnect_timeout_wan);
    config.advertise_reconnect_timeout =
        tree.has("advertise_reconnect_timeout").then(|| tree.duration("advertise_reconnect_timeout", Duration::ZERO));
    if config.server && config.advertise_reconnect_timeout.is_some() {
        tree.conflict("advertise_reconnect_timeout", "advertise_reconnect_timeout can only be used on a client");
    } else if config.advertise_reconnect_timeout == Some(Duration::ZERO) {
        tree.refuse("advertise_reconnect_timeout", "must be longer than 0s, or left out");
    }
    config.disable_coordinates = tree.flag("disable_coordinates", false);
    let raft = RaftConfig::default();
    config.raft = RaftConfig {
        protocol: tree.number("raft_protocol", raft.protocol),
        snapshot_threshold: tree.number("raft_snapshot_threshold", raft.snapshot_threshold),
        snapshot_interval: tree.duration("raft_snapshot_interval", raft.snapshot_interval),
        trailing_logs: tree.number("raft_trailing_logs", raft.trailing_logs),
    };
    if config.raft.protocol != 3 {
        tree.refuse("raft_protocol", "only version 3 is known");
    }
    autopilot(&mut config.autopilot, tree);
    performance(&mut config.performance, tree);
    config.session_ttl_min = tree.duration("session_ttl_min", config.session_ttl_min);
    config.peering_enabled = tree.flag("peering.enabled", config.peering_enabled);
    config.rpc_enable_streaming = tree.flag("rpc.enable_streaming", config.rpc_enable_streaming);
    config.use_streaming_backend = tree.flag("use_streaming_backend", config.use_streaming_backend);
    config.cache = CacheConfig {
        entry_fetch_rate: tree.rate("cache.entry_fetch_rate"),
        entry_fetch_max_burst: tree.number("cache.entry_fetch_max_burst", config.cache.entry_fetch_max_burst),
    };
}

fn retry(tree: &mut Tree<'_>, suffix: &str) -> RetryJoin {
    let default = RetryJoin::default();
    RetryJoin {
        addresses: tree.list(&format!("retry_join{suffix}")),
        interval: tree.duration(&format!("retry_interval{suffix}"), default.interval),
        max: tree.number(&format!("retry_max{suffix}"), default.max),
    }
}

fn gossip(gossip: &mut Gossip, tree: &mut Tree<'_>, name: &str) {
    let path = |key: &str| format!("{name}.{key}");
    *gossip = Gossip {
        gossip_nodes: tree.number(&path("gossip_nodes"), gossip.gossip_nodes),
        gossip_interval: tree.duration(&path("gossip_interval"), gossip.gossip_interval),
        probe_interval: tree.duration(&path("probe_interval"), gossip.probe_interval),
        probe_timeout: tree.duration(&path("probe_timeout"), gossip.probe_timeout),
        retransmit_mult: tree.number(&path("retransmit_mult"), gossip.retransmit_mult),
        suspicion_mult: tree.number(&path("suspicion_mult"), gossip.suspicion_mult),
    };
    // Consul takes these, and then spins or loses news.
    let intervals = [
        ("gossip_interval", gossip.gossip_interval),
        ("probe_interval", gossip.probe_interval),
        ("probe_timeout", gossip.probe_timeout),
    ];
    for (key, interval) in intervals {
        if interval < SHORTEST_GOSSIP {
            tree.refuse(&path(key), "must be at least 10ms");
        }
    }
    for (key, mult) in [("retransmit_mult", gossip.retransmit_mult), ("suspicion_mult", gossip.suspicion_mult)] {
        if mult == 0 {
            tree.refuse(&path(key), "must be at least 1");
        }
    }
}

fn reconnect(tree: &mut Tree<'_>, key: &str, default: Duration) -> Duration {
    let timeout = tree.duration(key, default);
    if timeout < HOURS_8 {
        tree.error(key, "must be at least 8h, so that a restart or a repair is not taken for the end of a node");
    }
    timeout
}

fn autopilot(autopilot: &mut Autopilot, tree: &mut Tree<'_>) {
    let a = &*autopilot;
    *autopilot = Autopilot {
        cleanup_dead_servers: tree.flag("autopilot.cleanup_dead_servers", a.cleanup_dead_servers),
        last_contact_threshold: tree.duration("autopilot.last_contact_threshold", a.last_contact_threshold),
        max_trailing_logs: tree.number("autopilot.max_trailing_logs", a.max_trailing_logs),
        min_quorum: tree.number("autopilot.min_quorum", a.min_quorum),
        server_stabilization_time: tree.duration("autopilot.server_stabilization_time", a.server_stabilization_time),
        redundancy_zone_tag: tree.text("autopilot.redundancy_zone_tag").unwrap_or_default(),
        disable_upgrade_migration: tree.flag("autopilot.disable_upgrade_migration", a.disable_upgrade_migration),
        upgrade_version_tag: tree.text("autopilot.upgrade_version_tag").unwrap_or_default(),
    };
}

fn performance(performance: &mut Performance, tree: &mut Tree<'_>) {
    let p = &*performance;
    let next = Performance {
        leave_drain_time: tree.duration("performance.leave_drain_time", p.leave_drain_time),
        raft_multiplier: tree.number("performance.raft_multiplier", p.raft_multiplier),
        rpc_hold_timeout: tree.duration("performance.rpc_hold_timeout", p.rpc_hold_timeout),
        grpc_keepalive_interval: tree.duration("performance.grpc_keepalive_interval", p.grpc_keepalive_interval),
        grpc_keepalive_timeout: tree.duration("performance.grpc_keepalive_timeout", p.grpc_keepalive_timeout),
    };
    if !(1..=10).contains(&next.raft_multiplier) {
        let message = format!("cannot be {}. Must be between 1 and 10", next.raft_multiplier);
        tree.error("performance.raft_multiplier", &message);
    }
    *performance = next;
}

pub(super) fn secrets(config: &mut Config, tree: &mut Tree<'_>) {
    config.encrypt = tree.text("encrypt").unwrap_or_default();
    if !config.encrypt.is_empty() && !matches!(base64_len(&config.encrypt), Some(16 | 24 | 32)) {
        // Consul finds out when gossip starts, and calls the file valid if the text is base64 at all.
        let message = "has invalid key: it must be 16, 24 or 32 bytes in base64; make one with keygen";
        if base64_len(&config.encrypt).is_some() {
            tree.refuse("encrypt", message);
        } else {
            tree.error("encrypt", message);
        }
    }
    config.encrypt_verify_incoming = tree.flag("encrypt_verify_incoming", config.encrypt_verify_incoming);
    config.encrypt_verify_outgoing = tree.flag("encrypt_verify_outgoing", config.encrypt_verify_outgoing);
    config.disable_keyring_file = tree.flag("disable_keyring_file", config.disable_keyring_file);
    config.tls = TlsConfig {
        internal_rpc: listener(tree, "internal_rpc"),
        https: listener(tree, "https"),
        grpc: listener(tree, "grpc"),
        server_name: tree.text("server_name").unwrap_or_default(),
        auto_encrypt_allow_tls: tree.flag("auto_encrypt.allow_tls", false),
        auto_encrypt_tls: tree.flag("auto_encrypt.tls", false),
        auto_encrypt_dns_san: tree.list("auto_encrypt.dns_san"),
        auto_encrypt_ip_san: tree.list("auto_encrypt.ip_san"),
    };
    config.acl = acl(tree);
}

/// The number of bytes that padded base64 (RFC 4648 section 4) stands for; `None` if it is not base64.
fn base64_len(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let good = text.len().is_multiple_of(4)
        && padding <= 2
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
    good.then(|| text.len() / 4 * 3 - padding)
}

/// TLS of one listener: its own values, else those of `tls.defaults`.
fn listener(tree: &mut Tree<'_>, name: &str) -> TlsListener {
    // What is told of a hostname is told for the servers' port alone.
    let path = |tree: &Tree<'_>, key: &str| {
        let own = format!("tls.{name}.{key}");
        if tree.has(&own) { own } else { format!("tls.defaults.{key}") }
    };
    let text = |tree: &Tree<'_>, key: &str| tree.text(&path(tree, key)).unwrap_or_default();
    let flag = |tree: &Tree<'_>, key: &str| tree.flag(&path(tree, key), false);
    let suites: Vec<String> = text(tree, "tls_cipher_suites")
        .split(',')
        .map(|suite| suite.trim().to_owned())
        .filter(|suite| !suite.is_empty())
        .collect();
    let min_key = path(tree, "tls_min_version");
    let versions = [
        ("tls10", TlsVersion::V1_0),
        ("TLSv1_0", TlsVersion::V1_0),
        ("tls11", TlsVersion::V1_1),
        ("TLSv1_1", TlsVersion::V1_1),
        ("tls12", TlsVersion::V1_2),
        ("TLSv1_2", TlsVersion::V1_2),
        ("tls13", TlsVersion::V1_3),
        ("TLSv1_3", TlsVersion::V1_3),
        ("TLS_AUTO", TlsVersion::V1_2),
        ("", TlsVersion::V1_2),
    ];
    let min_version = tree.choice(&min_key, TlsVersion::V1_2, &versions);
    if min_version < TlsVersion::V1_2 && name == "internal_rpc" {
        tree.warn(&min_key, "versions before TLS 1.2 are broken; 1.2 is used");
    }
    TlsListener {
        ca_file: text(tree, "ca_file"),
        ca_path: text(tree, "ca_path"),
        cert_file: text(tree, "cert_file"),
        key_file: text(tree, "key_file"),
        min_version: min_version.max(TlsVersion::V1_2),
        cipher_suites: suites,
        verify_incoming: flag(tree, "verify_incoming"),
        verify_outgoing: flag(tree, "verify_outgoing"),
        verify_server_hostname: name == "internal_rpc" && flag(tree, "verify_server_hostname"),
        use_auto_cert: name == "grpc" && flag(tree, "use_auto_cert"),
    }
}

fn acl(tree: &mut Tree<'_>) -> AclConfig {
    let default = AclConfig::default();
    let token = |tree: &Tree<'_>, name: &str| tree.text(&format!("acl.tokens.{name}")).unwrap_or_default();
    AclConfig {
        enabled: tree.flag("acl.enabled", default.enabled),
        default_allow: tree.choice("acl.default_policy", true, &[("allow", true), ("deny", false), ("", true)]),
        down_policy: tree.choice(
            "acl.down_policy",
            default.down_policy,
            &[
                ("allow", DownPolicy::Allow),
                ("deny", DownPolicy::Deny),
                ("extend-cache", DownPolicy::ExtendCache),
                ("async-cache", DownPolicy::AsyncCache),
            ],
        ),
        policy_ttl: tree.duration("acl.policy_ttl", default.policy_ttl),
        role_ttl: tree.duration("acl.role_ttl", default.role_ttl),
        token_ttl: tree.duration("acl.token_ttl", default.token_ttl),
        enable_key_list_policy: tree.flag("acl.enable_key_list_policy", default.enable_key_list_policy),
        enable_token_replication: tree.flag("acl.enable_token_replication", default.enable_token_replication),
        enable_token_persistence: tree.flag("acl.enable_token_persistence", default.enable_token_persistence),
        tokens: AclTokens {
            initial_management: token(tree, "initial_management"),
            default: token(tree, "default"),
            agent: token(tree, "agent"),
            agent_recovery: token(tree, "agent_recovery"),
            config_file_service_registration: token(tree, "config_file_service_registration"),
            dns: token(tree, "dns"),
            replication: token(tree, "replication"),
        },
    }
}
