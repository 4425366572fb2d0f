//! Anti-entropy: brings the catalog to what the agent says of itself.
//!
//! What changed is pushed at once, within the event that changed it: the record for the log then goes to disk in the same
//! write as what the agent keeps of it, and whoever has the answer finds it in the catalog. To gather for some
//! milliseconds would save no fsync, and make every lone change wait. Everything is compared every minute or so, rarer in
//! large clusters. Only rows of the own node are ever touched. A service is registered with its checks in one command.
//!
//! [`Sync`] knows neither the tables nor the catalog: it asks for a comparison ([`Action::Compare`]), is shown both
//! ([`Event::Compare`]) and proposes what makes them equal.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::command::{Deregister, Register};
use convoke_catalog::model::{Check, Node, Service, Str, Tenancy};
use convoke_catalog::{Command, Scope, View};
use convoke_kit::{Deadline, Machine, Out, Rng, Time};

use crate::flaw::{Flaw, Flaws};
use crate::local::Local;
use crate::reconcile::{CONSUL_SERVICE, SERF_HEALTH};

#[cfg(test)]
mod tests;

/// Between two full comparisons in a cluster of up to [`SCALE_FROM`] nodes.
const FULL: Duration = Duration::from_secs(60);
/// Above so many nodes full comparisons become rarer, by the logarithm.
const SCALE_FROM: usize = 128;
/// First wait after a refusal; doubled each time.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait after a refusal.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Commands of one comparison; the rest follows when they are through.
const BATCH: usize = 256;
/// Checks in one command.
const CHECKS_A_COMMAND: usize = 64;
/// Before the rest of a long comparison.
const PAUSE: Duration = Duration::from_millis(2);

/// A service or check of the own node.
pub type Key = (Tenancy, Str);

/// What a command was about: to be done again if it was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Services.
    pub services: Vec<Key>,
    /// Checks.
    pub checks: Vec<Key>,
    /// The row of the node.
    pub node: bool,
}

/// What can happen to anti-entropy.
#[derive(Debug)]
pub enum Event<'a> {
    /// A local service was registered, changed or removed.
    Service(Key),
    /// A local check was registered, changed or removed.
    Check {
        /// Which.
        key: Key,
        /// Only its output changed, which may wait.
        output_only: bool,
    },
    /// Answers [`Action::Compare`].
    Compare {
        /// The agent's tables.
        local: &'a Local,
        /// The newest view.
        view: &'a View,
        /// The row of the own node.
        own: &'a Node,
    },
    /// The outcome of [`Action::Propose`].
    Applied {
        /// As proposed.
        subject: Subject,
        /// It was not done.
        refused: bool,
    },
    /// How long a change of output alone may wait; zero: it does not.
    OutputInterval(Duration),
    /// The catalog was put in the place of another: everything is compared.
    Everything,
    /// The row of the own node changed.
    Node,
}

/// What anti-entropy wants done.
#[derive(Debug)]
pub enum Action {
    /// Call back with [`Event::Compare`], after everything that is known to have changed was told.
    Compare {
        /// A comparison of everything: the moment to reconcile members, too.
        full: bool,
    },
    /// Commit this, then report [`Event::Applied`].
    Propose {
        /// The change.
        command: Box<Command>,
        /// Comes back.
        subject: Subject,
    },
    /// Others changed the tags of a service that allows it.
    AdoptTags {
        /// Service id.
        id: Str,
        /// The tags.
        tags: Vec<Str>,
    },
}

/// The comparison of one agent with the catalog.
#[derive(Debug)]
pub struct Sync {
    services: BTreeSet<Key>,
    checks: BTreeSet<Key>,
    node: bool,
    /// Output-only changes and when they are pushed.
    deferred: BTreeMap<Key, Time>,
    /// The same by time.
    deferred_order: BTreeSet<(Time, Key)>,
    /// Where something of this node was ever registered.
    tenancies: BTreeSet<Tenancy>,
    output_interval: Duration,
    in_flight: usize,
    /// [`Action::Compare`] is asked for and not answered.
    asked: bool,
    full_asked: bool,
    full_at: Time,
    more_at: Option<Time>,
    backoff: Duration,
    /// Of [`FULL`].
    scale: u32,
    rng: Rng,
    pub(crate) flaws: Flaws,
}

