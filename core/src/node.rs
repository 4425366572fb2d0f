//! The seam between the pure node and whoever drives it.
//!
//! [`Node`] is built from a [`Boot`] and driven with [`Event`]s; everything it wants done is an [`Action`], in the order
//! they are pushed. A driver calls [`Machine::handle_timeout`](convoke_kit::Machine) at once after building it, for that
//! is when a node starts.
//!
//! * `boot`: what a node is made of. * `shell`: the children and the routes between them. * `writes`: what waits for the
//!   disk. * `mirrors`: alias checks. * `requests`: what clients ask. * `reload`: new configuration. * `life`: signals and leaving.
//! * `servers`: consensus, or whom to ask instead; what agents ask each other.
//! * `sessions`: their time.
//! * [`gossip`]: the pools this agent is a member of, and what the rest of the node learns from them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_api::agent_view::AgentView;
use convoke_api::effect::Effect;
use convoke_api::response::Response;
use convoke_catalog::view::{Changes, View};
use convoke_config::Diagnostic;
use convoke_config::config::Config;
use convoke_raft::{NodeId, ReadMode};
use convoke_swim as swim;

use crate::consensus::Frozen;
use crate::probe::{Outcome, Probe, RunId};
use crate::rpc::{Answer, Ask, Body};
use crate::store::Write;

mod boot;
pub mod gossip;
mod life;
mod mirrors;
mod reload;
mod requests;
mod servers;
mod sessions;
mod shell;
#[cfg(test)]
mod tests;
mod writes;

pub use boot::{Boot, StartError};
pub use shell::Node;

/// Names a request until it is replied to; chosen by the driver, unique among those in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A gossip pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// Inside the datacenter.
    Lan,
    /// Between datacenters.
    Wan,
}

impl Pool {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Lan, Self::Wan];

    /// Lane of its datagrams in [`convoke_kit::Out`].
    #[must_use]
    pub const fn lane(self) -> u8 {
        self as u8
    }

    /// For logs and errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "LAN",
            Self::Wan => "WAN",
        }
    }
}

/// Names an [`Action::Ask`] until it is answered; chosen by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Names an [`Event::Asked`] until it is answered; chosen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names an [`Action::Resolve`] until it is answered; chosen by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What can happen to a node.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client wants a change. Replied to by exactly one [`Action::Reply`], now or later.
    Request {
        /// Named in the reply.
        id: RequestId,
        /// The change.
        effect: Effect,
    },
    /// A reader wants to know that what it reads then contains everything committed before now. Replied to like a request:
    /// with 200, or the reason why it cannot be known.
    Confirm {
        /// Named in the reply.
        id: RequestId,
        /// How to know.
        mode: ReadMode,
    },
    /// Another server says something.
    Raft {
        /// Who it says it is.
        from: NodeId,
        /// Whom it means.
        to: NodeId,
        /// What.
        message: convoke_raft::Message,
    },
    /// Another agent asks something. Answered by exactly one [`Action::Answer`], now or later.
    Asked {
        /// Named in the answer.
        id: AskId,
        /// What.
        ask: Ask,
    },
    /// Answers [`Action::Ask`].
    Answered {
        /// Which.
        call: CallId,
        /// The answer; or why there is none.
        result: Result<Answer, String>,
    },
    /// A [`Action::RunCheck`] is over.
    CheckDone {
        /// Which; a result of a run that was cancelled is ignored.
        run: RunId,
        /// What came of it.
        outcome: Outcome,
    },
    /// Answers [`Action::LoadConfig`].
    ConfigLoaded {
        /// The new configuration with its warnings, or what is wrong with the files.
        result: Result<(Box<Config>, Vec<Diagnostic>), Vec<Diagnostic>>,
    },
    /// Answers [`Action::Export`].
    Exported {
        /// As asked.
        index: u64,
        /// [`Frozen::encode`].
        tables: Vec<u8>,
    },
    /// Every write up to and including this one is durable.
    Persisted {
        /// [`Write::seq`].
        upto: u64,
    },
    /// A write failed and was not applied. The node refuses what depended on it, clearly; a failed log write halts
    /// the node (a failed fsync is never retried).
    PersistFailed {
        /// [`Write::seq`].
        seq: u64,
        /// For people.
        error: String,
    },
    /// There is no space for the log any more, or there is again. What is needed to vote can still be written.
    DiskFull(bool),
    /// The operating system asks.
    Signal(Signal),
    /// Something came from a pool: a datagram, the frame of an accepted stream, the outcome of an [`Action::Dial`].
    Gossip {
        /// Which.
        pool: Pool,
        /// What.
        event: swim::Event<'a>,
    },
    /// Answers [`Action::Resolve`].
    Resolved {
        /// Which.
        lookup: LookupId,
        /// All addresses of the name; or why there are none.
        result: Result<Vec<SocketAddr>, String>,
    },
}

