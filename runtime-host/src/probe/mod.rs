//! Carries out one run of one check, over any runtime. It decides nothing: what it finds is an [`Outcome`], and what
//! that means for the check is the core's business.
//!
//! * [`script`]: a program in a process group of its own; `reaper` is the one thread that watches all of them.
//! * [`http`], [`net`] (TCP and UDP), [`grpc`], [`h2ping`]: what is asked over the network.
//! * [`docker`]: a program inside a container, through the engine's API.
//! * [`os_service`]: a unit of the system's service manager.
//!
//! [`run`] takes no longer than the probe's timeout. Nothing is left behind when its future is dropped: connections are
//! closed, a script's process group is killed.

pub mod docker;
pub mod grpc;
pub mod h2ping;
pub mod http;
pub mod net;
pub mod os_service;
pub(crate) mod reaper;
pub mod script;
mod tail;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use convoke_core::probe::{Kind, Outcome, Probe, Tls};

use crate::client::tls::Settings;
use crate::rt::{Runtime, race, within};

/// Runs `probe` once. It is over at `probe.timeout`, or as soon as `cancel` completes (the outcome is then
/// [`Outcome::Failed`], and nobody should want it).
pub async fn run<R: Runtime>(rt: &R, probe: &Probe, cancel: impl Future<Output = ()> + Send) -> Outcome {
    match race(cancel, start(rt, probe)).await {
        Ok(()) => Outcome::Failed { error: "cancelled".to_owned() },
        Err(outcome) => outcome,
    }
}

/// Boxed, because the kinds differ much in size.
fn start<'a, R: Runtime>(rt: &'a R, probe: &'a Probe) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    let Probe { kind, timeout, output_limit } = probe;
    // The first four mind the time themselves: they have something to tell when it is over.
    match kind {
        Kind::Script { args } => Box::pin(script::run(rt, args, *timeout, *output_limit)),
        Kind::OsService { unit } => Box::pin(os_service::run(rt, "systemctl", unit, *timeout)),
        Kind::Udp { address } => Box::pin(net::udp(rt, address, *timeout)),
        Kind::Http { .. } => Box::pin(http::run(rt, probe)),
        Kind::Tcp { address, tls } => timed(rt, probe, net::tcp(rt, address, tls.as_ref())),
        Kind::Grpc { address, service, tls } => timed(rt, probe, grpc::run(rt, address, service, tls.as_ref())),
        Kind::H2Ping { address, tls } => timed(rt, probe, h2ping::run(rt, address, tls.as_ref())),
        Kind::Docker { container, shell, args } => {
            let engine = docker::engine();
            timed(
                rt,
                probe,
                async move { docker::run(rt, &engine, container, shell, args, *timeout, *output_limit).await },
            )
        }
    }
}

fn timed<'a, R: Runtime>(
    rt: &'a R,
    probe: &'a Probe,
    work: impl Future<Output = Outcome> + Send + 'a,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    Box::pin(async move {
        within(rt, probe.timeout, work).await.unwrap_or_else(|| Outcome::TimedOut { output: Vec::new() })
    })
}

fn settings(tls: &Tls) -> Settings {
    Settings { server_name: tls.server_name.clone(), skip_verify: tls.skip_verify, ..Settings::default() }
}

fn failed(error: &(impl ToString + ?Sized)) -> Outcome {
    Outcome::Failed { error: error.to_string() }
}
