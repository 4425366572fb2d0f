//! Sidecar proxies: services that are registered along with the one they stand for.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use convoke_config::definition::proxy::{listed, validate_kind};
use convoke_config::definition::{CheckDefinition, Origin, ServiceDefinition, decode_service};
use convoke_config::json::parse_first;

use crate::local::{Local, Refusal};

/// Between two attempts to connect to a sidecar.
const LISTENS_EVERY: Duration = Duration::from_secs(10);
/// Where a proxy reaches its service unless it is told.
const LOCAL: &str = "127.0.0.1";

/// Id of the sidecar of a service.
#[must_use]
pub fn sidecar_id(service: &str) -> String {
    format!("{service}-sidecar-proxy")
}

/// Whether a service asks for a sidecar.
#[must_use]
pub fn wants_sidecar(service: &ServiceDefinition) -> bool {
    service.connect.as_ref().is_some_and(|connect| !connect.sidecar_service.is_empty())
}

impl Local {
    /// The sidecar that a service asks for, filled in from the service; `None` if it asks for none. It keeps the port it
    /// has; a new one gets the first of `ports` that no service here uses.
    ///
    /// # Errors
    ///
    /// When the sidecar's own definition cannot be used, or no port is left.
    pub fn sidecar(
        &self,
        service: &ServiceDefinition,
        ports: RangeInclusive<u16>,
    ) -> Result<Option<ServiceDefinition>, Refusal> {
        if !wants_sidecar(service) {
            return Ok(None);
        }
        let text = service.connect.as_ref().map_or("", |connect| &connect.sidecar_service);
        let id = if service.id.is_empty() { &service.name } else { &service.id };
        let mut sidecar = read(text)?;
        let mut wrong: Vec<String> = Vec::new();
        if !sidecar.id.is_empty() {
            wrong.push("Cannot specify an ID in a sidecar service: it follows from the service's".to_owned());
        }
        if wants_sidecar(&sidecar) {
            wrong.push("A sidecar service cannot have a sidecar service".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Refusal::new(400, listed(&wrong)));
        }
        sidecar.id = sidecar_id(id);
        let inherit = |own: &mut String, from: &String| {
            if own.is_empty() {
                own.clone_from(from);
            }
        };
        inherit(&mut sidecar.kind, &"connect-proxy".to_owned());
        inherit(&mut sidecar.name, &sidecar_id(&service.name));
        inherit(&mut sidecar.address, &service.address);
        inherit(&mut sidecar.token, &service.token);
        inherit(&mut sidecar.namespace, &service.namespace);
        inherit(&mut sidecar.partition, &service.partition);
        if sidecar.tags.is_empty() {
            sidecar.tags.clone_from(&service.tags);
        }
        if sidecar.meta.is_empty() {
            sidecar.meta.clone_from(&service.meta);
        }
        if sidecar.port == 0 {
            sidecar.port = self.sidecar_port(&sidecar.id, ports)?;
        }
        let proxy = sidecar.proxy.get_or_insert_default();
        inherit(&mut proxy.destination_service_name, &service.name);
        inherit(&mut proxy.destination_service_id, id);
        inherit(&mut proxy.local_service_address, &LOCAL.to_owned());
        if proxy.local_service_port == 0 {
            proxy.local_service_port = service.port;
        }
        if sidecar.checks.is_empty() {
            sidecar.checks = checks(&proxy.local_service_address, sidecar.port, id);
        }
        if sidecar.kind == "connect-proxy" {
            let native = sidecar.connect.as_ref().is_some_and(|connect| connect.native);
            validate_kind(&sidecar.kind, true, native, sidecar.proxy.as_ref()).map_err(|why| Refusal::new(400, why))?;
        }
        Ok(Some(sidecar))
    }

    fn sidecar_port(&self, id: &str, ports: RangeInclusive<u16>) -> Result<u16, Refusal> {
        if let Some(before) = self.services().get(id).filter(|before| ports.contains(&before.row.port)) {
            return Ok(before.row.port);
        }
        let used: Vec<u16> = self.services().iter().map(|(_, service)| service.row.port).collect();
        ports.clone().find(|port| *port != 0 && !used.contains(port)).ok_or_else(|| {
            let (from, to) = (ports.start(), ports.end());
            Refusal::new(400, format!("auto-assignment disabled in config or no port left between {from} and {to}"))
        })
    }

