//! What both runtimes share and what blocks: disk, configuration files, flags, logs, probes, the command line, and
//! the server loops, written once over [`rt::Runtime`].
//!
//! * [`rt`]: what is asked of a runtime.
#![forbid(unsafe_code)]

pub mod rt;
