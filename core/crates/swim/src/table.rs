//! Who is known: a persistent table, cloned in O(n / 64), with its pieces shared until they change.
//!
//! Readers on other threads hold a clone; and ten thousand simulated members that agree share one copy.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use convoke_kit::Time;
use hashbrown::HashTable;

use crate::config::Versions;
use crate::tags::{Tags, TagsRef};

/// Entries of a piece.
const CHUNK: usize = 64;
/// Parts of the digest.
pub const BUCKETS: usize = 64;

/// What a member says of itself. Name and tags stand in one piece of memory: there may be many members.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name, then the tags.
    text: Box<[u8]>,
    ip: IpAddr,
    port: u16,
    /// Bytes of the name.
    name: u16,
    versions: Versions,
}

impl Profile {
    /// Of these parts. A name of more than 65,535 bytes is cut off there; nobody takes in one of more than 256.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, tags: &Tags, versions: Versions) -> Self {
        let name = name.get(..name.floor_char_boundary(u16::MAX.into())).unwrap_or_default();
        let text = [name.as_bytes(), tags.as_wire()].concat().into();
        Self { text, ip: address.ip(), port: address.port(), name: name.len() as u16, versions }
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.text.split_at_checked(self.name.into()).unwrap_or_default()
    }

    /// Unique in the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        str::from_utf8(self.parts().0).unwrap_or_default()
    }

    /// The name is this one.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.parts().0 == name.as_bytes()
    }

    /// [`hash`] of the name.
    fn hash(&self) -> u64 {
        hash_bytes(self.parts().0)
    }

    /// Where it takes packets and streams.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Its tags.
    #[must_use]
    pub fn tags(&self) -> TagsRef<'_> {
        TagsRef::of(self.parts().1)
    }

    /// Envelope versions it speaks.
    #[must_use]
    pub const fn versions(&self) -> Versions {
        self.versions
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} {:?} {:?}", self.name(), self.address(), self.versions, self.tags())
    }
}

/// What is believed of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It answers.
    Alive,
    /// It did not answer; it has time to object. For users it is alive.
    Suspect,
    /// Nobody heard from it in time.
    Failed,
    /// It said goodbye, or somebody said so for it.
    Left,
}

impl State {
    /// It takes part.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    /// As users and Serf count: 1 alive, 3 left, 4 failed.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Alive | Self::Suspect => 1,
            Self::Left => 3,
            Self::Failed => 4,
        }
    }
}

/// An entry of the table. At most 32 bytes; what is long stands in the shared profile.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) profile: Arc<Profile>,
    pub(crate) incarnation: u64,
    /// When `state` began.
    pub(crate) since: Time,
    pub(crate) state: State,
}

/// A member as readers see it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What it says of itself.
    pub profile: &'a Arc<Profile>,
    /// What is believed of it.
    pub state: State,
    /// The number that only it may raise.
    pub incarnation: u64,
    /// When `state` began, in the time of the machine.
    pub since: Time,
}

#[derive(Clone, Debug)]
struct Chunk([Option<Entry>; CHUNK]);

/// All members that are known, the failed and those that left included.
#[derive(Clone, Debug)]
pub struct Members {
    chunks: Vec<Arc<Chunk>>,
    /// Slots by name; holds slots only, names are looked up in the chunks.
    index: Arc<HashTable<u32>>,
    /// Vacant slots below `slots`.
    free: Vec<u32>,
    /// Slots used so far.
    slots: u32,
    up: u32,
    failed: u32,
    /// Of who is known in which incarnation and state, independent of order; suspects count as alive.
    digests: Box<[u64; BUCKETS]>,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            index: Arc::default(),
            free: Vec::new(),
            slots: 0,
            up: 0,
            failed: 0,
            digests: Box::new([0; BUCKETS]),
        }
    }
}

