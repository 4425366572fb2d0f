//! The model: flat maps, everything computed when it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use convoke_catalog::command::{Deregister, KvDelete, KvLock, KvSet, Register};
use convoke_catalog::coordinate::{CoordinateUpdate, NodeCoordinate};
use convoke_catalog::model::{Check, Indexes, KvEntry, Node, Service, Status, Str, Tenancy};
use convoke_catalog::queries::PreparedQuery;
use convoke_catalog::sessions::{Behavior, Expire, Session};
use convoke_catalog::{Command, Reply, View};

/// Namespace, folded node name, folded id.
type Key = (String, String, String);

#[derive(Clone, Default)]
pub(crate) struct Naive {
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<Key, Service>,
    checks: BTreeMap<Key, Check>,
    kv: BTreeMap<(String, String), KvEntry>,
    queries: BTreeMap<String, PreparedQuery>,
    /// By folded node name and segment.
    coordinates: BTreeMap<(String, String), NodeCoordinate>,
    /// By folded id.
    sessions: BTreeMap<String, Session>,
    /// (namespace, key, session that is gone).
    delays: Vec<(String, String, String)>,
    epoch: u64,
}

fn fold(name: &str) -> String {
    name.to_lowercase()
}

fn space(tenancy: &Tenancy) -> String {
    if tenancy.namespace.is_empty() { "default".into() } else { tenancy.namespace.to_string() }
}

fn stored(namespace: &str) -> Tenancy {
    Tenancy { namespace: namespace.into(), ..Tenancy::default() }
}

/// `indexes` of a row that replaces `old`.
fn indexes(old: Option<Indexes>, index: u64) -> Indexes {
    Indexes { create: old.map_or(index, |old| old.create), modify: index }
}

/// What a session stands on: namespace and id of checks.
fn standing(session: &Session) -> Vec<(String, &Str)> {
    let own = || space(&session.tenancy);
    let mut checks: Vec<_> = session.node_checks.iter().map(|id| ("default".to_string(), id)).collect();
    checks.extend(session.service_checks.iter().map(|check| match &*check.namespace {
        "" => (own(), &check.id),
        namespace => (namespace.to_string(), &check.id),
    }));
    checks.extend(session.checks.iter().map(|id| (own(), id)));
    checks
}

impl Naive {
    pub(crate) fn apply(&mut self, index: u64, command: Command) -> Reply {
        let reply = self.change(index, command);
        let fallen = |session: &&Session| {
            let of_node = fold(&session.node);
            let stands = |(space, id): (String, &Str)| {
                let check = self.checks.get(&(space, of_node.clone(), fold(id)));
                check.is_some_and(|check| check.status != Status::Critical)
            };
            !self.nodes.contains_key(&of_node) || !standing(session).into_iter().all(stands)
        };
        let doomed: Vec<String> = self.sessions.values().filter(fallen).map(|session| fold(&session.id)).collect();
        doomed.iter().for_each(|id| self.end(index, id));
        reply
    }

    fn change(&mut self, index: u64, command: Command) -> Reply {
        match command {
            Command::Register(register) => {
                let mut copy = self.clone();
                match copy.register(index, register) {
                    Ok(()) => {
                        *self = copy;
                        Reply::Done
                    }
                    Err(why) => Reply::Refused(why),
                }
            }
            Command::Deregister(deregister) => {
                self.deregister(&deregister);
                Reply::Done
            }
            Command::KvSet(set) => self.set(index, set),
            Command::KvDelete(delete) => self.delete(&delete),
            Command::QuerySet { query, create } => self.set_query(index, query, create),
            Command::QueryDelete { id } => match self.queries.remove(&*id) {
                Some(_) => Reply::Done,
                None => Reply::Refused(format!("Cannot modify non-existent prepared query: '{id}'")),
            },
            Command::Coordinates(updates) => self.place(index, updates),
            Command::KvLock(lock) => self.lock(index, lock),
            Command::SessionCreate(session) => self.create(index, session),
            Command::SessionDestroy { tenancy, id } => {
                if self.named(&tenancy, &id).is_some() {
                    self.end(index, &fold(&id));
                }
                Reply::Done
            }
            Command::SessionEpoch => {
                self.epoch = index;
                Reply::Done
            }
            Command::SessionExpire(Expire { epoch, .. }) if epoch != self.epoch => Reply::Bool(false),
            Command::SessionExpire(Expire { sessions, .. }) => {
                for (tenancy, id) in sessions {
                    if self.named(&tenancy, &id).is_some_and(|session| !session.ttl.is_zero()) {
                        self.end(index, &fold(&id));
                    }
                }
                Reply::Done
            }
            Command::LockDelayOver { sessions } => {
                self.delays.retain(|(space_of, _, gone)| {
                    !sessions.iter().any(|(tenancy, id)| space(tenancy) == *space_of && fold(id) == *gone)
                });
                Reply::Done
            }
            Command::Txn(_) => unreachable!("transactions have tests of their own"),
        }
    }

