//! The second judge on moves, evictions and everything else that can lose data. Every rule has a plan that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{World, document, id, name};
use hayloft_api::document::HostState;
use hayloft_api::{Bytes, HostName, NodeId, Span};
use hayloft_engine::{
    AskedFor, Drift, HostPlan, Leadership, NodeRole, Objection, Plan, Planned, Reason, ResyncFacts,
    RoleChange, Step, Unanswered, check,
};

fn judge(world: &World, step: Step) -> Vec<Objection> {
    let planned = Planned {
        step,
        reason: Reason::Missing,
    };
    let plan = Plan {
        steps: vec![planned],
        waiting: vec![],
        names: BTreeMap::new(),
    };
    check(&world.document, &world.snapshot, &plan)
}

fn remove(version: u64, nodes: &[u8]) -> Step {
    Step::ChangeLayout {
        through: name(1),
        version,
        roles: nodes.iter().map(|n| (id(*n), RoleChange::Remove)).collect(),
        zone_redundancy: None,
    }
}

fn join(version: u64, n: u8) -> Step {
    let role = NodeRole {
        zone: format!("zone-{n}"),
        capacity: Some(10 << 30),
        tags: vec![format!("host-{n}")],
    };
    Step::ChangeLayout {
        through: name(1),
        version,
        roles: BTreeMap::from([(id(n), RoleChange::Assign(role))]),
        zone_redundancy: None,
    }
}

fn hosts(names: &[u8]) -> BTreeSet<HostName> {
    names.iter().map(|n| name(*n)).collect()
}

fn nodes(names: &[u8]) -> BTreeSet<NodeId> {
    names.iter().map(|n| id(*n)).collect()
}

/// Four hosts, of which one is being drained, settled and not placed.
fn draining() -> World {
    let mut world = World::converged(4);
    world.document.spec.hosts[3].state = HostState::Drained;
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    world
}

#[test]
fn who_does_not_lead_does_nothing() {
    let mut world = World::converged(3);
    world.snapshot.leadership = Leadership::Unpromised { promised: 1, need: 2 };
    assert_eq!(
        judge(&world, Step::Compare { of: 1.into() })[0],
        Objection::NotLeading
    );
}

#[test]
fn no_host_forgets_or_deletes_anything_before_its_disk_says_that_it_is_empty() {
    let mut world = draining();
    let retire = |erase_blocks| Step::Desire {
        host: name(4),
        plan: Box::new(HostPlan {
            forget: Some(id(4)),
            erase_blocks,
            ..HostPlan::default()
        }),
    };
    let early = [
        Objection::ErasesBlocks(name(4)),
        Objection::ForgetsTooEarly(name(4)),
    ];
    assert_eq!(judge(&world, retire(true)), early);
    assert_eq!(
        judge(&world, retire(false)),
        [Objection::ForgetsTooEarly(name(4))]
    );
    world.converge(10);
    assert!(world.snapshot.moves[0].placed.is_some());
    let full = [Objection::ErasesBlocks(name(4)), Objection::StopsHolder(name(4))];
    assert_eq!(judge(&world, retire(true)), full);
    // An empty disk that was seen before the role ended proves nothing.
    let settled = world.snapshot.moves[0].settled.unwrap();
    let blocks = world.report(4).blocks.as_mut().unwrap();
    (blocks.count, blocks.at) = (0, settled);
    assert_eq!(judge(&world, retire(true)), full);
    let now = world.snapshot.now;
    world.report(4).blocks.as_mut().unwrap().at = now;
    assert_eq!(judge(&world, retire(true)), []);
}

#[test]
fn no_live_host_leaves_while_another_move_is_not_placed_and_never_two_at_once() {
    let mut world = World::converged(6);
    world.document = document(4);
    assert!(judge(&world, remove(2, &[5, 6])).contains(&Objection::SeveralRemovals(2)));
    world.round();
    while world.snapshot.moves.iter().all(|facts| facts.settled.is_none()) {
        world.round();
    }
    let other = if world.layout().roles.contains_key(&id(5)) {
        5
    } else {
        6
    };
    assert_eq!(
        judge(&world, remove(3, &[other])),
        [Objection::RemovalUnproven(2)]
    );
}

