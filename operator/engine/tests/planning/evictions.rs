//! Hosts that a person puts out.

use crate::world::{World, name};
use hayloft_engine::{AskedFor, Renewal};
use insta::assert_snapshot;

#[test]
fn a_live_host_is_put_out_without_its_help() {
    let mut world = World::converged(4);
    world.asks(4, AskedFor::Evict);
    assert_snapshot!(world.story(20));
    // It forgot who it was, and is not let in again, although the document declares it.
    assert!(!world.layout().roles.contains_key(&world.node(4)));
    assert!(world.snapshot.secrets.known_to.is_empty());
    world.holds();
}

#[test]
fn a_host_that_does_not_write_down_new_secrets_holds_up_their_use_for_a_minute_and_no_longer() {
    let mut world = World::converged(4);
    world.asks(4, AskedFor::Evict);
    world.deaf.insert(name(3));
    let staged = |world: &World| matches!(world.snapshot.secrets.renewal, Renewal::Staged { .. });
    while !staged(&world) {
        world.round();
    }
    assert_snapshot!(world.look());
    world.passes(61);
    assert_snapshot!(world.look());
    world.deaf.clear();
    world.converge(20);
    assert!(world.snapshot.secrets.known_to.is_empty());
}

#[test]
fn a_dead_host_is_put_out_by_a_person_at_once() {
    let mut world = World::converged(4);
    world.ends(4);
    world.asks(4, AskedFor::Evict);
    world.converge(20);
    assert!(!world.layout().roles.contains_key(&world.node(4)));
    assert!(world.plan().steps.is_empty(), "{}", world.plan());
}

#[test]
fn a_host_that_others_cannot_stand_in_for_is_cut_off_and_keeps_its_role() {
    let mut world = World::converged(3);
    world.asks(3, AskedFor::Evict);
    assert_snapshot!(world.story(6));
}

#[test]
fn the_holder_of_only_copies_is_not_put_out() {
    let mut world = World::converged(1);
    world.asks(1, AskedFor::Evict);
    assert_snapshot!(world.look());
}

#[test]
fn two_dead_of_five_need_a_persons_word_about_what_only_they_held() {
    let mut world = World::converged(5);
    world.ends(4);
    world.ends(5);
    world.asks(4, AskedFor::Evict);
    world.asks(5, AskedFor::Evict);
    world.converge(45);
    assert_snapshot!(world.look());
    // One of two is not enough.
    world.snapshot.may_lack.insert(name(4));
    assert!(!world.look().to_string().contains("without what only"));
    world.snapshot.may_lack.insert(name(5));
    assert_snapshot!(world.story(20));
    assert!(world.layout().settled);
}

#[test]
fn where_data_may_be_missing_nothing_is_placed_before_all_tables_were_compared() {
    let mut world = World::converged(5);
    for n in [4, 5] {
        world.ends(n);
        world.asks(n, AskedFor::Evict);
    }
    world.converge(45);
    world.snapshot.may_lack = [name(4), name(5)].into();
    let launched = |world: &World, n: u8| {
        let tables = &world.snapshot.moves[0].tables;
        tables.get(&world.node(n)).map(|repair| repair.launched)
    };
    while world.snapshot.moves.is_empty() || launched(&world, 2).is_none() {
        world.round();
    }
    // What a Garage was at is forgotten with its process.
    let first = launched(&world, 2);
    world.dies_in_the_second_of_its_ack(2);
    let mut again = false;
    for _ in 0..20 {
        world.round();
        for moved in &world.snapshot.moves {
            let done = moved.tables_done(|_| true);
            assert!(done || moved.placed.is_none() && moved.repairs.is_empty());
            let counts = moved.repairs.values().all(|repair| {
                let tables = moved.tables.values().filter_map(|tables| tables.finished);
                tables.max().is_some_and(|ended| repair.launched >= ended)
            });
            assert!(counts, "{moved:?}");
        }
        again |= !world.snapshot.moves.is_empty() && launched(&world, 2) > first;
    }
    assert!(again, "it was not launched anew");
    world.watches(700);
    assert!(world.snapshot.moves.is_empty(), "{}", world.plan());
}

#[test]
fn of_two_live_hosts_that_are_put_out_one_goes_first() {
    let mut world = World::converged(5);
    world.asks(4, AskedFor::Evict);
    world.asks(5, AskedFor::Evict);
    world.converge(3);
    assert_eq!(world.versions, [1, 2]);
    world.converge(60);
    assert_eq!(world.versions, [1, 2, 3], "{}", world.plan());
    assert!(world.garage.lost().is_empty());
}
