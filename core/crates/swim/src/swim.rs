//! The machine: its parts, and which event goes where.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_kit::{Deadline, Machine, Out, Rng, Time};

use crate::awareness::Awareness;
use crate::broadcast::Broadcasts;
use crate::config::Config;
use crate::doubt::Doubt;
use crate::event::{Action, Command, Event, MemberEvent};
use crate::exchange::Exchanges;
use crate::flaw::{Flaw, Flaws};
use crate::keys::Asked;
use crate::packet::Nonce;
use crate::probe::Probing;
use crate::rumour::Rumours;
use crate::seal::Keyring;
use crate::stall::{Loop, Stall};
use crate::stats::Stats;
use crate::suspicion::Suspicions;
use crate::table::{self, Entry, Members, Profile, State};
use crate::tags::Tags;
use crate::tombstone::Tombstones;
use crate::vivaldi::{Coordinate, Vivaldi};
use crate::wire::{self, Claim, Message};

/// Everything a machine needs to be built.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Unique in the pool.
    pub name: String,
    /// Where others reach it: packets and streams.
    pub address: SocketAddr,
    /// What it says of itself.
    pub tags: Tags,
    /// First incarnation: Unix seconds at the start, so that a restarted member is believed at once. Nothing depends on
    /// it: with a clock that went back the member refutes what is said of its earlier life.
    pub incarnation: u64,
    /// Keys; empty: nothing is sealed.
    pub keyring: Keyring,
    /// Settings.
    pub config: Config,
    /// Of all its randomness.
    pub seed: u64,
    /// Who is known already; the own entry is added or replaced. For simulations and tests that start in the middle.
    pub members: Members,
    /// A bug to put back; has no effect without the feature `flaws`.
    pub flaw: Option<Flaw>,
}

/// One member of a pool.
///
/// Built from a [`Boot`]; starts with the first call of [`Machine::handle_timeout`] or [`Machine::handle`]. It knows nobody
/// until it joins ([`Command::Join`]) or is joined. Datagrams it wants sent are in the `Out`; what it wants done over
/// streams are [`Action::Dial`] and [`Action::Respond`]. After [`Action::Left`] it is done, and answers nothing more.
///
/// It never resolves names, never retries a join, keeps nothing on disk.
#[derive(Debug)]
pub struct Swim {
    pub(crate) config: Config,
    pub(crate) flaws: Flaws,
    pub(crate) stall: Stall,
    pub(crate) rng: Rng,
    pub(crate) members: Members,
    /// Slot of the own entry.
    pub(crate) own: u32,
    pub(crate) profile: Arc<Profile>,
    pub(crate) keyring: Keyring,
    pub(crate) nonce: Nonce,
    pub(crate) life: Life,

    pub(crate) probing: Probing,
    pub(crate) awareness: Awareness,
    pub(crate) doubt: Doubt,
    pub(crate) suspicions: Suspicions,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) gossip_at: Option<Time>,
    pub(crate) gossiped: Time,
    pub(crate) exchanges: Exchanges,
    pub(crate) rumours: Rumours,
    pub(crate) asked: Asked,
    pub(crate) vivaldi: Option<Box<Vivaldi>>,

    pub(crate) tombstones: Tombstones,

    pub(crate) stats: Stats,
    pub(crate) warned: BTreeMap<&'static str, Time>,
    /// Members told in this call that they are held for gone.
    pub(crate) told_dead: u32,
    /// The last claim to a name that another member holds: slot of that one, who claims it, in which incarnation.
    pub(crate) contested: Option<(u32, Arc<Profile>, u64)>,
    /// Envelope version that every member understands.
    pub(crate) speaks: u8,
    pub(crate) packet: Vec<u8>,
    pub(crate) opened: Vec<u8>,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Built.
    New,
    /// Takes part.
    Running,
    /// Said goodbye; done at this time.
    Leaving(Time),
    /// Done.
    Left,
}

