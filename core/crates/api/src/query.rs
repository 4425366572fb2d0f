//! The part of a URL behind the `?`, and the options that every read shares.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::model::Tenancy;
use convoke_catalog::name::{Scope, fold};
use convoke_config::config::Config;
use convoke_config::duration;

use crate::percent::{decode_query, encode_query};
use crate::request::Request;
use crate::response::Response;

/// The parameters of a query, decoded one by one when asked for. Those that are not validly encoded are not there.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Of the query as sent, without the `?`.
    #[must_use]
    pub const fn new(query: &'a str) -> Self {
        Self(query)
    }

    /// Whether every name and value is validly encoded.
    #[must_use]
    pub fn valid(self) -> bool {
        !self.0.contains('%') || self.0.split(['&', '=']).all(|part| decode_query(part).is_some())
    }

    /// Names and values in order.
    pub fn iter(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode_query(name)?, decode_query(value)?))
        })
    }

    /// The values of a parameter, in order.
    pub fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.iter().filter_map(move |(n, value)| (n == name).then_some(value))
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        if self.0.is_empty() { None } else { self.all(name).next() }
    }

    /// The first value of a parameter; empty if there is none.
    #[must_use]
    pub fn text(self, name: &str) -> Cow<'a, str> {
        self.get(name).unwrap_or_default()
    }

    /// Whether it was given, with or without a value.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of it again, sorted by name.
    #[must_use]
    pub fn encoded(self) -> String {
        let mut pairs: Vec<_> = self.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out = String::new();
        for (name, value) in pairs {
            if !out.is_empty() {
                out.push('&');
            }
            encode_query(&mut out, &name);
            out.push('=');
            encode_query(&mut out, &value);
        }
        out
    }
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// From a leader that holds its lease.
    #[default]
    Default,
    /// From any server.
    Stale,
    /// From a leader that just asked its peers.
    Consistent,
}

impl Consistency {
    /// As `X-Consul-Effective-Consistency` shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "leader",
            Self::Stale => "stale",
            Self::Consistent => "consistent",
        }
    }
}

/// What every read of the tables may be asked with.
#[derive(Clone, Debug)]
pub struct ReadOptions<'a> {
    /// Admin partition, folded.
    pub partition: Cow<'a, str>,
    /// Namespace, folded.
    pub namespace: Cow<'a, str>,
    /// The namespace was named, so answers show it.
    pub named: bool,
    /// A datacenter other than this one was asked for.
    pub elsewhere: bool,
    /// How fresh.
    pub consistency: Consistency,
    /// An answer from the agent's cache will do.
    pub cached: bool,
    /// Wait until something newer than this; 0: do not wait.
    pub index: u64,
    /// How long; zero: the default.
    pub wait: Duration,
    /// Wait while the answer's hash is this; empty: do not wait.
    pub hash: Cow<'a, str>,
    /// Filter expression; empty: none.
    pub filter: Cow<'a, str>,
}

impl<'a> ReadOptions<'a> {
    /// Those that name what is meant, and the filter. Nothing else is looked at, so nothing can be wrong: what the
    /// agent answers from its own tables, and every write, is neither stale nor waited for.
    #[must_use]
    pub fn plain(request: &Request<'a>, params: Params<'a>, config: &Config) -> Self {
        let (partition, namespace, named) = tenancy(request, params, config);
        Self {
            partition,
            namespace,
            named,
            elsewhere: params.get("dc").is_some_and(|dc| !dc.is_empty() && *dc != *config.datacenter),
            consistency: Consistency::Default,
            cached: false,
            index: 0,
            wait: Duration::ZERO,
            hash: params.text("hash"),
            filter: params.text("filter"),
        }
    }

    /// Reads all of them, or says what is wrong in Consul's words.
    pub fn parse(request: &Request<'a>, params: Params<'a>, config: &Config) -> Result<Self, Response> {
        let mut read = Self::plain(request, params, config);
        if request.headers.get("cache-control").is_some_and(|value| !cache_control(value)) {
            return Err(Response::text(400, "Invalid Cache-Control header."));
        }
        if request.query.is_empty() {
            return Ok(read);
        }
        read.consistency(params)?;
        read.cached = params.has("cached");
        if read.cached && read.consistency == Consistency::Consistent {
            return Err(Response::text(400, "Cannot specify ?cached with ?consistent, conflicting semantics."));
        }
        read.blocking(params)?;
        Ok(read)
    }

    /// What to wait for, and how long.
    pub(crate) fn blocking(&mut self, params: Params<'_>) -> Result<(), Response> {
        if let Some(wait) = params.get("wait").filter(|wait| !wait.is_empty()) {
            self.wait = duration::parse(&wait).map_err(|_| Response::text(400, "Invalid wait time"))?;
        }
        if let Some(index) = params.get("index").filter(|index| !index.is_empty()) {
            self.index = unsigned(&index).ok_or_else(|| Response::text(400, "Invalid index"))?;
        }
        Ok(())
    }

