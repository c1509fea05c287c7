//! The second judge sees what a faulty plan would break. Every rule has a plan that breaks it.

use std::collections::BTreeMap;

use crate::world::{World, document, id, name, removal};
use hayloft_api::{Bytes, NodeId};
use hayloft_engine::{
    Forecast, HostPlan, NodeForecast, NodeRole, Objection, Plan, Planned, Reason, RoleChange, Step, check,
    judge_forecast,
};

fn role(n: u8) -> RoleChange {
    RoleChange::Assign(NodeRole {
        zone: format!("zone-{n}"),
        capacity: Some(10 << 30),
        tags: vec![format!("host-{n}")],
    })
}

fn change(version: u64, roles: impl IntoIterator<Item = (u8, RoleChange)>) -> Step {
    let roles: BTreeMap<NodeId, RoleChange> = roles.into_iter().map(|(n, change)| (id(n), change)).collect();
    Step::ChangeLayout {
        through: name(1),
        version,
        roles,
        zone_redundancy: None,
    }
}

fn judge(world: &World, steps: impl IntoIterator<Item = Step>) -> Vec<Objection> {
    let steps = steps
        .into_iter()
        .map(|step| Planned {
            step,
            reason: Reason::Missing,
        })
        .collect();
    check(
        &world.document,
        &world.snapshot,
        &Plan {
            steps,
            waiting: vec![],
            names: BTreeMap::new(),
        },
    )
}

/// Four hosts, of which the document declares three.
fn four() -> World {
    let mut world = World::converged(4);
    world.document = document(3);
    world
}

#[test]
fn a_good_removal_is_not_objected_to() {
    assert_eq!(judge(&four(), [change(2, [(4, RoleChange::Remove)])]), []);
}

#[test]
fn one_version_at_a_time_and_the_next_one() {
    let world = four();
    let twice = [
        change(2, [(4, RoleChange::Remove)]),
        change(2, [(4, RoleChange::Remove)]),
    ];
    assert_eq!(judge(&world, twice), [Objection::SeveralVersions(2)]);
    let skipped = judge(&world, [change(3, [(4, RoleChange::Remove)])]);
    assert_eq!(skipped, [Objection::WrongVersion { planned: 3, next: 2 }]);
}

#[test]
fn nothing_is_applied_blindly_or_while_a_version_is_in_flight() {
    let mut world = four();
    world.observe();
    world.snapshot.cluster.as_mut().unwrap().layout.settled = false;
    assert_eq!(
        judge(&world, [change(2, [(4, RoleChange::Remove)])]),
        [Objection::InFlight(1)]
    );
    world.snapshot.cluster = None;
    assert_eq!(
        judge(&world, [change(2, [(4, RoleChange::Remove)])]),
        [Objection::Blind]
    );
}

#[test]
fn nothing_is_applied_while_a_role_holder_is_down_unless_that_one_goes() {
    let mut world = four();
    world.ends(3);
    world.observe();
    let objections = judge(&world, [change(2, [(4, RoleChange::Remove)])]);
    assert_eq!(objections, [Objection::HolderDown("host-3".into())]);
    let mut world = four();
    world.ends(4);
    world.observe();
    world.snapshot.cluster.as_mut().unwrap().layout.settled = false;
    let objections = judge(&world, [change(2, [(4, RoleChange::Remove)])]);
    assert_eq!(objections, [Objection::RemovesAbsent("host-4".into())]);
    world.snapshot.barred.insert(id(4));
    assert_eq!(judge(&world, [change(2, [(4, RoleChange::Remove)])]), []);
}

#[test]
fn a_role_goes_only_to_a_node_that_is_up() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.observe();
    assert_eq!(
        judge(&world, [change(2, [(4, role(4))])]),
        [Objection::JoinerDown(id(4).short())]
    );
}

#[test]
fn what_others_staged_is_neither_applied_nor_reverted() {
    let mut world = four();
    world.garage.stage(id(1), &removal(2)).unwrap();
    world.observe();
    assert_eq!(
        judge(&world, [change(2, [(4, RoleChange::Remove)])]),
        [Objection::ForeignStaging]
    );
    assert_eq!(
        judge(&world, [Step::RevertStaging { through: name(1) }]),
        [Objection::RevertsForeign]
    );
    world.snapshot.staged_by_us = Some(removal(2));
    assert_eq!(judge(&world, [Step::RevertStaging { through: name(1) }]), []);
}

