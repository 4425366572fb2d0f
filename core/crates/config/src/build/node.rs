//! Who the agent is, what part it plays, and its life cycle.

use super::tree::Tree;
use crate::config::Config;
use crate::definition::validate_meta;
use crate::settings::{Locality, LogLevel};
use crate::source::Environment;
use alloc::format;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

/// What `-dev` changes before anything is read.
pub(super) fn dev_defaults(config: &mut Config) {
    config.server = true;
    config.bind_addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    config.disable_anonymous_signature = true;
    config.disable_keyring_file = true;
    config.enable_debug = true;
    config.ui.enabled = true;
    config.log.level = LogLevel::Debug;
    config.ports.grpc = Some(8502);
    config.performance.raft_multiplier = 1;
    for gossip in [&mut config.gossip_lan, &mut config.gossip_wan] {
        gossip.gossip_interval = Duration::from_millis(100);
        gossip.probe_interval = Duration::from_millis(100);
        gossip.probe_timeout = Duration::from_millis(100);
        gossip.suspicion_mult = 3;
    }
}

pub(super) fn node(config: &mut Config, tree: &mut Tree<'_>, env: &Environment) {
    role(config, tree);
    identity(config, tree, env);
    config.data_dir = tree.text("data_dir").unwrap_or_default();
    if config.data_dir.is_empty() && !config.dev_mode {
        tree.conflict("data_dir", "data_dir cannot be empty; set it, or give -data-dir, or try -dev");
    }
    config.pid_file = tree.text("pid_file").unwrap_or_default();
    config.auto_reload_config = tree.flag("auto_reload_config", false);
    config.leave_on_terminate = tree.flag("leave_on_terminate", !config.server);
    config.skip_leave_on_interrupt = tree.flag("skip_leave_on_interrupt", config.server);
    config.rejoin_after_leave = tree.flag("rejoin_after_leave", false);
    config.server_rejoin_age_max = tree.duration("server_rejoin_age_max", config.server_rejoin_age_max);
    config.disable_update_check = tree.flag("disable_update_check", config.disable_update_check);
    config.disable_anonymous_signature = tree.flag("disable_anonymous_signature", config.disable_anonymous_signature);
}

fn role(config: &mut Config, tree: &mut Tree<'_>) {
    config.server = tree.flag("server", config.server);
    config.bootstrap = tree.flag("bootstrap", false);
    config.bootstrap_expect = tree.number("bootstrap_expect", 0);
    config.read_replica = tree.flag("read_replica", false);
    config.segment = tree.text("segment").unwrap_or_default();
    if !config.segment.is_empty() {
        tree.conflict("segment", "Network segments are not supported in this version");
    }
    if !tree.items("segments").is_empty() {
        tree.conflict("segments", "Network segments are not supported in this version");
    }
    if tree.flag("auto_encrypt.allow_tls", false) && !config.server && !config.dev_mode {
        tree.conflict("auto_encrypt.allow_tls", "auto_encrypt.allow_tls can only be used on a server.");
    }
    if tree.flag("auto_encrypt.tls", false) && config.server {
        tree.conflict("auto_encrypt.tls", "auto_encrypt.tls can only be used on a client.");
    }
    if !tree.list("primary_gateways").is_empty() && !config.server {
        tree.conflict("primary_gateways", "'primary_gateways' requires 'server = true'");
    }
    config.partition = tree.text("partition").unwrap_or_default();
    let (expect, bootstrap) = (config.bootstrap_expect, config.bootstrap);
    if config.dev_mode && expect > 0 {
        tree.conflict("bootstrap_expect", "'bootstrap_expect > 0' not allowed in dev mode");
    }
    // One expected server is the same as bootstrap; Consul sees no contradiction there.
    if bootstrap && expect > 1 {
        tree.conflict("bootstrap", "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
    }
    if bootstrap && !config.server {
        tree.conflict("bootstrap", "'bootstrap = true' requires 'server = true'");
    }
    if expect > 0 && !config.server {
        tree.conflict("bootstrap_expect", "'bootstrap_expect > 0' requires 'server = true'");
    }
    if config.read_replica && !config.server {
        tree.warn("read_replica", "'read_replica = true' has an effect with 'server = true' only");
    }
    match expect {
        0 => {}
        1 => {
            tree.warn("bootstrap_expect", "BootstrapExpect is set to 1; this is the same as Bootstrap mode.");
            config.bootstrap = true;
            config.bootstrap_expect = 0;
        }
        2 => tree.warn(
            "bootstrap_expect",
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance.",
        ),
        n if n % 2 == 0 => tree.warn(
            "bootstrap_expect",
            "bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault \
             tolerance.",
        ),
        _ => tree.warn("bootstrap_expect", &format!("bootstrap_expect > 0: expecting {expect} servers")),
    }
}

fn identity(config: &mut Config, tree: &mut Tree<'_>, env: &Environment) {
    for (key, name) in [("datacenter", &mut config.datacenter), ("primary_datacenter", &mut config.primary_datacenter)]
    {
        let Some(text) = tree.text(key) else { continue };
        *name = text.to_ascii_lowercase();
        if name.is_empty() && key == "datacenter" {
            tree.conflict(key, "datacenter cannot be empty");
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            let message =
                format!("{key} {text:?} is invalid: it must be alphanumeric with underscores and hyphens only");
            tree.conflict(key, &message);
        }
    }
    if !tree.has("primary_datacenter") || config.primary_datacenter.is_empty() {
        config.primary_datacenter = config.datacenter.clone();
    }

    config.node_name = tree.text("node_name").filter(|name| !name.is_empty()).unwrap_or_else(|| env.hostname.clone());
    if config.node_name.trim().is_empty() {
        tree.conflict("node_name", "node_name cannot be empty; the host has no name either, set it or give -node");
    } else if config.node_name.chars().any(char::is_control) || config.node_name.len() > 255 {
        tree.refuse("node_name", "must not hold control characters nor be longer than 255 bytes");
    } else if !config.node_name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        let message = format!(
            "Node name {:?} will not be discoverable via DNS due to invalid characters. Valid characters include all \
             alpha-numerics and dashes.",
            config.node_name
        );
        tree.warn("node_name", &message);
    }

    if let Some(id) = tree.text("node_id") {
        config.node_id = id.to_ascii_lowercase();
        if !config.node_id.is_empty() && !is_uuid(&config.node_id) {
            tree.refuse("node_id", &format!("{id:?} is no UUID"));
        }
    }
    config.disable_host_node_id = tree.flag("disable_host_node_id", config.disable_host_node_id);
    config.node_meta = tree.pairs("node_meta");
    if let Err(reason) = validate_meta(&config.node_meta) {
        tree.error("node_meta", &format!("Failed to parse node metadata: {reason}"));
    }
    config.locality = Locality {
        region: tree.text("locality.region").unwrap_or_default(),
        zone: tree.text("locality.zone").unwrap_or_default(),
    };
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
