//! Loops that stand still at what they send, for the simulator: the instrument of the Lifeguard paper (section 5).
//!
//! Its agents block immediately before they send, for the length of an anomaly. There every loop (probes, gossip,
//! comparisons, reconnects) is a thread of its own: one that sends stands still until the anomaly ends and then goes on
//! from there, while suspicions, which wait for nothing but the clock, run out in time. This machine has no threads, so
//! who drives it says that sends are blocked ([`crate::Swim::block_sends`]), and it keeps the order of each loop.
//!
//! Without the feature `flaws` nothing ever stands still, and every question after it is a constant.

/// What sends by the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loop {
    Probe = 1,
    Gossip = 2,
    Compare = 4,
    Reconnect = 8,
}

/// Who stands still.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stall {
    #[cfg(feature = "flaws")]
    blocked: bool,
    #[cfg(feature = "flaws")]
    still: u8,
}

#[cfg(feature = "flaws")]
impl Stall {
    pub(crate) const fn block(&mut self, blocked: bool) {
        *self = Self { blocked, still: 0 };
    }

    /// A loop has come to something that it sends.
    pub(crate) const fn sends(&mut self, who: Loop) {
        if self.blocked {
            self.still |= who as u8;
        }
    }

    /// It waits for that to be sent.
    pub(crate) const fn holds(self, who: Loop) -> bool {
        self.still & who as u8 != 0
    }
}

#[cfg(not(feature = "flaws"))]
#[expect(clippy::unused_self, reason = "the signatures are those of the other configuration")]
impl Stall {
    pub(crate) const fn sends(self, _: Loop) {}

    pub(crate) const fn holds(self, _: Loop) -> bool {
        false
    }
}
