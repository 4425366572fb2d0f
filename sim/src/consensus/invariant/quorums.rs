//! Committed configurations: what is committed is on the disks of a majority of a configuration in force, and two
//! configurations that follow each other share a member of any two majorities.

use std::collections::BTreeSet;
use std::sync::Arc;

use convoke_raft::{Membership, NodeId, Payload, quorum};

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct CommittedQuorums {
    /// The last entry that was applied anywhere.
    last: u64,
    /// The last configuration among them.
    current: Option<Arc<Membership>>,
}

impl Invariant for CommittedQuorums {
    fn name(&self) -> &'static str {
        "committed configuration quorums"
    }

    fn source(&self) -> &'static str {
        "Ongaro, dissertation, section 4.1; extended version, section 5.3 (what committed means)"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Applied(_, entry, _) = seen else { return Ok(()) };
        if entry.index != self.last + 1 {
            return Ok(());
        }
        self.last = entry.index;
        let position = entry.position();
        // Of a disk that was lost it is not known what it held.
        let has = |id: NodeId| {
            scene.slots.iter().find(|slot| slot.id == id).is_none_or(|slot| slot.disk.mirror.holds(position))
        };
        let enough = |members: &Membership| {
            let voters: Vec<NodeId> = members.voters().collect();
            voters.iter().filter(|id| has(**id)).count() >= quorum::majority(voters.len())
        };
        let in_force =
            scene.slots.iter().filter_map(|slot| slot.server.as_ref()).map(|server| server.raft().membership().1);
        if !in_force.chain(self.current.as_ref()).any(|members| enough(members)) {
            return Err(format!("{position:?} is applied, and on too few disks"));
        }
        if let Payload::Membership(new) = &entry.payload {
            if let Some(old) = &self.current {
                let (old, new): (BTreeSet<NodeId>, BTreeSet<NodeId>) = (old.voters().collect(), new.voters().collect());
                if old.symmetric_difference(&new).count() > 1 {
                    return Err(format!("{position:?} makes {new:?} of {old:?}"));
                }
                if new.is_empty() {
                    return Err(format!("{position:?} leaves no voter"));
                }
            }
            self.current = Some(Arc::clone(new));
        }
        Ok(())
    }
}
