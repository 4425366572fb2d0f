//! Alive, suspect, failed, left: which wins.
//!
//! What is said of a member is ordered by incarnation, then by state: alive < suspect < failed < left. The greater wins,
//! everywhere, in whatever order it arrives, so that all members come to believe the same (SWIM section 4.2). Only the
//! member itself raises its incarnation: that is how it objects.

use alloc::string::String;
use alloc::sync::Arc;
use convoke_kit::{Out, Time};
use core::net::SocketAddr;

use crate::event::{Action, MemberEvent};
use crate::flaw::Flaw;
use crate::suspicion::{MAX_ACCUSERS, Recheck};
use crate::swim::{Life, Swim};
use crate::table::{self, Entry, State};
use crate::wire::{self, Claim, Message};

/// Members told in one call that they are held for gone; the others are told by the next table that says so.
const MAX_TOLD_DEAD: u32 = 128;

/// Where all members ask about a suspect at the same time, so many ask the suspect itself, on average: it may have been told by
/// nobody. One in fifty is asked by none of them.
const ASK_IT: u64 = 4;
/// And each asks so many others: one may have been stopped, too.
const ASK_OTHERS: usize = 2;

impl Swim {
    /// A member says what it is, or somebody repeats it.
    pub(crate) fn on_alive(&mut self, now: Time, claim: &Claim<'_>, out: &mut Out<Action>) {
        if claim.incarnation > wire::MAX_CLAIMED {
            self.stats.dropped_incarnation += 1;
            return;
        }
        if !claim.is_named() {
            self.stats.dropped_malformed += 1;
            return;
        }
        if claim.name == self.profile.name() {
            return self.on_alive_self(now, claim, out);
        }
        match self.members.slot_of(claim.name) {
            None => self.on_newcomer(now, claim, out),
            Some(slot) => self.on_alive_known(now, slot, claim, out),
        }
    }

    fn on_alive_self(&mut self, now: Time, claim: &Claim<'_>, out: &mut Out<Action>) {
        if self.life != Life::Running {
            return;
        }
        if claim.address() != self.profile.address() {
            self.conflict(now, self.own, claim, out);
        } else if claim.incarnation > self.incarnation()
            || (claim.incarnation == self.incarnation() && !claim.says(&self.profile))
        {
            // Of an earlier life.
            self.stats.refutations += 1;
            self.raise(now, claim.incarnation);
        }
    }

    fn on_newcomer(&mut self, now: Time, claim: &Claim<'_>, out: &mut Out<Action>) {
        if let Some(incarnation) = self.buried(claim.name) {
            if claim.incarnation <= incarnation {
                return self.tell_dead(claim, State::Failed, incarnation, out);
            }
            self.unbury(claim.name);
        }
        if !claim.versions().overlaps(self.config.versions) {
            let name = String::from(claim.name);
            let text = move || {
                alloc::format!(
                    "{name} is not taken in: it speaks no protocol version that is spoken here; upgrade one of the two"
                )
            };
            return self.warn(now, "version", text, out);
        }
        if let Some(why) = self.strange(claim) {
            return self.warn(now, "alike", move || alloc::format!("not taken in: {why}"), out);
        }
        let Ok(profile) = claim.profile() else {
            self.stats.dropped_malformed += 1;
            return;
        };
        let profile = Arc::new(profile);
        let entry =
            Entry { profile: Arc::clone(&profile), incarnation: claim.incarnation, since: now, state: State::Alive };
        self.members.insert(entry);
        self.mind_language(claim.versions());
        self.tell(now, table::hash(claim.name), &Message::Alive(*claim));
        out.push(Action::Member { what: MemberEvent::Joined, profile });
    }

