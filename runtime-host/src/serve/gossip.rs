//! Gossip on sockets: datagrams and one-frame streams, in and out. What they mean is the node's business.
//!
//! A stream carries one frame each way: a length (u32, little-endian), then as many bytes. Sending a datagram never
//! waits: what the kernel does not take at once is lost, as the network may lose it, and counted.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convoke_core::node::{Event, Level, LookupId, Pool, gossip::admits};
use convoke_kit::Out;
use convoke_swim::wire::MAX_FRAME;
use convoke_swim::{self as swim, ExchangeId};
use metrics::{Counter, counter, gauge};

use crate::driver::Driver;
use crate::logging;
use crate::rt::{Listener, Runtime, Stream, within};
use crate::serve::batch::Batch;
use crate::serve::dns::{read_exact, write_all};

/// A frame must be there, and later be written, within this.
const LIMIT: Duration = Duration::from_secs(10);
/// Accepted streams at once, in one pool. At the bound further ones are closed at once; who dialled tries again later.
const MAX_STREAMS: usize = 128;
/// Bytes of frames being read at once, over all streams. At the bound a stream is closed.
const MAX_BYTES: usize = 2 * MAX_FRAME;
/// A frame's memory grows by so much as its bytes come, so that a length alone costs nothing.
const STEP: usize = 64 << 10;
/// A lookup that takes longer is given up.
const LOOKUP: Duration = Duration::from_secs(10);
/// After a failed system call wait before the next, so that a broken socket does not burn a core.
const PAUSE: Duration = Duration::from_millis(50);

/// The sending ends of the pools' sockets.
#[derive(Debug, Default)]
pub struct Ports([Option<UdpSocket>; 2]);

impl Ports {
    /// Sends through this socket what goes to a pool. It must not block.
    pub fn set(&mut self, pool: Pool, socket: UdpSocket) {
        self.0[usize::from(pool.lane())] = Some(socket);
    }

    /// Sends all datagrams, each through the socket of its lane, and forgets them.
    pub fn send<A>(&self, out: &mut Out<A>) {
        for datagram in out.datagrams() {
            let socket = self.0.get(usize::from(datagram.lane)).and_then(Option::as_ref);
            if socket.is_none_or(|socket| socket.send_to(datagram.bytes, datagram.to).is_err()) {
                counter!("memberlist.udp.unsent").increment(1);
            }
        }
        out.clear_datagrams();
    }
}

/// Receives datagrams of a pool for ever.
pub async fn datagrams<R: Runtime>(driver: Arc<Driver<R>>, pool: Pool, socket: R::Udp, v4: bool) {
    let mut batch = Batch::new(v4);
    loop {
        match batch.receive(&socket).await {
            Ok(()) => driver.datagrams(pool, (0..batch.len()).map(|at| batch.datagram(at))),
            // An ICMP error of an earlier packet; it says nothing about this socket.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(e) => {
                logging::log(Level::Warn, "agent.gossip", &format!("cannot receive: {e}"));
                driver.runtime().sleep(PAUSE).await;
            }
        }
    }
}

/// What the streams of a pool use together.
#[derive(Debug, Default)]
struct Load {
    streams: AtomicUsize,
    bytes: AtomicUsize,
}

/// A share of a load; given back when dropped.
struct Share<'a> {
    of: &'a AtomicUsize,
    taken: usize,
    most: usize,
}

impl<'a> Share<'a> {
    const fn of(of: &'a AtomicUsize, most: usize) -> Self {
        Self { of, taken: 0, most }
    }

    /// Takes some more; false at the bound.
    fn take(&mut self, more: usize) -> bool {
        self.taken += more;
        self.of.fetch_add(more, Ordering::AcqRel) + more <= self.most
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.taken, Ordering::AcqRel);
    }
}

