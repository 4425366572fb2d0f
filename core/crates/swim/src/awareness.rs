//! How much a member trusts itself: Lifeguard's local health multiplier (section 4.1).

use core::time::Duration;

/// A score from 0 (well) to `max - 1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awareness {
    score: u32,
    max: u32,
}

impl Awareness {
    pub(crate) const fn new(max: u32) -> Self {
        Self { score: 0, max: if max == 0 { 1 } else { max } }
    }

    pub(crate) const fn score(self) -> u32 {
        self.score
    }

    /// Better (negative) or worse.
    pub(crate) fn change(&mut self, by: i32) {
        self.score = self.score.saturating_add_signed(by).min(self.max - 1);
    }

    /// An interval, stretched by ill health.
    pub(crate) fn scale(self, interval: Duration) -> Duration {
        interval.saturating_mul(self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_within_its_bounds() {
        let mut health = Awareness::new(8);
        health.change(-3);
        assert_eq!((health.score(), health.scale(Duration::from_secs(1))), (0, Duration::from_secs(1)));
        health.change(5);
        health.change(5);
        assert_eq!((health.score(), health.scale(Duration::from_secs(1))), (7, Duration::from_secs(8)));
        health.change(-1);
        assert_eq!(health.score(), 6);
        let mut off = Awareness::new(0);
        off.change(9);
        assert_eq!(off.score(), 0);
    }
}
