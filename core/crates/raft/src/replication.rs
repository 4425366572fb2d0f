//! The leader: its reign, its rounds, sending entries, counting who has them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use convoke_kit::Time;

use crate::event::{Action, Proposal, Refusal, Role};
use crate::flaw::Flaw;
use crate::message::{Appended, MAX_BATCH, Message};
use crate::progress::{Mode, Progress};
use crate::quorum::reached;
use crate::raft::{Actions, Raft};
use crate::timers::Timer;
use crate::transfer::Transfer;
use crate::types::{Index, NodeId, Payload, Position};

/// Rounds whose sending time is remembered. Answers to older ones say nothing about a lease that long.
const ROUNDS: usize = 128;

/// What a leader has, and loses with its leadership.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(crate) since: Time,
    /// The first entry of the reign.
    pub(crate) noop: Index,
    /// All members but itself.
    pub(crate) peers: BTreeMap<NodeId, Progress>,
    /// The last round sent.
    pub(crate) round: u64,
    /// When recent rounds were sent.
    sent: VecDeque<(u64, Time)>,
    pub(crate) transfer: Option<Transfer>,
    /// Another was told to campaign, and the message may still be on its way: no lease in this reign any more.
    pub(crate) lease_void: bool,
    /// Weight of the entries behind the commit index.
    pub(crate) uncommitted: usize,
}

impl Raft {
    pub(crate) fn become_leader(&mut self, now: Time, out: &mut Actions) {
        self.stats.elections_won += 1;
        self.role = Role::Leader;
        self.leader = Some(self.id);
        self.timers.stop(Timer::Election);
        let last = self.log.last_index();
        let uncommitted = self.log.slice(self.commit + 1, usize::MAX, usize::MAX);
        self.lead = Some(alloc::boxed::Box::new(Lead {
            since: now,
            noop: last + 1,
            peers: BTreeMap::new(),
            round: 0,
            sent: VecDeque::new(),
            transfer: None,
            lease_void: false,
            uncommitted: uncommitted.iter().map(|entry| entry.weight()).sum(),
        }));
        self.sync_peers();
        self.make(Payload::Noop);
        self.heartbeat(now, out);
    }

    /// The peers are the members but itself.
    pub(crate) fn sync_peers(&mut self) {
        let (own, members) = (self.id, self.history.current());
        let Some(lead) = &mut self.lead else { return };
        if lead.peers.len() + usize::from(members.contains(own)) != members.0.len()
            || !lead.peers.keys().all(|id| members.contains(*id))
        {
            let alone = lead.peers.is_empty();
            lead.peers.retain(|id, _| members.contains(*id));
            let last = self.log.last_index();
            for id in members.ids().filter(|id| *id != own) {
                lead.peers.entry(id).or_insert_with(|| Progress::new(last));
            }
            if alone && !lead.peers.is_empty() {
                self.timers.set(Timer::Heartbeat, self.now + self.config.heartbeat_interval);
            }
        }
    }

    // ---- rounds

    /// Sends a round to everybody.
    pub(crate) fn heartbeat(&mut self, now: Time, out: &mut Actions) {
        let Some(lead) = &mut self.lead else { return };
        lead.round += 1;
        if lead.sent.len() == ROUNDS {
            lead.sent.pop_front();
        }
        lead.sent.push_back((lead.round, now));
        let message = Message::Heartbeat { term: self.term, round: lead.round, commit: self.commit };
        let peers: Vec<NodeId> = lead.peers.keys().copied().collect();
        // Who is alone does not wake to tell nobody; [`Raft::sync_peers`] begins with the first peer.
        let next = (!peers.is_empty()).then(|| now + self.config.heartbeat_interval);
        for id in peers {
            self.send(id, message.clone(), out);
        }
        self.timers.put(Timer::Heartbeat, next);
    }

    pub(crate) fn on_heartbeat_reply(
        &mut self,
        now: Time,
        from: NodeId,
        round: u64,
        (matched, received): (Index, Index),
    ) {
        let last = self.log.last_index();
        let from_answer = self.flaws.has(Flaw::LeaseFromAnswer);
        let Some(lead) = &mut self.lead else { return };
        if round > lead.round || matched > last || received > last {
            self.stats.dropped_absurd += 1;
            return;
        }
        let Some(peer) = lead.peers.get_mut(&from) else { return };
        // The lease counts from the sending: between it and now this server may have stood still.
        let sent = lead.sent.iter().find(|(number, _)| *number == round).map(|(_, at)| *at);
        if let Some(at) = sent
            && peer.acked.is_none_or(|(acked, _)| acked < round)
        {
            peer.acked = Some((round, if from_answer { now } else { at }));
        }
        peer.heard = Some(now);
        peer.accepted(matched);
        peer.answered(round, received);
    }

