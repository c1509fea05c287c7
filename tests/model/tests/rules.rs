//! With all rules nothing goes wrong, whatever the order of events; with one left out the search finds how it does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may"
)]

use std::fmt::Write as _;
use std::time::Duration;

use hayloft_model::{Hole, Search, Setup, Upload};
use stateright::{Checker, DiscoveryClassification, HasDiscoveries, Model};

/// Far more than any of them takes; one that reaches it is not exhaustive, and fails.
const PATIENCE: Duration = Duration::from_secs(240);

fn holds(name: &str, setup: Setup) {
    let changes_hands = setup.claims > 0 && setup.groups > 0;
    let checker = Search::new(setup)
        .unwrap()
        .checker()
        .threads(2)
        .timeout(PATIENCE)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    eprintln!(
        "{name}: {} states, {} without repetition, depth {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    for (property, path) in checker.discoveries() {
        if matches!(
            checker.discovery_classification(property),
            DiscoveryClassification::Counterexample
        ) {
            panic!(
                "{name}: {property} does not hold:\n{}",
                told(&path.into_actions())
            );
        }
    }
    // Else it would hold because nothing happens.
    assert!(
        !changes_hands || checker.discovery("a later epoch orders").is_some(),
        "{name}: no later epoch ever ordered"
    );
    assert!(checker.is_done(), "{name}: not all orders of events were tried");
}

/// Searches until a property fails, and tells how.
fn fails(setup: Setup, expected: &[&str]) {
    let hole = setup.without.unwrap();
    let checker = Search::new(setup)
        .unwrap()
        .checker()
        .threads(2)
        .timeout(PATIENCE)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found = checker.discoveries().into_iter().find(|(property, _)| {
        matches!(
            checker.discovery_classification(property),
            DiscoveryClassification::Counterexample
        )
    });
    let Some((property, path)) = found else {
        panic!(
            "{hole:?}: nothing was found in {} states",
            checker.unique_state_count()
        );
    };
    eprintln!(
        "{hole:?}, after {} states: {property}\n{}",
        checker.unique_state_count(),
        told(&path.into_actions())
    );
    assert!(
        expected.iter().any(|start| property.starts_with(start)),
        "{hole:?} breaks {property}, and not {expected:?}"
    );
}

fn told<A: std::fmt::Debug>(actions: &[A]) -> String {
    actions.iter().fold(String::new(), |mut text, action| {
        let _ = writeln!(text, "    {action:?}");
        text
    })
}

/// Two paths that share their only frame.
const SHARED: [Upload; 2] = [
    Upload {
        path: 0,
        nar: 1,
        frame: 1,
    },
    Upload {
        path: 1,
        nar: 2,
        frame: 1,
    },
];
/// One path, with two NARs.
const CONFLICT: [Upload; 2] = [
    Upload {
        path: 0,
        nar: 1,
        frame: 1,
    },
    Upload {
        path: 0,
        nar: 2,
        frame: 2,
    },
];

/// Office changes hands while records are ordered.
fn office() -> Setup {
    Setup {
        gateways: 3,
        claims: 2,
        groups: 3,
        caches: 3,
        ..Setup::default()
    }
}

/// Paths come and go, and packs are copied, condemned, deleted.
fn collection() -> Setup {
    Setup {
        gateways: 1,
        claims: 0,
        groups: 5,
        uploads: SHARED.to_vec(),
        removals: vec![0],
        collects: true,
        ..Setup::default()
    }
}

/// Two gateways, of which either may order, collect, and be deposed at any point.
fn collection_and_succession() -> Setup {
    Setup {
        gateways: 2,
        claims: 1,
        groups: 4,
        ..collection()
    }
}

#[test]
fn office_changes_hands_at_any_point_and_nothing_is_lost() {
    holds("office", office());
}

#[test]
fn any_gateway_may_crash_at_any_point() {
    holds(
        "crashes",
        Setup {
            gateways: 2,
            crashes: 2,
            groups: 2,
            caches: 2,
            ..office()
        },
    );
}

#[test]
fn the_only_gateway_may_crash_and_restart_with_or_without_its_index() {
    for index_lost in [false, true] {
        holds(
            "restarts",
            Setup {
                gateways: 1,
                claims: 3,
                crashes: 3,
                groups: 3,
                caches: 3,
                index_lost,
                ..Setup::default()
            },
        );
    }
}

