//! How servers that have nothing yet become a cluster: `bootstrap_expect`.
//!
//! When as many servers as expected are seen, the one with the lowest id asks each of the others to let it begin. A server
//! that has no log says yes to one asker, for good: the promise is on its disk before it is told. Only who has the promise of
//! every server of its list begins, so two lists that share a server never both become clusters, whatever each of the two
//! believed to see (scenario M9). The list is then the first membership, and it reaches the others as any entry does.
//!
//! With more servers than are expected, two may ask at the same time, each with its own promise and some of others. Then the
//! lower goes on: the higher, which knows that it has not begun, gives its promise to itself to the lower. And who has promised
//! to the higher is told by the lower, in its question, that the higher has given way, and so will never begin.
//!
//! A promise to a server that is gone for good is not taken back by itself: nobody could tell whether it began. The log
//! says whom it was given to, and what an operator can do.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_kit::Time;
use convoke_raft::NodeId;

use crate::flaw::{Flaw, Flaws};

/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(500);

/// The state of a server on its way into its first cluster.
#[derive(Debug)]
pub struct Bootstrap {
    own: NodeId,
    expect: usize,
    promised: Option<NodeId>,
    asking: Option<Asking>,
    /// Who has promised to this server, for good.
    given: BTreeSet<NodeId>,
    again_at: Option<Time>,
    /// There is a cluster: it will add this server.
    exists: bool,
    pub(crate) flaws: Flaws,
}

#[derive(Debug)]
struct Asking {
    members: Vec<NodeId>,
    missing: BTreeSet<NodeId>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Keep the promise to oneself, then ask these.
    Ask {
        /// Who would belong to the cluster.
        members: Vec<NodeId>,
        /// All but oneself.
        of: Vec<NodeId>,
    },
    /// Begin with these.
    Begin(Vec<NodeId>),
}

impl Bootstrap {
    /// For a server that expects so many (at least one), itself included. `promised` is what its disk held.
    #[must_use]
    pub const fn new(own: NodeId, expect: usize, promised: Option<NodeId>) -> Self {
        Self {
            own,
            expect,
            promised,
            asking: None,
            given: BTreeSet::new(),
            again_at: None,
            exists: false,
            flaws: Flaws::none(),
        }
    }

    /// Whom it has promised to.
    #[must_use]
    pub const fn promised(&self) -> Option<NodeId> {
        self.promised
    }

