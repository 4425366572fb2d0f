//! Bugs of what stands around the machine, to be put back: of a driver, a disk, a codec, a state machine. Those of the machine
//! itself are [`convoke_raft::Flaw`].

use convoke_raft::Flaw;

/// A bug of a driver, a disk, a codec or a state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The disk says that it is done when it has only begun (R9).
    DiskLies,
    /// The driver reports a write when it hands it to the disk (R9).
    ReportedEarly,
    /// The driver reports all writes when one is done.
    ReportedTooFar,
    /// The driver forgets a write that failed: the next one that succeeds vouches for it (L12).
    FailureForgotten,
    /// Recovery believes what a checksum denies (L10).
    ChecksumIgnored,
    /// Recovery takes rot in the middle for a torn end (L10).
    RotIsTorn,
    /// Recovery leaves a torn end in place, and appends behind it (L10).
    TornEndKept,
    /// Recovery forgets the last record, whole or not.
    LastRecordDropped,
    /// Recovery does not know that entries were overwritten: of two it takes the one that was first (L6).
    OverwrittenComesBack,
    /// Term and vote are not written (E1).
    VoteNotWritten,
    /// Compaction replaces the log first, and the snapshot after that (S10).
    LogBeforeSnapshot,
    /// Compaction writes over the old snapshot instead of beside it (S10).
    SnapshotInPlace,
    /// Compaction leaves the vote out of the new log (S10).
    VoteNotInNewLog,
    /// A commit index is written before the snapshot that it is true of (S10).
    CommitBeforeSnapshot,
    /// A full disk is told to nobody: writes fail (L11).
    FullDiskFails,
    /// A command that is sent again is applied again (C1).
    AppliedAgain,
    /// Snapshots do not hold which commands were applied (C1).
    OnceNotInSnapshot,
    /// Clients are answered when their command is in the leader's log.
    AnsweredEarly,
    /// Reads are answered when they arrive.
    ReadsDoNotWait,
    /// A snapshot is labelled with a position before what it holds.
    SnapshotOfLater,
    /// An installed snapshot is put beside what is there, and not in its place.
    InstallMerges,
    /// An installed snapshot wakes nobody who waits (S11).
    InstallWakesNobody,
    /// A lock is given to whoever asks.
    LockOfTwo,
    /// What a command does depends on the server.
    ServersDiffer,
    /// Who lost its disk comes back under its old name (M4).
    SameNameAfterLoss,
    /// Clocks differ by more than a factor of two (R10).
    WildClocks,
}

impl Bug {
    /// It can be put into the plain driver and its codec only.
    #[must_use]
    pub const fn is_of_plain_driver(self) -> bool {
        matches!(
            self,
            Self::ReportedTooFar
                | Self::ChecksumIgnored
                | Self::RotIsTorn
                | Self::TornEndKept
                | Self::LastRecordDropped
                | Self::OverwrittenComesBack
                | Self::VoteNotWritten
                | Self::LogBeforeSnapshot
                | Self::VoteNotInNewLog
                | Self::CommitBeforeSnapshot
        )
    }
}

/// All of them.
pub const BUGS: &[Bug] = &[
    Bug::DiskLies,
    Bug::ReportedEarly,
    Bug::ReportedTooFar,
    Bug::FailureForgotten,
    Bug::ChecksumIgnored,
    Bug::RotIsTorn,
    Bug::TornEndKept,
    Bug::LastRecordDropped,
    Bug::OverwrittenComesBack,
    Bug::VoteNotWritten,
    Bug::LogBeforeSnapshot,
    Bug::SnapshotInPlace,
    Bug::VoteNotInNewLog,
    Bug::CommitBeforeSnapshot,
    Bug::FullDiskFails,
    Bug::AppliedAgain,
    Bug::OnceNotInSnapshot,
    Bug::AnsweredEarly,
    Bug::ReadsDoNotWait,
    Bug::SnapshotOfLater,
    Bug::InstallMerges,
    Bug::InstallWakesNobody,
    Bug::LockOfTwo,
    Bug::ServersDiffer,
    Bug::SameNameAfterLoss,
    Bug::WildClocks,
];

