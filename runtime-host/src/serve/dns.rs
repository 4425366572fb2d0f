//! DNS over UDP and TCP around the pure answer function, which reads the published snapshot on this very task.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convoke_core::dns::{DnsSettings, Outcome, Recursion, Transport, answer, unavailable};
use convoke_core::node::Level;
use convoke_core::rpc;
use convoke_kit::Rng;
use hyper::rt::ReadBuf;
use metrics::{Counter, Histogram};

use crate::driver::Driver;
use crate::entropy;
use crate::logging;
use crate::rt::{Listener, Runtime, Stream, Udp, within};
use crate::serve::batch::Batch;
use crate::serve::recurse;
use crate::serve::rpc::ask_any;

/// Largest DNS message.
pub(super) const MAX_MESSAGE: usize = 65_535;
/// Queries being asked upstream at once; beyond it the answer is SERVFAIL.
const MAX_RECURSIONS: usize = 2048;
/// A client agent waits for a server's answer this long: a little less than resolvers wait before they ask again.
const OF_SERVER: Duration = Duration::from_secs(4);
/// TCP connections at once; beyond it they are closed at once.
const MAX_CONNECTIONS: usize = 1024;
/// A TCP connection without a query is closed after this (RFC 7766 section 6.2.3 asks for seconds).
const IDLE: Duration = Duration::from_secs(8);
/// After a failed system call wait before the next, so that a broken socket does not burn a core.
const PAUSE: Duration = Duration::from_millis(50);
/// One query in so many is timed: enough for a distribution, and cheap.
const TIMED_EVERY: u64 = 16;

/// What the loops share and a reload replaces.
#[derive(Debug)]
pub struct Settings {
    current: ArcSwap<DnsSettings>,
    recursions: AtomicUsize,
    connections: AtomicUsize,
}

impl Settings {
    /// Starts with these.
    #[must_use]
    pub fn new(settings: DnsSettings) -> Self {
        Self {
            current: ArcSwap::from_pointee(settings),
            recursions: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<DnsSettings>> {
        self.current.load()
    }

    /// Used for queries from now on.
    pub fn replace(&self, settings: DnsSettings) {
        self.current.store(Arc::new(settings));
    }
}

/// One of a bounded number; given back when dropped.
struct Permit(Arc<Settings>, fn(&Settings) -> &AtomicUsize);

impl Permit {
    fn take(settings: &Arc<Settings>, of: fn(&Settings) -> &AtomicUsize, limit: usize) -> Option<Self> {
        let n = of(settings).fetch_add(1, Ordering::AcqRel);
        let permit = Self(Arc::clone(settings), of);
        (n < limit).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts and times queries of one loop.
struct Meter {
    queries: Counter,
    took: Histogram,
    seen: u64,
}

impl Meter {
    fn new() -> Self {
        Self { queries: metrics::counter!("dns.queries"), took: metrics::histogram!("dns.domain_query"), seen: 0 }
    }

    fn around<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.seen += 1;
        if !self.seen.is_multiple_of(TIMED_EVERY) {
            return f();
        }
        let start = Instant::now();
        let out = f();
        self.queries.increment(TIMED_EVERY);
        self.took.record(start.elapsed().as_secs_f64() * 1000.0);
        out
    }
}

/// Serves one UDP socket for ever.
pub async fn udp<R: Runtime>(driver: Arc<Driver<R>>, settings: Arc<Settings>, socket: R::Udp, v4: bool) {
    let socket = Arc::new(socket);
    let mut rng = Rng::new(entropy::u64());
    let mut meter = Meter::new();
    let mut batch = Batch::new(v4);
    let mut reply = vec![0; MAX_MESSAGE];
    loop {
        match batch.receive(&*socket).await {
            Ok(()) => {}
            // An ICMP error of an earlier answer; it says nothing about this socket.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(e) => {
                logging::log(Level::Warn, "agent.dns", &format!("cannot receive: {e}"));
                driver.runtime().sleep(PAUSE).await;
                continue;
            }
        }
        answer_all(&driver, &settings, &socket, &mut batch, &mut rng, &mut meter, &mut reply);
        batch.send(&*socket).await;
    }
}

/// Answers what a batch holds, from one snapshot.
fn answer_all<R: Runtime>(
    driver: &Arc<Driver<R>>,
    settings: &Arc<Settings>,
    socket: &Arc<R::Udp>,
    batch: &mut Batch,
    rng: &mut Rng,
    meter: &mut Meter,
    reply: &mut [u8],
) {
    let snapshot = driver.published();
    let current = settings.current();
    let now = Driver::<R>::unix_now().as_secs();
    for at in 0..batch.len() {
        let (packet, from) = batch.datagram(at);
        let outcome =
            meter.around(|| answer(&snapshot.view, &current, packet, Transport::Udp, rng.next_u64(), now, reply));
        match outcome {
            Outcome::Reply(n) => batch.reply(&reply[..n], from),
            Outcome::Drop => {}
            Outcome::Elsewhere => {
                let permit = Permit::take(settings, |s| &s.recursions, MAX_RECURSIONS);
                let (driver, socket, packet) = (Arc::clone(driver), Arc::clone(socket), packet.to_vec());
                let rt = driver.runtime().clone();
                rt.spawn(async move {
                    let reply = of_server(&driver, packet, from, false, permit.is_some()).await;
                    let _ = socket.send_to(&reply, from).await;
                });
            }
            Outcome::Recurse(recursion) => {
                let permit = Permit::take(settings, |s| &s.recursions, MAX_RECURSIONS);
                let (driver, settings, socket) = (Arc::clone(driver), Arc::clone(settings), Arc::clone(socket));
                let rt = driver.runtime().clone();
                rt.spawn(async move {
                    let reply = recurse::run(&driver, &settings, *recursion, permit.is_some()).await;
                    let _ = socket.send_to(&reply, from).await;
                });
            }
        }
    }
}

/// Accepts DNS connections for ever.
pub async fn tcp<R: Runtime, L: Listener>(driver: Arc<Driver<R>>, settings: Arc<Settings>, listener: L) {
    let rt = driver.runtime().clone();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(permit) = Permit::take(&settings, |s| &s.connections, MAX_CONNECTIONS) {
                    let (driver, settings) = (Arc::clone(&driver), Arc::clone(&settings));
                    rt.spawn(async move {
                        let _permit = permit;
                        // It ends when the client goes away, falls silent or talks nonsense.
                        let _ = connection(&driver, &settings, stream, peer).await;
                    });
                }
            }
            Err(e) => {
                logging::log(Level::Warn, "agent.dns", &format!("cannot accept a connection: {e}"));
                rt.sleep(PAUSE).await;
            }
        }
    }
}

