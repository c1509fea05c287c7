//! Store paths: `/nix/store/<32 digits>-<name>`.

use std::fmt;
use std::str::{self, FromStr};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::nix32;

/// Why a text is not a store path, or not a part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorePathError {
    /// The hash part is not 32 digits of Nix's base-32.
    #[error("a store path's hash is 32 digits of Nix's base-32 (no 'e', 'o', 'u' or 't')")]
    Hash,
    /// The name part is empty, too long or holds other characters than Nix allows.
    #[error("a store path's name is 1 to 211 letters, digits or any of \"+-._?=\"")]
    Name,
    /// There is no `-` after the 32 digits.
    #[error("a store path's last part is \"<hash>-<name>\"")]
    BaseName,
    /// The path does not lie directly in a store directory.
    #[error("a store path is \"<store directory>/<hash>-<name>\"")]
    Shape,
    /// The store directory is not an absolute, clean path.
    #[error(
        "a store directory is an absolute path without empty, \".\" or \"..\" parts, blanks and control characters"
    )]
    StoreDir,
}

/// The 32 digits that name a store path. Small and cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePathHash([u8; 32]);

impl StorePathHash {
    /// The number of digits.
    pub const LENGTH: usize = 32;

    /// The digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only digits, which are ASCII, ever get in.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The digits as ASCII bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash whose ASCII digits these are.
    ///
    /// # Errors
    /// When there are not 32 of them, or one is not a digit of Nix's base-32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StorePathError> {
        let digits: [u8; 32] = bytes.try_into().map_err(|_| StorePathError::Hash)?;
        if digits.iter().all(|&digit| nix32::is_digit(digit)) {
            Ok(Self(digits))
        } else {
            Err(StorePathError::Hash)
        }
    }
}

impl FromStr for StorePathHash {
    type Err = StorePathError;

    fn from_str(text: &str) -> Result<Self, StorePathError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for StorePathHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for StorePathHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePathHash({self})")
    }
}

impl Serialize for StorePathHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StorePathHash {
    /// Without a `String` in between: clients send tens of thousands at once.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = StorePathHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 digits of Nix's base-32")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StorePathHash, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Digits)
    }
}

impl TryFrom<String> for StorePathHash {
    type Error = StorePathError;

    fn try_from(text: String) -> Result<Self, StorePathError> {
        text.parse()
    }
}

impl From<StorePathHash> for String {
    fn from(hash: StorePathHash) -> Self {
        hash.to_string()
    }
}

/// A store directory such as `/nix/store`: absolute, clean, without blanks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreDir(String);

impl StoreDir {
    /// The directory of nearly every store.
    #[must_use]
    pub fn nix_store() -> Self {
        Self("/nix/store".to_owned())
    }

    /// The directory as text, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreDir {
    type Err = StorePathError;

    fn from_str(text: &str) -> Result<Self, StorePathError> {
        let parts = text.strip_prefix('/').ok_or(StorePathError::StoreDir)?;
        let clean = parts.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if clean && plain && text.len() <= 1024 {
            Ok(Self(text.to_owned()))
        } else {
            Err(StorePathError::StoreDir)
        }
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for StoreDir {
    type Error = StorePathError;

    fn try_from(text: String) -> Result<Self, StorePathError> {
        text.parse()
    }
}

impl From<StoreDir> for String {
    fn from(dir: StoreDir) -> Self {
        dir.0
    }
}

/// A whole store path: a store directory, a hash and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath {
    full: String,
    hash: StorePathHash,
}

impl StorePath {
    /// The path of `base_name` (`<hash>-<name>`) in `store_dir`.
    ///
    /// # Errors
    /// When `base_name` is not one.
    pub fn new(store_dir: &StoreDir, base_name: &str) -> Result<Self, StorePathError> {
        let hash = check_base_name(base_name)?;
        Ok(Self {
            full: format!("{store_dir}/{base_name}"),
            hash,
        })
    }

    /// The whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The 32 digits.
    #[must_use]
    pub const fn hash(&self) -> StorePathHash {
        self.hash
    }