impl Sync {
    /// Compares everything at `Time::ZERO` for the first time.
    #[must_use]
    pub const fn new(rng: Rng, output_interval: Duration) -> Self {
        Self {
            services: BTreeSet::new(),
            checks: BTreeSet::new(),
            node: false,
            deferred: BTreeMap::new(),
            deferred_order: BTreeSet::new(),
            scale: 1,
            tenancies: BTreeSet::new(),
            output_interval,
            in_flight: 0,
            asked: false,
            full_asked: false,
            full_at: Time::ZERO,
            more_at: None,
            backoff: RETRY,
            rng,
            flaws: Flaws::none(),
        }
    }

    fn ask(&mut self, full: bool, out: &mut Out<Action>) {
        if !self.asked || (full && !self.full_asked) {
            self.asked = true;
            self.full_asked |= full;
            out.push(Action::Compare { full });
        }
    }

    fn check(&mut self, now: Time, key: Key, output_only: bool, out: &mut Out<Action>) {
        if !output_only || self.output_interval.is_zero() {
            self.undefer(&key);
            self.checks.insert(key);
            self.ask(false, out);
        } else if !self.checks.contains(&key) && !self.deferred.contains_key(&key) {
            // Between half and one and a half of the interval, so that a fleet does not write in step.
            let at = now + self.output_interval / 2 + self.rng.duration(self.output_interval);
            let at = at.max(now + Duration::from_nanos(1));
            self.deferred_order.insert((at, key.clone()));
            self.deferred.insert(key, at);
        }
    }

    fn undefer(&mut self, key: &Key) {
        if let Some(at) = self.deferred.remove(key) {
            self.deferred_order.remove(&(at, key.clone()));
        }
    }

    fn applied(&mut self, now: Time, subject: Subject, refused: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if refused && !self.flaws.has(Flaw::RefusedForgotten) {
            self.services.extend(subject.services);
            self.checks.extend(subject.checks);
            self.node |= subject.node;
            let wait = self.backoff + self.rng.duration(self.backoff);
            self.more_at = Some(now + wait);
            self.backoff = (self.backoff * 2).min(RETRY_MAX);
        } else if self.more_at.is_none() {
            self.backoff = RETRY;
        }
    }

    fn compare(&mut self, now: Time, local: &Local, view: &View, own: &Node, out: &mut Out<Action>) {
        self.asked = false;
        if self.full_asked {
            self.full_asked = false;
            self.look_at_everything(local, view, own, out);
        }
        let known = view.node(&own.partition, &own.name);
        if core::mem::take(&mut self.node) && known.is_none_or(|row| !same_node(row, own)) {
            let subject = Subject { node: true, ..Subject::default() };
            self.propose(register(own, false, Vec::new(), Vec::new()), subject, out);
        }
        let skip = known.is_some();
        let mut budget = BATCH;
        let mut leaving: BTreeSet<Key> = BTreeSet::new();
        while budget > 0 {
            let Some(key) = self.services.pop_first() else { break };
            budget -= usize::from(self.service(key, local, view, own, skip, &mut leaving, out));
        }
        while budget > 0 && !self.checks.is_empty() {
            budget -= 1;
            self.some_checks(local, view, own, skip, &leaving, out);
        }
        if (!self.services.is_empty() || !self.checks.is_empty()) && self.more_at.is_none() {
            self.more_at = Some(now + PAUSE);
        }
    }