    fn register(&mut self, index: u64, register: Register) -> Result<(), String> {
        let Register { mut node, skip_node_update, services, checks } = register;
        let key = fold(&node.name);
        node.partition = "default".into();
        node.id = node.id.filter(|id| !id.is_empty());
        let name = node.name.clone();
        if !(skip_node_update && self.nodes.contains_key(&key)) {
            self.put_node(index, &key, node).map_err(|why| format!("failed inserting node: {why}"))?;
        }
        for mut service in services {
            let space = space(&service.tenancy);
            service.tenancy = stored(&space);
            let at = (space, key.clone(), fold(&service.id));
            let old = self.services.get(&at).cloned();
            service.indexes = old.as_ref().map_or(Indexes::default(), |old| old.indexes);
            if old.as_ref() == Some(&service) {
                continue;
            }
            service.indexes = indexes(old.as_ref().map(|old| old.indexes), index);
            if old.is_some_and(|old| old.name != service.name) {
                for check in self.checks.values_mut().filter(|check| is_of(check, &at)) {
                    if (&check.service_name, &check.service_tags) != (&service.name, &service.tags) {
                        check.service_name = service.name.clone();
                        check.service_tags = service.tags.clone();
                        check.indexes.modify = index;
                    }
                }
            }
            self.services.insert(at, service);
        }
        for mut check in checks {
            let space = space(&check.tenancy);
            check.tenancy = stored(&space);
            check.node = self.nodes[&key].name.clone();
            if !check.service_id.is_empty() {
                let Some(service) = self.services.get(&(space.clone(), key.clone(), fold(&check.service_id))) else {
                    return Err(format!("failed inserting check: Missing service registration on node {name:?}"));
                };
                check.service_id = service.id.clone();
                check.service_name = service.name.clone();
                check.service_tags = service.tags.clone();
            }
            let at = (space, key.clone(), fold(&check.id));
            let old = self.checks.get(&at);
            check.indexes = old.map_or(Indexes::default(), |old| old.indexes);
            if old == Some(&check) {
                continue;
            }
            check.indexes = indexes(old.map(|old| old.indexes), index);
            self.checks.insert(at, check);
        }
        Ok(())
    }

