//! Packets of the past, to be played again: what a network that duplicates and delays without bound does.

use std::net::SocketAddr;

/// The last packets that were sent, or a sample of them.
#[derive(Debug)]
pub struct Tape {
    packets: Vec<(u32, SocketAddr, Vec<u8>)>,
    frames: Vec<(u32, SocketAddr, Vec<u8>)>,
    most: usize,
    /// One in so many is kept.
    every: usize,
    seen: usize,
}

impl Tape {
    /// Keeps one packet in `every`, at most `most`; then the oldest are overwritten.
    #[must_use]
    pub const fn new(every: usize, most: usize) -> Self {
        Self { packets: Vec::new(), frames: Vec::new(), most, every, seen: 0 }
    }

    pub(crate) fn record(&mut self, from: u32, to: SocketAddr, bytes: &[u8]) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return;
        }
        let packet = (from, to, bytes.to_vec());
        if self.packets.len() < self.most {
            self.packets.push(packet);
        } else if self.most > 0 {
            let at = (self.seen / self.every - 1) % self.most;
            self.packets[at] = packet;
        }
    }

    pub(crate) fn record_frame(&mut self, from: u32, to: SocketAddr, frame: &[u8]) {
        if self.frames.len() < self.most {
            self.frames.push((from, to, frame.to_vec()));
        }
    }

    /// Frames that were kept, the first so many: dialler, peer, body.
    #[must_use]
    pub fn frames(&self) -> &[(u32, SocketAddr, Vec<u8>)] {
        &self.frames
    }

    /// What was kept: sender, receiver, bytes.
    #[must_use]
    pub fn packets(&self) -> &[(u32, SocketAddr, Vec<u8>)] {
        &self.packets
    }
}

impl crate::World {
    /// Starts to record.
    pub fn record(&mut self, tape: Tape) {
        self.tape = Some(tape);
    }

    /// Ends recording.
    pub fn stop_recording(&mut self) -> Tape {
        self.tape.take().unwrap_or_else(|| Tape::new(1, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_a_sample_of_the_last() {
        let mut tape = Tape::new(2, 3);
        let to = crate::world::address_of(1);
        (0..10).for_each(|i| tape.record(i, to, &[i as u8]));
        let mut kept: Vec<u32> = tape.packets().iter().map(|(from, ..)| *from).collect();
        kept.sort_unstable();
        assert_eq!(kept, [5, 7, 9]);
    }
}
