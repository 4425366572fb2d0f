//! A timeline on stderr, for people who look for the cause of a broken run.

use std::fmt::Display;

use crate::note::{Note, Seen};
use crate::world::World;

impl World {
    /// Writes whatever happens to stderr from now on.
    #[must_use]
    pub const fn tracing(mut self, on: bool) -> Self {
        self.traced = on;
        self
    }

    pub(crate) fn trace_text(&self, node: u32, what: impl Display) {
        eprintln!("{:>14.6} {:<8} {what}", self.now as f64 / 1e9, self.nodes[node as usize].spec.name);
    }

    pub(crate) fn trace(&self, note: &Note) {
        match &note.what {
            Seen::Member { subject, what } => {
                let name = subject.map_or("a stranger", |subject| &self.nodes[subject as usize].spec.name);
                self.trace_text(note.node, format_args!("says {name} {what:?}"));
            }
            Seen::Probe { .. } => {}
            what => self.trace_text(note.node, format_args!("{what:?}")),
        }
    }

    /// Writes what the last call did that is no note.
    pub(crate) fn trace_counters(&mut self, number: u32) {
        let node = &self.nodes[number as usize];
        let Some(swim) = &node.swim else { return };
        let (now, old) = (swim.stats(), node.told);
        for (what, now, old) in [
            ("probe failed", now.probes_failed, old.probes_failed),
            ("suspects somebody", now.suspicions, old.suspicions),
            ("refutes", now.refutations, old.refutations),
            ("gives a verdict", now.verdicts, old.verdicts),
            ("drops broadcasts", now.broadcasts_dropped, old.broadcasts_dropped),
        ] {
            if now > old {
                let held = swim.members().iter().filter(|member| member.state == convoke_swim::State::Suspect);
                let held: Vec<&str> = held.map(|member| member.profile.name()).collect();
                self.trace_text(number, format_args!("{what}; health {}, suspects {held:?}", swim.health_score()));
            }
        }
        self.nodes[number as usize].told = now;
    }
}
