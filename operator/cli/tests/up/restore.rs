//! A host that loses its metadata and gets it back.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use hayloft_api::question::{Digest, SnapshotFile, SnapshotId, SnapshotInfo};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{Up, finish_within, get, hayloft, kill, one_line, processes_of, until};

const LONG: Duration = Duration::from_secs(240);

fn command(dir: &Path, args: &[&str]) -> Output {
    finish_within(hayloft().args(args).arg("--dir").arg(dir), LONG)
}

fn status(dir: &Path) -> Value {
    let output = command(dir, &["status", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// What Garage's own command says about the host.
fn garage(dir: &Path, host: &str, args: &[&str]) -> String {
    let config = dir.join("hosts").join(host).join("garage.toml");
    let mut command = Command::new(hayloft_garage_fixture::program().unwrap());
    let output = finish_within(command.arg("-c").arg(config).args(args), LONG);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Lets Garage make a snapshot of host-2, and puts it where host-3 keeps those of others.
fn keep_a_snapshot(dir: &Path, node: &str) -> String {
    garage(dir, "host-2", &["meta", "snapshot"]);
    let host = dir.join("hosts/host-2");
    let newest = || {
        let entries = fs::read_dir(host.join("snapshots")).ok()?;
        let name = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .max()?;
        host.join("snapshots")
            .join(&name)
            .join("db.lmdb")
            .exists()
            .then_some(name)
    };
    let id = until(newest, || "Garage makes no snapshot".to_owned());
    let kept = dir.join("hosts/host-3/kept/host-2").join(&id);
    fs::create_dir_all(&kept).unwrap();
    let sources = [
        ("cluster_layout", host.join("meta/cluster_layout")),
        ("db.lmdb", host.join("snapshots").join(&id).join("db.lmdb")),
    ];
    let files = sources.map(|(name, source)| {
        let bytes = fs::copy(source, kept.join(name)).unwrap();
        let digest = blake3::hash(&fs::read(kept.join(name)).unwrap());
        SnapshotFile {
            name: name.to_owned(),
            bytes,
            digest: Digest::new(*digest.as_bytes()),
        }
    });
    let info = SnapshotInfo {
        id: SnapshotId(id.clone()),
        node: node.parse().unwrap(),
        taken: id.parse().unwrap(),
        files: files.into(),
    };
    fs::write(kept.join("snapshot.json"), serde_json::to_vec(&info).unwrap()).unwrap();
    id
}

/// Destroys the database of host-2; its Garage does not start any more.
fn destroy(dir: &Path) {
    let database = dir.join("hosts/host-2/meta/db.lmdb/data.mdb");
    for (pid, _) in processes_of(&dir.join("hosts/host-2")) {
        kill(pid, Signal::KILL);
    }
    fs::write(database, vec![0x5a; 1 << 16]).unwrap();
}

#[test]
fn a_host_whose_database_is_destroyed_gets_it_back_from_another_host() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "3"]);
    let ready = up.ready();
    let restore = ["host", "restore-metadata", "host-2"];
    let sound = one_line(&command(&dir, &[&restore[..], &["--yes"]].concat()));
    assert!(sound.contains("not lost"), "{sound}");

    let node = ready["hosts"][1]["garageId"].as_str().unwrap().to_owned();
    let objects = || {
        let info = garage(&dir, "host-2", &["bucket", "info", "hayloft"]);
        let line = info.lines().find(|line| line.starts_with("Objects:"));
        line.unwrap_or_default().to_owned()
    };
    let before = objects();
    let id = keep_a_snapshot(&dir, &node);
    let lost = || {
        destroy(&dir);
        let dry = command(&dir, &[&restore[..], &["--dry-run"]].concat());
        dry.status
            .success()
            .then(|| String::from_utf8_lossy(&dry.stdout).into_owned())
    };
    let forecast = until(lost, || format!("host-2 is not lost: {}", status(&dir)));
    assert!(
        forecast.contains("from the snapshot that host-3 keeps") && forecast.contains("Nothing was done yet"),
        "{forecast}"
    );
    let unasked = one_line(&command(&dir, &restore));
    assert!(unasked.contains("--yes"), "{unasked}");
    let elsewhere = one_line(&command(&dir, &[&restore[..], &["--from", "host-1"]].concat()));
    assert!(elsewhere.contains("host-1 keeps no snapshot"), "{elsewhere}");

    let restored = command(&dir, &[&restore[..], &["--yes", "--wait"]].concat());
    let text = String::from_utf8_lossy(&restored.stdout);
    assert!(restored.status.success(), "{restored:?}");
    assert!(text.contains("Done."), "{text}");
    let notes = String::from_utf8_lossy(&restored.stderr);
    assert!(notes.contains("meta.before-"), "{notes}");
    let events = status(&dir)["events"].to_string();
    assert!(
        events.contains("host-2, whose metadata went back, holds every block that it should"),
        "{events}"
    );
    assert!(dir.join("hosts/host-2/snapshots").join(&id).exists());
    let again: Value = serde_json::from_slice(&fs::read(up.ready_file()).unwrap()).unwrap();
    assert_eq!(
        again["hosts"][1]["garageId"],
        node.as_str(),
        "it is another node now"
    );
    assert_eq!(objects(), before);
    get(&ready, "main/nix-cache-info").unwrap();
    assert!(up.end(Signal::TERM).0.success());
}
