//! Lives of clusters drawn from seeds: `swarm`, and `bugs`, which puts known ones back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use convoke_sim::consensus::bug::Planted;
use convoke_sim::consensus::faults::{KINDS, Tally};
use convoke_sim::consensus::invariant::Violation;
use convoke_sim::consensus::swarm::{Lived, Options, live};
use convoke_sim::{Setup, chaos, scenario};

use crate::{agents, show};

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default).help(help)
}

/// The subcommands.
pub(crate) fn commands() -> [Command; 3] {
    let threads = || number("threads", "2", "Seeds at a time; each life is in one thread");
    [
        Command::new("swarm")
            .about("Lives drawn from seeds: faults, then healing; fails if something is wrong or a kind of fault never fires")
            .arg(number("seed", "1", "The first"))
            .arg(number("seeds", "100", "How many"))
            .arg(number("minutes", "10", "How long each lasts"))
            .arg(threads())
            .arg(
                Arg::new("world")
                    .long("world")
                    .value_parser(["raft", "agents", "gossip"])
                    .default_value("raft")
                    .help("Servers with disks and clients, whole agents, or a pool of members"),
            )
            .arg(Arg::new("trace").long("trace").action(ArgAction::SetTrue).help("Writes a timeline to stderr"))
            .arg(Arg::new("flaw").long("flaw").help("Puts a known bug back; `convoke-sim bugs --list` shows them")),
        Command::new("bugs")
            .about("Puts each known bug back, and says with which seed it is found")
            .arg(number("seeds", "500", "Seeds to try"))
            .arg(number("minutes", "2", "How long each life lasts"))
            .arg(threads())
            .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("Only says which there are"))
            .arg(Arg::new("only").long("only").help("Only this one")),
        Command::new("chaos")
            .about("Real servers are killed, stopped, cut off and started while clients use them; judges what these saw")
            .arg(
                Arg::new("binary")
                    .long("binary")
                    .required(true)
                    .value_parser(value_parser!(std::path::PathBuf))
                    .help("The agent"),
            )
            .arg(number("seconds", "60", "How long clients work"))
            .arg(number("seed", "1", "Of what is done, and when; a run cannot be repeated exactly"))
            .arg(
                Arg::new("cuts")
                    .long("cuts")
                    .action(ArgAction::SetTrue)
                    .help("Cuts cables, too, between network namespaces of its own; where there can be none it says so, and plays on"),
            )
            .arg(
                Arg::new("out")
                    .long("out")
                    .value_parser(value_parser!(std::path::PathBuf))
                    .help("Where the history is written; default: only if something is wrong, to a temporary file"),
            ),
    ]
}

pub(crate) fn get(args: &ArgMatches, name: &str) -> u64 {
    args.get_one::<u64>(name).copied().unwrap_or_default()
}

/// Lives one; a panic is something wrong, too.
pub(crate) fn attempt<T>(live: impl FnOnce() -> Result<T, Violation>) -> Result<T, String> {
    let text = |violation: Violation| violation.to_string();
    catch_unwind(AssertUnwindSafe(live)).map_or_else(
        |panic| {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            Err(format!("panic: {}", what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
        },
        |lived| lived.map_err(text),
    )
}

/// Many lives, on several threads; each thread takes the next seed.
pub(crate) fn each_seed(first: u64, seeds: u64, threads: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    work(seed);
                }
            });
        }
    });
}

#[derive(Default)]
struct Sum {
    tally: Tally,
    lives: u64,
    events: u64,
    answered: u64,
    unknown: u64,
    applied: u64,
    leader_after: Vec<u64>,
    equal_after: Vec<Duration>,
    broken: Vec<(u64, String)>,
    hash: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, result: Result<Lived, String>) {
        self.lives += 1;
        match result {
            Err(what) => self.broken.push((seed, what)),
            Ok(lived) => {
                self.tally.merge(&lived.tally);
                self.events += lived.events;
                self.answered += lived.checked.answered;
                self.unknown += lived.checked.unknown;
                self.applied += lived.applied;
                self.leader_after.push(lived.leader_after);
                self.equal_after.push(lived.equal_after);
                self.hash ^= lived.hash;
            }
        }
    }
}

