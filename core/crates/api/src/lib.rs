//! The HTTP API as a pure function: a request and a view in, a response or something to wait for or to do out.
//!
//! What goes in and comes out:
//! * [`request`]: what a runtime hands in. * [`response`]: what it gets back.
//! * [`agent_view`]: what the agent publishes of itself for the handlers to read.
//! * [`effect`]: what a handler cannot do itself: changes, for the node to carry out.
//! * [`plan`]: the other side: what a watch asks, and what of an answer is new.
//!
//! On the way:
//! * `route`, `routes`: from method and path to a handler. * [`query`], [`percent`]: parameters. * `call`: one request,
//!   blocking queries, headers. * `decode`: bodies. * [`json`]: answers. * `filter`: `?filter=`.
//!
//! The handlers, by path: `agent`, `catalog`, [`coordinate`], `register`, [`event`], `health`, [`keyring`], `kv`, [`session`], `txn`, `operator` (with [`archive`]), `prepared`, `status`, `ui`, and `later`
//! for what is not in this build.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use core::time::Duration;

use convoke_catalog::view::View;
use convoke_config::config::Config;

use crate::agent_view::AgentView;
use crate::request::Request;
use crate::response::{Outcome, Response};

mod agent;
pub mod agent_view;
pub mod archive;
mod call;
mod catalog;
pub mod coordinate;
mod decode;
pub mod effect;
pub mod event;
mod filter;
mod health;
pub mod json;
pub mod keyring;
mod kv;
mod later;
pub mod operator;
pub mod percent;
pub mod place;
pub mod plan;
mod prepared;
pub mod query;
mod register;
pub mod request;
pub mod response;
mod route;
mod routes;
pub mod session;
mod status;
mod txn;
mod ui;

/// What a request is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The replicated tables.
    pub view: &'a View,
    /// The agent's own state.
    pub agent: &'a AgentView,
    /// Wall clock, since 1970.
    pub now_unix: Duration,
    /// Node of the agent that passed the request on; `None`: nobody did.
    pub node: Option<&'a str>,
    /// The view is as fresh as the request wants it: a leader's, or confirmed by one ([`place::freshness`]).
    pub confirmed: bool,
    /// Milliseconds since the leader was last heard of; 0 on the leader.
    pub contact_millis: u64,
    /// For jitter; another one for every request, the same one when a blocking query is asked again.
    pub seed: u64,
}

/// Answers a request. Pure and total: the same arguments give the same outcome, and no bytes make it panic.
///
/// `last_chance`: a blocking query has waited as long as it may, and is answered with what there is.
#[must_use]
pub fn handle(ctx: &Context<'_>, req: &Request<'_>, last_chance: bool) -> Outcome {
    route::dispatch(ctx, req, last_chance)
}

/// Completes a response that did not come out of [`handle`]: what the node replied to an [`Effect`](effect::Effect),
/// or a rendering of metrics. Adds the configured headers and the newline of indented JSON.
pub fn finish(config: &Config, req: &Request<'_>, response: &mut Response) {
    route::finish(config, req, response);
}
