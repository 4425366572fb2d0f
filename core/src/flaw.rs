//! Known bugs, to be put back into a whole node: the simulator proves with them that it would notice. In a build without the
//! feature `flaws` there are none.

/// A bug, by the scenario that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// C2: a new leader ends the sessions that it finds.
    SessionsHaveNoTime,
    /// C2: a new leader does not measure the sessions that it finds.
    SessionsNotMeasured,
    /// C3: a session is ended whoever proposed it, and when.
    OldEndCounts,
    /// C4: a new leader ends the lock-delays that it finds.
    LockDelayForgotten,
    /// C5: a snapshot that was installed wakes nobody.
    InstallWakesNobody,
    /// C6: what was deleted wakes nobody.
    DeletionWakesNobody,
    /// C7: what the catalog has of a node, and its agent has not, stays.
    RowsStay,
    /// C7: what was refused is not tried again.
    RefusedForgotten,
    /// C8: who is back before it was taken out is taken out all the same.
    BackIsGone,
    /// M9: autopilot removes the dead, whoever remains.
    DeadAlwaysRemoved,
    /// M9: of servers that ask each other, each insists.
    NobodyGivesWay,
}

/// All of them.
pub const FLAWS: &[Flaw] = &[
    Flaw::SessionsHaveNoTime,
    Flaw::SessionsNotMeasured,
    Flaw::OldEndCounts,
    Flaw::LockDelayForgotten,
    Flaw::InstallWakesNobody,
    Flaw::DeletionWakesNobody,
    Flaw::RowsStay,
    Flaw::RefusedForgotten,
    Flaw::BackIsGone,
    Flaw::DeadAlwaysRemoved,
    Flaw::NobodyGivesWay,
];

/// The bug of a node, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flaws {
    #[cfg(feature = "flaws")]
    flaw: Option<Flaw>,
}

impl Flaws {
    /// Without any.
    pub(crate) const fn none() -> Self {
        Self {
            #[cfg(feature = "flaws")]
            flaw: None,
        }
    }

    /// With this one.
    #[cfg(feature = "flaws")]
    pub(crate) const fn of(flaw: Option<Flaw>) -> Self {
        Self { flaw }
    }

    /// Whether this bug is in.
    #[cfg(feature = "flaws")]
    pub(crate) fn has(self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Never.
    #[cfg(not(feature = "flaws"))]
    #[expect(clippy::unused_self, reason = "the signature is that of the other configuration")]
    pub(crate) const fn has(self, _: Flaw) -> bool {
        false
    }
}
