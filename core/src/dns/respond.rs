//! From a packet to its handler.

use alloc::boxed::Box;

use convoke_catalog::{Scope, View};
use convoke_dns::{Builder, Flags, Full, Header, Message, Opcode, Rcode, RecordType, reverse};
use convoke_kit::Rng;

use super::grammar::{self, Kind, Place};
use super::host::Hosts;
use super::query::{Context, Query, Reply};
use super::{DnsSettings, Outcome, Recursion, Transport, authority, literal, node, prepared, service};

/// CNAMEs into our own domain that are followed one after the other.
const MAX_CHASE: u8 = 3;

/// Answers one packet.
///
/// `seed` decides which instances come first, in which order upstream servers are asked and under which id; it should
/// differ from packet to packet and not be guessable. `now_unix` (seconds) is the SOA serial. The reply is written to
/// the front of `out`: 65535 octets are enough for any, 512 for clients without EDNS; what does not fit `out` is cut
/// like what does not fit the client.
#[must_use]
pub fn answer(
    view: &View,
    settings: &DnsSettings,
    packet: &[u8],
    transport: Transport,
    seed: u64,
    now_unix: u64,
    out: &mut [u8],
) -> Outcome {
    let mut hosts = Hosts { can_ask: settings.recurses(), ..Hosts::default() };
    match dispatch(view, settings, packet, transport, seed, now_unix, &mut hosts, out) {
        Routed::Reply(_) if !hosts.wanted.is_empty() => {
            Outcome::Recurse(Box::new(Recursion::chase(settings, packet, transport, seed, hosts)))
        }
        Routed::Reply(len) => Outcome::Reply(len),
        Routed::Drop => Outcome::Drop,
        Routed::Elsewhere => Outcome::Elsewhere,
        Routed::Forward(query) => {
            Outcome::Recurse(Box::new(Recursion::forward(settings, packet, transport, seed, query)))
        }
    }
}

/// Where a packet leads.
pub(super) enum Routed {
    /// So many octets of reply.
    Reply(usize),
    /// Nowhere.
    Drop,
    /// To who has tables.
    Elsewhere,
    /// To upstream servers.
    Forward(Box<Query>),
}

#[expect(clippy::too_many_arguments, reason = "the arguments of `answer`, and what is known about hosts")]
pub(super) fn dispatch(
    view: &View,
    settings: &DnsSettings,
    packet: &[u8],
    transport: Transport,
    seed: u64,
    now_unix: u64,
    hosts: &mut Hosts,
    out: &mut [u8],
) -> Routed {
    let Some(header) = Header::read(packet).filter(|header| !header.flags.has(Flags::QR)) else {
        return Routed::Drop;
    };
    let refuse = |rcode, out: &mut [u8]| header_only(header, rcode, out).map_or(Routed::Drop, Routed::Reply);
    if !matches!(header.flags.opcode(), Opcode::QUERY | Opcode::NOTIFY) {
        return refuse(Rcode::NOTIMP, out);
    }
    // One question. A NOTIFY may bring a SOA as answer, an IXFR one as authority; OPT and TSIG are additional.
    let [questions, answers, authorities, additionals] = header.counts;
    if questions != 1 || answers > 1 || authorities > 1 || additionals > 2 {
        return refuse(Rcode::FORMERR, out);
    }
    let Some((message, question)) = Message::parse(packet).ok().and_then(|m| Some((m, m.questions().next()?))) else {
        return refuse(Rcode::FORMERR, out);
    };
    let query = Query::new(&message, &question, transport);
    let rng = Rng::new(seed);
    let mut context = Context { view, settings, now_unix, rng, hosts, level: MAX_CHASE };
    if query.opt.is_some_and(|opt| opt.version > 0) {
        return plain(&query, settings, Rcode::BADVERS, out);
    }
    let ours = query.name.is_within(&settings.domain)
        || settings.alt_domain.as_ref().is_some_and(|alt| query.name.is_within(alt));
    if !settings.has_tables && (ours || reverse::is_arpa(&query.name)) {
        return Routed::Elsewhere;
    }
    let done = if reverse::is_arpa(&query.name) && (!ours || settings.domain.is_root()) {
        match arpa(&context, &query, out) {
            Ok(None) if settings.recurses() && header.flags.opcode() == Opcode::QUERY => {
                return Routed::Forward(Box::new(query));
            }
            // Nobody to ask counts as a failure here, as the recordings have it.
            Ok(None) => return failed(&query, settings, out).map_or(Routed::Drop, Routed::Reply),
            Ok(Some(len)) => Ok(len),
            Err(full) => Err(full),
        }
    } else if ours {
        in_domain(&mut context, &query, out)
    } else if settings.recurses() && header.flags.opcode() == Opcode::QUERY {
        return Routed::Forward(Box::new(query));
    } else {
        return plain(&query, settings, Rcode::REFUSED, out);
    };
    // Full here means that the output buffer cannot even take the question.
    done.map_or(Routed::Drop, Routed::Reply)
}

