//! Election safety: at most one leader a term.

use std::collections::BTreeMap;

use convoke_raft::{NodeId, Term};

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn source(&self) -> &'static str {
        "Ongaro and Ousterhout, extended version, figure 3 and section 5.2"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Leads(at) = seen else { return Ok(()) };
        let Some(server) = &scene.slots[*at].server else { return Ok(()) };
        let (id, term) = (scene.slots[*at].id, server.raft().term());
        let first = *self.leaders.entry(term).or_insert(id);
        if first == id { Ok(()) } else { Err(format!("{first:?} and {id:?} lead term {term}")) }
    }
}
