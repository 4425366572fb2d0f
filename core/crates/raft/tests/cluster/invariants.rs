//! What must hold at every moment, each with its section of the paper. A violation is a panic.

use std::collections::BTreeMap;

use convoke_raft::{Entry, Index, Raft, Role, Term};

use crate::harness::Node;

/// What the world has seen.
#[derive(Default)]
pub(crate) struct Witness {
    leaders: BTreeMap<Term, usize>,
    /// Every entry that any server applied, and the term that the first one to do so was in: the entry was committed in that
    /// term or before. (Not always in its own: a later leader may have committed it, while one in between never had it.)
    applied: BTreeMap<Index, (Entry, Term)>,
    /// The highest term of these.
    newest: Term,
}

impl Witness {
    /// Election safety (figure 3): at most one leader a term.
    pub(crate) fn leads(&mut self, n: usize, raft: &Raft) {
        let first = *self.leaders.entry(raft.term()).or_insert(n);
        assert_eq!(first, n, "election safety: two leaders of term {}", raft.term());
        self.completeness(n, raft);
    }

    /// Leader completeness (figure 3): what is committed is in the log of every later leader.
    fn completeness(&self, n: usize, raft: &Raft) {
        for (index, (entry, committed)) in self.applied.range(raft.first_index()..) {
            if *committed < raft.term() {
                let found = raft.entry(*index).map(|entry| entry.term);
                assert_eq!(found, Some(entry.term), "leader completeness: n{n} of term {} lacks {index}", raft.term());
            }
        }
    }

    /// State machine safety (figure 3): nobody applies another entry at the same index.
    pub(crate) fn applies(&mut self, n: usize, term: Term, entry: &Entry) {
        self.newest = self.newest.max(entry.term);
        let (first, _) = self.applied.entry(entry.index).or_insert_with(|| (entry.clone(), term));
        assert_eq!(first, entry, "state machine safety: n{n} applies another entry");
    }

    /// Lease safety (dissertation, section 6.4.1): while one holds it, no later leader has committed anything.
    pub(crate) fn lease(&self, n: usize, raft: &Raft, now: convoke_kit::Time) {
        if raft.role() == Role::Leader && raft.lease_until(now).is_some() {
            assert!(
                raft.term() >= self.newest,
                "lease safety: n{n} leads {} by lease, {} committed",
                raft.term(),
                self.newest
            );
        }
    }

    /// Log matching (figure 3): two logs that share an entry are equal up to it.
    pub(crate) fn logs_match(nodes: &[Node]) {
        let rafts: Vec<&Raft> = nodes.iter().filter_map(|node| node.raft.as_ref()).collect();
        for (at, a) in rafts.iter().enumerate() {
            for b in &rafts[at + 1..] {
                let common = a.first_index().max(b.first_index())..=a.last().index.min(b.last().index);
                let mut shared = false;
                for index in common.rev() {
                    let (Some(x), Some(y)) = (a.entry(index), b.entry(index)) else { continue };
                    shared |= x.term == y.term;
                    assert!(!shared || x == y, "log matching: {:?} and {:?} at {index}", a.id(), b.id());
                }
            }
        }
    }
}
