//! Units as a user sees them: real processes that die, hang, change and stop.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails in a test shall fail the test"
)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_agent::cause::Cause;
use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::{Launch, Shim, Spawner};
use hayloft_agent::driver::{Driver, Phase, UnitState, UnitStates};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::reach::Reach;
use hayloft_agent::unit::{Ready, Unit, UnitFile, UnitName};
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::agent::{GarageDesired, HostDesired, HostReport};
use hayloft_api::{Generation, Secret};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Drops `--parent PID --` and becomes the rest, as the real shim does, without binding its life to ours.
fn spawner() -> Spawner {
    let args = ["-c", "shift 3; exec \"$@\"", "shim"]
        .map(OsString::from)
        .to_vec();
    Spawner::start(Shim {
        program: "/bin/sh".into(),
        args,
    })
    .unwrap()
}

fn shell(dir: &Path, script: &str) -> Unit {
    Unit {
        name: UnitName::Garage,
        launch: Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            dir: dir.to_owned(),
        },
        folders: vec![],
        files: vec![],
        sockets: vec![],
        log: dir.join("unit.log"),
        ready: Ready::AtOnce,
        door: None,
        rereads: false,
        grace: Duration::from_millis(500),
        hold: false,
    }
}

async fn until(states: &mut watch::Receiver<UnitStates>, holds: impl Fn(&UnitState) -> bool) -> UnitState {
    let wait = states.wait_for(|states| states.get(&UnitName::Garage).is_some_and(&holds));
    let states = timeout(Duration::from_secs(20), wait)
        .await
        .expect("it never came about")
        .unwrap();
    states[&UnitName::Garage].clone()
}

fn is_running(state: &UnitState) -> bool {
    matches!(state.phase, Phase::Running { .. })
}

fn lives(pid: u32) -> bool {
    // A zombie is not alive.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_unit_that_dies_is_started_again_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver
        .converge(vec![shell(
            dir.path(),
            "echo 'Error: the moon is full' >&2; echo bye; exit 3",
        )])
        .await;
    let state = until(&mut states, |state| state.restarts >= 2).await;
    assert_eq!(
        state.last_error.as_deref(),
        Some("exit code 3; it last said: Error: the moon is full")
    );
    assert!(
        fs::read_to_string(dir.path().join("unit.log"))
            .unwrap()
            .matches("bye")
            .count()
            >= 2
    );
    driver.stop(UnitName::Garage).await;
    assert_eq!(states.borrow()[&UnitName::Garage].phase, Phase::Stopped);
}

#[tokio::test]
async fn a_unit_that_rereads_its_files_is_told_of_new_ones_and_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let script = "trap 'cp conf seen' HUP; touch trapped; while :; do sleep 0.05; done";
    let unit = |content: &str| Unit {
        rereads: true,
        files: vec![UnitFile {
            path: at("conf"),
            content: Zeroizing::new(content.into()),
            significant: Some(Zeroizing::default()),
            seen: at("conf"),
        }],
        ..shell(dir.path(), script)
    };
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver.converge(vec![unit("old")]).await;
    let before = until(&mut states, is_running).await;
    let shows = async |name: &str, content: &str| {
        let shown = async {
            while fs::read_to_string(at(name)).ok().as_deref() != Some(content) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), shown)
            .await
            .expect("it never came about");
    };
    shows("trapped", "").await;
    driver.converge(vec![unit("new")]).await;
    shows("seen", "new").await;
    assert_eq!(states.borrow()[&UnitName::Garage], before);
    driver.stop(UnitName::Garage).await;
}

#[tokio::test]
async fn a_full_disk_is_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver
        .converge(vec![shell(
            dir.path(),
            "echo 'Io(No space left on device (os error 28))' >&2; exit 1",
        )])
        .await;
    let state = until(&mut states, |state| state.restarts >= 1).await;
    assert_eq!(state.cause, Some(Cause::DiskFull));
    assert_eq!(
        state.last_error.as_deref(),
        Some("the disk is full (exit code 1)")
    );
    driver.stop(UnitName::Garage).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut unit = shell(dir.path(), "");
    unit.launch.program = "/nowhere/garage".into();
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver.converge(vec![unit]).await;
    let state = until(&mut states, |state| state.restarts >= 1).await;
    assert!(state.last_error.unwrap().contains("/nowhere/garage"));
    driver.stop(UnitName::Garage).await;
}

