//! An agent from its flags to its end: configuration, data folder, sockets, node, loops.
//!
//! The order is the contract: everything that can fail for a reason the user can mend (files, folder, ports) happens
//! before anything runs, and its error says what to do.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use convoke_api::agent_view::Identity;
use convoke_config::{Config, Diagnostic, ListenAddr, Loaded, LogLevel};
use convoke_core::dns::DnsSettings;
use convoke_core::node::gossip::listens;
use convoke_core::node::{Boot, Event, Level, Node, Pool, Signal};
use convoke_core::store::Recovered;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::AgentFlags;
use crate::disk::{DataDir, Disk};
use crate::driver::{Driver, Hooks};
use crate::logging::{self, Log, LogSettings, file::FileSettings};
use crate::metrics::{self, Metrics};
use crate::rt::Runtime;
use crate::serve::{bind, dns, gossip, http, rpc, watches::Watchers};
use crate::{bell, entropy, interfaces};

/// Version shown to users; clients compare it with Consul's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why an agent did not start. The text is for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    fn new(e: impl std::fmt::Display) -> Self {
        Self(e.to_string())
    }
}

/// Runs an agent until it ends; the process' exit code.
pub async fn run<R: Runtime>(rt: R, flags: AgentFlags) -> i32 {
    match start(rt, flags).await {
        Ok(running) => running.until_the_end().await,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "==> {e}");
            1
        }
    }
}

/// Reads all sources and makes a configuration of them.
///
/// # Errors
///
/// Everything that is wrong with them.
pub fn load(flags: &AgentFlags) -> Result<Loaded, Vec<Diagnostic>> {
    let sources = flags.sources().map_err(|d| vec![d])?;
    let loaded = convoke_config::load(&sources, &interfaces::environment())?;
    // `validate` lets these pass, as Consul does; nobody could run with them.
    if loaded.refusals.is_empty() { Ok(loaded) } else { Err(loaded.refusals) }
}

struct Running<R: Runtime> {
    driver: Arc<Driver<R>>,
    /// Files to remove at the end: the pid file, unix sockets.
    litter: Vec<PathBuf>,
}

