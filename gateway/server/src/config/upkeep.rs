//! What the file says of collecting and looking through.

use std::time::Duration;

use super::load::{ConfigError, parse};
use super::{Span, file};
use crate::depot::{CollectSettings, ScrubSettings};

/// More often nothing is done in the background.
const OFTEN: Duration = Duration::from_secs(60);
/// A younger pack is not looked at, whatever is given.
const LEAST_AGE: Duration = Duration::from_secs(1);
/// A pack that no record names is left alone for longer than the longest upload takes.
const UPLOAD: Duration = Duration::from_secs(6 * 3600);

pub(super) fn collect(given: file::Collect) -> Result<CollectSettings, ConfigError> {
    let file::Collect {
        every,
        grace,
        abandoned_after,
        settle,
        max_rate,
    } = given;
    let default = CollectSettings::default();
    Ok(CollectSettings {
        every: span("collect.every", every, OFTEN, "give a minute or more, such as 6h")?
            .unwrap_or(default.every),
        grace: span(
            "collect.grace",
            grace,
            Duration::ZERO,
            "give a span of time such as 24h",
        )?
        .unwrap_or(default.grace),
        abandoned_after: span(
            "collect.abandonedAfter",
            abandoned_after,
            UPLOAD,
            "give 6 hours or more, such as 48h: uploads that are under way must not be taken for abandoned",
        )?
        .unwrap_or(default.abandoned_after),
        settle: span(
            "collect.settle",
            settle,
            LEAST_AGE,
            "give a second or more, such as 1h: uploads that are under way would store again what is given up meanwhile",
        )?
        .unwrap_or(default.settle),
        max_rate: max_rate.map_or(default.max_rate, |rate| rate.0),
    })
}

pub(super) fn scrub(given: file::Scrub) -> Result<ScrubSettings, ConfigError> {
    let file::Scrub { every, max_rate } = given;
    let default = ScrubSettings::default();
    Ok(ScrubSettings {
        every: span("scrub.every", every, OFTEN, "give a minute or more, such as 30d")?
            .unwrap_or(default.every),
        max_rate: max_rate.map_or(default.max_rate, |rate| rate.0),
    })
}

fn span(
    field: &str,
    given: Option<String>,
    least: Duration,
    allowed: &'static str,
) -> Result<Option<Duration>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    let Span(span) = parse(field.to_owned(), &given, "give a span of time such as 90d or 12h")?;
    if span < least {
        return Err(ConfigError::Value {
            field: field.to_owned(),
            given,
            allowed,
        });
    }
    Ok(Some(span))
}
