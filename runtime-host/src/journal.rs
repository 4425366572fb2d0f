//! Small values by path (registrations, TTL states) and the log of the replicated tables, in one append-only file.
//!
//! A file for each value would cost a create, two fsyncs and a rename for every registration, and a second file for the
//! log another fsync; here one write and one fsync carry a whole batch of both. A record is `length:u32 crc:u32 body`,
//! little-endian; the body is `tag:u8 path_len:u16 path content`, where a piece of the log has an empty path.
//!
//! The file is filled with zeros ahead of its records, since an fsync that need not commit a new length is cheaper for
//! the file system and the disk. Zeros behind the records are its end.
//!
//! A batch begins with a mark that names its own place. It is written only once everything before it is durable, so:
//! what is bad before a mark is rot, and an error, since something acknowledged would be lost silently; what is bad
//! behind the last one belongs to a batch that was never reported durable (its pages reach the disk in any order), and
//! is cut off with all that follows.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

const HEAD: usize = 8;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const LOG: u8 = 3;
const MARK: u8 = 4;
/// A journal smaller than this is never rewritten.
const SMALL: u64 = 1 << 20;
/// The file grows by this many bytes of zeros: some hundred registrations.
const AHEAD: u64 = 256 << 10;

/// Values by path.
type Values = BTreeMap<String, Vec<u8>>;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of the file that hold records.
    written: u64,
    /// Bytes in the file; those behind `written` are zero.
    allocated: u64,
    live: Values,
    /// Bytes that the live records and the log would take.
    live_bytes: u64,
    /// The batch being made: its bytes, what it does to the values (`None`: gone), how much it adds to the log.
    batch: Vec<u8>,
    staged: BTreeMap<String, Option<Vec<u8>>>,
    staged_log: u64,
}

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Every piece of the log since it was last started anew, in order.
    pub log: Vec<u8>,
}

impl Journal {
    /// Opens or creates it and replays what it has.
    ///
    /// # Errors
    ///
    /// The system's; or that the file is damaged before its end, and where.
    pub fn open(path: &Path) -> io::Result<(Self, Replayed)> {
        let mut bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let mut contents = replay(&bytes)?;
        if contents.good == 0 {
            create(path)?;
            bytes = fs::read(path)?;
            contents = replay(&bytes)?;
        }
        let Contents { live, log, good } = contents;
        let file = OpenOptions::new().write(true).open(path)?;
        let mut allocated = bytes.len() as u64;
        if !is_zero(&bytes[good..]) {
            file.set_len(good as u64)?;
            file.sync_all()?;
            allocated = good as u64;
        }
        let live_bytes = live.iter().map(|(k, v)| size(k, v)).sum::<u64>() + log.len() as u64;
        let journal = Self {
            path: path.to_owned(),
            file,
            written: good as u64,
            allocated,
            live,
            live_bytes,
            batch: Vec::new(),
            staged: BTreeMap::new(),
            staged_log: 0,
        };
        Ok((journal, Replayed { log }))
    }

    /// Every value written, by path.
    #[must_use]
    pub const fn live(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.live
    }

    /// Sets a value, with the batch.
    ///
    /// # Errors
    ///
    /// When it is too long for a record; the rest of the batch is not concerned.
    pub fn put(&mut self, path: String, content: Vec<u8>) -> io::Result<()> {
        self.add(PUT, &path, &content)?;
        self.staged.insert(path, Some(content));
        Ok(())
    }

    /// Removes a value, with the batch; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// As for [`Journal::put`].
    pub fn remove(&mut self, path: String) -> io::Result<()> {
        let there = self.staged.get(&path).map_or_else(|| self.live.contains_key(&path), Option::is_some);
        if there {
            self.add(REMOVE, &path, &[])?;
            self.staged.insert(path, None);
        }
        Ok(())
    }

    /// Adds a piece to the log, with the batch.
    ///
    /// # Errors
    ///
    /// As for [`Journal::put`].
    pub fn log(&mut self, piece: &[u8]) -> io::Result<()> {
        self.add(LOG, "", piece)?;
        self.staged_log += piece.len() as u64;
        Ok(())
    }

    fn add(&mut self, tag: u8, path: &str, content: &[u8]) -> io::Result<()> {
        if self.batch.is_empty() {
            encode(&mut self.batch, MARK, "", &self.written.to_le_bytes())?;
        }
        encode(&mut self.batch, tag, path, content)
    }

