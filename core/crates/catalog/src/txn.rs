//! Transactions: operations on keys and rows that are done together, or not at all.
//!
//! [`Command::Txn`](crate::Command::Txn) carries them out; [`read`] answers those that change nothing from a view,
//! without the log. Every operation sees what those before it did. All of them are tried, so that a refusal names
//! everything that is wrong; if anything is, the tables are as they were.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use serde::{Deserialize, Serialize};

use crate::catalog::Write;
use crate::command::{Deregister, KvDelete, KvLock, KvSet, Register, Reply};
use crate::model::{Check, Indexes, KvEntry, Node, Service, Str, Tenancy};
use crate::name::{fold, fold_shared};
use crate::state::{State, space};
use crate::view::View;
use crate::{kv, register, sessions};

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    /// On keys.
    Kv(KvOp),
    /// On a node; found by its id if it has one, else by name.
    Node {
        /// What to do.
        verb: RowVerb,
        /// The row; `indexes.modify` is what `Cas` and `DeleteCas` compare.
        node: Node,
    },
    /// On a service of a node.
    Service {
        /// What to do.
        verb: RowVerb,
        /// Name of the node.
        node: Str,
        /// The row; `indexes.modify` is what `Cas` and `DeleteCas` compare.
        service: Service,
    },
    /// On a check of a node.
    Check {
        /// What to do.
        verb: RowVerb,
        /// The row, which names its node; `indexes.modify` is what `Cas` and `DeleteCas` compare.
        check: Check,
    },
}

/// See [`TxnOp::Kv`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvOp {
    /// What to do.
    pub verb: KvVerb,
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// Key, or prefix of a tree.
    pub key: Str,
    /// Value to set.
    pub value: Arc<[u8]>,
    /// Opaque, set with the value.
    pub flags: u64,
    /// Modify index to compare.
    pub index: u64,
    /// Session to lock for, or to compare; empty for none.
    pub session: Str,
}

/// What is done to keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvVerb {
    /// Read; the key must be there.
    #[default]
    Get,
    /// Read; an empty row stands for a key that is not there.
    GetOrEmpty,
    /// Read every key with the prefix.
    GetTree,
    /// The modify index must be this.
    CheckIndex,
    /// It must be locked by this session (empty: by none).
    CheckSession,
    /// It must not be there.
    CheckNotExists,
    /// Write.
    Set,
    /// Write if the modify index is this; 0: if there is no such key.
    Cas,
    /// Write and lock.
    Lock,
    /// Write and unlock.
    Unlock,
    /// Delete; what is not there is no error.
    Delete,
    /// Delete every key with the prefix.
    DeleteTree,
    /// Delete if the modify index is this.
    DeleteCas,
    /// Whatever the client wrote; always refused.
    Unknown(Str),
}

/// What is done to nodes, services and checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowVerb {
    /// Read; it must be there.
    #[default]
    Get,
    /// Write.
    Set,
    /// Write if the modify index is this; 0: if it is not there.
    Cas,
    /// Delete; what is not there is no error.
    Delete,
    /// Delete if it is there and the modify index is this.
    DeleteCas,
    /// Whatever the client wrote; always refused.
    Unknown(Str),
}

impl KvVerb {
    /// From the word clients use.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match text {
            "get" => Self::Get,
            "get-or-empty" => Self::GetOrEmpty,
            "get-tree" => Self::GetTree,
            "check-index" => Self::CheckIndex,
            "check-session" => Self::CheckSession,
            "check-not-exists" => Self::CheckNotExists,
            "set" => Self::Set,
            "cas" => Self::Cas,
            "lock" => Self::Lock,
            "unlock" => Self::Unlock,
            "delete" => Self::Delete,
            "delete-tree" => Self::DeleteTree,
            "delete-cas" => Self::DeleteCas,
            other => Self::Unknown(other.into()),
        }
    }

    /// Whether it may change the tables.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Set | Self::Cas | Self::Lock | Self::Unlock | Self::Delete | Self::DeleteTree | Self::DeleteCas
        )
    }
}

impl RowVerb {
    /// From the word clients use.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match text {
            "get" => Self::Get,
            "set" => Self::Set,
            "cas" => Self::Cas,
            "delete" => Self::Delete,
            "delete-cas" => Self::DeleteCas,
            other => Self::Unknown(other.into()),
        }
    }
}

impl TxnOp {
    /// Whether it goes through the log. As in Consul, a word for rows that is not known does.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::Kv(op) => op.verb.is_write(),
            Self::Node { verb, .. } | Self::Service { verb, .. } | Self::Check { verb, .. } => *verb != RowVerb::Get,
        }
    }
}

