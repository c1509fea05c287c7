//! What a client says about the path that it uploads.

use serde::{Deserialize, Serialize};

use crate::{CacheName, NarHash, StoreDir, StorePath, StorePathError, StorePathHash, check_base_name};

/// The largest NAR that is taken, in bytes. Far above any real one; it keeps sums of sizes from overflowing.
pub const MAX_NAR_SIZE: u64 = 1 << 42;
/// The longest content address and the longest signature, in bytes.
const MAX_FIELD: usize = 1024;
/// The most signatures that come with one path.
const MAX_SIGNATURES: usize = 64;

/// The metadata of an upload, in attic's JSON. Hashes, names and the store path itself are checked while it is
/// parsed; [`UploadInfo::validate`] checks the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadInfo {
    /// The cache that gets the path.
    pub cache: CacheName,
    /// The hash part of `store_path`.
    pub store_path_hash: StorePathHash,
    /// The whole path.
    pub store_path: StorePath,
    /// Base names of the paths that this one refers to.
    pub references: Vec<String>,
    /// Ignored, as attic's server does.
    #[serde(default)]
    pub system: Option<String>,
    /// The derivation that made the path: a base name once validated.
    #[serde(default)]
    pub deriver: Option<String>,
    /// Signatures that came with the path. They are kept, never served.
    #[serde(default)]
    pub sigs: Vec<String>,
    /// What makes the path content-addressed, if it is.
    #[serde(default)]
    pub ca: Option<String>,
    /// The hash of the uncompressed NAR.
    pub nar_hash: NarHash,
    /// The length in bytes of the uncompressed NAR.
    pub nar_size: u64,
}

/// Why the metadata of an upload is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadInfoError {
    /// `store_path_hash` belongs to another path.
    #[error("store_path_hash is not the hash in store_path")]
    HashOfAnotherPath,
    /// The path lies in another store.
    #[error("store_path must lie directly in {expected}, this cache's store directory")]
    OtherStore {
        /// The cache's store directory.
        expected: String,
    },
    /// A reference is not a base name.
    #[error("reference {position} must be \"<hash>-<name>\"")]
    Reference {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: StorePathError,
    },
    /// The deriver is neither a base name nor a path in the cache's store.
    #[error("deriver must be \"<hash>-<name>\", alone or in {expected}, or \"unknown-deriver\"")]
    Deriver {
        /// The cache's store directory.
        expected: String,
    },
    /// A field would add lines to a narinfo, or is absurdly long.
    #[error("{field} must be at most 1024 printable characters without blanks")]
    Field {
        /// The field's name in the JSON.
        field: &'static str,
    },
    /// There are too many signatures.
    #[error("sigs must hold at most 64 signatures")]
    Signatures,
    /// The size cannot be a NAR's.
    #[error("nar_size must be between 1 and {MAX_NAR_SIZE}")]
    NarSize,
}

impl UploadInfo {
    /// Checks what a server must not believe, for a cache with this store directory, and normalises:
    /// references come back sorted and without repetitions, the deriver as a base name or `None`.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn validate(self, store_dir: &StoreDir) -> Result<Self, UploadInfoError> {
        let Self {
            cache,
            store_path_hash,
            store_path,
            mut references,
            system: _,
            deriver,
            sigs,
            ca,
            nar_hash,
            nar_size,
        } = self;
        if store_path.store_dir() != store_dir.as_str() {
            return Err(UploadInfoError::OtherStore {
                expected: store_dir.to_string(),
            });
        }
        if store_path.hash() != store_path_hash {
            return Err(UploadInfoError::HashOfAnotherPath);
        }
        for (index, reference) in references.iter().enumerate() {
            check_base_name(reference).map_err(|source| UploadInfoError::Reference {
                position: index + 1,
                source,
            })?;
        }
        references.sort_unstable();
        references.dedup();
        if sigs.len() > MAX_SIGNATURES {
            return Err(UploadInfoError::Signatures);
        }
        for signature in &sigs {
            check_field("sigs", signature)?;
        }
        // An empty content address is what Nix prints for "none".
        let ca = ca.filter(|ca| !ca.is_empty());
        if let Some(ca) = &ca {
            check_field("ca", ca)?;
        }
        if nar_size == 0 || nar_size > MAX_NAR_SIZE {
            return Err(UploadInfoError::NarSize);
        }
        Ok(Self {
            deriver: deriver
                .map(|deriver| base_deriver(&deriver, store_dir))
                .transpose()?
                .flatten(),
            cache,
            store_path_hash,
            store_path,
            references,
            system: None,
            sigs,
            ca,
            nar_hash,
            nar_size,
        })
    }
}

