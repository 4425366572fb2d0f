//! From a check's definition to what is to be done, or what is wrong with it.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::time::Duration;

use convoke_config::definition::CheckDefinition;

use crate::local::Refusal;
use crate::probe::{Kind, Probe, Tls};

/// No check runs more often.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// A service is not reaped sooner, whatever its check says.
pub const MIN_REAP: Duration = Duration::from_secs(60);
/// Of a script or a program in a container.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Of everything else.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a check comes to its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A probe is run at intervals.
    Probe {
        /// What to run.
        probe: Probe,
        /// From the end of one run to the start of the next; at least [`MIN_INTERVAL`].
        interval: Duration,
    },
    /// A client reports.
    Ttl {
        /// Longest time between two reports.
        ttl: Duration,
    },
    /// It mirrors others.
    Alias,
    /// It has the status it was registered with (maintenance).
    Fixed,
}

/// Scripts are a way to run programs, so where they may come from is the operator's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptPolicy {
    /// From anywhere.
    pub remote: bool,
    /// From files.
    pub local: bool,
}

impl ScriptPolicy {
    /// Whether the check may be registered from there.
    ///
    /// # Errors
    ///
    /// The refusal in Consul's words, which name the setting.
    pub fn admits(self, definition: &CheckDefinition, from_file: bool) -> Result<(), Refusal> {
        if definition.args.is_empty() || self.remote || (from_file && self.local) {
            return Ok(());
        }
        Err(Refusal::new(
            500,
            if from_file {
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                 'enable_local_script_checks' to true"
            } else {
                "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to \
                 true"
            },
        ))
    }
}

/// The kind as users see it; empty where there is none.
#[must_use]
pub fn kind_name(definition: &CheckDefinition) -> &'static str {
    let d = definition;
    match () {
        () if !d.grpc.is_empty() => "grpc",
        () if !d.http.is_empty() => "http",
        () if !d.tcp.is_empty() => "tcp",
        () if is_alias(d) => "alias",
        () if !d.docker_container_id.is_empty() && !d.args.is_empty() => "docker",
        () if !d.args.is_empty() => "script",
        () if !d.udp.is_empty() => "udp",
        () if !d.h2ping.is_empty() => "h2ping",
        () if !d.os_service.is_empty() => "os_service",
        () if !d.ttl.is_zero() => "ttl",
        () => "",
    }
}

fn is_alias(definition: &CheckDefinition) -> bool {
    !definition.alias_node.is_empty() || !definition.alias_service.is_empty()
}

/// What is wrong with a definition that no policy can mend, in Consul's words.
///
/// # Errors
///
/// A 400.
pub fn validate(definition: &CheckDefinition) -> Result<(), Refusal> {
    definition.validate().map_err(|wrong| Refusal::new(400, alloc::format!("Invalid check: {wrong}")))
}

/// What a definition asks for. `output_limit`: the agent's default.
#[must_use]
pub fn spec(definition: &CheckDefinition, output_limit: u64) -> Spec {
    let d = definition;
    let tls = || Tls { server_name: d.tls_server_name.clone(), skip_verify: d.tls_skip_verify };
    let kind = match kind_name(d) {
        "alias" => return Spec::Alias,
        "ttl" => return Spec::Ttl { ttl: d.ttl },
        "script" => Kind::Script { args: d.args.clone() },
        "docker" => {
            Kind::Docker { container: d.docker_container_id.clone(), shell: d.shell.clone(), args: d.args.clone() }
        }
        "http" => Kind::Http {
            url: d.http.clone(),
            method: if d.method.is_empty() { "GET".to_owned() } else { d.method.to_uppercase() },
            headers: d.header.clone(),
            body: d.body.clone(),
            disable_redirects: d.disable_redirects,
            tls: tls(),
        },
        "tcp" => Kind::Tcp { address: d.tcp.clone(), tls: d.tcp_use_tls.then(tls) },
        "udp" => Kind::Udp { address: d.udp.clone() },
        "grpc" => {
            let (address, service) = d.grpc.split_once('/').unwrap_or((&d.grpc, ""));
            Kind::Grpc { address: address.to_owned(), service: service.to_owned(), tls: d.grpc_use_tls.then(tls) }
        }
        "h2ping" => Kind::H2Ping { address: d.h2ping.clone(), tls: d.h2ping_use_tls.unwrap_or(true).then(tls) },
        "os_service" => Kind::OsService { unit: d.os_service.clone() },
        _ => return Spec::Fixed,
    };
    let default = match kind {
        Kind::Script { .. } | Kind::Docker { .. } => SCRIPT_TIMEOUT,
        _ => PROBE_TIMEOUT,
    };
    let timeout = if d.timeout.is_zero() { default } else { d.timeout };
    let probe = Probe { kind, timeout, output_limit: output_max(d, output_limit) };
    Spec::Probe { probe, interval: d.interval.max(MIN_INTERVAL) }
}

/// Bytes of output kept: what the check asks for, but not more than the agent keeps of any.
#[must_use]
pub fn output_max(definition: &CheckDefinition, default: u64) -> usize {
    let given = if definition.output_max_size == 0 { default } else { definition.output_max_size.min(default) };
    usize::try_from(given.max(1)).unwrap_or(usize::MAX)
}

