//! The machine: its parts, which event goes where, and what every call ends with.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_kit::{Deadline, Machine, Out, Rng, Time};

use crate::config::Config;
use crate::event::{Action, Committed, Event, Refusal, Role, Ticket};
use crate::flaw::{Flaw, Flaws};
use crate::log::Log;
use crate::members::{History, Membership};
use crate::message::Message;
use crate::progress::Progress;
use crate::reads::Reads;
use crate::recover::{Boot, RecoverError, recover};
use crate::replication::Lead;
use crate::snapshot::Incoming;
use crate::stats::Stats;
use crate::timers::{Timer, Timers};
use crate::types::{Entry, HardState, Index, MAX_LEAP, NodeId, Payload, Position, Snapshot, Term};
use crate::writes::Writes;

pub(crate) type Actions = Out<Action>;

/// One server of a cluster.
///
/// Raft as in the paper (Ongaro and Ousterhout, extended version) and Ongaro's dissertation.
///
/// # Contract
///
/// Built from a [`Boot`], with what the disk held. Starts with the first call of [`Machine::handle`] or
/// [`Machine::handle_timeout`]. A node without a log waits until it is made part of a cluster: by [`Event::Bootstrap`], or
/// by a leader that was told to add it.
///
/// * **Everything it emits is to be done unconditionally.** What depends on a write is emitted when that write was reported
///   durable ([`Event::Persisted`]), so that no driver can get the order wrong. `ordering.md` beside this file proves why
///   that is enough.
/// * **Time** is the driver's monotonic clock, and the `now` of an event must be read after the event arrived: a read
///   is judged as of that `now`. A clock that goes back is taken for one that stands.
/// * **Tickets**: each request is answered once: [`Event::Propose`], [`Event::Change`] and [`Event::Bootstrap`] by
///   [`Action::Apply`] with the ticket, [`Action::Refused`] or [`Action::Unknown`]; reads by [`Action::Readable`] or
///   [`Action::Refused`]; transfers by [`Action::Transferred`] or [`Action::Refused`].
/// * **Reads without an event**: [`Raft::lease_until`], published after each call *before* its actions are carried out,
///   lets readers answer alone: load the view, then load the lease, then read the clock; before the lease's end the view
///   was current when it was loaded.
/// * **Bounds**: proposals that are not committed, reads that wait, writes and messages under way, members, snapshot size:
///   see [`Config`], [`crate::members::MAX_MEMBERS`], [`crate::writes::MAX_WRITES`]. At a bound requests are refused, and
///   messages are dropped as if the network had lost them. The log in memory is bounded by the snapshots: the driver must
///   answer [`Action::TakeSnapshot`].
///
/// It never touches a disk, never retries a proposal, never reads a command, and never resumes after a failed write.
#[derive(Debug)]
pub struct Raft {
    pub(crate) id: NodeId,
    pub(crate) config: Config,
    pub(crate) flaws: Flaws,
    pub(crate) rng: Rng,
    started: bool,
    pub(crate) now: Time,
    halted: Option<String>,
    pub(crate) disk_full: bool,

    // What is persisted, as it is in memory.
    pub(crate) term: Term,
    pub(crate) vote: Option<NodeId>,
    pub(crate) log: Log,
    pub(crate) history: History,
    pub(crate) writes: Writes,

    pub(crate) commit: Index,
    pub(crate) applied: Index,

    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    /// When a leader was last heard; the start counts, because an earlier start may have heard one.
    pub(crate) heard: Option<Time>,
    pub(crate) following: Following,
    pub(crate) election: Election,
    pub(crate) lead: Option<Box<Lead>>,
    pub(crate) incoming: Option<Incoming>,
    pub(crate) reads: Reads,
    /// Proposals made here in this reign, by index.
    pub(crate) tickets: VecDeque<(Index, Ticket)>,
    /// A snapshot was asked for at this index.
    asked_snapshot: Index,

    pub(crate) timers: Timers,
    pub(crate) stats: Stats,
    told: (Role, Term, Option<NodeId>),
    told_members: (Index, Arc<Membership>),
}

/// What a follower knows of its leader's log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Following {
    /// The own log equals the leader's up to here.
    pub(crate) verified: Index,
    /// What the leader was told.
    pub(crate) acked: Index,
    /// An append waits for its answer.
    pub(crate) owes: bool,
}

/// The own candidacy, and the vote that is promised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Election {
    pub(crate) answers: BTreeMap<NodeId, bool>,
    /// The leader wants it.
    pub(crate) transfer: bool,
    /// The others were asked.
    pub(crate) asked: bool,
    /// Granted in memory, to be told when it is durable.
    pub(crate) owed: Option<NodeId>,
}

