//! Network coordinates: where members are in a space whose distances are round trip times (Vivaldi, Dabek et al.,
//! SIGCOMM 2004; heights, section 5.4; adjustment and gravity after Ledlie et al., NSDI 2007).

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use convoke_kit::Rng;
use serde::{Deserialize, Serialize};

/// Dimensions of the space, as Consul's.
pub const DIMENSIONS: usize = 8;
/// The most an error can be, and what it is at first.
pub const MAX_ERROR: f64 = 1.5;
/// The least a height can be, in seconds.
pub const MIN_HEIGHT: f64 = 10.0e-6;
/// How much one sample may change the error.
const CE: f64 = 0.25;
/// How much one sample may move the coordinate.
const CC: f64 = 0.25;
/// Samples that the adjustment averages over.
const WINDOW: usize = 20;
/// Round trips of a member of which the median counts.
const FILTER: usize = 3;
/// The larger, the weaker coordinates are drawn to the origin.
const GRAVITY: f64 = 150.0;
/// Round trips longer than this are mistakes.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);
/// No place is farther away than this, in seconds.
const MAX_DISTANCE: f64 = 60.0;
/// Below this two places are one.
const ZERO: f64 = 1.0e-6;
/// Members whose place and last round trips are remembered; then those of the lowest slots make room.
const REMEMBERED: usize = 16_384;
/// Numbers of a place.
const NUMBERS: usize = DIMENSIONS + 3;

/// A place. Everything in seconds, except `error`, which has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// In the Euclidean part.
    pub vec: [f64; DIMENSIONS],
    /// Confidence, 0 (sure) to [`MAX_ERROR`] (no idea).
    pub error: f64,
    /// Offset learnt from the last samples.
    pub adjustment: f64,
    /// Distance to the core of the network: access links.
    pub height: f64,
}

impl Default for Coordinate {
    /// The origin, unsure.
    fn default() -> Self {
        Self { vec: [0.0; DIMENSIONS], error: MAX_ERROR, adjustment: 0.0, height: MIN_HEIGHT }
    }
}

impl Coordinate {
    /// It is a place, and not too far away: peers may send anything.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let parts = [self.error, self.adjustment, self.height];
        self.vec.iter().chain(&parts).all(|part| part.is_finite() && part.abs() <= MAX_DISTANCE)
    }

    /// Estimated round trip time to another place.
    #[must_use]
    pub fn round_trip(&self, other: &Self) -> Duration {
        let raw = self.raw_distance(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        Duration::try_from_secs_f64(if adjusted > 0.0 { adjusted } else { raw }).unwrap_or_default()
    }

    fn raw_distance(&self, other: &Self) -> f64 {
        magnitude(&difference(&self.vec, &other.vec)) + self.height + other.height
    }

    /// Pushed from `other` by a force in seconds; negative: drawn to it.
    fn push(&mut self, force: f64, other: &Self, rng: &mut Rng) {
        let mut direction = difference(&self.vec, &other.vec);
        let distance = magnitude(&direction);
        if distance > ZERO {
            direction.iter_mut().for_each(|d| *d /= distance);
            self.height = (self.height + (self.height + other.height) * force / distance).max(MIN_HEIGHT);
        } else {
            // Two in one place go apart in any direction.
            direction.iter_mut().for_each(|d| *d = unit(rng) - 0.5);
            let length = magnitude(&direction);
            if length > ZERO {
                direction.iter_mut().for_each(|d| *d /= length);
            } else {
                direction[0] = 1.0;
            }
        }
        self.vec.iter_mut().zip(&direction).for_each(|(at, d)| *at += d * force);
    }
}

/// The own place, and those of others.
#[derive(Debug)]
pub(crate) struct Vivaldi {
    rng: Rng,
    own: Coordinate,
    samples: VecDeque<f64>,
    /// By slot.
    others: BTreeMap<u32, Other>,
    resets: u64,
}

