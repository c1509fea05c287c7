//! The text that describes one store path to Nix.

use std::fmt;
use std::str::FromStr;

use crate::{
    HashError, KeyError, NarHash, Signature, StorePath, StorePathError, check_base_name, fingerprint,
};

/// How the NAR at the narinfo's `URL` is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard; concatenated frames are fine.
    Zstd,
    /// Any other method, by the name that Nix gives it.
    Other(String),
}

impl Compression {
    /// The name in a narinfo.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
            Self::Other(name) => name,
        }
    }
}

/// One store path as Nix sees it in a binary cache. Renders by `Display`, in attic's field order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// The path.
    pub store_path: StorePath,
    /// Where the NAR lies, relative to the cache's URL, or a whole URL.
    pub url: String,
    /// How the NAR at `url` is compressed.
    pub compression: Compression,
    /// The hash of what lies at `url`, as text: Nix allows several algorithms here.
    pub file_hash: Option<String>,
    /// The length in bytes of what lies at `url`.
    pub file_size: Option<u64>,
    /// The hash of the uncompressed NAR.
    pub nar_hash: NarHash,
    /// The length in bytes of the uncompressed NAR.
    pub nar_size: u64,
    /// Base names of the paths that this one refers to, itself included when it does.
    pub references: Vec<String>,
    /// Base name of the derivation that made the path.
    pub deriver: Option<String>,
    /// Signatures over [`NarInfo::fingerprint`].
    pub signatures: Vec<Signature>,
    /// What makes the path content-addressed, if it is.
    pub ca: Option<String>,
}

/// Why a text is not a narinfo.
#[derive(Debug, thiserror::Error)]
pub enum NarInfoError {
    /// A line has no `: `.
    #[error("line {line} is not \"Key: value\"")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field is there twice.
    #[error("{field} stands there twice")]
    Twice {
        /// The field's name.
        field: &'static str,
    },
    /// A number is not one.
    #[error("{field} is not a number above 0")]
    Number {
        /// The field's name.
        field: &'static str,
    },
    /// The path, a reference or the deriver is not one.
    #[error("{field} holds what is not a store path")]
    Path {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: StorePathError,
    },
    /// The NAR hash is not one.
    #[error("NarHash is not a SHA-256")]
    Hash(#[source] HashError),
    /// A signature is malformed; Nix refuses the whole narinfo then, too.
    #[error("Sig is malformed")]
    Signature(#[source] KeyError),
}

impl NarInfo {
    /// The text that signatures cover.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.store_path, &self.nar_hash, self.nar_size, &self.references)
    }
}

impl fmt::Display for NarInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            store_path,
            url,
            compression,
            file_hash,
            file_size,
            nar_hash,
            nar_size,
            references,
            deriver,
            signatures,
            ca,
        } = self;
        writeln!(f, "StorePath: {store_path}")?;
        writeln!(f, "URL: {url}")?;
        writeln!(f, "Compression: {}", compression.as_str())?;
        if let Some(file_hash) = file_hash {
            writeln!(f, "FileHash: {file_hash}")?;
        }
        if let Some(file_size) = file_size {
            writeln!(f, "FileSize: {file_size}")?;
        }
        writeln!(f, "NarHash: {nar_hash}")?;
        writeln!(f, "NarSize: {nar_size}")?;
        writeln!(f, "References: {}", references.join(" "))?;
        if let Some(deriver) = deriver {
            writeln!(f, "Deriver: {deriver}")?;
        }
        for signature in signatures {
            writeln!(f, "Sig: {signature}")?;
        }
        if let Some(ca) = ca {
            writeln!(f, "CA: {ca}")?;
        }
        Ok(())
    }
}

impl FromStr for NarInfo {
    type Err = NarInfoError;

    fn from_str(text: &str) -> Result<Self, NarInfoError> {
        let mut fields = Fields::default();
        for (index, line) in text.lines().enumerate() {
            let (key, value) = line
                .split_once(':')
                .ok_or(NarInfoError::Line { line: index + 1 })?;
            fields.take(key, value.trim_start_matches(' '))?;
        }
        fields.finish()
    }
}

