//! From the actions of a seat to the rest of the node.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_api::coordinate::measured;
use convoke_api::response::Response;
use convoke_catalog::Command;
use convoke_catalog::coordinate::{Coordinate as Place, CoordinateUpdate};
use convoke_kit::{Machine as _, Out, Time};
use convoke_swim::{self as swim, MemberEvent, Profile, UserEvent};

use super::join::{After, Outcome, Step, Who, several};
use super::{GossipStats, REFRESH, kept, listed, rumours, settings};
use crate::identity::MemberState;
use crate::node::shell::{Origin, Work};
use crate::node::{Action, Level, LookupId, Node, Pool};
use crate::reconcile;

/// Coordinates in one command; the others follow five seconds later.
const COORDINATES: usize = 1024;
/// A place is told anew when it moved by more than this, in seconds, or than a twentieth of its distance to the origin.
const MOVED: f64 = 0.000_5;

/// Whether a place is so different that `near=` could sort differently.
fn moved(known: &Place, new: &Place) -> bool {
    let still = Place { adjustment: 0.0, height: 0.0, ..*known };
    let by = still.distance(&Place { adjustment: 0.0, height: 0.0, ..*new });
    let along = (known.height - new.height).abs().max((known.adjustment - new.adjustment).abs()).max(by);
    let far = still.distance(&Place { height: 0.0, ..Place::default() });
    along > MOVED.max(far / 20.0)
}

impl Node {
    /// Counters of a pool; `None` where the agent has no seat in it.
    #[must_use]
    pub fn gossip_stats(&self, pool: Pool) -> Option<GossipStats> {
        self.gossip.stats(pool)
    }

    /// Something came from a pool, or is asked of it.
    pub(in crate::node) fn gossip(&mut self, now: Time, pool: Pool, event: swim::Event<'_>, out: &mut Out<Action>) {
        let admitted = match &event {
            swim::Event::Datagram { from, .. } | swim::Event::Request { from, .. } => {
                settings::admits(&self.config, pool, from.ip())
            }
            _ => true,
        };
        let Some(seat) = self.gossip.seat_mut(pool) else { return };
        if !admitted {
            seat.stats.refused += 1;
            if let swim::Event::Request { stream, .. } = event {
                out.push(Action::Respond { pool, stream, frame: Vec::new() });
            }
            return;
        }
        seat.swim.handle(now, event, &mut seat.out);
        self.drain_seat(now, pool, out);
    }

