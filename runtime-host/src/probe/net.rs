//! A TCP connection, and a UDP datagram.
//!
//! Errors are what follows `dial tcp <address>: `; the core writes that before them.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use convoke_core::probe::{Outcome, Tls};
use hyper::rt::Write as _;

use crate::client::dial::{self, os_text};
use crate::client::fetch::Deadline;
use crate::client::tls;
use crate::probe::{failed, settings};
use crate::rt::{Runtime, Udp as _, within};

/// Connects, and shakes hands if `tls`. The caller sets the limit in time.
pub async fn tcp<R: Runtime>(rt: &R, address: &str, tls: Option<&Tls>) -> Outcome {
    let stream = match dial::tcp(rt, address).await {
        Ok(stream) => stream,
        Err(error) => return failed(&error.reason()),
    };
    let Some(tls) = tls else {
        return Outcome::Ok { detail: String::new() };
    };
    let host = dial::split_host_port("tcp", address).map_or("", |(host, _)| host);
    match tls::connect(rt, stream, host, &settings(tls), &[]).await {
        Ok(mut stream) => {
            // A word of farewell keeps the server's log clean; it fits the socket's buffer, or nobody misses it.
            futures_lite::future::poll_once(poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx))).await;
            Outcome::Ok { detail: String::new() }
        }
        Err(error) => failed(&error),
    }
}

/// Sends a datagram (one line feed) and waits until the timeout. An answer or silence is healthy; an ICMP error that
/// comes back meanwhile is not.
pub async fn udp<R: Runtime>(rt: &R, address: &str, timeout: Duration) -> Outcome {
    let deadline = Deadline::after(timeout);
    let to = match within(rt, timeout, dial::resolve(rt, "udp", address)).await {
        None => return Outcome::TimedOut { output: Vec::new() },
        Some(Err(error)) => return failed(&error.reason()),
        Some(Ok(addresses)) => addresses,
    };
    let Some(to) = to.first().copied() else {
        return failed("no address");
    };
    let socket = match open::<R>(rt, to) {
        Ok(socket) => socket,
        Err(error) => return failed(&format!("connect: {}", os_text(&error))),
    };
    let mut answer = [0; 1];
    match within(rt, deadline.left(), socket.recv_from(&mut answer)).await {
        // A datagram of no bytes, and one that is longer than the buffer, are answers, too.
        None | Some(Ok(_)) => Outcome::Ok { detail: String::new() },
        Some(Err(error)) => failed(&format!("read: {}", os_text(&error))),
    }
}

/// A socket connected to `to`, so that ICMP errors reach it, with the datagram sent.
fn open<R: Runtime>(rt: &R, to: SocketAddr) -> io::Result<R::Udp> {
    let any: SocketAddr =
        if to.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    socket.send(b"\n")?;
    rt.udp(socket)
}
