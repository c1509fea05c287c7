//! Bytes, rates, durations, percentages and windows of the day, as people write them.

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

/// Accepts a text or, where `$number`, a plain number; writes the text. `$pattern`: what texts look like.
macro_rules! as_text {
    ($type:ident, $expecting:literal, number: $number:expr, pattern: $pattern:expr) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let number: Option<fn(u64) -> $type> = $number;
                let mut schema = schemars::json_schema!({ "pattern": $pattern, "maxLength": 32 });
                if number.is_some() {
                    schema.insert("x-kubernetes-int-or-string".to_owned(), true.into());
                    // Of numbers; the pattern is of texts.
                    schema.insert("minimum".to_owned(), 0.into());
                } else {
                    schema.insert("type".to_owned(), "string".into());
                }
                schema
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

mod bytes;
mod span;
mod window;

pub use bytes::{Bytes, Percent, Rate};
pub use span::Span;
pub use window::Window;

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
    fn bytes_for_people_have_a_unit_and_one_digit_behind_the_point() {
        let about: Vec<String> = [0, 1023, 1024, 1_431_655_680, 1 << 30, 5 << 50]
            .map(|n| Bytes(n).about())
            .into();
        assert_eq!(about, ["0 B", "1023 B", "1 KiB", "1.3 GiB", "1 GiB", "5120 TiB"]);
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
