//! The follower: taking a leader's entries, and saying so when they are on disk (section 5.3).

use alloc::sync::Arc;

use crate::event::Action;
use crate::flaw::Flaw;
use crate::message::{Appended, Message};
use crate::raft::{Actions, Raft};
use crate::types::{Entry, Index, NodeId, Position};

impl Raft {
    /// From the leader of this term.
    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        prev: Position,
        entries: &[Arc<Entry>],
        commit: Index,
        out: &mut Actions,
    ) {
        let (mut prev, mut entries) = (prev, entries);
        // What is committed here is in the log of every later leader (leader completeness, figure 3), so that up to there
        // nothing needs to be compared; much of it may be compacted and could not be.
        if prev.index < self.commit && !self.flaws.has(Flaw::CompactedIsConflict) {
            let known = usize::try_from(self.commit - prev.index).unwrap_or(usize::MAX);
            entries = entries.get(known..).unwrap_or(&[]);
            let Some(term) = self.log.term_at(self.commit) else { return };
            prev = Position { term, index: self.commit };
        }
        if !self.log.has(prev) {
            let hint = self.log.floor(prev.index, prev.term);
            let outcome = Appended::Rejected { prev: prev.index, hint };
            if self.flaws.has(Flaw::CompactedIsConflict) && prev.index <= self.log.last_index() && prev.index > 0 {
                self.cut(prev.index.max(self.log.base().index + 1), out);
            }
            return self.send(from, Message::AppendReply { term: self.term, outcome }, out);
        }
        let same = if self.flaws.has(Flaw::TruncateMatching) {
            0
        } else {
            entries.iter().take_while(|entry| self.log.has(entry.position())).count()
        };
        let mut verified = prev.index + same as u64;
        if let Some(first) = entries.get(same) {
            if first.index <= self.commit && !self.flaws.has(Flaw::TruncateMatching) {
                // A leader without a committed entry: somebody's disk or code is broken. Nothing here is overwritten.
                self.stats.dropped_impossible += 1;
                return;
            }
            if self.disk_full || self.writes.is_full() {
                self.stats.dropped_disk += 1;
            } else {
                if first.index <= self.log.last_index() {
                    self.cut(first.index, out);
                }
                for entry in &entries[same..] {
                    self.append(Arc::clone(entry));
                }
                verified = self.log.last_index();
            }
        } else if self.flaws.has(Flaw::TruncateMatching) && self.log.last_index() > prev.index {
            self.cut(prev.index + 1, out);
        }
        self.following.verified = self.following.verified.max(verified);
        self.following.owes = true;
        self.learn_commit(commit);
    }

    /// Removes the entries from `index` on, which the leader does not have.
    pub(crate) fn cut(&mut self, index: Index, out: &mut Actions) {
        // A follower has none, but for that of a bootstrap.
        while self.tickets.back().is_some_and(|(at, _)| *at >= index)
            && let Some((_, ticket)) = self.tickets.pop_back()
        {
            out.push(Action::Unknown { ticket });
        }
        self.stats.overwritten += self.log.last_index().saturating_sub(index - 1);
        self.log.truncate(index);
        self.history.truncate(index);
        self.writes.truncate(index, !self.flaws.has(Flaw::TruncateForgetsFlights));
        self.following.verified = self.following.verified.min(index - 1);
    }

    /// What the leader committed is committed here as far as the logs are known to agree, and not further: behind that
    /// there may be entries that the leader does not have.
    fn learn_commit(&mut self, commit: Index) {
        let known = if self.flaws.has(Flaw::CommitBeyondLog) { commit } else { commit.min(self.following.verified) };
        self.commit = self.commit.max(known);
    }

    pub(crate) fn on_heartbeat(&mut self, from: NodeId, round: u64, commit: Index, out: &mut Actions) {
        self.learn_commit(commit);
        let (received, matched) = (self.following.verified, self.matched());
        self.send(from, Message::HeartbeatReply { term: self.term, round, matched, received }, out);
    }

    /// What the leader may count on: its entries that are on disk, in a term that is on disk.
    fn matched(&self) -> Index {
        if self.flaws.has(Flaw::AckBeforeDisk) {
            return self.following.verified;
        }
        if self.writes.term_durable() { self.following.verified.min(self.writes.durable()) } else { 0 }
    }

    /// Tells the leader what is on disk by now.
    pub(crate) fn acknowledge(&mut self, out: &mut Actions) {
        let Some(leader) = self.leader.filter(|leader| *leader != self.id) else { return };
        if !self.writes.term_durable() && !self.flaws.has(Flaw::AckBeforeDisk) {
            return;
        }
        let matched = self.matched();
        // An append whose entries were all there is answered at once; the others when they are durable.
        let done = self.following.owes && matched >= self.following.verified;
        if done || matched > self.following.acked && self.following.owes {
            self.following.acked = matched;
            self.following.owes = !done;
            self.send(leader, Message::AppendReply { term: self.term, outcome: Appended::Accepted { matched } }, out);
        }
    }
}
