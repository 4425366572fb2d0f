//! What the command line asks of a runtime: one HTTP exchange with an agent.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

/// The most that [`Transport::call`] keeps of one answer, in bytes.
pub const MAX_BODY: usize = 512 << 20;

/// Where an agent's HTTP API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over TCP.
    Tcp {
        /// `https`.
        tls: bool,
        /// Name or IP address, without brackets.
        host: String,
        /// 1 to 65,535.
        port: u16,
        /// What stands before every path: empty, or `/...` without a slash at the end.
        prefix: String,
    },
    /// Over a unix socket, without TLS.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host:port`, `http://...`, `https://...` or `unix://...`. `tls` is what a bare `host:port` means.
    ///
    /// # Errors
    /// Another scheme, no host, or a port that is none.
    pub fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let (tls, rest, default_port) = match text.split_once("://") {
            None => (tls, text, if tls { 443 } else { 80 }),
            Some(("http", rest)) => (false, rest, 80),
            Some(("https", rest)) => (true, rest, 443),
            Some(("unix", "")) => return Err(format!("no path of a socket in the address {text:?}")),
            Some(("unix", path)) => return Ok(Self::Unix(PathBuf::from(path))),
            Some((other, _)) => {
                return Err(format!("Unknown protocol scheme: {other} (use http, https or unix)"));
            }
        };
        let (authority, prefix) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_port(authority);
        let port = match port {
            None | Some("") => default_port,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(format!("invalid port {digits:?} in the address {text:?}: use 1 to 65535")),
            },
        };
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control() || "@?#\\".contains(c)) {
            return Err(format!("no usable host in the address {text:?}"));
        }
        Ok(Self::Tcp { tls, host: host.to_owned(), port, prefix: encode(prefix.trim_end_matches('/'), true) })
    }

    /// As a URL without a path, for messages.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Tcp { tls, prefix, .. } => {
                format!("{}://{}{prefix}", if *tls { "https" } else { "http" }, self.authority())
            }
            Self::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    /// What belongs into the `Host` header: `host:port`; `localhost` for a unix socket.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// `host:port`, `[v6]:port`, a bare v6 address or a bare host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, tail)) => (host, Some(tail.strip_prefix(':').unwrap_or(tail))),
            None => ("", None),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

/// How to speak TLS to the agent. Nothing of it matters unless the address says `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file with authorities to trust; with `ca_path` unset and this unset: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Folder of such files.
    pub ca_path: Option<PathBuf>,
    /// PEM file with the certificate to present.
    pub client_cert: Option<PathBuf>,
    /// PEM file with its key.
    pub client_key: Option<PathBuf>,
    /// The name expected in the agent's certificate; `None`: the host of the address.
    pub server_name: Option<String>,
    /// Verify the agent's certificate at all.
    pub verify: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { ca_file: None, ca_path: None, client_cert: None, client_key: None, server_name: None, verify: true }
    }
}

