//! How data is moved when hosts come and go.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules::{MAX_JOIN_WINDOW, MAX_RESERVE, MAX_WINDOWS};
use crate::{Percent, Rate, Span, Window, cel};

/// How many of Garage's resync workers run on each host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum ResyncWorkers {
    /// As the engine finds good.
    #[default]
    #[serde(with = "auto")]
    Auto,
    /// A fixed number, 1 to 8.
    Fixed(u8),
}

impl JsonSchema for ResyncWorkers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResyncWorkers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": "^auto$",
            "minimum": 1,
            "maximum": 8,
        })
    }
}

/// The word `auto`.
mod auto {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("auto")
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(()),
            other => Err(serde::de::Error::invalid_value(
                serde::de::Unexpected::Str(other),
                &"`auto` or a number from 1 to 8",
            )),
        }
    }
}

/// How data is moved when hosts come and go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RebalanceSpec {
    /// Hosts that join within this time share one layout version. Default: 2m.
    #[schemars(extend("x-kubernetes-validations" = [cel::rule(
        &format!("{} <= {}", cel::seconds("self"), MAX_JOIN_WINDOW.seconds),
        &format!("joinWindow: at most {MAX_JOIN_WINDOW} is allowed")
    )]))]
    pub join_window: Span,
    /// Observed absence after which a host may be removed. Default: 72h.
    #[schemars(extend("x-kubernetes-validations" = [cel::rule(
        &format!("{} > 0", cel::seconds("self")),
        "deadAfter: at least 1s is needed; hours are better, for a host that is put out loses its place"
    )]))]
    pub dead_after: Span,
    /// Share of every disk that is never planned with. Default: 10%.
    #[schemars(extend("x-kubernetes-validations" = [cel::rule(
        &format!("int(self.replace('%', '')) <= {}", MAX_RESERVE.hundredths()),
        &format!("reserve: at most {MAX_RESERVE} is allowed; else no disk would take any data")
    )]))]
    pub reserve: Percent,
    /// Garage's resync workers. Default: auto.
    pub resync_workers: ResyncWorkers,
    /// When data may be moved; empty: always.
    #[schemars(length(max = MAX_WINDOWS))]
    pub windows: Vec<Window>,
    /// The most bytes a second that one host may send. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Rate>,
}

impl Default for RebalanceSpec {
    fn default() -> Self {
        Self {
            join_window: Span::minutes(2),
            dead_after: Span::hours(72),
            reserve: Percent::new(10),
            resync_workers: ResyncWorkers::Auto,
            windows: Vec::new(),
            max_rate: None,
        }
    }
}