    /// Writes the batch, in one piece. Durable after [`Journal::sync`], which has to come before the next batch.
    ///
    /// # Errors
    ///
    /// The system's; nothing of the batch was done then.
    pub fn write(&mut self) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let staged = std::mem::take(&mut self.staged);
        let log = std::mem::take(&mut self.staged_log);
        if let Err(e) = self.extend(&batch) {
            // Half a batch must not stand before the next one.
            self.file.set_len(self.written)?;
            self.allocated = self.written;
            return Err(e);
        }
        self.written += batch.len() as u64;
        self.live_bytes += log;
        for (path, content) in staged {
            if let Some(content) = &content {
                self.live_bytes += size(&path, content);
            }
            let old = match content {
                Some(content) => self.live.insert(path.clone(), content),
                None => self.live.remove(&path),
            };
            if let Some(old) = old {
                self.live_bytes -= size(&path, &old);
            }
        }
        self.batch = batch;
        self.batch.clear();
        Ok(())
    }

    /// Bytes behind the records; zeros ahead of them where they come to the end of the file.
    fn extend(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.written + bytes.len() as u64;
        self.file.write_all_at(bytes, self.written)?;
        if end > self.allocated {
            let target = end.next_multiple_of(AHEAD);
            let zeros = vec![0; usize::try_from(target - end).map_err(io::Error::other)?];
            // A disk too full for zeros may still have room for records.
            self.allocated = if self.file.write_all_at(&zeros, end).is_ok() { target } else { end };
        }
        Ok(())
    }

    /// Starts the log anew with `log`, and drops all history: one atomic replacement of the file.
    ///
    /// # Errors
    ///
    /// The system's; the old file stays then.
    pub fn restart_log(&mut self, log: &[u8]) -> io::Result<()> {
        self.rewrite(log)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    ///
    /// The system's. After a failed sync nothing more should be trusted to this journal.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// More than half of the file is history: it is worth being replaced.
    #[must_use]
    pub const fn is_mostly_history(&self) -> bool {
        self.written > SMALL && self.written > self.live_bytes * 2
    }

    /// Replaces the file by one without history, with the log as it is.
    ///
    /// # Errors
    ///
    /// The system's; the old file stays then.
    pub fn tidy(&mut self) -> io::Result<()> {
        let Contents { log, .. } = replay(&fs::read(&self.path)?)?;
        self.rewrite(&log)
    }

    /// The live records and the log into a new file that takes the old one's place.
    fn rewrite(&mut self, log: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut all = Vec::new();
        for (path, content) in &self.live {
            encode(&mut all, PUT, path, content)?;
        }
        if !log.is_empty() {
            encode(&mut all, LOG, "", log)?;
        }
        // The file takes the place of the old one only when all of it is durable.
        mark(&mut all)?;
        let mut file = File::create(&temporary)?;
        file.write_all(&all)?;
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        sync_folder(&self.path)?;
        self.file = file;
        self.written = all.len() as u64;
        self.allocated = self.written;
        self.live_bytes = self.written;
        Ok(())
    }
}

/// A journal without a record.
fn create(path: &Path) -> io::Result<()> {
    let mut all = Vec::new();
    mark(&mut all)?;
    let mut file = File::create(path)?;
    file.write_all(&all)?;
    file.sync_all()?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A mark behind `bytes`, which begin the file.
fn mark(bytes: &mut Vec<u8>) -> io::Result<()> {
    let place = bytes.len() as u64;
    encode(bytes, MARK, "", &place.to_le_bytes())
}

fn size(path: &str, content: &[u8]) -> u64 {
    (HEAD + 3 + path.len() + content.len()) as u64
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A record behind `out`, or nothing.
fn encode(out: &mut Vec<u8>, tag: u8, path: &str, content: &[u8]) -> io::Result<()> {
    let path_len = u16::try_from(path.len()).map_err(io::Error::other)?;
    let len = u32::try_from(3 + path.len() + content.len()).map_err(io::Error::other)?;
    out.reserve(HEAD + len as usize);
    let start = out.len();
    out.extend(len.to_le_bytes());
    out.extend([0; 4]);
    out.push(tag);
    out.extend(path_len.to_le_bytes());
    out.extend(path.as_bytes());
    out.extend(content);
    let crc = crc32fast::hash(&out[start + HEAD..]);
    out[start + 4..start + HEAD].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// What a file holds.
struct Contents {
    live: Values,
    log: Vec<u8>,
    /// Bytes of good records from the start.
    good: usize,
}

fn replay(bytes: &[u8]) -> io::Result<Contents> {
    let mut live = Values::new();
    let mut log = Vec::new();
    let mut marked = false;
    let mut at = 0;
    while let Some((tag, path, content, next)) = decode(bytes, at) {
        match tag {
            PUT => drop(live.insert(path.to_owned(), content.to_vec())),
            LOG => log.extend_from_slice(content),
            REMOVE => drop(live.remove(path)),
            _ => marked = true,
        }
        at = next;
    }
    // Files of earlier versions have no marks: there any good record speaks against the bad one.
    let proof = |(tag, ..): (u8, &str, &[u8], usize)| tag == MARK || !marked;
    if !is_zero(&bytes[at..]) && (at + 1..bytes.len()).any(|i| decode(bytes, i).is_some_and(proof)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "damaged at byte {at}, before records that are good; restore the file from a backup, or move it away to start without the registrations in it"
            ),
        ));
    }
    Ok(Contents { live, log, good: at })
}

/// The good record at `at`: tag, path, content, and where the next one is.
fn decode(bytes: &[u8], at: usize) -> Option<(u8, &str, &[u8], usize)> {
    let word = |i: usize| Some(u32::from_le_bytes(bytes.get(i..i + 4)?.try_into().ok()?));
    let len = word(at)? as usize;
    let end = (at + HEAD).checked_add(len)?;
    let body = bytes.get(at + HEAD..end)?;
    if len < 3 || crc32fast::hash(body) != word(at + 4)? {
        return None;
    }
    let tag = body[0];
    let path_len = usize::from(u16::from_le_bytes([body[1], body[2]]));
    let path = std::str::from_utf8(body.get(3..3 + path_len)?).ok()?;
    let content = &body[3 + path_len..];
    let whole = match tag {
        PUT | REMOVE | LOG => true,
        // A copy of a mark elsewhere, say in a value, is none.
        MARK => *content == (at as u64).to_le_bytes(),
        _ => false,
    };
    whole.then_some((tag, path, content, end))
}
