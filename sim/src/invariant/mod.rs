//! What always holds, one invariant a file, each with the section of the paper it comes from.
//!
//! * [`false_death`]: nobody is declared failed while nothing is wrong with it.
//! * [`detection`]: who dies is declared failed by all, in time.
//! * [`views`]: in the end all members see the same, and it is true.
//! * [`ghosts`]: the dead stay dead.
//! * [`incarnations`]: only the owner raises its number.
//! * [`queues`]: what waits is bounded.
//! * [`probe_gap`]: nobody is left unprobed for long.
//! * [`rumours`]: a user event comes once, to everybody.
//! * [`events`]: what a member tells of another makes sense in its order.

pub mod detection;
pub mod events;
pub mod false_death;
pub mod ghosts;
pub mod incarnations;
pub mod probe_gap;
pub mod queues;
pub mod rumours;
pub mod views;

pub use detection::{Detection, failed_everywhere};
pub use events::Events;
pub use false_death::FalseDeath;
pub use ghosts::Ghosts;
pub use incarnations::Incarnations;
pub use probe_gap::ProbeGap;
pub use queues::Queues;
pub use rumours::Rumours;
pub use views::{agree, true_views};
