//! URLs as far as a client needs them: `http://`, `https://`, and `unix://<socket>:<request path>`.

use std::fmt;
use std::path::PathBuf;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Plain HTTP over TCP.
    Http {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// HTTP over TLS.
    Https {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// Plain HTTP over a unix socket.
    Unix(PathBuf),
}

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where.
    pub origin: Origin,
    /// `user:password`, still percent-encoded, if there was an `@`.
    pub credentials: Option<String>,
    /// Path and query, starting with `/`; every byte that may not stand there is percent-encoded.
    pub target: String,
}

/// A text that is no URL this client can request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http://`, `https://` nor `unix://`.
    #[error("unsupported protocol scheme {0:?}: use http, https or unix")]
    Scheme(String),
    /// Nothing between `//` and the path.
    #[error("no Host in request URL")]
    NoHost,
    /// Port is no number from 1 to 65535.
    #[error("invalid port {0:?} after host")]
    Port(String),
    /// `[` without `]`, or a blank or a second colon in the name.
    #[error("invalid character in host name {0:?}")]
    Host(String),
    /// A byte below 0x20, or 0x7f.
    #[error("invalid control character in URL")]
    Control,
}

impl Url {
    /// Reads a URL. A fragment is dropped.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        if text.bytes().any(|b| b.is_ascii_control()) {
            return Err(UrlError::Control);
        }
        let text = text.split('#').next().unwrap_or_default();
        let Some((scheme, rest)) = text.split_once("://") else {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            return Err(UrlError::Scheme(scheme.to_owned()));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "unix" => Self::parse_unix(rest),
            "http" => Self::parse_tcp(rest, 80, |host, port| Origin::Http { host, port }),
            "https" => Self::parse_tcp(rest, 443, |host, port| Origin::Https { host, port }),
            other => Err(UrlError::Scheme(other.to_owned())),
        }
    }

    fn parse_unix(rest: &str) -> Result<Url, UrlError> {
        let (socket, target) = rest.split_once(":/").unwrap_or((rest, ""));
        if socket.is_empty() {
            return Err(UrlError::NoHost);
        }
        Ok(Url { origin: Origin::Unix(socket.into()), credentials: None, target: encode(&format!("/{target}")) })
    }

    fn parse_tcp(rest: &str, default: u16, origin: impl FnOnce(String, u16) -> Origin) -> Result<Url, UrlError> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = split_authority(place, default)?;
        let target = if target.starts_with('/') { encode(target) } else { encode(&format!("/{target}")) };
        Ok(Url { origin: origin(host, port), credentials, target })
    }

    /// The URL that `location` (a `Location` field) means when this one answered with it (RFC 3986 section 5.2).
    pub fn join(&self, location: &str) -> Result<Url, UrlError> {
        if location.bytes().any(|b| b.is_ascii_control()) {
            return Err(UrlError::Control);
        }
        if has_scheme(location) {
            return Url::parse(location);
        }
        if let Some(authority) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{authority}", self.scheme()));
        }
        let location = location.split('#').next().unwrap_or_default();
        let (path, _) = split_query(&self.target);
        let target = if location.is_empty() {
            self.target.clone()
        } else if location.starts_with('/') {
            clean(location)
        } else if let Some(query) = location.strip_prefix('?') {
            format!("{path}?{query}")
        } else {
            let folder = path.rfind('/').map_or("/", |slash| path.get(..=slash).unwrap_or("/"));
            clean(&format!("{folder}{location}"))
        };
        Ok(Url { target: encode(&target), ..self.clone() })
    }

    /// What the `Host` field says: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let (host, port, default) = match &self.origin {
            Origin::Http { host, port } => (host, *port, 80),
            Origin::Https { host, port } => (host, *port, 443),
            Origin::Unix(_) => return "127.0.0.1".to_owned(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if port == default { host } else { format!("{host}:{port}") }
    }

    /// The name of the host, or the socket's path.
    pub fn host(&self) -> String {
        match &self.origin {
            Origin::Http { host, .. } | Origin::Https { host, .. } => host.clone(),
            Origin::Unix(path) => path.display().to_string(),
        }
    }

    fn scheme(&self) -> &'static str {
        match self.origin {
            Origin::Http { .. } => "http",
            Origin::Https { .. } => "https",
            Origin::Unix(_) => "unix",
        }
    }
}

