//! One server on the bench: what it hears is said by hand, and the exact actions are looked at.

use std::sync::Arc;
use std::time::Duration;

use convoke_kit::{Machine as _, Out, Time};
use convoke_raft::{
    Action, Appended, Boot, Command, Config, Entry, Event, Flaw, HardState, Index, Membership, Message, NodeId,
    Payload, Persist, Position, Raft, Recovered, Role, Term,
};

use crate::harness::{Disk, id};

/// Server 0 of a few.
pub(crate) struct Bench {
    pub(crate) raft: Raft,
    pub(crate) now: Time,
    pub(crate) disk: Disk,
    /// Emitted, not yet reported durable.
    pub(crate) pending: Vec<Persist>,
    flaw: Option<Flaw>,
    config: Config,
    starts: u64,
}

pub(crate) const fn at(term: Term, index: Index) -> Position {
    Position { term, index }
}

pub(crate) fn entry(term: Term, index: Index) -> Arc<Entry> {
    let command = Command { client: term, serial: index, data: [term as u8, index as u8][..].into() };
    Arc::new(Entry { term, index, payload: Payload::Command(command) })
}

pub(crate) fn members(voters: usize) -> Membership {
    Membership::of_voters((0..voters).map(id))
}

/// An AppendEntries with entries of these terms.
pub(crate) fn append(term: Term, prev: Position, terms: &[Term], commit: Index) -> Message {
    let entries = terms.iter().zip(prev.index.saturating_add(1)..).map(|(term, index)| entry(*term, index)).collect();
    Message::Append { term, prev, entries, commit }
}

impl Bench {
    pub(crate) fn from(recovered: Recovered, config: Config, flaw: Option<Flaw>) -> Self {
        let mut disk = Disk { hard: recovered.hard_state, snapshot: recovered.snapshot.clone(), ..Disk::default() };
        disk.entries = recovered.entries.iter().map(|entry| (entry.index, Arc::clone(entry))).collect();
        let boot = Boot { id: id(0), recovered, config: config.clone(), seed: 1, flaw };
        let raft = Raft::new(boot).expect("it is whole");
        let mut bench = Self { raft, now: Time::ZERO, disk, pending: Vec::new(), flaw, config, starts: 1 };
        bench.wait(Duration::ZERO);
        bench
    }

    /// One of `voters`, with a log of these terms; the first entry is the membership. Its patience with a leader of an
    /// earlier start is over, its election timer is not.
    pub(crate) fn new(voters: usize, terms: &[Term], flaw: Option<Flaw>) -> Self {
        let mut bench = Self::from(logged(&members(voters), terms), Config::default(), flaw);
        bench.patient();
        bench
    }

    /// Lets an election timeout pass without campaigning.
    pub(crate) fn patient(&mut self) {
        self.now = self.now + self.config.election_timeout;
    }

