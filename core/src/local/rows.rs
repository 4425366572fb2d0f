//! From definitions to the rows that the catalog should have.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use convoke_catalog::model::{Check, NamedPort, Proxy, Service, Status, Str, TaggedAddress};
use convoke_config::definition::{CheckDefinition, ServiceDefinition};

use crate::checks::spec::kind_name;
use crate::local::{is_maintenance, tenancy};

/// The row of a service.
pub(super) fn service(definition: &ServiceDefinition, own_partition: &str) -> Service {
    let weights = definition.weights.unwrap_or_default();
    let id = if definition.id.is_empty() { &definition.name } else { &definition.id };
    Service {
        kind: definition.kind.as_str().into(),
        id: id.as_str().into(),
        name: definition.name.as_str().into(),
        tenancy: tenancy(&definition.partition, &definition.namespace, own_partition),
        tags: definition.tags.iter().map(|tag| tag.as_str().into()).collect(),
        address: definition.address.as_str().into(),
        tagged_addresses: tagged_addresses(definition),
        meta: pairs(&definition.meta),
        port: definition.port,
        ports: definition
            .ports
            .iter()
            .map(|port| NamedPort { name: port.name.as_str().into(), port: port.port, default: port.default })
            .collect(),
        socket_path: definition.socket_path.as_str().into(),
        weight_passing: weights.passing,
        weight_warning: weights.warning,
        enable_tag_override: definition.enable_tag_override,
        proxy: definition.proxy.as_ref().map(|proxy| {
            Arc::new(Proxy {
                destination_service_name: proxy.destination_service_name.as_str().into(),
                destination_service_id: proxy.destination_service_id.as_str().into(),
                local_service_address: proxy.local_service_address.as_str().into(),
                local_service_port: proxy.local_service_port,
                config: proxy.config.as_str().into(),
                upstreams: proxy.upstreams.as_str().into(),
                mesh_gateway: proxy.mesh_gateway.as_str().into(),
                expose: proxy.expose.as_str().into(),
                mode: proxy.mode.as_str().into(),
            })
        }),
        connect_native: definition.connect.as_ref().is_some_and(|connect| connect.native),
        ..Service::default()
    }
}

/// Free pairs; `None` for none.
pub(crate) fn pairs(map: &BTreeMap<String, String>) -> Option<BTreeMap<Str, Str>> {
    (!map.is_empty()).then(|| map.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
}

/// The given ones, and those of the address's family where it is an IP.
fn tagged_addresses(definition: &ServiceDefinition) -> BTreeMap<Str, TaggedAddress> {
    let mut all: BTreeMap<Str, TaggedAddress> = definition
        .tagged_addresses
        .iter()
        .map(|(tag, at)| (tag.as_str().into(), TaggedAddress { address: at.address.as_str().into(), port: at.port }))
        .collect();
    let family = match definition.address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return all,
    };
    for tag in family {
        all.entry(tag.into())
            .or_insert_with(|| TaggedAddress { address: definition.address.as_str().into(), port: definition.port });
    }
    all
}

/// The checks that stand in a service, with id, name and service filled in. One without any content is none.
pub(crate) fn checks_of_service(service: &ServiceDefinition) -> Vec<CheckDefinition> {
    let id = if service.id.is_empty() { &service.name } else { &service.id };
    let real: Vec<&CheckDefinition> =
        service.checks.iter().filter(|check| **check != CheckDefinition::default()).collect();
    let several = real.len() > 1;
    let fill = |(n, check): (usize, &CheckDefinition)| {
        let mut check = check.clone();
        if check.id.is_empty() {
            check.id = if several { format!("service:{id}:{}", n + 1) } else { format!("service:{id}") };
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name);
        }
        if check.token.is_empty() {
            check.token.clone_from(&service.token);
        }
        check.service_id.clone_from(id);
        check.namespace.clone_from(&service.namespace);
        check.partition.clone_from(&service.partition);
        check
    };
    real.into_iter().enumerate().map(fill).collect()
}

/// The row of a check. `untyped`: Consul shows no type for checks that stand alone in files, and clients may look.
pub(super) fn check(
    definition: &CheckDefinition,
    node: &Str,
    own_partition: &str,
    service: Option<&Service>,
    untyped: bool,
) -> Check {
    let kind = match () {
        () if is_maintenance(&definition.id) => "maintenance",
        () if untyped => "",
        () => kind_name(definition),
    };
    let status = if definition.status.is_empty() { Status::Critical } else { Status::from_text(&definition.status) };
    Check {
        node: Arc::clone(node),
        tenancy: match service {
            Some(service) => service.tenancy.clone(),
            None => tenancy(&definition.partition, &definition.namespace, own_partition),
        },
        id: definition.id.as_str().into(),
        name: definition.name.as_str().into(),
        status,
        notes: definition.notes.as_str().into(),
        service_id: definition.service_id.as_str().into(),
        service_name: service.map_or_else(Str::default, |service| Arc::clone(&service.name)),
        service_tags: service.map_or_else(Vec::new, |service| service.tags.clone()),
        kind: kind.into(),
        ..Check::default()
    }
}
