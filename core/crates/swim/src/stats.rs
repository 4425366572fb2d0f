//! Counters.

/// What a machine has seen and done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes of these.
    pub bytes_out: u64,
    /// Messages in these.
    pub messages_out: u64,
    /// Datagrams received.
    pub packets_in: u64,
    /// Bytes of these.
    pub bytes_in: u64,
    /// Messages of these that could be read.
    pub messages_in: u64,
    /// Dropped: not a packet of ours, or of an envelope version that we do not speak.
    pub dropped_foreign: u64,
    /// Dropped: of another pool.
    pub dropped_pool: u64,
    /// Dropped: sealed, and no key opens it; or sealed, and there is no key.
    pub dropped_sealed: u64,
    /// Dropped: not sealed, though it must be.
    pub dropped_plain: u64,
    /// Dropped: opened, but cannot be read.
    pub dropped_malformed: u64,
    /// Dropped: an incarnation nobody can reach in a lifetime.
    pub dropped_incarnation: u64,
    /// Probes begun.
    pub probes: u64,
    /// Probes that nobody acknowledged.
    pub probes_failed: u64,
    /// Acknowledged over a stream only: UDP does not get through.
    pub stream_only: u64,
    /// Suspicions begun here by an own probe.
    pub suspicions: u64,
    /// Members declared failed here because a suspicion ran out.
    pub verdicts: u64,
    /// Times that it had heard nobody for so long, or had stood still for so long, that its suspicions waited
    /// ([`crate::Lifeguard::doubt`]).
    pub doubts: u64,
    /// Accusations against the own member that were refuted.
    pub refutations: u64,
    /// Tables compared.
    pub exchanges: u64,
    /// Broadcasts dropped because too many waited.
    pub broadcasts_dropped: u64,
}
