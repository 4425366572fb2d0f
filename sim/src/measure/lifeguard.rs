//! Table IV of the Lifeguard paper (arXiv 1707.00788, section 5): its five configurations and ours, with some members starved.
//!
//! An experiment: all members know each other; some of them, `C`, are blocked for `D`, run for `I`, and so on, for two
//! minutes. A false positive (FP) is a member event `Failed` about a member with which nothing is wrong, at any member; FP-
//! counts those at members with which nothing is wrong. The table sums over a grid of `C`, `D` and `I`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use convoke_swim::{Config, Flaw, Lifeguard};

use crate::node::Blocking;
use crate::scenario::{Setup, secs};
use crate::world::World;

/// Members that are starved.
const ANOMALIES: [u32; 9] = [1, 4, 8, 12, 16, 20, 24, 28, 32];
/// For so many milliseconds they are blocked.
const BLOCKED: [u64; 6] = [128, 512, 2_048, 8_192, 16_384, 32_768];
/// Between two blocks they run for so many.
const RUNNING: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
/// How long an experiment lasts.
const LASTS: Duration = secs(120);

/// What the paper found: FP %, FP- %, messages %, bytes % of SWIM.
pub type Paper = Option<[f64; 4]>;

/// The five configurations, as the paper names them, and that of our agents, which it does not have.
pub const CONFIGURATIONS: [(&str, Lifeguard, Paper); 6] = [
    ("SWIM", Lifeguard::NONE, Some([100.0, 100.0, 100.0, 100.0])),
    ("LHA-Probe", Lifeguard { probe: true, ..Lifeguard::NONE }, Some([67.72, 32.88, 98.46, 90.03])),
    ("LHA-Suspicion", Lifeguard { suspicion: true, ..Lifeguard::NONE }, Some([3.00, 6.71, 111.31, 106.52])),
    ("Buddy System", Lifeguard { buddy: true, ..Lifeguard::NONE }, Some([94.08, 44.57, 100.07, 99.01])),
    ("Lifeguard", Lifeguard { doubt: false, ..Lifeguard::ALL }, Some([1.53, 1.89, 110.59, 97.97])),
    ("Convoke", Lifeguard::ALL, None),
];

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of all randomness.
    pub seed: u64,
    /// Members; the paper has 128.
    pub nodes: usize,
    /// `suspicion_mult` (alpha) of all configurations; the paper's table has 5.
    pub suspicion_mult: u32,
    /// What stands still in the starved. [`Blocking::Loops`] is the paper's.
    pub blocking: Blocking,
    /// 1: six pairs of `D` and `I`; 2: twelve; 3: all 48.
    pub effort: u32,
    /// Only the configuration of this name.
    pub name: Option<String>,
    /// Only these starved members, milliseconds blocked and running.
    pub only: Option<(u32, u64, u64)>,
    /// Experiments at a time; each is in one thread, so this changes no result.
    pub threads: usize,
    /// Write a timeline to stderr.
    pub trace: bool,
    /// A bug put back into every member, to see what its cure is worth.
    pub flaw: Option<Flaw>,
}

impl Options {
    fn grid(&self) -> Vec<(u32, u64, u64)> {
        if let Some(only) = self.only {
            return vec![only];
        }
        let every = |step: usize, all: &[u64]| all.iter().copied().skip(step - 1).step_by(step).collect::<Vec<_>>();
        let (blocked, running) = match self.effort {
            0 | 1 => (every(2, &BLOCKED), every(4, &RUNNING)),
            2 => (every(2, &BLOCKED), every(2, &RUNNING)),
            _ => (BLOCKED.to_vec(), RUNNING.to_vec()),
        };
        let pairs: Vec<(u64, u64)> = blocked.iter().flat_map(|d| running.iter().map(|i| (*d, *i))).collect();
        ANOMALIES.iter().flat_map(|c| pairs.iter().map(|(d, i)| (*c, *d, *i))).collect()
    }

    fn configurations(&self) -> impl Iterator<Item = (&'static str, Lifeguard, Paper)> {
        CONFIGURATIONS.into_iter().filter(|(name, ..)| self.name.as_deref().is_none_or(|only| only == *name))
    }

    /// How many experiments that makes.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.grid().len() * self.configurations().count()
    }
}

/// Sums of one configuration.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Verdicts about healthy members, at any.
    pub false_positives: u64,
    /// Of these, at healthy members.
    pub at_healthy: u64,
    /// Messages sent (several ride in a packet).
    pub messages: u64,
    /// Packets sent.
    pub packets: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What the paper has.
    pub paper: Paper,
}

