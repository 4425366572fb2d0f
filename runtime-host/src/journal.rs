//! Small values by path (registrations, TTL states) and the log of the replicated tables, in one append-only file.
//!
//! A file for each value would cost a create, two fsyncs and a rename for every registration, and a second file for the
//! log another fsync; here one append and one fsync carry both, and many share the fsync. A record is `length:u32 crc:u32 body`, little-endian; the body is `tag:u8 path_len:u16 path
//! content`, where a piece of the
//! log has an empty path. A record that is torn or rotten at the very end was never reported durable and is cut off; rot before good
//! records is an error, since something acknowledged would be lost silently.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const HEAD: usize = 8;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const LOG: u8 = 3;
/// A journal smaller than this is never rewritten.
const SMALL: u64 = 1 << 20;

/// Values by path.
type Values = BTreeMap<String, Vec<u8>>;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    written: u64,
    live: Values,
    /// Bytes that the live records and the log would take.
    live_bytes: u64,
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
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let (live, log, good) = replay(&bytes)?;
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if good < bytes.len() {
            file.set_len(good as u64)?;
            file.sync_data()?;
        }
        let live_bytes = live.iter().map(|(k, v)| size(k, v)).sum::<u64>() + log.len() as u64;
        Ok((Self { path: path.to_owned(), file, written: good as u64, live, live_bytes }, Replayed { log }))
    }

    /// Every value, by path.
    #[must_use]
    pub const fn live(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.live
    }

    /// Sets a value. Durable after [`Journal::sync`].
    ///
    /// # Errors
    ///
    /// The system's; the value is as it was then.
    pub fn put(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.append(PUT, path, content)?;
        if let Some(old) = self.live.insert(path.to_owned(), content.to_vec()) {
            self.live_bytes -= size(path, &old);
        }
        self.live_bytes += size(path, content);
        Ok(())
    }

    /// Removes a value; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn remove(&mut self, path: &str) -> io::Result<()> {
        if !self.live.contains_key(path) {
            return Ok(());
        }
        self.append(REMOVE, path, &[])?;
        if let Some(old) = self.live.remove(path) {
            self.live_bytes -= size(path, &old);
        }
        Ok(())
    }

    /// Adds a piece to the log. Durable after [`Journal::sync`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn log(&mut self, piece: &[u8]) -> io::Result<()> {
        self.append(LOG, "", piece)?;
        self.live_bytes += piece.len() as u64;
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

    /// Makes all changes so far durable.
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

    fn append(&mut self, tag: u8, path: &str, content: &[u8]) -> io::Result<()> {
        let record = encode(tag, path, content)?;
        if let Err(e) = self.file.write_all(&record) {
            // Half a record must not stand before the next one.
            self.file.set_len(self.written)?;
            return Err(e);
        }
        self.written += record.len() as u64;
        Ok(())
    }

    /// Replaces the file by one without history, with the log as it is.
    ///
    /// # Errors
    ///
    /// The system's; the old file stays then.
    pub fn tidy(&mut self) -> io::Result<()> {
        let (_, log, _) = replay(&fs::read(&self.path)?)?;
        self.rewrite(&log)
    }

    /// The live records and the log into a new file that takes the old one's place.
    fn rewrite(&mut self, log: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut all = Vec::new();
        for (path, content) in &self.live {
            all.extend(encode(PUT, path, content)?);
        }
        if !log.is_empty() {
            all.extend(encode(LOG, "", log)?);
        }
        let mut file = File::create(&temporary)?;
        file.write_all(&all)?;
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.written = all.len() as u64;
        self.live_bytes = self.written;
        Ok(())
    }
}

fn size(path: &str, content: &[u8]) -> u64 {
    (HEAD + 3 + path.len() + content.len()) as u64
}

