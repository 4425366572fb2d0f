//! `/v1/catalog/...`, reading.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use convoke_catalog::group::{Instance, ServiceGroup};
use convoke_catalog::model::{Node, Service, Str};
use convoke_catalog::topic::Topic;

use crate::call::{Answer, Call, Meta};
use crate::filter::Filter;
use crate::filter::records::ServiceNode;
use crate::filter::schema::{NODE, SERVICE, SERVICE_NODE};
use crate::json::rows::Show;
use crate::query::{Params, ReadOptions};

/// Bytes of one row, roughly.
pub(crate) const ROW: usize = 700;

/// `node-meta=key:value`, all of which a node must have. Of several values for a key the last counts.
pub(crate) struct NodeMeta(BTreeMap<Str, Str>);

impl NodeMeta {
    pub(crate) fn of(params: Params<'_>) -> Self {
        let pairs = params.all("node-meta").map(|pair| {
            let (name, value) = pair.split_once(':').unwrap_or((&pair, ""));
            (name.into(), value.into())
        });
        Self(pairs.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, node: &Node) -> bool {
        self.0.iter().all(|(name, value)| node.meta.as_ref().and_then(|meta| meta.get(name)) == Some(value))
    }
}

/// `tag=...`, all of which an instance must have, in any case.
pub(crate) struct Tags<'a>(Vec<alloc::borrow::Cow<'a, str>>);

impl<'a> Tags<'a> {
    pub(crate) fn of(params: Params<'a>) -> Self {
        Self(params.all("tag").collect())
    }

    pub(crate) fn on(&self, service: &Service) -> bool {
        let same =
            |a: &str, b: &str| a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase());
        self.0.iter().all(|wanted| service.tags.iter().any(|tag| same(tag, wanted)))
    }
}

impl<'a> ReadOptions<'a> {
    /// How rows are shown to this request.
    pub(crate) fn show(&self) -> Show<'_> {
        Show { namespace: self.named.then_some(&*self.namespace), null_tags: false }
    }
}

/// `GET /v1/catalog/datacenters`
pub(crate) fn datacenters(call: &Call<'_>) -> Answer {
    let read = call.options()?;
    let mut json = call.json(16);
    json.texts([&call.config().datacenter]);
    let mut response = crate::response::Response::json(200, json.finish());
    if read.cached && call.config().http.use_cache {
        response.header("X-Cache", "MISS");
    }
    Err(response)
}

/// `GET /v1/catalog/nodes`
pub(crate) fn nodes(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let filter = Filter::of(&read, NODE)?;
    let topic = Topic::Nodes { partition: (&*read.partition).into() };
    let index = call.row_index(call.ctx.view.index_of(&topic));
    if let Some(wait) = call.wait(&read, index, || vec![topic]) {
        return Ok(wait);
    }
    let meta = NodeMeta::of(call.params);
    let mut json = call.json(ROW);
    json.open_array();
    let fits = |node: &&Arc<Node>| meta.has(node) && filter.keeps(&***node);
    let mut nodes: Vec<_> = call.ctx.view.nodes(&read.partition).filter(fits).collect();
    call.sort_near(&read, &mut nodes, |node| &node.name);
    for node in nodes {
        json.item().node(node);
    }
    json.close_array();
    call.found(&read, index, Meta::Consistency, json)
}

/// `GET /v1/catalog/services`: names with their tags.
pub(crate) fn services(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let filter = Filter::of(&read, SERVICE_NODE)?;
    let meta = NodeMeta::of(call.params);
    let tenancy = read.tenancy();
    let topics = if meta.is_empty() && filter.is_empty() {
        vec![Topic::Services { tenancy }]
    } else {
        vec![Topic::Nodes { partition: (&*read.partition).into() }, Topic::ServiceRows { tenancy }]
    };
    let index = call.row_index(call.ctx.view.index_of_all(&topics));
    if let Some(wait) = call.wait(&read, index, || topics) {
        return Ok(wait);
    }
    let mut json = call.json(ROW);
    json.open_object();
    if meta.is_empty() && filter.is_empty() {
        for service in call.ctx.view.service_names(read.scope()) {
            json.key_text(&service.name).texts(&service.tags);
        }
    } else {
        for group in call.ctx.view.groups(read.scope()) {
            for name in &group.names {
                let mut tags: Vec<&Str> = Vec::new();
                let mut any = false;
                for instance in group.instances.iter().filter(|instance| instance.service.name == name.name) {
                    let row = ServiceNode { node: &instance.node, service: &instance.service };
                    if meta.has(&instance.node) && filter.keeps(&row) {
                        any = true;
                        for tag in &instance.service.tags {
                            if !tags.contains(&tag) {
                                tags.push(tag);
                            }
                        }
                    }
                }
                if any {
                    tags.sort_unstable();
                    json.key_text(&name.name).texts(tags);
                }
            }
        }
    }
    json.close_object();
    call.found(&read, index, Meta::Cacheable, json)
}