    fn on_alive_known(&mut self, now: Time, slot: u32, claim: &Claim<'_>, out: &mut Out<Action>) {
        let Some(entry) = self.members.entry(slot) else { return };
        let (state, incarnation) = (entry.state, entry.incarnation);
        let moved = entry.profile.address() != claim.address();
        if moved && (state.is_up() || self.flaws.has(Flaw::NameBoundToAddress)) {
            // Two members of one name, or one that moved before anybody missed it. The next probe tells.
            if claim.incarnation > incarnation || self.flaws.has(Flaw::NameBoundToAddress) {
                if let Ok(profile) = claim.profile() {
                    self.contested = Some((slot, Arc::new(profile), claim.incarnation));
                }
                self.probe_soon(slot);
                self.conflict(now, slot, claim, out);
            }
            return;
        }
        let newer = claim.incarnation > incarnation
            || (self.flaws.has(Flaw::EqualIncarnationWins)
                && claim.incarnation == incarnation
                && state != State::Alive);
        if !newer || (self.flaws.has(Flaw::LeftForEver) && state == State::Left) {
            if !state.is_up() {
                self.tell_dead(claim, state, incarnation, out);
            } else if claim.incarnation == incarnation && !claim.says(&entry.profile) {
                // Two lives of one member began in the same incarnation: who hears what is known of the earlier one
                // raises its own. Tables do not show it, as they are compared by incarnation.
                let known = Arc::clone(&entry.profile);
                self.send(claim.address(), &[Message::Alive(Claim::of(&known, incarnation))], out);
            }
            return;
        }
        let Some(old) = self.members.entry(slot).map(|e| Arc::clone(&e.profile)) else { return };
        if let Some(why) = self.strange(claim).filter(|_| claim.tags != old.tags().as_wire()) {
            return self.warn(now, "alike", move || alloc::format!("not taken in: {why}"), out);
        }
        let profile = if claim.says(&old) {
            Arc::clone(&old)
        } else {
            let Ok(profile) = claim.profile() else {
                self.stats.dropped_malformed += 1;
                return;
            };
            Arc::new(profile)
        };
        self.mind_language(claim.versions());
        self.suspicions.end(slot);
        self.spare(slot);
        let new = Arc::clone(&profile);
        self.members.update(slot, |entry| {
            if entry.state != State::Alive {
                entry.since = now;
            }
            (entry.profile, entry.incarnation, entry.state) = (new, claim.incarnation, State::Alive);
        });
        self.tell(now, table::hash(claim.name), &Message::Alive(*claim));
        if !state.is_up() {
            out.push(Action::Member { what: MemberEvent::Joined, profile });
        } else if !Arc::ptr_eq(&profile, &old) {
            out.push(Action::Member { what: MemberEvent::Updated, profile });
        }
    }

    /// Somebody accuses a member of what it has refuted already: it missed that, and is told.
    pub(crate) fn correct(&mut self, from: SocketAddr, name: &str, incarnation: u64, out: &mut Out<Action>) {
        let Some(entry) = self.members.slot_of(name).and_then(|slot| self.members.entry(slot)) else { return };
        // As long as the objection is being told to everybody it needs no packet of its own: in a pool with many suspects
        // every second packet would be one.
        if entry.state == State::Alive
            && incarnation < entry.incarnation
            && !self.broadcasts.tells_of(table::hash(name))
            && !self.flaws.has(Flaw::StaleAccuserNotTold)
        {
            let (profile, known) = (Arc::clone(&entry.profile), entry.incarnation);
            self.send(from, &[Message::Alive(Claim::of(&profile, known))], out);
        }
    }

    /// A member whose name another one claims does not answer at its old address: the name has moved.
    pub(crate) fn concede(&mut self, now: Time, slot: u32, out: &mut Out<Action>) -> bool {
        let Some((_, profile, incarnation)) = self.contested.take_if(|(at, ..)| *at == slot) else { return false };
        let Some(entry) = self.members.entry(slot) else { return false };
        if self.flaws.has(Flaw::NameBoundToAddress)
            || entry.profile.name() != profile.name()
            || incarnation <= entry.incarnation
            || !entry.state.is_up()
        {
            return false;
        }
        self.go(now, slot, State::Failed, entry.incarnation, MemberEvent::Failed, out);
        self.on_alive(now, &Claim::of(&profile, incarnation), out);
        true
    }

