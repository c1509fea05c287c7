//! Versions from the moment they are applied until everyone who left is empty.

use crate::world::{World, document, name};
use hayloft_api::document::HostState;
use hayloft_engine::{AskedFor, Plan, Planned, Step};
use insta::assert_snapshot;

#[test]
fn a_join_from_apply_to_placed() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    assert_snapshot!(world.story(20));
    assert_eq!(world.garage.lacking(world.node(4)), 0);
}

#[test]
fn a_drain_from_apply_to_retired() {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    assert_snapshot!(world.story(15));
    // Garage keeps blocks for ten minutes more.
    world.watches(500);
    assert!(world.retired.is_empty());
    world.watches(200);
    assert_eq!(world.retired, [(name(4), 0)]);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_person_drains_a_host_beside_the_document() {
    let mut world = World::converged(4);
    world.asks(4, AskedFor::Drain);
    world.watches(800);
    assert_eq!(world.retired, [(name(4), 0)]);
}

#[test]
fn a_host_that_dies_in_the_second_of_its_ack_is_repaired_again() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    while world.snapshot.moves.iter().all(|facts| facts.repairs.is_empty()) {
        world.round();
    }
    world.dies_in_the_second_of_its_ack(4);
    assert_snapshot!(world.story(12));
    assert_eq!(world.garage.lacking(world.node(4)), 0);
}

#[test]
fn a_join_while_a_drain_is_under_way() {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    let drained = world.document.spec.hosts[3].clone();
    world.document = document(5);
    world.document.spec.hosts[3] = drained;
    world.starts(5);
    world.converge(6);
    assert_eq!(world.versions, [1, 2, 3], "{}", world.plan());
    world.watches(800);
    assert_eq!(world.retired, [(name(4), 0)]);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_join_waits_until_what_a_drained_host_held_is_placed_but_not_until_it_is_empty() {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    let drained = world.document.spec.hosts[3].clone();
    world.document = document(5);
    world.document.spec.hosts[3] = drained;
    world.starts(5);
    let mut waited = 0;
    loop {
        let plan = world.round();
        let joins = |planned: &Planned| matches!(planned.step, Step::ChangeLayout { version: 3, .. });
        if plan.steps.iter().any(joins) {
            break;
        }
        waited += usize::from(
            plan.to_string()
                .contains("layout version 2 to be where it belongs"),
        );
        assert!(waited < 200, "{plan}");
    }
    assert!(waited > 0);
    let drain = world
        .snapshot
        .moves
        .iter()
        .find(|facts| facts.version == 2)
        .unwrap();
    assert!(drain.placed.is_some() && drain.emptied.is_empty());
}

#[test]
fn of_two_moves_only_the_newest_is_compared_for_it_covers_both() {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    let drained = world.document.spec.hosts[3].clone();
    world.document = document(5);
    world.document.spec.hosts[3] = drained;
    world.starts(5);
    let compared = |plan: &Plan| -> Vec<u64> {
        let versions = plan.steps.iter().filter_map(|planned| match planned.step {
            Step::Compare { of } => Some(of.version),
            _ => None,
        });
        versions.collect()
    };
    while compared(&world.round()) != [3] {}
    // As if neither had been compared yet.
    for facts in &mut world.snapshot.moves {
        facts.placed = None;
        facts.comparing = None;
        facts.compared = None;
    }
    world.passes(20);
    assert_eq!(world.snapshot.moves.len(), 2);
    assert_eq!(compared(&world.plan()), [3]);
}

#[test]
fn a_destination_that_is_down_keeps_a_move_from_being_placed() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    world.ends(4);
    world.converge(10);
    assert_snapshot!(world.look());
}

#[test]
fn a_coordinator_that_was_killed_after_applying_goes_on_where_it_was() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    while world.versions.len() < 2 {
        world.round();
    }
    for facts in world.snapshot.hosts.values_mut() {
        facts.told = None;
    }
    world.converge(20);
    assert!(world.plan().is_done(), "{}", world.plan());
    assert_eq!(world.versions, [1, 2]);
}

#[test]
fn blocks_move_fast_while_clients_are_idle() {
    let mut world = World::converged(3);
    world.kept = true;
    world.document = document(4);
    world.starts(4);
    world.snapshot.clients_idle = true;
    while world.versions.len() < 2 {
        world.round();
    }
    assert_snapshot!(world.look());
    world.converge(20);
    let calm = |world: &World| {
        world
            .snapshot
            .hosts
            .values()
            .all(|facts| facts.resync == Some(Default::default()))
    };
    assert!(calm(&world), "{}", world.plan());
}

#[test]
fn a_host_with_a_thin_uplink_does_not_move_blocks_faster_than_that_and_the_others_do() {
    let mut world = World::converged(3);
    world.kept = true;
    world.document = document(4);
    let thin = Some("2MB/s".parse().unwrap());
    world.document.spec.hosts[1].uplink = thin;
    world.starts(4);
    world.snapshot.clients_idle = true;
    while world.versions.len() < 2 {
        world.round();
    }
    for n in [1, 2] {
        let facts = world.snapshot.hosts.get_mut(&name(n)).unwrap();
        facts.sending = Some("3MB/s".parse().unwrap());
    }
    world.round();
    let resync = |n| world.snapshot.hosts[&name(n)].resync.unwrap();
    assert!(resync(1).workers > 2, "{:?}", resync(1));
    assert!(resync(2).tranquility > 2, "{:?}", resync(2));
}

#[test]
fn a_leaver_that_forgot_what_it_was_about_to_give_away_is_told_to_look_again() {
    let mut world = World::converged(4);
    world.kept = true;
    world.garage.put(0).unwrap();
    world.document.spec.hosts[3].state = HostState::Drained;
    while world.versions.len() < 2 {
        world.round();
    }
    world.watches(60);
    world.dies_in_the_second_of_its_ack(4);
    world.watches(3600);
    assert_eq!(world.retired, [(name(4), 0)], "{}", world.plan());
}

#[test]
fn a_host_that_retires_is_not_told_how_fast_to_move_blocks_any_more() {
    let mut world = World::converged(4);
    world.kept = true;
    world.snapshot.clients_idle = true;
    world.converge(2);
    world.document.spec.hosts[3].state = HostState::Drained;
    let node = world.node(4);
    let mut goes = false;
    for _ in 0..900 {
        let plan = world.round();
        goes |= plan
            .steps
            .iter()
            .any(|planned| matches!(&planned.step, Step::Desire { plan, .. } if plan.forget == Some(node)));
        for planned in &plan.steps {
            if let Step::SetResync { nodes, .. } = &planned.step {
                let of = world.node(4);
                assert!(!goes || !(nodes.contains(&node) || nodes.contains(&of)), "{plan}");
            }
        }
    }
    assert_eq!(world.retired, [(name(4), 0)]);
}
