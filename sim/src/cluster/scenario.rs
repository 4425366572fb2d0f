//! Named scenarios of whole agents: C2 to C8, M9. Each says what went wrong; with its bug put back it must say so.

use std::collections::BTreeSet;
use std::time::Duration;

use convoke_api::effect::{AgentRequest, Effect, Render};
use convoke_catalog::command::Register;
use convoke_catalog::model::{Node, Status};
use convoke_catalog::sessions::Expire;
use convoke_catalog::{Command, Scope, Session};
use convoke_config::definition::ServiceDefinition;
use convoke_core::flaw::Flaw;

use super::Violation;
use super::host::{client, server};
use super::invariant::Seen;
use super::users::{Habit, TTL};
use super::world::{MS, SECOND, World};

/// What a scenario depends on, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Of all randomness.
    pub seed: u64,
    /// A bug to put back into every agent.
    pub flaw: Option<Flaw>,
    /// Write what happens to stderr.
    pub trace: bool,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name; begins with that of the list.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// The bugs that it must find.
    pub flaws: &'static [Flaw],
    /// Plays it; the hash of all that happened, if all was well.
    pub run: fn(&Setup) -> Result<u64, Violation>,
}

/// All of them.
pub const ALL: &[Scenario] = &[C02, C03, C04, C05, C06, C07, C08, M09_DEAD, M09_BEGIN];

/// The scenario of this name, or whose name begins so.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|s| s.name == name).or_else(|| ALL.iter().find(|s| s.name.starts_with(name)))
}

/// Three servers, and a node for sessions to stand on.
fn three(setup: &Setup) -> World {
    let mut world = World::new(setup.seed, setup.flaw, setup.trace);
    world.servers(3);
    anchor(&mut world);
    world
}

/// A node that no agent speaks for.
pub(super) fn anchor(world: &mut World) {
    let node = Node { name: "anchor".into(), address: "10.9.9.9".into(), ..Node::default() };
    let command = Command::Register(Register { node, skip_node_update: false, services: vec![], checks: vec![] });
    let effect = Effect::Propose { command: Box::new(command), render: Render::True };
    let to = world.leader().unwrap_or_default();
    if world.ask(to, effect).is_none_or(|(status, _)| status != 200) {
        world.fail("liveness", "the first registration is refused");
    }
}

fn end(world: &World) -> Result<u64, Violation> {
    match world.violation() {
        Some(violation) => Err(violation.clone()),
        None => Ok(world.hash()),
    }
}

fn some_of(world: &mut World, span: Duration) -> Duration {
    world.rng.duration(span)
}

/// Somebody leads, for a moment at least.
fn led(world: &mut World) -> usize {
    world.until("a leader", 15 * SECOND, |world| world.leader().is_some());
    world.leader().unwrap_or_default()
}

/// The leader dies, another follows, and it comes back.
fn fail_over(world: &mut World) {
    let old = led(world);
    world.crash(old);
    led(world);
    let pause = some_of(world, 4 * SECOND);
    world.run(pause);
    world.start(old);
}

/// All is healed and nobody renews: everything is as it should be, after a while.
pub(super) fn settle(world: &mut World, converges: Duration) {
    world.heal();
    (0..world.len()).for_each(|host| world.start(host));
    world.until("a leader of all", 30 * SECOND, |world| {
        let leader = world.leader().and_then(|leader| world.published(leader)?.agent.leader);
        leader.is_some()
            && (0..world.len())
                .filter(|h| world.is_server(*h))
                .all(|h| world.published(h).is_some_and(|p| p.agent.leader == leader))
    });
    world.until_none("the same in agents and catalog", converges, |world| {
        let all = differences(world);
        (!all.is_empty()).then(|| all.join("; "))
    });
    world.stop_users();
    world.until("the end of all sessions that nobody renews", TTL * 2 + 25 * SECOND, |world| {
        world.leader().and_then(|leader| world.view(leader)).is_some_and(|view| view.timed_sessions().next().is_none())
    });
    world.until_none("equal tables", 5 * SECOND, |world| {
        let servers = (0..world.len()).filter(|host| world.is_server(*host));
        let tables: Vec<_> = servers.filter_map(|host| world.view(host)).map(convoke_catalog::View::export).collect();
        let equal = tables.windows(2).all(|pair| pair[0] == pair[1]);
        let indexes: Vec<u64> =
            (0..world.len()).filter_map(|host| world.view(host)).map(convoke_catalog::View::index).collect();
        (!equal).then(|| format!("{indexes:?}"))
    });
    if let Some(leader) = world.leader() {
        let lost = world.lost(leader);
        if !lost.is_empty() {
            world.fail("what was acknowledged is there", format!("lost: {lost:?}"));
        }
    }
}

