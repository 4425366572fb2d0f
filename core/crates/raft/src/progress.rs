//! What the leader knows of one follower's log, and what is under way to it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use convoke_kit::Time;

use crate::types::{Index, Snapshot};

/// Entries under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    last: Index,
    bytes: usize,
    /// The last round sent before them: when a later round is answered and they did not arrive, they are lost.
    round: u64,
}

/// How entries are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Where the logs part is not known: one message, then its answer. `Some`: it is under way since that round.
    Probe(Option<u64>),
    /// The logs agree: as much as the window takes.
    Pipeline,
    /// It needs what was compacted.
    Snapshot(Transmission),
}

/// A snapshot under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmission {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The follower has the bytes before this.
    pub(crate) offset: u64,
    /// The next piece is under way since that round.
    pub(crate) sent: Option<u64>,
}

/// One follower.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// Its log equals the leader's up to here, on its disk. Never falls within a term.
    pub(crate) matched: Index,
    /// The first entry to send next.
    pub(crate) next: Index,
    pub(crate) mode: Mode,
    window: VecDeque<Flight>,
    window_bytes: usize,
    /// The last round sent before the last message with a `prev`.
    told: u64,
    /// When a rejection last ended the pipeline: the round, and what was acknowledged then.
    ended: Option<(u64, Index)>,
    /// Messages that may be under way: one after a rejection, and one more with each acknowledgement.
    allowed: usize,
    /// The highest commit index that was sent along.
    pub(crate) commit_sent: Index,
    /// The latest round it answered, and when that was sent.
    pub(crate) acked: Option<(u64, Time)>,
    /// When it was last heard of.
    pub(crate) heard: Option<Time>,
}

impl Progress {
    /// Of a follower about which nothing is known; `last`: the end of the leader's log.
    pub(crate) fn new(last: Index) -> Self {
        Self {
            matched: 0,
            next: last + 1,
            mode: Mode::Probe(None),
            window: VecDeque::new(),
            window_bytes: 0,
            told: 0,
            ended: None,
            allowed: usize::MAX,
            commit_sent: 0,
            acked: None,
            heard: None,
        }
    }

    /// A message with entries may be sent.
    pub(crate) fn may_send(&self, window: usize, bytes: usize) -> bool {
        match self.mode {
            Mode::Probe(sent) => sent.is_none(),
            Mode::Pipeline => self.window.len() < window.min(self.allowed).max(1) && self.window_bytes < bytes.max(1),
            Mode::Snapshot(_) => false,
        }
    }