/// Signals, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Reload,
}

/// What a node wants done, besides sending datagrams: those leave through the socket of the pool that their lane names
/// ([`Pool::lane`]). What the network does not take at once is lost, as the network may lose it.
#[derive(Debug)]
pub enum Action {
    /// Answers a request.
    Reply {
        /// Which.
        id: RequestId,
        /// With what.
        response: Response,
    },
    /// Readers should see this from now on. Wake the watches of `changes` (and those of the agent's own tables if
    /// `agent_changed`) after swapping.
    Publish {
        /// The new snapshot.
        published: Arc<Published>,
        /// Topics that changed in the catalog.
        changes: Changes,
        /// The agent's own tables changed.
        agent_changed: bool,
        /// The catalog was replaced as a whole: wake everybody.
        replaced: bool,
    },
    /// Say this to a server. May be lost; what goes to one server should keep its order.
    Tell {
        /// The server.
        to: SocketAddr,
        /// What.
        body: Box<Body>,
    },
    /// Ask another agent, and report [`Event::Answered`] within `limit`.
    Ask {
        /// Named in the report.
        call: CallId,
        /// The agent.
        to: SocketAddr,
        /// What.
        ask: Ask,
        /// For everything together.
        limit: Duration,
    },
    /// Answers [`Event::Asked`].
    Answer {
        /// Which.
        id: AskId,
        /// With what.
        answer: Answer,
    },
    /// Run a probe once, then report [`Event::CheckDone`] with the same `run`. The runtime enforces the timeout.
    RunCheck {
        /// Named in the result.
        run: RunId,
        /// What to do.
        probe: Arc<Probe>,
    },
    /// Its result is no longer wanted; kill it if it is cheap to.
    CancelCheck {
        /// Which.
        run: RunId,
    },
    /// Make this durable, in order of `seq`; report [`Event::Persisted`]. Many may share one fsync.
    Persist(Write),
    /// Encode the tables, which may take a while, where nobody waits for it; report [`Event::Exported`]. One at a time.
    Export {
        /// The last entry that is in them.
        index: u64,
        /// The tables.
        tables: Box<Frozen>,
    },
    /// Read the configuration files again; report [`Event::ConfigLoaded`].
    LoadConfig,
    /// A line for the log.
    Log {
        /// Severity.
        level: Level,
        /// `agent`, `agent.http`, ...
        target: &'static str,
        /// The line, fields included.
        message: String,
    },
    /// Settings a runtime holds changed (log level, HTTP headers, limits, DNS): take them from here.
    Reconfigure(Arc<Config>),
    /// Registered and able to serve: tell the service manager.
    Ready,
    /// Connect, send the frame, read one frame, close; report [`swim::Event::Response`] or [`swim::Event::DialFailed`].
    Dial {
        /// Named in the report.
        pool: Pool,
        /// Named in the report.
        exchange: swim::ExchangeId,
        /// Peer.
        to: SocketAddr,
        /// Body of the frame.
        frame: Vec<u8>,
        /// For everything together.
        limit: Duration,
    },
    /// Send this frame over an accepted stream and close it. Empty: close without a word. Comes with the call that handed
    /// the request in.
    Respond {
        /// Pool of the stream.
        pool: Pool,
        /// Which.
        stream: swim::StreamId,
        /// Body of the frame.
        frame: Vec<u8>,
    },
    /// Look a name up; report [`Event::Resolved`] within some seconds.
    Resolve {
        /// Named in the report.
        lookup: LookupId,
        /// Name of a host.
        host: String,
        /// To be put behind each address.
        port: u16,
    },
    /// End the process with this code, after replies and writes before it are out.
    Exit {
        /// Process exit code.
        code: i32,
    },
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// Normal operation.
    Info,
    /// Something a person should look at.
    Warn,
    /// Something is broken.
    Error,
}

/// What readers read: one consistent pair.
#[derive(Clone, Debug)]
pub struct Published {
    /// The catalog.
    pub view: View,
    /// The agent.
    pub agent: AgentView,
    /// The term in which this server led when this was published, and knew everything that was committed before; 0: it did
    /// not.
    pub reign: u64,
}
