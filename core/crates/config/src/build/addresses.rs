//! Addresses and ports: templates expanded, defaults taken from each other, nothing listening twice on one place.

use super::tree::Tree;
use crate::config::Config;
use crate::net::ListenAddr;
use crate::settings::{Addresses, UnixSockets};
use crate::source::Environment;
use crate::template;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) fn addresses(config: &mut Config, tree: &mut Tree<'_>, env: &Environment) {
    ports(config, tree);
    cluster(config, tree, env);
    clients(config, tree, env);
    recursors(config, tree, env);
    collisions(config, tree);
    config.translate_wan_addrs = tree.flag("translate_wan_addrs", false);
    config.unix_sockets = UnixSockets {
        user: tree.text("unix_sockets.user").unwrap_or_default(),
        group: tree.text("unix_sockets.group").unwrap_or_default(),
        mode: tree.text("unix_sockets.mode").unwrap_or_default(),
    };
    if !config.unix_sockets.mode.bytes().all(|b| (b'0'..=b'7').contains(&b)) || config.unix_sockets.mode.len() > 5 {
        tree.error("unix_sockets.mode", "must be octal, such as 0770");
    }
}

fn ports(config: &mut Config, tree: &mut Tree<'_>) {
    let ports = &mut config.ports;
    for (name, port) in [
        ("dns", &mut ports.dns),
        ("http", &mut ports.http),
        ("https", &mut ports.https),
        ("grpc", &mut ports.grpc),
        ("grpc_tls", &mut ports.grpc_tls),
        ("serf_lan", &mut ports.serf_lan),
        ("serf_wan", &mut ports.serf_wan),
        ("server", &mut ports.server),
    ] {
        let path = format!("ports.{name}");
        let Some(number) = tree.signed(&path) else { continue };
        // Zero and less turn a listener off.
        match u16::try_from(number.max(0)) {
            Ok(0) if matches!(name, "serf_lan" | "server") => {
                tree.refuse(&path, "cannot be turned off; it must be a valid port from 1 to 65535");
            }
            Ok(0) => *port = None,
            Ok(number) => *port = Some(number),
            Err(_) => {
                tree.error(&path, &format!("invalid port: {number} is not from 1 to 65535 (or -1 to turn it off)"));
            }
        }
    }
    ports.sidecar_min_port = tree.number("ports.sidecar_min_port", ports.sidecar_min_port);
    ports.sidecar_max_port = tree.number("ports.sidecar_max_port", ports.sidecar_max_port);
    ports.expose_min_port = tree.number("ports.expose_min_port", ports.expose_min_port);
    ports.expose_max_port = tree.number("ports.expose_max_port", ports.expose_max_port);
    for (name, min, max) in [
        ("sidecar_min_port", ports.sidecar_min_port, ports.sidecar_max_port),
        ("expose_min_port", ports.expose_min_port, ports.expose_max_port),
    ] {
        if max < min {
            tree.error(&format!("ports.{name}"), &format!("the minimum port {min} is above the maximum port {max}"));
        }
    }
}

/// The text of an address key with its template expanded; `None` if it is not given, or wrong.
fn expanded(tree: &mut Tree<'_>, key: &str, env: &Environment) -> Option<String> {
    let text = tree.text(key)?;
    match template::expand(&text, env) {
        Ok(address) => Some(address),
        Err(reason) => {
            tree.error(key, &reason);
            None
        }
    }
}

/// One IP address; brackets around IPv6 do no harm.
fn ip(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text).parse().ok()
}

/// A key that holds exactly one IP address.
fn single(tree: &mut Tree<'_>, key: &str, env: &Environment) -> Option<IpAddr> {
    let text = expanded(tree, key, env)?;
    let found: Vec<&str> = text.split_whitespace().collect();
    match found.as_slice() {
        [] => {
            let hint =
                if tree.text(key).is_some_and(|t| !t.is_empty()) { "; the template finds no address" } else { "" };
            tree.conflict(key, &format!("{key} cannot be empty{hint}"));
            None
        }
        [one] if one.contains('/') => {
            tree.conflict(key, &format!("{key} cannot be a unix socket"));
            None
        }
        [one] => {
            let address = ip(one);
            if address.is_none() {
                tree.error(key, &format!("{one:?} is no IP address"));
            }
            address
        }
        _ => {
            tree.conflict(key, &format!("{key} cannot contain multiple addresses: {text}"));
            None
        }
    }
}

