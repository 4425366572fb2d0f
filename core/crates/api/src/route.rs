//! From a method and a path to a handler, with everything around it that is the same for all: cleaning of paths,
//! refusals, allowed methods, headers of every answer.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use convoke_config::config::Config;

use crate::call::{Answer, Call};
use crate::percent::{decode_path, encode_path};
use crate::query::Params;
use crate::request::Request;
use crate::response::{Outcome, Response};
use crate::routes::ROUTES;
use crate::{Context, ui};

/// A pattern and what answers it.
pub(crate) struct Route {
    /// Ends with `/`: everything below it. Otherwise: only itself.
    pub(crate) pattern: &'static str,
    /// Separated by commas, in the order `Allow` shows them.
    pub(crate) methods: &'static str,
    pub(crate) handler: fn(&Call<'_>) -> Answer,
}

/// A pattern has at most so many slashes.
const DEPTH: usize = 7;

/// See [`crate::handle`].
pub(crate) fn dispatch(ctx: &Context<'_>, req: &Request<'_>, last_chance: bool) -> Outcome {
    let config = &*ctx.agent.config;
    let Some(path) = decode_path(req.path) else {
        return Outcome::Done(Response::text(400, "400 Bad Request"));
    };
    if !config.disable_http_unprintable_char_filter && unprintable(&path) {
        return Outcome::Done(Response::empty(400));
    }
    if let Cow::Owned(cleaned) = clean(&path) {
        return Outcome::Done(redirect(req, &cleaned));
    }
    match find(&path) {
        // The folder itself is meant, without its slash, though a folder around it would have it, too.
        Some((_, rest)) if !rest.is_empty() && !rest.contains('/') && is_folder(&path) => {
            Outcome::Done(redirect(req, &format!("{path}/")))
        }
        Some((route, rest)) => {
            let call =
                Call { ctx, req, params: Params::new(req.query), rest, last_chance, pretty: pretty(config, req) };
            match serve(&call, route, &path) {
                Ok(Outcome::Done(mut response)) | Err(mut response) => {
                    add_headers(config, &mut response);
                    Outcome::Done(response)
                }
                Ok(other) => other,
            }
        }
        None if find(&format!("{path}/")).is_some_and(|(_, rest)| rest.is_empty()) => {
            Outcome::Done(redirect(req, &format!("{path}/")))
        }
        None => Outcome::Done(ui::page(ctx, req, &path)),
    }
}

/// Whether a path holds control characters.
fn unprintable(path: &str) -> bool {
    if path.is_ascii() { path.bytes().any(|b| b.is_ascii_control()) } else { path.chars().any(char::is_control) }
}

/// See [`crate::finish`].
pub(crate) fn finish(config: &Config, req: &Request<'_>, response: &mut Response) {
    add_headers(config, response);
    let json = response.headers.iter().any(|(name, value)| name == "Content-Type" && value == "application/json");
    if json && pretty(config, req) && !response.body.ends_with(b"\n") {
        response.body.push(b'\n');
    }
}

/// Agents in development mode indent always; any `pretty` asks for it.
fn pretty(config: &Config, req: &Request<'_>) -> bool {
    config.dev_mode || Params::new(req.query).has("pretty")
}

fn serve(call: &Call<'_>, route: &Route, path: &str) -> Answer {
    // As Consul answers a query that cannot be decoded. To look past such a parameter would be to answer another question.
    if !call.params.valid() {
        return Err(Response::empty(500));
    }
    let http = &call.config().http;
    if http.block_endpoints.iter().any(|blocked| path.starts_with(blocked.as_str())) {
        return Err(Response::text(403, "Endpoint is blocked by agent configuration"));
    }
    let method = call.req.method;
    if method == "OPTIONS" {
        let mut response = Response::empty(200);
        response.header("Allow", allow(route));
        return Ok(Outcome::Done(response));
    }
    if !route.methods.split(',').any(|allowed| allowed == method) {
        let mut response = Response::text(405, format!("method {method} not allowed"));
        response.header("Allow", allow(route));
        return Err(response);
    }
    let from = &http.allow_write_http_from;
    if method != "GET" && !from.is_empty() && !call.req.remote.is_some_and(|ip| from.iter().any(|net| net.contains(ip)))
    {
        return Err(Response::text(403, "Access is restricted"));
    }
    (route.handler)(call)
}

fn allow(route: &Route) -> String {
    format!("OPTIONS,{}", route.methods)
}

fn add_headers(config: &Config, response: &mut Response) {
    for (name, value) in &config.http.response_headers {
        response.header(name.clone(), value.clone());
    }
    if config.translate_wan_addrs {
        response.header("X-Consul-Translate-Addresses", "true");
    }
}

/// The route of a clean path, and what follows its pattern. The longest pattern wins.
fn find(path: &str) -> Option<(&'static Route, &str)> {
    let exact = |pattern: &str| {
        let at = ROUTES.binary_search_by(|route| route.pattern.cmp(pattern)).ok()?;
        ROUTES.get(at)
    };
    if let Some(route) = exact(path) {
        return Some((route, ""));
    }
    let mut folders = [0; DEPTH];
    let mut found = 0;
    for (slot, (at, _)) in folders.iter_mut().zip(path.match_indices('/')) {
        *slot = at + 1;
        found += 1;
    }
    folders.iter().take(found).rev().find_map(|&end| Some((exact(path.get(..end)?)?, path.get(end..)?)))
}

/// Whether a pattern is the path and a slash.
fn is_folder(path: &str) -> bool {
    let slashed = || path.bytes().chain(core::iter::once(b'/'));
    ROUTES.binary_search_by(|route| route.pattern.bytes().cmp(slashed())).is_ok()
}

/// The path without empty, `.` and `..` elements; borrowed if there were none. A trailing slash stays.
fn clean(path: &str) -> Cow<'_, str> {
    let dirty = |element: &str| matches!(element, "" | "." | "..");
    let inside = path.strip_prefix('/').map(|inside| inside.strip_suffix('/').unwrap_or(inside));
    if let Some(inside) = inside
        && (path == "/" || !inside.split('/').any(dirty))
    {
        return Cow::Borrowed(path);
    }
    let mut cleaned = String::with_capacity(path.len() + 1);
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => cleaned.truncate(cleaned.rfind('/').unwrap_or(0)),
            _ => {
                cleaned.push('/');
                cleaned.push_str(element);
            }
        }
    }
    if cleaned.is_empty() || path.ends_with('/') {
        cleaned.push('/');
    }
    Cow::Owned(cleaned)
}

