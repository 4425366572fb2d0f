//! The keys of a session that was invalidated cannot be locked before its lock-delay is over, whoever leads (scenario C4;
//! Consul's documentation of sessions).

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_catalog::Scope;

use super::{Invariant, Scene, Seen};

/// Who measures asks for the end at once, but what it asks for takes its time: none of it is shorter.
#[derive(Debug, Default)]
pub(super) struct LockDelay {
    /// By key: who has it, with its delay, and an index that has it.
    held: BTreeMap<String, (String, Duration, u64)>,
    /// By key: of whom, and until when nobody gets it.
    barred: BTreeMap<String, (String, Duration)>,
    /// What any server has ever shown.
    newest: u64,
}

impl Invariant for LockDelay {
    fn name(&self) -> &'static str {
        "lock-delays are kept"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Locked { key, session, delay } => {
                if let Some((of, until)) = self.barred.get(*key)
                    && of != session
                    && scene.now < *until
                {
                    let early = *until - scene.now;
                    return Err(format!("{session} has {key} {early:?} before the lock-delay of {of} is over"));
                }
                self.held.insert((*key).to_string(), ((*session).to_string(), *delay, self.newest));
            }
            Seen::Published { host } => {
                let Some(published) = scene.published(*host).filter(|published| published.reign > 0) else {
                    return Ok(());
                };
                let view = &published.view;
                self.newest = self.newest.max(view.index());
                let barred = &mut self.barred;
                self.held.retain(|key, (session, delay, index)| {
                    let ended = view.index() >= *index && view.session(Scope::default(), session).is_none();
                    if ended {
                        barred.insert(key.clone(), (session.clone(), scene.now + *delay));
                    }
                    !ended
                });
            }
            Seen::Alive { .. } | Seen::Destroyed { .. } => {}
        }
        Ok(())
    }
}
