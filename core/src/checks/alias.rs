//! Checks that mirror the health of a service, or of a node.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;

use convoke_catalog::model::{Check, Status};
use convoke_catalog::{Scope, View};
use convoke_config::definition::CheckDefinition;

use crate::local::Local;

/// What an alias check depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows<'d> {
    /// A service of this agent, of that id, and the checks of the own node.
    Service(&'d str),
    /// What the catalog says of that node.
    Node(&'d str),
}

/// What a check depends on; `None` if it is no alias check.
#[must_use]
pub fn follows<'d>(definition: &'d CheckDefinition, own_node: &'d str) -> Option<Follows<'d>> {
    let (node, service) = (definition.alias_node.as_str(), definition.alias_service.as_str());
    match (node.is_empty() || node.eq_ignore_ascii_case(own_node), service) {
        _ if node.is_empty() && service.is_empty() => None,
        (true, "") => Some(Follows::Node(own_node)),
        (true, service) => Some(Follows::Service(service)),
        (false, _) => Some(Follows::Node(node)),
    }
}

/// What an alias check mirrors at this moment.
///
/// Without a node, or with the own one, and with a service, it follows the agent's own tables: no catalog is needed.
/// Else it follows the catalog. A service is as well as the worst of its own checks and of those of its node; a node is
/// as well as the worst of everything on it. Alias checks of nodes are left out, so that none mirrors itself.
#[must_use]
pub fn mirror(definition: &CheckDefinition, own_node: &str, local: &Local, view: &View) -> (Status, String) {
    let service = definition.alias_service.as_str();
    let node = match follows(definition, own_node) {
        Some(Follows::Node(node)) => node,
        Some(Follows::Service(_)) | None => {
            if local.services().get(service).is_none() {
                // As Consul words it, which names no node unless the definition does.
                return missing(service, &definition.alias_node);
            }
            let checks = local.checks_of(service).chain(local.checks_of(""));
            return worst(definition, checks.map(|check| &*check.row));
        }
    };
    let tenancy = crate::local::tenancy(&definition.partition, &definition.namespace, "default");
    let scope = Scope::from(&tenancy);
    let checks = || view.checks_of(scope, node).iter().map(|check| &**check);
    if service.is_empty() {
        return worst(definition, checks());
    }
    if view.services_of(scope, node).get(service).is_none_or(|row| *row.id != *service) {
        return missing(service, node);
    }
    let of_service = checks().filter(|check| *check.service_id == *service);
    worst(definition, of_service.chain(checks().filter(|check| check.service_id.is_empty())))
}

fn missing(service: &str, node: &str) -> (Status, String) {
    (Status::Critical, format!("Service {service} could not be found on node {node}"))
}

/// The first critical one decides, else the last warning.
fn worst<'c>(definition: &CheckDefinition, checks: impl Iterator<Item = &'c Check>) -> (Status, String) {
    let mut found = (Status::Passing, "No checks found.".to_owned());
    for check in checks {
        let itself = *check.id == *definition.id;
        let mirrors_a_node = check.service_id.is_empty() && &*check.kind == "alias";
        if itself || mirrors_a_node {
            continue;
        }
        match check.status {
            Status::Critical | Status::Warning => {
                let text = format!("Aliased check {:?} failing: {}", check.name, check.output);
                found = (check.status.clone(), text);
                if check.status == Status::Critical {
                    return found;
                }
            }
            Status::Passing | Status::Other(_) if found.0 == Status::Passing => {
                "All checks passing.".clone_into(&mut found.1);
            }
            Status::Passing | Status::Other(_) => {}
        }
    }
    found
}
