//! One HTTP/1 request and its answer, on a connection of its own.
//!
//! Redirects follow Go's rules: at most ten requests, 301, 302 and 303 turn everything but `HEAD` into `GET` without
//! body, 307 and 308 repeat the request, credentials do not go to another host.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::ext::ReasonPhrase;

use crate::client::dial::{self, DialError, os_text};
use crate::client::drive::Tasks;
use crate::client::tls::{self, TlsError};
use crate::client::url::{Origin, Url, UrlError};
use crate::rt::{Runtime, Stream, within};

/// Requests for one [`fetch`], the first included.
const HOPS: usize = 10;

/// Bytes read and thrown away after a body's limit, so that the server need not see its connection cut.
const DRAIN: usize = 1 << 20;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT`, ... upper case.
    pub method: String,
    /// `http://`, `https://` or `unix://<socket>:<path>`.
    pub url: String,
    /// Fields. A `Host` among them replaces the URL's.
    pub headers: Vec<(String, String)>,
    /// Body; empty: none.
    pub body: Bytes,
    /// Go where a `Location` points.
    pub follow_redirects: bool,
    /// For `https://`.
    pub tls: tls::Settings,
}

impl Request {
    /// A request without fields or body that follows redirects.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            follow_redirects: true,
            tls: tls::Settings::default(),
        }
    }
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the look-up of the name to the last byte of the body.
    pub timeout: Duration,
    /// Bytes of body.
    pub body: usize,
    /// What becomes of a body that is longer.
    pub overflow: Overflow,
}

/// What becomes of a body over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is an error.
    Refuse,
    /// The first bytes are kept. Neither is it an error when the body breaks off or does not end in time.
    Cut,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The reason as the server worded it, e.g. `OK`; may be empty.
    pub reason: String,
    /// Fields.
    pub headers: HeaderMap,
    /// Body, within the limit.
    pub body: Vec<u8>,
}

impl Response {
    /// `200 OK`.
    pub fn status_line(&self) -> String {
        format!("{:03} {}", self.status, self.reason)
    }
}

/// Why there is no answer: the request in the form `Get "http://host/path"`, then the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{verb} {url:?}: {cause}")]
pub struct Error {
    /// `Get`, `Put`, ...
    pub verb: String,
    /// The URL that failed: the last one, after redirects.
    pub url: String,
    /// What happened.
    pub cause: Cause,
}

/// What kept a request from being answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The URL, or the one in a `Location`.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No TLS session.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Method or field that HTTP does not allow.
    #[error("{0}")]
    Request(String),
    /// The connection broke, or what came is no HTTP.
    #[error("{0}")]
    Broken(String),
    /// Redirected too often.
    #[error("stopped after {HOPS} redirects")]
    Redirects,
    /// The body is over the limit.
    #[error("response body is longer than {0} bytes")]
    TooLong(usize),
    /// The time was over before the answer began.
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Timeout,
    /// The time was over before the body ended.
    #[error("context deadline exceeded (Client.Timeout or context cancellation while reading body)")]
    BodyTimeout,
}

/// Requests a URL. Takes `limits.timeout` at most. Dropping the future closes the connection.
pub async fn fetch<R: Runtime>(rt: &R, request: &Request, limits: &Limits) -> Result<Response, Error> {
    let mut body = Vec::new();
    let mut over = 0;
    let take = |_: &Response, data: &[u8]| {
        let room = limits.body.saturating_sub(body.len()).min(data.len());
        body.extend_from_slice(data.get(..room).unwrap_or_default());
        over += data.len() - room;
        match limits.overflow {
            Overflow::Refuse if over > 0 => Err(Cause::TooLong(limits.body)),
            Overflow::Refuse => Ok(true),
            Overflow::Cut => Ok(over <= DRAIN),
        }
    };
    let (response, end) = fetch_with(rt, request, limits.timeout, take).await?;
    match end {
        Some(error) if limits.overflow == Overflow::Refuse => Err(error),
        _ => Ok(Response { body, ..response }),
    }
}

/// What becomes of the pieces of a body, with the head they belong to: `Ok(true)` for more, `Ok(false)` for enough.
pub trait Sink: FnMut(&Response, &[u8]) -> Result<bool, Cause> {}
impl<F: FnMut(&Response, &[u8]) -> Result<bool, Cause>> Sink for F {}

/// Requests a URL and hands the body on as it comes. The response returned has none; the error beside it is what ended
/// the body before its time. `timeout` is for the whole.
pub async fn fetch_with<R: Runtime>(
    rt: &R,
    request: &Request,
    timeout: Duration,
    mut sink: impl Sink,
) -> Result<(Response, Option<Error>), Error> {
    let deadline = Deadline::after(timeout);
    let failed = |method: &str, url: String, cause| Error { verb: verb(method), url, cause };
    let (mut hop, mut url) =
        Hop::first(request).map_err(|cause| failed(&request.method, request.url.clone(), cause))?;
    for _ in 0..HOPS {
        let shown = url.to_string();
        let answer = within(rt, deadline.left(), hop.send(rt, &url)).await.unwrap_or(Err(Cause::Timeout));
        let answer = answer.map_err(|cause| failed(hop.method.as_str(), shown.clone(), cause))?;
        if request.follow_redirects
            && let Some(location) = redirect(&answer.response)
        {
            let next = url.join(&location);
            let next = next.map_err(|cause| failed(hop.method.as_str(), location.clone(), cause.into()))?;
            hop.redirect(answer.response.status(), &url, &next, &location);
            url = next;
            continue;
        }
        let Answer { response, tasks, _sender } = answer;
        let (head, body) = response.into_parts();
        let reason = match head.extensions.get::<ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => head.status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let response = Response { status: head.status.as_u16(), reason, headers: head.headers, body: Vec::new() };
        let read = tasks.drive(read(body, &response, &mut sink));
        let end = within(rt, deadline.left(), read).await.unwrap_or(Err(Cause::BodyTimeout));
        let end = end.err().map(|cause| failed(hop.method.as_str(), shown, cause));
        return Ok((response, end));
    }
    Err(failed(hop.method.as_str(), url.to_string(), Cause::Redirects))
}

