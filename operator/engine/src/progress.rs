//! How far a move has come, told so that it is never more than is known, and never less than was told before.

use hayloft_api::NodeId;
use hayloft_api::status::{DelayStatus, MovePhase, MoveStatus};
use jiff::{SignedDuration, Timestamp};

use crate::plan::{GIVING_DELAY, RECEIVING_DELAY};
use crate::{MoveFacts, Snapshot};

/// All of it.
const WHOLE: u16 = 1000;

/// How far a move has come. The first three figures are to be kept as [`MoveFacts::told`].
pub fn progress(snapshot: &Snapshot, facts: &MoveFacts) -> MoveStatus {
    let settled = settled(snapshot, facts).max(facts.told[0].min(WHOLE));
    let placed = placed(facts).max(facts.told[1].min(WHOLE));
    let empty = empty(snapshot, facts).max(facts.told[2].min(WHOLE));
    let bytes = facts.bytes.map(|bytes| bytes.0);
    let arrived = match (facts.placed, bytes) {
        (Some(_), Some(bytes)) => bytes,
        _ => bytes.map_or(facts.arrived.0, |bytes| facts.arrived.0.min(bytes)),
    };
    let left = bytes.map(|bytes| bytes - arrived);
    let rate = snapshot.rate.map(|rate| rate.0.0).filter(|rate| *rate > 0);
    let phase = phase(facts, empty);
    MoveStatus {
        version: facts.version,
        refilled: facts.refilled.map(|id| host_name(snapshot, id)),
        what: what(snapshot, facts),
        applied: facts.applied,
        phase,
        settled,
        placed,
        empty,
        partitions: facts.partitions,
        bytes,
        arrived,
        left,
        rate: rate.filter(|_| facts.placed.is_none()),
        seconds_left: left
            .zip(rate)
            .filter(|_| facts.placed.is_none())
            .map(|(left, rate)| left.div_ceil(rate)),
        delays: delays(snapshot, facts),
    }
}

fn phase(facts: &MoveFacts, empty: u16) -> MovePhase {
    if facts.settled.is_none() {
        MovePhase::Settling
    } else if facts.placed.is_some() {
        if empty == WHOLE {
            MovePhase::Done
        } else {
            MovePhase::Emptying
        }
    } else if facts.repairs_ended().is_some() {
        MovePhase::Comparing
    } else {
        MovePhase::Repairing
    }
}

/// Nodes whose tables are synced to the version, of all who take part in it.
fn settled(snapshot: &Snapshot, facts: &MoveFacts) -> u16 {
    if facts.settled.is_some() {
        return WHOLE;
    }
    let trackers = snapshot
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.trackers.as_ref());
    let Some(trackers) = trackers.filter(|trackers| !trackers.is_empty()) else {
        return 0;
    };
    let synced = trackers
        .values()
        .filter(|tracker| tracker.sync >= facts.version)
        .count();
    permille(synced, trackers.len()).min(WHOLE - 1)
}

/// Bytes that have arrived, or blocks that are not missing any more. The last thousandth is proof.
fn placed(facts: &MoveFacts) -> u16 {
    if facts.placed.is_some() || facts.partitions == Some(0) && facts.settled.is_some() {
        return WHOLE;
    }
    let by_bytes = facts
        .bytes
        .filter(|bytes| bytes.0 > 0)
        .map(|bytes| permille(facts.arrived.0, bytes.0));
    let by_names = facts
        .compared
        .filter(|compared| compared.of > 0)
        .map(|compared| permille(compared.of.saturating_sub(compared.missing), compared.of));
    by_bytes.or(by_names).unwrap_or(0).min(WHOLE - 1)
}

/// Blocks that those who left have given away. The last thousandth is their own disk's word.
fn empty(snapshot: &Snapshot, facts: &MoveFacts) -> u16 {
    let leaving: Vec<NodeId> = facts.departures().map(|departure| departure.id).collect();
    let open: Vec<NodeId> = leaving
        .into_iter()
        .filter(|id| !facts.emptied.contains_key(id) && !is_gone(snapshot, *id))
        .collect();
    if open.is_empty() {
        return if facts.settled.is_some() { WHOLE } else { 0 };
    }
    let held: u64 = open.iter().filter_map(|id| facts.held.get(id)).sum();
    let left: u64 = open.iter().filter_map(|id| blocks(snapshot, *id)).sum();
    if held == 0 {
        return 0;
    }
    permille(held.saturating_sub(left), held).min(WHOLE - 1)
}

/// Whether nothing can come of a node any more: it was put out, or its host is another one now.
fn is_gone(snapshot: &Snapshot, id: NodeId) -> bool {
    snapshot.barred.contains(&id) || !snapshot.hosts.values().any(|facts| facts.id == Some(id))
}

