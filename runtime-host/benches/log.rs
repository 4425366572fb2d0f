//! Durable appends a second: the journal, and beside it, in the same run, plain records in a file that was filled with
//! zeros ahead, which is as fast as a file and `fdatasync` go on this disk.
//!
//! `cargo bench -p convoke-host --bench log -- FOLDER [SECONDS]`; entries of 256 bytes, one durable commit for each batch,
//! three rounds of each cell by turns. In a folder in memory the figures mean nothing.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convoke_host::journal::Journal;

const ENTRY: usize = 256;
const BATCHES: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 3;
/// The plain file, as long as what is written in a round may get.
const PLAIN: u64 = 64 << 20;

/// Commits a batch of entries durably.
trait Store {
    fn commit(&mut self, entries: usize, entry: &[u8]);
}

impl Store for Journal {
    fn commit(&mut self, entries: usize, entry: &[u8]) {
        // As the agent does: the entries of one batch are one piece of the log.
        let mut piece = Vec::with_capacity(entries * (ENTRY + 16));
        for _ in 0..entries {
            piece.extend((entry.len() as u32).to_le_bytes());
            piece.extend(crc32fast::hash(entry).to_le_bytes());
            piece.extend(entry);
        }
        self.log(&piece).unwrap();
        self.write().unwrap();
        self.sync().unwrap();
    }
}

struct Plain {
    file: File,
    at: u64,
}

impl Plain {
    fn new(path: &Path) -> Self {
        let file = File::create(path).unwrap();
        let zeros = vec![0; 1 << 20];
        for mib in 0..PLAIN >> 20 {
            file.write_all_at(&zeros, mib << 20).unwrap();
        }
        file.sync_all().unwrap();
        Self { file, at: 0 }
    }
}

impl Store for Plain {
    fn commit(&mut self, entries: usize, entry: &[u8]) {
        let mut piece = Vec::with_capacity(entries * (ENTRY + 16));
        for _ in 0..entries {
            piece.extend((entry.len() as u32).to_le_bytes());
            piece.extend(crc32fast::hash(entry).to_le_bytes());
            piece.extend(self.at.to_le_bytes());
            piece.extend(entry);
        }
        if self.at + piece.len() as u64 > PLAIN {
            self.at = 0;
        }
        self.file.write_all_at(&piece, self.at).unwrap();
        self.file.sync_data().unwrap();
        self.at += piece.len() as u64;
    }
}

/// Entries a second, p50, p99 and the longest commit in microseconds, microseconds of CPU an entry.
fn measure(store: &mut dyn Store, batch: usize, time: Duration) -> [f64; 5] {
    let entry = [b'x'; ENTRY];
    let mut took = Vec::new();
    let (start, cpu) = (Instant::now(), cpu());
    while start.elapsed() < time {
        let before = Instant::now();
        store.commit(batch, &entry);
        took.push(before.elapsed().as_secs_f64() * 1e6);
    }
    let (time, cpu) = (start.elapsed().as_secs_f64(), self::cpu() - cpu);
    let entries = (took.len() * batch) as f64;
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    [entries / time, at(0.5), at(0.99), at(1.0), cpu * 1e6 / entries]
}

/// Seconds of CPU of this process so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn median(mut of: Vec<[f64; 5]>) -> [f64; 5] {
    std::array::from_fn(|i| {
        of.sort_by(|a, b| a[i].total_cmp(&b[i]));
        of[of.len() / 2][i]
    })
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let Some(folder) = args.next().map(PathBuf::from) else {
        println!("say where: cargo bench -p convoke-host --bench log -- FOLDER [SECONDS]");
        return;
    };
    let seconds = args.next().map_or(0.8, |text| text.parse().expect("seconds"));
    let folder = folder.join(format!("convoke-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!("| store | batch | entries/s | p50 us | p99 us | max us | CPU us/entry |");
    println!("|---|---|---|---|---|---|---|");
    for batch in BATCHES {
        let (mut journal, mut plain) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let path = folder.join(format!("journal-{batch}-{round}"));
            let mut store = Journal::open(&path).unwrap().0;
            journal.push(measure(&mut store, batch, Duration::from_secs_f64(seconds)));
            drop(store);
            std::fs::remove_file(path).unwrap();
            let path = folder.join("plain");
            plain.push(measure(&mut Plain::new(&path), batch, Duration::from_secs_f64(seconds)));
            std::fs::remove_file(path).unwrap();
        }
        let (journal, plain) = (median(journal), median(plain));
        for (name, [rate, p50, p99, max, cpu]) in [("journal", journal), ("plain", plain)] {
            println!("| {name} | {batch} | {rate:.0} | {p50:.0} | {p99:.0} | {max:.0} | {cpu:.2} |");
        }
        println!(
            "| journal/plain | {batch} | {:.2} | {:.2} | {:.2} | | {:.2} |",
            journal[0] / plain[0],
            journal[1] / plain[1],
            journal[2] / plain[2],
            journal[4] / plain[4]
        );
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
