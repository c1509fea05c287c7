//! Names: of clusters, hosts, zones, owners, caches and Garage nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}: {allowed}")]
pub struct NameError {
    /// What was given.
    pub given: String,
    /// What it should have been, e.g. `host name`.
    pub what: &'static str,
    /// The rule.
    pub allowed: &'static str,
}

const LABEL: &str =
    "use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit";
const CACHE: &str = "use 1 to 50 letters, digits, `-`, `_` and `+`, beginning with a letter or digit";

/// The same as regular expressions, with the longest length.
const LABEL_PATTERN: (&str, u32) = ("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", 63);
const CACHE_PATTERN: (&str, u32) = ("^[A-Za-z0-9][A-Za-z0-9_+-]*$", 50);

/// A DNS label (RFC 1123), so that a name can be a Kubernetes object's and a part of a host's name.
fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Attic's rule for cache names.
fn is_cache_name(text: &str) -> bool {
    text.len() <= 50
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:ident, $allowed:ident, $pattern:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "String")]
        pub struct $name(String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // Parsed inside the visit, so that a reader's error names the field itself.
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a {}", $what)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { given: text.to_owned(), what: $what, allowed: $allowed })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let (pattern, longest) = $pattern;
                schemars::json_schema!({
                    "type": "string",
                    "pattern": pattern,
                    "minLength": 1,
                    "maxLength": longest,
                })
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a cluster; a DNS label.
    ClusterName, "cluster name", is_label, LABEL, LABEL_PATTERN
);
name!(
    /// The name of a host; a DNS label, unique in its cluster.
    HostName, "host name", is_label, LABEL, LABEL_PATTERN
);
name!(
    /// The name of a failure domain; a DNS label.
    ZoneName, "zone name", is_label, LABEL, LABEL_PATTERN
);
name!(
    /// The person or group that owns a host; a DNS label.
    OwnerName, "owner name", is_label, LABEL, LABEL_PATTERN
);
name!(
    /// The name of a binary cache, by attic's rule.
    CacheName, "cache name", is_cache_name, CACHE, CACHE_PATTERN
);

/// A Garage node's id: its Ed25519 public key, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId([u8; 32]);

/// A text is not a Garage node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a Garage node id: 64 hex digits")]
pub struct NodeIdError {
    /// What was given.
    pub given: String,
}

impl NodeId {
    /// The id that belongs to this public key.
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 digits, which is how Garage's own output shortens an id.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;
    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| NodeIdError {
            given: text.to_owned(),
        })?;
        Ok(Self(key))
    }
}

impl TryFrom<String> for NodeId {
    type Error = NodeIdError;
    fn try_from(text: String) -> Result<Self, NodeIdError> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> String {
        id.to_string()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_a_dns_label() {
        for good in ["a", "paris-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Paris", "a.b", "a_b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cache_name_follows_attics_rule() {
        for good in ["main", "A-1_x+y", &"x".repeat(50)] {
            assert!(good.parse::<CacheName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "+a", "a/b", "a.b", &"x".repeat(51)] {
            assert!(bad.parse::<CacheName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_id_reads_back_as_it_was_written() {
        let text = "0f".repeat(32);
        assert_eq!(text.parse::<NodeId>().unwrap().to_string(), text);
        assert!("0f".parse::<NodeId>().is_err());
        assert!("zz".repeat(32).parse::<NodeId>().is_err());
    }
}
