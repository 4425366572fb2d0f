//! The way of a change into the tables: proposed, made durable, committed.
//!
//! [`Solo`] is the case of one voter, who leads from the first moment: a proposal is committed when its log write is
//! durable, or at once where nothing is kept on disk. Raft takes the same events and emits the same actions.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use convoke_catalog::Command;
use convoke_kit::{Deadline, Machine, Out, Time};

use crate::log::{Record, Snapshot, frame_record, frame_snapshot};

/// Proposals that may wait for the disk. At the bound new ones are refused: [`Refusal::Busy`].
pub const QUEUE: usize = 4096;
/// The log is replaced by a snapshot when it is longer than this many bytes, and than twice the last snapshot.
const COMPACT_AT: u64 = 8 << 20;

/// What can happen to a log of one voter. `O` travels with a proposal and says who wants to know.
#[derive(Debug)]
pub enum Event<O> {
    /// Put this into the log.
    Propose {
        /// The change.
        command: Box<Command>,
        /// Comes back with the outcome.
        origin: O,
    },
    /// Every [`Action::Append`] up to this index is durable.
    Durable {
        /// Log index.
        index: u64,
    },
    /// A log write failed: nothing is committed any more.
    Failed {
        /// For people.
        error: String,
    },
    /// Answers [`Action::TakeSnapshot`].
    Snapshot {
        /// What the catalog exported, as of the last committed record.
        tables: Vec<u8>,
    },
}

/// What a log of one voter wants done, in order.
#[derive(Debug)]
pub enum Action<O> {
    /// Make this durable behind what was appended before, then report [`Event::Durable`].
    Append {
        /// Log index of the record.
        index: u64,
        /// Its frame.
        bytes: Vec<u8>,
    },
    /// Apply this: it is in the log for good.
    Committed {
        /// Log index.
        index: u64,
        /// The change.
        command: Box<Command>,
        /// Of the proposal.
        origin: O,
    },
    /// This is not in the log, and will not be.
    Refused {
        /// Of the proposal.
        origin: O,
        /// Why.
        refusal: Refusal,
    },
    /// Export the tables as they are after the last [`Action::Committed`], and hand them in as [`Event::Snapshot`].
    TakeSnapshot,
    /// Replace snapshot and log.
    Compact {
        /// Frame of the snapshot.
        snapshot: Vec<u8>,
        /// Frames of the records behind it.
        log: Vec<u8>,
    },
}

/// Why a proposal was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nobody to commit it.
    #[error("No cluster leader")]
    NoLeader,
    /// [`QUEUE`] proposals wait for the disk already.
    #[error("too many changes wait for the disk; try again later")]
    Busy,
    /// It cannot be put into the log.
    #[error("the change cannot be logged: {0}")]
    Unloggable(String),
    /// A write failed earlier.
    #[error("the agent cannot write its log and is stopping: {0}")]
    Halted(String),
}

/// One voter.
#[derive(Debug)]
pub struct Solo<O> {
    /// Whether anything is kept on disk.
    durable: bool,
    /// Index of the last record made.
    last: u64,
    /// Index of the last record known to be on disk.
    on_disk: u64,
    /// Made, not yet committed; consecutive, ending at `last`.
    waiting: VecDeque<(u64, Box<Command>, O)>,
    /// Bytes of records behind the last snapshot.
    log_bytes: u64,
    /// When `log_bytes` is more than this, a snapshot is taken.
    compact_at: u64,
    halted: Option<String>,
}

impl<O> Solo<O> {
    /// Goes on behind record `last`, with a log of `log_bytes` bytes on disk; `durable` is false where nothing is kept.
    #[must_use]
    pub const fn new(durable: bool, last: u64, log_bytes: u64) -> Self {
        Self { durable, last, on_disk: last, waiting: VecDeque::new(), log_bytes, compact_at: COMPACT_AT, halted: None }
    }

    fn propose(&mut self, command: Box<Command>, origin: O, out: &mut Out<Action<O>>) {
        if let Some(error) = &self.halted {
            return out.push(Action::Refused { origin, refusal: Refusal::Halted(error.clone()) });
        }
        if !self.durable {
            self.last += 1;
            return out.push(Action::Committed { index: self.last, command, origin });
        }
        if self.waiting.len() >= QUEUE {
            return out.push(Action::Refused { origin, refusal: Refusal::Busy });
        }
        let record = Record { index: self.last + 1, term: 1, durable: self.on_disk, command: &*command };
        let mut bytes = Vec::new();
        if let Err(why) = frame_record(&record, &mut bytes) {
            return out.push(Action::Refused { origin, refusal: Refusal::Unloggable(why) });
        }
        self.last += 1;
        self.log_bytes += bytes.len() as u64;
        self.waiting.push_back((self.last, command, origin));
        out.push(Action::Append { index: self.last, bytes });
    }

    fn durable_up_to(&mut self, index: u64, out: &mut Out<Action<O>>) {
        if self.halted.is_some() {
            return;
        }
        self.on_disk = self.on_disk.max(index.min(self.last));
        while self.waiting.front().is_some_and(|(at, ..)| *at <= self.on_disk) {
            let Some((index, command, origin)) = self.waiting.pop_front() else { break };
            out.push(Action::Committed { index, command, origin });
        }
        if self.log_bytes > self.compact_at {
            // Asked for once: the counter starts anew with the snapshot.
            self.log_bytes = 0;
            out.push(Action::TakeSnapshot);
        }
    }

