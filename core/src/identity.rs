//! What this agent says of itself: its row in the catalog, and its tags among the members.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::net::{IpAddr, SocketAddr};

use convoke_api::agent_view::Identity;
use convoke_catalog::model::{Node, Str};
use convoke_config::config::Config;
use convoke_raft::NodeId;

/// Meta key that Consul puts on every node, with the name of its network segment.
const SEGMENT_META: &str = "consul-network-segment";

/// The tag that says for how long a member is remembered once it is gone.
pub(crate) const STAY_TAG: &str = "rc_tm";

/// The partition of an agent; empty in a configuration means `default`.
#[must_use]
pub fn partition(config: &Config) -> &str {
    if config.partition.is_empty() { "default" } else { &config.partition }
}

/// The row of the own node.
#[must_use]
pub fn node_row(config: &Config, identity: &Identity) -> Node {
    let wan = if config.advertise_addr_wan.is_unspecified() {
        identity.advertise.clone()
    } else {
        config.advertise_addr_wan.to_string()
    };
    let mut tagged: BTreeMap<Str, Str> = BTreeMap::new();
    for (kind, address) in [("lan", &identity.advertise), ("wan", &wan)] {
        tagged.insert(kind.into(), address.as_str().into());
        let family = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => "ipv4",
            Ok(IpAddr::V6(_)) => "ipv6",
            Err(_) => continue,
        };
        tagged.insert(format!("{kind}_{family}").as_str().into(), address.as_str().into());
    }
    tagged.extend(config.tagged_addresses.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())));
    let mut meta: BTreeMap<Str, Str> =
        config.node_meta.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
    meta.insert(SEGMENT_META.into(), config.segment.as_str().into());
    Node {
        id: (!identity.node_id.is_empty()).then(|| identity.node_id.as_str().into()),
        name: identity.node_name.as_str().into(),
        partition: partition(config).into(),
        address: identity.advertise.as_str().into(),
        datacenter: config.datacenter.as_str().into(),
        tagged_addresses: Some(tagged),
        meta: Some(meta),
        ..Node::default()
    }
}

/// Whether this agent leads by itself: the only voter there is.
#[must_use]
pub const fn leads_alone(config: &Config) -> bool {
    config.server && (config.dev_mode || config.bootstrap || config.bootstrap_expect == 1)
}

/// A server in the log: its UUID as a number. What is no UUID is hashed, so that it stays the same at each start.
#[must_use]
pub fn raft_id(node_id: &str) -> NodeId {
    let digits: String = node_id.chars().filter(|c| *c != '-').collect();
    let parsed = if digits.len() == 32 { u128::from_str_radix(&digits, 16).ok() } else { None };
    NodeId(parsed.unwrap_or_else(|| {
        let high = crc32fast::hash(node_id.as_bytes());
        node_id.bytes().fold(u128::from(high), |sum, byte| sum.wrapping_mul(0x0100_0193).wrapping_add(u128::from(byte)))
    }))
}

/// The UUID of a server in the log.
#[must_use]
pub fn uuid(id: NodeId) -> String {
    let text = format!("{:032x}", id.0);
    let part = |range: core::ops::Range<usize>| text.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// Where servers talk to each other.
#[must_use]
pub fn server_address(config: &Config, identity: &Identity) -> Option<SocketAddr> {
    Some(SocketAddr::new(identity.advertise.parse().ok()?, config.ports.server?))
}

/// State of a member, as Serf counts.
pub use convoke_api::agent_view::Status as MemberState;

/// What this agent says of itself to the other members, by the keys that Consul's agents use.
#[must_use]
pub fn tags(config: &Config, identity: &Identity) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let mut tag = |key: &str, value: String| {
        tags.insert(key.to_string(), value);
    };
    tag("acls", u8::from(config.acl.enabled).to_string());
    tag("build", format!("{}:{}", identity.version, identity.revision));
    tag("dc", config.datacenter.clone());
    tag("id", identity.node_id.clone());
    tag("segment", config.segment.clone());
    for (key, value) in [("vsn", "2"), ("vsn_max", "3"), ("vsn_min", "2")] {
        tag(key, value.to_string());
    }
    if config.server {
        tag("role", "consul".to_string());
        tag("ft_fs", "1".to_string());
        tag("raft_vsn", config.raft.protocol.to_string());
        if let Some(port) = config.ports.server {
            tag("port", port.to_string());
        }
        if let Some(wan) = config.serf_wan {
            tag("wan_join_port", wan.port().to_string());
        }
        if !config.dev_mode && (config.bootstrap || config.bootstrap_expect == 1) {
            tag("bootstrap", "1".to_string());
        } else if config.bootstrap_expect > 1 {
            tag("expect", config.bootstrap_expect.to_string());
        }
        if config.read_replica {
            tag("nonvoter", "1".to_string());
        }
    } else {
        tag("role", "node".to_string());
        if let Some(stays) = config.advertise_reconnect_timeout {
            tag(STAY_TAG, convoke_config::duration::format(stays));
        }
    }
    if !matches!(config.partition.as_str(), "" | "default") {
        tag("ap", config.partition.clone());
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn agent() -> (Config, Identity) {
        let mut config = Config { server: true, dev_mode: true, ..Config::default() };
        config.node_meta.insert("rack".to_string(), "r1".to_string());
        let identity = Identity {
            node_name: "n1".to_string(),
            node_id: "5e0a".to_string(),
            advertise: "10.0.0.7".to_string(),
            version: "1.21.4".to_string(),
            revision: String::new(),
        };
        (config, identity)
    }

    #[test]
    fn the_row_has_the_addresses_of_its_family_and_the_segment() {
        let (config, identity) = agent();
        let row = node_row(&config, &identity);
        let pairs = |map: Option<BTreeMap<Str, Str>>| -> Vec<String> {
            map.unwrap().iter().map(|(k, v)| format!("{k}={v}")).collect()
        };
        assert_eq!(
            pairs(row.tagged_addresses),
            ["lan=10.0.0.7", "lan_ipv4=10.0.0.7", "wan=10.0.0.7", "wan_ipv4=10.0.0.7"]
        );
        assert_eq!(pairs(row.meta), ["consul-network-segment=", "rack=r1"]);
        assert_eq!((&*row.partition, row.id.as_deref()), ("default", Some("5e0a")));
    }

    #[test]
    fn members_carry_serf_tags() {
        let (mut config, identity) = agent();
        let of_server = tags(&config, &identity);
        assert_eq!(
            (&*of_server["role"], &*of_server["port"], &*of_server["build"], &*of_server["wan_join_port"]),
            ("consul", "8300", "1.21.4:", "8302")
        );
        assert!(!of_server.contains_key("bootstrap"), "a -dev agent does not say so");
        config.server = false;
        let of_client = tags(&config, &identity);
        assert_eq!(&*of_client["role"], "node");
        assert!(!of_client.contains_key("port") && !of_client.contains_key("ap"));
        assert!(!of_client.contains_key("rc_tm"));
        config.advertise_reconnect_timeout = Some(core::time::Duration::from_secs(5400));
        assert_eq!(tags(&config, &identity)["rc_tm"], "1h30m0s");
        config.partition = "p".to_string();
        assert_eq!(tags(&config, &identity)["ap"], "p");
    }
}
