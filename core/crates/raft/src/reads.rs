//! Linearizable reads without a log entry (dissertation, section 6.4).
//!
//! A read may be answered from a state that contains everything committed when it came. The leader knows that index, if
//! it still leads: a majority confirms it by answering a round that was sent *after* the read came, or the lease says so.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use convoke_kit::Time;

use crate::event::{Action, ReadMode, Refusal, Ticket};
use crate::flaw::Flaw;
use crate::message::{Message, ReadId};
use crate::quorum::{majority, reached_by};
use crate::raft::{Actions, Raft};
use crate::timers::Timer;
use crate::types::{Index, NodeId, Term};

/// Who wants to know.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Own(Ticket),
    Follower(NodeId, ReadId),
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    asker: Asker,
    /// Committed when it came.
    index: Index,
    /// The round that must be answered; with the term its name is unique.
    round: u64,
}

/// Reads that wait. Together they are bounded by [`crate::Config::reads`].
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    /// Leader: for the first entry of the reign to be committed.
    early: VecDeque<Asker>,
    /// Leader: for a round.
    waiting: VecDeque<Waiting>,
    /// Follower: for the leader.
    asked: BTreeMap<ReadId, (Ticket, Time)>,
    /// Confirmed, but not yet applied here.
    confirmed: Vec<(Index, Ticket)>,
    start: u64,
    count: u64,
}

impl Reads {
    pub(crate) const fn new(start: u64) -> Self {
        Self {
            early: VecDeque::new(),
            waiting: VecDeque::new(),
            asked: BTreeMap::new(),
            confirmed: Vec::new(),
            start,
            count: 0,
        }
    }

    fn len(&self) -> usize {
        self.early.len() + self.waiting.len() + self.asked.len() + self.confirmed.len()
    }

    /// Answers what is confirmed and applied.
    pub(crate) fn release(&mut self, applied: Index, out: &mut Actions) {
        self.confirmed.retain(|(index, ticket)| {
            let ready = *index <= applied;
            if ready {
                out.push(Action::Readable { ticket: *ticket, index: applied });
            }
            !ready
        });
    }

    pub(crate) fn refuse_all(&mut self, refusal: &Refusal, out: &mut Actions) {
        for (_, ticket) in self.confirmed.drain(..) {
            out.push(Action::Refused { ticket, refusal: refusal.clone() });
        }
    }
}

impl Raft {
    pub(crate) fn read(&mut self, now: Time, ticket: Ticket, mode: ReadMode, out: &mut Actions) {
        if self.reads.len() >= self.config.reads {
            return out.push(Action::Refused { ticket, refusal: Refusal::Busy });
        }
        if self.lead.is_some() {
            if mode == ReadMode::Lease && self.lease_until(now).is_some() {
                self.stats.lease_reads += 1;
                return self.reads.confirmed.push((self.commit, ticket));
            }
            return self.read_by_round(now, Asker::Own(ticket), out);
        }
        match self.leader {
            Some(leader) if leader != self.id => {
                let id = ReadId { start: self.reads.start, count: self.reads.count };
                self.reads.count += 1;
                let expires = now + self.config.election_timeout;
                self.reads.asked.insert(id, (ticket, expires));
                if self.reads.asked.len() == 1 {
                    self.timers.set(Timer::Reads, expires);
                }
                self.send(leader, Message::Read { term: self.term, id }, out);
            }
            _ if self.flaws.has(Flaw::ReadWithoutLeader) => self.reads.confirmed.push((self.applied, ticket)),
            _ => out.push(Action::Refused { ticket, refusal: Refusal::NoLeader }),
        }
    }

    fn read_by_round(&mut self, now: Time, asker: Asker, out: &mut Actions) {
        // Before that the commit index may be that of a leader long gone (section 8).
        if !self.has_committed_in_term() && !self.flaws.has(Flaw::ReadBeforeOwnCommit) {
            return self.reads.early.push_back(asker);
        }
        let confirmed = self.confirmed_round();
        let Some(lead) = &self.lead else { return };
        // Rounds on their way were sent before the read came, so that their answers say nothing about it. One that is on
        // its way is waited for: reads that come meanwhile share the next one.
        let round = lead.round + 1;
        let send_now = confirmed >= lead.round;
        self.reads.waiting.push_back(Waiting { asker, index: self.commit, round });
        if send_now {
            self.heartbeat(now, out);
        }
    }