/// Accepts streams of a pool for ever.
pub async fn streams<R: Runtime, L: Listener>(driver: Arc<Driver<R>>, pool: Pool, listener: L) {
    let rt = driver.runtime().clone();
    let load = Arc::new(Load::default());
    loop {
        match listener.accept().await {
            Ok((stream, Some(peer))) => {
                if !admits(&driver.published().agent.config, pool, peer.ip()) {
                    counter!("memberlist.tcp.refused").increment(1);
                    continue;
                }
                counter!("memberlist.tcp.accept").increment(1);
                let (driver, load) = (Arc::clone(&driver), Arc::clone(&load));
                rt.spawn(async move {
                    let mut share = Share::of(&load.streams, MAX_STREAMS);
                    if !share.take(1) || stream_of(&driver, pool, stream, peer, &load).await.is_none() {
                        counter!("memberlist.tcp.dropped").increment(1);
                    }
                });
            }
            // A peer without an address is none.
            Ok((_, None)) => {}
            Err(e) => {
                logging::log(Level::Warn, "agent.gossip", &format!("cannot accept a connection: {e}"));
                rt.sleep(PAUSE).await;
            }
        }
    }
}

/// One accepted stream, from its frame to the node's answer. `None`: it was too slow, too long or cut off.
async fn stream_of<R: Runtime>(
    driver: &Arc<Driver<R>>,
    pool: Pool,
    mut stream: impl Stream,
    peer: SocketAddr,
    load: &Load,
) -> Option<()> {
    let rt = driver.runtime();
    let mut share = Share::of(&load.bytes, MAX_BYTES);
    let frame = within(rt, LIMIT, read_frame(&mut stream, |more| share.take(more))).await?.ok()?;
    let answer = driver.exchange(pool, peer, &frame);
    drop(frame);
    if answer.is_empty() {
        return Some(());
    }
    within(rt, LIMIT, write_all(&mut stream, &framed(&answer)?)).await?.ok()
}

/// Connects, sends a frame, reads one, and tells the node how it went.
pub async fn dial<R: Runtime>(
    driver: Arc<Driver<R>>,
    pool: Pool,
    exchange: ExchangeId,
    to: SocketAddr,
    frame: Vec<u8>,
    limit: Duration,
) {
    counter!("memberlist.tcp.connect").increment(1);
    let rt = driver.runtime();
    let talk = async {
        let mut stream = rt.connect(to).await.map_err(|e| refused(to, &e))?;
        let sent = framed(&frame).ok_or_else(|| "the frame is too long".to_owned())?;
        write_all(&mut stream, &sent).await.map_err(|e| format!("write tcp {to}: {e}"))?;
        match read_frame(&mut stream, |_| true).await {
            Ok(frame) => Ok(frame),
            // Closed without a word.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
            Err(e) => Err(format!("read tcp {to}: {e}")),
        }
    };
    let outcome = within(rt, limit, talk).await.unwrap_or_else(|| Err(format!("dial tcp {to}: i/o timeout")));
    let event = match &outcome {
        Ok(frame) => swim::Event::Response { exchange, frame },
        Err(error) => swim::Event::DialFailed { exchange, error },
    };
    driver.handle(Event::Gossip { pool, event });
}

/// In Consul's words, which people search for.
fn refused(to: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("dial tcp {to}: connect: connection refused"),
        _ => format!("dial tcp {to}: connect: {error}"),
    }
}

/// Looks a name up and tells the node.
pub async fn resolve<R: Runtime>(driver: Arc<Driver<R>>, lookup: LookupId, host: String, port: u16) {
    let rt = driver.runtime();
    let ask = rt.blocking(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    let result = match within(rt, LOOKUP, ask).await {
        Some(Ok(found)) => Ok(found),
        Some(Err(e)) => Err(e.to_string()),
        None => Err(format!("no answer within {} s", LOOKUP.as_secs())),
    };
    driver.handle(Event::Resolved { lookup, result });
}

/// A frame with its length; `None` if it is too long.
fn framed(body: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(body.len()).ok().filter(|len| *len as usize <= MAX_FRAME)?;
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(body);
    Some(bytes)
}

/// Reads one frame. `more` is asked before memory is taken for it.
async fn read_frame<S: Stream>(stream: &mut S, mut more: impl FnMut(usize) -> bool + Send) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    read_exact(stream, &mut head).await?;
    let len = u32::from_le_bytes(head) as usize;
    if len == 0 || len > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame cannot have {len} bytes")));
    }
    let mut body = Vec::new();
    while body.len() < len {
        let (from, step) = (body.len(), STEP.min(len - body.len()));
        if !more(step) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many long frames at once"));
        }
        body.resize(from + step, 0);
        read_exact(stream, &mut body[from..]).await?;
    }
    Ok(body)
}

