//! Giving leadership away (dissertation, section 3.10).

use convoke_kit::Time;

use crate::event::{Action, Refusal, Ticket};
use crate::flaw::Flaw;
use crate::message::Message;
use crate::raft::{Actions, Raft};
use crate::timers::Timer;
use crate::types::NodeId;

/// A transfer under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) ticket: Ticket,
    to: NodeId,
    told: bool,
}

impl Raft {
    /// Begins a transfer: no proposals from now on, until the target leads or the time is up.
    pub(crate) fn transfer(&mut self, now: Time, ticket: Ticket, to: Option<NodeId>, out: &mut Actions) {
        let mut refuse = |refusal| out.push(Action::Refused { ticket, refusal });
        let Some(lead) = &self.lead else { return refuse(self.not_leader()) };
        if lead.transfer.is_some() {
            return refuse(Refusal::Transferring);
        }
        let Some(to) = to.or_else(|| self.successor()) else { return refuse(Refusal::NotEligible { id: self.id }) };
        let voter = self.history.current().is_voter(to) || self.flaws.has(Flaw::TransferToLearner);
        if to == self.id || !voter || !lead.peers.contains_key(&to) {
            return refuse(Refusal::NotEligible { id: to });
        }
        if let Some(lead) = &mut self.lead {
            lead.transfer = Some(Transfer { ticket, to, told: false });
        }
        self.timers.set(Timer::Transfer, now + self.config.election_timeout);
    }

    /// The voter with most of the log.
    pub(crate) fn successor(&self) -> Option<NodeId> {
        let (lead, members) = (self.lead.as_ref()?, self.history.current());
        let voters = lead.peers.iter().filter(|(id, _)| members.is_voter(**id));
        voters.max_by_key(|(_, peer)| (peer.matched, peer.heard)).map(|(id, _)| *id)
    }

    /// Tells the target to campaign as soon as it has everything.
    pub(crate) fn drive_transfer(&mut self, out: &mut Actions) {
        let last = self.log.last_index();
        let Some(lead) = &mut self.lead else { return };
        let Some(transfer) = &mut lead.transfer else { return };
        let Some(peer) = lead.peers.get(&transfer.to) else { return self.abort_transfer(out) };
        if transfer.told || peer.matched < last {
            return;
        }
        transfer.told = true;
        lead.lease_void = true;
        let to = transfer.to;
        self.send(to, Message::TimeoutNow { term: self.term }, out);
    }

    /// The target did not take over. This server goes on, but without a lease: the message that makes the target campaign
    /// may still arrive, and who campaigns so does not wait for the leader to fall silent.
    pub(crate) fn abort_transfer(&mut self, out: &mut Actions) {
        if let Some(transfer) = self.lead.as_mut().and_then(|lead| lead.transfer.take()) {
            self.timers.stop(Timer::Transfer);
            out.push(Action::Refused { ticket: transfer.ticket, refusal: Refusal::TransferTimedOut });
        }
    }

    /// A leader that is no longer a voter leads until the entry that says so is committed (dissertation, section 4.2.2);
    /// then it tells what it committed, lets the best successor campaign at once, and goes.
    pub(crate) fn leave_if_removed(&mut self, now: Time, out: &mut Actions) {
        let removed = self.lead.is_some() && !self.is_voter() && self.commit >= self.history.index();
        if !removed {
            return;
        }
        if !self.flaws.has(Flaw::LeavesSilently) {
            self.sync_peers();
            self.replicate(out);
            self.heartbeat(now, out);
            if let Some(to) = self.successor() {
                self.send(to, Message::TimeoutNow { term: self.term }, out);
            }
        }
        self.follow(now, self.term, None, out);
    }
}
