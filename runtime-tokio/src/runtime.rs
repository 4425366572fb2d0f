//! [`Runtime`] over tokio's own types.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use convoke_host::process::Task;
use convoke_host::rt::{self, Runtime};
use hyper_util::rt::TokioIo as Io;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use tokio::runtime::{Builder, Handle};

/// Threads for work that blocks (name lookups, files, waiting for scripts).
const BLOCKING_THREADS: usize = 64;
/// Bytes of stack of a worker: the deepest thing there is parses a bounded document.
const STACK: usize = 1 << 20;

/// Tokio, once it runs: events also come from threads of our own (signals, the disk), which have no runtime around
/// them, so it is kept at hand.
#[derive(Clone, Debug, Default)]
pub struct Tokio(Arc<OnceLock<Handle>>);

/// Runs `main` to its end with a worker per core, four at most.
///
/// # Errors
///
/// When the system gives no threads or no epoll.
pub fn serve<T>(tokio: &Tokio, main: Task<'_, T>) -> io::Result<T> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = build(Builder::new_multi_thread().worker_threads(workers))?;
    let _ = tokio.0.set(runtime.handle().clone());
    let out = runtime.block_on(main);
    // Probes that hang must not keep the process.
    runtime.shutdown_background();
    Ok(out)
}

/// Runs `main` to its end on this thread: starts at once, for short commands.
///
/// # Errors
///
/// When the system gives no epoll.
pub fn once<T>(_: &Tokio, main: Task<'_, T>) -> io::Result<T> {
    Ok(build(&mut Builder::new_current_thread())?.block_on(main))
}

fn build(builder: &mut Builder) -> io::Result<tokio::runtime::Runtime> {
    builder
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(5))
        .thread_stack_size(STACK)
        .enable_all()
        .build()
}

impl Runtime for Tokio {
    type Tcp = Io<TcpStream>;
    type Unix = Io<UnixStream>;
    type Udp = Udp;
    type Listener = Listener;
    type UnixListener = ListenerUnix;

    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Tcp> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        rt::give_up_on_silence(&stream);
        Ok(Io::new(stream))
    }

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::Unix> {
        Ok(Io::new(UnixStream::connect(path).await?))
    }

    fn unix(&self, socket: std::os::unix::net::UnixStream) -> io::Result<Self::Unix> {
        socket.set_nonblocking(true)?;
        Ok(Io::new(UnixStream::from_std(socket)?))
    }

    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<Self::Udp> {
        socket.set_nonblocking(true)?;
        Ok(Udp(UdpSocket::from_std(socket)?))
    }

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener> {
        socket.set_nonblocking(true)?;
        Ok(Listener(TcpListener::from_std(socket)?))
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<Self::UnixListener> {
        socket.set_nonblocking(true)?;
        Ok(ListenerUnix(UnixListener::from_std(socket)?))
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + Sync + 'static {
        tokio::time::sleep(duration)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.0.get() {
            Some(handle) => drop(handle.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(f).await {
            Ok(value) => value,
            // The closure panicked (a bug) or the runtime is going down: this task goes the same way.
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// A tokio UDP socket.
#[derive(Debug)]
pub struct Udp(UdpSocket);

impl rt::Udp for Udp {
    async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buf).await
    }

    async fn when_readable<T: Send>(&self, mut f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, || f(self.0.as_fd())).await
    }

    async fn when_writable<T: Send>(&self, mut f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        self.0.async_io(Interest::WRITABLE, || f(self.0.as_fd())).await
    }

    async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.send(buf).await
    }

    async fn send_to(&self, buf: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.send_to(buf, to).await
    }
}

/// A tokio TCP listener.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl rt::Listener for Listener {
    type Stream = Io<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Io::new(stream), Some(peer)))
    }
}

/// A tokio unix listener.
#[derive(Debug)]
pub struct ListenerUnix(UnixListener);

impl rt::Listener for ListenerUnix {
    type Stream = Io<UnixStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, _) = self.0.accept().await?;
        Ok((Io::new(stream), None))
    }
}
