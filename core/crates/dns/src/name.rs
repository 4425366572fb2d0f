//! Domain names (RFC 1035, 3.1 and 4.1.4): compared without regard to ASCII case, kept as they were spelled.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use heapless::Vec;

use crate::{Error, NameError};

/// Octets of the longest name, its final zero included.
pub const MAX_NAME: usize = 255;
/// Octets of the longest label.
pub const MAX_LABEL: usize = 63;

/// A name on its own: length-prefixed labels and the final zero, in a fixed buffer.
///
/// Equality and hashing ignore ASCII case (RFC 4343); [`Name::as_wire`] shows the spelling.
#[derive(Clone)]
pub struct Name {
    wire: Vec<u8, MAX_NAME>,
}

impl Name {
    /// The root, `.`.
    #[must_use]
    pub fn root() -> Self {
        let mut wire = Vec::new();
        // One octet always fits.
        let _ = wire.push(0);
        Self { wire }
    }

    /// Appends a label at the right end, before the root.
    ///
    /// # Errors
    /// [`NameError::EmptyLabel`], [`NameError::LabelTooLong`] above 63 octets, [`NameError::TooLong`] when the name
    /// would exceed 255. The name is unchanged then.
    pub fn push(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LabelTooLong);
        }
        if self.wire.len() + 1 + label.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        self.wire.pop();
        // The space was checked above.
        let _ = self.wire.push(label.len() as u8);
        let _ = self.wire.extend_from_slice(label);
        let _ = self.wire.push(0);
        Ok(())
    }

    /// Appends all labels of another name.
    ///
    /// # Errors
    /// [`NameError::TooLong`] when the name would exceed 255 octets; it is unchanged then.
    pub fn append(&mut self, other: &Self) -> Result<(), NameError> {
        if self.wire.len() + other.wire.len() - 1 > MAX_NAME {
            return Err(NameError::TooLong);
        }
        self.wire.pop();
        let _ = self.wire.extend_from_slice(&other.wire);
        Ok(())
    }

    /// The uncompressed wire form, final zero included: 1 to 255 octets.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// The labels from the left, without the root.
    #[must_use]
    pub fn labels(&self) -> Labels<'_> {
        Labels::new(&self.wire, 0)
    }

    /// Whether this is `.`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.wire.len() <= 1
    }

    /// Whether the name is `suffix` or below it.
    #[must_use]
    pub fn is_within(&self, suffix: &Self) -> bool {
        let (Some(start), wanted) = (self.wire.len().checked_sub(suffix.wire.len()), suffix.wire.as_slice()) else {
            return false;
        };
        // The suffix has to begin where a label of ours begins.
        let mut at = 0;
        while at < start {
            at += 1 + usize::from(self.wire.get(at).copied().unwrap_or(0));
        }
        at == start && self.wire.get(start..).is_some_and(|tail| tail.eq_ignore_ascii_case(wanted))
    }

    /// The same name in lower case, as owners are written where the recordings show it.
    #[must_use]
    pub fn to_lowercase(&self) -> Self {
        let mut lower = self.clone();
        // Length octets are below 64, under the letters, so they stay.
        lower.wire.make_ascii_lowercase();
        lower
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in &self.wire {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads `a.b.c` with or without the final dot; `\.` is a dot inside a label, `\DDD` an octet in decimal.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut name = Self::root();
        if text == "." {
            return Ok(name);
        }
        let mut label: Vec<u8, MAX_LABEL> = Vec::new();
        let mut bytes = text.bytes();
        let mut ended = false;
        while let Some(byte) = bytes.next() {
            ended = false;
            let octet = match byte {
                b'.' => {
                    name.push(&label)?;
                    label.clear();
                    ended = true;
                    continue;
                }
                b'\\' => unescape(&mut bytes)?,
                other => other,
            };
            label.push(octet).map_err(|_| NameError::LabelTooLong)?;
        }
        if !ended {
            name.push(&label)?;
        }
        Ok(name)
    }
}

