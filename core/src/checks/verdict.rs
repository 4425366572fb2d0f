//! From the outcome of a run to a status, and the words Consul has for it.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;

use convoke_catalog::model::Status;
use convoke_config::duration;

use crate::probe::{Kind, Outcome, Probe};

/// Status and output of a run.
#[must_use]
pub fn judge(probe: &Probe, outcome: &Outcome) -> (Status, String) {
    match &probe.kind {
        Kind::Script { .. } | Kind::Docker { .. } => program(probe, outcome),
        Kind::Http { url, method, .. } => http(url, method, outcome),
        Kind::Tcp { address, .. } => simple(
            outcome,
            probe,
            || format!("TCP connect {address}: Success"),
            |why| format!("dial tcp {address}: {why}"),
        ),
        Kind::Udp { address } => simple(
            outcome,
            probe,
            || format!("UDP connect {address}: Success"),
            |why| format!("dial udp {address}: {why}"),
        ),
        Kind::Grpc { address, service, .. } => {
            let target = if service.is_empty() { address.clone() } else { format!("{address}/{service}") };
            simple(
                outcome,
                probe,
                || format!("gRPC check {target}: success"),
                |why| format!("gRPC check {target}: {why}"),
            )
        }
        Kind::H2Ping { address, .. } => {
            let well = || "HTTP2 ping was successful".to_owned();
            simple(outcome, probe, well, |why| format!("HTTP2 ping to {address} failed: {why}"))
        }
        Kind::OsService { unit } => {
            let well = || format!("Service \"{unit}\" is healthy");
            simple(outcome, probe, well, |why| format!("Service \"{unit}\" is unhealthy: {why}"))
        }
    }
}

fn program(probe: &Probe, outcome: &Outcome) -> (Status, String) {
    match outcome {
        Outcome::Exited { code, output, written } => {
            let status = match code {
                Some(0) => Status::Passing,
                Some(1) => Status::Warning,
                _ => Status::Critical,
            };
            (status, captured(output, *written))
        }
        Outcome::TimedOut { output } => {
            let mut text = format!("Timed out ({}) running check", duration::format(probe.timeout));
            if !output.is_empty() {
                text.push_str(". Output so far:\n");
                text.push_str(&String::from_utf8_lossy(output));
            }
            (Status::Critical, text)
        }
        other => (Status::Critical, unexpected(other)),
    }
}

/// What a program wrote, with a word about what is missing.
fn captured(output: &[u8], written: u64) -> String {
    let text = String::from_utf8_lossy(output);
    if written > output.len() as u64 {
        format!("Captured {} of {written} bytes\n...\n{text}", output.len())
    } else {
        text.into_owned()
    }
}

fn http(url: &str, method: &str, outcome: &Outcome) -> (Status, String) {
    match outcome {
        Outcome::Http { status, reason, body } => {
            let text = format!("HTTP {method} {url}: {reason} Output: {}", String::from_utf8_lossy(body));
            let status = match status {
                200..=299 => Status::Passing,
                429 => Status::Warning,
                _ => Status::Critical,
            };
            (status, text)
        }
        Outcome::TimedOut { .. } => (
            Status::Critical,
            format!("{} \"{url}\": context deadline exceeded (timed out while awaiting the answer)", title(method)),
        ),
        other => (Status::Critical, format!("{} \"{url}\": {}", title(method), unexpected(other))),
    }
}

/// A probe that is either well or not.
fn simple(
    outcome: &Outcome,
    probe: &Probe,
    well: impl FnOnce() -> String,
    ill: impl FnOnce(&str) -> String,
) -> (Status, String) {
    match outcome {
        Outcome::Ok { .. } => (Status::Passing, well()),
        Outcome::TimedOut { .. } => {
            (Status::Critical, ill(&format!("i/o timeout after {}", duration::format(probe.timeout))))
        }
        other => (Status::Critical, ill(&unexpected(other))),
    }
}

