//! Whatever happens on the way, a cluster ends as declared, no plan on the way breaks a rule, and nothing is ever lost.

use crate::world::{World, document, name};
use hayloft_api::document::{HostState, Role};
use hayloft_api::{Bytes, Span};
use hayloft_engine::{AskedFor, HostFacts, Reason};
use proptest::prelude::*;

const MOST: u8 = 6;

#[derive(Debug, Clone)]
enum Event {
    /// The document asks for so many hosts.
    Declare(u8),
    /// A host is drained, or not.
    Drain(u8, bool),
    /// A host's pledge changes.
    Pledge(u8, u8),
    /// A host moves to another zone.
    Zone(u8),
    /// Copies shall lie in so many zones.
    Redundancy(u8),
    /// A host is switched off, or on again.
    Off(u8),
    On(u8),
    /// A host's Garage dies, and has forgotten what it was about to fetch when it is back at once.
    Dies(u8),
    /// A host loses its disks and starts anew.
    Reborn(u8),
    /// A host loses its data disk, and somebody puts in another one.
    NewDisk(u8),
    /// A person puts a host out.
    Evict(u8),
    /// Another host gets the role of gateway, alone or beside others.
    Gateway(u8, bool),
    /// The coordinator forgets all that it told.
    Restart,
    /// Time passes and nobody looks.
    Pass(u16),
    /// Time passes and the coordinator looks.
    Watch(u16),
    /// Clients push.
    Push(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let host = || 1..=MOST;
    prop_oneof![
        (3..=MOST).prop_map(Event::Declare),
        (host(), any::<bool>()).prop_map(|(n, drained)| Event::Drain(n, drained)),
        (host(), 1_u8..=40).prop_map(|(n, gib)| Event::Pledge(n, gib)),
        host().prop_map(Event::Zone),
        (2_u8..=3).prop_map(Event::Redundancy),
        host().prop_map(Event::Off),
        host().prop_map(Event::On),
        host().prop_map(Event::Dies),
        host().prop_map(Event::Reborn),
        host().prop_map(Event::NewDisk),
        host().prop_map(Event::Evict),
        (host(), any::<bool>()).prop_map(|(n, alone)| Event::Gateway(n, alone)),
        Just(Event::Restart),
        (1_u16..=200).prop_map(Event::Pass),
        (1_u16..=900).prop_map(Event::Watch),
        any::<u8>().prop_map(Event::Push),
    ]
}

fn known(world: &World, n: u8) -> bool {
    world.snapshot.hosts.contains_key(&name(n))
}

fn on(world: &World, n: u8) -> bool {
    world.alive.contains(&name(n))
}

/// Whether one more disk may be lost without losing data: every copy lies where it should.
fn whole(world: &World) -> bool {
    let layout = world.layout();
    let holders: Vec<_> = layout.roles.keys().copied().collect();
    world.garage.compare().0 == 0
        && layout.settled
        && world.garage.history().1.is_none()
        && holders
            .iter()
            .all(|id| world.garage.is_up(*id) && world.garage.lacking(*id) == 0)
        && holders.len() > 3
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Declare(hosts) => {
            let old = world.document.clone();
            world.document = document(*hosts);
            world.document.spec.rebalance = old.spec.rebalance.clone();
            world.document.spec.garage = old.spec.garage.clone();
            for host in &mut world.document.spec.hosts {
                if let Some(old) = old.host(&host.name) {
                    *host = old.clone();
                }
            }
            if world.document.gateway_host().is_none() {
                world.document.spec.hosts[0].roles.push(Role::Gateway);
            }
            for n in 1..=*hosts {
                if !known(world, n) {
                    world.starts(n);
                }
            }
        }
        Event::Drain(n, drained) => {
            if let Some(host) = world.document.spec.hosts.get_mut(usize::from(*n - 1)) {
                host.state = if *drained {
                    HostState::Drained
                } else {
                    HostState::Active
                };
            }
        }
        Event::Pledge(n, gib) => {
            if let Some(host) = world.document.spec.hosts.get_mut(usize::from(*n - 1)) {
                host.pledge = Some(Bytes::gib(u64::from(*gib)));
            }
        }
        Event::Zone(n) => {
            if let Some(host) = world.document.spec.hosts.get_mut(usize::from(*n - 1)) {
                host.zone = format!("elsewhere-{n}").parse().unwrap();
            }
        }
        Event::Redundancy(zones) => world.document.spec.garage.zone_redundancy = Some(*zones),
        Event::Off(n) if on(world, *n) => world.ends(*n),
        Event::On(n) if known(world, *n) && !on(world, *n) => world.returns(*n),
        Event::Dies(n) if on(world, *n) && world.garage.is_up(world.node(*n)) => {
            world.dies_in_the_second_of_its_ack(*n);
        }
        Event::Reborn(n) if on(world, *n) && whole(world) => world.is_reborn(*n),
        Event::NewDisk(n) if on(world, *n) && whole(world) && world.garage.is_up(world.node(*n)) => {
            world.loses_its_data(*n);
            world.asks(*n, AskedFor::NewDisk);
        }
        // Two at a time would need a person's word about what only those two held.
        Event::Evict(n)
            if known(world, *n)
                && whole(world)
                && world.snapshot.moves.is_empty()
                && world.snapshot.hosts.values().all(|facts| facts.asked.is_none()) =>
        {
            world.asks(*n, AskedFor::Evict);
        }
        Event::Off(_)
        | Event::On(_)
        | Event::Dies(_)
        | Event::Reborn(_)
        | Event::NewDisk(_)
        | Event::Evict(_) => {}
        Event::Gateway(n, alone) => {
            let hosts = &mut world.document.spec.hosts;
            if usize::from(*n) > hosts.len() {
                return;
            }
            for (at, host) in (1..).zip(hosts) {
                if at == *n {
                    host.roles = vec![Role::Storage, Role::Gateway];
                } else if *alone {
                    host.roles = vec![Role::Storage];
                }
            }
        }
        Event::Restart => {
            for facts in world.snapshot.hosts.values_mut() {
                facts.told = None;
            }
            world.snapshot.started = world.snapshot.now;
        }
        Event::Pass(seconds) => world.passes(u64::from(*seconds)),
        Event::Watch(seconds) => world.watches(u64::from(*seconds)),
        // Without a quorum it is refused.
        Event::Push(partition) => drop(world.garage.put(*partition)),
    }
}

