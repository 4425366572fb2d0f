//! Lives of clusters drawn from seeds: nothing is wrong in them, everything that may go wrong does, the same seed gives the same
//! life in every build, and bugs that are put back are found.
//!
//! `consensus_hashes.txt` was written by one build; debug and release must both reproduce it. A change of the machine changes its
//! lives; then `CONVOKE_SIM_WRITE=1 cargo test -p convoke-sim --test consensus_swarm` writes it anew.
//!
//! `consensus_bugs.txt` lists bugs, the first seed of a life of two minutes that finds each, and what was seen to be broken:
//! `convoke-sim bugs` takes hours at worst, and this a minute.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use convoke_sim::consensus::bug::Planted;
use convoke_sim::consensus::faults::{KINDS, Tally};
use convoke_sim::consensus::invariant;
use convoke_sim::consensus::swarm::{Lived, Options, live};

const HASHES: &str = include_str!("consensus_hashes.txt");
const BUGS: &str = include_str!("consensus_bugs.txt");
const MINUTES: Duration = Duration::from_secs(120);

fn lived(seed: u64) -> Lived {
    match live(&Options { span: MINUTES, ..Options::seed(seed) }) {
        Ok(lived) => lived,
        Err(violation) => panic!("{violation}\nagain: convoke-sim swarm --seed {seed} --seeds 1 --minutes 2 --trace"),
    }
}

#[test]
fn lives_are_safe_end_in_peace_and_meet_every_kind_of_fault() {
    let mut tally = Tally::default();
    let (mut answered, mut unknown) = (0, 0);
    for seed in 1..=60 {
        let life = lived(seed);
        tally.merge(&life.tally);
        answered += life.checked.answered;
        unknown += life.checked.unknown;
    }
    let missing: Vec<_> = KINDS.iter().filter(|kind| tally.of(**kind) == 0).collect();
    assert!(missing.is_empty(), "{missing:?} never fired");
    assert!(answered > 20_000 && unknown > 1_000, "{answered} answered, {unknown} unknown");
}

#[test]
fn every_build_gives_the_same_lives() {
    if std::env::var_os("CONVOKE_SIM_WRITE").is_some() {
        let mut table = String::new();
        for seed in 1..=12 {
            writeln!(table, "{seed} {:016x}", lived(seed).hash).expect("memory");
        }
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/consensus_hashes.txt"), table)
            .expect("the table can be written");
        return;
    }
    let mut hashes = BTreeSet::new();
    for line in HASHES.lines() {
        let (seed, wanted) = line.split_once(' ').expect("seed and hash");
        let got = format!("{:016x}", lived(seed.parse().expect("a seed")).hash);
        assert_eq!(got, wanted, "seed {seed}: see the head of this file");
        hashes.insert(got);
    }
    assert_eq!(hashes.len(), 12, "another seed is another life");
}

#[test]
fn bugs_that_are_put_back_are_found_and_every_invariant_finds_one() {
    let (mut found, mut broken) = (0, BTreeSet::new());
    for line in BUGS.lines().filter(|line| !line.starts_with('#')) {
        let mut parts = line.split('\t');
        let mut next = || parts.next().expect("bug, seed, and what is broken");
        let (name, seed, wanted) = (next(), next(), next());
        let planted = Planted::find(name).expect("a bug of this name");
        let options = Options { span: MINUTES, planted: Some(planted), ..Options::seed(seed.parse().expect("a seed")) };
        // Some end in an assertion of the machine.
        let got = match catch_unwind(AssertUnwindSafe(|| live(&options))) {
            Err(_) => "panic".to_string(),
            Ok(Err(violation)) => violation.invariant.to_string(),
            Ok(Ok(_)) => panic!("{name} is not found with seed {seed}"),
        };
        assert_eq!(got, wanted, "{name} with seed {seed}");
        found += 1;
        broken.insert(got);
    }
    assert!(found >= 30, "only {found}");
    for rule in invariant::all() {
        assert!(broken.contains(rule.name()), "{} ({}) is never seen to fail", rule.name(), rule.source());
    }
}
