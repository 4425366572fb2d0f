//! HTTP: framing by hyper, everything else by the pure handlers in `convoke-api`.
//!
//! A read is answered from the published snapshot on the connection's own task. A change goes to the node. A blocking
//! query is a row in the watch table and a suspended task.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_api::place::{Place, freshness, of_leader, place};
use convoke_api::query::Consistency;
use convoke_api::request::{Headers, Request};
use convoke_api::response::{Outcome, Response, Wait};
use convoke_api::{Context, finish, handle};
use convoke_core::node::Level;
use convoke_core::rpc::{self as wire, Answer as Told, Ask};
use convoke_raft::ReadMode;
use futures_lite::StreamExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::rt::Sleep;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::driver::Driver;
use crate::logging::{self, Log};
use crate::metrics::Metrics;
use crate::rt::{Listener, Runtime, Stream};
use crate::serve::again::again;
use crate::serve::gossip;
use crate::serve::rpc;

/// Largest body taken at all; the handlers have tighter limits of their own (`kv_max_value_size`).
const MAX_BODY: usize = 16 << 20;
/// The same of a snapshot to be restored.
const MAX_SNAPSHOT: usize = 512 << 20;
/// A connection may be idle, or dribble a request's head, for so long. Prometheus keeps idle connections for four
/// minutes, so it is well above that; `http_max_conns_per_client` bounds what slow clients can hold.
const IDLE: Duration = Duration::from_secs(600);
/// After a failed accept (out of file descriptors) wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What `http_max_conns_per_client` answers, as Consul words it.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\
Retry-After: 1\r\nContent-Length: 81\r\n\r\n\
Your IP is issuing too many concurrent connections, please rate limit your calls\n";

type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// What every connection shares.
pub struct Server<R: Runtime> {
    /// The node.
    pub driver: Arc<Driver<R>>,
    /// For `/v1/agent/monitor`.
    pub log: Log,
    /// For `/v1/agent/metrics`.
    pub metrics: Metrics,
    /// Connections by client address.
    pub clients: Clients,
}

/// Counts connections by client address.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<IpAddr, u32>>);

impl Clients {
    /// One more of `ip`, unless it has `limit` already (0: no limit). Released on drop.
    fn admit<R: Runtime>(server: &Arc<Server<R>>, ip: Option<IpAddr>, limit: u32) -> Option<Admitted<R>> {
        if let Some(ip) = ip {
            let mut all = server.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
            let n = all.entry(ip).or_insert(0);
            if limit > 0 && *n >= limit {
                return None;
            }
            *n += 1;
        }
        Some(Admitted { server: Arc::clone(server), ip })
    }
}

struct Admitted<R: Runtime> {
    server: Arc<Server<R>>,
    ip: Option<IpAddr>,
}

impl<R: Runtime> Drop for Admitted<R> {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut all = self.server.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = all.get_mut(&ip) {
            *n -= 1;
            if *n == 0 {
                all.remove(&ip);
            }
        }
    }
}

/// Accepts connections for ever.
pub async fn serve<R: Runtime, L: Listener>(server: Arc<Server<R>>, listener: L) {
    let rt = server.driver.runtime().clone();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let limit = server.driver.published().agent.config.limits.http_max_conns_per_client;
                let ip = peer.map(|p| p.ip());
                match Clients::admit(&server, ip, limit) {
                    Some(admitted) => rt.spawn(connection(admitted, stream, peer)),
                    None => rt.spawn(refuse(rt.clone(), stream)),
                }
            }
            Err(e) => {
                logging::log(Level::Warn, "agent.http", &format!("cannot accept a connection: {e}"));
                rt.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn refuse<R: Runtime>(rt: R, mut stream: impl Stream) {
    let write = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, TOO_MANY));
    let _ = crate::rt::within(&rt, Duration::from_secs(1), write).await;
}

async fn connection<R: Runtime, S: Stream>(admitted: Admitted<R>, stream: S, peer: Option<SocketAddr>) {
    let server = &admitted.server;
    let service = service_fn(|request| {
        let server = Arc::clone(server);
        async move { Ok::<_, Infallible>(respond(&server, request, peer.map(|p| p.ip())).await) }
    });
    // An error here is the client's: it went away, or did not speak HTTP (hyper has answered 400 then).
    let served = http1::Builder::new()
        .timer(Timer(server.driver.runtime().clone()))
        .header_read_timeout(IDLE)
        .serve_connection(stream, service);
    let _ = again(served).await;
}

