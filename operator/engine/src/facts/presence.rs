//! Absences, counted only while somebody looked.

use std::collections::VecDeque;

use hayloft_api::Span;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Two looks further apart than this saw nothing of what was between them: the coordinator slept, or a clock jumped.
const CLOSE: SignedDuration = SignedDuration::from_secs(90);

/// How long a return counts as recent.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// How many returns are kept.
const RETURNS: usize = 32;

/// Whether a host is there, and how it behaved lately. The coordinator keeps it and renews it in every round.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Its absence, while it is away.
    pub absent: Option<Absence>,
    /// When it last came back, oldest first.
    pub returns: VecDeque<Timestamp>,
}

/// An absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Absence {
    /// When it was first missed.
    pub since: Timestamp,
    /// When it was last looked for.
    pub looked: Timestamp,
    /// For how long it was seen to be away: while the coordinator was awake and a majority of those who hold roles was
    /// reachable.
    pub observed: Span,
    /// Milliseconds beyond `observed`, so that short rounds add up.
    pub millis: u32,
    /// Whether the last look counted.
    pub counted: bool,
}

/// One look at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub now: Timestamp,
    /// Whether the host is there: its agent reports and members reach its Garage, where it has one.
    pub present: bool,
    /// Whether a majority of those who hold roles was reachable.
    pub majority: bool,
}

impl Presence {
    /// What one more look adds.
    #[must_use]
    pub fn seen(mut self, look: Look) -> Self {
        let Look {
            now,
            present,
            majority,
        } = look;
        if present {
            // Who was missed only while nobody could look properly, as when the coordinator starts, did not go away.
            let away = self.absent.take();
            if away
                .is_some_and(|absence| absence.counted || absence.observed.seconds > 0 || absence.millis > 0)
            {
                self.returns.push_back(now);
                while self.returns.len() > RETURNS {
                    self.returns.pop_front();
                }
            }
            return self;
        }
        self.absent = Some(match self.absent {
            None => Absence {
                since: now,
                looked: now,
                observed: Span::seconds(0),
                millis: 0,
                counted: majority,
            },
            Some(mut absence) => {
                let passed = now.duration_since(absence.looked);
                // Both ends of a stretch must have been looked at properly for what lies between to count.
                let counts = majority && absence.counted && !passed.is_negative() && passed <= CLOSE;
                if counts {
                    let millis = u64::try_from(passed.as_millis()).unwrap_or(0) + u64::from(absence.millis);
                    absence.observed.seconds += millis / 1000;
                    absence.millis = u32::try_from(millis % 1000).unwrap_or(0);
                }
                absence.looked = now;
                absence.counted = majority;
                absence
            }
        });
        self
    }

    /// How often it came back in the last day.
    pub fn flaps(&self, now: Timestamp) -> usize {
        let recent = |at: &&Timestamp| now.duration_since(**at) < RECENT;
        self.returns.iter().filter(recent).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).unwrap()
    }

    fn look(seconds: i64, present: bool, majority: bool) -> Look {
        Look {
            now: at(seconds),
            present,
            majority,
        }
    }

    fn observed(looks: &[Look]) -> Option<u64> {
        let presence = looks
            .iter()
            .fold(Presence::default(), |presence, look| presence.seen(*look));
        presence.absent.map(|absence| absence.observed.seconds)
    }

    #[test]
    fn an_absence_counts_while_somebody_looks() {
        let looks: Vec<Look> = (0..=60).map(|n| look(n * 10, false, true)).collect();
        assert_eq!(observed(&looks), Some(600));
    }

    #[test]
    fn rounds_shorter_than_a_second_add_up() {
        let mut presence = Presence::default();
        for n in 0..=100 {
            presence = presence.seen(Look {
                now: at(0) + SignedDuration::from_millis(300 * n),
                present: false,
                majority: true,
            });
        }
        assert_eq!(presence.absent.unwrap().observed, Span::seconds(30));
    }

    #[test]
    fn a_coordinator_that_slept_observed_nothing() {
        let looks = [
            look(0, false, true),
            look(10, false, true),
            look(400_000, false, true),
        ];
        assert_eq!(observed(&looks), Some(10));
    }

    #[test]
    fn a_clock_that_jumps_adds_and_takes_nothing() {
        let looks = [
            look(0, false, true),
            look(60, false, true),
            look(-9_000, false, true),
            look(-8_990, false, true),
        ];
        assert_eq!(observed(&looks), Some(70));
    }

    #[test]
    fn without_a_majority_nothing_counts() {
        let looks = [
            look(0, false, true),
            look(60, false, false),
            look(120, false, false),
            look(180, false, true),
            look(200, false, true),
        ];
        assert_eq!(observed(&looks), Some(20));
    }

    #[test]
    fn a_host_that_returns_starts_anew_and_is_remembered_to_flap() {
        let looks = [
            look(0, false, true),
            look(60, false, true),
            look(70, true, true),
            look(80, false, true),
            look(90, false, true),
        ];
        assert_eq!(observed(&looks), Some(10));
        let mut presence = Presence::default();
        for n in 0..100 {
            presence = presence.seen(look(n * 60, n % 2 == 0, true));
        }
        assert_eq!(presence.flaps(at(6_000)), RETURNS);
        assert_eq!(presence.flaps(at(6_000 + 90_000)), 0);
    }

    #[test]
    fn who_was_missed_only_before_anybody_could_look_did_not_go_away() {
        let mut presence = Presence::default();
        for n in 0..100 {
            presence = presence.seen(look(n * 60, n % 2 == 0, n % 2 == 0));
        }
        assert_eq!(presence.flaps(at(6_000)), 0);
    }
}
