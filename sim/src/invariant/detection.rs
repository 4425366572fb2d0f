//! Completeness: SWIM, section 3.1: every failure is detected by every member, within 2n - 1 periods and the time for
//! suspicion and dissemination.

use std::time::Duration;

use convoke_kit::Time;
use convoke_swim::{MemberEvent, State};

use crate::note::{Note, Seen};
use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// Whether all members that take part hold `dead` for failed (or left, or forgotten).
///
/// # Errors
///
/// Names one that does not.
pub fn failed_everywhere(world: &World, dead: u32) -> Verdict {
    let name = &world.node(dead).spec().name;
    for (number, node) in world.nodes() {
        if number == dead || !node.takes_part() {
            continue;
        }
        let state = node.swim().and_then(|swim| swim.members().get(name)).map(|member| member.state);
        if state.is_some_and(State::is_up) {
            let what = format!("node {number} holds {name} for {state:?}, which is down");
            return Err(Violation::now(world, "completeness", what));
        }
    }
    Ok(())
}

/// When one crash was noticed: by the first, and by all.
#[derive(Clone, Debug)]
pub struct Detection {
    subject: u32,
    crashed: Time,
    missing: usize,
    /// After the crash, the first member knew.
    pub first: Option<Duration>,
    /// After the crash, all members knew.
    pub all: Option<Duration>,
}

impl Detection {
    /// Of a crash that happens now, with so many members to notice it.
    #[must_use]
    pub const fn of(world: &World, subject: u32, witnesses: usize) -> Self {
        Self { subject, crashed: world.now(), missing: witnesses, first: None, all: None }
    }

    /// Sees a note.
    pub fn see(&mut self, note: &Note) {
        let Seen::Member { subject: Some(subject), what: MemberEvent::Failed } = note.what else { return };
        if subject != self.subject || self.missing == 0 {
            return;
        }
        let after = note.at.since(self.crashed);
        self.first.get_or_insert(after);
        self.missing -= 1;
        if self.missing == 0 {
            self.all = Some(after);
        }
    }
}

impl Invariant for Detection {
    fn note(&mut self, _: &World, note: &Note) -> Verdict {
        self.see(note);
        Ok(())
    }
}
