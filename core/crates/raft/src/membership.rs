//! Changing who belongs to the cluster, one member at a time.
//!
//! # Why one at a time, and not joint consensus
//!
//! Two majorities of memberships that differ by one voter always share a voter (dissertation, section 4.1), so that no
//! phase with two majorities is needed. What operators and autopilot do is add, promote, demote, remove one server; a swap
//! is two of these. Joint consensus brings a second kind of majority into every count (commit, votes, reads, leases), and
//! counts that forget it are what went wrong elsewhere. In exchange there are two rules, both kept here:
//!
//! * no change before an entry of the leader's own term is committed. Otherwise two leaders can each have a change that the
//!   other does not know, and those two memberships may differ by two;
//! * no change before the one before is committed, for the same reason.
//!
//! New servers start as learners, and are made voters when they have caught up (section 4.2.1): a majority that counts on
//! an empty log could not commit anything for as long as the log takes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_kit::Time;

use crate::event::{Action, Change, Refusal, Ticket};
use crate::flaw::Flaw;
use crate::members::{Member, Membership};
use crate::raft::{Actions, Raft};
use crate::types::{Entry, Payload, Position};

impl Raft {
    /// The first membership, at index 1 in term 1: the same entry wherever the same was said, so that logs agree.
    pub(crate) fn bootstrap(&mut self, now: Time, ticket: Ticket, members: Membership, out: &mut Actions) {
        let mut refuse = |refusal| out.push(Action::Refused { ticket, refusal });
        if self.log.last() != Position::ZERO || self.term > 0 {
            return refuse(Refusal::NotEmpty);
        }
        if !members.is_sane() || members.voter_count() == 0 || !members.contains(self.id) {
            return refuse(Refusal::BadMembership);
        }
        if self.disk_full {
            return refuse(Refusal::DiskFull);
        }
        self.term = 1;
        self.writes.promise();
        self.append(Arc::new(Entry { term: 1, index: 1, payload: Payload::Membership(Arc::new(members)) }));
        self.tickets.push_back((1, ticket));
        // Nobody can have led before.
        self.heard = None;
        self.await_leader(now);
        if self.history.current().is_lone_voter(self.id) {
            self.stand(now, out);
        }
    }

    pub(crate) fn change(&mut self, ticket: Ticket, change: Change, out: &mut Actions) {
        match self.changed(change) {
            Ok(members) => {
                let index = self.make(Payload::Membership(Arc::new(members)));
                self.tickets.push_back((index, ticket));
                self.sync_peers();
            }
            Err(refusal) => out.push(Action::Refused { ticket, refusal }),
        }
    }

    /// The membership after a change, or why it may not be made.
    fn changed(&self, change: Change) -> Result<Membership, Refusal> {
        let Some(lead) = &self.lead else { return Err(self.not_leader()) };
        if lead.transfer.is_some() {
            return Err(Refusal::Transferring);
        }
        if self.disk_full {
            return Err(Refusal::DiskFull);
        }
        if !self.has_committed_in_term() && !self.flaws.has(Flaw::ChangeBeforeOwnCommit) {
            return Err(Refusal::TooEarly);
        }
        let overlap = self.flaws.has(Flaw::ChangesOverlap) || self.flaws.has(Flaw::ChangeBeforeOwnCommit);
        if self.history.index() > self.commit && !overlap {
            return Err(Refusal::ChangeInProgress);
        }
        let mut members = Membership::clone(self.history.current());
        let last_voter = |id| members.is_lone_voter(id) && !self.flaws.has(Flaw::ChangesOverlap);
        match change {
            Change::AddLearner { id, address } => {
                if members.contains(id) {
                    return Err(Refusal::NothingToDo);
                }
                members.0.insert(id, Member { voter: false, address });
            }
            Change::Promote(id) => {
                let Some(member) = members.0.get_mut(&id) else { return Err(Refusal::UnknownMember { id }) };
                if member.voter {
                    return Err(Refusal::NothingToDo);
                }
                member.voter = true;
                let matched = lead.peers.get(&id).map_or(0, |peer| peer.matched);
                let entries = self.log.last_index().saturating_sub(matched);
                if entries > self.config.promotion_lag {
                    return Err(Refusal::NotCaughtUp { id, entries });
                }
            }
            Change::Demote(id) => {
                if last_voter(id) {
                    return Err(Refusal::LastVoter { id });
                }
                let Some(member) = members.0.get_mut(&id) else { return Err(Refusal::UnknownMember { id }) };
                if !member.voter {
                    return Err(Refusal::NothingToDo);
                }
                member.voter = false;
            }
            Change::Remove(id) => {
                if last_voter(id) {
                    return Err(Refusal::LastVoter { id });
                }
                members.0.remove(&id).ok_or(Refusal::UnknownMember { id })?;
            }
            Change::Move { id, address } => {
                let Some(member) = members.0.get_mut(&id) else { return Err(Refusal::UnknownMember { id }) };
                if member.address == address {
                    return Err(Refusal::NothingToDo);
                }
                member.address = address;
            }
        }
        if members.is_sane() { Ok(members) } else { Err(Refusal::BadMembership) }
    }

    /// The members a leader counts on and does not hear: for autopilot.
    #[must_use]
    pub fn silent(&self, now: Time) -> Vec<crate::types::NodeId> {
        let Some(lead) = &self.lead else { return Vec::new() };
        let since = |at: Option<Time>| now.since(at.unwrap_or(lead.since));
        let silent = lead.peers.iter().filter(|(_, peer)| since(peer.heard) >= self.config.election_timeout);
        silent.map(|(id, _)| *id).collect()
    }
}
