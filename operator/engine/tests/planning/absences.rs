//! Hosts that are away, come and go, or are dead.

use crate::world::{World, at, document, name};
use hayloft_api::Span;
use hayloft_api::document::Away;
use hayloft_engine::Step;
use insta::assert_snapshot;

/// Four hosts, one of which dies; half an hour is too long.
fn with_a_dead_host() -> World {
    let mut world = World::converged(4);
    world.document.spec.rebalance.dead_after = Span::minutes(30);
    world.ends(3);
    world
}

#[test]
fn a_host_that_is_away_is_waited_for() {
    let mut world = with_a_dead_host();
    world.watches(900);
    assert_snapshot!(world.look());
}

#[test]
fn a_dead_host_is_put_out_and_what_it_knew_is_renewed() {
    let mut world = with_a_dead_host();
    world.watches(1790);
    assert_snapshot!(world.story(20));
    world.holds();
}

#[test]
fn a_coordinator_that_slept_takes_nobody_for_dead() {
    let mut world = with_a_dead_host();
    world.watches(60);
    world.passes(100_000);
    assert!(world.look().steps.is_empty(), "{}", world.plan());
}

#[test]
fn of_two_dead_hosts_neither_is_put_out_by_a_rule() {
    let mut world = World::converged(5);
    world.document.spec.rebalance.dead_after = Span::minutes(30);
    world.ends(4);
    world.ends(5);
    world.watches(3600);
    assert_snapshot!(world.look());
}

#[test]
fn without_a_majority_nobody_is_seen_to_be_dead() {
    let mut world = World::converged(3);
    world.document.spec.rebalance.dead_after = Span::minutes(30);
    world.ends(2);
    world.ends(3);
    world.watches(7200);
    assert_snapshot!(world.look());
}

#[test]
fn a_dead_host_that_nobody_can_stand_in_for_stays() {
    let mut world = World::converged(3);
    world.document.spec.rebalance.dead_after = Span::minutes(30);
    world.ends(2);
    world.watches(3600);
    assert_snapshot!(world.look());
}

#[test]
fn a_dead_host_goes_as_another_one_comes() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.document.spec.rebalance.dead_after = Span::minutes(30);
    world.starts(4);
    world.ends(2);
    world.watches(2000);
    // The joiner could not be given a role while the other was down, and now takes its place.
    let roles = world.layout().roles;
    assert!(roles.contains_key(&world.node(4)), "{}", world.plan());
}

#[test]
fn an_announced_absence_is_not_held_against_a_host() {
    let mut world = with_a_dead_host();
    world.document.spec.hosts[2].away = Some(Away { until: at(5_000) });
    world.watches(3600);
    assert_snapshot!(world.look());
    // What was announced does not count afterwards either.
    world.watches(1700);
    assert!(
        !world
            .look()
            .steps
            .iter()
            .any(|planned| matches!(planned.step, Step::Evict { .. }))
    );
}

#[test]
fn a_host_taken_for_dead_comes_back_as_a_new_one() {
    let mut world = with_a_dead_host();
    world.watches(2400);
    assert!(!world.layout().roles.contains_key(&world.node(3)));
    let old = world.node(3);
    world.returns(3);
    world.watches(900);
    assert_ne!(world.node(3), old);
    assert!(
        world.layout().roles.contains_key(&world.node(3)),
        "{}",
        world.plan()
    );
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_host_that_comes_and_goes_is_never_removed_and_joins_only_when_it_stays() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.document.spec.rebalance.windows = vec!["22:00-07:00".parse().unwrap()];
    world.starts(4);
    for _ in 0..5 {
        world.converge(4);
        world.ends(4);
        world.converge(4);
        world.returns(4);
    }
    world.document.spec.rebalance.windows.clear();
    world.converge(4);
    assert_snapshot!(world.look());
    world.watches(700);
    assert!(
        world.layout().roles.contains_key(&world.node(4)),
        "{}",
        world.plan()
    );
    assert!(world.snapshot.barred.is_empty());
    assert!(world.alive.contains(&name(4)));
}
