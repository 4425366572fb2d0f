//! A few members talk.

use crate::harness::{Pool, SECOND, address, boot};
use convoke_swim::{
    Action, Alike, Boot, Command, Config, Event, Key, KeyOp, Keyring, MemberEvent, State, Tags, Ticket,
};

#[test]
fn a_crash_is_noticed_by_all_and_a_restart_is_believed() {
    let mut pool = Pool::joined(5);
    pool.crash(3);
    pool.run(15 * SECOND);
    for n in [0, 1, 2, 4] {
        assert_eq!(pool.state(n, 3), Some(State::Failed), "at n{n}");
        assert_eq!(pool.happened(n, MemberEvent::Failed), ["n3"], "n{n} tells once");
    }
    // With an incarnation of the past: it is told of its death, and objects.
    pool.restart(Boot { incarnation: 0, ..boot(3) });
    pool.command(3, Command::Join { ticket: Ticket(1), addresses: vec![address(1)] });
    pool.run(3 * SECOND);
    for n in [0, 1, 2, 4] {
        assert_eq!(pool.state(n, 3), Some(State::Alive), "at n{n}");
    }
}

#[test]
fn who_leaves_is_left_everywhere_and_says_so() {
    let mut pool = Pool::joined(4);
    pool.command(2, Command::Leave);
    pool.run(4 * SECOND);
    assert!(pool.told[2].iter().any(|(_, action)| matches!(action, Action::Left)));
    for n in [0, 1, 3] {
        assert_eq!((pool.state(n, 2), pool.happened(n, MemberEvent::Left).len()), (Some(State::Left), 1), "at n{n}");
    }
    pool.run(20 * SECOND);
    assert_eq!(pool.happened(0, MemberEvent::Failed), [""; 0]);
}

#[test]
fn the_last_member_leaves_at_once() {
    let mut pool = Pool::new([boot(0)]);
    pool.command(0, Command::Leave);
    assert!(pool.told[0].iter().any(|(_, action)| matches!(action, Action::Left)));
}

#[test]
fn a_failed_member_can_be_made_to_leave_and_forgotten() {
    let mut pool = Pool::joined(4);
    pool.crash(3);
    pool.run(15 * SECOND);
    pool.command(0, Command::ForceLeave { name: "n3".into(), prune: false });
    pool.run(2 * SECOND);
    assert_eq!((pool.state(1, 3), pool.state(2, 3)), (Some(State::Left), Some(State::Left)));
    pool.command(0, Command::ForceLeave { name: "n3".into(), prune: true });
    // Longer than a comparison of tables: nobody brings it back.
    pool.run(90 * SECOND);
    assert_eq!((pool.state(0, 3), pool.state(1, 3), pool.state(2, 3)), (None, None, None));
    // One that lives objects.
    pool.command(0, Command::ForceLeave { name: "n1".into(), prune: false });
    pool.run(2 * SECOND);
    assert_eq!((pool.state(0, 1), pool.state(2, 1)), (Some(State::Alive), Some(State::Alive)));
}

#[test]
fn a_link_that_loses_packets_is_made_up_for_by_helpers() {
    let mut pool = Pool::joined(4);
    pool.cut.extend([(0, 1), (1, 0)]);
    pool.run(60 * SECOND);
    assert_eq!((pool.state(0, 1), pool.state(1, 0)), (Some(State::Alive), Some(State::Alive)));
    assert_eq!(pool.happened(0, MemberEvent::Failed), [""; 0]);
}

#[test]
fn where_packets_are_lost_a_stream_speaks_for_the_member_and_a_warning_for_the_firewall() {
    let mut pool = Pool::joined(2);
    pool.no_udp.extend([(0, 1), (1, 0)]);
    pool.run(30 * SECOND);
    assert_eq!((pool.state(0, 1), pool.state(1, 0)), (Some(State::Alive), Some(State::Alive)));
    assert!(pool.node(0).stats().stream_only > 10);
    let warned = |(_, action): &(_, Action)| matches!(action, Action::Warn(text) if text.contains("not over UDP"));
    assert_eq!(pool.told[0].iter().filter(|told| warned(told)).count(), 1, "once a minute");
}

