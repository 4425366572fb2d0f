//! Becoming a member: from addresses as people write them to members that were reached.
//!
//! Whoever wants to join (a client, the configuration, the addresses kept from an earlier run) begins an attempt. Its
//! names are looked up, then everything that was found is asked at once; one member that answers is enough.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use convoke_config::RetryJoin;
use convoke_kit::{Deadline, Time};
use convoke_swim::{Command, Ticket};

use crate::node::{LookupId, Pool, RequestId};

/// Attempts of clients under way. At the bound further ones are refused.
pub(super) const CLIENTS: usize = 64;
/// Addresses of one attempt; a name may have any number.
const ADDRESSES: usize = 256;

/// What an address of a configuration or of a client means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It says all.
    At(SocketAddr),
    /// A name to be looked up.
    Name { host: String, port: u16 },
    /// `provider=...`: a query to a cloud, which Convoke does not make.
    Cloud,
}

/// Reads `10.0.0.1`, `10.0.0.1:8301`, `[fe80::1]:8301`, `host`, `host:8301` or `provider=aws ...`.
pub(super) fn target(text: &str, default_port: u16) -> Result<Target, String> {
    let text = text.trim();
    if text.split_whitespace().any(|word| word.starts_with("provider=")) {
        return Ok(Target::Cloud);
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Target::At(address));
    }
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Target::At(SocketAddr::new(ip, default_port)));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let number = port.parse::<u16>().ok().filter(|port| *port > 0);
            (host, number.ok_or_else(|| format!("{port:?} is not a port from 1 to 65535"))?)
        }
        None => (text, default_port),
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(good) {
        return Err("it is neither an address nor the name of a host".to_owned());
    }
    Ok(Target::Name { host: host.to_owned(), port })
}

/// Who wants to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A client, who is replied to.
    Client(RequestId),
    /// `retry_join`.
    Config,
    /// The addresses of an earlier run.
    Kept,
}

/// What there is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Resolve { lookup: LookupId, host: String, port: u16 },
    Command(Pool, Command),
    Over(Outcome),
}

/// How an attempt ended.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) who: Who,
    pub(super) pool: Pool,
    /// Members reached.
    pub(super) reached: usize,
    /// What went wrong, one text an address.
    pub(super) errors: Vec<String>,
}

#[derive(Debug)]
struct Attempt {
    who: Who,
    pool: Pool,
    addresses: Vec<SocketAddr>,
    /// Names not looked up yet.
    names: usize,
    /// The own address was among them: reached without asking.
    own: bool,
    errors: Vec<String>,
}

/// All attempts under way.
#[derive(Debug, Default)]
pub(super) struct Joins {
    attempts: BTreeMap<u64, Attempt>,
    /// Attempt and host of each lookup.
    lookups: BTreeMap<LookupId, (u64, String)>,
    next: u64,
    /// Where the agent itself is, by pool.
    own: [Option<SocketAddr>; 2],
}

impl Joins {
    /// For an agent at these addresses.
    pub(super) fn new(own: [Option<SocketAddr>; 2]) -> Self {
        Self { own, ..Self::default() }
    }

    /// Whether a client must come again later.
    pub(super) fn full(&self) -> bool {
        self.attempts.values().filter(|attempt| matches!(attempt.who, Who::Client(_))).count() >= CLIENTS
    }

    /// Begins an attempt with addresses as they were written.
    pub(super) fn begin(
        &mut self,
        who: Who,
        pool: Pool,
        addresses: &[String],
        default_port: u16,
        steps: &mut Vec<Step>,
    ) {
        self.next += 1;
        let number = self.next;
        let mut attempt = Attempt { who, pool, addresses: Vec::new(), names: 0, own: false, errors: Vec::new() };
        for text in addresses.iter().take(ADDRESSES) {
            match target(text, default_port) {
                Ok(Target::At(address)) => self.found(&mut attempt, address),
                Ok(Target::Name { host, port }) => {
                    self.next += 1;
                    let lookup = LookupId(self.next);
                    self.lookups.insert(lookup, (number, host.clone()));
                    attempt.names += 1;
                    steps.push(Step::Resolve { lookup, host, port });
                }
                Ok(Target::Cloud) => {
                    attempt.errors.push(format!("Failed to resolve {text}: cloud auto-join is not part of Convoke"));
                }
                Err(why) => attempt.errors.push(format!("Failed to resolve {text}: {why}")),
            }
        }
        self.go_on(number, attempt, steps);
    }

    fn found(&self, attempt: &mut Attempt, address: SocketAddr) {
        if self.own[attempt.pool as usize] == Some(address) {
            attempt.own = true;
        } else if attempt.addresses.len() < ADDRESSES && !attempt.addresses.contains(&address) {
            attempt.addresses.push(address);
        }
    }

