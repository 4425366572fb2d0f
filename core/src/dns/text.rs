//! Node metadata as TXT records.

use convoke_catalog::model::Node;
use convoke_dns::builder::Owner;
use convoke_dns::{Full, Section};

use super::query::Reply;

/// Values of keys that begin so stand alone, without the key.
const BARE: &str = "rfc1035-";

/// Octets of the data of each TXT record that a node's metadata makes.
pub(super) fn data_lens(node: &Node) -> impl Iterator<Item = usize> {
    node.meta.iter().flatten().map(|(key, value)| {
        let len: usize = pieces(key, value).map(<[u8]>::len).sum();
        len + len.div_ceil(255).max(1)
    })
}

/// Adds one record per pair, in the order of keys.
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
    let mut pairs = node.meta.iter().flatten();
    pairs.try_for_each(|(key, value)| reply.b.txt(section, owner, ttl, pieces(key, value)))
}

/// `key=value` (RFC 1464): in the key `=`, grave accents, and blanks at either end are quoted by a grave accent; in
/// the value grave accents are.
fn pieces<'t>(key: &'t str, value: &'t str) -> impl Iterator<Item = &'t [u8]> {
    let bare = key.starts_with(BARE);
    let key = if bare { "" } else { key };
    let (lead, trail) = (key.len() - key.trim_start_matches(' ').len(), key.trim_end_matches(' ').len());
    let key = quoted(key, move |at, byte| byte == b'`' || byte == b'=' || byte == b' ' && (at < lead || at >= trail));
    let equals = (!bare).then_some(b"=".as_slice());
    key.chain(equals).chain(quoted(value, move |_, byte| byte == b'`' && !bare))
}

/// The text in pieces, with a grave accent before each octet that `special` holds for.
fn quoted(text: &str, special: impl Fn(usize, u8) -> bool) -> impl Iterator<Item = &[u8]> {
    let text = text.as_bytes();
    let (mut at, mut quote) = (0, true);
    core::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        if quote && rest.first().is_some_and(|byte| special(at, *byte)) {
            quote = false;
            return Some(b"`".as_slice());
        }
        // The octet after a quote is taken as it is.
        let skip = usize::from(!quote);
        quote = true;
        let mut candidates = rest.iter().enumerate().skip(skip);
        let len = candidates.find(|(i, byte)| special(at + i, **byte)).map_or(rest.len(), |(i, _)| i);
        at += len;
        rest.get(..len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::string::String;
    use alloc::vec::Vec;

    fn text(key: &str, value: &str) -> String {
        String::from_utf8(pieces(key, value).collect::<Vec<_>>().concat()).expect("text")
    }

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
            ("", "", "="),
            ("``", "``", "````=````"),
        ];
        for (key, value, expected) in table {
            assert_eq!(text(key, value), expected, "{key:?} {value:?}");
        }
    }

    #[test]
    fn the_length_counts_one_octet_per_string() {
        let long = "x".repeat(600);
        let meta = [("rfc1035-", ""), ("rfc1035-a", &long[..255]), ("rfc1035-b", &long[..256]), ("rfc1035-c", &long)];
        let meta = Some(meta.map(|(key, value)| (key.into(), value.into())).into());
        let node = Node { meta, ..Node::default() };
        assert_eq!(data_lens(&node).collect::<Vec<_>>(), [1, 256, 258, 603]);
    }
}
