//! `/v1/catalog/register` and `/v1/catalog/deregister`: writing the tables past the agents.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_catalog::command::{Command, Deregister, Register};
use convoke_catalog::model::{Check, CheckSpec, NamedPort, Proxy, Service, Status, Str, TaggedAddress};
use convoke_config::definition;
use convoke_config::definition::proxy::{as_given, validate_kind};
use serde_json::Value;

use crate::call::{Answer, Call};
use crate::decode::{Decoded, failed, first, flag, free, int, members, pairs, text, texts, time};
use crate::effect::{Effect, Render};
use crate::query::ReadOptions;
use crate::response::{Outcome, Response};

/// `PUT /v1/catalog/register`
pub(crate) fn register(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    let mut datacenter = Str::default();
    let mut register = first(call.req.body).and_then(|body| decode(&body, &mut datacenter)).map_err(failed)?;
    in_this(call, &datacenter)?;
    if let Some(id) = register.node.id.as_deref().filter(|id| !id.is_empty()) {
        uuid(id).map_err(|why| Response::text(500, format!("Bad node ID: {why}")))?;
    }
    register.node.datacenter = call.config().datacenter.as_str().into();
    place(&read, &mut register.node.partition, None);
    for service in &mut register.services {
        place(&read, &mut service.tenancy.partition, Some(&mut service.tenancy.namespace));
        complete(service).map_err(|why| Response::text(500, why))?;
    }
    for check in &mut register.checks {
        place(&read, &mut check.tenancy.partition, Some(&mut check.tenancy.namespace));
        if check.kind.is_empty() {
            check.kind = probe(check.definition.as_deref()).into();
        }
    }
    propose(Command::Register(register))
}

/// `PUT /v1/catalog/deregister`
pub(crate) fn deregister(call: &Call<'_>) -> Answer {
    let read = call.plain_options();
    let mut datacenter = Str::default();
    let mut deregister = Deregister::default();
    deregister.tenancy.partition = Str::default();
    deregister.tenancy.namespace = Str::default();
    let body = first(call.req.body).map_err(failed)?;
    decode_deregister(&body, &mut deregister, &mut datacenter).map_err(failed)?;
    in_this(call, &datacenter)?;
    place(&read, &mut deregister.tenancy.partition, Some(&mut deregister.tenancy.namespace));
    propose(Command::Deregister(deregister))
}

fn propose(command: Command) -> Answer {
    Ok(Outcome::Effect(Effect::Propose { command: Box::new(command), render: Render::True }))
}

fn in_this(call: &Call<'_>, datacenter: &str) -> Result<(), Response> {
    if datacenter.is_empty() || datacenter == call.config().datacenter {
        Ok(())
    } else {
        Err(Response::text(500, "No path to datacenter"))
    }
}

/// Where the body names no partition or namespace, the request does.
pub(crate) fn place(read: &ReadOptions<'_>, partition: &mut Str, namespace: Option<&mut Str>) {
    if partition.is_empty() {
        *partition = (&*read.partition).into();
    }
    if let Some(namespace) = namespace
        && namespace.is_empty()
    {
        *namespace = (&*read.namespace).into();
    }
}

/// What a service must have beyond what the tables check themselves, and what it gets if it has not.
pub(crate) fn complete(service: &mut Service) -> Result<(), String> {
    if !service.id.is_empty() && service.name.is_empty() {
        return Err("Must provide service name with ID".to_string());
    }
    if unspecified(&service.address) {
        return Err("Invalid service address".to_string());
    }
    // A weight of nothing while passing cannot be meant.
    if service.weight_passing == 0 {
        (service.weight_passing, service.weight_warning) = (1, 1);
    }
    let reachable = service.port != 0 || !service.ports.is_empty() || !service.socket_path.is_empty();
    let proxy = service.proxy.as_deref().map(|proxy| definition::Proxy {
        destination_service_name: proxy.destination_service_name.to_string(),
        destination_service_id: proxy.destination_service_id.to_string(),
        local_service_address: proxy.local_service_address.to_string(),
        local_service_port: proxy.local_service_port,
        upstreams: proxy.upstreams.to_string(),
        expose: proxy.expose.to_string(),
        ..definition::Proxy::default()
    });
    validate_kind(&service.kind, reachable, service.connect_native, proxy.as_ref())
}

