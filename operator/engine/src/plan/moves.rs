//! What is done for a version after it settled, until all its data is where it belongs.

use std::collections::BTreeSet;

use hayloft_api::NodeId;
use jiff::{SignedDuration, Timestamp};

use crate::{ClusterFacts, Input, MoveFacts, Plan, Reason, Renewal, RepairFacts, RepairKind, Step, WaitsFor};

/// Garage looks for a block that it should have so long after it heard that it should: twice its RPC timeout.
pub(crate) const RECEIVING_DELAY: SignedDuration = SignedDuration::from_secs(600);

/// How long after one comparison that found something missing the next one begins.
const COMPARE_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// How long after a repair that failed, or that did not bring what was missing, the next one is launched.
const REPAIR_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// How long after one shortening of Garage's delay that left something missing the next one is tried.
const QUICKEN_AGAIN: SignedDuration = SignedDuration::from_secs(20);

/// Takes every move that is not placed one step further.
pub(super) fn follow(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    if plan.changes_layout() {
        return;
    }
    // Every Garage is about to be restarted, and only a repair after that counts.
    let restarts = plan.steps.iter().any(|planned| {
        matches!(
            planned.step,
            Step::StageSecrets { .. } | Step::SwitchSecrets { .. } | Step::RotateSecrets { .. }
        )
    }) || matches!(input.snapshot.secrets.renewal, Renewal::Staged { .. });
    for facts in input.unplaced() {
        // Repairs count only from settling on. The newest version says of itself what it waits for.
        if facts.settled.is_none() || !cluster.layout.settled || facts.is_trivial() {
            continue;
        }
        if restarts {
            let known_to = input.snapshot.secrets.known_to.iter().cloned().collect();
            plan.wait(goal(input, facts), WaitsFor::Renewal { known_to });
            continue;
        }
        advance(input, cluster, facts, plan);
    }
}

/// What a move is for.
fn goal(input: &Input<'_>, facts: &MoveFacts) -> String {
    match facts.refilled {
        None => format!("place the data of layout version {}", facts.version),
        Some(id) if facts.older_metadata => {
            format!("repair {}, whose metadata went back", input.name_of(id))
        }
        Some(id) => format!("fill the new data disk of {}", input.name_of(id)),
    }
}

/// What somebody waits for who waits for a move to be placed.
pub(super) fn done(input: &Input<'_>, facts: &MoveFacts) -> WaitsFor {
    match facts.refilled {
        None => WaitsFor::Placed {
            version: facts.version,
        },
        Some(id) if facts.older_metadata => WaitsFor::Mended {
            host: input.name_of(id),
        },
        Some(id) => WaitsFor::Filled {
            host: input.name_of(id),
        },
    }
}

fn reason(facts: &MoveFacts) -> Reason {
    match facts.refilled {
        None => Reason::Move {
            version: facts.version,
        },
        Some(_) if facts.older_metadata => Reason::OlderMetadata,
        Some(_) => Reason::NewDisk,
    }
}

/// What the plan already does to a node's queue for another move counts for every move.
fn in_hand(plan: &Plan) -> BTreeSet<NodeId> {
    let nodes = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::QuickenReceivers { nodes, .. }
        | Step::LaunchRepair {
            nodes,
            kind: RepairKind::Blocks,
            ..
        } => Some(nodes),
        _ => None,
    });
    nodes.flatten().copied().collect()
}

