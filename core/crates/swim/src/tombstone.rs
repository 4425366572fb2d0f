//! Who is gone: how long that is remembered, and that old news do not bring anybody back.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::time::Duration;

use convoke_kit::{Out, Time};

use crate::event::{Action, MemberEvent};
use crate::flaw::Flaw;
use crate::swim::Swim;
use crate::table::Entry;

/// Forgotten members whose last incarnation is remembered.
const MAX_GRAVES: usize = 4096;

/// The failed and those that left, until they are forgotten; then their incarnations, for a while.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    expiries: BTreeMap<u32, Time>,
    expire: BTreeSet<(Time, u32)>,
    graves: BTreeMap<String, (u64, Time)>,
}

impl Tombstones {
    pub(crate) fn len(&self) -> usize {
        self.expiries.len() + self.graves.len()
    }

    /// When the next is forgotten.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.expire.first().map(|(at, _)| *at)
    }
}

impl Swim {
    pub(crate) fn expire_at(&mut self, slot: u32, at: Time) {
        self.spare(slot);
        self.tombstones.expiries.insert(slot, at);
        self.tombstones.expire.insert((at, slot));
    }

    /// It is back, or forgotten.
    pub(crate) fn spare(&mut self, slot: u32) {
        if let Some(at) = self.tombstones.expiries.remove(&slot) {
            self.tombstones.expire.remove(&(at, slot));
        }
    }

    /// Seconds for which it has been failed or left.
    pub(crate) fn age(&self, slot: u32, entry: &Entry, now: Time) -> u32 {
        let rest = self.tombstones.expiries.get(&slot).map_or(Duration::ZERO, |at| at.since(now));
        u32::try_from(self.tombstone(entry.state, &entry.profile).saturating_sub(rest).as_secs()).unwrap_or(u32::MAX)
    }

    /// Forgets a member, but not its incarnation, so that old news about it do not bring it back.
    pub(crate) fn bury(&mut self, slot: u32, now: Time, out: &mut Out<Action>) {
        self.spare(slot);
        self.suspicions.end(slot);
        if let Some(vivaldi) = &mut self.vivaldi {
            vivaldi.forget(slot);
        }
        let Some(entry) = self.members.remove(slot) else { return };
        if self.tombstones.graves.len() >= MAX_GRAVES && !self.flaws.has(Flaw::NothingForgotten) {
            let oldest =
                self.tombstones.graves.iter().min_by_key(|(_, (_, until))| *until).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                self.tombstones.graves.remove(&oldest);
            }
        }
        let until = now + self.config.reconnect_timeout;
        self.tombstones.graves.insert(String::from(entry.profile.name()), (entry.incarnation, until));
        out.push(Action::Member { what: MemberEvent::Reaped, profile: entry.profile });
    }

    /// The incarnation that news about a forgotten member must exceed.
    pub(crate) fn buried(&self, name: &str) -> Option<u64> {
        self.tombstones.graves.get(name).map(|(incarnation, _)| *incarnation)
    }

    pub(crate) fn unbury(&mut self, name: &str) {
        self.tombstones.graves.remove(name);
    }

    /// Nobody has old news any more.
    pub(crate) fn forget_graves(&mut self, now: Time) {
        if !self.flaws.has(Flaw::NothingForgotten) {
            self.tombstones.graves.retain(|_, (_, until)| *until > now);
        }
    }

    pub(crate) fn reap(&mut self, now: Time, out: &mut Out<Action>) {
        while let Some((at, slot)) = self.tombstones.expire.first().copied() {
            if at > now {
                break;
            }
            self.bury(slot, now, out);
        }
    }
}
