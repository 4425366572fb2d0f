//! TLS for clients: whom to trust, and a stream over any byte stream of any runtime.
//!
//! rustls is a state machine without IO; [`TlsStream`] feeds it from hyper's stream traits, so it runs on every
//! runtime that has an adapter to those. The system's roots are read once, when the first certificate is to be checked.

use std::future::poll_fn;
use std::io::{self, BufRead as _, Write as _};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, Connection, RootCertStore};

use crate::client::dial::os_text;
use crate::rt::{Runtime, Stream};

/// Protocols to offer (RFC 7301).
pub type Alpn = &'static [&'static [u8]];
/// HTTP/1.1 only.
pub const HTTP1: Alpn = &[b"http/1.1"];
/// HTTP/2 only.
pub const HTTP2: Alpn = &[b"h2"];

/// How to speak TLS to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Name that the certificate must carry; empty: the host that was dialled.
    pub server_name: String,
    /// Accept any certificate.
    pub skip_verify: bool,
    /// Trust these (PEM, one or many), and not the system's roots.
    pub ca_pem: Option<Vec<u8>>,
    /// Show this certificate: chain (PEM, leaf first) and its key (PEM).
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why there is no TLS session. Words are those of Go's `crypto/tls` where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Our own settings are wrong.
    #[error("tls: {0}")]
    Settings(String),
    /// The server's certificate was refused.
    #[error("tls: failed to verify certificate: x509: {0}")]
    Certificate(String),
    /// The server refused us.
    #[error("remote error: tls: {0}")]
    Alert(String),
    /// It does not speak TLS, or not as we do.
    #[error("tls: {0}")]
    Protocol(String),
    /// The connection broke during the handshake.
    #[error("{0}")]
    Io(String),
}

/// Shakes hands over a connected stream. The caller sets the limit in time.
pub async fn connect<R: Runtime, S: Stream>(
    rt: &R,
    io: S,
    host: &str,
    settings: &Settings,
    alpn: Alpn,
) -> Result<TlsStream<S>, TlsError> {
    let roots = match (&settings.ca_pem, settings.skip_verify) {
        (_, true) => Arc::new(RootCertStore::empty()),
        (Some(pem), false) => Arc::new(roots_from(pem)?),
        (None, false) => match NATIVE_ROOTS.get() {
            Some(roots) => roots.clone(),
            None => rt.blocking(native_roots).await,
        },
    };
    let config = config(settings, roots, alpn)?;
    let name = if settings.server_name.is_empty() { host } else { &settings.server_name };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| TlsError::Settings(format!("{name:?} is no host name: set the server name")))?;
    let session = ClientConnection::new(config, name).map_err(|error| explain(&error))?;
    let mut stream = TlsStream::new(io, session);
    match poll_fn(|cx| stream.poll_handshake(cx)).await {
        Ok(()) => Ok(stream),
        Err(error) => Err(explain_io(&error)),
    }
}

static NATIVE_ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// The system's roots; reads files the first time. One that cannot be parsed is left out.
fn native_roots() -> Arc<RootCertStore> {
    NATIVE_ROOTS
        .get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!("a root certificate could not be read: {error}");
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            Arc::new(roots)
        })
        .clone()
}

fn roots_from(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "CA certificate")? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Settings(format!("CA certificate cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::Settings(format!("{what}: no certificate in PEM form found"))),
        Err(error) => Err(TlsError::Settings(format!("{what}: {error}"))),
    }
}

fn config(settings: &Settings, roots: Arc<RootCertStore>, alpn: Alpn) -> Result<Arc<ClientConfig>, TlsError> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| explain(&error))?;
    let builder = if settings.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider.clone())))
    } else {
        builder.with_root_certificates(roots)
    };
    let mut config = match &settings.identity_pem {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| TlsError::Settings(format!("private key: {error}")))?;
            builder
                .with_client_auth_cert(certificates(chain, "certificate")?, key)
                .map_err(|error| TlsError::Settings(format!("certificate and key do not fit: {error}")))?
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Every connection has a configuration of its own: there is no other session to resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// What `skip_verify` asks for. Nothing is learnt about the peer, so its signatures prove nothing either: they are
/// not looked at, which also lets in certificates that the verifier cannot parse.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake's error: rustls' own are wrapped in an [`io::Error`] on their way through the stream.
fn explain_io(error: &io::Error) -> TlsError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => explain(inner),
        None if error.kind() == io::ErrorKind::UnexpectedEof => TlsError::Io("EOF".to_owned()),
        None => TlsError::Io(format!("read: {}", os_text(error))),
    }
}