    /// A name was looked up. Others than those under way are ignored.
    pub(super) fn resolved(
        &mut self,
        lookup: LookupId,
        result: Result<Vec<SocketAddr>, String>,
        steps: &mut Vec<Step>,
    ) {
        let Some((number, host)) = self.lookups.remove(&lookup) else { return };
        let Some(mut attempt) = self.attempts.remove(&number) else { return };
        attempt.names -= 1;
        match result {
            Ok(found) if found.is_empty() => {
                attempt.errors.push(format!("Failed to resolve {host}: it has no address"));
            }
            Ok(found) => found.into_iter().for_each(|address| self.found(&mut attempt, address)),
            Err(why) => attempt.errors.push(format!("Failed to resolve {host}: {why}")),
        }
        self.go_on(number, attempt, steps);
    }

    /// Asks what was found, as soon as all names are looked up.
    fn go_on(&mut self, number: u64, mut attempt: Attempt, steps: &mut Vec<Step>) {
        if attempt.names == 0 && attempt.addresses.is_empty() {
            let Attempt { who, pool, own, errors, .. } = attempt;
            return steps.push(Step::Over(Outcome { who, pool, reached: usize::from(own), errors }));
        }
        if attempt.names == 0 {
            let addresses = core::mem::take(&mut attempt.addresses);
            steps.push(Step::Command(attempt.pool, Command::Join { ticket: Ticket(number), addresses }));
        }
        self.attempts.insert(number, attempt);
    }

    /// The pool answered.
    pub(super) fn joined(
        &mut self,
        ticket: Ticket,
        reached: usize,
        errors: Vec<(SocketAddr, String)>,
    ) -> Option<Outcome> {
        let attempt = self.attempts.remove(&ticket.0)?;
        let told = errors.into_iter().map(|(address, why)| format!("Failed to join {}: {why}", address.ip()));
        let errors = attempt.errors.into_iter().chain(told).collect();
        // The own address counts for a client, who asked for nothing more; `retry_join` needs somebody else.
        let own = attempt.own && matches!(attempt.who, Who::Client(_));
        Some(Outcome { who: attempt.who, pool: attempt.pool, reached: reached + usize::from(own), errors })
    }
}

/// Several errors as one text, as Consul words them.
pub(super) fn several(errors: &[String]) -> String {
    let mut text = match errors.len() {
        1 => "1 error occurred:\n".to_string(),
        n => format!("{n} errors occurred:\n"),
    };
    for error in errors {
        let _ = writeln!(text, "\t* {error}");
    }
    text.push('\n');
    text
}

/// `retry_join` of one pool: tried until somebody was reached.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) pool: Pool,
    pub(super) addresses: Vec<String>,
    interval: Duration,
    /// Rounds after the first; 0: without end.
    max: u32,
    failed: u32,
    /// When the next round begins; `None`: one is under way, or there is nothing to do any more.
    next: Option<Time>,
}

/// What follows a failed round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another one, after this long.
    Again(Duration),
    /// The end: there were as many as allowed.
    Exhausted,
}

impl Retry {
    /// Of a configuration; what it says about clouds is left out, and told.
    pub(super) fn new(pool: Pool, config: &RetryJoin, warnings: &mut Vec<String>) -> Self {
        let key = if pool == Pool::Lan { "retry_join" } else { "retry_join_wan" };
        let mut addresses = config.addresses.clone();
        addresses.retain(|text| {
            let cloud = target(text, 1) == Ok(Target::Cloud);
            if cloud {
                warnings.push(format!(
                    "{key}: {text:?} is not tried: cloud auto-join (go-discover) is not part of Convoke; give addresses, or \
                     a DNS name that the cloud keeps up to date"
                ));
            }
            !cloud
        });
        let next = (!addresses.is_empty()).then_some(Time::ZERO);
        Self {
            pool,
            addresses,
            interval: config.interval.max(Duration::from_millis(100)),
            max: config.max,
            failed: 0,
            next,
        }
    }

    /// Nobody was reached so far, though somebody should be.
    pub(super) fn waits(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether a round begins now.
    pub(super) fn due(&mut self, now: Time) -> bool {
        self.next.take_if(|at| *at <= now).is_some()
    }

    /// When the next round begins.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.next.map(|at| Deadline { at, reason: "join" })
    }

    /// A round was in vain; `None` if it was stopped meanwhile.
    pub(super) fn failed(&mut self, now: Time) -> Option<After> {
        if self.addresses.is_empty() {
            return None;
        }
        self.failed += 1;
        if self.max > 0 && self.failed > self.max {
            return Some(After::Exhausted);
        }
        self.next = Some(now + self.interval);
        Some(After::Again(self.interval))
    }

