//! When this server was last there: one that was away for too long does not start by itself, for the cluster may have
//! replaced it long ago, and it would disturb those who took its place.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::time::Duration;

use convoke_config::config::Config;
use convoke_config::duration::format as text;
use convoke_kit::{Deadline, Time};
use serde::{Deserialize, Serialize};

use crate::store::{Change, Recovered};

const PATH: &str = "raft/server_metadata.json";
/// After a start, before it counts as having been there.
const FIRST: Duration = Duration::from_secs(60);
/// Between two notes: an age is wrong by so much at most.
const EVERY: Duration = Duration::from_secs(600);

#[derive(Debug, Serialize, Deserialize)]
struct File {
    last_seen_unix: u64,
}

/// Notes from time to time that this server is there.
#[derive(Debug, Default)]
pub(in crate::node) struct Presence {
    due: Option<Time>,
}

impl Presence {
    /// For a server that was not away for too long; clients, and servers without a disk, keep nothing. A file that cannot be
    /// read says nothing, with a warning.
    ///
    /// # Errors
    ///
    /// What to do, for one that was.
    pub(in crate::node) fn new(
        config: &Config,
        recovered: &Recovered,
        wall: Duration,
        warnings: &mut alloc::vec::Vec<String>,
    ) -> Result<Self, String> {
        if !config.server || config.data_dir.is_empty() || config.dev_mode {
            return Ok(Self { due: None });
        }
        let file = recovered.files.iter().find(|(path, _)| path == PATH);
        let file = file.and_then(|(_, content)| match serde_json::from_slice::<File>(content) {
            Ok(file) => Some(file),
            Err(why) => {
                warnings.push(format!("{PATH} in data_dir is skipped: {why}"));
                None
            }
        });
        let limit = config.server_rejoin_age_max;
        // A clock that went back makes nobody old.
        let away = file.map_or(Duration::ZERO, |file| wall.saturating_sub(Duration::from_secs(file.last_seen_unix)));
        if !limit.is_zero() && away > limit {
            let away = Duration::from_secs(away.as_secs());
            return Err(format!(
                "refusing to rejoin cluster because server has been offline for more than the configured \
                 server_rejoin_age_max ({}) - was last seen {} ago; if it still belongs to the cluster, set \
                 server_rejoin_age_max to a longer time, or to 0, for this start; else empty its data_dir, so that it joins \
                 as a new server",
                text(limit),
                text(away)
            ));
        }
        Ok(Self { due: Some(Time::ZERO + FIRST) })
    }

    pub(in crate::node) fn deadline(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, reason: "keep the time" })
    }

    /// What is to be written now, if anything.
    pub(in crate::node) fn write(&mut self, now: Time, wall: Duration) -> Option<Change> {
        self.due.take_if(|at| *at <= now)?;
        self.due = Some(now + EVERY);
        let file = File { last_seen_unix: (wall + now.since_start()).as_secs() };
        Some(Change::Put { path: PATH.to_string(), content: serde_json::to_vec(&file).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const THEN: Duration = Duration::from_secs(1_700_000_000);

    fn kept(content: &[u8]) -> Recovered {
        Recovered { files: vec![(PATH.to_string(), content.to_vec())], ..Recovered::default() }
    }

    fn server() -> Config {
        Config { server: true, data_dir: "/d".to_string(), ..Config::default() }
    }

    #[test]
    fn a_server_that_was_away_for_long_is_told_what_to_do() {
        let mut presence = Presence::new(&server(), &Recovered::default(), THEN, &mut Vec::new()).unwrap();
        assert_eq!(presence.write(Time::ZERO, THEN), None, "it has only just come");
        let at = presence.deadline().unwrap().at;
        let Some(Change::Put { content, .. }) = presence.write(at, THEN) else { panic!("nothing is kept") };
        assert_eq!(
            (&*content, presence.deadline().unwrap().at),
            (&br#"{"last_seen_unix":1700000060}"#[..], at + EVERY)
        );

        let start = |config: &Config, wall| Presence::new(config, &kept(&content), wall, &mut Vec::new());
        assert!(start(&server(), THEN + FIRST + 7 * DAY).is_ok());
        let why = start(&server(), THEN + FIRST + 7 * DAY + Duration::from_secs(1)).unwrap_err();
        assert!(
            why.contains("(168h0m0s)") && why.contains("168h0m1s ago") && why.contains("empty its data_dir"),
            "{why}"
        );
        assert!(start(&server(), THEN - DAY).is_ok(), "a clock that went back");
        for (max, starts) in [(Duration::ZERO, true), (DAY, false), (400 * DAY, true)] {
            let config = Config { server_rejoin_age_max: max, ..server() };
            assert_eq!(start(&config, THEN + 30 * DAY).is_ok(), starts, "{max:?}");
        }
        let client = Config { server: false, ..server() };
        assert_eq!(start(&client, THEN + 30 * DAY).unwrap().deadline(), None, "clients may come and go");
    }

    #[test]
    fn a_damaged_note_stops_nobody() {
        let mut warnings = Vec::new();
        assert!(Presence::new(&server(), &kept(b"{"), THEN, &mut warnings).is_ok());
        assert!(warnings.len() == 1 && warnings[0].contains(PATH), "{warnings:?}");
    }
}
