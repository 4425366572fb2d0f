//! Who the servers are: what the pool says, how they become a cluster, who belongs to it from then on.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use convoke_api::operator;
use convoke_catalog::Command;
use convoke_kit::{Machine as _, Out, Time};
use convoke_raft::{self as raft, Member, Membership, NodeId, ReadMode, Role};
use convoke_swim::State;

use crate::autopilot::{self, Progress, Seen};
use crate::bootstrap::{Bootstrap, Step};
use crate::consensus::{self};
use crate::identity::{self, MemberState};
use crate::node::shell::Work;
use crate::node::{Action, AskId, Level, Node};
use crate::rpc::{Answer, Ask};
use crate::store::Change;

use super::{Call, Known, LIMIT, PROMISE, SOON, Tag};

impl Node {
    /// The pool says something else of its servers.
    pub(in crate::node) fn servers_seen(&mut self, now: Time) {
        let mut known = BTreeMap::new();
        for member in self.gossip.members() {
            let tag = |key: &str| member.profile.tags().get(key);
            if tag("role") != Some("consul") || tag("dc") != Some(&*self.config.datacenter) {
                continue;
            }
            let Some(port) = tag("port").and_then(|port| port.parse().ok()) else { continue };
            let Some(id) = tag("id").map(identity::raft_id) else { continue };
            let address = SocketAddr::new(member.profile.address().ip(), port);
            let seen = match member.state {
                State::Alive | State::Suspect => Seen::Alive,
                State::Failed => Seen::Failed,
                State::Left => Seen::Left,
            };
            let expect = tag("expect").and_then(|expect| expect.parse().ok());
            let non_voter = tag("nonvoter").is_some();
            known.insert(id, Known { name: member.profile.name().to_owned(), seen, address, non_voter, expect });
        }
        if let Some(address) = identity::server_address(&self.config, &self.identity).filter(|_| self.config.server) {
            let name = self.identity.node_name.clone();
            let expect = (self.config.bootstrap_expect > 1).then_some(self.config.bootstrap_expect as usize);
            let seen = if self.member == MemberState::Alive { Seen::Alive } else { Seen::Left };
            let own = Known { name, seen, address, non_voter: self.config.read_replica, expect };
            known.insert(self.servers.id, own);
        }
        self.servers.known = known;
        self.servers.look_at = Some(now + SOON);
        self.route();
        self.refresh_members();
    }

