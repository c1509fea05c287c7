//! Disks that are lost, replaced or too small, clocks that are wrong, and Garages that are too old.

use crate::world::{World, document};
use hayloft_engine::AskedFor;
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
    assert_snapshot!(world.story(12));
    assert_eq!(world.garage.lacking(world.node(2)), 0);
    // The word of a person was good for one disk.
    world.loses_its_data(2);
    world.converge(3);
    assert!(world.garage.has_lost_data(world.node(2)));
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
fn an_agent_that_listens_everywhere_is_reached_at_its_declared_address() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    world.report(2).rpc_addr = "0.0.0.0:3901".to_owned();
    world.document.spec.hosts[1].address = Some("paris-1.example.org".to_owned());
    world.round();
    assert!(
        world.look().to_string().contains("paris-1.example.org:3901"),
        "{}",
        world.plan()
    );
}
