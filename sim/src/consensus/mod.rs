//! Consensus in virtual time: servers ([`convoke_raft::Raft`], the very machine of the agent), disks, clocks, a network, clients,
//! and a checker of what these saw.
//!
//! The world:
//!
//! * [`world`]: time passes. `queue`: what is next. [`slot`]: a place with a disk and a clock. [`faults`]: what goes wrong.
//! * [`server`]: a driver of the machine (`engine`: that of the agent, and a plain one) with its state machine. [`disk`], [`codec`]: its bytes. [`kv`]: its state. [`client`]: who uses it.
//!
//! What is made of it:
//!
//! * [`invariant`]: what always holds, one a file. [`checker`]: was there one order that explains what clients saw?
//! * [`scenario`]: those with a name. [`swarm`]: lives drawn from seeds. [`bug`]: bugs to be put back, which these must find.

pub mod bug;
pub mod checker;
pub mod client;
pub mod codec;
pub mod disk;
mod engine;
pub mod faults;
pub mod invariant;
pub mod kv;
mod queue;
pub mod scenario;
pub mod server;
pub mod slot;
pub mod swarm;
pub mod world;
