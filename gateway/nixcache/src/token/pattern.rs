//! Patterns over cache names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::CacheName;

/// A cache name in which `*` stands for any characters, none included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CachePattern(String);

/// A text that is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a cache pattern is 1 to 50 letters, digits, '-', '_', '+' or '*', and begins with a letter, a digit or '*'"
)]
pub struct CachePatternError;

impl CachePattern {
    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `cache` matches, from its first character to its last.
    #[must_use]
    pub fn matches(&self, cache: &CacheName) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = cache.as_str().strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            // The earliest place for each part leaves the most room for the next.
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl FromStr for CachePattern {
    type Err = CachePatternError;

    fn from_str(text: &str) -> Result<Self, CachePatternError> {
        let mut bytes = text.bytes();
        let begins_well = bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'*');
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'*'));
        if begins_well && goes_on_well && text.len() <= CacheName::MAX_LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(CachePatternError)
        }
    }
}

impl fmt::Display for CachePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CachePattern {
    type Error = CachePatternError;

    fn try_from(text: String) -> Result<Self, CachePatternError> {
        text.parse()
    }
}

impl From<CachePattern> for String {
    fn from(pattern: CachePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern
            .parse::<CachePattern>()
            .unwrap()
            .matches(&name.parse().unwrap())
    }

    #[test]
    fn a_star_stands_for_anything_and_all_else_for_itself() {
        for (pattern, name) in [
            ("*", "a"),
            ("team-*", "team-"),
            ("team-*", "team-a"),
            ("*-ci", "x-ci"),
            ("a*b*c", "abc"),
            ("a*b*c", "aXbXbXc"),
            ("a**b", "ab"),
            ("no-wildcard", "no-wildcard"),
            ("*a*", "bab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("team-*", "team"),
            ("team-*", "xteam-a"),
            ("*-ci", "x-ci2"),
            ("no-wildcard", "no-wildcard-x"),
            ("Team-*", "team-a"),
            ("ab*ba", "aba"),
            ("a*b*c", "acb"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn texts_that_attic_refuses_are_refused() {
        for bad in ["", "-a", "_a", "+a", "a.b", "a/b", "a?b", "[a]", &"x".repeat(51)] {
            assert!(bad.parse::<CachePattern>().is_err(), "{bad}");
        }
    }

    /// The definition, without cleverness.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| slow(rest, &name[skip..])),
            Some((first, rest)) => name.first() == Some(first) && slow(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*]{1,8}", name in "[ab]{1,10}") {
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