/// Where the leader's catalog is not what agents say of themselves.
pub(super) fn differences(world: &World) -> Vec<String> {
    let Some(view) = world.leader().and_then(|leader| world.view(leader)) else { return vec!["no leader".into()] };
    let mut all = Vec::new();
    for published in (0..world.len()).filter_map(|host| world.published(host)) {
        let agent = &published.agent;
        let name = &agent.identity.node_name;
        let own: BTreeSet<(String, u16)> =
            agent.services.values().map(|one| (one.row.id.to_string(), one.row.port)).collect();
        let rows = view.services_of(Scope::default(), name).iter();
        let there: BTreeSet<(String, u16)> =
            rows.filter(|row| &*row.id != "consul").map(|row| (row.id.to_string(), row.port)).collect();
        if own != there {
            all.push(format!("{name} has {own:?}, the catalog {there:?}"));
        }
        let checks = view.checks_of(Scope::default(), name);
        let health = checks.iter().find(|row| &*row.id == "serfHealth").map(|row| &row.status);
        if health != Some(&Status::Passing) {
            all.push(format!("{name} is {health:?}"));
        }
    }
    all
}

/// An agent has a service from now on.
pub(super) fn register(world: &mut World, host: usize, id: &str, port: u16) {
    let service = ServiceDefinition { id: id.into(), name: "web".into(), port, ..ServiceDefinition::default() };
    let request = AgentRequest::RegisterService { service: Box::new(service), replace_existing_checks: false };
    if let Some(id) = world.send(host, Effect::Agent(request)) {
        world.forget(id);
    }
}

/// It has it no more.
pub(super) fn deregister(world: &mut World, host: usize, id: &str) {
    if let Some(id) = world.send(host, Effect::Agent(AgentRequest::DeregisterService { id: id.into() })) {
        world.forget(id);
    }
}

// ---- sessions

const C02: Scenario = Scenario {
    name: "c02_sessions_live_their_time_whoever_leads",
    about: "the leader dies again and again; who renews keeps its session, and who does not loses it in time",
    flaws: &[Flaw::SessionsHaveNoTime, Flaw::SessionsNotMeasured],
    run: c02,
};

fn c02(setup: &Setup) -> Result<u64, Violation> {
    let mut world = three(setup);
    for habit in [Habit::Renews, Habit::Renews, Habit::Renews, Habit::LetsGo, Habit::LetsGo] {
        world.user(habit);
    }
    for _ in 0..6 {
        let pause = 2 * SECOND + some_of(&mut world, 14 * SECOND);
        world.run(pause);
        fail_over(&mut world);
    }
    settle(&mut world, 90 * SECOND);
    end(&world)
}

const C03: Scenario = Scenario {
    name: "c03_the_end_that_a_deposed_leader_proposed_comes_too_late",
    about: "a leader is cut off as the time of a session is up; the next one renews it, and then the old one's proposal arrives",
    flaws: &[Flaw::OldEndCounts],
    run: c03,
};

fn c03(setup: &Setup) -> Result<u64, Violation> {
    let mut world = three(setup);
    for round in 0..4 {
        let old = led(&mut world);
        let id = format!("c3-{round}");
        let session = Session {
            id: id.as_str().into(),
            node: "anchor".into(),
            ttl: TTL,
            ttl_text: "10s".into(),
            ..Session::default()
        };
        let create = Effect::Propose { command: Box::new(Command::SessionCreate(session)), render: Render::Bool };
        if world.ask(old, create).is_none_or(|(status, _)| status != 200) {
            world.fail("liveness", "a session is refused");
        }
        // What the leader would propose when the time is up. Nothing of ours passes it on to another leader; whatever
        // else may, must not end what that one renewed.
        let epoch = world.view(old).map_or(0, convoke_catalog::View::session_epoch);
        let late = Command::SessionExpire(Expire { epoch, sessions: vec![(Default::default(), id.as_str().into())] });
        let before = some_of(&mut world, SECOND);
        world.run((TTL * 2).saturating_sub(before + SECOND));
        world.split(&[old]);
        let next = move |world: &World| {
            let leads = |host: &usize| world.published(*host).is_some_and(|published| published.agent.leads);
            (0..world.len()).filter(|host| *host != old).find(leads)
        };
        world.until("another leader", 10 * SECOND, |world| next(world).is_some());
        let Some(leader) = next(&world) else { break };
        let since = world.now;
        let renew = Effect::Renew { tenancy: Default::default(), id: id.as_str().into(), pretty: false };
        if world.ask(leader, renew).is_some_and(|(status, _)| status == 200) {
            world.see(&Seen::Alive { session: &id, ttl: TTL, since });
        } else {
            world.fail("liveness", "a session in its time is not renewed");
        }
        let pause = some_of(&mut world, SECOND);
        world.run(pause);
        let _ = world.ask(leader, Effect::Propose { command: Box::new(late), render: Render::True });
        world.heal();
        world.run(TTL / 2);
    }
    settle(&mut world, 90 * SECOND);
    end(&world)
}

