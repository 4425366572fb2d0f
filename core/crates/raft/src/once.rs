//! Applying a retried command once (section 8; dissertation, section 6.3).
//!
//! A part of the state machine: it belongs into its snapshots, and is fed in log order, so that all servers forget the same.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::Index;

/// What each client has had applied: a bounded table, the same on all servers.
///
/// A client counts its commands and has one under way at a time. At the bound the client that was silent for longest is
/// forgotten, by log index: a retry of its last command would then be applied again, and is told apart by nobody. A bound
/// far above the clients that can have a command under way makes that a matter of days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    bound: usize,
    /// Of each client: its last serial, and the entry that applied it.
    clients: BTreeMap<u64, (u64, Index)>,
    /// By the age of the last entry.
    ages: BTreeMap<Index, u64>,
}

/// What to do with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it.
    Apply,
    /// It was applied by this entry: give that entry's answer again.
    Applied(Index),
    /// The client has gone on since: nobody waits for the answer.
    Outdated,
}

impl Once {
    /// Remembers so many clients (at least one).
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self { bound, clients: BTreeMap::new(), ages: BTreeMap::new() }
    }

    /// Judges the command of entry `index`, and remembers it if it is to be applied. Called once an entry, in order.
    pub fn judge(&mut self, client: u64, serial: u64, index: Index) -> Verdict {
        if let Some((last, at)) = self.clients.get(&client).copied() {
            if serial == last {
                return Verdict::Applied(at);
            }
            if serial < last {
                return Verdict::Outdated;
            }
            self.ages.remove(&at);
        }
        self.clients.insert(client, (serial, index));
        self.ages.insert(index, client);
        if self.clients.len() > self.bound.max(1)
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.clients.remove(&oldest);
        }
        Verdict::Apply
    }

    /// Clients remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// None is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_applied_once() {
        let mut once = Once::new(9);
        assert_eq!(once.judge(1, 1, 10), Verdict::Apply);
        assert_eq!(once.judge(1, 1, 11), Verdict::Applied(10));
        assert_eq!(once.judge(2, 1, 12), Verdict::Apply, "another client's numbers are its own");
        assert_eq!(once.judge(1, 5, 13), Verdict::Apply, "numbers may be left out");
        assert_eq!(once.judge(1, 4, 14), Verdict::Outdated);
        assert_eq!(once.judge(1, 5, 15), Verdict::Applied(13));
    }

    #[test]
    fn the_silent_are_forgotten_first_and_the_same_everywhere() {
        let mut once = Once::new(2);
        once.judge(1, 1, 1);
        once.judge(2, 1, 2);
        once.judge(1, 2, 3);
        // A snapshot in between changes nothing.
        let mut copy: Once = postcard::from_bytes(&postcard::to_allocvec(&once).unwrap()).unwrap();
        for once in [&mut once, &mut copy] {
            assert_eq!(once.judge(3, 1, 4), Verdict::Apply);
            assert_eq!((once.len(), once.judge(1, 2, 5)), (2, Verdict::Applied(3)), "the first is kept");
            assert_eq!(once.judge(2, 1, 6), Verdict::Apply, "the second was silent for longest");
        }
        assert_eq!(once, copy);
    }
}
