//! Which selectors a filter may name on which list, and what they yield.

/// What a selector yields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A truth value.
    Bool,
    /// A list of texts.
    Texts,
    /// Texts by name; names are part of the selector.
    Map,
    /// Members.
    Record(Schema),
    /// A list of rows; a condition holds if it holds for any of them.
    Records(Schema),
    /// Rows by name.
    RecordMap(Schema),
}

/// Names and what they yield.
pub(crate) type Schema = &'static [(&'static str, Kind)];

use Kind::{Bool, Map, Number, Record, RecordMap, Records, Text, Texts};

/// `/v1/catalog/nodes`
pub(crate) const NODE: Schema =
    &[("Address", Text), ("Datacenter", Text), ("ID", Text), ("Meta", Map), ("Node", Text), ("TaggedAddresses", Map)];

const ADDRESS: Schema = &[("Address", Text), ("Port", Number)];
const WEIGHTS: Schema = &[("Passing", Number), ("Warning", Number)];
const CONNECT: Schema = &[("Native", Bool)];
const GATEWAY: Schema = &[("Mode", Text)];
const UPSTREAM: Schema = &[
    ("Datacenter", Text),
    ("DestinationName", Text),
    ("DestinationNamespace", Text),
    ("DestinationType", Text),
    ("LocalBindAddress", Text),
    ("LocalBindPort", Number),
    ("MeshGateway", Record(GATEWAY)),
];
const EXPOSE_PATH: Schema = &[
    ("ListenerPort", Number),
    ("LocalPathPort", Number),
    ("ParsedFromCheck", Bool),
    ("Path", Text),
    ("Protocol", Text),
];
const EXPOSE: Schema = &[("Checks", Bool), ("Paths", Records(EXPOSE_PATH))];
const PROXY: Schema = &[
    ("DestinationServiceID", Text),
    ("DestinationServiceName", Text),
    ("Expose", Record(EXPOSE)),
    ("LocalServiceAddress", Text),
    ("LocalServicePort", Number),
    ("MeshGateway", Record(GATEWAY)),
    ("Mode", Text),
    ("Upstreams", Records(UPSTREAM)),
];

/// `/v1/catalog/node/:node`, `/v1/agent/services`
pub(crate) const SERVICE: Schema = &[
    ("Address", Text),
    ("Connect", Record(CONNECT)),
    ("EnableTagOverride", Bool),
    ("ID", Text),
    ("Kind", Text),
    ("Meta", Map),
    ("Port", Number),
    ("Proxy", Record(PROXY)),
    ("Service", Text),
    ("SocketPath", Text),
    ("TaggedAddresses", RecordMap(ADDRESS)),
    ("Tags", Texts),
    ("Weights", Record(WEIGHTS)),
];

/// `/v1/catalog/service/:service`, `/v1/catalog/services`
pub(crate) const SERVICE_NODE: Schema = &[
    ("Address", Text),
    ("Datacenter", Text),
    ("ID", Text),
    ("Node", Text),
    ("NodeMeta", Map),
    ("ServiceAddress", Text),
    ("ServiceConnect", Record(CONNECT)),
    ("ServiceEnableTagOverride", Bool),
    ("ServiceID", Text),
    ("ServiceKind", Text),
    ("ServiceMeta", Map),
    ("ServiceName", Text),
    ("ServicePort", Number),
    ("ServiceProxy", Record(PROXY)),
    ("ServiceSocketPath", Text),
    ("ServiceTaggedAddresses", RecordMap(ADDRESS)),
    ("ServiceTags", Texts),
    ("ServiceWeights", Record(WEIGHTS)),
    ("TaggedAddresses", Map),
];

/// `/v1/health/{node,checks,state}`, `/v1/agent/checks`
pub(crate) const CHECK: Schema = &[
    ("CheckID", Text),
    ("Name", Text),
    ("Node", Text),
    ("Notes", Text),
    ("Output", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("Status", Text),
    ("Type", Text),
];

/// `/v1/health/service/:service`, `/v1/internal/ui/services`
pub(crate) const INSTANCE: Schema = &[("Checks", Records(CHECK)), ("Node", Record(NODE)), ("Service", Record(SERVICE))];

/// `/v1/agent/members`
pub(crate) const MEMBER: Schema = &[
    ("Addr", Text),
    ("DelegateCur", Number),
    ("DelegateMax", Number),
    ("DelegateMin", Number),
    ("Name", Text),
    ("Port", Number),
    ("ProtocolCur", Number),
    ("ProtocolMax", Number),
    ("ProtocolMin", Number),
    ("Status", Number),
    ("Tags", Map),
];

/// `/v1/internal/ui/nodes`
pub(crate) const NODE_INFO: Schema = &[
    ("Address", Text),
    ("Checks", Records(CHECK)),
    ("ID", Text),
    ("Meta", Map),
    ("Node", Text),
    ("Services", Records(SERVICE)),
    ("TaggedAddresses", Map),
];
