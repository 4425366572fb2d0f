//! `services register|deregister`.

use super::client::{Client, trying};
use super::command::{Action, Cx, DONE, Entry, Failure, Outcome, texts};
use super::flags::{Parsed, list, number, text};
use super::services_json::to_json;
use clap::Arg;
use convoke_config::definition::{ServiceAddress, ServiceDefinition, decode_services_file};
use convoke_config::value::{Position, Value};
use convoke_config::{Diagnostic, Format, Source};
use std::path::Path;

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    Entry {
        name: "services",
        about: "Register services with the agent, and deregister them",
        usage: "<subcommand> [options]",
        detail: "",
        flags: Vec::new,
        action: Action::Group,
    },
    Entry {
        name: "services deregister",
        about: "Deregister services from the agent",
        usage: "[options] [FILE ...]",
        detail: "The services are those of the files (HCL or JSON), or the one of -id.",
        flags: || vec![text("id", "id", "The service to deregister.")],
        action: Action::Remote(deregister),
    },
    Entry {
        name: "services register",
        about: "Register services with the agent",
        usage: "[options] [FILE ...]",
        detail: "The services are those of the files (HCL or JSON, as in configuration files), or one described by \
                 the options.",
        flags: register_flags,
        action: Action::Remote(register),
    },
];

fn register_flags() -> Vec<Arg> {
    vec![
        text("address", "address", "Where the service is; the node's address unless set."),
        text("id", "id", "Unique on the agent; the name unless set."),
        text("kind", "kind", "Empty for a typical service, or connect-proxy, mesh-gateway, ..."),
        list("meta", "key=value", "A pair of metadata. May be given several times."),
        text("name", "name", "What the service is found by."),
        number("port", "Port of the service."),
        text("socket", "path", "Unix socket of the service, instead of address and port."),
        list("tag", "tag", "A tag. May be given several times."),
        list(
            "tagged-address",
            "name=address",
            "A further address, such as wan=1.2.3.4:80. May be given several times.",
        ),
    ]
}

fn register(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let services = described(parsed, "register")?;
    if services.is_empty() {
        cx.remark("There is no service in these files.");
    }
    if services.iter().any(|service| service.name.is_empty()) {
        return Err("A service needs a name.".into());
    }
    for service in &services {
        let what = format!("Error registering service {:?}", service.name);
        trying(&what, client.put("/v1/agent/service/register", &tenancy(service), to_json(service).into()))?;
        cx.say(format!("Registered service: {}", service.name));
    }
    DONE
}

fn deregister(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let services = described(parsed, "deregister")?;
    if services.is_empty() {
        cx.remark("There is no service in these files.");
    }
    if services.iter().any(|service| service.id.is_empty() && service.name.is_empty()) {
        return Err("Say which service: by -id, or by a file with its id or name.".into());
    }
    for service in &services {
        let id = if service.id.is_empty() { &service.name } else { &service.id };
        let what = format!("Error deregistering service {id:?}");
        let path = format!("/v1/agent/service/deregister/{id}");
        trying(&what, client.put(&path, &tenancy(service), Vec::new()))?;
        cx.say(format!("Deregistered service: {id}"));
    }
    DONE
}

/// A definition that names its namespace goes there, whatever the options say about others.
fn tenancy(service: &ServiceDefinition) -> Vec<(&str, &str)> {
    let pairs = [("ns", service.namespace.as_str()), ("partition", service.partition.as_str())];
    pairs.into_iter().filter(|(_, name)| !name.is_empty()).collect()
}

/// The services of the files, or the one of the flags.
fn described(parsed: &Parsed, verb: &str) -> Result<Vec<ServiceDefinition>, Failure> {
    let files = texts(parsed)?;
    let flags = from_flags(parsed)?;
    let services = match (files.is_empty(), flags) {
        (true, None) => {
            return Err(format!("Service {verb} needs a file, or options that name a service.").into());
        }
        (false, Some(_)) => return Err("Give either files or options that describe a service, not both.".into()),
        (true, Some(service)) => vec![service],
        (false, None) => from_files(&files).map_err(|why| why.to_string())?,
    };
    Ok(services)
}

/// The services that these files define; of a folder, all its files.
fn from_files(files: &[&str]) -> Result<Vec<ServiceDefinition>, Diagnostic> {
    let mut sources = Vec::new();
    for file in files {
        crate::files::path(Path::new(file), None, &mut sources)?;
    }
    let mut services = Vec::new();
    for source in sources {
        let Source::File { name, format, text } = source else { continue };
        let at = |at: Position, message| Diagnostic { file: name.clone(), line: at.line, message };
        let root = match format {
            Format::Hcl => Value::from_hcl(&text),
            Format::Json => Value::from_json(&text),
        };
        let root = root.map_err(|why| at(why.at, why.message))?;
        services.extend(decode_services_file(&root).map_err(|why| at(why.at, why.message))?);
    }
    Ok(services)
}

/// The service that the flags describe, if they do.
fn from_flags(parsed: &Parsed) -> Result<Option<ServiceDefinition>, Failure> {
    let text = |name: &str| parsed.text(name).unwrap_or_default().to_owned();
    let mut service = ServiceDefinition {
        kind: text("kind"),
        id: text("id"),
        name: text("name"),
        tags: parsed.list("tag"),
        address: text("address"),
        socket_path: text("socket"),
        ..ServiceDefinition::default()
    };
    let port = parsed.number("port").unwrap_or(0);
    service.port = u16::try_from(port).map_err(|_| format!("-port={port} is out of range: use 0 to 65535"))?;
    for pair in parsed.list("meta") {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(format!("invalid value {pair:?} for flag -meta: use key=value").into());
        };
        service.meta.insert(key.to_owned(), value.to_owned());
    }
    for pair in parsed.list("tagged-address") {
        let Some((name, address)) = pair.split_once('=') else {
            return Err(format!(
                "invalid value {pair:?} for flag -tagged-address: use name=address or name=address:port"
            )
            .into());
        };
        service.tagged_addresses.insert(name.to_owned(), tagged_address(address)?);
    }
    if service == ServiceDefinition::default() {
        return Ok(None);
    }
    Ok(Some(service))
}

/// An address with or without a port; IPv6 in brackets where there is a port.
fn tagged_address(text: &str) -> Result<ServiceAddress, String> {
    let (address, port) = match text.rsplit_once(':') {
        Some((address, port)) if !address.contains(':') || address.ends_with(']') => (address, port),
        _ => (text, "0"),
    };
    let port = port.parse().map_err(|_| format!("invalid port {port:?} in {text:?}: use 0 to 65535"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(ServiceAddress { address, port })
}