    fn put_node(&mut self, index: u64, key: &str, mut node: Node) -> Result<(), String> {
        let mut old = self.nodes.get(key).cloned();
        if let Some(id) = node.id.clone() {
            let same = |other: &Node| other.id.as_deref().map(fold) == Some(fold(&id));
            let held = self.nodes.iter().find(|(_, other)| same(other)).map(|(name, _)| name.clone());
            let serf = ("default".to_string(), key.to_string(), "serfhealth".to_string());
            let alive = self.checks.get(&serf).is_some_and(|check| check.status != Status::Critical);
            let reserved = |other: &Node| {
                let id = other.id.as_deref().unwrap_or("");
                format!("Node name {} is reserved by node {id} with name {} ({})", node.name, other.name, other.address)
            };
            match (held, &old) {
                (Some(held), taken) if held != key => {
                    if let Some(other) = taken.as_ref().filter(|_| alive) {
                        let why = reserved(other);
                        return Err(format!("Error while renaming Node ID: {id:?} ({}): {why}", node.address));
                    }
                    let create = self.nodes[&held].indexes.create;
                    self.remove_node(&held);
                    if old.is_none() {
                        node.indexes = Indexes { create, modify: index };
                        self.nodes.insert(key.to_string(), node);
                        return Ok(());
                    }
                }
                (None, Some(other)) if alive && other.id.is_some() => {
                    return Err(format!("Error while renaming Node ID: {id:?}: {}", reserved(other)));
                }
                _ => {}
            }
        }
        if let Some(old) = &mut old {
            node.indexes = old.indexes;
            if *old == node {
                return Ok(());
            }
        }
        node.indexes = indexes(old.map(|old| old.indexes), index);
        for check in self.checks.iter_mut().filter(|((_, of, _), _)| of == key).map(|(_, check)| check) {
            if check.node != node.name {
                check.node = node.name.clone();
                check.indexes.modify = index;
            }
        }
        self.nodes.insert(key.to_string(), node);
        Ok(())
    }

    fn remove_node(&mut self, key: &str) {
        self.nodes.remove(key);
        self.services.retain(|(_, node, _), _| node != key);
        self.checks.retain(|(_, node, _), _| node != key);
        self.coordinates.retain(|(node, _), _| node != key);
    }

    fn place(&mut self, index: u64, updates: Vec<CoordinateUpdate>) -> Reply {
        if updates.iter().any(|update| !update.coordinate.vec[0].is_finite()) {
            return Reply::Refused("invalid coordinate".into());
        }
        for CoordinateUpdate { node, segment, coordinate, .. } in updates {
            let at = (fold(&node), segment.to_string());
            let same = |old: &NodeCoordinate| (&old.node, old.coordinate) == (&node, coordinate);
            if self.nodes.contains_key(&at.0) && !self.coordinates.get(&at).is_some_and(same) {
                self.coordinates.insert(at, NodeCoordinate { node, segment, coordinate, modify: index });
            }
        }
        Reply::Done
    }

    fn deregister(&mut self, deregister: &Deregister) {
        let node = fold(&deregister.node);
        let space = space(&deregister.tenancy);
        if let Some(id) = &deregister.service_id {
            let at = (space, node, fold(id));
            self.services.remove(&at);
            self.checks.retain(|_, check| !is_of(check, &at));
        } else if let Some(id) = &deregister.check_id {
            self.checks.remove(&(space, node, fold(id)));
        } else {
            self.remove_node(&node);
        }
    }

    fn set(&mut self, index: u64, set: KvSet) -> Reply {
        let at = (space(&set.tenancy), set.key.to_string());
        let old = self.kv.get(&at).cloned();
        let done = if set.cas.is_some() { Reply::Bool(true) } else { Reply::Done };
        if set.cas.is_some_and(|cas| cas != old.as_ref().map_or(0, |old| old.indexes.modify)) {
            return Reply::Bool(false);
        }
        if old.as_ref().is_some_and(|old| (&old.value, old.flags, old.lock_index) == (&set.value, set.flags, 0)) {
            return done;
        }
        let session = old.as_ref().and_then(|old| old.session.clone());
        let indexes = indexes(old.map(|old| old.indexes), index);
        let entry = KvEntry { key: set.key, value: set.value, flags: set.flags, lock_index: 0, session, indexes };
        self.kv.insert(at, entry);
        done
    }

    fn delete(&mut self, delete: &KvDelete) -> Reply {
        let space = space(&delete.tenancy);
        if delete.recurse {
            self.kv.retain(|(of, key), _| *of != space || !key.starts_with(&*delete.key));
            return Reply::Done;
        }
        if delete.key.is_empty() {
            return Reply::Refused("Must provide key".into());
        }
        let at = (space, delete.key.to_string());
        let Some(cas) = delete.cas else {
            self.kv.remove(&at);
            return Reply::Done;
        };
        if self.kv.get(&at).is_some_and(|entry| entry.indexes.modify != cas) {
            return Reply::Bool(false);
        }
        self.kv.remove(&at);
        Reply::Bool(true)
    }

