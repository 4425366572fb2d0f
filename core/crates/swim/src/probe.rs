//! Who is asked, when, and what silence means (SWIM sections 3.1 and 4.3, Lifeguard section 4.1).

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_kit::{Deadline, Out, Rng, Time};

use crate::event::Action;
use crate::exchange::Purpose;
use crate::flaw::Flaw;
use crate::stall::Loop;
use crate::swim::{Life, Swim};
use crate::table::{Profile, State};
use crate::vivaldi::Coordinate;
use crate::wire::{Frame, Message};

/// Probes for others that may be under way; beyond it those who ask hear nothing, as if the packet were lost.
const MAX_RELAYS: usize = 256;
/// Between two looks for somebody to probe.
const ALONE: Duration = Duration::from_secs(1);

/// A random order of the numbers below `n`, without memory: a Feistel network over the next power of four.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    key: u64,
    n: u32,
    half: u32,
    cursor: u64,
}

impl Order {
    pub(crate) const fn new(key: u64, n: u32) -> Self {
        let bits = u32::BITS - n.leading_zeros();
        let half = if bits < 2 { 1 } else { bits.div_ceil(2) };
        Self { key, n, half, cursor: 0 }
    }

    const fn permute(&self, at: u64) -> u64 {
        let mask = (1_u64 << self.half) - 1;
        let (mut left, mut right) = (at >> self.half, at & mask);
        let mut round = 0;
        while round < 4 {
            let mut z = (right ^ (self.key.rotate_left(round * 16))).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z ^= z >> 29;
            z = z.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (left, right) = (right, (left ^ (z >> 32)) & mask);
            round += 1;
        }
        (left << self.half) | right
    }
}

impl Iterator for Order {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        while self.cursor < 1 << (2 * self.half) {
            let value = self.permute(self.cursor);
            self.cursor += 1;
            if value < u64::from(self.n) {
                return Some(value as u32);
            }
        }
        None
    }
}

/// Probes under way: one of its own, some for others.
#[derive(Debug)]
pub(crate) struct Probing {
    order: Order,
    /// Next probe; the one under way is over then.
    tick: Time,
    seq: u32,
    current: Option<Current>,
    /// To be probed next, out of order.
    urgent: Option<u32>,
    /// Oldest first.
    relays: VecDeque<Relay>,
    /// Of these, the first that was not told of silence.
    waiting: usize,
}

#[derive(Debug)]
struct Current {
    slot: u32,
    target: Arc<Profile>,
    /// What is asked after: if it claims a newer one meanwhile, it lives.
    incarnation: u64,
    seq: u32,
    sent: Time,
    /// When helpers are asked, unless they are already.
    helpers_at: Option<Time>,
    nacks_wanted: u32,
    nacks: u32,
}

/// A probe for somebody else.
#[derive(Debug)]
struct Relay {
    /// Who asked, under which number.
    asker: SocketAddr,
    asked: u32,
    seq: u32,
    nack_at: Time,
    done: bool,
}

impl Probing {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            order: Order::new(0, 0),
            tick: Time::ZERO,
            // Not zero: numbers of an earlier life are not mistaken for ours.
            seq: rng.next_u64() as u32,
            current: None,
            urgent: None,
            relays: VecDeque::new(),
            waiting: 0,
        }
    }

    pub(crate) fn relays(&self) -> usize {
        self.relays.len()
    }

    /// When the own probe loop goes on, with the same `still` as below.
    pub(crate) fn turn(&self, still: bool) -> Option<Time> {
        let helpers = self.current.as_ref().and_then(|c| c.helpers_at);
        (!still).then(|| helpers.map_or(self.tick, |at| at.min(self.tick)))
    }

    /// With `still` the own probes wait for something to be sent, and only nacks are due.
    pub(crate) fn deadline(&self, still: bool) -> Option<Deadline> {
        let helpers = self.current.as_ref().and_then(|c| c.helpers_at).filter(|_| !still);
        let nack = self.relays.get(self.waiting).map(|relay| relay.nack_at);
        let mut first = Deadline { at: if still { Time::MAX } else { self.tick }, reason: "probe" };
        for (at, reason) in [(helpers, "helpers"), (nack, "nack")] {
            if let Some(at) = at.filter(|at| *at < first.at) {
                first = Deadline { at, reason };
            }
        }
        (first.at < Time::MAX).then_some(first)
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }
}

impl Swim {
    pub(crate) fn start_probing(&mut self, now: Time) {
        // Not all at once after a power cut.
        self.probing.tick = now + self.rng.duration(self.config.probe_interval);
    }

    /// Probes this one next; for claims that contradict what is known.
    pub(crate) const fn probe_soon(&mut self, slot: u32) {
        self.probing.urgent = Some(slot);
    }

