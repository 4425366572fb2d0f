//! Every knob of the machine.

use core::time::Duration;

/// Which envelope versions a member speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Lowest.
    pub min: u8,
    /// Highest.
    pub max: u8,
}

impl Versions {
    /// What this build speaks.
    pub const OURS: Self = Self { min: 1, max: 1 };

    /// Whether two members have a version in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// The three parts of Lifeguard (section 4 of the paper) and one of our own, to be compared one by one. All on in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifeguard {
    /// LHA-Probe: a member that is slow itself probes less often and waits longer.
    pub probe: bool,
    /// LHA-Suspicion: a suspicion lasts longer while few members share it.
    pub suspicion: bool,
    /// Buddy System: who suspects a member tells it so with the next ping.
    pub buddy: bool,
    /// Ours: time in which a member heard nobody, or stood still, is no time of its suspicions, unless it runs and is really
    /// alone. Without it who is stopped for longer than a suspicion lasts condemns whom it suspected.
    pub doubt: bool,
}

impl Lifeguard {
    /// Everything.
    pub const ALL: Self = Self { probe: true, suspicion: true, buddy: true, doubt: true };
    /// Plain SWIM.
    pub const NONE: Self = Self { probe: false, suspicion: false, buddy: false, doubt: false };
}

/// A tag whose value all members of a pool must share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alike {
    /// The tag.
    pub tag: &'static str,
    /// For people, where a member has another value: what to do instead.
    pub advice: &'static str,
}

/// Settings of one pool. Members of a pool should share them; what happens otherwise is said at each.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of the pool, in every packet: 0 LAN, 1 WAN. Packets of another pool are dropped and counted, so that a
    /// LAN port given as a WAN address is noticed.
    pub pool: u8,
    /// Time between two probes of one member. Default 1 s. Shorter finds deaths sooner and costs packets; longer than the
    /// suspicion time lets members die unnoticed for long.
    pub probe_interval: Duration,
    /// Wait for an ack before helpers are asked. Default 500 ms. Must exceed the round trip time (else every probe goes
    /// through helpers) and be below `probe_interval`.
    pub probe_timeout: Duration,
    /// Helpers asked to probe a silent member. Default 3. With 0 one lost packet is a suspicion.
    pub indirect_probes: u32,
    /// A broadcast is sent `retransmit_mult * max(2, ceil(log10(n + 1)))` times. Default 4. With 1 news reach only some.
    pub retransmit_mult: u32,
    /// A suspicion lasts at least `suspicion_mult * max(1, log10(n)) * probe_interval`. Default 4. Smaller kills the slow,
    /// larger keeps the dead.
    pub suspicion_mult: u32,
    /// A suspicion that nobody shares lasts this many times the minimum. Default 6. Only with `lifeguard.suspicion`.
    pub suspicion_max_mult: u32,
    /// Time between two exchanges of whole tables with a random member, for pools of up to 32; grows with log2(n). Default
    /// 30 s. Zero: never; then a healed partition heals by chance only.
    pub push_pull_interval: Duration,
    /// Time between two rounds of gossip while there is news. Default 200 ms.
    pub gossip_interval: Duration,
    /// Members told in one round. Default 3. With 0 news travel only with probes.
    pub gossip_nodes: u32,
    /// Failed members are gossiped to for so long, so that a wrong verdict reaches its subject. Default 30 s.
    pub gossip_to_the_dead: Duration,
    /// Most that a member's own ill health multiplies its intervals with. Default 8; 1 turns it off.
    pub awareness_max: u32,
    /// Most bytes of a datagram. Default 1,400. Above the path's MTU packets are lost silently.
    pub packet_bytes: usize,
    /// Limit for a stream to be connected, written and answered. Default 10 s.
    pub stream_timeout: Duration,
    /// Time between two attempts to reach a failed member again. Default 30 s. Zero: never; then two halves that declared
    /// each other failed stay apart.
    pub reconnect_interval: Duration,
    /// A failed member is forgotten after this. Default 72 h.
    pub reconnect_timeout: Duration,
    /// A member that left is forgotten after this. Default 24 h.
    pub tombstone_timeout: Duration,
    /// Between telling that it leaves and being gone. Default 3 s: time for the news to spread.
    pub leave_delay: Duration,
    /// Broadcasts that may wait. Default 4,096. At the bound those that were sent most often go first.
    pub queue_depth: usize,
    /// User events remembered, so that each is delivered once. Default 512.
    pub event_buffer: usize,
    /// Most bytes of a user event, name and payload together. Default 512.
    pub event_bytes: usize,
    /// Wait for the replies to a keyring operation. Default 5 s.
    pub query_timeout: Duration,
    /// Keep network coordinates. Default on.
    pub coordinates: bool,
    /// Lifeguard's parts. Default all.
    pub lifeguard: Lifeguard,
    /// Refuse unsealed packets, if there is a key. Default on. Off during the roll-out of encryption.
    pub verify_incoming: bool,
    /// Seal packets, if there is a key. Default on. Off during the roll-out of encryption.
    pub verify_outgoing: bool,
    /// Envelope versions spoken.
    pub versions: Versions,
    /// Tags that must be the same at every member. Who has another value cannot join, is not taken in by gossip, and is told
    /// so. Default none. A tag that ever changes at a member would keep its news out.
    pub alike: &'static [Alike],
    /// The tag by which a member says for how long it is remembered once it failed or left, as in `24h0m0s`; without it, or
    /// where it makes no sense, `reconnect_timeout` and `tombstone_timeout` count. Default: empty, there is no such tag.
    pub stay_tag: &'static str,
}

impl Config {
    /// Inside a datacenter.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            pool: 0,
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead: Duration::from_secs(30),
            awareness_max: 8,
            packet_bytes: 1400,
            stream_timeout: Duration::from_secs(10),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(72 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            leave_delay: Duration::from_secs(3),
            queue_depth: 4096,
            event_buffer: 512,
            event_bytes: 512,
            query_timeout: Duration::from_secs(5),
            coordinates: true,
            lifeguard: Lifeguard::ALL,
            verify_incoming: true,
            verify_outgoing: true,
            versions: Versions::OURS,
            alike: &[],
            stay_tag: "",
        }
    }

    /// Between datacenters.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            pool: 1,
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_mult: 6,
            push_pull_interval: Duration::from_secs(60),
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 4,
            gossip_to_the_dead: Duration::from_secs(60),
            stream_timeout: Duration::from_secs(30),
            ..Self::lan()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::lan()
    }
}