    fn named(&self, tenancy: &Tenancy, id: &str) -> Option<&Session> {
        self.sessions.get(&fold(id)).filter(|session| *session.tenancy.namespace == *space(tenancy))
    }

    fn create(&mut self, index: u64, mut session: Session) -> Reply {
        let node = fold(&session.node);
        let Some(row) = self.nodes.get(&node) else { return Reply::Refused("Missing node registration".into()) };
        if self.sessions.contains_key(&fold(&session.id)) {
            return Reply::Refused(format!("session '{}' exists already", session.id));
        }
        session.node = row.name.clone();
        session.tenancy = stored(&space(&session.tenancy));
        session.indexes = Indexes { create: index, modify: index };
        for (space, id) in standing(&session) {
            match self.checks.get(&(space, node.clone(), fold(id))) {
                None => return Reply::Refused(format!("Missing check '{id}' registration")),
                Some(check) if check.status == Status::Critical => {
                    return Reply::Refused(format!("Check '{id}' is in critical state"));
                }
                Some(_) => {}
            }
        }
        self.sessions.insert(fold(&session.id), session);
        Reply::Done
    }

    fn end(&mut self, index: u64, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        let space = space(&session.tenancy);
        let keys = self.kv.iter().filter(|(_, entry)| entry.session.as_deref().map(fold) == Some(id.into()));
        let keys: Vec<_> = keys.map(|(at, _)| at.clone()).collect();
        for at in keys {
            if !session.lock_delay.is_zero() {
                self.delays.push((space.clone(), at.1.clone(), id.to_string()));
            }
            if session.behavior == Behavior::Delete {
                self.kv.remove(&at);
            } else if let Some(entry) = self.kv.get_mut(&at) {
                entry.session = None;
                entry.indexes.modify = index;
            }
        }
    }

    fn lock(&mut self, index: u64, lock: KvLock) -> Reply {
        let space = space(&lock.tenancy);
        let at = (space.clone(), lock.key.to_string());
        let old = self.kv.get(&at).cloned();
        let holder = old.as_ref().and_then(|old| old.session.as_deref()).map(fold);
        let mine = holder == Some(fold(&lock.session));
        let mut entry = old.clone().unwrap_or_default();
        if lock.acquire {
            let Some(session) = self.named(&lock.tenancy, &lock.session) else {
                return Reply::Refused(format!("invalid session {:?}", lock.session));
            };
            let waits = self.delays.iter().any(|(of, key, _)| *of == space && **key == *lock.key);
            if !mine && (holder.is_some() || waits) {
                return Reply::Bool(false);
            }
            entry.lock_index += u64::from(!mine);
            entry.session = Some(session.id.clone());
        } else if mine {
            entry.session = None;
        } else {
            return Reply::Bool(false);
        }
        (entry.key, entry.value, entry.flags) = (lock.key, lock.value, lock.flags);
        if old.as_ref() != Some(&entry) {
            entry.indexes = indexes(old.map(|old| old.indexes), index);
            self.kv.insert(at, entry);
        }
        Reply::Bool(true)
    }

    fn set_query(&mut self, index: u64, mut query: PreparedQuery, create: bool) -> Reply {
        let old = self.queries.get(&*query.id).cloned();
        if old.is_some() == create {
            let words = if create {
                "prepared query '' exists already"
            } else {
                "Cannot modify non-existent prepared query: ''"
            };
            return Reply::Refused(words.replace("''", &format!("'{}'", query.id)));
        }
        if self.queries.values().any(|other| other.id != query.id && fold(&other.name) == fold(&query.name)) {
            return Reply::Refused(format!("name '{}' aliases an existing query name", query.name));
        }
        query.indexes = old.as_ref().map_or(Indexes::default(), |old| old.indexes);
        if old.as_ref() != Some(&query) {
            query.indexes = indexes(old.map(|old| old.indexes), index);
            self.queries.insert(query.id.to_string(), query);
        }
        Reply::Done
    }

