//! The addresses of the machine, and how templates choose among them.

use crate::net::Cidr;
use crate::source::{Environment, Interface};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;
use regex::{Regex, RegexBuilder};

/// One address of one interface.
#[derive(Clone, Debug)]
pub(super) struct Addr {
    pub(super) interface: Interface,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
}

pub(super) fn all(env: &Environment) -> Vec<Addr> {
    let of = |interface: &Interface| -> Vec<Addr> {
        let bare = Interface { addresses: Vec::new(), ..interface.clone() };
        interface
            .addresses
            .iter()
            .map(|(ip, prefix)| Addr { interface: bare.clone(), ip: *ip, prefix: *prefix })
            .collect()
    };
    env.interfaces.iter().flat_map(of).collect()
}

/// Those of the interface with the default route.
pub(super) fn default(env: &Environment) -> Vec<Addr> {
    all(env).into_iter().filter(|addr| addr.interface.default_route).collect()
}

/// Those that can be routed to, are up, and are private by RFC 6890.
pub(super) fn private(env: &Environment) -> Vec<Addr> {
    usable(env).into_iter().filter(|addr| in_any(RFC6890, addr.ip)).collect()
}

/// Those that can be routed to, are up, and are not private by RFC 6890.
pub(super) fn public(env: &Environment) -> Vec<Addr> {
    usable(env).into_iter().filter(|addr| !in_any(RFC6890, addr.ip)).collect()
}

/// Those of one interface, IPv4 first, the larger network first.
pub(super) fn of_interface(env: &Environment, name: &str) -> Vec<Addr> {
    let mut list: Vec<Addr> = all(env).into_iter().filter(|addr| addr.interface.name == name).collect();
    list.sort_by(|a, b| by_type(a, b).then_with(|| by_size(a, b)));
    list
}

fn usable(env: &Environment) -> Vec<Addr> {
    let mut list: Vec<Addr> = all(env).into_iter().filter(|addr| addr.interface.up && forwardable(addr.ip)).collect();
    list.sort_by(|a, b| by_type(a, b).then_with(|| by_size(a, b)));
    list
}

fn by_type(a: &Addr, b: &Addr) -> Ordering {
    a.ip.is_ipv6().cmp(&b.ip.is_ipv6())
}

/// Larger networks first.
fn by_size(a: &Addr, b: &Addr) -> Ordering {
    a.prefix.cmp(&b.prefix)
}

/// Special-purpose networks, RFC 6890 tables 1 to 20.
const RFC6890: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "64:ff9b::/96",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
];

/// Networks that no router forwards to.
const NOT_FORWARDED: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "2001:db8::/32",
    "fe80::/10",
    "ff00::/8",
];

fn rfc(number: &str) -> Option<&'static [&'static str]> {
    Some(match number {
        "919" => &["255.255.255.255/32"],
        "1112" => &["224.0.0.0/4"],
        "1122" => &["0.0.0.0/8", "127.0.0.0/8", "240.0.0.0/4"],
        "1918" => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        "2544" => &["198.18.0.0/15"],
        "3849" => &["2001:db8::/32"],
        "3927" => &["169.254.0.0/16"],
        "4193" => &["fc00::/7"],
        "4291" => &["::/128", "::1/128", "fe80::/10", "ff00::/8"],
        "5737" => &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
        "6598" => &["100.64.0.0/10"],
        "6890" => RFC6890,
        _ => return None,
    })
}

fn in_any(networks: &[&str], ip: IpAddr) -> bool {
    networks.iter().filter_map(|net| Cidr::parse(net)).any(|net| net.contains(ip))
}

fn forwardable(ip: IpAddr) -> bool {
    !in_any(NOT_FORWARDED, ip)
}

/// The condition of an `include` or `exclude`.
pub(super) enum Test {
    Address(Regex),
    Name(Regex),
    /// All of them.
    Flags(Vec<Flag>),
    Network(Cidr),
    Rfc(&'static [&'static str]),
    Size(u8),
    /// `true`: that family; `None`: any.
    Type(Option<bool>),
}

impl Test {
    pub(super) fn parse(selector: &str, parameter: &str) -> Result<Self, String> {
        Ok(match selector.to_ascii_lowercase().as_str() {
            "address" => Self::Address(regex(parameter)?),
            "name" => Self::Name(regex(parameter)?),
            "flag" | "flags" => {
                let flags: Result<_, String> = parameter.split('|').map(Flag::parse).collect();
                Self::Flags(flags?)
            }
            "network" => Self::Network(Cidr::parse(parameter).ok_or_else(|| format!("{parameter:?} is no network"))?),
            "rfc" => {
                let networks = parameter.split('|').map(rfc).collect::<Option<Vec<_>>>();
                match networks.as_deref() {
                    Some([one]) => Self::Rfc(one),
                    _ => return Err(format!("no addresses are known for rfc {parameter:?}")),
                }
            }
            "size" => {
                let bits = parameter.trim_start_matches('/').parse();
                Self::Size(bits.map_err(|_| format!("size {parameter:?} is no prefix length"))?)
            }
            "type" => Self::Type(match parameter.to_ascii_lowercase().as_str() {
                "ip" => None,
                "ipv4" => Some(false),
                "ipv6" => Some(true),
                _ => return Err(format!("unknown type {parameter:?}: ip, ipv4 or ipv6")),
            }),
            _ => {
                return Err(format!("unknown selector {selector:?}: address, flags, name, network, rfc, size or type"));
            }
        })
    }

