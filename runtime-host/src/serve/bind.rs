//! Sockets, bound before anything runs, so that a port in use ends the start with a clear error.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Receive buffer of a DNS socket: room for some thousand queries while the process is scheduled elsewhere.
const UDP_BUFFER: usize = 1 << 20;

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for {what} on {address}: {error}{hint}")]
pub struct BindError {
    what: &'static str,
    address: String,
    error: io::Error,
    hint: &'static str,
}

impl BindError {
    fn new(what: &'static str, address: String, error: io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; another process has this port: stop it, or choose another port in `ports` (-http-port, -dns-port, \
                 -server-port, -serf-lan-port, -serf-wan-port)"
            }
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose a higher port"
            }
            io::ErrorKind::AddrNotAvailable => {
                "; no interface of this host has this address: check client_addr, addresses and bind_addr"
            }
            _ => "",
        };
        Self { what, address, error, hint }
    }
}

/// A listening TCP socket.
///
/// # Errors
///
/// [`BindError`], with what to do about it.
pub fn tcp(what: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || -> io::Result<TcpListener> {
        let s = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        s.set_reuse_address(true)?;
        s.bind(&address.into())?;
        s.listen(BACKLOG)?;
        Ok(s.into())
    };
    bind().map_err(|e| BindError::new(what, address.to_string(), e))
}

/// `n` UDP sockets on one address, among which the kernel spreads the senders.
///
/// # Errors
///
/// [`BindError`]. The first is bound without sharing and closed again, since sharing would hide a second agent.
pub fn udp(what: &'static str, address: SocketAddr, n: usize) -> Result<Vec<UdpSocket>, BindError> {
    let one = |share: bool| -> io::Result<UdpSocket> {
        let s = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        s.set_reuse_port(share)?;
        // The kernel may grant less; that is no reason not to start.
        let _ = s.set_recv_buffer_size(UDP_BUFFER);
        s.bind(&address.into())?;
        Ok(s.into())
    };
    let all = || -> io::Result<Vec<UdpSocket>> {
        if n <= 1 {
            return Ok(vec![one(false)?]);
        }
        drop(one(false)?);
        (0..n).map(|_| one(true)).collect()
    };
    all().map_err(|e| BindError::new(what, address.to_string(), e))
}

/// A listening unix socket; a dead one in its place is removed.
///
/// # Errors
///
/// [`BindError`].
pub fn unix(what: &'static str, path: &Path) -> Result<UnixSocket, BindError> {
    let bind = || -> io::Result<UnixListener> {
        match UnixListener::bind(path) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(e);
                }
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            other => other,
        }
    };
    let listener = bind().map_err(|e| BindError::new(what, path.display().to_string(), e))?;
    Ok(UnixSocket { listener, path: path.to_owned() })
}

/// A unix socket and the file it leaves behind.
#[derive(Debug)]
pub struct UnixSocket {
    /// The socket.
    pub listener: UnixListener,
    /// Its file, to be removed at the end.
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_advice() {
        let held = tcp("HTTP", "127.0.0.1:0".parse().unwrap()).unwrap();
        let at = held.local_addr().unwrap();
        let text = tcp("HTTP", at).unwrap_err().to_string();
        assert!(text.contains(&at.to_string()) && text.contains("choose another port"), "{text}");
        let held = udp("DNS", "127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let at = held[0].local_addr().unwrap();
        assert!(udp("DNS", at, 2).unwrap_err().to_string().contains("choose another port"));
    }

    #[test]
    fn an_address_of_nobody_is_explained() {
        let text = tcp("HTTP", "192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(text.contains("no interface of this host"), "{text}");
    }

    #[test]
    fn a_dead_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("convoke-sock-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let live = unix("HTTP", &path).unwrap();
        assert!(unix("HTTP", &path).is_err());
        drop(live);
        unix("HTTP", &path).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
