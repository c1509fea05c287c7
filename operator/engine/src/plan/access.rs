//! The bucket, its key, the permission between them, and the coordinator's own token.

use jiff::SignedDuration;

use crate::{AdminTokenFacts, BucketFacts, ClusterFacts, Drift, Input, Plan, Reason, Step, WaitsFor};

/// An admin token is renewed so long before it expires.
const RENEWED_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 10);

/// Makes what is missing, once there is a layout, and undoes what somebody else changed.
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
    match &access.bucket {
        None => plan.step(Step::EnsureBucket { through: through() }, Reason::Missing),
        Some(bucket) => mend(input, cluster, bucket, plan),
    }
    if !access.key || !access.bucket.is_some_and(|bucket| bucket.allowed) {
        plan.step(Step::AllowKey { through: through() }, Reason::Missing);
    }
    if access.key_creates {
        let drift = Drift::KeyCreates;
        plan.step(
            Step::Mend {
                through: through(),
                drift,
            },
            Reason::Drifted,
        );
    }
    let renew = match access.token {
        AdminTokenFacts::Unknown => None,
        AdminTokenFacts::Missing => Some(None),
        AdminTokenFacts::Held { expires, scoped } => {
            let late = expires.duration_since(input.snapshot.now) < RENEWED_BEFORE;
            (late || !scoped).then_some(Some(expires))
        }
    };
    if let Some(at) = renew {
        plan.step(
            Step::RenewAdminToken { through: through() },
            Reason::Expires { at },
        );
    }
}

fn mend(input: &Input<'_>, cluster: &ClusterFacts, bucket: &BucketFacts, plan: &mut Plan) {
    let shall = input.document.spec.garage.quota;
    let BucketFacts {
        allowed: _,
        owner,
        alias,
        quota,
        object_quota,
        website,
        lifecycle,
        cors,
        bytes: _,
    } = *bucket;
    let drifts = [
        (!alias, Drift::Alias, Reason::Drifted),
        (
            quota != shall || object_quota,
            Drift::Quota { shall },
            Reason::NotDeclared,
        ),
        (website, Drift::Website, Reason::Drifted),
        (lifecycle, Drift::Lifecycle, Reason::Drifted),
        (cors, Drift::Cors, Reason::Drifted),
        (owner, Drift::KeyOwns, Reason::Drifted),
    ];
    for (_, drift, reason) in drifts.into_iter().filter(|(drifted, ..)| *drifted) {
        let through = cluster.through.clone();
        plan.step(Step::Mend { through, drift }, reason);
    }
}
