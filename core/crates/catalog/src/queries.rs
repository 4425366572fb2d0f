//! Prepared queries: a name under which a filtered choice of a service's instances is found.
//!
//! Stored by [`Command::QuerySet`](crate::Command::QuerySet), executed by [`execute`], which reads a view and changes
//! nothing. A query may also be a template, from which [`View::resolve_query`] makes one for the name that is asked for.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use serde::{Deserialize, Serialize};

use crate::catalog::Write;
use crate::command::Reply;
use crate::group::{Instance, ServiceGroup};
use crate::model::{Indexes, Status, Str, Tenancy};
use crate::name::{Scope, fold, fold_shared};
use crate::sessions::Session;
use crate::state::State;
use crate::table::Table;
use crate::template::Template;
use crate::topic::Topic;
use crate::view::View;

/// A stored query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedQuery {
    /// UUID text, chosen by whoever proposes the query.
    pub id: Str,
    /// What it is found by beside its id, compared without case; empty only if bound to a session.
    pub name: Str,
    /// Session it lives with; empty for none.
    pub session: Str,
    /// Token it executes with; empty for that of the client.
    pub token: Str,
    /// How the query is made from the name that was asked for.
    pub template: QueryTemplate,
    /// What it finds.
    pub service: QueryService,
    /// TTL of DNS answers as it was given, e.g. `10s`; empty for that of the service.
    pub dns_ttl: Str,
    /// Log indexes.
    pub indexes: Indexes,
}

/// See [`PreparedQuery::template`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryTemplate {
    /// Empty: no template.
    pub kind: Str,
    /// Matched against the name.
    pub regexp: Str,
    /// Empty tags that come out of it are left out.
    pub remove_empty_tags: bool,
}

/// See [`PreparedQuery::service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryService {
    /// Name of the service.
    pub service: Str,
    /// Ask that many of the nearest datacenters if there is no instance in this one.
    pub failover_nearest: u32,
    /// Then these.
    pub failover_datacenters: Option<Vec<Str>>,
    /// Instances with a warning are left out, too.
    pub only_passing: bool,
    /// Checks that do not count.
    pub ignore_check_ids: Option<Vec<Str>>,
    /// Nearest to this node first; `_agent`: to the asking one.
    pub near: Str,
    /// All of these tags; with `!` in front: none of these. Compared without case.
    pub tags: Option<Vec<Str>>,
    /// All of these pairs.
    pub node_meta: Option<BTreeMap<Str, Str>>,
    /// All of these pairs.
    pub service_meta: Option<BTreeMap<Str, Str>>,
    /// Mesh-capable instances for the service instead of its own.
    pub connect: bool,
}

/// Queries of the datacenter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queries {
    /// By folded id.
    pub(crate) rows: Table<Str, Arc<PreparedQuery>>,
    /// Folded name to folded id.
    pub(crate) names: Table<Str, Str>,
    /// Templates by folded name, which may be empty.
    pub(crate) templates: Table<Str, Arc<Template>>,
    /// (folded session id, folded id) of those that are bound to a session.
    bound: Table<(Str, Str), ()>,
    /// Last change to any of them.
    pub(crate) index: u64,
}

/// See [`Command::QuerySet`](crate::Command::QuerySet).
pub(crate) fn set(state: &mut State, write: &mut Write, mut query: PreparedQuery, create: bool) -> Reply {
    let id = fold_shared(&query.id);
    let before = state.queries.rows.get(&*id).cloned();
    if let Err(why) = check(state, &query, &id, before.is_some(), create) {
        return Reply::Refused(why);
    }
    query.indexes = before.as_ref().map_or(Indexes { create: write.index, modify: write.index }, |row| row.indexes);
    if before.as_ref().is_some_and(|before| **before == query) {
        return Reply::Done;
    }
    query.indexes.modify = write.index;
    let queries = &mut state.queries;
    if let Some(before) = before {
        queries.take(&id, &before);
    }
    queries.put(id, Arc::new(query));
    queries.index = write.index;
    write.changes.add(Topic::Queries);
    Reply::Done
}

