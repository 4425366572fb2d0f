//! The disk: one blocking thread that carries out the node's writes in order, and what is read back at start.
//!
//! Three files hold everything: `raft/log` and `raft/snapshot` the replicated tables, `local/journal` what belongs to
//! this agent alone (registrations, TTL states). Writes that wait together share their fsyncs: a batch is carried out in
//! order, each file it touched is synced once, and only then is `Persisted` reported. A crash leaves a prefix of the
//! writes of each file; a torn end shows by its checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use convoke_core::node::Event;
use convoke_core::store::{Change, Recovered, Write};

use crate::journal::Journal;

/// Writes that may wait. At the bound the sender waits: the disk is then the limit, and that is the honest answer.
const QUEUE: usize = 4096;
/// Writes that share one round of fsyncs.
const BATCH: usize = 256;

const LOG: &str = "raft/log";
const SNAPSHOT: &str = "raft/snapshot";
const JOURNAL: &str = "local/journal";

/// Why the data folder cannot be used. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made.
    #[error("cannot create data_dir {path}: {error}; create it, or point -data-dir at a folder this user can write")]
    Create {
        /// Folder.
        path: String,
        /// System's words.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("data_dir {path} is not writable: {error}; give this user write permission, or choose another -data-dir")]
    Unwritable {
        /// Folder.
        path: String,
        /// System's words.
        error: io::Error,
    },
    /// Another agent has it.
    #[error("data_dir {path} is in use by another agent; stop that agent, or choose another -data-dir")]
    Locked {
        /// Folder.
        path: String,
    },
    /// Something in it cannot be read.
    #[error("cannot read {path} in data_dir: {error}")]
    Read {
        /// File.
        path: String,
        /// System's words.
        error: io::Error,
    },
}

/// An open, locked data folder.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    journal: Journal,
    // Held for its lock, which goes when the file is closed.
    _lock: File,
}

impl DataDir {
    /// Creates the folder if need be, checks that it can be written, and locks it against a second agent.
    ///
    /// # Errors
    ///
    /// See [`DataDirError`].
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let path = || root.display().to_string();
        for sub in ["local", "raft"] {
            fs::create_dir_all(root.join(sub)).map_err(|error| DataDirError::Create { path: path(), error })?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(".lock"))
            .map_err(|error| DataDirError::Unwritable { path: path(), error })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(DataDirError::Locked { path: path() }),
            Err(fs::TryLockError::Error(error)) => return Err(DataDirError::Unwritable { path: path(), error }),
        }
        let journal = Journal::open(&root.join(JOURNAL))
            .map_err(|error| DataDirError::Read { path: JOURNAL.to_owned(), error })?;
        Ok(Self { root: root.to_owned(), journal, _lock: lock })
    }

    /// Reads back what earlier runs kept.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Read`] when a file is there but cannot be read: starting without it would lose it.
    pub fn recover(&self) -> Result<Recovered, DataDirError> {
        let files = self.journal.live().iter().map(|(path, content)| (path.clone(), content.clone())).collect();
        Ok(Recovered { files, snapshot: self.read(SNAPSHOT)?, log: self.read(LOG)? })
    }

    /// The id of this node: as kept, or the given one, which is then kept.
    ///
    /// # Errors
    ///
    /// When it can be neither read nor written.
    pub fn node_id(&self, fresh: impl FnOnce() -> String) -> Result<String, DataDirError> {
        if let Some(bytes) = self.read("node-id")? {
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            if !text.is_empty() {
                return Ok(text);
            }
        }
        let id = fresh();
        self.replace("node-id", id.as_bytes())
            .map_err(|error| DataDirError::Unwritable { path: self.root.display().to_string(), error })?;
        Ok(id)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DataDirError::Read { path: path.to_owned(), error }),
        }
    }

    /// Replaces `path` by temporary file, fsync, rename and fsync of the folder.
    fn replace(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let target = self.root.join(path);
        let temporary = self.root.join(format!("{path}.tmp"));
        let mut f = File::create(&temporary)?;
        f.write_all(content)?;
        f.sync_data()?;
        fs::rename(&temporary, &target)?;
        File::open(self.root.join(path.rsplit_once('/').map_or("", |(folder, _)| folder)))?.sync_all()
    }
}

/// The disk thread. Dropping the handle lets it finish what waits.
#[derive(Debug)]
pub struct Disk {
    queue: Option<SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread; `report` is called with `Persisted` and `PersistFailed` from it.
    ///
    /// # Errors
    ///
    /// When the log cannot be opened or no thread can be made.
    pub fn start(dir: DataDir, report: impl Fn(Event) + Send + 'static) -> io::Result<Self> {
        let log = open_log(&dir.root)?;
        let (queue, writes) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || Worker { dir, log, log_failed: false, journal_failed: false }.run(&writes, &report))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// A disk that forgets: for `-dev`, which keeps nothing. Writes are reported durable at once.
    #[must_use]
    pub const fn none() -> Self {
        Self { queue: None, thread: None }
    }