    pub(crate) fn probe_timers(&mut self, now: Time, out: &mut Out<Action>) {
        let due = |current: &Current| current.helpers_at.is_some_and(|at| at <= now);
        if self.probing.current.as_ref().is_some_and(due) && !self.stall.holds(Loop::Probe) {
            self.ask_helpers(now, out);
            self.doubt.turned(now);
            self.stall.sends(Loop::Probe);
        }
        self.send_nacks(now, out);
        if self.probing.tick <= now && !self.stall.holds(Loop::Probe) {
            self.judge(now, out);
            self.probe_next(now, out);
            self.doubt.turned(now);
            if self.probing.current.is_some() {
                self.stall.sends(Loop::Probe);
            }
        }
    }

    /// The probe under way is over, without an ack.
    fn judge(&mut self, now: Time, out: &mut Out<Action>) {
        let Some(current) = self.probing.current.take() else { return };
        self.stats.probes_failed += 1;
        if self.config.lifeguard.probe && !self.flaws.has(Flaw::NoAwareness) {
            // Helpers that answered nothing at all say something about us.
            let missed = current.nacks_wanted.saturating_sub(current.nacks);
            self.awareness.change(if current.nacks_wanted > 0 { missed as i32 } else { 1 });
        }
        let Some(entry) = self.members.entry(current.slot) else { return };
        if entry.profile.name() != current.target.name() || !entry.state.is_up() {
            return;
        }
        if self.concede(now, current.slot, out) {
            return;
        }
        let Some(entry) = self.members.entry(current.slot) else { return };
        let incarnation = current.incarnation;
        if entry.state == State::Alive && entry.incarnation <= incarnation {
            self.stats.suspicions += 1;
        }
        let own = Arc::clone(&self.profile);
        self.on_suspect(now, current.target.name(), incarnation, own.name(), &[]);
    }

    fn probe_next(&mut self, now: Time, out: &mut Out<Action>) {
        let stretched = if self.config.lifeguard.probe && !self.flaws.has(Flaw::NoAwareness) {
            self.awareness.scale(self.config.probe_interval)
        } else {
            self.config.probe_interval
        };
        self.probing.tick = now + stretched;
        if self.life != Life::Running {
            return;
        }
        let Some(slot) = self.next_target() else {
            // Alone: no need to look every tenth of a second, as -dev would have it.
            self.probing.tick = now + stretched.max(ALONE);
            return;
        };
        let Some(entry) = self.members.entry(slot) else { return };
        let (target, state, incarnation) = (Arc::clone(&entry.profile), entry.state, entry.incarnation);
        let seq = self.probing.number();
        self.stats.probes += 1;
        let ping = Message::Ping { seq, target: target.name() };
        let own = Arc::clone(&self.profile);
        if state == State::Suspect && self.config.lifeguard.buddy && !self.flaws.has(Flaw::NoBuddy) {
            let suspect = Message::Suspect { name: target.name(), incarnation, accuser: own.name(), others: &[] };
            self.send(target.address(), &[suspect, ping], out);
        } else {
            self.send(target.address(), &[ping], out);
        }
        let helpers_at = now + self.config.probe_timeout;
        self.probing.current = Some(Current {
            slot,
            target,
            incarnation,
            seq,
            sent: now,
            helpers_at: (helpers_at < self.probing.tick).then_some(helpers_at),
            nacks_wanted: 0,
            nacks: 0,
        });
    }

    /// Round robin in an order that is drawn anew for each round, so that nobody waits longer than 2n - 1 probes.
    fn next_target(&mut self) -> Option<u32> {
        let fits = |swim: &Self, slot: u32| {
            slot != swim.own && swim.members.entry(slot).is_some_and(|entry| entry.state.is_up())
        };
        if let Some(slot) = self.probing.urgent.take().filter(|slot| fits(self, *slot)) {
            return Some(slot);
        }
        if self.flaws.has(Flaw::RandomProbes) {
            let slots = u64::from(self.members.slots());
            let drawn: Vec<u32> = (0..64).map(|_| self.rng.below(slots) as u32).collect();
            return drawn.into_iter().find(|slot| fits(self, *slot));
        }
        for _ in 0..2 {
            while let Some(slot) = self.probing.order.next() {
                if fits(self, slot) {
                    return Some(slot);
                }
            }
            self.probing.order = Order::new(self.rng.next_u64(), self.members.slots());
        }
        None
    }

    fn ask_helpers(&mut self, now: Time, out: &mut Out<Action>) {
        let Some(current) = &mut self.probing.current else { return };
        current.helpers_at = None;
        let (slot, seq, target) = (current.slot, current.seq, Arc::clone(&current.target));
        if !self.flaws.has(Flaw::NoIndirectProbe) {
            let helpers = self.pick(self.config.indirect_probes as usize, |at, entry, swim| {
                at != swim.own && at != slot && entry.state == State::Alive
            });
            if let Some(current) = &mut self.probing.current {
                current.nacks_wanted = helpers.len() as u32;
            }
            for helper in helpers {
                let ask = Message::PingFor { seq, target: target.name(), address: target.address() };
                self.send(helper.address(), &[ask], out);
            }
        }
        if !self.flaws.has(Flaw::NoStreamProbe) {
            let limit = self.probing.tick.since(now);
            let frame = Frame::Ping { seq, target: target.name() };
            self.dial(target.address(), Purpose::Probe { seq }, &frame, limit, out);
        }
    }

