//! Bytes, rates and shares of them.

use std::fmt;
use std::str::FromStr;

use super::{QuantityError, refuse};

/// A number of bytes: `2Ti`, `500Gi`, `256Mi`, `50MB`, or plain. Binary suffixes as in Kubernetes, and decimal
/// ones with or without a `B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

const BYTES: &str = "a number of bytes such as 500Gi, 2Ti, 256Mi or 50GB";
/// What a number of bytes looks like.
const NUMBER: &str = "[0-9]{1,20}([.][0-9]{1,6})?";
const UNIT: &str = " *((Ki|Mi|Gi|Ti)B?|Pi|[kMGTP]|[kKMGT]?B)?";
/// The same of a rate. All that are declared are limits, and more than nothing.
const ABOVE_ZERO: &str = "([0-9]*[1-9][0-9]*([.][0-9]{1,6})?|[0-9]+[.][0-9]*[1-9][0-9]*)";
const SUFFIXES: [(&str, u64); 20] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl Bytes {
    /// So many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// For people to read: `1.3 GiB`. Not exact, and not to be read back.
    pub fn about(self) -> String {
        let unit = SUFFIXES[5..9].iter().rev().find(|(_, unit)| self.0 >= *unit);
        let Some((suffix, unit)) = unit else {
            return format!("{} B", self.0);
        };
        let tenths = u128::from(self.0) * 10 / u128::from(*unit);
        if tenths.is_multiple_of(10) {
            format!("{} {suffix}", tenths / 10)
        } else {
            format!("{}.{} {suffix}", tenths / 10, tenths % 10)
        }
    }
}

/// `123.45` and a unit of `unit` bytes, exactly; `None` when it does not fit or is no number.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && !digits(fraction)) || fraction.len() > 6 {
        return None;
    }
    let mut bytes = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / scale;
        bytes = bytes.checked_add(u64::try_from(part).ok()?)?;
    }
    Some(bytes)
}

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        let at = trimmed
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(trimmed.len());
        let (number, suffix) = trimmed.split_at(at);
        let unit = match suffix {
            "" => 1,
            _ => SUFFIXES
                .iter()
                .find(|(known, _)| *known == suffix)
                .map(|(_, unit)| *unit)
                .ok_or_else(|| refuse(text, BYTES))?,
        };
        decimal(number.trim_end(), unit)
            .map(Self)
            .ok_or_else(|| refuse(text, BYTES))
    }
}

impl fmt::Display for Bytes {
    /// With the largest binary suffix that says it exactly; it reads back as the same number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SUFFIXES[..5]
            .iter()
            .rev()
            .find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        match exact {
            Some((suffix, unit)) => f.pad(&format!("{}{suffix}", self.0 / unit)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

as_text!(Bytes, "a number of bytes such as 500Gi, 2Ti, 256Mi or 50GB", number: Some(Bytes), pattern: format!("^{NUMBER}{UNIT}$"));

/// Bytes in a second: `50MB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub Bytes);

impl FromStr for Rate {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const WHAT: &str = "a rate such as 50MB/s or 10Mi/s";
        let bytes = text.trim().strip_suffix("/s").ok_or_else(|| refuse(text, WHAT))?;
        bytes.parse().map(Self).map_err(|_| refuse(text, WHAT))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

as_text!(Rate, "a rate such as 50MB/s or 10Mi/s", number: None, pattern: format!("^{ABOVE_ZERO}{UNIT}/s$"));

/// A whole number of hundredths, 0 to 100: `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// So many hundredths; more than 100 are 100.
    pub const fn new(hundredths: u8) -> Self {
        Self(if hundredths > 100 { 100 } else { hundredths })
    }

    /// How many.
    pub const fn hundredths(self) -> u8 {
        self.0
    }

    /// That share of `bytes`.
    pub fn of(self, bytes: u64) -> u64 {
        bytes / 100 * u64::from(self.0) + bytes % 100 * u64::from(self.0) / 100
    }
}

impl FromStr for Percent {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| number.parse::<u8>().ok())
            .filter(|hundredths| *hundredths <= 100)
            .map(Self)
            .ok_or_else(|| refuse(text, "a percentage from 0% to 100%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

as_text!(Percent, "a percentage from 0% to 100%", number: None, pattern: "^(100|[0-9]{1,2})%$");
