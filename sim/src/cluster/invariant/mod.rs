//! What always holds among agents, one a file, each with its source. That of watches is in `watcher`, where they are.

mod delays;
mod quorum;
mod reigns;
mod sessions;

use std::fmt;
use std::time::Duration;

use convoke_core::node::Published;

use super::host::Host;

/// What an invariant may look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// Since the beginning.
    pub(super) now: Duration,
    /// All machines.
    pub(super) world: &'a [Host],
}

impl Scene<'_> {
    pub(super) fn published(&self, host: usize) -> Option<&Published> {
        self.world[host].life.as_ref().map(|life| &*life.published)
    }

    pub(super) fn is_server(&self, host: usize) -> bool {
        self.world[host].config.server
    }

    pub(super) fn name(&self, host: usize) -> &str {
        &self.world[host].identity.node_name
    }
}

/// What happened.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// Readers of a machine see something else.
    Published { host: usize },
    /// A client knows that a session was made, or renewed; that was no earlier than `since`.
    Alive { session: &'a str, ttl: Duration, since: Duration },
    /// A client ended a session, or tried to.
    Destroyed { session: &'a str },
    /// A client has a lock, now.
    Locked { key: &'a str, session: &'a str, delay: Duration },
}

/// Something that always holds.
pub(super) trait Invariant: fmt::Debug {
    /// Its name, and where it comes from.
    fn name(&self) -> &'static str;

    /// Looks at what happened; what is wrong.
    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String>;
}

pub(super) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<reigns::OneReign>::default(),
        Box::<sessions::NotBeforeTheirTime>::default(),
        Box::<delays::LockDelay>::default(),
        Box::<quorum::EnoughVoters>::default(),
    ]
}
