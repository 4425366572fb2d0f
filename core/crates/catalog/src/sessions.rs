//! Sessions: what holds locks on keys, and goes away with its node, its checks, or its time.
//!
//! A session ends in the very command that took away what it stood on: [`end_doomed`] runs behind every change of rows,
//! so that no view ever shows a session whose check is critical, nor a lock whose session is gone.
//!
//! # Time
//!
//! `apply` knows none. What has to wait is kept as rows, and the leader measures it:
//! * **TTL**: the leader times the sessions out and proposes [`Command::SessionExpire`](crate::Command::SessionExpire)
//!   under its *epoch*. A leader that finds sessions begins a new epoch
//!   ([`Command::SessionEpoch`](crate::Command::SessionEpoch)) before it renews any; what a leader before it still has
//!   under way then does nothing. So no session that was renewed is ended by somebody who did not see the renewal.
//! * **Lock-delay**: the keys that a session held when it was invalidated cannot be locked until the leader has
//!   measured the delay and says so ([`Command::LockDelayOver`](crate::Command::LockDelayOver)). They are rows, so they
//!   are there after a restart or a change of leaders, and are measured anew: a delay may last longer, never shorter.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::ops::Bound;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalog::Write;
use crate::command::Reply;
use crate::model::{Indexes, KvEntry, Status, Str, Tenancy};
use crate::name::{Scope, fold, fold_shared};
use crate::queries;
use crate::state::{DEFAULT, Namespace, Partition, State, space};
use crate::table::Table;
use crate::topic::Topic;
use crate::view::View;

/// No lock-delay is longer.
pub const MAX_LOCK_DELAY: Duration = Duration::from_secs(60);

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// UUID text, chosen by whoever proposes it.
    pub id: Str,
    /// For people.
    pub name: Str,
    /// Node it stands on.
    pub node: Str,
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// How long keys it held cannot be locked after it was invalidated; at most [`MAX_LOCK_DELAY`] counts.
    pub lock_delay: Duration,
    /// What becomes of the keys it holds.
    pub behavior: Behavior,
    /// Time to live as it was given; may be empty.
    pub ttl_text: Str,
    /// Time to live; zero: no limit. A leader waits twice as long.
    pub ttl: Duration,
    /// Checks of the node that must not be critical, by id (in the default namespace).
    pub node_checks: Vec<Str>,
    /// Checks of services on the node that must not be critical.
    pub service_checks: Vec<BoundCheck>,
    /// The same as older clients name them, of either kind, in the namespace of the session.
    pub checks: Vec<Str>,
    /// Log indexes.
    pub indexes: Indexes,
}

/// See [`Session::service_checks`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundCheck {
    /// Check id.
    pub id: Str,
    /// Namespace; empty: that of the session.
    pub namespace: Str,
}

/// What becomes of locked keys when their session goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    /// They are unlocked.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

impl Behavior {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }
}

/// See [`Command::SessionExpire`](crate::Command::SessionExpire).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// [`View::session_epoch`] when the leader began to measure.
    pub epoch: u64,
    /// Tenancy and id of sessions whose time is up. Those that are gone are passed over.
    pub sessions: Vec<(Tenancy, Str)>,
}

/// Sessions of one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    /// By folded id.
    pub(crate) rows: Table<Str, Arc<Session>>,
    /// By folded node name; here while the node has sessions.
    pub(crate) nodes: Table<Str, OfNode>,
    /// (folded node name, namespace and folded id of the check, folded session id).
    bound: Table<(Str, Str, Str, Str), ()>,
    /// By folded id of a session that is gone: keys that cannot be locked yet.
    pub(crate) delays: Table<Str, Arc<LockDelay>>,
    /// (key, folded session id) of the same.
    delayed: Table<(Str, Str), ()>,
    /// Last time a session came or went.
    pub(crate) index: u64,
    /// Last time one went.
    pub(crate) gone: u64,
}

/// Sessions of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfNode {
    ids: Table<Str, ()>,
    /// Last time one came or went.
    pub(crate) index: u64,
}

/// Keys that cannot be locked until the leader says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDelay {
    /// How long from when the session was invalidated; the leader measures it.
    pub delay: Duration,
    /// The keys the session held.
    pub keys: Vec<Str>,
}

