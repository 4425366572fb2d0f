//! What happens next: by time, and within one moment in the order of making.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bits of a place in the store of events.
const PLACE: u32 = 24;

/// Events by time. Their bodies stand in a store whose places are used again.
#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<u128>>,
    made: u64,
    store: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), made: 0, store: Vec::new(), free: Vec::new() }
    }
}

impl<T> Queue<T> {
    /// Adds one.
    pub(super) fn push(&mut self, at: u64, event: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            assert!(self.store.len() < 1 << PLACE, "too many events wait");
            self.store.push(None);
            self.store.len() as u32 - 1
        });
        self.store[place as usize] = Some(event);
        self.made += 1;
        let low = self.made << PLACE | u64::from(place);
        self.heap.push(Reverse(u128::from(at) << 64 | u128::from(low)));
    }

    /// Takes the next one, if it is not later than `until`.
    pub(super) fn pop(&mut self, until: u64) -> Option<(u64, T)> {
        let Reverse(next) = *self.heap.peek()?;
        let at = (next >> 64) as u64;
        if at > until {
            return None;
        }
        self.heap.pop();
        let place = next as u32 & ((1 << PLACE) - 1);
        self.free.push(place);
        self.store[place as usize].take().map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_comes_first_and_equal_times_keep_their_order() {
        let mut queue = Queue::default();
        queue.push(7, "d");
        queue.push(5, "a");
        queue.push(5, "b");
        assert_eq!(queue.pop(4), None);
        assert_eq!(queue.pop(5), Some((5, "a")));
        queue.push(5, "c");
        assert_eq!(queue.pop(9), Some((5, "b")));
        assert_eq!(queue.pop(9), Some((5, "c")));
        assert_eq!(queue.pop(9), Some((7, "d")));
        assert_eq!(queue.pop(u64::MAX), None);
    }
}
