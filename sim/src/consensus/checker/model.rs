//! What operations do to a key, with names turned into numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Record, Wish};

/// What a key holds: numbers of a value and an owner; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    pub(super) value: u32,
    pub(super) owner: u32,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    Read,
    Write(u32),
    Cas(u32, u32),
    Acquire(u32, Option<u32>),
    Release(u32, Option<u32>),
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// Its place among the records.
    pub(super) record: usize,
    pub(super) call: u64,
    /// `u64::MAX`: unknown.
    pub(super) end: u64,
    effect: Effect,
    ok: bool,
    seen: Option<State>,
}

impl Operation {
    /// It changes nothing, whenever it is done. (A write of what is there already is no such thing: done later it may count.)
    pub(super) const fn is_look(&self) -> bool {
        matches!(self.effect, Effect::Read) || self.end != u64::MAX && !self.ok
    }

    /// What it would be told, and the state behind it.
    fn run(&self, state: State) -> (bool, State) {
        match self.effect {
            Effect::Read => (true, state),
            Effect::Write(value) => (true, State { value, ..state }),
            Effect::Cas(from, to) if state.value == from => (true, State { value: to, ..state }),
            Effect::Acquire(owner, value) if state.owner == 0 || state.owner == owner => {
                (true, State { owner, value: value.unwrap_or(state.value) })
            }
            Effect::Release(owner, value) if state.owner == owner => {
                (true, State { owner: 0, value: value.unwrap_or(state.value) })
            }
            Effect::Cas(..) | Effect::Acquire(..) | Effect::Release(..) => (false, state),
        }
    }

    /// The state behind it, if what was told fits.
    pub(super) fn after(&self, state: State) -> Option<State> {
        let (ok, after) = self.run(state);
        if self.end == u64::MAX {
            return Some(after);
        }
        (ok == self.ok && self.seen.is_none_or(|seen| seen == state)).then_some(after)
    }
}

/// The operations of one key.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// With an answer, in the order of their calls.
    pub(super) known: Vec<Operation>,
    /// Without, in the order of their calls; those that make no difference are left out.
    pub(super) unknown: Vec<Operation>,
    /// Those.
    #[cfg(test)]
    pub(super) left_out: Vec<Operation>,
    names: Vec<String>,
}

impl Operations {
    /// For people.
    pub(super) fn name(&self, state: State) -> String {
        let of = |n: u32| self.names.get(n as usize).map_or("nothing", String::as_str);
        format!("{} locked by {}", of(state.value), of(state.owner).replace("nothing", "nobody"))
    }
}

/// For people.
pub(super) fn describe(record: &Record) -> String {
    let told = match &record.answer {
        None => "no answer".to_string(),
        Some(answer) => {
            let ok = if answer.ok { "done" } else { "refused" };
            let seen = answer.seen.as_ref().map(|seen| format!(", saw {:?} locked by {:?}", seen.value, seen.owner));
            format!("{ok} at {}{}", answer.at, seen.unwrap_or_default())
        }
    };
    format!("client {} at {}: {:?}: {told}", record.client, record.call, record.wish)
}

/// From records in the order of their calls.
pub(super) fn compile(records: &[&Record]) -> Operations {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut names = vec!["nothing".to_string()];
    let mut number = |name: Option<&String>| {
        let Some(name) = name else { return 0 };
        *numbers.entry(name.clone()).or_insert_with(|| {
            names.push(format!("{name:?}"));
            names.len() as u32 - 1
        })
    };
    let mut all = Vec::new();
    let (mut observed, mut mute) = (BTreeSet::new(), false);
    for (at, record) in records.iter().enumerate() {
        let effect = match &record.wish {
            Wish::Read => Effect::Read,
            Wish::Write { value } => Effect::Write(number(value.as_ref())),
            Wish::Cas { from, to } => Effect::Cas(number(from.as_ref()), number(to.as_ref())),
            Wish::Acquire { owner, value } => {
                let owner = number(Some(owner));
                Effect::Acquire(owner, value.as_ref().map(|value| number(Some(value))))
            }
            Wish::Release { owner, value } => {
                let owner = number(Some(owner));
                Effect::Release(owner, value.as_ref().map(|value| number(Some(value))))
            }
        };
        let seen = record.answer.as_ref().and_then(|answer| answer.seen.as_ref());
        let seen = seen.map(|seen| State { value: number(seen.value.as_ref()), owner: number(seen.owner.as_ref()) });
        let end = record.answer.as_ref().map_or(u64::MAX, |answer| answer.at);
        let ok = record.answer.as_ref().is_some_and(|answer| answer.ok);
        let operation = Operation { record: at, call: record.call, end, effect, ok, seen };
        match seen {
            Some(seen) => {
                observed.insert(seen.value);
                observed.insert(seen.owner);
            }
            // Who does not say what it saw may have seen anything; what it must have seen, it has.
            // What it needs, if it was done.
            None if end == u64::MAX => {
                match effect {
                    Effect::Cas(from, _) => drop(observed.insert(from)),
                    // The owner that it releases must have acquired.
                    Effect::Release(owner, _) => drop(observed.insert(owner)),
                    Effect::Read | Effect::Write(_) | Effect::Acquire(..) => {}
                }
            }
            None => mute |= !matches!(effect, Effect::Write(_)),
        }
        all.push(operation);
    }
    let (known, unknown): (Vec<_>, Vec<_>) = all.into_iter().partition(|operation| operation.end != u64::MAX);
    // What it would have written. To have nothing or nobody there is what others may bring about, so that it cannot be told
    // whose it was.
    let (unknown, _left_out): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|operation| match operation.effect {
        Effect::Read => false,
        Effect::Write(value) | Effect::Cas(_, value) => mute || value == 0 || observed.contains(&value),
        Effect::Acquire(owner, value) => {
            mute || observed.contains(&owner) || value.is_some_and(|value| observed.contains(&value))
        }
        Effect::Release(..) => true,
    });
    Operations {
        known,
        unknown,
        #[cfg(test)]
        left_out: _left_out,
        names,
    }
}