fn blocks(snapshot: &Snapshot, id: NodeId) -> Option<u64> {
    let facts = snapshot.hosts.values().find(|facts| facts.id == Some(id))?;
    facts.report.as_ref()?.blocks.map(|blocks| blocks.count)
}

/// Garage's own fixed delays that keep something from happening now.
fn delays(snapshot: &Snapshot, facts: &MoveFacts) -> Vec<DelayStatus> {
    let Some(settled) = facts.settled else {
        return Vec::new();
    };
    let mut delays = Vec::new();
    let missing = facts.compared.is_some_and(|compared| compared.missing > 0);
    let slow = facts
        .receivers()
        .iter()
        .any(|id| !facts.quickened.contains_key(id));
    if facts.placed.is_none() && missing && slow {
        delays.extend(delay(
            snapshot.now,
            settled,
            RECEIVING_DELAY,
            "before blocks are fetched",
        ));
    }
    if facts.placed.is_none() && missing {
        delays.extend(returned(snapshot, facts, settled));
    }
    let leaving = facts
        .departures()
        .any(|departure| !facts.emptied.contains_key(&departure.id) && !is_gone(snapshot, departure.id));
    if leaving {
        delays.extend(delay(
            snapshot.now,
            settled,
            GIVING_DELAY,
            "before a host that left gives its blocks away",
        ));
    }
    delays
}

/// Of holders that gave or kept, and were away while clients wrote: what they missed they fetch after Garage's delay, which is
/// not shortened for them, for they would forget what they are to give. Only the last one is told of.
fn returned(snapshot: &Snapshot, facts: &MoveFacts, settled: Timestamp) -> Option<DelayStatus> {
    let started = |id: &NodeId| {
        let host = snapshot.hosts.values().find(|host| host.id == Some(*id))?;
        host.report.as_ref()?.garage_started
    };
    let back = facts.after.keys().filter_map(|id| Some((started(id)?, *id)));
    let slow = |(at, id): &(Timestamp, NodeId)| {
        *at > settled && facts.quickened.get(id).is_none_or(|quickened| quickened < at)
    };
    let (at, id) = back.filter(slow).max()?;
    let what = format!(
        "before {}, which was away, fetches what was written meanwhile",
        host_name(snapshot, id)
    );
    delay(snapshot.now, at, RECEIVING_DELAY, &what)
}

fn delay(now: Timestamp, from: Timestamp, length: SignedDuration, what: &str) -> Option<DelayStatus> {
    let left = length.checked_sub(now.duration_since(from))?.as_secs();
    let seconds_left = u64::try_from(left).ok().filter(|left| *left > 0)?;
    Some(DelayStatus {
        what: format!("waiting for Garage's fixed delay {what}, {seconds_left} s left"),
        seconds_left,
    })
}

/// What a move does, in words.
fn what(snapshot: &Snapshot, facts: &MoveFacts) -> String {
    let (mut joins, mut leaves, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let name = |id: &NodeId| host_name(snapshot, *id);
    if let Some(id) = facts.refilled.as_ref().filter(|_| facts.older_metadata) {
        return format!("{} is being repaired, for its metadata went back", name(id));
    }
    if let Some(id) = &facts.refilled {
        return format!("the new data disk of {} is being filled", name(id));
    }
    for (id, role) in &facts.after {
        match facts.before.get(id) {
            None => joins.push(name(id)),
            Some(before) if before != role => changes.push(name(id)),
            Some(_) => {}
        }
    }
    leaves.extend(
        facts
            .before
            .keys()
            .filter(|id| !facts.after.contains_key(id))
            .map(name),
    );
    if joins.is_empty() && leaves.is_empty() && changes.is_empty() {
        return "data is spread anew".to_owned();
    }
    crate::words::moved(&joins, &changes, &leaves, false)
}

/// The host that a node is or was.
pub(crate) fn host_name(snapshot: &Snapshot, id: NodeId) -> String {
    let mut hosts = snapshot.hosts.iter();
    let known = hosts.find(|(_, host)| host.id == Some(id) || host.former.contains(&id));
    known.map_or_else(|| id.short(), |(name, _)| name.to_string())
}

fn permille<N: TryInto<u64>>(part: N, whole: N) -> u16 {
    let (part, whole): (u64, u64) = (part.try_into().unwrap_or(0), whole.try_into().unwrap_or(0));
    let permille = u128::from(part.min(whole)) * u128::from(WHOLE) / u128::from(whole.max(1));
    u16::try_from(permille).unwrap_or(WHOLE)
}
