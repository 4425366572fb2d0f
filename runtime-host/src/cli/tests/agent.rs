//! The `agent` command, `validate`, and the options that say which agent is asked and how.

use super::super::transport::Address;
use super::super::{AgentFlags, Exit};
use super::{Agent, play, scratch};
use convoke_config::flags::Flags;
use std::path::PathBuf;

fn started(words: &[&str]) -> AgentFlags {
    let ran = play(&Agent::default(), &[], "", words);
    match ran.exit {
        Exit::Agent(flags) => *flags,
        Exit::Code(code) => panic!("{words:?} exits with {code}: {}", ran.err),
    }
}

#[test]
fn the_agent_command() {
    let set = |pairs: &[(&str, &str)]| {
        let mut flags = Flags::default();
        for (name, value) in pairs {
            flags.set(name, value).expect("a flag");
        }
        flags
    };
    assert_eq!(started(&["agent"]), AgentFlags::default());
    assert_eq!(started(&["agent", "-dev"]), AgentFlags { flags: set(&[("dev", "true")]), ..Default::default() });

    let flags = started(&[
        "agent",
        "-server",
        "-config-dir=/b",
        "-config-file",
        "/a.json",
        "-config-dir",
        "/c",
        "-bootstrap-expect=3",
        "-node=n1",
        "-http-port=-1",
        "-dns-port",
        "8600",
        "-retry-join=a",
        "-retry-join",
        "b",
        "-node-meta=rack:r:7",
        "-node-meta",
        "x:y",
        "-ui",
        "-hcl",
        "ports { grpc = 1 }",
        "-hcl=x = 1",
        "-log-json=false",
        "-dev=false",
        "-config-format=hcl",
        "-encrypt=pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=",
    ]);
    let want = set(&[
        ("server", "true"),
        ("bootstrap-expect", "3"),
        ("node", "n1"),
        ("http-port", "-1"),
        ("dns-port", "8600"),
        ("retry-join", "a"),
        ("retry-join", "b"),
        ("node-meta", "rack:r:7"),
        ("node-meta", "x:y"),
        ("ui", "true"),
        ("log-json", "false"),
        ("dev", "false"),
        ("encrypt", "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="),
    ]);
    assert_eq!(flags.flags, want);
    assert_eq!(flags.paths, [PathBuf::from("/b"), "/a.json".into(), "/c".into()]);
    assert_eq!(flags.hcl, ["ports { grpc = 1 }", "x = 1"]);
    assert_eq!(flags.config_format, Some(convoke_config::Format::Hcl));

    for words in [
        &["agent", "-dev", "-nosuchflag"][..],
        &["agent", "-dev", "extra"],
        &["agent", "-config-format=xml"],
        &["agent", "-http-port=x"],
        &["agent", "-node-meta=:x"],
        &["agent", "-config-dir"],
    ] {
        let ran = play(&Agent::default(), &[], "", words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""), "{words:?}");
        assert!(!ran.err.is_empty());
    }
}

/// What a reload does: the files are read when they are asked for, in the order given, and flags come along.
#[test]
fn sources_of_an_agent() {
    use convoke_config::Source;
    let folder = scratch("sources");
    std::fs::write(folder.join("b.json"), "{}").expect("writes");
    let dir = folder.display().to_string();
    let flags =
        started(&["agent", "-dev", "-hcl=x = 1", "-config-dir", &dir, "-config-file", &format!("{dir}/b.json")]);
    std::fs::write(folder.join("a.hcl"), "y = 2").expect("writes");
    let names: Vec<String> = flags
        .sources()
        .expect("reads")
        .into_iter()
        .map(|source| match source {
            Source::File { name, .. } => name.rsplit('/').next().unwrap_or_default().to_owned(),
            Source::Fragment(text) => text,
            Source::Flags(given) => (given == flags.flags).to_string(),
        })
        .collect();
    assert_eq!(names, ["a.hcl", "b.json", "b.json", "true", "x = 1"]);
    assert!(started(&["agent", "-config-file=/does/not/exist.json"]).sources().is_err());
}

#[test]
fn validate() {
    let folder = scratch("validate");
    std::fs::create_dir_all(folder.join("good")).expect("a folder");
    std::fs::create_dir_all(folder.join("empty")).expect("a folder");
    for (name, text) in [
        ("good/a.hcl", "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\nserver = true\nbootstrap = true\n"),
        ("good/b.json", r#"{"service":{"name":"web","port":80}}"#),
        ("good/readme.txt", "no"),
        ("bad-syntax.hcl", "data_dir = \n"),
        ("bad-key.json", r#"{"data_dir":"/tmp/x","bind_addr":"127.0.0.1","bogus_key":1}"#),
        (
            "script.hcl",
            "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\nservice {\n name = \"web\"\n check {\n args = [\"true\"]\n interval = \"10s\"\n }\n}\n",
        ),
        ("noext", "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\n"),
    ] {
        std::fs::write(folder.join(name), text).expect("writes");
    }
    let play = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| word.replace("DIR", &folder.display().to_string())).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        play(&Agent::default(), &[], "", &words)
    };
    for (words, code, out) in [
        (&["validate", "DIR/good"][..], 0, "Configuration is valid!\n"),
        (&["validate", "DIR/good/a.hcl", "DIR/good/b.json"], 0, "Configuration is valid!\n"),
        (&["validate", "-quiet", "DIR/good"], 0, ""),
        (&["validate", "DIR/script.hcl"], 0, "Configuration is valid!\n"),
        (&["validate", "-config-format=hcl", "DIR/noext"], 0, "Configuration is valid!\n"),
        (&["validate", "-config-format=xml", "DIR/noext"], 1, ""),
        (&["validate", "DIR/noext"], 1, ""),
        (&["validate", "DIR/bad-syntax.hcl"], 1, ""),
        (&["validate", "DIR/bad-key.json"], 1, ""),
        (&["validate", "DIR/good/b.json"], 1, ""),
        (&["validate", "DIR/empty"], 1, ""),
        (&["validate", "DIR/absent"], 1, ""),
        (&["validate"], 1, ""),
    ] {
        let ran = play(words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(code), out), "{words:?}: {}", ran.err);
        assert!(code == 0 || !ran.err.trim().is_empty(), "{words:?} fails in silence");
    }
    let loud = play(&["validate", "DIR/script.hcl"]).err;
    assert!(loud.contains("Scripts are disabled") && loud.contains("enable_local_script_checks"), "{loud}");
    let named = play(&["validate", "DIR/bad-key.json"]).err;
    assert!(named.contains("bad-key.json") && named.contains("bogus_key"), "{named}");
}

