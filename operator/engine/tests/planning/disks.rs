//! Disks that are lost, replaced or too small, clocks that are wrong, and Garages that are too old.

use crate::world::{World, document};
use hayloft_api::agent::RolledBack;
use hayloft_api::document::HostState;
use hayloft_engine::{AskedFor, OlderMetadataFacts, Plan, Step, findings};
use insta::assert_snapshot;
use jiff::SignedDuration;

#[test]
fn a_lost_data_disk_waits_for_a_person() {
    let mut world = World::converged(4);
    world.loses_its_data(2);
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn a_replaced_data_disk_is_accepted_and_filled_again() {
    let mut world = World::converged(4);
    world.kept = true;
    world.converge(1);
    world.loses_its_data(2);
    world.converge(2);
    world.asks(2, AskedFor::NewDisk);
    assert_snapshot!(world.story(18));
    assert_eq!(world.garage.lacking(world.node(2)), 0);
    // The word of a person was good for one disk.
    world.loses_its_data(2);
    world.converge(3);
    assert!(world.garage.has_lost_data(world.node(2)));
}

#[test]
fn what_was_written_just_before_a_disk_was_lost_does_not_wait_for_garages_delay() {
    let mut world = World::converged(4);
    for partition in 0..=u8::MAX {
        world.garage.put(partition).unwrap();
    }
    world.loses_its_data(2);
    world.converge(2);
    world.asks(2, AskedFor::NewDisk);
    world.converge(20);
    assert_eq!(world.garage.lacking(world.node(2)), 0);
    assert_eq!(world.snapshot.moves, [], "{}", world.plan());
}

#[test]
fn a_disk_that_is_lost_again_while_it_is_filled_waits_for_another_word() {
    let mut world = World::converged(4);
    world.loses_its_data(2);
    world.asks(2, AskedFor::NewDisk);
    while world.snapshot.moves.iter().all(|facts| facts.repairs.is_empty()) {
        world.round();
    }
    world.loses_its_data(2);
    world.converge(30);
    assert!(world.garage.has_lost_data(world.node(2)));
    assert_eq!(world.snapshot.moves.len(), 1, "it is not given up");
    world.asks(2, AskedFor::NewDisk);
    world.converge(20);
    assert_eq!(world.garage.lacking(world.node(2)), 0);
    assert_eq!(world.snapshot.moves, [], "{}", world.plan());
}

#[test]
fn nobody_gives_a_role_up_while_a_new_disk_is_filled() {
    let mut world = World::converged(5);
    world.loses_its_data(2);
    world.asks(2, AskedFor::NewDisk);
    world.round();
    world.document.spec.hosts[4].state = HostState::Drained;
    let mut waited = None;
    while world.versions == [1] {
        let lacking = world.garage.lacking(world.node(2));
        let plan = world.round();
        assert!(world.versions == [1] || lacking == 0, "{plan}");
        if lacking > 0 && world.snapshot.moves.len() == 1 {
            waited = Some(plan.to_string());
        }
    }
    assert_snapshot!(waited.unwrap());
}

#[test]
fn a_new_disk_on_a_host_that_gives_data_away_keeps_its_queue() {
    let mut world = World::converged(4);
    world.document = document(5);
    world.starts(5);
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    let giver = (1..=4).find(|n| {
        let sources = &world.snapshot.moves[0].sources;
        sources.get(&world.node(*n)).is_some_and(|lost| *lost > 0)
    });
    let giver = giver.unwrap();
    world.loses_its_data(giver);
    world.asks(giver, AskedFor::NewDisk);
    for _ in 0..40 {
        let plan = world.round();
        let clears = plan.steps.iter().any(|planned| {
            let node = world.node(giver);
            matches!(&planned.step, Step::QuickenReceivers { nodes, .. } if nodes.contains(&node))
        });
        assert!(!clears || world.snapshot.moves.len() == 1, "{plan}");
    }
    world.watches(900);
    assert_eq!(world.garage.lacking(world.node(giver)), 0);
    assert_eq!(world.snapshot.moves, [], "{}", world.plan());
}

#[test]
fn two_hosts_that_lost_their_disks_are_replaced_together() {
    let mut world = World::converged(5);
    world.is_reborn(4);
    world.is_reborn(5);
    world.converge(3);
    assert_snapshot!(world.look());
}

#[test]
fn joiners_with_a_wrong_clock_and_with_an_old_garage_wait() {
    let mut world = World::converged(3);
    world.document = document(5);
    world.document.spec.admission.min_garage = Some("2.6".to_owned());
    world.starts(4);
    world.starts(5);
    world.report(4).garage_version = Some("2.6.1".to_owned());
    world.facts(4).skew = Some(SignedDuration::from_secs(-90));
    world.converge(3);
    assert_snapshot!(world.look());
}

#[test]
fn a_host_whose_metadata_went_back_is_repaired_before_anybody_gives_up_a_role() {
    let mut world = World::converged(4);
    world.kept = true;
    world.converge(1);
    world.facts(2).rolled_back = Some(OlderMetadataFacts::WentBack(RolledBack { had: 3, found: 1 }));
    world.document.spec.hosts[3].state = HostState::Drained;
    let findings = findings(&world.document, &world.snapshot, &Plan::default());
    let told = findings.iter().find(|finding| !finding.holds).unwrap();
    assert_snapshot!(told.message);
    assert_snapshot!(world.story(18));
    assert_eq!(world.facts(2).rolled_back, None);
}

#[test]
fn an_agent_that_listens_everywhere_is_reached_at_its_declared_address() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    world.report(2).rpc_addr = "0.0.0.0:3901".to_owned();
    world.document.spec.hosts[1].address = Some("paris-1.example.org".to_owned());
    let told: Vec<_> = world
        .look()
        .steps
        .into_iter()
        .filter_map(|planned| match planned.step {
            Step::Desire { plan, .. } => Some(plan.garage?.rpc_public),
            _ => None,
        })
        .collect();
    let public = Some("paris-1.example.org:3901".to_owned());
    assert_eq!(told, [None, public, None], "its own Garage tells that to others");
    world.round();
    assert!(
        world.look().to_string().contains("paris-1.example.org:3901"),
        "{}",
        world.plan()
    );
}
