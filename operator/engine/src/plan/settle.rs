//! A version whose metadata is on its way.

use std::collections::BTreeSet;

use hayloft_api::{HostName, NodeId};
use jiff::SignedDuration;

use super::layout::down_holders;
use crate::{ClusterFacts, Input, MoveKey, Plan, Reason, Step, WaitsFor};

/// How long a version may take to settle, although holders of its forerunner are gone, before it counts as stuck.
const MAY_SETTLE: SignedDuration = SignedDuration::from_secs(30);

/// Says what a version waits for, and helps it where the dead keep it from settling.
pub(super) fn follow(input: &Input<'_>, cluster: &ClusterFacts, plan: &mut Plan) {
    let layout = &cluster.layout;
    if layout.version == 0 || layout.settled {
        return;
    }
    let version = layout.version;
    let down = down_holders(input, cluster, |_| true);
    let what = format!("settle layout version {version}");
    if !down.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: down });
        return;
    }
    skip_gone(cluster, plan);
    let gone = gone(cluster);
    let applied = input
        .snapshot
        .moves
        .iter()
        .rev()
        .find(|facts| facts.key() == MoveKey::from(version));
    let late = applied.is_none_or(|facts| input.snapshot.now.duration_since(facts.applied) > MAY_SETTLE);
    if gone.len() < fatal(input) || !late {
        plan.wait(what, WaitsFor::Settling { version });
        return;
    }
    let named = |id: &NodeId| host_of(input, *id).is_some_and(|host| input.snapshot.may_lack.contains(&host));
    if gone.iter().all(named) {
        let hosts: BTreeSet<HostName> = gone.iter().filter_map(|id| host_of(input, *id)).collect();
        let reason = Reason::Asked {
            hosts: hosts.iter().cloned().collect(),
        };
        plan.step(
            Step::AllowMissing {
                through: cluster.through.clone(),
                version,
                hosts,
            },
            reason,
        );
    } else {
        let named =
            |id: &NodeId| host_of(input, *id).map_or_else(|| input.name_of(*id), |host| host.to_string());
        let hosts: BTreeSet<String> = gone.iter().map(named).collect();
        plan.wait(
            what,
            WaitsFor::AllowMissing {
                version,
                hosts: hosts.into_iter().collect(),
            },
        );
    }
}

/// Counts a node that lost its role and is down as having heard of the new version; else the old one's quorums would be
/// needed for ever. Only while all who have a role are up, for Garage skips everyone who is down.
fn skip_gone(cluster: &ClusterFacts, plan: &mut Plan) {
    let version = cluster.layout.version;
    let unheard = |id: &NodeId| match &cluster.trackers {
        Some(trackers) => trackers.get(id).is_some_and(|tracker| tracker.ack < version),
        None => true,
    };
    if gone(cluster).iter().any(unheard) {
        let step = Step::SkipGone {
            through: cluster.through.clone(),
            version,
        };
        plan.step(step, Reason::NeverReturns);
    }
}

/// Nodes that hold partitions in an older live version, have no role any more, and are down.
fn gone(cluster: &ClusterFacts) -> Vec<NodeId> {
    let nodes = cluster.nodes.iter();
    nodes
        .filter(|(_, node)| node.draining && !node.up)
        .map(|(id, _)| *id)
        .collect()
}

/// With so many of a version's nodes gone, some partition may have no quorum left that could say it is complete.
fn fatal(input: &Input<'_>) -> usize {
    let copies = usize::from(input.document.spec.garage.replication_factor);
    // Garage writes to a majority.
    copies - (copies / 2 + 1) + 1
}

fn host_of(input: &Input<'_>, id: NodeId) -> Option<HostName> {
    let member = input.host_of(id).map(|member| member.name);
    member.or_else(|| input.former_host(id)).cloned()
}
