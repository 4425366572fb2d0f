//! Autopilot takes no server away that the others need: where there were three voters there are never fewer again. How many must
//! remain after each death is checked by the scenario itself (M9).

use super::{Invariant, Scene, Seen};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct EnoughVoters {
    most: usize,
}

impl Invariant for EnoughVoters {
    fn name(&self) -> &'static str {
        "autopilot leaves a quorum"
    }

    fn see(&mut self, scene: &Scene<'_>, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Published { host } = seen else { return Ok(()) };
        let Some(published) = scene.published(*host).filter(|published| published.reign > 0) else { return Ok(()) };
        let Some(raft) = &published.agent.raft else { return Ok(()) };
        let voters = raft.servers.iter().filter(|server| server.voter).count();
        self.most = self.most.max(voters);
        if voters < self.most.min(3) {
            return Err(format!("{} leads {voters} voters, and there were {}", scene.name(*host), self.most));
        }
        Ok(())
    }
}