/// As above, for addresses that others are told.
fn advertised(tree: &mut Tree<'_>, key: &str, env: &Environment) -> Option<IpAddr> {
    let address = single(tree, key, env)?;
    if address.is_unspecified() {
        tree.conflict(key, &format!("{key} cannot be 0.0.0.0, :: or [::]"));
    }
    Some(address)
}

fn cluster(config: &mut Config, tree: &mut Tree<'_>, env: &Environment) {
    if let Some(bind) = single(tree, "bind_addr", env) {
        config.bind_addr = bind;
    }
    let lan_v4 = advertised(tree, "advertise_addr_ipv4", env);
    let lan_v6 = advertised(tree, "advertise_addr_ipv6", env);
    let wan_v4 = advertised(tree, "advertise_addr_wan_ipv4", env);
    let wan_v6 = advertised(tree, "advertise_addr_wan_ipv6", env);
    for (key, address, v6) in [
        ("advertise_addr_ipv4", lan_v4, false),
        ("advertise_addr_ipv6", lan_v6, true),
        ("advertise_addr_wan_ipv4", wan_v4, false),
        ("advertise_addr_wan_ipv6", wan_v6, true),
    ] {
        if address.is_some_and(|ip| ip.is_ipv6() != v6) {
            tree.error(key, "is an address of the other family");
        }
    }
    let fallback = if config.bind_addr.is_ipv6() { lan_v6.or(lan_v4) } else { lan_v4.or(lan_v6) };
    config.advertise_addr = match advertised(tree, "advertise_addr", env).or(fallback) {
        Some(address) => address,
        None if !config.bind_addr.is_unspecified() => config.bind_addr,
        None => match detect(config.bind_addr, env) {
            Ok(address) => address,
            Err(message) => {
                // A key that is wrong has been complained about; one complaint is enough.
                if !tree.has("advertise_addr") {
                    tree.refuse("bind_addr", &message);
                }
                config.bind_addr
            }
        },
    };
    config.advertise_addr_wan =
        advertised(tree, "advertise_addr_wan", env).or(wan_v4).or(wan_v6).unwrap_or(config.advertise_addr);

    let mut tagged = BTreeMap::new();
    for (network, address, v4, v6) in
        [("lan", config.advertise_addr, lan_v4, lan_v6), ("wan", config.advertise_addr_wan, wan_v4, wan_v6)]
    {
        tagged.insert(network.to_string(), address.to_string());
        let (own_v4, own_v6) = if address.is_ipv4() { (Some(address), None) } else { (None, Some(address)) };
        for (family, address) in [("ipv4", v4.or(own_v4)), ("ipv6", v6.or(own_v6))] {
            if let Some(address) = address {
                tagged.insert(format!("{network}_{family}"), address.to_string());
            }
        }
    }
    config.tagged_addresses = tagged;

    let serf_lan = single(tree, "serf_lan", env).unwrap_or(config.bind_addr);
    let serf_wan = single(tree, "serf_wan", env).unwrap_or(config.bind_addr);
    config.serf_lan = SocketAddr::new(serf_lan, config.ports.serf_lan.unwrap_or(0));
    config.serf_wan = config.ports.serf_wan.map(|port| SocketAddr::new(serf_wan, port));
    config.serf_lan_allowed_cidrs = tree.networks("serf_lan_allowed_cidrs");
    config.serf_wan_allowed_cidrs = tree.networks("serf_wan_allowed_cidrs");
}

/// The one address that others can reach this machine at: a private IPv4 address, or where IPv6 is bound a public IPv6 address.
fn detect(bind: IpAddr, env: &Environment) -> Result<IpAddr, String> {
    let (template, what) = match bind {
        IpAddr::V4(_) => (
            "{{ GetPrivateInterfaces | include \"type\" \"ipv4\" | unique \"address\" | join \"address\" \" \" }}",
            "private IPv4",
        ),
        IpAddr::V6(_) => (
            "{{ GetPublicInterfaces | include \"type\" \"ipv6\" | unique \"address\" | join \"address\" \" \" }}",
            "public IPv6",
        ),
    };
    let found = template::expand(template, env)?;
    let found: Vec<&str> = found.split_whitespace().collect();
    match found.as_slice() {
        [] => Err(format!("No {what} address found. Please configure one with 'bind' and/or 'advertise'.")),
        [one] => ip(one).ok_or_else(|| format!("{one:?} is no IP address")),
        _ => Err(format!("Multiple {what} addresses found. Please configure one with 'bind' and/or 'advertise'.")),
    }
}

