//! The pools this agent is a member of, and what the rest of the node learns from them.
//!
//! Every agent has a seat in the pool of its datacenter, servers have one in the pool between datacenters, too. A seat is
//! a machine of its own ([`Swim`]); here its actions become the node's: members become rows of the catalog, user events
//! reach those they concern, keys are kept, who wants to join is told how it went.
//!
//! * `settings`: the configuration of a pool. * `join`: addresses and attempts. * `kept`: what is on disk.
//! * `rumours`: user events. * `routes`: from a seat's actions to the node. * `wishes`: what clients ask of the pools.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_api::agent_view::{self, Identity, Status, UserEvent};
use convoke_api::keyring::PoolKeys;
use convoke_config::config::Config;
use convoke_kit::{Deadline, Machine as _, Out, Rng, Time};
use convoke_swim::{self as swim, Coordinate, KeyOp, Swim};

use crate::node::{Pool, RequestId, StartError};
use crate::reconcile::Reconcile;
use crate::store::Recovered;

mod join;
mod kept;
mod routes;
mod rumours;
mod settings;
mod wishes;

use join::{Joins, Retry};
pub(super) use kept::FOLDER;
use kept::Places;
pub use settings::{admits, listens};

/// What readers see of a pool is refreshed so often, as far as nothing else refreshes it; and the leader tells the
/// catalog where members are.
const REFRESH: Duration = Duration::from_secs(5);
/// Keyring operations under way. At the bound further ones are refused.
const KEY_REQUESTS: usize = 16;
/// Failed members remembered to notice that they come back; beyond it, flapping is not counted.
const FLAPS: usize = 1024;

/// What happened in a pool since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GossipStats {
    /// The machine's counters.
    pub swim: swim::Stats,
    /// Its opinion of itself.
    pub health_score: u32,
    /// Broadcasts that wait.
    pub broadcasts: usize,
    /// Members that joined, or came back.
    pub joined: u64,
    /// Of these, those that came back after they were held for failed.
    pub flapped: u64,
    /// Members that failed.
    pub failed: u64,
    /// Members that left.
    pub left: u64,
    /// User events delivered.
    pub events: u64,
    /// Packets and streams from networks that are not allowed.
    pub refused: u64,
    /// Members that are up and servers.
    pub servers: usize,
    /// Members that are up and clients.
    pub clients: usize,
}

/// A place in a pool.
#[derive(Debug)]
struct Seat {
    swim: Swim,
    out: Out<swim::Action>,
    stats: GossipStats,
    /// The keyring is on disk as it is.
    keys_kept: bool,
    /// As readers know it.
    shown_health: u32,
    shown_place: Option<Coordinate>,
    /// Members that failed, to tell who comes back; at most [`FLAPS`].
    failed_before: BTreeSet<Box<str>>,
}

/// Somebody who waits for the keyrings of all pools.
#[derive(Debug)]
struct KeyRequest {
    id: RequestId,
    op: KeyOp,
    pretty: bool,
    /// Pools that did not report yet, by ticket.
    waiting: BTreeMap<swim::Ticket, Pool>,
    reports: Vec<PoolKeys>,
}

/// Who waits until the pools know that this agent leaves.
#[derive(Debug)]
struct Leaving {
    /// Not longer than this.
    until: Time,
    waiting: Vec<Pool>,
    /// All pools were told, or had their time: it serves until then.
    drains: bool,
    askers: Vec<RequestId>,
}

/// Both seats, and what goes on around them.
#[derive(Debug)]
pub(super) struct Gossip {
    lan: Seat,
    wan: Option<Seat>,
    joins: Joins,
    retries: Vec<Retry>,
    places: Places,
    keys: Vec<KeyRequest>,
    next_ticket: u64,
    pub(super) events: Arc<Vec<Arc<UserEvent>>>,
    pub(super) wan_coordinates: Arc<Vec<(String, String, Coordinate)>>,
    leaving: Option<Leaving>,
    refresh_at: Option<Time>,
    pub(super) reconcile: Reconcile,
}

impl Seat {
    fn shown(&self, status: Status) -> agent_view::Pool {
        agent_view::Pool {
            own: Arc::clone(self.swim.profile()),
            status,
            members: self.swim.members().clone(),
            health_score: self.swim.health_score(),
            coordinate: self.swim.coordinate(),
            event_time: self.swim.event_time() + 1,
            coordinate_resets: self.swim.coordinate_resets(),
            broadcasts: self.swim.broadcasts(),
        }
    }
}

