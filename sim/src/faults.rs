//! What can go wrong with a node: crashes, pauses, starvation, churn.

use std::mem;
use std::time::Duration;

use crate::agenda::What;
use crate::node::{Blocking, Health, Starving, Waiting};
use crate::world::{World, kernel_size};

impl World {
    fn fault(&mut self, kind: u64, number: u32) {
        self.fold(kind, number, 0);
        if self.traced {
            let what = ["crashes", "stands still", "is blocked", "runs again"].get(kind as usize - 20).unwrap_or(&"?");
            self.trace_text(number, what);
        }
    }

    /// Ends a member without a word. What waits at its door is lost.
    pub fn crash(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        if let Some(swim) = node.swim.take() {
            node.highest = node.highest.max(swim.incarnation());
        }
        node.health = Health::Down;
        node.since = self.now;
        node.starving = None;
        node.scheduled = u64::MAX;
        node.stuck = false;
        node.overdue = false;
        let inbox = mem::take(&mut node.inbox);
        let outbox = mem::take(&mut node.outbox);
        node.inbox_bytes = 0;
        node.held.clear();
        for waiting in inbox {
            if let Waiting::Packet(packet) = waiting {
                self.packets.give(packet);
            }
        }
        for (packet, _) in outbox {
            self.packets.give(packet);
        }
        self.fault(20, number);
    }

    /// Lets a member stand still: its clock runs, packets wait in the socket until it is full.
    pub fn pause(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        if node.is_up() {
            node.health = Health::Paused;
            self.fault(21, number);
        }
    }

    /// What a member sends and receives waits from now on; its timers run.
    pub fn block(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        if node.is_up() {
            node.health = Health::Blocked;
            if let Some(swim) = node.swim.as_mut().filter(|_| self.blocking == Blocking::Loops) {
                swim.block_sends(true);
            }
            self.fault(22, number);
        }
    }

    /// Lets a member run again: first what it wanted to send goes out, then it gets what waited. Timers that came due
    /// fire before that or after it, as chance has it: a process that wakes up may look at its clock or at its sockets.
    pub fn resume(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        if !matches!(node.health, Health::Paused | Health::Blocked) {
            return;
        }
        node.health = Health::Up;
        node.stuck = false;
        let mut overdue = mem::take(&mut node.overdue);
        if let Some(swim) = node.swim.as_mut().filter(|_| self.blocking == Blocking::Loops) {
            swim.block_sends(false);
            overdue = true;
        }
        let outbox = mem::take(&mut node.outbox);
        let held = mem::take(&mut node.held);
        let mut inbox = mem::take(&mut node.inbox);
        node.inbox_bytes = 0;
        self.fault(23, number);
        for (packet, to) in outbox {
            self.send_held(number, packet, to);
        }
        for waiting in held {
            match waiting {
                Waiting::Request(stream) => self.send_request(stream),
                Waiting::Response(stream) => self.send_response(number, stream),
                Waiting::Packet(_) => {}
            }
        }
        let timers_first = self.rng.one_in(2);
        if overdue && timers_first {
            self.fire(number);
        }
        while let Some(waiting) = inbox.pop_front() {
            match waiting {
                Waiting::Packet(packet) => self.hand_packet(number, packet),
                Waiting::Request(stream) => self.hand_request(number, stream),
                Waiting::Response(stream) => self.hand_response(stream),
            }
        }
        if overdue && !timers_first {
            self.fire(number);
        }
    }

    /// What becomes of members whose sends are blocked; [`Blocking::Process`] unless told otherwise.
    pub const fn block_as(&mut self, blocking: Blocking) {
        self.blocking = blocking;
    }

    /// Starves a member from now on: blocked, then running, and so on. As the anomalies of the Lifeguard paper.
    pub fn starve(&mut self, number: u32, blocked: Duration, running: Duration) {
        let node = &mut self.nodes[number as usize];
        node.starving =
            Some(Starving { blocked: blocked.as_nanos() as u64, running: running.as_nanos().max(1) as u64 });
        self.block(number);
        let at = self.now + blocked.as_nanos() as u64;
        self.agenda.push(at, What::Turn(number));
    }

    /// Feeds a member again.
    pub fn feed(&mut self, number: u32) {
        self.nodes[number as usize].starving = None;
        self.resume(number);
    }

    /// The other half of a starvation begins.
    pub(crate) fn turn(&mut self, number: u32) {
        let node = &self.nodes[number as usize];
        let Some(starving) = node.starving else { return };
        let next = if node.health == Health::Blocked {
            self.resume(number);
            starving.running
        } else {
            self.block(number);
            starving.blocked
        };
        self.agenda.push(self.now + next, What::Turn(number));
    }

    /// From now on crashes a member now and then and starts it again: up for `up` and down for `down` on average.
    /// It joins through whoever is up.
    pub fn start_churn(&mut self, number: u32, up: Duration, down: Duration) {
        self.nodes[number as usize].churn = Some((up.as_nanos() as u64, down.as_nanos() as u64));
        let at = self.now + self.rng.below(2 * up.as_nanos() as u64);
        self.agenda.push(at, What::Churn(number));
    }

    /// Ends churn of a member; it stays as it is.
    pub fn stop_churn(&mut self, number: u32) {
        self.nodes[number as usize].churn = None;
    }

    pub(crate) fn churn(&mut self, number: u32) {
        let Some((up, down)) = self.nodes[number as usize].churn else { return };
        let next = if self.nodes[number as usize].is_up() {
            self.crash(number);
            down
        } else {
            self.rejoin(number);
            up
        };
        let at = self.now + self.rng.below(2 * next);
        self.agenda.push(at, What::Churn(number));
    }

    /// Starts a member that joins through up to three others that are up.
    pub fn rejoin(&mut self, number: u32) {
        self.start(number);
        let mut others: Vec<u32> =
            self.nodes().filter(|(n, node)| *n != number && node.takes_part()).map(|(n, _)| n).collect();
        self.rng.shuffle(&mut others);
        others.truncate(3);
        self.join(number, &others);
    }

    /// Lets a member join through these.
    pub fn join(&mut self, number: u32, through: &[u32]) {
        let addresses = through.iter().map(|n| self.address_of(*n)).collect();
        let ticket = convoke_swim::Ticket(u64::from(number));
        self.command(number, convoke_swim::Command::Join { ticket, addresses });
    }

    /// What goes to or comes from a node waits for so long, and then comes at once.
    pub fn clog(&mut self, number: u32, span: Duration) {
        let until = self.now + span.as_nanos() as u64;
        self.network.clog(number, until);
    }

    /// Bytes that wait in the socket of a node.
    #[must_use]
    pub fn backlog(&self, number: u32) -> usize {
        let waiting = self.nodes[number as usize].inbox.iter();
        let size = |w: &Waiting| if let Waiting::Packet(p) = w { kernel_size(self.packets[*p].bytes.len()) } else { 0 };
        waiting.map(size).sum()
    }
}