impl Members {
    /// Members that are all alive, each with its incarnation; of two with one name the first counts. For simulations
    /// and tests that start in the middle: clones share it.
    #[must_use]
    pub fn of(alive: impl IntoIterator<Item = (Profile, u64)>) -> Self {
        let mut members = Self::default();
        for (profile, incarnation) in alive {
            if members.slot_of(profile.name()).is_none() {
                let profile = Arc::new(profile);
                members.insert(Entry { profile, incarnation, since: Time::ZERO, state: State::Alive });
            }
        }
        members
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many take part (alive and suspect).
    #[must_use]
    pub const fn up(&self) -> usize {
        self.up as usize
    }

    /// How many are failed.
    #[must_use]
    pub const fn failed(&self) -> usize {
        self.failed as usize
    }

    /// All, in no particular but a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        self.chunks.iter().flat_map(|chunk| chunk.0.iter().flatten()).map(Entry::as_member)
    }

    /// One by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Member<'_>> {
        self.entry(self.slot_of(name)?).map(Entry::as_member)
    }

    /// Of who is known in which incarnation and state, suspects as alive: equal for equal views.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digests.iter().fold(0, |all, part| mix(all ^ part))
    }

    /// Slots in use are below this.
    pub(crate) const fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn slot_of(&self, name: &str) -> Option<u32> {
        self.index.find(hash(name), |slot| self.entry(*slot).is_some_and(|e| e.profile.is(name))).copied()
    }

    pub(crate) fn entry(&self, slot: u32) -> Option<&Entry> {
        self.chunks.get(slot as usize / CHUNK)?.0.get(slot as usize % CHUNK)?.as_ref()
    }

    pub(crate) fn digests(&self) -> &[u64; BUCKETS] {
        &self.digests
    }

    /// All of one part of the digest, with their slots.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.0.iter());
        (0_u32..).zip(entries).filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// Adds one whose name is not known yet.
    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        debug_assert!(self.slot_of(entry.profile.name()).is_none(), "inserted twice: {}", entry.profile.name());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        if slot as usize / CHUNK >= self.chunks.len() {
            self.chunks.push(Arc::new(Chunk([const { None }; CHUNK])));
        }
        let key = entry.profile.hash();
        self.account(&entry, true);
        if let Some(chunk) = self.chunks.get_mut(slot as usize / CHUNK) {
            Arc::make_mut(chunk).0[slot as usize % CHUNK] = Some(entry);
        }
        let chunks = &self.chunks;
        Arc::make_mut(&mut self.index).insert_unique(key, slot, |slot| {
            let entry = chunks.get(*slot as usize / CHUNK).and_then(|chunk| chunk.0[*slot as usize % CHUNK].as_ref());
            entry.map_or(0, |entry| entry.profile.hash())
        });
        slot
    }

    /// Changes one; its name must stay.
    pub(crate) fn update(&mut self, slot: u32, change: impl FnOnce(&mut Entry)) {
        let Some(old) = self.entry(slot).cloned() else { return };
        self.account(&old, false);
        let Some(chunk) = self.chunks.get_mut(slot as usize / CHUNK) else { return };
        let entry = Arc::make_mut(chunk).0[slot as usize % CHUNK].get_or_insert(old);
        change(entry);
        let new = entry.clone();
        self.account(&new, true);
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let key = self.entry(slot)?.profile.hash();
        if let Ok(found) = Arc::make_mut(&mut self.index).find_entry(key, |at| *at == slot) {
            found.remove();
        }
        let entry = Arc::make_mut(self.chunks.get_mut(slot as usize / CHUNK)?).0[slot as usize % CHUNK].take()?;
        self.account(&entry, false);
        self.free.push(slot);
        Some(entry)
    }

    fn account(&mut self, entry: &Entry, add: bool) {
        let by = if add { 1_u32 } else { u32::MAX };
        if entry.state.is_up() {
            self.up = self.up.wrapping_add(by);
        }
        if entry.state == State::Failed {
            self.failed = self.failed.wrapping_add(by);
        }
        let name = entry.profile.hash();
        self.digests[bucket(name)] ^= fingerprint(name, entry.incarnation, entry.state);
    }
}

impl Entry {
    const fn as_member(&self) -> Member<'_> {
        Member { profile: &self.profile, state: self.state, incarnation: self.incarnation, since: self.since }
    }
}

