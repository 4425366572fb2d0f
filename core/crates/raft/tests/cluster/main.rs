//! Servers in virtual time: what they say to each other, what they survive, and the laws they keep.

mod bench;
mod churn;
mod durability;
mod elections;
mod harness;
mod invariants;
mod laws;
mod logs;
mod members;
mod reads;
mod snapshots;
