//! Clocks that are wrong, and certificates that expired while everything was off.

use std::path::Path;

use serde_json::Value;

use crate::town::{COORDINATOR, Community, GARAGE, MEMBERS, condition};

/// The library that shows a program another time, as it lies on machines.
const LIBRARY: &str = "/opt/libfaketime.so.1";
const DROP_IN: &str = "/etc/systemd/system/hayloft-.service.d/clock.conf";

/// What a program is started with to see a clock that is so far off. Durations are not touched.
fn environment(offset: &str) -> String {
    format!("LD_PRELOAD={LIBRARY} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1")
}

impl Community {
    fn with_clocks() -> Option<Self> {
        let community = Self::new()?;
        // Where Debian's package `libfaketime` puts it.
        let library = format!(
            "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
            std::env::consts::ARCH
        );
        for host in MEMBERS.into_iter().chain([COORDINATOR]) {
            community.rig.put(host, Path::new(&library), LIBRARY).unwrap();
        }
        Some(community)
    }

    /// All services of a machine have such a clock when they start next.
    fn note_clock(&self, host: &str, offset: &str) {
        let text = format!("[Service]\nEnvironment={}", environment(offset));
        let folder = Path::new(DROP_IN).parent().unwrap().display();
        self.sh(
            host,
            &format!("mkdir -p {folder} && cat > {DROP_IN} <<'EOF'\n{text}\nEOF"),
        );
    }

    fn restart_services(&self, host: &str) {
        self.sh(
            host,
            "systemctl daemon-reload && systemctl restart 'hayloft-*.service'",
        );
    }
}

#[test]
fn a_machine_whose_clock_is_wrong_is_not_let_in_and_one_whose_clock_goes_wrong_later_is_named() {
    let Some(community) = Community::with_clocks() else {
        return;
    };
    let token = community.found();
    community.sh(
        "h4",
        &format!("umask 077; cat > /root/token <<'EOF'\n{token}\nEOF\nHAYLOFT_GARAGE={GARAGE} /root/hayloft agent install --systemd"),
    );
    let join = format!(
        "{} HAYLOFT_GARAGE={GARAGE} hayloft join /root/token --address h4 --pledge 1Gi --roles storage,gateway",
        environment("-10m")
    );
    let refused = community.rig.sh("h4", &join).unwrap_err().to_string();
    assert!(
        refused.contains("s behind the coordinator's") && refused.contains("timedatectl set-ntp true"),
        "{refused}"
    );
    community.join_all(&token);
    community.until_whole();
    let tokens: Value =
        serde_json::from_str(&community.sh(COORDINATOR, "hayloft token list -o json")).unwrap();
    assert_eq!(tokens[0]["used"], MEMBERS.len(), "{tokens}");
    let key = &community.let_clients_in();

    community.note_clock("h4", "+10m");
    community.restart_services("h4");
    community.until(|status| {
        condition(status, "ClocksAgree").is_some_and(|clocks| {
            let message = clocks["message"].as_str().unwrap_or_default();
            clocks["status"] == false && message.contains("the clock of h4 is") && message.contains("s ahead")
        })
    });
    // It goes on, and so do the others.
    community.until_whole();
    for (pushed, pulled) in [("h4", "h2"), ("h2", "h4")] {
        let path = community.build(&format!("from-{pushed}"));
        community.push(pushed, &path);
        community.pull(pulled, key, &path);
    }
    community.sh("h4", &format!("rm {DROP_IN}"));
    community.restart_services("h4");
    community.until(|status| {
        let fit = |kind| condition(status, kind).is_some_and(|condition| condition["status"] == true);
        fit("ClocksAgree") && fit("HostsUp")
    });
    community.until_whole();
    let last = community.build("last");
    community.push("h4", &last);
    community.pull("h3", key, &last);
}

#[test]
fn machines_that_were_off_until_all_certificates_had_expired_find_each_other_again() {
    let Some(community) = Community::with_clocks() else {
        return;
    };
    let (_, key) = &community.bring_up();
    let before = community.build("before");
    community.push("h2", &before);
    let all = || MEMBERS.into_iter().chain([COORDINATOR]);
    for host in all() {
        // Certificates last for a week.
        community.note_clock(host, "+60d");
        community.rig.kill(host).unwrap();
    }
    // All at once: no gateway is ready before the second Garage.
    std::thread::scope(|scope| {
        for host in all() {
            let rig = &community.rig;
            scope.spawn(move || rig.boot(host).unwrap());
        }
    });
    community.until_whole();
    for gateway in MEMBERS {
        community.pull(gateway, key, &before);
        let renewed = "journalctl --no-pager -u hayloft-agent -b";
        community
            .rig
            .until(gateway, renewed, |journal| {
                journal.contains("certificate is renewed")
            })
            .unwrap();
    }
    let after = community.build("after");
    community.push("h3", &after);
    community.pull("h4", key, &after);
}
