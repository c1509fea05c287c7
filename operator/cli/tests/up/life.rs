//! `hayloft up` on real Garage: starts, stops, dies, starts again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Up, get, hayloft, kill, one_line, processes_of, run, until};
use rustix::process::Signal;

#[test]
fn three_hosts_come_up_stop_and_come_back_as_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start::<&str>(&dir, &[]);
    let first = up.ready();

    assert_eq!(first["cache"], "main");
    assert!(
        first["publicKey"].as_str().unwrap().starts_with("main-"),
        "{first}"
    );
    assert_eq!(first["hosts"].as_array().unwrap().len(), 3);
    for file in [
        up.ready_file(),
        &dir.join("client.json"),
        &dir.join("coordinator.sqlite"),
        &dir.join("control.sock"),
    ] {
        assert_eq!(
            fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
    let gateway = first["gateway"].as_str().unwrap();
    assert!(
        get(&first, "main/nix-cache-info")
            .unwrap()
            .contains("StoreDir: /nix/store")
    );
    up.line(&["extra-substituters", &format!("{gateway}/main")]);
    up.line(&["extra-trusted-public-keys", first["publicKey"].as_str().unwrap()]);
    up.line(&["attic login hayloft", gateway, first["token"].as_str().unwrap()]);
    up.line(&["hayloft push", "--cache main"]);

    // Nothing that is running shows a secret to other users of the machine.
    for secret in [
        first["token"].as_str().unwrap(),
        first["s3"]["secretAccessKey"].as_str().unwrap(),
    ] {
        assert!(
            processes_of(&dir)
                .iter()
                .all(|(_, arguments)| !arguments.contains(secret))
        );
    }
    for host in first["hosts"].as_array().unwrap() {
        let pid = host["pid"].as_u64().unwrap();
        assert!(
            processes_of(&dir)
                .iter()
                .any(|(other, _)| u64::from(*other) == pid),
            "{host} has no such process"
        );
    }

    let status = run(&["status", "--dir", dir.to_str().unwrap()]);
    let table = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.status.success() && table.contains("host-3") && table.contains("version 1"),
        "{table}"
    );
    assert!(
        !table.contains('\u{1b}'),
        "no colour where there is no terminal: {table}"
    );
    // The coordinator looks every now and then, so it may see the gateway a little later than clients do.
    let json = until(
        || status_now(&dir).filter(|json| json["gateway"]["up"] == true),
        || format!("the gateway is not seen: {}", up.text()),
    );
    assert_eq!(json["layout"]["version"], 1, "{json}");

    let (status, took, text) = up.end(Signal::TERM);
    assert!(status.success(), "{text}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(processes_of(&dir), []);

    let begun = Instant::now();
    let up = Up::start::<&str>(&dir, &[]);
    let second = up.ready();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "a warm start took {:?}",
        begun.elapsed()
    );
    for same in ["publicKey", "token", "cache", "s3"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    let ids = |ready: &serde_json::Value| -> Vec<_> {
        ready["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host["garageId"].clone())
            .collect()
    };
    assert_eq!(ids(&first), ids(&second));
    // What was never away is not told to be back.
    until(
        || status_now(&dir).filter(|json| json["gateway"]["up"] == true),
        || format!("the gateway is not seen: {}", up.text()),
    );
    let text = up.text();
    for news in [
        "no gateway runs",
        "clients can push and pull",
        "all hosts are up",
        "its agent runs",
    ] {
        assert!(!text.contains(news), "{text}");
    }
    // As from a terminal.
    let (status, took, text) = up.end(Signal::INT);
    assert!(
        status.success() && took < Duration::from_secs(10),
        "{took:?} {text}"
    );
    assert_eq!(processes_of(&dir), []);

    let error = one_line(&run(&[
        "up",
        "--dir",
        dir.to_str().unwrap(),
        "--hosts",
        "5",
        "--port",
        "0",
    ]));
    assert!(
        error.contains("has 3 hosts, not 5") && error.contains("hayloft apply"),
        "{error}"
    );
}

/// What `hayloft status` says to programs.
fn status_now(dir: &Path) -> Option<serde_json::Value> {
    let output = run(&["status", "--dir", dir.to_str()?, "-o", "json"]);
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn after_a_sigkill_nothing_survives_and_the_next_start_works() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1"]);
    let first = up.ready();
    let (status, ..) = up.end(Signal::KILL);
    assert!(!status.success());
    until(
        || processes_of(&dir).is_empty().then_some(()),
        || format!("these survived: {:?}", processes_of(&dir)),
    );

    let up = Up::start::<&str>(&dir, &[]);
    let second = up.ready();
    assert_eq!(first["publicKey"], second["publicKey"]);
    assert_eq!(first["hosts"][0]["garageId"], second["hosts"][0]["garageId"]);
    assert!(up.end(Signal::TERM).0.success());
}

#[test]
fn what_dies_is_started_again_and_reported() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1"]);
    let first = up.ready();
    let pid = u32::try_from(first["hosts"][0]["pid"].as_u64().unwrap()).unwrap();
    kill(pid, Signal::KILL);
    up.line(&["host-1: garage died", "killed by signal 9"]);
    up.line(&["host-1: garage runs"]);
    until(
        || {
            up.ready_now().filter(|ready| {
                ready["hosts"][0]["pid"]
                    .as_u64()
                    .is_some_and(|now| now != u64::from(pid))
            })
        },
        || "the ready file still names the dead process".to_owned(),
    );

    let (gateway, _) = processes_of(&dir)
        .into_iter()
        .find(|(_, arguments)| arguments.contains("gateway.yaml"))
        .unwrap();
    kill(gateway, Signal::KILL);
    up.line(&["host-1: gateway died", "killed by signal 9"]);
    up.line(&["host-1: gateway runs"]);
    until(
        || get(&first, "main/nix-cache-info").ok(),
        || format!("the gateway is not back: {}", up.text()),
    );
    let status = run(&["status", "--dir", dir.to_str().unwrap(), "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let restarts = |unit: usize| json["hosts"][0]["units"][unit]["restarts"].as_u64().unwrap();
    assert_eq!((restarts(0), restarts(1)), (1, 1), "{json}");
    assert!(up.end(Signal::TERM).0.success());
}

#[test]
fn what_hangs_is_killed_within_ten_seconds_of_a_stop() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1"]);
    up.ready();
    let hanging = processes_of(&dir);
    assert_eq!(hanging.len(), 2, "{hanging:?}");
    for (pid, _) in hanging {
        kill(pid, Signal::STOP);
    }
    let (status, took, text) = up.end(Signal::TERM);
    assert!(status.success(), "{text}");
    assert!(took < Duration::from_secs(10), "{took:?} {text}");
    until(
        || processes_of(&dir).is_empty().then_some(()),
        || format!("these survived: {:?}", processes_of(&dir)),
    );
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one_request_and_a_later_one_another() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let mut up = Up::start(&dir, &["--hosts", "1"]);
    up.ready();
    // Two of a kind may arrive as one; another kind is told apart for sure.
    for signal in [Signal::TERM, Signal::TERM, Signal::INT] {
        up.signal(signal);
    }
    assert!(up.wait().success(), "{}", up.text());
    up.line(&["Stopped in"]);
    assert!(!up.text().contains("Killed"), "{}", up.text());
    assert_eq!(processes_of(&dir), []);

    let mut up = Up::start::<&str>(&dir, &[]);
    up.ready();
    for (pid, _) in processes_of(&dir) {
        kill(pid, Signal::STOP);
    }
    let begun = Instant::now();
    until(
        || {
            up.signal(Signal::TERM);
            up.text().contains("Killed at once").then_some(())
        },
        || format!("it does not heed the second request: {}", up.text()),
    );
    assert!(up.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until(
        || processes_of(&dir).is_empty().then_some(()),
        || format!("these survived: {:?}", processes_of(&dir)),
    );
}

#[test]
fn a_second_one_on_the_same_folder_says_who_has_it_and_harms_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1"]);
    let ready = up.ready();
    let error = one_line(&run(&["up", "--dir", dir.to_str().unwrap(), "--port", "0"]));
    assert!(error.contains(&format!("(process {})", up.pid())), "{error}");
    get(&ready, "main/nix-cache-info").unwrap();

    let port = ready["gateway"].as_str().unwrap().rsplit(':').next().unwrap();
    let other = temp.path().join("other");
    let error = one_line(&run(&["up", "--dir", other.to_str().unwrap(), "--port", port]));
    assert!(
        error.contains(&format!("port {port} is taken")) && error.contains("--port"),
        "{error}"
    );
    get(&ready, "main/nix-cache-info").unwrap();
    assert!(up.end(Signal::TERM).0.success());
}

#[test]
fn a_document_applied_to_a_running_one_adds_a_cache_and_a_host() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1"]);
    let ready = up.ready();
    let text = fs::read_to_string(dir.join("document.yaml")).unwrap();
    let mut document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let caches = document["spec"]["caches"].as_sequence_mut().unwrap();
    let mut cache = caches[0].clone();
    cache["name"] = "second".into();
    caches.push(cache);
    let hosts = document["spec"]["hosts"].as_sequence_mut().unwrap();
    let mut host = hosts[0].clone();
    host["name"] = "attic".into();
    host["zone"] = "roof".into();
    host["roles"] = serde_yaml::from_str("[storage]").unwrap();
    host["address"] = "attic.example.org".into();
    hosts.push(host);
    let file = temp.path().join("new.yaml");
    fs::write(&file, serde_yaml::to_string(&document).unwrap()).unwrap();
    let with = |command: &str, more: &[&str]| {
        let mut args = vec![
            command,
            "--dir",
            dir.to_str().unwrap(),
            "-f",
            file.to_str().unwrap(),
        ];
        args.extend(more);
        let output = run(&args);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let wanted = if command == "plan" { [0, 2] } else { [0, 0] };
        assert!(wanted.contains(&output.status.code().unwrap()), "{text}");
        text
    };

    let planned = with("plan", &[]);
    assert!(
        planned.contains("+ spec.caches[second]") && planned.contains("Nothing was changed yet"),
        "{planned}"
    );
    assert!(planned.contains("addresses of attic are ignored"), "{planned}");
    with("apply", &["--dry-run"]);
    assert!(
        get(&ready, "second/nix-cache-info").is_err(),
        "a dry run changed something"
    );
    assert!(with("apply", &[]).contains("+ spec.hosts[attic]"));
    let planned = with("plan", &[]);
    assert!(!planned.contains("spec."), "it is followed already: {planned}");

    until(
        || get(&ready, "second/nix-cache-info").ok(),
        || format!("the new cache is not served: {}", up.text()),
    );
    let status = || status_now(&dir);
    let joined = |json: &serde_json::Value| {
        json["hosts"].as_array().is_some_and(|hosts| {
            hosts
                .iter()
                .any(|host| host["name"] == "attic" && host["up"] == true)
        })
    };
    until(
        || status().filter(joined),
        || format!("the new host is not up: {:?}", status()),
    );

    // What cannot change is refused, and the rest goes on.
    document["metadata"]["name"] = "another".into();
    fs::write(&file, serde_yaml::to_string(&document).unwrap()).unwrap();
    let error = one_line(&run(&[
        "apply",
        "--dir",
        dir.to_str().unwrap(),
        "-f",
        file.to_str().unwrap(),
    ]));
    assert!(error.contains("metadata.name"), "{error}");
    get(&ready, "second/nix-cache-info").unwrap();
    assert!(up.end(Signal::TERM).0.success());
    assert_eq!(processes_of(&dir), []);
    let error = one_line(&run(&["status", "--dir", dir.to_str().unwrap()]));
    assert!(error.contains("no `hayloft up` runs on"), "{error}");
}

#[test]
fn a_document_of_another_home_is_followed_without_its_addresses() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let spec = temp.path().join("spec.yaml");
    let text = "
apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: { name: commons }
spec:
  garage: { replicationFactor: 1 }
  hosts:
    - { name: paris-1, zone: paris, roles: [storage], pledge: 2Gi, address: paris-1.example.org }
    - { name: lyon-1, zone: lyon, roles: [gateway] }
  gateway: { publicUrl: 'https://cache.example.org' }
  caches:
    - { name: ours, public: false }
    - { name: theirs, public: true }
";
    fs::write(&spec, text).unwrap();
    let up = Up::start(&dir, &["--spec", spec.to_str().unwrap()]);
    let ready = up.ready();
    up.line(&["addresses of paris-1 are ignored"]);
    up.line(&["publicUrl is ignored"]);
    assert_eq!(ready["cache"], "ours");
    assert!(
        ready["gateway"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:"),
        "{ready}"
    );
    get(&ready, "theirs/nix-cache-info").unwrap();

    // Another host may serve; programs are told where.
    let moved = text
        .replace("roles: [storage]", "roles: [storage, gateway]")
        .replace("\n    - { name: lyon-1, zone: lyon, roles: [gateway] }", "");
    fs::write(&spec, moved.replace("2Gi", "3Gi")).unwrap();
    let applied = run(&[
        "apply",
        "--dir",
        dir.to_str().unwrap(),
        "-f",
        spec.to_str().unwrap(),
    ]);
    assert!(applied.status.success(), "{applied:?}");
    let now = until(
        || up.ready_now().filter(|now| now["gateway"] != ready["gateway"]),
        || format!("the gateway did not move: {}", up.text()),
    );
    until(
        || get(&now, "ours/nix-cache-info").ok(),
        || format!("it is not served: {}", up.text()),
    );
    assert_eq!(now["publicKey"], ready["publicKey"]);

    fs::write(
        &spec,
        text.replace(", roles: [gateway]", ", roles: [storage], pledge: 2Gi"),
    )
    .unwrap();
    let error = one_line(&run(&[
        "apply",
        "--dir",
        dir.to_str().unwrap(),
        "-f",
        spec.to_str().unwrap(),
    ]));
    assert!(error.contains("no host has the role `gateway`"), "{error}");
    assert!(up.end(Signal::TERM).0.success());
}

#[test]
fn a_deep_folder_works_although_paths_of_sockets_must_be_short() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp
        .path()
        .join("d".repeat(60))
        .join("e".repeat(60))
        .join("cache");
    let sockets = temp.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    let mut command = hayloft();
    command.env("TMPDIR", &sockets);
    let up = Up::start_as(command, &dir, &["--hosts", "1"]);
    up.ready();
    let status = run(&["status", "--dir", dir.to_str().unwrap()]);
    assert!(status.status.success(), "{status:?}");
    assert!(up.end(Signal::TERM).0.success());
    assert_eq!(fs::read_dir(&sockets).unwrap().count(), 0, "sockets are left");
}