/// A row that an operation read or wrote. Deletions and `CheckNotExists` give none, `GetTree` one for each key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnResult {
    /// A key; the value is left out (empty) unless it was asked for.
    Kv(Arc<KvEntry>),
    /// A node.
    Node(Arc<Node>),
    /// A service.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
}

/// Why a transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnError {
    /// Place of the operation, from 0.
    pub op: usize,
    /// What the user sees, in Consul's words.
    pub what: String,
}

/// What became of a transaction: what its operations gave, in order, or everything that was wrong.
pub type TxnOutcome = Result<Vec<TxnResult>, Vec<TxnError>>;

/// What a transaction would give on these tables. Those that only read need nothing else.
///
/// # Errors
/// As the transaction itself.
pub fn read(view: &View, ops: Vec<TxnOp>) -> TxnOutcome {
    let mut draft = State::clone(&view.0);
    let mut write = Write::new(draft.index);
    run(&mut draft, &mut write, ops)
}

/// See [`Command::Txn`](crate::Command::Txn).
pub(crate) fn apply(state: &mut State, write: &mut Write, ops: Vec<TxnOp>) -> Reply {
    // A copy of the state costs a few reference counts.
    let mut draft = state.clone();
    let outcome = run(&mut draft, write, ops);
    if outcome.is_ok() {
        *state = draft;
    } else {
        *write = Write::new(write.index);
    }
    Reply::Txn(outcome)
}

fn run(state: &mut State, write: &mut Write, ops: Vec<TxnOp>) -> TxnOutcome {
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (op, one) in ops.into_iter().enumerate() {
        let done = match one {
            TxnOp::Kv(one) => kv(state, write, one, &mut results),
            TxnOp::Node { verb, node } => {
                on_node(state, write, &verb, node).map(|row| results.extend(row.map(TxnResult::Node)))
            }
            TxnOp::Service { verb, node, service } => {
                on_service(state, write, &verb, &node, service).map(|row| results.extend(row.map(TxnResult::Service)))
            }
            TxnOp::Check { verb, check } => {
                on_check(state, write, &verb, check).map(|row| results.extend(row.map(TxnResult::Check)))
            }
        };
        sessions::end_doomed(state, write);
        if let Err(what) = done {
            errors.push(TxnError { op, what });
        }
    }
    if errors.is_empty() { Ok(results) } else { Err(errors) }
}

/// What a refused command says.
fn refusal(reply: Reply) -> Result<(), String> {
    match reply {
        Reply::Refused(why) => Err(why),
        Reply::Done | Reply::Bool(_) | Reply::Txn(_) => Ok(()),
    }
}

/// The outcome of a condition on the modify index.
fn fresh(held: bool, stale: impl FnOnce() -> String) -> Result<(), String> {
    if held { Ok(()) } else { Err(stale()) }
}

/// Whether a row may be written by somebody who knows this modify index.
fn may_write(there: Option<Indexes>, known: Indexes) -> bool {
    there.map_or(0, |there| there.modify) == known.modify
}

/// Whether a row may be deleted by somebody who knows this modify index.
fn may_delete(there: Option<Indexes>, known: Indexes) -> bool {
    there.is_some_and(|there| there.modify == known.modify)
}