/// See [`Command::QueryDelete`](crate::Command::QueryDelete).
pub(crate) fn delete(state: &mut State, write: &mut Write, id: &str) -> Reply {
    let queries = &mut state.queries;
    let Some(query) = queries.rows.get(&*fold(id)).cloned() else {
        return Reply::Refused(format!("Cannot modify non-existent prepared query: '{id}'"));
    };
    queries.take(&fold(id), &query);
    queries.index = write.index;
    write.changes.add(Topic::Queries);
    Reply::Done
}

/// Deletes the queries that were bound to a session, which is gone.
pub(crate) fn end_bound(state: &mut State, write: &mut Write, session: &Session) {
    if session.tenancy != Tenancy::default() {
        return;
    }
    let queries = &mut state.queries;
    let holder = fold_shared(&session.id);
    let from = (Arc::clone(&holder), Str::default());
    let ids = queries.bound.range((Bound::Included(from), Bound::Unbounded));
    let ids = ids.take_while(|((of, _), ())| *of == holder).map(|((_, id), ())| Arc::clone(id));
    for id in ids.collect::<Vec<_>>() {
        let Some(query) = queries.rows.get(&*id).cloned() else { continue };
        queries.take(&id, &query);
        queries.index = write.index;
        write.changes.add(Topic::Queries);
    }
}

/// What is refused, in Consul's words.
fn check(state: &State, query: &PreparedQuery, id: &str, exists: bool, create: bool) -> Result<(), String> {
    if id.is_empty() {
        return Err("Must provide a query ID".to_string());
    }
    if !create && !exists {
        return Err(format!("Cannot modify non-existent prepared query: '{}'", query.id));
    }
    if create && exists {
        return Err(format!("prepared query '{}' exists already", query.id));
    }
    validate(query)?;
    if !query.session.is_empty() && state.session(&Tenancy::default(), &query.session).is_none() {
        return Err("invalid session".to_string());
    }
    let name = fold(&query.name);
    if !query.template.kind.is_empty() {
        Template::compile(&Arc::new(query.clone())).map_err(|why| format!("failed compiling template: {why}"))?;
        let other = state.queries.templates.get(&*name).filter(|other| *fold(&other.query.id) != *id);
        if name.is_empty() && other.is_some() {
            return Err("a query template with an empty name already exists".to_string());
        }
    }
    if query.name.is_empty() {
        return Ok(());
    }
    if state.queries.names.get(&*name).is_some_and(|holder| **holder != *id) {
        return Err(format!("name '{}' aliases an existing query name", query.name));
    }
    if state.queries.rows.get(&*name).is_some() {
        return Err(format!("name '{}' aliases an existing query ID", query.name));
    }
    Ok(())
}

/// Whether a query makes sense by itself; the text is what the user sees.
///
/// # Errors
/// If nothing could find it, or it finds nothing.
pub fn validate(query: &PreparedQuery) -> Result<(), String> {
    if query.name.is_empty() && query.template.kind.is_empty() && query.session.is_empty() {
        Err("Invalid prepared query: Must be bound to a session".to_string())
    } else if query.service.service.is_empty() {
        Err("Invalid prepared query: Must provide a Service name to query".to_string())
    } else {
        Ok(())
    }
}

/// The instances a query finds, sorted as the group is; shuffling, distance and limits are the caller's.
pub fn execute<'v>(
    view: &'v View,
    scope: Scope<'_>,
    query: &'v QueryService,
) -> impl Iterator<Item = &'v Instance> + use<'v> {
    let group: Option<&Arc<ServiceGroup>> =
        if query.connect { view.connect_group(scope, &query.service) } else { view.group(scope, &query.service) };
    group.into_iter().flat_map(|group| &group.instances).filter(|instance| query.takes(instance))
}

