//! Three servers as child processes, on loopback addresses of their own, or at the ends of cables that can be cut.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use convoke_kit::Rng;

use super::http;
use super::network::Network;

const HTTP: u16 = 8500;
const PORTS: [u16; 5] = [8300, 8301, 8302, HTTP, 8600];

/// Three servers. Those that run are killed when it goes; nothing else ever is.
#[derive(Debug)]
pub(super) struct Cluster {
    binary: PathBuf,
    folder: PathBuf,
    addresses: [Ipv4Addr; 3],
    children: [Option<Child>; 3],
    /// Where cables can be cut.
    network: Option<Network>,
}

impl Cluster {
    /// Starts three that know nothing.
    pub(super) fn start(binary: &Path, cuts: bool, rng: &mut Rng) -> Result<Self, String> {
        let own = std::process::id();
        if cuts {
            let addresses = [11, 12, 13].map(|last| Ipv4Addr::new(10, 99, 0, last));
            return Self::with(binary, addresses, Some(Network::lay(&addresses)?), rng);
        }
        let addresses = (0..100).map(|_| {
            let (a, b) = (1 + rng.below(254) as u8, (rng.below(256) as u8).wrapping_add(own as u8));
            [11, 12, 13].map(|last| Ipv4Addr::new(127, a, b, last))
        });
        let free = |all: &[Ipv4Addr; 3]| {
            all.iter().all(|address| PORTS.iter().all(|port| TcpListener::bind((*address, *port)).is_ok()))
        };
        let addresses =
            addresses.into_iter().find(free).ok_or("there are no free loopback addresses with the usual ports")?;
        Self::with(binary, addresses, None, rng)
    }

    fn with(binary: &Path, addresses: [Ipv4Addr; 3], network: Option<Network>, rng: &mut Rng) -> Result<Self, String> {
        let own = std::process::id();
        let folder = std::env::temp_dir().join(format!("convoke-chaos-{own}-{:08x}", rng.next_u64() as u32));
        let mut cluster =
            Self { binary: binary.to_path_buf(), folder, addresses, children: [None, None, None], network };
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Of the HTTP interfaces.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|address| SocketAddr::from((*address, HTTP))).collect()
    }

    /// Starts whoever does not run.
    pub(super) fn start_all(&mut self) -> Result<(), String> {
        for at in 0..3 {
            if let Some(child) = &mut self.children[at] {
                match child.try_wait() {
                    Ok(None) => continue,
                    Ok(Some(status)) => {
                        return Err(format!(
                            "server {at} ended by itself with {status}; see {}",
                            self.log(at).display()
                        ));
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
            self.children[at] = Some(self.spawn(at)?);
        }
        Ok(())
    }

    fn log(&self, at: usize) -> PathBuf {
        self.folder.join(format!("s{at}.log"))
    }

    fn spawn(&self, at: usize) -> Result<Child, String> {
        let text = |error: std::io::Error| format!("{}: {error}", self.binary.display());
        let data = self.folder.join(format!("s{at}"));
        std::fs::create_dir_all(&data).map_err(text)?;
        let log = File::options().create(true).append(true).open(self.log(at)).map_err(text)?;
        let address = self.addresses[at];
        let mut command = match &self.network {
            Some(network) => network.within(at, &self.binary),
            None => Command::new(&self.binary),
        };
        command.args(["agent", "-server", "-bootstrap-expect=3", "-dns-port=8600"]);
        command.arg(format!("-node=s{at}")).arg(format!("-bind={address}")).arg(format!("-client={address}"));
        command.arg(format!("-data-dir={}", data.display()));
        command.args(self.addresses.iter().map(|other| format!("-retry-join={other}")));
        let errors = log.try_clone().map_err(text)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(text)
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.children[at].take() {
            // It may have ended already; then there is nothing to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The cables, if they can be cut.
    pub(super) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Another signal, by its option of `kill`.
    pub(super) fn signal(&self, at: usize, signal: &str) {
        if let Some(child) = &self.children[at] {
            let _ = Command::new("kill").arg(signal).arg(child.id().to_string()).status();
        }
    }

    /// Waits until one of them knows a leader.
    pub(super) fn await_leader(&self, limit: Duration) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < limit {
            for to in self.addresses() {
                let answer = http::ask(to, "GET", "/v1/status/leader", "", Duration::from_secs(1));
                if let Some(Ok(answer)) = answer
                    && answer.status == 200
                    && answer.text().len() > 2
                {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("no leader within {limit:?}; see {}", self.folder.display()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..3).for_each(|at| self.kill(at));
        // Kept for who asks why, if something went wrong.
        if !std::thread::panicking() {
            for at in 0..3 {
                let _ = std::fs::remove_dir_all(self.folder.join(format!("s{at}")));
            }
        }
    }
}
