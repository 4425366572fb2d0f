//! A JSON writer that puts bytes straight into a buffer, in the layout of Go's `encoding/json`: compact, or indented
//! by four spaces; `<`, `>`, `&` and the two line separators of Unicode escaped.
//!
//! * [`Json`]: the writer. * [`raw`]: JSON text that is passed through. * [`rows`]: the tables' rows.
//! * [`agent`]: what the agent holds itself.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

pub mod agent;
pub mod raw;
pub mod rows;

/// Writes one document. The caller keeps the order: a value after every key, a close after every open.
#[derive(Clone, Debug)]
pub struct Json {
    out: Vec<u8>,
    pretty: bool,
    depth: usize,
    /// Nothing stands in the innermost container yet.
    fresh: bool,
}

const SPACES: &[u8; 64] = b"                                                                ";

impl Json {
    /// A writer; `capacity` is a guess in bytes.
    #[must_use]
    pub fn new(pretty: bool, capacity: usize) -> Self {
        Self { out: Vec::with_capacity(if pretty { capacity * 2 } else { capacity }), pretty, depth: 0, fresh: true }
    }

    /// The document. Indented ones end with a newline, as Consul's do.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.pretty {
            self.out.push(b'\n');
        }
        self.out
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    fn line(&mut self) {
        self.out.push(b'\n');
        let mut left = self.depth * 4;
        while left > 0 {
            let n = left.min(SPACES.len());
            self.out.extend_from_slice(SPACES.get(..n).unwrap_or(SPACES));
            left -= n;
        }
    }

    #[inline]
    fn separate(&mut self) {
        if !self.fresh {
            self.out.push(b',');
        }
        self.fresh = false;
        if self.pretty {
            self.line();
        }
    }

    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.depth += 1;
        self.fresh = true;
    }

    fn close(&mut self, bracket: u8) {
        self.depth = self.depth.saturating_sub(1);
        if self.pretty && !self.fresh {
            self.line();
        }
        self.out.push(bracket);
        self.fresh = false;
    }

    /// `{`
    pub fn open_object(&mut self) {
        self.open(b'{');
    }

    /// `}`
    pub fn close_object(&mut self) {
        self.close(b'}');
    }

    /// `[`
    pub fn open_array(&mut self) {
        self.open(b'[');
    }

    /// `]`
    pub fn close_array(&mut self) {
        self.close(b']');
    }

    /// Before each item of an array.
    pub fn item(&mut self) -> &mut Self {
        self.separate();
        self
    }

    /// A member's name that needs no escaping.
    #[inline]
    pub fn key(&mut self, name: &'static str) -> &mut Self {
        // Room for all of it at once, so that what follows only copies.
        self.out.reserve(name.len() + 8);
        if self.pretty {
            self.separate();
            self.out.push(b'"');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\": ");
        } else {
            self.out.extend_from_slice(if self.fresh { b"\"" } else { b",\"" });
            self.fresh = false;
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\":");
        }
        self
    }

    /// Any member's name.
    pub fn key_text(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.text(name);
        self.out.extend_from_slice(if self.pretty { b": " } else { b":" });
        self
    }

    /// A string.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        if plain(text.as_bytes()) {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            escape(&mut self.out, text);
        }
        self.out.push(b'"');
    }

    /// `true` or `false`
    pub fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A number.
    pub fn u64(&mut self, value: u64) {
        decimal(&mut self.out, value);
    }

    /// A number as Go writes one: in the fewest digits, with an exponent only where it is very small or very great. What
    /// is no number JSON cannot say: `null`.
    pub fn f64(&mut self, value: f64) {
        let size = value.abs();
        let text = if !value.is_finite() {
            "null".to_string()
        } else if size != 0.0 && size < 1e-6 {
            format!("{value:e}")
        } else if size >= 1e21 {
            format!("{value:e}").replace('e', "e+")
        } else {
            format!("{value}")
        };
        self.literal(&text);
    }

    /// `null`
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    /// Something already in JSON that has no layout: a number, a quoted ASCII text.
    pub fn literal(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// An array of strings.
    pub fn texts<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        self.open_array();
        for text in texts {
            self.item().text(text.as_ref());
        }
        self.close_array();
    }

    /// An object of strings.
    pub fn pairs<K: AsRef<str>, V: AsRef<str>>(&mut self, pairs: impl IntoIterator<Item = (K, V)>) {
        self.open_object();
        for (name, value) in pairs {
            self.key_text(name.as_ref()).text(value.as_ref());
        }
        self.close_object();
    }
}

