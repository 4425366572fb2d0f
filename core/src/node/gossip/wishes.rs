//! What clients and signals ask of the pools: join, leave, remove others, fire events, change keys.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use convoke_api::agent_view::UserEvent;
use convoke_api::event;
use convoke_api::keyring::{self, PoolKeys};
use convoke_api::response::Response;
use convoke_kit::{Out, Time};
use convoke_swim::seal::KeyError;
use convoke_swim::{Command, KeyOp, KeyReport, Ticket};

use super::join::Who;
use super::{KEY_REQUESTS, KeyRequest, Leaving, rumours, settings};
use crate::identity::MemberState;
use crate::local::Refusal;
use crate::node::shell::Work;
use crate::node::{Action, Level, Node, Pool, RequestId};

/// Beyond the time that the news of leaving has to spread.
const GRACE: core::time::Duration = core::time::Duration::from_secs(2);

impl Node {
    /// `join`: replied to when it is over.
    pub(in crate::node) fn join(
        &mut self,
        now: Time,
        id: RequestId,
        address: String,
        wan: bool,
        out: &mut Out<Action>,
    ) {
        let pool = if wan { Pool::Wan } else { Pool::Lan };
        let Some(at) = settings::listens(&self.config, pool) else {
            let text = if self.config.server {
                "the WAN pool is off: ports.serf_wan is -1"
            } else {
                "Must be a server to join WAN cluster"
            };
            return self.reply(id, Response::text(500, text));
        };
        if self.gossip.joins.full() {
            return self.reply(id, Response::text(429, "too many joins are under way already; try again later"));
        }
        let mut steps = Vec::new();
        self.gossip.joins.begin(Who::Client(id), pool, &[address], at.port(), &mut steps);
        self.take_steps(now, steps, out);
    }

    /// Leaves for good: tells the pools, and ends when the news had time to spread. The only server keeps its own node in
    /// the catalog, as Consul's last server does: nobody is left to say otherwise, and it finds everything again when it
    /// returns.
    pub(in crate::node) fn leave(&mut self, now: Time, asker: Option<RequestId>, out: &mut Out<Action>) {
        if let Some(leaving) = &mut self.gossip.leaving {
            leaving.askers.extend(asker);
            return;
        }
        if self.member != MemberState::Alive {
            return asker.into_iter().for_each(|id| self.reply(id, Response::empty(200)));
        }
        self.member = MemberState::Leaving;
        self.resign();
        self.refresh_members();
        self.gossip.retries.iter_mut().for_each(super::Retry::stop);
        let own = self.gossip.lan.swim.profile().name().to_owned();
        if let Some(change) = self.gossip.places.leave(self.gossip.lan.swim.members(), &own) {
            self.writes.file(change, out);
        }
        let mut leaving =
            Leaving { until: now, waiting: Vec::new(), drains: false, askers: asker.into_iter().collect() };
        for (pool, seat) in self.gossip.seats() {
            // Alone, there is nobody to tell.
            if seat.swim.members().up() > 1 {
                leaving.waiting.push(pool);
                leaving.until = leaving.until.max(now + seat.swim.config().leave_delay + GRACE);
            }
        }
        for pool in leaving.waiting.clone() {
            self.push(Work::Gossip { pool, command: Command::Leave });
        }
        let alone = leaving.waiting.is_empty();
        self.gossip.leaving = Some(leaving);
        if alone {
            self.gone(out);
        }
    }

    /// The news of leaving had time to spread in a pool.
    pub(super) fn left(&mut self, now: Time, pool: Pool, out: &mut Out<Action>) {
        let Some(leaving) = &mut self.gossip.leaving else { return };
        leaving.waiting.retain(|waiting| *waiting != pool);
        if leaving.waiting.is_empty() {
            self.drain(now, out);
        }
    }

    /// A server stays for some more time, so that who asks it is sent elsewhere instead of meeting a closed door; if there is
    /// another one. It answers from what it has; what needs the leader is refused, for it belongs to the cluster no more.
    fn drain(&mut self, now: Time, out: &mut Out<Action>) {
        let wait = self.config.performance.leave_drain_time;
        let own = self.gossip.lan.swim.profile();
        let another = self.gossip.members().any(|member| {
            let server = member.profile.tags().get("role") == Some("consul");
            server && member.state.is_up() && member.profile.name() != own.name()
        });
        let drains = self.config.server && another && !wait.is_zero();
        match &mut self.gossip.leaving {
            Some(leaving) if drains && !leaving.drains => {
                (leaving.drains, leaving.until) = (true, now + wait);
                let line =
                    format!("staying for another {} s, until others are found: leave_drain_time", wait.as_secs_f32());
                Self::log(out, Level::Info, line);
            }
            _ => self.gone(out),
        }
    }

