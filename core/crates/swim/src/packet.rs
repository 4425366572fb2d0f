//! Packets: what is told in them, how they are sealed, and what is dropped when they come in.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_kit::{Out, Rng, Time};

use crate::broadcast;
use crate::config::Versions;
use crate::event::Action;
use crate::flaw::Flaw;
use crate::seal::OVERHEAD;
use crate::stall::Loop;
use crate::suspicion::SMALL;
use crate::swim::Swim;
use crate::table::State;
use crate::wire::{self, HEADER, MAGIC, Message, SEALED};

/// Between two warnings of one kind.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Confirmations are told this part of the times that other news are.
const CONFIRMATIONS: u32 = 3;

/// Nonces that are never used twice: see [`crate::seal`].
#[derive(Debug)]
pub(crate) struct Nonce {
    salt: u64,
    count: u32,
}

impl Nonce {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self { salt: rng.next_u64(), count: 0 }
    }

    fn next(&mut self, rng: &mut Rng) -> [u8; 12] {
        self.count = self.count.wrapping_add(1);
        if self.count == 0 {
            self.salt = rng.next_u64();
        }
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.salt.to_le_bytes());
        nonce[8..].copy_from_slice(&self.count.to_le_bytes());
        nonce
    }
}

impl Swim {
    /// The highest envelope version that all members know, for news go to anybody.
    pub(crate) fn find_language(&mut self) {
        let known = self.members.iter().filter(|m| m.state.is_up()).map(|m| m.profile.versions().max).min();
        let Versions { min, max } = self.config.versions;
        self.speaks = known.map_or(max, |known| known.clamp(min, max));
    }

    /// A member came that may know less than the others.
    pub(crate) fn mind_language(&mut self, versions: Versions) {
        self.speaks = self.speaks.min(versions.max).max(self.config.versions.min);
    }

    /// Queues news about a subject.
    pub(crate) fn tell(&mut self, now: Time, subject: u64, message: &Message<'_>) {
        self.tell_as(now, subject, message, (false, 0));
    }

    /// Queues that somebody else suspects a member, too. That is told less often than other news: it is there to shorten the
    /// suspicion, and for that some must hear of it; of the verdict then hear all. In a small pool it costs little, and brings
    /// an accusation to those who missed the first.
    pub(crate) fn tell_confirmation(&mut self, now: Time, subject: u64, message: &Message<'_>) {
        let n = self.members.up();
        let limit = broadcast::transmissions(self.config.retransmit_mult, n);
        let sent = if n <= SMALL { 0 } else { limit - limit.div_ceil(CONFIRMATIONS) };
        self.tell_as(now, subject, message, (false, sent));
    }

    /// Queues news, secret or not, that count as sent so often already.
    pub(crate) fn tell_as(&mut self, now: Time, subject: u64, message: &Message<'_>, (secret, sent): (bool, u32)) {
        let mut bytes = Vec::with_capacity(64);
        if !wire::push(message, &mut bytes) {
            return;
        }
        // Every one about a subject of its own, with this bug.
        let subject = if self.flaws.has(Flaw::QueueKeepsAll) { self.rng.next_u64() } else { subject };
        let depth = if self.flaws.has(Flaw::QueueKeepsAll) { usize::MAX } else { self.config.queue_depth };
        if self.broadcasts.push(subject, &bytes, secret, sent, depth) {
            self.stats.broadcasts_dropped += 1;
        }
        if self.gossip_at.is_none() && self.config.gossip_nodes > 0 {
            // At once, if the last round is long ago.
            self.gossip_at = Some((self.gossiped + self.config.gossip_interval).max(now));
        }
    }

    /// When the next round is due.
    pub(crate) fn gossip_due(&self) -> Option<Time> {
        self.gossip_at.filter(|_| !self.stall.holds(Loop::Gossip))
    }

    pub(crate) fn gossip(&mut self, now: Time, out: &mut Out<Action>) {
        self.stall.sends(Loop::Gossip);
        self.gossiped = now;
        let wanted = self.config.gossip_nodes as usize;
        let recent = self.config.gossip_to_the_dead;
        for to in self.pick(wanted, |slot, entry, swim| {
            slot != swim.own
                && (entry.state.is_up() || (entry.state == State::Failed && now.since(entry.since) < recent))
        }) {
            if self.broadcasts.is_empty() {
                break;
            }
            self.send(to.address(), &[], out);
        }
        self.gossip_at = (!self.broadcasts.is_empty()).then(|| now + self.config.gossip_interval);
    }