fn encode(tag: u8, path: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let path_len = u16::try_from(path.len()).map_err(io::Error::other)?;
    let len = u32::try_from(3 + path.len() + content.len()).map_err(io::Error::other)?;
    let mut out = Vec::with_capacity(HEAD + len as usize);
    out.extend(len.to_le_bytes());
    out.extend([0; 4]);
    out.push(tag);
    out.extend(path_len.to_le_bytes());
    out.extend(path.as_bytes());
    out.extend(content);
    let crc = crc32fast::hash(&out[HEAD..]);
    out[4..HEAD].copy_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// The live values, the log, and how many bytes of the file are good.
fn replay(bytes: &[u8]) -> io::Result<(Values, Vec<u8>, usize)> {
    let mut live = Values::new();
    let mut log = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some((tag, path, content, next)) = decode(bytes, at) else {
            // Only the end may be bad: find a good record behind the bad one and it is rot.
            if (at + 1..bytes.len().saturating_sub(HEAD)).any(|i| decode(bytes, i).is_some()) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "damaged at byte {at}, before records that are good; restore the file from a backup, or move it away to start without the registrations in it"
                    ),
                ));
            }
            break;
        };
        match tag {
            PUT => drop(live.insert(path.to_owned(), content.to_vec())),
            LOG => log.extend_from_slice(content),
            _ => drop(live.remove(path)),
        }
        at = next;
    }
    Ok((live, log, at))
}

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
    matches!(tag, PUT | REMOVE | LOG).then(|| (tag, path, &body[3 + path_len..], end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        let p = std::env::temp_dir().join(format!("convoke-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&p);
        p
    }

    #[test]
    fn every_cut_leaves_a_prefix_of_the_changes() {
        let path = place("cut");
        let mut j = Journal::open(&path).unwrap().0;
        j.put("services/a", b"1").unwrap();
        j.put("services/b", b"22").unwrap();
        j.put("services/a", b"333").unwrap();
        j.remove("services/b").unwrap();
        j.remove("services/never").unwrap();
        j.sync().unwrap();
        let whole = fs::read(&path).unwrap();
        let states: [&[(&str, &[u8])]; 5] = [
            &[],
            &[("services/a", b"1")],
            &[("services/a", b"1"), ("services/b", b"22")],
            &[("services/a", b"333"), ("services/b", b"22")],
            &[("services/a", b"333")],
        ];
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut j = Journal::open(&path).unwrap().0;
            let live: Vec<_> = j.live().iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
            assert!(states.contains(&live.as_slice()), "cut at {cut}: {live:?}");
            // What follows a cut is readable.
            j.put("checks/c", b"c").unwrap();
            drop(j);
            assert!(Journal::open(&path).unwrap().0.live().contains_key("checks/c"), "cut at {cut}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn rot_in_the_middle_is_reported_and_at_the_end_cut_off() {
        let path = place("rot");
        let mut j = Journal::open(&path).unwrap().0;
        j.put("a", b"first").unwrap();
        j.put("b", b"second").unwrap();
        drop(j);
        let whole = fs::read(&path).unwrap();
        let mut rotten = whole.clone();
        rotten[12] ^= 1;
        fs::write(&path, &rotten).unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("damaged at byte 0"));
        let mut torn = whole.clone();
        *torn.last_mut().unwrap() ^= 1;
        fs::write(&path, &torn).unwrap();
        assert_eq!(Journal::open(&path).unwrap().0.live().len(), 1);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn history_is_dropped_when_it_outweighs_the_present() {
        let path = place("rewrite");
        let mut j = Journal::open(&path).unwrap().0;
        let big = vec![7; 100_000];
        for i in 0..30_u8 {
            j.put(if i % 3 == 0 { "x" } else { "y" }, &big).unwrap();
            j.log(&[i]).unwrap();
            j.sync().unwrap();
            if j.is_mostly_history() {
                j.tidy().unwrap();
            }
        }
        assert!(fs::metadata(&path).unwrap().len() < 1_500_000);
        j.put("z", b"after").unwrap();
        drop(j);
        let (mut j, replayed) = Journal::open(&path).unwrap();
        assert_eq!(j.live().len(), 3);
        assert_eq!(j.live()["z"], b"after");
        assert_eq!(replayed.log, (0..30).collect::<Vec<u8>>(), "tidying keeps the log whole");
        j.restart_log(b"new").unwrap();
        j.log(b"er").unwrap();
        drop(j);
        let (j, replayed) = Journal::open(&path).unwrap();
        assert_eq!((j.live().len(), replayed.log.as_slice()), (3, &b"newer"[..]));
        fs::remove_file(&path).unwrap();
    }
}
