//! Definitions from trees: every spelling that files and the HTTP API have ever allowed.
//!
//! Both take types as they are and names in any case. In files names have underscores, but for a few, and durations are text; the HTTP API
//! knows more spellings, and durations as nanoseconds, too.

use super::{CheckDefinition, Connect, Proxy, ServiceAddress, ServiceDefinition, ServicePort, Weights, proxy};
use crate::duration;
use crate::value::{Data, Object, Position, Value};
use crate::weak;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use thiserror::Error;

/// Where a definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File,
    /// A request body.
    Http,
}

/// Why a definition is refused. Shown as the HTTP API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{message}", if *.decode { "Request decode failed: " } else { "" })]
pub struct DefinitionError {
    /// Where in the text.
    pub at: Position,
    /// Its shape is wrong (and not what it says).
    pub decode: bool,
    /// What is wrong.
    pub message: String,
}

type Outcome<T> = Result<T, DefinitionError>;

/// Reads a service definition: one object, without a wrapper.
pub fn decode_service(value: &Value, origin: Origin) -> Outcome<ServiceDefinition> {
    let reader = Reader { origin };
    let mut service = ServiceDefinition::default();
    let mut single = None;
    let mut list = Vec::new();
    reader.members(value, SERVICE, |field, name, value| {
        match field {
            "kind" => service.kind = reader.text(name, value)?,
            "id" => service.id = reader.text(name, value)?,
            "name" => service.name = reader.text(name, value)?,
            "tags" => service.tags = reader.texts(name, value)?,
            "address" => service.address = reader.text(name, value)?,
            "tagged_addresses" => service.tagged_addresses = reader.addresses(name, value)?,
            "meta" => service.meta = reader.pairs(name, value)?,
            "port" => service.port = reader.port(name, value)?,
            "ports" => service.ports = reader.ports(name, value)?,
            "socket_path" => service.socket_path = reader.text(name, value)?,
            // An empty one says nothing.
            "check" => single = decode_inline_check(value, origin)?,
            "checks" => {
                for item in reader.items(name, value)? {
                    list.push(decode_inline_check(item, origin)?.unwrap_or_default());
                }
            }
            "weights" => service.weights = Some(reader.weights(value)?),
            "token" => service.token = reader.text(name, value)?,
            "enable_tag_override" => service.enable_tag_override = reader.boolean(name, value)?,
            "proxy" => service.proxy = Some(reader.proxy(value)?),
            "connect" => service.connect = Some(reader.connect(value)?),
            "namespace" => service.namespace = reader.text(name, value)?,
            "partition" => service.partition = reader.text(name, value)?,
            // Known, and of no use here.
            _ => {}
        }
        Ok(())
    })?;
    service.checks = single.into_iter().chain(list).collect();
    Ok(service)
}

/// Reads a check definition that stands by itself.
pub fn decode_check(value: &Value, origin: Origin) -> Outcome<CheckDefinition> {
    Ok(Reader { origin }.check(value, STANDALONE)?.unwrap_or_default())
}

/// Reads a check inside a service. The HTTP API knows no `ID` here, only `CheckID`.
fn decode_inline_check(value: &Value, origin: Origin) -> Outcome<Option<CheckDefinition>> {
    Reader { origin }.check(value, if origin == Origin::Http { INLINE } else { STANDALONE })
}

/// Reads the file of `services register`: a `service`, or `services`.
pub fn decode_services_file(root: &Value) -> Outcome<Vec<ServiceDefinition>> {
    let object = root.as_object().ok_or_else(|| Reader { origin: Origin::File }.shape("a block", root))?;
    let wrapped =
        |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, member)| &member.value);
    let mut services = Vec::new();
    let reader = Reader { origin: Origin::File };
    if let Some((name, member)) = object.iter().find(|(key, _)| key.eq_ignore_ascii_case("name")) {
        let message = format!("invalid config key {name}; a service stands in a service block");
        return Err(DefinitionError { at: member.at, decode: true, message });
    }
    if let Some(one) = wrapped("service") {
        services.push(decode_service(one, Origin::File)?);
    }
    if let Some(several) = wrapped("services") {
        for item in reader.items("services", several)? {
            services.push(decode_service(item, Origin::File)?);
        }
    }
    Ok(services)
}