async fn respond<R: Runtime>(
    server: &Arc<Server<R>>,
    request: http::Request<Incoming>,
    remote: Option<IpAddr>,
) -> http::Response<Body> {
    let started = Instant::now();
    let in_flight = server.driver.begin();
    let (parts, body) = request.into_parts();
    let most = if parts.uri.path() == "/v1/snapshot" { MAX_SNAPSHOT } else { MAX_BODY };
    let body = match read_body(body, most).await {
        Ok(body) => body,
        Err(response) => return plain(response),
    };
    let headers = Fields(&parts.headers);
    let request = Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        headers: &headers,
        body: &body,
        remote,
    };
    let response = match answer(server, &request, started, None, 0).await {
        Reply::Whole(response) => plain(response),
        Reply::Lines(lines) => stream(lines),
    };
    server.metrics.http(request.method, request.path, started.elapsed());
    drop(in_flight);
    response
}

async fn read_body(body: Incoming, most: usize) -> Result<Bytes, Response> {
    if hyper::body::Body::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            Err(Response::text(413, format!("Request body too large, max size: {most} bytes.")))
        }
        Err(_) => Err(Response::text(400, "Request body ended early")),
    }
}

/// What a request is answered with.
enum Reply {
    /// All of it.
    Whole(Response),
    /// Lines of the log, as they come.
    Lines(async_channel::Receiver<String>),
}

/// Answers a request: from the published view, by the node, or by another server.
async fn answer<R: Runtime>(
    server: &Arc<Server<R>>,
    request: &Request<'_>,
    started: Instant,
    node: Option<&str>,
    hops: u8,
) -> Reply {
    let driver = &server.driver;
    let fresh = match place(request) {
        Place::Agent => None,
        Place::Server if !driver.published().agent.config.server => {
            return Reply::Whole(elsewhere(server, request, node, hops, None).await);
        }
        Place::Server => freshness(request),
    };
    if of_leader(request) {
        let agent = &driver.published().agent;
        if let Some(leader) = agent.leader.filter(|_| !agent.leads) {
            return Reply::Whole(elsewhere(server, request, node, hops, Some(leader)).await);
        }
    }
    let mut last_chance = false;
    loop {
        let mut snapshot = driver.published();
        let mut confirmed = true;
        if let Some(consistency) = fresh
            && !(consistency == Consistency::Default && driver.lease_holds(snapshot.reign))
        {
            drop(snapshot);
            let mode = if consistency == Consistency::Consistent { ReadMode::Quorum } else { ReadMode::Lease };
            confirmed = driver.confirm(mode).await;
            snapshot = driver.published();
        }
        let context = Context {
            view: &snapshot.view,
            agent: &snapshot.agent,
            now_unix: Driver::<R>::unix_now(),
            node,
            confirmed,
            contact_millis: if fresh.is_some() { 0 } else { driver.contact_millis() },
            seed: seed(started),
        };
        match handle(&context, request, last_chance) {
            Outcome::Done(response) => return Reply::Whole(response),
            Outcome::Effect(effect) => {
                let config = Arc::clone(&snapshot.agent.config);
                let leader = snapshot.agent.leader.filter(|_| effect.needs_leader() && !snapshot.agent.leads);
                drop(snapshot);
                if let Some(leader) = leader {
                    return Reply::Whole(elsewhere(server, request, node, hops, Some(leader)).await);
                }
                let mut response = driver.request(effect).await;
                finish(&config, request, &mut response);
                return Reply::Whole(response);
            }
            Outcome::Metrics { prometheus, pretty } => {
                gossip::measure(driver);
                let hostname = (!snapshot.agent.config.telemetry.disable_hostname)
                    .then_some(snapshot.agent.identity.node_name.as_str());
                let mut response = server.metrics.render(prometheus, pretty, hostname);
                finish(&snapshot.agent.config, request, &mut response);
                return Reply::Whole(response);
            }
            Outcome::Monitor { level, json } => {
                let level = logging::parse_level(level).unwrap_or(Level::Info);
                return Reply::Lines(server.log.tail().subscribe(level, json));
            }
            Outcome::Wait(Wait { topics, agent, max_wait }) => {
                let left = max_wait.saturating_sub(started.elapsed());
                let seen = arc_swap::Guard::into_inner(snapshot);
                last_chance = left.is_zero() || !driver.changed(&topics, agent, &seen, left).await;
            }
        }
    }
}

