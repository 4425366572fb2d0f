//! `lock`: runs a program while holding a lock, or one of several seats of a semaphore.
//!
//! The protocol is that of Consul's own clients, so that both may compete for the same lock: for one holder the key
//! `PREFIX/.lock` is acquired by a session; for several, every contender acquires `PREFIX/SESSION`, and the seats are a
//! JSON document under `PREFIX/.lock` that is changed by compare-and-set.

use super::Exit;
use super::child::{Program, ending};
use super::client::{Client, json, trying};
use super::command::{Action, Cx, DONE, Entry, Failure, Outcome, texts};
use super::flags::{Parsed, number, switch, text};
use super::transport::CallResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Arg;
use convoke_config::duration;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The family.
pub(super) const COMMANDS: &[Entry] = &[Entry {
    name: "lock",
    about: "Run a command while holding a lock",
    usage: "[options] PREFIX COMMAND...",
    detail: DETAIL,
    flags,
    action: Action::Remote(lock),
}];

const DETAIL: &str = "\
Waits for the lock at PREFIX, then runs COMMAND with CONSUL_LOCK_HELD=true in its environment. If the lock is lost or \
this command is asked to end, COMMAND gets SIGTERM and five seconds later SIGKILL. The lock is given back when COMMAND has ended.

Exits with 1 if the lock was not had or was lost, and with 2 if COMMAND failed and -child-exit-code is given.";

fn flags() -> Vec<Arg> {
    vec![
        switch("child-exit-code", "Exit with 2 if the command fails."),
        number("monitor-retry", "How often to try again when the lock cannot be looked after; 3 unless set."),
        number("n", "Seats: so many may hold the lock at once; 1 unless set."),
        text("name", "name", "Name of the session; says command and prefix unless set."),
        switch("pass-stdin", "Let the command read standard input."),
        switch("shell", "Have a shell run the command; on unless -shell=false."),
        text("timeout", "duration", "The same as -try, under its old name."),
        text("try", "duration", "Give up if the lock is not had within this time, such as 5s."),
        switch("verbose", "Say what happens."),
    ]
}

/// Flags of a key that is a lock, and of those of a semaphore.
const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
const SEMAPHORE_FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;
/// TTL of the session.
const TTL: Duration = Duration::from_secs(15);
/// Longest wait for a change while the lock is somebody else's: then signals are looked for.
const WAIT: Duration = Duration::from_secs(2);
/// Longest wait for a change of a lock that is held.
const WATCH: Duration = Duration::from_secs(10);
/// Before another try: after an error, or while a lock-delay keeps everybody out.
const RETRY: Duration = Duration::from_secs(1);

/// A key as the agent shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pair {
    key: String,
    value: Option<String>,
    flags: u64,
    modify_index: u64,
    session: Option<String>,
}

/// Who sits where, as it is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Seats {
    limit: i64,
    holders: BTreeMap<String, bool>,
}

/// What the threads of one command tell each other.
#[derive(Default)]
struct Shared {
    done: Mutex<bool>,
    wake: Condvar,
    lost: AtomicBool,
    /// SIGINT or SIGTERM came.
    asked: Arc<AtomicBool>,
}

impl Shared {
    /// Sleeps; true: there is nothing to look after any more.
    fn sleep(&self, duration: Duration) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *self.wake.wait_timeout_while(done, duration, |done| !*done).unwrap_or_else(PoisonError::into_inner).0
    }

    fn finish(&self) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    fn must_stop(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || self.asked.load(Ordering::Relaxed)
    }
}

/// A lock that is wanted or held.
struct Lock<'a> {
    client: &'a Client<'a>,
    prefix: String,
    session: String,
    /// 1: a lock. More: a semaphore.
    seats: i64,
}