#[test]
fn a_host_that_is_down_loses_its_role_only_when_it_is_put_out() {
    let mut world = World::converged(4);
    world.ends(4);
    world.observe();
    assert_eq!(
        judge(&world, remove(2, &[4])),
        [Objection::RemovesAbsent("host-4".into())]
    );
    world.snapshot.barred.insert(id(4));
    assert_eq!(judge(&world, remove(2, &[4])), []);
    let both = judge(&world, remove(2, &[3, 4]));
    assert!(both.contains(&Objection::MixedRemovals), "{both:?}");
}

#[test]
fn nobody_is_put_out_who_is_not_named_or_seen_to_be_dead() {
    let evict = |n| Step::Evict {
        host: name(n),
        node: id(n),
    };
    let mut world = World::converged(5);
    world.document.spec.rebalance.dead_after = Span::minutes(30);
    assert_eq!(judge(&world, evict(4)), [Objection::PutsOut(name(4))]);
    world.ends(4);
    world.watches(600);
    assert_eq!(judge(&world, evict(4)), [Objection::PutsOut(name(4))]);
    world.ends(5);
    world.watches(3600);
    // Two are: a person decides.
    assert_eq!(judge(&world, evict(4)), [Objection::PutsOut(name(4))]);
    world.asks(4, AskedFor::Evict);
    assert_eq!(judge(&world, evict(4)), []);
    let mut alone = World::converged(1);
    alone.asks(1, AskedFor::Evict);
    assert_eq!(judge(&alone, evict(1)), [Objection::LosesOnlyCopy]);
}

#[test]
fn who_was_put_out_gets_no_role() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.round();
    world.round();
    world.observe();
    assert_eq!(judge(&world, join(2, 4)), []);
    world.snapshot.barred.insert(id(4));
    assert_eq!(judge(&world, join(2, 4)), [Objection::LetsIn("host-4".into())]);
}

#[test]
fn data_is_given_up_only_by_a_persons_word_about_all_who_are_gone() {
    let mut world = World::converged(5);
    for n in [4, 5] {
        world.ends(n);
        world.asks(n, AskedFor::Evict);
    }
    world.converge(45);
    let allow = |names: &[u8]| Step::AllowMissing {
        through: name(1),
        version: 2,
        hosts: hosts(names),
    };
    assert!(judge(&world, allow(&[4, 5])).contains(&Objection::GivesUp("host-4".into())));
    world.snapshot.may_lack = hosts(&[4]);
    assert_eq!(judge(&world, allow(&[4])), [Objection::GivesUp("host-5".into())]);
    world.snapshot.may_lack = hosts(&[4, 5]);
    assert_eq!(judge(&world, allow(&[4, 5])), []);
    let settled = World::converged(3);
    let needless = Step::AllowMissing {
        through: name(1),
        version: 1,
        hosts: BTreeSet::new(),
    };
    assert_eq!(judge(&settled, needless), [Objection::NotStuck(1)]);
}

#[test]
fn members_that_differ_or_may_differ_get_no_new_version() {
    let mut world = World::converged(4);
    world.document = document(3);
    world.digests.insert(name(3), "f".repeat(64));
    world.observe();
    assert_eq!(judge(&world, remove(2, &[4])), [Objection::Disagreement(name(3))]);
    let heal = |version| Step::HealSplit {
        through: name(1),
        version,
    };
    assert_eq!(judge(&world, heal(2)), []);
    world.digests.clear();
    world.observe();
    assert_eq!(judge(&world, heal(2)), [Objection::NoSplit]);
    world.snapshot.unanswered = Some(Unanswered {
        through: name(2),
        version: 2,
        at: world.snapshot.now,
    });
    assert_eq!(judge(&world, remove(3, &[4])), [Objection::Unanswered(name(2))]);
    assert!(judge(&world, remove(2, &[4])).contains(&Objection::WrongVersion { planned: 2, next: 3 }));
}

