//! Streams: comparing whole tables, and joining by doing so.
//!
//! Who compares sends a digest of what it knows in 64 parts; the other sends its rows of the parts that differ; the first
//! offers what the other did not know. Members that agree exchange 600 bytes, however many they are.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_kit::{Deadline, Out, Time};

use crate::event::{Action, ExchangeId, StreamId, Ticket};
use crate::flaw::Flaw;
use crate::stall::{Loop, Stall};
use crate::swim::{Life, Swim};
use crate::table::{self, BUCKETS, State};
use crate::wire::{self, Claim, Frame, Pieces, Row};

/// Streams that may be dialled at a time.
const MAX_DIALS: usize = 512;
/// Rows are cut where a frame would be longer than this.
const MAX_ROWS: usize = wire::MAX_FRAME - 4096;

/// Why a stream was dialled.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A probe, where packets do not get through.
    Probe { seq: u32 },
    /// Compare tables; for a join, or because it was time to.
    Compare { to: SocketAddr, join: Option<Ticket> },
    /// Offer rows.
    Offer,
    /// Ask for keys.
    Keys { id: u64 },
}

/// A join under way.
#[derive(Debug, Default)]
struct Join {
    pending: usize,
    reached: usize,
    errors: Vec<(SocketAddr, String)>,
}

/// Streams under way, and when the next is due.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    made: u64,
    dialled: BTreeMap<u64, Purpose>,
    joins: BTreeMap<Ticket, Join>,
    compare_at: Option<Time>,
    reconnect_at: Option<Time>,
}

impl Exchanges {
    pub(crate) fn deadline(&self, stall: Stall) -> Option<Deadline> {
        let at = |at: Option<Time>, reason, who| at.filter(|_| !stall.holds(who)).map(|at| Deadline { at, reason });
        Deadline::earliest(
            at(self.compare_at, "compare", Loop::Compare),
            at(self.reconnect_at, "reconnect", Loop::Reconnect),
        )
    }

    pub(crate) fn len(&self) -> usize {
        self.dialled.len() + self.joins.len()
    }
}

/// Interval between comparisons in a pool of `n` members: doubled where it exceeds 32, and again with each doubling.
fn scaled(interval: Duration, n: usize) -> Duration {
    if n <= 32 {
        return interval;
    }
    // ceil(log2 n) - log2 32 + 1
    interval * ((n - 1).ilog2() + 1 - 5 + 1)
}

impl Swim {
    pub(crate) fn start_exchanging(&mut self, now: Time) {
        let phase = |swim: &mut Self, interval: Duration| {
            (!interval.is_zero()).then(|| now + swim.rng.duration(interval) + Duration::from_nanos(1))
        };
        self.exchanges.compare_at = phase(self, self.config.push_pull_interval);
        self.exchanges.reconnect_at = phase(self, self.config.reconnect_interval);
    }

