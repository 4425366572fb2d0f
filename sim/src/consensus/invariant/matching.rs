//! Log matching: if two logs have an entry with the same index and term, they are equal up to it.
//!
//! By induction it is enough that an index and a term name one entry, and one entry before it.

use std::collections::BTreeMap;

use convoke_raft::{Index, Term};

use super::{Invariant, Scene, Seen, hash};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    /// What it holds, and the term before it, if that is known.
    entries: BTreeMap<(Index, Term), (u64, Option<Term>)>,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn source(&self) -> &'static str {
        "Ongaro and Ousterhout, extended version, figure 3 and section 5.3"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Wrote(at, persist) = seen else { return Ok(()) };
        let Some(server) = &scene.slots[*at].server else { return Ok(()) };
        let Some(first) = persist.entries.first() else { return Ok(()) };
        let mut before = match first.index {
            1 => Some(0),
            index => server.raft().entry(index - 1).map(|entry| entry.term),
        };
        for entry in &persist.entries {
            let (known, term) = self.entries.entry((entry.index, entry.term)).or_insert((hash(entry), before));
            if *known != hash(entry) {
                return Err(format!("{:?} has another entry {:?}", scene.slots[*at].id, entry.position()));
            }
            if let (Some(one), Some(other)) = (*term, before)
                && one != other
            {
                return Err(format!("before {:?} stand terms {one} and {other}", entry.position()));
            }
            *term = term.or(before);
            before = Some(entry.term);
        }
        Ok(())
    }
}