    /// A majority knew of no other leader when this was sent; `None`: never yet.
    pub(crate) fn heard_by_majority(&self, now: Time) -> Option<Time> {
        let lead = self.lead.as_ref()?;
        let at = |id: &NodeId| if *id == self.id { Some(now) } else { lead.peers.get(id)?.acked.map(|(_, at)| at) };
        reached(self.voters().iter().map(at)).flatten()
    }

    /// The last moment of the lease, if it is not over at `now`: until then nobody else leads.
    ///
    /// It is counted from the sending of the last round that a majority answered (dissertation, section 6.4.1): they
    /// vote for nobody within an election timeout of hearing it, and [`crate::Config::lease`] is half of that. There is
    /// none before an entry of the own term is committed, and none after another was told to campaign.
    #[must_use]
    pub fn lease_until(&self, now: Time) -> Option<Time> {
        let lead = self.lead.as_ref()?;
        let void = (lead.lease_void || lead.transfer.is_some()) && !self.flaws.has(Flaw::LeaseDuringTransfer);
        if void || !self.has_committed_in_term() {
            return None;
        }
        let lease =
            if self.flaws.has(Flaw::LeaseTooLong) { self.config.election_timeout * 2 } else { self.config.lease() };
        Some(self.heard_by_majority(now)? + lease).filter(|until| *until > now)
    }

