//! When a follower takes office by itself. Pure: a function of what was heard. Only ever a question of how soon pushes
//! go on: that two never order at the same time is the bucket's business.

use std::time::Duration;

use super::fleet::wire::{Seat, Status};

/// Between the takings of office of two that see each other.
const STEP: Duration = Duration::from_millis(1_500);
/// The most that chance adds.
const CHANCE: Duration = Duration::from_millis(1_000);

/// What to do while no committer is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Somebody leads, or hears one who does.
    Led,
    /// Take office after this time, if nothing changes.
    Wait(Duration),
}

/// Judges by what the others answered; `name`: this one's; `chance`: from 0.0 to 1.0.
pub(super) fn judge(name: Option<&str>, others: &[Status], chance: f64) -> Judgement {
    let led = |status: &Status| matches!(status.seat, Seat::Leading { .. }) || status.hears.is_some();
    if others.iter().any(led) {
        return Judgement::Led;
    }
    // In the order of their names; who has none comes last, when chance will have it.
    let before = |status: &&Status| {
        status.may_lead
            && match (&status.name, name) {
                (Some(other), Some(own)) => other.as_str() < own,
                (Some(_), None) => true,
                (None, _) => false,
            }
    };
    let rank = others.iter().filter(before).count();
    let rank = u32::try_from(rank).unwrap_or(u32::MAX).min(4);
    Judgement::Wait(STEP * rank + CHANCE.mul_f64(chance.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use hayloft_store::key::EpochId;

    use super::*;

    fn status(name: &str, seat: Seat) -> Status {
        Status {
            instance: 1,
            name: Some(name.to_owned()),
            seat,
            position: None,
            log_format: 1,
            hears: None,
            may_lead: true,
        }
    }

    #[test]
    fn nobody_takes_office_while_one_leads_or_is_heard_by_another() {
        let epoch = EpochId {
            number: 1,
            instance: 1,
        };
        let leads = [status("a", Seat::Leading { epoch })];
        assert_eq!(judge(Some("b"), &leads, 0.0), Judgement::Led);
        let hears = [Status {
            hears: Some(epoch),
            ..status("a", Seat::Following)
        }];
        assert_eq!(judge(Some("b"), &hears, 0.0), Judgement::Led);
    }

    #[test]
    fn those_that_see_each_other_go_one_after_the_other_by_name() {
        let others = [status("a", Seat::Following), status("c", Seat::Following)];
        assert_eq!(judge(Some("b"), &others, 0.0), Judgement::Wait(STEP));
        assert_eq!(judge(Some("B"), &others, 0.5), Judgement::Wait(CHANCE / 2));
        assert_eq!(judge(None, &others, 0.0), Judgement::Wait(STEP * 2));
        let cannot = [Status {
            may_lead: false,
            ..status("a", Seat::Following)
        }];
        assert_eq!(judge(Some("b"), &cannot, 0.0), Judgement::Wait(Duration::ZERO));
        assert_eq!(judge(Some("b"), &[], 0.0), Judgement::Wait(Duration::ZERO));
    }
}
