//! From what the disk held to a machine that can start.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Config;
use crate::flaw::{Flaw, Flaws};
use crate::log::Log;
use crate::members::History;
use crate::types::{Entry, HardState, Index, MAX_NUMBER, NodeId, Payload, Position, Snapshot};

/// Everything a machine needs to be built.
#[derive(Clone, Debug)]
pub struct Boot {
    /// This server.
    pub id: NodeId,
    /// What the disk held.
    pub recovered: Recovered,
    /// Settings.
    pub config: Config,
    /// Of all its randomness. Another one at each start, or late answers to reads of an earlier start might be taken for
    /// answers to new ones.
    pub seed: u64,
    /// A bug to put back; has no effect without the feature `flaws`.
    pub flaw: Option<Flaw>,
}

/// What the disk held: all writes up to some one, each whole.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Of the last write that had one.
    pub hard_state: HardState,
    /// The last one. The driver has put it into the state machine already.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Consecutive; may begin before the snapshot's end.
    pub entries: Vec<Arc<Entry>>,
}

/// Why what the disk held cannot be used. The node must not start: it may have acknowledged what is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Entries are missing between snapshot and log.
    #[error(
        "the log starts at entry {first}, but the snapshot ends at {snapshot}: entries between them are missing; restore \
         both from the same backup, or remove this server from the cluster and add it anew with an empty data_dir"
    )]
    Gap {
        /// Index of the first entry.
        first: Index,
        /// Index of the snapshot; 0: there is none.
        snapshot: Index,
    },
    /// Entries are not in order.
    #[error(
        "entry {index} of the log does not follow the one before it; remove this server from the cluster and add it anew \
         with an empty data_dir"
    )]
    Disorder {
        /// The first such entry.
        index: Index,
    },
    /// The log has entries of a term that the hard state does not know.
    #[error(
        "the log has entries of term {log}, but the stored term is {stored}: the stored vote is older than the log; remove \
         this server from the cluster and add it anew with an empty data_dir"
    )]
    OldVote {
        /// Of the last entry.
        log: u64,
        /// Of the hard state.
        stored: u64,
    },
}

/// What a machine starts from.
pub(crate) struct Start {
    pub(crate) hard: HardState,
    pub(crate) log: Log,
    pub(crate) history: History,
}

/// Checks what the disk held.
pub(crate) fn recover(recovered: Recovered, flaws: Flaws) -> Result<Start, RecoverError> {
    let Recovered { mut hard_state, snapshot, mut entries } = recovered;
    let at = snapshot.as_ref().map_or(Position::ZERO, |snapshot| snapshot.meta.position);
    check_order(&entries)?;
    let mut base = at;
    if let Some(first) = entries.first().map(|entry| entry.position()) {
        if first.index > at.index + 1 && !flaws.has(Flaw::GapAccepted) {
            return Err(RecoverError::Gap { first: first.index, snapshot: at.index });
        }
        let own = at.index.checked_sub(first.index).and_then(|n| entries.get(usize::try_from(n).ok()?));
        match own {
            // The snapshot ends inside the log, which agrees with it: its trailing entries. The first one becomes the
            // base, so that the term before every other one is known.
            Some(entry) if entry.term == at.term => {
                base = first;
                entries.remove(0);
            }
            // A log that ends before the snapshot, or contradicts it, says nothing that the snapshot does not say better.
            _ if first.index <= at.index && !flaws.has(Flaw::ConflictKept) => entries.clear(),
            // As it should not be: the log is believed, and not the snapshot.
            _ if first.index <= at.index => {
                base = first;
                entries.remove(0);
            }
            _ if first.index > at.index + 1 => base = Position { term: at.term, index: first.index - 1 },
            _ => {
                if first.term < at.term {
                    return Err(RecoverError::Disorder { index: first.index });
                }
            }
        }
    }
    let last = entries.last().map_or(base, |entry| entry.position());
    if last.term > hard_state.term {
        return Err(RecoverError::OldVote { log: last.term, stored: hard_state.term });
    }
    let mut history = match &snapshot {
        Some(snapshot) => History::new(snapshot.meta.membership_index, Arc::clone(&snapshot.meta.membership)),
        None => History::new(0, Arc::default()),
    };
    for entry in &entries {
        history.note(entry);
    }
    hard_state.commit = hard_state.commit.clamp(at.index, last.index.max(at.index));
    Ok(Start { hard: hard_state, log: Log::new(base, entries, snapshot), history })
}

