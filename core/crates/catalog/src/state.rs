//! How the tables lie in memory: what the writer changes and every view shares.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::coordinate::NodeCoordinate;
use crate::group::ServiceGroup;
use crate::model::{Check, KvEntry, Node, Service, Status, Str, Tenancy};
use crate::name::{fold, fold_shared};
use crate::queries::Queries;
use crate::restore::Autopilot;
use crate::sessions::Sessions;
use crate::table::Table;

/// Everything. Keys are folded names unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Log index of the last command applied.
    pub(crate) index: u64,
    /// By name of the partition.
    pub(crate) partitions: Table<Str, Arc<Partition>>,
    /// Prepared queries.
    pub(crate) queries: Queries,
    /// Log index at which the leader that may time sessions out began to.
    pub(crate) session_epoch: u64,
    /// Settings of autopilot that were made at run time.
    pub(crate) autopilot: Option<Arc<Autopilot>>,
    /// Log index at which all of it came from a snapshot.
    pub(crate) restored: u64,
}

/// Nodes belong to a partition; everything else to a namespace in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    /// By folded name.
    pub(crate) nodes: Table<Str, Arc<Node>>,
    /// Folded node id to folded node name.
    pub(crate) ids: Table<Str, Str>,
    /// (address, folded node name) of nodes whose address is an IP.
    pub(crate) addresses: Table<(IpAddr, Str), ()>,
    /// By folded node name: where nodes are, by segment. Here only for nodes that are there and told.
    pub(crate) coordinates: Table<Str, Arc<Vec<NodeCoordinate>>>,
    /// Last change to any of these.
    pub(crate) coordinates_index: u64,
    /// Last change to any row of `nodes`.
    pub(crate) nodes_index: u64,
    /// Last removal of a node: the index of what is asked about a node that is not there.
    pub(crate) nodes_gone: u64,
    /// By name of the namespace.
    pub(crate) namespaces: Table<Str, Arc<Namespace>>,
}

/// What is registered in one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace {
    /// By folded node name; here as long as the node, once anything of this namespace was registered on it.
    pub(crate) locals: Table<Str, Arc<Local>>,
    /// By folded service name; here while it has instances.
    pub(crate) groups: Table<Str, Arc<ServiceGroup>>,
    /// By folded name of the destination; here while it has instances.
    pub(crate) connect: Table<Str, Arc<ServiceGroup>>,
    /// (service address, folded node name, folded service id) of services with an IP of their own.
    pub(crate) addresses: Table<(IpAddr, Str, Str), ()>,
    /// (folded node name, folded check id) of checks that do not pass: the few that are asked for by state.
    pub(crate) failing: Table<(Str, Str), ()>,
    /// Last change to the names and tags of services.
    pub(crate) names_index: u64,
    /// Last change to any row of a service.
    pub(crate) services_index: u64,
    /// Last time a group of `groups` lost its last instance.
    pub(crate) services_gone: u64,
    /// Last time a group of `connect` lost its last instance.
    pub(crate) connect_gone: u64,
    /// Last change to any row of a check.
    pub(crate) checks_index: u64,
    /// The same by state of the check; see [`state_slot`].
    pub(crate) state_index: [u64; 4],
    /// Keys and values.
    pub(crate) kv: Kv,
    /// Sessions, and the lock-delays of those that are gone.
    pub(crate) sessions: Sessions,
}

/// What a node has in one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// By folded id.
    pub(crate) services: Table<Str, Arc<Service>>,
    /// By folded id.
    pub(crate) checks: Table<Str, Arc<Check>>,
    /// The same by folded id of the service, empty for those of the node: joining an instance looks at its own checks,
    /// however many others the node has.
    of_service: Table<Str, Vec<Arc<Check>>>,
    /// Last change to `services`.
    pub(crate) services_index: u64,
    /// Last change to `checks`.
    pub(crate) checks_index: u64,
}

/// Keys and values of one namespace. Keys are kept to the letter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kv {
    /// By key.
    pub(crate) entries: Table<Str, Arc<KvEntry>>,
    /// (folded session id, key) of keys that are locked.
    pub(crate) held: Table<(Str, Str), ()>,
    /// Deleted keys and the log index of the deletion, so that the index of a prefix does not go back.
    pub(crate) graves: Table<Str, u64>,
    /// The same by age, so that the oldest can be dropped.
    pub(crate) grave_order: Table<(u64, Str), ()>,
    /// Log index of the last deletion that was dropped from `graves`: no prefix answers less.
    pub(crate) floor: u64,
}

