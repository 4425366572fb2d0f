//! A few members in virtual time, so that a test reads like a dialogue. Every packet takes a millisecond.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use convoke_kit::{Machine as _, Out, Time};
use convoke_swim::{
    Action, Boot, Command, Config, Event, ExchangeId, Keyring, MemberEvent, Members, State, StreamId, Swim, Tags,
    Ticket,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn address(n: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 0, n as u8 + 1).into(), 8301)
}

pub(crate) fn boot(n: usize) -> Boot {
    Boot {
        name: format!("n{n}"),
        address: address(n),
        tags: Tags::from([("role", "node")]),
        incarnation: 1,
        keyring: Keyring::default(),
        config: Config::lan(),
        seed: n as u64 + 100,
        members: Members::default(),
        flaw: None,
    }
}

enum Parcel {
    Packet { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Frame { from: usize, to: SocketAddr, exchange: ExchangeId, bytes: Vec<u8> },
    Response { to: usize, exchange: ExchangeId, bytes: Vec<u8> },
    Failed { to: usize, exchange: ExchangeId },
}

/// The members, what is on its way between them, and what they told.
pub(crate) struct Pool {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Option<Swim>>,
    parcels: BTreeMap<(Time, u64), Parcel>,
    sent: u64,
    /// Members that stand still, and what waits at their door.
    stopped: BTreeMap<usize, Vec<Parcel>>,
    /// Links that lose everything, one way.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Links that lose packets, not streams.
    pub(crate) no_udp: BTreeSet<(usize, usize)>,
    /// Everything but datagrams and streams, per member.
    pub(crate) told: Vec<Vec<(Time, Action)>>,
}

impl Pool {
    pub(crate) fn new(boots: impl IntoIterator<Item = Boot>) -> Self {
        let nodes: Vec<_> = boots.into_iter().map(|boot| Some(Swim::new(boot))).collect();
        let told = nodes.iter().map(|_| Vec::new()).collect();
        Self {
            now: Time::ZERO,
            nodes,
            parcels: BTreeMap::new(),
            sent: 0,
            stopped: BTreeMap::new(),
            cut: BTreeSet::new(),
            no_udp: BTreeSet::new(),
            told,
        }
    }

    /// `n` members that all know each other.
    pub(crate) fn joined(n: usize) -> Self {
        let mut pool = Self::new((0..n).map(boot));
        pool.join_all();
        pool
    }

    pub(crate) fn join_all(&mut self) {
        for n in 1..self.nodes.len() {
            self.command(n, Command::Join { ticket: Ticket(0), addresses: vec![address(0)] });
        }
        self.run(3 * SECOND);
        for n in 0..self.nodes.len() {
            assert_eq!(self.node(n).members().up(), self.nodes.len(), "n{n} knows everybody");
        }
    }

    pub(crate) fn node(&self, n: usize) -> &Swim {
        self.nodes[n].as_ref().expect("it runs")
    }

    pub(crate) fn state(&self, at: usize, of: usize) -> Option<State> {
        self.node(at).members().get(&format!("n{of}")).map(|m| m.state)
    }

    pub(crate) fn crash(&mut self, n: usize) {
        self.nodes[n] = None;
    }

    pub(crate) fn restart(&mut self, boot: Boot) {
        let n = boot.name[1..].parse::<usize>().expect("a number");
        self.nodes[n] = Some(Swim::new(boot));
    }

    /// It stands still: its clock runs, what comes for it waits.
    pub(crate) fn stop(&mut self, n: usize) {
        self.stopped.insert(n, Vec::new());
    }

    /// It runs again. It takes so many packets of those that wait before it looks at its clock, and the others after that.
    pub(crate) fn resume(&mut self, n: usize, before: usize) {
        let mut first = self.stopped.remove(&n).expect("it stands still");
        let rest = first.split_off(before.min(first.len()));
        first.into_iter().for_each(|parcel| self.deliver(parcel));
        self.fire(n);
        rest.into_iter().for_each(|parcel| self.deliver(parcel));
    }

    fn fire(&mut self, n: usize) {
        let (mut out, now) = (Out::new(), self.now);
        if let Some(node) = &mut self.nodes[n] {
            node.handle_timeout(now, &mut out);
            assert!(node.poll_timeout().is_none_or(|d| d.at > now), "{:?}", node.poll_timeout());
        }
        self.carry_out(n, &mut out);
    }

