//! The bucket, its key, and the permission between them.

use crate::{Input, Plan, Reason, Step, WaitsFor};

/// Makes what is missing, once there is a layout.
pub(super) fn ensure(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    if cluster.layout.version == 0 {
        return;
    }
    let through = || cluster.through.clone();
    let Some(access) = &cluster.access else {
        plan.wait("look for the bucket and its key", WaitsFor::Member);
        return;
    };
    if !access.key {
        plan.step(Step::EnsureKey { through: through() }, Reason::Missing);
    }
    if access.bucket.is_none() {
        plan.step(Step::EnsureBucket { through: through() }, Reason::Missing);
    }
    if !access.ready() {
        plan.step(Step::AllowKey { through: through() }, Reason::Missing);
    }
}
