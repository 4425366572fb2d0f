//! Pre-votes, votes, and who gives one to whom (sections 5.2, 5.4.1 and 9.6 of the dissertation, chapter 3 and section 6.4).

use convoke_kit::Time;

use crate::event::Role;
use crate::flaw::Flaw;
use crate::message::Message;
use crate::quorum::{Ballot, ballot};
use crate::raft::{Actions, Raft};
use crate::timers::Timer;
use crate::types::{NodeId, Position, Term};

impl Raft {
    /// Arms the election timer anew, if this server may campaign at all.
    ///
    /// At random between one and two timeouts, so that one server is ahead of the others by more than a round trip
    /// (section 5.2; section 9.3 measures why the range must be that wide).
    pub(crate) fn await_leader(&mut self, now: Time) {
        let timeout = self.config.election_timeout;
        let at = now + timeout + self.rng.duration(timeout);
        self.timers.put(Timer::Election, self.may_campaign().then_some(at));
    }

    /// It is a voter, or was one until an entry that may not be committed. Such a server may be the only one whose log is
    /// good enough, and the others may need its candidacy to commit that very entry (dissertation, section 4.2.2).
    fn may_campaign(&self) -> bool {
        self.is_voter() || self.history.at(self.commit).1.is_voter(self.id) && !self.flaws.has(Flaw::RemovedGivesUp)
    }

    /// After a lost vote: sooner, because the others are not waited for.
    fn await_retry(&mut self, now: Time) {
        let half = self.config.election_timeout / 2;
        let at = now + half + self.rng.duration(half);
        self.timers.put(Timer::Election, self.may_campaign().then_some(at));
    }

    /// The oldest write is under way for so long that an election would not help.
    fn is_stalled(&self, now: Time) -> bool {
        !self.flaws.has(Flaw::StallIgnored)
            && self.writes.oldest().is_some_and(|since| now.since(since) >= self.config.disk_timeout)
    }

    pub(crate) fn election_timeout(&mut self, now: Time, out: &mut Actions) {
        if self.lead.is_some() || !self.may_campaign() {
            return;
        }
        // Who could not write an entry must not lead; who votes need not.
        if self.is_stalled(now) || self.disk_full || self.writes.is_full() {
            return self.follow(now, self.term, None, out);
        }
        self.stand(now, out);
    }

    /// Begins an election, or asks first whether it would make sense.
    pub(crate) fn stand(&mut self, now: Time, out: &mut Actions) {
        let ask_first = self.config.pre_vote && !self.flaws.has(Flaw::Disruptive);
        if ask_first && !self.history.current().is_lone_voter(self.id) {
            self.pre_campaign(now, out);
        } else {
            self.campaign(now, false, out);
        }
    }

    fn pre_campaign(&mut self, now: Time, out: &mut Actions) {
        self.stats.pre_campaigns += 1;
        // Answers of an earlier attempt were given under other circumstances.
        let kept = self.flaws.has(Flaw::BallotsKept).then(|| core::mem::take(&mut self.election.answers));
        self.follow(now, self.term, None, out);
        self.role = Role::PreCandidate;
        self.election.answers = kept.unwrap_or_default();
        self.election.answers.insert(self.id, true);
        self.await_retry(now);
        self.ask(out);
        self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
    }

    /// Enters the next term as a candidate. Nobody is asked before the own vote is durable: see `ordering.md`.
    fn campaign(&mut self, now: Time, transfer: bool, out: &mut Actions) {
        self.stats.campaigns += 1;
        self.follow(now, self.term + 1, None, out);
        self.role = Role::Candidate;
        self.vote = Some(self.id);
        self.election.answers.clear();
        self.election.transfer = transfer;
        self.election.asked = false;
        if self.flaws.has(Flaw::ChunksAreSilence) {
            self.incoming = None;
        }
        self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
    }

    /// Asks all voters that have not answered.
    fn ask(&mut self, out: &mut Actions) {
        let last = self.end_of_log();
        let message = match self.role {
            Role::PreCandidate => Message::PreVote { term: self.term + 1, last },
            _ => Message::Vote { term: self.term, last, transfer: self.election.transfer },
        };
        for id in self.voters() {
            if id != self.id && !self.election.answers.contains_key(&id) {
                self.send(id, message.clone(), out);
            }
        }
    }

    fn end_of_log(&self) -> Position {
        if self.log.len() == 0 && self.flaws.has(Flaw::EmptyLogForgotten) {
            return Position { term: 0, index: self.log.last_index() };
        }
        self.log.last()
    }

    /// The candidate's heartbeat: an answer may have been lost.
    pub(crate) fn ask_again(&mut self, now: Time, out: &mut Actions) {
        let asking = match self.role {
            Role::PreCandidate => true,
            Role::Candidate => self.election.asked,
            Role::Follower | Role::Leader | Role::Halted => return,
        };
        if asking {
            self.ask(out);
        }
        self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
    }

    /// Says what waited for term and vote to be durable.
    pub(crate) fn keep_election_promises(&mut self, now: Time, out: &mut Actions) {
        let durable = self.writes.term_durable();
        if self.role == Role::Candidate && !self.election.asked && (durable || self.flaws.has(Flaw::AskBeforeDisk)) {
            self.election.asked = true;
            self.election.answers.insert(self.id, true);
            self.ask(out);
            self.count(now, out);
        }
        // Checked again: the vote is of this term, or it would have been forgotten with it.
        if let Some(to) = self.election.owed
            && (durable || self.flaws.has(Flaw::VoteBeforeDisk))
        {
            self.election.owed = None;
            debug_assert_eq!(self.vote, Some(to), "a vote is owed to whom it was given");
            self.send(to, Message::VoteReply { term: self.term, asked: self.term, granted: true }, out);
        }
    }