    /// Tells one who comes back with an old incarnation what is believed of it, so that it can object.
    fn tell_dead(&mut self, claim: &Claim<'_>, state: State, incarnation: u64, out: &mut Out<Action>) {
        if self.flaws.has(Flaw::NotToldOfDeath) || self.flaws.has(Flaw::ClockDecides) || self.told_dead >= MAX_TOLD_DEAD
        {
            return;
        }
        self.told_dead += 1;
        let own = Arc::clone(&self.profile);
        let message = if state == State::Left {
            Message::Left { name: claim.name, incarnation, prune: false }
        } else {
            Message::Failed { name: claim.name, incarnation, accuser: own.name() }
        };
        self.send(claim.address(), &[message], out);
    }

    fn conflict(&mut self, now: Time, slot: u32, claim: &Claim<'_>, out: &mut Out<Action>) {
        let Some(known) = self.members.entry(slot).map(|entry| entry.profile.address()) else { return };
        let own = slot == self.own;
        // Rate-limited like a warning, and carried as an action of its own, so that the node can act on it.
        let mut limited = Out::new();
        self.warn(now, if own { "own name" } else { "name" }, String::new, &mut limited);
        if limited.drain_actions().next().is_some() {
            out.push(Action::Conflict { name: claim.name.into(), known, other: claim.address(), own });
        }
    }

    /// Somebody got no answer, nor did these others (as in [`Message::Suspect`]).
    pub(crate) fn on_suspect(&mut self, now: Time, name: &str, incarnation: u64, accuser: &str, others: &[u8]) {
        let Some((slot, state, known)) = self.accused(now, name, incarnation) else { return };
        if !state.is_up() {
            return self.raise_dead(now, slot, state, known, incarnation);
        }
        if incarnation > known {
            self.members.update(slot, |entry| entry.incarnation = incarnation);
        }
        // Who is accused under a newer incarnation has objected to the older accusation, though that was missed here: all
        // the time before that, and all who agreed, count no more.
        let agrees = state == State::Suspect && incarnation == known;
        let mut news = !agrees;
        if agrees {
            news |= self.suspicions.confirm(slot, table::hash(accuser));
        } else {
            self.members.update(slot, |entry| (entry.state, entry.since) = (State::Suspect, now));
            let small_pools_wait = self.flaws.has(Flaw::ConfirmationsInSmallPools);
            let alone = accuser == self.profile.name();
            let accuser = (table::hash(accuser), alone, !self.flaws.has(Flaw::SuspectNotAskedAgain));
            self.suspicions.start(
                &self.config,
                small_pools_wait,
                slot,
                accuser,
                self.members.up(),
                self.doubt.clock(now),
            );
        }
        for other in others.chunks_exact(8) {
            news |= self.suspicions.confirm(slot, u64::from_le_bytes(other.try_into().unwrap_or_default()));
        }
        if !news {
            return;
        }
        // All accusers in one message: it takes the place of the one before, which may not have been sent at all yet.
        let first = table::hash(accuser);
        let all =
            self.suspicions.accusers(slot).iter().filter(|hash| **hash != first).flat_map(|hash| hash.to_le_bytes());
        let others: heapless::Vec<u8, { 8 * MAX_ACCUSERS }> = all.collect();
        let message = Message::Suspect { name, incarnation, accuser, others: &others };
        if agrees {
            self.tell_confirmation(now, table::hash(name), &message);
        } else {
            self.tell(now, table::hash(name), &message);
        }
    }

