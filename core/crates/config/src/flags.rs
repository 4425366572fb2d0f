//! The flags of `agent`: which configuration key each one sets. The command line is read elsewhere; this is the table and the overlay.

use crate::value::{Data, Member, Object, Position, Value, merge};
use alloc::string::{String, ToString};
use alloc::vec;
use thiserror::Error;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// Alone, or `=true`, `=false`.
    Switch,
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// Text, may be repeated.
    List,
    /// `key:value`, may be repeated.
    Pairs,
}

/// One flag of `agent` that sets a configuration key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without the dash.
    pub name: &'static str,
    /// The key it sets; a dot is one level.
    pub key: &'static str,
    /// What it takes.
    pub kind: FlagKind,
    /// For `-help`.
    pub help: &'static str,
}

const fn flag(name: &'static str, key: &'static str, kind: FlagKind, help: &'static str) -> Flag {
    Flag { name, key, kind, help }
}

/// All flags of `agent` except those about where to read from: `-config-file`, `-config-dir`, `-config-format`, `-hcl`.
pub static AGENT_FLAGS: &[Flag] = {
    use FlagKind::{List, Number, Pairs, Switch, Text};
    &[
        flag("advertise", "advertise_addr", Text, "Address that the others in the datacenter are told."),
        flag("advertise-wan", "advertise_addr_wan", Text, "Address that other datacenters are told."),
        flag("allow-write-http-from", "http_config.allow_write_http_from", List, "Network that may write over HTTP."),
        flag("alt-domain", "alt_domain", Text, "Second domain that DNS answers for."),
        flag("auto-reload-config", "auto_reload_config", Switch, "Reload when a configuration file changes."),
        flag("bind", "bind_addr", Text, "Address for cluster traffic."),
        flag("bootstrap", "bootstrap", Switch, "A single server that elects itself."),
        flag("bootstrap-expect", "bootstrap_expect", Number, "Elect a leader once so many servers are known."),
        flag("check_output_max_size", "check_output_max_size", Number, "Bytes of check output kept."),
        flag("client", "client_addr", Text, "Addresses for HTTP, DNS and gRPC, separated by spaces."),
        flag("data-dir", "data_dir", Text, "Folder for the agent's state."),
        flag("datacenter", "datacenter", Text, "Datacenter of this agent."),
        flag("default-query-time", "default_query_time", Text, "How long blocking queries wait unless they say."),
        flag("dev", "dev_mode", Switch, "A server in memory, alone, on loopback."),
        flag("disable-host-node-id", "disable_host_node_id", Switch, "Make a random node id."),
        flag("disable-keyring-file", "disable_keyring_file", Switch, "Keep the gossip keys in memory only."),
        flag("dns-port", "ports.dns", Number, "Port for DNS; -1 turns it off."),
        flag("domain", "domain", Text, "Domain that DNS answers for."),
        flag("enable-local-script-checks", "enable_local_script_checks", Switch, "Script checks from files."),
        flag("enable-script-checks", "enable_script_checks", Switch, "Script checks from files and over HTTP."),
        flag("encrypt", "encrypt", Text, "Gossip key in base64."),
        flag("grpc-port", "ports.grpc", Number, "Port for gRPC; -1 turns it off."),
        flag("grpc-tls-port", "ports.grpc_tls", Number, "Port for gRPC over TLS; -1 turns it off."),
        flag("http-port", "ports.http", Number, "Port for HTTP; -1 turns it off."),
        flag("https-port", "ports.https", Number, "Port for HTTPS; -1 turns it off."),
        flag("join", "start_join", List, "Old name of -retry-join."),
        flag("join-wan", "start_join_wan", List, "Old name of -retry-join-wan."),
        flag("log-file", "log_file", Text, "Also write the log to this file."),
        flag("log-json", "log_json", Switch, "One JSON object a log line."),
        flag("log-level", "log_level", Text, "trace, debug, info, warn or error."),
        flag("log-rotate-bytes", "log_rotate_bytes", Number, "Begin a new log file after so many bytes."),
        flag("log-rotate-duration", "log_rotate_duration", Text, "Begin a new log file after this time."),
        flag("log-rotate-max-files", "log_rotate_max_files", Number, "Old log files kept."),
        flag("max-query-time", "max_query_time", Text, "How long blocking queries wait at most."),
        flag("node", "node_name", Text, "Name of this node; the host name unless given."),
        flag("node-id", "node_id", Text, "UUID of this node."),
        flag("node-meta", "node_meta", Pairs, "Metadata of this node, key:value."),
        flag("non-voting-server", "non_voting_server", Switch, "Old name of -read-replica."),
        flag("partition", "partition", Text, "Admin partition of this agent."),
        flag("pid-file", "pid_file", Text, "File that receives the process id."),
        flag("primary-gateway", "primary_gateways", List, "Mesh gateway of the primary datacenter."),
        flag("protocol", "protocol", Number, "Gossip protocol version."),
        flag("raft-protocol", "raft_protocol", Number, "Raft protocol version; only 3 is known."),
        flag("read-replica", "read_replica", Switch, "Server without a vote."),
        flag("recursor", "recursors", List, "Upstream DNS server."),
        flag("rejoin", "rejoin_after_leave", Switch, "Join again after having left."),
        flag("retry-interval", "retry_interval", Text, "Time between two tries to join."),
        flag("retry-interval-wan", "retry_interval_wan", Text, "Time between two tries to join other datacenters."),
        flag("retry-join", "retry_join", List, "Member to join until it succeeds."),
        flag("retry-join-wan", "retry_join_wan", List, "Server of another datacenter to join until it succeeds."),
        flag("retry-max", "retry_max", Number, "Tries to join; 0 is without end."),
        flag("retry-max-wan", "retry_max_wan", Number, "Tries to join other datacenters; 0 is without end."),
        flag("segment", "segment", Text, "Network segment to join."),
        flag("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", List, "Network that gossip is taken from."),
        flag("serf-lan-bind", "serf_lan", Text, "Address for gossip in the datacenter."),
        flag("serf-lan-port", "ports.serf_lan", Number, "Port for gossip in the datacenter."),
        flag(
            "serf-wan-allowed-cidrs",
            "serf_wan_allowed_cidrs",
            List,
            "Network that gossip between datacenters is taken from.",
        ),
        flag("serf-wan-bind", "serf_wan", Text, "Address for gossip between datacenters."),
        flag("serf-wan-port", "ports.serf_wan", Number, "Port for gossip between datacenters; -1 turns it off."),
        flag("server", "server", Switch, "Take part in consensus."),
        flag("server-port", "ports.server", Number, "Port for the servers."),
        flag("syslog", "enable_syslog", Switch, "Also write the log to syslog."),
        flag("ui", "ui_config.enabled", Switch, "Serve the UI."),
        flag("ui-content-path", "ui_config.content_path", Text, "Path prefix of the UI."),
        flag("ui-dir", "ui_config.dir", Text, "Folder with another UI."),
    ]
};

