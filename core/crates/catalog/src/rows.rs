//! Changing the rows of one node: nodes, services and checks, their indexes by id and address, their change indexes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::catalog::Write;
use crate::coordinate;
use crate::join::Touched;
use crate::model::{Check, Indexes, Node, Service, Status, Str, Tenancy};
use crate::name::{fold, fold_shared};
use crate::sessions::Doom;
use crate::state::{DEFAULT, Namespace, Partition, state_slot};
use crate::topic::Topic;

/// Writes rows of one node and remembers which instances they touched; [`finish`](Self::finish) or
/// [`remove_node`](Self::remove_node), which end it, then bring the groups of those up to date.
///
/// A row written as it was moves no index.
pub(crate) struct NodeWriter<'a> {
    pub(crate) partition: &'a mut Partition,
    pub(crate) write: &'a mut Write,
    /// Name of the partition.
    pub(crate) space: Str,
    /// Folded name of the node.
    pub(crate) node: Str,
    /// Instances of this node that have to be joined anew.
    pub(crate) touched: Touched,
}

impl<'a> NodeWriter<'a> {
    /// A writer for the node of that folded name in the partition of that name.
    pub(crate) fn new(partition: &'a mut Partition, write: &'a mut Write, space: &Str, node: Str) -> Self {
        Self { partition, write, space: Arc::clone(space), node, touched: Touched::default() }
    }

    /// Creates or changes the node's row. `created`: its creation index, if it is known from another name.
    pub(crate) fn put_node(&mut self, mut node: Node, created: Option<u64>) {
        let index = self.write.index;
        let before = self.partition.nodes.get(&*self.node).cloned();
        match &before {
            Some(before) => node.indexes = before.indexes,
            None => node.indexes.create = created.unwrap_or(index),
        }
        if before.as_ref().is_some_and(|before| **before == node) {
            return;
        }
        node.indexes.modify = index;
        if let Some(before) = &before {
            self.forget_node(before);
            if before.name != node.name {
                self.respell_checks(&node.name);
            }
        }
        if let Some(id) = &node.id {
            self.partition.ids.insert(fold_shared(id), Arc::clone(&self.node));
        }
        if let Ok(address) = node.address.parse::<IpAddr>() {
            self.partition.addresses.insert((address, Arc::clone(&self.node)), ());
        }
        self.partition.nodes.insert(Arc::clone(&self.node), Arc::new(node));
        self.node_changed();
        for namespace in self.partition.namespace_names() {
            self.touch_all(&namespace, true);
        }
    }

    /// Creates or changes a service.
    pub(crate) fn put_service(&mut self, mut service: Service) {
        let index = self.write.index;
        let id = fold_shared(&service.id);
        let tenancy = service.tenancy.clone();
        let before = self.partition.local(&tenancy.namespace, &self.node).and_then(|local| local.service(&id)).cloned();
        service.indexes = before.as_ref().map_or(Indexes { create: index, modify: index }, |before| before.indexes);
        if before.as_ref().is_some_and(|before| **before == service) {
            return;
        }
        service.indexes.modify = index;
        if service.id == service.name {
            service.id = Arc::clone(&service.name);
        }
        let service = Arc::new(service);
        let gone = self.partition.nodes_gone;
        self.namespace(&tenancy.namespace, |space, node| {
            space.forget_address(node, before.as_deref());
            if let Ok(address) = service.address.parse::<IpAddr>() {
                space.addresses.insert((address, Arc::clone(node), Arc::clone(&id)), ());
            }
            space.services_index = index;
            space.local(node, gone, |local| {
                local.services_index = index;
                local.services.insert(Arc::clone(&id), Arc::clone(&service));
            });
        });
        let renamed = before.as_ref().is_some_and(|before| before.name != service.name);
        self.touched.service(&tenancy.namespace, &id, before);
        self.services_changed(&tenancy);
        if renamed {
            self.rename_checks(&tenancy.namespace, &id, &service);
        }
    }

    /// Creates or changes a check, whose node and service, if it names one, are there.
    pub(crate) fn put_check(&mut self, mut check: Check) {
        let Some(node) = self.partition.nodes.get(&*self.node) else { return };
        check.node = Arc::clone(&node.name);
        check.service_name = Str::default();
        check.service_tags = Vec::new();
        if !check.service_id.is_empty() {
            let local = self.partition.local(&check.tenancy.namespace, &self.node);
            let Some(service) = local.and_then(|local| local.service(&fold(&check.service_id))) else { return };
            check.service_id = Arc::clone(&service.id);
            check.service_name = Arc::clone(&service.name);
            check.service_tags.clone_from(&service.tags);
        }
        if check.id == check.name {
            check.id = Arc::clone(&check.name);
        }
        self.store_check(check);
    }

