//! From what the disk held to a server that can start.

use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_raft::{self as raft, Entry, HardState};

use crate::consensus::Tables;
use crate::log::{LogError, Snapshot, read_log, read_snapshot};
use crate::store;

/// Why what the disk held cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The bytes are damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The tables in the snapshot are not whole.
    #[error(
        "the snapshot in data_dir cannot be used: {0}; restore data_dir from a backup, or remove the file snapshot"
    )]
    Tables(String),
    /// The log is not whole.
    #[error(transparent)]
    Raft(#[from] raft::RecoverError),
    /// What the operator wrote.
    #[error(
        "raft/peers.json in data_dir cannot be used: {0}; it is a list such as [{{\"id\": \"<node id>\", \"address\": \
         \"10.0.0.1:8300\", \"non_voter\": false}}], with one voter at least"
    )]
    Peers(String),
    /// There is nothing that could be recovered.
    #[error(
        "raft/peers.json in data_dir says who belongs to the cluster, but this server has no log yet; remove the file"
    )]
    NothingToForce,
}

/// What the disk held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// For [`raft::Raft`].
    pub raft: raft::Recovered,
    /// As of the snapshot.
    pub tables: Tables,
    /// Of the last record.
    pub number: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes at its end that had never been acknowledged, and are dropped.
    pub torn: usize,
    /// What is on disk is not what a new log would be: its end is torn, or a crash came between the new snapshot and the
    /// new log. Nothing can be appended before it is replaced.
    pub untidy: bool,
    /// The membership was set by an operator: the snapshot here is not yet on disk.
    pub forced: bool,
}

/// Reads snapshot and log back.
///
/// # Errors
///
/// When something acknowledged is lost; see [`LogError`].
pub fn recover(stored: &store::Recovered) -> Result<Recovered, RecoveryError> {
    let snapshot = stored.snapshot.as_deref().map(read_snapshot).transpose()?;
    let mut recovered = Recovered::default();
    if let Some(Snapshot { number, hard_state, meta, data }) = snapshot {
        recovered.tables = Tables::import(data.as_slice()).map_err(RecoveryError::Tables)?;
        recovered.number = number;
        recovered.raft.hard_state = hard_state;
        recovered.raft.snapshot = Some(Arc::new(raft::Snapshot { meta, data }));
    }
    let of_snapshot = recovered.number;
    let log = read_log(stored.log.as_deref().unwrap_or_default(), of_snapshot)?;
    let first = log.records.first().map(|record| record.number);
    recovered.untidy =
        log.dropped > 0 || first.is_some_and(|first| first < of_snapshot) || first.is_none() && of_snapshot > 0;
    recovered.torn = log.dropped;
    recovered.log_bytes = log.valid as u64;
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    for record in log.records {
        recovered.number = recovered.number.max(record.number);
        if let Some(from) = record.truncate_from {
            entries.retain(|entry| entry.index < from);
        }
        entries.extend(record.entries);
        if let Some(hard_state) = record.hard_state {
            recovered.raft.hard_state = later(recovered.raft.hard_state, hard_state);
        }
    }
    recovered.raft.entries = entries;
    Ok(recovered)
}

/// A server of `raft/peers.json`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    id: String,
    address: String,
    #[serde(default)]
    non_voter: bool,
}

/// Makes these the cluster, whoever belonged to it: a cluster that lost its majority for good goes on with what this server
/// has. All of its log counts as committed, whether it was or not.
///
/// # Errors
///
/// [`RecoveryError::Peers`] when the text is not understood, [`RecoveryError::NothingToForce`] without a log.
pub fn force(recovered: &mut Recovered, peers: &[u8]) -> Result<(), RecoveryError> {
    let list: Vec<Peer> = serde_json::from_slice(peers).map_err(|error| RecoveryError::Peers(error.to_string()))?;
    let member = |peer: Peer| {
        let id = crate::identity::raft_id(&peer.id);
        peer.address
            .parse::<core::net::SocketAddr>()
            .map_err(|_| RecoveryError::Peers(alloc::format!("{:?} is no ip:port", peer.address)))?;
        Ok((id, raft::Member { voter: !peer.non_voter, address: peer.address }))
    };
    let members = raft::Membership(list.into_iter().map(member).collect::<Result<_, RecoveryError>>()?);
    if members.voter_count() == 0 {
        return Err(RecoveryError::Peers(String::from("nobody in it votes")));
    }
    let of_snapshot = recovered.raft.snapshot.as_ref().map_or(raft::Position::ZERO, |snapshot| snapshot.meta.position);
    let mut last = of_snapshot;
    for entry in recovered.raft.entries.iter().filter(|entry| entry.index > of_snapshot.index) {
        if let raft::Payload::Command(command) = &entry.payload {
            let decoded = postcard::from_bytes(command.data.as_slice())
                .map_err(|_| RecoveryError::Peers(alloc::format!("entry {} of the log is unknown", entry.index)))?;
            recovered.tables.apply(entry.index, command.client, command.serial, decoded);
        }
        last = entry.position();
    }
    if last == raft::Position::ZERO {
        return Err(RecoveryError::NothingToForce);
    }
    let data = recovered.tables.export().into();
    recovered.raft.snapshot = Some(Arc::new(raft::Snapshot::new(last, Arc::new(members), last.index, data)));
    recovered.raft.entries.clear();
    recovered.raft.hard_state.commit = last.index;
    recovered.raft.hard_state.term = recovered.raft.hard_state.term.max(last.term);
    recovered.forced = true;
    recovered.untidy = true;
    Ok(())
}

/// The later of two: terms only rise, and within a term a vote is given once.
fn later(a: HardState, b: HardState) -> HardState {
    let (early, late) = if b.term >= a.term { (a, b) } else { (b, a) };
    let vote = if early.term == late.term { late.vote.or(early.vote) } else { late.vote };
    HardState { vote, commit: early.commit.max(late.commit), ..late }
}