    pub(crate) fn exchange_timers(&mut self, now: Time, out: &mut Out<Action>) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.exchanges.compare_at) && !self.stall.holds(Loop::Compare) {
            self.stall.sends(Loop::Compare);
            let interval = scaled(self.config.push_pull_interval, self.members.up());
            self.exchanges.compare_at = Some(now + interval);
            self.forget_graves(now);
            self.find_language();
            let other = self.pick(1, |slot, entry, swim| slot != swim.own && entry.state.is_up()).pop();
            if let Some(other) = other.filter(|_| self.life == Life::Running) {
                self.compare(other.address(), None, out);
            }
        }
        if due(self.exchanges.reconnect_at) && !self.stall.holds(Loop::Reconnect) {
            self.stall.sends(Loop::Reconnect);
            self.exchanges.reconnect_at = Some(now + self.config.reconnect_interval);
            self.reconnect(out);
        }
    }

    /// Tries one of the failed, the more likely the more there are: the whole pool together tries each about once.
    fn reconnect(&mut self, out: &mut Out<Action>) {
        let (failed, up) = (self.members.failed() as u64, self.members.up() as u64);
        let tries = self.life == Life::Running && failed > 0 && self.rng.below(up.max(1)) < failed;
        if !tries || self.flaws.has(Flaw::NoReconnect) {
            return;
        }
        if let Some(other) = self.pick(1, |_, entry, _| entry.state == State::Failed).pop() {
            self.compare(other.address(), None, out);
        }
    }

    pub(crate) fn join(&mut self, ticket: Ticket, addresses: &[SocketAddr], out: &mut Out<Action>) {
        if self.leaving() || addresses.is_empty() {
            let error = if addresses.is_empty() { "no address was given" } else { "the agent is leaving" };
            let errors = addresses.iter().map(|to| (*to, String::from(error))).collect();
            return out.push(Action::Joined { ticket, reached: 0, errors });
        }
        let join = self.exchanges.joins.entry(ticket).or_default();
        join.pending += addresses.len();
        for to in addresses {
            self.compare(*to, Some(ticket), out);
        }
    }

    fn compare(&mut self, to: SocketAddr, join: Option<Ticket>, out: &mut Out<Action>) {
        let digests: Vec<u8> = self.members.digests().iter().flat_map(|d| d.to_le_bytes()).collect();
        let profile = Arc::clone(&self.profile);
        let claim = Claim::of(&profile, self.incarnation());
        let heard = self.rumours.heard();
        let frame = Frame::Compare { claim, digests: &digests, clock: self.rumours.clock(), heard: &heard };
        self.stats.exchanges += 1;
        let limit = self.config.stream_timeout;
        if !self.dial(to, Purpose::Compare { to, join }, &frame, limit, out)
            && let Some(ticket) = join
        {
            self.joined(ticket, Err((to, String::from("too many connections are being made; try again"))), out);
        }
    }

    /// Connects and sends a frame; false if too many are under way.
    pub(crate) fn dial(
        &mut self,
        to: SocketAddr,
        purpose: Purpose,
        frame: &Frame<'_>,
        limit: Duration,
        out: &mut Out<Action>,
    ) -> bool {
        if self.exchanges.dialled.len() >= MAX_DIALS {
            return false;
        }
        self.exchanges.made += 1;
        let exchange = ExchangeId(self.exchanges.made);
        self.exchanges.dialled.insert(exchange.0, purpose);
        let secret = matches!(frame, Frame::KeysAsk(_));
        // Who is compared with may be a stranger, who knows the lowest version only.
        let stranger = matches!(frame, Frame::Compare { .. });
        let version = if stranger { self.config.versions.min } else { self.speaks };
        let frame = self.frame(frame, version, secret);
        out.push(Action::Dial { exchange, to, frame, limit });
        true
    }

    pub(crate) fn frame(&mut self, frame: &Frame<'_>, version: u8, secret: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::begin(version, self.config.pool, &mut bytes);
        wire::push_frame(frame, &mut bytes);
        if !matches!(frame, Frame::Refused { .. }) {
            self.seal(&mut bytes, secret);
        }
        bytes
    }

    // ---- the side that is dialled

    pub(crate) fn on_request(
        &mut self,
        now: Time,
        stream: StreamId,
        from: SocketAddr,
        bytes: &[u8],
        out: &mut Out<Action>,
    ) {
        let mut plain = Vec::new();
        let opened = self.open(bytes, &mut plain);
        let frame = opened.and_then(|body| {
            postcard::from_bytes::<Frame<'_>>(body)
                .map_err(|_| "it cannot be read: it is damaged, or of a newer version")
        });
        // In the version of who asks.
        let version = bytes.get(1).copied().unwrap_or(self.speaks);
        let reply = match frame {
            Err(why) => {
                self.warn(now, why, || format!("refused a connection from {from}: {why}"), out);
                self.frame(&Frame::Refused { why }, version, false)
            }
            Ok(frame) => {
                self.heard(now);
                self.answer(now, from, &frame, version, out).unwrap_or_default()
            }
        };
        out.push(Action::Respond { stream, frame: reply });
    }

    fn answer(
        &mut self,
        now: Time,
        from: SocketAddr,
        frame: &Frame<'_>,
        version: u8,
        out: &mut Out<Action>,
    ) -> Option<Vec<u8>> {
        match frame {
            Frame::Ping { seq, target } if *target == self.profile.name() => {
                Some(self.frame(&Frame::Ack { seq: *seq }, version, false))
            }
            Frame::Compare { claim, digests, clock, heard } => {
                if let Some(why) = self.strange(claim) {
                    self.warn(now, "alike", || format!("refused a connection from {from}: {why}"), out);
                    return Some(self.frame(&Frame::Refused { why: &why }, version, false));
                }
                self.on_alive(now, claim, out);
                let mask = self.differing(digests)?;
                let rows = self.rows(now, mask, |_, _| true);
                // A newcomer does not care about what was before it.
                let tells = *clock > 0 && !self.flaws.has(Flaw::EventGapsStay);
                let rumours = if tells { self.rumours.missing(heard) } else { Vec::new() };
                let table = Frame::Table { mask, clock: self.rumours.clock(), rows: &rows, rumours: &rumours };
                Some(self.frame(&table, version, false))
            }
            Frame::Offer { rows, .. } => {
                self.take_rows(now, rows, out);
                Some(self.frame(&Frame::Thanks, version, false))
            }
            Frame::KeysAsk(ask) => self.answer_keys(ask, version, out),
            _ => None,
        }
    }

    /// Parts of the table that differ from these digests; `None` if these are none.
    fn differing(&self, digests: &[u8]) -> Option<u64> {
        if digests.len() != BUCKETS * 8 {
            return None;
        }
        let theirs = digests.chunks_exact(8).map(|d| u64::from_le_bytes(d.try_into().unwrap_or_default()));
        let differs = self.members.digests().iter().zip(theirs).map(|(ours, theirs)| *ours != theirs);
        Some((0..).zip(differs).fold(0, |mask, (bit, differs)| mask | u64::from(differs) << bit))
    }

    /// Rows of these parts of the table that are wanted.
    fn rows(&self, now: Time, mask: u64, wanted: impl Fn(&Claim<'_>, State) -> bool) -> Vec<u8> {
        let mut rows = Vec::new();
        if mask == 0 {
            return rows;
        }
        for (slot, entry) in self.members.occupied() {
            let claim = Claim::of(&entry.profile, entry.incarnation);
            if mask >> table::bucket(table::hash(claim.name)) & 1 == 0 || !wanted(&claim, entry.state) {
                continue;
            }
            let age = if entry.state.is_up() { 0 } else { self.age(slot, entry, now) };
            // More than fits is left for another time; gossip and later comparisons bring it.
            if rows.len() > MAX_ROWS
                || !wire::push(&Row { claim, state: wire::state_to_wire(entry.state), age }, &mut rows)
            {
                break;
            }
        }
        rows
    }

    fn take_rows(&mut self, now: Time, rows: &[u8], out: &mut Out<Action>) {
        for piece in Pieces(rows) {
            let Some(Ok(row)) = piece.map(postcard::from_bytes::<Row<'_>>) else {
                self.stats.dropped_malformed += 1;
                continue;
            };
            match wire::state_from_wire(row.state) {
                None => {}
                Some(State::Alive) => self.on_alive(now, &row.claim, out),
                Some(State::Suspect) => {
                    self.on_alive(now, &row.claim, out);
                    let own = Arc::clone(&self.profile);
                    self.on_suspect(now, row.claim.name, row.claim.incarnation, own.name(), &[]);
                }
                Some(state) => self.on_gone_row(now, &row.claim, state, row.age, out),
            }
        }
    }

    // ---- the side that dialled

    pub(crate) fn on_response(&mut self, now: Time, exchange: ExchangeId, bytes: &[u8], out: &mut Out<Action>) {
        let Some(purpose) = self.exchanges.dialled.remove(&exchange.0) else { return };
        let mut plain = Vec::new();
        // A refusal is never sealed: who has no key for us cannot seal it. It is shown to people, and changes nothing.
        let refused = bytes.get(wire::HEADER..).and_then(|body| match postcard::from_bytes::<Frame<'_>>(body) {
            Ok(Frame::Refused { why }) => Some(format!("the other side refused: {}", printable(why))),
            _ => None,
        });
        let opened = match refused {
            Some(why) => Err(why),
            None if bytes.is_empty() => {
                Err(String::from("the other side closed the connection without a word: is it a gossip port?"))
            }
            None => self.open(bytes, &mut plain).map_err(|why| format!("cannot use the reply: {why}")),
        };
        let frame = opened.and_then(|body| {
            postcard::from_bytes::<Frame<'_>>(body).map_err(|_| String::from("the reply cannot be read"))
        });
        if frame.is_ok() {
            self.heard(now);
        }
        match (purpose, frame) {
            (Purpose::Probe { seq }, Ok(Frame::Ack { seq: acked })) if acked == seq => {
                self.on_stream_ack(now, seq, out);
            }
            (Purpose::Compare { to, join }, Ok(Frame::Table { rows, .. })) if self.only_strangers(rows).is_some() => {
                // It did not see it: its version is older, or it demands nothing.
                let why = self.only_strangers(rows).unwrap_or_default();
                self.compared(now, (to, join), Err(format!("refused here: {why}")), out);
            }
            (Purpose::Compare { to, join }, Ok(Frame::Table { mask, clock, rows, rumours })) => {
                self.take_rumours(now, clock, rumours, out);
                self.on_table(now, to, mask, rows, out);
                self.compared(now, (to, join), Ok(()), out);
            }
            (Purpose::Compare { to, join }, frame) => {
                let why = frame.err().unwrap_or_else(|| String::from("the reply makes no sense here"));
                self.compared(now, (to, join), Err(why), out);
            }
            (Purpose::Keys { id }, Ok(Frame::KeysAnswer(answer))) if answer.id == id => self.on_keys_answer(&answer),
            _ => {}
        }
    }

    fn compared(
        &mut self,
        now: Time,
        (to, join): (SocketAddr, Option<Ticket>),
        outcome: Result<(), String>,
        out: &mut Out<Action>,
    ) {
        match (join, outcome) {
            (Some(ticket), outcome) => self.joined(ticket, outcome.map_err(|why| (to, why)), out),
            (None, Err(why)) => {
                self.warn(now, "compare", || format!("cannot compare members with {to}: {why}"), out);
            }
            (None, Ok(())) => {}
        }
    }

    pub(crate) fn on_dial_failed(&mut self, exchange: ExchangeId, error: &str, out: &mut Out<Action>) {
        if let Some(Purpose::Compare { to, join: Some(ticket) }) = self.exchanges.dialled.remove(&exchange.0) {
            self.joined(ticket, Err((to, String::from(error))), out);
        }
    }

    fn on_table(&mut self, now: Time, to: SocketAddr, mask: u64, rows: &[u8], out: &mut Out<Action>) {
        // What the other side believes, so that it is offered only what it does not know.
        let mut theirs: BTreeMap<&str, (u64, u8)> = BTreeMap::new();
        for row in Pieces(rows).flatten().filter_map(|piece| postcard::from_bytes::<Row<'_>>(piece).ok()) {
            theirs.insert(row.claim.name, (row.claim.incarnation, row.state));
        }
        self.take_rows(now, rows, out);
        let news = self.rows(now, mask, |claim, state| {
            let ours = (claim.incarnation, wire::state_to_wire(state));
            theirs.get(claim.name).is_none_or(|theirs| ours > *theirs)
        });
        if !news.is_empty() {
            let own = Arc::clone(&self.profile);
            let offer = Frame::Offer { from: own.name(), rows: &news };
            let limit = self.config.stream_timeout;
            self.dial(to, Purpose::Offer, &offer, limit, out);
        }
    }

    fn joined(&mut self, ticket: Ticket, outcome: Result<(), (SocketAddr, String)>, out: &mut Out<Action>) {
        let Some(join) = self.exchanges.joins.get_mut(&ticket) else { return };
        match outcome {
            Ok(()) => join.reached += 1,
            Err(error) => join.errors.push(error),
        }
        join.pending -= 1;
        if join.pending == 0
            && let Some(join) = self.exchanges.joins.remove(&ticket)
        {
            out.push(Action::Joined { ticket, reached: join.reached, errors: join.errors });
        }
    }
}

/// A text from who may be anybody, for a log line.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
