//! What a read depends on, named: the unit of change indexes and of wake-ups.

use alloc::collections::BTreeSet;

use crate::model::{Status, Str, Tenancy};
use crate::name::fold_shared;

/// One thing a read can depend on.
///
/// [`View::index_of`](crate::View::index_of) tells when it last changed, [`Changes`] names the ones a command changed,
/// and a [`WatchTable`](crate::watch::WatchTable) wakes whoever waits for one. A read that touches several lists
/// several. Names in topics are compared folded ([`Topic::folded`]); keys of the KV store are not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Rows of all nodes of a partition (`/v1/catalog/nodes`).
    Nodes {
        /// Admin partition.
        partition: Str,
    },
    /// The row of one node.
    Node {
        /// Admin partition.
        partition: Str,
        /// Name of the node.
        name: Str,
    },
    /// The row of a node and its services (`/v1/catalog/node/:node`).
    NodeServices {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the node.
        node: Str,
    },
    /// The checks of a node and of its services (`/v1/health/node/:node`).
    NodeChecks {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the node.
        node: Str,
    },
    /// Names of services, and their tags (`/v1/catalog/services`).
    Services {
        /// Partition and namespace.
        tenancy: Tenancy,
    },
    /// Rows of all services of a namespace, whatever their name.
    ServiceRows {
        /// Partition and namespace.
        tenancy: Tenancy,
    },
    /// Instances of a service with their nodes and checks (`/v1/health/service/:service`).
    Service {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the service.
        name: Str,
    },
    /// Instances of a service with their nodes, without checks (`/v1/catalog/service/:service`).
    ServiceInstances {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the service.
        name: Str,
    },
    /// Checks of a service's instances, without those of their nodes (`/v1/health/checks/:service`).
    ServiceChecks {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the service.
        name: Str,
    },
    /// Mesh-capable instances for a service, with their nodes and checks (`/v1/health/connect/:service`).
    Connect {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the destination.
        name: Str,
    },
    /// The same without checks (`/v1/catalog/connect/:service`).
    ConnectInstances {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the destination.
        name: Str,
    },
    /// All checks of a namespace (`/v1/health/state/any`).
    Checks {
        /// Partition and namespace.
        tenancy: Tenancy,
    },
    /// Checks in one state (`/v1/health/state/:state`). All states beyond the three known ones count as one.
    CheckState {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// The state.
        status: Status,
    },
    /// Where the nodes of a partition are (`/v1/coordinate/nodes`).
    Coordinates {
        /// Admin partition.
        partition: Str,
    },
    /// Where one node is (`/v1/coordinate/node/:node`).
    NodeCoordinates {
        /// Admin partition.
        partition: Str,
        /// Name of the node.
        node: Str,
    },
    /// Prepared queries (`/v1/query`).
    Queries,
    /// All sessions of a namespace (`/v1/session/list`).
    Sessions {
        /// Partition and namespace.
        tenancy: Tenancy,
    },
    /// Sessions of one node (`/v1/session/node/:node`).
    NodeSessions {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Name of the node.
        node: Str,
    },
    /// One session (`/v1/session/info/:id`).
    Session {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Its id.
        id: Str,
    },
    /// One key.
    Kv {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// The key, to the letter.
        key: Str,
    },
    /// Every key that starts with a prefix.
    KvPrefix {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// The prefix, to the letter; empty: all keys.
        prefix: Str,
    },
}

impl Topic {
    /// The same topic with its names in the form they are stored in, which makes equal what is compared as equal.
    #[must_use]
    pub fn folded(&self) -> Self {
        let mut topic = self.clone();
        match &mut topic {
            Self::Node { name, .. }
            | Self::NodeServices { node: name, .. }
            | Self::NodeChecks { node: name, .. }
            | Self::NodeCoordinates { node: name, .. }
            | Self::NodeSessions { node: name, .. }
            | Self::Session { id: name, .. }
            | Self::Service { name, .. }
            | Self::ServiceInstances { name, .. }
            | Self::ServiceChecks { name, .. }
            | Self::Connect { name, .. }
            | Self::ConnectInstances { name, .. } => *name = fold_shared(name),
            Self::CheckState { status, .. } => {
                if let Status::Other(text) = status {
                    *text = Str::default();
                }
            }
            Self::Nodes { .. }
            | Self::Services { .. }
            | Self::ServiceRows { .. }
            | Self::Checks { .. }
            | Self::Coordinates { .. }
            | Self::Queries
            | Self::Sessions { .. }
            | Self::Kv { .. }
            | Self::KvPrefix { .. } => {}
        }
        topic
    }
}

impl Topic {
    /// Another topic whose change counts as a change of this one.
    pub(crate) fn implied(&self) -> Option<Self> {
        match self {
            Self::NodeServices { tenancy, node } => {
                Some(Self::Node { partition: tenancy.partition.clone(), name: node.clone() })
            }
            _ => None,
        }
    }
}

/// The topics a command changed, folded and without repeats.
///
/// [`Topic::KvPrefix`] never appears: a changed [`Topic::Kv`] stands for every prefix of its key. Nor does
/// [`Topic::NodeServices`] where only the row of the node changed: its [`Topic::Node`] stands for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeSet<Topic>);

impl Changes {
    /// Adds a topic, which must be folded.
    pub(crate) fn add(&mut self, topic: Topic) {
        self.0.insert(topic);
    }

    /// Adds what another command changed.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
        } else {
            self.0.extend(other.0);
        }
    }

    /// Nothing changed: nobody needs to wake.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The topics, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.0.iter()
    }

    /// Sessions that came or went: tenancy and folded id.
    pub fn sessions(&self) -> impl Iterator<Item = (&Tenancy, &Str)> {
        let nothing = Str::default();
        let tenancy = Tenancy { partition: nothing.clone(), namespace: nothing.clone() };
        self.0.range(Topic::Session { tenancy, id: nothing }..).map_while(|topic| match topic {
            Topic::Session { tenancy, id } => Some((tenancy, id)),
            _ => None,
        })
    }

    /// Whether what `topic` names changed.
    #[must_use]
    pub fn contains(&self, topic: &Topic) -> bool {
        match topic {
            Topic::KvPrefix { tenancy, prefix } => {
                let first = Topic::Kv { tenancy: tenancy.clone(), key: prefix.clone() };
                match self.0.range(first..).next() {
                    Some(Topic::Kv { tenancy: changed, key }) => changed == tenancy && key.starts_with(&**prefix),
                    _ => false,
                }
            }
            _ => {
                let topic = topic.folded();
                self.0.contains(&topic) || topic.implied().is_some_and(|implied| self.0.contains(&implied))
            }
        }
    }
}
