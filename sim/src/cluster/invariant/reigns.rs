//! Election safety, as agents see it: at most one leads in a term (figure 3 of the Raft paper). Two clusters where there should be
//! one break it, too: both begin with the same terms (scenario M9).

use std::collections::BTreeMap;

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct OneReign {
    leads: BTreeMap<u64, usize>,
}

impl Invariant for OneReign {
    fn name(&self) -> &'static str {
        "one leader a term"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Published { host } = seen else { return Ok(()) };
        let reign = scene.published(*host).map_or(0, |published| published.reign);
        if reign == 0 {
            return Ok(());
        }
        let first = *self.leads.entry(reign).or_insert(*host);
        if first == *host {
            return Ok(());
        }
        Err(format!("{} and {} lead in term {reign}", scene.name(first), scene.name(*host)))
    }
}
