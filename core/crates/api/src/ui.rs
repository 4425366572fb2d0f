//! `/v1/internal/ui/...`, and what browsers find outside `/v1`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;

use convoke_catalog::group::Instance;
use convoke_catalog::model::{Node, Status, Str};
use convoke_catalog::topic::Topic;

use crate::Context;
use crate::call::{Answer, Call, Meta};
use crate::filter::Filter;
use crate::filter::records::NodeInfo;
use crate::filter::schema::{INSTANCE, NODE_INFO};
use crate::json::Json;
use crate::json::rows::Show;
use crate::query::ReadOptions;
use crate::request::Request;
use crate::response::Response;
use crate::route::redirect;

impl ReadOptions<'_> {
    /// Rows as the UI shows them.
    fn show_ui(&self) -> Show<'_> {
        Show { null_tags: true, ..self.show() }
    }
}

fn topics(read: &ReadOptions<'_>) -> vec::Vec<Topic> {
    let tenancy = read.tenancy();
    vec![
        Topic::Nodes { partition: tenancy.partition.clone() },
        Topic::ServiceRows { tenancy: tenancy.clone() },
        Topic::Checks { tenancy },
    ]
}

fn node_info(call: &Call<'_>, json: &mut Json, read: &ReadOptions<'_>, node: &Node) {
    json.open_object();
    json.node_head(node);
    json.key("Services").open_array();
    for service in call.ctx.view.services_of(read.scope(), &node.name).iter() {
        json.item().node_service(service, read.show_ui());
    }
    json.close_array();
    json.key("Checks").open_array();
    for check in call.ctx.view.checks_of(read.scope(), &node.name).iter() {
        json.item().check(check, read.show_ui());
    }
    json.close_array();
    json.close_object();
}

/// `GET /v1/internal/ui/nodes`: nodes with all that is on them.
pub(crate) fn nodes(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let filter = Filter::of(&read, NODE_INFO)?;
    let topics = topics(&read);
    let index = call.row_index(call.ctx.view.index_of_all(&topics));
    if let Some(wait) = call.wait(&read, index, || topics) {
        return Ok(wait);
    }
    let mut json = call.json(4096);
    json.open_array();
    for node in call.ctx.view.nodes(&read.partition) {
        let services = call.ctx.view.services_of(read.scope(), &node.name);
        let checks = call.ctx.view.checks_of(read.scope(), &node.name);
        if filter.keeps(&NodeInfo { node, services, checks }) {
            node_info(call, json.item(), &read, node);
        }
    }
    json.close_array();
    call.found(&read, index, Meta::Plain, json)
}

/// `GET /v1/internal/ui/node/:node`
pub(crate) fn node(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let name = call.rest_or("Missing node name")?;
    let tenancy = read.tenancy();
    let topics = vec![
        Topic::NodeServices { tenancy: tenancy.clone(), node: name.into() },
        Topic::NodeChecks { tenancy, node: name.into() },
    ];
    let index = call.row_index(call.ctx.view.index_of_all(&topics));
    if let Some(wait) = call.wait(&read, index, || topics) {
        return Ok(wait);
    }
    let Some(node) = call.ctx.view.node(&read.partition, name) else {
        return Err(Response::empty(404));
    };
    let mut json = call.json(4096);
    node_info(call, &mut json, &read, node);
    call.found(&read, index, Meta::Plain, json)
}

/// What the UI's list says of a service.
#[derive(Default)]
struct Summary<'v> {
    kind: &'v str,
    tags: BTreeSet<&'v Str>,
    nodes: vec::Vec<&'v Str>,
    proxy_for: vec::Vec<&'v Str>,
    sources: vec::Vec<&'v Str>,
    instances: u64,
    passing: u64,
    warning: u64,
    critical: u64,
}

impl<'v> Summary<'v> {
    fn add(&mut self, instance: &'v Instance) {
        let service = &*instance.service;
        self.kind = &service.kind;
        self.instances += 1;
        self.nodes.push(&instance.node.name);
        self.tags.extend(&service.tags);
        if let Some(proxy) = service.proxy.as_deref().filter(|_| &*service.kind == "connect-proxy") {
            once(&mut self.proxy_for, &proxy.destination_service_name);
        }
        if let Some(source) = service.meta.as_ref().and_then(|meta| meta.get("external-source")) {
            once(&mut self.sources, source);
        }
        for check in instance.checks.iter() {
            match check.status {
                Status::Passing => self.passing += 1,
                Status::Warning => self.warning += 1,
                Status::Critical => self.critical += 1,
                Status::Other(_) => {}
            }
        }
    }

