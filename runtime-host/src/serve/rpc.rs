//! Streams between agents: the bytes of [`convoke_core::rpc`], in and out. What they mean is the node's business, or that
//! of the handlers of HTTP and DNS, which answer other agents as they answer clients.
//!
//! Each agent keeps one stream to every server it talks to, made when it has something to say. Frames wait in a bounded
//! queue: at the bound messages of consensus are dropped, as a network drops, and questions are refused at once.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use convoke_core::dns;
use convoke_core::node::{CallId, Event, Level};
use convoke_core::rpc::{self, Answer, Ask, Body, MAX_FRAME, PREFACE};
use convoke_kit::Rng;
use futures_lite::Stream as _;
use hyper::rt::ReadBuf;
use metrics::counter;

use crate::driver::Driver;
use crate::entropy;
use crate::logging;
use crate::rt::{Listener, Runtime, Stream, within};
use crate::serve::dns::{MAX_MESSAGE, Settings, read_exact, recurse_for, write_all};
use crate::serve::http;
use crate::watch;

/// Frames that wait for one stream.
const QUEUE: usize = 4096;
/// Bytes that are encoded ahead of the socket.
const AHEAD: usize = 1 << 20;
/// A stream must be there, and say what it is, within this.
const CONNECT: Duration = Duration::from_secs(2);
/// After a failed connection nobody is dialled again for so long; what is said meanwhile is lost.
const PAUSE: Duration = Duration::from_millis(100);
/// Streams of other agents. At the bound further ones are closed at once.
const MAX_STREAMS: usize = 16_384;

/// What goes out over a stream.
enum Outgoing {
    Tell(Box<Body>),
    Ask(Ask, watch::Sender<Result<Answer, String>>),
}

/// The streams that this agent has made.
#[derive(Default)]
pub struct Peers(Arc<Mutex<HashMap<SocketAddr, Sender<Outgoing>>>>);

impl Peers {
    /// Says something. It is lost if the queue is full or the server cannot be reached.
    pub fn tell<R: Runtime>(&self, rt: &R, to: SocketAddr, body: Box<Body>) {
        if self.queue(rt, to).try_send(Outgoing::Tell(body)).is_err() {
            counter!("rpc.dropped").increment(1);
        }
    }

    /// Asks something.
    ///
    /// # Errors
    ///
    /// A text for people, when there is no answer within `limit`.
    pub async fn ask<R: Runtime>(&self, rt: &R, to: SocketAddr, ask: Ask, limit: Duration) -> Result<Answer, String> {
        let (tx, rx) = watch::once();
        if self.queue(rt, to).try_send(Outgoing::Ask(ask, tx)).is_err() {
            return Err(format!("too many questions wait for {to}"));
        }
        match within(rt, limit, rx.recv()).await {
            Some(Some(result)) => result,
            Some(None) => Err(format!("the stream to {to} ended")),
            None => Err(format!("no answer from {to} within {} ms", limit.as_millis())),
        }
    }

    fn queue<R: Runtime>(&self, rt: &R, to: SocketAddr) -> Sender<Outgoing> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = peers.get(&to).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        let (tx, rx) = bounded(QUEUE);
        peers.insert(to, tx.clone());
        drop(peers);
        let (task, all) = (rt.clone(), Arc::clone(&self.0));
        rt.spawn(async move {
            let waiting = Arc::new(Waiting::default());
            let ended = outgoing(&task, to, &rx, &waiting).await;
            // From here on a new stream is made; who waits for this one is told.
            rx.close();
            let text = ended.err().map_or_else(|| format!("the stream to {to} ended"), |e| e.to_string());
            waiting.fail(&text);
            while let Ok(left) = rx.try_recv() {
                if let Outgoing::Ask(_, tx) = left {
                    tx.send(Err(text.clone()));
                }
            }
            let mut peers = all.lock().unwrap_or_else(PoisonError::into_inner);
            if peers.get(&to).is_some_and(Sender::is_closed) {
                peers.remove(&to);
            }
        });
        tx
    }
}

/// Questions under way on a stream.
#[derive(Default)]
struct Waiting {
    next: AtomicU64,
    asks: Mutex<HashMap<u64, watch::Sender<Result<Answer, String>>>>,
}

impl Waiting {
    fn add(&self, tx: watch::Sender<Result<Answer, String>>) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        // Who gave up does not listen any more.
        if asks.len() > QUEUE {
            asks.retain(|_, tx| tx.is_awaited());
        }
        asks.insert(id, tx);
        id
    }

    fn answered(&self, id: u64, answer: Answer) {
        let tx = self.asks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(tx) = tx {
            tx.send(Ok(answer));
        }
    }

    fn fail(&self, text: &str) {
        for (_, tx) in self.asks.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            tx.send(Err(text.to_owned()));
        }
    }
}

