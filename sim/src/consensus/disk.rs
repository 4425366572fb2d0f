//! A disk: bytes that are durable, writes under way, and what goes wrong with them.
//!
//! What a crash leaves of the writes under way: of what was being appended nothing, all, a part from the front, or any sectors
//! of it with zeros between; of files that were being replaced the old one or the new one.

use std::collections::VecDeque;
use std::time::Duration;

use convoke_kit::Rng;
use convoke_raft::{HardState, Index, Persist, Position, Recovered, Term};

use super::bug::Bug;
use super::codec::Step;

const SECTOR: usize = 512;
/// Room that is left for what must go on when the disk is called full.
pub const RESERVE: usize = 64 << 10;

/// What is known to be durable, in the machine's words: what invariants ask.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// Of the last write that had one.
    pub hard: HardState,
    /// The last entry of the snapshot.
    pub snapshot: Position,
    first: Index,
    terms: VecDeque<Term>,
}

impl Mirror {
    /// As a recovery found it.
    #[must_use]
    pub fn of(recovered: &Recovered) -> Self {
        Self {
            hard: recovered.hard_state,
            snapshot: recovered.snapshot.as_ref().map_or(Position::ZERO, |snapshot| snapshot.meta.position),
            first: recovered.entries.first().map_or(1, |entry| entry.index),
            terms: recovered.entries.iter().map(|entry| entry.term).collect(),
        }
    }

    /// One more write.
    pub fn write(&mut self, write: &Persist) {
        if let Some(from) = write.truncate_from {
            self.terms.truncate(from.saturating_sub(self.first) as usize);
        }
        if let Some(snapshot) = &write.snapshot {
            let from = snapshot.log_from;
            let gone = (from.saturating_sub(self.first) as usize).min(self.terms.len());
            self.terms.drain(..gone);
            self.first = self.first.max(from);
            self.snapshot = snapshot.snapshot.meta.position;
        }
        for entry in &write.entries {
            if self.terms.is_empty() {
                self.first = entry.index;
            }
            self.terms.push_back(entry.term);
        }
        self.hard = write.hard_state.unwrap_or(self.hard);
    }

    /// Only entries of this range are kept.
    pub fn cut(&mut self, first: Index, last: Index) {
        self.terms.truncate((last + 1).saturating_sub(self.first) as usize);
        let gone = (first.saturating_sub(self.first) as usize).min(self.terms.len());
        self.terms.drain(..gone);
        self.first = self.first.max(first);
    }

    /// The term of an entry that is there.
    #[must_use]
    pub fn term(&self, index: Index) -> Option<Term> {
        self.terms.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }

    /// Whether an entry is there, by itself or in the snapshot.
    #[must_use]
    pub fn holds(&self, position: Position) -> bool {
        position.index <= self.snapshot.index || self.term(position.index) == Some(position.term)
    }

    /// All entries there are.
    pub fn entries(&self) -> impl Iterator<Item = Position> + '_ {
        self.terms.iter().zip(self.first..).map(|(term, index)| Position { term: *term, index })
    }
}

/// A write under way.
#[derive(Clone, Debug)]
struct Job {
    steps: VecDeque<Step>,
    persist: Persist,
    /// Of the codec's last record.
    number: u64,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All writes up to this one, whose last record this is, are durable.
    Durable {
        /// [`Persist::seq`].
        seq: u64,
        /// Of the codec.
        number: u64,
    },
    /// A step of one that has more of them.
    Step,
    /// It failed.
    Failed,
}

/// What a crash does to what was being appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing of it is there.
    Nothing,
    /// A part of it from the front.
    Front,
    /// Any sectors of it.
    Sectors,
    /// All of it.
    All,
}

