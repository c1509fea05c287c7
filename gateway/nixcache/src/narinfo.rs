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
        // Nix takes base 16 too, as attic writes it; other readers take only what Nix itself writes.
        writeln!(f, "NarHash: {}", nar_hash.to_nix32())?;
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
mod tests;
