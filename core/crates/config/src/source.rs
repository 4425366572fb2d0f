//! What a configuration is read from, the facts about the machine that it may ask for, and what can be said about it.

use crate::flags::Flags;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HCL 1.
    Hcl,
    /// JSON, RFC 8259.
    Json,
}

impl Format {
    /// By extension: `.hcl` or `.json`; anything else is not a configuration file unless `-config-format` says so.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        if name.ends_with(".hcl") {
            Some(Self::Hcl)
        } else if name.ends_with(".json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// The value of `-config-format`: `hcl` or `json`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "hcl" => Some(Self::Hcl),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// One piece of configuration. [`crate::load`] takes them in the order in which they were named; where several set one value, the last wins, and
/// flags win over files.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file of `-config-file` or `-config-dir`, already read. A folder's files come in lexical order, not recursive, and only those that
    /// [`Format::of_file`] knows (all, with `-config-format`).
    File {
        /// As shown in diagnostics.
        name: String,
        /// By extension, or by `-config-format`.
        format: Format,
        /// The content. Bytes that are not UTF-8 should be refused before.
        text: String,
    },
    /// The text of one `-hcl` flag.
    Fragment(String),
    /// The other flags.
    Flags(Flags),
}

/// A network interface of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// Its addresses with the length of the network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Up.
    pub up: bool,
    /// Loopback.
    pub loopback: bool,
    /// Can broadcast.
    pub broadcast: bool,
    /// Can multicast.
    pub multicast: bool,
    /// Connects two ends.
    pub point_to_point: bool,
    /// Carries the default route.
    pub default_route: bool,
}

/// Facts about the machine and the program, gathered by the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Becomes the node name when none is given.
    pub hostname: String,
    /// In the order of the operating system.
    pub interfaces: Vec<Interface>,
}

/// A usable configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What to run with.
    pub config: crate::Config,
    /// What to tell people.
    pub warnings: Vec<Diagnostic>,
    /// What `validate` accepts, as Consul does, and no agent starts with: to be shown as warnings by the one, as errors by the other.
    pub refusals: Vec<Diagnostic>,
}

/// One thing to tell people about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// File, or a name for the flags; empty: about the whole.
    pub file: String,
    /// From 1; 0: about the whole file.
    pub line: u32,
    /// What is the matter, and what to do.
    pub message: String,
}

impl Diagnostic {
    /// About the whole configuration.
    #[must_use]
    pub fn general(message: impl fmt::Display) -> Self {
        Self { file: String::new(), line: 0, message: message.to_string() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.line) {
            (true, _) => f.write_str(&self.message),
            (false, 0) => write!(f, "{}: {}", self.file, self.message),
            (false, line) => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl core::error::Error for Diagnostic {}
