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
