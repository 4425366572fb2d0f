//! The way of a change into the tables: proposed, replicated, made durable, committed.
//!
//! [`Consensus`] is [`Raft`] with what surrounds it in every server: commands are encoded and decoded, writes become
//! bytes of a log ([`crate::log`]), and who waits for an outcome is remembered. The tables themselves ([`Tables`]) belong to
//! the node, which applies what is committed. A server alone is a cluster of one voter.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_catalog::Command;
use convoke_kit::{Deadline, Machine, Out, Time};
use convoke_raft::{
    self as raft, Blob, Change, Committed, Entry, HardState, Index, Membership, Message, NodeId, Payload, Persist,
    Proposal, Raft, ReadMode, Role, Term, Ticket,
};

use crate::log::{Record, Snapshot, frame_record, frame_snapshot};
use crate::recovery::Recovered;

mod tables;
#[cfg(test)]
mod tests;

pub use convoke_raft::Refusal;
pub use tables::{Frozen, Tables};

/// What can happen. `O` travels with a request and says who wants to know.
#[derive(Debug)]
pub enum Event<O> {
    /// Put this into the log.
    Propose {
        /// Who wants it, and which of its wants it is; 0 for one that is never tried again.
        client: (u64, u64),
        /// The change.
        command: Box<Command>,
        /// Comes back with the outcome.
        origin: O,
    },
    /// Say when a read sees everything committed before now.
    Read {
        /// How to know.
        mode: ReadMode,
        /// Comes back.
        origin: O,
    },
    /// Change who belongs to the cluster.
    Change {
        /// How.
        change: Change,
        /// Comes back.
        origin: O,
    },
    /// Let another voter lead.
    Transfer {
        /// Who; `None`: whoever has most of the log.
        to: Option<NodeId>,
        /// Comes back.
        origin: O,
    },
    /// Make these the cluster; only a server without any log takes it.
    Bootstrap {
        /// At least this server.
        members: Membership,
        /// Comes back.
        origin: O,
    },
    /// Another server says something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Every [`Action::Append`] and [`Action::Compact`] up to this number is durable.
    Durable {
        /// Its number.
        number: u64,
    },
    /// A write failed: this server takes no part any more.
    Failed {
        /// For people.
        error: String,
    },
    /// There is no space for entries any more, or there is again.
    DiskFull(bool),
    /// Answers [`Action::TakeSnapshot`].
    Snapshot {
        /// As told.
        index: Index,
        /// The exported tables.
        tables: Vec<u8>,
    },
}

/// What it wants done, in order.
#[derive(Debug)]
pub enum Action<O> {
    /// Make this durable behind what was appended before, then report [`Event::Durable`].
    Append {
        /// Consecutive over all starts.
        number: u64,
        /// Its frame.
        bytes: Vec<u8>,
    },
    /// Replace snapshot and log, then report [`Event::Durable`].
    Compact {
        /// As of [`Action::Append`].
        number: u64,
        /// Frame of the snapshot; `None`: it stays.
        snapshot: Option<Vec<u8>>,
        /// Frames of the records behind it.
        log: Vec<u8>,
    },
    /// Apply this: it is committed.
    Committed {
        /// Its entry.
        index: Index,
        /// As proposed.
        client: (u64, u64),
        /// The change.
        command: Box<Command>,
        /// Of the proposal, if it was made here.
        origin: Option<O>,
    },
    /// Replace the tables.
    Installed {
        /// As of this entry.
        index: Index,
        /// The tables.
        tables: Box<Tables>,
    },
    /// Answer the read from the tables as they are after all [`Action::Committed`] so far.
    Readable {
        /// Of the read.
        origin: O,
    },
    /// Membership was changed, leadership given away.
    Done {
        /// Of the request.
        origin: O,
    },
    /// Not done, and never will be.
    Refused {
        /// Of the request.
        origin: O,
        /// The change that was refused, to be proposed elsewhere.
        command: Option<Box<Command>>,
        /// Why.
        refusal: Refusal,
    },
    /// It may or may not be applied. A retry of the same client and serial is safe.
    Unknown {
        /// Of the request.
        origin: O,
        /// The change.
        command: Option<Box<Command>>,
    },
    /// Say this. May be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Who leads, or what this server is, changed.
    Role {
        /// This server.
        role: Role,
        /// The term.
        term: Term,
        /// Who leads, if known.
        leader: Option<NodeId>,
    },
    /// Another membership is in force.
    Members {
        /// The entry that says so.
        index: Index,
        /// Who.
        members: Arc<Membership>,
    },
    /// Export the tables as they are after all [`Action::Committed`] so far, and hand them in as [`Event::Snapshot`].
    TakeSnapshot {
        /// The last entry applied.
        index: Index,
    },
    /// This server takes no part any more.
    Halted {
        /// For people.
        error: String,
    },
}