const C04: Scenario = Scenario {
    name: "c04_a_lock_delay_is_kept_whoever_leads",
    about: "clients take a lock, and lose it with their session; leaders die and the power goes meanwhile",
    flaws: &[Flaw::LockDelayForgotten],
    run: c04,
};

fn c04(setup: &Setup) -> Result<u64, Violation> {
    let mut world = three(setup);
    for habit in [Habit::Locks, Habit::Locks, Habit::Locks] {
        world.user(habit);
    }
    for round in 0..8 {
        let pause = 3 * SECOND + some_of(&mut world, 8 * SECOND);
        world.run(pause);
        if round % 3 == 2 {
            (0..3).for_each(|host| world.crash(host));
            (0..3).for_each(|host| world.start(host));
        } else {
            fail_over(&mut world);
        }
    }
    settle(&mut world, 90 * SECOND);
    end(&world)
}

// ---- watches

/// Servers that make snapshots often and keep few entries behind them.
fn watched(setup: &Setup) -> World {
    let mut world = World::new(setup.seed, setup.flaw, setup.trace);
    for number in 0..3 {
        let mut config = server(3);
        (config.raft.snapshot_threshold, config.raft.trailing_logs) = (15, 2);
        world.add(&format!("s{number}"), config);
    }
    led(&mut world);
    anchor(&mut world);
    for habit in [Habit::Writes, Habit::Writes, Habit::Renews, Habit::LetsGo] {
        world.user(habit);
    }
    world
}

const C05: Scenario = Scenario {
    name: "c05_who_watches_is_woken_and_never_goes_back",
    about: "followers are cut off, miss a snapshot and install it; leaders die; watchers of every server are told of every change",
    flaws: &[Flaw::InstallWakesNobody],
    run: c05,
};

fn c05(setup: &Setup) -> Result<u64, Violation> {
    let mut world = watched(setup);
    for round in 0..6 {
        let leader = led(&mut world);
        let off = if round % 2 == 0 { (leader + 1) % 3 } else { leader };
        world.split(&[off]);
        world.run(12 * SECOND);
        world.heal();
        world.run(3 * SECOND);
        if round % 3 == 2 {
            fail_over(&mut world);
        }
    }
    settle(&mut world, 90 * SECOND);
    end(&world)
}

const C06: Scenario = Scenario {
    name: "c06_what_was_deleted_wakes_who_watches_the_prefix",
    about: "keys come and go below a prefix that is watched everywhere, while leaders change",
    flaws: &[Flaw::DeletionWakesNobody],
    run: c06,
};

fn c06(setup: &Setup) -> Result<u64, Violation> {
    let mut world = watched(setup);
    for _ in 0..4 {
        world.run(15 * SECOND);
        fail_over(&mut world);
    }
    settle(&mut world, 90 * SECOND);
    end(&world)
}

// ---- agents and catalog

const C07: Scenario = Scenario {
    name: "c07_the_catalog_becomes_what_agents_say",
    about: "agents get and lose services while they are cut off, and restart; no service comes back that is gone",
    flaws: &[Flaw::RowsStay, Flaw::RefusedForgotten],
    run: c07,
};

fn c07(setup: &Setup) -> Result<u64, Violation> {
    let mut world = three(setup);
    let agents = [world.add("c1", client()), world.add("c2", client())];
    world.run(5 * SECOND);
    for agent in agents {
        register(&mut world, agent, "old", 1);
        register(&mut world, agent, "kept", 1);
    }
    world.until("the first services", 10 * SECOND, |world| differences(world).is_empty());
    for round in 0..3_u16 {
        world.split(&agents);
        world.run(SECOND);
        for agent in agents {
            let (gone, new) = if round % 2 == 0 { ("old", "new") } else { ("new", "old") };
            deregister(&mut world, agent, gone);
            register(&mut world, agent, new, 10 + round);
            let pause = some_of(&mut world, 12 * SECOND);
            world.run(pause);
        }
        if round == 1 {
            // What it wanted said is only on its disk.
            world.crash(agents[0]);
            world.run(SECOND);
            world.start(agents[0]);
        }
        if round == 2 {
            fail_over(&mut world);
        }
        world.run(SECOND);
        world.heal();
        world.until("what the agents say in the catalog", 40 * SECOND, |world| differences(world).is_empty());
    }
    settle(&mut world, 40 * SECOND);
    end(&world)
}

const C08: Scenario = Scenario {
    name: "c08_who_is_reaped_as_it_comes_back_stays",
    about: "a failed member is forgotten and joins again while the leader still writes that it failed",
    flaws: &[Flaw::BackIsGone],
    run: c08,
};

