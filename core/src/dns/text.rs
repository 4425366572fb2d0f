//! Node metadata as TXT records.

use convoke_catalog::model::Node;
use convoke_dns::builder::Owner;
use convoke_dns::{Full, Section};
use heapless::Vec;

use super::query::Reply;

/// Keys are at most 128 octets and values 512; each may be escaped.
const MAX_TEXT: usize = 2 * (128 + 512) + 1;

/// One record's text.
type Text = Vec<u8, MAX_TEXT>;

/// Values of keys that begin so stand alone, without the key.
const BARE: &str = "rfc1035-";

/// The texts of a node's metadata, in the order of keys. One that is longer than metadata can be is left out.
pub(super) fn texts(node: &Node) -> impl Iterator<Item = Text> {
    node.meta.iter().flatten().filter_map(|(key, value)| text(key, value))
}

/// Octets of a TXT record's data that carries so many octets of text.
pub(super) fn data_len(text_len: usize) -> usize {
    text_len + text_len.div_ceil(255).max(1)
}

/// Adds one record per pair.
///
/// # Errors
/// [`Full`] at the first that does not fit; those before it stay.
pub(super) fn add<'n>(
    reply: &mut Reply<'_>,
    section: Section,
    owner: impl Into<Owner<'n>>,
    ttl: u32,
    node: &Node,
) -> Result<(), Full> {
    let owner = owner.into();
    texts(node).try_for_each(|text| reply.b.txt(section, owner, ttl, core::iter::once(text.as_slice())))
}

/// `key=value` (RFC 1464): in the key `=`, grave accents, and blanks at either end are quoted by a grave accent; in
/// the value grave accents are.
fn text(key: &str, value: &str) -> Option<Text> {
    let mut text = Text::new();
    if key.starts_with(BARE) {
        text.extend_from_slice(value.as_bytes()).ok()?;
        return Some(text);
    }
    let inner = key.trim_matches(' ');
    let (lead, trail) = match inner {
        "" => (key.len(), 0),
        _ => (key.len() - key.trim_start_matches(' ').len(), key.len() - key.trim_end_matches(' ').len()),
    };
    let blanks = |n: usize| core::iter::repeat_n(*b"` ", n).flatten();
    let quoted = |text: &str, also: u8| {
        text.bytes().flat_map(move |b| [(b == b'`' || b == also).then_some(b'`'), Some(b)]).flatten().collect::<Text>()
    };
    let quotes = key.bytes().filter(|b| b"`= ".contains(b)).count() + value.bytes().filter(|b| *b == b'`').count();
    if key.len() + value.len() + 1 + quotes > MAX_TEXT {
        return None;
    }
    text.extend(blanks(lead));
    text.extend(quoted(inner, b'='));
    text.extend(blanks(trail));
    text.push(b'=').ok()?;
    text.extend(quoted(value, b'`'));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_written_as_rfc_1464_says() {
        let table = [
            ("key", "value", "key=value"),
            ("empty", "", "empty="),
            ("rfc1035-00", "v=spf1 `x`", "v=spf1 `x`"),
            ("a=b", "c=d", "a`=b=c=d"),
            ("a`b", "c`d", "a``b=c``d"),
            ("  a ", " b ", "` ` a` = b "),
            ("  ", "x", "` ` =x"),
        ];
        for (key, value, expected) in table {
            assert_eq!(text(key, value).as_deref(), Some(expected.as_bytes()), "{key:?} {value:?}");
        }
    }

    #[test]
    fn the_length_counts_one_octet_per_string() {
        assert_eq!([0, 1, 255, 256, 600].map(data_len), [1, 2, 256, 258, 603]);
    }

    #[test]
    fn what_is_too_long_for_metadata_is_left_out() {
        let long = "`".repeat(1000);
        assert_eq!(text("key", &long), None);
    }
}
