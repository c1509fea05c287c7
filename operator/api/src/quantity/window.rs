//! Parts of the day.

use std::fmt;
use std::str::FromStr;

use super::{QuantityError, refuse};

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

as_text!(Window, "a window of the day such as 22:00-07:00", number: None, pattern: "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00) *- *(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$");
