//! Instances of a service: A, AAAA, CNAME, ANY, and SRV with what goes along.

use core::net::IpAddr;

use convoke_catalog::model::{Node, Service, Status};
use convoke_catalog::{Instance, ServiceGroup};
use convoke_dns::builder::{NameAt, Owner};
use convoke_dns::{Full, Name, Rcode, RecordType, Section, Srv};
use heapless::Vec;

use super::host;
use super::pick::{self, Picks, Seen, Target, matches};
use super::query::{Context, Query, Reply};
use super::text;

/// Most SRV records in one answer.
const MAX_SRV: usize = 1024;
/// The size that answers to clients of 512 octets are held to when there are too many records for them: counted
/// without compression, as the recordings have it.
const SMALL_ANSWER: usize = 512 - 7;
/// Octets of a record besides its owner and data.
const FIXED: usize = 10;

/// How records were left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// None was.
    No,
    /// There were more than the client gets.
    ByCount,
    /// There was no more room.
    BySize,
}

/// Answers for the instances with this tag (empty: all); NXDOMAIN if none is there or healthy.
pub(super) fn answer(
    context: &mut Context<'_>,
    query: &Query,
    reply: &mut Reply<'_>,
    group: Option<&ServiceGroup>,
    tag: &str,
    ttl: u32,
) {
    let mut picks = Picks::new();
    if let Some(group) = group {
        pick::pick(group, tag, context.settings.only_passing, &mut context.rng, &mut picks);
    }
    match group {
        Some(group) => answer_with(context, query, reply, group, &picks, ttl),
        None => reply.negative(context, Rcode::NXDOMAIN),
    }
}

/// Answers for these instances of the group; NXDOMAIN if there are none.
pub(super) fn answer_with(
    context: &mut Context<'_>,
    query: &Query,
    reply: &mut Reply<'_>,
    group: &ServiceGroup,
    picks: &Picks,
    ttl: u32,
) {
    if picks.is_empty() {
        return reply.negative(context, Rcode::NXDOMAIN);
    }
    let answer = Answer { group, picks, ttl, max_answers: query.max_answers(context.settings) };
    let cut = if query.rtype == RecordType::SRV {
        answer.srv(context, query, reply)
    } else {
        answer.addresses(context, query, reply)
    };
    if reply.has_no_answer() && cut == Cut::No {
        return reply.negative(context, Rcode::NOERROR);
    }
    reply.truncated(cut != Cut::No && context.settings.truncate);
}

struct Answer<'v, 'p> {
    group: &'v ServiceGroup,
    picks: &'p Picks,
    ttl: u32,
    max_answers: Option<usize>,
}

