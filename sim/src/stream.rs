//! Streams: a frame there, a frame back, within the dialler's patience.

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use convoke_swim::{Event, ExchangeId, StreamId};

use crate::agenda::What;
use crate::node::{Blocking, Health, Waiting};
use crate::world::World;

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request is on its way, or waits at the door.
    Asked,
    /// The request was handed in.
    Accepted,
    /// The answer is on its way.
    Answered,
    /// The dialler knows the outcome.
    Over,
}

/// One stream. Its slot lives until its limit, so that no event of the agenda outlives it.
#[derive(Debug)]
pub(crate) struct Stream {
    stage: Stage,
    dialler: u32,
    /// Life of the dialler that opened it.
    life: u32,
    exchange: ExchangeId,
    to: SocketAddr,
    frame: Vec<u8>,
    refused: bool,
    /// When the dialler's patience ends.
    limit: u64,
    /// The node at whose door it waits.
    waits_at: Option<u32>,
}

impl World {
    /// Carries out an `Action::Dial`.
    pub(crate) fn dial(&mut self, node: u32, exchange: ExchangeId, to: SocketAddr, frame: Vec<u8>, limit: Duration) {
        self.counters.dials += 1;
        self.counters.frame_bytes += frame.len() as u64;
        if let Some(tape) = &mut self.tape {
            tape.record_frame(node, to, &frame);
        }
        let life = self.nodes[node as usize].lives;
        let limit = self.now.saturating_add(limit.as_nanos() as u64);
        let stage = Stage::Asked;
        let stream = Stream { stage, dialler: node, life, exchange, to, frame, refused: false, limit, waits_at: None };
        let number = self.streams.put(stream);
        self.agenda.push(limit, What::Limit(number));
        if self.nodes[node as usize].health == Health::Blocked {
            self.hold(node, Waiting::Request(number), number);
        } else {
            self.send_request(number);
        }
    }

    /// Lets a stream wait at the door of a node that takes nothing.
    fn wait(&mut self, node: u32, waiting: Waiting, number: u32) {
        self.streams[number].waits_at = Some(node);
        self.nodes[node as usize].inbox.push_back(waiting);
    }

    /// Lets a stream wait inside a node that sends nothing.
    fn hold(&mut self, node: u32, waiting: Waiting, number: u32) {
        self.streams[number].waits_at = Some(node);
        self.nodes[node as usize].held.push(waiting);
        self.nodes[node as usize].stuck |= self.blocking == Blocking::Process;
    }

    /// Something happens to a stream after a delay, unless its limit comes first.
    fn later(&mut self, number: u32, delay: Option<u64>, what: What) {
        let Some(delay) = delay else { return };
        let at = self.now.saturating_add(delay);
        if at < self.streams[number].limit {
            self.agenda.push(at, what);
        }
    }

    /// Sends the request off: three trips (SYN, its answer, the frame).
    pub(crate) fn send_request(&mut self, number: u32) {
        let (dialler, to) = (self.streams[number].dialler, self.streams[number].to);
        let Some(peer) = self.node_at(to) else {
            // An address where no machine is: nobody says so.
            return;
        };
        let delay = self.network.frame(&mut self.rng, dialler, peer, self.now, 3);
        self.later(number, delay, What::Request(number));
    }

    /// A request comes to its address.
    pub(crate) fn request(&mut self, number: u32) {
        let stream = &self.streams[number];
        if stream.stage != Stage::Asked {
            return;
        }
        let Some(peer) = self.node_at(stream.to) else { return };
        match self.nodes[peer as usize].health {
            // The machine is there, the process is not: refused.
            Health::Down => {
                self.streams[number].refused = true;
                self.agenda.push(self.now, What::Response(number));
            }
            // The kernel accepts for a process that stands still.
            Health::Paused | Health::Blocked => self.wait(peer, Waiting::Request(number), number),
            Health::Up => self.hand_request(peer, number),
        }
    }

