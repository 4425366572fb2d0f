//! The time between silence and a verdict (SWIM section 4.2, Lifeguard section 4.2).

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use convoke_kit::Time;

use crate::config::Config;

/// Accusers remembered for one suspicion; more would not shorten it.
pub(crate) const MAX_ACCUSERS: usize = 16;

/// Suspicions under way, by slot.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    by_slot: BTreeMap<u32, Suspicion>,
    deadlines: BTreeSet<(Time, u32)>,
    /// When suspects whom nobody else suspects are asked once more, and others about them.
    rechecks: BTreeSet<(Time, u32)>,
}

#[derive(Debug)]
struct Suspicion {
    started: Time,
    deadline: Time,
    min: Duration,
    max: Duration,
    /// Independent accusers that bring it down to `min`; 0: it starts there.
    wanted: u32,
    /// Hashes of the accusers' names, the first included.
    accusers: heapless::Vec<u64, MAX_ACCUSERS>,
    recheck: Option<Time>,
    /// Begun by an own probe.
    own: bool,
    /// Others saying so, too, is no reason not to ask again.
    insists: bool,
    /// It is as short as can be from the beginning, and nobody says that it agrees.
    short: bool,
}

/// What to ask at half time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recheck {
    /// About whom.
    pub(crate) slot: u32,
    /// This member is the accuser, and alone with it: perhaps nobody has heard of it.
    pub(crate) own: bool,
    /// The suspect itself is asked, not only others.
    pub(crate) asks_it: bool,
    /// All members ask at the same time, so each asks little.
    pub(crate) all_ask: bool,
}

/// In pools of up to so many everybody asks a suspect once more; in larger ones only who is alone with its accusation, for
/// a suspect that lives must not be flooded.
pub(crate) const SMALL: usize = 32;

impl Suspicions {
    /// Starts one in a pool of `n` members. With `asks` this member asks again at half time. It asks the suspect in a small
    /// pool, where chance may have it that nobody else does so in time, and if it is `alone` with its accusation: it may
    /// be itself that was cut off, and all its news with it. It asks others in any case, for that nobody has agreed in so
    /// long a time may mean that the suspect has objected, and that this was missed here. Where a suspicion does not wait for
    /// others to agree (`suspicion_mult` 2 or less) it is short, and now and then news miss somebody: then all ask, a little each.
    pub(crate) fn start(
        &mut self,
        config: &Config,
        small_pools_wait: bool,
        slot: u32,
        (accuser, alone, asks): (u64, bool, bool),
        n: usize,
        now: Time,
    ) {
        self.end(slot);
        let min = minimum(config, n);
        let wanted = wanted(config, small_pools_wait, n);
        let max = if wanted == 0 { min } else { min.saturating_mul(config.suspicion_max_mult.max(1)) };
        let mut accusers = heapless::Vec::new();
        // There is room for one.
        let _ = accusers.push(accuser);
        let deadline = now + max;
        let insists = asks && n <= SMALL;
        let recheck = (insists || (asks && (alone || wanted > 0 || config.lifeguard.doubt))).then(|| now + max / 2);
        self.rechecks.extend(recheck.map(|at| (at, slot)));
        self.by_slot.insert(
            slot,
            Suspicion {
                started: now,
                deadline,
                min,
                max,
                wanted,
                accusers,
                recheck,
                own: alone,
                insists,
                short: wanted == 0,
            },
        );
        self.deadlines.insert((deadline, slot));
    }

    /// Another accuser; true if it is a new one that counts.
    pub(crate) fn confirm(&mut self, slot: u32, accuser: u64) -> bool {
        let Some(suspicion) = self.by_slot.get_mut(&slot) else { return false };
        let confirmations = suspicion.accusers.len() as u32 - 1;
        if confirmations >= suspicion.wanted
            || suspicion.accusers.contains(&accuser)
            || suspicion.accusers.push(accuser).is_err()
        {
            return false;
        }
        let length = decayed(suspicion.min, suspicion.max, confirmations + 1, suspicion.wanted);
        self.deadlines.remove(&(suspicion.deadline, slot));
        suspicion.deadline = suspicion.started + length;
        self.deadlines.insert((suspicion.deadline, slot));
        if let Some(at) = suspicion.recheck.take() {
            self.rechecks.remove(&(at, slot));
            suspicion.recheck = suspicion.insists.then(|| suspicion.started + length / 2);
            self.rechecks.extend(suspicion.recheck.map(|at| (at, slot)));
        }
        true
    }

