//! What is to be done, and what must wait: pure functions of the declared document and the observed facts.
//!
//! [`validate`] joins the two into one [`Input`]; [`plan`] lists steps in order, each with its reason, and what must
//! wait, each with what it waits for; [`check`] is a second, independent judge of every plan, and [`judge_forecast`]
//! of what Garage says a new layout would do. Nothing here asks a clock, a network or a random number.

mod check;
mod forecast;
mod input;
mod plan;
mod snapshot;
mod step;
mod words;

pub use check::{Objection, check};
pub use forecast::{Forecast, NodeForecast, judge_forecast};
pub use input::{Input, Invalid, Member, validate};
pub use plan::{Plan, Planned, plan};
pub use snapshot::{
    Access, BucketFacts, ClusterFacts, HostFacts, LayoutFacts, NodeFacts, NodeRole, ReportFacts, RoleChange,
    Snapshot, Staged,
};
pub use step::{GaragePlan, GatewayPlan, HostPlan, Reason, Step, Waiting, WaitsFor};