    /// Whether writes are kept at all.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a write; waits while [`QUEUE`] are waiting already. False when the thread is gone.
    #[must_use]
    pub fn write(&self, write: Write) -> bool {
        let Some(queue) = &self.queue else { return false };
        match queue.try_send(write) {
            Ok(()) => true,
            Err(TrySendError::Full(w)) => queue.send(w).is_ok(),
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

fn open_log(root: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(root.join(LOG))
}

struct Worker {
    dir: DataDir,
    log: File,
    /// A log write failed: what follows would stand behind a hole, so none is taken any more.
    log_failed: bool,
    /// A sync of the journal failed: what it holds is not known any more.
    journal_failed: bool,
}

impl Worker {
    fn run(mut self, writes: &Receiver<Write>, report: &dyn Fn(Event)) {
        while let Ok(first) = writes.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH {
                let Ok(next) = writes.try_recv() else { break };
                batch.push(next);
            }
            self.carry_out(&batch, report);
        }
    }

    /// One batch. After a failed log write nothing more is written: the order of the log must hold, and a failed
    /// fsync is never retried (the kernel may have dropped the dirty pages).
    fn carry_out(&mut self, batch: &[Write], report: &dyn Fn(Event)) {
        let mut journal_dirty = false;
        let mut log_dirty = false;
        let mut done = None;
        for write in batch {
            let result = match &write.change {
                Change::Put { .. } | Change::Remove { .. } if self.journal_failed => {
                    Err(io::Error::other("an earlier sync of the journal failed"))
                }
                Change::Put { path, content } => {
                    journal_dirty = true;
                    self.dir.journal.put(path, content)
                }
                Change::Remove { path } => {
                    journal_dirty = true;
                    self.dir.journal.remove(path)
                }
                Change::Append { .. } | Change::Compact { .. } if self.log_failed => {
                    Err(io::Error::other("an earlier write of the log failed"))
                }
                Change::Append { bytes } => {
                    log_dirty = true;
                    self.log.write_all(bytes)
                }
                Change::Compact { snapshot, log } => self.compact(snapshot, log),
            };
            if let Err(e) = result {
                self.log_failed |= matches!(write.change, Change::Append { .. } | Change::Compact { .. });
                report(Event::PersistFailed { seq: write.seq, error: e.to_string() });
                continue;
            }
            done = Some(write.seq);
        }
        let journal = if journal_dirty { self.dir.journal.sync() } else { Ok(()) };
        self.journal_failed |= journal.is_err();
        let synced = journal.and_then(|()| if log_dirty { self.log.sync_data() } else { Ok(()) });
        match (synced, done) {
            (Ok(()), Some(upto)) => report(Event::Persisted { upto }),
            (Ok(()), None) => {}
            (Err(e), _) => {
                self.log_failed |= log_dirty;
                for write in batch {
                    report(Event::PersistFailed { seq: write.seq, error: e.to_string() });
                }
            }
        }
    }

    /// New snapshot first, then the new log: a crash between the two leaves the new snapshot with the old log, whose
    /// records the snapshot already has; replay skips them by index.
    fn compact(&mut self, snapshot: &[u8], log: &[u8]) -> io::Result<()> {
        self.dir.replace(SNAPSHOT, snapshot)?;
        self.dir.replace(LOG, log)?;
        self.log = open_log(&self.dir.root)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn folder(name: &str) -> PathBuf {
        let p = std::env::temp_dir().join(format!("convoke-disk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&p);
        p
    }

    fn write(disk: &Disk, seq: u64, change: Change) {
        assert!(disk.write(Write { seq, change }));
    }

    #[test]
    fn what_was_reported_durable_is_read_back() {
        let root = folder("roundtrip");
        let (tx, rx) = channel();
        let disk = Disk::start(DataDir::open(&root).unwrap(), move |e| tx.send(e).unwrap()).unwrap();
        write(&disk, 1, Change::Put { path: "services/a".into(), content: b"A".to_vec() });
        write(&disk, 2, Change::Append { bytes: b"one".to_vec() });
        write(&disk, 3, Change::Put { path: "checks/b".into(), content: b"B".to_vec() });
        write(&disk, 4, Change::Remove { path: "checks/b".into() });
        write(&disk, 5, Change::Remove { path: "checks/never".into() });
        write(&disk, 6, Change::Append { bytes: b"two".to_vec() });
        loop {
            match rx.recv().unwrap() {
                Event::Persisted { upto: 6 } => break,
                Event::Persisted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        drop(disk);
        let dir = DataDir::open(&root).unwrap();
        let r = dir.recover().unwrap();
        assert_eq!(r.files, [("services/a".to_owned(), b"A".to_vec())]);
        assert_eq!(r.log.as_deref(), Some(&b"onetwo"[..]));
        assert_eq!(r.snapshot, None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn compaction_replaces_snapshot_and_log_and_appends_go_on() {
        let root = folder("compact");
        let disk = Disk::start(DataDir::open(&root).unwrap(), |_| {}).unwrap();
        write(&disk, 1, Change::Append { bytes: b"old".to_vec() });
        write(&disk, 2, Change::Compact { snapshot: b"state".to_vec(), log: b"tail".to_vec() });
        write(&disk, 3, Change::Append { bytes: b"+more".to_vec() });
        drop(disk);
        let r = DataDir::open(&root).unwrap().recover().unwrap();
        assert_eq!(r.snapshot.as_deref(), Some(&b"state"[..]));
        assert_eq!(r.log.as_deref(), Some(&b"tail+more"[..]));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_second_agent_is_told_so() {
        let root = folder("lock");
        let first = DataDir::open(&root).unwrap();
        assert!(matches!(DataDir::open(&root), Err(DataDirError::Locked { .. })));
        drop(first);
        let again = DataDir::open(&root).unwrap();
        let id = again.node_id(|| "id-1".into()).unwrap();
        assert_eq!(again.node_id(|| "id-2".into()).unwrap(), id);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_failed_write_is_reported_with_its_number() {
        let root = folder("fail");
        let (tx, rx) = channel();
        let disk = Disk::start(DataDir::open(&root).unwrap(), move |e| tx.send(e).unwrap()).unwrap();
        write(&disk, 1, Change::Put { path: "x".repeat(70_000), content: Vec::new() });
        match rx.recv().unwrap() {
            Event::PersistFailed { seq: 1, error } => assert!(!error.is_empty()),
            other => panic!("{other:?}"),
        }
        drop(disk);
        fs::remove_dir_all(&root).unwrap();
    }
}
