//! The process: the command line, and an agent when it asks for one.

use std::ffi::OsString;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::agent;
use crate::cli::transport::{Address, CallHead, CallRequest, TlsOptions, Transport};
use crate::cli::{self, Exit, StdIo};
use crate::client::{Request, Response, fetch_with, tls::Settings};
use crate::rt::Runtime;

/// A future that a runtime runs to its end on this thread.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs a future to its end; fails when the system gives no threads or no event queue.
pub type Run<R, T> = fn(&R, Task<'_, T>) -> std::io::Result<T>;

/// What a binary gives: its runtime and two ways to run a future on it.
pub struct Entry<R> {
    /// The runtime.
    pub rt: R,
    /// For an agent: all cores.
    pub serve: Run<R, i32>,
    /// For one exchange of a command: this thread only, quick to start.
    pub once: Run<R, Result<(), String>>,
}

/// Runs the command line; the process' exit code.
pub fn main<R: Runtime>(entry: &Entry<R>) -> i32 {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let env = |name: &str| std::env::var(name).ok();
    match cli::run(&argv, &mut StdIo::new(), &env, &Client(entry)) {
        Exit::Code(code) => code,
        Exit::Agent(flags) => match (entry.serve)(&entry.rt, Box::pin(agent::run(entry.rt.clone(), *flags))) {
            Ok(code) => code,
            Err(e) => {
                eprintln!("==> cannot start the runtime: {e}");
                1
            }
        },
    }
}

/// The command line's HTTP client over this runtime.
struct Client<'a, R>(&'a Entry<R>);

impl<R: Runtime> Transport for Client<'_, R> {
    fn stream(
        &self,
        request: &CallRequest,
        piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let exchange = exchange(&self.0.rt, request, piece);
        (self.0.once)(&self.0.rt, Box::pin(exchange)).map_err(|e| format!("cannot start the runtime: {e}"))?
    }
}

/// A command may wait for ever (a blocking query, a monitor) unless it says how long.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

async fn exchange<R: Runtime>(
    rt: &R,
    call: &CallRequest,
    piece: &mut dyn FnMut(&CallHead, &[u8]) -> ControlFlow<()>,
) -> Result<(), String> {
    let url = match &call.base {
        Address::Tcp { tls, .. } => {
            format!("{}://{}{}", if *tls { "https" } else { "http" }, call.base.authority(), call.target())
        }
        Address::Unix(path) => format!("unix://{}:{}", path.display(), call.target()),
    };
    let mut request = Request::new(call.method, &url);
    request.headers = call.headers.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    request.body = Bytes::from(call.body.clone());
    request.tls = tls(&call.tls)?;
    let mut head: Option<CallHead> = None;
    let of = |response: &Response| CallHead {
        status: response.status,
        headers: response
            .headers
            .iter()
            .map(|(k, v)| (k.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect(),
    };
    let sink = |response: &Response, data: &[u8]| {
        let head = head.get_or_insert_with(|| of(response));
        Ok(piece(head, data).is_continue())
    };
    let (response, end) =
        fetch_with(rt, &request, call.timeout.unwrap_or(FOR_EVER), sink).await.map_err(|e| e.to_string())?;
    if head.is_none() {
        let _ = piece(&of(&response), &[]);
    }
    end.map_or(Ok(()), |e| Err(e.to_string()))
}

/// Reads the files that TLS options name.
fn tls(options: &TlsOptions) -> Result<Settings, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    let mut ca = options.ca_file.as_deref().map(read).transpose()?;
    if let Some(folder) = &options.ca_path {
        let all = ca.get_or_insert_default();
        let entries = std::fs::read_dir(folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("cannot read {}: {e}", folder.display()))?.path();
            if path.is_file() {
                all.extend(read(&path)?);
                all.push(b'\n');
            }
        }
    }
    let identity = match (&options.client_cert, &options.client_key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        (None, None) => None,
        _ => return Err("both client cert and client key must be provided".to_owned()),
    };
    Ok(Settings {
        server_name: options.server_name.clone().unwrap_or_default(),
        skip_verify: !options.verify,
        ca_pem: ca,
        identity_pem: identity,
    })
}
