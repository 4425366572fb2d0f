//! What agents ask each other, and the comparison of an agent without tables with what a server has.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};

use convoke_catalog::command::Register;
use convoke_catalog::{Catalog, Command, Reply, Scope};
use convoke_kit::{Out, Time};
use convoke_raft::{ReadMode, Refusal, Role};

use crate::consensus::{self};
use crate::forward::{self, Outcome, Wish};
use crate::identity::{self};
use crate::node::shell::{Origin, Work};
use crate::node::{Action, AskId, CallId, Node};
use crate::rpc::{Answer, Ask, Rows};

use super::{Call, LIMIT, ROWS_PAUSE, Tag};

impl Node {
    /// Another agent asks something.
    pub(in crate::node) fn asked(&mut self, now: Time, id: AskId, ask: Ask, out: &mut Out<Action>) {
        let answer = match ask {
            Ask::Propose { client, command, hops } => {
                let decoded = postcard::from_bytes::<Command>(command.as_slice()).map(Box::new);
                match decoded {
                    Ok(command) if self.impostor(&command).is_some() => {
                        Answer::Failed(self.impostor(&command).unwrap_or_default())
                    }
                    Ok(command) if self.servers.role == Role::Leader => {
                        let origin = Tag::Remote(id);
                        return self.push(Work::Consensus(consensus::Event::Propose { client, command, origin }));
                    }
                    Ok(command) if hops == 0 && self.servers.consensus.is_some() => {
                        return self.submit(Wish::Relayed { client, command }, Origin::Remote(id));
                    }
                    Ok(_) => refused(&Refusal::NotLeader { leader: self.servers.leader }),
                    Err(_) => {
                        Answer::Failed("this server does not know that change: it is of another version".to_owned())
                    }
                }
            }
            Ask::Rows { partition, node } => Answer::Rows(rows_of(&self.tables.catalog, &partition, &node)),
            Ask::Bootstrap { by, members, given } => {
                return self.asked_to_promise(now, id, by, (&members, &given), out);
            }
            Ask::Http(_) | Ask::Dns(_) => Answer::Failed("this is answered without the node".to_owned()),
        };
        out.push(Action::Answer { id, answer });
    }

    /// Why an agent may not register its node: its id is that of another member that is alive. To the catalog it would be that
    /// node under a new name.
    pub(super) fn impostor(&self, command: &Command) -> Option<String> {
        let Command::Register(Register { node, skip_node_update: false, .. }) = command else { return None };
        let id = node.id.as_deref()?;
        let view = self.tables.catalog.view();
        let holder = view.nodes(&node.partition).find(|row| row.id.as_deref() == Some(id))?;
        let same = holder.name.eq_ignore_ascii_case(&node.name);
        let alive = self.gossip.members().any(|member| {
            member.profile.name().eq_ignore_ascii_case(&holder.name)
                && member.profile.tags().get("id") == Some(id)
                && member.state.is_up()
        });
        (!same && alive).then(|| {
            format!(
                "node {:?} has the node id {id} of {:?}, which is alive: give it another node_id",
                node.name, holder.name
            )
        })
    }

    /// A question of this agent is answered.
    pub(in crate::node) fn answered(
        &mut self,
        now: Time,
        call: CallId,
        result: Result<Answer, String>,
        out: &mut Out<Action>,
    ) {
        match self.servers.calls.remove(&call) {
            None => {}
            Some(Call::Propose { key, command }) => {
                let outcome = match result {
                    Ok(Answer::Applied(reply)) => {
                        if !matches!(reply, Reply::Refused(_)) {
                            self.note_own(Command::clone(&command));
                        }
                        Outcome::Reply(reply)
                    }
                    Ok(Answer::Refused { passes: true, .. }) => Outcome::Refused(Refusal::NoLeader),
                    Ok(Answer::Refused { busy: true, .. }) => Outcome::Refused(Refusal::Busy),
                    Ok(Answer::Refused { text, .. } | Answer::Failed(text)) => {
                        Outcome::Refused(Refusal::Halted { error: text })
                    }
                    Ok(_) => Outcome::Unknown,
                    Err(error) => Outcome::Unreachable(error),
                };
                self.with_forward(now, forward::Event::Over { key, command: Some(command), outcome }, out);
            }
            Some(Call::Rows) => match result {
                Ok(Answer::Rows(rows)) => self.rows_came(now, rows, out),
                _ => self.compare_later(now),
            },
            Some(Call::Bootstrap { from }) => {
                if let Ok(Answer::Bootstrap { granted, exists }) = result {
                    let step = self.servers.bootstrap.as_mut().and_then(|b| b.answered(from, granted, exists));
                    self.bootstrap_step(step, out);
                }
            }
        }
    }