#[test]
fn three_gateways_may_claim_at_once() {
    holds(
        "three claims",
        Setup {
            gateways: 3,
            cold: true,
            claims: 3,
            groups: 0,
            ..Setup::default()
        },
    );
}

#[test]
fn followers_show_only_what_counts() {
    holds(
        "following",
        Setup {
            gateways: 3,
            claims: 1,
            groups: 2,
            caches: 2,
            follows: true,
            tells: true,
            ..Setup::default()
        },
    );
}

#[test]
fn what_a_live_path_needs_is_never_collected() {
    holds("collection", collection());
}

#[test]
fn what_comes_in_one_group_is_checked_against_each_other() {
    holds(
        "groups",
        Setup {
            pairs: true,
            groups: 3,
            ..collection()
        },
    );
}

#[test]
fn a_committer_may_be_deposed_while_it_collects() {
    holds("collection and succession", collection_and_succession());
}

#[test]
fn two_pushes_of_one_path_with_other_contents_never_both_succeed() {
    holds(
        "conflict",
        Setup {
            uploads: CONFLICT.to_vec(),
            groups: 3,
            claims: 1,
            removals: vec![0],
            ..Setup::default()
        },
    );
}

#[test]
fn a_gateway_that_cannot_read_a_record_stops_and_shows_nothing_wrong() {
    holds("two versions", two_versions());
}

/// The second gateway does not know of condemned packs.
fn two_versions() -> Setup {
    Setup {
        gateways: 2,
        claims: 1,
        reads: vec![2, 1],
        follows: true,
        tells: true,
        groups: 3,
        removals: vec![0],
        uploads: SHARED[..1].to_vec(),
        collects: true,
        ..Setup::default()
    }
}

fn leave_out(hole: Hole, setup: Setup, expected: &[&str]) {
    fails(
        Setup {
            without: Some(hole),
            ..setup
        },
        expected,
    );
}

#[test]
fn without_a_second_look_a_deposed_committer_loses_what_it_acknowledges() {
    leave_out(Hole::NoSecondLook, office(), &["I1", "I5", "I6"]);
}

#[test]
fn without_a_second_listing_two_that_claim_at_once_miss_each_other() {
    leave_out(Hole::NoSecondListing, office(), &["I1", "I5", "I6"]);
}

#[test]
fn without_marks_the_second_look_sees_nothing() {
    leave_out(Hole::NoMarks, office(), &["I1", "I5", "I6"]);
}

#[test]
fn marks_must_be_written_before_the_log_is_read() {
    leave_out(Hole::MarksNotAwaited, office(), &["I1", "I5", "I6"]);
    leave_out(Hole::ReadsBeforeMarks, office(), &["I1", "I5", "I6"]);
}

#[test]
fn what_was_seen_once_may_not_be_there_the_next_time() {
    leave_out(Hole::NoTailAgain, office(), &["I1", "I5", "I6"]);
}

#[test]
fn a_restart_in_the_same_epoch_writes_other_bytes_to_a_key() {
    let setup = Setup {
        gateways: 1,
        claims: 0,
        crashes: 1,
        groups: 3,
        caches: 3,
        ..Setup::default()
    };
    leave_out(
        Hole::RestartIsNoSuccession,
        with_two_that_follow(setup),
        &["I1", "I5", "I6"],
    );
}

fn with_two_that_follow(setup: Setup) -> Setup {
    Setup {
        gateways: 2,
        claims: 1,
        follows: true,
        ..setup
    }
}

#[test]
fn a_follower_that_shows_what_it_sees_shows_what_is_void() {
    leave_out(
        Hole::ShowsUnsettled,
        Setup {
            gateways: 3,
            follows: true,
            ..office()
        },
        &["I1", "I5", "I6"],
    );
}

#[test]
fn a_gateway_that_skips_what_it_cannot_read_answers_otherwise() {
    leave_out(Hole::SkipsUnknown, two_versions(), &["I6"]);
}

#[test]
fn unchecked_condemnation_takes_what_a_path_needs() {
    leave_out(Hole::NoCheckOfCondemned, collection(), &["I4"]);
}

#[test]
fn deleting_before_copying_takes_what_a_path_needs() {
    leave_out(Hole::DeletesBeforeCopy, collection(), &["I4"]);
}

#[test]
fn deleting_before_the_second_look_takes_what_the_next_committer_keeps() {
    leave_out(Hole::DeletesBeforeLook, collection_and_succession(), &["I4"]);
}
