//! Where a machine puts what it wants done.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

/// Actions and datagrams of one or more calls. Belongs to the caller, who drains and reuses it.
///
/// Datagrams are written back to back into one buffer, so that a driver can send them as one batch. Each has a lane,
/// which says through which of the driver's sockets it goes; a machine with one socket never mentions it.
#[derive(Debug)]
pub struct Out<A> {
    actions: Vec<A>,
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, u8, Range<usize>)>,
}

/// A committed datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Receiver.
    pub to: SocketAddr,
    /// Which socket; 0 unless the machine says otherwise.
    pub lane: u8,
    /// Payload.
    pub bytes: &'a [u8],
}

impl<A> Default for Out<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Out<A> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { actions: Vec::new(), bytes: Vec::new(), datagrams: Vec::new() }
    }

    /// Adds an action.
    pub fn push(&mut self, action: A) {
        self.actions.push(action);
    }

    /// Starts a datagram on lane 0. Dropping the guard takes its bytes back; [`DatagramGuard::commit`] keeps them.
    pub fn datagram(&mut self, to: SocketAddr) -> DatagramGuard<'_, A> {
        self.datagram_on(0, to)
    }

    /// Starts a datagram on a lane.
    pub fn datagram_on(&mut self, lane: u8, to: SocketAddr) -> DatagramGuard<'_, A> {
        let start = self.bytes.len();
        DatagramGuard { out: self, to, lane, start, kept: false }
    }

    /// Takes the actions, oldest first.
    pub fn drain_actions(&mut self) -> alloc::vec::Drain<'_, A> {
        self.actions.drain(..)
    }

    /// The actions, oldest first.
    #[must_use]
    pub fn actions(&self) -> &[A] {
        &self.actions
    }

    /// The committed datagrams, oldest first.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        self.datagrams.iter().map(|(to, lane, r)| Datagram { to: *to, lane: *lane, bytes: &self.bytes[r.clone()] })
    }

    /// Takes over the datagrams of a child's output, on a lane of this one's, and forgets them there.
    pub fn take_datagrams<B>(&mut self, lane: u8, child: &mut Out<B>) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&child.bytes);
        let moved = child.datagrams.drain(..).map(|(to, _, r)| (to, lane, r.start + offset..r.end + offset));
        self.datagrams.extend(moved);
        child.bytes.clear();
    }

    /// Forgets the datagrams (after they were sent). Keeps the memory.
    pub fn clear_datagrams(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }

    /// Nothing to do and nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.datagrams.is_empty()
    }
}

/// A datagram being written into the caller's batch.
#[derive(Debug)]
pub struct DatagramGuard<'a, A> {
    out: &'a mut Out<A>,
    to: SocketAddr,
    lane: u8,
    start: usize,
    kept: bool,
}

impl<A> DatagramGuard<'_, A> {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.out.bytes[self.start..]
    }

    /// Bytes written so far, to be changed in place (sealing, patching lengths).
    pub fn written_mut(&mut self) -> &mut [u8] {
        &mut self.out.bytes[self.start..]
    }

    /// Cuts the datagram back to `len` bytes; no effect if it is shorter.
    pub fn truncate(&mut self, len: usize) {
        self.out.bytes.truncate(self.start.saturating_add(len));
    }

    /// Keeps the datagram. An empty one is dropped.
    pub fn commit(mut self) {
        let range = self.start..self.out.bytes.len();
        if !range.is_empty() {
            self.out.datagrams.push((self.to, self.lane, range));
        }
        self.kept = true;
    }
}

impl<A> Drop for DatagramGuard<'_, A> {
    fn drop(&mut self) {
        if !self.kept {
            self.out.bytes.truncate(self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};

    const TO: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn a_dropped_datagram_leaves_nothing() {
        let mut out: Out<()> = Out::new();
        let mut d = out.datagram(TO);
        d.write(b"kept");
        d.commit();
        out.datagram(TO).write(b"gone");
        let mut d = out.datagram(TO);
        d.write(b"second!");
        d.truncate(6);
        d.written_mut()[0] = b'S';
        assert_eq!(d.written(), b"Second");
        d.commit();
        out.datagram(TO).commit();
        let all: Vec<_> = out.datagrams().map(|d| d.bytes.to_vec()).collect();
        assert_eq!(all, [b"kept".to_vec(), b"Second".to_vec()]);
        out.clear_datagrams();
        assert!(out.is_empty());
    }

    #[test]
    fn datagrams_of_a_child_keep_their_bytes_and_get_a_lane() {
        let (mut child, mut out): (Out<()>, Out<u8>) = (Out::new(), Out::new());
        for text in [b"one", b"two"] {
            let mut d = child.datagram(TO);
            d.write(text);
            d.commit();
        }
        let mut d = out.datagram(TO);
        d.write(b"own");
        d.commit();
        out.take_datagrams(3, &mut child);
        assert!(child.is_empty());
        let all: Vec<_> = out.datagrams().map(|d| (d.lane, d.bytes)).collect();
        assert_eq!(all, [(0, &b"own"[..]), (3, b"one"), (3, b"two")]);
    }

    #[test]
    fn actions_drain_in_order() {
        let mut out = Out::new();
        out.push(1);
        out.push(2);
        assert_eq!(out.actions(), [1, 2]);
        assert_eq!(out.drain_actions().collect::<Vec<_>>(), [1, 2]);
        assert!(out.is_empty());
    }
}
