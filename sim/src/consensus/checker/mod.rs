//! Is there one order of all operations that explains what every client saw, in which each stands between its call and its
//! answer? (Herlihy and Wing, "Linearizability", 1990.)
//!
//! The search is that of Wing and Gong (1993) with the memory of Lowe ("Testing for linearizability", 2016): depth first over
//! which operation comes next, where a set of operations done, with the state they led to, is never tried twice. Each key is
//! judged alone, which is right because linearizability is local (Herlihy and Wing, section 3.3).
//!
//! Two things keep it short:
//!
//! * a read or a refusal that may come next and fits is taken at once: whatever order there is stays one when it is moved to the
//!   front;
//! * an operation without an answer need never be done. If nobody ever saw what it would have written, and everybody who was
//!   refused says what was there, it is left out: an order with it is one without it.
//!
//! * `history`: what is judged. `model`: what an operation does to a key. `brute`: the same question by trying all orders,
//!   for tests.

#[cfg(test)]
mod brute;
mod history;
mod model;
mod search;

use std::collections::BTreeMap;

pub use history::{Answer, BadLine, Record, Seen, Wish, from_lines, to_lines};

/// Steps of the search of one key before it gives up, unless told otherwise: some seconds.
pub const PATIENCE: u64 = 5_000_000;

/// What a check looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Operations with an answer.
    pub answered: u64,
    /// Those without.
    pub unknown: u64,
    /// Keys.
    pub keys: u64,
    /// Steps of the search.
    pub steps: u64,
}

/// Why a history does not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refuted {
    /// No order explains it.
    #[error(
        "no order explains what clients saw of key {key:?}: {done} of {all} operations fit, then none does: {stuck}"
    )]
    NotLinearizable {
        /// Of which key.
        key: String,
        /// Operations with an answer that fitted, at best.
        done: usize,
        /// Of so many.
        all: usize,
        /// Those that could have come next, and the state.
        stuck: String,
    },
    /// It is not known whether one does.
    #[error("the history of key {key:?} was not judged within {steps} steps")]
    OutOfPatience {
        /// Of which key.
        key: String,
        /// Steps made.
        steps: u64,
    },
    /// The history contradicts itself.
    #[error("the history is none: {0}")]
    Malformed(String),
}

/// Judges a history, in any order of its records.
///
/// # Errors
///
/// When no order explains it, or none was found within `patience` steps a key.
pub fn check(history: &[Record], patience: u64) -> Result<Checked, Refuted> {
    let mut keys: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in history {
        sane(record)?;
        keys.entry(&record.key).or_default().push(record);
    }
    let mut sum = Checked { keys: keys.len() as u64, ..Checked::default() };
    for (key, mut records) in keys {
        records.sort_by_key(|record| record.call);
        let operations = model::compile(&records);
        sum.answered += records.iter().filter(|record| record.answer.is_some()).count() as u64;
        sum.unknown += records.iter().filter(|record| record.answer.is_none()).count() as u64;
        match search::search(&operations, patience) {
            search::Found::Order { steps } => sum.steps += steps,
            search::Found::OutOfPatience { steps } => {
                return Err(Refuted::OutOfPatience { key: key.to_string(), steps });
            }
            search::Found::None { done, stuck, state } => {
                let stuck: Vec<String> = stuck.iter().take(6).map(|at| model::describe(records[*at])).collect();
                return Err(Refuted::NotLinearizable {
                    key: key.to_string(),
                    done,
                    all: operations.known.len(),
                    stuck: format!("it holds {}; {}", operations.name(state), stuck.join("; ")),
                });
            }
        }
    }
    Ok(sum)
}

fn sane(record: &Record) -> Result<(), Refuted> {
    let Some(answer) = &record.answer else { return Ok(()) };
    let bad = |why: &str| Err(Refuted::Malformed(format!("{why}: {}", model::describe(record))));
    if answer.at < record.call {
        return bad("an answer before its question");
    }
    match record.wish {
        Wish::Read if answer.seen.is_none() => bad("a read that says nothing"),
        Wish::Read | Wish::Write { .. } if !answer.ok => bad("it cannot be refused by the state"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
