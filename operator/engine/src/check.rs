//! The second judge. It knows nothing of how plans are made, and reads the facts by itself.

mod facts;
mod hosts;
mod layout;
mod moves;

use std::collections::BTreeSet;

use hayloft_api::{Bytes, Document, HostName};

use crate::{Drift, Leadership, Plan, Renewal, Snapshot, Step};
use facts::Facts;

/// A rule that a plan, or what Garage makes of it, would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// More than one layout version in one plan.
    #[error("the plan changes the layout {0} times; one version at a time is allowed")]
    SeveralVersions(usize),
    /// Not the version after the current one.
    #[error("the plan applies layout version {planned}, and {next} is next")]
    WrongVersion {
        /// The planned one.
        planned: u64,
        /// The next one.
        next: u64,
    },
    /// The layout changes and nobody knows the current one.
    #[error("the plan changes the layout without having seen it")]
    Blind,
    /// The current version is not settled.
    #[error("the plan changes the layout while version {0} is in flight")]
    InFlight(u64),
    /// A role holder is down and keeps its role.
    #[error("the plan changes the layout while {0} is down and keeps its role")]
    HolderDown(String),
    /// A role for a node that is not there.
    #[error("the plan gives a role to {0}, which is down")]
    JoinerDown(String),
    /// The staging area holds something else.
    #[error("the plan changes the layout while changes are staged that it does not know")]
    ForeignStaging,
    /// The staging area would be emptied of what somebody else put there.
    #[error("the plan reverts changes that somebody else staged")]
    RevertsForeign,
    /// Fewer holders than copies.
    #[error("{have} storage hosts would hold {need} copies")]
    TooFewHosts {
        /// Holders.
        have: usize,
        /// Copies.
        need: u8,
    },
    /// Fewer zones than declared.
    #[error("storage hosts would be in {have} zones, and copies shall be in {need}")]
    TooFewZones {
        /// Zones.
        have: usize,
        /// As declared.
        need: u8,
    },
    /// The only copy of something would be given up.
    #[error("the plan takes the role of a node that is down, and everything has one copy only")]
    LosesOnlyCopy,
    /// Somebody who has a role would be skipped.
    #[error("the plan skips nodes that are down while {0} is one of them and has a role")]
    SkipsHolder(String),
    /// More than one removal of hosts that are up.
    #[error("the plan takes the roles of {0} live hosts at once")]
    SeveralRemovals(usize),
    /// A host that is up and one that is down would go together.
    #[error("the plan takes the roles of live and dead hosts at once")]
    MixedRemovals,
    /// A removal while the data of an earlier version is not placed.
    #[error("the plan takes a role while the data of layout version {0} is not placed")]
    RemovalUnproven(u64),
    /// A host that is down loses its role, and nobody put it out.
    #[error("the plan takes the role of {0}, which is down and was not put out")]
    RemovesAbsent(String),
    /// More versions would be on their way than may be.
    #[error("the plan changes the layout while the data of {0} versions is on its way")]
    TooManyUnplaced(usize),
    /// Members have different layouts.
    #[error("the plan changes the layout while that of {0} is another one")]
    Disagreement(HostName),
    /// Members do not differ, and the plan heals them.
    #[error("the plan heals a split history, and members agree")]
    NoSplit,
    /// A member that may have applied a version is not waited for.
    #[error("the plan changes the layout while {0} may just be applying another version")]
    Unanswered(HostName),
    /// Somebody else leads.
    #[error("the plan acts, and this coordinator does not lead")]
    NotLeading,
    /// An evicted node would get a role.
    #[error("the plan gives a role to {0}, which is evicted")]
    LetsIn(String),
    /// A host would be put out that is not dead, and no person asked for it.
    #[error("the plan puts out {0}, which nobody asked for and which is not seen to be dead")]
    PutsOut(HostName),
    /// A rule would put out several hosts.
    #[error("the plan puts out {0} hosts that nobody named")]
    PutsOutSeveral(usize),
    /// Data would be given up that no person gave up.
    #[error("the plan gives up what {0} held, and no person named it")]
    GivesUp(String),
    /// A version would be settled by force that is not stuck.
    #[error("the plan gives up data for version {0}, which is not the one that is stuck")]
    NotStuck(u64),
    /// A host's blocks would be deleted while some are there, or nobody looked.
    #[error("the plan deletes the data of {0}, whose own disk does not say that it is empty")]
    ErasesBlocks(HostName),
    /// A host would forget its node while data is not placed.
    #[error("the plan makes {0} forget its node while data is on its way")]
    ForgetsTooEarly(HostName),
    /// A Garage that must not run.
    #[error("the plan starts a Garage on {0} that must not be used")]
    StartsUnfit(HostName),
    /// An empty disk would be taken for a replaced one.
    #[error("the plan accepts an empty data disk on {0}, and no person said that it was replaced")]
    AcceptsLoss(HostName),
    /// The queue of a node that others need would be cleared.
    #[error("the plan clears the queue of {0}, which gives data to others")]
    ClearsGiver(String),
    /// Something would be done for a version that did not settle.
    #[error("the plan looks after the data of version {0}, which did not settle")]
    Unsettled(u64),
    /// Blocks would move faster than declared.
    #[error(
        "the plan moves blocks with {workers} workers at tranquility {tranquility}, against the document"
    )]
    TooFast {
        /// Workers.
        workers: u8,
        /// Their rest.
        tranquility: u32,
    },
    /// A copy would lie where the original does.
    #[error("the plan keeps the snapshot of {0} on itself")]
    KeepsOnItself(HostName),
    /// Secrets would be renewed for nobody, or not for all.
    #[error("the plan renews secrets for others than those who were put out")]
    RenewsForOthers,
    /// Hosts would use secrets that not all have had the time to write down.
    #[error("the plan switches to new secrets that were not told to all hosts before")]
    SwitchesUnstaged,
    /// A limit that nobody declared.
    #[error("the plan limits the bucket, and the document does not")]
    WrongQuota,
    /// A number of copies that quorums do not work with.
    #[error("{0} copies are neither 1 nor 3 nor 5")]
    WrongFactor(u8),
    /// A declared host loses its role.
    #[error("the plan takes the role of {0}, which is declared to hold data")]
    RemovesDeclared(HostName),
    /// A host that holds data is told to stop.
    #[error("the plan stops Garage on {0}, which holds data")]
    StopsHolder(HostName),
    /// A gateway without a bucket.
    #[error("the plan starts the gateway of {0} before there is a bucket")]
    GatewayTooEarly(HostName),
    /// Several gateways on one bucket, which would take the writing from each other.
    #[error("the plan lets several gateways serve one bucket: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    SeveralGateways(BTreeSet<HostName>),
    /// Writes through several members.
    #[error("the plan writes through several members: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    SeveralWriters(BTreeSet<HostName>),
    /// Garage would keep another number of copies.
    #[error("Garage would keep {forecast} copies, and {declared} are declared")]
    ForecastReplication {
        /// By Garage.
        forecast: u8,
        /// As declared.
        declared: u8,
    },
    /// Garage would spread copies over fewer zones.
    #[error("Garage would spread copies over {forecast} zones, and {declared} are declared")]
    ForecastZones {
        /// By Garage.
        forecast: u8,
        /// As declared.
        declared: u8,
    },
    /// Partitions of next to nothing.
    #[error("partitions would be smaller than 100 bytes; a pledge is far too small")]
    ForecastTiny,
    /// A disk would overflow.
    #[error(
        "{} would arrive at {host}, and {} fit beside what it holds and the reserve",
        Bytes(*.incoming).about(), Bytes(*.room).about()
    )]
    DoesNotFit {
        /// The host.
        host: HostName,
        /// Bytes that arrive.
        incoming: u64,
        /// Bytes that fit.
        room: u64,
    },
}

