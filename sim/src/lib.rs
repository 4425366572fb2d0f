//! Whole clusters in one thread and virtual time.
//!
//! [`World`] is a discrete-event world of nodes, each one member ([`convoke_swim::Swim`], the very code of the agent), a
//! clock and a health of its own, with a network between them. Nothing in it looks at a clock, draws from the system or
//! depends on the order of a hash table: a seed and a scenario give one run, and its hash tells whether two runs were one.
//!
//! The world:
//!
//! * [`world`]: time passes; packets and streams arrive, timers fire, actions are carried out. `agenda`: what is next.
//! * [`node`]: a place where members live. `clock`: its time. [`network`]: who reaches whom, and how well.
//! * `faults`: crashes, pauses, starvation, churn. `stream`: dialling and answering. `pool`: packets under way.
//!
//! * [`consensus`]: another world, of servers with disks and clients. [`chaos`]: no world, but real processes.
//!
//! * [`cluster`]: a third one, of whole agents.
//!
//! What is made of it:
//!
//! * [`referee`]: watches a world while time passes. [`invariant`]: what always holds, one a file.
//! * [`scenario`]: what a pool must survive, as functions that pass, and must not pass with a known bug put back.
//! * [`measure`]: the figures that a pool is judged by.
//! * [`note`]: what was seen. [`tape`]: packets kept to be played again. `digest`: the hash of a run. `trace`: a
//!   timeline for people.
#![forbid(unsafe_code)]

mod agenda;
pub mod chaos;
mod clock;
pub mod cluster;
pub mod consensus;
mod digest;
mod faults;
pub mod invariant;
pub mod measure;
pub mod network;
pub mod node;
pub mod note;
mod pool;
pub mod referee;
pub mod scenario;
mod stream;
pub mod tape;
mod trace;
pub mod world;

pub use network::{Link, Network};
pub use node::{Blocking, Health, Node, Spec};
pub use note::{Counters, Note, Seen};
pub use referee::{Invariant, Referee, Verdict, Violation};
pub use scenario::{Scenario, Setup};
pub use tape::Tape;
pub use world::World;
