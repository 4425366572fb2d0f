//! The one map type of the tables: ordered, persistent, cloned in O(1).

use core::borrow::Borrow;
use core::ops::{Bound, RangeBounds};

/// An ordered map whose clones share structure: a clone costs one reference count, a change to either side copies
/// only the path from the root to what changed.
///
/// Everything the catalog holds sits in these, which is what makes a [`View`](crate::View) free. The map behind it
/// is an implementation detail, replaceable here without touching anything else.
#[derive(Debug)]
pub struct Table<K: Ord, V>(rpds::RedBlackTreeMapSync<K, V>);

impl<K: Ord, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(rpds::RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Sets a row, replacing the one under the same key.
    pub fn insert(&mut self, key: K, value: V) {
        self.0.insert_mut(key, value);
    }

    /// Removes a row; whether there was one.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove_mut(key)
    }

    /// The row to change in place (copied first if a view still holds it).
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// The stored key that equals `key`, which saves its allocation, or `key` itself.
    #[must_use]
    pub fn shared_key(&self, key: K) -> K {
        self.0.get_key_value(&key).map_or(key, |(stored, _)| stored.clone())
    }

    /// Changes the row under `key`, which starts out as the default if there is none.
    pub fn change<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        if let Some(value) = self.0.get_mut(key) {
            return change(value);
        }
        let mut value = V::default();
        let result = change(&mut value);
        self.0.insert_mut(key.clone(), value);
        result
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The row under `key`.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// No rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rows in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }

    /// Values in key order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }

    /// The row with the smallest key.
    #[must_use]
    pub fn first(&self) -> Option<(&K, &V)> {
        self.0.first()
    }

    /// Rows whose keys are in `range`, in key order.
    pub fn range<'t, Q, R>(&'t self, range: R) -> impl Iterator<Item = (&'t K, &'t V)> + use<'t, Q, R, K, V>
    where
        Q: Ord + ?Sized,
        K: Borrow<Q>,
        R: RangeBounds<Q>,
    {
        self.0.range(range)
    }
}

impl<K: Ord + Borrow<str>, V> Table<K, V> {
    /// Rows whose key starts with `prefix`, in key order.
    pub fn prefix<'t, 'p>(&'t self, prefix: &'p str) -> impl Iterator<Item = (&'t K, &'t V)> + use<'t, 'p, K, V> {
        self.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| (*key).borrow().starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Str;
    use alloc::vec::Vec;

    fn table(keys: &[&str]) -> Table<Str, usize> {
        let mut table = Table::default();
        for (value, key) in keys.iter().enumerate() {
            table.insert(Str::from(*key), value);
        }
        table
    }

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut table = table(&["a", "b"]);
        let before = table.clone();
        table.insert("c".into(), 9);
        assert!(table.remove("a"));
        assert!(!table.remove("a"));
        *table.get_mut("b").unwrap() = 7;
        assert_eq!(before.iter().map(|(k, v)| (&**k, *v)).collect::<Vec<_>>(), [("a", 0), ("b", 1)]);
        assert_eq!(table.iter().map(|(k, v)| (&**k, *v)).collect::<Vec<_>>(), [("b", 7), ("c", 9)]);
        assert_eq!((before.len(), table.len()), (2, 2));
    }

    #[test]
    fn a_prefix_is_a_contiguous_range() {
        let table = table(&["", "a", "a/b", "a/b/c", "ab", "b"]);
        let under = |prefix| table.prefix(prefix).map(|(k, _)| &**k).collect::<Vec<_>>();
        assert_eq!(under("a/"), ["a/b", "a/b/c"]);
        assert_eq!(under("a"), ["a", "a/b", "a/b/c", "ab"]);
        assert_eq!(under("").len(), 6);
        assert!(under("zz").is_empty());
        assert_eq!(table.first().map(|(k, _)| &**k), Some(""));
    }
}
