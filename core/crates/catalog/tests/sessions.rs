//! Sessions and locks: what users rely on, one contract a test.

use std::time::Duration;

use convoke_catalog::command::{Deregister, KvDelete, KvLock, KvSet, Register};
use convoke_catalog::model::{Check, KvEntry, Node, Status, Tenancy};
use convoke_catalog::queries::{PreparedQuery, QueryService};
use convoke_catalog::sessions::{Behavior, Expire};
use convoke_catalog::txn::{KvOp, KvVerb, TxnOp};
use convoke_catalog::{Applied, Catalog, Command, Reply, Scope, Session, Snapshot, Topic};

/// A catalog that counts its own log.
#[derive(Default)]
struct Tables {
    catalog: Catalog,
    index: u64,
}

impl Tables {
    /// A node `n` with the checks `serfHealth` and `c`, both passing.
    fn new() -> Self {
        let mut tables = Self::default();
        for id in ["serfHealth", "c"] {
            assert_eq!(tables.check(id, Status::Passing).reply, Reply::Done);
        }
        tables
    }

    fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        self.catalog.apply(self.index, command)
    }

    fn check(&mut self, id: &str, status: Status) -> Applied {
        let node = Node { name: "n".into(), address: "10.0.0.1".into(), ..Node::default() };
        let check = Check { id: id.into(), status, ..Check::default() };
        self.apply(Command::Register(Register { node, checks: vec![check], ..Register::default() }))
    }

    fn create(&mut self, session: Session) -> Reply {
        self.apply(Command::SessionCreate(session)).reply
    }

    fn destroy(&mut self, id: &str) -> Applied {
        self.apply(Command::SessionDestroy { tenancy: Tenancy::default(), id: id.into() })
    }

    fn lock(&mut self, key: &str, value: &str, session: &str) -> Reply {
        self.apply(lock(key, value, session, true)).reply
    }

    fn unlock(&mut self, key: &str, session: &str) -> Reply {
        self.apply(lock(key, "", session, false)).reply
    }

    fn over(&mut self, id: &str) {
        let sessions = vec![(Tenancy::default(), id.into())];
        assert_eq!(self.apply(Command::LockDelayOver { sessions }).reply, Reply::Done);
    }

    fn entry(&self, key: &str) -> Option<KvEntry> {
        self.catalog.view().kv(Scope::default(), key).map(|entry| (**entry).clone())
    }

    fn holder(&self, key: &str) -> String {
        self.entry(key).and_then(|entry| entry.session).map_or_else(String::new, |id| id.to_string())
    }

    fn lives(&self, id: &str) -> bool {
        self.catalog.view().session(Scope::default(), id).is_some()
    }
}

fn lock(key: &str, value: &str, session: &str, acquire: bool) -> Command {
    let (tenancy, key, value) = (Tenancy::default(), key.into(), value.as_bytes().into());
    Command::KvLock(KvLock { tenancy, key, value, flags: 0, session: session.into(), acquire })
}

fn session(id: &str) -> Session {
    Session { id: id.into(), node: "N".into(), node_checks: vec!["serfHealth".into()], ..Session::default() }
}

fn refused(text: &str) -> Reply {
    Reply::Refused(text.into())
}

fn key(key: &str) -> Topic {
    Topic::Kv { tenancy: Tenancy::default(), key: key.into() }
}

#[test]
fn a_session_needs_what_it_stands_on() {
    let mut tables = Tables::new();
    let absent = Session { node: "x".into(), ..session("a") };
    assert_eq!(tables.create(absent), refused("Missing node registration"));
    assert_eq!(tables.create(Session { node: "".into(), ..session("a") }), refused("Must provide Node"));
    let no_check = Session { checks: vec!["nosuch".into()], ..session("a") };
    assert_eq!(tables.create(no_check), refused("Missing check 'nosuch' registration"));
    tables.check("c", Status::Critical);
    let sick = Session { checks: vec!["c".into()], ..session("a") };
    assert_eq!(tables.create(sick), refused("Check 'c' is in critical state"));
    assert_eq!(tables.create(session("a")), Reply::Done);
    assert_eq!(tables.create(session("A")), refused("session 'A' exists already"));
    let view = tables.catalog.view();
    let row = view.session(Scope::default(), "A").unwrap();
    assert_eq!((&*row.node, row.indexes.create), ("n", tables.index - 1), "the node is spelt as it is registered");
}

