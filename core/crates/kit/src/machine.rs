//! The one shape of a protocol.

use crate::{Deadline, Out, Time};

/// A protocol as a pure state machine: events and time in, actions out, no IO.
///
/// # The laws
///
/// [`crate::laws`] tests them for every machine:
///
/// 1. **No residue.** All output of a call is in `out` when it returns; only [`Machine::poll_timeout`] is polled.
/// 2. `now` never goes back between calls. A machine may assert it in debug builds and saturates in release.
/// 3. A spurious [`Machine::handle_timeout`] is a no-op; after `handle_timeout(now)` the next deadline is later
///    than `now`.
/// 4. No event from a peer or client panics. Bad input is an action or a counted drop.
/// 5. Work and output of a call are bounded, and so is every queue inside.
/// 6. Same construction, same calls: same output, byte for byte.
/// 7. [`Machine::poll_timeout`] is cheap; drivers call it after every call.
pub trait Machine {
    /// What can happen to it. A closed enum; may borrow input bytes.
    type Event<'a>;
    /// What it wants done. A closed enum; owned.
    type Action;

    /// Takes one event.
    fn handle(&mut self, now: Time, event: Self::Event<'_>, out: &mut Out<Self::Action>);

    /// Fires every timer due at `now`.
    fn handle_timeout(&mut self, now: Time, out: &mut Out<Self::Action>);

    /// When to call [`Machine::handle_timeout`] next; `None`: not until another event.
    fn poll_timeout(&self) -> Option<Deadline>;
}
