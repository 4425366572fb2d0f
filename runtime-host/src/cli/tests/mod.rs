//! Command lines from end to end: what is printed, the exit code, and what the agent is asked.
//!
//! Here the play-acted agent, and what holds for every command; each family has a file of its own.

mod agent;
mod cluster;
mod gossip;
mod kv;
mod lock;
mod registry;
mod watch;

use super::transport::{CallHead, CallRequest, Transport};
use super::{Exit, Io, commands, run};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;

#[derive(Default)]
struct TestIo {
    out: Vec<u8>,
    err: Vec<u8>,
    stdin: io::Cursor<Vec<u8>>,
}

impl Io for TestIo {
    fn stdout(&mut self) -> &mut dyn Write {
        &mut self.out
    }
    fn stderr(&mut self) -> &mut dyn Write {
        &mut self.err
    }
    fn stdin(&mut self) -> &mut dyn Read {
        &mut self.stdin
    }
    fn entropy(&mut self, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(1);
        Ok(())
    }
}

/// An agent that gives the answers it was told to, in any order, and keeps what it was asked.
#[derive(Default)]
struct Agent {
    answers: BTreeMap<String, (u16, String)>,
    asked: Mutex<Vec<CallRequest>>,
}

impl Agent {
    /// `GET /v1/x?y` to its answer, status 200.
    fn new(answers: &[(&str, &str)]) -> Self {
        let answers = answers.iter().map(|(to, body)| ((*to).to_owned(), (200, (*body).to_owned()))).collect();
        Self { answers, asked: Mutex::default() }
    }

    fn refuse(mut self, to: &str, status: u16, body: &str) -> Self {
        self.answers.insert(to.to_owned(), (status, body.to_owned()));
        self
    }

    fn asked(&self) -> Vec<String> {
        let line = |request: &CallRequest| {
            let body = String::from_utf8_lossy(&request.body);
            format!("{} {} {body}", request.method, request.target()).trim_end().to_owned()
        };
        self.asked.lock().unwrap().iter().map(line).collect()
    }
}

impl Transport for Agent {
    fn stream(
        &self,
        request: &CallRequest,
        piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        self.asked.lock().unwrap().push(request.clone());
        let to = format!("{} {}", request.method, request.target());
        let Some((status, body)) = self.answers.get(&to) else {
            return Err("dial tcp: connect: connection refused".to_owned());
        };
        let _ = piece(&CallHead { status: *status, headers: Vec::new() }, body.as_bytes());
        Ok(())
    }
}

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    fn code(&self) -> Option<i32> {
        match self.exit {
            Exit::Code(code) => Some(code),
            Exit::Agent(_) => None,
        }
    }
}

fn play(agent: &Agent, env: &[(&str, &str)], stdin: &str, words: &[&str]) -> Ran {
    let argv: Vec<OsString> = ["/usr/bin/consul"].iter().chain(words).map(OsString::from).collect();
    let mut io = TestIo { stdin: io::Cursor::new(stdin.into()), ..TestIo::default() };
    let read = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let exit = run(&argv, &mut io, &read, agent);
    Ran { exit, out: String::from_utf8_lossy(&io.out).into_owned(), err: String::from_utf8_lossy(&io.err).into_owned() }
}

/// A command line, and what is expected of it.
type Case<'a> = (&'a [&'a str], i32, &'a str, &'a [&'a str]);

