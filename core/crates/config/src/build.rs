//! From the merged tree to the typed configuration: defaults, ranges, and what must not go together.

mod addresses;
mod cluster;
mod node;
mod tree;

use crate::config::Config;
use crate::definition::{self, CheckDefinition, Origin};
use crate::normalise::Report;
use crate::reload;
use crate::settings::{
    HttpConfig, LimitMode, Limits, LogConfig, LogLevel, RecursorStrategy, RequestLimits, Telemetry, UiConfig,
};
use crate::source::Environment;
use crate::value::{Object, Position};
use crate::watch::decode_watch;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use tree::Tree;

/// Builds a configuration from a tree in normal form. If anything is wrong it is said in `report`, and the result must not be used.
pub(crate) fn build(merged: &Object, env: &Environment, report: &mut Report) -> Config {
    let mut tree = Tree::new(merged, report);
    let mut config = Config { dev_mode: tree.flag("dev_mode", false), ..Config::default() };
    if config.dev_mode {
        node::dev_defaults(&mut config);
    }
    node::node(&mut config, &mut tree, env);
    addresses::addresses(&mut config, &mut tree, env);
    dns(&mut config, &mut tree);
    http(&mut config, &mut tree);
    limits(&mut config.limits, &mut tree);
    checks(&mut config, &mut tree);
    log(&mut config.log, &mut tree);
    telemetry(&mut config.telemetry, &mut tree);
    cluster::cluster(&mut config, &mut tree);
    cluster::secrets(&mut config, &mut tree);
    config.without_effect = tree.report.idle.iter().cloned().collect();
    config
}

fn dns(config: &mut Config, tree: &mut Tree<'_>) {
    let dns = &mut config.dns;
    dns.allow_stale = tree.flag("dns_config.allow_stale", dns.allow_stale);
    dns.max_stale = tree.duration("dns_config.max_stale", dns.max_stale);
    dns.node_ttl = tree.duration("dns_config.node_ttl", dns.node_ttl);
    dns.service_ttl = tree.durations("dns_config.service_ttl");
    dns.enable_truncate = tree.flag("dns_config.enable_truncate", dns.enable_truncate);
    dns.only_passing = tree.flag("dns_config.only_passing", dns.only_passing);
    dns.recursor_strategy = tree.choice(
        "dns_config.recursor_strategy",
        dns.recursor_strategy,
        &[("sequential", RecursorStrategy::Sequential), ("random", RecursorStrategy::Random)],
    );
    dns.recursor_timeout = tree.duration("dns_config.recursor_timeout", dns.recursor_timeout);
    dns.disable_compression = tree.flag("dns_config.disable_compression", dns.disable_compression);
    dns.udp_answer_limit = tree.number("dns_config.udp_answer_limit", dns.udp_answer_limit);
    dns.a_record_limit = tree.number("dns_config.a_record_limit", dns.a_record_limit);
    dns.enable_additional_node_meta_txt =
        tree.flag("dns_config.enable_additional_node_meta_txt", dns.enable_additional_node_meta_txt);
    dns.soa.refresh = tree.number("dns_config.soa.refresh", dns.soa.refresh);
    dns.soa.retry = tree.number("dns_config.soa.retry", dns.soa.retry);
    dns.soa.expire = tree.number("dns_config.soa.expire", dns.soa.expire);
    dns.soa.min_ttl = tree.number("dns_config.soa.min_ttl", dns.soa.min_ttl);
    dns.use_cache = tree.flag("dns_config.use_cache", dns.use_cache);
    dns.cache_max_age = tree.duration("dns_config.cache_max_age", dns.cache_max_age);
    dns.prefer_namespace = tree.flag("dns_config.prefer_namespace", dns.prefer_namespace);
    for (key, domain) in [("domain", &mut config.domain), ("alt_domain", &mut config.alt_domain)] {
        let Some(text) = tree.text(key) else { continue };
        let name = text.trim_matches('.').to_ascii_lowercase();
        let good = name.len() <= 250
            && name.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            });
        if good {
            *domain = format!("{name}.");
        } else if key == "domain" || !name.is_empty() {
            tree.error(key, &format!("{text:?} is no domain name"));
        }
    }
}

