//! Writes as bytes, and back. The codec of the simulator: one record a [`Persist`], framed and summed; recovery tells a torn
//! end, which was never reported durable, from rot.
//!
//! A record is a magic word, its length, a CRC-32 of the length and what follows, and that. Each says up to which record the log had been durable when it
//! was made: if a record is broken and a later one says that it had been durable, something acknowledged is lost.
//!
//! A snapshot is a file of its own, replaced as a whole. What a write with a snapshot says of term and vote is appended to
//! the log *before* the files are replaced: otherwise a crash between the two could leave a snapshot of a later term than
//! the log knows. What it says of the commit index comes with the new log: of the old one it need not be true.

use std::sync::Arc;

use convoke_raft::{Blob, Entry, HardState, Index, Persist, Recovered, Snapshot, SnapshotMeta};
use serde::{Deserialize, Serialize};

use super::bug::Bug;

const MAGIC: [u8; 4] = *b"CVR1";
const HEADER: usize = 12;

/// What the disk is asked to do, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append to the log, and make it durable.
    Append(Vec<u8>),
    /// Replace the snapshot: written beside the old one, made durable, renamed.
    Snapshot(Vec<u8>),
    /// Replace the log in the same way.
    Log(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Consecutive over all lives of the disk.
    number: u64,
    /// All records up to this one were durable when this one was made.
    durable: u64,
    truncate_from: Option<Index>,
    hard: Option<HardState>,
    entries: Vec<Arc<Entry>>,
}

#[derive(Serialize, Deserialize)]
struct Picture {
    meta: SnapshotMeta,
    data: Blob,
}

/// Why a disk cannot be started from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Rot.
    #[error("record {number} at byte {offset} is broken, and record {later} says that it had been written")]
    Log {
        /// Which.
        number: u64,
        /// Where.
        offset: usize,
        /// Who says so.
        later: u64,
    },
    /// Rot.
    #[error("the snapshot is broken")]
    Snapshot,
    /// Entries are missing within the log.
    #[error("entry {found} stands where {wanted} should be")]
    Disorder {
        /// What should be there.
        wanted: Index,
        /// What is.
        found: Index,
    },
}

/// Frames writes. One for each life of a server.
#[derive(Clone, Debug)]
pub struct Writer {
    number: u64,
    durable: u64,
    /// The last one written.
    hard: HardState,
    bug: Option<Bug>,
}

impl Writer {
    /// The steps of a write, in order; all of them before it may be reported. `log` are the entries in memory from an index on.
    pub fn steps(&mut self, write: &Persist, log: impl Fn(Index) -> Vec<Arc<Entry>>) -> Vec<Step> {
        let commit = self.hard.commit;
        if let Some(hard) = write.hard_state {
            self.hard = hard;
        }
        let hard = write.hard_state.filter(|_| self.bug != Some(Bug::VoteNotWritten));
        let Some(snapshot) = &write.snapshot else {
            let bytes = self.record(write.truncate_from, hard, write.entries.clone());
            return vec![Step::Append(bytes)];
        };
        let mut steps = Vec::new();
        if let Some(hard) = hard {
            // Not what it says of the commit index: that may be true of the snapshot only, and not of the log that is there.
            let commit = if self.bug == Some(Bug::CommitBeforeSnapshot) { hard.commit } else { commit };
            steps.push(Step::Append(self.record(None, Some(HardState { commit, ..hard }), Vec::new())));
        }
        let picture = Picture { meta: snapshot.snapshot.meta.clone(), data: snapshot.snapshot.data.clone() };
        let replace = Step::Snapshot(frame(&picture));
        let kept = (self.bug != Some(Bug::VoteNotInNewLog)).then_some(self.hard);
        let log = Step::Log(self.record(None, kept, log(snapshot.log_from)));
        steps.extend(if self.bug == Some(Bug::LogBeforeSnapshot) { [log, replace] } else { [replace, log] });
        steps
    }

    fn record(&mut self, truncate_from: Option<Index>, hard: Option<HardState>, entries: Vec<Arc<Entry>>) -> Vec<u8> {
        self.number += 1;
        frame(&Record { number: self.number, durable: self.durable, truncate_from, hard, entries })
    }

    /// The bytes of a log that holds these, in place of the one there is. Durable before anything else is written.
    pub fn anew(&mut self, hard: HardState, entries: Vec<Arc<Entry>>) -> Vec<u8> {
        let bytes = self.record(None, Some(hard), entries);
        self.durable = self.number;
        bytes
    }

    /// The last record made.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// All records up to this one are durable.
    pub fn durable(&mut self, number: u64) {
        self.durable = self.durable.max(number);
    }
}

