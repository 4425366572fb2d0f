//! The file that `snapshot save` writes: the tables, with what is needed to trust them.
//!
//! `CVA1`, the length of the payload (64 bits) and its CRC-32, little-endian, then the payload: [`Meta`] and the rows, in
//! postcard.

use alloc::string::String;
use alloc::vec::Vec;

use convoke_catalog::Snapshot;
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"CVA1";
const HEADER: usize = 16;

/// What is said of an archive without reading its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Log index of the last command in it.
    pub index: u64,
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Milliseconds since 1970.
    pub taken: u64,
    /// Version that wrote it.
    pub version: String,
    /// Datacenter it was taken of.
    pub datacenter: String,
}

/// Why an archive cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else.
    #[error("this is no snapshot of Convoke (those of Consul cannot be read)")]
    Foreign,
    /// It ends too early.
    #[error("the snapshot is cut off; use another one")]
    CutOff,
    /// Its checksum does not match.
    #[error("the snapshot is damaged: its checksum does not match; use another one")]
    Damaged,
    /// Its rows do not decode.
    #[error("the snapshot was written by a version that this one does not understand")]
    Version,
}

/// An archive of these rows.
#[must_use]
pub fn write(meta: &Meta, rows: &Snapshot) -> Vec<u8> {
    let payload = postcard::to_allocvec(&(meta, rows)).unwrap_or_default();
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
    out
}

/// What an archive holds.
///
/// # Errors
/// It is none, or not whole.
pub fn read(bytes: &[u8]) -> Result<(Meta, Snapshot), ArchiveError> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(ArchiveError::Foreign)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(ArchiveError::CutOff)?;
    let (sum, payload) = rest.split_first_chunk::<4>().ok_or(ArchiveError::CutOff)?;
    match (payload.len() as u64).cmp(&u64::from_le_bytes(*length)) {
        core::cmp::Ordering::Less => return Err(ArchiveError::CutOff),
        core::cmp::Ordering::Greater => return Err(ArchiveError::Damaged),
        core::cmp::Ordering::Equal => {}
    }
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return Err(ArchiveError::Damaged);
    }
    postcard::from_bytes(payload).map_err(|_| ArchiveError::Version)
}