    fn send_nacks(&mut self, now: Time, out: &mut Out<Action>) {
        while let Some(relay) = self.probing.relays.get(self.probing.waiting) {
            if relay.nack_at > now {
                break;
            }
            let (done, asker, seq) = (relay.done, relay.asker, relay.asked);
            self.probing.waiting += 1;
            if !done {
                self.send(asker, &[Message::Nack { seq }], out);
            }
        }
    }

    pub(crate) fn on_ping(&mut self, from: SocketAddr, seq: u32, target: &str, out: &mut Out<Action>) {
        // Somebody else lived here before: silence is the truth about it.
        if target == self.profile.name() {
            let coordinate = self.coordinate();
            self.send(from, &[Message::Ack { seq, coordinate }], out);
        }
    }

    pub(crate) fn on_ping_for(
        &mut self,
        now: Time,
        asker: SocketAddr,
        asked: u32,
        target: &str,
        address: SocketAddr,
        out: &mut Out<Action>,
    ) {
        self.forget_relays(now);
        if self.probing.relays.len() >= MAX_RELAYS {
            return;
        }
        let seq = self.probing.number();
        // Before the asker's own patience ends.
        let nack_at = now + self.config.probe_timeout * 4 / 5;
        self.probing.relays.push_back(Relay { asker, asked, seq, nack_at, done: false });
        self.send(address, &[Message::Ping { seq, target }], out);
    }

    /// Late acks are still passed on for a while after the nack.
    fn forget_relays(&mut self, now: Time) {
        while self.probing.waiting > 0
            && self.probing.relays.front().is_some_and(|r| r.nack_at + self.config.probe_interval * 2 <= now)
        {
            self.probing.relays.pop_front();
            self.probing.waiting -= 1;
        }
    }

    pub(crate) fn on_ack(
        &mut self,
        now: Time,
        from: SocketAddr,
        seq: u32,
        coordinate: Option<&Coordinate>,
        out: &mut Out<Action>,
    ) {
        if let Some(current) = &self.probing.current
            && current.seq == seq
        {
            let direct = from == current.target.address();
            let (slot, round_trip) = (current.slot, now.since(current.sent));
            self.probing.current = None;
            self.awareness.change(-1);
            if let (Some(vivaldi), Some(other), true) = (&mut self.vivaldi, coordinate, direct) {
                vivaldi.update(slot, other, round_trip);
            }
            return;
        }
        let Some(relay) = self.probing.relays.iter_mut().find(|relay| relay.seq == seq && !relay.done) else { return };
        relay.done = true;
        let (asker, seq) = (relay.asker, relay.asked);
        self.send(asker, &[Message::Ack { seq, coordinate: None }], out);
    }

    pub(crate) fn on_nack(&mut self, seq: u32) {
        if let Some(current) = self.probing.current.as_mut().filter(|current| current.seq == seq) {
            current.nacks += 1;
        }
    }

    /// The stream got through where packets did not.
    pub(crate) fn on_stream_ack(&mut self, now: Time, seq: u32, out: &mut Out<Action>) {
        let Some(current) = self.probing.current.take_if(|current| current.seq == seq) else { return };
        self.stats.stream_only += 1;
        let target = current.target;
        self.warn(
            now,
            "stream only",
            || {
                let (name, address) = (target.name(), target.address());
                format!("{name} answers over TCP but not over UDP at {address}: let UDP through, both ways")
            },
            out,
        );
    }

    /// Slots of the probe under way and of the urgent one: for tests.
    #[must_use]
    pub fn probing(&self) -> Vec<&str> {
        self.probing.current.iter().map(|current| current.target.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn an_order_is_a_permutation_and_keys_differ() {
        for n in [0, 1, 2, 3, 4, 5, 15, 16, 17, 100, 1000, 4096] {
            let all: Vec<u32> = Order::new(7, n).collect();
            assert_eq!(all.len(), n as usize, "n = {n}");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), n as usize, "n = {n}");
        }
        assert_ne!(Order::new(7, 100).collect::<Vec<_>>(), Order::new(8, 100).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_of_an_order_is_about_as_likely() {
        let mut first = [0_u32; 10];
        for key in 0..20_000_u64 {
            let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            first[Order::new(key, 10).next().unwrap() as usize] += 1;
        }
        assert!(first.iter().all(|count| (1700..2300).contains(count)), "{first:?}");
    }
}
