//! Keeping the groups joined: which instances a change touched, and their way into and out of groups.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use crate::catalog::Write;
use crate::group::{Instance, ServiceGroup, ServiceName};
use crate::model::{Check, Node, Service, Str, Tenancy};
use crate::name::fold_shared;
use crate::rows::NodeWriter;
use crate::state::{DEFAULT, Namespace, Partition};
use crate::topic::Topic;

/// Instances of one node that have to be joined anew, by namespace and folded service id.
#[derive(Debug, Default)]
pub(crate) struct Touched(BTreeMap<(Str, Str), Touch>);

/// What changed about an instance. A check of its node sets nothing here: being touched at all says it.
#[derive(Debug, Default)]
struct Touch {
    /// Its node or its own row.
    rows: bool,
    /// A check of its own.
    own_checks: bool,
    /// The row it had before the first change, if that had one.
    before: Option<Arc<Service>>,
}

impl Touched {
    /// The row of the service changed.
    pub(crate) fn service(&mut self, namespace: &Str, id: &str, before: Option<Arc<Service>>) {
        let touch = self.0.entry((Arc::clone(namespace), id.into())).or_default();
        touch.rows = true;
        if touch.before.is_none() {
            touch.before = before;
        }
    }

    /// A check of the service changed.
    pub(crate) fn own_check(&mut self, namespace: &Str, id: &str) {
        self.0.entry((Arc::clone(namespace), id.into())).or_default().own_checks = true;
    }

    /// The row of its node changed (`rows`), or a check of its node.
    pub(crate) fn node(&mut self, namespace: &Str, id: Str, rows: bool) {
        self.0.entry((Arc::clone(namespace), id)).or_default().rows |= rows;
    }
}

/// The two ways instances are grouped.
#[derive(Clone, Copy)]
enum Grouping {
    /// By the name of the service.
    Name,
    /// By the destination they speak the mesh protocol for.
    Connect,
}

impl Grouping {
    /// The folded name of the group a service belongs to.
    fn key(self, service: &Service) -> Option<Str> {
        match self {
            Self::Name => Some(fold_shared(&service.name)),
            Self::Connect if service.connect_native => Some(fold_shared(&service.name)),
            Self::Connect if *service.kind == *"connect-proxy" => {
                let destination = &service.proxy.as_ref()?.destination_service_name;
                (!destination.is_empty()).then(|| fold_shared(destination))
            }
            Self::Connect => None,
        }
    }
}

impl NodeWriter<'_> {
    /// Joins what was touched.
    pub(crate) fn join(&mut self) {
        for ((namespace, id), touch) in mem::take(&mut self.touched).0 {
            let instance = instance(self.partition, &namespace, &self.node, &id);
            let after = instance.as_ref().map(|instance| &*instance.service);
            let before = touch.before.as_deref().or(after);
            let tenancy = Tenancy { partition: Arc::clone(&self.space), namespace };
            for grouping in [Grouping::Name, Grouping::Connect] {
                let was_in = before.and_then(|service| grouping.key(service));
                let is_in = after.and_then(|service| grouping.key(service));
                let write = &mut *self.write;
                self.partition.namespace(&tenancy.namespace, |space| {
                    let mut groups = Groups { space, write, tenancy: &tenancy, grouping };
                    if let Some(group) = was_in.filter(|group| is_in.as_ref() != Some(group)) {
                        groups.leave(&group, &self.node, &id);
                    }
                    if let Some((group, instance)) = is_in.zip(instance.as_ref()) {
                        groups.enter(&group, &self.node, &id, instance.clone(), &touch);
                    }
                });
            }
        }
    }
}

/// The groups of a namespace, to change.
struct Groups<'a> {
    space: &'a mut Namespace,
    write: &'a mut Write,
    tenancy: &'a Tenancy,
    grouping: Grouping,
}

