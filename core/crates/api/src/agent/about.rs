//! The agent about itself: identity, configuration, host, metrics, logs.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

use convoke_config::config::Config;
use convoke_config::duration;

use crate::agent_view::{AgentView, Pool, Status};
use crate::call::{Answer, Call};
use crate::coordinate::measured;
use crate::json::Json;
use crate::response::{Outcome, Response};

/// `GET /v1/agent/self`
pub(crate) fn own(call: &Call<'_>) -> Answer {
    let (agent, config) = (call.ctx.agent, call.config());
    let mut json = call.json(8192);
    json.open_object();
    json.key("Config").open_object();
    json.key("Datacenter").text(&config.datacenter);
    json.key("NodeName").text(&agent.identity.node_name);
    json.key("NodeID").text(&agent.identity.node_id);
    json.key("Revision").text(&agent.identity.revision);
    json.key("Server").bool(config.server);
    // Patroni reads it here, in nanoseconds, to learn which TTL it may ask for; newer versions of Consul dropped it.
    json.key("SessionTTLMin").u64(u64::try_from(config.session_ttl_min.as_nanos()).unwrap_or(u64::MAX));
    json.key("Version").text(&agent.identity.version);
    json.close_object();
    json.key("DebugConfig").config(config, agent);
    json.key("Coord").place(&agent.lan.coordinate.as_ref().map(measured).unwrap_or_default());
    json.key("Member").member(&agent.lan.own());
    json.key("Stats");
    stats(call, &mut json);
    json.key("Meta").open_object();
    // `consul-network-segment` comes before any key that may be set, except those before `consul-` in the alphabet.
    let mut meta = config.node_meta.clone();
    meta.insert("consul-network-segment".to_string(), config.segment.clone());
    for (name, value) in &meta {
        json.key_text(name).text(value);
    }
    json.close_object();
    json.close_object();
    call.document(200, json)
}

/// This one, and those whose servers are in the pool between datacenters.
fn known_datacenters(agent: &AgentView) -> usize {
    let own = &*agent.config.datacenter;
    let of_servers = agent.wan.iter().flat_map(Pool::iter).filter_map(|member| member.tags().get("dc"));
    of_servers.chain([own]).collect::<BTreeSet<_>>().len()
}

/// What `consul info` shows: maps of texts.
fn stats(call: &Call<'_>, json: &mut Json) {
    let (agent, config) = (call.ctx.agent, call.config());
    let truth = |value: bool| if value { "true" } else { "false" }.to_string();
    let own = agent.leader.is_some_and(|leader| {
        leader.ip().to_string() == agent.identity.advertise && config.ports.server == Some(leader.port())
    });
    let ttls = agent.checks.values().filter(|check| !check.definition.ttl.is_zero()).count();
    json.open_object();
    json.key("agent").pairs([
        ("check_monitors", agent.checks.values().filter(|c| c.definition.is_script()).count().to_string()),
        ("check_ttls", ttls.to_string()),
        ("checks", agent.checks.len().to_string()),
        ("services", agent.services.len().to_string()),
    ]);
    json.key("build").pairs([
        ("prerelease", ""),
        ("revision", agent.identity.revision.as_str()),
        ("version", agent.identity.version.as_str()),
    ]);
    if config.server {
        json.key("consul").pairs([
            ("acl", if config.acl.enabled { "enabled" } else { "disabled" }.to_string()),
            ("bootstrap", truth(config.bootstrap)),
            ("known_datacenters", known_datacenters(agent).to_string()),
            ("leader", truth(own)),
            ("leader_addr", agent.leader.map_or_else(String::new, |leader| leader.to_string())),
            ("server", truth(true)),
        ]);
        let state = if own { "Leader" } else { "Follower" };
        json.key("raft").pairs([
            ("applied_index", call.ctx.view.index().to_string()),
            ("num_peers", agent.peers.len().saturating_sub(1).to_string()),
            ("protocol_version", "3".to_string()),
            ("state", state.to_string()),
        ]);
    } else {
        json.key("consul").pairs([
            ("acl", if config.acl.enabled { "enabled" } else { "disabled" }.to_string()),
            ("known_servers", agent.lan.servers().count().to_string()),
            ("server", truth(false)),
        ]);
    }
    json.key("serf_lan").pool(&agent.lan, agent.encrypted[0]);
    if let Some(wan) = &agent.wan {
        json.key("serf_wan").pool(wan, agent.encrypted[1]);
    }
    json.close_object();
}

/// `GET /v1/agent/version`
pub(crate) fn version(call: &Call<'_>) -> Answer {
    let identity = &call.ctx.agent.identity;
    let mut json = call.json(128);
    json.open_object();
    json.key("SHA").text(&identity.revision);
    json.key("BuildDate").text("1970-01-01T00:00:01Z");
    json.key("HumanVersion").text(&identity.version);
    json.key("FIPS").text("");
    json.close_object();
    call.document(200, json)
}