/// What follows a backslash: three decimal digits, or one character that stands for itself.
fn unescape(bytes: &mut core::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::Escape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

impl fmt::Display for Name {
    /// With the final dot; octets that are not plain text are escaped so that the text reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_labels(self.labels(), f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_labels(labels: Labels<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut any = false;
    for label in labels {
        any = true;
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(byte))?,
                0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                other => write!(f, "\\{other:03}")?,
            }
        }
        f.write_str(".")?;
    }
    if any { Ok(()) } else { f.write_str(".") }
}

/// A name inside a message, possibly compressed. It was checked when it was read: every pointer goes backwards and
/// the whole has at most 255 octets.
#[derive(Clone, Copy)]
pub struct NameRef<'a> {
    message: &'a [u8],
    at: usize,
    wire_len: usize,
}

impl<'a> NameRef<'a> {
    /// Reads the name at `at`; also gives the offset of what follows it.
    ///
    /// Every pointer has to point before the place where the run of labels it ends began, so reading
    /// terminates: the starts of the runs strictly decrease.
    pub(crate) fn read(message: &'a [u8], at: usize) -> Result<(Self, usize), Error> {
        let short = Error::Short { at: message.len(), what: "a name" };
        let (mut run, mut pos, mut wire_len, mut end) = (at, at, 0usize, None);
        loop {
            let len = *message.get(pos).ok_or(short)?;
            match len >> 6 {
                0 => {
                    wire_len += 1 + usize::from(len);
                    if wire_len > MAX_NAME {
                        return Err(Error::NameTooLong { at });
                    }
                    pos += 1 + usize::from(len);
                    if len == 0 {
                        return Ok((Self { message, at, wire_len }, end.unwrap_or(pos)));
                    }
                    if pos > message.len() {
                        return Err(short);
                    }
                }
                3 => {
                    let low = *message.get(pos + 1).ok_or(short)?;
                    let target = usize::from(len & 0x3f) << 8 | usize::from(low);
                    if target >= run {
                        return Err(Error::Pointer { at: pos });
                    }
                    end = end.or(Some(pos + 2));
                    (run, pos) = (target, target);
                }
                _ => return Err(Error::LabelType { at: pos }),
            }
        }
    }

    /// The labels from the left, without the root.
    #[must_use]
    pub fn labels(self) -> Labels<'a> {
        Labels::new(self.message, self.at)
    }

    /// Where in the message the name starts.
    #[must_use]
    pub fn offset(self) -> usize {
        self.at
    }

    /// Octets of the uncompressed form, final zero included: 1 to 255.
    #[must_use]
    pub fn wire_len(self) -> usize {
        self.wire_len
    }

    /// A copy that stands alone.
    #[must_use]
    pub fn to_name(self) -> Name {
        let mut wire = Vec::new();
        for label in self.labels() {
            // It was at most 255 octets when it was read.
            let _ = wire.push(label.len() as u8);
            let _ = wire.extend_from_slice(label);
        }
        let _ = wire.push(0);
        Name { wire }
    }
}

impl PartialEq for NameRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        same_labels(self.labels(), other.labels())
    }
}

impl Eq for NameRef<'_> {}

impl PartialEq<Name> for NameRef<'_> {
    fn eq(&self, other: &Name) -> bool {
        same_labels(self.labels(), other.labels())
    }
}

fn same_labels(mut a: Labels<'_>, mut b: Labels<'_>) -> bool {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(x), Some(y)) if x.eq_ignore_ascii_case(y) => {}
            _ => return false,
        }
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_labels(self.labels(), f)
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The labels of a name from the left, following pointers.
///
/// Total on any bytes: it ends at the root, at the end of the bytes, at a reserved label type, and at a pointer
/// that does not go before the run of labels it ends.
#[derive(Clone)]
pub struct Labels<'a> {
    message: &'a [u8],
    at: usize,
    /// Where the current run of labels began; a pointer has to go before it.
    run: usize,
}