    /// Asks some whether they know of an objection ([`Message::Suspect`] without an accuser), or tells them once more, and
    /// asks the suspect itself by a ping that tells it. Its ack brings the objection along.
    pub(crate) fn recheck(&mut self, recheck: Recheck, out: &mut Out<Action>) {
        if self.flaws.has(Flaw::NoBuddy) {
            return;
        }
        let slot = recheck.slot;
        let Some(entry) = self.members.entry(slot).filter(|entry| entry.state == State::Suspect) else { return };
        let (target, incarnation, own) = (Arc::clone(&entry.profile), entry.incarnation, Arc::clone(&self.profile));
        let (up, several) = (self.members.up() as u64, self.config.indirect_probes as usize);
        if recheck.asks_it || (recheck.all_ask && self.rng.below(up.max(1)) < ASK_IT) {
            let suspect = Message::Suspect { name: target.name(), incarnation, accuser: own.name(), others: &[] };
            let seq = self.probing.number();
            self.send(target.address(), &[suspect, Message::Ping { seq, target: target.name() }], out);
        }
        let others = self.pick(if recheck.all_ask { several.min(ASK_OTHERS) } else { several }, |at, entry, swim| {
            at != swim.own && at != slot && entry.state == State::Alive
        });
        for other in others {
            let accuser = if recheck.own { own.name() } else { "" };
            let message = Message::Suspect { name: target.name(), incarnation, accuser, others: &[] };
            self.send(other.address(), &[message], out);
        }
    }

    /// A suspicion ran out here.
    pub(crate) fn verdict(&mut self, now: Time, slot: u32, out: &mut Out<Action>) {
        let Some(entry) = self.members.entry(slot) else { return };
        if entry.state != State::Suspect {
            return;
        }
        let (profile, incarnation) = (Arc::clone(&entry.profile), entry.incarnation);
        let own = Arc::clone(&self.profile);
        self.stats.verdicts += 1;
        self.on_failed(now, profile.name(), incarnation, own.name(), out);
    }

    /// Somebody's suspicion ran out.
    pub(crate) fn on_failed(&mut self, now: Time, name: &str, incarnation: u64, accuser: &str, out: &mut Out<Action>) {
        let Some((slot, state, known)) = self.accused(now, name, incarnation) else { return };
        if !state.is_up() {
            return self.raise_dead(now, slot, state, known, incarnation);
        }
        self.go(now, slot, State::Failed, incarnation, MemberEvent::Failed, out);
        if !self.flaws.has(Flaw::SilentVerdict) {
            self.tell(now, table::hash(name), &Message::Failed { name, incarnation, accuser });
        }
    }

    /// It said goodbye, or somebody said so for it.
    pub(crate) fn on_left(&mut self, now: Time, name: &str, incarnation: u64, prune: bool, out: &mut Out<Action>) {
        let Some((slot, state, known)) = self.accused(now, name, incarnation) else { return };
        if state == State::Left || (state == State::Failed && self.flaws.has(Flaw::FailedBeatsLeft)) {
            self.raise_dead(now, slot, state, known, incarnation);
            if !prune {
                return;
            }
        } else {
            self.go(now, slot, State::Left, incarnation, MemberEvent::Left, out);
        }
        self.tell(now, table::hash(name), &Message::Left { name, incarnation, prune });
        if prune {
            self.bury(slot, now, out);
        }
    }

    /// Says of a failed member that it left.
    pub(crate) fn force_leave(&mut self, now: Time, name: &str, prune: bool, out: &mut Out<Action>) {
        let Some(entry) = self.members.get(name) else { return };
        // One that answers would object at once; one under suspicion may be gone for good.
        if entry.state != State::Alive && name != self.profile.name() {
            self.on_left(now, name, entry.incarnation, prune, out);
        }
    }

    /// Whom an accusation is about, if it is news; the own member objects.
    fn accused(&mut self, now: Time, name: &str, incarnation: u64) -> Option<(u32, State, u64)> {
        if incarnation > wire::MAX_ACCUSED {
            self.stats.dropped_incarnation += 1;
            return None;
        }
        let slot = self.members.slot_of(name)?;
        let entry = self.members.entry(slot)?;
        let (state, known) = (entry.state, entry.incarnation);
        if slot != self.own {
            return (incarnation >= known).then_some((slot, state, known));
        }
        if self.life == Life::Running
            && (incarnation >= known || self.flaws.has(Flaw::RefuteEach))
            && !self.flaws.has(Flaw::ClockDecides)
        {
            self.stats.refutations += 1;
            if self.config.lifeguard.probe {
                // Others wait longer for us than they should have to.
                self.awareness.change(1);
            }
            self.raise(now, incarnation);
        }
        None
    }

