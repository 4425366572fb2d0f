//! User events: at most once at each member, and to all that take part (Serf's promise, on SWIM's dissemination).

use std::collections::BTreeMap;

use crate::note::{Note, Seen};
use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

/// Time, name and payload.
type Name = (u64, String, Vec<u8>);

/// Who got which event, in which of its lives. Events fired at once by two members may have one time.
#[derive(Debug, Default)]
pub struct Rumours {
    got: BTreeMap<Name, BTreeMap<(u32, u32), u32>>,
}

impl Rumours {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Invariant for Rumours {
    fn note(&mut self, _: &World, note: &Note) -> Verdict {
        let Seen::UserEvent(event) = &note.what else { return Ok(()) };
        let life = (note.node, note.life);
        let got = self.got.entry((event.time, event.name.clone(), event.payload.clone())).or_default();
        let times = got.entry(life).or_default();
        *times += 1;
        if *times > 1 {
            let what = format!("node {} delivers {:?} of {} again", note.node, event.name, event.time);
            return Err(Violation { invariant: "user events once", at: note.at, what });
        }
        Ok(())
    }
}

/// Whether every member that takes part has delivered so many events of this name, by the notes of a referee.
///
/// # Errors
///
/// Names one that has not.
pub fn told_everywhere(world: &World, log: &[Note], name: &str, times: usize) -> Verdict {
    for (number, node) in world.nodes() {
        let mine =
            |note: &&Note| note.node == number && matches!(&note.what, Seen::UserEvent(event) if event.name == name);
        let got = log.iter().filter(mine).count();
        if node.takes_part() && got != times {
            let what = format!("node {number} delivered {name:?} {got} times, not {times}");
            return Err(Violation::now(world, "user events everywhere", what));
        }
    }
    Ok(())
}
