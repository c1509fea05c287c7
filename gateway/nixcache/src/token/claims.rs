//! What a token says: who, from when to when, and what on which caches.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::CachePattern;
use crate::CacheName;

/// The claim that attic's permissions are under.
pub const CLAIM_NAMESPACE: &str = "https://jwt.attic.rs/v1";

/// What a token allows on the caches that one pattern names. In JSON, integers 0 and 1; what is absent is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// `r`: read paths and the configuration.
    #[serde(rename = "r", default, with = "bit", skip_serializing_if = "is_false")]
    pub pull: bool,
    /// `w`: upload paths.
    #[serde(rename = "w", default, with = "bit", skip_serializing_if = "is_false")]
    pub push: bool,
    /// `d`: delete paths.
    #[serde(rename = "d", default, with = "bit", skip_serializing_if = "is_false")]
    pub delete: bool,
    /// `cc`: create the cache itself.
    #[serde(rename = "cc", default, with = "bit", skip_serializing_if = "is_false")]
    pub create_cache: bool,
    /// `cr`: reconfigure the cache.
    #[serde(rename = "cr", default, with = "bit", skip_serializing_if = "is_false")]
    pub configure_cache: bool,
    /// `cq`: change how long paths are kept.
    #[serde(rename = "cq", default, with = "bit", skip_serializing_if = "is_false")]
    pub configure_cache_retention: bool,
    /// `cd`: destroy the cache itself.
    #[serde(rename = "cd", default, with = "bit", skip_serializing_if = "is_false")]
    pub destroy_cache: bool,
}

impl Permissions {
    /// All of them.
    pub const ALL: Self = Self {
        pull: true,
        push: true,
        delete: true,
        create_cache: true,
        configure_cache: true,
        configure_cache_retention: true,
        destroy_cache: true,
    };

    /// Whether any is given; who has any may learn that the cache exists.
    #[must_use]
    pub fn can_discover(&self) -> bool {
        *self != Self::default()
    }
}

/// Patterns and what they allow, in the order of the document, which decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(Vec<(CachePattern, Permissions)>);

impl Grants {
    /// No grants.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets what `pattern` allows; a new pattern goes last, an old one keeps its place.
    pub fn set(&mut self, pattern: CachePattern, permissions: Permissions) {
        *self.entry(pattern) = permissions;
    }

    /// What `pattern` allows, to be changed; a new pattern goes last and allows nothing yet.
    pub fn entry(&mut self, pattern: CachePattern) -> &mut Permissions {
        let found = self.0.iter().position(|(known, _)| *known == pattern);
        let index = found.unwrap_or_else(|| {
            self.0.push((pattern, Permissions::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(CachePattern, Permissions)> {
        self.0.iter()
    }

    /// What is allowed on `cache`. There is no union: the pattern that is the very name decides alone; without
    /// one, the first that matches does; without any, nothing is allowed.
    #[must_use]
    pub fn permissions_for(&self, cache: &CacheName) -> Permissions {
        self.0
            .iter()
            .find(|(pattern, _)| pattern.as_str() == cache.as_str())
            .or_else(|| self.0.iter().find(|(pattern, _)| pattern.matches(cache)))
            .map(|(_, permissions)| *permissions)
            .unwrap_or_default()
    }
}

impl FromIterator<(CachePattern, Permissions)> for Grants {
    fn from_iter<I: IntoIterator<Item = (CachePattern, Permissions)>>(iter: I) -> Self {
        let mut grants = Self::new();
        for (pattern, permissions) in iter {
            grants.set(pattern, permissions);
        }
        grants
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (pattern, permissions) in &self.0 {
            map.serialize_entry(pattern, permissions)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Grants;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from cache patterns to permissions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Grants, A::Error> {
                let mut grants = Grants::new();
                while let Some((pattern, permissions)) = map.next_entry()? {
                    grants.set(pattern, permissions);
                }
                Ok(grants)
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// All claims of a token. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claims {
    /// `iss`: who made the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// `sub`: whom it was made for; recorded with what is pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `aud`: what it was made for; one text or several.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub aud: Vec<String>,
    /// `exp`: the last second that it is good.
    #[serde(default, with = "seconds", skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// `nbf`: the first second that it is good.
    #[serde(default, with = "seconds", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// `iat`: when it was made.
    #[serde(default, with = "seconds", skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// What the token allows: attic's own claim, under [`CLAIM_NAMESPACE`].
    #[serde(rename = "https://jwt.attic.rs/v1", with = "namespace")]
    pub grants: Grants,
}

impl Claims {
    /// Claims that allow `grants` and say nothing else.
    #[must_use]
    pub fn new(grants: Grants) -> Self {
        Self {
            grants,
            ..Self::default()
        }
    }

    /// What the token allows on `cache`; see [`Grants::permissions_for`].
    #[must_use]
    pub fn permissions_for(&self, cache: &CacheName) -> Permissions {
        self.grants.permissions_for(cache)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The object around the grants.
mod namespace {
    use super::{Deserialize, Deserializer, Grants, SerializeStruct, Serializer};

    pub(super) fn serialize<S: Serializer>(grants: &Grants, s: S) -> Result<S::Ok, S::Error> {
        let mut object = s.serialize_struct("Namespace", 1)?;
        object.serialize_field("caches", grants)?;
        object.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Grants, D::Error> {
        #[derive(Deserialize)]
        struct Namespace {
            caches: Grants,
        }
        Namespace::deserialize(d).map(|namespace| namespace.caches)
    }
}

/// A boolean as the integer 0 or 1, and nothing else.
mod bit {
    use super::{Deserializer, Serializer, Visitor, de, fmt};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
        struct Bit;

        impl Visitor<'_> for Bit {
            type Value = bool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the integer 0 or 1")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
                match value {
                    0 => Ok(false),
                    1 => Ok(true),
                    other => Err(E::invalid_value(de::Unexpected::Unsigned(other), &self)),
                }
            }
        }

        d.deserialize_any(Bit)
    }
}

/// Seconds since 1970, with or without a fraction, as RFC 7519 §2 allows.
mod seconds {
    use super::{Deserializer, Serializer, Visitor, de, fmt};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(value: &Option<i64>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(seconds) => s.serialize_i64(*seconds),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = Option<i64>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds since 1970")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<i64>, E> {
                Ok(Some(i64::try_from(value).unwrap_or(i64::MAX)))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Option<i64>, E> {
                Ok(Some(value))
            }

            #[expect(clippy::cast_possible_truncation, reason = "saturates, which is meant")]
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Option<i64>, E> {
                Ok(Some(value as i64))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Option<i64>, E> {
                Ok(None)
            }
        }

        d.deserialize_any(Seconds)
    }
}

/// A list of texts, of which a single one may stand alone.
mod one_or_many {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(values: &[String], s: S) -> Result<S::Ok, S::Error> {
        match values {
            [one] => one.serialize(s),
            many => many.serialize(s),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
        Ok(match Option::<OneOrMany>::deserialize(d)? {
            None => Vec::new(),
            Some(OneOrMany::One(one)) => vec![one],
            Some(OneOrMany::Many(many)) => many,
        })
    }
}

#[cfg(test)]
mod tests;
