//! From an address to the node or service that has it.

use convoke_catalog::Scope;
use convoke_dns::{Name, RecordType, Section, reverse};

use super::query::{Context, Query, Reply};
use super::service::node_name;

/// Seconds a PTR record may be kept.
const TTL: u32 = 0;

/// Adds the PTR record of the first node with the address, else of the first service with it. Whether there was one.
pub(super) fn answer(context: &Context<'_>, query: &Query, reply: &mut Reply<'_>) -> bool {
    let Some(ip) = reverse::address(&query.name) else { return false };
    let settings = context.settings;
    let scope = Scope { partition: &settings.partition, namespace: "default" };
    let node = context.view.nodes_by_address(&settings.partition, ip).find_map(|node| node_name(context, node));
    let service = || {
        context.view.services_by_address(scope, ip).find_map(|(_, service)| {
            let mut name = Name::root();
            service.name.split('.').try_for_each(|label| name.push(label.as_bytes())).ok()?;
            name.append(&settings.service_suffix).ok()?;
            Some(name)
        })
    };
    let Some(target) = node.or_else(service) else { return false };
    reply.authoritative();
    reply.b.name_record(Section::Answer, reply.at, RecordType::PTR, TTL, &target).is_ok()
}
