//! `convoke-sim`: plays scenarios, and takes the measurements that a pool is judged by.
#![forbid(unsafe_code)]

/// A line on stdout; who stops reading stops reading.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

mod agents;
mod lives;
mod show;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use convoke_sim::measure::{self, lifeguard};
use convoke_sim::scenario::{self, Scenario, Setup};
use convoke_sim::{Blocking, Violation, World};
use convoke_swim::Flaw;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let Some((name, args)) = matches.subcommand() else { return ExitCode::FAILURE };
    let fine = match name {
        "list" => list(),
        "run" => run(args),
        "lifeguard" => grid(args),
        "detect" => detect(args),
        "quiet" => quiet(args),
        "join" => join(args),
        "split" => split(args),
        "memory" => memory(args),
        "swarm" => lives::swarm(args),
        "bugs" => lives::bugs(args),
        "chaos" => lives::chaos(args),
        _ => speed(args),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default).help(help)
}

fn command() -> Command {
    let seed = || number("seed", "1", "Of all randomness");
    let nodes = |default: &'static str| number("nodes", default, "How many members");
    Command::new("convoke-sim")
        .about("Whole pools of members in one thread and virtual time")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("The scenarios, and the bugs they find"))
        .subcommand(
            Command::new("run")
                .about("Plays a scenario; fails if something happens that must not")
                .arg(Arg::new("scenario").long("scenario").required(true).help("Its name, or the beginning: g07"))
                .arg(seed())
                .arg(number("seeds", "1", "Plays it with so many seeds, one after the other"))
                .arg(Arg::new("nodes").long("nodes").value_parser(value_parser!(u64)).help("How many members"))
                .arg(Arg::new("minutes").long("minutes").value_parser(value_parser!(u64)).help("For how long"))
                .arg(Arg::new("trace").long("trace").action(ArgAction::SetTrue).help("Writes a timeline to stderr"))
                .arg(Arg::new("flaw").long("flaw").help("Puts a known bug back into every member")),
        )
        .subcommands(lives::commands())
        .subcommand(
            Command::new("lifeguard")
                .about("Table IV of the Lifeguard paper, five configurations and ours with starved members")
                .arg(seed())
                .arg(nodes("128"))
                .arg(
                    Arg::new("blocked")
                        .long("blocked")
                        .value_parser(["loops", "process", "nothing"])
                        .default_value("loops")
                        .help("What stands still in the starved: each loop at what it sends, as in the paper; all; or nothing"),
                )
                .arg(Arg::new("only").long("only").help("Only the configuration of this name: LHA-Probe"))
                .arg(
                    Arg::new("cell")
                        .long("cell")
                        .num_args(3)
                        .value_names(["STARVED", "BLOCKED", "RUNNING"])
                        .value_parser(value_parser!(u64))
                        .help("Only this experiment: so many starved, milliseconds blocked and running"),
                )
                .arg(Arg::new("trace").long("trace").action(ArgAction::SetTrue).help("Writes a timeline to stderr"))
                .arg(Arg::new("flaw").long("flaw").help("Puts a known bug back into every member"))
                .arg(Arg::new("each").long("each").action(ArgAction::SetTrue).help("A line for each experiment, too"))
                .arg(number("threads", "2", "Experiments at a time; each is in one thread"))
                .arg(number("effort", "1", "1: a part of the grid, in minutes; 2: more; 3: the whole grid"))
                .arg(
                    Arg::new("suspicion-mult")
                        .long("suspicion-mult")
                        .value_parser(value_parser!(u32))
                        .default_value("5"),
                ),
        )
        .subcommand(
            Command::new("detect")
                .about("How soon a crash is noticed, by the first and by all")
                .arg(seed())
                .arg(number("nodes", "0", "How many members; 0: 128, 1,000 and 10,000"))
                .arg(number("crashes", "40", "How many crashes (a quarter of it at 10,000)"))
                .arg(
                    Arg::new("suspicion-mult")
                        .long("suspicion-mult")
                        .value_parser(value_parser!(u32))
                        .default_value("4"),
                ),
        )
        .subcommand(
            Command::new("quiet")
                .about("A pool with packet loss and nothing else wrong: nobody may be declared failed")
                .arg(seed())
                .arg(nodes("1000"))
                .arg(number("loss", "10000", "Packets per million that are lost"))
                .arg(number("minutes", "60", "For how long")),
        )
        .subcommand(
            Command::new("join").about("All join one at once: time until all know all").arg(seed()).arg(nodes("1000")),
        )
        .subcommand(
            Command::new("split")
                .about("Two halves apart, then healed: time until equal views")
                .arg(seed())
                .arg(nodes("100"))
                .arg(number("minutes", "10", "For how long they are apart")),
        )
        .subcommand(
            Command::new("memory")
                .about("Bytes that a member costs every other one")
                .arg(nodes("10000"))
                .arg(number("agents", "64", "How many agents are measured, each without and with coordinates")),
        )
        .subcommand(
            Command::new("speed")
                .about("Simulated seconds per second of this processor, and memory")
                .arg(seed())
                .arg(number("nodes", "0", "How many members; 0: 128, 1,000 and 10,000")),
        )
}