/// The bugs of the machine.
pub const FLAWS: &[Flaw] = &[
    Flaw::LeaseFromAnswer,
    Flaw::ReadBeforeOwnCommit,
    Flaw::ReadIdReused,
    Flaw::OldRoundsCount,
    Flaw::LeaseDuringTransfer,
    Flaw::ReadQuorumShort,
    Flaw::ReadsOutliveReign,
    Flaw::ReadWithoutLeader,
    Flaw::OwnMatchBeforeDisk,
    Flaw::AckBeforeDisk,
    Flaw::LoneVoterHurries,
    Flaw::LeaseTooLong,
    Flaw::VoteBeforeDisk,
    Flaw::AskBeforeDisk,
    Flaw::VoteOnlyOnce,
    Flaw::EmptyLogForgotten,
    Flaw::ComponentwiseLogs,
    Flaw::ExLeaderRefused,
    Flaw::PreVoteRefreshes,
    Flaw::PreVoteTeachesNothing,
    Flaw::TransferPreVotes,
    Flaw::BallotsKept,
    Flaw::LateVoteCounts,
    Flaw::Disruptive,
    Flaw::StallIgnored,
    Flaw::CommitEarlierTerm,
    Flaw::TruncateMatching,
    Flaw::CompactedIsConflict,
    Flaw::BackOffByOne,
    Flaw::OldRejectionBelieved,
    Flaw::TruncateForgetsFlights,
    Flaw::RemovedLeaderCounts,
    Flaw::LearnersCount,
    Flaw::FullDiskIgnored,
    Flaw::FailureForgotten,
    Flaw::OldSnapshotInstalled,
    Flaw::ConflictKept,
    Flaw::MembershipKept,
    Flaw::LatestMembership,
    Flaw::ChunksMixed,
    Flaw::GapAccepted,
    Flaw::ChunksAreSilence,
    Flaw::ChangeBeforeOwnCommit,
    Flaw::LearnerGivesNoVote,
    Flaw::CommitBeyondLog,
    Flaw::TransferToLearner,
    Flaw::LeavesSilently,
    Flaw::RemovedGivesUp,
    Flaw::ChangesOverlap,
];

/// A bug that is put back, wherever it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// Into the machine.
    Flaw(Flaw),
    /// Around it.
    Bug(Bug),
}

impl Planted {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        FLAWS.iter().map(|flaw| Self::Flaw(*flaw)).chain(BUGS.iter().map(|bug| Self::Bug(*bug)))
    }

    /// Its name on a command line: `raft.AckBeforeDisk`, `sim.DiskLies`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Flaw(flaw) => format!("raft.{flaw:?}"),
            Self::Bug(bug) => format!("sim.{bug:?}"),
        }
    }

    /// The bug of this name, with or without what stands before the dot.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let named = |planted: &Self| {
            let own = planted.name();
            own.eq_ignore_ascii_case(name) || own.split('.').nth(1).is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        Self::all().find(named)
    }

    /// If it is one of the machine.
    #[must_use]
    pub const fn flaw(self) -> Option<Flaw> {
        match self {
            Self::Flaw(flaw) => Some(flaw),
            Self::Bug(_) => None,
        }
    }

    /// Whether it is this one.
    #[must_use]
    pub fn is(self, bug: Bug) -> bool {
        self == Self::Bug(bug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert_eq!(Planted::find("sim.disklies"), Some(Planted::Bug(Bug::DiskLies)));
        assert_eq!(Planted::find("AckBeforeDisk"), Some(Planted::Flaw(Flaw::AckBeforeDisk)));
        assert_eq!(Planted::find("raft.FailureForgotten"), Some(Planted::Flaw(Flaw::FailureForgotten)));
        assert_eq!(Planted::find("sim.FailureForgotten"), Some(Planted::Bug(Bug::FailureForgotten)));
        assert_eq!(Planted::find("none"), None);
        let names: std::collections::BTreeSet<String> = Planted::all().map(Planted::name).collect();
        assert_eq!(names.len(), FLAWS.len() + BUGS.len());
    }
}
