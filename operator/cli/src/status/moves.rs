//! How far moves of data are, as a person reads it. Pure.

use std::time::Duration;

use hayloft_api::status::MoveStatus;

use crate::words;

/// Two lines for each move, and one for each of Garage's delays.
pub(crate) fn lines(moves: &[MoveStatus]) -> Vec<String> {
    moves.iter().flat_map(of_one).collect()
}

fn of_one(moving: &MoveStatus) -> Vec<String> {
    let MoveStatus {
        version,
        refilled,
        what,
        applied: _,
        phase,
        settled,
        placed,
        empty,
        partitions,
        bytes,
        arrived,
        left: _,
        rate,
        seconds_left,
        delays,
    } = moving;
    let mut facts = vec![format!(
        "settled {}, placed {}, empty {}",
        percent(*settled),
        percent(*placed),
        percent(*empty)
    )];
    if let Some(partitions) = partitions {
        let number = usize::try_from(*partitions).unwrap_or(usize::MAX);
        facts.push(words::count(number, "partition"));
    }
    match bytes {
        Some(bytes) => facts.push(format!("{} of {}", words::bytes(*arrived), words::bytes(*bytes))),
        None if *arrived > 0 => facts.push(format!("{} arrived", words::bytes(*arrived))),
        None => {}
    }
    if let Some(rate) = rate.filter(|rate| *rate > 0) {
        facts.push(format!("{}/s", words::bytes(rate)));
    }
    if let Some(seconds) = seconds_left.filter(|seconds| *seconds > 0) {
        facts.push(format!("{} left", words::duration(Duration::from_secs(seconds))));
    }
    let head = match refilled {
        None => format!("Move     version {version}, {}: {what}", phase.as_str()),
        Some(_) => format!("Refill   {}: {what}", phase.as_str()),
    };
    let mut lines = vec![head, format!("         {}", facts.join("; "))];
    lines.extend(delays.iter().map(|delay| format!("         {}", delay.what)));
    lines
}

/// Permille as a percentage: `41.2 %`, `100 %`.
fn percent(permille: u16) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole} %"),
        (whole, tenth) => format!("{whole}.{tenth} %"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hayloft_api::status::{DelayStatus, MovePhase};

    use super::*;

    /// A host that joins, half-way.
    pub(crate) fn join() -> MoveStatus {
        MoveStatus {
            version: 2,
            refilled: None,
            what: "host-4 joins".into(),
            applied: "2026-11-22T12:00:00Z".parse().unwrap(),
            phase: MovePhase::Repairing,
            settled: 1000,
            placed: 412,
            empty: 1000,
            partitions: Some(188),
            bytes: Some(3 << 30),
            arrived: 1 << 30,
            left: Some(2 << 30),
            rate: Some(20 << 20),
            seconds_left: Some(102),
            delays: vec![],
        }
    }

    #[test]
    fn a_move_says_how_far_it_is_how_fast_and_how_long() {
        insta::assert_snapshot!(lines(&[join()]).join("\n"));
    }

    #[test]
    fn garages_fixed_delay_is_named_as_such() {
        let drain = MoveStatus {
            version: 3,
            what: "host-4 leaves".into(),
            phase: MovePhase::Emptying,
            placed: 1000,
            empty: 0,
            bytes: None,
            arrived: 0,
            left: None,
            rate: None,
            seconds_left: None,
            delays: vec![DelayStatus {
                what: "waiting for Garage's fixed delay, 412 s left".into(),
                seconds_left: 412,
            }],
            ..join()
        };
        insta::assert_snapshot!(lines(&[drain]).join("\n"));
    }
}
