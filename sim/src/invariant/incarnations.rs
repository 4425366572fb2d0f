//! Incarnations: SWIM, section 4.2: "only the member itself" raises its number.

use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// Nobody holds a member for a later incarnation than it ever was in.
#[derive(Debug, Default)]
pub struct Incarnations;

impl Invariant for Incarnations {
    fn look(&mut self, world: &World) -> Verdict {
        // All against all once a second is the dearest of the checks; a look at a part finds it as surely, a little later.
        let turn = (world.now().as_nanos() / 1_000_000_000) as usize % 4;
        for (number, node) in world.nodes().skip(turn).step_by(4) {
            let Some(swim) = node.swim() else { continue };
            for member in swim.members().iter() {
                let name = member.profile.name();
                let Some(owner) = world.named(name) else { continue };
                let highest = world.node(owner).incarnation();
                if member.incarnation > highest {
                    let what = format!(
                        "node {number} holds {name} for incarnation {}, it reached {highest}",
                        member.incarnation
                    );
                    return Err(Violation::now(world, "incarnations", what));
                }
            }
        }
        Ok(())
    }
}
