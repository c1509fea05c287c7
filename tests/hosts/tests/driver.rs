//! The systemd driver on a real systemd.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall fail the test")]

use std::path::{Path, PathBuf};

use hayloft_hosts::Rig;

const HOST: &str = "h1";
const GARAGE: &str = "/opt/garage-2.5.0/garage";
const DIR: &str = "/var/lib/hayloft/agent";

struct Bed {
    rig: Rig,
}

impl Bed {
    fn new() -> Option<Self> {
        let rig = Rig::up(1).unwrap()?;
        rig.put(HOST, &hayloft_garage_fixture::program().unwrap(), GARAGE)
            .unwrap();
        rig.put(HOST, agent_program(), "/opt/agent").unwrap();
        // What `hayloft agent install` makes.
        rig.sh(
            HOST,
            "useradd --system hayloft-garage && useradd --system hayloft-gateway && \
             mkdir -p /var/lib/hayloft && install -d -m 0700 /var/lib/hayloft/agent",
        )
        .unwrap();
        Some(Self { rig })
    }

    /// Starts an agent, under another name each time: it is gone when it ended.
    fn start_agent(&self, program: &str, generation: u64, region: &str, garage: &str) {
        self.rig
            .sh(
                HOST,
                &format!(
                    "systemctl stop 'test-agent-*'; rm -f /run/report.json; systemd-run -q --unit=test-agent-{generation} {program} \
                     --dir {DIR} --garage {garage} --generation {generation} --region {region} --report /run/report.json"
                ),
            )
            .unwrap();
    }

    fn until_reported(&self, what: &str) -> String {
        self.rig
            .until(HOST, "cat /run/report.json", |text| text.contains(what))
            .unwrap()
    }

    fn until_running(&self) -> String {
        self.until_reported("\"is\":\"running\"");
        self.pid()
    }

    fn property(&self, name: &str) -> String {
        let command = format!("systemctl show -P {name} hayloft-garage.service");
        self.rig.sh(HOST, &command).unwrap().trim().to_owned()
    }

    fn pid(&self) -> String {
        self.property("MainPID")
    }

    /// Garage's admin API answers, whatever it says of a node without a layout.
    fn until_answering(&self) {
        let ask = "curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/hayloft-garage/admin.sock http://garage/health";
        self.rig
            .until(HOST, ask, |code| code.len() == 3 && code != "000")
            .unwrap();
    }
}

fn agent_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hosts-agent"))
}

