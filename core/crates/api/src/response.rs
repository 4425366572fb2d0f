//! What a runtime sends back.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::view::Topic;

use crate::effect::Effect;

/// An HTTP response. A runtime adds `Date` and `Content-Length` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields in order.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// Status and nothing else.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Plain text, as Consul's errors are.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let mut r = Self::empty(status);
        r.header("Content-Type", "text/plain; charset=utf-8");
        r.body = text.into().into_bytes();
        r
    }

    /// A JSON document.
    #[must_use]
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        let mut r = Self::empty(status);
        r.header("Content-Type", "application/json");
        r.body = body;
        r
    }

    /// Adds a header field.
    pub fn header(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> &mut Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Answered.
    Done(Response),
    /// A blocking query whose answer has not changed: wait, then ask again.
    Wait(Wait),
    /// Something for the node; its reply answers the request.
    Effect(Effect),
    /// `/v1/agent/metrics`: the runtime's registry, in Consul's JSON or in Prometheus' text form.
    Metrics {
        /// Prometheus' text form.
        prometheus: bool,
        /// Indented JSON.
        pretty: bool,
    },
    /// `/v1/agent/monitor`: stream log lines of this level (`TRACE` to `ERR`), as text or JSON.
    Monitor {
        /// Lowest level.
        level: &'static str,
        /// As JSON lines.
        json: bool,
    },
}

/// A blocking query that is not answered yet.
///
/// The runtime registers `topics` in the watch table, re-asks with `last_chance = false` at each wake-up and with
/// `last_chance = true` when `max_wait` is over, and then sends whatever comes.
#[derive(Clone, Debug)]
pub struct Wait {
    /// What it read; empty for the agent's own tables.
    pub topics: Vec<Topic>,
    /// It also read the agent's own state (`/v1/agent/...` with `hash`).
    pub agent: bool,
    /// From the arrival of the request, jitter included: never more than wait + wait/16.
    pub max_wait: Duration,
}
