//! Facts about this host that address templates and defaults need.

use std::fs;

use convoke_config::{Environment, Interface};

/// Gathers them anew.
#[must_use]
pub fn environment() -> Environment {
    Environment { hostname: hostname(), interfaces: interfaces() }
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"))
        .map_or_else(|_| "localhost".to_owned(), |s| s.trim().to_owned())
}

/// Interfaces in the system's order, each with its addresses.
fn interfaces() -> Vec<Interface> {
    let default_route = default_route();
    let mut out: Vec<Interface> = Vec::new();
    for found in if_addrs::get_if_addrs().unwrap_or_default() {
        let prefix = match &found.addr {
            if_addrs::IfAddr::V4(a) => a.prefixlen,
            if_addrs::IfAddr::V6(a) => a.prefixlen,
        };
        let address = (found.ip(), prefix);
        if let Some(known) = out.iter_mut().find(|i| i.name == found.name) {
            known.addresses.push(address);
            continue;
        }
        let flags = flags(&found.name);
        let has = |bit: u32| flags.is_some_and(|f| f & bit != 0);
        out.push(Interface {
            addresses: vec![address],
            up: flags.is_none_or(|f| f & IFF_UP != 0),
            loopback: found.is_loopback(),
            broadcast: has(IFF_BROADCAST),
            multicast: has(IFF_MULTICAST),
            point_to_point: has(IFF_POINTOPOINT),
            default_route: default_route.as_deref() == Some(found.name.as_str()),
            name: found.name,
        });
    }
    out
}

const IFF_UP: u32 = 1;
const IFF_BROADCAST: u32 = 2;
const IFF_POINTOPOINT: u32 = 0x10;
const IFF_MULTICAST: u32 = 0x1000;

/// The interface's flags as Linux shows them; `None` elsewhere.
fn flags(interface: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/flags")).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// The interface of the IPv4 default route: destination and mask zero in the kernel's table.
fn default_route() -> Option<String> {
    let table = fs::read_to_string("/proc/net/route").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        let mask = fields.nth(5)?;
        (destination == "00000000" && mask == "00000000").then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there() {
        let env = environment();
        assert!(!env.hostname.is_empty());
        let lo = env.interfaces.iter().find(|i| i.loopback).expect("a loopback interface");
        assert!(lo.up && lo.addresses.iter().any(|(ip, prefix)| ip.is_loopback() && *prefix >= 8));
    }
}
