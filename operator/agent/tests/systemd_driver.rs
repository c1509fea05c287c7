//! The systemd driver before a stand-in for `systemctl`, which keeps the states of services in files. On real systemd it is tested
//! by the crate of tests on real hosts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_agent::cause::Cause;
use hayloft_agent::child::spawn::Launch;
use hayloft_agent::driver::{Driver, Phase, UnitState, UnitStates};
use hayloft_agent::files::Owner;
use hayloft_agent::systemd::{Account, SystemdConfig, SystemdDriver};
use hayloft_agent::unit::{Ready, Unit, UnitFile, UnitName};
use hayloft_api::agent::ProgramStanding;
use tempfile::TempDir;
use tokio::sync::watch;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(20);

/// Starting makes a process: a number, with an environment as the unit file says.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
line="$*"
for service; do :; done
case $1 in
  show)
    for s in hayloft-garage.service hayloft-gateway.service; do
      echo "Id=$s"
      cat "state/$s" 2>/dev/null || echo "ActiveState=inactive"
      [ -e "enabled/$s" ] && echo "UnitFileState=enabled"
      echo
    done
    exit 0;;
  start|restart)
    n=$(($(cat count 2>/dev/null || echo 0) + 1)); echo $n > count
    mkdir -p "proc/$n"
    sed -n 's/^Environment=\(HAYLOFT_UNIT=.*\)/\1/p' "units/$service" | tr '\n' '\0' > "proc/$n/environ"
    printf 'ActiveState=active\nSubState=running\nMainPID=%s\nInvocationID=life-%s\nNRestarts=0\n' $n $n > new
    mv new "state/$service";;
  stop) rm -f "state/${service%.socket}" "state/$service";;
  enable) shift; for s; do [ -e "units/$s" ] && touch "enabled/$s"; done;;
  disable) shift; for s; do rm -f "enabled/$s"; done;;
esac
echo "$line" >> log
exit 0
"#;

const JOURNALCTL: &str =
    "#!/bin/sh\necho 'starting'\necho 'Error: Address already in use (os error 98)'\necho 'bye'\n";

struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for folder in ["units", "state", "enabled", "proc", "agent"] {
            fs::create_dir(host.at(folder)).unwrap();
        }
        for (name, text) in [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
            fs::write(host.at(name), text).unwrap();
            fs::set_permissions(host.at(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        host
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn driver(&self) -> SystemdDriver {
        let account = |name: UnitName| Account {
            name: Account::name_for(name),
            owner: Owner {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            },
        };
        SystemdDriver::new(SystemdConfig {
            systemctl: self.at("systemctl"),
            journalctl: self.at("journalctl"),
            units: self.at("units"),
            proc: self.at("proc"),
            accounts: UnitName::ALL.map(|name| (name, account(name))).into(),
            program: "/nowhere/hayloft".into(),
            seed: [1; 32],
        })
    }

    /// What systemd was told, without questions.
    fn told(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn set_state(&self, service: &str, text: &str) {
        fs::write(self.at("new-state"), text).unwrap();
        fs::rename(self.at("new-state"), self.at("state").join(service)).unwrap();
    }

    fn garage(&self, secret: &str) -> Unit {
        let dir = self.at("agent");
        let file = |name: &str, content: &str| UnitFile {
            path: dir.join(name),
            content: Zeroizing::new(content.into()),
            significant: None,
            seen: Path::new("/run/credentials/hayloft-garage.service").join(name),
        };
        Unit {
            name: UnitName::Garage,
            launch: Launch {
                program: "/opt/garage".into(),
                args: vec!["server".into()],
                env: Vec::new(),
                dir: dir.clone(),
            },
            folders: vec![dir.join("meta"), dir.join("data")],
            files: vec![file("rpc-secret", secret)],
            sockets: Vec::new(),
            log: dir.join("logs/garage.log"),
            ready: Ready::AtOnce,
            door: None,
            rereads: false,
            grace: Duration::from_secs(1),
            hold: false,
        }
    }

    fn gateway(&self, config: &str) -> Unit {
        let folder = self.at("agent/gateway");
        let path = folder.join("gateway.yaml");
        Unit {
            name: UnitName::Gateway,
            folders: vec![folder],
            files: vec![UnitFile {
                seen: path.clone(),
                path,
                content: Zeroizing::new(config.into()),
                significant: Some(Zeroizing::default()),
            }],
            ready: Ready::SaysListening,
            door: Some("127.0.0.1:8080".to_owned()),
            rereads: true,
            ..self.garage("")
        }
    }
}

async fn until(
    states: &mut watch::Receiver<UnitStates>,
    name: UnitName,
    fits: impl Fn(&UnitState) -> bool,
) -> UnitState {
    let came = async {
        let found = states.wait_for(|states| states.get(&name).is_some_and(&fits));
        found.await.unwrap()[&name].clone()
    };
    if let Ok(state) = tokio::time::timeout(PATIENCE, came).await {
        return state;
    }
    panic!("{name} did not come to that state: {:?}", states.borrow());
}

fn runs(state: &UnitState) -> bool {
    matches!(state.phase, Phase::Running { .. })
}

async fn until_told(host: &Host, fits: impl Fn(&str) -> bool) {
    let found = async {
        while !fits(&host.told()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, found).await;
    assert!(came.is_ok(), "told only: {}", host.told());
}

fn times(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.contains(what)).count()
}

#[tokio::test]
async fn on_a_fresh_host_units_are_laid_down_enabled_and_started() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver
        .converge(vec![host.garage("hush"), host.gateway("a: 1")])
        .await;
    until(&mut states, UnitName::Garage, runs).await;
    let gateway = until(&mut states, UnitName::Gateway, runs).await;
    assert_eq!(gateway.listening.as_deref(), Some("127.0.0.1:8080"));
    assert_eq!(
        host.told(),
        "daemon-reload\nenable --quiet hayloft-garage.service\nstart --no-block hayloft-garage.service\n\
         daemon-reload\nenable --quiet hayloft-gateway.service hayloft-gateway.socket\n\
         start --no-block hayloft-gateway.service\n"
    );
    let secret = fs::metadata(host.at("agent/rpc-secret")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    let data = fs::metadata(host.at("agent/data")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn the_next_agent_finds_its_units_running_and_leaves_them_alone() {
    let host = Host::new();
    let units = || vec![host.garage("hush"), host.gateway("a: 1")];
    let mut first = host.driver();
    let mut states = first.states();
    first.converge(units()).await;
    until(&mut states, UnitName::Gateway, runs).await;
    // It has seen, and noted, that the gateway read its files.
    let noted = async {
        while !host.at("agent/gateway.read").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("it is noted");
    drop(first);
    let before = host.told();
    let mut second = host.driver();
    let mut states = second.states();
    second.converge(units()).await;
    let garage = until(&mut states, UnitName::Garage, runs).await;
    until(&mut states, UnitName::Gateway, runs).await;
    assert_eq!(garage.phase.pid(), Some(1));
    assert_eq!(host.told(), before);
}

#[tokio::test]
async fn another_secret_restarts_a_unit_once_and_the_other_one_not() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver
        .converge(vec![host.garage("hush"), host.gateway("a: 1")])
        .await;
    until(&mut states, UnitName::Gateway, runs).await;
    driver
        .converge(vec![host.garage("other"), host.gateway("a: 1")])
        .await;
    until(&mut states, UnitName::Garage, |state| {
        state.phase.pid() == Some(3)
    })
    .await;
    // A look later nothing more has been done.
    driver
        .converge(vec![host.garage("other"), host.gateway("a: 1")])
        .await;
    driver.stop(UnitName::Gateway).await;
    assert_eq!(times(&host.told(), "restart"), 1);
    assert_eq!(fs::read(host.at("agent/rpc-secret")).unwrap(), b"other");
}

#[tokio::test]
async fn a_gateway_is_told_once_of_files_that_it_reads_while_it_runs() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver.converge(vec![host.gateway("a: 1")]).await;
    until(&mut states, UnitName::Gateway, runs).await;
    driver.converge(vec![host.gateway("a: 2")]).await;
    until_told(&host, |told| told.contains("--signal=HUP")).await;
    drop(driver);
    let mut next = host.driver();
    let mut states = next.states();
    next.converge(vec![host.gateway("a: 2")]).await;
    until(&mut states, UnitName::Gateway, runs).await;
    assert_eq!(times(&host.told(), "HUP"), 1);
    assert_eq!(times(&host.told(), "start"), 1);
    assert_eq!(fs::read(host.at("agent/gateway/gateway.yaml")).unwrap(), b"a: 2");
}

#[tokio::test]
async fn a_gateway_that_waits_with_former_files_is_started_anew() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver.converge(vec![host.gateway("a: 1")]).await;
    until(&mut states, UnitName::Gateway, runs).await;
    host.set_state(
        "hayloft-gateway.service",
        "ActiveState=activating\nSubState=start\nMainPID=1\nInvocationID=by-itself\nNRestarts=1\n",
    );
    driver.converge(vec![host.gateway("a: 1")]).await;
    until(&mut states, UnitName::Gateway, |state| !runs(state)).await;
    assert_eq!(times(&host.told(), "restart"), 0);
    driver.converge(vec![host.gateway("a: 2")]).await;
    until_told(&host, |told| told.contains("restart")).await;
}

#[tokio::test]
async fn a_death_is_reported_with_the_cause_that_the_journal_names() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver.converge(vec![host.garage("hush")]).await;
    until(&mut states, UnitName::Garage, runs).await;
    host.set_state(
        "hayloft-garage.service",
        "ActiveState=activating\nSubState=auto-restart\nResult=exit-code\nExecMainCode=1\nExecMainStatus=1\n\
         InvocationID=life-1\nNRestarts=0\nRestartUSecNext=1.5s\n",
    );
    let state = until(&mut states, UnitName::Garage, |state| state.restarts == 1).await;
    assert_eq!(
        state.phase,
        Phase::BackingOff {
            wait: Duration::from_millis(1500)
        }
    );
    assert_eq!(state.cause, Some(Cause::PortInUse));
    assert_eq!(
        state.last_error.as_deref(),
        Some("a port it needs is taken (exit code 1)")
    );
    // systemd starts it again by itself.
    assert_eq!(times(&host.told(), "start"), 1);
}

#[tokio::test]
async fn a_unit_that_shall_not_be_is_removed_and_its_data_stay() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver
        .converge(vec![host.garage("hush"), host.gateway("a: 1")])
        .await;
    until(&mut states, UnitName::Gateway, runs).await;
    driver.converge(vec![host.garage("hush")]).await;
    until(&mut states, UnitName::Gateway, |state| {
        state.phase == Phase::Stopped
    })
    .await;
    let left: Vec<_> = fs::read_dir(host.at("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["hayloft-garage.service"]);
    assert!(host.at("agent/gateway/gateway.yaml").exists());
    assert!(!host.at("enabled/hayloft-gateway.service").exists());
}

#[tokio::test]
async fn a_unit_stopped_by_the_agent_does_not_come_back_by_a_reboot_but_by_the_next_wish() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    driver.converge(vec![host.garage("hush")]).await;
    until(&mut states, UnitName::Garage, runs).await;
    driver.stop(UnitName::Garage).await;
    assert_eq!(states.borrow()[&UnitName::Garage].phase, Phase::Stopped);
    assert!(!host.at("state/hayloft-garage.service").exists());
    assert!(!host.at("enabled/hayloft-garage.service").exists());
    driver.converge(vec![host.garage("hush")]).await;
    until(&mut states, UnitName::Garage, runs).await;
    assert!(host.at("enabled/hayloft-garage.service").exists());
}

#[tokio::test]
async fn what_systemd_cannot_run_is_said_in_a_sentence() {
    let host = Host::new();
    let mut driver = host.driver();
    let mut states = driver.states();
    let mut unit = host.garage("hush");
    unit.launch.program = "/opt/my programs/garage".into();
    driver.converge(vec![unit]).await;
    let state = until(&mut states, UnitName::Garage, |state| state.last_error.is_some()).await;
    assert!(matches!(state.phase, Phase::BackingOff { .. }));
    assert!(state.last_error.unwrap().contains("my programs"));
    assert_eq!(host.told(), "");
}

#[tokio::test]
async fn another_program_waits_for_leave_while_the_former_one_is_there() {
    let host = Host::new();
    let former = host.at("garage-old");
    fs::write(&former, "").unwrap();
    let known = format!(r#"{{"good":{{"path":{former:?},"stamp":null}},"refused":null}}"#);
    fs::write(host.at("agent/garage.programs"), known).unwrap();
    let mut unit = host.garage("hush");
    unit.launch.program = "/opt/garage-new".into();
    unit.hold = true;
    let names = |program: &Path| {
        let text = fs::read_to_string(host.at("units/hayloft-garage.service")).unwrap_or_default();
        text.contains(&format!("ExecStart={} ", program.display()))
    };
    let standing = |state: &UnitState| state.other.as_ref().map(|other| other.standing);
    let mut driver = host.driver();
    let mut states = driver.states();
    driver.converge(vec![unit.clone()]).await;
    let state = until(&mut states, UnitName::Garage, runs).await;
    assert!(names(&former));
    assert_eq!(standing(&state), Some(ProgramStanding::Held));
    unit.hold = false;
    driver.converge(vec![unit.clone()]).await;
    let tried = |state: &UnitState| standing(state) == Some(ProgramStanding::Trying);
    until(&mut states, UnitName::Garage, tried).await;
    until_told(&host, |told| {
        told.contains("restart --no-block hayloft-garage.service")
    })
    .await;
    assert!(names(Path::new("/opt/garage-new")));
    // Where the former one is gone, there is nothing to wait with.
    drop(driver);
    fs::remove_file(&former).unwrap();
    unit.launch.program = "/opt/garage-newer".into();
    unit.hold = true;
    let mut next = host.driver();
    let mut states = next.states();
    next.converge(vec![unit]).await;
    until(&mut states, UnitName::Garage, runs).await;
    assert!(names(Path::new("/opt/garage-newer")));
}

#[tokio::test]
async fn a_program_that_does_not_come_up_is_put_away_for_the_former_one() {
    let host = Host::new();
    let known = r#"{"good":{"path":"/opt/garage","stamp":null},"refused":null}"#;
    fs::write(host.at("agent/garage.programs"), known).unwrap();
    let service = "hayloft-garage.service";
    let mut unit = host.garage("hush");
    unit.launch.program = "/opt/garage-new".into();
    let names = |program: &str| {
        let text = fs::read_to_string(host.at("units").join(service)).unwrap_or_default();
        text.contains(&format!("ExecStart={program} "))
    };
    let mut driver = host.driver();
    let mut states = driver.states();
    driver.converge(vec![unit.clone()]).await;
    until(&mut states, UnitName::Garage, runs).await;
    assert!(names("/opt/garage-new"));
    for deaths in 0..2 {
        host.set_state(
            service,
            &format!(
                "ActiveState=activating\nSubState=auto-restart\nInvocationID=x{deaths}\nNRestarts={deaths}\n"
            ),
        );
        driver.converge(vec![unit.clone()]).await;
        until(&mut states, UnitName::Garage, |state| {
            state.restarts == deaths + 1
        })
        .await;
    }
    let state = until(&mut states, UnitName::Garage, runs).await;
    assert!(names("/opt/garage"), "the former one is back");
    let said = state.last_error.unwrap();
    assert!(said.contains("/opt/garage-new did not come up"), "{said}");
    // The next agent knows.
    drop(driver);
    let before = host.told();
    let mut next = host.driver();
    let mut states = next.states();
    next.converge(vec![unit]).await;
    until(&mut states, UnitName::Garage, runs).await;
    assert_eq!(host.told(), before);
}