/// Everything it is built from.
#[derive(Debug)]
pub struct Boot {
    /// This server.
    pub id: NodeId,
    /// Whether anything is kept on disk.
    pub durable: bool,
    /// What the disk held; its tables are the node's.
    pub recovered: Recovered,
    /// Settings.
    pub config: raft::Config,
    /// Of all its randomness; another one at each start.
    pub seed: u64,
    /// A bug to put back; has no effect without the feature `flaws` of the machine.
    pub flaw: Option<raft::Flaw>,
}

/// A request under way.
#[derive(Debug)]
struct Waiting<O> {
    origin: O,
    command: Option<Box<Command>>,
}

/// What is on disk, once the writes under way are.
#[derive(Debug)]
struct Written {
    /// Record and snapshot numbers up to here.
    number: u64,
    /// Known to be durable.
    durable: u64,
    hard_state: HardState,
    entries: VecDeque<Arc<Entry>>,
}

/// One server's part in the cluster.
#[derive(Debug)]
pub struct Consensus<O> {
    raft: Raft,
    raft_out: Out<raft::Action>,
    durable: bool,
    waiting: BTreeMap<u64, Waiting<O>>,
    next_ticket: u64,
    written: Written,
    /// Number of the record before [`Persist::seq`] 1.
    base: u64,
    untidy: bool,
    /// The snapshot is not on disk yet.
    forced: bool,
}

impl<O> Consensus<O> {
    /// A server as the disk left it.
    ///
    /// # Errors
    ///
    /// When the log is not whole.
    pub fn new(boot: Boot) -> Result<Self, raft::RecoverError> {
        let Boot { id, durable, recovered, config, seed, flaw } = boot;
        let Recovered { raft: recovered, number, untidy, forced, .. } = recovered;
        let mut written = Written {
            number,
            durable: number,
            hard_state: recovered.hard_state,
            entries: recovered.entries.iter().cloned().collect(),
        };
        let raft = Raft::new(raft::Boot { id, recovered, config, seed, flaw })?;
        // The machine may have dropped what the snapshot overtook; the entry before its first one is kept for its term.
        let first = raft.first_index();
        let before = written.entries.len();
        written.entries.retain(|entry| {
            entry.index + 1 == first
                && raft
                    .snapshot()
                    .is_none_or(|s| s.meta.position.index != entry.index || s.meta.position.term == entry.term)
                || raft.entry(entry.index).is_some()
        });
        let untidy = untidy || written.entries.len() != before;
        Ok(Self {
            raft,
            raft_out: Out::new(),
            durable,
            waiting: BTreeMap::new(),
            next_ticket: 0,
            base: written.number,
            written,
            untidy: untidy && durable,
            forced,
        })
    }

    /// The machine inside, to look at.
    #[must_use]
    pub const fn raft(&self) -> &Raft {
        &self.raft
    }

