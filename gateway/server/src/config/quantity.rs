//! Amounts of bytes and spans of time, written as in Kubernetes and as people do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// An amount of bytes: `256Mi`, `20Gi`, `50MB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is not an amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount of bytes is a whole number, alone or with Ki, Mi, Gi, Ti, Pi, kB, MB, GB, TB or PB")]
pub struct ByteSizeError;

/// A span of time: `90d`, `2m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A text that is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a span of time is such as 90d, 12h, 2m or 1h30m")]
pub struct SpanError;

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(ByteSizeError)?;
        let factor: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "Ki" | "KiB" => 1 << 10,
            "Mi" | "MiB" => 1 << 20,
            "Gi" | "GiB" => 1 << 30,
            "Ti" | "TiB" => 1 << 40,
            "Pi" | "PiB" => 1 << 50,
            "Ei" | "EiB" => 1 << 60,
            "k" | "kB" | "KB" => 1_000,
            "M" | "MB" => 1_000_000,
            "G" | "GB" => 1_000_000_000,
            "T" | "TB" => 1_000_000_000_000,
            "P" | "PB" => 1_000_000_000_000_000,
            "E" | "EB" => 1_000_000_000_000_000_000,
            _ => return Err(ByteSizeError),
        };
        let number: u64 = number.parse().map_err(|_| ByteSizeError)?;
        number.checked_mul(factor).map(Self).ok_or(ByteSizeError)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        humantime::parse_duration(text).map(Self).map_err(|_| SpanError)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of bytes such as 256Mi")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse()
                    .map_err(|error| E::custom(format!("{text:?}: {error}")))
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_bytes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("256Mi", 256 << 20),
            ("20Gi", 20 << 30),
            ("2Ti", 2 << 40),
            ("1Pi", 1 << 50),
            ("3PB", 3_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("18E", 18_000_000_000_000_000_000),
            ("18446744073709551615", u64::MAX),
            ("50MB", 50_000_000),
            ("50 MB", 50_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "Mi",
            "1.5Gi",
            "-1",
            "12Xi",
            "16Ei",
            "18446744073709551616",
            "99999999Ti",
            "1 2",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans_of_time_read_as_people_write_them() {
        let seconds = |n| Ok(Span(Duration::from_secs(n)));
        assert_eq!("90d".parse(), seconds(90 * 86_400));
        assert_eq!("2m".parse(), seconds(120));
        assert_eq!("1h30m".parse(), seconds(5_400));
        assert!("90".parse::<Span>().is_err());
        assert!("soon".parse::<Span>().is_err());
    }
}
