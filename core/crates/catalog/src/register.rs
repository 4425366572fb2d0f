//! Registering and deregistering: what is refused, and in which order the rest is done.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use crate::catalog::Write;
use crate::command::{Deregister, Register, Reply};
use crate::model::{Check, Node, Service, Status, Str, Tenancy};
use crate::name::{fold, fold_shared};
use crate::rows::NodeWriter;
use crate::state::{DEFAULT, Partition, State, space};

/// The check that tells whether a node's agent is alive. A node whose agent is known to be alive keeps its name.
const SERF_CHECK: &str = "serfhealth";

/// See [`Command::Register`](crate::Command::Register). All of it or, if anything in it is refused, nothing.
///
/// A node is known by its id and, without one, by its name. The same id under another name is the same node renamed:
/// what the old name had registered goes away. Another id under the same name takes the row over, unless the agent
/// that holds the name is alive.
pub(crate) fn register(state: &mut State, write: &mut Write, register: Register) -> Reply {
    let register = normalised(state, register);
    let partition = state.partitions.get(&*register.node.partition).map(|partition| &**partition);
    let plan = match plan(partition, &register) {
        Ok(plan) => plan,
        Err(why) => return Reply::Refused(why),
    };
    carry_out(state, write, register, plan);
    Reply::Done
}

/// The row of a node alone; unlike a registration it may have no address.
///
/// # Errors
/// If it has no name, or may not have it.
pub(crate) fn set_node(state: &mut State, write: &mut Write, node: Node) -> Result<(), String> {
    let register = normalised(state, Register { node, ..Register::default() });
    let node = &register.node;
    if node.name.is_empty() {
        return Err("Must provide node".to_string());
    }
    let renamed_from = match state.partitions.get(&*node.partition) {
        Some(partition) => identify(partition, node)?,
        None => None,
    };
    carry_out(state, write, register, Plan { keep_node: false, renamed_from });
    Ok(())
}

fn carry_out(state: &mut State, write: &mut Write, register: Register, plan: Plan) {
    let space = Arc::clone(&register.node.partition);
    state.partition(&space, |partition| {
        let mut created = None;
        if let Some(old) = plan.renamed_from {
            created = partition.nodes.get(&*old).map(|node| node.indexes.create);
            NodeWriter::new(partition, write, &space, old).remove_node();
        }
        let key = fold_shared(&register.node.name);
        let mut writer = NodeWriter::new(partition, write, &space, key);
        if !plan.keep_node {
            writer.put_node(register.node, created);
        }
        for service in register.services {
            writer.put_service(service);
        }
        for check in register.checks {
            writer.put_check(check);
        }
        writer.finish();
    });
}

/// See [`Command::Deregister`](crate::Command::Deregister). A service goes before a check, a check before the node.
pub(crate) fn deregister(state: &mut State, write: &mut Write, deregister: &Deregister) -> Reply {
    if deregister.node.is_empty() {
        return Reply::Refused("Must provide node".to_string());
    }
    let tenancy = State::tenancy(&deregister.tenancy);
    let key = fold_shared(&deregister.node);
    let there = state.partitions.get(&*tenancy.partition).is_some_and(|partition| partition.nodes.get(&*key).is_some());
    if !there {
        return Reply::Done;
    }
    let given = |id: &Option<Str>| id.as_ref().filter(|id| !id.is_empty()).map(fold_shared);
    state.partition(&tenancy.partition, |partition| {
        let mut writer = NodeWriter::new(partition, write, &tenancy.partition, key);
        if let Some(id) = given(&deregister.service_id) {
            writer.remove_service(&tenancy.namespace, &id);
        } else if let Some(id) = given(&deregister.check_id) {
            writer.remove_check(&tenancy.namespace, &id);
        } else {
            return writer.remove_node();
        }
        writer.finish();
    });
    Reply::Done
}

/// The parts of a registration that are decided before anything is changed.
struct Plan {
    /// The node's row stays as it is.
    keep_node: bool,
    /// Folded name the node had until now.
    renamed_from: Option<Str>,
}

