//! The definitions of both kinds, as they are installed.
//!
//! Versions: `v1alpha1` is served and stored. A later version is added beside it and stored from then on; the older one stays
//! served for as long as [`stored_versions`](https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/)
//! names it, and objects are converted by a webhook of the operator, or by none where only fields were added.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::{CacheCluster, Host};

/// Why the definitions could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// A definition has no such form.
    #[error("the custom resource definitions cannot be written")]
    Write(#[from] serde_json::Error),
    /// The text could not be written.
    #[error("the custom resource definitions cannot be written")]
    Yaml(#[from] serde_yaml::Error),
}

/// Both definitions.
///
/// # Errors
/// None that these types can cause.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    [CacheCluster::crd(), Host::crd()]
        .into_iter()
        .map(polished)
        .collect()
}

/// Both definitions as one text of YAML documents, the way `kubectl apply` takes them.
///
/// # Errors
/// As [`definitions`].
pub fn yaml() -> Result<String, CrdError> {
    let mut text = String::new();
    for definition in definitions()? {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&definition)?);
    }
    Ok(text)
}

/// The definition's file in the Helm chart.
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

/// Says what the derivation has no words for.
fn polished(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, CrdError> {
    let mut value = serde_json::to_value(definition)?;
    // Nothing else: Kubernetes takes no note of formats that it does not know, but warns of each.
    drop_unknown_formats(&mut value);
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        // With a definition go all its objects: none goes because a chart or an application does.
        metadata.insert(
            "annotations".to_owned(),
            serde_json::json!({
                "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
                "helm.sh/resource-policy": "keep",
            }),
        );
    }
    Ok(serde_json::from_value(value)?)
}

fn drop_unknown_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let unknown = |format: &Value| format.as_str().is_some_and(|format| format.starts_with("uint"));
            if fields.get("format").is_some_and(unknown) {
                fields.remove("format");
            }
            fields.values_mut().for_each(drop_unknown_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unknown_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
