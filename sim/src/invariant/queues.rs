//! Queues: SWIM, section 4.1: one buffer element a member, the latest news; so the buffer is no larger than the group.

use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// No member has more broadcasts waiting than it knows members, and some that are about no member.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    extra: usize,
}

impl Default for Queues {
    fn default() -> Self {
        Self { extra: 8 }
    }
}

impl Queues {
    /// So many broadcasts may wait that are about no member: user events, keyring operations.
    #[must_use]
    pub const fn with_extra(extra: usize) -> Self {
        Self { extra }
    }
}

impl Invariant for Queues {
    fn look(&mut self, world: &World) -> Verdict {
        for (number, node) in world.nodes() {
            let Some(swim) = node.swim() else { continue };
            let most = swim.members().len() + self.extra;
            if swim.broadcasts() > most {
                let what = format!("node {number}: {} broadcasts wait, at most {most} make sense", swim.broadcasts());
                return Err(Violation::now(world, "bounded queues", what));
            }
        }
        Ok(())
    }
}
