//! What the agent publishes of itself for the handlers to read.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use convoke_catalog::Table;
use convoke_catalog::model::{Check, Service, Str};
use convoke_config::config::Config;
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_swim::{Coordinate, Members, Profile, State, TagsRef};

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
    /// The pool inside the datacenter.
    pub lan: Pool,
    /// The pool between datacenters; servers only, and only where its port is on.
    pub wan: Option<Pool>,
    /// This server leads.
    pub leads: bool,
    /// Raft address of the leader; `None` while there is none.
    pub leader: Option<SocketAddr>,
    /// Raft addresses of the servers.
    pub peers: Arc<Vec<SocketAddr>>,
    /// Servers of the pool that are up, in the order in which this agent asks them.
    pub servers: Arc<Vec<SocketAddr>>,
    /// Changes whenever `services` or `checks` do; for the hash-based blocking of `/v1/agent/...`.
    pub revision: u64,
    /// It is leaving or has left.
    pub leaving: bool,
    /// Gossip is sealed: in the LAN pool, in the WAN pool.
    pub encrypted: [bool; 2],
    /// User events that reached this agent and passed their filters, oldest first; at most [`EVENTS`].
    pub events: Arc<Vec<Arc<UserEvent>>>,
    /// What is known of consensus; servers only.
    pub raft: Option<Arc<RaftView>>,
    /// Where servers are, by what the WAN pool measured: name (without datacenter), datacenter, place.
    pub wan_coordinates: Arc<Vec<(String, String, Coordinate)>>,
}

/// What a server knows of the servers, as of the last change, or of a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftView {
    /// Members of the cluster, by id.
    pub servers: Vec<RaftServer>,
    /// Log index of the last change of membership.
    pub index: u64,
    /// Term this server is in.
    pub term: u64,
}

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftServer {
    /// UUID text.
    pub id: String,
    /// Node name; its id while nobody told the name.
    pub node: String,
    /// Where it is reached by servers.
    pub address: String,
    /// It leads.
    pub leader: bool,
    /// It votes.
    pub voter: bool,
    /// What the pool says of it.
    pub serf_status: &'static str,
    /// Its version; empty if nobody told.
    pub version: String,
    /// How long the leader did not hear of it.
    pub last_contact: Duration,
    /// Term of its last entry, as far as this server knows.
    pub last_term: u64,
    /// Index of its last entry, as far as this server knows.
    pub last_index: u64,
    /// Autopilot finds it healthy.
    pub healthy: bool,
    /// Since when, since 1970.
    pub stable_since: Duration,
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

/// A gossip pool as this agent sees it. Cheap to clone, however many members there are.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What the agent says of itself there.
    pub own: Arc<Profile>,
    /// Of the agent itself; it is the only one who knows that it is leaving.
    pub status: Status,
    /// Everybody who is known; the agent itself may be among them, or not yet.
    pub members: Members,
    /// How ill the agent believes itself to be; 0 is well.
    pub health_score: u32,
    /// Where the agent is; `None` without network coordinates.
    pub coordinate: Option<Coordinate>,
    /// Lamport time of the next user event.
    pub event_time: u64,
    /// Coordinates of others thrown away because they made no sense.
    pub coordinate_resets: u64,
    /// Broadcasts that wait.
    pub broadcasts: usize,
}

/// State of a member, as Serf counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Up.
    Alive = 1,
    /// On its way out.
    Leaving = 2,
    /// Gone on purpose.
    Left = 3,
    /// It does not answer.
    Failed = 4,
}

/// A member of a pool, for users.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What it says of itself.
    pub profile: &'a Arc<Profile>,
    /// What is believed of it.
    pub status: Status,
}

impl<'a> Member<'a> {
    /// Unique in its pool.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.profile.name()
    }

    /// Where it takes gossip, without the port.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.profile.address().ip()
    }

    /// Its gossip port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.profile.address().port()
    }

    /// Serf tags.
    #[must_use]
    pub fn tags(&self) -> TagsRef<'a> {
        self.profile.tags()
    }

    /// It says that it is a server.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.tags().get("role") == Some("consul")
    }
}

impl Pool {
    /// One who is alone, and alive.
    #[must_use]
    pub fn alone(own: Profile) -> Self {
        Self {
            own: Arc::new(own),
            status: Status::Alive,
            members: Members::default(),
            health_score: 0,
            coordinate: None,
            event_time: 1,
            coordinate_resets: 0,
            broadcasts: 0,
        }
    }

    /// The agent itself.
    #[must_use]
    pub const fn own(&self) -> Member<'_> {
        Member { profile: &self.own, status: self.status }
    }

    /// All members, the agent itself first, the others in no particular but a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        let others = self.members.iter().filter(|member| member.profile.name() != self.own.name());
        core::iter::once(self.own()).chain(others.map(|member| shown(&member)))
    }

    /// One by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Member<'_>> {
        if name == self.own.name() { Some(self.own()) } else { self.members.get(name).map(|member| shown(&member)) }
    }

    /// How many members are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len() + usize::from(self.members.get(self.own.name()).is_none())
    }

    /// Never: the agent itself is always there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// How many are in this state.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.iter().filter(|member| member.status == status).count()
    }

    /// Servers that are up, the agent itself included if it is one.
    pub fn servers(&self) -> impl Iterator<Item = Member<'_>> {
        self.iter().filter(|member| member.status == Status::Alive && member.is_server())
    }
}

const fn shown<'a>(member: &convoke_swim::Member<'a>) -> Member<'a> {
    let status = match member.state {
        State::Alive | State::Suspect => Status::Alive,
        State::Left => Status::Left,
        State::Failed => Status::Failed,
    };
    Member { profile: member.profile, status }
}