impl<'v> Answer<'v, '_> {
    fn instances(&self) -> impl Iterator<Item = (usize, &'v Instance)> + '_ {
        let group = self.group;
        self.picks
            .iter()
            .enumerate()
            .filter_map(move |(order, at)| Some((order, group.instances.get(usize::from(*at))?)))
    }

    /// A, AAAA or CNAME records, each address once.
    fn addresses(&self, context: &mut Context<'_>, query: &Query, reply: &mut Reply<'_>) -> Cut {
        let mark = reply.b.mark();
        let cut = self.addresses_within(context, query, reply, usize::MAX);
        if cut == Cut::ByCount {
            let [_, answers, ..] = reply.b.counts();
            let plain_len = reply.b.len() + usize::from(answers) * query.name.as_wire().len();
            if plain_len > SMALL_ANSWER {
                reply.b.rewind(mark);
                let _ = self.addresses_within(context, query, reply, SMALL_ANSWER);
            }
        }
        cut
    }

    /// The same, at most so many octets if names were not compressed.
    fn addresses_within(
        &self,
        context: &mut Context<'_>,
        query: &Query,
        reply: &mut Reply<'_>,
        plain_limit: usize,
    ) -> Cut {
        let mut seen = Seen::new();
        let owner_len = query.name.as_wire().len();
        let mut plain_len = reply.b.len();
        let mut answered = 0;
        for (order, instance) in self.instances() {
            let Some(target) = pick::target(instance, query.rtype) else { continue };
            let target = match target {
                // A service whose address is the very name that is asked for is on its node.
                Target::Host(host) if host.parse::<Name>().is_ok_and(|host| host == query.name) => {
                    match pick::node_target(&instance.node, query.rtype) {
                        Some(of_node @ Target::Ip { .. }) => of_node,
                        _ => continue,
                    }
                }
                other => other,
            };
            let repeated = |ip| {
                let before = self.instances().take(order);
                before.filter_map(|(_, other)| pick::target(other, query.rtype)).any(|other| other.is_at(ip))
            };
            let mark = reply.b.mark();
            let added = match target {
                Target::Ip { ip, .. } if !matches(query.rtype, ip) => continue,
                Target::Ip { ip, .. } if seen.maybe(ip, 0) && repeated(ip) => continue,
                Target::Ip { ip, .. } => {
                    plain_len += owner_len + FIXED + if ip.is_ipv4() { 4 } else { 16 };
                    reply.b.address(Section::Answer, reply.at, self.ttl, ip)
                }
                Target::Host(host) => {
                    let mut before = self.instances().take(order);
                    if before.any(|(_, other)| pick::target(other, query.rtype) == Some(target)) {
                        continue;
                    }
                    let Ok(host) = host.parse::<Name>() else { continue };
                    plain_len += owner_len + FIXED + host.as_wire().len();
                    plain_len += host::addresses_len(context, &host);
                    reply
                        .b
                        .name_record(Section::Answer, reply.at, RecordType::CNAME, self.ttl, &host)
                        .and_then(|()| host::add_addresses(context, reply, Section::Answer, &host, Some(self.ttl)))
                }
            };
            let [_, answers, ..] = reply.b.counts();
            let too_many = self.max_answers.is_some_and(|max| usize::from(answers) > max);
            // One answer at least, if there is any room for it.
            if added.is_err() || too_many || plain_len > plain_limit && answered > 0 {
                reply.b.rewind(mark);
                return if too_many { Cut::ByCount } else { Cut::BySize };
            }
            answered += 1;
            if answered == context.settings.a_record_limit {
                break;
            }
        }
        Cut::No
    }

    /// SRV records with the addresses and metadata of their targets.
    ///
    /// If not everything fits, the answer is made anew with the least that each target needs, its addresses once.
    fn srv(&self, context: &mut Context<'_>, query: &Query, reply: &mut Reply<'_>) -> Cut {
        if self.max_answers.is_some_and(|max| self.has_more_places_than(max)) {
            let _ = self.srv_within(context, query, reply, false, SMALL_ANSWER);
            return Cut::ByCount;
        }
        let mark = reply.b.mark();
        if self.srv_within(context, query, reply, true, usize::MAX) == Cut::No {
            return Cut::No;
        }
        reply.b.rewind(mark);
        self.srv_within(context, query, reply, false, usize::MAX)
    }

    /// Whether there are more than `max` (at most 8) different places among the instances.
    fn has_more_places_than(&self, max: usize) -> bool {
        let mut places: Vec<(Target<'_>, u16, &str), 8> = Vec::new();
        for (_, instance) in self.instances() {
            let Some(target) = pick::target(instance, RecordType::SRV) else { continue };
            let place = (target, port(&instance.service), &*instance.node.name);
            if places.contains(&place) {
                continue;
            }
            if places.len() >= max || places.push(place).is_err() {
                return true;
            }
        }
        false
    }

    fn srv_within(
        &self,
        context: &mut Context<'_>,
        query: &Query,
        reply: &mut Reply<'_>,
        full: bool,
        plain_limit: usize,
    ) -> Cut {
        let mut written: Vec<Written, MAX_SRV> = Vec::new();
        let (mut places, mut targets) = (Seen::new(), Seen::new());
        let mut reserved = 0;
        let mut plain_len = reply.b.len();
        let mut cut = Cut::No;
        for (order, instance) in self.instances() {
            let port = port(&instance.service);
            let Some(target) = pick::target(instance, RecordType::SRV) else { continue };
            // The same place twice is one record.
            let hint = target.ip().is_none_or(|ip| places.maybe(ip, u64::from(port)));
            let mut before = written.iter().filter_map(|w| self.instance(w.order));
            if hint && before.any(|other| same_target(other, instance) && self::port(&other.service) == port) {
                continue;
            }
            let Some(name) = target_name(context, &instance.node, target) else { continue };
            let mark = reply.b.mark();
            if self.max_answers.is_some_and(|max| written.len() >= max) {
                cut = Cut::ByCount;
                break;
            }
            let numbers = Srv { priority: 1, weight: weight(instance), port };
            let Ok(at) = reply.b.srv(Section::Answer, reply.at, self.ttl, numbers, &name) else {
                cut = Cut::BySize;
                break;
            };
            let hint = target.ip().is_none_or(|ip| targets.maybe(ip, 0));
            let mut before = written.iter().filter_map(|w| self.instance(w.order));
            let new = full || !hint || !before.any(|other| same_target(other, instance));
            plain_len += query.name.as_wire().len() + FIXED + 6 + name.as_wire().len();
            let mut extra = 0;
            if new {
                extra = self.extra_len(context, reply, target, at, &instance.node, full);
                plain_len += self.plain_extra_len(context, target, &name);
            }
            let kept = reply.b.reserve(extra).is_ok() && plain_len <= plain_limit;
            if kept && written.push(Written { order: order as u16, at, with_extra: new }).is_ok() {
                reserved += extra;
                continue;
            }
            // Better a single answer without addresses than none.
            if !full && written.is_empty() {
                reply.b.release(if kept { extra } else { 0 });
            } else {
                reply.b.rewind(mark);
            }
            cut = Cut::BySize;
            break;
        }
        reply.b.release(reserved);
        if full && cut != Cut::No {
            return cut;
        }
        for entry in written.iter().filter(|entry| entry.with_extra) {
            let Some(instance) = self.instance(entry.order) else { continue };
            if self.add_extra(context, reply, instance, entry.at, full).is_err() {
                break;
            }
        }
        cut
    }

    /// The instance that comes at this place of the shuffled order.
    fn instance(&self, order: u16) -> Option<&'v Instance> {
        self.group.instances.get(usize::from(*self.picks.get(usize::from(order))?))
    }

    /// Octets of what goes along with a SRV record whose target stands at `at`.
    fn extra_len(
        &self,
        context: &mut Context<'_>,
        reply: &Reply<'_>,
        target: Target<'_>,
        at: NameAt,
        node: &Node,
        full: bool,
    ) -> usize {
        let addresses = match target {
            Target::Ip { ip, .. } => reply.b.cost(at, if ip.is_ipv4() { 4 } else { 16 }),
            Target::Host(host) => host.parse().map_or(0, |host| host::addresses_len(context, &host)),
        };
        if !full || !context.settings.node_meta_txt {
            return addresses;
        }
        let metadata = if target.is_of_node() {
            text::data_lens(node).map(|len| reply.b.cost(at, len)).sum::<usize>()
        } else {
            let owner = node_name(context, node).map_or(0, |name| name.as_wire().len());
            text::data_lens(node).map(|len| owner + FIXED + len).sum()
        };
        addresses + metadata
    }

    fn plain_extra_len(&self, context: &mut Context<'_>, target: Target<'_>, name: &Name) -> usize {
        match target {
            Target::Ip { ip, .. } => name.as_wire().len() + FIXED + if ip.is_ipv4() { 4 } else { 16 },
            Target::Host(_) => host::addresses_len(context, name),
        }
    }

    fn add_extra(
        &self,
        context: &mut Context<'_>,
        reply: &mut Reply<'_>,
        instance: &Instance,
        at: NameAt,
        full: bool,
    ) -> Result<(), Full> {
        let target = pick::target(instance, RecordType::SRV);
        match target {
            Some(Target::Ip { ip, .. }) => reply.b.address(Section::Additional, at, self.ttl, ip)?,
            Some(Target::Host(host)) => {
                if let Ok(host) = host.parse() {
                    host::add_addresses(context, reply, Section::Additional, &host, Some(self.ttl))?;
                }
            }
            None => {}
        }
        let node = &*instance.node;
        if !full || !context.settings.node_meta_txt || node.meta.is_none() {
            return Ok(());
        }
        if target.is_some_and(|target| target.is_of_node()) {
            return text::add(reply, Section::Additional, at, self.ttl, node);
        }
        match node_name(context, node) {
            Some(name) => text::add(reply, Section::Additional, Owner::Name(&name), self.ttl, node),
            None => Ok(()),
        }
    }
}

