//! Counters.

/// What a machine has seen and done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pre-votes begun.
    pub pre_campaigns: u64,
    /// Elections begun.
    pub campaigns: u64,
    /// Elections won.
    pub elections_won: u64,
    /// Times it gave up leading because no majority answered.
    pub lost_quorum: u64,
    /// Times it gave up leading because its disk did not answer.
    pub stalled_disk: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Entries sent, repetitions included.
    pub entries_out: u64,
    /// Times a follower said that its log parts from ours.
    pub rejections: u64,
    /// Entries overwritten in the own log.
    pub overwritten: u64,
    /// Snapshots installed.
    pub installed: u64,
    /// Pieces of snapshots received.
    pub chunks_in: u64,
    /// Reads answered by lease alone.
    pub lease_reads: u64,
    /// Reads confirmed by a majority.
    pub quorum_reads: u64,
    /// Dropped: impossible by itself, or from a term nobody can be in.
    pub dropped_absurd: u64,
    /// Dropped: contradicts what Raft promises, so that somebody's disk or code is broken. Never happens.
    pub dropped_impossible: u64,
    /// Dropped: the disk is full or too slow.
    pub dropped_disk: u64,
    /// Snapshots thrown away: longer than allowed, or not what their digest says.
    pub dropped_snapshots: u64,
}
