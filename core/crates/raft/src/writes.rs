//! What is on disk: writes under way, and how much of the log they made durable.
//!
//! Why nothing said too early can be unsaid by a crash: `ordering.md`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_kit::Time;

use crate::types::{Entry, HardState, Index, Snapshot};

/// Writes that may be under way. At the bound messages that would need another one are dropped, as if the network had
/// lost them.
pub const MAX_WRITES: usize = 1024;

/// A snapshot to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotWrite {
    /// It replaces the one on disk.
    pub snapshot: Arc<Snapshot>,
    /// Entries below this index are not wanted on disk any more.
    pub log_from: Index,
}

/// One write. It is atomic: after a crash all of it is there, or nothing of it and nothing of later ones.
///
/// What it does, in this order: remove the entries from `truncate_from` on; replace the snapshot, and remove the entries
/// below [`SnapshotWrite::log_from`]; append `entries`; replace the hard state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persist {
    /// Consecutive from 1.
    pub seq: u64,
    /// Entries from this index on are overwritten.
    pub truncate_from: Option<Index>,
    /// Replaces the one on disk.
    pub hard_state: Option<HardState>,
    /// Consecutive, behind what is on disk then.
    pub entries: Vec<Arc<Entry>>,
    /// Replaces the one on disk.
    pub snapshot: Option<SnapshotWrite>,
}

impl Persist {
    fn is_empty(&self) -> bool {
        self.truncate_from.is_none() && self.hard_state.is_none() && self.entries.is_empty() && self.snapshot.is_none()
    }
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    seq: u64,
    since: Time,
    /// With this write, the log as it is in memory now is durable up to here. A truncation lowers it: what the write
    /// held above is no longer in memory.
    last: Index,
}

/// The bookkeeping. It knows no messages: who waits for what asks [`Writes::durable`] and [`Writes::term_durable`].
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    /// The write being put together in this call.
    draft: Persist,
    flights: VecDeque<Flight>,
    next_seq: u64,
    persisted: u64,
    durable: Index,
    /// The write that carries the current term and vote.
    hard_seq: u64,
    /// What was written last.
    hard: HardState,
}

impl Writes {
    /// After a recovery: all of it is durable.
    pub(crate) fn new(durable: Index, hard: HardState) -> Self {
        Self {
            draft: Persist::default(),
            flights: VecDeque::new(),
            next_seq: 1,
            persisted: 0,
            durable,
            hard_seq: 0,
            hard,
        }
    }

    /// The log in memory is on disk up to here, and no write under way takes it away.
    pub(crate) const fn durable(&self) -> Index {
        self.durable
    }

    /// Term and vote as they are in memory are on disk.
    pub(crate) const fn term_durable(&self) -> bool {
        self.persisted >= self.hard_seq
    }

    pub(crate) fn is_full(&self) -> bool {
        self.flights.len() >= MAX_WRITES
    }

    /// Since when the oldest write is under way.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.flights.front().map(|flight| flight.since)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// An entry was put at the end of the log.
    pub(crate) fn append(&mut self, entry: Arc<Entry>) {
        self.draft.entries.push(entry);
    }

    /// The log was cut: entries from `index` on are gone from memory. `clamp` is true, but for a planted bug.
    pub(crate) fn truncate(&mut self, index: Index, clamp: bool) {
        self.draft.entries.retain(|entry| entry.index < index);
        self.draft.truncate_from = Some(self.draft.truncate_from.map_or(index, |from| from.min(index)));
        if clamp {
            let kept = index.saturating_sub(1);
            self.durable = self.durable.min(kept);
            for flight in &mut self.flights {
                flight.last = flight.last.min(kept);
            }
        }
    }

    /// The planted bug [`crate::Flaw::ConflictKept`]: what was cut stays on disk.
    pub(crate) fn keep_on_disk(&mut self) {
        self.draft.truncate_from = None;
    }

    /// A snapshot was taken or installed.
    pub(crate) fn snapshot(&mut self, snapshot: Arc<Snapshot>, log_from: Index) {
        self.draft.snapshot = Some(SnapshotWrite { snapshot, log_from });
    }

    /// Term or vote changed: nothing may be promised before this call's write is durable.
    pub(crate) fn promise(&mut self) {
        self.hard_seq = self.next_seq;
    }

    /// Ends the call: the write it needs, if it needs one.
    pub(crate) fn flush(&mut self, now: Time, hard: HardState) -> Option<Persist> {
        let promised = self.hard_seq == self.next_seq;
        if self.draft.is_empty() && !promised {
            return None;
        }
        if hard != self.hard {
            self.draft.hard_state = Some(hard);
            self.hard = hard;
        }
        let mut write = core::mem::take(&mut self.draft);
        write.seq = self.next_seq;
        self.next_seq += 1;
        let installed = write.snapshot.as_ref().map_or(0, |write| write.snapshot.meta.position.index);
        let appended = write.entries.last().map_or(0, |entry| entry.index);
        self.flights.push_back(Flight { seq: write.seq, since: now, last: installed.max(appended) });
        Some(write)
    }

    /// All writes up to this one are durable. Says whether that was news; what was never written is not believed.
    pub(crate) fn persisted(&mut self, upto: u64) -> bool {
        let before = self.persisted;
        while let Some(flight) = self.flights.front().copied()
            && flight.seq <= upto
        {
            self.durable = self.durable.max(flight.last);
            self.persisted = flight.seq;
            self.flights.pop_front();
        }
        self.persisted > before
    }
}
