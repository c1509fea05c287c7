//! Hosts that come and go while `hayloft up` runs.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::support::{Up, finish_within, get, hayloft, one_line, until};

/// Waiting for data to be placed takes longer than a step does: blocks are counted now and then only.
const LONG: Duration = Duration::from_secs(240);

/// A command about the cluster in `dir`.
fn command(dir: &Path, args: &[&str]) -> Output {
    finish_within(hayloft().args(args).arg("--dir").arg(dir), LONG)
}

/// What a command that succeeds prints.
fn said(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {text}");
    text
}

fn status(dir: &Path) -> Value {
    let output = command(dir, &["status", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn names(dir: &Path) -> Vec<String> {
    let hosts: Value = serde_json::from_str(&said(dir, &["host", "list", "-o", "json"])).unwrap();
    let names = hosts.as_array().unwrap().iter();
    names
        .map(|host| host["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until all is as declared and nothing moves.
fn at_rest(dir: &Path) {
    let rests = || {
        let status = status(dir);
        let moves = status["moves"].as_array()?;
        (status["phase"] == "ready" && moves.is_empty()).then_some(())
    };
    until(rests, || format!("it does not come to rest: {}", status(dir)));
}

#[test]
fn a_host_that_is_removed_goes_only_when_it_is_empty_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "4"]);
    let ready = up.ready();
    at_rest(&dir);
    assert_eq!(names(&dir), ["host-1", "host-2", "host-3", "host-4"]);

    // What cannot be is refused in a sentence, and nothing happens without a yes.
    let unknown = one_line(&command(&dir, &["host", "drain", "host-9"]));
    assert!(
        unknown.contains("no host is called host-9; declared are: host-1"),
        "{unknown}"
    );
    let serving = one_line(&command(&dir, &["host", "remove", "host-1", "--yes"]));
    assert!(serving.contains("gateway"), "{serving}");
    let unasked = one_line(&command(&dir, &["host", "remove", "host-4"]));
    assert!(unasked.contains("--yes"), "{unasked}");
    let sound = one_line(&command(&dir, &["host", "new-disk", "host-2", "--yes"]));
    assert!(sound.contains("as it should be"), "{sound}");
    let other = one_line(&command(
        &dir,
        &["host", "allow-missing-data", "host-4", "--version", "77", "--yes"],
    ));
    assert!(other.contains("not 77"), "{other}");
    let forecast = said(&dir, &["host", "evict", "host-4", "--dry-run"]);
    assert!(
        forecast.contains("hayloft host remove host-4") && forecast.contains("Nothing was done yet"),
        "{forecast}"
    );
    let forecast = said(&dir, &["host", "remove", "host-4", "--dry-run"]);
    assert!(forecast.contains("- spec.hosts[host-4]"), "{forecast}");
    assert!(
        forecast.contains("host-4 leaves") && forecast.contains("To move: "),
        "{forecast}"
    );
    assert_eq!(status(&dir)["layout"]["version"], 1, "asking changed something");

    // It holds no block, so Garage's ten minutes do not matter.
    let removed = said(&dir, &["host", "remove", "host-4", "--yes", "--wait"]);
    assert!(removed.contains("Done.\n"), "{removed}");
    assert_eq!(names(&dir), ["host-1", "host-2", "host-3"]);
    up.line(&["host-4: it holds nothing any more"]);
    assert!(!dir.join("hosts/host-4").exists());
    get(&ready, "main/nix-cache-info").unwrap();

    // With two fewer than copies it would not be sound.
    let few = one_line(&command(&dir, &["host", "drain", "host-3", "--yes"]));
    assert!(
        few.contains("draining host-3 is refused") && few.contains('3'),
        "{few}"
    );

    // A document that a person applied is not edited behind their back.
    at_rest(&dir);
    let document = dir.join("document.yaml");
    let file = temp.path().join("mine.yaml");
    fs::copy(&document, &file).unwrap();
    let plan = command(&dir, &["plan", "-f", file.to_str().unwrap()]);
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    said(&dir, &["apply", "-f", file.to_str().unwrap()]);
    let text = fs::read_to_string(&file).unwrap();
    let mut more: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let hosts = more["spec"]["hosts"].as_sequence_mut().unwrap();
    let mut host = hosts[2].clone();
    host["name"] = "attic".into();
    host["zone"] = "roof".into();
    hosts.push(host);
    fs::write(&file, serde_yaml::to_string(&more).unwrap()).unwrap();
    let plan = command(&dir, &["plan", "-f", file.to_str().unwrap()]);
    assert_eq!(plan.status.code(), Some(2), "{plan:?}");
    let joined = said(&dir, &["apply", "-f", file.to_str().unwrap(), "--wait"]);
    assert!(joined.contains("Done.\n"), "{joined}");
    let refused = one_line(&command(&dir, &["host", "drain", "attic", "--yes"]));
    assert!(
        refused.contains("attic is declared in a document that was applied")
            && refused.contains("set `state: drained` in spec.hosts[attic]"),
        "{refused}"
    );
    assert!(up.end(Signal::TERM).0.success());

    // All hosts with other addresses: the next start finds them.
    for name in ["host-1", "host-2", "host-3", "attic"] {
        fs::remove_file(dir.join("hosts").join(name).join("ports.json")).unwrap();
    }
    let up = Up::start::<&str>(&dir, &[]);
    let ready = up.ready();
    at_rest(&dir);
    get(&ready, "main/nix-cache-info").unwrap();
    assert_eq!(names(&dir), ["attic", "host-1", "host-2", "host-3"]);
    assert!(up.end(Signal::TERM).0.success());
}
