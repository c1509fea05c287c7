//! What the document allows, the gateway takes: for documents at the edges of every rule, the gateway's file is written
//! as an agent writes it, and read as the gateway reads it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test shall fail the test"
)]

use std::error::Error as _;
use std::fs;
use std::path::Path;

use hayloft_api::agent::{FleetDesired, GatewayDesired, GatewayPeer, S3Desired};
use hayloft_api::{Document, Secret};
use hayloft_api::{GatewayPaths, gateway_config};
use hayloft_pki::LinkIdentity;
use hayloft_server::config::{self, Config};

/// A document of one host, with these lines for the gateway and its caches.
fn document(gateway: &str, caches: &str) -> String {
    format!(
        "apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: {{ name: edge }}
spec:
  garage: {{ replicationFactor: 1 }}
  hosts: [{{ name: box, zone: home, roles: [storage, gateway], pledge: 1Gi }}]
  gateway: {{ {gateway} }}
  caches: [{caches}]
"
    )
}

/// Writes the file as for the host that serves, and loads it.
fn load(document: &Document, dir: &Path) -> Config {
    let desired = GatewayDesired {
        listen: "127.0.0.1:8080".into(),
        public_url: document.spec.gateway.public_url.clone(),
        s3: S3Desired {
            endpoints: vec!["http://127.0.0.1:40001".into(), "http://[::1]:40002".into()],
            region: "garage".into(),
            bucket: "hayloft".into(),
            access_key_id: "GK0123456789abcdef01234567".into(),
            secret_access_key: Secret::new("s3"),
        },
        token_secret: Secret::new("c2VjcmV0"),
        cluster_key: Secret::new("hlk1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        memory: document.spec.gateway.cache.memory,
        disk: document.spec.gateway.cache.disk,
        uplink: document.spec.hosts[0].uplink,
        caches: document.spec.caches.clone(),
        fleet: Some(FleetDesired {
            name: "box".parse().unwrap(),
            listen: "[::]:7442".into(),
            peers: vec![GatewayPeer {
                name: "lyon".parse().unwrap(),
                addr: "[2001:db8::1]:7442".into(),
            }],
        }),
    };
    let paths = GatewayPaths {
        state_dir: dir.join("state"),
        key_file: dir.join("cluster.key"),
        s3_secret_file: dir.join("s3-secret"),
        token_secret_file: dir.join("token-hs256"),
        link_cert_file: dir.join("link.pem"),
        link_key_file: dir.join("link.key"),
        link_ca_file: dir.join("link-ca.pem"),
    };
    let link = LinkIdentity::derive(&desired.s3.secret_access_key, "box", "::1").unwrap();
    fs::write(&paths.link_cert_file, link.certificate).unwrap();
    fs::write(&paths.link_key_file, link.key.expose()).unwrap();
    fs::write(&paths.link_ca_file, link.authority).unwrap();
    fs::write(&paths.key_file, desired.cluster_key.expose()).unwrap();
    fs::write(&paths.s3_secret_file, desired.s3.secret_access_key.expose()).unwrap();
    fs::write(&paths.token_secret_file, desired.token_secret.expose()).unwrap();
    let file = dir.join("gateway.yaml");
    fs::write(&file, gateway_config(&desired, &paths).unwrap()).unwrap();
    config::load(&file).unwrap_or_else(|error| {
        panic!(
            "the document is taken and the gateway refuses its file: {error}: {:?}\n{document:?}",
            error.source()
        )
    })
}

/// Whether the document is taken. If so, the gateway must take it too, and understand the same.
fn meets(text: &str, dir: &Path) -> bool {
    let Ok(document) = Document::from_yaml(text) else {
        return false;
    };
    let config = load(&document, dir);
    let spec = &document.spec;
    assert_eq!(config.memory.0, spec.gateway.cache.memory.0, "{text}");
    assert_eq!(
        config.upkeep.disk,
        spec.gateway.cache.disk.map_or(0, |disk| disk.0),
        "{text}"
    );
    let uplink = spec.hosts[0].uplink.map_or(0, |rate| rate.0.0);
    assert_eq!(config.uplink, uplink, "{text}");
    assert_eq!(config.public_url.is_some(), spec.gateway.public_url.is_some());
    assert_eq!(config.caches.len(), spec.caches.len());
    for (read, declared) in config.caches.iter().zip(&spec.caches) {
        assert_eq!(read.name.as_str(), declared.name.as_str());
        assert_eq!(read.public, Some(declared.public));
        assert_eq!(read.priority, Some(declared.priority));
        assert_eq!(read.store_dir.as_ref().unwrap().as_str(), declared.store_dir);
        assert_eq!(read.upstream_keys.as_ref(), Some(&declared.upstream_keys));
        assert_eq!(
            read.retention.map(u64::from),
            declared.retention.map(|span| span.seconds)
        );
    }
    true
}

/// For each text whether the document takes it; where it does, the gateway must too.
fn taken(texts: &[&str], document_with: impl Fn(&str) -> String) -> Vec<bool> {
    let dir = tempfile::tempdir().unwrap();
    texts
        .iter()
        .map(|text| meets(&document_with(text), dir.path()))
        .collect()
}

/// All of `good` are taken by both, and none of `bad` by the document.
#[track_caller]
fn edges(good: &[&str], bad: &[&str], document_with: impl Fn(&str) -> String) {
    for (text, taken) in good.iter().zip(taken(good, &document_with)) {
        assert!(taken, "{text} should be taken");
    }
    for (text, taken) in bad.iter().zip(taken(bad, &document_with)) {
        assert!(!taken, "{text} should be refused");
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn amounts_of_memory() {
    edges(
        &[
            "0",
            "1",
            "64Mi",
            "1.5Gi",
            "0.000001Ti",
            "3Pi",
            "3P",
            "50MB",
            "1k",
            "16383Pi",
            "18446744073709551615",
            "'1 GB'",
        ],
        &["16384Pi", "18446744073709551616", "-1", "lots", "''"],
        |memory| document(&format!("cache: {{ memory: {memory} }}"), ""),
    );
}

#[test]
fn amounts_of_disk() {
    edges(
        &["0", "64Mi", "1.5Gi", "3P"],
        &["16384Pi", "-1", "lots"],
        |disk| document(&format!("cache: {{ disk: {disk} }}"), ""),
    );
}

#[test]
fn public_urls() {
    edges(
        &[
            "https://cache.example.org",
            "http://127.0.0.1:8080",
            "http://[::1]:8080/nix/",
            "https://cache.example.org/a%20b/c",
            "https://bücher.example",
        ],
        &[
            "",
            "https://",
            "https:///x",
            "https://a b",
            "https://a:99999",
            "https://a:b",
            "https://[::1",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://u:p@a/",
            "https://a\\@b",
            "https://ex%00ample",
            "https://a\tb",
            "ftp://a",
            "cache.example.org",
        ],
        |url| document(&format!("publicUrl: {}", quoted(url)), ""),
    );
}

#[test]
fn store_directories() {
    let longest = format!("/{}", "x".repeat(1023));
    let longer = format!("/{}", "x".repeat(1024));
    edges(
        &[
            "/nix/store",
            "/s",
            "/gnu/store.d/..x",
            "/true",
            "/ü",
            "/a\\b",
            &longest,
        ],
        &[
            "",
            "/",
            "//",
            "nix/store",
            "/nix/store/",
            "/nix//store",
            "/nix/./store",
            "/nix/../store",
            "/..",
            "/a b",
            "/a\tb",
            "/a\u{a0}b",
            "/a\u{7}b",
            &longer,
        ],
        |dir| document("", &format!("{{ name: main, storeDir: {} }}", quoted(dir))),
    );
}

#[test]
fn retentions() {
    edges(
        &[
            "1s",
            "90d",
            "1w",
            "1h30m",
            "1w2d3h4m5s",
            "24855d3h14m7s",
            "2147483647s",
        ],
        &[
            "0s",
            "2147483648s",
            "24855d3h14m8s",
            "4294967295s",
            "69w9999999d",
            "90",
            "1y",
            "-1d",
            "''",
        ],
        |retention| document("", &format!("{{ name: main, retention: {retention} }}")),
    );
}

#[test]
fn names_of_keys() {
    let longest = "k".repeat(256);
    let longer = "k".repeat(257);
    edges(
        &[
            "cache.nixos.org-1",
            "true",
            "null",
            "~",
            "1",
            "0x10",
            "1e3",
            "#",
            "é",
            "\"",
            "'",
            "{",
            "*a",
            "&a",
            "!x",
            "%",
            "-",
            &longest,
        ],
        &["", "a:b", "a b", "a\nb", "a\u{85}b", &longer],
        |key| document("", &format!("{{ name: main, upstreamKeys: [{}] }}", quoted(key))),
    );
    edges(&["0", "1", "64"], &["65"], |number| {
        let keys: Vec<_> = (0..number.parse().unwrap()).map(|n| format!("key-{n}")).collect();
        document(
            "",
            &format!("{{ name: main, upstreamKeys: [{}] }}", keys.join(", ")),
        )
    });
}

#[test]
fn names_and_priorities_of_caches() {
    let longest = "c".repeat(50);
    let longer = "c".repeat(51);
    edges(
        &[
            "main", "A-1_x+y", "true", "null", "no", "1", "007", "0x1f", "1e3", "1_000", "0o7", &longest,
        ],
        &["", "-a", "_a", "+a", "a.b", "a/b", "~", "é", &longer],
        |name| document("", &format!("{{ name: {} }}", quoted(name))),
    );
    edges(&["a, b", "A, a"], &["a, a"], |names| {
        let caches: Vec<_> = names
            .split(", ")
            .map(|name| format!("{{ name: {name} }}"))
            .collect();
        document("", &caches.join(", "))
    });
    edges(
        &["0", "41", "2147483647"],
        &["-1", "2147483648", "high"],
        |priority| document("", &format!("{{ name: main, priority: {priority} }}")),
    );
}
