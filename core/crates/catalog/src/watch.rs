//! Who waits for what: blocking queries between their question and the change that answers it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use thiserror::Error;

use crate::model::{Str, Tenancy};
use crate::topic::{Changes, Topic};

/// Watches the table holds at most, unless told otherwise. At under 1 KB each that is 64 MB.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// Topics of one watch at most: what one read depends on is a handful.
pub const MAX_TOPICS: usize = 16;

/// Names a watch of one table. Never used again by the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// Why a watch was not taken. The reader should answer with what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WatchError {
    /// As many watches as the table holds wait already.
    #[error("too many blocking queries are waiting; ask again later or without index")]
    Full,
    /// More topics than [`MAX_TOPICS`].
    #[error("the query depends on too many things to wait for")]
    TooManyTopics,
}

/// Waiters by the topics they wait for.
///
/// A waiter `W` is whatever the runtime wakes with: a task's waker, a channel. Register it, then compare
/// [`index_of`](crate::View::index_of) on the newest view once more (a change between the reading and the registering
/// wakes nobody), then wait. [`wake`](Self::wake) takes out and returns whoever a change concerns; each watch fires
/// once. A watch that is not wanted any more has to be [`cancel`](Self::cancel)led.
///
/// The table is bounded: [`register`](Self::register) refuses beyond its capacity. One watch on one topic costs under
/// 1 KB, and nothing is left of it when it fired or was cancelled.
#[derive(Debug)]
pub struct WatchTable<W> {
    watches: HashMap<WatchId, Watch<W>>,
    /// Waiters by folded topic, prefixes excepted.
    exact: BTreeMap<Topic, BTreeSet<WatchId>>,
    /// Waiters by prefix of keys.
    prefixes: HashMap<Tenancy, Prefixes>,
    next: u64,
    capacity: usize,
}

#[derive(Debug)]
struct Watch<W> {
    topics: Vec<Topic>,
    waiter: W,
}

/// Prefix watches of a namespace.
#[derive(Debug, Default)]
struct Prefixes {
    waiting: HashMap<Str, BTreeSet<WatchId>>,
    /// Lengths of the prefixes in octets, and how many prefixes have each: the only cuts of a key worth looking up.
    lengths: BTreeMap<usize, usize>,
}

impl<W> Default for WatchTable<W> {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }
}

impl<W> WatchTable<W> {
    /// A table for at most `capacity` watches.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { watches: HashMap::new(), exact: BTreeMap::new(), prefixes: HashMap::new(), next: 0, capacity }
    }

    /// Watches that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Has `waiter` wait for a change to any of `interest`.
    ///
    /// # Errors
    /// If the table is full or the interest too wide; the waiter is dropped then.
    pub fn register(&mut self, interest: &[Topic], waiter: W) -> Result<WatchId, WatchError> {
        if self.watches.len() >= self.capacity {
            return Err(WatchError::Full);
        }
        if interest.len() > MAX_TOPICS {
            return Err(WatchError::TooManyTopics);
        }
        let id = WatchId(self.next);
        self.next += 1;
        let mut topics: Vec<Topic> = Vec::with_capacity(interest.len());
        for topic in interest {
            let topic = topic.folded();
            if let Some(node) = topic.implied() {
                topics.push(node);
            }
            topics.push(topic);
        }
        topics.sort_unstable();
        topics.dedup();
        for topic in &topics {
            if let Topic::KvPrefix { tenancy, prefix } = topic {
                self.prefixes.entry(tenancy.clone()).or_default().add(prefix, id);
            } else {
                self.exact.entry(topic.clone()).or_default().insert(id);
            }
        }
        self.watches.insert(id, Watch { topics, waiter });
        Ok(id)
    }

    /// Takes a watch out; its waiter, unless it fired already.
    pub fn cancel(&mut self, id: WatchId) -> Option<W> {
        let watch = self.watches.remove(&id)?;
        for topic in &watch.topics {
            if let Topic::KvPrefix { tenancy, prefix } = topic {
                if let Some(prefixes) = self.prefixes.get_mut(tenancy) {
                    prefixes.remove(prefix, id);
                    if prefixes.waiting.is_empty() {
                        self.prefixes.remove(tenancy);
                    }
                }
            } else if let Some(waiting) = self.exact.get_mut(topic) {
                waiting.remove(&id);
                if waiting.is_empty() {
                    self.exact.remove(topic);
                }
            }
        }
        Some(watch.waiter)
    }

    /// Takes out everybody whom the changes concern, longest waiting first.
    pub fn wake(&mut self, changes: &Changes) -> Vec<W> {
        if changes.is_everything() {
            return self.wake_all();
        }
        let mut woken: BTreeSet<WatchId> = BTreeSet::new();
        for topic in changes.iter() {
            if let Some(waiting) = self.exact.get(topic) {
                woken.extend(waiting);
            }
            if let Topic::Kv { tenancy, key } = topic
                && let Some(prefixes) = self.prefixes.get(tenancy)
            {
                prefixes.collect(key, &mut woken);
            }
        }
        woken.into_iter().filter_map(|id| self.cancel(id)).collect()
    }

    /// Takes out everybody: the tables were replaced as a whole, or the node stops.
    pub fn wake_all(&mut self) -> Vec<W> {
        let ids: BTreeSet<WatchId> = self.watches.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.cancel(id)).collect()
    }
}

