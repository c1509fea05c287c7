//! How fast Garage moves blocks.

use hayloft_api::Rate;
use hayloft_api::document::ResyncWorkers;

use crate::ResyncFacts;

/// What the speed of a node depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Whether a move is under way.
    pub moving: bool,
    /// Whether clients ask for next to nothing.
    pub clients_idle: bool,
    /// Whether data may be moved at this time of the day.
    pub in_window: bool,
    /// As declared.
    pub workers: ResyncWorkers,
    /// The most that the host may send.
    pub max_rate: Option<Rate>,
    /// What it sends, measured since the setting is `last`; `None`: not measured yet.
    pub sending: Option<Rate>,
    /// The setting now.
    pub last: ResyncFacts,
}

/// Settings from slow to fast. A worker rests `tranquility` times as long as its last step took.
const LADDER: [ResyncFacts; 9] = [
    rung(1, 64),
    rung(1, 32),
    rung(1, 16),
    rung(1, 8),
    rung(1, 4),
    CALM,
    rung(2, 1),
    rung(4, 0),
    rung(8, 0),
];

/// As Garage starts out.
const CALM: ResyncFacts = rung(1, 2);

/// The rung that Garage starts on.
const CALM_AT: usize = 5;

/// The rung for hours in which data should not move: blocks that go astray are still mended.
const QUIET_AT: usize = 1;

const fn rung(workers: u8, tranquility: u32) -> ResyncFacts {
    ResyncFacts { workers, tranquility }
}

/// How many workers a node shall have, and how much they shall rest.
///
/// While a move is under way and clients are idle, it is as fast as Garage can be; with a limit to its rate, it climbs and
/// descends by one rung at a time, as it is measured. A declared number of workers stays what it is.
pub fn resync_setting(pace: Pace) -> ResyncFacts {
    let at = |setting: ResyncFacts| LADDER.iter().position(|known| *known == setting);
    let highest = if !pace.moving {
        CALM_AT
    } else if !pace.in_window {
        QUIET_AT
    } else if pace.clients_idle {
        LADDER.len() - 1
    } else {
        CALM_AT
    };
    let now = match pace.workers {
        ResyncWorkers::Auto => at(pace.last),
        ResyncWorkers::Fixed(_) => LADDER
            .iter()
            .rposition(|known| known.tranquility == pace.last.tranquility),
    };
    let wanted = match (pace.max_rate, now) {
        (Some(max), Some(now)) if pace.moving => limited(max, pace.sending, now).min(highest),
        (Some(_), None) => CALM_AT.min(highest),
        _ => highest,
    };
    let setting = LADDER.get(wanted).copied().unwrap_or(CALM);
    match pace.workers {
        ResyncWorkers::Auto => setting,
        ResyncWorkers::Fixed(workers) => ResyncFacts { workers, ..setting },
    }
}

/// The rung that keeps a node below its limit, one up or down from where it is.
fn limited(max: Rate, sending: Option<Rate>, now: usize) -> usize {
    let Some(sending) = sending else {
        return now.min(CALM_AT);
    };
    let (max, sending) = (max.0.0, sending.0.0);
    if sending > max {
        now.saturating_sub(1)
    } else if sending.saturating_mul(2) < max {
        // The next rung may be twice as fast.
        now + 1
    } else {
        now
    }
}

#[cfg(test)]
mod tests {
    use hayloft_api::Bytes;

    use super::*;

    fn pace() -> Pace {
        Pace {
            moving: true,
            clients_idle: true,
            in_window: true,
            workers: ResyncWorkers::Auto,
            max_rate: None,
            sending: None,
            last: CALM,
        }
    }

    fn rate(bytes: u64) -> Option<Rate> {
        Some(Rate(Bytes(bytes)))
    }

    #[test]
    fn a_move_is_fast_while_clients_are_idle_and_calm_after() {
        let fast = resync_setting(pace());
        assert_eq!(fast, rung(8, 0));
        let busy = Pace {
            clients_idle: false,
            last: fast,
            ..pace()
        };
        assert_eq!(resync_setting(busy), CALM);
        let over = Pace {
            moving: false,
            last: fast,
            ..pace()
        };
        assert_eq!(resync_setting(over), CALM);
    }

    #[test]
    fn outside_of_its_hours_a_move_crawls() {
        let night = Pace {
            in_window: false,
            ..pace()
        };
        assert_eq!(resync_setting(night), rung(1, 32));
    }

    #[test]
    fn a_declared_number_of_workers_stays() {
        let three = Pace {
            workers: ResyncWorkers::Fixed(3),
            ..pace()
        };
        assert_eq!(resync_setting(three), rung(3, 0));
        let calm = Pace {
            moving: false,
            ..three
        };
        assert_eq!(resync_setting(calm), rung(3, 2));
    }

    #[test]
    fn with_a_limit_it_climbs_while_there_is_room_and_descends_when_it_is_passed() {
        let max_rate = rate(1000);
        let unmeasured = Pace { max_rate, ..pace() };
        assert_eq!(resync_setting(unmeasured), CALM);
        let room = Pace {
            sending: rate(100),
            ..unmeasured
        };
        assert_eq!(resync_setting(room), rung(2, 1));
        let good = Pace {
            sending: rate(700),
            last: rung(2, 1),
            ..unmeasured
        };
        assert_eq!(resync_setting(good), rung(2, 1));
        let passed = Pace {
            sending: rate(1200),
            last: rung(2, 1),
            ..unmeasured
        };
        assert_eq!(resync_setting(passed), CALM);
        let still = Pace {
            sending: rate(1200),
            last: rung(1, 64),
            ..unmeasured
        };
        assert_eq!(resync_setting(still), rung(1, 64));
        let strange = Pace {
            sending: rate(100),
            last: rung(7, 9),
            ..unmeasured
        };
        assert_eq!(resync_setting(strange), CALM);
    }
}
