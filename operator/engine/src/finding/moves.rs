//! Whether data is where it belongs, and hosts that left are empty.

use hayloft_api::status::{ConditionType, MovePhase, Reason};

use super::{Facts, Finding};
use crate::progress::host_name;
use crate::{WaitsFor, progress};

pub(super) fn placed(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Placed;
    let snapshot = facts.snapshot;
    let Some(moved) = snapshot.moves.iter().find(|moved| moved.placed.is_none()) else {
        return Finding::good(kind, "all data lies where the layout wants it");
    };
    let told = progress(snapshot, moved);
    let version = moved.version;
    let of = format!("layout version {version}");
    let moves = match moved.refilled {
        None => format!("data of {of} moves"),
        Some(id) if moved.older_metadata => format!(
            "{} is being repaired, for its metadata went back",
            host_name(snapshot, id)
        ),
        Some(id) => format!("the new data disk of {} is being filled", host_name(snapshot, id)),
    };
    let percent = f64::from(told.placed) / 10.0;
    if let Some((node, repair)) = moved
        .repairs
        .iter()
        .find(|(_, repair)| repair.finished.is_some() && repair.errors > 0)
    {
        let host = host_name(snapshot, *node);
        let text = format!(
            "a repair of {host} for {of} met {} errors; it is tried again, see the log of its Garage",
            repair.errors
        );
        return Finding::bad(kind, Reason::RepairErrors, text);
    }
    if let Some(delay) = told.delays.first().filter(|_| moved.compared.is_some()) {
        let text = format!("{moves}, {percent:.1} % placed: {}", delay.what);
        return Finding::bad(kind, Reason::GarageDelay, text);
    }
    let missing = moved.compared.map_or(0, |compared| compared.missing);
    if missing > 0 {
        let text = format!("{missing} blocks are not yet where {of} wants them; it is looked for them");
        return Finding::bad(kind, Reason::BlocksMissing, text);
    }
    let text = match told.phase {
        MovePhase::Settling => format!("metadata of layout version {version} is being synced"),
        MovePhase::Repairing | MovePhase::Comparing | MovePhase::Emptying | MovePhase::Done => {
            format!("{moves}, {percent:.1} % placed")
        }
    };
    Finding::bad(kind, Reason::Moving, text)
}

pub(super) fn emptied(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Emptied;
    for waiting in &facts.plan.waiting {
        if !waiting.what.starts_with("delete the data of") {
            continue;
        }
        match &waiting.waits_for {
            WaitsFor::GarageDelay { until } => {
                let left = until.duration_since(facts.snapshot.now).as_secs();
                let text = format!(
                    "{}: waiting for Garage's fixed delay, {left} s left",
                    waiting.what
                );
                return Finding::bad(kind, Reason::GarageDelay, text);
            }
            _ => return Finding::bad(kind, Reason::Moving, waiting.to_string()),
        }
    }
    Finding::good(kind, "nobody who left holds data any more")
}
