//! Whole agents: their scenarios, and their lives.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use convoke_core::flaw::{FLAWS, Flaw};
use convoke_sim::cluster::scenario::{Scenario, Setup};
use convoke_sim::cluster::swarm::{KINDS, Lived, Options, Tally, live};

use crate::lives::{attempt, each_seed, get};
use crate::show;

/// The bug that is to be put back; an error if there is none of that name.
fn flaw(args: &ArgMatches) -> Result<Option<Flaw>, ()> {
    let Some(name) = args.get_one::<String>("flaw") else { return Ok(None) };
    let found = FLAWS.iter().find(|flaw| format!("{flaw:?}").eq_ignore_ascii_case(name));
    if found.is_none() {
        eprintln!("there is no flaw {name:?} of agents; `convoke-sim list` shows them");
    }
    found.copied().map(Some).ok_or(())
}

/// Plays a scenario.
pub(crate) fn run(args: &ArgMatches, scenario: &Scenario) -> bool {
    let Ok(flaw) = flaw(args) else { return false };
    let (first, mut fine) = (get(args, "seed"), true);
    for seed in first..first + get(args, "seeds") {
        let setup = Setup { seed, flaw, trace: args.get_flag("trace") };
        match (scenario.run)(&setup) {
            Ok(hash) => say!("{} seed {seed}: fine, hash {hash:016x}", scenario.name),
            Err(violation) => {
                fine = false;
                say!("{} seed {seed}: BROKEN: {violation}", scenario.name);
                say!("    again: convoke-sim run --scenario {} --seed {seed} --trace", scenario.name);
            }
        }
    }
    fine
}

#[derive(Default)]
struct Sum {
    broken: u64,
    events: u64,
    answered: u64,
    unknown: u64,
    tally: Tally,
    hash: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, lived: &Lived) {
        self.events += lived.events;
        self.answered += lived.answered;
        self.unknown += lived.unknown;
        self.tally.iter_mut().zip(lived.tally).for_each(|(sum, one)| *sum += one);
        // Lives end in any order.
        self.hash ^= lived.hash.rotate_left((seed % 64) as u32);
    }
}

/// Lives of agents; fails if one is broken or a kind of fault never fires.
pub(crate) fn swarm(args: &ArgMatches) -> bool {
    let Ok(flaw) = flaw(args) else { return false };
    let (first, seeds, minutes) = (get(args, "seed"), get(args, "seeds"), get(args, "minutes"));
    let (sum, bar, start) = (Mutex::new(Sum::default()), show::bar(seeds, "seeds"), Instant::now());
    each_seed(first, seeds, get(args, "threads"), |seed| {
        let options = Options { seed, span: Duration::from_secs(60 * minutes), flaw, trace: args.get_flag("trace") };
        let result = attempt(|| live(&options));
        if let Err(what) = &result {
            let flaw = flaw.map_or_else(String::new, |flaw| format!(" --flaw {flaw:?}"));
            bar.suspend(|| {
                say!("seed {seed}: BROKEN: {what}");
                say!("    again: convoke-sim swarm --world agents --seed {seed} --seeds 1 --minutes {minutes}{flaw} --trace");
            });
        }
        if let Ok(mut sum) = sum.lock() {
            match &result {
                Ok(lived) => sum.add(seed, lived),
                Err(_) => sum.broken += 1,
            }
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let Ok(sum) = sum.into_inner() else { return false };
    let took = start.elapsed().as_secs_f64();
    say!("{seeds} lives of {minutes} minutes in {took:.1} s: {} broken", sum.broken);
    say!(
        "{} events, {} requests answered, {} not; all hashes together {:016x}",
        sum.events,
        sum.answered,
        sum.unknown,
        sum.hash
    );
    let counts: Vec<_> = KINDS.iter().zip(sum.tally).collect();
    for some in counts.chunks(3) {
        let cells = some.iter().map(|(kind, count)| format!("{:<14} {count:>8}", format!("{kind:?}")));
        say!("  {}", cells.collect::<Vec<_>>().join("   "));
    }
    let missing: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).map(|(kind, _)| kind).collect();
    if !missing.is_empty() && sum.broken == 0 {
        say!("never fired: {missing:?}");
    }
    sum.broken == 0 && missing.is_empty()
}