fn c08(setup: &Setup) -> Result<u64, Violation> {
    let mut world = World::new(setup.seed, setup.flaw, setup.trace);
    for number in 0..3 {
        let mut config = server(3);
        config.reconnect_timeout = SECOND / 2;
        world.add(&format!("s{number}"), config);
    }
    led(&mut world);
    anchor(&mut world);
    let agent = world.add("c1", client());
    register(&mut world, agent, "web", 80);
    // That it is there may not wait; what it has is there again after its next comparison.
    let there = |world: &World| differences(world).iter().all(|difference| !difference.contains(" is "));
    let shown = |world: &World, failed: bool| {
        let Some(published) = world.leader().and_then(|leader| world.published(leader)) else { return false };
        let member = published.agent.lan.members.get("c1");
        member.is_none_or(|member| !member.state.is_up()) == failed
    };
    for _ in 0..4 {
        world.until("the agent in the catalog", 25 * SECOND, there);
        // Whatever the leader writes takes its time.
        (0..3).for_each(|host| world.slow_disk(host, 500 * MS));
        world.crash(agent);
        world.until("its failure to be noticed", 60 * SECOND, |world| shown(world, true));
        let pause = some_of(&mut world, 1500 * MS);
        world.run(pause);
        world.start(agent);
        world.until("its return to be noticed", 60 * SECOND, |world| shown(world, false));
        (0..3).for_each(|host| world.slow_disk(host, 4 * MS));
    }
    world.until("the agent in the catalog", 25 * SECOND, there);
    // Two intervals of anti-entropy, and what a comparison takes.
    settle(&mut world, 130 * SECOND);
    end(&world)
}

// ---- autopilot

const M09_DEAD: Scenario = Scenario {
    name: "m09_autopilot_prunes_the_dead_and_keeps_a_quorum",
    about: "one server after the other dies for good while another flaps",
    flaws: &[Flaw::DeadAlwaysRemoved],
    run: m09_dead,
};

fn m09_dead(setup: &Setup) -> Result<u64, Violation> {
    let mut world = World::new(setup.seed, setup.flaw, setup.trace);
    world.servers(5);
    anchor(&mut world);
    let mut dead = Vec::new();
    for left in [4, 3, 3] {
        let leader = led(&mut world);
        let others: Vec<usize> = (0..5).filter(|host| *host != leader && !dead.contains(host)).collect();
        let (dies, flaps) = (others[0], others[others.len() - 1]);
        world.crash(dies);
        dead.push(dies);
        if dead.len() < 3 {
            for _ in 0..3 {
                let pause = some_of(&mut world, 5 * SECOND);
                world.run(pause);
                world.crash(flaps);
                let pause = some_of(&mut world, 5 * SECOND);
                world.run(pause);
                world.start(flaps);
            }
            world.until("a membership without the dead", 60 * SECOND, |world| {
                world.leader().is_some_and(|leader| world.voters(leader) == left)
            });
        } else {
            world.run(60 * SECOND);
        }
        let leader = led(&mut world);
        if world.voters(leader) != left {
            world.fail("autopilot leaves a quorum", format!("{} voters, {left} expected", world.voters(leader)));
        }
    }
    settle(&mut world, 90 * SECOND);
    end(&world)
}

const M09_BEGIN: Scenario = Scenario {
    name: "m09_two_who_begin_make_one_cluster",
    about: "servers that expect three come up in any order, slowly, and see different ones first",
    flaws: &[Flaw::NobodyGivesWay],
    run: m09_begin,
};

fn m09_begin(setup: &Setup) -> Result<u64, Violation> {
    let mut world = World::new(setup.seed, setup.flaw, setup.trace);
    world.latency = 10 * MS + some_of(&mut world, 30 * MS);
    // Numbers give ids, and the lowest asks.
    for number in 0..5 {
        let mut config = server(3);
        config.retry_join.addresses = vec!["10.0.0.4".to_string(), "10.0.0.5".to_string()];
        world.add(&format!("s{number}"), config);
        world.crash(number);
        world.wipe(number);
    }
    let mut order = [0, 1, 2, 3, 4];
    world.rng.shuffle(&mut order);
    for host in order {
        world.start(host);
        let pause = some_of(&mut world, SECOND / 2);
        world.run(pause);
    }
    world.until("a cluster", 60 * SECOND, |world| world.leader().is_some());
    world.latency = MS;
    world.run(5 * SECOND);
    anchor(&mut world);
    world.until("five voters", 90 * SECOND, |world| world.leader().is_some_and(|leader| world.voters(leader) == 5));
    settle(&mut world, 90 * SECOND);
    end(&world)
}