async fn start<R: Runtime>(rt: R, flags: AgentFlags) -> Result<Running<R>, StartError> {
    let started = Instant::now();
    let wall = Driver::<R>::unix_now();
    let Loaded { config, warnings, .. } = load(&flags)
        .map_err(|all| StartError(all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n==> ")))?;
    let config = Arc::new(config);
    let log = Log::install(&log_settings(&config)).map_err(StartError::new)?;
    let metrics = Metrics::default();
    metrics.install();
    for w in &warnings {
        logging::log(Level::Warn, "agent", &w.to_string());
    }

    let mut data = if config.data_dir.is_empty() || config.dev_mode {
        None
    } else {
        Some(DataDir::open(Path::new(&config.data_dir)).map_err(StartError::new)?)
    };
    let node_id = node_id(&config, data.as_ref())?;
    let recovered =
        data.as_mut().map_or_else(|| Ok(Recovered::default()), DataDir::recover).map_err(StartError::new)?;
    let sockets = Sockets::bind(&config)?;

    let identity = Identity {
        node_name: config.node_name.clone(),
        node_id,
        advertise: config.advertise_addr.to_string(),
        version: VERSION.to_owned(),
        revision: String::new(),
    };
    let boot = Boot { config: Arc::clone(&config), identity, recovered, seed: entropy::u64(), wall };
    let (node, notes) = Node::new(boot).map_err(StartError::new)?;

    for note in &notes {
        logging::log(Level::Warn, "agent", note);
    }
    let settings = Arc::new(dns::Settings::new(DnsSettings::new(&config).map_err(StartError::new)?));
    let watchers = Arc::new(Watchers::default());
    let hooks = hooks(&flags, warnings, &log, &settings, &watchers);
    let driver = Driver::new(rt.clone(), started, node, hooks);
    if let Some(data) = data {
        let failed = |e| StartError(format!("cannot start the disk thread: {e}"));
        let (bell, ear) = bell::hang().map_err(failed)?;
        ear.listen(&driver).map_err(failed)?;
        driver.attach(Disk::start(data, move |event| bell.ring(event)).map_err(failed)?);
    }
    driver.attach_ports(sockets.ports()?);
    let mut litter = sockets.files();
    if !config.pid_file.is_empty() {
        std::fs::write(&config.pid_file, std::process::id().to_string())
            .map_err(|e| StartError(format!("cannot write pid_file {}: {e}", config.pid_file)))?;
        litter.push(PathBuf::from(&config.pid_file));
    }
    signals(&driver)?;
    announce(&config, driver.published().agent.identity.node_id.as_str());
    rt.spawn(Arc::clone(&driver).run_timers());
    {
        let (rt, metrics, driver) = (rt.clone(), metrics.clone(), Arc::clone(&driver));
        driver.runtime().clone().spawn(async move {
            loop {
                rt.sleep(metrics::INTERVAL).await;
                gossip::measure(&driver);
                metrics.rotate();
            }
        });
    }
    let server =
        Arc::new(http::Server { driver: Arc::clone(&driver), log, metrics, clients: http::Clients::default() });
    sockets.serve(&server, &settings)?;
    watchers.begin(server, &config.watches);
    Ok(Running { driver, litter })
}

impl<R: Runtime> Running<R> {
    async fn until_the_end(self) -> i32 {
        let code = self.driver.finished().await;
        for path in self.litter {
            let _ = std::fs::remove_file(path);
        }
        code
    }
}

/// The banner of a start, on standard output, as people expect it.
fn announce(config: &Config, node_id: &str) {
    let mode = |b: bool| if b { "true" } else { "false" };
    let port = |p: Option<u16>| p.map_or_else(|| "-1".to_owned(), |p| p.to_string());
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "==> Starting Convoke agent...\n           Version: '{VERSION}'\n           Node ID: '{node_id}'\n         Node name: \
         '{}'\n        Datacenter: '{}'\n            Server: {} (Bootstrap: {})\n       Client Addr: [{}] (HTTP: {}, DNS: {})\n\
         \n==> Log data will now stream in as it occurs:\n",
        config.node_name,
        config.datacenter,
        mode(config.server),
        mode(config.bootstrap),
        config.client_addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        port(config.ports.http),
        port(config.ports.dns),
    );
}

fn log_settings(config: &Config) -> LogSettings {
    let file = (!config.log.file.is_empty()).then(|| FileSettings {
        path: PathBuf::from(&config.log.file),
        rotate_bytes: config.log.rotate_bytes,
        rotate_after: config.log.rotate_duration,
        max_files: config.log.rotate_max_files,
    });
    LogSettings { level: Some(level(config)), json: config.log.json, file }
}

const fn level(config: &Config) -> Level {
    match config.log.level {
        LogLevel::Trace => Level::Trace,
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warn => Level::Warn,
        LogLevel::Error => Level::Error,
    }
}

fn node_id(config: &Config, data: Option<&DataDir>) -> Result<String, StartError> {
    if !config.node_id.is_empty() {
        return Ok(config.node_id.clone());
    }
    match data {
        Some(dir) => dir.node_id(entropy::uuid).map_err(StartError::new),
        None => Ok(entropy::uuid()),
    }
}

/// `said`: the warnings of the start. Those that a reload finds again are not said again.
fn hooks<R: Runtime>(
    flags: &AgentFlags,
    said: Vec<Diagnostic>,
    log: &Log,
    settings: &Arc<dns::Settings>,
    watchers: &Arc<Watchers<R>>,
) -> Hooks {
    let (flags, log, settings, watchers) = (flags.clone(), log.clone(), Arc::clone(settings), Arc::clone(watchers));
    let said = Mutex::new(said);
    Hooks {
        reload: Arc::new(move || {
            let loaded = load(&flags)?;
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let new = loaded.warnings.iter().filter(|warning| !said.contains(warning)).cloned().collect();
            *said = loaded.warnings;
            Ok((Box::new(loaded.config), new))
        }),
        reconfigure: Box::new(move |config| {
            log.set_level(level(config));
            watchers.replace(&config.watches);
            match DnsSettings::new(config) {
                Ok(new) => settings.replace(new),
                Err(e) => logging::log(Level::Error, "agent.dns", &format!("the old DNS settings stay: {e}")),
            }
        }),
    }
}

/// A thread that turns signals into events.
fn signals<R: Runtime>(driver: &Arc<Driver<R>>) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(StartError::new)?;
    let driver = Arc::clone(driver);
    std::thread::Builder::new()
        .name("signals".into())
        .stack_size(128 * 1024)
        .spawn(move || {
            for signal in signals.forever() {
                let meaning = match signal {
                    SIGINT => Signal::Interrupt,
                    SIGHUP => Signal::Reload,
                    _ => Signal::Terminate,
                };
                driver.handle(Event::Signal(meaning));
            }
        })
        .map_err(StartError::new)?;
    Ok(())
}