impl Raft {
    /// A server as the disk left it.
    ///
    /// # Errors
    ///
    /// When what the disk held is not whole; the server must not start.
    pub fn new(boot: Boot) -> Result<Self, RecoverError> {
        let Boot { id, recovered, config, seed, flaw } = boot;
        let flaws = Flaws::of(flaw);
        let start = recover(recovered, flaws)?;
        let mut rng = Rng::new(seed);
        let read_start = if flaws.has(Flaw::ReadIdReused) { 0 } else { rng.next_u64() };
        let HardState { term, vote, commit } = start.hard;
        Ok(Self {
            id,
            config,
            flaws,
            rng,
            started: false,
            now: Time::ZERO,
            halted: None,
            disk_full: false,
            term,
            vote,
            writes: Writes::new(start.log.last_index(), start.hard),
            commit,
            applied: start.log.snapshot_position().index,
            role: Role::Follower,
            leader: None,
            heard: None,
            following: Following::default(),
            election: Election::default(),
            lead: None,
            incoming: None,
            reads: Reads::new(read_start),
            tickets: VecDeque::new(),
            asked_snapshot: 0,
            timers: Timers::default(),
            stats: Stats::default(),
            told: (Role::Follower, term, None),
            told_members: (0, Arc::default()),
            log: start.log,
            history: start.history,
        })
    }

    // ---- what others may ask

    /// This server.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// What it is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Highest term known.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// Who leads the term, if known.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Entries up to here are committed.
    #[must_use]
    pub const fn commit(&self) -> Index {
        self.commit
    }

    /// Entries up to here were handed out by [`Action::Apply`] or are in a snapshot that was.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// The last entry of the log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The log is on disk up to here.
    #[must_use]
    pub const fn durable(&self) -> Index {
        self.writes.durable()
    }

    /// Writes under way.
    #[must_use]
    pub fn writes_in_flight(&self) -> usize {
        self.writes.in_flight()
    }

    /// An entry, unless it was compacted or is not there yet.
    #[must_use]
    pub fn entry(&self, index: Index) -> Option<&Arc<Entry>> {
        self.log.get(index)
    }

    /// The first index that [`Raft::entry`] may have.
    #[must_use]
    pub const fn first_index(&self) -> Index {
        self.log.base().index + 1
    }