/// Fills in what may be left out, and shares the names of partition and namespaces with the tables.
fn normalised(state: &State, mut register: Register) -> Register {
    let node = &mut register.node;
    node.partition = state.partitions.shared_key(space(&node.partition));
    node.id = node.id.take().filter(|id| !id.is_empty());
    let spaces = state.partitions.get(&*node.partition).map(|partition| &partition.namespaces);
    let within = |tenancy: &Tenancy| {
        let namespace = space(&tenancy.namespace);
        let namespace = match spaces {
            Some(spaces) => spaces.shared_key(namespace),
            None => namespace,
        };
        Tenancy { partition: Arc::clone(&node.partition), namespace }
    };
    for service in &mut register.services {
        service.tenancy = within(&service.tenancy);
        if service.id.is_empty() {
            service.id = Arc::clone(&service.name);
        }
    }
    for check in &mut register.checks {
        check.tenancy = within(&check.tenancy);
        if check.node.is_empty() {
            check.node = Arc::clone(&node.name);
        }
        if check.id.is_empty() {
            check.id = Arc::clone(&check.name);
        }
        if check.status.as_str().is_empty() {
            check.status = Status::Critical;
        }
    }
    register
}

/// Refuses what must be refused.
fn plan(partition: Option<&Partition>, register: &Register) -> Result<Plan, String> {
    let node = &register.node;
    if node.name.is_empty() {
        return Err("Must provide node".to_string());
    }
    if node.address.is_empty() && !register.skip_node_update {
        return Err("Must provide address if SkipNodeUpdate is not set".to_string());
    }
    let exists = partition.is_some_and(|partition| partition.nodes.get(&*fold(&node.name)).is_some());
    let keep_node = register.skip_node_update && exists;
    let renamed_from = match partition {
        Some(partition) if !keep_node => {
            identify(partition, node).map_err(|why| format!("failed inserting node: {why}"))?
        }
        _ => None,
    };
    for service in &register.services {
        check_service(service)?;
    }
    for check in &register.checks {
        check_check(partition, register, check)?;
    }
    Ok(Plan { keep_node, renamed_from })
}

/// Which row a node's id means: the folded name it had, if it had another.
fn identify(partition: &Partition, node: &Node) -> Result<Option<Str>, String> {
    let Some(id) = &node.id else { return Ok(None) };
    let Some(held) = partition.ids.get(&*fold(id)) else {
        return match clash(partition, node, true) {
            Some(why) => Err(format!("Error while renaming Node ID: {id:?}: {why}")),
            None => Ok(None),
        };
    };
    if **held == *fold(&node.name) {
        return Ok(None);
    }
    match clash(partition, node, false) {
        Some(why) => Err(format!("Error while renaming Node ID: {id:?} ({}): {why}", node.address)),
        None => Ok(Some(Arc::clone(held))),
    }
}

/// Why a node may not take its name: another one, known to be alive, has it.
fn clash(partition: &Partition, node: &Node, may_adopt: bool) -> Option<String> {
    let key = fold(&node.name);
    let holder = partition.nodes.get(&*key)?;
    if may_adopt && holder.id.is_none() {
        return None;
    }
    let alive = partition.local(DEFAULT, &key)?.check(SERF_CHECK)?.status != Status::Critical;
    alive.then(|| {
        let id = holder.id.as_deref().unwrap_or_default();
        format!("Node name {} is reserved by node {id} with name {} ({})", node.name, holder.name, holder.address)
    })
}

fn check_service(service: &Service) -> Result<(), String> {
    if service.id.is_empty() {
        Err("failed inserting service: failed inserting service: object missing primary index".to_string())
    } else if service.name.is_empty() {
        Err("Must provide service name with ID".to_string())
    } else {
        Ok(())
    }
}

fn check_check(partition: Option<&Partition>, register: &Register, check: &Check) -> Result<(), String> {
    let node = &register.node.name;
    let key = fold(node);
    if fold(&check.node) != key {
        return Err(format!("check node {:?} does not match node {node:?}", check.node));
    }
    if check.id.is_empty() {
        return Err(format!(
            "failed inserting check: failed inserting check: object missing primary index on node {node:?}"
        ));
    }
    let service_id = fold(&check.service_id);
    let new = |service: &Service| service.tenancy == check.tenancy && fold(&service.id) == service_id;
    let there = || Some(partition?.local(&check.tenancy.namespace, &key)?.service(&service_id).is_some());
    if service_id.is_empty() || register.services.iter().any(new) || there().unwrap_or(false) {
        Ok(())
    } else {
        Err(format!("failed inserting check: Missing service registration on node {node:?}"))
    }
}