/// `GET /v1/catalog/service/:service`
pub(crate) fn service(call: &Call<'_>) -> Answer {
    let name = call.rest_or("Missing service name")?;
    let read = call.read_options()?;
    let group = call.ctx.view.group(read.scope(), name).map(|group| &**group);
    let topic = || Topic::ServiceInstances { tenancy: read.tenancy(), name: name.into() };
    instances(call, &read, group, topic, Meta::Cacheable)
}

/// `GET /v1/catalog/connect/:service`
pub(crate) fn connect(call: &Call<'_>) -> Answer {
    let name = call.rest_or("Missing service name")?;
    let read = call.read_options()?;
    let group = call.ctx.view.connect_group(read.scope(), name).map(|group| &**group);
    let topic = || Topic::ConnectInstances { tenancy: read.tenancy(), name: name.into() };
    instances(call, &read, group, topic, Meta::Cacheable)
}

fn instances(
    call: &Call<'_>,
    read: &ReadOptions<'_>,
    group: Option<&ServiceGroup>,
    topic: impl Fn() -> Topic,
    meta: Meta,
) -> Answer {
    let filter = Filter::of(read, SERVICE_NODE)?;
    let index = call.row_index(group.map_or_else(|| call.ctx.view.index_of(&topic()), |group| group.rows_index.max(1)));
    if let Some(wait) = call.wait(read, index, || vec![topic()]) {
        return Ok(wait);
    }
    let tags = Tags::of(call.params);
    let node_meta = NodeMeta::of(call.params);
    let all = group.map_or(&[][..], |group| &group.instances);
    let mut json = call.json(ROW * all.len() + 4);
    json.open_array();
    let fits = |instance: &&Instance| {
        let row = ServiceNode { node: &instance.node, service: &instance.service };
        tags.on(&instance.service) && node_meta.has(&instance.node) && filter.keeps(&row)
    };
    let mut found: Vec<&Instance> = all.iter().filter(fits).collect();
    call.sort_near(read, &mut found, |instance| &instance.node.name);
    for instance in found {
        json.item().service_node(&instance.node, &instance.service, read.show());
    }
    json.close_array();
    call.found(read, index, meta, json)
}

/// `GET /v1/catalog/node/:node`: its services by id.
pub(crate) fn node(call: &Call<'_>) -> Answer {
    of_node(call, true)
}

/// `GET /v1/catalog/node-services/:node`: its services as a list.
pub(crate) fn node_services(call: &Call<'_>) -> Answer {
    of_node(call, false)
}

fn of_node(call: &Call<'_>, by_id: bool) -> Answer {
    let asked = call.rest_or("Missing node name")?;
    let read = call.read_options()?;
    let filter = Filter::of(&read, SERVICE)?;
    // By name or, if there is no such name, by the beginning of an id.
    let node = call.ctx.view.node(&read.partition, asked).or_else(|| by_id_prefix(call, &read, asked));
    let name = node.map_or(asked, |node| &*node.name);
    let topic = Topic::NodeServices { tenancy: read.tenancy(), node: name.into() };
    let index = call.row_index(call.ctx.view.index_of(&topic));
    if let Some(wait) = call.wait(&read, index, || vec![topic]) {
        return Ok(wait);
    }
    let registered = call.ctx.view.services_of(read.scope(), name);
    let services = registered.iter().filter(|service| filter.keeps(&***service));
    let mut json = call.json(ROW * 2);
    match node {
        None if by_id => json.null(),
        None => {
            json.open_object();
            json.key("Node").null();
            json.key("Services").null();
            json.close_object();
        }
        Some(node) => {
            json.open_object();
            json.key("Node").node(node);
            json.key("Services");
            if by_id {
                json.open_object();
                for service in services {
                    json.key_text(&service.id).node_service(service, read.show());
                }
                json.close_object();
            } else if registered.is_empty() {
                json.null();
            } else {
                json.open_array();
                for service in services {
                    json.item().node_service(service, read.show());
                }
                json.close_array();
            }
            json.close_object();
        }
    }
    call.found(&read, index, Meta::Consistency, json)
}

/// The only node whose id begins so. An odd last digit is left out, as in Consul, where ids are looked up by bytes.
fn by_id_prefix<'v>(call: &Call<'v>, read: &ReadOptions<'_>, prefix: &str) -> Option<&'v Arc<Node>> {
    let even = prefix.get(..prefix.len() & !1)?;
    let digits = even.bytes().filter(|b| *b != b'-').count();
    if digits % 2 == 0 { call.ctx.view.node_by_id_prefix(&read.partition, even) } else { None }
}

/// `GET /v1/catalog/gateway-services/:gateway`: no gateway has services without config entries.
pub(crate) fn gateway_services(call: &Call<'_>) -> Answer {
    call.rest_or("Missing gateway name")?;
    let read = call.read_options()?;
    if let Some(wait) = call.wait(&read, 1, || vec![Topic::Services { tenancy: read.tenancy() }]) {
        return Ok(wait);
    }
    let mut json = call.json(8);
    json.null();
    call.found(&read, 1, Meta::Consistency, json)
}