    /// Hashes of the names of those who accuse it.
    pub(crate) fn accusers(&self, slot: u32) -> &[u64] {
        self.by_slot.get(&slot).map_or(&[], |suspicion| &suspicion.accusers)
    }

    /// It objected, or it is over.
    pub(crate) fn end(&mut self, slot: u32) {
        if let Some(suspicion) = self.by_slot.remove(&slot) {
            self.deadlines.remove(&(suspicion.deadline, slot));
            if let Some(at) = suspicion.recheck {
                self.rechecks.remove(&(at, slot));
            }
        }
    }

    /// When the next one runs out, or a suspect is asked again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let first = |set: &BTreeSet<(Time, u32)>| set.first().map(|(at, _)| *at);
        [first(&self.deadlines), first(&self.rechecks)].into_iter().flatten().min()
    }

    /// One about whom is to be asked again.
    pub(crate) fn pop_recheck(&mut self, now: Time) -> Option<Recheck> {
        let (at, slot) = *self.rechecks.first()?;
        if at > now {
            return None;
        }
        self.rechecks.pop_first();
        let suspicion = self.by_slot.get_mut(&slot)?;
        suspicion.recheck = None;
        let alone = suspicion.accusers.len() == 1;
        let asks_it = suspicion.own || suspicion.insists;
        Some(Recheck { slot, own: suspicion.own && alone, asks_it, all_ask: suspicion.short && !asks_it })
    }

    /// One that has run out.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u32> {
        let (at, slot) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.end(slot);
        Some(slot)
    }
}

/// Length of a suspicion that enough members share.
pub(crate) fn minimum(config: &Config, n: usize) -> Duration {
    // In thousandths, cut off, as the field does it.
    let scale = libm::log10((n.max(1)) as f64).max(1.0) * 1000.0;
    let interval = config.probe_interval.saturating_mul(config.suspicion_mult);
    interval.saturating_mul(scale as u32) / 1000
}

fn wanted(config: &Config, small_pools_wait: bool, n: usize) -> u32 {
    let wanted = config.suspicion_mult.saturating_sub(2);
    // Who is accused and who accuses do not count.
    let possible = n.saturating_sub(2) >= wanted as usize || small_pools_wait;
    if config.lifeguard.suspicion && possible { wanted } else { 0 }
}

