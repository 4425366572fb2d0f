//! The driver: the pure node behind a lock, and the hands that do what it asks.
//!
//! Whoever has an event takes the lock, hands it in and carries out the actions before letting go, so that writes
//! leave in order. Nothing in there waits, except for a full disk queue (which is back-pressure). Readers never come
//! here: they load the published snapshot.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use async_channel::{Receiver, Sender, bounded};
use convoke_api::effect::Effect;
use convoke_api::response::Response;
use convoke_catalog::view::Topic;
use convoke_catalog::watch::{WatchId, WatchTable};
use convoke_config::Diagnostic;
use convoke_config::config::Config;
use convoke_core::consensus::Frozen;
use convoke_core::node::gossip::GossipStats;
use convoke_core::node::{Action, AskId, Event, Level, Node, Pool, Published, RequestId};
use convoke_core::probe::{Probe, RunId};
use convoke_core::rpc::{Answer, Ask};
use convoke_kit::{Machine, Out, Time};
use convoke_raft::ReadMode;
use convoke_swim::{self as swim, StreamId};

use crate::disk::Disk;
use crate::lease::Lease;
use crate::logging;
use crate::probe;
use crate::rt::{Runtime, race};
use crate::serve::gossip::{self, Ports};
use crate::serve::rpc::{self, Peers};
use crate::watch::{self, Signal};