impl State {
    /// Partition and namespace as they are stored: in lower case, `default` where empty.
    pub(crate) fn tenancy(given: &Tenancy) -> Tenancy {
        Tenancy { partition: space(&given.partition), namespace: space(&given.namespace) }
    }

    /// A namespace, if anything was ever stored in it.
    pub(crate) fn namespace(&self, tenancy: &Tenancy) -> Option<&Namespace> {
        Some(self.partitions.get(&*tenancy.partition)?.namespaces.get(&*tenancy.namespace)?)
    }

    /// Changes a partition, made if need be, and copied if a view still holds it.
    pub(crate) fn partition<R>(&mut self, name: &Str, change: impl FnOnce(&mut Partition) -> R) -> R {
        self.partitions.change(name, |partition| change(Arc::make_mut(partition)))
    }
}

impl Partition {
    /// Changes a namespace, made if need be, and copied if a view still holds it.
    pub(crate) fn namespace<R>(&mut self, name: &Str, change: impl FnOnce(&mut Namespace) -> R) -> R {
        self.namespaces.change(name, |namespace| change(Arc::make_mut(namespace)))
    }

    /// Names of the namespaces.
    pub(crate) fn namespace_names(&self) -> Vec<Str> {
        self.namespaces.iter().map(|(name, _)| Arc::clone(name)).collect()
    }

    /// What a node has in a namespace.
    pub(crate) fn local(&self, namespace: &str, node: &str) -> Option<&Local> {
        Some(self.namespaces.get(namespace)?.locals.get(node)?)
    }
}

/// A partition's or namespace's name as it is stored.
pub(crate) fn space(name: &Str) -> Str {
    if name.is_empty() { DEFAULT.into() } else { fold_shared(name) }
}

/// Name of the partition and of the namespace that are always there.
pub(crate) const DEFAULT: &str = "default";

impl Namespace {
    /// Changes what a node has here, made if need be. `gone`: what was answered about its checks until then.
    pub(crate) fn local<R>(&mut self, node: &Str, gone: u64, change: impl FnOnce(&mut Local) -> R) -> R {
        self.locals.change(node, |local| {
            let local = Arc::make_mut(local);
            if local.checks_index == 0 {
                local.checks_index = gone.max(1);
            }
            change(local)
        })
    }
}

impl Local {
    /// The service with that folded id.
    pub(crate) fn service(&self, id: &str) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// The checks of the service with that folded id, of the node itself for the empty one; sorted by folded id.
    pub(crate) fn checks_of(&self, service: &str) -> &[Arc<Check>] {
        self.of_service.get(service).map_or(&[], Vec::as_slice)
    }

    /// Puts a check in the place of the one with its folded id, if there is one.
    pub(crate) fn put_check(&mut self, id: &Str, check: Arc<Check>) {
        self.unlist_check(id);
        self.checks.insert(Arc::clone(id), Arc::clone(&check));
        self.list_check(check);
    }

    /// Takes out the check with that folded id, if there is one.
    pub(crate) fn remove_check(&mut self, id: &str) {
        self.unlist_check(id);
        self.checks.remove(id);
    }

    fn unlist_check(&mut self, id: &str) {
        let Some(check) = self.checks.get(id) else { return };
        let service = fold(&check.service_id);
        let Some(listed) = self.of_service.get_mut(&*service) else { return };
        listed.retain(|other| *fold(&other.id) != *id);
        if listed.is_empty() {
            self.of_service.remove(&*service);
        }
    }

    fn list_check(&mut self, check: Arc<Check>) {
        self.of_service.change(&fold_shared(&check.service_id), |listed| {
            let at = listed.partition_point(|other| fold(&other.id) < fold(&check.id));
            listed.insert(at, check);
        });
    }

    /// The check with that folded id.
    pub(crate) fn check(&self, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(id)
    }
}

/// Place of a state in [`Namespace::state_index`].
pub(crate) fn state_slot(status: &Status) -> usize {
    match status {
        Status::Passing => 0,
        Status::Warning => 1,
        Status::Critical => 2,
        Status::Other(_) => 3,
    }
}
