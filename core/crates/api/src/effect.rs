//! What a handler cannot do itself.

use alloc::boxed::Box;
use alloc::string::String;

use convoke_catalog::command::{Command, Reply};
use convoke_catalog::model::{Status, Str, Tenancy};
use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_swim::KeyOp;

use crate::agent_view::UserEvent;
use crate::json::Json;
use crate::prepared::shown_id;
use crate::response::Response;
use crate::txn;

/// A change asked for by a client. The node replies with a [`Response`].
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A change to the replicated tables.
    Propose {
        /// The change.
        command: Box<Command>,
        /// How its reply is shown.
        render: Render,
    },
    /// A change to the agent itself.
    Agent(AgentRequest),
    /// The time of a session begins anew. Answered by the leader, who measures it, with
    /// [`renewed`](crate::session::renewed) or [`not_found`](crate::session::not_found).
    Renew {
        /// Partition and namespace.
        tenancy: Tenancy,
        /// Its id.
        id: Str,
        /// Indented JSON.
        pretty: bool,
    },
}

impl Effect {
    /// Only the leader can do it.
    #[must_use]
    pub const fn needs_leader(&self) -> bool {
        matches!(self, Self::Renew { .. })
    }
}

/// How the reply to a [`Command`] becomes a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Render {
    /// `true`, or the refusal as 500.
    True,
    /// `true` or `false`, or the refusal as 500.
    Bool,
    /// What a transaction gave, or why it was refused as 409.
    Txn {
        /// Indented JSON.
        pretty: bool,
    },
    /// The id of what was made, or the refusal as 500.
    Id {
        /// As a UUID.
        id: u128,
        /// Indented JSON.
        pretty: bool,
    },
    /// Nothing, or the refusal as 500.
    Empty,
}

impl Render {
    /// The response to a reply.
    #[must_use]
    pub fn response(self, reply: &Reply) -> Response {
        match (reply, self) {
            (Reply::Refused(why), _) => Response::text(500, why.as_str()),
            (Reply::Txn(outcome), _) => txn::written(outcome, matches!(self, Self::Txn { pretty: true })),
            (_, Self::Id { id, pretty }) => {
                let mut json = Json::new(pretty, 64);
                json.open_object();
                json.key("ID").text(&shown_id(id));
                json.close_object();
                Response::json(200, json.finish())
            }
            (_, Self::Empty) => Response::empty(200),
            (Reply::Bool(false), _) => Response::json(200, b"false".to_vec()),
            (Reply::Bool(true) | Reply::Done, _) => Response::json(200, b"true".to_vec()),
        }
    }
}

/// A change to the agent's own state. Ids and names are decoded already.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentRequest {
    /// `PUT /v1/agent/service/register`
    RegisterService {
        /// The service with its checks.
        service: Box<ServiceDefinition>,
        /// Checks of the service that are not named again go away.
        replace_existing_checks: bool,
    },
    /// `PUT /v1/agent/service/deregister/:id`
    DeregisterService {
        /// Service id.
        id: String,
    },
    /// `PUT /v1/agent/service/maintenance/:id`
    ServiceMaintenance {
        /// Service id.
        id: String,
        /// On or off.
        enable: bool,
        /// Shown in the check; empty for the default text.
        reason: String,
    },
    /// `PUT /v1/agent/maintenance`
    NodeMaintenance {
        /// On or off.
        enable: bool,
        /// Shown in the check; empty for the default text.
        reason: String,
    },
    /// `PUT /v1/agent/check/register`
    RegisterCheck(Box<CheckDefinition>),
    /// `PUT /v1/agent/check/deregister/:id`
    DeregisterCheck {
        /// Check id.
        id: String,
    },
    /// `PUT /v1/agent/check/{pass,warn,fail,update}/:id`
    UpdateCheck {
        /// Check id.
        id: String,
        /// New status.
        status: Status,
        /// Note or output.
        output: String,
    },
    /// `PUT /v1/agent/reload`
    Reload,
    /// `PUT /v1/agent/leave`
    Leave,
    /// `PUT /v1/agent/join/:address`
    Join {
        /// `host[:port]`.
        address: String,
        /// The WAN pool.
        wan: bool,
    },
    /// `PUT /v1/event/fire/:name`. Replied to with [`crate::event::fired`].
    FireEvent {
        /// What, with its id already made.
        event: UserEvent,
        /// Indented JSON.
        pretty: bool,
    },
    /// `/v1/operator/keyring`. Replied to with [`crate::keyring::response`].
    Keys {
        /// What to do with the keyrings of both pools.
        op: KeyOp,
        /// Leave the pool between datacenters alone: only that of this datacenter is asked.
        local: bool,
        /// Indented JSON.
        pretty: bool,
    },
    /// `PUT /v1/agent/force-leave/:node`
    ForceLeave {
        /// Node name.
        node: String,
        /// Forget it altogether.
        prune: bool,
    },
}

/// Names of requests that change something, for logs and metrics.
impl AgentRequest {
    /// A short name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RegisterService { .. } => "service/register",
            Self::DeregisterService { .. } => "service/deregister",
            Self::ServiceMaintenance { .. } => "service/maintenance",
            Self::NodeMaintenance { .. } => "maintenance",
            Self::RegisterCheck(_) => "check/register",
            Self::DeregisterCheck { .. } => "check/deregister",
            Self::UpdateCheck { .. } => "check/update",
            Self::Reload => "reload",
            Self::Leave => "leave",
            Self::FireEvent { .. } => "event/fire",
            Self::Keys { .. } => "keyring",
            Self::Join { .. } => "join",
            Self::ForceLeave { .. } => "force-leave",
        }
    }
}
