//! What people are told: previews, progress, and whether the rules hold.

use std::fmt::Write;

use crate::world::{World, document, id, name, removal};
use hayloft_api::document::HostState;
use hayloft_api::status::{ConditionType, Preview};
use hayloft_api::{Bytes, Percent, Rate};
use hayloft_engine::{
    AskedFor, Compared, Forecast, NodeForecast, Staged, Unreached, findings, preview, progress,
};
use insta::assert_snapshot;

/// What the simulated Garage would do with a change, as a forecast.
fn forecast(world: &World, change: &Staged) -> Forecast {
    let mut garage = world.garage.clone();
    garage.stage(world.node(1), change).unwrap();
    let next = garage.preview().unwrap();
    let before = &garage.version(garage.current_version()).unwrap().map;
    let gained = before.moves_to(&next.map).gained;
    let ids = before.zones.keys().chain(next.map.zones.keys());
    Forecast {
        replication_factor: 3,
        zone_redundancy: next.zone_redundancy,
        tiny_partitions: false,
        nodes: ids
            .map(|id| {
                let node = NodeForecast {
                    partitions: next.map.partitions_of(id) as u64,
                    incoming: gained.get(id).map_or(0, |partitions| partitions.len() as u64),
                };
                (*id, node)
            })
            .collect(),
        partition_size: Some(40 << 20),
        partition_size_before: Some(53 << 20),
    }
}

fn shown(preview: &Preview) -> String {
    let mut text = format!("version {}: {}\n", preview.version, preview.what);
    for host in &preview.hosts {
        let bytes = host.bytes_in.map_or("?".into(), |bytes| {
            format!("{}..{}", Bytes(bytes.least), Bytes(bytes.most))
        });
        writeln!(
            text,
            "{} in {}: {} -> {} partitions, {} in ({bytes}), {} out",
            host.host,
            host.zone,
            host.partitions,
            host.partitions_after,
            host.partitions_in,
            host.partitions_out
        )
        .unwrap();
    }
    for zone in &preview.zones {
        writeln!(
            text,
            "without {}: {} unwritable, {} unreadable, {} lost",
            zone.zone, zone.unwritable, zone.unreadable, zone.lost
        )
        .unwrap();
    }
    writeln!(
        text,
        "{:?} partitions, {:?} bytes, {:?} B/s, {:?} s; zones {:?} -> {:?}",
        preview.partitions,
        preview.bytes,
        preview.rate,
        preview.seconds,
        preview.zones_before,
        preview.zones_after
    )
    .unwrap();
    for price in &preview.prices {
        writeln!(text, "price: {price}").unwrap();
    }
    for refusal in &preview.refusals {
        writeln!(text, "refused: {refusal}").unwrap();
    }
    text
}

fn preview_of(world: &World, change: &Staged) -> String {
    let forecast = forecast(world, change);
    let map = &world.garage.version(1).unwrap().map;
    shown(&preview(
        &world.document,
        &world.snapshot,
        2,
        change,
        &forecast,
        Some(map),
    ))
}

#[test]
fn a_preview_of_a_removal_tells_what_moves_and_what_would_be_lost() {
    let mut world = World::converged(4);
    world.access.bucket.as_mut().unwrap().bytes = Bytes::gib(64);
    world.observe();
    assert_snapshot!(preview_of(&world, &removal(4)));
    world.snapshot.rate = Some(Rate(Bytes(10 << 20)));
    assert!(preview_of(&world, &removal(4)).contains("Some(10485760) B/s"));
}

#[test]
fn a_preview_does_not_count_on_a_disk_that_is_still_being_filled() {
    let mut world = World::declared(4);
    for (host, n) in world.document.spec.hosts.iter_mut().zip(1..=4_u8) {
        let zone = if n == 2 { "alone" } else { "together" };
        host.zone = zone.parse().unwrap();
    }
    (1..=4).for_each(|n| world.starts(n));
    world.document.spec.garage.zone_redundancy = Some(2);
    world.converge(40);
    world.fill();
    let safe = "without together: 256 unwritable, 256 unreadable, 0 lost";
    assert!(
        preview_of(&world, &removal(4)).contains(safe),
        "{}",
        preview_of(&world, &removal(4))
    );
    world.loses_its_data(2);
    world.asks(2, AskedFor::NewDisk);
    while world.snapshot.moves.iter().all(|moved| moved.refilled.is_none()) {
        world.round();
    }
    // Of every partition one copy lies on the new disk, and all others are in one zone.
    let unsafe_now = "without together: 256 unwritable, 256 unreadable, 256 lost";
    let text = preview_of(&world, &removal(4));
    assert!(text.contains(unsafe_now), "{text}");
    assert!(
        text.contains("without alone: 0 unwritable, 0 unreadable, 0 lost"),
        "{text}"
    );
}

#[test]
fn a_preview_of_fewer_zones_prints_its_price_and_one_that_does_not_fit_its_refusal() {
    let mut world = World::converged(4);
    world.document.spec.garage.zone_redundancy = Some(1);
    world.document.spec.rebalance.reserve = Percent::new(90);
    world.access.bucket.as_mut().unwrap().bytes = Bytes::gib(64);
    world.observe();
    let change = Staged {
        zone_redundancy: Some(Some(1)),
        ..removal(4)
    };
    assert_snapshot!(preview_of(&world, &change));
}

