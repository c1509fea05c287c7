//! Situations, and what is planned in them.

use crate::world::{World, at, document, id, name, removal};
use hayloft_api::document::{HostState, Role};
use hayloft_engine::{Compared, Invalid, NodeRole, validate};
use insta::assert_snapshot;

#[test]
fn declared_and_nothing_reports() {
    assert_snapshot!(World::declared(3).look());
}

#[test]
fn all_agents_report_for_the_first_time() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    assert_snapshot!(world.look());
}

#[test]
fn daemons_run_and_are_not_connected() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn all_are_connected_and_there_is_no_layout() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    world.round();
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn the_first_layout_waits_for_a_declared_host() {
    let mut world = World::declared(4);
    (1..=3).for_each(|n| world.starts(n));
    world.round();
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn the_first_layout_goes_without_a_host_that_keeps_it_waiting() {
    let mut world = World::declared(4);
    (1..=3).for_each(|n| world.starts(n));
    world.round();
    world.round();
    world.passes(20);
    assert_snapshot!(world.look());
}

#[test]
fn two_of_three_hosts_cannot_hold_three_copies() {
    let mut world = World::declared(3);
    (1..=2).for_each(|n| world.starts(n));
    world.round();
    world.round();
    world.passes(60);
    assert_snapshot!(world.look());
}

#[test]
fn of_two_hosts_with_role_gateway_the_first_gets_one() {
    let mut world = World::declared(3);
    world.document.spec.hosts[1].roles.push(Role::Gateway);
    (1..=3).for_each(|n| world.starts(n));
    (0..4).for_each(|_| drop(world.round()));
    assert_snapshot!(world.look());
    world.converge(20);
    let told = |n| world.snapshot.hosts[&name(n)].told.clone().unwrap().gateway;
    assert!(told(1).is_some() && told(2).is_none());
}

/// Every host has the role, and a gateway of it could be linked.
fn linkable(hosts: u8) -> World {
    let mut world = World::declared(hosts);
    for spec in &mut world.document.spec.hosts {
        spec.roles = vec![Role::Storage, Role::Gateway];
    }
    for n in 1..=hosts {
        world.starts(n);
        world.report(n).link_addr = Some(format!("10.0.0.{n}:7442"));
    }
    world
}

fn peers_of(world: &World, n: u8) -> Vec<String> {
    let told = world.snapshot.hosts[&name(n)].told.clone().unwrap();
    let fleet = told.gateway.unwrap().fleet.unwrap();
    fleet.peers.iter().map(|peer| peer.addr.clone()).collect()
}

#[test]
fn gateways_that_can_be_linked_all_serve_and_each_is_told_of_the_others() {
    let mut world = linkable(3);
    world.converge(40);
    assert!(world.plan().is_done(), "{}", world.plan());
    assert_eq!(peers_of(&world, 1), ["10.0.0.2:7442", "10.0.0.3:7442"]);
    assert_eq!(peers_of(&world, 3), ["10.0.0.1:7442", "10.0.0.2:7442"]);
    // One that is drained stops serving, and the others forget it.
    world.document.spec.hosts[1].roles = vec![Role::Storage];
    world.converge(10);
    assert_eq!(peers_of(&world, 1), ["10.0.0.3:7442"]);
    assert!(
        world.snapshot.hosts[&name(2)]
            .told
            .clone()
            .unwrap()
            .gateway
            .is_none()
    );
}

#[test]
fn linked_gateways_are_told_anew_when_it_is_forgotten_what_they_were_told() {
    let mut world = linkable(3);
    world.converge(40);
    for n in 1..=3 {
        world.report(n).gateway_runs = true;
        // As after a restart of the coordinator, or with a renewed secret.
        world.facts(n).told = None;
    }
    world.converge(10);
    assert!(world.plan().is_done(), "{}", world.plan());
    assert_eq!(peers_of(&world, 1), ["10.0.0.2:7442", "10.0.0.3:7442"]);
}

#[test]
fn a_gateway_that_was_told_to_be_alone_hears_of_the_others_before_they_start() {
    let mut world = linkable(3);
    for n in 1..=3 {
        world.report(n).link_addr = None;
    }
    world.converge(40);
    assert!(
        world.snapshot.hosts[&name(1)]
            .told
            .clone()
            .unwrap()
            .gateway
            .unwrap()
            .fleet
            .is_none()
    );
    for n in 1..=3 {
        world.report(n).link_addr = Some(format!("10.0.0.{n}:7442"));
    }
    let first = world.plan();
    let told: Vec<_> = first
        .steps
        .iter()
        .map(|planned| planned.step.to_string())
        .collect();
    assert!(told.iter().all(|step| !step.contains("host-2")), "{told:?}");
    world.converge(10);
    assert_eq!(peers_of(&world, 2), ["10.0.0.1:7442", "10.0.0.3:7442"]);
}

#[test]
fn a_gateway_moves_after_the_earlier_one_stopped() {
    let mut world = World::converged(3);
    world.document.spec.hosts[0].roles = vec![Role::Storage];
    world.document.spec.hosts[1].roles.push(Role::Gateway);
    // Also when the coordinator has forgotten what it told.
    world.facts(1).told = None;
    assert_snapshot!(world.round());
    assert_snapshot!(world.round());
    world.converge(5);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_drained_host_hands_the_gateway_to_an_active_one_and_keeps_it_when_there_is_none() {
    let mut world = World::converged(4);
    world.document.spec.hosts[0].state = HostState::Drained;
    let host = |world: &World| world.document.gateway_host().unwrap().name.clone();
    assert_eq!(host(&world), name(1));
    world.document.spec.hosts[1].roles.push(Role::Gateway);
    assert_eq!(host(&world), name(2));
}

#[test]
fn there_is_a_layout_and_no_bucket() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    (0..3).for_each(|_| drop(world.round()));
    assert_snapshot!(world.look());
}

#[test]
fn there_is_a_bucket_and_no_gateway() {
    let mut world = World::declared(3);
    (1..=3).for_each(|n| world.starts(n));
    (0..4).for_each(|_| drop(world.round()));
    assert_snapshot!(world.look());
}

#[test]
fn all_is_as_declared() {
    assert_snapshot!(World::converged(3).look());
    assert_snapshot!(World::converged(1).look());
}

#[test]
fn a_restarted_coordinator_stops_nothing_before_it_has_looked() {
    let mut world = World::converged(3);
    (1..=3).for_each(|n| world.facts(n).told = None);
    world.snapshot.cluster = None;
    assert_snapshot!(world.plan());
}

#[test]
fn everything_restarted_with_other_ports() {
    let mut world = World::converged(3);
    for n in 1..=3 {
        world.ends(n);
        world.starts(n);
        world.facts(n).told = None;
        world.report(n).follows = true;
        world.report(n).garage_runs = true;
        world.report(n).rpc_addr = format!("127.0.0.1:{}", 7000 + u16::from(n));
        world.report(n).s3_addr = format!("127.0.0.1:{}", 8000 + u16::from(n));
    }
    assert_snapshot!(world.look());
}

#[test]
fn a_fourth_host_joins() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.round();
    world.round();
    assert_snapshot!(world.look());
}

