//! What a definition may say, in the words of Consul's HTTP API.

use super::proxy::validate_kind;
use super::{CheckDefinition, ServiceDefinition, Weights};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::net::IpAddr;

const MAX_PAIRS: usize = 64;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 512;
const RESERVED: &str = "consul-";

impl CheckDefinition {
    /// Runs a program.
    #[must_use]
    pub fn is_script(&self) -> bool {
        !self.args.is_empty()
    }

    /// Mirrors another service's or node's state.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        !self.alias_node.is_empty() || !self.alias_service.is_empty()
    }

    /// Runs at an interval. A container alone is nothing to run.
    #[must_use]
    pub fn is_interval(&self) -> bool {
        self.is_script()
            || [&self.http, &self.tcp, &self.udp, &self.grpc, &self.h2ping, &self.os_service]
                .iter()
                .any(|target| !target.is_empty())
    }

    /// Whether it says what to probe, and when. `Err` is the reason, without a prefix.
    pub fn validate(&self) -> Result<(), String> {
        let (interval, alias) = (self.is_interval(), self.is_alias());
        let refused = if !self.interval.is_zero() && !self.ttl.is_zero() {
            "Interval and TTL cannot both be specified"
        } else if interval && self.interval.is_zero() {
            "Interval must be > 0 for Script, HTTP, or TCP checks"
        } else if interval && alias {
            "Interval cannot be set for Alias checks"
        } else if alias && !self.ttl.is_zero() {
            "TTL must be not be set for Alias checks"
        } else if !interval && !alias && self.ttl.is_zero() {
            "TTL must be > 0 for TTL checks"
        } else if self.failures_before_warning.is_some_and(|n| n > self.failures_before_critical) {
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        } else {
            return Ok(());
        };
        Err(refused.to_string())
    }

    /// What the HTTP API refuses in a check that stands by itself. `Err` is the answer's body.
    pub fn validate_registration(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("Missing check name".to_string());
        }
        if !is_status(&self.status) {
            return Err("Bad check status".to_string());
        }
        self.validate().map_err(|reason| format!("Invalid check: {reason}"))
    }
}

impl ServiceDefinition {
    /// What the HTTP API refuses in a service. `Err` is the answer's body.
    pub fn validate_registration(&self) -> Result<(), String> {
        if !self.name.is_empty() && self.has_invalid_address() {
            return Err("Invalid service address".to_string());
        }
        self.validate()?;
        if self.checks.iter().all(|check| is_status(&check.status)) {
            return Ok(());
        }
        Err("Status for checks must 'passing', 'warning', 'critical'".to_string())
    }

    /// What is refused wherever the service comes from. Files may hold checks with any status, and an address that nobody can connect to.
    pub fn validate(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("Missing service name".to_string());
        }
        if let Some(weights) = self.weights {
            validate_weights(weights).map_err(|reason| format!("Invalid Weights: {reason}"))?;
        }
        validate_meta(&self.meta).map_err(|reason| format!("Invalid Service Meta: {reason}"))?;
        self.validate_ports()?;
        let native = self.connect.as_ref().is_some_and(|connect| connect.native);
        let reachable = self.port != 0 || !self.ports.is_empty() || !self.socket_path.is_empty();
        validate_kind(&self.kind, reachable, native, self.proxy.as_ref())?;
        for check in &self.checks {
            check.validate().map_err(|reason| format!("Invalid check: {reason}"))?;
        }
        Ok(())
    }

    /// An address that no one can connect to: `0.0.0.0`, `::` or `[::]`.
    pub(crate) fn has_invalid_address(&self) -> bool {
        let inside = self.address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
        inside.unwrap_or(&self.address).parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
    }

    fn validate_ports(&self) -> Result<(), String> {
        if self.ports.is_empty() {
            return Ok(());
        }
        if self.port != 0 {
            return Err("Invalid service ports: port and ports cannot both be set".to_string());
        }
        if self.ports.iter().filter(|port| port.default).count() > 1 {
            return Err("Invalid service ports: at most one may be the default".to_string());
        }
        for (i, port) in self.ports.iter().enumerate() {
            if port.name.is_empty() || port.port == 0 {
                return Err("Invalid service ports: each needs a name and a port".to_string());
            }
            if self.ports.iter().take(i).any(|other| other.name == port.name) {
                return Err(format!("Invalid service ports: the name {:?} is used twice", port.name));
            }
        }
        Ok(())
    }
}

/// Empty, or one of the three.
fn is_status(text: &str) -> bool {
    matches!(text, "" | "passing" | "warning" | "critical")
}

fn validate_weights(weights: Weights) -> Result<(), &'static str> {
    if weights.passing < 1 {
        return Err("Passing must be greater than 0");
    }
    if weights.passing > 65_535 || weights.warning > 65_535 {
        return Err("DNS Weight must be between 0 and 65535");
    }
    Ok(())
}

/// Free pairs of a node or a service: their number, and each one's key and value.
pub fn validate_meta(meta: &BTreeMap<String, String>) -> Result<(), String> {
    if meta.len() > MAX_PAIRS {
        return Err(format!("Node metadata cannot contain more than {MAX_PAIRS} key/value pairs"));
    }
    for (key, value) in meta {
        validate_pair(key, value)
            .map_err(|reason| format!("Couldn't load metadata pair ('{key}', '{value}'): {reason}"))?;
    }
    Ok(())
}

fn validate_pair(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("Key cannot be blank".to_string());
    }
    if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err("Key contains invalid characters".to_string());
    }
    if key.len() > MAX_KEY {
        return Err(format!("Key is too long (limit: {MAX_KEY} characters)"));
    }
    if key.starts_with(RESERVED) {
        return Err(format!("Key prefix '{RESERVED}' is reserved for internal use"));
    }
    if value.len() > MAX_VALUE {
        return Err(format!("Value is too long (limit: {MAX_VALUE} characters)"));
    }
    Ok(())
}