/// One stream of ours, from its connection to its end.
async fn outgoing<R: Runtime>(
    rt: &R,
    to: SocketAddr,
    queue: &Receiver<Outgoing>,
    waiting: &Arc<Waiting>,
) -> io::Result<()> {
    let connect = async {
        let mut stream = rt.connect(to).await?;
        write_all(&mut stream, &PREFACE).await?;
        Ok::<_, io::Error>(stream)
    };
    let stream = match within(rt, CONNECT, connect).await {
        Some(Ok(stream)) => stream,
        failed => {
            // What is said to who is not there is not worth keeping: it is old when it arrives.
            rt.sleep(PAUSE).await;
            let why = failed.and_then(Result::err).map_or_else(|| "i/o timeout".to_owned(), |e| e.to_string());
            return Err(io::Error::other(format!("dial tcp {to}: connect: {why}")));
        }
    };
    let encode = |item| match item {
        Outgoing::Tell(body) => rpc::encode(&body),
        Outgoing::Ask(ask, tx) => rpc::encode(&Body::Ask { id: waiting.add(tx), ask }),
    };
    let heard = |body| match body {
        Body::Answer { id, answer } => {
            waiting.answered(id, answer);
            true
        }
        Body::Raft { .. } | Body::Ask { .. } => false,
    };
    pump(stream, queue, encode, heard).await
}