#[test]
fn a_member_that_lost_everybody_finds_them_again() {
    let mut pool = Pool::joined(4);
    for n in 1..4 {
        pool.cut.extend([(0, n), (n, 0)]);
    }
    pool.run(60 * SECOND);
    assert_eq!((pool.node(0).members().up(), pool.state(1, 0)), (1, Some(State::Failed)));
    pool.cut.clear();
    pool.run(70 * SECOND);
    for n in 0..4 {
        assert_eq!(pool.node(n).members().up(), 4, "n{n}");
    }
}

#[test]
fn a_new_address_is_taken_once_the_old_one_is_gone() {
    let mut pool = Pool::joined(5);
    pool.crash(4);
    // Its successor is quicker than any probe.
    let moved = Boot { name: "n4".into(), address: address(5), incarnation: 50, ..boot(5) };
    pool.nodes.push(Some(convoke_swim::Swim::new(moved)));
    pool.told.push(Vec::new());
    pool.command(5, Command::Join { ticket: Ticket(1), addresses: vec![address(0)] });
    pool.run(2 * SECOND);
    let conflict =
        |(_, action): &(_, Action)| matches!(action, Action::Conflict { name, own: false, .. } if name == "n4");
    assert!(pool.told[0].iter().any(conflict), "two of one name are told");
    pool.run(3 * SECOND);
    for n in 0..4 {
        let member = pool.node(n).members().get("n4").unwrap();
        assert_eq!((member.profile.address(), member.state), (address(5), State::Alive), "at n{n}");
    }
}

#[test]
fn the_name_of_one_that_answers_is_not_taken() {
    let mut pool = Pool::joined(5);
    let thief = Boot { name: "n4".into(), address: address(5), incarnation: 50, ..boot(5) };
    pool.nodes.push(Some(convoke_swim::Swim::new(thief)));
    pool.told.push(Vec::new());
    pool.command(5, Command::Join { ticket: Ticket(1), addresses: vec![address(0)] });
    pool.run(60 * SECOND);
    for n in 0..5 {
        let member = pool.node(n).members().get("n4").unwrap();
        assert_eq!((member.profile.address(), member.state), (address(4), State::Alive), "at n{n}");
    }
    let told = |(_, action): &(_, Action)| matches!(action, Action::Conflict { own: true, .. });
    assert!(pool.told[5].iter().any(told), "the second one is told");
}

#[test]
fn a_user_event_is_heard_once_by_everybody_and_not_by_newcomers() {
    let mut pool = Pool::joined(4);
    pool.command(1, Command::UserEvent { name: "deploy".into(), payload: b"v7".to_vec() });
    pool.run(40 * SECOND);
    let heard = |pool: &Pool, n: usize| {
        let is =
            |(_, action): &(_, Action)| matches!(action, Action::UserEvent(e) if e.name == "deploy" && e.time == 1);
        pool.told[n].iter().filter(|told| is(told)).count()
    };
    assert_eq!((0..4).map(|n| heard(&pool, n)).collect::<Vec<_>>(), [1; 4]);
    pool.crash(3);
    pool.restart(Boot { incarnation: 9, ..boot(3) });
    pool.told[3].clear();
    pool.command(3, Command::Join { ticket: Ticket(1), addresses: vec![address(0)] });
    pool.run(40 * SECOND);
    assert_eq!(heard(&pool, 3), 0);
    pool.command(0, Command::UserEvent { name: "big".into(), payload: vec![0; 600] });
    assert!(pool.told[0].iter().any(|(_, a)| matches!(a, Action::Warn(text) if text.contains("512 fit"))));
}