impl Row {
    /// What the columns are. Messages ride several in a packet; it is not said in the paper which of the two it counts.
    pub const HEADER: &'static str = "configuration        FP      FP-     FP %    FP- %   msgs %  packets %  bytes %  | paper: FP %    FP- %   msgs %  bytes %";

    fn add(&mut self, other: &Self) {
        self.false_positives += other.false_positives;
        self.at_healthy += other.at_healthy;
        self.messages += other.messages;
        self.packets += other.packets;
        self.bytes += other.bytes;
    }

    /// A line, with shares of another row.
    #[must_use]
    pub fn beside(&self, base: &Self) -> String {
        let share = |of: u64, all: u64| 100.0 * of as f64 / all as f64;
        let paper = self.paper.map_or_else(String::new, |[fp, healthy, messages, bytes]| {
            format!("  | {fp:>11.2} {healthy:>8.2} {messages:>8.2} {bytes:>8.2}")
        });
        format!(
            "{:<14} {:>8} {:>8} {:>8.2} {:>8.2} {:>8.2} {:>10.2} {:>8.2}{paper}",
            self.name,
            self.false_positives,
            self.at_healthy,
            share(self.false_positives, base.false_positives),
            share(self.at_healthy, base.at_healthy),
            share(self.messages, base.messages),
            share(self.packets, base.packets),
            share(self.bytes, base.bytes),
        )
    }
}

/// An experiment of one configuration: its name, how many starved, for how long (milliseconds), how long they run, and what
/// came of it.
pub type Seen<'a> = (&'static str, (u32, u64, u64), &'a Row);

/// The table. `step` is shown each experiment when it is done, in any order.
pub fn table(options: &Options, step: impl FnMut(Seen<'_>) + Send) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut jobs = Vec::new();
    for (name, lifeguard, paper) in options.configurations() {
        let config =
            Config { suspicion_mult: options.suspicion_mult, suspicion_max_mult: 6, lifeguard, ..Config::lan() };
        jobs.extend(options.grid().into_iter().map(|anomaly| (rows.len(), config.clone(), anomaly)));
        rows.push(Row { name, false_positives: 0, at_healthy: 0, messages: 0, packets: 0, bytes: 0, paper });
    }
    let (next, nothing) = (AtomicUsize::new(0), rows.clone());
    let sums = Mutex::new((&mut rows, step));
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                while let Some((row, config, anomaly)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut one = nothing[*row];
                    experiment(options, config, *anomaly, &mut one);
                    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                    sums.0[*row].add(&one);
                    (sums.1)((one.name, *anomaly, &one));
                }
            });
        }
    });
    rows
}

/// One experiment.
fn experiment(options: &Options, config: &Config, anomaly: (u32, u64, u64), row: &mut Row) {
    let (starved, blocked, running) = anomaly;
    // All configurations have the same seeds, so that they meet the same network; each experiment has its own.
    let seed =
        [u64::from(starved), blocked, running].iter().fold(options.seed, |seed, part| seed.wrapping_mul(40_009) + part);
    let mut world =
        Setup { trace: options.trace, flaw: options.flaw, ..Setup::seed(seed) }.cluster(options.nodes, config);
    world.block_as(options.blocking);
    let mut notes = Vec::new();
    world.run_for(secs(15));
    world.take_notes(&mut notes);
    let sent = |world: &World| {
        let stats = world.nodes().filter_map(|(_, node)| node.swim()).map(convoke_swim::Swim::stats);
        stats.fold([0, 0, 0], |[messages, packets, bytes], s| {
            [messages + s.messages_out, packets + s.packets_out, bytes + s.bytes_out]
        })
    };
    let before = sent(&world);
    for node in 0..starved {
        world.starve(node, Duration::from_millis(blocked), Duration::from_millis(running));
    }
    let end = world.now() + LASTS;
    while world.now() < end {
        world.run_for(secs(1));
        world.take_notes(&mut notes);
        for (of, by) in super::verdicts(&notes) {
            if of >= starved {
                row.false_positives += 1;
                row.at_healthy += u64::from(by >= starved);
            }
        }
    }
    let after = sent(&world);
    row.messages += after[0] - before[0];
    row.packets += after[1] - before[1];
    row.bytes += after[2] - before[2];
}
