//! Who was told that its disk is full writes no entries, and a server halts only if its disk failed.

use convoke_raft::Persist;

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct SpaceIsKept;

impl Invariant for SpaceIsKept {
    fn name(&self) -> &'static str {
        "space is kept for votes"
    }

    fn source(&self) -> &'static str {
        "scenario L11; the contract of Event::DiskFull"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            // A log that is written anew holds what was there.
            Seen::Wrote(at, persist)
                if scene.slots[*at].told_full && !persist.entries.is_empty() && !is_old(scene, *at, persist) =>
            {
                Err(format!("{:?} writes entries to a disk that is full", scene.slots[*at].id))
            }
            Seen::Halted(at) if !scene.slots[*at].cursed => {
                Err(format!("{:?} halted for no reason", scene.slots[*at].id))
            }
            _ => Ok(()),
        }
    }
}

fn is_old(scene: &Scene<'_>, at: usize, persist: &Persist) -> bool {
    persist.entries.last().is_some_and(|last| scene.slots[at].disk.has_seen(last.position()))
}
