//! Keys and values: setting, locking, deleting, and remembering deletions for the sake of prefix indexes.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::catalog::Write;
use crate::command::{KvDelete, KvLock, KvSet, Reply};
use crate::model::{Indexes, KvEntry, Str, Tenancy};
use crate::name::{fold, fold_shared};
use crate::state::{Kv, Namespace, State};
use crate::topic::Topic;

/// Deleted keys remembered in a namespace. Beyond it the oldest is forgotten, and no prefix of the namespace answers
/// an index lower than that deletion's any more: never a missed change, at worst one early answer.
pub(crate) const GRAVES: usize = 4096;

/// See [`Command::KvSet`](crate::Command::KvSet). A set that changes nothing moves no index.
///
/// As in Consul, it leaves a lock where it is but starts its count anew.
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
        Some(entry) if entry.value == set.value && entry.flags == set.flags && entry.lock_index == 0 => return reply,
        Some(entry) => KvEntry {
            value: set.value,
            flags: set.flags,
            lock_index: 0,
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
    put(state, write, &tenancy, entry);
    reply
}

/// See [`Command::KvLock`](crate::Command::KvLock). The holder may take its lock again, which sets the value.
pub(crate) fn lock(state: &mut State, write: &mut Write, lock: KvLock) -> Reply {
    if lock.key.is_empty() {
        return Reply::Refused("Must provide key".to_string());
    }
    if lock.session.is_empty() {
        return Reply::Refused("missing session".to_string());
    }
    let tenancy = State::tenancy(&lock.tenancy);
    let session = state.session(&tenancy, &lock.session);
    let existing = state.namespace(&tenancy).and_then(|space| space.kv.entries.get(&*lock.key));
    let holder = existing.and_then(|entry| entry.session.clone());
    let holds = holder.as_deref().is_some_and(|holder| fold(holder) == fold(&lock.session));
    let before = existing.map(|entry| KvEntry::clone(entry));
    let lock_index = before.as_ref().map_or(0, |entry| entry.lock_index);
    let (session, lock_index) = if lock.acquire {
        let Some(session) = session else {
            return Reply::Refused(format!("invalid session {:?}", lock.session));
        };
        let delayed = || state.namespace(&tenancy).is_some_and(|space| space.sessions.is_delayed(&lock.key));
        if !holds && (holder.is_some() || delayed()) {
            return Reply::Bool(false);
        }
        (Some(Arc::clone(&session.id)), if holds { lock_index } else { lock_index + 1 })
    } else if holds {
        (None, lock_index)
    } else {
        return Reply::Bool(false);
    };
    let created = before.as_ref().map_or(write.index, |entry| entry.indexes.create);
    let mut entry = KvEntry {
        key: lock.key,
        value: lock.value,
        flags: lock.flags,
        lock_index,
        session,
        indexes: before.as_ref().map_or_else(Indexes::default, |entry| entry.indexes),
    };
    if before.is_none_or(|before| before != entry) {
        entry.indexes = Indexes { create: created, modify: write.index };
        put(state, write, &tenancy, entry);
    }
    Reply::Bool(true)
}

/// Whether a key that nobody holds cannot be locked yet.
pub(crate) fn is_delayed(state: &State, tenancy: &Tenancy, key: &Str) -> bool {
    let free = |space: &&Namespace| space.kv.entries.get(&**key).is_none_or(|entry| entry.session.is_none());
    state.namespace(tenancy).filter(free).is_some_and(|space| space.sessions.is_delayed(key))
}

fn put(state: &mut State, write: &mut Write, tenancy: &Tenancy, entry: KvEntry) {
    write.changes.add(Topic::Kv { tenancy: tenancy.clone(), key: Arc::clone(&entry.key) });
    state.partition(&tenancy.partition, |partition| {
        partition.namespace(&tenancy.namespace, |space| space.kv.put(entry));
    });
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
        self.store(Arc::new(entry));
    }

    /// The same for a key that is in no grave.
    pub(crate) fn store(&mut self, entry: Arc<KvEntry>) {
        self.unlist(&entry.key);
        if let Some(session) = &entry.session {
            self.held.insert((fold_shared(session), Arc::clone(&entry.key)), ());
        }
        self.entries.insert(Arc::clone(&entry.key), entry);
    }

    /// Deletes a key.
    pub(crate) fn remove(&mut self, key: &Str, index: u64) {
        self.unlist(key);
        self.entries.remove(&**key);
        self.bury(key, index);
    }

    /// Takes a key off the list of what its session holds.
    fn unlist(&mut self, key: &Str) {
        if let Some(session) = self.entries.get(&**key).and_then(|entry| entry.session.as_ref()) {
            self.held.remove(&(fold_shared(session), Arc::clone(key)));
        }
    }

    /// Keys that a session, named by its folded id, holds.
    pub(crate) fn held_by(&self, session: &Str) -> Vec<Str> {
        let from = (Arc::clone(session), Str::default());
        self.held
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|((holder, _), ())| holder == session)
            .map(|((_, key), ())| Arc::clone(key))
            .collect()
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
