//! `convoke`: the agent and the command line, on tokio.

#![forbid(unsafe_code)]

use convoke_host::process::{self, Entry};
use convoke_tokio::{Tokio, once, serve};

fn main() {
    std::process::exit(process::main(&Entry { rt: Tokio::default(), serve, once }));
}
