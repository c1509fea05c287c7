//! `hayloft host list`.

use anyhow::Context as _;
use hayloft_api::status::Status;

use crate::OutputFormat;
use crate::status::table;

/// The hosts, as `format` says.
pub(super) fn render(status: &Status, format: OutputFormat, colour: bool) -> anyhow::Result<String> {
    match format {
        OutputFormat::Text => Ok(table::hosts(status, colour).to_string()),
        OutputFormat::Json => {
            serde_json::to_string_pretty(&status.hosts).context("the hosts cannot be put in words")
        }
    }
}
