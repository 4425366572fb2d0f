//! Where a request is answered, and how fresh what it reads must be.

use crate::percent::decode_path;
use crate::query::{Consistency, Params};
use crate::request::Request;

/// Where a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the agent that is asked: it is about the agent.
    Agent,
    /// By a server: it is about the replicated tables. A client agent passes it on as it is.
    Server,
}

/// What is below these is about the tables.
const TABLES: [&str; 13] = [
    "/v1/acl/",
    "/v1/catalog/",
    "/v1/config",
    "/v1/connect/",
    "/v1/coordinate/",
    "/v1/health/",
    "/v1/internal/",
    "/v1/kv",
    "/v1/operator/",
    "/v1/query",
    "/v1/session/",
    "/v1/snapshot",
    "/v1/txn",
];
/// The keyrings of a pool are reached from any of its members.
const KEYRING: &str = "/v1/operator/keyring";
const STATUS: &str = "/v1/status/";

/// Where a request is answered.
#[must_use]
pub fn place(request: &Request<'_>) -> Place {
    let Some(path) = decode_path(request.path) else { return Place::Agent };
    let tables = TABLES.iter().any(|prefix| path.starts_with(prefix)) || path.starts_with(STATUS);
    if tables && !path.starts_with(KEYRING) { Place::Server } else { Place::Agent }
}

/// What has to be known before a request may be answered from a server's tables: `None` if nothing has.
#[must_use]
pub fn freshness(request: &Request<'_>) -> Option<Consistency> {
    let path = decode_path(request.path)?;
    let reads = matches!(request.method, "GET" | "HEAD") || path.starts_with("/v1/txn") || is_execution(request, &path);
    let of_tables = TABLES.iter().any(|prefix| path.starts_with(prefix)) && !path.starts_with("/v1/operator/");
    if !reads || !of_tables || path.starts_with("/v1/catalog/datacenters") {
        return None;
    }
    let params = Params::new(request.query);
    match (params.has("stale"), params.has("consistent")) {
        // Both: the handler says what is wrong with that.
        (true, _) => None,
        (false, true) => Some(Consistency::Consistent),
        (false, false) => Some(Consistency::Default),
    }
}

/// `POST /v1/internal/...` and the like read, too.
fn is_execution(request: &Request<'_>, path: &str) -> bool {
    request.method == "POST" && path.starts_with("/v1/internal/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::NoHeaders;

    fn request<'a>(method: &'a str, path: &'a str, query: &'a str) -> Request<'a> {
        Request { method, path, query, headers: &NoHeaders, body: &[], remote: None }
    }

    #[test]
    fn places_and_freshness() {
        use Consistency::{Consistent, Default};
        let table = [
            ("GET", "/v1/agent/self", "", Place::Agent, None),
            ("PUT", "/v1/agent/service/register", "", Place::Agent, None),
            ("GET", "/v1/operator/keyring", "", Place::Agent, None),
            ("GET", "/v1/event/list", "", Place::Agent, None),
            ("GET", "/ui/", "", Place::Agent, None),
            ("GET", "/v1/kv/a", "", Place::Server, Some(Default)),
            ("GET", "/v1/%6bv/a", "", Place::Server, Some(Default)),
            ("GET", "/v1/kv/a", "stale", Place::Server, None),
            ("GET", "/v1/kv/a", "consistent=", Place::Server, Some(Consistent)),
            ("PUT", "/v1/kv/a", "", Place::Server, None),
            ("PUT", "/v1/txn", "", Place::Server, Some(Default)),
            ("GET", "/v1/health/service/web", "index=3&wait=1s", Place::Server, Some(Default)),
            ("GET", "/v1/status/leader", "", Place::Server, None),
            ("GET", "/v1/operator/raft/configuration", "", Place::Server, None),
            ("GET", "/v1/catalog/datacenters", "", Place::Server, None),
            ("GET", "/v1/kv/%ff%", "", Place::Agent, None),
        ];
        for (method, path, query, at, fresh) in table {
            let request = request(method, path, query);
            assert_eq!((place(&request), freshness(&request)), (at, fresh), "{method} {path}?{query}");
        }
    }
}
