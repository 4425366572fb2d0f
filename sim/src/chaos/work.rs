//! What a client does: one request at a time, never sent again, with all that it saw.
//!
//! Two families of keys: of one the values are read, written, and compared and set; the others are locked and unlocked. (A lock
//! changes a key's index, which a compare-and-set goes by, and the checker's model goes by values.)

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_kit::Rng;

use super::http::{self, Response};
use crate::consensus::checker::{Answer, Record, Seen, Wish};

const PATIENCE: Duration = Duration::from_secs(2);
/// After so long other keys are used: short histories are judged quickly.
const EPOCH: Duration = Duration::from_secs(10);

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) start: Instant,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) stop: AtomicBool,
    pub(super) history: Mutex<Vec<Record>>,
    pub(super) registered: Mutex<Vec<String>>,
    pub(super) errors: AtomicU64,
    pub(super) locks: AtomicU64,
}

impl Shared {
    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn record(&self, client: u64, key: &str, call: u64, wish: Wish, answer: Option<(bool, Option<Seen>)>) {
        let at = self.now();
        let answer = answer.map(|(ok, seen)| Answer { at, ok, seen });
        // A read that says nothing says nothing.
        if answer.is_none() && wish == Wish::Read {
            return;
        }
        if let Ok(mut history) = self.history.lock() {
            history.push(Record { client, key: key.to_string(), call, wish, answer });
        }
    }
}

/// A client.
#[derive(Debug)]
pub(super) struct Worker {
    id: u64,
    rng: Rng,
    shared: Arc<Shared>,
    at: usize,
    count: u64,
    /// What it last saw of a key: value and index.
    known: BTreeMap<String, (Option<String>, u64)>,
    session: Option<String>,
    held: Vec<String>,
}

impl Worker {
    pub(super) fn new(id: u64, rng: Rng, shared: Arc<Shared>) -> Self {
        let at = id as usize % shared.servers.len();
        Self { id, rng, shared, at, count: 0, known: BTreeMap::new(), session: None, held: Vec::new() }
    }