impl QueryService {
    /// Whether an instance is healthy enough and has what is asked for.
    #[must_use]
    pub fn takes(&self, instance: &Instance) -> bool {
        let pairs = |wanted: &Option<BTreeMap<Str, Str>>, there: &Option<BTreeMap<Str, Str>>| {
            let has = |(key, value): (&Str, &Str)| there.as_ref().is_some_and(|there| there.get(key) == Some(value));
            wanted.iter().flatten().all(has)
        };
        let tagged = |tag: &str| instance.service.tags.iter().any(|own| fold(own) == fold(tag));
        let tags = self.tags.iter().flatten().all(|tag| match tag.strip_prefix('!') {
            Some(unwanted) => !tagged(unwanted),
            None => tagged(tag),
        });
        tags && self.is_healthy(instance)
            && pairs(&self.node_meta, &instance.node.meta)
            && pairs(&self.service_meta, &instance.service.meta)
    }

    fn is_healthy(&self, instance: &Instance) -> bool {
        let counts = |id: &Str| !self.ignore_check_ids.iter().flatten().any(|ignored| ignored == id);
        instance.checks.iter().filter(|check| counts(&check.id)).all(|check| match check.status {
            Status::Passing => true,
            Status::Critical => false,
            Status::Warning | Status::Other(_) => !self.only_passing,
        })
    }
}

impl Queries {
    /// Adds a row under its folded id.
    pub(crate) fn put(&mut self, id: Str, query: Arc<PreparedQuery>) {
        if !query.name.is_empty() {
            self.names.insert(fold_shared(&query.name), Arc::clone(&id));
        }
        if let Ok(template) = Template::compile(&query) {
            self.templates.insert(fold_shared(&query.name), Arc::new(template));
        }
        if !query.session.is_empty() {
            self.bound.insert((fold_shared(&query.session), Arc::clone(&id)), ());
        }
        self.rows.insert(id, query);
    }

    /// Takes a row out again.
    fn take(&mut self, id: &str, query: &PreparedQuery) {
        let name = fold(&query.name);
        self.names.remove(&*name);
        if !query.template.kind.is_empty() {
            self.templates.remove(&*name);
        }
        if !query.session.is_empty() {
            self.bound.remove(&(fold_shared(&query.session), Str::from(id)));
        }
        self.rows.remove(id);
    }
}

/// Prepared queries.
impl View {
    /// The query with that id or of that name.
    #[must_use]
    pub fn query(&self, id_or_name: &str) -> Option<&Arc<PreparedQuery>> {
        let queries = &self.0.queries;
        let key = fold(id_or_name);
        queries.rows.get(&*key).or_else(|| queries.rows.get(&**queries.names.get(&*key)?))
    }

    /// The query to execute for an id or a name: the one with that id, else the one of that name, else the template
    /// with the longest name that `id_or_name` starts with. Templates come out as the query they make.
    ///
    /// # Errors
    /// In Consul's words, if a template is asked for by its id.
    pub fn resolve_query(&self, id_or_name: &str, segment: &str) -> Result<Option<Arc<PreparedQuery>>, String> {
        let queries = &self.0.queries;
        let key = fold(id_or_name);
        if key.is_empty() {
            return Ok(None);
        }
        if let Some(query) = queries.rows.get(&*key) {
            if !query.template.kind.is_empty() {
                return Err("prepared query templates can only be resolved up by name, not by ID".to_string());
            }
            return Ok(Some(Arc::clone(query)));
        }
        let named = queries.names.get(&*key).and_then(|id| queries.rows.get(&**id));
        if let Some(query) = named.filter(|query| query.template.kind.is_empty()) {
            return Ok(Some(Arc::clone(query)));
        }
        if queries.templates.is_empty() {
            return Ok(None);
        }
        let prefixes = (0..=key.len()).rev().filter_map(|end| key.get(..end));
        match prefixes.filter_map(|prefix| queries.templates.get(prefix)).next() {
            Some(template) => template.render(id_or_name, segment).map(|query| Some(Arc::new(query))),
            None => Ok(None),
        }
    }

    /// All queries, by id.
    pub fn queries(&self) -> impl Iterator<Item = &Arc<PreparedQuery>> {
        self.0.queries.rows.values()
    }
}
