//! Accuracy: SWIM, section 3.3 ("a lower rate of false positives" by suspicion); Lifeguard, section 5 counts exactly this.

use std::collections::BTreeSet;
use std::time::Duration;

use convoke_swim::MemberEvent;

use crate::note::{Note, Seen};
use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// News of an earlier life may be on their way for so long.
const YOUNG: Duration = Duration::from_secs(5);

/// No member that is up, and with which nothing is wrong, is declared failed by one that is up.
///
/// Who has just started learns of earlier deaths from the tables of others, and others of its return: those do not count.
#[derive(Debug, Default)]
pub struct FalseDeath {
    excused: BTreeSet<u32>,
    /// What these say does not count; what is said of them does.
    not_by: BTreeSet<u32>,
}

impl FalseDeath {
    /// For all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something is wrong with these: what they say, and what is said of them, does not count.
    #[must_use]
    pub fn except(excused: impl IntoIterator<Item = u32>) -> Self {
        Self { excused: excused.into_iter().collect(), ..Self::default() }
    }

    /// Something is wrong with how these see the others: only what is said of them counts.
    #[must_use]
    pub fn not_by(blind: impl IntoIterator<Item = u32>) -> Self {
        Self { not_by: blind.into_iter().collect(), ..Self::default() }
    }
}

impl Invariant for FalseDeath {
    fn note(&mut self, world: &World, note: &Note) -> Verdict {
        let Seen::Member { subject: Some(subject), what: MemberEvent::Failed } = note.what else { return Ok(()) };
        let node = world.node(subject);
        let young = |n: u32| note.at.since(world.node(n).since()) < YOUNG;
        if young(subject) || young(note.node) {
            return Ok(());
        }
        if !node.takes_part()
            || self.excused.contains(&subject)
            || self.excused.contains(&note.node)
            || self.not_by.contains(&note.node)
        {
            return Ok(());
        }
        let what = format!("node {} declares {} failed, which lives", note.node, node.spec().name);
        Err(Violation { invariant: "no false death", at: note.at, what })
    }
}
