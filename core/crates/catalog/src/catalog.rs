//! The write side: commands applied in log order.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use crate::command::{Command, Reply};
use crate::group::ServiceName;
use crate::intern::Interner;
use crate::model::{Str, Tenancy};
use crate::sessions::{self, Doom};
use crate::state::State;
use crate::topic::{Changes, Topic};
use crate::view::View;
use crate::{coordinate, kv, queries, register, txn};

/// The tables and their only writer.
///
/// Feed it every committed command with [`apply`](Self::apply), in log order; take a [`view`](Self::view) after each
/// batch and publish it, then wake with the merged [`Changes`]. It is a pure function of the commands: replicas that
/// applied the same log hold the same rows, indexes and order. It reads no clock, and no command can make it panic.
/// [`export`](Self::export) and [`import`](Self::import) carry the whole of it through a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub(crate) state: Arc<State>,
    pub(crate) interner: Interner,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For whoever proposed it.
    pub reply: Reply,
    /// For whoever waits. Empty if the tables are as they were.
    pub changes: Changes,
}

/// One command on its way through the tables.
pub(crate) struct Write {
    /// Its log index.
    pub(crate) index: u64,
    /// What it changed so far.
    pub(crate) changes: Changes,
    /// How groups whose names or tags it changed were listed before. Whether the list as a whole changed is seen at the
    /// end: a tag may go from one instance to another.
    pub(crate) listed: BTreeMap<(Tenancy, Str), Vec<ServiceName>>,
    /// What it took away from under sessions.
    pub(crate) doomed: Vec<Doom>,
}

impl Write {
    /// Nothing changed yet.
    pub(crate) fn new(index: u64) -> Self {
        Self { index, changes: Changes::default(), listed: BTreeMap::new(), doomed: Vec::new() }
    }

    /// Moves the index of the list of services where a listing is not what it was.
    fn settle_listings(&mut self, state: &mut State) {
        for ((tenancy, group), before) in mem::take(&mut self.listed) {
            let group = state.namespace(&tenancy).and_then(|space| space.groups.get(&*group));
            if group.map_or(&[][..], |group| &group.names) != before {
                state.partition(&tenancy.partition, |partition| {
                    partition.namespace(&tenancy.namespace, |space| space.names_index = self.index);
                });
                self.changes.add(Topic::Services { tenancy });
            }
        }
    }
}

impl Catalog {
    /// Applies the command at log index `index`, which is greater than any before (at least 1).
    pub fn apply(&mut self, index: u64, command: Command) -> Applied {
        debug_assert!(index > self.state.index, "the log is applied in order");
        let state = Arc::make_mut(&mut self.state);
        state.index = index.max(state.index);
        let mut write = Write::new(state.index);
        let reply = match command {
            Command::Register(mut register) => {
                self.interner.registration(&mut register);
                register::register(state, &mut write, register)
            }
            Command::Deregister(deregister) => register::deregister(state, &mut write, &deregister),
            Command::KvSet(set) => kv::set(state, &mut write, set),
            Command::KvDelete(delete) => kv::delete(state, &mut write, &delete),
            Command::QuerySet { query, create } => queries::set(state, &mut write, query, create),
            Command::QueryDelete { id } => queries::delete(state, &mut write, &id),
            Command::Txn(mut ops) => {
                self.interner.transaction(&mut ops);
                txn::apply(state, &mut write, ops)
            }
            Command::Coordinates(updates) => coordinate::update(state, &mut write, &updates),
            Command::KvLock(lock) => kv::lock(state, &mut write, lock),
            Command::SessionCreate(session) => sessions::create(state, &mut write, session),
            Command::SessionDestroy { tenancy, id } => sessions::destroy(state, &mut write, &tenancy, &id),
            Command::SessionEpoch => {
                state.session_epoch = write.index;
                Reply::Done
            }
            Command::SessionExpire(expire) => sessions::expire(state, &mut write, &expire),
            Command::LockDelayOver { sessions } => sessions::delay_over(state, &sessions),
        };
        sessions::end_doomed(state, &mut write);
        write.settle_listings(state);
        Applied { reply, changes: write.changes }
    }

    /// The tables as they are now. Costs one reference count.
    #[must_use]
    pub fn view(&self) -> View {
        View(Arc::clone(&self.state))
    }
}
