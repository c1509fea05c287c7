//! Situations that keep a cluster from going on: seen, and healed or explained.

use crate::world::{World, document, name, removal};
use hayloft_engine::{Leadership, Unanswered};
use insta::assert_snapshot;

#[test]
fn a_split_history_is_healed_by_a_version_above_both() {
    let mut world = World::converged(3);
    world.digests.insert(name(3), "f".repeat(64));
    assert_snapshot!(world.look());
    world.converge(10);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_split_history_waits_for_a_host_that_is_down() {
    let mut world = World::converged(4);
    world.digests.insert(name(3), "f".repeat(64));
    world.ends(4);
    assert_snapshot!(world.look());
}

#[test]
fn stale_staging_is_not_touched() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.converge(2);
    let mut world = World::converged(3);
    world.garage.stage(world.node(1), &removal(3)).unwrap();
    world.document = document(4);
    world.starts(4);
    world.converge(3);
    assert_snapshot!(world.look());
}

#[test]
fn an_apply_whose_answer_was_not_heard_is_waited_for_and_then_its_number_is_skipped() {
    let mut world = World::converged(4);
    world.document = document(5);
    world.starts(5);
    world.round();
    world.round();
    world.snapshot.unanswered = Some(Unanswered {
        through: name(4),
        version: 2,
        at: world.snapshot.now,
    });
    assert_snapshot!(world.look());
    world.passes(61);
    assert_snapshot!(world.look());
    world.watches(800);
    assert_eq!(world.versions, [1, 3]);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_member_that_is_behind_is_waited_for() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.round();
    world.round();
    world.observe();
    world.report(3).layout.as_mut().unwrap().version = 0;
    assert_snapshot!(world.plan());
}

#[test]
fn a_lone_node_that_never_leaves_draining_is_settled() {
    let mut world = World::converged(1);
    world.document.spec.hosts[0].pledge = Some("20Gi".parse().unwrap());
    world.converge(10);
    let (versions, trackers) = world.garage.history();
    assert!(
        versions.len() == 2 && trackers.is_some(),
        "Garage still calls the first version draining"
    );
    assert!(world.layout().settled);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_second_coordinator_does_nothing() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.snapshot.leadership = Leadership::Other {
        holder: "7f3a".to_owned(),
    };
    assert_snapshot!(world.look());
    world.snapshot.leadership = Leadership::Unpromised { promised: 1, need: 2 };
    assert_snapshot!(world.look());
}

#[test]
fn an_older_document_that_came_back_waits_for_a_person() {
    let mut world = World::converged(3);
    world.snapshot.stale_document = Some(world.snapshot.now);
    assert_snapshot!(world.look());
}
