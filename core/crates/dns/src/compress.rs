//! The table of names already written, so that later ones can point to them (RFC 1035, 4.1.4).

use heapless::Vec;

use crate::name::Labels;

/// Offsets above this do not fit a pointer.
pub const MAX_POINTER: usize = 0x3fff;
/// Slots of the table; a power of two.
const SLOTS: usize = 128;
/// How many slots are looked at for one name. Bounds the work per label.
const PROBES: usize = 8;
/// Most labels a name of 255 octets can have.
const MAX_LABELS: usize = 127;

/// Where every suffix written so far starts: 512 octets, no allocation.
///
/// A full neighbourhood means that a name is not remembered, so the message becomes longer, never wrong. Names
/// are compared octet by octet, case included: a pointer never changes how a name is spelled.
#[derive(Clone)]
pub struct Compressor {
    /// Upper half: 16 bits of the suffix's hash. Lower half: its offset; 0 is an empty slot, as the header is there.
    slots: [u32; SLOTS],
}

/// How much of a name has to be written out, and where the rest of it already is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// Octets of the wire form before the part that was found.
    pub(crate) prefix: usize,
    /// Where the rest is, if any of it was found.
    pub(crate) pointer: Option<u16>,
}

impl Compressor {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [0; SLOTS] }
    }

    /// Finds the longest suffix of `wire` that stands in `message`, and remembers the longer ones as they will stand
    /// at `at` once they are written there.
    pub(crate) fn find_and_learn(&mut self, message: &[u8], wire: &[u8], at: usize) -> Match {
        let mut suffixes = Suffixes::new();
        hash_suffixes(wire, &mut suffixes);
        for (start, hash) in suffixes.iter().map(|packed| (usize::from(*packed as u8), packed >> 8)) {
            let suffix = wire.get(start..).unwrap_or_default();
            if let Some(pointer) = self.find(message, suffix, hash) {
                return Match { prefix: start, pointer: Some(pointer) };
            }
            self.learn(hash, at + start);
        }
        Match { prefix: wire.len(), pointer: None }
    }

    /// Remembers a name without looking for it, for the places where pointers are not allowed.
    pub(crate) fn learn_all(&mut self, message: &[u8], wire: &[u8], at: usize) {
        let mut suffixes = Suffixes::new();
        hash_suffixes(wire, &mut suffixes);
        for (start, hash) in suffixes.iter().map(|packed| (usize::from(*packed as u8), packed >> 8)) {
            if self.find(message, wire.get(start..).unwrap_or_default(), hash).is_some() {
                // So are all shorter ones.
                return;
            }
            self.learn(hash, at + start);
        }
    }

    /// Forgets what was written at `len` or later. Later entries never stand before earlier ones in a
    /// probe sequence, so emptying their slots cuts off nothing.
    pub(crate) fn forget_from(&mut self, len: usize) {
        for slot in &mut self.slots {
            if (*slot & 0xffff) as usize >= len {
                *slot = 0;
            }
        }
    }

    /// `hash` has 24 bits: the lower 7 choose the slot, the upper 16 are compared.
    fn find(&self, message: &[u8], suffix: &[u8], hash: u32) -> Option<u16> {
        for slot in probe(hash) {
            let entry = *self.slots.get(slot)?;
            if entry == 0 {
                return None;
            }
            if entry >> 16 == hash >> 8 && stands_at(message, (entry & 0xffff) as usize, suffix) {
                return Some(entry as u16);
            }
        }
        None
    }

    fn learn(&mut self, hash: u32, offset: usize) {
        if offset > MAX_POINTER {
            return;
        }
        for slot in probe(hash) {
            if let Some(entry) = self.slots.get_mut(slot).filter(|entry| **entry == 0) {
                *entry = hash >> 8 << 16 | offset as u32;
                return;
            }
        }
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

fn probe(hash: u32) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |step| (hash as usize + step) % SLOTS)
}

/// From the longest suffix to the shortest: in the low 8 bits where it starts, above them its hash. The root is not
/// among them.
type Suffixes = Vec<u32, MAX_LABELS>;

