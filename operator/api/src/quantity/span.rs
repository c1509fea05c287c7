//! Lengths of time.

use std::fmt;
use std::str::FromStr;

use super::{QuantityError, refuse};

/// A length of time in whole seconds: `90d`, `72h`, `2m`, `1h30m`, `45s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Seconds.
    pub seconds: u64,
}

const SPAN_UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
const SPAN: &str = "a duration such as 2m, 1h30m, 72h or 90d";

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self { seconds }
    }

    /// So many minutes.
    pub const fn minutes(n: u64) -> Self {
        Self { seconds: n * 60 }
    }

    /// So many hours.
    pub const fn hours(n: u64) -> Self {
        Self { seconds: n * 3_600 }
    }

    /// So many days.
    pub const fn days(n: u64) -> Self {
        Self { seconds: n * 86_400 }
    }
}

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || refuse(text, SPAN);
        let mut rest = text.trim();
        let mut seconds = 0_u64;
        let mut last = u64::MAX;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(at);
            let letter = tail.chars().next().ok_or_else(wrong)?;
            let (_, unit) = SPAN_UNITS
                .iter()
                .find(|(known, _)| *known == letter)
                .ok_or_else(wrong)?;
            if *unit >= last {
                return Err(wrong());
            }
            last = *unit;
            let part = number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(*unit))
                .ok_or_else(wrong)?;
            seconds = seconds.checked_add(part).ok_or_else(wrong)?;
            rest = &tail[letter.len_utf8()..];
        }
        Ok(Self { seconds })
    }
}

impl fmt::Display for Span {
    /// In days, hours, minutes and seconds; it reads back as the same length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 0 {
            return f.pad("0s");
        }
        let mut left = self.seconds;
        let mut text = String::new();
        for (letter, unit) in &SPAN_UNITS[1..] {
            if left >= *unit {
                text.push_str(&format!("{}{letter}", left / unit));
                left %= unit;
            }
        }
        f.pad(&text)
    }
}

as_text!(Span, "a duration such as 2m, 1h30m, 72h or 90d", number: None, pattern: "^([0-9]{1,12}w)?([0-9]{1,12}d)?([0-9]{1,12}h)?([0-9]{1,12}m)?([0-9]{1,12}s)?$");