/// Field names, and further spellings of them over HTTP. Case never counts.
type Fields = &'static [(&'static str, &'static [&'static str])];

const SERVICE: Fields = &[
    ("address", &[]),
    ("check", &[]),
    ("checks", &[]),
    ("connect", &[]),
    ("enable_tag_override", &["enabletagoverride"]),
    ("id", &[]),
    ("kind", &[]),
    ("locality", &[]),
    ("meta", &[]),
    ("name", &[]),
    ("namespace", &[]),
    ("partition", &[]),
    ("port", &[]),
    ("ports", &[]),
    ("proxy", &[]),
    ("socket_path", &["socketpath"]),
    ("tagged_addresses", &["taggedaddresses"]),
    ("tags", &[]),
    ("token", &[]),
    ("weights", &[]),
];

/// The spellings without underscores that files allow, as well.
const SPELLED_IN_FILES: &[(&str, &str)] = &[
    ("args", "scriptargs"),
    ("deregister_critical_service_after", "deregistercriticalserviceafter"),
    ("docker_container_id", "dockercontainerid"),
    ("service_id", "serviceid"),
    ("tls_skip_verify", "tlsskipverify"),
];

/// What is said over HTTP alone: files have none of it in the edition without namespaces.
const NOT_IN_FILES: &[&str] = &["namespace", "partition"];

macro_rules! probe_fields {
    ($($more:tt)*) => {
        &[
            ("alias_node", &["aliasnode"]),
            ("alias_service", &["aliasservice"]),
            ("args", &["scriptargs", "script_args"]),
            ("body", &[]),
            ("deregister_critical_service_after", &["deregistercriticalserviceafter"]),
            ("disable_redirects", &["disableredirects"]),
            ("docker_container_id", &["dockercontainerid"]),
            ("failures_before_critical", &["failuresbeforecritical"]),
            ("failures_before_warning", &["failuresbeforewarning"]),
            ("grpc", &[]),
            ("grpc_use_tls", &["grpcusetls"]),
            ("h2ping", &[]),
            ("h2ping_use_tls", &["h2pingusetls"]),
            ("header", &[]),
            ("http", &[]),
            ("interval", &[]),
            ("method", &[]),
            ("name", &[]),
            ("namespace", &[]),
            ("notes", &[]),
            ("os_service", &["osservice"]),
            ("output_max_size", &["outputmaxsize"]),
            ("partition", &[]),
            ("proxy_grpc", &["proxygrpc"]),
            ("proxy_http", &["proxyhttp"]),
            ("shell", &[]),
            ("status", &[]),
            ("success_before_passing", &["successbeforepassing"]),
            ("tcp", &[]),
            ("tcp_use_tls", &["tcpusetls"]),
            ("timeout", &[]),
            ("tls_server_name", &["tlsservername"]),
            ("tls_skip_verify", &["tlsskipverify"]),
            ("ttl", &[]),
            ("udp", &[]),
            $($more)*
        ]
    };
}

const STANDALONE: Fields = probe_fields! {
    ("id", &[]),
    ("service_id", &["serviceid"]),
    ("token", &[]),
};

const INLINE: Fields = probe_fields! {
    ("id", &["\0", "checkid"]),
    ("ignored", &["\0", "serviceid", "service_id"]),
};

/// Names that requests, unlike files, must write without underscores.
const FILES_ONLY: &[&str] = &[
    "alias_node",
    "alias_service",
    "failures_before_critical",
    "grpc_use_tls",
    "mesh_gateway",
    "output_max_size",
    "success_before_passing",
];