impl Gossip {
    /// Seats that nobody took yet. With it come warnings for the log.
    pub(super) fn new(
        config: &Config,
        identity: &Identity,
        recovered: &Recovered,
        wall: Duration,
        rng: &mut Rng,
        warnings: &mut Vec<String>,
    ) -> Result<Self, StartError> {
        let mut seat = |pool| -> Result<Option<Seat>, StartError> {
            let Some(address) = settings::advertised(config, identity, pool) else { return Ok(None) };
            let kept = kept::keyring(config, recovered, pool, warnings).map_err(StartError::Keyring)?;
            let boot = swim::Boot {
                name: settings::name(config, identity, pool),
                address,
                tags: settings::tags(config, identity, pool)?,
                incarnation: wall.as_secs(),
                keyring: kept.ring,
                config: settings::swim_config(config, pool),
                seed: rng.next_u64(),
                members: swim::Members::default(),
                flaw: None,
            };
            Ok(Some(Seat {
                swim: Swim::new(boot),
                out: Out::new(),
                stats: GossipStats::default(),
                keys_kept: kept.on_disk,
                shown_health: 0,
                shown_place: None,
                failed_before: BTreeSet::new(),
            }))
        };
        let (lan, wan) = (seat(Pool::Lan)?, seat(Pool::Wan)?);
        // The LAN port cannot be off: `settings::advertised` always has an address.
        let lan = lan.ok_or_else(|| StartError::Keyring(String::from("ports.serf_lan must be set")))?;
        let own = Pool::ALL.map(|pool| settings::advertised(config, identity, pool));
        let mut retries = alloc::vec![Retry::new(Pool::Lan, &config.retry_join, warnings)];
        if wan.is_some() {
            retries.push(Retry::new(Pool::Wan, &config.retry_join_wan, warnings));
        } else if !config.retry_join_wan.addresses.is_empty() {
            warnings.push(String::from(
                "retry_join_wan has no effect here: only servers whose ports.serf_wan is on are members of the WAN pool",
            ));
        }
        Ok(Self {
            lan,
            wan,
            joins: Joins::new(own),
            retries,
            places: Places::new(config, recovered, warnings),
            keys: Vec::new(),
            next_ticket: 0,
            events: Arc::default(),
            wan_coordinates: Arc::default(),
            leaving: None,
            refresh_at: None,
            reconcile: Reconcile::default(),
        })
    }

    fn seat(&self, pool: Pool) -> Option<&Seat> {
        match pool {
            Pool::Lan => Some(&self.lan),
            Pool::Wan => self.wan.as_ref(),
        }
    }

    fn seat_mut(&mut self, pool: Pool) -> Option<&mut Seat> {
        match pool {
            Pool::Lan => Some(&mut self.lan),
            Pool::Wan => self.wan.as_mut(),
        }
    }

    fn seats(&self) -> impl Iterator<Item = (Pool, &Seat)> {
        Pool::ALL.into_iter().filter_map(|pool| Some((pool, self.seat(pool)?)))
    }

    /// Everybody in the LAN pool.
    pub(super) fn members(&self) -> impl Iterator<Item = swim::Member<'_>> {
        self.lan.swim.members().iter()
    }

    /// What readers see of the LAN pool.
    pub(super) fn shown_lan(&self, status: Status) -> agent_view::Pool {
        self.lan.shown(status)
    }

    /// What readers see of the WAN pool.
    pub(super) fn shown_wan(&self, status: Status) -> Option<agent_view::Pool> {
        self.wan.as_ref().map(|seat| seat.shown(status))
    }

    /// Whether a pool's gossip is sealed.
    pub(super) fn encrypted(&self, pool: Pool) -> bool {
        self.seat(pool).is_some_and(|seat| !seat.swim.keyring().is_empty())
    }

    /// Counters of a pool.
    pub(super) fn stats(&self, pool: Pool) -> Option<GossipStats> {
        self.seat(pool).map(|seat| {
            let up = seat.swim.members().iter().filter(|member| member.state.is_up());
            let servers = up.filter(|member| member.profile.tags().get("role") == Some("consul")).count();
            GossipStats {
                swim: seat.swim.stats(),
                health_score: seat.swim.health_score(),
                broadcasts: seat.swim.broadcasts(),
                servers,
                clients: seat.swim.members().up() - servers,
                ..seat.stats
            }
        })
    }

    /// Somebody should be joined and was not yet.
    pub(super) fn joins_first(&self) -> bool {
        self.retries.iter().any(|retry| retry.pool == Pool::Lan && retry.waits())
    }

    pub(super) fn poll_timeout(&self, leads: bool) -> Option<Deadline> {
        let mut next = self.leaving.as_ref().map(|leaving| Deadline { at: leaving.until, reason: "leave" });
        let mut and = |deadline| next = Deadline::earliest(next, deadline);
        self.seats().for_each(|(_, seat)| and(seat.swim.poll_timeout()));
        self.retries.iter().for_each(|retry| and(retry.deadline()));
        and(self.places.deadline());
        and(self.refresh_at.map(|at| Deadline { at, reason: "refresh" }));
        and(leads.then(|| self.reconcile.deadline()));
        next
    }
}

/// Several texts of a log line.
fn listed(errors: &[String]) -> String {
    if errors.is_empty() { String::from("nobody answered") } else { errors.join("; ") }
}