/// What clients push while the joiner is down reaches it as late as what was there before: the delay is shortened again.
#[test]
fn a_joiner_misses_what_was_pushed_while_it_was_down() {
    let mut world = World::converged(3);
    world.fill();
    world.document = document(4);
    world.starts(4);
    let quickens = |plan: &hayloft_engine::Plan| plan.to_string().contains("delay");
    let mut rounds = 0;
    while !quickens(&world.round()) {
        rounds += 1;
        assert!(rounds < 40, "the delay is never shortened");
    }
    let now = world.snapshot.now;
    let later = |seconds| now + jiff::SignedDuration::from_secs(seconds);
    world.passes(60);
    world.observe();
    let moved = world.snapshot.moves.last_mut().unwrap();
    for repair in moved.repairs.values_mut() {
        repair.finished = Some(later(5));
    }
    moved.placed = None;
    moved.comparing = None;
    moved.compared = Some(Compared {
        began: later(10),
        at: later(30),
        missing: 7,
        of: 100,
    });
    let plan = world.plan();
    assert!(quickens(&plan), "{plan}");
}

#[test]
fn a_joiner_waits_for_others_that_are_declared() {
    let mut world = World::converged(3);
    world.document = document(5);
    world.starts(4);
    world.round();
    world.round();
    assert_snapshot!(world.look());
    world.passes(121);
    assert_snapshot!(world.look());
}

#[test]
fn a_host_that_is_down_freezes_the_layout() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.ends(2);
    world.round();
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn a_pledge_changes() {
    let mut world = World::converged(3);
    world.document.spec.hosts[1].pledge = Some("20Gi".parse().unwrap());
    assert_snapshot!(world.look());
}

