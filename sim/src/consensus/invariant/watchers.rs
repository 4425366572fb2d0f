//! Index monotonic for watchers: what a server says it has applied never goes back while it runs, and who waits for a change is
//! told when it is there.

use std::collections::BTreeMap;

use convoke_raft::{Index, NodeId};

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct IndexMonotonic {
    told: BTreeMap<NodeId, Index>,
}

impl Invariant for IndexMonotonic {
    fn name(&self) -> &'static str {
        "index monotonic for watchers"
    }

    fn source(&self) -> &'static str {
        "scenario S11 (etcd issue 15271); Consul's documentation of blocking queries"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Starts(at, _) => {
                self.told.remove(&scene.slots[*at].id);
            }
            Seen::Watched(at, index) => {
                let id = scene.slots[*at].id;
                let before = self.told.insert(id, *index).unwrap_or(0);
                if *index < before {
                    return Err(format!("{id:?} told {index} after {before}"));
                }
            }
            Seen::Installed(at, ..) | Seen::Applied(at, ..) => {
                let slot = &scene.slots[*at];
                if let Some(request) = slot.server.as_ref().and_then(|server| server.overdue()) {
                    return Err(format!(
                        "{:?} has the change that {request:?} waits for, and does not say so",
                        slot.id
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