    /// As after a power cut: what was not written is gone.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        self.pending.clear();
        let (recovered, config) = (self.disk.recovered(), self.config.clone());
        let boot = Boot { id: id(0), recovered, config, seed: self.starts, flaw: self.flaw };
        self.raft = Raft::new(boot).expect("it is whole");
        self.wait(Duration::ZERO);
        self.patient();
    }

    fn note(&mut self, out: &mut Out<Action>) -> Vec<Action> {
        let actions: Vec<Action> = out.drain_actions().collect();
        let writes = actions.iter().filter_map(|action| match action {
            Action::Persist(write) => Some(write.clone()),
            _ => None,
        });
        self.pending.extend(writes);
        actions
    }

    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        let mut out = Out::new();
        self.raft.handle(self.now, event, &mut out);
        self.note(&mut out)
    }

    pub(crate) fn hear(&mut self, from: usize, message: Message) -> Vec<Action> {
        self.event(Event::Message { from: id(from), message })
    }

    pub(crate) fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now = self.now + time;
        let mut out = Out::new();
        self.raft.handle_timeout(self.now, &mut out);
        self.note(&mut out)
    }

    /// Waits for the next timer.
    pub(crate) fn next_timer(&mut self) -> Vec<Action> {
        let at = self.raft.poll_timeout().expect("a timer runs").at;
        self.wait(at.since(self.now))
    }

    /// The writes up to `seq` reach the disk and are reported.
    pub(crate) fn persisted(&mut self, seq: u64) -> Vec<Action> {
        let done: Vec<Persist> = self.pending.extract_if(.., |write| write.seq <= seq).collect();
        for write in &done {
            self.disk.write(write);
        }
        self.event(Event::Persisted { upto: seq })
    }

    pub(crate) fn persist_all(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(seq) = self.pending.last().map(|write| write.seq) {
            actions.extend(self.persisted(seq));
        }
        actions
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.pending.last().expect("a write is under way").seq
    }

    /// Waits until it asks for votes in earnest, helped by the pre-votes of others.
    pub(crate) fn campaign(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.raft.role() == Role::Follower {
            actions = self.next_timer();
        }
        assert_eq!(self.raft.role(), Role::PreCandidate);
        for from in 1..self.raft.membership().1.voter_count() {
            if self.raft.role() == Role::PreCandidate {
                let (term, asked) = (self.raft.term(), self.raft.term() + 1);
                actions = self.hear(from, Message::PreVoteReply { term, asked, granted: true });
            }
        }
        assert_eq!(self.raft.role(), Role::Candidate);
        actions
    }

    /// Makes it leader; its no-op is written, and not yet acknowledged by others.
    pub(crate) fn lead(&mut self) {
        self.campaign();
        self.persist_all();
        for from in 1..self.raft.membership().1.voter_count() {
            let term = self.raft.term();
            self.hear(from, Message::VoteReply { term, asked: term, granted: true });
        }
        assert_eq!(self.raft.role(), Role::Leader);
        self.persist_all();
    }

    pub(crate) fn accept(&mut self, from: usize, matched: Index) -> Vec<Action> {
        let term = self.raft.term();
        self.hear(from, Message::AppendReply { term, outcome: Appended::Accepted { matched } })
    }
}

/// A disk with a log of these terms; the first entry is the membership.
pub(crate) fn logged(members: &Membership, terms: &[Term]) -> Recovered {
    let mut entries: Vec<_> = terms.iter().zip(1..).map(|(term, index)| entry(*term, index)).collect();
    if let Some(first) = entries.first_mut() {
        let payload = Payload::Membership(Arc::new(members.clone()));
        *first = Arc::new(Entry { payload, ..Entry::clone(first) });
    }
    let term = terms.last().copied().unwrap_or(0);
    Recovered { hard_state: HardState { term, vote: None, commit: 0 }, snapshot: None, entries }
}

/// What is said to whom.
pub(crate) fn said(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let of = |action: &Action| match action {
        Action::Send { to, message } => Some((*to, message.clone())),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// Who is granted a vote.
pub(crate) fn grants(actions: &[Action]) -> Vec<(NodeId, Term)> {
    let of = |(to, message)| match message {
        Message::VoteReply { asked, granted: true, .. } => Some((to, asked)),
        _ => None,
    };
    said(actions).into_iter().filter_map(of).collect()
}

/// Who is granted a pre-vote.
pub(crate) fn pre_grants(actions: &[Action]) -> Vec<NodeId> {
    let of = |(to, message)| matches!(message, Message::PreVoteReply { granted: true, .. }).then_some(to);
    said(actions).into_iter().filter_map(of).collect()
}

/// What is acknowledged.
pub(crate) fn acks(actions: &[Action]) -> Vec<Index> {
    let of = |(_, message)| match message {
        Message::AppendReply { outcome: Appended::Accepted { matched }, .. } => Some(matched),
        _ => None,
    };
    said(actions).into_iter().filter_map(of).collect()
}