const PROXY: Fields = &[
    ("config", &[]),
    ("destination_service_id", &["destinationserviceid"]),
    ("destination_service_name", &["destinationservicename"]),
    ("envoy_extensions", &["envoyextensions"]),
    ("expose", &[]),
    ("local_service_address", &["localserviceaddress"]),
    ("local_service_port", &["localserviceport"]),
    ("local_service_socket_path", &["localservicesocketpath"]),
    ("mesh_gateway", &["meshgateway"]),
    ("mode", &[]),
    ("transparent_proxy", &["transparentproxy"]),
    ("upstreams", &[]),
    ("access_logs", &["accesslogs"]),
];

/// Reads values as the origin has them.
#[derive(Clone, Copy)]
struct Reader {
    origin: Origin,
}

impl Reader {
    /// `None` if it says nothing.
    fn check(self, value: &Value, fields: Fields) -> Outcome<Option<CheckDefinition>> {
        let mut check = CheckDefinition::default();
        let mut negative_size = None;
        // A negative time is as good as none, but whoever wrote it meant something.
        let mut negative_time = false;
        let mut time = |nanos: i64| {
            negative_time |= nanos < 0;
            duration::from_nanos(nanos)
        };
        self.members(value, fields, |field, name, value| {
            match field {
                "id" => check.id = self.text(name, value)?,
                "name" => check.name = self.text(name, value)?,
                "notes" => check.notes = self.text(name, value)?,
                "service_id" => check.service_id = self.text(name, value)?,
                "status" => check.status = self.text(name, value)?,
                "token" => check.token = self.text(name, value)?,
                "interval" => check.interval = time(self.nanos(name, value)?),
                "timeout" => check.timeout = time(self.nanos(name, value)?),
                "args" => check.args = self.texts(name, value)?,
                "http" => check.http = self.text(name, value)?,
                "method" => check.method = self.text(name, value)?,
                "header" => check.header = self.headers(name, value)?,
                "body" => check.body = self.text(name, value)?,
                "disable_redirects" => check.disable_redirects = self.boolean(name, value)?,
                "output_max_size" => match u64::try_from(self.integer(name, value)?) {
                    Ok(size) => check.output_max_size = size,
                    Err(_) => negative_size = Some(value.at),
                },
                "tcp" => check.tcp = self.text(name, value)?,
                "tcp_use_tls" => check.tcp_use_tls = self.boolean(name, value)?,
                "udp" => check.udp = self.text(name, value)?,
                "grpc" => check.grpc = self.text(name, value)?,
                "grpc_use_tls" => check.grpc_use_tls = self.boolean(name, value)?,
                "h2ping" => check.h2ping = self.text(name, value)?,
                "h2ping_use_tls" => check.h2ping_use_tls = Some(self.boolean(name, value)?),
                "docker_container_id" => check.docker_container_id = self.text(name, value)?,
                "shell" => check.shell = self.text(name, value)?,
                "alias_node" => check.alias_node = self.text(name, value)?,
                "alias_service" => check.alias_service = self.text(name, value)?,
                "os_service" => check.os_service = self.text(name, value)?,
                "ttl" => check.ttl = time(self.nanos(name, value)?),
                "tls_server_name" => check.tls_server_name = self.text(name, value)?,
                "tls_skip_verify" => check.tls_skip_verify = self.boolean(name, value)?,
                "success_before_passing" => check.success_before_passing = self.count(name, value)?,
                "failures_before_warning" => check.failures_before_warning = Some(self.count(name, value)?),
                "failures_before_critical" => check.failures_before_critical = self.count(name, value)?,
                "deregister_critical_service_after" => {
                    check.deregister_critical_service_after = time(self.nanos(name, value)?);
                }
                "namespace" => check.namespace = self.text(name, value)?,
                "partition" => check.partition = self.text(name, value)?,
                // Known, and of no use here.
                _ => {}
            }
            Ok(())
        })?;
        match negative_size {
            Some(at) => Err(invalid(at, "Invalid check: MaxOutputMaxSize must be positive")),
            None => Ok((negative_time || check != CheckDefinition::default()).then_some(check)),
        }
    }

