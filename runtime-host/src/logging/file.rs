//! A log file that rotates by size and by age, as `log_file`, `log_rotate_bytes`, `log_rotate_duration` and
//! `log_rotate_max_files` ask.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Settings of a log file.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// A file, or a folder (ending in `/`), which then gets `consul.log`.
    pub path: PathBuf,
    /// Rotate before it grows past this many bytes; 0: never.
    pub rotate_bytes: u64,
    /// Rotate when it is this old; zero: never.
    pub rotate_after: Duration,
    /// Old files kept; 0: all; negative: none.
    pub max_files: i64,
}

/// An open log file.
#[derive(Debug)]
pub struct RotatingFile {
    settings: FileSettings,
    path: PathBuf,
    file: File,
    written: u64,
    opened: Instant,
}

impl RotatingFile {
    /// Opens for appending.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub fn open(settings: &FileSettings) -> io::Result<Self> {
        let text = settings.path.to_string_lossy();
        let path = if text.ends_with('/') || settings.path.is_dir() {
            settings.path.join("consul.log")
        } else {
            settings.path.clone()
        };
        let file = append(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { settings: settings.clone(), path, file, written, opened: Instant::now() })
    }

    /// Writes a line, rotating first where it is time. A disk error loses the line, not the agent.
    pub fn write(&mut self, line: &[u8]) {
        let too_big = self.settings.rotate_bytes > 0
            && self.written > 0
            && self.written + line.len() as u64 > self.settings.rotate_bytes;
        let too_old = !self.settings.rotate_after.is_zero() && self.opened.elapsed() >= self.settings.rotate_after;
        if too_big || too_old {
            let _ = self.rotate();
        }
        if self.file.write_all(line).is_ok() {
            self.written += line.len() as u64;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        fs::rename(&self.path, self.sibling(&nanos.to_string()))?;
        self.file = append(&self.path)?;
        self.written = 0;
        self.opened = Instant::now();
        if self.settings.max_files != 0 {
            let keep = usize::try_from(self.settings.max_files).unwrap_or(0);
            let mut old = self.rotated()?;
            old.sort();
            for path in old.iter().take(old.len().saturating_sub(keep)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// `dir/stem-<nanoseconds>.ext`
    fn sibling(&self, mark: &str) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let ext = self.path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
        self.path.with_file_name(format!("{stem}-{mark}{ext}"))
    }

    fn rotated(&self) -> io::Result<Vec<PathBuf>> {
        let pattern = self.sibling("*").file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (start, end) = pattern.split_once('*').unwrap_or((&pattern, ""));
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(fs::read_dir(folder)?
            .filter_map(Result::ok)
            .map(|e| e.path())
            .filter(|p| {
                let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.strip_prefix(start)
                    .and_then(|n| n.strip_suffix(end))
                    .is_some_and(|mark| !mark.is_empty() && mark.bytes().all(|b| b.is_ascii_digit()))
            })
            .collect())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot open log_file {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_by_size_and_keeps_as_many_as_asked() {
        let dir = std::env::temp_dir().join(format!("convoke-log-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let settings =
            FileSettings { path: dir.join("a.log"), rotate_bytes: 10, rotate_after: Duration::ZERO, max_files: 2 };
        let mut f = RotatingFile::open(&settings).unwrap();
        for i in 0..6 {
            f.write(format!("line {i}!\n").as_bytes());
        }
        assert_eq!(fs::read_to_string(dir.join("a.log")).unwrap(), "line 5!\n");
        assert_eq!(f.rotated().unwrap().len(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }
}
