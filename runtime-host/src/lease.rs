//! A leader's lease beside its published view, for readers without a lock.
//!
//! A view says in which reign it was published, if this server led then and knew everything committed before. A reader loads
//! the view, then asks [`Lease::holds`] for that reign. If it holds, this server led in that reign when it was asked, so
//! whoever was told of a change before the read began was told by this reign, which publishes before it tells, or by one
//! before it, whose changes were applied when this one began. In which order views and leases are stored does not matter.

use std::sync::atomic::{AtomicU64, Ordering};

use convoke_kit::Time;

/// Until when this server leads, and in which reign.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Nanoseconds since the start; 0: there is none.
    until: AtomicU64,
    reign: AtomicU64,
}

impl Lease {
    /// What is known now; reign 0: it does not lead. Called by one thread at a time, before what the same call of the node
    /// wants is carried out: what is taken back is so before others are told that they may lead.
    pub(crate) fn set(&self, reign: u64, until: Option<Time>) {
        if self.reign.load(Ordering::Relaxed) != reign {
            // No reader may take the end of one reign for that of another.
            self.until.store(0, Ordering::Release);
            self.reign.store(reign, Ordering::Release);
        }
        self.until.store(until.map_or(0, Time::as_nanos), Ordering::Release);
    }

    /// Whether a view of this reign, loaded before the call, was current when it was loaded. `now` reads the clock.
    pub(crate) fn holds(&self, reign: u64, now: impl FnOnce() -> Time) -> bool {
        // In this order: an end is seen with its reign, or with a later one.
        let until = self.until.load(Ordering::Acquire);
        reign != 0 && self.reign.load(Ordering::Acquire) == reign && until > now().as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_view_of_the_reign_that_lasts_is_current() {
        let (lease, at) = (Lease::default(), |nanos| move || Time::from_nanos(nanos));
        assert!(!lease.holds(0, at(0)), "who never led");
        lease.set(3, Some(Time::from_nanos(100)));
        assert!(lease.holds(3, at(99)) && !lease.holds(3, at(100)));
        // The view of a follower that was elected between its load and this question: what chaos found.
        assert!(!lease.holds(0, at(50)));
        assert!(!lease.holds(2, at(50)), "the view of an earlier reign of the same server");
        lease.set(3, None);
        assert!(!lease.holds(3, at(50)), "taken back");
        lease.set(0, None);
        lease.set(5, Some(Time::from_nanos(300)));
        assert!(lease.holds(5, at(200)) && !lease.holds(3, at(200)));
    }
}
