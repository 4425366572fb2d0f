//! Sessions of a whole node: their time, what they stand on, and what they leave behind.

use super::*;
use convoke_catalog::Session;
use convoke_catalog::command::KvLock;
use convoke_catalog::model::{Str, Tenancy};
use convoke_catalog::restore::Autopilot;
use convoke_catalog::sessions::Behavior;

impl World {
    fn create(&mut self, session: Session) -> u16 {
        self.propose(Command::SessionCreate(session)).0
    }

    fn lock(&mut self, key: &str, session: &str) -> bool {
        let (tenancy, key) = (Tenancy::default(), Str::from(key));
        let lock = KvLock { tenancy, key, value: b"v"[..].into(), flags: 0, session: session.into(), acquire: true };
        let (status, text) = self.propose(Command::KvLock(lock));
        assert_eq!(status, 200, "{text}");
        text == "true"
    }

    fn renew(&mut self, id: &str) -> (u16, String) {
        let id = self.send(Effect::Renew { tenancy: Tenancy::default(), id: id.into(), pretty: false });
        let response = self.replies.remove(&id).unwrap();
        (response.status, String::from_utf8(response.body).unwrap())
    }

    fn lives(&self, id: &str) -> bool {
        self.view().session(Scope::default(), id).is_some()
    }

    fn has(&self, key: &str) -> bool {
        self.view().kv(Scope::default(), key).is_some()
    }
}

fn session(id: &str) -> Session {
    Session { id: id.into(), node: "n1".into(), node_checks: vec!["serfHealth".into()], ..Session::default() }
}

fn timed(id: &str, seconds: u64) -> Session {
    Session { ttl: S(seconds), ..session(id) }
}

#[test]
fn time_is_up_after_twice_the_ttl_and_a_renewal_starts_it_anew() {
    let mut world = World::new(server());
    assert_eq!(world.create(Session { behavior: Behavior::Delete, ..timed("a", 10) }), 200);
    assert!(world.lock("leader", "a"));
    world.pass(S(15));
    let (status, text) = world.renew("a");
    assert_eq!(status, 200);
    assert!(text.starts_with(r#"[{"ID":"a","Name":"","Node":"n1","#), "{text}");
    world.pass(S(19));
    assert!(world.lives("a") && world.has("leader"));
    world.pass(S(2));
    assert!(!world.lives("a") && !world.has("leader"));
    assert_eq!(world.renew("a"), (404, "Session id 'a' not found".to_string()));
    assert_eq!(world.renew("never"), (404, "Session id 'never' not found".to_string()));
}

#[test]
fn a_session_without_ttl_can_be_renewed_too() {
    let mut world = World::new(dev());
    world.create(session("a"));
    world.pass(S(600));
    assert_eq!(world.renew("a").0, 200);
}

#[test]
fn a_failing_check_takes_its_sessions_with_it_at_once() {
    let mut world = World::new(server());
    world.register_check(ttl("c1", 60));
    world.update("c1", Status::Passing, "");
    world.create(Session { checks: vec!["c1".into()], ..session("a") });
    world.create(session("b"));
    assert!(world.lock("k", "a"));
    world.update("c1", Status::Warning, "");
    assert!(world.lives("a"));
    world.update("c1", Status::Critical, "");
    assert!(!world.lives("a") && world.lives("b"));
    assert!(world.lock("k", "b"), "without a lock-delay it is free at once");
}

#[test]
fn a_lock_delay_survives_a_restart() {
    let mut world = World::new(server());
    world.create(Session { lock_delay: S(15), ..session("a") });
    assert!(world.lock("k", "a"));
    world.propose(Command::SessionDestroy { tenancy: Tenancy::default(), id: "a".into() });
    let mut world = World::recover(server(), world.disk);
    world.pass(S(1));
    world.create(session("b"));
    assert!(!world.lock("k", "b"));
    world.pass(S(13));
    assert!(!world.lock("k", "b"));
    world.pass(S(2));
    assert!(world.lock("k", "b"));
}

#[test]
fn sessions_survive_a_restart_with_their_full_time() {
    let mut world = World::new(server());
    world.create(timed("a", 10));
    world.pass(S(19));
    let mut world = World::recover(server(), world.disk);
    world.pass(S(19));
    assert!(world.lives("a"));
    assert_eq!(world.renew("a").0, 200);
    world.pass(S(21));
    assert!(!world.lives("a"));
    let world = World::recover(server(), world.disk);
    assert!(!world.lives("a"), "what ended does not come back");
}

#[test]
fn an_agent_that_does_not_lead_says_so() {
    let config = Config { bootstrap_expect: 0, ..server() };
    let mut world = World::new(config);
    assert_eq!(world.renew("a"), (500, "No cluster leader".to_string()));
}

#[test]
fn a_restore_brings_sessions_back_with_their_full_time_and_the_agent_puts_itself_into_it() {
    let mut world = World::new(server());
    world.pass(S(1));
    world.create(timed("a", 10));
    let snapshot = world.view().export();
    world.propose(Command::SessionDestroy { tenancy: Tenancy::default(), id: "a".into() });
    world.create(timed("b", 10));
    world.register(service("web"));
    assert_eq!(world.propose(Command::Restore(Box::new(snapshot))).0, 200);
    assert!(world.lives("a") && !world.lives("b"));
    assert_eq!(world.catalog_services(), ["consul", "web"]);
    world.pass(S(19));
    assert!(world.lives("a"));
    assert_eq!((world.renew("a").0, world.renew("b").0), (200, 404));
    world.pass(S(21));
    assert!(!world.lives("a"));
}

#[test]
fn settings_of_autopilot_are_seen_by_readers_at_once() {
    let mut world = World::new(server());
    world.pass(S(1));
    // The first reign has made the settings of the configuration the cluster's.
    let first = world.view().autopilot().map(|settings| settings.indexes.modify).unwrap();
    let settings = Autopilot { max_trailing_logs: 7, ..Autopilot::default() };
    let set = |cas| Command::AutopilotSet { settings: settings.clone(), cas: Some(cas) };
    assert_eq!(world.propose(set(first + 1)), (200, "false".to_string()));
    assert_eq!(world.propose(set(first)), (200, "true".to_string()));
    assert_eq!(world.view().autopilot().map(|settings| settings.max_trailing_logs), Some(7));
}

#[test]
fn the_only_server_is_not_removed_and_shows_itself() {
    let mut world = World::new(server());
    world.pass(S(1));
    let raft = world.published.agent.raft.clone().unwrap();
    let [own] = &raft.servers[..] else { panic!("{raft:?}") };
    assert_eq!((&*own.id, &*own.node), ("11111111-2222-3333-4444-555555555555", "n1"));
    assert!(own.leader && own.voter && own.healthy);
    let (status, text) = world.answer(AgentRequest::RemovePeer { id: own.id.clone() });
    assert_eq!(status, 500);
    assert!(text.starts_with("this is the only server that votes"), "{text}");
}
