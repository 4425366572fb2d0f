//! What a reload changes: services and checks one by one, settings that take effect at once, and settings that wait for a restart.

use crate::Config;
use crate::definition::{CheckDefinition, ServiceDefinition};
use crate::settings::{LogConfig, Telemetry};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Services to register, in the order of the files.
    pub services_added: Vec<ServiceDefinition>,
    /// Services to register over the old ones.
    pub services_changed: Vec<ServiceDefinition>,
    /// Services to deregister, by id.
    pub services_removed: Vec<String>,
    /// Checks to register.
    pub checks_added: Vec<CheckDefinition>,
    /// Checks to register over the old ones.
    pub checks_changed: Vec<CheckDefinition>,
    /// Checks to deregister, by id.
    pub checks_removed: Vec<String>,
    /// Settings that take effect at once.
    pub settings_changed: Vec<&'static str>,
    /// Settings that changed in the files, but only count after a restart.
    pub needs_restart: Vec<&'static str>,
}

impl Difference {
    /// Nothing changed, not even something that waits for a restart.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// For the answer to whoever asked for the reload: `services: 1 added, 1 removed; settings: log_level; needs a restart: data_dir`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no changes");
        }
        let mut separator = "";
        for (name, added, changed, removed) in [
            ("services", self.services_added.len(), self.services_changed.len(), self.services_removed.len()),
            ("checks", self.checks_added.len(), self.checks_changed.len(), self.checks_removed.len()),
        ] {
            if added + changed + removed == 0 {
                continue;
            }
            write!(f, "{separator}{name}:")?;
            let mut comma = "";
            for (count, what) in [(added, "added"), (changed, "changed"), (removed, "removed")] {
                if count > 0 {
                    write!(f, "{comma} {count} {what}")?;
                    comma = ",";
                }
            }
            separator = "; ";
        }
        for (title, names) in [("settings", &self.settings_changed), ("needs a restart", &self.needs_restart)] {
            if !names.is_empty() {
                write!(f, "{separator}{title}: {}", names.join(", "))?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

/// What goes from `old` to `new`.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Difference {
    let mut difference = Difference::default();
    (difference.services_added, difference.services_changed, difference.services_removed) =
        items(&old.services, &new.services, service_id);
    (difference.checks_added, difference.checks_changed, difference.checks_removed) =
        items(&old.checks, &new.checks, check_id);
    settings(old, new, &mut difference);
    difference
}

/// The configuration in force after a reload: `new` where that takes effect at once, `old` where a restart is needed.
#[must_use]
pub fn reloaded(old: &Config, new: &Config) -> Config {
    let mut config = new.clone();
    keep_fixed(&mut config, old);
    config
}

/// What a service is known by on its agent.
pub(crate) fn service_id(service: &ServiceDefinition) -> String {
    if service.id.is_empty() { service.name.clone() } else { service.id.clone() }
}

/// What a check that stands by itself is known by.
pub(crate) fn check_id(check: &CheckDefinition) -> String {
    if check.id.is_empty() { check.name.clone() } else { check.id.clone() }
}

type Items<T> = (Vec<T>, Vec<T>, Vec<String>);

fn items<T: Clone + PartialEq>(old: &[T], new: &[T], id: impl Fn(&T) -> String) -> Items<T> {
    let before: BTreeMap<String, &T> = old.iter().map(|item| (id(item), item)).collect();
    let after: BTreeSet<String> = new.iter().map(&id).collect();
    let (mut added, mut changed) = (Vec::new(), Vec::new());
    for item in new {
        match before.get(&id(item)) {
            None => added.push(item.clone()),
            Some(old) if *old != item => changed.push(item.clone()),
            Some(_) => {}
        }
    }
    (added, changed, before.into_keys().filter(|id| !after.contains(id)).collect())
}

/// Every field of [`Config`] stands in exactly one of the lists; a new one does not compile until it is decided on.
macro_rules! classify {
    (live { $($live:ident => $live_name:literal,)* } fixed { $($fixed:ident => $fixed_name:literal,)* } apart { $($apart:ident),* }) => {
        fn settings(old: &Config, new: &Config, difference: &mut Difference) {
            let Config { $($live: _,)* $($fixed: _,)* $($apart: _,)* } = old;
            $(if old.$live != new.$live { difference.settings_changed.push($live_name); })*
            $(if old.$fixed != new.$fixed { difference.needs_restart.push($fixed_name); })*
            if old.log.level != new.log.level {
                difference.settings_changed.push("log_level");
            }
            if rest_of_log(&old.log) != rest_of_log(&new.log) {
                difference.needs_restart.push("log settings other than log_level");
            }
            if filter(&old.telemetry) != filter(&new.telemetry) {
                difference.settings_changed.push("telemetry.prefix_filter");
            }
            if rest_of_telemetry(&old.telemetry) != rest_of_telemetry(&new.telemetry) {
                difference.needs_restart.push("telemetry settings other than prefix_filter");
            }
        }

        fn keep_fixed(config: &mut Config, old: &Config) {
            $(config.$fixed = old.$fixed.clone();)*
            config.log = LogConfig { level: config.log.level, ..old.log.clone() };
            config.telemetry = Telemetry {
                filter_default: config.telemetry.filter_default,
                allowed_prefixes: core::mem::take(&mut config.telemetry.allowed_prefixes),
                blocked_prefixes: core::mem::take(&mut config.telemetry.blocked_prefixes),
                ..old.telemetry.clone()
            };
        }
    };
}

classify! {
    live {
        acl => "acl",
        check_output_max_size => "check_output_max_size",
        check_update_interval => "check_update_interval",
        config_entries_bootstrap => "config_entries.bootstrap",
        default_query_time => "default_query_time",
        disable_remote_exec => "disable_remote_exec",
        discard_check_output => "discard_check_output",
        discovery_max_stale => "discovery_max_stale",
        dns => "dns_config",
        enable_debug => "enable_debug",
        enable_local_script_checks => "enable_local_script_checks",
        enable_script_checks => "enable_script_checks",
        http => "http_config",
        leave_on_terminate => "leave_on_terminate",
        limits => "limits",
        max_query_time => "max_query_time",
        node_meta => "node_meta",
        recursors => "recursors",
        skip_leave_on_interrupt => "skip_leave_on_interrupt",
        translate_wan_addrs => "translate_wan_addrs",
        watches => "watches",
    }
    fixed {
        addresses => "addresses",
        advertise_addr => "advertise_addr",
        advertise_addr_wan => "advertise_addr_wan",
        advertise_reconnect_timeout => "advertise_reconnect_timeout",
        alt_domain => "alt_domain",
        auto_reload_config => "auto_reload_config",
        autopilot => "autopilot",
        bind_addr => "bind_addr",
        bootstrap => "bootstrap",
        bootstrap_expect => "bootstrap_expect",
        cache => "cache",
        client_addrs => "client_addr",
        data_dir => "data_dir",
        datacenter => "datacenter",
        dev_mode => "dev_mode",
        disable_anonymous_signature => "disable_anonymous_signature",
        disable_coordinates => "disable_coordinates",
        disable_host_node_id => "disable_host_node_id",
        disable_http_unprintable_char_filter => "disable_http_unprintable_char_filter",
        disable_keyring_file => "disable_keyring_file",
        disable_update_check => "disable_update_check",
        domain => "domain",
        enable_agent_tls_for_checks => "enable_agent_tls_for_checks",
        enable_central_service_config => "enable_central_service_config",
        encrypt => "encrypt",
        encrypt_verify_incoming => "encrypt_verify_incoming",
        encrypt_verify_outgoing => "encrypt_verify_outgoing",
        gossip_lan => "gossip_lan",
        gossip_wan => "gossip_wan",
        locality => "locality",
        node_id => "node_id",
        node_name => "node_name",
        partition => "partition",
        peering_enabled => "peering",
        performance => "performance",
        pid_file => "pid_file",
        ports => "ports",
        primary_datacenter => "primary_datacenter",
        primary_gateways => "primary_gateways",
        primary_gateways_interval => "primary_gateways_interval",
        raft => "raft settings",
        read_replica => "read_replica",
        reconnect_timeout => "reconnect_timeout",
        reconnect_timeout_wan => "reconnect_timeout_wan",
        rejoin_after_leave => "rejoin_after_leave",
        retry_join => "retry_join",
        retry_join_wan => "retry_join_wan",
        rpc_enable_streaming => "rpc",
        segment => "segment",
        serf_lan => "serf_lan",
        serf_lan_allowed_cidrs => "serf_lan_allowed_cidrs",
        serf_wan => "serf_wan",
        serf_wan_allowed_cidrs => "serf_wan_allowed_cidrs",
        server => "server",
        server_rejoin_age_max => "server_rejoin_age_max",
        session_ttl_min => "session_ttl_min",
        tagged_addresses => "advertised addresses",
        tls => "tls",
        ui => "ui_config",
        unix_sockets => "unix_sockets",
        use_streaming_backend => "use_streaming_backend",
    }
    apart { services, checks, log, telemetry, without_effect }
}

fn rest_of_log(log: &LogConfig) -> LogConfig {
    LogConfig { level: LogConfig::default().level, ..log.clone() }
}

fn filter(telemetry: &Telemetry) -> (bool, &[String], &[String]) {
    (telemetry.filter_default, &telemetry.allowed_prefixes, &telemetry.blocked_prefixes)
}

fn rest_of_telemetry(telemetry: &Telemetry) -> Telemetry {
    Telemetry { filter_default: true, allowed_prefixes: Vec::new(), blocked_prefixes: Vec::new(), ..telemetry.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogLevel;
    use alloc::string::ToString;
    use alloc::vec;

    fn service(id: &str, port: u16) -> ServiceDefinition {
        ServiceDefinition { name: id.into(), port, ..ServiceDefinition::default() }
    }

    #[test]
    fn nothing_changed() {
        let config = Config::default();
        assert!(diff(&config, &config).is_empty());
        assert_eq!(diff(&config, &config).to_string(), "no changes");
        assert_eq!(reloaded(&config, &config), config);
    }

    #[test]
    fn services_and_checks_one_by_one() {
        let old = Config { services: vec![service("a", 1), service("b", 2), service("c", 3)], ..Config::default() };
        let check = CheckDefinition { name: "mem".into(), ..CheckDefinition::default() };
        let new = Config {
            services: vec![service("d", 4), service("b", 20), service("c", 3)],
            checks: vec![check.clone()],
            ..Config::default()
        };
        let difference = diff(&old, &new);
        assert_eq!(difference.services_added, [service("d", 4)]);
        assert_eq!(difference.services_changed, [service("b", 20)]);
        assert_eq!(difference.services_removed, ["a"]);
        assert_eq!(difference.checks_added, [check]);
        assert_eq!(difference.to_string(), "services: 1 added, 1 changed, 1 removed; checks: 1 added");
        assert_eq!(diff(&new, &old).checks_removed, ["mem"]);
    }

    #[test]
    fn settings_take_effect_or_wait() {
        let old = Config::default();
        let mut new = Config { data_dir: "/x".into(), server: true, ..Config::default() };
        new.log.level = LogLevel::Debug;
        new.log.json = true;
        new.limits.http_max_conns_per_client = 7;
        new.telemetry.blocked_prefixes = vec!["consul.rpc".into()];
        new.telemetry.disable_hostname = true;
        let difference = diff(&old, &new);
        assert_eq!(
            difference.to_string(),
            "settings: limits, log_level, telemetry.prefix_filter; needs a restart: data_dir, server, log settings other \
             than log_level, telemetry settings other than prefix_filter"
        );
        let running = reloaded(&old, &new);
        assert_eq!((running.server, running.data_dir.as_str(), running.log.json), (false, "", false));
        assert_eq!(running.log.level, LogLevel::Debug);
        assert_eq!(running.limits.http_max_conns_per_client, 7);
        assert_eq!(running.telemetry.blocked_prefixes, ["consul.rpc"]);
        assert!(!running.telemetry.disable_hostname);
        // What waits keeps being named, what was done is done.
        assert!(diff(&running, &new).settings_changed.is_empty());
        assert_eq!(diff(&running, &new).needs_restart, difference.needs_restart);
    }
}
