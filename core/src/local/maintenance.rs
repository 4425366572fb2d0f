//! The two maintenance modes: each is a critical check without a probe.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use convoke_config::definition::CheckDefinition;

use crate::local::{Change, Local, Refusal};

/// Id of the check of a node in maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Id of the check of a service in maintenance, before the service's id.
pub const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// Whether a check of that id stands for a maintenance mode.
#[must_use]
pub fn is_maintenance(check: &str) -> bool {
    check == NODE_MAINTENANCE || check.starts_with(SERVICE_MAINTENANCE)
}

impl Local {
    /// Puts the node into maintenance, or takes it out. Already there: nothing changes, the reason neither.
    pub fn node_maintenance(&mut self, enable: bool, reason: &str, changes: &mut Vec<Change>) {
        self.maintain(NODE_MAINTENANCE.to_string(), "Node", "", enable, reason, changes);
    }

    /// Puts a service into maintenance, or takes it out. Already there: nothing changes, the reason neither.
    ///
    /// # Errors
    ///
    /// When there is no such service.
    pub fn service_maintenance(
        &mut self,
        id: &str,
        enable: bool,
        reason: &str,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if self.services().get(id).is_none() {
            return Err(Refusal::new(404, format!("No service registered with ID {id:?}")));
        }
        self.maintain(format!("{SERVICE_MAINTENANCE}{id}"), "Service", id, enable, reason, changes);
        Ok(())
    }

    fn maintain(
        &mut self,
        check: String,
        what: &str,
        service: &str,
        enable: bool,
        reason: &str,
        changes: &mut Vec<Change>,
    ) {
        if !enable {
            self.deregister_check(&check, changes);
            return;
        }
        if self.checks().get(&*check).is_some() {
            return;
        }
        let notes = if reason.is_empty() {
            format!(
                "Maintenance mode is enabled for this {}, but no reason was provided. This is a default message.",
                what.to_lowercase()
            )
        } else {
            reason.to_string()
        };
        let definition = CheckDefinition {
            id: check,
            name: format!("{what} Maintenance Mode"),
            notes,
            service_id: service.to_string(),
            status: "critical".to_string(),
            ..CheckDefinition::default()
        };
        // The service was looked up above, so nothing can refuse it.
        let _ = self.register_check(definition, false, changes);
    }
}