fn lock(cx: &mut Cx<'_>, parsed: &Parsed, client: &Client<'_>) -> Outcome {
    let words: Vec<String> = texts(parsed)?.into_iter().map(str::to_owned).collect();
    let Some((prefix, command)) = words.split_first().filter(|(_, command)| !command.is_empty()) else {
        return Err("Key prefix and child command must be specified".into());
    };
    let prefix = prefix.trim_start_matches('/').trim_end_matches('/').to_owned();
    let seats = parsed.number("n").unwrap_or(1);
    if seats < 1 {
        return Err("Lock holder limit must be positive".into());
    }
    let retries = match parsed.number("monitor-retry").unwrap_or(3) {
        retries if retries < 0 => return Err("Number for 'monitor-retry' must be >= 0".into()),
        retries => retries.unsigned_abs(),
    };
    let patience = patience(parsed)?;
    let verbose = parsed.on("verbose");
    let name = parsed
        .text("name")
        .filter(|name| !name.is_empty())
        .map_or_else(|| format!("Consul lock for '{}' at '{prefix}'", command.join(" ")), str::to_owned);
    let program = Program {
        words: command,
        shell: parsed.switch("shell").unwrap_or(true),
        env: &[("CONSUL_LOCK_HELD", "true".to_owned())],
        pass_stdin: parsed.on("pass-stdin"),
    };

    let shared = Shared::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&shared.asked))
            .map_err(|why| format!("cannot listen to signals: {why}"))?;
    }
    if verbose {
        cx.remark(format!("Setting up lock at path: {prefix}/.lock"));
    }
    let session = trying("Lock setup failed", create(client, &name))?;
    let lock = Lock { client, prefix, session, seats };
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| lock.keep(&shared));
        let ended = match trying("Lock acquisition failed", lock.acquire(patience, &shared)) {
            Err(why) => Err(why),
            Ok(false) => Err("Shutdown triggered or timeout during lock acquisition".into()),
            Ok(true) => {
                if verbose {
                    cx.remark("Lock acquired, running the command");
                }
                scope.spawn(|| lock.watch(retries, &shared));
                let ended = guard(cx, &program, &shared, verbose);
                shared.finish();
                // The release wakes the thread that watches the key.
                lock.release().and(ended)
            }
        };
        shared.finish();
        ended
    });
    // The rest of the session's time is of no use to anybody.
    let _ = client.put(&format!("/v1/session/destroy/{}", lock.session), &[], Vec::new());
    match ended? {
        0 => DONE,
        _ if parsed.on("child-exit-code") => Ok(Exit::Code(2)),
        _ => DONE,
    }
}

/// How long to try, if not for ever.
fn patience(parsed: &Parsed) -> Result<Option<Duration>, Failure> {
    let given = |name: &str| parsed.text(name).filter(|text| !text.is_empty() && *text != "0" && *text != "0s");
    let Some(text) = given("try").or_else(|| given("timeout")) else { return Ok(None) };
    match duration::parse(text) {
        Ok(time) if time.is_zero() => Err("Timeout must be positive".into()),
        Ok(time) => Ok(Some(time)),
        Err(why) => Err(format!("Error parsing try timeout: {why}").into()),
    }
}

/// Runs the program; how it ended: 0, or 1 if it failed.
fn guard(cx: &mut Cx<'_>, program: &Program<'_>, shared: &Shared, verbose: bool) -> Result<i32, Failure> {
    let mut child = program.start().map_err(|why| format!("Error executing command: {why}"))?;
    let ended = child.wait(|| shared.must_stop()).map_err(|why| format!("Error waiting for the command: {why}"))?;
    match ended {
        Some(status) if status.success() => Ok(0),
        Some(status) => {
            cx.remark(format!("Error running handler: {}", ending(status)));
            Ok(1)
        }
        None => {
            let lost = shared.lost.load(Ordering::Relaxed);
            if verbose {
                cx.remark(if lost { "Lock lost, killing child" } else { "Shutdown triggered, killing child" });
            }
            child.end().map_err(|why| format!("Error ending the command: {why}"))?;
            if lost { Err("Lock lost: the command was ended".into()) } else { Ok(1) }
        }
    }
}

fn create(client: &Client<'_>, name: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Made {
        #[serde(rename = "ID")]
        id: String,
    }
    let body = serde_json::json!({ "Name": name, "TTL": duration::format(TTL) }).to_string().into_bytes();
    let made: Made = json(&client.put("/v1/session/create", &[], body)?)?;
    Ok(made.id)
}

