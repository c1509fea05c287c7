//! How long planning takes for many hosts.

use std::time::{Duration, Instant};

use crate::world::{World, document};
use hayloft_api::Bytes;
use hayloft_api::document::HostState;
use hayloft_engine::{check, plan, validate};

/// So many hosts, half of which come, go or change at once.
fn churning(hosts: u8) -> World {
    let mut world = World::converged(hosts / 2);
    world.document = document(hosts);
    // Nobody joins before all are there.
    world.document.spec.rebalance.windows = vec!["22:00-07:00".parse().unwrap()];
    ((hosts / 2 + 1)..=hosts).for_each(|n| world.starts(n));
    world.round();
    world.round();
    world.document.spec.rebalance.windows.clear();
    for (n, host) in world.document.spec.hosts.iter_mut().enumerate() {
        match n % 4 {
            0 if n < usize::from(hosts / 2) => host.state = HostState::Drained,
            1 => host.pledge = Some(Bytes::gib(20)),
            _ => {}
        }
    }
    world.observe();
    world
}

fn median(world: &World) -> Duration {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            let plan = plan(&validate(&world.document, &world.snapshot).unwrap());
            assert!(check(&world.document, &world.snapshot, &plan).is_empty());
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn planning_for_four_times_as_many_hosts_takes_no_more_than_the_square_of_it() {
    let (small, large) = (churning(50), churning(200));
    let (few, many) = (median(&small), median(&large));
    println!("validate, plan and check: 50 hosts {few:?}, 200 hosts {many:?}");
    let waiting: Vec<String> = large.plan().waiting.iter().map(ToString::to_string).collect();
    assert!(
        large.plan().to_string().contains("apply layout version 2"),
        "{waiting:#?}"
    );
    // Sixteen times, and four times as much for the machine's moods.
    assert!(many < few * 64, "{few:?} for 50 hosts, {many:?} for 200");
}
