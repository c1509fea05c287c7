//! How data is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bytes, cel};

/// How data is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [cel::rule(
    "!has(self.zoneRedundancy) || self.zoneRedundancy <= self.replicationFactor",
    "zoneRedundancy: 1 to the replication factor is allowed"
)]))]
pub struct GarageSpec {
    /// Copies of everything: 1, 3 or 5; immutable.
    #[serde(deserialize_with = "count::required")]
    #[schemars(extend(
        "enum" = [1, 3, 5],
        "x-kubernetes-validations" = [cel::rule("self == oldSelf", "the replication factor is immutable")]
    ))]
    pub replication_factor: u8,
    /// Flush data and metadata to disk before acknowledging. Default: true.
    #[serde(default = "yes")]
    pub fsync: bool,
    /// Copies lie in at least this many zones. Default: the replication factor, one copy in each zone.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::optional"
    )]
    #[schemars(range(min = 1, max = 5))]
    pub zone_redundancy: Option<u8>,
    /// The most bytes that the bucket may hold, one copy counted. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [cel::more_than_nothing(&cel::bytes("self"))]))]
    pub quota: Option<Bytes>,
}

impl GarageSpec {
    /// The zone redundancy that applies. The default is fixed by the document alone, so that losing a zone never
    /// lowers it silently.
    pub fn zones(&self) -> u8 {
        self.zone_redundancy.unwrap_or(self.replication_factor)
    }
}

/// Small numbers, with errors in words instead of in types.
mod count {
    use std::fmt;

    use serde::Deserializer;
    use serde::de::{Error, Visitor};

    struct Count;

    impl Visitor<'_> for Count {
        type Value = u8;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a small number such as 3")
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<u8, E> {
            u8::try_from(number).map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
        }
    }

    pub(super) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        deserializer.deserialize_u8(Count)
    }

    pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        required(deserializer).map(Some)
    }
}

const fn yes() -> bool {
    true
}