    fn wait(&mut self, origin: O, command: Option<Box<Command>>) -> Ticket {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, Waiting { origin, command });
        Ticket(self.next_ticket)
    }

    fn run(&mut self, now: Time, event: raft::Event, out: &mut Out<Action<O>>) {
        self.tidy(out);
        let mut actions = core::mem::take(&mut self.raft_out);
        self.raft.handle(now, event, &mut actions);
        self.drain(now, &mut actions, out);
        self.raft_out = actions;
    }

    /// Translates what the machine wants. Where nothing is kept, its writes are done as soon as they are asked for.
    fn drain(&mut self, now: Time, actions: &mut Out<raft::Action>, out: &mut Out<Action<O>>) {
        loop {
            let mut kept = None;
            let batch: Vec<raft::Action> = actions.drain_actions().collect();
            for action in batch {
                match action {
                    raft::Action::Persist(write) if !self.durable => kept = Some(write.seq),
                    raft::Action::Persist(write) => self.persist(write, out),
                    action => self.translate(action, out),
                }
            }
            let Some(upto) = kept else { return };
            self.raft.handle(now, raft::Event::Persisted { upto }, actions);
        }
    }

    fn translate(&mut self, action: raft::Action, out: &mut Out<Action<O>>) {
        match action {
            // Taken before.
            raft::Action::Persist(_) => {}
            raft::Action::Send { to, message } => out.push(Action::Send { to, message }),
            raft::Action::Apply(entries) => entries.into_iter().for_each(|committed| self.committed(committed, out)),
            raft::Action::Install(snapshot) => match Tables::import(snapshot.data.as_slice()) {
                Ok(tables) => {
                    out.push(Action::Installed { index: snapshot.meta.position.index, tables: Box::new(tables) });
                }
                Err(error) => out.push(Action::Halted { error: alloc::format!("the leader's snapshot: {error}") }),
            },
            raft::Action::Readable { ticket, .. } => {
                if let Some(Waiting { origin, .. }) = self.waiting.remove(&ticket.0) {
                    out.push(Action::Readable { origin });
                }
            }
            raft::Action::Refused { ticket, refusal } => {
                if let Some(Waiting { origin, command }) = self.waiting.remove(&ticket.0) {
                    out.push(Action::Refused { origin, command, refusal });
                }
            }
            raft::Action::Unknown { ticket } => {
                if let Some(Waiting { origin, command }) = self.waiting.remove(&ticket.0) {
                    out.push(Action::Unknown { origin, command });
                }
            }
            raft::Action::Transferred { ticket } => {
                if let Some(Waiting { origin, .. }) = self.waiting.remove(&ticket.0) {
                    out.push(Action::Done { origin });
                }
            }
            raft::Action::Role { role, term, leader } => out.push(Action::Role { role, term, leader }),
            raft::Action::Members { index, members } => out.push(Action::Members { index, members }),
            raft::Action::TakeSnapshot { position } => out.push(Action::TakeSnapshot { index: position.index }),
            raft::Action::Halted { error } => out.push(Action::Halted { error }),
        }
    }

    fn committed(&mut self, committed: Committed, out: &mut Out<Action<O>>) {
        let Committed { entry, ticket } = committed;
        let waiting = ticket.and_then(|ticket| self.waiting.remove(&ticket.0));
        match &entry.payload {
            Payload::Noop => {}
            Payload::Membership(_) => {
                if let Some(Waiting { origin, .. }) = waiting {
                    out.push(Action::Done { origin });
                }
            }
            Payload::Command(command) => {
                let (origin, known) = waiting.map_or((None, None), |waiting| (Some(waiting.origin), waiting.command));
                let decoded = known.map_or_else(|| postcard::from_bytes(command.data.as_slice()).map(Box::new), Ok);
                match decoded {
                    Ok(decoded) => {
                        let client = (command.client, command.serial);
                        out.push(Action::Committed { index: entry.index, client, command: decoded, origin });
                    }
                    Err(_) => out.push(Action::Halted {
                        error: alloc::format!(
                            "entry {} of the log is a command that this version does not know; upgrade this server",
                            entry.index
                        ),
                    }),
                }
            }
        }
    }

    // ---- what is written

    fn persist(&mut self, write: Persist, out: &mut Out<Action<O>>) {
        let Persist { seq, truncate_from, hard_state, entries, snapshot } = write;
        let number = self.base + seq;
        self.written.number = number;
        if let Some(from) = truncate_from {
            while self.written.entries.back().is_some_and(|entry| entry.index >= from) {
                self.written.entries.pop_back();
            }
        }
        if let Some(snapshot) = &snapshot {
            while self.written.entries.front().is_some_and(|entry| entry.index < snapshot.log_from) {
                self.written.entries.pop_front();
            }
        }
        self.written.entries.extend(entries.iter().cloned());
        if let Some(hard_state) = hard_state {
            self.written.hard_state = hard_state;
        }
        let Some(snapshot) = snapshot else {
            let record =
                Record { number, begins: false, durable: self.written.durable, truncate_from, hard_state, entries };
            let mut bytes = Vec::new();
            return match frame_record(&record, &mut bytes) {
                Ok(()) => out.push(Action::Append { number, bytes }),
                Err(error) => out.push(Action::Halted { error }),
            };
        };
        let raft::Snapshot { meta, data } = raft::Snapshot::clone(&snapshot.snapshot);
        match frame_snapshot(&Snapshot { number, hard_state: self.written.hard_state, meta, data }) {
            Ok(bytes) => self.replace(number, Some(bytes), out),
            Err(error) => out.push(Action::Halted { error }),
        }
    }

    /// Starts the log anew with everything that is wanted of it.
    fn replace(&self, number: u64, snapshot: Option<Vec<u8>>, out: &mut Out<Action<O>>) {
        let Written { durable, hard_state, ref entries, .. } = self.written;
        let record = Record {
            number,
            begins: true,
            durable: durable.min(number.saturating_sub(1)),
            truncate_from: None,
            hard_state: Some(hard_state),
            entries: entries.iter().cloned().collect(),
        };
        let mut log = Vec::new();
        match frame_record(&record, &mut log) {
            Ok(()) => out.push(Action::Compact { number, snapshot, log }),
            Err(error) => out.push(Action::Halted { error }),
        }
    }

    /// Once, before anything is appended: nothing can stand behind a torn end.
    fn tidy(&mut self, out: &mut Out<Action<O>>) {
        if core::mem::take(&mut self.untidy) {
            let number = self.written.number;
            let framed = self.raft.snapshot().filter(|_| self.forced).map(|snapshot| {
                let raft::Snapshot { meta, data } = raft::Snapshot::clone(snapshot);
                frame_snapshot(&Snapshot { number, hard_state: self.written.hard_state, meta, data })
            });
            match framed.transpose() {
                Ok(snapshot) => self.replace(number, snapshot, out),
                Err(error) => out.push(Action::Halted { error }),
            }
        }
    }
}

