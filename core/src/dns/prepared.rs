//! Prepared queries: the instances one finds, answered like those of a service.

use convoke_catalog::Scope;
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
    service::answer_with(context, query, reply, group, &picks, ttl);
}
