//! A machine with an agent: configurations of these, disk, and the node while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_config::config::Config;
use convoke_core::node::{AskId, CallId, Node, Published};
use convoke_kit::Time;

use super::disk::Disk;
use super::watcher::Watchers;
use super::world::MS;

/// Gossip quick enough for short lives, as `-dev` has it.
pub(super) fn quick(mut config: Config) -> Config {
    for gossip in [&mut config.gossip_lan, &mut config.gossip_wan] {
        gossip.gossip_interval = 100 * MS;
        gossip.probe_interval = 200 * MS;
        gossip.probe_timeout = 100 * MS;
        gossip.suspicion_mult = 3;
    }
    config.data_dir = "/d".to_string();
    config.leave_on_terminate = false;
    config.retry_join.addresses = vec!["10.0.0.1".to_string(), "10.0.0.2".to_string(), "10.0.0.3".to_string()];
    config
}

/// One of so many servers that expect each other.
pub(super) fn server(expect: u32) -> Config {
    quick(Config { server: true, bootstrap_expect: expect, ..Config::default() })
}

/// An agent without tables.
pub(super) fn client() -> Config {
    quick(Config::default())
}

/// A machine that may be off.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) config: Arc<Config>,
    pub(super) identity: Identity,
    pub(super) disk: Disk,
    pub(super) life: Option<Life>,
    /// Starts so far; names a life.
    pub(super) boots: u64,
    /// It was told to leave.
    pub(super) leaves: bool,
    /// Stands still until then.
    pub(super) paused: Duration,
    /// Between the handing in of a write and its report, at most.
    pub(super) disk_latency: Duration,
    /// When what is being written lands.
    pub(super) disk_free: Duration,
    /// When what waits for that lands, all of it together.
    pub(super) disk_next: Option<Duration>,
}

/// From a start to the end.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) epoch: Duration,
    pub(super) node: Node,
    pub(super) published: Arc<Published>,
    pub(super) watchers: Watchers,
    /// Questions of others, and who wants to know.
    pub(super) asked: BTreeMap<AskId, (usize, u64, CallId)>,
    /// Requests of clients that wait for their reply.
    pub(super) waiting: Vec<u64>,
}

impl Host {
    pub(super) fn new(number: usize, name: String, config: Config) -> Self {
        let identity = Identity {
            node_name: name,
            node_id: format!("00000000-0000-0000-0000-0000000000{number:02}"),
            advertise: super::world::ip(number).to_string(),
            version: "1.21.4".to_string(),
            revision: String::new(),
        };
        Self {
            config: Arc::new(config),
            identity,
            disk: Disk::default(),
            life: None,
            boots: 0,
            leaves: false,
            paused: Duration::ZERO,
            disk_latency: Duration::from_millis(4),
            disk_free: Duration::ZERO,
            disk_next: None,
        }
    }

    /// When a write that is handed in now lands, if it took so long.
    pub(super) fn lands(&mut self, now: Duration, took: Duration) -> Duration {
        if self.disk_free <= now {
            let Some(next) = self.disk_next.take().filter(|next| *next > now) else {
                self.disk_free = now + took;
                return self.disk_free;
            };
            self.disk_free = next;
        }
        *self.disk_next.get_or_insert(self.disk_free + took)
    }
}

impl Life {
    pub(super) fn local(&self, now: Duration) -> Time {
        Time::from_duration(now.saturating_sub(self.epoch))
    }
}