    fn compact(&mut self, tables: Vec<u8>, out: &mut Out<Action<O>>) {
        if self.halted.is_some() || !self.durable {
            return;
        }
        let committed = self.waiting.front().map_or(self.last, |(index, ..)| index - 1);
        let Ok(snapshot) = frame_snapshot(&Snapshot { index: committed, term: 1, tables }) else { return };
        let mut log = Vec::new();
        for (index, command, _) in &self.waiting {
            let record = Record { index: *index, term: 1, durable: self.on_disk, command: &**command };
            // It was framed once already, so it fits.
            if frame_record(&record, &mut log).is_err() {
                return;
            }
        }
        self.log_bytes = log.len() as u64;
        self.compact_at = COMPACT_AT.max(2 * snapshot.len() as u64);
        out.push(Action::Compact { snapshot, log });
    }
}

impl<O> Machine for Solo<O> {
    type Event<'a> = Event<O>;
    type Action = Action<O>;

    fn handle(&mut self, _: Time, event: Event<O>, out: &mut Out<Action<O>>) {
        match event {
            Event::Propose { command, origin } => self.propose(command, origin, out),
            Event::Durable { index } => self.durable_up_to(index, out),
            Event::Failed { error } => {
                for (_, _, origin) in self.waiting.drain(..) {
                    out.push(Action::Refused { origin, refusal: Refusal::Halted(error.clone()) });
                }
                self.halted.get_or_insert(error);
            }
            Event::Snapshot { tables } => self.compact(tables, out),
        }
    }

    fn handle_timeout(&mut self, _: Time, _: &mut Out<Action<O>>) {}

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{read_log, read_snapshot};
    use alloc::string::ToString as _;
    use alloc::vec;
    use convoke_catalog::command::KvDelete;
    use convoke_kit::laws::{self, Effort};

    fn command(n: u64) -> Box<Command> {
        let key = n.to_string().as_str().into();
        Box::new(Command::KvDelete(KvDelete { tenancy: Default::default(), key, recurse: false, cas: None }))
    }

    fn step(solo: &mut Solo<u64>, event: Event<u64>) -> Vec<Action<u64>> {
        let mut out = Out::new();
        solo.handle(Time::ZERO, event, &mut out);
        out.drain_actions().collect()
    }

    fn committed(actions: &[Action<u64>]) -> Vec<(u64, u64)> {
        let of = |action: &Action<u64>| match action {
            Action::Committed { index, origin, .. } => Some((*index, *origin)),
            _ => None,
        };
        actions.iter().filter_map(of).collect()
    }

    #[test]
    fn nothing_commits_before_it_is_durable() {
        let mut solo = Solo::new(true, 4, 0);
        for n in 0..3 {
            let actions = step(&mut solo, Event::Propose { command: command(n), origin: n });
            assert!(matches!(&actions[..], [Action::Append { index, .. }] if *index == 5 + n));
        }
        assert_eq!(committed(&step(&mut solo, Event::Durable { index: 4 })), []);
        assert_eq!(committed(&step(&mut solo, Event::Durable { index: 6 })), [(5, 0), (6, 1)]);
        assert_eq!(committed(&step(&mut solo, Event::Durable { index: 99 })), [(7, 2)]);
    }

    #[test]
    fn without_a_disk_it_commits_at_once() {
        let mut solo = Solo::new(false, 0, 0);
        assert_eq!(committed(&step(&mut solo, Event::Propose { command: command(0), origin: 9 })), [(1, 9)]);
    }

    #[test]
    fn a_failed_write_halts_it() {
        let mut solo = Solo::new(true, 0, 0);
        step(&mut solo, Event::Propose { command: command(0), origin: 0 });
        let actions = step(&mut solo, Event::Failed { error: "no space".to_string() });
        assert!(matches!(&actions[..], [Action::Refused { origin: 0, refusal: Refusal::Halted(_) }]));
        assert!(step(&mut solo, Event::Durable { index: 1 }).is_empty());
        let actions = step(&mut solo, Event::Propose { command: command(1), origin: 1 });
        assert!(matches!(&actions[..], [Action::Refused { origin: 1, refusal: Refusal::Halted(_) }]));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut solo = Solo::new(true, 0, 0);
        for n in 0..QUEUE as u64 {
            step(&mut solo, Event::Propose { command: command(n), origin: n });
        }
        let actions = step(&mut solo, Event::Propose { command: command(0), origin: 7 });
        assert!(matches!(&actions[..], [Action::Refused { origin: 7, refusal: Refusal::Busy }]));
    }

    #[test]
    fn a_long_log_becomes_a_snapshot_with_what_still_waits_behind_it() {
        let mut solo = Solo::new(true, 0, COMPACT_AT);
        for n in 0..3 {
            step(&mut solo, Event::Propose { command: command(n), origin: n });
        }
        let actions = step(&mut solo, Event::Durable { index: 2 });
        assert!(matches!(actions.last(), Some(Action::TakeSnapshot)));
        let actions = step(&mut solo, Event::Snapshot { tables: vec![1, 2] });
        let [Action::Compact { snapshot, log }] = &actions[..] else { panic!("{actions:?}") };
        let snapshot = read_snapshot(snapshot).unwrap();
        assert_eq!((snapshot.index, snapshot.tables), (2, vec![1, 2]));
        let log = read_log(log, 2).unwrap();
        assert_eq!(log.records.iter().map(|r| r.index).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn the_laws_hold() {
        for seed in 0..8 {
            laws::check(
                seed,
                Effort::default(),
                |seed| Solo::new(seed % 2 == 0, 0, 0),
                |rng, now, solo: &mut Solo<u64>, out| {
                    let event = match rng.below(10) {
                        0..6 => Event::Propose { command: command(rng.below(9)), origin: rng.below(9) },
                        6..9 => Event::Durable { index: rng.below(400) },
                        _ if rng.one_in(20) => Event::Failed { error: "disk".to_string() },
                        _ => Event::Snapshot { tables: vec![0; 8] },
                    };
                    solo.handle(now, event, out);
                },
            );
        }
    }
}
