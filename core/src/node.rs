//! The seam between the pure node and whoever drives it.
//!
//! [`Node`] is built from a [`Boot`] and driven with [`Event`]s; everything it wants done is an [`Action`], in the order
//! they are pushed. A driver calls [`Machine::handle_timeout`](convoke_kit::Machine) at once after building it, for that
//! is when a node starts.
//!
//! * `boot`: what a node is made of. * `shell`: the children and the routes between them. * `writes`: what waits for the
//!   disk. * `mirrors`: alias checks. * `requests`: what clients ask. * `reload`: new configuration. * `life`: signals and leaving.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_api::agent_view::AgentView;
use convoke_api::effect::Effect;
use convoke_api::response::Response;
use convoke_catalog::view::{Changes, View};
use convoke_config::Diagnostic;
use convoke_config::config::Config;

use crate::probe::{Outcome, Probe, RunId};
use crate::store::Write;

mod boot;
mod life;
mod mirrors;
mod reload;
mod requests;
mod shell;
#[cfg(test)]
mod tests;
mod writes;

pub use boot::{Boot, StartError};
pub use shell::Node;

/// Names a request until it is replied to; chosen by the driver, unique among those in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What can happen to a node.
#[derive(Debug)]
pub enum Event {
    /// A client wants a change. Replied to by exactly one [`Action::Reply`], now or later.
    Request {
        /// Named in the reply.
        id: RequestId,
        /// The change.
        effect: Effect,
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
    /// The operating system asks.
    Signal(Signal),
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

/// What a node wants done.
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
}