/// Answers a question below one of the domains.
///
/// # Errors
/// [`Full`] if not even the question fits `out`.
pub(super) fn in_domain(context: &mut Context<'_>, query: &Query, out: &mut [u8]) -> Result<usize, Full> {
    let mut reply = Reply::start(query, context.settings, out)?;
    reply.authoritative();
    match query.rtype {
        RecordType::SOA => authority::soa(context, &mut reply),
        RecordType::NS => authority::ns(context, &mut reply),
        RecordType::AXFR | RecordType::IXFR => reply.reset(Rcode::NOTIMP),
        _ => look_up(context, query, &mut reply),
    }
    Ok(reply.finish())
}

fn look_up(context: &mut Context<'_>, query: &Query, reply: &mut Reply<'_>) {
    let settings = context.settings;
    let alt = settings.alt_domain.as_ref().filter(|alt| query.name.is_within(alt));
    // Of two domains one within the other, the longer is meant.
    let domain = match alt {
        Some(alt) if alt.as_wire().len() > settings.domain.as_wire().len() => alt,
        Some(alt) if !query.name.is_within(&settings.domain) => alt,
        _ => &settings.domain,
    };
    let text = grammar::text(&query.name, domain);
    let parsed = text.as_ref().and_then(|text| grammar::parse(text, query.rtype, settings.prefer_namespace));
    let Some((lookup, place)) = parsed else { return reply.negative(context, Rcode::NXDOMAIN) };
    let name = lookup.name;
    if lookup.kind == Kind::Address {
        // The same in every datacenter.
        return literal::answer(context, query, reply, name);
    }
    if lookup.kind == Kind::Query {
        reply.scope_to_client();
    }
    let Some(scope) = scope(settings, &place) else { return reply.negative(context, Rcode::NXDOMAIN) };
    let view = context.view;
    match lookup.kind {
        Kind::Service => {
            let group = view.group(scope, name).map(|group| &**group);
            service::answer(context, query, reply, group, lookup.tag, settings.service_ttl(name));
        }
        Kind::Connect => {
            let group = view.connect_group(scope, name).map(|group| &**group);
            service::answer(context, query, reply, group, "", settings.service_ttl(name));
        }
        Kind::Node => {
            let node = view.node(scope.partition, name).map(|node| &**node);
            node::answer(context, query, reply, node);
        }
        Kind::Query => prepared::answer(context, query, reply, scope, name),
        Kind::Address => literal::answer(context, query, reply, name),
    }
}

/// Where in the view to look; `None` for other datacenters and clusters, of which nothing is known.
fn scope<'a>(settings: &'a DnsSettings, place: &Place<'a>) -> Option<Scope<'a>> {
    if place.elsewhere || place.datacenter.is_some_and(|dc| *dc != *settings.datacenter) {
        return None;
    }
    Some(Scope {
        partition: place.partition.unwrap_or(&settings.partition),
        namespace: place.namespace.unwrap_or("default"),
    })
}

/// A reverse question that the view can answer; `None` if it cannot.
fn arpa(context: &Context<'_>, query: &Query, out: &mut [u8]) -> Result<Option<usize>, Full> {
    let mut reply = Reply::start(query, context.settings, out)?;
    Ok(super::reverse::answer(context, query, &mut reply).then(|| reply.finish()))
}

/// The question and a response code.
fn plain(query: &Query, settings: &DnsSettings, rcode: Rcode, out: &mut [u8]) -> Routed {
    let reply = Reply::start(query, settings, out).map(|mut reply| {
        reply.reset(rcode);
        reply.finish()
    });
    reply.map_or(Routed::Drop, Routed::Reply)
}

/// SERVFAIL, as those get whose question nobody upstream answered. RA is set in any case.
pub(super) fn failed(query: &Query, settings: &DnsSettings, out: &mut [u8]) -> Option<usize> {
    let mut reply = Reply::start(query, settings, out).ok()?;
    reply.reset(Rcode::SERVFAIL);
    reply.b.set_flags(reply.b.flags().with(Flags::RA, true));
    Some(reply.finish())
}

/// SERVFAIL for a question whose server did not answer: octets of it in `out`, if it was a question at all.
#[must_use]
pub fn unavailable(packet: &[u8], out: &mut [u8]) -> Option<usize> {
    header_only(Header::read(packet)?, Rcode::SERVFAIL, out)
}

/// For packets that could not be understood: their header as far as it can be echoed.
fn header_only(header: Header, rcode: Rcode, out: &mut [u8]) -> Option<usize> {
    let echoed = header.flags.0 & Flags::RD;
    let flags = Flags(Flags::QR | echoed).with_opcode(header.flags.opcode()).with_rcode(rcode);
    Some(Builder::new(out, convoke_dns::HEADER_LEN, header.id, flags).ok()?.finish())
}
