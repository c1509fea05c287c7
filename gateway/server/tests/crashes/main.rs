//! What needs the program's own help: it dies at each step of a push, a commit, a checkpoint and a collection; its clock
//! is wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod clocks;
mod rebuilding;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::program::{Gateway, World};
use support::wares::{Path, Pulled, token};

/// What lives pushed, and what was acknowledged of it.
#[derive(Default)]
struct Ledger {
    next: u32,
    acknowledged: Vec<u32>,
}

impl Ledger {
    /// Pushes some paths at once, again and again, until the program dies.
    async fn push_until_dead(&mut self, gateway: &mut Gateway, token: &str) {
        for _ in 0..100 {
            let numbers: Vec<u32> = (self.next..self.next + 3).collect();
            self.next += 3;
            let url = gateway.url.clone();
            let pushed = numbers.into_iter().map(|number| {
                let url = url.clone();
                async move { (number, Path::new(number).push(&url, token).await) }
            });
            for (number, done) in futures::future::join_all(pushed).await {
                if done {
                    self.acknowledged.push(number);
                }
            }
            if gateway.is_dead() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never died; its log:\n{}", gateway.said());
    }

    /// All of the last lives, or of all lives, is there.
    async fn assert_whole(&self, gateway: &Gateway, of: usize, at: &str) {
        for number in self.acknowledged.iter().rev().take(of) {
            let pulled = Path::new(*number).pull(&gateway.url).await;
            assert_eq!(pulled, Pulled::Whole, "{number} after {at}");
        }
    }
}

/// The program dies at this step while it takes pushes; starts again, and has lost nothing.
async fn dies_and_mends(
    world: &mut World,
    ledger: &mut Ledger,
    token: &str,
    dies_at: &str,
    without_index: bool,
) {
    world.dies_at = dies_at.to_owned();
    // It may die before it serves.
    if let Ok(mut gateway) = world.try_serve_with(&[], |_| {}).await {
        ledger.push_until_dead(&mut gateway, token).await;
    }
    world.dies_at.clear();
    if without_index {
        world.remove_index();
    }
    let gateway = world.serve().await;
    ledger.assert_whole(&gateway, 8, dies_at).await;
    // What was not acknowledged may be there or not, but never in part; and it can be pushed.
    for number in ledger.next.saturating_sub(3)..ledger.next {
        let path = Path::new(number);
        assert_ne!(
            path.pull(&gateway.url).await,
            Pulled::Failed,
            "{number} after {dies_at}"
        );
        assert!(path.push(&gateway.url, token).await);
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    gateway.terminate();
}

/// At the end of all lives, from the bucket alone.
async fn assert_all_well(world: &World, ledger: &Ledger) {
    world.remove_index();
    let gateway = world.serve().await;
    ledger.assert_whole(&gateway, usize::MAX, "all").await;
    let checked = world.run(&["fsck", "--verify"]);
    assert!(checked.contains("all is well"), "{checked}");
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_dies_at_any_step_of_a_push_and_of_a_commit_and_loses_nothing() {
    let mut world = World::new("hs256").await;
    let token = token(&world);
    let mut ledger = Ledger::default();
    for step in ["pack-ready", "pack-stored", "before-commit", "before-answer"] {
        let dies_at = format!("push.{step}=4*off->return");
        dies_and_mends(&mut world, &mut ledger, &token, &dies_at, false).await;
    }
    for step in ["before-write", "written", "counts", "shown"] {
        for passed in [0, 1, 2, 5] {
            let dies_at = format!("commit.{step}={passed}*off->return");
            dies_and_mends(&mut world, &mut ledger, &token, &dies_at, passed == 5).await;
        }
    }
    assert_all_well(&world, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_dies_at_any_step_of_a_checkpoint_and_a_new_index_has_everything() {
    let mut world = World::new("hs256").await;
    let token = token(&world);
    let mut ledger = Ledger::default();
    for step in ["snapshot", "parts-stored", "described"] {
        for passed in [0, 2] {
            let dies_at = format!("checkpoint.hurry=return;checkpoint.{step}={passed}*off->return");
            dies_and_mends(&mut world, &mut ledger, &token, &dies_at, true).await;
        }
    }
    assert_all_well(&world, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_dies_at_any_step_of_a_collection_and_nothing_that_is_kept_is_lost() {
    const STEPS: [&str; 8] = [
        "before-removing",
        "removed",
        "moved",
        "registered",
        "before-condemning",
        "condemned",
        "before-deleting",
        "deleted",
    ];
    /// With so many small packs they are made one.
    const PACKS: u32 = 10;
    let mut world = World::new("hs256").await;
    let token = token(&world);
    let soon = [
        ("retention: 90d", "retention: 1s"),
        (
            "caches:\n",
            "collect: { settle: 1s, grace: 0s, maxRate: 0 }\ncaches:\n",
        ),
    ];
    let mut ledger = Ledger::default();
    for step in STEPS {
        let gateway = world.serve_with(&soon).await;
        let mut pin = vec![
            "pin".to_owned(),
            "add".to_owned(),
            "main".to_owned(),
            step.to_owned(),
        ];
        for _ in 0..PACKS {
            let (kept, unkept) = (Path::new(ledger.next), Path::new(ledger.next + 1));
            assert!(kept.push(&gateway.url, &token).await && unkept.push(&gateway.url, &token).await);
            ledger.acknowledged.push(ledger.next);
            ledger.next += 2;
            pin.push(kept.hash);
        }
        world.run(&pin.iter().map(String::as_str).collect::<Vec<_>>());
        gateway.terminate();

        world.dies_at = format!("collect.{step}=return");
        let mut gateway = world.serve_with(&soon).await;
        let mut tries = 0;
        while !gateway.is_dead() {
            tries += 1;
            assert!(
                tries < 60,
                "it does not die at {step}; its log:\n{}",
                gateway.said()
            );
            let _ = world.try_run(&["gc"]);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        world.dies_at.clear();
        let gateway = world.serve_with(&soon).await;
        ledger.assert_whole(&gateway, usize::MAX, step).await;
        // The next one goes on, to its end.
        for _ in 0..2 {
            world.run(&["gc"]);
        }
        ledger.assert_whole(&gateway, PACKS as usize, step).await;
        gateway.terminate();
    }
    let gateway = world.serve_with(&soon).await;
    let checked = world.run(&["fsck", "--verify"]);
    assert!(checked.contains("all is well"), "{checked}");
    world.run(&["gc"]);
    ledger.assert_whole(&gateway, usize::MAX, "all").await;
    gateway.terminate();
    world.remove_index();
    let gateway = world.serve_with(&soon).await;
    ledger
        .assert_whole(&gateway, usize::MAX, "all, from the bucket")
        .await;
    gateway.terminate();
}
