//! From `host:port` to a connected stream.
//!
//! Names are looked up by the system's resolver on a blocking thread: the only way to honour `/etc/hosts` and
//! `nsswitch.conf`. A lookup cannot be interrupted; one that outlasts the check keeps its thread until the resolver
//! gives up, but nobody waits for it.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::rt::Runtime;

/// The next address is tried when the one before has not answered for this long (RFC 8305 section 5, Go's figure).
const STAGGER: Duration = Duration::from_millis(300);

/// Addresses of one name that are tried.
const ADDRESSES: usize = 16;

/// Why there is no connection, in the words of Go's `net` package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The text is not `host:port`.
    #[error("dial {network}: address {address}: {problem}")]
    Address {
        /// `tcp` or `udp`.
        network: &'static str,
        /// As given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The name has no address.
    #[error("dial {network}: lookup {host}: {reason}")]
    Lookup {
        /// `tcp` or `udp`.
        network: &'static str,
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The address did not take the connection.
    #[error("dial {network} {address}: connect: {reason}")]
    Connect {
        /// `tcp`, `udp` or `unix`.
        network: &'static str,
        /// Address with port, or path.
        address: String,
        /// What the system said.
        reason: String,
    },
}

impl DialError {
    /// The text without `dial <network> <address>: `, for those who say that themselves.
    pub fn reason(&self) -> String {
        match self {
            DialError::Address { problem, .. } => (*problem).to_owned(),
            DialError::Lookup { host, reason, .. } => format!("lookup {host}: {reason}"),
            DialError::Connect { reason, .. } => format!("connect: {reason}"),
        }
    }
}

/// What the system said, in Go's words: lower case, without the number.
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // `EOF` and the like stay.
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// Splits `host:port` or `[host]:port`. The host may be empty (this machine), the port may not.
pub fn split_host_port<'a>(network: &'static str, address: &'a str) -> Result<(&'a str, u16), DialError> {
    let bad = |problem| DialError::Address { network, address: address.to_owned(), problem };
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| bad("missing ']' in address"))?;
        (host, after.strip_prefix(':').ok_or_else(|| bad("missing port in address"))?)
    } else {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("missing port in address"))?;
        if host.contains(':') {
            return Err(bad("too many colons in address"));
        }
        (host, port)
    };
    match port.parse() {
        Ok(port) => Ok((host, port)),
        Err(_) => Err(bad("invalid port")),
    }
}

/// The addresses of `host:port`, best first, at least one.
pub async fn resolve<R: Runtime>(rt: &R, network: &'static str, address: &str) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = split_host_port(network, address)?;
    if host.is_empty() {
        return Ok(vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)]);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |reason: String| DialError::Lookup { network, host: host.to_owned(), reason };
    // Would otherwise reach the resolver as an odd name, or end at its NUL.
    if host.len() > 253 || host.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return Err(failed("no such host".to_owned()));
    }
    let name = host.to_owned();
    let found = rt.blocking(move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect));
    let found: Vec<SocketAddr> = found.await.map_err(|error| failed(lookup_text(&error)))?;
    if found.is_empty() {
        return Err(failed("no such host".to_owned()));
    }
    Ok(alternate(found))
}

/// getaddrinfo's errors carry a prefix of their own and no number.
fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    match text {
        "Name or service not known" | "No address associated with hostname" => "no such host".to_owned(),
        "Temporary failure in name resolution" => "server misbehaving".to_owned(),
        other => other.to_owned(),
    }
}

/// The two families in turn, each in the resolver's order, starting with the family it put first.
fn alternate(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut out = Vec::new();
    while out.len() < ADDRESSES {
        let before = out.len();
        out.extend(one.next());
        out.extend(other.next());
        if out.len() == before {
            break;
        }
    }
    out
}

/// Connects to `host:port`: addresses in turn, the next one as soon as one fails or is silent for 300 ms, the first
/// that connects wins. The caller sets the limit in time. The error is that of the first address.
pub async fn tcp<R: Runtime>(rt: &R, address: &str) -> Result<R::Tcp, DialError> {
    let addresses = resolve(rt, "tcp", address).await?;
    first(rt, addresses, |to| connect(rt, to)).await
}

type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T, DialError>> + Send + 'a>>;

/// The first of these, at least one, that connects.
async fn first<'a, R: Runtime, T, F: Future<Output = Result<T, DialError>> + Send + 'a>(
    rt: &R,
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, DialError> {
    let mut rest = addresses.into_iter();
    let mut running: Vec<Attempt<'a, T>> = Vec::new();
    let mut first_error = None;
    loop {
        if let Some(to) = rest.next() {
            running.push(Box::pin(connect(to)));
        }
        let finished = poll_fn(|cx| {
            for at in 0..running.len() {
                if let Some(Poll::Ready(result)) = running.get_mut(at).map(|attempt| attempt.as_mut().poll(cx)) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(result);
                }
            }
            Poll::Pending
        });
        let finished =
            if rest.len() > 0 { crate::rt::within(rt, STAGGER, finished).await } else { Some(finished.await) };
        match finished {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                let error = first_error.get_or_insert(error);
                if running.is_empty() && rest.len() == 0 {
                    return Err(error.clone());
                }
            }
            None => {}
        }
    }
}

async fn connect<R: Runtime>(rt: &R, to: SocketAddr) -> Result<R::Tcp, DialError> {
    rt.connect(to).await.map_err(|error| DialError::Connect {
        network: "tcp",
        address: to.to_string(),
        reason: os_text(&error),
    })
}

/// Connects to a unix socket.
pub async fn unix<R: Runtime>(rt: &R, path: &Path) -> Result<R::Unix, DialError> {
    rt.connect_unix(path).await.map_err(|error| DialError::Connect {
        network: "unix",
        address: path.display().to_string(),
        reason: os_text(&error),
    })
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
