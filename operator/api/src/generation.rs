//! Which of two desired states a host follows.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::agent::HostDesired;

/// The number of a desired state. Ordered by epoch, then by `n`; the instance only tells two coordinators of one
/// epoch apart, and such two are in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generation {
    /// The coordinator's term: one above the highest it heard of.
    pub epoch: u64,
    /// Random, made anew by each coordinator at its start.
    pub instance: String,
    /// Counts the desired states of this term.
    pub n: u64,
}

impl Generation {
    /// Older, same or newer; two instances in one epoch cannot be ordered, which gives `None`.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match self.epoch.cmp(&other.epoch) {
            Ordering::Equal if self.instance != other.instance => None,
            Ordering::Equal => Some(self.n.cmp(&other.n)),
            unequal => Some(unequal),
        }
    }
}

impl PartialOrd for Generation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.compare(other)
    }
}

/// What an agent does with a desired state that it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Newer than what it has: keep it and follow it.
    Adopt,
    /// The same as what it has.
    Same,
    /// Older than what it has: refuse it.
    Older,
    /// The same generation with other content, or another coordinator of the same epoch: refuse it and say so.
    Conflict,
}

/// Judges an offered desired state against the one a host has.
pub fn judge(have: Option<&HostDesired>, offered: &HostDesired) -> Verdict {
    let Some(have) = have else { return Verdict::Adopt };
    match offered.generation.compare(&have.generation) {
        Some(Ordering::Greater) => Verdict::Adopt,
        Some(Ordering::Equal) if have == offered => Verdict::Same,
        Some(Ordering::Less) => Verdict::Older,
        Some(Ordering::Equal) | None => Verdict::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(epoch: u64, instance: &str, n: u64) -> HostDesired {
        let generation = Generation {
            epoch,
            instance: instance.into(),
            n,
        };
        HostDesired::nothing(generation, "a".parse().unwrap())
    }

    #[test]
    fn a_newer_generation_is_adopted_and_an_older_one_refused() {
        let have = desired(2, "x", 5);
        assert_eq!(judge(None, &have), Verdict::Adopt);
        assert_eq!(judge(Some(&have), &desired(2, "x", 6)), Verdict::Adopt);
        assert_eq!(judge(Some(&have), &desired(3, "y", 1)), Verdict::Adopt);
        assert_eq!(judge(Some(&have), &desired(2, "x", 4)), Verdict::Older);
        assert_eq!(judge(Some(&have), &desired(1, "y", 9)), Verdict::Older);
        assert_eq!(judge(Some(&have), &have), Verdict::Same);
    }

    #[test]
    fn one_generation_with_two_contents_is_a_conflict() {
        let have = desired(2, "x", 5);
        let other = HostDesired {
            host: "b".parse().unwrap(),
            ..have.clone()
        };
        assert_eq!(judge(Some(&have), &other), Verdict::Conflict);
        assert_eq!(judge(Some(&have), &desired(2, "y", 9)), Verdict::Conflict);
    }
}
