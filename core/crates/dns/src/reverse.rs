//! Reverse lookup names: `4.3.2.1.in-addr.arpa` and the 32 nibbles under `ip6.arpa` (RFC 1035, 3.5; RFC 3596, 2.5).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::Labels;
use crate::{Name, NameError};

/// The address that a whole reverse name stands for; `None` for anything else, so also for a part of an address.
#[must_use]
pub fn address(name: &Name) -> Option<IpAddr> {
    v4(name.labels()).map(IpAddr::V4).or_else(|| v6(name.labels()).map(IpAddr::V6))
}

/// Whether the name is `arpa` or below it.
#[must_use]
pub fn is_arpa(name: &Name) -> bool {
    name.labels().last().is_some_and(|label| label.eq_ignore_ascii_case(b"arpa"))
}

/// The reverse name of an address.
#[must_use]
pub fn name(address: IpAddr) -> Name {
    // A reverse name has at most 74 octets, so nothing here can fail.
    build(address).unwrap_or_else(|_| Name::root())
}

fn build(address: IpAddr) -> Result<Name, NameError> {
    let mut name = Name::root();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
                let skip = if *octet >= 100 { 0 } else { 1 + usize::from(*octet < 10) };
                name.push(digits.get(skip..).unwrap_or_default())?;
            }
            name.push(b"in-addr")?;
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                for nibble in [octet & 0x0f, octet >> 4] {
                    name.push(&[if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }])?;
                }
            }
            name.push(b"ip6")?;
        }
    }
    name.push(b"arpa")?;
    Ok(name)
}

fn v4(mut labels: Labels<'_>) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    for octet in octets.iter_mut().rev() {
        let label = labels.next()?;
        // No sign, no leading zero: one spelling per address.
        if label.len() > 1 && label.first() == Some(&b'0') || !label.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *octet = core::str::from_utf8(label).ok()?.parse().ok()?;
    }
    ends_with(labels, b"in-addr").then(|| Ipv4Addr::from(octets))
}

fn v6(mut labels: Labels<'_>) -> Option<Ipv6Addr> {
    let mut octets = [0; 16];
    for octet in octets.iter_mut().rev() {
        let (low, high) = (nibble(labels.next()?)?, nibble(labels.next()?)?);
        *octet = high << 4 | low;
    }
    ends_with(labels, b"ip6").then(|| Ipv6Addr::from(octets))
}

fn nibble(label: &[u8]) -> Option<u8> {
    let [digit] = label else { return None };
    char::from(*digit).to_digit(16).map(|value| value as u8)
}

fn ends_with(mut labels: Labels<'_>, zone: &[u8]) -> bool {
    let (zone_label, arpa, none) = (labels.next(), labels.next(), labels.next());
    zone_label.is_some_and(|l| l.eq_ignore_ascii_case(zone))
        && arpa.is_some_and(|l| l.eq_ignore_ascii_case(b"arpa"))
        && none.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn addresses_and_names_both_ways() {
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.";
        let table = [
            ("1.0.0.10.in-addr.arpa.", "10.0.0.1"),
            ("0.99.100.255.in-addr.arpa.", "255.100.99.0"),
            (six, "2001:db8::1"),
        ];
        for (text, ip) in table {
            let ip: IpAddr = ip.parse().expect("an address");
            assert_eq!(name(ip).to_string(), text);
            assert_eq!(address(&text.parse().expect("a name")), Some(ip));
            assert_eq!(address(&text.to_uppercase().parse().expect("a name")), Some(ip));
        }
    }

    #[test]
    fn everything_else_is_no_address() {
        let table = [
            "0.0.10.in-addr.arpa",
            "in-addr.arpa",
            "arpa",
            ".",
            "x.0.0.10.in-addr.arpa",
            "1.1.0.0.10.in-addr.arpa",
            "01.0.0.10.in-addr.arpa",
            "256.0.0.10.in-addr.arpa",
            "+1.0.0.10.in-addr.arpa",
            "1.0.0.10.in-addr",
            "1.0.0.10.in-addr.arpa.x",
            "1.0.0.2.ip6.arpa",
            "1.0.0.10.ip6.arpa",
        ];
        for text in table {
            assert_eq!(address(&text.parse().expect("a name")), None, "{text}");
        }
        assert!(is_arpa(&"in-addr.ARPA".parse().expect("a name")));
        assert!(!is_arpa(&"arpa.consul".parse().expect("a name")));
    }
}