fn advance(input: &Input<'_>, cluster: &ClusterFacts, facts: &MoveFacts, plan: &mut Plan) {
    let version = facts.version;
    let what = goal(input, facts);
    // Who gave up its role since then has nothing to receive any more.
    let holds = |id: &NodeId| cluster.layout.roles.contains_key(id);
    let receivers: Vec<NodeId> = facts.receivers().into_iter().filter(holds).collect();
    let down: Vec<String> = receivers
        .iter()
        .filter(|id| !cluster.is_up(**id))
        .map(|id| input.name_of(*id))
        .collect();
    let through = &cluster.through;
    if !tables(input, cluster, facts, &what, plan) {
        return;
    }
    let in_hand = in_hand(plan);
    let quicken: BTreeSet<NodeId> = receivers
        .iter()
        .filter(|id| cluster.is_up(**id) && !in_hand.contains(id) && may_be_quickened(input, facts, **id))
        .copied()
        .collect();
    if !quicken.is_empty() {
        plan.step(
            Step::QuickenReceivers {
                through: through.clone(),
                of: facts.key(),
                nodes: quicken.clone(),
            },
            reason(facts),
        );
    }
    let nodes: BTreeSet<NodeId> = receivers
        .iter()
        .filter(|id| cluster.is_up(**id) && !quicken.contains(id) && !in_hand.contains(id))
        .filter(|id| needs_repair(input, facts, **id))
        .copied()
        .collect();
    if !nodes.is_empty() {
        plan.step(
            Step::LaunchRepair {
                through: through.clone(),
                nodes,
                kind: RepairKind::Blocks,
            },
            reason(facts),
        );
    }
    if !down.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: down });
        return;
    }
    let repairing: Vec<String> = receivers
        .iter()
        .filter(|id| !facts.repaired(**id, input.started(**id)))
        .map(|id| input.name_of(*id))
        .collect();
    if !repairing.is_empty() {
        plan.wait(
            what,
            WaitsFor::Repairs {
                version,
                hosts: repairing,
            },
        );
        return;
    }
    compare(input, cluster, facts, &receivers, what, plan);
}

/// Everything has been looked for: now names are compared, again and again until none is missing. The newest move's
/// comparison covers all earlier ones: where it wants a block that an earlier one moved, its holders list it.
fn compare(
    input: &Input<'_>,
    cluster: &ClusterFacts,
    facts: &MoveFacts,
    receivers: &[NodeId],
    what: String,
    plan: &mut Plan,
) {
    let newest = input.unplaced().map(MoveFacts::key).max();
    let newest = newest.unwrap_or(facts.key());
    let version = newest.version;
    let now = input.snapshot.now;
    let ended = facts.repairs_ended().unwrap_or(facts.applied);
    let last = facts.compared.filter(|compared| compared.began >= ended);
    let idle = receivers.iter().all(|id| {
        let node = cluster.nodes.get(id);
        node.is_some_and(|node| node.queue.is_none_or(|queue| queue == 0))
    });
    let since = |at: Timestamp| now.duration_since(at);
    let due = match last {
        // Clients' writes keep a queue from ever being empty, so it is not waited for longer than that.
        None => idle || since(ended) >= COMPARE_AGAIN,
        Some(compared) => since(compared.at) >= COMPARE_AGAIN,
    };
    if due && facts.comparing.is_none() && newest == facts.key() {
        plan.step(Step::Compare { of: newest }, reason(facts));
    }
    let until = facts.settled.and_then(|at| at.checked_add(RECEIVING_DELAY).ok());
    let slow = receivers.iter().any(|id| !facts.quickened.contains_key(id));
    let waits_for = match (last, until) {
        (Some(compared), Some(until)) if compared.missing > 0 && slow && until > now => {
            WaitsFor::GarageDelay { until }
        }
        (last, _) => WaitsFor::Comparison {
            version,
            missing: last
                .map(|compared| compared.missing)
                .filter(|missing| *missing > 0),
        },
    };
    plan.wait(what, waits_for);
}

/// Right after settling, and again when something is missing still, for what clients pushed while the node was down
/// waits as long; on a node that gives nothing: there the queue holds nothing that others wait for.
fn may_be_quickened(input: &Input<'_>, facts: &MoveFacts, id: NodeId) -> bool {
    let gives = |other: &MoveFacts| {
        other.partitions.is_none() || other.sources.get(&id).is_some_and(|partitions| *partitions > 0)
    };
    let again = |at: Timestamp| {
        input.snapshot.now.duration_since(at) >= QUICKEN_AGAIN
            && facts
                .compared
                .is_some_and(|compared| compared.missing > 0 && compared.began > at)
    };
    facts.only_receives(id)
        && facts.quickened.get(&id).is_none_or(|at| again(*at))
        && !input.snapshot.moves.iter().any(gives)
        && input.started(id).is_some()
}

