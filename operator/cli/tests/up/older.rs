//! A document that was replaced and comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use super::support::{Up, finish, hayloft, one_line, until};

fn command(dir: &Path, args: &[&str]) -> Output {
    finish(hayloft().args(args).arg("--dir").arg(dir))
}

/// Whether the newest document is in force, and why not.
fn current(dir: &Path) -> (String, String) {
    let output = command(dir, &["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let of_document = conditions.iter().find(|one| one["type"] == "DocumentCurrent");
    of_document.map_or_else(Default::default, |one| {
        let message = one["message"].as_str().unwrap_or_default().to_owned();
        (one["status"].to_string(), message)
    })
}

fn wait_until_current(dir: &Path, status: &str) -> String {
    until(
        || Some(current(dir)).filter(|(is, _)| is == status),
        || format!("DocumentCurrent does not get {status}: {:?}", current(dir)),
    )
    .1
}

/// A copy of the document in force, and one that keeps paths for 90 days.
fn two_documents(dir: &Path, beside: &Path) -> (PathBuf, PathBuf) {
    let (first, second) = (beside.join("first.yaml"), beside.join("second.yaml"));
    let text = fs::read_to_string(dir.join("document.yaml")).unwrap();
    fs::write(&first, &text).unwrap();
    let mut document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    document["spec"]["caches"][0]["retention"] = "90d".into();
    fs::write(&second, serde_yaml::to_string(&document).unwrap()).unwrap();
    (first, second)
}

#[test]
fn an_older_document_waits_until_a_person_says_that_it_is_meant() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let up = Up::start(&dir, &["--hosts", "1"]);
    up.ready();
    let (first, second) = two_documents(&dir, temp.path());
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let applied = command(&dir, &["apply", "-f", second]);
    assert!(applied.status.success(), "{applied:?}");
    wait_until_current(&dir, "true");

    let plan = command(&dir, &["plan", "-f", first]);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(
        plan.status.code() == Some(2) && text.contains("was in force before"),
        "{text}"
    );
    wait_until_current(&dir, "true");

    let held_back = command(&dir, &["apply", "-f", first]);
    let sentence = one_line(&held_back);
    assert!(
        sentence.contains(&format!("apply -f {first} --older")),
        "{sentence}"
    );
    let message = wait_until_current(&dir, "false");
    assert!(message.contains("--older"), "{message}");
    let in_force = fs::read_to_string(dir.join("document.yaml")).unwrap();
    assert!(
        in_force.contains("90d"),
        "the older document took effect: {in_force}"
    );

    // The newer one again: nothing waits any more.
    assert!(command(&dir, &["apply", "-f", second]).status.success());
    wait_until_current(&dir, "true");
    assert!(up.end(Signal::TERM).0.success());

    // A machine that was set back starts it with the older one.
    let up = Up::start(&dir, &["--spec", first]);
    up.line(&["was in force before", "The newer one stays in force"]);
    up.ready();
    wait_until_current(&dir, "false");
    let in_force = fs::read_to_string(dir.join("document.yaml")).unwrap();
    assert!(
        in_force.contains("90d"),
        "the older document took effect: {in_force}"
    );

    let meant = command(&dir, &["apply", "-f", first, "--older"]);
    assert!(meant.status.success(), "{meant:?}");
    wait_until_current(&dir, "true");
    let in_force = fs::read_to_string(dir.join("document.yaml")).unwrap();
    assert!(!in_force.contains("90d"), "{in_force}");
    assert!(up.end(Signal::TERM).0.success());
}
