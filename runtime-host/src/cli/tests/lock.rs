//! `lock` against the real API over real tables, in one process.

use super::super::transport::{CallHead, CallRequest, Transport};
use super::{Exit, Ran, TestIo, play, run, scratch};
use convoke_api::agent_view::{AgentView, Identity, Pool};
use convoke_api::effect::Effect;
use convoke_api::request::Request;
use convoke_api::response::{Outcome, Response};
use convoke_api::{Context, handle, session};
use convoke_catalog::command::{KvSet, Register};
use convoke_catalog::model::{Check, Node, Status};
use convoke_catalog::{Catalog, Command, Scope, Table, View};
use convoke_config::config::Config;
use convoke_swim::{Profile, Tags, Versions};
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A cluster of one: tables that carry out what is proposed.
pub(super) struct Cluster {
    tables: Mutex<(Catalog, u64)>,
    agent: AgentView,
    asked: AtomicU64,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let pool = Pool::alone(Profile::new("n1", "127.0.0.1:8301".parse().unwrap(), &Tags::default(), Versions::OURS));
        let agent = AgentView {
            config: Arc::new(Config { server: true, node_name: "n1".into(), ..Config::default() }),
            identity: Arc::new(Identity { node_name: "n1".into(), ..Identity::default() }),
            services: Table::default(),
            checks: Table::default(),
            lan: pool,
            wan: None,
            leads: true,
            leader: "127.0.0.1:8300".parse().ok(),
            servers: Arc::default(),
            peers: Arc::default(),
            revision: 1,
            leaving: false,
            encrypted: [false; 2],
            events: Arc::default(),
            raft: None,
            wan_coordinates: Arc::default(),
        };
        let cluster = Self { tables: Mutex::default(), agent, asked: AtomicU64::default() };
        let node = Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() };
        let check = Check { id: "serfHealth".into(), status: Status::Passing, ..Check::default() };
        cluster.apply(Command::Register(Register { node, checks: vec![check], ..Register::default() }));
        cluster
    }

    pub(super) fn apply(&self, command: Command) -> convoke_catalog::Reply {
        let mut tables = self.tables.lock().unwrap();
        tables.1 += 1;
        let index = tables.1;
        tables.0.apply(index, command).reply
    }

    fn view(&self) -> View {
        self.tables.lock().unwrap().0.view()
    }

    pub(super) fn set(&self, key: &str, value: &str) {
        let (tenancy, key, value) = (Default::default(), key.into(), value.as_bytes().into());
        self.apply(Command::KvSet(KvSet { tenancy, key, value, flags: 0, cas: None }));
    }

    pub(super) fn value(&self, key: &str) -> Option<String> {
        self.view().kv(Scope::default(), key).map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
    }

    /// Runs a command against it.
    pub(super) fn play(&self, words: &[&str]) -> Ran {
        let argv: Vec<OsString> = ["consul"].iter().chain(words).map(OsString::from).collect();
        let mut io = TestIo::default();
        let exit = run(&argv, &mut io, &|_| None, self);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { exit, out: text(&io.out), err: text(&io.err) }
    }

    fn keys(&self) -> Vec<String> {
        self.view().kv_range(Scope::default(), "").map(|entry| entry.key.to_string()).collect()
    }

    fn answer(&self, request: &CallRequest, seed: u64) -> Response {
        let target = request.target();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let began = Instant::now();
        loop {
            let view = self.view();
            let ctx = Context {
                view: &view,
                agent: &self.agent,
                now_unix: Duration::ZERO,
                node: None,
                confirmed: true,
                contact_millis: 0,
                seed,
            };
            let none: &[(&str, &str)] = &[];
            let request =
                Request { method: request.method, path, query, headers: &none, body: &request.body, remote: None };
            match handle(&ctx, &request, false) {
                Outcome::Done(response) => return response,
                Outcome::Effect(Effect::Propose { command, render }) => return render.response(&self.apply(*command)),
                Outcome::Effect(Effect::Renew { id, .. }) => {
                    return match view.session(Scope::default(), &id) {
                        Some(row) => session::renewed(row, false),
                        None => session::not_found(&id),
                    };
                }
                Outcome::Wait(wait) if began.elapsed() < wait.max_wait => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Outcome::Wait(_) => {
                    let Outcome::Done(response) = handle(&ctx, &request, true) else { panic!("waits for ever") };
                    return response;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Transport for Cluster {
    fn stream(
        &self,
        request: &CallRequest,
        piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let seed = self.asked.fetch_add(1, Ordering::Relaxed);
        let response = self.answer(request, seed);
        let headers = response.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let _ = piece(&CallHead { status: response.status, headers }, &response.body);
        Ok(())
    }
}

fn lock(cluster: &Cluster, words: &[&str]) -> Ran {
    let all: Vec<&str> = ["lock"].iter().chain(words).copied().collect();
    cluster.play(&all)
}

#[test]
fn the_command_runs_with_the_lock_and_leaves_nothing_behind() {
    let cluster = Cluster::new();
    let folder = scratch("lock");
    let file = folder.join("said");
    let script = format!("echo held=$CONSUL_LOCK_HELD > {}", file.display());
    for seats in ["-n=1", "-n=2"] {
        let ran = lock(&cluster, &[seats, "locks/x", &script]);
        assert_eq!((ran.code(), ran.err.as_str()), (Some(0), ""), "{seats}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "held=true\n");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(cluster.keys(), [""; 0], "{seats}");
        assert_eq!(cluster.view().sessions(Scope::default()).count(), 0, "{seats}");
    }
    // Without a shell, word by word.
    let ran = lock(&cluster, &["-shell=false", "locks/x", "touch", file.to_str().unwrap()]);
    assert_eq!(ran.code(), Some(0), "{}", ran.err);
    assert!(file.exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn how_it_ends() {
    let cluster = Cluster::new();
    for (words, code) in [
        (&["locks/x", "exit 3"][..], 0),
        (&["-child-exit-code", "locks/x", "exit 3"], 2),
        (&["-child-exit-code", "locks/x", "true"], 0),
        (&["-shell=false", "locks/x", "/no/such/program"], 1),
        (&[], 1),
        (&["locks/x"], 1),
        (&["-n=0", "locks/x", "true"], 1),
        (&["-monitor-retry=-1", "locks/x", "true"], 1),
        (&["-try=x", "locks/x", "true"], 1),
    ] {
        let ran = lock(&cluster, words);
        assert_eq!(ran.code(), Some(code), "{words:?}: {}", ran.err);
        assert!(code == 0 || !ran.err.is_empty(), "{words:?} fails in silence");
        assert_eq!(cluster.keys(), [""; 0], "{words:?}");
    }
}

#[test]
fn one_at_a_time() {
    for (seats, most) in [("-n=1", 1), ("-n=2", 2)] {
        let cluster = Cluster::new();
        let folder = scratch(&format!("lock-turns{seats}"));
        // Each makes a file while it holds the lock, and writes down how many there are.
        let script = format!(
            "cd {} && touch held.$$ && ls | grep -c held. >> counts && sleep 0.2 && rm held.$$",
            folder.display()
        );
        let codes: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> =
                (0..4).map(|_| scope.spawn(|| lock(&cluster, &[seats, "locks/x", &script]).code())).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(codes, [Some(0); 4], "{seats}");
        let counts = std::fs::read_to_string(folder.join("counts")).unwrap();
        let counts: Vec<u32> = counts.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!((counts.len(), counts.iter().max().copied()), (4, Some(most)), "{seats}: {counts:?}");
        assert_eq!(cluster.keys(), [""; 0]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_lock_that_is_lost_ends_the_command() {
    for seats in ["-n=1", "-n=2"] {
        let cluster = Cluster::new();
        let began = Instant::now();
        let ran = std::thread::scope(|scope| {
            let run = scope.spawn(|| lock(&cluster, &[seats, "locks/x", "sleep 60"]));
            let held = || cluster.view().kv(Scope::default(), "locks/x/.lock").is_some();
            while !held() && began.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let sessions: Vec<_> =
                cluster.view().sessions(Scope::default()).map(|row| (row.tenancy.clone(), row.id.clone())).collect();
            for (tenancy, id) in sessions {
                cluster.apply(Command::SessionDestroy { tenancy, id });
            }
            run.join().unwrap()
        });
        assert_eq!(ran.code(), Some(1), "{seats}: {}", ran.err);
        assert!(began.elapsed() < Duration::from_secs(30), "{seats}: the command went on without the lock");
    }
}

#[test]
fn who_waits_gives_up_in_time_and_who_does_not_understand_refuses() {
    let cluster = Cluster::new();
    cluster.set("locks/x/.lock", "somebody's note");
    let ran = lock(&cluster, &["locks/x", "true"]);
    assert_eq!((ran.code(), ran.err.contains("Existing key does not match lock use")), (Some(1), true), "{}", ran.err);
    let cluster = Cluster::new();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| lock(&cluster, &["locks/x", "sleep 2"]));
        while cluster.keys().is_empty() && !first.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let began = Instant::now();
        let ran = lock(&cluster, &["-try=300ms", "locks/x", "true"]);
        assert_eq!(ran.code(), Some(1));
        assert!(ran.err.contains("timeout during lock acquisition"), "{}", ran.err);
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(first.join().unwrap().code(), Some(0));
    });
}

#[test]
fn without_an_agent_it_says_so() {
    let ran = play(&super::Agent::default(), &[], "", &["lock", "x", "true"]);
    assert!(matches!(ran.exit, Exit::Code(1)));
    assert!(ran.err.starts_with("Lock setup failed: "), "{}", ran.err);
}
