use super::*;
use crate::local::{Change, Unnamed, What};
use alloc::string::ToString as _;
use convoke_catalog::Catalog;
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_kit::laws::{self, Effort};

const S: fn(u64) -> Duration = Duration::from_secs;

/// Anti-entropy with tables and a catalog that obeys, or does not.
struct World {
    sync: Sync,
    local: Local,
    catalog: Catalog,
    own: Node,
    index: u64,
    refuse: bool,
    /// Commands proposed.
    commands: usize,
}

impl World {
    fn new(output_interval: Duration) -> Self {
        let own = Node {
            name: "n1".into(),
            partition: "default".into(),
            address: "127.0.0.1".into(),
            datacenter: "dc1".into(),
            ..Node::default()
        };
        Self {
            sync: Sync::new(Rng::new(1), output_interval),
            local: Local::new("n1", "default"),
            catalog: Catalog::default(),
            own,
            index: 0,
            refuse: false,
            commands: 0,
        }
    }

    fn handle(&mut self, now: Time, event: Event<'_>) {
        let mut out = Out::new();
        self.sync.handle(now, event, &mut out);
        self.follow(now, &mut out);
    }

    fn timeout(&mut self, now: Time) {
        let mut out = Out::new();
        self.sync.handle_timeout(now, &mut out);
        self.follow(now, &mut out);
    }

    fn follow(&mut self, now: Time, out: &mut Out<Action>) {
        let mut actions: Vec<Action> = out.drain_actions().collect();
        while !actions.is_empty() {
            for action in core::mem::take(&mut actions) {
                match action {
                    Action::Compare { .. } => {
                        let view = self.catalog.view();
                        let event = Event::Compare { local: &self.local, view: &view, own: &self.own };
                        self.sync.handle(now, event, out);
                    }
                    Action::Propose { command, subject } => {
                        self.commands += 1;
                        self.index += 1;
                        if !self.refuse {
                            self.catalog.apply(self.index, *command);
                        }
                        self.sync.handle(now, Event::Applied { subject, refused: self.refuse }, out);
                    }
                    Action::AdoptTags { id, tags } => self.local.adopt_tags(&id, &tags, &mut Vec::new()),
                }
                actions.extend(out.drain_actions());
            }
        }
    }

    fn pass(&mut self, from: Time, duration: Duration) -> Time {
        let end = from + duration;
        while let Some(at) = self.sync.poll_timeout().map(|deadline| deadline.at).filter(|at| *at <= end) {
            self.timeout(at);
        }
        end
    }

    fn tell(&mut self, now: Time, changes: Vec<Change>) {
        for Change { id, tenancy, what } in changes {
            let key = (tenancy, id);
            match what {
                What::ServiceSet { .. } | What::ServiceGone { .. } => self.handle(now, Event::Service(key)),
                What::CheckReported { output_only } => self.handle(now, Event::Check { key, output_only }),
                What::CheckSet { .. } | What::CheckGone { .. } => {
                    self.handle(now, Event::Check { key, output_only: false });
                }
            }
        }
    }

    fn register(&mut self, now: Time, name: &str, checks: usize) {
        let check = CheckDefinition { ttl: S(9), ..CheckDefinition::default() };
        let checks = vec![check; checks];
        let definition = ServiceDefinition { name: name.to_string(), checks, ..ServiceDefinition::default() };
        let mut changes = Vec::new();
        self.local.register_service(definition, false, Unnamed::Stay, &mut changes);
        self.tell(now, changes);
    }

    fn equal(&self) -> bool {
        let view = self.catalog.view();
        let services = view.services_of(Scope::default(), "n1");
        let checks = view.checks_of(Scope::default(), "n1");
        services.len() == self.local.services().len()
            && checks.len() == self.local.checks().len()
            && services
                .iter()
                .all(|row| self.local.services().get(&*row.id).is_some_and(|service| same_service(row, &service.row)))
            && checks
                .iter()
                .all(|row| self.local.checks().get(&*row.id).is_some_and(|check| same_check(row, &check.row, true)))
    }
}

#[test]
fn thousands_of_services_come_in_portions() {
    let mut world = World::new(S(0));
    for n in 0..2000 {
        let definition = ServiceDefinition { name: alloc::format!("s{n}"), ..ServiceDefinition::default() };
        world.local.register_service(definition, true, Unnamed::Stay, &mut Vec::new());
    }
    let mut out = Out::new();
    world.sync.handle_timeout(Time::ZERO, &mut out);
    assert!(matches!(out.drain_actions().collect::<Vec<_>>()[..], [Action::Compare { full: true }]));
    let view = world.catalog.view();
    let event = Event::Compare { local: &world.local, view: &view, own: &world.own };
    world.sync.handle(Time::ZERO, event, &mut out);
    assert!(out.actions().len() <= BATCH + 1, "{}", out.actions().len());
    world.follow(Time::ZERO, &mut out);
    world.pass(Time::ZERO, S(1));
    assert!(world.equal());
}