    /// All entries sent are acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.window.is_empty()
    }

    /// Entries up to `last` were sent; none if they have no bytes.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize, round: u64) {
        self.told = round;
        match &mut self.mode {
            Mode::Probe(sent) => *sent = Some(round),
            Mode::Pipeline => self.next = self.next.max(last + 1),
            Mode::Snapshot(_) => return,
        }
        if bytes > 0 {
            self.window.push_back(Flight { last, bytes, round });
            self.window_bytes += bytes;
        }
    }

    /// It has the leader's log up to `matched`. Says whether that was news.
    pub(crate) fn accepted(&mut self, matched: Index) -> bool {
        while self.window.front().is_some_and(|flight| flight.last <= matched)
            && let Some(flight) = self.window.pop_front()
        {
            self.window_bytes -= flight.bytes;
        }
        let news = matched > self.matched;
        if news {
            self.allowed = self.allowed.saturating_add(1);
        }
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched + 1);
        match &self.mode {
            // It answers for what it has: the logs agree up to there, whichever message it answers.
            // What the probe brought along is under way still, or waits for the follower's disk.
            Mode::Probe(_) if matched + 1 >= self.next => {
                self.mode = Mode::Pipeline;
                self.next = self.window.back().map_or(self.next, |flight| self.next.max(flight.last + 1));
            }
            Mode::Snapshot(transmission) if matched >= transmission.snapshot.meta.position.index => {
                self.next = self.matched + 1;
                self.mode = Mode::Pipeline;
            }
            Mode::Probe(_) | Mode::Pipeline | Mode::Snapshot(_) => {}
        }
        news
    }

    /// It does not have the entry `prev`; `try_after`: the leader's best guess of the last one it has. A rejection of
    /// something older than what is known is from the past, and says nothing: the network repeats and delays.
    ///
    /// Where messages overtake each other, most of a full window may be rejected. If each of these called for the whole window
    /// again there would be no end of messages. So one is enough until something was acknowledged or a round has passed,
    /// and the window is small after it.
    pub(crate) fn rejected(&mut self, prev: Index, try_after: Index, round: u64, believe_all: bool) {
        if believe_all {
            self.matched = self.matched.min(try_after);
            return self.restart(try_after + 1);
        }
        let stale = match self.mode {
            // One that lost its disk rejects what it acknowledged: sending that again at once would go on for ever.
            Mode::Probe(_) => prev + 1 != self.next || prev <= self.matched,
            Mode::Pipeline => prev <= self.matched || self.ended == Some((round, self.matched)),
            Mode::Snapshot(_) => true,
        };
        if !stale {
            if self.mode == Mode::Pipeline {
                self.ended = Some((round, self.matched));
                self.allowed = 1;
            }
            self.restart((try_after + 1).min(prev));
        }
    }

    /// It answered a round that was sent after entries it did not receive: they are lost.
    pub(crate) fn answered(&mut self, round: u64, received: Index) {
        match &mut self.mode {
            Mode::Probe(sent) => {
                if sent.is_some_and(|sent| sent < round) {
                    *sent = None;
                }
            }
            Mode::Pipeline => {
                // Or it was started anew: it has all, and does not know how much of it is the leader's. Without a message
                // that tells, it would not believe the commit index.
                let forgot = self.told < round && received < self.matched;
                if forgot || self.window.iter().any(|flight| flight.round < round && flight.last > received) {
                    self.restart(received.saturating_add(1).min(self.next));
                }
            }
            Mode::Snapshot(transmission) => {
                let lost = transmission.sent.is_some_and(|sent| sent < round);
                if lost && received < transmission.snapshot.meta.position.index {
                    transmission.sent = None;
                    // It has all the bytes and yet not the snapshot: it was started anew, or threw them away.
                    if transmission.offset >= transmission.snapshot.meta.len {
                        transmission.offset = 0;
                    }
                }
            }
        }
    }

    /// Sends from `next` on, carefully.
    fn restart(&mut self, next: Index) {
        self.next = next.max(self.matched + 1);
        self.mode = Mode::Probe(None);
        self.window.clear();
        self.window_bytes = 0;
    }

    pub(crate) fn needs_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        self.mode = Mode::Snapshot(Transmission { snapshot, offset: 0, sent: None });
        self.window.clear();
        self.window_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(matched: Index) -> Progress {
        let mut progress = Progress::new(matched);
        progress.accepted(matched);
        assert_eq!(progress.mode, Mode::Pipeline);
        progress
    }

    #[test]
    fn a_probe_waits_for_its_answer_or_for_a_later_round() {
        let mut p = Progress::new(9);
        assert!(p.may_send(4, 100));
        p.sent(12, 50, 3);
        assert!(!p.may_send(4, 100));
        p.answered(3, 0);
        assert!(!p.may_send(4, 100), "that round may have overtaken it");
        p.answered(4, 0);
        assert!(p.may_send(4, 100));
        p.accepted(12);
        assert_eq!((p.mode.clone(), p.next, p.matched), (Mode::Pipeline, 13, 12));
    }

    #[test]
    fn the_window_bounds_messages_and_bytes() {
        let mut p = pipeline(5);
        for (last, may) in [(6, true), (8, true), (9, false)] {
            assert!(p.may_send(3, 1000));
            p.sent(last, 10, 1);
            assert_eq!(p.may_send(3, 1000), may);
        }
        assert!(!p.is_idle() && !p.may_send(9, 30) && p.may_send(9, 31));
        p.accepted(8);
        assert!(p.may_send(3, 11) && !p.is_idle());
        p.accepted(9);
        assert!(p.is_idle());
    }

    #[test]
    fn rejections_of_the_past_say_nothing() {
        // (mode is pipeline?, matched, next, prev rejected, guess) -> next
        let table = [
            (true, 5, 6, 5, 2, 6),    // what is acknowledged cannot be missing
            (true, 5, 9, 8, 6, 7),    // a gap
            (true, 5, 9, 8, 2, 6),    // never below what is acknowledged
            (false, 0, 10, 9, 4, 5),  // back off to the guess
            (false, 0, 10, 9, 9, 9),  // and by one at least
            (false, 0, 10, 7, 1, 10), // an older probe's
            (false, 0, 5, 9, 1, 5),
            (false, 0, 1, 0, 0, 1), // nothing is before the first entry
        ];
        for (piped, matched, next, prev, guess, expected) in table {
            let mut p = if piped { pipeline(matched) } else { Progress::new(next - 1) };
            if piped && next > matched + 1 {
                p.sent(next - 1, 1, 1);
            }
            p.rejected(prev, guess, 1, false);
            assert_eq!(p.next, expected, "{piped} {matched} {next} {prev} {guess}");
            assert_eq!(p.matched, matched);
        }
    }

    #[test]
    fn one_rejection_is_enough_and_makes_the_window_small() {
        let mut p = pipeline(5);
        (6..=9).for_each(|last| p.sent(last, 1, 1));
        p.rejected(7, 5, 1, false);
        assert_eq!((p.mode.clone(), p.next), (Mode::Probe(None), 6));
        // Somebody's answer that it has 5.
        p.sent(6, 1, 1);
        p.accepted(5);
        assert_eq!((p.mode.clone(), p.next), (Mode::Pipeline, 7));
        assert!(!p.may_send(9, 99), "one is under way");
        // That of the message before 9, of the first time.
        p.rejected(8, 5, 1, false);
        assert_eq!((p.mode.clone(), p.next), (Mode::Pipeline, 7));
        p.accepted(6);
        for last in [7, 8] {
            assert!(p.may_send(9, 99));
            p.sent(last, 1, 1);
        }
        assert!(!p.may_send(9, 99));
        p.rejected(7, 6, 1, false);
        assert_eq!((p.mode, p.next), (Mode::Probe(None), 7), "that was news");
    }

    #[test]
    fn what_a_later_round_overtook_is_sent_again() {
        let mut p = pipeline(5);
        p.sent(6, 1, 1);
        p.sent(7, 1, 2);
        p.answered(2, 6);
        assert_eq!(p.mode, Mode::Pipeline, "the second may still come");
        p.answered(3, 6);
        assert_eq!((p.mode.clone(), p.next), (Mode::Probe(None), 7));
        // Started anew: what it has on disk is told to it again.
        let mut p = pipeline(5);
        p.sent(5, 0, 2);
        p.answered(2, 0);
        assert_eq!(p.mode, Mode::Pipeline);
        p.answered(3, 0);
        assert_eq!((p.mode.clone(), p.next), (Mode::Probe(None), 6));
        // Received but slow on its disk: nothing is sent again.
        let mut p = pipeline(5);
        p.sent(9, 1, 1);
        p.answered(4, 9);
        assert_eq!((p.mode, p.next), (Mode::Pipeline, 10));
    }
}
