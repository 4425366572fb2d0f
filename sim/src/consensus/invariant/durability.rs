//! Durability: what was acknowledged is never lost; and what was reported durable is there after a crash, votes included.

use convoke_raft::Index;

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Durability {
    acknowledged: Index,
}

impl Invariant for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn source(&self) -> &'static str {
        "Ongaro and Ousterhout, extended version, figure 2 (persistent state) and section 8; Alagappan et al., \
         \"Protocol-aware recovery\", FAST 2018"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Acknowledged(at) => {
                let applied = scene.slots[*at].server.as_ref().map_or(0, |server| server.kv().applied);
                self.acknowledged = self.acknowledged.max(applied);
            }
            Seen::Starts(at, before) => {
                let slot = &scene.slots[*at];
                let (id, now) = (slot.id, &slot.disk.mirror);
                if now.hard.term < before.hard.term {
                    return Err(format!("{id:?} forgot term {}, it is in {}", before.hard.term, now.hard.term));
                }
                if now.hard.term == before.hard.term && before.hard.vote.is_some() && now.hard.vote != before.hard.vote
                {
                    return Err(format!("{id:?} forgot its vote in term {}", before.hard.term));
                }
                // What a write under way took away may be gone.
                let (truncated, replaced) = slot.disk.excuse;
                let gone = |index| truncated.is_some_and(|from| index >= from) || index <= replaced;
                if let Some(lost) = before.entries().find(|entry| !gone(entry.index) && !now.holds(*entry)) {
                    return Err(format!("{id:?} had {lost:?} on its disk, and has it no more"));
                }
                if now.snapshot.index < before.snapshot.index {
                    return Err(format!("{id:?} lost its snapshot {:?}", before.snapshot));
                }
            }
            Seen::Healed => {
                let best =
                    scene.slots.iter().filter_map(|slot| slot.server.as_ref()).map(|server| server.kv().applied).max();
                if best.unwrap_or(0) < self.acknowledged {
                    return Err(format!(
                        "{} was acknowledged, and nobody has applied more than {best:?}",
                        self.acknowledged
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