    /// Removes a service with its checks, if it is there.
    pub(crate) fn remove_service(&mut self, namespace: &Str, id: &str) {
        let Some(local) = self.partition.local(namespace, &self.node) else { return };
        let Some(service) = local.service(id).cloned() else { return };
        for check in local.checks_of(id).to_vec() {
            self.remove_check(namespace, &fold(&check.id));
        }
        let index = self.write.index;
        let gone = self.partition.nodes_gone;
        self.namespace(namespace, |space, node| {
            space.forget_address(node, Some(&service));
            space.services_index = index;
            space.local(node, gone, |local| {
                local.services_index = index;
                local.services.remove(id);
            });
        });
        self.services_changed(&service.tenancy);
        self.touched.service(namespace, id, Some(service));
    }

    /// Removes a check, if it is there.
    pub(crate) fn remove_check(&mut self, namespace: &Str, id: &str) {
        let Some(local) = self.partition.local(namespace, &self.node) else { return };
        let Some(check) = local.check(id).cloned() else { return };
        let gone = self.partition.nodes_gone;
        self.namespace(namespace, |space, node| {
            space.local(node, gone, |local| local.remove_check(id));
            space.note_failing(node, &fold_shared(&check.id), None);
        });
        self.doom(namespace, &fold_shared(&check.id));
        self.check_changed(&check, &[&check.status]);
    }

    /// Removes the node with everything on it.
    pub(crate) fn remove_node(mut self) {
        let Some(node) = self.partition.nodes.get(&*self.node).cloned() else { return };
        for namespace in self.partition.namespace_names() {
            let Some(local) = self.partition.local(&namespace, &self.node).cloned() else { continue };
            for (id, _) in local.services.iter() {
                self.remove_service(&namespace, id);
            }
            for (id, _) in local.checks.iter() {
                self.remove_check(&namespace, id);
            }
        }
        self.join();
        for namespace in self.partition.namespace_names() {
            self.namespace(&namespace, |space, node| space.locals.remove(&**node));
        }
        self.forget_node(&node);
        self.partition.nodes.remove(&*self.node);
        self.partition.nodes_gone = self.write.index;
        self.write.doomed.push(Doom::Node(Arc::clone(&self.space), Arc::clone(&self.node)));
        self.node_changed();
        coordinate::forget(self.partition, self.write, &self.space, &self.node);
    }

    /// Ends the change.
    pub(crate) fn finish(mut self) {
        self.join();
    }

    /// Changes a namespace, with the folded name of the node at hand.
    pub(crate) fn namespace<R>(&mut self, name: &Str, change: impl FnOnce(&mut Namespace, &Str) -> R) -> R {
        self.partition.namespace(name, |space| change(space, &self.node))
    }
}

