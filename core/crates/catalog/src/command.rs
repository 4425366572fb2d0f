//! Every change there is, and its reply.
//!
//! Commands are what the log holds: they are encoded with postcard, so variants and fields are only ever added at
//! the end. `apply` never reads a clock: where a command needs the time, the proposer stamped it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::coordinate::CoordinateUpdate;
use crate::model::{Check, Node, Service, Str, Tenancy};
use crate::queries::PreparedQuery;
use crate::sessions::{Expire, Session};
use crate::txn::{TxnOp, TxnOutcome};

/// A change to the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Node, and with it any number of services and checks, in one step.
    Register(Register),
    /// A check, a service with its checks, or a node with everything on it.
    Deregister(Deregister),
    /// Sets a key.
    KvSet(KvSet),
    /// Deletes a key or a subtree.
    KvDelete(KvDelete),
    /// Creates or changes a prepared query.
    QuerySet {
        /// The query, with its id. Row indexes in it are ignored.
        query: PreparedQuery,
        /// It must not be there yet; otherwise it must.
        create: bool,
    },
    /// Deletes a prepared query, which must be there.
    QueryDelete {
        /// Its id.
        id: Str,
    },
    /// Operations that are done together, or not at all.
    Txn(Vec<TxnOp>),
    /// Where nodes are now. All of them or, if one is no place at all, none.
    Coordinates(Vec<CoordinateUpdate>),
    /// Sets a key and locks or unlocks it.
    KvLock(KvLock),
    /// Creates a session, with its id. Row indexes in it are ignored.
    SessionCreate(Session),
    /// Ends a session; one that is not there is no error.
    SessionDestroy {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Its id.
        id: Str,
    },
    /// A leader begins to measure the time of sessions: what leaders before it proposed in their epochs does nothing
    /// from now on.
    SessionEpoch,
    /// Ends sessions whose time is up. [`Reply::Bool`]`(false)`: the epoch is over, nothing was done.
    SessionExpire(Expire),
    /// The leader has measured the lock-delay that these sessions left behind.
    LockDelayOver {
        /// Tenancy and id.
        sessions: Vec<(Tenancy, Str)>,
    },
}

/// See [`Command::Register`]. Row indexes in it are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The node, created or changed.
    pub node: Node,
    /// Leave an existing node's address, meta and tagged addresses alone.
    pub skip_node_update: bool,
    /// Services on it, created or changed.
    pub services: Vec<Service>,
    /// Checks on it, created or changed. A check of a service that is not there refuses the command.
    pub checks: Vec<Check>,
}

/// See [`Command::Deregister`]. What is not there is no error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deregister {
    /// Node name.
    pub node: Str,
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// Only this service, if any.
    pub service_id: Option<Str>,
    /// Only this check, if any.
    pub check_id: Option<Str>,
}

/// See [`Command::KvSet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvSet {
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// Key.
    pub key: Str,
    /// Value.
    pub value: Arc<[u8]>,
    /// Opaque.
    pub flags: u64,
    /// Only if the key's modify index is this; 0: only if there is no such key.
    pub cas: Option<u64>,
}

/// See [`Command::KvLock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvLock {
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// Key.
    pub key: Str,
    /// Value, set only if the lock is taken or let go.
    pub value: Arc<[u8]>,
    /// Opaque.
    pub flags: u64,
    /// The session that takes or holds the lock.
    pub session: Str,
    /// Lock (true) or unlock.
    pub acquire: bool,
}

/// See [`Command::KvDelete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvDelete {
    /// Partition and namespace.
    pub tenancy: Tenancy,
    /// Key, or prefix if `recurse`.
    pub key: Str,
    /// Everything that starts with `key`.
    pub recurse: bool,
    /// Only if the key's modify index is this; a key that is not there is deleted by any.
    pub cas: Option<u64>,
}

/// What `apply` says of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done (or nothing to do).
    Done,
    /// Of a conditional change: whether the condition held.
    Bool(bool),
    /// Refused; the tables are as they were. The text is what the user sees, in Consul's words.
    Refused(String),
    /// Of a transaction: what it gave, or why the tables are as they were.
    Txn(TxnOutcome),
}
