//! New configuration: only what is different changes, and whoever asked is told how it went.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_api::response::Response;
use convoke_config::Diagnostic;
use convoke_config::config::Config;
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_kit::Out;

use crate::local::{Unnamed, sidecar_id, wants_sidecar};
use crate::node::boot::{admit_check, admit_service, admitted_sidecar};
use crate::node::{Action, Level, Node, RequestId};

/// Clients that may wait for one reload.
const ASKERS: usize = 256;

/// A reload on its way.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// The files are being read.
    loading: bool,
    /// Who waits for it.
    askers: Vec<RequestId>,
    /// Somebody asked since: the files may have changed again.
    again: bool,
    next: Vec<RequestId>,
}

impl Node {
    /// Somebody wants the files read again: a client, or a signal.
    pub(super) fn ask_reload(&mut self, asker: Option<RequestId>, out: &mut Out<Action>) {
        if !self.reload.loading {
            self.reload.loading = true;
            self.reload.askers.extend(asker);
            return out.push(Action::LoadConfig);
        }
        self.reload.again = true;
        match asker {
            Some(id) if self.reload.next.len() >= ASKERS => {
                self.reply(id, Response::text(429, "too many reloads are waiting already; try again later"));
            }
            asker => self.reload.next.extend(asker),
        }
    }

    /// The files were read.
    pub(super) fn config_loaded(
        &mut self,
        result: Result<(Box<Config>, Vec<Diagnostic>), Vec<Diagnostic>>,
        out: &mut Out<Action>,
    ) {
        if !core::mem::take(&mut self.reload.loading) {
            return;
        }
        let problems = match result {
            Ok((config, warnings)) => {
                for warning in warnings {
                    Self::log(out, Level::Warn, format!("{warning}"));
                }
                self.apply(&config, out)
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        let response = if problems.is_empty() {
            Response::empty(200)
        } else {
            for problem in &problems {
                Self::log(out, Level::Error, format!("reload: {problem}; what it is about stays as it was"));
            }
            Response::text(500, format!("Reload failed, and this stays as it was: {}", problems.join("; ")))
        };
        for id in core::mem::take(&mut self.reload.askers) {
            self.reply(id, response.clone());
        }
        if core::mem::take(&mut self.reload.again) {
            self.reload.loading = true;
            self.reload.askers = core::mem::take(&mut self.reload.next);
            out.push(Action::LoadConfig);
        }
    }

    /// Applies what is different; what was refused, and why. Registrations made over the API stay.
    fn apply(&mut self, new: &Config, out: &mut Out<Action>) -> Vec<String> {
        let old = Arc::clone(&self.config);
        let difference = convoke_config::diff(&old, new);
        if !difference.needs_restart.is_empty() {
            let keys = difference.needs_restart.join(", ");
            Self::log(out, Level::Warn, format!("these settings changed, but take effect at the next restart: {keys}"));
        }
        Self::log(out, Level::Info, format!("configuration reloaded: {difference}"));
        let mut config = convoke_config::reloaded(&old, new);
        let mut changes = Vec::new();
        let mut problems = Vec::new();
        self.apply_definitions(&old, &mut config, &mut changes, &mut problems);
        self.note(changes);
        let config = Arc::new(config);
        self.adopt(Arc::clone(&config));
        out.push(Action::Reconfigure(config));
        problems
    }

    /// Services and checks. What is refused stays in `config` as it was before.
    fn apply_definitions(
        &mut self,
        old: &Config,
        config: &mut Config,
        changes: &mut Vec<crate::local::Change>,
        problems: &mut Vec<String>,
    ) {
        let old_services: BTreeMap<&str, &ServiceDefinition> =
            old.services.iter().map(|s| (service_id(s), s)).collect();
        let old_checks: BTreeMap<&str, &CheckDefinition> = old.checks.iter().map(|c| (check_id(c), c)).collect();

        let mut services = Vec::with_capacity(config.services.len());
        for service in core::mem::take(&mut config.services) {
            match admit_service(config, &service, true) {
                Ok(()) => services.push(service),
                Err(why) => {
                    problems.push(format!("service {:?} is refused: {why}", service.name));
                    services.extend(old_services.get(service_id(&service)).map(|old| ServiceDefinition::clone(old)));
                }
            }
        }
        let mut checks = Vec::with_capacity(config.checks.len());
        for check in core::mem::take(&mut config.checks) {
            let here = check.service_id.is_empty()
                || services.iter().any(|service| service_id(service) == check.service_id)
                || self.local.services().get(&*check.service_id).is_some_and(|service| !service.from_file);
            let refused = match admit_check(config, &check, true) {
                Ok(()) if here => None,
                Ok(()) => Some(format!("ServiceID {:?} does not exist", check.service_id)),
                Err(why) => Some(why.to_string()),
            };
            match refused {
                None => checks.push(check),
                Some(why) => {
                    problems.push(format!("check {:?} is refused: {why}", check_id(&check)));
                    checks.extend(old_checks.get(check_id(&check)).map(|old| CheckDefinition::clone(old)));
                }
            }
        }
        // What is gone goes first, so that a check can move into a service.
        for id in old_checks.keys().filter(|id| !checks.iter().any(|check| check_id(check) == **id)) {
            if self.local.checks().get(*id).is_some_and(|check| check.from_file) {
                self.local.deregister_check(id, changes);
            }
        }
        for id in old_services.keys().filter(|id| !services.iter().any(|service| service_id(service) == **id)) {
            if self.local.services().get(*id).is_some_and(|service| service.from_file) {
                self.local.deregister_service(id, changes);
            }
        }
        for service in &services {
            let id = service_id(service);
            if self.local.services().get(id).is_none() || old_services.get(id).is_none_or(|old| *old != service) {
                self.local.register_service(service.clone(), true, Unnamed::GoIfFromFile, changes);
            }
            match admitted_sidecar(config, &self.local, service, true) {
                Ok(Some(sidecar)) => self.local.register_service(sidecar, true, Unnamed::GoIfFromFile, changes),
                Ok(None) if old_services.get(id).is_some_and(|old| wants_sidecar(old)) => {
                    self.local.deregister_service(&sidecar_id(id), changes);
                }
                Ok(None) => {}
                Err(why) => problems.push(format!("the sidecar of {id:?} is refused: {why}")),
            }
        }
        for check in &checks {
            let id = check_id(check);
            let same = self.local.checks().get(id).is_some() && old_checks.get(id).is_some_and(|old| *old == check);
            if !same && let Err(why) = self.local.register_check(check.clone(), true, changes) {
                problems.push(format!("check {id:?} is refused: {why}"));
            }
        }
        config.services = services;
        config.checks = checks;
    }
}

fn service_id(service: &ServiceDefinition) -> &str {
    if service.id.is_empty() { &service.name } else { &service.id }
}

fn check_id(check: &CheckDefinition) -> &str {
    if check.id.is_empty() { &check.name } else { &check.id }
}
