//! Snapshots: taking the own one, sending it in pieces, putting pieces together, installing (section 7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_kit::Time;

use crate::event::Role;
use crate::flaw::Flaw;
use crate::message::Message;
use crate::progress::{Mode, Progress};
use crate::raft::{Actions, Raft};
use crate::types::{Blob, Index, NodeId, Position, Snapshot, SnapshotMeta};

/// A snapshot that is being received.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    meta: SnapshotMeta,
    data: Vec<u8>,
}

impl Raft {
    // ---- taking

    /// The state machine exported its state. What does not fit is left alone: it may come late, or twice.
    pub(crate) fn snapshot_taken(&mut self, index: Index, data: Blob) {
        let Some(term) = self.log.term_at(index) else { return };
        if index > self.applied || index <= self.log.snapshot_position().index {
            return;
        }
        let at = if self.flaws.has(Flaw::LatestMembership) { Index::MAX } else { index };
        let (since, membership) = self.history.at(at);
        let since = since.min(index);
        let snapshot = Arc::new(Snapshot::new(Position { term, index }, Arc::clone(membership), since, data));
        self.log.compact(Arc::clone(&snapshot), self.config.trailing, self.config.snapshot_bytes / 2);
        self.history.compact(index);
        // On disk the base is kept, too: its term is needed to compare what follows it.
        self.writes.snapshot(snapshot, self.log.base().index.max(1));
    }

    // ---- sending

    /// The next piece for a follower that needs one, if none is under way.
    pub(crate) fn send_chunk(&mut self, id: NodeId, peer: &mut Progress, round: u64, out: &mut Actions) {
        let Mode::Snapshot(transmission) = &mut peer.mode else { return };
        if transmission.sent.is_some() {
            return;
        }
        transmission.sent = Some(round);
        let meta = transmission.snapshot.meta.clone();
        let bytes = transmission.snapshot.data.as_slice();
        let from = usize::try_from(transmission.offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(self.config.chunk_bytes.max(1)).min(bytes.len());
        if from == to && !bytes.is_empty() {
            // All of it is there, and waits for the follower's disk.
            return;
        }
        let data = Blob::from(&bytes[from..to]);
        self.send(id, Message::Chunk { term: self.term, meta, offset: from as u64, data }, out);
    }

    pub(crate) fn on_chunk_reply(&mut self, now: Time, from: NodeId, position: Position, wanted: u64) {
        let Some(peer) = self.lead.as_mut().and_then(|lead| lead.peers.get_mut(&from)) else { return };
        peer.heard = Some(now);
        if let Mode::Snapshot(transmission) = &mut peer.mode
            && transmission.snapshot.meta.position == position
            && wanted <= transmission.snapshot.meta.len
        {
            // Only progress sends the next piece at once: a repeated answer would otherwise start a second stream beside the
            // first, and each of its pieces another one. What is missing is sent again after a round that was answered.
            let progress = wanted > transmission.offset;
            transmission.offset = wanted;
            if progress {
                transmission.sent = None;
            }
        }
    }

    // ---- receiving

    /// From the leader of this term.
    pub(crate) fn on_chunk(&mut self, from: NodeId, meta: SnapshotMeta, offset: u64, data: &Blob, out: &mut Actions) {
        if self.role != Role::Follower {
            return;
        }
        self.stats.chunks_in += 1;
        let position = meta.position;
        let eager = self.flaws.has(Flaw::OldSnapshotInstalled);
        // Older than what is committed here, or equal to what is in the log: nothing is to be installed, and what follows
        // it in the log stays.
        if !eager && (position.index <= self.commit || self.log.has(position)) {
            self.incoming = None;
            let known = position.index.max(self.commit);
            self.following.verified = self.following.verified.max(known);
            self.commit = known;
            self.following.owes = true;
            return;
        }
        if meta.len > self.config.snapshot_limit {
            self.stats.dropped_snapshots += 1;
            return;
        }
        if self.disk_full || self.writes.is_full() {
            self.stats.dropped_disk += 1;
            return;
        }
        let mixed = self.flaws.has(Flaw::ChunksMixed);
        let incoming = match &mut self.incoming {
            // The same bytes, whoever sends them: another leader goes on where the one before ended.
            Some(incoming) if incoming.meta == meta || mixed && incoming.meta.len == meta.len => incoming,
            other => other.insert(Incoming { meta: meta.clone(), data: Vec::new() }),
        };
        if offset == incoming.data.len() as u64 {
            incoming.data.extend_from_slice(data.as_slice());
        }
        let have = incoming.data.len() as u64;
        if have < meta.len {
            return self.send(from, Message::ChunkReply { term: self.term, position, wanted: have }, out);
        }
        let Some(whole) = self.incoming.take() else { return };
        let snapshot = Snapshot { data: whole.data.into(), meta };
        if crc32fast::hash(snapshot.data.as_slice()) != snapshot.meta.digest && !mixed {
            self.stats.dropped_snapshots += 1;
            return self.send(from, Message::ChunkReply { term: self.term, position, wanted: 0 }, out);
        }
        self.send(from, Message::ChunkReply { term: self.term, position, wanted: have }, out);
        self.install(Arc::new(snapshot), out);
    }

    /// The log is replaced by the snapshot: it ended before it, or parted from it. Nothing is told before it is durable.
    fn install(&mut self, snapshot: Arc<Snapshot>, out: &mut Actions) {
        self.stats.installed += 1;
        let SnapshotMeta { position, ref membership, membership_index, .. } = snapshot.meta;
        // What is committed here is in the snapshot, and so it stays durable; the rest is not, or may contradict it.
        self.cut(self.commit.max(self.log.base().index) + 1, out);
        if self.flaws.has(Flaw::ConflictKept) {
            self.writes.keep_on_disk();
        }
        if !self.flaws.has(Flaw::MembershipKept) {
            self.history = crate::members::History::new(membership_index, Arc::clone(membership));
        }
        self.log.replace(Arc::clone(&snapshot));
        if self.flaws.has(Flaw::OldSnapshotInstalled) {
            self.applied = self.applied.min(position.index.saturating_sub(1));
            self.commit = self.commit.min(position.index);
        }
        let log_from = if self.flaws.has(Flaw::ConflictKept) { 1 } else { position.index + 1 };
        self.writes.snapshot(snapshot, log_from);
        self.commit = self.commit.max(position.index);
        self.following.verified = position.index;
        self.following.owes = true;
    }
}
