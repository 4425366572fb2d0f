//! What an answer needs of the configuration.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_config::{Config, RecursorStrategy, SoaConfig};
use convoke_dns::{Name, NameError, Soa};

/// A configuration that no DNS name can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// `domain` or `alt_domain`.
    #[error("{key} {text:?} is not a domain name: {source}")]
    Domain {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// The names below the domain would be longer than DNS allows.
    #[error("datacenter {datacenter:?} cannot be part of names below {domain}: {source}")]
    Datacenter {
        /// The datacenter.
        datacenter: String,
        /// The domain.
        domain: String,
        /// What is wrong.
        source: NameError,
    },
}

/// Everything [`answer`](super::answer) takes from the configuration, in the form it needs it. Made at start and at each
/// reload; shared by all threads.
#[derive(Debug, Clone)]
pub struct DnsSettings {
    pub(super) domain: Name,
    pub(super) alt_domain: Option<Name>,
    /// Lower case.
    pub(super) datacenter: Box<str>,
    pub(super) partition: Box<str>,
    /// Name of this agent's node.
    pub(super) node_name: Box<str>,
    /// `node.<datacenter>.<domain>`, what node names of answers end with.
    pub(super) node_suffix: Name,
    /// `addr.<datacenter>.<domain>`.
    pub(super) addr_suffix: Name,
    /// `service.<datacenter>.<domain>`.
    pub(super) service_suffix: Name,
    soa_mname: Name,
    soa_rname: Name,
    soa: SoaConfig,
    pub(super) node_ttl: u32,
    /// By lower-case service name.
    exact_ttl: BTreeMap<Box<str>, u32>,
    /// By lower-case prefix, longest first.
    prefix_ttl: Vec<(Box<str>, u32)>,
    pub(super) only_passing: bool,
    pub(super) node_meta_txt: bool,
    pub(super) compress: bool,
    pub(super) truncate: bool,
    pub(super) udp_answer_limit: usize,
    /// 0: none.
    pub(super) a_record_limit: usize,
    pub(super) prefer_namespace: bool,
    /// Servers have the tables; client agents ask them.
    pub(super) has_tables: bool,
    pub(super) recursors: Box<[SocketAddr]>,
    pub(super) recursors_shuffled: bool,
    pub(super) recursor_timeout: Duration,
}

impl DnsSettings {
    /// Takes over what DNS needs.
    ///
    /// # Errors
    /// [`SettingsError`] if the domains or the datacenter cannot be parts of DNS names.
    pub fn new(config: &Config) -> Result<Self, SettingsError> {
        let domain = parse_domain("domain", &config.domain)?;
        let alt_domain = match config.alt_domain.as_str() {
            "" => None,
            text => Some(parse_domain("alt_domain", text)?),
        };
        let below = |labels: &[&str]| {
            below(&domain, labels).map_err(|source| SettingsError::Datacenter {
                datacenter: config.datacenter.clone(),
                domain: config.domain.clone(),
                source,
            })
        };
        let (node_suffix, addr_suffix) = (below(&["node", &config.datacenter])?, below(&["addr", &config.datacenter])?);
        let service_suffix = below(&["service", &config.datacenter])?;
        let (soa_mname, soa_rname) = (below(&["ns"])?, below(&["hostmaster"])?);
        let dns = &config.dns;
        let (mut exact_ttl, mut prefix_ttl) = (BTreeMap::new(), Vec::new());
        for (pattern, ttl) in &dns.service_ttl {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_suffix('*') {
                Some(prefix) => prefix_ttl.push((Box::from(prefix), seconds(*ttl))),
                None => {
                    exact_ttl.insert(pattern.into_boxed_str(), seconds(*ttl));
                }
            }
        }
        prefix_ttl.sort_by_key(|(prefix, _): &(Box<str>, u32)| core::cmp::Reverse(prefix.len()));
        Ok(Self {
            datacenter: config.datacenter.to_ascii_lowercase().into_boxed_str(),
            partition: match config.partition.as_str() {
                "" => "default".into(),
                partition => partition.to_ascii_lowercase().into_boxed_str(),
            },
            node_name: config.node_name.as_str().into(),
            node_suffix,
            addr_suffix,
            service_suffix,
            soa_mname,
            soa_rname,
            soa: dns.soa,
            domain,
            alt_domain,
            node_ttl: seconds(dns.node_ttl),
            exact_ttl,
            prefix_ttl,
            only_passing: dns.only_passing,
            node_meta_txt: dns.enable_additional_node_meta_txt,
            compress: !dns.disable_compression,
            truncate: dns.enable_truncate,
            udp_answer_limit: usize::try_from(dns.udp_answer_limit).unwrap_or(usize::MAX),
            a_record_limit: usize::try_from(dns.a_record_limit).unwrap_or(usize::MAX),
            prefer_namespace: dns.prefer_namespace,
            has_tables: config.server,
            recursors: config.recursors.as_slice().into(),
            recursors_shuffled: dns.recursor_strategy == RecursorStrategy::Random,
            recursor_timeout: dns.recursor_timeout,
        })
    }

    /// Seconds that answers about this service (in lower case) may be kept: its own entry, else the longest prefix.
    pub(super) fn service_ttl(&self, service: &str) -> u32 {
        let by_prefix =
            || self.prefix_ttl.iter().find(|(prefix, _)| service.starts_with(&**prefix)).map(|(_, ttl)| *ttl);
        self.exact_ttl.get(service).copied().or_else(by_prefix).unwrap_or(0)
    }

    /// The zone's SOA record; its serial is the time.
    pub(super) fn soa(&self, now_unix: u64) -> Soa {
        Soa {
            mname: self.soa_mname.clone(),
            rname: self.soa_rname.clone(),
            // Serial numbers wrap (RFC 1982).
            serial: now_unix as u32,
            refresh: self.soa.refresh,
            retry: self.soa.retry,
            expire: self.soa.expire,
            minimum: self.soa.min_ttl,
        }
    }

    /// Whether names outside the domains are looked up for the client.
    #[must_use]
    pub fn recurses(&self) -> bool {
        !self.recursors.is_empty()
    }
}

fn parse_domain(key: &'static str, text: &str) -> Result<Name, SettingsError> {
    text.parse().map_err(|source| SettingsError::Domain { key, text: text.into(), source })
}

fn below(domain: &Name, labels: &[&str]) -> Result<Name, NameError> {
    let mut name = Name::root();
    for label in labels {
        name.push(label.as_bytes())?;
    }
    name.append(domain)?;
    Ok(name)
}

/// Whole seconds, as TTLs have; what is too long for one is the longest there is (RFC 2181, 8).
pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).min(0x7fff_ffff)
}
