//! Metrics: the `metrics` facade in front, Consul's two output forms behind.
//!
//! Counters and samples are shown for the last whole interval of ten seconds, as go-metrics does; Prometheus' form
//! shows totals since the start.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use convoke_api::response::Response;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Length of an interval.
pub const INTERVAL: Duration = Duration::from_secs(10);
const PREFIX: &str = "consul";
const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "other"];
/// Path heads a thread remembers; strangers' nonsense paths make it forget, nothing worse.
const CACHED_HEADS: usize = 256;

/// A thread's short cut from the head of a path and a method to their samples.
type HttpCells = HashMap<String, [Option<Arc<Samples>>; METHODS.len()]>;

/// The registry. Cheap to share.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    gauges: Mutex<BTreeMap<Key, Arc<Cell>>>,
    counters: Mutex<BTreeMap<Key, Arc<Samples>>>,
    samples: Mutex<BTreeMap<Key, Arc<Samples>>>,
}

/// A gauge: the bits of an `f64`.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl GaugeFn for Cell {
    fn increment(&self, by: f64) {
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |v| Some((f64::from_bits(v) + by).to_bits()));
    }
    fn decrement(&self, by: f64) {
        self.increment(-by);
    }
    fn set(&self, to: f64) {
        self.0.store(to.to_bits(), Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct Samples(Mutex<Window>);

/// The interval that runs, the last whole one, and the total.
#[derive(Debug, Default)]
struct Window {
    current: Aggregate,
    last: Aggregate,
    total: Aggregate,
}

#[derive(Clone, Copy, Debug, Default)]
struct Aggregate {
    count: u64,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Aggregate {
    fn add(&mut self, v: f64) {
        self.min = if self.count == 0 { v } else { self.min.min(v) };
        self.max = if self.count == 0 { v } else { self.max.max(v) };
        self.count += 1;
        self.sum += v;
        self.squares += v * v;
    }

    fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// Sample standard deviation.
    fn stddev(&self) -> f64 {
        let n = self.count as f64;
        if self.count < 2 { 0.0 } else { ((n * self.squares - self.sum * self.sum).max(0.0) / (n * (n - 1.0))).sqrt() }
    }
}

impl Samples {
    fn add(&self, v: f64) {
        let mut w = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        w.current.add(v);
        w.total.add(v);
    }

    fn rotate(&self) {
        let mut w = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        w.last = std::mem::take(&mut w.current);
    }
}

impl CounterFn for Samples {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, value: u64) {
        let total = self.0.lock().unwrap_or_else(PoisonError::into_inner).total.sum;
        self.add((value as f64 - total).max(0.0));
    }
}

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(cell(&self.0.counters, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(cell(&self.0.gauges, key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(cell(&self.0.samples, key))
    }
}

fn cell<T: Default>(table: &Mutex<BTreeMap<Key, Arc<T>>>, key: &Key) -> Arc<T> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(table.entry(key.clone()).or_default())
}

impl Metrics {
    /// Makes this the process' recorder. A second one in a process is ignored.
    pub fn install(&self) {
        let _ = metrics::set_global_recorder(self.clone());
    }

    /// One HTTP request: `consul.api.http{method,path}`, in milliseconds. The path is cut to its endpoint, so that
    /// keys and names in it cannot grow the registry without bound.
    pub fn http(&self, method: &str, path: &str, took: Duration) {
        thread_local!(static CACHE: RefCell<HttpCells> = RefCell::default());
        let at = METHODS.iter().position(|m| *m == method).unwrap_or(METHODS.len() - 1);
        CACHE.with_borrow_mut(|cache| {
            let head = head(path);
            if !cache.contains_key(head) {
                if cache.len() >= CACHED_HEADS {
                    cache.clear();
                }
                cache.insert(head.to_owned(), Default::default());
            }
            let Some(cells) = cache.get_mut(head) else { return };
            let samples = cells[at].get_or_insert_with(|| {
                let labels = vec![label("method", METHODS[at]), label("path", endpoint(head))];
                cell(&self.0.samples, &Key::from_parts("api.http", labels))
            });
            samples.add(took.as_secs_f64() * 1000.0);
        });
    }

    /// Ends an interval; to be called every [`INTERVAL`].
    pub fn rotate(&self) {
        for table in [&self.0.counters, &self.0.samples] {
            for samples in table.lock().unwrap_or_else(PoisonError::into_inner).values() {
                samples.rotate();
            }
        }
    }

    /// `/v1/agent/metrics`. Gauges carry the host's name unless it is disabled, as in Consul.
    #[must_use]
    pub fn render(&self, prometheus: bool, pretty: bool, hostname: Option<&str>) -> Response {
        metrics::gauge!("runtime.alloc_bytes").set(resident_bytes());
        if prometheus {
            let mut r = Response::empty(200);
            r.header("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
            r.body = self.prometheus(hostname).into_bytes();
            return r;
        }
        let doc = self.json(hostname);
        let body = if pretty { serde_json::to_vec_pretty(&doc) } else { serde_json::to_vec(&doc) };
        Response::json(200, body.unwrap_or_default())
    }

    fn json(&self, hostname: Option<&str>) -> serde_json::Value {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = Duration::from_secs(now.as_secs() / INTERVAL.as_secs() * INTERVAL.as_secs());
        let stamp = crate::logging::timestamp(SystemTime::UNIX_EPOCH + start);
        let stamp = format!("{} +0000 UTC", stamp[..19].replace('T', " "));
        let gauges: Vec<_> = self
            .gauges()
            .into_iter()
            .map(|(k, v)| serde_json::json!({"Name": gauge_name(&k, hostname), "Value": v, "Labels": labels(&k)}))
            .collect();
        let rows = |table: &Mutex<BTreeMap<Key, Arc<Samples>>>| -> Vec<serde_json::Value> {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table
                .iter()
                .filter_map(|(k, s)| {
                    let a = s.0.lock().unwrap_or_else(PoisonError::into_inner).last;
                    (a.count > 0).then(|| {
                        serde_json::json!({
                            "Name": format!("{PREFIX}.{}", k.name()), "Count": a.count,
                            "Rate": a.sum / INTERVAL.as_secs_f64(), "Sum": a.sum, "Min": a.min, "Max": a.max,
                            "Mean": a.mean(), "Stddev": a.stddev(), "Labels": labels(k)})
                    })
                })
                .collect()
        };
        serde_json::json!({
            "Timestamp": stamp, "Gauges": gauges, "Points": [], "Counters": rows(&self.0.counters),
            "Samples": rows(&self.0.samples)})
    }

    fn prometheus(&self, hostname: Option<&str>) -> String {
        let mut out = String::new();
        let mut seen = String::new();
        let mut head = |out: &mut String, name: &str, kind: &str| {
            if seen != name {
                let _ = writeln!(out, "# HELP {name} {name}\n# TYPE {name} {kind}");
                name.clone_into(&mut seen);
            }
        };
        for (k, v) in self.gauges() {
            let name = flat(&gauge_name(&k, hostname));
            head(&mut out, &name, "gauge");
            let _ = writeln!(out, "{name}{} {v}", braces(&k));
        }
        for (table, kind) in [(&self.0.counters, "counter"), (&self.0.samples, "summary")] {
            for (k, s) in table.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let total = s.0.lock().unwrap_or_else(PoisonError::into_inner).total;
                let name = flat(&format!("{PREFIX}.{}", k.name()));
                head(&mut out, &name, kind);
                if kind == "counter" {
                    let _ = writeln!(out, "{name}{} {}", braces(k), total.sum);
                } else {
                    let _ =
                        writeln!(out, "{name}_sum{l} {}\n{name}_count{l} {}", total.sum, total.count, l = braces(k));
                }
            }
        }
        out
    }

    fn gauges(&self) -> Vec<(Key, f64)> {
        let table = self.0.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        table.iter().map(|(k, c)| (k.clone(), f64::from_bits(c.0.load(Ordering::Acquire)))).collect()
    }
}

fn label(name: &'static str, value: impl Into<SharedString>) -> metrics::Label {
    metrics::Label::new(name, value)
}

/// The part of a path that [`endpoint`] looks at: up to four segments for the agent's, three for others, two for keys.
fn head(path: &str) -> &str {
    let segments = match path.get(..7) {
        Some("/v1/age") => 4,
        Some("/v1/kv/" | "/v1/txn") => 2,
        _ => 3,
    };
    path.match_indices('/').nth(segments).map_or(path, |(at, _)| &path[..at])
}

/// `/v1/agent/service/register` -> `v1_agent_service_register`; `/v1/kv/a/b` -> `v1_kv_`. At most the first three
/// segments after `v1` of the `agent` family, two of the others, and only plain lower-case words.
fn endpoint(path: &str) -> String {
    let mut segments = path.trim_start_matches('/').split('/');
    if segments.next() != Some("v1") {
        return "other".into();
    }
    let family = segments.next().unwrap_or("");
    let known =
        ["agent", "catalog", "health", "status", "internal", "kv", "session", "event", "query", "coordinate", "txn"];
    if !known.contains(&family) {
        return "v1_other".into();
    }
    let mut out = format!("v1_{family}");
    let words = ["kv", "txn"].contains(&family);
    let verb = segments.next().filter(|_| !words);
    let verbs = [
        "self",
        "host",
        "version",
        "members",
        "metrics",
        "monitor",
        "reload",
        "maintenance",
        "join",
        "leave",
        "force-leave",
        "services",
        "service",
        "health",
        "checks",
        "check",
        "register",
        "deregister",
        "datacenters",
        "nodes",
        "node",
        "node-services",
        "connect",
        "ingress",
        "state",
        "leader",
        "peers",
        "ui",
        "create",
        "destroy",
        "info",
        "list",
        "renew",
        "fire",
        "update",
    ];
    if let Some(verb) = verb {
        out.push('_');
        if verbs.contains(&verb) {
            out.push_str(verb);
            if let Some(next) = segments.next().filter(|s| {
                family == "agent"
                    && ["register", "deregister", "maintenance", "pass", "warn", "fail", "update"].contains(s)
            }) {
                out.push('_');
                out.push_str(next);
            }
        }
    }
    out
}

fn gauge_name(key: &Key, hostname: Option<&str>) -> String {
    match hostname {
        Some(h) => format!("{PREFIX}.{h}.{}", key.name()),
        None => format!("{PREFIX}.{}", key.name()),
    }
}

fn labels(key: &Key) -> serde_json::Value {
    key.labels().map(|l| (l.key().to_owned(), l.value().into())).collect::<serde_json::Map<_, _>>().into()
}

fn braces(key: &Key) -> String {
    if key.labels().len() == 0 {
        return String::new();
    }
    let pairs: Vec<_> = key
        .labels()
        .map(|l| {
            let value = l.value().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{}=\"{value}\"", flat(l.key()))
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// Prometheus allows letters, digits, `_` and `:`.
fn flat(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect()
}

/// Memory of this process as the system counts it; 0 where it does not say.
fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split_whitespace().nth(1).and_then(|p| p.parse().ok()).unwrap_or(0.0);
    pages * 4096.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_do_not_carry_names() {
        for (path, want) in [
            ("/v1/agent/service/register", "v1_agent_service_register"),
            ("/v1/agent/service/deregister/web-1", "v1_agent_service_deregister"),
            ("/v1/health/service/web", "v1_health_service"),
            ("/v1/kv/secret/key", "v1_kv"),
            ("/v1/catalog/x$y", "v1_catalog_"),
            ("/v1/nosuch/thing", "v1_other"),
            ("/ui/", "other"),
        ] {
            assert_eq!(endpoint(head(path)), want, "{path}");
        }
    }

    #[test]
    fn both_forms_show_what_was_recorded() {
        let m = Metrics::default();
        m.http("GET", "/v1/status/leader", Duration::from_millis(2));
        m.http("GET", "/v1/status/leader", Duration::from_millis(4));
        cell(&m.0.gauges, &Key::from_name("state.nodes")).set(3.0);
        let text = m.prometheus(None);
        assert!(text.contains("consul_api_http_count{method=\"GET\",path=\"v1_status_leader\"} 2"), "{text}");
        assert!(text.contains("# TYPE consul_state_nodes gauge\nconsul_state_nodes 3"), "{text}");
        assert_eq!(m.json(Some("n1"))["Samples"].as_array().map(Vec::len), Some(0), "the interval is not over");
        m.rotate();
        let doc = m.json(Some("n1"));
        assert_eq!(doc["Samples"][0]["Mean"], 3.0);
        assert_eq!(doc["Samples"][0]["Count"], 2);
        assert_eq!(doc["Gauges"][0]["Name"], "consul.n1.state.nodes");
        m.rotate();
        assert_eq!(m.json(None)["Samples"].as_array().map(Vec::len), Some(0), "nothing in the last interval");
    }

    #[test]
    fn label_values_are_escaped() {
        let key = Key::from_parts("x", vec![label("a", "q\"\\\n")]);
        assert_eq!(braces(&key), "{a=\"q\\\"\\\\\\n\"}");
    }
}
