//! The last bytes of a stream.

use std::collections::VecDeque;

/// Keeps the last `limit` bytes of what it is given, and counts all.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: VecDeque<u8>,
    limit: usize,
    seen: u64,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: VecDeque::new(), limit, seen: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        let bytes = bytes.get(bytes.len().saturating_sub(self.limit)..).unwrap_or_default();
        let excess = (self.kept.len() + bytes.len()).saturating_sub(self.limit);
        self.kept.drain(..excess);
        self.kept.extend(bytes);
    }

    /// All bytes it was given.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_bytes_whatever_the_pieces() {
        let input: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for limit in [0, 1, 7, 64, 999, 1000, 2000] {
            for piece in [1, 3, 64, 65, 1000] {
                let mut tail = Tail::new(limit);
                for bytes in input.chunks(piece) {
                    tail.push(bytes);
                }
                assert_eq!(tail.seen(), 1000);
                assert_eq!(tail.take(), input[1000 - limit.min(1000)..], "limit {limit} piece {piece}");
            }
        }
    }
}