#[test]
fn progress_is_told_step_by_step_and_names_garages_delays() {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    let mut told: Vec<String> = Vec::new();
    let tell = |world: &World, told: &mut Vec<String>| {
        for moved in &world.snapshot.moves {
            let status = progress(&world.snapshot, moved);
            let delays: Vec<String> = status.delays.iter().map(|delay| delay.what.clone()).collect();
            let text = format!(
                "{} {}: settled {}, placed {}, empty {} {}",
                status.what,
                status.phase.as_str(),
                status.settled,
                status.placed,
                status.empty,
                delays.join("; ")
            );
            if told.last() != Some(&text) {
                told.push(text);
            }
        }
    };
    for _ in 0..9 {
        world.round();
        world.observe();
        tell(&world, &mut told);
    }
    world.passes(400);
    world.observe();
    tell(&world, &mut told);
    assert_snapshot!(told.join("\n"));
    world.watches(300);
    assert!(world.snapshot.moves.is_empty());
}

/// Conditions that do not hold.
fn wrong(world: &mut World) -> String {
    let plan = world.look();
    let all = findings(&world.document, &world.snapshot, &plan);
    let wrong = all.iter().filter(|finding| !finding.holds);
    wrong
        .map(|finding| format!("{:?} ({:?}): {}", finding.kind, finding.reason, finding.message))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn all_rules_hold_where_all_is_well() {
    assert_eq!(wrong(&mut World::converged(3)), "");
}

#[test]
fn every_rule_that_does_not_hold_says_why_and_what_to_do() {
    let mut told = Vec::new();
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    world.converge(5);
    told.push(wrong(&mut world));
    world.converge(10);
    told.push(wrong(&mut world));

    let mut world = World::converged(3);
    world.ends(3);
    world.watches(1000);
    world.facts(1).skew = Some(jiff::SignedDuration::from_secs(75));
    world.report(2).disk.as_mut().unwrap().data_available = 1 << 30;
    told.push(wrong(&mut world));

    let mut world = World::converged(4);
    world.loses_its_data(2);
    world.asks(4, AskedFor::Evict);
    world.converge(2);
    world.digests.insert("host-3".parse().unwrap(), "f".repeat(64));
    told.push(wrong(&mut world));

    let mut world = World::converged(4);
    for (host, owner) in world
        .document
        .spec
        .hosts
        .iter_mut()
        .zip(["ada", "ada", "ada", "bob"])
    {
        host.owner = Some(owner.parse().unwrap());
    }
    world.access.bucket.as_mut().unwrap().website = true;
    world.access.strangers = (1..=7).map(|n| format!("GK{n:024}")).collect();
    world.snapshot.stale_document = Some(world.snapshot.now);
    world.document.spec.admission.min_garage = Some("2.6".to_owned());
    told.push(wrong(&mut world));

    let mut world = World::converged(3);
    world.document = document(2);
    world.document.spec.garage.replication_factor = 3;
    world.document.spec.garage.zone_redundancy = Some(3);
    told.push(wrong(&mut world));
    assert_snapshot!(told.join("\n\n"));
    assert!(world.layout().roles.contains_key(&id(3)));
}

#[test]
fn the_delay_of_a_giver_that_was_away_while_clients_wrote_is_named() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    let settled = |world: &World| world.snapshot.moves.iter().any(|facts| facts.settled.is_some());
    for _ in 0..600 {
        if !settled(&world) {
            world.round();
        }
    }
    assert!(settled(&world), "{}", world.plan());
    let now = world.snapshot.now;
    let back = now + jiff::SignedDuration::from_secs(60);
    world.snapshot.now = now + jiff::SignedDuration::from_secs(160);
    world.report(2).garage_started = Some(back);
    let mut facts = world.snapshot.moves[0].clone();
    facts.quickened = facts.receivers().into_iter().map(|id| (id, now)).collect();
    assert!(
        progress(&world.snapshot, &facts).delays.is_empty(),
        "nothing is missing"
    );
    facts.compared = Some(Compared {
        began: now,
        at: now,
        missing: 3,
        of: 100,
    });
    let delays = progress(&world.snapshot, &facts).delays;
    let told: Vec<&str> = delays.iter().map(|delay| delay.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "waiting for Garage's fixed delay before host-2, which was away, fetches what was written meanwhile, 500 s left"
        ]
    );
}

#[test]
fn a_host_that_does_not_reach_another_is_told_with_what_to_do() {
    let mut world = World::converged(3);
    let pair = |from: u8, to: u8| Unreached {
        from: name(from),
        to: name(to),
        address: format!("h{to}:3901"),
        why: "connection timed out".to_owned(),
    };
    world.snapshot.unreached = vec![pair(1, 2), pair(3, 2)];
    let reached = world.finding(ConditionType::Reached);
    assert!(!reached.holds);
    assert_eq!(
        reached.message,
        "host-1 does not reach host-2 at h2:3901: connection timed out; and 1 more such; open that port in the firewall or router of \
         host-2, or mend the route from host-1"
    );
}

#[test]
fn a_disk_that_was_filled_by_other_things_until_it_cannot_hold_its_pledge_is_told() {
    let mut world = World::converged(3);
    let told = |world: &World| {
        let kept = world.finding(ConditionType::PledgesKept);
        (kept.holds, kept.message)
    };
    assert!(told(&world).0);
    world.report(2).disk.as_mut().unwrap().data_available = 4 << 30;
    let (holds, message) = told(&world);
    assert!(!holds);
    assert!(
        message.starts_with("host-2 pledges 10 GiB")
            && message.contains("has room for 4 GiB with what it holds"),
        "{message}"
    );
}

#[test]
fn a_full_disk_is_told_also_where_no_reserve_is_declared() {
    let mut world = World::converged(3);
    world.document.spec.rebalance.reserve = Percent::new(0);
    world.report(2).disk.as_mut().unwrap().data_available = 0;
    let fits = world.finding(ConditionType::Fits);
    assert!(
        !fits.holds && fits.message.contains("the disk of host-2 is full"),
        "{}",
        fits.message
    );
}
