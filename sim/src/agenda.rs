//! What happens next: events ordered by time, and by the order of their making within one moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that is to happen, with the number of whom or what it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A node's next deadline.
    Timer(u32),
    /// A packet comes to its address.
    Packet(u32),
    /// The frame of a dialler comes to the address it dialled.
    Request(u32),
    /// The answer comes to the dialler.
    Response(u32),
    /// The dialler's patience is over.
    Limit(u32),
    /// The other half of a node's starvation begins.
    Turn(u32),
    /// A member is due to be crashed or started again by churn.
    Churn(u32),
}

/// Bits of a number of a node, packet or stream.
const NUMBER: u32 = 24;
/// Bits of a kind.
const KIND: u32 = 3;
/// Numbers are below this.
pub(crate) const MOST: usize = 1 << NUMBER;

impl What {
    const fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Timer(n) => (0, n),
            Self::Packet(n) => (1, n),
            Self::Request(n) => (2, n),
            Self::Response(n) => (3, n),
            Self::Limit(n) => (4, n),
            Self::Turn(n) => (5, n),
            Self::Churn(n) => (6, n),
        };
        (kind << NUMBER) | number as u64
    }

    const fn unpack(bits: u64) -> Self {
        let number = bits as u32 & (MOST as u32 - 1);
        match (bits >> NUMBER) & ((1 << KIND) - 1) {
            0 => Self::Timer(number),
            1 => Self::Packet(number),
            2 => Self::Request(number),
            3 => Self::Response(number),
            4 => Self::Limit(number),
            5 => Self::Turn(number),
            _ => Self::Churn(number),
        }
    }
}

/// A heap of 16-byte entries: time, order, and what. One comparison of two integers orders two entries, and four children
/// fill a cache line.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<u128>>,
    made: u64,
}

impl Agenda {
    /// Adds one.
    pub(crate) fn push(&mut self, at: u64, what: What) {
        // 37 bits of order: 137 billion events, more than a day of computing.
        debug_assert!(self.made < 1 << (64 - NUMBER - KIND));
        let low = (self.made << (NUMBER + KIND)) | what.pack();
        self.made += 1;
        self.heap.push(Reverse((u128::from(at) << 64) | u128::from(low)));
    }

    /// Takes the next one, if it is not later than `until`.
    pub(crate) fn pop(&mut self, until: u64) -> Option<(u64, What)> {
        let Reverse(next) = *self.heap.peek()?;
        let at = (next >> 64) as u64;
        if at > until {
            return None;
        }
        self.heap.pop();
        Some((at, What::unpack(next as u64)))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_comes_first_and_equal_times_keep_their_order() {
        let mut agenda = Agenda::default();
        agenda.push(7, What::Limit(MOST as u32 - 1));
        agenda.push(5, What::Packet(2));
        agenda.push(5, What::Timer(1));
        agenda.push(5, What::Churn(0));
        assert_eq!(agenda.len(), 4);
        assert_eq!(agenda.pop(4), None);
        assert_eq!(agenda.pop(5), Some((5, What::Packet(2))));
        assert_eq!(agenda.pop(9), Some((5, What::Timer(1))));
        assert_eq!(agenda.pop(9), Some((5, What::Churn(0))));
        assert_eq!(agenda.pop(9), Some((7, What::Limit(MOST as u32 - 1))));
        assert_eq!(agenda.pop(u64::MAX), None);
    }
}
