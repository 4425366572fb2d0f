//! Membership: who is in the pool, who answers, who does not, in a cluster where everybody asks everybody.
//!
//! SWIM (Das, Gupta, Motivala, DSN 2002) with the additions of Lifeguard (arXiv 1707.00788), as one pure machine:
//! [`Swim`]. A driver hands in [`Event`]s and carries out [`Action`]s and datagrams.
//!
//! What there is to know:
//!
//! * [`config`]: every knob, with unit, default, and what a wrong value breaks.
//! * [`event`]: what can happen to the machine, and what it wants done.
//! * [`table`]: [`Members`], the persistent table of who is known; cheap to clone and to share between threads.
//! * [`tags`]: what a member says of itself. [`seal`]: [`Keyring`], which opens and seals packets.
//! * [`vivaldi`]: network coordinates. [`stats`]: counters.
//!
//! How it works, one concern a file:
//!
//! * [`swim`]: the machine: its parts, and which event goes where.
//! * `probe`: who is asked, when, and what silence means. `awareness`: how much it trusts itself (Lifeguard).
//! * `doubt`: when it does not trust itself at all, and gives no verdict.
//! * `suspicion`: the time between silence and a verdict. `verdict`: alive, suspect, failed, left: which wins.
//! * `broadcast`: what still has to be told, and how often. `exchange`: comparing whole tables over streams, joining.
//! * `packet`: gossip, sealing and opening. `tombstone`: who is gone, and for how long that is remembered.
//! * `kin`: what tags decide: who belongs here, and who is remembered for how long.
//! * `rumour`: user events. `keys`: keyring operations across the pool. [`wire`]: messages as bytes.
//! * [`flaw`]: known bugs, to be put back by tests. `stall`: loops that stand still, for the simulator.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod awareness;
mod broadcast;
pub mod config;
mod doubt;
pub mod event;
mod exchange;
pub mod flaw;
mod keys;
mod kin;
mod packet;
mod probe;
mod rumour;
pub mod seal;
mod stall;
pub mod stats;
mod suspicion;
pub mod swim;
pub mod table;
pub mod tags;
mod tombstone;
mod verdict;
pub mod vivaldi;
pub mod wire;

pub use config::{Alike, Config, Lifeguard, Versions};
pub use event::{Action, Command, Event, ExchangeId, KeyOp, KeyReport, MemberEvent, StreamId, Ticket, UserEvent};
pub use flaw::Flaw;
pub use seal::{Key, Keyring};
pub use stats::Stats;
pub use swim::{Boot, Swim};
pub use table::{Member, Members, Profile, State};
pub use tags::{Tags, TagsRef};
pub use vivaldi::Coordinate;