impl Lock<'_> {
    fn path(&self) -> String {
        format!("/v1/kv/{}/.lock", self.prefix)
    }

    fn flags(&self) -> u64 {
        if self.seats > 1 { SEMAPHORE_FLAGS } else { LOCK_FLAGS }
    }

    /// Renews the session until told to stop. A session that is gone, or was not renewed for its TTL, is a lost lock:
    /// the agent lets go of it only after twice that time.
    fn keep(&self, shared: &Shared) {
        let path = format!("/v1/session/renew/{}", self.session);
        let mut renewed = Instant::now();
        let mut wait = TTL / 2;
        while !shared.sleep(wait) {
            match self.client.call("PUT", &path, &[], Vec::new()) {
                Ok(answer) if answer.status == 200 => {
                    renewed = Instant::now();
                    wait = TTL / 2;
                }
                Ok(answer) if answer.status == 404 => return shared.lose(),
                Ok(_) | Err(_) if renewed.elapsed() >= TTL => return shared.lose(),
                Ok(_) | Err(_) => wait = RETRY,
            }
        }
    }

    /// Watches a lock that is held until told to stop, or until it is not.
    fn watch(&self, retries: u64, shared: &Shared) {
        let (mut index, mut failures) = (0, 0);
        while !*shared.done.lock().unwrap_or_else(PoisonError::into_inner) {
            match self.look(index, WATCH) {
                Ok((pairs, _)) if !self.holds(&pairs) => return shared.lose(),
                Ok((_, next)) => (index, failures) = (if next < index { 0 } else { next }, 0),
                Err(_) if failures >= retries => return shared.lose(),
                Err(_) => {
                    (index, failures) = (0, failures + 1);
                    if shared.sleep(RETRY) {
                        return;
                    }
                }
            }
        }
    }

    fn holds(&self, pairs: &[Pair]) -> bool {
        let Some(lock) = self.lock_of(pairs) else { return false };
        if self.seats == 1 {
            return lock.session.as_deref() == Some(&self.session);
        }
        let alive = pairs.iter().any(|pair| pair.session.as_deref() == Some(&self.session));
        alive && seats_of(lock).is_ok_and(|seats| seats.holders.contains_key(&self.session))
    }

    /// Waits for the lock. `false`: it was not had in time, or this command is to end.
    fn acquire(&self, patience: Option<Duration>, shared: &Shared) -> Result<bool, String> {
        let end = patience.map(|patience| Instant::now() + patience);
        let left = |most: Duration| end.map_or(most, |end| most.min(end.saturating_duration_since(Instant::now())));
        if self.seats > 1 {
            let path = format!("/v1/kv/{}/{}", self.prefix, self.session);
            self.change(&path, &[("acquire", &self.session)], Vec::new())?;
        }
        let mut index = 0;
        loop {
            let (pairs, next) = self.look(index, left(WAIT))?;
            if self.holds(&pairs) || self.try_once(&pairs)? {
                return Ok(true);
            }
            if shared.must_stop() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
            // What nobody holds and nobody gets is kept free by a lock-delay, of whose end no change tells.
            let (pairs, now) = self.look(0, Duration::ZERO)?;
            let free = self.lock_of(&pairs).is_none_or(|lock| lock.session.is_none());
            index = if next <= now { now } else { 0 };
            if self.seats == 1 && free {
                std::thread::sleep(left(RETRY));
                index = 0;
            }
        }
    }

    /// Takes the lock if it is free.
    fn try_once(&self, pairs: &[Pair]) -> Result<bool, String> {
        let lock = self.lock_of(pairs);
        if lock.is_some_and(|lock| lock.flags != self.flags()) {
            let what = if self.seats > 1 { "semaphore" } else { "lock" };
            return Err(format!("Existing key does not match {what} use"));
        }
        if self.seats == 1 {
            if lock.is_some_and(|lock| lock.session.is_some()) {
                return Ok(false);
            }
            return self.change(&self.path(), &[("acquire", &self.session)], Vec::new());
        }
        let mut seats = self.taken(pairs)?;
        if i64::try_from(seats.holders.len()).unwrap_or(i64::MAX) >= self.seats {
            return Ok(false);
        }
        seats.holders.insert(self.session.clone(), true);
        self.seat(lock, &seats)
    }

    /// Who sits where, without those who are gone.
    fn taken(&self, pairs: &[Pair]) -> Result<Seats, String> {
        let mut seats = match self.lock_of(pairs) {
            Some(lock) => seats_of(lock)?,
            None => Seats { limit: self.seats, ..Seats::default() },
        };
        if seats.limit != self.seats {
            return Err(format!("semaphore limit conflict (lock: {}, local: {})", seats.limit, self.seats));
        }
        seats.holders.retain(|holder, _| pairs.iter().any(|pair| pair.session.as_ref() == Some(holder)));
        Ok(seats)
    }

    /// Writes who sits where, unless somebody else has meanwhile.
    fn seat(&self, lock: Option<&Pair>, seats: &Seats) -> Result<bool, String> {
        let body = serde_json::to_vec(seats).map_err(|why| why.to_string())?;
        self.change(&self.path(), &[("cas", &lock.map_or(0, |lock| lock.modify_index).to_string())], body)
    }

    /// Lets go of the lock, and removes it if nobody uses it.
    fn release(&self) -> Result<(), Failure> {
        if self.seats == 1 {
            let released = self.change(&self.path(), &[("release", &self.session)], Vec::new());
            if !trying("Lock release failed", released)? {
                return Err("Lock release failed: Lock not held".into());
            }
        } else {
            trying("Lock release failed", self.stand_up())?;
        }
        trying("Lock cleanup failed", self.clean_up())
    }

    fn stand_up(&self) -> Result<(), String> {
        loop {
            let (pairs, _) = self.look(0, Duration::ZERO)?;
            let Some(lock) = self.lock_of(&pairs) else { break };
            let mut seats = self.taken(&pairs)?;
            if seats.holders.remove(&self.session).is_none() || self.seat(Some(lock), &seats)? {
                break;
            }
        }
        let path = format!("/v1/kv/{}/{}", self.prefix, self.session);
        self.client.fine("DELETE", &path, &[], Vec::new()).map(|_| ())
    }

    fn clean_up(&self) -> Result<(), String> {
        let (pairs, _) = self.look(0, Duration::ZERO)?;
        let Some(lock) = self.lock_of(&pairs) else { return Ok(()) };
        let used = lock.session.is_some() || lock.flags != self.flags();
        if used || self.seats > 1 && !self.taken(&pairs)?.holders.is_empty() {
            return Ok(());
        }
        // Somebody may take it this moment: then it stays.
        self.client.fine("DELETE", &self.path(), &[("cas", &lock.modify_index.to_string())], Vec::new()).map(|_| ())
    }

    fn lock_of<'p>(&self, pairs: &'p [Pair]) -> Option<&'p Pair> {
        let key = format!("{}/.lock", self.prefix);
        pairs.iter().find(|pair| pair.key == key)
    }

    /// The lock's key, or all keys of the semaphore, and their index; waits for one beyond `index` unless that is 0.
    fn look(&self, index: u64, wait: Duration) -> Result<(Vec<Pair>, u64), String> {
        let (index, wait) = (index.to_string(), format!("{}ms", wait.as_millis().max(1)));
        let mut query = vec![("consistent", "")];
        if index != "0" {
            query.extend([("index", index.as_str()), ("wait", wait.as_str())]);
        }
        let answer = if self.seats > 1 {
            query.push(("recurse", ""));
            self.client.call("GET", &format!("/v1/kv/{}/", self.prefix), &query, Vec::new())?
        } else {
            self.client.call("GET", &self.path(), &query, Vec::new())?
        };
        let index = index_of(&answer);
        match answer.status {
            404 => Ok((Vec::new(), index)),
            _ => Ok((json(&super::client::expect_ok(answer)?.body)?, index)),
        }
    }

    /// A write to a key; whether it was done.
    fn change(&self, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> Result<bool, String> {
        let flags = self.flags().to_string();
        let mut all = query.to_vec();
        all.push(("flags", &flags));
        json(&self.client.put(path, &all, body)?)
    }
}

fn seats_of(lock: &Pair) -> Result<Seats, String> {
    let bytes = STANDARD.decode(lock.value.as_deref().unwrap_or_default()).map_err(|why| why.to_string())?;
    if bytes.is_empty() {
        return Ok(Seats::default());
    }
    serde_json::from_slice(&bytes).map_err(|why| format!("the semaphore's key is not understood: {why}"))
}

/// What an answer says of how new it is; 0 if nothing.
pub(super) fn index_of(answer: &CallResponse) -> u64 {
    let header = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("X-Consul-Index"));
    header.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}
