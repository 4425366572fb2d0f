//! Every configuration key there is: what it holds, and whether it works, is kept for later, or has moved.

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text.
    Text,
    /// Text that is a duration.
    Duration,
    /// Texts.
    List,
    /// Text to text.
    Pairs,
    /// Text to duration.
    Durations,
    /// One object of these keys.
    Block(&'static [Key]),
    /// Anything.
    Raw,
    /// Objects, kept as they are.
    RawList,
    /// A service, or several.
    Services,
    /// A check, or several.
    Checks,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// Takes effect.
    Works,
    /// Known and checked, without effect in this version.
    Idle,
    /// An old name of the key at this path; a dot is one level.
    Moved(&'static str),
    /// Nothing is left of it, and nothing is missing.
    Gone,
    /// Set by a flag; unknown in files.
    FlagOnly,
}

/// A configuration key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) state: State,
}

use Kind::{Block, Bool, Checks, Duration, Durations, Float, Int, List, Pairs, Raw, RawList, Services, Text};

const fn works(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, state: State::Works }
}

const fn idle(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, state: State::Idle }
}

const fn moved(name: &'static str, kind: Kind, path: &'static str) -> Key {
    Key { name, kind, state: State::Moved(path) }
}

const fn gone(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, state: State::Gone }
}

