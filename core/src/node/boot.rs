//! What a node is made of, and how it comes to life.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use convoke_api::agent_view::Identity;
use convoke_catalog::model::Status;
use convoke_config::config::Config;
use convoke_config::definition::CheckDefinition;
use convoke_kit::Rng;

use crate::checks::spec::{self, ScriptPolicy};
use crate::local::persist::{self, Kept, TtlState};
use crate::local::{Change, Local, Refusal, Unnamed, is_maintenance, rows};
use crate::node::Node;
use crate::node::gossip::{self, Gossip};
use crate::node::servers::{self, Presence, Servers};
use crate::recovery::{self, RecoveryError};
use crate::store::Recovered;
use crate::{identity, store};

/// Everything a node needs to be built.
#[derive(Debug)]
pub struct Boot {
    /// Loaded and validated.
    pub config: Arc<Config>,
    /// Who it is.
    pub identity: Identity,
    /// What its `data_dir` held; empty without one.
    pub recovered: Recovered,
    /// Of all its randomness.
    pub seed: u64,
    /// Unix time at [`Time::ZERO`](convoke_kit::Time::ZERO).
    pub wall: Duration,
}

/// Why a node does not start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Log or snapshot cannot be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Definitions in the configuration files are refused.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// A server that was away for too long.
    #[error("{0}")]
    Away(String),
    /// No key where there should be one.
    #[error("{0}")]
    Keyring(String),
    /// What the agent says of itself does not fit into a packet.
    #[error("the agent cannot be told to others: {0}; shorten datacenter, segment or node id")]
    Tags(#[from] convoke_swim::tags::TagsError),
}

/// What the files of an earlier run and the configuration make of a new node.
pub(super) struct Loaded {
    pub(super) local: Local,
    /// To be told to the children when the node starts.
    pub(super) changes: Vec<Change>,
    /// Files that are void.
    pub(super) void: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Node {
    /// A node that has not started yet: nothing happens before the first call to `handle_timeout` or `handle`. With it
    /// come warnings for the log.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(boot: Boot) -> Result<(Self, Vec<String>), StartError> {
        let Boot { config, identity, recovered, seed, wall } = boot;
        let mut tables = if config.server { recovery::recover(&recovered)? } else { recovery::Recovered::default() };
        let forced = recovered.peers.as_deref().filter(|_| config.server);
        if let Some(peers) = forced {
            recovery::force(&mut tables, peers)?;
        }
        let mut loaded = load(&config, &identity, &recovered, wall)?;
        let mut warnings = core::mem::take(&mut loaded.warnings);
        if tables.torn > 0 {
            warnings.push(format!(
                "the end of the log in data_dir was torn by a crash: {} bytes that had never been acknowledged are dropped",
                tables.torn
            ));
        }
        if forced.is_some() {
            warnings.push(String::from(
                "raft/peers.json says who belongs to the cluster from now on: everything in the log of this server counts as \
                 committed; give the other servers of the list the same file, or an empty data_dir",
            ));
        }
        let presence = Presence::new(&config, &recovered, wall, &mut warnings).map_err(StartError::Away)?;
        let mut rng = Rng::new(seed);
        let gossip = Gossip::new(&config, &identity, &recovered, wall, &mut rng, &mut warnings)?;
        let durable = !config.data_dir.is_empty() && !config.dev_mode;
        let rows = core::mem::take(&mut tables.tables);
        let mut servers =
            Servers::new(&config, &identity, tables, &recovered, durable, &mut rng).map_err(RecoveryError::Raft)?;
        servers.presence = presence;
        Ok((Self::assemble(config, identity, rows, servers, loaded, gossip, rng, wall), warnings))
    }
}

/// Registers what files define, then what earlier runs kept; files win.
fn load(config: &Config, identity: &Identity, recovered: &Recovered, wall: Duration) -> Result<Loaded, StartError> {
    let mut loaded = Loaded {
        local: Local::new(&identity.node_name, identity::partition(config)),
        changes: Vec::new(),
        void: Vec::new(),
        warnings: Vec::new(),
    };
    let problems = from_config(config, &mut loaded);
    if !problems.is_empty() {
        return Err(StartError::Refused(problems));
    }
    // By path: `checks/...` before `services/...`, but a check needs its service.
    let mut services = Vec::new();
    let mut checks = Vec::new();
    let mut states = Vec::new();
    let of_others = |path: &str| path.split('/').next().is_some_and(|f| f == gossip::FOLDER || f == servers::FOLDER);
    for (path, content) in recovered.files.iter().filter(|(path, _)| !of_others(path)) {
        match persist::read(path, content) {
            Ok(Kept::Service(service)) => services.push((path, service)),
            Ok(Kept::Check(check)) => checks.push((path, check)),
            Ok(Kept::State(state)) => states.push((path, state)),
            Err(why) => loaded.warnings.push(format!("{path} in data_dir is skipped: {why}; it is left as it is")),
        }
    }
    let policy = policy(config);
    for (path, service) in services {
        let id = if service.id.is_empty() { &service.name } else { &service.id };
        if loaded.local.services().get(&**id).is_some() {
            loaded.void.push(path.clone());
        } else {
            let mut service = service;
            service.checks.iter_mut().for_each(begin_critical);
            loaded.local.register_service(service, false, Unnamed::Stay, &mut loaded.changes);
        }
    }
    for (path, mut check) in checks {
        begin_critical(&mut check);
        if loaded.local.checks().get(&*check.id).is_some() {
            loaded.void.push(path.clone());
            continue;
        }
        let (id, probeless) = (check.id.clone(), is_maintenance(&check.id));
        let refused =
            if probeless { Ok(()) } else { spec::validate(&check).and_then(|()| policy.admits(&check, false)) };
        let refused = refused.and_then(|()| loaded.local.register_check(check, false, &mut loaded.changes));
        if let Err(Refusal { text, .. }) = refused {
            loaded.warnings.push(format!("check {id:?} kept in {path} is skipped: {text}"));
        }
    }
    for (path, state) in states {
        if !restore(&mut loaded, &state, wall) {
            loaded.void.push(path.clone());
        }
    }
    Ok(loaded)
}