    /// Sends a packet: these messages, then as many broadcasts as fit.
    pub(crate) fn send(&mut self, to: SocketAddr, messages: &[Message<'_>], out: &mut Out<Action>) {
        self.send_as(to, messages, false, out);
    }

    pub(crate) fn send_as(&mut self, to: SocketAddr, messages: &[Message<'_>], secret: bool, out: &mut Out<Action>) {
        let mut packet = core::mem::take(&mut self.packet);
        wire::begin(self.speaks, self.config.pool, &mut packet);
        let mut count = messages.len() as u64;
        for message in messages {
            wire::push(message, &mut packet);
        }
        let overhead = if self.keyring.is_empty() { 0 } else { OVERHEAD };
        let room = self.config.packet_bytes.saturating_sub(packet.len() + overhead);
        let mut secret = secret;
        if !self.broadcasts.is_empty() {
            let limit = broadcast::transmissions(self.config.retransmit_mult, self.members.up());
            let (news, hidden) = self.broadcasts.fill(&mut packet, room, limit);
            count += news;
            secret |= hidden;
        }
        if packet.len() > HEADER {
            self.seal(&mut packet, secret);
            self.stats.packets_out += 1;
            self.stats.messages_out += count;
            self.stats.bytes_out += packet.len() as u64;
            let mut datagram = out.datagram(to);
            datagram.write(&packet);
            datagram.commit();
        }
        self.packet = packet;
    }

    /// Seals what follows the header, if there is a key and it must be.
    pub(crate) fn seal(&mut self, packet: &mut Vec<u8>, secret: bool) {
        if self.keyring.is_empty() || !(self.config.verify_outgoing || secret) || packet.len() < HEADER {
            return;
        }
        packet[2] |= SEALED;
        let aad = [packet[0], packet[1], packet[2]];
        let nonce = self.nonce.next(&mut self.rng);
        // There is a key, so it is sealed; otherwise the packet is of no use to anybody, and says nothing.
        if !self.keyring.seal(nonce, &aad, packet, HEADER) {
            packet.clear();
        }
    }

    /// Checks the header, opens what is sealed; counts and says why not.
    pub(crate) fn open<'b>(&mut self, bytes: &'b [u8], plain: &'b mut Vec<u8>) -> Result<&'b [u8], &'static str> {
        let Some(([magic, version, kind], body)) = bytes.split_first_chunk::<HEADER>() else {
            self.stats.dropped_foreign += 1;
            return Err("it is too short");
        };
        if *magic != MAGIC || *version < self.config.versions.min || *version > self.config.versions.max {
            self.stats.dropped_foreign += 1;
            return Err("it is not of this protocol, or of a version that is not spoken here");
        }
        if kind & !SEALED != self.config.pool {
            self.stats.dropped_pool += 1;
            return Err("it belongs to another pool: a LAN port was given for a WAN port, or the other way round");
        }
        if kind & SEALED == 0 {
            let taken = self.keyring.is_empty() || !self.config.verify_incoming || self.flaws.has(Flaw::UnsealedTaken);
            if !taken {
                self.stats.dropped_plain += 1;
                return Err("it is not encrypted, and encrypt_verify_incoming is on here");
            }
            return Ok(body);
        }
        let keys = if self.flaws.has(Flaw::OnlyPrimaryOpens) { 1 } else { usize::MAX };
        if !self.keyring.open_with(keys, &[*magic, *version, *kind], body, plain) {
            self.stats.dropped_sealed += 1;
            return Err(if self.keyring.is_empty() {
                "it is encrypted, and there is no key here"
            } else {
                "it is encrypted with a key that is not in the keyring here"
            });
        }
        Ok(plain)
    }

    /// Warns, once a minute for each kind.
    pub(crate) fn warn(&mut self, now: Time, kind: &'static str, text: impl FnOnce() -> String, out: &mut Out<Action>) {
        if self.warned.get(kind).is_some_and(|at| now.since(*at) < WARN_EVERY) {
            return;
        }
        self.warned.insert(kind, now);
        out.push(Action::Warn(text()));
    }

    pub(crate) fn datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut Out<Action>) {
        self.stats.packets_in += 1;
        self.stats.bytes_in += bytes.len() as u64;
        let mut plain = core::mem::take(&mut self.opened);
        match self.open(bytes, &mut plain) {
            Err(why) => self.warn(now, why, || format!("dropped a packet from {from}: {why}"), out),
            Ok(body) => {
                self.heard(now);
                for piece in wire::Pieces(body) {
                    match piece.map(postcard::from_bytes::<Message<'_>>) {
                        Some(Ok(message)) => {
                            self.stats.messages_in += 1;
                            self.message(now, from, &message, out);
                        }
                        _ => self.stats.dropped_malformed += 1,
                    }
                }
            }
        }
        self.opened = plain;
    }
}