/// A SRV record in the answer.
struct Written {
    /// Place in the shuffled order.
    order: u16,
    /// Where the target's name stands.
    at: NameAt,
    with_extra: bool,
}

/// Whether SRV records of both have the same target.
fn same_target(a: &Instance, b: &Instance) -> bool {
    let (of_a, of_b) = (pick::target(a, RecordType::SRV), pick::target(b, RecordType::SRV));
    of_a == of_b && (a.node.name == b.node.name || !of_a.is_some_and(|target| target.is_of_node()))
}

impl Target<'_> {
    fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip { ip, .. } => Some(*ip),
            Self::Host(_) => None,
        }
    }

    fn is_at(&self, address: IpAddr) -> bool {
        matches!(self, Self::Ip { ip, .. } if *ip == address)
    }

    fn is_of_node(&self) -> bool {
        matches!(self, Self::Ip { of_node: true, .. })
    }
}

/// `<node>.node.<datacenter>.<domain>`; `None` if the node's name cannot be part of a DNS name.
pub(super) fn node_name(context: &Context<'_>, node: &Node) -> Option<Name> {
    let mut name = Name::root();
    // A dot in a node's name separates labels.
    node.name.split('.').try_for_each(|label| name.push(label.as_bytes())).ok()?;
    name.append(&context.settings.node_suffix).ok()?;
    Some(name)
}

fn target_name(context: &Context<'_>, node: &Node, target: Target<'_>) -> Option<Name> {
    match target {
        Target::Host(host) => host.parse().ok(),
        Target::Ip { of_node: true, .. } => node_name(context, node),
        Target::Ip { ip, of_node: false } => super::literal::name(context, ip),
    }
}

/// The port; of several the default one, else the first.
fn port(service: &Service) -> u16 {
    if service.port != 0 {
        return service.port;
    }
    let default = service.ports.iter().find(|port| port.default).or(service.ports.first());
    default.map_or(0, |port| port.port)
}

/// The weight for the instance's state (RFC 2782).
fn weight(instance: &Instance) -> u16 {
    let weight = match instance.status {
        Status::Passing => instance.service.weight_passing,
        Status::Warning => instance.service.weight_warning,
        Status::Critical => 0,
        Status::Other(_) => 1,
    };
    u16::try_from(weight).unwrap_or(u16::MAX)
}