/// The keys of a configuration.
pub(crate) static ROOT: &[Key] = &[
    // ---- identity and role
    works("bootstrap", Bool),
    works("bootstrap_expect", Int),
    works("datacenter", Text),
    Key { name: "dev_mode", kind: Bool, state: State::FlagOnly },
    works("disable_host_node_id", Bool),
    idle("locality", Block(&[idle("region", Text), idle("zone", Text)])),
    works("node_id", Text),
    works("node_meta", Pairs),
    works("node_name", Text),
    moved("non_voting_server", Bool, "read_replica"),
    idle("partition", Text),
    works("primary_datacenter", Text),
    works("read_replica", Bool),
    idle("segment", Text),
    idle("segments", RawList),
    works("server", Bool),
    // ---- addresses
    works(
        "addresses",
        Block(&[
            works("dns", Text),
            works("grpc", Text),
            idle("grpc_tls", Text),
            works("http", Text),
            works("https", Text),
        ]),
    ),
    works("advertise_addr", Text),
    works("advertise_addr_ipv4", Text),
    works("advertise_addr_ipv6", Text),
    works("advertise_addr_wan", Text),
    works("advertise_addr_wan_ipv4", Text),
    works("advertise_addr_wan_ipv6", Text),
    works("advertise_reconnect_timeout", Duration),
    works("bind_addr", Text),
    works("client_addr", Text),
    works(
        "ports",
        Block(&[
            works("dns", Int),
            works("expose_max_port", Int),
            works("expose_min_port", Int),
            works("grpc", Int),
            idle("grpc_tls", Int),
            works("http", Int),
            works("https", Int),
            works("serf_lan", Int),
            works("serf_wan", Int),
            works("server", Int),
            works("sidecar_max_port", Int),
            works("sidecar_min_port", Int),
        ]),
    ),
    works("serf_lan", Text),
    works("serf_lan_allowed_cidrs", List),
    works("serf_wan", Text),
    works("serf_wan_allowed_cidrs", List),
    works("translate_wan_addrs", Bool),
    works("unix_sockets", Block(&[works("group", Text), works("mode", Text), works("user", Text)])),
    // ---- files and life cycle
    idle("auto_reload_config", Bool),
    works("data_dir", Text),
    works("leave_on_terminate", Bool),
    works("pid_file", Text),
    works("rejoin_after_leave", Bool),
    works("server_rejoin_age_max", Duration),
    works("skip_leave_on_interrupt", Bool),
    // ---- DNS
    works("alt_domain", Text),
    works(
        "dns_config",
        Block(&[
            works("a_record_limit", Int),
            works("allow_stale", Bool),
            idle("cache_max_age", Duration),
            works("disable_compression", Bool),
            works("enable_additional_node_meta_txt", Bool),
            works("enable_truncate", Bool),
            works("max_stale", Duration),
            works("node_ttl", Duration),
            works("only_passing", Bool),
            idle("prefer_namespace", Bool),
            works("recursor_strategy", Text),
            works("recursor_timeout", Duration),
            works("service_ttl", Durations),
            works(
                "soa",
                Block(&[works("expire", Int), works("min_ttl", Int), works("refresh", Int), works("retry", Int)]),
            ),
            works("udp_answer_limit", Int),
            idle("use_cache", Bool),
        ]),
    ),
    works("domain", Text),
    works("recursors", List),
    // ---- HTTP and UI
    works("default_query_time", Duration),
    works("disable_http_unprintable_char_filter", Bool),
    idle("discovery_max_stale", Duration),
    works("enable_debug", Bool),
    works(
        "http_config",
        Block(&[
            works("allow_write_http_from", List),
            works("block_endpoints", List),
            idle("max_header_bytes", Int),
            works("response_headers", Pairs),
            idle("use_cache", Bool),
        ]),
    ),
    works(
        "limits",
        Block(&[
            works("http_max_conns_per_client", Int),
            works("https_handshake_timeout", Duration),
            idle("kv_max_value_size", Int),
            idle("request_limits", Block(&[idle("mode", Text), idle("read_rate", Float), idle("write_rate", Float)])),
            idle("rpc_client_timeout", Duration),
            idle("rpc_handshake_timeout", Duration),
            idle("rpc_max_burst", Int),
            idle("rpc_max_conns_per_client", Int),
            idle("rpc_rate", Float),
            idle("txn_max_req_len", Int),
        ]),
    ),
    works("max_query_time", Duration),
    moved("ui", Bool, "ui_config.enabled"),
    works(
        "ui_config",
        Block(&[
            works("content_path", Text),
            idle("dashboard_url_templates", Raw),
            idle("dir", Text),
            works("enabled", Bool),
            idle("metrics_provider", Text),
            idle("metrics_provider_files", List),
            idle("metrics_provider_options_json", Text),
            idle("metrics_proxy", Raw),
        ]),
    ),
    moved("ui_content_path", Text, "ui_config.content_path"),
    moved("ui_dir", Text, "ui_config.dir"),
    // ---- services and checks
    works("check", Checks),
    works("check_output_max_size", Int),
    works("check_update_interval", Duration),
    works("checks", Checks),
    idle("config_entries", Block(&[idle("bootstrap", RawList)])),
    works("disable_remote_exec", Bool),
    works("discard_check_output", Bool),
    idle("enable_agent_tls_for_checks", Bool),
    idle("enable_central_service_config", Bool),
    works("enable_local_script_checks", Bool),
    works("enable_script_checks", Bool),
    works("service", Services),
    works("services", Services),
    works("watches", RawList),
    // ---- cluster
    works(
        "autopilot",
        Block(&[
            works("cleanup_dead_servers", Bool),
            idle("disable_upgrade_migration", Bool),
            works("last_contact_threshold", Duration),
            works("max_trailing_logs", Int),
            works("min_quorum", Int),
            idle("redundancy_zone_tag", Text),
            works("server_stabilization_time", Duration),
            idle("upgrade_version_tag", Text),
        ]),
    ),
    idle("cache", Block(&[idle("entry_fetch_max_burst", Int), idle("entry_fetch_rate", Float)])),
    works("disable_coordinates", Bool),
    idle("enable_xds_load_balancing", Bool),
    works("gossip_lan", Block(GOSSIP)),
    works("gossip_wan", Block(GOSSIP)),
    idle("peering", Block(&[idle("enabled", Bool)])),
    works(
        "performance",
        Block(&[
            idle("enable_xds_load_balancing", Bool),
            idle("grpc_keepalive_interval", Duration),
            idle("grpc_keepalive_timeout", Duration),
            works("leave_drain_time", Duration),
            works("raft_multiplier", Int),
            works("rpc_hold_timeout", Duration),
        ]),
    ),
    idle("primary_gateways", List),
    idle("primary_gateways_interval", Duration),
    gone("protocol", Int),
    idle("raft_boltdb", Raw),
    idle("raft_logstore", Raw),
    idle("raft_protocol", Int),
    idle("raft_snapshot_interval", Duration),
    works("raft_snapshot_threshold", Int),
    works("raft_trailing_logs", Int),
    works("reconnect_timeout", Duration),
    works("reconnect_timeout_wan", Duration),
    works("retry_interval", Duration),
    works("retry_interval_wan", Duration),
    works("retry_join", List),
    works("retry_join_wan", List),
    works("retry_max", Int),
    works("retry_max_wan", Int),
    idle("rpc", Block(&[idle("enable_streaming", Bool)])),
    works("session_ttl_min", Duration),
    moved("start_join", List, "retry_join"),
    moved("start_join_wan", List, "retry_join_wan"),
    idle("use_streaming_backend", Bool),
    // ---- encryption
    idle("auto_config", Raw),
    idle(
        "auto_encrypt",
        Block(&[idle("allow_tls", Bool), idle("dns_san", List), idle("ip_san", List), idle("tls", Bool)]),
    ),
    moved("ca_file", Text, "tls.defaults.ca_file"),
    moved("ca_path", Text, "tls.defaults.ca_path"),
    moved("cert_file", Text, "tls.defaults.cert_file"),
    works("disable_keyring_file", Bool),
    works("encrypt", Text),
    works("encrypt_verify_incoming", Bool),
    works("encrypt_verify_outgoing", Bool),
    moved("key_file", Text, "tls.defaults.key_file"),
    idle("server_name", Text),
    idle(
        "tls",
        Block(&[
            idle("defaults", Block(TLS)),
            idle("grpc", Block(TLS)),
            idle("https", Block(TLS)),
            idle("internal_rpc", Block(TLS)),
        ]),
    ),
    moved("tls_cipher_suites", Text, "tls.defaults.tls_cipher_suites"),
    moved("tls_min_version", Text, "tls.defaults.tls_min_version"),
    gone("tls_prefer_server_cipher_suites", Bool),
    moved("verify_incoming", Bool, "tls.defaults.verify_incoming"),
    moved("verify_incoming_https", Bool, "tls.https.verify_incoming"),
    moved("verify_incoming_rpc", Bool, "tls.internal_rpc.verify_incoming"),
    moved("verify_outgoing", Bool, "tls.defaults.verify_outgoing"),
    moved("verify_server_hostname", Bool, "tls.internal_rpc.verify_server_hostname"),
    // ---- access control
    idle(
        "acl",
        Block(&[
            idle("default_policy", Text),
            idle("down_policy", Text),
            idle("enable_key_list_policy", Bool),
            idle("enable_token_persistence", Bool),
            idle("enable_token_replication", Bool),
            idle("enabled", Bool),
            idle("policy_ttl", Duration),
            idle("role_ttl", Duration),
            idle("token_ttl", Duration),
            idle(
                "tokens",
                Block(&[
                    idle("agent", Text),
                    moved("agent_master", Text, "acl.tokens.agent_recovery"),
                    idle("agent_recovery", Text),
                    idle("config_file_service_registration", Text),
                    idle("default", Text),
                    idle("dns", Text),
                    idle("initial_management", Text),
                    idle("managed_service_provider", RawList),
                    moved("master", Text, "acl.tokens.initial_management"),
                    idle("replication", Text),
                ]),
            ),
        ]),
    ),
    moved("acl_agent_master_token", Text, "acl.tokens.agent_recovery"),
    moved("acl_agent_token", Text, "acl.tokens.agent"),
    moved("acl_datacenter", Text, "primary_datacenter"),
    moved("acl_default_policy", Text, "acl.default_policy"),
    moved("acl_down_policy", Text, "acl.down_policy"),
    moved("acl_enable_key_list_policy", Bool, "acl.enable_key_list_policy"),
    gone("acl_enforce_version_8", Bool),
    moved("acl_master_token", Text, "acl.tokens.initial_management"),
    moved("acl_replication_token", Text, "acl.tokens.replication"),
    moved("acl_token", Text, "acl.tokens.default"),
    moved("acl_ttl", Duration, "acl.token_ttl"),
    moved("enable_acl_replication", Bool, "acl.enable_token_replication"),
    // ---- mesh
    idle(
        "connect",
        Block(&[
            idle("ca_config", Raw),
            idle("ca_provider", Text),
            idle("enable_mesh_gateway_wan_federation", Bool),
            idle("enabled", Bool),
        ]),
    ),
    idle("xds", Block(&[idle("update_max_per_second", Float)])),
    // ---- logs, measures, the rest
    idle("audit", Raw),
    works("disable_anonymous_signature", Bool),
    idle("disable_kv_key_validation", Bool),
    works("disable_update_check", Bool),
    idle("enable_syslog", Bool),
    gone("license_path", Text),
    works("log_file", Text),
    works("log_json", Bool),
    works("log_level", Text),
    works("log_rotate_bytes", Int),
    works("log_rotate_duration", Duration),
    works("log_rotate_max_files", Int),
    gone("reap", Bool),
    gone("reporting", Raw),
    gone("snapshot_agent", Raw),
    idle("syslog_facility", Text),
    works(
        "telemetry",
        Block(&[
            idle("circonus_api_app", Text),
            idle("circonus_api_token", Text),
            idle("circonus_api_url", Text),
            idle("circonus_broker_id", Text),
            idle("circonus_broker_select_tag", Text),
            idle("circonus_check_display_name", Text),
            idle("circonus_check_force_metric_activation", Text),
            idle("circonus_check_id", Text),
            idle("circonus_check_instance_id", Text),
            idle("circonus_check_search_tag", Text),
            idle("circonus_check_tags", Text),
            idle("circonus_submission_interval", Text),
            idle("circonus_submission_url", Text),
            gone("disable_compat_1.9", Bool),
            works("disable_hostname", Bool),
            idle("disable_per_tenancy_usage_metrics", Bool),
            idle("dogstatsd_addr", Text),
            idle("dogstatsd_tags", List),
            idle("enable_host_metrics", Bool),
            works("filter_default", Bool),
            works("metrics_prefix", Text),
            works("prefix_filter", List),
            works("prometheus_retention_time", Duration),
            moved("statsd_addr", Text, "telemetry.statsd_address"),
            idle("statsd_address", Text),
            moved("statsite_addr", Text, "telemetry.statsite_address"),
            idle("statsite_address", Text),
            moved("statsite_prefix", Text, "telemetry.metrics_prefix"),
        ]),
    ),
];

