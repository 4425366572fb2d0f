//! The read side: an immutable picture of the tables, and every question HTTP and DNS ask of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Bound;

use crate::group::{ServiceGroup, ServiceName};
use crate::model::{Check, KvEntry, Node, Service, Status, Str, Tenancy};
use crate::name::{Scope, fold};
use crate::state::{Kv, Local, Namespace, Partition, State, state_slot};
use crate::table::Table;

pub use crate::topic::{Changes, Topic};

/// The tables as they were after some command.
///
/// A clone costs one reference count, and a view never changes: any thread reads it without a lock, and what it
/// answers is a pure function of the commands applied before it was taken. Names of nodes, services and checks are
/// found whatever their case; a name in lower case is looked up without allocating. Everything that iterates does so
/// in the order of folded names, so that the same view always answers the same bytes.
#[derive(Clone, Debug, Default)]
pub struct View(pub(crate) Arc<State>);

/// What a node has of one kind, by folded id.
#[derive(Debug)]
pub struct Rows<'v, T>(Option<&'v Table<Str, Arc<T>>>);

impl<T> Clone for Rows<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rows<'_, T> {}

impl<'v, T> Rows<'v, T> {
    /// The one with that id, in any case.
    #[must_use]
    pub fn get(self, id: &str) -> Option<&'v Arc<T>> {
        self.0?.get(&*fold(id))
    }

    /// All, in order.
    pub fn iter(self) -> impl Iterator<Item = &'v Arc<T>> + use<'v, T> {
        self.0.into_iter().flat_map(Table::values)
    }

    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.map_or(0, Table::len)
    }

    /// None.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Part of a listing of keys up to a separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrFolder<'v> {
    /// A key.
    Key(&'v Str),
    /// Keys start with this, which ends with the separator.
    Folder(&'v str),
}

impl KeyOrFolder<'_> {
    /// As it is listed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Folder(folder) => folder,
        }
    }
}