    /// Gives every member to `take`, by its field. `null` is as good as nothing there.
    fn members(
        self,
        value: &Value,
        fields: Fields,
        mut take: impl FnMut(&'static str, &str, &Value) -> Outcome<()>,
    ) -> Outcome<()> {
        // A request whose body is `null` is an empty one.
        if matches!(value.data, Data::Null) {
            return Ok(());
        }
        // In the order they were written: of two spellings of a field the last counts.
        let mut members: Vec<_> = self.object(value)?.into_iter().collect();
        members.sort_by_key(|(_, member)| member.at);
        for (name, member) in members {
            let Some(field) = self.find(&name, fields) else {
                return Err(self.unknown(&name, member.at, fields));
            };
            if !matches!(member.value.data, Data::Null) {
                take(field, &name, &member.value)?;
            }
        }
        Ok(())
    }

    fn find(self, name: &str, fields: Fields) -> Option<&'static str> {
        let lower = name.to_ascii_lowercase();
        fields
            .iter()
            .find(|(field, more)| {
                // A leading NUL says that the field's own name is no spelling of it.
                let own = more.first() != Some(&"\0");
                match self.origin {
                    Origin::Http => {
                        (own && *field == lower && !FILES_ONLY.contains(field)) || more.contains(&lower.as_str())
                    }
                    Origin::File => {
                        (*field == lower && !NOT_IN_FILES.contains(field))
                            || SPELLED_IN_FILES.contains(&(*field, lower.as_str()))
                    }
                }
            })
            .map(|(field, _)| *field)
    }

    fn unknown(self, name: &str, at: Position, fields: Fields) -> DefinitionError {
        let message = match self.origin {
            Origin::Http => format!("json: unknown field {name:?}"),
            Origin::File if name.eq_ignore_ascii_case("script") => {
                "invalid config key script; it was removed long ago, use args with a list of the program and its arguments"
                    .to_owned()
            }
            Origin::File => {
                let near = crate::schema::nearest(name, fields.iter().map(|(field, _)| *field));
                let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                format!("invalid config key {name}{near}")
            }
        };
        DefinitionError { at, decode: true, message }
    }

    fn object(self, value: &Value) -> Outcome<Object> {
        let object = match (self.origin, &value.data) {
            (Origin::Http, Data::Object(object)) => Some(object.clone()),
            (Origin::Http, _) => None,
            (Origin::File, _) => value.as_object(),
        };
        object.ok_or_else(|| self.shape("a block", value))
    }

