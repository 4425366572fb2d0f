//! The gap between probes: SWIM, section 4.3: with round-robin probing, a member is probed at the latest after 2n - 1
//! periods of each other member.

use std::collections::BTreeMap;

use crate::note::{Note, Seen};
use crate::referee::{Invariant, Verdict, Violation};
use crate::world::World;

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Probes of the prober before this one.
    count: u64,
    /// Lives of both at the time.
    lives: (u32, u32),
}

/// Between two probes of one member by another, both up and known to each other all the time, the other makes at most
/// 2n - 2 probes of others. Needs [`World::watch_probes`].
#[derive(Debug, Default)]
pub struct ProbeGap {
    last: BTreeMap<(u32, u32), Last>,
    counts: BTreeMap<u32, u64>,
    /// Largest pool that each prober knew of.
    pool: BTreeMap<u32, u64>,
}

impl ProbeGap {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn most(&self, prober: u32) -> u64 {
        2 * self.pool.get(&prober).copied().unwrap_or(0).saturating_sub(1)
    }
}

impl Invariant for ProbeGap {
    fn note(&mut self, world: &World, note: &Note) -> Verdict {
        let Seen::Probe { to, life, count } = note.what else { return Ok(()) };
        let prober = world.node(note.node);
        let Some(swim) = prober.swim().filter(|_| prober.lives() == note.life) else { return Ok(()) };
        let known = swim.members().len() as u64;
        let pool = self.pool.entry(note.node).or_default();
        *pool = known.max(*pool);
        self.counts.insert(note.node, count);
        let now = Last { count, lives: (note.life, life) };
        let before = self.last.insert((note.node, to), now);
        let Some(before) = before.filter(|before| before.lives == now.lives) else { return Ok(()) };
        let gap = now.count - before.count;
        let most = self.most(note.node) + 1;
        if gap > most {
            let what = format!("node {} probed {to} again after {gap} probes; 2n - 1 is {most}", note.node);
            return Err(Violation { invariant: "probe gap", at: note.at, what });
        }
        Ok(())
    }

    fn look(&mut self, world: &World) -> Verdict {
        // A member that is never probed again makes no note: look at those that wait.
        for ((prober, to), last) in &self.last {
            let (node, other) = (world.node(*prober), world.node(*to));
            let both = (node.lives(), other.lives()) == last.lives && node.takes_part() && other.takes_part();
            let held = node.swim().and_then(|swim| swim.members().get(&other.spec().name));
            if !both || !held.is_some_and(|member| member.state.is_up()) {
                continue;
            }
            let gap = self.counts.get(prober).copied().unwrap_or(0).saturating_sub(last.count);
            let most = self.most(*prober) + 1;
            if gap > most {
                let what = format!("node {prober} did not probe {to} for {gap} probes; 2n - 1 is {most}");
                return Err(Violation::now(world, "probe gap", what));
            }
        }
        Ok(())
    }
}