    fn count(&mut self, now: Time, out: &mut Actions) {
        let answers = &self.election.answers;
        let result = ballot(self.voters().iter().map(|id| answers.get(id).copied()));
        match (self.role, result) {
            (Role::PreCandidate, Ballot::Won) => self.campaign(now, false, out),
            (Role::PreCandidate, Ballot::Lost) => {
                self.follow(now, self.term, None, out);
                self.await_retry(now);
            }
            (Role::Candidate, Ballot::Won) => self.become_leader(now, out),
            // Who lost waits as a follower, so that its timer does not run against the next candidate's.
            // Not for as long as for a leader that died: perhaps nobody won, and whoever did is heard before that.
            (Role::Candidate, Ballot::Lost) => {
                self.follow(now, self.term, None, out);
                self.await_retry(now);
            }
            _ => {}
        }
    }

    // ---- being asked

    /// Section 5.4.1: whose last entry has the later term, or in the same term the higher index.
    fn is_up_to_date(&self, last: Position) -> bool {
        let own = self.end_of_log();
        if self.flaws.has(Flaw::ComponentwiseLogs) {
            return last.term >= own.term && last.index >= own.index;
        }
        last >= own
    }

    /// A leader is well, as far as this server knows: who asks for votes is the one with the problem. Leases rest on this
    /// (dissertation, section 6.4.1). Whoever is believed to lead may ask: it knows that it does not.
    fn leader_is_well(&self, now: Time, asks: NodeId) -> bool {
        if self.flaws.has(Flaw::Disruptive) {
            return false;
        }
        if self.flaws.has(Flaw::ExLeaderRefused) && self.leader.is_some() {
            return true;
        }
        let heard = self.heard.is_some_and(|at| now.since(at) < self.config.election_timeout);
        (heard && self.leader != Some(asks)) || self.lead.is_some()
    }

    /// Without a term there is nothing to lose: a learner that does not yet know that it is a voter must answer too, or
    /// the cluster that counts on it stands still.
    fn gives_votes(&self) -> bool {
        !self.flaws.has(Flaw::LearnerGivesNoVote) || self.is_voter()
    }

    pub(crate) fn on_pre_vote(&mut self, now: Time, from: NodeId, asked: Term, last: Position, out: &mut Actions) {
        let granted =
            asked > self.term && self.is_up_to_date(last) && !self.leader_is_well(now, from) && self.gives_votes();
        if granted && self.flaws.has(Flaw::PreVoteRefreshes) {
            self.heard = Some(now);
            self.await_leader(now);
        }
        self.send(from, Message::PreVoteReply { term: self.term, asked, granted }, out);
    }

    pub(crate) fn on_pre_vote_reply(
        &mut self,
        now: Time,
        from: NodeId,
        (term, asked): (Term, Term),
        granted: bool,
        out: &mut Actions,
    ) {
        if !self.flaws.has(Flaw::PreVoteTeachesNothing) {
            let asking = self.role == Role::PreCandidate;
            self.learn(now, term, out);
            // Whom a term took by surprise disturbed nobody.
            if asking && self.role == Role::Follower {
                self.await_retry(now);
            }
        }
        if self.role == Role::PreCandidate && asked == self.term + 1 {
            self.election.answers.insert(from, granted);
            self.count(now, out);
        }
    }

    pub(crate) fn on_vote(
        &mut self,
        now: Time,
        from: NodeId,
        (term, last): (Term, Position),
        transfer: bool,
        out: &mut Actions,
    ) {
        let lawful = term >= self.term && (transfer || !self.leader_is_well(now, from)) && self.gives_votes();
        if lawful {
            self.learn(now, term, out);
        }
        let free = match self.vote {
            None => self.leader.is_none_or(|leader| leader == from),
            // A repetition: the answer was lost.
            Some(vote) => vote == from && !self.flaws.has(Flaw::VoteOnlyOnce),
        };
        if !lawful || !free || self.lead.is_some() || !self.is_up_to_date(last) {
            return self.send(from, Message::VoteReply { term: self.term, asked: term, granted: false }, out);
        }
        if self.vote.is_none() {
            self.vote = Some(from);
            self.writes.promise();
        }
        self.election.owed = Some(from);
        self.await_leader(now);
    }

    pub(crate) fn on_vote_reply(
        &mut self,
        now: Time,
        from: NodeId,
        (term, asked): (Term, Term),
        granted: bool,
        out: &mut Actions,
    ) {
        self.learn(now, term, out);
        let current = asked == self.term || self.flaws.has(Flaw::LateVoteCounts);
        if self.role == Role::Candidate && self.election.asked && current {
            self.election.answers.insert(from, granted);
            self.count(now, out);
        }
    }

    /// The leader gives way to this server (dissertation, section 3.10). No pre-vote: the others still hear the leader.
    pub(crate) fn on_timeout_now(&mut self, now: Time, from: NodeId, term: Term, out: &mut Actions) {
        let willing = term == self.term && self.leader == Some(from) && self.is_voter();
        if !willing || self.is_stalled(now) || self.disk_full || self.writes.is_full() {
            return;
        }
        if self.flaws.has(Flaw::TransferPreVotes) {
            self.pre_campaign(now, out);
        } else {
            self.campaign(now, true, out);
        }
    }
}