    fn items<'v>(self, name: &str, value: &'v Value) -> Outcome<Vec<&'v Value>> {
        let items = match (self.origin, &value.data) {
            (Origin::Http, Data::List(items)) => Some(items.iter().collect()),
            (Origin::Http, _) => None,
            (Origin::File, _) => value.as_objects(),
        };
        items.ok_or_else(|| self.field_shape(name, "a list of blocks", value))
    }

    /// A value of a kind that is not meant.
    fn shape(self, expected: &str, value: &Value) -> DefinitionError {
        let message = match self.origin {
            Origin::Http => format!("json: cannot unmarshal {} into Go value: expected {expected}", value.kind()),
            Origin::File => format!("expected {expected}, got {}", value.kind()),
        };
        DefinitionError { at: value.at, decode: true, message }
    }

    fn field_shape(self, name: &str, expected: &str, value: &Value) -> DefinitionError {
        let message = match self.origin {
            Origin::Http => format!("json: cannot unmarshal {} into field {name}: expected {expected}", value.kind()),
            Origin::File => format!("{name}: expected {expected}, got {}", value.kind()),
        };
        DefinitionError { at: value.at, decode: true, message }
    }

    /// Requests are told in Go's words what does not fit, files in plain ones.
    fn read<T>(
        self,
        name: &str,
        value: &Value,
        expected: &str,
        strict: Option<T>,
        in_file: fn(&Value) -> Result<T, String>,
    ) -> Outcome<T> {
        match self.origin {
            Origin::Http => strict.ok_or_else(|| self.field_shape(name, expected, value)),
            Origin::File => in_file(value).map_err(|message| DefinitionError {
                at: value.at,
                decode: true,
                message: format!("{name}: {message}"),
            }),
        }
    }

    fn text(self, name: &str, value: &Value) -> Outcome<String> {
        let strict = match &value.data {
            Data::String(text) => Some(text.clone()),
            _ => None,
        };
        self.read(name, value, "string", strict, weak::text)
    }

    /// In lists and maps of requests `null` is the empty text.
    fn text_or_null(self, name: &str, value: &Value) -> Outcome<String> {
        match (self.origin, &value.data) {
            (Origin::Http, Data::Null) => Ok(String::new()),
            _ => self.text(name, value),
        }
    }

    fn boolean(self, name: &str, value: &Value) -> Outcome<bool> {
        let strict = match value.data {
            Data::Bool(b) => Some(b),
            _ => None,
        };
        self.read(name, value, "bool", strict, weak::boolean)
    }

    fn integer(self, name: &str, value: &Value) -> Outcome<i64> {
        let strict = match value.data {
            Data::Int(n) => Some(n),
            _ => None,
        };
        self.read(name, value, "int", strict, weak::integer)
    }

    fn count(self, name: &str, value: &Value) -> Outcome<u32> {
        u32::try_from(self.integer(name, value)?)
            .map_err(|_| self.field_shape(name, "a count of 0 to 4294967295", value))
    }

    fn port(self, name: &str, value: &Value) -> Outcome<u16> {
        let port = self.integer(name, value)?;
        u16::try_from(port).map_err(|_| invalid(value.at, format!("Invalid {name}: {port} is not between 0 and 65535")))
    }

    /// A duration in nanoseconds.
    fn nanos(self, name: &str, value: &Value) -> Outcome<i64> {
        match (self.origin, &value.data) {
            (Origin::Http, Data::Int(nanos)) => Ok(*nanos),
            // Beyond what an i64 holds the cast saturates.
            #[allow(clippy::cast_possible_truncation)]
            (Origin::Http, Data::Float(nanos)) => Ok(*nanos as i64),
            (Origin::Http, Data::String(text)) => duration::parse_nanos(text).map_err(|error| DefinitionError {
                at: value.at,
                decode: true,
                message: error.to_string(),
            }),
            // A request may hold anything there, and means nothing by it.
            (Origin::Http, _) => Ok(0),
            (Origin::File, _) => self.read(name, value, "duration", None, weak::nanos),
        }
    }

    fn texts(self, name: &str, value: &Value) -> Outcome<Vec<String>> {
        match (self.origin, &value.data) {
            (Origin::Http, Data::List(items)) => items.iter().map(|item| self.text_or_null(name, item)).collect(),
            _ => self.read(name, value, "a list of strings", None, weak::texts),
        }
    }

    fn pairs(self, name: &str, value: &Value) -> Outcome<BTreeMap<String, String>> {
        let object = self.object(value).map_err(|_| self.field_shape(name, "a block", value))?;
        object.into_iter().map(|(key, member)| Ok((key, self.text_or_null(name, &member.value)?))).collect()
    }

    fn headers(self, name: &str, value: &Value) -> Outcome<BTreeMap<String, Vec<String>>> {
        let object = self.object(value).map_err(|_| self.field_shape(name, "a block", value))?;
        object.into_iter().map(|(key, member)| Ok((key, self.texts(name, &member.value)?))).collect()
    }

    fn addresses(self, name: &str, value: &Value) -> Outcome<BTreeMap<String, ServiceAddress>> {
        let object = self.object(value).map_err(|_| self.field_shape(name, "a block", value))?;
        let mut all = BTreeMap::new();
        for (key, member) in object {
            let mut address = ServiceAddress::default();
            self.members(&member.value, &[("address", &[]), ("port", &[])], |field, name, value| {
                match field {
                    "address" => address.address = self.text(name, value)?,
                    _ => address.port = self.port(name, value)?,
                }
                Ok(())
            })?;
            all.insert(key, address);
        }
        Ok(all)
    }

    fn ports(self, name: &str, value: &Value) -> Outcome<Vec<ServicePort>> {
        let mut all = Vec::new();
        for item in self.items(name, value)? {
            let mut port = ServicePort::default();
            self.members(item, &[("default", &[]), ("name", &[]), ("port", &[])], |field, name, value| {
                match field {
                    "default" => port.default = self.boolean(name, value)?,
                    "name" => port.name = self.text(name, value)?,
                    _ => port.port = self.port(name, value)?,
                }
                Ok(())
            })?;
            all.push(port);
        }
        Ok(all)
    }

    fn weights(self, value: &Value) -> Outcome<Weights> {
        // Only what is given counts: a missing weight is 0 over HTTP, and 1 in files.
        let missing = if self.origin == Origin::File { 1 } else { 0 };
        let mut weights = Weights { passing: missing, warning: missing };
        self.members(value, &[("passing", &[]), ("warning", &[])], |field, name, value| {
            let weight = self.integer(name, value)?;
            if field == "passing" {
                let weight = u32::try_from(weight.max(0)).unwrap_or(u32::MAX);
                weights.passing = weight;
            } else {
                let refused = || invalid(value.at, "Invalid Weights: Warning must be greater or equal than 0");
                weights.warning = u32::try_from(weight.min(u32::MAX.into())).map_err(|_| refused())?;
            }
            Ok(())
        })?;
        Ok(weights)
    }

    fn connect(self, value: &Value) -> Outcome<Connect> {
        let mut connect = Connect::default();
        let fields: Fields = &[("native", &[]), ("sidecar_service", &["sidecarservice"])];
        self.members(value, fields, |field, name, value| {
            match field {
                "native" => connect.native = self.boolean(name, value)?,
                _ => {
                    // Read for its faults; what it lacks comes from the service, once that is registered.
                    decode_service(value, self.origin)?;
                    connect.sidecar_service = self.free(value, false);
                }
            }
            Ok(())
        })?;
        Ok(connect)
    }

    fn proxy(self, value: &Value) -> Outcome<Proxy> {
        let mut proxy = Proxy::default();
        self.members(value, PROXY, |field, name, value| {
            match field {
                "destination_service_name" => proxy.destination_service_name = self.text(name, value)?,
                "destination_service_id" => proxy.destination_service_id = self.text(name, value)?,
                "local_service_address" => proxy.local_service_address = self.text(name, value)?,
                "local_service_port" => proxy.local_service_port = self.port(name, value)?,
                "config" => {
                    proxy.config = Some(self.free(value, false)).filter(|text| text != "{}").unwrap_or_default();
                }
                "upstreams" => proxy.upstreams = proxy::upstreams(value, self.origin)?,
                "mesh_gateway" => proxy.mesh_gateway = proxy::mesh_gateway(value, self.origin)?,
                "expose" => proxy.expose = proxy::expose(value, self.origin)?,
                "mode" => proxy.mode = self.text(name, value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(proxy)
    }

    /// Free-form parts, as JSON text. In files a block is a list of one object, which is taken apart where no list is meant.
    fn free(self, value: &Value, list: bool) -> String {
        match self.origin {
            Origin::Http => value.to_json(),
            Origin::File => flatten(value, list).to_json(),
        }
    }
}

/// Blocks as single objects, except under the names that hold lists.
pub(crate) fn flatten(value: &Value, list: bool) -> Value {
    const LISTS: &[&str] = &["upstreams", "checks", "paths", "listeners", "services", "envoyextensions", "ports"];
    let data = match &value.data {
        Data::Object(object) => {
            let mut object = object.clone();
            for (name, member) in &mut object {
                let list = LISTS.contains(&name.to_ascii_lowercase().replace('_', "").as_str());
                member.value = flatten(&member.value, list);
            }
            Data::Object(object)
        }
        Data::List(items) => match items.as_slice() {
            [only] if !list && matches!(only.data, Data::Object(_)) => return flatten(only, false),
            items => Data::List(items.iter().map(|item| flatten(item, false)).collect()),
        },
        other => other.clone(),
    };
    Value { data, at: value.at }
}

fn invalid(at: Position, message: impl Into<String>) -> DefinitionError {
    DefinitionError { at, decode: false, message: message.into() }
}
