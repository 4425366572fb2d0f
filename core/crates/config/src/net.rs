//! Addresses as the agent uses them: where to listen, and networks that callers must come from.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::IpAddr;

/// Where a client listener (HTTP, HTTPS, gRPC, DNS) is opened; the port stands in [`crate::Ports`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddr {
    /// An IP address; unspecified (`0.0.0.0`, `::`) means every interface.
    Ip(IpAddr),
    /// The path of a unix socket (written `unix:///path`). Never for DNS.
    Unix(String),
}

impl ListenAddr {
    /// The IP address, unless this is a unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

/// A network in CIDR notation, RFC 4632 and RFC 4291 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// Any address of the network; bits after the prefix do not count.
    pub address: IpAddr,
    /// Leading bits that count: 0 to 32 or 0 to 128.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8` or `fd00::/8`. `None` if it is not a network.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        // `parse` would take a sign and leading zeros.
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= width(address)).then_some(Self { address, prefix })
    }

    /// Whether `ip` lies inside. An IPv4-mapped IPv6 address counts as the IPv4 address it carries.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                (u32::from(net) ^ u32::from(ip)) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                (u128::from(net) ^ u128::from(ip)) & mask == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address.to_string())?;
        write!(f, "/{}", self.prefix)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (net, ip, inside) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.5", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::/0", "fe80::1", true),
            ("::/0", "1.2.3.4", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1/128", "::1", true),
        ] {
            let cidr = Cidr::parse(net).unwrap();
            assert_eq!(cidr.contains(ip.parse().unwrap()), inside, "{net} {ip}");
            assert_eq!(cidr.to_string(), net);
        }
        for bad in
            ["", "/", "1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "::/129", "1.2.3.4/+8", "x/8", "1.2.3.4/8/8", "::/999"]
        {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }
}
