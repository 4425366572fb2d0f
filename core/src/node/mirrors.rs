//! Which alias checks are to be looked at again, and when.
//!
//! Those that follow a service of this agent are found by that service, so that a change costs what it touches and not
//! the number of alias checks; the others follow the catalog.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::model::Str;
use convoke_catalog::topic::{Changes, Topic};
use convoke_config::definition::CheckDefinition;
use convoke_kit::{Deadline, Time};

use crate::checks::alias;
use crate::local;

/// Alias checks that mirror alias checks are followed so many times within one event, then a second later.
const PASSES: u32 = 8;
/// Before alias checks that did not settle are looked at again.
const PAUSE: Duration = Duration::from_secs(1);

/// The alias checks of an agent by what they follow.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// Ids of alias checks by the id of the local service they follow.
    of_service: BTreeMap<Str, BTreeSet<Str>>,
    /// The service each of these follows.
    follows: BTreeMap<Str, Str>,
    /// Those that follow the catalog, and what they read there.
    of_catalog: BTreeMap<Str, [Topic; 2]>,
    /// To be looked at.
    dirty: BTreeSet<Str>,
    passes: u32,
    again_at: Option<Time>,
}

impl Mirrors {
    /// A check is new or different.
    pub(super) fn set(&mut self, id: &Str, definition: &CheckDefinition, own_node: &Str, own_partition: &str) {
        self.remove(id);
        match alias::follows(definition, own_node) {
            None => return,
            Some(alias::Follows::Service(service)) => {
                let service: Str = service.into();
                self.follows.insert(Arc::clone(id), Arc::clone(&service));
                self.of_service.entry(service).or_default().insert(Arc::clone(id));
            }
            Some(alias::Follows::Node(node)) => {
                let tenancy = local::tenancy(&definition.partition, &definition.namespace, own_partition);
                let node: Str = node.into();
                let services = Topic::NodeServices { tenancy: tenancy.clone(), node: Arc::clone(&node) };
                let checks = Topic::NodeChecks { tenancy, node };
                self.of_catalog.insert(Arc::clone(id), [services, checks]);
            }
        }
        self.dirty.insert(Arc::clone(id));
    }

    /// A check is gone.
    pub(super) fn remove(&mut self, id: &str) {
        self.dirty.remove(id);
        self.of_catalog.remove(id);
        if let Some(service) = self.follows.remove(id)
            && let Some(ids) = self.of_service.get_mut(&service)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.of_service.remove(&service);
            }
        }
    }

    /// A service of this agent, or one of its checks, changed; empty: a check of the node.
    pub(super) fn service_changed(&mut self, service: &str) {
        if service.is_empty() {
            self.dirty.extend(self.of_service.values().flatten().cloned());
        } else if let Some(ids) = self.of_service.get(service) {
            self.dirty.extend(ids.iter().cloned());
        }
    }

    /// The catalog was replaced as a whole.
    pub(super) fn everything_changed(&mut self) {
        self.dirty.extend(self.of_catalog.keys().cloned());
    }

    /// The catalog changed.
    pub(super) fn catalog_changed(&mut self, changes: &Changes) {
        for (id, topics) in &self.of_catalog {
            if topics.iter().any(|topic| changes.contains(topic)) {
                self.dirty.insert(Arc::clone(id));
            }
        }
    }

    /// A new event: passes are counted anew, and what had to wait may be due.
    pub(super) fn begin(&mut self, now: Time) {
        self.passes = 0;
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
        }
    }

    /// Those to be looked at now. None after some passes: they talk in circles, and wait a second.
    pub(super) fn take(&mut self, now: Time) -> Vec<Str> {
        if self.dirty.is_empty() || self.again_at.is_some() {
            return Vec::new();
        }
        if self.passes >= PASSES {
            self.again_at = Some(now + PAUSE);
            return Vec::new();
        }
        self.passes += 1;
        core::mem::take(&mut self.dirty).into_iter().collect()
    }

    /// When those that wait are due.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.again_at.map(|at| Deadline { at, reason: "alias checks" })
    }
}