    pub(super) fn matches(&self, addr: &Addr) -> bool {
        match self {
            Self::Address(regex) => regex.is_match(&addr.ip.to_string()),
            Self::Name(regex) => regex.is_match(&addr.interface.name),
            Self::Flags(flags) => flags.iter().all(|flag| flag.on(addr)),
            Self::Network(net) => net.contains(addr.ip),
            Self::Rfc(networks) => in_any(networks, addr.ip),
            Self::Size(bits) => addr.prefix == *bits,
            Self::Type(v6) => v6.is_none_or(|v6| addr.ip.is_ipv6() == v6),
        }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(1 << 16)
        .build()
        .map_err(|_| format!("{text:?} is no regular expression (or too large a one)"))
}

/// A property of an interface or an address.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    Broadcast,
    Down,
    Forwardable,
    GlobalUnicast,
    InterfaceLocalMulticast,
    LinkLocalMulticast,
    LinkLocalUnicast,
    Loopback,
    Multicast,
    PointToPoint,
    Unspecified,
    Up,
}

impl Flag {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "broadcast" => Self::Broadcast,
            "down" => Self::Down,
            "forwardable" => Self::Forwardable,
            "global unicast" => Self::GlobalUnicast,
            "interface-local multicast" => Self::InterfaceLocalMulticast,
            "link-local multicast" => Self::LinkLocalMulticast,
            "link-local unicast" => Self::LinkLocalUnicast,
            "loopback" => Self::Loopback,
            "multicast" => Self::Multicast,
            "point-to-point" => Self::PointToPoint,
            "unspecified" => Self::Unspecified,
            "up" => Self::Up,
            _ => return Err(format!("unknown flag {text:?}")),
        })
    }

    fn on(self, addr: &Addr) -> bool {
        let link_local = in_any(&["169.254.0.0/16", "fe80::/10"], addr.ip);
        match self {
            Self::Broadcast => addr.interface.broadcast,
            Self::Down => !addr.interface.up,
            Self::Forwardable => forwardable(addr.ip),
            Self::GlobalUnicast => {
                !(addr.ip.is_unspecified() || addr.ip.is_loopback() || addr.ip.is_multicast() || link_local)
            }
            Self::InterfaceLocalMulticast => in_any(&["ff01::/16"], addr.ip),
            Self::LinkLocalMulticast => in_any(&["224.0.0.0/24", "ff02::/16"], addr.ip),
            Self::LinkLocalUnicast => link_local,
            Self::Loopback => addr.interface.loopback || addr.ip.is_loopback(),
            Self::Multicast => addr.interface.multicast || addr.ip.is_multicast(),
            Self::PointToPoint => addr.interface.point_to_point,
            Self::Unspecified => addr.ip.is_unspecified(),
            Self::Up => addr.interface.up,
        }
    }
}

/// Sorts by keys, separated by commas, each with an optional `+` or `-`.
pub(super) fn sort(list: &mut [Addr], keys: &str) -> Result<(), String> {
    type Order = fn(&Addr, &Addr) -> Ordering;
    let mut orders: Vec<(bool, Order)> = Vec::new();
    for key in keys.split(',').map(str::trim) {
        let (down, name) = match key.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, key.strip_prefix('+').unwrap_or(key)),
        };
        orders.push((
            down,
            match name {
                "address" => |a, b| a.ip.cmp(&b.ip),
                "default" => |a, b| b.interface.default_route.cmp(&a.interface.default_route),
                "name" => |a, b| a.interface.name.cmp(&b.interface.name),
                "private" => |a, b| in_any(RFC6890, b.ip).cmp(&in_any(RFC6890, a.ip)),
                "size" => by_size,
                "type" => by_type,
                // No interface address has a port.
                "port" => |_, _| Ordering::Equal,
                _ => {
                    return Err(format!(
                        "unknown sort key {name:?}: address, default, name, port, private, size or type"
                    ));
                }
            },
        ));
    }
    list.sort_by(|a, b| {
        orders.iter().fold(Ordering::Equal, |so_far, (down, order)| {
            so_far.then_with(|| if *down { order(b, a) } else { order(a, b) })
        })
    });
    Ok(())
}

/// What `attr`, `join` and `unique` can ask for.
pub(super) fn attribute(addr: &Addr, name: &str) -> Result<String, String> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "address" | "host" => addr.ip.to_string(),
        "name" => addr.interface.name.clone(),
        "type" => if addr.ip.is_ipv6() { "IPv6" } else { "IPv4" }.to_owned(),
        "string" => format!("{}/{}", addr.ip, addr.prefix),
        "mask_bits" => addr.prefix.to_string(),
        "size" => match addr.ip {
            IpAddr::V4(_) => (1_u64 << (32 - addr.prefix.min(32))).to_string(),
            // Two to the 128th does not fit anywhere.
            IpAddr::V6(_) => match 128 - addr.prefix.min(128) {
                128 => "340282366920938463463374607431768211456".to_owned(),
                bits => (1_u128 << bits).to_string(),
            },
        },
        "network" => format!("{}/{}", network(addr), addr.prefix),
        "netmask" => match addr.ip {
            IpAddr::V4(_) => core::net::Ipv4Addr::from(mask4(addr.prefix)).to_string(),
            IpAddr::V6(_) => core::net::Ipv6Addr::from(mask6(addr.prefix)).to_string(),
        },
        "flags" => {
            let named = [
                (addr.interface.up, "up"),
                (addr.interface.broadcast, "broadcast"),
                (addr.interface.loopback, "loopback"),
                (addr.interface.point_to_point, "pointtopoint"),
                (addr.interface.multicast, "multicast"),
            ];
            let on: Vec<&str> = named.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
            on.join("|")
        }
        _ => {
            return Err(format!(
                "unknown attribute {name:?}: address, flags, mask_bits, name, netmask, network, size, string or type"
            ));
        }
    })
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

fn network(addr: &Addr) -> IpAddr {
    match addr.ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & mask4(addr.prefix)).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & mask6(addr.prefix)).into()),
    }
}