#[test]
fn who_starts_twice_within_a_second_is_believed_what_it_says_of_itself() {
    // Incarnations begin with the seconds of the clock, and objections raise them: two lives may have the same.
    let mut pool = Pool::joined(4);
    let incarnation = pool.node(2).incarnation();
    pool.crash(2);
    pool.restart(Boot { incarnation, tags: Tags::from([("role", "other")]), ..boot(2) });
    pool.command(2, Command::Join { ticket: Ticket(1), addresses: vec![address(0), address(1)] });
    pool.run(2 * SECOND);
    for n in [0, 1, 3] {
        let member = pool.node(n).members().get("n2").expect("a member");
        assert_eq!(member.profile.tags().get("role"), Some("other"), "at n{n}");
    }
}

#[test]
fn tags_are_told_to_all() {
    let mut pool = Pool::joined(3);
    pool.command(1, Command::SetTags([("role", "consul")].into()));
    pool.run(2 * SECOND);
    for n in [0, 2] {
        assert_eq!(pool.node(n).members().get("n1").unwrap().profile.tags().get("role"), Some("consul"));
        assert_eq!(pool.happened(n, MemberEvent::Updated), ["n1"]);
    }
}

fn key(n: u8) -> Key {
    Key::new(&[n; 32]).unwrap()
}

fn sealed(n: usize, keys: &[Key]) -> Boot {
    Boot { keyring: Keyring::new(keys).unwrap(), ..boot(n) }
}

#[test]
fn without_the_key_nobody_joins_and_both_sides_say_why() {
    let mut pool = Pool::new([sealed(0, &[key(1)]), sealed(1, &[key(2)]), boot(2)]);
    for n in [1, 2] {
        pool.command(n, Command::Join { ticket: Ticket(5), addresses: vec![address(0)] });
    }
    pool.run(5 * SECOND);
    assert_eq!(pool.node(0).members().len(), 1);
    for (n, why) in [(1, "key that is not in the keyring"), (2, "not encrypted")] {
        let failed = |(_, action): &(_, Action)| {
            matches!(action, Action::Joined { ticket: Ticket(5), reached: 0, errors }
            if errors.len() == 1 && errors[0].0 == address(0) && errors[0].1.contains(why))
        };
        assert!(pool.told[n].iter().any(failed), "n{n}: {:?}", pool.told[n]);
        assert!(pool.told[0].iter().any(|(_, a)| matches!(a, Action::Warn(text) if text.contains(why))));
    }
}

#[test]
fn keys_are_rotated_while_a_member_is_away() {
    let mut pool = Pool::new((0..4).map(|n| sealed(n, &[key(1)])));
    pool.join_all();
    let op = |pool: &mut Pool, op: KeyOp| {
        pool.told[0].clear();
        pool.command(0, Command::Keys { ticket: Ticket(8), op, local: false });
        pool.run(6 * SECOND);
        let done = pool.told[0].iter().find_map(|(_, action)| match action {
            Action::KeysDone { ticket: Ticket(8), report } => Some(report.clone()),
            _ => None,
        });
        done.expect("it is told")
    };
    let report = op(&mut pool, KeyOp::Install(key(2)));
    assert_eq!((report.members, report.replies, report.errors.len()), (4, 4, 0));
    assert_eq!((report.keys[&key(1)], report.keys[&key(2)], report.primary[&key(1)]), (4, 4, 4));
    // One restarts with what it kept, in the middle of it.
    pool.crash(2);
    pool.restart(Boot { incarnation: 7, ..sealed(2, &[key(1), key(2)]) });
    pool.command(2, Command::Join { ticket: Ticket(1), addresses: vec![address(1)] });
    pool.run(2 * SECOND);
    let report = op(&mut pool, KeyOp::Use(key(2)));
    assert_eq!((report.replies, report.primary[&key(2)]), (4, 4));
    let report = op(&mut pool, KeyOp::Remove(key(1)));
    assert_eq!((report.replies, report.errors.len(), report.keys.len()), (4, 0, 1));
    let report = op(&mut pool, KeyOp::Remove(key(2)));
    assert_eq!((report.replies, report.errors.len()), (4, 4), "nobody gives up the key that seals");
    pool.run(30 * SECOND);
    assert_eq!(pool.node(3).members().up(), 4);
    assert_eq!(pool.node(3).stats().dropped_sealed, 0);
    pool.crash(3);
    pool.run(SECOND / 10);
    let report = op(&mut pool, KeyOp::List);
    assert_eq!((report.members, report.replies, report.silent), (4, 3, vec!["n3".to_owned()]));
}

