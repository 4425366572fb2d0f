//! Whole agents in virtual time: servers and clients as [`convoke_core::node::Node`], with gossip, consensus, forwarding,
//! sessions, anti-entropy and autopilot, on disks that lose what was not durable and a network that loses and cuts.
//!
//! * [`world`]: time, network, faults. `host`: an agent and its machine. `disk`: what a crash leaves.
//! * `watcher`: blocking queries, as the agent's driver serves them. [`users`]: clients with sessions, locks and keys.
//! * [`invariant`]: what always holds. [`scenario`]: C2 to C8, M9. [`swarm`]: lives drawn from seeds.

mod disk;
mod host;
pub mod invariant;
pub mod scenario;
pub mod swarm;
pub mod users;
mod watcher;
pub mod world;

pub use crate::consensus::invariant::Violation;