/// Rows behind the scenes.
impl NodeWriter<'_> {
    /// Writes a check whose references are filled in.
    fn store_check(&mut self, mut check: Check) {
        let index = self.write.index;
        let id = fold_shared(&check.id);
        let tenancy = check.tenancy.clone();
        let before = self.partition.local(&tenancy.namespace, &self.node).and_then(|local| local.check(&id)).cloned();
        check.indexes = before.as_ref().map_or(Indexes { create: index, modify: index }, |before| before.indexes);
        if before.as_ref().is_some_and(|before| **before == check) {
            return;
        }
        check.indexes.modify = index;
        if check.status == Status::Critical {
            self.doom(&tenancy.namespace, &id);
        }
        let check = Arc::new(check);
        let gone = self.partition.nodes_gone;
        self.namespace(&tenancy.namespace, |space, node| {
            space.local(node, gone, |local| local.put_check(&id, Arc::clone(&check)));
            space.note_failing(node, &id, Some(&check.status));
        });
        match before {
            None => self.check_changed(&check, &[&check.status]),
            Some(before) => {
                if fold(&before.service_id) != fold(&check.service_id) {
                    self.check_changed(&before, &[]);
                }
                self.check_changed(&check, &[&before.status, &check.status]);
            }
        }
    }

    /// The node's name is spelt in another case now: its checks follow.
    fn respell_checks(&mut self, name: &Str) {
        for namespace in self.partition.namespace_names() {
            let Some(local) = self.partition.local(&namespace, &self.node) else { continue };
            for check in local.checks.clone().values() {
                self.store_check(Check { node: Arc::clone(name), ..Check::clone(check) });
            }
        }
    }

    /// A service has another name now: its checks follow.
    fn rename_checks(&mut self, namespace: &Str, id: &str, service: &Service) {
        let Some(local) = self.partition.local(namespace, &self.node) else { return };
        for check in local.checks_of(id).to_vec() {
            self.store_check(Check {
                service_name: Arc::clone(&service.name),
                service_tags: service.tags.clone(),
                ..Check::clone(&check)
            });
        }
    }

    /// Takes a node's row out of the indexes by id and address.
    fn forget_node(&mut self, node: &Node) {
        if let Some(id) = &node.id {
            self.partition.ids.remove(&*fold(id));
        }
        if let Ok(address) = node.address.parse::<IpAddr>() {
            self.partition.addresses.remove(&(address, Arc::clone(&self.node)));
        }
    }

    /// A check is critical or gone: so are the sessions that stand on it.
    fn doom(&mut self, namespace: &Str, id: &Str) {
        let [space, node, namespace, id] = [&self.space, &self.node, namespace, id].map(Arc::clone);
        self.write.doomed.push(Doom::Check(space, node, namespace, id));
    }

    fn node_changed(&mut self) {
        self.partition.nodes_index = self.write.index;
        self.write.changes.add(Topic::Nodes { partition: Arc::clone(&self.space) });
        self.write.changes.add(Topic::Node { partition: Arc::clone(&self.space), name: Arc::clone(&self.node) });
    }

    fn services_changed(&mut self, tenancy: &Tenancy) {
        self.write.changes.add(Topic::NodeServices { tenancy: tenancy.clone(), node: Arc::clone(&self.node) });
        self.write.changes.add(Topic::ServiceRows { tenancy: tenancy.clone() });
    }

    /// A check came, went or changed: notes it wherever it is read. `states`: those whose listing it changed.
    fn check_changed(&mut self, check: &Check, states: &[&Status]) {
        let index = self.write.index;
        let gone = self.partition.nodes_gone;
        let tenancy = &check.tenancy;
        self.namespace(&tenancy.namespace, |space, node| {
            space.checks_index = index;
            for status in states {
                if let Some(slot) = space.state_index.get_mut(state_slot(status)) {
                    *slot = index;
                }
            }
            space.local(node, gone, |local| local.checks_index = index);
        });
        for status in states {
            let topic = Topic::CheckState { tenancy: tenancy.clone(), status: Status::clone(status) };
            self.write.changes.add(topic.folded());
        }
        self.write.changes.add(Topic::Checks { tenancy: tenancy.clone() });
        self.write.changes.add(Topic::NodeChecks { tenancy: tenancy.clone(), node: Arc::clone(&self.node) });
        if !check.service_id.is_empty() {
            self.touched.own_check(&tenancy.namespace, &fold(&check.service_id));
        } else if *tenancy.namespace == *DEFAULT {
            for namespace in self.partition.namespace_names() {
                self.touch_all(&namespace, false);
            }
        } else {
            self.touch_all(&tenancy.namespace, false);
        }
    }

    /// Touches every service the node has in a namespace.
    fn touch_all(&mut self, namespace: &Str, rows: bool) {
        let Some(local) = self.partition.local(namespace, &self.node) else { return };
        for (id, _) in local.services.iter() {
            self.touched.node(namespace, Arc::clone(id), rows);
        }
    }
}

impl Namespace {
    /// A check, named by folded node name and id, has this status now, or is gone.
    pub(crate) fn note_failing(&mut self, node: &Str, id: &Str, status: Option<&Status>) {
        let key = (Arc::clone(node), Arc::clone(id));
        if status.is_some_and(|status| *status != Status::Passing) {
            self.failing.insert(key, ());
        } else {
            self.failing.remove(&key);
        }
    }

    /// Takes a service's row out of the index by address.
    fn forget_address(&mut self, node: &Str, service: Option<&Service>) {
        let Some(service) = service else { return };
        if let Ok(address) = service.address.parse::<IpAddr>() {
            self.addresses.remove(&(address, Arc::clone(node), fold_shared(&service.id)));
        }
    }
}
