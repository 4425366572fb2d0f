//! A session does not end before its TTL is over, counted from when its last renewal that was answered was asked for, whoever
//! leads (scenarios C2, C3; Consul's documentation of sessions).

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_catalog::Scope;

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct NotBeforeTheirTime {
    /// By id: when it was asked for last, its TTL, and an index that has it.
    alive: BTreeMap<String, (Duration, Duration, u64)>,
    /// What any server has ever shown: it is committed, whoever is off now.
    newest: u64,
}

impl Invariant for NotBeforeTheirTime {
    fn name(&self) -> &'static str {
        "sessions live as long as their TTL"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Alive { session, ttl, since } => {
                // It was in the tables when the client was answered, and so in those of whoever has seen most.
                let alive = self.alive.entry((*session).to_string()).or_insert((*since, *ttl, self.newest));
                alive.0 = alive.0.max(*since);
            }
            Seen::Destroyed { session } => {
                self.alive.remove(*session);
            }
            Seen::Published { host } => {
                // Agents without tables know of no session.
                let Some(published) = scene.published(*host).filter(|_| scene.is_server(*host)) else {
                    return Ok(());
                };
                let (view, now) = (&published.view, scene.now);
                self.newest = self.newest.max(view.index());
                let gone =
                    |id: &String, index: u64| view.index() >= index && view.session(Scope::default(), id).is_none();
                let mut early = None;
                self.alive.retain(|id, (since, ttl, index)| {
                    let gone = gone(id, *index);
                    if gone && now < *since + *ttl {
                        let after = now.saturating_sub(*since);
                        early =
                            Some(format!("session {id} with a TTL of {ttl:?} ended {after:?} after it was renewed"));
                    }
                    !gone
                });
                if let Some(early) = early {
                    return Err(format!("{early} (seen by {})", scene.name(*host)));
                }
            }
            Seen::Locked { .. } => {}
        }
        Ok(())
    }
}
