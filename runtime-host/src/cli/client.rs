//! The options that say which agent to ask and how, and the asking itself.

use super::command::{Env, Failure};
use super::flags::{Parsed, list, switch, text};
use super::transport::{Address, CallHead, CallRequest, CallResponse, TlsOptions, Transport};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Arg;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

/// Where an agent listens unless told otherwise.
const DEFAULT_ADDR: &str = "127.0.0.1:8500";

/// An agent that says nothing for so long is taken for dead.
const PATIENCE: Duration = Duration::from_secs(90);

/// The flags every command that asks an agent takes.
pub(super) fn flags() -> Vec<Arg> {
    vec![
        text(
            "http-addr",
            "address",
            "The agent's HTTP API: host:port, http://..., https://... or unix://PATH. Also CONSUL_HTTP_ADDR; 127.0.0.1:8500 unless set.",
        ),
        text("token", "token", "ACL token to send. Also CONSUL_HTTP_TOKEN."),
        text("token-file", "path", "File that holds the ACL token; wins over -token. Also CONSUL_HTTP_TOKEN_FILE."),
        text("ca-file", "path", "PEM file with the authorities to trust for https. Also CONSUL_CACERT."),
        text("ca-path", "path", "Folder of such PEM files. Also CONSUL_CAPATH."),
        text("client-cert", "path", "PEM file with the certificate to present to the agent. Also CONSUL_CLIENT_CERT."),
        text("client-key", "path", "PEM file with the key of that certificate. Also CONSUL_CLIENT_KEY."),
        text("tls-server-name", "name", "Name expected in the agent's certificate. Also CONSUL_TLS_SERVER_NAME."),
        text("datacenter", "name", "Datacenter to ask; the agent's own unless set."),
        switch("stale", "Let any server answer, even one that is behind the leader."),
        text("namespace", "name", "Namespace to ask in. Also CONSUL_NAMESPACE."),
        text("partition", "name", "Admin partition to ask in. Also CONSUL_PARTITION."),
    ]
}

/// The flags of filters on nodes.
pub(super) fn node_meta_flag() -> Arg {
    list("node-meta", "key=value", "Only nodes whose metadata has this pair. May be given several times.")
}

/// A question to the agent that the options name.
pub(super) struct Client<'a> {
    transport: &'a dyn Transport,
    base: Address,
    tls: TlsOptions,
    headers: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
}

impl<'a> Client<'a> {
    /// Puts flags and environment together; a flag wins.
    ///
    /// # Errors
    /// An address, a truth value or a token file that cannot be used.
    pub(super) fn new(parsed: &Parsed, env: Env<'_>, transport: &'a dyn Transport) -> Result<Self, String> {
        let var = |name: &str| env(name).filter(|value| !value.is_empty());
        let either = |flag: &str, name: &str| {
            parsed.text(flag).filter(|value| !value.is_empty()).map(str::to_owned).or_else(|| var(name))
        };
        let truth = |name: &str, unset: bool| match var(name).as_deref() {
            None => Ok(unset),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(format!("could not parse {name}={other:?}: use true or false")),
        };
        let address = either("http-addr", "CONSUL_HTTP_ADDR").unwrap_or_else(|| DEFAULT_ADDR.to_owned());
        let base = Address::parse(&address, truth("CONSUL_HTTP_SSL", false)?)?;
        let path = |flag: &str, name: &str| either(flag, name).map(PathBuf::from);
        let tls = TlsOptions {
            ca_file: path("ca-file", "CONSUL_CACERT"),
            ca_path: path("ca-path", "CONSUL_CAPATH"),
            client_cert: path("client-cert", "CONSUL_CLIENT_CERT"),
            client_key: path("client-key", "CONSUL_CLIENT_KEY"),
            server_name: either("tls-server-name", "CONSUL_TLS_SERVER_NAME"),
            verify: truth("CONSUL_HTTP_SSL_VERIFY", true)?,
        };
        let mut headers = Vec::new();
        let mut token = either("token", "CONSUL_HTTP_TOKEN");
        if let Some(file) = path("token-file", "CONSUL_HTTP_TOKEN_FILE") {
            let held = std::fs::read_to_string(&file)
                .map_err(|why| format!("Error loading token file: open {}: {why}", file.display()))?;
            if !held.trim().is_empty() {
                token = Some(held.trim().to_owned());
            }
        }
        if let Some(token) = token {
            if token.chars().any(|c| c.is_control() || !c.is_ascii()) {
                return Err("the ACL token has characters that do not fit into an HTTP header".to_owned());
            }
            headers.push(("X-Consul-Token", token));
        }
        if let Some(auth) = var("CONSUL_HTTP_AUTH") {
            let pair = if auth.contains(':') { auth } else { format!("{auth}:") };
            headers.push(("Authorization", format!("Basic {}", STANDARD.encode(pair))));
        }
        let mut query = Vec::new();
        let mut ask = |name: &str, value: Option<String>| query.extend(value.map(|value| (name.to_owned(), value)));
        ask("dc", parsed.text("datacenter").filter(|dc| !dc.is_empty()).map(str::to_owned));
        ask("stale", parsed.on("stale").then(String::new));
        ask("ns", either("namespace", "CONSUL_NAMESPACE"));
        ask("partition", either("partition", "CONSUL_PARTITION"));
        Ok(Self { transport, base, tls, headers, query })
    }

