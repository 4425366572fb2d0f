//! State machine safety: nobody applies another entry at the same index; and equal entries make equal states.

use std::collections::BTreeMap;

use convoke_raft::{Index, NodeId, Position, Term};

use super::{Invariant, Scene, Seen, hash};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    /// Of each entry that was applied anywhere, from index 1: its term, its hash, and that of the state behind it.
    applied: Vec<(Term, u64, u64)>,
    /// Of each server that runs: the last one it applied.
    last: BTreeMap<NodeId, Index>,
}

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn source(&self) -> &'static str {
        "Ongaro and Ousterhout, extended version, figure 3 and section 5.4.3"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Starts(at, _) => {
                let snapshot = scene.slots[*at].disk.mirror.snapshot.index;
                self.last.insert(scene.slots[*at].id, snapshot);
            }
            Seen::Applied(at, entry, state) => {
                let id = scene.slots[*at].id;
                let last = self.last.insert(id, entry.index).unwrap_or(0);
                if entry.index != last + 1 {
                    return Err(format!("{id:?} applies {} after {last}", entry.index));
                }
                let new = (entry.term, hash(entry), *state);
                match self.applied.get(entry.index as usize - 1) {
                    None => self.applied.push(new),
                    Some(old) if (old.0, old.1) != (new.0, new.1) => {
                        return Err(format!(
                            "{id:?} applies {:?}, others applied {}@{}",
                            entry.position(),
                            entry.index,
                            old.0
                        ));
                    }
                    Some(old) if old.2 != new.2 => {
                        return Err(format!("the state of {id:?} behind {:?} is another one", entry.position()));
                    }
                    Some(_) => {}
                }
            }
            Seen::Installed(at, Position { term, index }, state) => {
                let id = scene.slots[*at].id;
                let last = self.last.insert(id, *index).unwrap_or(0);
                if *index <= last {
                    return Err(format!("{id:?} goes back from {last} to {index}"));
                }
                let known = self.applied.get(*index as usize - 1);
                if known.is_none_or(|known| known.0 != *term || known.2 != *state) {
                    return Err(format!("{id:?} installs a state of {index}@{term} that nobody had"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
