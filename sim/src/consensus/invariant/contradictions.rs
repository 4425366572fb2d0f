//! Nobody says what Raft promises nobody ever says: two leaders of one term, a log that parts below what is committed.

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct NoContradiction;

impl Invariant for NoContradiction {
    fn name(&self) -> &'static str {
        "no contradiction"
    }

    fn source(&self) -> &'static str {
        "Ongaro and Ousterhout, extended version, figure 3: what follows from it for a receiver"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let (Seen::Ends(at) | Seen::Handled(at)) = seen else { return Ok(()) };
        let Some(server) = &scene.slots[*at].server else { return Ok(()) };
        let stats = server.raft().stats();
        if stats.dropped_impossible > 0 || stats.dropped_absurd > 0 {
            return Err(format!("{:?} heard what cannot be: {stats:?}", scene.slots[*at].id));
        }
        Ok(())
    }
}
