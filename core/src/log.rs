//! The log and the snapshot as bytes: framing, checksums, and what a crash may leave behind.
//!
//! A record is `CVR1`, the length of its payload, the CRC-32 of length and payload, and the payload: a [`Record`] in
//! postcard, one write of the consensus machine each. Integers are little-endian. A snapshot is the same frame under
//! `CVS2` around a [`Snapshot`].
//!
//! # What recovery accepts
//!
//! Writes are made durable in order, but a crash may tear those that were not yet durable, and not only the last of
//! them: a disk may write the pages of one batch in any order. Every record therefore says up to which number the log
//! was durable when it was made. If a record is broken and a later one says that it had been durable, something
//! acknowledged is lost, and recovery refuses. Otherwise the broken record and all after it were never acknowledged,
//! and they are dropped.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_raft::{Blob, Entry, HardState, Index, SnapshotMeta};
use serde::{Deserialize, Serialize};

const RECORD: [u8; 4] = *b"CVR1";
const SNAPSHOT: [u8; 4] = *b"CVS2";
/// Magic, length, checksum.
const HEADER: usize = 12;
/// No payload is longer; a length beyond this is damage.
const MAX_PAYLOAD: usize = 1 << 30;

/// One write, without its snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Consecutive, over all starts.
    pub number: u64,
    /// The log starts anew with it: what was before is in it, or in the snapshot.
    pub begins: bool,
    /// Every record up to and including this number was durable when this one was made.
    pub durable: u64,
    /// Entries from this index on are overwritten.
    pub truncate_from: Option<Index>,
    /// Replaces the one before.
    pub hard_state: Option<HardState>,
    /// Behind what is there then.
    pub entries: Vec<Arc<Entry>>,
}

/// A picture of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of the write that had it. The log is started anew with a record of this number.
    pub number: u64,
    /// As of that write: the log may be lost in the middle of being replaced, and then still holds an older one.
    pub hard_state: HardState,
    /// Position, membership, length, digest.
    pub meta: SnapshotMeta,
    /// The exported tables.
    pub data: Blob,
}

/// Why what is on disk cannot be used. Each text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The snapshot does not decode.
    #[error(
        "the snapshot raft/snapshot in data_dir is damaged ({0}); restore data_dir from a backup, or remove the folder \
         raft to start without the stored catalog and keys"
    )]
    Snapshot(&'static str),
    /// A record that had been acknowledged does not decode.
    #[error(
        "the log raft/log in data_dir is damaged at byte {offset}: record {number} is broken, but record {later} says \
         it had been written; restore data_dir from a backup, or remove the folder raft to start without the stored \
         catalog and keys"
    )]
    Log {
        /// Where the broken record starts.
        offset: usize,
        /// Its number.
        number: u64,
        /// A record that came after it was durable.
        later: u64,
    },
    /// Records are missing.
    #[error(
        "the log raft/log in data_dir starts at record {first}, but the snapshot ends at {snapshot}: records between \
         them are missing; restore both from the same backup"
    )]
    Gap {
        /// Number of the first record in the log.
        first: u64,
        /// Number of the snapshot; 0: there is none.
        snapshot: u64,
    },
}

/// What the log held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Consecutive; they may begin before the snapshot.
    pub records: Vec<Record>,
    /// Bytes of the log that hold whole records.
    pub valid: usize,
    /// Bytes behind them that were dropped: never acknowledged.
    pub dropped: usize,
}

/// Appends a record's frame.
///
/// # Errors
///
/// A text when it does not encode or is longer than 1 GiB; nothing is appended then.
pub fn frame_record(record: &Record, to: &mut Vec<u8>) -> Result<(), String> {
    frame(RECORD, record, to)
}

/// The frame of a snapshot.
///
/// # Errors
///
/// As [`frame_record`].
pub fn frame_snapshot(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(snapshot.data.len() + HEADER + 256);
    frame(SNAPSHOT, snapshot, &mut bytes)?;
    Ok(bytes)
}

