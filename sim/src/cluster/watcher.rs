//! Blocking queries as the agent's driver serves them: read, register, be woken, read again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use convoke_catalog::model::Tenancy;
use convoke_catalog::topic::{Changes, Topic};
use convoke_catalog::watch::WatchTable;
use convoke_catalog::{Scope, View};

/// What is watched on every server.
const WATCHED: [Watched; 4] = [Watched::Prefix("w/"), Watched::Key("w/1"), Watched::Service("web"), Watched::Sessions];

#[derive(Clone, Copy, Debug)]
enum Watched {
    Prefix(&'static str),
    Key(&'static str),
    Service(&'static str),
    Sessions,
}

impl Watched {
    fn topic(self) -> Topic {
        let tenancy = Tenancy::default();
        match self {
            Self::Prefix(prefix) => Topic::KvPrefix { tenancy, prefix: prefix.into() },
            Self::Key(key) => Topic::Kv { tenancy, key: key.into() },
            Self::Service(name) => Topic::ServiceInstances { tenancy, name: name.into() },
            Self::Sessions => Topic::Sessions { tenancy },
        }
    }

    /// Of what a reader sees.
    fn content(self, view: &View) -> u64 {
        let mut hash = DefaultHasher::new();
        let scope = Scope::default();
        match self {
            Self::Prefix(prefix) => view.kv_range(scope, prefix).for_each(|row| {
                (&row.key, &row.value, row.indexes.modify).hash(&mut hash);
            }),
            Self::Key(key) => view.kv(scope, key).map(|row| (&row.value, row.indexes.modify)).hash(&mut hash),
            Self::Service(name) => {
                if let Some(group) = view.group(scope, name) {
                    for one in &group.instances {
                        (&one.node.name, &one.service.id, one.service.port).hash(&mut hash);
                    }
                }
            }
            Self::Sessions => view.sessions(scope).for_each(|row| row.id.hash(&mut hash)),
        }
        hash.finish()
    }
}

#[derive(Debug, Default)]
struct Watcher {
    index: u64,
    content: u64,
    woken: bool,
}

/// All of one server, in one of its lives.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    table: WatchTable<usize>,
    all: Vec<Watcher>,
}

impl Watchers {
    /// As of the first view.
    pub(super) fn begin(view: &View) -> Self {
        let mut new = Self::default();
        for (at, what) in WATCHED.iter().enumerate() {
            new.all.push(Watcher { index: view.index_of(&what.topic()), content: what.content(view), woken: false });
            let _ = new.table.register(&[what.topic()], at);
        }
        new
    }

    /// Another view is published, and those are woken who wait for what it says.
    pub(super) fn published(&mut self, view: &View, changes: &Changes, replaced: bool) -> Result<(), String> {
        let woken = if replaced { self.table.wake_all() } else { self.table.wake(changes) };
        woken.into_iter().for_each(|at| self.all[at].woken = true);
        for (at, what) in WATCHED.iter().enumerate() {
            let (watcher, index, content) = (&mut self.all[at], view.index_of(&what.topic()), what.content(view));
            if index == 0 || index < watcher.index {
                return Err(format!("the index of {what:?} goes from {} to {index}", watcher.index));
            }
            if content != watcher.content && index == watcher.index {
                return Err(format!("{what:?} changed, and its index is still {index}"));
            }
            if content != watcher.content && !watcher.woken {
                return Err(format!("who watches {what:?} at {} is not woken: it is at {index} now", watcher.index));
            }
            (watcher.index, watcher.content) = (index, content);
            if core::mem::take(&mut watcher.woken) {
                let _ = self.table.register(&[what.topic()], at);
            }
        }
        Ok(())
    }
}
