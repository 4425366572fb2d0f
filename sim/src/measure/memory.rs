//! What members cost in the memory of one agent.
//!
//! A few agents join a pool over one stream, as agents do, so that each has a table of its own; then they probe until they
//! know where everybody is. What the process holds before and after is asked of whoever measures.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::scenario::name;
use convoke_kit::{Machine as _, Out, Time};
use convoke_swim::{Action, Boot, Command, Config, Event, Keyring, Members, Profile, StreamId, Swim, Tags, Ticket};

/// Tags like those of an agent.
const TAGS: [(&str, &str); 9] = [
    ("acls", "0"),
    ("build", "1.21.4:"),
    ("dc", "dc1"),
    ("id", "1e4f0a5c-55f1-4c1b-9f0a-07a3c1b2d3e4"),
    ("role", "node"),
    ("segment", ""),
    ("vsn", "2"),
    ("vsn_max", "3"),
    ("vsn_min", "2"),
];

/// Bytes a member and agent.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Its name and its tags, as they are.
    pub texts: f64,
    /// Everything in the table, these included.
    pub table: f64,
    /// Where it is, and its last round trips.
    pub places: f64,
    /// Members whose place is known in the end, at the last agent.
    pub placed: usize,
}

fn address(n: usize) -> SocketAddr {
    let [_, a, b, c] = (n as u32).to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, a, b, c).into(), 8301)
}

fn boot(n: usize, members: Members, coordinates: bool) -> Boot {
    Boot {
        name: name(n),
        address: address(n),
        tags: Tags::from(TAGS),
        incarnation: 1,
        keyring: Keyring::default(),
        // The queue of news is bounded and empties: it would only blur what stays.
        config: Config { coordinates, queue_depth: 0, gossip_nodes: 0, ..Config::lan() },
        seed: n as u64,
        members,
        flaw: None,
    }
}

/// Measures with so many agents in a pool of `n`, first without coordinates, then with them; `held` says what the process
/// holds, in bytes. `None` if they cannot join.
pub fn memory(n: usize, agents: usize, held: impl Fn() -> u64, mut step: impl FnMut()) -> Option<Memory> {
    let versions = Config::lan().versions;
    let profile = |n: usize| Profile::new(&name(n), address(n), &Tags::from(TAGS), versions);
    let all = Members::of((0..n).map(|n| (profile(n), 1)));
    let numbers: BTreeMap<SocketAddr, usize> = (0..n).map(|n| (address(n), n)).collect();
    let texts: usize = all.iter().map(|m| m.profile.name().len() + m.profile.tags().as_wire().len()).sum();
    let mut host = Swim::new(boot(n - 1, all.clone(), false));
    let mut kept = Vec::new();
    let mut settle = |agent: usize, coordinates: bool| {
        let mut swim = join(&mut host, agent, coordinates)?;
        if coordinates {
            probe_all(&mut swim, agent, n, &numbers);
        }
        let placed = swim.coordinates().len();
        kept.push(swim);
        step();
        Some(placed)
    };
    // Some before, so that what is only needed for a while is there already.
    settle(0, true)?;
    settle(0, false)?;
    let before = held();
    for agent in 0..agents {
        settle(agent, false)?;
    }
    let tables = held();
    let mut placed = 0;
    for agent in 0..agents {
        placed = settle(agent, true)?;
    }
    let both = held();
    let each = |bytes: u64| bytes as f64 / (agents * n) as f64;
    let table = each(tables.saturating_sub(before));
    Some(Memory { texts: texts as f64 / n as f64, table, places: each(both.saturating_sub(tables)) - table, placed })
}

/// An agent that knows nobody joins `host`.
fn join(host: &mut Swim, n: usize, coordinates: bool) -> Option<Swim> {
    let mut out = Out::new();
    let mut swim = Swim::new(boot(n, Members::default(), coordinates));
    let addresses = vec![host.profile().address()];
    swim.handle(Time::ZERO, Event::Command(Command::Join { ticket: Ticket(1), addresses }), &mut out);
    let dialled = out.drain_actions().find_map(|action| match action {
        Action::Dial { exchange, frame, .. } => Some((exchange, frame)),
        _ => None,
    });
    let (exchange, frame) = dialled?;
    host.handle(Time::ZERO, Event::Request { stream: StreamId(1), from: address(n), frame: &frame }, &mut out);
    let answer = out.drain_actions().find_map(|action| match action {
        Action::Respond { frame, .. } => Some(frame),
        _ => None,
    });
    swim.handle(Time::ZERO, Event::Response { exchange, frame: &answer? }, &mut out);
    Some(swim)
}

/// Lets an agent probe everybody once; all answer after a millisecond. Each is there only while it answers.
fn probe_all(swim: &mut Swim, number: usize, n: usize, numbers: &BTreeMap<SocketAddr, usize>) {
    let (mut out, mut theirs) = (Out::new(), Out::new());
    let mut asked: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    let end = Time::ZERO + Config::lan().probe_interval * (2 * n as u32);
    while let Some(due) = swim.poll_timeout().filter(|due| due.at < end) {
        swim.handle_timeout(due.at, &mut out);
        asked.extend(out.datagrams().map(|datagram| (datagram.to, datagram.bytes.to_vec())));
        forget(&mut out);
        let back = due.at + Duration::from_millis(1);
        for (to, bytes) in asked.drain(..) {
            let Some(other) = numbers.get(&to) else { continue };
            let mut other = Swim::new(boot(*other, Members::default(), true));
            other.handle(due.at, Event::Datagram { from: address(number), bytes: &bytes }, &mut theirs);
            for answer in theirs.datagrams().filter(|datagram| datagram.to == address(number)) {
                swim.handle(back, Event::Datagram { from: to, bytes: answer.bytes }, &mut out);
            }
            forget(&mut theirs);
            forget(&mut out);
        }
    }
}

fn forget(out: &mut Out<Action>) {
    out.drain_actions();
    out.clear_datagrams();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_comes_to_know_all_and_where_they_are() {
        let counted = std::cell::Cell::new(0);
        let held = || counted.replace(counted.get() + 4000);
        let seen = memory(40, 2, held, || ()).expect("they join");
        // Of 40 all but itself; the sums are of what was said to be held: 4000 bytes for 2 x 40 each time.
        assert_eq!((seen.placed, seen.table, seen.places), (39, 50.0, 0.0));
        assert!(seen.texts > 100.0, "{}", seen.texts);
    }
}