fn kv(state: &mut State, write: &mut Write, mut op: KvOp, results: &mut Vec<TxnResult>) -> Result<(), String> {
    let verb = mem::take(&mut op.verb);
    let key = Arc::clone(&op.key);
    let tenancy = State::tenancy(&op.tenancy);
    let find = |state: &State| state.namespace(&tenancy).and_then(|space| space.kv.entries.get(&*key)).cloned();
    // Everything but a look at a value is answered without one.
    let bare =
        |entry: Arc<KvEntry>| TxnResult::Kv(Arc::new(KvEntry { value: Arc::default(), ..KvEntry::clone(&entry) }));
    match verb {
        KvVerb::Get => match find(state) {
            Some(entry) => results.push(TxnResult::Kv(entry)),
            None => return Err(format!("key {key:?} doesn't exist")),
        },
        KvVerb::GetOrEmpty => {
            let empty = || Arc::new(KvEntry { key: Arc::clone(&key), ..KvEntry::default() });
            results.push(TxnResult::Kv(find(state).unwrap_or_else(empty)));
        }
        KvVerb::GetTree => {
            let entries = state.namespace(&tenancy).into_iter().flat_map(|space| space.kv.entries.prefix(&key));
            results.extend(entries.map(|(_, entry)| TxnResult::Kv(Arc::clone(entry))));
        }
        KvVerb::CheckIndex => {
            let entry = find(state).ok_or_else(|| format!("failed to check index, key {key:?} doesn't exist"))?;
            let (have, want) = (entry.indexes.modify, op.index);
            fresh(have == want, || {
                format!("failed index check for key {key:?}, current modify index {have} != {want}")
            })?;
            results.push(bare(entry));
        }
        KvVerb::CheckSession => {
            let entry = find(state).ok_or_else(|| format!("failed to check session, key {key:?} doesn't exist"))?;
            let (have, want) = (entry.session.as_deref().unwrap_or_default(), &*op.session);
            fresh(have == want, || {
                format!("failed session check for key {key:?}, current session {have:?} != {want:?}")
            })?;
            results.push(bare(entry));
        }
        KvVerb::CheckNotExists => fresh(find(state).is_none(), || format!("key {key:?} exists"))?,
        KvVerb::Set | KvVerb::Cas => {
            let cas = (verb == KvVerb::Cas).then_some(op.index);
            let set = KvSet { tenancy: op.tenancy, key: op.key, value: op.value, flags: op.flags, cas };
            let reply = kv::set(state, write, set);
            fresh(reply != Reply::Bool(false), || format!("failed to set key {key:?}, index is stale"))?;
            refusal(reply)?;
            results.extend(find(state).map(bare));
        }
        KvVerb::Lock | KvVerb::Unlock => {
            let acquire = verb == KvVerb::Lock;
            if acquire && kv::is_delayed(state, &tenancy, &key) {
                return Err(format!("failed to lock key {key:?} due to lock delay"));
            }
            let KvOp { tenancy, value, flags, session, .. } = op;
            let lock = KvLock { tenancy, key: Arc::clone(&key), value, flags, session, acquire };
            let reply = kv::lock(state, write, lock);
            fresh(reply != Reply::Bool(false), || match acquire {
                true => format!("failed to lock key {key:?}, lock is already held"),
                false => format!("failed to unlock key {key:?}, lock isn't held, or is held by another session"),
            })?;
            refusal(reply)?;
            results.extend(find(state).map(bare));
        }
        KvVerb::Delete | KvVerb::DeleteTree | KvVerb::DeleteCas => {
            let cas = (verb == KvVerb::DeleteCas).then_some(op.index);
            let recurse = verb == KvVerb::DeleteTree;
            let reply = kv::delete(state, write, &KvDelete { tenancy: op.tenancy, key: op.key, recurse, cas });
            fresh(reply != Reply::Bool(false), || format!("failed to delete key {key:?}, index is stale"))?;
            refusal(reply)?;
        }
        KvVerb::Unknown(verb) => return Err(format!("unknown KV verb {verb:?}")),
    }
    Ok(())
}

fn on_node(state: &mut State, write: &mut Write, verb: &RowVerb, node: Node) -> Result<Option<Arc<Node>>, String> {
    let partition = space(&node.partition);
    let (name, id) = (Arc::clone(&node.name), node.id.clone().filter(|id| !id.is_empty()));
    let find = |state: &State| {
        let partition = state.partitions.get(&*partition)?;
        let key = match &id {
            Some(id) => Arc::clone(partition.ids.get(&*fold(id))?),
            None => fold_shared(&name),
        };
        partition.nodes.get(&*key).cloned()
    };
    match verb {
        RowVerb::Get => return find(state).map(Some).ok_or_else(|| format!("node {name:?} doesn't exist")),
        RowVerb::Set | RowVerb::Cas => {
            if *verb == RowVerb::Cas {
                let there = named(state, &partition, &name).map(|node| node.indexes);
                fresh(may_write(there, node.indexes), || format!("failed to set node {name:?}, index is stale"))?;
            }
            register::set_node(state, write, node)?;
            return Ok(find(state));
        }
        RowVerb::Delete | RowVerb::DeleteCas => {
            if *verb == RowVerb::DeleteCas {
                let there = named(state, &partition, &name).map(|node| node.indexes);
                fresh(may_delete(there, node.indexes), || format!("failed to delete node {name:?}, index is stale"))?;
            }
            let tenancy = Tenancy { partition: Arc::clone(&partition), ..Tenancy::default() };
            let deregister = Deregister { node: node.name, tenancy, ..Deregister::default() };
            refusal(register::deregister(state, write, &deregister))?;
        }
        RowVerb::Unknown(verb) => return Err(format!("unknown Node verb {verb:?}")),
    }
    Ok(None)
}

