//! Timers: one deadline a kind, in a small table.

use convoke_kit::{Deadline, Time};

/// What can come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Timer {
    /// Nobody leads, or the vote takes too long.
    Election,
    /// Leader: the next round. Candidate: ask those again who did not answer.
    Heartbeat,
    /// Leader: no majority was heard for an election timeout.
    Quorum,
    /// Leader: the disk did not answer.
    Disk,
    /// Leader: the transfer takes too long.
    Transfer,
    /// Follower: the leader did not answer a read.
    Reads,
}

const KINDS: [(Timer, &str); 6] = [
    (Timer::Election, "election"),
    (Timer::Heartbeat, "heartbeat"),
    (Timer::Quorum, "quorum"),
    (Timer::Disk, "disk"),
    (Timer::Transfer, "transfer"),
    (Timer::Reads, "reads"),
];

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers([Option<Time>; KINDS.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) fn put(&mut self, timer: Timer, at: Option<Time>) {
        self.0[timer as usize] = at;
    }

    pub(crate) const fn get(&self, timer: Timer) -> Option<Time> {
        self.0[timer as usize]
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the timer if it is due.
    pub(crate) fn fired(&mut self, timer: Timer, now: Time) -> bool {
        let due = self.0[timer as usize].is_some_and(|at| at <= now);
        if due {
            self.stop(timer);
        }
        due
    }

    pub(crate) fn next(&self) -> Option<Deadline> {
        let at = |(timer, reason): &(Timer, &'static str)| Some(Deadline { at: self.0[*timer as usize]?, reason });
        KINDS.iter().filter_map(at).min_by_key(|deadline| deadline.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_next_and_fires_once() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Election, Time::from_millis(5));
        timers.set(Timer::Disk, Time::from_millis(3));
        timers.put(Timer::Reads, Some(Time::from_millis(9)));
        assert_eq!(timers.next(), Some(Deadline { at: Time::from_millis(3), reason: "disk" }));
        assert!(!timers.fired(Timer::Election, Time::from_millis(4)));
        assert!(timers.fired(Timer::Disk, Time::from_millis(4)) && !timers.fired(Timer::Disk, Time::from_millis(4)));
        assert_eq!(timers.next().map(|d| d.reason), Some("election"));
        timers.clear();
        assert_eq!(timers.next(), None);
    }
}
