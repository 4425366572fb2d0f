//! From the agent's configuration to that of its pools.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_config::config::Config;
use convoke_config::{Cidr, Gossip};
use convoke_swim as swim;

use crate::identity;
use crate::node::Pool;

/// Shorter intervals than this only burn a core.
const SHORTEST: Duration = Duration::from_millis(10);
/// A datacenter is a pool.
const ONE_DATACENTER: &[swim::Alike] =
    &[swim::Alike { tag: "dc", advice: "datacenters are joined over the WAN pool, by their servers" }];

/// Settings of a pool.
#[must_use]
pub(super) fn swim_config(config: &Config, pool: Pool) -> swim::Config {
    let (base, gossip, reconnect) = match pool {
        Pool::Lan => (swim::Config::lan(), &config.gossip_lan, config.reconnect_timeout),
        Pool::Wan => (swim::Config::wan(), &config.gossip_wan, config.reconnect_timeout_wan),
    };
    let Gossip { gossip_nodes, gossip_interval, probe_interval, probe_timeout, retransmit_mult, suspicion_mult } =
        *gossip;
    swim::Config {
        gossip_nodes,
        gossip_interval: gossip_interval.max(SHORTEST),
        probe_interval: probe_interval.max(SHORTEST),
        probe_timeout: probe_timeout.max(SHORTEST),
        retransmit_mult: retransmit_mult.max(1),
        suspicion_mult: suspicion_mult.max(1),
        reconnect_timeout: reconnect,
        event_bytes: convoke_api::event::POOL_BYTES,
        coordinates: !config.disable_coordinates,
        verify_incoming: config.encrypt_verify_incoming,
        verify_outgoing: config.encrypt_verify_outgoing,
        alike: if pool == Pool::Lan { ONE_DATACENTER } else { &[] },
        stay_tag: identity::STAY_TAG,
        ..base
    }
}

/// Whether gossip from this address is taken: packets as well as streams.
#[must_use]
pub fn admits(config: &Config, pool: Pool, from: IpAddr) -> bool {
    let networks = match pool {
        Pool::Lan => &config.serf_lan_allowed_cidrs,
        Pool::Wan => &config.serf_wan_allowed_cidrs,
    };
    networks.is_empty() || networks.iter().any(|network: &Cidr| network.contains(from))
}

/// Where gossip of this agent listens; `None` where it does not.
#[must_use]
pub fn listens(config: &Config, pool: Pool) -> Option<SocketAddr> {
    match pool {
        Pool::Lan => Some(config.serf_lan),
        // Clients have no part in the pool between datacenters.
        Pool::Wan => config.serf_wan.filter(|_| config.server),
    }
}

/// Where the others reach it.
pub(super) fn advertised(config: &Config, identity: &Identity, pool: Pool) -> Option<SocketAddr> {
    let port = listens(config, pool)?.port();
    let lan = identity.advertise.parse().unwrap_or(config.advertise_addr);
    let ip = match pool {
        Pool::Wan if !config.advertise_addr_wan.is_unspecified() => config.advertise_addr_wan,
        _ => lan,
    };
    Some(SocketAddr::new(ip, port))
}

/// Its name in a pool.
pub(super) fn name(config: &Config, identity: &Identity, pool: Pool) -> String {
    match pool {
        Pool::Lan => identity.node_name.clone(),
        Pool::Wan => format!("{}.{}", identity.node_name, config.datacenter),
    }
}

/// What it says of itself.
pub(super) fn tags(config: &Config, identity: &Identity, pool: Pool) -> Result<swim::Tags, swim::tags::TagsError> {
    let mut tags: BTreeMap<String, String> = identity::tags(config, identity);
    if pool == Pool::Wan {
        tags.remove("wan_join_port");
    }
    swim::Tags::new(&tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    #[test]
    fn settings_become_those_of_the_machine_and_stay_sane() {
        let mut config = Config::default();
        let both = |base| swim::Config { stay_tag: "rc_tm", ..base };
        let lan = swim::Config { alike: ONE_DATACENTER, ..both(swim::Config::lan()) };
        assert_eq!(swim_config(&config, Pool::Lan), lan);
        assert_eq!(swim_config(&config, Pool::Wan), both(swim::Config::wan()));
        config.gossip_lan.probe_interval = Duration::ZERO;
        config.gossip_lan.suspicion_mult = 0;
        config.gossip_wan.gossip_nodes = 9;
        config.reconnect_timeout_wan = Duration::from_secs(9 * 3600);
        config.encrypt_verify_incoming = false;
        config.disable_coordinates = true;
        let lan = swim_config(&config, Pool::Lan);
        assert_eq!((lan.probe_interval, lan.suspicion_mult, lan.verify_incoming), (SHORTEST, 1, false));
        let wan = swim_config(&config, Pool::Wan);
        assert_eq!((wan.gossip_nodes, wan.reconnect_timeout.as_secs(), wan.coordinates), (9, 9 * 3600, false));
    }

    #[test]
    fn only_allowed_networks_are_heard() {
        let mut config = Config::default();
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(admits(&config, Pool::Lan, from("192.0.2.1")), "no list, no rule");
        config.serf_lan_allowed_cidrs = vec![Cidr::parse("10.0.0.0/8").unwrap()];
        assert!(admits(&config, Pool::Lan, from("10.1.2.3")) && !admits(&config, Pool::Lan, from("192.0.2.1")));
        assert!(admits(&config, Pool::Wan, from("192.0.2.1")), "each pool has its own list");
    }

    #[test]
    fn servers_have_two_names_and_addresses() {
        let identity =
            Identity { node_name: "n1".to_string(), advertise: "10.0.0.7".to_string(), ..Identity::default() };
        let mut config = Config { server: true, ..Config::default() };
        assert_eq!(name(&config, &identity, Pool::Wan), "n1.dc1");
        assert_eq!(advertised(&config, &identity, Pool::Wan).unwrap().to_string(), "10.0.0.7:8302");
        config.advertise_addr_wan = [192, 0, 2, 9].into();
        assert_eq!(advertised(&config, &identity, Pool::Wan).unwrap().to_string(), "192.0.2.9:8302");
        let wan = tags(&config, &identity, Pool::Wan).unwrap();
        assert_eq!((wan.get("role"), wan.get("wan_join_port")), (Some("consul"), None));
        assert_eq!(tags(&config, &identity, Pool::Lan).unwrap().get("wan_join_port"), Some("8302"));
        config.server = false;
        assert_eq!(advertised(&config, &identity, Pool::Wan), None);
    }
}
