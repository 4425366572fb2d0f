//! [`Runtime`] over smol's own types.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use convoke_host::process::Task;
use convoke_host::rt::{self, Runtime};
use smol::net::unix::{UnixListener, UnixStream};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Timer};

use crate::io::Io;

/// Smol, on its global executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

/// Runs `main` on this thread, and what it spawns on smol's global executor, to its end.
///
/// # Errors
///
/// Never; the signature is that of any runtime.
pub fn run<T>(_: &Smol, main: Task<'_, T>) -> io::Result<T> {
    Ok(smol::block_on(main))
}

impl Runtime for Smol {
    type Tcp = Io<TcpStream>;
    type Unix = Io<UnixStream>;
    type Udp = Udp;
    type Listener = Listener;
    type UnixListener = ListenerUnix;

    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Tcp> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        rt::give_up_on_silence(&stream);
        Ok(Io(stream))
    }

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::Unix> {
        Ok(Io(UnixStream::connect(path).await?))
    }

    fn unix(&self, socket: std::os::unix::net::UnixStream) -> io::Result<Self::Unix> {
        Ok(Io(UnixStream::from(Async::new(socket)?)))
    }

    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp> {
        Ok(Udp(Async::new(socket)?))
    }

    fn listen(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener> {
        Ok(Listener(TcpListener::from(Async::new(socket)?)))
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<Self::UnixListener> {
        Ok(ListenerUnix(UnixListener::from(Async::new(socket)?)))
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + Sync + 'static {
        let timer = Timer::after(duration);
        async move {
            timer.await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }

    async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        smol::unblock(f).await
    }
}

/// A smol UDP socket.
#[derive(Debug)]
pub struct Udp(Async<UdpSocket>);

impl rt::Udp for Udp {
    async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buf).await
    }

    async fn when_readable<T: Send>(&self, mut f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        self.0.read_with(|socket| f(socket.as_fd())).await
    }

    async fn when_writable<T: Send>(&self, mut f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        self.0.write_with(|socket| f(socket.as_fd())).await
    }

    async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.send(buf).await
    }

    async fn send_to(&self, buf: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.send_to(buf, to).await
    }
}

/// A smol TCP listener.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl rt::Listener for Listener {
    type Stream = Io<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Io(stream), Some(peer)))
    }
}

/// A smol unix listener.
#[derive(Debug)]
pub struct ListenerUnix(UnixListener);

impl rt::Listener for ListenerUnix {
    type Stream = Io<UnixStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, _) = self.0.accept().await?;
        Ok((Io(stream), None))
    }
}
