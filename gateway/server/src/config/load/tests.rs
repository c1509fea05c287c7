//! Whole configurations, and what is said about wrong ones.

use super::*;
use std::error::Error;

/// A folder with all the files that a configuration names.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key = ClusterKey::from_random([7; 32]).expose_secret();
    fs::write(dir.path().join("cluster.key"), format!("{}\n", key.as_str())).unwrap();
    fs::write(dir.path().join("s3-secret"), "s3cret\n").unwrap();
    fs::write(dir.path().join("hs256"), "c2VjcmV0\n").unwrap();
    dir
}

fn yaml(dir: &Path) -> String {
    let dir = dir.display();
    format!(
            "listen: 127.0.0.1:8080
publicUrl: https://cache.example.org
stateDir: {dir}/gateway
keyFile: {dir}/cluster.key
s3:
  endpoints: [http://127.0.0.1:40001, http://127.0.0.1:40002]
  region: garage
  bucket: hayloft
  accessKeyId: GK1
  secretAccessKeyFile: {dir}/s3-secret
tokens:
  hs256SecretFile: {dir}/hs256
cache: {{ memory: 64Mi }}
caches:
  - {{ name: main, public: true, priority: 30, storeDir: /nix/store, upstreamKeys: [cache.nixos.org-1], retention: 90d }}
  - {{ name: other }}
"
        )
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("gateway.yaml");
    fs::write(&path, text).unwrap();
    path
}

/// The error and its causes, as the edge shows them, without the folder's name.
fn line(dir: &Path, error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.replace(&dir.display().to_string(), "DIR")
}

#[test]
fn a_whole_configuration_is_understood() {
    let dir = folder();
    let config = load(&file(dir.path(), &yaml(dir.path()))).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url.unwrap().as_str(), "https://cache.example.org/");
    assert_eq!(config.memory.0, 64 << 20);
    assert_eq!(config.s3.secret_access_key.as_str(), "s3cret");
    assert_eq!(config.caches[0].retention, Some(90 * 86_400));
    assert_eq!(config.caches[1].public, None);
}

#[test]
fn secrets_do_not_show_in_debug() {
    let dir = folder();
    let text = format!("{:?}", load(&file(dir.path(), &yaml(dir.path()))).unwrap());
    for secret in ["s3cret", "c2VjcmV0", "BwcHBw"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_line_that_names_the_field() {
    let dir = folder();
    let good = yaml(dir.path());
    let lines: Vec<String> = [
        ("listen: 127.0.0.1:8080", "listen: localhost"),
        (
            "publicUrl: https://cache.example.org",
            "publicUrl: cache.example.org",
        ),
        ("region: garage", "region: ''"),
        ("region: garage", "zone: garage"),
        ("http://127.0.0.1:40002", "ftp://x"),
        (
            "endpoints: [http://127.0.0.1:40001, http://127.0.0.1:40002]",
            "endpoints: []",
        ),
        ("priority: 30", "priority: high"),
        ("memory: 64Mi", "memory: 64 Bananas"),
        ("retention: 90d", "retention: '90'"),
        ("storeDir: /nix/store", "storeDir: nix/store"),
        ("retention: 90d", "retention: 100y"),
        ("caches:\n", "collect: { settle: 900ms }\ncaches:\n"),
        ("name: other", "name: main"),
        ("name: other", "name: -x"),
        ("/s3-secret", "/none"),
        ("cluster.key", "hs256"),
        ("/hs256", "/s3-secret"),
        ("hs256SecretFile:", "rs256SecretFile:"),
        ("hs256SecretFile:", "issuer:"),
        ("stateDir: ", "stateDir: ."),
    ]
    .iter()
    .map(|(from, to)| {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        line(dir.path(), &load(&file(dir.path(), &text)).unwrap_err())
    })
    .collect();
    assert!(lines.iter().all(|line| !line.contains('\n')));
    insta::assert_snapshot!(lines.join("\n"));
}
