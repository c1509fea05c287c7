//! What `nix path-info --json` prints, in every shape it has had.
//!
//! | printed by | shape | hashes | paths |
//! |---|---|---|---|
//! | Nix 2.3 | list of objects | `sha256:<base-32>` | whole |
//! | Nix 2.4 to 2.18, Lix | list of objects | SRI | whole |
//! | Nix 2.19 to 2.32, and later without `--json-format` | object by path, `null` for what is not valid | SRI | whole |
//! | format 2 (Nix 2.33) and 3 (2.35) | `{"version", "storeDir", "info": {…}}` | SRI | base names |
//!
//! Signatures are objects from format 3 on, content addresses from format 2 on.

use hayloft_nixcache::{NarHash, StoreDir, StorePath, nix32};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::StoreError;

/// What the local store knows of one path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathInfo {
    /// The path.
    pub(crate) path: StorePath,
    /// SHA-256 of its NAR.
    pub(crate) nar_hash: NarHash,
    /// Length of its NAR in bytes.
    pub(crate) nar_size: u64,
    /// Base names of the paths it refers to, perhaps itself, sorted.
    pub(crate) references: Vec<String>,
    /// Base name of the derivation that made it.
    pub(crate) deriver: Option<String>,
    /// Its content address, as in a narinfo.
    pub(crate) ca: Option<String>,
    /// Signatures, as `name:base64`.
    pub(crate) signatures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    valid: Option<bool>,
    #[serde(default)]
    nar_hash: Option<Hash>,
    #[serde(default)]
    nar_size: Option<u64>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    deriver: Option<String>,
    #[serde(default)]
    ca: Option<ContentAddress>,
    #[serde(default)]
    signatures: Option<Vec<Signature>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Hash {
    Text(String),
    Parts { algorithm: String, hash: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ContentAddress {
    Text(String),
    Parts { method: String, hash: Hash },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Signature {
    Text(String),
    Parts {
        #[serde(rename = "keyName")]
        key_name: String,
        sig: String,
    },
}

/// Reads the output.
///
/// # Errors
/// A shape that is not known, a path that is not valid, or values that cannot be.
pub(super) fn parse(output: &[u8]) -> Result<Vec<PathInfo>, StoreError> {
    let json = |source| StoreError::Json { source };
    match serde_json::from_slice(output).map_err(json)? {
        Value::Array(entries) => entries
            .into_iter()
            .map(|entry| {
                let mut entry: Entry = serde_json::from_value(entry).map_err(json)?;
                let path = entry.path.take().unwrap_or_default();
                info(&StoreDir::nix_store(), &path, entry)
            })
            .collect(),
        Value::Object(mut object) => match (object.remove("version"), object.remove("info")) {
            (Some(_), Some(Value::Object(entries))) => {
                let dir = object
                    .get("storeDir")
                    .and_then(Value::as_str)
                    .unwrap_or("/nix/store");
                let dir = dir
                    .parse()
                    .map_err(|_| StoreError::Unreadable { line: dir.to_owned() })?;
                by_path(&dir, entries)
            }
            (None, None) => by_path(&StoreDir::nix_store(), object),
            _ => Err(json(serde::de::Error::custom(
                "\"version\" and \"info\" belong together",
            ))),
        },
        _ => Err(json(serde::de::Error::custom("neither a list nor an object"))),
    }
}

fn by_path(dir: &StoreDir, entries: Map<String, Value>) -> Result<Vec<PathInfo>, StoreError> {
    entries
        .into_iter()
        .map(|(path, entry)| match entry {
            Value::Null => Err(StoreError::NotValid {
                path: whole(dir, &path),
            }),
            entry => info(
                dir,
                &path,
                serde_json::from_value(entry).map_err(|source| StoreError::Json { source })?,
            ),
        })
        .collect()
}

fn info(dir: &StoreDir, path: &str, entry: Entry) -> Result<PathInfo, StoreError> {
    let path = whole(dir, path);
    let wrong = |why: &str| StoreError::Entry {
        path: path.clone(),
        why: why.to_owned(),
    };
    if entry.valid == Some(false) {
        return Err(StoreError::NotValid { path });
    }
    let nar_hash = entry
        .nar_hash
        .as_ref()
        .and_then(sha256)
        .ok_or_else(|| wrong("its narHash is not a SHA-256"))?;
    let nar_size = entry.nar_size.ok_or_else(|| wrong("it has no narSize"))?;
    let mut references: Vec<String> = entry
        .references
        .iter()
        .map(|path| base_name(path).to_owned())
        .collect();
    references.sort_unstable();
    references.dedup();
    let signatures = entry
        .signatures
        .unwrap_or_default()
        .into_iter()
        .map(|signature| match signature {
            Signature::Text(text) => text,
            Signature::Parts { key_name, sig } => format!("{key_name}:{sig}"),
        });
    Ok(PathInfo {
        path: path.parse().map_err(|_| wrong("it is not a store path"))?,
        nar_hash,
        nar_size,
        references,
        deriver: entry.deriver.map(|path| base_name(&path).to_owned()),
        ca: entry.ca.and_then(|ca| content_address(&ca)),
        signatures: signatures.collect(),
    })
}

fn whole(dir: &StoreDir, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", dir.as_str())
    }
}

/// The last part of a path, or all of what is a base name already.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn sha256(hash: &Hash) -> Option<NarHash> {
    match hash {
        Hash::Text(text) => text.parse().ok().or_else(|| NarHash::from_sri(text).ok()),
        Hash::Parts { algorithm, hash } if algorithm == "sha256" => {
            let with = |separator: char| format!("sha256{separator}{hash}");
            with(':')
                .parse()
                .ok()
                .or_else(|| NarHash::from_sri(&with('-')).ok())
        }
        Hash::Parts { .. } => None,
    }
}

/// The text of a content address that is told in parts; nothing for a hash of another algorithm, whose paths then go
/// without one, as a content address is only one way for a client to trust a path.
fn content_address(ca: &ContentAddress) -> Option<String> {
    let (method, hash) = match ca {
        ContentAddress::Text(text) => return Some(text.clone()),
        ContentAddress::Parts { method, hash } => (method, hash),
    };
    let digits = nix32::encode(sha256(hash)?.as_bytes());
    match method.as_str() {
        "flat" => Some(format!("fixed:sha256:{digits}")),
        "nar" => Some(format!("fixed:r:sha256:{digits}")),
        "git" => Some(format!("fixed:git:sha256:{digits}")),
        "text" => Some(format!("text:sha256:{digits}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same two paths as each version prints them.
    const NIX_2_3: &str = include_str!("recorded/nix-2.3.json");
    const NIX_2_18: &str = include_str!("recorded/nix-2.18.json");
    const NIX_2_26: &str = include_str!("recorded/nix-2.26.json");
    const NIX_2_34: &str = include_str!("recorded/nix-2.34.json");
    const FORMAT_2: &str = include_str!("recorded/format-2.json");
    const FORMAT_3: &str = include_str!("recorded/format-3.json");
    const LIX: &str = include_str!("recorded/lix-2.93.json");

    fn sorted(output: &str) -> Vec<PathInfo> {
        let mut infos = parse(output.as_bytes()).expect("parses");
        infos.sort();
        infos
    }

    #[test]
    fn every_version_tells_the_same_of_the_same_paths() {
        let expected = sorted(NIX_2_26);
        insta::assert_debug_snapshot!(expected);
        for (name, output) in [
            ("2.3", NIX_2_3),
            ("2.18", NIX_2_18),
            ("2.34", NIX_2_34),
            ("format 2", FORMAT_2),
            ("format 3", FORMAT_3),
            ("lix", LIX),
        ] {
            assert_eq!(sorted(output), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_valid_is_named_in_every_shape() {
        let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-gone";
        for output in [
            format!(r#"[{{"path":"{path}","valid":false}}]"#),
            format!(r#"{{"{path}":null}}"#),
            r#"{"version":2,"storeDir":"/nix/store","info":{"0123456789abcdfghijklmnpqrsvwxyz-gone":null}}"#
                .to_owned(),
        ] {
            let told = parse(output.as_bytes());
            assert!(
                matches!(told, Err(StoreError::NotValid { path: ref named }) if named == path),
                "{output}: {told:?}"
            );
        }
    }

    #[test]
    fn other_shapes_are_refused_and_not_guessed() {
        for output in [
            "3",
            "{\"version\":9}",
            "[3]",
            "[{\"path\":\"/nix/store/x\"}]",
            "",
            "{\"a\":{\"narHash\":\"md5:00\"}}",
        ] {
            assert!(parse(output.as_bytes()).is_err(), "{output}");
        }
    }

    #[test]
    fn a_closure_of_nothing_is_nothing_in_both_shapes() {
        assert_eq!(parse(b"[]").expect("parses"), []);
        assert_eq!(parse(b"{}").expect("parses"), []);
    }
}
