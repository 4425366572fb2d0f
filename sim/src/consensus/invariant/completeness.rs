//! Leader completeness: what is committed in a term is in the logs of the leaders of all later terms.

use convoke_raft::Term;

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    /// Of each entry that was applied anywhere, from index 1: its term, and the term of who applied it first. It was committed
    /// in that or earlier. (Not always in its own: a later leader may have committed it.)
    committed: Vec<(Term, Term)>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn source(&self) -> &'static str {
        "Ongaro and Ousterhout, extended version, figure 3 and section 5.4"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Applied(at, entry, _) if entry.index == self.committed.len() as u64 + 1 => {
                let term = scene.slots[*at].server.as_ref().map_or(entry.term, |server| server.raft().term());
                self.committed.push((entry.term, term));
            }
            Seen::Leads(at) => {
                let Some(server) = &scene.slots[*at].server else { return Ok(()) };
                let raft = server.raft();
                for index in raft.first_index()..=self.committed.len() as u64 {
                    let (term, by) = self.committed[index as usize - 1];
                    if by < raft.term() && raft.entry(index).map(|entry| entry.term) != Some(term) {
                        let id = scene.slots[*at].id;
                        return Err(format!("{id:?} leads term {} without {index}@{term}", raft.term()));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