/// A coordinator that dies after some of a plan's steps.
fn half_a_round(world: &mut World, steps: usize) {
    let mut plan = world.look();
    plan.steps.truncate(steps);
    world.carry_out(&plan);
    world.passes(1);
}

fn is_sound(world: &World) {
    world.holds();
    let lost = world.garage.lost();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_breaks_a_rule_nothing_is_lost_and_all_ends_as_declared(
        events in prop::collection::vec((event(), 0_u8..8, 0_usize..6), 0..30),
    ) {
        let mut world = World::declared(4);
        world.document.spec.rebalance.dead_after = Span::minutes(20);
        world.kept = true;
        (1..=4).for_each(|n| world.starts(n));
        for (event, rounds, steps) in &events {
            happen(&mut world, event);
            // `World::plan` holds every plan before the second judge.
            (0..*rounds).for_each(|_| drop(world.round()));
            half_a_round(&mut world, *steps);
            is_sound(&world);
        }
        for n in 1..=MOST {
            if known(&world, n) {
                if !on(&world, n) {
                    world.returns(n);
                }
                // Whoever was put out may come back, as another node.
                world.facts(n).asked = world.facts(n).asked.filter(|asked| asked.what == AskedFor::NewDisk);
            }
        }
        // Three hosts must stay, or nothing can be as declared.
        for host in &mut world.document.spec.hosts {
            host.state = HostState::Active;
        }
        (0..40).for_each(|_| drop(world.round()));
        for _ in 0..12 {
            world.watches(700);
            world.converge(10);
            is_sound(&world);
        }
        let mut plan = world.plan();
        plan.steps.retain(|planned| !matches!(planned.reason, Reason::Due { .. }));
        prop_assert!(plan.steps.is_empty(), "still acting:\n{plan}");
        for host in &world.document.spec.hosts {
            let id = world.snapshot.hosts[&host.name].id.unwrap();
            let layout = world.layout();
            let role = layout.roles.get(&id);
            prop_assert!(role.is_some(), "{} has no role:\n{plan}", host.name);
            prop_assert_eq!(role.unwrap().capacity, host.pledge.map(|pledge| pledge.0));
            prop_assert_eq!(&role.unwrap().zone, host.zone.as_str());
            prop_assert_eq!(world.garage.lacking(id), 0, "{} lacks blocks\n{}", host.name, plan);
        }
        prop_assert_eq!(world.layout().roles.len(), world.document.spec.hosts.len());
        prop_assert!(world.snapshot.moves.is_empty(), "{:?}\n{plan}\n{:?}", world.snapshot.moves, world.garage.history());
        let runs = |facts: &HostFacts| facts.report.as_ref().is_some_and(|report| report.gateway_runs);
        let gateways: Vec<_> = world.snapshot.hosts.iter().filter(|(_, facts)| runs(facts)).map(|(name, _)| name).collect();
        prop_assert_eq!(gateways, vec![&world.document.gateway_host().unwrap().name], "{}", plan);
        // What still waits is second gateways, and nothing else.
        for waiting in &plan.waiting {
            let text = waiting.to_string();
            prop_assert!(text.contains("a second gateway"), "{text}");
        }
    }

    #[test]
    fn planning_is_deterministic_and_carrying_out_settles(hosts in 3_u8..=6) {
        let mut world = World::converged(hosts);
        prop_assert_eq!(world.look(), world.look());
        prop_assert_eq!(&world.versions, &[1]);
        world.converge(20);
        prop_assert_eq!(&world.versions, &[1]);
    }

    #[test]
    fn a_plan_that_was_carried_out_is_not_made_again(
        events in prop::collection::vec((event(), 0_u8..8), 0..12),
    ) {
        let mut world = World::converged(4);
        for (event, rounds) in &events {
            happen(&mut world, event);
            (0..*rounds).for_each(|_| drop(world.round()));
            let plan = world.look();
            prop_assert_eq!(&plan, &world.look(), "planning twice");
            world.carry_out(&plan);
            // Nothing has come of it yet, and it must not be done twice: all but what tells dead nodes' acks, which shows
            // nowhere before the history is read again.
            let again = world.look();
            for planned in &again.steps {
                prop_assert!(!plan.steps.contains(planned), "again: {}\nof {plan}", planned.step);
            }
        }
    }
}