#[test]
fn a_lock_has_one_holder_and_counts_how_often_it_was_taken() {
    let mut tables = Tables::new();
    tables.create(session("a"));
    tables.create(session("b"));
    assert_eq!(tables.lock("k", "1", "a"), Reply::Bool(true));
    assert_eq!(tables.lock("k", "2", "b"), Reply::Bool(false));
    assert_eq!(tables.entry("k").unwrap().value[..], *b"1", "who does not get the lock writes nothing");
    // Again, by the holder: sets the value and does not count.
    assert_eq!(tables.lock("k", "3", "A"), Reply::Bool(true));
    let entry = tables.entry("k").unwrap();
    assert_eq!((&entry.value[..], entry.lock_index, entry.session.as_deref()), (&b"3"[..], 1, Some("a")));
    assert_eq!(tables.unlock("k", "b"), Reply::Bool(false));
    assert_eq!(tables.unlock("none", "b"), Reply::Bool(false));
    assert_eq!(tables.unlock("k", "a"), Reply::Bool(true));
    assert_eq!((tables.holder("k"), tables.entry("k").unwrap().lock_index), (String::new(), 1));
    assert_eq!(tables.lock("k", "4", "b"), Reply::Bool(true));
    assert_eq!(tables.entry("k").unwrap().lock_index, 2);
    // A plain write keeps the holder and starts the count anew, as Consul's does.
    let set = KvSet { tenancy: Tenancy::default(), key: "k".into(), value: (*b"5").into(), flags: 0, cas: None };
    tables.apply(Command::KvSet(set));
    assert_eq!((tables.holder("k"), tables.entry("k").unwrap().lock_index), ("b".into(), 0));
    assert_eq!(tables.lock("k", "x", "dead"), refused("invalid session \"dead\""));
    assert_eq!(tables.lock("k", "x", ""), refused("missing session"));
    assert_eq!(tables.lock("", "x", "a"), refused("Must provide key"));
    // A locked key can be deleted, and its session then holds nothing.
    let delete = KvDelete { tenancy: Tenancy::default(), key: "k".into(), recurse: false, cas: None };
    tables.apply(Command::KvDelete(delete));
    assert!(!tables.destroy("b").changes.contains(&key("k")));
}

#[test]
fn what_takes_the_ground_away_ends_the_session_and_its_locks_in_the_same_step() {
    type TakeAway = fn(&mut Tables) -> Applied;
    let gone: [(&str, TakeAway); 5] = [
        ("destroyed", |tables| tables.destroy("A")),
        ("check critical", |tables| tables.check("C", Status::Critical)),
        ("check gone", |tables| {
            let check_id = Some("c".into());
            tables.apply(Command::Deregister(Deregister { node: "n".into(), check_id, ..Deregister::default() }))
        }),
        ("node gone", |tables| {
            tables.apply(Command::Deregister(Deregister { node: "N".into(), ..Deregister::default() }))
        }),
        ("within a transaction", |tables| {
            let check = Check { node: "n".into(), id: "c".into(), status: Status::Critical, ..Check::default() };
            let free = KvOp { verb: KvVerb::CheckSession, key: "kept".into(), ..KvOp::default() };
            let set = TxnOp::Check { verb: convoke_catalog::txn::RowVerb::Set, check };
            let applied = tables.apply(Command::Txn(vec![set, TxnOp::Kv(free)]));
            assert!(matches!(applied.reply, Reply::Txn(Ok(_))), "{applied:?}: an operation sees what others did");
            applied
        }),
    ];
    for (what, take_away) in gone {
        let mut tables = Tables::new();
        let on = |id: &str| Session { checks: vec!["C".into()], ..session(id) };
        tables.create(on("a"));
        tables.create(Session { behavior: Behavior::Delete, ..on("d") });
        tables.create(session("other"));
        for (name, holder) in [("kept", "a"), ("deleted", "d"), ("others", "other")] {
            assert_eq!(tables.lock(name, "v", holder), Reply::Bool(true));
        }
        let applied = take_away(&mut tables);
        assert!(!tables.lives("a"), "{what}");
        assert_eq!((tables.holder("kept"), tables.entry("kept").unwrap().indexes.modify), ("".into(), tables.index));
        assert!(applied.changes.contains(&key("kept")), "{what}: watchers wake");
        assert!(applied.changes.contains(&Topic::Session { tenancy: Tenancy::default(), id: "a".into() }));
        if what != "destroyed" {
            assert_eq!((tables.lives("d"), tables.entry("deleted")), (false, None), "{what}");
            assert!(applied.changes.contains(&key("deleted")), "{what}: watchers wake");
        }
        assert_eq!(tables.lives("other"), what != "node gone", "{what}");
        assert_eq!(tables.holder("others").is_empty(), what == "node gone", "{what}");
    }
}

#[test]
fn a_warning_ends_nothing() {
    let mut tables = Tables::new();
    tables.create(Session { checks: vec!["c".into()], ..session("a") });
    tables.check("c", Status::Warning);
    tables.check("serfHealth", Status::Other("odd".into()));
    assert!(tables.lives("a"));
}

