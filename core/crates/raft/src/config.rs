//! Every knob of the machine.

use core::time::Duration;

/// The multiplier that Consul's `performance.raft_multiplier` has by default.
pub const DEFAULT_MULTIPLIER: u32 = 5;
/// Most that it may be.
pub const MAX_MULTIPLIER: u32 = 10;

/// Settings. The times must be shared by all servers of a cluster: the lease of one is bought with the patience of the
/// others.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// A follower that hears no leader for this long, and up to as long again at random, asks for votes; one that heard a
    /// leader within it gives none. A leader that hears no majority for this long steps down. Default 300 ms. It must be
    /// well above a round trip and an fsync, or elections never end (section 9.3 of the paper).
    pub election_timeout: Duration,
    /// Time between two rounds of heartbeats. Default 60 ms. Above half the election timeout one lost round is an
    /// election.
    pub heartbeat_interval: Duration,
    /// For so long after a round was sent, that a majority acknowledged, the leader may answer reads alone. Default
    /// 150 ms: half the election timeout, so that it holds as long as no clock is twice as fast as another. Cut to that
    /// half by [`Config::lease`].
    pub lease_timeout: Duration,
    /// A leader whose oldest write is under way for longer steps down. Default 1 s.
    pub disk_timeout: Duration,
    /// Ask whether an election could be won before starting it (section 9.6 of the dissertation). Default on; off only to
    /// test a cluster in which some do not.
    pub pre_vote: bool,
    /// Messages with entries under way to one follower. Default 64. With 1 there is no pipeline.
    pub window: usize,
    /// Bytes of these. Default 8 MiB.
    pub window_bytes: usize,
    /// Entries in one message. Default 512.
    pub batch: usize,
    /// Bytes in one message, save that one entry always fits. Default 512 KiB.
    pub batch_bytes: usize,
    /// Most bytes of one command. Default 64 MiB. Larger ones are refused.
    pub command_bytes: usize,
    /// Entries of the leader that may be uncommitted. Default 4,096. At the bound proposals are refused.
    pub uncommitted: u64,
    /// Bytes of these. Default 64 MiB.
    pub uncommitted_bytes: usize,
    /// Reads that may wait, own and of followers together. Default 16,384. At the bound they are refused.
    pub reads: usize,
    /// A snapshot is asked for when so many entries were applied since the last one. Default 16,384.
    pub snapshot_threshold: u64,
    /// Or when the log has so many bytes, most of them new. Default 64 MiB.
    pub snapshot_bytes: usize,
    /// Entries kept behind a snapshot, for followers that lag a little. Default 10,240, and no more than half of
    /// `snapshot_bytes`. With 0 a follower that missed one
    /// entry may need the whole snapshot.
    pub trailing: u64,
    /// Bytes of a snapshot in one message. Default 256 KiB.
    pub chunk_bytes: usize,
    /// Longer snapshots are refused by who receives them. Default 8 GiB.
    pub snapshot_limit: u64,
    /// A learner that lags more entries behind is not made a voter. Default 250.
    pub promotion_lag: u64,
}

impl Config {
    /// The times of `raft_multiplier`: 1 (for quick machines) to 10; out of range it is cut.
    ///
    /// An election timeout is 60 ms times it. Consul's is 1 s times it: its runtime may pause, and ours does not.
    #[must_use]
    pub const fn scaled(multiplier: u32) -> Self {
        let times = if multiplier < 1 {
            1
        } else if multiplier > MAX_MULTIPLIER {
            MAX_MULTIPLIER
        } else {
            multiplier
        };
        Self {
            election_timeout: Duration::from_millis(60 * times as u64),
            heartbeat_interval: Duration::from_millis(12 * times as u64),
            lease_timeout: Duration::from_millis(30 * times as u64),
            disk_timeout: Duration::from_millis(200 * times as u64),
            pre_vote: true,
            window: 64,
            window_bytes: 8 << 20,
            batch: 512,
            batch_bytes: 512 << 10,
            command_bytes: 64 << 20,
            uncommitted: 4096,
            uncommitted_bytes: 64 << 20,
            reads: 16_384,
            snapshot_threshold: 16_384,
            snapshot_bytes: 64 << 20,
            trailing: 10_240,
            chunk_bytes: 256 << 10,
            snapshot_limit: 8 << 30,
            promotion_lag: 250,
        }
    }

    /// The lease that is used: never more than half of what a follower waits before it votes for somebody else.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease_timeout.min(self.election_timeout / 2)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::scaled(DEFAULT_MULTIPLIER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_keeps_the_proportions() {
        for multiplier in 0..=11 {
            let config = Config::scaled(multiplier);
            assert!(config.heartbeat_interval * 4 <= config.election_timeout, "{multiplier}");
            assert!(config.lease() * 2 <= config.election_timeout, "{multiplier}");
            assert!(config.lease() > config.heartbeat_interval * 2, "a round may be lost: {multiplier}");
        }
        assert_eq!(Config::scaled(0), Config::scaled(1));
        assert_eq!(Config::scaled(99), Config::scaled(10));
        assert_eq!(Config::default().election_timeout, Duration::from_millis(300));
    }

    #[test]
    fn a_long_lease_is_cut() {
        let config = Config { lease_timeout: Duration::from_secs(9), ..Config::default() };
        assert_eq!(config.lease(), Duration::from_millis(150));
    }
}