    /// When [`Bootstrap::look`] has something to do without news.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.again_at
    }

    /// Looks at the servers that are seen alive, itself included, and expect as many.
    pub fn look(&mut self, now: Time, seen: &BTreeSet<NodeId>) -> Option<Step> {
        if self.exists || self.again_at.is_some_and(|at| at > now) {
            return None;
        }
        self.again_at = None;
        let members: Vec<NodeId> = seen.iter().copied().take(self.expect).collect();
        let free = self.promised.is_none_or(|promised| promised == self.own);
        if members.len() < self.expect || members.first() != Some(&self.own) || !free {
            return None;
        }
        self.again_at = Some(now + PAUSE);
        self.promised = Some(self.own);
        let of: Vec<NodeId> = members.iter().copied().filter(|id| *id != self.own).collect();
        if of.is_empty() {
            return Some(Step::Begin(members));
        }
        // All are asked again: an answer may have been lost.
        self.asking = Some(Asking { members: members.clone(), missing: of.iter().copied().collect() });
        Some(Step::Ask { members, of })
    }

    /// Who has promised to this server so far: to be told with each question.
    #[must_use]
    pub fn given(&self) -> Vec<NodeId> {
        self.given.iter().copied().collect()
    }

    /// Somebody asks to begin, and says who has promised to it: whether it may. What is granted must be on disk before it
    /// is told.
    pub fn asked(&mut self, by: NodeId, members: &[NodeId], given: &[NodeId]) -> bool {
        let free = match self.promised {
            None => true,
            Some(promised) if promised == by => true,
            // Two ask. This one has not begun, or it would have a log; from here on it will not.
            Some(promised) if promised == self.own => by < self.own && !self.flaws.has(Flaw::NobodyGivesWay),
            // It will not begin, for it has promised to another.
            Some(promised) => given.contains(&promised),
        };
        let granted = free && members.contains(&self.own) && members.contains(&by);
        if granted {
            self.promised = Some(by);
            self.asking = None;
            self.given.clear();
        }
        granted
    }

    /// An answer.
    pub fn answered(&mut self, from: NodeId, granted: bool, exists: bool) -> Option<Step> {
        if exists {
            self.exists = true;
            self.asking = None;
            return None;
        }
        let asking = self.asking.as_mut()?;
        if granted {
            self.given.insert(from);
            asking.missing.remove(&from);
        }
        if !asking.missing.is_empty() {
            return None;
        }
        self.asking.take().map(|asking| Step::Begin(asking.members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn ids(of: &[u128]) -> BTreeSet<NodeId> {
        of.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn the_lowest_begins_when_all_agree() {
        let mut one = Bootstrap::new(NodeId(1), 3, None);
        let mut two = Bootstrap::new(NodeId(2), 3, None);
        assert_eq!(one.look(Time::ZERO, &ids(&[1, 2])), None, "too few");
        assert_eq!(two.look(Time::ZERO, &ids(&[1, 2, 3])), None, "not its task");
        let Some(Step::Ask { members, of }) = one.look(Time::ZERO, &ids(&[1, 2, 3])) else { panic!() };
        assert_eq!(of, vec![NodeId(2), NodeId(3)]);
        assert!(two.asked(NodeId(1), &members, &[]));
        assert_eq!(one.answered(NodeId(2), true, false), None);
        assert_eq!(one.answered(NodeId(2), true, false), None, "told twice");
        assert_eq!(one.answered(NodeId(3), true, false), Some(Step::Begin(members)));
    }

    #[test]
    fn two_who_see_different_servers_do_not_both_begin() {
        // 1 sees 1, 2, 3; 2 sees 2, 3, 4: server 3 is asked by both, and promises one.
        let mut three = Bootstrap::new(NodeId(3), 3, None);
        assert!(three.asked(NodeId(2), &[NodeId(2), NodeId(3), NodeId(4)], &[]));
        assert!(!three.asked(NodeId(1), &[NodeId(1), NodeId(2), NodeId(3)], &[]));
        let again = Bootstrap::new(NodeId(3), 3, three.promised());
        assert_eq!(again.promised(), Some(NodeId(2)), "not after a restart either");
    }

    #[test]
    fn of_two_who_ask_at_once_the_lower_begins_and_the_higher_never_does() {
        let (of_one, of_two) = ([NodeId(1), NodeId(2), NodeId(3)], [NodeId(2), NodeId(3), NodeId(4)]);
        let [mut one, mut two, mut three] = [1, 2, 3].map(|id| Bootstrap::new(NodeId(id), 3, None));
        assert!(two.look(Time::ZERO, &ids(&[2, 3, 4])).is_some());
        assert!(three.asked(NodeId(2), &of_two, &two.given()));
        assert_eq!(two.answered(NodeId(3), true, false), None);
        assert!(one.look(Time::ZERO, &ids(&[1, 2, 3])).is_some());
        assert!(!one.asked(NodeId(2), &of_one, &[]), "the lower does not give way");
        assert!(!three.asked(NodeId(1), &of_one, &one.given()), "2 may have begun");
        assert_eq!(one.answered(NodeId(3), false, false), None);
        assert!(two.asked(NodeId(1), &of_one, &one.given()), "2 gives way");
        assert_eq!(two.answered(NodeId(4), true, false), None, "the last promise comes too late");
        assert_eq!(two.look(Time::ZERO + Duration::from_secs(9), &ids(&[2, 3, 4])), None);
        assert_eq!(one.answered(NodeId(2), true, false), None);
        assert!(one.look(Time::ZERO + Duration::from_secs(1), &ids(&[1, 2, 3])).is_some());
        assert!(three.asked(NodeId(1), &of_one, &one.given()), "2 will not begin");
        assert_eq!(one.answered(NodeId(2), true, false), None);
        assert_eq!(one.answered(NodeId(3), true, false), Some(Step::Begin(of_one.to_vec())));
    }

    #[test]
    fn who_hears_of_a_cluster_waits_to_be_added() {
        let mut one = Bootstrap::new(NodeId(1), 2, None);
        assert!(one.look(Time::ZERO, &ids(&[1, 2])).is_some());
        assert_eq!(one.answered(NodeId(2), false, true), None);
        assert_eq!(one.look(Time::ZERO + Duration::from_secs(9), &ids(&[1, 2])), None);
    }
}