/// One request to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// Where to.
    pub base: Address,
    /// How, if by `https`.
    pub tls: TlsOptions,
    /// `GET`, `PUT`, `DELETE`, ...
    pub method: &'static str,
    /// Absolute, not yet percent-encoded, without [`Address::Tcp::prefix`].
    pub path: String,
    /// Pairs, not yet percent-encoded.
    pub query: Vec<(String, String)>,
    /// Without `Host` and `Content-Length`, which the transport adds.
    pub headers: Vec<(&'static str, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// For the whole exchange; `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

impl CallRequest {
    /// The request target, percent-encoded: prefix, path and query.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = match &self.base {
            Address::Tcp { prefix, .. } => prefix.clone(),
            Address::Unix(_) => String::new(),
        };
        target.push_str(&encode(&self.path, true));
        for (at, (key, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(&encode(key, false));
            target.push('=');
            target.push_str(&encode(value, false));
        }
        target
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986, section 2.3, and those that may stay in a path.
fn encode(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (path && b"/:@!$&'()*,;=".contains(&byte));
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Status and headers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallHead {
    /// 100 to 599.
    pub status: u16,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallResponse {
    /// 100 to 599.
    pub status: u16,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// At most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

/// An HTTP/1.1 client, implemented by each runtime with its own types. Blocks; every call opens its own
/// connection, and several threads may call at once.
pub trait Transport: Sync {
    /// Sends `request` and hands over the answer piece by piece; an answer without a body gives one empty piece.
    /// Ends when the answer does or when `piece` breaks.
    ///
    /// # Errors
    /// No connection, a certificate that does not verify, a broken answer, the timeout: in words for people, such as
    /// `dial tcp 127.0.0.1:8500: connect: connection refused`.
    fn stream(
        &self,
        request: &CallRequest,
        piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String>;

    /// Sends `request` and waits for the whole answer.
    ///
    /// # Errors
    /// Those of [`Transport::stream`], no answer at all, and one beyond [`MAX_BODY`].
    fn call(&self, request: &CallRequest) -> Result<CallResponse, String> {
        let mut answer: Option<CallResponse> = None;
        let mut too_long = false;
        self.stream(request, &mut |head, bytes| {
            let answer = answer.get_or_insert_with(|| CallResponse {
                status: head.status,
                headers: head.headers.clone(),
                body: Vec::new(),
            });
            too_long = answer.body.len() + bytes.len() > MAX_BODY;
            if too_long {
                return ControlFlow::Break(());
            }
            answer.body.extend_from_slice(bytes);
            ControlFlow::Continue(())
        })?;
        if too_long {
            return Err(format!("the answer is longer than {} MiB", MAX_BODY >> 20));
        }
        answer.ok_or_else(|| "the connection ended before an answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(tls: bool, host: &str, port: u16, prefix: &str) -> Address {
        Address::Tcp { tls, host: host.into(), port, prefix: prefix.into() }
    }

    #[test]
    fn addresses() {
        for (text, tls, want) in [
            ("127.0.0.1:8500", false, tcp(false, "127.0.0.1", 8500, "")),
            ("127.0.0.1:8501", true, tcp(true, "127.0.0.1", 8501, "")),
            ("http://h:1", true, tcp(false, "h", 1, "")),
            ("https://h", false, tcp(true, "h", 443, "")),
            ("h", false, tcp(false, "h", 80, "")),
            ("https://h:9/a/b/", false, tcp(true, "h", 9, "/a/b")),
            ("[::1]:8500", false, tcp(false, "::1", 8500, "")),
            ("[::1]", false, tcp(false, "::1", 80, "")),
            ("::1", false, tcp(false, "::1", 80, "")),
            ("unix:///run/c.sock", false, Address::Unix("/run/c.sock".into())),
        ] {
            assert_eq!(Address::parse(text, tls), Ok(want), "{text}");
        }
        for bad in ["", "ftp://x", "unix://", ":8500", "h:0", "h:70000", "h:x", "http://", "a b:1", "[::1:1", "u@h:1"] {
            assert!(Address::parse(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls() {
        assert_eq!(tcp(true, "::1", 1, "/p").url(), "https://[::1]:1/p");
        assert_eq!(Address::Unix("/s".into()).url(), "unix:///s");
        assert_eq!(Address::Unix("/s".into()).authority(), "localhost");
    }

    #[test]
    fn targets() {
        let mut request = CallRequest {
            base: tcp(false, "h", 1, "/p"),
            tls: TlsOptions::default(),
            method: "GET",
            path: "/v1/kv/a b/\u{e4}?#%".into(),
            query: vec![("filter".into(), "a == \"b&c\"".into()), ("stale".into(), String::new())],
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        };
        assert_eq!(request.target(), "/p/v1/kv/a%20b/%C3%A4%3F%23%25?filter=a%20%3D%3D%20%22b%26c%22&stale=");
        request.base = Address::Unix("/s".into());
        request.query.clear();
        assert_eq!(request.target(), "/v1/kv/a%20b/%C3%A4%3F%23%25");
    }

    struct Pieces(Vec<&'static [u8]>);
    impl Transport for Pieces {
        fn stream(
            &self,
            _: &CallRequest,
            piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
        ) -> Result<(), String> {
            let head = CallHead { status: 200, headers: vec![("A".into(), "b".into())] };
            for bytes in &self.0 {
                if piece(&head, bytes).is_break() {
                    break;
                }
            }
            Ok(())
        }
    }

    #[test]
    fn a_call_collects_the_pieces() {
        let request = CallRequest {
            base: tcp(false, "h", 1, ""),
            tls: TlsOptions::default(),
            method: "GET",
            path: "/".into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        };
        assert_eq!(Pieces(vec![b"ab", b"", b"c"]).call(&request).map(|r| r.body), Ok(b"abc".to_vec()));
        assert!(Pieces(vec![]).call(&request).is_err());
    }
}
