//! Another Garage is installed on all machines.

use std::time::{Duration, Instant};

use crate::town::{Community, MEMBERS, condition};

/// Three machines, each on trial for twenty seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// Installs a Garage of this version that is this script.
fn install(community: &Community, host: &str, version: &str, script: &str) {
    community.sh(
        host,
        &format!(
            "mkdir -p /opt/garage-{version} && cat > /opt/garage-{version}/garage <<'EOF'\n#!/bin/sh\n\
             [ \"$1\" = --version ] && {{ echo 'garage v{version}'; exit; }}\n{script}\nEOF\n\
             chmod 755 /opt/garage-{version}/garage && \
             HAYLOFT_GARAGE=/opt/garage-{version}/garage hayloft agent install --systemd"
        ),
    );
}

fn garage(community: &Community, host: &str, property: &str) -> String {
    let command = format!("systemctl show --timestamp=unix -P {property} hayloft-garage.service");
    community.sh(host, &command).trim().to_owned()
}

#[test]
fn garage_is_upgraded_machine_by_machine_while_clients_push_and_pull_and_a_bad_one_gets_no_further_than_one()
{
    let Some(community) = Community::new() else { return };
    let (_, key) = &community.bring_up();
    let first = community.build("first");
    community.push("h2", &first);

    // The same program, which says that it is a newer one.
    for host in MEMBERS {
        install(
            &community,
            host,
            "2.5.9",
            "exec /usr/local/lib/hayloft/garage-2.5.0/garage \"$@\"",
        );
    }
    let mut rounds = 0;
    let began = Instant::now();
    let runs = |host: &&str| garage(&community, host, "ExecStart").contains("garage-2.5.9");
    while !MEMBERS.iter().all(runs) {
        rounds += 1;
        assert!(
            began.elapsed() < PATIENCE,
            "{}",
            community.sh("h1", "hayloft status")
        );
        let gateway = MEMBERS[rounds % MEMBERS.len()];
        let path = community.build(&format!("while-{rounds}"));
        community.push(gateway, &path);
        community.pull(MEMBERS[(rounds + 1) % MEMBERS.len()], key, &path);
    }
    community.until(|status| {
        let fit = |kind| condition(status, kind).is_some_and(|condition| condition["status"] == true);
        fit("Converged") && fit("GarageFit") && fit("HostsUp")
    });
    // Each had proven itself before the next was started.
    let mut started: Vec<u64> = MEMBERS
        .iter()
        .map(|host| garage(&community, host, "ExecMainStartTimestamp"))
        .map(|at| at.trim_start_matches('@').parse().unwrap())
        .collect();
    started.sort_unstable();
    for pair in started.windows(2) {
        assert!(pair[1] - pair[0] >= 19, "{started:?}");
    }

    // One that does not come up: the first machine goes back, and the others are left alone.
    let before: Vec<String> = MEMBERS
        .iter()
        .map(|host| garage(&community, host, "MainPID"))
        .collect();
    for host in MEMBERS {
        install(&community, host, "2.6.0", "echo no such luck >&2; exit 1");
    }
    community.until(|status| {
        let fit = condition(status, "GarageFit");
        fit.is_some_and(|fit| {
            let message = fit["message"].as_str().unwrap_or_default();
            fit["status"] == false && message.contains("Garage 2.6.0 did not come up on h2")
        })
    });
    community.until(|status| condition(status, "HostsUp").is_some_and(|up| up["status"] == true));
    assert!(garage(&community, "h2", "ExecStart").contains("garage-2.5.9"));
    for (host, before) in MEMBERS.iter().zip(before).skip(1) {
        assert_eq!(
            garage(&community, host, "MainPID"),
            before,
            "{host} was restarted"
        );
    }
    community.pull("h3", key, &first);
}
