//! One node: its address, and its metadata as TXT.

use convoke_catalog::model::Node;
use convoke_dns::{Full, Name, Rcode, RecordType, Section};

use super::host;
use super::pick::{self, Target, matches};
use super::query::{Context, Query, Reply};
use super::text;

/// Answers A, AAAA, ANY and TXT. What the node does not have is NOERROR without a record, and without SOA, as the
/// recordings have it; so is every other type.
pub(super) fn answer(context: &mut Context<'_>, query: &Query, reply: &mut Reply<'_>, node: Option<&Node>) {
    let Some(node) = node else { return reply.negative(context, Rcode::NXDOMAIN) };
    let addresses = matches!(query.rtype, RecordType::A | RecordType::AAAA | RecordType::ANY);
    let metadata = matches!(query.rtype, RecordType::TXT | RecordType::ANY);
    let ttl = context.settings.node_ttl;
    let mut whole = Ok(());
    if addresses {
        whole = add_address(context, query, reply, node, ttl);
    }
    if metadata {
        whole = whole.and_then(|()| text::add(reply, Section::Answer, reply.at, ttl, node));
    } else if addresses && context.settings.node_meta_txt {
        // Only what has room: nobody asked for it.
        let _ = text::add(reply, Section::Additional, reply.at, ttl, node);
    }
    reply.truncated(whole.is_err());
}

fn add_address(
    context: &mut Context<'_>,
    query: &Query,
    reply: &mut Reply<'_>,
    node: &Node,
    ttl: u32,
) -> Result<(), Full> {
    match pick::node_target(node, query.rtype) {
        Some(Target::Ip { ip, .. }) if matches(query.rtype, ip) => reply.b.address(Section::Answer, reply.at, ttl, ip),
        Some(Target::Host(text)) => {
            let Ok(target) = text.parse::<Name>() else { return Ok(()) };
            reply.b.name_record(Section::Answer, reply.at, RecordType::CNAME, ttl, &target)?;
            host::add_addresses(context, reply, Section::Answer, &target, None)
        }
        Some(Target::Ip { .. }) | None => Ok(()),
    }
}