/// A flag that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlagError {
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The value does not fit.
    #[error("invalid value {value:?} for flag -{name}: {expected}")]
    Invalid {
        /// The flag.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// The flags that were given, as configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    object: Object,
}

impl Flags {
    /// Takes one flag of [`AGENT_FLAGS`] with its value; a switch that stands alone has the value `true`. Lists and pairs add up, anything
    /// else is replaced.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), FlagError> {
        let flag = AGENT_FLAGS.iter().find(|f| f.name == name).ok_or_else(|| FlagError::Unknown(name.to_string()))?;
        let invalid = |expected| FlagError::Invalid { name: flag.name, value: value.to_string(), expected };
        let data = match flag.kind {
            FlagKind::Switch => Data::Bool(crate::weak::parse_bool(value).ok_or_else(|| invalid("true or false"))?),
            FlagKind::Text => Data::String(value.to_string()),
            FlagKind::Number => Data::Int(value.parse().map_err(|_| invalid("a whole number"))?),
            FlagKind::List => Data::List(vec![nowhere(Data::String(value.to_string()))]),
            FlagKind::Pairs => {
                let (key, value) = value.split_once(':').unwrap_or((value, ""));
                if key.is_empty() {
                    return Err(invalid("key:value"));
                }
                Data::Object(member(key, nowhere(Data::String(value.to_string()))))
            }
        };
        let object = match flag.key.split_once('.') {
            None => member(flag.key, nowhere(data)),
            Some((outer, inner)) => member(outer, nowhere(Data::Object(member(inner, nowhere(data))))),
        };
        merge(&mut self.object, object);
        Ok(())
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }
}

fn nowhere(data: Data) -> Value {
    Value { data, at: Position::default() }
}

fn member(key: &str, value: Value) -> Object {
    Object::from([(key.to_string(), Member { at: Position::default(), value })])
}