/// Nodes.
impl View {
    /// Log index of the last command applied; 0 before the first.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0.index
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, partition: &str, name: &str) -> Option<&Arc<Node>> {
        self.partition(partition)?.nodes.get(&*fold(name))
    }

    /// The node with that id.
    #[must_use]
    pub fn node_by_id(&self, partition: &str, id: &str) -> Option<&Arc<Node>> {
        let partition = self.partition(partition)?;
        partition.nodes.get(&**partition.ids.get(&*fold(id))?)
    }

    /// The only node whose id starts with `prefix` (at least two characters); none if there are several.
    #[must_use]
    pub fn node_by_id_prefix(&self, partition: &str, prefix: &str) -> Option<&Arc<Node>> {
        let partition = self.partition(partition)?;
        let prefix = fold(prefix);
        if prefix.len() < 2 {
            return None;
        }
        let mut names = partition.ids.prefix(&prefix).map(|(_, name)| name);
        match (names.next(), names.next()) {
            (Some(name), None) => partition.nodes.get(&**name),
            _ => None,
        }
    }

    /// The namespaces of a partition in which anything was ever stored.
    pub fn tenancies(&self, partition: &str) -> impl Iterator<Item = Tenancy> {
        let names = self.partition(partition).map_or_else(Vec::new, Partition::namespace_names);
        let partition = crate::state::space(&partition.into());
        names.into_iter().map(move |namespace| Tenancy { partition: Arc::clone(&partition), namespace })
    }

    /// All nodes of a partition.
    pub fn nodes<'v>(&'v self, partition: &str) -> impl Iterator<Item = &'v Arc<Node>> + use<'v> {
        self.partition(partition).into_iter().flat_map(|partition| partition.nodes.values())
    }

    /// Nodes with that address.
    pub fn nodes_by_address<'v>(
        &'v self,
        partition: &str,
        address: IpAddr,
    ) -> impl Iterator<Item = &'v Arc<Node>> + use<'v> {
        self.partition(partition).into_iter().flat_map(move |partition| {
            let from = (address, Str::default());
            partition
                .addresses
                .range((Bound::Included(from), Bound::Unbounded))
                .take_while(move |((at, _), ())| *at == address)
                .filter_map(|((_, name), ())| partition.nodes.get(&**name))
        })
    }

    /// Services of a node, by id.
    #[must_use]
    pub fn services_of(&self, scope: Scope<'_>, node: &str) -> Rows<'_, Service> {
        Rows(self.local(scope, node).map(|local| &local.services))
    }

    /// Checks of a node and of its services, by id.
    #[must_use]
    pub fn checks_of(&self, scope: Scope<'_>, node: &str) -> Rows<'_, Check> {
        Rows(self.local(scope, node).map(|local| &local.checks))
    }
}

/// Services.
impl View {
    /// The instances of a service with their nodes and checks, ready made; none if it has no instance.
    #[must_use]
    pub fn group(&self, scope: Scope<'_>, service: &str) -> Option<&Arc<ServiceGroup>> {
        self.namespace(scope)?.groups.get(&*fold(service))
    }

    /// The instances that speak the mesh protocol for a destination: its proxies, and its own instances that are
    /// mesh-native.
    #[must_use]
    pub fn connect_group(&self, scope: Scope<'_>, destination: &str) -> Option<&Arc<ServiceGroup>> {
        self.namespace(scope)?.connect.get(&*fold(destination))
    }

    /// All groups of a namespace.
    pub fn groups<'v>(&'v self, scope: Scope<'_>) -> impl Iterator<Item = &'v Arc<ServiceGroup>> + use<'v> {
        self.namespace(scope).into_iter().flat_map(|namespace| namespace.groups.values())
    }

    /// Names of services with the tags of all their instances.
    pub fn service_names<'v>(&'v self, scope: Scope<'_>) -> impl Iterator<Item = &'v ServiceName> + use<'v> {
        self.groups(scope).flat_map(|group| &group.names)
    }

    /// Services that were registered with that address of their own, with their nodes.
    pub fn services_by_address<'v>(
        &'v self,
        scope: Scope<'_>,
        address: IpAddr,
    ) -> impl Iterator<Item = (&'v Arc<Node>, &'v Arc<Service>)> + use<'v> {
        let both = self.partition(scope.partition).zip(self.namespace(scope));
        both.into_iter().flat_map(move |(partition, namespace)| {
            let from = (address, Str::default(), Str::default());
            namespace
                .addresses
                .range((Bound::Included(from), Bound::Unbounded))
                .take_while(move |((at, _, _), ())| *at == address)
                .filter_map(|((_, node, id), ())| {
                    let service = namespace.locals.get(&**node)?.service(id)?;
                    Some((partition.nodes.get(&**node)?, service))
                })
        })
    }
}

/// Checks.
impl View {
    /// All checks of a namespace, by node and id.
    pub fn checks<'v>(&'v self, scope: Scope<'_>) -> impl Iterator<Item = &'v Arc<Check>> + use<'v> {
        self.namespace(scope)
            .into_iter()
            .flat_map(|namespace| namespace.locals.values())
            .flat_map(|local| local.checks.values())
    }

    /// Checks in a state, by node and id.
    pub fn checks_in_state<'v>(
        &'v self,
        scope: Scope<'_>,
        status: &'v Status,
    ) -> impl Iterator<Item = &'v Arc<Check>> + use<'v> {
        let scanned = (*status == Status::Passing).then(|| self.checks(scope)).into_iter().flatten();
        let indexed = self.namespace(scope).filter(|_| *status != Status::Passing).into_iter();
        let indexed = indexed
            .flat_map(|space| space.failing.iter().filter_map(|((node, id), ())| space.locals.get(&**node)?.check(id)));
        scanned.chain(indexed).filter(move |check| check.status == *status)
    }

    /// Checks of the instances of a service, without those of their nodes.
    pub fn checks_of_service<'v>(
        &'v self,
        scope: Scope<'_>,
        service: &str,
    ) -> impl Iterator<Item = &'v Arc<Check>> + use<'v> {
        self.group(scope, service)
            .into_iter()
            .flat_map(|group| &group.instances)
            .flat_map(|instance| instance.checks.iter().filter(|check| !check.service_id.is_empty()))
    }
}

