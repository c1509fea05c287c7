//! Whether all members have the same layout, and what is done when they do not.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::HostName;
use hayloft_api::question::Digest;
use jiff::SignedDuration;

use super::layout::down_holders;
use crate::{ClusterFacts, Input, Plan, Reason, Step, WaitsFor};

/// How long a member that was told to apply a version, and whose answer was not heard, is waited for.
const ANSWER: SignedDuration = SignedDuration::from_secs(60);

/// The number that the next version gets: above all that anybody has or may have, so that no number ever means two
/// things.
pub(super) fn next_version(input: &Input<'_>, cluster: &ClusterFacts) -> u64 {
    let reported = input.snapshot.hosts.values().filter_map(|facts| {
        let layout = facts.report.as_ref()?.layout?;
        let id = facts.id?;
        cluster.layout.roles.contains_key(&id).then_some(layout.version)
    });
    let unanswered = input.snapshot.unanswered.iter();
    let unanswered = unanswered
        .filter(|unanswered| unanswered.through != cluster.through)
        .map(|unanswered| unanswered.version);
    reported.chain(unanswered).fold(cluster.layout.version, u64::max) + 1
}

/// What keeps a version from being applied because it is not certain that all members have the same one.
pub(super) fn disagreement(input: &Input<'_>, cluster: &ClusterFacts) -> Option<WaitsFor> {
    unanswered(input, cluster).or_else(|| behind(input, cluster).filter(|_| cluster.layout.settled))
}

/// Whether a member that may have applied a version is still to be heard.
fn unanswered(input: &Input<'_>, cluster: &ClusterFacts) -> Option<WaitsFor> {
    let unanswered = input.snapshot.unanswered.as_ref()?;
    let elsewhere = unanswered.through != cluster.through && cluster.layout.version < unanswered.version;
    let recent = input.snapshot.now.duration_since(unanswered.at) < ANSWER;
    (elsewhere && recent).then(|| WaitsFor::Answer {
        through: unanswered.through.clone(),
        version: unanswered.version,
    })
}

/// Members with a role whose version is not the newest: news travel for half a second.
fn behind(input: &Input<'_>, cluster: &ClusterFacts) -> Option<WaitsFor> {
    let held = held(input);
    let newest = held
        .values()
        .map(|(version, _)| *version)
        .fold(cluster.layout.version, u64::max);
    let mut hosts: BTreeSet<HostName> = held
        .iter()
        .filter(|(_, (version, _))| *version < newest)
        .map(|(host, _)| (*host).clone())
        .collect();
    if cluster.layout.version < newest {
        hosts.insert(cluster.through.clone());
    }
    (!hosts.is_empty()).then(|| WaitsFor::Agreement {
        hosts: hosts.into_iter().collect(),
    })
}

/// Heals a split history: several members have different layouts of the newest version. Whether there is one, so that
/// nothing else is to be done with the layout.
pub(super) fn heal(input: &Input<'_>, cluster: &ClusterFacts, plan: &mut Plan) -> bool {
    let held = held(input);
    let newest = held.values().map(|(version, _)| *version).max().unwrap_or(0);
    let at_newest = || held.iter().filter(|(_, (version, _))| *version == newest);
    let mut camps: BTreeMap<Digest, BTreeSet<&HostName>> = BTreeMap::new();
    for (host, (_, digest)) in at_newest() {
        camps.entry(*digest).or_default().insert(host);
    }
    if camps.len() < 2 {
        return false;
    }
    let largest = camps
        .values()
        .max_by_key(|camp| (camp.len(), camp.contains(&cluster.through)));
    let others = at_newest()
        .map(|(host, _)| *host)
        .filter(|host| !largest.is_some_and(|camp| camp.contains(host)));
    let hosts: Vec<HostName> = others.cloned().collect();
    let what = "make all members agree on the layout";
    let down = down_holders(input, cluster, |_| true);
    if !down.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: down });
    } else if cluster.layout.version < newest {
        plan.wait(what, WaitsFor::Agreement { hosts });
    } else {
        let step = Step::HealSplit {
            through: cluster.through.clone(),
            version: next_version(input, cluster),
        };
        plan.step(step, Reason::Split { hosts });
    }
    true
}

/// The newest version and digest that each live member with a role has on disk.
fn held<'a>(input: &Input<'a>) -> BTreeMap<&'a HostName, (u64, Digest)> {
    input
        .members
        .values()
        .filter(|member| member.role.is_some() && member.runs() && !member.barred)
        .filter_map(|member| {
            let layout = member.report()?.layout?;
            Some((member.name, (layout.version, layout.digest)))
        })
        .collect()
}