#[test]
fn a_service_and_its_checks_take_one_command_each_way() {
    let mut world = World::new(S(0));
    world.timeout(Time::ZERO);
    let before = world.commands;
    let mut changes = Vec::new();
    let check = CheckDefinition { ttl: S(9), ..CheckDefinition::default() };
    let checks = vec![check; 3];
    let definition = ServiceDefinition { name: "web".to_string(), checks, ..ServiceDefinition::default() };
    world.local.register_service(definition, false, Unnamed::Stay, &mut changes);
    assert_eq!(changes.len(), 4);
    // The node tells all changes before it lets a comparison run.
    let mut out = Out::new();
    for Change { id, tenancy, what } in changes {
        let key = (tenancy, id);
        let event = match what {
            What::ServiceSet { .. } => Event::Service(key),
            _ => Event::Check { key, output_only: false },
        };
        world.sync.handle(Time::ZERO, event, &mut out);
    }
    assert_eq!(out.actions().len(), 1, "asked once");
    world.follow(Time::ZERO, &mut out);
    assert_eq!(world.commands, before + 1);
    assert!(world.equal());

    let mut changes = Vec::new();
    world.local.deregister_service("web", &mut changes);
    for Change { id, tenancy, what } in changes {
        let key = (tenancy, id);
        let event = match what {
            What::ServiceGone { .. } => Event::Service(key),
            _ => Event::Check { key, output_only: false },
        };
        world.sync.handle(Time::ZERO, event, &mut out);
    }
    world.follow(Time::ZERO, &mut out);
    assert_eq!(world.commands, before + 2);
    assert!(world.equal());
}

#[test]
fn refusals_are_tried_again_slower_and_slower() {
    let mut world = World::new(S(0));
    world.timeout(Time::ZERO);
    world.refuse = true;
    world.register(Time::ZERO, "web", 1);
    let before = world.commands;
    let now = world.pass(Time::ZERO, S(50));
    let tries = world.commands - before;
    assert!((3..=14).contains(&tries), "{tries} tries");
    world.refuse = false;
    world.pass(now, S(31));
    assert!(world.equal());
}

#[test]
fn a_quiet_catalog_costs_nothing() {
    let mut world = World::new(S(300));
    world.register(Time::ZERO, "web", 2);
    let now = world.pass(Time::ZERO, S(1));
    let before = world.commands;
    world.pass(now, S(3600));
    assert_eq!(world.commands, before);
}

#[test]
fn full_comparisons_are_rarer_in_large_clusters() {
    for (nodes, expected) in [(0, 1), (1, 1), (128, 1), (129, 2), (256, 2), (257, 3), (1024, 4), (8192, 7)] {
        assert_eq!(scale(nodes), expected, "{nodes}");
    }
}

#[test]
fn the_laws_hold() {
    for seed in 0..12 {
        let local = core::cell::RefCell::new(Local::default());
        let catalog = core::cell::RefCell::new((Catalog::default(), 0));
        laws::check(
            seed,
            Effort::default(),
            |seed| {
                *local.borrow_mut() = Local::new("n1", "default");
                *catalog.borrow_mut() = (Catalog::default(), 0);
                Sync::new(Rng::new(seed), S(20))
            },
            |rng, now, sync: &mut Sync, out| {
                let own = Node { name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
                let (mut local, mut catalog) = (local.borrow_mut(), catalog.borrow_mut());
                let id = ["a", "b", "c"][rng.index(3)];
                let key = || (Tenancy::default(), Str::from(id));
                match rng.below(8) {
                    0 => {
                        let definition = ServiceDefinition { name: id.to_string(), ..ServiceDefinition::default() };
                        local.register_service(definition, false, Unnamed::Stay, &mut Vec::new());
                        sync.handle(now, Event::Service(key()), out);
                    }
                    1 => {
                        local.deregister_service(id, &mut Vec::new());
                        sync.handle(now, Event::Service(key()), out);
                    }
                    2 => sync.handle(now, Event::Check { key: key(), output_only: rng.one_in(2) }, out),
                    3 => {
                        let subject = Subject { services: vec![key()], ..Subject::default() };
                        sync.handle(now, Event::Applied { subject, refused: rng.one_in(2) }, out);
                    }
                    4 => sync.handle(now, Event::Node, out),
                    5 => {
                        let stray = Service { id: id.into(), name: id.into(), ..Service::default() };
                        let command = register(&own, false, vec![stray], vec![]);
                        catalog.1 += 1;
                        let index = catalog.1;
                        catalog.0.apply(index, command);
                    }
                    _ => {
                        let view = catalog.0.view();
                        sync.handle(now, Event::Compare { local: &local, view: &view, own: &own }, out);
                    }
                }
            },
        );
    }
}
