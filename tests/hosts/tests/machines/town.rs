//! A community of machines with their own systemd: a coordinator, three hosts that join by one token, and a machine with Nix that
//! belongs to nobody.

use std::path::PathBuf;
use std::time::Duration;

use hayloft_hosts::Rig;
use serde_json::Value;

/// Machines are booted, Garage and gateways start under systemd: minutes, on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
pub(crate) const GARAGE: &str = "/opt/garage-2.5.0/garage";
pub(crate) const COORDINATOR: &str = "h1";
pub(crate) const MEMBERS: [&str; 3] = ["h2", "h3", "h4"];
pub(crate) const OUTSIDE: &str = "h5";
/// One that lends its disk and serves nobody; in few tests.
const STORE: &str = "h6";

const SPEC: &str = "\
apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: { name: commons }
spec:
  garage: { replicationFactor: 3, fsync: false }
  hosts: []
  rebalance: { joinWindow: 5s, reserve: 0% }
  caches:
    - { name: main, public: true }
";

pub(crate) struct Community {
    pub(crate) rig: Rig,
    with_store: bool,
}

impl Community {
    /// Boots the machines and puts the programs on them.
    pub(crate) fn new() -> Option<Self> {
        Self::boot(false)
    }

    /// The same, with a fourth machine that joins with the others and has storage alone.
    pub(crate) fn with_store() -> Option<Self> {
        Self::boot(true)
    }

    #[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
    fn boot(with_store: bool) -> Option<Self> {
        let program = std::env::var_os("HAYLOFT_BIN").map(PathBuf::from)?;
        let rig = Rig::up(if with_store { 6 } else { 5 }).unwrap()?;
        let garage = hayloft_garage_fixture::program().unwrap();
        let community = Self { rig, with_store };
        for host in community.machines() {
            community.rig.put(host, &program, "/root/hayloft").unwrap();
            community.rig.put(host, &garage, GARAGE).unwrap();
        }
        Some(community)
    }