/// Puts the pools' counters into the metrics, by Consul's names where it has such.
pub fn measure<R: Runtime>(driver: &Driver<R>) {
    for pool in Pool::ALL {
        let Some(stats) = driver.gossip_stats(pool) else { continue };
        let network = if pool == Pool::Lan { "lan" } else { "wan" };
        let machine = stats.swim;
        for (name, value) in [
            ("memberlist.udp.sent", machine.bytes_out),
            ("memberlist.udp.received", machine.bytes_in),
            ("memberlist.packets.sent", machine.packets_out),
            ("memberlist.packets.received", machine.packets_in),
            ("memberlist.gossip", machine.messages_out),
            ("memberlist.probeNode", machine.probes),
            ("memberlist.degraded.probe", machine.probes_failed),
            ("memberlist.pushPullNode", machine.exchanges),
            ("memberlist.msg.suspect", machine.suspicions),
            ("memberlist.msg.dead", machine.verdicts),
            ("memberlist.refuted", machine.refutations),
            ("memberlist.refused", stats.refused),
            ("serf.member.join", stats.joined),
            ("serf.member.flap", stats.flapped),
            ("serf.member.failed", stats.failed),
            ("serf.member.left", stats.left),
            ("serf.events", stats.events),
        ] {
            count(counter!(name, "network" => network), value);
        }
        for (reason, value) in [
            ("foreign", machine.dropped_foreign),
            ("pool", machine.dropped_pool),
            ("sealed", machine.dropped_sealed),
            ("plain", machine.dropped_plain),
            ("malformed", machine.dropped_malformed),
            ("incarnation", machine.dropped_incarnation),
        ] {
            count(counter!("memberlist.dropped", "network" => network, "reason" => reason), value);
        }
        for (name, value) in [
            ("memberlist.health.score", stats.health_score as usize),
            ("memberlist.queue.broadcasts", stats.broadcasts),
        ] {
            gauge!(name, "network" => network).set(value as f64);
        }
        if pool == Pool::Lan {
            gauge!("members.servers").set(stats.servers as f64);
            gauge!("members.clients").set(stats.clients as f64);
        }
    }
}

/// Takes over a total. One that never happened is not shown.
#[expect(clippy::needless_pass_by_value, reason = "a handle, made for this call")]
fn count(counter: Counter, total: u64) {
    if total > 0 {
        counter.absolute(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let load = Load::default();
        {
            let mut one = Share::of(&load.streams, 2);
            let mut two = Share::of(&load.streams, 2);
            assert!(one.take(1) && two.take(1));
            assert!(!Share::of(&load.streams, 2).take(1));
            assert_eq!(load.streams.load(Ordering::Acquire), 2, "who did not get in takes nothing");
        }
        assert_eq!(load.streams.load(Ordering::Acquire), 0);
    }

    #[test]
    fn frames_have_a_bound() {
        assert_eq!(framed(b"ab").unwrap(), [2, 0, 0, 0, b'a', b'b']);
        assert!(framed(&vec![0; MAX_FRAME + 1]).is_none());
    }

    #[test]
    fn datagrams_leave_through_the_socket_of_their_lane() {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (to, lan, wan) = (socket(), socket(), socket());
        let (lan_at, wan_at) = (lan.local_addr().unwrap(), wan.local_addr().unwrap());
        let mut ports = Ports::default();
        ports.set(Pool::Lan, lan);
        ports.set(Pool::Wan, wan);
        let mut out: Out<()> = Out::new();
        for lane in [1, 0, 7] {
            let mut packet = out.datagram_on(lane, to.local_addr().unwrap());
            packet.write(&[lane]);
            packet.commit();
        }
        ports.send(&mut out);
        assert!(out.is_empty());
        let mut buffer = [0; 8];
        assert_eq!((to.recv_from(&mut buffer).unwrap(), buffer[0]), ((1, wan_at), 1));
        assert_eq!((to.recv_from(&mut buffer).unwrap(), buffer[0]), ((1, lan_at), 0));
    }
}
