//! What is done by the calendar, and drift that is undone.

use crate::world::{World, document, name};
use hayloft_api::Bytes;
use hayloft_engine::{AdminTokenFacts, AskedFor, BucketFacts};
use insta::assert_snapshot;

#[test]
fn snapshots_repairs_and_scrubs_come_one_host_after_the_other() {
    let mut world = World::converged(3);
    world.kept = true;
    let mut told = Vec::new();
    for day in 0..35 {
        for _ in 0..6 {
            world.passes(4 * 3600);
            let plan = world.round();
            assert!(plan.steps.len() <= 2, "{plan}");
            told.extend(
                plan.steps
                    .iter()
                    .map(|planned| format!("day {day}: {}", planned.step)),
            );
        }
    }
    told.retain(|text| !text.contains("snapshot"));
    assert_snapshot!(told.join("\n"));
    let kept = |world: &World| {
        world.snapshot.hosts.values().all(|facts| {
            let upkeep = facts.upkeep.as_ref().unwrap();
            upkeep.snapshot.is_some() && upkeep.scrub.is_some() && upkeep.tables.is_some()
        })
    };
    assert!(kept(&world));
}

#[test]
fn what_a_host_kept_of_others_is_kept_anew_elsewhere_when_it_is_put_out() {
    let mut world = World::converged(4);
    world.kept = true;
    let pass = |world: &mut World, hours: u64| {
        for _ in 0..hours {
            world.passes(3600);
            world.converge(3);
        }
    };
    pass(&mut world, 12);
    let keepers = |world: &World| -> Vec<_> {
        let of = |n| {
            let upkeep = world.snapshot.hosts[&name(n)].upkeep.as_ref().unwrap();
            upkeep.snapshot.as_ref().unwrap().on.clone()
        };
        [1, 2, 3].map(of).into()
    };
    assert!(keepers(&world).contains(&name(4)), "{:?}", keepers(&world));
    world.asks(4, AskedFor::Evict);
    pass(&mut world, 12);
    assert!(!keepers(&world).contains(&name(4)), "{:?}", keepers(&world));
}

#[test]
fn upkeep_waits_while_a_host_is_down() {
    let mut world = World::converged(3);
    world.kept = true;
    world.converge(1);
    world.ends(3);
    world.passes(60 * 24 * 3600);
    let plan = world.look();
    assert!(plan.steps.is_empty(), "{plan}");
}

#[test]
fn what_somebody_changed_at_bucket_and_key_is_undone() {
    let mut world = World::converged(3);
    world.access.key_creates = true;
    world.access.bucket = Some(BucketFacts {
        owner: true,
        alias: false,
        website: true,
        lifecycle: true,
        cors: true,
        object_quota: true,
        ..BucketFacts::good(Bytes(0))
    });
    assert_snapshot!(world.look());
    world.converge(2);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_quota_is_set_and_taken_away_as_declared() {
    let mut world = World::converged(3);
    world.document.spec.garage.quota = Some(Bytes::gib(500));
    assert_snapshot!(world.round());
    assert!(world.look().is_done());
    world.document = document(3);
    assert_snapshot!(world.look());
}

#[test]
fn a_lost_bucket_and_key_are_made_again() {
    let mut world = World::converged(3);
    world.access.key = false;
    world.access.bucket = None;
    assert_snapshot!(world.look());
    world.converge(2);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn an_admin_token_is_made_and_renewed_in_time() {
    let mut world = World::converged(3);
    world.access.token = AdminTokenFacts::Missing;
    assert_snapshot!(world.round());
    assert!(world.look().is_done());
    world.passes(21 * 24 * 3600);
    assert_snapshot!(world.look());
}