/// What a command took away from under sessions.
#[derive(Debug)]
pub(crate) enum Doom {
    /// A check, by partition, folded node name, namespace and folded id, is critical or gone.
    Check(Str, Str, Str, Str),
    /// A node, by partition and folded name, is gone.
    Node(Str, Str),
}

/// See [`Command::SessionCreate`](crate::Command::SessionCreate).
pub(crate) fn create(state: &mut State, write: &mut Write, mut session: Session) -> Reply {
    session.tenancy = State::tenancy(&session.tenancy);
    if session.id.is_empty() {
        return Reply::Refused("Must provide ID".to_string());
    }
    let partition = state.partitions.get(&*session.tenancy.partition);
    if let Err(why) = check(partition.map(|partition| &**partition), &session) {
        return Reply::Refused(why);
    }
    session.indexes = Indexes { create: write.index, modify: write.index };
    let tenancy = session.tenancy.clone();
    write.session_changed(&tenancy, &fold_shared(&session.node), &fold_shared(&session.id));
    state.partition(&tenancy.partition, |partition| {
        if let Some(node) = partition.nodes.get(&*fold(&session.node)) {
            session.node = Arc::clone(&node.name);
        }
        partition.namespace(&tenancy.namespace, |space| {
            space.sessions.index = write.index;
            space.sessions.put(Arc::new(session), write.index);
        });
    });
    Reply::Done
}

