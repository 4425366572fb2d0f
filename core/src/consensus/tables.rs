//! The state machine behind the log: the tables, and which commands of whom they have applied already.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use convoke_catalog::{Applied, Catalog, Command, Reply, View};
use convoke_raft::{Index, Once, Verdict};
use serde::{Deserialize, Serialize};

/// Clients whose last command is remembered. One that was silent while so many others had a command applied is
/// forgotten: a retry of its last one, seconds later at most, would have to be that late to be applied again.
const CLIENTS: usize = 1 << 16;

/// Everything that the log makes, and nothing else: the same on all servers at the same index.
#[derive(Clone, Debug)]
pub struct Tables {
    /// What users see.
    pub catalog: Catalog,
    once: Once,
    /// What the last command of each remembered client was answered, and its entry.
    answers: BTreeMap<u64, (Index, Reply)>,
    /// The same by entry.
    order: BTreeSet<(Index, u64)>,
}

/// As it is in a snapshot.
#[derive(Serialize, Deserialize)]
struct Export {
    once: Once,
    answers: Vec<(u64, Index, Reply)>,
    catalog: convoke_catalog::Snapshot,
}

/// The tables at one moment.
#[derive(Clone, Debug)]
pub struct Frozen {
    once: Once,
    answers: Vec<(u64, Index, Reply)>,
    view: View,
}

impl Frozen {
    /// As bytes, for a snapshot. Takes as long as it takes: some hundred nanoseconds a row.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let export = Export { once: self.once, answers: self.answers, catalog: self.view.export() };
        // Rows always encode; an empty snapshot would be refused at the next start rather than lose anything.
        postcard::to_allocvec(&export).unwrap_or_default()
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self { catalog: Catalog::default(), once: Once::new(CLIENTS), answers: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl Tables {
    /// Applies the command of entry `index`. Client 0 never retries, and nothing is remembered of it. `None`: the client has
    /// gone on since, and waits for no answer.
    pub fn apply(&mut self, index: Index, client: u64, serial: u64, command: Command) -> Option<Applied> {
        if client == 0 {
            return Some(self.catalog.apply(index, command));
        }
        match self.once.judge(client, serial, index) {
            Verdict::Apply => {}
            Verdict::Applied(_) => {
                let reply = self.answers.get(&client).map_or(Reply::Done, |(_, reply)| reply.clone());
                return Some(Applied { reply, changes: convoke_catalog::Changes::default() });
            }
            Verdict::Outdated => return None,
        }
        let applied = self.catalog.apply(index, command);
        if let Some((before, _)) = self.answers.insert(client, (index, applied.reply.clone())) {
            self.order.remove(&(before, client));
        }
        self.order.insert((index, client));
        // Whom `once` forgets is the one whose last entry is the oldest, here as there.
        if self.answers.len() > CLIENTS
            && let Some((_, client)) = self.order.pop_first()
        {
            self.answers.remove(&client);
        }
        Some(applied)
    }

    /// All of it, for a snapshot.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        self.freeze().encode()
    }

    /// All of it as it is now, to be encoded elsewhere. Copies what is remembered of clients, and no row.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let answers = self.answers.iter().map(|(client, (index, reply))| (*client, *index, reply.clone())).collect();
        Frozen { once: self.once.clone(), answers, view: self.catalog.view() }
    }

    /// From a snapshot.
    ///
    /// # Errors
    ///
    /// A text when it does not decode, or its rows contradict each other.
    pub fn import(bytes: &[u8]) -> Result<Self, String> {
        let export: Export =
            postcard::from_bytes(bytes).map_err(|_| "its tables are of another version, or damaged".to_string())?;
        let catalog = Catalog::import(export.catalog).map_err(|error| error.to_string())?;
        let order = export.answers.iter().map(|(client, index, _)| (*index, *client)).collect();
        let answers = export.answers.into_iter().map(|(client, index, reply)| (client, (index, reply))).collect();
        Ok(Self { catalog, once: export.once, answers, order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_catalog::command::KvSet;

    fn cas(key: &str, at: u64) -> Command {
        let value = b"v"[..].into();
        Command::KvSet(KvSet { tenancy: Default::default(), key: key.into(), value, flags: 0, cas: Some(at) })
    }

    #[test]
    fn a_retry_gets_the_first_answer_again_also_from_a_snapshot() {
        let mut tables = Tables::default();
        assert_eq!(tables.apply(1, 7, 1, cas("a", 0)).unwrap().reply, Reply::Bool(true));
        let mut copy = Tables::import(&tables.export()).unwrap();
        for tables in [&mut tables, &mut copy] {
            assert_eq!(tables.apply(2, 7, 1, cas("a", 0)).unwrap().reply, Reply::Bool(true), "applied once");
            assert_eq!(tables.apply(3, 8, 1, cas("a", 0)).unwrap().reply, Reply::Bool(false), "another client's");
            assert_eq!(tables.apply(4, 7, 2, cas("a", 0)).unwrap().reply, Reply::Bool(false));
            assert!(tables.apply(5, 7, 1, cas("a", 0)).is_none(), "it has gone on");
            assert_eq!(tables.apply(6, 0, 0, cas("b", 0)).unwrap().reply, Reply::Bool(true));
            assert_eq!(tables.apply(7, 0, 0, cas("b", 0)).unwrap().reply, Reply::Bool(false), "nobody's retry");
        }
        assert_eq!(tables.export(), copy.export());
        assert!(Tables::import(b"rubbish").is_err());
    }
}