/// Appends a number in decimal.
fn decimal(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    let mut digits = [0; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        used += 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// Whether a byte stands for itself inside a string. 0xE2 begins the two line separators and is looked at closer.
const PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut b = 0;
    while b < 0x20 {
        table[b] = false;
        b += 1;
    }
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table[b'<' as usize] = false;
    table[b'>' as usize] = false;
    table[b'&' as usize] = false;
    table[0xe2] = false;
    table
};

/// Whether every byte stands for itself. Without a branch inside eight bytes, which is what most texts are made of.
#[inline]
fn plain(bytes: &[u8]) -> bool {
    let mut eights = bytes.chunks_exact(8);
    eights.by_ref().all(|eight| eight.iter().fold(true, |all, &b| all & PLAIN[usize::from(b)]))
        && eights.remainder().iter().all(|&b| PLAIN[usize::from(b)])
}

/// Appends the inside of a string.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, &b) in bytes.iter().enumerate() {
        if PLAIN[usize::from(b)] {
            continue;
        }
        let escaped: &[u8] = match b {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xa8]) => b"\\u2028",
                Some([0x80, 0xa9]) => b"\\u2029",
                _ => continue,
            },
            _ => b"",
        };
        out.extend_from_slice(bytes.get(done..at).unwrap_or_default());
        if escaped.is_empty() {
            let hex = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(b >> 4), hex(b & 15)]);
        } else {
            out.extend_from_slice(escaped);
        }
        done = at + if b == 0xe2 { 3 } else { 1 };
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn sample(pretty: bool) -> String {
        let mut j = Json::new(pretty, 16);
        j.open_object();
        j.key("A").u64(1234);
        j.key("B").texts::<&str>([]);
        j.key("C").open_array();
        j.item().bool(true);
        j.item().null();
        j.item().open_object();
        j.close_object();
        j.close_array();
        j.key("D").pairs([("x<", "&y")]);
        j.close_object();
        String::from_utf8(j.finish()).unwrap()
    }

    #[test]
    fn layouts_are_those_of_go() {
        assert_eq!(sample(false), r#"{"A":1234,"B":[],"C":[true,null,{}],"D":{"x\u003c":"\u0026y"}}"#);
        assert_eq!(
            sample(true),
            "{\n    \"A\": 1234,\n    \"B\": [],\n    \"C\": [\n        true,\n        null,\n        {}\n    ],\n    \"D\": {\n        \"x\\u003c\": \"\\u0026y\"\n    }\n}\n"
        );
    }

    #[test]
    fn escapes_are_those_of_go() {
        let mut out = Vec::new();
        escape(&mut out, "\"\\\n\r\t\u{8}\u{1f}\u{7f}<>&\u{2028}\u{2029}\u{2027}é€");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\\\"\\\\\\n\\r\\t\\u0008\\u001f\u{7f}\\u003c\\u003e\\u0026\\u2028\\u2029\u{2027}é€"
        );
    }

    #[test]
    fn fractions_are_those_of_go() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (-2e-10, "-2e-10"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e300, "-1.25e+300"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            let mut j = Json::new(false, 16);
            j.f64(value);
            assert_eq!(String::from_utf8(j.finish()).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "\\PC*|[\\x00-\\xff\u{2020}-\u{2030}]*") {
            let mut out = alloc::vec![b'"'];
            escape(&mut out, &text);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_number(n in any::<u64>()) {
            let mut out = Vec::new();
            decimal(&mut out, n);
            prop_assert_eq!(String::from_utf8(out).unwrap(), alloc::format!("{n}"));
        }
    }
}
