//! The same questions to real processes: three servers are killed, stopped, cut off and started while clients use them, and what the clients saw is judged by the checker of the simulator ([`crate::consensus::checker`]).
//!
//! Nothing here can be repeated exactly: the seed only draws what is done, and when. The history is what remains of a run.
//!
//! * `process`: servers as children. `network`: cables that can be cut. `http`: one request. `work`: what a client does.

mod http;
pub mod network;
mod process;
mod work;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use convoke_kit::Rng;

use crate::consensus::checker::{self, Checked, PATIENCE, Record};
use process::Cluster;
use work::{Shared, Worker};

/// What a run depends on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent.
    pub binary: PathBuf,
    /// How long clients work.
    pub seconds: u64,
    /// Of what is done, and when.
    pub seed: u64,
    /// Cut cables, too. The process must be where [`network::run_inside`] puts it.
    pub cuts: bool,
    /// Where the history is written; `None`: only if something is wrong, to the folder for temporary files.
    pub out: Option<PathBuf>,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the checker looked at.
    pub checked: Checked,
    /// Operations refused or not understood by servers, which may or may not have been done.
    pub errors: u64,
    /// Operations on locks that were answered.
    pub locks: u64,
    /// Registrations that were acknowledged, all of which were there in the end.
    pub registrations: u64,
    /// Servers killed alone.
    pub kills: u64,
    /// Servers stopped for a while.
    pub stops: u64,
    /// Times all servers were killed at once.
    pub kills_of_all: u64,
    /// Times a server was cut off from everybody.
    pub cuts: u64,
    /// Times two servers, or all three, could not reach each other, while clients reached them.
    pub parts: u64,
}

/// Why a run does not pass.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The servers do not do what is needed to begin or to end.
    #[error("{0}")]
    Cluster(String),
    /// What clients saw cannot be.
    #[error("{what}\nthe history is in {}", history.display())]
    History {
        /// What is wrong.
        what: String,
        /// Where it was written.
        history: PathBuf,
    },
}

const CLIENTS: u64 = 5;

/// Plays one run.
///
/// # Errors
///
/// When servers do not come up, or clients saw what cannot be.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut rng = Rng::new(options.seed);
    let mut cluster = Cluster::start(&options.binary, options.cuts, &mut rng).map_err(Failure::Cluster)?;
    cluster.await_leader(Duration::from_secs(60)).map_err(Failure::Cluster)?;
    let shared = Arc::new(Shared {
        start: Instant::now(),
        servers: cluster.addresses(),
        stop: AtomicBool::new(false),
        history: Mutex::new(Vec::new()),
        registered: Mutex::new(Vec::new()),
        errors: Default::default(),
        locks: Default::default(),
    });
    let workers: Vec<_> = (1..=CLIENTS)
        .map(|id| {
            let worker = Worker::new(id, rng.fork(), Arc::clone(&shared));
            std::thread::spawn(move || worker.work())
        })
        .collect();
    let mut report = Report::default();
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut fallen = Ok(());
    while Instant::now() < end && fallen.is_ok() {
        std::thread::sleep(Duration::from_millis(500 + rng.below(2_500)));
        fallen = strike(&mut cluster, &mut rng, &mut report);
    }
    shared.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        if worker.join().is_err() {
            fallen = Err("a client panicked".to_string());
        }
    }
    fallen.map_err(Failure::Cluster)?;
    cluster.start_all().map_err(Failure::Cluster)?;
    cluster.await_leader(Duration::from_secs(60)).map_err(Failure::Cluster)?;
    let missing = work::read_everything(&shared).map_err(Failure::Cluster)?;
    report.errors = shared.errors.load(Ordering::Relaxed);
    report.locks = shared.locks.load(Ordering::Relaxed);
    report.registrations = shared.registered.lock().map_or(0, |all| all.len() as u64);
    let history = shared.history.lock().map(|history| history.clone()).unwrap_or_default();
    let report = judge(options, report, &history, &missing)?;
    // A run in which nothing happened proves nothing.
    let struck = report.kills + report.stops + report.kills_of_all + report.cuts + report.parts;
    if report.checked.answered < 5 * options.seconds || struck * 10 < options.seconds {
        let text = format!("hardly anything happened: {} answered, {struck} faults", report.checked.answered);
        return Err(Failure::Cluster(text));
    }
    Ok(report)
}

/// Does something to the servers, and lets them recover most of the time.
fn strike(cluster: &mut Cluster, rng: &mut Rng, report: &mut Report) -> Result<(), String> {
    let at = rng.index(3);
    if let Some(network) = cluster.network()
        && rng.one_in(2)
    {
        let wait = Duration::from_millis(200 + rng.below(5_000));
        if rng.one_in(2) {
            network.cut(at, true)?;
            report.cuts += 1;
            std::thread::sleep(wait);
            return network.cut(at, false);
        }
        let two = [at, (at + 1) % 3];
        let apart: &[usize] = if rng.one_in(3) { &[0, 1, 2] } else { &two };
        network.part(apart, true)?;
        report.parts += 1;
        std::thread::sleep(wait);
        return network.part(apart, false);
    }
    match rng.below(10) {
        0..5 => {
            cluster.kill(at);
            report.kills += 1;
            std::thread::sleep(Duration::from_millis(rng.below(2_000)));
        }
        5..8 => {
            cluster.signal(at, "-STOP");
            report.stops += 1;
            std::thread::sleep(Duration::from_millis(200 + rng.below(3_000)));
            cluster.signal(at, "-CONT");
        }
        _ => {
            (0..3).for_each(|at| cluster.kill(at));
            report.kills_of_all += 1;
        }
    }
    cluster.start_all()
}

fn judge(options: &Options, mut report: Report, history: &[Record], missing: &[String]) -> Result<Report, Failure> {
    let verdict = match checker::check(history, PATIENCE) {
        Err(refuted) => Err(refuted.to_string()),
        Ok(_) if !missing.is_empty() => Err(format!("acknowledged registrations are lost: {missing:?}")),
        Ok(checked) => Ok(checked),
    };
    let path = options.out.clone();
    let path = path.or_else(|| {
        let name = format!("convoke-chaos-{}-{}.jsonl", options.seed, std::process::id());
        verdict.is_err().then(|| std::env::temp_dir().join(name))
    });
    if let Some(path) = &path {
        let written = std::fs::write(path, checker::to_lines(history));
        written.map_err(|error| {
            Failure::Cluster(format!("the history cannot be written to {}: {error}", path.display()))
        })?;
    }
    match verdict {
        Ok(checked) => {
            report.checked = checked;
            Ok(report)
        }
        Err(what) => Err(Failure::History { what, history: path.unwrap_or_default() }),
    }
}