fn http(config: &mut Config, tree: &mut Tree<'_>) {
    config.http = HttpConfig {
        block_endpoints: tree.list("http_config.block_endpoints"),
        response_headers: tree.pairs("http_config.response_headers"),
        allow_write_http_from: tree.networks("http_config.allow_write_http_from"),
        use_cache: tree.flag("http_config.use_cache", true),
        max_header_bytes: tree.number("http_config.max_header_bytes", 0),
    };
    for (name, value) in &config.http.response_headers {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
            tree.error("http_config.response_headers", &format!("{name:?} cannot be sent as an HTTP header"));
        }
    }
    let ui = &config.ui;
    let mut content_path = tree.text("ui_config.content_path").unwrap_or_else(|| ui.content_path.clone());
    if !content_path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b)) {
        tree.error("ui_config.content_path", "may hold letters, digits, -, _ and / only");
    }
    content_path = content_path.trim_matches('/').to_string();
    content_path = if content_path.is_empty() { "/".to_string() } else { format!("/{content_path}/") };
    if tree.flag("ui_config.enabled", false) && tree.text("ui_config.dir").is_some_and(|dir| !dir.is_empty()) {
        tree.conflict(
            "ui_config.dir",
            "Both the UI itself and a folder with another one were asked for; give only one",
        );
    }
    config.ui = UiConfig {
        enabled: tree.flag("ui_config.enabled", ui.enabled),
        dir: tree.text("ui_config.dir").unwrap_or_default(),
        content_path,
        options: tree.json("ui_config").unwrap_or_default(),
    };
    config.enable_debug = tree.flag("enable_debug", config.enable_debug);
    config.disable_http_unprintable_char_filter =
        tree.flag("disable_http_unprintable_char_filter", config.disable_http_unprintable_char_filter);
    config.default_query_time = tree.duration("default_query_time", config.default_query_time);
    config.max_query_time = tree.duration("max_query_time", config.max_query_time);
    config.discovery_max_stale = tree.duration("discovery_max_stale", config.discovery_max_stale);
}

fn limits(limits: &mut Limits, tree: &mut Tree<'_>) {
    let l = &*limits;
    *limits = Limits {
        http_max_conns_per_client: tree.number_or_none("limits.http_max_conns_per_client", l.http_max_conns_per_client),
        https_handshake_timeout: tree.duration("limits.https_handshake_timeout", l.https_handshake_timeout),
        rpc_handshake_timeout: tree.duration("limits.rpc_handshake_timeout", l.rpc_handshake_timeout),
        rpc_client_timeout: tree.duration("limits.rpc_client_timeout", l.rpc_client_timeout),
        rpc_max_conns_per_client: tree.number("limits.rpc_max_conns_per_client", l.rpc_max_conns_per_client),
        rpc_rate: tree.rate("limits.rpc_rate"),
        rpc_max_burst: tree.number("limits.rpc_max_burst", l.rpc_max_burst),
        kv_max_value_size: tree.number("limits.kv_max_value_size", l.kv_max_value_size),
        txn_max_req_len: tree.number("limits.txn_max_req_len", l.txn_max_req_len),
        request_limits: RequestLimits {
            mode: tree.choice(
                "limits.request_limits.mode",
                LimitMode::Disabled,
                &[
                    ("disabled", LimitMode::Disabled),
                    ("permissive", LimitMode::Permissive),
                    ("enforcing", LimitMode::Enforcing),
                ],
            ),
            read_rate: tree.rate("limits.request_limits.read_rate"),
            write_rate: tree.rate("limits.request_limits.write_rate"),
        },
    };
}

