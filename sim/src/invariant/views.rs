//! Convergence: SWIM, section 4.1 (dissemination reaches all with high probability); push/pull makes it certain.

use convoke_swim::{Members, State};

use crate::referee::{Verdict, Violation};
use crate::world::World;

/// Whether all members that take part see the truth: who takes part is alive, at its address; who is down or left is not.
///
/// # Errors
///
/// Names one difference.
pub fn true_views(world: &World) -> Verdict {
    for (number, node) in world.nodes() {
        let Some(swim) = node.swim().filter(|_| node.takes_part()) else { continue };
        let wrong = |what: String| Err(Violation::now(world, "true views", format!("node {number}: {what}")));
        for (other, at) in world.nodes() {
            let name = &at.spec().name;
            if world.named(name) != Some(other) {
                continue;
            }
            let member = swim.members().get(name);
            match (at.takes_part(), member) {
                (true, None) => return wrong(format!("{name} is up, and not known")),
                (true, Some(member)) if member.state != State::Alive => {
                    return wrong(format!("{name} is up, and held for {:?}", member.state));
                }
                (true, Some(member)) if member.profile.address() != world.address_of(other) => {
                    return wrong(format!(
                        "{name} is at {}, and believed at {}",
                        world.address_of(other),
                        member.profile.address()
                    ));
                }
                (false, Some(member)) if member.state.is_up() => {
                    return wrong(format!("{name} does not take part, and is held for {:?}", member.state));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether all members that take part hold the same table.
///
/// # Errors
///
/// Names two that do not, and a member on which they differ.
pub fn agree(world: &World) -> Verdict {
    let mut first: Option<(u32, &Members, u64)> = None;
    for (number, node) in world.nodes() {
        let Some(swim) = node.swim().filter(|_| node.takes_part()) else { continue };
        let print = swim.members().digest();
        let Some((other, members, wanted)) = first else {
            first = Some((number, swim.members(), print));
            continue;
        };
        if print != wanted {
            let what = difference(members, swim.members())
                .or_else(|| difference(swim.members(), members))
                .unwrap_or_else(|| "nothing but the hash".into());
            return Err(Violation::now(world, "equal views", format!("nodes {other} and {number} differ: {what}")));
        }
    }
    Ok(())
}

fn difference(a: &Members, b: &Members) -> Option<String> {
    a.iter().find_map(|m| {
        let name = m.profile.name();
        let other = b.get(name);
        let seen = other.map(|o| (o.incarnation, o.state.status()));
        (seen != Some((m.incarnation, m.state.status()))).then(|| {
            format!("{name}: {:?}@{} here, {:?} there", m.state, m.incarnation, other.map(|o| (o.state, o.incarnation)))
        })
    })
}
