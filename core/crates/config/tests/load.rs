//! Sources in, configuration or diagnostics out.

use convoke_config::definition::ServiceAddress;
use convoke_config::watch::{WatchDefinition, WatchHandler, Watched};
use convoke_config::{
    Config, Diagnostic, Environment, Flags, Format, Interface, ListenAddr, Loaded, LogLevel, Source, TlsVersion, load,
};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

fn interface(name: &str, addresses: &[(&str, u8)]) -> Interface {
    Interface {
        name: name.into(),
        addresses: addresses.iter().map(|(ip, prefix)| (ip.parse().unwrap(), *prefix)).collect(),
        up: true,
        loopback: name == "lo",
        default_route: name == "eth0",
        ..Interface::default()
    }
}

fn machine() -> Environment {
    Environment {
        hostname: "box".into(),
        interfaces: vec![interface("lo", &[("127.0.0.1", 8)]), interface("eth0", &[("10.0.0.5", 24), ("fe80::1", 64)])],
    }
}

fn file(name: &str, text: &str) -> Source {
    Source::File { name: name.into(), format: Format::of_file(name).unwrap(), text: text.into() }
}

fn flags(all: &[(&str, &str)]) -> Source {
    let mut flags = Flags::default();
    for (name, value) in all {
        flags.set(name, value).unwrap();
    }
    Source::Flags(flags)
}

fn run(sources: &[Source]) -> Result<Loaded, Vec<String>> {
    load(sources, &machine()).map_err(|all| all.iter().map(Diagnostic::to_string).collect())
}

/// What an agent says that does not start with these.
fn refused(sources: &[Source], env: &Environment) -> Vec<String> {
    let all = load(sources, env).map_or_else(|errors| errors, |loaded| loaded.refusals);
    all.iter().map(Diagnostic::to_string).collect()
}

/// A text on top of what every agent needs.
fn hcl(text: &str) -> Result<Loaded, Vec<String>> {
    run(&[flags(&[("data-dir", "/d"), ("bind", "127.0.0.1")]), file("a.hcl", text)])
}

fn config(text: &str) -> Config {
    hcl(text).unwrap_or_else(|e| panic!("{text}: {e:?}")).config
}

fn warnings(text: &str) -> Vec<String> {
    hcl(text).unwrap_or_else(|e| panic!("{text}: {e:?}")).warnings.iter().map(Diagnostic::to_string).collect()
}