#[test]
fn encryption_is_rolled_out_without_losing_anybody() {
    let with = |incoming: bool, outgoing: bool, n: usize, incarnation: u64| {
        let config = Config { verify_incoming: incoming, verify_outgoing: outgoing, ..Config::lan() };
        Boot { config, incarnation, ..sealed(n, &[key(1)]) }
    };
    let mut pool = Pool::joined(3);
    // First nobody insists, then everybody seals, then everybody insists; one member after the other.
    for (round, (incoming, outgoing)) in [(false, false), (false, true), (true, true)].into_iter().enumerate() {
        for n in 0..3 {
            pool.crash(n);
            pool.restart(with(incoming, outgoing, n, 10 * (round as u64 + 1)));
            pool.command(n, Command::Join { ticket: Ticket(1), addresses: vec![address((n + 1) % 3)] });
            pool.run(3 * SECOND);
            for at in 0..3 {
                assert_eq!(pool.node(at).members().up(), 3, "round {round}, n{n} restarted, at n{at}");
            }
        }
    }
    pool.run(20 * SECOND);
    assert!((0..3).all(|n| pool.happened(n, MemberEvent::Failed).is_empty()));
}

#[test]
fn a_name_that_cannot_be_shown_is_not_taken_in() {
    let mut pool = Pool::new([boot(0), Boot { name: "n1\n==> all is well".into(), ..boot(1) }]);
    pool.command(1, Command::Join { ticket: Ticket(1), addresses: vec![address(0)] });
    pool.run(2 * SECOND);
    assert_eq!(pool.node(0).members().len(), 1);
    assert!(pool.node(0).stats().dropped_malformed > 0);
}

#[test]
fn pools_do_not_mix() {
    let wan = Boot { config: Config::wan(), ..boot(1) };
    let mut pool = Pool::new([boot(0), wan]);
    pool.command(1, Command::Join { ticket: Ticket(1), addresses: vec![address(0)] });
    pool.run(2 * SECOND);
    assert!(pool.told[1].iter().any(|(_, a)| matches!(a, Action::Joined { reached: 0, errors, .. }
        if errors[0].1.contains("another pool"))));
    assert_eq!((pool.node(0).members().len(), pool.node(0).stats().dropped_pool), (1, 1));
}

