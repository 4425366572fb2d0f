//! Packets under way, in buffers that are used again: nothing is allocated once a world has warmed up.

use std::net::SocketAddr;

/// A packet between two addresses.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Numbered packets and streams with a list of free numbers.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    slots: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Pool<T> {
    /// A slot to be filled: a used one if there is one.
    pub(crate) fn take(&mut self, fresh: impl FnOnce() -> T) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < crate::agenda::MOST, "too many packets under way");
            self.slots.push(fresh());
            self.slots.len() as u32 - 1
        })
    }

    /// Fills a slot.
    pub(crate) fn put(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = value;
                number
            }
            None => {
                assert!(self.slots.len() < crate::agenda::MOST, "too many streams at once");
                self.slots.push(value);
                self.slots.len() as u32 - 1
            }
        }
    }

    /// Gives a slot back, with what is in it.
    pub(crate) fn give(&mut self, number: u32) {
        self.free.push(number);
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl<T> std::ops::Index<u32> for Pool<T> {
    type Output = T;
    fn index(&self, number: u32) -> &T {
        &self.slots[number as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Pool<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.slots[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again() {
        let mut pool: Pool<Vec<u8>> = Pool::default();
        let a = pool.take(Vec::new);
        let b = pool.take(Vec::new);
        pool[a].extend([1, 2, 3]);
        assert_eq!((a, b, pool.used()), (0, 1, 2));
        pool.give(a);
        assert_eq!(pool.take(Vec::new), a);
        assert!(pool[a].capacity() >= 3, "the memory stays");
        pool.give(b);
        assert_eq!(pool.put(vec![9]), b);
        assert_eq!(pool[b], [9]);
    }
}