    /// Panics unless the view holds and joins the same.
    pub(crate) fn compare(&self, view: &View) {
        let nodes: Vec<&Node> = view.nodes("default").map(|node| &**node).collect();
        assert_eq!(nodes, self.nodes.values().collect::<Vec<_>>());
        for node in self.nodes.values() {
            if let Some(id) = &node.id {
                assert_eq!(view.node_by_id("default", &id.to_uppercase()).map(|node| &**node), Some(node));
            }
            if let Ok(address) = node.address.parse() {
                assert!(view.nodes_by_address("default", address).any(|other| **other == *node));
            }
        }
        let addressed =
            ["10.0.0.1", "10.0.0.2"].map(|address| view.nodes_by_address("default", address.parse().unwrap()).count());
        let parsed = |node: &&Node| node.address.parse::<std::net::IpAddr>().is_ok();
        assert_eq!(addressed.iter().sum::<usize>(), self.nodes.values().filter(parsed).count());
        let queries: Vec<&PreparedQuery> = view.queries().map(|query| &**query).collect();
        assert_eq!(queries, self.queries.values().collect::<Vec<_>>());
        for query in queries {
            assert_eq!(view.query(&query.name.to_uppercase()).map(|found| &**found), Some(query));
        }
        let placed: Vec<&NodeCoordinate> = view.coordinates("default").collect();
        assert_eq!(placed, self.coordinates.values().collect::<Vec<_>>());
        for space in ["default", "team"] {
            self.compare_space(view, space);
        }
    }

    fn compare_space(&self, view: &View, space: &str) {
        let scope = ("default", space).into();
        let here = |session: &&Session| *session.tenancy.namespace == *space;
        let sessions: Vec<&Session> = view.sessions(scope).map(|session| &**session).collect();
        assert_eq!(sessions, self.sessions.values().filter(here).collect::<Vec<_>>());
        for node in self.nodes.keys() {
            let found: Vec<&Session> = view.sessions_of(scope, node).map(|session| &**session).collect();
            let of_node = |session: &&Session| fold(&session.node) == *node;
            assert_eq!(found, self.sessions.values().filter(here).filter(of_node).collect::<Vec<_>>());
        }
        let keys: Vec<&KvEntry> = view.kv_range(scope, "").map(|entry| &**entry).collect();
        assert_eq!(keys, self.kv.iter().filter(|((of, _), _)| of == space).map(|(_, e)| e).collect::<Vec<_>>());
        for entry in keys {
            // A lock without its session would never be let go.
            let held = entry.session.as_deref().map(|id| view.session(scope, id));
            assert!(held.is_none_or(|session| session.is_some()), "{entry:?}");
        }
        let delays: std::collections::BTreeSet<String> =
            self.delays.iter().filter(|(of, ..)| of == space).map(|(.., id)| id.clone()).collect();
        let found = view.lock_delays().filter(|(tenancy, ..)| *tenancy.namespace == *space);
        assert_eq!(found.map(|(_, id, _)| id.to_string()).collect::<std::collections::BTreeSet<_>>(), delays);

        let checks: Vec<&Check> = view.checks(scope).map(|check| &**check).collect();
        let of_space = |key: &Key| key.0 == space;
        assert_eq!(checks, self.checks.iter().filter(|(key, _)| of_space(key)).map(|(_, c)| c).collect::<Vec<_>>());
        for status in ["passing", "warning", "critical", "odd"].map(Status::from_text) {
            let found: Vec<&Check> = view.checks_in_state(scope, &status).map(|check| &**check).collect();
            let expected = self.checks.iter().filter(|(key, check)| of_space(key) && check.status == status);
            assert_eq!(found, expected.map(|(_, check)| check).collect::<Vec<_>>());
        }
        for node in self.nodes.keys() {
            let services: Vec<&Service> = view.services_of(scope, node).iter().map(|service| &**service).collect();
            let expected = self.services.iter().filter(|(key, _)| of_space(key) && key.1 == *node).map(|(_, s)| s);
            assert_eq!(services, expected.collect::<Vec<_>>());
        }
        let at_nine: Vec<&Service> =
            view.services_by_address(scope, "10.0.0.9".parse().unwrap()).map(|(_, service)| &**service).collect();
        let mut expected: Vec<(&Key, &Service)> = self.services.iter().filter(|(key, _)| of_space(key)).collect();
        expected.retain(|(_, service)| &*service.address == "10.0.0.9");
        assert_eq!(at_nine, expected.into_iter().map(|(_, service)| service).collect::<Vec<_>>());

        let mut listed: BTreeMap<Str, Vec<Str>> = BTreeMap::new();
        for name in ["web", "db"] {
            let members = |key: &Key, service: &Service| of_space(key) && fold(&service.name) == name;
            self.compare_group(view.group(scope, name), members);
            let connect = |key: &Key, service: &Service| {
                of_space(key)
                    && (service.connect_native && fold(&service.name) == name
                        || service.proxy.is_some() && name == "db")
            };
            self.compare_group(view.connect_group(scope, name), connect);
        }
        for (_, service) in self.services.iter().filter(|(key, _)| of_space(key)) {
            let tags = listed.entry(service.name.clone()).or_default();
            tags.extend(service.tags.iter().cloned());
            tags.sort();
            tags.dedup();
        }
        let names: BTreeMap<Str, Vec<Str>> =
            view.service_names(scope).map(|listed| (listed.name.clone(), listed.tags.clone())).collect();
        assert_eq!(names, listed);

        let kv: Vec<&KvEntry> = view.kv_range(scope, "").map(|entry| &**entry).collect();
        assert_eq!(kv, self.kv.iter().filter(|((of, _), _)| of == space).map(|(_, e)| e).collect::<Vec<_>>());
    }

