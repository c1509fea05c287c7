//! Names of caches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a cache: a letter or digit, then up to 49 letters, digits, `-`, `_` or `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CacheName(String);

/// A text that is not a cache name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cache name is 1 to 50 letters, digits, '-', '_' or '+', and begins with a letter or digit")]
pub struct CacheNameError;

impl CacheName {
    /// The most characters a name may have.
    pub const MAX_LENGTH: usize = 50;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CacheName {
    type Err = CacheNameError;

    fn from_str(text: &str) -> Result<Self, CacheNameError> {
        let mut bytes = text.bytes();
        let begins_well = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+'));
        if begins_well && goes_on_well && text.len() <= Self::MAX_LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(CacheNameError)
        }
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for CacheName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CacheName {
    type Error = CacheNameError;

    fn try_from(text: String) -> Result<Self, CacheNameError> {
        text.parse()
    }
}

impl From<CacheName> for String {
    fn from(name: CacheName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attics_names_are_taken_and_all_others_refused() {
        for good in ["a", "0", "main", "Team-a_b+c", &"x".repeat(50)] {
            assert!(good.parse::<CacheName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "_api",
            "+a",
            "a.b",
            "a/b",
            "a b",
            "é",
            "a*",
            &"x".repeat(51),
        ] {
            assert!(bad.parse::<CacheName>().is_err(), "{bad}");
        }
    }
}
