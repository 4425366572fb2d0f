//! When a member doubts itself: time in which it could not have heard an objection is no time of a suspicion.
//!
//! A suspicion is there to give the suspect time to object (SWIM section 4.2). Who was stopped, whose virtual machine was
//! paused, who got no processor: it hears nothing, its clock goes on, and its suspicions run out while the objections wait in
//! its socket. LHA-Suspicion (Lifeguard section 4.2) only makes that rarer, by longer suspicions; this part, which is not
//! in the paper, lets suspicions stand still with the member that has them. It may then suspect as quickly as it likes.
//!
//! So suspicions have a clock of their own, which goes with the real one, but
//! * stands still when nobody was heard for two probe intervals, in which somebody always asks or answers,
//! * goes on when somebody is heard again: that silence does not count at all, and for one more probe interval there is no
//!   verdict, so that what waits in the socket is read, an objection among it;
//! * goes on, and the silence counts, once three turns of the own probe loop came on time since the last word: it asked,
//!   asked others, and waited to the end. It runs, so it is really alone, and the others are gone. That is before the first
//!   suspicion about one of them runs out, so its verdicts come as soon as ever (one in ill health, which probes every eight
//!   seconds, may need one probe more).
//!
//! A member that finds its timers late by more than a probe interval, and heard nobody for two, has stood still: it is as if
//! it heard somebody now. Nothing of that is a timer; a suspicion that stands still has none until one of them happens. A
//! member that runs hears somebody or makes turns, so it puts nothing off for ever; one that runs for a moment now and
//! then decides nothing, and learns of deaths from the others.

use core::time::Duration;

use convoke_kit::Time;

/// So many turns of its probe loop, on time and without a word from anybody, make a member sure that it is alone. A turn is:
/// a probe begins (the one before is over), helpers are asked. With 2, a loop that came to a halt in the middle of a probe looks
/// like one that runs; with more, the verdicts of one that is really alone come late where suspicions are short.
const ALONE: u8 = 3;

/// A silence of so many probe intervals is strange. With 1, suspicions of members that are well stand still now and then; with
/// more, a suspicion that has so much time left runs out in a member that has just been stopped.
const PATIENCE: u32 = 2;

/// The clock of the suspicions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    /// One probe interval; zero: this member never doubts itself.
    interval: Duration,
    /// When it last knew that it hears and runs.
    sure: Time,
    /// Turns of the probe loop that came on time since somebody was heard.
    turns: u8,
    /// What the real clock is ahead.
    lost: Duration,
    /// No verdict before this.
    reads_until: Time,
}