    /// The directory that the path lies in, such as `/nix/store`.
    #[must_use]
    pub fn store_dir(&self) -> &str {
        self.split().0
    }

    /// `<hash>-<name>`.
    #[must_use]
    pub fn base_name(&self) -> &str {
        self.split().1
    }

    /// What follows the hash and its dash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.base_name()
            .get(StorePathHash::LENGTH + 1..)
            .unwrap_or_default()
    }

    fn split(&self) -> (&str, &str) {
        self.full.rsplit_once('/').unwrap_or(("", &self.full))
    }
}

impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(text: &str) -> Result<Self, StorePathError> {
        let (dir, base_name) = text.rsplit_once('/').ok_or(StorePathError::Shape)?;
        Self::new(&dir.parse()?, base_name)
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl TryFrom<String> for StorePath {
    type Error = StorePathError;

    fn try_from(text: String) -> Result<Self, StorePathError> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.full
    }
}

/// Checks `<hash>-<name>` and gives the hash.
///
/// # Errors
/// When the hash or the name is not what Nix allows.
pub fn check_base_name(base_name: &str) -> Result<StorePathHash, StorePathError> {
    let (hash, rest) = base_name
        .split_at_checked(StorePathHash::LENGTH)
        .ok_or(StorePathError::BaseName)?;
    let hash = hash.parse()?;
    check_name(rest.strip_prefix('-').ok_or(StorePathError::BaseName)?)?;
    Ok(hash)
}

/// Checks the name part of a store path by Nix's rule.
///
/// # Errors
/// When it is empty, longer than 211, holds another character, or could be read as `.` or `..`.
pub fn check_name(name: &str) -> Result<(), StorePathError> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=');
    let dots = matches!(name, "." | "..") || name.starts_with(".-") || name.starts_with("..-");
    if name.is_empty() || name.len() > 211 || dots || !name.bytes().all(allowed) {
        return Err(StorePathError::Name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ia70ss13m22znbl8khrf2hq72qmh5drr";

    #[test]
    fn a_path_splits_into_its_parts() {
        let path: StorePath = format!("/nix/store/{HASH}-ruby-2.7.5").parse().unwrap();
        assert_eq!(path.store_dir(), "/nix/store");
        assert_eq!(path.base_name(), format!("{HASH}-ruby-2.7.5"));
        assert_eq!(path.hash().as_str(), HASH);
        assert_eq!(path.name(), "ruby-2.7.5");
    }

    #[test]
    fn paths_that_could_lie_or_inject_are_refused() {
        for bad in [
            format!("{HASH}-ruby"),
            format!("nix/store/{HASH}-ruby"),
            format!("/nix/store/{HASH}"),
            format!("/nix/store/{HASH}-"),
            format!("/nix/store/{HASH}-."),
            format!("/nix/store/{HASH}-..-x"),
            format!("/nix/store/{HASH}-ru by"),
            format!("/nix/store/{HASH}-ruby\nSig: x"),
            format!("/nix/store/{HASH}-ruby/bin"),
            format!("/nix/../store/{HASH}-ruby"),
            format!("/nix//store/{HASH}-ruby"),
            format!("/nix/store\n/{HASH}-ruby"),
            format!("/{HASH}-ruby"),
            format!("/nix/store/{}-ruby", HASH.replace('i', "e")),
            format!("/nix/store/{HASH}-{}", "x".repeat(212)),
            "/nix/store/é".to_owned() + &"x".repeat(40),
            String::new(),
        ] {
            assert!(bad.parse::<StorePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_is_a_text_in_json() {
        let hash: StorePathHash = HASH.parse().unwrap();
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{HASH}\""));
        assert_eq!(serde_json::from_str::<StorePathHash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<StorePathHash>("\"e\"").is_err());
        assert!(serde_json::from_str::<StorePathHash>("1").is_err());
    }

    #[test]
    fn unusual_but_legal_names_are_taken() {
        for name in [".hidden", "a?b=c+d_e.f-g", "-x", &"x".repeat(211)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