/// The words of an outcome that is a failure for its kind of probe.
fn unexpected(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok { detail } | Outcome::NotOk { detail } => detail.clone(),
        Outcome::Failed { error } => error.clone(),
        Outcome::Exited { code, .. } => format!("a program ended with {code:?}"),
        Outcome::Http { reason, .. } => format!("an HTTP answer came: {reason}"),
        Outcome::TimedOut { .. } => "i/o timeout".to_owned(),
    }
}

/// `GET` as `Get`.
fn title(method: &str) -> String {
    let mut chars = method.chars();
    chars.next().map_or_else(String::new, |first| format!("{first}{}", chars.as_str().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Critical, Passing, Warning};
    use alloc::string::ToString as _;
    use alloc::vec;
    use core::time::Duration;

    fn judged(kind: Kind, outcome: &Outcome) -> (Status, String) {
        judge(&Probe { kind, timeout: Duration::from_millis(200), output_limit: 4096 }, outcome)
    }

    fn script() -> Kind {
        Kind::Script { args: vec!["x".to_string()] }
    }

    #[test]
    fn exit_codes() {
        for (code, status) in [(Some(0), Passing), (Some(1), Warning), (Some(2), Critical), (None, Critical)] {
            let outcome = Outcome::Exited { code, output: b"out\n".to_vec(), written: 4 };
            assert_eq!(judged(script(), &outcome), (status, "out\n".to_string()));
        }
        let long = Outcome::Exited { code: Some(0), output: b"cd".to_vec(), written: 4 };
        assert_eq!(judged(script(), &long), (Passing, "Captured 2 of 4 bytes\n...\ncd".to_string()));
        let late = Outcome::TimedOut { output: vec![] };
        assert_eq!(judged(script(), &late), (Critical, "Timed out (200ms) running check".to_string()));
        let absent = Outcome::Failed { error: "no such file".to_string() };
        assert_eq!(judged(script(), &absent), (Critical, "no such file".to_string()));
    }

    #[test]
    fn http_answers() {
        let kind = || Kind::Http {
            url: "http://h/".to_string(),
            method: "PUT".to_string(),
            headers: Default::default(),
            body: String::new(),
            disable_redirects: false,
            tls: Default::default(),
        };
        for (code, reason, status) in [
            (200, "200 OK", Passing),
            (299, "299", Passing),
            (429, "429 Too Many Requests", Warning),
            (301, "301 Moved", Critical),
            (503, "503 Service Unavailable", Critical),
        ] {
            let outcome = Outcome::Http { status: code, reason: reason.to_string(), body: b"b".to_vec() };
            assert_eq!(judged(kind(), &outcome), (status, format!("HTTP PUT http://h/: {reason} Output: b")));
        }
        let (status, text) = judged(kind(), &Outcome::TimedOut { output: vec![] });
        assert!(status == Critical && text.starts_with("Put \"http://h/\": context deadline exceeded"), "{text}");
        let (_, text) = judged(kind(), &Outcome::Failed { error: "connection refused".to_string() });
        assert_eq!(text, "Put \"http://h/\": connection refused");
    }

    #[test]
    fn connections() {
        let tcp = || Kind::Tcp { address: "h:1".to_string(), tls: None };
        let ok = Outcome::Ok { detail: String::new() };
        let refused = Outcome::Failed { error: "connection refused".to_string() };
        assert_eq!(judged(tcp(), &ok), (Passing, "TCP connect h:1: Success".to_string()));
        assert_eq!(judged(tcp(), &refused), (Critical, "dial tcp h:1: connection refused".to_string()));
        let grpc = Kind::Grpc { address: "h:1".to_string(), service: "s".to_string(), tls: None };
        assert_eq!(judged(grpc.clone(), &ok), (Passing, "gRPC check h:1/s: success".to_string()));
        let not = Outcome::NotOk { detail: "NOT_SERVING".to_string() };
        assert_eq!(judged(grpc, &not), (Critical, "gRPC check h:1/s: NOT_SERVING".to_string()));
    }
}
