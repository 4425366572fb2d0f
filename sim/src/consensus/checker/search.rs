//! The search: which operation comes next?

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::model::{Operation, Operations, State};
use crate::digest::fold;

/// What a search found.
#[derive(Debug)]
pub(super) enum Found {
    /// An order.
    Order { steps: u64 },
    /// None: so many fitted at best, then none of these (numbers of records) with this state.
    None { done: usize, stuck: Vec<usize>, state: State },
    /// Neither.
    OutOfPatience { steps: u64 },
}

/// Folds words; only used for equality, never for an order.
#[derive(Default)]
struct Folding(u64);

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = fold(self.0 ^ crate::digest::bytes(bytes), 0x9e37_79b9_7f4a_7c15);
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = fold(self.0 ^ n, 0x9e37_79b9_7f4a_7c15);
    }
}

/// A set of operations done and the state behind them. Known ones: all below `low`, and those of `window` behind it.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    low: u32,
    window: Box<[u64]>,
    unknown: Box<[u64]>,
    state: State,
}

/// Which operations are done.
struct Done {
    known: Vec<bool>,
    count: usize,
    /// All before this one are done.
    low: usize,
    /// None behind this one is.
    high: usize,
    unknown: Vec<bool>,
}

impl Done {
    fn set(&mut self, choice: Choice) {
        match choice {
            Choice::Known(at) => {
                self.known[at] = true;
                self.count += 1;
                self.high = self.high.max(at + 1);
                while self.known.get(self.low) == Some(&true) {
                    self.low += 1;
                }
            }
            Choice::Unknown(at) => self.unknown[at] = true,
        }
    }

    fn unset(&mut self, choice: Choice) {
        match choice {
            Choice::Known(at) => {
                self.known[at] = false;
                self.count -= 1;
                self.low = self.low.min(at);
                while self.high > 0 && !self.known[self.high - 1] {
                    self.high -= 1;
                }
            }
            Choice::Unknown(at) => self.unknown[at] = false,
        }
    }

    fn place(&self, state: State) -> Place {
        let window = bits(self.known.get(self.low..self.high).unwrap_or_default());
        Place { low: self.low as u32, window, unknown: bits(&self.unknown), state }
    }
}

fn bits(flags: &[bool]) -> Box<[u64]> {
    flags.chunks(64).map(|chunk| chunk.iter().rev().fold(0, |word, flag| word << 1 | u64::from(*flag))).collect()
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Known(usize),
    Unknown(usize),
}

/// One place of the search, and what is still to be tried there.
struct Frame {
    /// What led here, the last one being the choice and those before it without effect.
    taken: Vec<Choice>,
    state: State,
    /// In reverse.
    next: Vec<Choice>,
}

/// Looks for an order.
pub(super) fn search(operations: &Operations, patience: u64) -> Found {
    let mut done = Done {
        known: vec![false; operations.known.len()],
        count: 0,
        low: 0,
        high: 0,
        unknown: vec![false; operations.unknown.len()],
    };
    let mut tried: HashSet<Place, BuildHasherDefault<Folding>> = HashSet::default();
    let mut steps = 0;
    let mut best = (0, Vec::new(), State::default());
    let mut stack = vec![arrive(operations, &mut done, Vec::new(), State::default(), &mut best)];
    while let Some(frame) = stack.last_mut() {
        if done.count == operations.known.len() {
            return Found::Order { steps };
        }
        steps += 1;
        if steps > patience {
            return Found::OutOfPatience { steps };
        }
        let Some(choice) = frame.next.pop() else {
            for choice in frame.taken.iter().rev() {
                done.unset(*choice);
            }
            stack.pop();
            continue;
        };
        let Some(after) = operation(operations, choice).after(frame.state) else { continue };
        done.set(choice);
        if tried.insert(done.place(after)) {
            let frame = arrive(operations, &mut done, vec![choice], after, &mut best);
            stack.push(frame);
        } else {
            done.unset(choice);
        }
    }
    Found::None { done: best.0, stuck: best.1, state: best.2 }
}

fn operation(operations: &Operations, choice: Choice) -> &Operation {
    match choice {
        Choice::Known(at) => &operations.known[at],
        Choice::Unknown(at) => &operations.unknown[at],
    }
}

/// Takes what changes nothing, and lists what may come next.
fn arrive(
    operations: &Operations,
    done: &mut Done,
    mut taken: Vec<Choice>,
    state: State,
    best: &mut (usize, Vec<usize>, State),
) -> Frame {
    let (mut next, mut until);
    loop {
        (next, until) = (Vec::new(), u64::MAX);
        let mut idle = true;
        for at in done.low..operations.known.len() {
            if done.known[at] {
                continue;
            }
            let operation = &operations.known[at];
            // Somebody was answered before this one was asked.
            if operation.call > until {
                break;
            }
            until = until.min(operation.end);
            if operation.is_look() && operation.after(state).is_some() {
                done.set(Choice::Known(at));
                taken.push(Choice::Known(at));
                idle = false;
            } else {
                next.push(Choice::Known(at));
            }
        }
        if idle {
            break;
        }
    }
    if done.count > best.0 || best.1.is_empty() {
        *best = (done.count, next.iter().map(|choice| operation(operations, *choice).record).collect(), state);
    }
    for (at, operation) in operations.unknown.iter().enumerate() {
        if operation.call > until {
            break;
        }
        if !done.unknown[at] && operation.after(state) != Some(state) {
            next.push(Choice::Unknown(at));
        }
    }
    next.reverse();
    Frame { taken, state, next }
}