fn clients(config: &mut Config, tree: &mut Tree<'_>, env: &Environment) {
    let local = vec![ListenAddr::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    config.client_addrs = listeners(tree, "client_addr", env, false).unwrap_or(local);
    let of = |name: &str, unix: bool, tree: &mut Tree<'_>| {
        listeners(tree, &format!("addresses.{name}"), env, unix).unwrap_or_else(|| config.client_addrs.clone())
    };
    config.addresses = Addresses {
        dns: of("dns", false, tree),
        http: of("http", true, tree),
        https: of("https", true, tree),
        grpc: of("grpc", true, tree),
        grpc_tls: of("grpc_tls", true, tree),
    };
}

/// Addresses separated by white space.
fn listeners(tree: &mut Tree<'_>, key: &str, env: &Environment, unix: bool) -> Option<Vec<ListenAddr>> {
    let text = expanded(tree, key, env)?;
    let mut all = Vec::new();
    for part in text.split_whitespace() {
        let address = match part.strip_prefix("unix://") {
            Some(path) if unix && !path.is_empty() => Some(ListenAddr::Unix(path.to_string())),
            Some(_) => None,
            None => ip(part).map(ListenAddr::Ip),
        };
        match address {
            Some(address) if all.contains(&address) => {}
            Some(address) => all.push(address),
            None if part.contains('/') => tree.conflict(key, &format!("{key} cannot be a unix socket")),
            None => tree.error(key, &format!("{part:?} is no IP address")),
        }
    }
    if text.is_empty() && key == "client_addr" {
        tree.conflict(key, "client_addr cannot be empty");
    }
    (!all.is_empty()).then_some(all)
}

fn recursors(config: &mut Config, tree: &mut Tree<'_>, env: &Environment) {
    for text in tree.list("recursors") {
        let expanded = match template::expand(&text, env) {
            Ok(expanded) => expanded,
            Err(reason) => {
                tree.error("recursors", &reason);
                continue;
            }
        };
        for part in expanded.split_whitespace() {
            let address = part.parse().ok().or_else(|| ip(part).map(|ip| SocketAddr::new(ip, 53)));
            match address {
                Some(address) if address.ip().is_unspecified() => {
                    tree.conflict("recursors", "DNS recursor address cannot be 0.0.0.0, :: or [::]");
                }
                Some(address) if config.recursors.contains(&address) => {}
                Some(address) => config.recursors.push(address),
                None => tree.refuse("recursors", &format!("{part:?} is neither an IP address nor one with a port")),
            }
        }
    }
}

/// Refuses two listeners of one transport on the same address and port.
fn collisions(config: &Config, tree: &mut Tree<'_>) {
    let mut used: Vec<(String, &str)> = Vec::new();
    let ports = &config.ports;
    let bind = [ListenAddr::Ip(config.bind_addr)];
    let lan = [ListenAddr::Ip(config.serf_lan.ip())];
    let wan = [ListenAddr::Ip(config.serf_wan.map_or(config.bind_addr, |wan| wan.ip()))];
    let all: [(&'static str, &[ListenAddr], Option<u16>); 8] = [
        ("DNS", &config.addresses.dns, ports.dns),
        ("HTTP", &config.addresses.http, ports.http),
        ("HTTPS", &config.addresses.https, ports.https),
        ("gRPC", &config.addresses.grpc, ports.grpc),
        ("gRPC TLS", &config.addresses.grpc_tls, ports.grpc_tls),
        ("RPC", &bind, ports.server),
        ("Serf LAN", &lan, ports.serf_lan),
        ("Serf WAN", &wan, ports.serf_wan.filter(|_| config.server)),
    ];
    for (name, addresses, port) in all {
        let Some(port) = port else { continue };
        for address in addresses {
            let place = match address {
                ListenAddr::Ip(ip) => SocketAddr::new(*ip, port).to_string(),
                ListenAddr::Unix(path) => format!("unix://{path}"),
            };
            match used.iter().find(|(other, _)| *other == place) {
                Some((_, other)) => {
                    tree.conflict("ports", &format!("{name} address {place} already configured for {other}"));
                }
                None => used.push((place, name)),
            }
        }
    }
}