#[test]
fn the_gateways_settings_change() {
    let mut world = World::converged(3);
    world.document.spec.gateway.public_url = Some("https://cache.example.org".into());
    assert_snapshot!(world.look());
}

#[test]
fn a_host_leaves_the_document() {
    let mut world = World::converged(4);
    world.document = document(3);
    assert_snapshot!(world.look());
    world.converge(10);
    assert_snapshot!(world.look());
}

#[test]
fn a_host_is_drained() {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    assert_snapshot!(world.look());
}

#[test]
fn a_leaver_waits_until_enough_others_joined() {
    let mut world = World::converged(3);
    let mut document = document(4);
    document.spec.hosts.remove(1);
    world.document = document;
    assert_snapshot!(world.look());
}

#[test]
fn two_hosts_leave_the_document_and_only_one_goes() {
    let mut world = World::converged(5);
    world.document = document(3);
    assert_snapshot!(world.look());
    world.converge(10);
    assert_snapshot!(world.look());
}

#[test]
fn a_host_that_left_comes_back() {
    let mut world = World::converged(4);
    world.document = document(3);
    world.converge(10);
    world.document = document(4);
    assert_snapshot!(world.look());
    world.passes(30 * 3600);
    assert_snapshot!(world.look());
}

#[test]
fn a_host_comes_back_without_its_disk() {
    let mut world = World::converged(3);
    world.is_reborn(2);
    world.round();
    world.round();
    assert_snapshot!(world.look());
    world.round();
    assert_snapshot!(world.look());
    world.converge(12);
    assert!(world.plan().is_done(), "{}", world.plan());
}

#[test]
fn a_host_comes_back_without_its_disk_while_another_is_down() {
    let mut world = World::converged(3);
    world.is_reborn(2);
    world.ends(3);
    world.round();
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn the_only_copy_is_not_given_up() {
    let mut world = World::converged(1);
    world.is_reborn(1);
    world.round();
    world.round();
    assert_snapshot!(world.look());
}

#[test]
fn somebody_else_staged_a_change() {
    let mut world = World::converged(3);
    world.garage.stage(id(1), &removal(2)).unwrap();
    assert_snapshot!(world.look());
}

#[test]
fn our_own_change_was_interrupted() {
    let mut world = World::converged(3);
    world.garage.stage(id(1), &removal(2)).unwrap();
    world.snapshot.staged_by_us = Some(removal(2));
    assert_snapshot!(world.look());
}

#[test]
fn a_node_that_no_host_has_holds_a_role() {
    let mut world = World::converged(3);
    let role = NodeRole {
        zone: "nowhere".into(),
        capacity: Some(1 << 30),
        tags: vec!["old-nas".into()],
    };
    world.observe();
    let cluster = world.snapshot.cluster.as_mut().unwrap();
    cluster.layout.roles.insert(id(99), role);
    assert_snapshot!(world.plan());
}

#[test]
fn a_joiner_with_the_wrong_garage_and_one_with_a_small_disk() {
    let mut world = World::converged(3);
    world.document = document(5);
    world.starts(4);
    world.starts(5);
    world.report(4).unfit = Some("Garage 1.3.0 is of another major version".into());
    world.round();
    world.round();
    let disk = world.report(5).disk.as_mut().unwrap();
    disk.data_total = 5 << 30;
    assert_snapshot!(world.look());
}

#[test]
fn data_moves_only_in_its_window() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.document.spec.rebalance.windows = vec!["22:00-07:00".parse().unwrap()];
    world.starts(4);
    world.round();
    world.round();
    assert_snapshot!(world.look());
    world.snapshot.minute_of_day = 23 * 60;
    assert!(world.look().to_string().contains("apply layout version 2"));
}

#[test]
fn two_hosts_with_one_node_key_are_refused() {
    let mut world = World::converged(3);
    world.facts(2).id = Some(id(1));
    assert_eq!(
        validate(&world.document, &world.snapshot).unwrap_err(),
        Invalid::SameNode {
            one: name(1),
            other: name(2)
        }
    );
}

#[test]
fn a_gateway_keeps_its_endpoints_when_a_member_goes_down() {
    let mut world = World::converged(3);
    world.ends(3);
    world.passes(3600);
    let plan = world.look();
    assert!(plan.steps.is_empty(), "{plan}");
    world.returns(3);
    world.converge(5);
    assert!(world.plan().is_done());
    assert!(world.snapshot.now > at(3600));
}
