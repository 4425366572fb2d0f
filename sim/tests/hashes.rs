//! The same seed gives the same run: twice in one process, and in every build.
//!
//! `hashes.txt` was written by one build; debug and release must both reproduce it:
//!
//! ```text
//! cargo test -p convoke-sim --test hashes
//! cargo test -p convoke-sim --test hashes --release
//! ```
//!
//! A change of the machine changes its runs. Then write the table anew, and look at what else has changed:
//! `CONVOKE_SIM_WRITE=1 cargo test -p convoke-sim --test hashes`.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use convoke_sim::scenario::{ALL, find, swarm};
use convoke_sim::{Scenario, Setup};

const TABLE: &str = include_str!("hashes.txt");
/// Too long for a table that is checked at each change.
const LEFT_OUT: &[&str] = &["g24_a_month_leaves_nothing_behind"];

fn hash(scenario: &Scenario, seed: u64) -> Option<u64> {
    (scenario.run)(&Setup::seed(seed)).ok().map(|world| world.hash())
}

#[test]
fn every_build_gives_the_same_hashes() {
    if std::env::var_os("CONVOKE_SIM_WRITE").is_some() {
        let mut table = String::new();
        for scenario in ALL.iter().filter(|scenario| !LEFT_OUT.contains(&scenario.name)) {
            for seed in [1, 2] {
                let hash = hash(scenario, seed).expect("a scenario that holds");
                writeln!(table, "{} {seed} {hash:016x}", scenario.name).expect("memory");
            }
        }
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hashes.txt"), table)
            .expect("the table can be written");
        return;
    }
    let mut lines = 0;
    for line in TABLE.lines() {
        let mut parts = line.split(' ');
        let mut next = || parts.next().expect("name, seed and hash");
        let (name, seed, wanted) = (next(), next(), next());
        let scenario = find(name).expect("a scenario of this name");
        let got = hash(scenario, seed.parse().expect("a seed")).map(|hash| format!("{hash:016x}"));
        assert_eq!(got.as_deref(), Some(wanted), "{name} with seed {seed}: see the head of this file");
        lines += 1;
    }
    assert!(lines >= 2 * (ALL.len() - LEFT_OUT.len()), "only {lines} lines");
}

#[test]
fn a_seed_gives_one_run_and_another_seed_another() {
    let runs: Vec<Option<u64>> = (1..=4).map(|seed| hash(&swarm::SWARM, seed)).collect();
    let again: Vec<Option<u64>> = (1..=4).map(|seed| hash(&swarm::SWARM, seed)).collect();
    assert_eq!(runs, again);
    assert!(runs.iter().all(Option::is_some));
    assert!(runs.windows(2).all(|pair| pair[0] != pair[1]), "{runs:?}");
}