    /// A `GET` that must succeed, read as JSON.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, String> {
        let answer = self.fine("GET", path, query, Vec::new())?;
        json(&answer.body)
    }

    /// A `PUT` that must succeed; the answer's body.
    pub(super) fn put(&self, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> Result<Vec<u8>, String> {
        self.fine("PUT", path, query, body).map(|answer| answer.body)
    }

    /// As [`Client::put`], with as much time as the agent needs.
    pub(super) fn put_patiently(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let request = CallRequest { timeout: None, ..self.request("PUT", path, query, Vec::new()) };
        self.exchange(&request).and_then(expect_ok).map(|answer| answer.body)
    }

    /// Any request that must be answered with status 200.
    pub(super) fn fine(
        &self,
        method: &'static str,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<CallResponse, String> {
        self.call(method, path, query, body).and_then(expect_ok)
    }

    /// Any request, whatever the answer's status.
    pub(super) fn call(
        &self,
        method: &'static str,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<CallResponse, String> {
        self.exchange(&self.request(method, path, query, body))
    }

    /// A `GET` whose answer goes to `piece` as it comes, until `piece` breaks.
    pub(super) fn follow(
        &self,
        path: &str,
        query: &[(&str, &str)],
        piece: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let request = CallRequest { timeout: None, ..self.request("GET", path, query, Vec::new()) };
        let mut refused: Option<CallResponse> = None;
        let mut each = |head: &CallHead, bytes: &[u8]| {
            if head.status == 200 {
                return piece(bytes);
            }
            let refused = refused.get_or_insert_with(CallResponse::default);
            refused.status = head.status;
            refused.body.extend_from_slice(bytes);
            if refused.body.len() > 64 << 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.transport.stream(&request, &mut each).map_err(|why| dialled(&request, &why))?;
        refused.map_or(Ok(()), |answer| expect_ok(answer).map(|_| ()))
    }

    fn exchange(&self, request: &CallRequest) -> Result<CallResponse, String> {
        self.transport.call(request).map_err(|why| dialled(request, &why))
    }

    fn request(&self, method: &'static str, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> CallRequest {
        let mut all = self.query.clone();
        all.extend(query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        CallRequest {
            base: self.base.clone(),
            tls: self.tls.clone(),
            method,
            path: path.to_owned(),
            query: all,
            headers: self.headers.clone(),
            body,
            timeout: Some(PATIENCE),
        }
    }
}

/// Reads an answer.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|why| format!("the agent's answer is not understood: {why}"))
}

/// `Get "http://127.0.0.1:8500/v1/kv/a": why`
fn dialled(request: &CallRequest, why: &str) -> String {
    let mut method = request.method.to_ascii_lowercase();
    if let Some(first) = method.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let root = match &request.base {
        Address::Tcp { tls, .. } => format!("{}://{}", if *tls { "https" } else { "http" }, request.base.authority()),
        Address::Unix(_) => request.base.url(),
    };
    format!("{method} \"{root}{}\": {why}", request.target())
}

pub(super) fn expect_ok(answer: CallResponse) -> Result<CallResponse, String> {
    if answer.status == 200 {
        return Ok(answer);
    }
    let body = String::from_utf8_lossy(&answer.body);
    Err(format!("Unexpected response code: {} ({})", answer.status, body.trim()))
}

/// Puts the words that say what was tried before the reason why it failed.
pub(super) fn trying<T>(what: &str, result: Result<T, String>) -> Result<T, Failure> {
    result.map_err(|why| Failure::from(format!("{what}: {why}")))
}