/// What was healthy before a restart may not be now: a kept check is critical until its probe, or the last word of its TTL, says otherwise.
fn begin_critical(check: &mut CheckDefinition) {
    check.status.clear();
}

/// Gives a TTL check its last word back; whether it still counts.
fn restore(loaded: &mut Loaded, state: &TtlState, wall: Duration) -> bool {
    let known = loaded.local.checks().get(&*state.id).is_some_and(|check| !check.definition.ttl.is_zero());
    if !known || u128::from(state.expires) <= wall.as_millis() {
        return false;
    }
    let status = Status::from_text(&state.status);
    loaded.local.report(&state.id, status, &state.output, &mut loaded.changes);
    true
}

/// Registers everything the files define; what was refused, and why.
fn from_config(config: &Config, loaded: &mut Loaded) -> Vec<String> {
    let mut problems = Vec::new();
    for service in &config.services {
        match admit_service(config, service, true) {
            Ok(()) => {
                loaded.local.register_service(service.clone(), true, Unnamed::Stay, &mut loaded.changes);
                match admitted_sidecar(config, &loaded.local, service, true) {
                    Ok(Some(sidecar)) => {
                        loaded.local.register_service(sidecar, true, Unnamed::Stay, &mut loaded.changes);
                    }
                    Ok(None) => {}
                    Err(why) => problems.push(format!("Failed to register the sidecar of {:?}: {why}", service.name)),
                }
            }
            Err(why) => problems.push(format!("Failed to register service {:?}: {why}", service.name)),
        }
    }
    for check in &config.checks {
        let refused = admit_check(config, check, true)
            .and_then(|()| loaded.local.register_check(check.clone(), true, &mut loaded.changes));
        if let Err(why) = refused {
            problems.push(format!("Failed to register check {:?}: {why}", check.name));
        }
    }
    problems
}

/// Where scripts may come from.
pub(super) const fn policy(config: &Config) -> ScriptPolicy {
    ScriptPolicy { remote: config.enable_script_checks, local: config.enable_local_script_checks }
}

/// Whether a service may be registered, with all its checks.
pub(super) fn admit_service(
    config: &Config,
    service: &convoke_config::definition::ServiceDefinition,
    from_file: bool,
) -> Result<(), Refusal> {
    if service.name.is_empty() {
        return Err(Refusal::new(400, "Missing service name"));
    }
    rows::checks_of_service(service).iter().try_for_each(|check| admit_check(config, check, from_file))
}

/// The sidecar that a service asks for, if that may be registered, too.
pub(super) fn admitted_sidecar(
    config: &Config,
    local: &Local,
    service: &convoke_config::definition::ServiceDefinition,
    from_file: bool,
) -> Result<Option<convoke_config::definition::ServiceDefinition>, Refusal> {
    let ports = &config.ports;
    let sidecar = local.sidecar(service, ports.sidecar_min_port..=ports.sidecar_max_port)?;
    if let Some(sidecar) = &sidecar {
        admit_service(config, sidecar, from_file)?;
    }
    Ok(sidecar)
}

/// Whether a check may be registered.
pub(super) fn admit_check(config: &Config, check: &CheckDefinition, from_file: bool) -> Result<(), Refusal> {
    if check.name.is_empty() && check.id.is_empty() {
        return Err(Refusal::new(400, "Missing check name"));
    }
    spec::validate(check)?;
    policy(config).admits(check, from_file)
}

/// Settings of the checks.
pub(super) const fn check_settings(config: &Config) -> crate::checks::schedule::Settings {
    crate::checks::schedule::Settings {
        output_max: config.check_output_max_size,
        discard_output: config.discard_check_output,
    }
}

/// The write that removes a file.
pub(super) fn remove(path: &str) -> store::Change {
    store::Change::Remove { path: path.to_string() }
}
