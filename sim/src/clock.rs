//! A node's own clock: it starts at zero with the node, and may run fast or slow.

use convoke_kit::Time;

/// World time to a node's time and back. Both in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: u64,
    /// Parts per million that it is too fast.
    drift: i32,
}

const MILLION: i64 = 1_000_000;

impl Clock {
    pub(crate) const fn new(start: u64, drift: i32) -> Self {
        Self { start, drift }
    }

    /// What it shows at a moment of the world.
    pub(crate) const fn local(self, world: u64) -> Time {
        let elapsed = world.saturating_sub(self.start);
        if self.drift == 0 {
            return Time::from_nanos(elapsed);
        }
        Time::from_nanos((elapsed as i128 * (MILLION + self.drift as i64) as i128 / MILLION as i128) as u64)
    }

    /// The first moment of the world at which it shows `local` or more.
    pub(crate) const fn world(self, local: Time) -> u64 {
        let local = local.as_nanos();
        if self.drift == 0 {
            return self.start.saturating_add(local);
        }
        let rate = (MILLION + self.drift as i64) as i128;
        let elapsed = (local as i128 * MILLION as i128 + rate - 1) / rate;
        self.start.saturating_add(if elapsed > u64::MAX as i128 { u64::MAX } else { elapsed as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_never_too_early() {
        for drift in [0, 1, -1, 200, -200, 50_000, -50_000] {
            let clock = Clock::new(1_000, drift);
            for local in [0, 1, 2, 999, 1_000_000_007, 86_400_000_000_001] {
                let local = Time::from_nanos(local);
                let world = clock.world(local);
                assert!(clock.local(world) >= local, "drift {drift}, {local:?}");
                assert!(
                    world == 1_000 || clock.local(world - 1) < local,
                    "drift {drift}, {local:?}: later than needed"
                );
            }
        }
    }
}
