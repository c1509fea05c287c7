use std::error::Error;

use super::*;

const FULL: &str = include_str!("../../testdata/full.yaml");
/// What makes it wrong: from, to, and whether Kubernetes' API server is to see it.
const REFUSED: &str = include_str!("../../testdata/refused.yaml");

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refused {
    from: String,
    to: String,
    #[serde(rename = "apiServer")]
    _api_server: Option<String>,
}

fn refused() -> Vec<Refused> {
    serde_yaml::from_str(REFUSED).unwrap()
}

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
    let mut cases: Vec<String> = refused().iter().map(|case| with(&case.from, &case.to)).collect();
    cases.extend([
        with("kind: CacheCluster", "kind: Cluster"),
        with("v1alpha1", "v2"),
        said("- 1"),
    ]);
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
