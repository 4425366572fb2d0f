//! Consensus in virtual time: servers ([`convoke_raft::Raft`], the very machine of the agent), disks, clients, and a checker
//! of what these saw.
//!
//! * [`checker`]: was there one order that explains what clients saw?

pub mod checker;