    /// Timers of everything here.
    pub(in crate::node) fn servers_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        if let Some(consensus) = &mut self.servers.consensus {
            let mut actions = core::mem::take(&mut self.servers.consensus_out);
            consensus.handle_timeout(now, &mut actions);
            self.drain_consensus(now, actions, out);
        }
        let mut actions = core::mem::take(&mut self.servers.forward_out);
        self.servers.forward.handle_timeout(now, &mut actions);
        self.drain_forward(now, actions, out);
        if self.servers.rows_at.take_if(|at| *at <= now).is_some() && self.servers.owes {
            self.push(Work::Compare { full: true });
        }
        if self.servers.look_at.take_if(|at| *at <= now).is_some() {
            self.look_at_servers(now, out);
        }
        if let Some(change) = self.servers.presence.write(now, self.wall) {
            self.writes.file(change, out);
        }
    }

    pub(super) fn look_at_servers(&mut self, now: Time, out: &mut Out<Action>) {
        if self.servers.consensus.is_none() {
            return;
        }
        let (role, term) = (self.servers.role, self.servers.term);
        if role == Role::Leader && !self.leads {
            let (mode, origin) = (ReadMode::Quorum, Tag::Establish(term));
            self.push(Work::Consensus(consensus::Event::Read { mode, origin }));
        } else if self.leads {
            self.steer(now, out);
        } else if !self.servers.has_log() {
            let own = usize::try_from(self.config.bootstrap_expect).unwrap_or(usize::MAX);
            let fits = |known: &Known| known.seen == Seen::Alive && !known.non_voter && known.expect == Some(own);
            let seen: BTreeSet<NodeId> =
                self.servers.known.iter().filter(|(_, known)| fits(known)).map(|(id, _)| *id).collect();
            let step = self.servers.bootstrap.as_mut().and_then(|bootstrap| bootstrap.look(now, &seen));
            self.bootstrap_step(step, out);
            let again = self.servers.bootstrap.as_ref().and_then(Bootstrap::deadline);
            self.servers.look_at = again.map(|at| at.max(now + SOON));
        }
    }

    /// The leader keeps the membership.
    pub(super) fn steer(&mut self, now: Time, out: &mut Out<Action>) {
        let Some(consensus) = &self.servers.consensus else { return };
        if self.servers.known.len() < 2 && self.servers.is_alone() {
            return;
        }
        self.servers.look_at = Some(now + autopilot::INTERVAL);
        let raft = consensus.raft();
        let progress: BTreeMap<NodeId, Progress> =
            raft.peers().into_iter().map(|(id, matched, heard)| (id, Progress { matched, heard })).collect();
        let servers: BTreeMap<NodeId, autopilot::Server> = self
            .servers
            .known
            .iter()
            .map(|(id, known)| {
                let Known { seen, address, non_voter, .. } = known;
                (*id, autopilot::Server { seen: *seen, address: address.to_string(), non_voter: *non_voter })
            })
            .collect();
        let last = raft.last().index;
        let members = Arc::clone(&self.servers.members);
        let world =
            autopilot::World { own: self.servers.id, members: &members, servers: &servers, progress: &progress, last };
        let settings = self.autopilot_settings();
        let change = self.servers.autopilot.look(now, world, &settings);
        self.refresh_raft(Some(now));
        let Some(change) = change.filter(|_| !self.servers.changing) else { return };
        Self::log(out, Level::Info, format!("autopilot: {}", self.described(&change)));
        self.change_members(change, None);
    }

    /// A change of membership, for the log.
    pub(super) fn described(&self, change: &raft::Change) -> String {
        let name = |id: &NodeId| self.servers.known.get(id).map_or_else(|| format!("{id:?}"), |k| k.name.clone());
        match change {
            raft::Change::AddLearner { id, address } => format!("adding server {} at {address}", name(id)),
            raft::Change::Promote(id) => format!("server {} votes from now on", name(id)),
            raft::Change::Demote(id) => format!("server {} votes no more", name(id)),
            raft::Change::Remove(id) => format!("removing server {}", name(id)),
            raft::Change::Move { id, address } => format!("server {} is at {address} now", name(id)),
        }
    }

    /// Autopilot's settings: the cluster's, or, until there are some, those of the configuration.
    fn autopilot_settings(&self) -> Arc<autopilot::Settings> {
        let view = self.tables.catalog.view();
        view.autopilot().map_or_else(|| Arc::new(operator::configured(&self.config)), Arc::clone)
    }

    /// The command that makes the configuration's settings of autopilot the cluster's.
    pub(super) fn first_autopilot(&self) -> Command {
        Command::AutopilotSet { settings: operator::configured(&self.config), cas: Some(0) }
    }

    // ---- beginning

    pub(super) fn bootstrap_step(&mut self, step: Option<Step>, out: &mut Out<Action>) {
        match step {
            None => {}
            Some(Step::Ask { members, of }) => {
                self.keep_promise(self.servers.id, out);
                let given = self.servers.bootstrap.as_ref().map_or_else(Vec::new, Bootstrap::given);
                for id in of {
                    let Some(to) = self.servers.address(id) else { continue };
                    let ask = Ask::Bootstrap { by: self.servers.id, members: members.clone(), given: given.clone() };
                    self.servers.call(to, ask, Call::Bootstrap { from: id }, LIMIT, out);
                }
            }
            Some(Step::Begin(ids)) => {
                let member = |id: NodeId| {
                    let address = self.servers.address(id).map_or_else(String::new, |address| address.to_string());
                    (id, Member { voter: true, address })
                };
                let members = Membership(ids.into_iter().map(member).collect());
                let names = members.ids().map(|id| self.described(&raft::Change::Promote(id))).collect::<Vec<_>>();
                Self::log(out, Level::Info, format!("the expected servers are there: {}", names.join(", ")));
                self.push(Work::Consensus(consensus::Event::Bootstrap { members, origin: Tag::Quiet }));
            }
        }
    }

    pub(super) fn keep_promise(&mut self, to: NodeId, out: &mut Out<Action>) {
        let content = to.0.to_le_bytes().to_vec();
        self.writes.file(Change::Put { path: PROMISE.to_owned(), content }, out);
    }

    pub(super) fn asked_to_promise(
        &mut self,
        _: Time,
        id: AskId,
        by: NodeId,
        (members, given): (&[NodeId], &[NodeId]),
        out: &mut Out<Action>,
    ) {
        let exists = self.servers.has_log();
        let bootstrap = self.servers.bootstrap.as_mut().filter(|_| !exists);
        let granted = bootstrap.is_some_and(|bootstrap| bootstrap.asked(by, members, given));
        if granted {
            let seq = self.writes.next();
            self.keep_promise(by, out);
            if self.writes.keeps() {
                return self.servers.promises.push((seq, id));
            }
        } else if let Some(to) = self.servers.bootstrap.as_ref().and_then(Bootstrap::promised).filter(|_| !exists) {
            let line = format!(
                "{by:?} wants to begin the cluster, but that was promised to {to:?}; if that server is gone for good, stop \
                 this one and remove its data_dir"
            );
            Self::log(out, Level::Warn, line);
        }
        out.push(Action::Answer { id, answer: Answer::Bootstrap { granted, exists } });
    }

    /// Writes up to this one are on disk: promises among them can be told.
    pub(in crate::node) fn tell_promises(&mut self, upto: u64, out: &mut Out<Action>) {
        self.servers.promises.retain(|(seq, id)| {
            let kept = *seq <= upto;
            if kept {
                out.push(Action::Answer { id: *id, answer: Answer::Bootstrap { granted: true, exists: false } });
            }
            !kept
        });
    }
}
