//! Lives drawn from seeds: first faults, in which nothing may be wrong; then healing, after which all must be well.

use std::time::Duration;

use convoke_kit::Rng;
use convoke_raft::Config;

use super::bug::{Bug, Planted};
use super::checker::{self, Checked, Refuted};
use super::client::Habits;
use super::faults::{BLOWS, Blow, Kind, Tally, disk_latency};
use super::invariant::Violation;
use super::kv::Op;
use super::slot::{Clock, Life};
use super::world::{Spec, World};

/// What a life depends on, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of all randomness.
    pub seed: u64,
    /// How long it lasts, healing included.
    pub span: Duration,
    /// A bug to put back.
    pub planted: Option<Planted>,
    /// Write what happens to stderr.
    pub trace: bool,
}

impl Options {
    /// Ten minutes of this seed.
    #[must_use]
    pub const fn seed(seed: u64) -> Self {
        Self { seed, span: Duration::from_secs(600), planted: None, trace: false }
    }
}

/// What a life was.
#[derive(Clone, Debug, Default)]
pub struct Lived {
    /// Of all that happened.
    pub hash: u64,
    /// What went wrong on purpose.
    pub tally: Tally,
    /// What the checker of histories looked at.
    pub checked: Checked,
    /// From healing until somebody led, in thousandths of an election timeout of the slowest clock.
    pub leader_after: u64,
    /// From healing until all states were equal.
    pub equal_after: Duration,
    /// Events.
    pub events: u64,
    /// The last entry applied.
    pub applied: u64,
}

/// Election timeouts until somebody leads after healing.
const LEADER_WITHIN: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

struct Plan {
    blows: Vec<Blow>,
    /// Mean time between two.
    pause: Duration,
    slowest: u64,
    /// Some servers do not ask before they campaign.
    mixed: bool,
}

/// Lives a life.
///
/// # Errors
///
/// The first thing that was wrong.
pub fn live(options: &Options) -> Result<Lived, Violation> {
    let (mut world, plan) = begin(options);
    let healing = 15 * SECOND;
    let end = options.span.saturating_sub(healing).as_nanos() as u64;
    while world.now < end && world.violation().is_none() {
        let pause = world.rng.duration(plan.pause * 2);
        world.run(pause.min(Duration::from_nanos(end.saturating_sub(world.now))));
        if world.rng.one_in(4) {
            world.tend();
        }
        let blow = plan.blows[world.rng.index(plan.blows.len())];
        world.strike(blow);
    }
    recover(&mut world, &plan)
}

fn begin(options: &Options) -> (World, Plan) {
    // Options are drawn by a generator of their own: what is done with them does not change them.
    let mut rng = Rng::new(options.seed ^ 0x5eed);
    let (voters, spares) = ([3, 3, 3, 5, 5, 2, 4, 1][rng.index(8)], rng.index(3));
    let config = Config {
        snapshot_threshold: [6, 20, 100, 400][rng.index(4)],
        trailing: [0, 3, 20, 100][rng.index(4)],
        chunk_bytes: [200, 2_000, 256 << 10][rng.index(3)],
        window: [1, 3, 64][rng.index(3)],
        batch: [1, 8, 512][rng.index(3)],
        promotion_lag: 50,
        ..Config::scaled([3, 5, 5, 5, 8, 10][rng.index(6)])
    };
    let wild = options.planted.is_some_and(|planted| planted.is(Bug::WildClocks));
    let drifting = wild || rng.one_in(2);
    let agent = rng.one_in(2);
    let spec =
        Spec { seed: options.seed, voters, spares, config, planted: options.planted, agent, trace: options.trace };
    let mut world = World::new(&spec);
    let (mut slowest, mut drifts) = (1000, 0);
    world.set_clocks(|rng| {
        let rates: &[u64] = if wild { &[300, 1000, 3000] } else { &[700, 850, 1000, 1000, 1200, 1300] };
        let rate = if drifting { rates[rng.index(rates.len())] } else { 1000 };
        slowest = slowest.min(rate);
        drifts += u32::from(rate.abs_diff(1000) > 100);
        Clock { skew: rng.below(1 << 40), rate }
    });
    (0..drifts).for_each(|_| world.tally.add(Kind::Drift));
    let mixed = rng.one_in(20);
    for slot in &mut world.slots {
        slot.config.pre_vote = !(mixed && rng.one_in(2));
        slot.disk.latency = disk_latency(&mut rng);
        slot.disk.latency.0 = slot.disk.latency.0.min(5 * MS);
        slot.disk.latency.1 = slot.disk.latency.1.min(5 * MS);
    }
    // A bootstrap that a power cut undoes has to be said again; here it lands.
    world.run(SECOND / 2);
    for _ in 0..2 + rng.index(4) {
        world.add_client(Habits {
            pace: [100, 200, 400, 800][rng.index(4)] * MS,
            patience: [150, 400, 1_000, 3_000][rng.index(4)] * MS,
            attempts: 1 + rng.below(6) as u32,
            keys: 1 + rng.below(4) as u32,
            epoch: 20 * SECOND,
        });
    }
    world.look_on();
    // Some kinds of faults only, so that each meets calm in the others (swarm testing).
    let mut blows: Vec<Blow> = BLOWS.iter().copied().filter(|_| !rng.one_in(3)).collect();
    // What never heals teaches nothing.
    let calm = 2 + rng.index(8);
    blows.extend(std::iter::repeat_n(Blow::HealNetwork, calm));
    let plan = Plan { blows, pause: [300, 1_000, 2_500, 5_000][rng.index(4)] * MS, slowest, mixed };
    (world, plan)
}