#[test]
fn copies_and_zones_are_never_too_few() {
    let mut world = four();
    let objections = judge(
        &world,
        [change(2, [(4, RoleChange::Remove), (3, RoleChange::Remove)])],
    );
    assert!(objections.contains(&Objection::SeveralRemovals(2)));
    assert!(objections.contains(&Objection::TooFewHosts { have: 2, need: 3 }));
    assert!(objections.contains(&Objection::RemovesDeclared(name(3))));
    world.document.spec.hosts[2].zone = "zone-2".parse().unwrap();
    let objections = judge(&world, [change(2, [(3, role(2)), (4, role(1))])]);
    assert_eq!(objections, [Objection::TooFewZones { have: 2, need: 3 }]);
}

#[test]
fn a_second_leaver_waits_until_the_first_is_placed() {
    let mut world = World::converged(5);
    world.document = document(3);
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    let moved = &world.snapshot.moves[0];
    assert!(moved.settled.is_some() && moved.placed.is_none());
    let left = if world.layout().roles.contains_key(&id(5)) {
        5
    } else {
        4
    };
    let objections = judge(&world, [change(3, [(left, RoleChange::Remove)])]);
    assert_eq!(objections, [Objection::RemovalUnproven(2)]);
}

#[test]
fn a_host_that_holds_data_is_never_told_to_stop_garage() {
    let mut world = four();
    let stop = |n| Step::Desire {
        host: name(n),
        plan: Box::default(),
    };
    assert_eq!(judge(&world, [stop(4)]), [Objection::StopsHolder(name(4))]);
    world.converge(10);
    assert!(!world.layout().roles.contains_key(&id(4)));
    assert_eq!(judge(&world, [stop(4)]), [Objection::StopsHolder(name(4))]);
    world.snapshot.cluster = None;
    assert_eq!(judge(&world, [stop(2)]), [Objection::StopsHolder(name(2))]);
}

#[test]
fn nobody_with_a_role_is_skipped_and_the_only_copy_stays() {
    let mut world = World::converged(3);
    let skip = || Step::SkipGone {
        through: name(1),
        version: 1,
    };
    assert_eq!(judge(&world, [skip()]), []);
    world.ends(3);
    world.observe();
    assert_eq!(judge(&world, [skip()]), [Objection::SkipsHolder("host-3".into())]);
    let mut world = World::converged(2);
    world.document = document(1);
    world.document.spec.hosts[0].name = name(1);
    world.ends(2);
    world.observe();
    world.snapshot.barred.insert(id(2));
    let objections = judge(&world, [change(2, [(2, RoleChange::Remove)])]);
    assert_eq!(objections, [Objection::LosesOnlyCopy]);
}

#[test]
fn all_writes_go_through_one_member() {
    let world = four();
    let steps = [
        Step::EnsureKey { through: name(1) },
        Step::EnsureBucket { through: name(2) },
    ];
    assert_eq!(
        judge(&world, steps),
        [Objection::SeveralWriters([name(1), name(2)].into())]
    );
}

#[test]
fn a_preview_that_lowers_redundancy_or_overflows_a_disk_is_refused() {
    let mut world = World::converged(3);
    let good = Forecast {
        replication_factor: 3,
        zone_redundancy: 3,
        tiny_partitions: false,
        nodes: [(
            id(2),
            NodeForecast {
                partitions: 256,
                incoming: 128,
            },
        )]
        .into(),
        ..Forecast::default()
    };
    assert_eq!(judge_forecast(&world.document, &world.snapshot, &good), []);
    let bad = Forecast {
        zone_redundancy: 2,
        tiny_partitions: true,
        ..good.clone()
    };
    assert_eq!(
        judge_forecast(&world.document, &world.snapshot, &bad),
        [
            Objection::ForecastZones {
                forecast: 2,
                declared: 3
            },
            Objection::ForecastTiny
        ]
    );
    // 100 GiB, of which 90 are free and 10 reserved; half of 200 GiB would come.
    if let Some(bucket) = &mut world.access.bucket {
        bucket.bytes = Bytes::gib(200);
    }
    world.observe();
    assert_eq!(
        judge_forecast(&world.document, &world.snapshot, &good),
        [Objection::DoesNotFit {
            host: name(2),
            incoming: 100 << 30,
            room: 80 << 30
        }]
    );
}

#[test]
fn a_plan_with_two_gateways_is_refused() {
    let world = World::converged(3);
    let first = world.snapshot.hosts[&name(1)].told.clone().unwrap();
    let tell = |n, plan: &HostPlan| Step::Desire {
        host: name(n),
        plan: Box::new(plan.clone()),
    };
    let mut without = first.clone();
    without.gateway = None;
    assert_eq!(judge(&world, [tell(1, &first)]), []);
    assert_eq!(judge(&world, [tell(1, &without), tell(2, &first)]), []);
    let both = [Objection::SeveralGateways([name(1), name(2)].into())];
    // The first goes on with what it was told before.
    assert_eq!(judge(&world, [tell(2, &first)]), both);
    assert_eq!(judge(&world, [tell(1, &first), tell(2, &first)]), both);
}