/// Another member, in 60 bytes: there may be many, and a ten millionth of a distance is nothing.
#[derive(Clone, Copy, Debug)]
struct Other {
    place: [f32; NUMBERS],
    /// Seconds, newest last.
    round_trips: [f32; FILTER],
    /// Round trips that count.
    count: u8,
}

impl Other {
    const NONE: Self = Self { place: [0.0; NUMBERS], round_trips: [0.0; FILTER], count: 0 };

    /// It is there, and answered after so long: the median of its last answers, in seconds.
    fn answered(&mut self, at: &Coordinate, seconds: f64) -> f64 {
        let parts = at.vec.iter().chain([&at.error, &at.adjustment, &at.height]);
        self.place.iter_mut().zip(parts).for_each(|(kept, part)| *kept = *part as f32);
        if usize::from(self.count) == FILTER {
            self.round_trips.rotate_left(1);
        } else {
            self.count += 1;
        }
        let count = usize::from(self.count);
        self.round_trips[count - 1] = seconds as f32;
        let mut sorted = self.round_trips;
        sorted[..count].sort_unstable_by(f32::total_cmp);
        f64::from(sorted[count / 2])
    }

    fn coordinate(&self) -> Coordinate {
        let [vec @ .., error, adjustment, height] = self.place.map(f64::from);
        Coordinate { vec, error, adjustment, height }
    }
}

impl Vivaldi {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, own: Coordinate::default(), samples: VecDeque::new(), others: BTreeMap::new(), resets: 0 }
    }

    pub(crate) const fn own(&self) -> Coordinate {
        self.own
    }

    pub(crate) const fn resets(&self) -> u64 {
        self.resets
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = (u32, Coordinate)> + '_ {
        self.others.iter().map(|(slot, other)| (*slot, other.coordinate()))
    }

    pub(crate) fn forget(&mut self, slot: u32) {
        self.others.remove(&slot);
    }

    /// A member at `other` answered after `round_trip`.
    pub(crate) fn update(&mut self, slot: u32, other: &Coordinate, round_trip: Duration) {
        if !other.is_valid() || round_trip > MAX_ROUND_TRIP {
            self.resets += u64::from(!other.is_valid());
            return;
        }
        if self.others.len() >= REMEMBERED && !self.others.contains_key(&slot) {
            self.others.pop_first();
        }
        let known = self.others.entry(slot).or_insert(Other::NONE);
        let median = known.answered(other, round_trip.as_secs_f64()).max(ZERO);

        self.step(other, median);
        self.adjust(other, median);
        // Gravity: the whole cloud must not drift away.
        let origin = Coordinate::default();
        let far = self.own.raw_distance(&origin) / GRAVITY;
        self.own.push(-(far * far), &origin, &mut self.rng);
        if !self.own.is_valid() {
            self.own = Coordinate::default();
            self.samples.clear();
            self.resets += 1;
        }
    }

    fn step(&mut self, other: &Coordinate, round_trip: f64) {
        let distance = self.own.raw_distance(other);
        let wrong = (distance - round_trip).abs() / round_trip;
        let both = (self.own.error + other.error).max(ZERO);
        let weight = self.own.error / both;
        self.own.error = (CE * weight * wrong + self.own.error * (1.0 - CE * weight)).min(MAX_ERROR);
        let force = CC * weight * (round_trip - distance);
        self.own.push(force, other, &mut self.rng);
    }

    fn adjust(&mut self, other: &Coordinate, round_trip: f64) {
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(round_trip - self.own.raw_distance(other));
        self.own.adjustment = self.samples.iter().sum::<f64>() / (2.0 * WINDOW as f64);
    }
}

fn difference(a: &[f64; DIMENSIONS], b: &[f64; DIMENSIONS]) -> [f64; DIMENSIONS] {
    core::array::from_fn(|i| a[i] - b[i])
}

fn magnitude(v: &[f64; DIMENSIONS]) -> f64 {
    libm::sqrt(v.iter().map(|part| part * part).sum())
}

