//! Bytes, rates, durations, percentages and windows of the day, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}")]
pub struct QuantityError {
    given: String,
    what: &'static str,
}

fn refuse(given: &str, what: &'static str) -> QuantityError {
    QuantityError {
        given: given.to_owned(),
        what,
    }
}

/// Accepts a text or, where `$number`, a plain number; writes the text.
macro_rules! as_text {
    ($type:ident, $expecting:literal, number: $number:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        let make: Option<fn(u64) -> $type> = $number;
                        match make {
                            Some(make) => Ok(make(number)),
                            None => Err(E::invalid_type(
                                serde::de::Unexpected::Unsigned(number),
                                &self,
                            )),
                        }
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

/// A number of bytes: `2Ti`, `500Gi`, `256Mi`, `50MB`, or plain. Binary suffixes as in Kubernetes, and decimal
/// ones with or without a `B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

const BYTES: &str = "a number of bytes such as 500Gi, 2Ti, 256Mi or 50GB";
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

as_text!(Bytes, "a number of bytes such as 500Gi, 2Ti, 256Mi or 50GB", number: Some(Bytes));

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

as_text!(Rate, "a rate such as 50MB/s or 10Mi/s", number: None);

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

as_text!(Span, "a duration such as 2m, 1h30m, 72h or 90d", number: None);

/// A whole number of hundredths, 0 to 100: `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// So many hundredths; more than 100 are 100.
    pub const fn new(hundredths: u8) -> Self {
        Self(if hundredths > 100 { 100 } else { hundredths })
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

as_text!(Percent, "a percentage from 0% to 100%", number: None);

/// A part of every day, in the coordinator's local time: `22:00-07:00`. It may pass midnight; equal ends mean
/// the whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minutes after midnight at which it opens.
    pub from: u16,
    /// Minutes after midnight at which it closes.
    pub until: u16,
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let valid = (hours < 24 && minutes < 60) || (hours == 24 && minutes == 0);
    valid.then_some((hours * 60 + minutes) % 1440)
}

impl Window {
    /// Whether a minute of the day (0 to 1439) lies in it.
    pub fn contains(&self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

impl FromStr for Window {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        text.split_once('-')
            .and_then(|(from, until)| {
                Some(Self {
                    from: minutes(from.trim())?,
                    until: minutes(until.trim())?,
                })
            })
            .ok_or_else(|| refuse(text, "a window of the day such as 22:00-07:00"))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            until / 60,
            until % 60
        )
    }
}

as_text!(Window, "a window of the day such as 22:00-07:00", number: None);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_read_with_binary_and_decimal_suffixes() {
        for (text, bytes) in [
            ("0", 0),
            ("123", 123),
            ("256Mi", 256 << 20),
            ("2Ti", 2 << 40),
            ("1.5Gi", 3 << 29),
            ("50MB", 50_000_000),
            ("1 GB", 1_000_000_000),
            ("1k", 1000),
        ] {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        for bad in [
            "",
            "Gi",
            "-1",
            "1e3",
            "1Xi",
            "1.Gi",
            ".5Gi",
            "99999999999Ti",
            "1Gi x",
        ] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_name_their_units_from_large_to_small() {
        for (text, seconds) in [
            ("90d", 7_776_000),
            ("1h30m", 5400),
            ("2m", 120),
            ("0s", 0),
            ("1w", 604_800),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span { seconds }), "{text}");
        }
        for bad in [
            "",
            "90",
            "h",
            "1m1h",
            "1h1h",
            "-1h",
            "1 h",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_window_may_pass_midnight() {
        let night: Window = "22:00-07:00".parse().unwrap();
        assert!(night.contains(23 * 60) && night.contains(0) && night.contains(419));
        assert!(!night.contains(420) && !night.contains(1319));
        assert_eq!(night.to_string(), "22:00-07:00");
        for bad in ["22-07", "25:00-07:00", "22:60-07:00", "2:00-07:00", "22:00"] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_percentage_of_bytes_does_not_overflow() {
        assert_eq!(Percent::new(10).of(u64::MAX), u64::MAX / 10);
        assert_eq!("10%".parse::<Percent>().unwrap().of(50), 5);
        assert!("101%".parse::<Percent>().is_err());
        assert!("10".parse::<Percent>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: u64, seconds: u64, from in 0_u16..1440, until in 0_u16..1440) {
            prop_assert_eq!(Bytes(bytes).to_string().parse::<Bytes>(), Ok(Bytes(bytes)));
            prop_assert_eq!(Span { seconds }.to_string().parse::<Span>(), Ok(Span { seconds }));
            let window = Window { from, until };
            prop_assert_eq!(window.to_string().parse::<Window>(), Ok(window));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text: String) {
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Span>();
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Percent>();
            let _ = text.parse::<Window>();
        }
    }
}