/// Keys and values.
impl View {
    /// One key.
    #[must_use]
    pub fn kv(&self, scope: Scope<'_>, key: &str) -> Option<&Arc<KvEntry>> {
        self.namespace(scope)?.kv.entries.get(key)
    }

    /// Every key that starts with `prefix`, in the order of bytes.
    pub fn kv_range<'v>(
        &'v self,
        scope: Scope<'_>,
        prefix: &'v str,
    ) -> impl Iterator<Item = &'v Arc<KvEntry>> + use<'v> {
        let namespace = self.namespace(scope).into_iter();
        namespace.flat_map(move |namespace| namespace.kv.entries.prefix(prefix).map(|(_, entry)| entry))
    }

    /// Keys that start with `prefix`; those that hold `separator` after it are cut behind it and listed once. An empty
    /// separator cuts nothing.
    #[must_use]
    pub fn kv_keys<'v>(&'v self, scope: Scope<'_>, prefix: &str, separator: &str) -> Vec<KeyOrFolder<'v>> {
        let Some(namespace) = self.namespace(scope) else { return Vec::new() };
        let mut listed: Vec<KeyOrFolder<'v>> = Vec::new();
        for (key, _) in namespace.kv.entries.prefix(prefix) {
            let cut = match key.get(prefix.len()..).filter(|_| !separator.is_empty()) {
                Some(rest) => rest.find(separator).map(|at| prefix.len() + at + separator.len()),
                None => None,
            };
            match cut.and_then(|end| key.get(..end)) {
                Some(folder) if listed.last() == Some(&KeyOrFolder::Folder(folder)) => {}
                Some(folder) => listed.push(KeyOrFolder::Folder(folder)),
                None => listed.push(KeyOrFolder::Key(key)),
            }
        }
        listed
    }
}

/// Change indexes.
impl View {
    /// Log index of the last change to what `topic` names. At least 1, and never less than an earlier view answered.
    ///
    /// For what is there it moves exactly when a read of it would answer something else. For what is not (an unknown
    /// service, a deleted key) it may also move when something else of its kind goes away: the tables do not remember
    /// for ever what they held.
    #[must_use]
    pub fn index_of(&self, topic: &Topic) -> u64 {
        self.last_change(topic).unwrap_or(0).max(1)
    }

    /// The latest of several topics; 1 for none.
    #[must_use]
    pub fn index_of_all(&self, topics: &[Topic]) -> u64 {
        topics.iter().map(|topic| self.index_of(topic)).max().unwrap_or(1)
    }

