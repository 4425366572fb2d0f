//! What a leader writes of the members: their node, the health that membership sees, and the `consul` service of
//! servers. With one voter there is one member to write, itself.

use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec;

use convoke_api::agent_view::Identity;
use convoke_catalog::command::Register;
use convoke_catalog::model::{Check, Node, Service, Status, Str, Tenancy};
use convoke_catalog::{Command, Scope, View};
use convoke_config::config::Config;

/// Id of the check that membership keeps for every node.
pub const SERF_HEALTH: &str = "serfHealth";
/// Id and name of the service of servers.
pub const CONSUL_SERVICE: &str = "consul";

/// The `consul` service of the own node.
fn consul_service(config: &Config, identity: &Identity, partition: &Str) -> Service {
    let meta: [(&str, Str); 6] = [
        ("non_voter", config.read_replica.to_string().as_str().into()),
        ("raft_version", config.raft.protocol.to_string().as_str().into()),
        ("serf_protocol_current", "2".into()),
        ("serf_protocol_max", "5".into()),
        ("serf_protocol_min", "1".into()),
        ("version", identity.version.as_str().into()),
    ];
    Service {
        id: CONSUL_SERVICE.into(),
        name: CONSUL_SERVICE.into(),
        tenancy: Tenancy { partition: Arc::clone(partition), ..Tenancy::default() },
        port: config.ports.server.unwrap_or(0),
        meta: Some(meta.into_iter().map(|(k, v)| (Str::from(k), v)).collect::<BTreeMap<_, _>>()),
        weight_passing: 1,
        weight_warning: 1,
        ..Service::default()
    }
}

/// The check of a member that is alive.
fn serf_health(node: &Node) -> Check {
    Check {
        node: Arc::clone(&node.name),
        tenancy: Tenancy { partition: Arc::clone(&node.partition), ..Tenancy::default() },
        id: SERF_HEALTH.into(),
        name: "Serf Health Status".into(),
        status: Status::Passing,
        output: "Agent alive and reachable".into(),
        ..Check::default()
    }
}

/// The command that makes the catalog say of the own member what membership says; `None` when it does already.
#[must_use]
pub fn own_member(config: &Config, identity: &Identity, node: &Node, view: &View) -> Option<Command> {
    let service = consul_service(config, identity, &node.partition);
    let check = serf_health(node);
    let scope = Scope::from(&service.tenancy);
    let known =
        view.node(&node.partition, &node.name).is_some_and(|row| row.id == node.id && row.address == node.address);
    let served = view
        .services_of(scope, &node.name)
        .iter()
        .any(|row| row.id == service.id && row.port == service.port && row.meta == service.meta);
    let healthy = view
        .checks_of(scope, &node.name)
        .iter()
        .any(|row| row.id == check.id && row.status == check.status && row.output == check.output);
    if known && served && healthy {
        return None;
    }
    // Membership knows a name, an id and an address. The rest of the row is what the agent itself says of it.
    let member = Node { tagged_addresses: None, meta: None, ..node.clone() };
    Some(Command::Register(Register {
        node: member,
        skip_node_update: known,
        services: vec![service],
        checks: vec![check],
    }))
}