/// The bytes of a command, as they are in the log.
///
/// # Errors
///
/// A text; no command of a client gets there.
pub fn encode(command: &Command) -> Result<Blob, String> {
    postcard::to_allocvec(command).map(Blob::from).map_err(|error| error.to_string())
}

impl<O> Machine for Consensus<O> {
    type Event<'a> = Event<O>;
    type Action = Action<O>;

    fn handle(&mut self, now: Time, event: Event<O>, out: &mut Out<Action<O>>) {
        let event = match event {
            Event::Propose { client: (client, serial), command, origin } => match encode(&command) {
                Ok(data) => {
                    let ticket = self.wait(origin, Some(command));
                    let command = raft::Command { client, serial, data };
                    raft::Event::Propose(alloc::vec![Proposal { ticket, command }])
                }
                Err(_) => {
                    let refusal = Refusal::TooLarge { bytes: usize::MAX, limit: self.raft.config().command_bytes };
                    return out.push(Action::Refused { origin, command: Some(command), refusal });
                }
            },
            Event::Read { mode, origin } => raft::Event::Read { ticket: self.wait(origin, None), mode },
            Event::Change { change, origin } => raft::Event::Change { ticket: self.wait(origin, None), change },
            Event::Transfer { to, origin } => raft::Event::Transfer { ticket: self.wait(origin, None), to },
            Event::Bootstrap { members, origin } => raft::Event::Bootstrap { ticket: self.wait(origin, None), members },
            Event::Message { from, message } => raft::Event::Message { from, message },
            Event::Durable { number } => {
                self.written.durable = self.written.durable.max(number.min(self.written.number));
                raft::Event::Persisted { upto: number.saturating_sub(self.base) }
            }
            Event::Failed { error } => raft::Event::PersistFailed { error },
            Event::DiskFull(full) => raft::Event::DiskFull(full),
            Event::Snapshot { index, tables } => raft::Event::SnapshotTaken { index, data: tables.into() },
        };
        self.run(now, event, out);
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action<O>>) {
        self.tidy(out);
        let mut actions = core::mem::take(&mut self.raft_out);
        self.raft.handle_timeout(now, &mut actions);
        self.drain(now, &mut actions, out);
        self.raft_out = actions;
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.raft.poll_timeout()
    }
}
