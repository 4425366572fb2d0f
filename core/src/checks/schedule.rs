//! When each check runs, and what its results make of it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use core::time::Duration;

use convoke_catalog::model::{Status, Str};
use convoke_config::definition::CheckDefinition;
use convoke_kit::{Deadline, Machine, Out, Rng, Time};

use crate::checks::spec::{self, MIN_REAP, Spec};
use crate::checks::verdict;
use crate::probe::{Outcome, Probe, RunId};

/// What can happen to the checks of an agent.
#[derive(Clone, Debug)]
pub enum Event {
    /// A check is new, or defined anew.
    Set {
        /// Its id.
        id: Str,
        /// Complete.
        definition: Arc<CheckDefinition>,
        /// What it reports now.
        status: Status,
        /// What it reports now.
        output: Str,
    },
    /// A check is gone.
    Remove {
        /// Its id.
        id: Str,
    },
    /// A run is over. One that was cancelled, or is not known, is ignored.
    Done {
        /// Which.
        run: RunId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A client reports for a TTL check. For any other check nothing happens; ask [`Checks::has_ttl`] before.
    Report {
        /// Its id.
        id: Str,
        /// What it says.
        status: Status,
        /// What it says; cut to the limit.
        output: String,
    },
    /// An alias check mirrors something else now.
    Mirror {
        /// Its id.
        id: Str,
        /// Of what it mirrors.
        status: Status,
        /// Why.
        output: String,
    },
    /// Settings changed.
    Settings(Settings),
}

/// What concerns all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of output kept where a check does not say.
    pub output_max: u64,
    /// Keep no output at all.
    pub discard_output: bool,
}

impl Default for Settings {
    /// Consul's: 4096 bytes.
    fn default() -> Self {
        Self { output_max: 4096, discard_output: false }
    }
}

/// What the checks want done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run this once, then report [`Event::Done`].
    Run {
        /// Named in the result.
        run: RunId,
        /// What.
        probe: Arc<Probe>,
    },
    /// Nobody waits for it any more.
    Cancel {
        /// Which.
        run: RunId,
    },
    /// The check says this from now on (it may have said so before).
    Status {
        /// Its id.
        id: Str,
        /// Status.
        status: Status,
        /// Output.
        output: String,
    },
    /// It was critical for longer than its service is to live.
    Reap {
        /// Id of the check.
        id: Str,
        /// The service to be deregistered.
        service: Str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Run,
    Ttl,
    Reap,
}

#[derive(Debug)]
struct Task {
    definition: Arc<CheckDefinition>,
    how: How,
    status: Status,
    /// Last output a client reported.
    reported: Str,
    successes: u32,
    failures: u32,
    /// Since when it reports critical; `None` while it does not. A check that was registered critical and never
    /// reported does not count.
    critical_since: Option<Time>,
    /// Timers that are set, to find them again.
    run_at: Option<Time>,
    ttl_at: Option<Time>,
    reap_at: Option<Time>,
}

#[derive(Debug)]
enum How {
    Probe { probe: Arc<Probe>, interval: Duration, running: Option<RunId> },
    Ttl { ttl: Duration },
    Alias,
}

/// All checks of an agent that have a life of their own.
///
/// At most one run of a check is in flight. The first run comes at a random moment within the interval, each further
/// one an interval after the end of the one before, so that checks registered together spread out.
#[derive(Debug)]
pub struct Checks {
    tasks: BTreeMap<Str, Task>,
    timers: BTreeSet<(Time, Str, Timer)>,
    runs: BTreeMap<RunId, Str>,
    next_run: u64,
    settings: Settings,
    rng: Rng,
}

impl Checks {
    /// No checks.
    #[must_use]
    pub fn new(rng: Rng, settings: Settings) -> Self {
        Self { tasks: BTreeMap::new(), timers: BTreeSet::new(), runs: BTreeMap::new(), next_run: 1, settings, rng }
    }

    /// Whether there is a check of that id that clients report for, and its TTL.
    #[must_use]
    pub fn has_ttl(&self, id: &str) -> Option<Duration> {
        match self.tasks.get(id)?.how {
            How::Ttl { ttl } => Some(ttl),
            _ => None,
        }
    }

    /// Output as it is kept for that check.
    #[must_use]
    pub fn kept_output(&self, id: &str, output: &str) -> String {
        let limit = |task: &Task| spec::output_max(&task.definition, self.settings.output_max);
        self.tasks.get(id).map_or_else(String::new, |task| spec::cut(output, limit(task)))
    }

