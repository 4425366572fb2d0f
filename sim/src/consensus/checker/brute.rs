//! The same question by trying all orders: right by being obvious.

use super::history::Record;
use super::model::{Operation, State, compile};

/// Whether some order explains the history of one key.
pub(super) fn explains(records: &[&Record]) -> bool {
    // Those without an answer that the quick checker leaves out stand here, too.
    let all = compile_all(records);
    extend(&mut vec![false; all.len()], &all, State::default())
}

fn compile_all(records: &[&Record]) -> Vec<Operation> {
    let mut operations = compile(records);
    let mut all = operations.known.clone();
    all.append(&mut operations.left_out);
    all.append(&mut operations.unknown);
    all.sort_by_key(|operation| operation.record);
    all
}

fn extend(done: &mut [bool], all: &[Operation], state: State) -> bool {
    let known_done = all.iter().zip(done.iter()).all(|(operation, done)| *done || operation.end == u64::MAX);
    if known_done {
        return true;
    }
    for at in 0..all.len() {
        let waits = |other: usize| other != at && !done[other] && all[other].end < all[at].call;
        if done[at] || (0..all.len()).any(waits) {
            continue;
        }
        if let Some(after) = all[at].after(state) {
            done[at] = true;
            if extend(done, all, after) {
                return true;
            }
            done[at] = false;
        }
    }
    false
}