/// Ends all faults; somebody must lead soon, and all be equal soon after.
fn recover(world: &mut World, plan: &Plan) -> Result<Lived, Violation> {
    world.heal();
    let start = world.now;
    // By the slowest clock. A server without pre-vote may disturb the others for a while: that is what pre-vote is for.
    let timeout = world.slots.iter().map(|slot| slot.config.election_timeout).max().unwrap_or(SECOND);
    let timeout = timeout * 1000 / plan.slowest as u32;
    let patience = if plan.mixed { 40 } else { LEADER_WITHIN };
    let led = world.run_until(patience * timeout, MS, |world| world.leader().is_some());
    check(world)?;
    if !led {
        world.violate("liveness", format!("nobody leads {:?} after healing", patience * timeout));
        check(world)?;
    }
    let leader_after = (world.now - start) * 1000 / timeout.as_nanos() as u64;
    world.stop_clients();
    // Lost disks are replaced, and who had them removed.
    let healed = world.now;
    let equal = world.run_until(5 * SECOND, 20 * MS, equal);
    check(world)?;
    if !equal {
        let states: Vec<String> = world
            .slots
            .iter()
            .map(|slot| {
                slot.server.as_ref().map_or_else(
                    || format!("{:?}", slot.life),
                    |server| {
                        let raft = server.raft();
                        let members = raft.membership().1.0.iter().map(|(id, m)| (*id, m.voter)).collect::<Vec<_>>();
                        format!(
                            "{:?}: {:?} term {} applied {} of {:?}, members {members:?}",
                            slot.id,
                            raft.role(),
                            raft.term(),
                            raft.applied(),
                            raft.last()
                        )
                    },
                )
            })
            .collect();
        world.violate("liveness", format!("states are not equal 5 s after healing: {states:#?}"));
        check(world)?;
    }
    let equal_after = Duration::from_nanos(world.now - healed);
    for _ in 0..5 {
        world.tend();
        world.run(SECOND / 2);
    }
    world.close();
    read_everything(world);
    check(world)?;
    world.judge_the_end();
    check(world)?;
    let checked = match checker::check(&world.history, checker::PATIENCE) {
        Ok(checked) => checked,
        Err(refuted) => {
            let invariant = match refuted {
                Refuted::NotLinearizable { .. } => "linearizability (Herlihy and Wing 1990)",
                Refuted::OutOfPatience { .. } => "the history is judged",
                Refuted::Malformed(_) => "the history is one",
            };
            world.violate(invariant, refuted.to_string());
            return check(world).map(|()| Lived::default());
        }
    };
    Ok(Lived {
        hash: world.hash(),
        tally: world.tally.clone(),
        checked,
        leader_after,
        equal_after,
        events: world.events,
        applied: world
            .slots
            .iter()
            .filter_map(|slot| slot.server.as_ref())
            .map(|server| server.kv().applied)
            .max()
            .unwrap_or(0),
    })
}

fn check(world: &World) -> Result<(), Violation> {
    world.violation().map_or(Ok(()), |violation| Err(violation.clone()))
}

/// Somebody leads, and all members have applied the same.
fn equal(world: &World) -> bool {
    let Some(leader) = world.leader().and_then(|at| world.slots[at].server.as_ref()) else { return false };
    let want = (leader.kv().applied, leader.kv().hash());
    let members = leader.raft().membership().1;
    leader.raft().has_committed_in_term()
        && leader.raft().last().index == leader.kv().applied
        && world
            .slots
            .iter()
            .filter(|slot| members.contains(slot.id) && slot.life == Life::Up)
            .all(|slot| slot.server.as_ref().is_some_and(|server| (server.kv().applied, server.kv().hash()) == want))
}

/// One client reads all keys there are: what was acknowledged must be there.
fn read_everything(world: &mut World) {
    let Some(leader) = world.leader() else { return };
    let keys: Vec<u32> =
        world.slots[leader].server.as_ref().map_or_else(Vec::new, |server| server.kv().keys().collect());
    let client = world.clients.len();
    world.add_client(Habits { pace: SECOND, patience: SECOND, attempts: 5, keys: 1, epoch: SECOND });
    world.clients[client].stopped = true;
    for key in keys {
        world.client_does(client, key, Op::Read, convoke_raft::ReadMode::Quorum);
        world.run_until(6 * SECOND, MS, |world| !world.clients[client].is_busy());
    }
    world.close();
}