    fn set(
        &mut self,
        now: Time,
        id: Str,
        definition: &Arc<CheckDefinition>,
        status: Status,
        output: Str,
    ) -> Option<RunId> {
        let before = self.forget(&id);
        let mut task = Task {
            how: How::Alias,
            status,
            reported: output,
            successes: 0,
            failures: 0,
            critical_since: None,
            run_at: None,
            ttl_at: None,
            reap_at: None,
            definition: Arc::clone(definition),
        };
        match spec::spec(definition, self.settings.output_max) {
            Spec::Probe { probe, interval } => {
                task.run_at = Some(now + self.rng.duration(interval).max(Duration::from_nanos(1)));
                task.how = How::Probe { probe: Arc::new(probe), interval, running: None };
            }
            Spec::Ttl { ttl } => {
                task.ttl_at = Some(now + ttl.max(Duration::from_nanos(1)));
                task.how = How::Ttl { ttl };
            }
            Spec::Alias => {}
            Spec::Fixed => return before,
        }
        for (at, timer) in [(task.run_at, Timer::Run), (task.ttl_at, Timer::Ttl)] {
            if let Some(at) = at {
                self.timers.insert((at, Arc::clone(&id), timer));
            }
        }
        self.tasks.insert(id, task);
        before
    }

    /// Forgets a check; the run that was in flight.
    fn forget(&mut self, id: &Str) -> Option<RunId> {
        let task = self.tasks.remove(id)?;
        for (at, timer) in [(task.run_at, Timer::Run), (task.ttl_at, Timer::Ttl), (task.reap_at, Timer::Reap)] {
            if let Some(at) = at {
                self.timers.remove(&(at, Arc::clone(id), timer));
            }
        }
        let How::Probe { running: Some(run), .. } = task.how else { return None };
        self.runs.remove(&run);
        Some(run)
    }

    fn done(&mut self, now: Time, run: RunId, outcome: &Outcome, out: &mut Out<Action>) {
        let Some(id) = self.runs.remove(&run) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let How::Probe { probe, interval, running } = &mut task.how else { return };
        *running = None;
        let (status, output) = verdict::judge(probe, outcome);
        let next = now + *interval;
        task.run_at = Some(next);
        self.timers.insert((next, Arc::clone(&id), Timer::Run));
        if let Some(status) = threshold(task, status) {
            self.says(now, &id, status, output, out);
        }
    }

    /// The check says something: tells it on, and keeps the time it has been critical.
    fn says(&mut self, now: Time, id: &Str, status: Status, output: String, out: &mut Out<Action>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.status = status.clone();
        if status == Status::Critical {
            if task.critical_since.is_none() {
                task.critical_since = Some(now);
                let after = task.definition.deregister_critical_service_after;
                if !after.is_zero() && !task.definition.service_id.is_empty() {
                    let at = now + after.max(MIN_REAP);
                    task.reap_at = Some(at);
                    self.timers.insert((at, Arc::clone(id), Timer::Reap));
                }
            }
        } else {
            task.critical_since = None;
            if let Some(at) = task.reap_at.take() {
                self.timers.remove(&(at, Arc::clone(id), Timer::Reap));
            }
        }
        let output = if self.settings.discard_output { String::new() } else { output };
        out.push(Action::Status { id: Arc::clone(id), status, output });
    }

    fn report(&mut self, now: Time, id: &Str, status: Status, output: &str, out: &mut Out<Action>) {
        let output = self.kept_output(id, output);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let How::Ttl { ttl } = task.how else { return };
        task.reported = output.as_str().into();
        if let Some(at) = task.ttl_at.take() {
            self.timers.remove(&(at, Arc::clone(id), Timer::Ttl));
        }
        let at = now + ttl.max(Duration::from_nanos(1));
        task.ttl_at = Some(at);
        self.timers.insert((at, Arc::clone(id), Timer::Ttl));
        self.says(now, id, status, output, out);
    }

    fn fire(&mut self, now: Time, id: &Str, timer: Timer, out: &mut Out<Action>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        match timer {
            Timer::Run => {
                task.run_at = None;
                let How::Probe { probe, running, .. } = &mut task.how else { return };
                let run = RunId(self.next_run);
                self.next_run += 1;
                *running = Some(run);
                self.runs.insert(run, Arc::clone(id));
                out.push(Action::Run { run, probe: Arc::clone(probe) });
            }
            Timer::Ttl => {
                task.ttl_at = None;
                let output = if task.reported.is_empty() {
                    "TTL expired".to_string()
                } else {
                    format!("TTL expired (last output before timeout follows): {}", task.reported)
                };
                self.says(now, id, Status::Critical, output, out);
            }
            Timer::Reap => {
                task.reap_at = None;
                let service = task.definition.service_id.as_str().into();
                out.push(Action::Reap { id: Arc::clone(id), service });
            }
        }
    }
}

