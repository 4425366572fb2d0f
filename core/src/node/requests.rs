//! What clients ask of the node.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use convoke_api::effect::{AgentRequest, Render};
use convoke_api::response::Response;
use convoke_catalog::Command;
use convoke_catalog::model::Status;
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_kit::{Out, Time};

use crate::checks;
use crate::forward::Wish;
use crate::identity::MemberState;
use crate::local::persist::{self, TtlState};
use crate::local::{Refusal, Unnamed};
use crate::node::boot::{admit_check, admit_service, admitted_sidecar};
use crate::node::shell::{Origin, Work};
use crate::node::{Action, Level, Node, RequestId};
use crate::store::Change;

impl Node {
    /// A change to the replicated tables.
    pub(super) fn propose(&mut self, id: RequestId, command: Box<Command>, render: Render) {
        self.submit(Wish::Change(command), Origin::Client { id, render });
    }

    /// There is nobody to commit anything, or to measure time.
    pub(super) fn no_leader(&self) -> Response {
        let text = if self.config.server {
            String::from("No cluster leader")
        } else {
            String::from("No known Consul servers")
        };
        Response::text(500, text)
    }

    /// A change to the agent itself. The response waits for the disk if the request wrote something; `None` if it is
    /// answered elsewhere.
    pub(super) fn request(
        &mut self,
        now: Time,
        id: RequestId,
        request: AgentRequest,
        out: &mut Out<Action>,
    ) -> Option<Response> {
        if request == AgentRequest::Leave {
            self.leave(now, Some(id), out);
            return None;
        }
        if self.member != MemberState::Alive {
            return Some(Response::text(500, "the agent is leaving the cluster; no changes are taken any more"));
        }
        if self.writes.full() {
            return Some(Response::text(429, "too many registrations wait for the disk; try again later"));
        }
        let name = request.name();
        let done = match request {
            AgentRequest::RegisterService { service, replace_existing_checks } => {
                self.register_service(service, replace_existing_checks)
            }
            AgentRequest::DeregisterService { id } => self.deregister_service(&id),
            AgentRequest::ServiceMaintenance { id, enable, reason } => {
                let mut changes = Vec::new();
                let done = self.local.service_maintenance(&id, enable, &reason, &mut changes);
                self.note(changes);
                done
            }
            AgentRequest::NodeMaintenance { enable, reason } => {
                let mut changes = Vec::new();
                self.local.node_maintenance(enable, &reason, &mut changes);
                self.note(changes);
                Ok(())
            }
            AgentRequest::RegisterCheck(check) => self.register_check(*check),
            AgentRequest::DeregisterCheck { id } => self.deregister_check(&id),
            AgentRequest::UpdateCheck { id, status, output } => self.update_check(now, &id, status, &output, out),
            AgentRequest::Reload => {
                self.ask_reload(Some(id), out);
                return None;
            }
            // Taken above.
            AgentRequest::Leave => return None,
            AgentRequest::FireEvent { event, pretty } => return Some(self.fire(&event, pretty)),
            AgentRequest::Keys { op, local, pretty } => {
                self.keys(id, &op, local, pretty);
                return None;
            }
            AgentRequest::Join { address, wan } => {
                self.join(now, id, address, wan, out);
                return None;
            }
            AgentRequest::ForceLeave { node, prune } => self.force_leave(&node, prune),
        };
        Some(match done {
            Ok(()) => Response::empty(200),
            Err(refusal) => {
                Self::log(out, Level::Debug, format!("{name} refused: {}", refusal.text));
                refusal.into()
            }
        })
    }

    fn register_service(&mut self, service: Box<ServiceDefinition>, replace: bool) -> Result<(), Refusal> {
        admit_service(&self.config, &service, false)?;
        let sidecar = admitted_sidecar(&self.config, &self.local, &service, false)?;
        let unnamed = if replace { Unnamed::Go } else { Unnamed::Stay };
        let mut changes = Vec::new();
        for service in core::iter::once(*service).chain(sidecar) {
            self.local.register_service(service, false, unnamed, &mut changes);
        }
        self.note(changes);
        Ok(())
    }

    fn deregister_service(&mut self, id: &str) -> Result<(), Refusal> {
        if id.is_empty() {
            return Err(Refusal::new(500, "ServiceID missing"));
        }
        let mut changes = Vec::new();
        self.local.deregister_service(id, &mut changes);
        self.note(changes);
        Ok(())
    }

    fn register_check(&mut self, check: CheckDefinition) -> Result<(), Refusal> {
        admit_check(&self.config, &check, false)?;
        let mut changes = Vec::new();
        self.local.register_check(check, false, &mut changes)?;
        self.note(changes);
        Ok(())
    }

    fn deregister_check(&mut self, id: &str) -> Result<(), Refusal> {
        if id.is_empty() {
            return Err(Refusal::new(500, "CheckID missing"));
        }
        let mut changes = Vec::new();
        self.local.deregister_check(id, &mut changes);
        self.note(changes);
        Ok(())
    }

    fn update_check(
        &mut self,
        now: Time,
        id: &str,
        status: Status,
        output: &str,
        out: &mut Out<Action>,
    ) -> Result<(), Refusal> {
        let Some(ttl) = self.checks.has_ttl(id) else {
            return Err(Refusal::new(500, format!("CheckID {id:?} does not have associated TTL")));
        };
        if self.writes.keeps() {
            let expires = self.unix_millis(now + ttl);
            let state = TtlState {
                id: String::from(id),
                status: String::from(status.as_str()),
                output: self.checks.kept_output(id, output),
                expires,
            };
            if let Some((path, content)) = persist::state(&state) {
                self.writes.file(Change::Put { path, content }, out);
            }
        }
        self.push(Work::Checks(checks::Event::Report { id: id.into(), status, output: output.into() }));
        Ok(())
    }
}
