//! Who may join.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::MAX_ZONES;
use crate::{Bytes, ZoneName};

/// How a host that asks to join is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// By these rules alone.
    #[default]
    Automatic,
    /// By a person, after these rules.
    Manual,
}

/// Who may join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdmissionSpec {
    /// By rule or by hand. Default: automatic.
    #[serde(default)]
    pub approval: Approval,
    /// The largest pledge taken. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pledge: Option<Bytes>,
    /// The zones that hosts may be in. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_ZONES), extend("x-kubernetes-list-type" = "set"))]
    pub zones: Option<Vec<ZoneName>>,
    /// The oldest Garage taken, `major.minor`. Default: 2.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^2\.0*([5-9]|[1-9][0-9]+)(\.[0-9]+)*$"))]
    pub min_garage: Option<String>,
}
