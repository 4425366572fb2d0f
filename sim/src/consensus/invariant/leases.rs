//! Lease safety: while a leader's lease holds, nobody leads a later term.

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct LeaseSafety;

impl Invariant for LeaseSafety {
    fn name(&self) -> &'static str {
        "lease safety"
    }

    fn source(&self) -> &'static str {
        "Ongaro, dissertation, section 6.4.1"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Leads(at) = seen else { return Ok(()) };
        let Some(server) = &scene.slots[*at].server else { return Ok(()) };
        let (id, term) = (scene.slots[*at].id, server.raft().term());
        for other in scene.slots.iter().filter(|slot| slot.id != id) {
            let Some(server) = &other.server else { continue };
            let raft = server.raft();
            if raft.term() < term && raft.lease_until(other.clock.at(scene.now)).is_some() {
                return Err(format!(
                    "{id:?} leads term {term} while {:?} has a lease in term {}",
                    other.id,
                    raft.term()
                ));
            }
        }
        Ok(())
    }
}