/// Whether a node has no repair that counts and none that runs.
fn needs_repair(input: &Input<'_>, facts: &MoveFacts, id: NodeId) -> bool {
    // Without knowing when the node last started, no repair could count.
    let Some(started) = input.started(id) else {
        return false;
    };
    let now = input.snapshot.now;
    let Some(RepairFacts {
        launched,
        finished,
        errors,
    }) = facts.repairs.get(&id).copied()
    else {
        return true;
    };
    let emptied = facts.quickened.get(&id).is_some_and(|at| launched < *at);
    if launched < started || emptied || facts.repairs_count_from().is_some_and(|from| launched < from) {
        return true;
    }
    let Some(finished) = finished else { return false };
    if now.duration_since(finished) < REPAIR_AGAIN {
        return false;
    }
    // What is still missing although the repair ended and its queue is empty was lost on the way: it is looked for again.
    let ended = facts.repairs_ended().unwrap_or(finished);
    let missing = facts.compared.is_some_and(|compared| {
        compared.missing > 0
            && compared.began >= ended
            && compared.at.duration_since(finished) >= COMPARE_AGAIN
    });
    let queue = input
        .cluster()
        .and_then(|cluster| cluster.nodes.get(&id))
        .and_then(|node| node.queue);
    errors > 0 || (missing && queue == Some(0))
}

/// Where somebody allowed data to be missing, tables are repaired before blocks are looked for. Gives whether that is done.
fn tables(input: &Input<'_>, cluster: &ClusterFacts, facts: &MoveFacts, what: &str, plan: &mut Plan) -> bool {
    let holds = |id: NodeId| cluster.layout.roles.contains_key(&id);
    // Who is filled again is told by the others, once it is there.
    let refilled = facts
        .refilled
        .map(|id| input.started(id).filter(|_| cluster.is_up(id)));
    let outdated = |repair: &RepairFacts| {
        let earlier = refilled.flatten().is_some_and(|at| repair.launched < at);
        earlier
            || repair
                .finished
                .is_some_and(|at| told_too_little(input, facts, at))
    };
    let done = facts.tables_done(holds) && !facts.tables.values().any(outdated);
    if !facts.repairs_tables() || refilled == Some(None) || done {
        return true;
    }
    let nodes: BTreeSet<NodeId> = cluster
        .storage()
        .map(|(id, _)| id)
        .filter(|id| cluster.is_up(*id) && input.started(*id).is_some())
        .filter(|id| {
            let started = input.started(*id);
            let stale = |repair: &RepairFacts| {
                repair.finished.is_none() && started.is_some_and(|at| repair.launched < at)
            };
            let repair = facts.tables.get(id);
            repair.is_none_or(|repair| stale(repair) || outdated(repair))
        })
        .filter(|id| {
            // What another move has launched in this round is for all.
            !plan.steps.iter().any(|planned| {
                matches!(&planned.step, Step::LaunchRepair { nodes, kind: RepairKind::Tables, .. } if nodes.contains(id))
            })
        })
        .collect();
    if !nodes.is_empty() {
        plan.step(
            Step::LaunchRepair {
                through: cluster.through.clone(),
                nodes,
                kind: RepairKind::Tables,
            },
            reason(facts),
        );
    }
    let open = facts.after.keys().filter(|id| holds(**id)).filter(|id| {
        let repair = facts.tables.get(id);
        repair.is_none_or(|repair| repair.finished.is_none() || outdated(repair))
    });
    let hosts: Vec<String> = open.map(|id| input.name_of(*id)).collect();
    let version = facts.missing_allowed.map(|_| facts.version);
    plan.wait(what, WaitsFor::TableRepairs { version, hosts });
    false
}

/// Whether blocks are missing long after a repair of tables ended: what was written meanwhile may not have been told to all.
fn told_too_little(input: &Input<'_>, facts: &MoveFacts, ended: Timestamp) -> bool {
    let missing = facts
        .compared
        .is_some_and(|compared| compared.missing > 0 && compared.began > ended);
    missing && input.snapshot.now.duration_since(ended) >= REPAIR_AGAIN
}