    pub(crate) fn command(&mut self, n: usize, command: Command) {
        self.event(n, Event::Command(command));
    }

    pub(crate) fn event(&mut self, n: usize, event: Event<'_>) {
        let mut out = Out::new();
        let now = self.now;
        if let Some(node) = &mut self.nodes[n] {
            node.handle(now, event, &mut out);
        }
        self.carry_out(n, &mut out);
    }

    /// What `n` told of one kind, as texts.
    pub(crate) fn happened(&self, n: usize, wanted: MemberEvent) -> Vec<String> {
        let of = |(_, action): &(Time, Action)| match action {
            Action::Member { what, profile } if *what == wanted => Some(profile.name().to_owned()),
            _ => None,
        };
        self.told[n].iter().filter_map(of).collect()
    }

    fn number(of: SocketAddr) -> usize {
        match of {
            SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]) - 1,
            SocketAddr::V6(_) => usize::MAX,
        }
    }

    fn put(&mut self, after: Duration, parcel: Parcel) {
        self.sent += 1;
        self.parcels.insert((self.now + after, self.sent), parcel);
    }

    fn carry_out(&mut self, n: usize, out: &mut Out<Action>) {
        let millisecond = Duration::from_millis(1);
        let packets: Vec<_> = out.datagrams().map(|d| (d.to, d.bytes.to_vec())).collect();
        out.clear_datagrams();
        for (to, bytes) in packets {
            let link = (n, Self::number(to));
            if !self.cut.contains(&link) && !self.no_udp.contains(&link) {
                self.put(millisecond, Parcel::Packet { from: address(n), to, bytes });
            }
        }
        let actions: Vec<_> = out.drain_actions().collect();
        for action in actions {
            match action {
                Action::Dial { exchange, to, frame, limit } => {
                    let peer = Self::number(to);
                    if self.cut.contains(&(n, peer)) || self.cut.contains(&(peer, n)) {
                        self.put(limit, Parcel::Failed { to: n, exchange });
                    } else {
                        self.put(millisecond, Parcel::Frame { from: n, to, exchange, bytes: frame });
                    }
                }
                other => self.told[n].push((self.now, other)),
            }
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let to = match &parcel {
            Parcel::Packet { to, .. } | Parcel::Frame { to, .. } => Self::number(*to),
            Parcel::Response { to, .. } | Parcel::Failed { to, .. } => *to,
        };
        if let Some(waiting) = self.stopped.get_mut(&to) {
            return waiting.push(parcel);
        }
        match parcel {
            Parcel::Packet { from, to, bytes } => {
                let n = Self::number(to);
                if n < self.nodes.len() {
                    self.event(n, Event::Datagram { from, bytes: &bytes });
                }
            }
            Parcel::Frame { from, to, exchange, bytes } => {
                let n = Self::number(to);
                if self.nodes.get(n).is_none_or(Option::is_none) {
                    return self.put(Duration::ZERO, Parcel::Failed { to: from, exchange });
                }
                let mark = self.told[n].len();
                self.event(n, Event::Request { stream: StreamId(7), from: address(from), frame: &bytes });
                let at = self.told[n][mark..].iter().position(|(_, a)| matches!(a, Action::Respond { .. }));
                let at = at.expect("every request is responded to, at once");
                if let (_, Action::Respond { stream, frame }) = self.told[n].remove(mark + at) {
                    assert_eq!(stream, StreamId(7));
                    self.put(Duration::from_millis(1), Parcel::Response { to: from, exchange, bytes: frame });
                }
            }
            Parcel::Response { to, exchange, bytes } => self.event(to, Event::Response { exchange, frame: &bytes }),
            Parcel::Failed { to, exchange } => self.event(to, Event::DialFailed { exchange, error: "no route" }),
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let parcel = self.parcels.first_key_value().map(|((at, _), _)| *at);
            let timer = (0..self.nodes.len())
                .filter(|n| !self.stopped.contains_key(n))
                .filter_map(|n| Some((self.nodes[n].as_ref()?.poll_timeout()?.at.max(self.now), n)))
                .min();
            let next = [parcel, timer.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = next;
            if parcel == Some(next) {
                if let Some((_, parcel)) = self.parcels.pop_first() {
                    self.deliver(parcel);
                }
            } else if let Some((_, n)) = timer {
                self.fire(n);
            }
        }
        self.now = end;
    }
}