impl<'a> Labels<'a> {
    pub(crate) fn new(message: &'a [u8], at: usize) -> Self {
        Self { message, at, run: at }
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let len = *self.message.get(self.at)?;
            match len >> 6 {
                0 if len > 0 => {
                    let start = self.at + 1;
                    let label = self.message.get(start..start + usize::from(len))?;
                    self.at = start + usize::from(len);
                    return Some(label);
                }
                3 => {
                    let target = usize::from(len & 0x3f) << 8 | usize::from(*self.message.get(self.at + 1)?);
                    if target >= self.run {
                        return None;
                    }
                    (self.at, self.run) = (target, target);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn name(text: &str) -> Name {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn text_reads_and_prints() {
        // text, printed form, wire form
        let table: &[(&str, &str, &[u8])] = &[
            (".", ".", b"\0"),
            ("consul", "consul.", b"\x06consul\0"),
            ("Web.Service.consul.", "Web.Service.consul.", b"\x03Web\x07Service\x06consul\0"),
            (r"a\.b.c", r"a\.b.c.", b"\x03a.b\x01c\0"),
            (r"\032\255.x", r"\032\255.x.", b"\x02 \xff\x01x\0"),
            (r"a\b", "ab.", b"\x02ab\0"),
            ("한.x", r"\237\149\156.x.", b"\x03\xed\x95\x9c\x01x\0"),
        ];
        for (text, printed, wire) in table {
            assert_eq!(name(text).as_wire(), *wire, "{text}");
            assert_eq!(name(text).to_string(), *printed);
            assert_eq!(name(printed).as_wire(), *wire, "{printed} reads back");
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        let long_label = "a".repeat(64);
        let long_name = std::vec!["a".repeat(63); 4].join(".");
        let table = [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            (long_label.as_str(), NameError::LabelTooLong),
            (long_name.as_str(), NameError::TooLong),
            (r"a\", NameError::Escape),
            (r"a\25", NameError::Escape),
            (r"a\256", NameError::Escape),
            (r"a\2x6", NameError::Escape),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Name>().err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn the_longest_name_fits_exactly() {
        let mut text: String = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(name(&text).as_wire().len(), 255);
        text.push('d');
        assert_eq!(text.parse::<Name>().err(), Some(NameError::TooLong));
    }

    #[test]
    fn comparison_ignores_case_and_respects_labels() {
        assert_eq!(name("DB.Service.Consul"), name("db.service.consul"));
        assert_ne!(name("db.service"), name("db.service.consul"));
        assert_ne!(name(r"a\.b"), name("a.b"));
        assert!(name("x.CONSUL").is_within(&name("consul")));
        assert!(name("consul").is_within(&name("consul")));
        assert!(name("a.b").is_within(&Name::root()));
        assert!(!name("myconsul").is_within(&name("consul")));
        assert!(!name("consul").is_within(&name("x.consul")));
        // A label whose bytes look like the suffix's wire form is still one label.
        assert!(!name(r"x\006consul").is_within(&name("consul")));
    }

    #[test]
    fn pointers_go_backwards_only() {
        // 0: "a", root; 3: "b" -> 0; 7: -> 7 (itself); 9: -> 3
        let message = b"\x01a\0\x01b\xc0\0\xc0\x07\xc0\x03";
        let (n, end) = NameRef::read(message, 3).expect("a compressed name");
        assert_eq!((n.to_string().as_str(), end, n.wire_len()), ("b.a.", 7, 5));
        assert_eq!(n, name("B.A"));
        assert_eq!(NameRef::read(message, 7).err(), Some(Error::Pointer { at: 7 }));
        assert_eq!(NameRef::read(message, 9).expect("two hops").0, name("b.a"));
        // A run that points into itself would never end.
        assert_eq!(NameRef::read(b"\x01a\xc0\0", 0).err(), Some(Error::Pointer { at: 2 }));
        assert_eq!(NameRef::read(b"\x41a\0", 0).err(), Some(Error::LabelType { at: 0 }));
        assert!(matches!(NameRef::read(b"\x03ab", 0), Err(Error::Short { .. })));
        assert!(matches!(NameRef::read(b"\xc0", 0), Err(Error::Short { .. })));
    }

    #[test]
    fn a_name_of_pointers_cannot_exceed_255_octets() {
        // 40 runs of 7 octets, each pointing to the one before.
        let mut message = std::vec![0u8];
        let mut last = 0u16;
        for _ in 0..40 {
            let here = message.len() as u16;
            message.extend_from_slice(b"\x06abcdef");
            message.extend_from_slice(&(0xc000 | last).to_be_bytes());
            last = here;
        }
        assert_eq!(
            NameRef::read(&message, usize::from(last)).err(),
            Some(Error::NameTooLong { at: usize::from(last) })
        );
    }
}