    /// Fires the timers of the pools and around them.
    pub(in crate::node) fn gossip_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        for pool in Pool::ALL {
            let Some(seat) = self.gossip.seat_mut(pool) else { continue };
            seat.swim.handle_timeout(now, &mut seat.out);
            self.drain_seat(now, pool, out);
        }
        self.join_timeout(now, out);
        let own = Arc::clone(self.gossip.lan.swim.profile());
        if let Some(change) = self.gossip.places.write(now, self.gossip.lan.swim.members(), own.name()) {
            self.writes.file(change, out);
        }
        if self.gossip.refresh_at.take_if(|at| *at <= now).is_some() {
            self.refresh(now);
        }
        self.leaving_timeout(now, out);
    }

    fn drain_seat(&mut self, now: Time, pool: Pool, out: &mut Out<Action>) {
        let Some(seat) = self.gossip.seat_mut(pool) else { return };
        out.take_datagrams(pool.lane(), &mut seat.out);
        let mut actions = core::mem::take(&mut seat.out);
        for action in actions.drain_actions() {
            self.on_gossip(now, pool, action, out);
        }
        let Some(seat) = self.gossip.seat_mut(pool) else { return };
        seat.out = actions;
        let health = seat.swim.health_score();
        if core::mem::replace(&mut seat.shown_health, health) != health {
            self.agent_changed = true;
        }
    }

    fn on_gossip(&mut self, now: Time, pool: Pool, action: swim::Action, out: &mut Out<Action>) {
        match action {
            swim::Action::Dial { exchange, to, frame, limit } => {
                out.push(Action::Dial { pool, exchange, to, frame, limit });
            }
            swim::Action::Respond { stream, frame } => out.push(Action::Respond { pool, stream, frame }),
            swim::Action::Member { what, profile } => self.member_changed(now, pool, what, &profile, out),
            swim::Action::UserEvent(event) => self.user_event(pool, event, out),
            swim::Action::Joined { ticket, reached, errors } => {
                if let Some(outcome) = self.gossip.joins.joined(ticket, reached, errors) {
                    self.join_over(now, outcome, out);
                }
            }
            swim::Action::Left => self.left(now, pool, out),
            swim::Action::KeysDone { ticket, report } => self.keys_done(ticket, Ok(report)),
            swim::Action::KeysChanged { keys } => self.keep_keys(pool, &keys, out),
            swim::Action::Conflict { name, known, other, own } => {
                let line = if own {
                    format!(
                        "another agent at {other} has the name of this one, {name:?}, in the {} pool; rename one of the two \
                         (node_name)",
                        pool.name()
                    )
                } else {
                    format!(
                        "two agents have the name {name:?} in the {} pool: {known} and {other}; the first one counts, rename \
                         one of the two (node_name)",
                        pool.name()
                    )
                };
                Self::log_gossip(out, Level::Error, line);
            }
            swim::Action::Warn(text) => Self::log_gossip(out, Level::Warn, format!("{}: {text}", pool.name())),
        }
    }

    fn log_gossip(out: &mut Out<Action>, level: Level, message: String) {
        out.push(Action::Log { level, target: "agent.gossip", message });
    }

    fn member_changed(
        &mut self,
        now: Time,
        pool: Pool,
        what: MemberEvent,
        profile: &Arc<Profile>,
        out: &mut Out<Action>,
    ) {
        self.agent_changed = true;
        if pool == Pool::Lan && profile.tags().get("role") == Some("consul") {
            self.servers_seen(now);
        }
        let Some(seat) = self.gossip.seat_mut(pool) else { return };
        if profile.name() == seat.swim.profile().name() {
            return;
        }
        let stats = &mut seat.stats;
        let (level, text) = match what {
            MemberEvent::Joined => {
                stats.joined += 1;
                (Level::Info, "joined")
            }
            MemberEvent::Updated => (Level::Debug, "says something else of itself"),
            MemberEvent::Failed => {
                stats.failed += 1;
                (Level::Warn, "failed: it does not answer, and nobody vouched for it")
            }
            MemberEvent::Left => {
                stats.left += 1;
                (Level::Info, "left")
            }
            MemberEvent::Reaped => (Level::Info, "is forgotten"),
        };
        if what == MemberEvent::Joined && seat.failed_before.remove(profile.name()) {
            seat.stats.flapped += 1;
        }
        if what != MemberEvent::Failed {
            seat.failed_before.remove(profile.name());
        } else if seat.failed_before.len() < super::FLAPS {
            seat.failed_before.insert(profile.name().into());
        }
        let (name, address) = (profile.name(), profile.address());
        Self::log_gossip(out, level, format!("member {name:?} ({address}) {text} [{} pool]", pool.name()));
        self.gossip.refresh_at.get_or_insert(now + REFRESH);
        // Somebody understood us, and we them: the key is right, and worth keeping.
        if what == MemberEvent::Joined {
            self.keep_first_keys(pool, out);
        }
        if pool == Pool::Lan {
            self.gossip.places.changed(now);
            self.gossip.reconcile.changed(profile, what == MemberEvent::Reaped);
        }
    }

    fn keep_first_keys(&mut self, pool: Pool, out: &mut Out<Action>) {
        let Some(seat) = self.gossip.seat(pool) else { return };
        if !seat.keys_kept && !seat.swim.keyring().is_empty() {
            let keys: Vec<swim::Key> = seat.swim.keyring().keys().collect();
            self.keep_keys(pool, &keys, out);
        }
    }

    fn keep_keys(&mut self, pool: Pool, keys: &[swim::Key], out: &mut Out<Action>) {
        self.agent_changed = true;
        if self.config.disable_keyring_file {
            return;
        }
        if let Some(seat) = self.gossip.seat_mut(pool) {
            seat.keys_kept = true;
        }
        if let Some(change) = kept::keyring_file(pool, keys) {
            self.writes.file(change, out);
        }
    }

    fn user_event(&mut self, pool: Pool, event: UserEvent, out: &mut Out<Action>) {
        let Some(seat) = self.gossip.seat_mut(pool) else { return };
        // Events are fired into the own datacenter.
        if pool != Pool::Lan {
            return;
        }
        seat.stats.events += 1;
        let UserEvent { time, name, payload } = event;
        let understood = rumours::decode(name.clone(), time, &payload).and_then(|event| {
            let concerns = rumours::concerns(&event, &self.identity.node_name, self.local.services())?;
            Ok(concerns.then_some(event))
        });
        match understood {
            Ok(Some(event)) => {
                Self::log(out, Level::Debug, format!("new event: {name} ({})", event.id));
                rumours::remember(&mut self.gossip.events, event);
                self.agent_changed = true;
            }
            Ok(None) => {}
            Err(why) => Self::log(out, Level::Debug, format!("event {name:?} is ignored: {why}")),
        }
    }

    /// Begins what is due: `retry_join`, and the addresses of an earlier run.
    fn join_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        if self.member != MemberState::Alive {
            return;
        }
        let mut steps = Vec::new();
        for retry in &mut self.gossip.retries {
            if retry.due(now) {
                let port = settings::listens(&self.config, retry.pool).map_or(0, |at| at.port());
                self.gossip.joins.begin(Who::Config, retry.pool, &retry.addresses, port, &mut steps);
            }
        }
        self.take_steps(now, steps, out);
    }

    /// Tries some more addresses of an earlier run.
    pub(in crate::node) fn join_places(&mut self, now: Time, out: &mut Out<Action>) {
        let addresses: Vec<String> = self.gossip.places.next().iter().map(|at| format!("{at}")).collect();
        if addresses.is_empty() || self.member != MemberState::Alive {
            return;
        }
        let mut steps = Vec::new();
        self.gossip.joins.begin(Who::Kept, Pool::Lan, &addresses, 0, &mut steps);
        self.take_steps(now, steps, out);
    }

    pub(super) fn take_steps(&mut self, now: Time, steps: Vec<Step>, out: &mut Out<Action>) {
        for step in steps {
            match step {
                Step::Resolve { lookup, host, port } => out.push(Action::Resolve { lookup, host, port }),
                Step::Command(pool, command) => self.push(Work::Gossip { pool, command }),
                Step::Over(outcome) => self.join_over(now, outcome, out),
            }
        }
    }

    /// A name was looked up.
    pub(in crate::node) fn resolved(
        &mut self,
        now: Time,
        lookup: LookupId,
        result: Result<Vec<core::net::SocketAddr>, String>,
        out: &mut Out<Action>,
    ) {
        let mut steps = Vec::new();
        self.gossip.joins.resolved(lookup, result, &mut steps);
        self.take_steps(now, steps, out);
    }

    fn join_over(&mut self, now: Time, outcome: Outcome, out: &mut Out<Action>) {
        let Outcome { who, pool, reached, errors } = outcome;
        let name = pool.name();
        match who {
            Who::Client(id) if reached > 0 => {
                Self::log_gossip(out, Level::Info, format!("joined the {name} pool by contacting {reached} members"));
                self.reply(id, Response::empty(200));
            }
            Who::Client(id) => self.reply(id, Response::text(500, several(&errors))),
            Who::Config if reached > 0 => {
                Self::log_gossip(out, Level::Info, format!("joined the {name} pool by contacting {reached} members"));
                self.retry(pool).for_each(super::Retry::stop);
                self.joined_first(out);
            }
            Who::Config => {
                let after = self.retry(pool).filter_map(|retry| retry.failed(now)).last();
                let why = listed(&errors);
                match after {
                    Some(After::Again(wait)) => {
                        let seconds = wait.as_secs_f32();
                        let line = format!("joining the {name} pool failed, next try in {seconds} s: {why}");
                        Self::log_gossip(out, Level::Warn, line);
                    }
                    Some(After::Exhausted) if self.member == MemberState::Alive => {
                        let key = if pool == Pool::Lan { "retry_join" } else { "retry_join_wan" };
                        let line = format!(
                            "agent: max join {name} retry exhausted, exiting: {why}; check the addresses in {key}, or set \
                             retry_max to 0 to go on trying"
                        );
                        Self::log(out, Level::Error, line);
                        self.exit = Some(1);
                    }
                    _ => {}
                }
            }
            Who::Kept if reached > 0 => {
                self.gossip.places.stop();
                let line = format!("joined the {name} pool again by contacting {reached} members of the last run");
                Self::log_gossip(out, Level::Info, line);
            }
            Who::Kept => {
                let line = format!("members of the last run did not answer: {}", listed(&errors));
                Self::log_gossip(out, Level::Warn, line);
                self.join_places(now, out);
            }
        }
    }

    fn retry(&mut self, pool: Pool) -> impl Iterator<Item = &mut super::Retry> {
        self.gossip.retries.iter_mut().filter(move |retry| retry.pool == pool)
    }

    /// Shows readers what changes without an event, and tells the catalog where members are.
    fn refresh(&mut self, now: Time) {
        let mut others = false;
        for pool in Pool::ALL {
            let Some(seat) = self.gossip.seat_mut(pool) else { continue };
            others |= seat.swim.members().len() > 1;
            let place = seat.swim.coordinate();
            if core::mem::replace(&mut seat.shown_place, place) != place {
                self.agent_changed = true;
            }
        }
        if others {
            self.gossip.refresh_at = Some(now + REFRESH);
        }
        self.wan_coordinates();
        if self.leads {
            self.coordinates_due();
        }
    }

    /// Where servers are, by what the WAN pool measured.
    fn wan_coordinates(&mut self) {
        let Some(seat) = &self.gossip.wan else { return };
        let own = seat.swim.coordinate().map(|place| (Arc::clone(seat.swim.profile()), place));
        let all = own.into_iter().chain(seat.swim.coordinates());
        let places: Vec<_> = all
            .filter_map(|(profile, place)| {
                let datacenter = profile.tags().get("dc")?;
                let node = profile.name().strip_suffix(datacenter)?.strip_suffix('.')?;
                Some((String::from(node), String::from(datacenter), place))
            })
            .collect();
        if places != *self.gossip.wan_coordinates {
            self.gossip.wan_coordinates = Arc::new(places);
            self.agent_changed = true;
        }
    }

    /// Makes the catalog show what membership knows; on the leader.
    pub(in crate::node) fn reconcile(&mut self, now: Time, out: &mut Out<Action>) {
        if !self.leads || !self.started || self.gossip.reconcile.rests(now) {
            return;
        }
        let view = self.tables.catalog.view();
        let (mut proposals, mut texts) = (Vec::new(), Vec::new());
        let world = reconcile::World {
            config: &self.config,
            own: &self.identity.node_name,
            members: self.gossip.lan.swim.members(),
            view: &view,
        };
        self.gossip.reconcile.run(now, world, &mut proposals, &mut texts);
        for text in texts {
            Self::log_gossip(out, Level::Warn, text);
        }
        for reconcile::Proposal { member, command } in proposals {
            self.propose_own(*command, Origin::Member(member));
        }
    }

    /// Tells the pools what the agent says of itself, if that is different now.
    pub(in crate::node) fn retag(&mut self) {
        for pool in Pool::ALL {
            let Some(seat) = self.gossip.seat(pool) else { continue };
            // Longer ones would have refused the start; a reload changes flags only.
            let Ok(tags) = settings::tags(&self.config, &self.identity, pool) else { continue };
            if tags.view() != seat.swim.profile().tags() {
                self.push(Work::Gossip { pool, command: swim::Command::SetTags(tags) });
            }
        }
    }

    /// The leader tells the catalog where members are, as far as they moved.
    fn coordinates_due(&mut self) {
        let view = self.tables.catalog.view();
        let swim = &self.gossip.lan.swim;
        let own = swim.coordinate().map(|place| (Arc::clone(swim.profile()), place));
        let mut updates: Vec<CoordinateUpdate> = own
            .into_iter()
            .chain(swim.coordinates())
            .filter_map(|(profile, place)| {
                let tag = |key| profile.tags().get(key);
                let partition = tag("ap").unwrap_or("default");
                let segment = tag("segment").unwrap_or("");
                let coordinate = measured(&place);
                let known = view.coordinates_of(partition, profile.name());
                let known = known.iter().find(|row| *row.segment == *segment).map(|row| row.coordinate);
                let moved = known.is_none_or(|known| moved(&known, &coordinate));
                (moved && coordinate.is_valid() && view.node(partition, profile.name()).is_some()).then(|| {
                    CoordinateUpdate {
                        partition: partition.into(),
                        node: profile.name().into(),
                        segment: segment.into(),
                        coordinate,
                    }
                })
            })
            .take(COORDINATES)
            .collect();
        updates.sort_by(|a, b| a.node.cmp(&b.node));
        if !updates.is_empty() {
            self.propose_own(Command::Coordinates(updates), Origin::Coordinates);
        }
    }
}