    /// The last round that a majority answered.
    fn confirmed_round(&self) -> u64 {
        let Some(lead) = &self.lead else { return 0 };
        let round = |id: &NodeId| {
            if *id == self.id {
                lead.round
            } else {
                lead.peers.get(id).and_then(|peer| peer.acked).map_or(0, |(round, _)| round)
            }
        };
        let short = self.flaws.has(Flaw::ReadQuorumShort);
        let enough = |voters| if short { majority(voters).saturating_sub(1).max(1) } else { majority(voters) };
        reached_by(self.voters().iter().map(round), enough).unwrap_or(0)
    }

    /// Leader, at the end of each call: what is confirmed now, and whether another round is wanted.
    pub(crate) fn settle_reads(&mut self, now: Time, out: &mut Actions) {
        if self.has_committed_in_term() {
            for asker in core::mem::take(&mut self.reads.early) {
                self.read_by_round(now, asker, out);
            }
        }
        let confirmed = self.confirmed_round();
        while let Some(waiting) = self.reads.waiting.front().copied()
            && waiting.round <= confirmed
        {
            self.reads.waiting.pop_front();
            self.stats.quorum_reads += 1;
            self.answer(waiting.asker, Some(waiting.index), out);
        }
        let wanted = self.reads.waiting.back().map_or(0, |waiting| waiting.round);
        if self.lead.as_ref().is_some_and(|lead| wanted > lead.round && confirmed >= lead.round) {
            self.heartbeat(now, out);
            // Alone, it is its own majority.
            if self.history.current().is_lone_voter(self.id) {
                self.settle_reads(now, out);
            }
        }
    }

    fn answer(&mut self, asker: Asker, index: Option<Index>, out: &mut Actions) {
        match (asker, index) {
            (Asker::Follower(to, id), index) => self.send(to, Message::ReadReply { term: self.term, id, index }, out),
            (Asker::Own(ticket), Some(index)) => self.reads.confirmed.push((index, ticket)),
            (Asker::Own(ticket), None) => {
                let refusal = self.not_leader();
                out.push(Action::Refused { ticket, refusal });
            }
        }
    }

    /// Reads that wait for this leader, or for this server to stay leader, wait in vain.
    pub(crate) fn leader_changed(&mut self, out: &mut Actions) {
        if !self.flaws.has(Flaw::ReadsOutliveReign) {
            let waiting = core::mem::take(&mut self.reads.waiting);
            let early = core::mem::take(&mut self.reads.early);
            for asker in waiting.iter().map(|waiting| waiting.asker).chain(early) {
                match asker {
                    Asker::Own(ticket) => out.push(Action::Refused { ticket, refusal: Refusal::NoLeader }),
                    Asker::Follower(to, id) => {
                        self.send(to, Message::ReadReply { term: self.term, id, index: None }, out);
                    }
                }
            }
        }
        if !self.flaws.has(Flaw::ReadIdReused) {
            for (_, (ticket, _)) in core::mem::take(&mut self.reads.asked) {
                out.push(Action::Refused { ticket, refusal: Refusal::NoLeader });
            }
            self.timers.stop(Timer::Reads);
        }
    }

    // ---- followers

    pub(crate) fn on_read_asked(&mut self, now: Time, from: NodeId, id: ReadId, out: &mut Actions) {
        if self.lead.is_none() || self.reads.len() >= self.config.reads {
            return self.send(from, Message::ReadReply { term: self.term, id, index: None }, out);
        }
        self.read_by_round(now, Asker::Follower(from, id), out);
    }

    pub(crate) fn on_read_reply(&mut self, term: Term, id: ReadId, index: Option<Index>, out: &mut Actions) {
        if term != self.term && !self.flaws.has(Flaw::ReadIdReused) {
            return;
        }
        let Some((ticket, _)) = self.reads.asked.remove(&id) else { return };
        match index {
            Some(index) => self.reads.confirmed.push((index, ticket)),
            None => out.push(Action::Refused { ticket, refusal: Refusal::NoLeader }),
        }
    }

    pub(crate) fn expire_reads(&mut self, now: Time, out: &mut Actions) {
        // In order of their numbers, and so of their deadlines.
        while let Some((id, (ticket, expires))) = self.reads.asked.first_key_value().map(|(id, asked)| (*id, *asked)) {
            if expires > now {
                return self.timers.set(Timer::Reads, expires);
            }
            self.reads.asked.remove(&id);
            out.push(Action::Refused { ticket, refusal: Refusal::NoLeader });
        }
    }
}
