//! The world: nodes, a network between them, and one agenda.

use std::collections::BTreeMap;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use convoke_kit::{Machine as _, Out, Rng, Time};
use convoke_swim::{Action, Boot, Command, Event, Flaw, Keyring, MemberEvent, Members, Profile, Swim};

use crate::agenda::{Agenda, What};
use crate::clock::Clock;
use crate::digest::{self, Digest};
use crate::network::{Fate, Link, Network};
use crate::node::{Blocking, Health, Node, Spec, Waiting};
use crate::note::{Counters, Note, Seen};
use crate::pool::{Packet, Pool};
use crate::stream::Stream;
use crate::tape::Tape;

/// Where everybody listens.
pub const PORT: u16 = 8301;
/// Unix seconds when a world begins.
pub const EPOCH: i64 = 1_750_000_000;
/// What a Linux kernel holds for a UDP socket that nobody reads, unless told otherwise (`net.core.rmem_default`).
pub const SOCKET_BYTES: usize = 212_992;

/// The address of a number: 10.x.y.z.
#[must_use]
pub const fn address_of(number: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number)), PORT)
}

/// The number of an address of this world.
pub(crate) const fn address_number(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V4(v4) if v4.ip().to_bits() >> 24 == 10 && v4.port() == PORT => Some(v4.ip().to_bits() & 0xff_ffff),
        _ => None,
    }
}

/// Whole clusters in one thread and virtual time.
///
/// Make one, [`World::add`] nodes, then alternate between letting time pass ([`World::run_for`]) and doing something
/// (commands, faults of `faults.rs`, [`World::network`]). What the nodes say is collected as notes
/// ([`World::take_notes`]). The same seed and the same calls give the same run, bit for bit; [`World::hash`] tells.
#[derive(Debug)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) agenda: Agenda,
    pub(crate) nodes: Vec<Node>,
    /// Node of each address number; `u32::MAX`: nobody's any more.
    pub(crate) homes: Vec<u32>,
    names: BTreeMap<String, u32>,
    pub(crate) packets: Pool<Packet>,
    pub(crate) streams: Pool<Stream>,
    /// Who reaches whom, and how well.
    pub network: Network,
    pub(crate) rng: Rng,
    pub(crate) out: Out<Action>,
    digest: Digest,
    pub(crate) counters: Counters,
    notes: Vec<Note>,
    watch_members: bool,
    watch_probes: bool,
    flaw: Option<Flaw>,
    pub(crate) tape: Option<Tape>,
    /// What becomes of a member whose sends are blocked.
    pub(crate) blocking: Blocking,
    /// Whatever happens is written to stderr.
    pub(crate) traced: bool,
}