#[test]
fn client_agent_without_anything_but_a_folder() {
    let loaded = run(&[flags(&[("data-dir", "/d")])]).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    let expected = Config {
        node_name: "box".into(),
        data_dir: "/d".into(),
        advertise_addr: "10.0.0.5".parse().unwrap(),
        advertise_addr_wan: "10.0.0.5".parse().unwrap(),
        tagged_addresses: ["lan", "lan_ipv4", "wan", "wan_ipv4"]
            .map(|name| (name.to_string(), "10.0.0.5".to_string()))
            .into(),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn dev_agent() {
    let config = run(&[flags(&[("dev", "true")])]).unwrap().config;
    assert!(config.dev_mode && config.server && config.ui.enabled && config.enable_debug);
    assert!(!config.leave_on_terminate && config.skip_leave_on_interrupt);
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.bind_addr, "127.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(config.advertise_addr, config.bind_addr);
    assert_eq!(config.ports.grpc, Some(8502));
    assert_eq!(config.tagged_addresses["wan_ipv4"], "127.0.0.1");
    // Files and flags win over the defaults of this mode.
    let config = run(&[flags(&[("dev", "true"), ("log-level", "warn"), ("grpc-port", "-1")])]).unwrap().config;
    assert_eq!((config.log.level, config.ports.grpc), (LogLevel::Warn, None));
}

#[test]
fn files_and_flags_are_merged() {
    let config = run(&[
        file(
            "10.json",
            r#"{"data_dir": "/a", "datacenter": "one", "node_meta": {"a": "1", "b": "1"}, "recursors": ["1.1.1.1"]}"#,
        ),
        flags(&[("datacenter", "flag"), ("recursor", "9.9.9.9:5300"), ("node-meta", "c:3:x"), ("bind", "127.0.0.1")]),
        file("20.hcl", "data_dir = \"/b\"\nnode_meta { b = \"2\" }\nrecursors = [\"2.2.2.2\"]\nports { http = 1 }"),
        file("30.hcl", "ports { dns = 2 https = 3 }"),
        Source::Fragment("datacenter = \"FRAGMENT\"\nhttp_config { response_headers { X = \"y\" } }".into()),
    ])
    .unwrap()
    .config;
    assert_eq!(config.data_dir, "/b");
    assert_eq!(config.datacenter, "fragment");
    assert_eq!(config.primary_datacenter, "fragment");
    let meta: Vec<_> = config.node_meta.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(meta, ["a=1", "b=2", "c=3:x"]);
    let recursors: Vec<_> = config.recursors.iter().map(ToString::to_string).collect();
    assert_eq!(recursors, ["9.9.9.9:5300", "1.1.1.1:53", "2.2.2.2:53"]);
    assert_eq!((config.ports.http, config.ports.dns, config.ports.https), (Some(1), Some(2), Some(3)));
    assert_eq!(config.http.response_headers["X"], "y");
}

#[test]
fn services_and_checks_in_all_forms() {
    let config = run(&[
        flags(&[("data-dir", "/d"), ("bind", "127.0.0.1")]),
        file("10-a.json", r#"{"service": {"name": "a", "port": 1, "check": {"id": "a-c", "name": "A check", "ttl": "1h", "status": "failing"}}}"#),
        file("20-b.hcl", "services = [\n { name = \"b\" port = 2 },\n { name = \"c\" id = \"c-9\" port = 3 tags = [\"x\"] }\n]\n"),
        file("30-checks.json", r#"{"check": {"id": "mem", "name": "memory", "ttl": "1h", "notes": "node check"}}"#),
        file("40.hcl", "checks = [ { id = \"svc-c\" name = \"for a\" service_id = \"a\" ttl = \"30m\" } ]"),
        file("50.hcl", "service {\n name = \"redis\"\n id = \"redis-1\"\n meta { env = \"prod\" }\n weights { passing = 5 warning = 2 }\n \
              enable_tag_override = true\n tagged_addresses { lan { address = \"1.2.3.4\" port = 5 } }\n \
              checks = [{ ttl = \"1h\" }, { http = \"http://x/\" interval = \"10s\" header { A = [\"b\"] } DeregisterCriticalServiceAfter = \"90m\" }]\n}\n\
              services { name = \"d\" Tags = [\"one\"] Port = 80 }"),
    ])
    .unwrap()
    .config;
    let names: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "redis", "d"]);
    let checks: Vec<_> = config.checks.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(checks, ["mem", "svc-c"]);
    assert_eq!(config.services[0].checks[0].status, "failing");
    let redis = &config.services[3];
    assert_eq!(redis.meta["env"], "prod");
    assert_eq!(redis.weights.map(|w| (w.passing, w.warning)), Some((5, 2)));
    assert!(redis.enable_tag_override);
    assert_eq!(redis.tagged_addresses["lan"], ServiceAddress { address: "1.2.3.4".into(), port: 5 });
    assert_eq!(redis.checks[0].ttl, Duration::from_secs(3600));
    assert_eq!(redis.checks[1].header["A"], ["b"]);
    assert_eq!(redis.checks[1].deregister_critical_service_after, Duration::from_secs(5400));
    assert_eq!((config.services[4].tags.as_slice(), config.services[4].port), (&["one".to_string()][..], 80));
}

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    for (text, message) in [
        ("service { port = }", "a.hcl:1: Unknown token: RBRACE"),
        ("data_dir = \n", "a.hcl:2: Unknown token: EOF"),
        ("\n\nbogus_key = 1", "a.hcl:3: invalid config key bogus_key"),
        ("datacentre = \"x\"", "a.hcl:1: invalid config key datacentre; did you mean \"datacenter\"?"),
        ("ports {\n htttp = 1 }", "a.hcl:2: invalid config key ports.htttp; did you mean \"http\"?"),
        ("server = \"maybe\"", "a.hcl:1: server: expected true or false, got the text \"maybe\""),
        ("ports = 5", "a.hcl:1: ports: expected a block, got number"),
        ("recursors = [[]]", "a.hcl:1: recursors: expected a text, got an array"),
        ("node_meta = 1", "a.hcl:1: node_meta: expected a block, got number"),
        ("check_update_interval = \"5\"", "a.hcl:1: check_update_interval: time: missing unit in duration \"5\""),
        (
            "dns_config { service_ttl { web = \"x\" } }",
            "a.hcl:1: dns_config.service_ttl: web: time: invalid duration \"x\"",
        ),
        (
            "ports { http = 123456 }",
            "a.hcl:1: ports.http: invalid port: 123456 is not from 1 to 65535 (or -1 to turn it off)",
        ),
        ("ports { http = 8600 }", "a.hcl:1: HTTP address 127.0.0.1:8600 already configured for DNS"),
        (
            "ports { serf_lan = -1 }",
            "a.hcl:1: ports.serf_lan: cannot be turned off; it must be a valid port from 1 to 65535",
        ),
        (
            "node_meta { consul-x = \"1\" }",
            "a.hcl:1: node_meta: Failed to parse node metadata: Couldn't load metadata pair ('consul-x', '1'): Key prefix 'consul-' is reserved for internal use",
        ),
        (
            "check { name = \"x\" ttl = \"1s\" tll = \"1s\" }",
            "a.hcl:1: check: invalid config key tll; did you mean \"ttl\"?",
        ),
        (
            "check { name = \"x\" script = \"true\" }",
            "a.hcl:1: check: invalid config key script; it was removed long ago, use args with a list of the program and its arguments",
        ),
        ("check { name = \"x\" ttl = \"soon\" }", "a.hcl:1: check: ttl: time: invalid duration \"soon\""),
        (
            "service {\n name = \"x\"\n port = 70000\n}",
            "a.hcl:3: service: Invalid port: 70000 is not between 0 and 65535",
        ),
        ("dev_mode = true", "a.hcl:1: invalid config key dev_mode"),
        ("services = [1]", "a.hcl:1: services: expected a list of blocks, got array"),
        (
            "datacenter = \"dc one\"",
            "a.hcl:1: datacenter \"dc one\" is invalid: it must be alphanumeric with underscores and hyphens only",
        ),
        ("datacenter = \"\"", "a.hcl:1: datacenter cannot be empty"),
        ("bootstrap = true", "a.hcl:1: 'bootstrap = true' requires 'server = true'"),
        ("bootstrap_expect = 3", "a.hcl:1: 'bootstrap_expect > 0' requires 'server = true'"),
        ("bootstrap_expect = -3", "a.hcl:1: bootstrap_expect: cannot be -3. Must be greater than or equal to zero"),
        (
            "server = true\nbootstrap = true\nbootstrap_expect = 3",
            "a.hcl:2: 'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        ),
        ("advertise_addr = \"0.0.0.0\"", "a.hcl:1: advertise_addr cannot be 0.0.0.0, :: or [::]"),
        ("advertise_addr = \"localhost\"", "a.hcl:1: advertise_addr: \"localhost\" is no IP address"),
        ("client_addr = \"\"", "a.hcl:1: client_addr cannot be empty"),
        ("client_addr = \"unix:///x\"", "a.hcl:1: client_addr cannot be a unix socket"),
        ("addresses { dns = \"unix:///x\" }", "a.hcl:1: addresses.dns cannot be a unix socket"),
        ("recursors = [\"0.0.0.0\"]", "a.hcl:1: DNS recursor address cannot be 0.0.0.0, :: or [::]"),
        (
            "recursors = [\"dns.example\"]",
            "a.hcl:1: recursors: \"dns.example\" is neither an IP address nor one with a port",
        ),
        ("domain = \"a b\"", "a.hcl:1: domain: \"a b\" is no domain name"),
        ("node_id = \"x\"", "a.hcl:1: node_id: \"x\" is no UUID"),
        ("node_name = \"a\\nb\"", "a.hcl:1: node_name: must not hold control characters nor be longer than 255 bytes"),
        (
            "check_output_max_size = 0",
            "a.hcl:1: check_output_max_size: must be positive, to discard check output use the discard_check_output flag",
        ),
        (
            "dns_config { udp_answer_limit = -1 }",
            "a.hcl:1: dns_config.udp_answer_limit: cannot be -1. Must be greater than or equal to zero",
        ),
        (
            "dns_config { recursor_strategy = \"x\" }",
            "a.hcl:1: dns_config.recursor_strategy: \"x\" is none of sequential, random",
        ),
        ("log_level = \"loud\"", "a.hcl:1: log_level: invalid log level \"loud\": TRACE, DEBUG, INFO, WARN or ERROR"),
        (
            "http_config { allow_write_http_from = [\"10.0.0.0\"] }",
            "a.hcl:1: http_config.allow_write_http_from: \"10.0.0.0\" is no network in CIDR notation, such as 10.0.0.0/8",
        ),
        (
            "http_config { response_headers { \"a b\" = \"x\" } }",
            "a.hcl:1: http_config.response_headers: \"a b\" cannot be sent as an HTTP header",
        ),
        (
            "performance { raft_multiplier = 11 }",
            "a.hcl:1: performance.raft_multiplier: cannot be 11. Must be between 1 and 10",
        ),
        (
            "reconnect_timeout = \"1h\"",
            "a.hcl:1: reconnect_timeout: must be at least 8h, so that a restart or a repair is not taken for the end of a node",
        ),
        ("unix_sockets { mode = \"rw\" }", "a.hcl:1: unix_sockets.mode: must be octal, such as 0770"),
        ("acl { default_policy = \"maybe\" }", "a.hcl:1: acl.default_policy: \"maybe\" is none of allow, deny"),
        (
            "bind_addr = \"{{ GetNothing }}\"",
            "a.hcl:1: bind_addr: template \"{{ GetNothing }}\": unknown function \"GetNothing\" at the beginning of a pipeline",
        ),
    ] {
        // A file's value is overridden by the flag, so the folder and the address are given by file here.
        let base = "data_dir = \"/d\"\n";
        let bind = if text.contains("bind_addr") { "" } else { "bind_addr = \"127.0.0.1\"\n" };
        let errors = refused(&[file("base.hcl", &format!("{base}{bind}")), file("a.hcl", text)], &machine());
        assert_eq!(errors, [message], "{text}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let errors =
        run(&[file("b.json", "{ broken"), file("c.json", "{\"bogus\": 1,\n\"server\": []}"), file("a.json", "[]")])
            .unwrap_err();
    assert_eq!(
        errors,
        [
            "data_dir cannot be empty; set it, or give -data-dir, or try -dev",
            "a.json:1: a configuration is an object, not array",
            "b.json:1: invalid character 'b' looking for beginning of object key string",
            "c.json:1: invalid config key bogus",
            "c.json:2: server: expected true or false, got an array",
        ]
    );
}

#[test]
fn what_validate_accepts_and_no_agent_starts_with() {
    let loaded = hcl(
        "checks { name = \"x\" }\nchecks { ttl = \"1s\" }\nservices { port = 1 }\nservices { name = \"x\" address = \"0.0.0.0\" }\n\
         services { name = \"y\" checks = [{ http = \"http://x\" }, { ttl = \"1s\" }] }\nencrypt = \"dG9vc2hvcnQ=\"",
    )
    .unwrap();
    let said: Vec<_> = loaded.refusals.iter().map(Diagnostic::to_string).collect();
    assert_eq!(
        said,
        [
            "a.hcl:1: check \"x\": Invalid check: TTL must be > 0 for TTL checks",
            "a.hcl:2: check \"\": Missing check name",
            "a.hcl:3: service \"\": Missing service name",
            "a.hcl:5: service \"y\": Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
            "a.hcl:6: encrypt: has invalid key: it must be 16, 24 or 32 bytes in base64; make one with keygen",
        ]
    );
}

#[test]
fn a_file_full_of_unknown_keys_is_refused_quickly() {
    let text: String = (0..20_000).map(|i| format!("nod_name{i} = 1\n")).collect();
    let errors = hcl(&text).unwrap_err();
    assert_eq!(errors.len(), 20_000);
    assert!(errors.iter().filter(|e| e.contains("did you mean")).count() <= 50);
}

#[test]
fn flags_are_validated_together() {
    for (given, message) in [
        (&[("dev", "true"), ("datacenter", "DC_%")][..], "must be alphanumeric"),
        (
            &[("server", "true"), ("bootstrap", "true"), ("bootstrap-expect", "3"), ("data-dir", "/d")],
            "mutually exclusive",
        ),
        (&[("dev", "true"), ("bootstrap-expect", "3")], "not allowed in dev mode"),
        (&[("data-dir", "")], "data_dir cannot be empty"),
    ] {
        let errors = run(&[flags(given)]).unwrap_err();
        assert!(errors.iter().any(|e| e.contains(message)), "{given:?}: {errors:?}");
    }
    let mut flags = Flags::default();
    for (name, value, message) in [
        ("nosuchflag", "", "flag provided but not defined: -nosuchflag"),
        ("http-port", "x", "invalid value \"x\" for flag -http-port: a whole number"),
        ("server", "maybe", "invalid value \"maybe\" for flag -server: true or false"),
        ("node-meta", ":x", "invalid value \":x\" for flag -node-meta: key:value"),
    ] {
        assert_eq!(flags.set(name, value).unwrap_err().to_string(), message);
    }
}

#[test]
fn every_flag_sets_a_known_key() {
    for flag in convoke_config::flags::AGENT_FLAGS {
        use convoke_config::flags::FlagKind::{List, Number, Pairs, Switch, Text};
        let value = match flag.kind {
            Switch => "true",
            Text => "127.0.0.1",
            Number => "3",
            List => "x",
            Pairs => "a:b",
        };
        let errors = run(&[flags(&[(flag.name, value)])]).err().unwrap_or_default();
        assert!(!errors.iter().any(|e| e.contains("invalid config key")), "{}: {errors:?}", flag.name);
    }
}

#[test]
fn old_names_are_taken_and_named() {
    let config = config(
        "start_join = [\"a\"]\nretry_join = [\"b\"]\nui = true\nacl_datacenter = \"dc9\"\ncert_file = \"c\"\n\
         verify_incoming_rpc = true\ntls { https { cert_file = \"h\" } }\nacl { tokens { master = \"m\" } }\n\
         tls_min_version = \"tls11\"",
    );
    let mut joins = config.retry_join.addresses.clone();
    joins.sort();
    assert_eq!(joins, ["a", "b"]);
    assert!(config.ui.enabled);
    assert_eq!(config.primary_datacenter, "dc9");
    assert_eq!((config.tls.https.cert_file.as_str(), config.tls.internal_rpc.cert_file.as_str()), ("h", "c"));
    assert!(config.tls.internal_rpc.verify_incoming && !config.tls.https.verify_incoming);
    assert_eq!(config.tls.grpc.min_version, TlsVersion::V1_2);
    assert_eq!(config.acl.tokens.initial_management, "m");
    let both = "acl { tokens { default = \"new\" } }\nacl_token = \"old\"";
    assert_eq!(self::config(both).acl.tokens.default, "new");
    assert_eq!(
        warnings("ui = true\nreap = false"),
        [
            "a.hcl:1: the ui field is deprecated; use ui_config.enabled instead",
            "a.hcl:2: the reap field is obsolete and does nothing",
        ]
    );
}

#[test]
fn what_has_no_effect_is_named_once() {
    let text = "segments = []\nsegments = []\nautopilot { redundancy_zone_tag = \"z\" }\nlog_json = true";
    let loaded = hcl(text).unwrap();
    assert_eq!(loaded.config.without_effect, ["autopilot.redundancy_zone_tag", "segments"]);
    let said: Vec<_> = loaded.warnings.iter().map(Diagnostic::to_string).collect();
    assert_eq!(
        said,
        [
            "a.hcl:1: segments has no effect in this version",
            "a.hcl:3: autopilot.redundancy_zone_tag has no effect in this version",
        ]
    );
}

#[test]
fn gossip_that_would_only_burn_a_core_is_refused() {
    assert!(hcl("gossip_lan { probe_interval = \"10ms\" suspicion_mult = 1 }").unwrap().refusals.is_empty());
    for text in ["probe_interval = \"1ms\"", "gossip_interval = \"0s\"", "suspicion_mult = 0", "retransmit_mult = 0"] {
        let refusals = hcl(&format!("gossip_wan {{ {text} }}")).unwrap().refusals;
        let key = text.split(' ').next().unwrap();
        let said = refusals.first().unwrap_or_else(|| panic!("{text} passes")).to_string();
        assert!(refusals.len() == 1 && said.contains(key) && said.contains("at least"), "{said}");
    }
}

#[test]
fn scripts_without_permission_are_announced() {
    let script = "check { name = \"x\" args = [\"true\"] interval = \"1s\" }\n\
                  service { name = \"s\" check { args = [\"true\"] interval = \"1s\" } }";
    let said = warnings(script);
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(|w| w.contains("Scripts are disabled on this agent; to enable, configure")), "{said:?}");
    assert_eq!(warnings(&format!("enable_local_script_checks = true\n{script}")), [""; 0]);
    assert_eq!(warnings(&format!("enable_script_checks = true\n{script}")), [""; 0]);
}

#[test]
fn addresses() {
    let c = config(
        "client_addr = \"127.0.0.1 ::1\"\naddresses { http = \"unix:///run/x.sock {{ GetPrivateIP }}\" dns = \"0.0.0.0\" }\n\
         advertise_addr = \"{{ GetInterfaceIP \\\"eth0\\\" }}\"\nadvertise_addr_wan = \"203.0.113.9\"\nadvertise_addr_ipv6 = \"2600::1\"",
    );
    let show = |all: &[ListenAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(show(&c.addresses.http), ["unix:///run/x.sock", "10.0.0.5"]);
    assert_eq!(show(&c.addresses.dns), ["0.0.0.0"]);
    assert_eq!(show(&c.addresses.https), ["127.0.0.1", "::1"]);
    let tagged: Vec<_> = c.tagged_addresses.iter().map(|(k, v)| format!("{k} {v}")).collect();
    assert_eq!(
        tagged,
        ["lan 10.0.0.5", "lan_ipv4 10.0.0.5", "lan_ipv6 2600::1", "wan 203.0.113.9", "wan_ipv4 203.0.113.9"]
    );
}

#[test]
fn one_private_address_is_needed_when_none_is_given() {
    let source = [flags(&[("data-dir", "/d")])];
    let with = |addresses: &[(&str, u8)]| Environment {
        hostname: "box".into(),
        interfaces: vec![interface("lo", &[("127.0.0.1", 8)]), interface("eth0", addresses)],
    };
    for (addresses, message) in [
        (
            &[("10.0.0.5", 24), ("192.168.0.1", 24)][..],
            "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.",
        ),
        (&[("8.8.8.8", 24)], "No private IPv4 address found. Please configure one with 'bind' and/or 'advertise'."),
    ] {
        assert_eq!(refused(&source, &with(addresses)), [format!("bind_addr: {message}")]);
    }
}

#[test]
fn gitlab() {
    let config = run(&[
        file("config.json", r#"{"datacenter":"gitlab_consul","disable_update_check":true,"enable_script_checks":false,
            "enable_local_script_checks":true,"node_name":"gitlab-1.example.com","rejoin_after_leave":true,"server":true,
            "bootstrap_expect":3,"client_addr":"0.0.0.0","retry_join":["10.0.0.1","10.0.0.2"],"ui":true,"ports":{},
            "server_rejoin_age_max":"0","bind_addr":"10.0.0.5"}"#),
        file("postgresql_service.json", r#"{"service":{"name":"postgresql","address":"","port":5432,"check":{"id":"service:postgresql",
            "interval":"10s","status":"failing","args":["/opt/gitlab/bin/gitlab-ctl","patroni","check-leader"]}}}"#),
        file("watcher_postgresql.json", r#"{"watches":[{"type":"service","service":"postgresql","args":["/x"]}]}"#),
        flags(&[("data-dir", "/var/opt/gitlab/consul/data")]),
    ])
    .unwrap()
    .config;
    assert_eq!(config.node_name, "gitlab-1.example.com");
    assert_eq!((config.bootstrap_expect, config.server), (3, true));
    assert_eq!(config.services[0].checks[0].args.len(), 3);
    let watched = Watched::Service { name: "postgresql".into(), tags: vec![], passing_only: false };
    let handler = WatchHandler::Program(vec!["/x".into()]);
    assert_eq!(config.watches, [WatchDefinition { watched, filter: String::new(), token: String::new(), handler }]);
    assert_eq!(config.server_rejoin_age_max, Duration::ZERO);
}

#[test]
fn only_clients_say_how_long_they_are_remembered() {
    let base = |text: &str| [flags(&[("data-dir", "/d"), ("bind", "127.0.0.1")]), file("a.hcl", text)];
    let client = config("advertise_reconnect_timeout = \"36h\"");
    assert_eq!(client.advertise_reconnect_timeout, Some(Duration::from_secs(36 * 3600)));
    assert!(client.without_effect.is_empty());
    let server = refused(&base("advertise_reconnect_timeout = \"36h\"\nserver = true"), &machine());
    assert!(
        server.iter().any(|line| line.contains("advertise_reconnect_timeout can only be used on a client")),
        "{server:?}"
    );
    let nothing = refused(&base("advertise_reconnect_timeout = \"0s\""), &machine());
    assert!(nothing.iter().any(|line| line.contains("must be longer than 0s")), "{nothing:?}");
    let others = config("performance { leave_drain_time = \"7s\" }\nserver_rejoin_age_max = \"24h\"");
    assert_eq!((others.performance.leave_drain_time.as_secs(), others.server_rejoin_age_max.as_secs()), (7, 86_400));
    assert!(others.without_effect.is_empty());
}

#[test]
fn of_two_with_one_id_the_last_counts() {
    let text =
        "services { name = \"x\" port = 1 }\nservices { name = \"y\" id = \"x\" }\ncheck { name = \"x\" ttl = \"1s\" }";
    let loaded = hcl(text).unwrap();
    assert_eq!(loaded.config.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["y"]);
    assert_eq!(loaded.config.checks.len(), 1);
    let advice = "is defined again later, and only the last definition counts; give each an id of its own";
    assert_eq!(warnings(text), [format!("a.hcl:1: service \"x\" {advice}")]);
}

/// Files made of real keys with any values, in both formats.
fn files() -> impl Strategy<Value = (String, String)> {
    let key = prop::sample::select(vec![
        "server",
        "ports",
        "http",
        "service",
        "services",
        "check",
        "checks",
        "name",
        "ttl",
        "args",
        "acl",
        "tokens",
        "master",
        "tls",
        "dns_config",
        "soa",
        "service_ttl",
        "recursors",
        "start_join",
        "ui",
        "client_addr",
        "addresses",
        "bind_addr",
        "node_meta",
        "watches",
        "telemetry",
        "prefix_filter",
        "limits",
        "encrypt",
        "config_entries",
        "bootstrap",
        "connect",
        "sidecar_service",
        "proxy",
        "upstreams",
        "domain",
        "x",
    ]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("\"127.0.0.1\"".to_string()),
        Just("\"{{ GetPrivateIP }}\"".to_string()),
        Just("\"5s\"".to_string()),
        "\"[a-z0-9:/.=+-]{0,12}\"",
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((key.clone(), inner), 0..4).prop_map(|v| {
                let members: Vec<String> = v.into_iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    (value.clone(), value).prop_map(|(a, b)| (a, b.replace("\":", "\"=")))
}

#[test]
fn a_key_that_is_padding_alone_is_refused() {
    for key in ["=", "==", "a=", "===="] {
        let errors = hcl(&format!("encrypt = \"{key}\"")).unwrap_err();
        assert!(format!("{errors:?}").contains("invalid key"), "{key}: {errors:?}");
    }
}

proptest! {
    #[test]
    fn any_file_is_loaded_or_refused((json, hcl) in files(), text in "\\PC{0,60}") {
        let bare = hcl.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(&hcl);
        for (name, text) in [("a.json", json.as_str()), ("a.hcl", bare), ("b.hcl", &text)] {
            match run(&[flags(&[("dev", "true")]), file(name, text)]) {
                Ok(loaded) => prop_assert!(loaded.config.dev_mode),
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
        }
    }
}
