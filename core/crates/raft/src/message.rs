//! What servers say to each other. How it becomes bytes, and in which envelope, is the transport's business.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::types::{Blob, Entry, Index, MAX_NUMBER, Payload, Position, SnapshotMeta, Term};

/// Entries in one message, whatever the sender's settings; a message with more is refused.
pub const MAX_BATCH: usize = 1 << 16;

/// Names a read that a follower asks the leader for: unique among all nodes, starts of nodes, and terms, so that a late
/// answer to another read is never taken for this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadId {
    /// Drawn at the start of the node.
    pub start: u64,
    /// Counts its reads.
    pub count: u64,
}

/// A message. The sender's identity comes from the transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// "Could I win?" `term` is the one the sender would campaign in; nobody enters it because of this.
    PreVote {
        /// Sender's term plus one.
        term: Term,
        /// End of its log.
        last: Position,
    },
    /// Answer to it.
    PreVoteReply {
        /// Of who answers.
        term: Term,
        /// That was asked about.
        asked: Term,
        /// Yes.
        granted: bool,
    },
    /// RequestVote (section 5.2).
    Vote {
        /// Sender's.
        term: Term,
        /// End of its log.
        last: Position,
        /// The leader wants it: do not wait for it to fall silent (dissertation, section 4.2.3).
        transfer: bool,
    },
    /// Answer to it.
    VoteReply {
        /// Of who answers.
        term: Term,
        /// That was asked about.
        asked: Term,
        /// Yes; it is on the voter's disk.
        granted: bool,
    },
    /// AppendEntries (section 5.3).
    Append {
        /// Sender's.
        term: Term,
        /// The entry before the first one sent.
        prev: Position,
        /// Consecutive.
        entries: Vec<Arc<Entry>>,
        /// The sender's commit index.
        commit: Index,
    },
    /// Answer to it.
    AppendReply {
        /// Of who answers.
        term: Term,
        /// What became of it.
        outcome: Appended,
    },
    /// "I still lead." Sent in rounds, whose answers say since when that is known to be so.
    Heartbeat {
        /// Sender's.
        term: Term,
        /// Rises within the term; with the term it names the round uniquely.
        round: u64,
        /// The sender's commit index.
        commit: Index,
    },
    /// Answer to it.
    HeartbeatReply {
        /// Of who answers.
        term: Term,
        /// Of the heartbeat.
        round: u64,
        /// As in [`Appended::Accepted`].
        matched: Index,
        /// Its log equals the leader's up to here, though not yet on disk.
        received: Index,
    },
    /// A piece of a snapshot (section 7).
    Chunk {
        /// Sender's.
        term: Term,
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Where the piece belongs.
        offset: u64,
        /// The piece.
        data: Blob,
    },
    /// Answer to it.
    ChunkReply {
        /// Of who answers.
        term: Term,
        /// Which snapshot.
        position: Position,
        /// The bytes before this are there.
        wanted: u64,
    },
    /// "There is a later term": to a leader of an earlier one, instead of an answer.
    Outdated {
        /// Of who says so.
        term: Term,
    },
    /// "Campaign now" (dissertation, section 3.10).
    TimeoutNow {
        /// Sender's.
        term: Term,
    },
    /// "Up to where must I have applied to answer a read?" (dissertation, section 6.4).
    Read {
        /// Sender's.
        term: Term,
        /// Comes back.
        id: ReadId,
    },
    /// Answer to it.
    ReadReply {
        /// Of who answers.
        term: Term,
        /// Of the question.
        id: ReadId,
        /// `None`: it cannot say.
        index: Option<Index>,
    },
}

/// What became of an [`Message::Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Appended {
    /// The follower's log equals the leader's up to here, on disk.
    Accepted {
        /// Up to here.
        matched: Index,
    },
    /// It does not have `prev`.
    Rejected {
        /// Of the message.
        prev: Index,
        /// The last entry of its log that may be in the leader's: at or before `prev`, of no later term.
        hint: Position,
    },
}

impl Message {
    /// The term of who sent it. (A pre-vote speaks of the term after that.)
    #[must_use]
    pub const fn term(&self) -> Term {
        match self {
            Self::PreVote { term, .. } => term.saturating_sub(1),
            Self::PreVoteReply { term, .. }
            | Self::Vote { term, .. }
            | Self::VoteReply { term, .. }
            | Self::Append { term, .. }
            | Self::AppendReply { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::HeartbeatReply { term, .. }
            | Self::Chunk { term, .. }
            | Self::ChunkReply { term, .. }
            | Self::Outdated { term }
            | Self::TimeoutNow { term }
            | Self::Read { term, .. }
            | Self::ReadReply { term, .. } => *term,
        }
    }

    /// Nothing in it is impossible by itself. What an honest server of any state can send passes.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        let number = |n: u64| n <= MAX_NUMBER;
        let position = |p: &Position| number(p.term) && number(p.index) && (p.index > 0 || p.term == 0);
        if !number(self.term()) || self.term() == 0 && self.needs_term() {
            return false;
        }
        match self {
            Self::PreVote { term, last } | Self::Vote { term, last, .. } => position(last) && last.term <= *term,
            Self::PreVoteReply { asked, .. } | Self::VoteReply { asked, .. } => number(*asked),
            Self::Append { term, prev, entries, commit } => {
                position(prev) && prev.term <= *term && number(*commit) && are_sane(*prev, entries, *term)
            }
            Self::AppendReply { outcome: Appended::Accepted { matched }, .. } => number(*matched),
            Self::AppendReply { outcome: Appended::Rejected { prev, hint }, .. } => number(*prev) && position(hint),
            Self::Heartbeat { round, commit, .. } => number(*round) && number(*commit),
            Self::HeartbeatReply { round, matched, received, .. } => {
                number(*round) && number(*matched) && number(*received)
            }
            Self::Chunk { term, meta, offset, data } => {
                let end = offset.checked_add(data.len() as u64);
                position(&meta.position)
                    && meta.position.index > 0
                    && meta.position.term <= *term
                    && meta.membership_index <= meta.position.index
                    && meta.membership.is_sane()
                    && end.is_some_and(|end| end <= meta.len)
                    && (!data.is_empty() || meta.len == 0)
            }
            Self::ChunkReply { position: at, .. } => position(at),
            Self::Outdated { .. } | Self::TimeoutNow { .. } | Self::Read { .. } => true,
            Self::ReadReply { index, .. } => index.is_none_or(number),
        }
    }

