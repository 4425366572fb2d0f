//! An HTTP request.

use convoke_core::probe::{Kind, Outcome, Probe};

use crate::client::fetch::{Cause, Limits, Overflow, Request, fetch};
use crate::probe::{failed, settings};
use crate::rt::Runtime;

/// What is said where the check says nothing.
const DEFAULTS: [(&str, &str); 2] = [("User-Agent", "Consul Health Check"), ("Accept", "text/plain, text/*, */*")];

/// Requests the URL of an [`Kind::Http`] probe. Once the head of an answer has come, that is the result: a body that
/// breaks off or outlasts the timeout is kept as far as it came.
pub async fn run<R: Runtime>(rt: &R, probe: &Probe) -> Outcome {
    let Kind::Http { url, method, headers, body, disable_redirects, tls } = &probe.kind else {
        return failed("not an http check");
    };
    let mut fields: Vec<(String, String)> =
        headers.iter().flat_map(|(name, values)| values.iter().map(|value| (name.clone(), value.clone()))).collect();
    for (name, value) in DEFAULTS {
        if !fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    let request = Request {
        headers: fields,
        body: body.clone().into(),
        follow_redirects: !disable_redirects,
        tls: settings(tls),
        ..Request::new(method, url)
    };
    let limits = Limits { timeout: probe.timeout, body: probe.output_limit, overflow: Overflow::Cut };
    match fetch(rt, &request, &limits).await {
        Ok(response) => Outcome::Http { status: response.status, reason: response.status_line(), body: response.body },
        Err(error) if error.cause == Cause::Timeout => Outcome::TimedOut { output: Vec::new() },
        // The core says method and URL before it.
        Err(error) => failed(&error.cause),
    }
}
