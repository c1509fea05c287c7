//! Whatever happens on the way, a cluster ends as declared, and no plan on the way breaks a rule.

use crate::world::{World, document};
use hayloft_api::Bytes;
use hayloft_api::document::Role;
use hayloft_engine::HostFacts;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    /// The document asks for so many hosts.
    Declare(u8),
    /// A host's pledge changes.
    Pledge(u8, u8),
    /// A host is switched off, or on again.
    Off(u8),
    On(u8),
    /// A host loses its disk and starts anew.
    Reborn(u8),
    /// Another host gets the role of gateway, alone or beside others.
    Gateway(u8, bool),
    /// The coordinator forgets all that it told.
    Restart,
    /// Time passes.
    Pass(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (3_u8..=6).prop_map(Event::Declare),
        (1_u8..=6, 1_u8..=40).prop_map(|(n, gib)| Event::Pledge(n, gib)),
        (1_u8..=6).prop_map(Event::Off),
        (1_u8..=6).prop_map(Event::On),
        (1_u8..=6).prop_map(Event::Reborn),
        (1_u8..=6, any::<bool>()).prop_map(|(n, alone)| Event::Gateway(n, alone)),
        Just(Event::Restart),
        (1_u8..=200).prop_map(Event::Pass),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Declare(hosts) => {
            let mut new = document(*hosts);
            for host in &mut new.spec.hosts {
                if let Some(old) = world.document.host(&host.name) {
                    host.pledge = old.pledge;
                }
            }
            world.document = new;
            for n in 1..=*hosts {
                if !world.snapshot.hosts.contains_key(&crate::world::name(n)) {
                    world.starts(n);
                }
            }
        }
        Event::Pledge(n, gib) => {
            let at = usize::from(*n - 1);
            if let Some(host) = world.document.spec.hosts.get_mut(at) {
                host.pledge = Some(Bytes::gib(u64::from(*gib)));
            }
        }
        Event::Off(n) if world.alive.contains(&crate::world::name(*n)) => world.ends(*n),
        Event::On(n) if world.snapshot.hosts.contains_key(&crate::world::name(*n)) => world.returns(*n),
        // Whoever lost more disks than there are copies to spare needs a person.
        Event::Reborn(n)
            if world.snapshot.hosts.contains_key(&crate::world::name(*n))
                && world.snapshot.hosts.values().all(|facts| facts.former.is_empty()) =>
        {
            world.is_reborn(*n);
        }
        Event::Off(_) | Event::On(_) | Event::Reborn(_) => {}
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
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_breaks_a_rule_and_all_ends_as_declared(
        events in prop::collection::vec((event(), 0_u8..6), 0..30),
    ) {
        let mut world = World::declared(3);
        (1..=3).for_each(|n| world.starts(n));
        for (event, rounds) in &events {
            happen(&mut world, event);
            // `World::plan` holds every plan before the second judge.
            (0..*rounds).for_each(|_| drop(world.round()));
        }
        for n in 1..=6 {
            if world.snapshot.hosts.contains_key(&crate::world::name(n)) {
                world.returns(n);
            }
        }
        world.passes(300);
        world.converge(60);
        let plan = world.plan();
        prop_assert!(plan.steps.is_empty(), "still acting:\n{plan}");
        for host in &world.document.spec.hosts {
            let id = world.snapshot.hosts[&host.name].id.unwrap();
            let layout = world.layout();
            let role = layout.roles.get(&id);
            prop_assert!(role.is_some(), "{} has no role:\n{plan}", host.name);
            prop_assert_eq!(role.unwrap().capacity, host.pledge.map(|pledge| pledge.0));
        }
        let runs = |facts: &HostFacts| facts.report.as_ref().is_some_and(|report| report.gateway_runs);
        let gateways: Vec<_> = world.snapshot.hosts.iter().filter(|(_, facts)| runs(facts)).map(|(name, _)| name).collect();
        prop_assert_eq!(gateways, vec![&world.document.gateway_host().unwrap().name], "{}", plan);
        // What still waits is proof of placement and second gateways, and nothing else.
        for waiting in &plan.waiting {
            let text = waiting.to_string();
            prop_assert!(text.contains("proof that all data") || text.contains("a second gateway"), "{text}");
        }
        let versions = &world.versions;
        prop_assert!(versions.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }

    #[test]
    fn planning_is_deterministic_and_carrying_out_settles(hosts in 3_u8..=6) {
        let mut world = World::converged(hosts);
        prop_assert_eq!(world.look(), world.look());
        prop_assert_eq!(&world.versions, &[1]);
        world.converge(20);
        prop_assert_eq!(&world.versions, &[1]);
    }
}
