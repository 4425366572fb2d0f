//! What the shared async code needs of a runtime: native sockets, a timer, tasks. Nothing of the protocol.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

/// A byte stream in hyper's terms.
pub trait Stream: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static {}
impl<T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static> Stream for T {}

/// A runtime: implemented once over tokio's types and once over smol's.
///
/// Everything is `'static` and cheap to clone; `Self` is usually a unit type.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connected TCP stream.
    type Tcp: Stream;
    /// A connected unix stream.
    type Unix: Stream;
    /// A UDP socket.
    type Udp: Udp;
    /// A TCP listener.
    type Listener: Listener;
    /// A unix listener.
    type UnixListener: Listener;

    /// Connects within the caller's timeout.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Tcp>> + Send;
    /// Connects to a unix socket.
    fn connect_unix(&self, path: &Path) -> impl Future<Output = io::Result<Self::Unix>> + Send;
    /// Takes over a bound, non-blocking UDP socket.
    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<Self::Udp>;
    /// Takes over a bound, listening TCP socket.
    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener>;
    /// Takes over a connected, non-blocking unix socket.
    fn unix(&self, socket: std::os::unix::net::UnixStream) -> io::Result<Self::Unix>;
    /// Takes over a bound, listening unix socket.
    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<Self::UnixListener>;
    /// Completes after this long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + Sync + 'static;
    /// Runs a task until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// Runs something that blocks (name lookup, waiting for a child) off the async threads.
    fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send;
}

/// A UDP socket.
pub trait Udp: Send + Sync + 'static {
    /// Receives one datagram.
    fn recv_from(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;
    /// Calls `f` with the socket's descriptor as soon as there is something to receive; again after `WouldBlock`.
    fn when_readable<T: Send>(
        &self,
        f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send,
    ) -> impl Future<Output = io::Result<T>> + Send;
    /// Calls `f` with the socket's descriptor as soon as there is room to send; again after `WouldBlock`.
    fn when_writable<T: Send>(
        &self,
        f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send,
    ) -> impl Future<Output = io::Result<T>> + Send;
    /// Sends one datagram over a connected socket.
    fn send(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// Sends one datagram.
    fn send_to(&self, buf: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<usize>> + Send;
}

/// A listener.
pub trait Listener: Send + Sync + 'static {
    /// What it accepts.
    type Stream: Stream;
    /// The next connection and who it is from; nobody can say over a unix socket.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;
}

/// What is not acknowledged for so long ends a connection of ours: else the kernel would go on for a quarter of an hour,
/// with pauses so long that a network that is back is not noticed for minutes.
const SILENCE: Duration = Duration::from_secs(5);

/// Has the kernel end this connection when its peer does not acknowledge any more.
pub fn give_up_on_silence(stream: &impl std::os::fd::AsFd) {
    // Where the system cannot, connections live as long as they do.
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(SILENCE));
}

/// The first of two futures; the other is dropped. `Ok` for the first, `Err` for the second.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Result<A::Output, B::Output> {
    futures_lite::future::or(async { Ok(a.await) }, async { Err(b.await) }).await
}

/// `future` within `limit`; `None` when it was not done by then.
pub async fn within<R: Runtime, F: Future>(rt: &R, limit: Duration, future: F) -> Option<F::Output> {
    race(future, rt.sleep(limit)).await.ok()
}