/// Whether an address means every interface.
pub(crate) fn unspecified(address: &str) -> bool {
    let inside = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    inside.unwrap_or(address).parse::<core::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// The kind of a check that an external monitor runs.
pub(crate) fn probe(spec: Option<&CheckSpec>) -> &'static str {
    match spec {
        Some(spec) if spec.interval.is_zero() => "",
        Some(spec) if !spec.http.is_empty() => "http",
        Some(spec) if !spec.tcp.is_empty() => "tcp",
        _ => "",
    }
}

/// A UUID's text: 8-4-4-4-12 hex digits.
pub(crate) fn uuid(id: &str) -> Result<(), String> {
    if id.len() != 36 {
        return Err("uuid string is wrong length".to_string());
    }
    for (at, b) in id.bytes().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if b != b'-' {
                return Err("uuid is improperly formatted".to_string());
            }
        } else if !b.is_ascii_hexdigit() {
            return Err(format!("encoding/hex: invalid byte: U+{b:04X} {:?}", char::from(b)));
        }
    }
    Ok(())
}

fn decode(body: &Value, datacenter: &mut Str) -> Decoded<Register> {
    let mut register = Register::default();
    let node = &mut register.node;
    let mut id = Str::default();
    // `Check` comes after `Checks`, as in Consul.
    let mut single = None;
    members(body, "structs.RegisterRequest")?.each(|name, value| match name {
        "datacenter" => text(value, "RegisterRequest.Datacenter", datacenter),
        "id" => text(value, "RegisterRequest.ID", &mut id),
        "node" => text(value, "RegisterRequest.Node", &mut node.name),
        "address" => text(value, "RegisterRequest.Address", &mut node.address),
        "taggedaddresses" => pairs(value, "RegisterRequest.TaggedAddresses", &mut node.tagged_addresses),
        "nodemeta" => pairs(value, "RegisterRequest.NodeMeta", &mut node.meta),
        "partition" => text(value, "RegisterRequest.Partition", &mut node.partition),
        "namespace" | "token" | "peername" => text(value, "RegisterRequest.Token", &mut Str::default()),
        "locality" => Ok(true),
        "service" => {
            if !value.is_null() {
                register.services.push(decode_service(value)?);
            }
            Ok(true)
        }
        "check" => {
            if !value.is_null() {
                single = Some(decode_check(value)?);
            }
            Ok(true)
        }
        "checks" => {
            match value {
                Value::Array(all) => {
                    for one in all.iter().filter(|one| !one.is_null()) {
                        register.checks.push(decode_check(one)?);
                    }
                }
                Value::Null => {}
                _ => return Err("json: cannot unmarshal into Go struct field RegisterRequest.Checks".to_string()),
            }
            Ok(true)
        }
        "skipnodeupdate" => flag(value, "RegisterRequest.SkipNodeUpdate", &mut register.skip_node_update),
        _ => Ok(false),
    })?;
    register.checks.extend(single);
    node.id = Some(id).filter(|id| !id.is_empty());
    Ok(register)
}

fn decode_deregister(body: &Value, into: &mut Deregister, datacenter: &mut Str) -> Decoded<()> {
    let (mut service, mut check) = (Str::default(), Str::default());
    members(body, "structs.DeregisterRequest")?.each(|name, value| match name {
        "datacenter" => text(value, "DeregisterRequest.Datacenter", datacenter),
        "node" => text(value, "DeregisterRequest.Node", &mut into.node),
        "serviceid" => text(value, "DeregisterRequest.ServiceID", &mut service),
        "checkid" => text(value, "DeregisterRequest.CheckID", &mut check),
        // Known, and of no use: nodes are known by name.
        "address" => text(value, "DeregisterRequest.Address", &mut Str::default()),
        "namespace" => text(value, "DeregisterRequest.Namespace", &mut into.tenancy.namespace),
        "partition" => text(value, "DeregisterRequest.Partition", &mut into.tenancy.partition),
        "token" | "peername" => text(value, "DeregisterRequest.Token", &mut Str::default()),
        _ => Ok(false),
    })?;
    into.service_id = Some(service).filter(|id| !id.is_empty());
    into.check_id = Some(check).filter(|id| !id.is_empty());
    Ok(())
}

/// A number of 16 bits; what is outside is taken as none, as agents take it.
fn port(value: &Value, field: &str, into: &mut u16) -> Decoded<bool> {
    let mut number = 0;
    int(value, field, &mut number)?;
    *into = u16::try_from(number).unwrap_or(0);
    Ok(true)
}

