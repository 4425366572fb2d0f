//! Health checks: when each one runs, what its results mean, and when it is critical for too long.
//!
//! * [`schedule`]: [`Checks`], the machine: timers, runs in flight, thresholds, TTLs, reaping.
//! * [`spec`]: from a definition to what is to be done, or what is wrong with it.
//! * [`verdict`]: from the outcome of a run to a status and the words Consul has for it.
//! * [`alias`]: checks that mirror others.

pub mod alias;
pub mod schedule;
pub mod spec;
pub mod verdict;

pub use schedule::{Action, Checks, Event};