fn hash_suffixes(wire: &[u8], suffixes: &mut Suffixes) {
    let mut at = 0;
    while let Some(&len @ 1..) = wire.get(at) {
        // A name has at most as many labels.
        let _ = suffixes.push(at as u32);
        at += 1 + usize::from(len);
    }
    // From the right, so that every suffix's hash is a step on the way to the whole name's.
    let mut hash = 0x811c_9dc5_u32;
    let mut end = at;
    for packed in suffixes.iter_mut().rev() {
        let start = *packed as usize;
        hash = (hash ^ fingerprint(wire.get(start..end).unwrap_or_default())).wrapping_mul(0x9e37_79b1).rotate_left(15);
        end = start;
        *packed |= hash << 8;
    }
}

/// A number that tells labels apart well enough: length, first and last octets. Those of a fleet (`web-17`, `0a140001`)
/// differ at the end; where they do not, more slots are compared, [`PROBES`] at most.
fn fingerprint(label: &[u8]) -> u32 {
    let tail = match label.last_chunk::<4>() {
        Some(tail) => u32::from_le_bytes(*tail),
        None => label.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)),
    };
    let third = label.get(2).copied().unwrap_or_default();
    tail ^ (label.len() as u32) << 24 ^ u32::from(third) << 13
}

/// Whether the name at `offset` of the message is spelled exactly like this suffix.
fn stands_at(message: &[u8], offset: usize, suffix: &[u8]) -> bool {
    // Most names were written without a pointer.
    if message.get(offset..offset + suffix.len()) == Some(suffix) {
        return true;
    }
    Labels::new(message, offset).eq(Labels::new(suffix, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;
    use std::vec::Vec;

    fn write(table: &mut Compressor, message: &mut Vec<u8>, text: &str) -> Match {
        let name: Name = text.parse().expect("a name");
        let found = table.find_and_learn(message, name.as_wire(), message.len());
        message.extend_from_slice(&name.as_wire()[..found.prefix]);
        if let Some(pointer) = found.pointer {
            message.extend_from_slice(&(0xc000 | pointer).to_be_bytes());
        }
        found
    }

    #[test]
    fn the_longest_suffix_is_found_and_case_is_kept() {
        let (mut table, mut message) = (Compressor::new(), std::vec![0; 12]);
        assert_eq!(write(&mut table, &mut message, "web.service.consul"), Match { prefix: 20, pointer: None });
        assert_eq!(write(&mut table, &mut message, "web.service.consul"), Match { prefix: 0, pointer: Some(12) });
        assert_eq!(write(&mut table, &mut message, "db.service.consul"), Match { prefix: 3, pointer: Some(16) });
        // Found through the pointer that ended the name before.
        let at = message.len() - 5 - 2;
        assert_eq!(at, 12 + 20 + 2 - 2);
        assert_eq!(write(&mut table, &mut message, "db.service.consul").prefix, 0);
        // Another spelling is another name here.
        assert_eq!(write(&mut table, &mut message, "web.service.CONSUL").pointer, None);
    }

    #[test]
    fn forgotten_names_are_not_found() {
        let (mut table, mut message) = (Compressor::new(), std::vec![0; 12]);
        write(&mut table, &mut message, "a.consul");
        let mark = message.len();
        write(&mut table, &mut message, "b.consul");
        message.truncate(mark);
        table.forget_from(mark);
        assert_eq!(write(&mut table, &mut message, "c.consul"), Match { prefix: 2, pointer: Some(14) });
        assert_eq!(write(&mut table, &mut message, "b.consul").prefix, 2);
    }

    #[test]
    fn a_full_table_costs_length_only() {
        let (mut table, mut message) = (Compressor::new(), std::vec![0; 12]);
        for i in 0..2000 {
            let text = std::format!("n{i}.x{i}");
            let found = write(&mut table, &mut message, &text);
            assert!(found.pointer.is_none(), "{text} was never written before");
        }
        assert_eq!(write(&mut table, &mut message, "n0.x0"), Match { prefix: 0, pointer: Some(12) });
    }
}