    fn write(&mut self, json: &mut Json, name: &str, read: &ReadOptions<'_>) {
        self.nodes.sort_unstable();
        json.open_object();
        if !self.kind.is_empty() {
            json.key("Kind").text(self.kind);
        }
        json.key("Name").text(name);
        json.key("Tags");
        if self.tags.is_empty() {
            json.null();
        } else {
            json.texts(&self.tags);
        }
        json.key("Nodes").texts(&self.nodes);
        json.key("InstanceCount").u64(self.instances);
        if !self.proxy_for.is_empty() {
            json.key("ProxyFor").texts(&self.proxy_for);
        }
        json.key("ChecksPassing").u64(self.passing);
        json.key("ChecksWarning").u64(self.warning);
        json.key("ChecksCritical").u64(self.critical);
        json.key("ExternalSources");
        if self.sources.is_empty() {
            json.null();
        } else {
            json.texts(&self.sources);
        }
        json.key("GatewayConfig").open_object();
        json.close_object();
        if let Some(namespace) = read.show().namespace {
            json.key("Namespace").text(namespace);
        }
        json.close_object();
    }
}

fn once<'v>(list: &mut vec::Vec<&'v Str>, item: &'v Str) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// `GET /v1/internal/ui/services`
pub(crate) fn services(call: &Call<'_>) -> Answer {
    let read = call.read_options()?;
    let filter = Filter::of(&read, INSTANCE)?;
    let topics = topics(&read);
    let index = call.row_index(call.ctx.view.index_of_all(&topics));
    if let Some(wait) = call.wait(&read, index, || topics) {
        return Ok(wait);
    }
    let mut summaries: BTreeMap<&str, Summary<'_>> = BTreeMap::new();
    for group in call.ctx.view.groups(read.scope()) {
        for instance in group.instances.iter().filter(|instance| filter.keeps(*instance)) {
            summaries.entry(&instance.service.name).or_default().add(instance);
        }
    }
    let mut json = call.json(4096);
    json.open_array();
    for (name, mut summary) in summaries {
        summary.write(json.item(), name, &read);
    }
    json.close_array();
    call.found(&read, index, Meta::Plain, json)
}

/// `GET /v1/internal/ui/gateway-services-nodes/:gateway`: no gateway has services without config entries.
pub(crate) fn gateway_services_nodes(call: &Call<'_>) -> Answer {
    call.rest_or("Missing gateway name")?;
    let read = call.read_options()?;
    let mut json = call.json(8);
    json.open_array();
    json.close_array();
    call.found(&read, 1, Meta::Plain, json)
}

/// Everything outside `/v1`: the way to the UI, its page, and nothing else.
pub(crate) fn page(ctx: &Context<'_>, req: &Request<'_>, path: &str) -> Response {
    let ui = &ctx.agent.config.ui;
    match path {
        "/" if ui.enabled => redirect(&Request { query: "", ..*req }, &ui.content_path),
        "/" => Response::text(200, "Consul Agent"),
        "/robots.txt" if ui.enabled => Response::text(200, "User-agent: *\nDisallow: /\n"),
        _ if ui.enabled && path == ui.content_path.trim_end_matches('/') => redirect(req, &ui.content_path),
        _ if ui.enabled && path.starts_with(&ui.content_path) && matches!(req.method, "GET" | "HEAD") => overview(ctx),
        _ => Response::empty(404),
    }
}

/// One page, without scripts: services and nodes with their health.
fn overview(ctx: &Context<'_>) -> Response {
    let config = &ctx.agent.config;
    let scope = convoke_catalog::name::Scope::default();
    let mut body = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Convoke</title></head><body>\n",
    );
    body.push_str(&format!("<h1>{}</h1>\n<h2>Services</h2>\n<ul>\n", html(&config.datacenter)));
    for group in ctx.view.groups(scope) {
        let passing = group.instances.iter().filter(|instance| instance.status == Status::Passing).count();
        for name in &group.names {
            body.push_str(&format!("<li>{}: {passing} of {} passing</li>\n", html(&name.name), group.instances.len()));
        }
    }
    body.push_str("</ul>\n<h2>Nodes</h2>\n<ul>\n");
    for node in ctx.view.nodes("default") {
        body.push_str(&format!("<li>{} ({})</li>\n", html(&node.name), html(&node.address)));
    }
    body.push_str("</ul>\n</body></html>\n");
    let mut response = Response::empty(200);
    response.header("Content-Type", "text/html; charset=utf-8");
    response.body = body.into_bytes();
    response
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
