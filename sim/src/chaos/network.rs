//! A network of the run's own, whose cables can be cut: each server in a network namespace, joined by a bridge in the one of
//! the clients. Needs root, and `unshare`, `nsenter`, `ip` and `bridge`. The namespaces end with the processes in them.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Set in the process that lives in the namespace of the clients.
pub const INSIDE: &str = "CONVOKE_CHAOS_INSIDE";

/// Runs this program anew in a namespace of its own, with these arguments.
///
/// # Errors
///
/// Why there cannot be one, in words.
pub fn run_inside(args: impl Iterator<Item = OsString>) -> Result<ExitStatus, String> {
    let tried = run(Command::new("unshare").args(["--net", "ip", "link", "add", "probe", "type", "bridge"]));
    tried
        .map_err(|why| format!("there can be no network namespaces ({why}); it takes root, util-linux and iproute2"))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("unshare");
    command.arg("--net").arg(program).args(args).env(INSIDE, "1");
    command.status().map_err(|error| error.to_string())
}

/// The cables of three servers.
#[derive(Debug)]
pub(super) struct Network {
    /// Each keeps a namespace.
    keepers: Vec<Child>,
}

impl Network {
    /// Lays the cables, in a namespace where nothing else is.
    pub(super) fn lay(addresses: &[Ipv4Addr; 3]) -> Result<Self, String> {
        if std::env::var_os(INSIDE).is_none() {
            return Err("not in a network namespace of its own".to_string());
        }
        ip("link set lo up")?;
        ip("link add br0 type bridge")?;
        let [a, b, c, _] = addresses[0].octets();
        ip(&format!("addr add {a}.{b}.{c}.1/24 dev br0"))?;
        ip("link set br0 up")?;
        let mut network = Self { keepers: Vec::new() };
        for (at, address) in addresses.iter().enumerate() {
            let mut keeper = Command::new("unshare");
            keeper.args(["--net", "sleep", "86400"]).stdin(Stdio::null());
            let keeper = keeper.spawn().map_err(|error| format!("unshare: {error}"))?;
            let pid = keeper.id();
            network.keepers.push(keeper);
            own_namespace(pid)?;
            ip(&format!("link add v{at} type veth peer name eth0 netns {pid}"))?;
            ip(&format!("link set v{at} master br0 up"))?;
            for words in [format!("addr add {address}/24 dev eth0"), "link set eth0 up".into(), "link set lo up".into()]
            {
                run(network.within(at, Path::new("ip")).args(words.split(' ')))?;
            }
        }
        Ok(network)
    }

    /// A program at the end of that cable.
    pub(super) fn within(&self, at: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.keepers[at].id().to_string(), "-n", "--"]).arg(program);
        command
    }

    /// Cuts a server off from everybody, or ends that.
    pub(super) fn cut(&self, at: usize, cut: bool) -> Result<(), String> {
        ip(&format!("link set v{at} {}", if cut { "down" } else { "up" }))
    }

    /// These servers cannot reach each other, or can again; everybody else reaches them.
    pub(super) fn part(&self, servers: &[usize], part: bool) -> Result<(), String> {
        for at in servers {
            let isolated = if part { "on" } else { "off" };
            run(Command::new("bridge").args(["link", "set", "dev", &format!("v{at}"), "isolated", isolated]))?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for keeper in &mut self.keepers {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}

/// Waits until that process is in a namespace of its own.
fn own_namespace(pid: u32) -> Result<(), String> {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    for _ in 0..500 {
        if of(&pid.to_string()).is_some_and(|namespace| Some(namespace) != of("self")) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("no network namespace within 5 s".to_string())
}

fn ip(words: &str) -> Result<(), String> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = format!("{command:?}").replace('"', "");
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