/// Counts a result; the status to tell, or `None` while it is not yet to be believed. A warning counts as a success,
/// as in Consul.
fn threshold(task: &mut Task, status: Status) -> Option<Status> {
    let d = &task.definition;
    if status == Status::Critical {
        task.failures = task.failures.saturating_add(1);
        task.successes = 0;
        if task.failures >= d.failures_before_critical {
            return Some(Status::Critical);
        }
        (task.failures >= d.failures_before_warning.unwrap_or(d.failures_before_critical)).then_some(Status::Warning)
    } else {
        task.successes = task.successes.saturating_add(1);
        task.failures = 0;
        (task.successes >= d.success_before_passing).then_some(status)
    }
}

impl Machine for Checks {
    type Event<'a> = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Out<Action>) {
        match event {
            Event::Set { id, definition, status, output } => {
                if let Some(run) = self.set(now, id, &definition, status, output) {
                    out.push(Action::Cancel { run });
                }
            }
            Event::Remove { id } => {
                if let Some(run) = self.forget(&id) {
                    out.push(Action::Cancel { run });
                }
            }
            Event::Done { run, outcome } => self.done(now, run, &outcome, out),
            Event::Report { id, status, output } => self.report(now, &id, status, &output, out),
            Event::Mirror { id, status, output } => {
                if self.tasks.get(&id).is_some_and(|task| matches!(task.how, How::Alias)) {
                    let output = self.kept_output(&id, &output);
                    self.says(now, &id, status, output, out);
                }
            }
            Event::Settings(settings) => self.settings = settings,
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Out<Action>) {
        while self.timers.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, id, timer)) = self.timers.pop_first() else { break };
            self.fire(now, &id, timer, out);
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.timers.first().map(|(at, _, timer)| Deadline {
            at: *at,
            reason: match timer {
                Timer::Run => "check run",
                Timer::Ttl => "check ttl",
                Timer::Reap => "check reap",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use convoke_kit::laws::{self, Effort};

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn checks() -> Checks {
        Checks::new(Rng::new(1), Settings::default())
    }

    fn set(id: &str, change: impl FnOnce(&mut CheckDefinition)) -> Event {
        let mut definition = CheckDefinition { id: id.to_string(), ..CheckDefinition::default() };
        change(&mut definition);
        Event::Set { id: id.into(), definition: Arc::new(definition), status: Status::Critical, output: "".into() }
    }

    fn tcp(d: &mut CheckDefinition) {
        d.tcp = "h:1".to_string();
        d.interval = S(10);
    }

    fn step(checks: &mut Checks, now: Time, event: Event) -> Vec<Action> {
        let mut out = Out::new();
        checks.handle(now, event, &mut out);
        out.drain_actions().collect()
    }

    /// Goes to the next deadline.
    fn next(checks: &mut Checks) -> (Time, Vec<Action>) {
        let now = checks.poll_timeout().unwrap().at;
        let mut out = Out::new();
        checks.handle_timeout(now, &mut out);
        (now, out.drain_actions().collect())
    }

    fn ok() -> Outcome {
        Outcome::Ok { detail: String::new() }
    }

    fn bad() -> Outcome {
        Outcome::Failed { error: "no".to_string() }
    }

    /// Runs a probe once more with that outcome; the status it tells, if any.
    fn run(checks: &mut Checks, outcome: Outcome) -> Option<Status> {
        let (now, actions) = next(checks);
        let [Action::Run { run, .. }] = &actions[..] else { panic!("{actions:?}") };
        match &step(checks, now, Event::Done { run: *run, outcome })[..] {
            [] => None,
            [Action::Status { status, .. }] => Some(status.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_probe_runs_within_its_interval_and_then_an_interval_after_each_end() {
        let mut checks = checks();
        assert!(step(&mut checks, Time::ZERO, set("c", tcp)).is_empty());
        let (now, actions) = next(&mut checks);
        assert!(now.since_start() < S(10));
        let [Action::Run { run, .. }] = actions[..] else { panic!() };
        assert!(checks.poll_timeout().is_none(), "one run at a time");
        let end = now + S(3);
        step(&mut checks, end, Event::Done { run, outcome: ok() });
        assert_eq!(checks.poll_timeout().unwrap().at, end + S(10));
        assert!(step(&mut checks, end, Event::Done { run, outcome: bad() }).is_empty(), "told once");
    }

    #[test]
    fn thresholds_hold_a_status_back() {
        let mut checks = checks();
        let event = set("c", |d| {
            tcp(d);
            d.success_before_passing = 2;
            d.failures_before_warning = Some(2);
            d.failures_before_critical = 3;
        });
        step(&mut checks, Time::ZERO, event);
        let told: Vec<_> = [ok(), ok(), bad(), ok(), bad(), bad(), bad(), ok(), ok()]
            .into_iter()
            .map(|outcome| run(&mut checks, outcome))
            .collect();
        let (p, w, c) = (Some(Status::Passing), Some(Status::Warning), Some(Status::Critical));
        assert_eq!(told, [None, p.clone(), None, None, None, w, c, None, p]);
    }

    #[test]
    fn a_run_is_cancelled_when_its_check_goes_or_changes() {
        for event in [Event::Remove { id: "c".into() }, set("c", tcp)] {
            let mut checks = checks();
            step(&mut checks, Time::ZERO, set("c", tcp));
            let (now, actions) = next(&mut checks);
            let [Action::Run { run, .. }] = actions[..] else { panic!() };
            assert_eq!(step(&mut checks, now, event), [Action::Cancel { run }]);
            assert!(step(&mut checks, now, Event::Done { run, outcome: ok() }).is_empty());
        }
    }

    #[test]
    fn a_ttl_expires_and_comes_back() {
        let mut checks = checks();
        step(&mut checks, Time::ZERO, set("c", |d| d.ttl = S(5)));
        assert_eq!(checks.has_ttl("c"), Some(S(5)));
        let said = |status, output: &str| vec![Action::Status { id: "c".into(), status, output: output.to_string() }];
        let (at, actions) = next(&mut checks);
        assert_eq!((at, actions), (Time::ZERO + S(5), said(Status::Critical, "TTL expired")));
        assert!(checks.poll_timeout().is_none());
        let report =
            |output: &str| Event::Report { id: "c".into(), status: Status::Passing, output: output.to_string() };
        assert_eq!(step(&mut checks, at, report("ok")), said(Status::Passing, "ok"));
        step(&mut checks, at + S(3), report("well"));
        let (at, actions) = next(&mut checks);
        assert_eq!(at, Time::ZERO + S(13));
        assert_eq!(actions, said(Status::Critical, "TTL expired (last output before timeout follows): well"));
    }

    #[test]
    fn a_service_is_reaped_a_minute_after_its_check_reported_critical_at_the_soonest() {
        let mut checks = checks();
        let event = set("c", |d| {
            d.ttl = S(3600);
            d.service_id = "s".to_string();
            d.deregister_critical_service_after = S(1);
        });
        step(&mut checks, Time::ZERO, event);
        let report = |status| Event::Report { id: "c".into(), status, output: String::new() };
        step(&mut checks, Time::ZERO + S(10), report(Status::Critical));
        step(&mut checks, Time::ZERO + S(20), report(Status::Passing));
        step(&mut checks, Time::ZERO + S(30), report(Status::Critical));
        step(&mut checks, Time::ZERO + S(40), report(Status::Critical));
        let reap = Action::Reap { id: "c".into(), service: "s".into() };
        assert_eq!(next(&mut checks), (Time::ZERO + S(90), vec![reap]));
    }

    #[test]
    fn output_can_be_discarded() {
        let mut checks = Checks::new(Rng::new(1), Settings { discard_output: true, ..Settings::default() });
        step(&mut checks, Time::ZERO, set("c", |d| d.ttl = S(5)));
        let (_, actions) = next(&mut checks);
        assert!(matches!(&actions[..], [Action::Status { output, .. }] if output.is_empty()));
    }

    #[test]
    fn the_laws_hold() {
        for seed in 0..16 {
            laws::check(
                seed,
                Effort::default(),
                |seed| Checks::new(Rng::new(seed), Settings::default()),
                |rng, now, checks: &mut Checks, out| {
                    let id: Str = ["a", "b", "c"][rng.index(3)].into();
                    let status = [Status::Passing, Status::Warning, Status::Critical][rng.index(3)].clone();
                    let output = "o".to_string();
                    let event = match rng.below(8) {
                        0 => set(&id, tcp),
                        1 => set(&id, |d| {
                            d.ttl = S(7);
                            d.service_id = "s".to_string();
                            d.deregister_critical_service_after = S(5);
                        }),
                        2 => set(&id, |d| d.alias_service = "s".to_string()),
                        3 => Event::Remove { id },
                        4 => Event::Mirror { id, status, output },
                        5 => Event::Report { id, status, output },
                        _ => {
                            Event::Done { run: RunId(rng.below(40)), outcome: if rng.one_in(2) { ok() } else { bad() } }
                        }
                    };
                    checks.handle(now, event, out);
                },
            );
        }
    }
}