fn get(args: &ArgMatches, name: &str) -> u64 {
    args.get_one::<u64>(name).copied().unwrap_or_default()
}

fn list() -> bool {
    for scenario in convoke_sim::cluster::scenario::ALL {
        say!("{}\n    {}\n    finds: {:?}", scenario.name, scenario.about, scenario.flaws);
    }
    for scenario in scenario::ALL {
        let flaws: Vec<String> = scenario.flaws.iter().map(|flaw| format!("{flaw:?}")).collect();
        say!("{}\n    {}", scenario.name, scenario.about);
        if !flaws.is_empty() {
            say!("    finds: {}", flaws.join(", "));
        }
    }
    true
}

/// The bug that is asked for; `None`: there is none of that name.
fn flaw(args: &ArgMatches) -> Option<Option<Flaw>> {
    let Some(text) = args.get_one::<String>("flaw") else { return Some(None) };
    let flaw = scenario::ALL.iter().flat_map(|s| s.flaws).find(|flaw| format!("{flaw:?}").eq_ignore_ascii_case(text));
    if flaw.is_none() {
        eprintln!("there is no flaw {text:?}; `convoke-sim list` shows them");
    }
    flaw.map(|flaw| Some(*flaw))
}

fn run(args: &ArgMatches) -> bool {
    let wanted = args.get_one::<String>("scenario").map_or("", String::as_str);
    if let Some(scenario) = convoke_sim::cluster::scenario::find(wanted).filter(|_| !wanted.is_empty()) {
        return agents::run(args, scenario);
    }
    let Some(scenario) = scenario::find(wanted) else {
        eprintln!("there is no scenario {wanted:?}; `convoke-sim list` shows all");
        return false;
    };
    let Some(flaw) = flaw(args) else { return false };
    let (first, seeds) = (get(args, "seed"), get(args, "seeds"));
    let mut fine = true;
    let bar = show::bar(seeds, "seeds");
    for seed in first..first + seeds {
        let setup = Setup {
            seed,
            flaw,
            nodes: args.get_one::<u64>("nodes").map(|n| *n as usize),
            minutes: args.get_one::<u64>("minutes").copied(),
            trace: args.get_flag("trace"),
        };
        let start = Instant::now();
        let result = (scenario.run)(&setup);
        fine &= result.is_ok();
        bar.suspend(|| report(scenario, &setup, &result, start.elapsed()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    fine
}

fn report(scenario: &Scenario, setup: &Setup, result: &Result<World, Violation>, took: Duration) {
    match result {
        Ok(world) => {
            let c = world.counters();
            say!(
                "{} seed {}: fine, hash {:016x}, {} nodes, {:?} simulated in {:.2?}",
                scenario.name,
                setup.seed,
                world.hash(),
                world.len(),
                world.now().since_start(),
                took
            );
            say!(
                "    {} packets ({} bytes, {} lost, {} overflowed), {} streams ({} failed, {} bytes), {} verdicts, {} events",
                c.packets,
                c.bytes,
                c.lost,
                c.overflowed,
                c.dials,
                c.dials_failed,
                c.frame_bytes,
                c.failed,
                c.events
            );
        }
        Err(violation) => {
            say!("{} seed {}: BROKEN: {violation}", scenario.name, setup.seed);
            let mut again = format!("convoke-sim run --scenario {} --seed {}", scenario.name, setup.seed);
            if let Some(n) = setup.nodes {
                again += &format!(" --nodes {n}");
            }
            if let Some(n) = setup.minutes {
                again += &format!(" --minutes {n}");
            }
            if let Some(flaw) = setup.flaw {
                again += &format!(" --flaw {flaw:?}");
            }
            say!("    again: {again}");
        }
    }
}

fn grid(args: &ArgMatches) -> bool {
    let cell: Vec<u64> = args.get_many("cell").map(|all| all.copied().collect()).unwrap_or_default();
    let only = match cell[..] {
        [starved, blocked, running] => Some((starved as u32, blocked, running)),
        _ => None,
    };
    let Some(flaw) = flaw(args) else { return false };
    let options = lifeguard::Options {
        flaw,
        only,
        name: args.get_one::<String>("only").cloned(),
        threads: if args.get_flag("trace") { 1 } else { get(args, "threads") as usize },
        trace: args.get_flag("trace"),
        seed: get(args, "seed"),
        nodes: get(args, "nodes") as usize,
        suspicion_mult: args.get_one::<u32>("suspicion-mult").copied().unwrap_or(5),
        effort: get(args, "effort") as u32,
        blocking: match args.get_one::<String>("blocked").map(String::as_str) {
            Some("process") => Blocking::Process,
            Some("nothing") => Blocking::Nothing,
            _ => Blocking::Loops,
        },
    };
    let bar = show::bar(options.runs() as u64, "runs");
    let each = args.get_flag("each");
    let rows = lifeguard::table(&options, |(name, (starved, blocked, running), row)| {
        bar.inc(1);
        if each {
            let (all, healthy) = (row.false_positives, row.at_healthy);
            let line = format!(
                "{name}: {starved} blocked {blocked} ms, running {running} ms: FP {all}, FP- {healthy}, packets {}",
                row.packets
            );
            bar.suspend(|| say!("{line}"));
        }
    });
    bar.finish_and_clear();
    say!("{}", lifeguard::Row::HEADER);
    for row in &rows {
        say!("{}", row.beside(&rows[0]));
    }
    true
}

fn sizes(args: &ArgMatches) -> Vec<usize> {
    match get(args, "nodes") {
        0 => vec![128, 1_000, 10_000],
        n => vec![n as usize],
    }
}

fn detect(args: &ArgMatches) -> bool {
    say!("nodes   crashes  first: median  p99      all: median  p99      first to all: median  p99");
    for n in sizes(args) {
        let crashes = get(args, "crashes") as usize / if n > 5_000 { 4 } else { 1 };
        let bar = show::bar(crashes as u64, "crashes");
        let mult = args.get_one::<u32>("suspicion-mult").copied().unwrap_or(4);
        let times = measure::detect(get(args, "seed"), n, crashes, mult, || bar.inc(1));
        bar.finish_and_clear();
        say!(
            "{n:<7} {:<8} {:>13.2}  {:<8.2} {:>11.2}  {:<8.2} {:>20.2}  {:.2}",
            times.first.len(),
            measure::quantile(&times.first, 0.5),
            measure::quantile(&times.first, 0.99),
            measure::quantile(&times.all, 0.5),
            measure::quantile(&times.all, 0.99),
            measure::quantile(&times.spread, 0.5),
            measure::quantile(&times.spread, 0.99),
        );
        if times.missed > 0 {
            say!("        {} crashes were not noticed by all in time", times.missed);
        }
    }
    true
}

fn quiet(args: &ArgMatches) -> bool {
    let minutes = get(args, "minutes");
    let bar = show::bar(minutes, "minutes");
    let seen =
        measure::quiet(get(args, "seed"), get(args, "nodes") as usize, get(args, "loss") as u32, minutes, || {
            bar.inc(1);
        });
    bar.finish_and_clear();
    say!(
        "{} false deaths, {} suspicions, {} refutations in {minutes} minutes; {:.1} packets and {:.0} bytes a second and member; hash {:016x}",
        seen.deaths,
        seen.suspicions,
        seen.refutations,
        seen.packets,
        seen.bytes,
        seen.hash
    );
    seen.deaths == 0
}

fn join(args: &ArgMatches) -> bool {
    let n = get(args, "nodes") as usize;
    let limit = Duration::from_secs(300);
    match measure::join(get(args, "seed"), n, limit) {
        Some((took, hash)) => say!("all {n} know all after {:.1} s; hash {hash:016x}", took.as_secs_f64()),
        None => say!("not all know all after {limit:?}"),
    }
    true
}

fn split(args: &ArgMatches) -> bool {
    let n = get(args, "nodes") as usize;
    match measure::split(get(args, "seed"), n, get(args, "minutes")) {
        Ok((took, hash)) => {
            say!("equal and true views of all {n} after {:.1} s; hash {hash:016x}", took.as_secs_f64());
            true
        }
        Err(violation) => {
            say!("BROKEN: {violation}");
            false
        }
    }
}

fn memory(args: &ArgMatches) -> bool {
    let (n, agents) = ((get(args, "nodes") as usize).max(2), (get(args, "agents") as usize).max(1));
    let bar = show::bar(2 * agents as u64 + 2, "agents");
    let seen = measure::memory::memory(n, agents.min(n), show::held, || bar.inc(1));
    bar.finish_and_clear();
    let Some(seen) = seen else {
        say!("the agents cannot join");
        return false;
    };
    say!("bytes a member in the memory of each of {agents} agents of {n}:");
    say!("    {:>6.1} name and tags", seen.texts);
    say!("    {:>6.1} in the table besides", seen.table - seen.texts);
    say!("    {:>6.1} where it is, with coordinates on ({} places known)", seen.places, seen.placed);
    true
}

fn speed(args: &ArgMatches) -> bool {
    say!("nodes   simulated s  s        times real time  events/s   packets/s  peak RSS MiB");
    for n in sizes(args) {
        let mut world = measure::quiet_world(get(args, "seed"), n);
        world.run_for(Duration::from_secs(10));
        let before = world.counters();
        // About five seconds of this processor, whatever it can do in them. Others may want it, too.
        let start = show::cpu();
        let mut simulated = 0_u64;
        while show::cpu() - start < 5.0 {
            world.run_for(Duration::from_secs(5));
            simulated += 5;
        }
        let took = show::cpu() - start;
        let after = world.counters();
        say!(
            "{n:<7} {simulated:>11}  {took:<8.2} {:>15.1}  {:<9.0}  {:<9.0}  {:.0}",
            simulated as f64 / took,
            (after.events - before.events) as f64 / took,
            (after.packets - before.packets) as f64 / took,
            show::peak_mib()
        );
    }
    true
}