    fn last_change(&self, topic: &Topic) -> Option<u64> {
        let present = |group: Option<&Arc<ServiceGroup>>, index: fn(&ServiceGroup) -> u64, gone: u64| {
            group.map_or(gone, |group| index(group))
        };
        Some(match topic {
            Topic::Nodes { partition } => self.partition(partition)?.nodes_index,
            Topic::Node { partition, name } => {
                let partition = self.partition(partition)?;
                partition.nodes.get(&*fold(name)).map_or(partition.nodes_gone, |node| node.indexes.modify)
            }
            Topic::NodeServices { tenancy, node } => {
                let partition = self.partition(&tenancy.partition)?;
                let name = fold(node);
                let Some(node) = partition.nodes.get(&*name) else { return Some(partition.nodes_gone) };
                let local = self.local(tenancy.into(), &name);
                node.indexes.modify.max(local.map_or(0, |local| local.services_index))
            }
            Topic::NodeChecks { tenancy, node } => {
                let gone = self.partition(&tenancy.partition)?.nodes_gone;
                self.local(tenancy.into(), node).map_or(gone, |local| local.checks_index)
            }
            Topic::Services { tenancy } => self.namespace(tenancy.into())?.names_index,
            Topic::ServiceRows { tenancy } => self.namespace(tenancy.into())?.services_index,
            Topic::Service { tenancy, name } => {
                let namespace = self.namespace(tenancy.into())?;
                present(namespace.groups.get(&*fold(name)), |group| group.index, namespace.services_gone)
            }
            Topic::ServiceInstances { tenancy, name } => {
                let namespace = self.namespace(tenancy.into())?;
                present(namespace.groups.get(&*fold(name)), |group| group.rows_index, namespace.services_gone)
            }
            Topic::ServiceChecks { tenancy, name } => {
                let namespace = self.namespace(tenancy.into())?;
                present(namespace.groups.get(&*fold(name)), |group| group.checks_index, namespace.services_gone)
            }
            Topic::Connect { tenancy, name } => {
                let namespace = self.namespace(tenancy.into())?;
                present(namespace.connect.get(&*fold(name)), |group| group.index, namespace.connect_gone)
            }
            Topic::ConnectInstances { tenancy, name } => {
                let namespace = self.namespace(tenancy.into())?;
                present(namespace.connect.get(&*fold(name)), |group| group.rows_index, namespace.connect_gone)
            }
            Topic::Checks { tenancy } => self.namespace(tenancy.into())?.checks_index,
            Topic::CheckState { tenancy, status } => {
                *self.namespace(tenancy.into())?.state_index.get(state_slot(status))?
            }
            Topic::Coordinates { partition } => self.partition(partition)?.coordinates_index,
            Topic::NodeCoordinates { partition, node } => {
                let partition = self.partition(partition)?;
                let rows = partition.coordinates.get(&*fold(node));
                let latest = rows.and_then(|rows| rows.iter().map(|row| row.modify).max());
                latest.unwrap_or(partition.nodes_gone)
            }
            Topic::Queries => self.0.queries.index,
            Topic::Autopilot => self.autopilot()?.indexes.modify,
            Topic::Sessions { tenancy } => self.namespace(tenancy.into())?.sessions.index,
            Topic::NodeSessions { tenancy, node } => {
                let sessions = &self.namespace(tenancy.into())?.sessions;
                sessions.nodes.get(&*fold(node)).map_or(sessions.gone, |of| of.index)
            }
            Topic::Session { tenancy, id } => {
                let sessions = &self.namespace(tenancy.into())?.sessions;
                sessions.rows.get(&*fold(id)).map_or(sessions.gone, |session| session.indexes.modify)
            }
            Topic::Kv { tenancy, key } => self.namespace(tenancy.into())?.kv.key_index(key),
            Topic::KvPrefix { tenancy, prefix } => self.namespace(tenancy.into())?.kv.prefix_index(prefix),
        })
    }
}

/// The way down.
impl View {
    pub(crate) fn partition(&self, name: &str) -> Option<&Partition> {
        self.0.partitions.get(name).map(|partition| &**partition)
    }

    pub(crate) fn namespace(&self, scope: Scope<'_>) -> Option<&Namespace> {
        self.partition(scope.partition)?.namespaces.get(scope.namespace).map(|namespace| &**namespace)
    }

    fn local(&self, scope: Scope<'_>, node: &str) -> Option<&Local> {
        self.namespace(scope)?.locals.get(&*fold(node)).map(|local| &**local)
    }
}

impl Kv {
    /// Last change to a key.
    fn key_index(&self, key: &str) -> u64 {
        match self.entries.get(key) {
            Some(entry) => entry.indexes.modify,
            None => self.graves.get(key).copied().unwrap_or(self.floor),
        }
    }

    /// Last change to any key that starts with `prefix`.
    fn prefix_index(&self, prefix: &str) -> u64 {
        let present = self.entries.prefix(prefix).map(|(_, entry)| entry.indexes.modify);
        let deleted = self.graves.prefix(prefix).map(|(_, index)| *index);
        present.chain(deleted).max().unwrap_or(0).max(self.floor)
    }
}