/// Reads the configuration files again.
pub type Reload = dyn Fn() -> Result<(Box<Config>, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync;
/// Takes over settings that a runtime holds.
pub type Reconfigure = dyn Fn(&Config) + Send + Sync;

/// One node and its surroundings. Cheap to share.
pub struct Driver<R: Runtime> {
    rt: R,
    started: Instant,
    inner: Mutex<Inner>,
    published: ArcSwap<Published>,
    watches: Mutex<Watches>,
    /// Told when the next deadline has moved ahead of `sleeping_until`.
    timer: Signal,
    /// Nanoseconds since the start when the timer task wakes by itself.
    sleeping_until: AtomicU64,
    /// Until when this server is known to lead, and its view to be current.
    lease: Lease,
    /// Nanoseconds since the start when a follower last heard its leader; 0: it did not, or leads.
    heard: AtomicU64,
    /// Which of several servers a client agent asks.
    turn: AtomicUsize,
    peers: Peers,
    exit: (Sender<i32>, Receiver<i32>),
    in_flight: AtomicUsize,
    /// Sockets of the gossip pools; without them nothing is sent.
    ports: OnceLock<Ports>,
    hooks: Hooks,
}

/// What the driver calls outside the node.
pub struct Hooks {
    /// See [`Reload`]; blocks, so it is called on a blocking thread.
    pub reload: Arc<Reload>,
    /// See [`Reconfigure`].
    pub reconfigure: Box<Reconfigure>,
}

struct Inner {
    node: Node,
    out: Out<Action>,
    disk: Disk,
    next_request: u64,
    replies: HashMap<RequestId, watch::Sender<Response>>,
    checks: HashMap<RunId, Arc<Signal>>,
    next_stream: u64,
    /// The answer to the stream whose request is being handled.
    answer: Vec<u8>,
    next_ask: u64,
    /// Other agents that wait for an answer.
    asks: HashMap<AskId, Box<dyn FnOnce(Answer) + Send>>,
}

#[derive(Default)]
struct Watches {
    topics: WatchTable<Arc<Signal>>,
    /// Those who wait for the agent's own tables.
    agent: Vec<Arc<Signal>>,
}

impl<R: Runtime> Driver<R> {
    /// Takes a node that was just made. `disk` reports back through a `bell`.
    pub fn new(rt: R, started: Instant, node: Node, hooks: Hooks) -> Arc<Self> {
        let first = node.published();
        Arc::new(Self {
            rt,
            started,
            inner: Mutex::new(Inner {
                node,
                out: Out::new(),
                disk: Disk::none(),
                next_request: 0,
                replies: HashMap::new(),
                checks: HashMap::new(),
                next_stream: 0,
                answer: Vec::new(),
                next_ask: 0,
                asks: HashMap::new(),
            }),
            published: ArcSwap::new(first),
            watches: Mutex::default(),
            timer: Signal::default(),
            sleeping_until: AtomicU64::new(0),
            lease: Lease::default(),
            heard: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            peers: Peers::default(),
            exit: bounded(1),
            in_flight: AtomicUsize::new(0),
            ports: OnceLock::new(),
            hooks,
        })
    }

    /// Gives it a disk; before [`Driver::run_timers`].
    pub fn attach(&self, disk: Disk) {
        self.lock().disk = disk;
    }

    /// Gives it the gossip sockets; before [`Driver::run_timers`].
    pub fn attach_ports(&self, ports: Ports) {
        let _ = self.ports.set(ports);
    }

    /// The runtime.
    pub const fn runtime(&self) -> &R {
        &self.rt
    }

    /// What readers read, without a lock.
    pub fn published(&self) -> arc_swap::Guard<Arc<Published>> {
        self.published.load()
    }

    fn now(&self) -> Time {
        Time::from_duration(self.started.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|_| {
            // The node panicked half way: what it would do next is anybody's guess. What it acknowledged is on disk,
            // so the honest thing is to end here and let the service manager start it again.
            eprintln!("==> a bug in the node was caught; the agent ends so that it restarts from what is on disk");
            std::process::abort()
        })
    }

    /// Hands an event to the node and does what it asks.
    pub fn handle(self: &Arc<Self>, event: Event<'_>) {
        let mut inner = self.lock();
        self.step(&mut inner, event);
        self.wake_timer(&inner);
    }

    /// Hands in an event. The clock is read under the lock: the node judges reads as of that moment.
    fn step(self: &Arc<Self>, inner: &mut Inner, event: Event<'_>) {
        let now = self.now();
        let Inner { node, out, .. } = inner;
        node.handle(now, event, out);
        self.carry_out(inner);
    }

    /// Hands in an event that is replied to, and waits for the reply; `None`: the process ends.
    async fn replied(self: &Arc<Self>, event: impl FnOnce(RequestId) -> Event<'static>) -> Option<Response> {
        let (tx, rx) = watch::once();
        {
            let mut inner = self.lock();
            inner.next_request += 1;
            let id = RequestId(inner.next_request);
            inner.replies.insert(id, tx);
            self.step(&mut inner, event(id));
            self.wake_timer(&inner);
        }
        rx.recv().await
    }

    /// Hands in what a gossip socket received, all under one lock.
    pub fn datagrams<'b>(self: &Arc<Self>, pool: Pool, packets: impl Iterator<Item = (&'b [u8], SocketAddr)>) {
        let mut inner = self.lock();
        for (bytes, from) in packets {
            self.step(&mut inner, Event::Gossip { pool, event: swim::Event::Datagram { from, bytes } });
        }
        self.wake_timer(&inner);
    }

    /// Hands in the frame of an accepted gossip stream; the frame to answer with, empty for none.
    pub fn exchange(self: &Arc<Self>, pool: Pool, from: SocketAddr, frame: &[u8]) -> Vec<u8> {
        let mut inner = self.lock();
        inner.next_stream += 1;
        let stream = StreamId(inner.next_stream);
        self.step(&mut inner, Event::Gossip { pool, event: swim::Event::Request { stream, from, frame } });
        self.wake_timer(&inner);
        std::mem::take(&mut inner.answer)
    }

    /// Streams to servers.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Which of several servers to ask.
    pub fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// That one did not answer: the next one is asked from now on.
    pub fn take_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Hands in a question of another agent; `answer` is called once, maybe at once and under the driver's lock.
    pub fn asked(self: &Arc<Self>, ask: Ask, answer: Box<dyn FnOnce(Answer) + Send>) {
        let mut inner = self.lock();
        inner.next_ask += 1;
        let id = AskId(inner.next_ask);
        inner.asks.insert(id, answer);
        self.step(&mut inner, Event::Asked { id, ask });
        self.wake_timer(&inner);
    }

    /// Whether what was published in this reign, and loaded before this call, was current when it was loaded.
    pub fn lease_holds(&self, reign: u64) -> bool {
        self.lease.holds(reign, || self.now())
    }

    /// Milliseconds since the leader was last heard; 0 on the leader, and where there is none.
    pub fn contact_millis(&self) -> u64 {
        match self.heard.load(Ordering::Relaxed) {
            0 => 0,
            at => self.now().as_nanos().saturating_sub(at) / 1_000_000,
        }
    }

    /// Waits until the view is known to contain everything committed before now; false if nobody can say.
    pub async fn confirm(self: &Arc<Self>, mode: ReadMode) -> bool {
        let reply = self.replied(|id| Event::Confirm { id, mode }).await;
        reply.is_some_and(|response| response.status == 200)
    }

    /// Counters of a pool.
    pub fn gossip_stats(&self, pool: Pool) -> Option<GossipStats> {
        self.lock().node.gossip_stats(pool)
    }

    /// The timer task sleeps until the deadline it last saw; it is only woken for an earlier one.
    fn wake_timer(&self, inner: &Inner) {
        let next = inner.node.poll_timeout().map_or(u64::MAX, |d| d.at.as_nanos());
        if next < self.sleeping_until.load(Ordering::Acquire) {
            self.timer.set();
        }
    }

    /// Hands a client's change to the node and waits for its reply.
    pub async fn request(self: &Arc<Self>, effect: Effect) -> Response {
        let reply = self.replied(|id| Event::Request { id, effect }).await;
        reply.unwrap_or_else(|| Response::text(500, "the agent is shutting down"))
    }

    /// Fires the node's timers until the process ends.
    pub async fn run_timers(self: Arc<Self>) {
        loop {
            let deadline = {
                let inner = self.lock();
                let deadline = inner.node.poll_timeout();
                // Under the lock, so that no event can come between reading the deadline and saying so.
                self.sleeping_until.store(deadline.map_or(u64::MAX, |d| d.at.as_nanos()), Ordering::Release);
                deadline
            };
            let now = self.now();
            match deadline {
                Some(d) if d.at <= now => {
                    let mut inner = self.lock();
                    let now = self.now();
                    let Inner { node, out, .. } = &mut *inner;
                    node.handle_timeout(now, out);
                    self.carry_out(&mut inner);
                }
                Some(d) => {
                    let _ = race(self.rt.sleep(d.at.since(now)), self.timer.wait()).await;
                }
                None => self.timer.wait().await,
            }
        }
    }

    fn carry_out(self: &Arc<Self>, inner: &mut Inner) {
        let Inner { node, out, disk, replies, checks, answer, asks, .. } = inner;
        self.lease.set(node.reign(), node.lease_until(self.now()));
        self.heard.store(node.leader_heard().map_or(0, Time::as_nanos), Ordering::Relaxed);
        let mut writes = Vec::new();
        for action in out.drain_actions() {
            match action {
                Action::Reply { id, response } => {
                    if let Some(to) = replies.remove(&id) {
                        to.send(response);
                    }
                }
                Action::Publish { published, changes, agent_changed, replaced } => {
                    self.published.store(published);
                    let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
                    let woken = if replaced { watches.topics.wake_all() } else { watches.topics.wake(&changes) };
                    for signal in woken {
                        signal.set();
                    }
                    if agent_changed {
                        for signal in watches.agent.drain(..) {
                            signal.set();
                        }
                    }
                }
                Action::RunCheck { run, probe } => {
                    let cancel = Arc::new(Signal::default());
                    checks.insert(run, Arc::clone(&cancel));
                    self.run_check(run, probe, cancel);
                }
                Action::CancelCheck { run } => {
                    if let Some(cancel) = checks.remove(&run) {
                        cancel.set();
                    }
                }
                Action::Persist(write) => writes.push(write),
                Action::Dial { pool, exchange, to, frame, limit } => {
                    self.rt.spawn(gossip::dial(Arc::clone(self), pool, exchange, to, frame, limit));
                }
                // It comes with the call that handed the request in, which takes it.
                Action::Respond { frame, .. } => *answer = frame,
                Action::Resolve { lookup, host, port } => {
                    self.rt.spawn(gossip::resolve(Arc::clone(self), lookup, host, port));
                }
                Action::Tell { to, body } => self.peers.tell(&self.rt, to, body),
                Action::Ask { call, to, ask, limit } => {
                    self.rt.spawn(rpc::call(Arc::clone(self), call, to, ask, limit));
                }
                Action::Answer { id, answer } => {
                    if let Some(tell) = asks.remove(&id) {
                        tell(answer);
                    }
                }
                Action::Export { index, tables } => self.export(index, tables),
                Action::LoadConfig => self.load_config(),
                Action::Log { level, target, message } => logging::log(level, target, &message),
                Action::Reconfigure(config) => (self.hooks.reconfigure)(&config),
                Action::Ready => {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                }
                Action::Exit { code } => {
                    let _ = self.exit.0.try_send(code);
                }
            }
        }
        match self.ports.get() {
            Some(ports) => ports.send(out),
            None => out.clear_datagrams(),
        }
        if let Some(last) = writes.last() {
            let upto = last.seq;
            if !disk.keeps() || !disk.write(writes) {
                self.report_unkept(upto);
            }
        }
    }

    /// Without a disk nothing is kept and nothing fails.
    fn report_unkept(self: &Arc<Self>, upto: u64) {
        let driver = Arc::clone(self);
        self.rt.spawn(async move { driver.handle(Event::Persisted { upto }) });
    }

    fn run_check(self: &Arc<Self>, run: RunId, what: Arc<Probe>, cancel: Arc<Signal>) {
        let driver = Arc::clone(self);
        self.rt.spawn(async move {
            let outcome = probe::run(&driver.rt, &what, cancel.wait()).await;
            driver.lock().checks.remove(&run);
            driver.handle(Event::CheckDone { run, outcome });
        });
    }

    /// Off the lock: with many rows it takes longer than a leader may be silent.
    fn export(self: &Arc<Self>, index: u64, tables: Box<Frozen>) {
        let driver = Arc::clone(self);
        self.rt.spawn(async move {
            let tables = driver.rt.blocking(move || tables.encode()).await;
            driver.handle(Event::Exported { index, tables });
        });
    }

    fn load_config(self: &Arc<Self>) {
        let driver = Arc::clone(self);
        let reload = Arc::clone(&self.hooks.reload);
        self.rt.spawn(async move {
            let result = driver.rt.blocking(move || reload()).await;
            driver.handle(Event::ConfigLoaded { result });
        });
    }

    /// Waits until one of the topics (or the agent's own tables) changes, or until `limit`; true if it changed.
    ///
    /// `seen` is the snapshot that the caller has read: a change published since then counts.
    pub async fn changed(
        self: &Arc<Self>,
        topics: &[Topic],
        agent: bool,
        seen: &Arc<Published>,
        limit: Duration,
    ) -> bool {
        let signal = Arc::new(Signal::default());
        let registered = self.register(topics, agent, &signal);
        let Some(_watch) = registered else {
            // The watch table is full: poll slowly rather than refuse.
            self.rt.sleep(limit.min(Duration::from_secs(1))).await;
            return true;
        };
        if !Arc::ptr_eq(&self.published.load(), seen) {
            return true;
        }
        race(signal.wait(), self.rt.sleep(limit)).await.is_ok()
    }

    fn register(self: &Arc<Self>, topics: &[Topic], agent: bool, signal: &Arc<Signal>) -> Option<Registered<R>> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match topics {
            [] => None,
            _ => Some(watches.topics.register(topics, Arc::clone(signal)).ok()?),
        };
        if agent {
            watches.agent.push(Arc::clone(signal));
        }
        Some(Registered { driver: Arc::clone(self), id, agent: agent.then(|| Arc::clone(signal)) })
    }

    /// Counts a request that the process should finish before it ends.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight<R> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Waits for the node's wish to end; then for requests under way (at most a second) and for the disk.
    pub async fn finished(self: &Arc<Self>) -> i32 {
        let code = self.exit.1.recv().await.unwrap_or(1);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        for _ in 0..100 {
            if self.in_flight.load(Ordering::Acquire) == 0 {
                break;
            }
            self.rt.sleep(Duration::from_millis(10)).await;
        }
        // Replies leave the process after the handler is done: one more turn for the sockets.
        self.rt.sleep(Duration::from_millis(20)).await;
        let disk = std::mem::replace(&mut self.lock().disk, Disk::none());
        self.rt.blocking(move || drop(disk)).await;
        code
    }

    /// Seconds and nanoseconds of the wall clock, for handlers that need them.
    #[must_use]
    pub fn unix_now() -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Takes its watch out of the table when the wait is over, however it ended.
struct Registered<R: Runtime> {
    driver: Arc<Driver<R>>,
    id: Option<WatchId>,
    agent: Option<Arc<Signal>>,
}

impl<R: Runtime> Drop for Registered<R> {
    fn drop(&mut self) {
        let mut watches = self.driver.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = self.id {
            watches.topics.cancel(id);
        }
        if let Some(signal) = &self.agent {
            watches.agent.retain(|s| !Arc::ptr_eq(s, signal));
        }
    }
}

/// A request under way.
pub struct InFlight<R: Runtime>(Arc<Driver<R>>);

impl<R: Runtime> Drop for InFlight<R> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Logs warnings of a configuration.
pub fn log_warnings(warnings: &[Diagnostic]) {
    for w in warnings {
        logging::log(Level::Warn, "agent", &w.to_string());
    }
}