    fn compare_group(
        &self,
        group: Option<&Arc<convoke_catalog::ServiceGroup>>,
        members: impl Fn(&Key, &Service) -> bool,
    ) {
        let joined: Vec<(Node, Service, Vec<Check>)> = group
            .into_iter()
            .flat_map(|group| &group.instances)
            .map(|instance| {
                let checks: Vec<Check> = instance.checks.iter().map(|check| Check::clone(check)).collect();
                let critical = checks.iter().any(|check| check.status == Status::Critical);
                assert_eq!(critical, instance.status == Status::Critical);
                let passing = checks.iter().all(|check| check.status == Status::Passing);
                assert_eq!(passing, instance.status == Status::Passing);
                (Node::clone(&instance.node), Service::clone(&instance.service), checks)
            })
            .collect();
        let mut expected = Vec::new();
        for ((space, node, id), service) in self.services.iter().filter(|(key, service)| members(key, service)) {
            let mut checks: Vec<Check> = Vec::new();
            for of in if space == "default" { &["default"][..] } else { &["default", "team"] } {
                let of_node = |((s, n, _), c): &(&Key, &Check)| s == of && n == node && c.service_id.is_empty();
                checks.extend(self.checks.iter().filter(of_node).map(|(_, check)| check.clone()));
            }
            let at = (space.clone(), node.clone(), id.clone());
            checks.extend(self.checks.values().filter(|check| is_of(check, &at)).cloned());
            expected.push((self.nodes[node].clone(), service.clone(), checks));
        }
        expected.sort_by_key(|(node, service, _)| (fold(&node.name), fold(&service.id)));
        assert_eq!(joined, expected);
        assert_eq!(group.is_some(), !joined.is_empty());
    }
}

fn is_of(check: &Check, (space, node, id): &Key) -> bool {
    !check.service_id.is_empty()
        && *check.tenancy.namespace == **space
        && fold(&check.node) == *node
        && fold(&check.service_id) == *id
}
