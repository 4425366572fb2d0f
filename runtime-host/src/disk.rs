//! The disk: one blocking thread that carries out the node's writes in order, and what is read back at start.
//!
//! Two files hold everything: `journal` the log of the replicated tables and what belongs to this agent alone
//! (registrations, TTL states), `snapshot` the tables as of the log's start. The writes of one event come together, and
//! what waits together shares one write and one fsync; only then is `Persisted` reported. A crash leaves whole batches,
//! of the last one a prefix at most.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use convoke_core::node::{Event, Level};
use convoke_core::store::{Change, Recovered, Write};

use crate::journal::{Journal, Replayed};
use crate::logging;

/// Events whose writes may wait. At the bound the sender waits: the disk is then the limit, and that is the honest answer.
const QUEUE: usize = 4096;
/// Writes that share one round of fsyncs.
const BATCH: usize = 256;

/// With less free space than this the log takes no entries: what is left is for votes, which are small, and for a start.
const RESERVE: u64 = 4 << 20;
/// Between two looks at the free space, while there is work; and while there is none left, in any case.
const LOOK: Duration = Duration::from_millis(500);

const SNAPSHOT: &str = "snapshot";
/// Where an operator says who belongs to a cluster that has lost its majority for good.
const PEERS: &str = "raft/peers.json";
const JOURNAL: &str = "journal";
/// Files of Consul's that an agent goes on with.
const KEYRINGS: [&str; 2] = ["serf/local.keyring", "serf/remote.keyring"];

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
    replayed: Replayed,
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
        fs::create_dir_all(root).map_err(|error| DataDirError::Create { path: path(), error })?;
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
        let (journal, replayed) = Journal::open(&root.join(JOURNAL))
            .map_err(|error| DataDirError::Read { path: JOURNAL.to_owned(), error })?;
        Ok(Self { root: root.to_owned(), journal, replayed, _lock: lock })
    }

    /// Reads back what earlier runs kept.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Read`] when a file is there but cannot be read: starting without it would lose it.
    pub fn recover(&mut self) -> Result<Recovered, DataDirError> {
        let mut files: Vec<(String, Vec<u8>)> =
            self.journal.live().iter().map(|(path, content)| (path.clone(), content.clone())).collect();
        for path in KEYRINGS {
            // Where Consul ran before, its keyring is a file; once ours is in the journal, that one counts.
            if !files.iter().any(|(kept, _)| kept == path)
                && let Some(content) = self.read(path)?
            {
                files.push((path.to_owned(), content));
            }
        }
        files.sort();
        let log = std::mem::take(&mut self.replayed.log);
        let (snapshot, peers) = (self.read(SNAPSHOT)?, self.read(PEERS)?);
        Ok(Recovered { files, snapshot, log: (!log.is_empty()).then_some(log), peers })
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
    queue: Option<SyncSender<Vec<Write>>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread; `report` is called with `Persisted` and `PersistFailed` from it.
    ///
    /// # Errors
    ///
    /// When no thread can be made.
    pub fn start(dir: DataDir, report: impl Fn(Event<'static>) + Send + 'static) -> io::Result<Self> {
        let (queue, writes) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(move || {
            let (staged, done) = (Vec::new(), Vec::new());
            Worker { dir, failed: false, full: false, looked: None, staged, done }.run(&writes, &report);
        })?;
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

    /// Queues the writes of one event, which then share one fsync: were they queued one by one, the thread would sync
    /// the first before it saw the others. Waits while [`QUEUE`] are waiting already. False when the thread is gone.
    #[must_use]
    pub fn write(&self, writes: Vec<Write>) -> bool {
        let Some(queue) = &self.queue else { return false };
        match queue.try_send(writes) {
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

struct Worker {
    dir: DataDir,
    /// A write of the log or an fsync failed: what follows would stand behind a hole, so none is taken any more.
    failed: bool,
    /// There was less space than [`RESERVE`] at the last look.
    full: bool,
    looked: Option<Instant>,
    /// In the journal's batch: number, and whether it is one of the log.
    staged: Vec<(u64, bool)>,
    /// Written, to be synced.
    done: Vec<u64>,
}

impl Worker {
    fn run(mut self, writes: &Receiver<Vec<Write>>, report: &dyn Fn(Event<'static>)) {
        loop {
            self.look(report);
            let waited = if self.full {
                writes.recv_timeout(LOOK)
            } else {
                writes.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            let mut batch = match waited {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            while batch.len() < BATCH {
                let Ok(next) = writes.try_recv() else { break };
                batch.extend(next);
            }
            self.carry_out(batch, report);
        }
    }

    /// Looks at the free space, now and then, and tells when it runs out or returns.
    fn look(&mut self, report: &dyn Fn(Event<'static>)) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        // What cannot be asked is not known to be full: the write will tell.
        let Ok(of) = rustix::fs::statvfs(&self.dir.root) else { return };
        let full = of.f_bavail.saturating_mul(of.f_frsize) < RESERVE;
        if std::mem::replace(&mut self.full, full) != full {
            report(Event::DiskFull(full));
        }
    }

    /// One batch. After a failed write of the log nothing more is written: its order must hold, and a failed fsync is
    /// never retried (the kernel may have dropped the dirty pages).
    fn carry_out(&mut self, batch: Vec<Write>, report: &dyn Fn(Event<'static>)) {
        for Write { seq, change } in batch {
            let of_log = matches!(change, Change::Append { .. } | Change::Compact { .. });
            if let Change::Compact { .. } = change {
                self.write_staged(report);
            }
            let journal = &mut self.dir.journal;
            let result = match change {
                _ if self.failed => Err(io::Error::other("an earlier write to data_dir failed")),
                Change::Put { path, content } => journal.put(path, content),
                Change::Remove { path } => journal.remove(path),
                Change::Append { bytes } => journal.log(&bytes),
                Change::Compact { snapshot, log } => self.compact(snapshot.as_deref(), &log),
            };
            match result {
                Ok(()) => self.staged.push((seq, of_log)),
                Err(e) => self.refuse(seq, of_log, &e, report),
            }
        }
        self.write_staged(report);
        let done = std::mem::take(&mut self.done);
        let Some(upto) = done.last() else { return };
        match self.dir.journal.sync() {
            Ok(()) => report(Event::Persisted { upto: *upto }),
            Err(e) => {
                self.failed = true;
                for seq in done {
                    report(Event::PersistFailed { seq, error: e.to_string() });
                }
                return;
            }
        }
        if self.dir.journal.is_mostly_history()
            && let Err(e) = self.dir.journal.tidy()
        {
            // The old file is whole and goes on; it will be tried again with the next batch.
            logging::log(Level::Warn, "agent.disk", &format!("cannot tidy the journal in data_dir: {e}"));
        }
    }

    /// What could not be written (a full disk) was taken back whole: values are refused, and the next ones tried anew. A
    /// hole in the log is another matter.
    fn write_staged(&mut self, report: &dyn Fn(Event<'static>)) {
        let staged = std::mem::take(&mut self.staged);
        if staged.is_empty() {
            return;
        }
        match self.dir.journal.write() {
            Ok(()) => self.done.extend(staged.iter().map(|(seq, _)| seq)),
            Err(e) => staged.iter().for_each(|(seq, of_log)| self.refuse(*seq, *of_log, &e, report)),
        }
    }

    fn refuse(&mut self, seq: u64, of_log: bool, error: &io::Error, report: &dyn Fn(Event<'static>)) {
        self.failed |= of_log;
        report(Event::PersistFailed { seq, error: error.to_string() });
    }

    /// New snapshot first, then the new log: a crash between the two leaves the new snapshot with the old log, whose
    /// records the snapshot already has; replay skips them by index.
    fn compact(&mut self, snapshot: Option<&[u8]>, log: &[u8]) -> io::Result<()> {
        if let Some(snapshot) = snapshot {
            self.dir.replace(SNAPSHOT, snapshot)?;
            // It has done its work: what it said is in the snapshot.
            let _ = fs::remove_file(self.dir.root.join(PEERS));
        }
        self.dir.journal.restart_log(log)
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
        assert!(disk.write(vec![Write { seq, change }]));
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
        let mut dir = DataDir::open(&root).unwrap();
        let r = dir.recover().unwrap();
        assert_eq!(r.files, [("services/a".to_owned(), b"A".to_vec())]);
        assert_eq!(r.log.as_deref(), Some(&b"onetwo"[..]));
        assert_eq!(r.snapshot, None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_writes_of_one_event_are_synced_together() {
        let root = folder("together");
        let (tx, rx) = channel();
        let disk = Disk::start(DataDir::open(&root).unwrap(), move |e| tx.send(e).unwrap()).unwrap();
        let put = |n| Change::Put { path: format!("services/{n}"), content: vec![n] };
        let changes = [put(1), put(2), Change::Append { bytes: b"log".to_vec() }];
        assert!(disk.write((1..).zip(changes).map(|(seq, change)| Write { seq, change }).collect()));
        assert!(matches!(rx.recv().unwrap(), Event::Persisted { upto: 3 }));
        drop(disk);
        let r = DataDir::open(&root).unwrap().recover().unwrap();
        assert_eq!((r.files.len(), r.log.as_deref()), (2, Some(&b"log"[..])));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn one_value_that_cannot_be_kept_is_refused_alone() {
        let root = folder("alone");
        let (tx, rx) = channel();
        let disk = Disk::start(DataDir::open(&root).unwrap(), move |e| tx.send(e).unwrap()).unwrap();
        let put = |path: &str| Change::Put { path: path.into(), content: b"v".to_vec() };
        let changes = [put("services/a"), put(&"x".repeat(70_000)), put("services/b")];
        assert!(disk.write((1..).zip(changes).map(|(seq, change)| Write { seq, change }).collect()));
        assert!(matches!(rx.recv().unwrap(), Event::PersistFailed { seq: 2, .. }));
        assert!(matches!(rx.recv().unwrap(), Event::Persisted { upto: 3 }));
        drop(disk);
        assert_eq!(DataDir::open(&root).unwrap().recover().unwrap().files.len(), 2);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn compaction_replaces_snapshot_and_log_and_appends_go_on() {
        let root = folder("compact");
        let disk = Disk::start(DataDir::open(&root).unwrap(), |_| {}).unwrap();
        write(&disk, 1, Change::Append { bytes: b"old".to_vec() });
        write(&disk, 2, Change::Compact { snapshot: Some(b"state".to_vec()), log: b"tail".to_vec() });
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