    /// It leads, and an entry of its own term is committed, and with it everything before: from here on its commit index is
    /// the newest there is (section 8). Reads are answered and the membership may be changed.
    #[must_use]
    pub fn has_committed_in_term(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| self.commit >= lead.noop)
    }

    /// Sets the alarms of a leader: a majority that falls silent, a disk that does.
    pub(crate) fn watch_over(&mut self, now: Time) {
        let Some(lead) = &self.lead else { return };
        let heard = self.heard_by_majority(now).unwrap_or(lead.since).max(lead.since);
        let lone = self.history.current().is_lone_voter(self.id);
        self.timers.put(Timer::Quorum, (!lone).then(|| heard + self.config.election_timeout));
        let stalled = self.writes.oldest().map(|since| since + self.config.disk_timeout);
        self.timers.put(Timer::Disk, stalled.filter(|_| !self.flaws.has(Flaw::StallIgnored)));
    }

    /// No majority answered for an election timeout: whoever leads now, it may be somebody else.
    pub(crate) fn check_quorum(&mut self, now: Time, out: &mut Actions) {
        if self.lead.is_some() {
            self.stats.lost_quorum += 1;
            self.follow(now, self.term, None, out);
        }
    }

    /// The disk does not answer: a leader that cannot write is none, though its heartbeats go on.
    pub(crate) fn disk_stalled(&mut self, now: Time, out: &mut Actions) {
        if self.lead.is_some() {
            self.stats.stalled_disk += 1;
            // Nobody needs to wait until its silence is noticed.
            if let Some(to) = self.successor() {
                self.send(to, Message::TimeoutNow { term: self.term }, out);
            }
            self.follow(now, self.term, None, out);
        }
    }

    // ---- entries

    pub(crate) fn propose(&mut self, proposals: Vec<Proposal>, out: &mut Actions) {
        let bytes: usize = proposals.iter().map(|proposal| proposal.command.data.len() + 64).sum();
        let largest = proposals.iter().map(|proposal| proposal.command.data.len()).max().unwrap_or(0);
        let count = proposals.len() as u64;
        let limit = self.config.command_bytes;
        let uncommitted = self.log.last_index() - self.commit.min(self.log.last_index());
        let refusal = match &self.lead {
            None => Some(self.not_leader()),
            Some(lead) if lead.transfer.is_some() => Some(Refusal::Transferring),
            Some(_) if self.disk_full => Some(Refusal::DiskFull),
            Some(_) if largest > limit => Some(Refusal::TooLarge { bytes: largest, limit }),
            // A server that was removed ends its reign with the entry that says so.
            Some(_) if !self.is_voter() => Some(Refusal::NotLeader { leader: None }),
            Some(lead)
                if uncommitted + count > self.config.uncommitted
                    || lead.uncommitted > 0 && lead.uncommitted + bytes > self.config.uncommitted_bytes
                    || self.writes.is_full() =>
            {
                Some(Refusal::Busy)
            }
            Some(_) => None,
        };
        for Proposal { ticket, command } in proposals {
            match &refusal {
                Some(refusal) => out.push(Action::Refused { ticket, refusal: refusal.clone() }),
                None => {
                    let index = self.make(Payload::Command(command));
                    self.tickets.push_back((index, ticket));
                }
            }
        }
    }

    /// Whom to ask instead.
    pub(crate) fn not_leader(&self) -> Refusal {
        match self.leader {
            None => Refusal::NoLeader,
            leader => Refusal::NotLeader { leader },
        }
    }

    pub(crate) fn on_append_reply(&mut self, now: Time, from: NodeId, outcome: Appended) {
        let (last, by_one) = (self.log.last_index(), self.flaws.has(Flaw::BackOffByOne));
        let believe_all = self.flaws.has(Flaw::OldRejectionBelieved);
        let Some(lead) = &mut self.lead else { return };
        let round = lead.round;
        let Some(peer) = lead.peers.get_mut(&from) else { return };
        peer.heard = Some(now);
        match outcome {
            Appended::Accepted { matched } if matched > last => self.stats.dropped_absurd += 1,
            Appended::Accepted { matched } => {
                peer.accepted(matched);
            }
            Appended::Rejected { prev, hint } => {
                self.stats.rejections += 1;
                let guess = if by_one { prev.saturating_sub(1) } else { self.log.floor(hint.index, hint.term).index };
                peer.rejected(prev, guess, round, believe_all);
            }
        }
    }

    /// Section 5.4.2: by counting, only entries of the own term are committed; those before them with them.
    pub(crate) fn advance_commit(&mut self) {
        let Some(lead) = &self.lead else { return };
        let early = self.flaws.has(Flaw::OwnMatchBeforeDisk);
        let own = if early { self.log.last_index() } else { self.writes.durable() };
        let matched =
            |id: &NodeId| if *id == self.id { own } else { lead.peers.get(id).map_or(0, |peer| peer.matched) };
        let mut voters = self.voters();
        if self.flaws.has(Flaw::RemovedLeaderCounts) && !voters.contains(&self.id) {
            voters.push(self.id);
        }
        let Some(index) = reached(voters.iter().map(matched)) else { return };
        let counts = self.log.term_at(index) == Some(self.term) || self.flaws.has(Flaw::CommitEarlierTerm);
        if index > self.commit && counts {
            let weight: usize =
                (self.commit + 1..=index).filter_map(|at| self.log.get(at)).map(|entry| entry.weight()).sum();
            self.commit = index;
            if let Some(lead) = &mut self.lead {
                lead.uncommitted = lead.uncommitted.saturating_sub(weight);
            }
        }
    }

    /// Sends every follower what its window takes.
    pub(crate) fn replicate(&mut self, out: &mut Actions) {
        let Some(mut lead) = self.lead.take() else { return };
        for (id, peer) in &mut lead.peers {
            self.replicate_to(*id, peer, lead.round, out);
        }
        self.lead = Some(lead);
    }

    fn replicate_to(&mut self, id: NodeId, peer: &mut Progress, round: u64, out: &mut Actions) {
        let last = self.log.last_index();
        while peer.may_send(self.config.window, self.config.window_bytes) {
            let prev = peer.next - 1;
            let probing = matches!(peer.mode, Mode::Probe(_));
            let news = peer.next <= last || (peer.commit_sent < self.commit && peer.is_idle());
            if !probing && !news {
                break;
            }
            let Some(term) = self.log.term_at(prev) else {
                // What it needs next was compacted.
                match self.log.snapshot() {
                    Some(snapshot) => peer.needs_snapshot(alloc::sync::Arc::clone(snapshot)),
                    None => debug_assert!(false, "without a snapshot nothing is compacted"),
                }
                break;
            };
            let entries = self.log.slice(peer.next, self.config.batch.clamp(1, MAX_BATCH), self.config.batch_bytes);
            let bytes: usize = entries.iter().map(|entry| entry.weight()).sum();
            peer.sent(prev + entries.len() as u64, bytes, round);
            peer.commit_sent = self.commit;
            let prev = Position { term, index: prev };
            self.send(id, Message::Append { term: self.term, prev, entries, commit: self.commit }, out);
        }
        self.send_chunk(id, peer, round, out);
    }
}
