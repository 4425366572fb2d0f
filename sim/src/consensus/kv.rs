//! A state machine: keys with a value and a lock, and each client's commands applied once.

use std::collections::BTreeMap;

use convoke_raft::{Command, Index, Once, Verdict};
use serde::{Deserialize, Serialize};

use crate::consensus::bug::Bug;
use crate::digest::fold;

/// Clients remembered; more than there are.
const CLIENTS: usize = 256;

/// What a client wants of a key. Values and owners are numbers from 1; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// What does it hold?
    Read,
    /// Let it hold this.
    Write(u64),
    /// If it holds the first, let it hold the second.
    Cas(u64, u64),
    /// Lock it for this one, if it is free or his, and let it hold the second.
    Acquire(u64, u64),
    /// Unlock it, if it is his.
    Release(u64),
}

/// What a key holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// 0: nothing.
    pub value: u64,
    /// 0: nobody.
    pub owner: u64,
    /// The entry that changed it last.
    pub index: Index,
}

/// What a client is told: whether it was done, and what the key held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// It was done.
    pub ok: bool,
    /// What was there.
    pub seen: Cell,
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kv {
    /// The last entry applied.
    pub applied: Index,
    cells: BTreeMap<u32, Cell>,
    once: Once,
    /// Of each client: its last command, and what it was told.
    told: BTreeMap<u64, (u64, Told)>,
    /// Of all cells and all that was told; changes with each in constant time.
    hash: u64,
}

impl Default for Kv {
    fn default() -> Self {
        Self { applied: 0, cells: BTreeMap::new(), once: Once::new(CLIENTS), told: BTreeMap::new(), hash: 0 }
    }
}

fn of_cell(key: u32, cell: Cell) -> u64 {
    if cell == Cell::default() {
        0
    } else {
        fold(fold(u64::from(key) + 1, cell.value ^ 0x5bd1), fold(cell.owner ^ 0x77, cell.index ^ 0xabcd))
    }
}

fn of_told(client: u64, serial: u64, told: Told) -> u64 {
    fold(
        fold(client ^ 0x1234_5678, serial ^ 0x9876),
        fold(told.seen.value ^ 0x11, u64::from(told.ok) ^ told.seen.owner << 1 ^ 0xfeed),
    )
}

impl Kv {
    /// Encodes a command's data.
    #[must_use]
    pub fn encode(key: u32, op: Op) -> Vec<u8> {
        postcard::to_allocvec(&(key, op)).unwrap_or_default()
    }

    /// What a key holds.
    #[must_use]
    pub fn get(&self, key: u32) -> Cell {
        self.cells.get(&key).copied().unwrap_or_default()
    }

    /// Equal for equal states.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The keys there are.
    pub fn keys(&self) -> impl Iterator<Item = u32> + '_ {
        self.cells.keys().copied()
    }

    /// An entry that is no command.
    pub fn pass(&mut self, index: Index) {
        self.applied = index;
    }

    /// Applies a command. `None`: nobody waits for an answer to it any more.
    pub fn apply(&mut self, index: Index, command: &Command, server: u128, bug: Option<Bug>) -> Option<(u32, Told)> {
        self.applied = index;
        let Ok((key, op)) = postcard::from_bytes::<(u32, Op)>(command.data.as_slice()) else { return None };
        let again = bug == Some(Bug::AppliedAgain);
        match self.once.judge(command.client, command.serial, index) {
            Verdict::Outdated if !again => return None,
            Verdict::Applied(_) if !again => return self.told.get(&command.client).map(|(_, told)| (key, *told)),
            Verdict::Apply | Verdict::Applied(_) | Verdict::Outdated => {}
        }
        let before = self.get(key);
        let locked_by_other = |owner: u64| before.owner != 0 && before.owner != owner && bug != Some(Bug::LockOfTwo);
        let after = match op {
            Op::Read => Some(before),
            Op::Write(value) => Some(Cell { value, ..before }),
            Op::Cas(from, to) => (before.value == from).then_some(Cell { value: to, ..before }),
            Op::Acquire(owner, _) if locked_by_other(owner) => None,
            Op::Acquire(owner, value) => Some(Cell { owner, value, ..before }),
            Op::Release(owner) => (before.owner == owner).then_some(Cell { owner: 0, ..before }),
        };
        let told = Told { ok: after.is_some(), seen: before };
        if let Some(after) = after
            && op != Op::Read
        {
            let mut after = Cell { index, ..after };
            if bug == Some(Bug::ServersDiffer) && server == 2 && index.is_multiple_of(97) {
                after.value = 0;
            }
            self.hash ^= of_cell(key, before) ^ of_cell(key, after);
            self.cells.insert(key, after);
        }
        if let Some((serial, old)) = self.told.insert(command.client, (command.serial, told)) {
            self.hash ^= of_told(command.client, serial, old);
        }
        self.hash ^= of_told(command.client, command.serial, told);
        Some((key, told))
    }

    /// All of it.
    #[must_use]
    pub fn export(&self, bug: Option<Bug>) -> Vec<u8> {
        if bug == Some(Bug::OnceNotInSnapshot) {
            let forgetful = Self { once: Once::new(CLIENTS), ..self.clone() };
            return postcard::to_allocvec(&forgetful).unwrap_or_default();
        }
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// What [`Kv::export`] gave; `None` if it is something else.
    #[must_use]
    pub fn import(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// The planted bug [`Bug::InstallMerges`].
    pub(super) fn merge(&mut self, other: Self) {
        let mut merged = other;
        for (key, cell) in &self.cells {
            if !merged.cells.contains_key(key) || merged.get(*key).index < cell.index {
                merged.hash ^= of_cell(*key, merged.get(*key)) ^ of_cell(*key, *cell);
                merged.cells.insert(*key, *cell);
            }
        }
        // It keeps what was told to those that it knows.
        for (client, (serial, told)) in &self.told {
            if let Some((new, old)) = merged.told.insert(*client, (*serial, *told)) {
                merged.hash ^= of_told(*client, new, old);
            }
            merged.hash ^= of_told(*client, *serial, *told);
        }
        *self = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(serial: u64, op: Op) -> Command {
        Command { client: 1, serial, data: Kv::encode(7, op).into() }
    }

    #[test]
    fn commands_are_applied_once_and_their_answers_given_again() {
        let mut kv = Kv::default();
        let (_, told) = kv.apply(1, &command(1, Op::Cas(0, 5)), 1, None).unwrap();
        assert!(told.ok && told.seen.value == 0);
        let again = kv.apply(2, &command(1, Op::Cas(0, 5)), 1, None).unwrap().1;
        assert_eq!(again, told);
        assert_eq!((kv.get(7).value, kv.get(7).index), (5, 1));
        assert!(!kv.apply(3, &command(2, Op::Cas(0, 6)), 1, None).unwrap().1.ok);
        assert!(kv.apply(4, &command(1, Op::Write(9)), 1, None).is_none());
    }

    #[test]
    fn the_hash_is_of_the_state_and_not_of_the_way_to_it() {
        let mut kv = Kv::default();
        kv.apply(1, &command(1, Op::Write(5)), 1, None);
        kv.apply(2, &command(2, Op::Acquire(3, 6)), 1, None);
        let copy = Kv::import(&kv.export(None)).unwrap();
        assert_eq!((copy.hash(), &copy), (kv.hash(), &kv));
        let mut other = copy.clone();
        other.apply(3, &command(3, Op::Release(3)), 1, None);
        assert_ne!(other.hash(), kv.hash());
    }
}
