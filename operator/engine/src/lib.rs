//! What is to be done, and what must wait: pure functions of the declared document and the observed facts.
//!
//! [`validate`] joins the two into one [`Input`]; [`plan`] lists steps in order, each with its reason, and what must
//! wait, each with what it waits for; [`check`] is a second, independent judge of every plan, and [`judge_forecast`]
//! of what Garage says a new layout would do. Nothing here asks a clock, a network or a random number.

mod check;
mod facts;
mod finding;
mod forecast;
mod input;
mod plan;
mod preview;
mod progress;
mod resync;
#[cfg(feature = "sim")]
pub mod sim;
mod step;
mod words;

pub use check::{Objection, check};
pub use facts::{
    Absence, Access, AdminTokenFacts, Asked, AskedFor, BucketFacts, ClusterFacts, Compared, Departure,
    HostFacts, LayoutFacts, Leadership, Look, MoveFacts, MoveKey, MoveKeyError, NodeFacts, NodeRole,
    OlderMetadataFacts, PartitionFacts, Presence, Renewal, RepairFacts, ReportFacts, ResyncFacts, RoleChange,
    SecretsFacts, Snapshot, SnapshotKept, Staged, Trackers, Unanswered, Unreached, Upkeep, VersionFacts,
    VersionStatus,
};
pub use finding::{Finding, findings};
pub use forecast::{Forecast, NodeForecast, judge_forecast, share};
pub use input::{Input, Invalid, Member, validate};
pub use plan::{Plan, Planned, SCRUB_EVERY, SKEW, SNAPSHOT_EVERY, older, plan};
pub use preview::preview;
pub use progress::progress;
pub use resync::{Pace, resync_setting};
pub use step::{Drift, GaragePlan, GatewayPlan, HostPlan, Reason, RepairKind, Step, Waiting, WaitsFor};
pub use words::NamedStep;