#[test]
fn no_more_than_three_versions_are_on_their_way() {
    let mut world = World::converged(3);
    world.document = document(4);
    world.starts(4);
    world.round();
    world.round();
    world.observe();
    let moved = draining().snapshot.moves[0].clone();
    world.snapshot.moves = vec![moved; 3];
    assert_eq!(judge(&world, join(2, 4)), [Objection::TooManyUnplaced(3)]);
}

#[test]
fn queues_of_those_who_give_are_never_cleared() {
    let world = draining();
    let quicken = |version: u64, names: &[u8]| Step::QuickenReceivers {
        through: name(1),
        of: version.into(),
        nodes: nodes(names),
    };
    assert_eq!(
        judge(&world, quicken(2, &[4])),
        [Objection::ClearsGiver("host-4".into())]
    );
    assert_eq!(judge(&world, quicken(7, &[])), [Objection::Unsettled(7)]);
}

#[test]
fn an_empty_disk_is_accepted_once_by_a_persons_word() {
    let mut world = World::converged(4);
    world.kept = true;
    world.converge(1);
    world.loses_its_data(2);
    let accept = |world: &World| {
        let told = world.snapshot.hosts[&name(2)].told.clone().unwrap();
        Step::Desire {
            host: name(2),
            plan: Box::new(HostPlan {
                accept_empty_data: true,
                ..told
            }),
        }
    };
    assert_eq!(judge(&world, accept(&world)), [Objection::AcceptsLoss(name(2))]);
    world.asks(2, AskedFor::NewDisk);
    assert_eq!(judge(&world, accept(&world)), []);
    world.passes(1);
    world.facts(2).upkeep.as_mut().unwrap().blocks = Some(world.snapshot.now);
    assert_eq!(judge(&world, accept(&world)), [Objection::AcceptsLoss(name(2))]);
}

#[test]
fn blocks_move_no_faster_than_the_document_allows() {
    let mut world = draining();
    let fast = || Step::SetResync {
        through: name(1),
        nodes: nodes(&[1]),
        setting: ResyncFacts {
            workers: 8,
            tranquility: 0,
        },
    };
    let too_fast = [Objection::TooFast {
        workers: 8,
        tranquility: 0,
    }];
    assert_eq!(judge(&world, fast()), too_fast);
    world.snapshot.clients_idle = true;
    assert_eq!(judge(&world, fast()), []);
    world.document.spec.rebalance.windows = vec!["22:00-07:00".parse().unwrap()];
    assert_eq!(judge(&world, fast()), too_fast);
}

#[test]
fn small_things_that_only_a_mistake_would_plan() {
    let mut world = World::converged(3);
    let step = Step::KeepSnapshot {
        of: name(1),
        on: name(1),
    };
    assert_eq!(judge(&world, step), [Objection::KeepsOnItself(name(1))]);
    let step = Step::RotateSecrets {
        known_to: hosts(&[2]),
    };
    assert_eq!(judge(&world, step), [Objection::RenewsForOthers]);
    let step = Step::SwitchSecrets { known_to: hosts(&[]) };
    assert_eq!(judge(&world, step), [Objection::SwitchesUnstaged]);
    let step = Step::Mend {
        through: name(1),
        drift: Drift::Quota {
            shall: Some(Bytes::gib(1)),
        },
    };
    assert_eq!(judge(&world, step), [Objection::WrongQuota]);
    world.report(2).unfit = Some("Garage 1.3.0 is of another major version".into());
    let told = world.snapshot.hosts[&name(2)].told.clone().unwrap();
    let step = Step::Desire {
        host: name(2),
        plan: Box::new(told),
    };
    assert_eq!(judge(&world, step), [Objection::StartsUnfit(name(2))]);
    world.document.spec.garage.replication_factor = 2;
    assert_eq!(
        judge(&world, Step::Compare { of: 1.into() })[0],
        Objection::WrongFactor(2)
    );
}
