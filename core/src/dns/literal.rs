//! Addresses spelled as names: `0a000001.addr.<datacenter>.<domain>` is 10.0.0.1.

use core::net::IpAddr;

use convoke_dns::{Name, Rcode, Section};

use super::query::{Context, Query, Reply};

/// The name of an address.
pub(super) fn name(context: &Context<'_>, ip: IpAddr) -> Option<Name> {
    let mut digits = [0u8; 32];
    let octets: &[u8] = match &ip {
        IpAddr::V4(v4) => &v4.octets(),
        IpAddr::V6(v6) => &v6.octets(),
    };
    for (pair, octet) in digits.chunks_mut(2).zip(octets) {
        for (digit, nibble) in pair.iter_mut().zip([octet >> 4, octet & 0x0f]) {
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
    }
    let mut name = Name::root();
    name.push(digits.get(..2 * octets.len())?).ok()?;
    name.append(&context.settings.addr_suffix).ok()?;
    Some(name)
}

/// Answers with the address, whatever type was asked for, and under the name in lower case, as the recordings have it.
/// Digits of another count are a name without records; what are no digits is no name.
pub(super) fn answer(context: &Context<'_>, query: &Query, reply: &mut Reply<'_>, digits: &str) {
    let ip = match digits.len() / 2 {
        4 => u32::from_str_radix(digits, 16).map(|bits| IpAddr::V4(bits.into())),
        16 => u128::from_str_radix(digits, 16).map(|bits| IpAddr::V6(bits.into())),
        _ => return,
    };
    match ip {
        Ok(ip) if digits.len().is_multiple_of(2) && !digits.starts_with('+') => {
            let owner = query.name.to_lowercase();
            let added = reply.b.address(Section::Answer, &owner, context.settings.node_ttl, ip);
            debug_assert!(added.is_ok(), "a single address fits");
        }
        _ => reply.negative(context, Rcode::NXDOMAIN),
    }
}