    // ---- anti-entropy of who has no tables

    /// Whether there is somebody to compare the local tables with.
    pub(super) fn can_compare(&self) -> bool {
        match &self.servers.consensus {
            Some(_) if self.servers.role == Role::Leader => self.leads,
            Some(_) => self.servers.leader.is_some(),
            None => !self.servers.known.is_empty(),
        }
    }

    /// Notes that a comparison has to wait. A client agent asks for what it compares with. Whether it has to.
    pub(in crate::node) fn must_wait(&mut self, full: bool, out: &mut Out<Action>) -> bool {
        let client = self.servers.consensus.is_none();
        if !self.can_compare() {
            self.servers.owes = true;
            return true;
        }
        if self.leads || !full && (self.servers.rows_known || !client) {
            return false;
        }
        self.servers.owes = true;
        if client {
            self.ask_rows(out);
        } else if !core::mem::replace(&mut self.servers.reading, true) {
            // A follower may lag: what it compares with must have everything that it said itself.
            self.submit(Wish::Read(ReadMode::Lease), Origin::Compare);
        }
        true
    }

    /// It could not be found out what to compare with.
    pub(in crate::node) fn compare_later(&mut self, now: Time) {
        self.servers.reading = false;
        self.servers.rows_at = Some(now + ROWS_PAUSE);
    }

    /// What there is to compare with is known.
    pub(in crate::node) fn compare_owed(&mut self, now: Time, out: &mut Out<Action>) {
        self.servers.reading = false;
        if core::mem::take(&mut self.servers.owes) {
            self.compare_now(now, true, out);
        }
    }

    pub(super) fn ask_rows(&mut self, out: &mut Out<Action>) {
        let asked = self.servers.calls.values().any(|call| matches!(call, Call::Rows));
        let Some(to) = self.servers.ask_order().first().copied().filter(|_| !asked) else { return };
        let partition = identity::partition(&self.config).to_owned();
        let ask = Ask::Rows { partition, node: self.identity.node_name.clone() };
        self.servers.rows_at = None;
        self.servers.call(to, ask, Call::Rows, LIMIT, out);
    }

    /// What the catalog has of the own node becomes the own view of it.
    pub(super) fn rows_came(&mut self, now: Time, rows: Rows, out: &mut Out<Action>) {
        let mut catalog = Catalog::default();
        if let Some(node) = rows.node {
            let register = Register { node, skip_node_update: false, services: rows.services, checks: rows.checks };
            catalog.apply(1, Command::Register(register));
        }
        self.tables.catalog = catalog;
        self.servers.rows_known = true;
        self.compare_owed(now, out);
    }

    /// What a client agent had committed about its node is in its own view of it, too.
    pub(super) fn note_own(&mut self, command: Command) {
        if self.servers.consensus.is_none() && self.servers.rows_known {
            let index = self.tables.catalog.view().index() + 1;
            self.tables.catalog.apply(index, command);
        }
    }
}

/// How a refusal is told to another agent.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let passes =
        matches!(refusal, Refusal::NotLeader { .. } | Refusal::NoLeader | Refusal::Transferring | Refusal::TooEarly);
    Answer::Refused { passes, busy: *refusal == Refusal::Busy, text: refusal.to_string() }
}

/// Everything the catalog has of a node.
fn rows_of(catalog: &Catalog, partition: &str, node: &str) -> Rows {
    let view = catalog.view();
    let mut rows = Rows { node: view.node(partition, node).map(|row| (**row).clone()), ..Rows::default() };
    for tenancy in view.tenancies(partition) {
        let scope = Scope::from(&tenancy);
        rows.services.extend(view.services_of(scope, node).iter().map(|row| (**row).clone()));
        rows.checks.extend(view.checks_of(scope, node).iter().map(|row| (**row).clone()));
    }
    rows
}