/// Plays many seeds.
pub(crate) fn swarm(args: &ArgMatches) -> bool {
    match args.get_one::<String>("world").map(String::as_str) {
        Some("gossip") => return gossip(args),
        Some("agents") => return agents::swarm(args),
        _ => {}
    }
    let planted = match args.get_one::<String>("flaw").map(|name| (name, Planted::find(name))) {
        Some((name, None)) => {
            eprintln!("there is no bug {name:?}; `convoke-sim bugs --list` shows them");
            return false;
        }
        found => found.and_then(|(_, planted)| planted),
    };
    let (first, seeds, minutes) = (get(args, "seed"), get(args, "seeds"), get(args, "minutes"));
    let sum = Mutex::new(Sum::default());
    let bar = show::bar(seeds, "seeds");
    let start = Instant::now();
    each_seed(first, seeds, get(args, "threads"), |seed| {
        let options = Options { seed, span: Duration::from_secs(60 * minutes), planted, trace: args.get_flag("trace") };
        let result = attempt(|| live(&options));
        if let Err(what) = &result {
            let flaw = planted.map_or_else(String::new, |planted| format!(" --flaw {}", planted.name()));
            bar.suspend(|| {
                say!("seed {seed}: BROKEN: {what}");
                say!("    again: convoke-sim swarm --seed {seed} --seeds 1 --minutes {minutes}{flaw} --trace");
            });
        }
        if let Ok(mut sum) = sum.lock() {
            sum.add(seed, result);
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let Ok(sum) = sum.into_inner() else { return false };
    report(sum, minutes, start.elapsed())
}

fn report(mut sum: Sum, minutes: u64, took: Duration) -> bool {
    let whole = sum.lives - sum.broken.len() as u64;
    say!("{} lives of {minutes} minutes in {:.1} s: {} broken", sum.lives, took.as_secs_f64(), sum.broken.len());
    say!(
        "{} events, {} entries applied, {} operations answered, {} of unknown outcome; all hashes together {:016x}",
        sum.events,
        sum.applied,
        sum.answered,
        sum.unknown,
        sum.hash
    );
    sum.leader_after.sort_unstable();
    sum.equal_after.sort_unstable();
    let at = |share: f64, len: usize| ((len as f64 * share) as usize).min(len.saturating_sub(1));
    if whole > 0 {
        let leader = |share| sum.leader_after[at(share, sum.leader_after.len())] as f64 / 1000.0;
        let equal = |share| sum.equal_after[at(share, sum.equal_after.len())].as_secs_f64();
        let within = sum.leader_after.iter().filter(|after| **after <= 3000).count();
        say!(
            "a leader after healing: median {:.2}, p99 {:.2}, at most {:.2} election timeouts; {within} of {whole} within 3",
            leader(0.5),
            leader(0.99),
            leader(1.0)
        );
        say!(
            "equal states after that: median {:.2} s, p99 {:.2} s, at most {:.2} s",
            equal(0.5),
            equal(0.99),
            equal(1.0)
        );
    }
    let mut missing: Vec<convoke_sim::consensus::faults::Kind> = Vec::new();
    for kinds in KINDS.chunks(3) {
        let cells = kinds.iter().map(|kind| format!("{:<20} {:>12}", format!("{kind:?}"), sum.tally.of(*kind)));
        say!("  {}", cells.collect::<Vec<_>>().join("   "));
        missing.extend(kinds.iter().filter(|kind| sum.tally.of(**kind) == 0));
    }
    if !missing.is_empty() && sum.broken.is_empty() {
        say!("never fired: {missing:?}");
    }
    sum.broken.is_empty() && missing.is_empty()
}

/// The swarm scenario of pools.
fn gossip(args: &ArgMatches) -> bool {
    let (first, seeds) = (get(args, "seed"), get(args, "seeds"));
    let minutes = Some(get(args, "minutes"));
    let broken = AtomicU64::new(0);
    let bar = show::bar(seeds, "seeds");
    each_seed(first, seeds, get(args, "threads"), |seed| {
        let setup = Setup { seed, minutes, trace: args.get_flag("trace"), ..Setup::default() };
        if let Err(violation) = (scenario::swarm::SWARM.run)(&setup) {
            broken.fetch_add(1, Ordering::Relaxed);
            bar.suspend(|| {
                say!("seed {seed}: BROKEN: {violation}");
                say!(
                    "    again: convoke-sim run --scenario swarm --seed {seed} --minutes {} --trace",
                    get(args, "minutes")
                );
            });
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let broken = broken.into_inner();
    say!("{seeds} seeds: {broken} broken");
    broken == 0
}

/// Puts bugs back, one after the other.
pub(crate) fn bugs(args: &ArgMatches) -> bool {
    let only = args.get_one::<String>("only");
    let wanted: Vec<Planted> = match only {
        None => Planted::all().collect(),
        Some(name) => Planted::find(name).into_iter().collect(),
    };
    if args.get_flag("list") {
        wanted.iter().for_each(|planted| say!("{}", planted.name()));
        return true;
    }
    if wanted.is_empty() {
        eprintln!("there is no bug {:?}; `convoke-sim bugs --list` shows them", only.map_or("", String::as_str));
        return false;
    }
    let (seeds, minutes) = (get(args, "seeds"), get(args, "minutes"));
    // A bug may make the machine panic; that is found, and needs no words.
    std::panic::set_hook(Box::new(|_| ()));
    let mut found = 0;
    for planted in &wanted {
        let best: Mutex<Option<(u64, String)>> = Mutex::new(None);
        let limit = AtomicU64::new(u64::MAX);
        each_seed(1, seeds, get(args, "threads"), |seed| {
            if seed >= limit.load(Ordering::Relaxed) {
                return;
            }
            let span = Duration::from_secs(60 * minutes);
            let options = Options { span, planted: Some(*planted), ..Options::seed(seed) };
            if let Err(what) = attempt(|| live(&options))
                && let Ok(mut best) = best.lock()
                && best.as_ref().is_none_or(|(first, _)| seed < *first)
            {
                limit.fetch_min(seed, Ordering::Relaxed);
                *best = Some((seed, what));
            }
        });
        match best.into_inner().ok().flatten() {
            Some((seed, what)) => {
                found += 1;
                let what: String = what.chars().take(110).collect();
                say!("{:<28} seed {seed:>4}: {}", planted.name(), what.replace('\n', " "));
            }
            None => say!("{:<28} not found with {seeds} seeds", planted.name()),
        }
    }
    say!("{found} of {} found", wanted.len());
    found == wanted.len() || only.is_none() && found >= 30
}

/// Real processes.
pub(crate) fn chaos(args: &ArgMatches) -> bool {
    let mut cuts = args.get_flag("cuts");
    if cuts && std::env::var_os(chaos::network::INSIDE).is_none() {
        match chaos::network::run_inside(std::env::args_os().skip(1)) {
            Ok(status) => return status.success(),
            Err(why) => {
                say!("no cables are cut: {why}");
                cuts = false;
            }
        }
    }
    let path = |name: &str| args.get_one::<std::path::PathBuf>(name).cloned();
    let options = chaos::Options {
        binary: path("binary").unwrap_or_default(),
        seconds: get(args, "seconds"),
        seed: get(args, "seed"),
        cuts,
        out: path("out"),
    };
    match chaos::run(&options) {
        Ok(report) => {
            say!(
                "fine: {} operations answered, {} of unknown outcome, {} keys, {} steps to judge them",
                report.checked.answered,
                report.checked.unknown,
                report.checked.keys,
                report.checked.steps
            );
            say!(
                "{} of locks, {} registrations, {} errors; {} servers killed alone, {} stopped, {} times all killed at once, {} cut off, {} times apart",
                report.locks,
                report.registrations,
                report.errors,
                report.kills,
                report.stops,
                report.kills_of_all,
                report.cuts,
                report.parts
            );
            true
        }
        Err(failure) => {
            say!("BROKEN: {failure}");
            false
        }
    }
}
