//! What operators change as a whole.

use std::time::Duration;

use convoke_catalog::command::KvSet;
use convoke_catalog::model::Tenancy;
use convoke_catalog::restore::Autopilot;
use convoke_catalog::{Catalog, Command, Reply, Scope, Snapshot, Topic, WatchTable};

fn set(key: &str, value: &str) -> Command {
    let (tenancy, key, value) = (Tenancy::default(), key.into(), value.as_bytes().into());
    Command::KvSet(KvSet { tenancy, key, value, flags: 0, cas: None })
}

fn key(key: &str) -> Topic {
    Topic::Kv { tenancy: Tenancy::default(), key: key.into() }
}

#[test]
fn a_restore_puts_everything_back_but_the_log_index_and_wakes_everybody() {
    let mut catalog = Catalog::default();
    catalog.apply(1, set("a", "before"));
    let snapshot = catalog.view().export();
    catalog.apply(2, set("a", "after"));
    catalog.apply(3, set("b", "new"));
    let mut watches = WatchTable::default();
    for (number, topic) in [key("a"), key("none"), Topic::Queries].iter().enumerate() {
        watches.register(std::slice::from_ref(topic), number).unwrap();
    }
    let applied = catalog.apply(4, Command::Restore(Box::new(snapshot.clone())));
    assert_eq!(applied.reply, Reply::Done);
    assert!(applied.changes.is_everything() && !applied.changes.is_empty());
    assert!(applied.changes.contains(&key("a")) && applied.changes.contains(&Topic::Queries));
    assert_eq!(watches.wake(&applied.changes).len(), 3);
    let view = catalog.view();
    assert_eq!((view.index(), view.restored(), view.index_of(&key("a"))), (4, 4, 1));
    assert_eq!(view.kv(Scope::default(), "a").unwrap().value[..], *b"before");
    assert!(view.kv(Scope::default(), "b").is_none());
    assert!(view.session_epoch() == 4, "what any leader had under way about sessions is void");
    // A merge does not forget it.
    let mut all = catalog.apply(5, set("c", "1")).changes;
    all.merge(applied.changes);
    assert!(all.is_everything());
    // It goes through a snapshot, too.
    let bytes = postcard::to_allocvec(&catalog.export()).unwrap();
    let copy = Catalog::import(postcard::from_bytes::<Snapshot>(&bytes).unwrap()).unwrap();
    assert_eq!((copy.view().restored(), copy.export()), (4, catalog.export()));
    // The command survives the log.
    let command = Command::Restore(Box::new(snapshot));
    assert_eq!(postcard::from_bytes::<Command>(&postcard::to_allocvec(&command).unwrap()).unwrap(), command);
}

#[test]
fn settings_of_autopilot_are_changed_by_who_knows_them() {
    let mut catalog = Catalog::default();
    assert!(catalog.view().autopilot().is_none());
    let mut set = |index, lag, cas| {
        let settings = Autopilot {
            max_trailing_logs: lag,
            last_contact_threshold: Duration::from_millis(200),
            ..Autopilot::default()
        };
        catalog.apply(index, Command::AutopilotSet { settings, cas }).reply
    };
    assert_eq!(set(1, 100, Some(9)), Reply::Bool(false));
    assert_eq!(set(2, 100, Some(0)), Reply::Bool(true));
    assert_eq!(set(3, 200, Some(0)), Reply::Bool(false));
    assert_eq!(set(4, 200, Some(2)), Reply::Bool(true));
    assert_eq!(set(5, 300, None), Reply::Bool(true));
    let view = catalog.view();
    let settings = view.autopilot().unwrap();
    assert_eq!((settings.max_trailing_logs, settings.indexes.create, settings.indexes.modify), (300, 2, 5));
}
