//! The `watches` of a configuration: each asks the agent itself, waits for changes and tells its handler.
//!
//! What is asked and what is news is decided in `convoke_api::plan`; here are the tasks. A handler is called once at a
//! time: what changes meanwhile is told together when it has ended. A reload ends watches that are gone and starts new
//! ones; the others go on as if nothing had happened, so that their handlers are not called for nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use convoke_api::percent::{encode_path, encode_query};
use convoke_api::plan::{Plan, Seen};
use convoke_api::response::Response;
use convoke_config::watch::{WatchDefinition, WatchHandler, WatchHook};
use convoke_core::node::Level;

use crate::client::fetch::{Limits, Overflow, Request, fetch};
use crate::client::tls;
use crate::logging;
use crate::probe::reaper::{self, Ended, How, Leash, Program};
use crate::rt::{Runtime, race};
use crate::serve::http::{Server, answer_self};
use crate::watch::Signal;

/// Bytes of a handler's output that are logged.
const KEEP: usize = 4096;
/// Between two answers that say nothing of what to wait for.
const PAUSE: Duration = Duration::from_secs(1);

/// The watches that run.
pub struct Watchers<R: Runtime> {
    server: OnceLock<Arc<Server<R>>>,
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    watch: WatchDefinition,
    stop: Arc<Signal>,
}

impl<R: Runtime> Default for Watchers<R> {
    fn default() -> Self {
        Self { server: OnceLock::new(), running: Mutex::default() }
    }
}

impl<R: Runtime> Watchers<R> {
    /// Starts the first ones, as soon as there is somebody who answers them.
    pub fn begin(&self, server: Arc<Server<R>>, watches: &[WatchDefinition]) {
        let _ = self.server.set(server);
        self.replace(watches);
    }

    /// These and no others.
    pub fn replace(&self, watches: &[WatchDefinition]) {
        let Some(server) = self.server.get() else { return };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        for watch in watches {
            let same = before.iter().position(|one| one.watch == *watch).map(|at| before.swap_remove(at));
            running.push(same.unwrap_or_else(|| {
                let stop = Arc::new(Signal::default());
                server.driver.runtime().spawn(run(Arc::clone(server), watch.clone(), Arc::clone(&stop)));
                Running { watch: watch.clone(), stop }
            }));
        }
        for gone in before {
            gone.stop.set();
        }
    }
}

async fn run<R: Runtime>(server: Arc<Server<R>>, watch: WatchDefinition, stop: Arc<Signal>) {
    let rt = server.driver.runtime();
    let plan = Plan::new(&watch.watched, &watch.filter);
    let path = encode_path(&plan.path);
    let fields = [("X-Consul-Token", watch.token.as_str())];
    let fields = if watch.token.is_empty() { &fields[..0] } else { &fields[..] };
    let mut seen = Seen::default();
    loop {
        let query = seen.query(&plan).iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>().join("&");
        let Ok(answer) = race(answer_self(&server, &path, &query, &fields), stop.wait()).await else { return };
        let index = index_of(&answer);
        let wait = match seen.take(&plan, answer.status, index, &answer.body) {
            Ok(state) => {
                if let Some(state) = state {
                    tell(rt, &watch.handler, &path, format!("{state}\n").into_bytes(), index).await;
                }
                if seen.index() > 0 {
                    continue;
                }
                PAUSE
            }
            Err(why) => {
                let wait = seen.failed();
                let line = format!("watch of {path}: {why}; it is tried again in {} s", wait.as_secs());
                logging::log(Level::Error, "agent", &line);
                wait
            }
        };
        if race(rt.sleep(wait), stop.wait()).await.is_err() {
            return;
        }
    }
}

fn pair(name: &str, value: &str) -> String {
    let mut out = format!("{name}=");
    encode_query(&mut out, value);
    out
}

fn index_of(answer: &Response) -> u64 {
    let field = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("X-Consul-Index"));
    field.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// Calls the handler and waits for its end.
async fn tell<R: Runtime>(rt: &R, handler: &WatchHandler, path: &str, state: Vec<u8>, index: u64) {
    let (who, outcome) = match handler {
        WatchHandler::Program(args) => (args.join(" "), call(rt, args.clone(), state, index).await),
        WatchHandler::Http(hook) => (hook.url.clone(), post(rt, hook, state, index).await),
    };
    match outcome {
        Ok(said) => logging::log(Level::Debug, "agent", &format!("watch of {path}: told {who}: {said}")),
        Err(why) => logging::log(Level::Error, "agent", &format!("watch of {path}: handler {who} failed: {why}")),
    }
}

async fn call<R: Runtime>(rt: &R, args: Vec<String>, state: Vec<u8>, index: u64) -> Result<String, String> {
    let env = vec![("CONSUL_INDEX", index.to_string())];
    let program = Program { args, deadline: None, keep: KEEP, env, input: Some(state) };
    let (leash, tag) = Leash::new();
    let (ended, end) = async_channel::bounded(1);
    // A failover half done is worse than one that outlives its agent.
    leash.let_go();
    rt.blocking(move || reaper::start(&program, tag, ended)).await?;
    let Ended { how, output, .. } = end.recv().await.map_err(|_| "its end was not seen".to_owned())?;
    let output = String::from_utf8_lossy(&output).trim_end().to_owned();
    match how {
        How::Exited(Some(0)) => Ok(output),
        How::Exited(Some(code)) => Err(format!("exit status {code}: {output}")),
        How::Exited(None) | How::TimedOut => Err(format!("killed by a signal: {output}")),
    }
}

async fn post<R: Runtime>(rt: &R, hook: &WatchHook, state: Vec<u8>, index: u64) -> Result<String, String> {
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("X-Consul-Index".to_owned(), index.to_string()),
    ];
    for (name, values) in &hook.header {
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
    }
    let request = Request {
        headers,
        body: state.into(),
        tls: tls::Settings { skip_verify: hook.tls_skip_verify, ..tls::Settings::default() },
        ..Request::new(&hook.method, &hook.url)
    };
    let limits = Limits { timeout: hook.timeout, body: KEEP, overflow: Overflow::Cut };
    let answer = fetch(rt, &request, &limits).await.map_err(|why| why.to_string())?;
    let said = format!("{}: {}", answer.status_line(), String::from_utf8_lossy(&answer.body).trim_end());
    if (200..300).contains(&answer.status) { Ok(said) } else { Err(said) }
}
