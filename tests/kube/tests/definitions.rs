//! A real API server takes the definitions, and refuses what `hayloft check` refuses.
#![expect(clippy::unwrap_used, reason = "tests")]

use hayloft_kube::Rig;
use hayloft_kubernetes::crd;

const FULL: &str = include_str!("../../../operator/api/testdata/full.yaml");
const REFUSED: &str = include_str!("../../../operator/api/testdata/refused.yaml");
const HOST: &str = "apiVersion: hayloft.dev/v1alpha1
kind: Host
metadata: { name: nomad }
spec: { cluster: { name: commons }, zone: lyon, roles: [storage], pledge: 1Ti }
";

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    from: String,
    to: String,
    /// Why the API server takes it.
    api_server: Option<String>,
}

fn with_definitions() -> Option<Rig> {
    let rig = Rig::up().unwrap()?;
    let said = rig
        .get(&["apply", "--server-side", "-f", "-"], &crd::yaml().unwrap())
        .unwrap();
    assert!(!said.contains("Warning"), "{said}");
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
        "--all",
    ];
    rig.get(&established, "").unwrap();
    Some(rig)
}

const DRY: [&str; 4] = ["create", "--dry-run=server", "-f", "-"];

#[test]
fn the_api_server_refuses_what_check_refuses_and_takes_the_rest() {
    let Some(rig) = with_definitions() else { return };
    rig.get(&DRY, FULL).unwrap();
    let mut wrong = Vec::new();
    for case in serde_yaml::from_str::<Vec<Case>>(REFUSED).unwrap() {
        assert!(FULL.contains(&case.from), "{}", case.from);
        let said = rig
            .kubectl(&DRY, &FULL.replacen(&case.from, &case.to, 1))
            .unwrap();
        if said.success != case.api_server.is_some() {
            wrong.push(format!("{} → {}: {}", case.from, case.to, said.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_immutable_stays_and_what_is_left_out_gets_its_default() {
    let Some(rig) = with_definitions() else { return };
    rig.get(
        &["create", "-f", "-"],
        "{apiVersion: hayloft.dev/v1alpha1, kind: CacheCluster, metadata: {name: commons}, spec: {garage: {replicationFactor: 3}, caches: [{name: main}]}}",
    )
    .unwrap();
    let field = |path: &str| {
        let output = format!("jsonpath={{{path}}}");
        rig.get(&["get", "cc", "commons", "-o", &output], "").unwrap()
    };
    assert_eq!(field(".spec.rebalance.deadAfter"), "3d");
    assert_eq!(field(".spec.caches[0].storeDir"), "/nix/store");
    assert_eq!(field(".spec.gateway.cache.memory"), "256Mi");

    let patch = |kind: &str, name: &str, patch: &str| {
        rig.kubectl(&["patch", kind, name, "--type=merge", "-p", patch], "")
            .unwrap()
    };
    let refused = patch("cc", "commons", r#"{"spec":{"garage":{"replicationFactor":5}}}"#);
    assert!(
        !refused.success && refused.text.contains("the replication factor is immutable"),
        "{refused:?}"
    );
    rig.get(&["create", "-f", "-"], HOST).unwrap();
    let refused = patch("host", "nomad", r#"{"spec":{"cluster":{"name":"other"}}}"#);
    assert!(
        !refused.success && refused.text.contains("does not change its cluster"),
        "{refused:?}"
    );
    let taken = patch("host", "nomad", r#"{"spec":{"state":"drained"}}"#);
    assert!(taken.success, "{taken:?}");
}

#[test]
fn names_are_bounded_and_objects_are_found_by_their_short_names() {
    let Some(rig) = with_definitions() else { return };
    let long = FULL.replacen("name: commons", &format!("name: {}", "c".repeat(41)), 1);
    let said = rig.kubectl(&DRY, &long).unwrap();
    assert!(!said.success && said.text.contains("1 to 40"), "{said:?}");
    let dotted = FULL.replacen("name: commons", "name: com.mons", 1);
    assert!(!rig.kubectl(&DRY, &dotted).unwrap().success);
    let both = FULL
        .replacen("name: commons", &format!("name: {}", "c".repeat(40)), 1)
        .replacen("name: rack,", "name: rack-of-many,", 1);
    let said = rig.kubectl(&DRY, &both).unwrap();
    assert!(
        !said.success && said.text.contains("50 characters together"),
        "{said:?}"
    );

    rig.get(&["create", "-f", "-"], FULL).unwrap();
    rig.get(&["create", "-f", "-"], HOST).unwrap();
    let table = rig.get(&["get", "cc"], "").unwrap();
    for column in ["NAME", "READY", "HOSTS", "STORED", "STATUS", "AGE"] {
        assert!(table.contains(column), "{table}");
    }
    let all = rig.get(&["get", "hayloft"], "").unwrap();
    assert!(
        all.contains("cachecluster.hayloft.dev/commons") && all.contains("host.hayloft.dev/nomad"),
        "{all}"
    );
    let of_cluster = [
        "get",
        "hlh",
        "--field-selector",
        "spec.cluster.name=commons",
        "-o",
        "name",
    ];
    assert_eq!(rig.get(&of_cluster, "").unwrap().trim(), "host.hayloft.dev/nomad");
}