    /// More is said against one that is gone already: it must object to all of it.
    fn raise_dead(&mut self, now: Time, slot: u32, state: State, known: u64, incarnation: u64) {
        if incarnation <= known || self.flaws.has(Flaw::DeadKeepsIncarnation) {
            return;
        }
        self.members.update(slot, |entry| entry.incarnation = incarnation);
        let Some(profile) = self.members.entry(slot).map(|entry| Arc::clone(&entry.profile)) else { return };
        let (name, own) = (profile.name(), Arc::clone(&self.profile));
        let message = match state {
            State::Left => Message::Left { name, incarnation, prune: false },
            _ => Message::Failed { name, incarnation, accuser: own.name() },
        };
        self.tell(now, table::hash(name), &message);
    }

    fn go(&mut self, now: Time, slot: u32, state: State, incarnation: u64, what: MemberEvent, out: &mut Out<Action>) {
        self.suspicions.end(slot);
        self.members.update(slot, |entry| {
            (entry.state, entry.since, entry.incarnation) = (state, now, incarnation);
        });
        if let Some(profile) = self.members.entry(slot).map(|entry| Arc::clone(&entry.profile)) {
            self.expire_at(slot, now + self.tombstone(state, &profile));
            out.push(Action::Member { what, profile });
        }
    }

