//! Members serve each other's clients while any machine is away.

use crate::town::{COORDINATOR, Community, GARAGE, OUTSIDE};

#[test]
fn four_machines_join_by_one_token_at_once_and_serve_nix_while_any_machine_is_unplugged() {
    let Some(community) = Community::with_store() else {
        return;
    };
    let (token, key) = &community.bring_up();

    // What was pushed at one is pulled at the others.
    let first = community.build("first");
    community.push("h2", &first);
    community.pull("h3", key, &first);
    community.pull("h4", key, &first);

    // The one that was pushed to loses its plug.
    community.rig.kill("h2").unwrap();
    community.pull("h3", key, &first);
    let second = community.build("second");
    community.push("h4", &second);
    community.pull("h3", key, &second);
    community.rig.boot("h2").unwrap();
    community.until_whole();
    community.pull("h2", key, &second);

    // The coordinator loses its plug: hosts go on, and one that boots meanwhile comes up by itself.
    community.rig.kill(COORDINATOR).unwrap();
    let third = community.build("third");
    community.push("h2", &third);
    community.rig.kill("h4").unwrap();
    community.rig.boot("h4").unwrap();
    community.pull("h4", key, &third);
    community.rig.boot(COORDINATOR).unwrap();
    community.until_whole();

    // A cable is cut and mended.
    community.rig.cut("h3").unwrap();
    community.pull("h2", key, &first);
    community.rig.heal("h3").unwrap();
    community.until_whole();
    community.pull("h3", key, &third);

    // An agent is restarted, as by an upgrade: Garage goes on.
    let pid = "systemctl show -P MainPID hayloft-garage.service";
    let before = community.sh("h2", pid);
    community.sh("h2", "systemctl restart hayloft-agent");
    community.until_whole();
    assert_eq!(community.sh("h2", pid), before);

    // The token is spent. It is in no process list, unit or journal.
    let join = format!(
        "HAYLOFT_GARAGE={GARAGE} /root/hayloft join - --address h5 --pledge 1Gi --dir /root/h5 <<'EOF'\n{token}\nEOF"
    );
    let refused = community.rig.sh(OUTSIDE, &join);
    assert!(refused.unwrap_err().to_string().contains("spent"));
    let secret_part = token.split('.').nth(1).unwrap();
    for host in [COORDINATOR, "h2"] {
        let shown = community.sh(
            host,
            "journalctl --no-pager; ps axww; cat /etc/systemd/system/hayloft-*",
        );
        assert!(!shown.contains(secret_part), "the token is shown on {host}");
    }
}
