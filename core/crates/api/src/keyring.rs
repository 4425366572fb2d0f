//! `/v1/operator/keyring`: the gossip keys of all members.

use alloc::string::String;

use convoke_swim::{KeyOp, KeyReport};

use crate::response::Response;

/// What the members of one pool said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolKeys {
    /// Between datacenters.
    pub wan: bool,
    /// Of this agent.
    pub datacenter: String,
    /// Result; or why nothing was asked.
    pub report: Result<KeyReport, String>,
}

/// The reply to who asked.
#[must_use]
pub fn response(_op: &KeyOp, _pools: &[PoolKeys], _pretty: bool) -> Response {
    Response::empty(200)
}
