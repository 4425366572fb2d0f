//! From what the disk held to tables.

use convoke_catalog::Catalog;
use convoke_catalog::snapshot::ImportError;

use crate::log::{LogError, read_log, read_snapshot};
use crate::store::Recovered;

/// Why the tables cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The bytes are damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The rows contradict each other.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Recovered tables, and where the log goes on.
#[derive(Debug, Default)]
pub struct Tables {
    /// Everything that was acknowledged, and maybe a few changes more.
    pub catalog: Catalog,
    /// Index of the last record.
    pub last: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// The log has a torn end, behind which nothing can be appended: replace it first.
    pub torn: usize,
}

/// Reads snapshot and log back and applies them.
///
/// # Errors
///
/// When something acknowledged is lost; see [`LogError`].
pub fn tables(recovered: &Recovered) -> Result<Tables, RecoveryError> {
    let mut tables = Tables::default();
    if let Some(bytes) = &recovered.snapshot {
        let snapshot = read_snapshot(bytes)?;
        let rows = postcard::from_bytes(&snapshot.tables)
            .map_err(|_| LogError::Snapshot("its tables are of another version, or damaged"))?;
        tables.catalog = Catalog::import(rows)?;
        tables.last = snapshot.index;
    }
    let bytes = recovered.log.as_deref().unwrap_or_default();
    let log = read_log(bytes, tables.last)?;
    for record in log.records {
        tables.last = record.index;
        tables.catalog.apply(record.index, record.command);
    }
    tables.log_bytes = log.valid as u64;
    tables.torn = log.dropped;
    Ok(tables)
}
