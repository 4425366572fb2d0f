//! User events: each once at every member, ordered by Lamport time (Lamport 1978).

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use convoke_kit::{Out, Time};

use crate::event::{Action, UserEvent};
use crate::swim::Swim;
use crate::wire::{self, Message, Pieces, Rumour};

/// Newest events that members compare, to find those that one of them missed.
const COMPARED: usize = 128;

/// Events seen, so that each is delivered once.
#[derive(Debug, Default)]
pub(crate) struct Rumours {
    clock: u64,
    /// Nothing below this is delivered: it is older than what is remembered, or than this member.
    floor: u64,
    /// In order of arrival, with their hashes.
    seen: VecDeque<(u64, UserEvent)>,
}

impl Rumours {
    pub(crate) const fn clock(&self) -> u64 {
        self.clock
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Hashes of the newest events.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.seen.iter().rev().take(COMPARED).flat_map(|(hash, _)| (*hash as u32).to_le_bytes()).collect()
    }

    /// The newest events that are not in this list.
    pub(crate) fn missing(&self, heard: &[u8]) -> Vec<u8> {
        let heard: BTreeSet<[u8; 4]> = heard.chunks_exact(4).filter_map(|hash| hash.try_into().ok()).collect();
        let mut bytes = Vec::new();
        for (hash, event) in self.seen.iter().rev().take(COMPARED) {
            if !heard.contains(&(*hash as u32).to_le_bytes()) {
                let rumour = Rumour { time: event.time, name: &event.name, payload: &event.payload };
                wire::push(&rumour, &mut bytes);
            }
        }
        bytes
    }

    /// Notes one; false if it was known, or is too old to tell.
    fn note(&mut self, rumour: &Rumour<'_>, buffer: usize) -> bool {
        let hash = hash(rumour);
        if rumour.time < self.floor || self.seen.iter().any(|(known, _)| *known == hash) {
            return false;
        }
        self.clock = self.clock.max(rumour.time);
        let event = UserEvent { time: rumour.time, name: rumour.name.into(), payload: rumour.payload.into() };
        self.seen.push_back((hash, event));
        if self.seen.len() > buffer
            && let Some((_, old)) = self.seen.pop_front()
        {
            self.floor = self.floor.max(old.time + 1);
        }
        true
    }
}

fn hash(rumour: &Rumour<'_>) -> u64 {
    let bytes = rumour.name.bytes().chain([0]).chain(rumour.payload.iter().copied());
    bytes.fold(rumour.time ^ 0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl Swim {
    pub(crate) fn fire(&mut self, now: Time, name: &str, payload: &[u8], out: &mut Out<Action>) {
        if self.leaving() {
            return;
        }
        if name.len() + payload.len() > self.config.event_bytes {
            let most = self.config.event_bytes;
            let text = || {
                let bytes = name.len() + payload.len();
                alloc::format!("user event {name:?} is not sent: it has {bytes} bytes, and {most} fit")
            };
            return self.warn(now, "event size", text, out);
        }
        let rumour = Rumour { time: self.rumours.clock.saturating_add(1), name, payload };
        self.on_rumour(now, &rumour, out);
    }

    pub(crate) fn on_rumour(&mut self, now: Time, rumour: &Rumour<'_>, out: &mut Out<Action>) {
        // Times that nobody reaches by firing events come from a broken peer, and would end all events.
        if rumour.time > wire::MAX_ACCUSED || rumour.name.len() + rumour.payload.len() > self.config.event_bytes {
            self.stats.dropped_malformed += 1;
            return;
        }
        if !self.rumours.note(rumour, self.config.event_buffer) {
            return;
        }
        self.tell(now, hash(rumour), &Message::Rumour(*rumour));
        out.push(Action::UserEvent(UserEvent {
            time: rumour.time,
            name: String::from(rumour.name),
            payload: rumour.payload.into(),
        }));
    }

    /// Takes in what another remembers. A member that just started does not hear of what was before it.
    pub(crate) fn take_rumours(&mut self, now: Time, clock: u64, rumours: &[u8], out: &mut Out<Action>) {
        if clock > wire::MAX_ACCUSED {
            return;
        }
        if self.rumours.clock == 0 {
            self.rumours.floor = self.rumours.floor.max(clock.saturating_add(1));
        } else {
            let mut missed: Vec<Rumour<'_>> =
                Pieces(rumours).flatten().filter_map(|piece| postcard::from_bytes(piece).ok()).collect();
            missed.sort_by_key(|rumour| rumour.time);
            for rumour in missed {
                self.on_rumour(now, &rumour, out);
            }
        }
        self.rumours.clock = self.rumours.clock.max(clock);
    }
}
