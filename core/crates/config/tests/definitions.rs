//! Definitions as requests bring them, and what is said about bad ones. The texts are Consul's.

use convoke_config::definition::{
    CheckDefinition, Origin, ServiceDefinition, decode_check, decode_service, decode_services_file,
};
use convoke_config::json;
use convoke_config::value::Value;
use proptest::prelude::*;
use std::time::Duration;

fn service(body: &str) -> Result<ServiceDefinition, String> {
    let value = json::parse_first(body).map_err(|e| format!("Request decode failed: {e}"))?;
    let service = decode_service(&value, Origin::Http).map_err(|e| e.to_string())?;
    service.validate_registration()?;
    Ok(service)
}

fn check(body: &str) -> Result<CheckDefinition, String> {
    let value = json::parse_first(body).map_err(|e| format!("Request decode failed: {e}"))?;
    let check = decode_check(&value, Origin::Http).map_err(|e| e.to_string())?;
    check.validate_registration()?;
    Ok(check)
}

#[test]
fn service_spellings() {
    let expected = service(
        r#"{"ID":"s1","Name":"svc","Tags":["t"],"Port":10,"Meta":{"m":"1"},"EnableTagOverride":true,
            "TaggedAddresses":{"wan":{"Address":"1.2.3.4","Port":5}},"Weights":{"Passing":3,"Warning":2},
            "Checks":[{"CheckID":"c","Args":["true"],"Interval":"1.5s","DeregisterCriticalServiceAfter":"90m"}]}"#,
    )
    .unwrap();
    assert_eq!(expected.checks[0].interval, Duration::from_millis(1500));
    for body in [
        r#"{"id":"s1","name":"svc","tags":["t"],"port":10,"meta":{"m":"1"},"enable_tag_override":true,
            "tagged_addresses":{"wan":{"address":"1.2.3.4","port":5}},"weights":{"passing":3,"warning":2},
            "checks":[{"checkid":"c","script_args":["true"],"interval":1500000000,"deregister_critical_service_after":"1.5h"}]}"#,
        r#"  {"id":"s1","NAME":"svc","tags":["t"],"Port":1,"Port":10,"meta":{"m":"1"},"enabletagoverride":true,
            "taggedaddresses":{"wan":{"address":"1.2.3.4","port":5}},"weights":{"passing":3,"warning":2},"Token":null,
            "Checks":null,"Check":{"CHECKID":"c","scriptargs":["true"],"interval":"1500ms","deregistercriticalserviceafter":5.4e12}} trailing"#,
    ] {
        assert_eq!(service(body).as_ref(), Ok(&expected), "{body}");
    }
    let bare = service(r#"{"Name":"svc","Tags":null,"Meta":null,"Check":{},"Checks":null}"#).unwrap();
    assert_eq!(bare, ServiceDefinition { name: "svc".into(), ..ServiceDefinition::default() });
}

#[test]
fn patroni() {
    let service = service(
        r#"{"name":"batman","enabletagoverride":true,"id":"batman/pg0","address":"10.0.0.1","port":5432,"tags":["master","primary"],
            "checks":[{"http":"https://10.0.0.1:8008/master","interval":"5s","DeregisterCriticalServiceAfter":"150.0s","TLSServerName":"x"}]}"#,
    )
    .unwrap();
    assert_eq!(service.id, "batman/pg0");
    assert_eq!(service.checks[0].deregister_critical_service_after, Duration::from_secs(150));
    assert_eq!(service.checks[0].tls_server_name, "x");
}

