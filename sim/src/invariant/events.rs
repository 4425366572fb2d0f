//! Member events make sense in their order: who fails or leaves had joined, who joins had not (SWIM, section 4.2: states
//! are a ladder; users of the agent rely on each step being told once).

use std::collections::BTreeMap;

use convoke_swim::MemberEvent;

use crate::note::{Note, Seen};
use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// What a member, in one of its lives, told last of each other.
#[derive(Debug, Default)]
pub struct Events {
    last: BTreeMap<(u32, u32, u32), MemberEvent>,
}

impl Events {
    /// Nothing seen yet. Members known from the boot count as joined.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Invariant for Events {
    fn note(&mut self, world: &World, note: &Note) -> Verdict {
        let Seen::Member { subject: Some(subject), what } = note.what else { return Ok(()) };
        let before = self.last.insert((note.node, note.life, subject), what);
        let fine = match (before, what) {
            (None, _) | (Some(MemberEvent::Failed), MemberEvent::Left) => true,
            (Some(MemberEvent::Joined | MemberEvent::Updated), next) => {
                !matches!(next, MemberEvent::Joined | MemberEvent::Reaped)
            }
            (Some(MemberEvent::Failed | MemberEvent::Left), next) => {
                matches!(next, MemberEvent::Joined | MemberEvent::Reaped)
            }
            (Some(MemberEvent::Reaped), next) => next == MemberEvent::Joined,
        };
        if fine {
            return Ok(());
        }
        let name = &world.node(subject).spec().name;
        let what = format!("node {}: {name}: {what:?} after {before:?}", note.node);
        Err(Violation { invariant: "order of events", at: note.at, what })
    }
}