/// A disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// Durable.
    pub log: Vec<u8>,
    /// Durable.
    pub snapshot: Option<Vec<u8>>,
    /// What is durable, in the machine's words.
    pub mirror: Mirror,
    queue: VecDeque<Job>,
    /// So many of the first ones are being written together.
    batch: usize,
    /// When that is done, in nanoseconds of the world.
    ready: u64,
    /// Least time of a step, and uniform on top of it.
    pub latency: (Duration, Duration),
    /// Nothing is done before this time.
    pub stalled_until: u64,
    /// The next step fails.
    pub fails: bool,
    /// It failed, and everything after it does.
    failed: bool,
    /// Bytes there may be before it is called full.
    pub quota: Option<usize>,
    /// A crash lost writes that had been begun, which truncated the log from here on, or replaced it up to there.
    pub excuse: (Option<Index>, Index),
    /// A bug of its own, or of the driver.
    pub bug: Option<Bug>,
}

impl Disk {
    /// Begins a write.
    pub fn submit(&mut self, now: u64, rng: &mut Rng, steps: Vec<Step>, persist: Persist, number: u64) {
        self.queue.push_back(Job { steps: steps.into(), persist, number });
        if self.batch == 0 {
            self.begin(now, rng);
        }
    }

    fn begin(&mut self, now: u64, rng: &mut Rng) {
        let appends = |job: &&Job| matches!((job.steps.front(), job.steps.len()), (Some(Step::Append(_)), 1));
        self.batch = self.queue.iter().take_while(appends).count().max(1).min(self.queue.len());
        let took = self.latency.0.as_nanos() as u64 + rng.duration(self.latency.1).as_nanos() as u64;
        self.ready = now + took;
    }

