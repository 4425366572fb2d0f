//! The hash of a run: every delivered event and emitted action folded into 64 bits, so that two runs can be compared.

const A: u64 = 0xa076_1d64_78bd_642f;
const B: u64 = 0xe703_7ed1_a0b4_28db;

/// Multiplies to 128 bits and folds these (as wyhash does): every bit of both depends on every other.
pub(crate) const fn fold(a: u64, b: u64) -> u64 {
    let wide = (a as u128).wrapping_mul(b as u128);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Of some bytes; their length counts.
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let mut hash = fold(A, B ^ bytes.len() as u64);
    let (pairs, rest) = bytes.as_chunks::<16>();
    for pair in pairs {
        let wide = u128::from_le_bytes(*pair);
        hash = fold(hash ^ wide as u64, B ^ (wide >> 64) as u64);
    }
    let mut tail = [0; 16];
    tail[..rest.len()].copy_from_slice(rest);
    let wide = u128::from_le_bytes(tail);
    fold(hash ^ wide as u64, B ^ (wide >> 64) as u64)
}

/// The running hash of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed ^ A)
    }

    pub(crate) fn add(&mut self, at: u64, kind: u64, who: u32, what: u64) {
        self.0 = fold(self.0 ^ at, A ^ (kind << 32) ^ u64::from(who));
        self.0 = fold(self.0 ^ what, B);
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..40 {
            let zeros = vec![0; len];
            assert!(seen.insert(bytes(&zeros)), "length {len}");
            for at in 0..len {
                let mut one = zeros.clone();
                one[at] = 1;
                assert!(seen.insert(bytes(&one)), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn order_counts() {
        let run = |events: &[u64]| {
            let mut digest = Digest::new(1);
            events.iter().for_each(|e| digest.add(*e, 0, 0, *e));
            digest.value()
        };
        assert_eq!(run(&[1, 2]), run(&[1, 2]));
        assert_ne!(run(&[1, 2]), run(&[2, 1]));
        assert_ne!(run(&[1]), run(&[1, 1]));
    }
}