/// Every socket of the agent, bound and not yet served.
struct Sockets {
    http: Vec<std::net::TcpListener>,
    http_unix: Vec<bind::UnixSocket>,
    dns_udp: Vec<std::net::UdpSocket>,
    dns_tcp: Vec<std::net::TcpListener>,
    gossip: Vec<(Pool, std::net::UdpSocket, std::net::TcpListener)>,
    rpc: Option<std::net::TcpListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let mut out = Self {
            http: Vec::new(),
            http_unix: Vec::new(),
            dns_udp: Vec::new(),
            dns_tcp: Vec::new(),
            gossip: Vec::new(),
            rpc: None,
        };
        if let Some(port) = config.ports.server.filter(|_| config.server) {
            out.rpc = Some(bind::tcp("server RPC", at(config.bind_addr, port)).map_err(StartError::new)?);
        }
        for pool in Pool::ALL {
            let Some(address) = listens(config, pool) else { continue };
            let what = match pool {
                Pool::Lan => "LAN gossip",
                Pool::Wan => "WAN gossip",
            };
            let udp = bind::udp(what, address, 1).map_err(StartError::new)?;
            let tcp = bind::tcp(what, address).map_err(StartError::new)?;
            out.gossip.extend(udp.into_iter().next().map(|udp| (pool, udp, tcp)));
        }
        if let Some(port) = config.ports.http {
            for address in &config.addresses.http {
                match address {
                    ListenAddr::Ip(ip) => out.http.push(bind::tcp("HTTP", at(*ip, port)).map_err(StartError::new)?),
                    ListenAddr::Unix(path) => {
                        let socket = bind::unix("HTTP", Path::new(path)).map_err(StartError::new)?;
                        permit(&socket.path, config)?;
                        out.http_unix.push(socket);
                    }
                }
            }
        }
        if let Some(port) = config.ports.dns {
            // Half the cores: a socket that is never idle takes queries in batches, and the others serve HTTP.
            let spread = (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 8);
            for ip in config.addresses.dns.iter().filter_map(ListenAddr::ip) {
                out.dns_udp.extend(bind::udp("DNS", at(ip, port), spread).map_err(StartError::new)?);
                out.dns_tcp.push(bind::tcp("DNS", at(ip, port)).map_err(StartError::new)?);
            }
        }
        Ok(out)
    }

    /// The sending ends of the gossip sockets.
    fn ports(&self) -> Result<gossip::Ports, StartError> {
        let mut ports = gossip::Ports::default();
        for (pool, udp, _) in &self.gossip {
            udp.set_nonblocking(true).map_err(StartError::new)?;
            ports.set(*pool, udp.try_clone().map_err(StartError::new)?);
        }
        Ok(ports)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.http_unix.iter().map(|s| s.path.clone()).collect()
    }

    fn serve<R: Runtime>(self, server: &Arc<http::Server<R>>, settings: &Arc<dns::Settings>) -> Result<(), StartError> {
        let driver = &server.driver;
        let rt = driver.runtime();
        if let Some(tcp) = self.rpc {
            let listener = rt.listen(nonblocking(tcp)?).map_err(StartError::new)?;
            let (http, dns) = (Arc::clone(server), Arc::clone(settings));
            rt.spawn(rpc::serve(
                Arc::new(rpc::Server { http, dns, streams: 0.into(), asks: Arc::default() }),
                listener,
            ));
        }
        for (pool, udp, tcp) in self.gossip {
            let v4 = udp.local_addr().is_ok_and(|a| a.is_ipv4());
            let udp = rt.udp(udp).map_err(StartError::new)?;
            rt.spawn(gossip::datagrams(Arc::clone(driver), pool, udp, v4));
            let listener = rt.listen(nonblocking(tcp)?).map_err(StartError::new)?;
            rt.spawn(gossip::streams(Arc::clone(driver), pool, listener));
        }
        for socket in self.http {
            let listener = rt.listen(nonblocking(socket)?).map_err(StartError::new)?;
            rt.spawn(http::serve(Arc::clone(server), listener));
        }
        for socket in self.http_unix {
            socket.listener.set_nonblocking(true).map_err(StartError::new)?;
            let listener = rt.listen_unix(socket.listener).map_err(StartError::new)?;
            rt.spawn(http::serve(Arc::clone(server), listener));
        }
        for socket in self.dns_udp {
            socket.set_nonblocking(true).map_err(StartError::new)?;
            let v4 = socket.local_addr().is_ok_and(|a| a.is_ipv4());
            let socket = rt.udp(socket).map_err(StartError::new)?;
            rt.spawn(dns::udp(Arc::clone(driver), Arc::clone(settings), socket, v4));
        }
        for socket in self.dns_tcp {
            let listener = rt.listen(nonblocking(socket)?).map_err(StartError::new)?;
            rt.spawn(dns::tcp(Arc::clone(driver), Arc::clone(settings), listener));
        }
        Ok(())
    }
}

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn nonblocking(socket: std::net::TcpListener) -> Result<std::net::TcpListener, StartError> {
    socket.set_nonblocking(true).map_err(StartError::new)?;
    Ok(socket)
}

/// Mode of a unix socket, as `unix_sockets.mode` asks.
fn permit(path: &Path, config: &Config) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = &config.unix_sockets.mode;
    if mode.is_empty() {
        return Ok(());
    }
    let bits = u32::from_str_radix(mode, 8)
        .map_err(|_| StartError(format!("unix_sockets.mode {mode:?} is not an octal number such as \"0770\"")))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits))
        .map_err(|e| StartError(format!("cannot set the mode of {}: {e}", path.display())))
}