fn frame<T: Serialize>(magic: [u8; 4], value: &T, to: &mut Vec<u8>) -> Result<(), String> {
    let payload = postcard::to_allocvec(value).map_err(|error| alloc::format!("it does not encode: {error}"))?;
    if payload.len() > MAX_PAYLOAD {
        return Err(alloc::format!("it has {} bytes, and 1 GiB is the most", payload.len()));
    }
    let length = (payload.len() as u32).to_le_bytes();
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length);
    sum.update(&payload);
    to.reserve(HEADER + payload.len());
    to.extend_from_slice(&magic);
    to.extend_from_slice(&length);
    to.extend_from_slice(&sum.finalize().to_le_bytes());
    to.extend_from_slice(&payload);
    Ok(())
}

/// The payload of the frame at the start of `bytes` and the length of the whole frame; `None` if it is not whole.
fn unframe(magic: [u8; 4], bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (found, header) = header.split_at_checked(4)?;
    let (length, sum) = header.split_at_checked(4)?;
    if found != magic {
        return None;
    }
    let size = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let payload = rest.get(..size)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(payload);
    (hasher.finalize().to_le_bytes() == sum).then_some((payload, HEADER + size))
}

/// Reads a snapshot back.
///
/// # Errors
///
/// [`LogError::Snapshot`]; a snapshot is replaced as a whole, so a broken one is always damage.
pub fn read_snapshot(bytes: &[u8]) -> Result<Snapshot, LogError> {
    let (payload, size) = unframe(SNAPSHOT, bytes).ok_or(LogError::Snapshot("its checksum does not match"))?;
    if size != bytes.len() {
        return Err(LogError::Snapshot("something follows its end"));
    }
    postcard::from_bytes(payload).map_err(|_| LogError::Snapshot("it does not decode"))
}

/// Reads a log back; `snapshot` is the number of the snapshot before it, 0 for none.
///
/// # Errors
///
/// [`LogError::Log`] when an acknowledged record is broken, [`LogError::Gap`] when records are missing.
pub fn read_log(bytes: &[u8], snapshot: u64) -> Result<Recovery, LogError> {
    let mut recovery = Recovery::default();
    let mut next: Option<u64> = None;
    while let Some((record, size)) = bytes.get(recovery.valid..).and_then(read_record) {
        match next {
            Some(expected) if record.number != expected => break,
            None if record.number > snapshot + 1 && !record.begins => {
                return Err(LogError::Gap { first: record.number, snapshot });
            }
            _ => {}
        }
        next = Some(record.number + 1);
        recovery.valid += size;
        recovery.records.push(record);
    }
    let rest = bytes.get(recovery.valid..).unwrap_or_default();
    recovery.dropped = rest.len();
    // With a snapshot the file was replaced as a whole, or all of it was durable before the snapshot was: its first record has
    // been, whatever its number is. Without one it may be the first write ever.
    let (broken, needed) = match next {
        Some(next) => (next, next),
        None if snapshot > 0 => (snapshot, 0),
        None => (1, 1),
    };
    match later_proof(rest, needed) {
        Some(later) => Err(LogError::Log { offset: recovery.valid, number: broken, later }),
        None => Ok(recovery),
    }
}

fn read_record(bytes: &[u8]) -> Option<(Record, usize)> {
    let (payload, size) = unframe(RECORD, bytes)?;
    Some((postcard::from_bytes(payload).ok()?, size))
}

