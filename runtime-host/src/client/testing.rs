//! For tests: a runtime (tokio's types behind hyper's traits), servers, certificates.

use std::future::Future;
use std::io;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::rt::{Listener, Runtime, Udp};

/// tokio, for tests.
#[derive(Clone, Debug)]
pub struct Tokio;

/// Runs a test's future.
pub fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// A tokio stream as hyper wants it.
#[derive(Debug)]
pub struct Io<T>(pub T);

impl<T: AsyncRead + Unpin> hyper::rt::Read for Io<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 4096];
        let size = into.remaining().min(chunk.len());
        let mut buf = tokio::io::ReadBuf::new(&mut chunk[..size]);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        into.put_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> hyper::rt::Write for Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Udp for tokio::net::UdpSocket {
    async fn when_readable<T: Send>(&self, mut f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        self.async_io(tokio::io::Interest::READABLE, || f(self.as_fd())).await
    }

    async fn when_writable<T: Send>(&self, mut f: impl FnMut(BorrowedFd<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        self.async_io(tokio::io::Interest::WRITABLE, || f(self.as_fd())).await
    }

    async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buf).await
    }

    async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send(buf).await
    }

    async fn send_to(&self, buf: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_to(buf, to).await
    }
}

impl Listener for tokio::net::TcpListener {
    type Stream = Io<tokio::net::TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        self.accept().await.map(|(stream, from)| (Io(stream), Some(from)))
    }
}

impl Listener for tokio::net::UnixListener {
    type Stream = Io<tokio::net::UnixStream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        self.accept().await.map(|(stream, _)| (Io(stream), None))
    }
}

impl Runtime for Tokio {
    type Tcp = Io<tokio::net::TcpStream>;
    type Unix = Io<tokio::net::UnixStream>;
    type Udp = tokio::net::UdpSocket;
    type Listener = tokio::net::TcpListener;
    type UnixListener = tokio::net::UnixListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Tcp> {
        tokio::net::TcpStream::connect(to).await.map(Io)
    }

    async fn connect_unix(&self, path: &Path) -> io::Result<Self::Unix> {
        tokio::net::UnixStream::connect(path).await.map(Io)
    }

    fn unix(&self, socket: std::os::unix::net::UnixStream) -> io::Result<Self::Unix> {
        tokio::net::UnixStream::from_std(socket).map(Io)
    }

    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<Self::Udp> {
        tokio::net::UdpSocket::from_std(socket)
    }

    fn listen(&self, socket: TcpListener) -> io::Result<Self::Listener> {
        tokio::net::TcpListener::from_std(socket)
    }

    fn listen_unix(&self, socket: std::os::unix::net::UnixListener) -> io::Result<Self::UnixListener> {
        tokio::net::UnixListener::from_std(socket)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + Sync + 'static {
        tokio::time::sleep(duration)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(f).await.unwrap()
    }
}

/// An address that refuses connections.
pub fn refused() -> SocketAddr {
    // Outbound connections never get a port of a listener's range that was just closed: nobody else listens on it.
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that hands every connection to `serve` on a thread, as long as the test process lives.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Head and body of an HTTP/1 request, as text.
pub fn read_request(stream: &mut impl io::Read) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&seen).into_owned();
        }
        seen.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&seen).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    seen.extend(body);
    String::from_utf8_lossy(&seen).into_owned()
}

/// An HTTP/1 server that answers each request with the bytes that `answer` makes of it, then closes.
pub fn http(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    listen(move |mut stream| {
        let request = read_request(&mut stream);
        let _ = stream.write_all(answer(&request).as_bytes());
    })
}

/// `HTTP/1.1 200 OK` with a body and its length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A self-signed certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// Certificate.
    pub cert: String,
    /// Key.
    pub key: String,
}

/// For these names.
pub fn identity(names: &[&str]) -> Identity {
    let made =
        rcgen::generate_simple_self_signed(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    Identity { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

/// A server's side of TLS that shows `identity`, and asks for a certificate by `client` if there is one.
pub fn server_config(identity: &Identity, client: Option<&Identity>, alpn: &[&[u8]]) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(client.cert.as_bytes()).unwrap()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// A blocking TLS stream of rustls' own, the server's side.
pub type ServerTls = rustls::StreamOwned<rustls::ServerConnection, TcpStream>;

/// A server that speaks TLS.
pub fn listen_tls(
    config: Arc<rustls::ServerConfig>,
    serve: impl Fn(&mut ServerTls) + Send + Sync + 'static,
) -> SocketAddr {
    listen(move |stream| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        serve(&mut rustls::StreamOwned::new(session, stream));
    })
}
