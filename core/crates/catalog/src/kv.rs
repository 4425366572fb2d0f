//! Keys and values: setting, deleting, and remembering deletions for the sake of prefix indexes.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::catalog::Write;
use crate::command::{KvDelete, KvSet, Reply};
use crate::model::{Indexes, KvEntry, Str};
use crate::state::{Kv, State};
use crate::topic::Topic;

/// Deleted keys remembered in a namespace. Beyond it the oldest is forgotten, and no prefix of the namespace answers
/// an index lower than that deletion's any more: never a missed change, at worst one early answer.
pub(crate) const GRAVES: usize = 4096;

/// See [`Command::KvSet`](crate::Command::KvSet). A set that changes neither value nor flags moves no index.
pub(crate) fn set(state: &mut State, write: &mut Write, set: KvSet) -> Reply {
    if set.key.is_empty() {
        return Reply::Refused("Must provide key".to_string());
    }
    let tenancy = State::tenancy(&set.tenancy);
    let existing = state.namespace(&tenancy).and_then(|namespace| namespace.kv.entries.get(&*set.key));
    let reply = match set.cas {
        None => Reply::Done,
        Some(wanted) if wanted == existing.map_or(0, |entry| entry.indexes.modify) => Reply::Bool(true),
        Some(_) => return Reply::Bool(false),
    };
    let entry = match existing {
        Some(entry) if entry.value == set.value && entry.flags == set.flags => return reply,
        Some(entry) => KvEntry {
            value: set.value,
            flags: set.flags,
            indexes: Indexes { create: entry.indexes.create, modify: write.index },
            ..KvEntry::clone(entry)
        },
        None => KvEntry {
            key: set.key,
            value: set.value,
            flags: set.flags,
            indexes: Indexes { create: write.index, modify: write.index },
            ..KvEntry::default()
        },
    };
    write.changes.add(Topic::Kv { tenancy: tenancy.clone(), key: Arc::clone(&entry.key) });
    state.partition(&tenancy.partition, |partition| {
        partition.namespace(&tenancy.namespace, |space| space.kv.put(entry));
    });
    reply
}

/// See [`Command::KvDelete`](crate::Command::KvDelete).
pub(crate) fn delete(state: &mut State, write: &mut Write, delete: &KvDelete) -> Reply {
    if delete.key.is_empty() && !delete.recurse {
        return Reply::Refused("Must provide key".to_string());
    }
    let tenancy = State::tenancy(&delete.tenancy);
    let reply = if delete.cas.is_some() && !delete.recurse { Reply::Bool(true) } else { Reply::Done };
    let Some(namespace) = state.namespace(&tenancy) else { return reply };
    let keys: Vec<Str> = if delete.recurse {
        namespace.kv.entries.prefix(&delete.key).map(|(key, _)| Arc::clone(key)).collect()
    } else {
        let Some(entry) = namespace.kv.entries.get(&*delete.key) else { return reply };
        if delete.cas.is_some_and(|wanted| wanted != entry.indexes.modify) {
            return Reply::Bool(false);
        }
        [Arc::clone(&entry.key)].into()
    };
    if keys.is_empty() {
        return reply;
    }
    state.partition(&tenancy.partition, |partition| {
        partition.namespace(&tenancy.namespace, |space| {
            for key in keys {
                space.kv.remove(&key, write.index);
                write.changes.add(Topic::Kv { tenancy: tenancy.clone(), key });
            }
        });
    });
    reply
}

impl Kv {
    /// Sets a row, which takes the key out of the graves.
    pub(crate) fn put(&mut self, entry: KvEntry) {
        if let Some(deleted) = self.graves.get(&*entry.key).copied() {
            self.graves.remove(&*entry.key);
            self.grave_order.remove(&(deleted, Arc::clone(&entry.key)));
        }
        self.entries.insert(Arc::clone(&entry.key), Arc::new(entry));
    }

    fn remove(&mut self, key: &Str, index: u64) {
        self.entries.remove(&**key);
        self.bury(key, index);
    }

    /// Remembers that a key was deleted at `index`.
    pub(crate) fn bury(&mut self, key: &Str, index: u64) {
        self.graves.insert(Arc::clone(key), index);
        self.grave_order.insert((index, Arc::clone(key)), ());
        while self.graves.len() > GRAVES {
            let Some((oldest, ())) = self.grave_order.first() else { break };
            let oldest = oldest.clone();
            self.floor = self.floor.max(oldest.0);
            self.graves.remove(&*oldest.1);
            self.grave_order.remove(&oldest);
        }
    }
}