    /// Takes in what another member's table says of one who is gone.
    pub(crate) fn on_gone_row(&mut self, now: Time, claim: &Claim<'_>, state: State, age: u32, out: &mut Out<Action>) {
        let incarnation = claim.incarnation;
        if incarnation > wire::MAX_ACCUSED || !claim.is_named() {
            self.stats.dropped_malformed += 1;
            return;
        }
        if self.flaws.has(Flaw::NotToldOfDeath) && claim.name == self.profile.name() {
            return;
        }
        let age = core::time::Duration::from_secs(age.into());
        let known = self.members.slot_of(claim.name).is_some();
        if !known && claim.name != self.profile.name() {
            let old = self.buried(claim.name).is_some_and(|buried| incarnation <= buried);
            let Ok(profile) = claim.profile() else { return };
            let left = self.tombstone(state, &profile).saturating_sub(age);
            if old || left.is_zero() || self.strange(claim).is_some() {
                return;
            }
            self.unbury(claim.name);
            let profile = Arc::new(profile);
            let entry = Entry { profile: Arc::clone(&profile), incarnation, since: now, state };
            let slot = self.members.insert(entry);
            self.expire_at(slot, now + left);
            let what = if state == State::Left { MemberEvent::Left } else { MemberEvent::Failed };
            return out.push(Action::Member { what, profile });
        }
        if state == State::Left {
            return self.on_left(now, claim.name, incarnation, false, out);
        }
        if self.flaws.has(Flaw::TableKills) {
            return self.on_failed(now, claim.name, incarnation, claim.name, out);
        }
        // A table may be that of a minority that lost sight of everybody: its verdicts are suspicions here, and the
        // accused is told at once.
        let up = self.members.get(claim.name).is_some_and(|m| m.state.is_up() && m.incarnation <= incarnation);
        let own = Arc::clone(&self.profile);
        self.on_suspect(now, claim.name, incarnation, own.name(), &[]);
        if up && claim.name != own.name() {
            self.tell_dead(claim, State::Failed, incarnation, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;
    use core::net::{Ipv4Addr, SocketAddr};
    use core::time::Duration;

    use convoke_kit::Machine as _;

    use super::*;
    use crate::config::Config;
    use crate::swim::Boot;
    use crate::table::{Members, Profile};
    use crate::tags::Tags;

    const AT: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8301);

    /// A member among a hundred that it knows, which hears what these tests hand it behind its back.
    fn swim() -> Swim {
        let lifeguard = crate::Lifeguard { doubt: false, ..crate::Lifeguard::ALL };
        let config = Config { lifeguard, ..Config::lan() };
        let profile = |n: usize| Profile::new(&format!("n{n}"), AT, &Tags::default(), config.versions);
        Swim::new(Boot {
            name: "n0".into(),
            address: AT,
            tags: Tags::default(),
            incarnation: 1,
            keyring: crate::Keyring::default(),
            members: Members::of((0..100).map(|n| (profile(n), 1))),
            config,
            seed: 1,
            flaw: None,
        })
    }

    #[test]
    fn an_accusation_of_a_newer_incarnation_begins_anew() {
        let (mut swim, mut out) = (swim(), Out::new());
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        swim.on_suspect(at(0), "n1", 1, "n2", &[]);
        assert_eq!(swim.suspicions.deadline(), Some(at(24)), "it asks at half of 48 seconds");
        // It objected, and that was missed here. Now two others suspect it again.
        swim.on_suspect(at(20), "n1", 2, "n3", &[]);
        swim.on_suspect(at(20), "n1", 2, "n4", &[]);
        swim.handle_timeout(at(20), &mut out);
        assert_eq!(swim.members().get("n1").map(|n1| n1.state), Some(State::Suspect), "not at once");
        swim.on_suspect(at(21), "n1", 2, "n5", &[]);
        assert_eq!(swim.suspicions.deadline(), Some(at(28)), "eight seconds after the first of three");
        swim.on_suspect(at(22), "n1", 1, "n6", &[]);
        assert_eq!(swim.suspicions.deadline(), Some(at(28)), "what is old does not count");
    }

    #[test]
    fn accusers_travel_together_and_count_once_each() {
        let mut swim = swim();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let hashes =
            |names: &[&str]| names.iter().flat_map(|name| table::hash(name).to_le_bytes()).collect::<Vec<u8>>();
        swim.on_suspect(at(0), "n1", 1, "n2", &hashes(&["n2"]));
        assert_eq!(swim.suspicions.accusers(1).len(), 1);
        swim.on_suspect(at(1), "n1", 1, "n2", &hashes(&["n3", "n4"]));
        assert_eq!((swim.suspicions.accusers(1).len(), swim.suspicions.deadline()), (3, Some(at(8))));
        let mut packet = Vec::new();
        swim.broadcasts.fill(&mut packet, 1400, 1);
        let piece = wire::Pieces(&packet).next().flatten().unwrap();
        let Ok(Message::Suspect { others, .. }) = postcard::from_bytes(piece) else { panic!("an accusation") };
        assert_eq!(others, hashes(&["n3", "n4"]), "all are told");
        // Nonsense is cut off.
        swim.on_suspect(at(2), "n5", 1, "n2", &[1; 999]);
        assert_eq!(swim.suspicions.accusers(5).len(), 2);
    }

    #[test]
    fn silence_accuses_only_the_incarnation_that_was_asked_after() {
        let (mut swim, mut out) = (swim(), Out::new());
        let mut ask = |swim: &mut Swim| {
            let at = swim.probing.deadline(false).map_or(Time::ZERO, |deadline| deadline.at);
            swim.handle_timeout(at, &mut out);
            (at, String::from(swim.probing()[0]))
        };
        swim.handle_timeout(Time::ZERO, &mut Out::new());
        let (now, asked) = ask(&mut swim);
        let profile = swim.members().get(&asked).map(|member| Arc::clone(member.profile)).unwrap();
        swim.on_alive(now, &Claim::of(&profile, 2), &mut Out::new());
        // Helpers, and the next probe.
        let (_, next) = (ask(&mut swim), ask(&mut swim).1);
        assert_ne!(next, asked);
        assert_eq!(swim.members().get(&asked).map(|member| member.state), Some(State::Alive));
        // The next one says nothing at all.
        let _ = (ask(&mut swim), ask(&mut swim));
        assert_eq!(swim.members().get(&next).map(|member| member.state), Some(State::Suspect));
    }
}