    /// Only leaders and candidates send these, and they have a term.
    const fn needs_term(&self) -> bool {
        matches!(
            self,
            Self::Vote { .. }
                | Self::Append { .. }
                | Self::Heartbeat { .. }
                | Self::Chunk { .. }
                | Self::TimeoutNow { .. }
        )
    }
}

/// Consecutive behind `prev`, with terms that never fall and never pass the sender's.
fn are_sane(prev: Position, entries: &[Arc<Entry>], term: Term) -> bool {
    let mut before = prev;
    entries.len() <= MAX_BATCH
        && entries.iter().all(|entry| {
            let follows = entry.index == before.index + 1 && entry.term >= before.term && entry.term <= term;
            before = entry.position();
            let sane = match &entry.payload {
                Payload::Membership(members) => members.is_sane() && members.voter_count() > 0,
                Payload::Noop | Payload::Command(_) => true,
            };
            follows && sane && entry.term > 0 && entry.index <= MAX_NUMBER
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Membership;
    use crate::types::{Command, NodeId};

    fn entry(term: Term, index: Index) -> Arc<Entry> {
        Arc::new(Entry { term, index, payload: Payload::Noop })
    }

    fn append(term: Term, prev: (Term, Index), entries: &[(Term, Index)]) -> Message {
        let entries = entries.iter().map(|(term, index)| entry(*term, *index)).collect();
        Message::Append { term, prev: Position { term: prev.0, index: prev.1 }, entries, commit: 0 }
    }

    #[test]
    fn appends_are_judged() {
        let table = [
            (append(3, (2, 4), &[(2, 5), (3, 6)]), true),
            (append(3, (0, 0), &[(1, 1)]), true),
            (append(3, (0, 0), &[]), true),
            (append(0, (0, 0), &[]), false),
            (append(3, (1, 0), &[]), false),
            (append(3, (2, 4), &[(2, 6)]), false),
            (append(3, (2, 4), &[(1, 5)]), false),
            (append(3, (2, 4), &[(4, 5)]), false),
            (append(3, (4, 4), &[]), false),
            (append(u64::MAX, (2, 4), &[]), false),
            (append(3, (2, MAX_NUMBER), &[(2, MAX_NUMBER + 1)]), false),
            (append(3, (2, u64::MAX), &[(2, 5)]), false),
        ];
        for (message, sane) in table {
            assert_eq!(message.is_sane(), sane, "{message:?}");
        }
    }

    #[test]
    fn chunks_are_judged() {
        let meta = SnapshotMeta {
            position: Position { term: 2, index: 9 },
            membership: Arc::new(Membership::of_voters([NodeId(1)])),
            membership_index: 4,
            len: 10,
            digest: 0,
        };
        let chunk = |meta: &SnapshotMeta, offset, len: usize| Message::Chunk {
            term: 2,
            meta: meta.clone(),
            offset,
            data: alloc::vec![0; len].into(),
        };
        assert!(chunk(&meta, 0, 10).is_sane() && chunk(&meta, 9, 1).is_sane());
        assert!(
            !chunk(&meta, 9, 2).is_sane() && !chunk(&meta, 10, 0).is_sane() && !chunk(&meta, u64::MAX, 1).is_sane()
        );
        assert!(!chunk(&SnapshotMeta { membership_index: 10, ..meta.clone() }, 0, 1).is_sane());
        assert!(!chunk(&SnapshotMeta { position: Position { term: 3, index: 9 }, ..meta }, 0, 1).is_sane());
    }

    #[test]
    fn messages_survive_the_wire() {
        let data = Command { client: 7, serial: 8, data: b"set x"[..].into() };
        let entries = alloc::vec![Arc::new(Entry { term: 2, index: 5, payload: Payload::Command(data) })];
        let message = Message::Append { term: 3, prev: Position { term: 2, index: 4 }, entries, commit: 4 };
        let bytes = postcard::to_allocvec(&message).unwrap();
        assert_eq!(postcard::from_bytes::<Message>(&bytes).unwrap(), message);
        assert!(bytes.len() < 24, "it is compact: {}", bytes.len());
    }
}