fn checks(config: &mut Config, tree: &mut Tree<'_>) {
    config.enable_script_checks = tree.flag("enable_script_checks", config.enable_script_checks);
    config.enable_local_script_checks = tree.flag("enable_local_script_checks", config.enable_local_script_checks);
    config.disable_remote_exec = tree.flag("disable_remote_exec", config.disable_remote_exec);
    config.check_update_interval = tree.duration("check_update_interval", config.check_update_interval);
    config.discard_check_output = tree.flag("discard_check_output", config.discard_check_output);
    config.check_output_max_size = tree.number("check_output_max_size", config.check_output_max_size);
    if config.check_output_max_size == 0 {
        tree.error(
            "check_output_max_size",
            "must be positive, to discard check output use the discard_check_output flag",
        );
    }
    config.enable_agent_tls_for_checks = tree.flag("enable_agent_tls_for_checks", config.enable_agent_tls_for_checks);
    config.enable_central_service_config =
        tree.flag("enable_central_service_config", config.enable_central_service_config);
    for item in tree.items("watches") {
        match decode_watch(item) {
            Ok((watch, idle)) => {
                for name in idle {
                    tree.report.warn(item.at, format!("watches: {name} has no effect; the own datacenter is watched"));
                }
                config.watches.push(watch);
            }
            Err((at, reason)) => tree.report.refuse(at, format!("watches: {reason}")),
        }
    }
    config.config_entries_bootstrap = tree.items("config_entries.bootstrap").into_iter().map(tree::json_of).collect();

    // Scripts from files run with either switch; without one they are refused when they are registered, which is worth saying early.
    let scripts = config.enable_script_checks || config.enable_local_script_checks;
    let (mut service_places, mut check_places) = (Vec::new(), Vec::new());
    for item in tree.items("services") {
        // What cannot be decoded was reported when its source was read.
        let Ok(mut service) = definition::decode_service(item, Origin::File) else { continue };
        let id = reload::service_id(&service);
        service.checks.retain(|check| match check.validate() {
            Ok(()) => true,
            Err(reason) => {
                tree.report.refuse(item.at, format!("service {id:?}: Invalid check: {reason}"));
                false
            }
        });
        if service.name.is_empty() {
            tree.report.refuse(item.at, format!("service {id:?}: Missing service name"));
            continue;
        }
        if service.has_invalid_address() {
            let advice = "nobody can connect to this address; give one of the service's own, or none for the node's";
            tree.report.warn(item.at, format!("service {id:?}: {advice}"));
        }
        if let Err(reason) = service.validate() {
            tree.report.error(item.at, format!("service {id:?}: {reason}"));
        }
        if service.kind == "connect-proxy" {
            let target = service.proxy.as_ref().map_or("", |proxy| proxy.destination_service_name.as_str());
            if target.is_empty() {
                let missing = "Proxy.DestinationServiceName must be non-empty for Connect proxy services";
                tree.report.error(item.at, format!("service {id:?}: {missing}"));
            }
            if service.port == 0 && service.socket_path.is_empty() {
                tree.report.error(item.at, format!("service {id:?}: Port must be set for a Connect proxy"));
            }
        }
        if !scripts && service.checks.iter().any(CheckDefinition::is_script) {
            tree.report.warn(item.at, format!("service {id:?}: {SCRIPTS_DISABLED}"));
        }
        config.services.push(service);
        service_places.push((id, item.at));
    }
    for item in tree.items("checks") {
        let Ok(check) = definition::decode_check(item, Origin::File) else { continue };
        let id = reload::check_id(&check);
        let refused = if id.is_empty() {
            Err("Missing check name".to_string())
        } else {
            check.validate().map_err(|reason| format!("Invalid check: {reason}"))
        };
        if let Err(reason) = refused {
            tree.report.refuse(item.at, format!("check {id:?}: {reason}"));
            continue;
        }
        if !scripts && check.is_script() {
            tree.report.warn(item.at, format!("check {id:?}: {SCRIPTS_DISABLED}"));
        }
        config.checks.push(check);
        check_places.push((id, item.at));
    }
    last_of_each("service", &mut config.services, &service_places, tree.report);
    last_of_each("check", &mut config.checks, &check_places, tree.report);
}