    /// When the next step is done.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        (self.batch > 0).then(|| self.ready.max(self.stalled_until))
    }

    /// An entry is on it, or under way to it.
    #[must_use]
    pub fn has_seen(&self, position: Position) -> bool {
        let under_way = self.queue.iter().any(|job| job.persist.entries.iter().any(|e| e.position() == position));
        under_way || self.mirror.holds(position)
    }

    /// Writes that are not durable.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.queue.len()
    }

    /// The next step to be done is one of replacing files.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.queue.front().is_some_and(|job| !matches!(job.steps.front(), Some(Step::Append(_)) | None))
    }

    /// Does a step.
    pub fn advance(&mut self, now: u64, rng: &mut Rng) -> Progress {
        if (self.failed || self.fails) && self.bug != Some(Bug::FailureForgotten) {
            self.fails = false;
            self.failed = true;
            self.batch = 0;
            self.queue.clear();
            return Progress::Failed;
        }
        // The driver that forgets: what failed is not there, and nobody is told.
        let dropped = std::mem::take(&mut self.fails);
        let count = self.batch;
        let mut progress = Progress::Step;
        for _ in 0..count {
            let Some(job) = self.queue.front_mut() else { break };
            match job.steps.pop_front() {
                Some(Step::Append(bytes)) if !dropped => self.log.extend_from_slice(&bytes),
                Some(Step::Snapshot(bytes)) if !dropped => self.snapshot = Some(bytes),
                Some(Step::Log(bytes)) if !dropped => self.log = bytes,
                _ => {}
            }
            if job.steps.is_empty()
                && let Some(job) = self.queue.pop_front()
            {
                self.mirror.write(&job.persist);
                progress = Progress::Durable { seq: job.persist.seq, number: job.number };
            }
        }
        self.batch = 0;
        if !self.queue.is_empty() {
            self.begin(now, rng);
        }
        progress
    }

    /// More is on it than there may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.quota.is_some_and(|quota| self.bytes() > quota)
    }

    /// The bytes on it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.log.len() + self.snapshot.as_ref().map_or(0, Vec::len)
    }

    /// The power is cut. Says whether anything under way was lost, and whether something was torn.
    pub fn crash(&mut self, rng: &mut Rng, tear: Tear) -> (bool, bool) {
        let lost = !self.queue.is_empty();
        let truncates = self.queue.iter().filter_map(|job| job.persist.truncate_from).min();
        let replaces = self.queue.iter().filter_map(|job| job.persist.snapshot.as_ref());
        self.excuse = (truncates, replaces.map(|write| write.snapshot.meta.position.index).max().unwrap_or(0));
        let mut torn = false;
        let mut bytes = Vec::new();
        let count = self.batch;
        for job in self.queue.iter_mut().take(count) {
            match job.steps.pop_front() {
                Some(Step::Append(more)) => bytes.extend_from_slice(&more),
                Some(Step::Snapshot(new)) if self.bug == Some(Bug::SnapshotInPlace) => {
                    let part = rng.index(new.len());
                    self.snapshot = Some(new[..part].to_vec());
                }
                Some(Step::Snapshot(new)) if tear == Tear::All => self.snapshot = Some(new),
                Some(Step::Log(new)) if tear == Tear::All => self.log = new,
                _ => {}
            }
        }
        if !bytes.is_empty() {
            match tear {
                Tear::Nothing => {}
                Tear::All => self.log.extend_from_slice(&bytes),
                Tear::Front => {
                    torn = true;
                    bytes.truncate(rng.index(bytes.len()));
                    self.log.extend_from_slice(&bytes);
                }
                Tear::Sectors => {
                    torn = true;
                    let start = self.log.len();
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = (at + SECTOR - (start + at) % SECTOR).min(bytes.len());
                        if rng.one_in(2) {
                            bytes[at..end].fill(0);
                        }
                        at = end;
                    }
                    self.log.extend_from_slice(&bytes);
                }
            }
        }
        self.queue.clear();
        self.batch = 0;
        self.failed = false;
        self.fails = false;
        (lost, torn)
    }

    /// One bit turns somewhere before `upto` bytes of the log, or in the snapshot. Says whether there was any.
    pub fn rot(&mut self, rng: &mut Rng, upto: usize) -> bool {
        let bytes = match &mut self.snapshot {
            Some(snapshot) if rng.one_in(3) => &mut snapshot[..],
            _ => &mut self.log[..upto],
        };
        if bytes.is_empty() {
            return false;
        }
        let at = rng.index(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        true
    }

    /// Another one, empty.
    pub fn replace(&mut self) {
        *self = Self { latency: self.latency, bug: self.bug, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(disk: &mut Disk, rng: &mut Rng, seq: u64, byte: u8) {
        let persist = Persist { seq, ..Persist::default() };
        disk.submit(0, rng, vec![Step::Append(vec![byte; 700])], persist, seq);
    }

    #[test]
    fn what_is_reported_survives_and_the_rest_may_be_torn() {
        let mut rng = Rng::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for tear in [Tear::Nothing, Tear::Front, Tear::Sectors, Tear::All] {
            for _ in 0..50 {
                let mut disk = Disk::default();
                append(&mut disk, &mut rng, 1, 1);
                append(&mut disk, &mut rng, 2, 2);
                assert_eq!(disk.advance(0, &mut rng), Progress::Durable { seq: 1, number: 1 });
                append(&mut disk, &mut rng, 3, 3);
                let (lost, torn) = disk.crash(&mut rng, tear);
                assert!(lost && torn == (tear == Tear::Front || tear == Tear::Sectors));
                assert!(disk.log.starts_with(&[1; 700]) && disk.log.len() <= 1400);
                assert!(!disk.log.contains(&3), "it had not been begun");
                seen.insert(disk.log.clone());
            }
        }
        assert!(seen.len() > 40, "{}", seen.len());
    }

    #[test]
    fn waiting_appends_are_made_durable_together() {
        let mut rng = Rng::new(1);
        let mut disk = Disk::default();
        (1..=4).for_each(|seq| append(&mut disk, &mut rng, seq, 0));
        assert_eq!(disk.advance(0, &mut rng), Progress::Durable { seq: 1, number: 1 });
        assert_eq!(disk.advance(0, &mut rng), Progress::Durable { seq: 4, number: 4 });
        assert_eq!(disk.next(), None);
    }

    #[test]
    fn after_a_failure_nothing_succeeds() {
        let mut rng = Rng::new(1);
        let mut disk = Disk { fails: true, ..Disk::default() };
        append(&mut disk, &mut rng, 1, 0);
        assert_eq!(disk.advance(0, &mut rng), Progress::Failed);
        append(&mut disk, &mut rng, 2, 0);
        assert_eq!(disk.advance(0, &mut rng), Progress::Failed);
        assert!(disk.log.is_empty());
    }
}