/// Lifeguard's decay: from `max` to `min` with the logarithm of the confirmations.
fn decayed(min: Duration, max: Duration, confirmations: u32, wanted: u32) -> Duration {
    let share = libm::log(f64::from(confirmations) + 1.0) / libm::log(f64::from(wanted) + 1.0);
    let spread = max.saturating_sub(min).as_secs_f64();
    let millis = ((max.as_secs_f64() - share * spread) * 1000.0).max(0.0) as u64;
    Duration::from_millis(millis).max(min)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lengths_are_those_of_the_field() {
        let config = Config::lan();
        for (n, millis) in
            [(1, 4000), (5, 4000), (10, 4000), (100, 8000), (128, 8428), (1000, 12_000), (10_000, 16_000)]
        {
            assert_eq!(minimum(&config, n), Duration::from_millis(millis), "n = {n}");
        }
        assert_eq!(decayed(5 * SECOND, 30 * SECOND, 0, 3), 30 * SECOND);
        assert_eq!(decayed(5 * SECOND, 30 * SECOND, 1, 3), Duration::from_millis(17_500));
        assert_eq!(decayed(5 * SECOND, 30 * SECOND, 3, 3), 5 * SECOND);
    }

    #[test]
    fn confirmations_shorten_it_once_each() {
        let config = Config { suspicion_mult: 5, ..Config::lan() };
        let mut all = Suspicions::default();
        all.start(&config, false, 3, (100, false, false), 100, Time::ZERO);
        assert_eq!(all.deadline(), Some(Time::ZERO + 60 * SECOND));
        assert!(!all.confirm(3, 100), "the first accuser again");
        assert!(all.confirm(3, 101));
        assert!(!all.confirm(3, 101));
        assert!(all.confirm(3, 102));
        assert!(all.confirm(3, 103));
        assert!(!all.confirm(3, 104), "enough");
        assert_eq!(all.deadline(), Some(Time::ZERO + 10 * SECOND));
        assert_eq!(all.pop_due(Time::ZERO + 9 * SECOND), None);
        assert_eq!(all.pop_due(Time::ZERO + 10 * SECOND), Some(3));
        assert_eq!(all.deadline(), None);
    }

    #[test]
    fn a_lone_accuser_asks_once_more_at_half_time() {
        let mut all = Suspicions::default();
        all.start(&Config::lan(), false, 3, (1, true, true), 100, Time::ZERO);
        assert_eq!(all.deadline(), Some(Time::ZERO + 24 * SECOND));
        assert_eq!(all.pop_recheck(Time::ZERO + 23 * SECOND), None);
        assert_eq!(
            all.pop_recheck(Time::ZERO + 24 * SECOND),
            Some(Recheck { slot: 3, own: true, asks_it: true, all_ask: false })
        );
        assert_eq!((all.pop_recheck(Time::ZERO + 24 * SECOND), all.deadline()), (None, Some(Time::ZERO + 48 * SECOND)));
        all.start(&Config::lan(), false, 4, (1, true, true), 100, Time::ZERO);
        assert!(all.confirm(4, 2), "not alone any more");
        assert_eq!(all.pop_recheck(Time::MAX), None);
        all.start(&Config::lan(), false, 5, (1, true, true), 100, Time::ZERO);
        all.end(5);
        assert_eq!(all.pop_recheck(Time::MAX), None);
        all.start(&Config::lan(), false, 6, (1, false, true), 100, Time::ZERO);
        assert_eq!(
            all.pop_recheck(Time::MAX),
            Some(Recheck { slot: 6, own: false, asks_it: false, all_ask: false }),
            "the accuser asks it, this one asks others"
        );
        all.start(&Config::lan(), false, 6, (1, true, false), 100, Time::ZERO);
        assert_eq!(all.pop_recheck(Time::MAX), None);
    }

    #[test]
    fn in_a_small_pool_everybody_asks_once_more() {
        let mut all = Suspicions::default();
        all.start(&Config::lan(), false, 3, (1, false, true), 8, Time::ZERO);
        assert!(all.confirm(3, 2) && all.confirm(3, 3));
        assert_eq!(
            all.pop_recheck(Time::ZERO + 2 * SECOND),
            Some(Recheck { slot: 3, own: false, asks_it: true, all_ask: false }),
            "at half of what is left of it"
        );
        assert_eq!(all.deadline(), Some(Time::ZERO + 4 * SECOND));
    }

    #[test]
    fn where_nobody_says_that_it_agrees_all_ask_in_the_middle() {
        let config = Config { suspicion_mult: 2, ..Config::lan() };
        let mut all = Suspicions::default();
        all.start(&config, false, 3, (1, false, true), 100, Time::ZERO);
        assert_eq!(
            all.pop_recheck(Time::ZERO + 2 * SECOND),
            Some(Recheck { slot: 3, own: false, asks_it: false, all_ask: true })
        );
        assert_eq!(all.deadline(), Some(Time::ZERO + 4 * SECOND));
        all.start(&config, false, 3, (1, true, true), 100, Time::ZERO);
        assert_eq!(
            all.pop_recheck(Time::ZERO + 2 * SECOND),
            Some(Recheck { slot: 3, own: true, asks_it: true, all_ask: false }),
            "the accuser asks as ever"
        );
        let paper = crate::Lifeguard { doubt: false, ..crate::Lifeguard::ALL };
        all.start(&Config { lifeguard: paper, ..config }, false, 3, (1, false, true), 100, Time::ZERO);
        assert_eq!(all.pop_recheck(Time::MAX), None);
    }

    #[test]
    fn small_pools_and_plain_swim_do_not_wait_for_confirmations() {
        let mut all = Suspicions::default();
        all.start(&Config::lan(), false, 0, (1, false, false), 3, Time::ZERO);
        assert_eq!(all.deadline(), Some(Time::ZERO + 4 * SECOND));
        let plain = Config { lifeguard: crate::Lifeguard::NONE, ..Config::lan() };
        all.start(&plain, false, 0, (1, false, true), 1000, Time::ZERO);
        assert_eq!(all.deadline(), Some(Time::ZERO + 12 * SECOND));
        assert!(!all.confirm(0, 2));
    }
}
