//! Commands of Consul that this build knows by name only, so that it can say so.

use super::command::{Action, Entry};

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    later("acl", "Access control: tokens, policies, roles, auth methods"),
    later("config", "Central configuration entries"),
    later("connect", "The service mesh"),
    later("debug", "Collect an archive of figures about an agent"),
    later("exec", "Run a command on nodes"),
    later("intention", "Who may talk to whom in the mesh"),
    later("license", "Licences, of which there are none to manage"),
    later("login", "Trade a credential for an ACL token"),
    later("logout", "Give up a token got by login"),
    later("namespace", "Namespaces"),
    later("operator", "Tools for operators of a cluster"),
    later("partition", "Admin partitions"),
    later("peering", "Peerings with other clusters"),
    later("resource", "Typed resources"),
    later("services export", "Export a service to peers or partitions"),
    later("services exported-services", "List exported services"),
    later("snapshot", "Save, restore and inspect the state of the servers"),
    later("tls", "Make authorities and certificates"),
    later("troubleshoot", "Find out why the mesh does not connect"),
];

const fn later(name: &'static str, about: &'static str) -> Entry {
    Entry { name, about, usage: "[options]", detail: "", flags: Vec::new, action: Action::Later }
}
