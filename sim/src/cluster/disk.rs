//! The disk of an agent: writes become durable one after the other, and a crash leaves any number of them from the front.

use std::collections::{BTreeMap, VecDeque};

use convoke_core::store::{Change, Recovered, Write};
use convoke_kit::Rng;

/// What is durable, and what is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    snapshot: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
    under_way: VecDeque<Write>,
}

impl Disk {
    pub(super) fn take(&mut self, write: Write) {
        self.under_way.push_back(write);
    }

    /// Everything up to this one is durable now.
    pub(super) fn land(&mut self, upto: u64) {
        while self.under_way.front().is_some_and(|write| write.seq <= upto)
            && let Some(write) = self.under_way.pop_front()
        {
            self.write(write.change);
        }
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::Put { path, content } => {
                self.files.insert(path, content);
            }
            Change::Remove { path } => {
                self.files.remove(&path);
            }
            Change::Append { bytes } => self.log.get_or_insert_default().extend_from_slice(&bytes),
            Change::Compact { snapshot, log } => {
                self.snapshot = snapshot.or_else(|| self.snapshot.take());
                self.log = Some(log);
            }
        }
    }

    /// The power goes: some of what was under way landed, of the next one perhaps a part.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let mut left = core::mem::take(&mut self.under_way);
        for _ in 0..rng.index(left.len() + 1) {
            if let Some(write) = left.pop_front() {
                self.write(write.change);
            }
        }
        match left.pop_front().map(|write| write.change) {
            Some(Change::Append { bytes }) => {
                let torn = rng.index(bytes.len() + 1);
                self.log.get_or_insert_default().extend_from_slice(&bytes[..torn]);
            }
            // The snapshot is replaced before the log is.
            Some(Change::Compact { snapshot: Some(snapshot), .. }) if rng.one_in(2) => self.snapshot = Some(snapshot),
            _ => {}
        }
    }

    pub(super) fn recovered(&self) -> Recovered {
        let files = self.files.iter().map(|(path, content)| (path.clone(), content.clone())).collect();
        Recovered { files, snapshot: self.snapshot.clone(), log: self.log.clone(), peers: None }
    }
}