/// 301, with the little page that Go adds for reads.
pub(crate) fn redirect(req: &Request<'_>, path: &str) -> Response {
    let mut location = encode_path(path);
    // Two slashes at the start would name a host; a clean path has none.
    if !req.query.is_empty() {
        location.push('?');
        location.push_str(req.query);
    }
    let mut response = Response::empty(301);
    if matches!(req.method, "GET" | "HEAD") {
        response.header("Content-Type", "text/html; charset=utf-8");
        let shown = location.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
        response.body = format!("<a href=\"{shown}\">Moved Permanently</a>.\n\n").into_bytes();
    }
    response.header("Location", location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_within_bounds() {
        for pair in ROUTES.windows(2) {
            assert!(pair[0].pattern < pair[1].pattern, "{} {}", pair[0].pattern, pair[1].pattern);
        }
        for route in ROUTES {
            assert!(route.pattern.matches('/').count() <= DEPTH, "{}", route.pattern);
            assert!(route.methods.split(',').all(|m| matches!(m, "GET" | "PUT" | "POST" | "DELETE")));
        }
    }

    #[test]
    fn the_longest_pattern_wins() {
        let found = |path| find(path).map(|(route, rest)| (route.pattern, rest));
        assert_eq!(found("/v1/kv/a/b/c/d/e/f/g/"), Some(("/v1/kv/", "a/b/c/d/e/f/g/")));
        assert_eq!(found("/v1/agent/service/register"), Some(("/v1/agent/service/register", "")));
        assert_eq!(found("/v1/agent/service/registered"), Some(("/v1/agent/service/", "registered")));
        assert_eq!(found("/v1/agent/service/deregister/a/b"), Some(("/v1/agent/service/deregister/", "a/b")));
        assert!(is_folder("/v1/agent/service/maintenance") && !is_folder("/v1/agent/service/register"));
        assert!(!is_folder("/v1/agent/service/") && !is_folder("/v1/agent/service/x") && !is_folder(""));
        assert_eq!(found("/v1/agent/services/"), None);
        assert_eq!(found("/v1/"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("/v1//agent/services", "/v1/agent/services"),
            ("/v1/kv/x//y", "/v1/kv/x/y"),
            ("/v1/kv/dot/../up", "/v1/kv/up"),
            ("/v1/x/..", "/v1"),
            ("/v1/x/../", "/v1/"),
            ("//", "/"),
            ("/..", "/"),
            ("/a//", "/a/"),
            ("/../../a", "/a"),
            ("a", "/a"),
            ("", "/"),
            ("*", "/*"),
        ] {
            assert!(matches!(clean(path), Cow::Owned(ref c) if c == cleaned), "{path}: {}", clean(path));
        }
        for path in ["/", "/a", "/a/", "/a/b.c/..d"] {
            assert!(matches!(clean(path), Cow::Borrowed(_)), "{path}");
        }
    }
}
