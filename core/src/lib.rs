//! The composite agent: everything of a node that is not IO.
//!
//! The seam the runtimes and the simulator drive:
//!
//! * [`node`]: [`node::Node`], a machine: [`node::Event`] in, [`node::Action`] out.
//! * [`probe`]: what a runtime is asked to probe, and what it reports.
//! * [`store`]: what a runtime is asked to keep on disk, and how it is read back.
//!
//! Its children:
//!
//! * [`consensus`]: proposed, replicated, durable, committed. [`forward`]: to whoever can serve a request, across elections.
//! * [`bootstrap`]: how servers become a cluster. [`autopilot`]: who belongs to it from then on.
//! * [`local`]: services and checks registered with this agent, and the files that keep them.
//! * [`checks`]: when each check runs and what its results mean.
//! * [`sync`]: anti-entropy, from the local tables to the catalog. [`reconcile`]: what a leader writes of members.
//!
//! The read side that is no HTTP:
//!
//! * [`dns`]: answers from the published view.
//!
//! And what they share:
//!
//! * [`rpc`]: what agents say to each other.
//! * [`log`]: the log and snapshots as bytes. [`recovery`]: tables from these.
//! * [`flaw`]: known bugs, for tests of tests.
//! * [`identity`]: the agent's own row and member entry.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod autopilot;
pub mod bootstrap;
pub mod checks;
pub mod consensus;
pub mod dns;
pub mod flaw;
pub mod forward;
pub mod identity;
pub mod local;
pub mod log;
pub mod node;
pub mod probe;
pub mod reconcile;
pub mod recovery;
pub mod rpc;
pub mod sessions;
pub mod store;
pub mod sync;