/// `GET` to `Get`, as Go's client words its errors.
fn verb(method: &str) -> String {
    let mut chars = method.chars();
    chars.next().map_or_else(|| "Get".to_owned(), |first| format!("{first}{}", chars.as_str().to_lowercase()))
}

/// An instant that may lie beyond what the clock can say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// What is left; zero when it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.map_or(Duration::from_secs(u64::from(u32::MAX)), |at| at.saturating_duration_since(Instant::now()))
    }
}

/// Where an answer sends us, if it does.
fn redirect(response: &http::Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// What the next request looks like.
struct Hop<'a> {
    method: Method,
    headers: HeaderMap,
    /// Overrides the URL's.
    host: Option<HeaderValue>,
    body: Bytes,
    tls: &'a tls::Settings,
}

impl<'a> Hop<'a> {
    fn first(request: &'a Request) -> Result<(Self, Url), Cause> {
        let url = Url::parse(&request.url)?;
        let method = if request.method.is_empty() { "GET" } else { &request.method };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Cause::Request(format!("net/http: invalid method {method:?}")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Cause::Request(format!("net/http: invalid header field name {name:?}")))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| Cause::Request(format!("net/http: invalid header field value for {name:?}")))?;
            headers.append(key, value);
        }
        let host = headers.remove(HOST).filter(|host| !host.is_empty());
        if let (Some(credentials), false) = (&url.credentials, headers.contains_key(AUTHORIZATION))
            && let Ok(value) = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(percent_decode(credentials))))
        {
            headers.insert(AUTHORIZATION, value);
        }
        Ok((Self { method, headers, host, body: request.body.clone(), tls: &request.tls }, url))
    }

    /// Becomes the request that `status` and `location` ask for.
    fn redirect(&mut self, status: StatusCode, from: &Url, to: &Url, location: &str) {
        if status.as_u16() < 307 {
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
            self.body = Bytes::new();
            self.headers.remove(http::header::CONTENT_TYPE);
            self.headers.remove(http::header::CONTENT_LENGTH);
        }
        if location.contains("//") {
            self.host = None;
        }
        if !same_site(&from.host(), &to.host()) {
            self.headers.remove(AUTHORIZATION);
            self.headers.remove(COOKIE);
        }
    }

    /// Connects, sends, waits for the head of the answer.
    async fn send<R: Runtime>(&self, rt: &R, url: &Url) -> Result<Answer, Cause> {
        match &url.origin {
            Origin::Http { host, port } => self.over(dial::tcp(rt, &join(host, *port)).await?, url).await,
            Origin::Https { host, port } => {
                let stream = dial::tcp(rt, &join(host, *port)).await?;
                self.over(tls::connect(rt, stream, host, self.tls, tls::HTTP1).await?, url).await
            }
            Origin::Unix(path) => self.over(dial::unix(rt, path).await?, url).await,
        }
    }

    async fn over<S: Stream>(&self, stream: S, url: &Url) -> Result<Answer, Cause> {
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url
            .target
            .parse()
            .map_err(|_| Cause::Request(format!("{:?} cannot stand in a request line", url.target)))?;
        *request.headers_mut() = self.headers.clone();
        let host = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::try_from(url.authority())
                .map_err(|_| Cause::Request("the host name cannot stand in a header".to_owned()))?,
        };
        request.headers_mut().insert(HOST, host);

        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .title_case_headers(true)
            .handshake(stream)
            .await
            .map_err(|error| broken(&error))?;
        let tasks = Tasks::default();
        // Its error reaches the request as well.
        tasks.add(async move { drop(connection.await) });
        let response = tasks.drive(sender.send_request(request)).await.map_err(|error| broken(&error))?;
        Ok(Answer { response, tasks, _sender: sender })
    }
}

/// A head that came, and the connection with the body.
struct Answer {
    response: http::Response<Incoming>,
    tasks: Tasks,
    /// Without it hyper would take the connection for done with.
    _sender: SendRequest<Full<Bytes>>,
}

async fn read(mut body: Incoming, head: &Response, sink: &mut impl Sink) -> Result<(), Cause> {
    while let Some(frame) = body.frame().await {
        // Trailers are nobody's business here.
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data()
            && !sink(head, &data)?
        {
            break;
        }
    }
    Ok(())
}

/// hyper's error in the words that Go uses for the common ones.
pub(crate) fn broken(error: &hyper::Error) -> Cause {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Cause::Broken(match io.kind() {
                std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
                _ => format!("read: {}", os_text(io)),
            });
        }
        source = inner.source();
    }
    Cause::Broken(if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "EOF".to_owned()
    } else if error.is_parse() {
        format!("malformed HTTP response: {error}")
    } else {
        error.to_string()
    })
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether credentials for `from` may go to `to`: the same host, or a name below it.
fn same_site(from: &str, to: &str) -> bool {
    let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
    to == from || to.strip_suffix(&from).is_some_and(|rest| rest.ends_with('.'))
}

/// `%41` to `A`; what is not well formed stays.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
