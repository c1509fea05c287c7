//! Another Garage is installed on hosts: who restarts into it, and when.

use hayloft_api::agent::{GarageWaiting, ProgramStanding};
use hayloft_api::status::{ConditionType, Reason as Because};
use hayloft_api::{HostName, ZoneName};

use crate::world::{World, name};

/// Another program lies on a host.
fn installs(world: &mut World, n: u8, version: &str) {
    let report = world.report(n);
    report.garage_version = Some("2.5.0".to_owned());
    report.garage_waiting = Some(GarageWaiting {
        program: format!("/opt/garage-{version}"),
        version: version.to_owned(),
        standing: ProgramStanding::Held,
    });
}

fn stands(world: &mut World, n: u8, standing: ProgramStanding) {
    world.report(n).garage_waiting.as_mut().unwrap().standing = standing;
}

/// It ran for a while.
fn came_up(world: &mut World, n: u8) {
    let report = world.report(n);
    report.garage_version = report.garage_waiting.take().map(|waiting| waiting.version);
}

/// Hosts that may restart now.
fn permitted(world: &World) -> Vec<HostName> {
    let hosts = world.snapshot.hosts.iter();
    let permitted = hosts.filter(|(_, facts)| {
        let told = facts.told.as_ref().and_then(|told| told.garage.as_ref());
        told.is_some_and(|garage| garage.program.is_some())
    });
    permitted.map(|(name, _)| name.clone()).collect()
}

fn number(host: &HostName) -> u8 {
    host.as_str().rsplit('-').next().unwrap().parse().unwrap()
}

/// Lets everybody restart who may; gives the order.
fn until_nobody_is_left(world: &mut World) -> Vec<u8> {
    let mut order = Vec::new();
    for _ in 0..200 {
        world.round();
        let now = permitted(world);
        assert!(now.len() <= 1, "at once: {now:?}");
        let Some(host) = now.first() else { continue };
        let n = number(host);
        let standing = world
            .report(n)
            .garage_waiting
            .as_ref()
            .map(|waiting| waiting.standing);
        match standing {
            Some(ProgramStanding::Held) => {
                order.push(n);
                stands(world, n, ProgramStanding::Trying);
            }
            Some(ProgramStanding::Trying) => came_up(world, n),
            _ => {}
        }
    }
    order
}

fn waits(world: &mut World) -> String {
    world
        .plan()
        .waiting
        .iter()
        .map(|waiting| format!("{waiting}\n"))
        .collect()
}

#[test]
fn hosts_restart_into_another_garage_one_after_the_other_and_zone_by_zone() {
    let mut world = World::converged(4);
    world.kept = true;
    let first: ZoneName = "zone-1".parse().unwrap();
    world.document.spec.hosts[3].zone = first;
    world.watches(1500);
    world.converge(5);
    assert!(world.plan().is_done(), "{}", world.plan());
    (1..=4).for_each(|n| installs(&mut world, n, "2.6.0"));
    assert_eq!(until_nobody_is_left(&mut world), [1, 4, 2, 3]);
    world.converge(5);
    assert!(world.plan().is_done(), "{}", world.plan());
    assert!(permitted(&world).is_empty());
}

#[test]
fn tables_are_repaired_before_another_minor_version_and_not_before_a_smaller_step() {
    let repaired = |world: &World| {
        let hosts = world.snapshot.hosts.values();
        let at = hosts.map(|facts| facts.upkeep.as_ref().and_then(|upkeep| upkeep.tables));
        at.collect::<Vec<_>>()
    };
    let mut world = World::converged(3);
    world.kept = true;
    world.watches(1500);
    let before = repaired(&world);
    installs(&mut world, 1, "2.5.1");
    assert_eq!(until_nobody_is_left(&mut world), [1]);
    assert_eq!(repaired(&world), before);
    installs(&mut world, 2, "2.6.0");
    world.round();
    assert!(permitted(&world).is_empty(), "{}", waits(&mut world));
    assert_eq!(until_nobody_is_left(&mut world), [2]);
    let after = repaired(&world);
    assert!(
        after
            .iter()
            .zip(&before)
            .all(|(after, before)| after.is_some() && after > before),
        "{before:?} {after:?}"
    );
}

