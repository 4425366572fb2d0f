use super::*;
use alloc::string::ToString as _;
use alloc::vec;
use convoke_catalog::command::{KvLock, Register};
use convoke_catalog::model::Node;
use convoke_catalog::{Catalog, Scope, Session};
use convoke_kit::laws::{self, Effort};

const S: fn(u64) -> Duration = Duration::from_secs;

/// The tables, the machine of the leader, and what is under way between them.
struct World {
    now: Time,
    catalog: Catalog,
    index: u64,
    sessions: Sessions<u64>,
    /// Proposals, which are committed at once unless the log is stopped.
    proposed: Vec<(Command, Subject)>,
    stopped: bool,
    renewed: Vec<(u64, Renewal)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Time::ZERO,
            catalog: Catalog::default(),
            index: 0,
            sessions: Sessions::default(),
            proposed: Vec::new(),
            stopped: false,
            renewed: Vec::new(),
        };
        let node = Node { name: "n".into(), address: "10.0.0.1".into(), ..Node::default() };
        world.apply(Command::Register(Register { node, ..Register::default() }));
        world
    }

    /// Another server takes over: the same tables, a machine of its own.
    fn fail_over(&mut self) -> Sessions<u64> {
        let old = core::mem::take(&mut self.sessions);
        self.lead();
        old
    }

    fn lead(&mut self) {
        let view = self.catalog.view();
        self.event(Event::Lead { view: &view });
    }

    fn event(&mut self, event: Event<'_, u64>) {
        let mut out = Out::new();
        self.sessions.handle(self.now, event, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Out<Action<u64>>) {
        for action in out.drain_actions() {
            match action {
                Action::Propose { command, subject } => self.proposed.push((*command, subject)),
                Action::Renewed { origin, outcome, .. } => self.renewed.push((origin, outcome)),
            }
        }
        if !self.stopped {
            for (command, subject) in core::mem::take(&mut self.proposed) {
                self.apply(command);
                let view = self.catalog.view();
                self.event(Event::Applied { subject, view: &view });
            }
        }
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        let applied = self.catalog.apply(self.index, command);
        let view = self.catalog.view();
        for (tenancy, id) in applied.changes.sessions() {
            self.event(Event::Changed { key: (tenancy.clone(), id.clone()), view: &view });
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.sessions.poll_timeout().filter(|deadline| deadline.at <= end) {
            self.now = self.now.max(deadline.at);
            let mut out = Out::new();
            self.sessions.handle_timeout(self.now, &mut out);
            self.carry_out(out);
        }
        self.now = end;
    }

    fn create(&mut self, id: &str, ttl: u64, lock_delay: Duration) {
        let session = Session { id: id.into(), node: "n".into(), ttl: S(ttl), lock_delay, ..Session::default() };
        self.apply(Command::SessionCreate(session));
    }

    fn lock(&mut self, key: &str, session: &str) -> bool {
        let (tenancy, key_name) = (Tenancy::default(), Str::from(key));
        let (value, session) = (b"v"[..].into(), Str::from(session));
        self.apply(Command::KvLock(KvLock {
            tenancy,
            key: key_name,
            value,
            flags: 0,
            session: session.clone(),
            acquire: true,
        }));
        self.catalog.view().kv(Scope::default(), key).and_then(|entry| entry.session.clone()) == Some(session)
    }

    fn renew(&mut self, id: &str) -> Option<Renewal> {
        let origin = self.renewed.len() as u64 + 1000;
        self.event(Event::Renew { key: key(id), origin });
        self.renewed.iter().find(|(asked, _)| *asked == origin).map(|(_, outcome)| *outcome)
    }

    fn lives(&self, id: &str) -> bool {
        self.catalog.view().session(Scope::default(), id).is_some()
    }
}

fn key(id: &str) -> Key {
    (Tenancy::default(), id.into())
}

#[test]
fn a_session_lives_twice_its_ttl_from_its_last_renewal() {
    let mut world = World::new();
    world.lead();
    world.create("a", 10, Duration::ZERO);
    world.create("eternal", 0, Duration::ZERO);
    world.pass(S(19));
    assert!(world.lives("a"));
    assert_eq!(world.renew("A"), Some(Renewal::Done), "ids have no case");
    world.pass(S(19) + Duration::from_millis(999));
    assert!(world.lives("a"));
    world.pass(Duration::from_millis(1));
    assert!(!world.lives("a") && world.lives("eternal"));
    assert_eq!(world.sessions.measured(), 0);
}

#[test]
fn c2_every_new_leader_grants_the_full_time_and_no_more() {
    let mut world = World::new();
    world.lead();
    world.create("a", 10, Duration::ZERO);
    for _ in 0..5 {
        world.pass(S(19));
        world.fail_over();
        assert!(world.lives("a"));
    }
    world.pass(S(20) - Duration::from_nanos(1));
    assert!(world.lives("a"));
    world.pass(Duration::from_nanos(1));
    assert!(!world.lives("a"));
}

#[test]
fn c3_what_a_deposed_leader_had_under_way_ends_no_renewed_session() {
    let mut world = World::new();
    world.lead();
    world.create("a", 10, Duration::ZERO);
    world.stopped = true;
    world.pass(S(20));
    // Time is up; the proposal is in the log of a leader that loses its office at this moment.
    assert!(matches!(&world.proposed[..], [(_, Subject::Expire(_))]));
    let late = core::mem::take(&mut world.proposed);
    world.stopped = false;
    world.fail_over();
    assert_eq!(world.renew("a"), Some(Renewal::Done));
    for (command, _) in late {
        world.apply(command);
    }
    assert!(world.lives("a"), "it was renewed by the leader");
    world.pass(S(20));
    assert!(!world.lives("a"), "and ends when the time of this leader is up");
}

#[test]
fn a_renewal_is_answered_when_the_epoch_is_committed_and_not_before() {
    let mut world = World::new();
    world.create("a", 10, Duration::ZERO);
    world.stopped = true;
    world.lead();
    assert_eq!(world.renew("a"), None);
    world.stopped = false;
    world.carry_out(Out::new());
    assert_eq!(world.renewed.last(), Some(&(1000, Renewal::Done)));
    // Without a session with a TTL there is nothing to begin.
    let mut world = World::new();
    world.stopped = true;
    world.lead();
    assert!(world.proposed.is_empty());
    // Who loses the office before owes an answer.
    world.create("a", 10, Duration::ZERO);
    world.fail_over();
    world.renew("a");
    world.event(Event::Follow);
    assert_eq!(world.renewed.last(), Some(&(1000, Renewal::NoLeader)));
    assert_eq!((world.sessions.measured(), world.sessions.poll_timeout()), (0, None));
}

#[test]
fn an_epoch_that_was_refused_is_proposed_again() {
    let mut world = World::new();
    world.create("a", 10, Duration::ZERO);
    world.stopped = true;
    world.lead();
    for _ in 0..3 {
        assert_eq!(world.proposed.drain(..).map(|(_, subject)| subject).collect::<Vec<_>>(), [Subject::Epoch]);
        world.event(Event::Refused { subject: Subject::Epoch });
        assert!(world.proposed.is_empty());
        world.pass(RETRY);
    }
}

#[test]
fn what_is_on_its_way_out_is_not_renewed_unless_the_proposal_is_refused() {
    let mut world = World::new();
    world.lead();
    world.create("a", 10, Duration::ZERO);
    world.stopped = true;
    world.pass(S(20));
    assert_eq!(world.renew("a"), Some(Renewal::TooLate));
    let subject = world.proposed.pop().unwrap().1;
    world.event(Event::Refused { subject });
    assert_eq!(world.renew("a"), Some(Renewal::Done), "it is still there, and nothing is under way");
    world.pass(S(19));
    assert!(world.proposed.is_empty());
    world.pass(S(1));
    assert_eq!(world.proposed.len(), 1);
}

#[test]
fn c4_a_lock_delay_is_measured_anew_by_every_leader_and_never_shorter() {
    let mut world = World::new();
    world.lead();
    world.create("a", 10, S(15));
    world.create("b", 0, S(15));
    assert!(world.lock("k", "a"));
    world.pass(S(20));
    assert!(!world.lives("a") && !world.lock("k", "b"));
    world.pass(S(14));
    assert!(!world.lock("k", "b"));
    world.fail_over();
    world.pass(S(14));
    assert!(!world.lock("k", "b"));
    world.pass(S(1));
    assert!(world.lock("k", "b"));
}

#[test]
fn a_delay_of_a_millisecond_is_over_at_once() {
    let mut world = World::new();
    world.lead();
    world.create("a", 0, Duration::from_millis(1));
    world.create("b", 0, S(15));
    assert!(world.lock("k", "a"));
    world.apply(Command::SessionDestroy { tenancy: Tenancy::default(), id: "a".into() });
    assert!(!world.lock("k", "b"));
    world.pass(Duration::from_millis(1));
    assert!(world.lock("k", "b"));
}

#[test]
fn a_stop_of_the_process_ends_nobody() {
    let mut world = World::new();
    world.lead();
    for id in ["a", "b"] {
        world.create(id, 10, Duration::ZERO);
    }
    world.pass(S(5));
    // Stopped for a minute; the first thing that comes in is whatever was first.
    world.now = world.now + S(60);
    assert_eq!(world.renew("a"), Some(Renewal::Done));
    world.pass(S(19));
    assert!(world.lives("a") && world.lives("b"));
    world.pass(S(1));
    assert!(!world.lives("a") && !world.lives("b"));
}

#[test]
fn a_crowd_ends_in_batches() {
    let mut world = World::new();
    world.lead();
    for n in 0..1000 {
        world.create(&n.to_string(), 10, Duration::ZERO);
    }
    world.stopped = true;
    world.pass(S(20));
    assert!(world.proposed.is_empty() || world.proposed.len() == 1, "one batch a call");
    world.pass(S(1));
    let ended: Vec<usize> = world
        .proposed
        .iter()
        .map(|(_, subject)| match subject {
            Subject::Expire(keys) => keys.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ended, [256, 256, 256, 232]);
}

#[test]
fn the_laws_hold() {
    let mut world = World::new();
    for n in 0..6 {
        world.create(&n.to_string(), 10 + n, S(5));
        world.lock(&n.to_string(), &n.to_string());
    }
    for n in 6..9 {
        world.create(&n.to_string(), 0, S(n));
        world.lock(&n.to_string(), &n.to_string());
        world.apply(Command::SessionDestroy { tenancy: Tenancy::default(), id: n.to_string().as_str().into() });
    }
    let full = world.catalog.view();
    let empty = World::new().catalog.view();
    for seed in 0..40 {
        let effort = Effort { max_step: Duration::from_secs(2), ..Effort::default() };
        laws::check(
            seed,
            effort,
            |_| Sessions::default(),
            |rng, now, sessions: &mut Sessions<u64>, out| {
                let some = |n: u64| key(&n.to_string());
                let view = if rng.one_in(4) { &empty } else { &full };
                let subject = match rng.below(3) {
                    0 => Subject::Epoch,
                    1 => Subject::Expire(vec![some(rng.below(6)), some(rng.below(6))]),
                    _ => Subject::Delay(vec![some(6 + rng.below(3))]),
                };
                let event = match rng.below(12) {
                    0..2 => Event::Lead { view },
                    2 => Event::Follow,
                    3..5 => Event::Changed { key: some(rng.below(10)), view },
                    5..8 => Event::Renew { key: some(rng.below(10)), origin: rng.below(9) },
                    8..11 => Event::Applied { subject, view },
                    _ => Event::Refused { subject },
                };
                sessions.handle(now, event, out);
            },
        );
    }
}