impl Prefixes {
    fn add(&mut self, prefix: &Str, id: WatchId) {
        let waiting = self.waiting.entry(Arc::clone(prefix)).or_default();
        if waiting.is_empty() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        waiting.insert(id);
    }

    fn remove(&mut self, prefix: &str, id: WatchId) {
        let Some(waiting) = self.waiting.get_mut(prefix) else { return };
        waiting.remove(&id);
        if waiting.is_empty() {
            self.waiting.remove(prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        }
    }

    /// Whoever waits for a prefix of `key`.
    fn collect(&self, key: &str, woken: &mut BTreeSet<WatchId>) {
        for (length, _) in self.lengths.range(..=key.len()) {
            if let Some(waiting) = key.get(..*length).and_then(|prefix| self.waiting.get(prefix)) {
                woken.extend(waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn kv(key: &str) -> Topic {
        Topic::Kv { tenancy: Tenancy::default(), key: key.into() }
    }

    fn prefix(prefix: &str) -> Topic {
        Topic::KvPrefix { tenancy: Tenancy::default(), prefix: prefix.into() }
    }

    fn service(name: &str) -> Topic {
        Topic::Service { tenancy: Tenancy::default(), name: name.into() }
    }

    fn changes(topics: &[Topic]) -> Changes {
        let mut changes = Changes::default();
        for topic in topics {
            changes.add(topic.folded());
        }
        changes
    }

    fn is_bare<W>(table: &WatchTable<W>) -> bool {
        table.watches.is_empty() && table.exact.is_empty() && table.prefixes.is_empty()
    }

    #[test]
    fn wakes_whom_it_concerns_once_and_in_order() {
        let mut table = WatchTable::default();
        table.register(&[service("Web"), kv("a")], 1).unwrap();
        table.register(&[service("db")], 2).unwrap();
        table.register(&[service("web")], 3).unwrap();
        assert_eq!(table.wake(&changes(&[service("other"), kv("b")])), vec![0; 0]);
        assert_eq!(table.wake(&changes(&[service("WEB"), kv("a")])), [1, 3]);
        assert_eq!(table.wake(&changes(&[service("web"), kv("a")])), vec![0; 0]);
        assert_eq!(table.len(), 1);
        assert_eq!(table.wake_all(), [2]);
        assert!(is_bare(&table));
    }

    #[test]
    fn a_changed_key_wakes_every_prefix_of_it() {
        let mut table = WatchTable::default();
        for (number, watched) in ["", "a", "a/", "a/b", "a/b/", "a/bc", "b", "ü"].iter().enumerate() {
            table.register(&[prefix(watched)], number).unwrap();
        }
        assert_eq!(table.wake(&changes(&[kv("a/b")])), [0, 1, 2, 3]);
        // A cut through the middle of a character is no prefix.
        assert_eq!(table.wake(&changes(&[kv("ü")])), [7]);
        let elsewhere = Tenancy { namespace: "other".into(), ..Tenancy::default() };
        assert_eq!(table.wake(&changes(&[Topic::Kv { tenancy: elsewhere, key: "b".into() }])), vec![0; 0]);
        assert_eq!(table.wake(&changes(&[kv("a/b/c"), kv("b/"), kv("a/bcd")])), [4, 5, 6]);
        assert!(is_bare(&table));
    }

    #[test]
    fn the_row_of_a_node_is_part_of_its_services() {
        let mut table = WatchTable::default();
        let tenancy = Tenancy::default();
        let partition = Arc::clone(&tenancy.partition);
        table.register(&[Topic::NodeServices { tenancy, node: "N1".into() }], ()).unwrap();
        assert_eq!(table.wake(&changes(&[Topic::Node { partition, name: "n1".into() }])).len(), 1);
        assert!(is_bare(&table));
    }

    #[test]
    fn cancelling_leaves_nothing() {
        let mut table = WatchTable::default();
        let one = table.register(&[prefix("a/"), prefix("a/"), kv("a"), service("x")], "one").unwrap();
        let two = table.register(&[prefix("a/"), kv("a")], "two").unwrap();
        assert_eq!(table.cancel(one), Some("one"));
        assert_eq!(table.cancel(one), None);
        assert_eq!(table.wake(&changes(&[kv("a/1")])), ["two"]);
        assert_eq!(table.cancel(two), None);
        assert!(is_bare(&table));
    }

    #[test]
    fn it_is_bounded() {
        let mut table = WatchTable::with_capacity(1);
        assert_eq!(table.register(&vec![kv("a"); MAX_TOPICS + 1], 0), Err(WatchError::TooManyTopics));
        let id = table.register(&[kv("a")], 1).unwrap();
        assert_eq!(table.register(&[kv("b")], 2), Err(WatchError::Full));
        table.cancel(id);
        assert!(table.register(&[kv("b")], 2).is_ok());
    }
}
