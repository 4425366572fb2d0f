use convoke_kit::Rng;

use super::*;

fn record(client: u64, call: u64, wish: Wish, answer: Option<(u64, bool, Option<&str>)>) -> Record {
    let seen = |value: &str| Seen { value: (!value.is_empty()).then(|| value.to_string()), owner: None };
    let answer = answer.map(|(at, ok, value)| Answer { at, ok, seen: value.map(seen) });
    Record { client, key: "k".into(), call, wish, answer }
}

fn write(client: u64, call: u64, value: &str, at: Option<u64>) -> Record {
    record(client, call, Wish::Write { value: Some(value.into()) }, at.map(|at| (at, true, None)))
}

fn read(client: u64, call: u64, value: &str, at: u64) -> Record {
    record(client, call, Wish::Read, Some((at, true, Some(value))))
}

fn passes(history: &[Record]) -> bool {
    match check(history, PATIENCE) {
        Ok(_) => true,
        Err(Refuted::NotLinearizable { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_is_right_passes_and_what_is_wrong_does_not() {
    let cas = |call, from: &str, to: &str, at, ok, seen| {
        let name = |text: &str| (!text.is_empty()).then(|| text.to_string());
        record(9, call, Wish::Cas { from: name(from), to: name(to) }, Some((at, ok, seen)))
    };
    type Case = (&'static str, bool, Vec<Record>);
    let table: Vec<Case> = vec![
        ("nothing", true, vec![]),
        ("a read of what was written", true, vec![write(1, 0, "a", Some(1)), read(2, 2, "a", 3)]),
        ("a stale read", false, vec![write(1, 0, "a", Some(1)), write(1, 2, "b", Some(3)), read(2, 4, "a", 5)]),
        ("a lost write", false, vec![write(1, 0, "a", Some(1)), read(2, 2, "", 3)]),
        ("a read of what nobody wrote", false, vec![read(2, 2, "z", 3)]),
        ("a read meanwhile sees either", true, vec![write(1, 0, "a", Some(9)), read(2, 2, "", 3), read(2, 4, "a", 5)]),
        ("a read does not go back", false, vec![write(1, 0, "a", Some(9)), read(2, 2, "a", 3), read(3, 4, "", 5)]),
        ("an unknown write may show late", true, vec![write(1, 0, "a", None), read(2, 5, "", 6), read(2, 9, "a", 10)]),
        ("or never", true, vec![write(1, 0, "a", None), read(2, 5, "", 6)]),
        (
            "but only once",
            false,
            vec![
                write(1, 0, "a", None),
                read(2, 5, "a", 6),
                write(2, 7, "b", Some(8)),
                read(2, 9, "b", 10),
                read(2, 11, "a", 12),
            ],
        ),
        ("and not before its call", false, vec![read(2, 1, "a", 2), write(1, 3, "a", None)]),
        ("a cas applied twice", false, vec![cas(0, "", "a", 1, true, None), cas(2, "", "b", 3, true, None)]),
        (
            "a refused cas that should not be",
            false,
            vec![write(1, 0, "a", Some(1)), cas(2, "a", "b", 3, false, None), read(2, 4, "a", 5)],
        ),
        (
            "a refusal that only an unknown write explains",
            true,
            vec![write(1, 0, "x", None), cas(2, "", "b", 3, false, None), read(2, 4, "x", 5)],
        ),
        (
            "the same, where nobody ever saw it",
            true,
            vec![
                write(1, 0, "a", Some(1)),
                write(2, 2, "x", None),
                cas(3, "a", "b", 4, false, None),
                write(1, 5, "c", Some(6)),
            ],
        ),
    ];
    for (name, right, history) in table {
        assert_eq!(passes(&history), right, "{name}");
    }
}

#[test]
fn locks_are_of_one() {
    let lock = |client: u64, call, at, ok| Record {
        client,
        key: "k".into(),
        call,
        wish: Wish::Acquire { owner: client.to_string(), value: None },
        answer: Some(Answer { at, ok, seen: None }),
    };
    let unlock = |client: u64, call, at, ok| Record {
        wish: Wish::Release { owner: client.to_string(), value: None },
        ..lock(client, call, at, ok)
    };
    assert!(passes(&[lock(1, 0, 1, true), lock(2, 2, 3, false), unlock(1, 4, 5, true), lock(2, 6, 7, true)]));
    assert!(passes(&[lock(1, 0, 1, true), lock(1, 2, 3, true)]), "its owner may take it again");
    assert!(!passes(&[lock(1, 0, 1, true), lock(2, 2, 3, true)]), "two have it");
    assert!(!passes(&[lock(1, 0, 1, true), unlock(2, 2, 3, true)]), "it is not his");
    assert!(passes(&[lock(1, 0, 9, true), lock(2, 2, 3, true), unlock(2, 4, 5, true)]), "one after the other");
}

#[test]
fn keys_are_judged_alone_and_the_broken_one_is_named() {
    let mut history = vec![write(1, 0, "a", Some(1)), read(2, 2, "a", 3)];
    history.push(Record { key: "other".into(), ..read(3, 4, "a", 5) });
    let Err(Refuted::NotLinearizable { key, stuck, .. }) = check(&history, PATIENCE) else { panic!("it passes") };
    assert_eq!(key, "other");
    assert!(stuck.contains("client 3"), "{stuck}");
}

#[test]
fn what_is_no_history_is_refused() {
    let early = vec![read(1, 5, "a", 4)];
    let mute = vec![record(1, 1, Wish::Read, Some((2, true, None)))];
    let refused = vec![record(1, 1, Wish::Write { value: None }, Some((2, false, None)))];
    for history in [early, mute, refused] {
        assert!(matches!(check(&history, PATIENCE), Err(Refuted::Malformed(_))), "{history:?}");
    }
}

/// A small history of one key: what clients of a real register might see, and then maybe one thing changed.
fn drawn(rng: &mut Rng) -> Vec<Record> {
    let n = 2 + rng.index(6);
    let (mut value, mut owner): (Option<String>, Option<String>) = (None, None);
    let name =
        |rng: &mut Rng| rng.one_in(5).then_some(()).map_or_else(|| Some(format!("v{}", rng.below(3))), |()| None);
    let mut history = Vec::new();
    for at in 0..n as u64 {
        // Each takes effect at a time of its own, and reaches some way to both sides of it.
        let moment = 10 * at + 5;
        let (before, behind) = (rng.below(25), rng.below(25));
        let seen = Seen { value: value.clone(), owner: owner.clone() };
        let client = rng.below(3);
        let mut ok = true;
        let unknown = rng.one_in(4);
        let happens = !unknown || rng.one_in(2);
        let wish = match rng.below(6) {
            0 | 1 => Wish::Read,
            2 => Wish::Write { value: name(rng) },
            3 => Wish::Cas { from: if rng.one_in(2) { value.clone() } else { name(rng) }, to: name(rng) },
            4 => Wish::Acquire { owner: client.to_string(), value: rng.one_in(2).then(|| name(rng)).flatten() },
            _ => Wish::Release { owner: client.to_string(), value: rng.one_in(2).then(|| name(rng)).flatten() },
        };
        if happens {
            match &wish {
                Wish::Read => {}
                Wish::Write { value: new } => value = new.clone(),
                Wish::Cas { from, to } => {
                    ok = *from == value;
                    if ok {
                        value = to.clone();
                    }
                }
                Wish::Acquire { owner: who, value: new } => {
                    ok = owner.as_ref().is_none_or(|owner| owner == who);
                    if ok {
                        owner = Some(who.clone());
                        value = new.clone().or(value);
                    }
                }
                Wish::Release { owner: who, value: new } => {
                    ok = owner.as_ref() == Some(who);
                    if ok {
                        owner = None;
                        value = new.clone().or(value);
                    }
                }
            }
        }
        let tells = matches!(wish, Wish::Read) || rng.one_in(2);
        let answer = (!unknown).then(|| Answer { at: moment + behind, ok, seen: tells.then_some(seen) });
        history.push(Record { client, key: "k".into(), call: moment.saturating_sub(before), wish, answer });
    }
    history
}

/// Something is told that may not have been.
fn lie(history: &mut [Record], rng: &mut Rng) {
    let at = rng.index(history.len());
    let record = &mut history[at];
    let may_be_refused = !matches!(record.wish, Wish::Read | Wish::Write { .. });
    if let Some(answer) = &mut record.answer {
        match &mut answer.seen {
            Some(seen) if rng.one_in(2) || !may_be_refused => {
                seen.value = rng.one_in(4).then_some(()).map_or_else(|| Some(format!("v{}", rng.below(3))), |()| None);
            }
            _ if may_be_refused => answer.ok = !answer.ok,
            _ => answer.at = answer.at.max(record.call),
        }
    }
}

#[test]
fn it_says_what_trying_all_orders_says() {
    let mut rng = Rng::new(7);
    let (mut right, mut wrong) = (0, 0);
    for round in 0..60_000 {
        let mut history = drawn(&mut rng);
        let honest = rng.one_in(2);
        if !honest {
            lie(&mut history, &mut rng);
        }
        let mut sorted: Vec<&Record> = history.iter().collect();
        sorted.sort_by_key(|record| record.call);
        let truth = brute::explains(&sorted);
        assert!(truth || !honest, "round {round}: the histories are drawn from a real register: {history:#?}");
        assert_eq!(passes(&history), truth, "round {round}: {}", to_lines(&history));
        if truth { right += 1 } else { wrong += 1 }
    }
    assert!(right > 10_000 && wrong > 5_000, "{right} right, {wrong} wrong");
}

#[test]
fn long_histories_with_many_unknown_operations_are_judged_quickly() {
    let mut rng = Rng::new(3);
    let mut history = Vec::new();
    let mut value = String::new();
    for at in 0..4_000_u64 {
        let unique = format!("u{at}");
        match rng.below(10) {
            0 => {
                // Shown later, maybe.
                history.push(write(at % 5, 10 * at, &unique, None));
                if rng.one_in(2) {
                    value = unique;
                }
            }
            1..5 => {
                history.push(write(
                    at % 5,
                    (10 * at).saturating_sub(rng.below(40)),
                    &unique,
                    Some(10 * at + rng.below(10)),
                ));
                value = unique;
            }
            _ => history.push(read(at % 5, 10 * at, &value, 10 * at + 1)),
        }
    }
    let checked = check(&history, PATIENCE).expect("a real history");
    assert!(checked.steps < 400_000, "{checked:?}");
    assert!(checked.unknown > 300, "{checked:?}");
    // One read of the past among them is found.
    let at = history.iter().rposition(|record| record.wish == Wish::Read).expect("there are reads");
    if let Some(answer) = &mut history[at].answer {
        answer.seen = Some(Seen { value: Some("u1".into()), owner: None });
    }
    assert!(!passes(&history));
}