/// Part of the digest that a name (by its hash) belongs to.
pub(crate) const fn bucket(name: u64) -> usize {
    (name >> 58) as usize
}

/// The same at every member and in every version: it travels in digests.
pub(crate) fn hash(name: &str) -> u64 {
    hash_bytes(name.as_bytes())
}

fn hash_bytes(name: &[u8]) -> u64 {
    // FNV-1a, finished as splitmix64 does, so that all bits depend on all bytes.
    let fnv = name.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    mix(fnv)
}

fn fingerprint(name: u64, incarnation: u64, state: State) -> u64 {
    let rank = match state {
        State::Alive | State::Suspect => 1,
        State::Failed => 2,
        State::Left => 3,
    };
    mix(name ^ mix(incarnation.wrapping_mul(4).wrapping_add(rank)))
}

const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::String;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn entry(name: &str, incarnation: u64, state: State) -> Entry {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8301);
        let profile = Arc::new(Profile::new(name, address, &Tags::default(), Versions::OURS));
        Entry { profile, incarnation, since: Time::ZERO, state }
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Option<Entry>>(), 32);
        assert_eq!(size_of::<Profile>(), 40);
    }

    #[test]
    fn clones_do_not_see_what_comes_later() {
        let mut members = Members::default();
        let slot = members.insert(entry("a", 1, State::Alive));
        let old = members.clone();
        members.update(slot, |e| e.state = State::Failed);
        members.insert(entry("b", 1, State::Left));
        assert_eq!((old.len(), old.up(), old.failed()), (1, 1, 0));
        assert_eq!((members.len(), members.up(), members.failed()), (2, 0, 1));
        assert_eq!(old.get("a").unwrap().state, State::Alive);
        assert!(old.get("b").is_none());
    }

    #[test]
    fn suspicion_does_not_move_the_digest_and_order_does_not_matter() {
        let (mut x, mut y) = (Members::default(), Members::default());
        for n in 0..200 {
            x.insert(entry(&format!("n{n}"), n, State::Alive));
            y.insert(entry(&format!("n{}", 199 - n), 199 - n, State::Alive));
        }
        assert_eq!(x.digests(), y.digests());
        let slot = x.slot_of("n7").unwrap();
        x.update(slot, |e| e.state = State::Suspect);
        assert_eq!(x.digests(), y.digests());
        x.update(slot, |e| e.state = State::Failed);
        assert_ne!(x.digests(), y.digests());
    }

    proptest! {
        /// Against a map: whatever is put in, changed and taken out, the same is known and found.
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0_u8..4, 0_u8..90, 0_u64..9), 0..400)) {
            let mut members = Members::default();
            let mut model: BTreeMap<String, (u64, State)> = BTreeMap::new();
            for (op, name, incarnation) in ops {
                let name = format!("node-{name}");
                let state = [State::Alive, State::Suspect, State::Failed, State::Left][usize::from(op)];
                match members.slot_of(&name) {
                    None => {
                        members.insert(entry(&name, incarnation, state));
                        model.insert(name, (incarnation, state));
                    }
                    Some(slot) if op == 0 => {
                        members.remove(slot);
                        model.remove(&name);
                    }
                    Some(slot) => {
                        members.update(slot, |e| (e.incarnation, e.state) = (incarnation, state));
                        model.insert(name, (incarnation, state));
                    }
                }
            }
            prop_assert_eq!(members.len(), model.len());
            prop_assert_eq!(members.up(), model.values().filter(|(_, s)| s.is_up()).count());
            prop_assert_eq!(members.failed(), model.values().filter(|(_, s)| *s == State::Failed).count());
            let seen: BTreeMap<_, _> =
                members.iter().map(|m| (String::from(m.profile.name()), (m.incarnation, m.state))).collect();
            prop_assert_eq!(&seen, &model);
            let mut fresh = Members::default();
            for (name, (incarnation, state)) in &model {
                fresh.insert(entry(name, *incarnation, *state));
                prop_assert_eq!(members.get(name).unwrap().incarnation, *incarnation);
            }
            prop_assert_eq!(fresh.digests(), members.digests());
        }
    }
}