    /// Id of the sidecar that was registered along with a service, if it is still there.
    pub(super) fn sidecar_of(&self, service: &str) -> Option<String> {
        let id = sidecar_id(service);
        let of_it = |proxy: &convoke_catalog::model::Proxy| *proxy.destination_service_id == *service;
        self.services().get(&*id)?.row.proxy.as_deref().is_some_and(of_it).then_some(id)
    }
}

/// The text is as requests or as files spell it.
fn read(text: &str) -> Result<ServiceDefinition, Refusal> {
    let refuse = |why: String| Refusal::new(400, format!("Request decode failed: {why}"));
    let value = parse_first(text).map_err(|why| refuse(why.message))?;
    let decoded = decode_service(&value, Origin::Http);
    decoded.or_else(|_| decode_service(&value, Origin::File)).map_err(|why| Refusal::new(400, why.to_string()))
}

/// A sidecar is well if it listens, and if its service is well.
fn checks(address: &str, port: u16, service: &str) -> Vec<CheckDefinition> {
    let target = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    vec![
        CheckDefinition {
            name: "Connect Sidecar Listening".to_owned(),
            tcp: target,
            interval: LISTENS_EVERY,
            ..CheckDefinition::default()
        },
        CheckDefinition {
            name: format!("Connect Sidecar Aliasing {service}"),
            alias_service: service.to_string(),
            ..CheckDefinition::default()
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Unnamed;
    use convoke_config::definition::Connect;

    fn with_sidecar(name: &str, text: &str) -> ServiceDefinition {
        let connect = Connect { sidecar_service: text.to_owned(), native: false };
        ServiceDefinition { name: name.to_owned(), port: 80, connect: Some(connect), ..ServiceDefinition::default() }
    }

    #[test]
    fn a_sidecar_takes_what_it_is_not_told_from_its_service() {
        let mut local = Local::new("n1", "");
        let web = ServiceDefinition { tags: vec!["t".to_owned()], ..with_sidecar("web", "{}") };
        let sidecar = local.sidecar(&web, 21_000..=21_001).unwrap().unwrap();
        assert_eq!((&*sidecar.id, &*sidecar.kind, sidecar.port), ("web-sidecar-proxy", "connect-proxy", 21_000));
        assert_eq!(sidecar.tags, web.tags);
        let proxy = sidecar.proxy.clone().unwrap();
        assert_eq!((&*proxy.destination_service_id, &*proxy.local_service_address), ("web", LOCAL));
        assert_eq!(proxy.local_service_port, 80);
        let probes: Vec<_> = sidecar.checks.iter().map(|check| (&*check.tcp, &*check.alias_service)).collect();
        assert_eq!(probes, [("127.0.0.1:21000", ""), ("", "web")]);

        local.register_service(web, false, Unnamed::Stay, &mut Vec::new());
        local.register_service(sidecar, false, Unnamed::Stay, &mut Vec::new());
        let again = local.sidecar(&with_sidecar("web", "{}"), 21_000..=21_001).unwrap().unwrap();
        assert_eq!(again.port, 21_000, "it keeps its port");
        let other = local.sidecar(&with_sidecar("api", "{}"), 21_000..=21_001).unwrap().unwrap();
        assert_eq!(other.port, 21_001);
        assert!(local.sidecar(&with_sidecar("api", "{}"), 21_000..=21_000).is_err());
        assert!(local.deregister_service("web", &mut Vec::new()));
        assert!(local.services().is_empty() && local.checks().is_empty(), "a sidecar goes with its service");
    }

    #[test]
    fn what_a_sidecar_cannot_be() {
        let local = Local::new("n1", "");
        let refused = |text: &str| local.sidecar(&with_sidecar("web", text), 1..=2).unwrap_err().text;
        assert!(refused(r#"{"ID":"x","Connect":{"SidecarService":{}}}"#).starts_with("2 errors occurred:"));
        assert!(refused(r#"{"Bogus":1}"#).starts_with("Request decode failed: "));
        assert!(refused(r#"{"Proxy":{"Upstreams":[{"LocalBindPort":1}]}}"#).starts_with("1 error occurred:"));
        assert_eq!(local.sidecar(&ServiceDefinition::default(), 1..=2), Ok(None));
        let custom =
            r#"{"name":"c","port":5,"meta":{"a":"b"},"check":{"ttl":"1h"},"proxy":{"mesh_gateway":{"mode":"local"}}}"#;
        let custom = local.sidecar(&with_sidecar("web", custom), 1..=2).unwrap().unwrap();
        assert_eq!((&*custom.name, &*custom.id, custom.port, custom.checks.len()), ("c", "web-sidecar-proxy", 5, 1));
    }
}