    /// The last snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.log.snapshot()
    }

    /// Who belongs to the cluster, committed or not, and the entry that says so.
    #[must_use]
    pub fn membership(&self) -> (Index, &Arc<Membership>) {
        (self.history.index(), self.history.current())
    }

    /// Whom it voted for in this term.
    #[must_use]
    pub const fn vote(&self) -> Option<NodeId> {
        self.vote
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// When a leader was last heard; `None` after the first bootstrap, until one is.
    #[must_use]
    pub const fn heard(&self) -> Option<Time> {
        self.heard
    }

    /// Of a leader: what each other member has on disk, and when it was last heard of. For autopilot and operators.
    #[must_use]
    pub fn peers(&self) -> Vec<(NodeId, Index, Option<Time>)> {
        let of = |(id, progress): (&NodeId, &Progress)| (*id, progress.matched, progress.heard);
        self.lead.as_ref().map_or_else(Vec::new, |lead| lead.peers.iter().map(of).collect())
    }

    // ---- what all parts use

    pub(crate) fn send(&mut self, to: NodeId, message: Message, out: &mut Actions) {
        self.stats.messages_out += 1;
        if let Message::Append { entries, .. } = &message {
            self.stats.entries_out += entries.len() as u64;
        }
        out.push(Action::Send { to, message });
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.history.current().is_voter(self.id)
    }

    pub(crate) fn voters(&self) -> Vec<NodeId> {
        let members = self.history.current();
        if self.flaws.has(Flaw::LearnersCount) { members.ids().collect() } else { members.voters().collect() }
    }

    /// Puts an entry at the end of the log.
    pub(crate) fn append(&mut self, entry: Arc<Entry>) {
        self.history.note(&entry);
        self.writes.append(Arc::clone(&entry));
        self.log.push(entry);
    }

    /// Leader: makes an entry of this term.
    pub(crate) fn make(&mut self, payload: Payload) -> Index {
        let index = self.log.last_index() + 1;
        let entry = Arc::new(Entry { term: self.term, index, payload });
        if let Some(lead) = &mut self.lead {
            lead.uncommitted += entry.weight();
        }
        self.append(entry);
        index
    }

    /// Enters a term, or stays in it, as a follower of `leader`.
    pub(crate) fn follow(&mut self, now: Time, term: Term, leader: Option<NodeId>, out: &mut Actions) {
        let changes = term > self.term || leader != self.leader || self.role != Role::Follower;
        if term > self.term {
            self.term = term;
            self.vote = None;
            self.election.owed = None;
            self.writes.promise();
        }
        if changes {
            self.following = Following { verified: self.commit, ..Following::default() };
            self.leader_changed(out);
        }
        self.leader = leader;
        if self.role != Role::Follower {
            self.role = Role::Follower;
            self.election.answers.clear();
            self.stop_leading(out);
            for timer in [Timer::Heartbeat, Timer::Quorum, Timer::Disk, Timer::Transfer] {
                self.timers.stop(timer);
            }
        }
        self.await_leader(now);
    }

    /// No longer leads: who waits for it is told.
    fn stop_leading(&mut self, out: &mut Actions) {
        let Some(lead) = self.lead.take() else { return };
        self.forget_tickets(out);
        if let Some(transfer) = lead.transfer {
            out.push(Action::Transferred { ticket: transfer.ticket });
        }
    }

    fn forget_tickets(&mut self, out: &mut Actions) {
        for (_, ticket) in self.tickets.drain(..) {
            out.push(Action::Unknown { ticket });
        }
    }

    fn halt(&mut self, error: String, out: &mut Actions) {
        if self.halted.is_some() {
            return;
        }
        if self.flaws.has(Flaw::FailureForgotten) {
            return;
        }
        let term = self.term;
        self.follow(self.now, term, None, out);
        self.forget_tickets(out);
        self.reads.refuse_all(&Refusal::Halted { error: error.clone() }, out);
        self.role = Role::Halted;
        self.incoming = None;
        self.election = Election::default();
        self.timers.clear();
        self.tell_role(out);
        out.push(Action::Halted { error: error.clone() });
        self.halted = Some(error);
    }

    // ---- beginning

    fn start(&mut self, now: Time, out: &mut Actions) {
        self.started = true;
        self.heard = Some(now);
        self.await_leader(now);
        // Alone it need not wait, unless it became so by an entry that it does not know to be committed: whoever led then may
        // lead on until it knows, by a lease that this server granted in an earlier life.
        // Before the first entry there was no membership, and so no leader.
        let settled = self.history.index() <= self.commit.max(1) || self.flaws.has(Flaw::LoneVoterHurries);
        if settled && self.history.current().is_lone_voter(self.id) {
            self.stand(now, out);
        }
    }

    // ---- what every call ends with

    /// Draws all conclusions: who may be told what, what is committed, what is applied, what is sent next.
    fn settle(&mut self, now: Time, out: &mut Actions) {
        if self.role == Role::Halted {
            return;
        }
        self.keep_election_promises(now, out);
        if self.lead.is_some() {
            self.advance_commit();
        }
        self.apply(out);
        self.leave_if_removed(now, out);
        if self.lead.is_some() {
            self.sync_peers();
            self.replicate(out);
            self.drive_transfer(out);
            self.settle_reads(now, out);
            self.watch_over(now);
        } else {
            self.acknowledge(out);
        }
        self.reads.release(self.applied, out);
        self.ask_for_snapshot(out);
        self.tell_role(out);
        let (index, members) = (self.history.index(), Arc::clone(self.history.current()));
        if self.told_members.0 != index || !Arc::ptr_eq(&self.told_members.1, &members) {
            self.told_members = (index, Arc::clone(&members));
            out.push(Action::Members { index, members });
            // Who became a voter waits for a leader from now on; who is one no longer does not.
            if self.role == Role::Follower {
                self.await_leader(now);
            }
        }
        let hard = HardState { term: self.term, vote: self.vote, commit: self.commit.min(self.log.last_index()) };
        if let Some(write) = self.writes.flush(now, hard) {
            out.push(Action::Persist(write));
            if self.lead.is_some() {
                self.watch_over(now);
            }
        }
    }

    fn tell_role(&mut self, out: &mut Actions) {
        let told = (self.role, self.term, self.leader);
        if told != self.told {
            self.told = told;
            out.push(Action::Role { role: self.role, term: self.term, leader: self.leader });
        }
    }

    /// Hands out what is committed and on the own disk.
    fn apply(&mut self, out: &mut Actions) {
        let upto = self.commit.min(self.writes.durable());
        if self.applied < self.log.base().index
            && let Some(snapshot) = self.log.snapshot()
            && snapshot.meta.position.index <= upto
        {
            self.applied = snapshot.meta.position.index;
            out.push(Action::Install(Arc::clone(snapshot)));
        }
        if self.applied >= upto || self.applied < self.log.base().index {
            return;
        }
        let mut batch = Vec::new();
        while self.applied < upto
            && let Some(entry) = self.log.get(self.applied + 1)
        {
            self.applied += 1;
            // A snapshot stood for its entry.
            while self.tickets.front().is_some_and(|(index, _)| *index < self.applied)
                && let Some((_, ticket)) = self.tickets.pop_front()
            {
                out.push(Action::Unknown { ticket });
            }
            let mine = self.tickets.front().is_some_and(|(index, _)| *index == self.applied);
            let ticket = if mine { self.tickets.pop_front().map(|(_, ticket)| ticket) } else { None };
            batch.push(Committed { entry: Arc::clone(entry), ticket });
        }
        if !batch.is_empty() {
            out.push(Action::Apply(batch));
        }
    }

    fn ask_for_snapshot(&mut self, out: &mut Actions) {
        let since = self.log.snapshot_position().index.max(self.asked_snapshot);
        let entries = self.applied.saturating_sub(since);
        // Half of it at least: else the rest alone would ask again with every entry.
        let heavy = self.log.bytes() >= self.config.snapshot_bytes && entries * 2 > self.log.len() as u64;
        if (entries >= self.config.snapshot_threshold.max(1) || heavy)
            && let Some(term) = self.log.term_at(self.applied)
        {
            self.asked_snapshot = self.applied;
            out.push(Action::TakeSnapshot { position: Position { term, index: self.applied } });
        }
    }

    // ---- hearing

    fn message(&mut self, now: Time, from: NodeId, message: Message, out: &mut Actions) {
        self.stats.messages_in += 1;
        let term = message.term();
        if from == self.id || !message.is_sane() || term.saturating_sub(self.term) > MAX_LEAP {
            self.stats.dropped_absurd += 1;
            return;
        }
        // Entering a term is a write.
        if term > self.term && self.writes.is_full() {
            self.stats.dropped_disk += 1;
            return;
        }
        match message {
            Message::PreVote { term, last } => self.on_pre_vote(now, from, term, last, out),
            Message::PreVoteReply { term, asked, granted } => {
                self.on_pre_vote_reply(now, from, (term, asked), granted, out);
            }
            Message::Vote { term, last, transfer } => self.on_vote(now, from, (term, last), transfer, out),
            Message::VoteReply { term, asked, granted } => self.on_vote_reply(now, from, (term, asked), granted, out),
            Message::Append { term, .. } | Message::Heartbeat { term, .. } | Message::Chunk { term, .. }
                if term < self.term && !self.flaws.has(Flaw::OldRoundsCount) =>
            {
                // Its time is over, and from this it learns so. It is no answer to what it sent: the sender may lead this
                // very term by the time it arrives, and would take an answer for one to what it sent in this term.
                self.send(from, Message::Outdated { term: self.term }, out);
            }
            Message::Append { term, prev, entries, commit } => {
                if self.hear(now, from, term, out) {
                    self.on_append(from, prev, &entries, commit, out);
                }
            }
            Message::Heartbeat { term, round, commit } => {
                if self.hear(now, from, term, out) || term < self.term {
                    self.on_heartbeat(from, round, commit, out);
                }
            }
            Message::Chunk { term, meta, offset, data } => {
                let silent = self.flaws.has(Flaw::ChunksAreSilence) && term == self.term;
                if silent || self.hear(now, from, term, out) {
                    self.on_chunk(from, meta, offset, &data, out);
                }
            }
            Message::Outdated { term } => self.learn(now, term, out),
            Message::AppendReply { term, outcome } => {
                if self.answers(now, term, out) {
                    self.on_append_reply(now, from, outcome);
                }
            }
            Message::HeartbeatReply { term, round, matched, received } => {
                if self.answers(now, term, out) {
                    self.on_heartbeat_reply(now, from, round, (matched, received));
                }
            }
            Message::ChunkReply { term, position, wanted } => {
                if self.answers(now, term, out) {
                    self.on_chunk_reply(now, from, position, wanted);
                }
            }
            Message::TimeoutNow { term } => self.on_timeout_now(now, from, term, out),
            Message::Read { term, id } => {
                self.learn(now, term, out);
                self.on_read_asked(now, from, id, out);
            }
            Message::ReadReply { term, id, index } => {
                self.learn(now, term, out);
                self.on_read_reply(term, id, index, out);
            }
        }
    }

    /// A higher term ends the own one, whoever says so (section 5.1).
    ///
    /// A follower's patience goes on meanwhile: it begins anew when a leader is heard or a vote given (section 5.2). Otherwise who
    /// cannot win could, by campaigning, keep those from standing who can.
    pub(crate) fn learn(&mut self, now: Time, term: Term, out: &mut Actions) {
        if term > self.term {
            let waits = if self.role == Role::Follower { self.timers.get(Timer::Election) } else { None };
            self.follow(now, term, None, out);
            if waits.is_some() {
                self.timers.put(Timer::Election, waits);
            }
        }
    }

    /// An answer to a leader. Says whether it is for this one in this term: those of other terms are from the past.
    fn answers(&mut self, now: Time, term: Term, out: &mut Actions) -> bool {
        self.learn(now, term, out);
        term == self.term && self.lead.is_some()
    }

    /// Somebody claims to lead. Says whether it does.
    fn hear(&mut self, now: Time, from: NodeId, term: Term, out: &mut Actions) -> bool {
        if term < self.term {
            return false;
        }
        if term == self.term && (self.lead.is_some() || self.leader.is_some_and(|leader| leader != from)) {
            // Two leaders of one term: election safety (figure 3) is broken at somebody's.
            self.stats.dropped_impossible += 1;
            return false;
        }
        self.follow(now, term, Some(from), out);
        self.heard = Some(now);
        true
    }
}