/// Judges a plan; nothing to object to is an empty list.
pub fn check(document: &Document, snapshot: &Snapshot, plan: &Plan) -> Vec<Objection> {
    let mut objections = Vec::new();
    let facts = Facts { document, snapshot };
    if snapshot.leadership != Leadership::Leading && !plan.steps.is_empty() {
        objections.push(Objection::NotLeading);
    }
    let factor = document.spec.garage.replication_factor;
    if !matches!(factor, 1 | 3 | 5) {
        objections.push(Objection::WrongFactor(factor));
    }
    let mut writers = BTreeSet::new();
    let mut versions = 0;
    for planned in &plan.steps {
        let step = &planned.step;
        writers.extend(writer(step).cloned());
        versions += usize::from(matches!(step, Step::ChangeLayout { .. } | Step::HealSplit { .. }));
        judge(facts, step, &mut objections);
    }
    hosts::evictions(facts, plan, &mut objections);
    hosts::several_gateways(snapshot, plan, &mut objections);
    if versions > 1 {
        objections.push(Objection::SeveralVersions(versions));
    }
    if writers.len() > 1 {
        objections.push(Objection::SeveralWriters(writers));
    }
    objections
}

fn judge(facts: Facts<'_>, step: &Step, objections: &mut Vec<Objection>) {
    match step {
        Step::ChangeLayout {
            version,
            roles,
            zone_redundancy,
            through,
        } => layout::change(facts, through, *version, roles, *zone_redundancy, objections),
        Step::HealSplit { version, through } => layout::heal(facts, through, *version, objections),
        Step::RevertStaging { .. } => layout::revert(facts, objections),
        Step::SkipGone { version, .. } => layout::skip(facts, *version, objections),
        Step::AllowMissing { version, hosts, .. } => {
            layout::allow_missing(facts, *version, hosts, objections);
        }
        Step::Desire { host, plan } => hosts::desire(facts, host, plan, objections),
        Step::QuickenReceivers { of, nodes, .. } => moves::quicken(facts, *of, nodes, objections),
        Step::Compare { of } => moves::compare(facts, *of, objections),
        Step::SetResync { setting, .. } => moves::pace(facts, *setting, objections),
        Step::KeepSnapshot { of, on } if of == on => objections.push(Objection::KeepsOnItself(of.clone())),
        Step::StageSecrets { known_to }
        | Step::SwitchSecrets { known_to }
        | Step::RotateSecrets { known_to }
            if *known_to != facts.snapshot.secrets.known_to =>
        {
            objections.push(Objection::RenewsForOthers);
        }
        Step::SwitchSecrets { .. } if !matches!(facts.snapshot.secrets.renewal, Renewal::Staged { .. }) => {
            objections.push(Objection::SwitchesUnstaged);
        }
        Step::Mend {
            drift: Drift::Quota { shall },
            ..
        } if *shall != facts.document.spec.garage.quota => objections.push(Objection::WrongQuota),
        Step::Connect { .. }
        | Step::Evict { .. }
        | Step::LaunchRepair { .. }
        | Step::StageSecrets { .. }
        | Step::SwitchSecrets { .. }
        | Step::RotateSecrets { .. }
        | Step::KeepSnapshot { .. }
        | Step::Mend { .. }
        | Step::RenewAdminToken { .. }
        | Step::EnsureKey { .. }
        | Step::EnsureBucket { .. }
        | Step::AllowKey { .. } => {}
    }
}

/// The member that a step writes layouts, buckets, keys or tokens through.
fn writer(step: &Step) -> Option<&HostName> {
    match step {
        Step::ChangeLayout { through, .. }
        | Step::HealSplit { through, .. }
        | Step::RevertStaging { through }
        | Step::SkipGone { through, .. }
        | Step::AllowMissing { through, .. }
        | Step::EnsureKey { through }
        | Step::EnsureBucket { through }
        | Step::AllowKey { through }
        | Step::Mend { through, .. }
        | Step::RenewAdminToken { through } => Some(through),
        Step::Desire { .. }
        | Step::Connect { .. }
        | Step::QuickenReceivers { .. }
        | Step::LaunchRepair { .. }
        | Step::Compare { .. }
        | Step::SetResync { .. }
        | Step::Evict { .. }
        | Step::StageSecrets { .. }
        | Step::SwitchSecrets { .. }
        | Step::RotateSecrets { .. }
        | Step::KeepSnapshot { .. } => None,
    }
}
