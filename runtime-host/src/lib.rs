//! What both runtimes share: everything that blocks, and the loops that are the same over any runtime.
//!
//! * [`rt`]: what is asked of a runtime: native sockets, a timer, tasks.
//! * [`agent`]: an agent from its flags to its end. * [`process`]: the process around it and the command line.
//! * [`driver`]: the pure node behind a lock, and the hands that do what it asks. `lease`: reading without that lock. * [`watch`]: waiting for a change.
//! * [`serve`]: the HTTP and DNS loops. * [`probe`]: one run of one check. * [`client`]: HTTP and TLS as a client.
//! * [`disk`]: the disk thread and recovery; `bell`: how it reports. * [`journal`]: small values in one file. * [`files`]: configuration files. * [`interfaces`], [`entropy`]: facts of
//!   this host.
//! * [`logging`], [`metrics`]: what people watch. * [`cli`]: the command line.
#![forbid(unsafe_code)]

pub mod agent;
mod bell;
pub mod cli;
pub mod client;
pub mod disk;
pub mod driver;
pub mod entropy;
pub mod files;
pub mod interfaces;
pub mod journal;
mod lease;
pub mod logging;
pub mod metrics;
pub mod probe;
pub mod process;
pub mod rt;
pub mod serve;
pub mod watch;
