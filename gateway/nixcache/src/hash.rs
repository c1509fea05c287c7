//! The SHA-256 of an uncompressed NAR.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::nix32;

/// The SHA-256 of an uncompressed NAR. Parses `sha256:` and 64 hex digits or 52 of Nix's base-32;
/// displays as `sha256:` and lower-case hex, as attic's API does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NarHash([u8; 32]);

/// Why a text is not a NAR hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// There is no `sha256:` (or `sha256-`) in front.
    #[error("the hash must begin with \"{expected}\"")]
    NotSha256 {
        /// What must stand in front.
        expected: &'static str,
    },
    /// The digits do not make 32 bytes in the encodings that are taken.
    #[error("after \"sha256:\" there must be 64 hex digits or 52 digits of Nix's base-32")]
    Digits,
    /// The base64 of an SRI hash does not make 32 bytes.
    #[error("after \"sha256-\" there must be the base64 of 32 bytes")]
    Base64,
}

impl NarHash {
    /// The hash whose 32 bytes these are.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of a whole NAR in memory.
    #[must_use]
    pub fn of(nar: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, nar);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `sha256:` and 52 digits of Nix's base-32, the form that Nix prints and signs.
    #[must_use]
    pub fn to_nix32(&self) -> String {
        format!("sha256:{}", nix32::encode(&self.0))
    }

    /// `sha256-` and base64, the form that newer Nix prints in JSON.
    #[must_use]
    pub fn to_sri(&self) -> String {
        format!("sha256-{}", STANDARD.encode(self.0))
    }

    /// Parses `sha256-` and padded base64.
    ///
    /// # Errors
    /// When the prefix is another, or what follows is not the base64 of 32 bytes.
    pub fn from_sri(text: &str) -> Result<Self, HashError> {
        let digits = text
            .strip_prefix("sha256-")
            .ok_or(HashError::NotSha256 { expected: "sha256-" })?;
        let bytes = STANDARD.decode(digits).map_err(|_| HashError::Base64)?;
        Ok(Self(bytes.try_into().map_err(|_| HashError::Base64)?))
    }
}

impl From<[u8; 32]> for NarHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for NarHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let digits = text
            .strip_prefix("sha256:")
            .ok_or(HashError::NotSha256 { expected: "sha256:" })?;
        if digits.len() == 64 {
            let mut bytes = [0; 32];
            hex::decode_to_slice(digits, &mut bytes).map_err(|_| HashError::Digits)?;
            return Ok(Self(bytes));
        }
        nix32::decode_32(digits).map(Self).ok_or(HashError::Digits)
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NarHash({self})")
    }
}

impl TryFrom<String> for NarHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<NarHash> for String {
    fn from(hash: NarHash) -> Self {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const NIX32: &str = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
    const SRI: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn hex_in_either_case_base_32_and_sri_name_the_same_hash() {
        let hash: NarHash = HEX.parse().unwrap();
        assert_eq!(HEX.to_uppercase().replace("SHA256", "sha256").parse(), Ok(hash));
        assert_eq!(NIX32.parse(), Ok(hash));
        assert_eq!(NarHash::from_sri(SRI), Ok(hash));
        assert_eq!(hash, NarHash::of(b""));
        assert_eq!(hash.to_string(), HEX);
        assert_eq!(hash.to_nix32(), NIX32);
        assert_eq!(hash.to_sri(), SRI);
    }

    #[test]
    fn other_algorithms_bare_digits_and_sri_in_the_api_are_refused() {
        for text in [
            "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256:e3b0",
            SRI,
            "",
        ] {
            assert!(text.parse::<NarHash>().is_err(), "{text}");
        }
    }
}