fn base_deriver(deriver: &str, store_dir: &StoreDir) -> Result<Option<String>, UploadInfoError> {
    if matches!(deriver, "" | "unknown-deriver") {
        return Ok(None);
    }
    let base_name = match deriver.rsplit_once('/') {
        None => Some(deriver),
        Some((dir, base_name)) => (dir == store_dir.as_str()).then_some(base_name),
    };
    base_name
        .filter(|base_name| check_base_name(base_name).is_ok())
        .map(|base_name| Some(base_name.to_owned()))
        .ok_or_else(|| UploadInfoError::Deriver {
            expected: store_dir.to_string(),
        })
}

fn check_field(field: &'static str, value: &str) -> Result<(), UploadInfoError> {
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && !value.is_empty() && value.len() <= MAX_FIELD {
        Ok(())
    } else {
        Err(UploadInfoError::Field { field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-hello";
    const B: &str = "fz33c1mfi2krpg1lwzizfw28kj705yg0-glibc";

    fn info() -> UploadInfo {
        UploadInfo {
            cache: "main".parse().unwrap(),
            store_path_hash: A[..32].parse().unwrap(),
            store_path: format!("/nix/store/{A}").parse().unwrap(),
            references: vec![B.to_owned(), A.to_owned(), B.to_owned()],
            system: Some("x86_64-linux".to_owned()),
            deriver: Some(format!("/nix/store/{B}.drv")),
            sigs: vec!["cache.nixos.org-1:AAAA".to_owned()],
            ca: Some(String::new()),
            nar_hash: NarHash::of(b""),
            nar_size: 120,
        }
    }

    fn validate(info: UploadInfo) -> Result<UploadInfo, UploadInfoError> {
        info.validate(&StoreDir::nix_store())
    }

    #[test]
    fn a_good_upload_comes_back_in_normal_form() {
        let good = validate(info()).unwrap();
        assert_eq!(good.references, [A, B]);
        assert_eq!(good.deriver.as_deref(), Some(&*format!("{B}.drv")));
        assert_eq!((&good.ca, &good.system), (&None, &None));
        assert_eq!(validate(good.clone()).unwrap(), good);
    }

    #[test]
    fn an_unknown_deriver_is_none() {
        let deriver = Some("unknown-deriver".to_owned());
        assert_eq!(validate(UploadInfo { deriver, ..info() }).unwrap().deriver, None);
    }

    #[test]
    fn whatever_could_lie_or_inject_is_refused() {
        let cases = [
            UploadInfo {
                store_path_hash: B[..32].parse().unwrap(),
                ..info()
            },
            UploadInfo {
                store_path: format!("/gnu/store/{A}").parse().unwrap(),
                ..info()
            },
            UploadInfo {
                store_path: format!("/nix/store/x/{A}").parse().unwrap(),
                ..info()
            },
            UploadInfo {
                references: vec![format!("/nix/store/{A}")],
                ..info()
            },
            UploadInfo {
                references: vec![format!("{A}\nSig: x:y")],
                ..info()
            },
            UploadInfo {
                references: vec![format!("{A} {B}")],
                ..info()
            },
            UploadInfo {
                deriver: Some(format!("{A}\nSig: x:y")),
                ..info()
            },
            UploadInfo {
                deriver: Some(format!("/etc/{A}.drv")),
                ..info()
            },
            UploadInfo {
                ca: Some("text:x\nSig: x:y".to_owned()),
                ..info()
            },
            UploadInfo {
                ca: Some("x".repeat(1025)),
                ..info()
            },
            UploadInfo {
                sigs: vec!["a:b\nc".to_owned()],
                ..info()
            },
            UploadInfo {
                sigs: vec!["a:b".to_owned(); 65],
                ..info()
            },
            UploadInfo {
                nar_size: 0,
                ..info()
            },
            UploadInfo {
                nar_size: MAX_NAR_SIZE + 1,
                ..info()
            },
        ];
        for case in cases {
            assert!(validate(case.clone()).is_err(), "{case:?}");
        }
    }

    #[test]
    fn the_json_of_attics_client_is_understood() {
        let json = serde_json::json!({
            "cache": "main", "store_path_hash": A[..32], "store_path": format!("/nix/store/{A}"),
            "references": [B], "system": null, "deriver": null, "sigs": [], "ca": null,
            "nar_hash": NarHash::of(b"").to_nix32(), "nar_size": 120,
        });
        let parsed: UploadInfo = serde_json::from_value(json).unwrap();
        assert_eq!(parsed.nar_hash, NarHash::of(b""));
        assert!(validate(parsed).is_ok());
    }
}
