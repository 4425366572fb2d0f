//! `convoke-smol`: the agent and the command line, on smol.

#![forbid(unsafe_code)]

use convoke_host::process::{self, Entry};
use convoke_smol::{Smol, run};

fn main() {
    std::process::exit(process::main(&Entry { rt: Smol, serve: run, once: run }));
}
