//! What is registered with this agent: services and checks by id, from files and over the API.
//!
//! [`Local`] is the truth that anti-entropy brings to the catalog. It knows no time, no disk and no catalog: every
//! method changes the tables and appends to a list of [`Change`]s, from which the node derives what to persist, to
//! schedule and to sync.
//!
//! * `rows`: from definitions to catalog rows. * `maintenance`: the two maintenance modes.
//! * `sidecar`: proxies registered along with their service.
//! * [`persist`]: the files that make API registrations survive a restart.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_api::agent_view::{LocalCheck, LocalService};
use convoke_api::response::Response;
use convoke_catalog::Table;
use convoke_catalog::model::{Check, Service, Status, Str, Tenancy};
use convoke_config::definition::{CheckDefinition, ServiceDefinition};

mod maintenance;
pub mod persist;
pub(crate) mod rows;
mod sidecar;
#[cfg(test)]
mod tests;

pub use maintenance::{NODE_MAINTENANCE, SERVICE_MAINTENANCE, is_maintenance};
pub use sidecar::{sidecar_id, wants_sidecar};

/// What happened to the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Id of the service or check.
    pub id: Str,
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// What.
    pub what: What,
}

/// See [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A service is new or different.
    ServiceSet {
        /// It comes from a file now, and came over the API before: what was kept of it is void.
        now_from_file: bool,
    },
    /// A service is gone.
    ServiceGone {
        /// Where it came from.
        from_file: bool,
    },
    /// A check is new, or defined differently.
    CheckSet {
        /// It comes from a file now, and came over the API before: what was kept of it is void.
        now_from_file: bool,
    },
    /// A check reports something else. Its definition is as it was.
    CheckReported {
        /// Only its output changed.
        output_only: bool,
    },
    /// A check is gone.
    CheckGone {
        /// Where it came from.
        from_file: bool,
        /// Its last word was kept.
        ttl: bool,
        /// Id of its service; empty: of the node.
        service: Str,
    },
}

/// What becomes of checks that a service had and that are not named again when it is registered anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// They stay.
    Stay,
    /// They go, except maintenance.
    Go,
    /// Those from files go.
    GoIfFromFile,
}

/// Why a registration was refused, as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub text: String,
}

impl Refusal {
    /// A refusal with that HTTP status.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::text(refusal.status, refusal.text)
    }
}

/// The agent's own tables.
#[derive(Clone, Debug, Default)]
pub struct Local {
    node: Str,
    partition: Str,
    services: Table<Str, Arc<LocalService>>,
    checks: Table<Str, Arc<LocalCheck>>,
    /// Ids of the checks of each service that has any; those of the node under the empty id.
    of_service: BTreeMap<Str, BTreeSet<Str>>,
    revision: u64,
}

impl Local {
    /// Empty tables of the node of that name.
    #[must_use]
    pub fn new(node: &str, partition: &str) -> Self {
        let partition = if partition.is_empty() { "default" } else { partition };
        Self { node: node.into(), partition: partition.into(), ..Self::default() }
    }

    /// Services by id.
    #[must_use]
    pub const fn services(&self) -> &Table<Str, Arc<LocalService>> {
        &self.services
    }

    /// Checks by id.
    #[must_use]
    pub const fn checks(&self) -> &Table<Str, Arc<LocalCheck>> {
        &self.checks
    }

