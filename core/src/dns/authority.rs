//! The zone itself: SOA, and the servers as NS. Asked of any name below the domain they are answered for the domain.

use convoke_catalog::{Instance, Scope};
use convoke_dns::{Full, Name, RecordType, Section};
use heapless::Vec;

use super::pick::{self, Picks, Target};
use super::query::{Context, Reply};
use super::service::node_name;

/// The service that every server registers.
const SERVERS: &str = "consul";
/// Most servers in an answer.
const MAX_SERVERS: usize = 3;

/// SOA in the answer, the servers in the authority section.
pub(super) fn soa(context: &mut Context<'_>, reply: &mut Reply<'_>) {
    let soa = context.settings.soa(context.now_unix);
    let added = reply.b.soa(Section::Answer, &context.settings.domain, soa.minimum, &soa);
    let whole = added.is_ok() && servers(context, reply, Section::Authority).is_ok();
    reply.truncated(!whole);
}

/// The servers in the answer.
pub(super) fn ns(context: &mut Context<'_>, reply: &mut Reply<'_>) {
    let whole = servers(context, reply, Section::Answer);
    reply.truncated(whole.is_err());
}

/// NS records in the given section and their addresses in the additional one, which may lack what has no room.
fn servers(context: &mut Context<'_>, reply: &mut Reply<'_>, section: Section) -> Result<(), Full> {
    let scope = Scope { partition: &context.settings.partition, namespace: "default" };
    let Some(group) = context.view.group(scope, SERVERS) else { return Ok(()) };
    let mut picks = Picks::new();
    pick::pick(group, "", context.settings.only_passing, &mut context.rng, &mut picks);
    let mut servers: Vec<(&Instance, Name), MAX_SERVERS> = Vec::new();
    for at in &picks {
        let Some(instance) = group.instances.get(usize::from(*at)) else { continue };
        // Names that are not host names (RFC 952) are of no use here.
        let host = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if !instance.node.name.bytes().all(host) {
            continue;
        }
        let Some(name) = node_name(context, &instance.node) else { continue };
        if servers.push((instance, name.to_lowercase())).is_err() {
            break;
        }
    }
    let (domain, ttl) = (&context.settings.domain, context.settings.node_ttl);
    for (_, name) in &servers {
        reply.b.name_record(section, domain, RecordType::NS, ttl, name)?;
    }
    for (instance, name) in &servers {
        if let Some(Target::Ip { ip, .. }) = pick::node_target(&instance.node, RecordType::ANY)
            && reply.b.address(Section::Additional, name, ttl, ip).is_err()
        {
            break;
        }
    }
    Ok(())
}
