//! Cables that are cut under load, plugs that are pulled in the middle of things, a disk that fills, a coordinator's machine that is
//! lost.

use serde_json::Value;

use crate::town::{
    COORDINATOR, Community, GARAGE, MEMBERS, OUTSIDE, PATIENCE, condition, gateways, is_whole,
};

/// Pushes small paths one after the other, each at the first gateway that takes it, and writes down what was acknowledged. It ends by
/// itself.
const LOAD: &str = r#"
i=0
while [ ! -e /root/stop ] && [ $i -lt 300 ]; do
  i=$((i + 1))
  head -c 20000 /dev/urandom > /root/load-$i
  path=$(nix-store --add /root/load-$i)
  rm -f /root/load-$i
  for gateway in h2 h3 h4; do
    if timeout 10 /root/hayloft push --server http://$gateway:8080 --token-file /root/client-token --cache main $path
    then echo $path >> /root/acked; echo "$(date +%T) taken at $gateway"; break
    else echo "$(date +%T) not taken at $gateway"
    fi
  done
done
touch /root/load-over
"#;

impl Community {
    fn acked(&self) -> usize {
        self.sh(OUTSIDE, "wc -l < /root/acked").trim().parse().unwrap()
    }

    /// Lets clients go on until so many more pushes are acknowledged.
    fn until_more_acked(&self, more: usize) {
        let wanted = self.acked() + more;
        let taken = self
            .rig
            .until_within(PATIENCE, OUTSIDE, "wc -l < /root/acked", |count| {
                count.trim().parse::<usize>().unwrap_or(0) >= wanted
            });
        let log = "tail -n 40 /root/load.log";
        assert!(
            taken.is_ok(),
            "pushes are not taken: {:?}",
            self.rig.sh(OUTSIDE, log)
        );
    }

    /// Every gateway has every path that was acknowledged.
    fn all_acked_are_everywhere(&self) {
        for gateway in MEMBERS {
            let missing = format!(
                "for path in $(cat /root/acked); do hash=$(basename $path | cut -d- -f1); \
                 curl -sf --max-time 20 -o /dev/null http://{gateway}:8080/main/$hash.narinfo || echo $path; done"
            );
            self.rig
                .until(OUTSIDE, &missing, |missing| missing.trim().is_empty())
                .unwrap();
        }
    }
}

#[test]
fn no_acknowledged_path_is_lost_when_cables_are_cut_in_turn_under_load() {
    let Some(community) = Community::new() else { return };
    let (_, key) = &community.bring_up();
    community.sh(
        OUTSIDE,
        &format!(": > /root/acked; cat > /root/load.sh <<'EOF'\n{LOAD}EOF"),
    );
    community.sh(
        OUTSIDE,
        "setsid nohup sh /root/load.sh > /root/load.log 2>&1 < /dev/null &",
    );
    community.until_more_acked(3);
    for host in MEMBERS {
        community.rig.cut(host).unwrap();
        // The others go on taking pushes, whichever it is that is cut off.
        community.until_more_acked(3);
        community.rig.heal(host).unwrap();
        community.until_whole();
        community.until_more_acked(2);
    }
    // The coordinator's cable: nobody who pushes notices.
    community.rig.cut(COORDINATOR).unwrap();
    community.until_more_acked(5);
    community.rig.heal(COORDINATOR).unwrap();
    community.sh(OUTSIDE, "touch /root/stop");
    community
        .rig
        .until(OUTSIDE, "test -e /root/load-over", |_| true)
        .unwrap();
    community.until_whole();
    community.all_acked_are_everywhere();
    let last = community.sh(OUTSIDE, "tail -n 1 /root/acked");
    for gateway in MEMBERS {
        community.pull(gateway, key, last.trim());
    }
}