fn on_service(
    state: &mut State,
    write: &mut Write,
    verb: &RowVerb,
    node: &Str,
    mut service: Service,
) -> Result<Option<Arc<Service>>, String> {
    if service.id.is_empty() {
        service.id = Arc::clone(&service.name);
    }
    let (tenancy, id) = (State::tenancy(&service.tenancy), Arc::clone(&service.id));
    let find = |state: &State| {
        let local = state.partitions.get(&*tenancy.partition)?.local(&tenancy.namespace, &fold(node))?;
        local.service(&fold(&id)).cloned()
    };
    let there = || find(state).map(|service| service.indexes);
    match verb {
        RowVerb::Get => {
            return find(state).map(Some).ok_or_else(|| format!("service {id:?} on node {node:?} doesn't exist"));
        }
        RowVerb::Set | RowVerb::Cas => {
            if *verb == RowVerb::Cas {
                let stale = || format!("failed to set service {id:?} on node {node:?}, index is stale");
                fresh(may_write(there(), service.indexes), stale)?;
            }
            if id.is_empty() {
                return Err("failed inserting service: object missing primary index".to_string());
            }
            let register = onto(state, &tenancy.partition, node)?;
            let register = Register { services: [service].into(), ..register };
            refusal(register::register(state, write, register))?;
            return Ok(find(state));
        }
        RowVerb::Delete | RowVerb::DeleteCas => {
            if *verb == RowVerb::DeleteCas {
                let stale = || format!("failed to delete service {id:?} on node {node:?}, index is stale");
                fresh(may_delete(there(), service.indexes), stale)?;
            }
            // Without an id it would be the node that goes.
            if !id.is_empty() {
                let (node, service_id) = (Arc::clone(node), Some(id));
                let deregister = Deregister { node, tenancy: service.tenancy, service_id, check_id: None };
                refusal(register::deregister(state, write, &deregister))?;
            }
        }
        RowVerb::Unknown(verb) => return Err(format!("unknown Service verb {verb:?}")),
    }
    Ok(None)
}

fn on_check(
    state: &mut State,
    write: &mut Write,
    verb: &RowVerb,
    mut check: Check,
) -> Result<Option<Arc<Check>>, String> {
    if check.id.is_empty() {
        check.id = Arc::clone(&check.name);
    }
    let (tenancy, node, id) = (State::tenancy(&check.tenancy), Arc::clone(&check.node), Arc::clone(&check.id));
    let local = |state: &State| {
        let partition = state.partitions.get(&*tenancy.partition)?;
        partition.namespaces.get(&*tenancy.namespace)?.locals.get(&*fold(&node)).cloned()
    };
    let find = |state: &State| local(state)?.check(&fold(&id)).cloned();
    let there = || find(state).map(|check| check.indexes);
    match verb {
        RowVerb::Get => {
            return find(state).map(Some).ok_or_else(|| format!("check {id:?} on node {node:?} doesn't exist"));
        }
        RowVerb::Set | RowVerb::Cas => {
            if *verb == RowVerb::Cas {
                let stale = || format!("failed to set check {id:?} on node {node:?}, index is stale");
                fresh(may_write(there(), check.indexes), stale)?;
            }
            let register = onto(state, &tenancy.partition, &node)?;
            let service = fold(&check.service_id);
            if !service.is_empty() && local(state).is_none_or(|local| local.service(&service).is_none()) {
                return Err("Missing service registration".to_string());
            }
            if id.is_empty() {
                return Err("failed inserting check: object missing primary index".to_string());
            }
            let register = Register { checks: [check].into(), ..register };
            refusal(register::register(state, write, register))?;
            return Ok(find(state));
        }
        RowVerb::Delete | RowVerb::DeleteCas => {
            if *verb == RowVerb::DeleteCas {
                let stale = || format!("failed to delete check {id:?} on node {node:?}, index is stale");
                fresh(may_delete(there(), check.indexes), stale)?;
            }
            // Without an id it would be the node that goes.
            if !id.is_empty() {
                let deregister = Deregister { node, tenancy: check.tenancy, service_id: None, check_id: Some(id) };
                refusal(register::deregister(state, write, &deregister))?;
            }
        }
        RowVerb::Unknown(verb) => return Err(format!("unknown Check verb {verb:?}")),
    }
    Ok(None)
}

/// The node of that name.
fn named<'s>(state: &'s State, partition: &str, name: &str) -> Option<&'s Arc<Node>> {
    state.partitions.get(partition)?.nodes.get(&*fold(name))
}

/// A registration that adds to a node, which must be there, and leaves the node alone.
fn onto(state: &State, partition: &str, name: &str) -> Result<Register, String> {
    let node = named(state, partition, name).ok_or("Missing node registration")?;
    let node = Node { name: Arc::clone(&node.name), partition: Arc::clone(&node.partition), ..Node::default() };
    Ok(Register { node, skip_node_update: true, ..Register::default() })
}
