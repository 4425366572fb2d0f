//! Seeded randomness.

use core::time::Duration;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

/// The only randomness in the core: xoshiro256++ from a seed given at construction.
///
/// Not for keys or tokens: those arrive as events, made by the driver from the system's generator.
#[derive(Clone, Debug)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// An independent generator for a child machine.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`; 0 for `n == 0`. The bias is below `n / 2^64`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform index into something of length `len`; 0 for an empty one.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True once in `n` on average; never for 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// Uniform in `[0, max)`.
    pub fn duration(&mut self, max: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_and_forks_differ() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        assert_eq!(a.next_u64(), b.next_u64());
        let (mut x, mut y) = (a.fork(), a.fork());
        assert_ne!(x.next_u64(), y.next_u64());
        assert_eq!(b.fork().next_u64(), {
            Rng::new(7).0.next_u64();
            let mut c = Rng::new(7);
            c.next_u64();
            c.fork().next_u64()
        });
    }

    #[test]
    fn bounds_hold() {
        let mut r = Rng::new(1);
        assert_eq!(r.below(0), 0);
        assert_eq!(r.index(0), 0);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[r.index(5)] = true;
            assert!(r.duration(Duration::from_millis(3)) < Duration::from_millis(3));
        }
        assert_eq!(seen, [true; 5]);
    }

    #[test]
    fn shuffle_is_a_permutation() {
        let mut v = [0, 1, 2, 3, 4, 5, 6, 7];
        Rng::new(3).shuffle(&mut v);
        assert_ne!(v, [0, 1, 2, 3, 4, 5, 6, 7]);
        v.sort_unstable();
        assert_eq!(v, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
