//! One HTTP request on a connection of its own, with a limit on everything.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// An answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// As text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_string()
    }
}

/// Asks; an error says nothing about whether it was done, except that `None` was never sent.
pub(super) fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    limit: Duration,
) -> Option<Result<Response, String>> {
    let end = Instant::now() + limit;
    let mut stream = TcpStream::connect_timeout(&to, limit).ok()?;
    Some(talk(&mut stream, to, method, path, body, end))
}

fn talk(
    stream: &mut TcpStream,
    to: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    end: Instant,
) -> Result<Response, String> {
    let text = |error: std::io::Error| error.to_string();
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_write_timeout(Some(left())).map_err(text)?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).map_err(text)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if Instant::now() >= end {
            return Err("no answer in time".to_string());
        }
        stream.set_read_timeout(Some(left())).map_err(text)?;
        match stream.read(&mut buffer).map_err(text)? {
            0 => break,
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
    parse(&bytes).ok_or_else(|| "the answer is not whole".to_string())
}

/// A whole answer, with a length or in chunks.
fn parse(bytes: &[u8]) -> Option<Response> {
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..split]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let rest = &bytes[split + 4..];
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body = if let Some(length) = header("content-length:") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else if header("transfer-encoding:") == Some("chunked") {
        chunks(rest)?
    } else {
        rest.to_vec()
    };
    Some(Response { status, body })
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue";
        assert_eq!(parse(plain).map(|r| (r.status, r.text())), Some((200, "true".to_string())));
        assert!(parse(&plain[..plain.len() - 1]).is_none(), "cut off");
        let chunked = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).map(|r| (r.status, r.text())), Some((404, "abcde".to_string())));
        assert!(parse(&chunked[..chunked.len() - 8]).is_none(), "cut off");
        assert!(parse(b"rubbish").is_none());
    }
}