impl Swim {
    /// A member that knows nobody yet (save [`Boot::members`]).
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        let Boot { name, address, tags, incarnation, keyring, config, seed, members, flaw } = boot;
        let mut rng = Rng::new(seed);
        let profile = Arc::new(Profile::new(&name, address, &tags, config.versions));
        let flaws = flaws(flaw);
        let doubts = config.lifeguard.doubt && !flaws.has(Flaw::DeafVerdict);
        let mut swim = Self {
            flaws,
            stall: Stall::default(),
            members,
            own: 0,
            keyring,
            nonce: Nonce::new(&mut rng),
            life: Life::New,
            probing: Probing::new(&mut rng),
            awareness: Awareness::new(config.awareness_max),
            doubt: Doubt::new(if doubts { config.probe_interval } else { Duration::ZERO }),
            suspicions: Suspicions::default(),
            broadcasts: Broadcasts::default(),
            gossip_at: None,
            gossiped: Time::ZERO,
            exchanges: Exchanges::default(),
            rumours: Rumours::default(),
            asked: Asked::default(),
            vivaldi: config.coordinates.then(|| Box::new(Vivaldi::new(rng.fork()))),
            tombstones: Tombstones::default(),
            stats: Stats::default(),
            warned: BTreeMap::new(),
            told_dead: 0,
            contested: None,
            speaks: config.versions.max,
            packet: Vec::new(),
            opened: Vec::new(),
            rng,
            config,
            profile: Arc::clone(&profile),
        };
        swim.settle_in(&profile, incarnation);
        swim.find_language();
        swim
    }

    /// Puts itself into the table, and gives those who are gone the time that is left to them.
    fn settle_in(&mut self, profile: &Arc<Profile>, incarnation: u64) {
        let incarnation = incarnation.min(wire::MAX_ACCUSED);
        self.own = match self.members.slot_of(profile.name()) {
            None => {
                let entry = Entry { profile: Arc::clone(profile), incarnation, since: Time::ZERO, state: State::Alive };
                self.members.insert(entry)
            }
            Some(slot) => {
                let same = self.members.entry(slot).is_some_and(|own| {
                    *own.profile == **profile && own.incarnation == incarnation && own.state == State::Alive
                });
                if !same {
                    self.members.update(slot, |own| {
                        own.profile = Arc::clone(profile);
                        own.incarnation = own.incarnation.max(incarnation);
                        own.state = State::Alive;
                    });
                }
                slot
            }
        };
        let gone = self.members.occupied().filter(|(_, entry)| !entry.state.is_up());
        let gone: Vec<(u32, Duration)> =
            gone.map(|(slot, entry)| (slot, self.tombstone(entry.state, &entry.profile))).collect();
        for (slot, stays) in gone {
            let stays = if self.flaws.has(Flaw::RestoredIsOld) { Duration::ZERO } else { stays };
            self.expire_at(slot, Time::ZERO + stays);
        }
    }

    /// What it sends by the clock is blocked from now on, or not any more: its loops stand still at their next send, one
    /// by one, and go on from there with the first call after the end. For the simulator, which keeps what they send meanwhile.
    #[cfg(feature = "flaws")]
    pub const fn block_sends(&mut self, blocked: bool) {
        self.stall.block(blocked);
    }

    // ---- what others may ask

    /// Who is known, the own member included.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// What it says of itself now.
    #[must_use]
    pub const fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The keys in force.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where it is; `None` with [`Config::coordinates`] off.
    #[must_use]
    pub fn coordinate(&self) -> Option<Coordinate> {
        self.vivaldi.as_ref().map(|v| v.own())
    }

    /// Where others are, as far as their acks told; in order of their slots. Computed anew at each call.
    #[must_use]
    pub fn coordinates(&self) -> Vec<(Arc<Profile>, Coordinate)> {
        let Some(vivaldi) = &self.vivaldi else { return Vec::new() };
        let of = |(slot, coordinate)| Some((Arc::clone(&self.members.entry(slot)?.profile), coordinate));
        vivaldi.others().filter_map(of).collect()
    }

    /// Coordinates thrown away because they made no sense.
    #[must_use]
    pub fn coordinate_resets(&self) -> u64 {
        self.vivaldi.as_ref().map_or(0, |v| v.resets())
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How ill it believes itself to be: 0 (well) to [`Config::awareness_max`] - 1.
    #[must_use]
    pub const fn health_score(&self) -> u32 {
        self.awareness.score()
    }

    /// Broadcasts that wait.
    #[must_use]
    pub fn broadcasts(&self) -> usize {
        self.broadcasts.len()
    }

    /// Things remembered that are no members: tombstones' deadlines, graves, events, operations. Bounded; for tests.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.tombstones.len() + self.rumours.len() + self.asked.len() + self.exchanges.len() + self.probing.relays()
    }

    /// Its own incarnation.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.members.entry(self.own).map_or(0, |own| own.incarnation)
    }

    /// Lamport time of the newest user event it knows of.
    #[must_use]
    pub const fn event_time(&self) -> u64 {
        self.rumours.clock()
    }

    /// It is leaving or has left.
    #[must_use]
    pub const fn leaving(&self) -> bool {
        matches!(self.life, Life::Leaving(_) | Life::Left)
    }

    // ---- beginning and end

    fn start(&mut self, now: Time, out: &mut Out<Action>) {
        self.life = Life::Running;
        self.doubt.start(now);
        self.start_probing(now);
        self.start_exchanging(now);
        out.push(Action::Member { what: MemberEvent::Joined, profile: Arc::clone(&self.profile) });
    }

    fn leave(&mut self, now: Time, out: &mut Out<Action>) {
        if self.leaving() {
            return;
        }
        let alone = self.members.up() <= 1;
        let own = self.own;
        self.members.update(own, |own| {
            own.incarnation += 1;
            own.state = State::Left;
            own.since = now;
        });
        let incarnation = self.incarnation();
        let profile = Arc::clone(&self.profile);
        self.tell(now, table::hash(profile.name()), &Message::Left { name: profile.name(), incarnation, prune: false });
        out.push(Action::Member { what: MemberEvent::Left, profile });
        self.life = if alone { Life::Left } else { Life::Leaving(now + self.config.leave_delay) };
        if alone {
            out.push(Action::Left);
        }
    }

    fn command(&mut self, now: Time, command: Command, out: &mut Out<Action>) {
        match command {
            Command::Join { ticket, addresses } => self.join(ticket, &addresses, out),
            Command::Leave => self.leave(now, out),
            Command::ForceLeave { name, prune } => self.force_leave(now, &name, prune, out),
            Command::UserEvent { name, payload } => self.fire(now, &name, &payload, out),
            Command::SetTags(tags) => self.set_tags(now, &tags, out),
            Command::Keys { ticket, op, local } => self.ask_keys(now, ticket, &op, local, out),
        }
    }

    fn set_tags(&mut self, now: Time, tags: &Tags, out: &mut Out<Action>) {
        if self.leaving() || self.profile.tags() == tags.view() {
            return;
        }
        let profile = Profile::new(self.profile.name(), self.profile.address(), tags, self.profile.versions());
        self.profile = Arc::new(profile);
        let (own, profile) = (self.own, Arc::clone(&self.profile));
        self.members.update(own, |own| own.profile = profile);
        self.raise(now, self.incarnation());
        out.push(Action::Member { what: MemberEvent::Updated, profile: Arc::clone(&self.profile) });
    }

    /// Claims again to be alive, above `incarnation`.
    pub(crate) fn raise(&mut self, now: Time, incarnation: u64) {
        let own = self.own;
        let wraps = self.flaws.has(Flaw::WrappingIncarnation);
        self.members.update(own, |own| {
            let next = own.incarnation.max(incarnation) + 1;
            own.incarnation = if wraps { u64::from(next as u32) } else { next };
        });
        let profile = Arc::clone(&self.profile);
        let claim = Claim::of(&profile, self.incarnation());
        self.tell(now, table::hash(profile.name()), &Message::Alive(claim));
    }

    // ---- hearing

    /// Somebody of this pool was heard, whoever it was.
    pub(crate) fn heard(&mut self, now: Time) {
        self.stats.doubts += u64::from(self.doubt.heard(now));
    }

    pub(crate) fn message(&mut self, now: Time, from: SocketAddr, message: &Message<'_>, out: &mut Out<Action>) {
        match message {
            Message::Ping { seq, target } => self.on_ping(from, *seq, target, out),
            Message::Ack { seq, coordinate } => self.on_ack(now, from, *seq, coordinate.as_ref(), out),
            Message::Nack { seq } => self.on_nack(*seq),
            Message::PingFor { seq, target, address } => self.on_ping_for(now, from, *seq, target, *address, out),
            Message::Alive(claim) => self.on_alive(now, claim, out),
            Message::Suspect { name, incarnation, accuser, others } => {
                self.correct(from, name, *incarnation, out);
                // Without an accuser it is a question. Only whom it is about has more to say to it.
                if !accuser.is_empty() || *name == self.profile.name() {
                    self.on_suspect(now, name, *incarnation, accuser, others);
                }
            }
            Message::Failed { name, incarnation, accuser } => {
                self.correct(from, name, *incarnation, out);
                self.on_failed(now, name, *incarnation, accuser, out);
            }
            Message::Left { name, incarnation, prune } => self.on_left(now, name, *incarnation, *prune, out),
            Message::Rumour(rumour) => self.on_rumour(now, rumour, out),
            Message::KeysAsk(ask) => self.on_keys_ask(now, ask, out),
            Message::KeysAnswer(answer) => self.on_keys_answer(answer),
        }
    }

    fn suspicion_due(&self) -> Option<Time> {
        self.suspicions.deadline().and_then(|at| self.doubt.due(at))
    }

    // ---- choosing

    /// Up to `count` members that fit, at random, without repetition.
    pub(crate) fn pick(&mut self, count: usize, fits: impl Fn(u32, &Entry, &Self) -> bool) -> Vec<Arc<Profile>> {
        let mut picked = Vec::with_capacity(count);
        let slots = self.members.slots();
        if self.flaws.has(Flaw::HelpersMissed) {
            for _ in 0..count {
                let slot = self.rng.below(u64::from(slots)) as u32;
                if let Some(entry) = self.members.entry(slot).filter(|entry| fits(slot, entry, self)) {
                    picked.push(Arc::clone(&entry.profile));
                }
            }
            return picked;
        }
        let mut order = crate::probe::Order::new(self.rng.next_u64(), slots);
        while picked.len() < count
            && let Some(slot) = order.next()
        {
            if let Some(entry) = self.members.entry(slot).filter(|entry| fits(slot, entry, self)) {
                picked.push(Arc::clone(&entry.profile));
            }
        }
        picked
    }
}