    /// Brings one service to the catalog; whether that took a command.
    #[expect(clippy::too_many_arguments, reason = "one comparison, shown as it is")]
    fn service(
        &mut self,
        key: Key,
        local: &Local,
        view: &View,
        own: &Node,
        skip: bool,
        leaving: &mut BTreeSet<Key>,
        out: &mut Out<Action>,
    ) -> bool {
        let scope = Scope::from(&key.0);
        let there = view.services_of(scope, &own.name).get(&key.1);
        let Some(service) = local.services().get(&*key.1).filter(|service| service.row.tenancy == key.0) else {
            if there.is_none() {
                return false;
            }
            leaving.insert(key.clone());
            let command = deregister(own, &key, true);
            self.propose(command, Subject { services: vec![key], ..Subject::default() }, out);
            return true;
        };
        if there.is_some_and(|row| same_service(row, &service.row)) {
            return false;
        }
        let mut checks = Vec::new();
        let mut subject = Subject::default();
        for check in local.checks_of(&service.row.id).take(CHECKS_A_COMMAND) {
            let key = (check.row.tenancy.clone(), Arc::clone(&check.row.id));
            if self.checks.remove(&key) {
                self.undefer(&key);
                checks.push(Check::clone(&check.row));
                subject.checks.push(key);
            }
        }
        self.tenancies.insert(key.0.clone());
        subject.services.push(key);
        self.propose(register(own, skip, vec![Service::clone(&service.row)], checks), subject, out);
        true
    }

    /// Takes checks that are to be compared and brings them to the catalog with one command, or none.
    fn some_checks(
        &mut self,
        local: &Local,
        view: &View,
        own: &Node,
        skip: bool,
        leaving: &BTreeSet<Key>,
        out: &mut Out<Action>,
    ) {
        let (mut checks, mut subject) = (Vec::new(), Subject::default());
        while checks.len() < CHECKS_A_COMMAND {
            let Some(key) = self.checks.pop_first() else { break };
            let there = view.checks_of(Scope::from(&key.0), &own.name).get(&key.1);
            match local.checks().get(&*key.1).filter(|check| check.row.tenancy == key.0) {
                Some(check) if there.is_some_and(|row| same_check(row, &check.row, false)) => {}
                Some(check) => {
                    self.undefer(&key);
                    self.tenancies.insert(key.0.clone());
                    checks.push(Check::clone(&check.row));
                    subject.checks.push(key);
                }
                None => {
                    // One that goes with its service needs no command of its own.
                    let with_service =
                        |row: &Arc<Check>| leaving.contains(&(key.0.clone(), Arc::clone(&row.service_id)));
                    if there.is_some_and(|row| !with_service(row)) {
                        let command = deregister(own, &key, false);
                        self.propose(command, Subject { checks: vec![key], ..Subject::default() }, out);
                        break;
                    }
                }
            }
        }
        if !checks.is_empty() {
            self.propose(register(own, skip, Vec::new(), checks), subject, out);
        }
    }

    fn propose(&mut self, command: Command, subject: Subject, out: &mut Out<Action>) {
        self.in_flight += 1;
        out.push(Action::Propose { command: Box::new(command), subject });
    }

    /// Notes everything in which local tables and catalog differ.
    fn look_at_everything(&mut self, local: &Local, view: &View, own: &Node, out: &mut Out<Action>) {
        self.scale = scale(view.nodes(&own.partition).count());
        self.node |= view.node(&own.partition, &own.name).is_none_or(|row| !same_node(row, own));
        self.tenancies.insert(Tenancy { partition: Arc::clone(&own.partition), ..Tenancy::default() });
        for service in local.services().values() {
            let (row, key) = (&service.row, (service.row.tenancy.clone(), Arc::clone(&service.row.id)));
            if !self.tenancies.contains(&key.0) {
                self.tenancies.insert(key.0.clone());
            }
            match view.services_of(Scope::from(&key.0), &own.name).get(&key.1) {
                Some(there) if row.enable_tag_override && there.tags != row.tags && !self.services.contains(&key) => {
                    out.push(Action::AdoptTags { id: Arc::clone(&row.id), tags: there.tags.clone() });
                    let adopted = Service { tags: there.tags.clone(), ..Service::clone(row) };
                    if !same_service(there, &adopted) {
                        self.services.insert(key);
                    }
                }
                Some(there) if same_service(there, row) => {}
                _ => {
                    self.services.insert(key);
                }
            }
        }
        let any_output = !self.output_interval.is_zero();
        for check in local.checks().values() {
            let key = (check.row.tenancy.clone(), Arc::clone(&check.row.id));
            let there = view.checks_of(Scope::from(&key.0), &own.name).get(&key.1);
            if there.is_none_or(|there| !same_check(there, &check.row, any_output)) {
                self.checks.insert(key);
            }
        }
        for tenancy in &self.tenancies {
            let scope = Scope::from(tenancy);
            for row in view.services_of(scope, &own.name).iter() {
                if self.flaws.has(Flaw::RowsStay) {
                    break;
                }
                let ours = local.services().get(&*row.id).is_some_and(|service| service.row.tenancy == *tenancy);
                if !ours && &*row.id != CONSUL_SERVICE {
                    self.services.insert((tenancy.clone(), Arc::clone(&row.id)));
                }
            }
            for row in view.checks_of(scope, &own.name).iter() {
                let ours = local.checks().get(&*row.id).is_some_and(|check| check.row.tenancy == *tenancy);
                if !ours && &*row.id != SERF_HEALTH {
                    self.checks.insert((tenancy.clone(), Arc::clone(&row.id)));
                }
            }
        }
    }
}