/// For messages: without the credentials.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Unix(path) => write!(f, "unix://{}:{}", path.display(), self.target),
            _ => write!(f, "{}://{}{}", self.scheme(), self.authority(), self.target),
        }
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_authority(place: &str, default: u16) -> Result<(String, u16), UrlError> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| UrlError::Host(place.to_owned()))?;
        match after.strip_prefix(':') {
            Some(port) => (host, port),
            None if after.is_empty() => (host, ""),
            None => return Err(UrlError::Host(place.to_owned())),
        }
    } else {
        let (host, port) = place.split_once(':').unwrap_or((place, ""));
        if host.contains(['[', ']', ' ', '"', '<', '>', '\\']) || port.contains(':') {
            return Err(UrlError::Host(place.to_owned()));
        }
        (host, port)
    };
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let port = match port {
        "" => default,
        text => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| UrlError::Port(format!(":{text}")))?,
    };
    Ok((host.to_owned(), port))
}

/// RFC 3986 section 3.1: a letter, then letters, digits, `+`, `-`, `.`, then `:`.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Removes `.` and `..` from the path (RFC 3986 section 5.2.4), keeps the query.
fn clean(target: &str) -> String {
    let (path, query) = split_query(target);
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let path = format!("/{}", kept.join("/"));
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

/// Percent-encodes what may not stand in a request target: blanks, quotes, braces, everything beyond ASCII. A `%` is
/// left alone: the text is taken as already encoded.
fn encode(target: &str) -> String {
    let mut out = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Url::parse(text).map_or_else(|e| format!("error: {e}"), |url| url.to_string())
    }

    #[test]
    fn reads_urls() {
        for (text, want) in [
            ("http://127.0.0.1:80/x?y=1#z", "http://127.0.0.1/x?y=1"),
            ("HTTPS://Example.com", "https://Example.com/"),
            ("https://h:444", "https://h:444/"),
            ("http://h?a=b", "http://h/?a=b"),
            ("http://[::1]:8500/v1", "http://[::1]:8500/v1"),
            ("http://[::1]", "http://[::1]/"),
            ("http://h:/x", "http://h/x"),
            ("http://me:secret@h/x", "http://h/x"),
            ("http://h/a b/\u{e9}", "http://h/a%20b/%C3%A9"),
            ("unix:///run/a.sock:/v1/x?y", "unix:///run/a.sock:/v1/x?y"),
            ("unix:///run/a.sock", "unix:///run/a.sock:/"),
            ("ftp://h/", "error: unsupported protocol scheme \"ftp\": use http, https or unix"),
            ("127.0.0.1:80", "error: unsupported protocol scheme \"127.0.0.1\": use http, https or unix"),
            ("", "error: unsupported protocol scheme \"\": use http, https or unix"),
            ("http:///x", "error: no Host in request URL"),
            ("http://:80/x", "error: no Host in request URL"),
            ("http://h:99999/", "error: invalid port \":99999\" after host"),
            ("http://h:0/", "error: invalid port \":0\" after host"),
            ("http://h:a/", "error: invalid port \":a\" after host"),
            ("http://::1/", "error: invalid character in host name \"::1\""),
            ("http://a:b:c/", "error: invalid character in host name \"a:b:c\""),
            ("http://[::1/", "error: invalid character in host name \"[::1\""),
            ("http://h/\n", "error: invalid control character in URL"),
            ("unix://", "error: no Host in request URL"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
        let url = Url::parse("http://me:secret@h/x").unwrap();
        assert_eq!(url.credentials.as_deref(), Some("me:secret"));
    }

    #[test]
    fn joins_locations() {
        let base = Url::parse("https://h:8443/a/b/c?q=1").unwrap();
        for (location, want) in [
            ("http://other/x", "http://other/x"),
            ("//other:1/x", "https://other:1/x"),
            ("/x?y", "https://h:8443/x?y"),
            ("d", "https://h:8443/a/b/d"),
            ("../d", "https://h:8443/a/d"),
            ("../../../../d", "https://h:8443/d"),
            ("./", "https://h:8443/a/b/"),
            ("..", "https://h:8443/a/"),
            ("?z", "https://h:8443/a/b/c?z"),
            ("", "https://h:8443/a/b/c?q=1"),
            ("#frag", "https://h:8443/a/b/c?q=1"),
            ("d?u=http://x/", "https://h:8443/a/b/d?u=http://x/"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), want, "{location}");
        }
        let unix = Url::parse("unix:///s:/a").unwrap();
        assert_eq!(unix.join("/b").unwrap().to_string(), "unix:///s:/b");
        assert!(base.join("mailto:x").is_err());
    }
}