#[test]
fn bad_services() {
    let long = "v".repeat(513);
    for (body, message) in [
        ("{}", "Missing service name"),
        ("null", "Missing service name"),
        (r#"{"ID":"x"}"#, "Missing service name"),
        ("not json", "Request decode failed: invalid literal, expected null"),
        ("", "Request decode failed: EOF"),
        ("[]", "Request decode failed: json: cannot unmarshal array into Go value: expected a block"),
        (r#"{"Name":5}"#, "Request decode failed: json: cannot unmarshal number into field Name: expected string"),
        (
            r#"{"Name":"web","Port":"eighty"}"#,
            "Request decode failed: json: cannot unmarshal string into field Port: expected int",
        ),
        (r#"{"Name":"web","Port":99999}"#, "Invalid Port: 99999 is not between 0 and 65535"),
        (
            r#"{"Name":"web","Tags":"a"}"#,
            "Request decode failed: json: cannot unmarshal string into field Tags: expected a list of strings",
        ),
        (
            r#"{"Name":"web","Meta":{"a":1}}"#,
            "Request decode failed: json: cannot unmarshal number into field Meta: expected string",
        ),
        (r#"{"Name":"web","Bogus":1}"#, "Request decode failed: json: unknown field \"Bogus\""),
        (r#"{"service":{"name":"web"}}"#, "Request decode failed: json: unknown field \"service\""),
        (r#"{"Name":"web","Check":{"ttl":"10s","id":"c"}}"#, "Request decode failed: json: unknown field \"id\""),
        (r#"{"Name":"web","Check":{"TTL":"-5s"}}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        (r#"{"Name":"web","Checks":[{}]}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        (r#"{"Name":"web","Check":{"TTL":"abc"}}"#, "Request decode failed: time: invalid duration \"abc\""),
        (
            r#"{"Name":"web","Check":{"HTTP":"http://127.0.0.1/"}}"#,
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
        ),
        (
            r#"{"Name":"web","Check":{"HTTP":"http://127.0.0.1/","TTL":"5s"}}"#,
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
        ),
        (
            r#"{"Name":"web","Check":{"Status":"bogus","TTL":"5s"}}"#,
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (r#"{"Name":"web","Weights":{"Passing":0,"Warning":1}}"#, "Invalid Weights: Passing must be greater than 0"),
        (r#"{"Name":"web","Weights":{"Passing":-1,"Warning":1}}"#, "Invalid Weights: Passing must be greater than 0"),
        (
            r#"{"Name":"web","Weights":{"Passing":70000,"Warning":1}}"#,
            "Invalid Weights: DNS Weight must be between 0 and 65535",
        ),
        (
            r#"{"Name":"web","Weights":{"Passing":99999999999,"Warning":1}}"#,
            "Invalid Weights: DNS Weight must be between 0 and 65535",
        ),
        (
            r#"{"Name":"web","Weights":{"Passing":1,"Warning":-1}}"#,
            "Invalid Weights: Warning must be greater or equal than 0",
        ),
        (
            r#"{"Name":"web","Meta":{"bad key":"x"}}"#,
            "Invalid Service Meta: Couldn't load metadata pair ('bad key', 'x'): Key contains invalid characters",
        ),
        (
            r#"{"Name":"web","Meta":{"":"x"}}"#,
            "Invalid Service Meta: Couldn't load metadata pair ('', 'x'): Key cannot be blank",
        ),
        (
            r#"{"Name":"web","Meta":{"consul-x":"x"}}"#,
            "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'x'): Key prefix 'consul-' is reserved for internal use",
        ),
        (
            &format!(r#"{{"Name":"web","Meta":{{"k":"{long}"}}}}"#),
            &format!(
                "Invalid Service Meta: Couldn't load metadata pair ('k', '{long}'): Value is too long (limit: 512 characters)"
            ),
        ),
        (r#"{"Name":"web","Address":"0.0.0.0"}"#, "Invalid service address"),
        (r#"{"Name":"web","Address":"::"}"#, "Invalid service address"),
        (
            r#"{"Name":"web","Port":1,"Ports":[{"Name":"a","Port":2}]}"#,
            "Invalid service ports: port and ports cannot both be set",
        ),
        (
            r#"{"Name":"web","Ports":[{"Name":"a","Port":2},{"Name":"a","Port":3}]}"#,
            "Invalid service ports: the name \"a\" is used twice",
        ),
        (
            r#"{"Name":"web","Ports":[{"Name":"a","Port":2,"Default":true},{"Name":"b","Port":3,"Default":true}]}"#,
            "Invalid service ports: at most one may be the default",
        ),
        (r#"{"Name":"web","Ports":[{"Name":"a"}]}"#, "Invalid service ports: each needs a name and a port"),
    ] {
        assert_eq!(service(body).expect_err(body), message, "{body}");
    }
    for body in [
        r#"{"Name":"web","Kind":"nonsense"}"#,
        r#"{"Name":"web","Check":{}}"#,
        r#"{"Name":"web","TaggedAddresses":{"lan":{"address":"0.0.0.0"}}}"#,
        r#"{"Name":"a b"}"#,
        r#"{"Name":"under_score"}"#,
    ] {
        service(body).unwrap_or_else(|e| panic!("{body}: {e}"));
    }
}

#[test]
fn bad_checks() {
    let interval = "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks";
    for (body, message) in [
        ("{}", "Missing check name"),
        (r#"{"Name":"x"}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        (r#"{"TTL":"5s"}"#, "Missing check name"),
        (r#"{"Name":"x","TTL":"5x"}"#, "Request decode failed: time: unknown unit \"x\" in duration \"5x\""),
        (r#"{"Name":"x","HTTP":"http://127.0.0.1/"}"#, interval),
        (r#"{"Name":"x","TCP":"127.0.0.1:1"}"#, interval),
        (r#"{"Name":"x","UDP":"127.0.0.1:1"}"#, interval),
        (r#"{"Name":"x","H2PING":"127.0.0.1:1"}"#, interval),
        (r#"{"Name":"x","OSService":"nginx"}"#, interval),
        (r#"{"Name":"x","GRPC":"127.0.0.1:1"}"#, interval),
        (r#"{"Name":"x","HTTP":"http://127.0.0.1/","Interval":"-1s"}"#, interval),
        (r#"{"Name":"x","TTL":"5s","Status":"fine"}"#, "Bad check status"),
        (r#"{"Name":"y","TTL":"5s","Interval":"5s"}"#, "Invalid check: Interval and TTL cannot both be specified"),
        (r#"{"Name":"y","TTL":"5s","AliasService":"z"}"#, "Invalid check: TTL must be not be set for Alias checks"),
        (
            r#"{"Name":"y","TCP":"x:1","Interval":"5s","AliasNode":"z"}"#,
            "Invalid check: Interval cannot be set for Alias checks",
        ),
        (r#"{"Name":"x","Script":"true","Interval":"1s"}"#, "Request decode failed: json: unknown field \"Script\""),
        (r#"{"Name":"z","OutputMaxSize":-1,"TTL":"1s"}"#, "Invalid check: MaxOutputMaxSize must be positive"),
        (r#"{"Name":"x","TTL":"5s","Unknown":true}"#, "Request decode failed: json: unknown field \"Unknown\""),
        (
            r#"{"Name":"x","TTL":"5s","Notes":7}"#,
            "Request decode failed: json: cannot unmarshal number into field Notes: expected string",
        ),
        (
            r#"{"Name":"x","TTL":"5s","FailuresBeforeWarning":2}"#,
            "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
        (r#"{"Name":"x","TTL":"5s","CheckID":"i"}"#, "Request decode failed: json: unknown field \"CheckID\""),
        (r#"{"Name":"x","alias_node":"i"}"#, "Request decode failed: json: unknown field \"alias_node\""),
        ("{", "Request decode failed: unexpected end of JSON input"),
    ] {
        assert_eq!(check(body).expect_err(body), message, "{body}");
    }
    for (body, ttl) in [
        (r#"{"Name":"x","TTL":5000000000,"ID":"i","ServiceID":"s"}"#, 5),
        (r#"{"name":"x","ttl":"5s","id":"i","service_id":"s"}"#, 5),
        (r#"{"Name":"x","TTL":"5s","Id":"i","serviceid":"s","Header":null,"AliasNode":null}"#, 5),
    ] {
        let check = check(body).unwrap_or_else(|e| panic!("{body}: {e}"));
        assert_eq!((check.ttl, check.id.as_str(), check.service_id.as_str()), (Duration::from_secs(ttl), "i", "s"));
    }
    check(r#"{"Name":"x","AliasService":"s"}"#).unwrap();
    check(r#"{"Name":"x","DockerContainerID":"abc","Args":["true"],"Interval":"1s","Shell":"/bin/sh"}"#).unwrap();
}

#[test]
fn free_form_parts_stay_json() {
    let http = service(
        r#"{"Name":"web","Connect":{"SidecarService":{"Port":1,"Proxy":{"Upstreams":[{"DestinationName":"db"}]}}},
            "Proxy":{"DestinationServiceName":"web","Config":{"a":[{"b":1}]},"Upstreams":[]}}"#,
    )
    .unwrap();
    let connect = http.connect.unwrap();
    assert_eq!(connect.sidecar_service, r#"{"Port":1,"Proxy":{"Upstreams":[{"DestinationName":"db"}]}}"#);
    assert_eq!(http.proxy.unwrap().config, r#"{"a":[{"b":1}]}"#);
    let hcl = Value::from_hcl(
        "name = \"web\"\nconnect { sidecar_service { port = 1 proxy { upstreams { destination_name = \"db\" } config { protocol = \"grpc\" } } } }",
    )
    .unwrap();
    let file = decode_service(&hcl, Origin::File).unwrap();
    assert_eq!(
        file.connect.unwrap().sidecar_service,
        r#"{"port":1,"proxy":{"config":{"protocol":"grpc"},"upstreams":[{"destination_name":"db"}]}}"#
    );
}

#[test]
fn files_of_services_register() {
    let names = |value: &Value| -> Vec<String> {
        decode_services_file(value).unwrap().into_iter().map(|s| format!("{}:{}", s.name, s.id)).collect()
    };
    assert_eq!(
        names(&Value::from_json(r#"{"service":{"name":"web","port":80,"check":{"ttl":"1h"}}}"#).unwrap()),
        ["web:"]
    );
    assert_eq!(names(&Value::from_json(r#"{"Services":[{"Name":"a"},{"name":"b"}]}"#).unwrap()), ["a:", "b:"]);
    let bare = decode_services_file(&Value::from_json(r#"{"name":"bare","port":1}"#).unwrap()).unwrap_err();
    assert_eq!(bare.message, "invalid config key name; a service stands in a service block");
    let two = "services {\n name = \"h1\"\n id = \"h1-a\"\n meta { a = \"b\" }\n}\nservices {\n name = \"h2\"\n}\n";
    assert_eq!(names(&Value::from_hcl(two).unwrap()), ["h1:h1-a", "h2:"]);
    assert_eq!(names(&Value::from_hcl("").unwrap()), [""; 0]);
    let error = decode_services_file(&Value::from_hcl("service {\n nmae = \"x\"\n}").unwrap()).unwrap_err();
    assert_eq!((error.at.line, error.message.as_str()), (2, "invalid config key nmae; did you mean \"name\"?"));
}

fn json() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Name",
        "port",
        "TTL",
        "Interval",
        "Args",
        "Check",
        "Checks",
        "Meta",
        "Weights",
        "Passing",
        "tagged_addresses",
        "Header",
        "OutputMaxSize",
        "Connect",
        "Proxy",
        "Ports",
        "x",
    ]);
    let leaf = prop_oneof![
        Just("null".to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1e300".to_string()),
        Just("\"5s\"".to_string()),
        Just("\"\"".to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|v| {
                let members: Vec<String> = v.into_iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_tree_is_decoded_or_refused(text in json()) {
        let value = json::parse(&text, 0).unwrap();
        for origin in [Origin::File, Origin::Http] {
            if let Ok(service) = decode_service(&value, origin) {
                let _ = service.validate_registration();
            }
            if let Ok(check) = decode_check(&value, origin) {
                let _ = check.validate_registration();
            }
        }
    }
}
