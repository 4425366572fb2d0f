//! What the agent publishes of itself for the handlers to read.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use convoke_catalog::Table;
use convoke_catalog::model::{Check, Service, Str};
use convoke_config::config::Config;
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_swim::Coordinate;

/// The agent's own state at one moment. Immutable; a new one is published after every change.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What does not change while it runs.
    pub identity: Arc<Identity>,
    /// Services registered with this agent, by id.
    pub services: Table<Str, Arc<LocalService>>,
    /// Checks registered with this agent, by id.
    pub checks: Table<Str, Arc<LocalCheck>>,
    /// Members of the pool as this agent sees them; itself first.
    pub members: Arc<Vec<Member>>,
    /// Raft address of the leader; `None` while there is none.
    pub leader: Option<SocketAddr>,
    /// Raft addresses of the servers.
    pub peers: Arc<Vec<SocketAddr>>,
    /// Changes whenever `services` or `checks` do; for the hash-based blocking of `/v1/agent/...`.
    pub revision: u64,
    /// It is leaving or has left.
    pub leaving: bool,
    /// Gossip is sealed: in the LAN pool, in the WAN pool.
    pub encrypted: [bool; 2],
    /// User events that reached this agent and passed their filters, oldest first; at most [`EVENTS`].
    pub events: Arc<Vec<Arc<UserEvent>>>,
    /// Where servers are, by what the WAN pool measured: name (without datacenter), datacenter, place.
    pub wan_coordinates: Arc<Vec<(String, String, Coordinate)>>,
}

/// User events an agent remembers.
pub const EVENTS: usize = 256;

/// A user event as `/v1/event` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserEvent {
    /// UUID text.
    pub id: String,
    /// Name.
    pub name: String,
    /// Anything.
    pub payload: Vec<u8>,
    /// Regular expression that the node's name must match; empty: any.
    pub node_filter: String,
    /// The same of a service of the agent.
    pub service_filter: String,
    /// The same of a tag of that service.
    pub tag_filter: String,
    /// Lamport time; 0 until it came back from the pool.
    pub time: u64,
}

/// What does not change while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Node name.
    pub node_name: String,
    /// Node id, UUID text.
    pub node_id: String,
    /// Advertised address, LAN.
    pub advertise: String,
    /// Version shown to users, e.g. `1.21.4`.
    pub version: String,
    /// Source revision, 8 hex digits, or empty.
    pub revision: String,
}

/// A service as the agent holds it.
#[derive(Clone, Debug)]
pub struct LocalService {
    /// The row the catalog should have.
    pub row: Arc<Service>,
    /// As registered; kept for persistence, idempotence and reload.
    pub definition: Arc<ServiceDefinition>,
    /// From a file (true) or over the API.
    pub from_file: bool,
}

/// A check as the agent holds it.
#[derive(Clone, Debug)]
pub struct LocalCheck {
    /// The row the catalog should have.
    pub row: Arc<Check>,
    /// As registered.
    pub definition: Arc<CheckDefinition>,
    /// From a file (true) or over the API.
    pub from_file: bool,
}

/// A member of the gossip pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Node name.
    pub name: String,
    /// Address without port.
    pub address: String,
    /// Gossip port.
    pub port: u16,
    /// Serf tags.
    pub tags: BTreeMap<String, String>,
    /// 1 alive, 2 leaving, 3 left, 4 failed.
    pub status: u8,
}