#[cfg(feature = "flaws")]
fn flaws(flaw: Option<Flaw>) -> Flaws {
    flaw.map_or_else(Flaws::default, Flaws::with)
}

#[cfg(not(feature = "flaws"))]
fn flaws(_: Option<Flaw>) -> Flaws {
    Flaws::default()
}

impl Machine for Swim {
    type Event<'a> = Event<'a>;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event<'_>, out: &mut Out<Action>) {
        self.told_dead = 0;
        if self.life == Life::New {
            self.start(now, out);
        }
        if self.life == Life::Left {
            if let Event::Request { stream, .. } = event {
                out.push(Action::Respond { stream, frame: Vec::new() });
            }
            return;
        }
        match event {
            Event::Datagram { from, bytes } => self.datagram(now, from, bytes, out),
            Event::Request { stream, from, frame } => self.on_request(now, stream, from, frame, out),
            Event::Response { exchange, frame } => self.on_response(now, exchange, frame, out),
            Event::DialFailed { exchange, error } => self.on_dial_failed(exchange, error, out),
            Event::Command(command) => self.command(now, command, out),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        match self.life {
            Life::New => self.start(now, out),
            Life::Left => return,
            Life::Leaving(at) if at <= now => {
                self.life = Life::Left;
                out.push(Action::Left);
                return;
            }
            Life::Leaving(_) | Life::Running => {}
        }
        let due = [self.probing.turn(self.stall.holds(Loop::Probe)), self.suspicion_due()];
        self.stats.doubts += u64::from(self.doubt.woke(now, due.into_iter().flatten().min()));
        self.probe_timers(now, out);
        if let Some(clock) = self.doubt.decides(now) {
            while let Some(recheck) = self.suspicions.pop_recheck(clock) {
                self.recheck(recheck, out);
            }
            // A failed probe may have been the confirmation that ends a suspicion.
            while let Some(slot) = self.suspicions.pop_due(clock) {
                self.verdict(now, slot, out);
            }
        }
        self.reap(now, out);
        self.exchange_timers(now, out);
        self.keys_timers(now, out);
        if self.gossip_due().is_some_and(|at| at <= now) {
            self.gossip(now, out);
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let at = |at: Option<Time>, reason| at.map(|at| Deadline { at, reason });
        match self.life {
            Life::New => return at(Some(Time::ZERO), "start"),
            Life::Left => return None,
            Life::Leaving(_) | Life::Running => {}
        }
        let leaving = match self.life {
            Life::Leaving(at) => Some(at),
            _ => None,
        };
        [
            at(self.suspicion_due(), "suspicion"),
            at(self.tombstones.deadline(), "reap"),
            at(self.gossip_due(), "gossip"),
            at(leaving, "leave"),
            self.exchanges.deadline(self.stall),
            self.asked.deadline(),
        ]
        .into_iter()
        .fold(self.probing.deadline(self.stall.holds(Loop::Probe)), Deadline::earliest)
    }
}