impl Groups<'_> {
    /// Puts an instance into a group, or in the place of what it was.
    fn enter(&mut self, name: &Str, node: &str, id: &str, instance: Instance, touch: &Touch) {
        let index = self.write.index;
        let (mut rows, mut own_checks, mut listed) = (touch.rows, touch.own_checks, None);
        let (groups, gone) = match self.grouping {
            Grouping::Name => (&mut self.space.groups, self.space.services_gone),
            Grouping::Connect => (&mut self.space.connect, self.space.connect_gone),
        };
        groups.change(name, |group| {
            let group = Arc::make_mut(group);
            if group.instances.is_empty() {
                group.checks_index = gone.max(1);
            }
            let service = Arc::clone(&instance.service);
            let at = group.position(node, id);
            let old = match at.ok().and_then(|at| group.instances.get_mut(at)) {
                Some(place) => Some(mem::replace(place, instance).service),
                None => {
                    rows = true;
                    own_checks = has_own(&instance);
                    let at = at.unwrap_or_else(|at| at).min(group.instances.len());
                    group.instances.insert(at, instance);
                    None
                }
            };
            if let Grouping::Name = self.grouping {
                listed = group.list_names(Some(&service), old.as_deref());
            }
            group.moved(index, rows, own_checks);
        });
        self.note(name, rows, own_checks, listed);
    }

    /// Takes an instance out of a group, and the group away with its last one.
    fn leave(&mut self, name: &Str, node: &str, id: &str) {
        let index = self.write.index;
        let groups = match self.grouping {
            Grouping::Name => &mut self.space.groups,
            Grouping::Connect => &mut self.space.connect,
        };
        let Some(group) = groups.get_mut(&**name).map(Arc::make_mut) else { return };
        let Ok(at) = group.position(node, id) else { return };
        let old = group.instances.remove(at);
        let own_checks = has_own(&old);
        group.moved(index, true, own_checks);
        let mut listed = None;
        if let Grouping::Name = self.grouping {
            listed = group.list_names(None, Some(&old.service));
        }
        if group.instances.is_empty() {
            groups.remove(&**name);
            match self.grouping {
                Grouping::Name => self.space.services_gone = index,
                Grouping::Connect => self.space.connect_gone = index,
            }
        }
        self.note(name, true, own_checks, listed);
    }

    /// Tells who waits for the group.
    fn note(&mut self, name: &Str, rows: bool, own_checks: bool, listed: Option<Vec<ServiceName>>) {
        let tenancy = || self.tenancy.clone();
        let name = || Arc::clone(name);
        match self.grouping {
            Grouping::Name => {
                self.write.changes.add(Topic::Service { tenancy: tenancy(), name: name() });
                if rows {
                    self.write.changes.add(Topic::ServiceInstances { tenancy: tenancy(), name: name() });
                }
                if own_checks {
                    self.write.changes.add(Topic::ServiceChecks { tenancy: tenancy(), name: name() });
                }
                if let Some(before) = listed {
                    self.write.listed.entry((tenancy(), name())).or_insert(before);
                }
            }
            Grouping::Connect => {
                self.write.changes.add(Topic::Connect { tenancy: tenancy(), name: name() });
                if rows {
                    self.write.changes.add(Topic::ConnectInstances { tenancy: tenancy(), name: name() });
                }
            }
        }
    }
}

impl ServiceGroup {
    /// Something here changed at `index`.
    fn moved(&mut self, index: u64, rows: bool, own_checks: bool) {
        self.index = index;
        if rows {
            self.rows_index = index;
        }
        if own_checks {
            self.checks_index = index;
        }
    }
}

/// The instance as the rows have it, if there is one. Names and id are folded.
fn instance(partition: &Partition, namespace: &str, node: &str, id: &str) -> Option<Instance> {
    let row: &Arc<Node> = partition.nodes.get(node)?;
    let local = partition.local(namespace, node)?;
    let service = local.service(id)?;
    let default = if namespace == DEFAULT { None } else { partition.local(DEFAULT, node) };
    let of_default = default.map_or(&[][..], |local| local.checks_of(""));
    let checks = of_default.iter().chain(local.checks_of("")).chain(local.checks_of(id));
    let checks: Arc<[Arc<Check>]> = checks.cloned().collect();
    Some(Instance::new(Arc::clone(row), Arc::clone(service), checks))
}

/// Every instance of a partition joined from scratch, in order: what [`NodeWriter::join`] keeps up to date.
pub(crate) fn join_all(
    partition: &Partition,
    namespace: &str,
) -> impl Iterator<Item = (Option<Str>, Option<Str>, Instance)> {
    let locals = partition.namespaces.get(namespace).into_iter().flat_map(|space| space.locals.iter());
    locals.flat_map(move |(node, local)| {
        local.services.iter().filter_map(move |(id, service)| {
            let instance = instance(partition, namespace, node, id)?;
            Some((Grouping::Name.key(service), Grouping::Connect.key(service), instance))
        })
    })
}

/// Whether it has checks beside its node's.
fn has_own(instance: &Instance) -> bool {
    instance.checks.iter().any(|check| !check.service_id.is_empty())
}