#[derive(Default)]
struct Fields {
    store_path: Option<StorePath>,
    url: Option<String>,
    compression: Option<Compression>,
    file_hash: Option<String>,
    file_size: Option<u64>,
    nar_hash: Option<NarHash>,
    nar_size: Option<u64>,
    references: Option<Vec<String>>,
    deriver: Option<String>,
    signatures: Vec<Signature>,
    ca: Option<String>,
}

impl Fields {
    fn take(&mut self, key: &str, value: &str) -> Result<(), NarInfoError> {
        match key {
            "StorePath" => {
                let path = value.parse().map_err(|source| NarInfoError::Path {
                    field: "StorePath",
                    source,
                })?;
                once("StorePath", &mut self.store_path, path)
            }
            "URL" => once("URL", &mut self.url, value.to_owned()),
            "Compression" => {
                let compression = match value {
                    // Nix reads an empty value as bzip2.
                    "" => Compression::Other("bzip2".to_owned()),
                    "none" => Compression::None,
                    "zstd" => Compression::Zstd,
                    other => Compression::Other(other.to_owned()),
                };
                once("Compression", &mut self.compression, compression)
            }
            "FileHash" => once("FileHash", &mut self.file_hash, value.to_owned()),
            "FileSize" => once("FileSize", &mut self.file_size, number("FileSize", value)?),
            "NarHash" => {
                let hash = if value.starts_with("sha256-") {
                    NarHash::from_sri(value)
                } else {
                    value.parse()
                };
                once("NarHash", &mut self.nar_hash, hash.map_err(NarInfoError::Hash)?)
            }
            "NarSize" => once("NarSize", &mut self.nar_size, number("NarSize", value)?),
            "References" => {
                let names = value.split(' ').filter(|name| !name.is_empty());
                let names = names.map(|name| base_name("References", name));
                once(
                    "References",
                    &mut self.references,
                    names.collect::<Result<_, _>>()?,
                )
            }
            "Deriver" if value == "unknown-deriver" => Ok(()),
            "Deriver" => once("Deriver", &mut self.deriver, base_name("Deriver", value)?),
            "Sig" => {
                self.signatures
                    .push(value.parse().map_err(NarInfoError::Signature)?);
                Ok(())
            }
            "CA" => once("CA", &mut self.ca, value.to_owned()),
            // Nix, too, leaves what it does not know.
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<NarInfo, NarInfoError> {
        Ok(NarInfo {
            store_path: self
                .store_path
                .ok_or(NarInfoError::Missing { field: "StorePath" })?,
            url: self.url.ok_or(NarInfoError::Missing { field: "URL" })?,
            compression: self
                .compression
                .unwrap_or_else(|| Compression::Other("bzip2".to_owned())),
            file_hash: self.file_hash,
            file_size: self.file_size,
            nar_hash: self.nar_hash.ok_or(NarInfoError::Missing { field: "NarHash" })?,
            nar_size: self.nar_size.ok_or(NarInfoError::Missing { field: "NarSize" })?,
            references: self.references.unwrap_or_default(),
            deriver: self.deriver,
            signatures: self.signatures,
            ca: self.ca,
        })
    }
}

fn once<T>(field: &'static str, slot: &mut Option<T>, value: T) -> Result<(), NarInfoError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(NarInfoError::Twice { field }),
    }
}

fn number(field: &'static str, value: &str) -> Result<u64, NarInfoError> {
    value
        .parse()
        .ok()
        .filter(|&n| n > 0)
        .ok_or(NarInfoError::Number { field })
}

fn base_name(field: &'static str, value: &str) -> Result<String, NarInfoError> {
    check_base_name(value).map_err(|source| NarInfoError::Path { field, source })?;
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;
    use proptest::prelude::*;

    fn sample() -> NarInfo {
        let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
        let mut info = NarInfo {
            store_path: "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.10"
                .parse()
                .unwrap(),
            url: "nar/3n58xw4373jp0ljirf06d8077j15pc4j.nar".to_owned(),
            compression: Compression::Zstd,
            file_hash: None,
            file_size: Some(41_232),
            nar_hash: NarHash::of(b"hello"),
            nar_size: 205_968,
            references: vec![
                "3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.10".to_owned(),
                "fz33c1mfi2krpg1lwzizfw28kj705yg0-glibc-2.34".to_owned(),
            ],
            deriver: Some("vvb4wxmnjixmrkhmj2xb75z62hrr41i7-hello-2.10.drv".to_owned()),
            signatures: vec![],
            ca: None,
        };
        info.signatures = vec![pair.sign(&info.fingerprint()).unwrap()];
        info
    }

    #[test]
    fn a_narinfo_renders_as_attic_does() {
        insta::assert_snapshot!(sample().to_string());
    }

    #[test]
    fn a_rendered_narinfo_reads_back_as_itself() {
        let info = sample();
        assert_eq!(info.to_string().parse::<NarInfo>().unwrap(), info);
        let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
        assert!(pair.public_key().verify(&info.fingerprint(), &info.signatures[0]));
    }

    #[test]
    fn the_references_line_is_there_even_when_there_are_none() {
        let info = NarInfo {
            references: vec![],
            ..sample()
        };
        assert!(info.to_string().contains("\nReferences: \n"));
        assert_eq!(info.to_string().parse::<NarInfo>().unwrap(), info);
    }

    #[test]
    fn a_narinfo_of_the_public_cache_verifies_with_its_published_key() {
        let text = "\
StorePath: /nix/store/w9yy7v61ipb5rx6i35zq1mvc2iqfmps1-hello-2.10
URL: nar/15zk4zszw9lgkdkkwy7w11m5vag11n5dhv2i6hj308qpxczvdddx.nar.xz
Compression: xz
FileHash: sha256:15zk4zszw9lgkdkkwy7w11m5vag11n5dhv2i6hj308qpxczvdddx
FileSize: 41232
NarHash: sha256:1mi14cqk363wv368ffiiy01knardmnlyphi6h9xv6dkjz44hk30i
NarSize: 205968
References: 9df65igwjmf2wbw0gbrrgair6piqjgmi-glibc-2.31 w9yy7v61ipb5rx6i35zq1mvc2iqfmps1-hello-2.10
Sig: cache.nixos.org-1:uP5KU8MCmyRnKGlN5oEv6xWJBI5EO/Pf5aFztZuLSz8BpCcZ1fdBnJkVXhBAlxkdm/CemsgQskhwvyd2yghTAg==
";
        let info: NarInfo = text.parse().unwrap();
        let key: crate::PublicKey = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
            .parse()
            .unwrap();
        assert!(key.verify(&info.fingerprint(), &info.signatures[0]));
        let smaller = NarInfo {
            nar_size: 205_967,
            ..info
        };
        assert!(!key.verify(&smaller.fingerprint(), &smaller.signatures[0]));
    }

    #[test]
    fn narinfos_that_nix_would_refuse_are_refused() {
        let text = sample().to_string();
        for (from, to) in [
            ("NarSize: 205968", "NarSize: 0"),
            ("NarHash: sha256:", "NarHash: sha1:"),
            ("Sig: main:", "Sig: main"),
            ("StorePath: /nix", "StorePath: nix"),
            ("Compression: zstd", "Compression"),
            ("URL: ", "Url: "),
            ("FileSize: 41232", "NarSize: 41232"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            assert!(broken.parse::<NarInfo>().is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_narinfo_reads_back_as_itself(
            names in proptest::collection::vec("[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]{1,20}x", 1..6),
            hash: [u8; 32],
            nar_size in 1_u64..,
            file_size in proptest::option::of(1_u64..),
            ca in proptest::option::of("fixed:r:sha256:[0-9a-z]{52}"),
        ) {
            let Ok(names) = names.iter().map(|n| check_base_name(n).map(|_| n.clone())).collect::<Result<Vec<_>, _>>() else {
                return Ok(());
            };
            let info = NarInfo {
                store_path: StorePath::new(&crate::StoreDir::nix_store(), &names[0]).unwrap(),
                nar_hash: NarHash::new(hash),
                references: names[1..].to_vec(),
                deriver: names.get(1).cloned(),
                nar_size,
                file_size,
                ca,
                ..sample()
            };
            prop_assert_eq!(info.to_string().parse::<NarInfo>().unwrap(), info);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<NarInfo>();
        }
    }
}
