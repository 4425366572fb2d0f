//! What happens to packets and streams between two nodes: delay, loss, duplication, and who cannot reach whom.
//!
//! Packets overtake each other whenever their delays differ, so jitter and the tail are what reorders.

use std::collections::BTreeSet;
use std::time::Duration;

use convoke_kit::Rng;

/// Zones that partitions are made of; a node is in one.
pub const ZONES: usize = 64;

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Least delay one way.
    pub base: Duration,
    /// Uniform on top of it.
    pub jitter: Duration,
    /// Packets per million that take longer: `tail`, twice that with half the chance, and so on up to 64 times.
    pub tail_ppm: u32,
    /// See `tail_ppm`.
    pub tail: Duration,
    /// Packets per million that are lost. Streams lose segments instead, and are slower for it.
    pub loss_ppm: u32,
    /// Packets per million that come twice.
    pub duplicate_ppm: u32,
}

impl Link {
    /// A datacenter: 0.2 to 0.7 ms, nothing lost.
    pub const LAN: Self = Self {
        base: Duration::from_micros(200),
        jitter: Duration::from_micros(500),
        tail_ppm: 0,
        tail: Duration::from_millis(5),
        loss_ppm: 0,
        duplicate_ppm: 0,
    };

    /// The same with some of it lost.
    #[must_use]
    pub const fn losing(self, loss_ppm: u32) -> Self {
        Self { loss_ppm, ..self }
    }

    /// A bad day, drawn: up to 5 % lost, 2 % twice, 20 ms of jitter, and sometimes a tail.
    #[must_use]
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut pick = |most: u64| if rng.one_in(3) { 0 } else { rng.below(most) };
        Self {
            base: Duration::from_micros(100 + pick(2_000)),
            jitter: Duration::from_micros(pick(20_000)),
            tail_ppm: pick(20_000) as u32,
            tail: Duration::from_micros(500 + pick(10_000)),
            loss_ppm: pick(50_000) as u32,
            duplicate_ppm: pick(20_000) as u32,
        }
    }
}

/// A link with its chances in the unit of the draws, 2^-20.
#[derive(Clone, Copy, Debug)]
struct Odds {
    base: u64,
    jitter: u64,
    loss: u64,
    duplicate: u64,
    tail: u64,
    tail_unit: u64,
}

impl From<Link> for Odds {
    fn from(link: Link) -> Self {
        let odds = |ppm: u32| (u64::from(ppm) << 20) / 1_000_000;
        Self {
            base: link.base.as_nanos() as u64,
            jitter: link.jitter.as_nanos() as u64,
            loss: odds(link.loss_ppm),
            duplicate: odds(link.duplicate_ppm),
            tail: odds(link.tail_ppm),
            tail_unit: link.tail.as_nanos() as u64,
        }
    }
}

/// What becomes of a packet: when its copies arrive, in nanoseconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Once(u64),
    Twice(u64, u64),
}

/// All links, and what is wrong with them.
#[derive(Debug)]
pub struct Network {
    odds: Odds,
    /// Some rule below is in force.
    ruled: bool,
    /// Zone of each node; those beyond the end are in zone 0.
    zones: Vec<u8>,
    /// For each zone, those it cannot reach at all.
    cut: [u64; ZONES],
    /// For each zone, those it cannot send packets to, though streams get through.
    deaf: [u64; ZONES],
    /// Single directions that are cut.
    pairs: BTreeSet<(u32, u32)>,
    /// Nodes reach only so many neighbours to each side, in a ring of so many.
    ring: Option<(u32, u32)>,
    /// What goes to or comes from these waits until then, and then comes at once.
    clogged: Vec<(u32, u64)>,
}