/// What is refused, in Consul's words.
fn check(partition: Option<&Partition>, session: &Session) -> Result<(), String> {
    if session.node.is_empty() {
        return Err("Must provide Node".to_string());
    }
    let node = fold(&session.node);
    let Some(partition) = partition.filter(|partition| partition.nodes.get(&*node).is_some()) else {
        return Err("Missing node registration".to_string());
    };
    let space = partition.namespaces.get(&*session.tenancy.namespace);
    if space.is_some_and(|space| space.sessions.rows.get(&*fold(&session.id)).is_some()) {
        return Err(format!("session '{}' exists already", session.id));
    }
    for (namespace, id) in session.bound_checks() {
        match partition.local(&namespace, &node).and_then(|local| local.check(&fold(&id))) {
            None => return Err(format!("Missing check '{id}' registration")),
            Some(check) if check.status == Status::Critical => {
                return Err(format!("Check '{id}' is in critical state"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// See [`Command::SessionDestroy`](crate::Command::SessionDestroy).
pub(crate) fn destroy(state: &mut State, write: &mut Write, tenancy: &Tenancy, id: &str) -> Reply {
    let tenancy = State::tenancy(tenancy);
    if let Some(session) = state.session(&tenancy, id) {
        end(state, write, &session);
    }
    Reply::Done
}

/// See [`Command::SessionExpire`](crate::Command::SessionExpire).
pub(crate) fn expire(state: &mut State, write: &mut Write, expire: &Expire) -> Reply {
    if expire.epoch != state.session_epoch {
        return Reply::Bool(false);
    }
    for (tenancy, id) in &expire.sessions {
        if let Some(session) = state.session(&State::tenancy(tenancy), id).filter(|session| !session.ttl.is_zero()) {
            end(state, write, &session);
        }
    }
    Reply::Done
}

/// See [`Command::LockDelayOver`](crate::Command::LockDelayOver).
pub(crate) fn delay_over(state: &mut State, over: &[(Tenancy, Str)]) -> Reply {
    for (tenancy, id) in over {
        let (tenancy, id) = (State::tenancy(tenancy), fold(id));
        if state.namespace(&tenancy).is_some_and(|space| space.sessions.delays.get(&*id).is_some()) {
            state.partition(&tenancy.partition, |partition| {
                partition.namespace(&tenancy.namespace, |space| space.sessions.end_delay(&id));
            });
        }
    }
    Reply::Done
}

/// Ends the sessions that stood on what a command took away.
pub(crate) fn end_doomed(state: &mut State, write: &mut Write) {
    for doom in mem::take(&mut write.doomed) {
        let (Doom::Check(partition, ..) | Doom::Node(partition, _)) = &doom;
        let Some(partition) = state.partitions.get(&**partition) else { continue };
        let of = |space: &Namespace| match &doom {
            Doom::Check(_, node, namespace, id) => space.sessions.on_check(node, namespace, id),
            Doom::Node(_, node) => space.sessions.on_node(node),
        };
        let doomed: Vec<Arc<Session>> = partition.namespaces.values().flat_map(|space| of(space)).collect();
        for session in doomed {
            end(state, write, &session);
        }
    }
}

/// Ends a session that is there: its locks, the queries bound to it, its row.
fn end(state: &mut State, write: &mut Write, session: &Session) {
    let (tenancy, index) = (&session.tenancy, write.index);
    let id = fold_shared(&session.id);
    write.session_changed(tenancy, &fold_shared(&session.node), &id);
    state.partition(&tenancy.partition, |partition| {
        partition.namespace(&tenancy.namespace, |space| {
            let keys = space.kv.held_by(&id);
            for key in &keys {
                let Some(entry) = space.kv.entries.get(&**key) else { continue };
                match session.behavior {
                    Behavior::Release => {
                        let indexes = Indexes { modify: index, ..entry.indexes };
                        let entry = KvEntry { session: None, indexes, ..KvEntry::clone(entry) };
                        space.kv.put(entry);
                    }
                    Behavior::Delete => space.kv.remove(key, index),
                }
                write.changes.add(Topic::Kv { tenancy: tenancy.clone(), key: Arc::clone(key) });
            }
            let sessions = &mut space.sessions;
            (sessions.index, sessions.gone) = (index, index);
            sessions.take(&id, index);
            if !session.lock_delay.is_zero() && !keys.is_empty() {
                sessions.delay(id, LockDelay { delay: session.lock_delay.min(MAX_LOCK_DELAY), keys });
            }
        });
    });
    queries::end_bound(state, write, session);
}

impl Session {
    /// Namespace and id of every check it stands on.
    pub(crate) fn bound_checks(&self) -> Vec<(Str, Str)> {
        let own = &self.tenancy.namespace;
        let of_node = self.node_checks.iter().map(|id| (Str::from(DEFAULT), Arc::clone(id)));
        let of_services = self.service_checks.iter().map(|check| {
            let namespace = if check.namespace.is_empty() { Arc::clone(own) } else { space(&check.namespace) };
            (namespace, Arc::clone(&check.id))
        });
        let either = self.checks.iter().map(|id| (Arc::clone(own), Arc::clone(id)));
        of_node.chain(of_services).chain(either).collect()
    }
}

impl Sessions {
    /// Adds a row, in all indexes.
    pub(crate) fn put(&mut self, session: Arc<Session>, index: u64) {
        let (id, node) = (fold_shared(&session.id), fold_shared(&session.node));
        for (namespace, check) in session.bound_checks() {
            self.bound.insert((Arc::clone(&node), namespace, fold_shared(&check), Arc::clone(&id)), ());
        }
        self.nodes.change(&node, |of| {
            of.index = of.index.max(index);
            of.ids.insert(Arc::clone(&id), ());
        });
        self.rows.insert(id, session);
    }

    /// Takes a row out again.
    fn take(&mut self, id: &Str, index: u64) {
        let Some(session) = self.rows.get(&**id).cloned() else { return };
        let node = fold_shared(&session.node);
        for (namespace, check) in session.bound_checks() {
            self.bound.remove(&(Arc::clone(&node), namespace, fold_shared(&check), Arc::clone(id)));
        }
        if let Some(of) = self.nodes.get_mut(&*node) {
            of.index = index;
            of.ids.remove(&**id);
            if of.ids.is_empty() {
                self.nodes.remove(&*node);
            }
        }
        self.rows.remove(&**id);
    }

    /// Keys of a session that is gone cannot be locked for a while.
    pub(crate) fn delay(&mut self, id: Str, delay: LockDelay) {
        for key in &delay.keys {
            self.delayed.insert((Arc::clone(key), Arc::clone(&id)), ());
        }
        self.delays.insert(id, Arc::new(delay));
    }

    fn end_delay(&mut self, id: &str) {
        let Some(delay) = self.delays.get(id).cloned() else { return };
        let id = Str::from(id);
        for key in &delay.keys {
            self.delayed.remove(&(Arc::clone(key), Arc::clone(&id)));
        }
        self.delays.remove(&*id);
    }

    /// Whether a key cannot be locked yet.
    pub(crate) fn is_delayed(&self, key: &Str) -> bool {
        let from = (Arc::clone(key), Str::default());
        self.delayed
            .range((Bound::Included(from), Bound::Unbounded))
            .next()
            .is_some_and(|((first, _), ())| first == key)
    }

    fn on_check(&self, node: &Str, namespace: &Str, id: &Str) -> Vec<Arc<Session>> {
        let from = (Arc::clone(node), Arc::clone(namespace), Arc::clone(id), Str::default());
        self.bound
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|((of, space, check, _), ())| (of, space, check) == (node, namespace, id))
            .filter_map(|((.., session), ())| self.rows.get(&**session).cloned())
            .collect()
    }

    fn on_node(&self, node: &str) -> Vec<Arc<Session>> {
        self.of_node(node).cloned().collect()
    }

    fn of_node<'s>(&'s self, node: &str) -> impl Iterator<Item = &'s Arc<Session>> + use<'s> {
        let ids = self.nodes.get(node).into_iter().flat_map(|of| of.ids.iter());
        ids.filter_map(|(id, ())| self.rows.get(&**id))
    }
}

impl Write {
    /// A session came or went; names are folded.
    fn session_changed(&mut self, tenancy: &Tenancy, node: &Str, id: &Str) {
        self.changes.add(Topic::Sessions { tenancy: tenancy.clone() });
        self.changes.add(Topic::NodeSessions { tenancy: tenancy.clone(), node: Arc::clone(node) });
        self.changes.add(Topic::Session { tenancy: tenancy.clone(), id: Arc::clone(id) });
    }
}

impl State {
    /// The session with that id, whatever its case.
    pub(crate) fn session(&self, tenancy: &Tenancy, id: &str) -> Option<Arc<Session>> {
        self.namespace(tenancy)?.sessions.rows.get(&*fold(id)).cloned()
    }
}

/// Sessions.
impl View {
    /// The session with that id.
    #[must_use]
    pub fn session(&self, scope: Scope<'_>, id: &str) -> Option<&Arc<Session>> {
        self.namespace(scope)?.sessions.rows.get(&*fold(id))
    }

    /// All sessions of a namespace, by id.
    pub fn sessions<'v>(&'v self, scope: Scope<'_>) -> impl Iterator<Item = &'v Arc<Session>> + use<'v> {
        self.namespace(scope).into_iter().flat_map(|space| space.sessions.rows.values())
    }

    /// Sessions of a node, by id.
    pub fn sessions_of<'v>(&'v self, scope: Scope<'_>, node: &str) -> impl Iterator<Item = &'v Arc<Session>> + use<'v> {
        let space = self.namespace(scope);
        space.map(|space| space.sessions.of_node(&fold(node))).into_iter().flatten()
    }

    /// Sessions with a time to live, of all namespaces.
    pub fn timed_sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        let spaces = self.0.partitions.values().flat_map(|partition| partition.namespaces.values());
        spaces.flat_map(|space| space.sessions.rows.values()).filter(|session| !session.ttl.is_zero())
    }

    /// Lock-delays that are not over, of all namespaces: tenancy and folded id of the session, and how long.
    pub fn lock_delays(&self) -> impl Iterator<Item = (Tenancy, &Str, Duration)> {
        self.0.partitions.iter().flat_map(|(partition, rows)| {
            rows.namespaces.iter().flat_map(move |(namespace, space)| {
                let tenancy = move || Tenancy { partition: Arc::clone(partition), namespace: Arc::clone(namespace) };
                space.sessions.delays.iter().map(move |(id, row)| (tenancy(), id, row.delay))
            })
        })
    }

    /// The lock-delay that a session left behind, if it is not over.
    #[must_use]
    pub fn lock_delay(&self, scope: Scope<'_>, id: &str) -> Option<Duration> {
        self.namespace(scope)?.sessions.delays.get(&*fold(id)).map(|row| row.delay)
    }

    /// Which leader may time sessions out; see [`Expire`].
    #[must_use]
    pub fn session_epoch(&self) -> u64 {
        self.0.session_epoch
    }
}