#[test]
fn garage_runs_closed_off_and_survives_its_agents_death_and_upgrade_and_a_reboot() {
    let Some(bed) = Bed::new() else { return };
    bed.start_agent("/opt/agent", 1, "garage", GARAGE);
    let first = bed.until_running();
    bed.until_answering();

    // As a user of its own, which sees its own folders of the agent's and nothing else.
    let user = bed.rig.sh(HOST, &format!("ps -o user:20= -p {first}")).unwrap();
    assert_eq!(user.trim(), "hayloft-garage");
    bed.rig
        .sh(
            HOST,
            &format!("echo hush > {DIR}/host.key && chmod 600 {DIR}/host.key"),
        )
        .unwrap();
    let inside = bed
        .rig
        .sh(HOST, &format!("nsenter -t {first} -m ls {DIR}"))
        .unwrap();
    let mut inside: Vec<_> = inside.lines().collect();
    inside.sort_unstable();
    assert_eq!(inside, ["data", "meta", "snapshots"]);
    // No secret is on its command line, in its environment or where others can read.
    let shown = bed
        .rig
        .sh(
            HOST,
            &format!(
                "cat /proc/{first}/cmdline /proc/{first}/environ /etc/systemd/system/hayloft-garage.service"
            ),
        )
        .unwrap();
    assert!(!shown.contains(&"ab".repeat(32)) && !shown.contains(&"cd".repeat(32)));

    // The agent is killed, and another build of it takes over.
    bed.rig.sh(HOST, "systemctl kill -s KILL test-agent-1").unwrap();
    bed.rig
        .sh(HOST, "cp /opt/agent /opt/agent-2 && rm /opt/agent")
        .unwrap();
    bed.start_agent("/opt/agent-2", 2, "garage", GARAGE);
    bed.until_reported("\"n\":2");
    assert_eq!(bed.until_running(), first);

    // What asks for a restart makes one.
    let restarts = "journalctl --no-pager -o cat -u hayloft-garage | grep -c '^Started'";
    let before: u32 = bed.rig.sh(HOST, restarts).unwrap().trim().parse().unwrap();
    bed.start_agent("/opt/agent-2", 3, "elsewhere", GARAGE);
    bed.until_reported("\"n\":3");
    bed.rig
        .until(HOST, "systemctl show -P MainPID hayloft-garage.service", |pid| {
            pid.trim() != first && pid.trim() != "0"
        })
        .unwrap();
    bed.until_answering();
    let second = bed.until_running();
    let after: u32 = bed.rig.sh(HOST, restarts).unwrap().trim().parse().unwrap();
    assert_eq!((after, second != first), (before + 1, true));

    // It dies, and is started again; the death is told.
    bed.rig.sh(HOST, &format!("kill -KILL {second}")).unwrap();
    bed.until_reported("killed by signal 9");
    bed.until_running();

    // The plug is pulled. After the boot Garage runs without an agent, let alone a coordinator.
    bed.rig.kill(HOST).unwrap();
    bed.rig.boot(HOST).unwrap();
    bed.until_answering();
    let booted = bed.pid();
    assert!(bed.rig.sh(HOST, "pgrep -f '[a]gent-2'").is_err(), "no agent runs");
    // And the agent that comes later finds it as it is.
    bed.start_agent("/opt/agent-2", 4, "elsewhere", GARAGE);
    bed.until_reported("\"n\":4");
    assert_eq!(bed.until_running(), booted);
    assert_eq!(bed.property("NRestarts"), "0");
}

#[test]
fn the_agent_is_installed_once_and_leaves_its_data_when_it_is_taken_away() {
    let Some(program) = hayloft() else { return };
    let Some(bed) = Bed::new() else { return };
    bed.rig.put(HOST, &program, "/root/hayloft").unwrap();
    let install = format!("HAYLOFT_GARAGE={GARAGE} /root/hayloft agent install --systemd");
    let first = bed.rig.sh(HOST, &install).unwrap();
    assert!(first.contains("new") && first.contains("hayloft join"), "{first}");
    let again = bed.rig.sh(HOST, &install).unwrap();
    assert!(!again.contains("new ") && !again.contains("changed"), "{again}");
    bed.rig
        .sh(
            HOST,
            "systemd-analyze verify /etc/systemd/system/hayloft-agent.service",
        )
        .unwrap();
    let enabled = bed.rig.sh(HOST, "systemctl is-enabled hayloft-agent").unwrap();
    assert_eq!(enabled.trim(), "enabled");
    bed.start_agent("/opt/agent", 1, "garage", GARAGE);
    bed.until_running();
    bed.rig.sh(HOST, "systemctl stop test-agent-1").unwrap();
    let gone = bed
        .rig
        .sh(HOST, "/usr/local/bin/hayloft agent uninstall")
        .unwrap();
    assert!(gone.contains(DIR), "{gone}");
    let left = bed
        .rig
        .sh(HOST, "systemctl list-unit-files --no-legend 'hayloft-*' | wc -l")
        .unwrap();
    assert_eq!(left.trim(), "0");
    assert!(bed.rig.sh(HOST, "pgrep garage").is_err(), "Garage is stopped");
    bed.rig
        .sh(
            HOST,
            &format!("test -e {DIR}/meta/node_key && test -d {DIR}/data"),
        )
        .unwrap();
}

/// The released binary, as people run it.
#[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
fn hayloft() -> Option<PathBuf> {
    std::env::var_os("HAYLOFT_BIN").map(PathBuf::from)
}