/// Passes a request on: to the leader, or to any server.
async fn elsewhere<R: Runtime>(
    server: &Arc<Server<R>>,
    request: &Request<'_>,
    node: Option<&str>,
    hops: u8,
    leader: Option<SocketAddr>,
) -> Response {
    let driver = &server.driver;
    let config = Arc::clone(&driver.published().agent.config);
    if request.body.len() > wire::MAX_FRAME - (1 << 20) {
        return Response::text(413, "the body is too long to be passed on; ask the leader directly");
    }
    if hops >= wire::MAX_HOPS {
        return Response::text(500, "No cluster leader");
    }
    let ask = Ask::Http(wire::Http {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        query: request.query.to_owned(),
        headers: request.headers.all(),
        body: request.body.to_vec(),
        remote: request.remote,
        node: node.unwrap_or(&driver.published().agent.identity.node_name).to_owned(),
        hops: hops + 1,
    });
    // A blocking query may take as long as it may, and then as long as any other.
    let limit = config.max_query_time + config.max_query_time / 16 + config.performance.rpc_hold_timeout;
    let told = match leader {
        Some(to) => driver.peers().ask(driver.runtime(), to, ask, limit).await.map_err(|e| format!("rpc error: {e}")),
        None => rpc::ask_any(driver, ask, limit).await,
    };
    match told {
        Ok(Told::Http { status, headers, body }) => {
            let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            Response { status, headers, body }
        }
        Ok(Told::Failed(text)) | Err(text) => {
            let mut response = Response::text(500, text);
            finish(&config, request, &mut response);
            response
        }
        Ok(_) => Response::text(500, "rpc error: the server answered something else"),
    }
}

/// Answers another agent as if it were a client.
pub async fn answer_agent<R: Runtime>(server: &Arc<Server<R>>, ask: wire::Http) -> Told {
    let fields = Pairs(ask.headers);
    let request = Request {
        method: &ask.method,
        path: &ask.path,
        query: &ask.query,
        headers: &fields,
        body: &ask.body,
        remote: ask.remote,
    };
    let in_flight = server.driver.begin();
    let reply = answer(server, &request, Instant::now(), Some(&ask.node), ask.hops).await;
    drop(in_flight);
    match reply {
        Reply::Whole(Response { status, headers, body }) => {
            let headers = headers.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            Told::Http { status, headers, body }
        }
        Reply::Lines(_) => Told::Failed("logs are streamed by the agent itself only".to_owned()),
    }
}

/// Answers the agent itself, as if it were a client.
pub(super) async fn answer_self<R: Runtime>(
    server: &Arc<Server<R>>,
    path: &str,
    query: &str,
    headers: &dyn Headers,
) -> Response {
    let request = Request { method: "GET", path, query, headers, body: &[], remote: None };
    match answer(server, &request, Instant::now(), None, 0).await {
        Reply::Whole(response) => response,
        Reply::Lines(_) => Response::text(500, "logs are not watched"),
    }
}

/// Fields that came from another agent.
#[derive(Debug)]
struct Pairs(Vec<(String, String)>);

impl Headers for Pairs {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    fn all(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

/// Differs between requests, for jitter and shuffling; nothing secret.
fn seed(started: Instant) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    thread_local!(static KEY: RandomState = RandomState::new());
    KEY.with(|k| k.hash_one(started))
}

fn plain(response: Response) -> http::Response<Body> {
    let mut out = http::Response::new(Either::Left(Full::new(Bytes::from(response.body))));
    *out.status_mut() = http::StatusCode::from_u16(response.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        // A configured header that is not valid HTTP is left out rather than breaking every answer.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_ref()), HeaderValue::try_from(value.as_ref())) {
            out.headers_mut().append(name, value);
        }
    }
    out
}

fn stream(lines: async_channel::Receiver<String>) -> http::Response<Body> {
    let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line))));
    let mut out = http::Response::new(Either::Right(UnsyncBoxBody::new(StreamBody::new(frames))));
    out.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    out
}

#[derive(Debug)]
struct Fields<'a>(&'a HeaderMap);

impl Headers for Fields<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|v| v.to_str().ok())
    }

    fn all(&self) -> Vec<(String, String)> {
        let pairs = self.0.iter();
        pairs.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
    }
}

/// hyper's timer over the runtime's.
#[derive(Clone, Debug)]
pub struct Timer<R>(pub R);

impl<R: Runtime> hyper::rt::Timer for Timer<R> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Timed { sleep: Box::pin(self.0.sleep(duration)) })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

struct Timed {
    sleep: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Future for Timed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

impl Sleep for Timed {}
