//! Many datagrams in one system call: recvmmsg and sendmmsg.
//!
//! Under load a wake-up finds a queue of queries; taking and answering them together saves two system calls for each.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use crate::rt::Udp;

/// Datagrams taken at once.
const SLOTS: usize = 32;
/// Largest datagram taken whole; a longer one is cut, and then no query any more.
const SLOT: usize = 4096;

thread_local! {
    // Kept per thread, since the kernel's headers hold pointers and cannot travel between threads; and per family,
    // since the kernel leaves the length of the last address in them.
    static RECEIVE_V4: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(SLOTS, None));
    static RECEIVE_V6: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(SLOTS, None));
    static SEND: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(SLOTS, None));
}

/// Received datagrams, and replies to them. Reused.
#[derive(Debug)]
pub(super) struct Batch {
    v4: bool,
    buffers: Vec<u8>,
    received: Vec<(usize, SocketAddr)>,
    bytes: Vec<u8>,
    replies: Vec<Range<usize>>,
    to: Vec<Option<SockaddrStorage>>,
}

impl Batch {
    /// For a socket of this family.
    pub(super) fn new(v4: bool) -> Self {
        Self {
            v4,
            buffers: vec![0; SLOTS * SLOT],
            received: Vec::with_capacity(SLOTS),
            bytes: Vec::new(),
            replies: Vec::with_capacity(SLOTS),
            to: Vec::with_capacity(SLOTS),
        }
    }

    /// Waits for datagrams and takes up to [`SLOTS`] of them. Forgets the ones before.
    pub(super) async fn receive(&mut self, socket: &impl Udp) -> io::Result<()> {
        self.received.clear();
        self.bytes.clear();
        self.replies.clear();
        self.to.clear();
        socket.when_readable(|fd| self.take(fd)).await
    }

    fn take(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let headers = if self.v4 { &RECEIVE_V4 } else { &RECEIVE_V6 };
        headers.with_borrow_mut(|headers| {
            let mut slots: Vec<_> = self.buffers.chunks_mut(SLOT).map(|slot| [IoSliceMut::new(slot)]).collect();
            let got = recvmmsg(fd.as_raw_fd(), headers, slots.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
            for datagram in got {
                let from = datagram.address.as_ref().and_then(address);
                // Without a sender there is nobody to answer: an address of port 0 is passed over later.
                self.received.push((datagram.bytes, from.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))));
            }
            Ok(())
        })
    }

    /// How many were received.
    pub(super) fn len(&self) -> usize {
        self.received.len()
    }

    /// A received datagram and its sender.
    pub(super) fn datagram(&self, at: usize) -> (&[u8], SocketAddr) {
        let (len, from) = self.received[at];
        (&self.buffers[at * SLOT..at * SLOT + len.min(SLOT)], from)
    }

    /// Queues a reply.
    pub(super) fn reply(&mut self, bytes: &[u8], to: SocketAddr) {
        if to.port() == 0 {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.replies.push(start..self.bytes.len());
        self.to.push(Some(to.into()));
    }

    /// Sends the queued replies. What the kernel refuses is lost, as the network may lose it; the client asks again.
    pub(super) async fn send(&mut self, socket: &impl Udp) {
        let mut sent = 0;
        while sent < self.replies.len() {
            sent += match socket.when_writable(|fd| self.push(fd, sent)).await {
                Ok(n) => n.max(1),
                // The first one is at fault: pass it over.
                Err(_) => 1,
            };
        }
    }

    fn push(&self, fd: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        SEND.with_borrow_mut(|headers| {
            let slices: Vec<_> = self.replies[from..].iter().map(|r| [IoSlice::new(&self.bytes[r.clone()])]).collect();
            let to = &self.to[from..];
            Ok(sendmmsg(fd.as_raw_fd(), headers, slices.iter(), to, [], MsgFlags::MSG_DONTWAIT)?.count())
        })
    }
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
        (_, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
        _ => None,
    }
}