    /// Works until it is told to stop.
    pub(super) fn work(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(self.rng.below(40)));
            self.count += 1;
            if self.rng.one_in(20) {
                self.at = self.rng.index(self.shared.servers.len());
            }
            if self.session.is_none() && self.rng.one_in(10) {
                self.open_session();
            }
            let epoch = self.shared.start.elapsed().as_secs() / EPOCH.as_secs();
            let number = self.rng.below(3);
            match self.rng.below(20) {
                0..7 => self.read(&format!("v{epoch}-{number}")),
                7..11 => self.write(&format!("v{epoch}-{number}")),
                11..15 => self.cas(&format!("v{epoch}-{number}")),
                15 => self.register(),
                16 => self.read(&format!("l{epoch}-{number}")),
                _ => self.lock(&format!("l{epoch}-{number}")),
            }
        }
    }

    /// Asks the server it uses; another one next time if that does not answer.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<Result<Response, String>> {
        let answer = http::ask(self.shared.servers[self.at], method, path, body, PATIENCE);
        let fine = matches!(&answer, Some(Ok(response)) if response.status < 500);
        if !fine {
            self.shared.errors.fetch_add(1, Ordering::Relaxed);
            self.at = self.rng.index(self.shared.servers.len());
        }
        answer
    }

    fn value(&self) -> String {
        format!("{}.{}", self.id, self.count)
    }

    fn read(&mut self, key: &str) {
        let mode = if self.rng.one_in(3) { "?consistent" } else { "" };
        let call = self.shared.now();
        let Some(Ok(response)) = self.ask("GET", &format!("/v1/kv/{key}{mode}"), "") else { return };
        let Some((seen, index)) = seen(&response) else { return };
        self.known.insert(key.to_string(), (seen.value.clone(), index));
        self.shared.record(self.id, key, call, Wish::Read, Some((true, Some(seen))));
    }

    /// A request that is answered by true or false; everything else says nothing about whether it was done.
    fn change(&mut self, key: &str, query: &str, body: &str, wish: Wish) -> Option<bool> {
        let call = self.shared.now();
        // What was never sent was never done.
        let answer = self.ask("PUT", &format!("/v1/kv/{key}{query}"), body)?;
        let ok = answer.ok().filter(|response| response.status == 200).and_then(|r| r.text().parse::<bool>().ok());
        // A write without a condition is done, or it is not known.
        let ok = ok.filter(|ok| *ok || !matches!(wish, Wish::Write { .. }));
        self.shared.record(self.id, key, call, wish, ok.map(|ok| (ok, None)));
        ok
    }

    fn write(&mut self, key: &str) {
        let value = self.value();
        self.change(key, "", &value, Wish::Write { value: Some(value.clone()) });
    }

    fn cas(&mut self, key: &str) {
        let (from, index) = self.known.remove(key).unwrap_or((None, 0));
        let value = self.value();
        let wish = Wish::Cas { from, to: Some(value.clone()) };
        self.change(key, &format!("?cas={index}"), &value, wish);
    }

    fn lock(&mut self, key: &str) {
        let Some(session) = self.session.clone() else { return };
        let value = self.value();
        let release = !self.held.is_empty() && self.rng.one_in(2);
        let answered = if release {
            let key = self.held.swap_remove(0);
            let wish = Wish::Release { owner: session.clone(), value: Some(value.clone()) };
            self.change(&key, &format!("?release={session}"), &value, wish)
        } else {
            let wish = Wish::Acquire { owner: session.clone(), value: Some(value.clone()) };
            let answered = self.change(key, &format!("?acquire={session}"), &value, wish);
            if answered == Some(true) {
                self.held.push(key.to_string());
            }
            answered
        };
        if answered.is_some() {
            self.shared.locks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One that ends with nothing: bound to no check, without a time to live.
    fn open_session(&mut self) {
        let body = r#"{"Name":"chaos","Checks":[],"NodeChecks":[],"LockDelay":"0s"}"#;
        if let Some(Ok(response)) = self.ask("PUT", "/v1/session/create", body)
            && response.status == 200
            && let Ok(value) = serde_json::from_slice::<serde_json::Value>(&response.body)
        {
            self.session = value["ID"].as_str().map(str::to_string);
        }
    }

    fn register(&mut self) {
        let name = format!("chaos-{}-{}", self.id, self.count);
        let body = format!(r#"{{"Node":"{name}","Address":"127.0.0.1","Service":{{"Service":"chaos"}}}}"#);
        if let Some(Ok(response)) = self.ask("PUT", "/v1/catalog/register", &body)
            && response.status == 200
            && let Ok(mut registered) = self.shared.registered.lock()
        {
            registered.push(name);
        }
    }
}

/// What an answer to a read says of a key, and its index.
fn seen(response: &Response) -> Option<(Seen, u64)> {
    match response.status {
        404 => Some((Seen::default(), 0)),
        200 => {
            let rows: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
            let row = rows.get(0)?;
            let value = row["Value"].as_str().map(|text| STANDARD.decode(text)).transpose().ok()?;
            let value = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let owner = row["Session"].as_str().map(str::to_string);
            Some((Seen { value, owner }, row["ModifyIndex"].as_u64()?))
        }
        _ => None,
    }
}

/// Reads every key that was used, until an answer comes; gives the registrations that were acknowledged and are not there.
pub(super) fn read_everything(shared: &Arc<Shared>) -> Result<Vec<String>, String> {
    let keys: std::collections::BTreeSet<String> = match shared.history.lock() {
        Ok(history) => history.iter().map(|record| record.key.clone()).collect(),
        Err(_) => return Err("a client panicked".to_string()),
    };
    let insist = |path: &str| {
        let end = Instant::now() + Duration::from_secs(30);
        let mut at = 0;
        while Instant::now() < end {
            at += 1;
            let to = shared.servers[at % shared.servers.len()];
            let call = shared.now();
            if let Some(Ok(response)) = http::ask(to, "GET", path, "", PATIENCE)
                && response.status < 500
            {
                return Ok((call, response));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("nobody answers {path} within 30 s after all was healed"))
    };
    for key in keys {
        let (call, response) = insist(&format!("/v1/kv/{key}?consistent"))?;
        if let Some((seen, _)) = seen(&response) {
            shared.record(0, &key, call, Wish::Read, Some((true, Some(seen))));
        }
    }
    let registered = shared.registered.lock().map(|all| all.clone()).unwrap_or_default();
    let mut missing = Vec::new();
    for name in registered {
        let (_, response) = insist(&format!("/v1/catalog/node/{name}?consistent"))?;
        if !response.text().contains(&name) {
            missing.push(name);
        }
    }
    Ok(missing)
}