    fn machines(&self) -> impl Iterator<Item = &'static str> {
        let store = self.with_store.then_some(STORE);
        [COORDINATOR, OUTSIDE].into_iter().chain(MEMBERS).chain(store)
    }

    pub(crate) fn sh(&self, host: &str, command: &str) -> String {
        self.rig.sh(host, command).unwrap()
    }

    /// Takes the machines' IPv4 addresses away; their names lead to IPv6 ones from now on. Lasts until a machine is booted again.
    pub(crate) fn speak_ipv6_alone(&self) {
        let address = |host: &str| format!("fd77::{}", host.trim_start_matches('h'));
        let names: String = self
            .machines()
            .map(|host| format!("{} {host}\n", address(host)))
            .collect();
        for host in self.machines() {
            self.sh(
                host,
                &format!(
                    "ip -6 addr add {}/64 dev host0 nodad && ip -4 addr flush dev host0 && \
                     printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts && cat >> /etc/hosts <<'EOF'\n{names}EOF",
                    address(host)
                ),
            );
        }
    }

    /// `hayloft coordinator init` and its service; gives the first join token.
    pub(crate) fn found(&self) -> String {
        self.sh(COORDINATOR, &format!("cat > /root/spec.yaml <<'EOF'\n{SPEC}EOF"));
        let token = self.sh(
            COORDINATOR,
            "/root/hayloft coordinator init --spec /root/spec.yaml --address h1 --uses 4",
        );
        self.sh(
            COORDINATOR,
            &format!("HAYLOFT_GARAGE={GARAGE} /root/hayloft agent install --systemd --coordinator"),
        );
        self.rig
            .until_within(PATIENCE, COORDINATOR, "hayloft status -o json", |text| {
                text.contains("commons")
            })
            .unwrap();
        token.trim().to_owned()
    }

    /// All at once, as when people have waited for the token.
    pub(crate) fn join_all(&self, token: &str) {
        let members = MEMBERS.map(|host| (host, "storage,gateway"));
        let store = self.with_store.then_some((STORE, "storage"));
        std::thread::scope(|scope| {
            for (host, roles) in members.into_iter().chain(store) {
                scope.spawn(move || {
                    self.sh(host, &format!("umask 077; cat > /root/token <<'EOF'\n{token}\nEOF"));
                    self.sh(
                        host,
                        &format!(
                            "HAYLOFT_GARAGE={GARAGE} /root/hayloft agent install --systemd && \
                             HAYLOFT_GARAGE={GARAGE} hayloft join /root/token --address {host} --pledge 1Gi --roles {roles}"
                        ),
                    );
                });
            }
        });
    }

    /// Founds it, has all join, and waits until it serves: gives the join token and the cache's public key.
    pub(crate) fn bring_up(&self) -> (String, String) {
        let token = self.found();
        self.join_all(&token);
        self.until_whole();
        let key = self.let_clients_in();
        (token, key)
    }

    pub(crate) fn until_whole(&self) {
        let hosts = MEMBERS.len() + usize::from(self.with_store);
        self.until(|status| is_whole(status, hosts) && gateways(status) == MEMBERS.len());
    }

    /// Waits until the coordinator's status is so.
    pub(crate) fn until(&self, fits: impl Fn(&Value) -> bool) {
        self.until_at(COORDINATOR, fits);
    }

    /// The same of a coordinator that is elsewhere.
    pub(crate) fn until_at(&self, coordinator: &str, fits: impl Fn(&Value) -> bool) {
        let fits = |text: &str| fits(&serde_json::from_str(text).unwrap_or_default());
        let reached = self
            .rig
            .until_within(PATIENCE, coordinator, "hayloft status -o json", fits);
        if reached.is_err() {
            let status = self.rig.sh(coordinator, "hayloft status").unwrap_or_default();
            let journal = "journalctl --no-pager -n 15 -u hayloft-coordinator";
            panic!(
                "{status}\n{}",
                self.rig.sh(coordinator, journal).unwrap_or_default()
            );
        }
    }

    /// Gives the machine outside a client's token, and gives the public key of the cache.
    pub(crate) fn let_clients_in(&self) -> String {
        let file = "cat /var/lib/hayloft/coordinator/client.json";
        let client = self
            .rig
            .until_within(PATIENCE, COORDINATOR, file, |text| text.contains("token"))
            .unwrap();
        let client: Value = serde_json::from_str(&client).unwrap();
        let secret = client["token"].as_str().unwrap();
        let keep = format!("umask 077; cat > /root/client-token <<'EOF'\n{secret}\nEOF");
        self.sh(OUTSIDE, &keep);
        let ask = "curl -sf -H \"Authorization: bearer $(cat /root/client-token)\" http://h2:8080/_api/v1/cache-config/main";
        let config = self.rig.until_within(PATIENCE, OUTSIDE, ask, |_| true).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        config["public_key"].as_str().unwrap().to_owned()
    }

    /// Makes a path with Nix on the machine outside, and gives it.
    pub(crate) fn build(&self, name: &str) -> String {
        let expression = format!(
            "derivation {{ name = \"{name}\"; system = builtins.currentSystem; builder = \"/bin/sh\"; \
             args = [ \"-c\" \"for i in $(seq 20000); do echo {name} $i; done > $out\" ]; PATH = \"/bin:/usr/bin\"; }}"
        );
        let path = self.sh(OUTSIDE, &format!("nix-build --no-out-link -E '{expression}'"));
        path.trim().to_owned()
    }

    pub(crate) fn push(&self, gateway: &str, path: &str) {
        let command = format!(
            "/root/hayloft push --server http://{gateway}:8080 --token-file /root/client-token --cache main {path}"
        );
        self.rig
            .until_within(PATIENCE, OUTSIDE, &command, |_| true)
            .unwrap();
    }

    /// Deletes a path from the machine outside and has Nix fetch it from a gateway, with signatures required.
    pub(crate) fn pull(&self, gateway: &str, key: &str, path: &str) {
        self.sh(
            OUTSIDE,
            &format!("nix-store --delete {path} >/dev/null 2>&1; rm -rf /root/.cache/nix; ! test -e {path}"),
        );
        let command = format!(
            "nix-store --realise {path} --option substituters http://{gateway}:8080/main --option trusted-public-keys '{key}' \
             --option require-sigs true --option narinfo-cache-negative-ttl 0 && test -s {path}"
        );
        self.rig
            .until_within(PATIENCE, OUTSIDE, &command, |_| true)
            .unwrap();
    }
}

/// So many hosts are up and hold data.
pub(crate) fn is_whole(status: &Value, hosts: usize) -> bool {
    let up = |host: &&Value| host["up"] == true && host["inLayout"] == true;
    let seen = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    seen.iter().filter(up).count() == hosts
}

/// How many gateways serve.
pub(crate) fn gateways(status: &Value) -> usize {
    status["gateway"]["hosts"].as_array().map_or(0, Vec::len)
}

/// A condition of the cluster.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}
