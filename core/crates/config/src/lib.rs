//! HCL and JSON text to a validated configuration, or to diagnostics that name file and line.
//!
//! Text flows through these modules in this order:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`hcl`], [`json`] | text | [`value::Value`], a tree with positions |
//! | `normalise` by `schema` | one source's tree | keys known, at their place, of the right kind |
//! | [`load()`] | all sources | one merged tree |
//! | `build` | the merged tree | [`Config`]: defaults, ranges, addresses |
//! | [`template`] | `{{ GetPrivateIP }}` | addresses of the machine |
//! | [`definition`] | a part of a tree, or a request body | services and checks |
//! | [`diff()`] | two configurations | what a reload changes |
//!
//! [`duration`] reads and prints times as Go does; [`flags`] is the table of command-line flags.
//!
//! Pure: the caller brings the texts and the facts about the machine ([`Environment`]). Any input is answered by a value; none panics, and
//! none takes more than linear time and bounded stack.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod build;
pub mod config;
pub mod definition;
pub mod duration;
pub mod flags;
pub mod hcl;
pub mod json;
mod load;
pub mod net;
mod normalise;
pub mod reload;
mod schema;
mod settings;
pub mod source;
pub mod template;
pub mod value;
pub mod watch;
mod weak;

pub use config::*;
pub use flags::Flags;
pub use load::load;
pub use net::{Cidr, ListenAddr};
pub use reload::{Difference, diff, reloaded};
pub use source::{Diagnostic, Environment, Format, Interface, Loaded, Source};