    fn consistency(&mut self, params: Params<'_>) -> Result<(), Response> {
        let (stale, consistent) = (params.has("stale"), params.has("consistent"));
        if let Some(most) = params.get("max_stale").filter(|most| !most.is_empty())
            && duration::parse(&most).is_err()
        {
            return Err(Response::text(400, alloc::format!("Invalid max_stale value {most:?}")));
        }
        self.consistency = match (stale, consistent) {
            (true, true) => {
                return Err(Response::text(400, "Cannot specify ?stale with ?consistent, conflicting semantics."));
            }
            (true, false) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Default,
        };
        Ok(())
    }

    /// Partition and namespace to look in.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
        Scope { partition: &self.partition, namespace: &self.namespace }
    }

    /// The same, shared.
    #[must_use]
    pub fn tenancy(&self) -> Tenancy {
        Tenancy { partition: (&*self.partition).into(), namespace: (&*self.namespace).into() }
    }
}

/// Partition and namespace that a request names, folded, and whether it names the namespace. `*`, all namespaces, is
/// read as the default one.
fn tenancy<'a>(request: &Request<'a>, params: Params<'a>, config: &Config) -> (Cow<'a, str>, Cow<'a, str>, bool) {
    let folded = |text: Cow<'a, str>| match text {
        Cow::Borrowed(text) => fold(text),
        Cow::Owned(text) => Cow::Owned(fold(&text).into_owned()),
    };
    let given = |text: &Cow<'a, str>| !text.is_empty();
    let namespace =
        params.get("ns").or_else(|| request.headers.get("x-consul-namespace").map(Cow::Borrowed)).filter(given);
    let partition = params
        .get("partition")
        .or_else(|| request.headers.get("x-consul-partition").map(Cow::Borrowed))
        .filter(given)
        .map_or_else(
            || {
                if config.partition.is_empty() {
                    "default".into()
                } else {
                    Cow::Owned(fold(&config.partition).into_owned())
                }
            },
            folded,
        );
    let named = namespace.is_some();
    let namespace = namespace.filter(|name| *name != "*").map_or("default".into(), folded);
    (partition, namespace, named)
}

/// Whether the durations in a `Cache-Control` header can be read.
fn cache_control(value: &str) -> bool {
    value.split(',').all(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = ["max-age", "stale-if-error"].iter().any(|known| name.trim().eq_ignore_ascii_case(known));
        !seconds || value.trim().parse::<i64>().is_ok()
    })
}

/// A number as Go's `strconv.ParseUint` takes it: digits and nothing else.
#[must_use]
pub fn unsigned(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// A truth value as Go's `strconv.ParseBool` takes it.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::string::ToString;

    fn parse(query: &'static str, headers: &'static [(&str, &str)]) -> Result<ReadOptions<'static>, (u16, String)> {
        let held: &'static &'static [(&str, &str)] = Box::leak(Box::new(headers));
        let request = Request { method: "GET", path: "/", query, headers: held, body: b"", remote: None };
        ReadOptions::parse(&request, Params::new(query), &Config::default())
            .map_err(|r| (r.status, String::from_utf8(r.body).unwrap()))
    }

    #[test]
    fn parameters() {
        let params = Params::new("a=1&b&a=2&c=x+y%2B&%zz=1&&d=%zz");
        assert_eq!(params.get("a").unwrap(), "1");
        assert_eq!(params.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert!(params.has("b") && !params.has("d") && !params.has(""));
        assert_eq!(params.text("c"), "x y+");
        assert_eq!(Params::new("recurse&cas=1").encoded(), "cas=1&recurse=");
    }

    #[test]
    fn errors_are_worded_as_recorded() {
        for (query, text) in [
            ("index=abc", "Invalid index"),
            ("index=-1", "Invalid index"),
            ("index=+1", "Invalid index"),
            ("wait=abc", "Invalid wait time"),
            ("wait=5", "Invalid wait time"),
            ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
            ("cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics."),
            ("max_stale=zz&stale", "Invalid max_stale value \"zz\""),
        ] {
            assert_eq!(parse(query, &[]).unwrap_err(), (400, text.to_string()), "{query}");
        }
        assert_eq!(parse("", &[("Cache-Control", "max-age=zz")]).unwrap_err().1, "Invalid Cache-Control header.");
        assert!(parse("", &[("cache-control", "MAX-AGE=5, must-revalidate")]).is_ok());
    }

    #[test]
    fn options() {
        let read = parse("index=5&wait=1.5s&stale=&dc=DC2&ns=Team&partition=P&filter=a+b&hash=x&wait=zz", &[]).unwrap();
        assert_eq!((read.index, read.wait, read.consistency), (5, Duration::from_millis(1500), Consistency::Stale));
        assert!(read.elsewhere && read.named && !read.cached);
        assert_eq!((&*read.namespace, &*read.partition, &*read.filter, &*read.hash), ("team", "p", "a b", "x"));
        let read = parse("dc=dc1&wait=-5s", &[("X-Consul-Namespace", "*")]).unwrap();
        assert_eq!((&*read.namespace, read.named, read.elsewhere, read.wait), ("default", true, false, Duration::ZERO));
    }
}