/// Uniform in [0, 1).
fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Members on a line, so many milliseconds apart, each pinging all others in turn.
    fn settle(places: &[f64], rounds: usize) -> Vec<Vivaldi> {
        let mut all: Vec<Vivaldi> = (0..places.len()).map(|n| Vivaldi::new(Rng::new(n as u64))).collect();
        for round in 0..rounds {
            for a in 0..places.len() {
                let b = (a + 1 + round % (places.len() - 1)) % places.len();
                let other = all[b].own();
                all[a].update(b as u32, &other, Duration::from_secs_f64((places[a] - places[b]).abs() / 1000.0));
            }
        }
        all
    }

    #[test]
    fn distances_become_round_trips() {
        let places = [0.0, 10.0, 40.0, 45.0, 90.0];
        let all = settle(&places, 2000);
        for a in 0..places.len() {
            for b in a + 1..places.len() {
                let real = (places[a] - places[b]).abs();
                let estimate = all[a].own().round_trip(&all[b].own()).as_secs_f64() * 1000.0;
                assert!((estimate - real).abs() < 2.0 + real * 0.1, "{a}-{b}: {estimate} ms instead of {real}");
            }
            assert!(all[a].own().error < 0.3, "{:?}", all[a].own());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut vivaldi = Vivaldi::new(Rng::new(1));
        for bad in [f64::NAN, f64::INFINITY, 1.0e9] {
            let mut other = Coordinate::default();
            other.vec[3] = bad;
            vivaldi.update(1, &other, Duration::from_millis(1));
            other = Coordinate { height: bad, ..Coordinate::default() };
            vivaldi.update(1, &other, Duration::from_millis(1));
        }
        assert_eq!((vivaldi.own(), vivaldi.resets()), (Coordinate::default(), 6));
        vivaldi.update(1, &Coordinate::default(), Duration::from_secs(11));
        assert_eq!(vivaldi.own(), Coordinate::default());
    }

    #[test]
    fn one_late_answer_does_not_move_it() {
        let (mut calm, mut late) = (Vivaldi::new(Rng::new(1)), Vivaldi::new(Rng::new(1)));
        let other = Coordinate { error: 0.1, ..Coordinate::default() };
        for n in 0..30 {
            calm.update(1, &other, Duration::from_millis(5));
            late.update(1, &other, if n == 20 { Duration::from_secs(2) } else { Duration::from_millis(5) });
        }
        assert!((calm.own().height - late.own().height).abs() < 1.0e-6, "the median of three ignores it");
    }

    #[test]
    fn others_are_remembered_by_slot_in_little_room_and_not_without_end() {
        assert_eq!(size_of::<Other>(), 60);
        let mut vivaldi = Vivaldi::new(Rng::new(1));
        let at = |x: f64| Coordinate { vec: [x; DIMENSIONS], error: 0.5, adjustment: -0.25, height: 0.125 };
        vivaldi.update(70, &at(2.0), Duration::from_millis(5));
        vivaldi.update(3, &at(1.0), Duration::from_millis(5));
        assert_eq!(vivaldi.others().collect::<Vec<_>>(), [(3, at(1.0)), (70, at(2.0))]);
        vivaldi.forget(70);
        vivaldi.forget(9999);
        assert_eq!(vivaldi.others().count(), 1);
        for slot in 0..20_000 {
            vivaldi.update(slot, &at(1.0), Duration::from_millis(5));
        }
        let known: Vec<u32> = vivaldi.others().map(|(slot, _)| slot).collect();
        assert!(known.len() == REMEMBERED && known.last() == Some(&19_999), "{}", known.len());
    }

    #[test]
    fn two_in_one_place_go_apart() {
        let all = settle(&[0.0, 30.0], 500);
        let apart = all[0].own().round_trip(&all[1].own()).as_secs_f64();
        assert!((apart - 0.030).abs() < 0.003, "{apart}");
    }
}
