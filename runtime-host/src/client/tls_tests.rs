//! Against rustls' own blocking stream as the other side.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use super::*;
use crate::client::dial;
use crate::client::testing::{Identity, Tokio, identity, listen, listen_tls, run, server_config};

/// Passes on a few bytes at a time, and says `Pending` in between.
struct Trickle<S> {
    inner: S,
    turn: usize,
}

impl<S> Trickle<S> {
    /// Bytes for this turn; 0: pending.
    fn portion(&mut self, cx: &Context<'_>) -> usize {
        self.turn = (self.turn * 7 + 3) % 1009;
        let portion = self.turn % 97;
        if portion == 0 {
            cx.waker().wake_by_ref();
        }
        portion
    }
}

impl<S: Stream> Read for Trickle<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 97];
        let portion = self.portion(cx).min(into.remaining());
        if portion == 0 {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(&mut chunk[..portion]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf.unfilled()))?;
        into.put_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> Write for Trickle<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let portion = self.portion(cx).min(from.len());
        if portion == 0 {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(cx, &from[..portion])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn trusting(identity: &Identity) -> Settings {
    Settings { ca_pem: Some(identity.cert.clone().into_bytes()), ..Settings::default() }
}

async fn dialled(to: SocketAddr) -> <Tokio as Runtime>::Tcp {
    dial::tcp(&Tokio, &to.to_string()).await.unwrap()
}

async fn handshake(to: SocketAddr, settings: &Settings) -> Result<(), String> {
    connect(&Tokio, dialled(to).await, "127.0.0.1", settings, &[]).await.map(drop).map_err(|error| error.to_string())
}

/// Writes `data` and reads `data.len()` bytes at the same time, as one task.
async fn exchange<S: Stream>(mut stream: S, data: &[u8]) -> Vec<u8> {
    let (mut sent, mut flushed, mut got) = (0, false, Vec::new());
    poll_fn(|cx| {
        loop {
            let mut progress = false;
            if sent < data.len() {
                if let Poll::Ready(count) = Pin::new(&mut stream).poll_write(cx, &data[sent..]) {
                    sent += count.unwrap();
                    progress = true;
                }
            } else if !flushed {
                flushed = Pin::new(&mut stream).poll_flush(cx).is_ready();
            }
            let mut chunk = [0; 5000];
            let mut buf = ReadBuf::new(&mut chunk);
            if let Poll::Ready(result) = Pin::new(&mut stream).poll_read(cx, buf.unfilled()) {
                result.unwrap();
                assert!(!buf.filled().is_empty(), "ended after {} bytes", got.len());
                got.extend_from_slice(buf.filled());
                progress = true;
            }
            if got.len() == data.len() {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
    })
    .await;
    poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await.unwrap();
    got
}

/// All bytes until the end, or the error.
async fn read_all<S: Stream>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut got = Vec::new();
    loop {
        let mut chunk = [0; 1000];
        let mut buf = ReadBuf::new(&mut chunk);
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buf.unfilled())).await?;
        if buf.filled().is_empty() {
            return Ok(got);
        }
        got.extend_from_slice(buf.filled());
    }
}

fn echo_server(identity: &Identity) -> (SocketAddr, std::sync::mpsc::Receiver<io::Result<usize>>) {
    let (tell, told) = std::sync::mpsc::channel();
    let address = listen_tls(server_config(identity, None, &[]), move |stream| {
        let mut chunk = [0; 3000];
        let end = loop {
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 => stream.write_all(&chunk[..count]).unwrap(),
                end => break end,
            }
        };
        let _ = tell.send(end);
    });
    (address, told)
}

#[test]
fn megabytes_both_ways_and_a_farewell() {
    let id = identity(&["127.0.0.1"]);
    let (address, told) = echo_server(&id);
    let data: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    run(async {
        let stream = connect(&Tokio, dialled(address).await, "127.0.0.1", &trusting(&id), &[]).await.unwrap();
        assert!(exchange(stream, &data).await == data);
    });
    // The server saw close_notify: without it rustls would report an unexpected end.
    assert_eq!(told.recv().unwrap().unwrap(), 0);
}

#[test]
fn any_split_of_bytes_below_is_the_same_above() {
    let id = identity(&["127.0.0.1"]);
    let (address, told) = echo_server(&id);
    let data: Vec<u8> = (0..100_000_u32).map(|n| (n % 253) as u8).collect();
    run(async {
        let below = Trickle { inner: dialled(address).await, turn: 1 };
        let stream = connect(&Tokio, below, "127.0.0.1", &trusting(&id), &[]).await.unwrap();
        assert!(exchange(stream, &data).await == data);
    });
    assert_eq!(told.recv().unwrap().unwrap(), 0);
}

