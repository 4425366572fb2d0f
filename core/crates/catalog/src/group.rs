//! The joined answer about a service, kept ready for whoever asks.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;

use crate::model::{Check, Node, Service, Status, Str};
use crate::name::fold;

/// One instance of a service with everything DNS and health answers say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it runs.
    pub node: Arc<Node>,
    /// Its row.
    pub service: Arc<Service>,
    /// Checks of the node, then of the service, each sorted by id.
    pub checks: Arc<[Arc<Check>]>,
    /// The worst of `checks`; passing if there are none. States beyond the three known ones rank between passing and
    /// warning: not fit for `only_passing`, and neither critical nor of warning weight.
    pub status: Status,
    /// The address of the service or, if it has none of its own, of the node, where that is an IP: read once, not by
    /// every DNS answer. An IPv4 address in IPv6 clothes is the IPv4 address.
    pub ip: Option<IpAddr>,
}

impl Instance {
    /// Joins the rows.
    #[must_use]
    pub fn new(node: Arc<Node>, service: Arc<Service>, checks: Arc<[Arc<Check>]>) -> Self {
        let status = worst(checks.iter().map(|check| &check.status));
        let address = if service.address.is_empty() { &node.address } else { &service.address };
        let ip = address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        Self { node, service, checks, status, ip }
    }
}

/// All instances of a service, or all that speak the mesh protocol for a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceGroup {
    /// Sorted by folded node name, then folded service id. Never empty in a view.
    pub instances: Vec<Instance>,
    /// Names and tags as they are listed, sorted. More than one where instances spell the name in different case;
    /// none in mesh groups, which are not listed.
    pub names: Vec<ServiceName>,
    /// Log index of the last change to anything here.
    pub index: u64,
    /// Log index of the last change to anything but checks.
    pub rows_index: u64,
    /// Log index of the last change to the checks of services here (those of nodes left aside).
    pub checks_index: u64,
}

/// A service in the list of services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// As the instances spell it.
    pub name: Str,
    /// Tags of all instances, each once, sorted.
    pub tags: Vec<Str>,
}

impl ServiceGroup {
    /// Where the instance of that folded node name and service id is, or would be.
    pub(crate) fn position(&self, node: &str, id: &str) -> Result<usize, usize> {
        self.instances.binary_search_by(|instance| {
            let by_node = (*fold(&instance.node.name)).cmp(node);
            by_node.then_with(|| (*fold(&instance.service.id)).cmp(id))
        })
    }

    /// Brings [`names`](Self::names) up to date after `added` came or `removed` went (both for one that changed); what
    /// they were, if that changed them.
    pub(crate) fn list_names(
        &mut self,
        added: Option<&Service>,
        removed: Option<&Service>,
    ) -> Option<Vec<ServiceName>> {
        if let (Some(old), Some(new)) = (removed, added)
            && (&old.name, &old.tags) == (&new.name, &new.tags)
        {
            return None;
        }
        if removed.is_none() && added.is_some_and(|service| self.lists(service)) {
            return None;
        }
        self.relist_names()
    }

    /// Computes [`names`](Self::names) from scratch; what they were, if that changed them.
    pub(crate) fn relist_names(&mut self) -> Option<Vec<ServiceName>> {
        let mut names: Vec<ServiceName> = Vec::with_capacity(self.names.len());
        for Instance { service, .. } in &self.instances {
            let at = names.iter().position(|known| known.name == service.name).unwrap_or_else(|| {
                names.push(ServiceName { name: Arc::clone(&service.name), tags: Vec::new() });
                names.len() - 1
            });
            if let Some(entry) = names.get_mut(at) {
                for tag in &service.tags {
                    if let Err(place) = entry.tags.binary_search(tag) {
                        entry.tags.insert(place, Arc::clone(tag));
                    }
                }
            }
        }
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let before = mem::replace(&mut self.names, names);
        (before != self.names).then_some(before)
    }

    /// Whether name and tags of a service are listed already.
    fn lists(&self, service: &Service) -> bool {
        let known = self.names.iter().find(|known| known.name == service.name);
        known.is_some_and(|known| service.tags.iter().all(|tag| known.tags.binary_search(tag).is_ok()))
    }
}

/// The worst of some states, by the ranks of [`Instance::status`].
#[must_use]
pub fn worst<'a>(states: impl IntoIterator<Item = &'a Status>) -> Status {
    let rank = |status: &Status| match status {
        Status::Passing => 0,
        Status::Other(_) => 1,
        Status::Warning => 2,
        Status::Critical => 3,
    };
    let mut worst = &Status::Passing;
    for status in states {
        if rank(status) > rank(worst) {
            worst = status;
        }
    }
    worst.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_counts() {
        let other = Status::Other("failing".into());
        assert_eq!(worst([]), Status::Passing);
        assert_eq!(worst([&Status::Passing, &other]), other);
        assert_eq!(worst([&Status::Warning, &other]), Status::Warning);
        assert_eq!(worst([&Status::Warning, &Status::Critical, &Status::Passing]), Status::Critical);
    }
}
