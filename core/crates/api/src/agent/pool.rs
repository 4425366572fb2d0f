//! Members of the gossip pool, and changing it.

use alloc::string::ToString;

use crate::agent_view::Pool;
use crate::call::{Answer, Call};
use crate::effect::{AgentRequest, Effect};
use crate::filter::Filter;
use crate::filter::schema::MEMBER;
use crate::response::{Outcome, Response};

/// `GET /v1/agent/members`
pub(crate) fn members(call: &Call<'_>) -> Answer {
    let wan = !call.params.text("wan").is_empty();
    let segment = call.params.text("segment");
    if !segment.is_empty() && segment != "_all" {
        return Err(if wan {
            Response::text(400, "Cannot provide a segment with wan=true")
        } else {
            Response::text(500, "Network segments are not supported in this version of Consul")
        });
    }
    let text = call.params.text("filter");
    let filter = Filter::compile(&text, MEMBER).map_err(|why| Response::text(500, why.to_string()))?;
    let pool = if wan { call.ctx.agent.wan.as_ref() } else { Some(&call.ctx.agent.lan) };
    let mut json = call.json(1024);
    json.open_array();
    for member in pool.into_iter().flat_map(Pool::iter).filter(|member| filter.keeps(member)) {
        json.item().member(&member);
    }
    json.close_array();
    call.document(200, json)
}

/// `PUT /v1/agent/join/:address`
pub(crate) fn join(call: &Call<'_>) -> Answer {
    let wan = !call.params.text("wan").is_empty();
    change(AgentRequest::Join { address: call.rest.to_string(), wan })
}

/// `PUT /v1/agent/leave`
pub(crate) fn leave(_: &Call<'_>) -> Answer {
    change(AgentRequest::Leave)
}

/// `PUT /v1/agent/force-leave/:node`
pub(crate) fn force_leave(call: &Call<'_>) -> Answer {
    change(AgentRequest::ForceLeave { node: call.rest.to_string(), prune: call.params.has("prune") })
}

pub(super) fn change(request: AgentRequest) -> Answer {
    Ok(Outcome::Effect(Effect::Agent(request)))
}
