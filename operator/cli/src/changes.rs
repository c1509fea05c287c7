//! What differs between two documents, field by field.

use hayloft_api::Document;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// Where: `spec.hosts[host-4].pledge`.
    pub(crate) path: String,
    /// What stands there now; nothing when it is new.
    pub(crate) from: Option<String>,
    /// What shall stand there; nothing when it goes.
    pub(crate) to: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, from, to } = self;
        match (from, to) {
            (Some(from), Some(to)) => write!(out, "~ {path}: {from} → {to}"),
            (None, Some(to)) => write!(out, "+ {path}: {to}"),
            (Some(from), None) => write!(out, "- {path}: {from}"),
            (None, None) => write!(out, "  {path}"),
        }
    }
}

/// All differences, in the order of the document. Elements of lists that have a `name` are the same when that is.
pub(crate) fn between(old: &Document, new: &Document) -> Result<Vec<Change>, serde_json::Error> {
    let mut changes = Vec::new();
    compare(
        "",
        Some(&serde_json::to_value(old)?),
        Some(&serde_json::to_value(new)?),
        &mut changes,
    );
    Ok(changes)
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (name, old) in old {
                compare(&below(path, name), Some(old), new.get(name), changes);
            }
            for (name, new) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare(&below(path, name), None, Some(new), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if named(old) && named(new) => {
            for element in old {
                let same = new.iter().find(|other| other.get("name") == element.get("name"));
                compare(&element_path(path, element), Some(element), same, changes);
            }
            for element in new
                .iter()
                .filter(|new| old.iter().all(|old| old.get("name") != new.get("name")))
            {
                compare(&element_path(path, element), None, Some(element), changes);
            }
        }
        _ => changes.push(Change {
            path: path.to_owned(),
            from: old.and_then(show),
            to: new.and_then(show),
        }),
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn named(list: &[Value]) -> bool {
    list.iter().all(|element| element.get("name").is_some())
}

fn element_path(path: &str, element: &Value) -> String {
    format!(
        "{path}[{}]",
        element.get("name").and_then(Value::as_str).unwrap_or_default()
    )
}

/// A value in few words: the parts of an object that say something.
fn show(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let said: Vec<_> = fields
                .iter()
                .filter(|(name, _)| *name != "name")
                .filter_map(|(name, value)| Some(format!("{name} {}", show(value)?)))
                .collect();
            Some(said.join(", "))
        }
        Value::Array(elements) => {
            let said: Vec<_> = elements.iter().filter_map(show).collect();
            Some(format!("[{}]", said.join(", ")))
        }
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use hayloft_api::Bytes;

    use super::*;

    #[test]
    fn hosts_and_caches_are_compared_by_name() {
        let old = Document::laptop(3, Bytes::gib(10)).unwrap();
        let mut new = Document::laptop(4, Bytes::gib(10)).unwrap();
        new.spec.hosts.remove(1);
        new.spec.hosts[0].pledge = Some(Bytes::gib(20));
        new.spec.caches[0].priority = 41;
        let lines: Vec<_> = between(&old, &new)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(between(&old, &old).unwrap().is_empty());
    }
}