impl Machine for Raft {
    type Event<'a> = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Actions) {
        let now = self.now.max(now);
        self.now = now;
        if let Some(error) = &self.halted {
            let refusal = Refusal::Halted { error: error.clone() };
            return refuse(event, &refusal, out);
        }
        if !self.started {
            self.start(now, out);
        }
        match event {
            Event::Message { from, message } => self.message(now, from, message, out),
            Event::Persisted { upto } => {
                self.writes.persisted(upto);
            }
            Event::PersistFailed { error } => self.halt(error, out),
            Event::DiskFull(full) => {
                self.disk_full = full && !self.flaws.has(Flaw::FullDiskIgnored);
                // A reign begins with an entry.
                if self.disk_full && matches!(self.role, Role::PreCandidate | Role::Candidate) {
                    self.follow(now, self.term, None, out);
                }
            }
            Event::Bootstrap { ticket, members } => self.bootstrap(now, ticket, members, out),
            Event::Propose(proposals) => self.propose(proposals, out),
            Event::Read { ticket, mode } => self.read(now, ticket, mode, out),
            Event::Change { ticket, change } => self.change(ticket, change, out),
            Event::Transfer { ticket, to } => self.transfer(now, ticket, to, out),
            Event::SnapshotTaken { index, data } => self.snapshot_taken(index, data),
        }
        self.settle(now, out);
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Actions) {
        let now = self.now.max(now);
        self.now = now;
        if self.role == Role::Halted {
            return;
        }
        let mut idle = self.started;
        if !self.started {
            self.start(now, out);
        }
        if self.timers.fired(Timer::Disk, now) {
            idle = false;
            self.disk_stalled(now, out);
        }
        if self.timers.fired(Timer::Quorum, now) {
            idle = false;
            self.check_quorum(now, out);
        }
        if self.timers.fired(Timer::Transfer, now) {
            idle = false;
            self.abort_transfer(out);
        }
        if self.timers.fired(Timer::Reads, now) {
            idle = false;
            self.expire_reads(now, out);
        }
        if self.timers.fired(Timer::Heartbeat, now) {
            idle = false;
            if self.lead.is_some() {
                self.heartbeat(now, out);
            } else {
                self.ask_again(now, out);
            }
        }
        if self.timers.fired(Timer::Election, now) {
            idle = false;
            self.election_timeout(now, out);
        }
        if !idle {
            self.settle(now, out);
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        if !self.started {
            return Some(Deadline { at: Time::ZERO, reason: "start" });
        }
        self.timers.next()
    }
}

/// What a halted server says.
fn refuse(event: Event, refusal: &Refusal, out: &mut Actions) {
    let mut say = |ticket| out.push(Action::Refused { ticket, refusal: refusal.clone() });
    match event {
        Event::Propose(proposals) => proposals.into_iter().for_each(|proposal| say(proposal.ticket)),
        Event::Bootstrap { ticket, .. }
        | Event::Read { ticket, .. }
        | Event::Change { ticket, .. }
        | Event::Transfer { ticket, .. } => say(ticket),
        Event::Message { .. }
        | Event::Persisted { .. }
        | Event::PersistFailed { .. }
        | Event::DiskFull(_)
        | Event::SnapshotTaken { .. } => {}
    }
}
