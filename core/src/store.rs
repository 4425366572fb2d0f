//! What a runtime is asked to keep on disk. Encoding and recovery are pure and live here; the disk thread only
//! writes bytes.

use alloc::string::String;
use alloc::vec::Vec;

/// One atomic write. Writes are carried out in order of `seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Consecutive from 1.
    pub seq: u64,
    /// What to write.
    pub change: Change,
}

/// A change of the files under `data_dir`. Paths are relative, made of safe characters, at most one folder deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replace a small file as a whole (temporary file, fsync, rename, fsync of the folder).
    Put {
        /// For instance `services/3f2a...`.
        path: String,
        /// The whole content.
        content: Vec<u8>,
    },
    /// Remove a file; no error if it is not there.
    Remove {
        /// Path.
        path: String,
    },
    /// Append a record to the log (`raft/log`), fsync.
    Append {
        /// Already framed and checksummed.
        bytes: Vec<u8>,
    },
    /// Replace the snapshot (`raft/snapshot`) and start the log anew with `log` (may be empty), so that a crash
    /// at any point leaves either the old pair or the new one, or the new snapshot with the old log (replay skips
    /// what the snapshot has).
    Compact {
        /// The whole snapshot; `None`: the one there is stays.
        snapshot: Option<Vec<u8>>,
        /// Framed records that follow it.
        log: Vec<u8>,
    },
}

/// What was on disk at start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Files of `services/`, `checks/` and `checks/state/`: path and content, sorted by path.
    pub files: Vec<(String, Vec<u8>)>,
    /// `raft/snapshot`, if there is one.
    pub snapshot: Option<Vec<u8>>,
    /// `raft/log`, if there is one.
    pub log: Option<Vec<u8>>,
    /// `raft/peers.json`, if an operator put it there.
    pub peers: Option<Vec<u8>>,
}