pub(crate) fn decode_service(value: &Value) -> Decoded<Service> {
    let mut service = Service::default();
    service.tenancy.partition = Str::default();
    service.tenancy.namespace = Str::default();
    (service.weight_passing, service.weight_warning) = (1, 1);
    members(value, "structs.NodeService")?.each(|name, value| match name {
        "kind" => text(value, "NodeService.Service.Kind", &mut service.kind),
        "id" => text(value, "NodeService.Service.ID", &mut service.id),
        "service" => text(value, "NodeService.Service.Service", &mut service.name),
        "tags" => texts(value, "NodeService.Service.Tags", &mut service.tags),
        "address" => text(value, "NodeService.Service.Address", &mut service.address),
        "taggedaddresses" => {
            service.tagged_addresses = decode_addresses(value)?;
            Ok(true)
        }
        "meta" => pairs(value, "NodeService.Service.Meta", &mut service.meta),
        "port" => port(value, "NodeService.Service.Port", &mut service.port),
        "ports" => {
            service.ports = decode_ports(value)?;
            Ok(true)
        }
        "socketpath" => text(value, "NodeService.Service.SocketPath", &mut service.socket_path),
        "weights" => members(value, "structs.Weights")?
            .each(|name, value| {
                let mut number = 0;
                match name {
                    "passing" => int(value, "Weights.Passing", &mut number)?,
                    "warning" => int(value, "Weights.Warning", &mut number)?,
                    _ => return Ok(false),
                };
                let number = u32::try_from(number).unwrap_or(0);
                if name == "passing" {
                    service.weight_passing = number;
                } else {
                    service.weight_warning = number;
                }
                Ok(true)
            })
            .map(|()| true),
        "enabletagoverride" => flag(value, "NodeService.Service.EnableTagOverride", &mut service.enable_tag_override),
        "proxy" => {
            service.proxy = decode_proxy(value)?.map(Arc::new);
            Ok(true)
        }
        "connect" => members(value, "structs.ServiceConnect")?
            .each(|name, value| match name {
                "native" => flag(value, "ServiceConnect.Native", &mut service.connect_native),
                "sidecarservice" | "peermeta" => Ok(true),
                _ => Ok(false),
            })
            .map(|()| true),
        "namespace" => text(value, "NodeService.Service.Namespace", &mut service.tenancy.namespace),
        "partition" => text(value, "NodeService.Service.Partition", &mut service.tenancy.partition),
        "createindex" | "modifyindex" => int(value, "NodeService.Service.CreateIndex", &mut 0),
        "peername" | "locality" => Ok(true),
        _ => Ok(false),
    })?;
    Ok(service)
}

fn decode_addresses(value: &Value) -> Decoded<BTreeMap<Str, TaggedAddress>> {
    let mut all = BTreeMap::new();
    let Value::Object(map) = value else {
        return if value.is_null() { Ok(all) } else { Err("json: cannot unmarshal TaggedAddresses".to_string()) };
    };
    for (tag, value) in map {
        let mut one = TaggedAddress::default();
        members(value, "structs.ServiceAddress")?.each(|name, value| match name {
            "address" => text(value, "ServiceAddress.Address", &mut one.address),
            "port" => port(value, "ServiceAddress.Port", &mut one.port),
            _ => Ok(false),
        })?;
        all.insert(tag.as_str().into(), one);
    }
    Ok(all)
}

fn decode_ports(value: &Value) -> Decoded<Vec<NamedPort>> {
    let Value::Array(items) = value else {
        return if value.is_null() { Ok(Vec::new()) } else { Err("json: cannot unmarshal Ports".to_string()) };
    };
    let each = items.iter().map(|item| {
        let mut one = NamedPort::default();
        members(item, "structs.ServicePort")?.each(|name, value| match name {
            "name" => text(value, "ServicePort.Name", &mut one.name),
            "port" => port(value, "ServicePort.Port", &mut one.port),
            "default" => flag(value, "ServicePort.Default", &mut one.default),
            _ => Ok(false),
        })?;
        Ok(one)
    });
    each.collect()
}