#[test]
fn the_end_is_clean_only_between_records() {
    let id = identity(&["127.0.0.1"]);
    let config = server_config(&id, None, &[]);
    let with_notify = listen_tls(config.clone(), |stream| {
        stream.write_all(b"all").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let without = listen_tls(config.clone(), |stream| {
        stream.write_all(b"all").unwrap();
        stream.flush().unwrap();
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.sock.read(&mut [0; 100]);
    });
    let cut = listen_tls(config, |stream| {
        stream.write_all(b"all").unwrap();
        stream.flush().unwrap();
        // A header that promises 100 octets, and 3 of them.
        stream.sock.write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).unwrap();
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.sock.read(&mut [0; 100]);
    });
    run(async {
        for (server, clean) in [(with_notify, true), (without, true), (cut, false)] {
            let mut stream = connect(&Tokio, dialled(server).await, "127.0.0.1", &trusting(&id), &[]).await.unwrap();
            match read_all(&mut stream).await {
                Ok(got) => assert!(clean && got == b"all", "{clean} {got:?}"),
                Err(error) => assert!(!clean && error.kind() == io::ErrorKind::UnexpectedEof, "{clean} {error}"),
            }
        }
    });
}

#[test]
fn trust_and_names() {
    let (id, other) = (identity(&["127.0.0.1", "good.example"]), identity(&["127.0.0.1"]));
    let (address, _told) = echo_server(&id);
    run(async {
        handshake(address, &trusting(&id)).await.unwrap();
        handshake(address, &Settings { skip_verify: true, ..Settings::default() }).await.unwrap();
        handshake(address, &Settings { server_name: "good.example".into(), ..trusting(&id) }).await.unwrap();
        let error = handshake(address, &trusting(&other)).await.unwrap_err();
        assert_eq!(error, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
        let error = handshake(address, &Settings::default()).await.unwrap_err();
        assert_eq!(error, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
        let error =
            handshake(address, &Settings { server_name: "bad.example".into(), ..trusting(&id) }).await.unwrap_err();
        assert!(error.contains("x509: certificate is valid for ") && error.contains("not bad.example"), "{error}");
        let error = handshake(address, &Settings { server_name: "no name".into(), ..trusting(&id) }).await.unwrap_err();
        assert_eq!(error, "tls: \"no name\" is no host name: set the server name");
        let error =
            handshake(address, &Settings { ca_pem: Some(b"junk".to_vec()), ..Settings::default() }).await.unwrap_err();
        assert_eq!(error, "tls: CA certificate: no certificate in PEM form found");
    });
}

#[test]
fn shows_a_certificate_when_asked() {
    let (id, client) = (identity(&["127.0.0.1"]), identity(&["client"]));
    let address = listen_tls(server_config(&id, Some(&client), &[]), |stream| {
        let _ = stream.write_all(b"welcome");
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = stream.sock.read(&mut [0; 100]);
    });
    let mine = (client.cert.clone().into_bytes(), client.key.clone().into_bytes());
    run(async {
        let settings = Settings { identity_pem: Some(mine), ..trusting(&id) };
        let mut stream = connect(&Tokio, dialled(address).await, "127.0.0.1", &settings, &[]).await.unwrap();
        assert_eq!(read_all(&mut stream).await.unwrap(), b"welcome");
        // In TLS 1.3 the refusal comes after our side of the handshake is done.
        let mut stream = connect(&Tokio, dialled(address).await, "127.0.0.1", &trusting(&id), &[]).await.unwrap();
        let error = read_all(&mut stream).await.unwrap_err();
        assert_eq!(explain_io(&error).to_string(), "remote error: tls: certificate required");
    });
}

#[test]
fn a_peer_that_speaks_something_else() {
    let chatter = listen(|mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        let _ = stream.read(&mut [0; 1000]);
    });
    let silent = listen(|mut stream| {
        let _ = stream.read(&mut [0; 1000]);
    });
    run(async {
        let error = handshake(chatter, &Settings::default()).await.unwrap_err();
        assert_eq!(error, "tls: first record does not look like a TLS handshake");
        let error = handshake(silent, &Settings::default()).await.unwrap_err();
        assert!(error == "EOF" || error == "read: connection reset by peer", "{error}");
    });
}

#[test]
fn records_are_told_apart_at_any_split() {
    let wire = [&[23, 3, 3, 0, 2, 9, 9][..], &[23, 3, 3, 0, 0], &[21, 3, 3, 1, 0], &[7; 256]].concat();
    let borders = [0, 7, 12, 12 + 5 + 256];
    for piece in [1, 2, 3, 5, 7, 300] {
        let mut records = Records::default();
        let mut passed = 0;
        for bytes in wire.chunks(piece) {
            records.pass(bytes);
            passed += bytes.len();
            assert_eq!(records.complete(), borders.contains(&passed), "{piece} {passed}");
        }
    }
}
