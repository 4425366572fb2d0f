//! The replicated tables: commands in, an immutable view out.
//!
//! * [`model`]: what the tables hold.
//! * [`command`]: every change there is, and its reply.
//! * [`catalog`]: the write side: commands applied in log order.
//! * [`view`]: the read side, an O(1) clone of everything.
//! * [`group`]: the joined answer about a service, which the writer keeps ready.
//! * [`topic`]: what a read depends on; change indexes and wake-ups speak of these.
//! * [`name`]: names are compared without case.
//! * [`txn`]: several changes in one. * [`queries`]: prepared queries, stored and executed.
//! * [`sessions`]: what holds locks on keys. * [`coordinate`]: where nodes are in the network, and who is near. * [`regexp`]: expressions of users.
//! * [`snapshot`]: the whole of it as plain rows.
//! * [`watch`]: who waits for what.
//! * [`table`]: the persistent map behind it all, which the agent's own tables use, too.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod catalog;
pub mod command;
pub mod coordinate;
pub mod group;
mod intern;
mod join;
mod kv;
pub mod model;
pub mod name;
pub mod queries;
pub mod regexp;
mod register;
mod rows;
pub mod sessions;
pub mod snapshot;
mod state;
pub mod table;
mod template;
pub mod topic;
pub mod txn;
pub mod view;
pub mod watch;

pub use catalog::{Applied, Catalog};
pub use command::{Command, Reply};
pub use coordinate::Coordinate;
pub use group::{Instance, ServiceGroup, ServiceName};
pub use name::Scope;
pub use sessions::Session;
pub use snapshot::Snapshot;
pub use table::Table;
pub use topic::{Changes, Topic};
pub use view::View;
pub use watch::{WatchId, WatchTable};
