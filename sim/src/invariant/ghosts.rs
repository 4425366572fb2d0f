//! The dead stay dead: SWIM, section 4.2: a confirmation overrides what is said of an incarnation for good; only the
//! member itself, alive again, begins another.

use std::time::Duration;

use convoke_swim::MemberEvent;

use crate::note::{Note, Seen};
use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// Nobody says that a member joined that is down for longer than news live.
#[derive(Debug)]
pub struct Ghosts {
    grace: Duration,
}

impl Default for Ghosts {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30) }
    }
}

impl Ghosts {
    /// News of a member may be on their way for so long after its end.
    #[must_use]
    pub const fn after(grace: Duration) -> Self {
        Self { grace }
    }
}

impl Invariant for Ghosts {
    fn note(&mut self, world: &World, note: &Note) -> Verdict {
        let Seen::Member { subject, what: MemberEvent::Joined } = note.what else { return Ok(()) };
        let Some(subject) = subject else {
            let what = format!("node {} knows a member that never was", note.node);
            return Err(Violation { invariant: "no ghosts", at: note.at, what });
        };
        let node = world.node(subject);
        let gone = note.at.since(node.since());
        if node.is_up() || gone < self.grace {
            return Ok(());
        }
        let name = &node.spec().name;
        // One that has just started itself may learn of members from others that have not noticed yet.
        if world.node(note.node).since() > note.at - self.grace {
            return Ok(());
        }
        let what = format!("node {} says {name} joined, which is down for {gone:?}", note.node);
        Err(Violation { invariant: "no ghosts", at: note.at, what })
    }
}
