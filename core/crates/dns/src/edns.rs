//! EDNS: the OPT pseudo record (RFC 6891) and the client subnet option (RFC 7871).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Option code of the client subnet.
pub const CLIENT_SUBNET: u16 = 8;

/// The options of an OPT record; their lengths were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt<'a> {
    raw: &'a [u8],
}

impl<'a> Opt<'a> {
    /// Checks that the options' lengths add up.
    pub(crate) fn new(raw: &'a [u8]) -> Option<Self> {
        let mut rest = raw;
        while !rest.is_empty() {
            rest = split_option(rest)?.2;
        }
        Some(Self { raw })
    }

    /// Code and data of each option, in order. Unknown codes are kept.
    pub fn options(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.raw;
        core::iter::from_fn(move || {
            let (code, data, next) = split_option(rest)?;
            rest = next;
            Some((code, data))
        })
    }

    /// The first client subnet option, if it is there and well-formed.
    #[must_use]
    pub fn client_subnet(self) -> Option<ClientSubnet> {
        self.options().find(|(code, _)| *code == CLIENT_SUBNET).and_then(|(_, data)| ClientSubnet::read(data))
    }
}

fn split_option(raw: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = raw.split_first_chunk::<4>()?;
    let [c0, c1, l0, l1] = *head;
    let (data, next) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    Some((u16::from_be_bytes([c0, c1]), data, next))
}

/// What the fixed fields of an OPT record mean (RFC 6891, 6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptHeader {
    /// The largest UDP message the sender can take, in octets.
    pub payload: u16,
    /// The upper 8 bits of the response code.
    pub rcode_high: u8,
    /// EDNS version; 0 is the only one there is.
    pub version: u8,
    /// DNSSEC records wanted.
    pub dnssec_ok: bool,
}

impl OptHeader {
    /// From a record's class and TTL fields.
    #[must_use]
    pub fn from_fields(class: u16, ttl: u32) -> Self {
        let [rcode_high, version, flags, _] = ttl.to_be_bytes();
        Self { payload: class, rcode_high, version, dnssec_ok: flags & 0x80 != 0 }
    }

    /// The record's TTL field.
    #[must_use]
    pub fn ttl(self) -> u32 {
        u32::from_be_bytes([self.rcode_high, self.version, if self.dnssec_ok { 0x80 } else { 0 }, 0])
    }
}

/// The client subnet option (RFC 7871, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSubnet {
    /// The network's address; bits beyond the source prefix are zero.
    pub address: IpAddr,
    /// Leftmost bits of the address that matter: 0 to 32 or 128.
    pub source_prefix: u8,
    /// Bits that the answer depends on; 0 in requests.
    pub scope_prefix: u8,
}

impl ClientSubnet {
    /// Reads the option's data: as many address octets as the prefix needs, no bit set beyond it.
    fn read(data: &[u8]) -> Option<Self> {
        let ([f0, f1, source_prefix, scope_prefix], address) = data.split_first_chunk::<4>()?;
        let bits = match u16::from_be_bytes([*f0, *f1]) {
            1 => 32,
            2 => 128,
            _ => return None,
        };
        if *source_prefix > bits || *scope_prefix > bits || address.len() != usize::from(source_prefix.div_ceil(8)) {
            return None;
        }
        let spare = (8 - source_prefix % 8) % 8;
        if address.last().is_some_and(|last| last.trailing_zeros() < u32::from(spare)) {
            return None;
        }
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        let address = if bits == 32 {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        Some(Self { address, source_prefix: *source_prefix, scope_prefix: *scope_prefix })
    }

    /// Octets of the option, its code and length included: 8 to 24.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        8 + usize::from(self.source_prefix.div_ceil(8)).min(16)
    }

    /// The option's data, and how many of the octets count.
    pub(crate) fn data(&self) -> ([u8; 20], usize) {
        let mut data = [0; 20];
        let (family, octets, width) = match self.address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                (1, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4)
            }
            IpAddr::V6(v6) => (2, v6.octets(), 16),
        };
        let len = usize::from(self.source_prefix.div_ceil(8)).min(width);
        for (to, from) in data.iter_mut().zip([0, family, self.source_prefix, self.scope_prefix]) {
            *to = from;
        }
        for (to, from) in data.iter_mut().skip(4).zip(octets.iter().take(len)) {
            *to = *from;
        }
        (data, 4 + len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn client_subnet_reads_only_what_is_well_formed() {
        // data, "address/source/scope"
        let table: &[(&[u8], Option<&str>)] = &[
            (&[0, 1, 24, 0, 198, 51, 100], Some("198.51.100.0/24/0")),
            (&[0, 1, 25, 0, 198, 51, 100, 128], Some("198.51.100.128/25/0")),
            (&[0, 1, 0, 0], Some("0.0.0.0/0/0")),
            (&[0, 2, 32, 8, 0x20, 1, 0x0d, 0xb8], Some("2001:db8::/32/8")),
            (&[0, 1, 24, 0, 198, 51], None),         // too few octets
            (&[0, 1, 24, 0, 198, 51, 100, 0], None), // too many
            (&[0, 1, 23, 0, 198, 51, 101], None),    // a bit beyond the prefix
            (&[0, 1, 33, 0, 1, 2, 3, 4, 5], None),   // prefix too long
            (&[0, 3, 8, 0, 1], None),                // no such family
            (&[0, 1, 24], None),
        ];
        for (data, expected) in table {
            let got = ClientSubnet::read(data);
            let text = got.map(|s| std::format!("{}/{}/{}", s.address, s.source_prefix, s.scope_prefix));
            assert_eq!(text.as_deref(), *expected, "{data:?}");
            if let Some(subnet) = got {
                let (again, len) = subnet.data();
                assert_eq!(again.get(..len), Some(*data), "writes what it read");
                assert_eq!(subnet.wire_len(), 4 + len);
            }
        }
    }

    #[test]
    fn options_are_walked_and_unknown_ones_kept() {
        let raw = [0, 10, 0, 2, 7, 7, 0, 8, 0, 5, 0, 1, 8, 0, 10, 255, 255, 0, 0];
        let opt = Opt::new(&raw).expect("well-formed");
        let codes: Vec<_> = opt.options().map(|(code, data)| (code, data.len())).collect();
        assert_eq!(codes, [(10, 2), (8, 5), (65535, 0)]);
        assert_eq!(opt.client_subnet().map(|s| s.address.to_string()).as_deref(), Some("10.0.0.0"));
        assert!(Opt::new(&raw[..18]).is_none());
        assert!(Opt::new(&raw[..3]).is_none());
    }

    #[test]
    fn the_fixed_fields_survive_both_ways() {
        let header = OptHeader::from_fields(1232, 0x0100_8000);
        assert_eq!(header, OptHeader { payload: 1232, rcode_high: 1, version: 0, dnssec_ok: true });
        assert_eq!(header.ttl(), 0x0100_8000);
    }
}