#[test]
fn no_accusation_is_beyond_refuting() {
    let mut pool = Pool::joined(3);
    // What an attacker with the key may send: the postcard of Failed { n1, incarnation, "x" }.
    for incarnation in [u64::MAX, (1 << 61) + 1, 1 << 61] {
        let mut message = vec![6, 2, b'n', b'1'];
        let mut rest = incarnation;
        while rest >= 0x80 {
            message.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        message.push(rest as u8);
        message.extend([1, b'x']);
        let mut packet = vec![0xC7, 1, 0];
        packet.extend((message.len() as u16).to_le_bytes());
        packet.extend(message);
        for n in 0..3 {
            pool.event(n, Event::Datagram { from: address(9), bytes: &packet });
        }
    }
    assert_eq!(pool.node(0).stats().dropped_incarnation, 2);
    assert_eq!(pool.state(0, 1), Some(State::Failed), "the last one is possible");
    pool.run(3 * SECOND);
    assert_eq!((pool.state(0, 1), pool.state(2, 1)), (Some(State::Alive), Some(State::Alive)));
}

const ALIKE: &[Alike] = &[Alike { tag: "dc", advice: "join datacenters over the WAN pool" }];

/// A member of a datacenter, which demands that all others are of it.
fn of(n: usize, dc: &str) -> Boot {
    Boot {
        tags: Tags::from([("dc", dc)]),
        config: Config { alike: ALIKE, stay_tag: "stay", ..Config::lan() },
        ..boot(n)
    }
}

fn join(pool: &mut Pool, from: usize, to: usize) -> (usize, String) {
    pool.command(from, Command::Join { ticket: Ticket(77), addresses: vec![address(to)] });
    pool.run(3 * SECOND);
    let joined = pool.told[from].iter().rev().find_map(|(_, action)| match action {
        Action::Joined { ticket: Ticket(77), reached, errors } => Some((*reached, format!("{errors:?}"))),
        _ => None,
    });
    joined.expect("an outcome")
}

fn warned(pool: &Pool, n: usize, text: &str) -> bool {
    pool.told[n].iter().any(|(_, action)| matches!(action, Action::Warn(said) if said.contains(text)))
}

#[test]
fn who_is_not_alike_cannot_join_and_both_sides_say_why() {
    let mut pool = Pool::new([of(0, "dc1"), of(1, "dc1"), of(2, "dc2"), of(3, "dc2")]);
    assert_eq!((join(&mut pool, 1, 0).0, join(&mut pool, 3, 2).0), (1, 1));
    let (reached, errors) = join(&mut pool, 2, 0);
    assert!(reached == 0 && errors.contains("dc2") && errors.contains("over the WAN pool"), "{errors}");
    assert!(warned(&pool, 0, "refused a connection from 127.0.0.3:8301"), "{:?}", pool.told[0]);
    pool.run(60 * SECOND);
    for n in 0..4 {
        assert_eq!(pool.node(n).members().len(), 2, "n{n} knows its own datacenter only");
    }
    assert_eq!(pool.happened(0, MemberEvent::Joined), ["n0", "n1"]);
}

#[test]
fn who_demands_nothing_is_refused_by_the_side_that_does() {
    let mut pool = Pool::new([Boot { config: Config::lan(), ..of(0, "dc2") }, of(1, "dc1"), of(2, "dc1")]);
    let (reached, errors) = join(&mut pool, 1, 0);
    assert!(reached == 0 && errors.contains("refused here") && errors.contains("n0"), "{errors}");
    // The other one took it in. What that says reaches nobody else.
    assert_eq!((pool.state(0, 1), pool.state(1, 0)), (Some(State::Alive), None));
    assert_eq!(join(&mut pool, 2, 1).0, 1);
    pool.run(60 * SECOND);
    assert_eq!((pool.state(1, 0), pool.state(2, 0), pool.state(2, 1)), (None, None, Some(State::Alive)));
}

#[test]
fn a_member_is_remembered_for_as_long_as_it_asks() {
    let short = |n: usize| Boot { tags: Tags::from([("dc", "dc1"), ("stay", "1m30s")]), ..of(n, "dc1") };
    let mut pool = Pool::new([of(0, "dc1"), of(1, "dc1"), short(2), of(3, "dc1"), short(4)]);
    pool.join_all();
    pool.crash(2);
    pool.crash(3);
    pool.command(4, Command::Leave);
    pool.run(60 * SECOND);
    assert_eq!((pool.state(0, 2), pool.state(0, 3)), (Some(State::Failed), Some(State::Failed)));
    assert_eq!(pool.state(0, 4), Some(State::Left));
    // Somebody who comes later gets what is left of the time, not all of it.
    pool.restart(of(3, "dc1"));
    assert_eq!(join(&mut pool, 3, 1).0, 1);
    assert_eq!(pool.state(3, 2), Some(State::Failed));
    pool.run(70 * SECOND);
    for n in [0, 1, 3] {
        assert_eq!((pool.state(n, 2), pool.state(n, 4)), (None, None), "at n{n}");
        assert_eq!(pool.happened(n, MemberEvent::Reaped), ["n4", "n2"], "at n{n}");
    }
}