/// Of several definitions with one id the last counts, as registering them in order would have it; that is worth saying.
fn last_of_each<T>(what: &str, items: &mut Vec<T>, places: &[(String, Position)], report: &mut Report) {
    let mut last = BTreeMap::new();
    for (index, (id, _)) in places.iter().enumerate() {
        last.insert(id.as_str(), index);
    }
    let mut index = 0;
    items.retain(|_| {
        let here = index;
        index += 1;
        let Some((id, at)) = places.get(here) else { return true };
        let kept = last.get(id.as_str()) == Some(&here);
        if !kept {
            let advice = "is defined again later, and only the last definition counts; give each an id of its own";
            report.warn(*at, format!("{what} {id:?} {advice}"));
        }
        kept
    });
}

/// In Consul's words, and what will happen.
const SCRIPTS_DISABLED: &str = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                                'enable_local_script_checks' to true. The check will be refused";

fn log(log: &mut LogConfig, tree: &mut Tree<'_>) {
    if let Some(text) = tree.text("log_level") {
        match LogLevel::parse(&text) {
            Some(level) => log.level = level,
            None => tree.refuse("log_level", &format!("invalid log level {text:?}: TRACE, DEBUG, INFO, WARN or ERROR")),
        }
    }
    log.json = tree.flag("log_json", log.json);
    log.file = tree.text("log_file").unwrap_or_default();
    log.rotate_duration = tree.duration("log_rotate_duration", log.rotate_duration);
    log.rotate_bytes = tree.number("log_rotate_bytes", log.rotate_bytes);
    log.rotate_max_files = tree.signed("log_rotate_max_files").unwrap_or(log.rotate_max_files);
    if log.rotate_max_files < -1 {
        tree.error("log_rotate_max_files", "must be -1 (keep none), 0 (keep all) or a number of files");
    }
    log.enable_syslog = tree.flag("enable_syslog", log.enable_syslog);
    log.syslog_facility = tree.text("syslog_facility").unwrap_or_else(|| log.syslog_facility.clone());
}

fn telemetry(telemetry: &mut Telemetry, tree: &mut Tree<'_>) {
    let text = |tree: &mut Tree<'_>, name: &str| tree.text(&format!("telemetry.{name}")).unwrap_or_default();
    let (mut allowed, mut blocked) = (Vec::new(), Vec::new());
    for rule in tree.list("telemetry.prefix_filter") {
        match (rule.strip_prefix('+'), rule.strip_prefix('-')) {
            (Some(prefix), _) => allowed.push(prefix.to_string()),
            (_, Some(prefix)) => blocked.push(prefix.to_string()),
            _ => tree.warn(
                "telemetry.prefix_filter",
                &format!("Filter rule must begin with either '+' or '-': {rule:?}; it is ignored"),
            ),
        }
    }
    *telemetry = Telemetry {
        disable_hostname: tree.flag("telemetry.disable_hostname", false),
        metrics_prefix: tree.text("telemetry.metrics_prefix").unwrap_or_else(|| telemetry.metrics_prefix.clone()),
        filter_default: tree.flag("telemetry.filter_default", true),
        allowed_prefixes: allowed,
        blocked_prefixes: blocked,
        prometheus_retention_time: tree
            .duration("telemetry.prometheus_retention_time", telemetry.prometheus_retention_time),
        statsd_address: text(tree, "statsd_address"),
        statsite_address: text(tree, "statsite_address"),
        dogstatsd_addr: text(tree, "dogstatsd_addr"),
        dogstatsd_tags: tree.list("telemetry.dogstatsd_tags"),
        enable_host_metrics: tree.flag("telemetry.enable_host_metrics", false),
    };
}
