use std::error::Error;

use super::*;

const FULL: &str = r#"
apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: { name: commons }
spec:
  garage: { replicationFactor: 3, fsync: true, zoneRedundancy: 3 }
  hosts:
    - { name: paris-1, owner: maison, zone: paris, roles: [storage, gateway], pledge: 2Ti, address: paris-1.example.org }
    - { name: lyon-1, zone: lyon, roles: [storage], pledge: 1Ti, away: { until: 2026-12-01T00:00:00Z } }
    - { name: nomad, zone: lyon, roles: [gateway], uplink: 2MB/s }
  pools:
    - { name: rack, zone: rack-1, replicas: 3, roles: [storage], pledge: 500Gi, storageClassName: local }
  admission: { approval: automatic, maxPledge: 4Ti, zones: [paris, lyon, rack-1], minGarage: "2.5" }
  rebalance: { joinWindow: 2m, deadAfter: 72h, reserve: 10%, resyncWorkers: auto, windows: ["22:00-07:00"], maxRate: 50MB/s }
  gateway:
    publicUrl: https://cache.example.org
    cache: { memory: 256Mi, disk: 20Gi }
  caches:
    - { name: main, public: true, priority: 30, retention: 90d, upstreamKeys: [cache.nixos.org-1] }
"#;

fn said(text: &str) -> String {
    let error = Document::from_yaml(text).expect_err("this document is wrong");
    format!("{error}: {}", error.source().expect("the source says where"))
}

/// The message after `old` in the full document was replaced by `new`.
fn with(old: &str, new: &str) -> String {
    assert!(FULL.contains(old), "{old}");
    said(&FULL.replacen(old, new, 1))
}

#[test]
fn the_document_of_the_design_is_valid_and_reads_back() {
    let document = Document::from_yaml(FULL).unwrap();
    assert_eq!(
        Document::from_yaml(&document.to_yaml().unwrap()).unwrap(),
        document
    );
    insta::assert_snapshot!(document.to_yaml().unwrap());
}

#[test]
fn a_short_document_gets_the_defaults() {
    let document = Document::from_yaml(
        "apiVersion: hayloft.dev/v1alpha1\nkind: CacheCluster\nmetadata: {name: c}\nspec: {garage: {replicationFactor: 3}, caches: [{name: main}]}",
    )
    .unwrap();
    insta::assert_snapshot!(document.to_yaml().unwrap());
}

#[test]
fn every_error_names_the_field_what_was_given_and_what_is_allowed() {
    let cases = [
        with("replicationFactor: 3", "replicationFactor: 2"),
        with("replicationFactor: 3", "replicationFactor: many"),
        with("zoneRedundancy: 3", "zoneRedundancy: 4"),
        with("zoneRedundancy: 3", "zoneRedundancy: maximum"),
        with("zone: rack-1, replicas", "zone: paris, replicas"),
        with("replicas: 3", "replicas: 0"),
        with("name: lyon-1", "name: paris-1"),
        with("name: lyon-1", "name: Lyon"),
        with("pledge: 1Ti, away", "away"),
        with("pledge: 1Ti", "pledge: 1Mi"),
        with("pledge: 1Ti", "pledge: 8Ti"),
        with("pledge: 1Ti", "pledge: lots"),
        with("roles: [gateway]", "roles: [gateway], pledge: 1Ti"),
        with("roles: [gateway]", "roles: []"),
        with("roles: [gateway]", "roles: [gatway]"),
        with("zones: [paris, lyon, rack-1]", "zones: [paris, rack-1]"),
        with("minGarage: \"2.5\"", "minGarage: \"2.4\""),
        with("joinWindow: 2m", "joinWindow: soon"),
        with("joinWindow: 2m", "joinWidow: 2m"),
        with("joinWindow: 2m", "joinWindow: 2d"),
        with("deadAfter: 72h", "deadAfter: 0s"),
        with("replicationFactor: 3", "replicationFactor: 3, quota: 0"),
        with("reserve: 10%", "reserve: 95%"),
        with("reserve: 10%", "reserve: 110%"),
        with("resyncWorkers: auto", "resyncWorkers: 9"),
        with("\"22:00-07:00\"", "\"22:00\""),
        with("50MB/s", "50MB"),
        with("https://cache", "ftp://cache"),
        with("https://cache.example.org", "https://cache.example.org:99999"),
        with("https://cache.example.org", "https://"),
        with("https://cache.example.org", "https://me@cache.example.org"),
        with("name: main", "name: -main"),
        with("upstreamKeys: [cache.nixos.org-1]", "upstreamKeys: [\"a:b\"]"),
        with("retention: 90d", "retention: 0s"),
        with("retention: 90d", "retention: 2147483648s"),
        with("retention: 90d", "storeDir: /nix//store"),
        with("retention: 90d", "storeDir: nix/store"),
        with("retention: 90d", "storeDir: \"/nix/my store\""),
        with("kind: CacheCluster", "kind: Cluster"),
        with("v1alpha1", "v2"),
        said("- 1"),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn name_and_replication_factor_are_immutable() {
    let old = Document::from_yaml(FULL).unwrap();
    let mut new = old.clone();
    assert_eq!(check_change(&old, &new), Ok(()));
    new.spec.garage.replication_factor = 5;
    new.metadata.name = "other".parse().unwrap();
    assert_eq!(
        check_change(&old, &new).unwrap_err().to_string(),
        "metadata.name: `other` given, it is immutable and is `commons`; \
         spec.garage.replicationFactor: 5 given, it is immutable and is 3"
    );
}