impl World {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            now: 0,
            agenda: Agenda::default(),
            nodes: Vec::new(),
            homes: Vec::new(),
            names: BTreeMap::new(),
            packets: Pool::default(),
            streams: Pool::default(),
            network: Network::new(link),
            rng: Rng::new(seed),
            out: Out::new(),
            digest: Digest::new(seed),
            counters: Counters::default(),
            notes: Vec::new(),
            watch_members: true,
            watch_probes: false,
            flaw: None,
            tape: None,
            blocking: Blocking::Process,
            traced: false,
        }
    }

    /// Puts a known bug into every member started from now on, unless its spec names another.
    #[must_use]
    pub const fn with_flaw(mut self, flaw: Option<Flaw>) -> Self {
        self.flaw = flaw;
        self
    }

    /// Notes who is probed by whom ([`Seen::Probe`]).
    pub const fn watch_probes(&mut self) {
        self.watch_probes = true;
    }

    /// Whether member events become notes. On unless turned off: a join of thousands makes millions.
    pub const fn watch_members(&mut self, on: bool) {
        self.watch_members = on;
    }

    /// Adds a place and starts a member there, now.
    pub fn add(&mut self, spec: Spec) -> u32 {
        let node = self.place(spec);
        self.start(node);
        node
    }

    /// Adds a place where nobody lives yet.
    pub fn place(&mut self, spec: Spec) -> u32 {
        let node = self.nodes.len() as u32;
        let address = self.new_address(node);
        self.names.insert(spec.name.clone(), node);
        self.nodes.push(Node {
            spec,
            address,
            swim: None,
            clock: Clock::new(0, 0),
            health: Health::Down,
            scheduled: u64::MAX,
            stuck: false,
            overdue: false,
            inbox: std::collections::VecDeque::new(),
            inbox_bytes: 0,
            outbox: Vec::new(),
            held: Vec::new(),
            starving: None,
            since: self.now,
            highest: 0,
            probes: 0,
            told: convoke_swim::Stats::default(),
            left: false,
            lives: 0,
            churn: None,
        });
        node
    }

    /// Adds `n` nodes that all know each other, and starts them. Their tables are one until they differ.
    pub fn add_cluster(&mut self, n: usize, make: impl Fn(usize) -> Spec) {
        let first = self.nodes.len();
        for i in 0..n {
            self.place(make(i));
        }
        let known = Members::of((first..first + n).map(|i| {
            let node = &self.nodes[i];
            let spec = &node.spec;
            let profile = Profile::new(&spec.name, address_of(node.address), &spec.tags, spec.config.versions);
            (profile, self.first_incarnation(i))
        }));
        for node in first..first + n {
            self.nodes[node].spec.members = known.clone();
            self.start(node as u32);
            // A restart begins with nobody known, unless the scenario says otherwise.
            self.nodes[node].spec.members = Members::default();
        }
    }

    fn new_address(&mut self, node: u32) -> u32 {
        assert!(self.homes.len() < 1 << 24, "no addresses left");
        self.homes.push(node);
        self.homes.len() as u32 - 1
    }

    /// Gives a node another address; packets to the old one are lost. For nodes that are down.
    pub fn move_house(&mut self, node: u32) -> SocketAddr {
        assert!(!self.nodes[node as usize].is_up(), "a running member keeps its address");
        let old = self.nodes[node as usize].address;
        self.homes[old as usize] = u32::MAX;
        let address = self.new_address(node);
        self.nodes[node as usize].address = address;
        address_of(address)
    }

    fn first_incarnation(&self, node: usize) -> u64 {
        let spec = &self.nodes[node].spec;
        let wall = EPOCH + (self.now / 1_000_000_000) as i64 + spec.wall_skew;
        spec.incarnation.unwrap_or_else(|| u64::try_from(wall).unwrap_or(0))
    }

    /// Starts a member at a place where none lives.
    pub fn start(&mut self, number: u32) {
        let incarnation = self.first_incarnation(number as usize);
        let seed = self.rng.next_u64();
        let address = address_of(self.nodes[number as usize].address);
        let node = &mut self.nodes[number as usize];
        assert!(node.swim.is_none(), "node {number} is up already");
        let spec = &node.spec;
        node.swim = Some(Swim::new(Boot {
            name: spec.name.clone(),
            address,
            tags: spec.tags.clone(),
            incarnation,
            keyring: spec.keyring.clone(),
            config: spec.config.clone(),
            seed,
            members: spec.members.clone(),
            flaw: spec.flaw.or(self.flaw),
        }));
        node.clock = Clock::new(self.now, spec.drift_ppm);
        node.health = Health::Up;
        node.scheduled = u64::MAX;
        node.stuck = false;
        node.overdue = false;
        node.since = self.now;
        node.left = false;
        node.probes = 0;
        node.told = convoke_swim::Stats::default();
        node.lives += 1;
        self.digest.add(self.now, 5, number, incarnation);
        self.fire(number);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(Time::from_nanos(self.now) + span);
    }

    /// Lets time pass until then.
    pub fn run_until(&mut self, until: Time) {
        let until = until.as_nanos();
        while let Some((at, what)) = self.agenda.pop(until) {
            self.now = at;
            self.counters.events += 1;
            match what {
                What::Timer(node) => self.timer(node, at),
                What::Packet(packet) => self.packet(packet),
                What::Request(stream) => self.request(stream),
                What::Response(stream) => self.response(stream),
                What::Limit(stream) => self.limit(stream),
                What::Turn(node) => self.turn(node),
                What::Churn(node) => self.churn(node),
            }
        }
        self.now = self.now.max(until);
    }

    /// Hands a member a command. Without effect on a node that is down or stands still.
    pub fn command(&mut self, node: u32, command: Command) {
        if self.nodes[node as usize].is_up() && !self.nodes[node as usize].stands_still() {
            self.digest.add(self.now, 6, node, 0);
            self.hand(node, Event::Command(command));
        }
    }

    /// Hands a member a packet from nowhere in particular.
    pub fn inject(&mut self, to: u32, from: SocketAddr, bytes: &[u8]) {
        if self.nodes[to as usize].health == Health::Up {
            self.fold(1, to, digest::bytes(bytes));
            self.hand(to, Event::Datagram { from, bytes });
        }
    }

    /// Hands a member the frame of a stream from a stranger; the answer goes nowhere.
    pub fn inject_frame(&mut self, to: u32, from: SocketAddr, frame: &[u8]) {
        if self.nodes[to as usize].health == Health::Up {
            self.fold(2, to, digest::bytes(frame));
            self.hand(to, Event::Request { stream: convoke_swim::StreamId(u64::MAX), from, frame });
        }
    }

    /// Hands an event to a member and carries out what it wants.
    pub(crate) fn hand(&mut self, number: u32, event: Event<'_>) {
        let node = &mut self.nodes[number as usize];
        let Some(swim) = &mut node.swim else { return };
        swim.handle(node.clock.local(self.now), event, &mut self.out);
        self.carry_out(number, false);
    }

    /// Fires the timers of a member that are due.
    pub(crate) fn fire(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let Some(swim) = &mut node.swim else { return };
        self.counters.timeouts += 1;
        swim.handle_timeout(node.clock.local(self.now), &mut self.out);
        self.carry_out(number, true);
    }

    fn timer(&mut self, number: u32, at: u64) {
        let node = &mut self.nodes[number as usize];
        if node.scheduled != at {
            // An entry that was overtaken by an earlier one, or of an earlier life.
            return;
        }
        node.scheduled = u64::MAX;
        match node.health {
            Health::Down => {}
            _ if node.stands_still() => node.overdue = true,
            _ => {
                let local = node.clock.local(at);
                if node.swim.as_ref().and_then(Swim::poll_timeout).is_some_and(|deadline| deadline.at <= local) {
                    self.digest.add(at, 0, number, 0);
                    self.fire(number);
                } else {
                    self.schedule(number);
                }
            }
        }
    }

    /// Sees to it that the node's next deadline is on the agenda. Entries are lazy: one that is too early asks again.
    fn schedule(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let Some(deadline) = node.swim.as_ref().and_then(Swim::poll_timeout) else { return };
        let mut at = node.clock.world(deadline.at).max(self.now);
        if at >= node.scheduled || at == u64::MAX {
            return;
        }
        if !node.spec.late.is_zero() {
            at += self.rng.below(node.spec.late.as_nanos() as u64);
            if at >= node.scheduled {
                return;
            }
        }
        node.scheduled = at;
        self.agenda.push(at, What::Timer(number));
    }

    /// Sends the datagrams and carries out the actions of the last call.
    fn carry_out(&mut self, number: u32, own_account: bool) {
        if !self.out.is_empty() {
            let mut out = mem::take(&mut self.out);
            let blocked = self.nodes[number as usize].health == Health::Blocked;
            if self.watch_probes && own_account {
                self.note_probe(number);
            }
            for datagram in out.datagrams() {
                self.counters.packets += 1;
                self.counters.bytes += datagram.bytes.len() as u64;
                if let Some(tape) = &mut self.tape {
                    tape.record(number, datagram.to, datagram.bytes);
                }
                let to = self.node_at(datagram.to);
                match to {
                    None => self.counters.lost += 1,
                    Some(to) if blocked => {
                        let packet = self.pack(number, datagram.to, datagram.bytes);
                        self.nodes[number as usize].outbox.push((packet, to));
                    }
                    Some(to) => match self.network.packet(&mut self.rng, number, to, self.now) {
                        Fate::Lost => self.counters.lost += 1,
                        Fate::Once(delay) => self.send(number, datagram.to, datagram.bytes, delay),
                        Fate::Twice(delay, again) => {
                            self.send(number, datagram.to, datagram.bytes, delay);
                            self.send(number, datagram.to, datagram.bytes, again);
                        }
                    },
                }
            }
            self.nodes[number as usize].stuck |=
                blocked && self.blocking == Blocking::Process && out.datagrams().len() > 0;
            out.clear_datagrams();
            for action in out.drain_actions() {
                self.act(number, action);
            }
            self.out = out;
        }
        if self.traced {
            self.trace_counters(number);
        }
        self.schedule(number);
    }

    /// Notes whom the last call began to probe, if it did.
    fn note_probe(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let Some(swim) = &node.swim else { return };
        let count = swim.stats().probes;
        if count > mem::replace(&mut node.probes, count)
            && let Some(to) = swim.probing().first().and_then(|name| self.names.get(*name))
        {
            let (to, life) = (*to, self.nodes[*to as usize].lives);
            self.note(number, Seen::Probe { to, life, count });
        }
    }

    fn send(&mut self, from: u32, to: SocketAddr, bytes: &[u8], delay: u64) {
        let packet = self.pack(from, to, bytes);
        self.agenda.push(self.now + delay, What::Packet(packet));
    }

    fn pack(&mut self, from: u32, to: SocketAddr, bytes: &[u8]) -> u32 {
        let from = address_of(self.nodes[from as usize].address);
        let number = self.packets.take(|| Packet { from, to: 0, bytes: Vec::new() });
        let packet = &mut self.packets[number];
        packet.from = from;
        packet.to = address_number(to).unwrap_or(u32::MAX);
        packet.bytes.clear();
        packet.bytes.extend_from_slice(bytes);
        number
    }

    /// Sends a packet that was held back.
    pub(crate) fn send_held(&mut self, from: u32, number: u32, to: u32) {
        match self.network.packet(&mut self.rng, from, to, self.now) {
            Fate::Lost => {
                self.counters.lost += 1;
                self.packets.give(number);
            }
            Fate::Once(delay) | Fate::Twice(delay, _) => self.agenda.push(self.now + delay, What::Packet(number)),
        }
    }

    /// A packet comes to its address.
    fn packet(&mut self, number: u32) {
        let packet = &self.packets[number];
        let node = self.homes.get(packet.to as usize).copied().unwrap_or(u32::MAX);
        let health = self.nodes.get(node as usize).map_or(Health::Down, Node::health);
        match health {
            Health::Up => self.hand_packet(node, number),
            Health::Down => {
                self.counters.lost += 1;
                self.packets.give(number);
            }
            Health::Paused | Health::Blocked => {
                let size = kernel_size(packet.bytes.len());
                let node = &mut self.nodes[node as usize];
                if node.inbox_bytes + size > SOCKET_BYTES {
                    self.counters.overflowed += 1;
                    self.packets.give(number);
                } else {
                    node.inbox_bytes += size;
                    node.inbox.push_back(Waiting::Packet(number));
                }
            }
        }
    }

    /// Hands a packet to a member.
    pub(crate) fn hand_packet(&mut self, node: u32, number: u32) {
        let packet = &mut self.packets[number];
        let from = packet.from;
        let bytes = mem::take(&mut packet.bytes);
        self.counters.delivered += 1;
        self.digest.add(self.now, 1, node, digest::bytes(&bytes));
        self.hand(node, Event::Datagram { from, bytes: &bytes });
        self.packets[number].bytes = bytes;
        self.packets.give(number);
    }

    fn act(&mut self, number: u32, action: Action) {
        match action {
            Action::Dial { exchange, to, frame, limit } => {
                self.fold(7, number, exchange.0 ^ digest::bytes(&frame));
                self.dial(number, exchange, to, frame, limit);
            }
            Action::Respond { stream, frame } => {
                self.fold(8, number, digest::bytes(&frame));
                if stream.0 != u64::MAX {
                    self.respond(number, stream, frame);
                }
            }
            Action::Member { what, profile } => {
                self.fold(9, number, digest::bytes(profile.name().as_bytes()) ^ what as u64);
                self.counters.failed += u64::from(what == MemberEvent::Failed);
                if self.watch_members {
                    let subject = self.names.get(profile.name()).copied();
                    self.note(number, Seen::Member { subject, what });
                }
            }
            Action::UserEvent(event) => {
                self.fold(10, number, digest::bytes(event.name.as_bytes()) ^ event.time);
                self.note(number, Seen::UserEvent(event));
            }
            Action::Joined { ticket, reached, errors } => {
                self.fold(11, number, reached as u64);
                self.note(number, Seen::Joined { ticket, reached, failed: errors.len() });
            }
            Action::Left => {
                self.fold(12, number, 0);
                self.nodes[number as usize].left = true;
                self.note(number, Seen::Left);
            }
            Action::KeysDone { ticket, report } => {
                self.fold(13, number, report.replies as u64);
                self.note(number, Seen::KeysDone { ticket, report: Box::new(report) });
            }
            Action::KeysChanged { keys } => {
                self.fold(14, number, keys.len() as u64);
                // Kept, as an agent keeps it on disk.
                if let Ok(ring) = Keyring::new(&keys) {
                    self.nodes[number as usize].spec.keyring = ring;
                }
            }
            Action::Conflict { known, other, own, .. } => {
                self.fold(15, number, u64::from(own));
                self.note(number, Seen::Conflict { known, other, own });
            }
            Action::Warn(text) => {
                self.fold(16, number, digest::bytes(text.as_bytes()));
                self.note(number, Seen::Warn(text));
            }
        }
    }

    fn note(&mut self, node: u32, what: Seen) {
        let life = self.nodes[node as usize].lives;
        let note = Note { at: Time::from_nanos(self.now), node, life, what };
        if self.traced {
            self.trace(&note);
        }
        self.notes.push(note);
    }

    pub(crate) fn fold(&mut self, kind: u64, who: u32, what: u64) {
        self.digest.add(self.now, kind, who, what);
    }

    /// Now.
    #[must_use]
    pub const fn now(&self) -> Time {
        Time::from_nanos(self.now)
    }

    /// How many places there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// There are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A place.
    #[must_use]
    pub fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    /// All places, with their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, &Node)> {
        (0..).zip(&self.nodes)
    }

    /// What a node will be started with next time.
    pub fn spec_mut(&mut self, number: u32) -> &mut Spec {
        &mut self.nodes[number as usize].spec
    }

    /// The address of a node.
    #[must_use]
    pub fn address_of(&self, number: u32) -> SocketAddr {
        address_of(self.nodes[number as usize].address)
    }

    /// The node of this name; of several, the last.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Takes what was noted since the last call, into a buffer that is used again.
    pub fn take_notes(&mut self, into: &mut Vec<Note>) {
        into.clear();
        mem::swap(&mut self.notes, into);
    }

    /// Totals.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The hash of everything that was delivered and emitted so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.digest.value()
    }

    /// The world's own randomness, for scenarios that draw.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Packets under way, streams open, entries of the agenda: for tests of leaks.
    #[must_use]
    pub fn pending(&self) -> (usize, usize, usize) {
        (self.packets.used(), self.streams.used(), self.agenda.len())
    }
}

/// What a packet takes of a socket's buffer: the kernel counts whole pieces.
pub(crate) const fn kernel_size(len: usize) -> usize {
    if len <= 192 { 768 } else { len.next_power_of_two() + 768 }
}
