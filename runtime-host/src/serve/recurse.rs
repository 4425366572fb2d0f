//! Carries packets between a pure [`Recursion`] and upstream servers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use convoke_core::dns::{Ask, Recursion, Step, Transport, Verdict};

use crate::driver::Driver;
use crate::rt::{Runtime, Udp, within};
use crate::serve::dns::{MAX_MESSAGE, Settings, read_exact, write_all};

/// Drives it to its end; the reply for the client, empty if there is none. Without `allowed` (too many are under way)
/// nobody is asked, and the client gets what it gets when nobody answers.
pub(super) async fn run<R: Runtime>(
    driver: &Driver<R>,
    settings: &Settings,
    mut recursion: Recursion,
    allowed: bool,
) -> Vec<u8> {
    let rt = driver.runtime();
    while let Step::Ask(ask) = recursion.step() {
        let Ask { upstream, transport, timeout, .. } = ask;
        let packet = ask.packet.to_vec();
        if !allowed {
            recursion.no_reply();
            continue;
        }
        match transport {
            Transport::Udp => udp(rt, upstream, &packet, timeout, &mut recursion).await,
            Transport::Tcp => match within(rt, timeout, tcp(rt, upstream, &packet)).await {
                Some(Ok(reply)) if recursion.reply(&reply) == Verdict::Taken => {}
                _ => recursion.no_reply(),
            },
        }
    }
    let snapshot = driver.published();
    let now = Driver::<R>::unix_now().as_secs();
    let mut reply = vec![0; MAX_MESSAGE];
    let len = recursion.finish(&snapshot.view, &settings.current(), now, &mut reply);
    reply.truncate(len.unwrap_or(0));
    reply
}

/// From a socket of its own, whose random port is half of the protection against forged replies (RFC 5452).
async fn udp<R: Runtime>(rt: &R, upstream: SocketAddr, packet: &[u8], timeout: Duration, recursion: &mut Recursion) {
    let any = if upstream.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let socket = UdpSocket::bind(any).and_then(|s| {
        s.set_nonblocking(true)?;
        // Connected: datagrams of others do not arrive, and a closed port is an error at once.
        s.connect(upstream)?;
        rt.udp(s)
    });
    let Ok(socket) = socket else { return recursion.no_reply() };
    if socket.send(packet).await.is_err() {
        return recursion.no_reply();
    }
    let end = Instant::now() + timeout;
    let mut buf = vec![0; MAX_MESSAGE];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match within(rt, left, socket.recv_from(&mut buf)).await {
            Some(Ok((n, _))) if recursion.reply(&buf[..n]) == Verdict::Taken => return,
            Some(Ok(_)) if !left.is_zero() => {}
            _ => return recursion.no_reply(),
        }
    }
}

async fn tcp<R: Runtime>(rt: &R, upstream: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = rt.connect(upstream).await?;
    let len = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    write_all(&mut stream, &framed).await?;
    let mut head = [0; 2];
    read_exact(&mut stream, &mut head).await?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(head))];
    read_exact(&mut stream, &mut reply).await?;
    Ok(reply)
}
