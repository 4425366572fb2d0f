//! The laws of [`Machine`] as one generic test.
//!
//! A machine's tests call [`check`] with a way to build it from a seed and a way to make events from an [`Rng`].
//! The same function serves the fuzzers: the seed is then the fuzzer's input.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use crate::{Machine, Out, Rng, Time};

/// How hard [`check`] tries.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Calls in one run.
    pub steps: usize,
    /// Most actions one call may emit (law 5).
    pub max_actions: usize,
    /// Longest jump of time between two calls.
    pub max_step: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { steps: 400, max_actions: 4096, max_step: Duration::from_secs(20) }
    }
}

/// What one run did, as text: equal for equal runs (law 6).
pub type Trace = Vec<String>;

/// Runs a machine under random events and times twice and asserts laws 2, 3, 5 and 6.
///
/// Law 4 is asserted by surviving; law 1 by requiring that a second `handle_timeout` at the same moment
/// (which is spurious) adds nothing.
///
/// # Panics
///
/// When a law is broken; the message names the law, the seed and the step.
pub fn check<M, B, F>(seed: u64, effort: Effort, build: B, drive: F) -> Trace
where
    M: Machine,
    M::Action: Debug,
    B: Fn(u64) -> M,
    F: Fn(&mut Rng, Time, &mut M, &mut Out<M::Action>),
{
    let first = run(seed, effort, &build, &drive);
    let second = run(seed, effort, &build, &drive);
    assert_eq!(first, second, "law 6: two runs of seed {seed} differ");
    first
}

fn run<M, B, F>(seed: u64, effort: Effort, build: &B, drive: &F) -> Trace
where
    M: Machine,
    M::Action: Debug,
    B: Fn(u64) -> M,
    F: Fn(&mut Rng, Time, &mut M, &mut Out<M::Action>),
{
    let mut rng = Rng::new(seed);
    let mut machine = build(rng.next_u64());
    let mut out = Out::new();
    let mut now = Time::ZERO;
    let mut trace = Trace::new();
    for step in 0..effort.steps {
        let to_deadline = machine.poll_timeout().map_or(effort.max_step, |d| d.at.since(now));
        now = match rng.below(4) {
            0 => now,
            1 => now + to_deadline.min(effort.max_step),
            _ => now + rng.duration(effort.max_step),
        };
        if machine.poll_timeout().is_some_and(|d| d.at <= now) {
            machine.handle_timeout(now, &mut out);
            note(&mut trace, &mut out, effort, seed, step, now, "timeout");
            let next = machine.poll_timeout();
            assert!(
                next.is_none_or(|d| d.at > now),
                "law 3: seed {seed} step {step}: after handle_timeout({now:?}) the next deadline is {next:?}"
            );
        }
        machine.handle_timeout(now, &mut out);
        assert!(
            out.is_empty(),
            "laws 1 and 3: seed {seed} step {step}: a spurious timeout emitted {:?}",
            out.actions()
        );
        drive(&mut rng, now, &mut machine, &mut out);
        note(&mut trace, &mut out, effort, seed, step, now, "event");
    }
    trace
}

fn note<A: Debug>(trace: &mut Trace, out: &mut Out<A>, effort: Effort, seed: u64, step: usize, now: Time, what: &str) {
    let n = out.actions().len() + out.datagrams().len();
    assert!(n <= effort.max_actions, "law 5: seed {seed} step {step}: {n} actions in one call");
    for d in out.datagrams() {
        trace.push(format!("{now:?} {what} -> {}/{} {:?}", d.to, d.lane, d.bytes));
    }
    out.clear_datagrams();
    for action in out.drain_actions() {
        trace.push(format!("{now:?} {what} {action:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deadline;

    /// Ticks every second, unless one of the laws is to be broken.
    struct Ticker {
        next: Time,
        broken: u8,
    }

    impl Machine for Ticker {
        type Event<'a> = u64;
        type Action = u64;
        fn handle(&mut self, _: Time, event: u64, out: &mut Out<u64>) {
            let n = if self.broken == 5 { 100 } else { 1 };
            for _ in 0..n {
                out.push(event);
            }
        }
        fn handle_timeout(&mut self, now: Time, out: &mut Out<u64>) {
            if self.broken == 1 {
                out.push(0);
            }
            if now >= self.next {
                out.push(1);
                if self.broken != 3 {
                    self.next = now + Duration::from_secs(1);
                }
            }
        }
        fn poll_timeout(&self) -> Option<Deadline> {
            Some(Deadline { at: self.next, reason: "tick" })
        }
    }

    fn run_broken(broken: u8) {
        let effort = Effort { steps: 50, max_actions: 10, ..Effort::default() };
        check(
            1,
            effort,
            |_| Ticker { next: Time::from_millis(1), broken },
            |rng, now, m, out| m.handle(now, rng.next_u64(), out),
        );
    }

    #[test]
    fn a_lawful_machine_passes() {
        run_broken(0);
    }

    #[test]
    #[should_panic(expected = "a spurious timeout emitted")]
    fn residue_is_caught() {
        run_broken(1);
    }

    #[test]
    #[should_panic(expected = "law 3")]
    fn a_stuck_deadline_is_caught() {
        run_broken(3);
    }

    #[test]
    #[should_panic(expected = "law 5")]
    fn unbounded_output_is_caught() {
        run_broken(5);
    }
}