impl Network {
    /// Of equal links.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self {
            odds: link.into(),
            ruled: false,
            zones: Vec::new(),
            cut: [0; ZONES],
            deaf: [0; ZONES],
            pairs: BTreeSet::new(),
            ring: None,
            clogged: Vec::new(),
        }
    }

    /// Changes all links.
    pub fn set_link(&mut self, link: Link) {
        self.odds = link.into();
    }

    /// Puts a node into a zone (below [`ZONES`]).
    pub fn set_zone(&mut self, node: u32, zone: u8) {
        assert!(usize::from(zone) < ZONES);
        let node = node as usize;
        if self.zones.len() <= node {
            self.zones.resize(node + 1, 0);
        }
        self.zones[node] = zone;
        self.ruled = true;
    }

    /// Nothing gets from one zone to the other; the way back stays.
    pub fn cut(&mut self, from: u8, to: u8) {
        self.cut[usize::from(from)] |= 1 << to;
        self.ruled = true;
    }

    /// Nothing gets from one zone to the other or back.
    pub fn cut_both(&mut self, a: u8, b: u8) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Packets are lost from one zone to the other; streams get through.
    pub fn deafen(&mut self, from: u8, to: u8) {
        self.deaf[usize::from(from)] |= 1 << to;
        self.ruled = true;
    }

    /// Nothing gets from one node to the other; the way back stays.
    pub fn cut_pair(&mut self, from: u32, to: u32) {
        self.pairs.insert((from, to));
        self.ruled = true;
    }

    /// The first `size` nodes reach only `width` neighbours to each side.
    pub fn ring(&mut self, size: u32, width: u32) {
        self.ring = Some((size, width));
        self.ruled = true;
    }

    /// What goes to or comes from a node waits until `until` (nanoseconds of the world).
    pub(crate) fn clog(&mut self, node: u32, until: u64) {
        self.clogged.push((node, until));
        self.ruled = true;
    }

    /// Everybody reaches everybody again. Links stay as they are.
    pub fn heal(&mut self) {
        self.ruled = false;
        self.zones.clear();
        self.cut = [0; ZONES];
        self.deaf = [0; ZONES];
        self.pairs.clear();
        self.ring = None;
        self.clogged.clear();
    }

    fn zone(&self, node: u32) -> usize {
        self.zones.get(node as usize).copied().unwrap_or(0).into()
    }

    /// Whether anything at all gets from one node to the other.
    #[must_use]
    pub fn reaches(&self, from: u32, to: u32) -> bool {
        if !self.ruled || from == to {
            return true;
        }
        let near = self.ring.is_none_or(|(size, width)| {
            let apart = from.abs_diff(to);
            from >= size || to >= size || apart.min(size - apart) <= width
        });
        near && self.cut[self.zone(from)] >> self.zone(to) & 1 == 0 && !self.pairs.contains(&(from, to))
    }

    /// Whether packets get from one node to the other.
    #[must_use]
    pub fn hears(&self, from: u32, to: u32) -> bool {
        !self.ruled || (self.deaf[self.zone(from)] >> self.zone(to) & 1 == 0 && self.reaches(from, to))
    }

    fn unclogged(&self, from: u32, to: u32, now: u64) -> u64 {
        let wait =
            |(node, until): &(u32, u64)| if *node == from || *node == to { until.saturating_sub(now) } else { 0 };
        self.clogged.iter().map(wait).max().unwrap_or(0)
    }

    /// Draws what becomes of a packet.
    pub(crate) fn packet(&self, rng: &mut Rng, from: u32, to: u32, now: u64) -> Fate {
        if !self.hears(from, to) {
            return Fate::Lost;
        }
        // One draw serves for loss (20 bits), duplication (20) and jitter (24).
        let bits = rng.next_u64();
        if bits & 0xf_ffff < self.odds.loss {
            return Fate::Lost;
        }
        let held = if self.clogged.is_empty() { 0 } else { self.unclogged(from, to, now) };
        let first = held + self.delay(rng, bits >> 40);
        if (bits >> 20) & 0xf_ffff < self.odds.duplicate {
            let again = rng.next_u64();
            return Fate::Twice(first, held + self.delay(rng, again >> 40));
        }
        Fate::Once(first)
    }

    /// Base, jitter by 24 bits, and the tail.
    fn delay(&self, rng: &mut Rng, bits: u64) -> u64 {
        let mut delay = self.odds.base + ((self.odds.jitter * bits) >> 24);
        if self.odds.tail > 0 {
            let bits = rng.next_u64();
            if bits & 0xf_ffff < self.odds.tail {
                delay += self.odds.tail_unit << (bits >> 20).trailing_zeros().min(6);
            }
        }
        delay
    }

    /// Draws how long a frame takes over a stream, given how many one-way trips it needs; `None`: it never arrives.
    pub(crate) fn frame(&self, rng: &mut Rng, from: u32, to: u32, now: u64, trips: u32) -> Option<u64> {
        if !self.reaches(from, to) || !self.reaches(to, from) {
            return None;
        }
        let mut delay = self.unclogged(from, to, now);
        for _ in 0..trips {
            let bits = rng.next_u64();
            delay += self.delay(rng, bits >> 40);
            // Lost segments are sent again after 200 ms, 400 ms, ... as TCP does.
            let mut again = 200_000_000;
            while again < 60_000_000_000 && rng.next_u64() & 0xf_ffff < self.odds.loss {
                delay += again;
                again *= 2;
            }
        }
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_in_their_direction_until_healed() {
        let mut net = Network::new(Link::LAN);
        assert!(net.reaches(0, 1) && net.hears(0, 1));
        net.set_zone(1, 1);
        net.cut(0, 1);
        assert!(!net.reaches(0, 1) && net.reaches(1, 0) && net.reaches(1, 1));
        net.set_zone(2, 2);
        net.deafen(2, 0);
        assert!(net.reaches(2, 0) && !net.hears(2, 0) && net.hears(0, 2));
        net.cut_pair(5, 6);
        assert!(!net.reaches(5, 6) && net.reaches(6, 5));
        net.heal();
        assert!(net.hears(0, 1) && net.hears(2, 0) && net.hears(5, 6));
        net.ring(10, 2);
        assert!(net.reaches(0, 9) && net.reaches(0, 2) && !net.reaches(0, 3) && net.reaches(0, 11));
    }

    #[test]
    fn chances_are_met() {
        let link = Link { loss_ppm: 100_000, duplicate_ppm: 50_000, tail_ppm: 10_000, ..Link::LAN };
        let net = Network::new(link);
        let mut rng = Rng::new(1);
        let (mut lost, mut twice, mut late) = (0, 0, 0);
        for _ in 0..100_000 {
            match net.packet(&mut rng, 0, 1, 0) {
                Fate::Lost => lost += 1,
                Fate::Twice(..) => twice += 1,
                Fate::Once(delay) => {
                    assert!(delay >= 200_000);
                    late += u32::from(delay > 700_000);
                }
            }
        }
        assert!((9_000..11_000).contains(&lost), "{lost}");
        assert!((4_000..5_000).contains(&twice), "{twice}");
        assert!((700..1_100).contains(&late), "{late}");
    }

    #[test]
    fn a_clog_holds_back_and_a_lossy_stream_is_slow_but_sure() {
        let mut net = Network::new(Link::LAN);
        net.clog(1, 5_000_000_000);
        let mut rng = Rng::new(1);
        assert!(matches!(net.packet(&mut rng, 0, 1, 1_000_000_000), Fate::Once(d) if d > 4_000_000_000));
        assert!(matches!(net.packet(&mut rng, 0, 2, 1_000_000_000), Fate::Once(d) if d < 1_000_000));
        let net = Network::new(Link::LAN.losing(500_000));
        assert!((0..100).all(|_| net.frame(&mut rng, 0, 1, 0, 3).is_some()));
    }
}