#[test]
fn nobody_restarts_while_another_host_is_down_or_the_hour_is_wrong() {
    let mut world = World::converged(4);
    world.kept = true;
    world.ends(2);
    world.converge(3);
    installs(&mut world, 1, "2.5.1");
    world.converge(3);
    assert!(permitted(&world).is_empty(), "{}", waits(&mut world));
    assert!(waits(&mut world).contains("restart Garage on host-1 as 2.5.1: waits for host-2"));
    world.returns(2);
    world.document.spec.rebalance.windows = vec!["22:00-06:00".parse().unwrap()];
    world.watches(60);
    assert!(permitted(&world).is_empty(), "{}", waits(&mut world));
    world.document.spec.rebalance.windows.clear();
    world.converge(3);
    assert_eq!(permitted(&world), [name(1)], "{}", waits(&mut world));
}

#[test]
fn nobody_restarts_while_data_moves_and_no_layout_changes_while_somebody_restarts() {
    let mut world = World::converged(3);
    world.kept = true;
    world.document = crate::world::document(4);
    world.starts(4);
    while world.versions.len() < 2 {
        world.round();
    }
    installs(&mut world, 1, "2.6.0");
    world.round();
    assert!(permitted(&world).is_empty(), "{}", waits(&mut world));
    world.watches(1500);
    world.converge(3);
    assert_eq!(permitted(&world), [name(1)], "{}", waits(&mut world));
    stands(&mut world, 1, ProgramStanding::Trying);
    world.document = crate::world::document(5);
    world.starts(5);
    world.watches(300);
    assert_eq!(world.versions.len(), 2, "{}", waits(&mut world));
    assert!(waits(&mut world).contains("waits for Garage on host-1"));
    came_up(&mut world, 1);
    world.watches(300);
    assert_eq!(world.versions.len(), 3, "{}", waits(&mut world));
}

#[test]
fn where_it_did_not_come_up_nobody_else_is_restarted_into_it_and_a_person_hears_of_it() {
    let mut world = World::converged(3);
    world.kept = true;
    (1..=3).for_each(|n| installs(&mut world, n, "2.6.0"));
    world.converge(6);
    assert_eq!(permitted(&world), [name(1)]);
    stands(&mut world, 1, ProgramStanding::Refused);
    world.converge(3);
    assert!(permitted(&world).is_empty(), "{}", waits(&mut world));
    assert!(waits(&mut world).contains("Garage 2.6.0 did not come up on host-1"));
    let fit = world.finding(ConditionType::GarageFit);
    assert_eq!((fit.holds, fit.reason), (false, Because::GarageUnfit));
    assert!(fit.message.contains("host-1"), "{}", fit.message);
    // Another one is installed everywhere.
    (1..=3).for_each(|n| installs(&mut world, n, "2.6.1"));
    assert_eq!(until_nobody_is_left(&mut world), [1, 2, 3]);
}

#[test]
fn an_older_garage_or_one_of_another_major_version_never_follows() {
    for (version, why) in [
        ("2.4.9", "is older than 2.5.0"),
        ("3.0.0", "another major version"),
    ] {
        let mut world = World::converged(3);
        world.kept = true;
        installs(&mut world, 2, version);
        world.converge(5);
        assert!(permitted(&world).is_empty());
        assert!(waits(&mut world).contains(why), "{}", waits(&mut world));
    }
}

#[test]
fn a_host_that_is_tried_goes_on_when_the_coordinator_is_started_anew() {
    let mut world = World::converged(3);
    world.kept = true;
    (1..=3).for_each(|n| installs(&mut world, n, "2.6.0"));
    world.converge(2);
    stands(&mut world, 1, ProgramStanding::Trying);
    for facts in world.snapshot.hosts.values_mut() {
        facts.told = None;
    }
    world.converge(3);
    assert_eq!(permitted(&world), [name(1)], "{}", waits(&mut world));
}