#[tokio::test]
async fn only_what_matters_to_a_unit_restarts_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let with_file = |content: &str, significant: &str| {
        let mut unit = shell(dir.path(), "exec sleep 1000");
        unit.files.push(UnitFile {
            path: path.clone(),
            content: Zeroizing::new(content.into()),
            significant: Some(Zeroizing::new(significant.into())),
            seen: path.clone(),
        });
        unit
    };
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver.converge(vec![with_file("a: 1", "a")]).await;
    let first = until(&mut states, is_running).await.phase.pid().unwrap();

    driver.converge(vec![with_file("a: 2", "a")]).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while fs::read_to_string(&path).unwrap() != "a: 2" {
        assert!(tokio::time::Instant::now() < deadline, "the file was not renewed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(states.borrow()[&UnitName::Garage].phase.pid(), Some(first));

    driver.converge(vec![with_file("b: 2", "b")]).await;
    let second = until(&mut states, |state| {
        is_running(state) && state.phase.pid() != Some(first)
    })
    .await;
    assert_eq!(second.restarts, 0, "a wanted restart is no death");
    assert!(!lives(first));
    driver.converge(vec![]).await;
    until(&mut states, |state| state.phase == Phase::Stopped).await;
    assert!(!lives(second.phase.pid().unwrap()));
}

#[tokio::test]
async fn a_unit_that_ignores_sigterm_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let script =
        "trap '' TERM; sleep 1000 & echo $! > child; echo '{\"listening\":\"here\"}'; while :; do wait; done";
    let mut unit = shell(dir.path(), script);
    unit.ready = Ready::SaysListening;
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver.converge(vec![unit]).await;
    let state = until(&mut states, is_running).await;
    assert_eq!(state.listening.as_deref(), Some("here"));
    let grandchild: u32 = fs::read_to_string(dir.path().join("child"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let begun = std::time::Instant::now();
    driver.stop(UnitName::Garage).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(!lives(state.phase.pid().unwrap()));
    // The kernel kills the group; nobody here waits for this one.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while lives(grandchild) {
        assert!(tokio::time::Instant::now() < deadline, "the grandchild survived");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_child_has_no_file_of_ours_and_none_of_our_environment() {
    let dir = tempfile::tempdir().unwrap();
    let _open = fs::File::create(dir.path().join("private")).unwrap();
    let mut driver = ChildDriver::new(spawner(), [1; 32]);
    let mut states = driver.states();
    driver
        .converge(vec![shell(
            dir.path(),
            "ls -l /proc/$$/fd > fds; env > env; exec sleep 1000",
        )])
        .await;
    until(&mut states, is_running).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(dir.path().join("env")).is_ok_and(|env| env.contains("PATH=")) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let fds = fs::read_to_string(dir.path().join("fds")).unwrap();
    assert!(
        !fds.contains("private") && fds.contains("0 -> /dev/null"),
        "{fds}"
    );
    assert!(
        !fs::read_to_string(dir.path().join("env"))
            .unwrap()
            .contains("HOME=")
    );
    driver.stop(UnitName::Garage).await;
}

fn program(path: &Path, script: &str) -> PathBuf {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

fn agent(dir: &Path, garage: PathBuf) -> AgentConfig {
    AgentConfig {
        host: "host-1".parse().unwrap(),
        places: Places {
            dir: dir.join("host-1"),
            admin_socket: dir.join("admin.sock"),
            garage,
            gateway: Program {
                path: "/bin/false".into(),
                args: vec![],
            },
            reach: Reach::Loopback,
        },
        garage_version: "2.5.0".parse().unwrap(),
        gateway_addr: None,
        node_key_seed: [5; 32],
        clock: Clock::new(|| Timestamp::UNIX_EPOCH),
        remembers_promises: true,
        tunnels: None,
    }
}

fn desired(n: u64) -> HostDesired {
    HostDesired {
        generation: Generation {
            epoch: 1,
            instance: "i".into(),
            n,
        },
        host: "host-1".parse().unwrap(),
        garage: Some(GarageDesired {
            replication_factor: 1,
            fsync: false,
            rpc_secret: Secret::new("00"),
            admin_token: Secret::new("00"),
            s3_region: "garage".into(),
            zone: "z".parse().unwrap(),
            rpc_public: None,
            program: None,
            bootstrap_peers: vec![],
        }),
        gateway: None,
        forget: None,
        erase_blocks: false,
        accept_empty_data: false,
        staged: None,
    }
}

#[tokio::test]
async fn a_host_keeps_its_identity_and_boots_without_being_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let garage = program(&dir.path().join("garage"), "exec /bin/sleep 1000");
    let config = agent(dir.path(), garage);
    let first = Agent::start(config.clone(), ChildDriver::new(spawner(), [1; 32]))
        .await
        .unwrap();
    let before = first.report.borrow().clone();
    assert!(
        before.generation.is_none() && before.units.is_empty(),
        "nothing runs before it is told to"
    );
    first.desired.send_replace(Some(desired(1)));
    let mut report = first.report.clone();
    timeout(
        Duration::from_secs(10),
        report.wait_for(|report| report.runs("garage")),
    )
    .await
    .unwrap()
    .unwrap();
    first.stop().await;

    let other_seed = AgentConfig {
        node_key_seed: [6; 32],
        ..config
    };
    let second = Agent::start(other_seed, ChildDriver::new(spawner(), [1; 32]))
        .await
        .unwrap();
    let mut report = second.report.clone();
    let after = timeout(
        Duration::from_secs(10),
        report.wait_for(|report| report.runs("garage")),
    )
    .await
    .unwrap();
    let after = after.unwrap().clone();
    assert_eq!(after.garage_id, before.garage_id);
    assert_eq!(after.rpc_addr, before.rpc_addr, "free ports are taken again");
    assert_eq!(after.generation.map(|generation| generation.n), Some(1));
    second.stop().await;
}

/// What is reported once Garage was started a second time.
async fn runs_again(handle: &AgentHandle) -> HostReport {
    let runs_again = |report: &HostReport| {
        report.unit("garage").is_some_and(|unit| unit.restarts == 1) && report.runs("garage")
    };
    let mut report = handle.report.clone();
    let after = timeout(Duration::from_secs(10), report.wait_for(runs_again))
        .await
        .unwrap();
    after.unwrap().clone()
}

#[tokio::test]
async fn a_taken_port_is_answered_with_other_ports() {
    let dir = tempfile::tempdir().unwrap();
    let garage = program(
        &dir.path().join("garage"),
        "[ -e tried ] && exec /bin/sleep 1000; : > tried; echo 'Error: Address already in use' >&2; exit 1",
    );
    let config = agent(dir.path(), garage);
    let handle = Agent::start(config, ChildDriver::new(spawner(), [1; 32]))
        .await
        .unwrap();
    let before = handle.report.borrow().clone();
    handle.desired.send_replace(Some(desired(1)));
    let after = runs_again(&handle).await;
    assert_ne!((after.rpc_addr, after.s3_addr), (before.rpc_addr, before.s3_addr));
    handle.stop().await;
}

#[tokio::test]
async fn a_garage_that_goes_on_without_its_s3_is_started_again_with_other_ports() {
    let dir = tempfile::tempdir().unwrap();
    let garage = program(
        &dir.path().join("garage"),
        "[ -e tried ] && exec /bin/sleep 1000; : > tried; echo 'ERROR garage::server: S3 API server exited with error: IO error: \
         Address already in use (os error 98)' >&2; exec /bin/sleep 1000",
    );
    let config = agent(dir.path(), garage);
    let handle = Agent::start(config, ChildDriver::new(spawner(), [1; 32]))
        .await
        .unwrap();
    let before = handle.report.borrow().s3_addr.clone();
    handle.desired.send_replace(Some(desired(1)));
    assert_ne!(runs_again(&handle).await.s3_addr, before);
    handle.stop().await;
}

#[tokio::test]
async fn an_older_desired_state_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let garage = program(&dir.path().join("garage"), "exec /bin/sleep 1000");
    let handle = Agent::start(agent(dir.path(), garage), ChildDriver::new(spawner(), [1; 32]))
        .await
        .unwrap();
    let mut report = handle.report.clone();
    handle.desired.send_replace(Some(desired(5)));
    timeout(
        Duration::from_secs(10),
        report.wait_for(|report| report.runs("garage")),
    )
    .await
    .unwrap()
    .unwrap();
    let older = HostDesired {
        garage: None,
        ..desired(4)
    };
    handle.desired.send_replace(Some(older));
    let refused = |report: &HostReport| {
        report.units.iter().any(|unit| {
            unit.last_error
                .as_deref()
                .is_some_and(|error| error.contains("older"))
        })
    };
    let wait = timeout(Duration::from_secs(10), report.wait_for(refused))
        .await
        .unwrap();
    let report = wait.unwrap().clone();
    assert!(report.runs("garage"));
    assert_eq!(report.generation.map(|generation| generation.n), Some(5));
    handle.stop().await;
}
