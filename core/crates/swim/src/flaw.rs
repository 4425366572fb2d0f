//! Known bugs of membership systems, to be put back by the simulator: a scenario proves something only if it fails
//! with its bug.
//!
//! Without the feature `flaws` there is none, and every question after one is a constant.

/// A bug. Each names the scenario that must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// G1: a member that comes back with a low incarnation is not told that it is held for dead.
    NotToldOfDeath,
    /// G2: a verdict about a member that is dead already does not raise the stored incarnation.
    DeadKeepsIncarnation,
    /// G3: incarnations have 32 bits and wrap.
    WrappingIncarnation,
    /// G4: a verdict is not told to others.
    SilentVerdict,
    /// G5, G16: who lost everybody asks nobody again.
    NoReconnect,
    /// G6: a name is bound to its first address for ever.
    NameBoundToAddress,
    /// G7: who is failed cannot have left.
    FailedBeatsLeft,
    /// G8: who left stays so until it is forgotten.
    LeftForEver,
    /// G9: what is restored from disk is as old as time, so that the missing are forgotten at once.
    RestoredIsOld,
    /// G10, G22: news about a member do not replace older news about it.
    QueueKeepsAll,
    /// G11: no helper is asked.
    NoIndirectProbe,
    /// G12: no stream is tried.
    NoStreamProbe,
    /// G13: own slowness is blamed on others.
    NoAwareness,
    /// G14: the suspect is not told.
    NoBuddy,
    /// G11: who accuses with a stale incarnation is not told of the objection.
    StaleAccuserNotTold,
    /// A user event that was missed is never asked for again.
    EventGapsStay,
    /// Who was cut off for a moment condemns whom it suspected meanwhile, without asking again.
    SuspectNotAskedAgain,
    /// What runs out in a member that hears nobody is a verdict.
    DeafVerdict,
    /// G15: helpers are drawn a few times at random, and missed in small pools.
    HelpersMissed,
    /// G15: a pool too small for confirmations waits for them all the same.
    ConfirmationsInSmallPools,
    /// G17: only incarnations, made of the wall clock at the start, count; nobody refutes.
    ClockDecides,
    /// G18: an equal incarnation is as good as a newer one.
    EqualIncarnationWins,
    /// G19: only the key that seals opens.
    OnlyPrimaryOpens,
    /// G20: what is not sealed is taken from anybody.
    UnsealedTaken,
    /// G21: who is probed next is drawn at random.
    RandomProbes,
    /// G22: every accusation is refuted, however old.
    RefuteEach,
    /// G23: a verdict found in another's table is executed at once.
    TableKills,
    /// G24: what is forgotten is remembered.
    NothingForgotten,
}

/// The flaw of a machine, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flaws {
    #[cfg(feature = "flaws")]
    flaw: Option<Flaw>,
}

impl Flaws {
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

    /// With this one.
    #[cfg(feature = "flaws")]
    pub(crate) const fn with(flaw: Flaw) -> Self {
        Self { flaw: Some(flaw) }
    }
}