#[test]
fn a_refused_transaction_ends_no_session() {
    let mut tables = Tables::new();
    tables.create(Session { checks: vec!["c".into()], ..session("a") });
    let check = Check { node: "n".into(), id: "c".into(), status: Status::Critical, ..Check::default() };
    let set = TxnOp::Check { verb: convoke_catalog::txn::RowVerb::Set, check };
    let no = TxnOp::Kv(KvOp { verb: KvVerb::Get, key: "none".into(), ..KvOp::default() });
    assert!(matches!(tables.apply(Command::Txn(vec![set, no])).reply, Reply::Txn(Err(_))));
    assert!(tables.lives("a"));
}

#[test]
fn a_lock_delay_holds_until_the_leader_has_measured_it_even_through_a_snapshot() {
    let mut tables = Tables::new();
    let delay = Duration::from_secs(120);
    tables.create(Session { lock_delay: delay, behavior: Behavior::Delete, ..session("a") });
    tables.create(session("b"));
    assert_eq!(tables.lock("k", "1", "a"), Reply::Bool(true));
    // Letting go of a lock is no invalidation.
    assert_eq!(tables.unlock("k", "a"), Reply::Bool(true));
    assert_eq!(tables.lock("k", "1", "b"), Reply::Bool(true));
    assert_eq!(tables.unlock("k", "b"), Reply::Bool(true));
    assert_eq!(tables.lock("k", "1", "a"), Reply::Bool(true));
    tables.check("serfHealth", Status::Critical);
    tables.check("serfHealth", Status::Passing);
    tables.create(session("c"));
    let bytes = postcard::to_allocvec(&tables.catalog.export()).unwrap();
    tables.catalog = Catalog::import(postcard::from_bytes::<Snapshot>(&bytes).unwrap()).unwrap();
    assert_eq!(tables.lock("k", "2", "c"), Reply::Bool(false));
    assert_eq!(tables.lock("k2", "2", "c"), Reply::Bool(true), "other keys are not concerned");
    let delayed: Vec<_> = tables.catalog.view().lock_delays().map(|(_, id, delay)| (id.to_string(), delay)).collect();
    assert_eq!(delayed, [("a".to_string(), Duration::from_secs(60))], "no delay is longer than a minute");
    let op = KvOp { verb: KvVerb::Lock, key: "k".into(), session: "c".into(), ..KvOp::default() };
    let Reply::Txn(Err(errors)) = tables.apply(Command::Txn(vec![TxnOp::Kv(op)])).reply else { panic!() };
    assert_eq!(errors[0].what, "failed to lock key \"k\" due to lock delay");
    tables.over("A");
    assert_eq!(tables.lock("k", "2", "c"), Reply::Bool(true));
    assert_eq!(tables.catalog.view().lock_delays().count(), 0);
}

#[test]
fn only_the_leader_that_measured_may_time_a_session_out() {
    let mut tables = Tables::new();
    let timed = Session { ttl: Duration::from_secs(10), ..session("a") };
    tables.create(timed);
    tables.create(session("no-ttl"));
    let expire = |epoch| {
        let sessions = ["a", "no-ttl", "gone"].map(|id| (Tenancy::default(), id.into())).into();
        Command::SessionExpire(Expire { epoch, sessions })
    };
    // A leader measures, and is deposed with its command still under way. The next one begins, renews, and only then
    // the command comes through: it must do nothing.
    let old = tables.catalog.view().session_epoch();
    assert_eq!(tables.apply(Command::SessionEpoch).reply, Reply::Done);
    assert_eq!(tables.apply(expire(old)).reply, Reply::Bool(false));
    assert!(tables.lives("a"));
    let bytes = postcard::to_allocvec(&tables.catalog.export()).unwrap();
    tables.catalog = Catalog::import(postcard::from_bytes::<Snapshot>(&bytes).unwrap()).unwrap();
    let now = tables.catalog.view().session_epoch();
    assert!(now > old);
    assert_eq!(tables.apply(expire(now)).reply, Reply::Done);
    assert!(!tables.lives("a") && tables.lives("no-ttl"));
}

#[test]
fn a_query_goes_with_its_session() {
    let mut tables = Tables::new();
    let query = |id: &str, session: &str| {
        let service = QueryService { service: "web".into(), ..QueryService::default() };
        let query = PreparedQuery { id: id.into(), session: session.into(), service, ..PreparedQuery::default() };
        Command::QuerySet { query, create: true }
    };
    assert_eq!(tables.apply(query("q1", "a")).reply, refused("invalid session"));
    tables.create(session("a"));
    assert_eq!(tables.apply(query("q1", "A")).reply, Reply::Done);
    tables.create(session("b"));
    assert_eq!(tables.apply(query("q2", "b")).reply, Reply::Done);
    assert!(tables.destroy("a").changes.contains(&Topic::Queries));
    let left: Vec<_> = tables.catalog.view().queries().map(|query| query.id.to_string()).collect();
    assert_eq!(left, ["q2"]);
}
