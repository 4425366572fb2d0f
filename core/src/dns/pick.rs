//! Which instances of a service, in which order, and what each is reached at.

use core::net::IpAddr;

use convoke_catalog::model::{Node, Service, Status};
use convoke_catalog::{Instance, ServiceGroup};
use convoke_dns::RecordType;
use convoke_kit::Rng;
use heapless::Vec;

/// Most instances in one answer. With more, a window at a random place is used.
pub(super) const MAX_PICKS: usize = 4096;

/// Indexes into a group's instances.
pub(super) type Picks = Vec<u16, MAX_PICKS>;

/// Fills `picks`, which is empty, with the instances that may be answered, shuffled.
pub(super) fn pick(group: &ServiceGroup, tag: &str, only_passing: bool, rng: &mut Rng, picks: &mut Picks) {
    let fits = |instance: &Instance| healthy(&instance.status, only_passing) && tagged(&instance.service, tag);
    pick_where(group, fits, rng, picks);
}

/// Fills `picks`, which is empty, with the instances that fit, shuffled.
pub(super) fn pick_where(group: &ServiceGroup, fits: impl Fn(&Instance) -> bool, rng: &mut Rng, picks: &mut Picks) {
    let instances = &group.instances;
    let count = instances.len().min(usize::from(u16::MAX));
    // Where all fit it does not matter where to begin.
    let start = if instances.len() > MAX_PICKS { rng.index(count) } else { 0 };
    for at in (start..count).chain(0..start) {
        if instances.get(at).is_some_and(&fits) && picks.push(at as u16).is_err() {
            break;
        }
    }
    rng.shuffle(picks);
}

fn healthy(status: &Status, only_passing: bool) -> bool {
    match status {
        Status::Passing => true,
        Status::Critical => false,
        Status::Warning | Status::Other(_) => !only_passing,
    }
}

fn tagged(service: &Service, tag: &str) -> bool {
    tag.is_empty() || service.tags.iter().any(|t| t.eq_ignore_ascii_case(tag))
}

/// Where an instance or a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'v> {
    /// An IP address; of the node, if the service has none of its own.
    Ip { ip: IpAddr, of_node: bool },
    /// A host name.
    Host(&'v str),
}

/// Where an instance is reached, for a question of this type. `None`: nowhere.
///
/// The service's own address comes before the node's. Questions for A and AAAA get the tagged address of the family
/// (`lan_ipv4`, `lan_ipv6`) where there is one.
pub(super) fn target<'v>(instance: &'v Instance, rtype: RecordType) -> Option<Target<'v>> {
    let (service, node) = (&instance.service, &instance.node);
    if service.address.is_empty() {
        return node_address(node, rtype, || instance.ip);
    }
    let tagged = |tag: &str| service.tagged_addresses.get(tag).map(|tagged| &*tagged.address);
    address(&service.address, || instance.ip, tagged, rtype, false)
}

/// Where a node is reached.
pub(super) fn node_target(node: &Node, rtype: RecordType) -> Option<Target<'_>> {
    node_address(node, rtype, || parsed(&node.address))
}

fn node_address(node: &Node, rtype: RecordType, ip: impl Fn() -> Option<IpAddr>) -> Option<Target<'_>> {
    let tagged = |tag: &str| node.tagged_addresses.as_ref()?.get(tag).map(|address| &**address);
    address(&node.address, ip, tagged, rtype, true)
}

/// `ip` is what `plain` says, if that is an IP.
fn address<'v>(
    plain: &'v str,
    ip: impl Fn() -> Option<IpAddr>,
    tagged: impl Fn(&str) -> Option<&'v str>,
    rtype: RecordType,
    of_node: bool,
) -> Option<Target<'v>> {
    let by_family = match rtype {
        RecordType::A => tagged("lan_ipv4"),
        RecordType::AAAA => tagged("lan_ipv6"),
        _ => None,
    };
    let (text, ip) = match by_family.filter(|text| !text.is_empty()) {
        Some(text) => (text, parsed(text)),
        None => (plain, ip()),
    };
    match ip {
        Some(ip) => Some(Target::Ip { ip, of_node }),
        None => (!text.is_empty()).then_some(Target::Host(text)),
    }
}

fn parsed(address: &str) -> Option<IpAddr> {
    address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Whether a question of this type is answered with an address of that family. Besides A and AAAA these are ANY, and,
/// as the recordings have it, TXT.
pub(super) fn matches(rtype: RecordType, ip: IpAddr) -> bool {
    match rtype {
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        RecordType::ANY | RecordType::TXT => true,
        _ => false,
    }
}

/// Numbers seen before, roughly: never forgets one, and seldom takes a new one for old.
pub(super) struct Seen([u64; 32]);

impl Seen {
    pub(super) fn new() -> Self {
        Self([0; 32])
    }

    /// Whether it may have been added before; adds it.
    pub(super) fn maybe(&mut self, ip: IpAddr, also: u64) -> bool {
        let bits = match ip {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ (v6.to_bits() as u64).rotate_left(32),
        };
        let hash = (bits ^ also.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        let (word, bit) = ((hash >> 6) as usize, 1 << (hash & 63));
        let Some(word) = self.0.get_mut(word) else { return true };
        let before = *word & bit != 0;
        *word |= bit;
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_healthy_enough() {
        // status, answered, answered with only_passing
        let table = [
            (Status::Passing, true, true),
            (Status::Warning, true, false),
            (Status::Critical, false, false),
            (Status::Other("failing".into()), true, false),
        ];
        for (status, plain, strict) in table {
            assert_eq!((healthy(&status, false), healthy(&status, true)), (plain, strict), "{status:?}");
        }
    }

    #[test]
    fn nothing_seen_is_forgotten() {
        let mut seen = Seen::new();
        let ips: [IpAddr; 3] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into(), core::net::Ipv6Addr::LOCALHOST.into()];
        assert!(!seen.maybe(ips[0], 0));
        for ip in ips {
            seen.maybe(ip, 0);
        }
        assert!(ips.iter().all(|ip| seen.maybe(*ip, 0)));
    }
}