#[test]
fn where_and_how_to_ask() {
    let folder = scratch("options");
    let token = folder.join("token");
    std::fs::write(&token, " from-file \n").expect("writes");
    let token = token.display().to_string();
    let ask = |env: &[(&str, &str)], words: &[&str]| {
        let agent = Agent::default();
        let words: Vec<&str> = ["info"].iter().chain(words).copied().collect();
        let ran = play(&agent, env, "", &words);
        let asked = agent.asked.lock().unwrap().first().cloned();
        asked.ok_or(ran.err)
    };
    let tcp =
        |tls, host: &str, port, prefix: &str| Address::Tcp { tls, host: host.into(), port, prefix: prefix.into() };

    let plain = ask(&[], &[]).expect("asks");
    assert_eq!(plain.base, tcp(false, "127.0.0.1", 8500, ""));
    assert!(plain.headers.is_empty() && plain.tls.verify && plain.query.is_empty());

    for (env, words, want) in [
        (&[("CONSUL_HTTP_ADDR", "h:1")][..], &[][..], tcp(false, "h", 1, "")),
        (&[("CONSUL_HTTP_ADDR", "h:1")], &["-http-addr=g:2"], tcp(false, "g", 2, "")),
        (&[("CONSUL_HTTP_ADDR", "h:1"), ("CONSUL_HTTP_SSL", "true")], &[], tcp(true, "h", 1, "")),
        (&[("CONSUL_HTTP_ADDR", "http://h:1"), ("CONSUL_HTTP_SSL", "1")], &[], tcp(false, "h", 1, "")),
        (&[("CONSUL_HTTP_ADDR", "https://h:1/p")], &[], tcp(true, "h", 1, "/p")),
        (&[("CONSUL_HTTP_ADDR", "")], &["-http-addr", "unix:///s"], Address::Unix("/s".into())),
    ] {
        assert_eq!(ask(env, words).map(|asked| asked.base), Ok(want), "{env:?} {words:?}");
    }

    let asked = ask(
        &[
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_AUTH", "user:pass"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
            ("CONSUL_CACERT", "/ca"),
            ("CONSUL_CAPATH", "/cas"),
            ("CONSUL_CLIENT_CERT", "/crt"),
            ("CONSUL_CLIENT_KEY", "/key"),
            ("CONSUL_TLS_SERVER_NAME", "name"),
            ("CONSUL_NAMESPACE", "team"),
        ],
        &["-ca-file=/ca2", "-partition=p", "-datacenter=dc2", "-stale"],
    )
    .expect("asks");
    assert_eq!(asked.headers, [("X-Consul-Token", "t".to_owned()), ("Authorization", "Basic dXNlcjpwYXNz".to_owned())]);
    assert!(!asked.tls.verify);
    assert_eq!(asked.tls.ca_file, Some("/ca2".into()));
    assert_eq!(asked.tls.ca_path, Some("/cas".into()));
    assert_eq!((asked.tls.client_cert, asked.tls.client_key), (Some("/crt".into()), Some("/key".into())));
    assert_eq!(asked.tls.server_name.as_deref(), Some("name"));
    let query: Vec<(&str, &str)> = asked.query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(query, [("dc", "dc2"), ("stale", ""), ("ns", "team"), ("partition", "p")]);

    // The file wins over the token, as in Consul.
    let asked = ask(&[("CONSUL_HTTP_TOKEN_FILE", &token)], &["-token=t"]).expect("asks");
    assert_eq!(asked.headers, [("X-Consul-Token", "from-file".to_owned())]);

    for (env, words) in [
        (&[][..], &["-token-file=/does/not/exist"][..]),
        (&[("CONSUL_HTTP_TOKEN", "a\nb")], &[]),
        (&[("CONSUL_HTTP_SSL", "maybe")], &[]),
        (&[], &["-http-addr=ftp://x"]),
        (&[], &["-http-addr=h:x"]),
    ] {
        let said = ask(env, words).expect_err("nothing is asked");
        assert!(said.starts_with("Error connecting to Consul agent: "), "{said}");
    }
}