    /// Grows whenever a table changes.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Checks of a service; of the node for the empty id.
    pub fn checks_of<'l>(&'l self, service: &str) -> impl Iterator<Item = &'l Arc<LocalCheck>> + use<'l> {
        self.of_service.get(service).into_iter().flatten().filter_map(|id| self.checks.get(&**id))
    }

    /// Registers a service with its checks, or changes it. The status of a check that stays is kept.
    pub fn register_service(
        &mut self,
        definition: ServiceDefinition,
        from_file: bool,
        unnamed: Unnamed,
        changes: &mut Vec<Change>,
    ) {
        let row = rows::service(&definition, &self.partition);
        let id = Arc::clone(&row.id);
        let named: Vec<CheckDefinition> = rows::checks_of_service(&definition);
        let before = self.services.get(&*id).cloned();
        let before_checks = before.as_ref().map_or_else(Vec::new, |old| rows::checks_of_service(&old.definition));
        let same = before.as_ref().is_some_and(|old| *old.definition == definition && old.from_file == from_file);
        if !same {
            let now_from_file = from_file && before.as_ref().is_some_and(|old| !old.from_file);
            if let Some(old) = before.filter(|old| old.row.tenancy != row.tenancy) {
                let what = What::ServiceGone { from_file: true };
                changes.push(Change { id: Arc::clone(&id), tenancy: old.row.tenancy.clone(), what });
            }
            let what = What::ServiceSet { now_from_file };
            changes.push(Change { id: Arc::clone(&id), tenancy: row.tenancy.clone(), what });
            let service = LocalService { row: Arc::new(row), definition: Arc::new(definition), from_file };
            self.set_service(&id, service, changes);
        }
        if unnamed != Unnamed::Stay {
            let goes = |check: &LocalCheck| match unnamed {
                Unnamed::Go => !is_maintenance(&check.row.id),
                Unnamed::Stay | Unnamed::GoIfFromFile => check.from_file,
            };
            let kept: BTreeSet<&str> = named.iter().map(|check| &*check.id).collect();
            let gone: Vec<Str> = self
                .checks_of(&id)
                .filter(|check| goes(check) && !kept.contains(&*check.row.id))
                // A check that stands alone in a file is no part of the service's definition.
                .filter(|check| unnamed == Unnamed::Go || before_checks.iter().any(|old| *old.id == *check.row.id))
                .map(|check| Arc::clone(&check.row.id))
                .collect();
            for check in gone {
                self.remove_check(&check, changes);
            }
        }
        for check in named {
            self.put_check(check, from_file, true, changes);
        }
    }

    /// Registers a check, or changes it.
    ///
    /// # Errors
    ///
    /// When the service it names is not there.
    pub fn register_check(
        &mut self,
        mut definition: CheckDefinition,
        from_file: bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if !definition.service_id.is_empty() && self.services.get(&*definition.service_id).is_none() {
            return Err(Refusal::new(500, format!("ServiceID {:?} does not exist", definition.service_id)));
        }
        if definition.id.is_empty() {
            definition.id.clone_from(&definition.name);
        }
        self.put_check(definition, from_file, false, changes);
        Ok(())
    }

    /// Removes a service, its checks and the sidecar that was registered along with it; whether it was there.
    pub fn deregister_service(&mut self, id: &str, changes: &mut Vec<Change>) -> bool {
        let Some(service) = self.services.get(id).cloned() else { return false };
        for check in self.of_service.get(id).cloned().unwrap_or_default() {
            self.remove_check(&check, changes);
        }
        self.services.remove(id);
        self.revision += 1;
        let what = What::ServiceGone { from_file: service.from_file };
        changes.push(Change { id: Arc::clone(&service.row.id), tenancy: service.row.tenancy.clone(), what });
        if let Some(sidecar) = self.sidecar_of(id) {
            self.deregister_service(&sidecar, changes);
        }
        true
    }

    /// Removes a check; whether it was there.
    pub fn deregister_check(&mut self, id: &str, changes: &mut Vec<Change>) -> bool {
        self.remove_check(id, changes)
    }

    /// What a check reports from now on. Nothing happens if there is no such check or nothing is different.
    pub fn report(&mut self, id: &str, status: Status, output: &str, changes: &mut Vec<Change>) {
        let Some(check) = self.checks.get_mut(id) else { return };
        let output_only = check.row.status == status;
        if output_only && &*check.row.output == output {
            return;
        }
        let row = Arc::new(Check { status, output: output.into(), ..Check::clone(&check.row) });
        let (id, tenancy) = (Arc::clone(&row.id), row.tenancy.clone());
        *check = Arc::new(LocalCheck { row, ..LocalCheck::clone(check) });
        self.revision += 1;
        changes.push(Change { id, tenancy, what: What::CheckReported { output_only } });
    }

    /// Takes over the tags that others gave a service through the catalog.
    pub fn adopt_tags(&mut self, id: &str, tags: &[Str], changes: &mut Vec<Change>) {
        let Some(service) = self.services.get(id).cloned() else { return };
        let row = Arc::new(Service { tags: tags.to_vec(), ..Service::clone(&service.row) });
        let id = Arc::clone(&row.id);
        self.set_service(&id, LocalService { row, ..LocalService::clone(&service) }, changes);
    }

    fn set_service(&mut self, id: &Str, service: LocalService, changes: &mut Vec<Change>) {
        let row = Arc::clone(&service.row);
        self.services.insert(Arc::clone(id), Arc::new(service));
        self.revision += 1;
        // Checks repeat name and tags of their service.
        for check in self.of_service.get(id).into_iter().flatten() {
            let Some(check) = self.checks.get_mut(&**check) else { continue };
            if check.row.service_name == row.name && check.row.service_tags == row.tags {
                continue;
            }
            let renamed = Check {
                service_name: Arc::clone(&row.name),
                service_tags: row.tags.clone(),
                ..Check::clone(&check.row)
            };
            let (id, tenancy) = (Arc::clone(&renamed.id), renamed.tenancy.clone());
            *check = Arc::new(LocalCheck { row: Arc::new(renamed), ..LocalCheck::clone(check) });
            changes.push(Change { id, tenancy, what: What::CheckReported { output_only: false } });
        }
    }

    fn put_check(
        &mut self,
        definition: CheckDefinition,
        from_file: bool,
        with_service: bool,
        changes: &mut Vec<Change>,
    ) {
        let before = self.checks.get(&*definition.id).cloned();
        if before.as_ref().is_some_and(|old| *old.definition == definition && old.from_file == from_file) {
            return;
        }
        let service = self.services.get(&*definition.service_id).map(|service| &*service.row);
        let untyped = from_file && !with_service;
        let mut row = rows::check(&definition, &self.node, &self.partition, service, untyped);
        let now_from_file = from_file && before.as_ref().is_some_and(|old| !old.from_file);
        if let Some(old) = before {
            // A check that is only defined anew goes on where it was.
            if with_service || definition.status.is_empty() {
                row.status = old.row.status.clone();
            }
            row.output = Arc::clone(&old.row.output);
            if old.row.service_id != row.service_id {
                self.forget_of_service(&old.row.service_id, &row.id);
            }
        }
        let (id, tenancy) = (Arc::clone(&row.id), row.tenancy.clone());
        self.of_service.entry(Arc::clone(&row.service_id)).or_default().insert(Arc::clone(&id));
        let check = LocalCheck { row: Arc::new(row), definition: Arc::new(definition), from_file };
        self.checks.insert(Arc::clone(&id), Arc::new(check));
        self.revision += 1;
        changes.push(Change { id, tenancy, what: What::CheckSet { now_from_file } });
    }

    fn remove_check(&mut self, id: &str, changes: &mut Vec<Change>) -> bool {
        let Some(check) = self.checks.get(id).cloned() else { return false };
        self.forget_of_service(&check.row.service_id, id);
        self.checks.remove(id);
        self.revision += 1;
        let what = What::CheckGone {
            from_file: check.from_file,
            ttl: !check.definition.ttl.is_zero(),
            service: Arc::clone(&check.row.service_id),
        };
        changes.push(Change { id: Arc::clone(&check.row.id), tenancy: check.row.tenancy.clone(), what });
        true
    }

    fn forget_of_service(&mut self, service: &str, check: &str) {
        if let Some(ids) = self.of_service.get_mut(service) {
            ids.remove(check);
            if ids.is_empty() {
                self.of_service.remove(service);
            }
        }
    }
}

/// Partition and namespace of a definition: empty means the agent's partition, and `default`.
pub(crate) fn tenancy(partition: &str, namespace: &str, own_partition: &str) -> Tenancy {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_lowercase() };
    Tenancy { partition: or(partition, own_partition).into(), namespace: or(namespace, "default").into() }
}
