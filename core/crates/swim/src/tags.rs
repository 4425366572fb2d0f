//! What a member says of itself.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Most bytes of all tags together: they travel in every packet that speaks of the member.
pub const MAX_BYTES: usize = 1024;

/// Pairs of texts, sorted by key, in the bytes that travel: a count, then key and value each with its length.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tags(Box<[u8]>);

/// Why these are no tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagsError {
    /// Too long.
    #[error("tags take {0} bytes, more than the {MAX_BYTES} that fit")]
    TooLong(usize),
    /// The bytes make no sense.
    #[error("tags cannot be read")]
    Malformed,
}

impl Tags {
    /// From pairs.
    ///
    /// # Errors
    ///
    /// [`TagsError::TooLong`].
    pub fn new(pairs: &BTreeMap<String, String>) -> Result<Self, TagsError> {
        // Texts in memory always encode.
        let bytes = postcard::to_allocvec(pairs).unwrap_or_default();
        if bytes.len() > MAX_BYTES {
            return Err(TagsError::TooLong(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// From the bytes of a message, which may come from anybody.
    ///
    /// # Errors
    ///
    /// When these are not what [`Tags::new`] makes.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, TagsError> {
        if bytes.len() > MAX_BYTES {
            return Err(TagsError::TooLong(bytes.len()));
        }
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let (count, mut rest) = postcard::take_from_bytes::<u32>(bytes).map_err(|_| TagsError::Malformed)?;
        for _ in 0..count {
            for _ in 0..2 {
                (_, rest) = postcard::take_from_bytes::<&str>(rest).map_err(|_| TagsError::Malformed)?;
            }
        }
        if rest.is_empty() { Ok(Self(bytes.into())) } else { Err(TagsError::Malformed) }
    }

    /// As they stand in a profile.
    #[must_use]
    pub const fn view(&self) -> TagsRef<'_> {
        TagsRef(&self.0)
    }

    /// The bytes that travel.
    #[must_use]
    pub const fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.view().iter()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.view().get(key)
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Tags of somebody else: in a member's profile, where they share their memory with its name.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TagsRef<'a>(&'a [u8]);

impl<'a> TagsRef<'a> {
    /// Of what [`Tags::as_wire`] gave.
    pub(crate) const fn of(wire: &'a [u8]) -> Self {
        Self(wire)
    }

    /// The bytes that travel.
    #[must_use]
    pub const fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// All pairs, sorted by key.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (count, mut rest) = postcard::take_from_bytes::<u32>(self.0).unwrap_or((0, &[]));
        (0..count).map_while(move |_| {
            let (key, after) = postcard::take_from_bytes::<&str>(rest).ok()?;
            let (value, after) = postcard::take_from_bytes::<&str>(after).ok()?;
            rest = after;
            Some((key, value))
        })
    }

    /// The value of a key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.iter().find_map(|(k, v)| (k == key).then_some(v))
    }
}

impl fmt::Debug for TagsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a, const N: usize> From<[(&'a str, &'a str); N]> for Tags {
    /// For a few short pairs; nothing if they are too long.
    fn from(pairs: [(&'a str, &'a str); N]) -> Self {
        let map: BTreeMap<String, String> = pairs.iter().map(|(k, v)| (String::from(*k), String::from(*v))).collect();
        Self::new(&map).unwrap_or_default()
    }
}

/// As a vector of pairs, for messages and tests.
impl From<&Tags> for Vec<(String, String)> {
    fn from(tags: &Tags) -> Self {
        tags.iter().map(|(k, v)| (String::from(k), String::from(v))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pairs_come_back_sorted() {
        let tags = Tags::from([("role", "consul"), ("dc", "dc1")]);
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("dc", "dc1"), ("role", "consul")]);
        assert_eq!((tags.get("role"), tags.get("rol")), (Some("consul"), None));
        assert_eq!(Tags::from_wire(tags.as_wire()).unwrap(), tags);
        assert_eq!(Tags::default().iter().count(), 0);
        assert_eq!(Tags::from_wire(&[]).unwrap(), Tags::default());
    }

    #[test]
    fn what_is_no_tags_is_refused() {
        assert_eq!(Tags::from_wire(&[200, 1]), Err(TagsError::Malformed));
        assert_eq!(Tags::from_wire(&[0, 7]), Err(TagsError::Malformed), "something follows");
        assert_eq!(Tags::from_wire(&[1, 1, 0xff, 0]), Err(TagsError::Malformed), "not UTF-8");
        assert_eq!(Tags::from_wire(&vec![0; 2000]), Err(TagsError::TooLong(2000)));
        let long = BTreeMap::from([(String::from("k"), "v".repeat(1100))]);
        assert!(matches!(Tags::new(&long), Err(TagsError::TooLong(_))));
    }
}
