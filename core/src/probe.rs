//! What a runtime is asked to probe, and what it reports. It decides nothing: schedule, thresholds and the meaning
//! of a result are the core's.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Names one run of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// One run of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What to do.
    pub kind: Kind,
    /// Then it is over, whatever it was doing.
    pub timeout: Duration,
    /// Bytes of output to keep (the last ones of a script, the first ones of a body).
    pub output_limit: usize,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Run a program in a process group of its own; the group is killed at the timeout.
    Script {
        /// Program and arguments; not empty.
        args: Vec<String>,
    },
    /// Request a URL, read the body.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// Upper case.
        method: String,
        /// Fields.
        headers: BTreeMap<String, Vec<String>>,
        /// Body.
        body: String,
        /// Follow no redirect.
        disable_redirects: bool,
        /// TLS.
        tls: Tls,
    },
    /// Connect, and shake hands if `tls`.
    Tcp {
        /// `host:port`.
        address: String,
        /// After connecting.
        tls: Option<Tls>,
    },
    /// Send a datagram and see what comes: an answer or silence is healthy, an ICMP error is not.
    Udp {
        /// `host:port`.
        address: String,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// `host:port`.
        address: String,
        /// Empty: the whole server.
        service: String,
        /// Over TLS.
        tls: Option<Tls>,
    },
    /// HTTP/2 PING.
    H2Ping {
        /// `host:port`.
        address: String,
        /// Over TLS.
        tls: Option<Tls>,
    },
    /// Run a program in a container, through the engine's socket.
    Docker {
        /// Id or name.
        container: String,
        /// Shell, or empty.
        shell: String,
        /// Program and arguments.
        args: Vec<String>,
    },
    /// Ask the system's service manager.
    OsService {
        /// Unit.
        unit: String,
    },
}

/// TLS of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Empty: the host of the address.
    pub server_name: String,
    /// Accept any certificate.
    pub skip_verify: bool,
}

/// What came of a run. The texts are raw; the core words the check's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A program ended.
    Exited {
        /// Exit code; `None`: killed by a signal.
        code: Option<i32>,
        /// Standard output and error as they came, cut to the limit.
        output: Vec<u8>,
        /// All bytes it wrote.
        written: u64,
    },
    /// An HTTP response.
    Http {
        /// Status code.
        status: u16,
        /// Status line as text, e.g. `200 OK`.
        reason: String,
        /// Body, cut to the limit.
        body: Vec<u8>,
    },
    /// Connected, answered, pinged, serving, active: it is well.
    Ok {
        /// Anything worth telling.
        detail: String,
    },
    /// It answered, but not well (not serving, unit failed).
    NotOk {
        /// What it said.
        detail: String,
    },
    /// It could not be asked.
    Failed {
        /// Why.
        error: String,
    },
    /// The timeout came first.
    TimedOut {
        /// What a script had written until then.
        output: Vec<u8>,
    },
}