    /// Somebody was reached, or the agent is leaving.
    pub(super) fn stop(&mut self) {
        self.next = None;
        self.addresses = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (text, expected) in [
            ("10.0.0.1", Target::At(at("10.0.0.1:8301"))),
            (" 10.0.0.1:1234 ", Target::At(at("10.0.0.1:1234"))),
            ("fe80::1", Target::At(at("[fe80::1]:8301"))),
            ("[fe80::1]", Target::At(at("[fe80::1]:8301"))),
            ("[fe80::1]:5", Target::At(at("[fe80::1]:5"))),
            ("consul.example.com", Target::Name { host: "consul.example.com".into(), port: 8301 }),
            ("db_1:9", Target::Name { host: "db_1".into(), port: 9 }),
            ("provider=aws tag_key=x", Target::Cloud),
            ("region=x provider=gce", Target::Cloud),
        ] {
            assert_eq!(target(text, 8301), Ok(expected), "{text}");
        }
        for bad in ["", "host:", "host:0", "host:99999", "a b", "ho/st", ":8301"] {
            assert!(target(bad, 8301).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_names_are_looked_up_before_anybody_is_asked() {
        let mut joins = Joins::new([Some(at("10.0.0.9:8301")), None]);
        let mut steps = Vec::new();
        let texts = ["10.0.0.1", "a.example", "b.example:7", "10.0.0.9", "?"].map(String::from);
        joins.begin(Who::Client(RequestId(1)), Pool::Lan, &texts, 8301, &mut steps);
        let lookups: Vec<LookupId> = steps
            .drain(..)
            .map(|step| match step {
                Step::Resolve { lookup, .. } => lookup,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lookups.len(), 2);
        joins.resolved(lookups[0], Ok(vec![at("10.0.0.2:8301"), at("10.0.0.1:8301")]), &mut steps);
        assert!(steps.is_empty());
        joins.resolved(lookups[1], Err("no such host".into()), &mut steps);
        let [Step::Command(Pool::Lan, Command::Join { ticket, addresses })] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(addresses, &[at("10.0.0.1:8301"), at("10.0.0.2:8301")], "each once, without the own one");
        let outcome = joins.joined(*ticket, 0, vec![(at("10.0.0.1:8301"), "refused".into())]).unwrap();
        assert_eq!(outcome.reached, 1, "the own one");
        assert_eq!(
            outcome.errors,
            [
                "Failed to resolve ?: it is neither an address nor the name of a host",
                "Failed to resolve b.example: no such host",
                "Failed to join 10.0.0.1: refused"
            ]
        );
        assert!(joins.joined(*ticket, 1, vec![]).is_none(), "told once");
        joins.resolved(lookups[0], Ok(vec![]), &mut steps);
    }

    #[test]
    fn an_attempt_without_any_address_is_over_at_once() {
        let mut joins = Joins::new([None, None]);
        let mut steps = Vec::new();
        joins.begin(Who::Config, Pool::Wan, &["host:x".into()], 8302, &mut steps);
        let [Step::Over(outcome)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!((outcome.reached, outcome.errors.len()), (0, 1));
        assert_eq!(
            several(&outcome.errors),
            "1 error occurred:\n\t* Failed to resolve host:x: \"x\" is not a port from 1 to 65535\n\n"
        );
    }

    #[test]
    fn a_round_that_fails_after_the_end_begins_no_other() {
        let config = RetryJoin { addresses: vec!["h".to_owned()], ..RetryJoin::default() };
        let mut retry = Retry::new(Pool::Lan, &config, &mut Vec::new());
        assert!(retry.due(Time::ZERO));
        retry.stop();
        assert_eq!((retry.failed(Time::ZERO), retry.deadline()), (None, None), "a leaving agent would spin on it");
    }

    #[test]
    fn rounds_end_when_consul_ends_them() {
        let mut warnings = Vec::new();
        let addresses = vec!["provider=aws".to_owned(), "h".to_owned()];
        let config = RetryJoin { addresses, interval: Duration::from_secs(30), max: 2 };
        let mut retry = Retry::new(Pool::Lan, &config, &mut warnings);
        assert!(warnings.len() == 1 && warnings[0].contains("cloud auto-join"), "{warnings:?}");
        assert_eq!(retry.addresses, ["h"]);
        let mut now = Time::ZERO;
        for _ in 0..2 {
            assert!(retry.due(now) && !retry.due(now));
            assert_eq!(retry.failed(now), Some(After::Again(Duration::from_secs(30))));
            assert!(!retry.due(now + Duration::from_secs(29)));
            now = now + Duration::from_secs(30);
        }
        assert!(retry.due(now));
        assert_eq!(retry.failed(now), Some(After::Exhausted));
        assert_eq!(retry.deadline(), None);
    }
}
