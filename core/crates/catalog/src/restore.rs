//! What operators change as a whole: the settings of autopilot, and everything, from a snapshot.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalog::{Applied, Catalog, Write};
use crate::command::Reply;
use crate::model::{Indexes, Str};
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::topic::{Changes, Topic};
use crate::view::View;

/// Settings of autopilot that were made at run time; until then those of the configuration count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autopilot {
    /// Servers that left or are dead are removed.
    pub cleanup_dead_servers: bool,
    /// A server that the leader did not hear for longer is not healthy.
    pub last_contact_threshold: Duration,
    /// A server that lags more entries behind is not healthy.
    pub max_trailing_logs: u64,
    /// Dead servers are removed down to so many.
    pub min_quorum: u64,
    /// A new server must be healthy for so long before it votes.
    pub server_stabilization_time: Duration,
    /// Kept, without effect.
    pub redundancy_zone_tag: Str,
    /// Kept, without effect.
    pub disable_upgrade_migration: bool,
    /// Kept, without effect.
    pub upgrade_version_tag: Str,
    /// Log indexes.
    pub indexes: Indexes,
}

/// See [`Command::AutopilotSet`](crate::Command::AutopilotSet).
pub(crate) fn set_autopilot(state: &mut State, write: &mut Write, mut settings: Autopilot, cas: Option<u64>) -> Reply {
    let before = state.autopilot.as_ref().map(|settings| settings.indexes);
    if cas.is_some_and(|wanted| wanted != before.map_or(0, |before| before.modify)) {
        return Reply::Bool(false);
    }
    settings.indexes = Indexes { create: before.map_or(write.index, |before| before.create), modify: write.index };
    state.autopilot = Some(Arc::new(settings));
    write.changes.add(Topic::Autopilot);
    Reply::Bool(true)
}

impl Catalog {
    /// See [`Command::Restore`](crate::Command::Restore).
    pub(crate) fn restore(&mut self, index: u64, snapshot: Snapshot) -> Applied {
        let restored = match Self::import(snapshot) {
            Ok(restored) => restored,
            Err(why) => {
                Arc::make_mut(&mut self.state).index = index.max(self.state.index);
                return Applied { reply: Reply::Refused(why.to_string()), changes: Changes::default() };
            }
        };
        let index = index.max(self.state.index);
        *self = restored;
        let state = Arc::make_mut(&mut self.state);
        // What leaders of either life have under way about sessions is void.
        (state.index, state.restored, state.session_epoch) = (index, index, index);
        Applied { reply: Reply::Done, changes: Changes::everything() }
    }
}

/// What operators changed.
impl View {
    /// Settings of autopilot, if any were made.
    #[must_use]
    pub fn autopilot(&self) -> Option<&Arc<Autopilot>> {
        self.0.autopilot.as_ref()
    }

    /// Log index at which all of it came from a snapshot; 0 if it never did. Change indexes may have gone back then: who
    /// knows one from before that is greater than what there is now must be answered at once.
    #[must_use]
    pub fn restored(&self) -> u64 {
        self.0.restored
    }
}
