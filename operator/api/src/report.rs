//! What each host held, served and moved in a month.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

use crate::HostName;

/// A month of UTC, written `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month(civil::Date);

/// A text is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no month: write it like 2026-11")]
pub struct MonthError {
    given: String,
}

impl Month {
    /// The month that a moment lies in.
    pub fn of(at: Timestamp) -> Self {
        Self(at.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// The month that was so many months before this one; the earliest that can be written, at the most.
    #[must_use]
    pub fn before(self, months: u16) -> Self {
        Self(self.0.saturating_sub(jiff::Span::new().months(months)))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let day = format!("{}-01", text.trim());
        match day.parse() {
            Ok(day) if text.trim().len() == 7 => Ok(Self(day)),
            _ => Err(MonthError {
                given: text.to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for Month {
    type Error = MonthError;

    fn try_from(text: String) -> Result<Self, MonthError> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

/// One month, as far as the coordinator watched it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonthReport {
    /// Which.
    pub month: Month,
    /// When it was first looked at.
    pub from: Timestamp,
    /// When it was last looked at.
    pub until: Timestamp,
    /// Hosts that were there.
    pub hosts: BTreeMap<HostName, HostAccount>,
}

/// What one host did in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAccount {
    /// Seconds for which the coordinator watched it.
    pub watched_seconds: u64,
    /// Seconds of these in which the other members reached it.
    pub up_seconds: u64,
    /// Bytes that the layout placed on it, as a mean over the time that was watched.
    pub held_bytes: u64,
    /// Requests that its Garage answered to gateways.
    pub requests: u64,
    /// Bytes of blocks that it read from its disk, for clients and for other members.
    pub read_bytes: u64,
    /// Bytes of blocks that it wrote to its disk.
    pub written_bytes: u64,
    /// Blocks that it sent to members that lacked them, of one MiB at the most.
    pub blocks_sent: u64,
    /// Blocks that it fetched because it lacked them.
    pub blocks_received: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_of_utc_and_are_written_as_they_are_read() {
        let at: Timestamp = "2026-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(Month::of(at).to_string(), "2026-12");
        let month: Month = "2026-01".parse().unwrap();
        assert_eq!(month.before(1).to_string(), "2025-12");
        assert_eq!(month.before(13).to_string(), "2024-12");
        assert_eq!(serde_json::to_string(&month).unwrap(), "\"2026-01\"");
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for text in ["", "2026", "2026-13", "2026-1", "2026-01-01", "november"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