static GOSSIP: &[Key] = &[
    works("gossip_interval", Duration),
    works("gossip_nodes", Int),
    works("probe_interval", Duration),
    works("probe_timeout", Duration),
    works("retransmit_mult", Int),
    works("suspicion_mult", Int),
];

static TLS: &[Key] = &[
    idle("ca_file", Text),
    idle("ca_path", Text),
    idle("cert_file", Text),
    idle("key_file", Text),
    idle("tls_cipher_suites", Text),
    idle("tls_min_version", Text),
    idle("use_auto_cert", Bool),
    idle("verify_incoming", Bool),
    idle("verify_outgoing", Bool),
    idle("verify_server_hostname", Bool),
];

/// The name nearest to one that is unknown, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Beyond this no key comes near, and the distance would cost its square.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    known.map(|k| (distance(&name, k), k)).filter(|(d, _)| *d <= limit).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// Letters to insert, delete, replace or swap, after Damerau and Levenshtein (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: alloc::vec::Vec<char> = a.chars().collect();
    let b: alloc::vec::Vec<char> = b.chars().collect();
    let mut rows = [alloc::vec![0; b.len() + 1], (0..=b.len()).collect(), alloc::vec![0; b.len() + 1]];
    for (i, x) in a.iter().enumerate() {
        let [before, last, row] = &mut rows;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_twice_and_every_move_arrives() {
        fn walk(keys: &[Key]) {
            for (i, key) in keys.iter().enumerate() {
                assert!(keys[..i].iter().all(|k| k.name != key.name), "{} twice", key.name);
                if let State::Moved(path) = key.state {
                    find(path).unwrap_or_else(|| panic!("{} moved nowhere: {path}", key.name));
                }
                if let Block(inner) = key.kind {
                    walk(inner);
                }
            }
        }
        fn find(path: &str) -> Option<&'static Key> {
            let mut keys = ROOT;
            let mut found = None;
            for part in path.split('.') {
                found = Some(keys.iter().find(|k| k.name == part)?);
                keys = match found?.kind {
                    Block(inner) => inner,
                    _ => &[],
                };
            }
            found.filter(|k| !matches!(k.state, State::Moved(_)))
        }
        walk(ROOT);
    }

    #[test]
    fn slips() {
        let known = || ROOT.iter().map(|k| k.name);
        for (slip, meant) in [
            ("data-dir", Some("data_dir")),
            ("datacentre", Some("datacenter")),
            ("retry_jion", Some("retry_join")),
            ("Servcie", Some("service")),
            ("bogus_key", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(slip, known()), meant, "{slip}");
        }
    }
}
