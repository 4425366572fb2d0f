//! Majorities: what a set of voters has agreed on.

use alloc::vec::Vec;

/// Fewest voters that share a member with every other such set.
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest value that a majority has reached; `None` without voters.
///
/// Serves for indices (what is committed), for rounds (what is confirmed) and for times (when a majority was heard).
#[must_use]
pub fn reached<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    reached_by(values, majority)
}

/// As [`reached`], with another count of those who must have reached it.
pub(crate) fn reached_by<T: Ord + Copy>(
    values: impl IntoIterator<Item = T>,
    enough: impl Fn(usize) -> usize,
) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(enough(values.len()).max(1) - 1).copied()
}

/// State of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// A majority said yes.
    Won,
    /// A majority can no longer say yes.
    Lost,
    /// Neither.
    Open,
}

/// Counts the answers of all voters; `None`: not yet.
#[must_use]
pub fn ballot(answers: impl IntoIterator<Item = Option<bool>>) -> Ballot {
    let (mut yes, mut no, mut voters) = (0, 0, 0);
    for answer in answers {
        voters += 1;
        match answer {
            Some(true) => yes += 1,
            Some(false) => no += 1,
            None => {}
        }
    }
    if voters > 0 && yes >= majority(voters) {
        Ballot::Won
    } else if no > voters - majority(voters).min(voters) {
        Ballot::Lost
    } else {
        Ballot::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majorities() {
        let table = [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)];
        for (voters, enough) in table {
            assert_eq!(majority(voters), enough, "of {voters}");
        }
    }

    #[test]
    fn what_a_majority_has_reached() {
        let table: &[(&[u64], Option<u64>)] = &[
            (&[], None),
            (&[7], Some(7)),
            (&[7, 0], Some(0)),
            (&[7, 5], Some(5)),
            (&[1, 2, 3], Some(2)),
            (&[9, 9, 0], Some(9)),
            (&[0, 9, 0], Some(0)),
            (&[4, 3, 2, 1], Some(2)),
            (&[4, 4, 4, 1], Some(4)),
            (&[1, 2, 3, 4, 5], Some(3)),
            (&[5, 5, 1, 1, 1], Some(1)),
            (&[5, 1, 5, 1, 5], Some(5)),
        ];
        for (values, expected) in table {
            assert_eq!(reached(values.iter().copied()), *expected, "{values:?}");
        }
    }

    #[test]
    fn reached_is_what_counting_says() {
        // Exhaustive: every assignment of 0..4 to up to five voters, against the definition.
        for voters in 1_usize..=5 {
            for case in 0..4_u64.pow(voters as u32) {
                let values: Vec<u64> = (0..voters).map(|v| case / 4_u64.pow(v as u32) % 4).collect();
                let by_counting =
                    (0..4).filter(|at| values.iter().filter(|v| *v >= at).count() > voters / 2).max().unwrap();
                assert_eq!(reached(values.iter().copied()), Some(by_counting), "{values:?}");
            }
        }
    }

    #[test]
    fn ballots() {
        let (y, n, o) = (Some(true), Some(false), None);
        let table: &[(&[Option<bool>], Ballot)] = &[
            (&[], Ballot::Open),
            (&[o], Ballot::Open),
            (&[y], Ballot::Won),
            (&[n], Ballot::Lost),
            (&[y, o], Ballot::Open),
            (&[y, n], Ballot::Lost),
            (&[y, y, o], Ballot::Won),
            (&[y, n, o], Ballot::Open),
            (&[n, n, o], Ballot::Lost),
            (&[y, y, n, n], Ballot::Lost),
            (&[y, y, n, o], Ballot::Open),
            (&[y, y, n, n, o], Ballot::Open),
            (&[y, n, n, n, o], Ballot::Lost),
        ];
        for (answers, expected) in table {
            assert_eq!(ballot(answers.iter().copied()), *expected, "{answers:?}");
        }
    }
}