/// A whole record in `bytes` that says `number` had been durable.
fn later_proof(bytes: &[u8], number: u64) -> Option<u64> {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(4).position(|window| window == RECORD)) {
        at += found;
        match bytes.get(at..).and_then(read_record) {
            Some((record, _)) if record.durable >= number => return Some(record.number),
            Some((_, size)) => at += size,
            None => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_raft::{Membership, NodeId, Payload, Position};
    use proptest::prelude::*;

    fn record(number: u64, durable: u64) -> Record {
        let entry = Arc::new(Entry { term: 1, index: number, payload: Payload::Noop });
        let hard_state = number.is_multiple_of(2).then_some(HardState { term: 1, vote: None, commit: durable });
        Record { number, begins: false, durable, truncate_from: None, hard_state, entries: alloc::vec![entry] }
    }

    /// Records `first..=last`, each made when `lag` before it were not yet durable, and where each one starts.
    fn log(first: u64, last: u64, lag: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in first..=last {
            starts.push(bytes.len());
            frame_record(&record(number, number.saturating_sub(lag + 1)), &mut bytes).unwrap();
        }
        starts.push(bytes.len());
        (bytes, starts)
    }

    #[test]
    fn a_log_reads_back() {
        let (bytes, _) = log(1, 9, 0);
        let back = read_log(&bytes, 0).unwrap();
        assert_eq!(back.records.iter().map(|r| r.number).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
        assert_eq!((back.valid, back.dropped), (bytes.len(), 0));
        assert_eq!(read_log(&bytes, 7).unwrap().records.len(), 9, "what the snapshot has may still be there");
        assert_eq!(read_log(&[], 7).unwrap(), Recovery::default());
        assert_eq!(read_log(&log(5, 6, 0).0, 2), Err(LogError::Gap { first: 5, snapshot: 2 }));
    }

    #[test]
    fn rot_before_an_acknowledged_end_is_refused_and_an_unacknowledged_batch_is_dropped() {
        let (mut bytes, starts) = log(1, 9, 0);
        bytes[starts[4] + HEADER] ^= 1;
        assert_eq!(read_log(&bytes, 0), Err(LogError::Log { offset: starts[4], number: 5, later: 6 }));
        // One batch of nine: nothing was durable when the last of them was made.
        let (mut bytes, starts) = log(1, 9, 9);
        bytes[starts[4] + HEADER] ^= 1;
        let back = read_log(&bytes, 0).unwrap();
        assert_eq!((back.records.len(), back.dropped), (4, bytes.len() - starts[4]));
    }

    #[test]
    fn rot_in_the_record_that_a_log_begins_with_is_refused() {
        // It is of the number of the snapshot, and not of the one behind it (seed 136 of the simulator's lives).
        let mut bytes = Vec::new();
        frame_record(&Record { begins: true, ..record(5, 4) }, &mut bytes).unwrap();
        let end = bytes.len();
        frame_record(&record(6, 5), &mut bytes).unwrap();
        assert_eq!(read_log(&bytes, 5).unwrap().records.len(), 2);
        for at in 0..end {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1;
            assert!(matches!(read_log(&rotten, 5), Err(LogError::Log { later: 6, .. })), "byte {at}");
        }
    }

    #[test]
    fn a_snapshot_reads_back_or_is_refused() {
        let members = Arc::new(Membership::of_voters([NodeId(1)]));
        let at = Position { term: 1, index: 7 };
        let picture = convoke_raft::Snapshot::new(at, members, 1, b"tables"[..].into());
        let hard_state = HardState { term: 3, vote: Some(NodeId(1)), commit: 7 };
        let snapshot = Snapshot { number: 9, hard_state, meta: picture.meta, data: picture.data };
        let bytes = frame_snapshot(&snapshot).unwrap();
        assert_eq!(read_snapshot(&bytes).unwrap(), snapshot);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(read_snapshot(&bad).is_err(), "byte {at}");
            assert!(read_snapshot(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        /// Any prefix of the log holds exactly the records that are whole in it.
        #[test]
        fn any_prefix_recovers_whole_records(last in 1_u64..12, lag in 0_u64..3, cut in 0_usize..2000) {
            let (bytes, starts) = log(1, last, lag);
            let cut = cut.min(bytes.len());
            let back = read_log(&bytes[..cut], 0).unwrap();
            let whole = starts.iter().skip(1).filter(|end| **end <= cut).count();
            prop_assert_eq!(back.records.len(), whole);
            prop_assert_eq!(back.valid, starts[whole]);
        }

        /// Whatever a disk holds, recovery does not panic, and what it accepts is consecutive.
        #[test]
        fn any_bytes_are_survived(last in 1_u64..8, flips in prop::collection::vec((0_usize..2000, any::<u8>()), 0..6),
                                  tail in prop::collection::vec(any::<u8>(), 0..64)) {
            let (mut bytes, _) = log(1, last, 1);
            bytes.extend_from_slice(&tail);
            for (at, with) in flips {
                let len = bytes.len();
                bytes[at % len] ^= with;
            }
            if let Ok(back) = read_log(&bytes, 0) {
                for (record, index) in back.records.iter().zip(1_u64..) {
                    prop_assert_eq!(record.number, index);
                }
            }
            let _ = read_snapshot(&bytes);
        }
    }
}