/// Output as it is kept: cut to the limit, and saying so.
#[must_use]
pub fn cut(output: &str, limit: usize) -> String {
    if output.len() <= limit {
        return output.to_owned();
    }
    let end = (0..=limit).rev().find(|end| output.is_char_boundary(*end)).unwrap_or(0);
    alloc::format!("{} ... (captured {end} of {} bytes)", output.get(..end).unwrap_or_default(), output.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    fn definition(change: impl FnOnce(&mut CheckDefinition)) -> CheckDefinition {
        let mut definition = CheckDefinition { interval: Duration::from_secs(10), ..CheckDefinition::default() };
        change(&mut definition);
        definition
    }

    #[test]
    fn wrong_definitions_are_told_in_known_words() {
        let s = Duration::from_secs;
        let cases: [(CheckDefinition, &str); 7] = [
            (CheckDefinition::default(), "TTL must be > 0 for TTL checks"),
            (definition(|d| d.ttl = s(5)), "Interval and TTL cannot both be specified"),
            (
                CheckDefinition { http: "http://x/".to_string(), ..CheckDefinition::default() },
                "Interval must be > 0 for Script, HTTP, or TCP checks",
            ),
            (
                CheckDefinition { http: "http://x/".to_string(), ttl: s(5), ..CheckDefinition::default() },
                "Interval must be > 0 for Script, HTTP, or TCP checks",
            ),
            (
                CheckDefinition { alias_service: "x".to_string(), ttl: s(5), ..CheckDefinition::default() },
                "TTL must be not be set for Alias checks",
            ),
            (
                definition(|d| {
                    d.alias_node = "x".to_string();
                    d.tcp = "h:1".to_string();
                }),
                "Interval cannot be set for Alias checks",
            ),
            (definition(|d| d.docker_container_id = "x".to_string()), "TTL must be > 0 for TTL checks"),
        ];
        for (bad, text) in cases {
            assert_eq!(validate(&bad), Err(Refusal::new(400, alloc::format!("Invalid check: {text}"))));
        }
        assert_eq!(validate(&definition(|d| d.tcp = "h:1".to_string())), Ok(()));
        assert_eq!(validate(&definition(|d| d.alias_node = "x".to_string())), Ok(()));
        assert_eq!(validate(&CheckDefinition { ttl: s(1), ..CheckDefinition::default() }), Ok(()));
    }

    #[test]
    fn scripts_need_leave() {
        let script = definition(|d| d.args = vec!["true".to_string()]);
        let policy = |remote, local| ScriptPolicy { remote, local };
        assert!(policy(false, false).admits(&script, false).unwrap_err().text.contains("from remote calls"));
        assert!(policy(false, false).admits(&script, true).unwrap_err().text.contains("enable_local_script_checks"));
        assert!(policy(false, true).admits(&script, false).is_err());
        assert!(policy(false, true).admits(&script, true).is_ok());
        assert!(policy(true, false).admits(&script, false).is_ok());
        assert!(policy(true, false).admits(&script, true).is_ok());
        assert!(policy(false, false).admits(&definition(|d| d.tcp = "x:1".to_string()), false).is_ok());
    }

    #[test]
    fn defaults_are_consuls() {
        let Spec::Probe { probe, interval } = spec(&definition(|d| d.http = "http://x/".to_string()), 4096) else {
            panic!("no probe")
        };
        assert_eq!((probe.timeout, interval, probe.output_limit), (PROBE_TIMEOUT, Duration::from_secs(10), 4096));
        let script = definition(|d| {
            d.args = vec!["x".to_string()];
            d.interval = Duration::from_millis(1);
            d.output_max_size = 7;
        });
        let Spec::Probe { probe, interval } = spec(&script, 4096) else { panic!("no probe") };
        assert_eq!((probe.timeout, interval, probe.output_limit), (SCRIPT_TIMEOUT, MIN_INTERVAL, 7));
        let grpc = definition(|d| d.grpc = "h:1/a/b".to_string());
        let Spec::Probe { probe, .. } = spec(&grpc, 1) else { panic!("no probe") };
        let (address, service) = ("h:1".to_string(), "a/b".to_string());
        assert_eq!(probe.kind, Kind::Grpc { address, service, tls: None });
        let ping = definition(|d| d.h2ping = "h:1".to_string());
        let Spec::Probe { probe, .. } = spec(&ping, 1) else { panic!("no probe") };
        assert_eq!(probe.kind, Kind::H2Ping { address: "h:1".to_string(), tls: Some(Tls::default()) });
        assert_eq!(
            [0, 10, 5000].map(|size| output_max(&definition(|d| d.output_max_size = size), 4096)),
            [4096, 10, 4096]
        );
        assert_eq!(spec(&definition(|d| d.alias_node = "n".to_string()), 1), Spec::Alias);
        assert_eq!(spec(&CheckDefinition::default(), 1), Spec::Fixed);
    }

    #[test]
    fn long_output_is_cut_and_says_so() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc ... (captured 3 of 4 bytes)");
        assert_eq!(cut("aé", 2), "a ... (captured 1 of 3 bytes)");
    }
}
