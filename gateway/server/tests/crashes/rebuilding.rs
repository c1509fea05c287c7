//! `rebuild` that is killed or told to stop, and run again.

use std::fs;
use std::path::Path as FilePath;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hayloft_index::synthetic::rows;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::program::World;
use crate::support::wares::{Path, Pulled, token};

/// What it says while it follows the log.
const UNDER_WAY: &str = "following the log applied=";

/// Begins to make the index again, slowly.
fn begin(world: &World, config: &FilePath, log: &FilePath, flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hayloft-gateway"))
        .arg("rebuild")
        .args(flags)
        .arg("--config")
        .arg(config)
        .env("FAILPOINTS", "follow.applied=sleep(100)")
        .current_dir(world.dir.path())
        .stdout(Stdio::null())
        .stderr(fs::File::create(log).unwrap())
        .spawn()
        .unwrap()
}

/// Waits until it says how far it is, which it does every second.
async fn is_under_way(log: &FilePath) {
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(log).unwrap().contains(UNDER_WAY) {
        assert!(Instant::now() < until, "{}", fs::read_to_string(log).unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many objects it says it has followed.
fn followed(log: &str) -> Option<u64> {
    let (_, after) = log.split_once("followed the log objects=")?;
    after.split_whitespace().next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_or_stopped_goes_on_and_ends_with_the_index_of_an_untouched_one() {
    let world = World::new("hs256").await;
    let token = token(&world);
    let gateway = world.serve().await;
    let paths: Vec<Path> = (0..40).map(Path::new).collect();
    for path in &paths {
        assert!(path.push(&gateway.url, &token).await);
    }
    gateway.terminate();
    for flags in [&[][..], &["--from-log"][..]] {
        let state = |name: &str| world.dir.path().join(format!("{name}{}", flags.len()));
        let config = |name: &str| {
            let config = world.changed(&[("/state\n", &format!("/{name}{}\n", flags.len()))]);
            let own = world.dir.path().join(format!("{name}{}.yaml", flags.len()));
            fs::copy(config, &own).unwrap();
            own
        };
        let log = world.dir.path().join("rebuild.log");
        let untouched = config("untouched");
        assert!(begin(&world, &untouched, &log, flags).wait().unwrap().success());
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains(UNDER_WAY), "{said}");
        let all = followed(&said).unwrap();

        let touched = config("touched");
        let mut endings = [Signal::KILL, Signal::INT, Signal::KILL].into_iter();
        let last = loop {
            let mut child = begin(&world, &touched, &log, flags);
            let Some(signal) = endings.next() else {
                assert!(child.wait().unwrap().success());
                break fs::read_to_string(&log).unwrap();
            };
            is_under_way(&log).await;
            kill_process(Pid::from_child(&child), signal).unwrap();
            let begun = Instant::now();
            assert!(!child.wait().unwrap().success(), "it came to its end too soon");
            assert!(begun.elapsed() < Duration::from_secs(5));
            if signal == Signal::INT {
                let said = fs::read_to_string(&log).unwrap();
                assert!(said.contains("the same command goes on from there"), "{said}");
            }
        };
        let rest = followed(&last).unwrap();
        assert!(rest < all, "{rest} of {all} were left for the last");
        let index = |name: &str| state(name).join("index.sqlite");
        assert_eq!(
            rows(&index("touched")).await.unwrap(),
            rows(&index("untouched")).await.unwrap()
        );
    }
    let gateway = world.serve_with(&[("/state\n", "/touched0\n")]).await;
    for path in &paths {
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    gateway.terminate();
}
