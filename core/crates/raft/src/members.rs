//! Who belongs to the cluster, and since which entry.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::types::{Entry, Index, NodeId, Payload};

/// Members of a cluster, learners included. More are refused: every one costs the leader a window and a heartbeat.
pub const MAX_MEMBERS: usize = 64;
/// Bytes of an address.
pub const MAX_ADDRESS: usize = 512;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// It votes and counts; otherwise it is a learner, which only receives.
    pub voter: bool,
    /// Where others reach it. The machine does not read it.
    pub address: String,
}

/// All servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership(pub BTreeMap<NodeId, Member>);

impl Membership {
    /// These voters, with empty addresses. For tests and simulations.
    #[must_use]
    pub fn of_voters(ids: impl IntoIterator<Item = NodeId>) -> Self {
        Self(ids.into_iter().map(|id| (id, Member { voter: true, address: String::new() })).collect())
    }

    /// Whether it votes.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.0.get(&id).is_some_and(|member| member.voter)
    }

    /// Whether it belongs.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.contains_key(&id)
    }

    /// Those that vote, in order.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().filter(|(_, member)| member.voter).map(|(id, _)| *id)
    }

    /// Everybody, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// How many vote.
    #[must_use]
    pub fn voter_count(&self) -> usize {
        self.voters().count()
    }

    /// It is the only one that votes.
    #[must_use]
    pub fn is_lone_voter(&self, id: NodeId) -> bool {
        self.is_voter(id) && self.voter_count() == 1
    }

    /// Within the bounds.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        self.0.len() <= MAX_MEMBERS && self.0.values().all(|member| member.address.len() <= MAX_ADDRESS)
    }

    pub(crate) fn weight(&self) -> usize {
        self.0.values().map(|member| 24 + member.address.len()).sum()
    }
}

/// The memberships of the log since the last snapshot, and the one of the snapshot.
///
/// A membership is in force as soon as it is in the log, committed or not (Ongaro's dissertation, section 4.1); when its
/// entry is overwritten the one before it is in force again.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Rising indices; never empty. The first is that of the snapshot, or the empty one at 0.
    past: Vec<(Index, Arc<Membership>)>,
}

impl History {
    pub(crate) fn new(index: Index, membership: Arc<Membership>) -> Self {
        Self { past: alloc::vec![(index, membership)] }
    }

    /// The one in force.
    pub(crate) fn current(&self) -> &Arc<Membership> {
        &self.past[self.past.len() - 1].1
    }

    /// The entry that put it in force.
    pub(crate) fn index(&self) -> Index {
        self.past[self.past.len() - 1].0
    }

    /// The one that was in force at `index`.
    pub(crate) fn at(&self, index: Index) -> (Index, &Arc<Membership>) {
        let (at, membership) = self.past.iter().rev().find(|(at, _)| *at <= index).unwrap_or(&self.past[0]);
        (*at, membership)
    }

    pub(crate) fn note(&mut self, entry: &Entry) {
        if let Payload::Membership(membership) = &entry.payload
            && entry.index > self.index()
        {
            self.past.push((entry.index, Arc::clone(membership)));
        }
    }

    /// Entries from `index` on are gone.
    pub(crate) fn truncate(&mut self, index: Index) {
        while self.past.len() > 1 && self.index() >= index {
            self.past.pop();
        }
    }

    /// Nobody asks for what was in force before `index` any more.
    pub(crate) fn compact(&mut self, index: Index) {
        let keep = self.past.iter().rposition(|(at, _)| *at <= index).unwrap_or(0);
        self.past.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, voters: u128) -> Entry {
        let membership = Arc::new(Membership::of_voters((1..=voters).map(NodeId)));
        Entry { term: 1, index, payload: Payload::Membership(membership) }
    }

    #[test]
    fn what_is_overwritten_was_never_in_force() {
        let mut history = History::new(0, Arc::default());
        for (index, voters) in [(1, 3), (5, 4), (9, 5)] {
            history.note(&entry(index, voters));
        }
        assert_eq!((history.index(), history.current().voter_count()), (9, 5));
        history.truncate(6);
        assert_eq!((history.index(), history.current().voter_count()), (5, 4));
        assert_eq!((history.at(4).0, history.at(4).1.voter_count()), (1, 3));
        assert_eq!((history.at(5).0, history.at(99).0, history.at(0).0), (5, 5, 0));
        history.compact(4);
        assert_eq!((history.at(0).0, history.at(4).0, history.index()), (1, 1, 5));
        history.truncate(0);
        assert_eq!(history.index(), 1, "the membership of the snapshot cannot be overwritten");
    }

    #[test]
    fn learners_do_not_count() {
        let mut members = Membership::of_voters([NodeId(1)]);
        members.0.insert(NodeId(2), Member { voter: false, address: String::new() });
        assert!(members.is_lone_voter(NodeId(1)) && !members.is_lone_voter(NodeId(2)));
        assert!(members.contains(NodeId(2)) && !members.is_voter(NodeId(2)));
        assert_eq!((members.voter_count(), members.ids().count()), (1, 2));
        members.0.extend((10..90).map(|id| (NodeId(id), Member { voter: false, address: String::new() })));
        assert!(!members.is_sane());
    }
}
