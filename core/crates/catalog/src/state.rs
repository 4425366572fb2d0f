//! How the tables lie in memory: what the writer changes and every view shares.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::group::ServiceGroup;
use crate::model::{Check, KvEntry, Node, Service, Status, Str};
use crate::table::Table;

/// Everything. Keys are folded names unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Log index of the last command applied.
    pub(crate) index: u64,
    /// By name of the partition.
    pub(crate) partitions: Table<Str, Arc<Partition>>,
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
}

/// What a node has in one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// Sorted by folded id.
    pub(crate) services: Vec<Arc<Service>>,
    /// Sorted by folded id.
    pub(crate) checks: Vec<Arc<Check>>,
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
    /// Deleted keys and the log index of the deletion, so that the index of a prefix does not go back.
    pub(crate) graves: Table<Str, u64>,
    /// The same by age, so that the oldest can be dropped.
    pub(crate) grave_order: Table<(u64, Str), ()>,
    /// Log index of the last deletion that was dropped from `graves`: no prefix answers less.
    pub(crate) floor: u64,
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
