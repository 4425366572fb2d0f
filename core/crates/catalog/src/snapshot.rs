//! The whole of the tables as plain rows, for snapshots.
//!
//! What is derived (groups, indexes by id and address, names and tags) is not in it, but joined anew; change indexes
//! are, so that a follower that installs a snapshot answers the same indexes as everybody else.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::net::IpAddr;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalog::Catalog;
use crate::coordinate::NodeCoordinate;
use crate::group::ServiceGroup;
use crate::intern::Interner;
use crate::join::join_all;
use crate::model::{Check, KvEntry, Node, Service, Str};
use crate::name::fold_shared;
use crate::queries::PreparedQuery;
use crate::restore::Autopilot;
use crate::sessions::{LockDelay, Session};
use crate::state::{Local, Namespace, Partition, State};
use crate::table::Table;
use crate::view::View;

/// Everything a [`Catalog`] holds. Encoded with postcard: fields are only ever added at the end, as [`Added`], so that
/// what older versions wrote still imports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Log index of the last command in it.
    pub index: u64,
    partitions: Vec<PartitionRows>,
    queries: Vec<Arc<PreparedQuery>>,
    queries_index: u64,
    coordinates: Added<Vec<CoordinateRows>>,
    sessions: Added<SessionTables>,
    operator: Added<OperatorRows>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartitionRows {
    name: Str,
    nodes: Vec<Arc<Node>>,
    nodes_index: u64,
    nodes_gone: u64,
    namespaces: Vec<NamespaceRows>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NamespaceRows {
    name: Str,
    locals: Vec<LocalRows>,
    groups: Vec<GroupIndexes>,
    connect: Vec<GroupIndexes>,
    names_index: u64,
    services_index: u64,
    services_gone: u64,
    connect_gone: u64,
    checks_index: u64,
    state_index: [u64; 4],
    kv: Vec<Arc<KvEntry>>,
    graves: Vec<(Str, u64)>,
    floor: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LocalRows {
    node: Str,
    services: Vec<Arc<Service>>,
    checks: Vec<Arc<Check>>,
    services_index: u64,
    checks_index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct GroupIndexes {
    name: Str,
    index: u64,
    rows_index: u64,
    checks_index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CoordinateRows {
    partition: Str,
    nodes: Vec<(Str, Vec<NodeCoordinate>)>,
    index: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SessionTables {
    epoch: u64,
    spaces: Vec<SessionRows>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OperatorRows {
    autopilot: Option<Arc<Autopilot>>,
    restored: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SessionRows {
    partition: Str,
    namespace: Str,
    rows: Vec<Arc<Session>>,
    /// Folded node names and their indexes.
    nodes: Vec<(Str, u64)>,
    delays: Vec<(Str, Arc<LockDelay>)>,
    index: u64,
    gone: u64,
}

/// Why a snapshot cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// Services, checks or coordinates of a node that is not in it.
    #[error("the snapshot is damaged: it holds something of node {node:?} but not the node; use another snapshot")]
    NodeMissing {
        /// Folded name of the node.
        node: Str,
    },
    /// A service without change index, or a change index without service.
    #[error("the snapshot is damaged: its services and their change indexes do not match; use another snapshot")]
    GroupsDiffer,
}

/// A field that snapshots of older versions end before: empty then. A mark in front of it tells that from a snapshot
/// that is damaged inside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Added<T>(T);

impl<T: Serialize> Serialize for Added<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (1_u8, &self.0).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Added<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Marked<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Marked<T> {
            type Value = Added<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mark and a field")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                match seq.next_element::<u8>() {
                    Ok(Some(_)) => Ok(Added(seq.next_element()?.unwrap_or_default())),
                    Ok(None) | Err(_) => Ok(Added(T::default())),
                }
            }
        }
        deserializer.deserialize_tuple(2, Marked(PhantomData))
    }
}

impl View {
    /// Everything, as plain rows.
    #[must_use]
    pub fn export(&self) -> Snapshot {
        let partitions = self.0.partitions.iter().map(|(name, partition)| PartitionRows {
            name: Arc::clone(name),
            nodes: partition.nodes.values().cloned().collect(),
            nodes_index: partition.nodes_index,
            nodes_gone: partition.nodes_gone,
            namespaces: partition.namespaces.iter().map(|(name, space)| export_namespace(name, space)).collect(),
        });
        let coordinates = self.0.partitions.iter().filter(|(_, partition)| partition.coordinates_index > 0);
        let coordinates = coordinates.map(|(name, partition)| CoordinateRows {
            partition: Arc::clone(name),
            nodes: partition.coordinates.iter().map(|(node, rows)| (Arc::clone(node), rows.to_vec())).collect(),
            index: partition.coordinates_index,
        });
        Snapshot {
            index: self.0.index,
            partitions: partitions.collect(),
            queries: self.0.queries.rows.values().cloned().collect(),
            queries_index: self.0.queries.index,
            coordinates: Added(coordinates.collect()),
            sessions: Added(export_sessions(&self.0)),
            operator: Added(OperatorRows { autopilot: self.0.autopilot.clone(), restored: self.0.restored }),
        }
    }
}

impl Catalog {
    /// Everything, as plain rows.
    #[must_use]
    pub fn export(&self) -> Snapshot {
        self.view().export()
    }

    /// The tables a snapshot was taken of.
    ///
    /// # Errors
    /// If its rows contradict each other.
    pub fn import(snapshot: Snapshot) -> Result<Self, ImportError> {
        let mut interner = Interner::default();
        let mut state = State { index: snapshot.index, ..State::default() };
        for rows in snapshot.partitions {
            let name = Arc::clone(&rows.name);
            state.partitions.insert(name, Arc::new(import_partition(rows, &mut interner)?));
        }
        for query in snapshot.queries {
            state.queries.put(fold_shared(&query.id), query);
        }
        state.queries.index = snapshot.queries_index;
        for rows in snapshot.coordinates.0 {
            state.partition(&rows.partition, |partition| import_coordinates(partition, rows.nodes, rows.index))?;
        }
        (state.autopilot, state.restored) = (snapshot.operator.0.autopilot, snapshot.operator.0.restored);
        state.session_epoch = snapshot.sessions.0.epoch;
        for rows in snapshot.sessions.0.spaces {
            import_sessions(&mut state, rows)?;
        }
        Ok(Self { state: Arc::new(state), interner })
    }
}

fn export_namespace(name: &Str, space: &Namespace) -> NamespaceRows {
    let locals = space.locals.iter().map(|(node, local)| LocalRows {
        node: Arc::clone(node),
        services: local.services.values().cloned().collect(),
        checks: local.checks.values().cloned().collect(),
        services_index: local.services_index,
        checks_index: local.checks_index,
    });
    NamespaceRows {
        name: Arc::clone(name),
        locals: locals.collect(),
        groups: export_groups(&space.groups),
        connect: export_groups(&space.connect),
        names_index: space.names_index,
        services_index: space.services_index,
        services_gone: space.services_gone,
        connect_gone: space.connect_gone,
        checks_index: space.checks_index,
        state_index: space.state_index,
        kv: space.kv.entries.values().cloned().collect(),
        graves: space.kv.graves.iter().map(|(key, index)| (Arc::clone(key), *index)).collect(),
        floor: space.kv.floor,
    }
}

fn export_sessions(state: &State) -> SessionTables {
    let mut spaces = Vec::new();
    for (partition, rows) in state.partitions.iter() {
        for (namespace, space) in rows.namespaces.iter().filter(|(_, space)| space.sessions.index > 0) {
            let sessions = &space.sessions;
            spaces.push(SessionRows {
                partition: Arc::clone(partition),
                namespace: Arc::clone(namespace),
                rows: sessions.rows.values().cloned().collect(),
                nodes: sessions.nodes.iter().map(|(node, of)| (Arc::clone(node), of.index)).collect(),
                delays: sessions.delays.iter().map(|(id, delay)| (Arc::clone(id), Arc::clone(delay))).collect(),
                index: sessions.index,
                gone: sessions.gone,
            });
        }
    }
    SessionTables { epoch: state.session_epoch, spaces }
}

fn import_sessions(state: &mut State, rows: SessionRows) -> Result<(), ImportError> {
    state.partition(&rows.partition, |partition| {
        for session in &rows.rows {
            let node = fold_shared(&session.node);
            if partition.nodes.get(&*node).is_none() {
                return Err(ImportError::NodeMissing { node });
            }
        }
        partition.namespace(&rows.namespace, |space| {
            let sessions = &mut space.sessions;
            (sessions.index, sessions.gone) = (rows.index, rows.gone);
            for session in rows.rows {
                sessions.put(session, 0);
            }
            for (node, index) in rows.nodes {
                if let Some(of) = sessions.nodes.get_mut(&*node) {
                    of.index = index;
                }
            }
            for (id, delay) in rows.delays {
                sessions.delay(id, LockDelay::clone(&delay));
            }
        });
        Ok(())
    })
}

fn export_groups(groups: &Table<Str, Arc<ServiceGroup>>) -> Vec<GroupIndexes> {
    let indexes = |(name, group): (&Str, &Arc<ServiceGroup>)| GroupIndexes {
        name: Arc::clone(name),
        index: group.index,
        rows_index: group.rows_index,
        checks_index: group.checks_index,
    };
    groups.iter().map(indexes).collect()
}

fn import_partition(rows: PartitionRows, interner: &mut Interner) -> Result<Partition, ImportError> {
    let mut partition =
        Partition { nodes_index: rows.nodes_index, nodes_gone: rows.nodes_gone, ..Partition::default() };
    for mut node in rows.nodes {
        Arc::get_mut(&mut node).into_iter().for_each(|node| interner.node(node));
        let key = fold_shared(&node.name);
        if let Some(id) = &node.id {
            partition.ids.insert(fold_shared(id), Arc::clone(&key));
        }
        if let Ok(address) = node.address.parse::<IpAddr>() {
            partition.addresses.insert((address, Arc::clone(&key)), ());
        }
        partition.nodes.insert(key, node);
    }
    let mut groups = Vec::with_capacity(rows.namespaces.len());
    for mut rows in rows.namespaces {
        let name = Arc::clone(&rows.name);
        groups.push((Arc::clone(&name), core::mem::take(&mut rows.groups), core::mem::take(&mut rows.connect)));
        let space = import_namespace(&partition, rows, interner)?;
        partition.namespaces.insert(name, Arc::new(space));
    }
    for (name, by_name, connect) in groups {
        import_groups(&mut partition, &name, by_name, connect)?;
    }
    Ok(partition)
}

fn import_coordinates(
    partition: &mut Partition,
    nodes: Vec<(Str, Vec<NodeCoordinate>)>,
    index: u64,
) -> Result<(), ImportError> {
    partition.coordinates_index = index;
    for (node, rows) in nodes {
        if partition.nodes.get(&*node).is_none() {
            return Err(ImportError::NodeMissing { node });
        }
        partition.coordinates.insert(node, Arc::new(rows));
    }
    Ok(())
}

fn import_namespace(
    partition: &Partition,
    rows: NamespaceRows,
    interner: &mut Interner,
) -> Result<Namespace, ImportError> {
    let mut space = Namespace {
        names_index: rows.names_index,
        services_index: rows.services_index,
        services_gone: rows.services_gone,
        connect_gone: rows.connect_gone,
        checks_index: rows.checks_index,
        state_index: rows.state_index,
        ..Namespace::default()
    };
    for mut local in rows.locals {
        local.services.iter_mut().filter_map(Arc::get_mut).for_each(|service| interner.service(service));
        let Some(node) = partition.nodes.get(&*local.node) else {
            return Err(ImportError::NodeMissing { node: local.node });
        };
        for check in local.checks.iter_mut().filter_map(Arc::get_mut) {
            interner.check(check);
            if check.node == node.name {
                check.node = Arc::clone(&node.name);
            }
        }
        let LocalRows { node, services, checks, services_index, checks_index } = local;
        let mut local = Local::default();
        (local.services_index, local.checks_index) = (services_index, checks_index);
        for service in services {
            let id = fold_shared(&service.id);
            if let Ok(address) = service.address.parse::<IpAddr>() {
                space.addresses.insert((address, Arc::clone(&node), Arc::clone(&id)), ());
            }
            local.services.insert(id, service);
        }
        for check in checks {
            let id = fold_shared(&check.id);
            space.note_failing(&node, &id, Some(&check.status));
            local.put_check(&id, check);
        }
        space.locals.insert(node, Arc::new(local));
    }
    for entry in rows.kv {
        space.kv.store(entry);
    }
    space.kv.floor = rows.floor;
    for (key, index) in rows.graves {
        space.kv.bury(&key, index);
    }
    Ok(space)
}

/// Joins the groups of a namespace and gives them their indexes. All rows of the partition are in place.
fn import_groups(
    partition: &mut Partition,
    name: &Str,
    by_name: Vec<GroupIndexes>,
    connect: Vec<GroupIndexes>,
) -> Result<(), ImportError> {
    let mut groups: Table<Str, Arc<ServiceGroup>> = Table::default();
    let mut mesh = groups.clone();
    for (name, destination, instance) in join_all(partition, name) {
        if let Some(destination) = destination {
            mesh.change(&destination, |group| Arc::make_mut(group).instances.push(instance.clone()));
        }
        if let Some(name) = name {
            groups.change(&name, |group| Arc::make_mut(group).instances.push(instance));
        }
    }
    for (table, indexes, listed) in [(&mut groups, by_name, true), (&mut mesh, connect, false)] {
        if indexes.len() != table.len() {
            return Err(ImportError::GroupsDiffer);
        }
        for GroupIndexes { name, index, rows_index, checks_index } in indexes {
            let Some(group) = table.get_mut(&*name).map(Arc::make_mut) else {
                return Err(ImportError::GroupsDiffer);
            };
            (group.index, group.rows_index, group.checks_index) = (index, rows_index, checks_index);
            if listed {
                group.relist_names();
            }
        }
    }
    partition.namespace(name, |space| (space.groups, space.connect) = (groups, mesh));
    Ok(())
}
