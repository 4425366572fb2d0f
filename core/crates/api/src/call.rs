//! One request on its way through a handler, and the ways out of it.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::topic::Topic;
use convoke_config::config::Config;
use convoke_kit::Rng;

use crate::Context;
use crate::json::Json;
use crate::query::{Consistency, Params, ReadOptions};
use crate::request::Request;
use crate::response::{Outcome, Response, Wait};

/// What a handler gives back; an error is just another response.
pub(crate) type Answer = Result<Outcome, Response>;

/// One request, taken apart.
pub(crate) struct Call<'a> {
    pub(crate) ctx: &'a Context<'a>,
    pub(crate) req: &'a Request<'a>,
    /// The parameters.
    pub(crate) params: Params<'a>,
    /// What follows the route's pattern in the path, decoded.
    pub(crate) rest: &'a str,
    /// A blocking query answers now, whatever it has.
    pub(crate) last_chance: bool,
    /// Indented JSON.
    pub(crate) pretty: bool,
}

/// Which headers an answer from the tables carries besides index, leader and contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    /// None.
    Plain,
    /// The consistency it was read with.
    Consistency,
    /// The same, and `X-Cache` if the cache was allowed.
    Cacheable,
}

impl<'a> Call<'a> {
    pub(crate) fn config(&self) -> &'a Config {
        &self.ctx.agent.config
    }

    /// A writer for the answer; `capacity` is a guess in bytes.
    pub(crate) fn json(&self, capacity: usize) -> Json {
        Json::new(self.pretty, capacity)
    }

    /// The options of a read that answers from the tables of this datacenter. `meta` headers go with refusals, too,
    /// where Consul sends them: everywhere but on keys and values.
    pub(crate) fn read_options(&self) -> Result<ReadOptions<'a>, Response> {
        let read = self.options()?;
        if read.elsewhere {
            return Err(refused("No path to datacenter"));
        }
        if read.consistency != Consistency::Stale && !self.ctx.confirmed {
            return Err(refused("No cluster leader"));
        }
        Ok(read)
    }

    /// The options as given.
    pub(crate) fn options(&self) -> Result<ReadOptions<'a>, Response> {
        ReadOptions::parse(self.req, self.params, self.config())
    }

    /// The options of what the agent answers itself, and of writes; see [`ReadOptions::plain`].
    pub(crate) fn plain_options(&self) -> ReadOptions<'a> {
        ReadOptions::plain(self.req, self.params, self.config())
    }

    /// The options of what does not read the tables, or changes them: another datacenter is refused without headers.
    pub(crate) fn local_options(&self) -> Result<ReadOptions<'a>, Response> {
        let read = self.options()?;
        if read.elsewhere { Err(Response::text(500, "No path to datacenter")) } else { Ok(read) }
    }

    /// What remains of the path, or 400 with `Missing ...`.
    pub(crate) fn rest_or(&self, missing: &'static str) -> Result<&'a str, Response> {
        if self.rest.is_empty() { Err(Response::text(400, missing)) } else { Ok(self.rest) }
    }

    /// The wait that a blocking query has to do before it is answered, if any; `index` is that of the answer as it
    /// is now.
    ///
    /// A client that knows an index beyond everything this server has seen comes from before a restore or another
    /// life of the cluster: it is answered at once, so that it can start anew. Not so with `stale`, where this server
    /// may simply lag behind.
    pub(crate) fn wait(
        &self,
        read: &ReadOptions<'_>,
        index: u64,
        topics: impl FnOnce() -> Vec<Topic>,
    ) -> Option<Outcome> {
        let future = read.index > self.ctx.view.index().max(1) && read.consistency != Consistency::Stale;
        if read.index == 0 || index > read.index || future || self.last_chance {
            return None;
        }
        Some(Outcome::Wait(Wait { topics: topics(), agent: false, max_wait: self.max_wait(read.wait) }))
    }

    /// The index of an answer about nodes, services or checks. What never was has index 1 in a view, and a client that
    /// knows no index asks with 1, for "anything is newer": so it is 2 as soon as the log got there.
    pub(crate) fn row_index(&self, index: u64) -> u64 {
        index.max(self.ctx.view.index().min(2))
    }

    /// How long a blocking query waits at most: as asked, within bounds, and up to a sixteenth more so that a crowd of
    /// clients spreads out.
    pub(crate) fn max_wait(&self, asked: Duration) -> Duration {
        let config = self.config();
        let wait = if asked.is_zero() { config.default_query_time } else { asked }.min(config.max_query_time);
        wait + Rng::new(self.ctx.seed).duration(wait / 16)
    }

    /// A document from the tables.
    pub(crate) fn found(&self, read: &ReadOptions<'_>, index: u64, meta: Meta, json: Json) -> Answer {
        let mut response = Response::empty(200);
        response.headers.reserve(6);
        response.header("Content-Type", "application/json");
        if meta != Meta::Plain {
            response.header("X-Consul-Effective-Consistency", read.consistency.as_str());
        }
        if meta == Meta::Cacheable && read.cached && self.config().http.use_cache {
            // What is read here is the table itself, and no cache is fresher.
            response.header("X-Cache", "MISS");
        }
        self.stamp(&mut response, index);
        response.body = json.finish();
        Ok(Outcome::Done(response))
    }

    /// Nothing there.
    pub(crate) fn absent(&self, index: u64) -> Answer {
        let mut response = Response::empty(404);
        self.stamp(&mut response, index);
        Ok(Outcome::Done(response))
    }

    /// The headers of an answer from the tables.
    pub(crate) fn stamp(&self, response: &mut Response, index: u64) {
        let known = if self.ctx.agent.leader.is_some() { "true" } else { "false" };
        response
            .header("X-Consul-Index", index.max(1).to_string())
            .header("X-Consul-Knownleader", known)
            .header("X-Consul-Lastcontact", self.ctx.contact_millis.to_string());
    }

    /// A document that is not from the tables.
    pub(crate) fn document(&self, status: u16, json: Json) -> Answer {
        Ok(Outcome::Done(Response::json(status, json.finish())))
    }
}

/// A read that fails: the headers are there, and say that nothing is known.
pub(crate) fn refused(text: impl Into<alloc::string::String>) -> Response {
    let mut response = Response::text(500, text);
    response.header("X-Consul-Index", "1").header("X-Consul-Knownleader", "false").header("X-Consul-Lastcontact", "0");
    response
}