/// `GET /v1/agent/host`: this build asks the machine for nothing, so there is only the time.
pub(crate) fn host(call: &Call<'_>) -> Answer {
    let mut json = call.json(128);
    json.open_object();
    for name in ["Memory", "CPU", "Host", "Disk"] {
        json.key(name).null();
    }
    json.key("CollectionTime").u64(u64::try_from(call.ctx.now_unix.as_nanos()).unwrap_or(u64::MAX));
    json.key("Errors").null();
    json.close_object();
    call.document(200, json)
}

/// `GET /v1/agent/metrics`
pub(crate) fn metrics(call: &Call<'_>) -> Answer {
    let prometheus = call.params.text("format") == "prometheus";
    if prometheus && call.config().telemetry.prometheus_retention_time.is_zero() {
        return Err(Response::text(415, "Prometheus is not enabled since its retention time is not positive"));
    }
    Ok(Outcome::Metrics { prometheus, pretty: call.pretty })
}

/// `GET /v1/agent/monitor`
pub(crate) fn monitor(call: &Call<'_>) -> Answer {
    let asked = call.params.text("loglevel");
    let level = match asked.to_ascii_uppercase().as_str() {
        "TRACE" => "TRACE",
        "DEBUG" => "DEBUG",
        "" | "INFO" => "INFO",
        "WARN" => "WARN",
        "ERR" | "ERROR" => "ERR",
        _ => return Err(Response::text(400, format!("Bad request: Unknown log level: {asked}"))),
    };
    Ok(Outcome::Monitor { level, json: call.params.has("logjson") })
}

impl Json {
    /// What `consul info` shows of a pool. Queries are not Convoke's way.
    fn pool(&mut self, pool: &Pool, encrypted: bool) {
        self.pairs([
            ("coordinate_resets", pool.coordinate_resets.to_string()),
            ("encrypted", if encrypted { "true" } else { "false" }.to_string()),
            ("event_queue", "0".to_string()),
            ("event_time", pool.event_time.to_string()),
            ("failed", pool.count(Status::Failed).to_string()),
            ("health_score", pool.health_score.to_string()),
            ("intent_queue", pool.broadcasts.to_string()),
            ("left", pool.count(Status::Left).to_string()),
            ("members", pool.len().to_string()),
            ("query_queue", "0".to_string()),
            ("query_time", "1".to_string()),
        ]);
    }