impl Doubt {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, sure: Time::ZERO, turns: 0, lost: Duration::ZERO, reads_until: Time::ZERO }
    }

    /// It takes part from now on.
    pub(crate) const fn start(&mut self, now: Time) {
        self.sure = now;
    }

    /// Somebody was heard. True if that ends a silence that does not count.
    pub(crate) fn heard(&mut self, now: Time) -> bool {
        let deaf = !self.alone() && self.is_silence(now);
        self.is_sure(now, deaf);
        self.turns = 0;
        deaf
    }

    /// Timers are looked at, of which the first was due `since` then. True if it stood still in between.
    pub(crate) fn woke(&mut self, now: Time, since: Option<Time>) -> bool {
        let stood = since.is_some_and(|at| at + self.interval < now) && self.is_silence(now);
        if stood {
            self.is_sure(now, true);
            self.turns = 0;
        }
        stood
    }

    /// The probe loop made a turn.
    pub(crate) fn turned(&mut self, now: Time) {
        self.turns = (self.turns + 1).min(ALONE);
        if self.alone() {
            self.is_sure(now, false);
        }
    }

    /// What the clock shows.
    pub(crate) fn clock(&self, now: Time) -> Time {
        let doubts = !self.interval.is_zero() && !self.alone();
        let shows = if doubts { now.min(self.strange_from()) } else { now };
        shows - self.lost
    }

    /// What it shows, if there may be a verdict now.
    pub(crate) fn decides(&self, now: Time) -> Option<Time> {
        (now >= self.reads_until).then(|| self.clock(now))
    }

    /// When it will show this and there may be a verdict; `None` if that depends on what happens until then.
    pub(crate) fn due(&self, at: Time) -> Option<Time> {
        let at = (at + self.lost).max(self.reads_until);
        (self.interval.is_zero() || self.alone() || at <= self.strange_from()).then_some(at)
    }

    const fn alone(&self) -> bool {
        self.turns >= ALONE
    }

    fn strange_from(&self) -> Time {
        self.sure + self.interval.saturating_mul(PATIENCE)
    }

    fn is_silence(&self, now: Time) -> bool {
        !self.interval.is_zero() && now > self.strange_from()
    }

    fn is_sure(&mut self, now: Time, lost: bool) {
        if lost {
            self.lost += now.since(self.sure);
            self.reads_until = now + self.interval;
        }
        self.sure = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// It hears somebody until the tenth second.
    fn heard() -> Doubt {
        let mut doubt = Doubt::new(Duration::from_secs(1));
        doubt.start(at(500));
        for second in 1..=10 {
            assert!(!doubt.heard(at(second * 1000)));
            assert_eq!(doubt.clock(at(second * 1000 + 7)), at(second * 1000 + 7));
        }
        doubt
    }

    #[test]
    fn a_silence_stops_it_and_does_not_count() {
        let mut doubt = heard();
        assert_eq!((doubt.due(at(12_000)), doubt.due(at(12_001))), (Some(at(12_000)), None));
        assert_eq!((doubt.clock(at(11_999)), doubt.clock(at(20_000))), (at(11_999), at(12_000)));
        assert!(doubt.heard(at(40_000)));
        assert_eq!(doubt.clock(at(40_000)), at(10_000));
        assert_eq!(doubt.due(at(10_001)), Some(at(41_000)), "what waits is read first");
        assert_eq!((doubt.decides(at(40_999)), doubt.decides(at(41_000))), (None, Some(at(11_000))));
        assert!(!doubt.heard(at(41_000)));
        assert_eq!(doubt.due(at(12_500)), Some(at(42_500)));
    }

    #[test]
    fn who_is_really_alone_is_sure_of_it_after_three_turns_and_the_silence_counts() {
        let mut doubt = heard();
        doubt.turned(at(10_500));
        doubt.turned(at(12_500));
        assert_eq!((doubt.clock(at(13_000)), doubt.due(at(14_000))), (at(12_000), None));
        doubt.turned(at(13_000));
        assert_eq!((doubt.clock(at(13_000)), doubt.due(at(14_000))), (at(13_000), Some(at(14_000))));
        // However long a turn takes.
        assert_eq!(doubt.clock(at(21_000)), at(21_000));
        assert!(!doubt.heard(at(21_000)), "it was not deaf");
        assert_eq!((doubt.clock(at(21_000)), doubt.due(at(23_001))), (at(21_000), None));
    }

    #[test]
    fn who_stood_still_begins_anew() {
        for alone in [false, true] {
            let mut doubt = heard();
            if alone {
                (0..3).for_each(|_| doubt.turned(at(10_000)));
            }
            assert!(!doubt.woke(at(11_900), Some(at(10_100))), "not for long");
            assert!(!doubt.woke(at(12_500), Some(at(11_500))), "on time");
            assert!(!doubt.woke(at(70_000), None));
            assert!(doubt.woke(at(70_000), Some(at(11_000))));
            assert_eq!((doubt.clock(at(70_000)), doubt.due(at(10_001))), (at(10_000), Some(at(71_000))));
            (0..2).for_each(|_| doubt.turned(at(70_000)));
            assert_eq!(doubt.due(at(13_000)), None, "it must find out anew whether it is alone");
        }
    }

    #[test]
    fn a_timer_that_is_a_little_late_is_not_forgotten() {
        let mut doubt = heard();
        let due = doubt.due(at(11_900));
        assert!(!doubt.woke(at(12_100), due));
        assert!(doubt.decides(at(12_100)) >= Some(at(11_900)));
    }

    #[test]
    fn without_this_part_it_is_the_real_clock() {
        let mut doubt = Doubt::new(Duration::ZERO);
        assert!(!doubt.heard(at(1_000)) && !doubt.heard(at(90_000)) && !doubt.woke(at(200_000), Some(at(100_000))));
        assert_eq!((doubt.clock(at(300_000)), doubt.due(at(300_001))), (at(300_000), Some(at(300_001))));
        assert_eq!(doubt.decides(at(300_000)), Some(at(300_000)));
    }
}