fn check_order(entries: &[Arc<Entry>]) -> Result<(), RecoverError> {
    let mut before: Option<Position> = None;
    for entry in entries {
        let follows = match before {
            Some(before) => entry.index == before.index + 1 && entry.term >= before.term,
            None => entry.index > 0 && entry.term > 0,
        };
        let sane = match &entry.payload {
            Payload::Membership(members) => members.is_sane(),
            Payload::Noop | Payload::Command(_) => true,
        };
        if !follows || !sane || entry.index > MAX_NUMBER || entry.term > MAX_NUMBER {
            return Err(RecoverError::Disorder { index: entry.index });
        }
        before = Some(entry.position());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Membership;

    fn entry(term: u64, index: Index) -> Arc<Entry> {
        Arc::new(Entry { term, index, payload: Payload::Noop })
    }

    fn snapshot(term: u64, index: Index) -> Option<Arc<Snapshot>> {
        let members = Arc::new(Membership::of_voters([NodeId(1)]));
        Some(Arc::new(Snapshot::new(Position { term, index }, members, 1, Vec::new().into())))
    }

    fn start(snapshot: Option<Arc<Snapshot>>, entries: &[(u64, Index)], commit: Index) -> Result<Start, RecoverError> {
        let entries = entries.iter().map(|(term, index)| entry(*term, *index)).collect();
        let hard_state = HardState { term: 9, vote: None, commit };
        recover(Recovered { hard_state, snapshot, entries }, Flaws::default())
    }

    #[test]
    fn what_is_whole_starts() {
        type Case<'a> = (Option<Arc<Snapshot>>, &'a [(u64, Index)], Index, (Index, Index, Index));
        let table: &[Case<'_>] = &[
            // snapshot, entries, commit hint -> base, last, commit
            (None, &[], 0, (0, 0, 0)),
            (None, &[], 7, (0, 0, 0)),
            (None, &[(1, 1), (1, 2)], 1, (0, 2, 1)),
            (None, &[(1, 1), (1, 2)], 7, (0, 2, 2)),
            (snapshot(2, 4), &[], 0, (4, 4, 4)),
            (snapshot(2, 4), &[(2, 5), (3, 6)], 5, (4, 6, 5)),
            (snapshot(2, 4), &[(1, 2), (1, 3), (2, 4), (3, 5)], 5, (2, 5, 5)),
            (snapshot(2, 4), &[(2, 4)], 0, (4, 4, 4)),
            // A log that the snapshot overtook, and one that contradicts it.
            (snapshot(2, 4), &[(1, 1), (1, 2)], 2, (4, 4, 4)),
            (snapshot(2, 4), &[(1, 3), (1, 4), (1, 5)], 2, (4, 4, 4)),
        ];
        for (snapshot, entries, commit, expected) in table {
            let start = start(snapshot.clone(), entries, *commit).unwrap();
            let found = (start.log.base().index, start.log.last_index(), start.hard.commit);
            assert_eq!(found, *expected, "{entries:?} {commit}");
        }
    }

    #[test]
    fn what_is_not_whole_does_not() {
        use RecoverError::{Disorder, Gap, OldVote};
        let table: &[(_, &[(u64, Index)], RecoverError)] = &[
            (None, &[(1, 2)], Gap { first: 2, snapshot: 0 }),
            (snapshot(2, 4), &[(2, 6)], Gap { first: 6, snapshot: 4 }),
            (None, &[(1, 1), (1, 3)], Disorder { index: 3 }),
            (None, &[(2, 1), (1, 2)], Disorder { index: 2 }),
            (None, &[(1, 0)], Disorder { index: 0 }),
            (snapshot(2, 4), &[(1, 5)], Disorder { index: 5 }),
            (None, &[(1, 1), (10, 2)], OldVote { log: 10, stored: 9 }),
        ];
        for (snapshot, entries, error) in table {
            assert_eq!(start(snapshot.clone(), entries, 0).err().as_ref(), Some(error), "{entries:?}");
        }
    }
}
