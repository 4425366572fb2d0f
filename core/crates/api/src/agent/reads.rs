//! Services and checks of this agent.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use convoke_catalog::model::{Service, Tenancy};

use crate::call::{Answer, Call};
use crate::filter::schema::{CHECK, SERVICE};
use crate::filter::{Filter, Unusable};
use crate::json::Json;
use crate::json::rows::Show;
use crate::query::ReadOptions;
use crate::response::{Outcome, Response, Wait};

/// Whether a row belongs to the namespace that was asked for.
pub(super) fn within(read: &ReadOptions<'_>, tenancy: &Tenancy) -> bool {
    *tenancy.namespace == *read.namespace && *tenancy.partition == *read.partition
}

/// `GET /v1/agent/services`
pub(crate) fn services(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    let filter = Filter::compile(&read.filter, SERVICE).map_err(|why| Response::text(500, why.to_string()))?;
    let mut json = call.json(1024);
    json.open_object();
    for (id, service) in call.ctx.agent.services.iter() {
        if within(&read, &service.row.tenancy) && filter.keeps(&*service.row) {
            json.key_text(id).agent_service(&service.row, None, read.show());
        }
    }
    json.close_object();
    call.document(200, json)
}

/// `GET /v1/agent/checks`
pub(crate) fn checks(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    // An expression that can be read but makes no sense for checks is told without the usual introduction.
    let filter = Filter::compile(&read.filter, CHECK).map_err(|why| match why {
        Unusable::Senseless(why) => Response::text(500, why),
        why @ Unusable::Unreadable(_) => Response::text(500, why.to_string()),
    })?;
    let mut json = call.json(1024);
    json.open_object();
    for (id, check) in call.ctx.agent.checks.iter() {
        if within(&read, &check.row.tenancy) && filter.keeps(&*check.row) {
            json.key_text(id).check(&check.row, read.show());
        }
    }
    json.close_object();
    call.document(200, json)
}

/// `GET /v1/agent/service/:id`, which waits while `hash` is that of the answer.
pub(crate) fn service(call: &Call<'_>) -> Answer {
    let mut read = call.plain_options();
    read.blocking(call.params)?;
    let found = call.ctx.agent.services.get(call.rest).filter(|service| within(&read, &service.row.tenancy));
    let Some(service) = found else {
        return Err(Response::text(404, format!("unknown service ID: {}", call.rest)));
    };
    let hash = content_hash(&service.row, read.show());
    if !read.hash.is_empty() && *read.hash == *hash && !call.last_chance {
        let max_wait = call.max_wait(read.wait);
        return Ok(Outcome::Wait(Wait { topics: Vec::new(), agent: true, max_wait }));
    }
    let mut json = call.json(512);
    json.agent_service(&service.row, Some(&hash), read.show());
    let mut response = Response::json(200, json.finish());
    response.header("X-Consul-Contenthash", hash);
    Ok(Outcome::Done(response))
}

/// 16 hex digits that change with anything that is shown of a service (FNV-1a, 64 bits).
fn content_hash(service: &Service, show: Show<'_>) -> String {
    let mut json = Json::new(false, 512);
    json.agent_service(service, None, show);
    let hash = json
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