    /// Hands a request to the member at its address.
    pub(crate) fn hand_request(&mut self, node: u32, number: u32) {
        let stream = &mut self.streams[number];
        if stream.stage != Stage::Asked {
            return;
        }
        stream.stage = Stage::Accepted;
        let (dialler, frame) = (stream.dialler, mem::take(&mut stream.frame));
        let from = crate::world::address_of(self.nodes[dialler as usize].address);
        self.fold(2, node, crate::digest::bytes(&frame));
        self.hand(node, Event::Request { stream: StreamId(number.into()), from, frame: &frame });
    }

    /// Carries out an `Action::Respond`.
    pub(crate) fn respond(&mut self, node: u32, name: StreamId, frame: Vec<u8>) {
        let number = name.0 as u32;
        let stream = &mut self.streams[number];
        if stream.stage != Stage::Accepted {
            return;
        }
        self.counters.frame_bytes += frame.len() as u64;
        stream.frame = frame;
        stream.stage = Stage::Answered;
        if self.nodes[node as usize].health == Health::Blocked {
            self.hold(node, Waiting::Response(number), number);
        } else {
            self.send_response(node, number);
        }
    }

    /// Sends the answer off.
    pub(crate) fn send_response(&mut self, node: u32, number: u32) {
        let dialler = self.streams[number].dialler;
        let delay = self.network.frame(&mut self.rng, node, dialler, self.now, 1);
        self.later(number, delay, What::Response(number));
    }

    /// An answer, or a refusal, comes to the dialler.
    pub(crate) fn response(&mut self, number: u32) {
        let dialler = self.streams[number].dialler;
        match self.nodes[dialler as usize].health {
            Health::Down => {}
            Health::Paused | Health::Blocked => self.wait(dialler, Waiting::Response(number), number),
            Health::Up => self.hand_response(number),
        }
    }

    /// Hands the outcome to the dialler.
    pub(crate) fn hand_response(&mut self, number: u32) {
        if self.streams[number].refused {
            self.end_dial(number, "connection refused");
            return;
        }
        let stream = &mut self.streams[number];
        if stream.stage != Stage::Answered {
            return;
        }
        stream.stage = Stage::Over;
        let (dialler, life, exchange) = (stream.dialler, stream.life, stream.exchange);
        let frame = mem::take(&mut stream.frame);
        if self.nodes[dialler as usize].lives == life {
            self.fold(3, dialler, crate::digest::bytes(&frame));
            self.hand(dialler, Event::Response { exchange, frame: &frame });
        }
    }

    /// The dialler's patience is over; the slot is free after this.
    pub(crate) fn limit(&mut self, number: u32) {
        let dialler = self.streams[number].dialler as usize;
        if self.nodes[dialler].stands_still() {
            // It will notice when it runs again.
            let later = self.now.saturating_add(100_000_000);
            self.agenda.push(later, What::Limit(number));
            return;
        }
        self.end_dial(number, "i/o timeout");
        if let Some(node) = self.streams[number].waits_at {
            // Whoever does not take what waits must not meet another stream in this slot later.
            let other =
                |waiting: &Waiting| !matches!(waiting, Waiting::Request(n) | Waiting::Response(n) if *n == number);
            self.nodes[node as usize].inbox.retain(other);
            self.nodes[node as usize].held.retain(other);
        }
        self.streams.give(number);
    }

    fn end_dial(&mut self, number: u32, error: &str) {
        let stream = &mut self.streams[number];
        if stream.stage == Stage::Over {
            return;
        }
        stream.stage = Stage::Over;
        stream.frame = Vec::new();
        self.counters.dials_failed += 1;
        let (dialler, life, exchange) = (stream.dialler, stream.life, stream.exchange);
        let node = &self.nodes[dialler as usize];
        if node.lives == life && node.is_up() {
            self.fold(4, dialler, exchange.0);
            self.hand(dialler, Event::DialFailed { exchange, error });
        }
    }

    /// The node at an address, dead or alive.
    #[must_use]
    pub fn node_at(&self, address: SocketAddr) -> Option<u32> {
        let number = crate::world::address_number(address)?;
        self.homes.get(number as usize).copied().filter(|node| *node != u32::MAX)
    }
}