/// Carries frames in both directions until the stream, or the queue, ends. `heard` says whether the peer makes sense.
async fn pump<S: Stream, T>(
    mut stream: S,
    queue: &Receiver<T>,
    mut encode: impl FnMut(T) -> Vec<u8>,
    mut heard: impl FnMut(Body) -> bool,
) -> io::Result<()> {
    let mut queue = pin!(queue.clone());
    let (mut out, mut sent) = (Vec::<u8>::new(), 0);
    let mut inbox = Inbox::default();
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while out.len() - sent < AHEAD {
                match queue.as_mut().poll_next(cx) {
                    Poll::Ready(Some(item)) => {
                        let frame = encode(item);
                        let Some(len) = u32::try_from(frame.len()).ok().filter(|len| *len as usize <= MAX_FRAME) else {
                            continue;
                        };
                        out.extend_from_slice(&len.to_le_bytes());
                        out.extend_from_slice(&frame);
                        moved = true;
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => break,
                }
            }
            while sent < out.len() {
                match Pin::new(&mut stream).poll_write(cx, &out[sent..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => {
                        sent += n;
                        moved = true;
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => break,
                }
            }
            if sent == out.len() {
                out.clear();
                out.shrink_to(AHEAD);
                sent = 0;
            }
            match inbox.poll(cx, &mut stream) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {}
            }
            while let Some(frame) = inbox.next()? {
                let understood = rpc::decode(&frame).is_ok_and(&mut heard);
                if !understood {
                    let text = "the peer says what no agent of this version says";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Bytes that came, and frames that are whole.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// Taken from the front already.
    taken: usize,
}

impl Inbox {
    /// Reads what there is, once. Memory grows as bytes come, so that a length alone costs nothing.
    fn poll<S: Stream>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>> {
        let mut chunk = [0; 16 << 10];
        let mut buffer = ReadBuf::new(&mut chunk);
        match Pin::new(stream).poll_read(cx, buffer.unfilled()) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(())) => {
                self.bytes.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let rest = &self.bytes[self.taken..];
        let Some((head, body)) = rest.split_first_chunk::<4>() else { return Ok(self.tidy()) };
        let len = u32::from_le_bytes(*head) as usize;
        if len > MAX_FRAME {
            let text = format!("a frame cannot have {len} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let Some(frame) = body.get(..len) else { return Ok(self.tidy()) };
        let frame = frame.to_vec();
        self.taken += 4 + len;
        Ok(Some(frame))
    }

    /// Nothing whole is left: what was taken is forgotten.
    fn tidy(&mut self) -> Option<Vec<u8>> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(64 << 10);
        }
        None
    }
}

/// What answers other agents.
pub struct Server<R: Runtime> {
    /// Answers as over HTTP.
    pub http: Arc<http::Server<R>>,
    /// Answers as over DNS.
    pub dns: Arc<Settings>,
    /// Streams accepted.
    pub streams: AtomicUsize,
}

/// Accepts streams of other agents for ever.
pub async fn serve<R: Runtime, L: Listener>(server: Arc<Server<R>>, listener: L) {
    let rt = server.http.driver.runtime().clone();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let server = Arc::clone(&server);
                if server.streams.fetch_add(1, Ordering::AcqRel) >= MAX_STREAMS {
                    server.streams.fetch_sub(1, Ordering::AcqRel);
                    continue;
                }
                rt.spawn(async move {
                    if let Err(e) = accepted(&server, stream).await
                        && e.kind() == io::ErrorKind::InvalidData
                    {
                        let from = peer.map_or_else(|| "?".to_owned(), |peer| peer.to_string());
                        logging::log(Level::Warn, "agent.rpc", &format!("stream of {from} closed: {e}"));
                    }
                    server.streams.fetch_sub(1, Ordering::AcqRel);
                });
            }
            Err(e) => {
                logging::log(Level::Warn, "agent.rpc", &format!("cannot accept a connection: {e}"));
                rt.sleep(PAUSE).await;
            }
        }
    }
}

async fn accepted<R: Runtime>(server: &Arc<Server<R>>, mut stream: impl Stream) -> io::Result<()> {
    let driver = &server.http.driver;
    let rt = driver.runtime().clone();
    let mut preface = [0; PREFACE.len()];
    within(&rt, CONNECT, read_exact(&mut stream, &mut preface)).await.ok_or(io::ErrorKind::TimedOut)??;
    if preface != PREFACE {
        let text = "it is of no agent, or of one with another version of the protocol between agents";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let (answers, queue) = bounded::<(u64, Answer)>(QUEUE);
    let heard = |body| {
        match body {
            Body::Raft { from, to, message } => driver.handle(Event::Raft { from, to, message }),
            Body::Ask { id, ask: Ask::Http(ask) } => {
                let (server, answers) = (Arc::clone(server), answers.clone());
                rt.spawn(async move {
                    let answer = http::answer_agent(&server.http, ask).await;
                    let _ = answers.send((id, answer)).await;
                });
            }
            Body::Ask { id, ask: Ask::Dns(ask) } => {
                let (server, answers) = (Arc::clone(server), answers.clone());
                rt.spawn(async move {
                    let _ = answers.send((id, answer_dns(&server, &ask).await)).await;
                });
            }
            Body::Ask { id, ask } => {
                let answers = answers.clone();
                driver.asked(ask, Box::new(move |answer| drop(answers.try_send((id, answer)))));
            }
            Body::Answer { .. } => return false,
        }
        true
    };
    pump(stream, &queue, |(id, answer)| rpc::encode(&Body::Answer { id, answer }), heard).await
}

async fn answer_dns<R: Runtime>(server: &Server<R>, ask: &rpc::Dns) -> Answer {
    let driver = &server.http.driver;
    let mut rng = Rng::new(entropy::u64());
    let transport = if ask.tcp { dns::Transport::Tcp } else { dns::Transport::Udp };
    let mut reply = vec![0; MAX_MESSAGE];
    let outcome = {
        let snapshot = driver.published();
        let now = Driver::<R>::unix_now().as_secs();
        dns::answer(&snapshot.view, &server.dns.current(), &ask.packet, transport, rng.next_u64(), now, &mut reply)
    };
    match outcome {
        dns::Outcome::Reply(n) => reply.truncate(n),
        // Only servers are asked, and they have tables.
        dns::Outcome::Drop | dns::Outcome::Elsewhere => reply.clear(),
        dns::Outcome::Recurse(recursion) => reply = recurse_for(driver, &server.dns, *recursion).await,
    }
    Answer::Dns(reply)
}

/// Carries a question of the node, and tells it the answer.
pub async fn call<R: Runtime>(driver: Arc<Driver<R>>, call: CallId, to: SocketAddr, ask: Ask, limit: Duration) {
    let result = driver.peers().ask(driver.runtime(), to, ask, limit).await;
    driver.handle(Event::Answered { call, result });
}

/// Asks the servers that this agent knows, one after the other until one answers, `total` together at most.
///
/// # Errors
///
/// Consul's text when none is known, else why the last one did not answer.
pub async fn ask_any<R: Runtime>(driver: &Arc<Driver<R>>, ask: Ask, total: Duration) -> Result<Answer, String> {
    let servers = Arc::clone(&driver.published().agent.servers);
    let start = driver.turn();
    let mut failed = "No known Consul servers".to_owned();
    for at in 0..servers.len().min(3) {
        let to = servers[(start + at) % servers.len()];
        match driver.peers().ask(driver.runtime(), to, ask.clone(), total).await {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                failed = format!("rpc error: {error}");
                driver.take_turn();
            }
        }
    }
    Err(failed)
}
