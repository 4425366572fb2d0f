//! Known bugs of consensus systems, to be put back by tests: a scenario proves something only if it fails with its bug.
//!
//! Without the feature `flaws` there is none, and every question after one is a constant.

/// A bug. Each names the scenario that must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// R2: the lease is measured from when the answers are handled.
    LeaseFromAnswer,
    /// R3: reads are answered before an entry of the own term is committed.
    ReadBeforeOwnCommit,
    /// R4: reads of followers are counted from 0 at each start, and answers of any term are taken.
    ReadIdReused,
    /// R4: a heartbeat of an earlier term is answered in the current one, so that the answer seems to be to another round.
    OldRoundsCount,
    /// R5: the lease goes on after another was told to campaign.
    LeaseDuringTransfer,
    /// R6: one less than a majority confirms a read.
    ReadQuorumShort,
    /// R7: reads that wait outlive the reign.
    ReadsOutliveReign,
    /// R8: a follower that knows no leader answers reads from what it has.
    ReadWithoutLeader,
    /// R9: the leader counts itself before its disk does.
    OwnMatchBeforeDisk,
    /// R9: a follower acknowledges before its disk does.
    AckBeforeDisk,
    /// R1: who is the last voter leads at once when it starts, though the leader that left may not know yet.
    LoneVoterHurries,
    /// R10: the lease is as long as twice what followers wait.
    LeaseTooLong,
    /// E1: a vote is told before it is on disk.
    VoteBeforeDisk,
    /// E1: votes are asked for before the own one is on disk.
    AskBeforeDisk,
    /// E2: who asks again in the same term is refused.
    VoteOnlyOnce,
    /// E3: a log that is empty behind its snapshot has no last term.
    EmptyLogForgotten,
    /// E4: a log is as good as another only if both its term and its index are.
    ComponentwiseLogs,
    /// E5: who has known a leader refuses it when it asks to lead again.
    ExLeaderRefused,
    /// E6: granting a pre-vote counts as having heard a leader.
    PreVoteRefreshes,
    /// E7: a refused pre-vote does not teach the higher term.
    PreVoteTeachesNothing,
    /// E7: who lost a vote waits as long as if somebody led.
    SplitVoteWaits,
    /// E8: the target of a transfer asks for pre-votes first.
    TransferPreVotes,
    /// E9: who starts a pre-vote keeps the answers of the one before.
    BallotsKept,
    /// E10: an answer counts in whatever term it comes.
    LateVoteCounts,
    /// E11, M7: votes are given though a leader is well, and asked for without a pre-vote.
    Disruptive,
    /// E12: a stalled disk is no reason to step down.
    StallIgnored,
    /// L1: an entry of an earlier term is committed by counting.
    CommitEarlierTerm,
    /// L2: everything behind `prev` is overwritten, conflict or not.
    TruncateMatching,
    /// L3: what was compacted counts as a conflict.
    CompactedIsConflict,
    /// L4: the leader backs off by one entry.
    BackOffByOne,
    /// L5: every rejection is believed, however old.
    OldRejectionBelieved,
    /// L7: a truncation does not touch what is known of writes under way.
    TruncateForgetsFlights,
    /// L8: a leader that was removed counts itself.
    RemovedLeaderCounts,
    /// L9: learners count.
    LearnersCount,
    /// L11: a full disk is ignored.
    FullDiskIgnored,
    /// L12: a failed write is forgotten when a later one succeeds.
    FailureForgotten,
    /// S1, S3: a snapshot older than the log is installed.
    OldSnapshotInstalled,
    /// S2: installing a snapshot leaves entries in place that it contradicts.
    ConflictKept,
    /// S4: an installed snapshot does not change the membership.
    MembershipKept,
    /// S5: a snapshot holds the latest membership, not the one of its position.
    LatestMembership,
    /// S6: chunks of two snapshots are mixed.
    ChunksMixed,
    /// S7: a gap between snapshot and log is accepted.
    GapAccepted,
    /// S8: chunks do not count as hearing a leader, and a candidate throws away what it has.
    ChunksAreSilence,
    /// M1: a membership may be changed before an entry of the own term is committed.
    ChangeBeforeOwnCommit,
    /// M2: who does not know itself to be a voter gives no vote.
    LearnerGivesNoVote,
    /// M4: the commit index is taken as it is told.
    CommitBeyondLog,
    /// M5: a learner may be told to lead.
    TransferToLearner,
    /// M8: a leader that was removed goes without telling what it committed.
    LeavesSilently,
    /// M8: who is no longer a voter does not campaign, though the entry that says so is not committed.
    RemovedGivesUp,
    /// M9: the last voter can be removed, and changes overlap.
    ChangesOverlap,
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
    pub(crate) const fn of(flaw: Option<Flaw>) -> Self {
        Self { flaw }
    }

    /// Without any.
    #[cfg(not(feature = "flaws"))]
    pub(crate) const fn of(_: Option<Flaw>) -> Self {
        Self {}
    }
}
