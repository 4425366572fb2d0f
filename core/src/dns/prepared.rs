//! Prepared queries: the instances one finds, answered like those of a service.

use convoke_catalog::{Scope, ServiceGroup};
use convoke_config::duration;
use convoke_dns::Rcode;

use super::pick::{self, Picks};
use super::query::{Context, Query, Reply};
use super::service;
use super::settings::seconds;

/// Answers for the query with that name or id; NXDOMAIN if there is none, or it finds nothing.
///
/// The query's own TTL comes before that of its service. Which states are healthy enough is the query's to say, whatever
/// the configuration says of services.
pub(super) fn answer(context: &mut Context<'_>, query: &Query, reply: &mut Reply<'_>, scope: Scope<'_>, name: &str) {
    let view = context.view;
    // A template that is asked for by its id is no name, either.
    let Ok(Some(prepared)) = view.resolve_query(name, "") else {
        return reply.negative(context, Rcode::NXDOMAIN);
    };
    let wanted = &prepared.service;
    let group =
        if wanted.connect { view.connect_group(scope, &wanted.service) } else { view.group(scope, &wanted.service) };
    let Some(group) = group else { return reply.negative(context, Rcode::NXDOMAIN) };
    let ttl = match duration::parse(&prepared.dns_ttl) {
        Ok(ttl) => seconds(ttl),
        Err(_) => context.settings.service_ttl(&wanted.service.to_ascii_lowercase()),
    };
    let mut picks = Picks::new();
    pick::pick_where(group, |instance| wanted.takes(instance), &mut context.rng, &mut picks);
    if !wanted.near.is_empty() {
        nearest_first(context, query, scope, &wanted.near, group, &mut picks);
    }
    service::answer_with(context, query, reply, group, &picks, ttl);
}

/// Sorts by distance from a node, whose own instances come first even if nobody knows where it is. `_agent` is this node;
/// `_ip` the one at the address that the client's resolver passed on, or else this one, too.
fn nearest_first(
    context: &Context<'_>,
    query: &Query,
    scope: Scope<'_>,
    near: &str,
    group: &ServiceGroup,
    picks: &mut Picks,
) {
    let view = context.view;
    let own = &*context.settings.node_name;
    let near = match near {
        "_agent" => own,
        "_ip" => {
            let at = query.subnet.and_then(|subnet| view.nodes_by_address(scope.partition, subnet.address).next());
            at.map_or(own, |node| &*node.name)
        }
        named => named,
    };
    let node = |at: &u16| group.instances.get(usize::from(*at)).map_or("", |instance| &*instance.node.name);
    view.sort_by_distance(scope.partition, near, picks, node);
    picks.sort_by_key(|at| !node(at).eq_ignore_ascii_case(near));
}