    /// A time that leaving waits for is over.
    pub(super) fn leaving_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        let Some(leaving) = self.gossip.leaving.as_ref().filter(|leaving| leaving.until <= now) else { return };
        if !leaving.drains {
            let line = "the others may not know yet that this agent leaves: it did not get through in time";
            Self::log(out, Level::Warn, String::from(line));
        }
        self.drain(now, out);
    }

    /// It has left: who asked for it is told, and the process ends.
    pub(super) fn gone(&mut self, out: &mut Out<Action>) {
        let askers = self.gossip.leaving.take().map(|leaving| leaving.askers).unwrap_or_default();
        self.member = MemberState::Left;
        self.refresh_members();
        self.exit = Some(0);
        Self::log(out, Level::Info, String::from("left the cluster"));
        for id in askers {
            self.reply(id, Response::empty(200));
        }
    }

    /// `force-leave`.
    pub(in crate::node) fn force_leave(&mut self, node: &str, prune: bool) -> Result<(), Refusal> {
        if *node == *self.identity.node_name {
            // It is alive, and would refute it at once.
            return Ok(());
        }
        let in_lan = self.gossip.lan.swim.members().get(node).is_some();
        let elsewhere = format!("{node}.{}", self.config.datacenter);
        let names: [(Pool, &str); 3] = [(Pool::Lan, node), (Pool::Wan, node), (Pool::Wan, &elsewhere)];
        let mut found = false;
        for (pool, name) in names {
            let known = self.gossip.seat(pool).is_some_and(|seat| seat.swim.members().get(name).is_some());
            // A name of the LAN pool is not looked for as such in the WAN pool.
            if known && (pool == Pool::Lan || !in_lan || name != node) {
                found = true;
                self.push(Work::Gossip { pool, command: Command::ForceLeave { name: name.to_owned(), prune } });
            }
        }
        if found { Ok(()) } else { Err(Refusal::new(500, format!("agent: No node found with name '{node}'"))) }
    }

    /// `event/fire`: replied to at once; whether it arrives shows in `event/list`.
    pub(in crate::node) fn fire(&mut self, fired: &UserEvent, pretty: bool) -> Response {
        match rumours::encode(fired, event::POOL_BYTES) {
            Ok(payload) => {
                let command = Command::UserEvent { name: fired.name.clone(), payload };
                self.push(Work::Gossip { pool: Pool::Lan, command });
                event::fired(fired, pretty)
            }
            Err(why) => Response::text(500, why),
        }
    }

    /// `keyring`: replied to when all pools reported.
    pub(in crate::node) fn keys(&mut self, id: RequestId, op: &KeyOp, local: bool, pretty: bool) {
        if self.gossip.keys.len() >= KEY_REQUESTS {
            let text = "too many keyring operations are under way already; try again later";
            return self.reply(id, Response::text(429, text));
        }
        let mut request = KeyRequest { id, op: op.clone(), pretty, waiting: BTreeMap::new(), reports: Vec::new() };
        // Consul asks the pool between datacenters first, and shows it so; `local` is one that leaves it alone.
        for pool in [Pool::Wan, Pool::Lan].into_iter().filter(|pool| !local || *pool == Pool::Lan) {
            let Some(seat) = self.gossip.seat(pool) else { continue };
            if seat.swim.keyring().is_empty() {
                // A member without keys cannot do it: the own one, and with it all.
                let name = seat.swim.profile().name().to_owned();
                let errors = [(name, KeyError::None.to_string())].into();
                let report = KeyReport { members: 1, replies: 1, errors, ..KeyReport::default() };
                request.reports.push(self.pool_keys(pool, Ok(report)));
                continue;
            }
            self.gossip.next_ticket += 1;
            let ticket = Ticket(self.gossip.next_ticket);
            request.waiting.insert(ticket, pool);
            self.push(Work::Gossip { pool, command: Command::Keys { ticket, op: op.clone(), local: false } });
        }
        self.gossip.keys.push(request);
        self.answer_keys();
    }

    fn pool_keys(&self, pool: Pool, report: Result<KeyReport, String>) -> PoolKeys {
        PoolKeys { wan: pool == Pool::Wan, datacenter: self.config.datacenter.clone(), report }
    }

    /// A pool reported.
    pub(super) fn keys_done(&mut self, ticket: Ticket, report: Result<KeyReport, String>) {
        let Some(at) = self.gossip.keys.iter().position(|request| request.waiting.contains_key(&ticket)) else {
            return;
        };
        let Some(pool) = self.gossip.keys[at].waiting.remove(&ticket) else { return };
        let report = self.pool_keys(pool, report);
        self.gossip.keys[at].reports.push(report);
        self.answer_keys();
    }

    /// Answers those whose pools have all reported, once what they changed is on disk.
    fn answer_keys(&mut self) {
        let mut at = 0;
        while let Some(request) = self.gossip.keys.get(at) {
            if !request.waiting.is_empty() {
                at += 1;
                continue;
            }
            let mut request = self.gossip.keys.remove(at);
            request.reports.sort_by_key(|report| !report.wan);
            let response = keyring::response(&request.op, &request.reports, request.pretty);
            if let Some(response) = self.writes.hold(self.writes.next(), request.id, response) {
                self.reply(request.id, response);
            }
        }
    }
}