    /// The configuration in force, by the names Consul shows. Secrets are hidden.
    fn config(&mut self, config: &Config, agent: &AgentView) {
        let time = duration::format;
        let port = |port: Option<u16>| port.map_or_else(|| "-1".to_string(), |port| port.to_string());
        self.open_object();
        self.key("ACLDefaultPolicy").text(if config.acl.default_allow { "allow" } else { "deny" });
        self.key("ACLEnableKeyListPolicy").bool(config.acl.enable_key_list_policy);
        self.key("ACLPolicyTTL").text(&time(config.acl.policy_ttl));
        self.key("ACLRoleTTL").text(&time(config.acl.role_ttl));
        self.key("ACLTokenReplication").bool(config.acl.enable_token_replication);
        self.key("ACLTokenTTL").text(&time(config.acl.token_ttl));
        self.key("ACLsEnabled").bool(config.acl.enabled);
        self.key("AdvertiseAddrLAN").text(&config.advertise_addr.to_string());
        self.key("AdvertiseAddrWAN").text(&config.advertise_addr_wan.to_string());
        self.key("AllowWriteHTTPFrom").texts(config.http.allow_write_http_from.iter().map(ToString::to_string));
        self.key("AutopilotCleanupDeadServers").bool(config.autopilot.cleanup_dead_servers);
        self.key("AutopilotLastContactThreshold").text(&time(config.autopilot.last_contact_threshold));
        self.key("AutopilotServerStabilizationTime").text(&time(config.autopilot.server_stabilization_time));
        self.key("BindAddr").text(&config.bind_addr.to_string());
        self.key("Bootstrap").bool(config.bootstrap);
        self.key("BootstrapExpect").u64(config.bootstrap_expect.into());
        self.key("CheckOutputMaxSize").u64(config.check_output_max_size);
        self.key("CheckUpdateInterval").text(&time(config.check_update_interval));
        self.key("ClientAddrs").texts(config.client_addrs.iter().map(ToString::to_string));
        self.key("DNSAllowStale").bool(config.dns.allow_stale);
        self.key("DNSAltDomain").text(&config.alt_domain);
        self.key("DNSDisableCompression").bool(config.dns.disable_compression);
        self.key("DNSDomain").text(&config.domain);
        self.key("DNSEnableTruncate").bool(config.dns.enable_truncate);
        self.key("DNSMaxStale").text(&time(config.dns.max_stale));
        self.key("DNSNodeMetaTXT").bool(config.dns.enable_additional_node_meta_txt);
        self.key("DNSNodeTTL").text(&time(config.dns.node_ttl));
        self.key("DNSOnlyPassing").bool(config.dns.only_passing);
        self.key("DNSPort").literal(&port(config.ports.dns));
        self.key("DNSRecursorTimeout").text(&time(config.dns.recursor_timeout));
        self.key("DNSRecursors").texts(config.recursors.iter().map(ToString::to_string));
        self.key("DNSServiceTTL").pairs(config.dns.service_ttl.iter().map(|(name, ttl)| (name, time(*ttl))));
        self.key("DNSUDPAnswerLimit").u64(config.dns.udp_answer_limit.into());
        self.key("DataDir").text(&config.data_dir);
        self.key("Datacenter").text(&config.datacenter);
        self.key("DefaultQueryTime").text(&time(config.default_query_time));
        self.key("DevMode").bool(config.dev_mode);
        self.key("DisableCoordinates").bool(config.disable_coordinates);
        self.key("DisableRemoteExec").bool(config.disable_remote_exec);
        self.key("DisableUpdateCheck").bool(config.disable_update_check);
        self.key("DiscardCheckOutput").bool(config.discard_check_output);
        self.key("EnableDebug").bool(config.enable_debug);
        self.key("EnableLocalScriptChecks").bool(config.enable_local_script_checks);
        self.key("EnableRemoteScriptChecks").bool(config.enable_script_checks);
        self.key("EnableUI").bool(config.ui.enabled);
        self.key("EncryptKey").text("hidden");
        self.key("EncryptVerifyIncoming").bool(config.encrypt_verify_incoming);
        self.key("EncryptVerifyOutgoing").bool(config.encrypt_verify_outgoing);
        self.key("HTTPBlockEndpoints").texts(&config.http.block_endpoints);
        self.key("HTTPMaxConnsPerClient").u64(config.limits.http_max_conns_per_client.into());
        self.key("HTTPPort").literal(&port(config.ports.http));
        self.key("HTTPResponseHeaders").pairs(&config.http.response_headers);
        self.key("HTTPSPort").literal(&port(config.ports.https));
        self.key("HTTPUseCache").bool(config.http.use_cache);
        self.key("KVMaxValueSize").u64(config.limits.kv_max_value_size);
        self.key("LeaveDrainTime").text(&time(config.performance.leave_drain_time));
        self.key("LeaveOnTerm").bool(config.leave_on_terminate);
        self.key("Logging").open_object();
        self.key("EnableSyslog").bool(config.log.enable_syslog);
        self.key("LogFilePath").text(&config.log.file);
        self.key("LogJSON").bool(config.log.json);
        self.key("LogLevel").text(config.log.level.as_str());
        self.close_object();
        self.key("MaxQueryTime").text(&time(config.max_query_time));
        self.key("NodeID").text(&agent.identity.node_id);
        self.key("NodeMeta").pairs(&config.node_meta);
        self.key("NodeName").text(&config.node_name);
        self.key("PidFile").text(&config.pid_file);
        self.key("PrimaryDatacenter").text(&config.primary_datacenter);
        self.key("RPCHoldTimeout").text(&time(config.performance.rpc_hold_timeout));
        self.key("ReconnectTimeoutLAN").text(&time(config.reconnect_timeout));
        self.key("ReconnectTimeoutWAN").text(&time(config.reconnect_timeout_wan));
        self.key("RejoinAfterLeave").bool(config.rejoin_after_leave);
        self.key("Revision").text(&agent.identity.revision);
        self.key("SegmentName").text(&config.segment);
        self.key("SerfPortLAN").literal(&port(config.ports.serf_lan));
        self.key("SerfPortWAN").literal(&port(config.ports.serf_wan));
        self.key("ServerMode").bool(config.server);
        self.key("ServerName").text(&config.tls.server_name);
        self.key("ServerPort").literal(&port(config.ports.server));
        self.key("SessionTTLMin").text(&time(config.session_ttl_min));
        self.key("SkipLeaveOnInt").bool(config.skip_leave_on_interrupt);
        self.key("TaggedAddresses").pairs(&config.tagged_addresses);
        self.key("Telemetry").open_object();
        self.key("DisableHostname").bool(config.telemetry.disable_hostname);
        self.key("FilterDefault").bool(config.telemetry.filter_default);
        self.key("MetricsPrefix").text(&config.telemetry.metrics_prefix);
        self.key("PrometheusRetentionTime").text(&time(config.telemetry.prometheus_retention_time));
        self.close_object();
        self.key("TranslateWANAddrs").bool(config.translate_wan_addrs);
        self.key("TxnMaxReqLen").u64(config.limits.txn_max_req_len);
        self.key("UIContentPath").text(&config.ui.content_path);
        self.key("UIDir").text(&config.ui.dir);
        self.key("Version").text(&agent.identity.version);
        self.close_object();
    }
}
