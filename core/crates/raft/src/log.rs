//! The log since the last snapshot, in memory.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::types::{Entry, Index, Position, Snapshot, Term};

/// Entries behind `base`, and the last snapshot.
///
/// The snapshot may reach beyond `base`: entries that it contains are kept for followers that lag a little, so that they
/// need no snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// The entry before the first one kept; what is before it is only in the snapshot.
    base: Position,
    entries: VecDeque<Arc<Entry>>,
    snapshot: Option<Arc<Snapshot>>,
    /// Weight of `entries`.
    bytes: usize,
}

impl Log {
    /// `entries` are consecutive behind `base`; the caller has checked it.
    pub(crate) fn new(base: Position, entries: Vec<Arc<Entry>>, snapshot: Option<Arc<Snapshot>>) -> Self {
        let bytes = entries.iter().map(|entry| entry.weight()).sum();
        Self { base, entries: entries.into(), snapshot, bytes }
    }

    pub(crate) const fn base(&self) -> Position {
        self.base
    }

    pub(crate) const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// The last entry in the snapshot.
    pub(crate) fn snapshot_position(&self) -> Position {
        self.snapshot.as_ref().map_or(Position::ZERO, |snapshot| snapshot.meta.position)
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last entry; that of the snapshot if there is none behind it.
    pub(crate) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, |entry| entry.position())
    }

    pub(crate) fn last_index(&self) -> Index {
        self.base.index + self.entries.len() as u64
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Arc<Entry>> {
        let at = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// `None` for what was compacted and for what is not there yet.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index { Some(self.base.term) } else { self.get(index).map(|entry| entry.term) }
    }

    /// It has this very entry.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        debug_assert_eq!(entry.index, self.last_index() + 1, "entries are consecutive");
        self.bytes += entry.weight();
        self.entries.push_back(entry);
    }

    /// Removes the entries from `index` on.
    pub(crate) fn truncate(&mut self, index: Index) {
        while self.last_index() >= index
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry.weight();
        }
    }

    /// Entries from `from` on, at most so many and, save for the first, at most so heavy.
    pub(crate) fn slice(&self, from: Index, count: usize, bytes: usize) -> Vec<Arc<Entry>> {
        let mut taken = Vec::new();
        let mut weight = 0;
        let mut index = from;
        while taken.len() < count
            && let Some(entry) = self.get(index)
        {
            weight += entry.weight();
            if weight > bytes && !taken.is_empty() {
                break;
            }
            taken.push(Arc::clone(entry));
            index += 1;
        }
        taken
    }

    /// The last entry at or before `index` whose term is not above `term`; the base if there is none. The back-off of a
    /// leader and a follower that disagree skips whole terms with it (section 5.3, the end).
    pub(crate) fn floor(&self, index: Index, term: Term) -> Position {
        let top = index.min(self.last_index());
        let Some(count) = top.checked_sub(self.base.index) else { return self.base };
        // Terms never fall along the log.
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.entries.len());
        let found = self.entries.partition_point(|entry| entry.term <= term).min(count);
        found.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(self.base, |entry| entry.position())
    }

    /// Takes over a snapshot of the own state, and forgets the entries it contains, save for the last `trailing` ones, and
    /// of these as many as the log has bytes for.
    pub(crate) fn compact(&mut self, snapshot: Arc<Snapshot>, trailing: u64, bytes: usize) {
        let end = snapshot.meta.position.index;
        let keep_from = end.saturating_sub(trailing);
        while (self.base.index < keep_from || self.bytes > bytes && self.base.index < end)
            && let Some(entry) = self.entries.pop_front()
        {
            self.base = entry.position();
            self.bytes -= entry.weight();
        }
        self.snapshot = Some(snapshot);
    }

    /// Takes over a snapshot of a leader in place of everything.
    pub(crate) fn replace(&mut self, snapshot: Arc<Snapshot>) {
        self.entries.clear();
        self.bytes = 0;
        self.base = snapshot.meta.position;
        self.snapshot = Some(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Payload;

    /// A log with these terms from index 1 on.
    fn log(terms: &[Term]) -> Log {
        let mut log = Log::default();
        for (term, index) in terms.iter().zip(1..) {
            log.push(Arc::new(Entry { term: *term, index, payload: Payload::Noop }));
        }
        log
    }

    fn snapshot(term: Term, index: Index) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(Position { term, index }, Arc::default(), 0, Vec::new().into()))
    }

    #[test]
    fn the_log_of_the_paper_is_kept_behind_a_snapshot() {
        let mut log = log(&[1, 1, 2, 2, 3]);
        let bytes = log.bytes();
        log.compact(snapshot(2, 4), 1, 999);
        assert_eq!(
            (log.base(), log.last(), log.len()),
            (Position { term: 2, index: 3 }, Position { term: 3, index: 5 }, 2)
        );
        assert_eq!((log.term_at(2), log.term_at(3), log.term_at(5), log.term_at(6)), (None, Some(2), Some(3), None));
        assert!(
            log.bytes() < bytes && log.has(Position { term: 2, index: 4 }) && !log.has(Position { term: 1, index: 4 })
        );
        log.truncate(4);
        assert_eq!(log.last(), Position { term: 2, index: 3 });
        log.replace(snapshot(7, 20));
        assert_eq!((log.last(), log.last_index(), log.bytes()), (Position { term: 7, index: 20 }, 20, 0));
        assert_eq!((log.get(20), log.slice(20, 9, 999)), (None, Vec::new()));
    }

    #[test]
    fn an_empty_log_ends_where_its_snapshot_does() {
        let mut log = log(&[1, 4]);
        log.compact(snapshot(4, 2), 0, 999);
        assert_eq!((log.len(), log.last()), (0, Position { term: 4, index: 2 }));
    }

    #[test]
    fn trailing_entries_are_bounded_by_bytes_and_what_is_not_in_the_snapshot_stays() {
        let mut log = log(&[1; 20]);
        log.compact(snapshot(1, 15), 10, 9 * 32);
        assert_eq!((log.base().index, log.len()), (11, 9));
        log.compact(snapshot(1, 16), 10, 0);
        assert_eq!((log.base().index, log.last_index()), (16, 20));
    }

    #[test]
    fn slices_are_bounded_but_never_empty() {
        let log = log(&[1; 10]);
        assert_eq!(log.slice(3, 4, 10_000).iter().map(|e| e.index).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(log.slice(3, 4, 0).len(), 1);
        assert_eq!(log.slice(3, 4, 64).len(), 2);
        assert!(log.slice(11, 4, 64).is_empty());
    }

    #[test]
    fn floors() {
        let log = log(&[1, 1, 1, 4, 4, 5, 5, 6]);
        let table = [
            // index, term -> index found
            (8, 6, 8),
            (8, 5, 7),
            (8, 4, 5),
            (8, 3, 3),
            (8, 0, 0),
            (99, 9, 8),
            (6, 9, 6),
            (4, 3, 3),
            (4, 4, 4),
            (0, 9, 0),
        ];
        for (index, term, found) in table {
            assert_eq!(log.floor(index, term).index, found, "{index} {term}");
            // Against the definition.
            let naive = (1..=8).filter(|i| *i <= index && log.term_at(*i).unwrap() <= term).max().unwrap_or(0);
            assert_eq!(naive, found);
        }
        let mut log = log;
        log.compact(snapshot(4, 4), 0, 999);
        assert_eq!(log.floor(2, 9), Position { term: 4, index: 4 }, "what was compacted is the base");
    }
}
