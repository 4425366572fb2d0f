//! The machine.

use core::net::SocketAddr;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_kit::{Deadline, Machine, Out, Time};

use crate::config::Config;
use crate::event::{Action, Event};
use crate::flaw::Flaw;
use crate::seal::Keyring;
use crate::stats::Stats;
use crate::table::{Members, Profile};
use crate::tags::Tags;
use crate::vivaldi::Coordinate;

/// Everything a machine needs to be built.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Unique in the pool.
    pub name: String,
    /// Where others reach it: packets and streams.
    pub address: SocketAddr,
    /// What it says of itself.
    pub tags: Tags,
    /// First incarnation: Unix seconds at the start, so that a restarted member is believed at once. Nothing depends on
    /// it: with a clock that went back the member refutes what is said of its earlier life.
    pub incarnation: u64,
    /// Keys; empty: nothing is sealed.
    pub keyring: Keyring,
    /// Settings.
    pub config: Config,
    /// Of all its randomness.
    pub seed: u64,
    /// Who is known already; the own entry is added or replaced. For simulations and tests that start in the middle.
    pub members: Members,
    /// A bug to put back; has no effect without the feature `flaws`.
    pub flaw: Option<Flaw>,
}

/// One member of a pool.
#[derive(Debug)]
pub struct Swim {
    members: Members,
    profile: Arc<Profile>,
    keyring: Keyring,
    stats: Stats,
}

impl Swim {
    /// A member that knows nobody yet (save [`Boot::members`]); nothing happens before the first call of `handle_timeout`.
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        let profile = Profile::new(&boot.name, boot.address, boot.tags, boot.config.versions);
        Self { members: boot.members, profile: Arc::new(profile), keyring: boot.keyring, stats: Stats::default() }
    }

    /// Who is known, the own member included.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// What it says of itself now.
    #[must_use]
    pub const fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The keys in force.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Where it is; `None` with [`Config::coordinates`] off.
    #[must_use]
    pub fn coordinate(&self) -> Option<Coordinate> {
        None
    }

    /// Where others are, as far as their acks told; sorted by name. Computed anew at each call.
    #[must_use]
    pub fn coordinates(&self) -> Vec<(Arc<Profile>, Coordinate)> {
        Vec::new()
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How ill it believes itself to be: 0 (well) to [`Config::awareness_max`] - 1.
    #[must_use]
    pub const fn health_score(&self) -> u32 {
        0
    }

    /// Broadcasts that wait.
    #[must_use]
    pub const fn broadcasts(&self) -> usize {
        0
    }

    /// Its own incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        0
    }

    /// It is leaving or has left.
    #[must_use]
    pub const fn leaving(&self) -> bool {
        false
    }
}

impl Machine for Swim {
    type Event<'a> = Event<'a>;
    type Action = Action;
    fn handle(&mut self, _: Time, _: Event<'_>, _: &mut Out<Action>) {}
    fn handle_timeout(&mut self, _: Time, _: &mut Out<Action>) {}
    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}