fn frame<T: Serialize>(value: &T) -> Vec<u8> {
    let payload = postcard::to_allocvec(value).unwrap_or_default();
    let length = (payload.len() as u32).to_le_bytes();
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&sum(length, &payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

fn sum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// The payload of the frame at the start, and the length of the whole.
fn unframe(bytes: &[u8], believe: bool) -> Option<(&[u8], usize)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let length: [u8; 4] = header.get(4..8)?.try_into().ok()?;
    let payload = rest.get(..u32::from_le_bytes(length) as usize)?;
    let wanted: [u8; 4] = header.get(8..12)?.try_into().ok()?;
    let whole = header.starts_with(&MAGIC) && (believe || sum(length, payload).to_le_bytes() == wanted);
    whole.then_some((payload, HEADER + payload.len()))
}

fn record(bytes: &[u8], believe: bool) -> Option<(Record, usize)> {
    let (payload, size) = unframe(bytes, believe)?;
    Some((postcard::from_bytes(payload).ok()?, size))
}

/// What a disk held.
#[derive(Debug)]
pub struct Read {
    /// For the machine.
    pub recovered: Recovered,
    /// Goes on from there.
    pub writer: Writer,
    /// Bytes of the log that are whole; the file is to be cut behind them.
    pub valid: usize,
}

/// Reads files back.
///
/// # Errors
///
/// When something that had been durable is not there.
pub fn read(log: &[u8], snapshot: Option<&[u8]>, bug: Option<Bug>) -> Result<Read, Damage> {
    let believe = bug == Some(Bug::ChecksumIgnored);
    let snapshot = match snapshot {
        None => None,
        Some(bytes) => {
            let (payload, size) = unframe(bytes, believe).ok_or(Damage::Snapshot)?;
            let picture: Picture = postcard::from_bytes(payload).map_err(|_| Damage::Snapshot)?;
            if size != bytes.len() {
                return Err(Damage::Snapshot);
            }
            Some(Arc::new(Snapshot { meta: picture.meta, data: picture.data }))
        }
    };
    let mut records = Vec::new();
    let (mut valid, mut number) = (0, None);
    while let Some((record, size)) = log.get(valid..).and_then(|rest| record(rest, believe)) {
        if number.is_some_and(|last| record.number != last + 1) && !believe {
            break;
        }
        number = Some(record.number);
        valid += size;
        records.push((record, valid));
    }
    let broken = number.map_or(1, |last| last + 1);
    let rest = log.get(valid..).unwrap_or_default();
    if bug != Some(Bug::RotIsTorn)
        && let Some(later) = proof(rest, broken, number.is_none())
    {
        return Err(Damage::Log { number: broken, offset: valid, later });
    }
    if bug == Some(Bug::LastRecordDropped) && records.len() > 1 {
        records.pop();
    }
    let valid = if bug == Some(Bug::TornEndKept) { log.len() } else { records.last().map_or(0, |(_, end)| *end) };
    let mut hard_state = HardState::default();
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    for (record, _) in records {
        if let Some(from) = record.truncate_from
            && bug != Some(Bug::OverwrittenComesBack)
        {
            entries.retain(|entry| entry.index < from);
        }
        for entry in record.entries {
            match entries.last().map(|last| last.index + 1) {
                Some(wanted) if wanted != entry.index => {
                    if bug == Some(Bug::OverwrittenComesBack) && entry.index < wanted {
                        continue;
                    }
                    return Err(Damage::Disorder { wanted, found: entry.index });
                }
                _ => entries.push(entry),
            }
        }
        hard_state = record.hard.unwrap_or(hard_state);
    }
    let number = number.unwrap_or(0);
    let writer = Writer { number, durable: number, hard: hard_state, bug };
    Ok(Read { recovered: Recovered { hard_state, snapshot, entries }, writer, valid })
}

/// A whole record in `bytes` which says that record `broken` had been durable; `any`: or any record at all.
fn proof(bytes: &[u8], broken: u64, any: bool) -> Option<u64> {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(4).position(|window| window == MAGIC)) {
        at += found;
        match bytes.get(at..).and_then(|rest| record(rest, false)) {
            Some((record, _)) if record.durable >= broken || any && record.durable > 0 => return Some(record.number),
            Some((_, size)) => at += size,
            None => at += 1,
        }
    }
    None
}

/// Bytes of the log before the last record that proves something, and before which damage is therefore noticed.
#[must_use]
pub fn provable(log: &[u8]) -> usize {
    let (mut at, mut ends, mut first) = (0, Vec::new(), None);
    let mut upto = 0;
    while let Some((record, size)) = log.get(at..).and_then(|rest| record(rest, false)) {
        first = first.or(Some(record.number));
        at += size;
        ends.push(at);
        if let Some(first) = first
            && let Some(end) = record.durable.checked_sub(first).and_then(|n| ends.get(n as usize))
            && *end < at
        {
            upto = *end;
        }
    }
    upto
}