fn explain(error: &rustls::Error) -> TlsError {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(problem) => TlsError::Certificate(match problem {
            // A bad signature is one by somebody who only bears the name of a root.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "certificate signed by unknown authority".to_owned()
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                format!("certificate has expired or is not yet valid: {problem}")
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                format!("certificate is valid for {}, not {}", presented.join(", "), expected.to_str())
            }
            other => other.to_string(),
        }),
        E::AlertReceived(alert) => TlsError::Alert(alert_text(&format!("{alert:?}"))),
        E::InvalidMessage(_) | E::InappropriateMessage { .. } => {
            TlsError::Protocol("first record does not look like a TLS handshake".to_owned())
        }
        other => TlsError::Protocol(other.to_string()),
    }
}

/// `HandshakeFailure` to `handshake failure`.
fn alert_text(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// TLS over a byte stream, either side of it.
///
/// Reading ends cleanly when the peer says so (`close_notify`), and also when it just closes between two records, as
/// many servers do; a close inside a record is an error. `poll_shutdown` says `close_notify`, then closes below.
#[derive(Debug)]
pub struct TlsStream<S> {
    io: S,
    session: Connection,
    inbound: Records,
    closing: bool,
    /// What the peer did wrong. It is reported once the alert that tells the peer is on its way.
    failure: Option<rustls::Error>,
}

impl<S: Stream> TlsStream<S> {
    /// Over a connected stream. The handshake is done by the first read or write, or by [`TlsStream::poll_handshake`].
    pub fn new(io: S, session: impl Into<Connection>) -> Self {
        Self { io, session: session.into(), inbound: Records::default(), closing: false, failure: None }
    }

    /// The protocol both agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// Ready when both sides know the keys and all of ours is sent. An error is rustls' own inside an [`io::Error`].
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            ready!(self.poll_send(cx))?;
            if self.session.is_handshaking() && ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Sends all records that are due.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut below = Below { io: &mut self.io, records: &mut self.inbound, cx };
            match self.session.write_tls(&mut below) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once from below and decrypts what is complete. Bytes read; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut read = 0;
        if self.failure.is_none() {
            let mut below = Below { io: &mut self.io, records: &mut self.inbound, cx };
            read = match self.session.read_tls(&mut below) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            };
            self.failure = self.session.process_new_packets().err();
        }
        match &self.failure {
            None => Poll::Ready(Ok(read)),
            Some(failure) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, failure.clone());
                // Whether it reaches the peer or not, this is the error to tell.
                let _ = ready!(self.poll_send(cx));
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: Stream> Read for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut reader = this.session.reader();
            match reader.fill_buf() {
                Ok(plain) => {
                    let count = plain.len().min(into.remaining());
                    into.put_slice(plain.get(..count).unwrap_or_default());
                    reader.consume(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && this.inbound.complete() => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            // What the protocol itself owes the peer. If it cannot be sent, there may still be something to read.
            let _ = this.poll_send(cx);
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<S: Stream> Write for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if from.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            // Takes as much as fits its bounded buffer: nothing while that is full.
            let taken = self.session.writer().write(from)?;
            match self.poll_send(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                _ if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.writer().flush()?;
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.session.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The stream below as rustls wants it: blocking in form, `WouldBlock` when the task is to be woken.
struct Below<'a, 'cx, S> {
    io: &'a mut S,
    records: &'a mut Records,
    cx: &'a mut Context<'cx>,
}

impl<S: Stream> io::Read for Below<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(into);
        match Pin::new(&mut *self.io).poll_read(self.cx, buf.unfilled()) {
            Poll::Ready(result) => result?,
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
        self.records.pass(buf.filled());
        Ok(buf.filled().len())
    }
}

impl<S: Stream> io::Write for Below<'_, '_, S> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write(self.cx, from) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows the borders of the records that went by (RFC 8446 section 5.1: type, version, length, body), to tell a
/// peer that closed without a word from a connection that was cut.
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    have: usize,
    body: usize,
}

impl Records {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.body > 0 {
                let skip = self.body.min(bytes.len());
                self.body -= skip;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == self.header.len() {
                let [_, _, _, high, low] = self.header;
                self.body = usize::from(u16::from_be_bytes([high, low]));
                self.have = 0;
            }
        }
    }

    fn complete(&self) -> bool {
        self.have == 0 && self.body == 0
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