async fn connection<R: Runtime>(
    driver: &Arc<Driver<R>>,
    settings: &Arc<Settings>,
    mut stream: impl Stream,
    peer: Option<SocketAddr>,
) -> Option<()> {
    let rt = driver.runtime();
    let mut rng = Rng::new(entropy::u64());
    let mut meter = Meter::new();
    loop {
        let mut head = [0; 2];
        within(rt, IDLE, read_exact(&mut stream, &mut head)).await?.ok()?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(head))];
        within(rt, IDLE, read_exact(&mut stream, &mut query)).await?.ok()?;
        let mut reply = vec![0; MAX_MESSAGE];
        let outcome = meter.around(|| {
            let snapshot = driver.published();
            let current = settings.current();
            let now = Driver::<R>::unix_now().as_secs();
            answer(&snapshot.view, &current, &query, Transport::Tcp, rng.next_u64(), now, &mut reply)
        });
        match outcome {
            Outcome::Reply(n) => reply.truncate(n),
            Outcome::Drop => return None,
            Outcome::Elsewhere => {
                let permit = Permit::take(settings, |s| &s.recursions, MAX_RECURSIONS);
                let from = peer.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
                reply = of_server(driver, query, from, true, permit.is_some()).await;
            }
            Outcome::Recurse(recursion) => {
                let permit = Permit::take(settings, |s| &s.recursions, MAX_RECURSIONS);
                reply = recurse::run(driver, settings, *recursion, permit.is_some()).await;
            }
        }
        let len = u16::try_from(reply.len()).ok()?;
        let mut framed = len.to_be_bytes().to_vec();
        framed.extend_from_slice(&reply);
        within(rt, IDLE, write_all(&mut stream, &framed)).await?.ok()?;
    }
}

/// Drives a recursion for another agent.
pub(super) async fn recurse_for<R: Runtime>(
    driver: &Arc<Driver<R>>,
    settings: &Arc<Settings>,
    recursion: Recursion,
) -> Vec<u8> {
    let permit = Permit::take(settings, |s| &s.recursions, MAX_RECURSIONS);
    recurse::run(driver, settings, recursion, permit.is_some()).await
}

/// A client agent's answer: a server's, or SERVFAIL if none gives one in time.
async fn of_server<R: Runtime>(
    driver: &Arc<Driver<R>>,
    packet: Vec<u8>,
    peer: SocketAddr,
    tcp: bool,
    allowed: bool,
) -> Vec<u8> {
    let answer = if allowed {
        let ask = rpc::Ask::Dns(rpc::Dns { packet: packet.clone(), peer, tcp });
        ask_any(driver, ask, OF_SERVER).await
    } else {
        Err("too many questions are under way".to_owned())
    };
    match answer {
        Ok(rpc::Answer::Dns(reply)) => reply,
        _ => {
            let mut reply = vec![0; 512];
            let len = unavailable(&packet, &mut reply).unwrap_or(0);
            reply.truncate(len);
            reply
        }
    }
}

/// Fills `buf` or fails.
pub(super) async fn read_exact<S: Stream>(stream: &mut S, buf: &mut [u8]) -> io::Result<()> {
    let mut at = 0;
    while at < buf.len() {
        let n = poll_fn(|cx| {
            let mut rest = ReadBuf::new(&mut buf[at..]);
            match Pin::new(&mut *stream).poll_read(cx, rest.unfilled()) {
                std::task::Poll::Ready(Ok(())) => std::task::Poll::Ready(Ok(rest.filled().len())),
                std::task::Poll::Ready(Err(e)) => std::task::Poll::Ready(Err(e)),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += n;
    }
    Ok(())
}

/// Writes all of `buf` or fails.
pub(super) async fn write_all<S: Stream>(stream: &mut S, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, buf)).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        buf = &buf[n..];
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}
