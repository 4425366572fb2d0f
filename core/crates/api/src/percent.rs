//! Percent-encoding as Go's `net/url` does it (RFC 3986 with its leniencies).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// What an octet may look like in a component that is being encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Path,
    Query,
}

/// Decodes a path. `None` if a `%` is not followed by two hex digits, or if the result is not UTF-8.
#[must_use]
pub fn decode_path(text: &str) -> Option<Cow<'_, str>> {
    decode(text, Part::Path)
}

/// Decodes a name or value of a query, where `+` is a space. `None` as for paths.
#[must_use]
pub fn decode_query(text: &str) -> Option<Cow<'_, str>> {
    decode(text, Part::Query)
}

fn decode(text: &str, part: Part) -> Option<Cow<'_, str>> {
    let special = |b: u8| b == b'%' || (b == b'+' && part == Part::Query);
    if !text.bytes().any(special) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                (high * 16 + low) as u8
            }
            b'+' if part == Part::Query => b' ',
            _ => b,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Encodes a path for a `Location` header.
#[must_use]
pub fn encode_path(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode(&mut out, text, Part::Path);
    out
}

/// Appends a name or value of a query.
pub fn encode_query(out: &mut String, text: &str) {
    encode(out, text, Part::Query);
}

fn encode(out: &mut String, text: &str, part: Part) {
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' if part == Part::Path => {
                out.push(char::from(b));
            }
            b' ' if part == Part::Query => out.push('+'),
            _ => {
                let hex = |n: u8| char::from(if n < 10 { b'0' + n } else { b'A' + n - 10 });
                out.extend(['%', hex(b >> 4), hex(b & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_as_go_does() {
        assert!(matches!(decode_path("/v1/kv/a+b"), Some(Cow::Borrowed("/v1/kv/a+b"))));
        assert_eq!(decode_path("a%2Fb%c3%BC").unwrap(), "a/bü");
        assert_eq!(decode_query("a+b%2b").unwrap(), "a b+");
        for bad in ["%", "%2", "%zz", "a%2", "%ff"] {
            assert_eq!(decode_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn encodes_as_go_does() {
        assert_eq!(encode_path("/v1/a b?ü#"), "/v1/a%20b%3F%C3%BC%23");
        let mut out = String::new();
        encode_query(&mut out, "a b/=&");
        assert_eq!(out, "a+b%2F%3D%26");
    }

    proptest! {
        #[test]
        fn round_trip(text in "\\PC*") {
            let mut query = String::new();
            encode_query(&mut query, &text);
            prop_assert_eq!(decode_query(&query).unwrap(), text.as_str());
            let path = encode_path(&text);
            prop_assert_eq!(decode_path(&path).unwrap(), text.as_str());
        }

        #[test]
        fn total(text in ".*") {
            let _ = decode_path(&text);
            let _ = decode_query(&text);
        }
    }
}
