//! A service definition as the body of a registration.

use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use convoke_config::duration;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The JSON of `PUT /v1/agent/service/register`. What is not set is left out.
pub(super) fn to_json(service: &ServiceDefinition) -> String {
    let mut body = Body::default();
    body.text("Kind", &service.kind);
    body.text("ID", &service.id);
    body.text("Name", &service.name);
    body.unless_empty("Tags", json!(service.tags));
    body.text("Address", &service.address);
    let tagged: Map<String, Value> = service
        .tagged_addresses
        .iter()
        .map(|(name, at)| (name.clone(), json!({ "Address": at.address, "Port": at.port })))
        .collect();
    body.unless_empty("TaggedAddresses", Value::Object(tagged));
    body.unless_empty("Meta", json!(service.meta));
    body.number("Port", service.port.into());
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| json!({ "Name": port.name, "Port": port.port, "Default": port.default }))
        .collect();
    body.unless_empty("Ports", Value::Array(ports));
    body.text("SocketPath", &service.socket_path);
    if let Some(weights) = service.weights {
        body.put("Weights", json!({ "Passing": weights.passing, "Warning": weights.warning }));
    }
    body.flag("EnableTagOverride", service.enable_tag_override);
    body.text("Token", &service.token);
    body.text("Namespace", &service.namespace);
    body.text("Partition", &service.partition);
    body.unless_empty("Checks", service.checks.iter().map(check).collect());
    if let Some(proxy) = &service.proxy {
        let mut inner = Body::default();
        inner.text("DestinationServiceName", &proxy.destination_service_name);
        inner.text("DestinationServiceID", &proxy.destination_service_id);
        inner.text("LocalServiceAddress", &proxy.local_service_address);
        inner.number("LocalServicePort", proxy.local_service_port.into());
        inner.text("Mode", &proxy.mode);
        inner.free("Config", &proxy.config);
        inner.free("Upstreams", &proxy.upstreams);
        inner.free("MeshGateway", &proxy.mesh_gateway);
        inner.free("Expose", &proxy.expose);
        body.put("Proxy", inner.into_value());
    }
    if let Some(connect) = &service.connect {
        let mut inner = Body::default();
        inner.flag("Native", connect.native);
        inner.free("SidecarService", &connect.sidecar_service);
        body.put("Connect", inner.into_value());
    }
    body.into_value().to_string()
}

fn check(check: &CheckDefinition) -> Value {
    let mut body = Body::default();
    for (name, text) in [
        ("CheckID", &check.id),
        ("Name", &check.name),
        ("Notes", &check.notes),
        ("Status", &check.status),
        ("HTTP", &check.http),
        ("Method", &check.method),
        ("Body", &check.body),
        ("TCP", &check.tcp),
        ("UDP", &check.udp),
        ("GRPC", &check.grpc),
        ("H2PING", &check.h2ping),
        ("DockerContainerID", &check.docker_container_id),
        ("Shell", &check.shell),
        ("AliasNode", &check.alias_node),
        ("AliasService", &check.alias_service),
        ("OSService", &check.os_service),
        ("TLSServerName", &check.tls_server_name),
    ] {
        body.text(name, text);
    }
    for (name, time) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("TTL", check.ttl),
        ("DeregisterCriticalServiceAfter", check.deregister_critical_service_after),
    ] {
        body.time(name, time);
    }
    for (name, on) in [
        ("DisableRedirects", check.disable_redirects),
        ("TCPUseTLS", check.tcp_use_tls),
        ("GRPCUseTLS", check.grpc_use_tls),
        ("TLSSkipVerify", check.tls_skip_verify),
    ] {
        body.flag(name, on);
    }
    body.unless_empty("ScriptArgs", json!(check.args));
    body.unless_empty("Header", json!(check.header));
    body.number("OutputMaxSize", check.output_max_size);
    body.number("SuccessBeforePassing", check.success_before_passing.into());
    body.number("FailuresBeforeCritical", check.failures_before_critical.into());
    if let Some(count) = check.failures_before_warning {
        body.put("FailuresBeforeWarning", count.into());
    }
    if let Some(tls) = check.h2ping_use_tls {
        body.put("H2PingUseTLS", tls.into());
    }
    body.into_value()
}

/// An object that leaves out what is not set.
#[derive(Default)]
struct Body(Map<String, Value>);

impl Body {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.put(name, text.into());
        }
    }

    fn number(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.put(name, number.into());
        }
    }

    fn flag(&mut self, name: &str, on: bool) {
        if on {
            self.put(name, true.into());
        }
    }

    fn time(&mut self, name: &str, time: Duration) {
        if !time.is_zero() {
            self.put(name, duration::format(time).into());
        }
    }

    fn unless_empty(&mut self, name: &str, value: Value) {
        let empty = match &value {
            Value::Array(list) => list.is_empty(),
            Value::Object(object) => object.is_empty(),
            _ => false,
        };
        if !empty {
            self.put(name, value);
        }
    }

    /// JSON kept as text by the loader, which has checked it.
    fn free(&mut self, name: &str, text: &str) {
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            self.unless_empty(name, value);
        }
    }

    fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_config::definition::{Connect, Proxy, ServiceAddress, ServicePort, Weights};

    #[test]
    fn a_bare_service() {
        let service = ServiceDefinition { name: "web".into(), port: 80, ..Default::default() };
        assert_eq!(to_json(&service), r#"{"Name":"web","Port":80}"#);
    }

    #[test]
    fn everything() {
        let service = ServiceDefinition {
            id: "w1".into(),
            name: "web".into(),
            tags: vec!["b".into(), "a".into()],
            tagged_addresses: [("wan".to_owned(), ServiceAddress { address: "1.2.3.4".into(), port: 5 })].into(),
            meta: [("k".to_owned(), "v".to_owned())].into(),
            ports: vec![ServicePort { name: "p".into(), port: 1, default: true }],
            weights: Some(Weights { passing: 3, warning: 0 }),
            enable_tag_override: true,
            proxy: Some(Proxy { config: r#"{"a":1}"#.into(), upstreams: "[]".into(), ..Default::default() }),
            connect: Some(Connect { native: true, sidecar_service: String::new() }),
            checks: vec![CheckDefinition {
                args: vec!["x".into()],
                interval: Duration::from_millis(1500),
                failures_before_warning: Some(0),
                h2ping_use_tls: Some(false),
                header: [("H".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let want = json!({
            "ID": "w1", "Name": "web", "Tags": ["b", "a"], "Meta": {"k": "v"}, "EnableTagOverride": true,
            "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 5}},
            "Ports": [{"Name": "p", "Port": 1, "Default": true}],
            "Weights": {"Passing": 3, "Warning": 0},
            "Proxy": {"Config": {"a": 1}}, "Connect": {"Native": true},
            "Checks": [{"ScriptArgs": ["x"], "Interval": "1.5s", "FailuresBeforeWarning": 0, "H2PingUseTLS": false,
                        "Header": {"H": ["1", "2"]}}]
        });
        assert_eq!(serde_json::from_str::<Value>(&to_json(&service)).unwrap(), want);
    }
}