impl Machine for Sync {
    type Event<'a> = Event<'a>;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event<'_>, out: &mut Out<Action>) {
        match event {
            Event::Service(key) => {
                self.services.insert(key);
                self.ask(false, out);
            }
            Event::Check { key, output_only } => self.check(now, key, output_only, out),
            Event::Compare { local, view, own } => self.compare(now, local, view, own, out),
            Event::Applied { subject, refused } => self.applied(now, subject, refused),
            Event::OutputInterval(interval) => self.output_interval = interval,
            Event::Everything => self.ask(true, out),
            Event::Node => {
                self.node = true;
                self.ask(false, out);
            }
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        if self.full_at <= now {
            let period = FULL * self.scale;
            self.full_at = now + period + self.rng.duration(period);
            self.ask(true, out);
        }
        while self.deferred_order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.deferred_order.pop_first() else { break };
            self.deferred.remove(&key);
            self.checks.insert(key);
            self.ask(false, out);
        }
        if self.more_at.is_some_and(|at| at <= now) {
            self.more_at = None;
            self.ask(false, out);
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let full = Some(Deadline { at: self.full_at, reason: "sync full" });
        let more = self.more_at.map(|at| Deadline { at, reason: "sync more" });
        let deferred = self.deferred_order.first().map(|(at, _)| Deadline { at: *at, reason: "sync output" });
        Deadline::earliest(full, Deadline::earliest(more, deferred))
    }
}

/// How much rarer full comparisons are among so many nodes.
#[must_use]
pub const fn scale(nodes: usize) -> u32 {
    if nodes <= SCALE_FROM { 1 } else { (nodes - 1).ilog2() - SCALE_FROM.ilog2() + 2 }
}

fn register(own: &Node, skip: bool, services: Vec<Service>, checks: Vec<Check>) -> Command {
    let node = if skip {
        // Only its name is looked at.
        Node { tagged_addresses: None, meta: None, ..own.clone() }
    } else {
        own.clone()
    };
    Command::Register(Register { node, skip_node_update: skip, services, checks })
}

fn deregister(own: &Node, (tenancy, id): &Key, service: bool) -> Command {
    let id = Some(Arc::clone(id));
    let (service_id, check_id) = if service { (id, None) } else { (None, id) };
    Command::Deregister(Deregister { node: Arc::clone(&own.name), tenancy: tenancy.clone(), service_id, check_id })
}

fn same_node(there: &Node, own: &Node) -> bool {
    Node { indexes: there.indexes, ..own.clone() } == *there
}

fn same_service(there: &Service, own: &Service) -> bool {
    Service { indexes: there.indexes, ..own.clone() } == *there
}

fn same_check(there: &Check, own: &Check, any_output: bool) -> bool {
    let output = Arc::clone(if any_output { &there.output } else { &own.output });
    Check { indexes: there.indexes, output, ..own.clone() } == *there
}

/// For logs.
impl Subject {
    /// The ids it is about.
    #[must_use]
    pub fn ids(&self) -> String {
        let ids: Vec<&str> = self.services.iter().chain(&self.checks).map(|(_, id)| &**id).collect();
        if ids.is_empty() { String::from("node") } else { ids.join(", ") }
    }
}