#[test]
fn plugs_that_are_pulled_in_the_middle_of_a_join_and_a_move_leave_nothing_half_done() {
    let Some(community) = Community::new() else { return };
    let (token, key) = &community.bring_up();
    let path = community.build("before");
    community.push("h2", &path);

    // The joiner's plug is pulled while it asks to be let in, again and again, a little later each time.
    let keep = format!(
        "umask 077; cat > /root/token <<'EOF'\n{token}\nEOF\nHAYLOFT_GARAGE={GARAGE} /root/hayloft agent install --systemd"
    );
    community.sh(OUTSIDE, &keep);
    let join = format!("HAYLOFT_GARAGE={GARAGE} hayloft join /root/token --address h5 --pledge 1Gi");
    for tenths in [1, 3, 6, 10] {
        community.sh(
            OUTSIDE,
            &format!("setsid nohup sh -c '{join}' > /root/join.log 2>&1 < /dev/null & sleep 0.{tenths}"),
        );
        community.rig.kill(OUTSIDE).unwrap();
        community.rig.boot(OUTSIDE).unwrap();
    }
    community.sh(OUTSIDE, &join);
    let tokens: Value =
        serde_json::from_str(&community.sh(COORDINATOR, "hayloft token list -o json")).unwrap();
    assert_eq!(tokens[0]["used"], 4, "{tokens}");
    // It gets its role, and loses its plug at once: data is on its way to it.
    community.until(|status| is_whole(status, 4));
    community.rig.kill(OUTSIDE).unwrap();
    community.rig.boot(OUTSIDE).unwrap();
    community.until(|status| is_whole(status, 4));
    // A giver loses its plug while it gives.
    community.rig.kill("h3").unwrap();
    community.rig.boot("h3").unwrap();
    community.until(|status| is_whole(status, 4) && gateways(status) == MEMBERS.len());
    for gateway in MEMBERS {
        community.pull(gateway, key, &path);
    }
}

#[test]
fn a_full_disk_on_one_machine_stops_nobody_and_is_told_with_what_to_do() {
    let Some(community) = Community::new() else { return };
    let token = community.found();
    // What it lends lies on a disk of its own.
    community.sh(
        "h4",
        "mkdir -p /var/lib/hayloft && mount -t tmpfs -o size=1200m tmpfs /var/lib/hayloft",
    );
    community.join_all(&token);
    community.until_whole();
    let key = &community.let_clients_in();
    let first = community.build("first");
    community.push("h2", &first);
    community.sh(
        "h4",
        "dd if=/dev/zero of=/var/lib/hayloft/filler bs=1M 2>/dev/null; df /var/lib/hayloft | tail -1",
    );
    community.until(|status| {
        let fits = condition(status, "Fits");
        fits.is_some_and(|fits| fits["status"] == false && fits["message"].to_string().contains("h4"))
    });
    let second = community.build("second");
    community.push("h2", &second);
    community.pull("h3", key, &second);
    community.sh("h4", "rm /var/lib/hayloft/filler");
    community.until_whole();
    community.until(|status| condition(status, "Fits").is_some_and(|fits| fits["status"] == true));
    community.pull("h4", key, &second);
}

#[test]
fn the_coordinators_machine_is_lost_and_another_one_takes_its_place_unknown_to_all() {
    let Some(community) = Community::new() else { return };
    let (_, key) = &community.bring_up();
    community.sh(
        COORDINATOR,
        "hayloft recovery key --out /root/recovery.key > /root/public",
    );
    community.sh(COORDINATOR, "hayloft recovery use $(cat /root/public)");
    let secret = community.sh(COORDINATOR, "cat /root/recovery.key");
    // Any host with a gateway gets the kit from the bucket.
    let fetch = "hayloft recovery fetch --out /root/fetched.kit && base64 /root/fetched.kit";
    community.rig.until(MEMBERS[1], fetch, |_| true).unwrap();
    let text = community.sh(MEMBERS[1], "base64 /root/fetched.kit");
    let path = community.build("before");
    community.push("h2", &path);
    community.rig.kill(COORDINATOR).unwrap();

    // Its name leads nowhere any more, and nobody changes that.
    community.sh(
        OUTSIDE,
        &format!("umask 077; cat > /root/recovery.key <<'EOF'\n{secret}\nEOF\nbase64 -d > /root/recovery.kit <<'EOF'\n{text}\nEOF"),
    );
    community.sh(
        OUTSIDE,
        "/root/hayloft coordinator restore /root/recovery.kit --key /root/recovery.key --address h5",
    );
    community.sh(
        OUTSIDE,
        &format!("HAYLOFT_GARAGE={GARAGE} /root/hayloft agent install --systemd --coordinator"),
    );
    community.until_at(OUTSIDE, |status| {
        is_whole(status, MEMBERS.len()) && gateways(status) == MEMBERS.len()
    });
    // It decides: it lets a client in, and a host that boots anew finds it.
    community.pull("h3", key, &path);
    community.rig.kill("h4").unwrap();
    community.rig.boot("h4").unwrap();
    community.until_at(OUTSIDE, |status| is_whole(status, MEMBERS.len()));
    community.pull("h4", key, &path);
}
