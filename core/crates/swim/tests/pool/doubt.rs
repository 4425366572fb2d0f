//! Members that were stopped, and members that are alone: who may give a verdict.

use std::time::Duration;

use convoke_kit::Time;
use convoke_swim::{Action, Boot, Config, Lifeguard, MemberEvent, State};

use crate::harness::{Pool, SECOND, boot};

/// Members that know each other; suspicions are short, so that one is over soon.
fn pool(n: usize, doubt: bool, suspicion_mult: u32) -> Pool {
    let lifeguard = Lifeguard { doubt, ..Lifeguard::ALL };
    let config = Config { lifeguard, suspicion_mult, ..Config::lan() };
    let mut pool = Pool::new((0..n).map(|n| Boot { config: config.clone(), ..boot(n) }));
    pool.join_all();
    pool.run(3 * SECOND);
    pool
}

/// Runs until a member holds another for that.
fn until(pool: &mut Pool, at: usize, of: usize, state: State) {
    for _ in 0..3000 {
        if pool.state(at, of) == Some(state) {
            return;
        }
        pool.run(SECOND / 100);
    }
    panic!("n{at} does not hold n{of} for {state:?}");
}

/// Stops `n0` while it suspects `n1`, which objects meanwhile, and wakes it 20 s later. How many packets it reads first is
/// said; the verdicts it gave in the next minute, and how often it doubted itself.
fn stopped(doubt: bool, reads_first: usize) -> (Vec<String>, u64) {
    let mut pool = pool(8, doubt, 2);
    pool.stop(1);
    until(&mut pool, 0, 1, State::Suspect);
    pool.stop(0);
    pool.resume(1, usize::MAX);
    pool.run(20 * SECOND);
    let doubted = pool.node(0).stats().doubts;
    pool.resume(0, reads_first);
    pool.run(60 * SECOND);
    for n in 0..8 {
        assert_eq!(pool.node(n).members().up(), 8, "in the end all is well at n{n}");
    }
    assert_eq!(pool.happened(2, MemberEvent::Failed), ["n0"], "it was gone for long");
    (pool.happened(0, MemberEvent::Failed), pool.node(0).stats().doubts - doubted)
}

#[test]
fn who_was_stopped_past_a_suspicion_reads_the_objection_first() {
    for reads_first in [0, 1, 3, usize::MAX] {
        let (verdicts, doubts) = stopped(true, reads_first);
        assert_eq!(verdicts, [""; 0], "{reads_first} packets before it looks at its clock");
        assert_eq!(doubts, 1);
    }
    assert_eq!(stopped(false, 0), (vec!["n1".to_owned()], 0), "with the clock alone it is condemned");
}

/// When which members were said to have failed, by `n0`.
fn verdicts(pool: &Pool) -> Vec<(Time, String)> {
    let failed = |(at, action): &(Time, Action)| match action {
        Action::Member { what: MemberEvent::Failed, profile } => Some((*at, profile.name().to_owned())),
        _ => None,
    };
    pool.told[0].iter().filter_map(failed).collect()
}

#[test]
fn who_is_really_alone_gives_its_verdicts_as_soon_as_ever() {
    for (n, mult) in [(2, 4), (2, 2), (3, 4), (3, 2), (4, 4), (5, 4), (5, 2), (8, 4), (8, 2)] {
        // At any time of a probe interval, and of the answers to its probes.
        for phase in (0..40).map(|part| Duration::from_millis(part * 51)) {
            let [with, without] = [true, false].map(|doubt| {
                let mut pool = pool(n, doubt, mult);
                pool.run(phase);
                if n == 2 {
                    pool.crash(1);
                }
                for other in 1..n {
                    pool.cut.extend([(0, other), (other, 0)]);
                }
                pool.run(120 * SECOND);
                verdicts(&pool)
            });
            assert_eq!(without.len(), n - 1, "of {n}, {phase:?} later");
            assert_eq!(with, without, "of {n}, suspicion_mult {mult}, {phase:?} later");
        }
    }
}

#[test]
fn a_crash_is_noticed_by_members_that_are_stopped_again_and_again() {
    // All of them, four seconds of six: their suspicions go on with them.
    let mut pool = pool(5, true, 2);
    pool.crash(4);
    for _ in 0..10 {
        (0..4).for_each(|n| pool.stop(n));
        pool.run(4 * SECOND);
        (0..4).for_each(|n| pool.resume(n, 0));
        pool.run(2 * SECOND);
    }
    for n in 0..4 {
        assert_eq!(pool.happened(n, MemberEvent::Failed), ["n4"], "at n{n}");
    }
}

#[test]
fn who_wakes_up_alone_finds_out_that_it_is() {
    let mut pool = pool(2, true, 4);
    pool.crash(1);
    until(&mut pool, 0, 1, State::Suspect);
    pool.stop(0);
    pool.run(60 * SECOND);
    pool.resume(0, 0);
    assert_eq!(pool.happened(0, MemberEvent::Failed), [""; 0], "not at once");
    pool.run(6 * SECOND);
    assert_eq!(pool.happened(0, MemberEvent::Failed), ["n1"]);
}