/// Plays every case against the same answers. A failure must say something, but not on standard output.
fn table(answers: &[(&str, &str)], cases: &[Case<'_>]) {
    for (words, code, out, asked) in cases {
        let agent = Agent::new(answers);
        let ran = play(&agent, &[], "from stdin", words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(*code), *out), "{words:?}: {}", ran.err);
        assert_eq!(agent.asked(), *asked, "{words:?}");
        if *code == 1 || *code == 127 {
            assert!(!ran.err.trim().is_empty(), "{words:?} fails in silence");
        }
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("convoke-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

#[test]
fn nothing_help_and_unknown() {
    for (words, code, on_out) in [
        (&[][..], 127, false),
        (&["-h"], 0, true),
        (&["help"], 0, true),
        (&["help", "kv", "get"], 0, true),
        (&["kv", "get", "x", "-help"], 0, true),
        (&["kv", "-h"], 0, true),
        (&["watch", "-h"], 0, true),
        (&["agent", "--help"], 0, true),
        (&["kv"], 1, false),
        (&["kv", "bogus"], 1, false),
        (&["catalog", "bogus"], 1, false),
        (&["services"], 1, false),
        (&["nosuchcommand"], 127, false),
        (&["nosuchcommand", "-h"], 127, false),
        (&["-http-addr=x", "members"], 127, false),
        (&["--version"], 0, true),
        (&["-v"], 0, true),
    ] {
        let ran = play(&Agent::default(), &[], "", words);
        assert_eq!(ran.code(), Some(code), "{words:?}");
        assert_eq!((ran.out.is_empty(), ran.err.is_empty()), (!on_out, on_out), "{words:?}");
    }
}

#[test]
fn help_names_every_command_and_flag() {
    let overview = play(&Agent::default(), &[], "", &["-h"]).out;
    for entry in commands() {
        let words: Vec<&str> = entry.name.split(' ').chain(["-h"]).collect();
        let ran = play(&Agent::default(), &[], "", &words);
        assert_eq!(ran.code(), Some(0), "{words:?}");
        assert!(ran.out.starts_with(&format!("Usage: consul {}", entry.name)), "{}", ran.out);
        for arg in (entry.flags)() {
            let name = arg.get_long().unwrap_or_default();
            assert!(ran.out.contains(&format!("  -{name}")), "{words:?} does not mention -{name}");
        }
        let first = entry.name.split(' ').next().unwrap_or_default();
        assert!(overview.contains(&format!("    {first} ")), "{first} is missing in the overview");
    }
    assert!(play(&Agent::default(), &[], "", &["kv", "-h"]).out.contains("kv import"));
}

#[test]
fn version_and_keygen() {
    let ran = play(&Agent::default(), &[], "", &["version"]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(ran.out.lines().next(), Some(format!("Consul v{version}").as_str()));
    let ran = play(&Agent::default(), &[], "", &["version", "-format=json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["Version"], version);
    assert_eq!(play(&Agent::default(), &[], "", &["version", "-format=xml"]).code(), Some(1));
    let ran = play(&Agent::default(), &[], "", &["keygen"]);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(0), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"));
}

#[test]
fn commands_that_come_later_say_so() {
    for words in [&["login"][..], &["exec", "-node=x", "ls"], &["services", "export"], &["tls", "ca", "create"]] {
        let ran = play(&Agent::default(), &[], "", words);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(1), ""), "{words:?}");
        assert!(ran.err.contains("later"), "{}", ran.err);
    }
}

#[test]
fn a_reader_that_went_away_is_a_failure() {
    struct Closed(Vec<u8>, io::Empty);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Io for Closed {
        fn stdout(&mut self) -> &mut dyn Write {
            self
        }
        fn stderr(&mut self) -> &mut dyn Write {
            &mut self.0
        }
        fn stdin(&mut self) -> &mut dyn Read {
            &mut self.1
        }
        fn entropy(&mut self, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }
    }
    let argv = ["convoke".into(), "version".into()];
    let exit = run(&argv, &mut Closed(Vec::new(), io::empty()), &|_| None, &Agent::default());
    assert!(matches!(exit, Exit::Code(1)));
}

/// Any words whatever end with an exit code and never with a panic.
#[test]
fn odd_words_never_panic() {
    let mut words: Vec<OsString> = [
        "",
        "-",
        "--",
        "---",
        "-=",
        "--=",
        "-h",
        "-x",
        "-dev",
        "-dev=",
        "-port=",
        "-port=-",
        "-status=[",
        "@",
        "@/",
        "=",
        "\u{e4}",
        "-flags=0x",
        "-flags=+0x\u{e4}",
        "-modify-index=18446744073709551616",
        "-node-meta==",
        "-meta==",
        "-reason=\0",
        "-http-addr=://",
        "-http-addr=[",
        "-http-addr=[]:",
        "-http-addr=:::",
        "-http-addr=unix://",
        "-token=\u{1}",
        "-name=x",
        "-id=",
        "-port=1",
        "-cas",
        "-recurse",
        "-keys",
        "-enable",
        "-detailed",
        "-format=json",
        "a",
        "/",
    ]
    .iter()
    .map(OsString::from)
    .collect();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt as _;
        words
            .extend([vec![0xff], b"-\xff".to_vec(), b"-name=\xff".to_vec(), b"@\xff".to_vec()].map(OsString::from_vec));
    }
    let names: Vec<&str> = commands().map(|entry| entry.name).chain(["help", "", "bogus"]).collect();
    // A multiplicative generator: the same odd lines every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |below: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..4000 {
        let mut argv = vec![OsString::from("consul")];
        argv.extend(names[pick(names.len())].split(' ').map(OsString::from));
        for _ in 0..pick(5) {
            argv.push(words[pick(words.len())].clone());
        }
        let mut io = TestIo::default();
        let exit = run(&argv, &mut io, &|_| None, &Agent::default());
        if let Exit::Code(code) = exit {
            assert!(matches!(code, 0 | 1 | 2 | 127), "{argv:?}");
            assert!(code == 0 || code == 2 || !io.err.is_empty(), "{argv:?} fails in silence");
        }
    }
    let _ = run(&[], &mut TestIo::default(), &|_| None, &Agent::default());
}