fn decode_proxy(value: &Value) -> Decoded<Option<Proxy>> {
    if value.is_null() {
        return Ok(None);
    }
    let mut proxy = Proxy::default();
    members(value, "structs.ConnectProxyConfig")?.each(|name, value| match name {
        "destinationservicename" => {
            text(value, "ConnectProxyConfig.DestinationServiceName", &mut proxy.destination_service_name)
        }
        "destinationserviceid" => {
            text(value, "ConnectProxyConfig.DestinationServiceID", &mut proxy.destination_service_id)
        }
        "localserviceaddress" => {
            text(value, "ConnectProxyConfig.LocalServiceAddress", &mut proxy.local_service_address)
        }
        "localserviceport" => port(value, "ConnectProxyConfig.LocalServicePort", &mut proxy.local_service_port),
        "mode" => text(value, "ConnectProxyConfig.Mode", &mut proxy.mode),
        "config" => free(value, &mut proxy.config),
        "upstreams" => free(value, &mut proxy.upstreams),
        "meshgateway" => free(value, &mut proxy.mesh_gateway),
        "expose" => free(value, &mut proxy.expose),
        "transparentproxy" | "localservicesocketpath" | "envoyextensions" | "accesslogs" | "mutualtlsmode" => Ok(true),
        _ => Ok(false),
    })?;
    let parts = as_given(&proxy.upstreams, &proxy.expose, &proxy.mesh_gateway).map_err(|why| why.message)?;
    let [upstreams, expose, mesh_gateway] = parts.map(Str::from);
    Ok(Some(Proxy { upstreams, expose, mesh_gateway, ..proxy }))
}

pub(crate) fn decode_check(value: &Value) -> Decoded<Check> {
    let mut check = Check::default();
    check.tenancy.partition = Str::default();
    check.tenancy.namespace = Str::default();
    let mut status = Str::default();
    members(value, "structs.HealthCheck")?.each(|name, value| match name {
        "node" => text(value, "HealthCheck.Node", &mut check.node),
        "checkid" => text(value, "HealthCheck.CheckID", &mut check.id),
        "name" => text(value, "HealthCheck.Name", &mut check.name),
        "status" => text(value, "HealthCheck.Status", &mut status),
        "notes" => text(value, "HealthCheck.Notes", &mut check.notes),
        "output" => text(value, "HealthCheck.Output", &mut check.output),
        "serviceid" => text(value, "HealthCheck.ServiceID", &mut check.service_id),
        "servicename" => text(value, "HealthCheck.ServiceName", &mut check.service_name),
        "servicetags" => texts(value, "HealthCheck.ServiceTags", &mut check.service_tags),
        "type" => text(value, "HealthCheck.Type", &mut check.kind),
        "namespace" => text(value, "HealthCheck.Namespace", &mut check.tenancy.namespace),
        "partition" => text(value, "HealthCheck.Partition", &mut check.tenancy.partition),
        "definition" => {
            check.definition = decode_spec(value)?.map(Arc::new);
            Ok(true)
        }
        "createindex" | "modifyindex" => int(value, "HealthCheck.CreateIndex", &mut 0),
        "interval" | "timeout" | "exposedport" | "peername" => Ok(true),
        _ => Ok(false),
    })?;
    check.status = if status.is_empty() { Status::Critical } else { Status::from_text(&status) };
    Ok(check)
}

/// The definition of a check takes members it does not know, as in Consul.
fn decode_spec(value: &Value) -> Decoded<Option<CheckSpec>> {
    let mut spec = CheckSpec::default();
    members(value, "structs.HealthCheckDefinition")?.each(|name, value| match name {
        "http" => text(value, "HealthCheckDefinition.HTTP", &mut spec.http),
        "tlsskipverify" => flag(value, "HealthCheckDefinition.TLSSkipVerify", &mut spec.tls_skip_verify),
        "header" => {
            let Value::Object(map) = value else {
                return if value.is_null() { Ok(true) } else { Err("json: cannot unmarshal Header".to_string()) };
            };
            for (name, values) in map {
                texts(values, "HealthCheckDefinition.Header", spec.header.entry(name.as_str().into()).or_default())?;
            }
            Ok(true)
        }
        "method" => text(value, "HealthCheckDefinition.Method", &mut spec.method),
        "body" => text(value, "HealthCheckDefinition.Body", &mut spec.body),
        "tcp" => text(value, "HealthCheckDefinition.TCP", &mut spec.tcp),
        "interval" => time(value, "HealthCheckDefinition.Interval", &mut spec.interval),
        "timeout" => time(value, "HealthCheckDefinition.Timeout", &mut spec.timeout),
        "deregistercriticalserviceafter" => time(
            value,
            "HealthCheckDefinition.DeregisterCriticalServiceAfter",
            &mut spec.deregister_critical_service_after,
        ),
        _ => Ok(true),
    })?;
    Ok(Some(spec).filter(|spec| *spec != CheckSpec::default()))
}
