//! What tags decide: who may be of the pool, and for how long a member that is gone is remembered.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use crate::config::Alike;
use crate::swim::Swim;
use crate::table::{Profile, State};
use crate::tags::{Tags, TagsRef};
use crate::wire::{Claim, Pieces, Row, state_from_wire};

/// The longest that a member may ask to be remembered: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Swim {
    /// Why a member does not belong here; `None`: it does.
    pub(crate) fn strange(&self, claim: &Claim<'_>) -> Option<String> {
        if self.config.alike.is_empty() {
            return None;
        }
        // What cannot be read is dropped as such, later.
        let theirs = Tags::from_wire(claim.tags).ok()?;
        let differs = |Alike { tag, .. }: &&Alike| theirs.get(tag) != self.profile.tags().get(tag);
        self.config.alike.iter().find(differs).map(|Alike { tag, advice }| {
            let say =
                |tags: TagsRef<'_>| tags.get(tag).map_or_else(|| String::from("none"), |value| format!("{value:?}"));
            let (theirs, ours) = (say(theirs.view()), say(self.profile.tags()));
            format!("member {:?} has {tag} {theirs}, and the pool here is of {tag} {ours}: {advice}", claim.name)
        })
    }

    /// Why a table is not one of this pool: nobody in it belongs here. `None`: somebody does, or it is empty.
    pub(crate) fn only_strangers(&self, rows: &[u8]) -> Option<String> {
        if self.config.alike.is_empty() {
            return None;
        }
        let rows = Pieces(rows).flatten().filter_map(|piece| postcard::from_bytes::<Row<'_>>(piece).ok());
        let others = rows.filter(|row| row.claim.name != self.profile.name());
        let up = others.filter(|row| state_from_wire(row.state).is_some_and(State::is_up));
        let mut why = None;
        for row in up {
            why = Some(self.strange(&row.claim)?);
        }
        why
    }

    /// How long a member in this state stays in the table.
    pub(crate) fn tombstone(&self, state: State, of: &Profile) -> Duration {
        let asked = if self.config.stay_tag.is_empty() { None } else { of.tags().get(self.config.stay_tag) };
        asked.and_then(duration).unwrap_or(match state {
            State::Left => self.config.tombstone_timeout,
            _ => self.config.reconnect_timeout,
        })
    }
}

/// Numbers with units, as in `24h0m0s` or `1.5s`; `None` if these are none, or nothing comes of it.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, after) = rest.split_at_checked(number)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += value.parse::<f64>().ok()? * scale;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|d| !d.is_zero()).map(|d| d.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, millis) in
            [("24h0m0s", 86_400_000), ("1h30m", 5_400_000), ("90s", 90_000), ("1.5s", 1500), ("250ms", 250)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("999999999h"), Some(LONGEST));
        for text in ["", "0s", "12", "h", "-1s", "1d", "1.2.3s", "s1", "1 s", "1h\u{e4}", "\u{663}s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
